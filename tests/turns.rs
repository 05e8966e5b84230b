//! The documented order of a turn, and what stops it.

mod support;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use support::{Trace, poll_with, strict};
use yieldpoint::{
    Budget, Co, ErrorKind, EventLoop, Handle, JoinHandle, ManualClock, Outcome, Resolver, Result,
    Sleep, YieldPoint, ms,
};

/// Timers by deadline, then the inbox, behind what was ready before.
#[test]
fn a_look_queues_due_timers_then_posts_behind_what_is_ready() {
    let mut event_loop = strict();
    let trace = Trace::new();
    let handle = event_loop.handle();
    let log = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&log);
    handle
        .remote()
        .post(move |_| seen.lock().unwrap().push("post"))
        .unwrap();
    handle.call_later(ms(0), trace.noting("timer"));
    handle.call_soon(trace.noting("ready"));
    let report = event_loop.turn(Budget::steps(2)).unwrap();
    assert_eq!(
        (trace.all().as_str(), log.lock().unwrap().len()),
        ("ready timer", 0)
    );
    assert_eq!(
        (report.steps, report.timers, report.work_left),
        (2, 1, true)
    );
    let report = event_loop.turn(Budget::steps(2)).unwrap();
    assert_eq!(
        (report.steps, log.lock().unwrap().len(), report.work_left),
        (1, 1, false)
    );
}

#[test]
fn callbacks_and_coroutines_share_one_queue() {
    let mut event_loop = strict();
    let trace = Trace::new();
    let handle = event_loop.handle();
    for n in 0..3 {
        handle.call_soon(trace.noting(format!("c{n}")));
        let log = trace.clone();
        drop(handle.spawn(async move |co: Co| -> Result {
            log.note(format!("a{n}"));
            co.handle().call_soon(log.noting(format!("d{n}")));
            co.yield_now().await?;
            log.note(format!("b{n}"));
            Ok(())
        }));
    }
    assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
    assert_eq!(trace.all(), "c0 a0 c1 a1 c2 a2 d0 b0 d1 b1 d2 b2");
}

#[test]
fn a_coroutine_is_in_the_queue_once_however_often_it_is_woken() {
    let mut event_loop = strict();
    let trace = Trace::new();
    let log = trace.clone();
    drop(event_loop.handle().spawn(async move |co: Co| -> Result {
        let (a, b, c) = (
            co.callback::<u32>("a")?,
            co.callback::<u32>("b")?,
            co.callback::<u32>("c")?,
        );
        co.handle().call_soon(move || {
            c.resolve(3);
            b.resolve(2);
            a.resolve(1);
        });
        co.any_ready(["a", "b", "c"]).await?;
        log.note(co.handle().snapshot().ready);
        log.note(format!("{:?}", co.wait_all::<u32>(["a", "b", "c"]).await?));
        Ok(())
    }));
    let report = event_loop.turn(Budget::default()).unwrap();
    assert_eq!((trace.all().as_str(), report.steps), ("0 [1, 2, 3]", 3));
}

/// C119
#[test]
fn what_a_callback_queues_runs_behind_what_is_queued() {
    let mut event_loop = strict();
    let trace = Trace::new();
    let handle = event_loop.handle();
    let (door, log) = (handle.clone(), trace.clone());
    handle.call_soon(move || {
        log.note("c1");
        door.call_soon(log.noting("added"));
    });
    handle.call_soon(trace.noting("c2"));
    let _ = event_loop.run().unwrap();
    assert_eq!(trace.all(), "c1 c2 added");
}

/// C118
#[test]
fn a_queued_callback_runs_before_a_timer_that_is_due() {
    let mut event_loop = strict();
    let trace = Trace::new();
    event_loop.handle().call_later(ms(0), trace.noting("timer"));
    event_loop.handle().call_soon(trace.noting("callback"));
    let _ = event_loop.run().unwrap();
    assert_eq!(trace.all(), "callback timer");
}

