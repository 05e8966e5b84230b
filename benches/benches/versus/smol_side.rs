//! smol: a `LocalExecutor` run by `async_io::block_on`, which drives timers and sockets on this thread.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use async_executor::LocalExecutor;
use async_io::Timer;
use async_net::{TcpListener, TcpStream};
use benches::inputs::{ECHO_BUFFER, IDLE_BUFFER};
use benches::load::Load;
use benches::measure::{Measured, cpu_nanos_per_op};
use futures_lite::{AsyncReadExt, AsyncWriteExt, future};

use crate::foreign::futures_one_shot;
use crate::local::Local;

#[derive(Clone)]
pub struct Smol(Rc<LocalExecutor<'static>>);

impl Local for Smol {
    type Sender = Sender<u64>;
    type Receiver = Receiver<u64>;

    fn measured<F: Future<Output = u64> + 'static>(
        n: u64,
        body: impl FnOnce(Self) -> F,
    ) -> Measured {
        let executor = Rc::new(LocalExecutor::new());
        let body = body(Self(Rc::clone(&executor)));
        cpu_nanos_per_op(n, || async_io::block_on(executor.run(body)))
    }

    fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static {
        self.0.spawn(future)
    }

    fn detach(&self, future: impl Future<Output = ()> + 'static) {
        self.0.spawn(future).detach();
    }

    fn yield_now() -> impl Future<Output = ()> + 'static {
        future::yield_now()
    }

    async fn sleep(delay: Duration) {
        Timer::after(delay).await;
    }

    fn one_shot<T: 'static>() -> (impl FnOnce(T) + 'static, impl Future<Output = T> + 'static) {
        futures_one_shot()
    }

    fn channel(bound: usize) -> (Self::Sender, Self::Receiver) {
        async_channel::bounded(bound)
    }

    async fn send(sender: &Self::Sender, value: u64) {
        sender.send(value).await.expect("the other end is there");
    }

    async fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.recv().await.ok()
    }

    fn unbounded() -> (
        impl Fn(u64) + 'static,
        impl AsyncFnMut() -> Option<u64> + 'static,
    ) {
        let (sender, receiver) = async_channel::unbounded();
        let send = move |value| sender.try_send(value).expect("the other end is there");
        (send, async move || receiver.recv().await.ok())
    }
}

pub fn tcp_echo<const CONNECTIONS: u64, const DEPTH: u64>(n: u64) -> Measured {
    serve::<ECHO_BUFFER>(Load::echo(CONNECTIONS, DEPTH, n))
}

pub fn idle_conn(n: u64) -> Measured {
    serve::<IDLE_BUFFER>(Load::idle(n))
}

fn serve<const BUFFER: usize>(load: Load) -> Measured {
    let executor = LocalExecutor::new();
    let serving = async {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(address).await.expect("a free port");
        let running = load.start(listener.local_addr().expect("a bound address"));
        let mut joins = Vec::new();
        for _ in 0..load.connections {
            let (stream, _) = listener.accept().await.expect("the client connects");
            stream
                .set_nodelay(true)
                .expect("a TCP socket has the option");
            joins.push(executor.spawn(echo::<BUFFER>(stream)));
        }
        for join in joins {
            join.await;
        }
        running
    };
    async_io::block_on(executor.run(serving)).finish()
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
