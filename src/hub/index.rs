//! Where the keys of an engine are found: by the hash of a key, the places of the rows that may be its own.
//!
//! It is apart because it runs nobody's code: it deals in hashes and places, and whoever looks compares the keys himself.
//!
//! Invariants:
//! 1. A key's entry lies at the place that its hash says, or behind it with no gap between.
//! 2. At most three of four places are taken, so every look ends soon.
//! 3. The key itself is hashed once for each look-up, never for growing, shrinking or leaving.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};

use crate::arena::Id;

/// No key's row.
const VACANT: u32 = u32::MAX;

/// The fewest places there are, once there is one.
const FEWEST: usize = 16;

/// See the module's page.
pub(crate) struct Index {
    /// The rows; as many places as a power of two, or none.
    entries: Vec<u32>,
    /// The hash of the key in each row. Apart from the rows they are small, and a look that passes other keys' entries stays in few lines.
    hashes: Vec<u32>,
    /// How many keys there are.
    len: usize,
    /// What every key's hash begins with: drawn anew for each engine, so that nobody can choose keys that collide.
    seed: u64,
}

/// A look-up that has not ended.
#[derive(Clone, Copy)]
pub(crate) struct Probe {
    /// The hash looked for.
    hash: u32,
    /// The next place to look at.
    at: usize,
}

impl Probe {
    /// The beginning of the search for this hash.
    #[inline]
    pub(crate) fn new(hash: u32) -> Self {
        Probe {
            hash,
            at: hash as usize,
        }
    }
}

impl Index {
    /// No keys.
    pub(crate) fn new() -> Self {
        Index {
            entries: Vec::new(),
            hashes: Vec::new(),
            len: 0,
            seed: RandomState::new().hash_one(0),
        }
    }

    /// What hashes begin with.
    #[inline]
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// The next row whose key has the hash looked for.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the most of a look-up")]
    pub(crate) fn next(&self, probe: &mut Probe) -> Option<u32> {
        let mask = self.entries.len().wrapping_sub(1);
        loop {
            let row = *self.entries.get(probe.at & mask)?;
            // A vacant place is no row that has a hash.
            let hash = *self.hashes.get(row as usize)?;
            probe.at += 1;
            if hash == probe.hash {
                return Some(row);
            }
        }
    }

    /// Enters a key that is not here.
    pub(crate) fn enter(&mut self, hash: u32, row: u32) {
        if (self.len + 1) * 4 > self.entries.len() * 3 {
            self.resize((self.entries.len() * 2).max(FEWEST));
        }
        if row as usize >= self.hashes.len() {
            self.hashes.resize(row as usize + 1, 0);
        }
        self.hashes[row as usize] = hash;
        self.len += 1;
        self.put(row);
    }

    /// The place where the look for the key in this row begins.
    fn home(&self, row: u32) -> usize {
        self.hashes[row as usize] as usize & (self.entries.len() - 1)
    }

    /// Puts a row where it belongs. There is a vacant place.
    fn put(&mut self, row: u32) {
        let mask = self.entries.len() - 1;
        let mut at = self.home(row);
        while self.entries[at] != VACANT {
            at = (at + 1) & mask;
        }
        self.entries[at] = row;
    }

    /// Takes the key of this row out, if it is here.
    pub(crate) fn leave(&mut self, row: u32) {
        if self.entries.is_empty() || row as usize >= self.hashes.len() {
            return;
        }
        let mask = self.entries.len() - 1;
        let mut gap = self.home(row);
        while self.entries[gap] != row {
            if self.entries[gap] == VACANT {
                return;
            }
            gap = (gap + 1) & mask;
        }
        // Whoever lies behind and may lie here moves up (keeps invariant 1).
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let row = self.entries[at];
            if row == VACANT {
                break;
            }
            let home = self.home(row);
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(gap) & mask {
                self.entries[gap] = row;
                gap = at;
            }
        }
        self.entries[gap] = VACANT;
        self.len -= 1;
        if self.entries.len() > 64 * FEWEST && self.len * 8 < self.entries.len() {
            self.resize(self.entries.len() / 4);
            self.forget_hashes();
        }
    }

    /// Changes the number of places.
    #[cold]
    fn resize(&mut self, places: usize) {
        let before = std::mem::replace(&mut self.entries, vec![VACANT; places]);
        for row in before {
            if row != VACANT {
                self.put(row);
            }
        }
    }

    /// Gives back the memory of the hashes of rows above the highest that is here.
    #[cold]
    fn forget_hashes(&mut self) {
        let rows = self.entries.iter().filter(|row| **row != VACANT);
        let highest = rows.max().map_or(0, |row| *row as usize + 1);
        self.hashes.truncate(highest);
        self.hashes.shrink_to_fit();
    }
}