/// C116
#[test]
fn a_coroutine_that_stops_the_loop_before_its_end_hears_that_it_was_stopped() {
    let mut event_loop = strict();
    let error = event_loop
        .block_on(async |co| -> Result {
            co.handle().stop();
            co.sleep(ms(1)).await
        })
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Stopped));
    // One that ends in the same step has its result.
    let n = event_loop.block_on(async |co| -> Result<u32> {
        co.handle().stop();
        Ok(4)
    });
    assert_eq!(n.unwrap(), 4);
    assert!(
        matches!(event_loop.run().unwrap(), Outcome::Done),
        "the stop was for that run"
    );
}

/// C117: the body of a `block_on` that was stopped is dropped; coroutines that were spawned go on in the next run.
#[test]
fn after_a_stop_spawned_coroutines_go_on_in_the_next_run() {
    let mut event_loop = strict();
    let trace = Trace::new();
    let (root, child) = (trace.clone(), trace.clone());
    let stopped = event_loop.block_on(async |co| -> Result {
        drop(co.handle().spawn(async move |co: Co| -> Result {
            child.note("child");
            co.sleep(ms(1)).await?;
            child.note("went on");
            Ok(())
        }));
        let handle = co.handle().clone();
        co.handle().call_soon(move || handle.stop());
        let slept = co.sleep(ms(1)).await;
        root.note("never");
        slept
    });
    assert!(matches!(stopped.unwrap_err().kind(), ErrorKind::Stopped));
    assert_eq!(trace.all(), "child");
    assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
    assert_eq!(trace.all(), "child went on");
}

/// C121
#[test]
fn after_a_stop_what_is_ready_still_runs_and_what_it_queues_waits() {
    let mut event_loop = strict();
    let trace = Trace::new();
    let handle = event_loop.handle();
    let (stop, door, log) = (handle.clone(), handle.clone(), trace.clone());
    handle.call_later(ms(0), trace.noting("timer"));
    handle.call_soon(move || stop.stop());
    handle.call_soon(trace.noting("callback"));
    handle.call_soon(move || {
        log.note("adds");
        door.call_soon(log.noting("added"));
    });
    assert!(matches!(event_loop.run().unwrap(), Outcome::Stopped));
    assert_eq!(trace.all(), "callback adds timer");
    assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
    assert_eq!(trace.all(), "callback adds timer added");
}

/// The loop looks round after 128 steps: a stop in the last of them, in the first, or anywhere else finishes the same work.
#[test]
fn a_stop_finishes_what_is_ready_wherever_among_the_steps_of_a_look_it_comes() {
    const COROUTINES: usize = 300;
    for stops in [0, 1, 126, 127, 128, 129, 254, 255, 256, 257, 299] {
        let mut event_loop = strict();
        let resumed = Rc::new(RefCell::new(Vec::new()));
        for number in 0..COROUTINES {
            let resumed = Rc::clone(&resumed);
            drop(event_loop.handle().spawn(async move |co: Co| -> Result {
                for round in 0..3 {
                    resumed.borrow_mut().push((round, number));
                    if (round, number) == (1, stops) {
                        co.stop();
                    }
                    co.yield_now().await?;
                }
                Ok(())
            }));
        }
        assert!(matches!(event_loop.run().unwrap(), Outcome::Stopped));
        // All that were ready when it gave way: the rest of its round, and those up to itself once more.
        let rounds = (0..3).flat_map(|round| (0..COROUTINES).map(move |number| (round, number)));
        let expected: Vec<_> = rounds.take(2 * COROUTINES + stops + 1).collect();
        assert_eq!(*resumed.borrow(), expected, "stopped by number {stops}");
        assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
        assert_eq!(resumed.borrow().len(), 3 * COROUTINES);
    }
}

/// C122
#[test]
fn stops_before_a_run_are_one_stop_and_consume_one_run() {
    let mut event_loop = strict();
    let trace = Trace::new();
    event_loop.handle().call_soon(trace.noting("work"));
    event_loop.handle().stop();
    event_loop.handle().stop();
    assert!(matches!(event_loop.run().unwrap(), Outcome::Stopped));
    assert_eq!(trace.all(), "");
    assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
    assert_eq!(trace.all(), "work");
}

