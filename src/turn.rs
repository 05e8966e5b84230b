//! One turn after another.
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

use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::task::Context;

use crate::bodies::Root;
use crate::budget::{Budget, TurnReport};
use crate::clock::nanos;
use crate::error::Result;
use crate::event_loop::{EventLoop, Outcome};
use crate::job::Job;
use crate::shared::Shared;
use crate::timers::{Nanos, TimerId};
use crate::waker::InTurn;

/// After so many steps the loop looks at timers, sockets and inbox again, however much is ready.
pub(crate) const LOOK_EVERY: usize = 128;

/// So many jobs reach more memory than the nearer caches hold. Where they are in no order, as timers leave them, nobody fetches it ahead.
const MANY: usize = 4096;

/// Why the loop runs no further job for now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pause {
    /// It has run as many as it was to.
    Spent,
    /// None is ready.
    Idle,
    /// Something asks it to look up: a stop, or the end of the body of `block_on`.
    Interrupted,
    /// The time is up.
    Late,
}

impl EventLoop {
    /// Runs until nothing is left, [`Handle::stop`](crate::Handle::stop) was called, or nothing can ever move again.
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
        // A stop from before this run leaves nothing to finish.
        self.shared.heed();
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
            if self.shared.stopping.get() {
                if self.shared.is_interrupted() {
                    self.finish_ready(root.as_deref_mut());
                    self.shared.heed();
                }
                self.shared.stopping.set(false);
                return Ok(Outcome::Stopped);
            }
            if let Some(verdict) = self.look(true, report, root.as_deref())? {
                return Ok(verdict);
            }
            let (_, pause) = self.steps(LOOK_EVERY, None, root.as_deref_mut());
            if pause == Pause::Interrupted {
                if root.as_ref().is_some_and(|root| root.done) {
                    self.shared.heed();
                    // A stop in the very last step was meant for this run, which it ends.
                    self.shared.stopping.set(false);
                    return Ok(Outcome::Done);
                }
                if !self.shared.stopping.get() {
                    self.shared.heed();
                }
            }
        }
    }

    /// Runs jobs, so many at most, which are [`LOOK_EVERY`] at most, and after the first none once it is so late. Tells how many it has
    /// run, and why no more.
    #[inline]
    fn steps(
        &mut self,
        most: usize,
        until: Option<Nanos>,
        mut root: Option<&mut Root<'_>>,
    ) -> (usize, Pause) {
        let shared = &Rc::clone(&self.shared);
        if shared.ready.len() > MANY {
            self.bodies
                .look_ahead(shared, shared.ready.next(LOOK_EVERY));
        }
        let begin = shared.ready.head();
        let end = begin.saturating_add(most);
        // Who may be late looks at the clock after each job, and so takes them one by one.
        let at_once = if until.is_some() { 1 } else { LOOK_EVERY };
        let pause = loop {
            match self.look_up(end, at_once) {
                Ok(None) => self.steps_in_one_context(shared, root.as_deref_mut()),
                Ok(Some(job)) => self.step_rare(shared, job, root.as_deref_mut()),
                Err(pause) => break pause,
            }
            if until.is_some_and(|until| shared.clock.now() >= until) {
                break Pause::Late;
            }
        };
        // Nobody runs between two resumes. Said here, it is not said after each.
        shared.end_resume();
        (shared.ready.head() - begin, pause)
    }

    /// Runs jobs in the common way, all polled with one context, for as long as the queue gives any.
    #[inline(never)]
    fn steps_in_one_context(&mut self, shared: &Rc<Shared>, mut root: Option<&mut Root<'_>>) {
        let common = self.bodies.common();
        let mut cx = Context::from_waker(common.waker());
        while let Some(job) = shared.ready.take() {
            if !self.bodies.resume(shared, job, &mut cx) {
                match job.row() {
                    Some(row) => call(shared, row),
                    None => self.step_rare(shared, job, root.as_deref_mut()),
                }
            }
        }
    }

    /// Looks whether to go on up to the job with this number, with so many at once. Gives a job that must be run in the longer way.
    ///
    /// # Errors
    /// Why no further job is to be run for now.
    fn look_up(&mut self, end: usize, at_once: usize) -> Result<Option<Job>, Pause> {
        let shared = &self.shared;
        let ready = &shared.ready;
        shared.renumber();
        self.bodies.heed_renewal(shared);
        let job = if shared.detours.get() == 0 {
            if ready.go_on(end.min(ready.head() + at_once)) {
                return Ok(None);
            }
            None
        } else if shared.is_interrupted() {
            return Err(Pause::Interrupted);
        } else {
            ready.go_on(end.min(ready.head() + 1));
            ready.take()
        };
        let none = if ready.head() == end {
            Pause::Spent
        } else {
            Pause::Idle
        };
        job.map(Some).ok_or(none)
    }

    /// Runs what is ready now and nothing that becomes ready by it.
    fn finish_ready(&mut self, mut root: Option<&mut Root<'_>>) {
        let mut left = self.ready();
        while left > 0 {
            // A further stop is a part of this one.
            self.shared.heed();
            let most = left.min(LOOK_EVERY);
            let (ran, pause) = self.steps(most, None, root.as_deref_mut());
            left = if pause == Pause::Idle { 0 } else { left - ran };
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
            let (ran, pause) = self.steps(LOOK_EVERY.min(steps - report.steps), until, None);
            report.steps += ran;
            // A stop is meant for a run.
            self.shared.heed();
            if matches!(pause, Pause::Idle | Pause::Late) || report.steps >= steps {
                return Ok(());
            }
        }
    }

    /// Begins a turn.
    fn begin(&mut self) {
        self.shared.set_nudge(false);
        self.shared.inbox.wake_up();
        self.bodies.settle_in(&self.shared);
    }

    /// Runs a callback, or a coroutine in the longer way.
    #[inline(never)]
    fn step_rare(&mut self, shared: &Rc<Shared>, job: Job, root: Option<&mut Root<'_>>) {
        if let Some(row) = job.row() {
            return call(shared, row);
        }
        shared.end_resume();
        match job.timer() {
            Some(id) => call_timer(shared, id),
            None => self.bodies.resume_rare(shared, job.0, root),
        }
    }

    /// Ends a turn: fills in the report, and sets the descriptor up for whoever polls it (keeps invariant 2).
    fn end_turn(&mut self, report: &mut TurnReport) -> Result {
        self.rest();
        let shared = &self.shared;
        // Moved by hand, the clock may have passed a deadline since the look.
        if shared.timers.borrow().has_fresh() || shared.clock.as_manual().is_some() {
            let now = shared.clock.now();
            shared.set_looked_at(now);
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
        if work_left || !shared.inbox.is_empty() {
            shared.inbox.make_readable();
        } else {
            shared.set_nudge(true);
        }
        Ok(())
    }
}

