//! One registered socket: trying, waiting, and giving way. Listeners, streams and halves are all made of it.
//!
//! It is apart because the order of trying, clearing the readiness and parking is the same for all of them and easy to get wrong.
//!
//! Invariants:
//! 1. A direction is parked on only after a try found nothing, or after an earlier try did and no event has come since. Events are
//!    taken in by the loop between polls only, so none can slip in between the try and the parking.
//! 2. No system call and no user code runs while the reactor is borrowed.
//! 3. A direction serves one wait at a time, which is over when a try ends it or its future is dropped. What a wait before left there,
//!    whose future was forgotten, passes to the next.
//! 4. Before a try that will most likely take all there is, the readiness is cleared, and set again where it took less: the usual
//!    transfer looks at its source once.
//!
//! ```text
//!            ready?      tried                      event
//!   poll ──────────▶ try ──────▶ value     parked ──────────▶ poll
//!     │ not ready     │ would block           ▲
//!     └───────────────┴───────────────────────┘
//! ```

#![expect(
    clippy::inline_always,
    reason = "half of a poll goes where the kind of transfer is known, and the rest is shorter than a call"
)]

use std::fmt;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use mio::event::Source;

use crate::error::{Error, ErrorKind, Result};
use crate::handle::Handle;
use crate::shared::Shared;
use crate::sources::{self, Before, Direction, Place};
use crate::waiter::{Note, WaiterSlot};

/// A socket that the loop watches. Dropping it takes it out and closes it.
pub(super) struct Socket<S: Source> {
    /// Whose sockets.
    shared: Rc<Shared>,
    /// Its place among them.
    place: Place,
    /// The socket.
    io: S,
}

/// What a try brought.
pub(super) struct Tried<R> {
    /// The result.
    pub(super) value: R,
    /// Whether it came up short, so that the kernel has no more, or no more room.
    pub(super) short: bool,
}

/// What is to be done in a poll.
enum Step {
    /// To try. This was said before.
    Try(Before),
    /// Nothing: whoever polls is parked.
    Parked,
    /// To park in the longer way.
    Park,
    /// To let others have their turn.
    GiveWay,
}

impl<S: Source> Socket<S> {
    /// Has the loop watch a socket, which must not block.
    ///
    /// # Errors
    /// `LoopGone`; what the system says.
    pub(super) fn new(handle: &Handle, io: S) -> Result<Self> {
        Self::watched_by(handle.shared(), io)
    }

    /// The same, on what the loop shares.
    pub(super) fn watched_by(shared: &Rc<Shared>, mut io: S) -> Result<Self> {
        if shared.is_closed() {
            return Err(ErrorKind::LoopGone.into());
        }
        let place = shared.reactor.borrow_mut().register(&mut io)?;
        let shared = Rc::clone(shared);
        Ok(Socket { shared, place, io })
    }

    /// The socket itself.
    pub(super) fn io(&self) -> &S {
        &self.io
    }

    /// What the loop shares.
    pub(super) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// Tries if that is worth it, and parks whoever polls if there is nothing yet. A try that `likely_drains` makes the least of the
    /// work if it comes up short, another one if it does not.
    ///
    /// # Errors
    /// The cancel of who waits; what the system says.
    #[inline(always)]
    pub(super) fn poll_io<R>(
        &self,
        direction: Direction,
        likely_drains: bool,
        cx: &Context<'_>,
        note: impl Fn() -> Note,
        mut attempt: impl FnMut(&S) -> io::Result<Tried<R>>,
    ) -> Poll<Result<R>> {
        match self.begin(direction, likely_drains, cx, &note) {
            Step::Try(before) => loop {
                match attempt(&self.io) {
                    Ok(tried) => {
                        if tried.short != likely_drains {
                            self.correct(direction, tried.short);
                        }
                        return Poll::Ready(Ok(tried.value));
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        return self.failed(direction, before, error, cx, note()).map(Err);
                    }
                }
            },
            Step::Parked => Poll::Pending,
            Step::Park => self.park(direction, cx, note()).map(Err),
            Step::GiveWay => self.give_way(direction, cx, note()).map(Err),
        }
    }

    /// Looks whether there is anything to try, and parks whoever polls if there is not and the short way will do.
    #[inline(always)]
    fn begin(
        &self,
        direction: Direction,
        likely_drains: bool,
        cx: &Context<'_>,
        note: &impl Fn() -> Note,
    ) -> Step {
        let shared = &*self.shared;
        let mut reactor = shared.reactor.borrow_mut();
        let mut source = reactor.sources.at(self.place);
        if !source.is_ready(direction) {
            if !source.waits(direction)
                && let Some(slot) = shared.park_direct(cx, note())
            {
                source.park(direction, slot);
                return Step::Parked;
            }
            return Step::Park;
        }
        if source.is_burst_spent(shared.resume_number(), shared.cancelling()) {
            return Step::GiveWay;
        }
        if source.waits(direction) {
            // Woken by something else than this socket.
            let slot = source.vacate(direction);
            let before = source.begin(direction, likely_drains);
            drop(reactor);
            self.forget(slot);
            return Step::Try(before);
        }
        Step::Try(source.begin(direction, likely_drains))
    }

