//! [`OrderedRemote`]: the door to an ordered engine from other threads.
//!
//! It is apart from the other doors because only a name of its engine crosses threads: the engine stays on its loop's thread, held
//! in the loop's vault as long as a remote lives.
//!
//! Invariants:
//! 1. What a remote accepted is handled, or dropped with the loop; what it did not accept is given back.
//! 2. The remotes of an engine that share an origin count as one door, which closes after all that they sent was taken in.

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use crate::arena::Id;
use crate::error::{Error, ErrorKind, Result};
use crate::failure::Refused;
use crate::handle::{Handle, Remote};
use crate::lane::{ENGINE, Lane};
use crate::ordered_gate::{Blocked, Gate, Shut};
use crate::shared::Shared;
use crate::site::Site;

/// What the loop keeps for the remotes of one engine.
#[derive(Clone)]
struct Door(Rc<dyn Pull>);

/// What another thread's announcement does.
trait Pull {
    /// Takes in what was sent.
    fn pull(&self);
}

/// What remotes of an engine need of it; `M` is what they send.
pub(crate) trait Behind<M>: 'static {
    /// What the engine is called in errors.
    const ENGINE: &'static str;

    /// Where it was made.
    fn created_at(&self) -> Site;

    /// The loop.
    fn shared(&self) -> &Rc<Shared>;

    /// Where other threads send to.
    fn gate(&self) -> &Arc<Gate<M>>;

    /// One more door.
    fn add_door(self: &Rc<Self>);

    /// One door less.
    fn drop_door(self: &Rc<Self>);

    /// Takes in what was sent.
    fn pull(self: &Rc<Self>);

    /// Drops what was sent: the loop is gone.
    fn drop_sent(&self);
}

/// An engine that is held open by remotes.
struct Held<M, B: Behind<M>>(Rc<B>, PhantomData<fn(M)>);

impl<M, B: Behind<M>> Pull for Held<M, B> {
    fn pull(&self) {
        self.0.pull();
    }
}

impl<M, B: Behind<M>> Drop for Held<M, B> {
    fn drop(&mut self) {
        if self.0.shared().is_closed() {
            self.0.drop_sent();
        }
        self.0.drop_door();
    }
}

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Behind<M> for Lane<M, R, E> {
    const ENGINE: &'static str = ENGINE;

    fn created_at(&self) -> Site {
        self.site
    }

    fn shared(&self) -> &Rc<Shared> {
        self.shared()
    }

    fn gate(&self) -> &Arc<Gate<M>> {
        self.gate()
    }

    fn add_door(self: &Rc<Self>) {
        Lane::add_door(self);
    }

    fn drop_door(self: &Rc<Self>) {
        Lane::drop_door(self);
    }

    fn pull(self: &Rc<Self>) {
        Lane::pull(self);
    }

    fn drop_sent(&self) {
        Lane::drop_sent(self);
    }
}

/// What the clones of a remote share.
struct Name<M> {
    /// The buffer.
    gate: Arc<Gate<M>>,
    /// The way to the loop.
    remote: Remote,
    /// The engine's name in the loop's vault.
    door: Id,
    /// What the engine is called in errors.
    engine: &'static str,
    /// Where that was made.
    created_at: Site,
}

impl<M> Drop for Name<M> {
    /// Closes the door behind all that was sent. Without the loop there is none.
    fn drop(&mut self) {
        let door = self.door;
        let _ = self
            .remote
            .post(move |handle| drop(handle.shared().withdraw(door)));
    }
}

