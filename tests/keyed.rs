//! The keyed ordered engine: the ancestors' faults, every limit, every way in which a call can end, and what becomes of its key.
//!
//! 1. Time is a manual clock that moves by itself; no test sleeps to wait.
//! 2. What goes to the error hook is captured, and every test says what it expects there.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use yieldpoint::{
    Budget, Call, Co, Error, ErrorKind, EventLoop, Handle, Keyed, ManualClock, Outcome, Resolver,
    Result, ms,
    ordered::{AfterKeyFailure, DropReason, FailureKind, HeadLimit, KeyedDoor, Overflow},
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

/// Runs a body on a loop, and gives what its error hook heard.
fn run_heard(body: impl AsyncFnOnce(Co) -> Result) -> Vec<String> {
    let (mut event_loop, heard) = quiet();
    event_loop.block_on(body).expect("the body ends well");
    heard.take()
}

/// Operations that a test completes by hand, by name.
#[derive(Clone, Default)]
struct Operations(Rc<RefCell<HashMap<u32, Resolver<()>>>>);

impl Operations {
    async fn run(&self, call: &Co, name: u32) -> Result {
        call.task(|done| {
            self.0.borrow_mut().insert(name, done);
        })
        .await
    }
    fn running(&self) -> Vec<u32> {
        let mut running: Vec<u32> = self.0.borrow().keys().copied().collect();
        running.sort_unstable();
        running
    }
    fn complete(&self, name: u32) {
        let done = self.0.borrow_mut().remove(&name).expect("it is running");
        done.resolve(());
    }
}

/// An engine whose keys are the tens of its messages, and whose calls note their number once their operation is completed.
fn noting(handle: &Handle) -> (Keyed<u32, (), u32>, Operations, Log<u32>) {
    let (operations, effects) = (Operations::default(), Log::default());
    let (run, noted) = (operations.clone(), Rc::clone(&effects));
    let engine = Keyed::with_state(|_: &u32| ()).serve(
        handle,
        async move |call: Call<u32>, (): &mut (), n: u32| -> Result {
            assert_eq!(*call.key(), n / 10);
            run.run(&call, n).await?;
            noted.borrow_mut().push(n);
            Ok(())
        },
    );
    (engine, operations, effects)
}

async fn settle(co: &Co) {
    for _ in 0..8 {
        co.yield_now().await.expect("nobody cancels");
    }
}

#[track_caller]
fn assert_once(heard: &[String], text: &str) {
    assert!(heard.len() == 1 && heard[0].contains(text), "{heard:?}");
}

// Order.

#[test]
fn messages_of_one_key_run_in_order_and_those_of_others_at_once() {
    run(async |co| {
        let (engine, operations, effects) = noting(co.handle());
        for n in [10, 11, 20, 30, 21] {
            engine.try_send(n / 10, n)?;
        }
        settle(&co).await;
        assert_eq!(operations.running(), [10, 20, 30]);
        operations.complete(20);
        settle(&co).await;
        assert_eq!(operations.running(), [10, 21, 30]);
        operations.complete(10);
        operations.complete(30);
        settle(&co).await;
        operations.complete(21);
        operations.complete(11);
        engine.finish().await?;
        assert_eq!(*effects.borrow(), [20, 10, 30, 21, 11]);
        Ok(())
    });
}

#[test]
fn a_key_keeps_its_state_until_it_is_forgotten() {
    run(async |co| {
        let engine = Keyed::with_state(|key: &u32| vec![*key]).serve(
            co.handle(),
            async |_: Call<u32>, log: &mut Vec<u32>, n: u32| -> Result<Vec<u32>> {
                log.push(n);
                Ok(log.clone())
            },
        );
        engine.ask(7, 1).await?;
        settle(&co).await;
        assert_eq!(engine.ask(7, 2).await?, [7, 1, 2]);
        assert_eq!(engine.ask(8, 3).await?, [8, 3]);
        settle(&co).await;
        assert!(engine.forget_key(&7));
        assert!(!engine.forget_key(&7));
        assert_eq!(engine.ask(7, 4).await?, [7, 4]);
        Ok(())
    });
}

#[test]
fn state_that_is_dropped_when_its_key_goes_idle_is_made_anew() {
    run(async |co| {
        let made = Rc::new(Cell::new(0));
        let counted = Rc::clone(&made);
        let engine = Keyed::with_state(move |_: &u32| {
            counted.set(counted.get() + 1);
            0
        })
        .drop_idle_state()
        .serve(
            co.handle(),
            async |call: Call<u32>, sum: &mut u32, n: u32| -> Result<u32> {
                call.yield_now().await?;
                *sum += n;
                Ok(*sum)
            },
        );
        engine.try_send(1, 5)?;
        assert_eq!(engine.ask(1, 6).await?, 11);
        settle(&co).await;
        assert_eq!(engine.ask(1, 7).await?, 7);
        assert_eq!(made.get(), 2);
        Ok(())
    });
}

#[test]
fn messages_without_a_key_run_free() {
    run(async |co| {
        let operations = Operations::default();
        let running = operations.clone();
        let engine = Keyed::with_state(|_: &Option<u32>| 0)
            .free(Option::is_none)
            .serve(
                co.handle(),
                async move |call: Call<Option<u32>>, count: &mut u32, n: u32| -> Result<u32> {
                    running.run(&call, n).await?;
                    *count += 1;
                    Ok(*count)
                },
            );
        for n in 1..=2 {
            engine.try_send(Some(1), n)?;
        }
        for n in 3..=5 {
            engine.try_send(None, n)?;
        }
        settle(&co).await;
        assert_eq!(operations.running(), [1, 3, 4, 5]);
        for n in [5, 4, 3, 1] {
            operations.complete(n);
        }
        settle(&co).await;
        operations.complete(2);
        let free = engine.ask(None, 6);
        let free = co.handle().spawn(async move |_| free.await);
        settle(&co).await;
        operations.complete(6);
        assert_eq!(free.await?, 1, "its state is its own");
        engine.finish().await
    });
}

#[test]
fn what_threads_send_is_handled_in_each_threads_order_for_each_key() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let log = Log::default();
    let noted = Rc::clone(&log);
    event_loop
        .block_on(async |co| -> Result {
            let engine = Keyed::with_state(|_: &u32| ()).per_key(3).total(7).serve(
                co.handle(),
                async move |call: Call<u32>, (): &mut (), n: u32| -> Result {
                    if n.is_multiple_of(3) {
                        call.yield_now().await?;
                    }
                    noted.borrow_mut().push((*call.key(), n));
                    Ok(())
                },
            );
            for thread in 0..3 {
                let door = engine.remote();
                thread::spawn(move || {
                    for n in 0..300 {
                        door.send_blocking(n % 5, thread * 1000 + n)
                            .expect("the loop is there");
                    }
                });
            }
            engine.finish().await
        })
        .expect("it ends well");
    assert_eq!(log.borrow().len(), 900);
    for thread in 0..3 {
        for key in 0..5 {
            let log = log.borrow();
            let of_key = log.iter().filter(|(k, n)| *k == key && n / 1000 == thread);
            let numbers: Vec<u32> = of_key.map(|(_, n)| n % 1000).collect();
            let expected: Vec<u32> = (0..300).filter(|n| n % 5 == key).collect();
            assert_eq!(numbers, expected);
        }
    }
}

// The ancestors' faults.

#[test]
fn a_hundred_thousand_queued_calls_that_end_at_once_need_no_stack_and_starve_nobody() {
    run(async |co| {
        let engine = Keyed::with_state(|_: &u32| 0)
            .per_key(100_000)
            .total(100_000)
            .serve(
                co.handle(),
                async |_: Call<u32>, sum: &mut u64, n: u64| -> Result<u64> {
                    *sum += n;
                    Ok(*sum)
                },
            );
        for n in 1..100_000 {
            engine.try_send(0, n)?;
        }
        let turns = Rc::new(Cell::new(0));
        let counted = Rc::clone(&turns);
        let other = co.handle().spawn(async move |co| -> Result {
            loop {
                co.yield_now().await?;
                counted.set(counted.get() + 1);
            }
        });
        assert_eq!(engine.ask(0, 100_000).await?, 5_000_050_000);
        other.abort();
        assert!(turns.get() > 1000, "{}", turns.get());
        Ok(())
    });
}

