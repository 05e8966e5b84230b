//! A cancel that finds its coroutine waiting for several things, and the clean-up after it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{pending, ready};
use std::rc::Rc;

use futures_util::stream::{FuturesUnordered, StreamExt};
use yieldpoint::{
    Co, Either, Error, ErrorKind, EventLoop, Incident, ManualClock, OneOf3, Resolver, Result, Wait,
    ms,
};

/// What the tests write down.
type Log = Rc<RefCell<Vec<String>>>;

/// The keys that `cancelled_in` gives a value in the same step as the cancel; see there.
const ARRIVING: [&str; 2] = ["arriving", "also arriving"];

/// Runs a body with the keys `never` and [`ARRIVING`] until it waits. Then, in one step, the latter arrive and the coroutine is
/// cancelled. Gives the result of joining it, the trace of the body, the incidents, and the milliseconds it took.
fn cancelled_in(
    body: impl AsyncFnOnce(&Co, &Log) -> Result + 'static,
) -> (Result, Vec<String>, Vec<String>, u128) {
    let incidents = Log::default();
    let hook = Rc::clone(&incidents);
    let clock = ManualClock::auto();
    let mut event_loop = EventLoop::builder()
        .clock(&clock)
        .on_error(move |incident| {
            let name = match incident {
                Incident::CancelSwallowed { .. } => "swallowed".to_owned(),
                other => format!("{other:?}"),
            };
            hook.borrow_mut().push(name);
        })
        .build()
        .expect("a loop");
    let log = Log::default();
    let trace = Rc::clone(&log);
    let ended = event_loop
        .block_on(async |co| -> Result<Result> {
            let resolvers = Rc::new(RefCell::new(vec![]));
            let kept = Rc::clone(&resolvers);
            let join = co.handle().spawn(async move |co| -> Result {
                let never = co.callback::<u8>("never")?;
                for (key, n) in ARRIVING.into_iter().zip(1..) {
                    let resolver: Resolver<u8> = co.callback(key)?;
                    kept.borrow_mut().push((resolver, n));
                }
                let result = body(&co, &log).await;
                drop(never);
                result
            });
            co.yield_now().await?;
            co.yield_now().await?;
            for (resolver, n) in resolvers.take() {
                resolver.resolve(n);
            }
            join.cancel("enough");
            Ok(join.await)
        })
        .expect("the root ends well");
    (
        ended,
        trace.take(),
        incidents.take(),
        clock.elapsed().as_millis(),
    )
}

/// How an output reads in a trace.
fn shown<T: std::fmt::Debug>(output: Result<T>) -> String {
    match output {
        Ok(value) => format!("{value:?}"),
        Err(error) if error.is_cancelled() => "cancelled".to_owned(),
        Err(error) if error.is_elapsed() => "elapsed".to_owned(),
        Err(error) => panic!("{error}"),
    }
}

fn write(log: &Log, text: impl Into<String>) {
    log.borrow_mut().push(text.into());
}

/// The trace of a body that took its cancel as it should: nothing is reported, and it ended of its own accord.
fn taken(body: impl AsyncFnOnce(&Co, &Log) -> Result + 'static) -> Vec<String> {
    let (ended, trace, incidents, _) = cancelled_in(async move |co, log| {
        body(co, log).await?;
        give_up(co);
        Ok(())
    });
    assert!(incidents.is_empty(), "{incidents:?}");
    ended.expect("the body ended well");
    trace
}

/// Forgets the keys that the body has not taken.
fn give_up(co: &Co) {
    for key in ARRIVING.into_iter().chain(["never"]) {
        let _ = co.forget(key);
    }
}

/// The waits that most tests are about: for what arrives, never arrives, and arrives.
fn waits() -> [Wait<u8>; 3] {
    [ARRIVING[0], "never", ARRIVING[1]].map(Wait::new)
}

