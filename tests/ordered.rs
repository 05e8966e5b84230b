//! The ordered engine with one owner: the ancestors' cases, their faults, and every way in which a call can end.
//!
//! 1. Time is a manual clock that moves by itself; no test sleeps to wait.
//! 2. What goes to the error hook is captured, and every test says what it expects there.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use yieldpoint::{
    Activity, Budget, Call, Co, CoroutineId, Error, ErrorKind, EventLoop, Handle, ManualClock,
    Ordered, OrderedDoor, Outcome, Resolver, Result, ms,
    ordered::{AfterFailure, FailureKind, Permit},
};

type Log<T> = Rc<RefCell<Vec<T>>>;

/// A loop, and what its error hook hears.
fn quiet() -> (EventLoop, Log<String>) {
    let heard = Log::default();
    let hook = Rc::clone(&heard);
    let event_loop = EventLoop::builder()
        .clock(&ManualClock::auto())
        .on_error(move |incident| hook.borrow_mut().push(incident.to_string()))
        .build()
        .expect("a loop");
    (event_loop, heard)
}

/// Runs a body on a loop whose error hook must hear nothing.
fn run<T>(body: impl AsyncFnOnce(Co) -> Result<T>) -> T {
    let (mut event_loop, heard) = quiet();
    let value = event_loop.block_on(body).expect("the body ends well");
    assert_eq!(*heard.borrow(), [""; 0]);
    value
}

/// Runs a loop until nothing is left.
fn run_dry(event_loop: &mut EventLoop) {
    let outcome = event_loop.run().expect("it runs");
    assert!(matches!(outcome, Outcome::Done), "{outcome:?}");
}

/// Makes one turn of so many steps.
fn turn(event_loop: &mut EventLoop, steps: usize) {
    let _ = event_loop.turn(Budget::steps(steps)).expect("a turn");
}

/// The coroutine a call was last made in.
type LastId = Rc<Cell<Option<CoroutineId>>>;

/// Polls a future once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx))).await
}

/// Operations that a test completes by hand, oldest first.
#[derive(Clone, Default)]
struct Operations(Rc<RefCell<Vec<Resolver<()>>>>);

impl Operations {
    async fn run(&self, call: &Co) -> Result {
        call.task(|done| self.0.borrow_mut().push(done)).await
    }
    fn len(&self) -> usize {
        self.0.borrow().len()
    }
    fn complete(&self, index: usize) {
        let done = self.0.borrow_mut().remove(index);
        done.resolve(());
    }
}

/// An engine whose calls note their number once their operation is completed.
fn noting(handle: &Handle, operations: &Operations) -> (Ordered<(), u32>, Log<u32>) {
    let effects = Log::default();
    let (operations, noted) = (operations.clone(), Rc::clone(&effects));
    let engine =
        Ordered::with_state(()).serve(handle, async move |call: Call, (), n: u32| -> Result {
            operations.run(&call).await?;
            noted.borrow_mut().push(n);
            Ok(())
        });
    (engine, effects)
}

async fn settle(co: &Co) {
    for _ in 0..8 {
        co.yield_now().await.expect("nobody cancels");
    }
}

#[track_caller]
fn assert_once(heard: &Log<String>, text: &str) {
    let heard = heard.borrow();
    assert!(heard.len() == 1 && heard[0].contains(text), "{heard:?}");
}

// The ancestors' cases.

/// C085
#[test]
fn a_call_that_completes_at_once_and_one_completed_later_both_set_the_state() {
    run(async |co| {
        let operations = Operations::default();
        let later = operations.clone();
        let engine = Ordered::with_state(0).serve(
            co.handle(),
            async move |call: Call, state: &mut u32, wait: bool| -> Result {
                if wait {
                    later.run(&call).await?;
                }
                *state += 1;
                Ok(())
            },
        );
        engine.ask(false).await?;
        engine.try_send(true)?;
        settle(&co).await;
        operations.complete(0);
        assert_eq!(engine.finish().await?, 2);
        Ok(())
    });
}

/// C086
#[test]
fn three_calls_completed_in_order_take_effect_in_order_and_one_is_outstanding() {
    run(async |co| {
        let operations = Operations::default();
        let (engine, effects) = noting(co.handle(), &operations);
        for n in 1..=3 {
            engine.try_send(n)?;
        }
        for done in 0..3 {
            settle(&co).await;
            assert_eq!((operations.len(), effects.borrow().len()), (1, done));
            operations.complete(0);
        }
        engine.finish().await?;
        assert_eq!(*effects.borrow(), [1, 2, 3]);
        Ok(())
    });
}

/// C087
#[test]
fn completions_taken_from_the_wrong_end_change_nothing() {
    run(async |co| {
        let operations = Operations::default();
        let (engine, effects) = noting(co.handle(), &operations);
        for n in 1..=3 {
            engine.try_send(n)?;
        }
        for _ in 0..3 {
            settle(&co).await;
            operations.complete(operations.len() - 1);
        }
        engine.finish().await?;
        assert_eq!(*effects.borrow(), [1, 2, 3]);
        Ok(())
    });
}

/// C088
#[test]
fn without_the_engine_the_same_calls_take_effect_out_of_order() {
    run(async |co| {
        let operations = Operations::default();
        let effects = Log::default();
        for n in 1..=3 {
            let (operations, effects) = (operations.clone(), Rc::clone(&effects));
            drop(co.handle().spawn(async move |co| -> Result {
                operations.run(&co).await?;
                effects.borrow_mut().push(n);
                Ok(())
            }));
        }
        settle(&co).await;
        for _ in 0..3 {
            operations.complete(operations.len() - 1);
            settle(&co).await;
        }
        assert_eq!(*effects.borrow(), [3, 2, 1]);
        Ok(())
    });
}

/// C089
#[test]
fn a_send_gives_nothing_whether_idle_or_busy_and_an_ask_gives_the_result_in_both() {
    run(async |co| {
        let engine = Ordered::with_state(0).serve(
            co.handle(),
            async |call: Call, sum: &mut u32, n: u32| -> Result<u32> {
                call.yield_now().await?;
                *sum += n;
                Ok(*sum)
            },
        );
        let () = engine.try_send(1)?;
        let () = engine.send(2).await?;
        assert_eq!(engine.ask(3).await?, 6); // busy
        assert_eq!(engine.ask(4).await?, 10); // idle
        Ok(())
    });
}

