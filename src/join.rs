//! The end of a coroutine, seen from outside: [`JoinHandle`].
//!
//! It is apart from the Runner because whoever joins may be anywhere, also outside of every coroutine. What it waits for lies in the
//! table of coroutines: first the record, which knows who joins, then in its place the end.
//!
//! Invariants:
//! 1. The handle of a coroutine that ended, however it ended, gives a result: it never stays open.
//! 2. An `Err` that nobody takes is reported once, when that is certain: at the end if the handle is gone by then, else when it is dropped.
//! 3. A coroutine that was asked to end is not reported for ending so.
//!
//! ```text
//!   record, joined ── ends ──▶ end ── poll ──▶ taken
//!      │                        └── handle dropped: an Err is reported
//!      └ handle dropped ─▶ record, loose ── ends: an Err is reported
//! ```

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::arena::Id;
use crate::error::{Error, ErrorKind};
use crate::incident::Incident;
use crate::record::{Report, Standing};
use crate::records::Left;
use crate::roster::public_id;
use crate::shared::{Shared, panic_message};
use crate::site::Site;
use crate::snapshot::{CoroutineId, Label};
use crate::waiter::{Kind, Note, WaiterSlot};
use crate::waiting::Waiting;
use crate::waits::{Awaited, Edge, Holders};

static JOIN: Kind = Kind("join");

/// How a coroutine ended.
pub(crate) enum End<T, E> {
    /// Well.
    Value(T),
    /// With an error. The label is for the report, if nobody takes it.
    Failed(Box<(E, Option<Label>)>),
    /// From outside. Who joins turns it into an `E`: that is user code, and might panic here, where nobody could be told.
    Dead(Error),
}

impl<T, E: From<Error> + fmt::Display + 'static> End<T, E> {
    /// The result of a body, to be judged if it is an error.
    #[cold]
    pub(crate) fn failed(error: E) -> Self {
        End::Failed(Box::new((error, None)))
    }

    /// The end of a coroutine that ended by itself, for who joins it.
    #[cold]
    pub(crate) fn judged(self, standing: Standing, report: Report<'_>) -> Self {
        let Standing {
            label,
            cancelled,
            keys,
        } = standing;
        let leaks = |keys: Vec<_>| {
            if !keys.is_empty() {
                let coroutine = label.clone();
                report(&Incident::Leaked { coroutine, keys });
            }
        };
        match (self, cancelled) {
            // A child's cancel is another error to who joins it than his own would be.
            (End::Failed(mut failed), Some(cause)) => {
                match Error::find_mut(&mut failed.0) {
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
                    }
                    // Not what was asked for.
                    Some(_) => {
                        leaks(keys);
                        failed.1 = Some(label);
                    }
                    // It may well be the cancel in the user's own words.
                    None => leaks(keys),
                }
                End::Failed(failed)
            }
            (End::Value(value), None) if !keys.is_empty() => {
                drop(value);
                let leaked = ErrorKind::Leaked {
                    coroutine: label.clone(),
                    keys,
                };
                End::Failed(Box::new((E::from(leaked.into()), Some(label))))
            }
            (End::Failed(mut failed), None) => {
                leaks(keys);
                failed.1 = Some(label);
                End::Failed(failed)
            }
            (end, _) => {
                leaks(keys);
                end
            }
        }
    }

    /// Drops an end that nobody takes, and reports it if it is an error.
    pub(crate) fn discard(self, report: Report<'_>) {
        match self {
            End::Value(_) => {}
            End::Failed(failed) => {
                if let (error, Some(coroutine)) = *failed {
                    report_untaken(&error, coroutine, report);
                }
            }
            End::Dead(error) => report_dead(&error, report),
        }
    }

    /// What who joins is given.
    #[inline]
    fn result(self) -> Result<T, E> {
        match self {
            End::Value(value) => Ok(value),
            End::Failed(failed) => Err(failed.0),
            End::Dead(error) => Err(from_outside(error)),
        }
    }
}

/// The error of who was ended from outside, in his own words.
#[cold]
fn from_outside<E: From<Error>>(error: Error) -> E {
    E::from(error)
}

