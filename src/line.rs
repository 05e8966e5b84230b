//! Those who wait in one line, first come first served, each with room for one value.
//!
//! It is apart because each end of a queue may have to stand in such a line. A place is left from anywhere in it at once, so that somebody who
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

    /// Whether nobody is in line.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Takes a place at the end.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "from two places, and hot")]
    pub(crate) fn join(&mut self, value: Option<T>) -> usize {
        let before = self.last;
        let key = self.places.insert(Place {
            slot: WaiterSlot::EMPTY,
            value,
            in_line: true,
            before,
            behind: NOBODY,
        });
        if self.waiting == 0 {
            self.first = key;
        } else {
            self.places[before].behind = key;
        }
        self.last = key;
        self.waiting += 1;
        key
    }

    /// Calls up the first in line: gives out the value it holds, keeps the one it is given, and gives who is to be woken.
    #[inline]
    pub(crate) fn call_up(&mut self, given: Option<T>) -> Option<(Option<T>, WaiterSlot)> {
        let (place, slot) = self.unlink_first()?;
        Some((std::mem::replace(&mut place.value, given), slot))
    }

    /// Sends the first in line away with what it holds, and gives who is to be woken.
    pub(crate) fn dismiss(&mut self) -> Option<WaiterSlot> {
        let (_, slot) = self.unlink_first()?;
        Some(slot)
    }

    /// Changes who waits in a place that is in line. False if it is not.
    pub(crate) fn set_slot(&mut self, key: usize, slot: WaiterSlot) -> bool {
        match self.places.get_mut(key) {
            Some(place) if place.in_line => {
                place.slot = slot;
                true
            }
            _ => false,
        }
    }

    /// Leaves a place that was called up, or sent away, with the value in it. Of one still in line, gives who waits.
    #[inline]
    pub(crate) fn called_up(&mut self, key: usize) -> Result<Option<T>, WaiterSlot> {
        match self.places.get(key) {
            Some(place) if place.in_line => Err(place.slot),
            _ => Ok(self.places.try_remove(key).and_then(|place| place.value)),
        }
    }

    /// Leaves a place, in line or called up, with who waits in it and the value in it.
    pub(crate) fn leave(&mut self, key: usize) -> Option<(WaiterSlot, Option<T>)> {
        let place = self.places.try_remove(key)?;
        if place.in_line {
            self.close_up(place.before, place.behind);
        }
        Some((place.slot, place.value))
    }

    /// Takes the first place out of the line, and who waits there out of the place.
    #[inline]
    fn unlink_first(&mut self) -> Option<(&mut Place<T>, WaiterSlot)> {
        let key = self.first;
        let place = self.places.get_mut(key)?;
        place.in_line = false;
        self.first = place.behind;
        match self.places.get_mut(self.first) {
            Some(next) => next.before = NOBODY,
            None => self.last = NOBODY,
        }
        self.waiting -= 1;
        let place = &mut self.places[key];
        let slot = place.slot;
        place.slot = slot.vacated();
        Some((place, slot))
    }

    /// Joins the two neighbours of a place that is not in line any more.
    fn close_up(&mut self, before: usize, behind: usize) {
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
