//! How messages come into a keyed engine that has room for them: at once, by a wait, at a kept place.
//!
//! It is apart because it is the way of most messages, and the short one.
//!
//! Invariant: a message that was not taken in is given back.

use std::fmt;
use std::rc::Rc;

use crate::arena::Id;
use crate::error::{Error, ErrorKind, Result};
use crate::failure::Refused;
use crate::hub::crowding::{Arrived, Patience, TurnedAway};
use crate::hub::engine::{BYTES, ENGINE, Hub, KEY, OrderKey};
use crate::hub::key_state::Marks;
use crate::hub::message::{Item, Want};
use crate::hub::room::Room;
use crate::hub::table::Table;
use crate::ordered_queue::{Asker, Intake};
use crate::timers::Nanos;

impl<K, M, R, E> Hub<K, M, R, E>
where
    K: OrderKey,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    /// A message's size. This is user code.
    #[inline]
    pub(super) fn size(&self, message: &M) -> usize {
        self.rules.size.as_ref().map_or(0, |size| size(message))
    }

    /// A message's size and since when it waits. The first is user code.
    #[inline]
    pub(crate) fn weigh(&self, message: &M) -> (usize, Nanos) {
        (self.size(message), self.shared.looked_at.get())
    }

    /// Queues a message if there is room now.
    #[inline]
    pub(crate) fn try_push(self: &Rc<Self>, key: K, message: M) -> Result<(), Refused<M>> {
        let weighed = self.weigh(&message);
        let id = match self.locate(key) {
            Ok(id) => id,
            Err(error) => return Err(Refused::new(message, error)),
        };
        match self.offer(id, message, None, weighed) {
            Ok(()) => Ok(()),
            Err((message, _)) => self.push_crowded(id, message, weighed),
        }
    }

    /// Takes a message in if there is room now: the short way. It goes in parts: a whole item would be read as other words than it was
    /// written, which stalls the CPU.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "on the way of every message, from two places"
    )]
    fn offer(
        self: &Rc<Self>,
        id: Id,
        message: M,
        asker: Asker<R, E>,
        weighed: (usize, Nanos),
    ) -> Result<(), (M, Asker<R, E>)> {
        if self.shared.is_closed() {
            return Err((message, asker));
        }
        let lacks_scout = {
            let mut table = self.table.borrow_mut();
            table.offer(id, message, asker, weighed)?;
            table.lacks_scout()
        };
        if lacks_scout {
            self.send_scout();
        }
        Ok(())
    }

    /// The same where there was none.
    #[cold]
    fn push_crowded(
        self: &Rc<Self>,
        id: Id,
        message: M,
        (size, since): (usize, Nanos),
    ) -> Result<(), Refused<M>> {
        let want = Want::Item(Item {
            message,
            asker: None,
            size,
            since,
        });
        match self.arrive_at(id, want, Patience::None) {
            Err((Want::Item(item), error)) => Err(Refused::new(item.message, error)),
            _ => Ok(()),
        }
    }

    /// Takes in a message if there is room; lines up, drops or refuses if not.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "on the way of every message")]
    pub(crate) fn arrive(
        self: &Rc<Self>,
        key: K,
        message: M,
        asker: Asker<R, E>,
        patience: Patience,
    ) -> Result<Arrived, Error> {
        let weighed = self.weigh(&message);
        let id = self.locate(key)?;
        match self.offer(id, message, asker, weighed) {
            Ok(()) => Ok(Arrived::In(id)),
            Err((message, asker)) => self.arrive_crowded(id, message, asker, weighed, patience),
        }
    }

    /// The same where there was none.
    #[cold]
    fn arrive_crowded(
        self: &Rc<Self>,
        id: Id,
        message: M,
        asker: Asker<R, E>,
        (size, since): (usize, Nanos),
        patience: Patience,
    ) -> Result<Arrived, Error> {
        let want = Want::Item(Item {
            message,
            asker,
            size,
            since,
        });
        self.arrive_at(id, want, patience)
            .map_err(|(_, error)| error)
    }

    /// Keeps a place if there is room; lines up or refuses if not.
    pub(crate) fn arrive_to_reserve(
        self: &Rc<Self>,
        key: K,
        patience: Patience,
    ) -> Result<Arrived, Error> {
        let id = self.locate(key)?;
        let arrived = self.arrive_at(id, Want::Place, patience);
        arrived.map_err(|(_, error)| error)
    }

    /// The same where the key's place is known, and the short way does not do.
    pub(super) fn arrive_at(
        self: &Rc<Self>,
        id: Id,
        want: Want<M, R, E>,
        patience: Patience,
    ) -> Result<Arrived, TurnedAway<M, R, E>> {
        let result = if patience == Patience::Outside || self.is_open() {
            self.arrive_open(id, want, patience)
        } else {
            Err((want, self.closed()))
        };
        self.let_go(id);
        result
    }

    /// The same where the engine takes newcomers in.
    fn arrive_open(
        self: &Rc<Self>,
        id: Id,
        want: Want<M, R, E>,
        patience: Patience,
    ) -> Result<Arrived, TurnedAway<M, R, E>> {
        let room = {
            let mut table = self.table.borrow_mut();
            match table.keys.get(id) {
                Some(key) if !key.is(Marks::STOPPED) => match table.room(id, want.size()) {
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
        self.crowded(id, want, room, patience)
    }

    /// Queues a message at a kept place.
    pub(crate) fn push_kept(
        self: &Rc<Self>,
        id: Id,
        message: M,
        (size, since): (usize, Nanos),
    ) -> Result<(), Refused<M>> {
        let item = Item {
            message,
            asker: None,
            size,
            since,
        };
        let refused = {
            let mut table = self.table.borrow_mut();
            let key = table.keys.get(id);
            let open = key.is_some_and(|key| table.kept_of(id) > 0 && !key.is(Marks::STOPPED));
            if !open || table.intake == Intake::Ended || self.shared.is_closed() {
                Some((item, self.closed_now(&table)))
            } else if table.fits_bytes(item.size) {
                table.take_place(id);
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
    fn closed_now(&self, table: &Table<K, M, R, E>) -> ErrorKind {
        match table.intake {
            _ if self.shared.is_closed() => ErrorKind::LoopGone,
            Intake::Ended => ErrorKind::Closed {
                what: ENGINE,
                created_at: Some(self.site),
            },
            _ => ErrorKind::Closed {
                what: KEY,
                created_at: Some(self.site),
            },
        }
    }
}
