//! The waits at an engine's door: [`Sending`], [`Asking`], [`Reserving`], and the [`Permit`] that a reservation gives.
//!
//! They are apart from the doors because they outlive the call that makes them, and are the same for every engine.
//!
//! Invariants:
//! 1. A message arrives when its wait is first polled; from then on it keeps its place, however seldom the wait is polled.
//! 2. A wait that is dropped leaves the line, and what it was granted goes to the next.
//! 3. A wait that only its own end could end is refused when it is first polled.
//!
//! ```text
//!            first poll, room             answered
//!   New ───────────────────▶ (queued) ──────────────▶ Done       (Sending and Reserving are done as soon as there is room)
//!    │ first poll, full        ▲ room
//!    └──────────▶ InLine ──────┘
//! ```

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::arena::Id;
use crate::error::{Error, ErrorKind, Result};
use crate::failure::Refused;
use crate::lane::{ENGINE, Lane};
use crate::oneshot::{Missing, OneShot};
use crate::ordered_queue::{Asker, Entry, Want};
use crate::site::Site;
use crate::waiter::{Kind, Note};
use crate::waiting::Waiting;

static SEND: Kind = Kind("send");
static ASK: Kind = Kind("ask");
static RESERVE: Kind = Kind("reserve");

/// The error of a door whose engine is gone.
pub(crate) fn gone() -> Error {
    ErrorKind::Closed {
        what: ENGINE,
        created_at: None,
    }
    .into()
}

/// How far an arrival is.
enum Stage<M, R, E> {
    /// Not polled yet. Without a lane its engine is gone.
    New(Option<Rc<Lane<M, R, E>>>),
    /// In line.
    InLine(Rc<Lane<M, R, E>>, Id),
    /// Called up, or sent away. The call that waited may have to wait for a permit to go on.
    Served(Rc<Lane<M, R, E>>, Result<Want<M, R, E>>),
    /// Over.
    Done,
}

