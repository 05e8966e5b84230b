//! How a wait looks its keys up in the ledger, and lets go of them.
//!
//! It is apart because `Wait`, `WaitAll`, `WaitAny` and `AnyReady` all do it, each when it is first awaited.
//!
//! Invariants:
//! 1. A key is freed when its value, or the loss of its resolver, is given out; an error about another key frees nothing.
//! 2. A key is waited for in one place at a time. A second wait for it gives `RepeatedKey`, and the first goes on.
//! 3. A wait that is dropped, or ends with a cancel or a time-out, leaves its keys pending.
//!
//! ```text
//!            first poll: keys looked up             value, loss
//!   Named ──────────────────────────────▶ Waiting ─────────────▶ Done (key freed)
//!     └── unknown, wrong type, repeated ──▶ Done     └─ dropped, cancelled ──▶ (key still pending)
//! ```

use std::any::Any;
use std::rc::Rc;

use crate::arena::Id;
use crate::coroutine::Co;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::ledger::{Ledger, Pending, Refusal};
use crate::oneshot::{Missing, OneShot};
use crate::shared::Shared;
use crate::site::Site;
use crate::waiter::{Kind, Note};

/// What a look at one key finds.
pub(crate) enum Found<T> {
    /// Its value, which was taken. The cell is free.
    Value(T, Rc<OneShot<T>>),
    /// Its cell, to wait for, and where its entry is.
    Cell(Rc<OneShot<T>>, usize),
}

/// Whose ledger it is, and where in the program it is asked.
pub(crate) struct Asker {
    /// The loop.
    shared: Rc<Shared>,
    /// The coroutine with the ledger.
    owner: Id,
    /// The kind of point.
    kind: &'static Kind,
    /// Where the point was made.
    site: Site,
}

impl Asker {
    #[inline]
    pub(crate) fn new(co: &Co, kind: &'static Kind, site: Site) -> Self {
        Asker {
            shared: Rc::clone(co.handle().shared()),
            owner: co.table_id(),
            kind,
            site,
        }
    }

    pub(crate) fn note(&self) -> Note {
        Note {
            kind: self.kind,
            site: Some(self.site),
        }
    }

    /// Looks into the ledger, if there ever was a key. Nothing of the user's may run or be dropped in `look`.
    #[inline]
    pub(crate) fn with_ledger<R>(&self, look: impl FnOnce(&mut Ledger) -> R) -> Option<R> {
        let mut records = self.shared.records.borrow_mut();
        let record = records.get_mut(self.owner)?;
        Some(look(&mut record.rare_if_any()?.ledger))
    }

    /// Looks up one key and marks it as waited for.
    pub(crate) fn find(&self, key: &Key) -> Result<Rc<dyn Pending>> {
        let found = self.with_ledger(|ledger| ledger.claim(key, self.site));
        match found.unwrap_or(Err(Refusal::Unknown)) {
            Ok((cell, _)) => Ok(cell),
            Err(refusal) => Err(self.refused(key, &refusal)),
        }
    }

    /// The error of a key that cannot be waited for.
    #[cold]
    fn refused(&self, key: &Key, refusal: &Refusal) -> Error {
        match refusal {
            Refusal::Unknown => self.unknown(key),
            Refusal::Repeated => ErrorKind::RepeatedKey {
                key: key.clone(),
                asked_at: self.site,
            }
            .into(),
        }
    }

