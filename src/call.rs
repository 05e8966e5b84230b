//! [`Call`]: what the handler of an ordered engine holds while it handles one message.
//!
//! It is apart from the engines because both give the same one, and each adds its own way back to itself in its own file.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use crate::coroutine::Co;
use crate::key_name::KeyName;

/// One call of a handler: the [`Co`] of the coroutine it runs in, the key it is for, and the way back to its engine.
///
/// Keys it registers belong to this call: one that is still pending when the handler ends is a leak, and counts as its failure.
///
/// ```
/// # use yieldpoint::{Call, EventLoop, Ordered, Result, ms};
/// async fn add(call: Call, sum: &mut u64, n: u64) -> Result<u64> {
///     call.sleep(ms(1)).await?; // derefs to Co; the state stays ours across the wait
///     *sum += n;
///     Ok(*sum)
/// }
/// # EventLoop::new()?.block_on(async |co| -> Result {
/// let engine = Ordered::with_state(0).serve(co.handle(), add);
/// engine.send(1).await?;
/// assert_eq!(engine.ask(2).await?, 3);
/// # Ok(())
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
pub struct Call<K = ()> {
    /// The coroutine's door to its Runner.
    co: Co,
    /// Whose message it is.
    key: KeyName<K>,
    /// The way back, as the engine knows it. It keeps nothing alive.
    back: Rc<dyn Any>,
}

impl<K> Call<K> {
    /// The call for one message.
    pub(crate) fn new(co: Co, key: KeyName<K>, back: Rc<dyn Any>) -> Self {
        Call { co, key, back }
    }

    /// The key whose message this is; `()` where the engine has one owner.
    #[must_use]
    pub fn key(&self) -> &K {
        self.key.get()
    }

    /// The engine whose message this is, by a door that keeps nothing alive: an [`OrderedDoor`](crate::OrderedDoor) or a
    /// [`KeyedDoor`](crate::ordered::KeyedDoor). What the handler sends through it is queued behind what is there; to wait for its own
    /// key from inside the call is refused with `Deadlock`.
    ///
    /// # Panics
    /// If the engine's keys, messages, results or errors are of other types than those asked for.
    ///
    /// ```
    /// # use yieldpoint::{Call, EventLoop, Ordered, OrderedDoor, Result};
    /// async fn countdown(call: Call, log: &mut Vec<u32>, n: u32) -> Result {
    ///     log.push(n);
    ///     let engine: OrderedDoor<u32> = call.engine();
    ///     if n > 0 {
    ///         engine.try_send(n - 1)?;
    ///     }
    ///     Ok(())
    /// }
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let engine = Ordered::with_state(vec![]).serve(co.handle(), countdown);
    /// engine.send(3).await?;
    /// assert_eq!(engine.finish().await?, [3, 2, 1, 0]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[must_use]
    #[track_caller]
    pub fn engine<D: EngineDoor>(&self) -> D {
        let door = D::behind(&*self.back);
        door.unwrap_or_else(|| {
            panic!(
                "the engine of this call has no door of the type {}; name its own types",
                std::any::type_name::<D>()
            )
        })
    }
}

/// A door that a call can lead to; only this crate has any.
pub trait EngineDoor: Sized + sealed::Sealed {
    /// The door, if the engine behind this is of its types.
    #[doc(hidden)]
    fn behind(back: &dyn Any) -> Option<Self>;
}

/// Keeps [`EngineDoor`] to this crate.
pub(crate) mod sealed {
    /// See the module.
    pub trait Sealed {}
}

impl<K> Deref for Call<K> {
    type Target = Co;

    fn deref(&self) -> &Co {
        &self.co
    }
}

impl<K: fmt::Debug> fmt::Debug for Call<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("key", self.key())
            .field("id", &self.co.id())
            .finish_non_exhaustive()
    }
}
