//! User code that panics, or that drops, spawns and queues where one does not expect it.

mod support;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::FutureExt;

use support::{Drops, OnDrop, Trace, Wakes, bomb, poll_with, strict, watched};
use yieldpoint::{
    Budget, Call, Co, Error, ErrorKind, EventLoop, Handle, Incident, Keyed, Ordered, Outcome,
    Resolver, Result, ms,
};

#[test]
fn a_body_that_panics_ends_with_the_panic_for_who_joins() {
    let (mut event_loop, incidents) = watched();
    let trace = Trace::new();
    let log = trace.clone();
    event_loop
        .block_on(async |co| -> Result {
            let join = co.handle().spawn(async |co: Co| -> Result {
                co.yield_now().await?;
                panic!("boom")
            });
            let other = co.handle().spawn(async move |co| -> Result {
                for n in 0..3 {
                    log.note(n);
                    co.yield_now().await?;
                }
                Ok(())
            });
            let error = join.await.unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Panicked { message, .. } if &**message == "boom")
            );
            other.await
        })
        .unwrap();
    assert_eq!(
        (trace.all().as_str(), incidents.all().as_str()),
        ("0 1 2", "")
    );
}

#[test]
fn a_panic_that_nobody_takes_is_reported_once_whenever_the_handle_goes() {
    let (mut event_loop, incidents) = watched();
    let handle = event_loop.handle();
    drop(handle.spawn(async |_| -> Result { panic!("detached") }));
    let kept = handle.spawn(async |_| -> Result { panic!("kept") });
    assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
    assert_eq!(incidents.all(), "panicked(coroutine: detached)");
    drop(kept);
    assert_eq!(
        incidents.all(),
        "panicked(coroutine: detached) panicked(coroutine: kept)"
    );
}

#[test]
fn a_panic_of_the_body_of_block_on_goes_to_the_caller_and_the_loop_goes_on() {
    let (mut event_loop, incidents) = watched();
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let _ = event_loop.block_on(async |co| -> Result {
            let _held = co.callback::<()>("k")?;
            panic!("mine")
        });
    }));
    assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "mine");
    assert_eq!(incidents.all(), "leaked(k)");
    assert!(event_loop.snapshot().coroutines.is_empty());
    assert_eq!(
        event_loop
            .block_on(async |_| -> Result<u32> { Ok(1) })
            .unwrap(),
        1
    );
}

/// C123
#[test]
fn a_callback_that_panics_does_not_stop_the_others() {
    let (mut event_loop, incidents) = watched();
    let trace = Trace::new();
    let handle = event_loop.handle();
    handle.call_soon(|| panic!("first"));
    handle.call_later(ms(1), || panic!("timer"));
    handle.call_soon(trace.noting("second"));
    handle.call_later(ms(2), trace.noting("third"));
    let _ = event_loop.run().unwrap();
    assert_eq!(trace.all(), "second third");
    assert_eq!(
        incidents.all(),
        "panicked(callback: first) panicked(callback: timer)"
    );
}

#[test]
fn drops_that_panic_are_contained_wherever_the_loop_drops() {
    let (mut event_loop, incidents) = watched();
    event_loop
        .block_on(async |co| -> Result {
            // A body dropped unrun.
            let held = bomb("body");
            let join = co.handle().spawn(async move |_| -> Result {
                drop(held);
                Ok(())
            });
            join.abort();
            assert!(join.await.is_err());
            // A key's value that nobody took, of a coroutine that is aborted.
            let join = co.handle().spawn(async |co: Co| -> Result {
                for key in 0..2 {
                    co.callback(key)?.resolve(Some(bomb("value")));
                }
                co.sleep(ms(60_000)).await
            });
            co.yield_now().await?;
            join.abort();
            assert!(matches!(
                join.await.unwrap_err().kind(),
                ErrorKind::Aborted { .. }
            ));
            Ok(())
        })
        .unwrap();
    assert_eq!(
        incidents.all(),
        "panicked(drop: body) panicked(drop: value) panicked(drop: value)"
    );
}

/// Two panics within one drop would end the process.
/// A future that has ended at once, and panics when it is dropped.
struct Remains;

impl Future for Remains {
    type Output = u32;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u32> {
        Poll::Ready(7)
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        panic!("remains");
    }
}

#[test]
fn a_body_that_panics_when_it_is_dropped_after_its_end_keeps_its_result() {
    let (mut event_loop, incidents) = watched();
    let result = event_loop.block_on(async |co| co.handle().spawn_future(Remains).await);
    assert_eq!(result.unwrap(), 7);
    assert_eq!(incidents.all(), "panicked(drop: remains)");
    drop(event_loop.handle().spawn_future(Remains));
    let _ = event_loop.run().unwrap();
    assert_eq!(
        incidents.all(),
        "panicked(drop: remains) panicked(drop: remains)"
    );
}

