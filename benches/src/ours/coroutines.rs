//! Spawning, joining and giving way.

use std::future::poll_fn;
use std::task;

use yieldpoint::{Co, Result};

use super::{event_loop, measured};
use crate::inputs::{BATCH, index};
use crate::measure::{Measured, cpu_nanos_per_op};

/// Batches of [`BATCH`] spawns, each gives its index, all awaited; the result is the sum.
///
/// The vector of handles is kept from batch to batch, as on the other sides.
pub fn spawn_join(n: u64) -> Measured {
    measured(n, async move |co: Co| -> Result<u64> {
        let mut sum = 0;
        let mut joins = Vec::with_capacity(index(BATCH));
        for batch in 0..n / BATCH {
            joins.extend(
                (batch * BATCH..(batch + 1) * BATCH)
                    .map(|i| co.handle().spawn(async move |_| -> Result<u64> { Ok(i) })),
            );
            for join in joins.drain(..) {
                sum += join.await?;
            }
        }
        Ok(sum)
    })
}

/// One coroutine gives way `n` times; the result is how often.
pub fn yield_1(n: u64) -> Measured {
    yield_all(1, n)
}

/// 1000 coroutines give way `n` times in all; the result is how often.
pub fn yield_1000(n: u64) -> Measured {
    yield_all(1000, n)
}

/// `coroutines` coroutines give way `n` times in all; gives how often they did.
pub fn yield_all(coroutines: u64, n: u64) -> Measured {
    let each = n / coroutines;
    give_way(coroutines, n, async move |co: Co| -> Result<u64> {
        let mut turns = 0;
        while turns < each {
            co.yield_now().await?;
            turns += 1;
        }
        Ok(turns)
    })
}

/// 1000 coroutines give way `n` times in all through their `Waker`, as any foreign future does.
pub fn foreign_yield(n: u64) -> Measured {
    let each = n / 1000;
    give_way(1000, n, async move |_: Co| -> Result<u64> {
        let mut turns = 0;
        while turns < each {
            wake_self().await;
            turns += 1;
        }
        Ok(turns)
    })
}

/// Gives way by waking itself: pending once.
async fn wake_self() {
    let mut given_way = false;
    poll_fn(|cx| {
        if given_way {
            return task::Poll::Ready(());
        }
        given_way = true;
        cx.waker().wake_by_ref();
        task::Poll::Pending
    })
    .await;
}

fn give_way(
    coroutines: u64,
    n: u64,
    turns: impl AsyncFnOnce(Co) -> Result<u64> + Copy + 'static,
) -> Measured {
    measured(n, async move |co: Co| -> Result<u64> {
        let joins: Vec<_> = (0..coroutines).map(|_| co.handle().spawn(turns)).collect();
        let mut sum = 0;
        for join in joins {
            sum += join.await?;
        }
        Ok(sum)
    })
}

/// A loop is made, runs one trivial coroutine, and is dropped, `n` times.
pub fn startup(n: u64) -> Measured {
    cpu_nanos_per_op(n, || {
        (0..n)
            .map(|_| {
                let body = async |co: Co| -> Result<u64> {
                    co.handle().spawn(async |_| -> Result<u64> { Ok(1) }).await
                };
                event_loop().block_on(body).expect("no coroutine fails")
            })
            .sum()
    })
}
