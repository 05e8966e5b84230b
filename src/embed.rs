//! The loop as a guest in somebody else's main loop: [`Guest`], and the host's own state lent to it: [`Lent`].
//!
//! It is apart because a loop of one's own needs none of this: here the host's callbacks may call back into the guest, and guests into
//! the host.
//!
//! Invariants:
//! 1. While a turn runs, the loop is out of its place: whoever asks for a turn then gets `Reentered`, and nothing is borrowed.
//! 2. What was taken out goes back in, also when the call in between panics.
//! 3. A lent value is in one place at a time: the host's, the lender's, or the hands of one `with`.
//!
//! ```text
//!              turn                                      during                  with
//!   at rest ─────────▶ out, turning         host's ───────────────▶ lent ───────────────▶ in use
//!      ▲ ◀────────────── │  │ close            ▲ ◀───────────────── │ ◀────────────────────┘
//!      │    returned     │  ▼                        returned            returned
//!   closed ◀──── close ──┘ closed at the end
//! ```

use std::cell::Cell;
use std::fmt;
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::Instant;

use crate::budget::{Budget, TurnReport};
use crate::error::{ErrorKind, Result};
use crate::event_loop::{EventLoop, next_deadline};
use crate::handle::Handle;

/// A loop that is turned from an application's own main loop, through as many clones as that needs.
///
/// Dropping the last clone drops the loop. A clone kept inside the loop, by a coroutine or a callback, keeps the loop alive for as long
/// as that lives; [`close`](Guest::close) ends it all the same.
///
/// ```
/// use std::{cell::Cell, rc::Rc};
/// use yieldpoint::{Budget, EventLoop, ErrorKind, Result, ms};
///
/// let guest = EventLoop::new()?.into_guest();
/// let refused = Rc::new(Cell::new(false));
/// let (inner, out) = (guest.clone(), Rc::clone(&refused));
/// guest.handle().call_soon(move || {
///     let again = inner.turn(Budget::default());
///     out.set(again.is_err_and(|error| matches!(error.kind(), ErrorKind::Reentered)));
/// });
/// let report = guest.turn(Budget::time(ms(2)))?; // in every frame, or when the descriptor is readable
/// assert_eq!((report.steps, report.work_left), (1, false));
/// assert!(refused.get());
/// # Ok::<(), yieldpoint::Error>(())
/// ```
#[derive(Clone)]
pub struct Guest {
    /// What the clones share.
    inner: Rc<Inner>,
}

/// What the clones of a guest share.
struct Inner {
    /// The loop; out during a turn, gone once closed.
    place: Cell<Option<EventLoop>>,
    /// The loop's door.
    handle: Handle,
    /// Whether the loop is to be dropped when it comes back.
    closing: Cell<bool>,
    /// Whether the descriptor was asked for during a turn.
    descriptor_wanted: Cell<bool>,
}

/// The loop while it is out of its place (invariant 2).
struct Turning<'a> {
    /// Where it belongs.
    inner: &'a Inner,
    /// The loop, until this is dropped.
    event_loop: Option<EventLoop>,
}

impl Drop for Turning<'_> {
    fn drop(&mut self) {
        if self.inner.closing.get() {
            drop(self.event_loop.take());
        } else {
            self.inner.place.set(self.event_loop.take());
        }
    }
}

impl EventLoop {
    /// Makes the loop a guest of an application's own main loop.
    #[must_use]
    pub fn into_guest(self) -> Guest {
        let inner = Inner {
            handle: self.handle(),
            place: Cell::new(Some(self)),
            closing: Cell::new(false),
            descriptor_wanted: Cell::new(false),
        };
        Guest {
            inner: Rc::new(inner),
        }
    }
}

impl Guest {
    /// Makes one turn: see [`EventLoop::turn`].
    ///
    /// # Errors
    /// `Reentered` from inside a turn of the same loop; `LoopGone` once it was closed; what the system says when the poll fails.
    pub fn turn(&self, budget: Budget) -> Result<TurnReport> {
        self.with_loop(|event_loop| event_loop.turn(budget))?
    }