    /// Looks up one key of a type.
    pub(crate) fn find_typed<T: 'static>(&self, key: &Key) -> Result<Rc<OneShot<T>>> {
        let cell = self.find(key)?;
        typed(cell).ok_or_else(|| self.wrong_type(key, std::any::type_name::<T>()))
    }

    /// Looks up one key of a type, and takes a value that has arrived, which frees the key. All in one look.
    #[inline]
    pub(crate) fn take_or_find<T: 'static>(&self, key: &Key) -> Result<Found<T>> {
        let found = self.with_ledger(|ledger| {
            let (cell, at) = ledger.claim(key, self.site)?;
            let Some(cell) = typed::<T>(cell) else {
                return Ok(None);
            };
            let Some(value) = cell.take_arrived() else {
                return Ok(Some(Found::Cell(cell, at)));
            };
            // Nothing of the user's is dropped: this is not the last share of the cell.
            drop(ledger.vacate(at));
            Ok(Some(Found::Value(value, cell)))
        });
        match found {
            Some(Ok(Some(found))) => Ok(found),
            Some(Ok(None)) => Err(self.wrong_type(key, std::any::type_name::<T>())),
            Some(Err(refusal)) => Err(self.refused(key, &refusal)),
            None => Err(self.unknown(key)),
        }
    }

    /// The error of a key that was registered for another type; nobody waits for it then.
    #[cold]
    fn wrong_type(&self, key: &Key, asked: &'static str) -> Error {
        let created = self.with_ledger(|ledger| {
            ledger.set_waited(key, None);
            let cell = ledger.get(key)?.cell()?;
            Some((cell.type_name(), cell.created_at()))
        });
        let Some((created, created_at)) = created.flatten() else {
            return self.unknown(key);
        };
        ErrorKind::WrongType {
            key: key.clone(),
            created,
            asked,
            created_at,
            asked_at: self.site,
        }
        .into()
    }

    /// Looks up several keys, or none of them.
    pub(crate) fn find_all<C>(
        &self,
        keys: Vec<Key>,
        find: impl Fn(&Self, &Key) -> Result<C>,
    ) -> Result<Vec<(Key, C)>> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            match find(self, &key) {
                Ok(cell) => found.push((key, cell)),
                Err(error) => {
                    for (key, _) in &found {
                        self.release(key);
                    }
                    return Err(error);
                }
            }
        }
        Ok(found)
    }

    /// Looks up several keys, of which there must be one.
    pub(crate) fn find_some<C>(
        &self,
        keys: Vec<Key>,
        find: impl Fn(&Self, &Key) -> Result<C>,
    ) -> Result<Vec<(Key, C)>> {
        if keys.is_empty() {
            return Err(ErrorKind::NoKeys {
                asked_at: self.site,
            }
            .into());
        }
        self.find_all(keys, find)
    }

    /// Notes that nobody waits for the key any more.
    pub(crate) fn release(&self, key: &Key) {
        self.with_ledger(|ledger| ledger.set_waited(key, None));
    }

    /// Frees a key whose value is given out.
    pub(crate) fn free(&self, key: &Key) {
        let cell = self.with_ledger(|ledger| ledger.free(key));
        drop(cell);
    }

    /// Frees the key of a cell that was waited for and whose value is given out, and keeps the cell.
    #[inline(never)]
    pub(crate) fn free_waited(&self, at: usize, key: &Key, cell: Rc<dyn Pending>) {
        self.with_ledger(|ledger| ledger.free_claimed(at, key, &cell));
        cell.keep();
    }

    #[cold]
    pub(crate) fn unknown(&self, key: &Key) -> Error {
        ErrorKind::UnknownKey {
            key: key.clone(),
            asked_at: self.site,
        }
        .into()
    }

    /// What a key that gives no value gives instead, and whether it is freed by that.
    #[cold]
    pub(crate) fn missing<T>(&self, key: &Key, cell: &OneShot<T>, missing: Missing) -> Error {
        match missing {
            Missing::Cancelled(cancel) => {
                self.release(key);
                cancel
            }
            Missing::Taken => self.unknown(key),
            Missing::Lost => {
                self.free(key);
                ErrorKind::Abandoned {
                    key: Some(key.clone()),
                    created_at: cell.created_at(),
                    waited_at: self.site,
                }
                .into()
            }
        }
    }
}

/// The cell as one of this type.
#[inline]
fn typed<T: 'static>(cell: Rc<dyn Pending>) -> Option<Rc<OneShot<T>>> {
    (cell as Rc<dyn Any>).downcast().ok()
}

/// A wait for one or several keys that is awaited. Dropping it leaves the keys pending that it has not taken.
pub(crate) struct Waiting<C> {
    /// Who asks.
    pub(crate) asker: Asker,
    /// The keys, until they are looked up.
    pub(crate) named: Option<Vec<Key>>,
    /// The keys that are waited for, with their cells.
    pub(crate) found: Vec<(Key, C)>,
    /// Forgets who is parked in a cell, and tells whether the key is still that of this cell.
    pub(crate) unpark: fn(&C) -> bool,
}

impl<C> Waiting<C> {
    /// Takes a key out of the wait, not out of the ledger.
    pub(crate) fn end(&mut self) {
        for (key, cell) in self.found.drain(..) {
            if (self.unpark)(&cell) {
                self.asker.release(&key);
            }
        }
    }
}

impl<C> Drop for Waiting<C> {
    fn drop(&mut self) {
        self.end();
    }
}

/// The keys, whatever they were given as.
pub(crate) fn collect(keys: impl IntoIterator<Item: Into<Key>>) -> Vec<Key> {
    keys.into_iter().map(Into::into).collect()
}