/// Runs the oldest callback of this row.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as a resume, in the common way")]
fn call(shared: &Rc<Shared>, row: usize) {
    shared.end_resume();
    shared.call_next(row);
}

/// Runs the callback of a timer, if it was not cancelled meanwhile.
fn call_timer(shared: &Rc<Shared>, id: TimerId) {
    if let Some(callback) = shared.take_due(id) {
        shared.contain("callback", || callback(shared));
    }
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::{Future, poll_fn};
    use std::pin::pin;

    use super::*;
    use crate::Co;
    use crate::roster::LAST;
    use crate::shared::FIRST;
    use crate::sync::queue;

    #[test]
    fn who_parks_is_left_alone_where_the_number_of_a_resume_that_gave_way_comes_again() {
        let mut event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        for _ in 0..5 {
            drop(handle.spawn(async |co: Co| -> Result { co.yield_now().await }));
        }
        assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
        event_loop.shared().resume.set(LAST);
        drop(handle.spawn(async |co: Co| -> Result {
            for _ in 0..30 {
                // By way of two callbacks, so that a resume too many would come in between.
                let (handle, second) = (co.handle(), co.handle().clone());
                co.task(|done| {
                    handle.call_soon(move || second.call_soon(move || done.resolve(())));
                })
                .await?;
            }
            Ok(())
        }));
        let report = event_loop.turn(Budget::steps(1000)).unwrap();
        assert_eq!(report.steps, 1 + 3 * 30);
        assert!(
            event_loop.shared().resume.get() < FIRST + 100,
            "they began anew"
        );
    }

    #[test]
    fn who_gives_way_and_is_woken_in_one_resume_is_resumed_once() {
        for gives_way_first in [true, false] {
            let mut event_loop = EventLoop::new().unwrap();
            let coroutine = event_loop.handle().spawn(async move |co: Co| -> Result {
                for _ in 0..3 {
                    let (sender, receiver) = queue::<()>(&co, 1);
                    let mut wait = pin!(receiver.recv());
                    let mut way = co.yield_now();
                    let mut resumes = 0;
                    poll_fn(|cx| {
                        resumes += 1;
                        if resumes == 2 {
                            assert!(wait.as_mut().poll(cx).is_ready());
                            return pin!(&mut way).poll(cx);
                        }
                        assert!(wait.as_mut().poll(cx).is_pending());
                        if gives_way_first {
                            assert!(pin!(&mut way).poll(cx).is_pending());
                        }
                        assert!(sender.try_send(()).is_ok());
                        pin!(&mut way).poll(cx)
                    })
                    .await?;
                    // The next one gives way in the short way again.
                    co.yield_now().await?;
                }
                Ok(())
            });
            let report = event_loop.turn(Budget::steps(1000)).unwrap();
            assert_eq!(report.steps, 1 + 3 * 2);
            assert!(coroutine.is_finished());
        }
    }

    #[test]
    fn two_that_give_way_alternate_while_the_numbers_of_the_resumes_begin_anew() {
        let mut event_loop = EventLoop::new().unwrap();
        event_loop.shared().resume.set(LAST - 20);
        let log = Rc::new(RefCell::new(String::new()));
        for name in ['a', 'b'] {
            let log = Rc::clone(&log);
            drop(event_loop.handle().spawn(async move |co: Co| -> Result {
                for _ in 0..20 {
                    log.borrow_mut().push(name);
                    co.yield_now().await?;
                }
                Ok(())
            }));
        }
        let report = event_loop.turn(Budget::steps(1000)).unwrap();
        assert_eq!(*log.borrow(), "ab".repeat(20));
        assert_eq!(report.steps, 2 * (1 + 20));
        assert!(
            event_loop.shared().resume.get() < FIRST + 200,
            "they began anew"
        );
    }
}
