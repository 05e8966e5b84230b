//! The bodies of all coroutines, and how one is resumed, dropped, and outlived.
//!
//! They are apart from what handles share because the loop owns them by value: a body runs with `&mut`, so nobody can resume
//! it from within itself, and a handle inside a body makes no circle of owners.
//!
//! Invariants:
//! 1. A body sits in the slot whose index its id names, beside that id; its record is in the table exactly as long as the body is here.
//!    So a resume in the common way needs no look at the record.
//! 2. A body is dropped before whoever joins it hears of its end, and with nothing borrowed.
//! 3. Once a cancelled coroutine was told, a resume leaves it ended or parked inside `cleanup`; otherwise the body is dropped there and
//!    that is reported: a cancel is neither swallowed nor does it spin. One that was not, because a value had arrived, is resumed
//!    again to be told by the point of ours on which it parked next; with none, it is dropped.
//!
//! ```text
//!                       ┌────────────── Pending, or woken ◀────────────┐
//!                       ▼                                              │
//!   newcomer ──▶ [in its slot] ── resume ──▶ Ready ──▶ dropped, record gone
//!                       │            ├─────▶ panic ──▶ dropped, ends with Panicked
//!                       │            └─────▶ Pending after a cancel, outside cleanup ──▶ dropped, CoroutineCancelled
//!                       └─ aborted, or cancelled before its start ──▶ dropped unrun
//! ```

use std::any::Any;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::arena::Id;
use crate::error::{Error, ErrorKind};
use crate::fit::Fit;
use crate::handle::take_leaks;
use crate::incident::Incident;
use crate::record::{Body, Ending, Flags};
use crate::shared::{Job, Shared, panic_message};
use crate::site::Site;
use crate::snapshot::{Label, PendingKey};
use crate::waker::OwnedWaker;

/// A body that borrows from the caller of `block_on` and therefore stays on its stack.
pub(crate) struct Root<'a> {
    /// Its id in the table.
    pub(crate) id: Id,
    /// The body.
    pub(crate) body: Pin<&'a mut (dyn Body + 'a)>,
    /// Its own waker, once a foreign future has asked for one.
    pub(crate) own: Option<Box<OwnedWaker>>,
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
    own: Vec<Option<Box<OwnedWaker>>>,
    /// The waker of everybody who has none of his own.
    common: OwnedWaker,
}

/// The place of one body.
struct Slot {
    /// Whose it is; marked where it must not be resumed in the common way: it has not started, or has a waker of its own.
    id: Id,
    /// The body, or [`Nobody`].
    body: Pin<Box<dyn Body>>,
}

/// What is where no body is: it needs no memory, and spares every resume the question whether there is one.
struct Nobody;

impl Body for Nobody {
    fn resume(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn ending(&self) -> Rc<dyn Ending> {
        Rc::new(Nobody)
    }
}

impl Ending for Nobody {
    fn end(&self, _: Error) {}
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
type Outcome = Result<Poll<()>, Box<dyn Any + Send>>;

impl Bodies {
    /// No bodies yet.
    pub(crate) fn new(shared: &Shared) -> Self {
        Bodies {
            slots: Vec::new(),
            own: Vec::new(),
            common: OwnedWaker::common(&shared.inbox),
        }
    }

    /// Makes the common waker known where it now is, for as long as the turn that begins.
    pub(crate) fn settle_in(&self, shared: &Shared) {
        shared.set_current_waker(self.common.waker());
    }

    /// Resumes the coroutine of this job in the common way. Tells whether that will do.
    ///
    /// It is written out, and looks at nothing but the slot: a spawned coroutine that has started, has no waker of its own, and gives way or ends, while
    /// none is being cancelled and nothing interrupts the loop. An entry for a coroutine that has ended finds another id in the slot, or none.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as the step it is the most of")]
    pub(crate) fn resume(&mut self, shared: &Shared, job: Job) -> bool {
        let Job(id) = job;
        let Some(slot) = self.slots.get_mut(id.index()) else {
            return false;
        };
        if slot.id != id || shared.detours.get() > 0 {
            return false;
        }
        shared.begin_resume(id);
        let outcome = poll(slot.body.as_mut(), &self.common);
        shared.running.set(Id::NONE);
        match outcome {
            Ok(Poll::Pending) => self.park(shared, id, None),
            Ok(Poll::Ready(())) => self.ended(shared, id),
            Err(panic) => self.panicked(shared, id, panic, None),
        }
        true
    }

    /// Resumes a coroutine that is not the common case, if it is still there.
    pub(crate) fn resume_rare(&mut self, shared: &Shared, id: Id, mut root: Option<&mut Root<'_>>) {
        let Some(flags) = shared.take_queued(id) else {
            return;
        };
        if !flags.has(Flags::STARTED) {
            self.admit(shared);
            if let Some(slot) = self.slots.get_mut(id.index())
                && !slot.is_empty()
            {
                slot.id = id;
            }
        }
        if flags.has(Flags::DOOMED) {
            return self.resume_doomed(shared, id, flags, root);
        }
        if let Some(outcome) = self.poll(shared, id, root.as_deref_mut()) {
            self.settle(shared, id, outcome, root);
        }
    }

