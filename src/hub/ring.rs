//! The keys whose turn comes, first to come first: a ring in one piece of memory that both ends go round in.
//!
//! It is apart, and not a `VecDeque`, because a key goes in and out with every message, and here both are written out where they are used.
//!
//! Invariant: there are as many places as a power of two, so that an index is cut to size by a mask.

use crate::arena::Id;

/// The fewest places, once there is one.
const FEWEST: usize = 16;

/// See the module's page.
pub(crate) struct Ring {
    /// The places.
    places: Vec<Id>,
    /// The number of the first key, counted from the beginning.
    first: usize,
    /// The number of the next to come.
    next: usize,
}

impl Ring {
    /// No keys.
    pub(crate) const fn new() -> Self {
        Ring {
            places: Vec::new(),
            first: 0,
            next: 0,
        }
    }

    /// How many keys there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.next.wrapping_sub(self.first)
    }

    /// Whether there is none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first == self.next
    }

    /// Puts a key behind all others.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see the module's page")]
    pub(crate) fn push(&mut self, key: Id) {
        if self.len() == self.places.len() {
            self.grow();
        }
        let mask = self.places.len().wrapping_sub(1);
        if let Some(place) = self.places.get_mut(self.next & mask) {
            *place = key;
            self.next = self.next.wrapping_add(1);
        }
    }

    /// Takes the first key out.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see the module's page")]
    pub(crate) fn pop(&mut self) -> Option<Id> {
        if self.is_empty() {
            return None;
        }
        let mask = self.places.len().wrapping_sub(1);
        let key = *self.places.get(self.first & mask)?;
        self.first = self.first.wrapping_add(1);
        Some(key)
    }

    /// Makes room for twice as many.
    #[cold]
    fn grow(&mut self) {
        let mut places = Vec::with_capacity((2 * self.places.len()).max(FEWEST));
        while let Some(key) = self.pop() {
            places.push(key);
        }
        (self.first, self.next) = (0, places.len());
        places.resize(places.capacity().next_power_of_two(), Id::NONE);
        self.places = places;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn keys_leave_in_the_order_in_which_they_came_however_the_ring_grows_and_wraps() {
        let (mut ring, mut model) = (Ring::new(), VecDeque::new());
        assert_eq!(ring.pop(), None);
        for round in 0..200_u64 {
            for n in 0..round % 37 {
                let key = Id::from_bits(round << 32 | n);
                ring.push(key);
                model.push_back(key);
            }
            for _ in 0..round % 31 {
                assert_eq!(ring.pop(), model.pop_front());
            }
            assert_eq!(
                (ring.len(), ring.is_empty()),
                (model.len(), model.is_empty())
            );
            assert!(ring.places.is_empty() || ring.places.len().is_power_of_two());
        }
        assert!(model.len() > 100);
    }
}