/// C090
#[test]
fn two_engines_do_not_exclude_each_other() {
    run(async |co| {
        let operations = Operations::default();
        let (a, _) = noting(co.handle(), &operations);
        let (b, _) = noting(co.handle(), &operations);
        a.try_send(1)?;
        b.try_send(1)?;
        settle(&co).await;
        assert_eq!(operations.len(), 2);
        operations.complete(0);
        operations.complete(0);
        a.finish().await?;
        b.finish().await
    });
}

/// C091: here an engine has one queue, whatever its messages do.
#[test]
fn messages_of_all_kinds_of_one_engine_keep_one_order() {
    enum Message {
        M(u32),
        N(u32),
    }
    run(async |co| {
        let operations = Operations::default();
        let waits = operations.clone();
        let engine = Ordered::with_state(vec![]).serve(
            co.handle(),
            async move |call: Call, log: &mut Vec<String>, message: Message| -> Result {
                waits.run(&call).await?;
                match message {
                    Message::M(n) => log.push(format!("m{n}")),
                    Message::N(n) => log.push(format!("n{n}")),
                }
                Ok(())
            },
        );
        for message in [Message::M(1), Message::N(2), Message::M(3)] {
            engine.try_send(message)?;
        }
        for _ in 0..3 {
            settle(&co).await;
            assert_eq!(operations.len(), 1);
            operations.complete(0);
        }
        assert_eq!(engine.finish().await?, ["m1", "n2", "m3"]);
        Ok(())
    });
}

/// C092, and the ancestor's swallowed error.
#[test]
fn a_call_that_fails_after_its_operation_is_reported_once_and_the_rest_runs() {
    let (mut event_loop, heard) = quiet();
    let log = event_loop
        .block_on(async |co| -> Result<Vec<u32>> {
            let engine = Ordered::with_state(vec![]).named("sync").serve(
                co.handle(),
                async |call: Call, log: &mut Vec<u32>, n: u32| -> Result {
                    call.sleep(ms(1)).await?;
                    log.push(n);
                    if n == 1 {
                        Err(Error::other("boom"))
                    } else {
                        Ok(())
                    }
                },
            );
            for n in 1..=3 {
                engine.try_send(n)?;
            }
            engine.finish().await
        })
        .expect("it ends well");
    assert_eq!(log, [1, 2, 3]);
    assert_once(&heard, "a handler of sync (created at ");
    assert_once(&heard, "failed: boom");
}

/// C093
#[test]
fn a_first_call_that_fails_at_once_tells_its_asker_and_the_next_starts_at_once() {
    run(async |co| {
        let engine = Ordered::with_state(()).serve(
            co.handle(),
            async |_: Call, (), n: u32| -> Result<u32> {
                if n == 1 {
                    Err(Error::other("first"))
                } else {
                    Ok(n)
                }
            },
        );
        let error = engine.ask(1).await.expect_err("the handler failed");
        assert_eq!(error.to_string(), "first");
        assert_eq!(engine.ask(2).await?, 2);
        Ok(())
    });
}

/// C094
#[test]
fn a_leaked_key_is_the_calls_failure_and_the_next_call_starts_with_a_clean_ledger() {
    let (mut event_loop, heard) = quiet();
    event_loop
        .block_on(async |co| -> Result {
            let engine = Ordered::with_state(0).serve(
                co.handle(),
                async |call: Call, state: &mut u32, (): ()| -> Result {
                    *state += 1;
                    drop(call.callback::<()>("late")?); // KeyReuse, if it were still there
                    Ok(())
                },
            );
            engine.try_send(())?;
            engine.try_send(())?;
            let error = engine.ask(()).await.expect_err("it leaked");
            assert!(error.is_leaked(), "{error}");
            assert_eq!(engine.finish().await?, 3);
            Ok(())
        })
        .expect("it ends well");
    let heard = heard.borrow();
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(
        heard
            .iter()
            .all(|text| text.contains("1 key pending: \"late\"")),
        "{heard:?}"
    );
}

/// C095
#[test]
fn a_call_made_from_inside_a_call_starts_after_it_has_ended() {
    run(async |co| {
        let engine = Ordered::with_state(vec![]).serve(
            co.handle(),
            async |call: Call, log: &mut Vec<String>, n: u32| -> Result {
                log.push(format!("start {n}"));
                if n == 1 {
                    let engine: OrderedDoor<u32> = call.engine();
                    engine.try_send(2)?;
                    engine.send(3).await?; // there is room: no wait
                }
                call.sleep(ms(1)).await?;
                log.push(format!("end {n}"));
                Ok(())
            },
        );
        engine.try_send(1)?;
        let log = engine.finish().await?;
        assert_eq!(
            log,
            ["start 1", "end 1", "start 2", "end 2", "start 3", "end 3"]
        );
        Ok(())
    });
}

/// C096
#[test]
fn every_wait_for_ones_own_engine_is_refused_at_once() {
    run(async |co| {
        let own = Rc::new(RefCell::new(None::<Ordered<Vec<String>, u32>>));
        let door = Rc::clone(&own);
        let engine = Ordered::with_state(vec![]).bound(1).named("chat").serve(
            co.handle(),
            async move |call: Call, log: &mut Vec<String>, n: u32| -> Result {
                if n > 0 {
                    return Ok(());
                }
                let engine: OrderedDoor<u32> = call.engine();
                let mut refused = vec![engine.ask(1).await.expect_err("ask")];
                engine.try_send(1)?; // full now
                refused.push(engine.send(2).await.expect_err("send"));
                refused.push(engine.reserve().await.expect_err("reserve"));
                let strong = door.take().expect("the test put it there");
                refused.push(strong.clone().finish().await.expect_err("finish"));
                refused.push(strong.drain(ms(1)).await.expect_err("drain"));
                for error in refused {
                    assert!(
                        matches!(error.kind(), ErrorKind::Deadlock { .. }),
                        "{error:?}"
                    );
                    log.push(error.to_string());
                }
                Ok(())
            },
        );
        own.replace(Some(engine.clone()));
        engine.try_send(0)?;
        settle(&co).await;
        assert!(own.borrow().is_none(), "it ran");
        let log = engine.finish().await?;
        assert_eq!(log.len(), 5);
        assert!(
            log[0].contains("the handler of chat waits for a result of chat"),
            "{}",
            log[0]
        );
        assert!(log[1].contains("waits for room of chat"), "{}", log[1]);
        assert!(log[3].contains("waits for the end of chat"), "{}", log[3]);
        Ok(())
    });
}

