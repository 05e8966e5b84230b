//! How a coroutine ends: by itself, by a panic, by a cancel or an abort.
//!
//! It is apart from the bodies because most resumes end nothing.
//!
//! Invariants:
//! 1. A body is dropped before whoever joins it hears of its end, and with nothing borrowed.
//! 2. Whatever panics while an end is told, the end is told.

use std::any::Any;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use super::{Bodies, Root};
use crate::arena::Id;
use crate::error::{Error, ErrorKind};
use crate::handle::take_leaks;
use crate::incident::Incident;
use crate::record::{Body, Ended, Flags, Standing};
use crate::shared::{Shared, panic_message};
use crate::site::Site;
use crate::snapshot::{Label, PendingKey};

impl Bodies {
    /// Leaves the end of a coroutine that has ended by itself to who joins it.
    #[inline(never)]
    pub(super) fn ended(&mut self, shared: &Shared, id: Id, how: Ended) {
        if let Some(body) = self.take(id) {
            self.conclude(shared, id, body, how);
        } else {
            // The caller of `block_on` has its end.
            self.cut_off(shared, id);
            shared.leave(id);
        }
    }

    /// The same, of one whose body is in no slot.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "as the end of most resumes that start"
    )]
    pub(super) fn conclude(
        &mut self,
        shared: &Shared,
        id: Id,
        body: Pin<Box<dyn Body>>,
        how: Ended,
    ) {
        self.cut_off(shared, id);
        let concluded = match how {
            Ended::Well => shared.conclude_plainly(id, body),
            Ended::Badly => Err(body),
        };
        if let Err(body) = concluded {
            judge(shared, id, body);
        }
    }

    /// Sees to it that whatever still holds the waker of a coroutine that has just ended reaches nobody.
    #[inline]
    fn cut_off(&mut self, shared: &Shared, id: Id) {
        if self.common.is_held() {
            self.renew_common(shared, id);
        }
    }

    /// Resumes a coroutine that was cancelled, or drops one that was aborted or never started.
    #[cold]
    pub(super) fn resume_doomed(
        &mut self,
        shared: &Shared,
        id: Id,
        flags: Flags,
        started: bool,
        mut root: Option<&mut Root<'_>>,
    ) {
        if flags.has(Flags::ABORTED) || !started {
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
        if told {
            shared.records.borrow_mut().mark(id, Flags::TOLD);
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
            self.cut_off(shared, id);
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
        if in_cleanup {
            shared.records.borrow_mut().mark(id, Flags::IN_CLEANUP);
        }
        self.settle(shared, id, outcome, root);
    }

    /// Ends a coroutine whose body panicked.
    #[cold]
    pub(super) fn panicked(
        &mut self,
        shared: &Shared,
        id: Id,
        panic: Box<dyn Any + Send>,
        root: Option<&mut Root<'_>>,
    ) {
        self.cut_off(shared, id);
        match root {
            Some(root) if root.id == id => {
                root.panic = Some(panic);
                self.end(shared, id, Some(root), |label, keys| {
                    shared.report_leaks(&label, keys);
                    ErrorKind::Stopped.into()
                });
            }
            root => {
                let message = panic_message(panic);
                let slot = self.slots.get(id.index());
                if slot.is_some_and(|slot| slot.body.has_ended()) {
                    // It had ended, and what it held panicked when it was dropped.
                    shared.report(&Incident::Panicked {
                        coroutine: None,
                        message,
                        during: "drop",
                    });
                    return self.ended(shared, id, Ended::Badly);
                }
                self.end(shared, id, root, |label, keys| {
                    panicked(shared, label, keys, message)
                });
            }
        }
    }

    /// Drops a body that has not ended by itself, then tells whoever joins it (keeps invariant 1).
    fn end(
        &mut self,
        shared: &Shared,
        id: Id,
        root: Option<&mut Root<'_>>,
        error: impl FnOnce(Label, Vec<PendingKey>) -> Error,
    ) {
        shared.end_resume();
        match root {
            Some(root) if root.id == id => {
                // The caller of `block_on` drops its own.
                root.done = true;
                shared.interrupt();
                root.own = None;
                end_body(shared, id, root.body.as_mut(), error);
                shared.leave(id);
            }
            _ => {
                let Some(mut body) = self.take(id) else {
                    return;
                };
                shared.contain("drop", || body.as_mut().vacate());
                end_body(shared, id, body.as_mut(), error);
                shared.conclude(id, body);
            }
        }
    }
}

/// Ends a body from outside, which was dropped.
fn end_body(
    shared: &Shared,
    id: Id,
    body: Pin<&mut (dyn Body + '_)>,
    error: impl FnOnce(Label, Vec<PendingKey>) -> Error,
) {
    if let Some(label) = shared.label(id) {
        let keys = take_leaks(shared, id);
        let error = error(label, keys);
        shared.contain("drop", || body.end(error));
    }
}

/// The error by which whoever joins hears of a panic.
fn panicked(shared: &Shared, label: Label, keys: Vec<PendingKey>, message: String) -> Error {
    shared.report_leaks(&label, keys);
    ErrorKind::Panicked {
        coroutine: Some(label),
        message: message.into_boxed_str(),
    }
    .into()
}

/// Has the end of a coroutine judged that failed, has keys or a name, was cancelled, or is joined by nobody.
#[cold]
fn judge(shared: &Shared, id: Id, mut body: Pin<Box<dyn Body>>) {
    let Some(label) = shared.label(id) else {
        return;
    };
    // It may have ended in its first resume, and who is told of it may look at it.
    shared.records.borrow_mut().started(id);
    let cancelled = {
        let records = shared.records.borrow();
        let record = records
            .get(id)
            .filter(|record| record.flags.has(Flags::CANCELLED));
        record.and_then(|record| record.rare()?.cancel.clone())
    };
    let keys = take_leaks(shared, id);
    let standing = Standing {
        label,
        cancelled,
        keys,
    };
    let report = |incident: &Incident| shared.report(incident);
    let judged = catch_unwind(AssertUnwindSafe(|| body.as_mut().judge(standing, &report)));
    if let Err(panic) = judged {
        let message = panic_message(panic);
        end_body(shared, id, body.as_mut(), |label, keys| {
            panicked(shared, label, keys, message)
        });
    }
    shared.conclude(id, body);
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
