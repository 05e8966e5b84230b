//! What is done to one key of a keyed engine from outside: held, resumed, forgotten, cancelled, looked at.
//!
//! It is apart because nothing of it is on the way of a message.

use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

use crate::arena::Id;
use crate::error::Error;
use crate::failure::DropReason;
use crate::hub::engine::{Hub, OrderKey};
use crate::hub::key_state::{Hold, Marks};
use crate::hub::table::Table;
use crate::site::Site;

impl<K, M, R, E> Hub<K, M, R, E>
where
    K: OrderKey,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    /// Sets whether a key's messages are handled. A message that runs free has no others to be held.
    pub(crate) fn hold(&self, id: Id, hold: Hold) {
        let mut table = self.table.borrow_mut();
        if let Some(key) = table.keys.get_mut(id).filter(|key| !key.is(Marks::FREE)) {
            key.set_hold(hold);
        }
    }

    /// Stops a key: hands its messages to the hook, and turns away who waits for room.
    pub(crate) fn stop(self: &Rc<Self>, id: Id) {
        self.hold(id, Hold::Stopped);
        self.clear(id, DropReason::Stopped);
    }

    /// Drops what is queued for a key, and turns away who waits for room in it. What the hook sends meanwhile is new.
    fn clear(self: &Rc<Self>, id: Id, why: DropReason) {
        let name = self.name_of(id);
        let there = self.table.borrow().count(id);
        for _ in 0..there {
            let item = self.table.borrow_mut().pop(id);
            let Some(item) = item else { break };
            self.discard(id, item, why);
        }
        let (slots, outside) = {
            let mut table = self.table.borrow_mut();
            // What comes now has its turn behind all who wait.
            table.give_up_turn(id);
            table.turn_away(id)
        };
        for slot in slots {
            self.shared.wake_waiter(slot);
        }
        if let Some(gate) = self.gate.get() {
            gate.release(outside.len());
        }
        for item in outside {
            self.discard_of(name.clone(), item, why);
        }
        self.admit();
    }

    /// Lets a held key's messages be handled again. Tells whether it was held.
    pub(crate) fn resume(self: &Rc<Self>, key: &K, drops_state: bool) -> bool {
        let Some(id) = self.find(key) else {
            return false;
        };
        let has_state = {
            let mut table = self.table.borrow_mut();
            let Table { keys, seats, .. } = &mut *table;
            let Some(key) = keys.get_mut(id) else {
                return false;
            };
            if key.hold() == Hold::Open {
                return false;
            }
            key.set_hold(Hold::Open);
            let seat = key.seat().and_then(|seat| seats.get(seat));
            if drops_state && seat.is_some_and(|seat| !seat.busy) {
                // Its worker is telling of the failure: it drops the state before it takes the next message.
                key.mark(Marks::FORGOTTEN, true);
            }
            drops_state && key.is(Marks::HAS_STATE) && seat.is_none()
        };
        if has_state {
            self.drop_state(id);
        }
        self.table.borrow_mut().make_ready(id);
        self.let_go(id);
        self.advance();
        self.settle_down();
        true
    }

    /// Drops a key's state.
    pub(crate) fn drop_state(&self, id: Id) {
        {
            let mut table = self.table.borrow_mut();
            if let Some(key) = table.keys.get_mut(id) {
                key.mark(Marks::HAS_STATE, false);
            }
        }
        self.shared.contain("drop", || self.crew.drop_state(id));
    }

    /// Drops what is queued for a key and its state, and forgets that it was held. A call that runs goes on, with its state; that is
    /// dropped after it. Tells whether there was anything.
    pub(crate) fn forget(self: &Rc<Self>, key: &K) -> bool {
        let Some(id) = self.find(key) else {
            return false;
        };
        self.clear(id, DropReason::Forgotten);
        self.hold(id, Hold::Open);
        let rests = {
            let mut table = self.table.borrow_mut();
            let key = table.keys.get_mut(id);
            key.is_some_and(|key| {
                let runs = key.seat().is_some();
                key.mark(Marks::FORGOTTEN, runs);
                !runs
            })
        };
        if rests {
            self.drop_state(id);
        }
        self.table.borrow_mut().make_ready(id);
        self.let_go(id);
        self.advance();
        self.settle_down();
        true
    }

    /// Cancels the call that a key runs. Tells whether there was one.
    pub(crate) fn cancel(&self, key: &K, reason: Cow<'static, str>, site: Site) -> bool {
        let worker = self.find(key).and_then(|id| {
            let table = self.table.borrow();
            let seat = table.keys.get(id)?.seat()?;
            let seat = table.seats.get(seat).filter(|seat| seat.busy)?;
            Some(seat.worker)
        });
        worker.is_some_and(|worker| self.shared.cancel(worker, reason, site))
    }
}
