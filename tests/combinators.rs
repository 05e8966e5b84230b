//! Several points at once: `all`, `first`, `as_completed`, `timeout`. The ids are those of the ancestors' conformance cases.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::future::{Future, pending, poll_fn, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use yieldpoint::{
    Activity, All, AsCompleted, Callback, Co, Either, Error, ErrorKind, EventLoop, Handle,
    ManualClock, OneOf3, OneOf12, Resolver, Result, Sleep, Task, Timeout, Wait, YieldNow,
    YieldPoint, ms,
};

/// Runs a body in a loop whose time moves by itself, and in which any incident fails the test. Gives the time it took.
fn run(body: impl AsyncFnOnce(Co) -> Result) -> Duration {
    let clock = ManualClock::auto();
    let mut event_loop = EventLoop::builder()
        .clock(&clock)
        .fail_on_error()
        .build()
        .expect("a loop");
    event_loop.block_on(body).expect("the body ends well");
    clock.elapsed()
}

/// Calls back after so many rounds of the ready queue.
fn after_rounds(handle: &Handle, rounds: u32, call: impl FnOnce() + 'static) {
    if rounds == 0 {
        return call();
    }
    let next = handle.clone();
    handle.call_soon(move || after_rounds(&next, rounds - 1, call));
}

/// A task that gives `value` after so many rounds.
fn in_rounds<T: 'static>(
    handle: &Handle,
    rounds: u32,
    value: T,
) -> Task<impl FnOnce(Resolver<T>), T> {
    let handle = handle.clone();
    Task::new(move |done: Resolver<T>| after_rounds(&handle, rounds, move || done.resolve(value)))
}

/// Whether anything else ran since this was made: a coroutine that did not give way sees none of it.
fn witness(handle: &Handle) -> Rc<Cell<bool>> {
    let ran = Rc::new(Cell::new(false));
    let seen = Rc::clone(&ran);
    handle.call_soon(move || seen.set(true));
    ran
}

/// Counts the polls of a future.
struct Counted<F> {
    inner: Pin<Box<F>>,
    polls: Rc<Cell<usize>>,
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.polls.set(self.polls.get() + 1);
        self.inner.as_mut().poll(cx)
    }
}

fn counted<F: Future>(inner: F, polls: &Rc<Cell<usize>>) -> Counted<F> {
    Counted {
        inner: Box::pin(inner),
        polls: Rc::clone(polls),
    }
}

/// Writes its name into the log when it is dropped.
struct Grave(&'static str, Rc<RefCell<Vec<&'static str>>>);

impl Drop for Grave {
    fn drop(&mut self) {
        self.1.borrow_mut().push(self.0);
    }
}

fn is_unknown<T>(result: &Result<T>) -> bool {
    matches!(result, Err(error) if matches!(error.kind(), ErrorKind::UnknownKey { .. }))
}

// All.

/// C047
#[test]
fn completed_keys_come_in_the_shape_of_their_waits() {
    run(async |co| -> Result {
        for key in ["a", "b", "c", "d", "e"] {
            co.callback::<&str>(key)?.resolve(key);
        }
        let [a, b] = co.all([Wait::<&str>::new("a"), Wait::new("b")]).await;
        assert_eq!((a?, b?), ("a", "b"));
        let map = HashMap::from([("foo", co.wait::<&str>("c")), ("bar", co.wait("d"))]);
        let mut map = co.all(map).await;
        assert_eq!(map.len(), 2);
        assert_eq!(map.remove("foo").expect("the same keys")?, "c");
        assert_eq!(map.remove("bar").expect("the same keys")?, "d");
        let (e, task) = co
            .all((co.wait::<&str>("e"), in_rounds(co.handle(), 3, 7)))
            .await;
        assert_eq!((e?, task?), ("e", 7));
        Ok(())
    });
}

/// C048
#[test]
fn outputs_come_in_the_order_of_the_points_not_of_completion() {
    run(async |co| -> Result {
        let tasks = || {
            [
                in_rounds(co.handle(), 3, "slow"),
                in_rounds(co.handle(), 1, "fast"),
            ]
        };
        let outputs: Result<Vec<_>> = co.all(Vec::from(tasks())).await.into_iter().collect();
        assert_eq!(outputs?, ["slow", "fast"]);
        let [slow, fast] = tasks();
        let map = co.all(BTreeMap::from([(2, slow), (1, fast)])).await;
        let map: Vec<_> = map
            .into_iter()
            .map(|(key, output)| (key, output.ok()))
            .collect();
        assert_eq!(map, [(1, Some("fast")), (2, Some("slow"))]);
        Ok(())
    });
}

