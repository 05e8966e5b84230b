//! How the workers of a keyed engine come, take turns, and go.
//!
//! It is apart because it decides who runs: the limit on calls at a time and the fairness between keys are kept here.
//!
//! Invariants:
//! 1. While a key waits in the ring and fewer calls run than are allowed, a worker is on its way: one, who calls the others that are
//!    lacking when he comes. Calls that have ended by then have taken their share, so a steady stream spawns nobody.
//! 2. A key whose turn is over goes to the back of the ring: no key is passed by another twice.
//! 3. A worker that finds nothing looks once more in its next turn, then ends; one of them goes on looking while keys get turns.
//!
//! ```text
//!   spawned ──▶ coming ── a key in the ring ──▶ busy ── call settled ──▶ next message of the key, or
//!                 ▲  │ none                                              the key put down and the next one taken, or
//!                 │  ├── first time ──▶ gives way ──▶ coming             no key: gives way ──▶ coming
//!                 └──┘ second time ──▶ ends
//! ```

use std::fmt;
use std::rc::{Rc, Weak};

use crate::arena::Id;
use crate::call::{Call, Calls};
use crate::error::Error;
use crate::hub::engine::{Hub, OrderKey};
use crate::hub::key_state::Marks;
use crate::hub::turns::Turn;
use crate::record::Flags;
use crate::waits::Lender;

/// A message for a worker.
pub(crate) struct Job<K, M> {
    /// The key's place.
    pub(crate) key: Id,
    /// The call to handle it in, which knows the key.
    pub(crate) call: Call<K>,
    /// The message.
    pub(crate) message: M,
    /// Whether nobody asked for the result and nothing limits the call.
    pub(crate) is_loose: bool,
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
    pub(crate) fn advance(self: &Rc<Self>) {
        let lacks_scout = self.table.borrow().lacks_scout();
        if lacks_scout {
            self.send_scout();
        }
    }

    /// Sends one worker, who calls the others that are lacking when he comes: until then, those who end their calls take what they can.
    #[cold]
    pub(super) fn send_scout(self: &Rc<Self>) {
        if self.shared.is_closed() {
            return self.gone();
        }
        self.spawn();
    }

    /// Sends as many more workers as have work and are allowed, beside the one who has just come.
    #[inline]
    fn call_others(self: &Rc<Self>) {
        loop {
            let lacks_worker = self.table.borrow().lacks_worker();
            if !lacks_worker {
                return;
            }
            self.spawn();
        }
    }

    /// The same, for those who hold only a part of the hub.
    pub(crate) fn advance_here(&self) {
        if let Some(hub) = self.me.upgrade() {
            hub.advance();
        }
    }

    /// Gives permits that are free to calls whose waits are over.
    #[inline]
    pub(crate) fn grant_permits(&self) {
        loop {
            let granted = self.table.borrow_mut().seats.grant();
            let Some(slot) = granted else { break };
            self.shared.wake_waiter(slot);
        }
    }

    /// Sends one more worker.
    fn spawn(self: &Rc<Self>) {
        let id = self.shared.enter(self.site);
        let (seat, is_limited) = {
            let seats = &mut self.table.borrow_mut().seats;
            (seats.add(id), seats.is_limited())
        };
        if is_limited {
            let lender = Weak::clone(&self.me) as Weak<dyn Lender>;
            let mut lenders = self.shared.lenders.borrow_mut();
            lenders.insert(id.to_bits(), (lender, seat));
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

    /// A worker has found nothing. Tells whether it is to come again: once, and then as long as turns are given and nobody else comes.
    #[inline]
    pub(crate) fn comes_again(&self, seat: u32, seen: &mut Option<usize>) -> bool {
        let again = {
            let mut table = self.table.borrow_mut();
            let given = table.ring.given();
            let alone = table.seats.coming() == 0;
            let before = seen.replace(given);
            let again = before.is_none_or(|before| alone && before != given);
            table.seats.set_coming(seat, again);
            again
        };
        self.settle_down();
        again
    }

    /// Takes the next message for a worker: of the key in its hands, or of the next key in turn.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "on the way of every message, from one place"
    )]
    pub(crate) fn next(self: &Rc<Self>, seat: u32, calls: &mut Calls<K>) -> Option<Job<K, M>> {
        let now = self.shared.looked_at.get();
        loop {
            let (turn, has_line) = {
                let mut table = self.table.borrow_mut();
                (table.next(seat, now), table.has_line())
            };
            match turn {
                Turn::Call(begun) => {
                    let waited = now.saturating_sub(begun.since);
                    if waited > self.counts.longest_wait.get() {
                        self.counts.longest_wait.set(waited);
                    }
                    if has_line {
                        self.admit();
                    }
                    let mut is_loose = !begun.asked;
                    if let Some(limit) = self.rules.head {
                        is_loose = false;
                        self.limit_head(seat, limit);
                    }
                    return Some(Job {
                        key: begun.key,
                        call: calls.begin(begun.name),
                        message: begun.message,
                        is_loose,
                    });
                }
                Turn::PutDown(key, forgotten) => {
                    calls.end();
                    self.put_down(key, forgotten);
                }
                Turn::Grant => self.grant_permits(),
                Turn::Nothing => {
                    calls.end();
                    return None;
                }
            }
        }
    }

    /// Puts a key down: to the back of the ring, or away.
    fn put_down(&self, id: Id, forgotten: bool) {
        if forgotten {
            self.drop_state(id);
        }
        self.table.borrow_mut().put_down(id);
        self.let_go(id);
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
        let (worker, held, forgotten) = {
            let mut table = self.table.borrow_mut();
            let seated = table.seats.get(seat);
            let (worker, held) =
                seated.map_or((Id::NONE, Id::NONE), |seat| (seat.worker, seat.key));
            table.seats.leave(seat);
            let key = table.keys.get_mut(held);
            let forgotten = key.is_some_and(|key| key.unmark(Marks::FORGOTTEN));
            (worker, held, forgotten)
        };
        self.shared.lenders.borrow_mut().remove(&worker.to_bits());
        self.put_down(held, forgotten);
        self.grant_permits();
        self.advance();
        self.settle_down();
    }
}
