//! Cancel and abort (decision 7) in each state a coroutine can be in.

mod support;

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;

use futures_util::future::{join, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use support::{Drops, Trace, strict, watched};
use yieldpoint::{Co, Error, ErrorKind, JoinHandle, Resolver, Result, ms};

/// How a joined coroutine ended, in a word or two.
fn end<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Ok(value) => format!("ok({value:?})"),
        Err(error) => match error.kind() {
            ErrorKind::CoroutineCancelled {
                reason,
                swallowed,
                keys,
                ..
            } => {
                let how = if *swallowed { "swallowed" } else { "cancelled" };
                let keys: Vec<_> = keys.iter().map(|key| key.key.to_string()).collect();
                format!("{how}({reason})[{}]", keys.join(","))
            }
            ErrorKind::Cancelled { reason, .. } => format!("own({reason})"),
            ErrorKind::Aborted { .. } => "aborted".to_owned(),
            _ => format!("err({error})"),
        },
    }
}

/// Spawns a body, lets it park, cancels it, and says how it ended.
fn parked_then_cancelled<B, T>(body: B) -> String
where
    B: AsyncFnOnce(Co) -> Result<T> + 'static,
    T: std::fmt::Debug + 'static,
{
    strict()
        .block_on(async |co| -> Result<String> {
            let join = co.handle().spawn(body);
            co.yield_now().await?;
            co.yield_now().await?;
            assert!(join.cancel("bye"));
            Ok(end(join.await))
        })
        .expect("the parent is not cancelled")
}

/// Spawns a body that swallows, cancels it once it is parked, and says how it ended and what was reported.
fn swallowing<B>(body: B) -> (String, String)
where
    B: AsyncFnOnce(Co) -> Result + 'static,
{
    let (mut event_loop, incidents) = watched();
    let ended = event_loop
        .block_on(async |co| -> Result<String> {
            let join = co.handle().spawn(body);
            co.yield_now().await?;
            co.yield_now().await?;
            join.cancel("bye");
            Ok(end(join.await))
        })
        .expect("the parent is not cancelled");
    (ended, incidents.all())
}

#[test]
fn an_unstarted_coroutine_is_dropped_unrun() {
    let drops = Drops::new();
    let kept = drops.one();
    let ran = Rc::new(Cell::new(false));
    let mark = Rc::clone(&ran);
    let ended = strict()
        .block_on(async |co| -> Result<String> {
            let join = co.handle().spawn(async move |_| -> Result {
                let _kept = kept;
                mark.set(true);
                Ok(())
            });
            assert!(join.cancel("too early"));
            Ok(end(join.await))
        })
        .unwrap();
    assert_eq!(ended, "cancelled(too early)[]");
    assert_eq!((ran.get(), drops.count()), (false, 1));
}

#[test]
fn a_ready_coroutine_learns_of_it_at_the_point_it_was_parked_on() {
    let trace = Trace::new();
    let log = trace.clone();
    let ended = strict()
        .block_on(async |co| -> Result<String> {
            let join = co.handle().spawn(async move |co| -> Result {
                log.note("a");
                let error = co.yield_now().await.unwrap_err();
                log.note(if error.is_cancelled() {
                    "cancelled"
                } else {
                    "?"
                });
                Err(error)
            });
            co.yield_now().await?; // it is in the ready queue again
            join.cancel("bye");
            Ok(end(join.await))
        })
        .unwrap();
    assert_eq!(
        (trace.all().as_str(), ended.as_str()),
        ("a cancelled", "cancelled(bye)[]")
    );
}

#[test]
fn a_running_coroutine_that_cancels_itself_learns_of_it_at_its_next_point() {
    let trace = Trace::new();
    let log = trace.clone();
    let ended = strict()
        .block_on(async |co| -> Result<String> {
            let join = co.handle().spawn(async move |co| -> Result {
                assert!(co.handle().cancel(co.id(), "myself"));
                log.note("still running");
                let slept = co.sleep(ms(1000)).await;
                log.note(slept.as_ref().is_err_and(Error::is_cancelled));
                slept
            });
            Ok(end(join.await))
        })
        .unwrap();
    assert_eq!(
        (trace.all().as_str(), ended.as_str()),
        ("still running true", "cancelled(myself)[]")
    );
}

