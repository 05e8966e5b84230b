//! Waits for other coroutines: refused if they would close a circle, entered in the record otherwise, and the permit lent out meanwhile.
//!
//! It is apart from parking because a parked point knows how it is woken, not by whom; here only that is looked at.
//!
//! Invariants:
//! 1. Only who is about to wait can close a circle, so it is looked for then, and found before anybody waits in it.
//! 2. A coroutine in the ready queue does not wait, whatever its edges say; it looks again when it does.
//! 3. What names things in a path runs with nothing borrowed.
//! 4. A wait belongs to the call that began it, or took it up again: when that ends its edge is gone, and with it all that the wait may
//!    do to the permit, which is another call's by then. Whoever holds the wait finds it so when he looks for the edge.
//!
//! ```text
//!   about to wait ── leads back here ──▶ Deadlock, with the path
//!        └── does not ──▶ edge entered, permit lent ── over ──▶ edge gone ── permit free ──▶ on
//!                                                                  └── none ──▶ waits for one ──▶ on
//! ```

use std::collections::HashMap;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::arena::Id;
use crate::error::{Error, ErrorKind};
use crate::record::{Flags, Record, RecordMut};
use crate::shared::Shared;
use crate::site::Site;
use crate::timers::Nanos;
use crate::waiter::{Kind, Note};
use crate::waits::{Edge, Holders, Lender};

static PERMIT: Kind = Kind("a permit to go on");

/// A wait that has been entered. Dropping it takes it out.
pub(crate) struct Waiting {
    /// The loop.
    shared: Rc<Shared>,
    /// Who waits.
    owner: Id,
    /// Its edge. It is gone once the call that waited has ended (invariant 4).
    edge: Id,
    /// Whose permit was lent out for it.
    lender: Option<(Rc<dyn Lender>, u32)>,
}

impl Shared {
    /// Notes that the running coroutine is about to wait, or still waits. `held` is where the wait is kept.
    ///
    /// # Errors
    /// `Deadlock`, if what it waits for waits for it.
    pub(crate) fn wait_for(
        self: &Rc<Self>,
        held: &mut Option<Waiting>,
        edge: Edge,
        site: Site,
    ) -> Result<(), Error> {
        let owner = self.running.get();
        if owner.is_none() {
            return Ok(());
        }
        // Also where the wait is entered: whoever began to wait while this coroutine was in the ready queue did not count it (invariant 2).
        if let Some(error) = self.closes(&edge, site) {
            return Err(error);
        }
        if held
            .as_ref()
            .is_some_and(|held| held.owner == owner && held.is_entered())
        {
            return Ok(());
        }
        let edge = {
            let mut records = self.records.borrow_mut();
            let Some(record) = records.get_mut(owner) else {
                return Ok(());
            };
            record.rare_mut(&self.rares).waits.insert(edge)
        };
        let lender = {
            let lenders = self.lenders.borrow();
            let lender = lenders.get(&owner.to_bits());
            lender.and_then(|(engine, seat)| Some((engine.upgrade()?, *seat)))
        };
        self.waits.set(self.waits.get() + 1);
        if let Some((lender, seat)) = &lender {
            lender.lend(*seat);
        }
        let shared = Rc::clone(self);
        let entered = Waiting {
            shared,
            owner,
            edge,
            lender,
        };
        drop(held.replace(entered));
        Ok(())
    }

    /// A call of this coroutine has ended: what it began to wait for is nobody's wait (keeps invariant 4).
    pub(crate) fn forget_waits(&self, id: Id) {
        let edges = {
            let mut records = self.records.borrow_mut();
            let record = records.get_mut(id);
            let rare = record.and_then(RecordMut::rare_if_any);
            rare.map(|rare| rare.waits.take_all())
        };
        drop(edges);
    }

    /// What a coroutine waits for (keeps invariant 2).
    pub(crate) fn edges(&self, id: Id) -> Vec<Edge> {
        self.settle_parked();
        let records = self.records.borrow();
        let record = records.get(id);
        let parked = record.filter(|record| !record.flags.has(Flags::QUEUED));
        let rare = parked.and_then(Record::rare);
        rare.map_or_else(Vec::new, |rare| {
            rare.waits.iter().map(|(_, edge)| edge.clone()).collect()
        })
    }

    /// What a coroutine is parked on and since when, unless it is ready or runs.
    pub(crate) fn parked(&self, id: Id) -> Option<(Note, Nanos)> {
        self.settle_parked();
        let records = self.records.borrow();
        let record = records.get(id)?;
        let moves = record.flags.has(Flags::QUEUED) || id == self.running.get();
        (!moves).then(|| record.parked())
    }