/// The same from outside is no such wait.
#[test]
fn another_coroutine_may_ask_while_the_handler_runs() {
    run(async |co| {
        let engine = Ordered::with_state(()).serve(
            co.handle(),
            async |call: Call, (), n: u32| -> Result<u32> {
                if n == 0 {
                    let engine: OrderedDoor<u32, u32> = call.engine();
                    let asked = call.handle().spawn(async move |_| engine.ask(1).await);
                    drop(asked); // joining it would wait for oneself in two steps
                }
                Ok(n)
            },
        );
        assert_eq!(engine.ask(0).await?, 0);
        engine.finish().await
    });
}

/// C097
#[test]
fn behind_a_call_that_never_completes_the_bound_refuses_and_gives_back() {
    let (mut event_loop, heard) = quiet();
    event_loop
        .block_on(async |co| -> Result {
            let operations = Operations::default();
            let (engine, effects) = noting(co.handle(), &operations);
            engine.try_send(0)?;
            settle(&co).await;
            let mut given_back = vec![];
            for n in 1..=1500 {
                if let Err(refused) = engine.try_send(n) {
                    let kind = refused.error().kind();
                    assert!(matches!(kind, ErrorKind::Refused { limit: 1024, .. }));
                    given_back.push(refused.into_message());
                }
            }
            assert_eq!(engine.len(), 1024);
            assert_eq!(given_back, (1025..=1500).collect::<Vec<_>>());
            let drained = engine.drain(ms(5)).await?;
            assert_eq!(drained.unhandled, (1..=1024).collect::<Vec<_>>());
            assert_eq!(*effects.borrow(), [0; 0]);
            Ok(())
        })
        .expect("it ends well");
    assert_once(&heard, "its engine was drained and the limit ran out");
}

/// C098: queued calls still run after the connection, here the last door, is closed; each exactly once.
#[test]
fn after_the_last_door_is_dropped_the_queued_calls_run_once_and_the_state_goes_after_them() {
    let (mut event_loop, heard) = quiet();
    let (counter, log) = (Rc::new(()), Log::default());
    let (state, noted) = (Rc::clone(&counter), Rc::clone(&log));
    let engine = Ordered::with_state(state).serve(
        &event_loop.handle(),
        async move |call: Call, _: &mut Rc<()>, n: u32| -> Result {
            call.sleep(ms(1)).await?;
            noted.borrow_mut().push(n);
            Ok(())
        },
    );
    let weak = engine.downgrade();
    for n in 1..=3 {
        engine.try_send(n).expect("there is room");
    }
    drop(engine);
    assert_eq!(Rc::strong_count(&counter), 2);
    run_dry(&mut event_loop);
    assert_eq!(*log.borrow(), [1, 2, 3]);
    assert_eq!(Rc::strong_count(&counter), 1);
    assert_eq!(weak.try_send(4).expect_err("it is gone").into_message(), 4);
    assert_eq!(*heard.borrow(), [""; 0]);
}

// The ancestor's faults.

#[test]
fn a_hundred_thousand_queued_calls_that_end_at_once_need_no_stack_and_starve_nobody() {
    run(async |co| {
        let engine = Ordered::with_state(0).bound(100_000).serve(
            co.handle(),
            async |_: Call, sum: &mut u64, n: u64| -> Result {
                *sum += n;
                Ok(())
            },
        );
        for n in 1..=100_000 {
            engine.try_send(n)?;
        }
        let mut turns = 0;
        while !engine.is_empty() {
            co.yield_now().await?;
            turns += 1;
        }
        assert!(turns >= 100_000 / 64, "{turns}");
        assert_eq!(engine.finish().await?, 5_000_050_000);
        Ok(())
    });
}

#[test]
fn a_call_that_fails_at_once_neither_stalls_the_queue_nor_lets_an_arrival_overtake() {
    let (mut event_loop, heard) = quiet();
    let log = event_loop
        .block_on(async |co| -> Result<Vec<u32>> {
            let engine = Ordered::with_state(vec![]).serve(
                co.handle(),
                async |_: Call, log: &mut Vec<u32>, n: u32| -> Result {
                    log.push(n);
                    assert_ne!(n, 1, "the bad arguments of a queued call");
                    Err(Error::other("also fails"))
                },
            );
            for n in 0..4 {
                engine.try_send(n)?;
            }
            co.yield_now().await?;
            engine.try_send(4)?;
            engine.finish().await
        })
        .expect("it ends well");
    assert_eq!(log, [0, 1, 2, 3, 4]);
    assert_eq!(
        heard.borrow().len(),
        5,
        "each failure is told once: {heard:?}"
    );
}

#[test]
fn try_send_never_passes_one_who_waits_for_room_and_waiters_are_served_in_order_of_arrival() {
    run(async |co| {
        let operations = Operations::default();
        let effects = Log::default();
        let waits = operations.clone();
        let noted = Rc::clone(&effects);
        let engine = Ordered::with_state(()).bound(1).serve(
            co.handle(),
            async move |call: Call, (), n: u32| -> Result {
                waits.run(&call).await?;
                noted.borrow_mut().push(n);
                Ok(())
            },
        );
        engine.try_send(1)?;
        settle(&co).await; // 1 runs
        engine.try_send(2)?; // full
        let (mut third, mut fourth) = (engine.send(3), engine.send(4));
        assert!(poll_once(&mut fourth).await.is_pending());
        assert!(poll_once(&mut third).await.is_pending());
        assert_eq!(engine.try_send(5).expect_err("two wait").into_message(), 5);
        operations.complete(0);
        settle(&co).await; // 2 runs, and 4 took its place though nobody polled it
        assert_eq!(engine.try_send(5).expect_err("one waits").into_message(), 5);
        assert!(poll_once(&mut third).await.is_pending());
        fourth.await?;
        operations.complete(0);
        settle(&co).await;
        third.await?;
        for _ in 0..2 {
            operations.complete(0);
            settle(&co).await;
        }
        engine.finish().await?;
        assert_eq!(*effects.borrow(), [1, 2, 4, 3]);
        Ok(())
    });
}

