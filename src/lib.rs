//! A single-threaded coroutine runtime.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

// The layers, from the ground up: a module uses only modules listed above it.
mod site;

mod key;

mod arena;
mod snapshot;

mod error;
mod send_error;

mod incident;

mod pool;
mod timers;

mod clock;
mod inbox;
mod waiter;
mod waits;

mod line;

mod ledger;
mod reactor;
mod record;

mod shared;

mod parking;
mod roster;
mod waiting;

mod handle;
mod waker;

mod bodies;
mod budget;
mod builder;
mod event_loop;

mod assembly;

mod coroutine;
mod oneshot;
mod yield_point;

mod asker;
mod callback;
mod sleep;
mod task;
mod wait;
mod wait_all;
mod wait_any;

mod cleanup;
mod either;

mod row;

mod points;
mod tuples;

mod all;
mod as_completed;
mod first;

mod cancellable;
mod timeout;

mod join;
mod runner;

mod blocking;
mod events;
mod fifo;
mod machine;
mod periodic;
mod queue;

pub mod sync;

mod embed;

pub mod net;

mod key_name;

mod call;
mod failure;

mod verdict;

mod ordered_gate;
mod ordered_queue;

mod lane;
mod lane_worker;
mod ordered_finish;
mod ordered_remote;
mod ordered_send;

mod hub;
mod hub_worker;
mod keyed_finish;
mod keyed_remote;
mod keyed_send;

mod keyed;

pub mod ordered;

pub mod documentation;

pub use all::{All, AllStarted};
pub use as_completed::{AsCompleted, Next};
pub use blocking::Blocking;
pub use budget::{Budget, TurnReport};
pub use builder::Builder;
pub use call::Call;
pub use callback::{Callback, Forget, Timer};
pub use cancellable::CancellableStarted;
pub use cleanup::CleanupStarted;
pub use clock::ManualClock;
pub use coroutine::Co;
pub use either::{
    Either, EitherStarted, OneOf3, OneOf4, OneOf5, OneOf6, OneOf7, OneOf8, OneOf9, OneOf10,
    OneOf11, OneOf12,
};
pub use embed::{Guest, Lent};
pub use error::{Error, ErrorKind, Result};
pub use event_loop::{EventLoop, Outcome};
pub use events::{Emitter, Events, NextEvent, SendEmitter};

pub use first::{First, FirstStarted};
pub use handle::{Handle, Remote, TimerId, WeakRemote};
pub use incident::Incident;
pub use join::JoinHandle;
pub use key::Key;
pub use keyed::Keyed;
pub use machine::{Coroutine, CoroutineState, Running, Sent};
pub use oneshot::{Resolver, SendResolver};
pub use periodic::{CatchUp, Periodic, Tick};

pub use ordered::{Ordered, OrderedBuilder, OrderedDoor, OrderedRemote};
pub use points::{Points, Sequence};
pub use site::Site;
pub use sleep::{Sleep, SleepStarted, YieldNow, YieldNowStarted};
pub use snapshot::{Activity, CoroutineId, CoroutineInfo, KeyState, Label, PendingKey, Snapshot};
pub use task::{Task, TaskReturn, TaskStarted};
pub use timeout::{Timeout, TimeoutStarted};
pub use wait::{Wait, WaitStarted};
pub use wait_all::{WaitAll, WaitAllStarted};
pub use wait_any::{AnyReady, AnyReadyStarted, WaitAny, WaitAnyStarted};
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
