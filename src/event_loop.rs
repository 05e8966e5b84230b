//! The event loop: what it owns, and what is said of it from outside a turn.
//!
//! It is apart from the look and the turn, which are what it does.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use crate::bodies::{Bodies, Root};
use crate::builder::Builder;
use crate::busy_poll::BusyPoll;
use crate::error::Result;
use crate::handle::{Handle, snapshot};
use crate::posts::Posts;
use crate::shared::Shared;
use crate::snapshot::Snapshot;

/// How many steps are a burst.
const BURST: usize = 64;

/// The number of entries up to which an empty queue keeps its memory.
const KEPT: usize = 2048;

/// A single-threaded event loop: owns every coroutine spawned on it and runs them in its turns.
///
/// ```
/// use yieldpoint::{EventLoop, Result, ms};
///
/// let mut greeting = String::from("hello");
/// let n = EventLoop::new()?.block_on(async |co| -> Result<usize> {
///     co.sleep(ms(1)).await?;
///     greeting.push_str(", world"); // a body given to block_on may borrow
///     Ok(greeting.len())
/// })?;
/// assert_eq!((n, greeting.as_str()), (12, "hello, world"));
/// # Ok::<(), yieldpoint::Error>(())
/// ```
///
/// A loop stays on its thread:
///
/// ```compile_fail
/// fn must_be_send<T: Send>() {}
/// must_be_send::<yieldpoint::EventLoop>();
/// ```
#[doc(alias = "IOLoop")]
#[doc(alias = "Runtime")]
pub struct EventLoop {
    /// What handles reach too.
    pub(crate) shared: Rc<Shared>,
    /// The coroutines' bodies.
    pub(crate) bodies: Bodies,
    /// Filled by the poll.
    pub(crate) events: mio::Events,
    /// How many posts the last look took in.
    pub(crate) came: usize,
    /// How many jobs had been taken when the shelves were last looked at.
    pub(crate) rested: usize,
    /// Empty; what was posted changes places with it.
    pub(crate) posts: Box<Posts<Rc<Shared>>>,
    /// Whether the descriptor was handed out, so that another poller may watch it.
    pub(crate) handed_out: Cell<bool>,
    /// Whether to stay awake where nothing is ready.
    pub(crate) busy_poll: Option<BusyPoll>,
    /// Whom to tell when nothing moves.
    pub(crate) stall: Option<Stall>,
    /// The first incident since the last turn, if incidents are to end a turn with a panic.
    pub(crate) fatal: Option<Rc<Cell<Option<String>>>>,
}

/// The watch over a loop in which nothing moves.
pub(crate) struct Stall {
    /// How long is suspicious.
    pub(crate) after: Duration,
    /// Whether it has been told since something last moved.
    pub(crate) told: bool,
}

/// How a [`run`](EventLoop::run) ended.
#[derive(Clone, Debug)]
#[must_use = "a run may have ended stuck"]
pub enum Outcome {
    /// Nothing is left to run.
    Done,
    /// [`Handle::stop`] was called.
    Stopped,
    /// Coroutines are left, and it is certain that none can ever move again: nothing is ready, and no timer, socket, pool job, live
    /// [`Remote`](crate::Remote) or foreign waker could wake any. The report says who waits for what.
    Stuck(Snapshot),
}

impl EventLoop {
    /// Makes a loop with the system's clock and the loud error hook.
    ///
    /// # Errors
    /// What the system says when it has no descriptor left for the poll.
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// Starts to make a loop with settings of its own.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The loop's own-thread door. Clone it to keep it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Rc::clone(&self.shared))
    }

    /// When the next timer is due, if there is one. Timers set since the last turn get their deadline now.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        next_deadline(&self.shared)
    }

    /// Every coroutine that has not ended: see [`Handle::snapshot`].
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        snapshot(&self.shared)
    }

    /// What handles reach too.
    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// How many jobs are ready.
    pub(crate) fn ready(&self) -> usize {
        self.shared.ready.len()
    }

    /// Gives back the memory of a burst, before a wait that may be long. What stays is for the next turns, so that they allocate nothing.
    pub(crate) fn rest(&mut self) {
        self.bodies.rest();
        self.shared.rest(KEPT);
        // A few steps leave little on the shelves, and a loop that waits after each event would look at all of them each time.
        let taken = self.shared.ready.head();
        if taken.wrapping_sub(self.rested) >= BURST {
            self.shared.rest_shelves();
            // Of a burst that is not over there will be more to give back, however few steps end it.
            if self.ready() == 0 {
                self.rested = taken;
            }
        }
    }

    /// Whether nothing is ready and nothing was posted.
    pub(crate) fn is_idle(&self) -> bool {
        self.ready() == 0 && self.shared.inbox.is_empty()
    }

    /// Whether no remote is alive and nobody waits for a socket.
    pub(crate) fn is_alone(&self) -> bool {
        self.shared.inbox.remotes() == 0 && !self.shared.reactor.borrow().is_waited_for()
    }

    /// Whether coroutines are left and, timers apart, nothing could wake any of them, with certainty.
    pub(crate) fn is_stuck(&self, root: Option<&Root<'_>>) -> bool {
        !self.shared.records.borrow().is_empty()
            && self.is_alone()
            && self.bodies.waker_clones(root) == 0
            && {
                // Who posted and then let go of the last remote or waker has left the post before that.
                fence(Ordering::Acquire);
                self.shared.inbox.is_empty()
            }
    }
}

/// When the next timer is due; see [`EventLoop::next_deadline`].
pub(crate) fn next_deadline(shared: &Shared) -> Option<Instant> {
    let mut timers = shared.timers.borrow_mut();
    if timers.has_fresh() {
        timers.stamp(shared.clock.now());
    }
    timers.next_deadline().map(|at| shared.clock.instant(at))
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let coroutines = self.shared.records.borrow().len();
        f.debug_struct("EventLoop")
            .field("coroutines", &coroutines)
            .finish_non_exhaustive()
    }
}
