//! [`Task`]: calls a function that takes a callback, and waits for that callback.
//!
//! ```text
//!              first poll: call the function          resolver called, or dropped
//!   Uncalled ───────────────────────────────▶ Waiting ────────────────────────────▶ Done
//!       └──────────── the function gives Err ───────────────────────────────────────▲
//! ```

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::coroutine::Co;
use crate::error::{Error, ErrorKind, Result};
use crate::oneshot::{Missing, OneShot, Resolver};
use crate::site::Site;
use crate::waiter::{Kind, Note};
use crate::yield_point::YieldPoint;

static TASK: Kind = Kind("task");

/// The yield-point that calls a callback-taking function and waits for its callback. It is *not* a spawned unit: that is a coroutine.
///
/// The function is called when the point is first awaited, and gets a [`Resolver`]. It may resolve at once: the coroutine then goes
/// on without giving way, however often that happens in a row.
///
/// ```
/// # use yieldpoint::{EventLoop, Result, Task};
/// # EventLoop::new()?.block_on(async |co| -> Result {
/// let square = |n: u32| Task::new(move |done| done.resolve(n * n)); // not called yet
/// let [four, nine] = co.all([square(2), square(3)]).await;
/// assert_eq!((four?, nine?), (4, 9));
/// # Ok(())
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
///
/// Source: `tornado.gen.Task` of Tornado 2.2 to 3.2 (lazy).
#[must_use = "a yield-point does nothing until it is yielded"]
pub struct Task<F, T> {
    /// The function.
    call: F,
    /// Where it was made.
    site: Site,
    /// What its callback takes.
    value: PhantomData<fn(T)>,
}

/// What a function called by a [`Task`] may return: nothing, or a `Result` whose `Err` ends the wait at once.
#[diagnostic::on_unimplemented(
    message = "the function of a `Task` may return `()` or `Result<(), E>`, not `{Self}`",
    note = "where the API returns something else, such as an id, end the function with `;`"
)]
pub trait TaskReturn: sealed::Sealed {
    /// The error, if it is one.
    #[doc(hidden)]
    fn into_result(self) -> Result;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for () {}
    impl<E> Sealed for Result<(), E> {}
}

impl TaskReturn for () {
    #[inline]
    fn into_result(self) -> Result {
        Ok(())
    }
}

impl<E: Into<Error>> TaskReturn for Result<(), E> {
    fn into_result(self) -> Result {
        self.map_err(Into::into)
    }
}

impl<F, T, R> Task<F, T>
where
    F: FnOnce(Resolver<T>) -> R,
    R: TaskReturn,
{
    /// A point that will call `call`.
    #[track_caller]
    pub fn new(call: F) -> Self {
        Task {
            call,
            site: Location::caller(),
            value: PhantomData,
        }
    }
}

impl<F, T, R> YieldPoint for Task<F, T>
where
    F: FnOnce(Resolver<T>) -> R,
    T: 'static,
    R: TaskReturn,
{
    type Output = Result<T>;
    type Started = TaskStarted<F, T>;

    #[inline]
    fn start(self, co: &Co) -> TaskStarted<F, T> {
        TaskStarted {
            call: Some(self.call),
            cell: Some(OneShot::waiting(co.handle().shared(), self.site)),
        }
    }
}

impl<F, T> fmt::Debug for Task<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

/// A [`Task`] that is awaited. Dropping it gives the wait up; the operation goes on, and what it calls back with is dropped.
#[must_use = "a task does nothing until it is awaited"]
pub struct TaskStarted<F, T> {
    /// The function, until it is called.
    call: Option<F>,
    /// What its callback fills. It knows where the task was made, and leads to the loop. Gone once the output was given.
    cell: Option<Rc<OneShot<T>>>,
}

/// The function is moved out to be called and never pinned.
impl<F, T> Unpin for TaskStarted<F, T> {}

impl<F, T, R> Future for TaskStarted<F, T>
where
    F: FnOnce(Resolver<T>) -> R,
    T: 'static,
    R: TaskReturn,
{
    type Output = Result<T>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let this = self.get_mut();
        let Some(cell) = &this.cell else {
            return Poll::Pending;
        };
        if let Some(call) = this.call.take()
            && let Err(error) = call(OneShot::resolver(cell)).into_result()
        {
            this.cell = None;
            return Poll::Ready(Err(error));
        }
        let note = Note {
            kind: &TASK,
            site: Some(cell.created_at()),
        };
        match cell.poll(cx, note) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(value)) => {
                if let Some(cell) = this.cell.take() {
                    cell.keep();
                }
                Poll::Ready(Ok(value))
            }
            Poll::Ready(Err(missing)) => {
                let site = cell.created_at();
                this.cell = None;
                Poll::Ready(Err(failed(missing, site)))
            }
        }
    }
}

/// The error of a task that gave no value.
#[cold]
fn failed(missing: Missing, site: Site) -> Error {
    match missing {
        Missing::Cancelled(cancel) => cancel,
        Missing::Lost | Missing::Taken => ErrorKind::Abandoned {
            key: None,
            created_at: site,
            waited_at: site,
        }
        .into(),
    }
}

/// What is still there is taken out first, so that where nothing is, which is the most frequent, nothing more is looked at.
impl<F, T> Drop for TaskStarted<F, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(cell) = self.cell.take() {
            give_up(cell);
        }
    }
}

/// Gives a wait up.
#[cold]
fn give_up<T>(cell: Rc<OneShot<T>>) {
    cell.unpark();
    drop(cell);
}

impl<F, T> fmt::Debug for TaskStarted<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let site = self.cell.as_ref().map(|cell| cell.created_at());
        f.debug_struct("TaskStarted")
            .field("site", &site)
            .finish_non_exhaustive()
    }
}

impl Co {
    /// Calls a callback-taking function when first awaited, and waits for its callback. See [`Task`].
    ///
    /// # Errors
    /// `Abandoned` if the callback is dropped uncalled; what the function itself returns as `Err`; `Cancelled`.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Handle, Result, ms};
    /// /// Some old API: answers later, through a callback.
    /// fn fetch(handle: &Handle, url: &str, callback: impl FnOnce(usize) + 'static) {
    ///     let n = url.len();
    ///     handle.call_later(ms(1), move || callback(n));
    /// }
    /// let n = EventLoop::new()?.block_on(async |co| -> Result<usize> {
    ///     co.task(|done| fetch(co.handle(), "http://localhost", done.into_fn())).await
    /// })?;
    /// assert_eq!(n, 16);
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    #[doc(alias = "gen.Task")]
    #[doc(alias = "oneshot")]
    pub fn task<T, R, F>(&self, call: F) -> TaskStarted<F, T>
    where
        F: FnOnce(Resolver<T>) -> R,
        T: 'static,
        R: TaskReturn,
    {
        Task::new(call).start(self)
    }
}
