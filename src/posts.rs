//! What other threads posted and the loop has not taken in: callbacks of one type in a row of their own, so that hardly any post costs
//! an allocation that one thread makes and another frees.
//!
//! They are apart from the inbox because they know of no lock and no thread: the inbox says who may touch them, and when.
//!
//! Invariants:
//! 1. What was posted is handed over in the order in which it came, whatever its type: `order` says which row is next.
//! 2. No callback is called or dropped here, so all of this may be done under a lock.
//! 3. A row holds callbacks of one type. It gives its place to another type's only while it is empty.
//! 4. A row that was emptied keeps little memory: what a burst took is given back at once.
//!
//! ```text
//!   push ─▶ the row of its type? ── there, or its place is free ──▶ [ row ] ─┐
//!              └ taken by another type ──▶ boxed ─▶ [ row of boxes ] ────────┤ hand_over, as `order` says
//!   push_wake ─▶ [ wakes ] ──────────────────────────────────────────────────┴──────────▶ Calls, ready queue
//! ```

use std::any::Any;
use std::collections::VecDeque;

use crate::arena::Id;
use crate::calls::{Calls, KEPT};
use crate::fit::Fit;

/// How many types have a row.
const ROWS: usize = 16;

/// The place of the row of boxes.
const BOXES: usize = ROWS;

/// Stands in `order` for the wakes.
const WAKES: usize = ROWS + 1;

/// A posted callback in a box.
type Boxed<A> = Box<dyn FnOnce(&A) + Send>;

/// What was posted. Each callback is to be called with an `&A`.
pub(crate) struct Posts<A> {
    /// Each at the place that its type is given by its number; behind them the row of boxes.
    rows: [Option<Box<dyn Posted<A>>>; ROWS + 1],
    /// The coroutines to be woken.
    wakes: VecDeque<Id>,
    /// From which row how many come next.
    order: Vec<Run>,
}

/// Posts that came one after another and are in the same row.
struct Run {
    /// The place of the row, or [`WAKES`].
    place: usize,
    /// How many.
    count: usize,
}

/// What is handed over.
pub(crate) enum Handed {
    /// A coroutine is to be woken.
    Wake(Id),
    /// Callbacks are at the back of a row of the loop's.
    Calls {
        /// The number of the row.
        row: usize,
        /// How many.
        count: usize,
    },
}

/// Callbacks of one type, oldest first.
struct Row<F>(VecDeque<F>);

/// The same, whatever the type.
trait Posted<A>: Any + Send {
    /// Moves the oldest over to the loop's. Gives the number of their row there.
    fn hand_over(&mut self, count: usize, calls: &Calls<A>) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool;

    /// Takes the oldest out, each by itself.
    fn take(&mut self, count: usize) -> Vec<Box<dyn Any>>;
}

impl<A: 'static, F: FnOnce(&A) + Send + 'static> Posted<A> for Row<F> {
    fn hand_over(&mut self, count: usize, calls: &Calls<A>) -> usize {
        let row = calls.append(&mut self.0, count);
        give_back(&mut self.0);
        row
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, count: usize) -> Vec<Box<dyn Any>> {
        let calls = self.0.drain(..count);
        calls.map(|call| Box::new(call) as Box<dyn Any>).collect()
    }
}

/// Gives back the memory of a queue that is empty and has grown large (keeps invariant 4).
fn give_back<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() && queue.capacity() * size_of::<T>() > KEPT {
        *queue = VecDeque::new();
    }
}

impl<A> Default for Posts<A> {
    fn default() -> Self {
        Posts {
            rows: [const { None }; ROWS + 1],
            wakes: VecDeque::new(),
            order: Vec::new(),
        }
    }
}

