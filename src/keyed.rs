//! [`Keyed`]: the ordered engine with a queue for each key, how one is built, and the way back to it from its own handler.
//!
//! It is apart from the hub because a hub knows no types of state and no doors: all that is told here are names and counts.
//!
//! Invariants:
//! 1. The hub counts exactly the doors that can still send: every `Keyed`, and the remotes of each origin as one.
//! 2. A [`KeyedDoor`] is no such door and keeps nothing alive.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::time::Duration;

use crate::call::{Call, EngineDoor, sealed};
use crate::error::{Error, Result};
use crate::failure::{AfterKeyFailure, DropReason, Failure, Overflow, Refused};
use crate::handle::Handle;
use crate::hub::{HeadLimit, Hub, KeyReport, KeyedStats, Limits, OrderKey, Rules};
use crate::hub_worker::{KeyJudge, Make, Service};
use crate::keyed_finish::{KeyedDraining, KeyedFinishing};
use crate::keyed_remote::KeyedRemote;
use crate::keyed_send::{KeyedAsking, KeyedReserving, KeyedSending, gone};
use crate::site::Site;

/// How many messages a key queues unless told otherwise.
const PER_KEY: usize = 1024;

/// How many messages an engine queues unless told otherwise.
const TOTAL: usize = 65_536;

/// What an engine without a name is called in reports.
const NAMELESS: &str = "a keyed engine";

/// An ordered engine with a queue for each key: the messages of one key are handled strictly one at a time, in the order in which they
/// arrive, and those of different keys at once. The handler keeps `&mut` state of the key across its waits.
///
/// A key's next message starts after the one before has ended, however it ended: with a value, an error, a panic, keys left pending, a
/// cancel or an abort. Queue and state survive all of them. An idle key costs no coroutine and no queue, and nothing at all if its state
/// is dropped or `()`. One key has one queue, whatever its messages do: give the engine an enum where several kinds of message must keep
/// one order.
///
/// This is a door; clones lead to the same engine. When the last door is dropped, what is queued is still handled, and the states are
/// dropped after it. What is queued for a parked key goes to [`on_drop`](KeyedBuilder::on_drop), or is reported: nobody can resume it.
///
/// ```
/// # use yieldpoint::{Call, EventLoop, Keyed, Result, ms};
/// # use std::{cell::RefCell, rc::Rc};
/// # EventLoop::new()?.block_on(async |co| -> Result {
/// let log = Rc::new(RefCell::new(vec![]));
/// let noted = Rc::clone(&log);
/// let engine = Keyed::with_state(|_: &char| 0).serve(
///     co.handle(),
///     async move |call: Call<char>, count: &mut u32, delay: u64| -> Result<u32> {
///         call.sleep(ms(delay)).await?;
///         *count += 1;
///         noted.borrow_mut().push(format!("{}{count}", call.key()));
///         Ok(*count)
///     },
/// );
/// engine.try_send('a', 20)?; // the slow one first
/// engine.send('a', 1).await?; // behind it: same key
/// assert_eq!(engine.ask('b', 5).await?, 1); // beside it: another key
/// engine.finish().await?;
/// assert_eq!(*log.borrow(), ["b1", "a1", "a2"]);
/// # Ok(())
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
///
/// An error, panic or leak of a handler goes to whoever asked; if nobody did, to the error hook.
///
/// Several kinds of message in one order, as a connection with several handlers needs them:
///
/// ```
/// # use yieldpoint::{Call, EventLoop, Keyed, Result};
/// enum Event {
///     Joined(&'static str),
///     Said(&'static str),
///     Left,
/// }
/// # EventLoop::new()?.block_on(async |co| -> Result {
/// let connections = Keyed::with_state(|_: &u32| String::new()).serve(
///     co.handle(),
///     async |call: Call<u32>, name: &mut String, event: Event| -> Result<String> {
///         call.yield_now().await?;
///         Ok(match event {
///             Event::Joined(who) => {
///                 *name = who.to_owned();
///                 format!("{name} is here")
///             }
///             Event::Said(what) => format!("{name}: {what}"),
///             Event::Left => format!("{name} is gone"),
///         })
///     },
/// );
/// let asks = [Event::Joined("ada"), Event::Said("hello"), Event::Left].map(|event| connections.ask(7, event));
/// let [joined, said, left] = co.all(asks).await; // in the order of asking; co.as_completed gives them as they come
/// assert_eq!((joined?.as_str(), said?.as_str(), left?.as_str()), ("ada is here", "ada: hello", "ada is gone"));
/// # Ok(())
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
///
/// Source: tornadio2's `sync_engine`, one queue per object and method.
#[doc(alias = "sync_engine")]
#[doc(alias = "actor")]
#[doc(alias = "partition")]
pub struct Keyed<
    K: OrderKey,
    S,
    M: 'static,
    R: 'static = (),
    E: From<Error> + fmt::Display + 'static = Error,
