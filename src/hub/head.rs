//! What becomes of a call that takes too long: reported, then cancelled, then aborted, as far as was asked.
//!
//! It is apart because it is driven by timers, and by nothing else.
//!
//! ```text
//!   call begins ── report ──▶ reported ── cancel ──▶ cancelled ── abort ──▶ aborted
//!        └── settled: no timer is left ◀──┴──────────────┴────────────────────┘
//! ```

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::{Hub, OrderKey};
use crate::arena::Id;
use crate::clock::nanos;
use crate::error::Error;
use crate::incident::Incident;

/// How long a call of a keyed engine may take, and what happens then: see [`KeyedBuilder::head_limit`](crate::ordered::KeyedBuilder::head_limit).
///
/// ```
/// use yieldpoint::{ms, ordered::HeadLimit};
///
/// let told = HeadLimit::from(ms(100)); // reported after 100 ms, and nothing else
/// let ended = HeadLimit::from(ms(100)).then_cancel(ms(900)).then_abort(ms(1000)); // cancelled after a second, aborted after two
/// # let _ = (told, ended);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a limit does nothing until an engine has it"]
pub struct HeadLimit {
    /// After so long it is reported.
    report: Duration,
    /// So long after that it is cancelled.
    cancel: Option<Duration>,
    /// So long after that it is aborted.
    abort: Option<Duration>,
}

impl From<Duration> for HeadLimit {
    /// Reports a call that runs longer than this.
    fn from(report: Duration) -> Self {
        HeadLimit {
            report,
            cancel: None,
            abort: None,
        }
    }
}

impl HeadLimit {
    /// Cancels a call that goes on for so long after it was reported. Zero means at once.
    pub fn then_cancel(mut self, after: Duration) -> Self {
        self.cancel = Some(after);
        self
    }

    /// Aborts a call that goes on for so long after that: after it was cancelled, and cleans up, or else was reported.
    pub fn then_abort(mut self, after: Duration) -> Self {
        self.abort = Some(after);
        self
    }
}

/// What is done next to a call that goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is reported.
    Report,
    /// It is cancelled.
    Cancel,
    /// It is aborted.
    Abort,
}

impl<K, M, R, E> Hub<K, M, R, E>
where
    K: OrderKey,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    /// Limits the call that begins in this seat.
    #[inline]
    pub(super) fn limit_head(self: &Rc<Self>, seat: u32) {
        if let Some(limit) = self.rules.head {
            self.arm(seat, Step::Report, limit.report);
        }
    }

    /// Sets the timer for the next step.
    #[cold]
    fn arm(self: &Rc<Self>, seat: u32, step: Step, after: Duration) {
        let me = Rc::downgrade(self);
        let call = Box::new(move |_: &_| {
            if let Some(hub) = me.upgrade() {
                hub.overdue(seat, step);
            }
        });
        let timer = self.shared.arm_call(nanos(after), call);
        if let Some(seat) = self.table.borrow_mut().seats.get_mut(seat) {
            seat.limit = Some(timer);
        }
    }

    /// The call in this seat goes on after its limit: its timer would be gone otherwise.
    fn overdue(self: &Rc<Self>, seat: u32, step: Step) {
        let found = {
            let mut table = self.table.borrow_mut();
            table.seats.get_mut(seat).map(|seat| {
                seat.limit = None;
                (seat.worker, seat.key)
            })
        };
        let Some((worker, key)) = found else { return };
        let Some(limit) = self.rules.head else {
            return;
        };
        let abort = limit.abort.map(|after| (Step::Abort, after));
        let next = match step {
            Step::Report => {
                self.report_head(key);
                let cancel = limit.cancel.map(|after| (Step::Cancel, after));
                cancel.or(abort)
            }
            Step::Cancel => {
                let reason = Cow::Borrowed("it took longer than its engine's limit");
                self.shared.cancel(worker, reason, self.site);
                abort
            }
            Step::Abort => {
                self.shared.abort(worker, self.site);
                None
            }
        };
        if let Some((step, after)) = next {
            if after.is_zero() {
                self.overdue(seat, step);
            } else {
                self.arm(seat, step, after);
            }
        }
    }

    /// Tells the error hook of a call that takes too long.
    fn report_head(&self, key: Id) {
        let found = {
            let table = self.table.borrow();
            let state = table.keys.get(key);
            state.map(|state| (state.name.clone(), state.len as usize))
        };
        let Some((name, queued)) = found else { return };
        let Some(head) = self.head(key) else { return };
        self.shared.report(&Incident::SlowHead {
            engine: self.label(name.get()).into(),
            created_at: self.site,
            running_for: head.running_for,
            parked_on: head.parked_on.map(|(kind, site, _)| (kind, site)),
            queued,
        });
    }
}
