//! What a turn is to do, said as simply as can be: one queue of jobs, a list of coroutines, a sorted list of timers.
//!
//! It knows nothing of futures, wakers or records. A coroutine is its place in its script and what has come for the step it waits in.

mod view;

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use super::{Deed, End, Event, Got, SLOTS, Schedule, Step, View};

/// One coroutine.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says something of its own"
)]
struct Coroutine {
    /// Which step of its body it is in, if it has begun one.
    step: Option<usize>,
    /// What has come for that step from a resolver.
    answer: Option<Got>,
    /// Whether what else the step waits for has come: its timer, or the wake-up of the waker that it left.
    rang: bool,
    /// The child that the step joins.
    joins: Option<usize>,
    /// Its children, whose handles it has.
    children: Vec<usize>,
    /// Who waits for its end.
    joiner: Option<usize>,
    /// Whether somebody has its handle.
    has_handle: bool,
    /// Whether it is in the queue.
    queued: bool,
    started: bool,
    cancelled: bool,
    aborted: bool,
    /// Whether it has left a waker.
    left_waker: bool,
    /// The yield-point of ours on which it parked last in its last resume. It may have gone on from there since, to a foreign future.
    parked_on: Option<&'static str>,
    end: Option<End>,
}

/// One entry of the queue. It stays there, and counts as a step, when what it stands for is gone.
#[derive(Clone, Copy)]
enum Job {
    Resume(usize),
    Call(u8),
    /// The callback of a timer that is due.
    Timer(usize),
}

/// What happens when a time has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    /// A coroutine wakes, if it is in that step still.
    Wake(Wait),
    /// The callback of a timer is due.
    Timer(usize),
}

/// A step of a coroutine, for whoever is to tell it something.
type Wait = (usize, usize);

/// The coroutine that runs.
struct Running {
    number: usize,
    /// Whether it was woken meanwhile, and so is in the queue.
    woken: bool,
}

/// The loop, its host and the user's code.
pub(super) struct Model {
    schedule: Rc<Schedule>,
    coroutines: Vec<Coroutine>,
    queue: VecDeque<Job>,
    running: Option<Running>,
    now: u64,
    /// By deadline, then by creation.
    alarms: BTreeSet<(u64, usize, Alarm)>,
    /// How many alarms were ever set.
    alarms_set: usize,
    /// The callbacks' timers: what each calls, until it has or was cancelled.
    timers: Vec<Option<u8>>,
    slots: Vec<Option<Wait>>,
    wakers: Vec<Wait>,
    /// Who was woken by a waker between two turns. The loop hears of it when it looks.
    posts: Vec<usize>,
    in_turn: bool,
    trace: Vec<Event>,
}

impl Model {
    pub(super) fn new(schedule: Rc<Schedule>) -> Self {
        Model {
            schedule,
            coroutines: vec![],
            queue: VecDeque::new(),
            running: None,
            now: 0,
            alarms: BTreeSet::new(),
            alarms_set: 0,
            timers: vec![],
            slots: vec![None; usize::from(SLOTS)],
            wakers: vec![],
            posts: vec![],
            in_turn: false,
            trace: vec![],
        }
    }

