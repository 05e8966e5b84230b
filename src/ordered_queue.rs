//! What waits for one owner: messages in arrival order, and behind a full queue those who wait for room.
//!
//! It is apart because it only keeps and orders: it wakes nobody, runs nobody's code, and is all that must be borrowed to send.
//!
//! Invariants:
//! 1. Messages and reserved places together never exceed the bound.
//! 2. Nobody passes a waiter: while anyone is in line, a newcomer is refused or goes to the end of the line.
//! 3. A waiter's message enters the queue when room comes, not when its sender is next polled: arrival is the place in line.
//!
//! ```text
//!              room                    room                      polled
//!   arrival ─────────▶ queued    in line ─────▶ Admitted, Granted ───────▶ (none)
//!      │   no room                  ▲  │ ended
//!      └────────────────────────────┘  └──────▶ Turned away ── polled ───▶ (none)
//! ```

use std::collections::VecDeque;

use crate::arena::{Arena, Id};
use crate::oneshot::Resolver;
use crate::ordered_gate::Gate;
use crate::waiter::WaiterSlot;

/// A message, and who asked for its result.
pub(crate) struct Entry<M, R, E> {
    /// The message.
    pub(crate) message: M,
    /// Who asked.
    pub(crate) asker: Asker<R, E>,
}

/// Who asked for a result, if anybody did.
pub(crate) type Asker<R, E> = Option<Resolver<Result<R, E>>>;

/// What somebody in line wants, or got.
pub(crate) enum Want<M, R, E> {
    /// Its message queued.
    Entry(Entry<M, R, E>),
    /// A place kept.
    Place,
    /// One message of other threads queued.
    Pull,
    /// Its message is queued.
    Admitted,
    /// A place is kept for it.
    Granted,
    /// The queue ended first. What it wanted is given back.
    TurnedAway(Option<Entry<M, R, E>>),
}

/// Somebody in line.
struct Waiter<M, R, E> {
    /// What it wants, or got.
    want: Want<M, R, E>,
    /// How to wake it.
    slot: WaiterSlot,
}

/// What a queue takes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Intake {
    /// Everything there is room for.
    Open,
    /// Only what was in line or had a place kept.
    Closed,
    /// Nothing.
    Ended,
}

/// See the module's page.
pub(crate) struct Queue<M, R, E> {
    /// The messages.
    entries: VecDeque<Entry<M, R, E>>,
    /// The most messages and kept places.
    bound: usize,
    /// Places kept.
    kept: usize,
    /// Who waits for room, first come first. It may name some who have left.
    line: VecDeque<Id>,
    /// Those in line, and those who were served and have not looked yet.
    waiters: Arena<Waiter<M, R, E>>,
    /// How many in line have not left.
    waiting: usize,
    /// What it takes in.
    intake: Intake,
}

impl<M, R, E> Queue<M, R, E> {
    /// An empty queue for at most `bound` messages.
    pub(crate) fn new(bound: usize) -> Self {
        Queue {
            entries: VecDeque::new(),
            bound: bound.max(1),
            kept: 0,
            line: VecDeque::new(),
            waiters: Arena::new(),
            waiting: 0,
            intake: Intake::Open,
        }
    }

    /// The most messages and kept places.
    pub(crate) fn bound(&self) -> usize {
        self.bound
    }

    /// The number of messages.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What it takes in.
    pub(crate) fn intake(&self) -> Intake {
        self.intake
    }

    /// Takes no more newcomers.
    pub(crate) fn close(&mut self) {
        if self.intake == Intake::Open {
            self.intake = Intake::Closed;
        }
    }

