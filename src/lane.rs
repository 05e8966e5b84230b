//! One owner's messages, strictly one at a time: what every door of an ordered engine leads to.
//!
//! It is apart from the engines because it knows neither the state nor the key nor the handler: those rest in it between busy
//! periods as one sealed thing. `Ordered` is one lane; a keyed engine is one lane a key.
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
use crate::failure::{Failure, FailureKind, Next, Refused};
use crate::handle::take_leaks;
use crate::incident::Incident;
use crate::ordered_gate::{Gate, Shut};
use crate::ordered_queue::{Asker, Entry, Intake, Queue, Want};
use crate::record::{Body, Flags};
use crate::shared::Shared;
use crate::site::Site;
use crate::waiter::{Note, WaiterSlot};

/// What an engine is called in errors.
pub(crate) const ENGINE: &str = "ordered engine";

/// What an engine without a name is called in reports.
pub(crate) const NAMELESS: &str = "an ordered engine";

/// State and handler, between two busy periods.
pub(crate) trait Resting<M, R, E> {
    /// Goes to work: the body of a worker that empties the lane.
    fn work(self: Box<Self>, lane: &Rc<Lane<M, R, E>>, id: Id) -> Pin<Box<dyn Body>>;

    /// Looks at a failure. This is user code.
    fn judge(&mut self, failure: &Failure<'_>) -> Next;

    /// Gives the state out, in a box.
    fn into_state(self: Box<Self>) -> Box<dyn Any>;
}

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
    site: Site,
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
            ErrorKind::Refused { what, limit }.into()
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
            ErrorKind::Closed { what: ENGINE }.into()
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
    ) -> Result<Option<Id>, (Want<M, R, E>, Error)> {
        if !self.is_open() {
            return Err((want, self.closed()));
        }
        let mut queue = self.queue.borrow_mut();
        if !queue.has_room() {
            drop(queue);
            if self.is_own_call() {
                return Err((want, self.own_wait("room", site)));
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
        let slot = self.queue.borrow().slot(id);
        match self.shared.park(slot, cx, note) {
            Ok(slot) => {
                self.queue.borrow_mut().set_slot(id, slot);
                Poll::Pending
            }
            Err(cancel) => {
                self.queue.borrow_mut().set_slot(id, slot.vacated());
                self.leave_line(id);
                Poll::Ready(Err(cancel))
            }
        }
    }

    /// Gives a place in line up, with what it got.
    pub(crate) fn leave_line(self: &Rc<Self>, id: Id) {
        let slot = self.queue.borrow().slot(id);
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
            if let Some(record) = self.shared.records.borrow_mut().get_mut(id) {
                record.rare_mut().name = Some(name);
            }
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
        let doomed = Flags::CANCELLED.or(Flags::ABORTED);
        records
            .get(id)
            .is_none_or(|record| record.flags.has(doomed))
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

    /// The worker was ended from outside. The pair is at home.
    pub(crate) fn worker_lost(self: &Rc<Self>, error: Error) {
        let kind = match error.kind() {
            ErrorKind::LoopGone => {
                self.worker.set(Id::NONE);
                return self.gone();
            }
            ErrorKind::Panicked { .. } => FailureKind::Panicked,
            ErrorKind::Aborted { .. } => FailureKind::Aborted,
            _ => FailureKind::Cancelled,
        };
        match self.running.take() {
            Some(running) => {
                let error = self
                    .shared
                    .contain("error's From", || E::from(error))
                    .zip(self.home.take());
                // Otherwise dropping the asker tells it.
                if let Some((error, mut home)) = error {
                    self.running.set(Some(running));
                    self.fail(kind, error, &mut *home);
                    self.home.set(Some(home));
                }
            }
            None => {
                if let ErrorKind::Panicked { coroutine, message } = error.into_kind() {
                    self.shared.report(&Incident::Panicked {
                        coroutine,
                        message: message.into(),
                        during: "drop",
                    });
                }
            }
        }
        self.worker.set(Id::NONE);
        self.start();
    }

    // Settling.

    /// Takes the result of the running call, and what keys it left (keeps invariant 3).
    #[inline]
    pub(crate) fn settle(&self, id: Id, result: Result<R, E>, pair: &mut dyn Resting<M, R, E>) {
        // Without anything rare it has no keys, and was neither cancelled nor aborted.
        let rare = {
            let records = self.shared.records.borrow();
            records
                .get(id)
                .is_some_and(|record| record.rare().is_some())
        };
        match result {
            Ok(value) if !rare => self.succeed(value),
            result => self.settle_rare(id, result, pair),
        }
    }

    /// The same for a call that failed, or whose coroutine has keys or a name or was cancelled.
    #[cold]
    fn settle_rare(&self, id: Id, result: Result<R, E>, pair: &mut dyn Resting<M, R, E>) {
        let shared = &*self.shared;
        let keys = take_leaks(shared, id);
        let cause = {
            let records = shared.records.borrow();
            let record = records.get(id);
            let record = record.filter(|record| record.flags.has(Flags::CANCELLED));
            record.and_then(|record| record.rare()?.cancel.clone())
        };
        let (kind, error) = match (result, cause) {
            (Ok(value), None) if keys.is_empty() => return self.succeed(value),
            (Ok(value), None) => {
                drop(value);
                let Some(coroutine) = shared.label(id) else {
                    return;
                };
                let leaked = ErrorKind::Leaked { coroutine, keys };
                return self.fail(FailureKind::Leaked, E::from(leaked.into()), pair);
            }
            (Ok(value), Some(_)) => {
                self.report_leaks(id, keys);
                return self.succeed(value);
            }
            (Err(error), None) => {
                self.report_leaks(id, keys);
                (FailureKind::Error, error)
            }
            (Err(mut error), Some(cause)) => {
                // A call's cancel is another error to who asked than his own would be.
                if let Some(own) = (&mut error as &mut dyn Any).downcast_mut::<Error>()
                    && own.is_cancelled()
                    && let Some(coroutine) = shared.label(id)
                {
                    *own = ErrorKind::CoroutineCancelled {
                        coroutine,
                        reason: cause.reason,
                        site: cause.site,
                        swallowed: false,
                        keys,
                    }
                    .into();
                } else {
                    self.report_leaks(id, keys);
                }
                (FailureKind::Cancelled, error)
            }
        };
        self.fail(kind, error, pair);
    }

    /// Reports keys that a call left, where its result cannot say so.
    fn report_leaks(&self, id: Id, keys: Vec<crate::snapshot::PendingKey>) {
        if !keys.is_empty()
            && let Some(coroutine) = self.shared.label(id)
        {
            self.shared.report(&Incident::Leaked { coroutine, keys });
        }
    }

    /// Gives a value to who asked for it.
    #[inline]
    fn succeed(&self, value: R) {
        match self.running.take() {
            Some(Running { asker: Some(asker) }) => asker.resolve(Ok(value)),
            _ => drop(value),
        }
    }

    /// Lets the user's hook look at an error, then gives it to who asked, or to the error hook.
    fn fail(&self, kind: FailureKind, error: E, pair: &mut dyn Resting<M, R, E>) {
        let judged = self
            .shared
            .contain("callback", || pair.judge(&Failure::new(kind, &error)));
        let asker = self.running.take().and_then(|running| running.asker);
        match asker.filter(crate::oneshot::Resolver::is_wanted) {
            Some(asker) => asker.resolve(Err(error)),
            None => self.report_untaken(&error),
        }
        if judged == Some(Next::Stop) {
            self.cut_short();
        }
    }

    /// Reports an error that nobody asked for, or whose asker has gone.
    pub(crate) fn report_untaken(&self, error: &E) {
        if let Some(error) = self.shared.contain("error's Display", || error.to_string()) {
            self.report(error);
        }
    }

    /// Tells the error hook about this engine.
    fn report(&self, error: String) {
        self.shared.report(&Incident::OrderedFailed {
            engine: self.name.clone(),
            created_at: self.site,
            error,
        });
    }

    // Ending.

    /// One more door.
    pub(crate) fn add_door(&self) {
        self.doors.set(self.doors.get() + 1);
    }

    /// One door less.
    pub(crate) fn drop_door(self: &Rc<Self>) {
        self.doors.set(self.doors.get() - 1);
        self.settle_down();
    }

    /// Takes no more newcomers.
    pub(crate) fn close(self: &Rc<Self>) {
        self.queue.borrow_mut().close();
        if let Some(gate) = self.gate.get() {
            gate.shut(Shut::Closed);
        }
        self.settle_down();
    }

    /// Takes nothing any more, and keeps what was queued for `drain`. The running call goes on.
    fn cut_short(&self) {
        let (entries, slots) = self.queue.borrow_mut().end();
        for Entry { message, asker } in entries {
            self.left_over.borrow_mut().push(message);
            drop(asker);
        }
        if let Some(gate) = self.gate.get() {
            gate.shut(Shut::Closed);
            self.left_over.borrow_mut().extend(gate.take_all());
        }
        for slot in slots {
            self.shared.wake_waiter(slot);
        }
    }

    /// Ends the lane before it is dry: nothing more is taken, the running call is cancelled.
    pub(crate) fn cut_off(self: &Rc<Self>, reason: &'static str, site: Site) {
        self.cut_short();
        let worker = self.worker.get();
        if !worker.is_none() {
            self.shared.cancel(worker, Cow::Borrowed(reason), site);
        }
        self.settle_down();
    }

    /// The loop is gone, and with it all that waits.
    fn gone(&self) {
        let dropped = (self.running.take(), self.queue.borrow_mut().end());
        if let Some(gate) = self.gate.get() {
            gate.shut(Shut::LoopGone);
            drop(gate.take_all());
        }
        for slot in &dropped.1.1 {
            self.shared.wake_waiter(*slot);
        }
        self.wake_finishers();
    }

    /// Whether nothing is left to do and nothing can arrive.
    pub(crate) fn is_finished(&self) -> bool {
        let queue = self.queue.borrow();
        self.worker.get().is_none()
            && queue.is_dry()
            && (queue.intake() != Intake::Open || self.doors.get() == 0)
            && self.gate.get().is_none_or(|gate| gate.is_empty())
    }

    /// Tells who waits for the end, if it has come.
    fn settle_down(&self) {
        let waited_for = !self.finishers.borrow().is_empty();
        if waited_for && self.is_finished() {
            self.wake_finishers();
        }
    }

    /// Wakes everybody who waits for the end.
    fn wake_finishers(&self) {
        let mut slots = Vec::new();
        {
            let mut finishers = self.finishers.borrow_mut();
            let ids: Vec<Id> = finishers.iter().map(|(id, _)| id).collect();
            for id in ids {
                if let Some(slot) = finishers.get_mut(id) {
                    slots.push(*slot);
                    *slot = slot.vacated();
                }
            }
        }
        for slot in slots {
            self.shared.wake_waiter(slot);
        }
    }

    /// Ends a finished lane and gives the state out, in a box. None if it was given out before.
    pub(crate) fn take_state(&self) -> Option<Box<dyn Any>> {
        self.queue.borrow_mut().end();
        Some(self.home.take()?.into_state())
    }

    /// Takes what an early end left over.
    pub(crate) fn take_left_over(&self) -> Vec<M> {
        self.left_over.take()
    }

    /// Waits for the end; `id` is where the wait is kept from the first poll on.
    pub(crate) fn poll_finish(&self, id: &mut Id, cx: &Context<'_>, note: Note) -> Poll<Result> {
        if self.shared.is_closed() {
            return Poll::Ready(Err(ErrorKind::LoopGone.into()));
        }
        if self.is_finished() {
            return Poll::Ready(Ok(()));
        }
        if self.is_own_call() {
            let site = note.site.unwrap_or(self.site);
            return Poll::Ready(Err(self.own_wait("the end", site)));
        }
        if id.is_none() {
            *id = self.finishers.borrow_mut().insert(WaiterSlot::EMPTY);
        }
        let slot = self.finishers.borrow().get(*id).copied();
        let slot = slot.unwrap_or(WaiterSlot::EMPTY);
        let parked = self.shared.park(slot, cx, note);
        if let Some(kept) = self.finishers.borrow_mut().get_mut(*id) {
            *kept = *parked.as_ref().unwrap_or(&slot.vacated());
        }
        match parked {
            Ok(_) => Poll::Pending,
            Err(cancel) => Poll::Ready(Err(cancel)),
        }
    }

    /// Gives up waiting for the end.
    pub(crate) fn leave_finish(&self, id: Id) {
        let slot = self.finishers.borrow_mut().remove(id);
        if let Some(slot) = slot {
            self.shared.unpark(slot);
        }
    }

    // Waiting for oneself.

    /// Whether the coroutine that runs now is the one that handles this lane's message.
    pub(crate) fn is_own_call(&self) -> bool {
        let running = self.shared.running.get();
        !running.is_none() && running == self.worker.get()
    }

    /// The error of a wait that only its own end could end.
    #[cold]
    pub(crate) fn own_wait(&self, what: &str, site: Site) -> Error {
        let name = &self.name;
        ErrorKind::Deadlock {
            path: format!("the handler of {name} waits for {what} of {name}"),
            site,
        }
        .into()
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

impl<M, R, E> Drop for Lane<M, R, E> {
    /// Reports what nobody will ever handle or take (keeps invariant 4).
    fn drop(&mut self) {
        let left = self.left_over.get_mut().len();
        if left > 0 && !self.shared.is_closed() {
            self.shared.report(&Incident::OrderedFailed {
                engine: self.name.clone(),
                created_at: self.site,
                error: format!("it ended early and {left} queued messages were dropped; drain it to get them back"),
            });
        }
    }
}
