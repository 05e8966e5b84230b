//! The bodies of all coroutines, and how one is resumed, dropped, and outlived.
//!
//! They are apart from what handles share because the loop owns them by value: a body runs with `&mut`, so nobody can resume
//! it from within itself, and a handle inside a body makes no circle of owners.
//!
//! Invariants:
//! 1. A body that has parked or given way sits in the slot whose index its id names, beside that id; until it ends its record is in the
//!    table. So a resume in the common way needs no look at the record. Until its first resume, a body lies in its record's row.
//! 2. A body is dropped before whoever joins it hears of its end, and with nothing borrowed.
//! 3. Once a cancelled coroutine was told, a resume leaves it ended or parked inside `cleanup`; otherwise the body is dropped there and
//!    that is reported: a cancel is neither swallowed nor does it spin. One that was not, because a value had arrived, is resumed
//!    again to be told by the point of ours on which it parked next; with none, it is dropped.
//!
//! ```text
//!                       ┌────────────── Pending, or woken ◀────────────┐
//!                       ▼                                              │
//!   newcomer ──▶ [in its slot] ── resume ──▶ Ready ──▶ dropped; its end stays in the row for who joins, or the row is free
//!                       │            ├─────▶ panic ──▶ dropped, ends with Panicked
//!                       │            └─────▶ Pending after a cancel, outside cleanup ──▶ dropped, CoroutineCancelled
//!                       └─ aborted, or cancelled before its start ──▶ dropped unrun
//! ```

mod ending;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::arena::Id;
use crate::error::{Error, ErrorKind};
use crate::job::Job;
use crate::record::{Body, Ended, Flags};
use crate::shared::Shared;
use crate::waker::OwnedWaker;

/// A body that borrows from the caller of `block_on` and therefore stays on its stack.
pub(crate) struct Root<'a> {
    /// Its id in the table.
    pub(crate) id: Id,
    /// The body.
    pub(crate) body: Pin<&'a mut (dyn Body + 'a)>,
    /// Its own waker, once a foreign future has asked for one.
    pub(crate) own: Option<Rc<OwnedWaker>>,
    /// Whether it has ended.
    pub(crate) done: bool,
    /// What it panicked with: that goes on to the caller.
    pub(crate) panic: Option<Box<dyn Any + Send>>,
}

/// The bodies of a loop.
pub(crate) struct Bodies {
    /// By the index of their id (invariant 1).
    slots: Vec<Slot>,
    /// By the same: the waker of a coroutine whose foreign future has asked for one. Its slot is marked.
    own: Vec<Option<Rc<OwnedWaker>>>,
    /// The waker of everybody who has none of his own.
    common: Rc<OwnedWaker>,
    /// Whether it was given away just now: no coroutine is resumed in the common way with the context that was made of it.
    renewed: bool,
}

/// The place of one body.
struct Slot {
    /// Whose it is; marked where it must not be resumed with the common waker: it has one of its own.
    id: Id,
    /// The body, or [`Nobody`].
    body: Pin<Box<dyn Body>>,
}

/// What is where no body is: it needs no memory, and spares every resume the question whether there is one.
struct Nobody;

impl Body for Nobody {
    fn resume(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Ended> {
        Poll::Pending
    }

    fn vacate(self: Pin<&mut Self>) {}

    fn end(self: Pin<&mut Self>, _: Error) {}
}

impl Slot {
    /// A place without a body.
    #[inline]
    fn empty() -> Slot {
        Slot {
            id: Id::NONE,
            body: Box::pin(Nobody),
        }
    }

    /// Whether no body is here.
    fn is_empty(&self) -> bool {
        self.id.is_none()
    }
}

/// The number of slots that are kept, used or not.
const KEPT: usize = 1024;

/// How one resume went.
type Outcome = Result<Poll<Ended>, Box<dyn Any + Send>>;

impl Bodies {
    /// No bodies yet.
    pub(crate) fn new(shared: &Shared) -> Self {
        Bodies {
            slots: Vec::new(),
            own: Vec::new(),
            common: Rc::new(OwnedWaker::common(&shared.inbox)),
            renewed: false,
        }
    }

