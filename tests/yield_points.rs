//! The ancestors' cases for keys, tasks and coroutines, by their numbers in the conformance list.
//!
//! Where the ancestors' eras differ, ours is the later one: a completion marks the waiter ready and never resumes it in place
//! (C029), an error belongs to the operation that failed and never travels into another yield (C032), and an error at a yield
//! leaves the key pending (C031, from the earlier era). Not here: named or several arguments (C017), a callable called twice (C024:
//! `resolve` consumes it), whatever needs a combinator or a time-out of its own (C067, C068, C081, C082), and functions wrapped to
//! give a future (C039, C040, C041, C045), which Rust does not need.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use support::{Drops, Trace, strict, watched};
use yieldpoint::{
    Budget, Callback, Co, Error, ErrorKind, EventLoop, Forget, Handle, Key, KeyState, Outcome,
    Resolver, Result, Sleep, Task, Timer, Wait, WaitAll, WaitAny, YieldNow, ms,
};

/// Runs a body on a loop on which any incident is a failure.
fn run<T>(body: impl AsyncFnOnce(Co) -> Result<T>) -> Result<T> {
    strict().block_on(body)
}

/// Some operation that calls back later.
fn later<T: 'static>(handle: &Handle, value: T, done: Resolver<T>) {
    handle.call_soon(move || done.resolve(value));
}

fn failed() -> Error {
    std::io::Error::other("failed").into()
}

/// C001, C033: a body that never yields runs in one step.
#[test]
fn a_body_that_never_yields_runs_in_one_step() {
    let mut event_loop = strict();
    let ran = Rc::new(Cell::new(false));
    let mark = Rc::clone(&ran);
    let join = event_loop.handle().spawn(async move |_| -> Result<u32> {
        mark.set(true);
        Ok(42)
    });
    assert!(!ran.get(), "a spawn never runs the body in place");
    let report = event_loop.turn(Budget::default()).unwrap();
    assert!(ran.get() && join.is_finished());
    assert_eq!(report.steps, 1);
    assert_eq!(event_loop.block_on(async |_| join.await).unwrap(), 42);
}

/// C002, C007, C014: what has arrived is given without a turn, through an equal key made elsewhere.
#[test]
fn a_value_that_has_arrived_is_given_without_giving_way() {
    let mut event_loop = strict();
    let join = event_loop.handle().spawn(async |co: Co| -> Result {
        co.callback::<()>("k1")?.resolve(());
        co.wait::<()>("k1").await?;
        co.callback("k1")?.resolve(42);
        assert_eq!(co.wait::<i32>(String::from("k1")).await?, 42);
        co.callback((1, 2))?.resolve((3, 4));
        assert_eq!(co.wait::<(i32, i32)>((1u8, 2i64)).await?, (3, 4));
        let (k1, k2) = (co.callback("k1")?, co.callback("k2")?);
        k1.resolve("v1");
        k2.resolve("v2");
        assert_eq!(co.wait_all::<&str>(["k1", "k2"]).await?, ["v1", "v2"]);
        assert_eq!(
            co.wait_all::<&str>(Vec::<Key>::new()).await?,
            Vec::<&str>::new()
        );
        Ok(())
    });
    assert_eq!(event_loop.turn(Budget::default()).unwrap().steps, 1);
    event_loop.block_on(async |_| join.await).unwrap();
}

/// C003, C004, C035, C046, C114: an error before or after the first yield is in the join handle, or goes to the hook.
#[test]
fn an_error_reaches_who_joins_or_else_the_hook() {
    let (mut event_loop, incidents) = watched();
    for turns in [0, 1] {
        let body = async move |co: Co| -> Result {
            for _ in 0..turns {
                co.yield_now().await?;
            }
            Err(failed())
        };
        let joined = event_loop.block_on(async |co| co.handle().spawn(body).await);
        assert_eq!(joined.unwrap_err().to_string(), "failed");
        assert_eq!(event_loop.block_on(body).unwrap_err().to_string(), "failed");
        assert_eq!(incidents.0.borrow().len(), turns);
        drop(event_loop.handle().spawn(body));
        assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
        assert_eq!(incidents.0.borrow().len(), turns + 1);
    }
    assert_eq!(incidents.all(), "untaken(failed) untaken(failed)");
}

