//! One value, once, from whoever was given the resolver to whoever waits.
//!
//! It is apart because `Callback` and `Task` are both made of it. The resolver is the callable that the ancestors gave out; here
//! calling it consumes it, so "called twice" cannot be written, and dropping it uncalled is an event like any other.
//!
//! Invariants:
//! 1. Resolving marks the waiter ready and never resumes it in place.
//! 2. A resolver writes its own cell and nothing else: it can never satisfy a later registration of the same key.
//! 3. Of a resolver made `Send`, only a name crosses threads; the resolver stays in the loop's vault and is resolved or dropped there.
//!
//! ```text
//!             resolve             poll
//!   Waiting ───────────▶ Arrived ──────▶ Taken
//!      │      drop uncalled       poll     ▲   (giving the key up leads there from everywhere)
//!      └───────────────▶ Lost ─────────────┘
//! ```

mod kept;

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use crate::arena::Id;
use crate::error::Error;
use crate::handle::{Handle, Remote};
use crate::ledger::Pending;
use crate::shared::Shared;
use crate::site::Site;
use crate::snapshot::KeyState;
use crate::waiter::{Note, WaiterSlot};
use kept::Kept;

/// The cell between a resolver and who waits for it.
pub(crate) struct OneShot<T> {
    /// Where it is kept when it was taken, which knows the loop.
    shelf: Rc<Kept<T>>,
    /// Where it was made.
    created_at: Cell<Site>,
    /// What has happened. It is out of its cell only while nothing of the user's can run.
    state: Cell<State<T>>,
}

/// What has happened to a cell; see the module's diagram. Of a wait that is over the number of its resume is kept, by which a cancel
/// knows it.
enum State<T> {
    /// Nothing yet; this one waits.
    Waiting(WaiterSlot),
    /// The value is here.
    Arrived(T, u32),
    /// The resolver was dropped uncalled.
    Lost(u32),
    /// The value, or the loss, was taken.
    Taken,
}

/// Why there is no value.
pub(crate) enum Missing {
    /// The resolver was dropped uncalled.
    Lost,
    /// It was taken before.
    Taken,
    /// The waiting coroutine is being cancelled.
    Cancelled(Error),
}

impl<T> State<T> {
    /// When the waiter parked last, 0 for never.
    fn parked_in(&self) -> u32 {
        match self {
            State::Waiting(slot) => slot.resume(),
            State::Arrived(_, resume) | State::Lost(resume) => *resume,
            State::Taken => 0,
        }
    }
}

impl<T: 'static> OneShot<T> {
    /// A cell and its resolver.
    #[inline]
    pub(crate) fn new(shared: &Rc<Shared>, created_at: Site) -> (Rc<Self>, Resolver<T>) {
        let cell = OneShot::filled(shared, created_at);
        let resolver = OneShot::resolver(&cell);
        (cell, resolver)
    }

    /// A cell, for which a resolver is still to be made. In line it would make a `Task` slower, by measure.
    #[inline(never)]
    pub(crate) fn waiting(shared: &Rc<Shared>, created_at: Site) -> Rc<Self> {
        OneShot::filled(shared, created_at)
    }

    /// A cell that was kept, or a new one.
    #[inline]
    fn filled(shared: &Rc<Shared>, created_at: Site) -> Rc<Self> {
        let kept = shared
            .spares
            .borrow_mut()
            .find::<Rc<Kept<T>>>()
            .and_then(|shelf| shelf.pop());
        let Some(cell) = kept else {
            return OneShot::allocated(shared, created_at);
        };
        cell.created_at.set(created_at);
        cell.put(State::Waiting(WaiterSlot::EMPTY));
        cell
    }

    /// A new cell.
    #[inline(never)]
    fn allocated(shared: &Rc<Shared>, created_at: Site) -> Rc<Self> {
        Rc::new(OneShot {
            shelf: Kept::of(shared),
            created_at: Cell::new(created_at),
            state: Cell::new(State::Waiting(WaiterSlot::EMPTY)),
        })
    }
}

impl<T> OneShot<T> {
    /// The resolver of a cell. There is one at most.
    #[inline]
    pub(crate) fn resolver(cell: &Rc<Self>) -> Resolver<T> {
        Resolver {
            cell: Some(Rc::clone(cell)),
        }
    }