/// C049
#[test]
fn two_thousand_tasks_cost_two_polls_each() {
    run(async |co| -> Result {
        let polls = Rc::new(Cell::new(0));
        let tasks: Vec<_> = (0..2000)
            .map(|n| counted(in_rounds(co.handle(), 1, n).start(&co), &polls))
            .collect();
        let outputs: Result<Vec<usize>> = co.all(tasks).await.into_iter().collect();
        assert!(outputs?.into_iter().eq(0..2000));
        assert_eq!(polls.get(), 4000);
        Ok(())
    });
}

/// The worst case for whoever asks every child: each wake-up brings one.
#[test]
fn two_thousand_tasks_that_end_one_by_one_cost_two_polls_each() {
    run(async |co| -> Result {
        let polls = Rc::new(Cell::new(0));
        let sleeps: Vec<_> = (0..2000)
            .map(|n| counted(co.sleep(ms(2000 - n)), &polls))
            .collect();
        assert!(co.all(sleeps).await.into_iter().all(|slept| slept.is_ok()));
        assert_eq!(polls.get(), 4000);
        Ok(())
    });
}

/// A short set hands the coroutine's waker through, and no waker is cloned for it.
#[test]
fn a_short_set_asks_every_child_and_makes_no_waker() {
    run(async |co| -> Result {
        let polls = Rc::new(Cell::new(0));
        let handle = co.handle().clone();
        let seen = Rc::new(Cell::new(usize::MAX));
        let note = Rc::clone(&seen);
        co.handle()
            .call_soon(move || note.set(handle.snapshot().coroutines[0].wakers));
        let sleeps = [1, 2, 3].map(|n| counted(co.sleep(ms(n)), &polls));
        let _ = co.all(sleeps).await;
        assert_eq!(polls.get(), 3 + 3 + 2 + 1);
        assert_eq!(seen.get(), 0);
        Ok(())
    });
}

/// C050, C058
#[test]
fn nothing_to_wait_for_is_given_back_without_giving_way() {
    run(async |co| -> Result {
        let ran = witness(co.handle());
        assert!(co.all(Vec::<Sleep>::new()).await.is_empty());
        assert!(co.all(HashMap::<u8, Sleep>::new()).await.is_empty());
        assert!(co.all(BTreeMap::<u8, Sleep>::new()).await.is_empty());
        let no_points: [Sleep; 0] = [];
        let none = co.all(no_points).await;
        assert!(none.is_empty());
        assert!(co.wait_all::<u8>([""; 0]).await?.is_empty());
        assert!(!ran.get());
        co.yield_now().await?;
        assert!(ran.get()); // the witness does see what gives way
        Ok(())
    });
}

/// C051
#[test]
fn join_handles_are_points() {
    run(async |co| -> Result {
        let spawn = |n: u32| co.handle().spawn(async move |_| -> Result<u32> { Ok(n) });
        assert_eq!(co.yield_(spawn(1)).await?, 1);
        let list: Result<Vec<_>> = co.all(vec![spawn(1), spawn(2)]).await.into_iter().collect();
        assert_eq!(list?, [1, 2]);
        let mut map = co
            .all(HashMap::from([("foo", spawn(1)), ("bar", spawn(2))]))
            .await;
        assert_eq!(map.remove("foo").expect("kept")?, 1);
        assert_eq!(map.remove("bar").expect("kept")?, 2);
        Ok(())
    });
}

/// C052. Where the ancestors raise the first error and log or drop the others, each stays in its place here and nothing is lost.
#[test]
fn errors_stay_in_their_places_and_nothing_fails_fast() {
    run(async |co| -> Result {
        let fail = async |text: &'static str, after| {
            co.sleep(ms(after)).await?;
            Err::<u8, _>(Error::other(text))
        };
        let (one, two) = co.all((fail("one", 2), fail("two", 1))).await;
        assert_eq!(one.expect_err("one").to_string(), "one");
        assert_eq!(two.expect_err("two").to_string(), "two");
        let (bad, good) = co.all((fail("bad", 0), co.sleep(ms(9)))).await;
        assert_eq!(bad.expect_err("bad").to_string(), "bad");
        good?;
        let points = vec![fail("first", 3), fail("second", 1)];
        let first: Result<Vec<u8>> = co.all(points).await.into_iter().collect();
        assert_eq!(first.expect_err("both").to_string(), "first");
        Ok(())
    });
}

