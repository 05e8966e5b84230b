//! [`KeyedRemote`]: the door to a keyed engine from other threads.
//!
//! It is apart from [`OrderedRemote`] because what it sends is a key and a message, and only the message is given back.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::failure::Refused;
use crate::hub::{ENGINE, Hub, OrderKey};
use crate::ordered_gate::Gate;
use crate::ordered_remote::{Behind, OrderedRemote};
use crate::shared::Shared;
use crate::site::Site;

impl<K, M, R, E> Behind<(K, M)> for Hub<K, M, R, E>
where
    K: OrderKey,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    const ENGINE: &'static str = ENGINE;

    fn created_at(&self) -> Site {
        self.site
    }

    fn shared(&self) -> &Rc<Shared> {
        self.shared()
    }

    fn gate(&self) -> &Arc<Gate<(K, M)>> {
        self.gate()
    }

    fn add_door(self: &Rc<Self>) {
        Hub::add_door(self);
    }

    fn drop_door(self: &Rc<Self>) {
        Hub::drop_door(self);
    }

    fn pull(self: &Rc<Self>) {
        Hub::pull(self);
    }

    fn drop_sent(&self) {
        Hub::drop_sent(self);
    }
}

/// A door to a keyed engine from other threads. `Send`, `Sync`, cheap to clone.
///
/// Messages that one thread sends to one key are handled in the order in which it sent them. What a key has no room for waits in that
/// key's line and holds nobody up but those behind it; so many messages as wait there or are on their way count towards a bound, at which
/// `send_blocking` blocks. While a remote lives, its engine does not finish unless it is closed, and the loop does not call a parked
/// coroutine stuck.
///
/// ```
/// # use yieldpoint::{Call, EventLoop, Keyed, Result};
/// # EventLoop::new()?.block_on(async |co| -> Result {
/// let users = Keyed::with_state(|_: &u32| 0).per_key(2).serve(co.handle(), async |_: Call<u32>, sum: &mut u32, n: u32| -> Result {
///     *sum += n;
///     Ok(())
/// });
/// let door = users.remote();
/// std::thread::spawn(move || {
///     for n in 1..=100 {
///         door.send_blocking(n % 2, n).expect("the loop is there");
///     }
/// });
/// users.finish().await?; // the thread is done, and so is what it sent
/// # Ok(())
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
pub struct KeyedRemote<K, M> {
    /// The door of what both engines share.
    door: OrderedRemote<(K, M)>,
}

impl<K: OrderKey + Send, M: Send + 'static> KeyedRemote<K, M> {
    /// A remote that holds this engine open.
    pub(crate) fn new<R, E>(hub: &Rc<Hub<K, M, R, E>>) -> Self
    where
        R: 'static,
        E: From<Error> + fmt::Display + 'static,
    {
        let door = OrderedRemote::new(hub);
        KeyedRemote { door }
    }

    /// Sends a message without waiting.
    ///
    /// # Errors
    /// Gives the message back: `Refused` if as many as the bound are on their way or a thread waits; `Closed`; `LoopGone`.
    pub fn try_send(&self, key: K, message: M) -> Result<(), Refused<M>> {
        self.door.try_send((key, message)).map_err(without_key)
    }

    /// Sends a message, and blocks this thread while there is no room. Threads get room in the order in which they came.
    ///
    /// # Errors
    /// Gives the message back: `Closed` or `LoopGone`, also while it waits; `Deadlock` if it would have to wait on the loop's own
    /// thread.
    #[track_caller]
    pub fn send_blocking(&self, key: K, message: M) -> Result<(), Refused<M>> {
        self.door.send_blocking((key, message)).map_err(without_key)
    }

    /// How many threads wait in [`send_blocking`](KeyedRemote::send_blocking) now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.door.waiting()
    }
}

/// Drops the key of what is given back.
fn without_key<K, M>(refused: Refused<(K, M)>) -> Refused<M> {
    let ((_, message), error) = refused.into_parts();
    Refused::new(message, error)
}

impl<K, M> Clone for KeyedRemote<K, M> {
    fn clone(&self) -> Self {
        KeyedRemote {
            door: self.door.clone(),
        }
    }
}

impl<K, M> fmt::Debug for KeyedRemote<K, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRemote").finish_non_exhaustive()
    }
}
