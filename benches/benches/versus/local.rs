//! The workloads on a runtime for futures that are not `Send`, written once for all of them.
//!
//! Each of these runtimes spawns, joins, sleeps and gives way in the same shape, so the code a user would write differs
//! only in the calls that [`Local`] names; each peer fills them in with its own.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task;
use std::thread;
use std::time::{Duration, Instant};

use benches::inputs::{
    Arrived, BATCH, BOUND, Delays, EARLIER, InOrder, KEYS, ORDERED_KEYS, Places, index, one_shots,
};
use benches::machine;
use benches::measure::{
    Measured, as_f64, cpu_nanos_per_op, lateness, median_nanos, resident_bytes, with_lateness,
    with_peak_memory, with_wall_time,
};

/// What a peer calls these things.
pub trait Local: Clone + 'static {
    /// The sending end of a channel between two coroutines.
    type Sender: 'static;
    /// Its receiving end.
    type Receiver: 'static;

    /// Makes a runtime, and measures `body` on it.
    fn measured<F: Future<Output = u64> + 'static>(
        n: u64,
        body: impl FnOnce(Self) -> F,
    ) -> Measured;

    /// Spawns a future that will be joined.
    fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static;

    /// Spawns a future that nobody waits for.
    fn detach(&self, future: impl Future<Output = ()> + 'static);

    fn yield_now() -> impl Future<Output = ()> + 'static;

    fn sleep(delay: Duration) -> impl Future<Output = ()> + 'static;

    fn one_shot<T: 'static>() -> (impl FnOnce(T) + 'static, impl Future<Output = T> + 'static);

    /// A channel with a bound.
    fn channel(bound: usize) -> (Self::Sender, Self::Receiver);

    fn send(sender: &Self::Sender, value: u64) -> impl Future<Output = ()>;

    /// The next value; `None` when the sender is gone.
    fn receive(receiver: &mut Self::Receiver) -> impl Future<Output = Option<u64>>;

    /// The sending end of a channel without a bound, as a function.
    fn unbounded() -> (
        impl Fn(u64) + 'static,
        impl AsyncFnMut() -> Option<u64> + 'static,
    );
}

pub fn spawn_join<P: Local>(n: u64) -> Measured {
    P::measured(n, |peer| async move {
        let mut sum = 0;
        let mut joins = Vec::with_capacity(index(BATCH));
        for batch in 0..n / BATCH {
            joins
                .extend((batch * BATCH..(batch + 1) * BATCH).map(|i| peer.spawn(async move { i })));
            // One after the other: the batch has run when the first is ready, so a set of joins would only add its own
            // bookkeeping.
            for join in joins.drain(..) {
                sum += join.await;
            }
        }
        sum
    })
}

pub fn yield_1<P: Local>(n: u64) -> Measured {
    give_way::<P, _>(1, n, P::yield_now)
}

pub fn yield_1000<P: Local>(n: u64) -> Measured {
    give_way::<P, _>(1000, n, P::yield_now)
}

pub fn foreign_yield<P: Local>(n: u64) -> Measured {
    give_way::<P, _>(1000, n, wake_self)
}

/// Gives way by waking itself: pending once.
pub async fn wake_self() {
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

fn give_way<P: Local, F: Future<Output = ()> + 'static>(
    coroutines: u64,
    n: u64,
    way: fn() -> F,
) -> Measured {
    let each = n / coroutines;
    P::measured(n, |peer| async move {
        let turns = async move || {
            let mut turns = 0;
            while turns < each {
                way().await;
                turns += 1;
            }
            turns
        };
        let joins: Vec<_> = (0..coroutines)
            .map(|_| peer.spawn(async move { turns().await }))
            .collect();
        let mut sum = 0;
        for join in joins {
            sum += join.await;
        }
        sum
    })
}

pub fn foreign_channel<P: Local>(n: u64) -> Measured {
    P::measured(n, |peer| async move {
        let (first, second) = one_shots(n);
        let (first, second) = (peer.spawn(first), peer.spawn(second));
        second.await;
        first.await
    })
}

