//! The echo server as a plain mio loop: a slab of connections and one buffer for all.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use benches::inputs::{ECHO_BUFFER, IDLE_BUFFER, SPIN};
use benches::load::Load;
use benches::measure::Measured;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::raw_poll::wait;

/// The token of the listener: no connection has that place.
const LISTENER: Token = Token(usize::MAX);

pub fn tcp_echo<const CONNECTIONS: u64, const DEPTH: u64>(n: u64) -> Measured {
    serve::<ECHO_BUFFER>(Load::echo(CONNECTIONS, DEPTH, n), Duration::ZERO)
}

/// One connection, and a poll that does not sleep before it has looked for [`SPIN`].
pub fn tcp_echo_spin(n: u64) -> Measured {
    serve::<ECHO_BUFFER>(Load::echo(1, 1, n), SPIN)
}

pub fn idle_conn(n: u64) -> Measured {
    serve::<IDLE_BUFFER>(Load::idle(n), Duration::ZERO)
}

fn serve<const BUFFER: usize>(load: Load, spin: Duration) -> Measured {
    let mut poll = Poll::new().expect("a poll");
    let mut listener =
        TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)
        .expect("a socket can be watched");
    let running = load.start(listener.local_addr().expect("a bound address"));
    let mut events = Events::with_capacity(1024);
    let mut buffer = [0; BUFFER];
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut left = load.connections;
    while left > 0 {
        wait(&mut poll, &mut events, spin);
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream
                        .set_nodelay(true)
                        .expect("a TCP socket has the option");
                    let token = Token(connections.len());
                    poll.registry()
                        .register(&mut stream, token, Interest::READABLE)
                        .expect("a socket can be watched");
                    connections.push(Some(stream));
                }
                continue;
            }
            let place = &mut connections[event.token().0];
            if place
                .as_mut()
                .is_some_and(|stream| echo(stream, &mut buffer))
            {
                *place = None;
                left -= 1;
            }
        }
    }
    running.finish()
}

/// Sends back what has arrived; says whether the client has closed.
///
/// A write is never short: the load generator has less in flight than a socket's buffer holds.
fn echo(stream: &mut TcpStream, buffer: &mut [u8]) -> bool {
    loop {
        let count = match stream.read(buffer) {
            Ok(0) => return true,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("the connection broke: {error}"),
        };
        stream
            .write_all(&buffer[..count])
            .expect("the client reads");
        // Edge-triggered: after a short read the next arrival is an event of its own.
        if count < buffer.len() {
            return false;
        }
    }
}
