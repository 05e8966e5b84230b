//! [`Timeout`]: a yield-point with a limit to how long it may take.
//!
//! Invariants:
//! 1. The point is asked before the clock: a result that is there when the coroutine is resumed beats a limit that is over, and a cancel is
//!    the point's to take.
//! 2. No timer is armed before the point has said that it must wait, and none is left once this has ended.
//! 3. A cancel does not end a point that is waiting in a clean-up; the limit does.
//!
//! ```text
//!   Waiting ── the point gives its result ──▶ the timer is given back ──▶ Done: that result
//!      └────── the limit is over ──▶ the point is dropped ──▶ Done: Err(Elapsed)
//! ```

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::cleanup::{Shield, Within};
use crate::coroutine::Co;
use crate::error::{Error, ErrorKind};
use crate::shared::Shared;
use crate::site::Site;
use crate::sleep::{Sleep, SleepStarted};
use crate::waiter::{Kind, Note};
use crate::yield_point::YieldPoint;

static TIMEOUT: Kind = Kind("timeout");

/// The yield-point that gives another one a limit. See [`Co::timeout`].
///
/// ```
/// use yieldpoint::{EventLoop, Result, Task, Timeout, ms};
///
/// EventLoop::new()?.block_on(async |co| -> Result {
///     let limited = |n| Timeout::new(ms(50), Task::new(move |done| done.resolve(n)));
///     let [one, two] = co.all([limited(1), limited(2)]).await;
///     assert_eq!((one?, two?), (1, 2));
///     Ok(())
/// })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
///
/// Source: `tornado.gen.with_timeout`, and `WithTimeout` of yieldpoints.
#[must_use = "a yield-point does nothing until it is yielded"]
#[derive(Debug)]
pub struct Timeout<P> {
    /// The point.
    point: P,
    /// The limit.
    limit: Duration,
    /// Where it was made.
    site: Site,
}

impl<P> Timeout<P> {
    /// A point that waits for `point`, but for no longer than `limit`.
    #[track_caller]
    pub fn new(limit: Duration, point: P) -> Self {
        Timeout {
            point,
            limit,
            site: Location::caller(),
        }
    }
}

impl<P, T, E> YieldPoint for Timeout<P>
where
    P: YieldPoint<Output = Result<T, E>>,
    E: From<Error>,
{
    type Output = Result<T, E>;
    type Started = TimeoutStarted<P::Started>;

    fn start(self, co: &Co) -> Self::Started {
        TimeoutStarted {
            point: Some(self.point.start(co)),
            sleep: Some(Sleep::new(self.limit).start(co)),
            cleanups: Within::default(),
            limit: self.limit,
            shared: Rc::clone(co.handle().shared()),
            site: self.site,
        }
    }
}

pin_project! {
    /// A [`Timeout`] that is awaited. Dropping it drops the point, and gives the timer's memory back at once.
    #[must_use = "a time-out does nothing until it is awaited"]
    pub struct TimeoutStarted<F> {
        #[pin]
        point: Option<F>,
        sleep: Option<SleepStarted>,
        limit: Duration,
        shared: Rc<Shared>,
        cleanups: Within,
        site: Site,
    }
}

impl<F, T, E> Future for TimeoutStarted<F>
where
    F: Future<Output = Result<T, E>>,
    E: From<Error>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (Some(point), Some(sleep)) = (this.point.as_mut().as_pin_mut(), &mut this.sleep) else {
            return Poll::Pending;
        };
        this.shared.parked_on(Note::FOREIGN);
        let (result, cleaning) = this.cleanups.watch(this.shared, || point.poll(cx));
        let result = match result {
            Poll::Ready(result) => result,
            Poll::Pending => {
                let inner = this.shared.note();
                let _shield = cleaning.then(|| Shield::raise(this.shared));
                match Pin::new(sleep).poll(cx) {
                    Poll::Ready(Ok(())) => Err(E::from(
                        ErrorKind::Elapsed {
                            limit: *this.limit,
                            site: this.site,
                        }
                        .into(),
                    )),
                    Poll::Ready(Err(cancel)) => Err(E::from(cancel)),
                    Poll::Pending => {
                        let outer = Note {
                            kind: &TIMEOUT,
                            site: Some(this.site),
                        };
                        this.shared.parked_inside(inner, outer);
                        return Poll::Pending;
                    }
                }
            }
        };
        *this.sleep = None;
        this.point.set(None);
        Poll::Ready(result)
    }
}

impl<F> fmt::Debug for TimeoutStarted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeoutStarted")
            .field("limit", &self.limit)
            .field("site", &self.site)
            .field("done", &self.sleep.is_none())
            .finish_non_exhaustive()
    }
}

impl Co {
    /// Waits for a yield-point whose output is a `Result`, any such future among them, but for no longer than `limit`.
    ///
    /// The result stays one layer: `Elapsed` and `Cancelled` come as the point's own error type. The limit counts from the first time
    /// this is awaited and still waiting, read at the loop's next look; it never ends early. A result that is there when the coroutine is
    /// resumed beats the limit, be it zero, and a point that is ready at once costs no timer. The function of a `Task` is called before the
    /// limit begins.
    ///
    /// At the limit the point is dropped: the key of a [`Wait`](crate::Wait) stays pending (wait for it again, or forget it), the
    /// operation of a [`Task`](crate::Task) goes on and its result is dropped, a coroutine that is joined runs on. To limit a future whose output is
    /// no `Result`, make it one with [`Co::cancellable`].
    ///
    /// # Errors
    /// `Elapsed` at the limit; what the point gives; `Cancelled`, which goes to the point first.
    ///
    /// ```
    /// use yieldpoint::{EventLoop, Result, ms};
    ///
    /// EventLoop::new()?.block_on(async |co| -> Result {
    ///     let reply = co.callback::<&str>("reply")?;
    ///     let late = co.timeout(ms(1), co.wait::<&str>("reply")).await.expect_err("nobody replies");
    ///     assert!(late.is_elapsed());
    ///     reply.resolve("at last");
    ///     assert_eq!(co.timeout(ms(0), co.wait::<&str>("reply")).await?, "at last"); // the key was still pending
    ///     assert_eq!(co.handle().snapshot().timers, 0);
    ///     Ok(())
    /// })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "with_timeout")]
    #[doc(alias = "WithTimeout")]
    pub fn timeout<P, T, E>(&self, limit: Duration, point: P) -> TimeoutStarted<P::Started>
    where
        P: YieldPoint<Output = Result<T, E>>,
        E: From<Error>,
    {
        Timeout::new(limit, point).start(self)
    }
}
