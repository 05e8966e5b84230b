//! What calls of a keyed engine wait for, and what of it they hold: its part in the graph in which circles are found.
//!
//! It is apart because the graph spans all engines and joins of a loop, and knows none of them.
//!
//! Places: a key's id stands for the call that has it in hand; [`ROOM`] for room of all, and [`END`] for the end.

use std::fmt;
use std::rc::Rc;

use crate::arena::Id;
use crate::error::Error;
use crate::hub::engine::{Hub, OrderKey};
use crate::hub::key_state::KeyState;
use crate::site::Site;
use crate::waiter::WaiterSlot;
use crate::waits::{Awaited, Edge, Holders, Lender};

/// Stands for room of all keys.
const ROOM: Id = Id::NONE;

/// Stands for the end of the engine: an id that no key has.
fn end() -> Id {
    Id::NONE.unmarked()
}

impl<K, M, R, E> Hub<K, M, R, E>
where
    K: OrderKey,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    /// A wait for something of a key.
    pub(crate) fn edge(self: &Rc<Self>, place: Id, what: &'static str) -> Edge {
        let to = Rc::clone(self) as Rc<dyn Awaited>;
        Edge { to, place, what }
    }

    /// A wait for room in a key's queue, or in the engine where the key has some.
    pub(crate) fn room_edge(self: &Rc<Self>, id: Id) -> Edge {
        let place = if self.table.borrow().waits_for_all(id) {
            ROOM
        } else {
            id
        };
        self.edge(place, "room")
    }

    /// A wait for the end.
    pub(crate) fn end_edge(self: &Rc<Self>) -> Edge {
        self.edge(end(), "the end")
    }

    /// Whether the running coroutine would wait for itself if it asked this key.
    pub(crate) fn closes_by_asking(self: &Rc<Self>, key: &K, site: Site) -> Option<Error> {
        if self.table.borrow().seats.busy() == 0 {
            return None;
        }
        let id = self.find(key)?;
        self.shared.closes(&self.edge(id, "a result"), site)
    }
}

impl<K, M, R, E> Awaited for Hub<K, M, R, E>
where
    K: OrderKey,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    fn holders(&self, place: Id) -> Holders {
        let table = self.table.borrow();
        if place == ROOM || place == end() {
            if place == ROOM && table.has_ready() {
                return Holders::Nobody;
            }
            let busy = table.seats.iter().filter(|(_, seat)| seat.busy);
            let workers = busy.map(|(_, seat)| seat.worker).collect();
            return if place == end() {
                Holders::All(workers)
            } else {
                Holders::Any(workers)
            };
        }
        let seat = table.keys.get(place).and_then(KeyState::seat);
        let seat = seat.and_then(|seat| table.seats.get(seat));
        seat.map_or(Holders::Nobody, |seat| Holders::One(seat.worker))
    }

    fn name(&self, place: Id) -> String {
        let name = {
            let table = self.table.borrow();
            table.keys.get(place).map(|key| key.name.clone())
        };
        match name {
            Some(name) => self.label(name.get()),
            None => self.rules.name.clone().into_owned(),
        }
    }

    fn actor(&self, place: Id) -> String {
        if place == ROOM || place == end() {
            format!("a handler of {}", self.rules.name)
        } else {
            format!("the handler of {}", self.name(place))
        }
    }
}

impl<K, M, R, E> Lender for Hub<K, M, R, E>
where
    K: OrderKey,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    fn lend(&self, seat: u32) {
        let goes_on = self.table.borrow_mut().seats.lend(seat);
        if let Some(slot) = goes_on {
            self.shared.wake_waiter(slot);
        }
        self.grant_permits();
        self.advance_here();
    }

    fn take_back(&self, seat: u32) -> bool {
        self.table.borrow_mut().seats.take_back(seat)
    }

    fn force_back(&self, seat: u32) {
        self.table.borrow_mut().seats.force_back(seat);
    }

    fn slot(&self, seat: u32) -> WaiterSlot {
        self.table.borrow().seats.slot(seat)
    }

    fn set_slot(&self, seat: u32, slot: WaiterSlot) {
        self.table.borrow_mut().seats.set_slot(seat, slot);
    }
}
