//! Wakers for foreign futures, made as late as possible.
//!
//! They are apart because they alone must be `Send`: our own points wake a coroutine by its id and never touch one.
//!
//! All coroutines are polled with one common waker. A poll that leaves a clone of it behind makes it that coroutine's own, and the
//! loop goes on with a fresh common one; so a coroutine that awaits only our own points never costs a waker.
//!
//! Invariants:
//! 1. Every clone of the common waker that outlives a poll was made in that poll, by the coroutine that was polled. So the common waker
//!    wakes whoever the loop runs, and whoever left a clone behind has it for his own before anybody else is polled.
//! 2. No wake-up is lost while a waker is adopted: used elsewhere before that, it posts itself, and is used again when the loop takes in
//!    what was posted. A clone in the inbox counts as left behind.
//! 3. `woken` is set from a wake-up from elsewhere until the loop next polls the coroutine: a hundred posts are one. In the loop's own turn
//!    the mark in the coroutine's record does the same, and no locked instruction is needed.
//!
//! ```text
//!   common ── a poll leaves a clone ──▶ own (id set) ── coroutine ended ──▶ stale (its id reaches nobody)
//!      │
//!      └── woken during the poll, no clone left ──▶ the coroutine goes to the back of the queue; still common
//! ```

use std::cell::Cell;
use std::mem::{self, ManuallyDrop};
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Wake, Waker};

use crate::arena::Id;
use crate::inbox::Inbox;
use crate::shared::Shared;

thread_local! {
    /// The loop that is in a turn on this thread, so that a waker used there need not go by way of the inbox. Between turns there is none,
    /// so none is left when the thread ends: without a drop it needs no look whether that has begun.
    static HERE: ManuallyDrop<Cell<Option<Rc<Shared>>>> = const { ManuallyDrop::new(Cell::new(None)) };
    /// Where that loop's inbox is, or null: the question "is it this one?" in one comparison.
    static HERE_INBOX: Cell<*const Inbox<Rc<Shared>>> = const { Cell::new(ptr::null()) };
}

/// Marks a loop as being in a turn on this thread until it is dropped; turns of different loops may nest.
pub(crate) struct InTurn {
    /// Whose turn it is.
    shared: Rc<Shared>,
    /// Whose turn this one interrupts.
    outer: Option<Rc<Shared>>,
}

impl InTurn {
    /// Enters a turn.
    pub(crate) fn enter(shared: &Rc<Shared>) -> Self {
        HERE_INBOX.set(Arc::as_ptr(&shared.inbox));
        InTurn {
            shared: Rc::clone(shared),
            outer: HERE.with(|here| here.replace(Some(Rc::clone(shared)))),
        }
    }
}

impl Drop for InTurn {
    fn drop(&mut self) {
        let outer = self.outer.take();
        let inbox = outer.as_ref().map(|shared| Arc::as_ptr(&shared.inbox));
        HERE_INBOX.set(inbox.unwrap_or(ptr::null()));
        drop(HERE.with(|here| here.replace(outer)));
        self.shared.forget_current_waker();
    }
}

/// What a waker points to.
pub(crate) struct WakeCell {
    /// Whom it wakes; [`Id::NONE`] while it is the common one.
    id: AtomicU64,
    /// Invariant 3.
    woken: AtomicBool,
    /// Where a wake-up from another thread goes.
    inbox: Arc<Inbox<Rc<Shared>>>,
}

impl Wake for WakeCell {
    fn wake(self: Arc<Self>) {
        if let Some(id) = self.id_here() {
            // Before the wake-up, which so is the last thing done here.
            drop(self);
            wake_here(id);
        } else {
            self.wake_there();
        }
    }

    #[inline]
    fn wake_by_ref(self: &Arc<Self>) {
        match self.id_here() {
            Some(id) => wake_here(id),
            None => self.wake_there(),
        }
    }
}

impl WakeCell {
    /// Whom it wakes, as far as is known here.
    #[inline]
    fn id(&self) -> Id {
        Id::from_bits(self.id.load(Ordering::Relaxed))
    }

    /// The same, in a turn of its loop.
    #[inline]
    fn id_here(&self) -> Option<Id> {
        (HERE_INBOX.get() == Arc::as_ptr(&self.inbox)).then(|| self.id())
    }

    /// Wakes from outside of the loop's turn, perhaps from another thread.
    #[inline(never)]
    fn wake_there(self: &Arc<Self>) {
        let id = self.id();
        if id.is_none() {
            // Whoever it is made the own of by now hears of it in the loop.
            let waker = Waker::from(Arc::clone(self));
            let _ = self.inbox.post(move |_: &Rc<Shared>| waker.wake());
        } else if !self.woken.swap(true, Ordering::SeqCst) {
            self.inbox.post_wake(id);
        }
    }
}

/// Wakes a coroutine of the loop that is in a turn here. With the common waker, whose id is none, that is the one which runs.
#[inline]
fn wake_here(id: Id) {
    if id.is_none() {
        here(Shared::give_way);
    } else {
        here(|shared| shared.wake(id));
    }
}

/// Does something with the loop that is in a turn here. It runs nobody's code.
#[inline(never)]
fn here(act: impl FnOnce(&Shared)) {
    HERE.with(|place| {
        let here = place.take();
        if let Some(shared) = &here {
            act(shared);
        }
        // None is there meanwhile: forgetting it saves the look whether it must be dropped.
        mem::forget(place.replace(here));
    });
}

/// A cell with the waker made from it.
pub(crate) struct OwnedWaker {
    /// The loop's end.
    cell: Arc<WakeCell>,
    /// What bodies are polled with.
    waker: Waker,
}

/// How many counts of a cell are the loop's own: `cell` and `waker`.
const OURS: usize = 2;

impl OwnedWaker {
    /// A common waker.
    pub(crate) fn common(inbox: &Arc<Inbox<Rc<Shared>>>) -> Self {
        let cell = Arc::new(WakeCell {
            id: AtomicU64::new(Id::NONE.to_bits()),
            woken: AtomicBool::new(false),
            inbox: Arc::clone(inbox),
        });
        let waker = Waker::from(Arc::clone(&cell));
        OwnedWaker { cell, waker }
    }

    /// What to poll with.
    #[inline]
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// How many clones of it others hold.
    #[inline]
    pub(crate) fn clones(&self) -> usize {
        Arc::strong_count(&self.cell) - OURS
    }

    /// Whether anybody else holds a clone of it.
    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        Arc::strong_count(&self.cell) != OURS
    }

    /// Makes a common waker this coroutine's own. Whoever does not see that yet posts the waker (keeps invariant 2).
    pub(crate) fn adopt(&self, id: Id) {
        self.cell.id.store(id.to_bits(), Ordering::Relaxed);
    }

    /// Reads and clears the mark of a wake-up (keeps invariant 3).
    pub(crate) fn take_woken(&self) -> bool {
        // A mark that is set after this look comes with a wake-up of its own.
        self.cell.woken.load(Ordering::SeqCst) && self.cell.woken.swap(false, Ordering::SeqCst)
    }
}