/// C042: a handle dropped with an error that nobody looked at.
#[test]
fn an_error_is_reported_once_when_its_handle_is_dropped_untaken() {
    let (mut event_loop, incidents) = watched();
    let join = event_loop
        .handle()
        .spawn(async |_| -> Result { Err(failed()) });
    let _ = event_loop.run().unwrap();
    assert_eq!(incidents.all(), "");
    drop(join);
    assert_eq!(incidents.all(), "untaken(failed)");
}

/// C005, C006, C026: the error of a task is at its yield; what it calls back with after that is dropped.
#[test]
fn an_error_of_a_task_is_at_its_yield_and_can_be_caught() {
    run(async |co| -> Result {
        let at_once = co
            .task(|_done: Resolver<u32>| Err::<(), Error>(failed()))
            .await;
        assert_eq!(at_once.unwrap_err().to_string(), "failed");
        // It calls back and then fails: the failure stands.
        let both = co.task(|done: Resolver<u32>| {
            done.resolve(1);
            Err::<(), Error>(failed())
        });
        assert!(both.await.is_err());
        // It fails later, and says so through its callback.
        let handle = co.handle();
        let reported = co.task(|done: Resolver<Result<u32>>| later(handle, Err(failed()), done));
        assert!(reported.await?.is_err());
        // It fails, and calls back later.
        let late = co.task(|done: Resolver<u32>| {
            later(handle, 1, done);
            Err::<(), Error>(failed())
        });
        assert!(late.await.is_err());
        co.yield_now().await?;
        co.sleep(ms(1)).await
    })
    .unwrap();
}

/// C008: a key pending is not registered again, resolved or not, whatever its type and however it was made.
#[test]
fn a_key_is_not_reused_while_it_is_pending() {
    run(async |co| -> Result {
        let first = co.callback::<u32>("k1")?;
        let created = line!() - 1;
        let error = co.callback::<&str>("k1").unwrap_err();
        let ErrorKind::KeyReuse {
            key,
            created_at,
            again_at,
        } = error.kind()
        else {
            panic!("{error}");
        };
        assert!(*key == "k1");
        assert_eq!((created_at.line(), again_at.line()), (created, created + 2));
        first.resolve(1);
        assert!(
            co.callback::<u32>("k1").is_err(),
            "being resolved does not free it"
        );
        assert_eq!(co.wait::<u32>("k1").await?, 1);
        let _pair = co.callback::<u32>((1, 2))?;
        assert!(co.callback::<u32>((1, 2)).is_err());
        co.forget((1, 2))
    })
    .unwrap();
}

/// C009, C015, C025, C030: an unknown key is told at the wait, and the coroutine is as usable as before.
#[test]
fn an_unknown_key_is_told_at_the_wait() {
    run(async |co| -> Result {
        let _pair = co.callback::<u32>((1, 2))?;
        let error = co.wait::<u32>((2, 3)).await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::UnknownKey { key, .. } if *key == Key::from((2, 3)))
        );
        co.forget((1, 2))?;
        co.callback("k2")?.resolve("v2");
        assert_eq!(co.wait::<&str>("k2").await?, "v2");
        assert!(co.wait::<&str>("k2").await.is_err());
        // The key of a parent is unknown to its child, and stays the parent's.
        let mine = co.callback::<u32>("mine")?;
        let child = co
            .handle()
            .spawn(async |co: Co| co.wait::<u32>("mine").await);
        assert!(matches!(
            child.await.unwrap_err().kind(),
            ErrorKind::UnknownKey { .. }
        ));
        mine.resolve(5);
        assert_eq!(co.wait::<u32>("mine").await?, 5);
        Ok(())
    })
    .unwrap();
}