/// C018
#[test]
fn a_stop_does_not_mask_the_error_of_the_same_step() {
    let (mut event_loop, incidents) = support::watched();
    drop(event_loop.handle().spawn(async |co: Co| -> Result {
        co.handle().stop();
        Err(std::io::Error::other("after the stop").into())
    }));
    assert!(matches!(event_loop.run().unwrap(), Outcome::Stopped));
    assert_eq!(incidents.all(), "untaken(after the stop)");
}

#[test]
fn a_budget_of_steps_is_kept_and_the_rest_stays_in_order() {
    let mut event_loop = strict();
    let trace = Trace::new();
    for n in 0..5 {
        event_loop.handle().call_soon(trace.noting(n));
    }
    let none = event_loop.turn(Budget::steps(0)).unwrap();
    assert_eq!((none.steps, none.work_left, trace.len()), (0, true, 0));
    let two = event_loop.turn(Budget::steps(2)).unwrap();
    assert_eq!(
        (two.steps, two.work_left, trace.all().as_str()),
        (2, true, "0 1")
    );
    let rest = event_loop.turn(Budget::steps(3)).unwrap();
    assert_eq!(
        (rest.steps, rest.work_left, trace.all().as_str()),
        (3, false, "0 1 2 3 4")
    );
}

/// What the second of six newcomers does in its first resume, and what is traced of all in turns of 2, 1, 3 and 100 steps.
type Deed = (fn(&Co, &JoinHandle, &mut Context<'_>), &'static str);

#[test]
fn newcomers_come_in_their_order_and_within_the_budget_whatever_one_of_them_does() {
    let all = "0 1 | 2 | 3 4 5 |";
    let deeds: [Deed; 6] = [
        (|_, last, _| assert!(last.abort()), "0 1 | 2 | 3 4 |"),
        (|_, last, _| assert!(last.cancel("")), "0 1 | 2 | 3 4 |"),
        (|co, _, _| co.stop(), all),
        (|_, _, cx| drop(cx.waker().clone()), all),
        (|_, _, cx| cx.waker().wake_by_ref(), all),
        (|co, _, _| drop(co.spawn_future(async {})), all),
    ];
    for (deed, first) in deeds {
        let mut event_loop = strict();
        let handle = event_loop.handle();
        let trace = Trace::new();
        let last = Rc::new(RefCell::new(None));
        let joins = [0, 1, 2, 3, 4, 5].map(|n| {
            let (trace, last) = (trace.clone(), Rc::clone(&last));
            handle.spawn(async move |co: Co| -> Result {
                trace.note(n);
                if n == 1 {
                    poll_fn(|cx| {
                        let last = last.borrow();
                        deed(&co, last.as_ref().unwrap(), cx);
                        Poll::Ready(())
                    })
                    .await;
                }
                co.yield_now().await?;
                trace.note(n);
                Ok(())
            })
        });
        let [first_ones @ .., sixth] = joins;
        let ends = !first.contains('5');
        last.replace(Some(sixth));
        for steps in [2, 1, 3] {
            let report = event_loop.turn(Budget::steps(steps)).unwrap();
            assert_eq!(report.steps, steps);
            trace.note("|");
        }
        let _ = event_loop.turn(Budget::default()).unwrap();
        let rest = if ends { "0 1 2 3 4" } else { "0 1 2 3 4 5" };
        assert_eq!(trace.all(), format!("{first} {rest}"));
        assert!(first_ones.iter().all(JoinHandle::is_finished));
        assert!(event_loop.snapshot().coroutines.is_empty());
    }
}

#[test]
fn a_budget_of_time_overruns_by_one_step_at_most() {
    let clock = ManualClock::new();
    let mut event_loop = EventLoop::builder()
        .clock(&clock)
        .fail_on_error()
        .build()
        .unwrap();
    for _ in 0..10 {
        let clock = clock.clone();
        event_loop.handle().call_soon(move || clock.advance(ms(2)));
    }
    let report = event_loop.turn(Budget::time(ms(3))).unwrap();
    assert_eq!((report.steps, report.work_left), (2, true));
    let least = event_loop.turn(Budget::time(Duration::ZERO)).unwrap();
    assert_eq!(least.steps, 1);
    let both = event_loop.turn(Budget::steps(1).and_time(ms(3))).unwrap();
    assert_eq!(both.steps, 1);
}

#[test]
fn an_endless_coroutine_does_not_outlast_a_default_turn() {
    let mut event_loop = strict();
    drop(event_loop.handle().spawn(async |co: Co| -> Result {
        loop {
            co.yield_now().await?;
        }
    }));
    let report = event_loop.turn(Budget::default()).unwrap();
    assert_eq!((report.steps, report.work_left), (4096, true));
}

/// A look comes every 128 steps, however much is ready.
#[test]
fn coroutines_that_are_always_ready_starve_neither_timers_nor_the_inbox() {
    let clock = ManualClock::new();
    let mut event_loop = EventLoop::builder()
        .clock(&clock)
        .fail_on_error()
        .build()
        .unwrap();
    let steps = Rc::new(Cell::new(0u32));
    let counted = Rc::clone(&steps);
    drop(event_loop.handle().spawn(async move |co: Co| -> Result {
        loop {
            counted.set(counted.get() + 1);
            co.yield_now().await?;
        }
    }));
    let trace = Trace::new();
    let handle = event_loop.handle();
    let _ = event_loop.turn(Budget::steps(1)).unwrap();
    let (log, at) = (trace.clone(), Rc::clone(&steps));
    handle.call_later(ms(1), move || log.note(format!("timer@{}", at.get())));
    let moved = clock.clone();
    let (door, posted) = (
        handle.clone(),
        std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)),
    );
    let mark = std::sync::Arc::clone(&posted);
    handle.call_soon(move || {
        moved.advance(ms(1));
        door.remote()
            .post(move |_| mark.store(true, std::sync::atomic::Ordering::SeqCst))
            .unwrap();
    });
    // The timer is stamped at the first look; the clock moves within the 128 steps behind it.
    let report = event_loop.turn(Budget::steps(140)).unwrap();
    assert_eq!(report.steps, 140);
    assert!(posted.load(std::sync::atomic::Ordering::SeqCst));
    assert_eq!(trace.all(), "timer@129");
}

