//! Foreign combinators and wakers (decision 11).

mod support;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::task::AtomicWaker;
use support::{Trace, Wakes, poll_with, strict, watched};
use yieldpoint::sync::queue;
use yieldpoint::{
    Activity, Budget, Co, EventLoop, ManualClock, Outcome, Resolver, Result, SendResolver, ms,
};

#[test]
fn points_and_joins_in_an_unordered_set_all_end() {
    let sum = strict()
        .block_on(async |co| -> Result<u32> {
            let mut points = FuturesUnordered::new();
            let mut joins = FuturesUnordered::new();
            for n in 0..50u32 {
                let handle = co.handle().clone();
                points.push(co.task(move |done: Resolver<u32>| {
                    handle.call_later(ms(u64::from(n % 7)), move || done.resolve(n));
                }));
                joins.push(co.handle().spawn(async move |co: Co| -> Result<u32> {
                    co.sleep(ms(u64::from(n % 5))).await?;
                    co.yield_now().await?;
                    Ok(n)
                }));
            }
            let mut sum = 0;
            while let Some(n) = points.next().await {
                sum += n?;
            }
            while let Some(n) = joins.next().await {
                sum += n?;
            }
            Ok(sum)
        })
        .unwrap();
    assert_eq!(sum, 2 * 1225);
}

/// With more than thirty, `join_all` polls each with a waker of its own.
#[test]
fn join_all_of_forty_ends_with_all() {
    let ended = strict()
        .block_on(async |co| -> Result<u64> {
            let joins = (0..40).map(|n| {
                co.handle().spawn(async move |co: Co| -> Result<u64> {
                    co.sleep(ms(40 - n)).await?;
                    Ok(n)
                })
            });
            join_all(joins).await.into_iter().sum()
        })
        .unwrap();
    assert_eq!(ended, 780);
}

/// Gives way once by cloning the waker and waking the clone within the poll.
fn clone_and_wake() -> impl Future<Output = ()> {
    let mut gave_way = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut gave_way, true) {
            return Poll::Ready(());
        }
        let clone = cx.waker().clone();
        clone.wake();
        Poll::Pending
    })
}

