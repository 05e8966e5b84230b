//! Many keys' messages, one at a time for each key: what every door of a keyed engine leads to.
//!
//! It is apart from the engine because it knows neither the state nor the handler: those are with its crew, behind one trait object.
//!
//! Invariants:
//! 1. A key is in the hands of one worker at most, and a worker has one message at most: the next is taken after the call before was settled.
//! 2. Every message taken is settled once: its asker is answered, or its failure is told to the error hook.
//! 3. What is dropped unhandled is told to its asker and handed to the hook, given back by `drain`, or reported.
//! 4. An idle key without state is not here at all; an engine without messages has no worker.
//! 5. A key's own code (`Hash`, `Eq`, `Drop`) runs with the index taken out and nothing borrowed.
//!
//! ```text
//!             message                a worker takes it           settled: more messages
//!   (none) ───────────▶ key in ring ───────────────────▶ in hand ───────────────────────▶ back of the ring
//!      ▲                                                    │ settled: none left
//!      └──────────────── state dropped, or kept ◀───────────┘
//! ```

pub(crate) mod arriving;
mod ending;
pub(crate) mod explain;
pub(crate) mod head;
mod index;
mod keys;
pub(crate) mod line;
pub(crate) mod seats;
mod settling;
pub(crate) mod table;
mod waits;
mod working;

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::hash::Hash;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use crate::arena::{Arena, Id};
use crate::error::{Error, ErrorKind};
use crate::failure::{AfterKeyFailure, DropReason, Failure, Overflow};
use crate::key_name::KeyName;
use crate::ordered_gate::{Gate, Shut};
use crate::ordered_queue::Intake;
use crate::record::Body;
use crate::shared::Shared;
use crate::site::Site;
use crate::waiter::WaiterSlot;

use head::HeadLimit;
use index::{Index, Reentered};
use table::{Limits, Table};

/// What a keyed engine is called in errors.
pub(crate) const ENGINE: &str = "keyed engine";

/// What can be a key of a [`Keyed`](crate::Keyed) engine: every type with these traits is.
///
/// A key is cloned only for what an engine gives back.
pub trait OrderKey: Clone + Eq + Hash + fmt::Debug + 'static {}

impl<K: Clone + Eq + Hash + fmt::Debug + 'static> OrderKey for K {}

/// State and handler of all keys.
pub(crate) trait Crew<K, M, R, E> {
    /// The body of a worker.
    fn work(self: Rc<Self>, hub: &Rc<Hub<K, M, R, E>>, id: Id, seat: u32) -> Pin<Box<dyn Body>>;

    /// Looks at a failure. This is user code.
    fn judge(&self, key: Id, name: &KeyName<K>, failure: &Failure<'_>) -> AfterKeyFailure;

    /// Whether a key's state outlives its messages.
    fn keeps_state(&self) -> bool;

    /// Drops a key's state. This is user code.
    fn drop_state(&self, key: Id);
}

/// What hears of dropped messages.
pub(crate) type DropHook<K, M> = Box<dyn Fn(&K, M, DropReason)>;

/// A user's answer to a question about a key or a message.
pub(crate) type Ask<T, A> = Option<Box<dyn Fn(&T) -> A>>;

/// What the user asked for when the engine was built.
pub(crate) struct Rules<K, M> {
    /// How much there may be of everything.
    pub(crate) limits: Limits,
    /// What goes where there is no room.
    pub(crate) overflow: Overflow,
    /// How large a message is.
    pub(crate) size: Ask<M, usize>,
    /// How many messages a key gets in a turn.
    pub(crate) weight: Ask<K, u32>,
    /// Which keys are none.
    pub(crate) free: Ask<K, bool>,
    /// How long calls may take.
    pub(crate) head: Option<HeadLimit>,
    /// What hears of dropped messages.
    pub(crate) on_drop: Option<DropHook<K, M>>,
    /// The engine's name in reports.
    pub(crate) name: Cow<'static, str>,
}

/// What has been counted.
#[derive(Default)]
pub(crate) struct Counts {
    /// Calls that ended well.
    pub(crate) done: Cell<u64>,
    /// Calls that failed.
    pub(crate) failed: Cell<u64>,
    /// Messages dropped.
    pub(crate) dropped: Cell<u64>,
    /// The longest that a message waited for its call, in nanoseconds.
    pub(crate) longest_wait: Cell<u64>,
}

/// Adds one to a counter.
#[inline]
pub(crate) fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// See the module's page.
pub(crate) struct Hub<K, M, R, E> {
    /// The loop.
    shared: Rc<Shared>,
    /// What waits, and whose turn it is.
    table: RefCell<Table<K, M, R, E>>,
    /// Where keys are found.
    index: Index<K>,
    /// State and handler.
    crew: Rc<dyn Crew<K, M, R, E>>,
    /// Whether states outlive the messages.
    keeps_state: bool,
    /// What the user asked for.
    rules: Rules<K, M>,
    /// How many doors may still send.
    doors: Cell<usize>,
    /// Who waits for the end.
    finishers: RefCell<Arena<WaiterSlot>>,
    /// Messages that an early end left over, by key.
    left_over: RefCell<Vec<(K, Vec<M>)>>,
    /// Where other threads send to, once one may.
    gate: OnceCell<Arc<Gate<(K, M)>>>,
    /// What has been counted.
    counts: Counts,
    /// The way back that calls are given.
    back: Rc<dyn Any>,
    /// Itself, for those who hold only a part of it.
    me: Weak<Self>,
    /// Where the engine was created.
    pub(crate) site: Site,
}

impl<K, M, R, E> Hub<K, M, R, E>
where
    K: OrderKey,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    /// A hub without keys and doors.
    pub(crate) fn new(
        shared: &Rc<Shared>,
        rules: Rules<K, M>,
        crew: Rc<dyn Crew<K, M, R, E>>,
        site: Site,
    ) -> Rc<Self> {
        shared.engines.set(shared.engines.get() + 1);
        Rc::new_cyclic(|hub: &Weak<Self>| Hub {
            shared: Rc::clone(shared),
            table: RefCell::new(Table::new(rules.limits)),
            index: Index::new(),
            keeps_state: crew.keeps_state(),
            crew,
            rules,
            doors: Cell::new(0),
            finishers: RefCell::new(Arena::new()),
            left_over: RefCell::default(),
            gate: OnceCell::new(),
            counts: Counts::default(),
            back: Rc::new(hub.clone()),
            me: hub.clone(),
            site,
        })
    }