#[test]
fn an_end_outlives_the_loop_for_who_joins() {
    let mut event_loop = EventLoop::builder().fail_on_error().build().unwrap();
    let held = Rc::new(());
    let inner = Rc::clone(&held);
    let taken = event_loop
        .handle()
        .spawn(async |_| -> Result<Rc<()>> { Ok(inner) });
    let inner = Rc::clone(&held);
    let dropped = event_loop
        .handle()
        .spawn(async |_| -> Result<Rc<()>> { Ok(inner) });
    let _ = event_loop.run().unwrap();
    drop(event_loop);
    assert!(taken.is_finished());
    let value = taken.now_or_never().expect("it has ended").unwrap();
    assert_eq!(Rc::strong_count(&held), 3);
    drop((value, dropped));
    assert_eq!(Rc::strong_count(&held), 1);
}

#[test]
fn a_loop_dropped_with_many_values_whose_drop_panics_drops_them_all() {
    let (event_loop, incidents) = watched();
    let drops = Drops::new();
    let handle = event_loop.handle();
    for _ in 0..3 {
        let (held, one) = (bomb("queued"), drops.one());
        handle.call_soon(move || drop((one, held)));
        let (held, one) = (bomb("timer"), drops.one());
        handle.call_later(ms(1), move || drop((one, held)));
        let (held, one) = (bomb("body"), drops.one());
        drop(handle.spawn(async move |_| -> Result {
            drop((one, held));
            Ok(())
        }));
    }
    drop(event_loop);
    assert_eq!((drops.count(), incidents.0.borrow().len()), (9, 9));
}

#[test]
fn a_drop_may_spawn_resolve_cancel_and_queue() {
    let trace = Trace::new();
    let mut event_loop = strict();
    let log = trace.clone();
    event_loop
        .block_on(async |co| -> Result {
            let sleeper = co.handle().spawn(async |co: Co| co.sleep(ms(60_000)).await);
            let reply = co.callback::<u32>("reply")?;
            let (handle, id) = (co.handle().clone(), sleeper.id());
            let act = OnDrop::new(move || {
                let spawned = log.clone();
                drop(handle.spawn(async move |_| -> Result {
                    spawned.note("spawned");
                    Ok(())
                }));
                handle.call_soon(log.noting("called"));
                handle.cancel(id, "from a drop");
                reply.resolve(9);
            });
            let victim = co.handle().spawn(async move |co: Co| -> Result {
                let _act = act;
                co.sleep(ms(60_000)).await
            });
            co.yield_now().await?;
            victim.abort();
            assert!(victim.await.is_err());
            assert_eq!(co.wait::<u32>("reply").await?, 9);
            assert!(sleeper.await.is_err());
            Ok(())
        })
        .unwrap();
    assert_eq!(trace.all(), "spawned called");
}

#[test]
fn a_state_that_goes_with_the_last_worker_of_its_engine_may_spawn_where_it_is_dropped() {
    let trace = Trace::new();
    let mut event_loop = strict();
    let handle = event_loop.handle();
    let state = |name: &'static str| {
        let (handle, log) = (handle.clone(), trace.clone());
        OnDrop::new(move || {
            let spawned = log.clone();
            drop(handle.spawn(async move |_| -> Result {
                spawned.note(name);
                Ok(())
            }));
        })
    };
    let ordered = Ordered::with_state(state("ordered"))
        .serve(&handle, async |call: Call, _: &mut _, (): ()| -> Result {
            call.yield_now().await
        });
    ordered.try_send(()).unwrap();
    let keyed_state = Cell::new(Some(state("keyed")));
    let keyed = Keyed::with_state(move |_: &u32| keyed_state.take()).serve(
        &handle,
        async |call: Call<u32>, _: &mut _, (): ()| -> Result { call.yield_now().await },
    );
    keyed.try_send(7, ()).unwrap();
    let _ = event_loop.turn(Budget::steps(2)).unwrap();
    drop((ordered, keyed));
    assert_eq!(trace.all(), "");
    assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
    assert_eq!(trace.all(), "ordered keyed");
}

