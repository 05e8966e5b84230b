//! Waiting for keys: [`Wait`], [`WaitAll`], [`WaitAny`] and [`AnyReady`].
//!
//! They are together because each looks its keys up in the ledger when it is first awaited, and frees a key by taking its value.
//!
//! Invariants:
//! 1. A key is freed when its value, or the loss of its resolver, is given out; an error about another key frees nothing.
//! 2. A key is waited for in one place at a time. A second wait for it gives `RepeatedKey`, and the first goes on.
//! 3. A wait that is dropped, or ends with a cancel or a time-out, leaves its keys pending.
//!
//! ```text
//!            first poll: keys looked up             value, loss
//!   Named ──────────────────────────────▶ Waiting ─────────────▶ Done (key freed)
//!     └── unknown, wrong type, repeated ──▶ Done     └─ dropped, cancelled ──▶ (key still pending)
//! ```

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::arena::Id;
use crate::coroutine::Co;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::ledger::{Ledger, Pending};
use crate::oneshot::{Missing, OneShot};
use crate::shared::Shared;
use crate::site::Site;
use crate::waiter::{Kind, Note};
use crate::yield_point::YieldPoint;

static WAIT: Kind = Kind("wait");
static WAIT_ALL: Kind = Kind("wait_all");
static WAIT_ANY: Kind = Kind("wait_any");
static ANY_READY: Kind = Kind("any_ready");

/// The yield-point that waits for a key and gives its value. A value that has arrived is given without giving way.
///
/// Source: `tornado.gen.Wait`.
#[derive(Clone, Debug)]
#[must_use = "a yield-point does nothing until it is yielded"]
pub struct Wait<T> {
    /// The key.
    key: Key,
    /// Where it was made.
    site: Site,
    /// What it gives.
    value: PhantomData<fn() -> T>,
}

/// The yield-point that waits for several keys of one type and gives their values in the order of the keys.
///
/// No keys give an empty `Vec` at once. A lost resolver is reported when all keys before it have arrived, without waiting for those
/// behind it; the other keys then stay pending, with what has arrived for them.
///
/// Source: `tornado.gen.WaitAll`.
#[derive(Clone, Debug)]
#[must_use = "a yield-point does nothing until it is yielded"]
pub struct WaitAll<T> {
    /// The keys, in the order of the result.
    keys: Vec<Key>,
    /// Where it was made.
    site: Site,
    /// What it gives.
    value: PhantomData<fn() -> T>,
}

/// The yield-point that waits for the first of several keys of one type and gives the key with its value. The others stay pending.
///
/// Of several that have arrived it takes the first in the given order. An unknown key is an error wherever it stands in the list, and
/// so is an empty list: it could never be ready.
///
/// Source: `yieldpoints.WaitAny`.
#[derive(Clone, Debug)]
#[must_use = "a yield-point does nothing until it is yielded"]
pub struct WaitAny<T> {
    /// The keys, by preference.
    keys: Vec<Key>,
    /// Where it was made.
    site: Site,
    /// What it gives.
    value: PhantomData<fn() -> T>,
}

/// The yield-point that waits for the first of several keys, of any types, and gives the key alone. All stay pending: take the value
/// with [`Co::wait`]. Order and errors as with [`WaitAny`].
#[derive(Clone, Debug)]
#[must_use = "a yield-point does nothing until it is yielded"]
pub struct AnyReady {
    /// The keys, by preference.
    keys: Vec<Key>,
    /// Where it was made.
    site: Site,
}

impl<T> Wait<T> {
    /// A point that will wait for `key`.
    #[track_caller]
    pub fn new(key: impl Into<Key>) -> Self {
        Wait {
            key: key.into(),
            site: Location::caller(),
            value: PhantomData,
        }
    }
}

impl<T> WaitAll<T> {
    /// A point that will wait for all `keys`.
    #[track_caller]
    pub fn new(keys: impl IntoIterator<Item: Into<Key>>) -> Self {
        WaitAll {
            keys: collect(keys),
            site: Location::caller(),
            value: PhantomData,
        }
    }
}

impl<T> WaitAny<T> {
    /// A point that will wait for any of `keys`.
    #[track_caller]
    pub fn new(keys: impl IntoIterator<Item: Into<Key>>) -> Self {
        WaitAny {
            keys: collect(keys),
            site: Location::caller(),
            value: PhantomData,
        }
    }
}

