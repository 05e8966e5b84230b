//! Callbacks that fire many times, and the one coroutine that takes what they were called with.
//!
//! It is apart from [`queue`](crate::queue()) because a callback cannot wait for room: it is told that there is none, or the loss is
//! counted and told to the coroutine.
//!
//! Invariants:
//! 1. Events of one emitter are taken in the order in which they were emitted; the loss of some is told at its place in that order.
//! 2. Emitting never resumes in place; it wakes the coroutine if it is parked, and a waker runs with nothing borrowed and no lock held.
//! 3. What other threads emitted lies in a buffer of its own; the two buffers are taken from in turn, so that neither starves.
//! 4. In steady state an event allocates nothing: a thread wakes the coroutine through a waker that is there already.
//!
//! ```text
//!   Emitter ──▶ [near buffer] ─┐
//!                              ├─ in turn ─▶ next() ──▶ Some(event) | Missed | None: no emitter is left
//!   SendEmitter ▶ [far buffer] ┘
//! ```

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::coroutine::Co;
use crate::error::{ErrorKind, Result};
use crate::handle::{Handle, Remote};
use crate::send_error::SendError;
use crate::shared::Shared;
use crate::site::Site;
use crate::waiter::{Kind, Note, WaiterSlot};

static EVENTS: Kind = Kind("events");

/// What errors call it.
const WHAT: &str = "buffer of events";

/// The receiving side of callbacks that fire many times: see [`Co::events`].
///
/// It makes emitters as long as it lives. When it is dropped, emitters refuse what they are given.
pub struct Events<T> {
    /// What the emitters of this thread reach too.
    near: Rc<Near<T>>,
}

/// What the emitters of the loop's thread reach.
struct Near<T> {
    /// Where the waiter is woken.
    shared: Rc<Shared>,
    /// Where it was made.
    site: Site,
    /// The most events kept in a buffer.
    bound: usize,
    /// Who waits.
    slot: Cell<WaiterSlot>,
    /// What was emitted and not taken.
    buffer: RefCell<Buffer<T>>,
    /// How many emitters of this thread there are.
    emitters: Cell<usize>,
    /// Whether nobody takes events any more.
    closed: Cell<bool>,
    /// Whether the far buffer is to be looked at first (invariant 3).
    far_first: Cell<bool>,
    /// What the emitters of other threads reach, once there are any.
    far: OnceCell<Arc<Mutex<Far<T>>>>,
}

/// What the emitters of other threads reach.
struct Far<T> {
    /// What was emitted and not taken.
    buffer: Buffer<T>,
    /// How many emitters of other threads there are.
    emitters: usize,
    /// Whether nobody takes events any more.
    closed: bool,
    /// Who waits.
    waker: Option<Waker>,
}

/// Events, with the places where some were lost.
struct Buffer<T> {
    /// Each with the number lost just before it.
    events: VecDeque<(u64, T)>,
    /// The number lost since the last one.
    lost: u64,
}

/// What a buffer gives.
enum Taken<T> {
    /// An event.
    Event(T),
    /// So many were lost here.
    Lost(u64),
}

impl<T> Buffer<T> {
    /// No events.
    const fn new() -> Self {
        Buffer {
            events: VecDeque::new(),
            lost: 0,
        }
    }

    /// Keeps an event, or gives it back.
    fn offer(&mut self, event: T, bound: usize) -> Result<(), T> {
        if self.events.len() >= bound {
            return Err(event);
        }
        let lost = std::mem::take(&mut self.lost);
        self.events.push_back((lost, event));
        Ok(())
    }

    /// Counts an event that was lost.
    fn lose(&mut self) {
        self.lost = self.lost.saturating_add(1);
    }

    /// Takes the oldest event, or the loss before it.
    fn take(&mut self) -> Option<Taken<T>> {
        let lost = match self.events.front_mut() {
            Some((lost, _)) => std::mem::take(lost),
            None => std::mem::take(&mut self.lost),
        };
        if lost > 0 {
            return Some(Taken::Lost(lost));
        }
        self.events
            .pop_front()
            .map(|(_, event)| Taken::Event(event))
    }
}

