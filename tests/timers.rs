//! Timers: never early, in order, and nothing left behind.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use support::{Drops, Trace, strict};
use yieldpoint::{Budget, EventLoop, ManualClock, Outcome, Result, ms};

/// A loop with the clock that moves it.
fn by_hand() -> (EventLoop, ManualClock) {
    let clock = ManualClock::new();
    let event_loop = EventLoop::builder()
        .clock(&clock)
        .fail_on_error()
        .build()
        .unwrap();
    (event_loop, clock)
}

#[test]
fn a_timer_never_fires_early_and_counts_from_the_look_after_it_was_set() {
    let (mut event_loop, clock) = by_hand();
    let trace = Trace::new();
    let handle = event_loop.handle();
    let mut turn = || event_loop.turn(Budget::default()).unwrap();
    handle.call_later(ms(10), trace.noting("ten"));
    clock.advance(ms(3)); // before the look: does not count
    assert_eq!(turn().timers, 0);
    clock.advance(Duration::from_nanos(9_999_999));
    assert_eq!((turn().timers, trace.len()), (0, 0));
    clock.advance(Duration::from_nanos(1));
    let report = turn();
    assert_eq!((report.timers, trace.all().as_str()), (1, "ten"));
    assert_eq!(report.next_deadline, None);
}

#[test]
fn with_the_systems_clock_a_timer_is_never_early() {
    let mut event_loop = EventLoop::new().unwrap();
    for micros in [0, 1, 50, 500, 1500] {
        let wanted = Duration::from_micros(micros);
        let started = Instant::now();
        let until = started + wanted;
        event_loop
            .block_on(async |co| -> Result {
                co.sleep(wanted).await?;
                assert!(started.elapsed() >= wanted);
                co.sleep_until(until).await
            })
            .unwrap();
        assert!(Instant::now() >= until);
    }
}

/// C120, and C109: absolute and relative forms of the same moment share one order.
#[test]
fn equal_deadlines_fire_in_the_order_of_creation() {
    let (mut event_loop, clock) = by_hand();
    let trace = Trace::new();
    let handle = event_loop.handle();
    let now = handle.now();
    handle.call_at(now, trace.noting(1));
    handle.call_later(ms(0), trace.noting(2));
    handle.call_at(now, trace.noting(3));
    handle.call_later(ms(0), trace.noting(4));
    let _ = event_loop.turn(Budget::default()).unwrap();
    assert_eq!(trace.all(), "1 2 3 4");
    for n in 0..20 {
        handle.call_later(ms(5), trace.noting(n));
    }
    clock.advance(ms(1));
    let _ = event_loop.turn(Budget::default()).unwrap();
    handle.call_later(ms(9), trace.noting("later"));
    handle.call_later(ms(2), trace.noting("sooner"));
    let _ = event_loop.turn(Budget::default()).unwrap();
    clock.advance(ms(60));
    let _ = event_loop.turn(Budget::default()).unwrap();
    let all: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(
        trace.all(),
        format!("1 2 3 4 sooner {} later", all.join(" "))
    );
}

/// Sleeps, callbacks and timer keys are one kind of timer.
#[test]
fn sleeps_callbacks_and_timer_keys_share_one_order() {
    let trace = Trace::new();
    let (a, b, c) = (trace.clone(), trace.clone(), trace.clone());
    strict()
        .block_on(async |co| -> Result {
            co.handle().call_later(ms(5), a.noting("callback"));
            co.timer("key", ms(5))?;
            let sleeping = co.handle().spawn(async move |co| -> Result {
                co.sleep(ms(5)).await?;
                b.note("sleep");
                Ok(())
            });
            co.wait::<()>("key").await?;
            c.note("key");
            sleeping.await
        })
        .unwrap();
    // The sleeper wakes itself; the key's timer is a callback first, which then wakes its waiter.
    assert_eq!(trace.all(), "callback sleep key");
}

