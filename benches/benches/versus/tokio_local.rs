//! tokio's one-threaded runtimes with `spawn_local`, for futures that are not `Send`, in both of their homes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use benches::inputs::{ECHO_BUFFER, IDLE_BUFFER, KEYS};
use benches::load::Load;
use benches::measure::{Measured, cpu_nanos_per_op};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{Receiver, Sender, channel, unbounded_channel};
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use crate::local::Local;
use crate::tokio_net::{Connection, serve};

/// What all `Local` functions but `measured` are for both homes.
macro_rules! local_calls {
    () => {
        type Sender = Sender<u64>;
        type Receiver = Receiver<u64>;

        fn spawn<T: 'static>(
            &self,
            future: impl Future<Output = T> + 'static,
        ) -> impl Future<Output = T> + 'static {
            let join = spawn_local(future);
            async {
                join.await
                    .expect("the future neither panics nor is aborted")
            }
        }

        fn detach(&self, future: impl Future<Output = ()> + 'static) {
            drop(spawn_local(future));
        }

        fn yield_now() -> impl Future<Output = ()> + 'static {
            tokio::task::yield_now()
        }

        fn sleep(delay: Duration) -> impl Future<Output = ()> + 'static {
            tokio::time::sleep(delay)
        }

        fn one_shot<T: 'static>() -> (impl FnOnce(T) + 'static, impl Future<Output = T> + 'static) {
            let (sender, receiver) = oneshot::channel();
            let send = move |value| sender.send(value).ok().expect("the other end is there");
            (send, async { receiver.await.expect("the other end sends") })
        }

        fn channel(bound: usize) -> (Self::Sender, Self::Receiver) {
            channel(bound)
        }

        async fn send(sender: &Self::Sender, value: u64) {
            sender.send(value).await.expect("the other end is there");
        }

        async fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
            receiver.recv().await
        }

        fn unbounded() -> (
            impl Fn(u64) + 'static,
            impl AsyncFnMut() -> Option<u64> + 'static,
        ) {
            let (sender, mut receiver) = unbounded_channel();
            let send = move |value| sender.send(value).expect("the other end is there");
            (send, async move || receiver.recv().await)
        }
    };
}

/// The scheduler that takes futures which are not `Send` by itself.
#[derive(Clone)]
pub struct InLocalRuntime;

impl Local for InLocalRuntime {
    fn measured<F: Future<Output = u64> + 'static>(
        n: u64,
        body: impl FnOnce(Self) -> F,
    ) -> Measured {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        let runtime = runtime.expect("a runtime");
        cpu_nanos_per_op(n, || runtime.block_on(body(Self)))
    }

    local_calls!();
}

/// What most programs with such futures use: a `LocalSet` on the plain runtime.
#[derive(Clone)]
pub struct InLocalSet;

impl Local for InLocalSet {
    fn measured<F: Future<Output = u64> + 'static>(
        n: u64,
        body: impl FnOnce(Self) -> F,
    ) -> Measured {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let local = LocalSet::new();
        cpu_nanos_per_op(n, || local.block_on(&runtime, body(Self)))
    }

    local_calls!();
}

/// Callbacks waiting for the runtime to call them: what tokio lacks and a program over a callback API writes for itself.
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

    /// Calls what is queued, a vector at a time; the two vectors change places, so queueing allocates the box only.
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

/// Runs `body` beside a driver of callbacks.
fn with_callbacks<F: Future<Output = u64> + 'static>(
    n: u64,
    body: impl FnOnce(Rc<Callbacks>) -> F + 'static,
) -> Measured {
    InLocalSet::measured(n, |_| async move {
        let callbacks = Rc::new(Callbacks::default());
        let queue = Rc::clone(&callbacks);
        let driver = spawn_local(async move { queue.drive().await });
        let sum = spawn_local(body(callbacks)).await;
        driver.abort();
        sum.expect("the future neither panics nor is aborted")
    })
}

/// A callback on a local queue completes the one-shot: the nearest to a callback queued on an event loop, and faster than
/// to spawn for it.
pub fn task(n: u64) -> Measured {
    with_callbacks(n, move |callbacks| async move {
        let mut sum = 0;
        for i in 0..n {
            let (done, result) = oneshot::channel();
            callbacks.queue(move || done.send(i).expect("the waiter waits"));
            sum += result.await.expect("the callback is called");
        }
        sum
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

/// One-shots under their keys in a map, completed by callbacks on a local queue.
fn keys_waited<const PENDING: u64>(n: u64) -> Measured {
    with_callbacks(n, move |callbacks| async move {
        let mut sum = 0;
        let mut pending = HashMap::new();
        for round in 0..n / PENDING {
            let keys = round * PENDING..(round + 1) * PENDING;
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
    })
}

/// The echo server in a [`LocalRuntime`](tokio::runtime::LocalRuntime).
pub mod in_runtime {
    use super::{
        Builder, Connection, ECHO_BUFFER, IDLE_BUFFER, JoinHandle, Load, LocalOptions, Measured,
        Rc, RefCell, serve, spawn_local,
    };

    pub fn tcp_echo<const CONNECTIONS: u64, const DEPTH: u64>(n: u64) -> Measured {
        server::<ECHO_BUFFER>(Load::echo(CONNECTIONS, DEPTH, n), |connection| {
            spawn_local(connection.echo())
        })
    }

    /// The same in the shape of ours: all connections share a buffer.
    pub fn tcp_echo_shared<const CONNECTIONS: u64, const DEPTH: u64>(n: u64) -> Measured {
        let buffer = Rc::new(RefCell::new([0; ECHO_BUFFER]));
        server(Load::echo(CONNECTIONS, DEPTH, n), |connection| {
            spawn_local(connection.echo_from(Rc::clone(&buffer)))
        })
    }

    pub fn idle_conn(n: u64) -> Measured {
        server::<IDLE_BUFFER>(Load::idle(n), |connection| spawn_local(connection.echo()))
    }

    fn server<const BUFFER: usize>(
        load: Load,
        spawn: impl Fn(Connection<BUFFER>) -> JoinHandle<()>,
    ) -> Measured {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        runtime
            .expect("a runtime")
            .block_on(serve(load, spawn))
            .finish()
    }
}

/// The echo server in a [`LocalSet`].
pub mod in_set {
    use super::{
        Builder, Connection, ECHO_BUFFER, IDLE_BUFFER, Load, LocalSet, Measured, serve, spawn_local,
    };

    pub fn tcp_echo<const CONNECTIONS: u64, const DEPTH: u64>(n: u64) -> Measured {
        server::<ECHO_BUFFER>(Load::echo(CONNECTIONS, DEPTH, n))
    }

    pub fn idle_conn(n: u64) -> Measured {
        server::<IDLE_BUFFER>(Load::idle(n))
    }

    fn server<const BUFFER: usize>(load: Load) -> Measured {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let spawn = |connection: Connection<BUFFER>| spawn_local(connection.echo());
        LocalSet::new()
            .block_on(&runtime, serve(load, spawn))
            .finish()
    }
}
