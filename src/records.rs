//! The table of coroutines: those that have not ended, and the ends that are still to be taken.
//!
//! It is apart from what is shared because it alone knows that both lie in one table: an end takes the place of the record, so
//! that whoever joins finds it by the coroutine's id, and a coroutine that is waited for costs no cell beside its record.
//!
//! Invariants:
//! 1. Every look finds coroutines that have not ended, and nothing else; ends are only taken.
//! 2. An end lies here exactly as long as the join handle that may take it.
//!
//! ```text
//!   enter ──▶ record ── conclude, joined ──▶ end ── take_end ──▶ (none)
//!                └───── conclude, nobody joins, leave ─────────────▲
//! ```

use std::pin::Pin;

use crate::arena::{Arena, Id};
use crate::record::{Body, Record, Tie};
use crate::site::Site;
use crate::waiter::WaiterSlot;

/// See the module's page.
pub(crate) struct Records {
    /// Both.
    entries: Arena<Entry>,
    /// How many of them are ends.
    ends: usize,
}

/// One place in the table.
enum Entry {
    /// A coroutine that has not ended.
    Record(Record),
    /// The end of one, in the box of its body.
    End(Pin<Box<dyn Body>>),
}

/// What became of a coroutine that has ended, and had nothing to it.
pub(crate) enum Plain {
    /// Its end waits to be taken; this is who waits for it.
    Joined(WaiterSlot),
    /// Nobody will take its end.
    Loose(Pin<Box<dyn Body>>),
}

/// What a join handle leaves that is dropped.
pub(crate) enum Left {
    /// An end that nobody will take.
    End(Pin<Box<dyn Body>>),
    /// A coroutine that has not ended, with who waited for it and how it was tied to the handle.
    Record(WaiterSlot, Tie),
}

/// What became of a coroutine that has ended.
pub(crate) struct Concluded {
    /// Its record, which has left the table.
    pub(crate) record: Record,
    /// The box with its end, if nobody will take it.
    pub(crate) untaken: Option<Pin<Box<dyn Body>>>,
}

impl Records {
    /// A table without entries.
    pub(crate) const fn new() -> Self {
        Records {
            entries: Arena::new(),
            ends: 0,
        }
    }

    /// Enters a coroutine.
    #[inline]
    pub(crate) fn enter(&mut self, site: Site, tie: Tie) -> Id {
        // Made where it stays: by way of another place it would be copied from what was just written, and stall the CPU.
        let make = |_| Entry::Record(Record::new(site, tie));
        self.entries.insert_with(make)
    }

    /// Enters the end of a coroutine that could not be started.
    pub(crate) fn insert_end(&mut self, end: Pin<Box<dyn Body>>) -> Id {
        self.ends += 1;
        self.entries.insert(Entry::End(end))
    }

    /// The record of a coroutine, if it has not ended.
    #[inline]
    pub(crate) fn get(&self, id: Id) -> Option<&Record> {
        match self.entries.get(id) {
            Some(Entry::Record(record)) => Some(record),
            _ => None,
        }
    }