#[test]
fn a_call_that_fails_at_once_neither_stalls_its_key_nor_lets_an_arrival_overtake() {
    let heard = run_heard(async |co| {
        let log = Log::default();
        let noted = Rc::clone(&log);
        let engine = Keyed::with_state(|_: &u32| ()).serve(
            co.handle(),
            async move |call: Call<u32>, (): &mut (), n: u32| -> Result {
                noted.borrow_mut().push(n);
                if n == 2 {
                    let engine: KeyedDoor<u32, u32> = call.engine();
                    engine.try_send(1, 4)?;
                    return Err(Error::other("bad argument"));
                }
                Ok(())
            },
        );
        for n in 1..=3 {
            engine.try_send(1, n)?;
        }
        engine.finish().await?;
        assert_eq!(*log.borrow(), [1, 2, 3, 4]);
        Ok(())
    });
    assert_once(&heard, "a keyed engine[1]");
    assert_once(&heard, "bad argument");
}

/// What a call is to do.
#[derive(Clone, Copy, Debug)]
enum Do {
    Nothing,
    Fail,
    Panic,
    Leak,
    Wait,
}

/// An engine that obeys.
type Obedient = Keyed<u32, Vec<u32>, (u32, Do), usize>;

/// Keys and numbers of messages that were dropped, and why.
type Dropped = Log<(u32, u32, DropReason)>;

/// An engine that obeys, and what its hooks were told.
fn obedient(handle: &Handle, after: AfterKeyFailure) -> (Obedient, Log<FailureKind>, Dropped) {
    let (kinds, dropped) = (Log::default(), Log::default());
    let (told, lost) = (Rc::clone(&kinds), Rc::clone(&dropped));
    let engine = Keyed::with_state(|_: &u32| vec![])
        .named("obedient")
        .on_drop(move |key, (n, _), why| lost.borrow_mut().push((*key, n, why)))
        .on_failure(move |_, _, failure| {
            told.borrow_mut().push(failure.kind());
            after
        })
        .serve(
            handle,
            async |call: Call<u32>, log: &mut Vec<u32>, (n, what): (u32, Do)| -> Result<usize> {
                log.push(n);
                match what {
                    Do::Nothing => Ok(log.len()),
                    Do::Fail => Err(Error::other("as told")),
                    Do::Panic => panic!("as told"),
                    Do::Leak => call.callback::<()>("left").map(|done| {
                        drop(done);
                        0
                    }),
                    Do::Wait => {
                        call.sleep(ms(1000)).await?;
                        Ok(log.len())
                    }
                }
            },
        );
    (engine, kinds, dropped)
}

#[test]
fn key_and_state_survive_every_end_of_a_call_and_the_next_one_can_wait() {
    let ends = [
        (Do::Fail, FailureKind::Error),
        (Do::Panic, FailureKind::Panicked),
        (Do::Leak, FailureKind::Leaked),
        (Do::Wait, FailureKind::Cancelled),
    ];
    for (what, kind) in ends {
        run(async |co| {
            let (engine, kinds, _) = obedient(co.handle(), AfterKeyFailure::Continue);
            let asked = engine.ask(1, (1, what));
            let asked = co.handle().spawn(async move |_| asked.await);
            settle(&co).await;
            engine.cancel_key(&1, "as told");
            engine.try_send(1, (2, Do::Wait))?;
            let error = asked.await.expect_err("it failed");
            let same = match kind {
                FailureKind::Error => error.to_string() == "as told",
                FailureKind::Panicked => error.is_panicked(),
                FailureKind::Leaked => error.is_leaked(),
                _ => {
                    matches!(error.kind(), ErrorKind::CoroutineCancelled { reason, .. } if reason == "as told")
                }
            };
            assert!(same, "{error}");
            assert_eq!(engine.ask(1, (3, Do::Nothing)).await?, 3);
            assert_eq!(*kinds.borrow(), [kind]);
            Ok(())
        });
    }
}

#[test]
fn a_parked_key_keeps_its_queue_and_goes_on_when_it_is_resumed() {
    let heard = run_heard(async |co| {
        let (engine, _, dropped) = obedient(co.handle(), AfterKeyFailure::ParkKey);
        engine.try_send(1, (1, Do::Fail))?;
        engine.try_send(1, (2, Do::Nothing))?;
        settle(&co).await;
        engine.try_send(1, (3, Do::Nothing))?;
        assert_eq!(engine.ask(2, (4, Do::Nothing)).await?, 1, "others go on");
        assert!(engine.resume_key(&1));
        assert!(!engine.resume_key(&1));
        assert_eq!(engine.ask(1, (5, Do::Nothing)).await?, 4);
        assert_eq!(*dropped.borrow(), []);
        Ok(())
    });
    assert_once(&heard, "a handler of obedient[1]");
}

#[test]
fn a_stopped_key_hands_its_queue_to_the_hook_and_refuses_until_it_is_restarted() {
    let heard = run_heard(async |co| {
        let (engine, _, dropped) = obedient(co.handle(), AfterKeyFailure::StopKey);
        engine.try_send(1, (1, Do::Fail))?;
        engine.try_send(1, (2, Do::Nothing))?;
        let asked = engine.ask(1, (3, Do::Nothing));
        let error = asked.await.expect_err("the key was stopped");
        assert!(matches!(error.kind(), ErrorKind::Dropped { .. }), "{error}");
        let stopped = DropReason::Stopped;
        assert_eq!(*dropped.borrow(), [(1, 2, stopped), (1, 3, stopped)]);
        let refused = engine
            .try_send(1, (4, Do::Nothing))
            .expect_err("it is stopped");
        assert!(matches!(refused.error().kind(), ErrorKind::Closed { .. }));
        assert!(engine.restart_key(&1));
        assert_eq!(
            engine.ask(1, (5, Do::Nothing)).await?,
            1,
            "the state is new"
        );
        Ok(())
    });
    assert_once(&heard, "as told");
}

#[test]
fn a_stopped_key_that_is_forgotten_starts_afresh() {
    let heard = run_heard(async |co| {
        let (engine, _, _) = obedient(co.handle(), AfterKeyFailure::StopKey);
        engine.try_send(1, (1, Do::Fail))?;
        settle(&co).await;
        assert!(engine.forget_key(&1));
        assert_eq!(engine.ask(1, (5, Do::Nothing)).await?, 1);
        Ok(())
    });
    assert_once(&heard, "as told");
}

#[test]
fn a_key_forgotten_while_its_call_runs_loses_its_queue_at_once_and_its_state_after_the_call() {
    run(async |co| {
        let (engine, _, dropped) = obedient(co.handle(), AfterKeyFailure::Continue);
        let running = engine.ask(1, (1, Do::Wait));
        let running = co.handle().spawn(async move |_| running.await);
        settle(&co).await;
        engine.try_send(1, (2, Do::Nothing))?;
        assert!(engine.forget_key(&1));
        assert_eq!(*dropped.borrow(), [(1, 2, DropReason::Forgotten)]);
        engine.try_send(1, (3, Do::Nothing))?;
        assert_eq!(running.await?, 1);
        assert_eq!(engine.ask(1, (4, Do::Nothing)).await?, 2, "3 and 4");
        Ok(())
    });
}

// Limits.

