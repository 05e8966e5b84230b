//! What a steady state allocates: counted, in a test binary of its own.

use allocation_counter::measure;
use yieldpoint::{Budget, Co, EventLoop, ManualClock, Outcome, Result, ms};

/// Rounds that fill every list to the size it keeps.
const WARM: usize = 200;
/// Rounds that are counted.
const ROUNDS: usize = 1000;

/// How often a coroutine's rounds allocate, once warm. Each turn resumes it; what it does between two yields is one round.
fn allocations_of_rounds<B>(body: B) -> u64
where
    B: AsyncFnOnce(Co, &dyn Fn()) -> Result + 'static,
{
    use std::{cell::Cell, rc::Rc};
    let clock = ManualClock::new();
    let mut event_loop = EventLoop::builder()
        .clock(&clock)
        .fail_on_error()
        .build()
        .unwrap();
    let rounds = Rc::new(Cell::new(0usize));
    let counted = Rc::clone(&rounds);
    let join = event_loop
        .handle()
        .spawn(async move |co: Co| body(co, &|| counted.set(counted.get() + 1)).await);
    let mut turn_until = |wanted: usize| {
        while rounds.get() < wanted {
            let _ = event_loop.turn(Budget::steps(1)).unwrap();
            clock.advance(ms(1));
        }
    };
    turn_until(WARM);
    let info = measure(|| turn_until(WARM + ROUNDS));
    drop(join);
    info.count_total
}

