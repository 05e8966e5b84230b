//! [`Ordered`]: the ordered engine with one owner, how one is built, and the way back to it from its own handler.
//!
//! It is apart from the lane because a lane knows no types of state and no doors: all that is told here are names and counts.
//!
//! Invariants:
//! 1. The lane counts exactly the doors that can still send: every `Ordered`, and the remotes of each origin as one.
//! 2. An [`OrderedDoor`] is no such door and keeps nothing alive.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::time::Duration;

pub use crate::call::EngineDoor;
use crate::call::{Call, sealed};
use crate::error::{Error, Result};
pub use crate::failure::{
    AfterFailure, AfterKeyFailure, DropReason, Failure, FailureKind, Overflow, Refused,
};
use crate::handle::Handle;
pub use crate::hub::{HeadLimit, HeadReport, KeyReport, KeyedStats, OrderKey};
use crate::key_name::KeyName;
pub use crate::keyed::{KeyedBuilder, KeyedDoor};
pub use crate::keyed_finish::{KeyedDrained, KeyedDraining, KeyedFinishing};
pub use crate::keyed_remote::KeyedRemote;
pub use crate::keyed_send::{KeyedAsking, KeyedPermit, KeyedReserving, KeyedSending};
use crate::lane::{Lane, NAMELESS};
use crate::lane_worker::{Judge, Pair};
pub use crate::ordered_finish::{Drained, Draining, Finishing};
pub use crate::ordered_remote::OrderedRemote;
use crate::ordered_send::gone;
pub use crate::ordered_send::{Asking, Permit, Reserving, Sending};
use crate::site::Site;

/// How many messages an engine queues unless told otherwise.
const BOUND: usize = 1024;

/// An ordered engine with one owner: its messages are handled strictly one at a time, in the order in which they arrive, and the
/// handler keeps `&mut` state across its waits.
///
/// The next message starts after the one before has ended, however it ended: with a value, an error, a panic, keys left pending, a
/// cancel or an abort. The queue and the state survive all of them. One engine has one queue, whatever its messages do: give it an
/// enum where several kinds of message must keep one order.
///
/// This is a door; clones lead to the same engine. When the last door is dropped, what is queued is still handled, and the state is
/// dropped after it.
///
/// ```
/// # use yieldpoint::{Call, EventLoop, Ordered, Result, ms};
/// # EventLoop::new()?.block_on(async |co| -> Result {
/// let engine = Ordered::with_state(String::new()).serve(
///     co.handle(),
///     async |call: Call, log: &mut String, (name, delay): (char, u64)| -> Result<usize> {
///         call.sleep(ms(delay)).await?;
///         log.push(name);
///         Ok(log.len())
///     },
/// );
/// engine.try_send(('a', 2))?; // the slow one first
/// engine.send(('b', 1)).await?;
/// assert_eq!(engine.ask(('c', 0)).await?, 3);
/// assert_eq!(engine.finish().await?, "abc");
/// # Ok(())
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
///
/// An error, panic or leak of a handler goes to whoever asked; if nobody did, to the error hook.
///
/// Source: tornadio2's `sync_engine`.
#[doc(alias = "sync_engine")]
#[doc(alias = "actor")]
pub struct Ordered<S, M: 'static, R: 'static = (), E: From<Error> + fmt::Display + 'static = Error>
{
    /// Where it leads.
    lane: Rc<Lane<M, R, E>>,
    /// The type of the state.
    state: PhantomData<fn() -> S>,
}

impl<S: 'static> Ordered<S, ()> {
    /// Begins an engine that owns `state`.
    pub fn with_state(state: S) -> OrderedBuilder<S> {
        OrderedBuilder {
            state,
            bound: BOUND,
            name: Cow::Borrowed(NAMELESS),
            judge: None,
        }
    }
}

/// An engine that has no handler yet: see [`Ordered::with_state`].
#[must_use = "an engine begins with serve"]
pub struct OrderedBuilder<S> {
    /// The state.
    state: S,
    /// The most messages queued.
    bound: usize,
    /// The name in reports.
    name: Cow<'static, str>,
    /// What looks at failures.
    judge: Option<Judge<S>>,
}

