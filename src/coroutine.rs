//! [`Co`]: what a coroutine's body holds.
//!
//! It is apart from the yield-points because each of them adds its own method to `Co` in its own file.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use crate::arena::Id;
use crate::handle::Handle;
use crate::roster::public_id;
use crate::snapshot::CoroutineId;

/// A coroutine's own door to its Runner: registers keys, starts yield-points, leads to the loop.
///
/// It is a [`Handle`] too, by `Deref`. It is given to the body by value and is not `Clone`: keys belong to one run of one coroutine. Functions that help a body take
/// `&Co`.
///
/// ```
/// use yieldpoint::{Co, EventLoop, Result};
///
/// async fn lookup(co: &Co, name: &'static str) -> Result<usize> {
///     co.task(|done| done.resolve(name.len())).await
/// }
/// let n = EventLoop::new()?.block_on(async |co| -> Result<usize> {
///     Ok(lookup(&co, "ada").await? + lookup(&co, "grace").await?)
/// })?;
/// assert_eq!(n, 8);
/// # Ok::<(), yieldpoint::Error>(())
/// ```
pub struct Co {
    /// The loop.
    handle: Handle,
    /// Whose keys these are.
    id: Id,
}

impl Co {
    /// The door of the coroutine with this id.
    pub(crate) fn new(handle: Handle, id: Id) -> Self {
        Co { handle, id }
    }

    /// The loop this coroutine runs on.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// This coroutine's id, as reports and [`Handle::cancel`] know it.
    #[must_use]
    pub fn id(&self) -> CoroutineId {
        public_id(self.id)
    }

    /// Gives this coroutine a name for reports, in place of one it may have: for what is only known once it runs.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// co.set_name("alice");
    /// assert!(co.handle().snapshot().to_string().contains("alice"));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn set_name(&self, name: impl Into<Cow<'static, str>>) {
        self.handle.shared().set_name(self.id, name.into());
    }

    /// This coroutine's id, as the table knows it.
    pub(crate) fn table_id(&self) -> Id {
        self.id
    }
}

/// Whatever a handle can do, `co` can: `co.spawn(..)`, `co.call_later(..)`, `co.snapshot()`.
impl Deref for Co {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl fmt::Debug for Co {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Co")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
