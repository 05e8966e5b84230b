//! tokio with plain `spawn`, for futures that are `Send`: its one-threaded runtime, with and without drivers, and the
//! multi-thread one.
//!
//! Where coroutines give way or wake each other, the body is spawned too: what `block_on` polls itself costs a look at the
//! driver after every poll.

use std::collections::HashMap;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use benches::inputs::{Arrived, BATCH, BOUND, Delays, EARLIER, KEYS, Places, index, one_shots};
use benches::machine;
use benches::measure::{
    Measured, as_f64, cpu_nanos_per_op, lateness, median_nanos, process_nanos_per_op,
    resident_bytes, with_lateness, with_wall_time,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{channel, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::sleep;

use crate::local::{poll_once, wake_self};

/// Which runtime.
pub trait Flavour {
    fn runtime() -> Runtime;

    /// Measures `body`, spawned on a runtime of its own.
    fn measured(n: u64, body: impl Future<Output = u64> + Send + 'static) -> Measured {
        let runtime = Self::runtime();
        cpu_nanos_per_op(n, || run(&runtime, body))
    }
}

fn run(runtime: &Runtime, body: impl Future<Output = u64> + Send + 'static) -> u64 {
    runtime.block_on(async { joined(tokio::spawn(body)).await })
}

pub async fn joined<T>(join: JoinHandle<T>) -> T {
    join.await
        .expect("the future neither panics nor is aborted")
}

/// One thread, with drivers for timers and sockets, as in a program.
pub struct Plain;

impl Flavour for Plain {
    fn runtime() -> Runtime {
        Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
    }
}

/// One thread and no drivers.
pub struct Bare;

impl Flavour for Bare {
    fn runtime() -> Runtime {
        Builder::new_current_thread().build().expect("a runtime")
    }
}

/// Two workers; CPU time is that of the whole process.
pub struct Multi;

impl Flavour for Multi {
    fn runtime() -> Runtime {
        Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
    }

    fn measured(n: u64, body: impl Future<Output = u64> + Send + 'static) -> Measured {
        let runtime = Self::runtime();
        process_nanos_per_op(n, || run(&runtime, body))
    }
}

pub fn spawn_join<T: Flavour>(n: u64) -> Measured {
    T::measured(n, async move {
        let mut sum = 0;
        let mut joins = Vec::with_capacity(index(BATCH));
        for batch in 0..n / BATCH {
            joins.extend(
                (batch * BATCH..(batch + 1) * BATCH).map(|i| tokio::spawn(async move { i })),
            );
            // One after the other: the batch has run when the first is ready, so a `JoinSet` would only add its own
            // bookkeeping.
            for join in joins.drain(..) {
                sum += joined(join).await;
            }
        }
        sum
    })
}

pub fn yield_1<T: Flavour>(n: u64) -> Measured {
    give_way::<T, _>(1, n, yield_now)
}

pub fn yield_1000<T: Flavour>(n: u64) -> Measured {
    give_way::<T, _>(1000, n, yield_now)
}

pub fn foreign_yield<T: Flavour>(n: u64) -> Measured {
    give_way::<T, _>(1000, n, wake_self)
}

fn give_way<T: Flavour, F: Future<Output = ()> + Send + 'static>(
    coroutines: u64,
    n: u64,
    way: fn() -> F,
) -> Measured {
    let each = n / coroutines;
    T::measured(n, async move {
        let turns = move || async move {
            let mut turns = 0;
            while turns < each {
                way().await;
                turns += 1;
            }
            turns
        };
        let joins: Vec<_> = (0..coroutines).map(|_| tokio::spawn(turns())).collect();
        let mut sum = 0;
        for join in joins {
            sum += joined(join).await;
        }
        sum
    })
}

pub fn foreign_channel<T: Flavour>(n: u64) -> Measured {
    T::measured(n, async move {
        let (first, second) = one_shots(n);
        let (first, second) = (tokio::spawn(first), tokio::spawn(second));
        joined(second).await;
        joined(first).await
    })
}

/// A spawned coroutine completes the one-shot: what one writes with tokio alone.
pub fn task<T: Flavour>(n: u64) -> Measured {
    T::measured(n, async move {
        let mut sum = 0;
        for i in 0..n {
            let (done, result) = oneshot::channel();
            tokio::spawn(async move { done.send(i).expect("the waiter waits") });
            sum += result.await.expect("the callback is called");
        }
        sum
    })
}

/// [`KEYS`] at a time.
pub fn key_wait<T: Flavour>(n: u64) -> Measured {
    keys_waited::<T, KEYS>(n)
}

/// One at a time.
pub fn key_wait_1<T: Flavour>(n: u64) -> Measured {
    keys_waited::<T, 1>(n)
}

/// One-shots under their keys in a map, so many at a time.
fn keys_waited<T: Flavour, const PENDING: u64>(n: u64) -> Measured {
    T::measured(n, async move {
        let mut sum = 0;
        let mut pending = HashMap::new();
        for round in 0..n / PENDING {
            let keys = round * PENDING..(round + 1) * PENDING;
            for key in keys.clone() {
                let (done, result) = oneshot::channel();
                pending.insert(key, result);
                tokio::spawn(async move { done.send(key).expect("the waiter waits") });
            }
            for key in keys {
                let result = pending.remove(&key).expect("the key is pending");
                sum += result.await.expect("the callback is called");
            }
        }
        sum
    })
}

pub fn pingpong<T: Flavour>(n: u64) -> Measured {
    T::measured(n, async move {
        let ((ping, mut pings), (pong, mut pongs)) = (channel(1), channel(1));
        let answering = tokio::spawn(async move {
            while let Some(i) = pings.recv().await {
                pong.send(i + 1).await.expect("the other asked");
            }
        });
        let asking = tokio::spawn(async move {
            let mut last = 0;
            for _ in 0..n {
                ping.send(last).await.expect("the other listens");
                last = pongs.recv().await.expect("the other answers");
            }
            last
        });
        let last = joined(asking).await;
        joined(answering).await;
        last
    })
}

pub fn queue<T: Flavour>(n: u64) -> Measured {
    T::measured(n, async move {
        let (sender, mut receiver) = channel(BOUND);
        let producer = tokio::spawn(async move {
            for i in 0..n {
                sender.send(i).await.expect("the other listens");
            }
        });
        let consumer = tokio::spawn(async move {
            let mut sum = 0;
            while let Some(i) = receiver.recv().await {
                sum += i;
            }
            sum
        });
        joined(producer).await;
        joined(consumer).await
    })
}

/// A sleep is made, polled once, which arms it, and dropped. It lies on the stack.
///
/// A pending poll does not use up tokio's budget, so every poll arms.
pub fn timer_arm<T: Flavour>(n: u64) -> Measured {
    T::measured(n, async move {
        let earlier = tokio::spawn(sleep(EARLIER));
        // The driver learns of the earlier timer when the runtime next parks.
        sleep(Duration::from_millis(1)).await;
        let mut delays = Delays::new();
        let mut pending = 0;
        for _ in 0..n {
            let timer = std::pin::pin!(sleep(delays.next_long()));
            pending += poll_once(timer).await;
        }
        earlier.abort();
        pending
    })
}

/// The places of the sleeps are boxed once and used again, so that arming allocates nothing.
pub fn timer_held<T: Flavour>(n: u64) -> Measured {
    T::measured(n, async move {
        let mut delays = Delays::new();
        let mut places: Vec<_> = (0..BATCH).map(|_| Box::pin(None)).collect();
        let mut pending = 0;
        for _ in 0..n / BATCH {
            for place in &mut places {
                place.set(Some(sleep(delays.next_long())));
                pending += poll_once(place.as_mut().as_pin_mut().expect("just filled")).await;
            }
            yield_now().await;
            for place in &mut places {
                place.set(None);
            }
        }
        pending
    })
}

pub fn timer_sleep<T: Flavour>(n: u64) -> Measured {
    with_lateness(|report| {
        T::measured(n, async move {
            let mut delays = Delays::new();
            let joins: Vec<_> = (0..n)
                .map(|_| {
                    let delay = delays.next_short();
                    tokio::spawn(async move {
                        let deadline = Instant::now() + delay;
                        sleep(delay).await;
                        lateness(deadline)
                    })
                })
                .collect();
            let mut latenesses = Vec::with_capacity(index(n));
            for join in joins {
                latenesses.push(joined(join).await);
            }
            report.send(latenesses).expect("the bench listens");
            n
        })
    })
}

/// The closures travel by an unbounded channel; a coroutine calls them.
pub fn remote<T: Flavour>(n: u64) -> Measured {
    with_wall_time(n, || {
        T::measured(n, async move {
            let (sender, mut receiver) = unbounded_channel::<Box<dyn FnOnce() + Send>>();
            let thread = thread::spawn(move || {
                machine::pin_other();
                for i in 0..n {
                    let posted = sender.send(Box::new(move || Arrived::add(i)));
                    posted.expect("the loop is there");
                }
            });
            while let Some(callback) = receiver.recv().await {
                callback();
            }
            thread.join().expect("the thread ends");
            Arrived::take_sum()
        })
    })
}

pub fn remote_roundtrip<T: Flavour>(n: u64) -> Measured {
    let (requests, served) = mpsc::channel::<oneshot::Sender<u64>>();
    let thread = thread::spawn(move || {
        machine::pin_other();
        for (i, done) in (0..).zip(served) {
            done.send(i).expect("the loop waits");
        }
    });
    let mut samples = Vec::with_capacity(index(n));
    // Not spawned: tokio wakes what `block_on` polls without a queue in between.
    let sum = T::runtime().block_on(async {
        let mut sum = 0;
        for _ in 0..n {
            let started = Instant::now();
            let (done, result) = oneshot::channel();
            requests.send(done).expect("the thread listens");
            sum += result.await.expect("the thread answers");
            samples.push(started.elapsed());
        }
        sum
    });
    drop(requests);
    thread.join().expect("the thread ends with its channel");
    median_nanos(&samples, sum)
}

pub fn parked<T: Flavour>(n: u64) -> Measured {
    let (report, bytes) = mpsc::channel();
    let mut measured = T::measured(n, async move {
        let (mut joins, mut senders) = (Places::new(n), Places::new(n));
        let before = resident_bytes();
        for _ in 0..n {
            let (done, result) = oneshot::channel::<u64>();
            joins.push(tokio::spawn(result));
            senders.push(done);
        }
        sleep(Duration::from_millis(1)).await;
        let grown = resident_bytes().saturating_sub(before);
        report
            .send(as_f64(grown) / as_f64(n))
            .expect("the bench listens");
        for done in senders.into_values() {
            done.send(1).expect("it is parked");
        }
        let mut woken = 0;
        for join in joins.into_values() {
            woken += joined(join).await.expect("the other end sends");
        }
        woken
    });
    measured.values = vec![bytes.recv().expect("the loop reported")];
    measured
}

pub fn startup<T: Flavour>(n: u64) -> Measured {
    let work = || {
        (0..n)
            .map(|_| T::runtime().block_on(async { joined(tokio::spawn(async { 1 })).await }))
            .sum()
    };
    cpu_nanos_per_op(n, work)
}