impl AnyReady {
    /// A point that will wait until any of `keys` is ready.
    #[track_caller]
    pub fn new(keys: impl IntoIterator<Item: Into<Key>>) -> Self {
        AnyReady {
            keys: collect(keys),
            site: Location::caller(),
        }
    }
}

/// The keys, whatever they were given as.
fn collect(keys: impl IntoIterator<Item: Into<Key>>) -> Vec<Key> {
    keys.into_iter().map(Into::into).collect()
}

/// Whose ledger it is, and where in the program it is asked.
struct Asker {
    /// The loop.
    shared: Rc<Shared>,
    /// The coroutine with the ledger.
    owner: Id,
    /// The kind of point.
    kind: &'static Kind,
    /// Where the point was made.
    site: Site,
}

impl Asker {
    fn new(co: &Co, kind: &'static Kind, site: Site) -> Self {
        Asker {
            shared: Rc::clone(co.handle().shared()),
            owner: co.table_id(),
            kind,
            site,
        }
    }

    fn note(&self) -> Note {
        Note {
            kind: self.kind,
            site: Some(self.site),
        }
    }

    /// Looks into the ledger. Nothing of the user's may run or be dropped in `look`.
    fn with_ledger<R>(&self, look: impl FnOnce(&mut Ledger) -> R) -> Option<R> {
        let mut records = self.shared.records.borrow_mut();
        let record = records.get_mut(self.owner)?;
        Some(look(&mut record.rare_mut().ledger))
    }

    /// Looks up one key and marks it as waited for.
    fn find(&self, key: &Key) -> Result<Rc<dyn Pending>> {
        let found = self.with_ledger(|ledger| {
            let entry = ledger.get_mut(key)?;
            Some(if entry.claim(self.site) {
                Ok(Rc::clone(entry.cell()))
            } else {
                Err(ErrorKind::RepeatedKey {
                    key: key.clone(),
                    asked_at: self.site,
                })
            })
        });
        match found.flatten() {
            Some(found) => found.map_err(Error::from),
            None => Err(self.unknown(key)),
        }
    }

    /// Looks up one key of a type.
    fn find_typed<T: 'static>(&self, key: &Key) -> Result<Rc<OneShot<T>>> {
        let cell = self.find(key)?;
        let (created, created_at) = (cell.type_name(), cell.created_at());
        cell.into_any().downcast::<OneShot<T>>().map_err(|_other| {
            self.release(key);
            let asked = std::any::type_name::<T>();
            ErrorKind::WrongType {
                key: key.clone(),
                created,
                asked,
                created_at,
                asked_at: self.site,
            }
            .into()
        })
    }

    /// Looks up several keys, or none of them.
    fn find_all<C>(
        &self,
        keys: Vec<Key>,
        find: impl Fn(&Self, &Key) -> Result<C>,
    ) -> Result<Vec<(Key, C)>> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            match find(self, &key) {
                Ok(cell) => found.push((key, cell)),
                Err(error) => {
                    for (key, _) in &found {
                        self.release(key);
                    }
                    return Err(error);
                }
            }
        }
        Ok(found)
    }

    /// Looks up several keys, of which there must be one.
    fn find_some<C>(
        &self,
        keys: Vec<Key>,
        find: impl Fn(&Self, &Key) -> Result<C>,
    ) -> Result<Vec<(Key, C)>> {
        if keys.is_empty() {
            return Err(ErrorKind::NoKeys {
                asked_at: self.site,
            }
            .into());
        }
        self.find_all(keys, find)
    }

    /// Notes that nobody waits for the key any more.
    fn release(&self, key: &Key) {
        self.with_ledger(|ledger| ledger.set_waited(key, None));
    }

    /// Frees a key whose value is given out.
    fn free(&self, key: &Key) {
        let entry = self.with_ledger(|ledger| ledger.remove(key));
        drop(entry);
    }

    #[cold]
    fn unknown(&self, key: &Key) -> Error {
        ErrorKind::UnknownKey {
            key: key.clone(),
            asked_at: self.site,
        }
        .into()
    }

    /// What a key that gives no value gives instead, and whether it is freed by that.
    #[cold]
    fn missing<T>(&self, key: &Key, cell: &OneShot<T>, missing: Missing) -> Error {
        match missing {
            Missing::Cancelled(cancel) => {
                self.release(key);
                cancel
            }
            Missing::Taken => self.unknown(key),
            Missing::Lost => {
                self.free(key);
                ErrorKind::Abandoned {
                    key: Some(key.clone()),
                    created_at: cell.created_at(),
                    waited_at: self.site,
                }
                .into()
            }
        }
    }
}

