//! The end of a coroutine, seen from outside: [`JoinHandle`].
//!
//! It is apart from the Runner because whoever joins may be anywhere, also outside of every coroutine.
//!
//! Invariants:
//! 1. The handle of a coroutine that ended, however it ended, gives a result: it never stays open.
//! 2. An `Err` that nobody takes is reported once, when that is certain: at the end if the handle is gone by then, else when it is dropped.
//! 3. A coroutine that was asked to end is not reported for ending so.
//!
//! ```text
//!            finish, end              poll
//!   Running ─────────────▶ Ended ────────────▶ Taken
//!      │                     └── handle dropped: an Err is reported
//!      └ handle dropped ─▶ Detached ── finish, end: an Err is reported
//! ```

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::arena::Id;
use crate::error::{Error, ErrorKind};
use crate::handle::take_leaks;
use crate::incident::Incident;
use crate::record::{Ending, Flags};
use crate::roster::public_id;
use crate::shared::Shared;
use crate::site::Site;
use crate::snapshot::{CoroutineId, Label};
use crate::waiter::{Kind, Note, WaiterSlot};
use crate::waiting::Waiting;
use crate::waits::{Awaited, Edge, Holders};

static JOIN: Kind = Kind("join");

/// Where a coroutine's result waits to be taken.
pub(crate) struct JoinCell<T, E> {
    /// The loop it runs on.
    shared: Rc<Shared>,
    /// The coroutine.
    id: Id,
    /// Who joins it.
    slot: Cell<WaiterSlot>,
    /// What has happened. Apart from the result: the two written singly and read back as one would stall the CPU.
    phase: Cell<Phase>,
    /// Whether dropping the handle cancels the coroutine.
    cancel_on_drop: Cell<bool>,
    /// The result, while the phase is `Ended`.
    end: Cell<Option<End<T, E>>>,
}

/// What has happened to a coroutine; see the module's diagram.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not ended.
    Running,
    /// Not ended, and nobody will take the result.
    Detached,
    /// Ended, and the result not taken.
    Ended,
    /// The result was taken.
    Taken,
}

/// How a coroutine ended.
enum End<T, E> {
    /// Well.
    Value(T),
    /// With an error. The label is for the report, if nobody takes it.
    Failed(Box<(E, Option<Label>)>),
    /// From outside. Who joins turns it into an `E`: that is user code, and might panic here, where nobody could be told.
    Dead(Error),
}

impl<T, E> JoinCell<T, E> {
    /// The cell of a coroutine that has just been entered.
    #[inline]
    pub(crate) fn new(shared: &Rc<Shared>, id: Id) -> Rc<Self> {
        Rc::new(JoinCell {
            shared: Rc::clone(shared),
            id,
            slot: Cell::new(WaiterSlot::EMPTY),
            phase: Cell::new(Phase::Running),
            cancel_on_drop: Cell::new(false),
            end: Cell::new(None),
        })
    }

    /// A cell for another coroutine of the same loop.
    #[cold]
    pub(crate) fn another(&self, id: Id) -> Rc<Self> {
        Self::new(&self.shared, id)
    }

    /// Makes the cell, which nobody else holds, that of another coroutine.
    #[inline]
    pub(crate) fn reuse(&mut self, id: Id) {
        self.id = id;
        self.slot.set(WaiterSlot::EMPTY);
        self.phase.set(Phase::Running);
        self.cancel_on_drop.set(false);
    }

    /// Stores how it ended and wakes who joins.
    /// Gives the end back if nobody will take it.
    #[inline]
    fn settle(&self, end: End<T, E>) -> Option<End<T, E>> {
        if self.phase.get() != Phase::Running {
            return Some(end);
        }
        // There was none before: forgetting that saves the look whether it must be dropped.
        std::mem::forget(self.end.replace(Some(end)));
        self.phase.set(Phase::Ended);
        let slot = self.slot.get();
        self.slot.set(slot.vacated());
        self.shared.wake_waiter(slot);
        None
    }
}

impl<T, E> End<T, E> {
    /// An end with an error.
    #[cold]
    fn failed(error: E, label: Option<Label>) -> Self {
        End::Failed(Box::new((error, label)))
    }
}

