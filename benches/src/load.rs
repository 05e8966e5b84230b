//! The load generator of the TCP workloads: one raw mio loop in a process of its own, the same for every side.
//!
//! It stands apart from all runtimes, so that none is measured together with a client it is good or bad at. It asks the
//! system for the server's CPU time and memory, so a server is only the code its user would write.
//!
//! 1. Every connection has echoed once before anything is measured.
//! 2. Every reply is compared with its request, byte by byte; the result is how many were right.
//! 3. A connection always has `depth` messages in flight: what was answered is replaced in one write.
//! 4. Of several servers it works with one at a time, in turns: forth through all of them, then back. So what changes with
//!    time on the machine falls on all alike. The others sleep meanwhile. The first turn of each is not counted.
//! 5. A server that leaves it without a reply for [`SILENCE`] is named, and the work ends.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use mio::{Events, Interest, Poll, Token};

use crate::inputs::index;
use crate::machine;
use crate::measure::{Measured, as_f64, resident_bytes_of};

/// The first argument of the load generator's process.
pub const ARGUMENT: &str = "--load";

/// Whether a server of this process only says where it listens; see [`announce`].
static ANNOUNCES: AtomicBool = AtomicBool::new(false);

/// The size of a message in bytes.
const MESSAGE: usize = 64;

/// How many connections are open before the memory of the idle ones is counted.
const FIRST: u64 = 100;

/// How long a server may be silent where a reply is due: shorter than a process may be that is read (see [`process`](crate::process)).
const SILENCE: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 20_000 });

/// A server was silent for too long.
#[derive(Debug, PartialEq, Eq)]
struct Hangs;

/// What is printed of it, after its place.
const HANGS: &str = " hangs";

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

    /// Starts the load generator against `server`, unless this process only announces.
    ///
    /// # Panics
    ///
    /// If the process cannot be started.
    #[must_use]
    pub fn start(self, server: SocketAddr) -> Running {
        if ANNOUNCES.load(Ordering::Relaxed) {
            let Self {
                connections,
                depth,
                requests,
            } = self;
            println!("{server} {connections} {depth} {requests}");
            return Running(None);
        }
        let mut generator = generator(self, 1, &[(process::id(), server)]);
        let child = generator.stdout(Stdio::piped()).spawn();
        Running(Some(child.expect("the bench can be started again")))
    }

    /// Reads what a server has announced: where it listens, and what is to be done with it.
    pub(crate) fn announced(line: &str) -> Option<(SocketAddr, Self)> {
        let (server, numbers) = line.split_once(' ')?;
        let mut numbers = numbers.split(' ').map(str::parse);
        let mut next = || numbers.next()?.ok();
        let load = Self {
            connections: next()?,
            depth: next()?,
            requests: next()?,
        };
        Some((server.parse().ok()?, load))
    }
}

/// Has the servers of this process only print where they listen: the load generator is started by whoever reads that.
pub(crate) fn announce() {
    ANNOUNCES.store(true, Ordering::Relaxed);
}

/// The load generator against these servers, each with its process, in so many turns.
pub(crate) fn generator(load: Load, turns: u64, servers: &[(u32, SocketAddr)]) -> Command {
    let core = machine::other_core().map_or(String::new(), |core| core.to_string());
    let numbers = [load.connections, load.depth, load.requests, turns];
    let mut command = Command::new(env::current_exe().expect("the bench has a file"));
    command
        .args([ARGUMENT, &core])
        .args(numbers.map(|n| n.to_string()))
        .args(
            servers
                .iter()
                .map(|(pid, server)| format!("{pid}@{server}")),
        );
    command
}

/// A load generator at work; none if somebody else has started it.
#[derive(Debug)]
pub struct Running(Option<Child>);

impl Running {
    /// Waits for its end, which comes when it has closed its connections; gives what it measured.
    ///
    /// # Panics
    ///
    /// If it failed.
    #[must_use]
    pub fn finish(self) -> Measured {
        let Some(child) = self.0 else {
            return Measured {
                values: Vec::new(),
                result: 0,
            };
        };
        let output = child.wait_with_output().expect("the load generator ends");
        assert!(output.status.success(), "the load generator failed");
        let text = String::from_utf8(output.stdout).expect("the load generator prints numbers");
        assert_eq!(hung(text.trim()), None, "{}", why_hung());
        let (_, measured) = turn(text.trim()).expect("the load generator prints its one turn");
        measured
    }
}

/// Reads what the load generator prints of a turn: the place of the server and what was measured.
pub(crate) fn turn(line: &str) -> Option<(usize, Measured)> {
    let mut words = line.split(' ');
    let place = words.next()?.parse().ok()?;
    let result = words.next()?.parse().ok()?;
    let values = words.map(str::parse).collect::<Result<_, _>>().ok()?;
    Some((place, Measured { values, result }))
}

/// Reads what it prints of a server that hangs: its place.
pub(crate) fn hung(line: &str) -> Option<usize> {
    line.strip_suffix(HANGS)?.parse().ok()
}

/// Why such a server is left out.
pub(crate) fn why_hung() -> String {
    format!("no reply within {} s", SILENCE.as_secs())
}

