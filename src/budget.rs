//! How much one turn may do, and what it did.

use std::time::{Duration, Instant};

/// The steps of a turn whose budget names none.
const DEFAULT_STEPS: usize = 4096;

/// How much one turn may do: a number of steps, a time, or both.
///
/// A step is one callback, or one coroutine's run to its next yield. The budget is looked at between steps, so a turn overruns its
/// time by at most one step. What is left over stays ready for the next turn, in order.
///
/// ```
/// use yieldpoint::{Budget, EventLoop, Result};
///
/// let mut event_loop = EventLoop::new()?;
/// for _ in 0..3 {
///     event_loop.handle().call_soon(|| {});
/// }
/// let report = event_loop.turn(Budget::steps(2))?;
/// assert_eq!((report.steps, report.work_left), (2, true));
/// # Ok::<(), yieldpoint::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a budget does nothing until a turn is given it"]
pub struct Budget {
    /// The most steps, if any were named.
    steps: Option<usize>,
    /// The most time.
    time: Option<Duration>,
}

impl Budget {
    /// At most `n` steps. Zero only looks at timers, sockets and inbox.
    pub const fn steps(n: usize) -> Self {
        Budget {
            steps: Some(n),
            time: None,
        }
    }

    /// As many steps as begin within `limit` of the turn's beginning; at least one if anything is ready. On a
    /// [`ManualClock`](crate::ManualClock), which may stand still, at most 4096 as well.
    pub const fn time(limit: Duration) -> Self {
        Budget {
            steps: None,
            time: Some(limit),
        }
    }

    /// The same number of steps, and a limit in time.
    pub const fn and_time(self, limit: Duration) -> Self {
        Budget {
            steps: self.steps,
            time: Some(limit),
        }
    }

    /// The most steps. Where the clock may stand still, a limit in time alone would not end the turn.
    pub(crate) fn max_steps(self, may_stand_still: bool) -> usize {
        let unnamed = if may_stand_still {
            DEFAULT_STEPS
        } else {
            usize::MAX
        };
        self.steps.unwrap_or(unnamed)
    }

    /// The most time.
    pub(crate) const fn max_time(self) -> Option<Duration> {
        self.time
    }
}

impl Default for Budget {
    /// 4096 steps.
    fn default() -> Self {
        Budget::steps(DEFAULT_STEPS)
    }
}

/// What a turn did, and what it left.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TurnReport {
    /// Callbacks run and coroutines resumed.
    pub steps: usize,
    /// Timers that came due.
    pub timers: usize,
    /// Sockets' events taken in.
    pub events: usize,
    /// Whether something is ready now: turn again without waiting.
    pub work_left: bool,
    /// When the next timer is due. A timer that has passed counts as work left.
    pub next_deadline: Option<Instant>,
    /// Whether coroutines are left and it is certain that nothing in the loop can ever wake any of them: see
    /// [`Outcome::Stuck`](crate::Outcome::Stuck); [`snapshot`](crate::EventLoop::snapshot) says who waits for what. What the host
    /// itself may do between turns, with a handle or a resolver that it keeps, is the host's to know.
    pub stuck: bool,
}