    /// Takes the loop out for a call.
    fn with_loop<R>(&self, call: impl FnOnce(&mut EventLoop) -> R) -> Result<R> {
        let Some(event_loop) = self.inner.place.take() else {
            return Err(if self.inner.handle.is_alive() {
                ErrorKind::Reentered.into()
            } else {
                ErrorKind::LoopGone.into()
            });
        };
        let mut turning = Turning {
            inner: &self.inner,
            event_loop: Some(event_loop),
        };
        let event_loop = turning
            .event_loop
            .as_mut()
            .expect("it is there until this is dropped");
        let result = call(event_loop);
        if self.inner.descriptor_wanted.take() {
            let _ = event_loop.as_raw_fd();
        }
        Ok(result)
    }

    /// The loop's own-thread door, at any time.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.inner.handle.clone()
    }

    /// When the next timer is due, if there is one: see [`EventLoop::next_deadline`]. It answers during a turn too.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        next_deadline(self.inner.handle.shared())
    }

    /// Drops the loop with everything in it, now, or at the end of the turn from inside which this is called. Closing again does nothing.
    ///
    /// ```
    /// use yieldpoint::{Budget, EventLoop};
    ///
    /// let guest = EventLoop::new()?.into_guest();
    /// let inner = guest.clone();
    /// guest.handle().call_soon(move || inner.close());
    /// assert_eq!(guest.turn(Budget::default())?.steps, 1);
    /// assert!(guest.turn(Budget::default()).is_err_and(|error| error.is_loop_gone()));
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn close(&self) {
        self.inner.closing.set(true);
        drop(self.inner.place.take());
    }
}

impl AsRawFd for Guest {
    /// The loop's descriptor: see [`EventLoop`]'s. Asked for during a turn, it keeps its promise from the end of that turn on. Once
    /// the loop is closed the number is stale until the last clone and handle are gone.
    fn as_raw_fd(&self) -> RawFd {
        self.with_loop(|event_loop| event_loop.as_raw_fd())
            .unwrap_or_else(|_reentered| {
                self.inner.descriptor_wanted.set(true);
                self.inner.handle.shared().reactor.borrow().as_raw_fd()
            })
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest")
            .field("is_alive", &self.inner.handle.is_alive())
            .finish_non_exhaustive()
    }
}

/// A value of the host's that is lent to coroutines and callbacks for the time of a call, such as a turn.
///
/// The host goes on owning its state as a plain value: no `Rc<RefCell<_>>` round it. The value is moved into this and back, so what is
/// large belongs in a box. Clones lend the same value; give one to each coroutine that needs it.
///
/// ```
/// use yieldpoint::{Budget, EventLoop, Lent, Result};
///
/// #[derive(Default)]
/// struct World {
///     score: u32,
/// }
///
/// let mut world = World { score: 40 };
/// let guest = EventLoop::new()?.into_guest();
/// let lent = Lent::new();
/// let in_coroutine = lent.clone();
/// let _ = guest.handle().spawn(async move |co| -> Result {
///     in_coroutine.with(|world: &mut World| world.score += 1)?;
///     co.yield_now().await?; // the world is not held across a yield
///     in_coroutine.with(|world| world.score += 1)
/// });
/// lent.during(&mut world, || guest.turn(Budget::default()))?;
/// assert_eq!(world.score, 42);
/// # Ok::<(), yieldpoint::Error>(())
/// ```
pub struct Lent<W> {
    /// Where the value is while it is lent.
    place: Rc<Cell<Place<W>>>,
}

/// Where a lent value is.
enum Place<W> {
    /// With the host.
    Away,
    /// Here.
    Here(W),
    /// In the hands of a `with`.
    InUse,
}

