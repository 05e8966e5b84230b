//! [`Co::cleanup`]: where a cancelled coroutine may still wait.
//!
//! It is apart because it alone lifts a cancel: for the points inside it the coroutine is not cancelled.
//!
//! Invariants:
//! 1. The cancel is lifted only while the clean-up is polled, and laid on again also if that panics.
//! 2. A clean-up that waits is entered in its coroutine's record, whether it is polled in a resume or not: a combinator polls only
//!    what was woken. A cancelled body that waits in none is dropped.
//! 3. It ends at its limit: a clean-up cannot keep a cancelled coroutine for ever.
//!
//! ```text
//!   Waiting ── the future gives its output ──▶ Done: Ok
//!      └────── the limit is over ──▶ the future is dropped ──▶ Done: Err(Elapsed)
//! ```

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::arena::Id;
use crate::coroutine::Co;
use crate::error::{ErrorKind, Result};
use crate::shared::Shared;
use crate::site::Site;
use crate::sleep::{Sleep, SleepStarted};
use crate::timers::TimerId;
use crate::waiter::{Kind, Note};
use crate::yield_point::YieldPoint;

static CLEANUP: Kind = Kind("cleanup");

/// Lifts the cancel of the running coroutine until it is dropped (keeps invariant 1).
pub(crate) struct Shield<'a> {
    /// The loop.
    shared: &'a Shared,
    /// Whether there was a cancel to lift.
    cancelling: bool,
}

impl<'a> Shield<'a> {
    /// Lifts the cancel.
    pub(crate) fn raise(shared: &'a Shared) -> Self {
        Shield {
            shared,
            cancelling: shared.set_cancelling(false),
        }
    }
}

impl Drop for Shield<'_> {
    fn drop(&mut self) {
        self.shared.set_cancelling(self.cancelling);
    }
}

/// Counts the clean-ups that wait inside a point of ours that holds foreign code. While there is one, the point must not end by the
/// cancel that is being cleaned up after.
#[derive(Default)]
pub(crate) struct Within(usize);

impl Within {
    /// Polls what may hold clean-ups. Tells whether one waits in it, be it one that was not polled this time.
    pub(crate) fn watch<R>(&mut self, shared: &Shared, poll: impl FnOnce() -> R) -> (R, bool) {
        let before = shared.cleanups.get();
        let result = poll();
        self.0 = (self.0 + shared.cleanups.get()).saturating_sub(before);
        (result, self.0 > 0)
    }
}

/// A clean-up that waits, in the record of its coroutine (keeps invariant 2).
struct Entry {
    /// The loop.
    shared: Rc<Shared>,
    /// Whose it is.
    owner: Id,
    /// The timer of its limit.
    limit: TimerId,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.leave_cleanup(self.owner, self.limit);
    }
}

pin_project! {
    /// A clean-up that is awaited; see [`Co::cleanup`]. Dropping it drops what it waits for.
    #[must_use = "a clean-up does nothing until it is awaited"]
    pub struct CleanupStarted<F> {
        #[pin]
        future: Option<F>,
        sleep: Option<SleepStarted>,
        entry: Option<Entry>,
        limit: Duration,
        shared: Rc<Shared>,
        site: Site,
    }
}

impl<F: Future> Future for CleanupStarted<F> {
    type Output = Result<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (Some(future), Some(sleep)) = (this.future.as_mut().as_pin_mut(), &mut this.sleep)
        else {
            return Poll::Pending;
        };
        let result = {
            let _shield = Shield::raise(this.shared);
            this.shared.parked_on(Note::FOREIGN);
            let polled = future.poll(cx);
            let inner = this.shared.note();
            match polled {
                Poll::Ready(output) => Ok(output),
                Poll::Pending => match Pin::new(&mut *sleep).poll(cx) {
                    Poll::Ready(Ok(())) => Err(ErrorKind::Elapsed {
                        limit: *this.limit,
                        site: this.site,
                    }
                    .into()),
                    Poll::Ready(Err(gone)) => Err(gone),
                    Poll::Pending => {
                        if let (None, Some(limit)) = (&this.entry, sleep.timer()) {
                            *this.entry = Some(Entry {
                                owner: this.shared.enter_cleanup(limit),
                                shared: Rc::clone(this.shared),
                                limit,
                            });
                        }
                        let outer = Note {
                            kind: &CLEANUP,
                            site: Some(this.site),
                        };
                        this.shared.parked_inside(inner, outer);
                        return Poll::Pending;
                    }
                },
            }
        };
        *this.entry = None;
        *this.sleep = None;
        this.future.set(None);
        Poll::Ready(result)
    }
}

impl<F> fmt::Debug for CleanupStarted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CleanupStarted")
            .field("limit", &self.limit)
            .field("site", &self.site)
            .field("done", &self.sleep.is_none())
            .finish_non_exhaustive()
    }
}

impl Co {
    /// Waits for a yield-point, any future among them, as if this coroutine were not cancelled, but for no longer than `limit`.
    ///
    /// It is the one place in which a cancelled coroutine may wait. Every point inside it works as ever; the cancel holds again behind
    /// it. It works the same in a coroutine that is not cancelled, and one that is cancelled meanwhile learns of it behind the clean-up. The
    /// limit counts from the first time it is awaited and still waiting; a point that is ready at once beats a limit of zero. At the
    /// limit, what is waited for is dropped.
    ///
    /// # Errors
    /// `Elapsed` at the limit.
    ///
    /// ```
    /// use std::{cell::Cell, rc::Rc};
    /// use yieldpoint::{EventLoop, Result, ms};
    ///
    /// EventLoop::new()?.block_on(async |co| -> Result {
    ///     let said_goodbye = Rc::new(Cell::new(false));
    ///     let said = Rc::clone(&said_goodbye);
    ///     let session = co.handle().spawn(async move |co| -> Result {
    ///         let end = co.sleep(ms(60_000)).await;         // the cancel comes here,
    ///         co.cleanup(ms(100), async {
    ///             let sent = co.sleep(ms(1)).await;         // and here it is still possible to wait
    ///             said.set(sent.is_ok());
    ///         }).await?;
    ///         end
    ///     });
    ///     co.yield_now().await?;
    ///     session.cancel("shutdown");
    ///     assert!(session.await.is_err());
    ///     assert!(said_goodbye.get());
    ///     Ok(())
    /// })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "shield")]
    pub fn cleanup<P: YieldPoint>(&self, limit: Duration, point: P) -> CleanupStarted<P::Started> {
        CleanupStarted {
            future: Some(point.start(self)),
            sleep: Some(Sleep::new(limit).start(self)),
            entry: None,
            limit,
            shared: Rc::clone(self.handle().shared()),
            site: Location::caller(),
        }
    }
}
