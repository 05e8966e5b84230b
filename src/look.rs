//! Step 1 of a turn: the look at timers, sockets and inbox, with the wait that may come first.
//!
//! It is apart from the turn because a look takes things in and queues them, and runs nothing.
//!
//! Invariants:
//! 1. It waits only when nothing is ready, nobody has asked it to stop, every timer has its deadline, and something could still wake.
//! 2. One reading of the clock serves a look.
//! 3. A loop that found a stream of posts and has nothing else to do gives the next ones about a microsecond to gather. One that finds
//!    few, as in a round trip, does not.
//! 4. While it waits awake, no poster makes a system call; asleep it is marked, and then looks at the inbox once more before it sleeps.

use std::hint;
use std::io;

use crate::bodies::Root;
use crate::budget::TurnReport;
use crate::busy_poll::BusyPoll;
use crate::clock::nanos;
use crate::error::Result;
use crate::event_loop::{EventLoop, Outcome};
use crate::handle::snapshot;
use crate::incident::Incident;
use crate::reactor::source_of;
use crate::shared::Fire;
use crate::timers::{NEVER, Nanos};
use crate::waiter::WaiterSlot;

/// How many timers are fired together.
const AT_ONCE: usize = 64;

/// So many posts in one look are a stream: more are on their way.
const STREAM: usize = 4;

/// For how many hints to the CPU a loop that has nothing to do lets a stream gather. They are about a microsecond.
const GATHER: usize = 50;

