//! The queued callbacks: those of one type in a row of their own, so that queueing one costs no allocation.
//!
//! They are apart because the ready queue says only whose turn it is: the row it names has that callback at its front.
//!
//! Invariants:
//! 1. A callback is called, and dropped, with nothing borrowed, and its panic goes no further than its row.
//! 2. A row holds callbacks of one type, oldest first. It gives its place to another type's only while it is empty.
//! 3. Callbacks for which there is no row wait in boxes, in a row of those.
//!
//! ```text
//!   push ─▶ the row of its type? ── there, or its place is free ──▶ [ row ] ─▶ the number of the row, for the ready queue
//!              └ taken by another type ──▶ boxed ─▶ [ boxes ] ─────────────┘
//! ```

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::iter;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::fit::Fit;

/// How many types have a row.
pub(crate) const ROWS: usize = 16;

/// The number of the row of boxes.
const BOXES: usize = ROWS;

/// How many bytes a row keeps while the loop rests.
pub(crate) const KEPT: usize = 16 * 1024;

/// A callback in a box.
pub(crate) type Boxed<A> = Box<dyn FnOnce(&A)>;

/// What a callback panicked with.
type Panic = Box<dyn Any + Send>;

/// The queued callbacks. Each is called with an `&A`.
pub(crate) struct Calls<A> {
    /// Each at the place that its type is given by its number; behind them the row of boxes.
    rows: RefCell<[Option<Rc<dyn Queued<A>>>; ROWS + 1]>,
    /// What fits into none of them.
    boxes: Rc<Row<Boxed<A>>>,
}

/// Callbacks of one type.
struct Row<F>(RefCell<Line<F>>);

/// Callbacks in their order. They are taken out of one list and put into another, and only where several came are these exchanged.
struct Line<F> {
    /// Those who came first, the oldest at the end.
    front: Vec<F>,
    /// Those who came after them.
    back: Vec<F>,
}

/// The same, whatever the type.
trait Queued<A>: Any {
    /// Calls the oldest.
    ///
    /// # Errors
    /// What it panicked with.
    fn call(self: Rc<Self>, argument: &A) -> Result<(), Panic>;

    /// How many there are.
    fn len(&self) -> usize;

    /// Takes all out, each by itself.
    fn take_all(&self) -> Vec<Box<dyn Any>>;

    /// Gives back much memory that is not in use.
    fn rest(&self);
}

impl<F> Line<F> {
    /// Takes the oldest out.
    #[inline]
    fn pop(&mut self) -> Option<F> {
        if self.front.is_empty() {
            if self.back.len() == 1 {
                return self.back.pop();
            }
            self.turn_over();
        }
        self.front.pop()
    }

    /// Makes those who came after the others the first.
    #[inline(never)]
    fn turn_over(&mut self) {
        mem::swap(&mut self.front, &mut self.back);
        self.front.reverse();
    }

    /// How many there are.
    fn len(&self) -> usize {
        self.front.len() + self.back.len()
    }
}

impl<F> Default for Row<F> {
    fn default() -> Self {
        let (front, back) = (Vec::new(), Vec::new());
        Row(RefCell::new(Line { front, back }))
    }
}

impl<A, F: FnOnce(&A) + 'static> Queued<A> for Row<F> {
    fn call(self: Rc<Self>, argument: &A) -> Result<(), Panic> {
        let oldest = self.0.borrow_mut().pop();
        let Some(call) = oldest else { return Ok(()) };
        catch_unwind(AssertUnwindSafe(|| call(argument)))
    }

    fn len(&self) -> usize {
        self.0.borrow().len()
    }

    fn take_all(&self) -> Vec<Box<dyn Any>> {
        let Line { front, back } = self.0.replace(Line {
            front: Vec::new(),
            back: Vec::new(),
        });
        let calls = front.into_iter().rev().chain(back);
        calls.map(|call| Box::new(call) as Box<dyn Any>).collect()
    }

    fn rest(&self) {
        let Line { front, back } = &mut *self.0.borrow_mut();
        for list in [front, back] {
            if list.is_empty() && list.capacity() * size_of::<F>() > KEPT {
                *list = Vec::new();
            }
        }
    }
}

