//! The settings of a loop, before there is one.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use crate::clock::ManualClock;
use crate::incident::{self, Incident};
use crate::pool::PoolLimits;
use crate::shared::ErrorHook;

/// The settings of a loop that is still to be built.
///
/// ```
/// use yieldpoint::{EventLoop, ms};
///
/// let event_loop = EventLoop::builder()
///     .on_error(|incident| eprintln!("in the shop: {incident}"))
///     .stalled_after(ms(5_000))
///     .pool(2, 100)
///     .build()?;
/// assert!(event_loop.snapshot().coroutines.is_empty());
/// # Ok::<(), yieldpoint::Error>(())
/// ```
#[must_use = "a builder does nothing until build is called"]
pub struct Builder {
    /// The clock, if not the system's.
    pub(crate) clock: Option<ManualClock>,
    /// What hears of incidents.
    pub(crate) hook: ErrorHook,
    /// Whether an incident ends the run with a panic.
    pub(crate) fatal: bool,
    /// After how long nothing moving is suspicious.
    pub(crate) stalled_after: Option<Duration>,
    /// How long to stay awake where nothing is ready.
    pub(crate) busy_poll: Option<Duration>,
    /// The size of the pool for blocking work.
    pub(crate) pool: PoolLimits,
}

impl Builder {
    /// Uses a clock that the program moves, instead of the system's.
    pub fn clock(mut self, clock: &ManualClock) -> Self {
        self.clock = Some(clock.clone());
        self
    }

    /// Sets the error hook: it hears of what nobody else takes, in the order in which it happens, on the loop's thread. Without it,
    /// incidents are printed on standard error.
    ///
    /// The hook may use handles of the loop. A panic of the hook is contained. An incident that the hook itself brings about is printed
    /// on standard error instead, so that it cannot call itself for ever. A handle kept in the hook keeps what the loop shares, also
    /// after the loop: take it out again.
    pub fn on_error(mut self, hook: impl Fn(&Incident) + 'static) -> Self {
        self.hook = Rc::new(hook);
        self
    }

    /// Lets an incident fail a test: the turn or run in which it happens ends with a panic that names it, once everything that
    /// was to be done in it is done; one that happens after the last turn, or while the loop is dropped, ends its drop with a panic. The
    /// hook hears of it all the same.
    pub fn fail_on_error(mut self) -> Self {
        self.fatal = true;
        self
    }

    /// Reports [`Incident::Stalled`], with the table of who waits for what, when the loop has slept for `limit` and nothing came,
    /// although coroutines are parked. Once for each stall. It is a suspicion, where `Stuck` is a certainty. Time is the loop's clock;
    /// [`turn`](crate::EventLoop::turn) never sleeps, so a host that turns the loop watches over that itself.
    pub fn stalled_after(mut self, limit: Duration) -> Self {
        self.stalled_after = Some(limit);
        self
    }

    /// Stays awake for up to `limit` before a sleep, looking at sockets, timers and posts without sleeping: adaptive spinning. Zero
    /// switches it off; more than 1 ms counts as 1 ms. Unless set, a loop that has a live [`Remote`](crate::Remote) and no socket does so
    /// for up to 30 µs, and any other does not.
    ///
    /// To be woken from a sleep takes a thread some 5 to 30 µs. A program that waits for short answers most of the time (few
    /// connections, a round trip to another thread) saves that in every wait, and the thread that posts saves a system call; 50 µs is a
    /// good limit. Use it where the loop has a core for itself. Where other threads want the core, or where the loop always has something
    /// to do, it wins nothing.
    ///
    /// It adapts: the loop stays awake only while at least four of five such waits bring something within the limit. While its waits
    /// are longer it sleeps at once, so an idle loop uses no CPU. `run` and `block_on` wait so; [`turn`](crate::EventLoop::turn)
    /// never waits. A loop with a clock moved by hand does not.
    ///
    /// ```
    /// use std::time::Duration;
    /// use yieldpoint::{EventLoop, Result};
    ///
    /// let mut event_loop = EventLoop::builder()
    ///     .busy_poll(Duration::from_micros(50))
    ///     .build()?;
    /// let sum = event_loop.block_on(async |co| -> Result<u64> {
    ///     let mut sum = 0;
    ///     for n in 0..100 {
    ///         sum += co.blocking(move || n).await?; // each answer comes soon
    ///     }
    ///     Ok(sum)
    /// })?;
    /// assert_eq!(sum, 4950);
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[doc(alias = "spin")]
    pub fn busy_poll(mut self, limit: Duration) -> Self {
        self.busy_poll = Some(limit);
        self
    }

    /// Sets the size of the pool for [`Co::blocking`](crate::Co::blocking): at most `threads` threads, of which the first is started
    /// at the first use, and at most `queue` jobs that wait for one. 4 threads and 1024 jobs unless set. At least one thread is kept.
    pub fn pool(mut self, threads: usize, queue: usize) -> Self {
        self.pool = PoolLimits {
            threads: threads.max(1),
            queue,
        };
        self
    }
}

impl Default for Builder {
    fn default() -> Self {
        Builder {
            clock: None,
            hook: Rc::new(incident::print),
            fatal: false,
            stalled_after: None,
            busy_poll: None,
            pool: PoolLimits {
                threads: 4,
                queue: 1024,
            },
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("clock", &self.clock)
            .field("fail_on_error", &self.fatal)
            .field("stalled_after", &self.stalled_after)
            .field("busy_poll", &self.busy_poll)
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}