impl<T: 'static, E: From<Error> + fmt::Display + 'static> JoinCell<T, E> {
    /// Takes the body's own result, and what keys it left.
    #[inline]
    pub(crate) fn finish(&self, result: Result<T, E>) {
        let rare = {
            let records = self.shared.records.borrow();
            records
                .get(self.id)
                .is_some_and(|record| record.rare().is_some())
        };
        match result {
            Ok(value) if !rare => drop(self.settle(End::Value(value))),
            result => self.finish_rare(result),
        }
    }

    /// The same for a coroutine that failed, has keys or a name, or was cancelled.
    #[cold]
    fn finish_rare(&self, result: Result<T, E>) {
        let shared = &*self.shared;
        let Some(label) = shared.label(self.id) else {
            return;
        };
        let cancelled = {
            let records = shared.records.borrow();
            let record = records
                .get(self.id)
                .filter(|record| record.flags.has(Flags::CANCELLED));
            record.and_then(|record| record.rare()?.cancel.clone())
        };
        let keys = take_leaks(shared, self.id);
        match (result, cancelled) {
            // A child's cancel is another error to who joins it than his own would be.
            (Err(mut error), Some(cause)) => {
                match Error::find_mut(&mut error) {
                    Some(own) if own.is_cancelled() => {
                        let (reason, site) = (cause.reason, cause.site);
                        *own = ErrorKind::CoroutineCancelled {
                            coroutine: label,
                            reason,
                            site,
                            swallowed: false,
                            keys,
                        }
                        .into();
                        drop(self.settle(End::failed(error, None)));
                    }
                    // Not what was asked for.
                    Some(_) => {
                        shared.report_leaks(&label, keys);
                        self.fail(error, label);
                    }
                    // It may well be the cancel in the user's own words.
                    None => {
                        shared.report_leaks(&label, keys);
                        drop(self.settle(End::failed(error, None)));
                    }
                }
            }
            (Ok(value), None) if !keys.is_empty() => {
                drop(value);
                let leaked = ErrorKind::Leaked {
                    coroutine: label.clone(),
                    keys,
                };
                self.fail(E::from(leaked.into()), label);
            }
            (Ok(value), _) => {
                shared.report_leaks(&label, keys);
                drop(self.settle(End::Value(value)));
            }
            (Err(error), None) => {
                shared.report_leaks(&label, keys);
                self.fail(error, label);
            }
        }
    }

    /// Stores an error, or reports it if nobody will take it.
    fn fail(&self, error: E, label: Label) {
        if let Some(end) = self.settle(End::failed(error, Some(label))) {
            self.report(end);
        }
    }

    /// Reports an end that nobody took, if it was an error.
    #[cold]
    fn report(&self, end: End<T, E>) {
        match end {
            End::Value(_) => {}
            End::Failed(failed) => {
                if let (error, Some(label)) = *failed {
                    report_untaken(&self.shared, &error, label);
                }
            }
            End::Dead(error) => report_dead(&self.shared, &error),
        }
    }
}

/// Reports a panic that nobody took. What was asked for, or is reported by who asked, needs no second report.
fn report_dead(shared: &Shared, error: &Error) {
    if let ErrorKind::Panicked { coroutine, message } = error.kind() {
        shared.report(&Incident::Panicked {
            coroutine: coroutine.clone(),
            message: message.to_string(),
            during: "coroutine",
        });
    }
}

/// Reports an error that nobody took.
fn report_untaken<E: fmt::Display>(shared: &Shared, error: &E, coroutine: Label) {
    if let Some(error) = shared.contain("error's Display", || error.to_string()) {
        shared.report(&Incident::Untaken { coroutine, error });
    }
}

impl<T: 'static, E: From<Error> + fmt::Display + 'static> Ending for JoinCell<T, E> {
    fn end(&self, error: Error) {
        if let Some(end) = self.settle(End::Dead(error)) {
            self.report(end);
        }
    }
}