    /// The loop.
    #[inline]
    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.shelf.shared
    }

    /// Keeps the cell, whose value was taken, for the next of its type, if nobody else has it.
    #[inline]
    pub(crate) fn keep(self: Rc<Self>) {
        Kept::push(self);
    }

    /// Sets the state, where the one before holds nothing.
    #[inline]
    fn put(&self, state: State<T>) {
        // Forgetting it saves the look whether it must be dropped.
        std::mem::forget(self.state.replace(state));
    }

    /// Looks at the state.
    #[inline]
    fn look<R>(&self, look: impl FnOnce(&State<T>) -> R) -> R {
        let state = self.state.replace(State::Taken);
        let seen = look(&state);
        self.put(state);
        seen
    }

    /// Takes the value, or parks whoever polls.
    #[inline]
    pub(crate) fn poll(&self, cx: &Context<'_>, note: Note) -> Poll<Result<T, Missing>> {
        match self.state.replace(State::Taken) {
            State::Arrived(value, _) => Poll::Ready(Ok(value)),
            State::Waiting(slot) => match self.park_from(slot, cx, note) {
                Ok(()) => Poll::Pending,
                Err(cancel) => Poll::Ready(Err(Missing::Cancelled(cancel))),
            },
            other => Poll::Ready(Err(if matches!(other, State::Lost(_)) {
                Missing::Lost
            } else {
                Missing::Taken
            })),
        }
    }

    /// Parks whoever polls a cell that was waited for in this slot.
    #[inline]
    fn park_from(&self, slot: WaiterSlot, cx: &Context<'_>, note: Note) -> Result<(), Error> {
        if slot.token().is_none()
            && let Some(slot) = self.shared().park_direct(cx, note)
        {
            // Nobody's code has run, so nothing has come.
            self.put(State::Waiting(slot));
            return Ok(());
        }
        self.park_rare(slot, cx, note)
    }

    /// The same for a point that is not parked in the short way.
    #[cold]
    fn park_rare(&self, slot: WaiterSlot, cx: &Context<'_>, note: Note) -> Result<(), Error> {
        // It is there for what a foreign waker does while it is cloned or dropped, but wakes nobody: the slot is in use.
        self.put(State::Waiting(slot.vacated()));
        match self.shared().park(slot, cx, note) {
            Ok(slot) => {
                self.wait_in(slot);
                Ok(())
            }
            Err(cancel) => {
                self.wait_in(WaiterSlot::EMPTY);
                Err(cancel)
            }
        }
    }

    /// Notes who waits from now on. What has come just now wakes it at once.
    #[inline]
    fn wait_in(&self, slot: WaiterSlot) {
        match self.state.replace(State::Taken) {
            State::Waiting(_) => self.put(State::Waiting(slot)),
            other => {
                self.put(other);
                self.shared().wake_waiter(slot);
            }
        }
    }

    /// Takes the value if it has arrived.
    #[inline]
    pub(crate) fn take_arrived(&self) -> Option<T> {
        match self.state.replace(State::Taken) {
            State::Arrived(value, _) => Some(value),
            other => {
                self.put(other);
                None
            }
        }
    }

    /// Takes the value if it has arrived. Whatever comes later is dropped.
    pub(crate) fn take(&self) -> Option<T> {
        match self.state.replace(State::Taken) {
            State::Arrived(value, _) => Some(value),
            _ => None,
        }
    }

    /// Whether a value is here to be taken.
    pub(crate) fn has_value(&self) -> bool {
        self.look(|state| matches!(state, State::Arrived(..)))
    }

    /// Whether its resolver was dropped uncalled, and nobody has been told.
    pub(crate) fn is_lost(&self) -> bool {
        self.look(|state| matches!(state, State::Lost(_)))
    }

    /// Forgets who is parked, and that anybody ever was: the next wait is a new point. Tells whether there is still something to
    /// wait for; not so if the key was given up meanwhile, and perhaps registered again.
    pub(crate) fn unpark(&self) -> bool {
        match self.state.replace(State::Taken) {
            State::Waiting(slot) => {
                self.put(State::Waiting(WaiterSlot::EMPTY));
                self.shared().unpark(slot);
            }
            State::Arrived(value, _) => self.put(State::Arrived(value, 0)),
            State::Lost(_) => self.put(State::Lost(0)),
            State::Taken => return false,
        }
        true
    }

    /// Makes this cell count as parked on when the other one was, for a wait that goes on from that cell to this.
    pub(crate) fn follow(&self, before: &Self) {
        let resume = before.look(State::parked_in);
        match self.state.replace(State::Taken) {
            State::Waiting(_) => self.put(State::Waiting(WaiterSlot::passed(resume))),
            State::Arrived(value, _) => self.put(State::Arrived(value, resume)),
            State::Lost(_) => self.put(State::Lost(resume)),
            State::Taken => {}
        }
    }

    /// Where it was made.
    pub(crate) fn created_at(&self) -> Site {
        self.created_at.get()
    }

    /// Stores the value and marks the waiter ready (keeps invariant 1). If the key was given up, the value is dropped. What is rare comes
    /// last, so that nothing is saved for it.
    #[inline]
    fn deliver(self: Rc<Self>, value: T) {
        if let State::Waiting(slot) = self.state.replace(State::Taken) {
            self.put(State::Arrived(value, slot.resume()));
            if !self.shared().wake_at_once(slot) {
                self.wake(slot);
            }
        }
    }

    /// Wakes who waits in the slot, and lets go of the cell.
    #[cold]
    fn wake(self: Rc<Self>, slot: WaiterSlot) {
        self.shared().wake_waiter(slot);
    }

    /// Notes that no value will come, and marks the waiter ready.
    #[cold]
    fn lose(&self) {
        if let State::Waiting(slot) = self.state.replace(State::Taken) {
            self.put(State::Lost(slot.resume()));
            self.shared().wake_waiter(slot);
        }
    }
}