/// The far side, locked. A thread that panicked in here left nothing half done.
fn lock<T>(far: &Mutex<Far<T>>) -> MutexGuard<'_, Far<T>> {
    far.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Near<T> {
    /// Wakes who waits.
    #[inline]
    fn wake(&self) {
        let slot = self.slot.get();
        self.slot.set(slot.vacated());
        self.shared.wake_waiter(slot);
    }

    /// Takes the next event from the buffer whose turn it is, else from the other.
    fn take(&self) -> Option<Taken<T>> {
        let Some(far) = self.far.get() else {
            return self.buffer.borrow_mut().take();
        };
        let far_first = self.far_first.get();
        self.far_first.set(!far_first);
        if far_first {
            let taken = lock(far).buffer.take();
            taken.or_else(|| self.buffer.borrow_mut().take())
        } else {
            let taken = self.buffer.borrow_mut().take();
            taken.or_else(|| lock(far).buffer.take())
        }
    }

    /// Whether a wait would end now, by what this thread did.
    fn has_news(&self) -> bool {
        let buffer = self.buffer.borrow();
        !buffer.events.is_empty() || buffer.lost > 0 || !self.has_emitters()
    }

    /// Whether an emitter is left.
    fn has_emitters(&self) -> bool {
        self.emitters.get() > 0 || self.far.get().is_some_and(|far| lock(far).emitters > 0)
    }

    /// Leaves a waker for the other threads. Tells whether they emitted something, or the last one left, before it was there.
    fn await_far(&self, cx: &Context<'_>) -> bool {
        let Some(far) = self.far.get() else {
            return false;
        };
        let old = {
            let mut far = lock(far);
            match &far.waker {
                Some(waker) if waker.will_wake(cx.waker()) => None,
                _ => far.waker.take(),
            }
        };
        drop(old);
        let missing = lock(far).waker.is_none();
        let fresh = missing.then(|| cx.waker().clone());
        let mut far = lock(far);
        if fresh.is_some() && far.emitters > 0 {
            far.waker = fresh;
        }
        let emitters = far.emitters + self.emitters.get();
        !far.buffer.events.is_empty() || far.buffer.lost > 0 || emitters == 0
    }
}

impl<T> Events<T> {
    /// An emitter for this thread.
    #[must_use]
    pub fn emitter(&self) -> Emitter<T> {
        Emitter::new(&self.near)
    }

    /// An emitter for other threads. While it is alive, the loop does not call a parked coroutine stuck.
    ///
    /// What such emitters emit is kept apart from what [`emitter`](Events::emitter)s of this thread do, under the same bound.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let mut lines = co.events::<u32>(8);
    /// let on_line = lines.send_emitter().into_fn();
    /// std::thread::spawn(move || (1..=3).for_each(on_line));
    /// let mut sum = 0;
    /// while let Some(n) = lines.next().await? {
    ///     sum += n;
    /// }
    /// assert_eq!(sum, 6);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[must_use]
    pub fn send_emitter(&self) -> SendEmitter<T>
    where
        T: Send,
    {
        let far = self.near.far.get_or_init(|| {
            Arc::new(Mutex::new(Far {
                buffer: Buffer::new(),
                emitters: 0,
                closed: false,
                waker: None,
            }))
        });
        let remote = Handle::new(Rc::clone(&self.near.shared)).remote();
        SendEmitter::new(far, self.near.bound, self.near.site, remote)
    }

    /// Takes the next event; waits if there is none. `None` when there is none and no emitter is left; one made later brings it back.
    ///
    /// # Errors
    /// `Missed`, once, at the place in the order where events were lost because there was no room for them; the next call goes on
    /// with what came after. `Cancelled`.
    #[expect(
        clippy::should_implement_trait,
        reason = "it is the next of StreamExt, which everybody knows"
    )]
    #[track_caller]
    pub fn next(&mut self) -> NextEvent<'_, T> {
        NextEvent {
            near: &self.near,
            site: Location::caller(),
        }
    }

    /// How many events wait to be taken.
    #[must_use]
    pub fn len(&self) -> usize {
        let near = self.near.buffer.borrow().events.len();
        let far = self
            .near
            .far
            .get()
            .map_or(0, |far| lock(far).buffer.events.len());
        near + far
    }

    /// Whether no event waits to be taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Drop for Events<T> {
    fn drop(&mut self) {
        self.near.closed.set(true);
        let near = self.near.buffer.replace(Buffer::new());
        let far = self.near.far.get().map(|far| {
            let mut far = lock(far);
            far.closed = true;
            (
                std::mem::replace(&mut far.buffer, Buffer::new()),
                far.waker.take(),
            )
        });
        drop((near, far));
    }
}

