//! How waiting for room in a keyed engine ends: let in, given up, and the same for what other threads sent.
//!
//! It is apart because it is about those in line; who finds room at once does not come here.

use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::arena::Id;
use crate::error::{Error, Result};
use crate::hub::crowding::{Arrived, Patience};
use crate::hub::engine::{Hub, OrderKey, count};
use crate::hub::message::{Item, Want};
use crate::ordered_gate::Gate;
use crate::ordered_queue::Intake;
use crate::waiter::Note;

impl<K, M, R, E> Hub<K, M, R, E>
where
    K: OrderKey,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    /// Waits in line. What is got wins over a cancel.
    pub(crate) fn poll_line(
        self: &Rc<Self>,
        waiter: Id,
        cx: &Context<'_>,
        note: Note,
    ) -> Poll<Result<Want<M, R, E>>> {
        let got = self.table.borrow_mut().lines.collect(waiter);
        if let Some(got) = got {
            return Poll::Ready(Ok(got));
        }
        let slot = self.table.borrow_mut().lines.take_slot(waiter);
        match self.shared.park(slot, cx, note) {
            Ok(slot) => {
                let mut table = self.table.borrow_mut();
                // A waker that was cloned or dropped may have done anything.
                let Some(got) = table.lines.collect(waiter) else {
                    table.lines.set_slot(waiter, slot);
                    return Poll::Pending;
                };
                drop(table);
                self.shared.unpark(slot);
                Poll::Ready(Ok(got))
            }
            Err(cancel) => {
                self.leave_line(waiter);
                Poll::Ready(Err(cancel))
            }
        }
    }

    /// In which key's line somebody is.
    pub(crate) fn line_of(&self, waiter: Id) -> Id {
        let table = self.table.borrow();
        let waiter = table.lines.get(waiter);
        waiter.map_or(Id::NONE, |waiter| waiter.key)
    }

    /// Gives a place in line up, with what it got.
    pub(crate) fn leave_line(self: &Rc<Self>, waiter: Id) {
        let slot = self.table.borrow_mut().lines.take_slot(waiter);
        self.shared.unpark(slot);
        let left = self.table.borrow_mut().leave_line(waiter);
        let Some((id, want)) = left else { return };
        if let Want::Granted = want {
            return self.free_place(id);
        }
        self.shared.contain("drop", || drop(want));
        self.admit();
        self.let_go(id);
        self.settle_down();
    }

    /// Gives a kept place up.
    pub(crate) fn free_place(self: &Rc<Self>, id: Id) {
        self.table.borrow_mut().free_place(id);
        self.admit();
        self.let_go(id);
        self.settle_down();
    }

    /// Lets in who waits in line, as far as there is room.
    pub(super) fn admit(self: &Rc<Self>) {
        if !self.table.borrow().has_line() {
            return;
        }
        let mut outside = 0;
        loop {
            let admitted = self.table.borrow_mut().admit(&mut outside);
            let Some(slot) = admitted else { break };
            self.shared.wake_waiter(slot);
        }
        if outside > 0
            && let Some(gate) = self.gate.get()
        {
            gate.release(outside);
        }
        self.advance();
    }

    /// Takes in what other threads sent. What finds no room stands in its key's line, and counts in the gate until it has some.
    pub(crate) fn pull(self: &Rc<Self>) {
        loop {
            if self.table.borrow().intake == Intake::Ended {
                return;
            }
            let Some((key, message)) = self.gate.get().and_then(|gate| Gate::pop_held(gate)) else {
                return self.settle_down();
            };
            // Its size is asked for first: a key that was found may go while the user's code runs.
            let want = Want::Outside(self.outside(message));
            let found = || self.locate_and_keep(key);
            let Some(Ok((id, spare))) = self.shared.contain("key's Hash", found) else {
                count(&self.counts.dropped);
                self.release_one();
                self.shared.contain("drop", || drop(want));
                continue;
            };
            if !matches!(
                self.arrive_at(id, want, Patience::Outside),
                Ok(Arrived::InLine(_))
            ) {
                self.release_one();
            }
            self.shared.contain("drop", || drop(spare));
        }
    }

    /// A message of another thread. One whose size cannot be told is larger than any limit.
    fn outside(&self, message: M) -> Item<M, R, E> {
        let size = self.shared.contain("callback", || self.size(&message));
        Item {
            message,
            asker: None,
            size: size.unwrap_or(usize::MAX),
            since: self.shared.looked_at.get(),
        }
    }

    /// One message of another thread counts in the gate no more.
    fn release_one(&self) {
        if let Some(gate) = self.gate.get() {
            gate.release(1);
        }
    }
}
