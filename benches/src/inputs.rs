//! What all sides of a workload share, so that it is the same for all: sizes, delays, the bookkeeping of a check.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_channel::oneshot;

/// How many coroutines or timers are alive at a time in the workloads that work in batches.
pub const BATCH: u64 = 1000;

/// How many keys are pending at a time in `key_wait`.
pub const KEYS: u64 = 8;

/// How many keys have an order of their own in `ordered`.
pub const ORDERED_KEYS: u64 = 10_000;

/// How many messages of `ordered` wait for their call, where they are bounded.
pub const QUEUED: usize = 256;

/// How many messages of `ordered` are handled at a time, where that is bounded.
pub const AT_A_TIME: usize = 64;

/// The bound of the queue in `queue`.
pub const BOUND: usize = 128;

/// How long a loop may look at its poll without sleeping, in the workloads named `spin`.
pub const SPIN: Duration = Duration::from_micros(50);

/// A delay before all [`Delays`] and after the end of a run: that of the timer which stays armed in `timer_arm`.
pub const EARLIER: Duration = Duration::from_millis(900);

/// The buffer of a server's connection in `tcp_echo`: more than all messages in flight, so that a read is short.
pub const ECHO_BUFFER: usize = 4096;

/// The buffer of a server's connection in `idle_conn`.
pub const IDLE_BUFFER: usize = 256;

/// A count as an index.
///
/// # Panics
///
/// If the machine cannot count so far.
#[must_use]
pub fn index(n: u64) -> usize {
    usize::try_from(n).expect("a count fits")
}

/// Numbers that look random and are the same in every run: a xorshift step costs about a nanosecond, on all sides.
#[derive(Debug)]
pub struct Delays(u64);

impl Default for Delays {
    fn default() -> Self {
        Self::new()
    }
}

impl Delays {
    #[must_use]
    pub fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    fn step(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// The next delay between 1 and 60 s, spread evenly in milliseconds.
    pub fn next_long(&mut self) -> Duration {
        Duration::from_millis(1_000 + self.step() % 59_001)
    }

    /// The next delay up to 100 ms, spread evenly in microseconds.
    pub fn next_short(&mut self) -> Duration {
        Duration::from_micros(self.step() % 100_001)
    }
}

/// Counts on the loop what another thread posted: each closure adds its number.
///
/// The sum has no owners, so the two threads share nothing but the posts: a count of owners in every closure, which both threads
/// write, would be most of what is measured.
#[derive(Debug)]
pub struct Arrived;

/// The sum of what arrived. Relaxed, since only the loop touches it; atomic, since a closure that is sent must be `Send`.
static ARRIVED: AtomicU64 = AtomicU64::new(0);

impl Arrived {
    /// Adds `i`.
    pub fn add(i: u64) {
        ARRIVED.store(ARRIVED.load(Ordering::Relaxed) + i, Ordering::Relaxed);
    }

    /// The sum, which begins anew.
    #[must_use]
    pub fn take_sum() -> u64 {
        ARRIVED.swap(0, Ordering::Relaxed)
    }
}

/// The check of one key in `ordered`: its messages carry 0, 1, 2, … and each must be the one after the last.
#[derive(Debug, Default)]
pub struct InOrder {
    next: u64,
    right: u64,
}

impl InOrder {
    /// Takes the next message that came; whether it came in its turn.
    pub fn take(&mut self, number: u64) -> bool {
        let right = number == self.next;
        self.right += u64::from(right);
        self.next = number + 1;
        right
    }

    /// How many messages came in their turn.
    #[must_use]
    pub fn right(&self) -> u64 {
        self.right
    }
}

/// A message that carries the way to answer it.
struct Turn(u64, oneshot::Sender<Turn>);

/// The two futures of `foreign_channel`: they hand each other `n` one-shots of the `futures` crate, each within the one
/// before it, and so meet the runtime through its `Waker` only. The first gives the number on the last one.
///
/// `n` is even, so that the first gets the last one.
pub fn one_shots(
    n: u64,
) -> (
    impl Future<Output = u64> + Send + 'static,
    impl Future<Output = u64> + Send + 'static,
) {
    let (mut to_second, mut second_inbox) = oneshot::channel::<Turn>();
    let first = async move {
        let mut number = 0;
        while number < n {
            let (sender, inbox) = oneshot::channel();
            let sent = to_second.send(Turn(number + 1, sender));
            assert!(sent.is_ok(), "the second waits");
            Turn(number, to_second) = inbox.await.expect("the second answers");
        }
        number
    };
    let second = async move {
        let mut number = 0;
        // The first ends by dropping the way to answer it.
        while let Ok(Turn(arrived, to_first)) = second_inbox.await {
            number = arrived + 1;
            let (sender, inbox) = oneshot::channel();
            let sent = to_first.send(Turn(number, sender));
            assert!(sent.is_ok(), "the first waits");
            second_inbox = inbox;
        }
        number
    };
    (first, second)
}

/// Places for values in memory that was written to before: filling them takes nothing more from the system.
#[derive(Debug)]
pub struct Places<T> {
    places: Vec<Option<T>>,
    filled: usize,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self::new(0)
    }
}

impl<T> Places<T> {
    /// Room for `n`.
    #[must_use]
    pub fn new(n: u64) -> Self {
        // Each `None` is written, and so each page belongs to the process.
        let places = (0..n).map(|_| None).collect();
        Self { places, filled: 0 }
    }

    /// Fills the next place.
    ///
    /// # Panics
    ///
    /// If all are filled.
    pub fn push(&mut self, value: T) {
        self.places[self.filled] = Some(value);
        self.filled += 1;
    }

    /// The values in their order.
    pub fn into_values(self) -> impl Iterator<Item = T> {
        self.places.into_iter().flatten()
    }
}
