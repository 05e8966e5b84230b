//! What both ends of a queue share: the values, and who waits in which line.
//!
//! It is apart from the ends because here is decided who gets what; the ends only count themselves and wait.
//!
//! Invariants:
//! 1. A value is handed over, never up for grabs: room goes to the sender who has waited longest, a value to the receiver who has. So a
//!    newcomer, and a `try_`, never passes a waiter.
//! 2. Senders wait only while the queue is full, receivers only while it is empty and no sender waits: so one line serves both.
//! 3. No value is lost: one that did not enter goes back to its sender, one given to a receiver that is dropped before it took it goes
//!    to the next receiver, or back to the front.
//! 4. Handing over marks the waiter ready; who handed over goes on first.
//!
//! ```text
//!   send ─▶ a receiver waits? ── yes ──▶ into its place, it becomes ready
//!              │ no
//!              ├ room? ── yes ──▶ [ items ] ─▶ recv: takes the front; the first waiting sender's value moves up
//!              └ full ──▶ in line, with its value
//! ```

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::error::{Error, Result};
use crate::line::Line;
use crate::shared::Shared;
use crate::site::Site;
use crate::waiter::{Kind, Note, WaiterSlot};

/// What both ends share.
pub(crate) struct Queue<T> {
    /// Where waiters are woken.
    shared: Rc<Shared>,
    /// The most values kept.
    pub(crate) bound: usize,
    /// Where it was made.
    pub(crate) created_at: Site,
    /// The values, and who waits.
    state: RefCell<State<T>>,
    /// How many sending ends there are.
    pub(crate) senders: Cell<usize>,
    /// How many receiving ends there are.
    pub(crate) receivers: Cell<usize>,
}

/// The values, and who waits.
struct State<T> {
    /// What was sent and not received.
    items: VecDeque<T>,
    /// Who waits: senders, with what they send, or receivers, who have a value once they are called up (invariant 2).
    line: Line<T>,
    /// Whether nothing more may enter.
    closed: bool,
}

/// What became of a value that was offered.
pub(crate) enum Offer<T> {
    /// It entered, or was handed over.
    Taken,
    /// There is no room.
    Full(T),
    /// Nothing more may enter.
    Closed(T),
}

/// What became of a frequent way to receive.
pub(crate) enum Received<T> {
    /// It gave the oldest value.
    Value(T),
    /// Whoever polls has taken the seat.
    Seated,
    /// It is not for this queue as it is.
    Otherwise,
}

impl<T> State<T> {
    /// Lets a value enter if it may. Gives who is to be woken if it was handed over.
    #[inline]
    fn offer(&mut self, value: T, bound: usize) -> (Offer<T>, WaiterSlot) {
        if self.closed {
            return (Offer::Closed(value), WaiterSlot::EMPTY);
        }
        if self.line.is_of_receivers() {
            return (Offer::Taken, self.hand_over(value));
        }
        if !self.line.is_empty() || self.items.len() >= bound {
            return (Offer::Full(value), WaiterSlot::EMPTY);
        }
        self.items.push_back(value);
        (Offer::Taken, WaiterSlot::EMPTY)
    }

    /// Gives a value to the first of the receivers who wait. Gives who is to be woken.
    #[inline]
    fn hand_over(&mut self, value: T) -> WaiterSlot {
        let called = self.line.call_up(Some(value));
        called.map_or(WaiterSlot::EMPTY, |(_, slot)| slot)
    }

    /// Takes the oldest value, and lets the first waiting sender's move up. Its waiter is to be woken.
    #[inline]
    fn take(&mut self, bound: usize) -> Option<(T, WaiterSlot)> {
        let front = self.items.pop_front();
        if !self.line.is_of_senders() || (front.is_some() && self.items.len() >= bound) {
            return front.map(|value| (value, WaiterSlot::EMPTY));
        }
        let (moved_up, slot) = self.line.call_up(None)?;
        if front.is_none() {
            return moved_up.map(|value| (value, slot));
        }
        if let Some(value) = moved_up {
            self.items.push_back(value);
        }
        front.map(|value| (value, slot))
    }
}

impl<T> Queue<T> {
    /// An empty queue with one end of each kind.
    pub(crate) fn new(shared: &Rc<Shared>, bound: usize, created_at: Site) -> Rc<Self> {
        Rc::new(Queue {
            shared: Rc::clone(shared),
            bound,
            created_at,
            state: RefCell::new(State {
                items: VecDeque::new(),
                line: Line::new(),
                closed: false,
            }),
            senders: Cell::new(1),
            receivers: Cell::new(1),
        })
    }

    /// Drops what has entered, with nothing borrowed.
    pub(crate) fn clear(&self) {
        let items = std::mem::take(&mut self.state.borrow_mut().items);
        drop(items);
    }

    /// Lets a value enter in the two frequent ways: there is room and nobody waits, or one receiver waits, who gets it.
    ///
    /// # Errors
    /// The value otherwise.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as the polls that it is the most of")]
    pub(crate) fn enter(&self, value: T) -> Result<(), T> {
        let owner = {
            let mut state = self.state.borrow_mut();
            if state.closed {
                return Err(value);
            }
            match state.line.give(value) {
                Ok(owner) => owner,
                Err(value) if state.line.is_empty() && state.items.len() < self.bound => {
                    state.items.push_back(value);
                    return Ok(());
                }
                Err(value) => return Err(value),
            }
        };
        self.shared.wake(owner);
        Ok(())
    }

