//! [`All`]: waits for several points, whatever becomes of each.
//!
//! ```text
//!             child ended, others left
//!              ┌────────┐
//!              ▼        │   the last child ended
//!   started ─▶ Waiting ─┴──────────────────────▶ Done: outputs in the shape of the points
//! ```

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::coroutine::Co;
use crate::points::{Points, Started};
use crate::shared::Shared;
use crate::site::Site;
use crate::waiter::{Kind, Note};
use crate::yield_point::YieldPoint;

static ALL: Kind = Kind("all");

/// The yield-point that waits for several others and gives their outputs in the same shape. See [`Co::all`].
///
/// ```
/// use yieldpoint::{All, EventLoop, Result, Task};
///
/// EventLoop::new()?.block_on(async |co| -> Result {
///     let inner = All::new((Task::new(|done| done.resolve(1)), async { 2 }));
///     let ((one, two), three) = co.all((inner, async { 3 })).await; // it is a point itself
///     assert_eq!((one?, two, three), (1, 2, 3));
///     Ok(())
/// })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
///
/// Source: `tornado.gen.Multi`, and the list that a Tornado coroutine yields.
#[must_use = "a yield-point does nothing until it is yielded"]
#[derive(Debug)]
pub struct All<P> {
    /// The points.
    points: P,
    /// Where it was made.
    site: Site,
}

impl<P: Points> All<P> {
    /// A point that waits for all of these.
    #[track_caller]
    pub fn new(points: P) -> Self {
        All {
            points,
            site: Location::caller(),
        }
    }
}

impl<P: Points> YieldPoint for All<P> {
    type Output = P::Outputs;
    type Started = AllStarted<P>;

    fn start(self, co: &Co) -> AllStarted<P> {
        AllStarted {
            children: Some(self.points.start(co)),
            shared: Rc::clone(co.handle().shared()),
            site: self.site,
        }
    }
}

pin_project! {
    /// An [`All`] that is awaited. Dropping it drops every child, with what it would have given.
    #[must_use = "a wait does nothing until it is awaited"]
    pub struct AllStarted<P: Points> {
        #[pin]
        children: Option<P::Started>,
        shared: Rc<Shared>,
        site: Site,
    }
}

impl<P: Points> Future for AllStarted<P> {
    type Output = P::Outputs;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<P::Outputs> {
        let mut this = self.project();
        let Some(children) = this.children.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let outputs = children.poll_all(cx);
        if outputs.is_pending() {
            this.shared.parked_on(Note {
                kind: &ALL,
                site: Some(this.site),
            });
        }
        let outputs = ready!(outputs);
        this.children.set(None);
        Poll::Ready(outputs)
    }
}

impl<P: Points> fmt::Debug for AllStarted<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllStarted")
            .field("site", &self.site)
            .field("done", &self.children.is_none())
            .finish_non_exhaustive()
    }
}

impl Co {
    /// Starts several points in order, waits for every one of them, and gives their outputs in the shape of the points: a tuple for a
    /// tuple, an array for an array, a `Vec` in the same order for a `Vec`, a map with the same keys for a map.
    ///
    /// It does not fail fast: a child whose output is an `Err` is one output among the others, and so is the `Cancelled` of a child that
    /// is still waiting when the coroutine is cancelled; what has arrived is kept beside it. An empty `Vec` or map is given back at once.
    ///
    /// In a set of up to 32, or a tuple, each unfinished child is polled whenever the coroutine is resumed. In a larger one only
    /// those are that were woken, so 2000 children cost 2000 times one child, not its square.
    ///
    /// ```
    /// use yieldpoint::{EventLoop, Result, ms};
    ///
    /// EventLoop::new()?.block_on(async |co| -> Result {
    ///     let slow = co.callback::<&str>("slow")?;
    ///     co.handle().call_later(ms(1), move || slow.resolve("tortoise"));
    ///     let (slow, unknown, fast) = co.all((co.wait::<&str>("slow"), co.wait::<u32>("nobody"), async { "hare" })).await;
    ///     assert_eq!((slow?, fast), ("tortoise", "hare"));
    ///     assert!(unknown.is_err()); // it did not keep the others from arriving
    ///
    ///     let squares = co.all([1, 2, 3].map(|n| async move { n * n })).await;
    ///     assert_eq!(squares, [1, 4, 9]);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    ///
    /// Where every output is a `Result` and the first `Err` is what counts, collect:
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result, Task};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let points: Vec<_> = (0..3).map(|n| Task::new(move |done| done.resolve(n))).collect();
    /// let numbers = co.all(points).await.into_iter().collect::<Result<Vec<_>>>()?;
    /// assert_eq!(numbers, [0, 1, 2]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "gen.Multi")]
    #[doc(alias = "join_all")]
    #[doc(alias = "join")]
    pub fn all<P: Points>(&self, points: P) -> AllStarted<P> {
        YieldPoint::start(All::new(points), self)
    }
}
