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

use std::pin::Pin;

use crate::fit::Fit;
use crate::record::Body;

/// How many kinds of body are kept at most.
const SHELVES: usize = 16;

/// How many bytes are kept of one kind, with what each box holds on to.
const KEPT: usize = 128 * 1024;

/// How many boxes of one kind are kept while the loop rests.
const RESTING: usize = 64;

/// What a kept box holds on to beside itself: the cell of its result.
const CELL: usize = 80;

/// The boxes that are kept.
#[derive(Default)]
pub(crate) struct Spares {
    /// By the low bits of the kind.
    shelves: [Shelf; SHELVES],
    /// Whether a box was put back since the last rest, so that there may be some to give back.
    stocked: bool,
}

/// The boxes of one kind.
struct Shelf {
    /// What fits into them.
    fit: Fit,
    /// How many there may be.
    room: usize,
    /// The boxes.
    boxes: Vec<Pin<Box<dyn Body>>>,
}

impl Default for Shelf {
    fn default() -> Self {
        Shelf {
            fit: Fit::NONE,
            room: 0,
            boxes: Vec::new(),
        }
    }
}

impl Spares {
    /// A box for a body of this kind, if one is kept.
    #[inline]
    pub(crate) fn take(&mut self, fit: Fit) -> Option<Pin<Box<dyn Body>>> {
        let kept = &mut self.shelves[fit.shelf(SHELVES)];
        if kept.fit == fit {
            kept.boxes.pop()
        } else {
            None
        }
    }

    /// Keeps an empty box (keeps invariant 2).
    #[inline]
    pub(crate) fn put(&mut self, fit: Fit, spare: Pin<Box<dyn Body>>) {
        let kept = &mut self.shelves[fit.shelf(SHELVES)];
        if kept.fit != fit {
            kept.take_over(fit, size_of_val(&*spare));
        }
        if kept.boxes.len() < kept.room {
            kept.boxes.push(spare);
            self.stocked = true;
        }
    }

    /// Gives back what a burst has left: few boxes of a kind stay while the loop rests.
    pub(crate) fn rest(&mut self) {
        if std::mem::take(&mut self.stocked) {
            for shelf in &mut self.shelves {
                shelf.boxes.truncate(RESTING);
                shelf.boxes.shrink_to(RESTING);
            }
        }
    }
}

impl Shelf {
    /// Makes it the shelf of another kind.
    #[cold]
    fn take_over(&mut self, fit: Fit, size: usize) {
        *self = Shelf {
            fit,
            room: KEPT / (size + CELL),
            boxes: Vec::new(),
        };
    }
}
