//! Where the keys of an engine are found.
//!
//! It is apart because a key's `Hash` and `Eq` are user code: they run with the table of the index taken out, and nothing else does.
//!
//! Invariants:
//! 1. A key is hashed once for each look-up, and never again: entering, leaving and growing deal in numbers.
//! 2. The table is back in its place when a look-up ends, also by a panic of the key's code.
//! 3. Keys of one hash lie side by side, and are told apart by the keys themselves.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};

use crate::arena::Id;
use crate::key_name::KeyName;

/// One key.
struct Place<K> {
    /// The key.
    name: KeyName<K>,
    /// Where it is in the engine's table.
    id: Id,
}

/// The keys of one hash. Nearly always one.
enum Places<K> {
    /// One key.
    One(Place<K>),
    /// More than one, or what is left of them.
    Several(Vec<Place<K>>),
}

/// The keys by their hash.
type Table<K> = HashMap<u64, Places<K>, BuildHasherDefault<Hashed>>;

/// See the module's page.
pub(crate) struct Index<K> {
    /// The keys; out while a key's own code runs.
    places: Cell<Option<Table<K>>>,
    /// What every key's hash begins with: drawn anew for each engine, so that nobody can choose keys that collide.
    seed: u64,
}

/// A key's own code came back to the engine that runs it.
#[derive(Debug)]
pub(crate) struct Reentered;

/// The table, taken out; put back when this is dropped.
struct Out<'a, K>(&'a Cell<Option<Table<K>>>, Table<K>);

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
            places: Cell::new(Some(Table::default())),
            seed: RandomState::new().hash_one(0),
        }
    }

    /// A key's hash.
    #[inline]
    pub(crate) fn hash(&self, key: &K) -> u64 {
        let mut folding = Folding(self.seed);
        key.hash(&mut folding);
        folding.finish()
    }

    /// A key's place, if it is here.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &K) -> Result<Option<Id>, Reentered> {
        let out = Out(&self.places, self.places.take().ok_or(Reentered)?);
        let found = out.1.get(&hash).and_then(|places| match places {
            Places::One(place) => Some(place).filter(|place| place.name.get() == key),
            Places::Several(places) => places.iter().find(|place| place.name.get() == key),
        });
        Ok(found.map(|place| place.id))
    }

    /// Enters a key that is not here.
    #[inline]
    pub(crate) fn enter(&self, hash: u64, name: KeyName<K>, id: Id) {
        let Some(table) = self.places.take() else {
            return;
        };
        let mut out = Out(&self.places, table);
        let place = Place { name, id };
        match out.1.remove(&hash) {
            None => out.1.insert(hash, Places::One(place)),
            Some(Places::One(other)) => out.1.insert(hash, Places::Several(vec![other, place])),
            Some(Places::Several(mut places)) => {
                places.push(place);
                out.1.insert(hash, Places::Several(places))
            }
        };
    }

    /// Takes a key out. Gives its name, to be dropped by the caller.
    #[inline]
    pub(crate) fn leave(&self, hash: u64, id: Id) -> Option<KeyName<K>> {
        let mut out = Out(&self.places, self.places.take()?);
        match out.1.remove(&hash)? {
            Places::One(place) if place.id == id => Some(place.name),
            Places::One(other) => {
                out.1.insert(hash, Places::One(other));
                None
            }
            Places::Several(mut places) => {
                let at = places.iter().position(|place| place.id == id);
                let left = at.map(|at| places.swap_remove(at).name);
                if !places.is_empty() {
                    out.1.insert(hash, Places::Several(places));
                }
                left
            }
        }
    }
}

/// Takes a number that is a hash already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("the table's keys are numbers");
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// Hashes a key word by word: each is multiplied in, and the two halves of the product are folded together. Half a dozen instructions for
/// an integer, where the standard library's hasher takes a hundred.
struct Folding(u64);

