//! The ledger: which keys of one coroutine are pending, and what arrived for them.
//!
//! It is apart because yield-points write it and the Runner reads it, and neither may know the other.
//!
//! Invariants:
//! 1. A key is in the ledger from its registration until it is waited for successfully or forgotten; its value arriving does not free it.
//! 2. An entry holds the cell of one registration. A resolver knows its cell and not its key, so a stale one can never reach a
//!    later registration of the same key.
//! 3. Entries are reported in the order in which they were registered.

use std::any::Any;
use std::collections::HashMap;
use std::rc::Rc;
use std::task::Context;

use slab::Slab;

use crate::error::Error;
use crate::key::Key;
use crate::site::Site;
use crate::snapshot::{KeyState, PendingKey};
use crate::timers::TimerId;
use crate::waiter::Note;

/// With more entries than this, keys are found by hash instead of one after the other.
const SCAN: usize = 16;

/// The cell of one registration, whatever its type.
pub(crate) trait Pending: Any {
    /// Where it was registered.
    fn created_at(&self) -> Site;
    /// What has come for it.
    fn key_state(&self) -> KeyState;
    /// Whether a value or the loss of its resolver has arrived.
    fn has_arrived(&self) -> bool {
        self.key_state() != KeyState::Pending
    }
    /// The name of the type it was registered for.
    fn type_name(&self) -> &'static str;
    /// Parks whoever polls now until something arrives.
    ///
    /// # Errors
    /// The cancel to be delivered instead.
    fn park(&self, cx: &Context<'_>, note: Note) -> Result<(), Error>;
    /// Forgets who is parked. Tells whether the key is still that of this cell.
    fn unpark(&self) -> bool;
    /// Makes the cell take nothing any more, drops what it held, and wakes who waits for it: the key is gone.
    fn give_up(&self);
}

/// One pending key.
pub(crate) struct Entry {
    /// Its name.
    key: Key,
    /// When it was registered, counted (invariant 3).
    number: u64,
    /// What its resolver writes.
    cell: Rc<dyn Pending>,
    /// Where a coroutine waits for it, if one does.
    waited_at: Option<Site>,
    /// The timer that will resolve it, for a key registered as one.
    timer: Option<TimerId>,
}

impl Entry {
    /// The cell of this registration.
    pub(crate) fn cell(&self) -> &Rc<dyn Pending> {
        &self.cell
    }

    /// Marks the key as waited for here, unless it is already: then nothing changes. Tells which.
    pub(crate) fn claim(&mut self, site: Site) -> bool {
        let free = self.waited_at.is_none();
        if free {
            self.waited_at = Some(site);
        }
        free
    }

    /// The timer that has no purpose any more once the key is given up.
    pub(crate) fn timer(&self) -> Option<TimerId> {
        self.timer
    }

    /// The entry as a report shows it.
    fn report(&self) -> PendingKey {
        PendingKey {
            key: self.key.clone(),
            created_at: self.cell.created_at(),
            waited_at: self.waited_at,
            state: self.cell.key_state(),
        }
    }
}

/// What a wait finds when it looks a key up.
pub(crate) enum Claim<R> {
    /// What it waits for. The key is free.
    Taken(R, Rc<dyn Pending>),
    /// Nothing yet; the key is marked as waited for.
    Waits(Rc<dyn Pending>),
    /// The key is waited for elsewhere.
    Repeated,
    /// The key is not pending.
    Unknown,
}

/// The pending keys of one coroutine.
#[derive(Default)]
pub(crate) struct Ledger {
    /// In no order once an entry was taken out. Each stays in its place, so that it is written and read where it is.
    entries: Slab<Entry>,
    /// Where each key is, once there are many.
    index: Option<HashMap<Key, usize>>,
    /// How many registrations there have been.
    registered: u64,
}

impl Ledger {
    /// Whether no key is pending.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Makes `key` pending.
    ///
    /// # Errors
    /// Gives the key back and tells where it was registered first, if it is pending already. The first registration is untouched.
    #[inline]
    pub(crate) fn register(&mut self, key: Key, cell: Rc<dyn Pending>) -> Result<(), (Key, Site)> {
        if let Some(entry) = self.get(&key) {
            return Err((key, entry.cell.created_at()));
        }
        if self.index.is_some() || self.entries.len() == SCAN {
            self.note_position(&key);
        }
        self.registered += 1;
        self.entries.insert(Entry {
            key,
            number: self.registered,
            cell,
            waited_at: None,
            timer: None,
        });
        Ok(())
    }

