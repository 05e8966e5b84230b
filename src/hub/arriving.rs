//! How messages come into a keyed engine: at once, by a wait for room, by a kept place, from other threads.
//!
//! It is apart because it is the only way in: here the limits are kept, and here is decided what goes where there is no room.
//!
//! Invariants:
//! 1. A message is in the engine, in line, given back, or handed to the hook: nowhere else.
//! 2. Only messages of the newcomer's own key are dropped for it, and never the one being handled.

use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::table::{Hold, Item, Room, Want};
use super::{Hub, OrderKey, count};
use crate::arena::Id;
use crate::error::{Error, ErrorKind, Result};
use crate::failure::{DropReason, Overflow, Refused};
use crate::ordered_gate::Gate;
use crate::ordered_queue::{Asker, Intake};
use crate::site::Site;
use crate::waiter::Note;

/// What a key is called in errors.
pub(super) const KEY: &str = "queue of this key";

/// What the limit in bytes is called in errors.
const BYTES: &str = "keyed engine, in bytes,";

/// How a newcomer fared.
pub(crate) enum Arrived {
    /// It is in.
    In(Id),
    /// It stands in line here.
    InLine(Id),
    /// It was dropped for want of room, as the user asked.
    Dropped,
}

/// What did not arrive, and why.
pub(crate) type TurnedAway<M, R, E> = (Want<M, R, E>, Error);

/// What a newcomer does where there is no room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Goes away.
    None,
    /// Waits, if it is let; where it was made.
    Waits(Site),
    /// Waits for a thread that has gone on: its message was taken from it.
    Outside,
}

