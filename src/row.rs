//! A row of started points of one type: what waiting for an array, a `Vec` or a map stands on.
//!
//! It is apart because "all", "the first" and "as they complete" differ only in what they do when a child ends. Asking every child
//! at each wake-up would cost the square of their number, so a long row gives each child a waker that says who it is, and asks only
//! those that were woken. A short row hands its own waker through: our points then stay on the path without wakers.
//!
//! Invariants:
//! 1. `left` children are `Running`. A child leaves that state once and is never polled again; its future is dropped then.
//! 2. No wake-up is lost: the row is parked before the list of the woken is taken, a child's mark is cleared before the child is
//!    polled, and the list is looked at again when the row's waker is kept, after the polls.
//! 3. No waker is woken or dropped, and no child polled or dropped, while the list is locked.
//!
//! ```text
//!   Running ── its poll gives an output ──▶ Done ── taken ──▶ Gone
//! ```

use std::cell::Cell;
use std::future::Future;
use std::mem;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::cleanup::Shield;
use crate::coroutine::Co;
use crate::shared::Shared;
use crate::waiter::{Note, Parent, WaiterSlot};
use crate::yield_point::YieldPoint;

/// The longest row in which every child is asked at each wake-up.
const SHORT: usize = 32;

/// How a point ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// By itself.
    Itself,
    /// In a poll in which a cancel was delivered to it, or to a point inside it.
    Cancelled,
}

impl Ended {
    /// Polls a point, and says how it ended if it did.
    #[inline]
    pub(crate) fn watch<R>(shared: &Shared, poll: impl FnOnce() -> R) -> (R, Ended) {
        let before = shared.cancels.get();
        let polled = poll();
        let how = if shared.cancels.get() == before {
            Ended::Itself
        } else {
            Ended::Cancelled
        };
        (polled, how)
    }
}

/// One started point.
enum Child<F: Future> {
    /// It has not ended.
    Running(Pin<Box<F>>),
    /// It has ended; its output is still to be taken.
    Done(F::Output),
    /// Its output was taken.
    Gone,
}

/// See the module's page.
pub(crate) struct Row<F: Future> {
    /// The loop.
    shared: Rc<Shared>,
    /// The children, in order.
    children: Vec<Child<F>>,
    /// How many have not ended.
    left: usize,
    /// Whether every child has been polled once.
    begun: bool,
    /// Who was woken, in a row that keeps count of it.
    wakes: Option<Wakes>,
    /// Whether the woken are polled in the order of their wake-ups, not of the row.
    as_woken: bool,
}

/// The children are boxed, and outputs are never pinned.
impl<F: Future> Unpin for Row<F> {}

impl<F: Future> Row<F> {
    /// Starts the points, in order.
    pub(crate) fn start<P>(points: impl IntoIterator<Item = P>, co: &Co) -> Self
    where
        P: YieldPoint<Started = F, Output = F::Output>,
    {
        let children: Vec<_> = points
            .into_iter()
            .map(|point| Child::Running(Box::pin(point.start(co))))
            .collect();
        let mut row = Row {
            shared: Rc::clone(co.handle().shared()),
            left: children.len(),
            children,
            begun: false,
            wakes: None,
            as_woken: false,
        };
        if row.children.len() > SHORT {
            row.wakes = Some(Wakes::new(row.children.len(), &row.shared));
        }
        row
    }

    /// Makes the row poll its children in the order of their wake-ups, however short it is.
    pub(crate) fn poll_as_woken(&mut self) {
        self.as_woken = true;
        self.wakes
            .get_or_insert_with(|| Wakes::new(self.children.len(), &self.shared));
    }

    /// How many children the row was made of.
    pub(crate) fn len(&self) -> usize {
        self.children.len()
    }

    /// How many children have not ended.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Polls the children that may have moved, each at most once. `ended` hears of each that ends, and may break that off for good.
    pub(crate) fn advance(
        &mut self,
        cx: &mut Context<'_>,
        mut ended: impl FnMut(usize, Ended) -> ControlFlow<()>,
    ) {
        let begun = mem::replace(&mut self.begun, true);
        let Some(mut wakes) = self.wakes.take() else {
            for index in 0..self.children.len() {
                if let Some(how) = self.poll(index, cx)
                    && ended(index, how).is_break()
                {
                    return;
                }
            }
            return;
        };
        let mut woken = wakes.take_woken(cx, !begun);
        if !self.as_woken {
            woken.sort_unstable();
        }
        for &index in &woken {
            if let Some(how) = wakes.poll(index, |cx| self.poll(index, cx))
                && ended(index, how).is_break()
            {
                break;
            }
        }
        wakes.wait(cx);
        wakes.spare = woken;
        self.wakes = Some(wakes);
    }

    /// Polls one child. Tells how it ended, if it did (keeps invariant 1).
    fn poll(&mut self, index: usize, cx: &mut Context<'_>) -> Option<Ended> {
        let Child::Running(future) = &mut self.children[index] else {
            return None;
        };
        let (polled, how) = Ended::watch(&self.shared, || future.as_mut().poll(cx));
        let Poll::Ready(output) = polled else {
            return None;
        };
        self.left -= 1;
        let ended = mem::replace(&mut self.children[index], Child::Done(output));
        drop(ended);
        Some(how)
    }

    /// Takes the output of a child that has ended.
    pub(crate) fn take(&mut self, index: usize) -> F::Output {
        match mem::replace(&mut self.children[index], Child::Gone) {
            Child::Done(output) => output,
            _ => unreachable!("only a child that has ended is asked for its output, and once"),
        }
    }

    /// Takes the outputs of all children, which have ended.
    pub(crate) fn take_all(&mut self) -> Vec<F::Output> {
        (0..self.children.len())
            .map(|index| self.take(index))
            .collect()
    }
}

