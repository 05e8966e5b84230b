//! glommio, which needs `io_uring`; with its own local channels.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use benches::inputs::{ECHO_BUFFER, IDLE_BUFFER, SPIN};
use benches::load::Load;
use benches::measure::{Measured, cpu_nanos_per_op};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::channels::local_channel::{LocalReceiver, LocalSender, new_bounded, new_unbounded};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

use crate::local::Local;

/// With or without looking for [`SPIN`] before it sleeps.
#[derive(Clone)]
pub struct Glommio<const SPINS: bool>;

fn executor(spins: bool) -> LocalExecutor {
    // Not placed anywhere by glommio, since every side is pinned to the same core already.
    let builder = LocalExecutorBuilder::new(Placement::Unbound);
    let builder = if spins {
        builder.spin_before_park(SPIN)
    } else {
        builder
    };
    builder.make().expect("an executor")
}

impl<const SPINS: bool> Local for Glommio<SPINS> {
    type Sender = LocalSender<u64>;
    type Receiver = LocalReceiver<u64>;

    fn measured<F: Future<Output = u64> + 'static>(
        n: u64,
        body: impl FnOnce(Self) -> F,
    ) -> Measured {
        let executor = executor(SPINS);
        cpu_nanos_per_op(n, || executor.run(body(Self)))
    }

    fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static {
        glommio::spawn_local(future)
    }

    fn detach(&self, future: impl Future<Output = ()> + 'static) {
        glommio::spawn_local(future).detach();
    }

    async fn yield_now() {
        glommio::executor().yield_now().await;
    }

    async fn sleep(delay: Duration) {
        glommio::timer::sleep(delay).await;
    }

    /// Glommio has no one-shot; its local channel for one value is the nearest.
    fn one_shot<T: 'static>() -> (impl FnOnce(T) + 'static, impl Future<Output = T> + 'static) {
        let (sender, receiver) = new_bounded(1);
        let send = move |value| sender.try_send(value).expect("the other end is there");
        (send, async move {
            receiver.recv().await.expect("the other end sends")
        })
    }

    fn channel(bound: usize) -> (Self::Sender, Self::Receiver) {
        new_bounded(bound)
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
        let (sender, receiver) = new_unbounded();
        let receiver = Rc::new(receiver);
        let send = move |value| sender.try_send(value).expect("the other end is there");
        (send, async move || receiver.recv().await)
    }
}

pub fn tcp_echo<const CONNECTIONS: u64, const DEPTH: u64>(n: u64) -> Measured {
    serve::<ECHO_BUFFER>(&executor(false), Load::echo(CONNECTIONS, DEPTH, n))
}

pub fn tcp_echo_spin(n: u64) -> Measured {
    serve::<ECHO_BUFFER>(&executor(true), Load::echo(1, 1, n))
}

pub fn idle_conn(n: u64) -> Measured {
    serve::<IDLE_BUFFER>(&executor(false), Load::idle(n))
}

fn serve<const BUFFER: usize>(executor: &LocalExecutor, load: Load) -> Measured {
    let serving = async {
        let listener =
            TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let running = load.start(listener.local_addr().expect("a bound address"));
        let mut joins = Vec::new();
        for _ in 0..load.connections {
            let stream = listener.accept().await.expect("the client connects");
            stream
                .set_nodelay(true)
                .expect("a TCP socket has the option");
            joins.push(glommio::spawn_local(echo::<BUFFER>(stream)));
        }
        for join in joins {
            join.await;
        }
        running
    };
    executor.run(serving).finish()
}

fn echo<const BUFFER: usize>(mut stream: TcpStream) -> impl Future<Output = ()> {
    async move {
        let mut buffer = [0; BUFFER];
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
}
