//! What is known of one coroutine, apart from its body.
//!
//! Bodies live in the loop and run with `&mut`; records live in a table that handles and yield-points reach too, so that looking
//! inside works at any time and runs nobody's code. What most coroutines never need is in one box, made when it is first needed.
//!
//! ```text
//!            spawn             resumed              parked              woken
//!   (none) ─────────▶ QUEUED ──────────▶ running ───────────▶ parked ──────────▶ QUEUED
//!                       │  cancel, abort     │ ended
//!                       ▼ before STARTED     ▼
//!                    dropped unrun         (none)
//! ```

use std::any::Any;
use std::borrow::Cow;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use slab::Slab;

use crate::error::Error;
use crate::fit::Fit;
use crate::ledger::Ledger;
use crate::site::Site;
use crate::timers::{Nanos, TimerId};
use crate::waiter::{Foreign, Kind, Note};
use crate::waits::{Edge, Lender};

/// A coroutine's body with whatever takes its outcome: what the loop drives.
pub(crate) trait Body {
    /// Runs the body to its next yield. After `Ready` it is dropped and never resumed again.
    fn resume(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;

    /// Who is to be told if the body ends in another way than by itself.
    fn ending(&self) -> Rc<dyn Ending>;

    /// Drops the body, which has ended, and leaves an empty box. Gives what fits into it, if it can be filled again.
    fn vacate(self: Pin<&mut Self>) -> Fit {
        Fit::NONE
    }

    /// Fills an empty box from what is on its way there.
    fn refill(self: Pin<&mut Self>, _seed: &mut dyn Any) {}
}

/// Takes the outcome of a body that was dropped or panicked.
pub(crate) trait Ending {
    /// Ends the coroutine with an error. Nothing is borrowed while this runs.
    fn end(&self, error: Error);
}

/// What has happened to a coroutine, in bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flags(u8);

impl Flags {
    /// Waits in the ready queue: it is there once at most.
    pub(crate) const QUEUED: Flags = Flags(1);
    /// Has been resumed at least once.
    pub(crate) const STARTED: Flags = Flags(2);
    /// Is being cancelled: every resume from now on delivers it.
    pub(crate) const CANCELLED: Flags = Flags(4);
    /// Is to be dropped instead of resumed.
    pub(crate) const ABORTED: Flags = Flags(8);
    /// Is parked inside `cleanup`.
    pub(crate) const IN_CLEANUP: Flags = Flags(16);
    /// Was told of its cancel: a point of it gave `Cancelled`.
    pub(crate) const TOLD: Flags = Flags(32);

    /// Whether any bit of `other` is set.
    #[inline]
    pub(crate) fn has(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }

    /// Asked to end, in one way or the other.
    pub(crate) const DOOMED: Flags = Flags::CANCELLED.or(Flags::ABORTED);

    /// Both together.
    pub(crate) const fn or(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Sets the bits of `other`.
    #[inline]
    pub(crate) fn set(&mut self, other: Flags) {
        self.0 |= other.0;
    }

    /// Clears the bits of `other`.
    #[inline]
    pub(crate) fn clear(&mut self, other: Flags) {
        self.0 &= !other.0;
    }
}

/// Why and from where a coroutine was cancelled or aborted.
#[derive(Clone, Debug)]
pub(crate) struct CancelCause {
    /// What the caller gave as the reason.
    pub(crate) reason: Cow<'static, str>,
    /// Where it was called.
    pub(crate) site: Site,
}

/// One coroutine in the table.
pub(crate) struct Record {
    /// Where it was spawned.
    pub(crate) site: Site,
    /// What has happened to it.
    pub(crate) flags: Flags,
    /// What it parked on last: the kind of point.
    pub(crate) parked_on: &'static Kind,
    /// The loop's clock at the look before it parked.
    pub(crate) since: Nanos,
    /// What it parked on last: where that was made.
    pub(crate) parked_at: Option<Site>,
    /// What is rarely needed.
    rare: Option<Box<Rare>>,
}

/// What most coroutines never need.
#[derive(Default)]
pub(crate) struct Rare {
    /// The name it was given.
    pub(crate) name: Option<Cow<'static, str>>,
    /// Its pending keys.
    pub(crate) ledger: Ledger,
    /// Why it is being cancelled or aborted.
    pub(crate) cancel: Option<CancelCause>,
    /// The timers that limit the clean-ups it waits in.
    pub(crate) cleanups: Vec<TimerId>,
    /// The wakers of foreign combinators inside which its points are parked, by token. One that a cancel has woken leaves its
    /// place empty until its point gives the token back, so that no token can reach another point's waker.
    pub(crate) wakers: Slab<Option<Foreign>>,
    /// What it waits for that is another coroutine's doing.
    pub(crate) waits: Slab<Edge>,
    /// The engine whose permit it has, and its seat there, if that engine limits its calls.
    pub(crate) lender: Option<(Rc<dyn Lender>, u32)>,
}

impl Rare {
    /// How many of its points are parked under a waker of foreign code.
    pub(crate) fn foreign_wakers(&self) -> usize {
        self.wakers
            .iter()
            .filter(|(_, foreign)| matches!(foreign, Some(Foreign::Waker(_))))
            .count()
    }
}

impl Record {
    /// A coroutine that has just been spawned. It counts as queued: whoever enters it queues it, and nobody else need.
    #[inline]
    pub(crate) fn new(site: Site) -> Self {
        Record {
            site,
            flags: Flags::QUEUED,
            parked_on: Note::FOREIGN.kind,
            parked_at: None,
            since: 0,
            rare: None,
        }
    }

    /// What is rarely needed, if it was ever needed.
    #[inline]
    pub(crate) fn rare(&self) -> Option<&Rare> {
        self.rare.as_deref()
    }

    /// What is rarely needed, made now if need be.
    #[inline]
    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// What is rarely needed, to be dropped by the caller. The rest holds nothing.
    #[inline]
    pub(crate) fn into_rare(self) -> Option<Box<Rare>> {
        self.rare
    }

    /// The same, without making it.
    pub(crate) fn rare_if_any(&mut self) -> Option<&mut Rare> {
        self.rare.as_deref_mut()
    }
}
