//! What the loop and all its handles share: the table of coroutines, the ready queue, the timers, the sockets, the inbox.
//!
//! It is apart because handles, yield-points and wakers reach it while the loop runs a body with `&mut`. It only queues and
//! looks up; the bodies are not in it, so that no owner can come to own itself.
//!
//! Invariants:
//! 1. No user code runs while anything here is borrowed: what might be user code (a waker, a value with a `Drop`, a callback) is taken
//!    out, the borrow ends, and only then is it called or dropped.
//! 2. A coroutine is in the ready queue at most once; what becomes ready goes to the back.
//! 3. The coroutine a point parks is the one the loop runs at that moment, whoever made the point.
//! 4. Once the loop is closed nothing is queued any more.

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, RawWakerVTable, Waker};

use slab::Slab;

use crate::arena::{Arena, Id};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::inbox::Inbox;
use crate::incident::Incident;
use crate::pool::Pool;
use crate::reactor::Reactor;
use crate::record::{Body, CancelCause, Flags, Record};
use crate::site::Site;
use crate::snapshot::{CoroutineId, Label};
use crate::timers::{Nanos, TimerId, Timers};
use crate::waiter::{Note, WaiterSlot};

/// A queued call. It is given what it needs to make a handle from.
pub(crate) type Callback = Box<dyn FnOnce(&Rc<Shared>)>;

/// One entry of the ready queue.
pub(crate) enum Job {
    /// Resume a coroutine.
    Coroutine(Id),
    /// Run a timer's callback, unless it was cancelled meanwhile.
    Timer(TimerId),
    /// Run a callback.
    Call(Callback),
}

/// What a timer does when it is due.
pub(crate) enum Fire {
    /// Wakes who waits.
    Wake(WaiterSlot),
    /// Queues a callback.
    Call(Callback),
}

/// What another thread, or a foreign waker on one, leaves in the inbox.
pub(crate) enum Post {
    /// Resume a coroutine.
    Wake(Id),
    /// Run a callback.
    Call(Box<dyn FnOnce(&Rc<Shared>) + Send>),
}

/// What hears of the incidents nobody else takes.
pub(crate) type ErrorHook = Rc<dyn Fn(&Incident)>;

/// See the module's page.
pub(crate) struct Shared {
    /// Every coroutine that has not ended.
    pub(crate) records: RefCell<Arena<Record>>,
    /// Bodies spawned since the loop last took them over.
    pub(crate) newcomers: RefCell<Vec<(Id, Pin<Box<dyn Body>>)>>,
    /// What is to run, in order.
    pub(crate) ready: RefCell<VecDeque<Job>>,
    /// Deadlines.
    pub(crate) timers: RefCell<Timers<Fire>>,
    /// Sockets.
    pub(crate) reactor: RefCell<Reactor>,
    /// What other threads left.
    pub(crate) inbox: Arc<Inbox<Post>>,
    /// The time.
    pub(crate) clock: Clock,
    /// The clock at the last look.
    pub(crate) looked_at: Cell<Nanos>,
    /// The coroutine that is being resumed.
    pub(crate) running: Cell<Id>,
    /// The number of the current resume; see [`WaiterSlot`].
    pub(crate) resume: Cell<u32>,
    /// The waker the loop polls with now, as its two pointers.
    current_waker: Cell<(*const (), *const RawWakerVTable)>,
    /// Whether points parked in earlier resumes are to end with `Cancelled`.
    pub(crate) cancelling: Cell<bool>,
    /// Whether this resume parked inside `cleanup`.
    pub(crate) cleanup_parked: Cell<bool>,
    /// What the running coroutine parked on last.
    pub(crate) note: Cell<Note>,
    /// Foreign wakers of points polled outside of any coroutine.
    strays: RefCell<Slab<Waker>>,
    /// What other threads name but must not hold: resolvers that were made `Send`.
    vault: RefCell<Arena<Box<dyn Any>>>,
    /// Whether the next queueing must make the loop's descriptor readable.
    nudge: Cell<bool>,
    /// Whether `stop` was called and not yet heeded.
    pub(crate) stopping: Cell<bool>,
    /// Whether the loop is gone or going.
    closed: Cell<bool>,
    /// Where incidents go.
    hook: ErrorHook,
    /// Threads for blocking work.
    pub(crate) pool: Pool,
}

