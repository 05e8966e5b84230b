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
    /// Its name; of an entry that is vacant one that no key has.
    key: Key,
    /// When it was registered, counted (invariant 3).
    number: u64,
    /// What its resolver writes. None if the entry is vacant.
    cell: Option<Rc<dyn Pending>>,
    /// Where a coroutine waits for it, if one does.
    waited_at: Option<Site>,
    /// The timer that will resolve it, for a key registered as one.
    timer: Option<TimerId>,
}

impl Entry {
    /// An entry that is vacant.
    const VACANT: Entry = Entry {
        key: Key::NOBODYS,
        number: 0,
        cell: None,
        waited_at: None,
        timer: None,
    };

    /// The cell of this registration.
    pub(crate) fn cell(&self) -> Option<&Rc<dyn Pending>> {
        self.cell.as_ref()
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

    /// The entry as a report shows it, unless it is vacant.
    fn report(&self) -> Option<PendingKey> {
        let cell = self.cell()?;
        Some(PendingKey {
            key: self.key.clone(),
            created_at: cell.created_at(),
            waited_at: self.waited_at,
            state: cell.key_state(),
        })
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
    /// In no order once one was vacated. Each stays in its place, and is written and read word by word: one that was written as words
    /// and is soon read as more than a word stalls the CPU.
    entries: Vec<Entry>,
    /// Which of them are vacant.
    vacant: Vec<usize>,
    /// Where each key is, once there are many.
    index: Option<HashMap<Key, usize>>,
    /// How many registrations there have been.
    registered: u64,
}

impl Ledger {
    /// How many keys are pending.
    fn len(&self) -> usize {
        self.entries.len() - self.vacant.len()
    }

    /// Whether no key is pending.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes a key pending.
    ///
    /// # Errors
    /// Tells where it was registered first, if it is pending already. The first registration is untouched.
    pub(crate) fn register(&mut self, key: &Key, cell: Rc<dyn Pending>) -> Result<(), Site> {
        if let Some(number) = key.integer() {
            return self.register_integer(number, cell);
        }
        if let Some(first) = self.position_rare(key) {
            return Err(self.created_at(first));
        }
        let at = self.enter(cell);
        self.entries[at].key = key.clone();
        self.entered(at);
        Ok(())
    }

    /// The same for an integer, out of which a key is made in its place.
    #[inline]
    pub(crate) fn register_integer(
        &mut self,
        number: i64,
        cell: Rc<dyn Pending>,
    ) -> Result<(), Site> {
        let first = match &self.index {
            None => self.position_of_integer(number),
            Some(index) => index.get(&Key::from(number)).copied(),
        };
        if let Some(first) = first {
            return Err(self.created_at(first));
        }
        let at = self.enter(cell);
        // Forgetting what was there saves the look whether it must be dropped: nobody's key holds nothing.
        std::mem::forget(std::mem::replace(
            &mut self.entries[at].key,
            Key::from(number),
        ));
        self.entered(at);
        Ok(())
    }

    /// Takes an entry for a cell. Its key is still to be written.
    #[inline]
    fn enter(&mut self, cell: Rc<dyn Pending>) -> usize {
        let at = self.vacant.pop().unwrap_or_else(|| self.another());
        self.registered += 1;
        let entry = &mut self.entries[at];
        entry.number = self.registered;
        std::mem::forget(entry.cell.replace(cell));
        at
    }

    /// Sees to it that a key can be found that has been written.
    #[inline]
    fn entered(&mut self, at: usize) {
        if self.index.is_some() || self.len() > SCAN {
            self.note_position(at);
        }
    }

    /// Where a pending key was registered.
    #[cold]
    fn created_at(&self, at: usize) -> Site {
        let cell = self.entries[at].cell.as_ref();
        cell.map_or(std::panic::Location::caller(), |cell| cell.created_at())
    }

    /// One more entry.
    #[cold]
    fn another(&mut self) -> usize {
        self.entries.push(Entry::VACANT);
        self.entries.len() - 1
    }

    /// Vacates an entry, and gives its cell.
    #[inline]
    fn vacate(&mut self, at: usize) -> Option<Rc<dyn Pending>> {
        let entry = &mut self.entries[at];
        let cell = entry.cell.take();
        entry.waited_at = None;
        entry.timer = None;
        let key = std::mem::replace(&mut entry.key, Key::NOBODYS);
        self.vacant.push(at);
        if self.index.is_some() {
            self.forget_position(&key);
        }
        cell
    }

    /// Notes where the entry of a key is, once there are many.
    #[cold]
    fn note_position(&mut self, at: usize) {
        if let Some(index) = &mut self.index {
            index.insert(self.entries[at].key.clone(), at);
            return;
        }
        let entries = self.entries.iter().enumerate();
        let pending = entries.filter(|(_, entry)| entry.cell.is_some());
        self.index = Some(pending.map(|(at, entry)| (entry.key.clone(), at)).collect());
    }

    /// The entry of a pending key.
    #[inline]
    pub(crate) fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(self.position(key)?)
    }

    /// The entry of a pending key, to change who waits for it.
    #[inline]
    pub(crate) fn get_mut(&mut self, key: &Key) -> Option<&mut Entry> {
        let at = self.position(key)?;
        self.entries.get_mut(at)
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
        let entry = &mut self.entries[at];
        let Some(cell) = &entry.cell else {
            return Claim::Unknown;
        };
        if entry.waited_at.is_some() {
            return Claim::Repeated;
        }
        let Some(taken) = take(&**cell) else {
            entry.waited_at = Some(site);
            return Claim::Waits(Rc::clone(cell));
        };
        match self.vacate(at) {
            Some(cell) => Claim::Taken(taken, cell),
            None => Claim::Unknown,
        }
    }

    /// Notes where a coroutine waits for the key, or that none does any more.
    pub(crate) fn set_waited(&mut self, key: &Key, site: Option<Site>) {
        if let Some(entry) = self.get_mut(key) {
            entry.waited_at = site;
        }
    }

    /// Notes the timer that will resolve the key.
    pub(crate) fn set_timer(&mut self, key: &Key, timer: TimerId) {
        if let Some(entry) = self.get_mut(key) {
            entry.timer = Some(timer);
        }
    }

    /// Frees a key and gives its cell and its timer out, to be dropped by the caller when nothing is borrowed.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<(Rc<dyn Pending>, Option<TimerId>)> {
        let at = self.position(key)?;
        let timer = self.entries[at].timer;
        Some((self.vacate(at)?, timer))
    }

