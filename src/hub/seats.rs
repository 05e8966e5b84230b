//! The workers of a keyed engine: how many there are, what each has in hand, and how many of them count.
//!
//! It is apart because concurrency is counted here and nowhere else.
//!
//! Invariants:
//! 1. A worker on its way to the ring is `coming`; with a message it is not. Every other state ends its seat.
//! 2. A worker whose call waits in another queue has lent its permit out and does not count.

use std::collections::VecDeque;

use slab::Slab;

use crate::arena::Id;
use crate::ordered_queue::Asker;
use crate::timers::{Nanos, TimerId};
use crate::waiter::WaiterSlot;

/// One worker.
pub(crate) struct Seat<R, E> {
    /// Its coroutine.
    pub(crate) worker: Id,
    /// The key in its hands, [`Id::NONE`] on its way to the ring.
    pub(crate) key: Id,
    /// Who asked for the result of its call.
    pub(crate) asker: Asker<R, E>,
    /// How many more messages it may take of its key in this turn.
    pub(crate) credit: u32,
    /// Whether it is on its way to the ring.
    coming: bool,
    /// Whether a message is with it.
    pub(crate) busy: bool,
    /// The clock at the look before its call began.
    pub(crate) since: Nanos,
    /// What limits its call.
    pub(crate) limit: Option<TimerId>,
    /// How many waits its permit is lent out for.
    lent: u32,
    /// How it is woken when there is a permit for it again.
    slot: WaiterSlot,
}

/// See the module's page.
pub(crate) struct Seats<R, E> {
    /// The workers.
    workers: Slab<Seat<R, E>>,
    /// How many are on their way to the ring.
    coming: usize,
    /// How many have lent their permit out.
    lent: usize,
    /// Who waits for a permit to go on, first come first.
    line: VecDeque<u32>,
    /// How many have a message.
    busy: usize,
}

impl<R, E> Seats<R, E> {
    /// No workers.
    pub(crate) fn new() -> Self {
        Seats {
            workers: Slab::new(),
            coming: 0,
            lent: 0,
            line: VecDeque::new(),
            busy: 0,
        }
    }

    /// A seat for a worker that is coming.
    pub(crate) fn add(&mut self, worker: Id) -> u32 {
        self.coming += 1;
        let seat = self.workers.insert(Seat {
            worker,
            key: Id::NONE,
            asker: None,
            credit: 0,
            coming: true,
            busy: false,
            since: 0,
            limit: None,
            lent: 0,
            slot: WaiterSlot::EMPTY,
        });
        u32::try_from(seat).expect("fewer than 2^32 workers")
    }

    /// Notes whether a worker is on its way to the ring.
    #[inline]
    pub(crate) fn set_coming(&mut self, seat: u32, coming: bool) {
        if let Some(seat) = self.workers.get_mut(seat as usize)
            && seat.coming != coming
        {
            seat.coming = coming;
            if coming {
                self.coming += 1;
            } else {
                self.coming -= 1;
            }
        }
    }

    /// One worker.
    #[inline]
    pub(crate) fn get(&self, seat: u32) -> Option<&Seat<R, E>> {
        self.workers.get(seat as usize)
    }

    /// One worker, to change.
    #[inline]
    pub(crate) fn get_mut(&mut self, seat: u32) -> Option<&mut Seat<R, E>> {
        self.workers.get_mut(seat as usize)
    }

    /// A worker has taken a message.
    #[inline]
    pub(crate) fn begin(&mut self, seat: u32, key: Id, asker: Asker<R, E>, now: Nanos) {
        if let Some(seat) = self.workers.get_mut(seat as usize) {
            seat.key = key;
            seat.asker = asker;
            seat.since = now;
            seat.busy = true;
            self.busy += 1;
        }
    }

    /// A worker's call is settled. Gives who asked, and what limited it.
    #[inline]
    pub(crate) fn settle(&mut self, index: u32) -> (Asker<R, E>, Option<TimerId>) {
        let Some(seat) = self.workers.get_mut(index as usize) else {
            return (None, None);
        };
        if std::mem::replace(&mut seat.busy, false) {
            self.busy -= 1;
        }
        if std::mem::replace(&mut seat.lent, 0) > 0 {
            self.lent -= 1;
            self.line.retain(|waiting| *waiting != index);
        }
        (seat.asker.take(), seat.limit.take())
    }

    /// Gives a seat up; its call was settled.
    pub(crate) fn leave(&mut self, seat: u32) {
        self.set_coming(seat, false);
        self.workers.try_remove(seat as usize);
    }

    /// How many are on their way to the ring.
    #[inline]
    pub(crate) fn coming(&self) -> usize {
        self.coming
    }

    /// How many calls count towards the limit.
    #[inline]
    pub(crate) fn counted(&self) -> usize {
        self.busy - self.lent
    }

    /// How many have a message.
    #[inline]
    pub(crate) fn busy(&self) -> usize {
        self.busy
    }

    /// Lends a permit out.
    pub(crate) fn lend(&mut self, seat: u32) {
        if let Some(seat) = self.workers.get_mut(seat as usize) {
            if seat.lent == 0 {
                self.lent += 1;
            }
            seat.lent += 1;
        }
    }

    /// One wait less. False if it was the last and there is no permit now: the call then stands in line for one.
    pub(crate) fn take_back(&mut self, index: u32, limit: usize) -> bool {
        let counted = self.counted();
        let Some(seat) = self.workers.get_mut(index as usize) else {
            return true;
        };
        if seat.lent > 1 {
            seat.lent -= 1;
        } else if seat.lent == 1 {
            let first = self.line.is_empty() || self.line.front() == Some(&index);
            if counted >= limit || !first {
                if !self.line.contains(&index) {
                    self.line.push_back(index);
                }
                return false;
            }
            self.force_back(index);
        }
        true
    }

    /// One wait less, whether there is a permit or not.
    pub(crate) fn force_back(&mut self, index: u32) {
        let Some(seat) = self.workers.get_mut(index as usize) else {
            return;
        };
        if seat.lent == 1 {
            self.lent -= 1;
            self.line.retain(|waiting| *waiting != index);
        }
        seat.lent = seat.lent.saturating_sub(1);
    }

    /// Gives a permit that is free to the first in line. Gives the slot to wake.
    pub(crate) fn grant(&mut self, limit: usize) -> Option<WaiterSlot> {
        if self.line.is_empty() || self.counted() >= limit {
            return None;
        }
        let index = *self.line.front()?;
        self.force_back(index);
        let seat = self.workers.get_mut(index as usize)?;
        // It finds its permit taken back already.
        let slot = seat.slot;
        seat.slot = slot.vacated();
        Some(slot)
    }

    /// Who is woken when there is a permit.
    pub(crate) fn slot(&self, seat: u32) -> WaiterSlot {
        let seat = self.workers.get(seat as usize);
        seat.map_or(WaiterSlot::EMPTY, |seat| seat.slot)
    }

    /// Changes who is woken when there is a permit.
    pub(crate) fn set_slot(&mut self, seat: u32, slot: WaiterSlot) {
        if let Some(seat) = self.workers.get_mut(seat as usize) {
            seat.slot = slot;
        }
    }

    /// The workers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Seat<R, E>)> {
        let seats = self.workers.iter();
        #[expect(clippy::cast_possible_truncation, reason = "see add")]
        seats.map(|(index, seat)| (index as u32, seat))
    }
}
