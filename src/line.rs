//! Those who wait in one line, first come first served, each with room for one value.
//!
//! It is apart because both ends of a queue stand in such a line. A place is left from anywhere in it at once, so that somebody who
//! gives up is neither woken nor counted.
//!
//! Invariants:
//! 1. A place is in the line until it is called up or leaves; its key stays valid until it leaves.
//! 2. Nothing of the user's runs in here: values go in and out by move, wakers are not here.

use slab::Slab;

use crate::waiter::WaiterSlot;

/// No place.
const NOBODY: usize = usize::MAX;

/// The line.
#[derive(Debug)]
pub(crate) struct Line<T> {
    /// The places, also those called up that have not left yet.
    places: Slab<Place<T>>,
    /// The first in line.
    first: usize,
    /// The last in line.
    last: usize,
    /// How many are in line.
    waiting: usize,
}

/// One place.
#[derive(Debug)]
struct Place<T> {
    /// Who waits.
    slot: WaiterSlot,
    /// What a sender holds, or what a receiver was given.
    value: Option<T>,
    /// Whether it is still in line.
    in_line: bool,
    /// Who is before it.
    before: usize,
    /// Who is behind it.
    behind: usize,
}

impl<T> Line<T> {
    /// Nobody waits, and nothing is allocated.
    pub(crate) const fn new() -> Self {
        Line {
            places: Slab::new(),
            first: NOBODY,
            last: NOBODY,
            waiting: 0,
        }
    }

    /// How many are in line.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Takes a place at the end.
    pub(crate) fn join(&mut self, value: Option<T>) -> usize {
        let key = self.places.insert(Place {
            slot: WaiterSlot::EMPTY,
            value,
            in_line: true,
            before: self.last,
            behind: NOBODY,
        });
        match self.places.get_mut(self.last) {
            Some(last) => last.behind = key,
            None => self.first = key,
        }
        self.last = key;
        self.waiting += 1;
        key
    }

    /// Calls up the first in line: gives out the value it holds, keeps the one it is given, and gives who is to be woken.
    #[inline]
    pub(crate) fn call_up(&mut self, given: Option<T>) -> Option<(Option<T>, WaiterSlot)> {
        let key = self.first;
        let slot = self.dismiss()?;
        let held = std::mem::replace(&mut self.places[key].value, given);
        Some((held, slot))
    }

    /// Whether a place is still in line.
    pub(crate) fn is_waiting(&self, key: usize) -> bool {
        self.places.get(key).is_some_and(|place| place.in_line)
    }

    /// Who waits in a place.
    pub(crate) fn slot(&self, key: usize) -> WaiterSlot {
        self.places
            .get(key)
            .map_or(WaiterSlot::EMPTY, |place| place.slot)
    }

    /// Changes who waits in a place.
    pub(crate) fn set_slot(&mut self, key: usize, slot: WaiterSlot) {
        if let Some(place) = self.places.get_mut(key) {
            place.slot = slot;
        }
    }

    /// Leaves a place, in line or called up, with the value in it.
    pub(crate) fn leave(&mut self, key: usize) -> Option<T> {
        if self.is_waiting(key) {
            self.unlink(key);
        }
        self.places.try_remove(key)?.value
    }

    /// Sends the first in line away with what it holds, and gives who is to be woken.
    pub(crate) fn dismiss(&mut self) -> Option<WaiterSlot> {
        let key = self.first;
        self.places.get(key)?;
        self.unlink(key);
        let place = &mut self.places[key];
        let slot = place.slot;
        place.slot = slot.vacated();
        Some(slot)
    }

    /// Takes a place out of the line.
    fn unlink(&mut self, key: usize) {
        let place = &mut self.places[key];
        let (before, behind) = (place.before, place.behind);
        place.in_line = false;
        match self.places.get_mut(before) {
            Some(place) => place.behind = behind,
            None => self.first = behind,
        }
        match self.places.get_mut(behind) {
            Some(place) => place.before = before,
            None => self.last = before,
        }
        self.waiting -= 1;
    }
}