#[test]
fn a_cancelled_timer_does_not_run_even_when_it_is_due() {
    let (mut event_loop, clock) = by_hand();
    let (trace, drops) = (Trace::new(), Drops::new());
    let handle = event_loop.handle();
    let due = Rc::new(Cell::new(None));
    let (door, doomed, log) = (handle.clone(), Rc::clone(&due), trace.clone());
    handle.call_later(ms(1), move || {
        let timer = doomed.get().unwrap();
        log.note(door.cancel_timer(timer)); // due in the same look, not yet run
        log.note(door.cancel_timer(timer));
    });
    let kept = drops.one();
    due.set(Some(handle.call_later(ms(1), move || {
        let _kept = kept;
        panic!("cancelled");
    })));
    let early = handle.call_later(ms(1), || panic!("cancelled before any look"));
    assert!(handle.cancel_timer(early));
    let _ = event_loop.turn(Budget::default()).unwrap();
    clock.advance(ms(1));
    let report = event_loop.turn(Budget::default()).unwrap();
    assert_eq!(
        (report.timers, trace.all().as_str(), drops.count()),
        (2, "true false", 1)
    );
    // C107: after it ran there is nothing to cancel, nor does an old id reach a new timer.
    let ran = handle.call_later(ms(0), trace.noting("ran"));
    let _ = event_loop.turn(Budget::default()).unwrap();
    let next = handle.call_later(ms(0), trace.noting("next"));
    assert!(!handle.cancel_timer(ran) && !handle.cancel_timer(ran));
    let _ = event_loop.turn(Budget::default()).unwrap();
    assert!(!handle.cancel_timer(next));
    assert_eq!(trace.all(), "true false ran next");
}

#[test]
fn a_timer_that_was_due_when_its_loop_went_is_ready_no_more() {
    let (mut event_loop, _clock) = by_hand();
    let handle = event_loop.handle();
    handle.call_soon(|| {});
    handle.call_later(ms(0), || panic!("there is no step left for it"));
    assert_eq!(event_loop.turn(Budget::steps(1)).unwrap().steps, 1);
    assert_eq!(handle.snapshot().ready, 1);
    drop(event_loop);
    assert_eq!(handle.snapshot().ready, 0);
}

#[test]
fn a_timer_that_is_cancelled_when_it_is_due_is_ready_no_more() {
    let (mut event_loop, _clock) = by_hand();
    let (handle, trace) = (event_loop.handle(), Trace::new());
    handle.call_soon(|| {});
    let due = [(); 3].map(|()| handle.call_later(ms(0), trace.noting("ran")));
    let _ = event_loop.turn(Budget::steps(1)).unwrap();
    let ready = || (handle.snapshot().ready, handle.snapshot().timers);
    assert_eq!(ready(), (3, 3), "due, and still to run");
    assert!(handle.cancel_timer(due[1]));
    assert_eq!(ready(), (2, 2));
    let _ = event_loop.turn(Budget::steps(1)).unwrap();
    assert_eq!((ready(), trace.len()), ((1, 1), 1));
    let _ = event_loop.turn(Budget::default()).unwrap();
    assert_eq!((ready(), trace.len()), ((0, 0), 2));
}

#[test]
fn zero_means_the_next_look_and_not_this_one() {
    let (mut event_loop, _clock) = by_hand();
    let trace = Trace::new();
    let handle = event_loop.handle();
    let (door, log) = (handle.clone(), trace.clone());
    handle.call_soon(move || {
        door.call_later(Duration::ZERO, log.noting("zero"));
        door.call_soon(log.noting("soon"));
    });
    let first = event_loop.turn(Budget::default()).unwrap();
    assert_eq!((trace.all().as_str(), first.work_left), ("soon", true));
    let _ = event_loop.turn(Budget::default()).unwrap();
    assert_eq!(trace.all(), "soon zero");
}

#[test]
fn a_moment_that_has_passed_is_due_at_the_next_look() {
    let (mut event_loop, clock) = by_hand();
    let trace = Trace::new();
    let handle = event_loop.handle();
    let start = handle.now();
    clock.advance(ms(100));
    handle.call_at(start + ms(50), trace.noting("second"));
    handle.call_at(start + ms(20), trace.noting("first"));
    if let Some(long_ago) = start.checked_sub(Duration::from_secs(1)) {
        handle.call_at(long_ago, trace.noting("long ago"));
    }
    let report = event_loop.turn(Budget::default()).unwrap();
    assert_eq!(
        (report.timers, trace.all().as_str()),
        (3, "long ago first second")
    );
}

