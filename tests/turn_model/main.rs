//! The order of a turn against a model of it: random schedules, run by the real loop and by a queue of jobs that anybody can read.
//!
//! A schedule is what each body does, what each callback does, and what the host does before each turn. [`subject`] plays it on an
//! [`EventLoop`](yieldpoint::EventLoop), [`model`] on a `VecDeque`. After each turn both have told the same story: who was resumed, in which order,
//! what each wait gave, who ended, what the error hook heard; and the loop's own report and snapshot say what the model says.
//!
//! A failure prints the smallest schedule it could find, a line for each body, callback and turn, and where the stories part.
//! `PROPTEST_CASES=100000` looks further.

mod model;
mod subject;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};

use model::Model;
use subject::Subject;

/// One step of a coroutine's body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Gives way once.
    Yield,
    /// Waits in a foreign future that wakes itself at once.
    WakeItself,
    /// Waits in a foreign future that leaves its waker for anybody to wake.
    LeaveWaker,
    /// Waits in a `Task` whose resolver goes to a slot. Who was in that slot is dropped, and its waiter told.
    Wait(u8),
    /// Sleeps for so many milliseconds.
    Sleep(u8),
    /// Waits for a slot and sleeps, whichever is over first.
    Either(u8, u8),
    /// Joins the child that it spawned last, if it has one.
    Join,
    /// Does something without waiting.
    Do(Deed),
    /// Ends with an error.
    Fail,
}

/// What anybody can do: a body, a callback, the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deed {
    /// Spawns the next coroutine. A body keeps its handle, and every other one of these cancels when it is dropped.
    Spawn,
    /// Resolves the resolver in a slot.
    Resolve(u8),
    /// Wakes one of the wakers that were left, whether or not its coroutine still waits there.
    Wake(u8),
    /// Cancels one of the coroutines.
    Cancel(u8),
    /// Drops one of the coroutines.
    Abort(u8),
    /// Queues a callback.
    Call(u8),
    /// Queues a callback for so many milliseconds from now.
    Later(u8, u8),
    /// Cancels one of the timers that were set so.
    Disarm(u8),
}

/// What the host does, and the turn that follows.
#[derive(Clone, Debug)]
struct Turn {
    /// How far the clock moves first, in milliseconds.
    pass: u8,
    /// What is done next.
    deeds: Vec<Deed>,
    /// How many steps the turn may take. Never so many that the loop would look round twice.
    steps: usize,
}

/// All that happens.
#[derive(Clone)]
struct Schedule {
    /// How many coroutines are spawned before everything else.
    crowd: usize,
    /// What the coroutines do, one after the other; then from the first again.
    bodies: Vec<Vec<Step>>,
    /// What the callbacks do.
    callbacks: Vec<Deed>,
    /// The turns.
    turns: Vec<Turn>,
}

/// How many resolvers can be waited for at a time.
const SLOTS: u8 = 6;

/// How many coroutines are spawned besides the crowd.
const MOST: usize = 40;

impl Schedule {
    /// What the coroutine with this number does.
    fn body(&self, number: usize) -> &[Step] {
        &self.bodies[number % self.bodies.len()]
    }

    /// What a callback does.
    fn callback(&self, number: u8) -> Deed {
        self.callbacks[usize::from(number) % self.callbacks.len()]
    }

    /// How many coroutines there may be.
    fn most(&self) -> usize {
        self.crowd + MOST
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.crowd > 0 {
            write!(f, "\n  first: {} times Spawn", self.crowd)?;
        }
        for (number, body) in self.bodies.iter().enumerate() {
            write!(f, "\n  body {number}: {body:?}")?;
        }
        for (number, deed) in self.callbacks.iter().enumerate() {
            write!(f, "\n  callback {number}: {deed:?}")?;
        }
        for (number, Turn { pass, deeds, steps }) in self.turns.iter().enumerate() {
            write!(
                f,
                "\n  turn {number}: {pass} ms pass, {deeds:?}, then {steps} steps at most"
            )?;
        }
        Ok(())
    }
}

/// What happened. Coroutines and callbacks are named by their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    /// A coroutine's body was polled.
    Resumed(usize),
    /// It came to this step.
    Began(usize, Step),
    /// A wait of it gave this.
    Got(usize, Got),
    /// A callback ran.
    Called(u8),
    /// A coroutine's body was dropped.
    Ended(usize),
    /// The error hook heard that a coroutine went on waiting after it was cancelled.
    Swallowed(usize),
    /// The error hook heard of an error that nobody took.
    Untaken(usize),
}

/// What a wait gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Got {
    /// It is over, and that is all.
    Over,
    /// The value.
    Value,
    /// That there will be no value.
    Abandoned,
    /// How the child ended.
    Child(End),
}

/// How a coroutine ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Well,
    Failed,
    /// It was cancelled or aborted.
    Cut,
}