#[test]
fn every_point_of_our_own_gives_the_cancel() {
    let cancelled = "cancelled(bye)[]";
    let with_key = "cancelled(bye)[k]";
    assert_eq!(
        parked_then_cancelled(async |co| co.sleep(ms(60_000)).await),
        cancelled
    );
    assert_eq!(
        parked_then_cancelled(async |co| {
            let mut held: Option<Resolver<u32>> = None;
            co.task(|done| held = Some(done)).await
        }),
        cancelled
    );
    assert_eq!(
        parked_then_cancelled(async |co| {
            let _held = co.callback::<u32>("k")?;
            co.wait::<u32>("k").await
        }),
        with_key
    );
    assert_eq!(
        parked_then_cancelled(async |co| {
            let _held = co.callback::<u32>("k")?;
            co.wait_all::<u32>(["k"]).await
        }),
        with_key
    );
    assert_eq!(
        parked_then_cancelled(async |co| {
            let _held = co.callback::<u32>("k")?;
            co.wait_any::<u32>(["k"]).await.map(|(_, value)| value)
        }),
        with_key
    );
    assert_eq!(
        parked_then_cancelled(async |co| {
            let _held = co.callback::<u32>("k")?;
            co.any_ready(["k"]).await.map(drop)
        }),
        with_key
    );
    assert_eq!(
        parked_then_cancelled(async |co| {
            let child = co.handle().spawn(async |co| co.sleep(ms(5)).await);
            child.await
        }),
        cancelled
    );
}

/// Join, unordered set and `join_all` poll with wakers of their own, or with the loop's; either way each child must hear.
#[test]
fn a_cancel_reaches_every_point_inside_foreign_combinators() {
    let heard = Rc::new(Cell::new(0));
    let count = |heard: &Rc<Cell<u32>>, result: Result| {
        if result.is_err_and(|error| error.is_cancelled()) {
            heard.set(heard.get() + 1);
        }
    };
    let h = Rc::clone(&heard);
    parked_then_cancelled(async move |co| {
        let (a, b) = join(co.sleep(ms(1000)), co.sleep(ms(2000))).await;
        count(&h, a);
        count(&h, b);
        Ok(())
    });
    assert_eq!(heard.replace(0), 2);
    let h = Rc::clone(&heard);
    parked_then_cancelled(async move |co| {
        let mut set: FuturesUnordered<_> = (1..=50).map(|n| co.sleep(ms(n * 1000))).collect();
        while let Some(result) = set.next().await {
            count(&h, result);
        }
        Ok(())
    });
    assert_eq!(heard.replace(0), 50);
    let h = Rc::clone(&heard);
    parked_then_cancelled(async move |co| {
        for result in join_all((1..=40).map(|n| co.sleep(ms(n * 1000)))).await {
            count(&h, result);
        }
        Ok(())
    });
    assert_eq!(heard.replace(0), 40);
}

#[test]
fn a_value_that_has_arrived_wins() {
    let ended = strict()
        .block_on(async |co| -> Result<Vec<String>> {
            let handle = co.handle().clone();
            let key = co.handle().spawn(async move |co| -> Result<u32> {
                let done = co.callback::<u32>("k")?;
                handle.call_later(ms(1), move || done.resolve(7));
                let me = co.id();
                let door = handle.clone();
                handle.call_later(ms(1), move || assert!(door.cancel(me, "late")));
                co.wait("k").await
            });
            let sleeper = co.handle().spawn(async move |co| -> Result<u32> {
                co.sleep(ms(1)).await?;
                Ok(8)
            });
            let id = sleeper.id();
            let door = co.handle().clone();
            // Set before the sleep, so ahead of it in the same look: the sleeper is awake and not resumed.
            co.handle()
                .call_later(ms(1), move || assert!(door.cancel(id, "late")));
            Ok(vec![end(key.await), end(sleeper.await)])
        })
        .unwrap();
    assert_eq!(ended, ["ok(7)", "ok(8)"]);
}