impl<T> fmt::Debug for Events<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("len", &self.len())
            .field("bound", &self.near.bound)
            .field("site", &self.near.site)
            .finish_non_exhaustive()
    }
}

/// The wait for the next event: see [`Events::next`]. Dropping it loses no event.
#[must_use = "no event is taken until it is awaited"]
pub struct NextEvent<'a, T> {
    /// Where events come from.
    near: &'a Near<T>,
    /// Where it was called.
    site: Site,
}

impl<T> Future for NextEvent<'_, T> {
    type Output = Result<Option<T>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let near = self.near;
        loop {
            let mut taken = near.take();
            let over = taken.is_none() && !near.has_emitters();
            if over {
                // Another thread may have emitted and left between the two looks.
                taken = near.take();
            }
            match taken {
                Some(Taken::Event(event)) => return Poll::Ready(Ok(Some(event))),
                Some(Taken::Lost(count)) => {
                    let created_at = near.site;
                    return Poll::Ready(Err(ErrorKind::Missed { count, created_at }.into()));
                }
                None if over => return Poll::Ready(Ok(None)),
                None => {}
            }
            // It wakes nobody while it is in use.
            let slot = near.slot.replace(near.slot.get().vacated());
            let note = Note {
                kind: &EVENTS,
                site: Some(self.site),
            };
            match near.shared.park(slot, cx, note) {
                Ok(slot) => near.slot.set(slot),
                Err(cancel) => {
                    near.slot.set(slot.vacated());
                    return Poll::Ready(Err(cancel));
                }
            }
            // A waker that was cloned or dropped may have emitted.
            if !near.await_far(cx) && !near.has_news() {
                return Poll::Pending;
            }
        }
    }
}

impl<T> Drop for NextEvent<'_, T> {
    fn drop(&mut self) {
        let near = self.near;
        // The next wait is another one: a cancel that comes in between is not its to deliver.
        near.shared.unpark(near.slot.replace(WaiterSlot::EMPTY));
    }
}

impl<T> fmt::Debug for NextEvent<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextEvent")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

/// Emits events on the loop's thread: see [`Co::events`]. Clones emit into the same buffer.
pub struct Emitter<T> {
    /// Where events go.
    near: Rc<Near<T>>,
}

impl<T> Emitter<T> {
    /// One more emitter.
    fn new(near: &Rc<Near<T>>) -> Self {
        near.emitters.set(near.emitters.get() + 1);
        Emitter {
            near: Rc::clone(near),
        }
    }

    /// Emits an event. The coroutine that waits becomes ready and runs in its turn, never inside this call.
    ///
    /// # Errors
    /// The event, if there is no room for it, or nobody takes events any more.
    #[inline]
    pub fn emit(&self, event: T) -> Result<(), SendError<T>> {
        let near = &*self.near;
        if near.closed.get() {
            return Err(SendError::closed(event, WHAT, near.site));
        }
        let offered = near.buffer.borrow_mut().offer(event, near.bound);
        offered.map_err(|event| SendError::full(event, WHAT, near.bound, near.site))?;
        near.wake();
        Ok(())
    }

    /// The emitter as a callback. An event for which there is no room is dropped and counted: [`Events::next`] tells of it.
    pub fn into_fn(self) -> impl Fn(T) + use<T> {
        move |event| {
            if let Err(refused) = self.emit(event)
                && refused.is_full()
            {
                self.near.buffer.borrow_mut().lose();
            }
        }
    }
}

impl<T> Clone for Emitter<T> {
    fn clone(&self) -> Self {
        Emitter::new(&self.near)
    }
}

impl<T> Drop for Emitter<T> {
    fn drop(&mut self) {
        let left = self.near.emitters.get() - 1;
        self.near.emitters.set(left);
        if left == 0 {
            self.near.wake();
        }
    }
}