/// Gives way once by waking the waker it is given.
fn wake_by_ref() -> impl Future<Output = ()> {
    let mut gave_way = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut gave_way, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

#[test]
fn waking_within_the_poll_gives_way_to_the_others() {
    let trace = Trace::new();
    let mut event_loop = strict();
    for name in ["a", "b"] {
        let log = trace.clone();
        let ended = event_loop.handle().spawn(async move |_| -> Result {
            log.note(name);
            clone_and_wake().await;
            log.note(name);
            wake_by_ref().await;
            log.note(name);
            Ok(())
        });
        drop(ended);
    }
    assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
    assert_eq!(trace.all(), "a b a b a b");
}

#[test]
fn a_clone_woken_and_dropped_by_a_thread_within_the_poll_is_not_lost() {
    for _ in 0..200 {
        let mut polls = 0;
        strict()
            .block_on(async |_| -> Result {
                poll_fn(|cx| {
                    polls += 1;
                    if polls == 2 {
                        return Poll::Ready(());
                    }
                    let waker = cx.waker().clone();
                    thread::spawn(move || waker.wake()).join().unwrap();
                    Poll::Pending
                })
                .await;
                Ok(())
            })
            .unwrap();
        assert_eq!(polls, 2);
    }
}

#[test]
fn a_clone_woken_by_a_thread_while_the_poll_ends_is_not_lost() {
    let mut event_loop = EventLoop::new().unwrap();
    let (give, take) = mpsc::channel::<Waker>();
    let waking = thread::spawn(move || take.into_iter().for_each(Waker::wake));
    for _ in 0..2000 {
        let mut given = false;
        let give = &give;
        event_loop
            .block_on(async |_| -> Result {
                poll_fn(|cx| {
                    if std::mem::replace(&mut given, true) {
                        return Poll::Ready(());
                    }
                    give.send(cx.waker().clone()).unwrap();
                    Poll::Pending
                })
                .await;
                Ok(())
            })
            .unwrap();
    }
    drop(give);
    waking.join().unwrap();
}

/// What a test keeps of a coroutine's waker.
fn kept_waker(event_loop: &mut EventLoop, trace: &Trace, name: &'static str) -> Waker {
    let kept: Rc<RefCell<Option<Waker>>> = Rc::default();
    let (keep, log) = (Rc::clone(&kept), trace.clone());
    drop(event_loop.handle().spawn(async move |_| -> Result {
        poll_fn(|cx| {
            log.note(name);
            if keep.borrow().is_some() {
                return Poll::Ready(());
            }
            *keep.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        Ok(())
    }));
    let _ = event_loop.turn(Budget::steps(1)).unwrap();
    kept.take().unwrap()
}

#[test]
fn a_stale_waker_does_not_reach_the_next_tenant_nor_a_loop_that_is_gone() {
    let trace = Trace::new();
    let mut event_loop = strict();
    let first = kept_waker(&mut event_loop, &trace, "first");
    let id = event_loop.snapshot().coroutines[0].label.id();
    event_loop.handle().abort(id);
    let _ = event_loop.turn(Budget::default()).unwrap();
    let second = kept_waker(&mut event_loop, &trace, "second");
    let tenant = event_loop.snapshot().coroutines[0].label.id();
    assert_ne!(id, tenant);
    assert_eq!(trace.all(), "first second");
    first.wake_by_ref();
    thread::scope(|scope| drop(scope.spawn(|| first.wake_by_ref())));
    let report = event_loop.turn(Budget::default()).unwrap();
    assert_eq!((report.steps, trace.all().as_str()), (0, "first second"));
    second.wake_by_ref();
    second.wake_by_ref();
    let report = event_loop.turn(Budget::default()).unwrap();
    assert_eq!(
        (report.steps, trace.all().as_str()),
        (1, "first second second")
    );
    drop(event_loop);
    first.wake_by_ref();
    thread::spawn(move || second.wake()).join().unwrap();
}

#[test]
fn a_point_first_polled_in_one_coroutine_and_moved_wakes_the_other() {
    let trace = Trace::new();
    let (log, end) = (trace.clone(), trace.clone());
    strict()
        .block_on(async |co| -> Result {
            type Moved = Pin<Box<dyn Future<Output = Result<u32>>>>;
            let resolver: Rc<RefCell<Option<Resolver<u32>>>> = Rc::default();
            let moved: Rc<Cell<Option<Moved>>> = Rc::default();
            let (keep, give) = (Rc::clone(&resolver), Rc::clone(&moved));
            let first = co.handle().spawn(async move |co: Co| -> Result {
                let mut point: Moved =
                    Box::pin(co.task(move |done| *keep.borrow_mut() = Some(done)));
                assert!(futures_util::poll!(&mut point).is_pending());
                give.set(Some(point));
                poll_fn(|_| {
                    log.note("first");
                    Poll::<()>::Pending
                })
                .await;
                Ok(())
            });
            co.yield_now().await?;
            let point = moved.take().unwrap();
            let second = co.handle().spawn(async move |_| -> Result<u32> {
                let n = point.await?;
                end.note("second");
                Ok(n)
            });
            co.yield_now().await?;
            resolver.take().unwrap().resolve(5);
            assert_eq!(second.await?, 5);
            first.abort();
            Ok(())
        })
        .unwrap();
    assert_eq!(trace.all(), "first second");
}

#[test]
fn points_polled_outside_of_any_coroutine_wake_who_polls() {
    let mut event_loop = strict();
    let handle = event_loop.handle();
    let mut join = handle.spawn(async |co: Co| -> Result<u32> {
        co.sleep(ms(5)).await?;
        Ok(3)
    });
    let (woken, waker) = Wakes::new();
    assert!(poll_with(&mut join, &waker).is_pending());
    assert!(poll_with(&mut join, &waker).is_pending());
    let _ = event_loop.run().unwrap();
    assert_eq!(woken.count(), 1);
    assert!(matches!(poll_with(&mut join, &waker), Poll::Ready(Ok(3))));
    // Every own point, with the door of a coroutine that is parked.
    let lent = Rc::new(RefCell::new(None));
    let give = Rc::clone(&lent);
    let parked = handle.spawn(async move |co: Co| -> Result {
        let resolver = co.callback::<u32>("k")?;
        *give.borrow_mut() = Some((resolver, co));
        std::future::pending().await
    });
    let _ = event_loop.turn(Budget::default()).unwrap();
    let (resolver, co) = lent.take().unwrap();
    let (woken, waker) = Wakes::new();
    let (mut wait, mut sleep, mut yielding) =
        (co.wait::<u32>("k"), co.sleep(ms(1)), co.yield_now());
    assert!(poll_with(&mut wait, &waker).is_pending());
    assert!(poll_with(&mut sleep, &waker).is_pending());
    assert!(poll_with(&mut yielding, &waker).is_pending());
    assert_eq!(
        woken.count(),
        1,
        "giving way is over at once where there is no queue"
    );
    assert!(poll_with(&mut yielding, &waker).is_ready());
    resolver.resolve(4);
    assert_eq!(woken.count(), 2);
    assert!(matches!(poll_with(&mut wait, &waker), Poll::Ready(Ok(4))));
    drop((wait, yielding));
    let (gone, gone_waker) = Wakes::new();
    assert!(poll_with(&mut sleep, &gone_waker).is_pending());
    drop((event_loop, parked));
    assert_eq!(
        (woken.count(), gone.count()),
        (2, 1),
        "only the last waker counts"
    );
    assert!(
        matches!(poll_with(&mut sleep, &gone_waker), Poll::Ready(Err(error)) if error.is_loop_gone())
    );
}

#[test]
fn loops_nested_in_each_others_callbacks_wake_their_own() {
    let trace = Trace::new();
    let mut outer = strict();
    let handle = outer.handle();
    let slow = handle.spawn(async |co: Co| -> Result<u32> {
        co.sleep(ms(5)).await?;
        Ok(1)
    });
    let log = trace.clone();
    let door = handle.clone();
    handle.call_soon(move || {
        let mut inner = strict();
        let n = inner.block_on(async |co| -> Result<u32> {
            // A waker of the inner loop, kept and woken within the outer loop's turn.
            clone_and_wake().await;
            let child = co.handle().spawn(async |co: Co| -> Result<u32> {
                co.sleep(ms(1)).await?;
                clone_and_wake().await;
                Ok(7)
            });
            child.await
        });
        log.note(n.unwrap());
        // A point of the outer loop polled by a coroutine of the inner one, which cannot get it while it holds the thread.
        let ended = inner.block_on(async |co| -> Result<bool> {
            let mut quick = door.spawn(async |_| -> Result { Ok(()) });
            assert!(futures_util::poll!(&mut quick).is_pending());
            co.sleep(ms(1)).await?;
            Ok(quick.is_finished())
        });
        log.note(ended.unwrap());
    });
    let n = outer
        .block_on(async |_| -> Result<u32> {
            clone_and_wake().await;
            slow.await
        })
        .unwrap();
    trace.note(n);
    assert_eq!(trace.all(), "7 false 1");
}

/// Forwards to the waker it was made from, as a combinator's would, and counts.
struct Forwarding(Waker, AtomicUsize);

impl Wake for Forwarding {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.wake_by_ref();
    }
}

#[test]
fn a_combinator_that_polls_with_a_clone_or_with_its_own_waker_is_woken() {
    let own = Rc::new(Cell::new(0));
    let count = Rc::clone(&own);
    strict()
        .block_on(async |co| -> Result {
            let mut by_clone = pin!(co.sleep(ms(1)));
            poll_fn(|cx| {
                let waker = cx.waker().clone();
                by_clone.as_mut().poll(&mut Context::from_waker(&waker))
            })
            .await?;
            let mut by_own = pin!(co.sleep(ms(1)));
            let mut inner = None;
            poll_fn(|cx| {
                let forwarding = inner.get_or_insert_with(|| {
                    Arc::new(Forwarding(cx.waker().clone(), AtomicUsize::new(0)))
                });
                let waker = Waker::from(Arc::clone(forwarding));
                let polled = by_own.as_mut().poll(&mut Context::from_waker(&waker));
                count.set(forwarding.1.load(Ordering::SeqCst));
                polled
            })
            .await?;
            // From one's own waker back to the loop's: the last one counts.
            let mut both = co.sleep(ms(1));
            let (woken, waker) = Wakes::new();
            assert!(poll_with(&mut both, &waker).is_pending());
            both.await?;
            assert_eq!(woken.count(), 0);
            Ok(())
        })
        .unwrap();
    assert_eq!(own.get(), 1);
}

/// A foreign waker that panics, and one whose drop does, take nobody down.
#[test]
fn a_foreign_waker_that_panics_is_contained() {
    struct Angry;
    impl Wake for Angry {
        fn wake(self: Arc<Self>) {
            panic!("woken")
        }
    }
    let (mut event_loop, incidents) = watched();
    event_loop
        .block_on(async |co| -> Result {
            let mut sleep = co.sleep(ms(1));
            assert!(poll_with(&mut sleep, &Waker::from(Arc::new(Angry))).is_pending());
            co.sleep(ms(5)).await?;
            assert!(futures_util::poll!(&mut sleep).is_ready());
            Ok(())
        })
        .unwrap();
    assert_eq!(incidents.all(), "panicked(waker: woken)");
}

/// A thread adds and wakes; the loop parks in between, over and over. What was added last must be seen.
#[test]
fn no_wake_up_of_a_storm_is_lost() {
    const ALL: usize = 10_000;
    let added = Arc::new(AtomicUsize::new(0));
    let waker = Arc::new(AtomicWaker::new());
    let (adding, waking) = (Arc::clone(&added), Arc::clone(&waker));
    let storm = thread::spawn(move || {
        for n in 0..ALL {
            adding.fetch_add(1, Ordering::SeqCst);
            waking.wake();
            if n % 64 == 0 {
                thread::yield_now();
            }
        }
    });
    let mut event_loop = EventLoop::new().unwrap();
    event_loop
        .block_on(async |_| -> Result {
            poll_fn(|cx| {
                waker.register(cx.waker());
                if added.load(Ordering::SeqCst) == ALL {
                    return Poll::Ready(());
                }
                Poll::Pending
            })
            .await;
            Ok(())
        })
        .unwrap();
    storm.join().unwrap();
}

/// One task after the other, each resolved by a thread: the loop falls asleep before each.
#[test]
fn ten_thousand_resolvers_from_a_thread_all_arrive() {
    let (give, take) = mpsc::channel::<(u64, SendResolver<u64>)>();
    let resolving = thread::spawn(move || {
        for (n, done) in take {
            done.resolve(n);
        }
    });
    let sum = EventLoop::new()
        .unwrap()
        .block_on(async |co| -> Result<u64> {
            let mut sum = 0;
            for n in 0..10_000 {
                let give = &give;
                sum += co
                    .task(|done| give.send((n, done.into_send())).unwrap())
                    .await?;
            }
            Ok(sum)
        })
        .unwrap();
    assert_eq!(sum, 49_995_000);
    drop(give);
    resolving.join().unwrap();
}

#[test]
fn posts_of_one_thread_run_in_their_order() {
    let mut event_loop = EventLoop::new().unwrap();
    let seen: Arc<Mutex<Vec<u32>>> = Arc::default();
    let remote = event_loop.handle().remote();
    let posted = Arc::clone(&seen);
    let posting = thread::spawn(move || {
        for n in 0..1000 {
            let seen = Arc::clone(&posted);
            remote.post(move |_| seen.lock().unwrap().push(n)).unwrap();
        }
        remote.post(yieldpoint::Handle::stop).unwrap();
    });
    // Something to stay for.
    drop(
        event_loop
            .handle()
            .spawn_future(std::future::pending::<()>()),
    );
    assert!(matches!(event_loop.run().unwrap(), Outcome::Stopped));
    posting.join().unwrap();
    assert!(seen.lock().unwrap().iter().copied().eq(0..1000));
}

/// A set remembers which of its points were woken: one whose waker went with the coroutine that polled it would never be asked again.
#[test]
fn a_set_that_outlives_the_coroutine_that_polled_it_goes_on_in_another() {
    let mut event_loop = strict();
    let (sums, rest) = event_loop
        .block_on(async |co| {
            let started = co.handle().spawn(async |co: Co| -> Result<_> {
                let mut joins = FuturesUnordered::new();
                for n in 1..=3u32 {
                    joins.push(co.handle().spawn(async move |co: Co| -> Result<u32> {
                        co.sleep(ms(u64::from(n))).await?;
                        Ok(n)
                    }));
                }
                let first = joins.next().await.expect("there are three")?;
                Ok((first, joins))
            });
            let (first, mut joins) = started.await?;
            let second = joins.next().await.expect("two are left")?;
            Ok::<_, yieldpoint::Error>(([first, second], joins))
        })
        .unwrap();
    assert_eq!(sums, [1, 2]);
    // Out of one run into the next.
    let mut rest = rest;
    let third = event_loop.block_on(async |_| rest.next().await.expect("one is left"));
    assert_eq!(third.unwrap(), 3);
}

/// The waker of a foreign executor, kept by a long row because one of its points is foreign too.
#[test]
fn a_waker_that_panics_when_a_point_of_a_row_wakes_it_does_not_take_the_loop_down() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker's panic");
        }
    }
    let (mut event_loop, incidents) = watched();
    let kept = Rc::new(RefCell::new(None));
    let mut row = event_loop
        .block_on(async |co| -> Result<_> {
            let points: Vec<Pin<Box<dyn Future<Output = ()>>>> = (0..40)
                .map(|n| -> Pin<Box<dyn Future<Output = ()>>> {
                    let kept = Rc::clone(&kept);
                    let sleep = yieldpoint::YieldPoint::start(co.sleep(ms(1)), &co);
                    Box::pin(async move {
                        if n == 0 {
                            poll_fn::<(), _>(|cx| {
                                *kept.borrow_mut() = Some(cx.waker().clone());
                                Poll::Pending
                            })
                            .await;
                        }
                        sleep.await.expect("it ends well");
                    })
                })
                .collect();
            Ok(yieldpoint::YieldPoint::start(co.all(points), &co))
        })
        .unwrap();
    let waker = Waker::from(Arc::new(Panics));
    assert!(poll_with(&mut row, &waker).is_pending());
    let _ = event_loop.run().unwrap();
    assert_eq!(event_loop.snapshot().coroutines.len(), 0);
    assert!(
        incidents.all().contains("a waker's panic"),
        "{}",
        incidents.all()
    );
}

