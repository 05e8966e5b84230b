//! What is known of one coroutine, apart from its body.
//!
//! Bodies live in the loop and run with `&mut`; records live in a table that handles and yield-points reach too, so that looking
//! inside works at any time and runs nobody's code. What most coroutines never need is in one box, made when it is first needed.
//!
//! ```text
//!            spawn             resumed              parked              woken
//!   (none) ─────────▶ QUEUED ──────────▶ running ───────────▶ parked ──────────▶ QUEUED
//!                       │  cancel, abort     │ ended
//!                       ▼ before its start   ▼
//!                    dropped unrun         (none)
//! ```

use std::any::Any;
use std::borrow::Cow;
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use slab::Slab;

use crate::error::Error;
use crate::incident::Incident;
use crate::ledger::Ledger;
use crate::shelves::Shelves;
use crate::site::Site;
use crate::snapshot::{Label, PendingKey};
use crate::timers::{Nanos, TimerId};
use crate::waiter::{Foreign, Kind, Note, WaiterSlot};
use crate::waits::{Edge, Lender};

/// A coroutine's body, and once that has ended, its end: what the loop drives, and what is left for whoever joins.
pub(crate) trait Body {
    /// Runs the body to its next yield. After `Ready` it is never resumed again; what it held is dropped by then.
    fn resume(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended>;

    /// Judges the end of a body that ended by itself, where more is to be said than its value.
    fn judge(self: Pin<&mut Self>, _: Standing, _: Report<'_>) {}

    /// Drops the body, which has not ended.
    fn vacate(self: Pin<&mut Self>);

    /// Ends the coroutine from outside. The body was dropped. Nothing is borrowed while this runs.
    fn end(self: Pin<&mut Self>, error: Error);

    /// Whether it has ended by itself.
    fn has_ended(&self) -> bool {
        false
    }

    /// Gives the end to who joins, in an `Option` of the right type, and keeps the box if it can be filled again.
    fn give(self: Pin<Box<Self>>, _: &mut dyn Any, _: &RefCell<Shelves>) {}

    /// Drops the end, which nobody takes, and reports it if it is an error. Keeps the box if it can be filled again.
    fn discard(self: Pin<Box<Self>>, _: &RefCell<Shelves>, _: Report<'_>) {}
}

/// How a body ended by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With a value, of which there may be nothing more to say.
    Well,
    /// With an error, to be judged.
    Badly,
}

/// How a coroutine stands when its body has ended by itself.
pub(crate) struct Standing {
    /// How reports name it.
    pub(crate) label: Label,
    /// Why it was cancelled, if it was.
    pub(crate) cancelled: Option<CancelCause>,
    /// The keys it left.
    pub(crate) keys: Vec<PendingKey>,
}

/// Tells the error hook.
pub(crate) type Report<'a> = &'a dyn Fn(&Incident);

/// What has happened to a coroutine, in bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flags(u8);

impl Flags {
    /// Waits in the ready queue: it is there once at most.
    pub(crate) const QUEUED: Flags = Flags(1);
    /// Is that of `block_on`, and was not resumed. All others that were not are among the newcomers.
    pub(crate) const UNSTARTED: Flags = Flags(2);
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

/// Who may take the end of a coroutine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tie {
    /// Nobody.
    Loose,
    /// Its join handle.
    Joined,
    /// Its join handle; should that be dropped before, the coroutine is cancelled.
    Bound,
}

/// A reading of the clock in whole microseconds, in six bytes: enough for nine years, and a record keeps its two parts beside the flags in one
/// word. They are copied each by itself.
#[derive(Clone, Copy)]
pub(crate) struct Micros {
    /// The lower four bytes.
    low: u32,
    /// The upper two.
    high: u16,
}

impl Micros {
    /// This reading.
    #[expect(clippy::cast_possible_truncation, reason = "cut into its parts")]
    pub(crate) fn new(at: Nanos) -> Self {
        let micros = at / 1000;
        Micros {
            low: micros as u32,
            high: (micros >> 32) as u16,
        }
    }

    /// In nanoseconds.
    fn nanos(self) -> Nanos {
        (Nanos::from(self.high) << 32 | Nanos::from(self.low)) * 1000
    }
}

/// One coroutine in the table.
pub(crate) struct Record {
    /// Where it was spawned.
    pub(crate) site: Site,
    /// What has happened to it.
    pub(crate) flags: Flags,
    /// What it parked on last: the kind of point.
    pub(crate) parked_on: &'static Kind,
    /// The loop's clock at the look before it parked: the lower part.
    since_low: u32,
    /// The upper part.
    since_high: u16,
    /// Who may take its end.
    pub(crate) tie: Tie,
    /// Who waits for its end.
    pub(crate) joiner: WaiterSlot,
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
    pub(crate) fn new(site: Site, tie: Tie) -> Self {
        Record {
            site,
            flags: Flags::QUEUED,
            parked_on: Note::FOREIGN.kind,
            parked_at: None,
            since_low: 0,
            since_high: 0,
            tie,
            joiner: WaiterSlot::EMPTY,
            rare: None,
        }
    }

    /// Notes what it has parked on, at this reading of the clock.
    #[inline]
    pub(crate) fn park(&mut self, note: Note, at: Micros) {
        self.flags.clear(Flags::QUEUED);
        self.parked_on = note.kind;
        self.parked_at = note.site;
        self.since_low = at.low;
        self.since_high = at.high;
    }

    /// The loop's clock at the look before it parked.
    pub(crate) fn since(&self) -> Nanos {
        let (low, high) = (self.since_low, self.since_high);
        Micros { low, high }.nanos()
    }

    /// Whether somebody may take its end.
    #[inline]
    pub(crate) fn is_joined(&self) -> bool {
        self.tie != Tie::Loose
    }

    /// Whether there is nothing to say of its end but what that is.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.rare.is_none()
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