    /// Runs a body to its next yield.
    #[inline]
    fn poll(&mut self, shared: &Shared, id: Id, root: Option<&mut Root<'_>>) -> Option<Outcome> {
        shared.begin_resume(id);
        let Bodies { slots, own, common } = self;
        let outcome = match root {
            Some(root) if root.id == id => {
                run(shared, root.body.as_mut(), root.own.as_deref(), common)
            }
            _ => {
                let slot = slots.get_mut(id.index());
                let Some(slot) = slot.filter(|slot| !slot.is_empty()) else {
                    shared.running.set(Id::NONE);
                    shared.park_coroutine(id);
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
        match outcome {
            Ok(Poll::Pending) => self.park(shared, id, root),
            Ok(Poll::Ready(())) => {
                if let Some(root) = root.filter(|root| root.id == id) {
                    // The caller of `block_on` drops its own.
                    root.done = true;
                    root.own = None;
                    shared.interrupt();
                }
                self.ended(shared, id);
            }
            Err(panic) => self.panicked(shared, id, panic, root),
        }
    }

    /// Parks a coroutine, which may have used the common waker.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "part of the common resume")]
    fn park(&mut self, shared: &Shared, id: Id, root: Option<&mut Root<'_>>) {
        let kept = self.common.clones() > 0;
        if !kept && self.common.forget_woken() {
            shared.give_way();
        }
        shared.park_coroutine(id);
        if kept {
            self.hand_over(shared, id, root);
        }
    }

    /// Takes a coroutine that has ended out of the table, and drops its body.
    #[inline(never)]
    fn ended(&mut self, shared: &Shared, id: Id) {
        shared.dispose(shared.leave(id));
        self.retire(shared, id);
        if self.common.was_used() {
            // Whatever still holds the waker of a coroutine that has ended reaches nobody.
            self.renew_common(shared);
        }
    }

    /// The poll just over left a clone of the common waker behind: it becomes the coroutine's own.
    #[cold]
    fn hand_over(&mut self, shared: &Shared, id: Id, root: Option<&mut Root<'_>>) {
        let used = self.renew_common(shared);
        used.adopt(id);
        if used.take_woken() {
            shared.wake(id);
        }
        let used = Some(Box::new(used));
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

    /// Replaces the common waker and gives the old one out.
    fn renew_common(&mut self, shared: &Shared) -> OwnedWaker {
        let fresh = OwnedWaker::common(&shared.inbox);
        shared.set_current_waker(fresh.waker());
        std::mem::replace(&mut self.common, fresh)
    }

    /// Resumes a coroutine that was cancelled, or drops one that was aborted or never started.
    #[cold]
    fn resume_doomed(
        &mut self,
        shared: &Shared,
        id: Id,
        flags: Flags,
        mut root: Option<&mut Root<'_>>,
    ) {
        if flags.has(Flags::ABORTED) || !flags.has(Flags::STARTED) {
            return self.end(shared, id, root, |label, keys| {
                doom(shared, id, label, keys, flags.has(Flags::ABORTED), false)
            });
        }
        let cancels = shared.cancels.get();
        shared.parked_anew.set(false);
        shared.set_cancelling(true);
        let outcome = self.poll(shared, id, root.as_deref_mut());
        shared.set_cancelling(false);
        let Some(outcome) = outcome else { return };
        let told = flags.has(Flags::TOLD) || shared.cancels.get() != cancels;
        if told && let Some(record) = shared.records.borrow_mut().get_mut(id) {
            record.flags.set(Flags::TOLD);
        }
        let in_cleanup = shared.in_cleanup(id);
        if matches!(outcome, Ok(Poll::Pending)) && !in_cleanup {
            if !told && shared.parked_anew.get() {
                // A value won, or a clean-up hid the cancel: the point it is parked on now gives it.
                self.settle(shared, id, outcome, root);
                return shared.wake_points(id);
            }
            let note = shared.note();
            let parked_on = note.site.map(|site| (note.kind.0, Some(site)));
            if self.common.was_used() {
                self.renew_common(shared);
            }
            return self.end(shared, id, root, |coroutine, keys| {
                let reason = cause(shared, id).0;
                shared.report(&Incident::CancelSwallowed {
                    coroutine: coroutine.clone(),
                    reason,
                    parked_on,
                });
                doom(shared, id, coroutine, keys, false, true)
            });
        }
        if in_cleanup && let Some(record) = shared.records.borrow_mut().get_mut(id) {
            record.flags.set(Flags::IN_CLEANUP);
        }
        self.settle(shared, id, outcome, root);
    }

    /// Ends a coroutine whose body panicked.
    #[cold]
    fn panicked(
        &mut self,
        shared: &Shared,
        id: Id,
        panic: Box<dyn Any + Send>,
        root: Option<&mut Root<'_>>,
    ) {
        if self.common.was_used() {
            self.renew_common(shared);
        }
        match root {
            Some(root) if root.id == id => {
                root.panic = Some(panic);
                self.end(shared, id, Some(root), |label, keys| {
                    shared.report_leaks(&label, keys);
                    ErrorKind::Stopped.into()
                });
            }
            root => {
                let message = panic_message(panic).into_boxed_str();
                self.end(shared, id, root, |label, keys| {
                    shared.report_leaks(&label, keys);
                    ErrorKind::Panicked {
                        coroutine: Some(label),
                        message,
                    }
                    .into()
                });
            }
        }
    }

    /// Drops a body that has not ended by itself, then tells whoever joins it (keeps invariant 2).
    fn end(
        &mut self,
        shared: &Shared,
        id: Id,
        root: Option<&mut Root<'_>>,
        error: impl FnOnce(Label, Vec<PendingKey>) -> Error,
    ) {
        let ending = match &root {
            Some(root) if root.id == id => root.body.ending(),
            _ => match self.slots.get(id.index()) {
                Some(slot) if !slot.is_empty() => slot.body.ending(),
                _ => return,
            },
        };
        self.remove(shared, id, root);
        let Some(label) = shared.label(id) else {
            return;
        };
        let keys = take_leaks(shared, id);
        let error = error(label, keys);
        shared.contain("drop", || ending.end(error));
        shared.dispose(shared.leave(id));
    }

    /// Drops a body that has ended by itself, and keeps its box if it can be filled again.
    #[inline]
    fn retire(&mut self, shared: &Shared, id: Id) {
        let Some(mut body) = self.take(id) else {
            return;
        };
        match shared.contain("drop", || body.as_mut().vacate()) {
            Some(fit) if fit != Fit::NONE => {
                let size = size_of_val(&*body);
                shared.spares.borrow_mut().put(fit, size, body);
            }
            _ => {
                shared.contain("drop", || drop(body));
            }
        }
    }

    /// Drops a body. The caller of `block_on` drops its own.
    #[inline]
    fn remove(&mut self, shared: &Shared, id: Id, root: Option<&mut Root<'_>>) {
        match root {
            Some(root) if root.id == id => {
                root.done = true;
                shared.interrupt();
                root.own = None;
            }
            _ => {
                let body = self.take(id);
                shared.contain("drop", || drop(body));
            }
        }
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

    /// Drops every body, and ends whoever joins one with `LoopGone`. Tells whether there was one.
    pub(crate) fn drop_all(&mut self, shared: &Shared) -> bool {
        self.admit(shared);
        let bodies = std::mem::take(&mut self.slots);
        self.own = Vec::new();
        let mut any = false;
        for body in bodies
            .into_iter()
            .filter(|slot| !slot.is_empty())
            .map(|slot| slot.body)
        {
            any = true;
            let ending = body.ending();
            shared.contain("drop", || drop(body));
            shared.contain("drop", || ending.end(ErrorKind::LoopGone.into()));
        }
        any
    }

    /// Takes newcomers into their slots.
    fn admit(&mut self, shared: &Shared) {
        let mut newcomers = shared.newcomers.borrow_mut();
        let last = newcomers.iter().map(|(id, _)| id.index()).max();
        if let Some(last) = last
            && self.slots.len() <= last
        {
            self.slots.resize_with(last + 1, Slot::empty);
        }
        for (id, body) in newcomers.drain(..) {
            if let Some(slot) = self.slots.get_mut(id.index()) {
                *slot = Slot {
                    id: id.marked(),
                    body,
                };
            }
        }
    }
}

/// Polls a body with its own waker or the common one, and contains its panic.
#[inline]
fn run(
    shared: &Shared,
    body: Pin<&mut (dyn Body + '_)>,
    own: Option<&OwnedWaker>,
    common: &OwnedWaker,
) -> Outcome {
    let Some(own) = own else {
        return poll(body, common);
    };
    own.take_woken();
    shared.set_current_waker(own.waker());
    let outcome = poll(body, own);
    shared.set_current_waker(common.waker());
    outcome
}

/// Polls a body with a waker, and contains its panic.
#[inline]
fn poll(body: Pin<&mut (dyn Body + '_)>, waker: &OwnedWaker) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| {
        body.resume(&mut Context::from_waker(waker.waker()))
    }))
}

/// The error for whoever joins a coroutine that was cancelled or aborted.
fn doom(
    shared: &Shared,
    id: Id,
    coroutine: Label,
    keys: Vec<PendingKey>,
    aborted: bool,
    swallowed: bool,
) -> Error {
    let (reason, site) = cause(shared, id);
    if aborted {
        ErrorKind::Aborted {
            coroutine,
            site,
            keys,
        }
        .into()
    } else {
        ErrorKind::CoroutineCancelled {
            coroutine,
            reason,
            site,
            swallowed,
            keys,
        }
        .into()
    }
}

/// Why and from where a coroutine was cancelled or aborted.
fn cause(shared: &Shared, id: Id) -> (Cow<'static, str>, Site) {
    let records = shared.records.borrow();
    let cause = records
        .get(id)
        .and_then(|record| record.rare()?.cancel.clone());
    cause.map_or((Cow::Borrowed(""), Location::caller()), |cause| {
        (cause.reason, cause.site)
    })
}
