//! The end of a keyed engine: [`KeyedFinishing`] waits for it, [`KeyedDraining`] brings it about.
//!
//! They are apart from the doors because they come after the last of them.
//!
//! Invariant: an engine is finished when no call runs, nothing is queued, in line or promised, and nothing can arrive any more.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::arena::Id;
use crate::clock::nanos;
use crate::error::{Error, Result};
use crate::hub::{Hub, OrderKey};
use crate::site::Site;
use crate::timers::TimerId;
use crate::waiter::{Kind, Note};
use crate::waiting::Waiting;

static FINISH: Kind = Kind("finish");
static DRAIN: Kind = Kind("drain");

/// Waits for a keyed engine to finish: see [`Keyed::finish`](crate::Keyed::finish).
#[must_use = "an engine is waited for when this is awaited"]
pub struct KeyedFinishing<
    K: OrderKey,
    M: 'static,
    R: 'static = (),
    E: From<Error> + fmt::Display + 'static = Error,
> {
    /// The engine.
    hub: Rc<Hub<K, M, R, E>>,
    /// Where the wait is kept.
    wait: Id,
    /// The wait, as circles are found by it.
    waiting: Option<Waiting>,
    /// Where it was made.
    site: Site,
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static>
    KeyedFinishing<K, M, R, E>
{
    /// A wait for this engine.
    #[track_caller]
    pub(crate) fn new(hub: Rc<Hub<K, M, R, E>>) -> Self {
        KeyedFinishing {
            hub,
            wait: Id::NONE,
            waiting: None,
            site: Location::caller(),
        }
    }

    /// Waits.
    fn poll_as(&mut self, kind: &'static Kind, cx: &Context<'_>) -> Poll<Result> {
        let site = Some(self.site);
        self.hub
            .poll_finish((&mut self.wait, &mut self.waiting), cx, Note { kind, site })
    }
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Unpin
    for KeyedFinishing<K, M, R, E>
{
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Future
    for KeyedFinishing<K, M, R, E>
{
    type Output = Result;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        self.get_mut().poll_as(&FINISH, cx)
    }
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Drop
    for KeyedFinishing<K, M, R, E>
{
    fn drop(&mut self) {
        self.hub.leave_finish(self.wait);
    }
}

/// What was left of a keyed engine when it was drained.
#[derive(Debug)]
#[non_exhaustive]
pub struct KeyedDrained<K, M> {
    /// The messages that no call was made for, by key and in order. Whoever asked with one of them gets `Dropped`.
    pub unhandled: Vec<(K, Vec<M>)>,
}

/// Closes a keyed engine, and cuts it off after a time: see [`Keyed::drain`](crate::Keyed::drain).
#[must_use = "an engine is drained when this is awaited"]
pub struct KeyedDraining<
    K: OrderKey,
    M: 'static,
    R: 'static = (),
    E: From<Error> + fmt::Display + 'static = Error,
> {
    /// The wait for the end.
    finish: KeyedFinishing<K, M, R, E>,
    /// How long it may take.
    limit: Duration,
    /// What cuts it off, from the first poll on.
    timer: Cell<Option<TimerId>>,
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static>
    KeyedDraining<K, M, R, E>
{
    /// A drain that has not begun.
    #[track_caller]
    pub(crate) fn new(hub: Rc<Hub<K, M, R, E>>, limit: Duration) -> Self {
        KeyedDraining {
            finish: KeyedFinishing::new(hub),
            limit,
            timer: Cell::new(None),
        }
    }

    /// Closes the engine and sets the limit.
    fn begin(&self) {
        let hub = &self.finish.hub;
        let site = self.finish.site;
        hub.close();
        let overdue = Rc::clone(hub);
        let cut = Box::new(move |_: &_| {
            overdue.cut_off("its engine was drained and the limit ran out", site);
        });
        self.timer
            .set(Some(hub.shared().arm_call(nanos(self.limit), cut)));
    }
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Unpin
    for KeyedDraining<K, M, R, E>
{
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Future
    for KeyedDraining<K, M, R, E>
{
    type Output = Result<KeyedDrained<K, M>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.timer.get().is_none() && !this.finish.hub.shared().is_closed() {
            let hub = &this.finish.hub;
            let closes = hub.shared().closes(&hub.end_edge(), this.finish.site);
            if let Some(error) = closes {
                return Poll::Ready(Err(error));
            }
            this.begin();
        }
        ready!(this.finish.poll_as(&DRAIN, cx))?;
        let unhandled = this.finish.hub.take_left_over();
        Poll::Ready(Ok(KeyedDrained { unhandled }))
    }
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Drop
    for KeyedDraining<K, M, R, E>
{
    /// The limit goes with whoever set it: without him, what is queued is handled.
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.finish.hub.shared().disarm(timer);
        }
    }
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> fmt::Debug
    for KeyedFinishing<K, M, R, E>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedFinishing").finish_non_exhaustive()
    }
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> fmt::Debug
    for KeyedDraining<K, M, R, E>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedDraining")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
