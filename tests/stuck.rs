//! When a loop is stuck, and when that is not certain (decision 10).

mod support;

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use support::{strict, watched};
use yieldpoint::{
    Budget, Co, ErrorKind, EventLoop, Incident, ManualClock, Outcome, Resolver, Result, ms,
};

#[test]
fn a_loop_with_nothing_left_is_done() {
    let mut event_loop = strict();
    assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
    let _remote = event_loop.handle().remote(); // no reason to stay
    assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
    drop(event_loop.handle().spawn(async |_| -> Result { Ok(()) }));
    assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
}

#[test]
fn a_coroutine_nothing_can_wake_is_stuck_with_the_table_of_who_waits_for_what() {
    let mut event_loop = strict();
    let join = event_loop
        .handle()
        .spawn(async |co: Co| -> Result {
            let _held = co.callback::<()>("reply")?;
            co.wait("reply").await
        })
        .named("reader");
    let Outcome::Stuck(snapshot) = event_loop.run().unwrap() else {
        panic!("not stuck");
    };
    assert_eq!(snapshot.coroutines.len(), 1);
    let table = snapshot.to_string();
    for part in [
        "reader",
        "parked",
        "wait \"reply\"",
        "tests/stuck.rs",
        "1 coroutine",
        "0 remotes",
    ] {
        assert!(table.contains(part), "{part} in\n{table}");
    }
    // It is still there, and may be helped from outside.
    join.cancel("helped");
    assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
}

#[test]
fn block_on_says_stuck_and_drops_its_body() {
    let drops = support::Drops::new();
    let kept = drops.one();
    let mut event_loop = strict();
    let error = event_loop
        .block_on(async move |co: Co| -> Result {
            let _kept = kept;
            let mut held: Option<Resolver<()>> = None;
            co.task(|done| held = Some(done)).await
        })
        .unwrap_err();
    assert!(error.is_stuck());
    let text = error.to_string();
    assert!(
        text.contains("task") && text.contains("tests/stuck.rs"),
        "{text}"
    );
    assert_eq!(drops.count(), 1);
    assert!(event_loop.snapshot().coroutines.is_empty());
}

#[test]
fn a_turn_tells_in_its_report_and_not_while_anything_could_wake() {
    let mut event_loop = strict();
    let handle = event_loop.handle();
    drop(handle.spawn_future(pending::<()>()));
    let mut stuck = || event_loop.turn(Budget::default()).unwrap().stuck;
    assert!(stuck());
    let remote = handle.remote();
    assert!(!stuck());
    let weak = remote.downgrade();
    drop(remote);
    assert!(stuck(), "a weak remote counts for nothing");
    let strong = weak.upgrade();
    assert!(!stuck());
    drop(strong);
    let timer = handle.call_later(ms(1_000_000), || {});
    assert!(!stuck());
    handle.cancel_timer(timer);
    assert!(stuck());
}

#[test]
fn a_send_resolver_and_a_clone_of_a_waker_are_hope() {
    let mut event_loop = strict();
    let handle = event_loop.handle();
    let (give, sent) = mpsc::channel();
    drop(handle.spawn(async move |co: Co| -> Result<u32> {
        give.send(co.callback::<u32>("k")?.into_send()).unwrap();
        co.wait("k").await
    }));
    assert!(!event_loop.turn(Budget::default()).unwrap().stuck);
    sent.recv().unwrap().resolve(1);
    let report = event_loop.turn(Budget::default()).unwrap();
    assert!(!report.stuck && event_loop.snapshot().coroutines.is_empty());
    let (give, kept) = mpsc::channel::<Waker>();
    drop(handle.spawn(async move |_| -> Result {
        poll_fn(|cx| {
            give.send(cx.waker().clone()).unwrap();
            Poll::<()>::Pending
        })
        .await;
        Ok(())
    }));
    assert!(!event_loop.turn(Budget::default()).unwrap().stuck);
    drop(kept.recv().unwrap());
    assert!(event_loop.turn(Budget::default()).unwrap().stuck);
}

/// The loop sleeps on the hope that a remote gives, and must notice when the last one goes, at whatever moment.
#[test]
fn the_last_remote_dropped_while_the_loop_sleeps_ends_in_stuck() {
    for round in 0..2000u32 {
        let mut event_loop = EventLoop::new().unwrap();
        drop(event_loop.handle().spawn_future(pending::<()>()));
        let remote = event_loop.handle().remote();
        let dropping = thread::spawn(move || {
            for _ in 0..(round % 50) * 20 {
                std::hint::spin_loop();
            }
            drop(remote);
        });
        assert!(matches!(event_loop.run().unwrap(), Outcome::Stuck(_)));
        dropping.join().unwrap();
    }
}

