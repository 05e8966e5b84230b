//! A table of values, reached by ids that cannot reach the next tenant of a slot.
//!
//! Apart because every table of the runtime is one of these, and all of them need the same answer
//! to "this id is from before": `None`, never a panic and never somebody else's value.
//!
//! Invariants:
//!
//! 1. One counter serves the whole arena and moves on by one at each insertion. A value's
//!    generation is the counter's reading when it went in, so two tenants of a slot differ in it.
//! 2. The counter outlives its values: emptying or shrinking the arena revives no old id.
//! 3. The counter is a `u32` and wraps. A stale id reaches a wrong value only while the slot's tenant
//!    is the one that went in exactly 2³² insertions (or a multiple) after its own. At a million
//!    insertions a second that is one insertion in every 71 minutes, and it must land in the same
//!    slot too; before the first wrap it cannot happen.
//! 4. No value has the index of [`Id::NONE`], or that of [`Id::nothing`].

use std::fmt;

/// The number of slots up to which an arena keeps its memory.
const KEPT: usize = 1024;

/// Names one value of one [`Arena`], and after its removal nothing.
///
/// One word: the slot in the lower half, in the upper half which of the slot's tenants. As two halves it would be written
/// in two stores and read back in one load, which a CPU cannot forward; that would cost a third of a resume.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id(u64);

impl Id {
    /// Names no value of any arena.
    pub(crate) const NONE: Id = Id(u64::MAX);
    /// The bit of the slot's half that no slot has.
    const MARK: u32 = 1 << 31;
    /// The slot, but for the mark, that no value has.
    const NO_SLOT: u32 = Id::MARK - 1;

    /// Names no value either. Whoever keeps other things beside ids tells them by the number, which must fit into half a word.
    #[inline]
    pub(crate) const fn nothing(number: usize) -> Id {
        Id((number as u64) << 32 | Id::NO_SLOT as u64)
    }

    /// The number of an id that [`Id::nothing`] made, where it has the mark.
    #[inline]
    pub(crate) fn which_marked_nothing(self) -> Option<usize> {
        (self.half() == Id::NO_SLOT | Id::MARK).then_some(self.generation() as usize)
    }

    /// The id with a mark, by which whoever keeps ids of two arenas in one place tells them apart. It names no value.
    pub(crate) fn marked(self) -> Id {
        Id(self.0 | u64::from(Id::MARK))
    }

    /// Whether it has the mark.
    #[inline]
    pub(crate) fn is_marked(self) -> bool {
        self.0 & u64::from(Id::MARK) != 0
    }

    /// The id without the mark.
    pub(crate) fn unmarked(self) -> Id {
        Id(self.0 & !u64::from(Id::MARK))
    }

    /// Joins a slot and a generation; panics where the arena has outgrown its ids.
    #[inline]
    pub(crate) fn new(index: usize, generation: u32) -> Id {
        let index = u32::try_from(index)
            .ok()
            .filter(|&index| index < Id::NO_SLOT)
            .expect("an arena holds fewer than 2^31 values");
        Id(u64::from(generation) << 32 | u64::from(index))
    }

    /// The slot, which later tenants share.
    #[inline]
    pub(crate) fn index(self) -> usize {
        self.half() as usize
    }

    /// The slot, as the lower half of the id.
    #[inline]
    pub(crate) fn half(self) -> u32 {
        (self.0 & 0xFFFF_FFFF) as u32
    }

    /// Which of the slot's tenants.
    #[inline]
    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The id as one number, which [`Id::from_bits`] turns back.
    #[inline]
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    /// The id that [`Id::to_bits`] made this number of; any other number is an id of no value.
    #[inline]
    pub(crate) const fn from_bits(bits: u64) -> Id {
        Id(bits)
    }

    /// Whether this is [`Id::NONE`].
    #[inline]
    pub(crate) fn is_none(self) -> bool {
        self == Id::NONE
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({}, {})", self.index(), self.generation())
    }
}

