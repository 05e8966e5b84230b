//! Whose turn it is in a keyed engine, and which message that is.
//!
//! It is apart because fairness between keys is decided here and nowhere else.
//!
//! Invariants:
//! 1. A key whose turn is over goes to the back of the ring: no key is passed by another twice.
//! 2. A key is in the hands of one worker at most.
//! 3. A call that has to go on gets a permit before any message is taken.

use crate::arena::Id;
use crate::hub::key_state::{KeyState, Marks};
use crate::hub::message::Item;
use crate::hub::seats::{Seat, Seats};
use crate::hub::table::Table;
use crate::key_name::KeyName;
use crate::timers::Nanos;

/// What a worker that asks for a message is given.
pub(crate) enum Turn<K, M> {
    /// A message.
    Call(Begun<K, M>),
    /// Nothing: no key is ready, or no call more may run.
    Nothing,
    /// First the key that it has put down is to be let go, or to lose its state. It is told whether that was asked for.
    PutDown(Id, bool),
    /// First the permits that are there go to calls that have to go on.
    Grant,
}

/// A message that has been taken.
pub(crate) struct Begun<K, M> {
    /// Its key's place.
    pub(crate) key: Id,
    /// Its key.
    pub(crate) name: KeyName<K>,
    /// The message.
    pub(crate) message: M,
    /// What it counted.
    size: usize,
    /// Since when it waited.
    pub(crate) since: Nanos,
    /// Whether somebody asked for the result.
    pub(crate) asked: bool,
    /// Whether anybody waits for room in its key.
    has_line: bool,
}

impl<K, M, R, E> Table<K, M, R, E> {
    /// Whether any key waits for its turn.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ring.is_empty()
    }

    /// Whether a key waits for its turn and one more call may run, but no worker is on its way.
    #[inline]
    pub(crate) fn lacks_scout(&self) -> bool {
        self.seats.permits > 0 && !self.ring.is_empty() && self.seats.coming() == 0
    }

    /// Whether more keys wait and more calls may run than there are workers on their way, beside one who has come.
    pub(crate) fn lacks_worker(&self) -> bool {
        let coming = self.seats.coming() + 1;
        self.ring.len() > coming && self.seats.permits() > coming
    }

    /// Ends the turn of the key that the worker in this seat has in hand, unless it goes on: it has messages, may run, and credit is left
    /// or nobody else waits. Then gives the next message of the key in hand, or of the next key in turn.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "on the way of every message, from one place"
    )]
    pub(crate) fn next(&mut self, at: u32, now: Nanos) -> Turn<K, M> {
        let Table {
            keys,
            queues,
            seats:
                Seats {
                    workers,
                    permits,
                    line,
                    ..
                },
            ring,
            ..
        } = self;
        let Some(seat) = workers.get_mut(at as usize) else {
            return Turn::Nothing;
        };
        if std::mem::take(&mut seat.busy) {
            // Its call was not settled: nobody asked for the result, and it lent out nothing.
            *permits += 1;
        }
        let may = *permits > 0;
        if may && !line.is_empty() {
            return Turn::Grant;
        }
        let held = seat.key;
        let mut begun = None;
        // A key in hand is in its place.
        if let Some(key) = keys.at_mut(held.index()) {
            if key.rests() {
                key.put_down();
            } else if key.unmark(Marks::FORGOTTEN) {
                seat.key = Id::NONE;
                return Turn::PutDown(held, true);
            } else if key.has_more() && may && (seat.credit > 0 || ring.is_empty()) {
                if seat.credit == 0 {
                    // Nobody waits: as if it had been put down and taken again.
                    seat.credit = u32::from(key.weight);
                }
                seat.credit -= 1;
                let next = queues.pop(&mut key.queue);
                begun = next.map(|item| begin(held, key, item, (at, seat)));
            } else {
                seat.key = Id::NONE;
                key.put_down();
                if key.lacks_turn() {
                    if let Some(item) = queues.pop(&mut key.queue) {
                        let weighed = (item.size, item.since);
                        key.enter_ring(ring.push(held, item.message, item.asker, weighed));
                    }
                } else if key.is(Marks::FLEETING) {
                    return Turn::PutDown(held, false);
                }
            }
        }
        while begun.is_none() && may {
            let Some((id, item)) = ring.pop() else { break };
            let Some(item) = item else {
                // Its message was dropped. Its key may have gone, or have another turn.
                if let Some(key) = keys.get_mut(id)
                    && key.turn() == Some(ring.taken_last())
                {
                    key.put_down();
                }
                continue;
            };
            let Some(key) = keys.at_mut(id.index()) else {
                continue;
            };
            if key.is(Marks::HELD) {
                key.put_down();
                queues.push_first(&mut key.queue, item);
                continue;
            }
            seat.credit = u32::from(key.weight) - 1;
            begun = Some(begin(id, key, item, (at, seat)));
        }
        let Some(begun) = begun else {
            seat.key = Id::NONE;
            return Turn::Nothing;
        };
        seat.since = now;
        *permits -= 1;
        self.room += 1;
        self.bytes -= begun.size;
        if begun.has_line {
            self.make_room_ready(begun.key);
        }
        Turn::Call(begun)
    }

    /// Takes a key out of its worker's hands; it goes to the back of the ring if it has messages.
    pub(crate) fn put_down(&mut self, id: Id) {
        if let Some(key) = self.keys.get_mut(id) {
            // Who forgot it while its state was dropped meant that state, not the next.
            key.mark(Marks::FORGOTTEN, false);
            key.put_down();
            self.make_ready(id);
        }
    }
}