// Every way to end.

/// What a call of the engine below is to do.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Do {
    Well,
    Fail,
    Panic,
    Leak,
    Park,
}

/// An engine that counts its calls in its state and does as it is told; it gives the ids of its coroutines out.
fn obedient(handle: &Handle, kinds: &Log<FailureKind>) -> (Ordered<Vec<Do>, Do, usize>, LastId) {
    let id = Rc::new(Cell::new(None));
    let (seen, told) = (Rc::clone(&id), Rc::clone(kinds));
    let engine = Ordered::with_state(vec![])
        .on_failure(move |_, failure| {
            told.borrow_mut().push(failure.kind());
            AfterFailure::GoOn
        })
        .serve(
            handle,
            async move |call: Call, done: &mut Vec<Do>, what: Do| -> Result<usize> {
                seen.set(Some(call.id()));
                done.push(what);
                match what {
                    Do::Well => Ok(done.len()),
                    Do::Fail => Err(Error::other("as told")),
                    Do::Panic => panic!("as told"),
                    Do::Leak => {
                        let _ = call.callback::<()>("kept")?;
                        Ok(0)
                    }
                    Do::Park => {
                        call.sleep(Duration::MAX).await?;
                        Ok(0)
                    }
                }
            },
        );
    (engine, id)
}

/// Asks for `what`, with a call queued behind it, ends it by `end`, and gives the asker's error.
fn ends(what: Do, kind: FailureKind, end: impl Fn(&Handle, CoroutineId)) -> Error {
    run(async |co| {
        let kinds = Log::default();
        let (engine, id) = obedient(co.handle(), &kinds);
        let door = engine.clone();
        let bad = co.handle().spawn(async move |_| door.ask(what).await);
        let door = engine.clone();
        let behind = co.handle().spawn(async move |_| door.ask(Do::Well).await);
        settle(&co).await;
        if what == Do::Park {
            assert_eq!(engine.len(), 1);
        }
        end(co.handle(), id.get().expect("it started"));
        let error = bad.await.expect_err("the call failed");
        assert_eq!(behind.await?, 2, "the state is as the failed call left it");
        assert_eq!(*kinds.borrow(), [kind]);
        assert_eq!(engine.finish().await?, [what, Do::Well]);
        Ok(error)
    })
}

#[test]
fn queue_and_state_survive_an_error() {
    let error = ends(Do::Fail, FailureKind::Error, |_, _| {});
    assert_eq!(error.to_string(), "as told");
}

#[test]
fn queue_and_state_survive_a_panic() {
    let error = ends(Do::Panic, FailureKind::Panicked, |_, _| {});
    assert!(
        error.is_panicked() && error.to_string().contains("as told"),
        "{error}"
    );
}

#[test]
fn queue_and_state_survive_a_leak() {
    let error = ends(Do::Leak, FailureKind::Leaked, |_, _| {});
    assert!(error.is_leaked(), "{error}");
}

#[test]
fn queue_and_state_survive_a_cancel_and_the_next_call_can_wait() {
    let error = ends(Do::Park, FailureKind::Cancelled, |handle, id| {
        assert!(handle.cancel(id, "too slow"));
    });
    assert!(
        matches!(error.kind(), ErrorKind::CoroutineCancelled { reason, .. } if reason == "too slow"),
        "{error}"
    );
}

#[test]
fn queue_and_state_survive_an_abort() {
    let error = ends(Do::Park, FailureKind::Aborted, |handle, id| {
        assert!(handle.abort(id));
    });
    assert!(matches!(error.kind(), ErrorKind::Aborted { .. }), "{error}");
}

#[test]
fn a_call_that_is_cancelled_but_ends_well_is_no_failure_and_the_next_one_can_wait() {
    run(async |co| {
        let id = Rc::new(Cell::new(None));
        let seen = Rc::clone(&id);
        let engine = Ordered::with_state(0).serve(
            co.handle(),
            async move |call: Call, n: &mut u32, (): ()| -> Result<bool> {
                seen.set(Some(call.id()));
                *n += 1;
                Ok(call.sleep(ms(100)).await.is_ok())
            },
        );
        let door = engine.clone();
        let first = co.handle().spawn(async move |_| door.ask(()).await);
        settle(&co).await;
        engine.try_send(())?;
        co.handle().cancel(id.get().expect("it runs"), "hurry");
        assert!(
            !first.await?,
            "its sleep was cut short, and it took that well"
        );
        assert!(engine.ask(()).await?, "this one slept");
        assert_eq!(engine.finish().await?, 3);
        Ok(())
    });
}

#[test]
fn a_cancelled_call_cleans_up_before_the_next_one_starts() {
    run(async |co| {
        let engine = Ordered::with_state(vec![]).serve(
            co.handle(),
            async |call: Call, log: &mut Vec<&'static str>, name: &'static str| -> Result {
                log.push(name);
                let end = call.sleep(ms(100)).await;
                if end.is_err() {
                    call.cleanup(ms(50), call.sleep(ms(1))).await??;
                    log.push("cleaned up");
                }
                end
            },
        );
        let door = engine.clone();
        let first = co.handle().spawn(async move |_| door.ask("first").await);
        settle(&co).await;
        engine.send("second").await?;
        let table = co.handle().snapshot();
        let sleeper = table
            .coroutines
            .iter()
            .find(|info| matches!(info.activity, Activity::Parked { on: "sleep", .. }));
        let id = sleeper.expect("the call sleeps").label.id();
        co.handle().cancel(id, "too slow");
        first.await.expect_err("it was cancelled");
        let log = engine.finish().await?;
        assert_eq!(log, ["first", "cleaned up", "second"]);
        Ok(())
    });
}

