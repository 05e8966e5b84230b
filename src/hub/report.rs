//! What a keyed engine can say of itself: [`KeyReport`] about one key, [`KeyedStats`] in numbers.
//!
//! It is apart from the look itself because these are values: whoever has one may keep it.

use std::fmt;
use std::time::Duration;

use crate::site::Site;
use crate::snapshot::{CoroutineId, Human, count};

/// One key of a keyed engine, as [`Keyed::explain`](crate::Keyed::explain) finds it. `Display` says it in one line.
///
/// Times are those of the loop's last look.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyReport {
    /// The engine's name with the key.
    pub name: String,
    /// The call that runs, if there is one.
    pub head: Option<HeadReport>,
    /// How many messages are queued behind it.
    pub queued: usize,
    /// For how long the first of them has waited.
    pub oldest: Option<Duration>,
    /// How many wait for room in the queue.
    pub waiting: usize,
    /// How many places are kept.
    pub reserved: usize,
    /// Whether the key was parked after a failure.
    pub parked: bool,
    /// Whether the key was stopped after a failure.
    pub stopped: bool,
}

/// The call that a key runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HeadReport {
    /// The coroutine it runs in.
    pub coroutine: CoroutineId,
    /// For how long it has run.
    pub running_for: Duration,
    /// The kind of yield-point it is parked on, the place where that was made, and for how long. None while it is ready or runs.
    pub parked_on: Option<(&'static str, Option<Site>, Duration)>,
    /// What of other calls and coroutines it waits for, in words.
    pub waits_for: Vec<String>,
}

impl fmt::Display for KeyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        match &self.head {
            Some(head) => write!(f, "{head}")?,
            None if self.stopped => f.write_str("stopped after a failure")?,
            None if self.parked => f.write_str("parked after a failure")?,
            None => f.write_str("no call runs")?,
        }
        write!(f, "; {} queued", count(self.queued, "message"))?;
        if let Some(oldest) = self.oldest {
            write!(f, ", the first for {}", Human(oldest))?;
        }
        if self.waiting > 0 {
            write!(f, "; {} waiting for room", self.waiting)?;
        }
        if self.reserved > 0 {
            write!(f, "; {} kept", count(self.reserved, "place"))?;
        }
        Ok(())
    }
}

impl fmt::Display for HeadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a call runs for {}", Human(self.running_for))?;
        let Some((kind, site, since)) = &self.parked_on else {
            return Ok(());
        };
        write!(f, ", parked on {kind}")?;
        if let Some(site) = site {
            write!(f, " at {site}")?;
        }
        write!(f, " for {}", Human(*since))?;
        for wait in &self.waits_for {
            write!(f, ", waits for {wait}")?;
        }
        Ok(())
    }
}

/// A keyed engine in numbers, as [`Keyed::stats`](crate::Keyed::stats) counts them.
#[derive(Clone, Copy, Default, Debug)]
#[non_exhaustive]
pub struct KeyedStats {
    /// Keys that are known: they have messages, state, or were parked or stopped.
    pub keys: usize,
    /// Messages that wait for their call.
    pub queued: usize,
    /// Calls that run, those that wait for others among them.
    pub running: usize,
    /// Senders that wait for room.
    pub waiting: usize,
    /// Calls that ended well, since the engine began.
    pub done: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Messages that were dropped by a limit, a stopped or a forgotten key.
    pub dropped: u64,
    /// The longest that a message has waited for its call, from its arrival, by the loop's looks at the clock.
    pub longest_wait: Duration,
}
