//! The doors to a loop: [`Handle`] on its own thread, [`Remote`] and [`WeakRemote`] from any other.
//!
//! They are apart from the loop because they outlive a turn and the loop itself. A door only queues and looks; what it queues runs
//! when the loop comes to it, in the order in which it was queued.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::nanos;
use crate::error::{ErrorKind, Result};
use crate::inbox::Inbox;
use crate::incident::Incident;
use crate::record::{Flags, Rare, Record, RecordMut};
use crate::roster::{label, table_id};
use crate::shared::{Callback, Shared};
use crate::snapshot::{Activity, CoroutineId, CoroutineInfo, PendingKey, Snapshot};

/// A door to a loop on the loop's own thread: spawns coroutines, queues callbacks, sets timers, looks inside.
///
/// Clones are cheap and lead to the same loop. A handle keeps no loop alive: once the loop is gone, what is spawned ends with
/// `LoopGone`, and a callback that is queued is dropped uncalled, which is reported.
///
/// ```compile_fail
/// fn must_be_send<T: Send>() {}
/// must_be_send::<yieldpoint::Handle>();
/// ```
#[derive(Clone)]
pub struct Handle {
    /// What it leads to.
    shared: Rc<Shared>,
}

/// Names one timer of a loop, for [`Handle::cancel_timer`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimerId(crate::timers::TimerId);

impl Handle {
    /// A door to what the loop shares.
    pub(crate) fn new(shared: Rc<Shared>) -> Self {
        Handle { shared }
    }

    /// What the door leads to.
    #[inline]
    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// Queues a callback. It runs in its turn, after everything that was ready before it and never inside this call.
    ///
    /// ```
    /// # use std::{cell::RefCell, rc::Rc};
    /// # use yieldpoint::{EventLoop, Result};
    /// let log = Rc::new(RefCell::new(vec![]));
    /// let mut event_loop = EventLoop::new()?;
    /// for n in 1..=3 {
    ///     let log = Rc::clone(&log);
    ///     event_loop.handle().call_soon(move || log.borrow_mut().push(n));
    /// }
    /// event_loop.run()?;
    /// assert_eq!(*log.borrow(), [1, 2, 3]);
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[doc(alias = "add_callback")]
    #[inline]
    pub fn call_soon(&self, callback: impl FnOnce() + 'static) {
        if self.shared.is_closed() {
            return self.refuse(callback);
        }
        self.shared.push_call(move |_: &Rc<Shared>| callback());
    }

    /// Drops a callback that is queued on a loop that is gone.
    #[cold]
    fn refuse(&self, callback: impl FnOnce()) {
        self.is_open_for("a callback queued with call_soon");
        drop(callback);
    }

    /// Queues a callback for `after` from now. It never runs early; timers for the same moment run in the order in which they were
    /// set. Zero means as soon as the loop comes to it. A duration past the end of the clock (584 years) never ends, and keeps no loop
    /// running.
    ///
    /// The time is taken at the loop's next look, in one reading for all timers set since the last.
    ///
    /// ```
    /// # use std::{cell::RefCell, rc::Rc};
    /// # use yieldpoint::{EventLoop, Result, ms};
    /// let log = Rc::new(RefCell::new(vec![]));
    /// let mut event_loop = EventLoop::new()?;
    /// let noting = |what| {
    ///     let log = Rc::clone(&log);
    ///     move || log.borrow_mut().push(what)
    /// };
    /// event_loop.handle().call_later(ms(2), noting("second"));
    /// event_loop.handle().call_later(ms(1), noting("first"));
    /// let never = event_loop.handle().call_later(ms(3), noting("never"));
    /// assert!(event_loop.handle().cancel_timer(never));
    /// event_loop.run()?;
    /// assert_eq!(*log.borrow(), ["first", "second"]);
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[doc(alias = "add_timeout")]
    pub fn call_later(&self, after: Duration, callback: impl FnOnce() + 'static) -> TimerId {
        if !self.is_open_for("a callback set with call_later") {
            return TimerId(crate::arena::Id::NONE);
        }
        let callback: Callback = Box::new(move |_| callback());
        TimerId(self.shared.arm_call(nanos(after), callback))
    }