    /// Whether a newcomer may go in at once (keeps invariants 1 and 2).
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.waiting == 0 && self.is_under_bound()
    }

    /// Whether one more fits.
    #[inline]
    fn is_under_bound(&self) -> bool {
        self.entries.len() + self.kept < self.bound
    }

    /// Queues a message that was found to have room.
    #[inline]
    pub(crate) fn push(&mut self, entry: Entry<M, R, E>) {
        self.entries.push_back(entry);
    }

    /// Takes the next message.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Entry<M, R, E>> {
        self.entries.pop_front()
    }

    /// Whether anyone waits for room.
    #[inline]
    pub(crate) fn has_line(&self) -> bool {
        self.waiting > 0
    }

    /// Whether nothing is queued, in line or promised.
    pub(crate) fn is_dry(&self) -> bool {
        self.entries.is_empty() && self.waiting == 0 && self.kept == 0
    }

    /// Keeps a place.
    pub(crate) fn keep_place(&mut self) {
        self.kept += 1;
    }

    /// Gives a kept place up.
    pub(crate) fn free_place(&mut self) {
        self.kept = self.kept.saturating_sub(1);
    }

    /// Goes to the end of the line.
    pub(crate) fn line_up(&mut self, want: Want<M, R, E>) -> Id {
        let slot = WaiterSlot::EMPTY;
        let id = self.waiters.insert(Waiter { want, slot });
        self.line.push_back(id);
        self.waiting += 1;
        id
    }

    /// Serves the first in line, if there is room. Gives the slot to wake.
    pub(crate) fn admit(&mut self, gate: Option<&Gate<M>>) -> Option<WaiterSlot> {
        while self.waiting > 0 && self.is_under_bound() {
            let id = self.line.pop_front()?;
            let Some(waiter) = self.waiters.get_mut(id) else {
                continue;
            };
            self.waiting -= 1;
            let slot = waiter.slot;
            waiter.slot = slot.vacated();
            match std::mem::replace(&mut waiter.want, Want::Admitted) {
                Want::Entry(entry) => self.entries.push_back(entry),
                Want::Place => {
                    waiter.want = Want::Granted;
                    self.kept += 1;
                }
                Want::Pull => {
                    self.waiters.remove(id);
                    if let Some(message) = gate.and_then(Gate::pop) {
                        let asker = None;
                        self.entries.push_back(Entry { message, asker });
                        // To the end of the line: other threads take turns with those here.
                        self.line_up(Want::Pull);
                    }
                }
                served => waiter.want = served,
            }
            return Some(slot);
        }
        None
    }

    /// What somebody who lined up got, if anything yet; it leaves then.
    pub(crate) fn collect(&mut self, id: Id) -> Option<Want<M, R, E>> {
        match self.waiters.get_mut(id)?.want {
            Want::Entry(_) | Want::Place | Want::Pull => None,
            _ => self.waiters.remove(id).map(|waiter| waiter.want),
        }
    }

    /// Takes out how somebody in line is woken.
    pub(crate) fn take_slot(&mut self, id: Id) -> WaiterSlot {
        let Some(waiter) = self.waiters.get_mut(id) else {
            return WaiterSlot::EMPTY;
        };
        let slot = waiter.slot;
        waiter.slot = slot.vacated();
        slot
    }

    /// Changes how somebody in line is woken.
    pub(crate) fn set_slot(&mut self, id: Id, slot: WaiterSlot) {
        if let Some(waiter) = self.waiters.get_mut(id) {
            waiter.slot = slot;
        }
    }

    /// Leaves the line. Gives what was wanted or got, to be dropped or undone by the caller.
    pub(crate) fn leave(&mut self, id: Id) -> Option<Want<M, R, E>> {
        let waiter = self.waiters.remove(id)?;
        if matches!(waiter.want, Want::Entry(_) | Want::Place | Want::Pull) {
            self.waiting -= 1;
        }
        if self.line.len() > 2 * self.waiting + 16 {
            let Queue { line, waiters, .. } = self;
            line.retain(|id| waiters.get(*id).is_some());
        }
        Some(waiter.want)
    }

    /// Takes nothing any more. Gives the messages, and the slots of those in line, who find themselves turned away.
    pub(crate) fn end(&mut self) -> (VecDeque<Entry<M, R, E>>, Vec<WaiterSlot>) {
        self.intake = Intake::Ended;
        self.kept = 0;
        self.waiting = 0;
        let mut slots = Vec::new();
        for id in std::mem::take(&mut self.line) {
            let Some(waiter) = self.waiters.get_mut(id) else {
                continue;
            };
            slots.push(waiter.slot);
            waiter.slot = waiter.slot.vacated();
            waiter.want = match std::mem::replace(&mut waiter.want, Want::Admitted) {
                Want::Entry(entry) => Want::TurnedAway(Some(entry)),
                Want::Pull => {
                    self.waiters.remove(id);
                    continue;
                }
                _ => Want::TurnedAway(None),
            };
        }
        (std::mem::take(&mut self.entries), slots)
    }
}
