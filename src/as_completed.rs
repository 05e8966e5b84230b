//! [`AsCompleted`]: the outputs of several points, one after the other, in the order in which they come.
//!
//! It is apart from `All` because it stays in the body's hands between two outputs. It always gives each child a waker of its own,
//! however few they are: the order of the wake-ups is the order of completion.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::coroutine::Co;
use crate::points::{Listed, Sequence, Shape};
use crate::row::Row;
use crate::shared::Shared;
use crate::site::Site;
use crate::waiter::{Kind, Note};
use crate::yield_point::YieldPoint;

static AS_COMPLETED: Kind = Kind("as_completed");

/// Gives the outputs of several points in the order in which they come. See [`Co::as_completed`].
#[must_use = "the points are awaited only by `next`"]
pub struct AsCompleted<P: Sequence> {
    /// The points.
    row: Row<<P::Point as YieldPoint>::Started>,
    /// Their names.
    shape: P::Shape,
    /// Those that have ended and are still to be given out.
    ended: VecDeque<usize>,
    /// The loop.
    shared: Rc<Shared>,
    /// Where it was made.
    site: Site,
}

/// The points are boxed.
impl<P: Sequence> Unpin for AsCompleted<P> {}

impl<P: Sequence> AsCompleted<P> {
    /// Waits for the next output, and gives it with the index or key of its point; `None` once all were given.
    ///
    /// Points that had ended before come first, in the order in which they were listed; then each as it completes. Dropping the
    /// future that this returns loses nothing. A cancel reaches every unfinished child: each then gives its value or `Cancelled`.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let mut done = co.as_completed(['a', 'b'].map(std::future::ready));
    /// assert_eq!(done.next().await, Some((0, 'a')));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[expect(
        clippy::should_implement_trait,
        reason = "as on a stream: what it gives is awaited"
    )]
    pub fn next(&mut self) -> Next<'_, P> {
        Next { from: self }
    }

    /// How many outputs are still to be given.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let mut done = co.as_completed([1, 2].map(std::future::ready));
    /// assert_eq!(done.remaining(), 2);
    /// done.next().await;
    /// assert_eq!(done.remaining(), 1);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.row.left() + self.ended.len()
    }
}

/// What [`AsCompleted::next`] gives.
#[must_use = "the points are awaited only by `next().await`"]
pub struct Next<'a, P: Sequence> {
    /// Whose next output.
    from: &'a mut AsCompleted<P>,
}

impl<P: Sequence> Future for Next<'_, P> {
    type Output = Option<(P::Name, <P::Point as YieldPoint>::Output)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self.from;
        if this.ended.is_empty() {
            let ended = &mut this.ended;
            this.row.advance(cx, |index, _| {
                ended.push_back(index);
                ControlFlow::Continue(())
            });
        }
        if let Some(index) = this.ended.pop_front() {
            return Poll::Ready(Some((this.shape.name(index), this.row.take(index))));
        }
        if this.row.left() == 0 {
            return Poll::Ready(None);
        }
        this.shared.parked_on(Note {
            kind: &AS_COMPLETED,
            site: Some(this.site),
        });
        Poll::Pending
    }
}

impl<P: Sequence> fmt::Debug for AsCompleted<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted")
            .field("site", &self.site)
            .field("remaining", &self.remaining())
            .finish_non_exhaustive()
    }
}

impl<P: Sequence> fmt::Debug for Next<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("from", &self.from).finish()
    }
}

impl Co {
    /// Starts several points of one type in order, and gives their outputs in the order in which they come.
    ///
    /// They are first polled by [`next`](AsCompleted::next): that is when the function of a `Task` is called. Dropping the whole drops
    /// the points that have not ended, as [`Co::first`] does with its losers.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use yieldpoint::{EventLoop, Result, Sleep, ms};
    ///
    /// EventLoop::new()?.block_on(async |co| -> Result {
    ///     let naps = BTreeMap::from([("long", Sleep::new(ms(3))), ("short", Sleep::new(ms(1)))]);
    ///     let mut done = co.as_completed(naps);
    ///     let mut order = vec![];
    ///     while let Some((name, slept)) = done.next().await {
    ///         slept?;
    ///         order.push(name);
    ///     }
    ///     assert_eq!(order, ["short", "long"]);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    ///
    /// Source: `tornado.gen.WaitIterator`.
    #[track_caller]
    #[doc(alias = "WaitIterator")]
    #[doc(alias = "FuturesUnordered")]
    pub fn as_completed<P: Sequence>(&self, points: P) -> AsCompleted<P> {
        let site = Location::caller();
        let Listed { mut row, shape } = points.start(self);
        row.poll_as_woken();
        AsCompleted {
            row,
            shape: shape.expect("nothing was waited for yet"),
            ended: VecDeque::new(),
            shared: Rc::clone(self.handle().shared()),
            site,
        }
    }
}
