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

use crate::arena::Id;
use crate::clock::nanos;
use crate::error::Error;
use crate::hub::engine::{Hub, OrderKey};
use crate::hub::limit::HeadLimit;
use crate::incident::Incident;

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
    #[cold]
    pub(super) fn limit_head(self: &Rc<Self>, seat: u32, limit: HeadLimit) {
        self.arm(seat, Step::Report, limit.report);
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
        self.table.borrow_mut().seats.set_limit(seat, Some(timer));
    }

    /// The call in this seat goes on after its limit: its timer would be gone otherwise.
    fn overdue(self: &Rc<Self>, seat: u32, step: Step) {
        let found = {
            let mut table = self.table.borrow_mut();
            table.seats.set_limit(seat, None);
            let seat = table.seats.get(seat);
            seat.map(|seat| (seat.worker, seat.key))
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
            state.map(|state| (state.name.clone(), table.count(key)))
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
