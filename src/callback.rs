//! Keys without waiting: [`Callback`] registers one, [`Timer`] registers one that time resolves, [`Forget`] gives them up.
//!
//! They are together because each is one change of the ledger and is over at once.

use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::panic::Location;
use std::time::Duration;

use crate::clock::nanos;
use crate::coroutine::Co;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::ledger::{Ledger, Pending};
use crate::oneshot::{OneShot, Resolver};
use crate::site::Site;
use crate::timers::TimerId;
use crate::yield_point::YieldPoint;

/// The yield-point that makes a key pending and gives its resolver. It never gives way.
///
/// ```
/// # use yieldpoint::{Callback, EventLoop, Result};
/// # EventLoop::new()?.block_on(async |co| -> Result {
/// let reply = co.yield_(Callback::<u32>::new("reply")).await?; // the same as co.callback("reply")?
/// reply.resolve(7);
/// assert_eq!(co.wait::<u32>("reply").await?, 7);
/// # Ok(())
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
///
/// Source: `tornado.gen.Callback`.
#[derive(Clone, Debug)]
#[must_use = "a yield-point does nothing until it is yielded"]
pub struct Callback<T> {
    /// The key.
    key: Key,
    /// Where it was made.
    site: Site,
    /// What its resolver takes.
    value: PhantomData<fn(T)>,
}

impl<T> Callback<T> {
    /// A point that will register `key`.
    #[track_caller]
    pub fn new(key: impl Into<Key>) -> Self {
        Callback {
            key: key.into(),
            site: Location::caller(),
            value: PhantomData,
        }
    }
}

impl<T: 'static> YieldPoint for Callback<T> {
    type Output = Result<Resolver<T>>;
    type Started = Ready<Result<Resolver<T>>>;

    fn start(self, co: &Co) -> Self::Started {
        ready(register(co, self.key, self.site))
    }
}

/// The yield-point that makes a key pending and resolves it after a time. It never gives way; wait for the key later.
///
/// ```
/// # use yieldpoint::{EventLoop, Result, Timer, ms};
/// # EventLoop::new()?.block_on(async |co| -> Result {
/// co.yield_(Timer::new("late", ms(1))).await?; // the same as co.timer("late", ms(1))?
/// assert!(co.any_ready(["late"]).await? == "late");
/// co.wait::<()>("late").await?;
/// # Ok(())
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
///
/// Source: `yieldpoints.Timeout`, first generation.
#[derive(Clone, Debug)]
#[must_use = "a yield-point does nothing until it is yielded"]
pub struct Timer {
    /// The key.
    key: Key,
    /// After how long it is resolved.
    after: Duration,
    /// Where it was made.
    site: Site,
}

impl Timer {
    /// A point that will register `key`, to be resolved `after` that.
    #[track_caller]
    pub fn new(key: impl Into<Key>, after: Duration) -> Self {
        Timer {
            key: key.into(),
            after,
            site: Location::caller(),
        }
    }
}

impl YieldPoint for Timer {
    type Output = Result;
    type Started = Ready<Result>;

    fn start(self, co: &Co) -> Self::Started {
        ready(register_timer(co, &self))
    }
}

/// The yield-point that gives up one key, or all. It never gives way.
///
/// What was given up is freed at once, with a value that has arrived. Its resolver may still be called, to no effect.
///
/// ```
/// # use yieldpoint::{EventLoop, Forget, Result};
/// # EventLoop::new()?.block_on(async |co| -> Result {
/// let _replies = [co.callback::<u32>(1)?, co.callback::<u32>(2)?];
/// co.yield_(Forget::key(1)).await?; // the same as co.forget(1)?
/// assert!(co.yield_(Forget::key(1)).await.is_err(), "it is gone");
/// co.yield_(Forget::all()).await?; // else the body would end with a leak
/// # Ok(())
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
///
/// Source: `yieldpoints.Cancel` and `CancelAll`.
#[derive(Clone, Debug)]
#[must_use = "a yield-point does nothing until it is yielded"]
#[doc(alias = "Cancel")]
#[doc(alias = "CancelAll")]
pub struct Forget {
    /// The key; none for all of them.
    key: Option<Key>,
    /// Where it was made.
    site: Site,
}

impl Forget {
    /// A point that will give up `key`.
    #[track_caller]
    pub fn key(key: impl Into<Key>) -> Self {
        Forget {
            key: Some(key.into()),
            site: Location::caller(),
        }
    }

    /// A point that will give up every pending key of its coroutine; with none, it does nothing.
    #[track_caller]
    pub fn all() -> Self {
        Forget {
            key: None,
            site: Location::caller(),
        }
    }
}

impl YieldPoint for Forget {
    type Output = Result;
    type Started = Ready<Result>;

    fn start(self, co: &Co) -> Self::Started {
        let Some(key) = self.key else {
            forget_all(co);
            return ready(Ok(()));
        };
        ready(forget(co, key, self.site))
    }
}