#[test]
fn a_worker_cancelled_or_aborted_before_it_started_loses_no_message() {
    for abort in [false, true] {
        run(async |co| {
            let engine = Ordered::with_state(vec![]).serve(
                co.handle(),
                async |call: Call, log: &mut Vec<u32>, n: u32| -> Result {
                    call.sleep(ms(1)).await?;
                    log.push(n);
                    Ok(())
                },
            );
            engine.try_send(1)?;
            engine.try_send(2)?;
            let worker = co.handle().snapshot();
            let worker = worker
                .coroutines
                .iter()
                .find(|info| info.label.id() != co.id());
            let worker = worker.expect("it was spawned").label.id();
            if abort {
                co.handle().abort(worker);
            } else {
                co.handle().cancel(worker, "too early");
            }
            assert_eq!(engine.finish().await?, [1, 2]);
            Ok(())
        });
    }
}

#[test]
fn what_nobody_asked_for_or_waits_for_any_more_goes_to_the_error_hook() {
    for give_up_late in [None, Some(false), Some(true)] {
        let (mut event_loop, heard) = quiet();
        event_loop
            .block_on(async |co| -> Result {
                let (engine, _) = obedient(co.handle(), &Log::default());
                match give_up_late {
                    None => engine.try_send(Do::Panic)?,
                    Some(late) => {
                        let mut ask = engine.ask(Do::Panic);
                        assert!(poll_once(&mut ask).await.is_pending());
                        if late {
                            settle(&co).await;
                        }
                        drop(ask);
                    }
                }
                assert_eq!(engine.finish().await?, [Do::Panic]);
                Ok(())
            })
            .expect("it ends well");
        assert_once(&heard, "as told");
    }
}

#[test]
fn the_errors_of_a_user_reach_the_asker_as_they_are() {
    #[derive(Debug)]
    enum Mine {
        Declined(u32),
        Loop(Error),
    }
    impl From<Error> for Mine {
        fn from(error: Error) -> Self {
            Mine::Loop(error)
        }
    }
    impl std::fmt::Display for Mine {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{self:?}")
        }
    }
    run(async |co| {
        let engine = Ordered::with_state(()).serve(
            co.handle(),
            async |_: Call, (), n: u32| -> Result<u32, Mine> {
                assert_ne!(n, 2);
                Err(Mine::Declined(n))
            },
        );
        assert!(matches!(engine.ask(1).await, Err(Mine::Declined(1))));
        assert!(matches!(engine.ask(2).await, Err(Mine::Loop(error)) if error.is_panicked()));
        engine.finish().await
    });
}

#[test]
fn on_failure_repairs_the_state_before_the_next_call() {
    run(async |co| {
        let engine = Ordered::with_state(vec![])
            .on_failure(|state: &mut Vec<u32>, failure| {
                assert_eq!(failure.kind(), FailureKind::Panicked);
                state.clear();
                AfterFailure::GoOn
            })
            .serve(
                co.handle(),
                async |_: Call, state: &mut Vec<u32>, n: u32| -> Result {
                    state.push(n);
                    assert_ne!(n, 2, "half done");
                    Ok(())
                },
            );
        engine.try_send(1)?;
        engine.ask(2).await.expect_err("it panicked");
        engine.try_send(3)?;
        assert_eq!(engine.finish().await?, [3]);
        Ok(())
    });
}

#[test]
fn on_failure_stops_the_engine_and_drain_gives_the_rest_back() {
    run(async |co| {
        let engine = Ordered::with_state(vec![])
            .bound(3)
            .on_failure(|_, _| AfterFailure::Stop)
            .serve(
                co.handle(),
                async |call: Call, log: &mut Vec<u32>, n: u32| -> Result {
                    call.yield_now().await?;
                    log.push(n);
                    if n == 2 {
                        Err(Error::other("stop"))
                    } else {
                        Ok(())
                    }
                },
            );
        engine.try_send(1)?;
        let (mut two, mut three) = (engine.ask(2), engine.ask(3));
        assert!(poll_once(&mut two).await.is_pending());
        assert!(poll_once(&mut three).await.is_pending());
        let mut in_line = engine.send(4);
        assert!(poll_once(&mut in_line).await.is_pending());
        assert_eq!(two.await.expect_err("it failed").to_string(), "stop");
        let dropped = three.await.expect_err("it was dropped");
        assert!(
            matches!(
                dropped.kind(),
                ErrorKind::Dropped {
                    what: "message",
                    ..
                }
            ),
            "{dropped}"
        );
        in_line.await?; // it had got room before the end
        assert_eq!(
            engine.try_send(5).expect_err("it stopped").into_message(),
            5
        );
        let drained = engine.drain(ms(1)).await?;
        assert_eq!((drained.state, drained.unhandled), (vec![1, 2], vec![3, 4]));
        Ok(())
    });
}

#[test]
fn messages_left_over_that_nobody_drains_are_reported() {
    let (mut event_loop, heard) = quiet();
    let engine = Ordered::with_state(())
        .on_failure(|(), _| AfterFailure::Stop)
        .named("ledger")
        .serve(
            &event_loop.handle(),
            async |_: Call, (), _: u32| -> Result { Err(Error::other("stop")) },
        );
    for n in 0..3 {
        engine.try_send(n).expect("there is room");
    }
    drop(engine);
    run_dry(&mut event_loop);
    let heard = heard.borrow();
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(
        heard[1].contains("ledger (created at ")
            && heard[1].ends_with(
                "ended early, and 2 queued messages were dropped unhandled; drain it to get them back"
            ),
        "{heard:?}"
    );
}

#[test]
fn a_hook_that_panics_is_contained_and_the_engine_goes_on() {
    let (mut event_loop, heard) = quiet();
    event_loop
        .block_on(async |co| -> Result {
            let engine = Ordered::with_state(0)
                .on_failure(|_, _| panic!("in the hook"))
                .serve(
                    co.handle(),
                    async |_: Call, n: &mut u32, fail: bool| -> Result {
                        *n += 1;
                        if fail {
                            Err(Error::other("told"))
                        } else {
                            Ok(())
                        }
                    },
                );
            assert_eq!(
                engine.ask(true).await.expect_err("it failed").to_string(),
                "told"
            );
            engine.ask(false).await?;
            assert_eq!(engine.finish().await?, 2);
            Ok(())
        })
        .expect("it ends well");
    assert_once(&heard, "in the hook");
}

