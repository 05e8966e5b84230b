//! What a keyed engine can say of itself: [`KeyReport`] about one key, [`KeyedStats`] in numbers.
//!
//! It is apart because it only looks: it runs no code of the user but the key's `Debug`, and polls nobody.

use std::fmt;
use std::time::Duration;

use super::table::Hold;
use super::{Hub, OrderKey};
use crate::arena::Id;
use crate::error::Error;
use crate::roster::public_id;
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

impl<K, M, R, E> Hub<K, M, R, E>
where
    K: OrderKey,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    /// What is known of a key.
    pub(crate) fn explain(&self, key: &K) -> Option<KeyReport> {
        let id = self.find(key)?;
        let name = self.label(key);
        let now = self.shared.looked_at.get();
        let head = self.head(id);
        let table = self.table.borrow();
        let state = table.keys.get(id)?;
        let first = table.first(id);
        Some(KeyReport {
            name,
            head,
            queued: state.len as usize,
            oldest: first.map(|item| Duration::from_nanos(now.saturating_sub(item.since))),
            waiting: table.in_line(id),
            reserved: state.kept as usize,
            parked: state.hold == Hold::Parked,
            stopped: state.hold == Hold::Stopped,
        })
    }

    /// What is known of the call that a key runs.
    pub(super) fn head(&self, id: Id) -> Option<HeadReport> {
        let now = self.shared.looked_at.get();
        let since = |then| Duration::from_nanos(now.saturating_sub(then));
        let (worker, began) = {
            let table = self.table.borrow();
            let seat = table.keys.get(id)?.seat?;
            let seat = table.seats.get(seat).filter(|seat| seat.busy)?;
            (seat.worker, seat.since)
        };
        let edges = self.shared.edges(worker);
        let waits_for = edges.iter().map(|edge| {
            let name = edge.to.name(edge.place);
            format!("{} of {name}", edge.what)
        });
        let parked_on = self.shared.parked(worker);
        let parked_on = parked_on.map(|(note, then)| (note.kind.0, note.site, since(then)));
        Some(HeadReport {
            coroutine: public_id(worker),
            running_for: since(began),
            parked_on,
            waits_for: waits_for.collect(),
        })
    }

    /// What has been counted.
    pub(crate) fn stats(&self) -> KeyedStats {
        let table = self.table.borrow();
        KeyedStats {
            keys: table.keys.len(),
            queued: table.queued,
            running: table.seats.busy(),
            waiting: table.waiting,
            done: self.counts.done.get(),
            failed: self.counts.failed.get(),
            dropped: self.counts.dropped.get(),
            longest_wait: Duration::from_nanos(self.counts.longest_wait.get()),
        }
    }
}
