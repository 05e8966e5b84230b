//! The load generator of the TCP workloads: one raw mio loop in a process of its own, the same for every side.
//!
//! It stands apart from all runtimes, so that none is measured together with a client it is good or bad at. It asks the
//! system for the server's CPU time and memory, so a server is only the code its user would write.
//!
//! 1. Every connection has echoed once before anything is measured.
//! 2. Every reply is compared with its request, byte by byte; the result is how many were right.
//! 3. A connection always has `depth` messages in flight: what was answered is replaced in one write.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use std::{env, fs};

use mio::{Events, Interest, Poll, Token};

use crate::inputs::index;
use crate::machine;
use crate::measure::{Measured, as_f64, resident_bytes_of};

/// The first argument of the load generator's process.
pub const ARGUMENT: &str = "--load";

/// The size of a message in bytes.
const MESSAGE: usize = 64;

/// How many connections are open before the memory of the idle ones is counted.
const FIRST: u64 = 100;

/// What the load generator shall do.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many connections the server gets.
    pub connections: u64,
    /// How many messages are in flight on each; 0 keeps the connections idle.
    depth: u64,
    /// How many requests are sent and measured in all.
    requests: u64,
}

impl Load {
    /// Sends `requests` over `connections`, with `depth` in flight on each.
    ///
    /// # Panics
    ///
    /// If the requests cannot be spread evenly.
    #[must_use]
    pub fn echo(connections: u64, depth: u64, requests: u64) -> Self {
        assert_eq!(
            requests % (connections * depth),
            0,
            "every connection sends the same number of requests"
        );
        Self {
            connections,
            depth,
            requests,
        }
    }

    /// Opens `connections` that echo once and then stay idle; some more are opened before, and not counted.
    #[must_use]
    pub fn idle(connections: u64) -> Self {
        Self {
            connections: connections + FIRST,
            depth: 0,
            requests: connections,
        }
    }

    /// Starts the load generator against `server`.
    ///
    /// # Panics
    ///
    /// If the process cannot be started.
    #[must_use]
    pub fn start(self, server: SocketAddr) -> Running {
        let this = env::current_exe().expect("the bench has a file");
        let core = machine::other_core().map_or(String::new(), |core| core.to_string());
        let child = Command::new(this)
            .args([ARGUMENT, &server.to_string(), &core])
            .args([self.connections, self.depth, self.requests].map(|n| n.to_string()))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bench can be started again");
        Running(child)
    }
}

/// A load generator at work.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Waits for its end, which comes when it has closed its connections; gives what it measured.
    ///
    /// # Panics
    ///
    /// If it failed.
    #[must_use]
    pub fn finish(self) -> Measured {
        let output = self.0.wait_with_output().expect("the load generator ends");
        assert!(output.status.success(), "the load generator failed");
        let text = String::from_utf8(output.stdout).expect("the load generator prints numbers");
        let mut numbers = text
            .split_whitespace()
            .map(|number| number.parse::<f64>().expect("a number"));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it was printed from a count"
        )]
        let result = numbers.next().expect("the result comes first") as u64;
        Measured {
            values: numbers.collect(),
            result,
        }
    }
}

/// The process of the load generator, called with what [`Load::start`] passes.
///
/// # Panics
///
/// If the server does not do its part.
pub fn main(mut args: impl Iterator<Item = String>) {
    let mut next = || {
        args.next()
            .expect("the load generator is started by the bench")
    };
    let server: SocketAddr = next().parse().expect("an address");
    if let Ok(core) = next().parse() {
        machine::pin(core);
    }
    machine::allow_many_files();
    let [connections, depth, requests] = [(); 3].map(|()| next().parse::<u64>().expect("a number"));
    let measured = if depth == 0 {
        idle(server, connections)
    } else {
        echo(server, connections, depth, requests)
    };
    let values: Vec<String> = measured.values.iter().map(ToString::to_string).collect();
    println!("{} {}", measured.result, values.join(" "));
}

/// Opens a connection that has echoed once; 1 if the reply was right.
fn open(server: SocketAddr) -> (TcpStream, u64) {
    let mut stream = TcpStream::connect(server).expect("the server listens");
    stream
        .set_nodelay(true)
        .expect("a TCP socket has the option");
    let request = message(u64::MAX);
    stream.write_all(&request).expect("the server reads");
    let mut reply = [0; MESSAGE];
    stream.read_exact(&mut reply).expect("the server replies");
    (stream, u64::from(reply == request))
}

/// The message with this number.
fn message(number: u64) -> [u8; MESSAGE] {
    let mut message = [b'x'; MESSAGE];
    message[..8].copy_from_slice(&number.to_le_bytes());
    message
}

