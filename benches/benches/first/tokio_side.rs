//! The workloads with tokio, each in the best form tokio has for one thread.
//!
//! Each runs on whichever of tokio's two homes for `!Send` futures is faster there: a [`LocalSet`]
//! where tasks are spawned or woken by one another, a [`LocalRuntime`] where they give way; where
//! both are alike, on the latter. Timers and sockets are enabled, as they are on our side and in a
//! program that uses tokio for anything. Making the runtime is not measured.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task;
use std::thread;
use std::time::Instant;

use benches::{Measured, cpu_nanos_per_op, median_nanos};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime, Runtime};
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, LocalSet, spawn_local, yield_now};
use tokio::time::{Sleep, sleep};

use crate::shared::{BATCH, Delays, EARLIER, KEYS, echo_client};

/// The current-thread scheduler that takes `!Send` futures by itself.
fn local_runtime() -> LocalRuntime {
    Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .expect("a runtime")
}

/// The plain current-thread runtime, which takes `Send` futures, and `!Send` ones with a
/// `LocalSet`.
fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Spawns in batches with `spawn`, awaits all handles of a batch, and adds up what they give.
///
/// The handles are awaited one after the other: the batch has run when the first is ready, so a
/// `JoinSet` would only add its own bookkeeping. Their vector is kept from batch to batch.
async fn batches(n: u64, spawn: impl Fn(u64) -> JoinHandle<u64>) -> u64 {
    let mut sum = 0;
    let mut handles = Vec::with_capacity(usize::try_from(BATCH).expect("a batch fits"));
    for batch in 0..n / BATCH {
        handles.extend((batch * BATCH..(batch + 1) * BATCH).map(&spawn));
        for handle in handles.drain(..) {
            sum += handle
                .await
                .expect("the future neither panics nor is aborted");
        }
    }
    sum
}

pub fn spawn_join_local_runtime(n: u64) -> Measured {
    let runtime = local_runtime();
    cpu_nanos_per_op(n, || {
        runtime.block_on(batches(n, |i| spawn_local(async move { i })))
    })
}

/// What most programs with `!Send` futures use.
pub fn spawn_join_local_set(n: u64) -> Measured {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let local = LocalSet::new();
    cpu_nanos_per_op(n, || {
        local.block_on(&runtime, batches(n, |i| spawn_local(async move { i })))
    })
}

/// For futures that are `Send`, on the plain current-thread runtime.
pub fn spawn_join_spawn(n: u64) -> Measured {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    cpu_nanos_per_op(n, || {
        runtime.block_on(batches(n, |i| tokio::spawn(async move { i })))
    })
}

/// Gives way by waking itself at once.
///
/// `yield_now` looks at the I/O driver before the task runs again, which dominates when one task is
/// alone. This is the cheapest way tokio can give way: to the back of the queue, with a look at the
/// driver every 61 polls.
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

/// `tasks` tasks that give way `n` times in all; gives how often they did.
///
/// The tasks are spawned and not polled by `block_on` itself, which would look at the driver after
/// every poll.
fn give_way<F: Future<Output = ()>>(
    tasks: u64,
    n: u64,
    way: impl Fn() -> F + Copy + 'static,
) -> Measured {
    let runtime = local_runtime();
    let each = n / tasks;
    let body = async move {
        let turns = async move || {
            let mut turns = 0;
            while turns < each {
                way().await;
                turns += 1;
            }
            turns
        };
        let handles: Vec<_> = (0..tasks)
            .map(|_| spawn_local(async move { turns().await }))
            .collect();
        let mut sum = 0;
        for handle in handles {
            sum += handle
                .await
                .expect("the future neither panics nor is aborted");
        }
        sum
    };
    cpu_nanos_per_op(n, || runtime.block_on(body))
}

/// `yield_now` as a user calls it.
pub fn yield_1(n: u64) -> Measured {
    give_way(1, n, yield_now)
}

pub fn yield_1_wake_self(n: u64) -> Measured {
    give_way(1, n, wake_self)
}

