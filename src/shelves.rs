//! The boxes of coroutines that have ended, kept to be filled again: a coroutine of a type that was there before costs no allocation.
//!
//! They are apart because whoever spawns takes one, and may be anywhere. A small box of one that was joined is left in its row instead,
//! see `records`, and comes here when the next one there is of another type. Each type has a list of its own, so that a box comes back as
//! what it is and the next body is written where it stays.
//!
//! Invariants:
//! 1. What is kept holds nothing of the user's: what was in it was dropped, or given to who joins, before it came here.
//! 2. Memory is bounded: so many shelves, so many bytes on each. A type that meets another one's shelf takes it over.

use std::any::Any;
use std::pin::Pin;

use crate::fit::Fit;

/// How many types of body are kept at most.
const SHELVES: usize = 16;

/// How many bytes are kept of one type.
const KEPT: usize = 256 * 1024;

/// How many boxes of one type are kept while the loop rests.
const RESTING: usize = 32;

/// The boxes that are kept.
#[derive(Default)]
pub(crate) struct Shelves {
    /// By the low bits of the type.
    by_type: [Option<Shelf>; SHELVES],
    /// Where a type has met another one's box in a row.
    met: [bool; SHELVES],
    /// Whether a box was put back since the last rest, so that there may be some to give back.
    stocked: bool,
}

/// The boxes of one type.
struct Shelf {
    /// The list of them: a [`Boxes`] of the type.
    boxes: Box<dyn Any>,
    /// Gives back all but a few of the list.
    rest: fn(&mut dyn Any),
}

/// A list of boxes of one type.
type Boxes<B> = Vec<Pin<Box<B>>>;

impl Shelves {
    /// A box for a body of this type, if one is kept.
    ///
    /// It is a function of its own: written out in a spawn, it makes the number of the type come back late from the stack.
    #[inline(never)]
    pub(crate) fn take<B: 'static>(&mut self) -> Option<Pin<Box<B>>> {
        let place = &mut self.by_type[Fit::of::<B>().shelf(SHELVES)];
        place.as_mut()?.boxes()?.pop()
    }

    /// Keeps an empty box (keeps invariant 2).
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "most of what a join costs")]
    pub(crate) fn put<B: 'static>(&mut self, spare: Pin<Box<B>>) {
        let place = &mut self.by_type[Fit::of::<B>().shelf(SHELVES)];
        match place.as_mut().and_then(Shelf::boxes) {
            Some(boxes) => {
                if boxes.len() < KEPT / size_of::<B>().max(1) {
                    boxes.push(spare);
                    self.stocked = true;
                }
            }
            None => *place = Some(Shelf::new(spare)),
        }
    }

    /// The same, of a box that another type has met in its row. The first one is dropped: only who comes again needs a shelf.
    #[cold]
    #[inline(never)]
    pub(crate) fn put_aside<B: 'static>(&mut self, spare: Pin<Box<B>>) {
        let place = Fit::of::<B>().shelf(SHELVES);
        if std::mem::replace(&mut self.met[place], true) {
            self.put(spare);
        }
    }

    /// Gives back what a burst has left: few boxes of a type stay while the loop rests.
    pub(crate) fn rest(&mut self) {
        if std::mem::take(&mut self.stocked) {
            for shelf in self.by_type.iter_mut().flatten() {
                (shelf.rest)(&mut *shelf.boxes);
            }
        }
    }
}

impl Shelf {
    /// The shelf of a type, with its first box.
    #[cold]
    fn new<B: 'static>(spare: Pin<Box<B>>) -> Self {
        let mut boxes = Boxes::new();
        if size_of::<B>() <= KEPT {
            boxes.push(spare);
        }
        Shelf {
            boxes: Box::new(boxes),
            rest: |boxes| {
                if let Some(boxes) = boxes.downcast_mut::<Boxes<B>>() {
                    boxes.truncate(RESTING);
                    boxes.shrink_to(RESTING);
                }
            },
        }
    }

    /// The list, if it is that of this type.
    #[inline]
    fn boxes<B: 'static>(&mut self) -> Option<&mut Boxes<B>> {
        self.boxes.downcast_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_comes_back_for_its_own_type_and_for_no_other() {
        let mut shelves = Shelves::default();
        shelves.put(Box::pin(1u8));
        assert_eq!(shelves.take::<u16>(), None);
        assert_eq!(shelves.take::<u8>(), Some(Box::pin(1)));
        assert_eq!(shelves.take::<u8>(), None);
    }

    /// A box of so many bytes, which never lay on the stack.
    fn large<const N: usize>(first: u8) -> Pin<Box<[u8; N]>> {
        let mut bytes = vec![0; N];
        bytes[0] = first;
        let sized: Box<[u8; N]> = bytes.into_boxed_slice().try_into().unwrap();
        Box::into_pin(sized)
    }

    #[test]
    fn a_shelf_keeps_so_many_bytes_and_drops_the_rest() {
        const QUARTER: usize = KEPT / 4;
        let mut shelves = Shelves::default();
        for n in 0..10 {
            shelves.put(large::<QUARTER>(n));
        }
        let kept = std::iter::from_fn(|| shelves.take::<[u8; QUARTER]>().map(|kept| kept[0]));
        assert_eq!(kept.collect::<Vec<_>>(), [3, 2, 1, 0]);
    }

    #[test]
    fn a_type_too_large_for_a_shelf_is_not_kept() {
        const TOO_LARGE: usize = KEPT + 1;
        let mut shelves = Shelves::default();
        shelves.put(large::<TOO_LARGE>(0));
        assert!(shelves.take::<[u8; TOO_LARGE]>().is_none());
    }

    #[test]
    fn a_rest_leaves_a_few() {
        let mut shelves = Shelves::default();
        for n in 0..100u8 {
            shelves.put(Box::pin(n));
        }
        shelves.rest();
        let kept = std::iter::from_fn(|| shelves.take::<u8>()).count();
        assert_eq!(kept, RESTING);
    }
}
