//! The event loop, and step 1 of its turn: the look at timers, sockets and inbox, with the sleep that may come first.
//!
//! It is apart from the turn because a look takes things in and queues them, and runs nothing.
//!
//! Invariants:
//! 1. It sleeps only when nothing is ready and something could still wake.
//! 2. One reading of the clock serves a look.
//! 3. The ready queue is in two parts: what handles add goes to the back of the shared part; the loop takes that part over whole, when it
//!    has run what it took before, and runs it front first. So a step costs no borrow of the queue.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::bodies::{Bodies, Root};
use crate::budget::TurnReport;
use crate::builder::Builder;
use crate::clock::nanos;
use crate::error::Result;
use crate::handle::{Handle, snapshot};
use crate::incident::Incident;
use crate::reactor::source_of;
use crate::shared::{Fire, Job, Post, Shared};
use crate::snapshot::Snapshot;
use crate::timers::{NEVER, Nanos, TimerId};
use crate::waiter::WaiterSlot;

/// The number of entries up to which an empty queue keeps its memory.
const KEPT: usize = 2048;

/// A single-threaded event loop: owns every coroutine spawned on it and runs them in its turns.
///
/// ```
/// use yieldpoint::{EventLoop, Result, ms};
///
/// let mut greeting = String::from("hello");
/// let n = EventLoop::new()?.block_on(async |co| -> Result<usize> {
///     co.sleep(ms(1)).await?;
///     greeting.push_str(", world"); // a body given to block_on may borrow
///     Ok(greeting.len())
/// })?;
/// assert_eq!((n, greeting.as_str()), (12, "hello, world"));
/// # Ok::<(), yieldpoint::Error>(())
/// ```
///
/// A loop stays on its thread:
///
/// ```compile_fail
/// fn must_be_send<T: Send>() {}
/// must_be_send::<yieldpoint::EventLoop>();
/// ```
#[doc(alias = "IOLoop")]
#[doc(alias = "Runtime")]
pub struct EventLoop {
    /// What handles reach too.
    pub(crate) shared: Rc<Shared>,
    /// The coroutines' bodies.
    pub(crate) bodies: Bodies,
    /// The front of the ready queue, last job first (invariant 3).
    pub(crate) batch: Vec<Job>,
    /// Filled by the poll.
    pub(crate) events: mio::Events,
    /// The loop's end of the inbox.
    pub(crate) posts: Receiver<Post>,
    /// Whether the descriptor was handed out, so that another poller may watch it.
    pub(crate) handed_out: Cell<bool>,
    /// Whom to tell when nothing moves.
    pub(crate) stall: Option<Stall>,
    /// The first incident since the last turn, if incidents are to end a turn with a panic.
    pub(crate) fatal: Option<Rc<Cell<Option<String>>>>,
}

/// The watch over a loop in which nothing moves.
pub(crate) struct Stall {
    /// How long is suspicious.
    pub(crate) after: Duration,
    /// Whether it has been told since something last moved.
    pub(crate) told: bool,
}

/// A timer that is due.
enum Due {
    /// It wakes who waits in the slot.
    Wake(WaiterSlot),
    /// It runs a callback, in its turn.
    Call(TimerId),
}

/// How a [`run`](EventLoop::run) ended.
#[derive(Clone, Debug)]
#[must_use = "a run may have ended stuck"]
pub enum Outcome {
    /// Nothing is left to run.
    Done,
    /// [`Handle::stop`] was called.
    Stopped,
    /// Coroutines are left, and it is certain that none can ever move again: nothing is ready, and no timer, socket, pool job, live
    /// [`Remote`](crate::Remote) or foreign waker could wake any. The report says who waits for what.
    Stuck(Snapshot),
}

