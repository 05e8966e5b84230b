//! A callback that runs again and again: [`Handle::periodic`].
//!
//! It is apart from the loop's timers because it is made of them: each run sets the timer for the next.
//!
//! Invariants:
//! 1. Deadlines are anchored: multiples of the period after the start (except under [`CatchUp::Delay`]). Lateness never adds up.
//! 2. The next deadline is reckoned when the callback has ended, so that a long run counts as time that has passed.
//! 3. At most one timer is armed; once stopped, none is, and the callback is dropped.
//!
//! ```text
//!            due                       returned, or panicked (reported)
//!   armed ─────────▶ in the callback ──────────────────────────────────▶ armed
//!     └── stop ──────────┴── stop ──▶ stopped: the callback is dropped
//! ```

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::clock::nanos;
use crate::error::{ErrorKind, Result};
use crate::handle::Handle;
use crate::shared::Shared;
use crate::site::Site;
use crate::timers::{Nanos, TimerId};

/// What a periodic callback does about deadlines that passed while it, or the loop, was busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CatchUp {
    /// Leaves them out: the next run is at the next multiple of the period after now. A deadline that is now counts as missed.
    Skip,
    /// Makes up for them: one run for each, one after the other, each in its turn of the loop's queue.
    Burst,
    /// Begins anew: the next run is one period after the end of this one.
    Delay,
}

/// What runs.
type Callback = Box<dyn FnMut(Tick)>;

/// One run of a periodic callback: what it is given.
#[derive(Debug)]
#[non_exhaustive]
pub struct Tick {
    /// When the run was due.
    pub deadline: Instant,
    /// How long after that it began.
    pub late: Duration,
    /// How many deadlines were left out since the last run.
    pub missed: u64,
    /// The callback it is a run of.
    periodic: Periodic,
}

impl Tick {
    /// Makes this the last run: see [`Periodic::stop`].
    pub fn stop(&self) {
        self.periodic.stop();
    }
}

/// A periodic callback, from outside. Dropping this lets the callback run on; clones are the same callback.
#[derive(Clone)]
pub struct Periodic {
    /// The loop.
    shared: Rc<Shared>,
    /// The callback.
    schedule: Rc<Schedule>,
}

/// A periodic callback and when it runs.
struct Schedule {
    /// Where it was set.
    site: Site,
    /// The time between two deadlines.
    period: Nanos,
    /// What happens to missed deadlines.
    catch_up: CatchUp,
    /// The callback; out while it runs, gone once stopped.
    callback: Cell<Option<Callback>>,
    /// When it runs next.
    deadline: Cell<Nanos>,
    /// How many deadlines were left out before that one.
    missed: Cell<u64>,
    /// The timer for it; none while the callback runs.
    timer: Cell<Option<TimerId>>,
    /// Whether it was stopped.
    stopped: Cell<bool>,
}

/// What the timer holds: dropped unrun, as by a loop that goes, it drops the callback too, whoever still has a [`Periodic`].
struct Armed(Option<Rc<Schedule>>);

impl Drop for Armed {
    fn drop(&mut self) {
        if let Some(schedule) = self.0.take() {
            drop(schedule.callback.take());
        }
    }
}

impl Periodic {
    /// Ends it: no further run begins, and the callback is dropped, at the latest when the run in which this is called has ended.
    /// Stopping again does nothing.
    pub fn stop(&self) {
        self.schedule.stopped.set(true);
        if let Some(timer) = self.schedule.timer.take() {
            self.shared.disarm(timer);
        }
        drop(self.schedule.callback.take());
    }

    /// Whether it was stopped, or its loop is gone.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.schedule.stopped.get() || self.shared.is_closed()
    }

    /// Sets the timer for the next run.
    fn arm(&self) {
        if self.is_stopped() {
            return;
        }
        let mut armed = Armed(Some(Rc::clone(&self.schedule)));
        let call = Box::new(move |shared: &Rc<Shared>| {
            if let Some(schedule) = armed.0.take() {
                let shared = Rc::clone(shared);
                Periodic { shared, schedule }.run();
            }
        });
        let timer = self.shared.arm_call_at(self.schedule.deadline.get(), call);
        self.schedule.timer.set(Some(timer));
    }

    /// Runs the callback and sets the next deadline.
    fn run(&self) {
        let schedule = &*self.schedule;
        schedule.timer.set(None);
        let Some(mut callback) = schedule.callback.take() else {
            return;
        };
        let deadline = schedule.deadline.get();
        let late = self.shared.clock.now().saturating_sub(deadline);
        let tick = Tick {
            deadline: self.shared.clock.instant(deadline),
            late: Duration::from_nanos(late),
            missed: schedule.missed.get(),
            periodic: self.clone(),
        };
        self.shared.contain("callback", || callback(tick));
        if schedule.stopped.get() {
            self.shared.contain("drop", || drop(callback));
            return;
        }
        schedule.callback.set(Some(callback));
        schedule.advance(self.shared.clock.now());
        self.arm();
    }
}

