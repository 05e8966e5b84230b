//! A single-threaded coroutine runtime: await any callback, one key in order, all keys at once, inside your own main loop.
//!
//! A mio event loop drives state-machine coroutines. A coroutine yields *yield-points*; its *Runner* waits without blocking and sends the
//! result back in. On top stands an *ordered engine*: messages are handled one at a time, in the order in which they came.
//!
//! ```
//! use yieldpoint::{EventLoop, Handle, Result, ms};
//!
//! /// Some callback API: answers later.
//! fn fetch(handle: &Handle, url: &'static str, callback: impl FnOnce(usize) + 'static) {
//!     handle.call_later(ms(1), move || callback(url.len()));
//! }
//!
//! let lengths = EventLoop::new()?.block_on(async |co| -> Result<Vec<usize>> {
//!     // One callback, awaited.
//!     let first = co.task(|done| fetch(co.handle(), "http://one", done.into_fn())).await?;
//!     // Two at once.
//!     let handle = co.handle();
//!     let tasks = ["http://two", "http://three"].map(|url| co.task(move |done| fetch(handle, url, done.into_fn())));
//!     let mut lengths = vec![first];
//!     for length in co.all(tasks).await {
//!         lengths.push(length?);
//!     }
//!     Ok(lengths)
//! })?;
//! assert_eq!(lengths, [10, 10, 12]);
//! # Ok::<(), yieldpoint::Error>(())
//! ```
//!
//! # Where to begin
//!
//! | to | see |
//! |---|---|
//! | await callbacks | [`Co::task`], [`Co::callback`] and [`Co::wait`], [`Co::events`] |
//! | wait for several things | [`Co::all`], [`Co::first`], [`Co::as_completed`], [`Co::timeout`] |
//! | spawn, join, cancel | [`Handle::spawn`], [`JoinHandle`], [`Co::cleanup`] |
//! | handle messages in order | [`Ordered`], [`ordered`] |
//! | write a state machine by hand | [`Coroutine`] |
//! | reach the loop from other threads | [`Remote`], [`Resolver::into_send_fn`], [`Co::blocking`] |
//! | embed the loop in your own | [`EventLoop::turn`], [`EventLoop::into_guest`], [`Lent`] |
//! | talk TCP | [`net`] |
//! | see what waits for what | [`Handle::snapshot`], [`Outcome::Stuck`], [`Builder::stalled_after`] |
//! | test without waiting | [`ManualClock`], [`Builder::fail_on_error`] |
//! | find the name you know from elsewhere | [`documentation::names`] |
//!
//! # What holds everywhere
//!
//! - Whatever ends in an error says so with key and place; what nobody takes goes to the error hook ([`Builder::on_error`]).
//! - What becomes ready goes to the back of one queue, once; the order of a turn is a contract ([`documentation::design`]).
//! - A callback, a waker, a `Drop` of yours runs with nothing of ours borrowed: it may call anything here.
//! - Everything is reached through [`Co`] or [`Handle`]; there is no current loop.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

// The layers, from the ground up: a module uses only modules listed above it.
mod site;

mod key;

mod arena;
mod fit;
mod register;
mod snapshot;

mod error_kind;

mod error;
mod send_error;

mod incident;

mod pool;
mod timers;

mod calls;
mod clock;

mod busy_poll;
mod posts;

mod inbox;
mod waiter;
mod waits;

mod line;

mod ledger;

mod sources;

mod reactor;
mod shelves;

mod job;
mod ready;
mod record;
mod spares;

mod records;

mod shared;

mod parking;

mod arming;
mod roster;
mod waiting;

mod handle;
mod waker;

mod bodies;
mod budget;
mod builder;
mod event_loop;
mod look;
mod turn;

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

/// The programs of the README, compiled and run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