impl<T: 'static> Pending for OneShot<T> {
    fn created_at(&self) -> Site {
        self.created_at.get()
    }

    fn key_state(&self) -> KeyState {
        self.look(|state| match state {
            State::Waiting(_) => KeyState::Pending,
            State::Arrived(..) | State::Taken => KeyState::Arrived,
            State::Lost(_) => KeyState::Abandoned,
        })
    }

    fn type_name(&self) -> &'static str {
        std::any::type_name::<T>()
    }

    fn park(&self, cx: &Context<'_>, note: Note) -> Result<(), Error> {
        match self.state.replace(State::Taken) {
            State::Waiting(slot) => self.park_from(slot, cx, note),
            other => {
                self.put(other);
                Ok(())
            }
        }
    }

    fn unpark(&self) -> bool {
        OneShot::unpark(self)
    }

    fn keep(self: Rc<Self>) {
        OneShot::keep(self);
    }

    fn give_up(&self) {
        match self.state.replace(State::Taken) {
            State::Waiting(slot) => self.shared().wake_waiter(slot),
            other => drop(other),
        }
    }
}

/// The callable that [`Co::callback`](crate::Co::callback) and [`Co::task`](crate::Co::task) give out: whoever holds it owes one value.
///
/// [`resolve`](Resolver::resolve) takes it by value, so it can be called once. Dropped uncalled, it resumes its waiter with
/// `Abandoned`. Called after nobody waits any more, it does nothing.
///
/// ```
/// # use yieldpoint::{EventLoop, Result};
/// # EventLoop::new()?.block_on(async |co| -> Result {
/// let resolver = co.callback::<&str>("reply")?;
/// resolver.resolve("pong");
/// assert_eq!(co.wait::<&str>("reply").await?, "pong");
/// # Ok(())
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
///
/// ```compile_fail
/// # fn twice(resolver: yieldpoint::Resolver<u32>) {
/// resolver.resolve(1);
/// resolver.resolve(2); // moved
/// # }
/// ```
#[must_use = "dropping a resolver uncalled resumes its waiter with an error"]
#[doc(alias = "oneshot::Sender")]
pub struct Resolver<T> {
    /// The cell; gone once it was called.
    cell: Option<Rc<OneShot<T>>>,
}

impl<T> Resolver<T> {
    /// Delivers the value. Its waiter becomes ready and runs in its turn, never inside this call.
    #[inline]
    pub fn resolve(mut self, value: T) {
        if let Some(cell) = self.cell.take() {
            cell.deliver(value);
        }
    }

    /// Whether anybody can still take the value: the key is pending, or the `Task` awaited.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.cell
            .as_ref()
            .is_some_and(|cell| Rc::strong_count(cell) > 1)
    }

    /// The resolver as a callback for an API of this thread.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let on_reply = co.callback("reply")?.into_fn();
    /// co.handle().call_soon(move || on_reply("pong"));
    /// assert_eq!(co.wait::<&str>("reply").await?, "pong");
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn into_fn(self) -> impl FnOnce(T) + use<T> {
        move |value| self.resolve(value)
    }

    /// The resolver as something that other threads may hold.
    ///
    /// While it is alive, the loop does not call a parked coroutine stuck.
    pub fn into_send(self) -> SendResolver<T>
    where
        T: Send + 'static,
    {
        let shared = self
            .cell
            .as_ref()
            .map(|cell| Rc::clone(cell.shared()))
            .expect("an uncalled resolver has its cell");
        let remote = Handle::new(Rc::clone(&shared)).remote();
        let name = shared.deposit(Box::new(self));
        SendResolver {
            remote,
            name,
            called: false,
            value: PhantomData,
        }
    }

    /// The resolver as a callback that other threads may call, or drop.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let n = co.task(|done| {
    ///     let done = done.into_send_fn();
    ///     std::thread::spawn(move || done(7));
    /// });
    /// assert_eq!(n.await?, 7);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn into_send_fn(self) -> impl FnOnce(T) + Send + 'static + use<T>
    where
        T: Send + 'static,
    {
        let resolver = self.into_send();
        move |value| resolver.resolve(value)
    }
}