/// A spawned coroutine completes the one-shot: the nearest to a callback queued on a loop.
pub fn task<P: Local>(n: u64) -> Measured {
    P::measured(n, |peer| async move {
        let spawner = peer.clone();
        let waiter = peer.spawn(async move {
            let mut sum = 0;
            for i in 0..n {
                let (done, result) = P::one_shot();
                spawner.detach(async move { done(i) });
                sum += result.await;
            }
            sum
        });
        waiter.await
    })
}

/// [`KEYS`] at a time.
pub fn key_wait<P: Local>(n: u64) -> Measured {
    keys_waited::<P, KEYS>(n)
}

/// One at a time.
pub fn key_wait_1<P: Local>(n: u64) -> Measured {
    keys_waited::<P, 1>(n)
}

/// One-shots under their keys in a map, so many at a time.
fn keys_waited<P: Local, const PENDING: u64>(n: u64) -> Measured {
    P::measured(n, |peer| async move {
        let spawner = peer.clone();
        let waiter = peer.spawn(async move {
            let mut sum = 0;
            let mut pending = HashMap::new();
            for round in 0..n / PENDING {
                let keys = round * PENDING..(round + 1) * PENDING;
                for key in keys.clone() {
                    let (done, result) = P::one_shot();
                    // Boxed, since a future that cannot be moved has no place in a map.
                    pending.insert(key, Box::pin(result));
                    spawner.detach(async move { done(key) });
                }
                for key in keys {
                    sum += pending.remove(&key).expect("the key is pending").await;
                }
            }
            sum
        });
        waiter.await
    })
}

pub fn pingpong<P: Local>(n: u64) -> Measured {
    P::measured(n, |peer| async move {
        let ((ping, mut pings), (pong, mut pongs)) = (P::channel(1), P::channel(1));
        let answering = peer.spawn(async move {
            while let Some(i) = P::receive(&mut pings).await {
                P::send(&pong, i + 1).await;
            }
        });
        let asking = peer.spawn(async move {
            let mut last = 0;
            for _ in 0..n {
                P::send(&ping, last).await;
                last = P::receive(&mut pongs).await.expect("the other answers");
            }
            last
        });
        let last = asking.await;
        answering.await;
        last
    })
}

pub fn queue<P: Local>(n: u64) -> Measured {
    P::measured(n, |peer| async move {
        let (sender, mut receiver) = P::channel(BOUND);
        let producer = peer.spawn(async move {
            for i in 0..n {
                P::send(&sender, i).await;
            }
        });
        let consumer = peer.spawn(async move {
            let mut sum = 0;
            while let Some(i) = P::receive(&mut receiver).await {
                sum += i;
            }
            sum
        });
        producer.await;
        consumer.await
    })
}

/// A sleep is made, polled once, which arms it, and dropped. It lies on the stack.
pub fn timer_arm<P: Local>(n: u64) -> Measured {
    P::measured(n, |peer| async move {
        peer.detach(P::sleep(EARLIER));
        // The driver learns of the earlier timer when the runtime next parks.
        P::sleep(Duration::from_millis(1)).await;
        let mut delays = Delays::new();
        let mut pending = 0;
        for _ in 0..n {
            let timer = std::pin::pin!(P::sleep(delays.next_long()));
            pending += poll_once(timer).await;
        }
        pending
    })
}

/// The places of the sleeps are boxed once and used again, so that arming allocates nothing of ours.
pub fn timer_held<P: Local>(n: u64) -> Measured {
    P::measured(n, |_| async move {
        let mut delays = Delays::new();
        let mut places: Vec<_> = (0..BATCH).map(|_| Box::pin(None)).collect();
        let mut pending = 0;
        for _ in 0..n / BATCH {
            for place in &mut places {
                place.set(Some(P::sleep(delays.next_long())));
                pending += poll_once(place.as_mut().as_pin_mut().expect("just filled")).await;
            }
            P::yield_now().await;
            for place in &mut places {
                place.set(None);
            }
        }
        pending
    })
}

/// Polls a timer once; 1 if it is pending.
pub async fn poll_once(mut timer: Pin<&mut impl Future>) -> u64 {
    poll_fn(|cx| task::Poll::Ready(u64::from(timer.as_mut().poll(cx).is_pending()))).await
}