// Doors, permits, the end.

#[test]
fn what_callbacks_send_is_handled_in_the_order_in_which_they_ran() {
    run(async |co| {
        let engine = Ordered::with_state(vec![]).serve(
            co.handle(),
            async |call: Call, log: &mut Vec<u64>, n: u64| -> Result {
                call.sleep(ms(7 - n)).await?;
                log.push(n);
                Ok(())
            },
        );
        for n in [4, 2, 6, 1] {
            let engine = engine.clone();
            co.handle()
                .call_later(ms(n), move || engine.try_send(n).expect("there is room"));
        }
        assert_eq!(engine.finish().await?, [1, 2, 4, 6]);
        Ok(())
    });
}

#[test]
fn a_kept_place_is_room_that_nobody_else_gets_and_a_dropped_one_goes_to_the_next() {
    run(async |co| {
        let engine = Ordered::with_state(vec![]).bound(2).serve(
            co.handle(),
            async |_: Call, log: &mut Vec<u32>, n: u32| -> Result {
                log.push(n);
                Ok(())
            },
        );
        let first: Permit<u32> = engine.reserve().await?;
        let second = engine.reserve().await?;
        assert!(engine.try_send(0).is_err());
        let mut given_up = engine.reserve();
        assert!(poll_once(&mut given_up).await.is_pending());
        let mut third = engine.reserve();
        assert!(poll_once(&mut third).await.is_pending());
        drop(given_up); // the wait is lost, no message is
        drop(second);
        let third = third.await?;
        assert!(engine.try_send(0).is_err());
        engine.close(); // what was promised still holds
        third.send(3)?;
        first.send(1)?;
        assert_eq!(engine.finish().await?, [3, 1]);
        Ok(())
    });
}

#[test]
fn a_granted_place_that_is_never_looked_at_is_given_back_on_drop() {
    run(async |co| {
        let engine = Ordered::with_state(0).bound(1).serve(
            co.handle(),
            async |_: Call, n: &mut u32, (): ()| -> Result {
                *n += 1;
                Ok(())
            },
        );
        let permit = engine.reserve().await?;
        let mut granted = engine.reserve();
        assert!(poll_once(&mut granted).await.is_pending());
        drop(permit);
        assert!(engine.try_send(()).is_err());
        drop(granted);
        engine.try_send(())?;
        assert_eq!(engine.finish().await?, 1);
        Ok(())
    });
}

#[test]
fn an_engine_does_not_finish_while_a_place_is_promised() {
    run(async |co| {
        let engine = Ordered::with_state(0).serve(
            co.handle(),
            async |_: Call, sum: &mut u32, n: u32| -> Result {
                *sum += n;
                Ok(())
            },
        );
        let permit = engine.reserve().await?;
        let mut finish = engine.finish();
        assert!(poll_once(&mut finish).await.is_pending());
        permit.send(5)?;
        assert_eq!(finish.await?, 5);
        Ok(())
    });
}

#[test]
fn a_permit_that_a_drain_cuts_off_gives_the_message_back() {
    run(async |co| {
        let engine = Ordered::with_state(())
            .serve(co.handle(), async |_: Call, (), _: u32| -> Result {
                Ok(())
            });
        let late = engine.reserve().await?;
        assert!(engine.drain(Duration::ZERO).await?.unhandled.is_empty());
        let refused = late.send(7).expect_err("it was drained");
        assert_eq!(refused.into_message(), 7);
        Ok(())
    });
}

#[test]
fn a_drain_within_its_limit_handles_everything() {
    run(async |co| {
        let engine = Ordered::with_state(0).serve(
            co.handle(),
            async |call: Call, done: &mut u32, (): ()| -> Result {
                call.sleep(ms(1)).await?;
                *done += 1;
                Ok(())
            },
        );
        for _ in 0..3 {
            engine.try_send(())?;
        }
        let drained = engine.drain(ms(10)).await?;
        assert_eq!((drained.state, drained.unhandled.len()), (3, 0));
        Ok(())
    });
}

/// A value whose `Drop` is the user's, too.
#[test]
fn a_result_that_panics_when_nobody_takes_it_stalls_nothing_and_is_reported() {
    struct Bomb(bool);
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(!self.0, "in the drop of a result");
        }
    }
    let (mut event_loop, heard) = quiet();
    event_loop
        .block_on(async |co| -> Result {
            let engine = Ordered::with_state(0).serve(
                co.handle(),
                async |_: Call, n: &mut u32, armed: bool| -> Result<Bomb> {
                    *n += 1;
                    Ok(Bomb(armed))
                },
            );
            engine.try_send(true)?;
            engine.try_send(false)?;
            assert_eq!(engine.finish().await?, 2);
            Ok(())
        })
        .expect("it ends well");
    assert_once(&heard, "in the drop of a result");
}

#[test]
fn a_message_that_sends_when_it_is_dropped_is_heard() {
    struct Echo(OrderedDoor<Option<Echo>>);
    impl Drop for Echo {
        fn drop(&mut self) {
            let _ = self.0.try_send(None);
        }
    }
    run(async |co| {
        let engine = Ordered::with_state(0).serve(
            co.handle(),
            async |_: Call, n: &mut u32, echo: Option<Echo>| -> Result {
                *n += 1;
                drop(echo);
                Ok(())
            },
        );
        engine.try_send(Some(Echo(engine.downgrade())))?;
        assert_eq!(engine.finish().await?, 2);
        Ok(())
    });
}

#[test]
fn finish_waits_for_every_door_and_gives_the_state_once() {
    run(async |co| {
        let engine = Ordered::with_state(1).serve(
            co.handle(),
            async |_: Call, n: &mut u32, (): ()| -> Result {
                *n += 1;
                Ok(())
            },
        );
        let (other, third) = (engine.clone(), engine.clone());
        let mut finish = engine.finish();
        assert!(poll_once(&mut finish).await.is_pending());
        let mut too = third.finish();
        assert!(poll_once(&mut too).await.is_pending());
        other.try_send(())?;
        drop(other);
        assert_eq!(finish.await?, 2);
        let error = too.await.expect_err("the state was given out");
        assert!(matches!(error.kind(), ErrorKind::Closed { .. }), "{error}");
        Ok(())
    });
}