impl<T, E> Resolver<Result<T, E>> {
    /// The resolver as two callbacks, for an API that takes one for success and one for failure. The first call counts, the other
    /// one then does nothing; dropping both uncalled counts as dropping the resolver.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let answer: std::result::Result<u32, String> = co
    ///     .task(|done| {
    ///         let (_on_ok, on_error) = done.split();
    ///         on_error("no route".to_owned());
    ///     })
    ///     .await?;
    /// assert_eq!(answer, Err("no route".to_owned()));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn split(self) -> (impl FnOnce(T) + use<T, E>, impl FnOnce(E) + use<T, E>) {
        let first = Rc::new(Cell::new(Some(self)));
        let second = Rc::clone(&first);
        let ok = move |value| {
            if let Some(resolver) = first.take() {
                resolver.resolve(Ok(value));
            }
        };
        let error = move |error| {
            if let Some(resolver) = second.take() {
                resolver.resolve(Err(error));
            }
        };
        (ok, error)
    }
}

impl<T> Drop for Resolver<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(cell) = self.cell.take() {
            cell.lose();
        }
    }
}

impl<T> fmt::Debug for Resolver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let created_at = self.cell.as_ref().map(|cell| cell.created_at.get());
        f.debug_struct("Resolver")
            .field("created_at", &created_at.map(Location::to_string))
            .finish_non_exhaustive()
    }
}

/// A [`Resolver`] that other threads may hold: see [`Resolver::into_send`].
///
/// Resolving it posts the value to the loop. If the loop is gone by then, the value is dropped where it is.
#[must_use = "dropping a resolver uncalled resumes its waiter with an error"]
pub struct SendResolver<T: Send + 'static> {
    /// The way to the loop.
    remote: Remote,
    /// The resolver's place in the vault (keeps invariant 3).
    name: Id,
    /// Whether it was called.
    called: bool,
    /// It takes a value.
    value: PhantomData<fn(T)>,
}

impl<T: Send + 'static> SendResolver<T> {
    /// Delivers the value, from any thread.
    pub fn resolve(mut self, value: T) {
        self.called = true;
        let name = self.name;
        // With the loop its waiter is gone: nobody is left who could miss the value.
        let _ = self.remote.post(move |handle| {
            if let Some(resolver) = withdraw::<T>(handle, name) {
                resolver.resolve(value);
            }
        });
    }
}

impl<T: Send + 'static, E: Send + 'static> SendResolver<Result<T, E>> {
    /// The resolver as two callbacks: see [`Resolver::split`].
    pub fn split(
        self,
    ) -> (
        impl FnOnce(T) + Send + 'static + use<T, E>,
        impl FnOnce(E) + Send + 'static + use<T, E>,
    ) {
        let first = Arc::new(Mutex::new(Some(self)));
        let second = Arc::clone(&first);
        let ok = move |value| {
            let resolver = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(resolver) = resolver {
                resolver.resolve(Ok(value));
            }
        };
        let error = move |error| {
            let resolver = second.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(resolver) = resolver {
                resolver.resolve(Err(error));
            }
        };
        (ok, error)
    }
}

impl<T: Send + 'static> Drop for SendResolver<T> {
    fn drop(&mut self) {
        if !self.called {
            let name = self.name;
            let _ = self
                .remote
                .post(move |handle| drop(withdraw::<T>(handle, name)));
        }
    }
}

impl<T: Send + 'static> fmt::Debug for SendResolver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendResolver").finish_non_exhaustive()
    }
}

/// Takes a resolver out of the vault.
fn withdraw<T: 'static>(handle: &Handle, name: Id) -> Option<Resolver<T>> {
    let resolver = handle
        .shared()
        .withdraw(name)?
        .downcast::<Resolver<T>>()
        .ok()?;
    Some(*resolver)
}
