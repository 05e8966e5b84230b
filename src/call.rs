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
pub struct Call<K = ()>(Rc<Held<K>>);

/// What a call holds. It is one word to the handler, and filled again for the worker's next message.
struct Held<K> {
    /// The coroutine's door to its Runner.
    co: Co,
    /// Whose message it is; none between two messages.
    key: Option<KeyName<K>>,
    /// The way back, as the engine knows it. It keeps nothing alive.
    back: Rc<dyn Any>,
}

/// Makes the calls of one worker, one after the other.
pub(crate) struct Calls<K>(Rc<Held<K>>);

impl<K> Calls<K> {
    /// The calls of the coroutine with this door.
    pub(crate) fn new(co: Co, back: Rc<dyn Any>) -> Self {
        let key = None;
        Calls(Rc::new(Held { co, key, back }))
    }

    /// The call for one message of this key.
    #[inline]
    pub(crate) fn begin(&mut self, key: KeyName<K>) -> Call<K> {
        match Rc::get_mut(&mut self.0) {
            Some(held) => held.key = Some(key),
            None => self.renew(key),
        }
        Call(Rc::clone(&self.0))
    }

    /// The same where the handler has kept the call before: that one stays as it is.
    #[cold]
    fn renew(&mut self, key: KeyName<K>) {
        let Held { co, back, .. } = &*self.0;
        self.0 = Rc::new(Held {
            co: Co::new(co.handle().clone(), co.table_id()),
            key: Some(key),
            back: Rc::clone(back),
        });
    }

    /// Lets the key of the call before go, unless the handler has kept the call.
    #[inline]
    pub(crate) fn end(&mut self) {
        if let Some(held) = Rc::get_mut(&mut self.0) {
            held.key = None;
        }
    }
}

impl<K> Call<K> {
    /// The key whose message this is; `()` where the engine has one owner.
    #[must_use]
    pub fn key(&self) -> &K {
        let key = self.0.key.as_ref();
        key.expect("a call that is held keeps its key").get()
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
        let door = D::behind(&*self.0.back);
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
        &self.0.co
    }
}

impl<K: fmt::Debug> fmt::Debug for Call<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("key", self.key())
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
