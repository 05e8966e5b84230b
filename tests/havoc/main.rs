//! Havoc: every piece of the user's code that the loop runs turns round and uses the loop.
//!
//! A body, a callback, a foreign waker's `wake` and `drop`, the error hook, an error's `From` and `Display`, the `Drop` of a value wherever it
//! lies: each is a *hook*, and each does the next *deed* of a schedule. It spawns, cancels, resolves, drops handles and half-polled points, looks
//! into the loop, wakes, panics; whatever it drops is a hook again.
//!
//! However that ends: every value is dropped once, every coroutine ends once, every failure is told once, nothing is left in the loop, and the loop
//! can be used as before. A failure prints the smallest schedule it could find, and what each hook did.
//! `PROPTEST_CASES=100000` looks further.

mod body;
mod hooks;
mod world;

use std::fmt;

use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestCaseResult, TestRunner};
use yieldpoint::{Budget, EventLoop, ManualClock, Outcome, Result, Snapshot, ms};

use world::{World, hook};

/// What a hook does.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// Spawns the next coroutine, and keeps its handle.
    Spawn,
    /// The same; it is cancelled when its handle is dropped.
    SpawnCancelledOnDrop,
    /// Queues a callback.
    Call,
    /// Queues one for so many milliseconds from now.
    Later(u8),
    Disarm(u8),
    Cancel(u8),
    Abort(u8),
    /// Calls a resolver that somebody keeps.
    Resolve(u8),
    DropResolver(u8),
    DropHandle(u8),
    /// Drops a point that somebody has begun to wait for.
    DropPoint(u8),
    /// Polls one with a waker that is a hook.
    PollPoint(u8),
    /// Polls one in a coroutine of another loop, whose waker it may keep.
    PollElsewhere(u8),
    /// Wakes a waker that a coroutine has left.
    Wake(u8),
    DropWaker(u8),
    /// Puts a value into the queue, or takes one out.
    Send,
    Receive,
    /// Prints what everybody is doing.
    Look,
    Stop,
    /// Panics, where that can be contained.
    Panic,
}

/// What a coroutine does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Yield,
    Sleep(u8),
    /// Waits for a resolver that anybody may call or drop.
    Wait,
    /// Waits for a key that anybody may resolve.
    WaitKey,
    /// Gives a key up, whose value may have come.
    Forget,
    /// Leaves a key pending.
    LeaveKey,
    /// Leaves a sleep, a wait or a join for anybody to poll or drop.
    LeaveSleep(u8),
    LeaveWait,
    LeaveJoin(u8),
    Join(u8),
    /// Waits for a resolver and sleeps, whichever is over first.
    Either(u8),
    /// Waits for a point that somebody has left, and sleeps.
    Adopt(u8, u8),
    /// Polls a sleep with two wakers that are hooks before it waits for it.
    Repoll(u8),
    /// Leaves its waker, and wakes itself.
    LeaveWaker,
    Receive(u8),
    CleanUp(u8),
    /// Does a deed.
    Hook,
    /// Ends with an error.
    Fail,
    Panic,
}

/// All that happens.
#[derive(Clone)]
struct Schedule {
    /// What the coroutines do, one after the other; then from the first again.
    bodies: Vec<Vec<Step>>,
    /// What the hooks do, in the order in which they come to it.
    deeds: Vec<Deed>,
    /// How many steps each turn may take. Between two turns a millisecond passes, and the host is a hook.
    turns: Vec<usize>,
    /// What they do when all is over.
    last_deeds: Vec<Deed>,
    /// Whether the loop is dropped in the midst of it.
    drops_loop: bool,
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, body) in self.bodies.iter().enumerate() {
            write!(f, "\n  body {number}: {body:?}")?;
        }
        write!(f, "\n  the hooks: {:?}", self.deeds)?;
        write!(f, "\n  turns of so many steps: {:?}", self.turns)?;
        let end = if self.drops_loop {
            "the loop is dropped"
        } else {
            "all are cancelled"
        };
        write!(f, "\n  then {end}, and the hooks: {:?}", self.last_deeds)
    }
}

fn deed() -> impl Strategy<Value = Deed> {
    (0..40_u8, any::<u8>()).prop_map(|(deed, which)| match deed {
        0..4 => Deed::Spawn,
        4..6 => Deed::SpawnCancelledOnDrop,
        6..8 => Deed::Call,
        8 | 9 => Deed::Later(which % 3),
        10 => Deed::Disarm(which),
        11..13 => Deed::Cancel(which),
        13 => Deed::Abort(which),
        14..17 => Deed::Resolve(which),
        17 | 18 => Deed::DropResolver(which),
        19 => Deed::DropHandle(which),
        20 | 21 => Deed::DropPoint(which),
        22..25 => Deed::PollPoint(which),
        25 => Deed::PollElsewhere(which),
        26..28 => Deed::Wake(which),
        28 => Deed::DropWaker(which),
        29..31 => Deed::Send,
        31..33 => Deed::Receive,
        33..36 => Deed::Look,
        36 => Deed::Stop,
        _ => Deed::Panic,
    })
}

