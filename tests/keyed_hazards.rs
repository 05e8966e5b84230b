//! The keyed engine against users' code that comes back into it, and against ends that leave messages behind.
//!
//! 1. Time is a manual clock that moves by itself; no test sleeps to wait.
//! 2. What goes to the error hook is captured, and every test says what it expects there.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::{Future, poll_fn};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::thread;

use yieldpoint::{
    Call, Co, Error, EventLoop, Keyed, ManualClock, Result, ms,
    ordered::{AfterKeyFailure, DropReason, KeyedDoor, Overflow},
};

type Log<T> = Rc<RefCell<Vec<T>>>;

/// Runs a body on a loop, and gives what its error hook heard.
fn run_heard(body: impl AsyncFnOnce(Co) -> Result) -> Vec<String> {
    let heard = Log::default();
    let hook = Rc::clone(&heard);
    let mut event_loop = EventLoop::builder()
        .clock(&ManualClock::auto())
        .on_error(move |incident| hook.borrow_mut().push(incident.to_string()))
        .build()
        .expect("a loop");
    event_loop.block_on(body).expect("the body ends well");
    heard.take()
}

async fn settle(co: &Co) {
    for _ in 0..8 {
        co.yield_now().await.expect("nobody cancels");
    }
}

#[test]
fn what_a_parked_key_leaves_when_the_last_door_is_dropped_goes_to_the_hook() {
    let lost = Log::default();
    let hook = Rc::clone(&lost);
    let heard = run_heard(async |co| {
        let engine = Keyed::with_state(|_: &u32| ())
            .after_failure(AfterKeyFailure::ParkKey)
            .on_drop(move |key, n: u32, why| hook.borrow_mut().push((*key, n, why)))
            .serve(
                co.handle(),
                async |_: Call<u32>, (): &mut (), n: u32| -> Result {
                    if n == 0 {
                        Err(Error::other("declined"))
                    } else {
                        Ok(())
                    }
                },
            );
        for n in 0..3 {
            engine.try_send(7, n)?;
        }
        settle(&co).await;
        assert_eq!(engine.stats().queued, 2);
        drop(engine);
        settle(&co).await;
        Ok(())
    });
    assert!(
        heard.len() == 1 && heard[0].ends_with("failed: declined"),
        "{heard:?}"
    );
    let ended = DropReason::Ended;
    assert_eq!(*lost.borrow(), [(7, 1, ended), (7, 2, ended)]);
}

#[test]
fn without_a_hook_it_is_reported_also_what_a_thread_sent_and_stands_in_line() {
    let heard = run_heard(async |co| {
        let engine = Keyed::with_state(|_: &u32| ())
            .per_key(1)
            .after_failure(AfterKeyFailure::ParkKey)
            .serve(
                co.handle(),
                async |_: Call<u32>, (): &mut (), _: u32| -> Result {
                    Err(Error::other("declined"))
                },
            );
        assert!(engine.ask(7, 0).await.is_err());
        let door = engine.remote();
        let sending = thread::spawn(move || {
            for n in 1..4 {
                door.try_send(7, n).expect("there is room");
            }
        });
        sending.join().expect("it ends well");
        for _ in 0..10_000 {
            if engine.stats().waiting == 2 {
                break;
            }
            co.yield_now().await?;
        }
        drop(engine);
        for _ in 0..1000 {
            co.yield_now().await?;
        }
        Ok(())
    });
    assert!(
        heard.len() == 1 && heard[0].contains("3 queued messages were dropped"),
        "{heard:?}"
    );
}