/// The result of a spawned coroutine: await it to join.
///
/// Awaiting gives the body's own `Result`, flat: what ended it from outside comes as `E` too. Dropping the handle lets the coroutine
/// run on, unless [`cancel_on_drop`](JoinHandle::cancel_on_drop) was asked for; an `Err` or a panic that nobody takes then goes to
/// the error hook.
///
/// ```
/// # use yieldpoint::{EventLoop, Result};
/// # EventLoop::new()?.block_on(async |co| -> Result {
/// let join = co.handle().spawn(async |_| -> Result<u32> { Ok(42) }).named("answer");
/// assert_eq!(join.await?, 42);
/// # Ok(())
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
///
/// Polled by another executor of the same thread, it works as well. Polled again after it has given its result, it pends for ever.
pub struct JoinHandle<T = (), E: From<Error> + fmt::Display + 'static = Error>
where
    T: 'static,
{
    /// Where the result is.
    cell: Rc<JoinCell<T, E>>,
    /// Where the handle was made, for what it does when it is dropped.
    site: Site,
    /// The wait, as circles through ordered engines are found by it. In a box, since most programs join without one.
    waiting: Option<Box<Waiting>>,
}

impl<T: 'static, E: From<Error> + fmt::Display + 'static> JoinHandle<T, E> {
    /// The handle for this cell.
    pub(crate) fn new(cell: Rc<JoinCell<T, E>>, site: Site) -> Self {
        JoinHandle {
            cell,
            site,
            waiting: None,
        }
    }

    /// Lets the coroutine run on, or cancels it; reports how it ended, if it has ended with an error.
    fn let_go(&self) {
        let cell = &*self.cell;
        cell.slot.set(cell.shared.unpark(cell.slot.get()));
        if cell.phase.get() == Phase::Running {
            cell.phase.set(Phase::Detached);
            if cell.cancel_on_drop.get() {
                let reason = Cow::Borrowed("its join handle was dropped");
                cell.shared.cancel(cell.id, reason, self.site);
            }
        } else {
            cell.phase.set(Phase::Taken);
            if let Some(end) = cell.end.take() {
                cell.report(end);
            }
        }
    }

    /// The handle of a coroutine that could not be started.
    pub(crate) fn failed(shared: &Rc<Shared>, site: Site, error: Error) -> Self {
        let cell = JoinCell::new(shared, Id::NONE);
        cell.end.set(Some(End::Dead(error)));
        cell.phase.set(Phase::Ended);
        JoinHandle::new(cell, site)
    }

    /// The coroutine's id.
    #[must_use]
    pub fn id(&self) -> CoroutineId {
        public_id(self.cell.id)
    }

    /// Gives the coroutine a name for reports.
    #[expect(
        clippy::return_self_not_must_use,
        reason = "named for its effect, and detached"
    )]
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.cell.shared.set_name(self.cell.id, name.into());
        self
    }

    /// Lets the coroutine run on by itself: the same as dropping the handle, said aloud. An `Err` or a panic goes to the error hook.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result};
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.handle().spawn(async |co| -> Result { co.yield_now().await }).named("by itself").detach();
    /// let _ = event_loop.run()?;
    /// assert!(event_loop.snapshot().coroutines.is_empty());
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn detach(self) {
        drop(self);
    }

    /// Whether the coroutine has ended, so that awaiting gives its result at once.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.cell.phase.get() != Phase::Running
    }

    /// Asks the coroutine to end. Tells whether it had not ended yet.
    ///
    /// One that has not started is dropped unrun. Otherwise every yield-point of ours on which it is parked gives `Cancelled` with
    /// this reason and place, unless its value has arrived: that wins, and the next point it waits on gives the cancel. From then on
    /// the body may run, and may wait inside [`Co::cleanup`](crate::Co::cleanup) only; if it parks on anything else, it is dropped
    /// there and that is reported. The first reason stands.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, ErrorKind, Result, ms};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let join = co.handle().spawn(async |co| -> Result { co.sleep(ms(60_000)).await });
    /// co.yield_now().await?; // it starts, and sleeps
    /// join.cancel("no longer needed");
    /// let error = join.await.expect_err("it was cancelled");
    /// assert!(matches!(error.kind(), ErrorKind::CoroutineCancelled { reason, .. } if reason == "no longer needed"));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    pub fn cancel(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        self.cell
            .shared
            .cancel(self.cell.id, reason.into(), Location::caller())
    }

    /// Drops the coroutine's body where it stands, at its place in the ready queue, without telling it. Who joins gets `Aborted`.
    /// Tells whether it had not ended yet.
    ///
    /// ```
    /// # use yieldpoint::{ErrorKind, EventLoop, Result, ms};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let join = co.handle().spawn(async |co| -> Result { co.sleep(ms(60_000)).await });
    /// assert!(join.abort());
    /// assert!(matches!(join.await.unwrap_err().kind(), ErrorKind::Aborted { .. }));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    pub fn abort(&self) -> bool {
        self.cell.shared.abort(self.cell.id, Location::caller())
    }

    /// Makes dropping the handle cancel the coroutine.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result, ms};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let join = co.handle().spawn(async |co| -> Result { co.sleep(ms(60_000)).await });
    /// drop(join.cancel_on_drop());
    /// co.yield_now().await?;
    /// assert_eq!(co.handle().snapshot().coroutines.len(), 1, "this one alone is left");
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[must_use = "dropping the handle cancels the coroutine"]
    #[track_caller]
    pub fn cancel_on_drop(mut self) -> Self {
        self.cell.cancel_on_drop.set(true);
        self.site = Location::caller();
        self
    }
}

