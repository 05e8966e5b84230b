//! What a coroutine waits for, as far as it is another coroutine's doing: the edges of the graph in which circles are found.
//!
//! It is apart because the record of a coroutine keeps its edges, and knows neither engines nor joins.

use std::rc::Rc;

use crate::arena::Id;
use crate::waiter::WaiterSlot;

/// Something that coroutines wait for; `place` says what of it.
pub(crate) trait Awaited {
    /// Who must move before the wait can end.
    fn holders(&self, place: Id) -> Holders;

    /// What it is called. This may be user code.
    fn name(&self, place: Id) -> String;

    /// What is called who holds it. This may be user code.
    fn actor(&self, place: Id) -> String;
}

/// Coroutines that must move before a wait can end.
pub(crate) enum Holders {
    /// None that is known: it may end by itself.
    Nobody,
    /// This one.
    One(Id),
    /// All of these.
    All(Vec<Id>),
    /// Any of these.
    Any(Vec<Id>),
}

/// A wait of a coroutine.
#[derive(Clone)]
pub(crate) struct Edge {
    /// What it waits for.
    pub(crate) to: Rc<dyn Awaited>,
    /// What of it.
    pub(crate) place: Id,
    /// The wait, in words.
    pub(crate) what: &'static str,
}

/// An engine that allows so many calls at a time.
pub(crate) trait Lender {
    /// The call in this seat waits: another one may run.
    fn lend(&self, seat: u32);

    /// One wait less of the call in this seat. False if it must first wait for a permit, with the slot by which it is woken then.
    fn take_back(&self, seat: u32) -> bool;

    /// The call in this seat runs on whether there is a permit or not.
    fn force_back(&self, seat: u32);

    /// Who is woken when there is a permit.
    fn slot(&self, seat: u32) -> WaiterSlot;

    /// Changes who is woken when there is a permit.
    fn set_slot(&self, seat: u32, slot: WaiterSlot);
}