/// A post is left before the remote goes: it is never mistaken for the end of all hope.
#[test]
fn a_value_sent_with_the_last_remote_is_never_taken_for_stuck() {
    for round in 0..2000u32 {
        let value = EventLoop::new()
            .unwrap()
            .block_on(async |co| -> Result<u32> {
                co.task(|done: Resolver<u32>| {
                    let done = done.into_send_fn();
                    thread::spawn(move || {
                        for _ in 0..(round % 50) * 20 {
                            std::hint::spin_loop();
                        }
                        done(round);
                    });
                })
                .await
            })
            .unwrap();
        assert_eq!(value, round);
    }
}

#[test]
fn a_clock_that_nobody_moves_does_not_keep_the_loop() {
    let clock = ManualClock::new();
    let mut event_loop = EventLoop::builder().clock(&clock).build().unwrap();
    let join = event_loop
        .handle()
        .spawn(async |co: Co| co.sleep(ms(5)).await);
    assert!(matches!(event_loop.run().unwrap(), Outcome::Stuck(_)));
    clock.advance(ms(5));
    assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
    assert!(join.is_finished());
}

#[test]
fn a_stall_is_told_once_until_something_moves() {
    let (tell, told) = mpsc::channel();
    let mut event_loop = EventLoop::builder()
        .stalled_after(ms(2))
        .on_error(move |incident| {
            let Incident::Stalled(snapshot) = incident else {
                panic!("{incident}");
            };
            assert!(
                incident.to_string().contains("a foreign future"),
                "{incident}"
            );
            tell.send(snapshot.coroutines.len()).unwrap();
        })
        .build()
        .unwrap();
    let remote = event_loop.handle().remote();
    drop(event_loop.handle().spawn_future(pending::<()>()));
    let moving = thread::spawn(move || {
        let first = told.recv().unwrap();
        // Long past the limit again, and nothing: the stall was told.
        assert!(told.recv_timeout(ms(20)).is_err());
        remote.post(|_| {}).unwrap();
        let second = told.recv().unwrap();
        remote.post(yieldpoint::Handle::stop).unwrap();
        (first, second)
    });
    assert!(matches!(event_loop.run().unwrap(), Outcome::Stopped));
    assert_eq!(moving.join().unwrap(), (1, 1));
}

#[test]
fn a_loop_that_waits_for_itself_is_stuck_and_says_where() {
    let (mut event_loop, incidents) = watched();
    let error = event_loop
        .block_on(async |co| -> Result {
            let other = co.handle().spawn_future(pending::<()>()).named("never");
            other.await
        })
        .unwrap_err();
    let ErrorKind::Stuck(snapshot) = error.kind() else {
        panic!("{error}");
    };
    let table = snapshot.to_string();
    assert!(table.contains("join") && table.contains("never"), "{table}");
    assert_eq!(incidents.all(), "");
}

/// The end of the clock never comes: an automatic clock does not jump there, and nothing is due there, be it brought there by hand.
#[test]
fn a_wait_for_ever_alone_is_stuck_and_the_clock_stays_where_it_is() {
    let clock = ManualClock::auto();
    let mut event_loop = EventLoop::builder()
        .clock(&clock)
        .fail_on_error()
        .build()
        .unwrap();
    let error = event_loop
        .block_on(async |co| -> Result { co.sleep(Duration::MAX).await })
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Stuck(_)), "{error}");
    assert!(error.to_string().contains("sleep"), "{error}");
    assert_eq!(clock.elapsed(), Duration::ZERO);

    clock.advance(Duration::MAX);
    let error = event_loop
        .block_on(async |co| -> Result {
            loop {
                co.sleep(ms(1)).await?;
            }
        })
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Stuck(_)), "{error}");
    // Timers alone that never come are no reason to go on.
    event_loop
        .handle()
        .call_later(Duration::MAX, || panic!("never"));
    assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
}

#[test]
fn a_stall_is_told_by_an_automatic_clock_too() {
    let clock = ManualClock::auto();
    let stalls = Rc::new(Cell::new(0));
    let told = Rc::clone(&stalls);
    let mut event_loop = EventLoop::builder()
        .clock(&clock)
        .stalled_after(ms(5000))
        .on_error(move |incident| {
            assert!(matches!(incident, Incident::Stalled(_)), "{incident}");
            told.set(told.get() + 1);
        })
        .build()
        .unwrap();
    event_loop
        .block_on(async |co| -> Result {
            co.sleep(ms(4999)).await?;
            assert_eq!(stalls.get(), 0);
            co.sleep(ms(3_600_000)).await
        })
        .unwrap();
    assert_eq!((stalls.get(), clock.elapsed()), (1, ms(3_604_999)));
}