#[test]
fn giving_way_allocates_nothing() {
    let count = allocations_of_rounds(async |co, round| {
        loop {
            co.yield_now().await?;
            round();
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn a_sleep_allocates_nothing() {
    let count = allocations_of_rounds(async |co, round| {
        loop {
            co.sleep(ms(1)).await?;
            round();
        }
    });
    assert_eq!(count, 0);
}

/// The cell between resolver and waiter is that of the last one of its type; a callback that is queued stands in a row of its type.
#[test]
fn a_task_allocates_nothing() {
    let count = allocations_of_rounds(async |co, round| {
        loop {
            co.task(|done| done.resolve(1u32)).await?;
            round();
            co.yield_now().await?;
        }
    });
    assert_eq!(count, 0);
    let parked = allocations_of_rounds(async |co, round| {
        loop {
            co.task(|done| co.handle().call_soon(move || done.resolve(1u32)))
                .await?;
            round();
        }
    });
    assert_eq!(parked, 0);
}

#[test]
fn a_key_used_over_and_over_allocates_nothing() {
    let count = allocations_of_rounds(async |co, round| {
        loop {
            let done = co.callback::<u32>("k")?;
            done.resolve(1);
            co.wait::<u32>("k").await?;
            round();
            co.yield_now().await?;
        }
    });
    assert_eq!(count, 0);
}

/// The Runner, in which the result will be.
#[test]
fn the_first_spawn_of_a_kind_allocates_once() {
    let mut event_loop = EventLoop::builder().fail_on_error().build().unwrap();
    let spawned = event_loop.block_on(async |co| -> Result<u64> {
        for _ in 0..WARM {
            co.handle().spawn(async |_| -> Result<u8> { Ok(1) }).await?;
        }
        let mut join = None;
        let info = measure(|| {
            join = Some(co.handle().spawn(async |_| -> Result<u32> { Ok(1) }));
        });
        join.unwrap().await?;
        Ok(info.count_total)
    });
    assert_eq!(spawned.unwrap(), 1);
}

#[test]
fn a_spawn_of_a_kind_that_has_ended_before_and_its_join_allocate_nothing() {
    let count = allocations_of_rounds(async |co, round| {
        loop {
            co.handle()
                .spawn(async |co: Co| -> Result<u32> {
                    co.yield_now().await?;
                    Ok(1)
                })
                .await?;
            round();
        }
    });
    assert_eq!(count, 0);
}

/// The end that a handle may still take is in the box of the body, which so cannot come back.
#[test]
fn a_kept_join_handle_keeps_its_box_out_of_reuse() {
    let count = allocations_of_rounds(async |co, round| {
        let mut kept = Vec::with_capacity(2 * (WARM + ROUNDS));
        loop {
            kept.push(co.handle().spawn(async |_| -> Result<u32> { Ok(1) }));
            co.yield_now().await?;
            round();
        }
    });
    // The two lists of the table of coroutines double meanwhile, for they have a place for each end.
    let doublings = 4..=6;
    assert!(doublings.contains(&(count - ROUNDS as u64)), "{count}");
}

#[test]
fn a_resume_by_a_resolver_allocates_nothing() {
    // One key resolved a turn by a callback: the cell is that of the last, and the callback stands in a row.
    let count = allocations_of_rounds(async |co, round| {
        loop {
            let done = co.callback::<u32>("k")?;
            co.handle().call_soon(move || done.resolve(1));
            co.wait::<u32>("k").await?;
            round();
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn timers_armed_and_cancelled_allocate_no_more_than_their_callback() {
    let count = allocations_of_rounds(async |co, round| {
        loop {
            for _ in 0..10 {
                let timer = co.handle().call_later(ms(60_000), || {}); // a callback of no size
                assert!(co.handle().cancel_timer(timer));
            }
            let mut sleep = co.sleep(ms(60_000));
            assert!(futures_util::poll!(&mut sleep).is_pending());
            drop(sleep);
            round();
            co.yield_now().await?;
        }
    });
    assert_eq!(count, 0);
}

/// Posts of one type stand in a row, on both sides of the inbox.
#[test]
fn a_post_allocates_nothing() {
    let count = allocations_of_rounds(async |co, round| {
        let remote = co.handle().remote();
        loop {
            for number in 0..10u64 {
                remote.post(move |_| assert!(number < 10))?;
                remote.post(|_| ())?;
            }
            round();
            co.yield_now().await?;
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn a_coroutine_that_ended_leaves_nothing() {
    let mut event_loop = EventLoop::new().unwrap();
    let mut batch = || {
        event_loop
            .block_on(async |co| -> Result {
                let joins: Vec<_> = (0..100)
                    .map(|n| {
                        co.handle().spawn(async move |co: Co| -> Result<u32> {
                            let done = co.callback::<u32>(n)?;
                            done.resolve(n);
                            co.timer("late", ms(60_000))?;
                            co.forget("late")?;
                            co.wait(n).await
                        })
                    })
                    .collect();
                for join in joins {
                    join.await?;
                }
                Ok(())
            })
            .unwrap();
    };
    batch();
    batch();
    assert_eq!(measure(&mut batch).bytes_current, 0);
}

/// What a burst needed is given back once the loop rests: bodies, queues, timers, callbacks. What stays is room for a batch of one or
/// two thousand in each table, whatever the size of the burst.
#[test]
fn a_burst_leaves_no_memory_behind_once_the_loop_rests() {
    let mut event_loop = EventLoop::builder().fail_on_error().build().unwrap();
    let handle = event_loop.handle();
    let kept = measure(|| {
        for _ in 0..40_000 {
            drop(handle.spawn(async |co: Co| -> Result { co.sleep(ms(1)).await }));
            handle.call_soon(|| {});
        }
        assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
    });
    assert!(kept.bytes_max > 8 * 1024 * 1024, "it was no burst");
    assert!(
        kept.bytes_current < 192 * 1024,
        "{} bytes of {}",
        kept.bytes_current,
        kept.bytes_max
    );
}

/// The callbacks of a burst go where they came from, though the turn that ends it takes a few steps only.
#[test]
fn a_burst_of_callbacks_over_many_turns_leaves_no_memory_behind_once_the_loop_rests() {
    let mut event_loop = EventLoop::builder().fail_on_error().build().unwrap();
    let handle = event_loop.handle();
    let info = measure(|| {
        for n in 0..10_010u64 {
            handle.call_soon(move || assert!(n < 10_010));
        }
        while event_loop.turn(Budget::steps(1000)).unwrap().work_left {}
    });
    assert!(
        info.bytes_current < 64 * 1024,
        "{} bytes",
        info.bytes_current
    );
}

#[test]
fn a_burst_of_posts_leaves_no_memory_behind_once_the_loop_rests() {
    let mut event_loop = EventLoop::builder().fail_on_error().build().unwrap();
    let remote = event_loop.handle().remote();
    let kept = measure(|| {
        for number in 0..100_000u64 {
            remote.post(move |_| assert!(number < 100_000)).unwrap();
            if number % 3 == 0 {
                remote.post(|_| ()).unwrap();
            }
        }
        assert!(matches!(event_loop.run().unwrap(), Outcome::Done));
    });
    assert!(kept.bytes_max > 2 * 1024 * 1024, "it was no burst");
    assert!(
        kept.bytes_current < 64 * 1024,
        "{} bytes of {}",
        kept.bytes_current,
        kept.bytes_max
    );
}
