//! Who waits for room in a keyed engine: one line for each key, linked through one table of waiters.
//!
//! It is apart because a line costs a key two words and a waiter nothing but his place: no key owns a queue of its own.

use crate::arena::{Arena, Id};
use crate::hub::message::{Item, Want};
use crate::waiter::WaiterSlot;

/// Somebody in line, or who was served and has not looked yet.
pub(crate) struct Waiter<M, R, E> {
    /// In which key's line.
    pub(crate) key: Id,
    /// What he wants, or got.
    pub(crate) want: Want<M, R, E>,
    /// How to wake him.
    pub(crate) slot: WaiterSlot,
    /// The place of who is before him.
    before: u32,
    /// The place of who is behind him.
    behind: u32,
}

/// The place of nobody.
const NOBODY: u32 = u32::MAX;

/// The two ends of a line, by their place in the table.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    /// The first.
    first: u32,
    /// The last.
    last: u32,
}

impl Line {
    /// Nobody.
    pub(crate) const EMPTY: Line = Line {
        first: NOBODY,
        last: NOBODY,
    };

    /// Whether nobody waits.
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.first == NOBODY
    }
}

/// The lines of all keys.
pub(crate) struct Lines<M, R, E> {
    /// Those in line, and those who were served and have not looked yet.
    waiters: Arena<Waiter<M, R, E>>,
    /// How many are in line.
    waiting: usize,
}

impl<M, R, E> Lines<M, R, E> {
    /// Nobody waits.
    pub(crate) const fn new() -> Self {
        Lines {
            waiters: Arena::new(),
            waiting: 0,
        }
    }

    /// How many are in line.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Somebody in line, or who was served.
    pub(crate) fn get(&self, waiter: Id) -> Option<&Waiter<M, R, E>> {
        self.waiters.get(waiter)
    }

    /// The same, to change.
    pub(crate) fn get_mut(&mut self, waiter: Id) -> Option<&mut Waiter<M, R, E>> {
        self.waiters.get_mut(waiter)
    }

    /// Takes somebody out who is in no line any more.
    pub(crate) fn remove(&mut self, waiter: Id) -> Option<Waiter<M, R, E>> {
        self.waiters.remove(waiter)
    }

    /// Who is in this place.
    fn at(&mut self, place: u32) -> Option<&mut Waiter<M, R, E>> {
        let (id, _) = self.waiters.at(place as usize)?;
        self.waiters.get_mut(id)
    }

    /// The first in a line.
    pub(crate) fn first(&self, line: Line) -> Option<(Id, &Waiter<M, R, E>)> {
        self.waiters.at(line.first as usize)
    }

    /// Goes to the end of a key's line.
    pub(crate) fn line_up(&mut self, line: &mut Line, key: Id, want: Want<M, R, E>) -> Id {
        let last = line.last;
        let waiter = self.waiters.insert(Waiter {
            key,
            want,
            slot: WaiterSlot::EMPTY,
            before: last,
            behind: NOBODY,
        });
        let place = u32::try_from(waiter.index()).expect("an id's slot is a u32");
        match self.at(last) {
            Some(before) => before.behind = place,
            None => line.first = place,
        }
        line.last = place;
        self.waiting += 1;
        waiter
    }

    /// Takes a waiter out of his line; he stays in the table.
    pub(crate) fn unline(&mut self, line: &mut Line, waiter: Id) {
        let Some(Waiter { before, behind, .. }) = self.waiters.get_mut(waiter) else {
            return;
        };
        let before = std::mem::replace(before, NOBODY);
        let behind = std::mem::replace(behind, NOBODY);
        self.waiting -= 1;
        match self.at(before) {
            Some(one) => one.behind = behind,
            None => line.first = behind,
        }
        match self.at(behind) {
            Some(one) => one.before = before,
            None => line.last = before,
        }
    }

    /// How many stand in a line.
    pub(crate) fn count(&self, line: Line) -> usize {
        let mut next = line.first;
        let mut count = 0;
        while let Some((_, waiter)) = self.waiters.at(next as usize) {
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

    /// Turns everybody in a line away. Gives the slots to wake, and the messages of other threads.
    pub(crate) fn turn_away(&mut self, line: &mut Line) -> (Vec<WaiterSlot>, Vec<Item<M, R, E>>) {
        let (mut slots, mut outside) = (Vec::new(), Vec::new());
        while let Some((first, _)) = self.first(*line) {
            self.unline(line, first);
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
        (slots, outside)
    }
}