    /// Notes what a try said of the kernel, where it was not what was expected.
    #[inline(never)]
    fn correct(&self, direction: Direction, short: bool) {
        self.change(|source| {
            if short {
                source.drained(direction);
            } else {
                source.not_drained(direction);
            }
        });
    }

    /// Parks whoever polls after a try that found nothing; gives out what else the system said.
    #[cold]
    fn failed(
        &self,
        direction: Direction,
        before: Before,
        error: io::Error,
        cx: &Context<'_>,
        note: Note,
    ) -> Poll<Error> {
        if error.kind() == io::ErrorKind::WouldBlock {
            self.change(|source| {
                source.would_block(direction);
                source.go_on(direction, before);
            });
            return self.park(direction, cx, note);
        }
        self.correct(direction, false);
        Poll::Ready(error.into())
    }

    /// Forgets who waited.
    #[cold]
    fn forget(&self, slot: WaiterSlot) {
        self.shared.unpark(slot);
    }

    /// Parks whoever polls, or gives the cancel.
    #[inline(never)]
    fn park(&self, direction: Direction, cx: &Context<'_>, note: Note) -> Poll<Error> {
        let slot = self.change(|source| source.waiter(direction));
        match self.shared.park(slot, cx, note) {
            Ok(slot) => {
                self.change(|source| source.park(direction, slot));
                Poll::Pending
            }
            Err(cancel) => {
                self.change(|source| source.give_up(direction));
                Poll::Ready(cancel)
            }
        }
    }

    /// Changes what the loop knows of this socket.
    #[inline]
    fn change<R>(&self, change: impl FnOnce(&mut sources::Source<'_>) -> R) -> R {
        let mut reactor = self.shared.reactor.borrow_mut();
        change(&mut reactor.sources.at(self.place))
    }

    /// Forgets who waits, if anybody does.
    #[inline(never)]
    pub(super) fn settle(&self, direction: Direction) {
        let slot = self.change(|source| source.give_up(direction));
        self.shared.unpark(slot);
    }

    /// Tries if that is worth it, and does not wait. What `likely_drains` is for see [`poll_io`](Socket::poll_io).
    ///
    /// # Errors
    /// `WouldBlock`; what the system says.
    #[inline(always)]
    pub(super) fn try_io<R>(
        &self,
        direction: Direction,
        likely_drains: bool,
        mut attempt: impl FnMut(&S) -> io::Result<Tried<R>>,
    ) -> io::Result<R> {
        let ready = self.change(|source| {
            let ready = source.is_ready(direction);
            if likely_drains {
                source.drained(direction);
            }
            ready
        });
        if !ready {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        loop {
            match attempt(&self.io) {
                Ok(tried) => {
                    if tried.short != likely_drains {
                        self.correct(direction, tried.short);
                    }
                    return Ok(tried.value);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.refused(direction, error)),
            }
        }
    }

    /// Notes what a try that failed said of the kernel. Gives out what the system said.
    #[cold]
    fn refused(&self, direction: Direction, error: io::Error) -> io::Error {
        if error.kind() == io::ErrorKind::WouldBlock {
            self.change(|source| source.would_block(direction));
        } else {
            self.correct(direction, false);
        }
        error
    }

    /// Counts a read that is served from a buffer as a transfer: so many lines that came at once do not hold everybody else up either.
    ///
    /// # Errors
    /// The cancel of who waits.
    #[inline]
    pub(super) fn poll_turn(
        &self,
        direction: Direction,
        cx: &Context<'_>,
        note: Note,
    ) -> Poll<Result<()>> {
        let shared = &*self.shared;
        let spent = self.change(|source| {
            let spent = source.is_burst_spent(shared.resume_number(), shared.cancelling());
            if !spent && !source.waits(direction) {
                // Who gave way here before has waited enough.
                source.give_up(direction);
            }
            spent
        });
        if spent {
            return self.give_way(direction, cx, note).map(Err);
        }
        Poll::Ready(Ok(()))
    }

    /// Parks whoever polls and marks it ready again at once: it goes to the back of the ready queue.
    #[cold]
    fn give_way(&self, direction: Direction, cx: &Context<'_>, note: Note) -> Poll<Error> {
        let parked = self.park(direction, cx, note);
        if parked.is_pending() {
            let slot = self.change(|source| source.vacate(direction));
            self.shared.wake_waiter(slot);
        }
        parked
    }
}

impl<S: Source> Drop for Socket<S> {
    fn drop(&mut self) {
        let waiters = self
            .shared
            .reactor
            .borrow_mut()
            .deregister(self.place, &mut self.io);
        for slot in waiters {
            self.shared.unpark(slot);
        }
    }
}

impl<S: Source + fmt::Debug> fmt::Debug for Socket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.io.fmt(f)
    }
}