impl<S: 'static> OrderedBuilder<S> {
    /// Sets how many messages may wait, the one being handled not counted: 1024 unless set, and at least 1.
    pub fn bound(mut self, messages: usize) -> Self {
        self.bound = messages;
        self
    }

    /// Names the engine in reports.
    pub fn named(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets what looks at every failure of the handler, before its error goes on: it may repair or replace the state, and says
    /// whether the engine goes on. Without it, the engine goes on with the state as the handler left it.
    ///
    /// ```
    /// # use yieldpoint::{Call, EventLoop, Ordered, Result, ordered::AfterFailure};
    /// # EventLoop::builder().on_error(|_| {}).build()?.block_on(async |co| -> Result {
    /// let engine = Ordered::with_state(0)
    ///     .on_failure(|_, _| AfterFailure::Stop)
    ///     .serve(co.handle(), async |_: Call, _: &mut u32, n: u32| -> Result { assert_ne!(n, 1); Ok(()) });
    /// for n in 0..3 {
    ///     engine.try_send(n)?;
    /// }
    /// let drained = engine.drain(std::time::Duration::MAX).await?;
    /// assert_eq!(drained.unhandled, [2]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn on_failure(
        mut self,
        judge: impl FnMut(&mut S, &Failure<'_>) -> AfterFailure + 'static,
    ) -> Self {
        self.judge = Some(Box::new(judge));
        self
    }

    /// Starts the engine: `handler` is called once a message, with the state. An async closure or a plain `async fn` will do.
    ///
    /// The handler runs in a coroutine that is spawned when a message meets an idle engine and ends when the queue is empty.
    #[track_caller]
    pub fn serve<M, R, E, H>(self, handle: &Handle, handler: H) -> Ordered<S, M, R, E>
    where
        M: 'static,
        R: 'static,
        E: From<Error> + fmt::Display + 'static,
        H: AsyncFnMut(Call, &mut S, M) -> Result<R, E> + 'static,
    {
        let OrderedBuilder {
            state,
            bound,
            name,
            judge,
        } = self;
        let pair = Box::new(Pair {
            key: KeyName::new(()),
            state,
            handler,
            judge,
        });
        let site: Site = Location::caller();
        let lane = Lane::new(handle.shared(), bound, name, site, pair);
        Ordered::open(lane)
    }
}

impl<S, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Ordered<S, M, R, E> {
    /// One more door to this lane.
    fn open(lane: Rc<Lane<M, R, E>>) -> Self {
        lane.add_door();
        Ordered {
            lane,
            state: PhantomData,
        }
    }