> {
    /// Where it leads.
    hub: Rc<Hub<K, M, R, E>>,
    /// The type of the states.
    state: PhantomData<fn() -> S>,
}

impl<K: OrderKey, S: 'static> Keyed<K, S, ()> {
    /// Begins an engine in which every key has state of its own, made when its first message is handled and kept until the key is
    /// [forgotten](Keyed::forget_key), or until it goes idle if [so asked](KeyedBuilder::drop_idle_state).
    pub fn with_state<M: 'static>(make: impl Fn(&K) -> S + 'static) -> KeyedBuilder<K, S, M> {
        KeyedBuilder {
            make: Box::new(make),
            rules: Rules {
                limits: Limits {
                    per_key: PER_KEY,
                    total: TOTAL,
                    bytes: usize::MAX,
                    concurrency: usize::MAX,
                },
                overflow: Overflow::Wait,
                size: None,
                weight: None,
                free: None,
                head: None,
                on_drop: None,
                name: Cow::Borrowed(NAMELESS),
            },
            judge: None,
            after: AfterKeyFailure::Continue,
            keep: true,
        }
    }
}

/// A keyed engine that has no handler yet: see [`Keyed::with_state`].
#[must_use = "an engine begins with serve"]
pub struct KeyedBuilder<K, S, M> {
    /// What makes a key's state.
    make: Make<K, S>,
    /// What was asked for.
    rules: Rules<K, M>,
    /// What looks at failures.
    judge: Option<KeyJudge<K, S>>,
    /// What happens after a failure that nothing looks at.
    after: AfterKeyFailure,
    /// Whether states outlive the messages.
    keep: bool,
}

impl<K: OrderKey, S: 'static, M: 'static> KeyedBuilder<K, S, M> {
    /// Sets how many messages of one key may wait, the one being handled not counted: 1024 unless set, and at least 1.
    pub fn per_key(mut self, messages: usize) -> Self {
        self.rules.limits.per_key = messages.clamp(1, u32::MAX as usize / 2);
        self
    }

    /// Sets how many messages of all keys may wait, those being handled not counted: 65 536 unless set, and at least 1.
    pub fn total(mut self, messages: usize) -> Self {
        self.rules.limits.total = messages.max(1);
        self
    }

    /// Sets how large all waiting messages may be together, in the unit of `size`: no limit unless set. A message larger than this is
    /// refused at once.
    pub fn bytes(mut self, limit: usize, size: impl Fn(&M) -> usize + 'static) -> Self {
        self.rules.limits.bytes = limit;
        self.rules.size = Some(Box::new(size));
        self
    }

