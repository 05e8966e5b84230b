//! The Runner: drives one coroutine's body and takes its end.
//!
//! One Runner drives all three ways to write a coroutine: an async closure, a hand-written [`Coroutine`](crate::Coroutine), and any
//! future. Each is a state machine that is polled; its yield-points park it, and what they deliver is what the poll sends back in.
//!
//! Invariants:
//! 1. A coroutine costs one allocation beside its record, whatever it returns: the Runner, which holds the body and then its end.
//! 2. The body is not wrapped in a further future, which would double its memory.
//!
//! ```text
//!            resume              point parks            point wakes
//!   spawned ───────▶ in the body ───────────▶ parked ───────────────▶ ready ── resume ──▶ in the body
//!                        │
//!                        └── returns ──▶ the end in its place ──▶ leaked keys? ──▶ joiner ready
//! ```

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::future::{Future, Ready};
use std::panic::Location;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::arena::Id;
use crate::bodies::Root;
use crate::coroutine::Co;
use crate::error::{Error, ErrorKind, Result};
use crate::event_loop::{EventLoop, Outcome};
use crate::handle::{Handle, Remote, take_leaks};
use crate::incident::Incident;
use crate::job::Job;
use crate::join::{End, JoinHandle};
use crate::record::{Body, Ended, Report, Standing};
use crate::records::Tie;
use crate::shared::Shared;
use crate::shelves::Shelves;
use crate::site::Site;

pin_project! {
    /// A spawned body, and then its end.
    #[project = RunnerProjection]
    enum Runner<F, T, E> {
        /// It has not ended.
        Running {
            #[pin]
            body: F,
        },
        /// It has; nothing once the end was taken.
        Ended { end: Option<End<T, E>> },
    }
}

impl<F, T, E> Runner<F, T, E> {
    /// The end, to change.
    fn end_mut(self: Pin<&mut Self>) -> Option<&mut Option<End<T, E>>> {
        match self.project() {
            RunnerProjection::Running { .. } => None,
            RunnerProjection::Ended { end } => Some(end),
        }
    }
}

impl<F, T, E> Body for Runner<F, T, E>
where
    F: Future<Output = Result<T, E>> + 'static,
    T: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    #[inline]
    fn resume(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let RunnerProjection::Running { body } = self.as_mut().project() else {
            return Poll::Pending;
        };
        let (end, how) = match body.poll(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(value)) => (End::Value(value), Ended::Well),
            Poll::Ready(Err(error)) => (End::failed(error), Ended::Badly),
        };
        self.set(Runner::Ended { end: Some(end) });
        Poll::Ready(how)
    }

    fn judge(self: Pin<&mut Self>, standing: Standing, report: Report<'_>) {
        if let Some(place) = self.end_mut()
            && let Some(end) = place.take()
        {
            *place = Some(end.judged(standing, report));
        }
    }

    fn vacate(mut self: Pin<&mut Self>) {
        self.set(Runner::Ended { end: None });
    }

    fn end(self: Pin<&mut Self>, error: Error) {
        if let Some(place) = self.end_mut() {
            *place = Some(End::Dead(error));
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self, Runner::Ended { end: Some(_) })
    }

    fn is_empty(&self) -> bool {
        matches!(self, Runner::Ended { end: None })
    }

    fn give(self: Pin<&mut Self>, out: &mut dyn Any) {
        if let Some(end) = self.end_mut()
            && let Some(out) = out.downcast_mut::<Option<End<T, E>>>()
        {
            // There was none before: forgetting that saves the look whether it must be dropped.
            std::mem::forget(std::mem::replace(out, end.take()));
        }
    }

    fn discard(self: Pin<&mut Self>, report: Report<'_>) {
        let end = self.end_mut().and_then(Option::take);
        if let Some(end) = end {
            end.discard(report);
        }
    }

    fn lend(self: Pin<Box<Self>>, out: &mut dyn Any, shelves: &mut Shelves) {
        match out.downcast_mut::<Option<Pin<Box<Self>>>>() {
            Some(out) => std::mem::forget(out.replace(self)),
            None => shelves.put_aside(self),
        }
    }

    fn put_back(self: Pin<Box<Self>>, shelves: &mut Shelves) {
        shelves.put(self);
    }
}

