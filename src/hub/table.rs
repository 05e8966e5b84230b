//! The keys of a keyed engine, what is queued for each, and whose turn it is.
//!
//! It is apart because it only keeps and orders: it wakes nobody, runs nobody's code, and is all that must be borrowed to send.
//!
//! Invariants:
//! 1. No key has more messages and kept places than `per_key`, all together no more than `total`, and their sizes no more than `bytes`.
//! 2. A key with messages, open and in nobody's hands, is in the ring once, with the first of them.
//! 3. Every key is found by its hash, but for those that are one message's own.
//!
//! ```text
//!             message            a worker takes it              queue empty
//!   (none) ──────────▶ in ring ────────────────────▶ in hand ──────────────▶ (none)
//!                         ▲  messages left, turn over   │ parked, stopped
//!                         └─────────────────────────────┴────────────────▶ held ── resumed, forgotten ──▶
//! ```

use crate::arena::{Arena, Id};
use crate::hub::index::{ByPlace, Index, Probe};
use crate::hub::key_state::{KeyState, Marks};
use crate::hub::line::Lines;
use crate::hub::message::{Item, Place};
use crate::hub::queues::{Queue, Queues};
use crate::hub::ring::Ring;
use crate::hub::seats::Seats;
use crate::key_name::{Blank, KeyName};
use crate::ordered_queue::{Asker, Intake};
use crate::timers::Nanos;

/// For how many keys to come memory is kept, and how many boxes of names.
const SPARE: usize = 1024;

/// How much there may be of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Messages of one key.
    pub(crate) per_key: usize,
    /// Messages of all keys.
    pub(crate) total: usize,
    /// Their sizes.
    pub(crate) bytes: usize,
    /// Calls at a time.
    pub(crate) concurrency: usize,
}

/// See the module's page.
pub(crate) struct Table<K, M, R, E> {
    /// The keys.
    pub(crate) keys: Arena<KeyState<K>>,
    /// Where they are found.
    pub(crate) index: Index,
    /// The messages that stand behind others of their keys.
    pub(super) queues: Queues<M, R, E>,
    /// Who waits for room.
    pub(crate) lines: Lines<M, R, E>,
    /// The turns to come, first to come first (invariant 2), with their messages. Some may come to nothing.
    pub(super) ring: Ring<M, R, E>,
    /// The workers.
    pub(crate) seats: Seats<R, E>,
    /// The limits.
    pub(crate) limits: Limits,
    /// How many more messages there is room for.
    pub(super) room: usize,
    /// Kept places of all keys.
    pub(crate) kept: usize,
    /// Of the keys that have some.
    kept_by_key: ByPlace<usize>,
    /// The sizes of all messages.
    pub(crate) bytes: usize,
    /// What is taken in.
    pub(crate) intake: Intake,
    /// Whether states outlive the messages.
    keeps_state: bool,
    /// Boxes of names for keys to come.
    spare: Vec<Blank<K>>,
}

impl<K, M, R, E> Table<K, M, R, E> {
    /// An empty table.
    pub(crate) fn new(limits: Limits, keeps_state: bool) -> Self {
        Table {
            keys: Arena::new(),
            index: Index::new(),
            queues: Queues::new(),
            lines: Lines::new(),
            ring: Ring::new(),
            seats: Seats::new(limits.concurrency),
            limits,
            room: limits.total,
            kept: 0,
            kept_by_key: ByPlace::default(),
            bytes: 0,
            intake: Intake::Open,
            keeps_state,
            spare: Vec::new(),
        }
    }

    // Keys.

    /// The next key that has the hash looked for, and its name.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the most of a look-up")]
    pub(crate) fn candidate(&self, probe: &mut Probe) -> Option<(Id, KeyName<K>)> {
        let row = self.index.next(probe)?;
        let (id, key) = self.keys.at(row as usize)?;
        Some((id, key.name.clone()))
    }

