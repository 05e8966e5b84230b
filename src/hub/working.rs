//! How the workers of a keyed engine come, take turns, and go.
//!
//! It is apart because it decides who runs: the limit on calls at a time and the fairness between keys are kept here.
//!
//! Invariants:
//! 1. While a key waits in the ring and fewer calls run than are allowed, a worker is on its way: one, who calls the others that are
//!    lacking when he comes. Calls that have ended by then have taken their share, so a steady stream spawns nobody.
//! 2. A key whose turn is over goes to the back of the ring: no key is passed by another twice.
//! 3. A worker that finds nothing looks once more in its next turn, then ends; one of them goes on looking while messages arrive.
//!
//! ```text
//!   spawned ──▶ coming ── a key in the ring ──▶ busy ── call settled ──▶ next message of the key, or
//!                 ▲  │ none                                              the key put down and the next one taken, or
//!                 │  ├── first time ──▶ gives way ──▶ coming             no key: gives way ──▶ coming
//!                 └──┘ second time ──▶ ends
//! ```

use std::fmt;
use std::rc::Rc;

use super::table::Turn;
use super::{Hub, OrderKey};
use crate::arena::Id;
use crate::error::Error;
use crate::key_name::KeyName;
use crate::record::Flags;
use crate::waits::Lender;

/// A message for a worker.
pub(crate) struct Job<K, M> {
    /// The key's place.
    pub(crate) key: Id,
    /// The key.
    pub(crate) name: KeyName<K>,
    /// The message.
    pub(crate) message: M,
}