impl<T: 'static, E: From<Error> + fmt::Display + 'static> JoinHandle<T, E> {
    /// Enters the wait, or refuses it: what is joined may wait for who joins, in a queue of an ordered engine.
    #[cold]
    fn poll_waiting(&mut self) -> Poll<Result<T, E>> {
        let edge = Edge {
            to: Rc::clone(&self.cell) as Rc<dyn Awaited>,
            place: Id::NONE,
            what: "the end",
        };
        let cell = &self.cell;
        let mut waiting = self.waiting.take().map(|waiting| *waiting);
        let entered = cell.shared.wait_for(&mut waiting, edge, self.site);
        self.waiting = waiting.map(Box::new);
        match entered {
            Ok(()) => Poll::Pending,
            Err(error) => {
                cell.slot.set(cell.shared.unpark(cell.slot.get()));
                self.waiting = None;
                Poll::Ready(Err(E::from(error)))
            }
        }
    }
}

impl<T: 'static, E: From<Error> + fmt::Display + 'static> JoinHandle<T, E> {
    /// Takes the wait out, now that it is over, and a lent permit back.
    #[cold]
    fn poll_waited(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting.take().map(|waiting| *waiting);
        let over = Waiting::poll_over(&mut waiting, cx, self.site);
        self.waiting = waiting.map(Box::new);
        over
    }
}

impl<T: 'static, E: 'static> Awaited for JoinCell<T, E> {
    fn holders(&self, _place: Id) -> Holders {
        Holders::One(self.id)
    }

    fn name(&self, _place: Id) -> String {
        let label = self.shared.label(self.id);
        label.map_or_else(|| "a coroutine".to_owned(), |label| label.to_string())
    }

    fn actor(&self, place: Id) -> String {
        self.name(place)
    }
}

impl<T: 'static, E: From<Error> + fmt::Display + 'static> Future for JoinHandle<T, E> {
    type Output = Result<T, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.waiting.is_some() && this.is_finished() {
            ready!(this.poll_waited(cx));
        }
        let cell = &*this.cell;
        match cell.phase.get() {
            Phase::Ended => {
                cell.phase.set(Phase::Taken);
                match cell.end.take() {
                    Some(End::Value(value)) => Poll::Ready(Ok(value)),
                    Some(End::Failed(failed)) => Poll::Ready(Err(failed.0)),
                    Some(End::Dead(error)) => Poll::Ready(Err(E::from(error))),
                    None => Poll::Pending,
                }
            }
            Phase::Taken => Poll::Pending,
            Phase::Running | Phase::Detached => {
                let slot = cell.slot.get();
                match cell.shared.park(
                    slot,
                    cx,
                    Note {
                        kind: &JOIN,
                        site: Some(this.site),
                    },
                ) {
                    Ok(slot) => {
                        cell.slot.set(slot);
                        if cell.shared.engines.get() == 0 {
                            return Poll::Pending;
                        }
                        this.poll_waiting()
                    }
                    Err(cancel) => {
                        cell.slot.set(WaiterSlot::EMPTY);
                        this.waiting = None;
                        Poll::Ready(Err(E::from(cancel)))
                    }
                }
            }
        }
    }
}

impl<T: 'static, E: From<Error> + fmt::Display + 'static> Drop for JoinHandle<T, E> {
    #[inline]
    fn drop(&mut self) {
        // Once the result was taken, nobody is parked either.
        if self.cell.phase.get() != Phase::Taken {
            self.let_go();
        }
    }
}

impl<T: 'static, E: From<Error> + fmt::Display + 'static> fmt::Debug for JoinHandle<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.id())
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}