/// The wait for room, which all three have.
struct Arrival<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> {
    /// How far it is.
    stage: Stage<M, R, E>,
    /// The wait, as circles are found by it.
    waiting: Option<Waiting>,
    /// Where it was made.
    site: Site,
}

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Arrival<M, R, E> {
    /// An arrival that has not begun.
    fn new(lane: Option<Rc<Lane<M, R, E>>>, site: Site) -> Self {
        Arrival {
            stage: Stage::New(lane),
            waiting: None,
            site,
        }
    }

    /// Takes what `want` makes to the lane at the first poll; gives the lane once there was room. Never polled again after that.
    fn poll(
        &mut self,
        cx: &Context<'_>,
        kind: &'static Kind,
        want: impl FnOnce() -> Option<Want<M, R, E>>,
    ) -> Poll<Result<Rc<Lane<M, R, E>>>> {
        if let Stage::New(lane) = &mut self.stage {
            let (Some(lane), Some(want)) = (lane.take(), want()) else {
                self.stage = Stage::Done;
                return Poll::Ready(Err(gone()));
            };
            self.stage = Stage::Done;
            match lane.arrive(want, self.site) {
                Ok(None) => return Poll::Ready(Ok(lane)),
                Ok(Some(id)) => self.stage = Stage::InLine(lane, id),
                Err((want, error)) => {
                    drop(want);
                    return Poll::Ready(Err(error));
                }
            }
        }
        if let Stage::InLine(lane, id) = &self.stage {
            let note = Note {
                kind,
                site: Some(self.site),
            };
            let got = match lane.poll_line(*id, cx, note) {
                Poll::Ready(got) => got,
                Poll::Pending => {
                    let edge = lane.edge("room");
                    let waits = lane.shared().wait_for(&mut self.waiting, edge, self.site);
                    let Err(error) = waits else {
                        return Poll::Pending;
                    };
                    lane.leave_line(*id);
                    Err(error)
                }
            };
            let lane = Rc::clone(lane);
            self.stage = Stage::Served(lane, got);
        }
        ready!(Waiting::poll_over(&mut self.waiting, cx, self.site));
        let Stage::Served(lane, got) = std::mem::replace(&mut self.stage, Stage::Done) else {
            return Poll::Pending;
        };
        match got {
            Ok(Want::Admitted | Want::Granted) => Poll::Ready(Ok(lane)),
            Ok(turned_away) => {
                drop(turned_away);
                Poll::Ready(Err(lane.closed()))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Drop for Arrival<M, R, E> {
    fn drop(&mut self) {
        match &self.stage {
            Stage::InLine(lane, id) => lane.leave_line(*id),
            Stage::Served(lane, Ok(Want::Granted)) => lane.free_place(),
            _ => {}
        }
    }
}

/// Waits for room and queues a message: see [`Ordered::send`](crate::Ordered::send).
///
/// Dropped before it has given its result, it takes its message along, unless that is queued already.
#[must_use = "a message is sent when this is awaited"]
pub struct Sending<M: 'static, R: 'static = (), E: From<Error> + fmt::Display + 'static = Error> {
    /// The wait for room.
    arrival: Arrival<M, R, E>,
    /// The message, until it arrives.
    message: Option<M>,
}

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Sending<M, R, E> {
    /// A message on its way.
    #[track_caller]
    pub(crate) fn new(lane: Option<Rc<Lane<M, R, E>>>, message: M) -> Self {
        Sending {
            arrival: Arrival::new(lane, Location::caller()),
            message: Some(message),
        }
    }
}

/// The message is moved out and never pinned.
impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Unpin for Sending<M, R, E> {}

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Future for Sending<M, R, E> {
    type Output = Result;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        let Sending { arrival, message } = self.get_mut();
        let want = || {
            let (message, asker) = (message.take()?, None);
            Some(Want::Entry(Entry { message, asker }))
        };
        arrival.poll(cx, &SEND, want).map_ok(drop)
    }
}

/// Waits for room, queues a message, and waits for its result: see [`Ordered::ask`](crate::Ordered::ask).
///
/// Dropped, it takes its message along unless that is queued already; what is queued is handled, and its error then goes to the
/// error hook.
#[must_use = "a message is sent when this is awaited"]
pub struct Asking<M: 'static, R: 'static = (), E: From<Error> + fmt::Display + 'static = Error> {
    /// The wait for room.
    arrival: Arrival<M, R, E>,
    /// The message, until it arrives.
    message: Option<M>,
    /// The lane, once the message is queued.
    lane: Option<Rc<Lane<M, R, E>>>,
    /// Where the result comes, once the message has arrived.
    cell: Option<Rc<OneShot<Result<R, E>>>>,
}

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Asking<M, R, E> {
    /// A question on its way.
    #[track_caller]
    pub(crate) fn new(lane: Option<Rc<Lane<M, R, E>>>, message: M) -> Self {
        Asking {
            arrival: Arrival::new(lane, Location::caller()),
            message: Some(message),
            lane: None,
            cell: None,
        }
    }

    /// Refuses to wait for the coroutine that would wait; otherwise makes the place for the result.
    fn open(&mut self) -> Result<Asker<R, E>> {
        let Stage::New(Some(lane)) = &self.arrival.stage else {
            return Ok(None);
        };
        let closes = lane
            .shared()
            .closes(&lane.edge("a result"), self.arrival.site);
        if let Some(error) = closes {
            self.arrival.stage = Stage::Done;
            return Err(error);
        }
        let (cell, resolver) = OneShot::new(lane.shared(), self.arrival.site);
        self.cell = Some(cell);
        Ok(Some(resolver))
    }
}

/// The message is moved out and never pinned.
impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Unpin for Asking<M, R, E> {}

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Future for Asking<M, R, E> {
    type Output = Result<R, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<R, E>> {
        let this = self.get_mut();
        if this.lane.is_none() {
            let mut asker = None;
            if this.message.is_some() {
                match this.open() {
                    Ok(open) => asker = open,
                    Err(error) => return Poll::Ready(Err(E::from(error))),
                }
            }
            let message = &mut this.message;
            let want = || {
                let message = message.take()?;
                Some(Want::Entry(Entry { message, asker }))
            };
            match ready!(this.arrival.poll(cx, &ASK, want)) {
                Ok(lane) => this.lane = Some(lane),
                Err(error) => return Poll::Ready(Err(E::from(error))),
            }
        }
        let (Some(lane), Some(cell)) = (&this.lane, &this.cell) else {
            return Poll::Pending;
        };
        let note = Note {
            kind: &ASK,
            site: Some(this.arrival.site),
        };
        if cell.has_value() || cell.is_lost() {
            ready!(Waiting::poll_over(
                &mut this.arrival.waiting,
                cx,
                this.arrival.site
            ));
        }
        let result = match cell.poll(cx, note) {
            Poll::Pending => {
                let edge = lane.edge("a result");
                let waiting = &mut this.arrival.waiting;
                match lane.shared().wait_for(waiting, edge, this.arrival.site) {
                    Ok(()) => return Poll::Pending,
                    Err(error) => {
                        cell.unpark();
                        Err(E::from(error))
                    }
                }
            }
            Poll::Ready(Ok(result)) => result,
            Poll::Ready(Err(Missing::Cancelled(cancel))) => Err(E::from(cancel)),
            Poll::Ready(Err(_)) if lane.shared().is_closed() => {
                Err(E::from(ErrorKind::LoopGone.into()))
            }
            Poll::Ready(Err(_)) => Err(E::from(dropped())),
        };
        this.arrival.waiting = None;
        this.cell = None;
        Poll::Ready(result)
    }
}

/// The error of whoever asked with a message that was never handled.
#[cold]
fn dropped() -> Error {
    let what = "message";
    let why = "its engine ended first";
    ErrorKind::Dropped { what, why }.into()
}

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Drop for Asking<M, R, E> {
    fn drop(&mut self) {
        let (Some(lane), Some(cell)) = (&self.lane, &self.cell) else {
            return;
        };
        cell.unpark();
        if let Some(Err(error)) = cell.take() {
            lane.report_untaken(&error);
        }
    }
}

/// Waits for room and keeps a place: see [`Ordered::reserve`](crate::Ordered::reserve).
#[must_use = "a place is kept when this is awaited"]
pub struct Reserving<M: 'static, R: 'static = (), E: From<Error> + fmt::Display + 'static = Error> {
    /// The wait for room.
    arrival: Arrival<M, R, E>,
}

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Reserving<M, R, E> {
    /// A wait for a place.
    #[track_caller]
    pub(crate) fn new(lane: Option<Rc<Lane<M, R, E>>>) -> Self {
        Reserving {
            arrival: Arrival::new(lane, Location::caller()),
        }
    }
}

