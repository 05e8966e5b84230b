//! The workers of a keyed engine: how many there are, what each has in hand, and how many of them count.
//!
//! It is apart because concurrency is counted here and nowhere else.
//!
//! Invariants:
//! 1. A worker on its way to the ring is `coming`; with a message it is not. Every other state ends its seat.
//! 2. A worker whose call waits in another queue has lent its permit out and does not count.
//! 3. Whoever stands in line for a permit gets one before any worker takes a message.

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
    pub(super) asker: Asker<R, E>,
    /// The clock at the look before its call began.
    pub(crate) since: Nanos,
    /// What limits its call, or [`Id::NONE`].
    limit: TimerId,
    /// How many more messages it may take of its key in this turn.
    pub(crate) credit: u32,
    /// How many waits its permit is lent out for.
    lent: u32,
    /// Whether the last of them was over and was granted the permit back, but has not looked since.
    granted: bool,
    /// Whether it is on its way to the ring.
    coming: bool,
    /// Whether a message is with it.
    pub(crate) busy: bool,
}

/// See the module's page.
pub(crate) struct Seats<R, E> {
    /// The workers.
    pub(super) workers: Slab<Seat<R, E>>,
    /// How many are on their way to the ring.
    coming: usize,
    /// How many have lent their permit out.
    lent: usize,
    /// Who waits for a permit to go on, first come first, and how he is woken.
    pub(super) line: VecDeque<(u32, WaiterSlot)>,
    /// How many more calls may run. One that came back without asking may be above the limit: then it is below zero.
    pub(super) permits: isize,
    /// How many may run at a time.
    limit: isize,
}

impl<R, E> Seats<R, E> {
    /// No workers, and so many calls at a time.
    pub(crate) fn new(limit: usize) -> Self {
        let limit = isize::try_from(limit).unwrap_or(isize::MAX);
        Seats {
            workers: Slab::new(),
            coming: 0,
            lent: 0,
            line: VecDeque::new(),
            permits: limit,
            limit,
        }
    }

    /// A seat for a worker that is coming.
    pub(crate) fn add(&mut self, worker: Id) -> u32 {
        self.coming += 1;
        let seat = self.workers.insert(Seat {
            worker,
            key: Id::NONE,
            asker: None,
            since: 0,
            limit: Id::NONE,
            credit: 0,
            lent: 0,
            granted: false,
            coming: true,
            busy: false,
        });
        let seat = u32::try_from(seat).ok();
        let seat = seat.filter(|&seat| seat != u32::MAX);
        seat.expect("fewer than 2^32 workers")
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

    /// Sets what limits a worker's call.
    pub(crate) fn set_limit(&mut self, seat: u32, limit: Option<TimerId>) {
        if let Some(seat) = self.workers.get_mut(seat as usize) {
            seat.limit = limit.unwrap_or(Id::NONE);
        }
    }

    /// A worker's call is settled. Gives who asked, and what limited it.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "on the way of every message")]
    pub(crate) fn settle(&mut self, index: u32) -> (Asker<R, E>, Option<TimerId>) {
        let Some(seat) = self.workers.get_mut(index as usize) else {
            return (None, None);
        };
        if seat.busy {
            seat.busy = false;
            self.permits += 1;
        }
        let limit = seat.limit;
        let asker = seat.asker.take();
        seat.granted = false;
        if seat.lent > 0 {
            self.take_lent(index);
        }
        if limit.is_none() {
            return (asker, None);
        }
        self.set_limit(index, None);
        (asker, Some(limit))
    }

    /// The permit that a call has lent out is its own no more: the call has ended.
    #[cold]
    fn take_lent(&mut self, index: u32) {
        if let Some(seat) = self.workers.get_mut(index as usize) {
            seat.lent = 0;
            self.lent -= 1;
            self.permits -= 1;
            self.line.retain(|(waiting, _)| *waiting != index);
        }
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

    /// How many more calls may run.
    #[inline]
    pub(crate) fn permits(&self) -> usize {
        usize::try_from(self.permits).unwrap_or(0)
    }

    /// Whether a call that has to go on waits for a permit that is there.
    #[inline]
    pub(crate) fn can_grant(&self) -> bool {
        !self.line.is_empty() && self.permits > 0
    }

    /// Whether calls are limited at all.
    pub(crate) fn is_limited(&self) -> bool {
        self.limit != isize::MAX
    }

    /// How many have a message: those whose permit is lent out too.
    #[inline]
    pub(crate) fn busy(&self) -> usize {
        (self.limit - self.permits)
            .cast_unsigned()
            .wrapping_add(self.lent)
    }

    /// Lends a permit out. Gives the slot of a wait of the same call that was over but for its permit: it needs none any more, since
    /// the call waits again.
    pub(crate) fn lend(&mut self, index: u32) -> Option<WaiterSlot> {
        let seat = self.workers.get_mut(index as usize)?;
        if seat.lent == 0 {
            self.lent += 1;
            self.permits += 1;
        }
        // The call waits again, so who was granted the permit goes on without: he counts as waiting until he looks.
        seat.lent += 1 + u32::from(std::mem::take(&mut seat.granted));
        let mut line = self.line.iter();
        let at = line.position(|(waiting, _)| *waiting == index)?;
        self.line.remove(at).map(|(_, slot)| slot)
    }

    /// One wait less. False if it was the last and there is no permit now: the call then stands in line for one.
    pub(crate) fn take_back(&mut self, index: u32) -> bool {
        let permits = self.permits;
        let Some(seat) = self.workers.get_mut(index as usize) else {
            return true;
        };
        match seat.lent {
            0 => seat.granted = false,
            1 => {
                let first = self.line.front().is_none_or(|(first, _)| *first == index);
                if permits <= 0 || !first {
                    if !self.line.iter().any(|(waiting, _)| *waiting == index) {
                        self.line.push_back((index, WaiterSlot::EMPTY));
                    }
                    return false;
                }
                self.force_back(index);
            }
            _ => seat.lent -= 1,
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
            self.permits -= 1;
            self.line.retain(|(waiting, _)| *waiting != index);
        }
        seat.lent = seat.lent.saturating_sub(1);
        seat.granted = false;
    }

    /// Gives a permit that is free to the first in line. Gives the slot to wake; who wakes finds its permit taken back already.
    pub(crate) fn grant(&mut self) -> Option<WaiterSlot> {
        if !self.can_grant() {
            return None;
        }
        let (index, slot) = *self.line.front()?;
        self.force_back(index);
        if let Some(seat) = self.workers.get_mut(index as usize) {
            seat.granted = true;
        }
        Some(slot)
    }

    /// Who is woken when there is a permit.
    pub(crate) fn slot(&self, seat: u32) -> WaiterSlot {
        let mut line = self.line.iter();
        let waiting = line.find(|(waiting, _)| *waiting == seat);
        waiting.map_or(WaiterSlot::EMPTY, |(_, slot)| *slot)
    }

    /// Changes who is woken when there is a permit.
    pub(crate) fn set_slot(&mut self, seat: u32, slot: WaiterSlot) {
        let mut line = self.line.iter_mut();
        if let Some((_, kept)) = line.find(|(waiting, _)| *waiting == seat) {
            *kept = slot;
        }
    }

    /// The workers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Seat<R, E>)> {
        let seats = self.workers.iter();
        #[expect(clippy::cast_possible_truncation, reason = "see add")]
        seats.map(|(index, seat)| (index as u32, seat))
    }
}