/// What can be seen between two turns.
#[derive(PartialEq, Eq, Debug)]
struct View {
    /// How many steps the turn took.
    steps: usize,
    /// Whether something is ready now.
    work_left: bool,
    /// In how many milliseconds from the first turn the next timer is due.
    next_deadline: Option<u64>,
    /// Whether nothing can ever move again.
    stuck: bool,
    /// How many jobs are ready.
    ready: usize,
    /// How many timers there are.
    timers: usize,
    /// What each coroutine is doing.
    doing: BTreeMap<usize, &'static str>,
}

/// A deed. Drawn as numbers: a choice among strategies seeds a generator for each of them, which takes as long as all the rest.
fn deed() -> impl Strategy<Value = Deed> {
    (0..20_u8, any::<u8>(), 0..4_u8).prop_map(|(deed, which, after)| match deed {
        0..5 => Deed::Spawn,
        5..10 => Deed::Resolve(which % SLOTS),
        10..13 => Deed::Wake(which),
        13..15 => Deed::Call(which % 8),
        15..17 => Deed::Later(which % 8, after),
        17 => Deed::Disarm(which),
        18 => Deed::Cancel(which),
        _ => Deed::Abort(which),
    })
}

fn step() -> impl Strategy<Value = Step> {
    let waits = (0..24_u8, 0..SLOTS, 0..4_u8);
    (waits, deed()).prop_map(|((step, slot, duration), deed)| match step {
        0..3 => Step::Yield,
        3..6 => Step::Wait(slot),
        6..8 => Step::Sleep(duration),
        8 => Step::WakeItself,
        9 | 10 => Step::LeaveWaker,
        11..13 => Step::Join,
        13 | 14 => Step::Either(slot, duration),
        15 => Step::Fail,
        _ => Step::Do(deed),
    })
}

fn turn() -> impl Strategy<Value = Turn> {
    let deeds = prop::collection::vec(deed(), 0..5);
    (0..6_u8, deeds, 1..100_usize).prop_map(|(pass, deeds, steps)| Turn {
        pass: pass.saturating_sub(3),
        deeds,
        steps,
    })
}

fn schedule(crowd: Range<usize>) -> impl Strategy<Value = Schedule> {
    let bodies = prop::collection::vec(prop::collection::vec(step(), 0..10), 1..12);
    let callbacks = prop::collection::vec(deed(), 1..8);
    let turns = prop::collection::vec(turn(), 1..40);
    (crowd, bodies, callbacks, turns).prop_map(|(crowd, bodies, callbacks, turns)| Schedule {
        crowd,
        bodies,
        callbacks,
        turns,
    })
}

/// Plays a schedule on both, and compares them after each turn and at the end.
fn compare(schedule: Schedule) -> TestCaseResult {
    let schedule = Rc::new(schedule);
    let mut model = Model::new(Rc::clone(&schedule));
    let mut subject = Subject::new(Rc::clone(&schedule));
    for _ in 0..schedule.crowd {
        model.host(Deed::Spawn);
        subject.host(Deed::Spawn);
    }
    for (number, turn) in schedule.turns.iter().enumerate() {
        model.pass(turn.pass);
        subject.pass(turn.pass);
        for deed in &turn.deeds {
            model.host(*deed);
            subject.host(*deed);
        }
        let (expected, seen) = (model.turn(turn.steps), subject.turn(turn.steps));
        same_story(number, &model.take_trace(), &subject.take_trace())?;
        prop_assert_eq!(seen, expected, "after turn {}", number);
    }
    let rest = subject.end();
    prop_assert_eq!(rest, model.end(), "when the loop is dropped");
    Ok(())
}

/// Fails with the place where the stories part, if they do.
fn same_story(turn: usize, expected: &[Event], seen: &[Event]) -> TestCaseResult {
    let common = expected.iter().zip(seen).take_while(|(a, b)| a == b);
    let at = common.count();
    prop_assert!(
        expected.len() == at && seen.len() == at,
        "in turn {turn} after {:?}\n  the model goes on with {:?}\n  the loop goes on with  {:?}",
        &seen[at.saturating_sub(4)..at],
        &expected[at..expected.len().min(at + 4)],
        &seen[at..seen.len().min(at + 4)],
    );
    Ok(())
}

/// Compares schedules with a crowd of this size: one of `share` of the usual number, and of what `PROPTEST_CASES` says.
fn compare_many(crowd: Range<usize>, share: u32) {
    let usual = ProptestConfig::default();
    let mut runner = TestRunner::new(ProptestConfig {
        cases: usual.cases.div_ceil(share),
        failure_persistence: None,
        ..usual
    });
    if let Err(failure) = runner.run(&schedule(crowd), compare) {
        panic!("{failure}");
    }
}

#[test]
fn a_turn_does_what_a_queue_of_jobs_does() {
    compare_many(0..3, 1);
}

/// From 4096 jobs on the loop looks ahead.
#[test]
fn a_turn_with_thousands_ready_does_what_a_queue_of_jobs_does() {
    compare_many(4500..5000, 64);
}
