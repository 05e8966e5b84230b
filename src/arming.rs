//! Arming a timer that wakes who waits or queues a callback, and disarming it.
//!
//! It is apart because the timers themselves know neither of waiters nor of callbacks: they keep and order what is given to them.
//!
//! Invariant: a callback is taken out with its timer, and called or dropped with nothing borrowed.

use crate::job::Job;
use crate::shared::{Callback, Fire, Shared};
use crate::timers::{Nanos, TimerId};
use crate::waiter::WaiterSlot;

impl Shared {
    /// Arms a timer for `after` from the next look, which wakes who waits in the slot.
    #[inline]
    pub(crate) fn arm(&self, after: Nanos, slot: WaiterSlot) -> TimerId {
        let id = self.timers.borrow_mut().arm(after, Fire::Wake(slot));
        self.touched();
        id
    }

    /// Arms a timer for a reading of the clock, which wakes who waits in the slot.
    pub(crate) fn arm_at(&self, deadline: Nanos, slot: WaiterSlot) -> TimerId {
        let id = self.timers.borrow_mut().arm_at(deadline, Fire::Wake(slot));
        self.touched();
        id
    }

    /// Arms a timer for `after` from the next look, which queues a callback.
    pub(crate) fn arm_call(&self, after: Nanos, callback: Callback) -> TimerId {
        let number = self.timer_calls.borrow_mut().insert(callback);
        let id = self.timers.borrow_mut().arm(after, Fire::Call(number));
        self.touched();
        id
    }

    /// Arms a timer for a reading of the clock, which queues a callback.
    pub(crate) fn arm_call_at(&self, deadline: Nanos, callback: Callback) -> TimerId {
        let number = self.timer_calls.borrow_mut().insert(callback);
        let id = self
            .timers
            .borrow_mut()
            .arm_at(deadline, Fire::Call(number));
        self.touched();
        id
    }

    /// Takes a timer out. What it would have called is dropped here. Tells whether it was still to come.
    pub(crate) fn disarm(&self, id: TimerId) -> bool {
        let fire = self.timers.borrow_mut().remove(id);
        drop(fire.and_then(|fire| self.take_timer_call(fire)));
        fire.is_some()
    }

    /// Takes the callback of a timer out that is due, if it was not cancelled.
    pub(crate) fn take_due(&self, id: TimerId) -> Option<Callback> {
        let fire = self.timers.borrow_mut().remove(id)?;
        self.take_timer_call(fire)
    }

    /// The callback of a timer that is gone.
    fn take_timer_call(&self, fire: Fire) -> Option<Callback> {
        let Fire::Call(number) = fire else {
            return None;
        };
        self.timer_calls.borrow_mut().try_remove(number)
    }

    /// Who waits for a timer, if it is still to come.
    pub(crate) fn timer_waiter(&self, id: TimerId) -> Option<WaiterSlot> {
        let mut timers = self.timers.borrow_mut();
        match timers.get_mut(id) {
            Some(Fire::Wake(slot)) => Some(*slot),
            _ => None,
        }
    }

    /// Changes who waits for a timer.
    pub(crate) fn set_timer_waiter(&self, id: TimerId, waiter: WaiterSlot) {
        let mut timers = self.timers.borrow_mut();
        if let Some(Fire::Wake(slot)) = timers.get_mut(id) {
            *slot = waiter;
        }
    }

    /// Takes out a timer that is still to come, and forgets who waits for it.
    #[inline]
    pub(crate) fn give_up_timer(&self, id: TimerId) {
        let fire = self.timers.borrow_mut().remove(id);
        if let Some(Fire::Wake(slot)) = fire
            && slot.token().is_some()
        {
            self.unpark(slot);
        }
    }

    /// Queues a timer's callback, which may still be cancelled.
    pub(crate) fn push_timer(&self, id: TimerId) {
        self.push(Job(id.marked()));
    }
}