    /// Enters a key; without a hash, one that is never found again.
    pub(crate) fn enter(&mut self, key: K, hash: Option<u32>, weight: u16) -> Id {
        let name = match self.spare.pop() {
            Some(blank) => blank.name(key),
            None => KeyName::new(key),
        };
        let mut marks = hash.map_or(Marks::FREE, |_| Marks::NONE);
        if hash.is_none() || !self.keeps_state {
            marks = marks.or(Marks::FLEETING);
        }
        let key = KeyState::new(name, weight, marks);
        let id = self.keys.insert(key);
        if let Some(hash) = hash {
            let row = u32::try_from(id.index()).expect("an id's slot is a u32");
            self.index.enter(hash, row);
        }
        id
    }

    /// Takes a key out that is idle and has no state. Gives its name, to be dropped by the caller.
    pub(crate) fn take_idle(&mut self, id: Id) -> Option<KeyName<K>> {
        let key = self.keys.get(id)?;
        if !key.is_idle() || key.is(Marks::HAS_STATE) {
            return None;
        }
        let key = self.keys.remove(id)?;
        if !key.is(Marks::FREE)
            && let Ok(row) = u32::try_from(id.index())
        {
            self.index.leave(row);
        }
        Some(key.name)
    }

    /// Keeps the box of a name whose key has gone.
    pub(crate) fn keep_blank(&mut self, blank: Blank<K>) {
        if self.spare.len() < SPARE {
            self.spare.push(blank);
        }
    }

    // Messages.