/// A wait for one or several keys that is awaited. Dropping it leaves the keys pending that it has not taken.
struct Waiting<C> {
    /// Who asks.
    asker: Asker,
    /// The keys, until they are looked up.
    named: Option<Vec<Key>>,
    /// The keys that are waited for, with their cells.
    found: Vec<(Key, C)>,
    /// Forgets who is parked in a cell, and tells whether the key is still that of this cell.
    unpark: fn(&C) -> bool,
}

impl<C> Waiting<C> {
    /// Takes a key out of the wait, not out of the ledger.
    fn end(&mut self) {
        for (key, cell) in self.found.drain(..) {
            if (self.unpark)(&cell) {
                self.asker.release(&key);
            }
        }
    }
}

impl<C> Drop for Waiting<C> {
    fn drop(&mut self) {
        self.end();
    }
}

/// A [`Wait`] that is awaited.
#[must_use = "a wait does nothing until it is awaited"]
pub struct WaitStarted<T> {
    /// Who asks.
    asker: Asker,
    /// The key.
    key: Key,
    /// Its cell, once looked up and until taken.
    cell: Option<Rc<OneShot<T>>>,
    /// Whether the output was given.
    done: bool,
}

impl<T: 'static> YieldPoint for Wait<T> {
    type Output = Result<T>;
    type Started = WaitStarted<T>;

    fn start(self, co: &Co) -> WaitStarted<T> {
        WaitStarted {
            asker: Asker::new(co, &WAIT, self.site),
            key: self.key,
            cell: None,
            done: false,
        }
    }
}

impl<T: 'static> Future for WaitStarted<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let this = self.get_mut();
        if this.done {
            return Poll::Pending;
        }
        let cell = match &this.cell {
            Some(cell) => cell,
            None => match this.asker.find_typed(&this.key) {
                Ok(cell) => this.cell.insert(cell),
                Err(error) => {
                    this.done = true;
                    return Poll::Ready(Err(error));
                }
            },
        };
        let Poll::Ready(outcome) = cell.poll(cx, this.asker.note()) else {
            return Poll::Pending;
        };
        this.done = true;
        let cell = this.cell.take();
        Poll::Ready(match (outcome, cell) {
            (Ok(value), _) => {
                this.asker.free(&this.key);
                Ok(value)
            }
            (Err(missing), Some(cell)) => Err(this.asker.missing(&this.key, &cell, missing)),
            (Err(_), None) => Err(this.asker.unknown(&this.key)),
        })
    }
}

impl<T> Drop for WaitStarted<T> {
    fn drop(&mut self) {
        if let Some(cell) = &self.cell
            && cell.unpark()
        {
            self.asker.release(&self.key);
        }
    }
}

/// A [`WaitAll`] that is awaited.
#[must_use = "a wait does nothing until it is awaited"]
pub struct WaitAllStarted<T> {
    /// The keys and cells.
    waiting: Waiting<Rc<OneShot<T>>>,
    /// How many of them, from the front, are known to have arrived.
    arrived: usize,
}

impl<T: 'static> YieldPoint for WaitAll<T> {
    type Output = Result<Vec<T>>;
    type Started = WaitAllStarted<T>;

    fn start(self, co: &Co) -> WaitAllStarted<T> {
        let asker = Asker::new(co, &WAIT_ALL, self.site);
        let unpark = |cell: &Rc<OneShot<T>>| cell.unpark();
        WaitAllStarted {
            waiting: Waiting {
                asker,
                named: Some(self.keys),
                found: Vec::new(),
                unpark,
            },
            arrived: 0,
        }
    }
}

