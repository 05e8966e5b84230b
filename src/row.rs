//! A row of started points of one type: what waiting for an array, a `Vec` or a map stands on.
//!
//! It is apart because "all", "the first" and "as they complete" differ only in what they do when a child ends. Asking every child
//! at each wake-up would cost the square of their number, so a long row gives each child a waker that says who it is, and asks only
//! those that were woken. A short row hands its own waker through: our points then stay on the path without wakers.
//!
//! Invariants:
//! 1. `left` children are `Running`. A child leaves that state once and is never polled again; its future is dropped then.
//! 2. No wake-up is lost: the row's waker is stored before the list of the woken is taken, and a child's mark is cleared before the
//!    child is polled.
//! 3. No waker is woken or dropped, and no child polled or dropped, while the list is locked.
//!
//! ```text
//!   Running ── its poll gives an output ──▶ Done ── taken ──▶ Gone
//! ```

use std::future::Future;
use std::mem;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::coroutine::Co;
use crate::yield_point::YieldPoint;

/// The longest row in which every child is asked at each wake-up.
const SHORT: usize = 32;

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
            left: children.len(),
            children,
            begun: false,
            wakes: None,
            as_woken: false,
        };
        if row.children.len() > SHORT {
            row.wakes = Some(Wakes::new(row.children.len()));
        }
        row
    }

    /// Makes the row poll its children in the order of their wake-ups, however short it is.
    pub(crate) fn poll_as_woken(&mut self) {
        self.as_woken = true;
        self.wakes
            .get_or_insert_with(|| Wakes::new(self.children.len()));
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
        mut ended: impl FnMut(usize) -> ControlFlow<()>,
    ) {
        let begun = mem::replace(&mut self.begun, true);
        let Some(mut wakes) = self.wakes.take() else {
            for index in 0..self.children.len() {
                if self.poll(index, cx) && ended(index).is_break() {
                    return;
                }
            }
            return;
        };
        let mut woken = wakes.take_woken(cx.waker(), !begun);
        if !self.as_woken {
            woken.sort_unstable();
        }
        for &index in &woken {
            let mut cx = Context::from_waker(wakes.listen(index));
            if self.poll(index, &mut cx) && ended(index).is_break() {
                break;
            }
        }
        wakes.spare = woken;
        self.wakes = Some(wakes);
    }

    /// Polls one child. Tells whether it ended by that (keeps invariant 1).
    fn poll(&mut self, index: usize, cx: &mut Context<'_>) -> bool {
        let Child::Running(future) = &mut self.children[index] else {
            return false;
        };
        let Poll::Ready(output) = future.as_mut().poll(cx) else {
            return false;
        };
        self.left -= 1;
        let ended = mem::replace(&mut self.children[index], Child::Done(output));
        drop(ended);
        true
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
struct Wakes {
    /// What the children's wakers write.
    list: Arc<List>,
    /// A waker for each child.
    wakers: Vec<(Arc<ChildWaker>, Waker)>,
    /// The last list taken, kept for its memory.
    spare: Vec<usize>,
}

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
    /// The waker the row was polled with, until it is woken.
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

impl Wakes {
    /// Wakers for so many children.
    fn new(children: usize) -> Self {
        let list = Arc::<List>::default();
        let wakers = (0..children)
            .map(|place| {
                let cell = Arc::new(ChildWaker {
                    place,
                    listed: AtomicBool::new(false),
                    list: Arc::clone(&list),
                });
                (Arc::clone(&cell), Waker::from(cell))
            })
            .collect();
        Wakes {
            list,
            wakers,
            spare: Vec::new(),
        }
    }

    /// Stores whom to tell from now on, and takes the places of who was woken so far; of everybody, if `everybody`.
    fn take_woken(&mut self, row: &Waker, everybody: bool) -> Vec<usize> {
        let row = row.clone();
        let mut places = mem::take(&mut self.spare);
        places.clear();
        if everybody {
            places.extend(0..self.wakers.len());
        }
        let before = {
            let mut woken = self.list.lock();
            if !everybody {
                mem::swap(&mut woken.places, &mut places);
            }
            woken.row.replace(row)
        };
        drop(before);
        places
    }

    /// Clears a child's mark, and gives the waker to poll it with (keeps invariant 2).
    fn listen(&self, place: usize) -> &Waker {
        let (cell, waker) = &self.wakers[place];
        // A swap, so that what a wake-up that found the mark set has written before is seen by the poll.
        cell.listed.swap(false, Ordering::AcqRel);
        waker
    }
}