/// C053
#[test]
fn children_run_side_by_side() {
    run(async |co| -> Result {
        let log = RefCell::new(vec![]);
        let child = async |rounds: u32| {
            for _ in 0..rounds {
                co.yield_now().await?;
            }
            log.borrow_mut().push(rounds);
            Ok::<_, Error>(rounds)
        };
        let [three, zero, one] = co.all([3, 0, 1].map(child)).await;
        assert_eq!([three?, zero?, one?], [3, 0, 1]);
        assert_eq!(*log.borrow(), [0, 1, 3]);
        Ok(())
    });
}

/// C054. Both outcomes are given, whichever the order; the arrived key is taken, the expired one is still pending.
#[test]
fn a_timed_wait_that_expires_leaves_its_neighbour_its_value() {
    for swapped in [false, true] {
        let took = run(async |co| -> Result {
            let _never = co.callback::<u8>("a")?;
            co.callback::<u8>("b")?.resolve(2);
            let timed = Timeout::new(ms(100), Wait::<u8>::new("a"));
            let b = Wait::<u8>::new("b");
            let (a, b) = if swapped {
                co.all((timed, b)).await
            } else {
                let (b, a) = co.all((b, timed)).await;
                (a, b)
            };
            assert!(a.is_err_and(|error| error.is_elapsed()));
            assert_eq!(b?, 2);
            assert!(is_unknown(&co.wait::<u8>("b").await));
            co.forget("a")
        });
        assert_eq!(took, ms(100));
    }
}

/// C055. In a list the error waits for the known key and loses nothing; `wait_all` tells at once.
#[test]
fn an_unknown_key_behind_a_known_one_spoils_nothing() {
    run(async |co| -> Result {
        let known = co.callback::<u8>("known")?;
        let error = co.wait_all::<u8>(["known", "unknown"]).await;
        assert!(is_unknown(&error));
        co.handle().call_later(ms(1), move || known.resolve(1));
        let [known, unknown] = co.all(["known", "unknown"].map(Wait::<u8>::new)).await;
        assert_eq!(known?, 1);
        assert!(is_unknown(&unknown));
        Ok(())
    });
}

/// C056
#[test]
fn a_key_named_twice_is_a_defined_error_and_stays_pending() {
    run(async |co| -> Result {
        co.callback::<u8>("k")?.resolve(1);
        let error = co.wait_all::<u8>(["k", "k"]).await.expect_err("twice");
        assert!(matches!(error.kind(), ErrorKind::RepeatedKey { .. }));
        let [one, two] = co.all(["k", "k"].map(Wait::<u8>::new)).await;
        assert_eq!(one?, 1);
        assert!(is_unknown(&two)); // in a list the first takes it
        Ok(())
    });
}

/// C057
#[test]
fn registrations_in_a_list_give_their_resolvers() {
    run(async |co| -> Result {
        let (a, b) = co
            .all((Callback::<u8>::new("a"), Callback::<u8>::new("b")))
            .await;
        a?.resolve(1);
        b?.resolve(2);
        let [b, a] = co.all(["b", "a"].map(Wait::<u8>::new)).await;
        assert_eq!((b?, a?), (2, 1));
        let [first, again] = co.all(["x", "x"].map(Callback::<u8>::new)).await;
        assert!(first.is_ok());
        assert!(matches!(
            again.expect_err("reuse").kind(),
            ErrorKind::KeyReuse { .. }
        ));
        co.forget("x")
    });
}

#[test]
fn points_are_started_and_first_polled_in_order() {
    run(async |co| -> Result {
        let log = Rc::new(RefCell::new(vec![]));
        let task = |name| {
            let log = Rc::clone(&log);
            Task::new(move |done: Resolver<()>| {
                log.borrow_mut().push(name);
                done.resolve(());
            })
        };
        let _ = co.all((task(1), task(2), task(3))).await;
        let _ = co.all((4..50).map(task).collect::<Vec<_>>()).await;
        let _ = co
            .all(BTreeMap::from([("z", task(51)), ("a", task(50))]))
            .await;
        assert!(log.borrow().iter().copied().eq(1..52));
        Ok(())
    });
}