    /// Queues a message, and waits for room if need be. Those who wait get room in the order in which they were first polled.
    ///
    /// # Errors
    /// The message is dropped with each of them: `Closed`; `LoopGone`; `Cancelled`; `Deadlock` if the engine's own handler would have
    /// to wait. Where that must not be, [`reserve`](Ordered::reserve) first.
    ///
    /// ```
    /// # use yieldpoint::{Call, EventLoop, Ordered, Result, ms};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let engine = Ordered::with_state(0).bound(1).serve(co.handle(), async |call: Call, sum: &mut u32, n: u32| -> Result {
    ///     call.yield_now().await?;
    ///     *sum += n;
    ///     Ok(())
    /// });
    /// for n in 1..=10 {
    ///     engine.send(n).await?; // as fast as they are handled
    /// }
    /// assert_eq!(engine.finish().await?, 55);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    pub fn send(&self, message: M) -> Sending<M, R, E> {
        Sending::new(Some(Rc::clone(&self.lane)), message)
    }

    /// Queues a message if there is room now. It never passes one who waits.
    ///
    /// # Errors
    /// Gives the message back: `Refused` if the queue is full, `Closed`, `LoopGone`.
    ///
    /// ```
    /// # use yieldpoint::{Call, EventLoop, Ordered, Result};
    /// # let event_loop = EventLoop::new()?;
    /// let engine = Ordered::with_state(())
    ///     .bound(1)
    ///     .serve(&event_loop.handle(), async |_: Call, _: &mut (), _: &str| -> Result { Ok(()) });
    /// engine.try_send("first")?;
    /// assert_eq!(engine.len(), 1);
    /// assert_eq!(engine.try_send("second").expect_err("it is full").into_message(), "second");
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[inline]
    pub fn try_send(&self, message: M) -> Result<(), Refused<M>> {
        self.lane.try_push(message)
    }

    /// Queues a message, waits for room if need be, and then for the handler's result.
    ///
    /// # Errors
    /// The handler's own, and what ended its call from outside: `Panicked`, `Leaked`, `CoroutineCancelled`, `Aborted`. `Dropped` if
    /// the engine ended first; `Deadlock` at once if the engine's own handler asks; else as [`send`](Ordered::send).
    ///
    /// ```
    /// # use yieldpoint::{Call, Error, EventLoop, Ordered, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let engine = Ordered::with_state(10).serve(co.handle(), async |_: Call, left: &mut u32, n: u32| -> Result<u32> {
    ///     *left = left.checked_sub(n).ok_or_else(|| Error::other("not enough"))?;
    ///     Ok(*left)
    /// });
    /// assert_eq!(engine.ask(7).await?, 3);
    /// assert_eq!(engine.ask(7).await.expect_err("3 are left").to_string(), "not enough");
    /// assert_eq!(engine.ask(3).await?, 0);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    pub fn ask(&self, message: M) -> Asking<M, R, E> {
        Asking::new(Some(Rc::clone(&self.lane)), message)
    }

    /// Waits for room and keeps a place: the message need not exist yet, and a wait that is given up loses none.
    ///
    /// # Errors
    /// As [`send`](Ordered::send).
    ///
    /// ```
    /// # use yieldpoint::{Call, EventLoop, Ordered, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let engine = Ordered::with_state(vec![]).serve(co.handle(), async |_: Call, log: &mut Vec<u32>, n: u32| -> Result {
    ///     log.push(n);
    ///     Ok(())
    /// });
    /// let place = engine.reserve().await?;
    /// engine.try_send(1)?;
    /// place.send(2)?; // it arrives now
    /// assert_eq!(engine.finish().await?, [1, 2]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    pub fn reserve(&self) -> Reserving<M, R, E> {
        Reserving::new(Some(Rc::clone(&self.lane)))
    }

    /// A door for other threads.
    #[must_use]
    pub fn remote(&self) -> OrderedRemote<M>
    where
        M: Send,
    {
        OrderedRemote::new(&self.lane)
    }

    /// A door that keeps nothing alive, as [`Call::engine`] gives it.
    ///
    /// ```
    /// # use yieldpoint::{Call, EventLoop, Ordered, Result};
    /// # let event_loop = EventLoop::new()?;
    /// let engine = Ordered::with_state(()).serve(&event_loop.handle(), async |_: Call, _: &mut (), _: u32| -> Result { Ok(()) });
    /// let door = engine.downgrade();
    /// assert!(door.is_open());
    /// drop(engine);
    /// assert!(!door.is_open());
    /// assert_eq!(door.try_send(1).expect_err("it is gone").into_message(), 1);
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[must_use]
    pub fn downgrade(&self) -> OrderedDoor<M, R, E> {
        OrderedDoor {
            lane: Rc::downgrade(&self.lane),
        }
    }

    /// How many messages are queued, the one being handled not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lane.len()
    }

    /// Whether no message is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Refuses new messages from now on, through every door. What is queued, waits for room already, or has a place kept is still
    /// handled; threads blocked in a remote get their message back.
    ///
    /// ```
    /// # use yieldpoint::{Call, EventLoop, Ordered, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let engine = Ordered::with_state(0).serve(co.handle(), async |_: Call, sum: &mut u32, n: u32| -> Result { *sum += n; Ok(()) });
    /// engine.try_send(1)?;
    /// engine.close();
    /// assert_eq!(engine.try_send(2).expect_err("it is closed").into_message(), 2);
    /// assert_eq!(engine.finish().await?, 1);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn close(&self) {
        self.lane.close();
    }

    /// Closes this door and waits until the engine has handled everything and nothing more can arrive: all other doors and remotes
    /// are dropped, or the engine is closed. Gives the state back.
    ///
    /// # Errors
    /// `Closed` if another `finish` got the state; `Deadlock` from inside the handler; `LoopGone`; `Cancelled`.
    #[track_caller]
    pub fn finish(self) -> Finishing<S, M, R, E>
    where
        S: 'static,
    {
        Finishing::new(Rc::clone(&self.lane))
    }

    /// Closes the engine, waits up to `limit` for it to handle what is queued, and then cuts it off: the running call is cancelled,
    /// and what no call was made for is given back. After [`AfterFailure::Stop`] it gives back what that left over.
    ///
    /// # Errors
    /// As [`finish`](Ordered::finish).
    ///
    /// ```
    /// # use yieldpoint::{Call, EventLoop, ManualClock, Ordered, Result, ms};
    /// # EventLoop::builder().clock(&ManualClock::auto()).on_error(|_| {}).build()?.block_on(async |co| -> Result {
    /// let engine = Ordered::with_state(vec![]).serve(co.handle(), async |call: Call, log: &mut Vec<u32>, n: u32| -> Result {
    ///     call.sleep(ms(10)).await?;
    ///     log.push(n);
    ///     Ok(())
    /// });
    /// for n in 1..=4 {
    ///     engine.try_send(n)?;
    /// }
    /// let drained = engine.drain(ms(15)).await?;
    /// assert_eq!(drained.state, [1]); // 2 was running
    /// assert_eq!(drained.unhandled, [3, 4]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    pub fn drain(self, limit: Duration) -> Draining<S, M, R, E>
    where
        S: 'static,
    {
        Draining::new(Rc::clone(&self.lane), limit)
    }
}