/// C010, C078, and defect 2 of the ancestors: what was caught before does not waive it.
#[test]
fn keys_left_pending_are_a_leak_also_after_a_caught_error_and_also_when_resolved() {
    let leaked = |body: fn(&Co)| {
        let error = run(async |co| -> Result {
            body(&co);
            Ok(())
        })
        .unwrap_err();
        let ErrorKind::Leaked { keys, .. } = error.kind() else {
            panic!("{error}");
        };
        keys.iter()
            .map(|key| {
                format!(
                    "{}{}",
                    key.key,
                    if key.state == KeyState::Pending {
                        ""
                    } else {
                        "!"
                    }
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(leaked(|co| drop(co.callback::<()>("never"))), ["never!"]);
    assert_eq!(
        leaked(|co| co.callback("done").unwrap().resolve(())),
        ["done!"]
    );
    assert_eq!(
        leaked(|co| {
            std::mem::forget(co.callback::<()>("b"));
            std::mem::forget(co.callback::<()>("a"));
            assert!(co.forget("unknown").is_err());
            assert!(co.callback::<()>("a").is_err());
        }),
        ["b", "a"]
    );
    // As the end of a spawned coroutine, and beside an error of its own.
    let (mut event_loop, incidents) = watched();
    event_loop
        .block_on(async |co| -> Result {
            let well = co
                .handle()
                .spawn(async |co: Co| co.callback(1).map(|done| done.resolve(())));
            assert!(well.await.unwrap_err().is_leaked());
            let badly = co.handle().spawn(async |co: Co| -> Result {
                co.callback(2)?.resolve(());
                Err(failed())
            });
            assert_eq!(badly.await.unwrap_err().to_string(), "failed");
            Ok(())
        })
        .unwrap();
    assert_eq!(incidents.all(), "leaked(2)");
    drop(
        event_loop
            .handle()
            .spawn(async |co: Co| co.callback(3).map(|done| done.resolve(()))),
    );
    let _ = event_loop.run().unwrap();
    assert!(
        incidents.all().contains("ended with 1 key pending: 3"),
        "{}",
        incidents.all()
    );
}

/// C011, C022: completion order and wait order are independent, and a key that was waited for is free again.
#[test]
fn keys_complete_in_one_order_and_are_waited_for_in_another() {
    let response = run(async |co| -> Result<String> {
        let handle = co.handle();
        for key in 0..3 {
            later(handle, key, co.callback(key)?);
        }
        assert_eq!(co.wait::<i32>(1).await?, 1);
        later(handle, 3, co.callback(3)?);
        for key in [0, 3, 2] {
            assert_eq!(co.wait::<i32>(key).await?, key);
        }
        let mut response = String::new();
        for (stage, key) in ["k1", "k2", "k1"].into_iter().enumerate() {
            later(handle, stage + 1, co.callback(key)?);
            response += &co.wait::<usize>(key).await?.to_string();
        }
        for _ in 0..1000 {
            co.callback("k")?.resolve(());
            co.wait::<()>("k").await?;
        }
        Ok(response)
    });
    assert_eq!(response.unwrap(), "123");
}

/// C012: two runs of one function have nothing to do with each other, one after the other and at once.
#[test]
fn two_runs_of_one_body_have_their_own_keys() {
    async fn body(co: Co) -> Result<u32> {
        let done = co.callback::<u32>("k")?;
        co.handle().call_later(ms(1), move || done.resolve(4));
        co.wait("k").await
    }
    let mut event_loop = strict();
    assert_eq!(
        event_loop.block_on(body).unwrap() + event_loop.block_on(body).unwrap(),
        8
    );
    let both = event_loop.block_on(async |co| -> Result<u32> {
        let (a, b) = (co.handle().spawn(body), co.handle().spawn(body));
        Ok(a.await? + b.await?)
    });
    assert_eq!(both.unwrap(), 8);
}

/// C013, C016, C034: a task that calls back on the next turn, and a yield of nothing, are one resume each.
#[test]
fn a_task_and_a_yield_of_nothing_cost_one_resume_each() {
    let mut event_loop = strict();
    let join = event_loop.handle().spawn(async |co: Co| -> Result<u32> {
        co.task(|done| later(co.handle(), (), done)).await?;
        co.yield_now().await?;
        Ok(42)
    });
    let report = event_loop.turn(Budget::default()).unwrap();
    assert_eq!((report.steps, join.is_finished()), (4, true)); // three resumes and the callback
    assert_eq!(event_loop.block_on(async |_| join.await).unwrap(), 42);
}

/// C019: an early end, before and after a yield.
#[test]
fn an_early_end_is_an_end() {
    for early in [true, false] {
        run(async |co| -> Result {
            if early {
                return Ok(());
            }
            co.yield_now().await
        })
        .unwrap();
    }
}

/// C020, C021, C083: nothing of a run is left behind.
#[test]
fn ten_children_leave_no_coroutine_key_timer_or_callback() {
    let drops = Drops::new();
    let mut event_loop = strict();
    event_loop
        .block_on(async |co| -> Result {
            for n in 0..10 {
                let tracked = drops.one();
                let child = co.handle().spawn(async move |co: Co| -> Result<()> {
                    co.task(|done| later(co.handle(), tracked, done)).await?;
                    if n % 2 == 0 { Ok(()) } else { Err(failed()) }
                });
                assert_eq!(child.await.is_ok(), n % 2 == 0);
            }
            let snapshot = co.handle().snapshot();
            assert_eq!(snapshot.coroutines.len(), 1);
            assert_eq!(
                (snapshot.ready, snapshot.timers, snapshot.remotes),
                (0, 0, 0)
            );
            assert!(snapshot.coroutines[0].keys.is_empty());
            Ok(())
        })
        .unwrap();
    assert_eq!(drops.count(), 10);
}

/// C023: the main coroutine starts only after the first has ended well.
#[test]
fn what_follows_a_coroutine_starts_after_it_and_not_after_its_failure() {
    for fail in [false, true] {
        let trace = Trace::new();
        let (first, second) = (trace.clone(), trace.clone());
        let ended = run(async |co| -> Result {
            let prepare = co.handle().spawn(async move |co: Co| -> Result {
                first.note(1);
                co.yield_now().await?;
                if fail { Err(failed()) } else { Ok(()) }
            });
            prepare.await?;
            second.note(2);
            co.yield_now().await?;
            second.note(3);
            Ok(())
        });
        assert_eq!(
            (ended.is_err(), trace.all().as_str()),
            (fail, if fail { "1" } else { "1 2 3" })
        );
    }
}

/// C027: who is never called back stays, harms nobody, and is cleaned up once.
#[test]
fn a_coroutine_that_is_never_called_back_harms_nobody() {
    let (drops, trace) = (Drops::new(), Trace::new());
    let kept: Rc<RefCell<Option<Resolver<()>>>> = Rc::default();
    let mut event_loop = strict();
    let (tracked, keep) = (drops.one(), Rc::clone(&kept));
    drop(event_loop.handle().spawn(async move |co: Co| -> Result {
        let _tracked = tracked;
        co.task(|done| *keep.borrow_mut() = Some(done)).await
    }));
    let log = trace.clone();
    event_loop
        .block_on(async |co| -> Result {
            co.sleep(ms(1)).await?;
            log.note("others");
            Ok(())
        })
        .unwrap();
    assert_eq!((trace.all().as_str(), drops.count()), ("others", 0));
    drop(event_loop);
    assert_eq!(drops.count(), 1);
}

/// C031: an error at the yield leaves the key pending; here a wait of another type, and a wait that was given up.
#[test]
fn a_key_outlives_a_wait_that_failed_or_was_given_up() {
    run(async |co| -> Result {
        let done = co.callback::<u32>("k")?;
        let error = co.wait::<String>("k").await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WrongType { .. }));
        let mut wait = co.wait::<u32>("k");
        assert!(futures_util::poll!(&mut wait).is_pending());
        let second = co.wait::<u32>("k").await.unwrap_err();
        assert!(matches!(second.kind(), ErrorKind::RepeatedKey { .. }));
        drop(wait);
        done.resolve(8);
        assert_eq!(co.wait::<u32>("k").await?, 8);
        Ok(())
    })
    .unwrap();
}

/// C032: what an operation does after it called back is no business of the coroutine, which waits for something else by then.
#[test]
fn a_late_failure_of_an_operation_goes_to_the_hook_and_not_into_another_wait() {
    let (mut event_loop, incidents) = watched();
    event_loop
        .block_on(async |co| -> Result {
            let handle = co.handle();
            co.task(|done| {
                handle.call_later(ms(1), || panic!("late"));
                done.resolve(());
            })
            .await?;
            co.sleep(ms(5)).await
        })
        .unwrap();
    assert_eq!(incidents.all(), "panicked(callback: late)");
}

/// C036: a coroutine as the operation of a task.
#[test]
fn a_task_may_start_a_coroutine_that_calls_back() {
    let n = run(async |co| -> Result<u32> {
        let handle = co.handle();
        co.task(|done| {
            drop(handle.spawn(async move |co: Co| -> Result {
                co.yield_now().await?;
                done.resolve(42);
                Ok(())
            }));
        })
        .await
    });
    assert_eq!(n.unwrap(), 42);
}

/// C037: only what the parent makes of it is seen outside.
#[test]
fn a_parent_may_replace_or_swallow_the_error_of_a_child() {
    for swallow in [true, false] {
        let ended = run(async |co| -> Result<u32> {
            let child = co.handle().spawn(async |_| -> Result { Err(failed()) });
            let error = child.await.unwrap_err();
            assert_eq!(error.to_string(), "failed");
            if swallow {
                Ok(42)
            } else {
                Err(std::io::Error::other("replaced").into())
            }
        });
        let shown = ended.map_or_else(|error| error.to_string(), |n| n.to_string());
        assert_eq!(shown, if swallow { "42" } else { "replaced" });
    }
}

/// C043: who waited first resumes first, after the call that resolved has returned.
#[test]
fn waiters_resume_in_the_order_of_their_wake_up_after_the_call() {
    let trace = Trace::new();
    let mut event_loop = strict();
    let resolvers: Rc<RefCell<Vec<Resolver<()>>>> = Rc::default();
    for n in 1..=3 {
        let (log, keep) = (trace.clone(), Rc::clone(&resolvers));
        drop(event_loop.handle().spawn(async move |co: Co| -> Result {
            co.task(|done| keep.borrow_mut().push(done)).await?;
            log.note(n);
            Ok(())
        }));
    }
    let log = trace.clone();
    event_loop.handle().call_soon(move || {
        for resolver in resolvers.take() {
            resolver.resolve(());
        }
        log.note("resolved");
    });
    let _ = event_loop.run().unwrap();
    assert_eq!(trace.all(), "resolved 1 2 3");
}

/// C044: what is ready does not give way, however often.
#[test]
fn ready_points_do_not_give_way() {
    let mut event_loop = strict();
    let trace = Trace::new();
    for name in ["a", "b"] {
        let log = trace.clone();
        drop(event_loop.handle().spawn(async move |co: Co| -> Result {
            for _ in 0..3 {
                log.note(name);
                co.task(|done| done.resolve(())).await?;
            }
            Ok(())
        }));
    }
    let _ = event_loop.run().unwrap();
    assert_eq!(trace.all(), "a a a b b b");
}

/// C066, C077: keys in the order of their completion, a time among them.
#[test]
fn wait_any_gives_keys_in_the_order_of_their_completion() {
    let trace = Trace::new();
    run(async |co| -> Result {
        for (key, after) in [(0, 20), (1, 10), (2, 30)] {
            let done = co.callback::<()>(key)?;
            co.handle().call_later(ms(after), move || done.resolve(()));
        }
        co.timer("late", ms(25))?;
        let mut keys: Vec<Key> = vec![0.into(), 1.into(), 2.into(), "late".into()];
        while !keys.is_empty() {
            let (key, ()) = co.wait_any::<()>(&keys).await?;
            trace.note(&key);
            keys.retain(|pending| *pending != key);
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(trace.all(), "1 0 late 2");
}

/// C069, C070, C071, C072
#[test]
fn a_forgotten_key_is_free_and_its_resolver_harmless() {
    let drops = Drops::new();
    run(async |co| -> Result {
        let done = co.callback("k")?;
        assert!(done.is_wanted());
        co.forget("k")?;
        assert!(!done.is_wanted());
        assert!(matches!(
            co.forget("k").unwrap_err().kind(),
            ErrorKind::UnknownKey { .. }
        ));
        done.resolve(drops.one());
        assert_eq!(drops.count(), 1);
        assert_eq!(co.forget_all(), 0);
        let (_a, b) = (co.callback::<()>("a")?, co.callback("b")?);
        b.resolve(drops.one());
        assert_eq!(co.forget_all(), 2);
        assert_eq!(
            drops.count(),
            2,
            "a value that has arrived goes with its key"
        );
        co.callback("a")?.resolve(1);
        assert_eq!(co.wait::<i32>("a").await?, 1);
        Ok(())
    })
    .unwrap();
}

/// A key that is forgotten while it is waited for ends that wait.
#[test]
fn forgetting_a_key_ends_the_wait_for_it() {
    run(async |co| -> Result {
        let _held = co.callback::<u32>("k")?;
        let (waited, forgotten) =
            futures_util::future::join(co.wait::<u32>("k"), async { co.forget("k") }).await;
        forgotten?;
        assert!(matches!(
            waited.unwrap_err().kind(),
            ErrorKind::UnknownKey { .. }
        ));
        Ok(())
    })
    .unwrap();
}

/// A wait frees its own key, wherever the ledger has put that while other keys came and went.
#[test]
fn a_parked_wait_frees_its_key_and_no_other_after_many_came_and_went() {
    run(async |co| -> Result {
        for key in [Key::from(7), Key::from("text")] {
            let first = co.callback::<u32>("first")?;
            let held = co.callback::<u32>(&key)?;
            let others = async {
                co.forget("first")?;
                for n in 100..140 {
                    co.callback::<u32>(n)?.resolve(n);
                }
                held.resolve(7);
                Ok::<_, Error>(())
            };
            let (value, done) = futures_util::future::join(co.wait::<u32>(&key), others).await;
            done?;
            assert_eq!(value?, 7);
            first.resolve(1);
            assert!(co.wait::<u32>(&key).await.is_err(), "it is free");
            for n in 100..140 {
                assert_eq!(co.wait::<u32>(n).await?, n);
            }
            assert_eq!(co.forget_all(), 0);
        }
        Ok(())
    })
    .unwrap();
}

/// A value that is dropped with its key leaves the wait nothing, also when the key is pending again by then, which it stays.
#[test]
fn a_parked_wait_leaves_alone_a_key_that_was_given_up_and_registered_anew() {
    run(async |co| -> Result {
        let held = co.callback::<u32>("k")?;
        let mut again = None;
        let others = async {
            held.resolve(1);
            co.forget("k")?;
            again = Some(co.callback::<u32>("k")?);
            Ok::<_, Error>(())
        };
        let (waited, done) = futures_util::future::join(co.wait::<u32>("k"), others).await;
        done?;
        assert!(matches!(
            waited.unwrap_err().kind(),
            ErrorKind::UnknownKey { .. }
        ));
        again.unwrap().resolve(2);
        assert_eq!(co.wait::<u32>("k").await?, 2);
        Ok(())
    })
    .unwrap();
}

/// C074: a time registered under a key; going on meanwhile.
#[test]
fn a_timer_is_registered_now_and_waited_for_later() {
    let clock = yieldpoint::ManualClock::auto();
    let mut event_loop = EventLoop::builder()
        .clock(&clock)
        .fail_on_error()
        .build()
        .unwrap();
    event_loop
        .block_on(async |co| -> Result {
            co.timer("late", ms(100))?;
            assert!(matches!(
                co.timer("late", ms(1)).unwrap_err().kind(),
                ErrorKind::KeyReuse { .. }
            ));
            assert_eq!(clock.elapsed(), ms(0));
            co.wait::<()>("late").await?;
            assert_eq!(clock.elapsed(), ms(100));
            Ok(())
        })
        .unwrap();
}

/// C079, C080, and defects 14 and 15 of the ancestors: an odd list of keys is told at once, and frees none.
#[test]
fn a_list_of_keys_that_is_empty_or_names_one_twice_or_an_unknown_one_is_told_at_once() {
    run(async |co| -> Result {
        let none = co.wait_any::<u32>(Vec::<Key>::new()).await.unwrap_err();
        assert!(matches!(none.kind(), ErrorKind::NoKeys { .. }));
        assert!(co.any_ready(Vec::<Key>::new()).await.is_err());
        co.callback("done")?.resolve(1u32);
        let _held = co.callback::<u32>("held")?;
        let unknown = |error: Error| matches!(error.kind(), ErrorKind::UnknownKey { key, .. } if *key == "unknown");
        let twice = |error: Error| matches!(error.kind(), ErrorKind::RepeatedKey { .. });
        assert!(unknown(co.wait_any::<u32>(["done", "unknown"]).await.unwrap_err()));
        assert!(unknown(co.wait_all::<u32>(["held", "unknown"]).await.unwrap_err()));
        assert!(unknown(co.any_ready(["unknown", "done"]).await.unwrap_err()));
        assert!(twice(co.wait_any::<u32>(["held", "held"]).await.unwrap_err()));
        assert!(twice(co.wait_all::<u32>(["done", "done"]).await.unwrap_err()));
        let wrong = co.wait_all::<String>(["done"]).await.unwrap_err();
        assert!(matches!(wrong.kind(), ErrorKind::WrongType { .. }));
        assert!(co.any_ready(["held", "done"]).await? == "done");
        assert_eq!(co.wait_any::<u32>(["held", "done"]).await?.1, 1);
        co.forget("held")
    })
    .unwrap();
}

/// A lost resolver makes its key ready; only a wait that takes the loss frees it.
#[test]
fn a_lost_key_is_ready_and_its_loss_is_taken_by_waiting() {
    run(async |co| -> Result {
        let (held, lost) = (co.callback::<u32>("held")?, co.callback::<u32>("lost")?);
        co.handle().call_soon(move || drop(lost));
        assert!(co.any_ready(["held", "lost"]).await? == "lost");
        assert!(
            co.wait_any::<u32>(["held", "lost"])
                .await
                .unwrap_err()
                .is_abandoned()
        );
        held.resolve(1);
        assert_eq!(co.wait::<u32>("held").await?, 1);
        Ok(())
    })
    .unwrap();
}

/// More keys than are found by looking at one after the other.
#[test]
fn a_thousand_keys_are_found_reused_and_forgotten() {
    run(async |co| -> Result {
        let mut resolvers: Vec<_> = (0..1000)
            .map(|key| co.callback::<i32>(key))
            .collect::<Result<_>>()?;
        for (key, resolver) in resolvers.drain(..).enumerate().rev() {
            resolver.resolve(i32::try_from(key).unwrap());
        }
        for key in (0..1000).step_by(2) {
            assert_eq!(co.wait::<i32>(key).await?, key);
        }
        let _again = co.callback::<i32>(0)?;
        assert!(co.callback::<i32>(1).is_err());
        assert_eq!(co.forget_all(), 501);
        assert!(co.wait::<i32>(1).await.is_err());
        Ok(())
    })
    .unwrap();
}

/// Every point as a value, yielded.
#[test]
fn every_point_can_be_made_as_a_value_and_yielded() {
    run(async |co| -> Result {
        let done = co.yield_(Callback::<u32>::new("k")).await?;
        done.resolve(1);
        assert_eq!(co.yield_(Wait::<u32>::new("k")).await?, 1);
        co.yield_(Callback::<u32>::new("k")).await?.resolve(2);
        assert_eq!(co.yield_(WaitAll::<u32>::new(["k"])).await?, [2]);
        co.yield_(Callback::<u32>::new("k")).await?.resolve(3);
        assert_eq!(co.yield_(WaitAny::<u32>::new(["k"])).await?.1, 3);
        co.yield_(Timer::new("t", ms(1))).await?;
        co.yield_(Forget::key("t")).await?;
        co.yield_(Forget::all()).await?;
        co.yield_(Sleep::new(ms(1))).await?;
        co.yield_(YieldNow::new()).await?;
        assert_eq!(
            co.yield_(Task::new(|done: Resolver<u32>| done.resolve(4)))
                .await?,
            4
        );
        Ok(())
    })
    .unwrap();
}

/// `co.wait(key).await?;` compiles and asks for the type `!`, which the compiler chose: the error says what to write.
#[test]
fn a_wait_whose_type_is_not_said_is_told_what_to_write() {
    run(async |co| -> Result {
        co.timer("late", ms(1))?;
        let untyped = async {
            co.wait("late").await?;
            Ok::<_, Error>(())
        };
        let error = untyped.await.expect_err("no timer gives a `!`");
        let text = error.to_string();
        assert!(text.contains(" as !. Say the type there, ::<()>"), "{text}");
        co.wait::<()>("late").await
    })
    .unwrap();
}

#[test]
fn a_key_forgotten_while_it_is_waited_for_is_unknown_to_every_wait() {
    run(async |co| -> Result {
        let _never = co.callback::<u32>("k")?;
        let later = async {
            co.yield_now().await?;
            co.forget("k")
        };
        let (ready, forgotten) = co.all((co.any_ready(["k"]), later)).await;
        forgotten?;
        let error = ready.expect_err("it is not ready");
        assert!(
            matches!(error.kind(), ErrorKind::UnknownKey { key, .. } if *key == "k"),
            "{error}"
        );
        Ok(())
    })
    .unwrap();
}

/// More keys than are found by a scan: in two rounds, so that places are used again, and mixed with text.
#[test]
fn a_hundred_keys_are_found_freed_and_reported_each_by_its_name() {
    let mut event_loop = EventLoop::builder()
        .fail_on_error()
        .build()
        .expect("a loop");
    let ended = event_loop.block_on(async |co| -> Result<Vec<Key>> {
        for round in 0..2u32 {
            for n in 0..50u32 {
                co.callback::<u32>(n)?.resolve(n + round);
                co.callback::<u32>(format!("text {n}"))?
                    .resolve(n * 2 + round);
            }
            assert!(co.callback::<u32>(7).is_err(), "it is pending");
            for n in (0..50u32).rev() {
                assert_eq!(co.wait::<u32>(n).await?, n + round);
                assert_eq!(co.wait::<u32>(format!("text {n}")).await?, n * 2 + round);
                assert!(co.wait::<u32>(n).await.is_err(), "it is free");
            }
        }
        let _never: Vec<_> = (0..20).map(|n| co.callback::<()>(19 - n)).collect();
        co.forget(10)?;
        co.forget(0)?;
        let _again = co.callback::<()>(10)?;
        let snapshot = co.handle().snapshot();
        let keys = snapshot.coroutines[0].keys.iter();
        let keys = keys.map(|pending| pending.key.clone()).collect();
        assert_eq!(co.forget_all(), 19);
        Ok(keys)
    });
    let order = (1..20).rev().filter(|n| *n != 10).chain([10]);
    assert_eq!(
        ended.expect("the body ends well"),
        order.map(Key::from).collect::<Vec<_>>()
    );
}
