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
    /// With fewer tenants it is sparse: with at most a quarter of more than a few places. None for one that is never.
    sparse_below: usize,
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
    #[inline]
    pub(crate) const fn new() -> Self {
        Register {
            places: Vec::new(),
            vacant: 0,
            len: 0,
            next_generation: 0,
            sparse_below: 0,
            sparse_departures: 0,
        }
    }

    /// Enters a tenant. Its place is the first beyond the table's rows, or a vacant one among them.
    #[inline]
    pub(crate) fn enter(&mut self, tag: T) -> Id {
        let generation = self.next_generation;
        let id = Id::new(self.vacant as usize, generation);
        let taken = Place { generation, tag };
        if let Some(place) = self.places.get_mut(id.index()) {
            self.vacant = place.generation;
            *place = taken;
        } else {
            self.grow(taken);
        }
        self.next_generation = generation.wrapping_add(1);
        self.len += 1;
        id
    }

    /// Adds a place, after which the next new one is to be taken.
    #[cold]
    fn grow(&mut self, taken: Place<T>) {
        self.places.push(taken);
        self.vacant = index_of(self.places.len());
        self.measure();
    }

    /// Notes when it is sparse, after its memory has changed.
    fn measure(&mut self) {
        let capacity = self.places.capacity();
        self.sparse_below = if capacity > KEPT { capacity / 4 + 1 } else { 0 };
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

    /// Takes a tenant out, if he is here and this is noted of him. The table calls [`shrink`](Register::shrink) afterwards, if
    /// the register is [sparse](Register::is_sparse).
    #[inline]
    pub(crate) fn leave_as(&mut self, id: Id, tag: T) -> bool
    where
        T: PartialEq,
    {
        let place = self.places.get(id.index());
        let is_so =
            place.is_some_and(|place| place.generation == id.generation() && place.tag == tag);
        if is_so {
            self.vacate(id);
        }
        is_so
    }

    /// Takes a tenant out, if he is here. Gives what was noted of him.
    #[inline]
    pub(crate) fn leave(&mut self, id: Id) -> Option<T> {
        let tag = self.get(id)?;
        self.vacate(id);
        Some(tag)
    }

    /// Makes a place vacant.
    #[inline]
    fn vacate(&mut self, id: Id) {
        self.places[id.index()] = Place {
            generation: self.vacant,
            tag: T::VACANT,
        };
        self.vacant = id.half();
        self.len -= 1;
    }

    /// Whether at most a quarter of more than a few places is taken.
    #[inline]
    pub(crate) fn is_sparse(&self) -> bool {
        self.len < self.sparse_below
    }

    /// Gives back the places above the last tenant, if it is time to. Gives how many rows are still needed then.
    ///
    /// To find out looks at every place, so it waits until a fixed part of them was vacated since the last time: each departure pays for
    /// eight places. An empty register was paid for by those who entered.
    #[cold]
    pub(crate) fn shrink(&mut self) -> Option<usize> {
        self.sparse_departures += 1;
        if self.len > 0 && self.sparse_departures < self.places.capacity() / 8 {
            return None;
        }
        self.sparse_departures = 0;
        let last = self.places.iter().rposition(|place| !place.tag.is_vacant());
        self.places.truncate(last.map_or(0, |last| last + 1));
        self.places.shrink_to_fit();
        self.line_up();
        self.measure();
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

    /// The vacant places, the one that was left last first.
    pub(crate) fn vacant(&self) -> impl Iterator<Item = usize> {
        let at = |place: u32| self.places.get(place as usize).map(|_| place);
        let next = move |&place: &u32| at(self.places[place as usize].generation);
        std::iter::successors(at(self.vacant), next).map(|place| place as usize)
    }

    /// Takes all out, and gives all memory back.
    pub(crate) fn clear(&mut self) {
        self.places = Vec::new();
        self.vacant = 0;
        self.len = 0;
        self.sparse_below = 0;
        self.sparse_departures = 0;
    }

    /// How many tenants there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The generation of the next tenant.
    #[inline]
    pub(crate) fn next_generation(&self) -> u32 {
        self.next_generation
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Tag for u8 {
        const VACANT: u8 = 0;

        fn is_vacant(self) -> bool {
            self == 0
        }
    }

    #[test]
    fn a_place_is_one_word() {
        assert_eq!(size_of::<Place<u32>>(), 8);
    }

    #[test]
    fn a_stale_id_finds_neither_the_next_tenant_of_its_place_nor_the_vacant_one() {
        let mut register = Register::new();
        let old = register.enter(1);
        let other = register.enter(2);
        assert_eq!(register.leave(old), Some(1));
        assert_eq!(register.get(old), None);
        assert_eq!(register.get(Id::new(0, 2)), None, "the next vacant place");
        let new = register.enter(3);
        assert_eq!(new.index(), old.index());
        assert_eq!((register.get(old), register.get(new)), (None, Some(3)));
        assert_eq!(register.get_mut(old), None);
        assert_eq!(register.leave(old), None);
        let here: Vec<_> = register.iter().collect();
        assert_eq!(here, [(new, 3), (other, 2)]);
    }

    #[test]
    fn who_leaves_as_what_he_is_not_stays() {
        let mut register = Register::new();
        let id = register.enter(1);
        assert!(!register.leave_as(id, 2));
        assert_eq!(register.get(id), Some(1));
        assert!(register.leave_as(id, 1));
        assert!(!register.leave_as(id, 1));
        assert_eq!(register.len(), 0);
    }

    #[test]
    fn the_generation_wraps_without_a_panic() {
        let mut register = Register::new();
        register.set_next_generation(u32::MAX);
        let last = register.enter(1);
        let first = register.enter(2);
        assert_eq!(first.generation(), 0);
        assert_eq!(
            (register.get(last), register.get(first)),
            (Some(1), Some(2))
        );
    }

    #[test]
    fn an_emptied_register_gives_its_memory_back_in_either_order() {
        for backwards in [false, true] {
            let mut register = Register::new();
            let mut ids: Vec<Id> = (0..2000).map(|_| register.enter(1)).collect();
            assert!(register.capacity() >= 2000);
            if backwards {
                ids.reverse();
            }
            let mut rows = 2000;
            for id in ids {
                register.leave(id);
                if register.is_sparse() {
                    rows = register.shrink().unwrap_or(rows);
                }
            }
            assert!(
                register.capacity() <= KEPT,
                "{} places",
                register.capacity()
            );
            assert!(rows <= KEPT, "{rows} rows");
        }
    }

    #[test]
    fn a_small_register_keeps_its_places() {
        let mut register = Register::new();
        for _ in 0..3 {
            let ids: Vec<Id> = (0..32).map(|_| register.enter(1)).collect();
            for id in ids {
                register.leave(id);
                assert!(!register.is_sparse());
            }
            assert_eq!(register.capacity(), 32);
        }
    }

    proptest! {
        #[test]
        fn a_register_agrees_with_a_list_of_everybody_who_ever_entered(
            phases in prop::collection::vec((0_usize..300, 0_usize..300, any::<u64>()), 1..12),
        ) {
            let mut register = Register::new();
            let mut ever: Vec<(Id, Option<u8>)> = Vec::new();
            let mut rows = 0;
            for (entries, departures, seed) in phases {
                for n in 0..entries {
                    let tag = u8::try_from(n % 255).unwrap() + 1;
                    let id = register.enter(tag);
                    rows = rows.max(id.index() + 1);
                    ever.push((id, Some(tag)));
                }
                let mut pick = seed | 1;
                for _ in 0..departures.min(ever.len()) {
                    pick = pick.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let at = usize::try_from(pick >> 33).unwrap() % ever.len();
                    let (id, tag) = &mut ever[at];
                    prop_assert_eq!(register.leave(*id), tag.take());
                    if register.is_sparse() {
                        rows = register.shrink().unwrap_or(rows);
                    }
                }
                for (id, tag) in &ever {
                    prop_assert_eq!(register.get(*id), *tag);
                    prop_assert!(tag.is_none() || id.index() < rows);
                }
                prop_assert_eq!(register.iter().count(), register.len());
            }
        }
    }
}