    /// Queues a callback for the moment `at`; one that has passed means as soon as the loop comes to it.
    #[doc(alias = "add_timeout")]
    pub fn call_at(&self, at: Instant, callback: impl FnOnce() + 'static) -> TimerId {
        if !self.is_open_for("a callback set with call_at") {
            return TimerId(crate::arena::Id::NONE);
        }
        let callback: Callback = Box::new(move |_| callback());
        TimerId(
            self.shared
                .arm_call_at(self.shared.clock.reading(at), callback),
        )
    }

    /// Cancels a timer and drops its callback. Tells whether it was still to run; a timer that is due but has not run yet still counts,
    /// and then does not run.
    #[doc(alias = "remove_timeout")]
    pub fn cancel_timer(&self, timer: TimerId) -> bool {
        self.shared.disarm(timer.0)
    }

    /// Cancels a coroutine: see [`JoinHandle::cancel`](crate::join::JoinHandle::cancel). Tells whether it had not ended yet.
    #[track_caller]
    pub fn cancel(&self, id: CoroutineId, reason: impl Into<Cow<'static, str>>) -> bool {
        self.shared
            .cancel(table_id(id), reason.into(), Location::caller())
    }

    /// Drops a coroutine where it stands, without telling it: see [`JoinHandle::abort`](crate::join::JoinHandle::abort). Tells
    /// whether it had not ended yet.
    #[track_caller]
    pub fn abort(&self, id: CoroutineId) -> bool {
        self.shared.abort(table_id(id), Location::caller())
    }

    /// Asks the loop to leave `run` or `block_on`. What is ready when the running callback or coroutine gives way still runs; what that
    /// makes ready waits for the next run. Before a run, it makes that run return at once, however often it was called; a `turn` takes
    /// no notice of it.
    pub fn stop(&self) {
        self.shared.stopping.set(true);
        self.shared.interrupt();
        self.shared.touched();
    }

    /// The loop's clock, read now.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.clock.instant(self.shared.clock.now())
    }

    /// Whether the loop is still there.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.shared.is_closed()
    }

    /// A door for other threads.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result};
    /// let mut event_loop = EventLoop::new()?;
    /// let n = event_loop.block_on(async |co| -> Result<u32> {
    ///     let answer = co.callback::<u32>("answer")?.into_send_fn();
    ///     std::thread::spawn(move || answer(42));
    ///     co.wait("answer").await
    /// })?;
    /// assert_eq!(n, 42);
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[must_use]
    pub fn remote(&self) -> Remote {
        Remote::new(Arc::clone(&self.shared.inbox))
    }

    /// Every coroutine that has not ended: what it is, where it came from, what it waits for and since when. It polls nobody, runs no
    /// user code, and works from inside a coroutine.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let reply = co.callback::<u32>("reply")?;
    /// let table = co.handle().snapshot().to_string();
    /// assert!(table.contains("reply"), "{table}");
    /// # co.forget("reply")?; drop(reply); Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        snapshot(&self.shared)
    }

    /// Reports and refuses what is queued on a loop that is gone.
    fn is_open_for(&self, what: &'static str) -> bool {
        let open = !self.shared.is_closed();
        if !open {
            self.shared.report(&Incident::LoopGone { what });
        }
        open
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("is_alive", &self.is_alive())
            .finish_non_exhaustive()
    }
}

/// Looks inside a loop; see [`Handle::snapshot`].
pub(crate) fn snapshot(shared: &Shared) -> Snapshot {
    shared.settle_parked();
    let running = shared.running.get();
    let now = shared.looked_at.get();
    let coroutines = {
        let records = shared.records.borrow();
        let info = |(id, record): (_, Record<'_>)| {
            let activity = if id == running {
                Activity::Running
            } else if record.flags.has(Flags::UNSTARTED) {
                Activity::NotStarted
            } else if record.flags.has(Flags::QUEUED) {
                Activity::Ready
            } else {
                let (note, since) = record.parked();
                Activity::Parked {
                    on: note.kind.0,
                    at: note.site,
                    since: Duration::from_nanos(now.saturating_sub(since)),
                }
            };
            let rare = record.rare();
            CoroutineInfo {
                keys: rare.map_or_else(Vec::new, |rare| rare.ledger.report()),
                cancelled: rare
                    .and_then(|rare| rare.cancel.as_ref())
                    .map(|cause| cause.reason.clone()),
                in_cleanup: record.flags.has(Flags::IN_CLEANUP),
                wakers: rare.map_or(0, Rare::foreign_wakers),
                ..CoroutineInfo::new(label(id, record), activity)
            }
        };
        records.iter().map(info).collect()
    };
    let ready = shared.ready_count();
    let timers = shared.timers.borrow().len();
    // The reactor is borrowed for the time of a poll only, and no user code runs within one.
    let sources = shared.reactor.borrow().waited_for();
    Snapshot::new(coroutines, ready, timers, sources, shared.inbox.remotes())
}

