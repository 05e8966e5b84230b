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

use crate::arena::Id;
use crate::waiter::WaiterSlot;

/// No place.
const NOBODY: usize = usize::MAX;

/// The key of the seat.
pub(crate) const SEAT: usize = usize::MAX - 1;

/// The line.
#[derive(Debug)]
pub(crate) struct Line<T> {
    /// The place of who came first.
    seat: Place<T>,
    /// The places behind, also those called up that have not left yet.
    places: Slab<Linked<T>>,
    /// The first in line behind the seat.
    first: usize,
    /// The last in line behind the seat.
    last: usize,
}

/// One place.
#[derive(Debug)]
struct Place<T> {
    /// Who waits.
    slot: WaiterSlot,
    /// Who has it.
    tenant: Tenant<T>,
}

/// A place behind the seat.
#[derive(Debug)]
struct Linked<T> {
    /// The place.
    place: Place<T>,
    /// Who is before it.
    before: usize,
    /// Who is behind it.
    behind: usize,
}

/// Who has a place, and how far it has come.
#[derive(Debug)]
enum Tenant<T> {
    /// Nobody.
    Nobody,
    /// A sender whose value was taken, or a receiver that was sent away.
    Without,
    /// A receiver that was called up and given this, or a sender that was sent away with it.
    With(T),
    /// A receiver in line.
    Receiver,
    /// A sender in line, with what it sends.
    Sender(T),
}

impl<T> Tenant<T> {
    /// Whoever waits, with what it holds.
    fn waiting(value: Option<T>) -> Self {
        value.map_or(Tenant::Receiver, Tenant::Sender)
    }

    /// Whoever was called up, with what it holds.
    fn called_up(value: Option<T>) -> Self {
        value.map_or(Tenant::Without, Tenant::With)
    }

    /// Whether it is in line.
    #[inline]
    fn is_in_line(&self) -> bool {
        matches!(self, Tenant::Receiver | Tenant::Sender(_))
    }

    /// What it holds.
    fn value(self) -> Option<T> {
        match self {
            Tenant::Sender(value) | Tenant::With(value) => Some(value),
            Tenant::Nobody | Tenant::Receiver | Tenant::Without => None,
        }
    }
}

impl<T> Line<T> {
    /// Nobody waits, and nothing is allocated.
    pub(crate) const fn new() -> Self {
        Line {
            seat: Place {
                slot: WaiterSlot::EMPTY,
                tenant: Tenant::Nobody,
            },
            places: Slab::new(),
            first: NOBODY,
            last: NOBODY,
        }
    }

