//! One owner's messages, strictly one at a time: what every door of an ordered engine leads to.
//!
//! It is apart from the engine because it knows neither the state nor the handler: those rest in it between busy periods as one
//! sealed thing.
//!
//! Invariants:
//! 1. At most one worker at a time, and at most one message with it. The next is taken after the call before it was settled.
//! 2. The resting pair is at home exactly while no worker has it; a worker that goes, in whatever way, brings it back first.
//! 3. Every message taken is settled once: its asker is answered, or its failure is told to the error hook.
//! 4. What is dropped unhandled is told to its asker, given back by `drain`, or reported.
//!
//! ```text
//!             message                queue empty
//!   Idle ───────────────▶ Busy ─────────────────────▶ Idle ── dry, and nothing can arrive ──▶ state given back
//!    ▲                     │ call aborted, panicked, or its coroutine cancelled
//!    └──── settle ◀────────┘    (messages left: a new worker at once)
//! ```

mod ending;
mod settling;

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::arena::{Arena, Id};
use crate::error::{Error, ErrorKind, Result};
use crate::failure::{AfterFailure, Failure, Refused};
use crate::ordered_gate::{Gate, Shut};
use crate::ordered_queue::{Asker, Entry, Intake, Queue, Want};
use crate::record::{Body, Flags};
use crate::shared::Shared;
use crate::site::Site;
use crate::waiter::{Note, WaiterSlot};
use crate::waits::{Awaited, Edge, Holders};

/// What an engine is called in errors.
pub(crate) const ENGINE: &str = "ordered engine";

/// What an engine without a name is called in reports.
pub(crate) const NAMELESS: &str = "an ordered engine";

/// State and handler, between two busy periods.
pub(crate) trait Resting<M, R, E> {
    /// Goes to work: the body of a worker that empties the lane.
    fn work(self: Box<Self>, lane: &Rc<Lane<M, R, E>>, id: Id) -> Pin<Box<dyn Body>>;