/// C111: what would be a nested run does not compile: `run` needs the loop itself, and a callback holds a handle.
#[test]
fn a_resolver_called_from_outside_resumes_nobody_in_place() {
    // C029: before, after, resumed.
    let mut event_loop = strict();
    let trace = Trace::new();
    let (log, outside) = (trace.clone(), trace.clone());
    event_loop
        .block_on(async |co| -> Result {
            let resolver: Resolver<u32> = co.callback("k")?;
            co.handle().call_soon(move || {
                outside.note("before");
                resolver.resolve(7);
                outside.note("after");
            });
            let n = co.wait::<u32>("k").await?;
            log.note(format!("resumed {n}"));
            Ok(())
        })
        .unwrap();
    assert_eq!(trace.all(), "before after resumed 7");
}

/// A clock moved by hand does not spend the time of a budget.
#[test]
fn a_budget_of_time_ends_on_a_clock_that_stands_still() {
    let mut event_loop = strict();
    drop(event_loop.handle().spawn(async |co: Co| -> Result {
        loop {
            co.yield_now().await?;
        }
    }));
    let report = event_loop.turn(Budget::time(ms(2))).unwrap();
    assert_eq!((report.steps, report.work_left), (4096, true));
    let more = event_loop
        .turn(Budget::steps(5000).and_time(ms(2)))
        .unwrap();
    assert_eq!(more.steps, 5000);
}

