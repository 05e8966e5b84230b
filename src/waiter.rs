//! Who is to be woken, and what it waits on: two small `Copy` values that every yield-point of our own deals in.
//!
//! It is apart because the loop half, the sockets and the yield-points all hold one and none of them may know the others.
//! A foreign waker is never kept here: it lives in the table of coroutines, under the token, so that this stays 16 bytes
//! without a destructor, and so that a cancel can find every waker of a coroutine.
//!
//! Invariants:
//! 1. `resume` is the number of the resume in which the point last parked, 0 if it never did. Waking leaves it as it is: it is by this
//!    number that a cancel tells a point it was parked on from a new one.
//! 2. A slot names at most one coroutine, by an id that cannot reach the next tenant of its place.

use std::fmt;
use std::rc::Rc;
use std::task::Waker;

use crate::arena::Id;
use crate::site::Site;

/// A token that stands for "no foreign waker: the coroutine itself".
const DIRECT: u32 = u32::MAX;

/// Who waits at one place, if anybody. Two words, each written whole.
#[derive(Clone, Copy)]
pub(crate) struct WaiterSlot {
    /// The coroutine that parked; [`Id::NONE`] with a token for a point polled outside of any coroutine.
    owner: Id,
    /// In the upper half where in the owner's record the foreign waker is, or [`DIRECT`]; in the lower half when it parked (invariant 1).
    place: u64,
}

impl WaiterSlot {
    /// A slot nobody has parked in.
    pub(crate) const EMPTY: WaiterSlot = WaiterSlot::new(Id::NONE, DIRECT, 0);

    /// A slot of these parts.
    #[inline]
    const fn new(owner: Id, token: u32, resume: u32) -> Self {
        WaiterSlot {
            owner,
            place: (token as u64) << 32 | resume as u64,
        }
    }

    /// A slot in which the coroutine itself waits.
    #[inline]
    pub(crate) fn direct(owner: Id, resume: u32) -> Self {
        WaiterSlot::new(owner, DIRECT, resume)
    }

    /// A slot of a point that parked in this resume and that nobody need wake any more.
    #[inline]
    pub(crate) fn passed(resume: u32) -> Self {
        WaiterSlot::new(Id::NONE, DIRECT, resume)
    }

    /// A slot in which a foreign waker waits, kept under `token` by `owner`.
    pub(crate) fn foreign(owner: Id, token: usize, resume: u32) -> Self {
        let token = u32::try_from(token).expect("fewer than 2^32 wakers of one coroutine");
        WaiterSlot::new(owner, token, resume)
    }

    /// The coroutine that waits here or whose waker does.
    #[inline]
    pub(crate) fn owner(self) -> Id {
        self.owner
    }

    /// The coroutine itself, where no foreign waker stands for it.
    #[inline]
    pub(crate) fn direct_owner(self) -> Option<Id> {
        self.token().is_none().then_some(self.owner)
    }

    /// Where the foreign waker is kept, if it is one that waits.
    #[inline]
    pub(crate) fn token(self) -> Option<usize> {
        let token = (self.place >> 32) as u32;
        (token != DIRECT).then_some(token as usize)
    }

    /// When it parked last, 0 for never.
    #[inline]
    pub(crate) fn resume(self) -> u32 {
        (self.place & 0xFFFF_FFFF) as u32
    }

    /// Whether anybody waits here.
    #[inline]
    pub(crate) fn is_waiting(self) -> bool {
        !self.owner.is_none() || self.token().is_some()
    }

    /// Whether the point parked in a resume before this one.
    #[inline]
    pub(crate) fn parked_before(self, resume: u32) -> bool {
        self.resume() != 0 && self.resume() != resume
    }

    /// The same slot with nobody in it any more (keeps invariant 1).
    #[inline]
    pub(crate) fn vacated(self) -> Self {
        WaiterSlot::passed(self.resume())
    }
}

impl fmt::Debug for WaiterSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaiterSlot")
            .field("owner", &self.owner)
            .field("token", &self.token())
            .field("resume", &self.resume())
            .finish_non_exhaustive()
    }
}

/// What is woken where a coroutine's id does not say enough.
pub(crate) enum Foreign {
    /// The waker of a foreign combinator or executor.
    Waker(Waker),
    /// One of many points that a combinator of ours polls, by its place there.
    Child(Rc<dyn Parent>, usize),
}

/// A combinator of ours that wants to know which of its points was woken.
pub(crate) trait Parent {
    /// Hears that the point at this place was woken. Nothing is borrowed while this runs.
    fn woken(&self, place: usize);
}

/// A kind of yield-point, by its name in reports.
#[derive(Debug)]
pub(crate) struct Kind(pub(crate) &'static str);

/// What a coroutine is parked on when none of our own points says anything.
static FOREIGN: Kind = Kind("a foreign future");

/// What a coroutine is parked on: two pointers, written whenever a point parks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    /// The kind of point.
    pub(crate) kind: &'static Kind,
    /// Where it was made.
    pub(crate) site: Option<Site>,
}

impl Note {
    /// Nothing but foreign futures.
    pub(crate) const FOREIGN: Note = Note {
        kind: &FOREIGN,
        site: None,
    };
}