    /// Makes the common waker known where it now is, for as long as the turn that begins.
    pub(crate) fn settle_in(&self, shared: &Shared) {
        shared.enter_turn(self.common.waker());
    }

    /// The waker of everybody who has none of his own, for the context of resumes in the common way. It is that until the next detour.
    pub(crate) fn common(&self) -> Rc<OwnedWaker> {
        Rc::clone(&self.common)
    }

    /// Ends the detour that began when the common waker was given away. The next resumes are with another one.
    pub(crate) fn heed_renewal(&mut self, shared: &Shared) {
        if std::mem::take(&mut self.renewed) {
            shared.end_detour();
        }
    }

    /// Resumes the coroutine of this job in the common way, with a context of the common waker. Tells whether that will do.
    ///
    /// It may be asked while there is no detour. It is written out, and looks at nothing but the slot: a spawned coroutine that has started,
    /// and gives way or ends. An entry for a coroutine that has ended finds another id in the slot, or none.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as the step it is the most of")]
    pub(crate) fn resume(&mut self, shared: &Shared, job: Job, cx: &mut Context<'_>) -> bool {
        let Job(id) = job;
        match self.slots.get_mut(id.index()) {
            Some(slot) if slot.id == id => {
                shared.begin_resume(id);
                let outcome = poll(slot.body.as_mut(), cx);
                self.resumed(shared, id, outcome);
                true
            }
            Some(slot) if slot.id == id.marked() => self.resume_own(shared, id),
            // Where nobody is, it may be one that starts.
            Some(slot) => slot.is_empty() && self.start(shared, id, cx),
            None => job.row().is_none() && self.start(shared, id, cx),
        }
    }

    /// Resumes a coroutine that has a waker of its own, while nothing else is unusual.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as the other way of a resume")]
    fn resume_own(&mut self, shared: &Shared, id: Id) -> bool {
        let Bodies {
            slots, own, common, ..
        } = self;
        let (Some(slot), Some(Some(own))) = (slots.get_mut(id.index()), own.get(id.index())) else {
            return false;
        };
        shared.begin_resume(id);
        own.take_woken();
        shared.set_current_waker(own.waker());
        match poll(slot.body.as_mut(), &mut Context::from_waker(own.waker())) {
            Ok(Poll::Pending) => {
                shared.set_current_waker(common.waker());
                // Nobody else's waker was there to be kept.
                shared.park_coroutine(id);
            }
            end => {
                shared.set_current_waker(common.waker());
                self.resumed(shared, id, end);
            }
        }
        true
    }

    /// Looks at the coroutines of these jobs without resuming any: what each has to wait for in memory then comes together. Those that lie
    /// side by side come fast enough by themselves.
    #[inline(never)]
    pub(crate) fn look_ahead(&self, shared: &Shared, mut jobs: impl Iterator<Item = Job>) {
        if let (Some(first), Some(second)) = (jobs.next(), jobs.next())
            && first.is_beside(second)
        {
            return;
        }
        let records = shared.records.borrow();
        let ended = |job: &Job| {
            let slot = self.slots.get(job.0.index());
            records.is_here(job.0) && slot.is_some_and(|slot| slot.body.has_ended())
        };
        let ended = jobs.filter(ended).count();
        debug_assert_eq!(ended, 0, "who has ended leaves its slot");
    }

    /// Resumes a coroutine for the first time, in the common way, and those that start right behind it: newcomers come in runs. Tells
    /// whether the first is one that starts now.
    #[inline(never)]
    fn start(&mut self, shared: &Shared, id: Id, cx: &mut Context<'_>) -> bool {
        let Some(mut body) = shared.records.borrow_mut().start(id) else {
            return false;
        };
        let mut id = id;
        loop {
            self.begin(shared, id, body, cx);
            let Some(next) = shared.take_newcomer() else {
                return true;
            };
            (id, body) = next;
        }
    }