#[test]
fn all_is_lazy_and_reports_itself_as_what_is_waited_for() {
    run(async |co| -> Result {
        let called = Rc::new(Cell::new(false));
        let flag = Rc::clone(&called);
        drop(co.all((Task::new(move |_: Resolver<()>| flag.set(true)),)));
        assert!(!called.get());
        let child = co.handle().spawn(async |co| -> Result {
            let _ = co.all((co.sleep(ms(1)), co.sleep(ms(2)))).await;
            let _ = co.first([co.sleep(ms(2))]).await;
            co.timeout(ms(9), co.sleep(ms(1))).await
        });
        let mut parked = vec![];
        while !child.is_finished() {
            co.yield_now().await?;
            let snapshot = co.handle().snapshot();
            let info = snapshot
                .coroutines
                .iter()
                .find(|info| info.label.id() == child.id());
            if let Some(Activity::Parked { on, .. }) = info.map(|info| info.activity.clone())
                && parked.last() != Some(&on)
            {
                parked.push(on);
            }
            co.sleep(Duration::from_micros(500)).await?;
        }
        assert_eq!(
            parked,
            ["all", "first", "sleep"],
            "a time-out names what does not come"
        );
        child.await
    });
}

#[test]
fn a_tuple_of_twelve_types() {
    run(async |co| -> Result {
        let outputs = co
            .all((
                ready(1_u8),
                async { "two" },
                ready(3.0),
                ready('4'),
                ready([5]),
                ready(Some(6)),
                ready(()),
                ready(8_i64),
                ready("9".to_owned()),
                ready(vec![10]),
                ready(true),
                co.task(|done| done.resolve(12)),
            ))
            .await;
        assert_eq!(
            (outputs.0, outputs.1, outputs.3, outputs.11?),
            (1, "two", '4', 12)
        );
        let never = || pending::<()>();
        let last = co
            .first((
                never(),
                never(),
                never(),
                never(),
                never(),
                never(),
                never(),
                never(),
                never(),
                never(),
                never(),
                ready(12),
            ))
            .await;
        assert_eq!(last, OneOf12::L(12));
        assert_eq!(co.first((ready(1),)).await, 1); // the only one wins as it is
        assert_eq!(co.all((ready(1),)).await, (1,));
        Ok(())
    });
}

#[test]
fn futures_that_must_not_move_are_children_too() {
    run(async |co| -> Result {
        let rooted = || async {
            let here = 7_u32;
            let held = &raw const here as usize;
            co.yield_now().await?;
            Ok::<_, Error>(held == &raw const here as usize && here == 7)
        };
        let list: Result<Vec<bool>> = co
            .all((0..40).map(|_| rooted()).collect::<Vec<_>>())
            .await
            .into_iter()
            .collect();
        assert!(list?.into_iter().all(|same| same));
        let (one, two) = co.all((rooted(), rooted())).await;
        assert!(one? && two?);
        Ok(())
    });
}

#[test]
fn a_nested_long_set_wakes_only_the_branch_that_moved() {
    run(async |co| -> Result {
        let polls = Rc::new(Cell::new(0));
        let branch = |base: u64| {
            All::new(
                (0..40)
                    .map(|n| counted(co.sleep(ms(base + n)), &polls))
                    .collect::<Vec<_>>(),
            )
        };
        let branches: Vec<_> = (0..40).map(|n| branch(1 + 40 * n)).collect();
        let outputs = co.all(branches).await;
        assert!(outputs.into_iter().flatten().all(|slept| slept.is_ok()));
        assert_eq!(polls.get(), 2 * 1600);
        Ok(())
    });
}

#[test]
fn a_long_set_hears_wakers_that_foreign_code_cloned() {
    run(async |co| -> Result {
        let polls = Rc::new(Cell::new(0));
        let remote = |n: u64| {
            let mut thread = None;
            counted(
                poll_fn(move |cx| match thread.take() {
                    None => {
                        let waker: Waker = cx.waker().clone();
                        thread = Some(std::thread::spawn(move || waker.wake()));
                        Poll::Pending
                    }
                    Some(thread) => {
                        thread.join().expect("it woke");
                        Poll::Ready(n)
                    }
                }),
                &polls,
            )
        };
        let outputs = co.all((0..100).map(remote).collect::<Vec<_>>()).await;
        assert!(outputs.into_iter().eq(0..100));
        assert_eq!(polls.get(), 200);
        Ok(())
    });
}

