//! Who gets room in a keyed engine, and when.
//!
//! It is apart from the table because it is about those who wait: a message that finds room at once does not come here.
//!
//! Invariants:
//! 1. Nobody passes a waiter: in a key where anyone waits, and while anyone waits for room of all, a newcomer waits behind or is refused.
//! 2. Waiters of one key are served in the order in which they came; keys take turns.

use crate::arena::Id;
use crate::hub::key_state::{KeyState, Marks};
use crate::hub::message::{Item, Want};
use crate::hub::table::Table;
use crate::waiter::WaiterSlot;

/// Whether a newcomer may go in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// At once.
    Free,
    /// The key has none.
    NoneOfKey,
    /// There is none for anybody.
    NoneAtAll,
}

impl<K, M, R, E> Table<K, M, R, E> {
    /// Whether a newcomer of this size may go in (keeps invariant 1).
    pub(crate) fn room(&self, id: Id, size: usize) -> Room {
        let key = self.keys.get(id);
        let is_full = |key: &KeyState<K>| key.taken() >= self.limits.per_key;
        if key.is_some_and(|key| key.is(Marks::HAS_LINE) || is_full(key)) {
            Room::NoneOfKey
        } else if self.has_line() || !self.fits(size) {
            Room::NoneAtAll
        } else {
            Room::Free
        }
    }

    /// Whether a message of this size fits into a key in the stead of the `most` oldest there, and while anyone waits for room of all takes
    /// no more than they did (keeps invariant 1).
    pub(crate) fn fits_instead(&self, id: Id, most: usize, size: usize) -> bool {
        let Some(key) = self.keys.get(id) else {
            return false;
        };
        let count = most.min(self.count(id));
        let oldest = self.messages(id).take(count);
        let bytes: usize = oldest.map(|(size, _)| size).sum();
        let takes_more = count == 0 || size > bytes;
        !(takes_more && self.has_line())
            && key.taken() - count < self.limits.per_key
            && self.room + count > 0
            && self.bytes - bytes <= self.limits.bytes.saturating_sub(size)
    }

    /// Whether a message of this size fits into a key, where others were dropped for it.
    pub(crate) fn fits_key(&self, id: Id, size: usize) -> bool {
        let key = self.keys.get(id);
        key.is_some_and(|key| key.taken() < self.limits.per_key) && self.fits(size)
    }

    /// Goes to the end of a key's line.
    pub(crate) fn line_up(&mut self, id: Id, want: Want<M, R, E>) -> Id {
        let Some(key) = self.keys.get_mut(id) else {
            return Id::NONE;
        };
        key.mark(Marks::HAS_LINE, true);
        let waiter = self.lines.line_up(id, want);
        self.make_room_ready(id);
        waiter
    }

    /// Leaves. Gives the key, and what was wanted or got, to be dropped or undone by the caller.
    pub(crate) fn leave_line(&mut self, waiter: Id) -> Option<(Id, Want<M, R, E>)> {
        let one = self.lines.get(waiter)?;
        let id = one.key;
        if one.want.is_open() {
            self.unline(id, waiter);
            // He may have been the one for whom there was no room.
            self.make_room_ready(id);
        }
        self.lines.remove(waiter).map(|waiter| (id, waiter.want))
    }

    /// Takes a waiter out of a key's line.
    fn unline(&mut self, id: Id, waiter: Id) {
        let is_left = self.lines.unline(waiter);
        if let Some(key) = self.keys.get_mut(id) {
            key.mark(Marks::HAS_LINE, is_left);
        }
    }

    /// Turns everybody in a key's line away. Gives the slots to wake, and the messages of other threads.
    pub(crate) fn turn_away(&mut self, id: Id) -> (Vec<WaiterSlot>, Vec<Item<M, R, E>>) {
        if let Some(key) = self.keys.get_mut(id) {
            key.mark(Marks::HAS_LINE, false);
        }
        self.lines.turn_away(id)
    }

    /// Whether who waits in this key's line waits for room of all, and not for the key's.
    pub(crate) fn waits_for_all(&self, id: Id) -> bool {
        self.lines.is_due(id)
    }

    /// Lets in the first in line of the next key in turn, if there is room (keeps invariant 2). Gives the slot to wake; `outside` hears
    /// of messages of other threads.
    pub(crate) fn admit(&mut self, outside: &mut usize) -> Option<WaiterSlot> {
        loop {
            let (first, waiter) = self.lines.first_due()?;
            let (id, size) = (waiter.key, waiter.want.size());
            let key = self.keys.get(id);
            let has_room = key.is_some_and(|key| key.taken() < self.limits.per_key);
            if has_room && !self.fits(size) {
                return None;
            }
            self.lines.pass_first_due();
            if has_room {
                let slot = self.serve(id, first, outside);
                self.make_room_ready(id);
                return Some(slot);
            }
        }
    }

    /// Gives the first in line what he wants.
    fn serve(&mut self, id: Id, first: Id, outside: &mut usize) -> WaiterSlot {
        self.unline(id, first);
        let Some(waiter) = self.lines.get_mut(first) else {
            return WaiterSlot::EMPTY;
        };
        let slot = waiter.slot;
        waiter.slot = slot.vacated();
        match std::mem::replace(&mut waiter.want, Want::Admitted) {
            Want::Item(item) => self.push(id, item),
            Want::Outside(item) => {
                self.lines.remove(first);
                *outside += 1;
                self.push(id, item);
            }
            Want::Place => {
                waiter.want = Want::Granted;
                self.keep_place(id);
            }
            served => waiter.want = served,
        }
        slot
    }
}