#[test]
fn keys_that_are_given_up_together_are_dropped_in_the_order_in_which_they_were_registered() {
    let trace = Trace::new();
    let mut event_loop = strict();
    event_loop
        .block_on(async |co| -> Result {
            for (key, name) in [(9, "a"), (2, "b"), (18, "c"), (-1, "d"), (0, "e")] {
                let value = OnDrop::new(trace.noting(name));
                co.callback(key)?.resolve(value);
            }
            co.callback("text")?.resolve(OnDrop::new(trace.noting("f")));
            assert_eq!(co.forget_all(), 6);
            Ok(())
        })
        .unwrap();
    assert_eq!(trace.all(), "a b c d e f");
}

#[test]
fn who_failed_in_its_first_resume_is_not_called_one_that_has_not_started() {
    let door: Rc<RefCell<Option<Handle>>> = Rc::default();
    let seen = Trace::new();
    let (place, log) = (Rc::clone(&door), seen.clone());
    let hook = move |_: &Incident| {
        let handle = place.borrow().clone().unwrap();
        let infos = handle.snapshot().coroutines;
        for info in &infos {
            log.note(&info.activity);
        }
    };
    let mut event_loop = EventLoop::builder().on_error(hook).build().unwrap();
    door.replace(Some(event_loop.handle()));
    let join = event_loop.handle().spawn(async |co: Co| -> Result {
        let _kept = co.callback::<()>("leaked")?;
        Err(Error::other("failed"))
    });
    let _ = event_loop.turn(Budget::default()).unwrap();
    assert_eq!(seen.all(), "ready");
    drop(join);
    door.take();
}

#[test]
fn a_callback_may_stop_spawn_and_cancel_itself() {
    let trace = Trace::new();
    let mut event_loop = strict();
    let handle = event_loop.handle();
    let own = Rc::new(Cell::new(None));
    let (door, log, mine) = (handle.clone(), trace.clone(), Rc::clone(&own));
    let timer = handle.call_later(ms(1), move || {
        log.note(door.cancel_timer(mine.get().unwrap())); // it is running: nothing to cancel
        let spawned = log.clone();
        drop(door.spawn(async move |_| -> Result {
            spawned.note("spawned");
            Ok(())
        }));
        door.stop();
        log.note("stopped");
    });
    own.set(Some(timer));
    assert!(matches!(event_loop.run().unwrap(), Outcome::Stopped));
    assert_eq!(trace.all(), "false stopped spawned");
    assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
}

#[test]
fn a_panic_in_the_function_of_a_task_is_the_panic_of_its_coroutine() {
    let (mut event_loop, incidents) = watched();
    event_loop
        .block_on(async |co| -> Result {
            let join = co.handle().spawn(async |co: Co| -> Result<u32> {
                co.task(|_done: Resolver<u32>| -> () { panic!("in the call") })
                    .await
            });
            assert!(join.await.unwrap_err().is_panicked());
            Ok(())
        })
        .unwrap();
    assert_eq!(incidents.all(), "");
}

/// An error that cannot be made from ours.
#[derive(Debug)]
struct Unmakable;

impl From<Error> for Unmakable {
    fn from(_: Error) -> Self {
        panic!("cannot be made")
    }
}

impl fmt::Display for Unmakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("cannot be shown")
    }
}

