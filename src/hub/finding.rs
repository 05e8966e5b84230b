//! How a key is found, comes into a keyed engine, and is let go.
//!
//! It is apart because only here runs a key's own code (`Hash`, `Eq`, `Drop`), and a user's answer to a question about a key.
//!
//! Invariants:
//! 1. That code runs with nothing borrowed. While `Hash` or `Eq` runs, nobody finds a key or enters one, and none is let go: what is
//!    compared stays as it is.
//! 2. A key without messages, line, kept places, state or hold is let go; what was put off by that, as soon as the comparing has ended,
//!    or with the next look-up if it panicked.

use std::cell::Cell;
use std::fmt;

use crate::arena::Id;
use crate::error::Error;
use crate::hub::engine::{Hub, OrderKey};
use crate::hub::index::{Probe, hash};
use crate::hub::key_state::Marks;

/// A key's own code came back to the engine that runs it.
struct Reentered;

/// The error of that.
#[cold]
fn reentered() -> Error {
    Error::other("a key's Hash or Eq used the engine that it is a key of")
}

/// Says that a key's own code runs, until it is dropped.
struct Comparing<'a>(&'a Cell<bool>);

impl Drop for Comparing<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl<K, M, R, E> Hub<K, M, R, E>
where
    K: OrderKey,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    /// The key's place, if it has one.
    pub(super) fn find(&self, key: &K) -> Option<Id> {
        self.search(key).ok()?.0
    }

    /// The key's place, if it has one, and its hash.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "on the way of every message")]
    fn search(&self, key: &K) -> Result<(Option<Id>, u32), Reentered> {
        let found = self.compare(key)?;
        if self.has_put_off.get() {
            return self.search_again(key);
        }
        Ok(found)
    }

    /// Lets go what was put off, and looks again: the key that was found may be gone, and the one that was not may be there.
    #[cold]
    fn search_again(&self, key: &K) -> Result<(Option<Id>, u32), Reentered> {
        self.has_put_off.set(false);
        for id in self.put_off.take() {
            self.let_go(id);
        }
        self.search(key)
    }

    /// Looks once.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "on the way of every message")]
    fn compare(&self, key: &K) -> Result<(Option<Id>, u32), Reentered> {
        if self.comparing.replace(true) {
            return Err(Reentered);
        }
        let _comparing = Comparing(&self.comparing);
        let hash = hash(self.seed, key);
        let mut probe = Probe::new(hash);
        loop {
            // Nobody else has it: to borrow it alone costs less.
            let candidate = self.table.borrow_mut().candidate(&mut probe);
            let Some((id, name)) = candidate else {
                return Ok((None, hash));
            };
            if name.get() == key {
                return Ok((Some(id), hash));
            }
        }
    }

    /// The key's place, made now if need be.
    ///
    /// # Errors
    /// A key's own code came back here.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "on the way of every message")]
    pub(super) fn locate(&self, key: K) -> Result<Id, Error> {
        if let Some(free) = &self.rules.free
            && free(&key)
        {
            return Ok(self.table.borrow_mut().enter(key, None, 1));
        }
        match self.search(&key) {
            Ok((Some(id), _)) => {
                // It may have code to run.
                drop(key);
                Ok(id)
            }
            Ok((None, hash)) => Ok(self.enter(key, hash).0),
            Err(Reentered) => Err(reentered()),
        }
    }

    /// The same for a message that nobody can take back: a key that is there already is given back, to be dropped once the message is in.
    /// Dropping it may have the other let go.
    pub(super) fn locate_and_keep(&self, key: K) -> Result<(Id, Option<K>), Error> {
        if let Some(free) = &self.rules.free
            && free(&key)
        {
            return Ok((self.table.borrow_mut().enter(key, None, 1), None));
        }
        match self.search(&key) {
            Ok((Some(id), _)) => Ok((id, Some(key))),
            Ok((None, hash)) => Ok(self.enter(key, hash)),
            Err(Reentered) => Err(reentered()),
        }
    }

    /// Enters a key that was not found. Gives it back if it is there by now.
    #[cold]
    fn enter(&self, key: K, hash: u32) -> (Id, Option<K>) {
        let weight = match &self.rules.weight {
            None => 1,
            Some(weight) => {
                let weight = u16::try_from(weight(&key).max(1)).unwrap_or(u16::MAX);
                // It may have sent to the key that it was asked about.
                if let Some(id) = self.find(&key) {
                    return (id, Some(key));
                }
                weight
            }
        };
        let id = self.table.borrow_mut().enter(key, Some(hash), weight);
        (id, None)
    }

    /// Lets a key go if nothing of it is worth keeping (keeps invariant 2).
    pub(super) fn let_go(&self, id: Id) {
        if self.comparing.get() {
            return self.put_off(id);
        }
        let has_state = {
            let mut table = self.table.borrow_mut();
            let Some(key) = table.keys.get_mut(id).filter(|key| key.is_idle()) else {
                return;
            };
            if key.is(Marks::HAS_STATE) && !key.is(Marks::FLEETING) {
                // Its state is all that it keeps: as of a key that goes, what comes next has its turn behind all who wait.
                table.give_up_turn(id);
                return;
            }
            key.unmark(Marks::HAS_STATE)
        };
        if has_state {
            self.shared.contain("drop", || self.crew.drop_state(id));
        }
        // Its state may have sent to it when it was dropped.
        let gone = self.table.borrow_mut().take_idle(id);
        let Some(gone) = gone else { return };
        if let Some(Some(blank)) = self.shared.contain("drop", || gone.empty()) {
            self.table.borrow_mut().keep_blank(blank);
        }
    }

    /// Lets a key go when the comparing has ended: others would move up under the look-up (keeps invariant 1).
    #[cold]
    fn put_off(&self, id: Id) {
        self.put_off.borrow_mut().push(id);
        self.has_put_off.set(true);
    }
}
