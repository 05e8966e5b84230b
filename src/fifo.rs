//! What both ends of a queue share: the values, and who waits in which line.
//!
//! It is apart from the ends because here is decided who gets what; the ends only count themselves and wait.
//!
//! Invariants:
//! 1. A value is handed over, never up for grabs: room goes to the sender who has waited longest, a value to the receiver who has. So a
//!    newcomer, and a `try_`, never passes a waiter.
//! 2. Senders wait only while the queue is full, receivers only while it is empty and no sender waits.
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

static SEND: Kind = Kind("queue send");
static RECEIVE: Kind = Kind("queue recv");

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
    /// Who waits for room, with what it sends.
    senders: Line<T>,
    /// Who waits for a value; called up, it has one.
    receivers: Line<T>,
    /// Whether nothing more may enter.
    closed: bool,
}

/// What became of a value that was offered.
pub(crate) enum Offer<T> {
    /// It entered, or was handed over; this waiter is to be woken.
    Taken(WaiterSlot),
    /// There is no room.
    Full(T),
    /// Nothing more may enter.
    Closed(T),
}

impl<T> State<T> {
    /// Lets a value enter if it may.
    #[inline]
    fn offer(&mut self, value: T, bound: usize) -> Offer<T> {
        if self.closed {
            return Offer::Closed(value);
        }
        if self.receivers.waiting() > 0 {
            let called = self.receivers.call_up(Some(value));
            return Offer::Taken(called.map_or(WaiterSlot::EMPTY, |(_, slot)| slot));
        }
        if self.senders.waiting() > 0 || self.items.len() >= bound {
            return Offer::Full(value);
        }
        self.items.push_back(value);
        Offer::Taken(WaiterSlot::EMPTY)
    }

    /// Takes the oldest value, and lets the first waiting sender's move up. Its waiter is to be woken.
    #[inline]
    fn take(&mut self, bound: usize) -> Option<(T, WaiterSlot)> {
        let front = self.items.pop_front();
        if self.senders.waiting() == 0 || (front.is_some() && self.items.len() >= bound) {
            return front.map(|value| (value, WaiterSlot::EMPTY));
        }
        let (moved_up, slot) = self.senders.call_up(None)?;
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
                senders: Line::new(),
                receivers: Line::new(),
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

    /// Lets a value enter if it may, and wakes who gets it.
    #[inline]
    pub(crate) fn offer(&self, value: T) -> Offer<T> {
        let offer = self.state.borrow_mut().offer(value, self.bound);
        if let Offer::Taken(slot) = offer
            && slot.is_waiting()
        {
            self.shared.wake_waiter(slot);
        }
        offer
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
        let (value, slot) = {
            let mut state = self.state.borrow_mut();
            match state.take(self.bound) {
                Some(taken) => taken,
                None if state.closed => return Ok(None),
                None => return Err(state.receivers.join(None)),
            }
        };
        if slot.is_waiting() {
            self.shared.wake_waiter(slot);
        }
        Ok(Some(value))
    }

    /// Gives a value that its receiver did not take to the next, or back to the front (keeps invariant 3).
    pub(crate) fn give_back(&self, value: T) {
        let slot = {
            let mut state = self.state.borrow_mut();
            if state.receivers.waiting() == 0 {
                state.items.push_front(value);
                return;
            }
            let called = state.receivers.call_up(Some(value));
            called.map_or(WaiterSlot::EMPTY, |(_, slot)| slot)
        };
        self.shared.wake_waiter(slot);
    }

    /// Lets nothing more enter, and sends everybody away who waits.
    pub(crate) fn close(&self) {
        self.state.borrow_mut().closed = true;
        loop {
            let slot = {
                let mut state = self.state.borrow_mut();
                let sender = state.senders.dismiss();
                sender.or_else(|| state.receivers.dismiss())
            };
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

    /// One of the two lines.
    pub(crate) fn with_line<R>(&self, end: End, look: impl FnOnce(&mut Line<T>) -> R) -> R {
        let mut state = self.state.borrow_mut();
        look(match end {
            End::Sending => &mut state.senders,
            End::Receiving => &mut state.receivers,
        })
    }

    /// Parks whoever polls in a place of a line. `Pending` only if the place is still in line; a cancel only then, too.
    pub(crate) fn park(
        &self,
        end: End,
        (key, slot): (usize, WaiterSlot),
        cx: &Context<'_>,
        site: Site,
    ) -> Poll<Option<Error>> {
        let kind = match end {
            End::Sending => &SEND,
            End::Receiving => &RECEIVE,
        };
        // Nothing is borrowed here: the waker that may be cloned is anybody's.
        let site = Some(site);
        let (slot, cancel) = match self.shared.park(slot, cx, Note { kind, site }) {
            Ok(slot) => (slot, None),
            Err(cancel) => (slot.vacated(), Some(cancel)),
        };
        let waits = self.with_line(end, |line| {
            let waits = line.is_waiting(key);
            line.set_slot(key, if waits { slot } else { slot.vacated() });
            waits
        });
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
    pub(crate) fn called_up(&self, end: End, key: usize) -> Result<Option<T>, WaiterSlot> {
        self.with_line(end, |line| {
            if line.is_waiting(key) {
                Err(line.slot(key))
            } else {
                Ok(line.leave(key))
            }
        })
    }

    /// Gives a place up, with the value in it.
    pub(crate) fn leave(&self, end: End, key: usize) -> Option<T> {
        let (slot, value) = self.with_line(end, |line| (line.slot(key), line.leave(key)));
        self.shared.unpark(slot);
        value
    }
}

/// The two lines of a queue.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// Those who wait for room.
    Sending,
    /// Those who wait for a value.
    Receiving,
}