/// Nothing in it is ever pinned.
impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Unpin for Reserving<M, R, E> {}

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Future
    for Reserving<M, R, E>
{
    type Output = Result<Permit<M, R, E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let arrival = &mut self.get_mut().arrival;
        arrival
            .poll(cx, &RESERVE, || Some(Want::Place))
            .map_ok(|lane| Permit { lane: Some(lane) })
    }
}

/// A place kept in an engine's queue. Using it never waits; dropping it gives the place to the next in line.
///
/// Until then the engine does not finish. A message takes its place in the order when the permit is used.
#[must_use = "dropping a permit gives its place up"]
pub struct Permit<M: 'static, R: 'static = (), E: From<Error> + fmt::Display + 'static = Error> {
    /// The lane, until the permit is used.
    lane: Option<Rc<Lane<M, R, E>>>,
}

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Permit<M, R, E> {
    /// Queues a message at the place kept.
    ///
    /// # Errors
    /// Gives the message back if the engine ended meanwhile; [`close`](crate::Ordered::close) alone does not.
    pub fn send(mut self, message: M) -> Result<(), Refused<M>> {
        match self.lane.take() {
            Some(lane) => lane.push_kept(Entry {
                message,
                asker: None,
            }),
            None => Err(Refused::new(message, gone())),
        }
    }
}

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Drop for Permit<M, R, E> {
    fn drop(&mut self) {
        if let Some(lane) = self.lane.take() {
            lane.free_place();
        }
    }
}

/// Gives a wait its `Debug`.
macro_rules! debug {
    ($($name:ident),*) => {$(
        impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> fmt::Debug for $name<M, R, E> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

debug!(Sending, Asking, Reserving, Permit);