impl Shared {
    /// What a new loop shares.
    pub(crate) fn new(
        reactor: Reactor,
        inbox: Arc<Inbox<Post>>,
        clock: Clock,
        hook: ErrorHook,
        pool: Pool,
    ) -> Rc<Self> {
        let looked_at = Cell::new(clock.now());
        Rc::new(Shared {
            records: RefCell::new(Arena::new()),
            newcomers: RefCell::default(),
            ready: RefCell::default(),
            timers: RefCell::new(Timers::new()),
            reactor: RefCell::new(reactor),
            inbox,
            clock,
            looked_at,
            running: Cell::new(Id::NONE),
            resume: Cell::new(0),
            current_waker: Cell::new((ptr::null(), ptr::null())),
            cancelling: Cell::new(false),
            cleanup_parked: Cell::new(false),
            note: Cell::new(Note::FOREIGN),
            strays: RefCell::default(),
            vault: RefCell::new(Arena::new()),
            nudge: Cell::new(false),
            stopping: Cell::new(false),
            closed: Cell::new(false),
            hook,
            pool,
        })
    }

    // Queueing.

    /// Puts a job at the back of the ready queue. It is dropped if the loop is gone (keeps invariant 4).
    #[inline]
    pub(crate) fn push(&self, job: Job) {
        if self.closed.get() {
            return;
        }
        self.ready.borrow_mut().push_back(job);
        self.touched();
    }

    /// Tells a foreign poller of the loop's descriptor that there is something to do now.
    #[inline]
    pub(crate) fn touched(&self) {
        if self.nudge.get() {
            self.nudge.set(false);
            self.inbox.make_readable();
        }
    }

    /// Sets whether the next queueing is to be told.
    pub(crate) fn set_nudge(&self, on: bool) {
        self.nudge.set(on);
    }

    /// Marks a coroutine ready (keeps invariant 2). Nothing happens if it has ended.
    #[inline]
    pub(crate) fn wake(&self, id: Id) {
        let mut records = self.records.borrow_mut();
        let Some(record) = records.get_mut(id) else {
            return;
        };
        if record.flags.has(Flags::QUEUED) {
            return;
        }
        record.flags.set(Flags::QUEUED);
        drop(records);
        self.push(Job::Coroutine(id));
    }

    /// Wakes who waits in the slot, if anybody does.
    #[inline]
    pub(crate) fn wake_waiter(&self, slot: WaiterSlot) {
        if slot.token().is_none() {
            self.wake(slot.owner());
        } else {
            self.wake_foreign(slot);
        }
    }

    /// Wakes a foreign waker, which is user code.
    #[cold]
    fn wake_foreign(&self, slot: WaiterSlot) {
        if let Some(waker) = self.take_foreign(slot) {
            self.contain("waker", || waker.wake());
        }
    }

    /// Arms a timer for `after` from the next look.
    pub(crate) fn arm(&self, after: Nanos, fire: Fire) -> TimerId {
        let id = self.timers.borrow_mut().arm(after, fire);
        self.touched();
        id
    }

    /// Arms a timer for a reading of the clock.
    pub(crate) fn arm_at(&self, deadline: Nanos, fire: Fire) -> TimerId {
        let id = self.timers.borrow_mut().arm_at(deadline, fire);
        self.touched();
        id
    }

    /// Takes a timer out. What it would have fired is dropped here. Tells whether it was still to come.
    pub(crate) fn disarm(&self, id: TimerId) -> bool {
        let fire = self.timers.borrow_mut().remove(id);
        fire.is_some()
    }

    /// Who waits for a timer, if it is still to come.
    pub(crate) fn timer_waiter(&self, id: TimerId) -> Option<WaiterSlot> {
        let mut timers = self.timers.borrow_mut();
        match timers.get_mut(id) {
            Some(Fire::Wake(slot)) => Some(*slot),
            _ => None,
        }
    }

    /// Changes who waits for a timer.
    pub(crate) fn set_timer_waiter(&self, id: TimerId, waiter: WaiterSlot) {
        let mut timers = self.timers.borrow_mut();
        if let Some(Fire::Wake(slot)) = timers.get_mut(id) {
            *slot = waiter;
        }
    }

    // Parking.

    /// Parks the point that owns `slot`: whoever polls it now will be woken through the slot given back.
    ///
    /// # Errors
    /// The cancel to be delivered by this point instead: it was parked when the cancel came, and is not shielded.
    #[inline]
    pub(crate) fn park(
        &self,
        slot: WaiterSlot,
        cx: &Context<'_>,
        note: Note,
    ) -> Result<WaiterSlot, Error> {
        let resume = self.resume.get();
        if self.cancelling.get() && slot.parked_before(resume) {
            self.unpark(slot);
            return Err(self.cancelled());
        }
        let owner = self.running.get();
        if self.polls_with(cx.waker()) && !owner.is_none() {
            if slot.token().is_some() {
                self.unpark(slot);
            }
            self.note.set(note);
            return Ok(WaiterSlot::direct(owner, resume));
        }
        self.park_foreign(slot, cx, note)
    }