/// A door to a loop from other threads. `Send`, `Sync`, cheap to clone.
///
/// While one is alive, the loop does not call a parked coroutine stuck: the remote might still post. It does not keep
/// [`run`](crate::event_loop::EventLoop::run) going by itself. [`downgrade`](Remote::downgrade) gives one that counts for nothing.
pub struct Remote {
    /// Where posts go.
    inbox: Arc<Inbox<Rc<Shared>>>,
}

impl Remote {
    /// A strong remote.
    pub(crate) fn new(inbox: Arc<Inbox<Rc<Shared>>>) -> Self {
        inbox.add_remote();
        Remote { inbox }
    }

    /// Runs a callback on the loop's thread, in its turn, and wakes the loop if it sleeps: one system call a sleep, however many
    /// posts. Posts of one thread run in the order in which they were posted.
    ///
    /// # Errors
    /// `LoopGone` if the loop is gone or being dropped; the callback is dropped here, on this thread.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result};
    /// let mut event_loop = EventLoop::new()?;
    /// let remote = event_loop.handle().remote();
    /// let poster = std::thread::spawn(move || remote.post(|handle| handle.stop()));
    /// poster.join().expect("the thread ends well")?;
    /// event_loop.run()?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[doc(alias = "add_callback")]
    pub fn post(&self, callback: impl FnOnce(&Handle) + Send + 'static) -> Result {
        post(&self.inbox, callback)
    }

    /// A remote that does not count as something that might still wake a coroutine.
    #[must_use]
    pub fn downgrade(&self) -> WeakRemote {
        WeakRemote {
            inbox: Arc::clone(&self.inbox),
        }
    }
}

impl Clone for Remote {
    fn clone(&self) -> Self {
        Remote::new(Arc::clone(&self.inbox))
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.inbox.drop_remote();
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

/// A door to a loop from other threads that the loop does not count on: for monitors, signal handlers, loggers.
#[derive(Clone)]
pub struct WeakRemote {
    /// Where posts go.
    inbox: Arc<Inbox<Rc<Shared>>>,
}

impl WeakRemote {
    /// Runs a callback on the loop's thread; see [`Remote::post`].
    ///
    /// # Errors
    /// `LoopGone` if the loop is gone.
    pub fn post(&self, callback: impl FnOnce(&Handle) + Send + 'static) -> Result {
        post(&self.inbox, callback)
    }

    /// A remote that counts.
    #[must_use]
    pub fn upgrade(&self) -> Remote {
        Remote::new(Arc::clone(&self.inbox))
    }
}

impl fmt::Debug for WeakRemote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakRemote").finish_non_exhaustive()
    }
}

/// Leaves a callback in the inbox.
fn post(inbox: &Inbox<Rc<Shared>>, callback: impl FnOnce(&Handle) + Send + 'static) -> Result {
    let posted = inbox.post(move |shared: &Rc<Shared>| callback(&Handle::new(Rc::clone(shared))));
    if posted {
        Ok(())
    } else {
        Err(ErrorKind::LoopGone.into())
    }
}

/// Keys that a coroutine which is ending leaves pending; they are freed, and what they hold is dropped here.
pub(crate) fn take_leaks(shared: &Shared, id: crate::arena::Id) -> Vec<PendingKey> {
    let (report, entries) = {
        let mut records = shared.records.borrow_mut();
        let Some(rare) = records.get_mut(id).and_then(RecordMut::rare_if_any) else {
            return Vec::new();
        };
        if rare.ledger.is_empty() {
            return Vec::new();
        }
        (rare.ledger.report(), rare.ledger.take_all())
    };
    for entry in entries {
        // A value that has arrived is the user's, and so is its `Drop`.
        shared.contain("drop", || {
            if let Some(timer) = entry.timer() {
                shared.disarm(timer);
            }
            drop(entry);
        });
    }
    report
}