impl Co {
    /// Makes `key` pending and gives its resolver: whoever gets that owes one value, which [`wait`](Co::wait) takes.
    ///
    /// The key is pending until it is waited for or forgotten; being resolved does not free it. A body that ends with keys pending
    /// ends with `Leaked`.
    ///
    /// # Errors
    /// `KeyReuse` if the key is pending already; the first registration stands.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, ErrorKind, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let first = co.callback::<&str>(0)?;
    /// let second = co.callback::<&str>(1)?;
    /// second.resolve("foo");
    /// first.resolve("bar");
    /// assert_eq!(co.wait::<&str>(1).await?, "foo");
    /// let error = co.callback::<&str>(0).expect_err("key 0 is still pending");
    /// assert!(matches!(error.kind(), ErrorKind::KeyReuse { key, .. } if *key == 0));
    /// assert_eq!(co.wait::<&str>(0).await?, "bar");
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[doc(alias = "gen.Callback")]
    #[inline]
    #[track_caller]
    pub fn callback<T: 'static>(&self, key: impl Into<Key>) -> Result<Resolver<T>> {
        register(self, key.into(), Location::caller())
    }

    /// Makes `key` pending and resolves it with `()` after a time, counted from the loop's next look.
    ///
    /// # Errors
    /// `KeyReuse` if the key is pending already.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result, ms};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// co.timer("late", ms(1))?; // set now
    /// co.wait::<()>("late").await // waited for later
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    pub fn timer(&self, key: impl Into<Key>, after: Duration) -> Result {
        register_timer(self, &Timer::new(key, after))
    }

    /// Gives up a pending key on purpose: it is freed, and no leak is reported. Its resolver may still be called, to no effect.
    ///
    /// # Errors
    /// `UnknownKey` if the key is not pending.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let never = co.callback::<()>("k")?;
    /// co.forget("k")?;
    /// never.resolve(()); // harmless
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    pub fn forget(&self, key: impl Into<Key>) -> Result {
        forget(self, key.into(), Location::caller())
    }

    /// Gives up every pending key of this coroutine; with none, it does nothing. Gives their number.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let _never = [co.callback::<()>("a")?, co.callback::<()>("b")?];
    /// assert_eq!(co.forget_all(), 2);
    /// assert_eq!(co.forget_all(), 0);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn forget_all(&self) -> usize {
        forget_all(self)
    }

    /// Looks into this coroutine's ledger. Nothing of the user's may run or be dropped in `look`.
    #[inline]
    pub(crate) fn with_ledger<R>(&self, look: impl FnOnce(&mut Ledger) -> R) -> Option<R> {
        let shared = self.handle().shared();
        let mut records = shared.records.borrow_mut();
        let record = records.get_mut(self.table_id())?;
        Some(look(&mut record.rare_mut(&shared.rares).ledger))
    }
}

/// Makes a key pending.
#[inline]
fn register<T: 'static>(co: &Co, key: Key, site: Site) -> Result<Resolver<T>> {
    let (cell, resolver) = OneShot::new(co.handle().shared(), site);
    let Some(number) = key.integer() else {
        let registered = co.with_ledger(|ledger| ledger.register(&key, cell));
        return registered_as(co, key, site, registered).map(|()| resolver);
    };
    // It holds nothing: forgetting it saves the look whether it must be dropped.
    std::mem::forget(key);
    match co.with_ledger(move |ledger| ledger.register_integer(number, cell)) {
        Some(Ok(())) => Ok(resolver),
        refused => registered_as(co, Key::from(number), site, refused).map(|()| resolver),
    }
}

/// What has come of making a key pending.
#[inline(never)]
fn registered_as(
    co: &Co,
    key: Key,
    site: Site,
    registered: Option<std::result::Result<(), Site>>,
) -> Result {
    match registered {
        Some(Ok(())) => Ok(()),
        Some(Err(created_at)) => Err(refused(co, key, site, Some(created_at))),
        None => Err(refused(co, key, site, None)),
    }
}

/// Why a key was not made pending: it is already, since there; or there is nothing any more that could keep it.
#[cold]
fn refused(co: &Co, key: Key, again_at: Site, pending: Option<Site>) -> Error {
    match pending {
        Some(created_at) => ErrorKind::KeyReuse {
            key,
            created_at,
            again_at,
        },
        None if co.handle().shared().is_closed() => ErrorKind::LoopGone,
        None => ErrorKind::Closed {
            what: "coroutine",
            created_at: None,
        },
    }
    .into()
}

/// Makes a key pending and arms the timer that resolves it.
fn register_timer(co: &Co, timer: &Timer) -> Result {
    let resolver = register::<()>(co, timer.key.clone(), timer.site)?;
    let resolve = Box::new(move |_: &_| resolver.resolve(()));
    let id = co.handle().shared().arm_call(nanos(timer.after), resolve);
    co.with_ledger(|ledger| ledger.set_timer(&timer.key, id));
    Ok(())
}

/// Gives up a key.
fn forget(co: &Co, key: Key, asked_at: Site) -> Result {
    let removed = co.with_ledger(|ledger| ledger.remove(&key)).flatten();
    match removed {
        Some((cell, timer)) => {
            release(co, &*cell, timer);
            Ok(())
        }
        None => Err(ErrorKind::UnknownKey { key, asked_at }.into()),
    }
}

/// Gives up every key.
fn forget_all(co: &Co) -> usize {
    let entries = co.with_ledger(Ledger::take_all).unwrap_or_default();
    for entry in &entries {
        if let Some(cell) = entry.cell() {
            release(co, &**cell, entry.timer());
        }
    }
    entries.len()
}

/// Frees what a key held, with its timer.
fn release(co: &Co, cell: &dyn Pending, timer: Option<TimerId>) {
    if let Some(timer) = timer {
        co.handle().shared().disarm(timer);
    }
    cell.give_up();
}