#[test]
fn a_hook_that_sends_what_is_dropped_again_does_not_go_round_for_ever() {
    let heard = run_heard(async |co| {
        for overflow in [Overflow::KeepLast, Overflow::DropOldest] {
            let door = Rc::new(OnceCell::<KeyedDoor<u32, u32>>::new());
            let (again, calls) = (Rc::clone(&door), Rc::new(Cell::new(0)));
            let counted = Rc::clone(&calls);
            let engine = Keyed::with_state(|_: &u32| ())
                .per_key(2)
                .overflow(overflow)
                .on_drop(move |key, n: u32, _| {
                    counted.set(counted.get() + 1);
                    assert!(counted.get() < 100, "it goes round");
                    let _ = again.get().expect("it is set").try_send(*key, n);
                })
                .serve(
                    co.handle(),
                    async |call: Call<u32>, (): &mut (), _: u32| -> Result {
                        call.sleep(ms(1)).await
                    },
                );
            let _ = door.set(engine.downgrade());
            for n in 0..2 {
                engine.try_send(7, n)?;
            }
            let _ = engine.try_send(7, 3);
            let there = if overflow == Overflow::KeepLast { 2 } else { 1 };
            assert_eq!(calls.take(), there, "each that was there, once");
            engine.forget_key(&7);
            assert_eq!(calls.take(), 2);
            assert_eq!(engine.stats().queued, 2, "what the hook sent is new");
        }
        Ok(())
    });
    assert_eq!(heard, [""; 0]);
}

#[test]
fn a_size_that_panics_for_what_a_thread_sent_loses_nothing_that_comes_behind() {
    let (lost, log) = (Log::default(), Log::default());
    let (hook, noted) = (Rc::clone(&lost), Rc::clone(&log));
    let heard = run_heard(async |co| {
        let engine = Keyed::with_state(|_: &u32| ())
            .bytes(100, |n: &usize| {
                assert!(*n != 3, "no size");
                *n
            })
            .on_drop(move |key, n, why| hook.borrow_mut().push((*key, n, why)))
            .serve(
                co.handle(),
                async move |_: Call<u32>, (): &mut (), n: usize| -> Result {
                    noted.borrow_mut().push(n);
                    Ok(())
                },
            );
        for (numbers, done) in [(1..6, 4), (6..9, 7)] {
            let door = engine.remote();
            let sending = thread::spawn(move || {
                for n in numbers {
                    door.try_send(7, n).expect("there is room");
                }
            });
            sending.join().expect("it ends well");
            for _ in 0..10_000 {
                if engine.stats().done == done {
                    break;
                }
                co.yield_now().await?;
            }
        }
        Ok(())
    });
    assert_eq!(*log.borrow(), [1, 2, 4, 5, 6, 7, 8]);
    assert_eq!(*lost.borrow(), [(7, 3, DropReason::Overflow)]);
    assert!(
        heard.len() == 1 && heard[0].contains("no size"),
        "{heard:?}"
    );
}

