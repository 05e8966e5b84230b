//! [`Co::blocking`]: runs a closure that blocks on the loop's pool, and waits for it like for any callback.
//!
//! It is apart from the pool because the pool knows of no coroutine.
//!
//! Invariants:
//! 1. The closure runs at most once, on a thread of the pool, or is dropped unrun on the loop's thread when the wait is given up first.
//! 2. Its panic ends the wait and not the thread.
//!
//! ```text
//!              first poll: the pool takes it        a thread takes it         returned, or panicked
//!   Unstarted ──────────────────────────────▶ queued ────────────────▶ running ───────────────────▶ Done
//!       └── the pool is full ──▶ Done            └── wait dropped ──▶ dropped unrun
//! ```

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use crate::coroutine::Co;
use crate::error::{Error, ErrorKind, Result};
use crate::oneshot::{Missing, OneShot};
use crate::pool::Refusal;
use crate::shared::{Shared, panic_message};
use crate::site::Site;
use crate::waiter::{Kind, Note};

static BLOCKING: Kind = Kind("blocking");

/// A closure on its way through the pool: see [`Co::blocking`].
#[must_use = "nothing is run until it is awaited"]
pub struct Blocking<F, T> {
    /// The loop.
    shared: Rc<Shared>,
    /// Where it was called.
    site: Site,
    /// How far it is.
    state: State<F, T>,
}

/// How far it is; see the module's diagram.
enum State<F, T> {
    /// Not yet with the pool.
    Unstarted(F),
    /// With the pool.
    Waiting(Rc<OneShot<Result<T>>>, Job<F>),
    /// The output was given.
    Done,
}

/// The closure, until a thread or the end of the wait takes it.
struct Job<F>(Arc<Mutex<Option<F>>>);

impl<F> Job<F> {
    /// Takes the closure out. The lock is free again afterwards.
    fn take(&self) -> Option<F> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The closure is moved, never pinned.
impl<F, T> Unpin for Blocking<F, T> {}

impl<F, T> Blocking<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    /// Hands the closure to the pool.
    fn submit(&self, work: F) -> Result<State<F, T>> {
        let (cell, resolver) = OneShot::new(&self.shared, self.site);
        let resolver = resolver.into_send();
        let job = Job(Arc::new(Mutex::new(Some(work))));
        let theirs = Job(Arc::clone(&job.0));
        let submitted = self.shared.pool.submit(Box::new(move |busy| {
            let Some(work) = theirs.take() else { return };
            let result = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
                let message = panic_message(panic).into();
                let coroutine = None;
                Error::from(ErrorKind::Panicked { coroutine, message })
            });
            // The thread counts as free before anybody can hear of the result.
            drop(busy);
            resolver.resolve(result);
        }));
        match submitted {
            Ok(()) => Ok(State::Waiting(cell, job)),
            Err((Refusal::Full { limit }, _job)) => {
                let what = "blocking pool";
                Err(ErrorKind::Refused {
                    what,
                    limit,
                    created_at: None,
                }
                .into())
            }
            Err((Refusal::NoThread(error), _job)) => Err(error.into()),
        }
    }
}

impl<F, T> Future for Blocking<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let this = self.get_mut();
        if let State::Unstarted(_) = this.state
            && let State::Unstarted(work) = std::mem::replace(&mut this.state, State::Done)
        {
            match this.submit(work) {
                Ok(waiting) => this.state = waiting,
                Err(refused) => return Poll::Ready(Err(refused)),
            }
        }
        let State::Waiting(cell, _) = &this.state else {
            return Poll::Pending;
        };
        let note = Note {
            kind: &BLOCKING,
            site: Some(this.site),
        };
        let outcome = ready!(cell.poll(cx, note));
        this.give_up();
        Poll::Ready(match outcome {
            Ok(result) => result,
            Err(Missing::Cancelled(cancel)) => Err(cancel),
            // Only a pool that is dropped drops a job that is still wanted.
            Err(Missing::Lost | Missing::Taken) => Err(ErrorKind::LoopGone.into()),
        })
    }
}

impl<F, T> Blocking<F, T> {
    /// Ends the wait; what has not started is dropped unrun, with nothing locked.
    fn give_up(&mut self) {
        if let State::Waiting(cell, job) = std::mem::replace(&mut self.state, State::Done) {
            cell.unpark();
            drop(job.take());
        }
    }
}

impl<F, T> Drop for Blocking<F, T> {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl<F, T> fmt::Debug for Blocking<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

impl Co {
    /// Runs a closure that blocks on a thread of the loop's pool, and waits for what it returns. It is handed to the pool when it is
    /// first awaited.
    ///
    /// Dropping the wait, or cancelling it, drops a closure that has not started; one that runs is not interrupted, and what it
    /// returns is dropped. Dropping the loop waits for nobody. The size of the pool is set by
    /// [`Builder::pool`](crate::Builder::pool).
    ///
    /// # Errors
    /// `Refused` if all threads are busy and as many jobs wait as may (one whose wait was given up counts until a thread comes to it);
    /// `Panicked` if the closure panics; `Io` if the system gives no thread; `Cancelled`.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result};
    /// let loop_thread = std::thread::current().id();
    /// let n = EventLoop::new()?.block_on(async |co| -> Result<u64> {
    ///     co.blocking(move || {
    ///         assert_ne!(std::thread::current().id(), loop_thread);
    ///         (1..=1000).sum()
    ///     }).await
    /// })?;
    /// assert_eq!(n, 500_500);
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[doc(alias = "spawn_blocking")]
    #[doc(alias = "run_in_executor")]
    #[track_caller]
    pub fn blocking<F, T>(&self, work: F) -> Blocking<F, T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Blocking {
            shared: Rc::clone(self.handle().shared()),
            site: Location::caller(),
            state: State::Unstarted(work),
        }
    }
}