    /// Sets how many keys may be handled at a time: as many as have messages unless set, and at least 1.
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.rules.limits.concurrency = calls.max(1);
        self
    }

    /// Sets what happens to a message for which its key has no room: it waits unless set. Under the total limit and that in bytes, the
    /// policies that drop messages refuse instead.
    ///
    /// ```
    /// # use yieldpoint::{Call, EventLoop, Keyed, Result, ordered::{DropReason, Overflow}};
    /// # use std::{cell::RefCell, rc::Rc};
    /// # let event_loop = EventLoop::new()?;
    /// let lost = Rc::new(RefCell::new(vec![]));
    /// let hook = Rc::clone(&lost);
    /// let prices = Keyed::with_state(|_: &&str| ())
    ///     .per_key(1)
    ///     .overflow(Overflow::KeepLast)
    ///     .on_drop(move |key, price: u32, why| hook.borrow_mut().push((*key, price, why)))
    ///     .serve(&event_loop.handle(), async |_: Call<&str>, _: &mut (), _: u32| -> Result { Ok(()) });
    /// prices.try_send("tea", 5)?;
    /// prices.try_send("tea", 6)?; // nobody needs the old one any more
    /// assert_eq!(*lost.borrow(), [("tea", 5, DropReason::Overflow)]);
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.rules.overflow = overflow;
        self
    }

    /// Sets what gets every message that is dropped unhandled, with its key and the reason. Without it, the message is dropped and
    /// counted.
    pub fn on_drop(mut self, hook: impl Fn(&K, M, DropReason) + 'static) -> Self {
        self.rules.on_drop = Some(Box::new(hook));
        self
    }

    /// Sets how many messages in a row a key may have handled while others wait for their turn: 1 unless set, from 1 to 65 535. It is
    /// asked when a key comes.
    pub fn weight(mut self, weight: impl Fn(&K) -> u32 + 'static) -> Self {
        self.rules.weight = Some(Box::new(weight));
        self
    }

    /// Sets which keys are none: their messages run free, each beside all others and with a state of its own. `Option::is_none` is such a
    /// test, where the key is an `Option`.
    ///
    /// ```
    /// # use yieldpoint::{Call, EventLoop, Keyed, Result, ms};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let engine = Keyed::with_state(|_: &Option<u32>| ()).free(Option::is_none).serve(
    ///     co.handle(),
    ///     async |call: Call<Option<u32>>, _: &mut (), n: u64| -> Result { call.sleep(ms(n)).await },
    /// );
    /// engine.try_send(None, 60_000)?;
    /// engine.ask(None, 1).await?; // beside the slow one, not behind it
    /// assert_eq!(engine.stats().running, 1);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn free(mut self, is_free: impl Fn(&K) -> bool + 'static) -> Self {
        self.rules.free = Some(Box::new(is_free));
        self
    }

    /// Drops a key's state when the key goes idle; the next message gets a new one.
    pub fn drop_idle_state(mut self) -> Self {
        self.keep = false;
        self
    }

    /// Reports a call that runs longer than this to the error hook, with what it is parked on and how many messages wait behind it; then,
    /// if so asked, cancels it, and then aborts it. The key's next message goes on. No limit unless set.
    ///
    /// ```
    /// # use yieldpoint::{Call, EventLoop, Keyed, Result, ms, ordered::HeadLimit};
    /// # use std::{cell::RefCell, rc::Rc};
    /// # let heard = Rc::new(RefCell::new(vec![]));
    /// # let hook = Rc::clone(&heard);
    /// # EventLoop::builder().on_error(move |incident| hook.borrow_mut().push(incident.to_string())).build()?.block_on(async |co| -> Result {
    /// let engine = Keyed::with_state(|_: &u32| ())
    ///     .head_limit(HeadLimit::from(ms(5)).then_cancel(ms(5)).then_abort(ms(100)))
    ///     .named("payments")
    ///     .serve(co.handle(), async |call: Call<u32>, _: &mut (), n: u64| -> Result<u64> {
    ///         call.sleep(ms(n)).await?;
    ///         Ok(n)
    ///     });
    /// engine.try_send(7, 60_000)?;
    /// assert_eq!(engine.ask(7, 0).await?, 0); // behind the slow one, but not for a minute
    /// # let heard = heard.borrow();
    /// assert!(heard[0].contains("a handler of payments[7]") && heard[0].contains("1 message behind it"));
    /// assert!(heard[1].contains("it took longer than its engine's limit"));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn head_limit(mut self, limit: impl Into<HeadLimit>) -> Self {
        self.rules.head = Some(limit.into());
        self
    }

    /// Names the engine in reports.
    pub fn named(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.rules.name = name.into();
        self
    }

    /// Sets what becomes of a key after a failure of its handler: `Continue` unless set.
    pub fn after_failure(mut self, after: AfterKeyFailure) -> Self {
        self.after = after;
        self
    }

    /// Sets what looks at every failure of the handler, before its error goes on: it may repair or replace the key's state, and says what
    /// becomes of the key. A state that could not be made is not looked at.
    ///
    /// ```
    /// # use yieldpoint::{Call, Error, EventLoop, Keyed, Result, ordered::AfterKeyFailure};
    /// # EventLoop::builder().on_error(|_| {}).build()?.block_on(async |co| -> Result {
    /// let accounts = Keyed::with_state(|_: &u32| 0)
    ///     .on_failure(|_key, balance: &mut i64, _failure| {
    ///         *balance = 0; // repaired
    ///         AfterKeyFailure::ParkKey
    ///     })
    ///     .serve(co.handle(), async |_: Call<u32>, balance: &mut i64, n: i64| -> Result<i64> {
    ///         *balance += n;
    ///         if *balance < 0 { Err(Error::other("overdrawn")) } else { Ok(*balance) }
    ///     });
    /// assert!(accounts.ask(7, -5).await.is_err());
    /// accounts.try_send(7, 1)?; // queued: the key is parked
    /// assert_eq!(accounts.ask(8, 1).await?, 1);
    /// assert!(accounts.resume_key(&7));
    /// assert_eq!(accounts.ask(7, 1).await?, 2);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn on_failure(
        mut self,
        judge: impl FnMut(&K, &mut S, &Failure<'_>) -> AfterKeyFailure + 'static,
    ) -> Self {
        self.judge = Some(Box::new(judge));
        self
    }

    /// Starts the engine: `handler` is called once a message, with the state of its key. An async closure or a plain `async fn` will do.
    ///
    /// Handlers run in coroutines of the engine: as many as keys are handled at a time, each for one key after the other.
    #[track_caller]
    pub fn serve<R, E, H>(self, handle: &Handle, handler: H) -> Keyed<K, S, M, R, E>
    where
        R: 'static,
        E: From<Error> + fmt::Display + 'static,
        H: AsyncFn(Call<K>, &mut S, M) -> Result<R, E> + 'static,
    {
        let KeyedBuilder {
            make,
            rules,
            judge,
            after,
            keep,
        } = self;
        let site: Site = Location::caller();
        let crew = Service::new(handle.shared(), make, handler, (judge, after), keep);
        let crew = Rc::new(crew);
        Keyed::open(Hub::new(handle.shared(), rules, crew, site))
    }
}