#[test]
fn the_longest_duration_saturates_and_never_comes() {
    let (mut event_loop, clock) = by_hand();
    let trace = Trace::new();
    clock.advance(ms(5));
    let timer = event_loop
        .handle()
        .call_later(Duration::MAX, trace.noting("never"));
    event_loop.handle().call_later(ms(1), trace.noting("soon"));
    let _ = event_loop.turn(Budget::default()).unwrap();
    clock.advance(Duration::from_secs(500 * 365 * 86_400));
    let report = event_loop.turn(Budget::default()).unwrap();
    assert_eq!((report.timers, trace.all().as_str()), (1, "soon"));
    assert!(report.next_deadline.is_some());
    assert!(event_loop.handle().cancel_timer(timer));
    // With the system's clock, where the deadline goes to the kernel.
    let mut event_loop = EventLoop::new().unwrap();
    event_loop
        .handle()
        .call_later(Duration::MAX, || panic!("never"));
    event_loop
        .block_on(async |co| -> Result {
            let endless = co.handle().spawn(async |co| co.sleep(Duration::MAX).await);
            let remote = co.handle().remote();
            co.task(|done| {
                let done = done.into_send_fn();
                std::thread::spawn(move || {
                    done(());
                    drop(remote);
                });
            })
            .await?;
            endless.abort();
            Ok(())
        })
        .unwrap();
}

/// C108, C083: what is cancelled or dropped leaves no timer.
#[test]
fn two_thousand_timers_of_an_hour_are_given_back_when_they_are_cancelled() {
    let (mut event_loop, _clock) = by_hand();
    let drops = Drops::new();
    let handle = event_loop.handle();
    let mut timers = Vec::new();
    for n in 0..2000 {
        let kept = drops.one();
        timers.push(handle.call_later(Duration::from_secs(3600), move || drop(kept)));
        if n == 1000 {
            let _ = event_loop.turn(Budget::default()).unwrap(); // some have their deadline, some not
        }
    }
    assert_eq!(event_loop.snapshot().timers, 2000);
    for timer in timers {
        assert!(handle.cancel_timer(timer));
    }
    assert_eq!((event_loop.snapshot().timers, drops.count()), (0, 2000));
    assert_eq!(event_loop.next_deadline(), None);
    let left = event_loop
        .block_on(async |co| -> Result<usize> {
            let mut sleep = co.sleep(Duration::from_secs(3600));
            assert!(futures_util::poll!(&mut sleep).is_pending());
            assert_eq!(co.handle().snapshot().timers, 1);
            drop(sleep);
            co.timer("late", Duration::from_secs(3600))?;
            co.forget("late")?;
            Ok(co.handle().snapshot().timers)
        })
        .unwrap();
    assert_eq!(left, 0);
}

/// C075, C076
#[test]
fn a_timer_key_is_a_key_like_any_other() {
    let mut event_loop = strict();
    let leaked = event_loop.block_on(async |co| -> Result { co.timer("late", ms(5)) });
    assert!(leaked.unwrap_err().is_leaked());
    assert_eq!(event_loop.snapshot().timers, 0);
    event_loop
        .block_on(async |co| -> Result {
            co.timer("late", ms(5))?;
            assert!(co.timer("late", ms(5)).is_err());
            assert_eq!(co.handle().snapshot().timers, 1);
            co.forget("late")?;
            co.sleep(ms(10)).await
        })
        .unwrap();
}

/// The order of deadlines holds whatever the clock did between two looks.
#[test]
fn timers_that_come_due_in_one_look_run_in_the_order_of_their_deadlines() {
    let (mut event_loop, clock) = by_hand();
    let order: Rc<RefCell<Vec<u64>>> = Rc::default();
    let mut times: Vec<u64> = (0..200).map(|n| (n * 7919) % 211).collect();
    for &time in &times {
        let order = Rc::clone(&order);
        event_loop
            .handle()
            .call_later(ms(time), move || order.borrow_mut().push(time));
    }
    let _ = event_loop.turn(Budget::steps(0)).unwrap();
    clock.advance(ms(1000));
    let _ = event_loop.turn(Budget::default()).unwrap();
    times.sort_unstable();
    assert_eq!(*order.borrow(), times);
}

#[test]
fn a_clock_that_the_loop_moves_stands_at_each_deadline_however_close_they_are() {
    let clock = ManualClock::auto();
    let mut event_loop = EventLoop::builder()
        .clock(&clock)
        .fail_on_error()
        .build()
        .unwrap();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let deadlines: Vec<Duration> = (1..=20).map(Duration::from_micros).collect();
    for &after in &deadlines {
        let (clock, seen) = (clock.clone(), Rc::clone(&seen));
        event_loop
            .handle()
            .call_later(after, move || seen.borrow_mut().push(clock.elapsed()));
    }
    assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
    assert_eq!(*seen.borrow(), deadlines);
}
