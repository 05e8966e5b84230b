//! The event loop: one turn after another.
//!
//! # The turn
//!
//! ```text
//!           ┌───────────────────────────────────────────────────────────────────┐
//!           ▼                                                                   │
//!   1 look  a. nothing ready, and may wait?  sleep until an event or a deadline │
//!           b. read the clock; timers set since the last look get their deadline│
//!           c. due timers, by deadline, then by creation ──┐                    │
//!           d. sockets' events ────────────────────────────┼─▶ back of the      │
//!           e. the inbox: what other threads posted ───────┘   ready queue      │
//!   2 step  the front of the ready queue: a coroutine or a callback,            │
//!           at most LOOK_EVERY of them, then ───────────────────────────────────┘
//!   3 end   the ready queue is empty, or the budget is spent
//! ```
//!
//! This order is a contract. Callbacks and coroutines share the one queue; what becomes ready while the turn runs goes to its
//! back, once. So two coroutines that give way to each other alternate strictly, and neither timers nor sockets starve.
//!
//! Invariants:
//! 1. `turn` never sleeps; `run` and `block_on` sleep only when nothing is ready and something could still wake.
//! 2. Once the descriptor was handed out: it is readable whenever a turn would find something to do, and the loop sets the timer
//!    descriptor at most once a turn, at its end.
//! 3. The ready queue is in two parts: what handles add goes to the back of the shared part; the loop takes that part over whole, when it
//!    has run what it took before, and runs it front first. So a step costs no borrow of the queue.

use std::cell::Cell;
use std::fmt;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::bodies::{Bodies, Root};
use crate::budget::{Budget, TurnReport};
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
use crate::waker::InTurn;

