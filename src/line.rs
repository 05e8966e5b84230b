//! Those who wait in one line, first come first served, each with room for one value.
//!
//! It is apart because each end of a queue may have to stand in such a line. A place is left from anywhere in it at once, so that
//! somebody who gives up is neither woken nor counted.
//!
//! Invariants:
//! 1. A place is in the line until it is called up or leaves; its key stays valid until it leaves.
//! 2. Nothing of the user's runs in here: values go in and out by move, wakers are not here.
//! 3. Who finds nobody in line takes the seat, if that is free: so the seat comes before all places, and two coroutines that hand values
//!    to each other need no table.

use slab::Slab;

use crate::waiter::WaiterSlot;

/// No place.
const NOBODY: usize = usize::MAX;

/// The key of the seat.
const SEAT: usize = usize::MAX - 1;

/// The line.
#[derive(Debug)]
pub(crate) struct Line<T> {
    /// The place of who came first.
    seat: Place<T>,
    /// The places behind, also those called up that have not left yet.
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
    /// Whether somebody has it.
    phase: Phase,
    /// Who is before it.
    before: usize,
    /// Who is behind it.
    behind: usize,
}

/// How far whoever has a place has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nobody has it.
    Free,
    /// It is in line.
    InLine,
    /// It was called up, or sent away.
    CalledUp,
}

impl<T> Place<T> {
    /// A place that nobody has.
    const FREE: Place<T> = Place {
        slot: WaiterSlot::EMPTY,
        value: None,
        phase: Phase::Free,
        before: NOBODY,
        behind: NOBODY,
    };
}