    /// Looks at a failure. This is user code.
    fn judge(&mut self, failure: &Failure<'_>) -> AfterFailure;

    /// Gives the state out, in a box.
    fn into_state(self: Box<Self>) -> Box<dyn Any>;
}

/// What did not arrive, and why.
pub(crate) type TurnedAway<M, R, E> = (Want<M, R, E>, Error);

/// What rests, sealed.
type Home<M, R, E> = Box<dyn Resting<M, R, E>>;

/// The message a worker has.
struct Running<R, E> {
    /// Who asked for its result.
    asker: Asker<R, E>,
}

/// See the module's page.
pub(crate) struct Lane<M, R, E> {
    /// The loop.
    shared: Rc<Shared>,
    /// What waits.
    queue: RefCell<Queue<M, R, E>>,
    /// State and handler, while no worker has them.
    home: Cell<Option<Home<M, R, E>>>,
    /// The worker, if there is one.
    worker: Cell<Id>,
    /// The message it has.
    running: Cell<Option<Running<R, E>>>,
    /// How many doors may still send.
    doors: Cell<usize>,
    /// Who waits for the lane to become dry.
    finishers: RefCell<Arena<WaiterSlot>>,
    /// Messages that an early end left over.
    left_over: RefCell<Vec<M>>,
    /// Where other threads send to, once one may.
    gate: OnceCell<Arc<Gate<M>>>,
    /// The way back that calls are given.
    back: Rc<dyn Any>,
    /// The name in reports.
    name: Cow<'static, str>,
    /// Where the engine was created.
    pub(crate) site: Site,
}

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Lane<M, R, E> {
    /// An idle lane with no door.
    pub(crate) fn new(
        shared: &Rc<Shared>,
        bound: usize,
        name: Cow<'static, str>,
        site: Site,
        home: Home<M, R, E>,
    ) -> Rc<Self> {
        shared.engines.set(shared.engines.get() + 1);
        Rc::new_cyclic(|lane: &Weak<Self>| Lane {
            shared: Rc::clone(shared),
            queue: RefCell::new(Queue::new(bound)),
            home: Cell::new(Some(home)),
            worker: Cell::new(Id::NONE),
            running: Cell::new(None),
            doors: Cell::new(0),
            finishers: RefCell::new(Arena::new()),
            left_over: RefCell::default(),
            gate: OnceCell::new(),
            back: Rc::new(lane.clone()),
            name,
            site,
        })
    }

    /// The loop.
    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// The way back that calls are given.
    pub(crate) fn back(&self) -> Rc<dyn Any> {
        Rc::clone(&self.back)
    }

    /// How many messages wait, those of the line and of other threads not counted.
    pub(crate) fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    /// Whether newcomers are taken in.
    pub(crate) fn is_open(&self) -> bool {
        !self.shared.is_closed() && self.queue.borrow().intake() == Intake::Open
    }

    // Arriving.

    /// Queues a message if there is room now.
    #[inline]
    pub(crate) fn try_push(self: &Rc<Self>, message: M) -> Result<(), Refused<M>> {
        let mut queue = self.queue.borrow_mut();
        if queue.intake() != Intake::Open || !queue.has_room() || self.shared.is_closed() {
            drop(queue);
            return Err(self.refuse(message));
        }
        let asker = None;
        queue.push(Entry { message, asker });
        drop(queue);
        self.advance();
        Ok(())
    }

    /// Why a message is not taken now.
    #[cold]
    fn refuse(&self, message: M) -> Refused<M> {
        let error = if self.is_open() {
            let (what, limit) = (ENGINE, self.queue.borrow().bound());
            ErrorKind::Refused {
                what,
                limit,
                created_at: Some(self.site),
            }
            .into()
        } else {
            self.closed()
        };
        Refused::new(message, error)
    }

    /// The error of a lane that takes nothing more.
    pub(crate) fn closed(&self) -> Error {
        if self.shared.is_closed() {
            ErrorKind::LoopGone.into()
        } else {
            ErrorKind::Closed {
                what: ENGINE,
                created_at: Some(self.site),
            }
            .into()
        }
    }

    /// Queues a message or keeps a place if there is room now; lines up if not, and gives the place in line.
    ///
    /// # Errors
    /// Closed, or the wait would never end; `want` is dropped by the caller's leave.
    pub(crate) fn arrive(
        self: &Rc<Self>,
        want: Want<M, R, E>,
        site: Site,
    ) -> Result<Option<Id>, TurnedAway<M, R, E>> {
        if !self.is_open() {
            return Err((want, self.closed()));
        }
        let mut queue = self.queue.borrow_mut();
        if !queue.has_room() {
            drop(queue);
            if let Some(error) = self.shared.closes(&self.edge("room"), site) {
                return Err((want, error));
            }
            return Ok(Some(self.queue.borrow_mut().line_up(want)));
        }
        match want {
            Want::Entry(entry) => queue.push(entry),
            _ => queue.keep_place(),
        }
        drop(queue);
        self.advance();
        Ok(None)
    }

    /// Waits in line. What is got wins over a cancel.
    pub(crate) fn poll_line(
        self: &Rc<Self>,
        id: Id,
        cx: &Context<'_>,
        note: Note,
    ) -> Poll<Result<Want<M, R, E>>> {
        let got = self.queue.borrow_mut().collect(id);
        if let Some(got) = got {
            return Poll::Ready(Ok(got));
        }
        let slot = self.queue.borrow_mut().take_slot(id);
        match self.shared.park(slot, cx, note) {
            Ok(slot) => {
                let mut queue = self.queue.borrow_mut();
                // A waker that was cloned or dropped may have done anything.
                let Some(got) = queue.collect(id) else {
                    queue.set_slot(id, slot);
                    return Poll::Pending;
                };
                drop(queue);
                self.shared.unpark(slot);
                Poll::Ready(Ok(got))
            }
            Err(cancel) => {
                self.leave_line(id);
                Poll::Ready(Err(cancel))
            }
        }
    }

    /// Gives a place in line up, with what it got.
    pub(crate) fn leave_line(self: &Rc<Self>, id: Id) {
        let slot = self.queue.borrow_mut().take_slot(id);
        self.shared.unpark(slot);
        let left = self.queue.borrow_mut().leave(id);
        match left {
            Some(Want::Granted) => self.free_place(),
            left => {
                drop(left);
                self.settle_down();
            }
        }
    }

    /// Gives a kept place up.
    pub(crate) fn free_place(self: &Rc<Self>) {
        self.queue.borrow_mut().free_place();
        self.admit();
        self.advance();
    }

    /// Queues a message at a kept place.
    pub(crate) fn push_kept(self: &Rc<Self>, entry: Entry<M, R, E>) -> Result<(), Refused<M>> {
        let ended = self.queue.borrow().intake() == Intake::Ended;
        if ended || self.shared.is_closed() {
            return Err(Refused::new(entry.message, self.closed()));
        }
        {
            let mut queue = self.queue.borrow_mut();
            queue.free_place();
            queue.push(entry);
        }
        self.advance();
        Ok(())
    }

    /// Lets in who waits in line, as far as there is room.
    fn admit(&self) {
        loop {
            let gate = self.gate.get().map(|gate| &**gate);
            let admitted = self.queue.borrow_mut().admit(gate);
            let Some(slot) = admitted else { break };
            self.shared.wake_waiter(slot);
        }
    }

    // Working.

    /// Starts a worker if there is work and none; otherwise tells who waits for the end, if it has come.
    #[inline]
    pub(crate) fn advance(self: &Rc<Self>) {
        if self.worker.get().is_none() {
            self.start();
        }
    }

    /// The same where there is no worker.
    fn start(self: &Rc<Self>) {
        if self.len() == 0 {
            return self.settle_down();
        }
        if self.shared.is_closed() {
            return self.gone();
        }
        let Some(home) = self.home.take() else {
            return;
        };
        let id = self.shared.enter(self.site);
        if self.name != NAMELESS {
            let name = self.name.clone();
            self.shared.set_name(id, name);
        }
        self.worker.set(id);
        let body = home.work(self, id);
        self.shared.start(id, body);
    }

    /// Takes the next message for the worker.
    #[inline]
    pub(crate) fn next(&self) -> Option<M> {
        let (entry, has_line) = {
            let mut queue = self.queue.borrow_mut();
            (queue.pop()?, queue.has_line())
        };
        self.running.set(Some(Running { asker: entry.asker }));
        if has_line {
            self.admit();
        }
        Some(entry.message)
    }

    /// Whether the worker can take no further message: its coroutine is being cancelled or aborted.
    pub(crate) fn is_doomed(&self, id: Id) -> bool {
        let records = self.shared.records.borrow();
        records
            .get(id)
            .is_none_or(|record| record.flags.has(Flags::DOOMED))
    }

    /// Brings the pair home (keeps invariant 2).
    pub(crate) fn bring_home(&self, home: Home<M, R, E>) {
        self.home.set(Some(home));
    }

    /// The worker has ended by itself.
    pub(crate) fn worker_ended(self: &Rc<Self>) {
        self.worker.set(Id::NONE);
        self.start();
    }

    // Waiting for oneself.

    /// A wait for something of this lane.
    pub(crate) fn edge(self: &Rc<Self>, what: &'static str) -> Edge {
        let to = Rc::clone(self) as Rc<dyn Awaited>;
        let place = Id::NONE;
        Edge { to, place, what }
    }

    // Other threads.

    /// Where other threads send to.
    pub(crate) fn gate(&self) -> &Arc<Gate<M>> {
        self.gate.get_or_init(|| {
            let queue = self.queue.borrow();
            let gate = Gate::new(queue.bound());
            if queue.intake() != Intake::Open {
                gate.shut(Shut::Closed);
            }
            Arc::new(gate)
        })
    }

    /// Takes in what other threads sent, as far as there is room; the rest lines up.
    pub(crate) fn pull(self: &Rc<Self>) {
        if self.queue.borrow().intake() == Intake::Ended {
            return;
        }
        self.queue.borrow_mut().line_up(Want::Pull);
        self.admit();
        self.advance();
    }
}

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Awaited for Lane<M, R, E> {
    fn holders(&self, _place: Id) -> Holders {
        let worker = self.worker.get();
        if worker.is_none() {
            Holders::Nobody
        } else {
            Holders::One(worker)
        }
    }

    fn name(&self, _place: Id) -> String {
        self.name.clone().into_owned()
    }

    fn actor(&self, _place: Id) -> String {
        format!("the handler of {}", self.name)
    }
}