impl EventLoop {
    /// Makes a loop with the system's clock and the loud error hook.
    ///
    /// # Errors
    /// What the system says when it has no descriptor left for the poll.
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// Starts to make a loop with settings of its own.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The loop's own-thread door. Clone it to keep it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Rc::clone(&self.shared))
    }

    /// When the next timer is due, if there is one. Timers set since the last turn get their deadline now.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        next_deadline(&self.shared)
    }

    /// Every coroutine that has not ended: see [`Handle::snapshot`].
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        snapshot(&self.shared)
    }

    /// What handles reach too.
    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// How many jobs are ready.
    pub(crate) fn ready(&self) -> usize {
        self.batch.len() + self.shared.ready.borrow().len()
    }

    /// Looks at timers, sockets and inbox. Sleeps first if it may and nothing is ready. Tells when there is no point in sleeping.
    pub(crate) fn look(
        &mut self,
        may_wait: bool,
        report: &mut TurnReport,
        root: Option<&Root<'_>>,
    ) -> Result<Option<Outcome>> {
        self.events.clear();
        let mut polled = false;
        if may_wait && self.is_idle() {
            // A clock moved by hand may have passed a deadline, and will not move while this thread sleeps.
            let moved = self.shared.clock.as_manual().is_some();
            if moved || self.shared.timers.borrow().has_fresh() {
                report.timers += self.tick();
            }
            if self.is_idle() {
                // Marked before the verdict: the last remote that goes after it ends the sleep.
                self.shared.inbox.fall_asleep();
                if let Some(verdict) = self.verdict(root) {
                    self.shared.inbox.wake_up();
                    return Ok(Some(verdict));
                }
                self.sleep()?;
                polled = true;
            }
        }
        if !polled && (self.handed_out.get() || self.shared.reactor.borrow().len() > 0) {
            self.shared
                .reactor
                .borrow_mut()
                .poll_now(&mut self.events)?;
        }
        report.timers += self.tick();
        report.events += self.take_events();
        self.take_posts();
        if self.ready() > 0
            && let Some(stall) = &mut self.stall
        {
            stall.told = false;
        }
        Ok(None)
    }

    /// Gives back the memory of a burst, before a wait that may be long. What stays is for the next turns, so that they allocate nothing.
    pub(crate) fn rest(&mut self) {
        self.bodies.rest();
        if self.batch.is_empty() && self.batch.capacity() > KEPT {
            self.batch = Vec::new();
        }
        self.shared.rest(KEPT);
    }

    /// Whether nothing is ready and nothing was posted.
    pub(crate) fn is_idle(&self) -> bool {
        self.ready() == 0 && self.posts.is_empty()
    }

    /// Reads the clock, gives new timers their deadline, and queues what is due. Gives the number of due timers.
    fn tick(&mut self) -> usize {
        let now = self.shared.clock.now();
        self.shared.looked_at.set(now);
        self.shared.timers.borrow_mut().stamp(now);
        let mut due = 0;
        while let Some(fired) = self.next_due(now) {
            due += 1;
            match fired {
                Due::Wake(slot) => self.shared.wake_waiter(slot),
                Due::Call(id) => self.shared.push_timer(id),
            }
        }
        due
    }

    /// The next timer that is due. A callback's timer keeps its slot, so that it can still be cancelled before it runs.
    fn next_due(&self, now: Nanos) -> Option<Due> {
        let mut timers = self.shared.timers.borrow_mut();
        let id = timers.pop_due_id(now)?;
        match timers.get_mut(id) {
            Some(Fire::Wake(slot)) => {
                let slot = *slot;
                timers.remove(id);
                Some(Due::Wake(slot))
            }
            _ => Some(Due::Call(id)),
        }
    }

    /// Hands the sockets' events to whoever waits for them. Gives their number.
    fn take_events(&mut self) -> usize {
        let mut taken = 0;
        for event in &self.events {
            let Some(id) = source_of(event) else { continue };
            taken += 1;
            let woken = self
                .shared
                .reactor
                .borrow_mut()
                .source_mut(id)
                .map(|source| source.ready_by(event));
            for slot in woken.into_iter().flatten() {
                self.shared.wake_waiter(slot);
            }
        }
        taken
    }

    /// Takes in what was posted until now.
    fn take_posts(&mut self) {
        for _ in 0..self.posts.len() {
            let Ok(post) = self.posts.try_recv() else {
                break;
            };
            match post {
                Post::Wake(id) => self.shared.wake(id),
                Post::Call(call) => self.shared.push_boxed(call),
            }
        }
    }

    /// Sleeps until an event, a post or a deadline. The inbox is marked as asleep by now.
    fn sleep(&mut self) -> Result {
        self.rest();
        if !self.posts.is_empty() {
            self.shared.inbox.wake_up();
            return Ok(());
        }
        let now = self.shared.looked_at.get();
        let deadline = self.shared.timers.borrow().next_deadline();
        let alarm = self
            .stall
            .as_ref()
            .filter(|stall| !stall.told)
            .map(|stall| now.saturating_add(nanos(stall.after)));
        let until = [deadline, alarm].into_iter().flatten().min();
        self.sleep_until(until.filter(|at| *at < NEVER), now)?;
        if alarm.is_some_and(|alarm| deadline.is_none_or(|deadline| alarm < deadline)) {
            self.suspect(alarm.unwrap_or(now));
        }
        self.shared.inbox.wake_up();
        Ok(())
    }

    /// Sleeps until this reading of the clock. An automatic clock is moved there instead, if only it could end the sleep; one that
    /// another hand moves does not move while this thread sleeps.
    fn sleep_until(&mut self, until: Option<Nanos>, now: Nanos) -> Result {
        let until = match (self.shared.clock.as_manual(), until) {
            (Some(clock), Some(until)) if clock.is_auto() && self.is_alone() => {
                clock.move_to(until);
                return Ok(());
            }
            (Some(_), _) => None,
            (None, until) => until,
        };
        let mut reactor = self.shared.reactor.borrow_mut();
        Ok(reactor.sleep(&mut self.events, until, now)?)
    }

    /// Whether no remote is alive and nobody waits for a socket.
    pub(crate) fn is_alone(&self) -> bool {
        self.shared.inbox.remotes() == 0 && !self.shared.reactor.borrow().is_waited_for()
    }

    /// Reports a stall, if the sleep lasted until the alarm and brought nothing.
    #[cold]
    fn suspect(&mut self, alarm: Nanos) {
        let now = self.shared.clock.now();
        let nothing =
            self.events.iter().all(|event| source_of(event).is_none()) && self.posts.is_empty();
        if nothing && now >= alarm && !self.shared.records.borrow().is_empty() {
            self.shared.looked_at.set(now);
            if let Some(stall) = &mut self.stall {
                stall.told = true;
            }
            self.shared
                .report(&Incident::Stalled(snapshot(&self.shared)));
        }
    }

    /// What there is to say when nothing is ready: nothing, as long as something could still come.
    fn verdict(&self, root: Option<&Root<'_>>) -> Option<Outcome> {
        // A clock that only this thread can move does not move while this thread sleeps.
        let clock_stands = self
            .shared
            .clock
            .as_manual()
            .is_some_and(|clock| !clock.is_auto());
        let next = self.shared.timers.borrow().next_deadline();
        if !clock_stands && next.is_some_and(|at| at < NEVER) {
            return None;
        }
        if self.shared.records.borrow().is_empty() {
            return Some(Outcome::Done);
        }
        self.is_stuck(root)
            .then(|| Outcome::Stuck(snapshot(&self.shared)))
    }

    /// Whether coroutines are left and, timers apart, nothing could wake any of them, with certainty.
    pub(crate) fn is_stuck(&self, root: Option<&Root<'_>>) -> bool {
        !self.shared.records.borrow().is_empty()
            && self.is_alone()
            && self.bodies.waker_clones(root) == 0
            && {
                // Who posted and then let go of the last remote or waker has left the post before that.
                fence(Ordering::Acquire);
                self.posts.is_empty()
            }
    }
}

/// When the next timer is due; see [`EventLoop::next_deadline`].
pub(crate) fn next_deadline(shared: &Shared) -> Option<Instant> {
    let mut timers = shared.timers.borrow_mut();
    if timers.has_fresh() {
        timers.stamp(shared.clock.now());
    }
    timers.next_deadline().map(|at| shared.clock.instant(at))
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let coroutines = self.shared.records.borrow().len();
        f.debug_struct("EventLoop")
            .field("coroutines", &coroutines)
            .finish_non_exhaustive()
    }
}
