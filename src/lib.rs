//! A single-threaded coroutine runtime.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

// The layers, from the ground up: a module uses only modules listed above it.
mod site;

mod key;

mod arena;
mod snapshot;

mod error;

mod incident;

mod pool;
mod timers;

mod clock;
mod inbox;
mod waiter;

mod ledger;
mod reactor;
mod record;

mod shared;

mod handle;
mod waker;

mod bodies;
mod budget;
mod builder;
mod event_loop;

pub use budget::{Budget, TurnReport};
pub use builder::Builder;
pub use clock::ManualClock;
pub use error::{Error, ErrorKind, Result};
pub use event_loop::{EventLoop, Outcome};
pub use handle::{Handle, Remote, TimerId, WeakRemote};
pub use incident::Incident;
pub use key::Key;
pub use site::Site;
pub use snapshot::{Activity, CoroutineId, CoroutineInfo, Label, PendingKey, Snapshot};

/// A duration of `n` milliseconds.
///
/// ```
/// assert_eq!(yieldpoint::ms(1500), std::time::Duration::from_millis(1500));
/// ```
#[must_use]
pub const fn ms(n: u64) -> std::time::Duration {
    std::time::Duration::from_millis(n)
}
