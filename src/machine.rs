//! Hand-written coroutines: the state machine a compiler would have made, written out.
//!
//! They are apart from the Runner because the Runner needs to know nothing of them: an adapter that waits for the machine's current
//! point and sends the output back in makes a future of a machine, and futures are what the Runner drives.
//!
//! Invariants:
//! 1. At most one point is started at a time. It is dropped before its output is sent in.
//! 2. The point lives in the adapter itself: a yield allocates nothing.
//! 3. Points that complete at once are gone through in a loop: the stack does not grow.
//!
//! ```text
//!             Sent::Start                 the point is ready: Sent::Value
//!   [machine] ───────────▶ Yielded(point) ──────────────────────────────▶ [machine] ──▶ Complete(value)
//!                               ▲                                            │
//!                               └────────────── Yielded(point) ◀─────────────┘
//! ```

use std::borrow::Borrow;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::coroutine::Co;
use crate::error::Error;
use crate::handle::Handle;
use crate::join::JoinHandle;
use crate::runner::{Entered, Infallibly, refused, start};
use crate::yield_point::YieldPoint;

/// A coroutine written by hand: a state machine that yields points and is sent their outputs.
///
/// Where an async closure hides its state, a machine is a value of the program's own: it can be cloned, compared, printed and saved
/// between two yields.
///
/// The contract: [`Sent::Start`] in any state means "yield your current point again". It is sent first, and again to a machine that was
/// saved midway and is driven anew; so a machine changes its state only when it is sent a value. After it has given `Complete`, it is
/// not resumed again.
///
/// Points that an enum is needed for are written as one's own [`YieldPoint`].
///
/// ```
/// use yieldpoint::{Co, Coroutine, CoroutineState, EventLoop, Result, Sent, Sleep, ms};
///
/// /// Sleeps a millisecond for each number down to zero.
/// #[derive(Clone)]
/// struct Countdown {
///     left: u32,
///     slept: u32,
/// }
///
/// impl Coroutine for Countdown {
///     type Yield = Sleep;
///     type Return = Result<u32>;
///
///     fn resume(&mut self, _: &Co, sent: Sent<Result>) -> CoroutineState<Sleep, Result<u32>> {
///         if let Sent::Value(woken) = sent {
///             if let Err(cancelled) = woken {
///                 return CoroutineState::Complete(Err(cancelled));
///             }
///             self.left -= 1;
///             self.slept += 1;
///         }
///         match self.left {
///             0 => CoroutineState::Complete(Ok(self.slept)),
///             _ => CoroutineState::Yielded(Sleep::new(ms(1))),
///         }
///     }
/// }
///
/// let slept = EventLoop::new()?.block_on(async |co| co.run(Countdown { left: 3, slept: 0 }).await)?;
/// assert_eq!(slept, 3);
/// # Ok::<(), yieldpoint::Error>(())
/// ```
#[doc(alias = "Generator")]
pub trait Coroutine {
    /// What it yields.
    type Yield: YieldPoint;
    /// What it ends with.
    type Return;

    /// Goes on to the next yield, or to the end.
    fn resume(
        &mut self,
        co: &Co,
        sent: Sent<<Self::Yield as YieldPoint>::Output>,
    ) -> CoroutineState<Self::Yield, Self::Return>;
}

impl<C: Coroutine + ?Sized> Coroutine for &mut C {
    type Yield = C::Yield;
    type Return = C::Return;

    fn resume(
        &mut self,
        co: &Co,
        sent: Sent<<C::Yield as YieldPoint>::Output>,
    ) -> CoroutineState<C::Yield, C::Return> {
        (**self).resume(co, sent)
    }
}

impl<C: Coroutine + ?Sized> Coroutine for Box<C> {
    type Yield = C::Yield;
    type Return = C::Return;

    fn resume(
        &mut self,
        co: &Co,
        sent: Sent<<C::Yield as YieldPoint>::Output>,
    ) -> CoroutineState<C::Yield, C::Return> {
        (**self).resume(co, sent)
    }
}

/// What is sent into a machine when it is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sent<O> {
    /// Nothing: yield the current point, in whatever state the machine is.
    Start,
    /// The output of the point it yielded last.
    Value(O),
}

/// What a machine gives when it was resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a point that was yielded must be started, a value that was returned taken"]
pub enum CoroutineState<Y, R> {
    /// It waits for this point.
    Yielded(Y),
    /// It has ended with this value.
    Complete(R),
}