/// Of several keys one has arrived: it wins, wherever it stands in the list.
#[test]
fn a_value_of_a_later_key_wins_in_wait_any() {
    let ended = strict()
        .block_on(async |co| -> Result<String> {
            let join = co.handle().spawn(async |co| -> Result<(String, u32)> {
                let _never = co.callback::<u32>("a")?;
                let b = co.callback::<u32>("b")?;
                let (handle, me) = (co.handle().clone(), co.id());
                co.handle().call_soon(move || {
                    b.resolve(2);
                    handle.cancel(me, "late");
                });
                let (key, value) = co.wait_any::<u32>(["a", "b"]).await?;
                co.forget("a")?;
                Ok((key.to_string(), value))
            });
            Ok(end(join.await))
        })
        .unwrap();
    assert_eq!(ended, r#"ok(("b", 2))"#);
}

/// The wait goes on from the key that arrived to one it was never parked on: it was parked all the same.
#[test]
fn wait_all_gives_the_cancel_although_one_key_arrived_with_it() {
    let ended = strict()
        .block_on(async |co| -> Result<String> {
            let join = co.handle().spawn(async |co| -> Result<Vec<u32>> {
                let a = co.callback::<u32>("a")?;
                let _never = co.callback::<u32>("b")?;
                let (handle, me) = (co.handle().clone(), co.id());
                co.handle().call_soon(move || {
                    a.resolve(1);
                    handle.cancel(me, "bye");
                });
                co.wait_all::<u32>(["a", "b"]).await
            });
            Ok(end(join.await))
        })
        .unwrap();
    assert_eq!(ended, "cancelled(bye)[a,b]");
}

#[test]
fn the_first_reason_stands_and_after_the_end_there_is_nothing_to_cancel() {
    let ended = strict()
        .block_on(async |co| -> Result<(String, [bool; 5])> {
            let join = co.handle().spawn(async |co| co.sleep(ms(60_000)).await);
            co.yield_now().await?;
            let id = join.id();
            let (first, again) = (join.cancel("first"), join.cancel("second"));
            let ended = end(join.await);
            let late = (co.handle().cancel(id, "late"), co.handle().abort(id));
            let next: JoinHandle = co.handle().spawn(async |co| co.sleep(ms(1)).await);
            let stale = co.handle().cancel(id, "stale"); // the place may have a new tenant
            next.await?;
            Ok((ended, [first, again, late.0, late.1, stale]))
        })
        .unwrap();
    assert_eq!(
        ended,
        (
            "cancelled(first)[]".to_owned(),
            [true, true, false, false, false]
        )
    );
}

#[test]
fn what_the_body_makes_of_its_cancel_is_its_end() {
    let ok = parked_then_cancelled(async |co| -> Result<u32> {
        let _ = co.sleep(ms(60_000)).await;
        Ok(5)
    });
    assert_eq!(ok, "ok(5)");
    let other = parked_then_cancelled(async |co| -> Result {
        let _ = co.sleep(ms(60_000)).await;
        Err(ErrorKind::Closed {
            what: "shop",
            created_at: None,
        }
        .into())
    });
    assert!(other.starts_with("err(the shop is closed"), "{other}");
}

/// A failure that is not the cancel is not what was asked for: it is reported when nobody joins.
#[test]
fn another_error_after_a_cancel_is_reported_and_the_cancel_is_not() {
    let (mut event_loop, incidents) = watched();
    event_loop
        .block_on(async |co| -> Result {
            let failing = co.handle().spawn(async |co| -> Result {
                let _ = co.sleep(ms(60_000)).await;
                Err(std::io::Error::other("disk full").into())
            });
            let ending = co.handle().spawn(async |co| co.sleep(ms(60_000)).await);
            co.yield_now().await?;
            failing.cancel("bye");
            ending.cancel("bye");
            drop((failing, ending));
            co.yield_now().await
        })
        .unwrap();
    assert_eq!(incidents.all(), "untaken(disk full)");
}

/// Keys left by a coroutine that ended well, or in its own way, after a cancel are not lost silently (decision 6).
#[test]
fn keys_left_after_a_cancel_are_listed_whatever_the_end() {
    let (mut event_loop, incidents) = watched();
    let ended = event_loop
        .block_on(async |co| -> Result<Vec<String>> {
            let well = co.handle().spawn(async |co| -> Result<u32> {
                let _held = co.callback::<()>("well")?;
                let _ = co.sleep(ms(60_000)).await;
                Ok(1)
            });
            let badly = co.handle().spawn(async |co| -> Result<u32> {
                let _held = co.callback::<()>("badly")?;
                let _ = co.sleep(ms(60_000)).await;
                Err(std::io::Error::other("disk full").into())
            });
            let cancelled = co.handle().spawn(async |co| -> Result {
                let _held = co.callback::<()>("in the error")?;
                co.sleep(ms(60_000)).await
            });
            co.yield_now().await?;
            for id in [well.id(), badly.id(), cancelled.id()] {
                co.handle().cancel(id, "bye");
            }
            Ok(vec![
                end(well.await),
                end(badly.await),
                end(cancelled.await),
            ])
        })
        .unwrap();
    assert_eq!(
        ended,
        ["ok(1)", "err(disk full)", "cancelled(bye)[in the error]"]
    );
    assert_eq!(incidents.all(), "leaked(well) leaked(badly)");
}

#[test]
fn a_loop_that_swallows_the_cancel_is_dropped_and_reported() {
    let dropped = "swallowed(bye)[]".to_owned();
    assert_eq!(
        swallowing(async |co| loop {
            let _ = co.sleep(ms(60_000)).await;
        }),
        (dropped.clone(), "swallowed(bye, sleep)".to_owned())
    );
    assert_eq!(
        swallowing(async |co| loop {
            let _ = co.yield_now().await;
        }),
        (dropped.clone(), "swallowed(bye, yield_now)".to_owned())
    );
    assert_eq!(
        swallowing(async |_| pending().await),
        (dropped, "swallowed(bye, foreign)".to_owned())
    );
}

/// The same point awaited again counts as a new one: else the loop would spin within one resume.
#[test]
fn a_loop_over_one_and_the_same_point_does_not_spin() {
    assert_eq!(
        swallowing(async |co| {
            let _held = co.callback::<()>("k")?;
            loop {
                let _ = co.wait::<()>("k").await;
            }
        }),
        (
            "swallowed(bye)[k]".to_owned(),
            "swallowed(bye, wait)".to_owned()
        )
    );
    assert_eq!(
        swallowing(async |co| {
            let _held = co.callback::<()>("k")?;
            loop {
                let _ = co.wait_any::<()>(["k"]).await;
            }
        })
        .1,
        "swallowed(bye, wait_any)"
    );
    assert_eq!(
        swallowing(async |co| {
            let _held = co.callback::<()>("k")?;
            loop {
                let _ = co.any_ready(["k"]).await;
            }
        })
        .1,
        "swallowed(bye, any_ready)"
    );
    assert_eq!(
        swallowing(async |co| {
            let mut sleep = co.sleep(ms(60_000));
            loop {
                let _ = (&mut sleep).await;
            }
        })
        .1,
        "swallowed(bye, sleep)"
    );
    assert_eq!(
        swallowing(async |co| {
            let mut child = co.handle().spawn(async |co| co.sleep(ms(60_000)).await);
            loop {
                let _ = (&mut child).await;
            }
        })
        .1,
        "swallowed(bye, join)"
    );
}

#[test]
fn a_foreign_future_beside_a_point_that_ended_is_not_waited_for() {
    let (ended, incidents) = swallowing(async |co| {
        let (slept, ()) = join(co.sleep(ms(60_000)), pending::<()>()).await;
        slept
    });
    assert_eq!(
        (ended.as_str(), incidents.as_str()),
        ("swallowed(bye)[]", "swallowed(bye, foreign)")
    );
}

#[test]
fn the_cancel_of_a_child_is_not_ones_own() {
    strict()
        .block_on(async |co| -> Result {
            let child = co.handle().spawn(async |co| co.sleep(ms(60_000)).await);
            let id = child.id();
            let parent = co.handle().spawn(async move |_| -> Result<bool> {
                let error = child.await.unwrap_err();
                Ok(error.is_cancelled())
            });
            co.yield_now().await?;
            co.yield_now().await?;
            co.handle().cancel(id, "the child alone");
            assert!(!parent.await?);
            co.yield_now().await // the parent of both is not cancelled either
        })
        .unwrap();
}

#[test]
fn abort_drops_in_every_state_and_who_joins_hears_of_it() {
    let drops = Drops::new();
    let ended = strict()
        .block_on(async |co| -> Result<Vec<String>> {
            let mut ended = Vec::new();
            let body = |kept| {
                async move |co: Co| -> Result {
                    let _kept = kept;
                    loop {
                        let _ = co.sleep(ms(60_000)).await;
                    }
                }
            };
            let unstarted = co.handle().spawn(body(drops.one()));
            unstarted.abort();
            ended.push(end(unstarted.await));
            let parked = co.handle().spawn(body(drops.one()));
            co.yield_now().await?;
            parked.abort();
            parked.abort();
            ended.push(end(parked.await));
            let cancelled = co.handle().spawn(body(drops.one()));
            co.yield_now().await?;
            cancelled.cancel("first");
            cancelled.abort();
            ended.push(end(cancelled.await));
            let foreign = co.handle().spawn_future(pending::<()>());
            co.yield_now().await?;
            foreign.abort();
            ended.push(end(foreign.await));
            let kept = drops.one();
            let running = co.handle().spawn(async move |co| -> Result {
                let _kept = kept;
                co.handle().abort(co.id());
                co.yield_now().await
            });
            ended.push(end(running.await));
            let in_time = co.handle().spawn(async |co| -> Result<u32> {
                co.handle().abort(co.id());
                Ok(3)
            });
            ended.push(end(in_time.await));
            Ok(ended)
        })
        .unwrap();
    assert_eq!(
        ended,
        [
            "aborted", "aborted", "aborted", "aborted", "aborted", "ok(3)"
        ]
    );
    assert_eq!(drops.count(), 4);
}

#[test]
fn an_abort_names_its_own_place_also_after_a_cancel() {
    let (site, line) = strict()
        .block_on(async |co| -> Result<(u32, u32)> {
            let join = co.handle().spawn(async |co| co.sleep(ms(60_000)).await);
            co.yield_now().await?;
            join.cancel("first");
            let line = line!() + 1;
            join.abort();
            match join.await.unwrap_err().kind() {
                ErrorKind::Aborted { site, .. } => Ok((site.line(), line)),
                other => panic!("{other:?}"),
            }
        })
        .unwrap();
    assert_eq!(site, line);
}

#[test]
fn dropping_a_handle_cancels_only_if_that_was_asked_for() {
    let trace = Trace::new();
    let (asked, plain) = (trace.clone(), trace.clone());
    strict()
        .block_on(async |co| -> Result {
            let tied = co.handle().spawn(async move |co| -> Result {
                let slept = co.sleep(ms(5)).await;
                asked.note(slept.is_ok());
                slept
            });
            let free = co.handle().spawn(async move |co| -> Result {
                let slept = co.sleep(ms(5)).await;
                plain.note(slept.is_ok());
                slept
            });
            let tied = tied.cancel_on_drop();
            co.yield_now().await?;
            drop((tied, free));
            co.sleep(ms(10)).await
        })
        .unwrap();
    assert_eq!(trace.all(), "false true");
}

#[test]
fn an_abort_lists_the_keys_that_were_pending() {
    let error = strict()
        .block_on(async |co| -> Result {
            let join = co.handle().spawn(async |co| -> Result {
                let _never = co.callback::<()>("reply")?;
                co.wait::<()>("reply").await
            });
            co.yield_now().await?;
            join.abort();
            join.await
        })
        .unwrap_err();
    let ErrorKind::Aborted { keys, .. } = error.kind() else {
        panic!("{error}")
    };
    assert!(
        matches!(&keys[..], [left] if left.key == "reply"),
        "{error}"
    );
}

/// An error of anybody's.
type Boxed = Box<dyn std::error::Error + Send + Sync>;

/// The error by which a child learned of its cancel must not look like the parent's own, in any type that can carry it.
#[test]
fn a_childs_cancel_is_another_error_also_where_it_travels_in_another_type() {
    async fn cancelled<E>(co: &Co) -> E
    where
        E: From<Error> + std::fmt::Display + 'static,
    {
        let join = co.handle().spawn(async |co| -> Result<(), E> {
            co.sleep(ms(60_000)).await?;
            Ok(())
        });
        co.yield_now().await.expect("nobody cancels");
        join.cancel("child");
        join.await.expect_err("it was cancelled")
    }
    fn is_a_childs(error: &Error) -> bool {
        matches!(error.kind(), ErrorKind::CoroutineCancelled { reason, .. } if reason == "child")
    }
    strict()
        .block_on(async |co| -> Result {
            assert!(is_a_childs(&cancelled::<Error>(&co).await));
            assert!(is_a_childs(&cancelled::<std::io::Error>(&co).await.into()));
            assert!(is_a_childs(&Error::other(cancelled::<Boxed>(&co).await)));
            let boxed = cancelled::<Box<dyn std::error::Error>>(&co).await;
            assert!(is_a_childs(boxed.downcast_ref().expect("it is ours")));
            Ok(())
        })
        .unwrap();
}

/// Spawns a body that is given a value, and cancels it between the arrival and the resume. Tells how it ended and what was
/// reported.
fn cancelled_after_a_value<B>(rest: B) -> (String, String)
where
    B: AsyncFnOnce(&Co) -> Result<u32> + 'static,
{
    let (mut event_loop, incidents) = watched();
    let ended = event_loop
        .block_on(async |co| -> Result<String> {
            let asked = co.callback::<Resolver<()>>("asked")?;
            let join = co.handle().spawn(async move |co| -> Result<u32> {
                co.task(|done| asked.resolve(done)).await?;
                rest(&co).await
            });
            let done = co.wait::<Resolver<()>>("asked").await?;
            done.resolve(());
            join.cancel("bye");
            Ok(end(join.await))
        })
        .expect("the parent is not cancelled");
    (ended, incidents.all())
}

/// A value that wins over the cancel does not take it away: nobody is dropped without having been told.
#[test]
fn a_coroutine_whose_value_won_learns_of_its_cancel_at_the_next_point() {
    let told = cancelled_after_a_value(async move |co| {
        let end = co.sleep(ms(60_000)).await;
        assert!(end.as_ref().is_err_and(Error::is_cancelled));
        co.cleanup(ms(10), co.sleep(ms(1))).await??; // and it may clean up
        end.map(|()| 1)
    });
    assert_eq!(told, ("cancelled(bye)[]".to_owned(), String::new()));

    let inside = cancelled_after_a_value(async |co| {
        let ends = join_all((0..40).map(|_| co.sleep(ms(60_000)))).await;
        Ok(u32::from(ends.iter().all(Result::is_err)))
    });
    assert_eq!(inside, ("ok(1)".to_owned(), String::new()));

    let in_a_row = cancelled_after_a_value(async |co| {
        let ends = co.all([(); 40].map(|()| co.sleep(ms(60_000)))).await;
        Ok(u32::from(ends.iter().all(Result::is_err)))
    });
    assert_eq!(in_a_row, ("ok(1)".to_owned(), String::new()));

    let given_way = cancelled_after_a_value(async |co| co.yield_now().await.map(|()| 1));
    assert_eq!(given_way, ("cancelled(bye)[]".to_owned(), String::new()));
}

#[test]
fn a_cancel_that_a_clean_up_hid_is_told_at_the_next_point() {
    let (mut event_loop, incidents) = watched();
    let ended = event_loop
        .block_on(async |co| -> Result<String> {
            let join = co.handle().spawn(async |co| -> Result {
                co.cleanup(ms(100), co.sleep(ms(10))).await??;
                co.sleep(ms(60_000)).await
            });
            co.yield_now().await?;
            join.cancel("bye");
            Ok(end(join.await))
        })
        .expect("the parent is not cancelled");
    assert_eq!(
        (ended.as_str(), incidents.all().as_str()),
        ("cancelled(bye)[]", "")
    );
}

/// Where nothing of ours could tell it, it is dropped at once; and once told, it is not told again.
#[test]
fn after_a_value_that_won_a_cancel_is_neither_swallowed_nor_spins() {
    let foreign = cancelled_after_a_value(async |_| {
        pending::<()>().await;
        Ok(1)
    });
    assert_eq!(foreign.0, "swallowed(bye)[]");
    let in_ours = cancelled_after_a_value(async |co| {
        co.all((pending::<()>(), pending::<()>())).await;
        Ok(1)
    });
    assert_eq!(in_ours.0, "swallowed(bye)[]");
    let turns = Rc::new(Cell::new(0));
    let counted = Rc::clone(&turns);
    let swallowing = cancelled_after_a_value(async move |co| {
        loop {
            counted.set(counted.get() + 1);
            let _ = co.sleep(ms(60_000)).await;
        }
    });
    assert_eq!(
        (swallowing.0.as_str(), turns.get()),
        ("swallowed(bye)[]", 2)
    );
    let kept = cancelled_after_a_value(async |co| {
        let mut sleep = co.sleep(ms(60_000));
        let _ = futures_util::poll!(&mut sleep); // parked, and never looked at again
        pending::<()>().await;
        sleep.await.map(|()| 1)
    });
    assert_eq!(kept.0, "swallowed(bye)[]");
}
