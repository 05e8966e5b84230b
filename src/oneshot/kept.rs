//! The cells of one type that were taken, kept to be filled again: a one-shot of a type that was there before costs no allocation.
//!
//! It is apart because a cell knows it: what is given back needs no look for its shelf.
//!
//! Invariants:
//! 1. A cell that is kept holds nothing of the user's, and nobody else has it.
//! 2. Memory is bounded: so many bytes of a type.
//! 3. While cells are kept, they and this own each other. The loop's end undoes that, and after it none is kept.
//!
//! ```text
//!   pop, refill ──▶ in use ── taken, and nobody else has it ─▶ push ──▶ kept ──┐
//!        ▲                                                                     │
//!        └─────────────────────────────────────────────────────────────────────┘
//! ```

use std::cell::RefCell;
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
}

impl<T: 'static> Kept<T> {
    /// The shelf of this type, put up if need be.
    pub(super) fn of(shared: &Rc<Shared>) -> Rc<Self> {
        if let Some(shelf) = shared.spares.borrow().share() {
            return shelf;
        }
        let shelf = Rc::new(Kept {
            shared: Rc::clone(shared),
            cells: RefCell::default(),
        });
        if !shared.is_closed() {
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

    /// Keeps a cell that was taken and that nobody else has.
    #[inline]
    pub(super) fn push(cell: &Rc<OneShot<T>>) {
        let kept = Rc::clone(cell);
        let mut cells = cell.shelf.cells.borrow_mut();
        if cells.len() == cells.capacity() && !Self::may_grow(&cell.shelf.shared, cells.len()) {
            return;
        }
        cells.push(kept);
    }

    /// Whether one more may be kept than there is room for as it is.
    #[cold]
    fn may_grow(shared: &Shared, count: usize) -> bool {
        count < KEPT / (size_of::<OneShot<T>>() + BESIDE) && !shared.is_closed()
    }
}

impl<T: 'static> Shelf for Kept<T> {
    fn rest(&self, kept: usize) {
        let mut cells = self.cells.borrow_mut();
        cells.truncate(kept);
        cells.shrink_to(kept);
    }

    fn close(&self) {
        self.cells.take();
    }
}