    /// The loop.
    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// The way back that calls are given.
    pub(crate) fn back(&self) -> Rc<dyn Any> {
        Rc::clone(&self.back)
    }

    /// Whether newcomers are taken in.
    pub(crate) fn is_open(&self) -> bool {
        !self.shared.is_closed() && self.table.borrow().intake == Intake::Open
    }

    /// The error of an engine that takes nothing more.
    pub(crate) fn closed(&self) -> Error {
        if self.shared.is_closed() {
            ErrorKind::LoopGone.into()
        } else {
            ErrorKind::Closed {
                what: ENGINE,
                created_at: Some(self.site),
            }
            .into()
        }
    }

    /// The engine's name with a key, as reports show it. This runs the key's own code.
    pub(crate) fn label(&self, key: &K) -> String {
        let named = || format!("{}[{key:?}]", self.rules.name);
        let label = self.shared.contain("key's Debug", named);
        label.unwrap_or_else(|| self.rules.name.clone().into_owned())
    }

    // The index.

    /// The key's place, if it has one.
    pub(super) fn find(&self, key: &K) -> Option<Id> {
        self.index.find(self.index.hash(key), key).ok().flatten()
    }

    /// The key's place, made now if need be.
    ///
    /// # Errors
    /// A key's own code came back here.
    #[inline]
    pub(super) fn locate(&self, key: K) -> Result<Id, Error> {
        if let Some(free) = &self.rules.free
            && free(&key)
        {
            let mut table = self.table.borrow_mut();
            let name = table.name(key);
            return Ok(table.add_key(name, 0, 1, true));
        }
        let hash = self.index.hash(&key);
        let found = self.index.find(hash, &key).map_err(|Reentered| {
            Error::other("a key's Hash or Eq used the engine that it is a key of")
        })?;
        if let Some(id) = found {
            return Ok(id);
        }
        let weight = match &self.rules.weight {
            None => 1,
            Some(weight) => {
                let weight = weight(&key).max(1);
                // It may have sent to the key that it was asked about.
                if let Some(id) = self.index.find(hash, &key).ok().flatten() {
                    return Ok(id);
                }
                weight
            }
        };
        let (name, id) = {
            let mut table = self.table.borrow_mut();
            let name = table.name(key);
            let id = table.add_key(name.clone(), hash, weight, false);
            (name, id)
        };
        self.index.enter(hash, name, id);
        Ok(id)
    }

    /// Lets a key go if nothing of it is worth keeping (keeps invariant 4).
    #[inline]
    pub(super) fn let_go(&self, id: Id) {
        let has_state = {
            let mut table = self.table.borrow_mut();
            let Some(key) = table.keys.get_mut(id).filter(|key| key.is_idle()) else {
                return;
            };
            if key.has_state && self.keeps_state && !key.free {
                return;
            }
            std::mem::replace(&mut key.has_state, false)
        };
        if has_state {
            self.shared.contain("drop", || self.crew.drop_state(id));
        }
        let gone = {
            let mut table = self.table.borrow_mut();
            // Its state may have sent to it when it was dropped.
            let idle = table
                .keys
                .get(id)
                .is_some_and(|key| key.is_idle() && !key.has_state);
            if idle { table.keys.remove(id) } else { None }
        };
        let Some(gone) = gone else { return };
        if !gone.free {
            drop(self.index.leave(gone.hash, id));
        }
        if let Some((key, blank)) = gone.name.empty() {
            self.table.borrow_mut().keep_blank(blank);
            self.shared.contain("drop", || drop(key));
        }
    }

    // Other threads.

    /// Where other threads send to.
    pub(crate) fn gate(&self) -> &Arc<Gate<(K, M)>> {
        self.gate.get_or_init(|| {
            let table = self.table.borrow();
            let gate = Gate::new(
                table
                    .limits
                    .total
                    .min(table.limits.per_key.saturating_mul(16)),
            );
            if table.intake != Intake::Open {
                gate.shut(Shut::Closed);
            }
            Arc::new(gate)
        })
    }
}
