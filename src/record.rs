//! What is known of one coroutine, apart from its body.
//!
//! Bodies live in the loop and run with `&mut`; records live in a table that handles and yield-points reach too, so that looking
//! inside works at any time and runs nobody's code. What is asked for at every wake-up is in the flags, the rest in the row; what most
//! coroutines never need is in one box, made when it is first needed.
//!
//! Invariants:
//! 1. A flag says what is in the row where a look at the row is to be spared: who waits (`AWAITED`), what is rarely needed (`RARE`).
//! 2. `QUEUED` stays set while a coroutine runs, and of the one that parked last until somebody asks; see `roster`.
//! 3. A row is overwritten without a drop only where it holds nothing that needs one.
//!
//! ```text
//!            spawn             resumed              parked              woken
//!   (none) ─────────▶ QUEUED ──────────▶ running ───────────▶ parked ──────────▶ QUEUED
//!                       │  cancel, abort     │ ended
//!                       ▼ before its start   ▼
//!                    dropped unrun          end ── taken, or nobody joins ──▶ (none)
//! ```

use std::any::Any;
use std::borrow::Cow;
use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use slab::Slab;

use crate::arena::Arena;
use crate::error::Error;
use crate::incident::Incident;
use crate::ledger::Ledger;
use crate::register::Tag;
use crate::shelves::Shelves;
use crate::site::Site;
use crate::snapshot::{Label, PendingKey};
use crate::timers::{Nanos, TimerId};
use crate::waiter::{Foreign, Kind, Note, WaiterSlot};
use crate::waits::Edge;

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

    /// Whether it is neither a body nor an end.
    fn is_empty(&self) -> bool {
        false
    }

    /// Gives the end to who joins, in an `Option` of the right type. No user code runs.
    fn give(self: Pin<&mut Self>, _: &mut dyn Any) {}

    /// Drops the end, which nobody takes, and reports it if it is an error.
    fn discard(self: Pin<&mut Self>, _: Report<'_>) {}

    /// Gives the box, of which the end was taken, to be filled again, in an `Option` of its type; one of another type is kept.
    fn lend(self: Pin<Box<Self>>, _: &mut dyn Any, _: &mut Shelves) {}

    /// Keeps the box, of which the end was taken, if it can be filled again.
    fn put_back(self: Pin<Box<Self>>, _: &mut Shelves) {}
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

/// What has happened to a coroutine and what is kept of it, in bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flags(u32);

impl Flags {
    /// Waits in the ready queue: it is there once at most.
    pub(crate) const QUEUED: Flags = Flags(1);
    /// Was not resumed. Its body is in the table, unless it is that of `block_on`.
    pub(crate) const UNSTARTED: Flags = Flags(2);
    /// Is being cancelled: every resume from now on delivers it.
    pub(crate) const CANCELLED: Flags = Flags(4);
    /// Is to be dropped instead of resumed.
    pub(crate) const ABORTED: Flags = Flags(8);
    /// Is parked inside `cleanup`.
    pub(crate) const IN_CLEANUP: Flags = Flags(16);
    /// Was told of its cancel: a point of it gave `Cancelled`.
    pub(crate) const TOLD: Flags = Flags(32);
    /// Has not ended.
    pub(crate) const LIVE: Flags = Flags(64);
    /// Has ended: what is in the table is its end.
    pub(crate) const ENDED: Flags = Flags(128);
    /// A join handle may take its end.
    pub(crate) const JOINED: Flags = Flags(256);
    /// Somebody waits for its end.
    pub(crate) const AWAITED: Flags = Flags(512);
    /// That wait is entered, as circles of waits are found by it.
    pub(crate) const WATCHED: Flags = Flags(1024);
    /// There is more to it than most coroutines need.
    pub(crate) const RARE: Flags = Flags(2048);

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

    /// The bits that `other` has too.
    #[inline]
    pub(crate) fn and(self, other: Flags) -> Flags {
        Flags(self.0 & other.0)
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

impl Tag for Flags {
    const VACANT: Flags = Flags(0);

    #[inline]
    fn is_vacant(self) -> bool {
        self == Flags::VACANT
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

/// A reading of the clock in whole microseconds, in six bytes: enough for nine years, and a row keeps its two parts apart in one word with
/// what tells the variants of [`Holds`] apart. They are copied each by itself.
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

/// What is kept of one coroutine beside its flags. It is looked at far less often than they.
pub(crate) struct Row {
    /// Where it was spawned.
    site: Site,
    /// What it parked on, or its body or end.
    pub(crate) holds: Holds,
    /// Who waits for its end, if it is flagged that somebody does.
    joiner: WaiterSlot,
    /// What is rarely needed, if it is flagged that there is something.
    rare: Option<Box<Rare>>,
}

/// What a row holds in turn, from spawn to end.
pub(crate) enum Holds {
    /// Nothing: the coroutine runs for the first time, or the row is vacant.
    Nothing,
    /// The body of a coroutine that has not started, or the end of one that has ended, in the same box; in a vacant row and in that of a
    /// coroutine whose body is being made that box, empty.
    Body(Pin<Box<dyn Body>>),
    /// What it parked on last.
    Note {
        /// The kind of point.
        kind: &'static Kind,
        /// Where that was made.
        site: Option<Site>,
        /// The loop's clock at the look before it parked: the lower part.
        since_low: u32,
        /// The upper part of that reading.
        since_high: u16,
    },
}

impl Row {
    /// The row of a coroutine that was spawned here.
    pub(crate) fn new(site: Site) -> Self {
        Row {
            site,
            holds: Holds::Nothing,
            joiner: WaiterSlot::EMPTY,
            rare: None,
        }
    }

    /// Where the coroutine was spawned.
    pub(crate) fn site(&self) -> Site {
        self.site
    }

    /// Makes a vacant row that of a coroutine which was spawned here.
    #[inline]
    pub(crate) fn enter(&mut self, site: Site) {
        self.site = site;
    }

    /// Keeps a body or an end. What it holds now is no such thing: forgetting that saves the look whether it is.
    #[inline]
    pub(crate) fn keep(&mut self, body: Pin<Box<dyn Body>>) {
        std::mem::forget(std::mem::replace(&mut self.holds, Holds::Body(body)));
    }

    /// Takes the body or end out.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Pin<Box<dyn Body>>> {
        match std::mem::replace(&mut self.holds, Holds::Nothing) {
            Holds::Body(body) => Some(body),
            other => {
                self.holds = other;
                None
            }
        }
    }

    /// Whether it holds nothing but an empty box.
    pub(crate) fn is_spare(&self) -> bool {
        matches!(&self.holds, Holds::Body(body) if body.is_empty())
    }

    /// The body or end, to change.
    #[inline]
    pub(crate) fn body_mut(&mut self) -> Option<Pin<&mut (dyn Body + 'static)>> {
        match &mut self.holds {
            Holds::Body(body) => Some(body.as_mut()),
            _ => None,
        }
    }

    /// Who is to be woken when this coroutine has ended.
    #[inline]
    pub(crate) fn joiner(&self, flags: Flags) -> WaiterSlot {
        if flags.has(Flags::AWAITED) {
            self.joiner
        } else {
            WaiterSlot::EMPTY
        }
    }

    /// Takes out what is rarely needed.
    pub(crate) fn take_rare(&mut self) -> Option<Box<Rare>> {
        self.rare.take()
    }
}

/// A coroutine that has not ended, to look at.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    /// What has happened to it.
    pub(crate) flags: Flags,
    /// The rest.
    row: &'a Row,
}

/// A coroutine that has not ended, to change.
pub(crate) struct RecordMut<'a> {
    /// What has happened to it.
    pub(crate) flags: &'a mut Flags,
    /// The rest.
    row: &'a mut Row,
}

/// What most coroutines never need.
#[derive(Default)]
pub(crate) struct Rare {
    /// The name it was given.
    pub(crate) name: Option<Cow<'static, str>>,
    /// Where its join handle was told to cancel it when it is dropped.
    pub(crate) bound: Option<Site>,
    /// Its pending keys.
    pub(crate) ledger: Ledger,
    /// Why it is being cancelled or aborted.
    pub(crate) cancel: Option<CancelCause>,
    /// The timers that limit the clean-ups it waits in.
    pub(crate) cleanups: Vec<TimerId>,
    /// The wakers of foreign combinators inside which its points are parked, by token. One that a cancel has woken leaves its
    /// place empty until its point gives the token back, so that no token can reach another point's waker.
    pub(crate) wakers: Slab<Option<Foreign>>,
    /// What it waits for that is another coroutine's doing. One whose call is over is here no more, though somebody may keep the wait.
    pub(crate) waits: Arena<Edge>,
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

impl<'a> Record<'a> {
    /// Its parts together.
    #[inline]
    pub(crate) fn new(flags: Flags, row: &'a Row) -> Self {
        Record { flags, row }
    }

    /// Where it was spawned.
    pub(crate) fn site(self) -> Site {
        self.row.site
    }

    /// What it parked on last, and the loop's clock at the look before that. Of one that is queued this says nothing.
    pub(crate) fn parked(self) -> (Note, Nanos) {
        match self.row.holds {
            Holds::Note {
                kind,
                site,
                since_low: low,
                since_high: high,
            } => (Note { kind, site }, Micros { low, high }.nanos()),
            _ => (Note::FOREIGN, 0),
        }
    }

    /// Who waits for its end.
    #[inline]
    pub(crate) fn joiner(self) -> WaiterSlot {
        self.row.joiner(self.flags)
    }

    /// What is rarely needed, if it was ever needed.
    #[inline]
    pub(crate) fn rare(self) -> Option<&'a Rare> {
        self.row.rare.as_deref()
    }
}

impl<'a> RecordMut<'a> {
    /// Its parts together.
    #[inline]
    pub(crate) fn new(flags: &'a mut Flags, row: &'a mut Row) -> Self {
        RecordMut { flags, row }
    }

    /// Notes what it has parked on, at this reading of the clock.
    #[inline]
    pub(crate) fn park(self, note: Note, at: Micros) {
        self.flags.clear(Flags::QUEUED);
        let holds = Holds::Note {
            kind: note.kind,
            site: note.site,
            since_low: at.low,
            since_high: at.high,
        };
        // One that has started holds no body: forgetting what it holds saves the look whether it does.
        std::mem::forget(std::mem::replace(&mut self.row.holds, holds));
    }

    /// Notes that nobody will take its end. Gives who waited for that, and where the join handle was told to cancel it.
    pub(crate) fn let_go(self) -> (WaiterSlot, Option<Site>) {
        let joiner = self.row.joiner(*self.flags);
        self.flags.clear(Flags::JOINED.or(Flags::AWAITED));
        let rare = self.row.rare.as_deref_mut();
        (joiner, rare.and_then(|rare| rare.bound.take()))
    }

    /// Changes who waits for its end.
    #[inline]
    pub(crate) fn set_joiner(self, joiner: WaiterSlot) {
        self.flags.set(Flags::AWAITED);
        self.row.joiner = joiner;
    }

    /// What is rarely needed, made now and counted if need be.
    #[inline]
    pub(crate) fn rare_mut(self, made: &Cell<u64>) -> &'a mut Rare {
        self.flags.set(Flags::RARE);
        self.row.rare.get_or_insert_with(|| {
            made.set(made.get() + 1);
            Box::default()
        })
    }

    /// The same, without making it.
    pub(crate) fn rare_if_any(self) -> Option<&'a mut Rare> {
        self.row.rare.as_deref_mut()
    }
}