    /// Lets a value enter if it may, and wakes who gets it.
    #[inline]
    pub(crate) fn offer(&self, value: T) -> Offer<T> {
        let (offer, slot) = self.state.borrow_mut().offer(value, self.bound);
        self.shared.wake_waiter(slot);
        offer
    }

    /// Receives in the two frequent ways: there is a value and nobody waits, or there is none and whoever polls is the first to wait.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as the polls that it is the most of")]
    pub(crate) fn receive(&self, kind: &'static Kind, cx: &Context<'_>, site: Site) -> Received<T> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        if !state.line.is_empty() {
            return Received::Otherwise;
        }
        if let Some(value) = state.items.pop_front() {
            return Received::Value(value);
        }
        if state.closed || !state.line.is_free() {
            return Received::Otherwise;
        }
        let site = Some(site);
        let Some(slot) = self.shared.park_direct(cx, Note { kind, site }) else {
            return Received::Otherwise;
        };
        state.line.sit(slot);
        Received::Seated
    }

    /// Takes the value that was given to who sat alone in line.
    #[inline]
    pub(crate) fn stand_up(&self) -> Option<T> {
        self.state.borrow_mut().line.stand_up()
    }

    /// Takes the oldest value, and wakes the sender whose value moves up.
    #[inline]
    pub(crate) fn take(&self) -> Option<T> {
        let taken = self.state.borrow_mut().take(self.bound);
        let (value, slot) = taken?;
        if slot.is_waiting() {
            self.shared.wake_waiter(slot);
        }
        Some(value)
    }

    /// Takes the oldest value, or `None` at the end; else takes a place in line.
    #[inline]
    pub(crate) fn take_or_join(&self) -> Result<Option<T>, usize> {
        let taken = {
            let mut state = self.state.borrow_mut();
            let none = state.items.is_empty() && !state.line.is_of_senders();
            if none && !state.closed {
                return Err(state.line.join(None));
            }
            state.take(self.bound)
        };
        let Some((value, slot)) = taken else {
            return Ok(None);
        };
        if slot.is_waiting() {
            self.shared.wake_waiter(slot);
        }
        Ok(Some(value))
    }

    /// Takes a place in line with a value for which there was no room.
    pub(crate) fn join(&self, value: T) -> usize {
        let mut state = self.state.borrow_mut();
        state.line.join(Some(value))
    }

    /// Gives a value that its receiver did not take to the next, or back to the front (keeps invariant 3).
    pub(crate) fn give_back(&self, value: T) {
        let slot = {
            let mut state = self.state.borrow_mut();
            if !state.line.is_of_receivers() {
                state.items.push_front(value);
                return;
            }
            state.hand_over(value)
        };
        self.shared.wake_waiter(slot);
    }

    /// Lets nothing more enter, and sends everybody away who waits.
    pub(crate) fn close(&self) {
        self.state.borrow_mut().closed = true;
        loop {
            let slot = self.state.borrow_mut().line.dismiss();
            let Some(slot) = slot else { break };
            self.shared.wake_waiter(slot);
        }
    }

    /// How many values wait to be received.
    pub(crate) fn len(&self) -> usize {
        self.state.borrow().items.len()
    }

    /// Whether nothing more may enter.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.borrow().closed
    }

    /// Parks whoever polls in a place of the line. `Pending` only if the place is still in line; a cancel only then, too.
    pub(crate) fn park(
        &self,
        kind: &'static Kind,
        (key, slot): (usize, WaiterSlot),
        cx: &Context<'_>,
        site: Site,
    ) -> Poll<Option<Error>> {
        // Nothing is borrowed here: the waker that may be cloned is anybody's.
        let site = Some(site);
        if slot.token().is_some() {
            // It wakes nobody while it is in use.
            self.state.borrow_mut().line.set_slot(key, slot.vacated());
        }
        let (slot, cancel) = match self.shared.park(slot, cx, Note { kind, site }) {
            Ok(slot) => (slot, None),
            Err(cancel) => (slot.vacated(), Some(cancel)),
        };
        let waits = self.state.borrow_mut().line.set_slot(key, slot);
        if !waits {
            self.shared.unpark(slot);
            return Poll::Ready(None);
        }
        match cancel {
            None => Poll::Pending,
            cancel => Poll::Ready(cancel),
        }
    }

    /// Leaves a place that was called up, or sent away, with the value in it. Of one still in line, gives who waits.
    #[inline]
    pub(crate) fn called_up(&self, key: usize) -> Result<Option<T>, WaiterSlot> {
        self.state.borrow_mut().line.called_up(key)
    }

    /// Gives a place up, with the value in it.
    pub(crate) fn leave(&self, key: usize) -> Option<T> {
        let left = self.state.borrow_mut().line.leave(key);
        let (slot, value) = left?;
        self.shared.unpark(slot);
        value
    }
}