#[test]
fn a_point_of_a_loop_that_is_gone_knows_no_waker_of_another_loop_wherever_that_lies() {
    let mut gone = EventLoop::new().unwrap();
    let (_sender, receiver) = queue::<u32>(&gone.handle(), 1);
    gone.block_on(async |_| -> Result { Ok(()) }).unwrap();
    drop(gone);
    let mut event_loop = EventLoop::new().unwrap();
    // Each coroutine keeps its waker, so that the next has another one: some lie where the loop that is gone had its own.
    let kept: Vec<Waker> = (0..200)
        .map(|_| {
            let body = async |_| -> Result<Waker> {
                let error = receiver.recv().await.unwrap_err();
                assert!(error.is_loop_gone());
                Ok(poll_fn(|cx| Poll::Ready(cx.waker().clone())).await)
            };
            event_loop.block_on(body).unwrap()
        })
        .collect();
    assert_eq!(kept.len(), 200);
}

/// Parks until the waker that it left in this place was used.
async fn wait_at(place: &RefCell<Option<Waker>>) {
    let mut left = false;
    poll_fn(|cx| {
        if left && place.borrow().is_none() {
            return Poll::Ready(());
        }
        left = true;
        place.replace(Some(cx.waker().clone()));
        Poll::Pending
    })
    .await;
}