/// Idle connections: the server's bytes for each of those after the first ones.
fn idle(server: SocketAddr, connections: u64) -> Measured {
    let pid = server_pid();
    let mut open: Vec<_> = (0..FIRST).map(|_| open(server)).collect();
    let before = resident_bytes_of(&pid);
    open.extend((FIRST..connections).map(|_| self::open(server)));
    let grown = resident_bytes_of(&pid).saturating_sub(before);
    Measured {
        values: vec![as_f64(grown) / as_f64(connections - FIRST)],
        result: open.iter().map(|(_, right)| right).sum::<u64>() - FIRST,
    }
}

/// A connection under load.
struct Connection {
    stream: mio::net::TcpStream,
    /// The numbers of the next request and the next reply.
    sent: u64,
    answered: u64,
    /// When the requests in flight were sent.
    sent_at: VecDeque<Instant>,
    /// The bytes of a reply that has not arrived whole.
    partial: Vec<u8>,
}

impl Connection {
    /// Sends `n` messages in one write.
    fn send(&mut self, n: u64, batch: &mut Vec<u8>) {
        batch.clear();
        let now = Instant::now();
        for _ in 0..n {
            batch.extend_from_slice(&message(self.sent));
            self.sent += 1;
            self.sent_at.push_back(now);
        }
        // All that is in flight is far less than a socket's buffer, so a write is never short.
        self.stream.write_all(batch).expect("the server reads");
    }
}

/// A loop over all connections until all requests are answered.
///
/// The values: requests a second, the 50th and the 99th percentile of the latencies in nanoseconds, nanoseconds of the
/// server's CPU time a request.
fn echo(server: SocketAddr, connections: u64, depth: u64, requests: u64) -> Measured {
    let pid = server_pid();
    let mut poll = Poll::new().expect("a poll");
    let mut open: Vec<Connection> = (0..connections)
        .map(|token| {
            let (stream, _) = open(server);
            stream
                .set_nonblocking(true)
                .expect("a TCP socket has the option");
            let mut stream = mio::net::TcpStream::from_std(stream);
            let registered =
                poll.registry()
                    .register(&mut stream, Token(index(token)), Interest::READABLE);
            registered.expect("a socket can be watched");
            Connection {
                stream,
                sent: 0,
                answered: 0,
                sent_at: VecDeque::new(),
                partial: Vec::new(),
            }
        })
        .collect();
    let each = requests / connections;
    let mut latencies = Vec::with_capacity(index(requests));
    let (mut events, mut buffer, mut batch) = (Events::with_capacity(1024), [0; 4096], Vec::new());
    let mut right = 0;
    let cpu = cpu_nanos(&pid);
    let started = Instant::now();
    for connection in &mut open {
        connection.send(depth, &mut batch);
    }
    while latencies.len() < index(requests) {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            polled => polled.expect("a poll"),
        }
        for event in &events {
            let connection = &mut open[event.token().0];
            let answered = connection.answered;
            loop {
                let count = match connection.stream.read(&mut buffer) {
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("the connection broke: {error}"),
                };
                assert_ne!(count, 0, "the server closed a connection");
                let now = Instant::now();
                connection.partial.extend_from_slice(&buffer[..count]);
                let whole = connection.partial.len() / MESSAGE * MESSAGE;
                for reply in connection.partial[..whole].chunks_exact(MESSAGE) {
                    right += u64::from(reply == message(connection.answered));
                    connection.answered += 1;
                    latencies.push(
                        now - connection
                            .sent_at
                            .pop_front()
                            .expect("a reply follows its request"),
                    );
                }
                connection.partial.drain(..whole);
                // Edge-triggered: after a short read the next arrival is an event of its own.
                if count < buffer.len() {
                    break;
                }
            }
            let more = (connection.answered - answered).min(each - connection.sent);
            if more > 0 {
                connection.send(more, &mut batch);
            }
        }
    }
    let elapsed = started.elapsed();
    let cpu = cpu_nanos(&pid).saturating_sub(cpu);
    latencies.sort_unstable();
    let percentile =
        |per_cent: usize| latencies[latencies.len() * per_cent / 100].as_secs_f64() * 1e9;
    Measured {
        values: vec![
            as_f64(requests) / elapsed.as_secs_f64(),
            percentile(50),
            percentile(99),
            as_f64(cpu) / as_f64(requests),
        ],
        result: right,
    }
}

/// The process that started this one: the server.
fn server_pid() -> String {
    rustix::process::getppid()
        .expect("the server started us")
        .as_raw_nonzero()
        .to_string()
}

/// Nanoseconds of CPU time that all threads of the process have used.
fn cpu_nanos(pid: &str) -> u64 {
    let threads =
        fs::read_dir(format!("/proc/{pid}/task")).expect("Linux shows the threads of a process");
    let nanos = |thread: std::io::Result<fs::DirEntry>| {
        let schedstat = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        schedstat.split(' ').next()?.parse::<u64>().ok()
    };
    threads.filter_map(nanos).sum()
}