    /// Frees a key whose value is given out, and gives its cell, to be dropped by the caller when nothing is borrowed.
    pub(crate) fn free(&mut self, key: &Key) -> Option<Rc<dyn Pending>> {
        let at = self.position(key)?;
        self.vacate(at)
    }

    /// Forgets where a key's entry was.
    #[cold]
    fn forget_position(&mut self, key: &Key) {
        if let Some(index) = &mut self.index {
            index.remove(key);
        }
        if self.is_empty() {
            // The places of so many are not worth scanning for the next few.
            drop(self.take_all());
        }
    }

    /// Frees every key, to be dropped by the caller when nothing is borrowed.
    pub(crate) fn take_all(&mut self) -> Vec<Entry> {
        self.index = None;
        self.vacant = Vec::new();
        let mut entries = std::mem::take(&mut self.entries);
        entries.retain(|entry| entry.cell.is_some());
        entries
    }

    /// The pending keys, as a report shows them (keeps invariant 3).
    pub(crate) fn report(&self) -> Vec<PendingKey> {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_by_key(|entry| entry.number);
        entries.into_iter().filter_map(Entry::report).collect()
    }

    /// Where a key's entry is.
    #[inline]
    fn position(&self, key: &Key) -> Option<usize> {
        match (key.integer(), &self.index) {
            (Some(number), None) => self.position_of_integer(number),
            _ => self.position_rare(key),
        }
    }

    /// Where the entry of an integer is, among few.
    #[inline]
    fn position_of_integer(&self, number: i64) -> Option<usize> {
        let mut entries = self.entries.iter();
        entries.position(|entry| entry.key.integer() == Some(number))
    }

    /// The same for what is not an integer, or one of many.
    fn position_rare(&self, key: &Key) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(key).copied(),
            None => self.entries.iter().position(|entry| entry.key == *key),
        }
    }
}
