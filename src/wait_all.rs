//! [`WaitAll`]: waits for several keys of one type, and gives all their values.

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
use crate::oneshot::{Missing, OneShot};
use crate::site::Site;
use crate::waiter::Kind;
use crate::yield_point::YieldPoint;

static WAIT_ALL: Kind = Kind("wait_all");

/// The yield-point that waits for several keys of one type and gives their values in the order of the keys.
///
/// No keys give an empty `Vec` at once. A lost resolver is reported when all keys before it have arrived, without waiting for those
/// behind it; the other keys then stay pending, with what has arrived for them.
///
/// ```
/// # use yieldpoint::{EventLoop, Result, WaitAll};
/// # EventLoop::new()?.block_on(async |co| -> Result {
/// for n in 0..3 {
///     co.callback(n)?.resolve(n * n);
/// }
/// assert_eq!(co.yield_(WaitAll::<i32>::new([2, 0, 1])).await?, [4, 0, 1]);
/// # Ok(())
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
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

impl Co {
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
}

impl<T> fmt::Debug for WaitAllStarted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitAllStarted").finish_non_exhaustive()
    }
}
