//! Waiting for time, and for one's turn: [`Sleep`] and [`YieldNow`].
//!
//! They are together because neither waits for anybody else.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::clock::nanos;
use crate::coroutine::Co;
use crate::error::{ErrorKind, Result};
use crate::handle::Handle;
use crate::shared::{PLAIN, Shared};
use crate::site::Site;
use crate::timers::{Nanos, TimerId};
use crate::waiter::{Kind, Note, WaiterSlot};
use crate::yield_point::YieldPoint;

static SLEEP: Kind = Kind("sleep");
static YIELD_NOW: Kind = Kind("yield_now");

/// The yield-point that ends after a time.
///
/// It never ends early; the time counts from when it is first awaited, read at the loop's next look. Zero ends at that look.
///
/// ```
/// # use yieldpoint::{EventLoop, ManualClock, Result, Sleep, ms};
/// # EventLoop::builder().clock(&ManualClock::auto()).build()?.block_on(async |co| -> Result {
/// let naps = [3, 1].map(|n| Sleep::new(ms(n))); // no time counts yet
/// let (index, slept) = co.first(naps).await;
/// assert_eq!(index, 1);
/// slept
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
///
/// Source: `tornado.gen.sleep`.
#[derive(Clone, Copy, Debug)]
#[must_use = "a yield-point does nothing until it is yielded"]
pub struct Sleep {
    /// When it ends.
    until: Until,
    /// Where it was made.
    site: Site,
}

/// The end of a sleep.
#[derive(Clone, Copy, Debug)]
enum Until {
    /// So long after it is first awaited.
    After(Nanos),
    /// A moment.
    At(Instant),
}

impl Sleep {
    /// A sleep of this length.
    #[track_caller]
    pub fn new(duration: Duration) -> Self {
        Sleep {
            until: Until::After(nanos(duration)),
            site: Location::caller(),
        }
    }

    /// A sleep until this moment; one that has passed ends at the loop's next look.
    #[track_caller]
    pub fn until(at: Instant) -> Self {
        Sleep {
            until: Until::At(at),
            site: Location::caller(),
        }
    }
}

impl YieldPoint for Sleep {
    type Output = Result;
    type Started = SleepStarted;

    fn start(self, co: &Co) -> SleepStarted {
        let shared = Rc::clone(co.handle().shared());
        SleepStarted {
            shared,
            sleep: self,
            timer: TimerId::NONE,
        }
    }
}

/// A [`Sleep`] that is awaited. Dropping it gives its timer's memory back at once.
#[must_use = "a sleep does nothing until it is awaited"]
pub struct SleepStarted {
    /// Whose timers.
    shared: Rc<Shared>,
    /// What was asked for.
    sleep: Sleep,
    /// The timer, once it is armed; none before.
    timer: TimerId,
}

impl Future for SleepStarted {
    type Output = Result;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        if !self.timer.is_none() {
            return self.poll_armed(self.timer, cx);
        }
        // Parked first: so the timer is armed with who waits for it.
        match self.shared.park(WaiterSlot::EMPTY, cx, self.note()) {
            Ok(slot) => {
                self.timer = self.arm(slot);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl SleepStarted {
    /// The timer, once it is armed.
    pub(crate) fn timer(&self) -> Option<TimerId> {
        (!self.timer.is_none()).then_some(self.timer)
    }

    /// What is said of who sleeps.
    #[inline]
    fn note(&self) -> Note {
        Note {
            kind: &SLEEP,
            site: Some(self.sleep.site),
        }
    }

    /// Arms the timer for who waits in the slot.
    #[inline]
    fn arm(&self, slot: WaiterSlot) -> TimerId {
        match self.sleep.until {
            Until::After(after) => self.shared.arm(after, slot),
            Until::At(at) => self.shared.arm_at(self.shared.clock.reading(at), slot),
        }
    }

    /// Ends the sleep if its timer was due, or parks whoever polls now until it is.
    fn poll_armed(&self, timer: TimerId, cx: &Context<'_>) -> Poll<Result> {
        let Some(slot) = self.shared.timer_waiter(timer) else {
            let gone = self.shared.is_closed();
            let ended = if gone {
                Err(ErrorKind::LoopGone.into())
            } else {
                Ok(())
            };
            return Poll::Ready(ended);
        };
        let parked = self.shared.park(slot, cx, self.note());
        let kept = *parked.as_ref().unwrap_or(&WaiterSlot::EMPTY);
        self.shared.set_timer_waiter(timer, kept);
        match parked {
            Ok(_) => Poll::Pending,
            Err(cancel) => Poll::Ready(Err(cancel)),
        }
    }
}

impl Drop for SleepStarted {
    fn drop(&mut self) {
        if !self.timer.is_none() {
            self.shared.give_up_timer(self.timer);
        }
    }
}

impl fmt::Debug for SleepStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SleepStarted")
            .field("sleep", &self.sleep)
            .finish_non_exhaustive()
    }
}

/// The yield-point that gives way once: the coroutine goes to the back of the ready queue.
///
/// ```
/// # use yieldpoint::{EventLoop, Result, YieldNow};
/// # EventLoop::new()?.block_on(async |co| -> Result {
/// co.yield_(YieldNow::new()).await?; // the same as co.yield_now().await?
/// # Ok(())
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
///
/// Source: `tornado.gen.moment`.
#[derive(Clone, Copy, Debug)]
#[must_use = "a yield-point does nothing until it is yielded"]
#[doc(alias = "moment")]
pub struct YieldNow {
    /// Where it was made.
    site: Site,
}

impl YieldNow {
    /// A point that gives way once.
    #[track_caller]
    pub fn new() -> Self {
        YieldNow {
            site: Location::caller(),
        }
    }
}

impl Default for YieldNow {
    #[track_caller]
    fn default() -> Self {
        YieldNow::new()
    }
}

impl YieldPoint for YieldNow {
    type Output = Result;
    type Started = YieldNowStarted;