    /// Whether this is the waker the loop polls with at this moment, so that the id alone will do.
    #[inline]
    fn polls_with(&self, waker: &Waker) -> bool {
        let (data, vtable) = self.current_waker.get();
        ptr::eq(waker.data(), data) && ptr::eq(waker.vtable(), vtable)
    }

    /// Sets the waker the loop polls with.
    pub(crate) fn set_current_waker(&self, waker: &Waker) {
        self.current_waker
            .set((waker.data(), ptr::from_ref(waker.vtable())));
    }

    /// Parks under a waker that some combinator made, or outside of any coroutine.
    #[cold]
    fn park_foreign(
        &self,
        slot: WaiterSlot,
        cx: &Context<'_>,
        note: Note,
    ) -> Result<WaiterSlot, Error> {
        if self.closed.get() {
            return Err(ErrorKind::LoopGone.into());
        }
        let waker = cx.waker().clone();
        let owner = self.running.get();
        self.unpark(slot);
        if !owner.is_none() {
            self.note.set(note);
        }
        let mut records = self.records.borrow_mut();
        let token = match records.get_mut(owner) {
            Some(record) => record.rare_mut().wakers.insert(Some(waker)),
            None => self.strays.borrow_mut().insert(waker),
        };
        // 0 means "never parked"; a stray point belongs to no coroutine, so no cancel will ask.
        Ok(WaiterSlot::foreign(owner, token, self.resume.get().max(1)))
    }

    /// Forgets who waits in the slot. The slot given back keeps the number of the resume.
    pub(crate) fn unpark(&self, slot: WaiterSlot) -> WaiterSlot {
        drop(self.take_foreign(slot));
        slot.vacated()
    }

    /// Takes a foreign waker out of where it is kept.
    fn take_foreign(&self, slot: WaiterSlot) -> Option<Waker> {
        let token = slot.token()?;
        let mut records = self.records.borrow_mut();
        if slot.owner().is_none() {
            return self.strays.borrow_mut().try_remove(token);
        }
        records
            .get_mut(slot.owner())?
            .rare_if_any()?
            .wakers
            .try_remove(token)
            .flatten()
    }

    // Coroutines.

    /// Enters a coroutine in the table, not yet queued.
    pub(crate) fn enter(&self, site: Site) -> Id {
        self.records.borrow_mut().insert(Record::new(site))
    }

    /// Hands a body over to the loop and queues it.
    pub(crate) fn start(&self, id: Id, body: Pin<Box<dyn Body>>) {
        self.newcomers.borrow_mut().push((id, body));
        self.wake(id);
    }

    /// Takes a coroutine out of the table, with all it holds, to be dropped by the caller.
    pub(crate) fn leave(&self, id: Id) -> Option<Record> {
        self.records.borrow_mut().remove(id)
    }

    /// Asks a coroutine to end: every own point it is parked on is woken and will give `Cancelled`. Tells whether it is still there.
    /// The first reason stands.
    pub(crate) fn cancel(&self, id: Id, reason: Cow<'static, str>, site: Site) -> bool {
        let mut records = self.records.borrow_mut();
        let Some(record) = records.get_mut(id) else {
            return false;
        };
        if record.flags.has(Flags::CANCELLED.or(Flags::ABORTED)) {
            return true;
        }
        record.flags.set(Flags::CANCELLED);
        let rare = record.rare_mut();
        rare.cancel = Some(CancelCause { reason, site });
        let wakers: Vec<Waker> = rare
            .wakers
            .iter_mut()
            .filter_map(|(_, waker)| waker.take())
            .collect();
        drop(records);
        for waker in wakers {
            self.contain("waker", || waker.wake());
        }
        self.wake(id);
        true
    }

    /// Drops a coroutine where it stands, at its place in the ready queue. Tells whether it is still there.
    pub(crate) fn abort(&self, id: Id, site: Site) -> bool {
        let mut records = self.records.borrow_mut();
        let Some(record) = records.get_mut(id) else {
            return false;
        };
        record.flags.set(Flags::ABORTED);
        record.rare_mut().cancel.get_or_insert(CancelCause {
            reason: Cow::Borrowed("aborted"),
            site,
        });
        drop(records);
        self.wake(id);
        true
    }