#[test]
fn coroutines_that_hand_each_other_their_wakers_take_one_step_for_each() {
    const TURNS: usize = 300;
    let places: [Rc<RefCell<Option<Waker>>>; 2] = Default::default();
    let mut event_loop = strict();
    for me in 0..2 {
        let places = places.clone();
        drop(event_loop.handle().spawn(async move |co: Co| -> Result {
            for turn in 0..TURNS {
                if let Some(other) = places[1 - me].take() {
                    match turn % 3 {
                        0 => other.wake(),
                        1 => other.wake_by_ref(),
                        _ => {
                            // However often and through which clone: once.
                            let again = other.clone();
                            again.wake();
                            other.wake_by_ref();
                            other.wake();
                        }
                    }
                }
                wait_at(&places[me]).await;
                if turn == TURNS / 2 {
                    co.yield_now().await?;
                }
            }
            Ok(())
        }));
    }
    let report = event_loop.turn(Budget::steps(10_000)).unwrap();
    // Each takes one step more than it waits, and one for its yield; the second's last is still to come, as the first has ended.
    assert_eq!(report.steps, 2 * TURNS + 3);
    places[1].take().unwrap().wake();
    assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
}

#[test]
fn who_parks_on_a_foreign_future_is_reported_so_whoever_parked_before_and_since_its_own_time() {
    let clock = ManualClock::new();
    let mut event_loop = EventLoop::builder()
        .clock(&clock)
        .fail_on_error()
        .build()
        .unwrap();
    let places: [Rc<RefCell<Option<Waker>>>; 2] = Default::default();
    let handle = event_loop.handle();
    for place in &places {
        let place = Rc::clone(place);
        drop(handle.spawn(async move |co: Co| -> Result {
            wait_at(&place).await;
            wait_at(&place).await;
            co.sleep(ms(50)).await
        }));
        drop(handle.spawn(async |co: Co| co.sleep(ms(100)).await));
    }
    let reported = |event_loop: &EventLoop| -> Vec<(&'static str, u128)> {
        let coroutines = event_loop.snapshot().coroutines;
        let parked = coroutines.iter().map(|info| match info.activity {
            Activity::Parked { on, since, .. } => (on, since.as_millis()),
            _ => ("", 0),
        });
        parked.collect()
    };
    let turn = |event_loop: &mut EventLoop| {
        let _ = event_loop.turn(Budget::default()).unwrap();
    };
    let foreign = "a foreign future";
    turn(&mut event_loop);
    assert_eq!(
        reported(&event_loop),
        [(foreign, 0), ("sleep", 0), (foreign, 0), ("sleep", 0)]
    );
    clock.advance(ms(10));
    places[0].take().unwrap().wake();
    turn(&mut event_loop);
    clock.advance(ms(10));
    turn(&mut event_loop);
    assert_eq!(
        reported(&event_loop),
        [(foreign, 10), ("sleep", 20), (foreign, 20), ("sleep", 20)]
    );
    places[0].take().unwrap().wake();
    turn(&mut event_loop);
    assert_eq!(
        reported(&event_loop),
        [("sleep", 0), ("sleep", 20), (foreign, 20), ("sleep", 20)]
    );
}

thread_local! {
    /// Runs a loop when its thread ends.
    static AT_THE_END: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
}

/// See [`AT_THE_END`].
struct AtTheEnd(mpsc::Sender<usize>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        let place: Rc<RefCell<Option<Waker>>> = Rc::default();
        let mut event_loop = strict();
        let kept = Rc::clone(&place);
        drop(event_loop.handle().spawn(async move |_| -> Result {
            wait_at(&kept).await;
            clone_and_wake().await;
            Ok(())
        }));
        event_loop
            .handle()
            .call_soon(move || place.take().unwrap().wake());
        let report = event_loop.turn(Budget::default()).unwrap();
        self.0.send(report.steps).unwrap();
    }
}

#[test]
fn a_loop_that_runs_while_its_thread_ends_is_woken_by_its_wakers() {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || AT_THE_END.set(Some(AtTheEnd(tell))))
        .join()
        .unwrap();
    assert_eq!(told.recv().unwrap(), 4);
}