impl<A: 'static> Default for Calls<A> {
    fn default() -> Self {
        let boxes = Rc::new(Row::default());
        let mut rows = [const { None }; ROWS + 1];
        rows[BOXES] = Some(Rc::clone(&boxes) as Rc<dyn Queued<A>>);
        Calls {
            rows: RefCell::new(rows),
            boxes,
        }
    }
}

impl<A: 'static> Calls<A> {
    /// Queues a callback. Gives the number of its row.
    #[inline]
    pub(crate) fn push<F: FnOnce(&A) + 'static>(&self, call: F) -> usize {
        let number = Fit::of::<F>().shelf(ROWS);
        let rows = self.rows.borrow_mut();
        if let Some(row) = rows[number].as_deref()
            && let Some(row) = (row as &dyn Any).downcast_ref::<Row<F>>()
        {
            row.0.borrow_mut().back.push(call);
            return number;
        }
        drop(rows);
        self.push_first(number, iter::once(call))
    }

    /// Queues the oldest of these callbacks, in their order. Gives the number of their row.
    pub(crate) fn append<F>(&self, calls: &mut VecDeque<F>, count: usize) -> usize
    where
        F: FnOnce(&A) + 'static,
    {
        let number = Fit::of::<F>().shelf(ROWS);
        let rows = self.rows.borrow();
        if let Some(row) = rows[number].as_deref()
            && let Some(row) = (row as &dyn Any).downcast_ref::<Row<F>>()
        {
            let mut queued = row.0.borrow_mut();
            if queued.len() == 0 && count == calls.len() {
                let posted = mem::take(calls).into();
                *calls = mem::replace(&mut queued.back, posted).into();
            } else {
                queued.back.extend(calls.drain(..count));
            }
            return number;
        }
        drop(rows);
        self.push_first(number, calls.drain(..count))
    }

    /// Queues callbacks of a type that has no row yet (keeps invariant 2).
    #[cold]
    fn push_first<F: FnOnce(&A) + 'static>(
        &self,
        number: usize,
        calls: impl Iterator<Item = F>,
    ) -> usize {
        let mut rows = self.rows.borrow_mut();
        let taken = rows[number].as_ref().is_some_and(|row| row.len() > 0);
        if taken {
            drop(rows);
            for call in calls {
                self.push_boxed(Box::new(call));
            }
            return BOXES;
        }
        let row = Row::default();
        row.0.borrow_mut().back.extend(calls);
        // The row before held nothing: its drop runs nobody's code.
        rows[number] = Some(Rc::new(row));
        number
    }

    /// Queues a callback that is in a box already. Gives the number of its row.
    pub(crate) fn push_boxed(&self, call: Boxed<A>) -> usize {
        self.boxes.0.borrow_mut().back.push(call);
        BOXES
    }

    /// Calls the oldest callback of a row.
    ///
    /// # Errors
    /// What it panicked with.
    #[inline]
    pub(crate) fn call(&self, number: usize, argument: &A) -> Result<(), Panic> {
        let row = self.rows.borrow_mut()[number].clone();
        row.map_or(Ok(()), |row| row.call(argument))
    }

    /// How many callbacks are queued.
    pub(crate) fn len(&self) -> usize {
        let rows = self.rows.borrow();
        rows.iter().flatten().map(|row| row.len()).sum()
    }

    /// Takes all callbacks out, to be dropped by the caller one by one.
    pub(crate) fn take_all(&self) -> Vec<Box<dyn Any>> {
        let rows = self.rows.borrow();
        rows.iter()
            .flatten()
            .flat_map(|row| row.take_all())
            .collect()
    }

    /// Gives back what a burst has left.
    pub(crate) fn rest(&self) {
        let rows = self.rows.borrow();
        rows.iter().flatten().for_each(|row| row.rest());
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn callbacks_of_one_type_are_called_in_their_order_and_each_once() {
        let calls = Calls::<Cell<u32>>::default();
        let rows: Vec<usize> = [1, 2, 3]
            .map(|n| calls.push(move |sum: &Cell<u32>| sum.set(sum.get() * 10 + n)))
            .into();
        assert_eq!(calls.len(), 3);
        let sum = Cell::new(0);
        for row in rows {
            calls.call(row, &sum).unwrap();
        }
        assert_eq!((sum.get(), calls.len()), (123, 0));
        calls.call(BOXES, &sum).unwrap();
        assert_eq!(sum.get(), 123);
    }

    /// Pushes one callback of a type that only this `N` has.
    fn push_one<const N: usize>(calls: &Calls<RefCell<Vec<usize>>>) -> usize {
        calls.push(|log: &RefCell<Vec<usize>>| log.borrow_mut().push(N))
    }

    #[test]
    fn types_that_meet_at_one_place_do_not_take_each_others_callbacks() {
        let calls = Calls::default();
        let log = RefCell::new(vec![]);
        // More types than there are rows: some meet.
        let pushes: [fn(&_) -> usize; 20] = [
            push_one::<0>,
            push_one::<1>,
            push_one::<2>,
            push_one::<3>,
            push_one::<4>,
            push_one::<5>,
            push_one::<6>,
            push_one::<7>,
            push_one::<8>,
            push_one::<9>,
            push_one::<10>,
            push_one::<11>,
            push_one::<12>,
            push_one::<13>,
            push_one::<14>,
            push_one::<15>,
            push_one::<16>,
            push_one::<17>,
            push_one::<18>,
            push_one::<19>,
        ];
        for _ in 0..2 {
            let rows: Vec<usize> = pushes.iter().map(|push| push(&calls)).collect();
            assert!(rows.contains(&BOXES), "{rows:?}");
            for row in rows {
                calls.call(row, &log).unwrap();
            }
            assert_eq!(log.take(), (0..20).collect::<Vec<_>>());
        }
        // Alone, each gets a row.
        for push in pushes {
            let row = push(&calls);
            assert_ne!(row, BOXES);
            calls.call(row, &log).unwrap();
        }
        assert_eq!(log.take(), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_callback_may_queue_its_own_type_while_it_is_called() {
        fn again(calls: &Rc<Calls<Cell<u32>>>, left: u32) -> usize {
            let queue = Rc::clone(calls);
            calls.push(move |count: &Cell<u32>| {
                count.set(count.get() + 1);
                if left > 0 {
                    again(&queue, left - 1);
                }
            })
        }
        let calls = Rc::new(Calls::default());
        let count = Cell::new(0);
        let row = again(&calls, 5);
        while calls.len() > 0 {
            calls.call(row, &count).unwrap();
        }
        assert_eq!(count.get(), 6);
    }

    #[test]
    fn callbacks_that_come_while_others_are_called_keep_their_order() {
        let calls = Calls::default();
        let log = RefCell::new(vec![]);
        let mut next = 0;
        for (pushed, called) in [(1, 1), (3, 1), (2, 2), (0, 1), (1, 2), (4, 4)] {
            for n in next..next + pushed {
                calls.push(move |log: &RefCell<Vec<usize>>| log.borrow_mut().push(n));
            }
            next += pushed;
            let row = calls.rows.borrow().iter().position(|row| {
                let row = row.as_ref();
                row.is_some_and(|row| row.len() > 0)
            });
            for _ in 0..called {
                calls.call(row.unwrap(), &log).unwrap();
            }
        }
        assert_eq!(*log.borrow(), (0..11).collect::<Vec<_>>());
        assert_eq!(calls.len(), 0);
    }

    #[test]
    fn a_panic_is_given_out_and_the_row_goes_on() {
        let calls = Calls::<()>::default();
        let row = calls.push(|()| panic!("boom"));
        let panic = calls.call(row, &()).expect_err("it panics");
        assert_eq!(panic.downcast_ref(), Some(&"boom"));
        assert!(calls.call(row, &()).is_ok(), "nothing is queued");
    }

    #[test]
    fn what_is_taken_out_is_not_called() {
        let calls = Calls::<()>::default();
        let owner = Rc::new(());
        let held = Rc::clone(&owner);
        let row = calls.push(move |()| drop(held));
        let held = Rc::clone(&owner);
        calls.push_boxed(Box::new(move |()| drop(held)));
        let taken = calls.take_all();
        assert_eq!(
            (taken.len(), calls.len(), Rc::strong_count(&owner)),
            (2, 0, 3)
        );
        drop(taken);
        assert_eq!(Rc::strong_count(&owner), 1);
        calls.call(row, &()).unwrap();
    }
}