pub fn timer_sleep<P: Local>(n: u64) -> Measured {
    with_lateness(|report| {
        P::measured(n, |peer| async move {
            let mut delays = Delays::new();
            let joins: Vec<_> = (0..n)
                .map(|_| {
                    let delay = delays.next_short();
                    peer.spawn(async move {
                        let deadline = Instant::now() + delay;
                        P::sleep(delay).await;
                        lateness(deadline)
                    })
                })
                .collect();
            let mut latenesses = Vec::with_capacity(index(n));
            for join in joins {
                latenesses.push(join.await);
            }
            report.send(latenesses).expect("the bench listens");
            n
        })
    })
}

/// The closures travel by `async-channel`, which crosses threads; a coroutine calls them.
pub fn remote<P: Local>(n: u64) -> Measured {
    with_wall_time(n, || {
        P::measured(n, |_| async move {
            let (sender, receiver) = async_channel::unbounded::<Box<dyn FnOnce() + Send>>();
            let thread = thread::spawn(move || {
                machine::pin_other();
                for i in 0..n {
                    let posted = sender.try_send(Box::new(move || Arrived::add(i)));
                    posted.expect("the loop is there");
                }
            });
            while let Ok(callback) = receiver.recv().await {
                callback();
            }
            thread.join().expect("the thread ends");
            Arrived::take_sum()
        })
    })
}

pub fn remote_roundtrip<P: Local>(n: u64) -> Measured {
    use futures_channel::oneshot;

    let (requests, served) = mpsc::channel::<oneshot::Sender<u64>>();
    let thread = thread::spawn(move || {
        machine::pin_other();
        for (i, done) in (0..).zip(served) {
            done.send(i).expect("the loop waits");
        }
    });
    let (report, samples) = mpsc::channel();
    let measured = P::measured(n, |_| async move {
        let mut samples = Vec::with_capacity(index(n));
        let mut sum = 0;
        for _ in 0..n {
            let started = Instant::now();
            let (done, result) = oneshot::channel();
            requests.send(done).expect("the thread listens");
            sum += result.await.expect("the thread answers");
            samples.push(started.elapsed());
        }
        report.send(samples).expect("the bench listens");
        sum
    });
    thread.join().expect("the thread ends with its channel");
    median_nanos(&samples.recv().expect("the loop reported"), measured.result)
}

/// A coroutine and an unbounded channel for each key.
pub fn ordered<P: Local>(n: u64) -> Measured {
    with_peak_memory(|| {
        P::measured(n, |peer| async move {
            let keys: Vec<_> = (0..ORDERED_KEYS)
                .map(|_| {
                    let (send, mut receive) = P::unbounded();
                    let join = peer.spawn(async move {
                        let mut key = InOrder::default();
                        while let Some(number) = receive().await {
                            P::yield_now().await;
                            key.take(number);
                        }
                        key.right()
                    });
                    (send, join)
                })
                .collect();
            for number in 0..n / ORDERED_KEYS {
                for (send, _) in &keys {
                    send(number);
                }
                P::yield_now().await;
            }
            let (senders, joins): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
            drop(senders);
            let mut right = 0;
            for join in joins {
                right += join.await;
            }
            right
        })
    })
}

pub fn parked<P: Local>(n: u64) -> Measured {
    let bytes = Rc::new(std::cell::Cell::new(0));
    let counted = Rc::clone(&bytes);
    let mut measured = P::measured(n, |peer| async move {
        let (mut joins, mut senders) = (Places::new(n), Places::new(n));
        let before = resident_bytes();
        for _ in 0..n {
            let (done, result) = P::one_shot::<u64>();
            joins.push(peer.spawn(result));
            senders.push(done);
        }
        P::sleep(Duration::from_millis(1)).await;
        counted.set(resident_bytes().saturating_sub(before));
        for done in senders.into_values() {
            done(1);
        }
        let mut woken = 0;
        for join in joins.into_values() {
            woken += join.await;
        }
        woken
    });
    measured.values = vec![as_f64(bytes.get()) / as_f64(n)];
    measured
}

pub fn startup<P: Local>(n: u64) -> Measured {
    cpu_nanos_per_op(n, || {
        (0..n)
            .map(|_| P::measured(1, |peer| async move { peer.spawn(async { 1 }).await }).result)
            .sum()
    })
}