impl EventLoop {
    /// Looks at timers, sockets and inbox. Waits first if it may and nothing is ready. Tells when there is no point in waiting.
    pub(crate) fn look(
        &mut self,
        may_wait: bool,
        report: &mut TurnReport,
        root: Option<&Root<'_>>,
    ) -> Result<Option<Outcome>> {
        self.events.clear();
        let mut polled = false;
        if may_wait && self.came >= STREAM && self.ready() == 0 {
            // Taken one by one, posts cost more for the cache lines that change cores than for what they do.
            (0..GATHER).for_each(|_| hint::spin_loop());
        }
        if may_wait && self.is_idle() {
            // A clock moved by hand may have passed a deadline, and will not move while this thread sleeps.
            let moved = self.shared.clock.as_manual().is_some();
            if moved || self.shared.timers.borrow().has_fresh() {
                report.timers += self.tick();
            }
            if self.is_idle() && !self.was_told() {
                if let Some(verdict) = self.wait(root)? {
                    return Ok(Some(verdict));
                }
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

    /// Whether a waker of somebody else's, which a timer has just woken, has stopped the loop or set a timer: it must not wait now.
    fn was_told(&self) -> bool {
        self.shared.is_interrupted() || self.shared.timers.borrow().has_fresh()
    }

    /// Reads the clock, gives new timers their deadline, and queues what is due. Gives the number of due timers.
    fn tick(&mut self) -> usize {
        let now = self.shared.clock.now();
        self.shared.set_looked_at(now);
        self.shared.timers.borrow_mut().stamp(now);
        let mut due = 0;
        while let Some((fired, foreign)) = self.fire(now) {
            due += fired;
            self.shared.wake_waiter(foreign);
        }
        due
    }

    /// Fires the first timers that are due, so many at most and none behind one for which a waker of somebody else's is to be woken: that is
    /// user code, and given back.
    ///
    /// A callback's timer is kept, so that it can still be cancelled before it runs.
    fn fire(&self, now: Nanos) -> Option<(usize, WaiterSlot)> {
        let shared = &self.shared;
        let mut timers = shared.timers.borrow_mut();
        if !timers.gather(now, AT_ONCE) {
            return None;
        }
        let mut fired = 0;
        while let Some((id, fire)) = timers.take(|fire| matches!(fire, Fire::Call(_))) {
            fired += 1;
            let Some(Fire::Wake(slot)) = fire else {
                shared.push_timer(id);
                continue;
            };
            let Some(owner) = slot.direct_owner() else {
                timers.scatter();
                return Some((fired, slot));
            };
            shared.wake_here(owner);
        }
        Some((fired, WaiterSlot::EMPTY))
    }

    /// Hands the sockets' events to whoever waits for them. Gives their number.
    fn take_events(&mut self) -> usize {
        let mut count = 0;
        for event in &self.events {
            let Some(token) = source_of(event) else {
                continue;
            };
            count += 1;
            let mut reactor = self.shared.reactor.borrow_mut();
            let Some(mut source) = reactor.sources.of(token) else {
                continue;
            };
            let [reader, writer] = source.ready_by(event);
            drop(reactor);
            if let Some(slot) = reader {
                match slot.direct_owner() {
                    Some(id) => self.shared.wake_here(id),
                    None => self.shared.wake_waiter(slot),
                }
            }
            if let Some(slot) = writer {
                self.shared.wake_waiter(slot);
            }
        }
        count
    }

    /// Takes in what was posted until now.
    fn take_posts(&mut self) {
        self.came = 0;
        if !self.shared.inbox.is_empty() {
            self.shared.inbox.take(&mut self.posts);
            self.came = self.shared.take_in(&mut self.posts);
        }
    }

    /// Waits until an event, a post or a deadline, awake first where that pays and then asleep, which asks the poll; or tells that nothing can
    /// come.
    fn wait(&mut self, root: Option<&Root<'_>>) -> Result<Option<Outcome>> {
        if self.may_stay_awake()
            && self.busy_poll.as_ref().is_some_and(BusyPoll::pays)
            && self.verdict(root).is_none()
            && self.stay_awake()?
        {
            return Ok(None);
        }
        // Marked before the verdict: the last remote that goes after it ends the sleep.
        self.shared.inbox.fall_asleep();
        if let Some(verdict) = self.verdict(root) {
            self.shared.inbox.wake_up();
            return Ok(Some(verdict));
        }
        self.sleep()?;
        Ok(None)
    }

    /// Whether the setting is for a wait like this.
    fn may_stay_awake(&self) -> bool {
        let shared = &self.shared;
        self.busy_poll.as_ref().is_some_and(|busy_poll| {
            !busy_poll.is_for_posts_alone()
                || shared.inbox.remotes() > 0 && shared.reactor.borrow().len() == 0
        })
    }

    /// Looks without sleeping, for as long as the setting allows. Tells whether something came.
    #[cold]
    fn stay_awake(&mut self) -> io::Result<bool> {
        let Some(busy_poll) = &mut self.busy_poll else {
            return Ok(false);
        };
        let (shared, events) = (&self.shared, &mut self.events);
        let mut reactor = shared.reactor.borrow_mut();
        let deadline = shared.timers.borrow().next_deadline();
        let sockets = reactor.len() > 0;
        busy_poll.stay_awake(
            || shared.clock.now(),
            |now| {
                if sockets {
                    reactor.poll_now(events)?;
                }
                Ok(!shared.inbox.is_empty()
                    || deadline.is_some_and(|at| at <= now)
                    || events.iter().any(|event| source_of(event).is_some()))
            },
        )
    }

    /// Sleeps until an event, a post or a deadline. The inbox is marked as asleep by now.
    fn sleep(&mut self) -> Result {
        self.rest();
        if !self.shared.inbox.is_empty() {
            self.shared.inbox.wake_up();
            return Ok(());
        }
        // Who stayed awake before may have taken the timer's event out of the poll, which does not come again: what was due by then must
        // not count as still to come.
        let fell_asleep = self.may_stay_awake().then(|| self.shared.clock.now());
        let now = fell_asleep.unwrap_or(self.shared.looked_at.get());
        let deadline = {
            let timers = self.shared.timers.borrow();
            // A clock moved by hand stands at each deadline, however close they are.
            match self.shared.clock.as_manual() {
                Some(_) => timers.next_deadline(),
                None => timers.wake_at(now),
            }
        };
        let alarm = self
            .stall
            .as_ref()
            .filter(|stall| !stall.told)
            .map(|stall| now.saturating_add(nanos(stall.after)));
        let until = [deadline, alarm].into_iter().flatten().min();
        self.sleep_until(until.filter(|at| *at < NEVER), now)?;
        if let (Some(busy_poll), Some(since)) = (&mut self.busy_poll, fell_asleep) {
            busy_poll.slept(self.shared.clock.now().saturating_sub(since));
        }
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

    /// Reports a stall, if the sleep lasted until the alarm and brought nothing.
    #[cold]
    fn suspect(&mut self, alarm: Nanos) {
        let now = self.shared.clock.now();
        let nothing = self.events.iter().all(|event| source_of(event).is_none())
            && self.shared.inbox.is_empty();
        if nothing && now >= alarm && !self.shared.records.borrow().is_empty() {
            self.shared.set_looked_at(now);
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
}