/// Holds values of one kind and gives each an [`Id`].
#[derive(Debug)]
pub(crate) struct Arena<T> {
    /// The values, and the vacant slots between them.
    slots: Vec<Slot<T>>,
    /// The vacant slot to be taken next; the number of slots if none is vacant.
    vacant: u32,
    /// How many values there are.
    len: usize,
    /// The generation of the next value.
    next_generation: u32,
    /// Removals from a sparse arena since it was last shrunk.
    sparse_removals: usize,
}

/// A place for a value. Its fields are written each by itself, so that nothing is put together elsewhere and copied.
#[derive(Debug)]
struct Slot<T> {
    /// The generation of the value; of a vacant slot, which one is to be taken after it.
    mark: u32,
    /// The value, if there is one.
    value: Option<T>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Arena::new()
    }
}

impl<T> Arena<T> {
    /// An arena without values, which has allocated nothing.
    pub(crate) const fn new() -> Self {
        Arena {
            slots: Vec::new(),
            vacant: 0,
            len: 0,
            next_generation: 0,
            sparse_removals: 0,
        }
    }

    /// Puts a value in and names it.
    #[inline]
    pub(crate) fn insert(&mut self, value: T) -> Id {
        self.insert_with(|_| value)
    }

    /// Puts in the value that `make` builds from its own id; if `make` panics, nothing is put in.
    #[inline]
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Id) -> T) -> Id {
        let generation = self.next_generation;
        let index = self.vacant as usize;
        let id = Id::new(index, generation);
        if index == self.slots.len() {
            self.grow();
        }
        let slot = &mut self.slots[index];
        // It was empty: forgetting that saves the look whether it must be dropped.
        std::mem::forget(slot.value.replace(make(id)));
        self.vacant = slot.mark;
        slot.mark = generation;
        self.next_generation = generation.wrapping_add(1);
        self.len += 1;
        id
    }

    /// Adds a vacant slot, after which the next new one is to be taken.
    #[cold]
    fn grow(&mut self) {
        let next = index_of(self.slots.len() + 1);
        self.slots.push(Slot {
            mark: next,
            value: None,
        });
    }

    /// The value of this id, if it is still here.
    #[inline]
    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        let slot = self.slots.get(id.index())?;
        if slot.mark != id.generation() {
            return None;
        }
        slot.value.as_ref()
    }

    /// The value of this id, to change, if it is still here.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.index())?;
        if slot.mark != id.generation() {
            return None;
        }
        slot.value.as_mut()
    }

    /// Takes the value of this id out, if it is still here.
    #[inline]
    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        self.remove_as(id, |value| value)
    }

    /// Takes the value of this id out, if it is still here, and gives what `part` makes of it: only that part is moved.
    #[inline]
    pub(crate) fn remove_as<P>(&mut self, id: Id, part: impl FnOnce(T) -> P) -> Option<P> {
        let slot = self.slots.get_mut(id.index())?;
        if slot.mark != id.generation() {
            return None;
        }
        let part = part(slot.value.take()?);
        slot.mark = self.vacant;
        self.vacant = id.half();
        self.len -= 1;
        if self.is_sparse() {
            self.shrink();
        }
        Some(part)
    }

    /// Whether the value of this id is still here.
    #[inline]
    pub(crate) fn contains(&self, id: Id) -> bool {
        self.get(id).is_some()
    }

    /// The value in this slot, if there is one, with its id.
    #[inline]
    pub(crate) fn at(&self, index: usize) -> Option<(Id, &T)> {
        let slot = self.slots.get(index)?;
        let value = slot.value.as_ref()?;
        Some((Id(u64::from(slot.mark) << 32 | index as u64), value))
    }

    /// The value in this slot, to change, if there is one: for who knows that it is still that of its id.
    #[inline]
    pub(crate) fn at_mut(&mut self, index: usize) -> Option<&mut T> {
        self.slots.get_mut(index)?.value.as_mut()
    }

    /// The number of values.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no value.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The values with their ids, in slot order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let value = slot.value.as_ref()?;
            Some((Id::new(index, slot.mark), value))
        })
    }

    /// Takes every value out, in slot order, and gives all memory back.
    pub(crate) fn take_all(&mut self) -> Vec<T> {
        let slots = std::mem::take(&mut self.slots);
        self.vacate();
        slots.into_iter().filter_map(|slot| slot.value).collect()
    }

    /// Gives all memory back; no value is left.
    fn vacate(&mut self) {
        self.slots = Vec::new();
        self.vacant = 0;
        self.len = 0;
        self.sparse_removals = 0;
    }

    /// Whether at most a quarter of more than a few slots is in use.
    #[inline]
    fn is_sparse(&self) -> bool {
        let capacity = self.slots.capacity();
        capacity > KEPT && self.len <= capacity / 4
    }

    /// Gives back the slots above the highest value, or all of them if there is none.
    ///
    /// A shrink looks at every slot, so it waits until a fixed part of them has been vacated since
    /// the last: each removal pays for eight slots. An empty arena was paid for by its insertions.
    #[cold]
    fn shrink(&mut self) {
        self.sparse_removals += 1;
        if self.len == 0 {
            self.vacate();
        } else if self.sparse_removals >= self.slots.capacity() / 8 {
            self.drop_vacant();
            self.sparse_removals = 0;
        }
    }

    /// Drops the vacant slots above the highest value, and lines the others up again, the lowest first.
    fn drop_vacant(&mut self) {
        let above = |slots: &Vec<Slot<T>>| slots.iter().rposition(|slot| slot.value.is_some());
        self.slots
            .truncate(above(&self.slots).map_or(0, |highest| highest + 1));
        self.slots.shrink_to_fit();
        self.vacant = index_of(self.slots.len());
        for (index, slot) in self.slots.iter_mut().enumerate().rev() {
            if slot.value.is_none() {
                slot.mark = self.vacant;
                self.vacant = index_of(index);
            }
        }
    }

    /// The number of values that fit without a new allocation.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.slots.capacity()
    }
}