#[test]
fn all_keeps_what_arrived() {
    let trace = taken(async |co, log| {
        let [a, never, b] = waits();
        let (a, never, b, slept) = co.all((a, never, b, co.sleep(ms(9)))).await;
        write(log, [a, never, b].map(shown).join(" "));
        write(log, shown(slept));
        Ok(())
    });
    assert_eq!(trace, ["1 cancelled 2", "cancelled"]);
    let trace = taken(async |co, log| {
        write(log, co.all(waits()).await.map(shown).join(" "));
        Ok(())
    });
    assert_eq!(trace, ["1 cancelled 2"]);
    let trace = taken(async |co, log| {
        let map: BTreeMap<_, _> = (0..).zip(waits()).collect();
        let outputs = co.all(map).await.into_values().map(shown);
        write(log, outputs.collect::<Vec<_>>().join(" "));
        Ok(())
    });
    assert_eq!(trace, ["1 cancelled 2"]);
}

#[test]
fn a_long_all_keeps_what_arrived() {
    let trace = taken(async |co, log| {
        let sleeps = (0..100).map(|n| Either::Right(co.sleep(ms(1000 + n))));
        let points = waits().map(Either::Left).into_iter().chain(sleeps);
        let outputs = co.all(points.collect::<Vec<_>>()).await;
        let (waits, sleeps) = outputs.split_at(3);
        for wait in waits {
            let Either::Left(output) = wait else {
                unreachable!()
            };
            write(
                log,
                output
                    .as_ref()
                    .map_or("cancelled".to_owned(), u8::to_string),
            );
        }
        let cancelled = sleeps
            .iter()
            .filter(|slept| matches!(slept, Either::Right(Err(error)) if error.is_cancelled()));
        write(log, cancelled.count().to_string());
        Ok(())
    });
    assert_eq!(trace, ["1", "cancelled", "2", "100"]);
}

#[test]
fn a_value_that_has_arrived_is_first_wherever_it_stands() {
    let trace = taken(async |co, log| {
        let [a, never, _] = waits();
        let winner = co.first((never, a, co.sleep(ms(9)))).await;
        let OneOf3::B(value) = winner else {
            panic!("{winner:?}")
        };
        write(log, shown(value));
        Ok(())
    });
    assert_eq!(trace, ["1"]);
    for long in [false, true] {
        let trace = taken(async move |co, log| {
            let [_, never, b] = waits();
            let more = if long { 50 } else { 0 };
            let mut points = vec![Either::Left(never), Either::Left(b)];
            points.extend((0..more).map(|_| Either::Right(co.sleep(ms(9)))));
            let (index, Either::Left(value)) = co.first(points).await else {
                unreachable!()
            };
            write(log, format!("{index} {}", shown(value)));
            Ok(())
        });
        assert_eq!(trace, ["1 2"]);
    }
}

#[test]
fn first_of_what_has_not_arrived_is_the_first_cancelled_one() {
    let trace = taken(async |co, log| {
        let Either::Left(end) = co.first((co.wait::<u8>("never"), co.sleep(ms(9)))).await else {
            unreachable!()
        };
        write(log, shown(end));
        let timers = co.handle().snapshot().timers;
        write(log, timers.to_string()); // the loser is gone
        Ok(())
    });
    assert_eq!(trace, ["cancelled", "0"]);
}

#[test]
fn as_completed_gives_what_arrived_and_then_the_cancels() {
    let trace = taken(async |co, log| {
        let mut done = co.as_completed(waits());
        while let Some((index, output)) = done.next().await {
            write(log, format!("{index} {}", shown(output)));
        }
        Ok(())
    });
    assert_eq!(trace, ["0 1", "2 2", "1 cancelled"]);
}

#[test]
fn a_timeout_hands_the_cancel_to_its_point_whose_value_wins() {
    let trace = taken(async |co, log| {
        let [a, ..] = waits();
        write(log, shown(co.timeout(ms(9), a).await));
        Ok(())
    });
    assert_eq!(trace, ["1"]);
    let trace = taken(async |co, log| {
        write(log, shown(co.timeout(ms(9), co.wait::<u8>("never")).await));
        write(log, co.handle().snapshot().timers.to_string());
        Ok(())
    });
    assert_eq!(trace, ["cancelled", "0"]);
    let trace = taken(async |co, log| {
        let inner = async {
            write(log, shown(co.sleep(ms(9)).await));
            Ok::<_, Error>("made the best of it")
        };
        write(log, shown(co.timeout(ms(99), inner).await));
        Ok(())
    });
    assert_eq!(trace, ["cancelled", "\"made the best of it\""]);
}