#[test]
fn a_long_set_hears_a_child_that_wakes_itself() {
    run(async |co| -> Result {
        let polls = Rc::new(Cell::new(0));
        let again = |n: usize| {
            let mut left = 3;
            let future = poll_fn(move |cx| {
                if left == 0 {
                    return Poll::Ready(n);
                }
                left -= 1;
                cx.waker().wake_by_ref();
                Poll::Pending
            });
            counted(future, &polls)
        };
        let outputs = co.all((0..50).map(again).collect::<Vec<_>>()).await;
        assert!(outputs.into_iter().eq(0..50));
        assert_eq!(polls.get(), 4 * 50);
        Ok(())
    });
}

#[test]
fn a_long_set_of_points_nobody_can_wake_is_stuck() {
    let stuck = |count: usize| {
        let mut event_loop = EventLoop::new().expect("a loop");
        let error = event_loop.block_on(async |co| -> Result {
            let resolvers = (0..count)
                .map(|n| co.callback::<u8>(n as u64))
                .collect::<Result<Vec<_>>>()?;
            let waits = (0..count)
                .map(|n| co.wait::<u8>(n as u64))
                .collect::<Vec<_>>();
            let _ = co.all(waits).await;
            drop(resolvers);
            Ok(())
        });
        error.is_err_and(|error| error.is_stuck())
    };
    assert!(stuck(2));
    assert!(stuck(100));
}

#[test]
fn completion_in_order_of_points_nobody_can_wake_is_stuck() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let error = event_loop.block_on(async |co| -> Result {
        let _kept = co.callback::<u8>("k")?;
        let mut done = co.as_completed([co.wait::<u8>("k")]);
        let _ = done.next().await;
        Ok(())
    });
    assert!(error.is_err_and(|error| error.is_stuck()));
}

/// What parks in a record holds its set, which holds the loop: that circle must open again.
#[test]
fn a_loop_that_goes_drops_every_child_of_a_long_set() {
    let log = Rc::new(RefCell::new(vec![]));
    let mut event_loop = EventLoop::new().expect("a loop");
    let graves = Rc::clone(&log);
    let _join = event_loop.handle().spawn(async move |co| -> Result {
        let points = (0..50).map(|_| {
            let grave = Grave("child", Rc::clone(&graves));
            let sleep = co.sleep(ms(60_000));
            async move {
                let _grave = grave;
                sleep.await
            }
        });
        let _ = co.all(points.collect::<Vec<_>>()).await;
        Ok(())
    });
    event_loop
        .block_on(async |co| -> Result { co.yield_now().await })
        .expect("one round");
    assert_eq!(log.borrow().len(), 0);
    drop(event_loop);
    assert_eq!(log.borrow().len(), 50);
    assert_eq!(Rc::strong_count(&log), 1);
}

// First.

#[test]
fn the_first_wins_and_says_which_it_was() {
    let took = run(async |co| -> Result {
        let pair = co
            .first((co.sleep(ms(9)), co.task(|done| done.resolve(7))))
            .await;
        assert!(matches!(pair, Either::Right(Ok(7))));
        let triple = co
            .first((co.sleep(ms(9)), co.sleep(ms(1)), pending::<()>()))
            .await;
        assert!(matches!(triple, OneOf3::B(Ok(()))));
        let (index, slept) = co.first([9, 1, 5].map(|n| Sleep::new(ms(n)))).await;
        assert_eq!((index, slept.is_ok()), (1, true));
        let (index, _) = co
            .first(
                (0..100)
                    .map(|n| Sleep::new(ms(100 - n)))
                    .collect::<Vec<_>>(),
            )
            .await;
        assert_eq!(index, 99);
        let naps = HashMap::from([("long", Sleep::new(ms(9))), ("short", Sleep::new(ms(1)))]);
        assert_eq!(co.first(naps).await.0, "short");
        let naps = BTreeMap::from([("long", Sleep::new(ms(9))), ("short", Sleep::new(ms(1)))]);
        assert_eq!(co.first(naps).await.0, "short");
        assert_eq!(co.handle().snapshot().timers, 0);
        Ok(())
    });
    assert_eq!(took, ms(5));
}

