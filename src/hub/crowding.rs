//! What goes where there is no room in a keyed engine: the newcomer waits, is refused, or others are dropped.
//!
//! It is apart because most messages find room and never come here.
//!
//! Invariants:
//! 1. A message is in the engine, in line, given back, or handed to the hook: nowhere else.
//! 2. Only messages of the newcomer's own key are dropped for it, and never the one being handled.

use std::fmt;
use std::rc::Rc;

use crate::arena::Id;
use crate::error::{Error, ErrorKind};
use crate::failure::{DropReason, Overflow};
use crate::hub::engine::{BYTES, ENGINE, Hub, KEY, OrderKey, count};
use crate::hub::key_state::Marks;
use crate::hub::message::{Item, Want};
use crate::hub::room::Room;
use crate::key_name::KeyName;
use crate::site::Site;

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
    /// Decides what goes where there is no room; without `room`, the key is stopped.
    #[cold]
    pub(super) fn crowded(
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
        let drops = !matches!(self.rules.overflow, Overflow::Wait | Overflow::Refuse);
        let room = if drops && self.has_line(id) {
            // Who waits there waits for room of all, and nobody passes him.
            Room::NoneAtAll
        } else {
            room
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
                let name = self.name_of(id);
                if !self.table.borrow().fits_instead(id, most, want.size()) {
                    // Nothing is dropped in vain.
                    return self.refused_or_dropped(name, want, Room::NoneAtAll);
                }
                self.make_room(id, most);
                self.arrive_again(id, name, want)
            }
            _ => Err((want, self.full(room))),
        }
    }

    /// Whether anybody stands in a key's line.
    fn has_line(&self, id: Id) -> bool {
        let table = self.table.borrow();
        let key = table.keys.get(id);
        key.is_some_and(|key| key.is(Marks::HAS_LINE))
    }

    /// Takes in what room was made for. The hook that heard of the others may have used it.
    fn arrive_again(
        self: &Rc<Self>,
        id: Id,
        name: Option<KeyName<K>>,
        want: Want<M, R, E>,
    ) -> Result<Arrived, TurnedAway<M, R, E>> {
        {
            let mut table = self.table.borrow_mut();
            if table.fits_key(id, want.size()) {
                match want {
                    Want::Item(item) | Want::Outside(item) => table.push(id, item),
                    _ => table.keep_place(id),
                }
                drop(table);
                self.admit();
                self.advance();
                return Ok(Arrived::In(id));
            }
        }
        self.admit();
        self.refused_or_dropped(name, want, Room::NoneOfKey)
    }

    /// Gives back what found no room, or drops it if it has been taken from a thread that has gone on.
    fn refused_or_dropped(
        &self,
        name: Option<KeyName<K>>,
        want: Want<M, R, E>,
        room: Room,
    ) -> Result<Arrived, TurnedAway<M, R, E>> {
        match want {
            Want::Outside(item) => {
                self.discard_of(name, item, DropReason::Overflow);
                Ok(Arrived::Dropped)
            }
            want => Err((want, self.full(room))),
        }
    }

    /// Drops so many messages of a key, the oldest first, and none that the hook sends meanwhile.
    fn make_room(self: &Rc<Self>, id: Id, most: usize) {
        let there = self.table.borrow().count(id);
        for _ in 0..most.min(there) {
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
            _ if self.rules.size.is_some() && self.table.borrow().fits(0) => (BYTES, limits.bytes),
            _ => (ENGINE, limits.total),
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
        self.discard_of(self.name_of(id), item, why);
    }

    /// A key's name.
    pub(super) fn name_of(&self, id: Id) -> Option<KeyName<K>> {
        let table = self.table.borrow();
        table.keys.get(id).map(|key| key.name.clone())
    }

    /// The same where the hook may have had the key let go since.
    pub(super) fn discard_of(
        &self,
        name: Option<KeyName<K>>,
        item: Item<M, R, E>,
        why: DropReason,
    ) {
        count(&self.counts.dropped);
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
}
