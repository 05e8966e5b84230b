//! One entry of the ready queue.
//!
//! It is apart because the queue, the turn and the bodies all read it, and what it says is in the marks of one word.

use crate::arena::Id;
use crate::timers::TimerId;

/// One entry of the ready queue, in one word.
#[derive(Clone, Copy)]
pub(crate) struct Job(pub(crate) Id);

impl Job {
    /// To run the oldest callback of this row.
    #[inline]
    pub(crate) fn call(row: usize) -> Job {
        Job(Id::nothing(row).marked())
    }

    /// The coroutine to resume, if it is not a callback.
    #[inline]
    pub(crate) fn coroutine(self) -> Option<Id> {
        (!self.0.is_marked()).then_some(self.0)
    }

    /// Whether these two lie side by side in the tables, as they do where coroutines come in the order of their spawn.
    pub(crate) fn is_beside(self, other: Job) -> bool {
        self.0.index().abs_diff(other.0.index()) == 1
    }

    /// Of a callback: the timer it belongs to, unless it was cancelled meanwhile, or the row of which it is the oldest.
    #[inline]
    pub(crate) fn timer_or_row(self) -> Result<TimerId, usize> {
        match self.0.which_marked_nothing() {
            Some(row) => Err(row),
            None => Ok(self.0.unmarked()),
        }
    }
}