#[test]
fn the_door_of_a_call_keeps_nothing_alive() {
    let (mut event_loop, heard) = quiet();
    let alive = Rc::new(());
    let kept = Rc::new(RefCell::new(None::<OrderedDoor<()>>));
    let (state, door, handler) = (Rc::clone(&alive), Rc::clone(&kept), Rc::clone(&alive));
    let engine = Ordered::with_state(state).serve(
        &event_loop.handle(),
        async move |call: Call, _: &mut Rc<()>, (): ()| -> Result {
            let _ = &handler;
            door.replace(Some(call.engine()));
            Ok(())
        },
    );
    engine.try_send(()).expect("there is room");
    run_dry(&mut event_loop);
    assert!(kept.borrow().as_ref().is_some_and(OrderedDoor::is_open));
    assert_eq!(Rc::strong_count(&alive), 3);
    drop(engine);
    assert_eq!(Rc::strong_count(&alive), 1, "state and handler are gone");
    let door = kept.take().expect("it was kept");
    assert!(!door.is_open() && door.try_send(()).is_err());
    assert_eq!(*heard.borrow(), [""; 0]);
}

#[test]
fn the_loop_dropped_with_everything_in_flight_drops_everything_and_tells_who_is_left() {
    let (mut event_loop, _) = quiet();
    let alive = Rc::new(());
    let (state, handler) = (Rc::clone(&alive), Rc::clone(&alive));
    let engine = Ordered::with_state(state).bound(2).serve(
        &event_loop.handle(),
        async move |call: Call, _: &mut Rc<()>, message: Rc<()>| -> Result {
            let _own = (Rc::clone(&handler), message);
            call.sleep(Duration::MAX).await
        },
    );
    let remote_engine = Ordered::with_state(()).bound(1).serve(
        &event_loop.handle(),
        async |call: Call, (), _: u32| -> Result { call.sleep(Duration::MAX).await },
    );
    let remote = remote_engine.remote();
    for _ in 0..3 {
        let (engine, message) = (engine.clone(), Rc::clone(&alive));
        drop(
            event_loop
                .handle()
                .spawn(async move |_| -> Result { engine.ask(message).await }),
        );
        turn(&mut event_loop, 100);
    }
    let (waits, message) = (engine.clone(), Rc::clone(&alive));
    drop(
        event_loop
            .handle()
            .spawn(async move |_| -> Result { waits.send(message).await }),
    );
    for n in 0..3 {
        let _ = remote.try_send(n);
        turn(&mut event_loop, 100);
    }
    assert!(Rc::strong_count(&alive) >= 7);
    drop(event_loop);
    assert!(remote.try_send(9).expect_err("gone").error().is_loop_gone());
    assert!(
        remote
            .send_blocking(9)
            .expect_err("gone")
            .error()
            .is_loop_gone()
    );
    let refused = engine.try_send(Rc::clone(&alive)).expect_err("gone");
    assert!(refused.error().is_loop_gone());
    drop(refused);
    drop(engine);
    assert_eq!(Rc::strong_count(&alive), 1);
}

#[test]
fn asks_and_sends_outside_of_the_loop_learn_that_it_is_gone() {
    let (mut event_loop, _) = quiet();
    let engine = Ordered::with_state(()).bound(1).serve(
        &event_loop.handle(),
        async |call: Call, (), (): ()| -> Result { call.sleep(Duration::MAX).await },
    );
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut ask = pin!(engine.ask(()));
    assert!(ask.as_mut().poll(&mut cx).is_pending());
    turn(&mut event_loop, 100);
    let mut queued = pin!(engine.ask(()));
    assert!(queued.as_mut().poll(&mut cx).is_pending());
    let mut in_line = pin!(engine.send(()));
    assert!(in_line.as_mut().poll(&mut cx).is_pending());
    drop(event_loop);
    for poll in [
        ask.poll(&mut cx),
        queued.poll(&mut cx),
        in_line.poll(&mut cx),
    ] {
        assert!(matches!(poll, Poll::Ready(Err(error)) if error.is_loop_gone()));
    }
}

// Other threads.

#[test]
fn what_threads_send_is_handled_in_each_threads_order_and_none_is_lost() {
    let log = run(async |co| {
        let engine = Ordered::with_state(vec![]).bound(3).serve(
            co.handle(),
            async |call: Call, log: &mut Vec<(u32, u32)>, message: (u32, u32)| -> Result {
                if message.1.is_multiple_of(10) {
                    call.yield_now().await?;
                }
                log.push(message);
                Ok(())
            },
        );
        for name in 0..4 {
            let door = engine.remote();
            thread::spawn(move || {
                for n in 0..250 {
                    door.send_blocking((name, n)).expect("the loop is there");
                }
            });
        }
        engine.finish().await
    });
    for name in 0..4 {
        let of_one: Vec<u32> = log.iter().filter(|m| m.0 == name).map(|m| m.1).collect();
        assert_eq!(of_one, (0..250).collect::<Vec<_>>());
    }
    assert_eq!(log.len(), 1000);
}

