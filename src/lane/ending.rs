//! How a lane ends: its doors counted, its intake closed, its waiters told, its state given out.
//!
//! It is apart because nothing of it is on the way of a message.
//!
//! Invariants:
//! 1. Whoever waits for the end is woken when it has come, and looks again by himself.
//! 2. The state is given out once; a lane that gave it out takes nothing any more.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::Lane;
use crate::arena::Id;
use crate::error::{Error, ErrorKind, Result};
use crate::incident::Incident;
use crate::ordered_gate::Shut;
use crate::ordered_queue::{Entry, Intake};
use crate::site::Site;
use crate::waiter::Note;
use crate::waiting::Waiting;

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Lane<M, R, E> {
    /// One more door.
    pub(crate) fn add_door(&self) {
        self.doors.set(self.doors.get() + 1);
    }

    /// One door less.
    pub(crate) fn drop_door(self: &Rc<Self>) {
        self.doors.set(self.doors.get() - 1);
        self.settle_down();
    }

    /// Takes no more newcomers.
    pub(crate) fn close(self: &Rc<Self>) {
        self.queue.borrow_mut().close();
        if let Some(gate) = self.gate.get() {
            gate.shut(Shut::Closed);
        }
        self.settle_down();
    }

    /// Takes nothing any more, and keeps what was queued for `drain`. The running call goes on.
    pub(super) fn cut_short(&self) {
        let (entries, slots) = self.queue.borrow_mut().end();
        for Entry { message, asker } in entries {
            self.left_over.borrow_mut().push(message);
            drop(asker);
        }
        if let Some(gate) = self.gate.get() {
            gate.shut(Shut::Closed);
            self.left_over.borrow_mut().extend(gate.take_all());
        }
        for slot in slots {
            self.shared.wake_waiter(slot);
        }
    }

    /// Ends the lane before it is dry: nothing more is taken, the running call is cancelled.
    pub(crate) fn cut_off(self: &Rc<Self>, reason: &'static str, site: Site) {
        self.cut_short();
        let worker = self.worker.get();
        if !worker.is_none() {
            self.shared.cancel(worker, Cow::Borrowed(reason), site);
        }
        self.settle_down();
    }

    /// The loop is gone, and with it all that waits.
    pub(super) fn gone(&self) {
        let running = self.running.take();
        let (entries, slots) = self.queue.borrow_mut().end();
        self.drop_sent();
        for slot in slots {
            self.shared.wake_waiter(slot);
        }
        self.wake_finishers();
        drop(running);
        self.shared.drop_each(entries);
    }

    /// The loop is gone, and with it what other threads have sent.
    pub(crate) fn drop_sent(&self) {
        if let Some(gate) = self.gate.get() {
            gate.shut(Shut::LoopGone);
            self.shared.drop_each(gate.take_all());
        }
    }

    /// Whether nothing is left to do and nothing can arrive.
    pub(crate) fn is_finished(&self) -> bool {
        let queue = self.queue.borrow();
        self.worker.get().is_none()
            && queue.is_dry()
            && (queue.intake() != Intake::Open || self.doors.get() == 0)
            && self.gate.get().is_none_or(|gate| gate.is_empty())
    }

    /// Tells who waits for the end, if it has come.
    pub(super) fn settle_down(&self) {
        let waited_for = !self.finishers.borrow().is_empty();
        if waited_for && self.is_finished() {
            self.wake_finishers();
        }
    }

    /// Wakes everybody who waits for the end.
    fn wake_finishers(&self) {
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

    /// Ends a finished lane and gives the state out, in a box. None if it was given out before.
    pub(crate) fn take_state(&self) -> Option<Box<dyn Any>> {
        self.queue.borrow_mut().end();
        Some(self.home.take()?.into_state())
    }

    /// Takes what an early end left over.
    pub(crate) fn take_left_over(&self) -> Vec<M> {
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
            return Waiting::poll_over(wait, cx, site).map(Ok);
        }
        if let Err(error) = self.shared.wait_for(wait, self.edge("the end"), site) {
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
}

impl<M, R, E> Drop for Lane<M, R, E> {
    /// Reports what nobody will ever handle or take (keeps invariant 4).
    fn drop(&mut self) {
        self.shared.engines.set(self.shared.engines.get() - 1);
        let left_over = self.left_over.take();
        let count = left_over.len();
        if count > 0 && !self.shared.is_closed() {
            self.shared.report(&Incident::OrderedDropped {
                engine: self.name.clone(),
                created_at: self.site,
                count,
            });
        }
        self.shared.drop_each(left_over);
    }
}