    /// Notes where the entry of a key will be, once there are many.
    #[cold]
    fn note_position(&mut self, key: &Key) {
        let at = self.entries.vacant_key();
        if let Some(index) = &mut self.index {
            index.insert(key.clone(), at);
        } else {
            let mut index: HashMap<_, _> = self
                .entries
                .iter()
                .map(|(at, entry)| (entry.key.clone(), at))
                .collect();
            index.insert(key.clone(), at);
            self.index = Some(index);
        }
    }

    /// The entry of a pending key.
    #[inline]
    pub(crate) fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(self.position(key)?)
    }

    /// The entry of a pending key, to change who waits for it.
    #[inline]
    pub(crate) fn get_mut(&mut self, key: &Key) -> Option<&mut Entry> {
        self.entries.get_mut(self.position(key)?)
    }

    /// Looks at the cell of a key that a coroutine is about to wait for at `site`. What `take` takes frees the key: it is given out with the
    /// cell, which the caller drops when nothing is borrowed. Otherwise the key is marked as waited for.
    #[inline]
    pub(crate) fn take_or_claim<R>(
        &mut self,
        key: &Key,
        site: Site,
        take: impl FnOnce(&dyn Pending) -> Option<R>,
    ) -> Claim<R> {
        let Some(at) = self.position(key) else {
            return Claim::Unknown;
        };
        let Some(entry) = self.entries.get_mut(at) else {
            return Claim::Unknown;
        };
        if entry.waited_at.is_some() {
            return Claim::Repeated;
        }
        let Some(taken) = take(&*entry.cell) else {
            entry.waited_at = Some(site);
            return Claim::Waits(Rc::clone(&entry.cell));
        };
        let cell = self.entries.remove(at).cell;
        if self.index.is_some() {
            self.forget_position(key);
        }
        Claim::Taken(taken, cell)
    }

    /// Notes where a coroutine waits for the key, or that none does any more.
    pub(crate) fn set_waited(&mut self, key: &Key, site: Option<Site>) {
        if let Some(at) = self.position(key) {
            self.entries[at].waited_at = site;
        }
    }

    /// Notes the timer that will resolve the key.
    pub(crate) fn set_timer(&mut self, key: &Key, timer: TimerId) {
        if let Some(at) = self.position(key) {
            self.entries[at].timer = Some(timer);
        }
    }

    /// Frees a key and gives its entry out, to be dropped by the caller when nothing is borrowed.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Entry> {
        let at = self.position(key)?;
        let entry = self.entries.try_remove(at)?;
        if self.index.is_some() {
            self.forget_position(key);
        }
        Some(entry)
    }

    /// Frees a key whose value is given out, and gives its cell, to be dropped by the caller when nothing is borrowed.
    #[inline]
    pub(crate) fn free(&mut self, key: &Key) -> Option<Rc<dyn Pending>> {
        let at = self.position(key)?;
        let Entry { cell, .. } = self.entries.try_remove(at)?;
        if self.index.is_some() {
            self.forget_position(key);
        }
        Some(cell)
    }

    /// Forgets where a key's entry was.
    #[cold]
    fn forget_position(&mut self, key: &Key) {
        if let Some(index) = &mut self.index {
            index.remove(key);
        }
        if self.entries.is_empty() {
            // The places of so many are not worth scanning for the next few.
            self.index = None;
            self.entries = Slab::new();
        }
    }

    /// Frees every key, to be dropped by the caller when nothing is borrowed.
    pub(crate) fn take_all(&mut self) -> Vec<Entry> {
        self.index = None;
        let entries = std::mem::take(&mut self.entries);
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    /// The pending keys, as a report shows them (keeps invariant 3).
    pub(crate) fn report(&self) -> Vec<PendingKey> {
        let mut entries: Vec<&Entry> = self.entries.iter().map(|(_, entry)| entry).collect();
        entries.sort_by_key(|entry| entry.number);
        entries.into_iter().map(Entry::report).collect()
    }

    /// Where a key's entry is.
    #[inline]
    fn position(&self, key: &Key) -> Option<usize> {
        match (key.integer(), &self.index) {
            (Some(number), None) => self
                .entries
                .iter()
                .find(|(_, entry)| entry.key.integer() == Some(number))
                .map(|(at, _)| at),
            _ => self.position_rare(key),
        }
    }

    /// The same for what is not an integer, or one of many.
    fn position_rare(&self, key: &Key) -> Option<usize> {
        if let Some(index) = &self.index {
            return index.get(key).copied();
        }
        let mut entries = self.entries.iter();
        let (at, _) = entries.find(|(_, entry)| entry.key == *key)?;
        Some(at)
    }
}