    /// Messages of all keys.
    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.limits.total - self.room - self.kept
    }

    /// Whether nothing is queued, in line or promised.
    pub(crate) fn is_dry(&self) -> bool {
        self.queued() == 0 && self.lines.waiting() == 0 && self.kept == 0
    }

    /// Takes no more newcomers.
    pub(crate) fn close(&mut self) {
        if self.intake == Intake::Open {
            self.intake = Intake::Closed;
        }
    }

    /// Whether so many bytes more fit.
    #[inline]
    pub(crate) fn fits_bytes(&self, size: usize) -> bool {
        size == 0 || size <= self.limits.bytes.saturating_sub(self.bytes)
    }

    /// Whether one more of this size fits at all.
    #[inline]
    pub(crate) fn fits(&self, size: usize) -> bool {
        self.room > 0 && self.fits_bytes(size)
    }

    /// Queues a message if there is room for it now: the short way of most. Gives it back if not.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "on the way of every message, from two places"
    )]
    pub(crate) fn offer(
        &mut self,
        id: Id,
        message: M,
        asker: Asker<R, E>,
        (size, since): (usize, Nanos),
    ) -> Result<(), (M, Asker<R, E>)> {
        if self.intake != Intake::Open || self.lines.has_due() || !self.fits(size) {
            return Err((message, asker));
        }
        let key = match self.keys.get_mut(id) {
            Some(key) if key.is_at_rest() => key,
            Some(key)
                if !key.is(Marks::HAS_LINE.or(Marks::STOPPED))
                    && key.taken() < self.limits.per_key =>
            {
                let item = Item {
                    message,
                    asker,
                    size,
                    since,
                };
                self.push(id, item);
                return Ok(());
            }
            _ => return Err((message, asker)),
        };
        key.take_room();
        key.enter_ring(self.ring.push(id, message, asker, (size, since)));
        self.room -= 1;
        self.bytes += size;
        Ok(())
    }

    /// Queues a message that was found to have room.
    pub(crate) fn push(&mut self, id: Id, item: Item<M, R, E>) {
        let Some(key) = self.keys.get_mut(id) else {
            return;
        };
        self.room -= 1;
        self.bytes += item.size;
        key.take_room();
        let weighed = (item.size, item.since);
        let turn = key.turn().and_then(|turn| self.ring.place_mut(turn));
        if let Some(place) = turn.filter(|place| place.is_free()) {
            place.put(item.message, item.asker, weighed);
        } else if key.takes_turn() {
            key.enter_ring(self.ring.push(id, item.message, item.asker, weighed));
        } else {
            self.queues
                .push(&mut key.queue, item.message, item.asker, weighed);
        }
    }

    /// Takes the next message of a key.
    pub(crate) fn pop(&mut self, id: Id) -> Option<Item<M, R, E>> {
        let key = self.keys.get_mut(id)?;
        let turn = key.turn().and_then(|turn| self.ring.place_mut(turn));
        let item = match turn {
            Some(place) => {
                let item = place.take();
                if let Some(next) = self.queues.pop(&mut key.queue) {
                    place.put(next.message, next.asker, (next.size, next.since));
                }
                item?
            }
            None => self.queues.pop(&mut key.queue)?,
        };
        key.give_room();
        self.room += 1;
        self.bytes -= item.size;
        self.make_room_ready(id);
        Some(item)
    }

    /// Gives up the turn of a key that has no message for it.
    pub(crate) fn give_up_turn(&mut self, id: Id) {
        if let Some(key) = self.keys.get_mut(id)
            && let Some(turn) = key.turn()
            && self.ring.place(turn).is_some_and(Place::is_free)
        {
            key.put_down();
        }
    }

    /// Takes all messages out, queued or in line, with their keys.
    pub(crate) fn take_all(&mut self) -> Vec<(KeyName<K>, M)> {
        let ids: Vec<Id> = self.keys.iter().map(|(id, _)| id).collect();
        let mut all = Vec::new();
        for id in ids {
            let Some(name) = self.keys.get(id).map(|key| key.name.clone()) else {
                continue;
            };
            while let Some(item) = self.pop(id) {
                all.push((name.clone(), item.message));
            }
            let (_, outside) = self.turn_away(id);
            all.extend(outside.into_iter().map(|item| (name.clone(), item.message)));
        }
        all
    }

    /// The sizes of a key's messages and since when they wait, first to last.
    pub(crate) fn messages(&self, id: Id) -> impl Iterator<Item = (usize, Nanos)> {
        let key = self.keys.get(id);
        let turn = key.and_then(KeyState::turn);
        let place = turn.and_then(|turn| self.ring.place(turn));
        let first = place.and_then(Place::weighed);
        let queue = key.map_or(Queue::EMPTY, |key| key.queue);
        first.into_iter().chain(self.queues.iter(queue))
    }

    /// How many messages a key has.
    pub(crate) fn count(&self, id: Id) -> usize {
        let taken = self.keys.get(id).map_or(0, KeyState::taken);
        taken - self.kept_of(id)
    }

    /// How many places are kept for a key.
    pub(crate) fn kept_of(&self, id: Id) -> usize {
        self.kept_by_key.get(&id).copied().unwrap_or(0)
    }

    /// Keeps a place.
    pub(crate) fn keep_place(&mut self, id: Id) {
        if let Some(key) = self.keys.get_mut(id) {
            key.take_room();
            *self.kept_by_key.entry(id).or_default() += 1;
            self.kept += 1;
            self.room -= 1;
        }
    }

    /// Gives a kept place up. Tells whether it was there.
    pub(crate) fn free_place(&mut self, id: Id) -> bool {
        let was_kept = self.take_place(id);
        if was_kept {
            self.make_room_ready(id);
        }
        was_kept
    }

    /// The same for a place that a message goes to at once: nobody else gets room by that.
    pub(crate) fn take_place(&mut self, id: Id) -> bool {
        let (Some(key), Some(kept)) = (self.keys.get_mut(id), self.kept_by_key.get_mut(&id)) else {
            return false;
        };
        *kept -= 1;
        if *kept == 0 {
            self.kept_by_key.remove(&id);
            if self.kept_by_key.is_empty() {
                self.kept_by_key.shrink_to(SPARE);
            }
        }
        key.give_room();
        self.kept -= 1;
        self.room += 1;
        true
    }

    /// Notes that the line of a key may get room, if there is room of all.
    #[inline]
    pub(crate) fn make_room_ready(&mut self, id: Id) {
        if let Some(key) = self.keys.get(id)
            && key.is(Marks::HAS_LINE)
            && key.taken() < self.limits.per_key
        {
            self.lines.make_due(id);
        }
    }

    /// Whether anybody might be let in.
    #[inline]
    pub(crate) fn has_line(&self) -> bool {
        self.lines.has_due()
    }

    /// Puts a key in the ring if it belongs there (keeps invariant 2).
    #[inline]
    pub(crate) fn make_ready(&mut self, id: Id) {
        if let Some(key) = self.keys.get_mut(id)
            && key.lacks_turn()
            && let Some(Item {
                message,
                asker,
                size,
                since,
            }) = self.queues.pop(&mut key.queue)
        {
            key.enter_ring(self.ring.push(id, message, asker, (size, since)));
        }
    }
}
