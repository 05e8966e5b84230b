//! The workloads with yieldpoint, operation by operation the same as on the other side.
//!
//! Making the loop is not measured. Every loop fails on an incident, so a run that reports one, a leaked key say, is no result.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::task;
use std::thread;
use std::time::{Duration, Instant};

use benches::{Measured, cpu_nanos_per_op, median_nanos};
use yieldpoint::net::{TcpListener, TcpStream};
use yieldpoint::{Co, EventLoop, Result, SendResolver};

use crate::shared::{BATCH, Delays, EARLIER, KEYS, echo_client};

/// A loop whose run panics if anything goes wrong that nobody takes.
fn event_loop() -> EventLoop {
    EventLoop::builder()
        .fail_on_error()
        .build()
        .expect("a loop")
}

/// Batches of [`BATCH`] spawns, each gives its index, all awaited; the result is the sum.
///
/// The vector of handles is kept from batch to batch, as on the other side.
pub fn spawn_join(n: u64) -> Measured {
    let mut event_loop = event_loop();
    let body = async |co: Co| -> Result<u64> {
        let mut sum = 0;
        let mut joins = Vec::with_capacity(usize::try_from(BATCH).expect("a batch fits"));
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
    };
    cpu_nanos_per_op(n, || event_loop.block_on(body).expect("no coroutine fails"))
}

/// One coroutine gives way `n` times; the result is how often.
pub fn yield_1(n: u64) -> Measured {
    give_way(1, n)
}

/// 1000 coroutines give way `n` times in all; the result is how often.
pub fn yield_1000(n: u64) -> Measured {
    give_way(1000, n)
}

/// `coroutines` coroutines give way `n` times in all; gives how often they did.
fn give_way(coroutines: u64, n: u64) -> Measured {
    let mut event_loop = event_loop();
    let each = n / coroutines;
    let body = async |co: Co| -> Result<u64> {
        let turns = async move |co: Co| -> Result<u64> {
            let mut turns = 0;
            while turns < each {
                co.yield_now().await?;
                turns += 1;
            }
            Ok(turns)
        };
        let joins: Vec<_> = (0..coroutines).map(|_| co.handle().spawn(turns)).collect();
        let mut sum = 0;
        for join in joins {
            sum += join.await?;
        }
        Ok(sum)
    };
    cpu_nanos_per_op(n, || event_loop.block_on(body).expect("no coroutine fails"))
}

/// A `Task` whose callback is queued on the loop and hands back the index, `n` times; the result is
/// the sum.
pub fn task(n: u64) -> Measured {
    let mut event_loop = event_loop();
    let body = async |co: Co| -> Result<u64> {
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
    };
    cpu_nanos_per_op(n, || event_loop.block_on(body).expect("no coroutine fails"))
}

/// [`KEYS`] keys are made pending, a callback is queued for each, then they are waited for one after
/// the other; `n` keys in all, and the result is the sum of the indices they give.
pub fn key_wait(n: u64) -> Measured {
    let mut event_loop = event_loop();
    let body = async |co: Co| -> Result<u64> {
        let waiter = co.handle().spawn(async move |co| -> Result<u64> {
            let mut sum = 0;
            for round in 0..n / KEYS {
                let keys = round * KEYS..(round + 1) * KEYS;
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
    };
    cpu_nanos_per_op(n, || event_loop.block_on(body).expect("no coroutine fails"))
}

/// `n` round trips to a thread that completes a `Task` through the `Send` form of its resolver; the
/// result is the sum of the indices it sends.
pub fn remote_wake(n: u64) -> Measured {
    let mut event_loop = event_loop();
    let (requests, served) = mpsc::channel::<SendResolver<u64>>();
    let thread = thread::spawn(move || {
        for (i, done) in (0..).zip(served) {
            done.resolve(i);
        }
    });
    let mut samples = Vec::with_capacity(usize::try_from(n).expect("a count fits"));
    let body = async |co: Co| -> Result<u64> {
        let mut sum = 0;
        for _ in 0..n {
            let started = Instant::now();
            sum += co
                .task(|done| {
                    requests.send(done.into_send()).expect("the thread listens");
                })
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

/// A timer of 1 to 60 s is armed and cancelled at once, `n` times, while one of [`EARLIER`] stays
/// armed; the result is how many were pending.
pub fn timer_arm(n: u64) -> Measured {
    let mut event_loop = event_loop();
    let body = async |co: Co| -> Result<u64> {
        let earlier = co
            .handle()
            .spawn(async |co| -> Result { co.sleep(EARLIER).await });
        look(&co).await?;
        let mut delays = Delays::new();
        let mut pending = 0;
        for _ in 0..n {
            let mut timer = co.sleep(delays.next());
            pending += poll_once(&mut timer).await;
        }
        earlier.abort();
        Ok(pending)
    };
    cpu_nanos_per_op(n, || event_loop.block_on(body).expect("no coroutine fails"))
}

/// A batch of timers is armed, the loop looks at the time once, all are cancelled; the result is how
/// many were pending.
///
/// The place of the sleeps is kept from batch to batch, as on the other side.
pub fn timer_held(n: u64) -> Measured {
    let mut event_loop = event_loop();
    let body = async |co: Co| -> Result<u64> {
        let mut delays = Delays::new();
        let mut timers = Vec::with_capacity(usize::try_from(BATCH).expect("a batch fits"));
        let mut pending = 0;
        for _ in 0..n / BATCH {
            for _ in 0..BATCH {
                let mut timer = co.sleep(delays.next());
                pending += poll_once(&mut timer).await;
                timers.push(timer);
            }
            look(&co).await?;
            timers.clear();
        }
        Ok(pending)
    };
    cpu_nanos_per_op(n, || event_loop.block_on(body).expect("no coroutine fails"))
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

/// An echo server on the loop for one connection; the result is how many replies were right.
pub fn tcp_echo_1(n: u64) -> Measured {
    tcp_echo(1, n)
}

/// The same for 64 connections.
pub fn tcp_echo_64(n: u64) -> Measured {
    tcp_echo(64, n)
}

/// An echo server on this thread: a coroutine per connection, and `TCP_NODELAY` as on the client's
/// side.
fn tcp_echo(connections: u64, n: u64) -> Measured {
    let mut event_loop = event_loop();
    let body = async |co: Co| -> Result<thread::JoinHandle<Measured>> {
        let mut listener = TcpListener::bind(co.handle(), SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let client = echo_client(listener.local_addr()?, connections, n);
        let mut joins = Vec::new();
        for _ in 0..connections {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            joins.push(co.handle().spawn(async move |_| echo(stream).await));
        }
        for join in joins {
            join.await?;
        }
        Ok(client)
    };
    let client = event_loop.block_on(body).expect("no connection fails");
    client.join().expect("the client ends")
}

/// Sends back what arrives until the client closes.
async fn echo(mut stream: TcpStream) -> Result {
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}
