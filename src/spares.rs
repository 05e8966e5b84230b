//! What is kept to be used again, a shelf for each type of it: whoever needs one finds the shelf of the type.
//!
//! It is apart because whoever makes a one-shot takes one, and may be anywhere, and no list need know what is on a shelf.
//!
//! Invariants:
//! 1. What is kept holds nothing of the user's.
//! 2. Memory is bounded: so many shelves, and each keeps so many bytes. A type that meets another one's shelf puts its own in that place.
//! 3. A shelf that is not here any more keeps nothing: it and what is on it may own each other.

use std::any::Any;

use crate::fit::Fit;

/// How many types are kept at most.
const SHELVES: usize = 16;

/// How many of one type are kept while the loop rests.
const RESTING: usize = 32;

/// What is kept of one type.
pub(crate) trait Shelf: Any {
    /// Gives back all but so many.
    fn rest(&self, kept: usize);

    /// Gives back all, and keeps none from now on.
    fn close(&self);
}

/// The shelves.
#[derive(Default)]
pub(crate) struct Spares {
    /// By the low bits of the type.
    shelves: [Option<Box<dyn Shelf>>; SHELVES],
}

impl Spares {
    /// The shelf of this type, if there is one.
    #[inline]
    pub(crate) fn find<K: Shelf>(&self) -> Option<&K> {
        let found: &dyn Any = self.shelves[Fit::of::<K>().shelf(SHELVES)].as_deref()?;
        found.downcast_ref()
    }

    /// Puts a shelf in its place, which may have been another one's.
    pub(crate) fn put_up<K: Shelf>(&mut self, new: K) {
        let place = &mut self.shelves[Fit::of::<K>().shelf(SHELVES)];
        if let Some(other) = place.replace(Box::new(new)) {
            other.close();
        }
    }

    /// Gives back what a burst has left: few of a type stay while the loop rests.
    pub(crate) fn rest(&self) {
        for shelf in self.shelves.iter().flatten() {
            shelf.rest(RESTING);
        }
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        for shelf in self.shelves.iter().flatten() {
            shelf.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    /// A shelf that only notes what was asked of it.
    #[derive(Default)]
    struct Noting<const N: usize> {
        resting: Cell<usize>,
        closed: Cell<bool>,
    }

    impl<const N: usize> Shelf for Rc<Noting<N>> {
        fn rest(&self, kept: usize) {
            self.resting.set(kept);
        }

        fn close(&self) {
            self.closed.set(true);
        }
    }

    #[test]
    fn a_shelf_is_found_by_its_own_type_and_by_no_other() {
        let mut spares = Spares::default();
        assert!(spares.find::<Rc<Noting<0>>>().is_none());
        let shelf = Rc::new(Noting::<0>::default());
        spares.put_up(Rc::clone(&shelf));
        assert!(spares.find::<Rc<Noting<1>>>().is_none());
        assert!(spares.find::<Rc<Noting<0>>>().is_some());
        assert!(Rc::ptr_eq(spares.find::<Rc<Noting<0>>>().unwrap(), &shelf));
        spares.rest();
        assert_eq!(shelf.resting.get(), RESTING);
        assert!(!shelf.closed.get());
        drop(spares);
        assert!(shelf.closed.get());
    }

    #[test]
    fn a_shelf_whose_place_is_taken_is_closed() {
        /// Puts up a shelf that is told apart by its number.
        fn put_up<const N: usize>(spares: &mut Spares) -> Rc<dyn Any> {
            let shelf = Rc::new(Noting::<N>::default());
            spares.put_up(Rc::clone(&shelf));
            shelf
        }
        type PutUp = fn(&mut Spares) -> Rc<dyn Any>;
        let mut spares = Spares::default();
        let first = Rc::new(Noting::<0>::default());
        spares.put_up(Rc::clone(&first));
        // More types than there are places: some meet.
        let others = [
            put_up::<1> as PutUp,
            put_up::<2>,
            put_up::<3>,
            put_up::<4>,
            put_up::<5>,
            put_up::<6>,
            put_up::<7>,
            put_up::<8>,
            put_up::<9>,
            put_up::<10>,
            put_up::<11>,
            put_up::<12>,
            put_up::<13>,
            put_up::<14>,
            put_up::<15>,
            put_up::<16>,
        ]
        .map(|put_up| put_up(&mut spares));
        let kept = spares.shelves.iter().flatten().count();
        let held = |shelf: &Rc<dyn Any>| Rc::strong_count(shelf) > 1;
        let held = others.iter().filter(|shelf| held(shelf)).count()
            + usize::from(Rc::strong_count(&first) > 1);
        assert_eq!(held, kept);
        assert_eq!(first.closed.get(), Rc::strong_count(&first) == 1);
    }
}
