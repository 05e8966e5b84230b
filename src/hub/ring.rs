//! The turns to come, first to come first: each with the key whose turn it is and the message that is handled in it.
//!
//! The message is here, and not in its key's queue, because nearly every message is the only one of its key: it goes in and out with the
//! turn, and no queue is touched. It is apart, and not a `VecDeque`, because that happens with every message, and here both ends are
//! written out where they are used.
//!
//! Invariants:
//! 1. There are as many places as a power of two, so that a number is cut to an index by a mask.
//! 2. A turn keeps its number until it comes, however the ring grows: its key finds it by that.
//! 3. A turn whose message was taken out otherwise keeps its place, for the next message of its key.
//! 4. The memory of a burst is given back when the last turn has come.

use crate::arena::Id;
use crate::hub::message::{Item, Place};
use crate::ordered_queue::Asker;
use crate::timers::Nanos;

/// The fewest places, once there is one.
const FEWEST: usize = 16;

/// The number of places that are kept when no turn is to come.
const KEPT: usize = 1024;

/// One turn.
struct Turn<M, R, E> {
    /// Whose.
    key: Id,
    /// The message.
    place: Place<M, R, E>,
}

/// A turn that has come: its key, and its message unless that was taken out.
pub(crate) type Taken<M, R, E> = (Id, Option<Item<M, R, E>>);

/// See the module's page.
pub(crate) struct Ring<M, R, E> {
    /// The places.
    places: Vec<Turn<M, R, E>>,
    /// The number of the first turn, counted from the beginning.
    first: usize,
    /// The number of the next to be given.
    next: usize,
}

impl<M, R, E> Ring<M, R, E> {
    /// No turns.
    pub(crate) const fn new() -> Self {
        Ring {
            places: Vec::new(),
            first: 0,
            next: 0,
        }
    }

    /// How many turns were ever given.
    pub(crate) fn given(&self) -> usize {
        self.next
    }

    /// Begins to count at this number. There is no turn yet.
    #[cfg(test)]
    pub(super) fn begin_at(&mut self, number: usize) {
        (self.first, self.next) = (number, number);
    }

    /// How many turns there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.next.wrapping_sub(self.first)
    }

    /// Whether there is none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first == self.next
    }

    /// Gives a key a turn behind all others, with its message. Gives the turn's number, cut to what tells it from the others.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see the module's page")]
    pub(crate) fn push(
        &mut self,
        key: Id,
        message: M,
        asker: Asker<R, E>,
        weighed: (usize, Nanos),
    ) -> u32 {
        if self.len() == self.places.len() {
            self.grow();
        }
        let number = self.next;
        let mask = self.places.len().wrapping_sub(1);
        if let Some(turn) = self.places.get_mut(number & mask) {
            turn.key = key;
            turn.place.put(message, asker, weighed);
            self.next = number.wrapping_add(1);
        }
        cut(number)
    }

    /// Takes the first turn.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see the module's page")]
    pub(crate) fn pop(&mut self) -> Option<Taken<M, R, E>> {
        if self.is_empty() {
            self.rest();
            return None;
        }
        let mask = self.places.len().wrapping_sub(1);
        let turn = self.places.get_mut(self.first & mask)?;
        self.first = self.first.wrapping_add(1);
        Some((turn.key, turn.place.take()))
    }

    /// The number of the turn that was taken last.
    pub(crate) fn taken_last(&self) -> u32 {
        cut(self.first.wrapping_sub(1))
    }

    /// Where the message of a turn lies, by the turn's number.
    pub(crate) fn place(&self, number: u32) -> Option<&Place<M, R, E>> {
        let mask = self.places.len().wrapping_sub(1);
        let turn = self.places.get(number as usize & mask)?;
        Some(&turn.place)
    }

    /// The same, to change.
    pub(crate) fn place_mut(&mut self, number: u32) -> Option<&mut Place<M, R, E>> {
        let mask = self.places.len().wrapping_sub(1);
        let turn = self.places.get_mut(number as usize & mask)?;
        Some(&mut turn.place)
    }

    /// Makes room for twice as many.
    #[cold]
    fn grow(&mut self) {
        let places = (2 * self.places.len()).max(FEWEST);
        assert!(u32::try_from(places).is_ok(), "fewer than 2^32 turns");
        let mut grown = Vec::with_capacity(places);
        grown.resize_with(places, || Turn {
            key: Id::NONE,
            place: Place::FREE,
        });
        let mask = self.places.len().wrapping_sub(1);
        for n in 0..self.len() {
            let number = self.first.wrapping_add(n);
            std::mem::swap(
                &mut grown[number & (places - 1)],
                &mut self.places[number & mask],
            );
        }
        self.places = grown;
    }

    /// Gives back the memory of a burst (keeps invariant 4).
    #[cold]
    fn rest(&mut self) {
        if self.places.len() > KEPT {
            self.places = Vec::new();
        }
    }
}

/// The part of a number that tells the turns in the ring from each other.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "said above")]
fn cut(number: usize) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A ring whose messages are numbers.
    type Numbers = Ring<u64, (), ()>;

    /// Takes a turn: its key, and its message.
    fn pop(ring: &mut Numbers) -> Option<(Id, Option<u64>)> {
        let (key, item) = ring.pop()?;
        Some((key, item.map(|item| item.message)))
    }

    #[test]
    fn turns_come_in_order_and_keep_their_numbers_however_the_ring_grows_and_wraps() {
        let (mut ring, mut model) = (Numbers::new(), VecDeque::new());
        assert_eq!(pop(&mut ring), None);
        for round in 0..200_u64 {
            for n in 0..round % 37 {
                let key = Id::from_bits(round << 32 | n);
                let number = ring.push(key, n, None, (0, round));
                model.push_back((number, (key, Some(n))));
            }
            for (number, (_, message)) in &mut model {
                let place = ring.place_mut(*number).expect("its turn is to come");
                assert_eq!(place.is_free(), message.is_none());
                if (*number + 1).is_multiple_of(5) && message.is_some() {
                    // It is dropped, and keeps its place.
                    assert_eq!(place.take().map(|item| item.message), message.take());
                }
            }
            for _ in 0..round % 31 {
                let first = model.pop_front();
                assert_eq!(pop(&mut ring), first.map(|(_, turn)| turn));
                assert!(first.is_none_or(|(number, _)| ring.taken_last() == number));
            }
            assert_eq!(
                (ring.len(), ring.is_empty()),
                (model.len(), model.is_empty())
            );
            assert!(ring.places.is_empty() || ring.places.len().is_power_of_two());
        }
        assert!(model.len() > 100);
    }

    #[test]
    fn the_memory_of_a_burst_is_given_back_and_a_little_is_kept() {
        let mut ring = Numbers::new();
        for (burst, kept) in [(KEPT + 1, 0), (KEPT, KEPT)] {
            for n in 0..burst {
                let number = ring.push(Id::NONE, 0, None, (n, 0));
                let place = ring.place(number).expect("it is here");
                assert_eq!(place.weighed(), Some((n, 0)));
            }
            while ring.pop().is_some() {}
            assert_eq!(ring.places.len(), kept);
        }
    }
}