impl Schedule {
    /// Reckons the next deadline from the last one and now.
    fn advance(&self, now: Nanos) {
        let last = self.deadline.get();
        let (deadline, missed) = match self.catch_up {
            CatchUp::Burst => (last.saturating_add(self.period), 0),
            CatchUp::Delay => (now.saturating_add(self.period), 0),
            CatchUp::Skip => {
                let missed = now.saturating_sub(last) / self.period;
                let ahead = (missed + 1).saturating_mul(self.period);
                (last.saturating_add(ahead), missed)
            }
        };
        self.deadline.set(deadline);
        self.missed.set(missed);
    }
}

impl fmt::Debug for Periodic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Periodic")
            .field("site", &self.schedule.site)
            .field("period", &Duration::from_nanos(self.schedule.period))
            .field("catch_up", &self.schedule.catch_up)
            .field("is_stopped", &self.is_stopped())
            .finish_non_exhaustive()
    }
}

impl Handle {
    /// Runs a callback again and again, for the first time one period from now, in its turn and never early.
    ///
    /// It goes on until it is stopped, through [`Periodic::stop`] or [`Tick::stop`], or the loop is gone; until then it keeps
    /// [`run`](crate::EventLoop::run) going. A panic of the callback is reported, and the schedule goes on.
    ///
    /// # Errors
    /// `ZeroPeriod` if the period is zero; `LoopGone`.
    ///
    /// ```
    /// use std::{cell::RefCell, rc::Rc};
    /// use yieldpoint::{CatchUp, EventLoop, ManualClock, Result, ms};
    ///
    /// let clock = ManualClock::auto();
    /// let mut event_loop = EventLoop::builder().clock(&clock).build()?;
    /// let beats = Rc::new(RefCell::new(vec![]));
    /// let (out, now) = (Rc::clone(&beats), clock.clone());
    /// event_loop.handle().periodic(ms(100), CatchUp::Skip, move |tick| {
    ///     out.borrow_mut().push(now.elapsed().as_millis());
    ///     if out.borrow().len() == 3 {
    ///         tick.stop();
    ///     }
    /// })?;
    /// event_loop.run()?;
    /// assert_eq!(*beats.borrow(), [100, 200, 300]);
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    ///
    /// To run a coroutine each time, let it wait for the ticks; one that takes longer than a period is not started over itself:
    ///
    /// ```
    /// # use yieldpoint::{CatchUp, EventLoop, ManualClock, Result, ms};
    /// # let mut event_loop = EventLoop::builder().clock(&ManualClock::auto()).build()?;
    /// event_loop.block_on(async |co| -> Result {
    ///     let mut ticks = co.events(1);
    ///     let periodic = co.handle().periodic(ms(10), CatchUp::Delay, ticks.emitter().into_fn())?;
    ///     for _ in 0..3 {
    ///         assert!(ticks.next().await?.is_some());
    ///         co.sleep(ms(5)).await?;
    ///     }
    ///     periodic.stop();
    ///     Ok(())
    /// })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    ///
    /// Source: `tornado.ioloop.PeriodicCallback`.
    #[doc(alias = "PeriodicCallback")]
    #[doc(alias = "interval")]
    #[track_caller]
    pub fn periodic(
        &self,
        period: Duration,
        catch_up: CatchUp,
        callback: impl FnMut(Tick) + 'static,
    ) -> Result<Periodic> {
        let site = Location::caller();
        if period.is_zero() {
            return Err(ErrorKind::ZeroPeriod { site }.into());
        }
        let shared = Rc::clone(self.shared());
        if shared.is_closed() {
            return Err(ErrorKind::LoopGone.into());
        }
        let period = nanos(period);
        let deadline = shared.clock.now().saturating_add(period);
        let periodic = Periodic {
            shared,
            schedule: Rc::new(Schedule {
                site,
                period,
                catch_up,
                callback: Cell::new(Some(Box::new(callback))),
                deadline: Cell::new(deadline),
                missed: Cell::new(0),
                timer: Cell::new(None),
                stopped: Cell::new(false),
            }),
        };
        periodic.arm();
        Ok(periodic)
    }
}