#[test]
fn a_timeout_makes_a_foreign_future_end_by_a_cancel() {
    let trace = taken(async |co, log| {
        write(log, shown(co.timeout(ms(9), pending::<Result>()).await));
        Ok(())
    });
    assert_eq!(trace, ["cancelled"]);
}

#[test]
fn foreign_combinators_keep_what_arrived() {
    let trace = taken(async |co, log| {
        let [a, never, b] = waits().map(|wait| co.yield_(wait));
        let (a, never, b) = futures_util::join!(a, never, b);
        write(log, [a, never, b].map(shown).join(" "));
        Ok(())
    });
    assert_eq!(trace, ["1 cancelled 2"]);
    let trace = taken(async |co, log| {
        let mut set: FuturesUnordered<_> = (waits().into_iter().enumerate())
            .map(|(n, wait)| {
                let wait = co.yield_(wait);
                async move { format!("{n} {}", shown(wait.await)) }
            })
            .collect();
        let mut lines = vec![];
        while let Some(line) = set.next().await {
            lines.push(line);
        }
        lines.sort();
        write(log, lines.join(", "));
        Ok(())
    });
    assert_eq!(trace, ["0 1, 1 cancelled, 2 2"]);
    let trace = taken(async |co, log| {
        let (mut a, mut never) = (co.wait::<u8>(ARRIVING[0]), co.wait::<u8>("never"));
        for _ in 0..2 {
            futures_util::select_biased! {
                value = futures_util::FutureExt::fuse(&mut a) => write(log, shown(value)),
                value = futures_util::FutureExt::fuse(&mut never) => write(log, shown(value)),
            }
            if log.borrow().len() == 1 {
                a = co.wait("never"); // a new wait, parked on nothing yet: it must not be polled first
                std::mem::swap(&mut a, &mut never);
            }
        }
        Ok(())
    });
    assert_eq!(trace, ["1", "cancelled"]);
}

// Clean-up.

#[test]
fn a_clean_up_may_wait_and_the_cancel_holds_again_behind_it() {
    let (ended, trace, incidents, took) = cancelled_in(async |co, log| {
        let end = co.sleep(ms(1000)).await;
        let cleaned = co.cleanup(ms(100), async {
            for _ in 0..3 {
                co.sleep(ms(10)).await?;
                co.yield_now().await?;
            }
            co.task(|done: Resolver<()>| {
                co.handle().call_soon(|| done.resolve(()));
            })
            .await
        });
        write(
            log,
            format!("{} {}", shown(end), shown(cleaned.await.flatten())),
        );
        write(log, co.handle().snapshot().timers.to_string());
        co.sleep(ms(10)).await?;
        write(log, "not reached");
        Ok(())
    });
    assert_eq!(trace, ["cancelled ()", "0"]);
    assert_eq!(incidents, ["swallowed"]);
    assert_eq!(took, 30);
    let error = ended.expect_err("dropped behind the clean-up");
    assert!(matches!(
        error.kind(),
        ErrorKind::CoroutineCancelled {
            swallowed: true,
            ..
        }
    ));
}