impl<T> fmt::Debug for Emitter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter")
            .field("site", &self.near.site)
            .finish_non_exhaustive()
    }
}

/// Emits events from other threads: see [`Events::send_emitter`]. Clones emit into the same buffer.
pub struct SendEmitter<T: Send> {
    /// Where events go.
    far: Arc<Mutex<Far<T>>>,
    /// The most events kept.
    bound: usize,
    /// Where the events were made.
    site: Site,
    /// Lets the loop hope; dropped after this emitter has left.
    remote: Remote,
}

impl<T: Send> SendEmitter<T> {
    /// One more emitter.
    fn new(far: &Arc<Mutex<Far<T>>>, bound: usize, site: Site, remote: Remote) -> Self {
        lock(far).emitters += 1;
        SendEmitter {
            far: Arc::clone(far),
            bound,
            site,
            remote,
        }
    }

    /// Emits an event, from any thread. What one thread emits is taken in its order.
    ///
    /// # Errors
    /// The event, if there is no room for it, or nobody takes events any more.
    pub fn emit(&self, event: T) -> Result<(), SendError<T>> {
        self.offer(event, false)
    }

    /// Emits an event, or counts it as lost within the same lock, so that the count lies at its place.
    fn offer(&self, event: T, lossy: bool) -> Result<(), SendError<T>> {
        let (offered, waker) = {
            let mut far = lock(&self.far);
            if far.closed {
                drop(far);
                return Err(SendError::closed(event, WHAT, self.site));
            }
            let offered = far.buffer.offer(event, self.bound);
            if offered.is_err() && lossy {
                far.buffer.lose();
            }
            (offered, far.waker.take())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        offered.map_err(|event| SendError::full(event, WHAT, self.bound, self.site))
    }

    /// The emitter as a callback for any thread. An event for which there is no room is dropped and counted: [`Events::next`] tells of
    /// it.
    pub fn into_fn(self) -> impl Fn(T) + Send + Sync + 'static + use<T>
    where
        T: 'static,
    {
        move |event| drop(self.offer(event, true))
    }
}

impl<T: Send> Clone for SendEmitter<T> {
    fn clone(&self) -> Self {
        SendEmitter::new(&self.far, self.bound, self.site, self.remote.clone())
    }
}

impl<T: Send> Drop for SendEmitter<T> {
    fn drop(&mut self) {
        let waker = {
            let mut far = lock(&self.far);
            far.emitters -= 1;
            if far.emitters > 0 {
                return;
            }
            far.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T: Send> fmt::Debug for SendEmitter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendEmitter")
            .field("bound", &self.bound)
            .finish_non_exhaustive()
    }
}

impl Co {
    /// Makes the receiving side of a callback that fires many times, which keeps at most `bound` events that nobody has taken yet.
    ///
    /// A bound of zero is taken as one: with none, no event could ever be taken.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, ErrorKind, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let mut clicks = co.events::<u32>(2);
    /// let on_click = clicks.emitter().into_fn();
    /// for n in 1..=5 {
    ///     on_click(n); // there is room for two
    /// }
    /// assert_eq!(clicks.next().await?, Some(1));
    /// assert_eq!(clicks.next().await?, Some(2));
    /// let missed = clicks.next().await.expect_err("three were lost");
    /// assert!(matches!(missed.kind(), ErrorKind::Missed { count: 3, .. }));
    /// on_click(6);
    /// drop(on_click);
    /// assert_eq!(clicks.next().await?, Some(6));
    /// assert_eq!(clicks.next().await?, None);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[doc(alias = "stream")]
    #[must_use]
    #[track_caller]
    pub fn events<T>(&self, bound: usize) -> Events<T> {
        Events {
            near: Rc::new(Near {
                shared: Rc::clone(self.handle().shared()),
                site: Location::caller(),
                bound: bound.max(1),
                slot: Cell::new(WaiterSlot::EMPTY),
                buffer: RefCell::new(Buffer::new()),
                emitters: Cell::new(0),
                closed: Cell::new(false),
                far_first: Cell::new(false),
                far: OnceCell::new(),
            }),
        }
    }
}