/// Both at once, in one coroutine.
async fn both(one: impl Future<Output = Result>, other: impl Future<Output = Result>) -> Result {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(result) = one.as_mut().poll(cx)
        {
            first = Some(result);
        }
        if second.is_none()
            && let Poll::Ready(result) = other.as_mut().poll(cx)
        {
            second = Some(result);
        }
        match (&first, &second) {
            (Some(_), Some(_)) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
    first.unwrap_or(Ok(())).and(second.unwrap_or(Ok(())))
}

#[test]
fn a_call_that_begins_a_wait_while_it_wants_its_permit_back_lends_it_on() {
    let heard = run_heard(async |co| {
        let engine = Keyed::with_state(|_: &u32| ()).concurrency(1).serve(
            co.handle(),
            async |call: Call<u32>, (): &mut (), n: u64| -> Result {
                if *call.key() != 1 {
                    return call.sleep(ms(n)).await;
                }
                let door: KeyedDoor<u32, u64> = call.engine();
                let late = async {
                    call.sleep(ms(n)).await?;
                    door.ask(3, 1).await
                };
                both(door.ask(2, 5), late).await
            },
        );
        let asked = engine.ask(1, 10);
        let asking = co.handle().spawn(async move |_| asked.await);
        co.sleep(ms(2)).await?;
        engine.try_send(4, 20)?; // it gets the permit when the answer of 2 has come
        asking.await?;
        assert_eq!(engine.stats().done, 4);
        engine.finish().await
    });
    assert_eq!(heard, [""; 0]);
}

#[test]
fn the_error_of_a_full_engine_names_the_limit_that_is_reached() {
    let heard = run_heard(async |co| {
        let engine = Keyed::with_state(|_: &u32| ())
            .total(2)
            .bytes(10, |n: &usize| *n)
            .serve(
                co.handle(),
                async |_: Call<u32>, (): &mut (), _: usize| -> Result { Ok(()) },
            );
        engine.try_send(1, 9)?;
        let bytes = engine.try_send(2, 2).expect_err("10 bytes").to_string();
        engine.try_send(2, 1)?;
        let total = engine.try_send(3, 0).expect_err("two messages").to_string();
        assert!(
            bytes.contains("in bytes") && bytes.contains("its limit is 10."),
            "{bytes}"
        );
        assert!(
            !total.contains("in bytes") && total.contains("its limit is 2."),
            "{total}"
        );
        Ok(())
    });
    assert_eq!(heard, [""; 0]);
}

#[test]
fn an_error_hook_that_resumes_the_key_it_hears_of_finds_it_parked() {
    let door = Rc::new(OnceCell::<KeyedDoor<u32, u32>>::new());
    let resumed = Log::default();
    let (hook, told) = (Rc::clone(&door), Rc::clone(&resumed));
    let mut event_loop = EventLoop::builder()
        .clock(&ManualClock::auto())
        .on_error(move |_| {
            let was_held = hook.get().is_some_and(|door| door.resume_key(&7));
            told.borrow_mut().push(was_held);
        })
        .build()
        .expect("a loop");
    let body = async |co: Co| -> Result {
        let engine = Keyed::with_state(|_: &u32| ())
            .after_failure(AfterKeyFailure::ParkKey)
            .serve(
                co.handle(),
                async |_: Call<u32>, (): &mut (), n: u32| -> Result {
                    if n == 0 {
                        Err(Error::other("declined"))
                    } else {
                        Ok(())
                    }
                },
            );
        let _ = door.set(engine.downgrade());
        engine.try_send(7, 0)?;
        engine.try_send(7, 1)?;
        engine.finish().await
    };
    event_loop.block_on(body).expect("the body ends well");
    assert_eq!(*resumed.borrow(), [true]);
}

#[test]
fn a_key_that_the_error_hook_restarts_gets_new_state_and_one_that_it_resumes_does_not() {
    for (restarts, seen) in [(true, [0, 0, 0]), (false, [0, 1, 2])] {
        let door = Rc::new(OnceCell::<KeyedDoor<u32, u32>>::new());
        let hook = Rc::clone(&door);
        let mut event_loop = EventLoop::builder()
            .clock(&ManualClock::auto())
            .on_error(move |_| {
                let door = hook.get().expect("it is set before any call");
                let was_held = if restarts {
                    door.restart_key(&7)
                } else {
                    door.resume_key(&7)
                };
                assert!(was_held);
            })
            .build()
            .expect("a loop");
        let calls = Log::default();
        let told = Rc::clone(&calls);
        let body = async |co: Co| -> Result {
            let engine = Keyed::with_state(|_: &u32| 0)
                .after_failure(AfterKeyFailure::ParkKey)
                .serve(
                    co.handle(),
                    async move |_: Call<u32>, count: &mut u32, n: u32| -> Result {
                        told.borrow_mut().push(*count);
                        *count += 1;
                        match n {
                            0 => Err(Error::other("declined")),
                            1 => panic!("declined"),
                            _ => Ok(()),
                        }
                    },
                );
            let _ = door.set(engine.downgrade());
            for n in 0..3 {
                engine.try_send(7, n)?;
            }
            engine.finish().await
        };
        event_loop.block_on(body).expect("the body ends well");
        assert_eq!(*calls.borrow(), seen, "restarted: {restarts}");
    }
}

/// A state that forgets its key as it is dropped, if it has a door, and sends to it again.
#[derive(Default)]
struct Forgetful {
    calls: u32,
    door: Option<KeyedDoor<u32, u32>>,
}

impl Drop for Forgetful {
    fn drop(&mut self) {
        if let Some(door) = self.door.take() {
            door.forget_key(&7);
            for n in 1..4 {
                door.try_send(7, n).expect("there is room");
            }
        }
    }
}

#[test]
fn a_state_that_forgets_its_key_as_it_is_dropped_takes_no_later_state_with_it() {
    let calls = Log::default();
    let told = Rc::clone(&calls);
    let heard = run_heard(async |co| {
        let door = Rc::new(OnceCell::<KeyedDoor<u32, u32>>::new());
        let known = Rc::clone(&door);
        let engine = Keyed::with_state(|_: &u32| Forgetful::default()).serve(
            co.handle(),
            async move |_: Call<u32>, state: &mut Forgetful, n: u32| -> Result {
                told.borrow_mut().push(state.calls);
                state.calls += 1;
                if n == 0 {
                    let door = known.get().expect("it is set before any call");
                    state.door = Some(door.clone());
                    door.forget_key(&7);
                }
                Ok(())
            },
        );
        let _ = door.set(engine.downgrade());
        engine.try_send(7, 0)?;
        settle(&co).await;
        engine.finish().await
    });
    assert!(heard.is_empty(), "{heard:?}");
    assert_eq!(*calls.borrow(), [0, 0, 1, 2]);
}

#[test]
fn after_it_has_finished_nothing_arrives_by_a_door_that_keeps_nothing_alive() {
    let heard = run_heard(async |co| {
        let engine = Keyed::with_state(|_: &u32| ()).serve(
            co.handle(),
            async |_: Call<u32>, (): &mut (), _: u32| -> Result { Ok(()) },
        );
        let door: KeyedDoor<u32, u32> = engine.downgrade();
        engine.ask(1, 1).await?;
        assert!(door.is_open());
        engine.finish().await?;
        assert!(!door.is_open());
        assert!(door.try_send(1, 2).is_err());
        assert!(door.ask(1, 3).await.is_err());
        Ok(())
    });
    assert_eq!(heard, [""; 0]);
}

#[test]
fn what_a_thread_sent_is_not_lost_with_a_key_that_users_code_forgets_meanwhile() {
    for by_hook in [false, true] {
        let (lost, log) = (Log::default(), Log::default());
        let (hook, noted) = (Rc::clone(&lost), Rc::clone(&log));
        let door = Rc::new(OnceCell::<KeyedDoor<u32, u32>>::new());
        let (sized, dropped) = (Rc::clone(&door), Rc::clone(&door));
        let forget = |door: &OnceCell<KeyedDoor<u32, u32>>| {
            door.get().expect("it is set").forget_key(&7);
        };
        let heard = run_heard(async |co| {
            let engine = Keyed::with_state(|_: &u32| ())
                .per_key(1)
                .overflow(Overflow::KeepLast)
                .after_failure(AfterKeyFailure::ParkKey)
                .bytes(100, move |n: &u32| {
                    if *n == 2 && !by_hook {
                        forget(&sized);
                    }
                    1
                })
                .on_drop(move |key, n, why| {
                    hook.borrow_mut().push((*key, n, why));
                    forget(&dropped);
                })
                .serve(
                    co.handle(),
                    async move |_: Call<u32>, (): &mut (), n: u32| -> Result {
                        noted.borrow_mut().push(n);
                        if n == 0 {
                            Err(Error::other("declined"))
                        } else {
                            Ok(())
                        }
                    },
                );
            let _ = door.set(engine.downgrade());
            assert!(engine.ask(7, 0).await.is_err());
            if by_hook {
                engine.try_send(7, 1)?;
            }
            let remote = engine.remote();
            let sending = thread::spawn(move || remote.try_send(7, 2).expect("there is room"));
            sending.join().expect("it ends well");
            engine.finish().await
        });
        assert_eq!(heard, [""; 0]);
        let over = DropReason::Overflow;
        if by_hook {
            assert_eq!(*lost.borrow(), [(7, 1, over), (7, 2, over)]);
            assert_eq!(*log.borrow(), [0]);
        } else {
            assert_eq!(*lost.borrow(), []);
            assert_eq!(*log.borrow(), [0, 2]);
        }
    }
}

thread_local! {
    /// What the next [`Leaving`] that is dropped does.
    static LEAVES: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// A key with code to run when it is dropped.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Leaving(u32);

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(leave) = LEAVES.take() {
            leave();
        }
    }
}

