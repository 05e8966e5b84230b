//! A loop that stays awake before it sleeps does all that another loop does.

mod support;

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use support::Trace;
use yieldpoint::net::TcpListener;
use yieldpoint::{Budget, EventLoop, Incident, ManualClock, Outcome, Result, SendResolver, ms};

/// A loop that stays awake as long as it may.
fn awake() -> EventLoop {
    EventLoop::builder()
        .busy_poll(Duration::MAX)
        .fail_on_error()
        .build()
        .unwrap()
}

/// Lets a loop learn that its waits are short, by round trips to another thread.
fn warm_up(event_loop: &mut EventLoop) {
    let (requests, served) = mpsc::channel::<SendResolver<()>>();
    let thread = thread::spawn(move || served.iter().for_each(|done| done.resolve(())));
    event_loop
        .block_on(async |co| -> Result {
            for _ in 0..100 {
                co.task(|done| requests.send(done.into_send()).unwrap())
                    .await?;
            }
            Ok(())
        })
        .unwrap();
    drop(requests);
    thread.join().unwrap();
}

#[test]
fn posts_timers_and_callbacks_keep_their_order_while_the_loop_stays_awake() {
    let mut event_loop = awake();
    warm_up(&mut event_loop);
    let trace = Trace::new();
    let handle = event_loop.handle();
    handle.call_later(ms(3), trace.noting("third"));
    handle.call_later(ms(1), trace.noting("second"));
    handle.call_soon(trace.noting("first"));
    let started = Instant::now();
    assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
    assert!(started.elapsed() >= ms(3), "never early");
    assert_eq!(trace.all(), "first second third");
}

#[test]
fn a_loop_that_stays_awake_ends_when_nothing_is_left_and_when_nothing_can_move() {
    let mut event_loop = awake();
    warm_up(&mut event_loop);
    assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
    let stuck = event_loop.handle().spawn(async |co| -> Result {
        co.task(|done: yieldpoint::Resolver<()>| std::mem::forget(done))
            .await
    });
    assert!(matches!(event_loop.run().unwrap(), Outcome::Stuck(_)));
    stuck.abort();
    assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
}

#[test]
fn the_last_remote_that_goes_ends_the_wait() {
    let mut event_loop = awake();
    warm_up(&mut event_loop);
    let remote = event_loop.handle().remote();
    let parked = event_loop.handle().spawn(async |co| -> Result {
        co.task(|done: yieldpoint::Resolver<()>| std::mem::forget(done))
            .await
    });
    let thread = thread::spawn(move || drop(remote));
    assert!(matches!(event_loop.run().unwrap(), Outcome::Stuck(_)));
    thread.join().unwrap();
    parked.abort();
}

#[test]
fn a_turn_does_not_wait() {
    let mut event_loop = awake();
    warm_up(&mut event_loop);
    event_loop
        .handle()
        .call_later(Duration::from_secs(3600), || panic!("an hour later"));
    let report = event_loop.turn(Budget::default()).unwrap();
    assert_eq!((report.steps, report.work_left), (0, false));
}

#[test]
fn a_clock_moved_by_hand_is_not_waited_for_awake() {
    let clock = ManualClock::auto();
    let mut event_loop = EventLoop::builder()
        .busy_poll(Duration::MAX)
        .clock(&clock)
        .fail_on_error()
        .build()
        .unwrap();
    event_loop
        .block_on(async |co| -> Result {
            for _ in 0..100 {
                co.sleep(Duration::from_nanos(1)).await?;
            }
            co.sleep(Duration::from_secs(3600)).await
        })
        .unwrap();
    assert_eq!(
        clock.elapsed(),
        Duration::from_secs(3600) + Duration::from_nanos(100)
    );
}

#[test]
fn a_stall_is_told_of_a_loop_that_stays_awake() {
    let (told, heard) = mpsc::channel();
    let mut event_loop = EventLoop::builder()
        .busy_poll(Duration::MAX)
        .stalled_after(Duration::from_micros(500))
        .on_error(move |incident| told.send(matches!(incident, Incident::Stalled(_))).unwrap())
        .build()
        .unwrap();
    warm_up(&mut event_loop);
    while heard.try_recv().is_ok() {} // a slow thread may have been a stall too
    event_loop
        .block_on(async |co| -> Result {
            co.task(|done| {
                let done = done.into_send();
                thread::spawn(move || {
                    heard.recv().unwrap(); // the stall ends the wait for itself
                    done.resolve(());
                });
            })
            .await
        })
        .unwrap();
}

/// A poll that looks while it is awake takes the event of the timer descriptor, which tells of a deadline once.
#[test]
fn a_deadline_that_passes_while_the_loop_gives_up_staying_awake_is_not_slept_over() {
    let mut event_loop = EventLoop::builder()
        .busy_poll(Duration::from_micros(20))
        .fail_on_error()
        .build()
        .unwrap();
    let handle = event_loop.handle();
    let _polled = TcpListener::bind(&handle, "127.0.0.1:0").unwrap();
    let (naps, begun) = mpsc::channel();
    let (wakes, woken) = mpsc::channel();
    let remote = handle.remote();
    // Posts for about as long as each sleep, so that the deadline is set before the last wait awake, and passes at about its end.
    let poster = thread::spawn(move || {
        let mut slept_over = 0;
        for n in begun {
            let silence = Duration::from_nanos(85_000 + (n * 7919) % 40_000);
            let (started, mut posts) = (Instant::now(), 1);
            while started.elapsed() < silence {
                if started.elapsed() > Duration::from_micros(8) * posts {
                    remote.post(|_| ()).unwrap();
                    posts += 1;
                }
            }
            if woken.recv_timeout(Duration::from_secs(2)).is_err() {
                slept_over += 1;
                remote.post(|_| ()).unwrap();
            }
        }
        slept_over
    });
    let over = Instant::now() + Duration::from_secs(1);
    event_loop
        .block_on(async |co| -> Result {
            for n in 0u64.. {
                if Instant::now() > over {
                    break;
                }
                naps.send(n).unwrap();
                co.sleep(Duration::from_micros(120)).await?;
                wakes.send(()).unwrap();
            }
            Ok(())
        })
        .unwrap();
    drop(naps);
    assert_eq!(poster.join().unwrap(), 0);
}