impl<A: 'static> Posts<A> {
    /// Adds a callback.
    #[inline]
    pub(crate) fn push<F: FnOnce(&A) + Send + 'static>(&mut self, call: F) {
        self.push_at(Fit::of::<F>().shelf(ROWS), call);
    }

    /// Adds a callback to the row at this place, if that is of its type.
    #[inline]
    fn push_at<F: FnOnce(&A) + Send + 'static>(&mut self, place: usize, call: F) {
        if let Some(row) = self.rows[place].as_deref_mut()
            && let Some(row) = (row as &mut dyn Any).downcast_mut::<Row<F>>()
        {
            row.0.push_back(call);
            self.note(place);
        } else {
            self.push_first(place, call);
        }
    }

    /// Adds a callback that has no row yet (keeps invariant 3).
    #[cold]
    fn push_first<F: FnOnce(&A) + Send + 'static>(&mut self, place: usize, call: F) {
        if self.rows[place].as_ref().is_some_and(|row| !row.is_empty()) {
            return self.push_at::<Boxed<A>>(BOXES, Box::new(call));
        }
        self.rows[place] = Some(Box::new(Row(VecDeque::from([call]))));
        self.note(place);
    }

    /// Adds a coroutine to be woken.
    pub(crate) fn push_wake(&mut self, id: Id) {
        self.wakes.push_back(id);
        self.note(WAKES);
    }

    /// Notes where the latest post is.
    #[inline]
    fn note(&mut self, place: usize) {
        match self.order.last_mut() {
            Some(run) if run.place == place => run.count += 1,
            _ => self.order.push(Run { place, count: 1 }),
        }
    }

    /// Whether there are none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Moves all over to the loop's callbacks, and tells of each in turn. Gives their number.
    pub(crate) fn hand_over(&mut self, calls: &Calls<A>, mut tell: impl FnMut(Handed)) -> usize {
        let mut total = 0;
        for Run { place, count } in self.order.drain(..) {
            total += count;
            if place == WAKES {
                self.wakes
                    .drain(..count)
                    .for_each(|id| tell(Handed::Wake(id)));
            } else if let Some(row) = &mut self.rows[place] {
                let row = row.hand_over(count, calls);
                tell(Handed::Calls { row, count });
            }
        }
        self.give_back();
        total
    }

    /// Takes all callbacks out, to be dropped by the caller one by one, and forgets the wakes.
    pub(crate) fn take_all(&mut self) -> Vec<Box<dyn Any>> {
        let mut all = Vec::new();
        for Run { place, count } in self.order.drain(..) {
            if let Some(Some(row)) = self.rows.get_mut(place) {
                all.extend(row.take(count));
            }
        }
        self.wakes.clear();
        self.give_back();
        all
    }

    /// The part of invariant 4 that no row does.
    fn give_back(&mut self) {
        give_back(&mut self.wakes);
        if self.order.capacity() * size_of::<Run>() > KEPT {
            self.order = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use super::*;

    /// What a post writes.
    type Log = RefCell<Vec<usize>>;

    /// Posts a callback of a type that only this `N` has.
    fn post_one<const N: usize>(posts: &mut Posts<Log>) {
        posts.push(|log: &Log| log.borrow_mut().push(N));
    }

    /// Queues a callback of a type that only this `N` has.
    fn queue_one<const N: usize>(calls: &Calls<Log>) -> usize {
        calls.push(|log: &Log| log.borrow_mut().push(100 + N))
    }

    /// The function for each of twenty types: more than there are rows.
    macro_rules! of_twenty_types {
        ($function:ident: $($n:literal)*) => { [$($function::<$n>),*] };
        ($function:ident) => {
            of_twenty_types!($function: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19)
        };
    }

    /// Hands everything over, calls it, and gives what it wrote; a wake writes the bits of its id.
    fn handed_over(posts: &mut Posts<Log>) -> Vec<usize> {
        let (calls, log, mut handed) = (Calls::default(), Log::default(), vec![]);
        let total = posts.hand_over(&calls, |one| handed.push(one));
        for one in handed {
            match one {
                Handed::Wake(id) => log
                    .borrow_mut()
                    .push(usize::try_from(id.to_bits()).unwrap()),
                Handed::Calls { row, count } => {
                    (0..count).for_each(|_| calls.call(row, &log).unwrap());
                }
            }
        }
        assert_eq!((total, calls.len()), (log.borrow().len(), 0));
        log.into_inner()
    }

    #[test]
    fn posts_of_many_types_and_wakes_keep_their_order() {
        let pushes: [fn(&mut Posts<Log>); 20] = of_twenty_types!(post_one);
        let mut posts = Posts::default();
        for _ in 0..2 {
            let mut expected = vec![];
            // Each number comes alone, then twice in a row.
            for times in [1, 2] {
                for (number, push) in pushes.iter().enumerate() {
                    (0..times).for_each(|_| push(&mut posts));
                    expected.extend([number].repeat(times));
                }
                posts.push_wake(Id::from_bits(1000));
                expected.push(1000);
            }
            assert!(
                posts.rows[BOXES]
                    .as_ref()
                    .is_some_and(|row| !row.is_empty())
            );
            assert_eq!(handed_over(&mut posts), expected);
            assert!(posts.is_empty());
        }
    }

    #[test]
    fn posts_keep_their_order_where_callbacks_of_the_loop_have_their_places() {
        let queues: [fn(&Calls<Log>) -> usize; 20] = of_twenty_types!(queue_one);
        let pushes: [fn(&mut Posts<Log>); 20] = of_twenty_types!(post_one);
        let (mut posts, calls, log) = (Posts::default(), Calls::default(), Log::default());
        let mut rows: Vec<usize> = queues.iter().map(|queue| queue(&calls)).collect();
        for push in pushes {
            push(&mut posts);
        }
        post_one::<0>(&mut posts);
        posts.hand_over(&calls, |one| {
            if let Handed::Calls { row, count } = one {
                rows.extend([row].repeat(count));
            }
        });
        for row in rows {
            calls.call(row, &log).unwrap();
        }
        let expected = (100..120).chain(0..20).chain([0]);
        assert_eq!(log.into_inner(), expected.collect::<Vec<_>>());
    }

    #[test]
    fn what_is_taken_out_is_not_called_and_is_dropped_by_who_took_it() {
        let mut posts = Posts::default();
        let owner = Arc::new(());
        for _ in 0..3 {
            let held = Arc::clone(&owner);
            posts.push(move |_: &Log| drop(held));
        }
        posts.push_wake(Id::from_bits(1));
        let taken = posts.take_all();
        assert_eq!((taken.len(), Arc::strong_count(&owner)), (3, 4));
        assert!(posts.is_empty());
        drop(taken);
        assert_eq!(Arc::strong_count(&owner), 1);
        assert_eq!(handed_over(&mut posts), [0; 0]);
    }

    #[test]
    fn a_burst_leaves_little_memory_and_few_posts_leave_theirs_to_the_next() {
        /// The bytes of the row of this type.
        fn kept<F: FnOnce(&Log) + Send + 'static>(posts: &Posts<Log>, _: &F) -> usize {
            let row = posts.rows[Fit::of::<F>().shelf(ROWS)].as_deref().unwrap();
            let row = (row as &dyn Any).downcast_ref::<Row<F>>().unwrap();
            row.0.capacity() * size_of::<F>()
        }
        let call = |number: usize| move |log: &Log| log.borrow_mut().push(number);
        let mut posts = Posts::default();
        for (count, keeps) in [(100, true), (100_000, false), (100, true)] {
            (0..count).for_each(|number| posts.push(call(number)));
            assert!(kept(&posts, &call(0)) >= count * size_of::<usize>());
            assert_eq!(handed_over(&mut posts).len(), count);
            assert_eq!(kept(&posts, &call(0)) > 0, keeps);
            assert!(kept(&posts, &call(0)) <= KEPT);
        }
    }
}
