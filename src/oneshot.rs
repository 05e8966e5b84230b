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

use std::any::Any;
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

/// The cell between a resolver and who waits for it.
pub(crate) struct OneShot<T> {
    /// Where the waiter is woken.
    shared: Rc<Shared>,
    /// Where it was made.
    created_at: Site,
    /// Who waits.
    slot: Cell<WaiterSlot>,
    /// What has happened. Apart from the value: the two written singly and read back as one would stall the CPU.
    state: Cell<State>,
    /// The value, while it has arrived.
    value: Cell<Option<T>>,
}

/// What has happened to a cell; see the module's diagram.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing yet.
    Waiting,
    /// The value is here.
    Arrived,
    /// The resolver was dropped uncalled.
    Lost,
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

impl<T> OneShot<T> {
    /// A cell and its resolver.
    #[inline]
    pub(crate) fn new(shared: &Rc<Shared>, created_at: Site) -> (Rc<Self>, Resolver<T>) {
        let cell = Rc::new(OneShot {
            shared: Rc::clone(shared),
            created_at,
            slot: Cell::new(WaiterSlot::EMPTY),
            state: Cell::new(State::Waiting),
            value: Cell::new(None),
        });
        (Rc::clone(&cell), Resolver { cell: Some(cell) })
    }

    /// Takes the value, or parks whoever polls.
    #[inline]
    pub(crate) fn poll(&self, cx: &Context<'_>, note: Note) -> Poll<Result<T, Missing>> {
        match self.state.get() {
            State::Arrived => {
                self.state.set(State::Taken);
                Poll::Ready(self.value.take().ok_or(Missing::Taken))
            }
            State::Waiting => match self.park(cx, note) {
                Ok(()) => Poll::Pending,
                Err(cancel) => Poll::Ready(Err(Missing::Cancelled(cancel))),
            },
            State::Lost => {
                self.state.set(State::Taken);
                Poll::Ready(Err(Missing::Lost))
            }
            State::Taken => Poll::Ready(Err(Missing::Taken)),
        }
    }

    /// Parks whoever polls.
    #[inline]
    fn park(&self, cx: &Context<'_>, note: Note) -> Result<(), Error> {
        let slot = self.slot.get();
        match self.shared.park(slot, cx, note) {
            Ok(slot) => {
                self.slot.set(slot);
                Ok(())
            }
            Err(cancel) => {
                self.slot.set(WaiterSlot::EMPTY);
                Err(cancel)
            }
        }
    }

    /// Takes the value if it has arrived. Whatever comes later is dropped.
    pub(crate) fn take(&self) -> Option<T> {
        self.state.set(State::Taken);
        self.value.take()
    }

    /// Whether a value is here to be taken.
    pub(crate) fn has_value(&self) -> bool {
        self.state.get() == State::Arrived
    }

    /// Whether its resolver was dropped uncalled, and nobody has been told.
    pub(crate) fn is_lost(&self) -> bool {
        self.state.get() == State::Lost
    }

    /// Forgets who is parked, and that anybody ever was: the next wait is a new point. Tells whether there is still something to
    /// wait for; not so if the key was given up meanwhile, and perhaps registered again.
    pub(crate) fn unpark(&self) -> bool {
        self.shared.unpark(self.slot.replace(WaiterSlot::EMPTY));
        self.state.get() != State::Taken
    }

    /// Makes this cell count as parked on when the other one was, for a wait that goes on from that cell to this.
    pub(crate) fn follow(&self, before: &Self) {
        self.slot.set(before.slot.get().vacated());
    }

    /// Where it was made.
    pub(crate) fn created_at(&self) -> Site {
        self.created_at
    }

    /// Stores the value and marks the waiter ready. If the key was given up, the value is dropped.
    #[inline]
    fn deliver(&self, value: T) {
        if self.state.get() != State::Taken {
            // There was none before: forgetting that saves the look whether it must be dropped.
            std::mem::forget(self.value.replace(Some(value)));
            self.note(State::Arrived);
        }
    }

    /// Notes that no value will come, and marks the waiter ready.
    #[cold]
    fn lose(&self) {
        if self.state.get() != State::Taken {
            self.note(State::Lost);
        }
    }

    /// Notes what happened and marks the waiter ready (keeps invariant 1).
    #[inline]
    fn note(&self, state: State) {
        self.state.set(state);
        let slot = self.slot.get();
        self.slot.set(slot.vacated());
        self.shared.wake_waiter(slot);
    }
}

impl<T: 'static> Pending for OneShot<T> {
    fn into_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }

    fn created_at(&self) -> Site {
        self.created_at
    }

    fn key_state(&self) -> KeyState {
        match self.state.get() {
            State::Waiting => KeyState::Pending,
            State::Arrived | State::Taken => KeyState::Arrived,
            State::Lost => KeyState::Abandoned,
        }
    }

    fn type_name(&self) -> &'static str {
        std::any::type_name::<T>()
    }

    fn park(&self, cx: &Context<'_>, note: Note) -> Result<(), Error> {
        OneShot::park(self, cx, note)
    }

    fn unpark(&self) -> bool {
        OneShot::unpark(self)
    }

    fn give_up(&self) {
        if self.state.get() != State::Taken {
            let value = self.value.take();
            self.note(State::Taken);
            drop(value);
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
            .map(|cell| Rc::clone(&cell.shared))
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
        let created_at = self.cell.as_ref().map(|cell| cell.created_at);
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
