//! How a keyed engine ends: its doors counted, its intake closed, its waiters told, what is left given out.
//!
//! It is apart because nothing of it is on the way of a message.
//!
//! Invariants:
//! 1. Whoever waits for the end is woken when it has come, and looks again by himself.
//! 2. An end before the last message gives every one that no call was made for back to `drain`.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::arena::Id;
use crate::error::{Error, ErrorKind, Result};
use crate::failure::DropReason;
use crate::hub::engine::{Hub, KEY, OrderKey};
use crate::incident::Incident;
use crate::ordered_gate::Shut;
use crate::ordered_queue::Intake;
use crate::site::Site;
use crate::waiter::Note;
use crate::waiting::Waiting;

impl<K, M, R, E> Hub<K, M, R, E>
where
    K: OrderKey,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    /// One more door.
    pub(crate) fn add_door(&self) {
        self.doors.set(self.doors.get() + 1);
    }

    /// One door less.
    pub(crate) fn drop_door(&self) {
        self.doors.set(self.doors.get() - 1);
        self.settle_down();
    }

    /// Takes no more newcomers.
    pub(crate) fn close(&self) {
        self.table.borrow_mut().close();
        if let Some(gate) = self.gate.get() {
            gate.shut(Shut::Closed);
        }
        self.settle_down();
    }

    /// Ends the engine before it is dry: nothing more is taken, running calls are cancelled, the rest is kept for `drain`.
    pub(crate) fn cut_off(self: &Rc<Self>, reason: &'static str, site: Site) {
        self.close();
        // What other threads have sent stands behind the messages of its keys.
        self.pull();
        self.table.borrow_mut().intake = Intake::Ended;
        let ids: Vec<Id> = {
            let table = self.table.borrow();
            table.keys.iter().map(|(id, _)| id).collect()
        };
        for &id in &ids {
            self.take_left(id);
        }
        let workers: Vec<Id> = {
            let table = self.table.borrow();
            let seats = table.seats.iter();
            let busy = seats.filter(|(_, seat)| seat.busy);
            busy.map(|(_, seat)| seat.worker).collect()
        };
        for worker in workers {
            self.shared.cancel(worker, Cow::Borrowed(reason), site);
        }
        for id in ids {
            self.let_go(id);
        }
        self.settle_down();
    }

    /// Takes what waits in one key.
    fn take_left(&self, id: Id) {
        let (name, messages, slots, askers) = {
            let mut table = self.table.borrow_mut();
            let (mut messages, mut askers) = (Vec::new(), Vec::new());
            while let Some(item) = table.pop(id) {
                messages.push(item.message);
                askers.push(item.asker);
            }
            let (slots, outside) = table.turn_away(id);
            messages.extend(outside.into_iter().map(|item| item.message));
            while table.free_place(id) {}
            let Some(key) = table.keys.get(id) else {
                return;
            };
            (key.name.clone(), messages, slots, askers)
        };
        drop(askers);
        for slot in slots {
            self.shared.wake_waiter(slot);
        }
        if !messages.is_empty() {
            let key = name.get().clone();
            self.left_over.borrow_mut().push((key, messages));
        }
    }

    /// The loop is gone, and with it all that waits.
    pub(crate) fn gone(&self) {
        let (items, askers, slots) = {
            let mut table = self.table.borrow_mut();
            let mut slots = Vec::new();
            let ids: Vec<Id> = table.keys.iter().map(|(id, _)| id).collect();
            let mut items = Vec::new();
            for id in ids {
                while let Some(item) = table.pop(id) {
                    items.push(item);
                }
                let (woken, outside) = table.turn_away(id);
                slots.extend(woken);
                items.extend(outside);
            }
            table.intake = Intake::Ended;
            let seats: Vec<u32> = table.seats.iter().map(|(seat, _)| seat).collect();
            let askers: Vec<_> = seats
                .into_iter()
                .map(|seat| table.seats.settle(seat).0)
                .collect();
            (items, askers, slots)
        };
        self.shared.drop_each(items);
        drop(askers);
        self.drop_sent();
        for slot in slots {
            self.shared.wake_waiter(slot);
        }
        self.wake_finishers();
    }

    /// The loop is gone, and with it what other threads have sent.
    pub(crate) fn drop_sent(&self) {
        if let Some(gate) = self.gate.get() {
            gate.shut(Shut::LoopGone);
            let (keys, messages): (Vec<K>, Vec<M>) = gate.take_all().into_iter().unzip();
            self.shared.drop_each(messages);
            self.shared.drop_each(keys);
        }
    }

    /// Whether nothing is left to do and nothing can arrive.
    pub(crate) fn is_finished(&self) -> bool {
        let table = self.table.borrow();
        table.seats.busy() == 0
            && table.is_dry()
            && (table.intake != Intake::Open || self.doors.get() == 0)
            && self.gate.get().is_none_or(|gate| gate.is_empty())
    }

    /// Tells who waits for the end, if it has come.
    #[inline]
    pub(crate) fn settle_down(&self) {
        let waited_for = !self.finishers.borrow().is_empty();
        if waited_for && self.is_finished() {
            self.wake_finishers();
        }
    }

    /// Wakes everybody who waits for the end.
    pub(crate) fn wake_finishers(&self) {
        let mut slots = Vec::new();
        {
            let mut finishers = self.finishers.borrow_mut();
            let ids: Vec<Id> = finishers.iter().map(|(id, _)| id).collect();
            for id in ids {
                if let Some(slot) = finishers.get_mut(id) {
                    slots.push(*slot);
                    *slot = slot.vacated();
                }
            }
        }
        for slot in slots {
            self.shared.wake_waiter(slot);
        }
    }

    /// Takes what an early end left over.
    pub(crate) fn take_left_over(&self) -> Vec<(K, Vec<M>)> {
        self.left_over.take()
    }

    /// Waits for the end; `id` is where the wait is kept from the first poll on.
    pub(crate) fn poll_finish(
        self: &Rc<Self>,
        (id, wait): (&mut Id, &mut Option<Waiting>),
        cx: &Context<'_>,
        note: Note,
    ) -> Poll<Result> {
        if self.shared.is_closed() {
            return Poll::Ready(Err(ErrorKind::LoopGone.into()));
        }
        let site = note.site.unwrap_or(self.site);
        if self.is_finished() {
            // Doors that hold nothing open may still be about.
            self.close();
            return Waiting::poll_over(wait, cx, site).map(Ok);
        }
        if let Err(error) = self.shared.wait_for(wait, self.end_edge(), site) {
            return Poll::Ready(Err(error));
        }
        let has_ended = || self.is_finished() || self.shared.is_closed();
        self.shared
            .park_for_end((&self.finishers, id), cx, note, has_ended)
    }

    /// Gives up waiting for the end.
    pub(crate) fn leave_finish(&self, id: Id) {
        let slot = self.finishers.borrow_mut().remove(id);
        if let Some(slot) = slot {
            self.shared.unpark(slot);
        }
    }

    /// The error of who stood in line and was turned away.
    pub(crate) fn turned_away(&self) -> Error {
        if self.table.borrow().intake == Intake::Ended {
            self.closed()
        } else {
            ErrorKind::Closed {
                what: KEY,
                created_at: Some(self.site),
            }
            .into()
        }
    }
}

impl<K, M, R, E> Drop for Hub<K, M, R, E> {
    /// Hands to the hook what waits for keys that nobody can resume any more, and reports what nobody will ever take.
    fn drop(&mut self) {
        self.shared.engines.set(self.shared.engines.get() - 1);
        let is_open = !self.shared.is_closed();
        let left_over = self.left_over.take();
        let mut left: usize = left_over.iter().map(|(_, messages)| messages.len()).sum();
        let hook = self.rules.on_drop.as_ref().filter(|_| is_open);
        for (name, message) in self.table.get_mut().take_all() {
            let Some(hook) = hook else {
                left += 1;
                self.shared.contain("drop", || drop(message));
                continue;
            };
            let told = || hook(name.get(), message, DropReason::Ended);
            self.shared.contain("callback", told);
        }
        if left > 0 && is_open {
            self.shared.report(&Incident::OrderedFailed {
                engine: self.rules.name.clone(),
                created_at: self.site,
                error: format!("it ended early and {left} queued messages were dropped; drain it to get them back"),
            });
        }
        for (key, messages) in left_over {
            self.shared.drop_each(messages);
            self.shared.drop_each([key]);
        }
    }
}
