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
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{RawWakerVTable, Waker};

use slab::Slab;

use crate::arena::{Arena, Id};
use crate::calls::{Boxed, Calls};
use crate::clock::Clock;
use crate::inbox::Inbox;
use crate::incident::{self, Incident};
use crate::job::Job;
use crate::pool::Pool;
use crate::posts::{Handed, Posts};
use crate::reactor::Reactor;
use crate::ready::Ready;
use crate::record::{Flags, Micros};
use crate::records::{Departed, Records};
use crate::site::Site;
use crate::snapshot::{Label, PendingKey};
use crate::spares::Spares;
use crate::timers::{Nanos, Timers};
use crate::waiter::{Foreign, Kind, Note, Parent, WaiterSlot};
use crate::waits::Lender;

/// A call. It is given what it needs to make a handle from.
pub(crate) type Callback = Boxed<Rc<Shared>>;

/// What a timer does when it is due. It owns nothing, so that arming and cancelling moves words and drops none.
#[derive(Clone, Copy)]
pub(crate) enum Fire {
    /// Wakes who waits.
    Wake(WaiterSlot),
    /// Queues the callback that is kept under this number.
    Call(usize),
}

/// A point that a combinator of ours polls with a waker that says which it is.
pub(crate) struct PolledChild {
    /// The two pointers of that waker.
    pub(crate) waker: (*const (), *const RawWakerVTable),
    /// The combinator.
    pub(crate) parent: Rc<dyn Parent>,
    /// The point's place in it.
    pub(crate) place: usize,
}

/// What hears of the incidents nobody else takes.
pub(crate) type ErrorHook = Rc<dyn Fn(&Incident)>;

/// The bit of the number of a resume that is set unless a cancel is told in it: so a number of one in which none is told is above
/// those of all earlier resumes, and one comparison answers whether it is a later one and none is told.
pub(crate) const PLAIN: u32 = 1 << 31;

/// The number of the first resume. All are odd, and so unlike what stands for "never".
pub(crate) const FIRST: u32 = PLAIN | 1;

/// The id of no coroutine, and not that of a slot in which nobody waits either.
pub(crate) const NOBODY: Id = Id::nothing(0);

/// A seat in an engine that limits its calls.
pub(crate) type Seat = (Weak<dyn Lender>, u32);