#[test]
fn send_blocking_blocks_while_there_is_no_room_and_is_released_by_it() {
    run(async |co| {
        let operations = Operations::default();
        let waits = operations.clone();
        let engine = Ordered::with_state(vec![]).bound(1).serve(
            co.handle(),
            async move |call: Call, log: &mut Vec<u32>, n: u32| -> Result {
                waits.run(&call).await?;
                log.push(n);
                Ok(())
            },
        );
        let door = engine.remote();
        let (sent, seen) = mpsc::channel();
        let sender = engine.remote();
        thread::spawn(move || {
            for n in 0..4 {
                sender.send_blocking(n).expect("the loop is there");
                sent.send(n).expect("the test listens");
            }
        });
        // One runs, one is queued, one is in the gate, one blocks.
        let mut accepted = vec![];
        while accepted.len() < 3 || door.waiting() == 0 {
            accepted.extend(seen.try_iter());
            co.yield_now().await?;
        }
        assert_eq!(accepted, [0, 1, 2]);
        assert_eq!((operations.len(), engine.len()), (1, 1));
        assert_eq!(door.try_send(9).expect_err("one waits").into_message(), 9);
        let own = door
            .send_blocking(9)
            .expect_err("this is the loop's thread");
        assert!(matches!(own.error().kind(), ErrorKind::Deadlock { .. }));
        operations.complete(0);
        while operations.len() == 0 {
            co.yield_now().await?;
        }
        assert_eq!(seen.recv().expect("it was released"), 3);
        assert_eq!(door.waiting(), 0);
        drop(door);
        let finish = co.handle().spawn(async move |_| engine.finish().await);
        while !finish.is_finished() {
            if operations.len() > 0 {
                operations.complete(0);
            }
            co.yield_now().await?;
        }
        assert_eq!(finish.await?, [0, 1, 2, 3]);
        Ok(())
    });
}

#[test]
fn a_blocked_thread_gets_its_message_back_when_the_engine_closes() {
    let (mut event_loop, _) = quiet();
    event_loop
        .block_on(async |co| -> Result {
            let engine = Ordered::with_state(())
                .bound(1)
                .serve(co.handle(), async |call: Call, (), _: u32| -> Result {
                    call.yield_now().await
                });
            let permit = engine.reserve().await?; // nothing can be taken in
            let door = engine.remote();
            let sender = engine.remote();
            let (sent, seen) = mpsc::channel();
            thread::spawn(move || {
                sender.send_blocking(1).expect("there is room in the gate");
                let _ = sent.send(sender.send_blocking(2));
            });
            while door.waiting() == 0 {
                co.yield_now().await?;
            }
            engine.close();
            let refused = seen
                .recv()
                .expect("it was released")
                .expect_err("it is closed");
            assert!(matches!(refused.error().kind(), ErrorKind::Closed { .. }));
            assert_eq!(refused.into_message(), 2);
            drop(permit);
            engine.finish().await
        })
        .expect("it ends well");
}

#[test]
fn the_doors_cross_threads_where_they_say_so() {
    fn crosses<T: Send + Sync + Clone>() {}
    crosses::<yieldpoint::OrderedRemote<u32>>();
    crosses::<yieldpoint::OrderedRemote<Cell<u32>>>();
}

// What it costs.

#[test]
fn in_steady_state_a_message_allocates_nothing_and_spawns_nothing() {
    run(async |co| {
        let engine = Ordered::with_state(0).bound(4096).serve(
            co.handle(),
            async |_: Call, n: &mut u64, (): ()| -> Result {
                *n += 1;
                Ok(())
            },
        );
        let warm = async || -> Result {
            for _ in 0..4096 {
                engine.try_send(())?;
            }
            while engine.len() > 1024 {
                co.yield_now().await?;
            }
            Ok(())
        };
        warm().await?;
        let sent = allocation_counter::measure(|| {
            for _ in 0..3072 {
                engine.try_send(()).expect("there is room");
            }
        });
        assert_eq!(sent.count_total, 0);
        let before = co.handle().snapshot().coroutines.len();
        assert_eq!(before, 2, "this one and the worker");
        assert_eq!(engine.finish().await?, 7168);
        Ok(())
    });
}

#[test]
fn handling_a_queued_message_allocates_nothing() {
    let (mut event_loop, _) = quiet();
    let engine = Ordered::with_state(0).bound(8192).serve(
        &event_loop.handle(),
        async |_: Call, n: &mut u64, (): ()| -> Result {
            *n += 1;
            Ok(())
        },
    );
    for _ in 0..8192 {
        engine.try_send(()).expect("there is room");
    }
    turn(&mut event_loop, 4);
    let before = engine.len();
    let handled = allocation_counter::measure(|| {
        turn(&mut event_loop, 64);
    });
    assert!(before - engine.len() >= 60 * 64, "{} left", engine.len());
    assert_eq!(handled.count_total, 0);
}

/// An error that can be shown but not made from ours.
struct Unmakable;

impl From<Error> for Unmakable {
    fn from(_: Error) -> Self {
        panic!("cannot be made")
    }
}

impl std::fmt::Display for Unmakable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("unmakable")
    }
}

#[test]
fn queue_and_state_survive_an_error_type_whose_from_panics() {
    let (mut event_loop, heard) = quiet();
    let state = event_loop
        .block_on(async |co| -> Result<Vec<u32>> {
            let id = LastId::default();
            let seen = Rc::clone(&id);
            let engine = Ordered::with_state(vec![]).serve(
                co.handle(),
                async move |call: Call, log: &mut Vec<u32>, n: u32| -> Result<(), Unmakable> {
                    seen.set(Some(call.id()));
                    log.push(n);
                    if n == 1 {
                        let _ = call.sleep(Duration::from_secs(60)).await;
                    }
                    Ok(())
                },
            );
            engine.send(1).await?;
            engine.send(2).await?;
            settle(&co).await;
            assert!(co.handle().abort(id.get().expect("it runs")));
            co.timeout(ms(50), engine.finish()).await
        })
        .expect("the engine goes on");
    assert_eq!(state, [1, 2]);
    assert_once(&heard, "cannot be made");
}

#[test]
fn results_of_many_asks_come_in_the_order_of_asking_which_is_that_of_completion() {
    run(async |co| {
        let engine = Ordered::with_state(0).serve(
            co.handle(),
            async |call: Call, sum: &mut u64, n: u64| -> Result<u64> {
                call.sleep(ms(n)).await?;
                *sum += n;
                Ok(*sum)
            },
        );
        let all = co.all([30, 10, 20].map(|n| engine.ask(n))).await;
        let all: Vec<u64> = all.into_iter().collect::<Result<_>>()?;
        assert_eq!(all, [30, 40, 60]);
        let mut completed = co.as_completed([3, 1, 2].map(|n| engine.ask(n)));
        let mut order = vec![];
        while let Some((place, result)) = completed.next().await {
            order.push((place, result?));
        }
        assert_eq!(
            order,
            [(0, 63), (1, 64), (2, 66)],
            "one owner: none is done early"
        );
        Ok(())
    });
}