/// A door to an ordered engine from other threads. `Send`, `Sync`, cheap to clone.
///
/// Messages of one thread are handled in the order in which it sent them. Up to as many messages as the engine's bound wait here
/// until the engine has room; other threads and the loop's own senders then take turns. While a remote lives, its engine does not finish
/// unless it is closed, and the loop does not call a parked coroutine stuck.
///
/// ```
/// # use yieldpoint::{Call, EventLoop, Ordered, Result};
/// let sum = EventLoop::new()?.block_on(async |co| -> Result<u32> {
///     let engine = Ordered::with_state(0).bound(2).serve(co.handle(), async |_: Call, sum: &mut u32, n: u32| -> Result {
///         *sum += n;
///         Ok(())
///     });
///     let door = engine.remote();
///     std::thread::spawn(move || {
///         for n in 1..=100 {
///             door.send_blocking(n).expect("the loop is there");
///         }
///     });
///     engine.finish().await
/// })?;
/// assert_eq!(sum, 5050);
/// # Ok::<(), yieldpoint::Error>(())
/// ```
pub struct OrderedRemote<M> {
    /// What it shares.
    name: Arc<Name<M>>,
}

impl<M: Send + 'static> OrderedRemote<M> {
    /// A remote that holds this engine open.
    pub(crate) fn new<B: Behind<M>>(engine: &Rc<B>) -> Self {
        let shared: &Rc<Shared> = engine.shared();
        let gate = Arc::clone(engine.gate());
        engine.add_door();
        let door = Door(Rc::new(Held(Rc::clone(engine), PhantomData)));
        if shared.is_closed() {
            gate.shut(Shut::LoopGone);
        }
        let name = Name {
            gate,
            remote: Handle::new(Rc::clone(shared)).remote(),
            door: shared.deposit(Box::new(door)),
            engine: B::ENGINE,
            created_at: engine.created_at(),
        };
        OrderedRemote {
            name: Arc::new(name),
        }
    }

    /// Sends a message without waiting.
    ///
    /// # Errors
    /// Gives the message back: `Refused` if as many as the bound are on their way or a thread waits; `Closed`; `LoopGone`.
    pub fn try_send(&self, message: M) -> Result<(), Refused<M>> {
        self.announced(self.name.gate.try_push(message))
    }

    /// Sends a message, and blocks this thread while there is no room. Threads get room in the order in which they came.
    ///
    /// # Errors
    /// Gives the message back: `Closed` or `LoopGone`, also while it waits; `Deadlock` if it would have to wait on the loop's own
    /// thread.
    #[track_caller]
    pub fn send_blocking(&self, message: M) -> Result<(), Refused<M>> {
        self.announced(self.name.gate.push(message))
    }

    /// How many threads wait in [`send_blocking`](OrderedRemote::send_blocking) now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.name.gate.waiting()
    }

    /// Tells the engine what went in, or the sender what did not.
    #[track_caller]
    fn announced(&self, pushed: Result<bool, (M, Blocked)>) -> Result<(), Refused<M>> {
        match pushed {
            Ok(true) => {
                let door = self.name.door;
                // A loop that goes at this moment drops what is in the gate, as if it had gone right after.
                let _ = self.name.remote.post(move |handle| {
                    if let Some(Door(lane)) = handle.shared().look_up(door) {
                        lane.pull();
                    }
                });
                Ok(())
            }
            Ok(false) => Ok(()),
            Err((message, why)) => Err(Refused::new(message, self.error(&why))),
        }
    }

    /// Why a message did not go in.
    #[cold]
    #[track_caller]
    fn error(&self, why: &Blocked) -> Error {
        let kind = match why {
            Blocked::Full => ErrorKind::Refused {
                what: self.name.engine,
                limit: self.name.gate.bound(),
                created_at: Some(self.name.created_at),
            },
            Blocked::OwnThread => ErrorKind::Deadlock {
                path: "send_blocking on the loop's own thread waits for that loop".to_owned(),
                site: std::panic::Location::caller(),
            },
            Blocked::Shut(Shut::Closed) => ErrorKind::Closed {
                what: self.name.engine,
                created_at: Some(self.name.created_at),
            },
            Blocked::Shut(Shut::LoopGone) => ErrorKind::LoopGone,
        };
        kind.into()
    }
}

impl<M> Clone for OrderedRemote<M> {
    fn clone(&self) -> Self {
        OrderedRemote {
            name: Arc::clone(&self.name),
        }
    }
}

impl<M> fmt::Debug for OrderedRemote<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderedRemote").finish_non_exhaustive()
    }
}