/// Prints it.
fn print(place: usize, measured: &Measured) {
    let values: Vec<String> = measured.values.iter().map(ToString::to_string).collect();
    println!("{place} {} {}", measured.result, values.join(" "));
}

/// The process of the load generator, called with what [`generator`] passes.
///
/// # Panics
///
/// If a server does not do its part.
pub fn main(mut args: impl Iterator<Item = String>) {
    let mut next = || {
        args.next()
            .expect("the load generator is started by the bench")
    };
    if let Ok(core) = next().parse() {
        machine::pin(core);
    }
    machine::allow_many_files();
    let [connections, depth, requests, turns] =
        [(); 4].map(|()| next().parse::<u64>().expect("a number"));
    let servers: Vec<(String, SocketAddr)> = args
        .map(|server| {
            let (pid, address) = server.split_once('@').expect("a process and its address");
            (pid.to_owned(), address.parse().expect("an address"))
        })
        .collect();
    let load = Load {
        connections,
        depth,
        requests,
    };
    if let Err(place) = work(load, turns, &servers) {
        println!("{place}{HANGS}");
    }
}

/// Does it, and prints each turn.
///
/// # Errors
///
/// The place of a server that hangs.
fn work(load: Load, turns: u64, servers: &[(String, SocketAddr)]) -> Result<(), usize> {
    let Load {
        connections,
        depth,
        requests,
    } = load;
    let places = || servers.iter().enumerate();
    if depth == 0 {
        for (place, (pid, address)) in places() {
            let measured = idle(pid, *address, connections).map_err(|Hangs| place)?;
            print(place, &measured);
        }
        return Ok(());
    }
    let connect = |(place, (pid, address)): (usize, &(String, SocketAddr))| {
        Server::new(pid.clone(), *address, connections).map_err(|Hangs| place)
    };
    let mut servers = places().map(connect).collect::<Result<Vec<_>, _>>()?;
    // Who has only one turn has all the requests in it.
    let uncounted = u64::from(turns > 1);
    for number in 0..turns + uncounted {
        let mut order: Vec<_> = servers.iter_mut().enumerate().collect();
        if number % 2 == 1 {
            order.reverse();
        }
        for (place, server) in order {
            let measured = server.echo(depth, requests / turns);
            let measured = measured.map_err(|Hangs| place)?;
            if number >= uncounted {
                print(place, &measured);
            }
        }
    }
    Ok(())
}

/// Opens a connection that has echoed once; 1 if the reply was right.
fn open(server: SocketAddr) -> Result<(TcpStream, u64), Hangs> {
    let mut stream = in_time(TcpStream::connect_timeout(&server, SILENCE))?;
    stream
        .set_read_timeout(Some(SILENCE))
        .expect("a TCP socket has the option");
    stream
        .set_nodelay(true)
        .expect("a TCP socket has the option");
    let request = message(u64::MAX);
    stream.write_all(&request).expect("the server reads");
    let mut reply = [0; MESSAGE];
    in_time(stream.read_exact(&mut reply))?;
    Ok((stream, u64::from(reply == request)))
}

/// What a server has done, unless it took too long.
fn in_time<T>(done: std::io::Result<T>) -> Result<T, Hangs> {
    match done {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Err(Hangs)
        }
        done => Ok(done.expect("the server listens and replies")),
    }
}

/// The message with this number.
fn message(number: u64) -> [u8; MESSAGE] {
    let mut message = [b'x'; MESSAGE];
    message[..8].copy_from_slice(&number.to_le_bytes());
    message
}

/// Idle connections: the server's bytes for each of those after the first ones.
fn idle(pid: &str, server: SocketAddr, connections: u64) -> Result<Measured, Hangs> {
    let open = |count| {
        (0..count)
            .map(|_| open(server))
            .collect::<Result<Vec<_>, _>>()
    };
    let first = open(FIRST)?;
    let before = resident_bytes_of(pid);
    let others = open(connections - FIRST)?;
    let grown = resident_bytes_of(pid).saturating_sub(before);
    let right = first.iter().chain(&others).map(|(_, right)| right);
    Ok(Measured {
        values: vec![as_f64(grown) / as_f64(connections - FIRST)],
        result: right.sum::<u64>() - FIRST,
    })
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

    /// Takes all replies that have come, and notes how long each took. Gives how many were right.
    fn receive(&mut self, buffer: &mut [u8], latencies: &mut Vec<Duration>) -> u64 {
        let mut right = 0;
        loop {
            let count = match self.stream.read(buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return right,
                Err(error) => panic!("the connection broke: {error}"),
            };
            assert_ne!(count, 0, "the server closed a connection");
            let now = Instant::now();
            self.partial.extend_from_slice(&buffer[..count]);
            let whole = self.partial.len() / MESSAGE * MESSAGE;
            for reply in self.partial[..whole].chunks_exact(MESSAGE) {
                right += u64::from(reply == message(self.answered));
                self.answered += 1;
                let sent_at = self.sent_at.pop_front();
                latencies.push(now - sent_at.expect("a reply follows its request"));
            }
            self.partial.drain(..whole);
            // Edge-triggered: after a short read the next arrival is an event of its own.
            if count < buffer.len() {
                return right;
            }
        }
    }
}