#[test]
fn a_clean_up_ends_at_its_limit() {
    let (ended, trace, incidents, took) = cancelled_in(async |co, log| {
        let end = co.sleep(ms(1000)).await;
        let line = line!() + 1;
        let cleaning = co.cleanup(ms(20), pending::<()>());
        let error = cleaning.await.expect_err("for ever");
        let ErrorKind::Elapsed { limit, site } = error.kind() else {
            panic!("{error}")
        };
        assert_eq!((*limit, site.line()), (ms(20), line));
        write(log, shown(co.cleanup(ms(0), ready(7)).await));
        write(log, shown(co.cleanup(ms(0), pending::<()>()).await));
        give_up(co);
        end
    });
    assert_eq!(trace, ["7", "elapsed"]);
    assert!(incidents.is_empty());
    assert_eq!(took, 20);
    let error = ended.expect_err("cancelled");
    assert!(
        matches!(
            error.kind(),
            ErrorKind::CoroutineCancelled {
                swallowed: false,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_clean_up_works_without_a_cancel_and_hides_one_that_comes_meanwhile() {
    let (_, trace, incidents, took) = cancelled_in(async |co, log| {
        let cleaned = co.cleanup(ms(100), async {
            let first = co.sleep(ms(10)).await; // the cancel comes here
            let second = co.sleep(ms(10)).await;
            format!("{} {}", shown(first), shown(second))
        });
        write(log, cleaned.await?);
        write(
            log,
            co.handle()
                .snapshot()
                .coroutines
                .iter()
                .filter_map(|info| info.cancelled.as_deref())
                .collect::<String>(),
        );
        give_up(co);
        Ok(())
    });
    assert_eq!(trace, ["() ()", "enough"]);
    assert_eq!(took, 20);
    assert!(incidents.is_empty(), "{incidents:?}");
    let clock = ManualClock::auto();
    let mut event_loop = EventLoop::builder()
        .clock(&clock)
        .fail_on_error()
        .build()
        .expect("a loop");
    let output = event_loop.block_on(async |co| -> Result<u8> {
        co.cleanup(ms(9), async {
            co.sleep(ms(1)).await?;
            Ok(3)
        })
        .await?
    });
    assert_eq!(output.expect("no cancel"), 3);
}

#[test]
fn a_clean_up_that_panics_lays_the_cancel_on_again() {
    use futures_util::FutureExt;
    let trace = taken(async |co, log| {
        let mut slept = co.sleep(ms(1000));
        let panicking = co.cleanup(ms(9), async {
            let _ = co.wait::<u8>(ARRIVING[0]).await;
            panic!("at once");
        });
        let panicking = std::panic::AssertUnwindSafe(panicking).catch_unwind();
        let (panicked, slept) = futures_util::join!(panicking, &mut slept);
        write(log, format!("{} {}", panicked.is_err(), shown(slept)));
        Ok(())
    });
    assert_eq!(trace, ["true cancelled"]);
}

#[test]
fn a_clean_up_is_heard_through_every_combinator() {
    async fn branch(co: &Co) -> Result<&'static str> {
        let end = co.sleep(ms(1000)).await;
        co.cleanup(ms(100), co.sleep(ms(10))).await??;
        Ok(if end.is_err() { "clean" } else { "slept" })
    }
    let trace = taken(async |co, log| {
        let (one, two) = futures_util::join!(branch(co), branch(co));
        write(log, format!("{} {}", one?, two?));
        Ok(())
    });
    assert_eq!(trace, ["clean clean"]);
    for count in [2, 100] {
        let trace = taken(async move |co, log| {
            let all = co
                .all((0..count).map(|_| branch(co)).collect::<Vec<_>>())
                .await;
            let clean = all.into_iter().filter(|end| matches!(end, Ok("clean")));
            write(log, clean.count().to_string());
            Ok(())
        });
        assert_eq!(trace, [count.to_string()]);
    }
    let trace = taken(async |co, log| {
        let set: FuturesUnordered<_> = (0..40).map(|_| branch(co)).collect();
        let clean = set
            .filter(|end| ready(matches!(end, Ok("clean"))))
            .count()
            .await;
        write(log, clean.to_string());
        Ok(())
    });
    assert_eq!(trace, ["40"]);
    let trace = taken(async |co, log| {
        write(log, shown(co.timeout(ms(50), branch(co)).await)); // the cancel does not end it
        Ok(())
    });
    assert_eq!(trace, ["\"clean\""]);
    let trace = taken(async |co, log| {
        write(log, shown(co.timeout(ms(5), branch(co)).await)); // the limit does
        Ok(())
    });
    assert_eq!(trace, ["elapsed"]);
    let trace = taken(async |co, log| {
        write(log, shown(co.cancellable(branch(co)).await.flatten()));
        Ok(())
    });
    assert_eq!(trace, ["\"clean\""]);
}

/// A combinator polls only the branch that was woken; the clean-ups of the others count all the same.
#[test]
fn clean_ups_of_different_lengths_all_come_to_their_ends() {
    async fn branch(co: &Co, length: u64) -> Result<u64> {
        let _ = co.sleep(ms(1000)).await;
        co.cleanup(ms(100), co.sleep(ms(length))).await??;
        Ok(length)
    }
    let trace = taken(async |co, log| {
        let points: Vec<_> = (1..=50).map(|length| branch(co, length)).collect();
        let lengths: Result<Vec<_>> = co.all(points).await.into_iter().collect();
        write(log, lengths?.len().to_string());
        Ok(())
    });
    assert_eq!(trace, ["50"]);
    let trace = taken(async |co, log| {
        let set = || {
            (1..=40)
                .map(|length| branch(co, length))
                .collect::<FuturesUnordered<_>>()
        };
        let count = async |limit| {
            let mut set = set();
            let mut ended = 0;
            let end = co
                .timeout(limit, async {
                    while let Some(length) = set.next().await {
                        length?;
                        ended += 1;
                    }
                    Ok::<_, Error>(())
                })
                .await;
            format!("{ended} {}", shown(end))
        };
        let (long, short) = futures_util::join!(count(ms(200)), count(ms(60)));
        write(log, long);
        write(log, short);
        Ok(())
    });
    assert_eq!(trace, ["40 ()", "40 ()"]);
}

/// The loop gets a cancel at each resume, but nothing resumes it for that: it lives as long as the clean-up beside it, and no longer.
#[test]
fn a_swallowing_loop_next_to_a_clean_up_neither_spins_nor_outlives_it() {
    let (ended, trace, incidents, took) = cancelled_in(async |co, log| {
        let swallows = Cell::new(0);
        let swallowing = async {
            loop {
                let end = co.sleep(ms(1000)).await;
                assert!(end.is_err_and(|error| error.is_cancelled()));
                swallows.set(swallows.get() + 1);
            }
        };
        let cleaning = async {
            let _ = co.sleep(ms(1000)).await;
            co.cleanup(ms(100), async {
                co.sleep(ms(10)).await?;
                co.sleep(ms(10)).await
            })
            .await
            .flatten()
        };
        let cleaning = async {
            let cleaned = cleaning.await;
            write(
                log,
                format!("{} after {} cancels", shown(cleaned), swallows.get()),
            );
        };
        futures_util::join!(swallowing, cleaning);
        Ok(())
    });
    // One when it was cancelled, one for each of the two times at which the clean-up was resumed.
    assert_eq!(trace, ["() after 3 cancels"]);
    assert_eq!(incidents, ["swallowed"]);
    assert_eq!(took, 20);
    assert!(ended.is_err());
}

// Cancellable.

#[test]
fn a_foreign_future_made_cancellable_ends_by_the_cancel_and_its_output_wins() {
    let trace = taken(async |co, log| {
        write(log, shown(co.cancellable(pending::<u8>()).await));
        write(log, shown(co.cancellable(ready(3)).await));
        Ok(())
    });
    assert_eq!(trace, ["cancelled", "3"]);
    let trace = taken(async |co, log| {
        let wait = co.wait::<u8>(ARRIVING[0]);
        let foreign = async { wait.await.is_ok() };
        write(log, shown(co.cancellable(foreign).await));
        Ok(())
    });
    assert_eq!(trace, ["true"]);
    let trace = taken(async |co, log| {
        let set: FuturesUnordered<_> = (0..40).map(|_| co.cancellable(pending::<u8>())).collect();
        let cancelled = set.filter(|end| ready(end.as_ref().is_err_and(Error::is_cancelled)));
        write(log, cancelled.count().await.to_string());
        Ok(())
    });
    assert_eq!(trace, ["40"]);
}

#[test]
fn a_foreign_future_alone_is_dropped_and_that_is_reported() {
    let (ended, trace, incidents, _) = cancelled_in(async |_, log| {
        pending::<()>().await;
        write(log, "not reached");
        Ok(())
    });
    assert!(trace.is_empty());
    assert_eq!(incidents, ["swallowed"]);
    assert!(ended.is_err());
}
