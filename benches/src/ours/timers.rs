//! Timers that are armed and cancelled, and sleepers that wake.

use std::future::poll_fn;
use std::task;
use std::time::{Duration, Instant};

use yieldpoint::{Co, Result};

use super::measured;
use crate::inputs::{BATCH, Delays, EARLIER, index};
use crate::measure::{Lateness, Measured, lateness, with_lateness};

/// A timer of 1 to 60 s is armed and cancelled at once, `n` times, while one of [`EARLIER`] stays armed; the result is how
/// many were pending.
pub fn timer_arm(n: u64) -> Measured {
    measured(n, async move |co: Co| -> Result<u64> {
        let earlier = co
            .handle()
            .spawn(async |co| -> Result { co.sleep(EARLIER).await });
        look(&co).await?;
        let mut delays = Delays::new();
        let mut pending = 0;
        for _ in 0..n {
            let mut timer = co.sleep(delays.next_long());
            pending += poll_once(&mut timer).await;
        }
        earlier.abort();
        Ok(pending)
    })
}

/// A batch of timers is armed, the loop looks at the time once, all are cancelled; the result is how many were pending.
///
/// The place of the sleeps is kept from batch to batch, as on the other sides.
pub fn timer_held(n: u64) -> Measured {
    measured(n, async move |co: Co| -> Result<u64> {
        let mut delays = Delays::new();
        let mut timers = Vec::with_capacity(index(BATCH));
        let mut pending = 0;
        for _ in 0..n / BATCH {
            for _ in 0..BATCH {
                let mut timer = co.sleep(delays.next_long());
                pending += poll_once(&mut timer).await;
                timers.push(timer);
            }
            look(&co).await?;
            timers.clear();
        }
        Ok(pending)
    })
}

/// `n` coroutines sleep up to 100 ms, all at once; the result is how many did not wake early.
pub fn timer_sleep(n: u64) -> Measured {
    with_lateness(|report| {
        measured(n, async move |co: Co| -> Result<u64> {
            let mut delays = Delays::new();
            let joins: Vec<_> = (0..n)
                .map(|_| {
                    let delay = delays.next_short();
                    co.handle().spawn(async move |co| -> Result<Lateness> {
                        let deadline = Instant::now() + delay;
                        co.sleep(delay).await?;
                        Ok(lateness(deadline))
                    })
                })
                .collect();
            let mut latenesses = Vec::with_capacity(index(n));
            for join in joins {
                latenesses.push(join.await?);
            }
            report.send(latenesses).expect("the bench listens");
            Ok(n)
        })
    })
}

/// `n` timers are armed at once and fire within the next millisecond: what grows with the number of timers.
pub fn timer_fire(n: u64) -> Measured {
    measured(n, async move |co: Co| -> Result<u64> {
        let mut timers: Vec<_> = (0..n)
            .map(|i| co.sleep(Duration::from_nanos(i % 1_000_000)))
            .collect();
        for timer in &mut timers {
            poll_once(timer).await;
        }
        for timer in timers {
            timer.await?;
        }
        Ok(n)
    })
}

/// Lets the loop look at timers and sockets once, which gives new timers their deadline.
///
/// A sleep of no length, since `yield_now` may come back before the next look.
async fn look(co: &Co) -> Result {
    co.sleep(Duration::ZERO).await
}

/// Polls a timer once; 1 if it is pending.
async fn poll_once(timer: &mut (impl Future + Unpin)) -> u64 {
    let mut timer = std::pin::Pin::new(timer);
    poll_fn(|cx| task::Poll::Ready(u64::from(timer.as_mut().poll(cx).is_pending()))).await
}