/// Takes the next message of a key into the hands of a worker.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "on the way of every message, from two places"
)]
fn begin<K, M, R, E>(
    id: Id,
    key: &mut KeyState<K>,
    item: Item<M, R, E>,
    (at, seat): (u32, &mut Seat<R, E>),
) -> Begun<K, M> {
    key.begin(at);
    seat.key = id;
    let asked = item.asker.is_some();
    // The call before was settled: forgetting that saves the look whether an asker must be dropped.
    std::mem::forget(std::mem::replace(&mut seat.asker, item.asker));
    seat.busy = true;
    Begun {
        key: id,
        name: key.name.clone(),
        message: item.message,
        size: item.size,
        since: item.since,
        asked,
        has_line: key.is(Marks::HAS_LINE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::table::Limits;

    /// What a worker gets: a message, or nothing.
    fn next(table: &mut Table<u32, u32, (), ()>, seat: u32) -> Option<u32> {
        match table.next(seat, 0) {
            Turn::Call(begun) => Some(begun.message),
            Turn::Nothing => None,
            Turn::PutDown(..) | Turn::Grant => panic!("states stay, and nobody waits for a permit"),
        }
    }

    #[test]
    fn the_messages_of_a_key_come_in_order_and_one_at_a_time_whatever_the_number_of_its_turn() {
        for first in [0, u32::MAX as usize - 1] {
            let limits = Limits {
                per_key: 8,
                total: 8,
                bytes: 0,
                concurrency: 8,
            };
            let mut table = Table::new(limits, true);
            table.ring.begin_at(first);
            let seats = [table.seats.add(Id::NONE), table.seats.add(Id::NONE)];
            let key = table.enter(7, Some(0), 1);
            for _ in 0..4 {
                for n in 0..4 {
                    assert!(table.offer(key, n, None, (0, 0)).is_ok());
                }
                table.make_ready(key);
                assert_eq!(table.ring.len(), 1, "turns of one key, from {first}");
                // The place of a message that is dropped is for the next.
                for n in 0..4 {
                    assert_eq!(table.pop(key).map(|item| item.message), Some(n));
                }
                for n in 0..4 {
                    assert!(table.offer(key, n, None, (0, 0)).is_ok());
                    assert_eq!(table.ring.len(), 1, "turns of one key, from {first}");
                }
                for n in 0..4 {
                    assert_eq!(next(&mut table, seats[0]), Some(n), "from {first}");
                    assert_eq!(next(&mut table, seats[1]), None, "another call runs");
                }
                assert_eq!(seats.map(|seat| next(&mut table, seat)), [None, None]);
            }
            assert_eq!(table.ring.given(), first.wrapping_add(4));
        }
    }
}