fn step() -> impl Strategy<Value = Step> {
    (0..32_u8, any::<u8>(), 0..3_u8).prop_map(|(step, which, after)| match step {
        0..3 => Step::Yield,
        3..5 => Step::Sleep(after),
        5 | 6 => Step::Wait,
        7 => Step::Forget,
        8 | 9 => Step::WaitKey,
        10 => Step::LeaveKey,
        11 => Step::LeaveSleep(after),
        12 | 13 => Step::LeaveWait,
        14 => Step::LeaveJoin(which),
        15 | 16 => Step::Join(which),
        17 | 18 => Step::Either(after),
        19 | 20 => Step::Adopt(which, after),
        21 | 22 => Step::Repoll(after),
        23 | 24 => Step::LeaveWaker,
        25 => Step::Receive(after),
        26 => Step::CleanUp(after),
        27..30 => Step::Hook,
        30 => Step::Fail,
        _ => Step::Panic,
    })
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let bodies = prop::collection::vec(prop::collection::vec(step(), 0..10), 1..10);
    let deeds = prop::collection::vec(deed(), 0..300);
    let turns = prop::collection::vec(1..20_usize, 1..40);
    let last_deeds = prop::collection::vec(deed(), 0..60);
    (bodies, deeds, turns, last_deeds, any::<bool>()).prop_map(
        |(bodies, deeds, turns, last_deeds, drops_loop)| Schedule {
            bodies,
            deeds,
            turns,
            last_deeds,
            drops_loop,
        },
    )
}

/// Plays a schedule, and then looks whether all is as it should be.
fn play(schedule: Schedule) -> TestCaseResult {
    let clock = ManualClock::auto();
    let mut event_loop = EventLoop::builder()
        .clock(&clock)
        .on_error(world::hear)
        .build()
        .expect("a loop");
    let world = World::begin(&event_loop, schedule.bodies, schedule.deeds);
    for steps in schedule.turns {
        hook("between two turns");
        let _ = event_loop.turn(Budget::steps(steps)).expect("a turn");
        clock.advance(ms(1));
    }
    world.refill(schedule.last_deeds);
    if schedule.drops_loop {
        drop(event_loop);
        world.let_go();
    } else {
        world.let_go();
        world.cancel_all();
        run_out(&mut event_loop)?;
        prop_assert_eq!(event_loop.snapshot(), Snapshot::default());
        prop_assert_eq!(works_as_ever(&mut event_loop), "resolved, slept, joined 7");
        drop(event_loop);
    }
    prop_assert_eq!(world.handle().snapshot(), Snapshot::default());
    let complaints = world.end();
    prop_assert!(complaints.is_empty(), "{complaints}");
    Ok(())
}

/// Runs until nothing is left. A hook may stop the loop meanwhile, but not for ever.
fn run_out(event_loop: &mut EventLoop) -> TestCaseResult {
    loop {
        match event_loop.run().expect("a run") {
            Outcome::Done => return Ok(()),
            Outcome::Stopped => {}
            Outcome::Stuck(who) => prop_assert!(false, "all were cancelled, and yet:\n{who}"),
        }
    }
}

/// Uses the loop as anybody would.
fn works_as_ever(event_loop: &mut EventLoop) -> String {
    let story = event_loop.block_on(async |co| -> Result<String> {
        let resolved: &str = co.task(|done| done.resolve("resolved")).await?;
        let child = co.handle().spawn(async |co| -> Result<u32> {
            co.sleep(ms(1)).await?;
            Ok(7)
        });
        co.sleep(ms(2)).await?;
        Ok(format!("{resolved}, slept, joined {}", child.await?))
    });
    story.expect("the loop works as ever")
}

#[test]
fn the_loop_stands_whatever_its_hooks_do_to_it() {
    world::remember_panics();
    let config = ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 10_000,
        ..ProptestConfig::default()
    };
    let played = TestRunner::new(config).run(&schedule(), |schedule| {
        let verdict = std::panic::catch_unwind(|| play(schedule));
        let verdict = verdict.unwrap_or_else(|_| {
            let why = format!("a panic came through to the host\n{}", world::panics());
            Err(TestCaseError::fail(why))
        });
        verdict.map_err(|failure| TestCaseError::fail(format!("{failure}\n{}", World::story())))
    });
    drop(std::panic::take_hook());
    if let Err(failure) = played {
        panic!("{failure}");
    }
}
