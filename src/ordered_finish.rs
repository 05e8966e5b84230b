//! The end of an engine: [`Finishing`] waits for it, [`Draining`] brings it about.
//!
//! They are apart from the doors because they come after the last of them.
//!
//! Invariants:
//! 1. An engine is finished when no call runs, nothing is queued, in line or promised, and nothing can arrive any more.
//! 2. The state is given out once.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::arena::Id;
use crate::clock::nanos;
use crate::error::{Error, ErrorKind, Result};
use crate::lane::{ENGINE, Lane};
use crate::site::Site;
use crate::timers::TimerId;
use crate::waiter::{Kind, Note};
use crate::waiting::Waiting;

static FINISH: Kind = Kind("finish");
static DRAIN: Kind = Kind("drain");

/// Waits for an engine to finish: see [`Ordered::finish`](crate::Ordered::finish).
#[must_use = "an engine is waited for when this is awaited"]
pub struct Finishing<
    S,
    M: 'static,
    R: 'static = (),
    E: From<Error> + fmt::Display + 'static = Error,
> {
    /// The lane.
    lane: Rc<Lane<M, R, E>>,
    /// Where the wait is kept.
    wait: Id,
    /// The wait, as circles are found by it.
    waiting: Option<Waiting>,
    /// Where it was made.
    site: Site,
    /// The type of the state.
    state: PhantomData<fn() -> S>,
}

impl<S: 'static, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static>
    Finishing<S, M, R, E>
{
    /// A wait for this lane.
    #[track_caller]
    pub(crate) fn new(lane: Rc<Lane<M, R, E>>) -> Self {
        Finishing {
            lane,
            wait: Id::NONE,
            waiting: None,
            site: Location::caller(),
            state: PhantomData,
        }
    }

    /// Waits, and takes the state.
    fn poll_as(&mut self, kind: &'static Kind, cx: &Context<'_>) -> Poll<Result<S>> {
        let site = Some(self.site);
        ready!(self.lane.poll_finish(
            (&mut self.wait, &mut self.waiting),
            cx,
            Note { kind, site }
        ))?;
        let state = self.lane.take_state();
        // Another finish that waits must hear that it comes too late.
        self.lane.close();
        let state = state.and_then(|state| state.downcast::<S>().ok());
        Poll::Ready(state.map(|state| *state).ok_or_else(|| {
            ErrorKind::Closed {
                what: ENGINE,
                created_at: None,
            }
            .into()
        }))
    }
}

/// Nothing in it is ever pinned.
impl<S, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Unpin
    for Finishing<S, M, R, E>
{
}

impl<S: 'static, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Future
    for Finishing<S, M, R, E>
{
    type Output = Result<S>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<S>> {
        self.get_mut().poll_as(&FINISH, cx)
    }
}

impl<S, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Drop
    for Finishing<S, M, R, E>
{
    fn drop(&mut self) {
        self.lane.leave_finish(self.wait);
    }
}

/// What an engine was when it was drained.
#[derive(Debug)]
#[non_exhaustive]
pub struct Drained<S, M> {
    /// The state, as the last call left it.
    pub state: S,
    /// The messages that no call was made for, in order. Whoever asked with one of them gets `Dropped`.
    pub unhandled: Vec<M>,
}

/// Closes an engine, and cuts it off after a time: see [`Ordered::drain`](crate::Ordered::drain).
#[must_use = "an engine is drained when this is awaited"]
pub struct Draining<S, M: 'static, R: 'static = (), E: From<Error> + fmt::Display + 'static = Error>
{
    /// The wait for the end.
    finish: Finishing<S, M, R, E>,
    /// How long it may take.
    limit: Duration,
    /// What cuts it off, from the first poll on.
    timer: Cell<Option<TimerId>>,
}

impl<S: 'static, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static>
    Draining<S, M, R, E>
{
    /// A drain that has not begun.
    #[track_caller]
    pub(crate) fn new(lane: Rc<Lane<M, R, E>>, limit: Duration) -> Self {
        Draining {
            finish: Finishing::new(lane),
            limit,
            timer: Cell::new(None),
        }
    }

    /// Closes the engine and sets the limit.
    fn begin(&self) {
        let lane = &self.finish.lane;
        let site = self.finish.site;
        lane.close();
        let overdue = Rc::clone(lane);
        let cut = Box::new(move |_: &_| {
            overdue.cut_off("its engine was drained and the limit ran out", site);
        });
        self.timer
            .set(Some(lane.shared().arm_call(nanos(self.limit), cut)));
    }
}

impl<S, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Unpin
    for Draining<S, M, R, E>
{
}

impl<S: 'static, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Future
    for Draining<S, M, R, E>
{
    type Output = Result<Drained<S, M>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.timer.get().is_none() {
            let lane = &this.finish.lane;
            let closes = lane
                .shared()
                .closes(&lane.edge("the end"), this.finish.site);
            if let Some(error) = closes {
                return Poll::Ready(Err(error));
            }
            this.begin();
        }
        let state = ready!(this.finish.poll_as(&DRAIN, cx))?;
        let unhandled = this.finish.lane.take_left_over();
        Poll::Ready(Ok(Drained { state, unhandled }))
    }
}

impl<S, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Drop
    for Draining<S, M, R, E>
{
    /// The limit goes with whoever set it: without him, what is queued is handled.
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.finish.lane.shared().disarm(timer);
        }
    }
}

impl<S, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> fmt::Debug
    for Finishing<S, M, R, E>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finishing").finish_non_exhaustive()
    }
}

impl<S, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> fmt::Debug
    for Draining<S, M, R, E>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draining")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