/// An odd number with as many ones as zeros, from the digits of pi.
const FACTOR: u64 = 0x2437_54A3_2439_BA2D;

impl Folding {
    #[inline]
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(FACTOR);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves are wanted")]
        let (low, high) = (product as u64, (product >> 64) as u64);
        self.0 = (low ^ high).wrapping_add(FACTOR);
    }
}

impl Hasher for Folding {
    #[inline]
    fn finish(&self) -> u64 {
        let mut last = Folding(self.0);
        last.fold(0);
        last.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.fold(u64::from_le_bytes(word.try_into().expect("eight bytes")));
        }
        let mut last = [0; 8];
        let rest = words.remainder();
        last[..rest.len()].copy_from_slice(rest);
        self.fold(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    #[inline]
    fn write_u8(&mut self, number: u8) {
        self.fold(u64::from(number));
    }

    #[inline]
    fn write_u16(&mut self, number: u16) {
        self.fold(u64::from(number));
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.fold(u64::from(number));
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.fold(number);
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.fold(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Index, Places};
    use crate::arena::Id;
    use crate::key_name::KeyName;

    #[test]
    fn keys_of_one_hash_are_told_apart_and_leave_one_by_one() {
        let index = Index::<&str>::new();
        let ids = [Id::from_bits(1), Id::from_bits(2), Id::from_bits(3)];
        for (key, id) in ["a", "b", "c"].into_iter().zip(ids) {
            assert_eq!(index.find(7, &key).unwrap(), None);
            index.enter(7, KeyName::new(key), id);
        }
        for (key, id) in ["a", "b", "c"].iter().zip(ids) {
            assert_eq!(index.find(7, key).unwrap(), Some(id));
        }
        assert!(index.leave(7, Id::from_bits(9)).is_none(), "not here");
        assert_eq!(*index.leave(7, ids[1]).unwrap().get(), "b");
        assert_eq!(index.find(7, &"b").unwrap(), None);
        assert_eq!(index.find(7, &"c").unwrap(), Some(ids[2]));
        assert_eq!(*index.leave(7, ids[0]).unwrap().get(), "a");
        assert_eq!(*index.leave(7, ids[2]).unwrap().get(), "c");
        let table = index.places.take().unwrap();
        assert!(table.is_empty());
    }

    #[test]
    fn a_key_alone_is_not_given_out_under_anothers_id() {
        let index = Index::<u32>::new();
        index.enter(3, KeyName::new(5), Id::from_bits(1));
        assert!(index.leave(3, Id::from_bits(2)).is_none());
        let table = index.places.take().unwrap();
        assert!(matches!(table.get(&3), Some(Places::One(place)) if *place.name.get() == 5));
    }

    #[test]
    fn near_keys_have_far_hashes_in_their_high_and_low_bits() {
        let index = Index::<u64>::new();
        let hashes: Vec<u64> = (0..4096).map(|key| index.hash(&key)).collect();
        let low: HashSet<u64> = hashes.iter().map(|hash| hash & 0xFFFF).collect();
        let high: HashSet<u64> = hashes.iter().map(|hash| hash >> 48).collect();
        // Of 4096 draws from 65536 about 3970 are distinct.
        assert!(
            low.len() > 3800 && high.len() > 3800,
            "{} {}",
            low.len(),
            high.len()
        );
        assert_ne!(
            Index::<u64>::new().hash(&1),
            index.hash(&1),
            "each engine has its seed"
        );
    }

    #[test]
    fn text_is_hashed_by_all_its_bytes_and_its_length() {
        let index = Index::<String>::new();
        let texts = [
            "",
            "a",
            "ab",
            "a\0",
            "abcdefgh",
            "abcdefgh\0",
            "abcdefghi",
            "bbcdefgh",
        ];
        let hashes: HashSet<u64> = texts
            .iter()
            .map(|text| index.hash(&(*text).to_owned()))
            .collect();
        assert_eq!(hashes.len(), texts.len());
    }
}
