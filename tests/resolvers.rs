//! Resolvers: dropped, split, stale, and called in long chains.

mod support;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::thread;

use futures_util::future::join;
use support::{Drops, strict, watched};
use yieldpoint::{Co, ErrorKind, EventLoop, JoinHandle, Resolver, Result, ms};

/// Runs a test on a small stack: depth that grows with the length of a chain does not fit.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    thread::Builder::new()
        .stack_size(192 * 1024)
        .spawn(test)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn a_resolver_dropped_uncalled_resumes_its_waiter_with_key_and_places() {
    strict()
        .block_on(async |co| -> Result {
            let created = line!() + 1;
            let resolver = co.callback::<u32>("k")?;
            co.handle().call_later(ms(1), move || drop(resolver));
            let waited = line!() + 1;
            let error = co.wait::<u32>("k").await.unwrap_err();
            let ErrorKind::Abandoned {
                key,
                created_at,
                waited_at,
            } = error.kind()
            else {
                panic!("{error:?}");
            };
            assert!(key.as_ref().is_some_and(|key| *key == "k"));
            assert_eq!((created_at.line(), waited_at.line()), (created, waited));
            // The loss freed the key.
            let again = co.wait::<u32>("k").await.unwrap_err();
            assert!(matches!(again.kind(), ErrorKind::UnknownKey { .. }));
            let error = co.task(|done: Resolver<u32>| drop(done)).await.unwrap_err();
            assert!(matches!(
                error.kind(),
                ErrorKind::Abandoned { key: None, .. }
            ));
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_resolver_dropped_by_another_thread_resumes_its_waiter() {
    EventLoop::new()
        .unwrap()
        .block_on(async |co| -> Result {
            for _ in 0..100 {
                let error = co
                    .task(|done: Resolver<u32>| {
                        let done = done.into_send();
                        thread::spawn(move || drop(done));
                    })
                    .await
                    .unwrap_err();
                assert!(error.is_abandoned());
                let unused = co.callback::<u32>("k")?.into_send_fn();
                thread::spawn(move || drop(unused));
                assert!(co.wait::<u32>("k").await.unwrap_err().is_abandoned());
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_resolver_used_after_its_coroutine_or_its_loop_ended_does_nothing() {
    let drops = Drops::new();
    let (mut event_loop, incidents) = watched();
    let kept: Rc<RefCell<Vec<Resolver<support::Dropped>>>> = Rc::default();
    let keep = Rc::clone(&kept);
    let ended = event_loop.block_on(async |co: Co| -> Result {
        for key in 0..4 {
            keep.borrow_mut().push(co.callback(key)?);
        }
        Ok(())
    });
    assert!(ended.unwrap_err().is_leaked());
    let mut kept = kept.take();
    let sent = kept.pop().unwrap().into_send();
    kept.pop().unwrap().resolve(drops.one());
    drop(kept.pop().unwrap());
    assert_eq!(drops.count(), 1);
    drop(event_loop);
    kept.pop().unwrap().resolve(drops.one());
    assert_eq!(drops.count(), 2);
    drop(sent);
    assert_eq!(incidents.all(), "");
}

#[test]
fn a_value_sent_to_a_loop_that_is_gone_is_dropped_by_the_sender() {
    let (mut event_loop, _) = watched();
    let mut sent = None;
    let lent = &mut sent;
    let ended = event_loop.block_on(async |co: Co| -> Result {
        *lent = Some(co.callback::<std::sync::Arc<()>>("k")?.into_send());
        Ok(())
    });
    assert!(ended.unwrap_err().is_leaked());
    drop(event_loop);
    let value = std::sync::Arc::new(());
    let moved = std::sync::Arc::clone(&value);
    let sent = sent.unwrap();
    thread::spawn(move || sent.resolve(moved)).join().unwrap();
    assert_eq!(std::sync::Arc::strong_count(&value), 1);
}

#[test]
fn of_a_split_resolver_the_first_call_counts_and_one_may_be_dropped() {
    strict()
        .block_on(async |co| -> Result {
            type Answer = std::result::Result<u32, &'static str>;
            let both = co.task(|done: Resolver<Answer>| {
                let (ok, error) = done.split();
                ok(1);
                error("late");
            });
            assert_eq!(both.await?, Ok(1));
            let one = co.task(|done: Resolver<Answer>| {
                let (ok, error) = done.split();
                drop(ok);
                error("refused");
            });
            assert_eq!(one.await?, Err("refused"));
            let none = co.task(|done: Resolver<Answer>| drop(done.split()));
            assert!(none.await.unwrap_err().is_abandoned());
            let sent = co.task(|done: Resolver<Answer>| {
                let (ok, error) = done.into_send().split();
                thread::spawn(move || drop(error));
                thread::spawn(move || ok(2));
            });
            assert_eq!(sent.await?, Ok(2));
            let lost = co.task(|done: Resolver<Answer>| {
                let (ok, error) = done.into_send().split();
                thread::spawn(move || drop(error));
                thread::spawn(move || drop(ok));
            });
            assert!(lost.await.unwrap_err().is_abandoned());
            Ok(())
        })
        .unwrap();
}

/// C071, C084: a result belongs to one registration.
#[test]
fn a_stale_resolver_never_satisfies_a_later_registration() {
    strict()
        .block_on(async |co| -> Result {
            let stale = co.callback::<&str>("a")?;
            co.forget("a")?;
            let fresh = co.callback::<&str>("a")?;
            stale.resolve("stale");
            assert!(futures_util::poll!(&mut co.wait::<&str>("a")).is_pending());
            fresh.resolve("fresh");
            assert_eq!(co.wait::<&str>("a").await?, "fresh");
            // Completed, forgotten, registered again.
            co.callback::<&str>("a")?.resolve("first");
            co.forget("a")?;
            let third = co.callback::<&str>("a")?;
            assert!(futures_util::poll!(&mut co.wait::<&str>("a")).is_pending());
            third.resolve("third");
            assert_eq!(co.wait::<&str>("a").await?, "third");
            // The loss of a stale resolver is not that of the fresh one either.
            let stale = co.callback::<&str>("a")?;
            co.forget("a")?;
            let fresh = co.callback::<&str>("a")?;
            drop(stale);
            fresh.resolve("still");
            assert_eq!(co.wait::<&str>("a").await?, "still");
            Ok(())
        })
        .unwrap();
}

/// A wait for a registration that was given up has no say in the wait for the next one.
#[test]
fn a_wait_for_a_key_given_up_does_not_loosen_the_wait_for_its_next_registration() {
    strict()
        .block_on(async |co| -> Result {
            let _old = co.callback::<u32>("k")?;
            let mut first = co.wait::<u32>("k");
            assert!(futures_util::poll!(&mut first).is_pending());
            co.forget("k")?;
            let new = co.callback::<u32>("k")?;
            let mut second = co.wait::<u32>("k");
            assert!(futures_util::poll!(&mut second).is_pending());
            drop(first);
            let third = co.wait::<u32>("k").await.unwrap_err();
            assert!(
                matches!(third.kind(), ErrorKind::RepeatedKey { .. }),
                "{third}"
            );
            new.resolve(6);
            assert_eq!(second.await?, 6);
            Ok(())
        })
        .unwrap();
}

/// A key forgotten while several are waited for costs the others nothing.
#[test]
fn a_key_forgotten_within_wait_all_leaves_the_others_with_their_values() {
    strict()
        .block_on(async |co| -> Result {
            let (a, b, c) = (
                co.callback::<u32>("a")?,
                co.callback::<u32>("b")?,
                co.callback::<u32>("c")?,
            );
            b.resolve(2);
            a.resolve(1);
            let (waited, forgotten) = join(co.wait_all::<u32>(["a", "b", "c"]), async {
                co.forget("b")?;
                c.resolve(3);
                Ok::<(), yieldpoint::Error>(())
            })
            .await;
            forgotten?;
            let error = waited.unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::UnknownKey { key, .. } if *key == "b"),
                "{error}"
            );
            assert_eq!(co.wait_all::<u32>(["a", "c"]).await?, [1, 3]);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_lost_resolver_within_wait_all_leaves_the_others_pending() {
    strict()
        .block_on(async |co| -> Result {
            let (a, b, c) = (
                co.callback::<u32>("a")?,
                co.callback::<u32>("b")?,
                co.callback::<u32>("c")?,
            );
            a.resolve(1);
            drop(b);
            let error = co.wait_all::<u32>(["a", "b", "c"]).await.unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Abandoned { key: Some(key), .. } if *key == "b")
            );
            c.resolve(3);
            assert_eq!(co.wait_all::<u32>(["a", "c"]).await?, [1, 3]);
            Ok(())
        })
        .unwrap();
}

/// C028
#[test]
fn twenty_thousand_tasks_that_complete_at_once_need_no_stack() {
    on_a_small_stack(|| {
        let sum = strict()
            .block_on(async |co| -> Result<u64> {
                let mut sum = 0;
                for n in 0..20_000u64 {
                    sum += co.task(|done| done.resolve(n)).await?;
                }
                Ok(sum)
            })
            .unwrap();
        assert_eq!(sum, 199_990_000);
    });
}

/// Each coroutine resolves the next one's key when its own is resolved.
#[test]
fn a_completion_chain_ten_thousand_deep_needs_no_stack() {
    on_a_small_stack(|| {
        let mut event_loop = strict();
        let first: Rc<RefCell<Option<Resolver<u32>>>> = Rc::default();
        let mut last = None;
        let mut start = None;
        for n in 0..10_000 {
            let (give, take) = (Rc::new(RefCell::new(None::<Resolver<u32>>)), last.take());
            let keep = Rc::clone(&give);
            let join = event_loop
                .handle()
                .spawn(async move |co: Co| -> Result<u32> {
                    let n: u32 = co.task(|done| *keep.borrow_mut() = Some(done)).await?;
                    let next: Option<Rc<RefCell<Option<Resolver<u32>>>>> = take;
                    if let Some(next) = next {
                        next.take().unwrap().resolve(n + 1);
                    }
                    Ok(n)
                });
            if n == 0 {
                start = Some(join);
            }
            last = Some(give);
        }
        drop(first);
        let end: JoinHandle<u32> = start.unwrap();
        let n = event_loop
            .block_on(async |co| -> Result<u32> {
                co.yield_now().await?;
                last.unwrap().take().unwrap().resolve(1);
                end.await
            })
            .unwrap();
        assert_eq!(n, 10_000);
    });
}

#[test]
fn a_chain_of_joins_ten_thousand_deep_needs_no_stack_to_end_or_to_be_dropped() {
    fn chain(
        event_loop: &EventLoop,
        end: impl Future<Output = Result<u32>> + 'static,
    ) -> JoinHandle<u32> {
        let handle = event_loop.handle();
        let mut join = handle.spawn(async move |_| end.await);
        for _ in 0..10_000 {
            let inner = join;
            join = handle.spawn(async move |_| Ok(inner.await? + 1));
        }
        join
    }
    on_a_small_stack(|| {
        let mut event_loop = strict();
        let join = chain(&event_loop, std::future::ready(Ok(0)));
        assert_eq!(event_loop.block_on(async |_| join.await).unwrap(), 10_000);
        let join = chain(&event_loop, std::future::pending());
        let _ = event_loop.turn(yieldpoint::Budget::steps(20_000)).unwrap();
        assert_eq!(event_loop.snapshot().coroutines.len(), 10_001);
        drop(event_loop);
        assert!(join.is_finished());
    });
}