    /// The error of a wait by the running coroutine that only its own end could end.
    pub(crate) fn closes(&self, edge: &Edge, site: Site) -> Option<Error> {
        let me = self.running.get();
        if me.is_none() {
            return None;
        }
        let holders = edge.to.holders(edge.place);
        if let Holders::Nobody = holders {
            return None;
        }
        let mut search = Search {
            shared: self,
            me,
            seen: HashMap::new(),
            path: vec![edge.clone()],
        };
        if !search.lead(holders) {
            return None;
        }
        let path = path(&search.path);
        Some(ErrorKind::Deadlock { path, site }.into())
    }
}

/// A search for a circle.
struct Search<'a> {
    /// The loop.
    shared: &'a Shared,
    /// Who is looked for.
    me: Id,
    /// Coroutines looked at, and whether they wait for him. One that is being looked at does not.
    seen: HashMap<Id, bool>,
    /// The waits that lead to where the search is.
    path: Vec<Edge>,
}

impl Search<'_> {
    /// Whether this wait can end only after `me` has moved.
    fn blocked(&mut self, edge: &Edge) -> bool {
        self.lead(edge.to.holders(edge.place))
    }

    /// Whether who holds what is waited for can move only after `me`.
    fn lead(&mut self, holders: Holders) -> bool {
        match holders {
            Holders::Nobody => false,
            Holders::One(id) => self.leads(id),
            Holders::All(ids) => ids.into_iter().any(|id| self.leads(id)),
            Holders::Any(ids) => {
                let (depth, mut first) = (self.path.len(), None);
                for &id in &ids {
                    if !self.leads(id) {
                        return false;
                    }
                    // One way is enough to be shown.
                    let way = self.path.split_off(depth);
                    first.get_or_insert(way);
                }
                self.path.extend(first.unwrap_or_default());
                !ids.is_empty()
            }
        }
    }

    /// Whether this coroutine is `me`, or waits for him.
    fn leads(&mut self, id: Id) -> bool {
        if id == self.me {
            return true;
        }
        if self.shared.waits.get() == 0 {
            return false;
        }
        if let Some(leads) = self.seen.get(&id) {
            return *leads;
        }
        self.seen.insert(id, false);
        for edge in self.shared.edges(id) {
            self.path.push(edge.clone());
            if self.blocked(&edge) {
                self.seen.insert(id, true);
                return true;
            }
            self.path.pop();
        }
        false
    }
}

/// The circle in words.
fn path(edges: &[Edge]) -> String {
    let actor = |edge: &Edge| edge.to.actor(edge.place);
    let Some(last) = edges.last() else {
        return String::new();
    };
    let mut who = actor(last);
    let mut path = String::new();
    for edge in edges {
        if !path.is_empty() {
            path.push_str(", ");
        }
        let name = edge.to.name(edge.place);
        path.extend([&who, " waits for ", edge.what, " of ", &name]);
        who = actor(edge);
    }
    path
}

impl Waiting {
    /// Whether the call that waits goes on.
    fn is_entered(&self) -> bool {
        let records = self.shared.records.borrow();
        let rare = records.get(self.owner).and_then(Record::rare);
        rare.is_some_and(|rare| rare.waits.contains(self.edge))
    }

    /// The wait is over. Ready once the call may go on: its permit may have gone to another.
    pub(crate) fn poll_over(held: &mut Option<Waiting>, cx: &Context<'_>, site: Site) -> Poll<()> {
        let Some(waiting) = held else {
            return Poll::Ready(());
        };
        let lender = waiting.lender.as_ref();
        let Some((lender, seat)) = lender.filter(|_| waiting.is_entered()) else {
            *held = None;
            return Poll::Ready(());
        };
        if !lender.take_back(*seat) {
            let note = Note {
                kind: &PERMIT,
                site: Some(site),
            };
            let slot = lender.slot(*seat);
            lender.set_slot(*seat, slot.vacated());
            match waiting.shared.park(slot, cx, note) {
                Ok(slot) => {
                    lender.set_slot(*seat, slot);
                    // A waker that was cloned or dropped may have given a permit back.
                    if !lender.take_back(*seat) {
                        return Poll::Pending;
                    }
                    waiting.shared.unpark(slot);
                }
                // What it waited for has arrived, and that wins.
                Err(_) => lender.force_back(*seat),
            }
        }
        waiting.lender = None;
        *held = None;
        Poll::Ready(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.waits.set(self.shared.waits.get() - 1);
        let edge = {
            let mut records = self.shared.records.borrow_mut();
            let record = records.get_mut(self.owner);
            let rare = record.and_then(RecordMut::rare_if_any);
            rare.and_then(|rare| rare.waits.remove(self.edge))
        };
        let goes_on = edge.is_some();
        drop(edge);
        if let Some((lender, seat)) = self.lender.take().filter(|_| goes_on) {
            self.shared.unpark(lender.slot(seat));
            lender.force_back(seat);
        }
    }
}