#[test]
fn of_several_that_are_ready_the_first_in_order_wins() {
    run(async |co| -> Result {
        for count in [2, 100] {
            // Resolved from the back to the front, in one step.
            let resolvers = (0..count)
                .map(|n| co.callback::<u64>(n))
                .collect::<Result<Vec<_>>>()?;
            co.handle().call_soon(move || {
                for (n, resolver) in (0..count).rev().zip(resolvers.into_iter().rev()) {
                    resolver.resolve(n);
                }
            });
            let waits = (0..count).map(Wait::<u64>::new).collect::<Vec<_>>();
            let (index, value) = co.first(waits).await;
            assert_eq!((index, value?), (0, 0));
            // The losers' values were not taken.
            let rest = co.wait_all::<u64>(1..count).await?;
            assert!(rest.into_iter().eq(1..count));
        }
        Ok(())
    });
}

#[test]
fn losers_are_dropped_before_the_winner_is_given() {
    run(async |co| -> Result {
        let log = Rc::new(RefCell::new(vec![]));
        let loser = |name| {
            let grave = Grave(name, Rc::clone(&log));
            async move {
                let _grave = grave;
                pending::<()>().await;
            }
        };
        let mut race = Box::pin(co.first((loser("a"), co.yield_now(), loser("b"))));
        assert!(matches!(race.as_mut().await, OneOf3::B(Ok(()))));
        assert_eq!(*log.borrow(), ["a", "b"]);
        log.borrow_mut().clear();
        let mut race = Box::pin(co.first(vec![
            Either::Left(loser("c")),
            Either::Right(YieldNow::new()),
        ]));
        assert_eq!(race.as_mut().await.0, 1);
        assert_eq!(*log.borrow(), ["c"]);
        Ok(())
    });
}

#[test]
fn the_fate_of_a_loser() {
    run(async |co| -> Result {
        // A key stays pending.
        let reply = co.callback::<u8>("reply")?;
        let _ = co.first((co.wait::<u8>("reply"), co.sleep(ms(1)))).await;
        reply.resolve(1);
        assert_eq!(co.wait::<u8>("reply").await?, 1);
        // A task's operation goes on.
        let went_on = Rc::new(Cell::new(None));
        let (seen, handle) = (Rc::clone(&went_on), co.handle().clone());
        let task = co.task(move |done: Resolver<()>| {
            handle.call_later(ms(5), move || {
                seen.set(Some(done.is_wanted()));
                done.resolve(());
            });
        });
        let _ = co.first((task, co.sleep(ms(1)))).await;
        co.sleep(ms(9)).await?;
        assert_eq!(went_on.get(), Some(false));
        // A joined coroutine runs on, and a borrowed handle is still there to join.
        let mut join = co.handle().spawn(async |co| -> Result<u8> {
            co.sleep(ms(5)).await?;
            Ok(3)
        });
        assert!(matches!(
            co.first((&mut join, co.sleep(ms(1)))).await,
            Either::Right(_)
        ));
        assert_eq!(join.await?, 3);
        Ok(())
    });
}

#[test]
#[should_panic(expected = "there is no first of no points")]
fn the_first_of_none_panics_where_it_is_asked_for() {
    run(async |co| -> Result {
        let _never = co.first(Vec::<Sleep>::new());
        Ok(())
    });
}

// As completed.

/// C065
#[test]
fn what_has_ended_before_comes_in_argument_order() {
    run(async |co| -> Result {
        let joins = ["a", "b", "c"].map(|name| {
            co.handle()
                .spawn(async move |_| -> Result<&str> { Ok(name) })
        });
        co.yield_now().await?;
        assert!(joins.iter().all(yieldpoint::JoinHandle::is_finished));
        let ran = witness(co.handle());
        let mut done = co.as_completed(joins);
        let mut order = vec![];
        while let Some((index, output)) = done.next().await {
            order.push((index, output?));
        }
        assert_eq!(order, [(0, "a"), (1, "b"), (2, "c")]);
        assert_eq!(done.remaining(), 0);
        assert!(done.next().await.is_none());
        let mut named = co.as_completed(BTreeMap::from([("x", ready(1)), ("y", ready(2))]));
        assert_eq!(named.next().await, Some(("x", 1)));
        assert_eq!(named.next().await, Some(("y", 2)));
        assert_eq!(named.next().await, None);
        assert!(!ran.get());
        Ok(())
    });
}