pin_project! {
    /// A machine that is driven: see [`Co::run`]. Dropping it gives the current point up; a machine lent by `&mut` stays as it is.
    #[must_use = "a machine does nothing until it is awaited"]
    pub struct Running<C: Coroutine, B = Co> {
        // Gone once it has ended.
        machine: Option<C>,
        // The coroutine it runs in.
        co: B,
        // The point it waits for.
        #[pin]
        point: Option<<C::Yield as YieldPoint>::Started>,
    }
}

impl<C: Coroutine, B> Running<C, B> {
    /// A machine before its first resume.
    fn new(machine: C, co: B) -> Self {
        Running {
            machine: Some(machine),
            co,
            point: None,
        }
    }
}

impl<C: Coroutine, B: Borrow<Co>> Future for Running<C, B> {
    type Output = C::Return;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Return> {
        let mut this = self.project();
        let co = (*this.co).borrow();
        loop {
            let Some(machine) = this.machine else {
                return Poll::Pending;
            };
            let sent = match this.point.as_mut().as_pin_mut() {
                Some(point) => Sent::Value(ready!(point.poll(cx))),
                None => Sent::Start,
            };
            this.point.set(None);
            match machine.resume(co, sent) {
                CoroutineState::Yielded(point) => this.point.set(Some(point.start(co))),
                CoroutineState::Complete(value) => {
                    *this.machine = None;
                    return Poll::Ready(value);
                }
            }
        }
    }
}

impl<C: Coroutine, B> fmt::Debug for Running<C, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("waits", &self.point.is_some())
            .field("ended", &self.machine.is_none())
            .finish_non_exhaustive()
    }
}

impl Handle {
    /// Spawns a hand-written coroutine; joining gives what it returns.
    ///
    /// It starts in its turn, never inside this call. What the machine returns is taken as it is: an `Err` in it is nobody's but the
    /// joiner's. To have it watched, spawn `async |co| co.run(machine).await`. A machine that was saved midway goes on from where it
    /// was.
    ///
    /// ```
    /// # use yieldpoint::{Co, Coroutine, CoroutineState, EventLoop, Result, Sent, YieldNow};
    /// struct Twice(u32);
    ///
    /// impl Coroutine for Twice {
    ///     type Yield = YieldNow;
    ///     type Return = &'static str;
    ///     fn resume(&mut self, _: &Co, sent: Sent<Result>) -> CoroutineState<YieldNow, &'static str> {
    ///         self.0 += u32::from(matches!(sent, Sent::Value(_)));
    ///         match self.0 {
    ///             2 => CoroutineState::Complete("done"),
    ///             _ => CoroutineState::Yielded(YieldNow::new()),
    ///         }
    ///     }
    /// }
    /// let end = EventLoop::new()?.block_on(async |co| co.handle().spawn_coroutine(Twice(0)).await)?;
    /// assert_eq!(end, "done");
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn_coroutine<C>(&self, machine: C) -> JoinHandle<C::Return>
    where
        C: Coroutine<Return: 'static> + 'static,
    {
        let site = Location::caller();
        let id = match Entered::new(self.shared(), site) {
            Ok(entered) => {
                let co = Co::new(self.clone(), entered.id);
                let future = Running::new(machine, co);
                start(entered, Infallibly { future }, site)
            }
            Err(gone) => refused::<C::Return, Error>(self.shared(), site, gone),
        };
        JoinHandle::new(Rc::clone(self.shared()), id)
    }
}

impl Co {
    /// Runs a machine to its end within this coroutine, as a part of it: it uses this coroutine's keys.
    ///
    /// Give it `&mut machine` to have the machine back, wherever it has got to, when the wait is given up.
    ///
    /// ```
    /// # use yieldpoint::{Co, Coroutine, CoroutineState, EventLoop, Result, Sent};
    /// /// Adds up what it is sent.
    /// struct Sum(u32);
    ///
    /// impl Coroutine for Sum {
    ///     type Yield = std::future::Ready<u32>;
    ///     type Return = u32;
    ///     fn resume(&mut self, _: &Co, sent: Sent<u32>) -> CoroutineState<Self::Yield, u32> {
    ///         if let Sent::Value(n) = sent {
    ///             self.0 += n;
    ///         }
    ///         match self.0 {
    ///             100_000.. => CoroutineState::Complete(self.0),
    ///             _ => CoroutineState::Yielded(std::future::ready(1)),
    ///         }
    ///     }
    /// }
    /// let sum = EventLoop::new()?.block_on(async |co| -> Result<u32> { Ok(co.run(Sum(0)).await) })?;
    /// assert_eq!(sum, 100_000); // points that complete at once: a loop, not a recursion
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[doc(alias = "yield from")]
    pub fn run<C: Coroutine>(&self, machine: C) -> Running<C, &Co> {
        Running::new(machine, self)
    }
}
