//! What both sides of a workload use, so that it is the same for both: batch sizes, deadlines, the
//! load generators.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use benches::{Measured, requests_per_second};

/// How many coroutines or timers are alive at a time in the workloads that work in batches.
pub const BATCH: u64 = 1000;

/// How many keys are pending at a time in `key_wait`.
pub const KEYS: u64 = 8;

/// A delay before all [`Delays`] and after the end of a run: that of the timer which stays armed in
/// `timer_arm`.
pub const EARLIER: Duration = Duration::from_millis(900);

/// The size of an echoed message in bytes.
const MESSAGE: usize = 64;

/// Delays between 1 and 60 s, spread evenly in milliseconds and the same in every run.
pub struct Delays(u64);

impl Delays {
    pub fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    /// The next delay; a xorshift step costs about a nanosecond, on both sides.
    pub fn next(&mut self) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(1_000 + self.0 % 59_001)
    }
}

/// Starts the client of an echo server: `n` requests over `connections` connections, one in flight
/// on each.
///
/// One blocking thread serves all connections, writing to each and then reading from each: the
/// server sees all of them busy at once, and the machine's other core is not spent on switching
/// between client threads. The clock starts when every connection has echoed once, so neither
/// connecting nor accepting is measured. The connections are closed at the end.
///
/// The result is how many replies equalled their request.
pub fn echo_client(server: SocketAddr, connections: u64, n: u64) -> thread::JoinHandle<Measured> {
    assert_eq!(
        n % connections,
        0,
        "every connection sends the same number of requests"
    );
    thread::spawn(move || {
        let connect = |_| {
            let stream = TcpStream::connect(server).expect("the server listens");
            stream
                .set_nodelay(true)
                .expect("a TCP socket has the option");
            stream
        };
        let mut streams: Vec<TcpStream> = (0..connections).map(connect).collect();
        echo_round(&mut streams, u64::MAX);
        let started = Instant::now();
        let replies = (0..n / connections)
            .map(|round| echo_round(&mut streams, round))
            .sum();
        requests_per_second(n, started.elapsed(), replies)
    })
}

/// Sends one message on each connection, then reads the replies; gives how many were right.
fn echo_round(streams: &mut [TcpStream], round: u64) -> u64 {
    let mut message = [b'x'; MESSAGE];
    message[..8].copy_from_slice(&round.to_le_bytes());
    for stream in &mut *streams {
        stream.write_all(&message).expect("the server reads");
    }
    let mut right = 0;
    for stream in streams {
        let mut reply = [0; MESSAGE];
        stream.read_exact(&mut reply).expect("the server replies");
        right += u64::from(reply == message);
    }
    right
}