/// A value that is to go back to its host, and the state before it came (invariant 2).
struct GoingBack<'a, W> {
    /// Where the value was lent to.
    place: &'a Cell<Place<W>>,
    /// What was here before.
    before: Place<W>,
    /// Gives it back.
    give_back: &'a mut dyn FnMut(W),
}

impl<W> Drop for GoingBack<'_, W> {
    fn drop(&mut self) {
        let before = mem::replace(&mut self.before, Place::Away);
        if let Place::Here(value) = self.place.replace(before) {
            (self.give_back)(value);
        }
    }
}

/// A value in the hands of a `with` (invariant 2).
struct InUse<'a, W> {
    /// Where it goes back to.
    place: &'a Cell<Place<W>>,
    /// The value, until this is dropped.
    value: Option<W>,
}

impl<W> Drop for InUse<'_, W> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.place.set(Place::Here(value));
        }
    }
}

impl<W> Lent<W> {
    /// Nothing is lent yet.
    #[must_use]
    pub fn new() -> Self {
        Lent {
            place: Rc::new(Cell::new(Place::Away)),
        }
    }

    /// Lends the value while `call` runs. It is back in its place afterwards, also when `call` panics; until then the host has the
    /// default there.
    ///
    /// Within another `during` of the same `Lent`, the inner value is lent until the inner call ends.
    pub fn during<R>(&self, value: &mut W, call: impl FnOnce() -> R) -> R
    where
        W: Default,
    {
        let lent = mem::take(value);
        self.lend(Place::Here(lent), &mut |back| *value = back, call)
    }

    /// Lends a value that has no default; the host has `None` in its place while `call` runs. With `None` nothing is lent.
    ///
    /// ```
    /// use yieldpoint::Lent;
    ///
    /// struct Window(u32); // nothing to put in its place
    /// let mut window = Some(Window(1));
    /// let lent = Lent::new();
    /// lent.during_option(&mut window, || lent.with(|window: &mut Window| window.0 += 1))?;
    /// assert_eq!(window.map(|window| window.0), Some(2));
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn during_option<R>(&self, value: &mut Option<W>, call: impl FnOnce() -> R) -> R {
        let lent = value.take().map_or(Place::Away, Place::Here);
        self.lend(lent, &mut |back| *value = Some(back), call)
    }

    /// Lends a value for a call.
    fn lend<R>(&self, lent: Place<W>, give_back: &mut dyn FnMut(W), call: impl FnOnce() -> R) -> R {
        let _back = GoingBack {
            before: self.place.replace(lent),
            place: &self.place,
            give_back,
        };
        call()
    }

    /// Uses the lent value. Nobody else can while `call` runs, which is not asynchronous: the value is never held across a yield.
    ///
    /// # Errors
    /// `NotLent` outside of every [`during`](Lent::during), or inside another `with`; `call` does not run.
    pub fn with<R>(&self, call: impl FnOnce(&mut W) -> R) -> Result<R> {
        match self.place.replace(Place::InUse) {
            Place::Here(value) => {
                let mut hands = InUse {
                    place: &self.place,
                    value: Some(value),
                };
                let value = hands
                    .value
                    .as_mut()
                    .expect("it is there until this is dropped");
                Ok(call(value))
            }
            elsewhere => {
                let in_use = matches!(elsewhere, Place::InUse);
                self.place.set(elsewhere);
                Err(ErrorKind::NotLent { in_use }.into())
            }
        }
    }

    /// Whether [`with`](Lent::with) would succeed now.
    #[must_use]
    pub fn is_lent(&self) -> bool {
        let place = self.place.replace(Place::InUse);
        let here = matches!(place, Place::Here(_));
        self.place.set(place);
        here
    }
}

impl<W> Clone for Lent<W> {
    fn clone(&self) -> Self {
        Lent {
            place: Rc::clone(&self.place),
        }
    }
}

impl<W> Default for Lent<W> {
    fn default() -> Self {
        Lent::new()
    }
}

impl<W> fmt::Debug for Lent<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent")
            .field("is_lent", &self.is_lent())
            .finish_non_exhaustive()
    }
}
