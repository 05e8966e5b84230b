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

mod coroutine;
mod oneshot;
mod yield_point;

mod callback;
mod sleep;
mod task;
mod wait;

mod join;
mod runner;

mod call;
mod failure;
mod ordered_gate;
mod ordered_queue;

mod lane;
mod lane_worker;
mod ordered_finish;
mod ordered_remote;
mod ordered_send;

mod ordered;

pub use budget::{Budget, TurnReport};
pub use builder::Builder;
pub use call::Call;
pub use callback::{Callback, Forget, Timer};
pub use clock::ManualClock;
pub use coroutine::Co;
pub use error::{Error, ErrorKind, Result};
pub use event_loop::{EventLoop, Outcome};
pub use failure::{Failure, FailureKind, Next, Refused};
pub use handle::{Handle, Remote, TimerId, WeakRemote};
pub use incident::Incident;
pub use join::JoinHandle;
pub use key::Key;
pub use oneshot::{Resolver, SendResolver};
pub use ordered::{Ordered, OrderedBuilder, OrderedDoor};
pub use ordered_finish::{Drained, Draining, Finishing};
pub use ordered_remote::OrderedRemote;
pub use ordered_send::{Asking, Permit, Reserving, Sending};
pub use site::Site;
pub use sleep::{Sleep, SleepStarted, YieldNow, YieldNowStarted};
pub use snapshot::{Activity, CoroutineId, CoroutineInfo, Label, PendingKey, Snapshot};
pub use task::{Task, TaskReturn, TaskStarted};
pub use wait::{
    AnyReady, AnyReadyStarted, Wait, WaitAll, WaitAllStarted, WaitAny, WaitAnyStarted, WaitStarted,
};
pub use yield_point::YieldPoint;

/// A duration of `n` milliseconds.
///
/// ```
/// assert_eq!(yieldpoint::ms(1500), std::time::Duration::from_millis(1500));
/// ```
#[must_use]
pub const fn ms(n: u64) -> std::time::Duration {
    std::time::Duration::from_millis(n)
}