impl<T: 'static> Future for WaitAllStarted<T> {
    type Output = Result<Vec<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let waiting = &mut this.waiting;
        if let Some(keys) = waiting.named.take() {
            match waiting.asker.find_all(keys, Asker::find_typed) {
                Ok(found) => waiting.found = found,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        // One cell at a time: what arrives behind it is found when its turn comes, so the whole wait costs each key once.
        while let Some((_, cell)) = waiting.found.get(this.arrived) {
            if !cell.has_arrived() {
                let parked = cell.park(cx, waiting.asker.note());
                return match parked {
                    Ok(()) => Poll::Pending,
                    Err(cancel) => {
                        waiting.end();
                        Poll::Ready(Err(cancel))
                    }
                };
            }
            if !cell.has_value() {
                break;
            }
            this.arrived += 1;
            if let Some((_, next)) = waiting.found.get(this.arrived) {
                // The wait was parked, if not on this key: a cancel must find it.
                next.follow(cell);
            }
        }
        Poll::Ready(this.take(cx))
    }
}

impl<T: 'static> WaitAllStarted<T> {
    /// Takes the values, now that all have arrived; or the first loss, which frees no other key.
    fn take(&mut self, cx: &Context<'_>) -> Result<Vec<T>> {
        let waiting = &mut self.waiting;
        let valueless = waiting.found.iter().position(|(_, cell)| !cell.has_value());
        if let Some(at) = valueless {
            let (key, cell) = waiting.found.remove(at);
            // Without a value it was lost, or given up while this wait had it.
            let missing = if cell.is_lost() {
                Missing::Lost
            } else {
                Missing::Taken
            };
            let error = waiting.asker.missing(&key, &cell, missing);
            waiting.end();
            return Err(error);
        }
        let mut values = Vec::with_capacity(waiting.found.len());
        for (key, cell) in std::mem::take(&mut waiting.found) {
            match cell.poll(cx, waiting.asker.note()) {
                Poll::Ready(Ok(value)) => {
                    waiting.asker.free(&key);
                    values.push(value);
                }
                // Each of them has its value: see above.
                _ => return Err(waiting.asker.unknown(&key)),
            }
        }
        Ok(values)
    }
}

/// A [`WaitAny`] that is awaited.
#[must_use = "a wait does nothing until it is awaited"]
pub struct WaitAnyStarted<T> {
    /// The keys and cells.
    waiting: Waiting<Rc<OneShot<T>>>,
}

impl<T: 'static> YieldPoint for WaitAny<T> {
    type Output = Result<(Key, T)>;
    type Started = WaitAnyStarted<T>;

    fn start(self, co: &Co) -> WaitAnyStarted<T> {
        let asker = Asker::new(co, &WAIT_ANY, self.site);
        let unpark = |cell: &Rc<OneShot<T>>| cell.unpark();
        WaitAnyStarted {
            waiting: Waiting {
                asker,
                named: Some(self.keys),
                found: Vec::new(),
                unpark,
            },
        }
    }
}

impl<T: 'static> Future for WaitAnyStarted<T> {
    type Output = Result<(Key, T)>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waiting = &mut self.get_mut().waiting;
        if let Some(keys) = waiting.named.take() {
            match waiting.asker.find_some(keys, Asker::find_typed) {
                Ok(found) => waiting.found = found,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        // All are looked at before any is parked on: a value that has arrived wins over a cancel.
        let arrived = waiting
            .found
            .iter()
            .position(|(_, cell)| cell.has_arrived());
        let order = arrived.map_or(0..waiting.found.len(), |at| at..at + 1);
        for at in order {
            let (key, cell) = &waiting.found[at];
            let outcome = match cell.poll(cx, waiting.asker.note()) {
                Poll::Pending => continue,
                Poll::Ready(Ok(value)) => {
                    waiting.asker.free(key);
                    Ok((key.clone(), value))
                }
                Poll::Ready(Err(missing)) => Err(waiting.asker.missing(key, cell, missing)),
            };
            waiting.found.remove(at);
            waiting.end();
            return Poll::Ready(outcome);
        }
        Poll::Pending
    }
}

/// An [`AnyReady`] that is awaited.
#[must_use = "a wait does nothing until it is awaited"]
pub struct AnyReadyStarted {
    /// The keys and cells.
    waiting: Waiting<Rc<dyn Pending>>,
}

impl YieldPoint for AnyReady {
    type Output = Result<Key>;
    type Started = AnyReadyStarted;

    fn start(self, co: &Co) -> AnyReadyStarted {
        let asker = Asker::new(co, &ANY_READY, self.site);
        let unpark = |cell: &Rc<dyn Pending>| cell.unpark();
        AnyReadyStarted {
            waiting: Waiting {
                asker,
                named: Some(self.keys),
                found: Vec::new(),
                unpark,
            },
        }
    }
}