#[test]
fn several_that_end_in_one_step_come_in_the_order_of_their_completion() {
    run(async |co| -> Result {
        let resolvers = (0..3)
            .map(|n| co.callback::<u8>(n))
            .collect::<Result<Vec<_>>>()?;
        let mut done = co.as_completed((0..3).map(Wait::<u8>::new).collect::<Vec<_>>());
        co.handle().call_soon(move || {
            let mut resolvers = resolvers.into_iter();
            let [a, b, c] = std::array::from_fn(|_| resolvers.next().expect("three"));
            b.resolve(1);
            c.resolve(2);
            a.resolve(0);
        });
        let mut order = vec![];
        while let Some((index, value)) = done.next().await {
            order.push((index, value?));
        }
        assert_eq!(order, [(1, 1), (2, 2), (0, 0)]);
        Ok(())
    });
}

#[test]
fn a_failing_one_does_not_end_the_others_and_a_dropped_next_loses_nothing() {
    fn is_unpin<T: Unpin>(_: &T) {}
    run(async |co| -> Result {
        let fail = |n: u64| async move { Err::<u64, _>(Error::other(format!("no {n}"))) };
        let points = HashMap::from([
            ("bad", Either::Left(fail(1))),
            ("good", Either::Right(ready(2))),
        ]);
        let mut done = co.as_completed(points);
        let mut bad = 0;
        while let Some((name, output)) = done.next().await {
            bad += usize::from(matches!((name, output), ("bad", Either::Left(Err(_)))));
        }
        assert_eq!(bad, 1);
        let mut done: AsCompleted<Vec<Sleep>> =
            co.as_completed(vec![Sleep::new(ms(3)), Sleep::new(ms(1))]);
        is_unpin(&done);
        assert!(matches!(
            co.first((async { done.next().await.is_some() }, co.yield_now()))
                .await,
            Either::Right(_)
        ));
        assert_eq!(done.next().await.map(|(index, _)| index), Some(1));
        assert_eq!(done.next().await.map(|(index, _)| index), Some(0));
        Ok(())
    });
}

// Timeout.

/// C059, C067
#[test]
fn a_limit_ends_a_wait_never_early_and_says_where_it_was_set() {
    let took = run(async |co| -> Result {
        let never = co.handle().spawn(async |_| -> Result { pending().await });
        let line = line!() + 1;
        let error = co.timeout(ms(100), never).await.expect_err("never");
        let ErrorKind::Elapsed { limit, site } = error.kind() else {
            panic!("{error}")
        };
        assert_eq!((*limit, site.line(), site.file()), (ms(100), line, file!()));
        let _kept = co.callback::<u8>("k")?;
        let any = co.timeout(ms(100), co.wait_any::<u8>(["k"])).await;
        assert!(any.is_err_and(|error| error.is_elapsed()));
        let one = co.timeout(ms(100), co.wait::<u8>("k")).await;
        assert!(one.is_err_and(|error| error.is_elapsed()));
        assert_eq!(co.handle().snapshot().timers, 0);
        co.forget("k")
    });
    assert_eq!(took, ms(300));
}

/// C060, C068, C083
#[test]
fn what_comes_in_time_comes_as_it_is_and_leaves_no_timer() {
    let took = run(async |co| -> Result {
        let hour = ms(3_600_000);
        let good = co.handle().spawn(async |co| -> Result<u8> {
            co.sleep(ms(100)).await?;
            Ok(1)
        });
        assert_eq!(co.timeout(hour, good).await?, 1);
        let bad = co.handle().spawn(async |co| -> Result<u8> {
            co.sleep(ms(100)).await?;
            Err(Error::other("bad"))
        });
        assert_eq!(
            co.timeout(hour, bad).await.expect_err("bad").to_string(),
            "bad"
        );
        assert_eq!(co.handle().snapshot().timers, 0);
        let ran = witness(co.handle());
        co.callback::<u8>("k")?.resolve(2);
        assert_eq!(co.timeout(hour, co.wait::<u8>("k")).await?, 2);
        assert!(!ran.get());
        let k = co.callback::<u8>("k")?;
        co.handle().call_later(ms(100), move || k.resolve(3));
        assert_eq!(co.timeout(ms(200), co.wait::<u8>("k")).await?, 3);
        assert_eq!(co.handle().snapshot().timers, 0);
        Ok(())
    });
    assert_eq!(took, ms(300));
}