/// Reports a panic that nobody took. What was asked for, or is reported by who asked, needs no second report.
#[cold]
fn report_dead(error: &Error, report: Report<'_>) {
    if let ErrorKind::Panicked { coroutine, message } = error.kind() {
        report(&Incident::Panicked {
            coroutine: coroutine.clone(),
            message: message.to_string(),
            during: "coroutine",
        });
    }
}

/// Reports an error that nobody took.
#[cold]
fn report_untaken<E: fmt::Display>(error: &E, coroutine: Label, report: Report<'_>) {
    // Displaying it is user code, and so is dropping it, which is left to who calls this.
    match catch_unwind(AssertUnwindSafe(|| error.to_string())) {
        Ok(error) => report(&Incident::Untaken { coroutine, error }),
        Err(panic) => report(&Incident::Panicked {
            coroutine: None,
            message: panic_message(panic),
            during: "error's Display",
        }),
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
    /// The loop.
    shared: Rc<Shared>,
    /// The coroutine; marked once its result was taken, so that it names none.
    id: Id,
    /// What it gives.
    end: PhantomData<fn() -> End<T, E>>,
}

/// What a coroutine that is joined is to those who look for circles of waits. Its place is its id.
struct Joined(Rc<Shared>);

impl Awaited for Joined {
    fn holders(&self, place: Id) -> Holders {
        Holders::One(place)
    }

    fn name(&self, place: Id) -> String {
        let label = self.0.label(place);
        label.map_or_else(|| "a coroutine".to_owned(), |label| label.to_string())
    }

    fn actor(&self, place: Id) -> String {
        self.name(place)
    }
}

impl Shared {
    /// Changes who waits for the end of a coroutine, if it has not ended.
    fn set_joiner(&self, id: Id, joiner: WaiterSlot) {
        let mut records = self.records.borrow_mut();
        if let Some(record) = records.get_mut(id) {
            record.set_joiner(joiner);
        }
    }

    /// Who waits for the end of a coroutine, if it has not ended, and where that was spawned.
    fn joiner(&self, id: Id) -> Option<(WaiterSlot, Site)> {
        let records = self.records.borrow();
        let record = records.get(id)?;
        Some((record.joiner(), record.site()))
    }

    /// Whether a coroutine has ended.
    fn has_ended(&self, id: Id) -> bool {
        self.records.borrow().get(id).is_none()
    }

    /// The end of a coroutine, if it has ended, the end was not taken, and no wait for it is entered.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as the join that it is the most of")]
    fn take_end<T: 'static, E: 'static>(&self, id: Id) -> Option<End<T, E>> {
        let mut end = None;
        self.records.borrow_mut().give_end(id, &mut end);
        end
    }

    /// Parks who joins until the end of the coroutine.
    ///
    /// # Errors
    /// The cancel of who joins; `Deadlock`, if what is joined waits for who joins, in a queue of an ordered engine.
    #[inline(never)]
    fn park_joiner(self: &Rc<Self>, id: Id, cx: &Context<'_>) -> Result<(), Error> {
        let Some((slot, site)) = self.joiner(id) else {
            return Ok(());
        };
        let note = Note {
            kind: &JOIN,
            site: Some(site),
        };
        match self.park(slot, cx, note) {
            Ok(slot) => {
                self.set_joiner(id, slot);
                if self.engines.get() == 0 {
                    return Ok(());
                }
                self.enter_join(id, site)
            }
            Err(cancel) => {
                self.set_joiner(id, WaiterSlot::EMPTY);
                drop(self.take_join_wait(id));
                Err(cancel)
            }
        }
    }

    /// Enters the wait of who joins, as circles through ordered engines are found by it.
    ///
    /// # Errors
    /// `Deadlock`.
    #[cold]
    fn enter_join(self: &Rc<Self>, id: Id, site: Site) -> Result<(), Error> {
        let edge = Edge {
            to: Rc::new(Joined(Rc::clone(self))),
            place: id,
            what: "the end",
        };
        let mut wait = self.take_join_wait(id);
        let entered = self.wait_for(&mut wait, edge, site);
        if entered.is_ok() {
            self.keep_join_wait(id, wait);
        } else if let Some((slot, _)) = self.joiner(id) {
            self.set_joiner(id, self.unpark(slot));
        }
        entered
    }

    /// Ends the wait of who joins, and takes a lent permit back, if the coroutine has ended.
    #[cold]
    fn poll_joined(&self, id: Id, cx: &Context<'_>) -> Poll<()> {
        let Some(site) = self.records.borrow().watched_end(id) else {
            return Poll::Ready(());
        };
        let mut wait = self.take_join_wait(id);
        let over = Waiting::poll_over(&mut wait, cx, site);
        self.keep_join_wait(id, wait);
        over
    }

    /// Takes out the wait that is entered for the end of a coroutine.
    fn take_join_wait(&self, id: Id) -> Option<Waiting> {
        if !self.records.borrow_mut().watch(id, false) {
            return None;
        }
        let wait = self.join_waits.borrow_mut().remove(&id.to_bits())?;
        wait.downcast().ok().map(|wait| *wait)
    }

    /// Keeps the wait for the end of a coroutine.
    fn keep_join_wait(&self, id: Id, wait: Option<Waiting>) {
        if let Some(wait) = wait {
            self.records.borrow_mut().watch(id, true);
            let before = self
                .join_waits
                .borrow_mut()
                .insert(id.to_bits(), Box::new(wait));
            drop(before);
        }
    }
}

impl<T: 'static, E: From<Error> + fmt::Display + 'static> JoinHandle<T, E> {
    /// The handle of this coroutine.
    #[inline]
    pub(crate) fn new(shared: Rc<Shared>, id: Id) -> Self {
        JoinHandle {
            shared,
            id,
            end: PhantomData,
        }
    }

    /// Lets the coroutine run on, or cancels it; reports how it ended, if it has ended with an error.
    #[inline(never)]
    fn let_go(shared: &Shared, id: Id) {
        let wait = (shared.waits.get() > 0).then(|| shared.take_join_wait(id));
        let left = shared.records.borrow_mut().let_go(id);
        match left {
            None => {}
            Some(Left::Record(joiner, bound)) => {
                shared.unpark(joiner);
                if let Some(site) = bound {
                    let reason = Cow::Borrowed("its join handle was dropped");
                    shared.cancel(id, reason, site);
                }
            }
            Some(Left::End(end)) => shared.discard(end),
        }
        drop(wait);
    }

    /// The coroutine's id.
    #[must_use]
    pub fn id(&self) -> CoroutineId {
        public_id(self.id.unmarked())
    }

    /// Gives the coroutine a name for reports.
    #[expect(
        clippy::return_self_not_must_use,
        reason = "named for its effect, and detached"
    )]
    pub fn named(self, name: impl Into<Cow<'static, str>>) -> Self {
        self.shared.set_name(self.id, name.into());
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
        self.shared.has_ended(self.id)
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
        let site = Location::caller();
        self.shared.cancel(self.id, reason.into(), site)
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
        let site = Location::caller();
        self.shared.abort(self.id, site)
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
    pub fn cancel_on_drop(self) -> Self {
        let site = Location::caller();
        let mut records = self.shared.records.borrow_mut();
        if let Some(record) = records.get_mut(self.id) {
            record.rare_mut(&self.shared.rares).bound = Some(site);
        }
        drop(records);
        self
    }
}

impl<T: 'static, E: From<Error> + fmt::Display + 'static> Future for JoinHandle<T, E> {
    type Output = Result<T, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match this.shared.take_end::<T, E>(this.id) {
            Some(end) => {
                this.id = this.id.marked();
                Poll::Ready(end.result())
            }
            None => this.poll_rare(cx),
        }
    }
}

impl<T: 'static, E: From<Error> + fmt::Display + 'static> JoinHandle<T, E> {
    /// Waits for the end, or for a permit to go on with it.
    #[inline(never)]
    fn poll_rare(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        if self.id.is_marked() {
            return Poll::Pending;
        }
        ready!(self.shared.poll_joined(self.id, cx));
        if let Some(end) = self.shared.take_end::<T, E>(self.id) {
            self.id = self.id.marked();
            return Poll::Ready(end.result());
        }
        match self.shared.park_joiner(self.id, cx) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(E::from(error))),
        }
    }
}

impl<T: 'static, E: From<Error> + fmt::Display + 'static> Drop for JoinHandle<T, E> {
    #[inline]
    fn drop(&mut self) {
        // Once the result was taken, nobody is parked either.
        if !self.id.is_marked() {
            Self::let_go(&self.shared, self.id);
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
