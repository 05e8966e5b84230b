//! The waits at a keyed engine's door: [`KeyedSending`], [`KeyedAsking`], [`KeyedReserving`], and the [`KeyedPermit`] that a
//! reservation gives.
//!
//! They are apart from the doors because they outlive the call that makes them.
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
use crate::hub::{Arrived, ENGINE, Hub, OrderKey, Patience, Want};
use crate::oneshot::{Missing, OneShot};
use crate::ordered_queue::Asker;
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

/// The wait for room, which all three have. Nearly all find some at once: what is only there while one waits is in one place.
struct Arrival<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> {
    /// Where it goes. Without it, the engine is gone.
    hub: Option<Rc<Hub<K, M, R, E>>>,
    /// For which key, until it is first polled.
    key: Option<K>,
    /// The place in line. Hardly anybody has one, so it takes no room here but a word.
    place: Option<Box<Place<K, M, R, E>>>,
    /// Where it was made.
    site: Site,
}

/// A place in line, left when this is dropped.
struct Place<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> {
    /// The engine.
    hub: Rc<Hub<K, M, R, E>>,
    /// How far it is.
    stage: Stage,
    /// The wait, as circles are found by it.
    waiting: Option<Waiting>,
}

/// How far a wait in line is.
enum Stage {
    /// In line.
    InLine(Id),
    /// Called up, or sent away; the key's place. The call that waited may have to wait for a permit to go on.
    Served(Id, Result<Got>),
    /// Over.
    Done,
}

