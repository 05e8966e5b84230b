//! [`Call`]: what the handler of an ordered engine holds while it handles one message.
//!
//! It is apart from the engines because both give the same one, and each adds its own way back to itself in its own file.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use crate::coroutine::Co;

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
    key: K,
    /// The way back, as the engine knows it. It keeps nothing alive.
    back: Rc<dyn Any>,
}

impl<K> Call<K> {
    /// The call for one message.
    pub(crate) fn new(co: Co, key: K, back: Rc<dyn Any>) -> Self {
        Call { co, key, back }
    }

    /// The key whose message this is; `()` where the engine has one owner.
    #[must_use]
    pub fn key(&self) -> &K {
        &self.key
    }

    /// The way back.
    pub(crate) fn back(&self) -> &dyn Any {
        &*self.back
    }
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
            .field("key", &self.key)
            .field("id", &self.co.id())
            .finish_non_exhaustive()
    }
}