#[test]
fn what_a_thread_sent_is_not_lost_where_its_key_came_in_meanwhile_and_is_forgotten_as_it_is_dropped()
 {
    let lost = Log::default();
    let hook = Rc::clone(&lost);
    let door = Rc::new(OnceCell::<KeyedDoor<Leaving, u32>>::new());
    let (weighed, asked) = (Rc::clone(&door), Cell::new(false));
    let heard = run_heard(async |co| {
        let engine = Keyed::with_state(|_: &Leaving| ())
            .weight(move |key| {
                if !asked.replace(true) {
                    let door = Rc::clone(&weighed);
                    let send = || door.get().expect("it is set").try_send(key.clone(), 1);
                    send().expect("there is room");
                    LEAVES.set(Some(Box::new(move || {
                        door.get().expect("it is set").forget_key(&Leaving(7));
                    })));
                }
                1
            })
            .on_drop(move |key, n, why| hook.borrow_mut().push((key.0, n, why)))
            .serve(
                co.handle(),
                async |_: Call<Leaving>, (): &mut (), _: u32| -> Result { Ok(()) },
            );
        let _ = door.set(engine.downgrade());
        let remote = engine.remote();
        let sending = thread::spawn(move || remote.try_send(Leaving(7), 2).expect("there is room"));
        sending.join().expect("it ends well");
        engine.finish().await
    });
    assert_eq!(heard, [""; 0]);
    let forgotten = DropReason::Forgotten;
    assert_eq!(*lost.borrow(), [(7, 1, forgotten), (7, 2, forgotten)]);
}