impl Handle {
    /// Spawns a coroutine. It starts in its turn, behind everything that is ready now, and never inside this call.
    ///
    /// The body gets its [`Co`] by value and may hold what is not `Send`. Its `Result` is what joining gives; see [`JoinHandle`] for
    /// what happens to one that nobody joins. On a loop that is gone, the body is dropped unrun and joining gives `LoopGone`.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result, ms};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let slow = co.handle().spawn(async |co| -> Result<&str> { co.sleep(ms(2)).await?; Ok("slow") });
    /// let fast = co.handle().spawn(async |co| -> Result<&str> { co.sleep(ms(1)).await?; Ok("fast") });
    /// assert_eq!((slow.await?, fast.await?), ("slow", "fast"));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[doc(alias = "engine")]
    #[doc(alias = "spawn_local")]
    #[track_caller]
    pub fn spawn<F, T, E>(&self, body: F) -> JoinHandle<T, E>
    where
        F: AsyncFnOnce(Co) -> Result<T, E> + 'static,
        T: 'static,
        E: From<Error> + fmt::Display + 'static,
    {
        let site = Location::caller();
        let id = match Entered::new(self.shared(), site) {
            Ok(entered) => {
                let co = Co::new(self.clone(), entered.id);
                let body = body(co);
                start(entered, body, site)
            }
            Err(gone) => refused::<T, E>(self.shared(), site, gone),
        };
        JoinHandle::new(Rc::clone(self.shared()), id)
    }

    /// Spawns any standard future as a coroutine; joining gives its output.
    ///
    /// A future whose output is a `Result` keeps it: joining gives `Result<Result<..>>`, and an inner `Err` is nobody's but the joiner's.
    /// To have it watched, spawn `async |_| future.await` instead.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let join = co.handle().spawn_future(async { 6 * 7 });
    /// assert_eq!(join.await?, 42);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    #[doc(alias = "spawn_local")]
    pub fn spawn_future<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: 'static> + 'static,
    {
        let site = Location::caller();
        let id = match Entered::new(self.shared(), site) {
            Ok(entered) => start(entered, Infallibly { future }, site),
            Err(gone) => refused::<F::Output, Error>(self.shared(), site, gone),
        };
        JoinHandle::new(Rc::clone(self.shared()), id)
    }
}

impl Remote {
    /// Spawns a coroutine from another thread. The closure crosses threads; what it makes on the loop's thread need not be `Send`.
    /// Its `Err` or panic goes to the error hook.
    ///
    /// # Errors
    /// `LoopGone` if the loop is gone.
    ///
    /// ```
    /// # use yieldpoint::{Co, EventLoop, Result, ms};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let done = co.callback::<u32>("done")?.into_send();
    /// let remote = co.handle().remote();
    /// std::thread::spawn(move || {
    ///     remote.spawn(async move |co: Co| -> Result {
    ///         co.sleep(ms(1)).await?; // on the loop's thread
    ///         done.resolve(7);
    ///         Ok(())
    ///     })
    /// });
    /// assert_eq!(co.wait::<u32>("done").await?, 7);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn<F, E>(&self, body: F) -> Result
    where
        F: AsyncFnOnce(Co) -> Result<(), E> + Send + 'static,
        E: From<Error> + fmt::Display + 'static,
    {
        let site = Location::caller();
        self.post(move |handle| {
            if let Ok(entered) = Entered::new(handle.shared(), site) {
                let co = Co::new(handle.clone(), entered.id);
                let body = body(co);
                let id = start(entered, body, site);
                drop(JoinHandle::<(), E>::new(Rc::clone(handle.shared()), id));
            }
        })
    }
}

pin_project! {
    /// A future that cannot fail, as a body that can.
    pub(crate) struct Infallibly<F> {
        #[pin]
        pub(crate) future: F,
    }
}

impl<F: Future> Future for Infallibly<F> {
    type Output = Result<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().future.poll(cx).map(Ok)
    }
}

/// A coroutine that is in the table but has no body yet: should making the body panic, it leaves the table again.
pub(crate) struct Entered<'a> {
    /// The loop.
    shared: &'a Rc<Shared>,
    /// Its place.
    pub(crate) id: Id,
    /// Whether it got its body.
    started: bool,
}

impl<'a> Entered<'a> {
    /// Enters a coroutine in the table.
    ///
    /// # Errors
    /// `LoopGone`.
    #[inline]
    pub(crate) fn new(shared: &'a Rc<Shared>, site: Site) -> Result<Self> {
        if shared.is_closed() {
            return Err(ErrorKind::LoopGone.into());
        }
        Ok(Entered {
            shared,
            id: shared.records.borrow_mut().enter(site, Tie::Joined),
            started: false,
        })
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if !self.started {
            self.shared.leave(self.id);
        }
    }
}

/// Gives an entered coroutine its body and queues it. Gives the id under which it is joined.
#[inline]
pub(crate) fn start<F, T, E>(mut entered: Entered<'_>, body: F, site: Site) -> Id
where
    F: Future<Output = Result<T, E>> + 'static,
    T: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    let (shared, id) = (entered.shared, entered.id);
    entered.started = true;
    if shared.is_closed() {
        // Whoever made the body has dropped the loop meanwhile, and with it the record.
        return refused::<T, E>(shared, site, ErrorKind::LoopGone.into());
    }
    let mut records = shared.records.borrow_mut();
    records.admit_in(id, |empty: Option<Pin<Box<Runner<F, T, E>>>>| match empty {
        // Written where it belongs: by way of another place it would be copied from what was just written, and stall the CPU.
        Some(mut runner) => {
            runner.set(Runner::Running { body });
            runner
        }
        None => Box::pin(Runner::Running { body }),
    });
    drop(records);
    shared.push(Job(id));
    id
}