impl<S, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Clone
    for Ordered<S, M, R, E>
{
    fn clone(&self) -> Self {
        Ordered::open(Rc::clone(&self.lane))
    }
}

impl<S, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Drop
    for Ordered<S, M, R, E>
{
    fn drop(&mut self) {
        self.lane.drop_door();
    }
}

/// A door to an engine that keeps nothing alive and holds nothing open: for its own handler, for its state, for a registry.
///
/// Once the engine is gone, every verb answers `Closed`.
pub struct OrderedDoor<M: 'static, R: 'static = (), E: From<Error> + fmt::Display + 'static = Error>
{
    /// Where it leads, as long as that is there.
    lane: Weak<Lane<M, R, E>>,
}

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> OrderedDoor<M, R, E> {
    /// See [`Ordered::send`].
    #[track_caller]
    pub fn send(&self, message: M) -> Sending<M, R, E> {
        Sending::new(self.lane.upgrade(), message)
    }

    /// See [`Ordered::try_send`].
    ///
    /// # Errors
    /// Gives the message back.
    pub fn try_send(&self, message: M) -> Result<(), Refused<M>> {
        match self.lane.upgrade() {
            Some(lane) => lane.try_push(message),
            None => Err(Refused::new(message, gone())),
        }
    }

    /// See [`Ordered::ask`].
    #[track_caller]
    pub fn ask(&self, message: M) -> Asking<M, R, E> {
        Asking::new(self.lane.upgrade(), message)
    }

    /// See [`Ordered::reserve`].
    #[track_caller]
    pub fn reserve(&self) -> Reserving<M, R, E> {
        Reserving::new(self.lane.upgrade())
    }

    /// See [`Ordered::close`].
    pub fn close(&self) {
        if let Some(lane) = self.lane.upgrade() {
            lane.close();
        }
    }

    /// Whether the engine is there and takes new messages.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.lane.upgrade().is_some_and(|lane| lane.is_open())
    }
}

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Clone
    for OrderedDoor<M, R, E>
{
    fn clone(&self) -> Self {
        OrderedDoor {
            lane: Weak::clone(&self.lane),
        }
    }
}

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> sealed::Sealed
    for OrderedDoor<M, R, E>
{
}

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> EngineDoor
    for OrderedDoor<M, R, E>
{
    fn behind(back: &dyn Any) -> Option<Self> {
        let lane = back.downcast_ref::<Weak<Lane<M, R, E>>>()?;
        let lane = Weak::clone(lane);
        Some(OrderedDoor { lane })
    }
}

impl<S> fmt::Debug for OrderedBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderedBuilder")
            .field("bound", &self.bound)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<S, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> fmt::Debug
    for Ordered<S, M, R, E>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ordered")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> fmt::Debug
    for OrderedDoor<M, R, E>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderedDoor")
            .field("is_open", &self.is_open())
            .finish_non_exhaustive()
    }
}
