//! The ledger: which keys of one coroutine are pending, and what arrived for them.
//!
//! It is apart because yield-points write it and the Runner reads it, and neither may know the other.
//!
//! Invariants:
//! 1. A key is in the ledger from its registration until it is waited for successfully or forgotten; its value arriving does not free it.
//! 2. An entry holds the cell of one registration. A resolver knows its cell and not its key, so a stale one can never reach a
//!    later registration of the same key.
//! 3. Entries are reported in the order in which they were registered.
//! 4. No key is in two entries. An integer is at the place that its low bits name, or behind the places if another one was there when it was
//!    registered: so it is looked for at its place first. Everything else is behind.
//!
//! ```text
//!              places of integers, some vacant         behind them, in no order
//!   entries  [ 16 │ ·  │ 2  │ 35 │ ·  │ 5  │ ·  │ ·  ] [ "late" │ 3 │ 21 ]
//!                                 key % 8                 one after the other, or by hash
//! ```

use std::any::Any;
use std::collections::HashMap;
use std::mem::{forget, replace};
use std::panic::Location;
use std::rc::Rc;
use std::task::Context;

use crate::error::Error;
use crate::key::Key;
use crate::site::Site;
use crate::snapshot::{KeyState, PendingKey};
use crate::timers::TimerId;
use crate::waiter::Note;

/// Behind the places, more keys than these are found by hash, not one after the other.
const FEW: usize = 16;

/// Room for more entries than these is given back when no key is pending.
const KEPT: usize = 2 * FEW;

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
    /// Keeps the cell, whose value was taken, for the next of its type, if nobody else has it.
    fn keep(self: Rc<Self>);
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

    /// Whether no key is here.
    #[inline]
    fn is_vacant(&self) -> bool {
        self.cell.is_none()
    }

    /// Where the key was registered.
    fn created_at(&self) -> Site {
        let cell = self.cell.as_ref();
        cell.map_or(Location::caller(), |cell| cell.created_at())
    }

    /// Marks the key as waited for, and gives its cell. The part of [`Ledger::claim`] that is done here.
    #[inline]
    fn claim(&mut self, site: Site) -> Result<Rc<dyn Pending>, Refusal> {
        let cell = self.cell.as_ref().ok_or(Refusal::Unknown)?;
        if self.waited_at.is_some() {
            return Err(Refusal::Repeated);
        }
        self.waited_at = Some(site);
        Ok(Rc::clone(cell))
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

/// Why a key cannot be waited for.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// It is waited for elsewhere.
    Repeated,
    /// It is not pending.
    Unknown,
}

/// The pending keys of one coroutine.
#[derive(Default)]
pub(crate) struct Ledger {
    /// The places of integers, and what lies behind them; see the module's diagram. They are written and read word by word: one that was
    /// written as words and is soon read as more than a word stalls the CPU.
    entries: Vec<Entry>,
    /// How many of them are places of integers: a power of two, or none. Only these may be vacant.
    own: usize,
    /// Where those behind are, once they are many.
    index: Option<HashMap<Key, usize>>,
    /// How many keys are pending. Half a word, as two whole ones would be counted in one step of two words, which stalls the CPU.
    pending: u32,
    /// How many registrations there have been.
    registered: u64,
}