impl<K, M, R, E> Hub<K, M, R, E>
where
    K: OrderKey,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    /// Sends a worker to the ring if there is work, none is on its way, and one more call may run (keeps invariant 1).
    #[inline]
    pub(super) fn advance(self: &Rc<Self>) {
        let lacks_scout = {
            let table = self.table.borrow();
            table.has_ready()
                && table.seats.coming() == 0
                && table.seats.counted() < table.limits.concurrency
        };
        if lacks_scout {
            self.send_scout();
        }
    }

    /// Sends one worker, who calls the others that are lacking when he comes: until then, those who end their calls take what they can.
    #[cold]
    fn send_scout(self: &Rc<Self>) {
        if self.shared.is_closed() {
            return self.gone();
        }
        self.spawn();
    }

    /// Sends as many more workers as have work and are allowed, beside the one who has just come.
    #[inline]
    fn call_others(self: &Rc<Self>) {
        loop {
            let lacks_worker = {
                let table = self.table.borrow();
                let coming = table.seats.coming() + 1;
                table.has_more_than(coming)
                    && table.seats.counted().saturating_add(coming) < table.limits.concurrency
            };
            if !lacks_worker {
                return;
            }
            self.spawn();
        }
    }

    /// The same, for those who hold only a part of the hub.
    pub(super) fn advance_here(&self) {
        if let Some(hub) = self.me.upgrade() {
            hub.advance();
        }
    }

    /// Gives permits that are free to calls whose waits are over.
    #[inline]
    pub(super) fn grant_permits(&self) {
        loop {
            let granted = {
                let mut table = self.table.borrow_mut();
                let limit = table.limits.concurrency;
                table.seats.grant(limit)
            };
            let Some(slot) = granted else { break };
            self.shared.wake_waiter(slot);
        }
    }

    /// Whether calls are limited at all.
    #[inline]
    fn limits_calls(&self) -> bool {
        self.rules.limits.concurrency != usize::MAX
    }

    /// Sends one more worker.
    fn spawn(self: &Rc<Self>) {
        let id = self.shared.enter(self.site);
        let seat = self.table.borrow_mut().seats.add(id);
        if self.limits_calls()
            && let Some(record) = self.shared.records.borrow_mut().get_mut(id)
        {
            record.rare_mut().lender = Some((Rc::clone(self) as Rc<dyn Lender>, seat));
        }
        let body = Rc::clone(&self.crew).work(self, id, seat);
        self.shared.start(id, body);
    }

    /// A worker has come to the ring.
    #[inline]
    pub(crate) fn came(self: &Rc<Self>, seat: u32) {
        self.table.borrow_mut().seats.set_coming(seat, false);
        self.call_others();
    }

    /// A worker has found nothing. Tells whether it is to come again: once, and then as long as messages arrive and nobody else comes.
    #[inline]
    pub(crate) fn comes_again(&self, seat: u32, seen: &mut Option<u64>) -> bool {
        let again = {
            let mut table = self.table.borrow_mut();
            let arrived = table.arrived;
            let alone = table.seats.coming() == 0;
            let before = seen.replace(arrived);
            let again = before.is_none_or(|before| alone && before != arrived);
            table.seats.set_coming(seat, again);
            again
        };
        self.settle_down();
        again
    }

    /// Takes the next message for a worker: of the key in its hands, or of the next key in turn.
    #[inline]
    pub(crate) fn next(self: &Rc<Self>, seat: u32) -> Option<Job<K, M>> {
        self.end_turn(seat);
        if self.limits_calls() {
            self.grant_permits();
        }
        let now = self.shared.looked_at.get();
        let (job, waited, has_line) = {
            let mut table = self.table.borrow_mut();
            let held = table.seats.get(seat)?.key;
            let id = if held.is_none() {
                if table.seats.counted() >= table.limits.concurrency {
                    // Somebody came back for the permit that he had lent out.
                    return None;
                }
                let id = table.take_turn(seat)?;
                let weight = table.keys.get(id)?.weight;
                if let Some(seat) = table.seats.get_mut(seat) {
                    seat.credit = weight;
                }
                id
            } else {
                held
            };
            let item = table.pop(id)?;
            if let Some(seat) = table.seats.get_mut(seat) {
                seat.credit = seat.credit.saturating_sub(1);
            }
            table.seats.begin(seat, id, item.asker, now);
            let key = table.keys.get_mut(id)?;
            key.has_state = true;
            let job = Job {
                key: id,
                name: key.name.clone(),
                message: item.message,
            };
            (job, now.saturating_sub(item.since), table.has_line())
        };
        if waited > self.counts.longest_wait.get() {
            self.counts.longest_wait.set(waited);
        }
        if has_line {
            self.admit();
        }
        self.limit_head(seat);
        Some(job)
    }

    /// Puts the key down that a worker has in hand, unless its turn goes on (keeps invariant 2).
    #[inline]
    fn end_turn(self: &Rc<Self>, seat: u32) {
        let turn = self.table.borrow_mut().end_turn(seat);
        match turn {
            Turn::None => {}
            Turn::Empty(id) => self.let_go(id),
            Turn::Forgotten(id) => self.put_down(id),
        }
    }

    /// Puts a key down: to the back of the ring, or away.
    #[inline]
    fn put_down(self: &Rc<Self>, held: Id) {
        let forgotten = {
            let mut table = self.table.borrow_mut();
            let Some(key) = table.keys.get_mut(held) else {
                return;
            };
            let forgotten = std::mem::replace(&mut key.forgotten, false);
            if !forgotten {
                table.put_down(held);
            }
            forgotten
        };
        if forgotten {
            self.drop_state(held);
            self.table.borrow_mut().put_down(held);
        }
        self.let_go(held);
    }

    /// Whether the worker can take no further message: its coroutine is being cancelled or aborted.
    #[inline]
    pub(crate) fn is_doomed(&self, id: Id) -> bool {
        let records = self.shared.records.borrow();
        records
            .get(id)
            .is_none_or(|record| record.flags.has(Flags::DOOMED))
    }

    /// A worker has ended by itself, or was ended and its call is settled.
    pub(crate) fn leave(self: &Rc<Self>, seat: u32) {
        let held = {
            let mut table = self.table.borrow_mut();
            let held = table.seats.get(seat).map_or(Id::NONE, |seat| seat.key);
            table.seats.leave(seat);
            held
        };
        self.put_down(held);
        self.grant_permits();
        self.advance();
        self.settle_down();
    }
}
