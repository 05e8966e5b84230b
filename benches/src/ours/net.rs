//! The echo server.

use std::cell::RefCell;
use std::io::ErrorKind::WouldBlock;
use std::net::SocketAddr;
use std::rc::Rc;

use yieldpoint::net::{TcpListener, TcpStream};
use yieldpoint::{Co, EventLoop, Result};

use super::{event_loop, spinning_loop};
use crate::inputs::{ECHO_BUFFER, IDLE_BUFFER};
use crate::load::{Load, Running};
use crate::measure::Measured;

/// `n` requests over `CONNECTIONS` with `DEPTH` in flight on each; the result is how many replies were right.
pub fn tcp_echo<const CONNECTIONS: u64, const DEPTH: u64>(n: u64) -> Measured {
    serve_loaded(event_loop(), Load::echo(CONNECTIONS, DEPTH, n))
}

/// The same with a buffer in each connection.
pub fn tcp_echo_own<const CONNECTIONS: u64, const DEPTH: u64>(n: u64) -> Measured {
    let load = Load::echo(CONNECTIONS, DEPTH, n);
    serve(event_loop(), load, echo_from_its_own::<ECHO_BUFFER>)
}

/// `n` requests over one connection, one at a time, to a loop that spins.
pub fn tcp_echo_spin(n: u64) -> Measured {
    serve_loaded(spinning_loop(), Load::echo(1, 1, n))
}

/// `n` idle connections; the result is how many are open.
pub fn idle_conn(n: u64) -> Measured {
    serve(
        event_loop(),
        Load::idle(n),
        echo_from_its_own::<IDLE_BUFFER>,
    )
}

/// A server whose connections share a buffer.
fn serve_loaded(event_loop: EventLoop, load: Load) -> Measured {
    let buffer = Rc::new(RefCell::new([0; ECHO_BUFFER]));
    serve(event_loop, load, |stream| echo(stream, Rc::clone(&buffer)))
}

/// A coroutine per connection, and `TCP_NODELAY` as on the client's side.
fn serve<C: Future<Output = Result> + 'static>(
    mut event_loop: EventLoop,
    load: Load,
    connection: impl Fn(TcpStream) -> C,
) -> Measured {
    let body = async |co: Co| -> Result<Running> {
        let mut listener = TcpListener::bind(co.handle(), SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let running = load.start(listener.local_addr()?);
        let mut joins = Vec::new();
        for _ in 0..load.connections {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            joins.push(co.handle().spawn_future(connection(stream)));
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

/// Sends back what arrives until the client closes, from a buffer that it shares with others.
fn echo(
    mut stream: TcpStream,
    shared: Rc<RefCell<[u8; ECHO_BUFFER]>>,
) -> impl Future<Output = Result> {
    async move {
        loop {
            stream.readable().await?;
            let rest = {
                let mut buffer = shared.borrow_mut();
                let count = match stream.try_read(&mut *buffer) {
                    Ok(0) => return Ok(()),
                    Err(error) if error.kind() == WouldBlock => continue,
                    read => read?,
                };
                let written = match stream.try_write(&buffer[..count]) {
                    Err(error) if error.kind() == WouldBlock => 0,
                    written => written?,
                };
                buffer[written..count].to_vec()
            };
            stream.write_all(&rest).await?;
        }
    }
}

/// Sends back what arrives until the client closes, from a buffer of its own.
fn echo_from_its_own<const BUFFER: usize>(mut stream: TcpStream) -> impl Future<Output = Result> {
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
