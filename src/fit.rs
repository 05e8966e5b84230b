//! Which boxes can be filled again with which values, in one word.
//!
//! It is apart because what is boxed and what keeps the boxes both say it.
//!
//! Invariant: two types of one hash do no harm, because a box refuses what is not of its type.

use std::any::TypeId;
use std::hash::{Hash, Hasher};

/// What fits into a box.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fit(u64);

impl Fit {
    /// Values of this type.
    #[inline]
    pub(crate) fn of<F: 'static>() -> Self {
        /// Takes the number that a `TypeId` hashes itself to, which is a hash already.
        struct Number(u64);
        impl Hasher for Number {
            fn finish(&self) -> u64 {
                self.0
            }
            fn write(&mut self, bytes: &[u8]) {
                let mix = |sum: u64, &byte: &u8| sum.rotate_left(8) ^ u64::from(byte);
                self.0 = bytes.iter().fold(self.0, mix);
            }
            #[inline]
            fn write_u64(&mut self, number: u64) {
                self.0 = number;
            }
        }
        let mut number = Number(0);
        TypeId::of::<F>().hash(&mut number);
        Fit(number.0)
    }

    /// Its place among so many.
    #[inline]
    pub(crate) fn shelf(self, count: usize) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
        let low = self.0 as usize;
        low % count
    }
}