/// A server and the connections to it.
struct Server {
    /// Its process.
    pid: String,
    poll: Poll,
    open: Vec<Connection>,
}

impl Server {
    /// Opens the connections.
    fn new(pid: String, server: SocketAddr, connections: u64) -> Result<Self, Hangs> {
        let poll = Poll::new().expect("a poll");
        let connection = |token| {
            let (stream, _) = open(server)?;
            stream
                .set_nonblocking(true)
                .expect("a TCP socket has the option");
            let mut stream = mio::net::TcpStream::from_std(stream);
            let registered =
                poll.registry()
                    .register(&mut stream, Token(index(token)), Interest::READABLE);
            registered.expect("a socket can be watched");
            Ok(Connection {
                stream,
                sent: 0,
                answered: 0,
                sent_at: VecDeque::new(),
                partial: Vec::new(),
            })
        };
        let open = (0..connections).map(connection).collect::<Result<_, _>>()?;
        Ok(Self { pid, poll, open })
    }

    /// A loop over all connections until so many more requests are answered.
    ///
    /// The values: requests a second, the 50th and the 99th percentile of the latencies in nanoseconds, nanoseconds of the
    /// server's CPU time a request.
    fn echo(&mut self, depth: u64, requests: u64) -> Result<Measured, Hangs> {
        let each = requests / self.open.len() as u64;
        let last = self.open[0].sent + each;
        let mut latencies = Vec::with_capacity(index(requests));
        let (mut events, mut buffer, mut batch) =
            (Events::with_capacity(1024), [0; 4096], Vec::new());
        let mut right = 0;
        let cpu = cpu_nanos_at_rest(&self.pid);
        let started = Instant::now();
        for connection in &mut self.open {
            connection.send(depth, &mut batch);
        }
        while latencies.len() < index(requests) {
            match self.poll.poll(&mut events, Some(SILENCE)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled.expect("a poll"),
            }
            if events.is_empty() {
                return Err(Hangs);
            }
            for event in &events {
                let connection = &mut self.open[event.token().0];
                let answered = connection.answered;
                right += connection.receive(&mut buffer, &mut latencies);
                let more = (connection.answered - answered).min(last - connection.sent);
                if more > 0 {
                    connection.send(more, &mut batch);
                }
            }
        }
        let elapsed = started.elapsed();
        let cpu = cpu_nanos_at_rest(&self.pid).saturating_sub(cpu);
        latencies.sort_unstable();
        let percentile =
            |per_cent: usize| latencies[latencies.len() * per_cent / 100].as_secs_f64() * 1e9;
        Ok(Measured {
            values: vec![
                as_f64(requests) / elapsed.as_secs_f64(),
                percentile(50),
                percentile(99),
                as_f64(cpu) / as_f64(requests),
            ],
            result: right,
        })
    }
}

/// [`cpu_nanos`] once the server has gone to sleep: the system brings the count of a thread up to date when it stops.
fn cpu_nanos_at_rest(pid: &str) -> u64 {
    thread::sleep(Duration::from_millis(1));
    cpu_nanos(pid)
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_a_server_announces_is_read_and_nothing_else() {
        let (server, load) = Load::announced("127.0.0.1:80 64 1 640").expect("it is announced");
        assert_eq!(server, SocketAddr::from(([127, 0, 0, 1], 80)));
        assert_eq!((load.connections, load.depth, load.requests), (64, 1, 640));
        for other in ["", "127.0.0.1:80", "127.0.0.1:80 64 1", "here 64 1 640"] {
            assert!(Load::announced(other).is_none(), "{other}");
        }
    }

    #[test]
    fn server_that_hangs_is_named_whether_it_never_replied_or_stopped_to() {
        let listener = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = |listener: &TcpListener| listener.local_addr().expect("it has one");
        let (mute, failing) = (listener(), listener());
        let servers = [&failing, &mute].map(|server| (process::id().to_string(), address(server)));
        // It echoes once, which is all that is asked to open a connection.
        let echo = thread::spawn(move || {
            let (mut stream, _) = failing.accept().expect("a connection");
            let mut message = [0; MESSAGE];
            stream.read_exact(&mut message).expect("a message");
            stream.write_all(&message).expect("a reader");
            stream
        });
        let load = Load::echo(1, 1, 1);
        assert_eq!(work(load, 1, &servers[1..]), Err(0));
        assert_eq!(work(load, 1, &servers[..1]), Err(0));
        let _open = (echo.join().expect("it echoed"), mute);
    }

    #[test]
    fn line_says_which_server_hangs() {
        assert_eq!(hung(&format!("3{HANGS}")), Some(3));
        assert_eq!(hung("3 640 1.5 2"), None);
    }

    #[test]
    fn turn_names_its_server_and_its_values() {
        let measured = Measured {
            values: vec![1.5, 2.0],
            result: 640,
        };
        assert_eq!(turn("3 640 1.5 2"), Some((3, measured)));
        assert_eq!(turn("3 640 fast"), None);
    }
}
