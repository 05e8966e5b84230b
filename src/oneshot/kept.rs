//! The cells of one type that were taken, kept to be filled again: a one-shot of a type that was there before costs no allocation.
//!
//! It is apart because a cell knows it: what is given back needs no look for its shelf.
//!
//! Invariants:
//! 1. A cell that is kept holds nothing of the user's, and nobody else has it.
//! 2. Memory is bounded: so many bytes of a type.
//! 3. While cells are kept, they and this own each other. Being closed undoes that, and after it none is kept.
//!
//! ```text
//!   pop, refill ──▶ in use ── taken, and nobody else has it ─▶ push ──▶ kept ──┐
//!        ▲                                                                     │
//!        └─────────────────────────────────────────────────────────────────────┘
//! ```

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::OneShot;
use crate::shared::Shared;
use crate::spares::Shelf;

/// How many bytes are kept of one type, with what each cell takes beside.
const KEPT: usize = 256 * 1024;

/// What a cell takes beside what is in it: the two counts of its owners, and the allocator's word.
const BESIDE: usize = 24;

/// See the module's page.
pub(super) struct Kept<T> {
    /// The loop.
    pub(super) shared: Rc<Shared>,
    /// The cells.
    cells: RefCell<Vec<Rc<OneShot<T>>>>,
    /// Whether cells are kept.
    open: Cell<bool>,
}

impl<T: 'static> Kept<T> {
    /// The shelf of this type, put up if need be.
    pub(super) fn of(shared: &Rc<Shared>) -> Rc<Self> {
        let there = shared.spares.borrow().find().cloned();
        if let Some(shelf) = there {
            return shelf;
        }
        let open = !shared.is_closed();
        let shelf = Rc::new(Kept {
            shared: Rc::clone(shared),
            cells: RefCell::default(),
            open: Cell::new(open),
        });
        if open {
            shared.spares.borrow_mut().put_up(Rc::clone(&shelf));
        }
        shelf
    }
}

impl<T> Kept<T> {
    /// Takes a cell out.
    #[inline]
    pub(super) fn pop(&self) -> Option<Rc<OneShot<T>>> {
        self.cells.borrow_mut().pop()
    }

    /// Keeps a cell that was taken, if nobody else has it. What is rare comes last, so that nothing is saved for it.
    #[inline]
    pub(super) fn push(cell: Rc<OneShot<T>>) {
        if Rc::strong_count(&cell) == 1
            && let Err(refused) = cell.shelf.take_in(Rc::clone(&cell))
        {
            drop(refused);
            Kept::push_first(cell);
        }
    }

    /// Keeps a cell if there is room as it is. It cannot panic.
    ///
    /// # Errors
    /// The cell otherwise.
    #[inline]
    fn take_in(&self, cell: Rc<OneShot<T>>) -> Result<(), Rc<OneShot<T>>> {
        let Ok(mut cells) = self.cells.try_borrow_mut() else {
            return Err(cell);
        };
        if cells.len() == cells.capacity() {
            return Err(cell);
        }
        cells.push(cell);
        Ok(())
    }

    /// Keeps a cell for which there is no room as it is.
    #[cold]
    fn push_first(cell: Rc<OneShot<T>>) {
        let shelf = Rc::clone(&cell.shelf);
        let mut cells = shelf.cells.borrow_mut();
        if let Some(more) = shelf.may_grow(cells.len()) {
            // Exactly: what there is room for is kept.
            cells.reserve_exact(more);
            cells.push(cell);
        }
    }

    /// For how many more there is to be room, if more may be kept than these.
    fn may_grow(&self, count: usize) -> Option<usize> {
        let most = KEPT / (size_of::<OneShot<T>>() + BESIDE);
        (self.open.get() && count < most).then(|| (most - count).min(count.max(4)))
    }
}

impl<T: 'static> Shelf for Rc<Kept<T>> {
    fn rest(&self, kept: usize) {
        let mut cells = self.cells.borrow_mut();
        cells.truncate(kept);
        cells.shrink_to(kept);
    }

    fn close(&self) {
        self.open.set(false);
        self.cells.take();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;
    use crate::EventLoop;

    /// A cell whose value was taken.
    fn taken(shared: &Rc<Shared>) -> Rc<OneShot<u8>> {
        let (cell, resolver) = OneShot::new(shared, Location::caller());
        resolver.resolve(7);
        assert_eq!(cell.take_arrived(), Some(7));
        cell
    }

    #[test]
    fn a_cell_is_filled_again_unless_somebody_else_has_it() {
        let event_loop = EventLoop::new().unwrap();
        let shared = event_loop.shared();
        let cell = taken(shared);
        let place = Rc::as_ptr(&cell);
        cell.keep();
        let cell = taken(shared);
        assert_eq!(Rc::as_ptr(&cell), place);
        let other = Rc::clone(&cell);
        cell.keep();
        assert_ne!(Rc::as_ptr(&taken(shared)), Rc::as_ptr(&other));
    }

    #[test]
    fn a_shelf_keeps_so_many_bytes_and_rests_with_few() {
        let event_loop = EventLoop::new().unwrap();
        let shared = event_loop.shared();
        let most = KEPT / (size_of::<OneShot<u8>>() + BESIDE);
        let cells: Vec<_> = (0..most + 3).map(|_| taken(shared)).collect();
        cells.into_iter().for_each(OneShot::keep);
        let shelf = Kept::<u8>::of(shared);
        assert_eq!(shelf.cells.borrow().len(), most);
        shelf.rest(5);
        assert_eq!(shelf.cells.borrow().len(), 5);
    }

    #[test]
    fn a_shelf_of_large_cells_keeps_no_more_bytes() {
        type Large = [u64; KEPT / 3 / 8];
        let event_loop = EventLoop::new().unwrap();
        let shared = event_loop.shared();
        let cells: Vec<_> = (0..4)
            .map(|_| OneShot::<Large>::waiting(shared, Location::caller()))
            .collect();
        cells.into_iter().for_each(OneShot::keep);
        assert_eq!(Kept::<Large>::of(shared).cells.borrow().len(), 2);
    }

    #[test]
    fn a_shelf_that_was_closed_keeps_nothing_and_owns_nothing() {
        let event_loop = EventLoop::new().unwrap();
        let shared = event_loop.shared();
        let [before, after] = [taken(shared), taken(shared)];
        let cells = [&before, &after].map(Rc::downgrade);
        before.keep();
        assert_eq!(cells[0].strong_count(), 1, "it is kept");
        Kept::<u8>::of(shared).close();
        after.keep();
        assert!(cells.iter().all(|cell| cell.strong_count() == 0));
    }
}
