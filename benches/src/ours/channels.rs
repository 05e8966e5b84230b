//! Awaiting callbacks, keys, queues and a foreign one-shot.

use yieldpoint::{Co, Result, sync};

use super::measured;
use crate::inputs::{BOUND, KEYS, one_shots};
use crate::measure::Measured;

/// A `Task` whose callback is queued on the loop and hands back the index, `n` times; the result is the sum.
pub fn task(n: u64) -> Measured {
    measured(n, async move |co: Co| -> Result<u64> {
        let waiter = co.handle().spawn(async move |co| -> Result<u64> {
            let mut sum = 0;
            for i in 0..n {
                sum += co
                    .task(|done| co.handle().call_soon(move || done.resolve(i)))
                    .await?;
            }
            Ok(sum)
        });
        waiter.await
    })
}

/// [`KEYS`] at a time.
pub fn key_wait(n: u64) -> Measured {
    keys_waited::<KEYS>(n)
}

/// One at a time.
pub fn key_wait_1(n: u64) -> Measured {
    keys_waited::<1>(n)
}

/// Some keys are made pending, a callback is queued for each, then they are waited for one after the other; `n` keys in all, and the
/// result is the sum of the indices they give.
fn keys_waited<const PENDING: u64>(n: u64) -> Measured {
    measured(n, async move |co: Co| -> Result<u64> {
        let waiter = co.handle().spawn(async move |co| -> Result<u64> {
            let mut sum = 0;
            for round in 0..n / PENDING {
                let keys = round * PENDING..(round + 1) * PENDING;
                for key in keys.clone() {
                    let done = co.callback(key)?;
                    co.handle().call_soon(move || done.resolve(key));
                }
                for key in keys {
                    sum += co.wait::<u64>(key).await?;
                }
            }
            Ok(sum)
        });
        waiter.await
    })
}

/// Two coroutines hand each other `n` one-shots of the `futures` crate; the result is the number on the last.
pub fn foreign_channel(n: u64) -> Measured {
    measured(n, async move |co: Co| -> Result<u64> {
        let (first, second) = one_shots(n);
        let first = co.handle().spawn_future(first);
        let second = co.handle().spawn_future(second);
        second.await?;
        first.await
    })
}

/// A number goes to and fro between two coroutines over a pair of queues, `n` round trips; the result is how often it
/// was counted up by the one who answers.
pub fn pingpong(n: u64) -> Measured {
    measured(n, async move |co: Co| -> Result<u64> {
        let (ping, pings) = sync::queue(co.handle(), 1);
        let (pong, pongs) = sync::queue(co.handle(), 1);
        let answering = co.handle().spawn(async move |_| -> Result {
            while let Some(i) = pings.recv().await? {
                pong.send(i + 1).await?;
            }
            Ok(())
        });
        let asking = co.handle().spawn(async move |_| -> Result<u64> {
            let mut last = 0;
            for _ in 0..n {
                ping.send(last).await?;
                last = pongs.recv().await?.expect("the other answers");
            }
            Ok(last)
        });
        let last = asking.await?;
        answering.await?;
        Ok(last)
    })
}

/// One coroutine sends `n` numbers to another over a queue of [`BOUND`]; the result is their sum.
pub fn queue(n: u64) -> Measured {
    measured(n, async move |co: Co| -> Result<u64> {
        let (sender, receiver) = sync::queue(co.handle(), BOUND);
        let producer = co.handle().spawn(async move |_| -> Result {
            for i in 0..n {
                sender.send(i).await?;
            }
            Ok(())
        });
        let consumer = co.handle().spawn(async move |_| -> Result<u64> {
            let mut sum = 0;
            while let Some(i) = receiver.recv().await? {
                sum += i;
            }
            Ok(sum)
        });
        producer.await?;
        consumer.await
    })
}
