//! One registered socket: trying, waiting, and giving way. Listeners, streams and halves are all made of it.
//!
//! It is apart because the order of trying, clearing the readiness and parking is the same for all of them and easy to get wrong.
//!
//! Invariants:
//! 1. A direction is parked on only after a try found nothing, or after an earlier try did and no event has come since. Events are
//!    taken in by the loop between polls only, so none can slip in between the try and the parking.
//! 2. No system call and no user code runs while the reactor is borrowed.
//! 3. `parked` belongs to whoever polls: it says that the waiter in the source is its own, from an earlier poll of the same wait.
//!    Anything else in the source is a leftover of a wait that was given up, and is forgotten.
//!
//! ```text
//!            ready?      tried                      event
//!   poll ──────────▶ try ──────▶ value     parked ──────────▶ poll
//!     │ not ready     │ would block           ▲
//!     └───────────────┴───────────────────────┘
//! ```

use std::cell::Cell;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use mio::event::Source;

use crate::arena::Id;
use crate::error::{ErrorKind, Result};
use crate::handle::Handle;
use crate::reactor::Direction;
use crate::shared::Shared;
use crate::waiter::{Note, WaiterSlot};

/// How many transfers one socket makes in one resume before it gives way.
const BURST: u32 = 64;

/// A socket that the loop watches. Dropping it takes it out and closes it.
pub(super) struct Socket<S: Source> {
    /// Whose sockets.
    shared: Rc<Shared>,
    /// Its place among them.
    id: Id,
    /// The socket.
    io: S,
    /// In which resume it last made transfers, and how many.
    burst: Cell<(u32, u32)>,
}

/// What a try brought.
pub(super) struct Tried<R> {
    /// The result.
    pub(super) value: R,
    /// Whether it came up short, so that the kernel has no more, or no more room.
    pub(super) short: bool,
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
        let id = shared.reactor.borrow_mut().register(&mut io)?;
        Ok(Socket {
            shared: Rc::clone(shared),
            id,
            io,
            burst: Cell::new((0, 0)),
        })
    }

    /// The socket itself.
    pub(super) fn io(&self) -> &S {
        &self.io
    }

    /// What the loop shares.
    pub(super) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// Tries if that is worth it, and parks whoever polls if there is nothing yet.
    ///
    /// # Errors
    /// The cancel of who waits; what the system says.
    #[inline]
    pub(super) fn poll_io<R>(
        &self,
        direction: Direction,
        parked: &mut bool,
        cx: &Context<'_>,
        note: Note,
        mut attempt: impl FnMut(&S) -> io::Result<Tried<R>>,
    ) -> Poll<Result<R>> {
        let mut emptied = false;
        if self.is_ready(direction) {
            if self.is_burst_spent() {
                return self.give_way(direction, parked, cx, note);
            }
            emptied = true;
            loop {
                match attempt(&self.io) {
                    Ok(tried) => {
                        if tried.short {
                            self.change(|source| source.drained(direction));
                        }
                        self.settle(direction, parked);
                        return Poll::Ready(Ok(tried.value));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        break;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        self.settle(direction, parked);
                        return Poll::Ready(Err(error.into()));
                    }
                }
            }
        }
        match self.park(direction, emptied, parked, cx, note) {
            Ok(_) => Poll::Pending,
            Err(cancel) => Poll::Ready(Err(cancel)),
        }
    }

    /// Forgets the wait that `parked` stands for, if there is one.
    #[inline]
    pub(super) fn settle(&self, direction: Direction, parked: &mut bool) {
        if *parked {
            *parked = false;
            self.unpark(direction);
        }
    }

    /// Whether a try is worth making.
    #[inline]
    fn is_ready(&self, direction: Direction) -> bool {
        let mut reactor = self.shared.reactor.borrow_mut();
        reactor
            .source_mut(self.id)
            .is_some_and(|source| source.is_ready(direction))
    }

    /// Changes what the reactor knows of this socket.
    #[inline]
    fn change<R>(&self, change: impl FnOnce(&mut crate::reactor::Source) -> R) -> R {
        let mut reactor = self.shared.reactor.borrow_mut();
        change(
            reactor
                .source_mut(self.id)
                .expect("a socket stays registered until it is dropped"),
        )
    }

    /// Parks whoever polls (keeps invariant 3). `emptied` says that a try has just found nothing.
    fn park(
        &self,
        direction: Direction,
        emptied: bool,
        parked: &mut bool,
        cx: &Context<'_>,
        note: Note,
    ) -> Result<WaiterSlot> {
        let mut slot = self.change(|source| {
            if emptied {
                source.would_block(direction);
            }
            source.waiter(direction)
        });
        if !*parked {
            self.shared.unpark(slot);
            slot = WaiterSlot::EMPTY;
        }
        let outcome = self.shared.park(slot, cx, note);
        *parked = outcome.is_ok();
        let kept = *outcome.as_ref().unwrap_or(&WaiterSlot::EMPTY);
        self.change(|source| source.set_waiter(direction, kept));
        outcome
    }

    /// Forgets who waits.
    #[cold]
    fn unpark(&self, direction: Direction) {
        let slot = self.change(|source| {
            let slot = source.waiter(direction);
            source.set_waiter(direction, WaiterSlot::EMPTY);
            slot
        });
        self.shared.unpark(slot);
    }

    /// Counts a read that is served from a buffer as a transfer: so many lines that came at once do not hold everybody else up either.
    ///
    /// # Errors
    /// The cancel of who waits.
    #[inline]
    pub(super) fn poll_turn(
        &self,
        direction: Direction,
        parked: &mut bool,
        cx: &Context<'_>,
        note: Note,
    ) -> Poll<Result<()>> {
        if self.is_burst_spent() {
            return self.give_way(direction, parked, cx, note);
        }
        Poll::Ready(Ok(()))
    }

    /// Counts a transfer. Whether it is one too many for this resume. Who is being cancelled is let go on: it may not wait any more.
    #[inline]
    fn is_burst_spent(&self) -> bool {
        let resume = self.shared.resume.get();
        let (last, made) = self.burst.get();
        let made = if last == resume {
            made.saturating_add(1)
        } else {
            1
        };
        let spent = made > BURST && !self.shared.cancelling();
        self.burst.set((resume, if spent { 0 } else { made }));
        spent
    }

    /// Parks whoever polls and marks it ready again at once: it goes to the back of the ready queue.
    #[cold]
    fn give_way<R>(
        &self,
        direction: Direction,
        parked: &mut bool,
        cx: &Context<'_>,
        note: Note,
    ) -> Poll<Result<R>> {
        match self.park(direction, false, parked, cx, note) {
            Ok(slot) => {
                self.change(|source| source.set_waiter(direction, slot.vacated()));
                self.shared.wake_waiter(slot);
                Poll::Pending
            }
            Err(cancel) => Poll::Ready(Err(cancel)),
        }
    }
}

impl<S: Source> Drop for Socket<S> {
    fn drop(&mut self) {
        let waiters = self
            .shared
            .reactor
            .borrow_mut()
            .deregister(self.id, &mut self.io);
        for slot in waiters.into_iter().flatten() {
            self.shared.unpark(slot);
        }
    }
}

impl<S: Source + fmt::Debug> fmt::Debug for Socket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.io.fmt(f)
    }
}
