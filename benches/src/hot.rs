//! What all sides of `hot_key` share: which message goes when, and how long the messages of the other keys wait.
//!
//! One key has a backlog, sent at once. While it lasts, a thousand other keys get a message each in turn, one whenever ten more
//! calls have begun, so that it is the same for a side that is fast and one that is slow.
//!
//! 1. A wait lasts from the sending of a message to the beginning of its call. It is told in calls that began meanwhile, its
//!    own included (1: it was the very next), and in CPU time of the loop's thread, which has no idle moment.
//! 2. The hot key's own messages only count calls; no clock is read for them.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::measure::{Measured, as_f64, thread_cpu};

/// The key that has the backlog.
pub const HOT: u64 = 0;

/// How many other keys there are: those from 1 on.
pub const OTHERS: u64 = 1000;

/// How many calls begin for each message to another key.
const CALLS_EACH: u64 = 10;

/// A message: its number among those of its key and, but for the hot key's, when it was sent.
#[derive(Debug)]
pub struct Message {
    pub number: u64,
    sent: Option<Sent>,
}

/// When a message was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// How many calls had begun.
    begun: u64,
    /// The CPU time of the loop's thread.
    at: Duration,
}

/// The `n` messages of the backlog.
pub fn backlog(n: u64) -> impl Iterator<Item = Message> {
    (0..n).map(|number| Message { number, sent: None })
}

/// How many messages go to other keys beside a backlog of `n`: so few that it lasts for all of them.
#[must_use]
pub fn others(n: u64) -> u64 {
    n / (2 * CALLS_EACH)
}

/// The keys of the messages to others, and how many calls must have begun before each is sent.
pub fn schedule(n: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..others(n)).map(|i| (1 + i % OTHERS, i * CALLS_EACH))
}

/// What became of the messages: shared by the sender and the handlers.
///
/// A mutex that nobody else ever holds, since on some sides what is spawned must be `Send`.
#[derive(Clone, Debug, Default)]
pub struct Waits(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    /// How many calls have begun.
    begun: u64,
    /// How many messages were sent to other keys.
    sent: u64,
    /// The longest wait of another key's message, in calls and in time.
    worst_calls: u64,
    worst_time: Duration,
}

impl Waits {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().expect("no side panics with it")
    }

    /// How many calls have begun.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.log().begun
    }

    /// The next message of the [`schedule`], sent now.
    #[must_use]
    pub fn next_message(&self) -> Message {
        let mut log = self.log();
        let number = log.sent / OTHERS;
        log.sent += 1;
        let sent = Sent {
            begun: log.begun,
            at: thread_cpu(),
        };
        Message {
            number,
            sent: Some(sent),
        }
    }

    /// The call of this message begins now.
    pub fn begin(&self, message: &Message) {
        let mut log = self.log();
        log.begun += 1;
        if let Some(sent) = message.sent {
            log.worst_calls = log.worst_calls.max(log.begun - sent.begun);
            log.worst_time = log.worst_time.max(thread_cpu().saturating_sub(sent.at));
        }
    }

    /// The worst wait, in nanoseconds and in calls; `right` messages were handled in their turn.
    #[must_use]
    pub fn measured(&self, right: u64) -> Measured {
        let log = self.log();
        Measured {
            values: vec![log.worst_time.as_secs_f64() * 1e9, as_f64(log.worst_calls)],
            result: right,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_in_line_counts_the_calls_that_began_since_the_sending() {
        let waits = Waits::default();
        let mut hot = backlog(3);
        waits.begin(&hot.next().expect("the first"));
        let (early, late) = (waits.next_message(), waits.next_message());
        waits.begin(&late);
        assert_eq!(waits.measured(0).values[1].to_bits(), 1.0_f64.to_bits());
        waits.begin(&hot.next().expect("the second"));
        waits.begin(&early);
        assert_eq!(waits.measured(7).values[1].to_bits(), 3.0_f64.to_bits());
        assert_eq!((waits.begun(), waits.measured(7).result), (4, 7));
    }

    #[test]
    fn every_message_to_another_key_meets_the_backlog() {
        let (n, mut sent) = (20_000, 0);
        for (key, after) in schedule(n) {
            sent += 1;
            assert!((1..=OTHERS).contains(&key));
            assert!(after + sent < n, "{after} calls and {sent} messages");
        }
        assert_eq!(sent, others(n));
    }
}
