//! Who waits for room in a keyed engine: one line for each key, linked through one table of waiters.
//!
//! It is apart because a line costs a key two words and a waiter nothing but his place: no key owns a queue of its own.

use super::table::{Table, Want};
use crate::arena::Id;
use crate::ordered_queue::Intake;
use crate::waiter::WaiterSlot;

/// Somebody in line, or who was served and has not looked yet.
pub(crate) struct Waiter<M, R, E> {
    /// In which key's line.
    pub(crate) key: Id,
    /// What he wants, or got.
    pub(crate) want: Want<M, R, E>,
    /// How to wake him.
    pub(crate) slot: WaiterSlot,
    /// Who is before him.
    before: Id,
    /// Who is behind him.
    behind: Id,
}

/// The two ends of a line.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    /// The first.
    first: Id,
    /// The last.
    last: Id,
}

impl Line {
    /// Nobody.
    pub(crate) const EMPTY: Line = Line {
        first: Id::NONE,
        last: Id::NONE,
    };

    /// Whether nobody waits.
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.first.is_none()
    }

    /// The first.
    pub(crate) fn first(self) -> Id {
        self.first
    }
}

impl<K, M, R, E> Table<K, M, R, E> {
    /// Goes to the end of a key's line.
    pub(crate) fn line_up(&mut self, id: Id, want: Want<M, R, E>) -> Id {
        let last = self.keys.get(id).map_or(Id::NONE, |key| key.line.last);
        let waiter = self.waiters.insert(Waiter {
            key: id,
            want,
            slot: WaiterSlot::EMPTY,
            before: last,
            behind: Id::NONE,
        });
        if let Some(before) = self.waiters.get_mut(last) {
            before.behind = waiter;
        }
        if let Some(key) = self.keys.get_mut(id) {
            key.line.last = waiter;
            if last.is_none() {
                key.line.first = waiter;
            }
        }
        self.waiting += 1;
        self.make_room_ready(id);
        waiter
    }

    /// Takes a waiter out of his line; he stays in the table.
    pub(super) fn unline(&mut self, id: Id, waiter: Id) {
        let Some(Waiter { before, behind, .. }) = self.waiters.get_mut(waiter) else {
            return;
        };
        let before = std::mem::replace(before, Id::NONE);
        let behind = std::mem::replace(behind, Id::NONE);
        self.waiting -= 1;
        if let Some(one) = self.waiters.get_mut(before) {
            one.behind = behind;
        }
        if let Some(one) = self.waiters.get_mut(behind) {
            one.before = before;
        }
        if let Some(key) = self.keys.get_mut(id) {
            if before.is_none() {
                key.line.first = behind;
            }
            if behind.is_none() {
                key.line.last = before;
            }
        }
    }

    /// How many stand in a key's line.
    pub(crate) fn in_line(&self, id: Id) -> usize {
        let mut next = self.keys.get(id).map_or(Id::NONE, |key| key.line.first);
        let mut count = 0;
        while let Some(waiter) = self.waiters.get(next) {
            count += 1;
            next = waiter.behind;
        }
        count
    }

    /// What somebody who lined up got, if anything yet; he leaves then.
    pub(crate) fn collect(&mut self, waiter: Id) -> Option<Want<M, R, E>> {
        if self.waiters.get(waiter)?.want.is_open() {
            return None;
        }
        self.waiters.remove(waiter).map(|waiter| waiter.want)
    }

    /// How somebody is woken.
    pub(crate) fn slot(&self, waiter: Id) -> WaiterSlot {
        let waiter = self.waiters.get(waiter);
        waiter.map_or(WaiterSlot::EMPTY, |waiter| waiter.slot)
    }

    /// Changes how somebody is woken.
    pub(crate) fn set_slot(&mut self, waiter: Id, slot: WaiterSlot) {
        if let Some(waiter) = self.waiters.get_mut(waiter) {
            waiter.slot = slot;
        }
    }

    /// Leaves. Gives the key, and what was wanted or got, to be dropped or undone by the caller.
    pub(crate) fn leave(&mut self, waiter: Id) -> Option<(Id, Want<M, R, E>)> {
        let key = self.waiters.get(waiter)?.key;
        if self.waiters.get(waiter)?.want.is_open() {
            self.unline(key, waiter);
            // He may have been the one for whom there was no room.
            self.make_room_ready(key);
        }
        self.waiters.remove(waiter).map(|waiter| (key, waiter.want))
    }

    /// Turns everybody in a key's line away. Gives the slots to wake, and the messages of other threads.
    pub(crate) fn turn_away(
        &mut self,
        id: Id,
    ) -> (Vec<WaiterSlot>, Vec<super::table::Item<M, R, E>>) {
        let (mut slots, mut outside) = (Vec::new(), Vec::new());
        loop {
            let first = self.keys.get(id).map_or(Id::NONE, |key| key.line.first);
            if first.is_none() {
                return (slots, outside);
            }
            self.unline(id, first);
            let Some(waiter) = self.waiters.get_mut(first) else {
                continue;
            };
            slots.push(waiter.slot);
            waiter.slot = waiter.slot.vacated();
            waiter.want = match std::mem::replace(&mut waiter.want, Want::Admitted) {
                Want::Item(item) => Want::TurnedAway(Some(item)),
                Want::Outside(item) => {
                    self.waiters.remove(first);
                    outside.push(item);
                    continue;
                }
                _ => Want::TurnedAway(None),
            };
        }
    }

    /// Whether nothing is queued, in line or promised.
    pub(crate) fn is_dry(&self) -> bool {
        self.queued == 0 && self.waiting == 0 && self.kept == 0
    }

    /// Takes no more newcomers.
    pub(crate) fn close(&mut self) {
        if self.intake == Intake::Open {
            self.intake = Intake::Closed;
        }
    }
}