/// The join handle never stays open: who joins makes the error, and has the panic.
#[test]
fn an_error_type_whose_from_panics_does_not_leave_the_join_open() {
    let (mut event_loop, incidents) = watched();
    event_loop
        .block_on(async |co| -> Result {
            let aborted = co.handle().spawn(async |co: Co| -> Result<(), Unmakable> {
                let _ = co.sleep(ms(60_000)).await;
                Ok(())
            });
            let leaking = co.handle().spawn(async |co: Co| -> Result<(), Unmakable> {
                drop(co.callback::<()>("k"));
                Ok(())
            });
            co.yield_now().await?;
            aborted.abort();
            co.yield_now().await?;
            assert!(aborted.is_finished() && leaking.is_finished());
            for doomed in [aborted, leaking] {
                let joiner = co.handle().spawn(async |_| -> Result {
                    let _ = doomed.await;
                    Ok(())
                });
                assert!(joiner.await.unwrap_err().is_panicked());
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(incidents.all(), "");
}

#[test]
fn an_error_that_cannot_be_shown_is_reported_all_the_same() {
    let (mut event_loop, incidents) = watched();
    drop(
        event_loop
            .handle()
            .spawn(async |_| -> Result<(), Unmakable> { Err(Unmakable) }),
    );
    let _ = event_loop.run().unwrap();
    assert_eq!(
        incidents.all(),
        "panicked(error's Display: cannot be shown)"
    );
}

#[test]
fn a_hook_may_panic_and_use_a_handle() {
    let door: Rc<RefCell<Option<Handle>>> = Rc::default();
    let (lent, calls) = (Rc::clone(&door), Rc::new(Cell::new(0)));
    let counted = Rc::clone(&calls);
    let trace = Trace::new();
    let log = trace.clone();
    let mut event_loop = EventLoop::builder()
        .on_error(move |_| {
            counted.set(counted.get() + 1);
            if let Some(handle) = &*lent.borrow() {
                assert!(handle.snapshot().coroutines.len() <= 1);
                handle.call_soon(log.noting("from the hook"));
            }
            panic!("the hook");
        })
        .build()
        .unwrap();
    *door.borrow_mut() = Some(event_loop.handle());
    event_loop.handle().call_soon(|| panic!("one"));
    drop(
        event_loop
            .handle()
            .spawn(async |_| -> Result { panic!("two") }),
    );
    let _ = event_loop.run().unwrap();
    assert_eq!(
        (calls.get(), trace.all().as_str()),
        (2, "from the hook from the hook")
    );
    // A loop that is gone reports what is queued: a hook that queues must not call itself for ever.
    let handle = event_loop.handle();
    drop(event_loop);
    handle.call_soon(|| {});
    assert_eq!((calls.get(), trace.len()), (3, 2));
    door.take(); // the hook holds the handle that leads to the hook
}

#[test]
fn a_strict_loop_fails_the_run_in_which_an_incident_happens() {
    let mut event_loop = strict();
    event_loop.handle().call_soon(|| panic!("the cause"));
    let caught = catch_unwind(AssertUnwindSafe(|| drop(event_loop.run())));
    let text = *caught.unwrap_err().downcast::<String>().unwrap();
    assert!(text.contains("the cause"), "{text}");
    let _ = event_loop.run().unwrap(); // told once
}

#[test]
fn a_strict_loop_fails_its_drop_for_what_happened_since_the_last_turn() {
    let untaken = || {
        let mut event_loop = strict();
        let join = event_loop
            .handle()
            .spawn(async |_| -> Result { Err(std::io::Error::other("untaken").into()) });
        let _ = event_loop.run().unwrap();
        (event_loop, join)
    };
    let (event_loop, join) = untaken();
    let caught = catch_unwind(AssertUnwindSafe(move || {
        drop(join);
        drop(event_loop);
    }));
    assert!(
        caught
            .unwrap_err()
            .downcast::<String>()
            .unwrap()
            .contains("untaken")
    );
    let (event_loop, mut join) = untaken();
    let (_, waker) = Wakes::new();
    assert!(poll_with(&mut join, &waker).is_ready()); // taken
    drop((join, event_loop));
}

#[test]
fn a_loop_dropped_with_everything_in_flight_drops_each_thing_once() {
    let drops = Drops::new();
    let mut made = 0;
    let mut one = || {
        made += 1;
        drops.one()
    };
    let (mut event_loop, incidents) = watched();
    let handle = event_loop.handle();
    let remote = handle.remote();
    let kept: Rc<RefCell<Vec<Resolver<support::Dropped>>>> = Rc::default();
    let (first, second, third, result) = (one(), one(), one(), one());
    let keep = Rc::clone(&kept);
    let mut parked = handle.spawn(async move |co: Co| -> Result<support::Dropped> {
        let _first = first;
        co.callback("arrived")?.resolve(second);
        co.timer("late", ms(60_000))?;
        keep.borrow_mut().push(co.callback("k")?);
        let sent = co.callback::<u32>("sent")?.into_send();
        let _sent = OnDrop::new(move || drop(sent));
        let _third = third;
        co.wait("k").await
    });
    let ended = handle.spawn(async move |_| -> Result<support::Dropped> { Ok(result) });
    let _ = event_loop.turn(Budget::steps(100)).unwrap();
    let (e, f, g) = (one(), one(), one());
    let unstarted = handle.spawn(async move |_| -> Result {
        drop(e);
        Ok(())
    });
    handle.call_soon(move || drop(f));
    handle.call_later(ms(60_000), move || drop(g));
    let spawner = handle.clone();
    let h = one();
    let on_drop = OnDrop::new(move || {
        drop(spawner.spawn(async move |_| -> Result {
            drop(h);
            Ok(())
        }));
    });
    drop(handle.spawn(async move |_| -> Result {
        drop(on_drop);
        Ok(())
    }));
    let (woken, waker) = Wakes::new();
    assert!(poll_with(&mut parked, &waker).is_pending());

    drop(event_loop);
    assert_eq!(
        (made, drops.count()),
        (8, 7),
        "all but the result of the coroutine that ended"
    );
    assert_eq!(woken.count(), 1);
    assert!(matches!(
        poll_with(&mut parked, &waker),
        std::task::Poll::Ready(Err(error)) if error.is_loop_gone()
    ));
    drop(ended);
    assert_eq!(drops.count(), 8);

    // What outlives it answers.
    assert!(!handle.is_alive());
    assert!(remote.post(|_| {}).unwrap_err().is_loop_gone());
    assert!(!unstarted.cancel("late") && !unstarted.abort() && !handle.abort(unstarted.id()));
    assert!(handle.snapshot().coroutines.is_empty());
    handle.stop();
    let timer = handle.call_later(ms(1), || {});
    assert!(!handle.cancel_timer(timer));
    let mut late = handle.spawn(async |_| -> Result { Ok(()) });
    assert!(matches!(
        poll_with(&mut late, &waker),
        std::task::Poll::Ready(Err(error)) if error.is_loop_gone()
    ));
    for resolver in kept.take() {
        assert!(!resolver.is_wanted());
        resolver.resolve(drops.one());
    }
    assert_eq!(drops.count(), 9);
    assert_eq!(incidents.all(), "gone(a callback set with call_later)");
}

/// Handles inside callbacks, bodies, values and the vault make no circle that outlives the loop: the hook is dropped with the last
/// of what the loop shares.
#[test]
fn a_handle_held_inside_the_loop_does_not_keep_it() {
    let drops = Drops::new();
    let shared = drops.one();
    let event_loop = EventLoop::builder()
        .on_error(move |_| {
            let _ = &shared;
        })
        .build()
        .unwrap();
    let handle = event_loop.handle();
    let held = handle.clone();
    handle.call_soon(move || drop(held));
    let held = handle.clone();
    handle.call_later(ms(1), move || drop(held));
    let held = handle.clone();
    drop(handle.spawn(async move |co: Co| -> Result {
        co.callback("k")?.resolve(held);
        co.sleep(ms(1)).await
    }));
    let sent: Rc<RefCell<Option<Resolver<u32>>>> = Rc::default();
    let keep = Rc::clone(&sent);
    let mut event_loop = event_loop;
    event_loop
        .block_on(async |co| -> Result {
            *keep.borrow_mut() = Some(co.callback("s")?);
            co.forget("s")
        })
        .unwrap();
    drop((handle, event_loop));
    assert_eq!(drops.count(), 0, "the resolver is still about");
    let late = sent.take().unwrap().into_send(); // there is no loop to keep it any more
    drop(late);
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_door_of_a_coroutine_that_outlives_the_loop_says_that_the_loop_is_gone() {
    let (mut event_loop, incidents) = watched();
    let kept = event_loop
        .block_on(async |co| -> Result<Co> { Ok(co) })
        .unwrap();
    let closed = kept.callback::<()>("k").unwrap_err();
    assert!(
        matches!(closed.kind(), ErrorKind::Closed { .. }),
        "{closed}"
    );
    drop(event_loop);
    let gone = kept.callback::<()>("k").unwrap_err();
    assert!(gone.is_loop_gone(), "{gone}");
    assert_eq!(incidents.all(), "");
}

#[test]
fn a_loop_that_is_dropped_while_a_body_for_it_is_made_leaves_neither_the_body_nor_a_join_open() {
    let event_loop = strict();
    let handle = event_loop.handle();
    let drops = Drops::new();
    let held = drops.one();
    let mut join = handle.spawn(move |co: Co| {
        drop(event_loop);
        async move {
            let _held = held;
            co.yield_now().await
        }
    });
    assert_eq!(drops.count(), 1);
    let (_, waker) = Wakes::new();
    assert!(
        matches!(poll_with(&mut join, &waker), Poll::Ready(Err(error)) if error.is_loop_gone())
    );
}

thread_local! {
    /// A loop that lives as long as its thread.
    static OF_THE_THREAD: RefCell<Option<EventLoop>> = const { RefCell::new(None) };
}

#[test]
fn a_loop_that_ends_with_its_thread_drops_what_is_in_it() {
    let drops = Drops::new();
    let held = drops.one();
    std::thread::spawn(move || {
        OF_THE_THREAD.set(Some(strict()));
        OF_THE_THREAD.with_borrow_mut(|event_loop| {
            let event_loop = event_loop.as_mut().unwrap();
            drop(event_loop.handle().spawn(async move |_| -> Result {
                let _held = held;
                std::future::pending().await
            }));
            event_loop.turn(Budget::default()).unwrap();
        });
    })
    .join()
    .unwrap();
    assert_eq!(drops.count(), 1);
}
