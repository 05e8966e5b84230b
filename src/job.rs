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

    /// Whether these two lie side by side in the tables, as they do where coroutines come in the order of their spawn.
    pub(crate) fn is_beside(self, other: Job) -> bool {
        self.0.index().abs_diff(other.0.index()) == 1
    }

    /// The row of which the oldest callback is to be called, if it is such a job.
    #[inline]
    pub(crate) fn row(self) -> Option<usize> {
        self.0.which_marked_nothing()
    }

    /// Of a job that names no row: the timer whose callback is to be called, unless it was cancelled meanwhile, if it is no coroutine.
    pub(crate) fn timer(self) -> Option<TimerId> {
        self.0.is_marked().then(|| self.0.unmarked())
    }
}