/// See the module's page.
pub(crate) struct Shared {
    /// Every coroutine that has not ended.
    pub(crate) records: RefCell<Records>,
    /// The cells of one-shots that were taken.
    pub(crate) spares: RefCell<Spares>,
    /// What is to run, in order.
    pub(crate) ready: Ready,
    /// The callbacks among them: each has its [`Job::call`] in the queue.
    calls: Calls<Rc<Shared>>,
    /// Deadlines.
    pub(crate) timers: RefCell<Timers<Fire>>,
    /// The callbacks of timers, each named by its timer.
    pub(crate) timer_calls: RefCell<Slab<Callback>>,
    /// Sockets.
    pub(crate) reactor: RefCell<Reactor>,
    /// What other threads left.
    pub(crate) inbox: Arc<Inbox<Rc<Shared>>>,
    /// The time.
    pub(crate) clock: Clock,
    /// The clock at the last look.
    pub(crate) looked_at: Cell<Nanos>,
    /// The same, as a coroutine that parks notes it.
    pub(crate) looked_at_micros: Cell<Micros>,
    /// The coroutine that is being resumed.
    pub(crate) running: Cell<Id>,
    /// The number of the current resume, and whether a cancel is being told in it; see `roster`.
    pub(crate) resume: Cell<u32>,
    /// What the waker the loop polls with now points to.
    pub(crate) waker_data: Cell<*const ()>,
    /// The functions of that waker, and of every other that the loop polls with.
    pub(crate) waker_vtable: Cell<*const RawWakerVTable>,
    /// Where that waker lies while the loop is in a turn. It is compared, never followed.
    pub(crate) waker_place: Cell<*const Waker>,
    /// The same, or null while a cancel is being told or the running coroutine is queued already: a point polled with the waker at this
    /// place needs no further look to park or to give way.
    pub(crate) plain_place: Cell<*const Waker>,
    /// In which resume a coroutine last gave way and so goes to the back of the ready queue, which is done when that resume is over. Its mark
    /// of the queue stays set meanwhile, so that one that only gives way needs no look at its record.
    pub(crate) gives_way_in: Cell<u32>,
    /// Whether the running coroutine was woken while it ran, and so is in the ready queue already.
    pub(crate) queued: Cell<bool>,
    /// How many reasons there are against the common way of a resume: coroutines that are being cancelled or aborted, an interruption.
    pub(crate) detours: Cell<usize>,
    /// Whether a point of ours has parked in this resume of a coroutine that is being cancelled.
    pub(crate) parked_anew: Cell<bool>,
    /// How many points were ended by a cancel.
    pub(crate) cancels: Cell<u32>,
    /// How many clean-ups are waiting, of all coroutines.
    pub(crate) cleanups: Cell<usize>,
    /// What the running coroutine parked on last: the kind of point. Kept apart from the place, and in the record too: two words
    /// written singly and read back as one would stall the CPU in every resume.
    pub(crate) note_kind: Cell<&'static Kind>,
    /// What the running coroutine parked on last: where that was made.
    pub(crate) note_site: Cell<Option<Site>>,
    /// In which resume that was: what an earlier one has left says nothing.
    pub(crate) note_in: Cell<u32>,
    /// The coroutine that parked last, if its record does not say so yet, else [`NOBODY`]: what it parked on is in the note, until another
    /// one notes something. Most are woken before that, and their record need not be looked at.
    pub(crate) parked_last: Cell<Id>,
    /// Foreign wakers of points polled outside of any coroutine.
    pub(crate) strays: RefCell<Slab<Foreign>>,
    /// The point of a combinator of ours that is being polled, with a waker of its own.
    pub(crate) child: RefCell<Option<PolledChild>>,
    /// What other threads name but must not hold: resolvers that were made `Send`.
    vault: RefCell<Arena<Box<dyn Any>>>,
    /// Whether the next queueing must make the loop's descriptor readable.
    nudge: Cell<bool>,
    /// Whether `stop` was called and not yet heeded.
    pub(crate) stopping: Cell<bool>,
    /// Whether the loop has a reason to look up after this step: a stop, or the end of the body of `block_on`.
    interrupted: Cell<bool>,
    /// Whether the loop is gone or going.
    pub(crate) closed: Cell<bool>,
    /// Where incidents go.
    hook: ErrorHook,
    /// Whether the hook is being told.
    reporting: Cell<bool>,
    /// Threads for blocking work.
    pub(crate) pool: Pool,
    /// How many coroutines ever needed what most never need. One that needed nothing has not since this last changed.
    pub(crate) rares: Cell<u64>,
    /// How many ordered engines there are: without one, no join can close a circle.
    pub(crate) engines: Cell<usize>,
    /// How many waits for other coroutines are entered.
    pub(crate) waits: Cell<usize>,
    /// Those of joins, by the id of who is joined: see `join`. They are here because most programs join without one.
    pub(crate) join_waits: RefCell<BTreeMap<u64, Box<dyn Any>>>,
    /// The engines that limit their calls, by the id of who has a permit of theirs, with the seat he has there.
    pub(crate) lenders: RefCell<BTreeMap<u64, Seat>>,
}

impl Shared {
    /// What a new loop shares.
    pub(crate) fn new(
        reactor: Reactor,
        inbox: Arc<Inbox<Rc<Shared>>>,
        clock: Clock,
        hook: ErrorHook,
        pool: Pool,
    ) -> Rc<Self> {
        let now = clock.now();
        Rc::new(Shared {
            records: RefCell::new(Records::new()),
            spares: RefCell::default(),
            ready: Ready::default(),
            calls: Calls::default(),
            timers: RefCell::new(Timers::new()),
            timer_calls: RefCell::default(),
            reactor: RefCell::new(reactor),
            inbox,
            clock,
            looked_at: Cell::new(now),
            looked_at_micros: Cell::new(Micros::new(now)),
            running: Cell::new(Id::NONE),
            resume: Cell::new(FIRST),
            waker_data: Cell::new(ptr::null()),
            waker_vtable: Cell::new(ptr::null()),
            waker_place: Cell::new(ptr::null()),
            plain_place: Cell::new(ptr::null()),
            gives_way_in: Cell::new(0),
            queued: Cell::new(false),
            detours: Cell::new(0),
            parked_anew: Cell::new(false),
            cancels: Cell::new(0),
            cleanups: Cell::new(0),
            note_kind: Cell::new(Note::FOREIGN.kind),
            note_site: Cell::new(None),
            note_in: Cell::new(0),
            parked_last: Cell::new(NOBODY),
            strays: RefCell::default(),
            child: RefCell::default(),
            vault: RefCell::new(Arena::new()),
            nudge: Cell::new(false),
            stopping: Cell::new(false),
            interrupted: Cell::new(false),
            closed: Cell::new(false),
            hook,
            reporting: Cell::new(false),
            pool,
            rares: Cell::new(0),
            engines: Cell::new(0),
            waits: Cell::new(0),
            join_waits: RefCell::default(),
            lenders: RefCell::default(),
        })
    }

