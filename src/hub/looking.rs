//! How a keyed engine looks at itself: at one key, and at its counts.
//!
//! It is apart because it only looks: it runs no code of the user but the key's `Debug`, and polls nobody.

use std::fmt;
use std::time::Duration;

use crate::arena::Id;
use crate::error::Error;
use crate::hub::engine::{Hub, OrderKey};
use crate::hub::key_state::Hold;
use crate::hub::report::{HeadReport, KeyReport, KeyedStats};
use crate::roster::public_id;

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
        let first = table.messages(id).next();
        Some(KeyReport {
            name,
            head,
            queued: table.count(id),
            oldest: first.map(|(_, since)| Duration::from_nanos(now.saturating_sub(since))),
            waiting: table.lines.count(id),
            reserved: table.kept_of(id),
            parked: state.hold() == Hold::Parked,
            stopped: state.hold() == Hold::Stopped,
        })
    }

    /// What is known of the call that a key runs.
    pub(crate) fn head(&self, id: Id) -> Option<HeadReport> {
        let now = self.shared.looked_at.get();
        let since = |then| Duration::from_nanos(now.saturating_sub(then));
        let (worker, began) = {
            let table = self.table.borrow();
            let seat = table.keys.get(id)?.seat()?;
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
            queued: table.queued(),
            running: table.seats.busy(),
            waiting: table.lines.waiting(),
            done: self.counts.done.get(),
            failed: self.counts.failed.get(),
            dropped: self.counts.dropped.get(),
            longest_wait: Duration::from_nanos(self.counts.longest_wait.get()),
        }
    }
}