#[test]
fn a_message_at_a_kept_place_makes_no_room_and_bars_no_other_key() {
    let heard = run_heard(async |co| {
        let engine = Keyed::with_state(|_: &u32| ()).per_key(1).serve(
            co.handle(),
            async |_: Call<u32>, (): &mut (), (): ()| -> Result { Ok(()) },
        );
        let place = engine.reserve(0).await?;
        let mut behind = pin!(engine.send(0, ()));
        poll_fn(|cx| {
            assert!(behind.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        place.send(())?;
        // The place is taken, so who waits behind it still waits, for room of his key: there is room of all.
        engine.try_send(1, ())?;
        behind.await?;
        engine.finish().await
    });
    assert_eq!(heard, [""; 0]);
}

#[test]
fn a_kept_place_is_given_up_by_a_message_whose_size_panics() {
    let heard = run_heard(async |co| {
        let size = |n: &usize| n.checked_sub(1).expect("there is no size");
        let engine = Keyed::with_state(|_: &u32| ())
            .per_key(1)
            .bytes(100, size)
            .serve(
                co.handle(),
                async |_: Call<u32>, (): &mut (), _: usize| -> Result { Ok(()) },
            );
        let place = engine.reserve(0).await?;
        let sent = catch_unwind(AssertUnwindSafe(|| place.send(0)));
        assert!(sent.is_err());
        engine.try_send(0, 1)?;
        engine.finish().await
    });
    assert_eq!(heard, [""; 0]);
}

/// A key whose `Hash` panics, if it is 13.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Unlucky(u8);

impl Hash for Unlucky {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        assert_ne!(self.0, 13);
        self.0.hash(hasher);
    }
}

/// A message whose `Drop` panics, if it is true.
struct Sore(bool);

impl Drop for Sore {
    fn drop(&mut self) {
        assert!(!self.0);
    }
}

#[test]
fn what_other_threads_sent_behind_a_key_and_a_message_that_panic_is_handled() {
    let heard = run_heard(async |co| {
        let handled = Rc::new(Cell::new(0));
        let count = Rc::clone(&handled);
        let engine = Keyed::with_state(|_: &Unlucky| ()).serve(
            co.handle(),
            async move |_: Call<Unlucky>, (): &mut (), _: Sore| -> Result {
                count.set(count.get() + 1);
                Ok(())
            },
        );
        let remote = engine.remote();
        let sender = thread::spawn(move || {
            for key in [1, 13, 2] {
                assert!(remote.try_send(Unlucky(key), Sore(key == 13)).is_ok());
            }
        });
        sender.join().expect("all were sent");
        engine.finish().await?;
        assert_eq!(handled.get(), 2);
        Ok(())
    });
    assert_eq!(heard.len(), 2, "{heard:?}");
}

thread_local! {
    /// What the next comparing of two keys does, if anything.
    static AT_EQ: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// A key with code to run when it is compared. All have one hash, so that they lie one behind the other.
#[derive(Clone, Debug)]
struct Colliding(u32);

impl Hash for Colliding {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        0.hash(hasher);
    }
}

impl PartialEq for Colliding {
    fn eq(&self, other: &Self) -> bool {
        if let Some(act) = AT_EQ.take() {
            act();
        }
        self.0 == other.0
    }
}

impl Eq for Colliding {}

#[test]
fn a_permit_dropped_in_eq_hides_no_key_and_its_own_key_goes_afterwards() {
    for (drops, keys) in [(false, 2), (true, 1)] {
        let (running, handled) = (Rc::new(Cell::new(0)), Log::default());
        let (runs, log) = (Rc::clone(&running), Rc::clone(&handled));
        let heard = run_heard(async |co| {
            let engine = Keyed::with_state(|_: &Colliding| ()).serve(
                co.handle(),
                async move |call: Call<Colliding>, (): &mut (), n: u32| -> Result {
                    assert_eq!(runs.replace(1), 0, "calls of one key at a time");
                    call.sleep(ms(1)).await?;
                    runs.set(0);
                    log.borrow_mut().push(n);
                    Ok(())
                },
            );
            // Key 1 lies before key 2, and is there for its kept place alone.
            let permit = Rc::new(Cell::new(Some(engine.reserve(Colliding(1)).await?)));
            let at_eq = Rc::clone(&permit);
            engine.try_send(Colliding(2), 0)?;
            assert_eq!(engine.stats().keys, 2);
            AT_EQ.set(Some(Box::new(move || {
                if drops {
                    drop(at_eq.take());
                }
            })));
            engine.try_send(Colliding(2), 1)?;
            assert_eq!(engine.stats().keys, keys);
            settle(&co).await;
            co.sleep(ms(10)).await?;
            assert_eq!(engine.stats().keys, keys - 1);
            drop(permit.take());
            assert_eq!(engine.stats().keys, 0);
            engine.finish().await
        });
        assert_eq!(heard, [""; 0]);
        assert_eq!((running.get(), &*handled.borrow()), (0, &vec![0, 1]));
    }
}

#[test]
fn a_message_for_a_key_whose_only_permit_is_dropped_as_it_is_found_is_handled() {
    let handled = Log::default();
    let log = Rc::clone(&handled);
    let heard = run_heard(async |co| {
        let engine = Keyed::with_state(|_: &Colliding| ()).serve(
            co.handle(),
            async move |_: Call<Colliding>, (): &mut (), n: u32| -> Result {
                log.borrow_mut().push(n);
                Ok(())
            },
        );
        let permit = engine.reserve(Colliding(1)).await?;
        AT_EQ.set(Some(Box::new(move || drop(permit))));
        engine.try_send(Colliding(1), 0)?;
        assert_eq!(engine.stats().keys, 1);
        engine.finish().await
    });
    assert_eq!(heard, [""; 0]);
    assert_eq!(*handled.borrow(), [0]);
}

#[test]
fn a_key_whose_permit_is_dropped_in_an_eq_that_panics_goes_with_the_next_message() {
    let heard = run_heard(async |co| {
        let engine = Keyed::with_state(|_: &Colliding| ()).serve(
            co.handle(),
            async |_: Call<Colliding>, (): &mut (), (): ()| -> Result { Ok(()) },
        );
        let permit = engine.reserve(Colliding(1)).await?;
        assert_eq!(engine.stats().keys, 1);
        AT_EQ.set(Some(Box::new(move || {
            drop(permit);
            panic!("it cannot be compared");
        })));
        let sent = catch_unwind(AssertUnwindSafe(|| engine.try_send(Colliding(2), ())));
        assert!(sent.is_err());
        engine.try_send(Colliding(2), ())?;
        assert_eq!(engine.stats().keys, 1);
        engine.finish().await
    });
    assert_eq!(heard, [""; 0]);
}