pub fn yield_1000(n: u64) -> Measured {
    give_way(1000, n, yield_now)
}

pub fn yield_1000_wake_self(n: u64) -> Measured {
    give_way(1000, n, wake_self)
}

/// Callbacks waiting for the runtime to call them: what tokio lacks and a program over a callback
/// API writes for itself.
#[derive(Default)]
struct Callbacks {
    queued: RefCell<Vec<Box<dyn FnOnce()>>>,
    arrived: Notify,
}

impl Callbacks {
    fn queue(&self, callback: impl FnOnce() + 'static) {
        self.queued.borrow_mut().push(Box::new(callback));
        self.arrived.notify_one();
    }

    /// Calls what is queued, a vector at a time; the two vectors change places, so queueing
    /// allocates the box only.
    async fn drive(&self) {
        let mut batch = Vec::new();
        loop {
            self.arrived.notified().await;
            std::mem::swap(&mut batch, &mut *self.queued.borrow_mut());
            for callback in batch.drain(..) {
                callback();
            }
        }
    }
}

/// A callback on a local queue completes the oneshot: the nearest to a callback queued on an event
/// loop, since no task is spawned for it.
pub fn task_queue(n: u64) -> Measured {
    let runtime = runtime();
    let local = LocalSet::new();
    cpu_nanos_per_op(n, || {
        local.block_on(&runtime, async {
            let callbacks = Rc::new(Callbacks::default());
            let queue = Rc::clone(&callbacks);
            let driver = spawn_local(async move { queue.drive().await });
            let waiter = spawn_local(async move {
                let mut sum = 0;
                for i in 0..n {
                    let (done, result) = oneshot::channel();
                    callbacks.queue(move || done.send(i).expect("the waiter waits"));
                    sum += result.await.expect("the callback is called");
                }
                sum
            });
            let sum = waiter
                .await
                .expect("the future neither panics nor is aborted");
            driver.abort();
            sum
        })
    })
}

/// A spawned task completes the oneshot: what one writes with tokio alone, and with a second
/// allocation and scheduling.
pub fn task_spawn_local(n: u64) -> Measured {
    let runtime = runtime();
    let local = LocalSet::new();
    cpu_nanos_per_op(n, || {
        local.block_on(&runtime, async {
            let waiter = spawn_local(async move {
                let mut sum = 0;
                for i in 0..n {
                    let (done, result) = oneshot::channel();
                    spawn_local(async move { done.send(i).expect("the waiter waits") });
                    sum += result.await.expect("the callback is called");
                }
                sum
            });
            waiter
                .await
                .expect("the future neither panics nor is aborted")
        })
    })
}

/// Oneshots under their keys in a map, completed by callbacks on a local queue: what tokio lacks is
/// the map and the queue.
pub fn key_wait(n: u64) -> Measured {
    let runtime = runtime();
    let local = LocalSet::new();
    cpu_nanos_per_op(n, || {
        local.block_on(&runtime, async {
            let callbacks = Rc::new(Callbacks::default());
            let queue = Rc::clone(&callbacks);
            let driver = spawn_local(async move { queue.drive().await });
            let waiter = spawn_local(async move {
                let mut sum = 0;
                let mut pending = HashMap::new();
                for round in 0..n / KEYS {
                    let keys = round * KEYS..(round + 1) * KEYS;
                    for key in keys.clone() {
                        let (done, result) = oneshot::channel();
                        pending.insert(key, result);
                        callbacks.queue(move || done.send(key).expect("the waiter waits"));
                    }
                    for key in keys {
                        let result = pending.remove(&key).expect("the key is pending");
                        sum += result.await.expect("the callback is called");
                    }
                }
                sum
            });
            let sum = waiter
                .await
                .expect("the future neither panics nor is aborted");
            driver.abort();
            sum
        })
    })
}

