//! Where the keys of an engine are found.
//!
//! It is apart because a key's `Hash` and `Eq` are user code: they run with the table of the index taken out, and nothing else does.
//!
//! Invariants:
//! 1. A key is hashed once for each look-up, and never again: entering and leaving compare numbers.
//! 2. The table is back in its place when a look-up ends, also by a panic of the key's code.

use std::cell::Cell;
use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::arena::Id;
use crate::key_name::KeyName;

/// One key.
struct Place<K> {
    /// Its hash.
    hash: u64,
    /// The key.
    name: KeyName<K>,
    /// Where it is in the engine's table.
    id: Id,
}

/// The keys.
type Places<K> = HashTable<Place<K>>;

/// See the module's page.
pub(crate) struct Index<K> {
    /// The keys; out while a key's own code runs.
    places: Cell<Option<Places<K>>>,
    /// What hashes them, seeded anew for each engine.
    hasher: DefaultHashBuilder,
}

/// A key's own code came back to the engine that runs it.
#[derive(Debug)]
pub(crate) struct Reentered;

/// The table, taken out; put back when this is dropped.
struct Out<'a, K>(&'a Cell<Option<Places<K>>>, Places<K>);

impl<K> Drop for Out<'_, K> {
    #[inline]
    fn drop(&mut self) {
        self.0.set(Some(std::mem::take(&mut self.1)));
    }
}

impl<K: Hash + Eq> Index<K> {
    /// No keys.
    pub(crate) fn new() -> Self {
        Index {
            places: Cell::new(Some(Places::new())),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// A key's hash.
    #[inline]
    pub(crate) fn hash(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }

    /// A key's place, if it is here.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &K) -> Result<Option<Id>, Reentered> {
        let out = Out(&self.places, self.places.take().ok_or(Reentered)?);
        let found = out.1.find(hash, |place| place.name.get() == key);
        Ok(found.map(|place| place.id))
    }

    /// Enters a key that is not here.
    #[inline]
    pub(crate) fn enter(&self, hash: u64, name: KeyName<K>, id: Id) {
        if let Some(places) = self.places.take() {
            let mut out = Out(&self.places, places);
            out.1
                .insert_unique(hash, Place { hash, name, id }, |place| place.hash);
        }
    }

    /// Takes a key out. Gives its name, to be dropped by the caller.
    #[inline]
    pub(crate) fn leave(&self, hash: u64, id: Id) -> Option<KeyName<K>> {
        let mut out = Out(&self.places, self.places.take()?);
        let entry = out.1.find_entry(hash, |place| place.id == id).ok()?;
        let (place, _) = entry.remove();
        Some(place.name)
    }
}