impl<T> Line<T> {
    /// Nobody waits, and nothing is allocated.
    pub(crate) const fn new() -> Self {
        Line {
            seat: Place::FREE,
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

    /// A place that somebody has.
    #[inline]
    fn get(&mut self, key: usize) -> Option<&mut Place<T>> {
        if key == SEAT {
            (self.seat.phase != Phase::Free).then_some(&mut self.seat)
        } else {
            self.places.get_mut(key)
        }
    }

    /// Takes a place at the end.
    #[inline]
    pub(crate) fn join(&mut self, value: Option<T>) -> usize {
        if self.waiting > 0 || self.seat.phase != Phase::Free {
            return self.join_behind(value);
        }
        // The links of a free seat are as they must be, and its slot is nobody's.
        self.seat.value = value;
        self.seat.phase = Phase::InLine;
        self.first = SEAT;
        self.last = SEAT;
        self.waiting = 1;
        SEAT
    }

    /// The same behind others.
    #[inline(never)]
    fn join_behind(&mut self, value: Option<T>) -> usize {
        let before = self.last;
        let key = self.places.insert(Place {
            value,
            phase: Phase::InLine,
            before,
            ..Place::FREE
        });
        match self.get(before) {
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
        let (place, slot) = self.unlink_first()?;
        Some((std::mem::replace(&mut place.value, given), slot))
    }

    /// Sends the first in line away with what it holds, and gives who is to be woken.
    pub(crate) fn dismiss(&mut self) -> Option<WaiterSlot> {
        let (_, slot) = self.unlink_first()?;
        Some(slot)
    }

    /// Changes who waits in a place that is in line. False if it is not.
    #[inline]
    pub(crate) fn set_slot(&mut self, key: usize, slot: WaiterSlot) -> bool {
        match self.get(key) {
            Some(place) if place.phase == Phase::InLine => {
                place.slot = slot;
                true
            }
            _ => false,
        }
    }

    /// Leaves a place that was called up, or sent away, with the value in it. Of one still in line, gives who waits.
    #[inline]
    pub(crate) fn called_up(&mut self, key: usize) -> Result<Option<T>, WaiterSlot> {
        if key == SEAT && self.seat.phase == Phase::CalledUp {
            self.seat.phase = Phase::Free;
            self.seat.behind = NOBODY;
            return Ok(self.seat.value.take());
        }
        match self.get(key) {
            Some(place) if place.phase == Phase::InLine => Err(place.slot),
            _ => Ok(self.leave(key).and_then(|(_, value)| value)),
        }
    }

    /// Leaves a place, in line or called up, with who waits in it and the value in it.
    #[inline(never)]
    pub(crate) fn leave(&mut self, key: usize) -> Option<(WaiterSlot, Option<T>)> {
        let place = self.get(key)?;
        let (before, behind) = (place.before, place.behind);
        let (slot, value) = (place.slot, place.value.take());
        if place.phase == Phase::InLine {
            self.close_up(before, behind);
        }
        if key == SEAT {
            self.seat.slot = slot.vacated();
            self.seat.phase = Phase::Free;
            self.seat.behind = NOBODY;
        } else {
            self.places.try_remove(key);
        }
        Some((slot, value))
    }

    /// Takes the first place out of the line, and who waits there out of the place.
    #[inline]
    fn unlink_first(&mut self) -> Option<(&mut Place<T>, WaiterSlot)> {
        let key = self.first;
        let place = if key == SEAT && self.waiting == 1 {
            (self.first, self.last, self.waiting) = (NOBODY, NOBODY, 0);
            &mut self.seat
        } else {
            let behind = self.get(key)?.behind;
            self.close_up(NOBODY, behind);
            self.get(key)?
        };
        place.phase = Phase::CalledUp;
        let slot = place.slot;
        place.slot = slot.vacated();
        Some((place, slot))
    }

    /// Joins the two neighbours of a place that leaves the line.
    fn close_up(&mut self, before: usize, behind: usize) {
        match self.get(before) {
            Some(place) => place.behind = behind,
            None => self.first = behind,
        }
        match self.get(behind) {
            Some(place) => place.before = before,
            None => self.last = before,
        }
        self.waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls up one after the other; each was given the number of its turn.
    fn call_all(line: &mut Line<u32>, keys: &[usize]) -> Vec<Option<u32>> {
        let mut turn = 0;
        while line.call_up(Some(turn)).is_some() {
            turn += 1;
        }
        keys.iter()
            .map(|&key| line.called_up(key).expect("it was called up"))
            .collect()
    }

    #[test]
    fn who_waits_alone_takes_the_seat_and_who_comes_behind_is_called_up_behind() {
        let mut line = Line::new();
        for _ in 0..2 {
            let keys = [line.join(None), line.join(None), line.join(None)];
            assert_eq!(keys[0], SEAT);
            assert_eq!(call_all(&mut line, &keys), [Some(0), Some(1), Some(2)]);
            assert!(line.is_empty() && line.places.is_empty());
        }
    }

    #[test]
    fn a_seat_that_was_called_up_and_not_left_is_not_given_to_another() {
        let mut line = Line::new();
        let first = line.join(None);
        line.call_up(Some(7));
        let second = line.join(None);
        assert_ne!(first, second);
        line.call_up(Some(8));
        assert!(matches!(line.called_up(second), Ok(Some(8))));
        assert!(matches!(line.called_up(first), Ok(Some(7))));
        assert_eq!(line.join(None), SEAT);
    }

    #[test]
    fn a_place_is_left_from_the_front_the_middle_and_the_end() {
        for left in 0..3 {
            let mut line = Line::new();
            let mut keys: Vec<usize> = (0..3).map(|n| line.join(Some(n + 10))).collect();
            let (_, value) = line.leave(keys.remove(left)).expect("it was there");
            assert_eq!(value, u32::try_from(left).ok().map(|left| left + 10));
            assert_eq!(call_all(&mut line, &keys), [Some(0), Some(1)]);
            assert!(line.is_empty() && line.places.is_empty());
        }
    }

    #[test]
    fn who_takes_the_seat_anew_has_no_neighbour_of_before() {
        let mut line = Line::new();
        let (first, second) = (line.join(None), line.join(None));
        line.leave(first);
        line.leave(second);
        let keys = [line.join(None)];
        assert_eq!(call_all(&mut line, &keys), [Some(0)]);
    }
}