/// Which children of a row were woken since it was last polled.
///
/// Our own points wake a child through [`Parent`], on the loop's thread and without a waker. What else a child awaits wakes it through
/// its waker: only while there is such a clone is the row's own waker kept, so that a row nobody can wake is known to be stuck.
struct Wakes {
    /// What the children's wakers write, and whom our points wake.
    seat: Rc<Seat>,
    /// A waker for each child, made from its cell.
    wakers: Vec<Waker>,
    /// Whether somebody foreign held a clone of it when the child was polled last.
    foreign: Vec<bool>,
    /// How many of those there are.
    foreigners: usize,
    /// The last list taken, kept for its memory.
    spare: Vec<usize>,
}

/// Where the row is parked for its children.
struct Seat {
    /// The loop.
    shared: Rc<Shared>,
    /// Whom a child of ours wakes.
    slot: Cell<WaiterSlot>,
    /// The cells of the children's wakers.
    cells: Vec<Arc<ChildWaker>>,
    /// What they write.
    list: Arc<List>,
}

/// How many counts of a cell are the row's own: its place in the seat, and its waker.
const OURS: usize = 2;

/// What the wakers of a row's children share.
#[derive(Default)]
struct List {
    /// What they write.
    woken: Mutex<Woken>,
}

/// The woken children, and whom to tell.
#[derive(Default)]
struct Woken {
    /// Their places, in the order of their wake-ups.
    places: Vec<usize>,
    /// The waker the row was polled with, if a foreign clone of a child's waker is about, until it is woken.
    row: Option<Waker>,
}

impl List {
    /// The list, whatever has panicked meanwhile: it is never left half written.
    fn lock(&self) -> MutexGuard<'_, Woken> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a child's waker points to.
struct ChildWaker {
    /// The child's place in the row.
    place: usize,
    /// Whether it is in the list.
    listed: AtomicBool,
    /// The list.
    list: Arc<List>,
}

impl Wake for ChildWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.listed.swap(true, Ordering::AcqRel) {
            return;
        }
        let row = {
            let mut woken = self.list.lock();
            woken.places.push(self.place);
            woken.row.take()
        };
        if let Some(row) = row {
            row.wake();
        }
    }
}

impl Parent for Seat {
    fn woken(&self, place: usize) {
        self.cells[place].wake_by_ref();
        let slot = self.slot.get();
        self.slot.set(slot.vacated());
        self.shared.wake_waiter(slot);
    }
}

impl Wakes {
    /// Wakers for so many children.
    fn new(children: usize, shared: &Rc<Shared>) -> Self {
        let list = Arc::<List>::default();
        let cells: Vec<_> = (0..children)
            .map(|place| {
                Arc::new(ChildWaker {
                    place,
                    listed: AtomicBool::new(false),
                    list: Arc::clone(&list),
                })
            })
            .collect();
        let wakers = cells
            .iter()
            .map(|cell| Waker::from(Arc::clone(cell)))
            .collect();
        let seat = Rc::new(Seat {
            shared: Rc::clone(shared),
            slot: Cell::new(WaiterSlot::EMPTY),
            cells,
            list,
        });
        Wakes {
            seat,
            wakers,
            foreign: vec![false; children],
            foreigners: 0,
            spare: Vec::new(),
        }
    }

    /// Parks the row, and takes the places of who was woken so far; of everybody, if `everybody`.
    fn take_woken(&mut self, cx: &Context<'_>, everybody: bool) -> Vec<usize> {
        let Seat {
            shared, slot, list, ..
        } = &*self.seat;
        {
            // A cancel is for the children to deliver.
            let _shield = Shield::raise(shared);
            let before = slot.replace(slot.get().vacated());
            let parked = shared.park(before, cx, Note::FOREIGN);
            slot.set(parked.unwrap_or(before.vacated()));
        }
        let mut places = mem::take(&mut self.spare);
        places.clear();
        if everybody {
            places.extend(0..self.wakers.len());
        } else {
            mem::swap(&mut list.lock().places, &mut places);
        }
        places
    }

    /// Polls a child with its waker. Its mark is cleared before (keeps invariant 2).
    fn poll(
        &mut self,
        place: usize,
        poll: impl FnOnce(&mut Context<'_>) -> Option<Ended>,
    ) -> Option<Ended> {
        let cell = &self.seat.cells[place];
        // A swap, so that what a wake-up that found the mark set has written before is seen by the poll.
        cell.listed.swap(false, Ordering::AcqRel);
        let waker = &self.wakers[place];
        let ended = self.seat.shared.poll_child(waker, &self.seat, place, poll);
        let foreign = ended.is_none() && Arc::strong_count(cell) > OURS;
        let before = mem::replace(&mut self.foreign[place], foreign);
        self.foreigners = self.foreigners + usize::from(foreign) - usize::from(before);
        ended
    }

    /// Keeps the row's waker if there are foreigners now who might wake a child, and looks whether one was woken during the polls
    /// (keeps invariant 2).
    fn wait(&self, cx: &Context<'_>) {
        let row = (self.foreigners > 0).then(|| cx.waker().clone());
        // Pairs with the release of a clone that another thread woke and dropped within the poll.
        fence(Ordering::Acquire);
        let (before, missed) = {
            let mut woken = self.seat.list.lock();
            let before = mem::replace(&mut woken.row, row);
            (before, !woken.places.is_empty())
        };
        drop(before);
        if missed {
            cx.waker().wake_by_ref();
        }
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        let slot = &self.seat.slot;
        slot.set(self.seat.shared.unpark(slot.get()));
        let row = self.seat.list.lock().row.take();
        drop(row);
    }
}