/// No timer was ever armed for a point that is ready, not even for the length of the poll.
#[test]
fn a_point_that_is_ready_at_once_touches_no_timer() {
    run(async |co| -> Result {
        let handle = co.handle().clone();
        let seen = Rc::new(Cell::new(usize::MAX));
        let at_drop = Rc::clone(&seen);
        let mut point = Box::pin(co.timeout(
            ms(0),
            poll_fn(move |_| {
                at_drop.set(handle.snapshot().timers);
                Poll::Ready(Ok::<_, Error>(1))
            }),
        ));
        assert_eq!(point.as_mut().await?, 1);
        assert_eq!((seen.get(), co.handle().snapshot().timers), (0, 0));
        Ok(())
    });
}

/// C061
#[test]
fn an_operation_goes_on_after_its_limit() {
    run(async |co| -> Result {
        let ended = Rc::new(Cell::new(false));
        let (flag, handle) = (Rc::clone(&ended), co.handle().clone());
        let job = co.task(move |done: Resolver<()>| {
            handle.call_later(ms(100), move || {
                flag.set(true);
                done.resolve(());
            });
        });
        assert!(
            co.timeout(ms(0), job)
                .await
                .is_err_and(|error| error.is_elapsed())
        );
        assert!(!ended.get());
        co.sleep(ms(200)).await?;
        assert!(ended.get());
        Ok(())
    });
}

/// C062, C063, C081
#[test]
fn a_limit_of_zero_loses_against_what_is_there_and_ends_what_is_not_in_a_later_turn() {
    let took = run(async |co| -> Result {
        let ran = witness(co.handle());
        let finished = co.task(|done| done.resolve(1));
        assert_eq!(co.timeout(ms(0), finished).await?, 1);
        assert!(!ran.get());
        let _kept = co.callback::<u8>("k")?;
        let error = co.timeout(ms(0), co.wait::<u8>("k")).await;
        assert!(error.is_err_and(|error| error.is_elapsed()));
        assert!(ran.get());
        co.forget("k")
    });
    assert_eq!(took, ms(0));
}

/// A result that comes in the very step in which the limit is over wins as well.
#[test]
fn a_result_beats_a_limit_that_is_over() {
    let took = run(async |co| -> Result {
        let k = co.callback::<u8>("k")?;
        co.handle().call_later(ms(10), move || k.resolve(1));
        assert_eq!(co.timeout(ms(10), co.wait::<u8>("k")).await?, 1);
        Ok(())
    });
    assert_eq!(took, ms(10));
}

/// C064
#[test]
fn a_limit_does_not_spoil_what_it_gives_up() {
    run(async |co| -> Result {
        let mut join = co.handle().spawn(async |co| -> Result<u8> {
            co.sleep(ms(100)).await?;
            Ok(5)
        });
        assert!(
            co.timeout(ms(1), &mut join)
                .await
                .is_err_and(|error| error.is_elapsed())
        );
        assert_eq!(join.await?, 5);
        Ok(())
    });
}

/// C082
#[test]
fn an_unknown_key_is_told_at_once_whatever_the_limit() {
    let took = run(async |co| -> Result {
        let ran = witness(co.handle());
        assert!(is_unknown(
            &co.timeout(ms(50), co.wait::<u8>("nobody")).await
        ));
        assert!(!ran.get());
        co.sleep(ms(100)).await
    });
    assert_eq!(took, ms(100));
}

#[test]
fn the_longest_limit_is_no_limit() {
    run(async |co| -> Result { co.timeout(Duration::MAX, co.sleep(ms(1))).await });
}

/// An error type of the user's, to which ours is one of several.
#[derive(Debug)]
enum Trouble {
    Ours(Error),
    Own,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Ours(error)
    }
}

#[test]
fn the_error_stays_of_the_points_own_type() {
    run(async |co| -> Result {
        let own = co
            .timeout(ms(9), async { Err::<(), _>(Trouble::Own) })
            .await;
        assert!(matches!(own, Err(Trouble::Own)));
        let late = co.timeout(ms(9), pending::<Result<(), Trouble>>()).await;
        assert!(matches!(late, Err(Trouble::Ours(error)) if error.is_elapsed()));
        Ok(())
    });
}
