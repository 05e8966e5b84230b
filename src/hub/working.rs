//! How the workers of a keyed engine come, take turns, and go.
//!
//! It is apart because it decides who runs: the limit on calls at a time and the fairness between keys are kept here.
//!
//! Invariants:
//! 1. While a key waits in the ring and fewer calls run than are allowed, a worker is on its way.
//! 2. A key whose turn is over goes to the back of the ring: no key is passed by another twice.
//! 3. A worker that finds nothing looks once more in its next turn, then ends: a busy engine spawns none.
//!
//! ```text
//!   spawned ──▶ coming ── a key in the ring ──▶ busy ── call settled ──▶ next message of the key, or
//!                 ▲  │ none                                              the key put down and the next one taken, or
//!                 │  ├── first time ──▶ gives way ──▶ coming             no key: gives way ──▶ coming
//!                 └──┘ second time ──▶ ends
//! ```

use std::fmt;
use std::rc::Rc;

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
    /// Sends workers to the ring as far as there is work and they are allowed (keeps invariant 1).
    #[inline]
    pub(super) fn advance(self: &Rc<Self>) {
        while self.lacks_worker() {
            if self.shared.is_closed() {
                return self.gone();
            }
            self.spawn();
        }
    }

    /// Whether one more worker would have work.
    #[inline]
    fn lacks_worker(&self) -> bool {
        let table = self.table.borrow();
        let coming = table.seats.coming();
        table.has_more_than(coming)
            && table.seats.counted().saturating_add(coming) < table.limits.concurrency
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
    pub(crate) fn came(&self, seat: u32) {
        self.table.borrow_mut().seats.set_coming(seat, false);
    }

    /// A worker that found nothing will come again.
    #[inline]
    pub(crate) fn comes_again(&self, seat: u32) {
        self.table.borrow_mut().seats.set_coming(seat, true);
        self.settle_down();
    }

    /// Takes the next message for a worker: of the key in its hands, or of the next key in turn. `came` says that it has just come to the
    /// ring, and not from a call.
    #[inline]
    pub(crate) fn next(self: &Rc<Self>, seat: u32, came: bool) -> Option<Job<K, M>> {
        self.end_turn(seat);
        if self.limits_calls() {
            self.grant_permits();
        }
        let now = self.shared.looked_at.get();
        let (job, waited, has_line) = {
            let mut table = self.table.borrow_mut();
            let held = table.seats.get(seat)?.key;
            let id = if held.is_none() {
                if !came && !table.has_more_than(table.seats.coming()) {
                    // Those who are on their way take what there is: so they do not come in vain, and none is spawned in their stead.
                    return None;
                }
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
        let held = {
            let mut table = self.table.borrow_mut();
            let Some(found) = table.seats.get(seat) else {
                return;
            };
            let (held, credit) = (found.key, found.credit);
            if held.is_none() || table.goes_on(held, credit) {
                return;
            }
            if let Some(seat) = table.seats.get_mut(seat) {
                seat.key = Id::NONE;
            }
            held
        };
        self.put_down(held);
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
        let doomed = Flags::CANCELLED.or(Flags::ABORTED);
        records
            .get(id)
            .is_none_or(|record| record.flags.has(doomed))
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
