//! Waiting for the first of several keys: [`WaitAny`] takes its value, [`AnyReady`] only names it.
//!
//! They are together because they differ in nothing else.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::asker::{Asker, Waiting, collect};
use crate::coroutine::Co;
use crate::error::Result;
use crate::key::Key;
use crate::ledger::Pending;
use crate::oneshot::OneShot;
use crate::site::Site;
use crate::waiter::Kind;
use crate::yield_point::YieldPoint;

static WAIT_ANY: Kind = Kind("wait_any");
static ANY_READY: Kind = Kind("any_ready");

/// The yield-point that waits for the first of several keys of one type and gives the key with its value. The others stay pending.
///
/// Of several that have arrived it takes the first in the given order. An unknown key is an error wherever it stands in the list, and
/// so is an empty list: it could never be ready.
///
/// ```
/// # use yieldpoint::{EventLoop, Result, WaitAny};
/// # EventLoop::new()?.block_on(async |co| -> Result {
/// let _slow = co.callback::<u32>("slow")?;
/// co.callback::<u32>("fast")?.resolve(7);
/// let (key, value) = co.yield_(WaitAny::<u32>::new(["slow", "fast"])).await?;
/// assert!(key == "fast" && value == 7);
/// co.forget("slow")?;
/// # Ok(())
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
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
        let arrived = waiting
            .found
            .iter()
            .position(|(_, cell)| cell.has_arrived());
        if let Some(at) = arrived {
            let (key, cell) = waiting.found.swap_remove(at);
            waiting.end();
            // It counts as arrived, too, when the key was given up meanwhile.
            if !cell.unpark() {
                return Poll::Ready(Err(waiting.asker.unknown(&key)));
            }
            waiting.asker.release(&key);
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

impl<T> fmt::Debug for WaitAnyStarted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitAnyStarted").finish_non_exhaustive()
    }
}

impl fmt::Debug for AnyReadyStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyReadyStarted").finish_non_exhaustive()
    }
}