impl Future for AnyReadyStarted {
    type Output = Result<Key>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waiting = &mut self.get_mut().waiting;
        if let Some(keys) = waiting.named.take() {
            match waiting.asker.find_some(keys, Asker::find) {
                Ok(found) => waiting.found = found,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if let Some((key, _)) = waiting.found.iter().find(|(_, cell)| cell.has_arrived()) {
            let key = key.clone();
            waiting.end();
            return Poll::Ready(Ok(key));
        }
        let note = waiting.asker.note();
        let parked = waiting
            .found
            .iter()
            .try_for_each(|(_, cell)| cell.park(cx, note));
        match parked {
            Ok(()) => Poll::Pending,
            Err(cancel) => {
                waiting.end();
                Poll::Ready(Err(cancel))
            }
        }
    }
}

impl Co {
    /// Waits for a key and gives its value, which frees the key. See [`Wait`].
    ///
    /// # Errors
    /// `UnknownKey` if it is not pending in this coroutine, `WrongType`, `RepeatedKey` if it is waited for elsewhere already,
    /// `Abandoned` if its resolver was dropped, `Cancelled`.
    #[doc(alias = "gen.Wait")]
    #[track_caller]
    pub fn wait<T: 'static>(&self, key: impl Into<Key>) -> WaitStarted<T> {
        Wait::new(key).start(self)
    }

    /// Waits for several keys and gives their values, in the order of the keys. See [`WaitAll`].
    ///
    /// # Errors
    /// Those of [`wait`](Co::wait), in the order of the keys; each key that was not the cause stays pending.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let (a, b) = (co.callback("a")?, co.callback("b")?);
    /// b.resolve(2);
    /// a.resolve(1);
    /// assert_eq!(co.wait_all::<i32>(["a", "b"]).await?, [1, 2]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[doc(alias = "gen.WaitAll")]
    #[track_caller]
    pub fn wait_all<T: 'static>(
        &self,
        keys: impl IntoIterator<Item: Into<Key>>,
    ) -> WaitAllStarted<T> {
        WaitAll::new(keys).start(self)
    }

    /// Waits for the first of several keys and gives it with its value. See [`WaitAny`].
    ///
    /// # Errors
    /// Those of [`wait`](Co::wait); `NoKeys` for none.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Key, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let (first, second) = (co.callback::<&str>(0)?, co.callback::<&str>(1)?);
    /// second.resolve("foo");
    /// let mut keys = vec![Key::from(0), Key::from(1)];
    /// let (key, value) = co.wait_any::<&str>(&keys).await?;
    /// assert!(key == 1 && value == "foo");
    /// keys.retain(|pending| *pending != key);
    /// first.resolve("bar");
    /// assert_eq!(co.wait_any::<&str>(&keys).await?.1, "bar");
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    pub fn wait_any<T: 'static>(
        &self,
        keys: impl IntoIterator<Item: Into<Key>>,
    ) -> WaitAnyStarted<T> {
        WaitAny::new(keys).start(self)
    }

    /// Waits until one of several keys, of any types, is ready, and gives the key. See [`AnyReady`].
    ///
    /// # Errors
    /// `UnknownKey`, `RepeatedKey`, `Cancelled`; `NoKeys` for none. A lost resolver makes its key ready: waiting for it gives the error.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result, ms};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let reply = co.callback::<String>("reply")?;
    /// co.timer("late", ms(1))?;
    /// assert!(co.any_ready(["reply", "late"]).await? == "late");
    /// co.wait::<()>("late").await?;
    /// co.forget("reply")?;
    /// # drop(reply);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    pub fn any_ready(&self, keys: impl IntoIterator<Item: Into<Key>>) -> AnyReadyStarted {
        AnyReady::new(keys).start(self)
    }
}

/// Writes the `Debug` of a started wait.
macro_rules! debug_started {
    ($($name:ident $(<$t:ident>)?),*) => {$(
        impl $(<$t>)? fmt::Debug for $name $(<$t>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}
debug_started!(
    WaitStarted<T>,
    WaitAllStarted<T>,
    WaitAnyStarted<T>,
    AnyReadyStarted
);