/// Round trips to a thread that completes a oneshot, one at a time; the median wall time of one.
///
/// The thread waits on a std channel and so sleeps between two round trips, as a real one would;
/// the waiting side is `block_on`'s own future, which tokio wakes without a task in between.
pub fn remote_wake(n: u64) -> Measured {
    let runtime = local_runtime();
    let (requests, served) = mpsc::channel::<oneshot::Sender<u64>>();
    let thread = thread::spawn(move || {
        for (i, done) in (0..).zip(served) {
            done.send(i).expect("the loop waits");
        }
    });
    let mut samples = Vec::with_capacity(usize::try_from(n).expect("a count fits"));
    let sum = runtime.block_on(async {
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

/// Arms a timer and cancels it at once: a sleep is made, polled once, which puts it into the wheel,
/// and dropped.
///
/// The sleep lives on the stack. A pending poll does not use up tokio's budget, so every poll arms.
/// One earlier timer stays armed all the time, as in any program with time-outs: without it every
/// new sleep is the earliest, and tokio writes to its eventfd each time.
pub fn timer_arm(n: u64) -> Measured {
    let runtime = local_runtime();
    cpu_nanos_per_op(n, || {
        runtime.block_on(async {
            let earlier = spawn_local(sleep(EARLIER));
            // The driver learns of the earlier timer when the runtime next parks.
            yield_now().await;
            let mut delays = Delays::new();
            let mut pending = 0;
            for _ in 0..n {
                let timer = std::pin::pin!(sleep(delays.next()));
                pending += poll_once(timer).await;
            }
            earlier.abort();
            pending
        })
    })
}

/// Arms a batch of timers, lets the runtime turn once, and cancels them all: a runtime that puts
/// off arming until its next turn gains nothing by it here.
///
/// The places of the sleeps are boxed once and used again, so that arming allocates nothing.
pub fn timer_held(n: u64) -> Measured {
    let runtime = local_runtime();
    cpu_nanos_per_op(n, || {
        runtime.block_on(async {
            let mut delays = Delays::new();
            let mut places: Vec<Pin<Box<Option<Sleep>>>> =
                (0..BATCH).map(|_| Box::pin(None)).collect();
            let mut pending = 0;
            for _ in 0..n / BATCH {
                for place in &mut places {
                    place.set(Some(sleep(delays.next())));
                    pending += poll_once(place.as_mut().as_pin_mut().expect("just filled")).await;
                }
                yield_now().await;
                for place in &mut places {
                    place.set(None);
                }
            }
            pending
        })
    })
}

/// Polls a timer once; 1 if it is pending.
async fn poll_once(mut timer: Pin<&mut Sleep>) -> u64 {
    poll_fn(|cx| task::Poll::Ready(u64::from(timer.as_mut().poll(cx).is_pending()))).await
}

pub fn tcp_echo_1(n: u64) -> Measured {
    tcp_echo(1, n)
}

pub fn tcp_echo_64(n: u64) -> Measured {
    tcp_echo(64, n)
}

/// An echo server on this thread: a task per connection, and `TCP_NODELAY` as on the client's side.
///
/// Reads go into a buffer larger than a message, so tokio sees a short read and asks the kernel no
/// second time.
fn tcp_echo(connections: u64, n: u64) -> Measured {
    let runtime = local_runtime();
    let client = runtime.block_on(async {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .expect("a free port");
        let client = echo_client(
            listener.local_addr().expect("a bound address"),
            connections,
            n,
        );
        let mut handles = Vec::new();
        for _ in 0..connections {
            let (stream, _) = listener.accept().await.expect("the client connects");
            stream
                .set_nodelay(true)
                .expect("a TCP socket has the option");
            handles.push(spawn_local(echo(stream)));
        }
        for handle in handles {
            handle
                .await
                .expect("the future neither panics nor is aborted");
        }
        client
    });
    client.join().expect("the client ends")
}

/// Sends back what arrives until the client closes.
async fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    loop {
        let count = stream
            .read(&mut buffer)
            .await
            .expect("the connection holds");
        if count == 0 {
            return;
        }
        stream
            .write_all(&buffer[..count])
            .await
            .expect("the client reads");
    }
}
