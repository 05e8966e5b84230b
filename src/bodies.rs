//! The bodies of all coroutines, and how one is resumed, dropped, and outlived.
//!
//! They are apart from what handles share because the loop owns them by value: a body runs with `&mut`, so nobody can resume
//! it from within itself, and a handle inside a body makes no circle of owners.
//!
//! Invariants:
//! 1. A body sits in the slot whose index its id names; its record is in the table exactly as long as the body is here.
//! 2. A body is dropped before whoever joins it hears of its end, and with nothing borrowed.
//! 3. A resume of a cancelled coroutine leaves it ended or parked inside `cleanup`; otherwise the body is dropped there and that is
//!    reported: a cancel is neither swallowed nor does it spin.
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
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::arena::Id;
use crate::error::{Error, ErrorKind};
use crate::handle::take_leaks;
use crate::incident::Incident;
use crate::record::{Body, Ending, Flags, Note};
use crate::shared::{Shared, panic_message};
use crate::snapshot::{Label, PendingKey};
use crate::waker::OwnedWaker;

/// Where one body is kept.
#[derive(Default)]
struct Slot {
    /// The body.
    body: Option<Pin<Box<dyn Body>>>,
    /// Its own waker, once a foreign future has asked for one.
    own: Option<Box<OwnedWaker>>,
}

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
    /// The waker of everybody who has none of his own.
    common: OwnedWaker,
}

/// How one resume went.
type Outcome = Result<Poll<()>, Box<dyn Any + Send>>;

impl Bodies {
    /// No bodies yet.
    pub(crate) fn new(shared: &Shared) -> Self {
        let common = OwnedWaker::common(&shared.inbox);
        shared.set_current_waker(common.waker());
        Bodies { slots: Vec::new(), common }
    }

    /// Resumes one coroutine, if it is still there.
    #[inline]
    pub(crate) fn resume(&mut self, shared: &Shared, id: Id, root: Option<&mut Root<'_>>) {
        let flags = {
            let mut records = shared.records.borrow_mut();
            let Some(record) = records.get_mut(id) else { return };
            let flags = record.flags;
            record.flags.clear(Flags::QUEUED);
            record.flags.set(Flags::STARTED);
            flags
        };
        if !flags.has(Flags::STARTED) {
            self.admit(shared);
        }
        if flags.has(Flags::CANCELLED.or(Flags::ABORTED)) {
            return self.resume_doomed(shared, id, flags, root);
        }
        let outcome = self.poll(shared, id, root.as_deref());
        self.settle(shared, id, outcome, root);
    }

    /// Takes newcomers into their slots.
    fn admit(&mut self, shared: &Shared) {
        let mut newcomers = shared.newcomers.borrow_mut();
        for (id, body) in newcomers.drain(..) {
            if self.slots.len() <= id.index() {
                self.slots.resize_with(id.index() + 1, Slot::default);
            }
            self.slots[id.index()].body = Some(body);
        }
    }
}