#[test]
fn no_more_calls_run_at_a_time_than_are_allowed_and_every_key_gets_its_turn() {
    run(async |co| {
        let (now, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let order = Log::default();
        let (running, peak, noted) = (Rc::clone(&now), Rc::clone(&most), Rc::clone(&order));
        let engine = Keyed::with_state(|_: &u32| ()).concurrency(2).serve(
            co.handle(),
            async move |call: Call<u32>, (): &mut (), n: u32| -> Result {
                running.set(running.get() + 1);
                peak.set(peak.get().max(running.get()));
                noted.borrow_mut().push((*call.key(), n));
                call.yield_now().await?;
                running.set(running.get() - 1);
                Ok(())
            },
        );
        for n in 0..3 {
            for key in 0..4 {
                engine.try_send(key, n)?;
            }
        }
        engine.finish().await?;
        assert_eq!(most.get(), 2);
        let round = |n| [(0, n), (1, n), (2, n), (3, n)];
        assert_eq!(*order.borrow(), [round(0), round(1), round(2)].concat());
        Ok(())
    });
}

#[test]
fn a_key_with_more_weight_gets_more_messages_in_its_turn() {
    run(async |co| {
        let order = Log::default();
        let noted = Rc::clone(&order);
        let engine = Keyed::with_state(|_: &char| ())
            .concurrency(1)
            .weight(|key| if *key == 'h' { 3 } else { 1 })
            .serve(
                co.handle(),
                async move |call: Call<char>, (): &mut (), (): ()| -> Result {
                    noted.borrow_mut().push(*call.key());
                    call.yield_now().await
                },
            );
        for _ in 0..6 {
            engine.try_send('h', ())?;
        }
        for _ in 0..3 {
            engine.try_send('l', ())?;
        }
        engine.finish().await?;
        assert_eq!(order.borrow().iter().collect::<String>(), "hhhlhhhll");
        Ok(())
    });
}

#[test]
fn per_key_total_and_bytes_refuse_what_is_too_much() {
    run(async |co| {
        let engine = Keyed::with_state(|_: &u32| ())
            .per_key(2)
            .total(3)
            .bytes(10, |text: &&str| text.len())
            .serve(
                co.handle(),
                async |_: Call<u32>, (): &mut (), _: &str| -> Result { Ok(()) },
            );
        engine.try_send(1, "1234567")?;
        let refused = engine.try_send(2, "1234").expect_err("eleven bytes");
        assert_eq!(refused.into_message(), "1234");
        let refused = engine
            .try_send(2, "12345678901")
            .expect_err("more than ever fits");
        assert_eq!(refused.into_message(), "12345678901");
        engine.try_send(1, "1")?;
        let refused = engine.try_send(1, "").expect_err("two of a key");
        assert!(
            refused.to_string().contains("queue of this key"),
            "{refused}"
        );
        engine.try_send(2, "")?;
        let refused = engine.try_send(3, "").expect_err("three in all");
        assert!(refused.to_string().contains("keyed engine"), "{refused}");
        let error = engine
            .send(3, "12345678901")
            .await
            .expect_err("more than ever fits");
        assert!(
            matches!(error.kind(), ErrorKind::Refused { limit: 10, .. }),
            "{error}"
        );
        engine.finish().await
    });
}

#[test]
fn waiters_of_a_key_are_served_in_order_and_keys_take_turns_for_room_of_all() {
    run(async |co| {
        let order = Log::default();
        let noted = Rc::clone(&order);
        let engine = Keyed::with_state(|_: &char| ())
            .total(1)
            .concurrency(1)
            .serve(
                co.handle(),
                async move |call: Call<char>, (): &mut (), n: u32| -> Result {
                    noted.borrow_mut().push((*call.key(), n));
                    call.yield_now().await
                },
            );
        engine.try_send('x', 0)?;
        let mut senders = vec![];
        for (key, n) in [('a', 1), ('a', 2), ('a', 3), ('b', 4), ('b', 5), ('c', 6)] {
            let sending = engine.send(key, n);
            senders.push(co.handle().spawn(async move |_| sending.await));
        }
        co.yield_now().await?;
        assert!(engine.try_send('z', 9).is_err(), "it passes nobody");
        for sender in senders {
            sender.await?;
        }
        engine.finish().await?;
        assert_eq!(
            *order.borrow(),
            [
                ('x', 0),
                ('a', 1),
                ('a', 2),
                ('b', 4),
                ('c', 6),
                ('a', 3),
                ('b', 5)
            ]
        );
        Ok(())
    });
}

/// What an engine with room for two does with three messages behind a running one.
async fn overflowing(co: &Co, overflow: Overflow) -> Result<(Vec<u32>, Vec<u32>)> {
    let (order, lost) = (Log::default(), Log::default());
    let (noted, dropped) = (Rc::clone(&order), Rc::clone(&lost));
    let engine = Keyed::with_state(|_: &u32| ())
        .per_key(2)
        .overflow(overflow)
        .on_drop(move |_, n, why| {
            assert_eq!(why, DropReason::Overflow);
            dropped.borrow_mut().push(n);
        })
        .serve(
            co.handle(),
            async move |call: Call<u32>, (): &mut (), n: u32| -> Result {
                noted.borrow_mut().push(n);
                call.yield_now().await
            },
        );
    engine.try_send(1, 0)?;
    co.yield_now().await?;
    for n in 1..=3 {
        let _ = engine.try_send(1, n);
    }
    engine.finish().await?;
    Ok((order.take(), lost.take()))
}

#[test]
fn each_policy_drops_what_it_says_and_never_what_is_being_handled() {
    run(async |co| {
        let wait = overflowing(&co, Overflow::Wait).await?;
        assert_eq!(wait, (vec![0, 1, 2], vec![]));
        let refuse = overflowing(&co, Overflow::Refuse).await?;
        assert_eq!(refuse, (vec![0, 1, 2], vec![]));
        let oldest = overflowing(&co, Overflow::DropOldest).await?;
        assert_eq!(oldest, (vec![0, 2, 3], vec![1]));
        let newest = overflowing(&co, Overflow::DropNewest).await?;
        assert_eq!(newest, (vec![0, 1, 2], vec![3]));
        let last = overflowing(&co, Overflow::KeepLast).await?;
        assert_eq!(last, (vec![0, 3], vec![1, 2]));
        Ok(())
    });
}

#[test]
fn a_kept_place_is_room_of_its_key_and_a_dropped_one_goes_to_the_next() {
    run(async |co| {
        let engine = Keyed::with_state(|_: &u32| vec![]).per_key(1).serve(
            co.handle(),
            async |_: Call<u32>, log: &mut Vec<u32>, n: u32| -> Result<Vec<u32>> {
                log.push(n);
                Ok(log.clone())
            },
        );
        let place = engine.reserve(1).await?;
        assert!(engine.try_send(1, 1).is_err());
        engine.try_send(2, 1)?;
        let waiting = engine.send(1, 2);
        let waiting = co.handle().spawn(async move |_| waiting.await);
        settle(&co).await;
        drop(place);
        waiting.await?;
        let place = engine.reserve(1).await?;
        place.send(3)?;
        assert_eq!(engine.ask(1, 4).await?, [2, 3, 4]);
        engine.finish().await
    });
}

// Ends.

#[test]
fn a_drain_gives_back_by_key_what_no_call_was_made_for() {
    let heard = run_heard(async |co| {
        let (engine, _, _) = obedient(co.handle(), AfterKeyFailure::Continue);
        for n in 1..=3 {
            engine.try_send(1, (n, Do::Wait))?;
        }
        engine.try_send(2, (4, Do::Nothing))?;
        let drained = engine.drain(ms(1500)).await?;
        let unhandled = drained.unhandled.iter();
        let unhandled: Vec<_> = unhandled
            .map(|(key, messages)| (*key, messages.iter().map(|(n, _)| *n).collect::<Vec<_>>()))
            .collect();
        assert_eq!(unhandled, [(1, vec![3])]);
        Ok(())
    });
    assert_once(&heard, "drained");
}

#[test]
fn a_closed_engine_refuses_and_handles_what_it_has() {
    run(async |co| {
        let (engine, _, _) = obedient(co.handle(), AfterKeyFailure::Continue);
        let asked = engine.ask(1, (1, Do::Wait));
        let asked = co.handle().spawn(async move |_| asked.await);
        settle(&co).await;
        engine.close();
        assert!(engine.try_send(1, (2, Do::Nothing)).is_err());
        assert_eq!(asked.await?, 1);
        engine.finish().await
    });
}

/// Counts itself down when it is dropped.
struct Counted(Rc<Cell<i32>>);

impl Counted {
    fn new(count: &Rc<Cell<i32>>) -> Self {
        count.set(count.get() + 1);
        Counted(Rc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A state that holds a door to its own engine.
type State = (Counted, Option<KeyedDoor<u32, Counted>>);

#[test]
fn the_door_of_a_call_keeps_nothing_alive() {
    let (mut event_loop, heard) = quiet();
    let count = Rc::new(Cell::new(0));
    let (of_state, of_handler) = (Rc::clone(&count), Counted::new(&count));
    let engine = Keyed::with_state(move |_: &u32| (Counted::new(&of_state), None)).serve(
        &event_loop.handle(),
        async move |call: Call<u32>, state: &mut State, message: Counted| -> Result {
            let _held = &of_handler;
            state.1 = Some(call.engine());
            drop(message);
            Ok(())
        },
    );
    for key in 0..3 {
        engine
            .try_send(key, Counted::new(&count))
            .expect("there is room");
    }
    drop(engine);
    assert!(matches!(event_loop.run(), Ok(Outcome::Done)));
    assert_eq!(count.get(), 0);
    assert_eq!(*heard.borrow(), [""; 0]);
}

#[test]
fn the_loop_dropped_with_everything_in_flight_drops_everything() {
    let (mut event_loop, _heard) = quiet();
    let count = Rc::new(Cell::new(0));
    let of_state = Rc::clone(&count);
    let engine = Keyed::with_state(move |_: &u32| Counted::new(&of_state))
        .per_key(1)
        .serve(
            &event_loop.handle(),
            async move |call: Call<u32>, _: &mut Counted, message: Counted| -> Result {
                call.sleep(Duration::from_secs(1000)).await?;
                drop(message);
                Ok(())
            },
        );
    for key in 0..3 {
        engine
            .try_send(key, Counted::new(&count))
            .expect("there is room");
    }
    for _ in 0..3 {
        let _ = event_loop.turn(Budget::steps(10));
        let _ = engine.try_send(0, Counted::new(&count));
    }
    drop(event_loop);
    assert!(
        engine
            .try_send(9, Counted::new(&count))
            .expect_err("gone")
            .error()
            .is_loop_gone()
    );
    drop(engine);
    assert_eq!(count.get(), 0);
}

// Waits that could never end.

#[test]
fn every_wait_of_a_handler_for_its_own_key_is_refused_at_once() {
    run(async |co| {
        let engine = Keyed::with_state(|_: &u32| ())
            .per_key(1)
            .named("engine")
            .serve(
                co.handle(),
                async |call: Call<u32>, (): &mut (), n: u32| -> Result<String> {
                    let engine: KeyedDoor<u32, u32, String> = call.engine();
                    Ok(match n {
                        1 => engine
                            .ask(7, 0)
                            .await
                            .expect_err("it waits for itself")
                            .to_string(),
                        2 => {
                            engine.try_send(7, 0)?;
                            engine
                                .send(7, 0)
                                .await
                                .expect_err("it waits for itself")
                                .to_string()
                        }
                        3 => engine.ask(8, 0).await?,
                        _ => String::new(),
                    })
                },
            );
        let text = engine.ask(7, 1).await?;
        assert!(
            text.contains("the handler of engine[7] waits for a result of engine[7]"),
            "{text}"
        );
        let text = engine.ask(7, 2).await?;
        assert!(
            text.contains("the handler of engine[7] waits for room of engine[7]"),
            "{text}"
        );
        assert_eq!(
            engine.ask(7, 3).await?,
            "",
            "another key's answer is no circle"
        );
        Ok(())
    });
}

/// What a call does to wait for others.
#[derive(Clone)]
enum Wait {
    Nothing,
    /// Asks these keys, one after the other, what the last of them does.
    Ask(Vec<u32>),
    /// Sends to this key, which has no room.
    Send(u32),
    /// Joins a coroutine that asks this key.
    Join(u32),
    Sleep(u64),
}

/// An engine whose calls wait for others.
fn waiting(handle: &Handle, concurrency: usize) -> Keyed<u32, (), Wait, String> {
    Keyed::with_state(|_: &u32| ())
        .named("engine")
        .per_key(1)
        .concurrency(concurrency)
        .serve(
            handle,
            async |call: Call<u32>, (): &mut (), wait: Wait| -> Result<String> {
                let engine: KeyedDoor<u32, Wait, String> = call.engine();
                Ok(match wait {
                    Wait::Nothing => call.key().to_string(),
                    Wait::Sleep(n) => {
                        call.sleep(ms(n)).await?;
                        call.key().to_string()
                    }
                    Wait::Ask(mut keys) => {
                        call.yield_now().await?;
                        if keys.is_empty() {
                            return Ok(call.key().to_string());
                        }
                        let next = keys.remove(0);
                        engine.ask(next, Wait::Ask(keys)).await?
                    }
                    Wait::Send(key) => {
                        call.sleep(ms(1)).await?;
                        engine.send(key, Wait::Nothing).await?;
                        String::new()
                    }
                    Wait::Join(key) => {
                        let asking = engine.ask(key, Wait::Nothing);
                        call.handle().spawn(async move |_| asking.await).await?
                    }
                })
            },
        )
}

#[test]
fn a_circle_of_asks_is_refused_where_it_would_close_and_its_path_is_named() {
    run(async |co| {
        let engine = waiting(co.handle(), usize::MAX);
        assert_eq!(
            engine.ask(1, Wait::Ask(vec![2, 3])).await?,
            "3",
            "a chain is no circle"
        );
        let error = engine
            .ask(1, Wait::Ask(vec![2, 3, 1]))
            .await
            .expect_err("a circle");
        assert!(
            matches!(error.kind(), ErrorKind::Deadlock { .. }),
            "{error}"
        );
        let path = "the handler of engine[3] waits for a result of engine[1], the handler of engine[1] waits for a result of \
                    engine[2], the handler of engine[2] waits for a result of engine[3]";
        assert!(error.to_string().contains(path), "{error}");
        engine.finish().await
    });
}

#[test]
fn a_circle_through_room_is_refused() {
    let heard = run_heard(async |co| {
        let engine = waiting(co.handle(), usize::MAX);
        // Each of two keys is busy and full, and its call sends to the other.
        engine.try_send(1, Wait::Send(2))?;
        engine.try_send(2, Wait::Send(1))?;
        settle(&co).await;
        engine.try_send(1, Wait::Nothing)?;
        engine.try_send(2, Wait::Nothing)?;
        engine.finish().await
    });
    assert_once(
        &heard,
        "the handler of engine[2] waits for room of engine[1]",
    );
}

#[test]
fn a_circle_through_a_join_is_refused() {
    run(async |co| {
        let engine = waiting(co.handle(), usize::MAX);
        assert_eq!(engine.ask(1, Wait::Join(2)).await?, "2");
        let error = engine.ask(1, Wait::Join(1)).await.expect_err("a circle");
        assert!(
            matches!(error.kind(), ErrorKind::Deadlock { .. }),
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.contains(
                "waits for a result of engine[1], the handler of engine[1] waits for the end of"
            ),
            "{text}"
        );
        engine.finish().await
    });
}

#[test]
fn a_circle_through_both_engines_is_refused() {
    run(async |co| {
        let keyed = Rc::new(RefCell::new(None::<KeyedDoor<u32, (), String>>));
        let door = Rc::clone(&keyed);
        let ordered = yieldpoint::Ordered::with_state(()).named("owner").serve(
            co.handle(),
            async move |call: Call, (): &mut (), (): ()| -> Result<String> {
                call.yield_now().await?;
                let door = door.borrow().clone().expect("it is set");
                door.ask(1, ()).await
            },
        );
        let owner = ordered.clone();
        let engine = Keyed::with_state(|_: &u32| ()).named("engine").serve(
            co.handle(),
            async move |_: Call<u32>, (): &mut (), (): ()| -> Result<String> {
                owner.ask(()).await
            },
        );
        keyed.replace(Some(engine.downgrade()));
        let error = engine.ask(1, ()).await.expect_err("a circle");
        let path = "the handler of owner waits for a result of engine[1], the handler of engine[1] waits for a result of owner";
        assert!(error.to_string().contains(path), "{error}");
        Ok(())
    });
}

#[test]
fn a_call_that_waits_gives_its_permit_back_and_takes_one_before_it_goes_on() {
    run(async |co| {
        let engine = waiting(co.handle(), 1);
        assert_eq!(
            engine.ask(1, Wait::Ask(vec![2, 3])).await?,
            "3",
            "with one permit for three"
        );
        assert_eq!(engine.ask(1, Wait::Join(2)).await?, "2");
        // The answer comes while another call has the permit.
        let (running, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (now, peak) = (Rc::clone(&running), Rc::clone(&most));
        let engine = Keyed::with_state(|_: &u32| ()).concurrency(1).serve(
            co.handle(),
            async move |call: Call<u32>, (): &mut (), n: u32| -> Result {
                let enter = || {
                    now.set(now.get() + 1);
                    peak.set(peak.get().max(now.get()));
                };
                let engine: KeyedDoor<u32, u32> = call.engine();
                enter();
                if n > 0 {
                    now.set(now.get() - 1);
                    engine.ask(call.key() + 100, n - 1).await?;
                    enter();
                }
                call.yield_now().await?;
                call.yield_now().await?;
                now.set(now.get() - 1);
                Ok(())
            },
        );
        for key in 0..5 {
            engine.try_send(key, key % 3)?;
        }
        engine.finish().await?;
        assert_eq!((running.get(), most.get()), (0, 1));
        Ok(())
    });
}

#[test]
fn a_wait_that_is_given_up_leaves_no_edge_behind() {
    run(async |co| {
        let engine = waiting(co.handle(), usize::MAX);
        engine.try_send(1, Wait::Sleep(50))?;
        co.yield_now().await?;
        let limited = co.timeout(ms(1), engine.ask(1, Wait::Nothing)).await;
        assert!(limited.expect_err("it sleeps").is_elapsed());
        let door = engine.clone();
        let other = co
            .handle()
            .spawn(async move |_| door.ask(2, Wait::Ask(vec![1])).await);
        assert_eq!(other.await?, "1");
        engine.finish().await
    });
}

// Calls that take too long.

#[test]
fn a_slow_call_is_reported_then_cancelled_then_aborted_and_later_messages_go_on() {
    let heard = run_heard(async |co| {
        let times = Log::default();
        let noted = Rc::clone(&times);
        let limit = HeadLimit::from(ms(10))
            .then_cancel(ms(20))
            .then_abort(ms(30));
        let engine = Keyed::with_state(|_: &u32| ())
            .named("slow")
            .head_limit(limit)
            .serve(
                co.handle(),
                async move |call: Call<u32>, (): &mut (), n: u32| -> Result {
                    let began = call.handle().now();
                    let noted = Rc::clone(&noted);
                    let ended = call.handle().clone();
                    let _note = OnDrop(Some(move || {
                        noted
                            .borrow_mut()
                            .push((n, (ended.now() - began).as_millis()));
                    }));
                    match n {
                        1 => call.sleep(ms(5)).await,
                        2 => call.sleep(ms(15)).await,
                        3 => call.sleep(ms(1000)).await,
                        _ => {
                            let _cancelled = call.sleep(ms(1000)).await;
                            call.cleanup(ms(1000), call.sleep(ms(500))).await?
                        }
                    }
                },
            );
        for n in 1..=4 {
            engine.try_send(7, n)?;
        }
        engine.finish().await?;
        assert_eq!(*times.borrow(), [(1, 5), (2, 15), (3, 30), (4, 60)]);
        Ok(())
    });
    let told = |text: &str| heard.iter().filter(|line| line.contains(text)).count();
    assert_eq!(
        told("slow[7]"),
        5,
        "three were reported, two failed: {heard:?}"
    );
    assert!(
        heard[0].contains("parked on sleep") && heard[0].contains("2 messages behind it"),
        "{heard:?}"
    );
    assert_eq!(
        told("it took longer than its engine's limit"),
        1,
        "{heard:?}"
    );
    assert_eq!(told("aborted"), 1, "{heard:?}");
}

/// Calls a function when it is dropped.
struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call();
        }
    }
}

#[test]
fn without_a_limit_a_call_may_take_for_ever_and_no_timer_is_set() {
    run(async |co| {
        let engine = waiting(co.handle(), usize::MAX);
        engine.try_send(1, Wait::Nothing)?;
        co.yield_now().await?;
        assert_eq!(co.handle().snapshot().timers, 0);
        let asked = engine.ask(1, Wait::Sleep(100_000));
        assert_eq!(asked.await?, "1");
        engine.finish().await
    });
}

// Looking inside.

#[test]
fn explain_names_the_head_what_it_waits_for_and_who_is_behind() {
    run(async |co| {
        let engine = waiting(co.handle(), usize::MAX);
        engine.try_send(2, Wait::Sleep(100))?;
        engine.try_send(1, Wait::Ask(vec![2]))?;
        co.sleep(ms(10)).await?;
        engine.try_send(1, Wait::Nothing)?;
        let sending = engine.send(1, Wait::Nothing);
        let sending = co.handle().spawn(async move |_| sending.await);
        co.sleep(ms(10)).await?;
        let report = engine.explain(&1).expect("it is busy");
        let head = report.head.as_ref().expect("a call runs");
        assert_eq!(head.running_for, ms(20));
        assert_eq!(head.waits_for, ["a result of engine[2]"]);
        assert_eq!(
            (report.queued, report.waiting, report.oldest),
            (1, 1, Some(ms(10)))
        );
        let text = report.to_string();
        assert!(
            text.starts_with("engine[1]: a call runs for 20 ms, parked on ask at tests/keyed.rs:"),
            "{text}"
        );
        assert!(
            text.ends_with(
                " for 20 ms, waits for a result of engine[2]; 1 message queued, the first for 10 ms; 1 waiting for room"
            ),
            "{text}"
        );
        let stats = engine.stats();
        assert_eq!(
            (stats.running, stats.queued, stats.waiting, stats.done),
            (2, 2, 1, 0)
        );
        sending.await?;
        engine.finish().await
    });
}

#[test]
fn counters_count_each_end_once_and_the_longest_wait() {
    let heard = run_heard(async |co| {
        let (engine, _, _) = obedient(co.handle(), AfterKeyFailure::StopKey);
        engine.try_send(1, (1, Do::Wait))?;
        engine.try_send(1, (2, Do::Fail))?;
        engine.try_send(1, (3, Do::Nothing))?;
        engine.try_send(2, (4, Do::Nothing))?;
        co.sleep(ms(2000)).await?;
        let stats = engine.stats();
        assert_eq!((stats.done, stats.failed, stats.dropped), (2, 1, 1));
        assert_eq!((stats.queued, stats.running, stats.keys), (0, 0, 2));
        assert_eq!(stats.longest_wait, ms(1000));
        Ok(())
    });
    assert_once(&heard, "as told");
}

#[test]
fn an_idle_key_is_not_there() {
    run(async |co| {
        let engine = waiting(co.handle(), usize::MAX);
        for key in 0..100 {
            engine.try_send(key, Wait::Nothing)?;
        }
        assert_eq!(engine.stats().keys, 100);
        settle(&co).await;
        assert_eq!(engine.stats().keys, 0);
        assert_eq!(
            co.handle().snapshot().coroutines.len(),
            1,
            "and no coroutine either"
        );
        Ok(())
    });
}

// Results of many asks.

#[test]
fn results_of_many_asks_come_in_the_order_of_asking_or_of_completion() {
    run(async |co| {
        let engine = waiting(co.handle(), usize::MAX);
        let ask = |(key, n)| engine.ask(key, Wait::Sleep(n));
        let all = co.all([(1, 30), (2, 10), (3, 20)].map(ask)).await;
        let all: Vec<String> = all.into_iter().collect::<Result<_>>()?;
        assert_eq!(all, ["1", "2", "3"]);
        let mut completed = co.as_completed([(1, 30), (2, 10), (3, 20)].map(ask));
        let mut order = vec![];
        while let Some((place, result)) = completed.next().await {
            order.push((place, result?));
        }
        let expected = [(1, "2"), (2, "3"), (0, "1")];
        assert_eq!(order, expected.map(|(place, key)| (place, key.to_owned())));
        Ok(())
    });
}

// Fairness.

/// Sends twenty messages to a hot key every turn, and now and then one to one of ten others. Gives the longest wait of the hot key's
/// messages and of the others', in calls that began meanwhile.
fn waits_under_a_hot_key(concurrency: usize) -> (usize, usize) {
    run(async |co| {
        let began = Log::default();
        let noted = Rc::clone(&began);
        let engine = Keyed::with_state(|_: &u32| ())
            .per_key(10_000)
            .concurrency(concurrency)
            .serve(
                co.handle(),
                async move |call: Call<u32>, (): &mut (), sent_at: usize| -> Result {
                    let now = noted.borrow().len();
                    noted.borrow_mut().push((*call.key(), now - sent_at));
                    call.yield_now().await
                },
            );
        for n in 0..500_u32 {
            for _ in 0..20 {
                engine.try_send(0, began.borrow().len())?;
            }
            if n.is_multiple_of(3) {
                engine.try_send(1 + n / 3 % 10, began.borrow().len())?;
            }
            co.yield_now().await?;
        }
        engine.finish().await?;
        let began = began.borrow();
        let longest = |hot: bool| {
            let waits = began.iter().filter(|(key, _)| (*key == 0) == hot);
            waits.map(|(_, wait)| *wait).max().unwrap_or(0)
        };
        Ok((longest(true), longest(false)))
    })
}

#[test]
fn a_hot_key_starves_nobody_the_longest_wait_of_the_others_is_one_round() {
    for concurrency in [1, 2, 8] {
        let (hot, others) = waits_under_a_hot_key(concurrency);
        assert!(hot > 500, "the hot key waits for itself: {hot}");
        assert!(
            others <= 11 + concurrency,
            "one call of each of eleven keys: {others}"
        );
    }
}

// Costs.

#[test]
fn in_steady_state_a_message_allocates_nothing_and_spawns_nothing() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let handle = event_loop.handle();
    let engine = Keyed::with_state(|_: &u64| 0).drop_idle_state().serve(
        &handle,
        async |call: Call<u64>, sum: &mut u64, n: u64| -> Result {
            call.yield_now().await?;
            *sum += n;
            Ok(())
        },
    );
    let watched = engine.clone();
    let sending = handle.spawn(async move |co| -> Result {
        for key in 0.. {
            engine.try_send(key % 1000, 1)?;
            if key % 64 == 63 {
                co.yield_now().await?;
            }
        }
        Ok(())
    });
    let _ = event_loop.turn(Budget::steps(50_000)).expect("a turn");
    let (before, coroutines) = (watched.stats().done, handle.snapshot().coroutines.len());
    let counted = allocation_counter::measure(|| {
        let _ = event_loop.turn(Budget::steps(50_000)).expect("a turn");
    });
    let handled = watched.stats().done - before;
    assert!(handled > 10_000, "{handled}");
    assert_eq!(counted.count_total, 0, "for {handled} messages");
    assert_eq!(handle.snapshot().coroutines.len(), coroutines);
    sending.abort();
}

// Code of the user in odd places.

#[test]
fn a_state_that_sends_to_its_own_key_when_it_is_dropped_is_heard() {
    run(async |co| {
        let log = Log::default();
        let noted = Rc::clone(&log);
        let engine = Keyed::with_state(|_: &u32| None).drop_idle_state().serve(
            co.handle(),
            async move |call: Call<u32>,
                        state: &mut Option<OnDrop<Box<dyn FnOnce()>>>,
                        n: u32|
                        -> Result {
                noted.borrow_mut().push(n);
                if n > 0 {
                    let (engine, key) = (call.engine::<KeyedDoor<u32, u32>>(), *call.key());
                    let again: Box<dyn FnOnce()> =
                        Box::new(move || engine.try_send(key, n - 1).expect("there is room"));
                    *state = Some(OnDrop(Some(again)));
                }
                Ok(())
            },
        );
        engine.try_send(7, 2)?;
        engine.finish().await?;
        assert_eq!(*log.borrow(), [2, 1, 0]);
        Ok(())
    });
}

/// A key that uses an engine when it is compared.
#[derive(Clone)]
struct Nosy(u32, Rc<RefCell<Option<KeyedDoor<Nosy, u32>>>>);

impl PartialEq for Nosy {
    fn eq(&self, other: &Self) -> bool {
        let door = self.1.borrow().clone();
        if let Some(door) = door {
            let refused = door
                .try_send(self.clone(), 9)
                .expect_err("it comes from inside");
            assert!(refused.to_string().contains("Hash or Eq"), "{refused}");
        }
        self.0 == other.0
    }
}

impl Eq for Nosy {}

impl std::hash::Hash for Nosy {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl std::fmt::Debug for Nosy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[test]
fn a_key_whose_own_code_uses_its_engine_is_refused_and_loses_nothing() {
    run(async |co| {
        let engine = Keyed::with_state(|_: &Nosy| vec![]).serve(
            co.handle(),
            async |_: Call<Nosy>, log: &mut Vec<u32>, n: u32| -> Result<Vec<u32>> {
                log.push(n);
                Ok(log.clone())
            },
        );
        let door = Rc::new(RefCell::new(None));
        engine.try_send(Nosy(1, Rc::clone(&door)), 1)?;
        let nosy = Keyed::with_state(|_: &Nosy| ()).serve(
            co.handle(),
            async |_: Call<Nosy>, (): &mut (), _: u32| -> Result { Ok(()) },
        );
        nosy.try_send(Nosy(1, Rc::clone(&door)), 1)?;
        door.replace(Some(nosy.downgrade()));
        nosy.try_send(Nosy(1, Rc::clone(&door)), 2)?;
        door.replace(None);
        assert_eq!(nosy.stats().queued, 2);
        assert_eq!(engine.ask(Nosy(1, door), 2).await?, [1, 2]);
        nosy.finish().await
    });
}

#[test]
fn a_state_that_cannot_be_made_is_the_failure_of_the_message_and_made_for_the_next() {
    run(async |co| {
        let tries = Cell::new(0);
        let engine = Keyed::with_state(move |_: &u32| {
            tries.set(tries.get() + 1);
            assert!(tries.get() > 1, "not yet");
            tries.get()
        })
        .serve(
            co.handle(),
            async |_: Call<u32>, state: &mut u32, (): ()| -> Result<u32> { Ok(*state) },
        );
        let error = engine.ask(1, ()).await.expect_err("there is no state");
        assert!(
            error.is_panicked() && error.to_string().contains("not yet"),
            "{error}"
        );
        assert_eq!(engine.ask(1, ()).await?, 2);
        Ok(())
    });
}

#[test]
fn who_asked_with_a_dropped_message_is_told() {
    run(async |co| {
        let engine = Keyed::with_state(|_: &u32| ())
            .per_key(1)
            .overflow(Overflow::DropOldest)
            .serve(
                co.handle(),
                async |call: Call<u32>, (): &mut (), _: u32| -> Result { call.sleep(ms(5)).await },
            );
        engine.try_send(1, 0)?;
        co.yield_now().await?;
        let asking = engine.ask(1, 1);
        let asking = co.handle().spawn(async move |_| asking.await);
        co.yield_now().await?;
        engine.try_send(1, 2)?;
        let error = asking.await.expect_err("it was the oldest");
        assert!(
            matches!(
                error.kind(),
                ErrorKind::Dropped {
                    why: "its key had no room for it",
                    ..
                }
            ),
            "{error}"
        );
        engine.finish().await
    });
}

// As a user would write it.

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct User(u32);

/// Some old API that answers through a callback, on a thread of its own.
fn book(n: u64, callback: impl FnOnce(u64) + Send + 'static) {
    thread::spawn(move || callback(n * 10));
}

async fn on_payment(call: Call<User>, booked: &mut Vec<u64>, n: u64) -> Result<Vec<u64>> {
    let receipt = call.task(|done| book(n, done.into_send_fn())).await?;
    booked.push(receipt);
    Ok(booked.clone())
}

#[test]
fn payments_pushed_by_a_thread_are_booked_in_order_for_each_user() {
    let booked = EventLoop::new()
        .expect("a loop")
        .block_on(async |co| -> Result<Vec<u64>> {
            let users = Keyed::with_state(|_: &User| vec![])
                .per_key(64)
                .serve(co.handle(), on_payment);
            let door = users.remote();
            let pushing = co.blocking(move || {
                for n in 1..=20 {
                    door.send_blocking(User(n % 2), n.into())
                        .expect("the loop is there");
                }
            });
            pushing.await?;
            let booked = users.ask(User(1), 21).await?;
            users.finish().await?;
            Ok(booked)
        });
    let odd: Vec<u64> = (1..=21).step_by(2).map(|n| n * 10).collect();
    assert_eq!(booked.expect("it ends well"), odd);
}

/// Gives way until the loop has looked at what came from other threads.
async fn look(co: &Co) {
    for _ in 0..200 {
        co.yield_now().await.expect("nobody cancels");
    }
}

#[test]
fn what_a_thread_sent_to_a_full_key_waits_there_and_holds_up_no_other_key() {
    run(async |co| {
        let operations = Operations::default();
        let (running, effects) = (operations.clone(), Log::default());
        let noted = Rc::clone(&effects);
        let engine = Keyed::with_state(|_: &u32| ()).per_key(1).total(4).serve(
            co.handle(),
            async move |call: Call<u32>, (): &mut (), n: u32| -> Result {
                running.run(&call, n).await?;
                noted.borrow_mut().push(n);
                Ok(())
            },
        );
        let door = engine.remote();
        for n in [10, 11, 12, 13, 20] {
            let sent = door.try_send(n / 10, n);
            assert!(
                sent.is_ok(),
                "{n}: on their way, or in line: no more than four"
            );
            look(&co).await;
        }
        assert_eq!(operations.running(), [10, 20]);
        assert_eq!(engine.stats().waiting, 2, "12 and 13 for room of key 1");
        for n in [14, 15] {
            door.try_send(1, n)?;
        }
        look(&co).await;
        let refused = door.try_send(2, 21).expect_err("four stand in line");
        assert_eq!(refused.into_message(), 21);
        for n in [20, 10, 11, 12, 13, 14, 15] {
            operations.complete(n);
            look(&co).await;
        }
        drop(door);
        engine.finish().await?;
        assert_eq!(*effects.borrow(), [20, 10, 11, 12, 13, 14, 15]);
        Ok(())
    });
}

#[test]
fn what_a_thread_sent_to_a_stopped_key_goes_to_the_hook() {
    let heard = run_heard(async |co| {
        let (engine, _, dropped) = obedient(co.handle(), AfterKeyFailure::StopKey);
        let door = engine.remote();
        door.try_send(1, (1, Do::Fail))?;
        look(&co).await;
        door.try_send(1, (2, Do::Nothing))?;
        door.try_send(2, (3, Do::Nothing))?;
        drop(door);
        engine.finish().await?;
        assert_eq!(*dropped.borrow(), [(1, 2, DropReason::Stopped)]);
        Ok(())
    });
    assert_once(&heard, "as told");
}

#[test]
fn places_kept_when_an_engine_is_cut_off_give_their_messages_back() {
    run(async |co| {
        let (engine, _, _) = obedient(co.handle(), AfterKeyFailure::Continue);
        let place = engine.reserve(7).await?;
        let drained = engine.drain(ms(1)).await?;
        assert!(drained.unhandled.is_empty());
        let refused = place.send((1, Do::Nothing)).expect_err("it has ended");
        assert_eq!(refused.into_message().0, 1);
        Ok(())
    });
}

// The ancestors' faults, one by one.

#[test]
fn completions_taken_from_the_wrong_end_change_nothing_within_a_key() {
    run(async |co| {
        let (engine, operations, effects) = noting(co.handle());
        for n in [10, 11, 12, 20, 21] {
            engine.try_send(n / 10, n)?;
        }
        for n in [20, 10, 21, 11, 12] {
            settle(&co).await;
            let running = operations.running();
            assert!(running.len() <= 2, "one of each key: {running:?}");
            operations.complete(n);
        }
        engine.finish().await?;
        assert_eq!(*effects.borrow(), [20, 10, 21, 11, 12]);
        Ok(())
    });
}

#[test]
fn a_first_call_that_fails_at_once_tells_its_asker_and_leaves_its_key_idle() {
    run(async |co| {
        let (engine, _, _) = obedient(co.handle(), AfterKeyFailure::Continue);
        let error = engine.ask(1, (1, Do::Fail)).await.expect_err("as told");
        assert_eq!(error.to_string(), "as told");
        settle(&co).await;
        let report = engine.explain(&1).expect("it keeps its state");
        assert!(report.head.is_none() && report.queued == 0, "{report}");
        assert_eq!(engine.ask(1, (2, Do::Nothing)).await?, 2);
        Ok(())
    });
}

#[test]
fn a_call_made_from_inside_a_call_of_its_key_starts_after_that_has_ended() {
    run(async |co| {
        let log = Log::default();
        let noted = Rc::clone(&log);
        let engine = Keyed::with_state(|_: &u32| ()).serve(
            co.handle(),
            async move |call: Call<u32>, (): &mut (), n: u32| -> Result {
                noted.borrow_mut().push(("begins", n));
                if n > 0 {
                    let engine: KeyedDoor<u32, u32> = call.engine();
                    engine.send(*call.key(), n - 1).await?;
                }
                call.yield_now().await?;
                noted.borrow_mut().push(("ends", n));
                Ok(())
            },
        );
        engine.send(7, 2).await?;
        engine.finish().await?;
        let expected = [2, 1, 0].map(|n| [("begins", n), ("ends", n)]);
        assert_eq!(*log.borrow(), expected.concat());
        Ok(())
    });
}

#[test]
fn behind_a_call_that_never_completes_its_key_is_bounded_and_a_cancel_lets_the_next_go_on() {
    let heard = run_heard(async |co| {
        let (operations, effects) = (Operations::default(), Log::default());
        let (running, noted) = (operations.clone(), Rc::clone(&effects));
        let engine = Keyed::with_state(|_: &u32| ()).per_key(2).serve(
            co.handle(),
            async move |call: Call<u32>, (): &mut (), n: u32| -> Result {
                if n == 10 {
                    running.run(&call, n).await?;
                }
                noted.borrow_mut().push(n);
                Ok(())
            },
        );
        engine.try_send(1, 10)?;
        settle(&co).await;
        for n in [11, 12] {
            engine.try_send(1, n)?;
        }
        let refused = engine.try_send(1, 13).expect_err("two wait");
        assert_eq!(refused.into_message(), 13);
        engine.ask(2, 20).await?;
        assert_eq!(*effects.borrow(), [20]);
        assert!(engine.cancel_key(&1, "it hangs"));
        engine.finish().await?;
        assert_eq!(*effects.borrow(), [20, 11, 12]);
        Ok(())
    });
    assert_once(&heard, "it hangs");
}

/// What a connection hears. The handlers of all kinds share one order.
enum Heard {
    Opened(&'static str),
    Said(&'static str),
    Closed,
}

#[test]
fn messages_of_several_kinds_keep_one_order_in_a_key() {
    run(async |co| {
        let log = Log::default();
        let noted = Rc::clone(&log);
        let engine = Keyed::with_state(|_: &u32| "").serve(
            co.handle(),
            async move |call: Call<u32>, name: &mut &str, heard: Heard| -> Result {
                let text = match heard {
                    Heard::Opened(who) => {
                        call.sleep(ms(30)).await?;
                        *name = who;
                        format!("{name} came")
                    }
                    Heard::Said(what) => {
                        call.sleep(ms(10)).await?;
                        format!("{name}: {what}")
                    }
                    Heard::Closed => format!("{name} left"),
                };
                noted.borrow_mut().push(text);
                Ok(())
            },
        );
        for heard in [Heard::Opened("ada"), Heard::Said("hello"), Heard::Closed] {
            engine.try_send(7, heard)?;
        }
        engine.finish().await?;
        assert_eq!(*log.borrow(), ["ada came", "ada: hello", "ada left"]);
        Ok(())
    });
}

/// A message that knows what it does: its kinds are not known to the engine.
trait Act {
    fn act(self: Box<Self>, log: &mut Vec<String>);
}

impl<F: FnOnce(&mut Vec<String>)> Act for F {
    fn act(self: Box<Self>, log: &mut Vec<String>) {
        self(log);
    }
}

#[test]
fn messages_that_are_trait_objects_keep_one_order_in_a_key() {
    run(async |co| {
        let engine = Keyed::with_state(|_: &u32| vec![]).serve(
            co.handle(),
            async |call: Call<u32>,
                   log: &mut Vec<String>,
                   message: Box<dyn Act>|
                   -> Result<Vec<String>> {
                call.yield_now().await?;
                message.act(log);
                Ok(log.clone())
            },
        );
        let number = 3;
        engine.try_send(
            7,
            Box::new(move |log: &mut Vec<String>| log.push(number.to_string())),
        )?;
        engine.try_send(
            7,
            Box::new(|log: &mut Vec<String>| log.push("text".to_owned())),
        )?;
        let reverse = |log: &mut Vec<String>| log.reverse();
        let log = engine.ask(7, Box::new(reverse)).await?;
        assert_eq!(log, ["text", "3"]);
        Ok(())
    });
}

// Keys.

#[test]
fn a_handler_minds_keys_by_the_door_of_its_call() {
    let heard = run_heard(async |co| {
        let log = Log::default();
        let noted = Rc::clone(&log);
        let engine = Keyed::with_state(|_: &char| 0)
            .after_failure(AfterKeyFailure::ParkKey)
            .serve(
                co.handle(),
                async move |call: Call<char>, count: &mut u32, what: &str| -> Result<u32> {
                    let engine: KeyedDoor<char, &str, u32> = call.engine();
                    *count += 1;
                    match what {
                        "fail" => return Err(Error::other("as told")),
                        "sleep" => call.sleep(ms(1000)).await?,
                        "cancel" => assert!(engine.cancel_key(&'s', "the warden said so")),
                        "resume" => assert!(engine.resume_key(&'a')),
                        "restart" => assert!(engine.restart_key(&'a')),
                        "forget" => {
                            assert!(engine.forget_key(&'a') && !engine.forget_key(&'a'));
                            assert!(!engine.resume_key(&'a'));
                        }
                        "look" => {
                            let report = engine.explain(&'a').expect("it is parked");
                            let stats = engine.stats().expect("the engine is there");
                            noted.borrow_mut().push((report.parked, stats.running));
                        }
                        _ => {}
                    }
                    Ok(*count)
                },
            );
        assert!(engine.ask('a', "fail").await.is_err());
        engine.ask('w', "look").await?;
        assert_eq!(*log.borrow(), [(true, 1)]);
        engine.ask('w', "resume").await?;
        assert_eq!(engine.ask('a', "").await?, 2, "its state was kept");
        assert!(engine.ask('a', "fail").await.is_err());
        engine.ask('w', "restart").await?;
        assert_eq!(engine.ask('a', "").await?, 1, "its state is new");
        engine.ask('w', "forget").await?;
        assert_eq!(engine.ask('a', "").await?, 1, "its state is new again");
        engine.try_send('s', "sleep")?;
        settle(&co).await;
        engine.ask('w', "cancel").await?;
        settle(&co).await;
        assert!(engine.resume_key(&'s'), "its call has failed");
        let door = engine.downgrade();
        engine.finish().await?;
        settle(&co).await;
        assert!(door.explain(&'a').is_none() && door.stats().is_none());
        assert!(!door.forget_key(&'a') && !door.cancel_key(&'a', "late"));
        assert!(!door.resume_key(&'a') && !door.restart_key(&'a'));
        Ok(())
    });
    assert_once(&heard, "the warden said so");
}

/// A key whose hash says nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Alike(u32);

impl std::hash::Hash for Alike {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        0_u32.hash(state);
    }
}

#[test]
fn keys_of_one_hash_are_told_apart_also_when_some_of_them_go() {
    run(async |co| {
        let engine = Keyed::with_state(|key: &Alike| key.0).serve(
            co.handle(),
            async |call: Call<Alike>, state: &mut u32, (): ()| -> Result<(u32, u32)> {
                Ok((call.key().0, *state))
            },
        );
        for n in 0..40 {
            assert_eq!(engine.ask(Alike(n), ()).await?, (n, n));
        }
        for n in (0..40).step_by(3) {
            assert!(engine.forget_key(&Alike(n)));
        }
        for n in 0..40 {
            let known = engine.explain(&Alike(n)).is_some();
            assert_eq!(known, n % 3 != 0, "{n}");
        }
        assert_eq!(engine.stats().keys, 26);
        Ok(())
    });
}

#[test]
fn a_call_that_its_handler_keeps_goes_on_naming_its_key() {
    run(async |co| {
        let kept = Log::default();
        let keep = Rc::clone(&kept);
        let engine = Keyed::with_state(|_: &String| ()).serve(
            co.handle(),
            async move |call: Call<String>, (): &mut (), keeps: bool| -> Result {
                if keeps {
                    keep.borrow_mut().push(call);
                }
                Ok(())
            },
        );
        for (n, keeps) in (0..).zip([true, false, true, true, false]) {
            engine.ask(format!("key {n}"), keeps).await?;
        }
        engine.finish().await?;
        let kept: Vec<String> = kept
            .borrow()
            .iter()
            .map(|call| call.key().clone())
            .collect();
        assert_eq!(kept, ["key 0", "key 2", "key 3"]);
        Ok(())
    });
}

#[test]
fn a_key_is_dropped_when_it_goes_idle_and_not_later() {
    run(async |co| {
        let count = Rc::new(Cell::new(0));
        let engine = Keyed::with_state(|_: &Counting| ()).serve(
            co.handle(),
            async |call: Call<Counting>, (): &mut (), (): ()| -> Result { call.yield_now().await },
        );
        for n in 0..20 {
            engine.try_send(Counting(n % 5, Rc::new(Counted::new(&count))), ())?;
        }
        assert_eq!(count.get(), 5, "one of each key");
        settle(&co).await;
        assert_eq!(count.get(), 0);
        engine.finish().await
    });
}

/// A key that counts how many of it are held.
#[derive(Clone)]
struct Counting(
    u32,
    #[expect(dead_code, reason = "kept to be counted")] Rc<Counted>,
);

impl PartialEq for Counting {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Counting {}

impl std::hash::Hash for Counting {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl std::fmt::Debug for Counting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[test]
fn a_message_that_runs_free_and_fails_is_gone_whatever_becomes_of_keys() {
    for after in [AfterKeyFailure::ParkKey, AfterKeyFailure::StopKey] {
        let heard = run_heard(async |co| {
            let engine = Keyed::with_state(|_: &Option<u32>| ())
                .free(Option::is_none)
                .after_failure(after)
                .serve(
                    co.handle(),
                    async |_: Call<Option<u32>>, (): &mut (), (): ()| -> Result {
                        Err(Error::other("as told"))
                    },
                );
            engine.try_send(None, ())?;
            settle(&co).await;
            assert_eq!(engine.stats().keys, 0);
            engine.try_send(None, ())?;
            engine.finish().await
        });
        assert_eq!(heard.len(), 2, "{heard:?}");
    }
}

// Permits and room.

#[test]
fn a_key_with_messages_left_does_not_pass_a_call_that_has_to_go_on() {
    run(async |co| {
        let (running, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (now, peak) = (Rc::clone(&running), Rc::clone(&most));
        let (gates, order) = (Operations::default(), Log::default());
        let (gate, noted) = (gates.clone(), Rc::clone(&order));
        let other = Keyed::with_state(|_: &u32| ()).serve(
            co.handle(),
            async move |call: Call<u32>, (): &mut (), n: u32| -> Result {
                gate.run(&call, n).await
            },
        );
        let engine = Keyed::with_state(|_: &u32| ()).concurrency(1).serve(
            co.handle(),
            async move |call: Call<u32>, (): &mut (), n: u32| -> Result {
                if n == 0 {
                    other.ask(0, 0).await?;
                }
                now.set(now.get() + 1);
                peak.set(peak.get().max(now.get()));
                noted.borrow_mut().push(n);
                for _ in 0..4 {
                    call.yield_now().await?;
                }
                now.set(now.get() - 1);
                Ok(())
            },
        );
        engine.try_send(1, 0)?;
        settle(&co).await;
        // While that call waits, another key has the permit, and has messages left when the answer comes.
        for n in 1..=3 {
            engine.try_send(2, n)?;
        }
        co.yield_now().await?;
        co.yield_now().await?;
        gates.complete(0);
        engine.finish().await?;
        assert_eq!(
            *order.borrow(),
            [1, 0, 2, 3],
            "it goes on as soon as a call has ended"
        );
        assert_eq!((running.get(), most.get()), (0, 1));
        Ok(())
    });
}

#[test]
fn where_messages_are_dropped_none_passes_what_a_thread_sent_before() {
    run(async |co| {
        let (operations, effects) = (Operations::default(), Log::default());
        let (running, noted) = (operations.clone(), Rc::clone(&effects));
        let engine = Keyed::with_state(|_: &u32| ())
            .per_key(4)
            .total(3)
            .overflow(Overflow::KeepLast)
            .serve(
                co.handle(),
                async move |call: Call<u32>, (): &mut (), n: u32| -> Result {
                    running.run(&call, n).await?;
                    noted.borrow_mut().push(n);
                    Ok(())
                },
            );
        let door = engine.remote();
        engine.try_send(1, 10)?;
        settle(&co).await;
        for n in [11, 12, 20] {
            engine.try_send(n / 10, n)?;
        }
        settle(&co).await;
        engine.try_send(3, 30)?;
        settle(&co).await;
        engine.try_send(3, 31)?;
        door.try_send(1, 13)?;
        look(&co).await;
        assert_eq!(engine.stats().waiting, 1, "13 waits for room of all");
        assert!(engine.try_send(1, 14).is_err(), "behind 13 there is none");
        for n in [10, 11, 12, 13, 20, 30, 31] {
            operations.complete(n);
            look(&co).await;
        }
        drop(door);
        engine.finish().await?;
        assert_eq!(*effects.borrow(), [10, 11, 12, 13, 20, 30, 31]);
        Ok(())
    });
}

#[test]
fn a_thread_that_sends_to_a_closed_engine_gets_its_message_back() {
    run(async |co| {
        let (engine, _, _) = obedient(co.handle(), AfterKeyFailure::Continue);
        engine.close();
        let door = engine.remote();
        let refused = co.blocking(move || door.send_blocking(1, (1, Do::Nothing)));
        let refused = refused.await?.expect_err("it is closed");
        assert!(matches!(refused.error().kind(), ErrorKind::Closed { .. }));
        assert_eq!(refused.into_message().0, 1);
        engine.finish().await
    });
}