    #[inline]
    fn start(self, co: &Co) -> YieldNowStarted {
        YieldNowStarted {
            handle: co.handle().clone(),
            site: self.site,
            given_in: GivenIn::NONE,
        }
    }
}

/// In which resume one gave way, which waits for nobody: all there is to know of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
struct GivenIn(u32);

impl GivenIn {
    /// Not yet: it is above all numbers of resumes.
    const NONE: GivenIn = GivenIn(u32::MAX);
    /// Outside of any resume: it is below those in which no cancel is told.
    const OUTSIDE: GivenIn = GivenIn(PLAIN);

    /// Gives way, or goes on if it has given way before.
    #[inline]
    fn poll(
        &mut self,
        shared: &Shared,
        site: impl FnOnce() -> Site,
        cx: &Context<'_>,
    ) -> Poll<Result> {
        let now = GivenIn(shared.resume.get());
        if *self < now {
            return Poll::Ready(Ok(()));
        }
        if *self == Self::NONE && shared.is_plain(cx.waker()) {
            shared.gives_way_in.set(now.0);
            *self = now;
            return Poll::Pending;
        }
        self.poll_rare(shared, site(), cx)
    }

    /// Gives way under a foreign waker, outside of any coroutine, or during a cancel, or ends by that.
    #[cold]
    fn poll_rare(&mut self, shared: &Shared, site: Site, cx: &Context<'_>) -> Poll<Result> {
        let now = GivenIn(shared.resume_number());
        if shared.is_closed() {
            return Poll::Ready(Err(ErrorKind::LoopGone.into()));
        }
        let before = *self != Self::NONE && *self != now;
        if shared.cancelling() {
            if before {
                // Awaited again, it counts as new.
                *self = Self::NONE;
                return Poll::Ready(Err(shared.cancelled()));
            }
            shared.parked_anew.set(true);
        } else if before {
            // The numbers have begun anew.
            return Poll::Ready(Ok(()));
        }
        shared.parked_on(Note {
            kind: &YIELD_NOW,
            site: Some(site),
        });
        let inside = !shared.running.get().is_none();
        *self = if inside { now } else { Self::OUTSIDE };
        if shared.polls_with(cx.waker()) {
            shared.give_way();
        } else {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// A [`YieldNow`] that is awaited.
#[derive(Debug)]
#[must_use = "a yield_now does nothing until it is awaited"]
pub struct YieldNowStarted {
    /// The coroutine's loop.
    handle: Handle,
    /// Where it was made.
    site: Site,
    /// Whether it has given way.
    given_in: GivenIn,
}

impl Future for YieldNowStarted {
    type Output = Result;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        let this = &mut *self;
        this.given_in.poll(this.handle.shared(), || this.site, cx)
    }
}

/// The same, made by the coroutine that awaits it, from which it borrows: no count of owners goes up and down.
struct GiveWay<'a> {
    /// The coroutine's loop.
    shared: &'a Shared,
    /// Where it was made.
    site: Site,
    /// Whether it has given way.
    given_in: GivenIn,
}

impl Future for GiveWay<'_> {
    type Output = Result;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        let this = &mut *self;
        this.given_in.poll(this.shared, || this.site, cx)
    }
}

impl fmt::Debug for GiveWay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GiveWay")
            .field("site", &self.site)
            .field("given_in", &self.given_in)
            .finish_non_exhaustive()
    }
}

impl Co {
    /// Sleeps for `duration`. See [`Sleep`].
    ///
    /// # Errors
    /// `Cancelled`.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result, ms};
    /// let started = std::time::Instant::now();
    /// EventLoop::new()?.block_on(async |co| -> Result { co.sleep(ms(5)).await })?;
    /// assert!(started.elapsed() >= ms(5)); // never early
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    pub fn sleep(&self, duration: Duration) -> SleepStarted {
        Sleep::new(duration).start(self)
    }

    /// Sleeps until `at`. See [`Sleep`].
    ///
    /// # Errors
    /// `Cancelled`.
    #[track_caller]
    pub fn sleep_until(&self, at: Instant) -> SleepStarted {
        Sleep::until(at).start(self)
    }

    /// Gives way once: everything that is ready now runs before this coroutine goes on.
    ///
    /// # Errors
    /// `Cancelled`.
    ///
    /// ```
    /// # use std::{cell::RefCell, rc::Rc};
    /// # use yieldpoint::{EventLoop, Result};
    /// let log = Rc::new(RefCell::new(String::new()));
    /// let mut event_loop = EventLoop::new()?;
    /// for name in ['a', 'b'] {
    ///     let log = Rc::clone(&log);
    ///     let _ = event_loop.handle().spawn(async move |co| -> Result {
    ///         for _ in 0..3 {
    ///             log.borrow_mut().push(name);
    ///             co.yield_now().await?;
    ///         }
    ///         Ok(())
    ///     });
    /// }
    /// let _ = event_loop.run()?;
    /// assert_eq!(*log.borrow(), "ababab");
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn yield_now(&self) -> impl Future<Output = Result> + Unpin + fmt::Debug + '_ {
        GiveWay {
            shared: self.shared(),
            site: Location::caller(),
            given_in: GivenIn::NONE,
        }
    }
}
