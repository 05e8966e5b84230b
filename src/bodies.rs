//! The bodies of all coroutines, and how one is resumed, dropped, and outlived.
//!
//! They are apart from what handles share because the loop owns them by value: a body runs with `&mut`, so nobody can resume
//! it from within itself, and a handle inside a body makes no circle of owners.
//!
//! Invariants:
//! 1. A body sits in the slot whose index its id names; its record is in the table exactly as long as the body is here.
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
use std::task::{Context, Poll};

use crate::arena::Id;
use crate::error::{Error, ErrorKind};
use crate::fit::Fit;
use crate::handle::take_leaks;
use crate::incident::Incident;
use crate::record::{Body, Flags};
use crate::shared::{Shared, panic_message};
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
    slots: Vec<Option<Pin<Box<dyn Body>>>>,
    /// By the same: the waker of a coroutine whose foreign future has asked for one. Its record is marked.
    own: Vec<Option<Box<OwnedWaker>>>,
    /// The waker of everybody who has none of his own.
    common: OwnedWaker,
}

/// The number of slots that are kept, used or not.
const KEPT: usize = 1024;

/// How one resume went.
type Outcome = Result<Poll<()>, Box<dyn Any + Send>>;

impl Bodies {
    /// No bodies yet.
    pub(crate) fn new(shared: &Shared) -> Self {
        let common = OwnedWaker::common(&shared.inbox);
        shared.set_current_waker(common.waker());
        Bodies {
            slots: Vec::new(),
            own: Vec::new(),
            common,
        }
    }

    /// Resumes one coroutine, if it is still there.
    ///
    /// The common case is written out: a spawned coroutine that is not being cancelled, has no waker of its own, and gives way or ends.
    /// Whatever is otherwise goes the longer way.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as the step it is the most of")]
    pub(crate) fn resume(&mut self, shared: &Shared, id: Id, root: Option<&mut Root<'_>>) {
        let Some(flags) = shared.take_queued(id) else {
            return;
        };
        if !flags.has(Flags::UNUSUAL)
            && let Some(Some(body)) = self.slots.get_mut(id.index())
        {
            shared.begin_resume(id);
            let outcome = poll(body.as_mut(), &self.common);
            shared.running.set(Id::NONE);
            match outcome {
                Ok(Poll::Pending) if self.common.was_used() => self.used(shared, id, root),
                Ok(Poll::Pending) => shared.park_coroutine(id),
                Ok(Poll::Ready(())) => self.ended(shared, id),
                Err(panic) => self.panicked(shared, id, panic, root),
            }
        } else {
            self.resume_rare(shared, id, flags, root);
        }
    }

    /// Resumes a coroutine that is not the common case.
    #[inline(never)]
    fn resume_rare(
        &mut self,
        shared: &Shared,
        id: Id,
        flags: Flags,
        mut root: Option<&mut Root<'_>>,
    ) {
        if !flags.has(Flags::STARTED) {
            self.admit(shared);
        }
        if flags.has(Flags::CANCELLED.or(Flags::ABORTED)) {
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
                let Some(Some(body)) = slots.get_mut(id.index()) else {
                    shared.running.set(Id::NONE);
                    shared.park_coroutine(id);
                    return None;
                };
                let own = own.get(id.index()).and_then(Option::as_deref);
                run(shared, body.as_mut(), own, common)
            }
        };
        shared.running.set(Id::NONE);
        Some(outcome)
    }

    /// Draws the conclusion from a resume.
    fn settle(&mut self, shared: &Shared, id: Id, outcome: Outcome, root: Option<&mut Root<'_>>) {
        match outcome {
            Ok(Poll::Pending) => self.used(shared, id, root),
            Ok(Poll::Ready(())) => {
                if let Some(root) = root.filter(|root| root.id == id) {
                    // The caller of `block_on` drops its own.
                    root.done = true;
                    root.own = None;
                    shared.interrupted.set(true);
                }
                self.ended(shared, id);
            }
            Err(panic) => self.panicked(shared, id, panic, root),
        }
    }

    /// Parks a coroutine that may have used the common waker.
    #[inline(never)]
    fn used(&mut self, shared: &Shared, id: Id, root: Option<&mut Root<'_>>) {
        if self.common.clones() > 0 {
            shared.park_coroutine(id);
            self.hand_over(shared, id, root);
        } else {
            if self.common.forget_woken() {
                shared.give_way();
            }
            shared.park_coroutine(id);
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
                shared.mark(id, Flags::OWN_WAKER);
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
        shared.cancelling.set(true);
        let outcome = self.poll(shared, id, root.as_deref_mut());
        shared.cancelling.set(false);
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
                Some(Some(body)) => body.ending(),
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
        let slot = self.slots.get_mut(id.index()).and_then(Option::take);
        let Some(mut body) = slot else { return };
        self.drop_own(id);
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
                shared.interrupted.set(true);
                root.own = None;
            }
            _ => {
                let body = self.slots.get_mut(id.index()).and_then(Option::take);
                self.drop_own(id);
                shared.contain("drop", || drop(body));
            }
        }
    }

    /// Drops a coroutine's own waker, if it has one.
    #[inline]
    fn drop_own(&mut self, id: Id) {
        if let Some(own) = self.own.get_mut(id.index()) {
            *own = None;
        }
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
        while self.slots.len() > KEPT && self.slots.last().is_some_and(Option::is_none) {
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
        for body in bodies.into_iter().flatten() {
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
            self.slots.resize_with(last + 1, || None);
        }
        for (id, body) in newcomers.drain(..) {
            if let Some(slot) = self.slots.get_mut(id.index()) {
                *slot = Some(body);
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