impl Ledger {
    /// Whether no key is pending.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending == 0
    }

    /// Makes a key pending.
    ///
    /// # Errors
    /// Tells where it was registered first, if it is pending already. The first registration is untouched.
    #[inline(never)]
    pub(crate) fn register(&mut self, key: &Key, cell: Rc<dyn Pending>) -> Result<(), Site> {
        if let Some(first) = self.get(key) {
            return Err(first.created_at());
        }
        self.make_room(key);
        match self.vacant_place(key) {
            Some(at) => {
                self.enter(at, cell);
                self.entries[at].key = key.clone();
            }
            None => self.append(key.clone(), cell),
        }
        Ok(())
    }

    /// The same for an integer, out of which a key is made in its place.
    #[inline]
    pub(crate) fn register_integer(
        &mut self,
        number: i64,
        cell: Rc<dyn Pending>,
    ) -> Result<(), Site> {
        let at = self.place(number);
        let alone = self.entries.len() == self.own;
        if alone && self.entries.get(at).is_some_and(Entry::is_vacant) {
            self.enter(at, cell);
            // Forgetting what was there saves the look whether it must be dropped: the key of a vacant entry holds nothing.
            forget(replace(&mut self.entries[at].key, Key::from(number)));
            return Ok(());
        }
        self.register(&Key::from(number), cell)
    }

    /// The place of an integer, if there are any.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the low bits are wanted"
    )]
    fn place(&self, number: i64) -> usize {
        number as usize & self.own.wrapping_sub(1)
    }

    /// The place of a key, if it is an integer and its place is free.
    fn vacant_place(&self, key: &Key) -> Option<usize> {
        let at = self.place(key.integer()?);
        (at < self.own && self.entries[at].is_vacant()).then_some(at)
    }

    /// Takes a vacant place for a cell. Its key is still to be written.
    #[inline]
    fn enter(&mut self, at: usize, cell: Rc<dyn Pending>) {
        self.pending += 1;
        self.registered += 1;
        let entry = &mut self.entries[at];
        entry.number = self.registered;
        forget(entry.cell.replace(cell));
    }

    /// Adds an entry behind the places.
    fn append(&mut self, key: Key, cell: Rc<dyn Pending>) {
        self.entries.push(Entry::VACANT);
        let at = self.entries.len() - 1;
        self.enter(at, cell);
        self.entries[at].key = key;
        self.note_position(at);
    }

    /// Makes more places where that of an integer is taken, unless more than half of them are free.
    fn make_room(&mut self, key: &Key) {
        let behind = self.entries.len() - self.own;
        let pending_there = self.pending as usize - behind;
        if key.integer().is_none()
            || self.vacant_place(key).is_some()
            || 2 * pending_there < self.own
        {
            return;
        }
        self.own = (2 * self.own).max(4);
        self.index = None;
        let places = (0..self.own).map(|_| Entry::VACANT).collect();
        for entry in replace(&mut self.entries, places) {
            match self.vacant_place(&entry.key) {
                _ if entry.is_vacant() => {}
                Some(at) => self.entries[at] = entry,
                None => {
                    self.entries.push(entry);
                    self.note_position(self.entries.len() - 1);
                }
            }
        }
    }

    /// Notes where an entry is that lies behind the places, once there are many such.
    fn note_position(&mut self, at: usize) {
        if let Some(index) = &mut self.index {
            index.insert(self.entries[at].key.clone(), at);
        } else if self.entries.len() - self.own > FEW {
            let behind = self.entries.iter().enumerate().skip(self.own);
            self.index = Some(behind.map(|(at, entry)| (entry.key.clone(), at)).collect());
        }
    }

    /// Vacates an entry, and gives its cell. The key of a place may stay.
    #[inline]
    pub(crate) fn vacate(&mut self, at: usize) -> Option<Rc<dyn Pending>> {
        let entry = &mut self.entries[at];
        entry.waited_at = None;
        entry.timer = None;
        let cell = entry.cell.take();
        self.freed(at);
        cell
    }

    /// Does what else there is to do when this entry was vacated.
    #[inline]
    fn freed(&mut self, at: usize) {
        self.pending -= 1;
        if at >= self.own {
            self.remove_behind(at);
        }
        if self.pending == 0 && self.entries.capacity() > KEPT {
            self.shrink();
        }
    }

    /// Gives back the room of many entries, of which none is pending.
    #[cold]
    fn shrink(&mut self) {
        drop(self.take_all());
    }

    /// Removes an entry that lies behind the places.
    #[cold]
    fn remove_behind(&mut self, at: usize) {
        let removed = self.entries.swap_remove(at);
        if let Some(index) = &mut self.index {
            index.remove(&removed.key);
            if let Some(moved) = self.entries.get(at) {
                index.insert(moved.key.clone(), at);
            }
        }
        if self.entries.len() == self.own {
            self.index = None;
        }
    }

    /// The entry of a pending key.
    #[inline]
    pub(crate) fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(self.position(key)?)
    }

    /// Marks a key as waited for at `site`, and gives its cell and where its entry is until another key is registered or freed.
    ///
    /// # Errors
    /// Nothing has changed then.
    #[inline]
    pub(crate) fn claim(
        &mut self,
        key: &Key,
        site: Site,
    ) -> Result<(Rc<dyn Pending>, usize), Refusal> {
        if let Some(number) = key.integer()
            && let at = self.place(number)
            && let Some(entry) = self.entries.get_mut(at)
            && entry.key == *key
        {
            return Ok((entry.claim(site)?, at));
        }
        let at = self.position_behind(key).ok_or(Refusal::Unknown)?;
        Ok((self.entries[at].claim(site)?, at))
    }

    /// Frees the key of a cell whose value is given out. Its entry is most likely where it was when the key was claimed. Nothing of the
    /// user's is dropped, as the caller has a share of the cell.
    #[inline]
    pub(crate) fn free_claimed(&mut self, at: usize, key: &Key, cell: &Rc<dyn Pending>) {
        if self.holds(at, cell) {
            self.vacate(at);
        } else {
            self.free_moved(key, cell);
        }
    }

    /// The same for an entry that has moved since.
    #[cold]
    fn free_moved(&mut self, key: &Key, cell: &Rc<dyn Pending>) {
        let at = self.position(key);
        if let Some(at) = at.filter(|&at| self.holds(at, cell)) {
            self.vacate(at);
        }
    }

    /// Whether the entry of this cell is here.
    #[inline]
    fn holds(&self, at: usize, cell: &Rc<dyn Pending>) -> bool {
        let held = self.entries.get(at).and_then(Entry::cell);
        held.is_some_and(|held| Rc::ptr_eq(held, cell))
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

    /// Frees every key, in the order in which they were registered, to be dropped by the caller when nothing is borrowed.
    pub(crate) fn take_all(&mut self) -> Vec<Entry> {
        self.own = 0;
        self.index = None;
        self.pending = 0;
        let mut entries = std::mem::take(&mut self.entries);
        entries.retain(|entry| !entry.is_vacant());
        entries.sort_unstable_by_key(|entry| entry.number);
        entries
    }

    /// The pending keys, as a report shows them (keeps invariant 3).
    pub(crate) fn report(&self) -> Vec<PendingKey> {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_by_key(|entry| entry.number);
        entries.into_iter().filter_map(Entry::report).collect()
    }

    /// Where a pending key's entry is.
    #[inline]
    fn position(&self, key: &Key) -> Option<usize> {
        if let Some(number) = key.integer() {
            let at = self.place(number);
            if let Some(entry) = self.entries.get(at)
                && entry.key.integer() == Some(number)
                && !entry.is_vacant()
            {
                return Some(at);
            }
        }
        self.position_behind(key)
    }

    /// Where it is among those that lie behind the places.
    #[inline(never)]
    fn position_behind(&self, key: &Key) -> Option<usize> {
        if let Some(index) = &self.index {
            return index.get(key).copied();
        }
        let mut behind = self.entries.iter().enumerate().skip(self.own);
        behind.find_map(|(at, entry)| (entry.key == *key).then_some(at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The cell of a key, by which it is known.
    struct Numbered(usize, Site);

    impl Pending for Numbered {
        fn created_at(&self) -> Site {
            self.1
        }

        fn key_state(&self) -> KeyState {
            KeyState::Pending
        }

        fn type_name(&self) -> &'static str {
            "a number"
        }

        fn park(&self, _: &Context<'_>, _: Note) -> Result<(), Error> {
            Ok(())
        }

        fn unpark(&self) -> bool {
            true
        }

        fn keep(self: Rc<Self>) {}

        fn give_up(&self) {}
    }

    /// Integers of which many have the same low bits, and some text.
    fn key(n: usize) -> Key {
        if n.is_multiple_of(7) {
            Key::from(n.to_string())
        } else {
            Key::from(n % 3 + n / 3 * FEW)
        }
    }

    /// Which cell the ledger has for a key.
    fn found(ledger: &Ledger, key: &Key) -> Option<usize> {
        let cell: &dyn Any = &**ledger.get(key)?.cell()?;
        cell.downcast_ref::<Numbered>().map(|cell| cell.0)
    }

    proptest! {
        #[test]
        fn a_ledger_agrees_with_a_map_of_few_and_of_many(
            phases in prop::collection::vec((0_usize..40, 0_usize..40), 1..40),
        ) {
            let mut ledger = Ledger::default();
            let mut map: HashMap<usize, usize> = HashMap::new();
            let site = Location::caller();
            for (number, (entered, freed)) in phases.into_iter().enumerate() {
                let registered = ledger.register(&key(entered), Rc::new(Numbered(number, site)));
                prop_assert_eq!(registered.is_ok(), !map.contains_key(&entered));
                map.entry(entered).or_insert(number);
                prop_assert_eq!(ledger.free(&key(freed)).is_some(), map.remove(&freed).is_some());
                for n in 0..40 {
                    prop_assert_eq!(found(&ledger, &key(n)), map.get(&n).copied());
                }
                prop_assert_eq!(ledger.pending as usize, map.len());
                prop_assert_eq!(ledger.report().len(), map.len());
            }
        }
    }

    #[test]
    fn room_for_many_keys_is_given_back_when_none_is_pending() {
        let mut ledger = Ledger::default();
        let site = Location::caller();
        let many: [fn(usize) -> Key; 3] = [
            Key::from,
            |n| Key::from(n * 1024),
            |n| Key::from(n.to_string()),
        ];
        for key in many {
            for count in [FEW / 2, 100 * FEW] {
                let keys: Vec<Key> = (0..count).map(key).collect();
                for (number, key) in keys.iter().enumerate() {
                    assert!(
                        ledger
                            .register(key, Rc::new(Numbered(number, site)))
                            .is_ok()
                    );
                }
                assert!(ledger.entries.len() >= count);
                assert_eq!(
                    ledger.index.is_some(),
                    ledger.entries.len() - ledger.own > FEW
                );
                for key in &keys {
                    drop(ledger.free(key));
                }
                assert!(ledger.is_empty() && ledger.index.is_none());
                assert!(ledger.entries.capacity() <= KEPT);
            }
        }
    }

    #[test]
    fn consecutive_integers_have_places_of_their_own() {
        let mut ledger = Ledger::default();
        let site = Location::caller();
        for number in 0..1000 {
            let key = Key::from(number + 500);
            assert!(
                ledger
                    .register(&key, Rc::new(Numbered(number, site)))
                    .is_ok()
            );
        }
        let behind = ledger.entries.len() - ledger.own;
        assert!(
            ledger.own <= 4 * 1000 && behind <= FEW,
            "{behind} of 1000, {} places",
            ledger.own
        );
    }

    #[test]
    fn a_key_among_those_with_the_same_low_bits_is_taken_or_claimed_by_itself() {
        let mut ledger = Ledger::default();
        let site = Location::caller();
        let keys = [3, 3 + FEW, 3 + 2 * FEW].map(Key::from);
        for (number, key) in keys.iter().enumerate() {
            let cell = Rc::new(Numbered(number, site));
            assert!(ledger.register(key, cell).is_ok());
        }
        assert!(ledger.claim(&keys[1], site).is_ok());
        let again = ledger.claim(&keys[1], site).err();
        assert_eq!(again, Some(Refusal::Repeated));
        ledger.set_waited(&keys[1], None);
        let (cell, at) = ledger.claim(&keys[1], site).ok().unwrap();
        ledger.free_claimed(at, &keys[1], &cell);
        let gone = ledger.claim(&keys[1], site).err();
        assert_eq!(gone, Some(Refusal::Unknown));
        assert_eq!(found(&ledger, &keys[0]), Some(0));
        assert_eq!(found(&ledger, &keys[2]), Some(2));
    }

    /// Registers keys, each with its place in the list as its number.
    fn ledger_of(keys: &[Key]) -> Ledger {
        let mut ledger = Ledger::default();
        for (number, key) in keys.iter().enumerate() {
            let cell = Rc::new(Numbered(number, Location::caller()));
            assert!(ledger.register(key, cell).is_ok());
        }
        ledger
    }

    #[test]
    fn a_claimed_key_is_freed_wherever_its_entry_has_moved() {
        let site = Location::caller();
        for last in [0, 1, 2, 60] {
            // Text lies behind the places: it moves when there are more of these, and when another one behind is freed.
            let mut keys: Vec<Key> = (0..100).map(Key::from).collect();
            keys.push(Key::from("first"));
            keys.push(Key::from("second"));
            let mut ledger = ledger_of(&keys[100..]);
            let (cell, at) = ledger.claim(&keys[101], site).ok().unwrap();
            drop(ledger.free(&keys[100]));
            for (number, key) in keys[..last].iter().enumerate() {
                let cell = Rc::new(Numbered(number, site));
                assert!(ledger.register(key, cell).is_ok());
            }
            assert!(!ledger.holds(at, &cell), "it has moved");
            ledger.free_claimed(at, &keys[101], &cell);
            assert!(ledger.get(&keys[101]).is_none());
            assert_eq!(ledger.pending as usize, last);
            for (number, key) in keys[..last].iter().enumerate() {
                assert_eq!(found(&ledger, key), Some(number));
            }
        }
    }

    #[test]
    fn a_key_that_was_given_up_and_registered_anew_is_not_freed_by_who_claimed_it_before() {
        let site = Location::caller();
        for key in [Key::from(3), Key::from("text")] {
            let mut ledger = ledger_of(&[Key::from(3 + FEW), key.clone()]);
            let (cell, at) = ledger.claim(&key, site).ok().unwrap();
            assert!(ledger.remove(&key).is_some());
            assert!(ledger.register(&key, Rc::new(Numbered(7, site))).is_ok());
            ledger.free_claimed(at, &key, &cell);
            assert_eq!(found(&ledger, &key), Some(7));
            assert_eq!(ledger.pending, 2);
        }
    }
}
