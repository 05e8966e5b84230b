//! monoio, on `io_uring` where the system has it and on epoll elsewhere.

use std::net::SocketAddr;
use std::time::Duration;

use benches::inputs::{ECHO_BUFFER, IDLE_BUFFER};
use benches::load::Load;
use benches::measure::{Measured, cpu_nanos_per_op};
use local_sync::mpsc::bounded::{Rx, Tx};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};

use crate::foreign::{local_sync_one_shot, local_sync_unbounded};
use crate::local::{Local, wake_self};

#[derive(Clone)]
pub struct Monoio;

/// Runs a future on a runtime of its own. Monoio has two types of runtime, and a macro in place of a function over both.
macro_rules! block_on {
    ($runtime:ident => $run:expr) => {
        match monoio::RuntimeBuilder::<monoio::FusionDriver>::new()
            .enable_timer()
            .build()
            .expect("a runtime")
        {
            monoio::FusionRuntime::Uring(mut $runtime) => $run,
            monoio::FusionRuntime::Legacy(mut $runtime) => $run,
        }
    };
}

impl Local for Monoio {
    type Sender = Tx<u64>;
    type Receiver = Rx<u64>;

    fn measured<F: Future<Output = u64> + 'static>(
        n: u64,
        body: impl FnOnce(Self) -> F,
    ) -> Measured {
        block_on!(runtime => cpu_nanos_per_op(n, || runtime.block_on(body(Self))))
    }

    fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> impl Future<Output = T> + 'static {
        monoio::spawn(future)
    }

    fn detach(&self, future: impl Future<Output = ()> + 'static) {
        drop(monoio::spawn(future));
    }

    /// Monoio has no function for it; this is how its users give way.
    fn yield_now() -> impl Future<Output = ()> + 'static {
        wake_self()
    }

    fn sleep(delay: Duration) -> impl Future<Output = ()> + 'static {
        monoio::time::sleep(delay)
    }

    fn one_shot<T: 'static>() -> (impl FnOnce(T) + 'static, impl Future<Output = T> + 'static) {
        local_sync_one_shot()
    }

    fn channel(bound: usize) -> (Self::Sender, Self::Receiver) {
        local_sync::mpsc::bounded::channel(bound)
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
        local_sync_unbounded()
    }
}

pub fn tcp_echo<const CONNECTIONS: u64, const DEPTH: u64>(n: u64) -> Measured {
    serve::<ECHO_BUFFER>(Load::echo(CONNECTIONS, DEPTH, n))
}

pub fn idle_conn(n: u64) -> Measured {
    serve::<IDLE_BUFFER>(Load::idle(n))
}

fn serve<const BUFFER: usize>(load: Load) -> Measured {
    let serving = async {
        let listener =
            TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let running = load.start(listener.local_addr().expect("a bound address"));
        let mut joins = Vec::new();
        for _ in 0..load.connections {
            let (stream, _) = listener.accept().await.expect("the client connects");
            stream
                .set_nodelay(true)
                .expect("a TCP socket has the option");
            joins.push(monoio::spawn(echo::<BUFFER>(stream)));
        }
        for join in joins {
            join.await;
        }
        running
    };
    block_on!(runtime => runtime.block_on(serving)).finish()
}

/// The buffer is the kernel's during a read or a write, and so travels with it; it is boxed, as it must be for that.
fn echo<const BUFFER: usize>(mut stream: TcpStream) -> impl Future<Output = ()> {
    async move {
        let mut buffer = Vec::with_capacity(BUFFER);
        loop {
            let (count, filled) = stream.read(buffer).await;
            if count.expect("the connection holds") == 0 {
                return;
            }
            let (written, emptied) = stream.write_all(filled).await;
            written.expect("the client reads");
            buffer = emptied;
            buffer.clear();
        }
    }
}
