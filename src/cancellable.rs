//! [`Co::cancellable`]: makes a foreign future end when its coroutine is cancelled.
//!
//! It is apart because it alone parks without anything of ours to wait for: nobody but a cancel wakes it.
//!
//! ```text
//!   Waiting ── the future gives its output ──▶ Done: Ok
//!      └────── the coroutine is cancelled ──▶ the future is dropped ──▶ Done: Err(Cancelled)
//! ```

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::cleanup::{Shield, Within};
use crate::coroutine::Co;
use crate::error::Result;
use crate::shared::Shared;
use crate::site::Site;
use crate::waiter::{Kind, Note, WaiterSlot};

static CANCELLABLE: Kind = Kind("cancellable");

pin_project! {
    /// A foreign future that is awaited as a point of ours; see [`Co::cancellable`].
    #[must_use = "a future does nothing until it is awaited"]
    pub struct CancellableStarted<F> {
        #[pin]
        future: Option<F>,
        seat: Seat,
        cleanups: Within,
        site: Site,
    }
}

/// Where the point is parked, for a cancel to find.
struct Seat {
    /// The loop.
    shared: Rc<Shared>,
    /// Who waits.
    slot: WaiterSlot,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.slot = self.shared.unpark(self.slot);
    }
}

impl<F: Future> Future for CancellableStarted<F> {
    type Output = Result<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let seat = this.seat;
        let (output, cleaning) = this.cleanups.watch(&seat.shared, || future.poll(cx));
        let result = match output {
            Poll::Ready(output) => {
                seat.slot = seat.shared.unpark(seat.slot);
                Ok(output)
            }
            Poll::Pending => {
                let note = Note {
                    kind: &CANCELLABLE,
                    site: Some(this.site),
                };
                let _shield = cleaning.then(|| Shield::raise(&seat.shared));
                match seat.shared.park(seat.slot, cx, note) {
                    Ok(slot) => {
                        seat.slot = slot;
                        return Poll::Pending;
                    }
                    Err(cancel) => {
                        seat.slot = WaiterSlot::EMPTY;
                        Err(cancel)
                    }
                }
            }
        };
        this.future.set(None);
        Poll::Ready(result)
    }
}

impl<F> fmt::Debug for CancellableStarted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancellableStarted")
            .field("site", &self.site)
            .field("done", &self.future.is_none())
            .finish_non_exhaustive()
    }
}

impl Co {
    /// Makes a foreign future a point of ours: a cancel ends it, while a coroutine that is parked on foreign futures alone is dropped.
    ///
    /// The future's output wins over a cancel if it is there when the coroutine is resumed. After a cancel the future is dropped.
    ///
    /// # Errors
    /// `Cancelled`.
    ///
    /// ```
    /// use std::future::pending;
    /// use yieldpoint::{EventLoop, Result};
    ///
    /// EventLoop::new()?.block_on(async |co| -> Result {
    ///     let join = co.handle().spawn(async |co| -> Result<&str> {
    ///         let foreign = co.cancellable(pending::<()>()).await;
    ///         Ok(if foreign.is_err_and(|error| error.is_cancelled()) { "put away" } else { "done" })
    ///     });
    ///     co.yield_now().await?;
    ///     join.cancel("enough");
    ///     assert_eq!(join.await?, "put away"); // the body went on
    ///     Ok(())
    /// })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    pub fn cancellable<F: Future>(&self, future: F) -> CancellableStarted<F> {
        CancellableStarted {
            future: Some(future),
            seat: Seat {
                shared: Rc::clone(self.handle().shared()),
                slot: WaiterSlot::EMPTY,
            },
            cleanups: Within::default(),
            site: Location::caller(),
        }
    }
}