/// After so many steps the loop looks at timers, sockets and inbox again, however much is ready.
const LOOK_EVERY: usize = 128;

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

    /// Runs until nothing is left, [`Handle::stop`] was called, or nothing can ever move again.
    ///
    /// Coroutines, queued callbacks and timers keep it going. A [`Remote`](crate::Remote) or an idle socket alone do not; while a
    /// coroutine is parked they are reason to wait.
    ///
    /// # Errors
    /// What the system says when the poll fails.
    pub fn run(&mut self) -> Result<Outcome> {
        self.drive(None)
    }

    /// Runs until the body of `block_on` has ended, or as [`run`](EventLoop::run).
    pub(crate) fn drive_root(&mut self, root: &mut Root<'_>) -> Result<Outcome> {
        self.drive(Some(root))
    }

    /// Turns until there is a reason not to.
    fn drive(&mut self, root: Option<&mut Root<'_>>) -> Result<Outcome> {
        let _turn = InTurn::enter(&self.shared);
        self.begin();
        let mut report = TurnReport::default();
        let outcome = self.rounds(&mut report, root);
        // After an error too, or the descriptor would be silent from then on.
        self.end_turn(&mut report)?;
        outcome
    }

    /// Looks and steps until there is a reason not to.
    fn rounds(
        &mut self,
        report: &mut TurnReport,
        mut root: Option<&mut Root<'_>>,
    ) -> Result<Outcome> {
        loop {
            if self.shared.stopping.replace(false) {
                return Ok(Outcome::Stopped);
            }
            if let Some(verdict) = self.look(true, report, root.as_deref())? {
                return Ok(verdict);
            }
            for _ in 0..LOOK_EVERY {
                let Some(job) = self.next_job() else { break };
                self.step(job, root.as_deref_mut());
                if self.shared.interrupted.replace(false) {
                    if root.as_ref().is_some_and(|root| root.done) {
                        // A stop in this very step was meant for this run, which it ends.
                        self.shared.stopping.set(false);
                        return Ok(Outcome::Done);
                    }
                    if self.shared.stopping.get() {
                        self.finish_ready(root.as_deref_mut());
                        break;
                    }
                }
            }
        }
    }

    /// Runs what is ready now and nothing that becomes ready by it.
    fn finish_ready(&mut self, mut root: Option<&mut Root<'_>>) {
        for _ in 0..self.ready() {
            let Some(job) = self.next_job() else { break };
            self.step(job, root.as_deref_mut());
        }
    }

    /// Makes one turn: looks round, runs what is ready within the budget, and never waits.
    ///
    /// # Errors
    /// What the system says when the poll fails; what is ready stays ready.
    pub fn turn(&mut self, budget: Budget) -> Result<TurnReport> {
        let _turn = InTurn::enter(&self.shared);
        self.begin();
        let mut report = TurnReport::default();
        let spent = self.spend(budget, &mut report);
        // After an error too, or the descriptor would be silent from then on.
        self.end_turn(&mut report)?;
        spent?;
        report.stuck = !report.work_left && report.next_deadline.is_none() && self.is_stuck(None);
        Ok(report)
    }

    /// Looks and steps until nothing is ready or the budget is spent.
    fn spend(&mut self, budget: Budget, report: &mut TurnReport) -> Result {
        let steps = budget.max_steps(self.shared.clock.as_manual().is_some());
        let until = budget
            .max_time()
            .map(|limit| self.shared.clock.now().saturating_add(nanos(limit)));
        loop {
            let _ = self.look(false, report, None)?;
            for _ in 0..LOOK_EVERY {
                if report.steps >= steps {
                    return Ok(());
                }
                let Some(job) = self.next_job() else {
                    return Ok(());
                };
                self.step(job, None);
                report.steps += 1;
                if until.is_some_and(|until| self.shared.clock.now() >= until) {
                    return Ok(());
                }
            }
        }
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

    // One turn, in its parts.

    /// Begins a turn.
    fn begin(&mut self) {
        self.shared.set_nudge(false);
        self.shared.inbox.wake_up();
    }

    /// Takes the front of the ready queue.
    #[inline]
    fn next_job(&mut self) -> Option<Job> {
        let Some(job) = self.batch.pop() else {
            return self.refill();
        };
        self.shared.in_batch.set(self.batch.len());
        Some(job)
    }

    /// Takes the whole ready queue over (keeps invariant 3), and its front out.
    #[inline(never)]
    fn refill(&mut self) -> Option<Job> {
        let mut ready = self.shared.ready.borrow_mut();
        if ready.len() > 1 {
            std::mem::swap(&mut self.batch, &mut *ready);
            self.batch.reverse();
            let job = self.batch.pop();
            self.shared.in_batch.set(self.batch.len());
            return job;
        }
        // One alone is handed on as it is: what waits for it need not wait for the lists to be written and read.
        ready.pop()
    }

    /// How many jobs are ready.
    fn ready(&self) -> usize {
        self.batch.len() + self.shared.ready.borrow().len()
    }

    /// Runs one job.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the hottest call there is, from three places"
    )]
    fn step(&mut self, job: Job, root: Option<&mut Root<'_>>) {
        match job.coroutine() {
            Some(id) => self.bodies.resume(&self.shared, id, root),
            None => self.call(job),
        }
    }

    /// Runs a callback.
    #[inline(never)]
    fn call(&mut self, job: Job) {
        match job.timer() {
            None => {
                self.shared.call_next();
            }
            Some(id) => {
                let fire = self.shared.timers.borrow_mut().remove(id);
                if let Some(Fire::Call(callback)) = fire {
                    self.shared.contain("callback", || callback(&self.shared));
                }
            }
        }
    }

    /// Looks at timers, sockets and inbox. Sleeps first if it may and nothing is ready. Tells when there is no point in sleeping.
    fn look(
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
    fn rest(&mut self) {
        self.bodies.rest();
        if self.batch.is_empty() && self.batch.capacity() > KEPT {
            self.batch = Vec::new();
        }
        self.shared.rest(KEPT);
    }

    /// Whether nothing is ready and nothing was posted.
    fn is_idle(&self) -> bool {
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
    fn is_alone(&self) -> bool {
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
    fn is_stuck(&self, root: Option<&Root<'_>>) -> bool {
        !self.shared.records.borrow().is_empty()
            && self.is_alone()
            && self.bodies.waker_clones(root) == 0
            && {
                // Who posted and then let go of the last remote or waker has left the post before that.
                fence(Ordering::Acquire);
                self.posts.is_empty()
            }
    }

    /// Ends a turn: fills in the report, and sets the descriptor up for whoever polls it (keeps invariant 2).
    fn end_turn(&mut self, report: &mut TurnReport) -> Result {
        self.rest();
        let shared = &self.shared;
        // Moved by hand, the clock may have passed a deadline since the look.
        if shared.timers.borrow().has_fresh() || shared.clock.as_manual().is_some() {
            let now = shared.clock.now();
            shared.looked_at.set(now);
            shared.timers.borrow_mut().stamp(now);
        }
        let deadline = shared.timers.borrow().next_deadline();
        report.next_deadline = deadline.map(|at| shared.clock.instant(at));
        report.work_left =
            !self.is_idle() || deadline.is_some_and(|at| at <= shared.looked_at.get());
        if self.handed_out.get() {
            self.watch(report.work_left, deadline)?;
        }
        if let Some(incident) = self.fatal.as_ref().and_then(|fatal| fatal.take()) {
            panic!("{incident}");
        }
        Ok(())
    }

    /// Makes the descriptor readable now, or at the deadline, or at the next queueing, whichever is first.
    fn watch(&self, work_left: bool, deadline: Option<Nanos>) -> Result {
        let shared = &self.shared;
        let real = deadline.filter(|_| shared.clock.as_manual().is_none());
        shared
            .reactor
            .borrow_mut()
            .arm(real, shared.looked_at.get())?;
        shared.inbox.fall_asleep();
        if work_left || !self.posts.is_empty() {
            shared.inbox.make_readable();
        } else {
            shared.set_nudge(true);
        }
        Ok(())
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

impl AsRawFd for EventLoop {
    /// The loop's descriptor, for another poller: readable, level-triggered, whenever a turn would find something to do, perhaps once
    /// in vain. It must be watched for reading only, and never read.
    ///
    /// From this call on the loop keeps that promise, also for what is queued, posted or set between turns. Two deadlines only
    /// [`next_deadline`](EventLoop::next_deadline) tells of: those of a [`ManualClock`](crate::ManualClock), and any while the system
    /// has no descriptor left for the timer.
    fn as_raw_fd(&self) -> RawFd {
        if !self.handed_out.replace(true) {
            let deadline = self.next_deadline();
            let deadline = deadline.map(|at| self.shared.clock.reading(at));
            // Without a timer descriptor the host still has next_deadline() to go by.
            let _ = self.watch(true, deadline);
        }
        self.shared.reactor.borrow().as_raw_fd()
    }
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let coroutines = self.shared.records.borrow().len();
        f.debug_struct("EventLoop")
            .field("coroutines", &coroutines)
            .finish_non_exhaustive()
    }
}
