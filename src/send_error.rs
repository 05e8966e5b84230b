//! A value that could not be handed over, with the reason.
//!
//! It is apart because every bounded thing that takes values refuses in the same way: what it does not take it gives back.

use std::fmt;

use crate::error::{Error, ErrorKind};

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
    Full { what: &'static str, limit: usize },
    /// Nobody takes values any more.
    Closed { what: &'static str },
    /// The wait for room was ended from outside.
    Other(Error),
}

impl<T> SendError<T> {
    /// `what` is full.
    pub(crate) fn full(value: T, what: &'static str, limit: usize) -> Self {
        let why = Why::Full { what, limit };
        SendError { value, why }
    }

    /// `what` is closed.
    pub(crate) fn closed(value: T, what: &'static str) -> Self {
        let why = Why::Closed { what };
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
            Why::Full { what, limit } => ErrorKind::Refused {
                what,
                limit,
                created_at: None,
            }
            .into(),
            Why::Closed { what } => ErrorKind::Closed {
                what,
                created_at: None,
            }
            .into(),
            Why::Other(error) => error,
        };
        (self.value, error)
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
            Why::Full { what, limit } => {
                let (what, limit) = (*what, *limit);
                fmt::Display::fmt(
                    &ErrorKind::Refused {
                        what,
                        limit,
                        created_at: None,
                    },
                    f,
                )
            }
            Why::Closed { what } => fmt::Display::fmt(
                &ErrorKind::Closed {
                    what,
                    created_at: None,
                },
                f,
            ),
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
