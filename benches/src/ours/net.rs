//! The echo server.

use std::net::SocketAddr;

use yieldpoint::net::{TcpListener, TcpStream};
use yieldpoint::{Co, EventLoop, Result};

use super::{event_loop, spinning_loop};
use crate::inputs::{ECHO_BUFFER, IDLE_BUFFER};
use crate::load::{Load, Running};
use crate::measure::Measured;

/// `n` requests over `CONNECTIONS` with `DEPTH` in flight on each; the result is how many replies were right.
pub fn tcp_echo<const CONNECTIONS: u64, const DEPTH: u64>(n: u64) -> Measured {
    serve::<ECHO_BUFFER>(event_loop(), Load::echo(CONNECTIONS, DEPTH, n))
}

/// `n` requests over one connection, one at a time, to a loop that spins.
pub fn tcp_echo_spin(n: u64) -> Measured {
    serve::<ECHO_BUFFER>(spinning_loop(), Load::echo(1, 1, n))
}

/// `n` idle connections; the result is how many are open.
pub fn idle_conn(n: u64) -> Measured {
    serve::<IDLE_BUFFER>(event_loop(), Load::idle(n))
}

/// A coroutine per connection, and `TCP_NODELAY` as on the client's side.
fn serve<const BUFFER: usize>(mut event_loop: EventLoop, load: Load) -> Measured {
    let body = async |co: Co| -> Result<Running> {
        let mut listener = TcpListener::bind(co.handle(), SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let running = load.start(listener.local_addr()?);
        let mut joins = Vec::new();
        for _ in 0..load.connections {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            joins.push(co.handle().spawn_future(echo::<BUFFER>(stream)));
        }
        for join in joins {
            join.await??;
        }
        Ok(running)
    };
    event_loop
        .block_on(body)
        .expect("no connection fails")
        .finish()
}

/// Sends back what arrives until the client closes.
fn echo<const BUFFER: usize>(mut stream: TcpStream) -> impl Future<Output = Result> {
    async move {
        let mut buffer = [0; BUFFER];
        loop {
            let count = stream.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            stream.write_all(&buffer[..count]).await?;
        }
    }
}