/// The index of a slot as it is kept in one.
pub(crate) fn index_of(index: usize) -> u32 {
    u32::try_from(index).expect("an arena holds fewer than 2^31 values")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_is_eight_bytes_and_survives_its_bits() {
        assert_eq!(size_of::<Id>(), 8);
        let id = Id::new(7, 0x8000_0001);
        assert_eq!(id.to_bits(), 0x8000_0001_0000_0007);
        assert_eq!(Id::from_bits(id.to_bits()), id);
        assert_eq!(Id::from_bits(Id::NONE.to_bits()), Id::NONE);
        assert!(Id::NONE.is_none());
        assert!(!id.is_none());
    }

    #[test]
    fn a_stale_id_does_not_reach_the_next_tenant_of_its_slot() {
        let mut arena = Arena::new();
        let old = arena.insert("old");
        assert_eq!(arena.remove(old), Some("old"));
        let new = arena.insert("new");
        assert_eq!(new.index(), old.index());
        assert_eq!(arena.get(old), None);
        assert_eq!(arena.get_mut(old), None);
        assert_eq!(arena.remove(old), None);
        assert!(!arena.contains(old));
        assert_eq!(arena.get(new), Some(&"new"));
        assert_eq!(arena.at(new.index()), Some((new, &"new")));
        assert_eq!(arena.at(1), None);
        assert_eq!(arena.len(), 1);
    }

    #[test]
    fn no_id_and_made_up_ids_reach_nothing() {
        let mut arena = Arena::new();
        arena.insert(1);
        for id in [Id::NONE, Id::from_bits(1), Id::from_bits(1 << 32)] {
            assert_eq!(arena.get(id), None);
            assert_eq!(arena.remove(id), None);
        }
        assert_eq!(arena.len(), 1);
    }

    #[test]
    fn a_value_can_be_built_from_its_own_id() {
        let mut arena = Arena::new();
        let id = arena.insert_with(|id| id);
        assert_eq!(arena.get(id), Some(&id));
    }

    #[test]
    fn a_panicking_maker_leaves_the_arena_as_it_was() {
        let mut arena: Arena<u8> = Arena::new();
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            arena.insert_with(|_| panic!("no value"));
        }));
        assert!(made.is_err());
        assert!(arena.is_empty());
        let id = arena.insert(1);
        assert_eq!(arena.remove(id), Some(1));
    }

    #[test]
    fn the_generation_wraps_without_a_panic() {
        let mut arena = Arena::new();
        arena.next_generation = u32::MAX;
        let last = arena.insert("last");
        let first = arena.insert("first");
        assert_eq!(first.generation(), 0);
        assert_eq!(arena.remove(last), Some("last"));
        assert_eq!(arena.get(first), Some(&"first"));
    }

    #[test]
    fn values_are_seen_and_taken_in_slot_order_and_old_ids_stay_stale() {
        let mut arena = Arena::new();
        let ids: Vec<Id> = ["a", "b", "c"].map(|value| arena.insert(value)).into();
        arena.remove(ids[0]);
        let reused = arena.insert("d");
        let seen: Vec<_> = arena.iter().collect();
        assert_eq!(seen, [(reused, &"d"), (ids[1], &"b"), (ids[2], &"c")]);
        assert_eq!(arena.take_all(), ["d", "b", "c"]);
        assert!(arena.is_empty());
        assert_eq!(arena.capacity(), 0);
        arena.insert("e");
        assert_eq!(arena.get(ids[0]), None);
        assert_eq!(arena.get(reused), None);
    }

    #[test]
    fn an_emptied_arena_gives_its_memory_back_in_either_order_of_removal() {
        for backwards in [false, true] {
            let mut arena = Arena::new();
            let mut ids: Vec<Id> = (0..2000).map(|n| arena.insert(n)).collect();
            assert!(arena.capacity() >= 2000);
            if backwards {
                ids.reverse();
            }
            for id in ids {
                assert!(arena.remove(id).is_some());
            }
            assert!(arena.capacity() <= KEPT, "{} slots", arena.capacity());
        }
    }

    #[test]
    fn a_few_low_values_do_not_hold_the_memory_of_the_rest() {
        let mut arena = Arena::new();
        let ids: Vec<Id> = (0..2000).map(|n| arena.insert(n)).collect();
        for &id in ids[3..].iter().rev() {
            arena.remove(id);
        }
        assert!(arena.capacity() <= KEPT, "{} slots", arena.capacity());
        for (n, &id) in ids[..3].iter().enumerate() {
            assert_eq!(arena.get(id), Some(&n));
        }
        assert_eq!(arena.get(ids[3]), None);
    }

    #[test]
    fn a_small_arena_keeps_its_slots_for_the_next_values() {
        let mut arena = Arena::new();
        for _ in 0..3 {
            let ids: Vec<Id> = (0..32).map(|n| arena.insert(n)).collect();
            for id in ids {
                arena.remove(id);
            }
            assert_eq!(arena.capacity(), 32);
        }
    }

    proptest! {
        #[test]
        fn an_arena_agrees_with_a_list_of_everything_ever_put_in(
            phases in prop::collection::vec((0_usize..300, 0_usize..300, any::<u64>()), 1..12),
        ) {
            let mut arena = Arena::new();
            let mut ever: Vec<(Id, Option<u64>)> = Vec::new();
            for (insertions, removals, seed) in phases {
                for n in 0..insertions as u64 {
                    ever.push((arena.insert(seed ^ n), Some(seed ^ n)));
                }
                let mut pick = seed | 1;
                for _ in 0..removals.min(ever.len()) {
                    pick = pick.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let at = usize::try_from(pick >> 33).unwrap() % ever.len();
                    let (id, value) = &mut ever[at];
                    prop_assert_eq!(arena.remove(*id), value.take());
                }
                for (id, value) in &ever {
                    prop_assert_eq!(arena.get(*id), value.as_ref());
                }
                prop_assert_eq!(arena.len(), ever.iter().filter(|(_, v)| v.is_some()).count());
                prop_assert_eq!(arena.iter().count(), arena.len());
            }
        }
    }
}