    /// Resumes a newcomer, which needs a slot only if it does not end at once.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "as the run of newcomers it is a step of"
    )]
    fn begin(
        &mut self,
        shared: &Shared,
        id: Id,
        mut body: Pin<Box<dyn Body>>,
        cx: &mut Context<'_>,
    ) {
        shared.begin_resume(id);
        match poll(body.as_mut(), cx) {
            Ok(Poll::Ready(how)) => {
                shared.end_resume();
                self.conclude(shared, id, body, how);
            }
            Ok(Poll::Pending) => {
                self.move_in(shared, id, body);
                self.park(shared, id, None);
            }
            Err(panic) => {
                self.move_in(shared, id, body);
                shared.end_resume();
                self.panicked(shared, id, panic, None);
            }
        }
    }

    /// Gives a newcomer its slot.
    #[inline(never)]
    fn move_in(&mut self, shared: &Shared, id: Id, body: Pin<Box<dyn Body>>) {
        shared.records.borrow_mut().started(id);
        self.settle_in_slot(id, body);
    }

    /// Draws the conclusion from a resume in the common way.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as the resume it is a part of")]
    fn resumed(&mut self, shared: &Shared, id: Id, outcome: Outcome) {
        match outcome {
            Ok(Poll::Pending) => self.park(shared, id, None),
            Ok(Poll::Ready(how)) => {
                shared.end_resume();
                self.ended(shared, id, how);
            }
            Err(panic) => {
                shared.end_resume();
                self.panicked(shared, id, panic, None);
            }
        }
    }

    /// Resumes a coroutine that is not the common case, if it is still there.
    #[inline(never)]
    pub(crate) fn resume_rare(&mut self, shared: &Shared, id: Id, mut root: Option<&mut Root<'_>>) {
        let Some((flags, newcomer)) = shared.take_queued(id) else {
            return;
        };
        if let Some(body) = newcomer {
            self.settle_in_slot(id, body);
        }
        if flags.has(Flags::DOOMED) {
            let started = !flags.has(Flags::UNSTARTED);
            return self.resume_doomed(shared, id, flags, started, root);
        }
        if let Some(outcome) = self.poll(shared, id, root.as_deref_mut()) {
            self.settle(shared, id, outcome, root);
        }
    }

    /// Runs a body to its next yield.
    #[inline]
    fn poll(&mut self, shared: &Shared, id: Id, root: Option<&mut Root<'_>>) -> Option<Outcome> {
        shared.begin_resume(id);
        let Bodies {
            slots, own, common, ..
        } = self;
        let outcome = match root {
            Some(root) if root.id == id => {
                run(shared, root.body.as_mut(), root.own.as_deref(), common)
            }
            _ => {
                let slot = slots.get_mut(id.index());
                let Some(slot) = slot.filter(|slot| !slot.is_empty()) else {
                    shared.park_coroutine(id);
                    shared.end_resume();
                    return None;
                };
                let own = own.get(id.index()).and_then(Option::as_deref);
                run(shared, slot.body.as_mut(), own, common)
            }
        };
        shared.running.set(Id::NONE);
        Some(outcome)
    }

    /// Draws the conclusion from a resume.
    fn settle(&mut self, shared: &Shared, id: Id, outcome: Outcome, root: Option<&mut Root<'_>>) {
        if !matches!(outcome, Ok(Poll::Pending)) {
            shared.end_resume();
        }
        match outcome {
            Ok(Poll::Pending) => self.park(shared, id, root),
            Ok(Poll::Ready(how)) => {
                if let Some(root) = root.filter(|root| root.id == id) {
                    // The caller of `block_on` drops its own.
                    root.done = true;
                    root.own = None;
                    shared.interrupt();
                }
                self.ended(shared, id, how);
            }
            Err(panic) => self.panicked(shared, id, panic, root),
        }
    }

    /// Parks a coroutine, which may have used the common waker.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the common resume")]
    fn park(&mut self, shared: &Shared, id: Id, root: Option<&mut Root<'_>>) {
        shared.park_coroutine(id);
        if self.common.is_held() {
            shared.end_resume();
            self.hand_over(shared, id, root);
        }
    }

    /// The poll just over left a clone of the common waker behind: it becomes the coroutine's own.
    #[cold]
    fn hand_over(&mut self, shared: &Shared, id: Id, root: Option<&mut Root<'_>>) {
        let used = Some(self.renew_common(shared, id));
        match root {
            Some(root) if root.id == id => root.own = used,
            _ => {
                let place = id.index();
                if self.own.len() <= place {
                    self.own.resize_with(place + 1, || None);
                }
                self.own[place] = used;
                if let Some(slot) = self.slots.get_mut(place) {
                    slot.id = id.marked();
                }
            }
        }
    }

    /// Replaces the common waker, of which this coroutine has kept a clone. The old one is its own.
    fn renew_common(&mut self, shared: &Shared, id: Id) -> Rc<OwnedWaker> {
        self.common.adopt(id);
        let fresh = Rc::new(OwnedWaker::common(&shared.inbox));
        shared.set_current_waker(fresh.waker());
        if !std::mem::replace(&mut self.renewed, true) {
            shared.begin_detour();
        }
        std::mem::replace(&mut self.common, fresh)
    }

    /// Takes a body out of its slot, and drops its own waker, if it has one.
    #[inline]
    fn take(&mut self, id: Id) -> Option<Pin<Box<dyn Body>>> {
        if let Some(own) = self.own.get_mut(id.index()) {
            *own = None;
        }
        let slot = self.slots.get_mut(id.index())?;
        (!slot.is_empty()).then(|| std::mem::replace(slot, Slot::empty()).body)
    }

    /// How many clones of coroutines' own wakers are about. Looks at every coroutine: for when nothing else can wake any.
    pub(crate) fn waker_clones(&self, root: Option<&Root<'_>>) -> usize {
        let of_root = root
            .and_then(|root| root.own.as_ref())
            .map_or(0, |own| own.clones());
        of_root
            + self
                .own
                .iter()
                .flatten()
                .map(|own| own.clones())
                .sum::<usize>()
    }

    /// Gives back the slots above the last body, where a burst has left many.
    pub(crate) fn rest(&mut self) {
        if self.slots.capacity() <= KEPT {
            return;
        }
        while self.slots.len() > KEPT && self.slots.last().is_some_and(Slot::is_empty) {
            self.slots.pop();
        }
        self.own.truncate(self.slots.len());
        self.own.shrink_to(self.slots.len());
        if self.slots.len() <= self.slots.capacity() / 4 {
            self.slots.shrink_to(self.slots.len() * 2);
        }
    }

    /// Puts a body into its slot.
    #[inline]
    fn settle_in_slot(&mut self, id: Id, body: Pin<Box<dyn Body>>) {
        if self.slots.len() <= id.index() {
            self.slots.resize_with(id.index() + 1, Slot::empty);
        }
        let slot = &mut self.slots[id.index()];
        // It was empty: forgetting that saves the look whether it must be dropped.
        std::mem::forget(std::mem::replace(slot, Slot { id, body }));
    }

    /// Drops every body, and ends whoever joins one with `LoopGone`. Tells whether there was one.
    pub(crate) fn drop_all(&mut self, shared: &Shared) -> bool {
        let newcomers = shared.records.borrow_mut().take_bodies();
        let bodies = std::mem::take(&mut self.slots).into_iter();
        let bodies = bodies.filter(|slot| !slot.is_empty());
        let bodies = bodies.map(|slot| (slot.id.unmarked(), slot.body));
        self.own = Vec::new();
        let mut any = false;
        for (id, mut body) in bodies.chain(newcomers) {
            any = true;
            shared.contain("drop", || body.as_mut().vacate());
            shared.contain("drop", || body.as_mut().end(ErrorKind::LoopGone.into()));
            shared.conclude(id, body);
        }
        any
    }
}

/// Polls a body with its own waker or the common one, in the longer way: a cancel may be being told.
fn run(
    shared: &Shared,
    body: Pin<&mut (dyn Body + '_)>,
    own: Option<&OwnedWaker>,
    common: &OwnedWaker,
) -> Outcome {
    let Some(own) = own else {
        return poll(body, &mut Context::from_waker(common.waker()));
    };
    own.take_woken();
    shared.set_current_waker(own.waker());
    shared.settle_place();
    let outcome = poll(body, &mut Context::from_waker(own.waker()));
    shared.set_current_waker(common.waker());
    shared.settle_place();
    outcome
}

/// Polls a body, and contains its panic.
#[inline]
fn poll(body: Pin<&mut (dyn Body + '_)>, cx: &mut Context<'_>) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| body.resume(cx)))
}
