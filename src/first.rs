//! [`First`]: waits for whichever of several points comes first, and drops the others.
//!
//! ```text
//!   started ─▶ Waiting ── a child ended ──▶ the others are dropped ──▶ Done: the winner
//! ```

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::coroutine::Co;
use crate::handle::Handle;
use crate::points::{Points, Started};
use crate::site::Site;
use crate::waiter::{Kind, Note};
use crate::yield_point::YieldPoint;

static FIRST: Kind = Kind("first");

/// The yield-point that ends with the first of several others. See [`Co::first`].
///
/// ```
/// use yieldpoint::{Either, EventLoop, First, Result, Sleep, Task, ms};
///
/// EventLoop::new()?.block_on(async |co| -> Result {
///     let race = First::new((Sleep::new(ms(50)), Task::new(|done| done.resolve(7))));
///     assert!(matches!(co.yield_(race).await, Either::Right(Ok(7))));
///     Ok(())
/// })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
#[must_use = "a yield-point does nothing until it is yielded"]
#[derive(Debug)]
pub struct First<P> {
    /// The points.
    points: P,
    /// Where it was made.
    site: Site,
}

impl<P: Points> First<P> {
    /// A point that waits for the first of these.
    ///
    /// # Panics
    /// If there are none: see [`Co::first`].
    #[track_caller]
    pub fn new(points: P) -> Self {
        assert!(
            points.count() > 0,
            "there is no first of no points: it would never end. Give `first` at least one point, or ask before whether there is any."
        );
        First {
            points,
            site: Location::caller(),
        }
    }
}

impl<P: Points> YieldPoint for First<P> {
    type Output = P::Winner;
    type Started = FirstStarted<P>;

    fn start(self, co: &Co) -> FirstStarted<P> {
        FirstStarted {
            children: Some(self.points.start(co)),
            handle: co.handle().clone(),
            site: self.site,
        }
    }
}

pin_project! {
    /// A [`First`] that is awaited. Dropping it drops every child.
    #[must_use = "a wait does nothing until it is awaited"]
    pub struct FirstStarted<P: Points> {
        #[pin]
        children: Option<P::Started>,
        handle: Handle,
        site: Site,
    }
}

impl<P: Points> Future for FirstStarted<P> {
    type Output = P::Winner;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<P::Winner> {
        let mut this = self.project();
        let Some(children) = this.children.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let winner = children.poll_first(cx, this.handle);
        if winner.is_pending() {
            this.handle.shared().parked_on(Note {
                kind: &FIRST,
                site: Some(this.site),
            });
        }
        let winner = ready!(winner);
        this.children.set(None);
        Poll::Ready(winner)
    }
}

impl<P: Points> fmt::Debug for FirstStarted<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstStarted")
            .field("site", &self.site)
            .field("done", &self.children.is_none())
            .finish_non_exhaustive()
    }
}

impl Co {
    /// Starts several points in order, waits for the first that ends, whether well or not, and says which that was:
    /// [`Either`](crate::Either) for a pair, [`OneOf3`](crate::OneOf3) to `OneOf12` for a larger tuple, `(index, output)` for an array or a
    /// `Vec`, `(key, output)` for a map.
    ///
    /// If several have ended when the coroutine is resumed, the first in the order of the points wins; those behind the winner are not
    /// even polled. The others are dropped before this gives its output:
    ///
    /// - The key of a [`Wait`](crate::Wait) stays pending, its value is not taken: wait for it again, or forget it.
    /// - The operation that a [`Task`](crate::Task) has begun goes on, and what it calls back with is dropped.
    /// - The coroutine behind a [`JoinHandle`](crate::JoinHandle) runs on, unless `cancel_on_drop` was asked for. To keep the handle, give
    ///   `&mut handle`.
    /// - Any other future is dropped where it stands, one that waits in a [`Co::cleanup`] too.
    ///
    /// A cancel reaches every child. A value that has arrived by then wins over it, wherever it stands; otherwise the first child that
    /// ends by the cancel wins.
    ///
    /// # Panics
    /// If there are no points, in this call: it could never end.
    ///
    /// ```
    /// use yieldpoint::{Either, EventLoop, ManualClock, Result, ms};
    ///
    /// EventLoop::builder().clock(&ManualClock::auto()).build()?.block_on(async |co| -> Result {
    ///     let reply = co.callback::<&str>("reply")?;
    ///     co.handle().call_later(ms(20), move || reply.resolve("late"));
    ///     match co.first((co.wait::<&str>("reply"), co.sleep(ms(1)))).await {
    ///         Either::Left(_) => unreachable!("the sleep is shorter"),
    ///         Either::Right(slept) => slept?,
    ///     }
    ///     assert_eq!(co.wait::<&str>("reply").await?, "late"); // the loser's key stayed pending
    ///
    ///     let (index, _) = co.first(vec![co.sleep(ms(9)), co.sleep(ms(1))]).await;
    ///     assert_eq!(index, 1);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "select")]
    #[doc(alias = "race")]
    pub fn first<P: Points>(&self, points: P) -> FirstStarted<P> {
        YieldPoint::start(First::new(points), self)
    }
}
