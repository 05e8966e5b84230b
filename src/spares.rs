//! The boxes of coroutines that have ended, kept to be filled again: a coroutine of a kind that was spawned before costs no
//! allocation.
//!
//! They are apart from the loop's bodies because whoever spawns takes one, and may be anywhere.
//!
//! Invariants:
//! 1. What is kept holds nothing of the user's: its body was dropped before it came here.
//! 2. Memory is bounded: so many shelves, so many bytes on each. A kind that meets another one's shelf takes it over.
//!
//! ```text
//!   spawn ── take, refill ──▶ in its slot ── ended, vacated ── put ──▶ on the shelf of its kind ──┐
//!     ▲                                                                                           │
//!     └───────────────────────────────────────────────────────────────────────────────────────────┘
//! ```

use std::any::TypeId;
use std::hash::{Hash, Hasher};
use std::pin::Pin;

use crate::record::Body;

/// How many kinds of body are kept at most.
const SHELVES: usize = 16;

/// How many bytes are kept of one kind, with what each box holds on to.
const KEPT: usize = 128 * 1024;

/// What a kept box holds on to beside itself: the cell of its result.
const CELL: usize = 80;

/// An empty box.
type Spare = Pin<Box<dyn Body>>;

/// The boxes that are kept.
#[derive(Default)]
pub(crate) struct Spares {
    /// By the hash of the kind.
    shelves: [Shelf; SHELVES],
}

/// The boxes of one kind.
#[derive(Default)]
struct Shelf {
    /// What fits into them.
    kind: Option<TypeId>,
    /// The boxes.
    boxes: Vec<Spare>,
}

impl Spares {
    /// A box for a body of this kind, if one is kept.
    #[inline]
    pub(crate) fn take(&mut self, kind: TypeId) -> Option<Spare> {
        let kept = &mut self.shelves[index(kind)];
        if kept.kind != Some(kind) {
            return None;
        }
        kept.boxes.pop()
    }

    /// Keeps an empty box (keeps invariant 2).
    #[inline]
    pub(crate) fn put(&mut self, kind: TypeId, spare: Spare) {
        let kept = &mut self.shelves[index(kind)];
        if kept.kind != Some(kind) {
            *kept = Shelf {
                kind: Some(kind),
                boxes: Vec::new(),
            };
        }
        let size = size_of_val(&*spare) + CELL;
        if kept.boxes.len() * size < KEPT {
            kept.boxes.push(spare);
        }
    }
}

/// The shelf of a kind.
#[inline]
fn index(kind: TypeId) -> usize {
    /// Takes the number that a `TypeId` hashes itself to, which is a hash already.
    struct Low(usize);
    impl Hasher for Low {
        fn finish(&self) -> u64 {
            self.0 as u64
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0 = bytes
                .iter()
                .fold(self.0, |sum, &byte| sum ^ usize::from(byte));
        }
        #[inline]
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
        fn write_u64(&mut self, number: u64) {
            self.0 = number as usize;
        }
    }
    let mut low = Low(0);
    kind.hash(&mut low);
    low.0 % SHELVES
}
