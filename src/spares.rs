//! Emptied cells of one-shots, kept to be filled again: one of a type that was there before costs no allocation.
//!
//! They are apart because whoever makes a one-shot takes one, and may be anywhere, and no list need know what it keeps.
//!
//! Invariants:
//! 1. What is kept holds nothing of the user's: what was in it was taken or dropped before it came here.
//! 2. Memory is bounded: so many shelves, so many bytes on each. A kind that meets another one's shelf takes it over.
//!
//! ```text
//!   take, refill ──▶ in use ── taken, or dropped ─▶ put ──▶ on the shelf of what fits ──┐
//!        ▲                                                                              │
//!        └──────────────────────────────────────────────────────────────────────────────┘
//! ```

use crate::fit::Fit;

/// How many kinds are kept at most.
const SHELVES: usize = 16;

/// How many bytes are kept of one kind, with what each box takes beside.
const KEPT: usize = 256 * 1024;

/// How many boxes of one kind are kept while the loop rests.
const RESTING: usize = 32;

/// What a kept box takes beside what is in it: the two counts of its owners, and the allocator's word.
const BESIDE: usize = 24;

/// The boxes that are kept.
pub(crate) struct Spares<B> {
    /// By the low bits of the kind.
    shelves: [Shelf<B>; SHELVES],
    /// Whether a box was put back since the last rest, so that there may be some to give back.
    stocked: bool,
}

/// The boxes of one kind.
struct Shelf<B> {
    /// What fits into them.
    fit: Fit,
    /// How many there may be.
    room: usize,
    /// The boxes.
    boxes: Vec<B>,
}

impl<B> Default for Spares<B> {
    fn default() -> Self {
        Spares {
            shelves: std::array::from_fn(|_| Shelf::default()),
            stocked: false,
        }
    }
}

impl<B> Default for Shelf<B> {
    fn default() -> Self {
        Shelf {
            fit: Fit::NONE,
            room: 0,
            boxes: Vec::new(),
        }
    }
}

impl<B> Spares<B> {
    /// A box for a value of this kind, if one is kept.
    #[inline]
    pub(crate) fn take(&mut self, fit: Fit) -> Option<B> {
        let kept = &mut self.shelves[fit.shelf(SHELVES)];
        if kept.fit == fit {
            kept.boxes.pop()
        } else {
            None
        }
    }

    /// Keeps an empty box if its shelf has a place for it as it is.
    ///
    /// # Errors
    /// The box otherwise: [`put`](Spares::put) finds a place or drops it.
    #[inline]
    pub(crate) fn put_back(&mut self, fit: Fit, spare: B) -> Result<(), B> {
        let kept = &mut self.shelves[fit.shelf(SHELVES)];
        let count = kept.boxes.len();
        if kept.fit != fit || count >= kept.room || count >= kept.boxes.capacity() {
            return Err(spare);
        }
        kept.boxes.push(spare);
        self.stocked = true;
        Ok(())
    }

    /// Keeps an empty box of this size (keeps invariant 2).
    #[inline]
    pub(crate) fn put(&mut self, fit: Fit, size: usize, spare: B) {
        let kept = &mut self.shelves[fit.shelf(SHELVES)];
        if kept.fit != fit {
            kept.take_over(fit, size);
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

impl<B> Shelf<B> {
    /// Makes it the shelf of another kind.
    #[cold]
    fn take_over(&mut self, fit: Fit, size: usize) {
        *self = Shelf {
            fit,
            room: KEPT / (size + BESIDE),
            boxes: Vec::new(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_comes_back_for_what_fits_and_for_nothing_else() {
        let mut spares = Spares::default();
        spares.put(Fit::of::<u8>(), 16, "box");
        assert_eq!(spares.take(Fit::of::<u16>()), None);
        assert_eq!(spares.take(Fit::of::<u8>()), Some("box"));
        assert_eq!(spares.take(Fit::of::<u8>()), None);
    }

    #[test]
    fn a_shelf_keeps_so_many_bytes_and_drops_the_rest() {
        let mut spares = Spares::default();
        let fit = Fit::of::<u8>();
        let size = KEPT / 4 - BESIDE;
        for n in 0..10 {
            spares.put(fit, size, n);
        }
        let kept: Vec<i32> = std::iter::from_fn(|| spares.take(fit)).collect();
        assert_eq!(kept, [3, 2, 1, 0]);
    }

    #[test]
    fn a_kind_too_large_for_a_shelf_is_not_kept() {
        let mut spares = Spares::default();
        spares.put(Fit::of::<u8>(), KEPT, "large");
        assert_eq!(spares.take(Fit::of::<u8>()), None);
    }
}