/// What somebody in line got.
enum Got {
    /// His message is queued.
    Admitted,
    /// A place is kept for him.
    Granted,
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static>
    Arrival<K, M, R, E>
{
    /// An arrival that has not begun.
    fn new(hub: Option<Rc<Hub<K, M, R, E>>>, key: K, site: Site) -> Self {
        Arrival {
            hub,
            key: Some(key),
            place: None,
            site,
        }
    }

    /// Goes to the engine at the first poll, by `arrive`; gives the key's place once there was room.
    #[inline]
    fn poll(
        &mut self,
        cx: &Context<'_>,
        kind: &'static Kind,
        arrive: impl FnOnce(&Rc<Hub<K, M, R, E>>, K, Patience) -> Result<Arrived>,
    ) -> Poll<Result<Id>> {
        let Some(key) = self.key.take() else {
            return self.poll_place(cx, kind);
        };
        let Some(hub) = &self.hub else {
            return Poll::Ready(Err(gone()));
        };
        match arrive(hub, key, Patience::Waits(self.site)) {
            Ok(Arrived::In(id)) => Poll::Ready(Ok(id)),
            Ok(Arrived::Dropped) => Poll::Ready(Ok(Id::NONE)),
            Ok(Arrived::InLine(waiter)) => {
                self.place = Some(Box::new(Place {
                    hub: Rc::clone(hub),
                    stage: Stage::InLine(waiter),
                    waiting: None,
                }));
                self.poll_place(cx, kind)
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Waits in line.
    #[cold]
    fn poll_place(&mut self, cx: &Context<'_>, kind: &'static Kind) -> Poll<Result<Id>> {
        let Some(place) = &mut self.place else {
            return Poll::Pending;
        };
        let id = ready!(place.poll(cx, kind, self.site));
        self.place = None;
        Poll::Ready(id)
    }
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static>
    Place<K, M, R, E>
{
    /// Waits for room, and then for a permit to go on.
    fn poll(&mut self, cx: &Context<'_>, kind: &'static Kind, site: Site) -> Poll<Result<Id>> {
        let hub = &self.hub;
        if let Stage::InLine(waiter) = self.stage {
            let note = Note {
                kind,
                site: Some(site),
            };
            let id = hub.line_of(waiter);
            let got = match hub.poll_line(waiter, cx, note) {
                Poll::Ready(Ok(Want::Admitted)) => Ok(Got::Admitted),
                Poll::Ready(Ok(Want::Granted)) => Ok(Got::Granted),
                Poll::Ready(Ok(turned_away)) => {
                    drop(turned_away);
                    Err(hub.turned_away())
                }
                Poll::Ready(Err(cancel)) => Err(cancel),
                Poll::Pending => {
                    let edge = hub.room_edge(id);
                    let waits = hub.shared().wait_for(&mut self.waiting, edge, site);
                    let Err(error) = waits else {
                        return Poll::Pending;
                    };
                    hub.leave_line(waiter);
                    Err(error)
                }
            };
            self.stage = Stage::Served(id, got);
        }
        ready!(Waiting::poll_over(&mut self.waiting, cx, site));
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Served(id, got) => Poll::Ready(got.map(|_| id)),
            _ => Poll::Pending,
        }
    }
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Drop
    for Place<K, M, R, E>
{
    fn drop(&mut self) {
        match &self.stage {
            Stage::InLine(waiter) => self.hub.leave_line(*waiter),
            Stage::Served(id, Ok(Got::Granted)) => self.hub.free_place(*id),
            _ => {}
        }
    }
}

/// Waits for room and queues a message: see [`Keyed::send`](crate::Keyed::send).
///
/// Dropped before it has given its result, it takes its message along, unless that is queued already.
#[must_use = "a message is sent when this is awaited"]
pub struct KeyedSending<
    K: OrderKey,
    M: 'static,
    R: 'static = (),
    E: From<Error> + fmt::Display + 'static = Error,
> {
    /// The wait for room.
    arrival: Arrival<K, M, R, E>,
    /// The message, until it arrives.
    message: Option<M>,
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static>
    KeyedSending<K, M, R, E>
{
    /// A message on its way.
    #[track_caller]
    pub(crate) fn new(hub: Option<Rc<Hub<K, M, R, E>>>, key: K, message: M) -> Self {
        KeyedSending {
            arrival: Arrival::new(hub, key, Location::caller()),
            message: Some(message),
        }
    }
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Unpin
    for KeyedSending<K, M, R, E>
{
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Future
    for KeyedSending<K, M, R, E>
{
    type Output = Result;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        let KeyedSending { arrival, message } = self.get_mut();
        let arrive = |hub: &Rc<Hub<K, M, R, E>>, key, patience| match message.take() {
            Some(message) => hub.arrive(key, message, None, patience),
            None => Ok(Arrived::Dropped),
        };
        arrival.poll(cx, &SEND, arrive).map_ok(drop)
    }
}

/// Waits for room, queues a message, and waits for its result: see [`Keyed::ask`](crate::Keyed::ask).
///
/// Dropped, it takes its message along unless that is queued already; what is queued is handled, and its error then goes to the
/// error hook.
#[must_use = "a message is sent when this is awaited"]
pub struct KeyedAsking<
    K: OrderKey,
    M: 'static,
    R: 'static = (),
    E: From<Error> + fmt::Display + 'static = Error,
> {
    /// The wait for room.
    arrival: Arrival<K, M, R, E>,
    /// The message, until it arrives.
    message: Option<M>,
    /// The key's place, once it has arrived.
    arrived: Option<Id>,
    /// The wait for the result, as circles are found by it.
    waiting: Option<Waiting>,
    /// Where the result comes, once the message has arrived or stands in line.
    cell: Option<Rc<OneShot<Result<R, E>>>>,
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static>
    KeyedAsking<K, M, R, E>
{
    /// A question on its way.
    #[track_caller]
    pub(crate) fn new(hub: Option<Rc<Hub<K, M, R, E>>>, key: K, message: M) -> Self {
        KeyedAsking {
            arrival: Arrival::new(hub, key, Location::caller()),
            message: Some(message),
            arrived: None,
            waiting: None,
            cell: None,
        }
    }

    /// Refuses to wait for the call that would wait; otherwise makes the place for the result.
    fn open(&mut self) -> Result<Asker<R, E>> {
        let (Some(hub), Some(key)) = (&self.arrival.hub, &self.arrival.key) else {
            return Ok(None);
        };
        if let Some(error) = hub.closes_by_asking(key, self.arrival.site) {
            self.arrival.key = None;
            return Err(error);
        }
        let (cell, resolver) = OneShot::new(hub.shared(), self.arrival.site);
        self.cell = Some(cell);
        Ok(Some(resolver))
    }
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Unpin
    for KeyedAsking<K, M, R, E>
{
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Future
    for KeyedAsking<K, M, R, E>
{
    type Output = Result<R, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<R, E>> {
        let this = self.get_mut();
        if this.arrived.is_none() {
            let mut asker = None;
            if this.message.is_some() {
                match this.open() {
                    Ok(open) => asker = open,
                    Err(error) => return Poll::Ready(Err(E::from(error))),
                }
            }
            let message = &mut this.message;
            let arrive = |hub: &Rc<Hub<K, M, R, E>>, key, patience| match message.take() {
                Some(message) => hub.arrive(key, message, asker, patience),
                None => Ok(Arrived::Dropped),
            };
            match ready!(this.arrival.poll(cx, &ASK, arrive)) {
                Ok(id) => this.arrived = Some(id),
                Err(error) => return Poll::Ready(Err(E::from(error))),
            }
        }
        let (Some(hub), Some(cell), Some(id)) = (&this.arrival.hub, &this.cell, this.arrived)
        else {
            return Poll::Pending;
        };
        let note = Note {
            kind: &ASK,
            site: Some(this.arrival.site),
        };
        if cell.has_value() || cell.is_lost() {
            ready!(Waiting::poll_over(&mut this.waiting, cx, this.arrival.site));
        }
        let result = match cell.poll(cx, note) {
            Poll::Pending => {
                let edge = hub.edge(id, "a result");
                let waiting = &mut this.waiting;
                match hub.shared().wait_for(waiting, edge, this.arrival.site) {
                    Ok(()) => return Poll::Pending,
                    Err(error) => {
                        cell.unpark();
                        Err(E::from(error))
                    }
                }
            }
            Poll::Ready(Ok(result)) => result,
            Poll::Ready(Err(Missing::Cancelled(cancel))) => Err(E::from(cancel)),
            Poll::Ready(Err(_)) if hub.shared().is_closed() => {
                Err(E::from(ErrorKind::LoopGone.into()))
            }
            Poll::Ready(Err(_)) => Err(E::from(dropped())),
        };
        this.waiting = None;
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

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Drop
    for KeyedAsking<K, M, R, E>
{
    fn drop(&mut self) {
        let (Some(hub), Some(cell)) = (&self.arrival.hub, &self.cell) else {
            return;
        };
        cell.unpark();
        if let Some(Err(error)) = cell.take() {
            hub.report_nobody(&error);
        }
    }
}

/// Waits for room and keeps a place: see [`Keyed::reserve`](crate::Keyed::reserve).
#[must_use = "a place is kept when this is awaited"]
pub struct KeyedReserving<
    K: OrderKey,
    M: 'static,
    R: 'static = (),
    E: From<Error> + fmt::Display + 'static = Error,
> {
    /// The wait for room.
    arrival: Arrival<K, M, R, E>,
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static>
    KeyedReserving<K, M, R, E>
{
    /// A wait for a place.
    #[track_caller]
    pub(crate) fn new(hub: Option<Rc<Hub<K, M, R, E>>>, key: K) -> Self {
        KeyedReserving {
            arrival: Arrival::new(hub, key, Location::caller()),
        }
    }
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Unpin
    for KeyedReserving<K, M, R, E>
{
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Future
    for KeyedReserving<K, M, R, E>
{
    type Output = Result<KeyedPermit<K, M, R, E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let arrival = &mut self.get_mut().arrival;
        let key = ready!(arrival.poll(cx, &RESERVE, Hub::arrive_to_reserve))?;
        let hub = arrival.hub.clone();
        Poll::Ready(Ok(KeyedPermit { hub, key }))
    }
}

/// A place kept in a key's queue. Using it never waits; dropping it gives the place to the next in line.
///
/// Until then the engine does not finish. A message takes its place in the order when the permit is used.
#[must_use = "dropping a permit gives its place up"]
pub struct KeyedPermit<
    K: OrderKey,
    M: 'static,
    R: 'static = (),
    E: From<Error> + fmt::Display + 'static = Error,
> {
    /// The engine, until the permit is used.
    hub: Option<Rc<Hub<K, M, R, E>>>,
    /// The key's place.
    key: Id,
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static>
    KeyedPermit<K, M, R, E>
{
    /// Queues a message at the place kept.
    ///
    /// # Errors
    /// Gives the message back if the engine ended or the key was stopped meanwhile, or if it is too large for the limit in bytes now.
    pub fn send(mut self, message: M) -> Result<(), Refused<M>> {
        // User code: if it panics, the place is given up.
        let weighed = self.hub.as_ref().map(|hub| hub.weigh(&message));
        match self.hub.take().zip(weighed) {
            Some((hub, weighed)) => hub.push_kept(self.key, message, weighed),
            None => Err(Refused::new(message, gone())),
        }
    }
}

impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Drop
    for KeyedPermit<K, M, R, E>
{
    fn drop(&mut self) {
        if let Some(hub) = self.hub.take() {
            hub.free_place(self.key);
        }
    }
}

/// Gives a wait its `Debug`.
macro_rules! debug {
    ($($name:ident),*) => {$(
        impl<K: OrderKey, M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> fmt::Debug for $name<K, M, R, E> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}

debug!(KeyedSending, KeyedAsking, KeyedReserving, KeyedPermit);