/// A key's hash. This runs the key's own code.
#[inline]
pub(crate) fn hash(seed: u64, key: &impl Hash) -> u32 {
    let mut folding = Folding(seed);
    key.hash(&mut folding);
    (folding.finish() >> 32) as u32
}

/// What few keys have, by the key's place.
pub(crate) type ByPlace<T> = HashMap<Id, T, BuildHasherDefault<Folding>>;

/// Hashes a key word by word: each is multiplied in, and the two halves of the product are folded together. Half a dozen instructions for
/// an integer, where the standard library's hasher takes a hundred.
#[derive(Default)]
pub(crate) struct Folding(u64);

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
        self.0
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
    use std::collections::{BTreeMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    /// All rows that a look finds.
    fn found(index: &Index, hash: u32) -> Vec<u32> {
        let mut probe = Probe::new(hash);
        std::iter::from_fn(|| index.next(&mut probe)).collect()
    }

    #[test]
    fn keys_of_one_hash_are_all_found_and_leave_one_by_one() {
        let mut index = Index::new();
        assert_eq!(found(&index, 7), []);
        for row in [1, 2, 3] {
            index.enter(7, row);
        }
        index.leave(9);
        assert_eq!(found(&index, 7), [1, 2, 3], "9 was not here");
        index.leave(2);
        assert_eq!(found(&index, 7), [1, 3]);
        index.leave(1);
        index.leave(3);
        assert_eq!((found(&index, 7), index.len), (vec![], 0));
    }

    /// Panics unless each of these rows is here once, with its hash, where a look that begins at its hash comes by (invariant 1).
    fn check(index: &Index, rows: &BTreeMap<u32, Vec<u32>>) {
        let mut expected: Vec<_> = rows
            .iter()
            .flat_map(|(hash, rows)| rows.iter().map(|row| (*row, *hash)))
            .collect();
        expected.sort_unstable();
        let taken = index.entries.iter().filter(|row| **row != VACANT);
        let mut here: Vec<_> = taken
            .map(|row| (*row, index.hashes[*row as usize]))
            .collect();
        here.sort_unstable();
        assert_eq!(here, expected);

        let places = index.entries.len();
        let vacant = index.entries.iter().position(|row| *row == VACANT);
        let mut without_gap = 0;
        for at in (0..places).map(|n| (vacant.expect("a quarter is") + n) % places) {
            let row = index.entries[at];
            if row == VACANT {
                without_gap = 0;
            } else {
                let behind_home = at.wrapping_sub(index.home(row)) & (places - 1);
                assert!(behind_home <= without_gap, "{row}");
                without_gap += 1;
            }
        }
    }

    proptest! {
        #[test]
        fn an_index_agrees_with_a_map_through_growing_and_shrinking(
            phases in prop::collection::vec((any::<bool>(), 1..1000_u32, 0..4_u32), 1..8),
        ) {
            let (mut index, mut map, mut row) = (Index::new(), BTreeMap::<u32, Vec<u32>>::new(), 0);
            for (enters, count, spread) in phases {
                for n in 0..count {
                    // Hashes that meet, that lie side by side, and that wrap round the end.
                    let hash = (u32::MAX - (n >> spread) * (1 << (8 * spread))) ^ spread;
                    if enters {
                        index.enter(hash, row);
                        map.entry(hash).or_default().push(row);
                        row += 1;
                    } else if let Some(row) = map.get_mut(&hash).and_then(Vec::pop) {
                        index.leave(row);
                    }
                }
                let rows: usize = map.values().map(Vec::len).sum();
                prop_assert_eq!(index.len, rows);
                prop_assert!(rows * 4 <= index.entries.len() * 3);
                check(&index, &map);
                for (hash, rows) in map.iter().step_by(1 + map.len() / 16) {
                    let found: HashSet<u32> = found(&index, *hash).into_iter().collect();
                    prop_assert_eq!(found, rows.iter().copied().collect());
                }
            }
        }
    }

    #[test]
    fn near_keys_have_far_hashes_in_their_high_and_low_bits() {
        let seed = Index::new().seed();
        let hashes: Vec<u32> = (0..4096_u64).map(|key| hash(seed, &key)).collect();
        let low: HashSet<u32> = hashes.iter().map(|hash| hash & 0xFFFF).collect();
        let high: HashSet<u32> = hashes.iter().map(|hash| hash >> 16).collect();
        // Of 4096 draws from 65536 about 3970 are distinct.
        assert!(
            low.len() > 3800 && high.len() > 3800,
            "{} {}",
            low.len(),
            high.len()
        );
        assert_ne!(Index::new().seed(), seed, "each engine has its seed");
    }

    #[test]
    fn text_is_hashed_by_all_its_bytes_and_its_length() {
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
        let hashes: HashSet<u32> = texts.iter().map(|text| hash(1, text)).collect();
        assert_eq!(hashes.len(), texts.len());
    }
}