impl<K: OrderKey, S, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static>
    Keyed<K, S, M, R, E>
{
    /// One more door to this hub.
    fn open(hub: Rc<Hub<K, M, R, E>>) -> Self {
        hub.add_door();
        Keyed {
            hub,
            state: PhantomData,
        }
    }

    /// Queues a message for a key, and waits for room if need be. Those who wait get room in the order in which they were first polled
    /// where it is the key's; for room of all, keys take turns.
    ///
    /// # Errors
    /// The message is dropped with each of them: `Closed`, also for a key that was stopped; `Refused` if the engine does not let wait or
    /// the message is too large; `LoopGone`; `Cancelled`; `Deadlock` if the key's own handler would have to wait. Where that must not
    /// be, [`reserve`](Keyed::reserve) first.
    #[track_caller]
    pub fn send(&self, key: K, message: M) -> KeyedSending<K, M, R, E> {
        KeyedSending::new(Some(Rc::clone(&self.hub)), key, message)
    }

    /// Queues a message for a key if there is room now. It never passes one who waits.
    ///
    /// # Errors
    /// Gives the message back: `Refused` if the key's queue or the engine is full, `Closed`, `LoopGone`.
    ///
    /// ```
    /// # use yieldpoint::{Call, EventLoop, Keyed, Result};
    /// # let event_loop = EventLoop::new()?;
    /// let engine = Keyed::with_state(|_: &u32| ())
    ///     .per_key(1)
    ///     .serve(&event_loop.handle(), async |_: Call<u32>, _: &mut (), _: &str| -> Result { Ok(()) });
    /// engine.try_send(7, "first")?;
    /// assert_eq!(engine.try_send(7, "second").expect_err("it is full").into_message(), "second");
    /// engine.try_send(8, "other")?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[inline]
    pub fn try_send(&self, key: K, message: M) -> Result<(), Refused<M>> {
        self.hub.try_push(key, message)
    }

    /// Queues a message for a key, waits for room if need be, and then for the handler's result.
    ///
    /// # Errors
    /// The handler's own, and what ended its call from outside: `Panicked`, `Leaked`, `CoroutineCancelled`, `Aborted`. `Dropped` if
    /// the message was dropped or the engine ended first; `Deadlock` at once if the key's own handler asks; else as
    /// [`send`](Keyed::send).
    #[track_caller]
    pub fn ask(&self, key: K, message: M) -> KeyedAsking<K, M, R, E> {
        KeyedAsking::new(Some(Rc::clone(&self.hub)), key, message)
    }

    /// Waits for room in a key's queue and keeps a place: the message need not exist yet, and a wait that is given up loses none.
    ///
    /// # Errors
    /// As [`send`](Keyed::send).
    #[track_caller]
    pub fn reserve(&self, key: K) -> KeyedReserving<K, M, R, E> {
        KeyedReserving::new(Some(Rc::clone(&self.hub)), key)
    }

    /// A door for other threads.
    #[must_use]
    pub fn remote(&self) -> KeyedRemote<K, M>
    where
        K: Send,
        M: Send,
    {
        KeyedRemote::new(&self.hub)
    }

    /// A door that keeps nothing alive, as [`Call::engine`] gives it.
    #[must_use]
    pub fn downgrade(&self) -> KeyedDoor<K, M, R, E> {
        KeyedDoor {
            hub: Rc::downgrade(&self.hub),
        }
    }

    /// Refuses new messages from now on, through every door. What is queued, waits for room already, or has a place kept is still
    /// handled; threads blocked in a remote get their message back.
    pub fn close(&self) {
        self.hub.close();
    }

    /// Lets the messages of a key be handled again that was parked or stopped after a failure. Its state is as the failure left it.
    /// Tells whether the key was held.
    pub fn resume_key(&self, key: &K) -> bool {
        self.hub.resume(key, false)
    }

    /// The same, but the key's state is dropped first, and made anew for its next message.
    pub fn restart_key(&self, key: &K) -> bool {
        self.hub.resume(key, true)
    }

    /// Drops what is queued for a key, its state, and the memory that it was parked or stopped. A call that runs goes on and keeps the
    /// state until it ends. Tells whether anything was known of the key.
    pub fn forget_key(&self, key: &K) -> bool {
        self.hub.forget(key)
    }

    /// Cancels the call that a key runs, as [`JoinHandle::cancel`](crate::JoinHandle::cancel) does; the key's next message goes on.
    /// Tells whether there was one.
    #[track_caller]
    pub fn cancel_key(&self, key: &K, reason: impl Into<Cow<'static, str>>) -> bool {
        self.hub.cancel(key, reason.into(), Location::caller())
    }

    /// What a key does now: the call that runs, what that waits for and since when, and what is queued behind it. None for a key that is
    /// idle and has no state.
    ///
    /// ```
    /// # use yieldpoint::{Call, EventLoop, Keyed, ManualClock, Result, ms};
    /// # EventLoop::builder().clock(&ManualClock::auto()).build()?.block_on(async |co| -> Result {
    /// let engine = Keyed::with_state(|_: &u32| ()).named("users").serve(
    ///     co.handle(),
    ///     async |call: Call<u32>, _: &mut (), n: u64| -> Result { call.sleep(ms(n)).await },
    /// );
    /// engine.try_send(7, 5)?;
    /// engine.try_send(7, 0)?;
    /// co.sleep(ms(1)).await?;
    /// let report = engine.explain(&7).expect("it is busy");
    /// assert!(report.to_string().contains("users[7]: a call runs for"));
    /// assert_eq!(report.head.expect("it runs").parked_on.expect("it sleeps").0, "sleep");
    /// assert_eq!(report.queued, 1);
    /// assert!(engine.explain(&8).is_none());
    /// # engine.finish().await
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[must_use]
    pub fn explain(&self, key: &K) -> Option<KeyReport> {
        self.hub.explain(key)
    }

    /// The engine in numbers.
    #[must_use]
    pub fn stats(&self) -> KeyedStats {
        self.hub.stats()
    }

    /// Closes this door and waits until the engine has handled everything and nothing more can arrive: all other doors and remotes are
    /// dropped, or the engine is closed. What is queued for a parked key is waited for, too.
    ///
    /// # Errors
    /// `Deadlock` from inside the handler; `LoopGone`; `Cancelled`.
    #[track_caller]
    pub fn finish(self) -> KeyedFinishing<K, M, R, E> {
        KeyedFinishing::new(Rc::clone(&self.hub))
    }

    /// Closes the engine, waits up to `limit` for it to handle what is queued, and then cuts it off: running calls are cancelled, and
    /// what no call was made for is given back. A call that goes on after its cancel, to clean up, is waited for: an engine whose calls may
    /// never end bounds them with [`HeadLimit::then_abort`].
    ///
    /// # Errors
    /// As [`finish`](Keyed::finish).
    #[track_caller]
    pub fn drain(self, limit: Duration) -> KeyedDraining<K, M, R, E> {
        KeyedDraining::new(Rc::clone(&self.hub), limit)
    }
}