/// Enters the end of a coroutine that could not be started.
#[cold]
pub(crate) fn refused<T, E>(shared: &Rc<Shared>, site: Site, error: Error) -> Id
where
    T: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    let end: Runner<Ready<Result<T, E>>, T, E> = Runner::Ended {
        end: Some(End::Dead(error)),
    };
    let end = Box::pin(end);
    shared.records.borrow_mut().insert_end(site, end)
}

pin_project! {
    /// The body of `block_on`, and where its result goes.
    struct RootRunner<'a, F, T, E> {
        #[pin]
        body: F,
        result: &'a Cell<Option<Result<T, E>>>,
        why: &'a Cell<Option<Error>>,
        shared: Rc<Shared>,
    }
}

impl<F, T, E> Body for RootRunner<'_, F, T, E>
where
    F: Future<Output = Result<T, E>>,
    E: From<Error>,
{
    fn resume(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self.project();
        let Poll::Ready(result) = this.body.poll(cx) else {
            return Poll::Pending;
        };
        this.result.set(Some(leaks(this.shared, result)));
        Poll::Ready(Ended::Well)
    }

    /// The caller of `block_on` drops its own.
    fn vacate(self: Pin<&mut Self>) {}

    fn end(self: Pin<&mut Self>, error: Error) {
        self.project().why.set(Some(error));
    }
}

/// The result of the running coroutine, once the keys it left are counted.
fn leaks<T, E: From<Error>>(shared: &Shared, result: Result<T, E>) -> Result<T, E> {
    let id = shared.running.get();
    let Some(coroutine) = shared.label(id) else {
        return result;
    };
    let keys = take_leaks(shared, id);
    match result {
        Ok(value) if !keys.is_empty() => {
            drop(value);
            Err(E::from(ErrorKind::Leaked { coroutine, keys }.into()))
        }
        Err(error) if !keys.is_empty() => {
            shared.report(&Incident::Leaked { coroutine, keys });
            Err(error)
        }
        result => result,
    }
}

impl EventLoop {
    /// Runs a coroutine to its end and gives its result. Others run meanwhile, and stay where they are when it has ended.
    ///
    /// The body may borrow from its surroundings. Its result is flat: what ends it from outside comes as `E` too.
    ///
    /// # Errors
    /// The body's own; `Leaked` if it left keys pending; `Stuck` if it can never end, `Stopped` after [`Handle::stop`]: in these
    /// two cases the body is dropped where it stands.
    ///
    /// # Panics
    /// A panic of the body goes on to the caller. The loop can be used again.
    ///
    /// Source: `IOLoop.run_sync`.
    #[doc(alias = "run_sync")]
    #[track_caller]
    pub fn block_on<F, T, E>(&mut self, body: F) -> Result<T, E>
    where
        F: AsyncFnOnce(Co) -> Result<T, E>,
        E: From<Error>,
    {
        let shared = Rc::clone(self.shared());
        let mut entered = Entered::new(&shared, Location::caller()).map_err(E::from)?;
        // It leaves the table when `entered` is dropped: after the body, which is declared later.
        entered.started = false;
        shared.records.borrow_mut().shelve_spare(entered.id);
        let id = entered.id;
        let result = Cell::new(None);
        let why = Cell::new(None);
        let body = body(Co::new(self.handle(), id));
        let (outcome, panic) = {
            let runner = RootRunner {
                body,
                result: &result,
                why: &why,
                shared: Rc::clone(&shared),
            };
            let mut runner = pin!(runner);
            let mut root = Root {
                id,
                body: runner.as_mut(),
                own: None,
                done: false,
                panic: None,
            };
            shared.push(Job(id));
            (self.drive_root(&mut root), root.panic)
        };
        if let Some(panic) = panic {
            std::panic::resume_unwind(panic);
        }
        if let Some(result) = result.take() {
            return result;
        }
        let error: Error = match (why.take(), outcome) {
            (Some(error), _) | (None, Err(error)) => error,
            (None, Ok(Outcome::Stuck(snapshot))) => ErrorKind::Stuck(snapshot).into(),
            (None, Ok(Outcome::Stopped | Outcome::Done)) => ErrorKind::Stopped.into(),
        };
        drop(take_leaks(&shared, id));
        Err(E::from(error))
    }
}