    /// What happened since this was last asked.
    pub(super) fn take_trace(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.trace)
    }

    pub(super) fn pass(&mut self, by: u8) {
        self.now += u64::from(by);
    }

    /// The host does something. It keeps no handle.
    pub(super) fn host(&mut self, deed: Deed) {
        if let Some(child) = self.act(deed) {
            self.coroutines[child].has_handle = false;
        }
    }

    /// Looks round, then runs what is ready.
    pub(super) fn turn(&mut self, most: usize) -> View {
        self.in_turn = true;
        self.look();
        let mut steps = 0;
        while steps < most
            && let Some(job) = self.queue.pop_front()
        {
            steps += 1;
            match job {
                Job::Resume(number) => self.resume(number),
                Job::Call(callback) => self.call(callback),
                Job::Timer(timer) => {
                    if let Some(callback) = self.timers[timer].take() {
                        self.call(callback);
                    }
                }
            }
        }
        self.in_turn = false;
        self.view(steps)
    }

    /// Queues what is due, then whom a waker has woken.
    fn look(&mut self) {
        while let Some((deadline, order, alarm)) = self.alarms.pop_first() {
            if deadline > self.now {
                self.alarms.insert((deadline, order, alarm));
                break;
            }
            match alarm {
                Alarm::Timer(timer) if self.timers[timer].is_some() => {
                    self.queue.push_back(Job::Timer(timer));
                }
                Alarm::Wake(wait) if self.is_live(alarm) => {
                    self.coroutines[wait.0].rang = true;
                    self.wake(wait.0);
                }
                _ => {}
            }
        }
        for number in std::mem::take(&mut self.posts) {
            self.wake(number);
        }
    }

    /// Makes a coroutine ready: it goes to the back of the queue, once. One that runs may be queued again.
    fn wake(&mut self, number: usize) {
        let coroutine = &mut self.coroutines[number];
        if coroutine.end.is_some() {
            return;
        }
        let queued = match &mut self.running {
            Some(running) if running.number == number => &mut running.woken,
            _ => &mut coroutine.queued,
        };
        if !std::mem::replace(queued, true) {
            self.queue.push_back(Job::Resume(number));
        }
    }

    /// Runs a coroutine until it waits or ends.
    fn resume(&mut self, number: usize) {
        let coroutine = &mut self.coroutines[number];
        if coroutine.end.is_some() {
            return;
        }
        let started = std::mem::replace(&mut coroutine.started, true);
        if coroutine.aborted || coroutine.cancelled && !started {
            return self.end_coroutine(number, End::Cut);
        }
        coroutine.parked_on = None;
        let cancelling = coroutine.cancelled;
        self.running = Some(Running {
            number,
            woken: false,
        });
        self.trace.push(Event::Resumed(number));
        // Whether it waited in this step before this resume.
        let mut again = true;
        loop {
            if let Some(step) = self.step(number) {
                if let Some(got) = self.outcome(number, step, again, cancelling) {
                    if matches!((step, got), (Step::Either(..), Got::Over)) {
                        // Its resolver was asked before its sleep.
                        self.coroutines[number].parked_on = Some("task");
                    }
                    self.trace.push(Event::Got(number, got));
                } else if cancelling && again && step.is_ours() {
                    return self.end_coroutine(number, End::Cut);
                } else {
                    return self.park(number, step, again, cancelling);
                }
            }
            again = false;
            loop {
                let Some(step) = self.begin_step(number) else {
                    return self.end_coroutine(number, End::Well);
                };
                match step {
                    Step::Fail => return self.end_coroutine(number, End::Failed),
                    Step::Do(deed) => {
                        if let Some(child) = self.act(deed) {
                            self.coroutines[number].children.push(child);
                        }
                    }
                    Step::Join if self.coroutines[number].joins.is_none() => {}
                    _ => break,
                }
            }
        }
    }

    /// The step that a coroutine waits in.
    fn step(&self, number: usize) -> Option<Step> {
        let step = self.coroutines[number].step?;
        self.schedule.body(number).get(step).copied()
    }

    /// What the step gives now, if it is over. What has come wins over a cancel.
    fn outcome(&self, number: usize, step: Step, again: bool, cancelling: bool) -> Option<Got> {
        let coroutine = &self.coroutines[number];
        let over = |over: bool| over.then_some(Got::Over);
        match step {
            Step::Yield => over(again && !cancelling),
            Step::WakeItself => over(again),
            Step::LeaveWaker | Step::Sleep(_) => over(coroutine.rang),
            Step::Wait(_) => coroutine.answer,
            // The resolver is asked first, and tells of the cancel.
            Step::Either(..) if cancelling && again => coroutine.answer,
            Step::Either(..) => coroutine.answer.or(over(coroutine.rang)),
            Step::Join => {
                let end = self.coroutines[coroutine.joins?].end?;
                Some(Got::Child(end))
            }
            Step::Do(_) | Step::Fail => Some(Got::Over),
        }
    }

    /// Goes on to the next step, and does what it does before it waits.
    fn begin_step(&mut self, number: usize) -> Option<Step> {
        let coroutine = &mut self.coroutines[number];
        if let Some(child) = coroutine.joins.take() {
            // Its end was taken.
            self.coroutines[child].has_handle = false;
        }
        let coroutine = &mut self.coroutines[number];
        let at = coroutine.step.map_or(0, |step| step + 1);
        coroutine.step = Some(at);
        coroutine.answer = None;
        coroutine.rang = false;
        let step = self.step(number)?;
        self.trace.push(Event::Began(number, step));
        let wait = (number, at);
        match step {
            Step::LeaveWaker => self.wakers.push(wait),
            Step::Wait(slot) => self.enter_slot(slot, wait),
            Step::Sleep(after) => self.set_alarm(after, Alarm::Wake(wait)),
            Step::Either(slot, after) => {
                self.enter_slot(slot, wait);
                self.set_alarm(after, Alarm::Wake(wait));
            }
            Step::Join => {
                let coroutine = &mut self.coroutines[number];
                coroutine.joins = coroutine.children.pop();
            }
            Step::Yield | Step::WakeItself | Step::Do(_) | Step::Fail => {}
        }
        Some(step)
    }

    /// A coroutine waits. One that was cancelled must have been told, or be where it will be told.
    fn park(&mut self, number: usize, step: Step, again: bool, cancelling: bool) {
        let coroutine = &mut self.coroutines[number];
        coroutine.left_waker |= step == Step::LeaveWaker;
        coroutine.parked_on = match step {
            Step::Wait(_) => Some("task"),
            Step::Sleep(_) | Step::Either(..) => Some("sleep"),
            Step::Join => Some("join"),
            _ => coroutine.parked_on,
        };
        let left_waker = coroutine.left_waker;
        if let Some(child) = coroutine.joins {
            self.coroutines[child].joiner = Some(number);
        }
        // Who has a waker of its own is queued by it at once; who has none, when it has given way.
        if step == Step::WakeItself && !again && left_waker {
            self.wake(number);
        }
        if cancelling && !step.is_ours() {
            self.end_coroutine(number, End::Cut);
            return self.trace.push(Event::Swallowed(number));
        }
        let woken = self.running.take().is_some_and(|running| running.woken);
        self.coroutines[number].queued = woken;
        let gives_way = matches!(step, Step::Yield | Step::WakeItself) && !again;
        if gives_way || cancelling {
            self.wake(number);
        }
    }

    /// A coroutine's body is dropped, with the handles that it has; then who waits for its end hears of it.
    fn end_coroutine(&mut self, number: usize, end: End) {
        let coroutine = &mut self.coroutines[number];
        let joined = coroutine.joins.take();
        let children = std::mem::take(&mut coroutine.children);
        for child in joined.into_iter().chain(children) {
            self.drop_handle(child);
        }
        self.trace.push(Event::Ended(number));
        self.running = None;
        let coroutine = &mut self.coroutines[number];
        coroutine.end = Some(end);
        if end == End::Failed && !coroutine.has_handle {
            self.trace.push(Event::Untaken(number));
        }
        if let Some(joiner) = self.coroutines[number].joiner.take() {
            self.wake(joiner);
        }
    }

    fn drop_handle(&mut self, child: usize) {
        let coroutine = &mut self.coroutines[child];
        coroutine.has_handle = false;
        coroutine.joiner = None;
        match coroutine.end {
            None if child % 2 == 1 => self.cancel(child),
            Some(End::Failed) => self.trace.push(Event::Untaken(child)),
            _ => {}
        }
    }

    fn call(&mut self, callback: u8) {
        self.trace.push(Event::Called(callback));
        self.host(self.schedule.callback(callback));
    }

    /// Does something. Gives the coroutine that it spawned.
    fn act(&mut self, deed: Deed) -> Option<usize> {
        match deed {
            Deed::Spawn => return self.spawn(),
            Deed::Resolve(slot) => {
                if let Some(wait) = self.slots[usize::from(slot)].take() {
                    self.answer(wait, Got::Value);
                }
            }
            Deed::Wake(which) => {
                if let Some((number, step)) = pick(&self.wakers, which) {
                    let coroutine = &mut self.coroutines[number];
                    coroutine.rang |= coroutine.step == Some(step);
                    if self.in_turn {
                        self.wake(number);
                    } else {
                        self.posts.push(number);
                    }
                }
            }
            Deed::Cancel(which) => {
                if let Some(number) = self.pick_coroutine(which) {
                    self.cancel(number);
                }
            }
            Deed::Abort(which) => {
                if let Some(number) = self.pick_coroutine(which)
                    && !std::mem::replace(&mut self.coroutines[number].aborted, true)
                {
                    self.wake(number);
                }
            }
            Deed::Call(callback) => self.queue.push_back(Job::Call(callback)),
            Deed::Later(callback, after) => {
                self.set_alarm(after, Alarm::Timer(self.timers.len()));
                self.timers.push(Some(callback));
            }
            Deed::Disarm(which) => {
                if !self.timers.is_empty() {
                    let timer = usize::from(which) % self.timers.len();
                    self.timers[timer] = None;
                }
            }
        }
        None
    }

    fn spawn(&mut self) -> Option<usize> {
        let number = self.coroutines.len();
        if number == self.schedule.most() {
            return None;
        }
        self.coroutines.push(Coroutine {
            step: None,
            answer: None,
            rang: false,
            joins: None,
            children: vec![],
            joiner: None,
            has_handle: true,
            queued: true,
            started: false,
            cancelled: false,
            aborted: false,
            left_waker: false,
            parked_on: None,
            end: None,
        });
        self.queue.push_back(Job::Resume(number));
        Some(number)
    }

    fn cancel(&mut self, number: usize) {
        let coroutine = &mut self.coroutines[number];
        if !coroutine.aborted && !std::mem::replace(&mut coroutine.cancelled, true) {
            self.wake(number);
        }
    }

    fn pick_coroutine(&self, which: u8) -> Option<usize> {
        let count = self.coroutines.len();
        (count > 0).then(|| usize::from(which) % count)
    }

    /// Puts a resolver into a slot, and drops the one that was there.
    fn enter_slot(&mut self, slot: u8, wait: Wait) {
        if let Some(before) = self.slots[usize::from(slot)].replace(wait) {
            self.answer(before, Got::Abandoned);
        }
    }

    /// A resolver was called or dropped.
    fn answer(&mut self, (number, step): Wait, answer: Got) {
        let coroutine = &mut self.coroutines[number];
        if coroutine.step == Some(step) {
            coroutine.answer = Some(answer);
            self.wake(number);
        }
    }

    fn set_alarm(&mut self, after: u8, alarm: Alarm) {
        let deadline = self.now + u64::from(after);
        self.alarms.insert((deadline, self.alarms_set, alarm));
        self.alarms_set += 1;
    }

    /// Whether anybody still waits for an alarm.
    fn is_live(&self, alarm: Alarm) -> bool {
        match alarm {
            Alarm::Timer(timer) => self.timers[timer].is_some(),
            Alarm::Wake((number, step)) => {
                let coroutine = &self.coroutines[number];
                coroutine.end.is_none() && coroutine.step == Some(step)
            }
        }
    }

    /// The coroutines that have not ended.
    fn alive(&self) -> impl Iterator<Item = (usize, &Coroutine)> {
        let all = self.coroutines.iter().enumerate();
        all.filter(|(_, coroutine)| coroutine.end.is_none())
    }
}

impl Step {
    /// Whether it waits in a yield-point of ours, which can tell of a cancel.
    fn is_ours(self) -> bool {
        !matches!(self, Step::WakeItself | Step::LeaveWaker)
    }
}

/// One of these, if there is any.
pub(super) fn pick<T: Clone>(among: &[T], which: u8) -> Option<T> {
    let count = among.len();
    (count > 0).then(|| among[usize::from(which) % count].clone())
}
