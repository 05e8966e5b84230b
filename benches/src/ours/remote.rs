//! Another thread and the loop.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use yieldpoint::{Co, EventLoop, Result, SendResolver};

use super::{built, event_loop, spinning_loop};
use crate::inputs::{Arrived, index};
use crate::machine;
use crate::measure::{Measured, cpu_nanos_per_op, median_nanos, with_wall_time};

/// Another thread posts `n` closures, each of which adds its index on the loop; the result is the sum. CPU time of the
/// loop, and wall time.
pub fn remote(n: u64) -> Measured {
    let mut event_loop: EventLoop = event_loop();
    let body = async move |co: Co| -> Result<u64> {
        co.task(|done: yieldpoint::Resolver<()>| {
            let (remote, done) = (co.handle().remote(), done.into_send());
            thread::spawn(move || {
                machine::pin_other();
                for i in 0..n {
                    remote
                        .post(move |_| Arrived::add(i))
                        .expect("the loop is there");
                }
                // Posts keep their order, so this is the last.
                done.resolve(());
            });
        })
        .await?;
        Ok(Arrived::take_sum())
    };
    with_wall_time(n, || {
        cpu_nanos_per_op(n, || event_loop.block_on(body).expect("no coroutine fails"))
    })
}

/// `n` round trips to a thread that completes a `Task` through the `Send` form of its resolver; the result is the sum of
/// the indices it sends.
pub fn remote_roundtrip(n: u64) -> Measured {
    round_trips(event_loop(), n)
}

/// The same with a loop that sleeps whenever it waits.
pub fn remote_roundtrip_asleep(n: u64) -> Measured {
    round_trips(built(EventLoop::builder().busy_poll(Duration::ZERO)), n)
}

/// The same with a loop that spins.
pub fn remote_roundtrip_spin(n: u64) -> Measured {
    round_trips(spinning_loop(), n)
}

fn round_trips(mut event_loop: EventLoop, n: u64) -> Measured {
    let (requests, served) = mpsc::channel::<SendResolver<u64>>();
    let thread = thread::spawn(move || {
        machine::pin_other();
        for (i, done) in (0..).zip(served) {
            done.resolve(i);
        }
    });
    let mut samples = Vec::with_capacity(index(n));
    let body = async |co: Co| -> Result<u64> {
        let mut sum = 0;
        for _ in 0..n {
            let started = Instant::now();
            sum += co
                .task(|done| requests.send(done.into_send()).expect("the thread listens"))
                .await?;
            samples.push(started.elapsed());
        }
        Ok(sum)
    };
    let sum = event_loop.block_on(body).expect("the thread answers");
    drop(requests);
    thread.join().expect("the thread ends with its channel");
    median_nanos(&samples, sum)
}
