//! The echo server on tokio: the same for all of its runtimes, but for how a coroutine is spawned.

use std::cell::RefCell;
use std::io::ErrorKind::WouldBlock;
use std::net::SocketAddr;
use std::rc::Rc;

use benches::inputs::{ECHO_BUFFER, IDLE_BUFFER};
use benches::load::{Load, Running};
use benches::measure::Measured;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::tokio_send::{Flavour, joined};

pub fn tcp_echo<T: Flavour, const CONNECTIONS: u64, const DEPTH: u64>(n: u64) -> Measured {
    with_spawn::<T, ECHO_BUFFER>(Load::echo(CONNECTIONS, DEPTH, n))
}

pub fn idle_conn<T: Flavour>(n: u64) -> Measured {
    with_spawn::<T, IDLE_BUFFER>(Load::idle(n))
}

fn with_spawn<T: Flavour, const BUFFER: usize>(load: Load) -> Measured {
    let spawn = |connection: Connection<BUFFER>| tokio::spawn(connection.echo());
    T::runtime().block_on(serve(load, spawn)).finish()
}

/// An echo server: a coroutine per connection, and `TCP_NODELAY` as on the client's side. The load generator is started
/// when the server listens.
pub async fn serve<const BUFFER: usize>(
    load: Load,
    spawn: impl Fn(Connection<BUFFER>) -> JoinHandle<()>,
) -> Running {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .expect("a free port");
    let running = load.start(listener.local_addr().expect("a bound address"));
    let mut joins = Vec::new();
    for _ in 0..load.connections {
        let (stream, _) = listener.accept().await.expect("the client connects");
        stream
            .set_nodelay(true)
            .expect("a TCP socket has the option");
        joins.push(spawn(Connection(stream)));
    }
    for join in joins {
        joined(join).await;
    }
    running
}

/// A connection of the echo server, with the size of its buffer.
pub struct Connection<const BUFFER: usize>(TcpStream);

impl<const BUFFER: usize> Connection<BUFFER> {
    /// Sends back what arrives until the client closes.
    pub fn echo(mut self) -> impl Future<Output = ()> {
        async move {
            let mut buffer = [0; BUFFER];
            loop {
                let count = self
                    .0
                    .read(&mut buffer)
                    .await
                    .expect("the connection holds");
                if count == 0 {
                    return;
                }
                self.0
                    .write_all(&buffer[..count])
                    .await
                    .expect("the client reads");
            }
        }
    }

    /// The same from a buffer that it shares with others.
    pub fn echo_from(mut self, shared: Rc<RefCell<[u8; BUFFER]>>) -> impl Future<Output = ()> {
        async move {
            loop {
                self.0.readable().await.expect("the connection holds");
                let rest = {
                    let mut buffer = shared.borrow_mut();
                    let count = match self.0.try_read(&mut *buffer) {
                        Ok(0) => return,
                        Err(error) if error.kind() == WouldBlock => continue,
                        read => read.expect("the connection holds"),
                    };
                    let written = match self.0.try_write(&buffer[..count]) {
                        Err(error) if error.kind() == WouldBlock => 0,
                        written => written.expect("the client reads"),
                    };
                    buffer[written..count].to_vec()
                };
                self.0.write_all(&rest).await.expect("the client reads");
            }
        }
    }
}