impl<K: OrderKey, S, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Clone
    for Keyed<K, S, M, R, E>
{
    fn clone(&self) -> Self {
        Keyed::open(Rc::clone(&self.hub))
    }
}

impl<K: OrderKey, S, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Drop
    for Keyed<K, S, M, R, E>
{
    fn drop(&mut self) {
        self.hub.drop_door();
    }
}

/// A door to a keyed engine that keeps nothing alive and holds nothing open: for its own handler, for its states, for a registry.
///
/// Once the engine is gone, every verb answers `Closed`.
pub struct KeyedDoor<
    K: OrderKey,
    M: 'static,
    R: 'static = (),
    E: From<Error> + fmt::Display + 'static = Error,
> {
    /// Where it leads, as long as that is there.
    hub: Weak<Hub<K, M, R, E>>,
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static>
    KeyedDoor<K, M, R, E>
{
    /// See [`Keyed::send`].
    #[track_caller]
    pub fn send(&self, key: K, message: M) -> KeyedSending<K, M, R, E> {
        KeyedSending::new(self.hub.upgrade(), key, message)
    }

    /// See [`Keyed::try_send`].
    ///
    /// # Errors
    /// Gives the message back.
    pub fn try_send(&self, key: K, message: M) -> Result<(), Refused<M>> {
        match self.hub.upgrade() {
            Some(hub) => hub.try_push(key, message),
            None => Err(Refused::new(message, gone())),
        }
    }

    /// See [`Keyed::ask`].
    #[track_caller]
    pub fn ask(&self, key: K, message: M) -> KeyedAsking<K, M, R, E> {
        KeyedAsking::new(self.hub.upgrade(), key, message)
    }

    /// See [`Keyed::reserve`].
    #[track_caller]
    pub fn reserve(&self, key: K) -> KeyedReserving<K, M, R, E> {
        KeyedReserving::new(self.hub.upgrade(), key)
    }

    /// See [`Keyed::close`].
    pub fn close(&self) {
        if let Some(hub) = self.hub.upgrade() {
            hub.close();
        }
    }

    /// See [`Keyed::resume_key`].
    pub fn resume_key(&self, key: &K) -> bool {
        self.hub.upgrade().is_some_and(|hub| hub.resume(key, false))
    }

    /// See [`Keyed::restart_key`].
    pub fn restart_key(&self, key: &K) -> bool {
        self.hub.upgrade().is_some_and(|hub| hub.resume(key, true))
    }

    /// See [`Keyed::forget_key`]. A handler that forgets its own key keeps its state until it ends.
    pub fn forget_key(&self, key: &K) -> bool {
        self.hub.upgrade().is_some_and(|hub| hub.forget(key))
    }

    /// See [`Keyed::cancel_key`].
    #[track_caller]
    pub fn cancel_key(&self, key: &K, reason: impl Into<Cow<'static, str>>) -> bool {
        let (hub, site) = (self.hub.upgrade(), Location::caller());
        hub.is_some_and(|hub| hub.cancel(key, reason.into(), site))
    }

    /// See [`Keyed::explain`].
    #[must_use]
    pub fn explain(&self, key: &K) -> Option<KeyReport> {
        self.hub.upgrade()?.explain(key)
    }

    /// See [`Keyed::stats`]. None once the engine is gone.
    #[must_use]
    pub fn stats(&self) -> Option<KeyedStats> {
        Some(self.hub.upgrade()?.stats())
    }

    /// Whether the engine is there and takes new messages.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.hub.upgrade().is_some_and(|hub| hub.is_open())
    }
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Clone
    for KeyedDoor<K, M, R, E>
{
    fn clone(&self) -> Self {
        KeyedDoor {
            hub: Weak::clone(&self.hub),
        }
    }
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> sealed::Sealed
    for KeyedDoor<K, M, R, E>
{
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> EngineDoor
    for KeyedDoor<K, M, R, E>
{
    fn behind(back: &dyn Any) -> Option<Self> {
        let hub = back.downcast_ref::<Weak<Hub<K, M, R, E>>>()?;
        let hub = Weak::clone(hub);
        Some(KeyedDoor { hub })
    }
}

impl<K, S, M> fmt::Debug for KeyedBuilder<K, S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedBuilder")
            .field("limits", &self.rules.limits)
            .field("overflow", &self.rules.overflow)
            .field("name", &self.rules.name)
            .finish_non_exhaustive()
    }
}

impl<K: OrderKey, S, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> fmt::Debug
    for Keyed<K, S, M, R, E>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").finish_non_exhaustive()
    }
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> fmt::Debug
    for KeyedDoor<K, M, R, E>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedDoor")
            .field("is_open", &self.is_open())
            .finish_non_exhaustive()
    }
}