    /// Whether nobody is in line.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        !self.seat.tenant.is_in_line() && self.first == NOBODY
    }

    /// Whether nobody is in line, and nobody has the seat: the next who comes may [sit](Line::sit).
    #[inline]
    pub(crate) fn is_free(&self) -> bool {
        matches!(self.seat.tenant, Tenant::Nobody) && self.first == NOBODY
    }

    /// Whether those in line are receivers.
    #[inline]
    pub(crate) fn is_of_receivers(&self) -> bool {
        matches!(self.first_tenant(), Some(Tenant::Receiver))
    }

    /// Whether those in line are senders.
    #[inline]
    pub(crate) fn is_of_senders(&self) -> bool {
        matches!(self.first_tenant(), Some(Tenant::Sender(_)))
    }

    /// The first in line.
    #[inline]
    fn first_tenant(&self) -> Option<&Tenant<T>> {
        if self.seat.tenant.is_in_line() {
            return Some(&self.seat.tenant);
        }
        let linked = self.places.get(self.first)?;
        Some(&linked.place.tenant)
    }

    /// Seats a receiver, where the seat [is free](Line::is_free).
    #[inline]
    pub(crate) fn sit(&mut self, slot: WaiterSlot) {
        // It holds nothing: forgetting it saves the look whether it must be dropped.
        std::mem::forget(std::mem::replace(&mut self.seat.tenant, Tenant::Receiver));
        self.seat.slot = slot;
    }

    /// Gives a value to the receiver who sits in line and is woken by a coroutine's id, and gives that.
    ///
    /// # Errors
    /// The value, if that is not so.
    #[inline]
    pub(crate) fn give(&mut self, value: T) -> Result<Id, T> {
        let seat = &mut self.seat;
        let Tenant::Receiver = seat.tenant else {
            return Err(value);
        };
        let Some(owner) = seat.slot.direct_owner() else {
            return Err(value);
        };
        // That slot stays as it is: it names no waker, and nobody is woken by it again.
        std::mem::forget(std::mem::replace(&mut seat.tenant, Tenant::With(value)));
        Ok(owner)
    }

    /// Leaves the seat with the value that was given.
    #[inline]
    pub(crate) fn stand_up(&mut self) -> Option<T> {
        let Tenant::With(_) = self.seat.tenant else {
            return None;
        };
        match std::mem::replace(&mut self.seat.tenant, Tenant::Nobody) {
            Tenant::With(value) => Some(value),
            _ => None,
        }
    }

    /// Takes a place at the end: a sender with its value, or a receiver.
    pub(crate) fn join(&mut self, value: Option<T>) -> usize {
        let place = Place {
            slot: WaiterSlot::EMPTY,
            tenant: Tenant::waiting(value),
        };
        if self.is_free() {
            self.seat = place;
            return SEAT;
        }
        let before = self.last;
        let key = self.places.insert(Linked {
            place,
            before,
            behind: NOBODY,
        });
        match self.places.get_mut(before) {
            Some(last) => last.behind = key,
            None => self.first = key,
        }
        self.last = key;
        key
    }

    /// A place that somebody has.
    fn get(&mut self, key: usize) -> Option<&mut Place<T>> {
        if key == SEAT {
            (!matches!(self.seat.tenant, Tenant::Nobody)).then_some(&mut self.seat)
        } else {
            self.places.get_mut(key).map(|linked| &mut linked.place)
        }
    }

    /// Calls up the first in line: gives out the value it holds, keeps the one it is given, and gives who is to be woken.
    pub(crate) fn call_up(&mut self, given: Option<T>) -> Option<(Option<T>, WaiterSlot)> {
        let (place, slot) = self.unlink_first()?;
        let before = std::mem::replace(&mut place.tenant, Tenant::called_up(given));
        Some((before.value(), slot))
    }

    /// Sends the first in line away with what it holds, and gives who is to be woken.
    pub(crate) fn dismiss(&mut self) -> Option<WaiterSlot> {
        let (place, slot) = self.unlink_first()?;
        let before = std::mem::replace(&mut place.tenant, Tenant::Without);
        place.tenant = Tenant::called_up(before.value());
        Some(slot)
    }

    /// Changes who waits in a place that is in line. False if it is not.
    pub(crate) fn set_slot(&mut self, key: usize, slot: WaiterSlot) -> bool {
        match self.get(key) {
            Some(place) if place.tenant.is_in_line() => {
                place.slot = slot;
                true
            }
            _ => false,
        }
    }

    /// Leaves a place that was called up, or sent away, with the value in it. Of one still in line, gives who waits.
    pub(crate) fn called_up(&mut self, key: usize) -> Result<Option<T>, WaiterSlot> {
        match self.get(key) {
            Some(place) if place.tenant.is_in_line() => Err(place.slot),
            _ => Ok(self.leave(key).and_then(|(_, value)| value)),
        }
    }

    /// Leaves a place, in line or called up, with who waits in it and the value in it.
    pub(crate) fn leave(&mut self, key: usize) -> Option<(WaiterSlot, Option<T>)> {
        if key == SEAT {
            let seat = self.get(SEAT)?;
            let slot = std::mem::replace(&mut seat.slot, WaiterSlot::EMPTY);
            let tenant = std::mem::replace(&mut seat.tenant, Tenant::Nobody);
            return Some((slot, tenant.value()));
        }
        let linked = self.places.try_remove(key)?;
        if linked.place.tenant.is_in_line() {
            self.close_up(linked.before, linked.behind);
        }
        Some((linked.place.slot, linked.place.tenant.value()))
    }

    /// Takes the first place out of the line, and who waits there out of the place.
    fn unlink_first(&mut self) -> Option<(&mut Place<T>, WaiterSlot)> {
        let place = if self.seat.tenant.is_in_line() {
            &mut self.seat
        } else {
            let key = self.first;
            let behind = self.places.get(key)?.behind;
            self.close_up(NOBODY, behind);
            &mut self.places[key].place
        };
        let slot = place.slot;
        place.slot = slot.vacated();
        Some((place, slot))
    }

    /// Joins the two neighbours of a place that leaves the line.
    fn close_up(&mut self, before: usize, behind: usize) {
        match self.places.get_mut(before) {
            Some(linked) => linked.behind = behind,
            None => self.first = behind,
        }
        match self.places.get_mut(behind) {
            Some(linked) => linked.before = before,
            None => self.last = before,
        }
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