    /// The record of a coroutine, to change, if it has not ended.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut Record> {
        match self.entries.get_mut(id) {
            Some(Entry::Record(record)) => Some(record),
            _ => None,
        }
    }

    /// Takes the record of a coroutine out, if it has not ended.
    pub(crate) fn leave(&mut self, id: Id) -> Option<Record> {
        self.get(id)?;
        match self.entries.remove(id) {
            Some(Entry::Record(record)) => Some(record),
            _ => None,
        }
    }

    /// Puts the end of a coroutine into its place, or takes the coroutine out if nobody joins it, if there is nothing else to do: it
    /// has no keys and no name, and was not asked to end.
    ///
    /// # Errors
    /// The box, if there is.
    #[inline]
    pub(crate) fn conclude_plainly(
        &mut self,
        id: Id,
        end: Pin<Box<dyn Body>>,
    ) -> Result<Plain, Pin<Box<dyn Body>>> {
        let Some(entry) = self.entries.get_mut(id) else {
            return Err(end);
        };
        let (joiner, tie) = match entry {
            Entry::Record(record) if record.is_plain() => (record.joiner, record.tie),
            _ => return Err(end),
        };
        // It holds nothing: forgetting it saves the look whether it does.
        if tie == Tie::Loose {
            self.entries.remove_as(id, std::mem::forget);
            return Ok(Plain::Loose(end));
        }
        std::mem::forget(std::mem::replace(entry, Entry::End(end)));
        self.ends += 1;
        Ok(Plain::Joined(joiner))
    }

    /// Puts the end of a coroutine into its place, or takes it out if nobody joins it.
    pub(crate) fn conclude(&mut self, id: Id, end: Pin<Box<dyn Body>>) -> Option<Concluded> {
        let untaken = if self.get(id)?.is_joined() {
            self.ends += 1;
            match std::mem::replace(self.entries.get_mut(id)?, Entry::End(end)) {
                Entry::Record(record) => {
                    return Some(Concluded {
                        record,
                        untaken: None,
                    });
                }
                Entry::End(end) => end,
            }
        } else {
            end
        };
        let record = self.leave(id)?;
        Some(Concluded {
            record,
            untaken: Some(untaken),
        })
    }

    /// Takes the end of a coroutine, if it has ended and the end was not taken.
    #[inline]
    pub(crate) fn take_end(&mut self, id: Id) -> Option<Pin<Box<dyn Body>>> {
        if !matches!(self.entries.get(id), Some(Entry::End(_))) {
            return None;
        }
        self.ends -= 1;
        self.entries.remove_as(id, |entry| match entry {
            Entry::End(end) => Some(end),
            Entry::Record(_) => None,
        })?
    }

    /// Lets go of a coroutine: nobody will take its end.
    #[inline]
    pub(crate) fn let_go(&mut self, id: Id) -> Option<Left> {
        if let Some(record) = self.get_mut(id) {
            let joiner = std::mem::replace(&mut record.joiner, WaiterSlot::EMPTY);
            let tie = std::mem::replace(&mut record.tie, Tie::Loose);
            return Some(Left::Record(joiner, tie));
        }
        self.take_end(id).map(Left::End)
    }

    /// How many coroutines have not ended.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.ends
    }

    /// Whether every coroutine has ended.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The coroutines that have not ended, with their records.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, &Record)> {
        self.entries.iter().filter_map(|(id, entry)| match entry {
            Entry::Record(record) => Some((id, record)),
            Entry::End(_) => None,
        })
    }

    /// Takes all records out. The ends stay for those who join.
    pub(crate) fn take_all(&mut self) -> Vec<Record> {
        let ids: Vec<Id> = self.iter().map(|(id, _)| id).collect();
        ids.into_iter().filter_map(|id| self.leave(id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;
    use std::task::{Context, Poll};

    use super::*;
    use crate::error::Error;
    use crate::record::Ended;

    /// A body of nothing.
    struct Empty;

    impl Body for Empty {
        fn resume(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Ended> {
            Poll::Pending
        }

        fn vacate(self: Pin<&mut Self>) {}

        fn end(self: Pin<&mut Self>, _: Error) {}
    }

    fn enter(records: &mut Records, tie: Tie) -> Id {
        records.enter(Location::caller(), tie)
    }

    /// With its mark it is one line of the cache.
    #[test]
    fn a_place_in_the_table_is_seven_words() {
        assert_eq!(size_of::<Option<Entry>>(), 56);
    }

    #[test]
    fn an_end_takes_the_place_of_its_record_and_is_taken_once() {
        let mut records = Records::new();
        let id = enter(&mut records, Tie::Joined);
        let other = enter(&mut records, Tie::Joined);
        assert!(records.take_end(id).is_none(), "it has not ended");
        let concluded = records.conclude_plainly(id, Box::pin(Empty));
        assert!(matches!(concluded, Ok(Plain::Joined(_))));
        assert!(records.get(id).is_none());
        assert!(records.leave(id).is_none());
        let left: Vec<Id> = records.iter().map(|(id, _)| id).collect();
        assert_eq!((left, records.len()), (vec![other], 1));
        assert!(records.take_end(id).is_some());
        assert!(records.take_end(id).is_none());
        assert_eq!(records.len(), 1);
    }

    #[test]
    fn an_end_that_nobody_takes_comes_back_and_leaves_nothing() {
        let mut records = Records::new();
        let id = enter(&mut records, Tie::Loose);
        let concluded = records.conclude_plainly(id, Box::pin(Empty));
        assert!(matches!(concluded, Ok(Plain::Loose(_))));
        assert!(records.take_end(id).is_none());
        let id = enter(&mut records, Tie::Loose);
        let concluded = records.conclude(id, Box::pin(Empty)).unwrap();
        assert!(concluded.untaken.is_some());
        assert!(records.is_empty());
    }

    #[test]
    fn what_holds_more_than_an_end_is_not_concluded_plainly() {
        let mut records = Records::new();
        let id = enter(&mut records, Tie::Joined);
        records.get_mut(id).unwrap().rare_mut();
        assert!(records.conclude_plainly(id, Box::pin(Empty)).is_err());
        assert!(records.get(id).is_some());
        let concluded = records.conclude(id, Box::pin(Empty)).unwrap();
        assert!(concluded.untaken.is_none());
        assert!(records.take_end(id).is_some());
    }

    #[test]
    fn a_handle_that_lets_go_leaves_a_loose_coroutine_or_its_end() {
        let mut records = Records::new();
        let id = enter(&mut records, Tie::Bound);
        assert!(matches!(
            records.let_go(id),
            Some(Left::Record(_, Tie::Bound))
        ));
        assert!(!records.get(id).unwrap().is_joined());
        let ended = enter(&mut records, Tie::Joined);
        assert!(records.conclude_plainly(ended, Box::pin(Empty)).is_ok());
        assert!(matches!(records.let_go(ended), Some(Left::End(_))));
        assert!(records.let_go(ended).is_none());
    }

    #[test]
    fn the_ends_stay_when_all_records_are_taken_out() {
        let mut records = Records::new();
        let ended = enter(&mut records, Tie::Joined);
        enter(&mut records, Tie::Joined);
        assert!(records.conclude_plainly(ended, Box::pin(Empty)).is_ok());
        assert_eq!(records.take_all().len(), 1);
        assert!(records.is_empty());
        assert!(records.take_end(ended).is_some());
    }
}
