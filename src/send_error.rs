//! A value that could not be handed over, with the reason.
//!
//! It is apart because every bounded thing that takes values refuses in the same way: what it does not take it gives back.

use std::fmt;

use crate::error::{Error, ErrorKind};
use crate::site::Site;

/// A value that was not taken, given back with the reason.
///
/// `?` turns it into an [`Error`] and drops the value (in a body with an error type of its own, `.map_err(Error::from)?`); [`into_value`](SendError::into_value) and
/// [`into_parts`](SendError::into_parts) keep it.
///
/// ```
/// use yieldpoint::{EventLoop, sync::queue};
///
/// let event_loop = EventLoop::new()?;
/// let (sender, _receiver) = queue(&event_loop.handle(), 1);
/// sender.try_send("first")?;
/// let refused = sender.try_send("second").expect_err("there is room for one");
/// assert!(refused.is_full());
/// assert_eq!(refused.into_value(), "second");
/// # Ok::<(), yieldpoint::Error>(())
/// ```
pub struct SendError<T> {
    /// What was not taken.
    value: T,
    /// Why.
    why: Why,
}

/// Why a value was not taken. The two frequent reasons cost no allocation.
#[derive(Debug)]
enum Why {
    /// A bound is reached.
    Full {
        what: &'static str,
        limit: usize,
        created_at: Site,
    },
    /// Nobody takes values any more.
    Closed {
        what: &'static str,
        created_at: Site,
    },
    /// The wait for room was ended from outside.
    Other(Error),
}

impl<T> SendError<T> {
    /// `what`, made there, is full.
    pub(crate) fn full(value: T, what: &'static str, limit: usize, created_at: Site) -> Self {
        let why = Why::Full {
            what,
            limit,
            created_at,
        };
        SendError { value, why }
    }

    /// `what`, made there, is closed.
    pub(crate) fn closed(value: T, what: &'static str, created_at: Site) -> Self {
        let why = Why::Closed { what, created_at };
        SendError { value, why }
    }

    /// The wait was ended by this error.
    pub(crate) fn ended(value: T, error: Error) -> Self {
        let why = Why::Other(error);
        SendError { value, why }
    }

    /// Whether there was no room: trying again later may help.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.why, Why::Full { .. })
    }

    /// Whether nobody takes values any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.why, Why::Closed { .. })
    }

    /// Whether the coroutine that waited for room was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(&self.why, Why::Other(error) if error.is_cancelled())
    }

    /// The value.
    pub fn into_value(self) -> T {
        self.value
    }

    /// The value and the reason.
    pub fn into_parts(self) -> (T, Error) {
        let error = match self.why {
            Why::Full {
                what,
                limit,
                created_at,
            } => full(what, limit, created_at).into(),
            Why::Closed { what, created_at } => closed(what, created_at).into(),
            Why::Other(error) => error,
        };
        (self.value, error)
    }
}

/// The error of something full.
fn full(what: &'static str, limit: usize, created_at: Site) -> ErrorKind {
    ErrorKind::Refused {
        what,
        limit,
        created_at: Some(created_at),
    }
}

/// The error of something closed.
fn closed(what: &'static str, created_at: Site) -> ErrorKind {
    ErrorKind::Closed {
        what,
        created_at: Some(created_at),
    }
}

impl<T> From<SendError<T>> for Error {
    fn from(refused: SendError<T>) -> Self {
        refused.into_parts().1
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::Full {
                what,
                limit,
                created_at,
            } => full(what, *limit, created_at).fmt(f),
            Why::Closed { what, created_at } => closed(what, created_at).fmt(f),
            Why::Other(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("why", &self.why)
            .finish_non_exhaustive()
    }
}

impl<T> std::error::Error for SendError<T> {}
