//! The places of a table and who has them, apart from what the table keeps there: an id finds out in half a word whether it is stale, and
//! what is asked for often.
//!
//! It is apart because a hundred thousand of these words stay in the cache where what they stand for does not: whoever wakes a
//! coroutine, or looks whether a timer is still to come, need not wait for its row. The rows lie in a list of the table's own, which
//! has as many as there are places here.
//!
//! Invariants:
//! 1. As in an [`Arena`](crate::arena::Arena): one counter gives every tenant its generation, outlives all of them, and wraps.
//! 2. A place without a tenant has the tag [`Tag::VACANT`], and in place of the generation which one is to be taken after it.

use crate::arena::{Id, index_of};

/// The number of places up to which a register keeps its memory.
pub(crate) const KEPT: usize = 1024;

/// What is noted of a tenant.
pub(crate) trait Tag: Copy {
    /// What is noted where nobody is, and of no tenant.
    const VACANT: Self;

    /// Whether nobody is there.
    fn is_vacant(self) -> bool;
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Register<T> {
    /// Every place.
    places: Vec<Place<T>>,
    /// The place to be taken next; the number of places if all are taken.
    vacant: u32,
    /// How many are taken.
    len: usize,
    /// The generation of the next tenant.
    next_generation: u32,
    /// Departures from a sparse register since it was last shrunk.
    sparse_departures: usize,
}

/// One place. Its halves are written and read each by itself.
#[derive(Clone, Copy, Debug)]
struct Place<T> {
    /// See invariant 2.
    generation: u32,
    /// What is noted of the tenant.
    tag: T,
}

impl<T: Tag> Register<T> {
    /// A register without places.
    pub(crate) const fn new() -> Self {
        Register {
            places: Vec::new(),
            vacant: 0,
            len: 0,
            next_generation: 0,
            sparse_departures: 0,
        }
    }

    /// Enters a tenant. Its place is the first beyond the table's rows, or a vacant one among them.
    #[inline]
    pub(crate) fn enter(&mut self, tag: T) -> Id {
        let generation = self.next_generation;
        let index = self.vacant as usize;
        let id = Id::new(index, generation);
        if index == self.places.len() {
            self.grow();
        }
        let place = &mut self.places[index];
        self.vacant = place.generation;
        *place = Place { generation, tag };
        self.next_generation = generation.wrapping_add(1);
        self.len += 1;
        id
    }

    /// Adds a vacant place, after which the next new one is to be taken.
    #[cold]
    fn grow(&mut self) {
        let next = index_of(self.places.len() + 1);
        self.places.push(Place {
            generation: next,
            tag: T::VACANT,
        });
    }

    /// What is noted of this tenant, if he is still here.
    #[inline]
    pub(crate) fn get(&self, id: Id) -> Option<T> {
        let place = self.places.get(id.index())?;
        (place.generation == id.generation() && !place.tag.is_vacant()).then_some(place.tag)
    }

    /// The same, to change. He must not be made vacant so.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let place = self.places.get_mut(id.index())?;
        (place.generation == id.generation() && !place.tag.is_vacant()).then_some(&mut place.tag)
    }

    /// Takes a tenant out who was found to be here. The table asks [`spare`](Register::spare) afterwards.
    #[inline]
    pub(crate) fn leave(&mut self, id: Id) {
        if let Some(place) = self.places.get_mut(id.index()) {
            *place = Place {
                generation: self.vacant,
                tag: T::VACANT,
            };
            self.vacant = id.half();
            self.len -= 1;
        }
    }

    /// How many rows are still needed, where that may be fewer than there are.
    ///
    /// To find out looks at every place, so it waits until a fixed part of them was vacated since the last time: each departure pays for
    /// eight places. An empty register was paid for by those who entered.
    #[inline]
    pub(crate) fn spare(&mut self) -> Option<usize> {
        let capacity = self.places.capacity();
        if capacity <= KEPT || self.len > capacity / 4 {
            return None;
        }
        self.shrink()
    }

    /// Gives back the places above the last tenant, if it is time to.
    #[cold]
    fn shrink(&mut self) -> Option<usize> {
        self.sparse_departures += 1;
        if self.len > 0 && self.sparse_departures < self.places.capacity() / 8 {
            return None;
        }
        self.sparse_departures = 0;
        let last = self.places.iter().rposition(|place| !place.tag.is_vacant());
        self.places.truncate(last.map_or(0, |last| last + 1));
        self.places.shrink_to_fit();
        self.line_up();
        Some(self.places.len())
    }

    /// Lines the vacant places up, the lowest first.
    fn line_up(&mut self) {
        self.vacant = index_of(self.places.len());
        for (index, place) in self.places.iter_mut().enumerate().rev() {
            if place.tag.is_vacant() {
                place.generation = self.vacant;
                self.vacant = index_of(index);
            }
        }
    }

    /// How many tenants there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The tenants, by place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, T)> {
        let places = self.places.iter().enumerate();
        let taken = places.filter(|(_, place)| !place.tag.is_vacant());
        taken.map(|(index, place)| (Id::new(index, place.generation), place.tag))
    }

    /// The number of places for which there is memory.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.places.capacity()
    }

    /// Makes this the generation of the next tenant.
    #[cfg(test)]
    pub(crate) fn set_next_generation(&mut self, generation: u32) {
        self.next_generation = generation;
    }
}