/// Nobody wakes the host for what a callback did to a clock moved by hand.
#[test]
fn a_deadline_that_a_callback_moved_the_clock_past_is_work_left() {
    let clock = ManualClock::new();
    let mut event_loop = EventLoop::builder()
        .clock(&clock)
        .fail_on_error()
        .build()
        .unwrap();
    event_loop.handle().call_later(ms(5), || {});
    let moved = clock.clone();
    event_loop.handle().call_soon(move || moved.advance(ms(5)));
    let report = event_loop.turn(Budget::default()).unwrap();
    assert_eq!((report.steps, report.work_left), (1, true));
    let report = event_loop.turn(Budget::default()).unwrap();
    assert_eq!((report.steps, report.work_left), (1, false));
}

thread_local! {
    /// What [`Doing`] does.
    static ON_WAKE: RefCell<Option<Box<dyn Fn()>>> = const { RefCell::new(None) };
}

/// A waker of another executor of this thread, which does something at once.
struct Doing;

impl Wake for Doing {
    fn wake(self: Arc<Self>) {
        ON_WAKE.with_borrow(|on_wake| on_wake.as_ref().unwrap()());
    }
}

/// Runs a loop in which nothing is ready, a coroutine is parked for ever, and the first look wakes a waker that does this.
fn run_with_a_waker_that(does: impl Fn(&Handle) + 'static) -> Outcome {
    let mut event_loop = strict();
    let handle = event_loop.handle();
    let lent = Rc::new(RefCell::new(None));
    let give = Rc::clone(&lent);
    drop(handle.spawn(async move |co: Co| -> Result {
        give.replace(Some(co));
        std::future::pending().await
    }));
    event_loop.turn(Budget::default()).unwrap();
    ON_WAKE.set(Some(Box::new(move || does(&handle))));
    let mut sleep = Sleep::new(ms(0)).start(lent.borrow().as_ref().unwrap());
    assert!(poll_with(&mut sleep, &Waker::from(Arc::new(Doing))).is_pending());
    let outcome = event_loop.run().unwrap();
    ON_WAKE.take();
    lent.take();
    outcome
}

#[test]
fn a_stop_by_a_waker_in_a_look_ends_the_run_before_it_waits() {
    let outcome = run_with_a_waker_that(Handle::stop);
    assert!(matches!(outcome, Outcome::Stopped));
}

#[test]
fn a_timer_that_a_waker_sets_in_a_look_is_not_waited_past() {
    let trace = Trace::new();
    let log = trace.clone();
    let outcome = run_with_a_waker_that(move |handle| {
        handle.call_later(ms(1), log.noting("timer"));
    });
    assert!(matches!(outcome, Outcome::Stuck(_)));
    assert_eq!(trace.all(), "timer");
}

/// So many are ready at once, in no order of memory, that the loop looks at them ahead.
#[test]
fn ten_thousand_sleepers_that_are_due_at_once_wake_by_deadline_and_then_by_spawn() {
    let clock = ManualClock::new();
    let mut event_loop = EventLoop::builder()
        .clock(&clock)
        .fail_on_error()
        .build()
        .unwrap();
    let woken = Rc::new(RefCell::new(Vec::new()));
    let mut expected = Vec::new();
    for n in 0..10_000_u64 {
        let delay = n * 7919 % 640;
        expected.push((delay, n));
        let woken = Rc::clone(&woken);
        event_loop
            .handle()
            .spawn(async move |co| -> Result {
                co.sleep(ms(delay + 1)).await?;
                woken.borrow_mut().push((delay, n));
                Ok(())
            })
            .detach();
    }
    expected.sort_unstable();
    let _ = event_loop.turn(Budget::steps(10_000)).unwrap();
    assert!(woken.borrow().is_empty());
    clock.advance(ms(640));
    let report = event_loop.turn(Budget::steps(10_000)).unwrap();
    assert_eq!((report.timers, report.steps), (10_000, 10_000));
    assert_eq!(*woken.borrow(), expected);
}
