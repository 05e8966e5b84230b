//! The one door through which time comes in.
//!
//! It is apart so that a simulated clock can stand behind the same door: nothing else in the crate reads a clock.
//!
//! Invariants:
//! 1. Readings never go backwards.
//! 2. A reading is [`Nanos`] on the loop's own scale; on Linux with the system's clock that scale is `CLOCK_MONOTONIC`, so that a
//!    deadline can be handed to the kernel as it is, without another reading.
//! 3. An [`Instant`] is mapped to the first reading that is certainly not before it: a timer set by `Instant` is never early.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::timers::Nanos;

/// Where a loop's time comes from.
pub(crate) struct Clock {
    /// The system's clock, or one moved by hand.
    source: Source,
    /// One moment on both scales, by which readings and `Instant`s are mapped to each other. Read in this order (invariant 3).
    anchor: (Instant, Nanos),
}

/// The two clocks there are.
enum Source {
    /// The system's monotonic clock.
    System,
    /// A clock that a test moves.
    Manual(ManualClock),
}

impl Clock {
    /// The system's monotonic clock.
    pub(crate) fn system() -> Self {
        let at = Instant::now();
        Clock {
            source: Source::System,
            anchor: (at, system_now(at)),
        }
    }

    /// A clock moved by hand.
    pub(crate) fn manual(clock: ManualClock) -> Self {
        Clock {
            anchor: (clock.start, 0),
            source: Source::Manual(clock),
        }
    }

    /// The time now.
    #[inline]
    pub(crate) fn now(&self) -> Nanos {
        match &self.source {
            Source::System => system_now(self.anchor.0),
            Source::Manual(clock) => clock.elapsed.get(),
        }
    }

    /// The manual clock behind the door, if that is what it is.
    pub(crate) fn as_manual(&self) -> Option<&ManualClock> {
        match &self.source {
            Source::System => None,
            Source::Manual(clock) => Some(clock),
        }
    }

    /// The reading as an `Instant`; readings too far ahead for one saturate to about 100 years from the start.
    pub(crate) fn instant(&self, at: Nanos) -> Instant {
        let ahead = Duration::from_nanos(at.saturating_sub(self.anchor.1));
        self.anchor
            .0
            .checked_add(ahead)
            .unwrap_or_else(|| self.anchor.0 + Duration::from_secs(3_155_760_000))
    }

    /// The reading for an `Instant`; one before the loop was made maps to the loop's beginning.
    pub(crate) fn reading(&self, at: Instant) -> Nanos {
        self.anchor
            .1
            .saturating_add(nanos(at.saturating_duration_since(self.anchor.0)))
    }
}

/// A duration in nanoseconds; what does not fit (584 years) saturates.
pub(crate) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

#[cfg(target_os = "linux")]
#[inline]
fn system_now(_start: Instant) -> Nanos {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

#[cfg(not(target_os = "linux"))]
#[inline]
fn system_now(start: Instant) -> Nanos {
    nanos(start.elapsed())
}

/// A clock that stands still until it is moved: for tests that assert on time without waiting for it.
///
/// Clones are the same clock. Give it to the loop with [`Builder::clock`](crate::builder::Builder::clock). With
/// [`auto`](ManualClock::auto) the loop itself moves it to the next deadline whenever it would sleep while no
/// [`Remote`](crate::Remote) is alive and nobody waits for a socket, so `block_on` of an hour's sleep returns at once. Otherwise the
/// sleep is a real one, and no deadline ends it.
///
/// Moving it tells nobody: between turns it makes no descriptor readable.
///
/// ```
/// use yieldpoint::{EventLoop, ManualClock, Result, ms};
///
/// let clock = ManualClock::auto();
/// let mut event_loop = EventLoop::builder().clock(&clock).build()?;
/// event_loop.block_on(async |co| -> Result {
///     co.sleep(ms(3_600_000)).await
/// })?;
/// assert_eq!(clock.elapsed(), ms(3_600_000));
/// # Ok::<(), yieldpoint::Error>(())
/// ```
#[derive(Clone)]
pub struct ManualClock {
    /// Nanoseconds since the start, shared by all clones.
    elapsed: Rc<Cell<Nanos>>,
    /// The `Instant` that stands for zero.
    start: Instant,
    /// Whether an idle loop moves it.
    auto: bool,
}

impl ManualClock {
    /// Makes a clock that only [`advance`](ManualClock::advance) moves.
    #[must_use]
    pub fn new() -> Self {
        ManualClock {
            elapsed: Rc::default(),
            start: Instant::now(),
            auto: false,
        }
    }

    /// Makes a clock that an idle loop also moves to its next deadline.
    #[must_use]
    pub fn auto() -> Self {
        ManualClock {
            auto: true,
            ..Self::new()
        }
    }

    /// Moves the clock forward; past the end of the scale (584 years) it stops there, and no further timer comes due.
    pub fn advance(&self, by: Duration) {
        self.elapsed
            .set(self.elapsed.get().saturating_add(nanos(by)));
    }

    /// How far the clock has been moved since it was made.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.elapsed.get())
    }

    /// Whether an idle loop may move the clock.
    pub(crate) fn is_auto(&self) -> bool {
        self.auto
    }

    /// Moves the clock to `at`, never backwards.
    pub(crate) fn move_to(&self, at: Nanos) {
        self.elapsed.set(self.elapsed.get().max(at));
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock")
            .field("elapsed", &self.elapsed())
            .field("auto", &self.auto)
            .finish_non_exhaustive()
    }
}