    // Queueing.

    /// Puts a job at the back of the ready queue.
    #[inline]
    pub(crate) fn push(&self, job: Job) {
        if !self.ready.push(job) {
            self.push_rare(job);
        }
    }

    /// The same where the queue is long, or somebody is to be told. It is the last thing `push` does, which so has no
    /// register to save: what a path costs is above all what it stores.
    #[cold]
    fn push_rare(&self, job: Job) {
        self.ready.push_anyhow(job);
        self.touched();
    }

    /// Queues a callback. It is dropped if the loop is gone (keeps invariant 4).
    #[inline]
    pub(crate) fn push_call<F: FnOnce(&Rc<Shared>) + 'static>(&self, callback: F) {
        if !self.closed.get() {
            let row = self.calls.push(callback);
            self.push(Job::call(row));
        }
    }

    /// Queues what other threads posted, in its order. Gives how many posts there were.
    pub(crate) fn take_in(&self, posts: &mut Posts<Rc<Shared>>) -> usize {
        posts.hand_over(&self.calls, |post| match post {
            Handed::Wake(id) => self.wake(id),
            Handed::Calls { row, count } => (0..count).for_each(|_| self.push(Job::call(row))),
        })
    }

    /// Calls the oldest callback of a row.
    #[inline]
    pub(crate) fn call_next(self: &Rc<Self>, row: usize) {
        if let Err(panic) = self.calls.call(row, self) {
            self.report_panic("callback", panic);
        }
    }

    /// Gives back the memory of queues that are empty and have grown past `kept` entries.
    pub(crate) fn rest(&self, kept: usize) {
        self.ready.rest(kept);
        self.records.borrow_mut().rest();
        rest(&self.timer_calls, kept);
        rest(&self.strays, kept);
    }

    /// Gives back what a burst has left on the shelves of what is used again.
    pub(crate) fn rest_shelves(&self) {
        self.spares.borrow().rest();
        self.calls.rest();
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
        if on {
            self.ready.close();
        }
    }

    /// Marks a coroutine ready (keeps invariant 2). Nothing happens if it has ended.
    #[inline]
    pub(crate) fn wake(&self, id: Id) {
        if self.take_parked_last(id) {
            self.push(Job(id));
        } else {
            self.wake_by_record(id);
        }
    }

    /// Marks a coroutine ready if it is the one that parked last and the queue has room. Tells whether it did.
    #[inline]
    pub(crate) fn wake_last(&self, id: Id) -> bool {
        let woken = self.parked_last.get() == id && self.ready.push(Job(id));
        if woken {
            self.parked_last.set(NOBODY);
        }
        woken
    }

    /// The same, written out where it is called.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "for who wakes many in a row: little of it is more than the call"
    )]
    pub(crate) fn wake_here(&self, id: Id) {
        if self.take_parked_last(id) || self.enter_queued(id) {
            self.push(Job(id));
        }
    }

    /// Marks one ready that is not the one that parked last.
    #[inline(never)]
    fn wake_by_record(&self, id: Id) {
        if self.enter_queued(id) {
            self.push(Job(id));
        }
    }

    /// Whether this coroutine is the one that parked last, which it is no more then. Its record says that it is queued, as it did when it
    /// was resumed.
    #[inline]
    fn take_parked_last(&self, id: Id) -> bool {
        let is_last = self.parked_last.get() == id;
        if is_last {
            self.parked_last.set(NOBODY);
        }
        is_last
    }

    /// Enters in the record of a coroutine that it is queued. Tells whether it is to be put into the queue for that.
    #[inline]
    fn enter_queued(&self, id: Id) -> bool {
        let mut records = self.records.borrow_mut();
        let Some(flags) = records.flags_mut(id) else {
            return false;
        };
        if flags.has(Flags::QUEUED) {
            if self.running.get() != id || self.queued.replace(true) {
                return false;
            }
            self.gives_way_in.set(0);
            self.plain_place.set(ptr::null());
        } else {
            flags.set(Flags::QUEUED);
        }
        true
    }

    // Incidents.

    /// Tells the error hook. A hook that panics is contained: its panic has been printed by then. What the hook itself brings about
    /// is printed.
    #[cold]
    pub(crate) fn report(&self, incident: &Incident) {
        if self.reporting.replace(true) {
            // The hook itself brought this about, and would again.
            return incident::print(incident);
        }
        let _ = catch_unwind(AssertUnwindSafe(|| (self.hook)(incident)));
        self.reporting.set(false);
    }

    /// Reports the keys that a coroutine left, where its own end cannot say so.
    pub(crate) fn report_leaks(&self, coroutine: &Label, keys: Vec<PendingKey>) {
        if !keys.is_empty() {
            let coroutine = coroutine.clone();
            self.report(&Incident::Leaked { coroutine, keys });
        }
    }

    /// Runs user code that must not take the loop down, and reports it if it panics.
    pub(crate) fn contain<R>(&self, during: &'static str, call: impl FnOnce() -> R) -> Option<R> {
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(value) => Some(value),
            Err(panic) => {
                self.report_panic(during, panic);
                None
            }
        }
    }

    /// Drops values of the user's one by one, each contained: a second panic within one drop would end the process.
    pub(crate) fn drop_each<T>(&self, values: impl IntoIterator<Item = T>) {
        for value in values {
            self.contain("drop", || drop(value));
        }
    }

    /// Reports what user code panicked with.
    #[cold]
    fn report_panic(&self, during: &'static str, panic: Box<dyn Any + Send>) {
        let message = panic_message(panic);
        self.report(&Incident::Panicked {
            coroutine: None,
            message,
            during,
        });
    }

    /// Whether the loop is gone or going.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Sets the clock at the last look.
    pub(crate) fn set_looked_at(&self, now: Nanos) {
        self.settle_parked();
        self.looked_at.set(now);
        self.looked_at_micros.set(Micros::new(now));
    }

    /// Makes the loop look up after this step.
    pub(crate) fn interrupt(&self) {
        if !self.interrupted.replace(true) {
            self.begin_detour();
        }
    }

    /// Adds a reason against the common way of a resume, from the next job on.
    pub(crate) fn begin_detour(&self) {
        self.detours.set(self.detours.get() + 1);
        self.ready.pause();
    }

    /// Takes one away.
    pub(crate) fn end_detour(&self) {
        self.detours.set(self.detours.get() - 1);
    }

    /// Whether the loop is to look up.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.get()
    }

    /// Ends an interruption.
    pub(crate) fn heed(&self) {
        if self.interrupted.replace(false) {
            self.end_detour();
        }
    }

    /// How many coroutines and callbacks are ready. An entry of the ready queue whose coroutine has ended or whose timer was cancelled is none.
    pub(crate) fn ready_count(&self) -> usize {
        self.settle_parked();
        let records = self.records.borrow();
        let running = self.running.get();
        let coroutines = records.iter().filter(|(id, record)| {
            record.flags.has(Flags::QUEUED)
                && (*id != running || self.queued.get() || self.gives_way())
        });
        coroutines.count() + self.calls.len() + self.timers.borrow().count_due()
    }

    /// Refuses all further work (keeps invariant 4).
    pub(crate) fn close(&self) {
        self.closed.set(true);
    }

    /// Takes out everything that could hold a value of the user's, to be dropped by the caller.
    pub(crate) fn take_all(&self) -> Vec<Held> {
        self.parked_last.set(NOBODY);
        self.ready.clear();
        let boxes = self.records.borrow_mut().take_spares();
        drop((boxes, self.spares.take()));
        let calls = self.calls.take_all().into_iter().map(Held::Call);
        self.timers.borrow_mut().take_all();
        let timers = self.timer_calls.take().into_iter();
        let timers = timers.map(|(_, call)| Held::Timer(call));
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
        calls.chain(timers).chain(records).chain(vault).collect()
    }

    /// Wakes every point polled outside of any coroutine, so that it learns that the loop is gone.
    pub(crate) fn wake_strays(&self) {
        for (_, foreign) in self.strays.take() {
            self.wake_taken(foreign);
        }
    }

    /// Keeps a value of this thread for another thread to name. Once the loop is gone it is dropped instead: nobody would take it out,
    /// and what it holds may keep this alive.
    pub(crate) fn deposit(&self, value: Box<dyn Any>) -> Id {
        if self.closed.get() {
            return Id::NONE;
        }
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
    /// From the queued callbacks.
    Call(#[expect(dead_code, reason = "kept to be dropped")] Box<dyn Any>),
    /// From a timer.
    Timer(#[expect(dead_code, reason = "kept to be dropped")] Callback),
    /// From the table.
    Record(Departed),
    /// Kept for another thread.
    Vault(#[expect(dead_code, reason = "kept to be dropped")] Box<dyn Any>),
}

/// Gives back the memory of a list that is empty and has grown past `kept` entries.
fn rest<T>(list: &RefCell<Slab<T>>, kept: usize) {
    let mut list = list.borrow_mut();
    if list.is_empty() && list.capacity() > kept {
        *list = Slab::new();
    }
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
