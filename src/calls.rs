//! The queued callbacks: those of one type in a row of their own, so that queueing one costs no allocation.
//!
//! They are apart because the ready queue says only whose turn it is: the row it names has that callback at its front.
//!
//! Invariants:
//! 1. A callback is called, and dropped, with nothing borrowed, and its panic goes no further than its row.
//! 2. A row holds callbacks of one type, oldest first. Once put up it stays: it is reached without a borrow or a count.
//! 3. Callbacks for whose type no place is left wait in boxes, in the row of those.
//!
//! ```text
//!   push ─▶ the row of its type? ── at its place, or at the next one that is free ──▶ [ row ] ─▶ the number of the row
//!              └ all places taken ──▶ boxed ─▶ [ row of boxes ] ───────────────────────────────▶ for the ready queue
//! ```

use std::any::Any;
use std::cell::{OnceCell, RefCell};
use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::fit::Fit;

/// How many types have a row, beside that of boxes.
const ROWS: usize = 64;

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
    /// Each at the place that its type is given by its number, or after it; behind them the row of boxes.
    rows: [OnceCell<Box<dyn Queued<A>>>; ROWS + 1],
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
    fn call(&self, argument: &A) -> Result<(), Panic>;

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
    fn call(&self, argument: &A) -> Result<(), Panic> {
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

impl<A> Default for Calls<A> {
    fn default() -> Self {
        Calls {
            rows: [const { OnceCell::new() }; ROWS + 1],
        }
    }
}

impl<A: 'static> Calls<A> {
    /// Queues a callback. Gives the number of its row.
    #[inline]
    pub(crate) fn push<F: FnOnce(&A) + 'static>(&self, call: F) -> usize {
        let number = Fit::of::<F>().shelf(ROWS);
        if let Some(row) = self.row::<F>(number) {
            row.0.borrow_mut().back.push(call);
            return number;
        }
        self.push_elsewhere(call)
    }

    /// Queues a callback whose row is not at its own place.
    #[cold]
    fn push_elsewhere<F: FnOnce(&A) + 'static>(&self, call: F) -> usize {
        let Some((number, row)) = self.find::<F>() else {
            return self.push_boxed(Box::new(call));
        };
        row.0.borrow_mut().back.push(call);
        number
    }

    /// Queues the oldest of these callbacks, in their order. Gives the number of their row.
    pub(crate) fn append<F>(&self, calls: &mut VecDeque<F>, count: usize) -> usize
    where
        F: FnOnce(&A) + 'static,
    {
        let Some((number, row)) = self.find::<F>() else {
            for call in calls.drain(..count) {
                self.push_boxed(Box::new(call));
            }
            return BOXES;
        };
        let mut queued = row.0.borrow_mut();
        if queued.len() == 0 && queued.back.capacity() > 0 && count == calls.len() {
            let posted = mem::take(calls).into();
            *calls = mem::replace(&mut queued.back, posted).into();
        } else {
            queued.back.extend(calls.drain(..count));
        }
        number
    }

    /// Queues a callback that is in a box already. Gives the number of its row.
    pub(crate) fn push_boxed(&self, call: Boxed<A>) -> usize {
        self.put_up::<Boxed<A>>(BOXES);
        if let Some(row) = self.row::<Boxed<A>>(BOXES) {
            row.0.borrow_mut().back.push(call);
        }
        BOXES
    }

    /// The row with this number, if it is that of the type.
    #[inline]
    fn row<F: 'static>(&self, number: usize) -> Option<&Row<F>> {
        let row: &dyn Any = &**self.rows[number].get()?;
        row.downcast_ref()
    }

    /// The row of a type, with its number. There is none if no place was left for it.
    fn find<F: FnOnce(&A) + 'static>(&self) -> Option<(usize, &Row<F>)> {
        let own = Fit::of::<F>().shelf(ROWS);
        match self.row(own) {
            Some(row) => Some((own, row)),
            None => self.find_elsewhere(own),
        }
    }

    /// The same where it is not at the type's own place: put up now if need be (keeps invariant 2).
    #[cold]
    fn find_elsewhere<F: FnOnce(&A) + 'static>(&self, own: usize) -> Option<(usize, &Row<F>)> {
        let mut places = (own..own + ROWS).map(|place| place % ROWS);
        places.find_map(|number| {
            self.put_up::<F>(number);
            Some((number, self.row(number)?))
        })
    }

    /// Puts a row up in a place that is free.
    fn put_up<F: FnOnce(&A) + 'static>(&self, number: usize) {
        self.rows[number].get_or_init(|| Box::new(Row::<F>::default()));
    }

    /// Calls the oldest callback of a row.
    ///
    /// # Errors
    /// What it panicked with.
    #[inline]
    pub(crate) fn call(&self, number: usize, argument: &A) -> Result<(), Panic> {
        self.rows[number]
            .get()
            .map_or(Ok(()), |row| row.call(argument))
    }

    /// The rows that were put up.
    fn rows(&self) -> impl Iterator<Item = &dyn Queued<A>> {
        self.rows.iter().filter_map(|row| Some(&**row.get()?))
    }

    /// How many callbacks are queued.
    pub(crate) fn len(&self) -> usize {
        self.rows().map(Queued::len).sum()
    }

    /// Takes all callbacks out, to be dropped by the caller one by one.
    pub(crate) fn take_all(&self) -> Vec<Box<dyn Any>> {
        self.rows().flat_map(Queued::take_all).collect()
    }

    /// Gives back what a burst has left.
    pub(crate) fn rest(&self) {
        self.rows().for_each(Queued::rest);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeSet;
    use std::rc::Rc;

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

    /// Pushes one callback of a type that only these numbers have.
    fn push_one<const TENS: usize, const ONES: usize>(calls: &Calls<RefCell<Vec<usize>>>) -> usize {
        calls.push(|log: &RefCell<Vec<usize>>| log.borrow_mut().push(TENS * 10 + ONES))
    }

    /// The function for each of eighty types: more than there are rows.
    macro_rules! of_eighty_types {
        ($($tens:literal)*) => { [$(
            push_one::<$tens, 0>, push_one::<$tens, 1>, push_one::<$tens, 2>, push_one::<$tens, 3>, push_one::<$tens, 4>,
            push_one::<$tens, 5>, push_one::<$tens, 6>, push_one::<$tens, 7>, push_one::<$tens, 8>, push_one::<$tens, 9>,
        )*] };
    }

    #[test]
    fn types_that_meet_at_one_place_do_not_take_each_others_callbacks() {
        let calls = Calls::default();
        let log = RefCell::new(vec![]);
        let pushes: [fn(&_) -> usize; 80] = of_eighty_types!(0 1 2 3 4 5 6 7);
        let push_all = || -> Vec<usize> { pushes.iter().map(|push| push(&calls)).collect() };
        let rows = push_all();
        assert_eq!(push_all(), rows, "a row stays");
        let boxed = rows.iter().filter(|row| **row == BOXES).count();
        let distinct = rows.iter().collect::<BTreeSet<_>>().len();
        assert_eq!((boxed, distinct), (pushes.len() - ROWS, ROWS + 1));
        for row in rows.iter().chain(&rows) {
            calls.call(*row, &log).unwrap();
        }
        let once = (0..pushes.len()).collect::<Vec<_>>();
        assert_eq!(log.take(), [once.clone(), once].concat());
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
            let row = calls.rows.iter().position(|row| {
                let row = row.get();
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