impl<K, M, R, E> Hub<K, M, R, E>
where
    K: OrderKey,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    /// A message as it is queued. To tell its size is user code.
    #[inline]
    pub(crate) fn item(&self, message: M, asker: Asker<R, E>) -> Item<M, R, E> {
        let size = self.rules.size.as_ref().map_or(0, |size| size(&message));
        Item {
            message,
            asker,
            size,
            since: self.shared.looked_at.get(),
        }
    }

    /// Queues a message if there is room now.
    #[inline]
    pub(crate) fn try_push(self: &Rc<Self>, key: K, message: M) -> Result<(), Refused<M>> {
        let item = self.item(message, None);
        let id = match self.locate(key) {
            Ok(id) if !self.shared.is_closed() => id,
            Ok(id) => {
                self.let_go(id);
                return Err(Refused::new(item.message, self.closed()));
            }
            Err(error) => return Err(Refused::new(item.message, error)),
        };
        let offered = self.table.borrow_mut().offer(id, item);
        match offered {
            Ok(()) => {
                self.advance();
                Ok(())
            }
            Err(item) => self.push_crowded(id, item),
        }
    }

    /// The same where there was none.
    #[cold]
    fn push_crowded(self: &Rc<Self>, id: Id, item: Item<M, R, E>) -> Result<(), Refused<M>> {
        if !self.is_open() {
            self.let_go(id);
            return Err(Refused::new(item.message, self.closed()));
        }
        match self.arrive_at(id, Want::Item(item), Patience::None) {
            Err((Want::Item(item), error)) => Err(Refused::new(item.message, error)),
            _ => Ok(()),
        }
    }

    /// Takes in a message or keeps a place if there is room; lines up, drops or refuses if not.
    #[inline]
    pub(crate) fn arrive(
        self: &Rc<Self>,
        key: K,
        want: Want<M, R, E>,
        patience: Patience,
    ) -> Result<Arrived, TurnedAway<M, R, E>> {
        if !self.is_open() {
            return Err((want, self.closed()));
        }
        let id = match self.locate(key) {
            Ok(id) => id,
            Err(error) => return Err((want, error)),
        };
        self.arrive_at(id, want, patience)
    }

    /// The same where the key's place is known.
    #[inline]
    fn arrive_at(
        self: &Rc<Self>,
        id: Id,
        want: Want<M, R, E>,
        patience: Patience,
    ) -> Result<Arrived, TurnedAway<M, R, E>> {
        let room = {
            let mut table = self.table.borrow_mut();
            match table.keys.get(id) {
                Some(key) if key.hold != Hold::Stopped => match table.room(id, want.size()) {
                    Room::Free => {
                        match want {
                            Want::Item(item) | Want::Outside(item) => table.push(id, item),
                            _ => table.keep_place(id),
                        }
                        drop(table);
                        self.advance();
                        return Ok(Arrived::In(id));
                    }
                    room => Some(room),
                },
                _ => None,
            }
        };
        let result = self.crowded(id, want, room, patience);
        self.let_go(id);
        result
    }

    /// Decides what goes where there is no room; without `room`, the key is stopped.
    #[cold]
    fn crowded(
        self: &Rc<Self>,
        id: Id,
        want: Want<M, R, E>,
        room: Option<Room>,
        patience: Patience,
    ) -> Result<Arrived, TurnedAway<M, R, E>> {
        let limit = self.rules.limits.bytes;
        let room = match room {
            Some(room) if want.size() <= limit => room,
            room => {
                if let Want::Outside(item) = want {
                    let why = room.map_or(DropReason::Stopped, |_| DropReason::Overflow);
                    self.discard(id, item, why);
                    return Ok(Arrived::Dropped);
                }
                let what = BYTES;
                let refused = room.map_or(
                    ErrorKind::Closed {
                        what: KEY,
                        created_at: Some(self.site),
                    },
                    |_| ErrorKind::Refused {
                        what,
                        limit,
                        created_at: Some(self.site),
                    },
                );
                return Err((want, refused.into()));
            }
        };
        match (self.rules.overflow, room) {
            (Overflow::Wait | Overflow::Refuse, _) | (_, Room::NoneAtAll)
                if patience == Patience::Outside =>
            {
                let waiter = self.table.borrow_mut().line_up(id, want);
                Ok(Arrived::InLine(waiter))
            }
            (Overflow::Wait, _) => match patience {
                Patience::Waits(site) => {
                    let place = match room {
                        Room::NoneOfKey => self.edge(id, "room"),
                        _ => self.room_edge(id),
                    };
                    if let Some(error) = self.shared.closes(&place, site) {
                        return Err((want, error));
                    }
                    let waiter = self.table.borrow_mut().line_up(id, want);
                    Ok(Arrived::InLine(waiter))
                }
                _ => Err((want, self.full(room))),
            },
            (Overflow::DropNewest, Room::NoneOfKey) => match want {
                Want::Item(item) | Want::Outside(item) => {
                    self.discard(id, item, DropReason::Overflow);
                    Ok(Arrived::Dropped)
                }
                want => Err((want, self.full(room))),
            },
            (Overflow::DropOldest | Overflow::KeepLast, Room::NoneOfKey) => {
                let most = match self.rules.overflow {
                    Overflow::KeepLast => usize::MAX,
                    _ => 1,
                };
                if !self.table.borrow().fits_instead(id, most, want.size()) {
                    // Nothing is dropped in vain.
                    return self.refused_or_dropped(id, want, Room::NoneAtAll);
                }
                self.make_room(id, most);
                self.arrive_again(id, want)
            }
            _ => Err((want, self.full(room))),
        }
    }

    /// Takes in what room was made for. The hook that heard of the others may have used it.
    fn arrive_again(
        self: &Rc<Self>,
        id: Id,
        want: Want<M, R, E>,
    ) -> Result<Arrived, TurnedAway<M, R, E>> {
        {
            let mut table = self.table.borrow_mut();
            if table.fits_instead(id, 0, want.size()) {
                match want {
                    Want::Item(item) | Want::Outside(item) => table.push(id, item),
                    _ => table.keep_place(id),
                }
                drop(table);
                self.advance();
                return Ok(Arrived::In(id));
            }
        }
        self.refused_or_dropped(id, want, Room::NoneOfKey)
    }

    /// Gives back what found no room, or drops it if it has been taken from a thread that has gone on.
    fn refused_or_dropped(
        &self,
        id: Id,
        want: Want<M, R, E>,
        room: Room,
    ) -> Result<Arrived, TurnedAway<M, R, E>> {
        match want {
            Want::Outside(item) => {
                self.discard(id, item, DropReason::Overflow);
                Ok(Arrived::Dropped)
            }
            want => Err((want, self.full(room))),
        }
    }

    /// Drops so many messages of a key, the oldest first.
    fn make_room(self: &Rc<Self>, id: Id, most: usize) {
        for _ in 0..most {
            let oldest = self.table.borrow_mut().pop(id);
            let Some(oldest) = oldest else { break };
            self.discard(id, oldest, DropReason::Overflow);
        }
    }

    /// The error of who finds no room.
    fn full(&self, room: Room) -> Error {
        let limits = self.rules.limits;
        let (what, limit) = match room {
            Room::NoneOfKey => (KEY, limits.per_key),
            _ => (super::ENGINE, limits.total),
        };
        ErrorKind::Refused {
            what,
            limit,
            created_at: Some(self.site),
        }
        .into()
    }

    /// Hands a message that will not be handled to the hook, and tells who asked. Nothing is borrowed here.
    pub(super) fn discard(&self, id: Id, item: Item<M, R, E>, why: DropReason) {
        count(&self.counts.dropped);
        let name = {
            let table = self.table.borrow();
            table.keys.get(id).map(|key| key.name.clone())
        };
        let Item { message, asker, .. } = item;
        match (&self.rules.on_drop, name) {
            (Some(hook), Some(name)) => {
                self.shared
                    .contain("callback", || hook(name.get(), message, why));
            }
            _ => {
                self.shared.contain("drop", || drop(message));
            }
        }
        if let Some(asker) = asker {
            let (what, why) = ("message", why.text());
            let dropped = || E::from(ErrorKind::Dropped { what, why }.into());
            if let Some(error) = self.shared.contain("error's From", dropped) {
                asker.resolve(Err(error));
            }
        }
    }

    // In line.

    /// Waits in line. What is got wins over a cancel.
    pub(crate) fn poll_line(
        self: &Rc<Self>,
        waiter: Id,
        cx: &Context<'_>,
        note: Note,
    ) -> Poll<Result<Want<M, R, E>>> {
        let got = self.table.borrow_mut().collect(waiter);
        if let Some(got) = got {
            return Poll::Ready(Ok(got));
        }
        let slot = self.table.borrow().slot(waiter);
        match self.shared.park(slot, cx, note) {
            Ok(slot) => {
                self.table.borrow_mut().set_slot(waiter, slot);
                Poll::Pending
            }
            Err(cancel) => {
                self.table.borrow_mut().set_slot(waiter, slot.vacated());
                self.leave_line(waiter);
                Poll::Ready(Err(cancel))
            }
        }
    }

    /// In which key's line somebody is.
    pub(crate) fn line_of(&self, waiter: Id) -> Id {
        let table = self.table.borrow();
        table
            .waiters
            .get(waiter)
            .map_or(Id::NONE, |waiter| waiter.key)
    }

    /// Gives a place in line up, with what it got.
    pub(crate) fn leave_line(self: &Rc<Self>, waiter: Id) {
        let slot = self.table.borrow().slot(waiter);
        self.shared.unpark(slot);
        let left = self.table.borrow_mut().leave(waiter);
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

    /// Queues a message at a kept place.
    pub(crate) fn push_kept(self: &Rc<Self>, id: Id, message: M) -> Result<(), Refused<M>> {
        let item = self.item(message, None);
        let refused = {
            let mut table = self.table.borrow_mut();
            let key = table.keys.get(id);
            let open = key.is_some_and(|key| key.kept > 0 && key.hold != Hold::Stopped);
            if !open || table.intake == Intake::Ended || self.shared.is_closed() {
                Some((item, self.closed_now(&table)))
            } else if table.fits_bytes(item.size) {
                table.free_place(id);
                table.push(id, item);
                None
            } else {
                let (what, limit) = (BYTES, self.rules.limits.bytes);
                Some((
                    item,
                    ErrorKind::Refused {
                        what,
                        limit,
                        created_at: Some(self.site),
                    },
                ))
            }
        };
        if let Some((item, error)) = refused {
            self.free_place(id);
            return Err(Refused::new(item.message, error.into()));
        }
        self.advance();
        Ok(())
    }

    /// Why nothing is taken in any more.
    fn closed_now(&self, table: &super::Table<K, M, R, E>) -> ErrorKind {
        match table.intake {
            _ if self.shared.is_closed() => ErrorKind::LoopGone,
            Intake::Ended => ErrorKind::Closed {
                what: super::ENGINE,
                created_at: Some(self.site),
            },
            _ => ErrorKind::Closed {
                what: KEY,
                created_at: Some(self.site),
            },
        }
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
            let Some(key) = self.shared.contain("key's Hash", || self.locate(key)) else {
                self.release_one();
                continue;
            };
            let Ok(id) = key else {
                self.release_one();
                continue;
            };
            let want = Want::Outside(self.item(message, None));
            if !matches!(
                self.arrive_at(id, want, Patience::Outside),
                Ok(Arrived::InLine(_))
            ) {
                self.release_one();
            }
        }
    }

    /// One message of another thread counts in the gate no more.
    fn release_one(&self) {
        if let Some(gate) = self.gate.get() {
            gate.release(1);
        }
    }
}
