//! How a message of an ordered engine can end badly, and what an engine does about it.
//!
//! It is apart because both engines, their doors and the user's hooks speak of it.
//!
//! Invariants:
//! 1. A message that was not taken is given back with the reason, never dropped.
//! 2. A failure is looked at before its error goes to who asked: the hook only borrows it.

use std::any::Any;
use std::fmt;

use crate::error::Error;

/// A message that an engine did not take, and why.
///
/// It converts into [`Error`], so that `?` works where the message may go; in a body with an error type of its own write
/// `.map_err(Error::from)?`.
///
/// ```
/// # use yieldpoint::{Call, EventLoop, Ordered, Result};
/// # let event_loop = EventLoop::new()?;
/// let engine = Ordered::with_state(())
///     .bound(1)
///     .serve(&event_loop.handle(), async |_: Call, (), n: u32| -> Result { let _ = n; Ok(()) });
/// engine.try_send(1)?;
/// let refused = engine.try_send(2).expect_err("there is room for one");
/// assert!(refused.to_string().ends_with("is full: its limit is 1. Wait for room, or raise the limit."));
/// assert_eq!(refused.into_message(), 2);
/// # Ok::<(), yieldpoint::Error>(())
/// ```
pub struct Refused<M> {
    /// The message.
    message: M,
    /// The reason.
    error: Error,
}

impl<M> Refused<M> {
    /// A message given back.
    pub(crate) fn new(message: M, error: Error) -> Self {
        Refused { message, error }
    }

    /// Why it was not taken.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// Takes the message back.
    #[must_use]
    pub fn into_message(self) -> M {
        self.message
    }

    /// Takes both.
    #[must_use]
    pub fn into_parts(self) -> (M, Error) {
        (self.message, self.error)
    }
}

impl<M> fmt::Debug for Refused<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<M> fmt::Display for Refused<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl<M> std::error::Error for Refused<M> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl<M> From<Refused<M>> for Error {
    fn from(refused: Refused<M>) -> Self {
        refused.error
    }
}

/// What an engine does after a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterFailure {
    /// Goes on with the next message.
    GoOn,
    /// Takes no further message. What is queued is kept for `drain` to give back; its askers get `Dropped`.
    Stop,
}

/// What a keyed engine does with a key after a failure.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AfterKeyFailure {
    /// Goes on with the key's next message.
    Continue,
    /// Handles none of the key's messages until it is resumed. They are kept and count towards the limits, and new ones are taken in.
    ParkKey,
    /// Drops the key's messages, by way of the engine's `on_drop`, and refuses new ones until the key is resumed, restarted or forgotten.
    StopKey,
}

/// What a keyed engine does with a message for which it has no room.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Overflow {
    /// `send` waits for room; `try_send` gives the message back.
    Wait,
    /// Nobody waits: `try_send` gives the message back, and `send` ends with `Refused`.
    Refuse,
    /// The oldest message queued for the key is dropped instead.
    DropOldest,
    /// The newcomer is dropped.
    DropNewest,
    /// Everything queued for the key is dropped instead.
    KeepLast,
}

/// Why a keyed engine dropped a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DropReason {
    /// Its key had no room, and [`Overflow`] says which message goes.
    Overflow,
    /// Its key was stopped after a failure.
    Stopped,
    /// Its key was forgotten.
    Forgotten,
    /// Its key was parked when the last door of the engine was dropped.
    Ended,
}

impl DropReason {
    /// The reason in words.
    pub(crate) fn text(self) -> &'static str {
        match self {
            DropReason::Overflow => "its key had no room for it",
            DropReason::Stopped => "its key was stopped after a failure",
            DropReason::Forgotten => "its key was forgotten",
            DropReason::Ended => "its engine ended first",
        }
    }
}

/// In which way a handler failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum FailureKind {
    /// It returned `Err`.
    Error,
    /// It ended well but left keys pending.
    Leaked,
    /// It panicked.
    Panicked,
    /// It was cancelled, and did not end well.
    Cancelled,
    /// It was aborted.
    Aborted,
}

/// A handler's failure, as `on_failure` sees it. `Display` gives the text of the error.
///
/// ```
/// # use yieldpoint::{Call, EventLoop, Ordered, Result, Error, ordered::{FailureKind, AfterFailure}};
/// # EventLoop::builder().on_error(|_| {}).build()?.block_on(async |co| -> Result {
/// let engine = Ordered::with_state(0)
///     .on_failure(|state, failure| {
///         assert_eq!(failure.kind(), FailureKind::Error);
///         assert!(failure.downcast_ref::<Error>().is_some());
///         assert_eq!(failure.to_string(), "declined");
///         *state = 100; // repaired
///         AfterFailure::GoOn
///     })
///     .serve(co.handle(), async |_: Call, _: &mut u32, (): ()| -> Result { Err(Error::other("declined")) });
/// engine.try_send(())?;
/// assert_eq!(engine.finish().await?, 100);
/// # Ok(())
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
pub struct Failure<'a> {
    /// In which way.
    kind: FailureKind,
    /// The error's text.
    text: &'a dyn fmt::Display,
    /// The error.
    error: &'a dyn Any,
}

impl<'a> Failure<'a> {
    /// A failure with this error.
    pub(crate) fn new<E: fmt::Display + 'static>(kind: FailureKind, error: &'a E) -> Self {
        Failure {
            kind,
            text: error,
            error,
        }
    }

    /// In which way the handler failed.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The error, if it is an `E`: the handler's error type, whatever the kind.
    #[must_use]
    pub fn downcast_ref<E: 'static>(&self) -> Option<&'a E> {
        self.error.downcast_ref()
    }
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.text, f)
    }
}

impl fmt::Debug for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("kind", &self.kind)
            .field("error", &format_args!("{}", self.text))
            .finish()
    }
}
