//! [`Wait`]: waits for one key.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::{forget, replace};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::asker::{Asker, Found};
use crate::coroutine::Co;
use crate::error::Result;
use crate::key::Key;
use crate::oneshot::{Missing, OneShot};
use crate::site::Site;
use crate::waiter::Kind;
use crate::yield_point::YieldPoint;

static WAIT: Kind = Kind("wait");

/// The yield-point that waits for a key and gives its value. A value that has arrived is given without giving way.
///
/// ```
/// # use yieldpoint::{EventLoop, Result, Wait};
/// # EventLoop::new()?.block_on(async |co| -> Result {
/// co.callback("reply")?.resolve(7_u32);
/// assert_eq!(co.yield_(Wait::<u32>::new("reply")).await?, 7); // the same as co.wait("reply").await?
/// assert!(co.wait::<u32>("reply").await.is_err(), "waiting has freed the key");
/// # Ok(())
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
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

/// A [`Wait`] that is awaited.
#[must_use = "a wait does nothing until it is awaited"]
pub struct WaitStarted<T> {
    /// Who asks.
    asker: Asker,
    /// The key.
    key: Key,
    /// How far it is.
    stage: Stage<T>,
}

/// How far a wait is.
enum Stage<T> {
    /// The key is still to be looked up.
    Named,
    /// This cell is waited for. Its entry in the ledger was here when it was looked up.
    Waiting(Rc<OneShot<T>>, usize),
    /// The output was given.
    Done,
}

impl<T: 'static> YieldPoint for Wait<T> {
    type Output = Result<T>;
    type Started = WaitStarted<T>;

    #[inline]
    fn start(self, co: &Co) -> WaitStarted<T> {
        WaitStarted {
            asker: Asker::new(co, &WAIT, self.site),
            key: self.key,
            stage: Stage::Named,
        }
    }
}

impl<T: 'static> Future for WaitStarted<T> {
    type Output = Result<T>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let this = self.get_mut();
        if let Stage::Waiting(cell, _) = &this.stage
            && let Some(value) = cell.take_arrived()
        {
            return this.give(value);
        }
        this.wait(cx)
    }
}

impl<T: 'static> WaitStarted<T> {
    /// Looks the key up at first, and parks unless its value is there, or none will come.
    #[inline(never)]
    fn wait(&mut self, cx: &Context<'_>) -> Poll<Result<T>> {
        if let Stage::Named = self.stage {
            match self.asker.take_or_find(&self.key) {
                Ok(Found::Cell(cell, at)) => self.enter(Stage::Waiting(cell, at)),
                Ok(Found::Value(value, cell)) => {
                    self.enter(Stage::Done);
                    cell.keep();
                    return Poll::Ready(Ok(value));
                }
                Err(error) => {
                    self.enter(Stage::Done);
                    return Poll::Ready(Err(error));
                }
            }
        }
        let Stage::Waiting(cell, _) = &self.stage else {
            return Poll::Pending;
        };
        match cell.poll(cx, self.asker.note()) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(value)) => self.give(value),
            Poll::Ready(Err(missing)) => self.fail(missing),
        }
    }

    /// Goes on from a stage that holds nothing: forgetting it saves the look whether it must be dropped.
    #[inline]
    fn enter(&mut self, stage: Stage<T>) {
        forget(replace(&mut self.stage, stage));
    }

    /// Gives the value, which was waited for.
    #[inline]
    fn give(&mut self, value: T) -> Poll<Result<T>> {
        if let Stage::Waiting(cell, at) = replace(&mut self.stage, Stage::Done) {
            self.asker.free_waited(at, &self.key, cell);
        }
        Poll::Ready(Ok(value))
    }

    /// Gives the error of a key that will have no value.
    #[cold]
    fn fail(&mut self, missing: Missing) -> Poll<Result<T>> {
        let Stage::Waiting(cell, _) = replace(&mut self.stage, Stage::Done) else {
            return Poll::Pending;
        };
        Poll::Ready(Err(self.asker.missing(&self.key, &cell, missing)))
    }
}

impl<T> Drop for WaitStarted<T> {
    #[inline]
    fn drop(&mut self) {
        if let Stage::Waiting(cell, _) = &self.stage {
            self.give_up(cell);
        }
    }
}

impl<T> WaitStarted<T> {
    /// Gives a wait up.
    #[cold]
    fn give_up(&self, cell: &OneShot<T>) {
        if cell.unpark() {
            self.asker.release(&self.key);
        }
    }
}

impl Co {
    /// Waits for a key and gives its value, which frees the key. See [`Wait`].
    ///
    /// # Errors
    /// `UnknownKey` if it is not pending in this coroutine, `WrongType`, `RepeatedKey` if it is waited for elsewhere already,
    /// `Abandoned` if its resolver was dropped, `Cancelled`.
    ///
    /// Say the type, as in `wait::<u32>(key)`, where nothing else does: `co.wait(key).await?;` asks for one that no callback has, and
    /// gives `WrongType`.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let reply = co.callback("reply")?;
    /// co.handle().call_soon(move || reply.resolve(7_u32));
    /// assert!(co.wait::<String>("reply").await.is_err(), "it is another type, and stays pending");
    /// assert_eq!(co.wait::<u32>("reply").await?, 7);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[doc(alias = "gen.Wait")]
    #[inline]
    #[track_caller]
    pub fn wait<T: 'static>(&self, key: impl Into<Key>) -> WaitStarted<T> {
        Wait::new(key).start(self)
    }
}

impl<T> fmt::Debug for WaitStarted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitStarted").finish_non_exhaustive()
    }
}