    /// The error by which the running coroutine learns of its own cancel.
    #[cold]
    pub(crate) fn cancelled(&self) -> Error {
        let cause = {
            let records = self.records.borrow();
            records
                .get(self.running.get())
                .and_then(|record| record.rare()?.cancel.clone())
        };
        match cause {
            Some(CancelCause { reason, site }) => ErrorKind::Cancelled { reason, site }.into(),
            None => ErrorKind::LoopGone.into(),
        }
    }

    /// How reports name a coroutine.
    pub(crate) fn label(&self, id: Id) -> Option<Label> {
        let records = self.records.borrow();
        records.get(id).map(|record| label(id, record))
    }

    // Incidents.

    /// Tells the error hook. A hook that panics is contained: its panic has been printed by then.
    #[cold]
    pub(crate) fn report(&self, incident: &Incident) {
        let _ = catch_unwind(AssertUnwindSafe(|| (self.hook)(incident)));
    }

    /// Runs user code that must not take the loop down, and reports it if it panics.
    pub(crate) fn contain<R>(&self, during: &'static str, call: impl FnOnce() -> R) -> Option<R> {
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(value) => Some(value),
            Err(panic) => {
                let message = panic_message(panic);
                self.report(&Incident::Panicked {
                    coroutine: None,
                    message,
                    during,
                });
                None
            }
        }
    }

    /// Whether the loop is gone or going.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Refuses all further work (keeps invariant 4).
    pub(crate) fn close(&self) {
        self.closed.set(true);
    }

    /// Takes out everything that could hold a value of the user's, to be dropped by the caller.
    pub(crate) fn take_all(&self) -> Vec<Held> {
        let ready = self.ready.take().into_iter().map(Held::Job);
        let fires = self
            .timers
            .borrow_mut()
            .take_all()
            .into_iter()
            .map(Held::Fire);
        let records = self
            .records
            .borrow_mut()
            .take_all()
            .into_iter()
            .map(Held::Record);
        let vault = self
            .vault
            .borrow_mut()
            .take_all()
            .into_iter()
            .map(Held::Vault);
        ready.chain(fires).chain(records).chain(vault).collect()
    }

    /// Wakes every point polled outside of any coroutine, so that it learns that the loop is gone.
    pub(crate) fn wake_strays(&self) {
        for (_, waker) in self.strays.take() {
            self.contain("waker", || waker.wake());
        }
    }

    /// Keeps a value of this thread for another thread to name.
    pub(crate) fn deposit(&self, value: Box<dyn Any>) -> Id {
        self.vault.borrow_mut().insert(value)
    }

    /// A clone of a kept value. Nothing of the user's may run in its `clone`.
    pub(crate) fn look_up<T: Clone + 'static>(&self, id: Id) -> Option<T> {
        let vault = self.vault.borrow();
        vault.get(id)?.downcast_ref::<T>().cloned()
    }

    /// Gives a kept value out.
    pub(crate) fn withdraw(&self, id: Id) -> Option<Box<dyn Any>> {
        self.vault.borrow_mut().remove(id)
    }
}

/// Something taken out of a loop that is going; see [`Shared::take_all`].
pub(crate) enum Held {
    /// From the ready queue.
    Job(#[expect(dead_code, reason = "kept to be dropped")] Job),
    /// From a timer.
    Fire(#[expect(dead_code, reason = "kept to be dropped")] Fire),
    /// From the table.
    Record(#[expect(dead_code, reason = "kept to be dropped")] Record),
    /// Kept for another thread.
    Vault(#[expect(dead_code, reason = "kept to be dropped")] Box<dyn Any>),
}

/// How reports name the coroutine of this record.
pub(crate) fn label(id: Id, record: &Record) -> Label {
    Label::new(
        public_id(id),
        record.rare().and_then(|rare| rare.name.clone()),
        record.site,
    )
}

/// The id as users see it.
pub(crate) fn public_id(id: Id) -> CoroutineId {
    CoroutineId::from_bits(id.to_bits())
}

/// The id as the table knows it.
pub(crate) fn table_id(id: CoroutineId) -> Id {
    Id::from_bits(id.to_bits())
}

/// What a panic said. A payload whose own `Drop` panics is leaked instead of dropped: it must not take the loop down.
pub(crate) fn panic_message(panic: Box<dyn Any + Send>) -> String {
    let message = if let Some(text) = panic.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic whose payload is not text".to_owned()
    };
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
    message
}
