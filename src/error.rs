//! Everything a caller of this crate can be told, as one value of one word.
//!
//! It is apart because every module above returns it and none of them owns it.
//!
//! 1. An [`Error`] is one pointer, not generic, and `Send + Sync + 'static`.
//! 2. Its text says what happened, names the key and the places, and then what to do next.
//! 3. It passes through an [`io::Error`] and comes out as it went in.
//! 4. One's own cancel ([`ErrorKind::Cancelled`]) is never mistaken for that of a coroutine one
//!    joined ([`ErrorKind::CoroutineCancelled`]).

pub use crate::error_kind::ErrorKind;
use std::{any::Any, fmt, io};

/// Either a value or an [`Error`], unless another error type is named.
///
/// ```
/// fn nothing_to_say() -> yieldpoint::Result {
///     Ok(())
/// }
/// assert!(nothing_to_say().is_ok());
/// ```
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// An error of this crate, or one that passed through it.
///
/// It is one word wide. `Display` says what happened and what to do next; [`Error::kind`] is for
/// code. An I/O error and an error of the user print as themselves, and `source` goes on below them.
///
/// ```
/// use std::time::Duration;
/// use yieldpoint::{Error, ErrorKind};
///
/// let error = Error::other("no such user");
/// assert_eq!(error.to_string(), "no such user");
/// assert!(matches!(error.kind(), ErrorKind::Other(_)));
/// assert_eq!(size_of::<Error>(), size_of::<usize>());
/// ```
pub struct Error(Box<ErrorKind>);

const _: () = assert!(size_of::<Error>() == size_of::<usize>());

const _: () = {
    const fn crosses_threads<T: Send + Sync + 'static>() {}
    crosses_threads::<Error>();
};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

impl Error {
    /// Wraps an error of the user.
    ///
    /// An `Error` or an [`io::Error`] in a box is recognised and does not become a further layer.
    ///
    /// ```
    /// use yieldpoint::{Error, ErrorKind, Result};
    ///
    /// fn port(text: &str) -> Result<u16> {
    ///     text.parse().map_err(Error::other)
    /// }
    /// assert_eq!(port("http").unwrap_err().to_string(), "invalid digit found in string");
    ///
    /// let error = Error::other(Error::from(ErrorKind::LoopGone));
    /// assert!(error.is_loop_gone());
    /// ```
    #[must_use]
    pub fn other(error: impl Into<AnyError>) -> Self {
        error
            .into()
            .downcast::<Self>()
            .map(|error| *error)
            .or_else(|error| {
                error
                    .downcast::<io::Error>()
                    .map(|error| Self::from(*error))
            })
            .unwrap_or_else(|error| ErrorKind::Other(error).into())
    }

    /// Finds the `Error` in an error of whatever type, where it can be changed: it is one, or travels as an [`io::Error`] or in a box
    /// (keeps invariant 4 for these).
    pub(crate) fn find_mut(error: &mut dyn Any) -> Option<&mut Self> {
        type Boxed = Box<dyn std::error::Error>;
        if error.is::<Self>() {
            error.downcast_mut()
        } else if error.is::<io::Error>() {
            error.downcast_mut().and_then(Self::in_io)
        } else if error.is::<Boxed>() {
            error
                .downcast_mut()
                .and_then(|boxed: &mut Boxed| Self::in_any(&mut **boxed))
        } else {
            error
                .downcast_mut()
                .and_then(|boxed: &mut AnyError| Self::in_any(&mut **boxed))
        }
    }

    /// The same in an error without a box.
    fn in_any<'a>(error: &'a mut (dyn std::error::Error + 'static)) -> Option<&'a mut Self> {
        if error.is::<io::Error>() {
            error.downcast_mut().and_then(Self::in_io)
        } else {
            error.downcast_mut()
        }
    }

    /// The same in an I/O error.
    fn in_io(error: &mut io::Error) -> Option<&mut Self> {
        error.get_mut()?.downcast_mut()
    }

    /// Returns what happened.
    ///
    /// ```
    /// use yieldpoint::{Error, ErrorKind};
    ///
    /// let error = Error::from(ErrorKind::TooLong { max: 80 });
    /// assert!(matches!(error.kind(), ErrorKind::TooLong { max: 80 }));
    /// ```
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// Takes the error apart.
    ///
    /// ```
    /// use yieldpoint::{Error, ErrorKind};
    ///
    /// let error = Error::from(std::io::Error::from(std::io::ErrorKind::NotFound));
    /// let ErrorKind::Io(error) = error.into_kind() else { unreachable!() };
    /// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    /// ```
    #[must_use]
    pub fn into_kind(self) -> ErrorKind {
        *self.0
    }

    /// Returns whether the coroutine that got this error was itself cancelled.
    ///
    /// A cancel of a coroutine that one only joined is [`ErrorKind::CoroutineCancelled`].
    ///
    /// ```
    /// use yieldpoint::{Error, ErrorKind};
    ///
    /// let here = std::panic::Location::caller();
    /// let error = Error::from(ErrorKind::Cancelled { reason: "shutdown".into(), site: here });
    /// assert!(error.is_cancelled());
    /// assert!(!Error::from(ErrorKind::Reentered).is_cancelled());
    /// ```
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(*self.0, ErrorKind::Cancelled { .. })
    }

    /// Returns whether a time limit ran out.
    ///
    /// ```
    /// use yieldpoint::{Error, ErrorKind};
    ///
    /// let here = std::panic::Location::caller();
    /// let error = Error::from(ErrorKind::Elapsed { limit: std::time::Duration::from_millis(50), site: here });
    /// assert!(error.is_elapsed());
    /// assert!(!Error::from(ErrorKind::Reentered).is_elapsed());
    /// ```
    #[must_use]
    pub fn is_elapsed(&self) -> bool {
        matches!(*self.0, ErrorKind::Elapsed { .. })
    }

    /// Returns whether a resolver was dropped without being called.
    ///
    /// ```
    /// use yieldpoint::{Error, ErrorKind};
    ///
    /// let here = std::panic::Location::caller();
    /// let error = Error::from(ErrorKind::Abandoned { key: Some("auth".into()), created_at: here, waited_at: here });
    /// assert!(error.is_abandoned());
    /// assert!(!Error::from(ErrorKind::Reentered).is_abandoned());
    /// ```
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        matches!(*self.0, ErrorKind::Abandoned { .. })
    }

    /// Returns whether a coroutine ended well but left keys pending.
    ///
    /// ```
    /// use yieldpoint::{Error, ErrorKind};
    ///
    /// assert!(!Error::from(ErrorKind::LoopGone).is_leaked());
    /// ```
    #[must_use]
    pub fn is_leaked(&self) -> bool {
        matches!(*self.0, ErrorKind::Leaked { .. })
    }

    /// Returns whether the event loop no longer exists.
    ///
    /// ```
    /// use yieldpoint::{Error, ErrorKind};
    ///
    /// let error = Error::from(ErrorKind::LoopGone);
    /// assert!(error.is_loop_gone());
    /// assert!(!Error::from(ErrorKind::Reentered).is_loop_gone());
    /// ```
    #[must_use]
    pub fn is_loop_gone(&self) -> bool {
        matches!(*self.0, ErrorKind::LoopGone)
    }

    /// Returns whether code of the user panicked.
    ///
    /// ```
    /// use yieldpoint::{Error, ErrorKind};
    ///
    /// let error = Error::from(ErrorKind::Panicked { coroutine: None, message: "index out of bounds".into() });
    /// assert!(error.is_panicked());
    /// assert!(!Error::from(ErrorKind::Reentered).is_panicked());
    /// ```
    #[must_use]
    pub fn is_panicked(&self) -> bool {
        matches!(*self.0, ErrorKind::Panicked { .. })
    }

    /// Returns whether the other side of a connection has gone: closed, reset, or broken off in the middle. Everyday to a server, which
    /// may want to tell it from errors of its own.
    ///
    /// ```
    /// use yieldpoint::{Error, ErrorKind};
    ///
    /// let error = Error::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
    /// assert!(error.is_disconnect());
    /// assert!(!Error::from(ErrorKind::TooLong { max: 80 }).is_disconnect());
    /// ```
    #[must_use]
    pub fn is_disconnect(&self) -> bool {
        use std::io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof,
        };
        let ErrorKind::Io(error) = &*self.0 else {
            return false;
        };
        matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
        )
    }

    /// Returns whether the loop was found unable ever to move again.
    ///
    /// ```
    /// use yieldpoint::{Error, ErrorKind};
    ///
    /// let error = Error::from(ErrorKind::Stuck(yieldpoint::Snapshot::default()));
    /// assert!(error.is_stuck());
    /// assert!(!Error::from(ErrorKind::Reentered).is_stuck());
    /// ```
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        matches!(*self.0, ErrorKind::Stuck(_))
    }
}

impl fmt::Debug for Error {
    /// The text for a person, since it is what `main` and `expect` print; `{:#?}` gives the kind with its fields.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            fmt::Debug::fmt(&self.0, f)
        } else {
            fmt::Display::fmt(&self.0, f)
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            ErrorKind::Io(error) => error.source(),
            ErrorKind::Other(error) => error.source(),
            _ => None,
        }
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(kind))
    }
}

impl From<io::Error> for Error {
    /// Takes the `Error` out again if one travelled as an [`io::Error`].
    fn from(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => error,
            Err(error) => ErrorKind::Io(error).into(),
        }
    }
}

impl From<Error> for io::Error {
    /// Gives the [`io::Error`] back if it is one, and is of kind `Other` in every other case.
    fn from(error: Error) -> Self {
        match error.into_kind() {
            ErrorKind::Io(error) => error,
            kind => io::Error::other(Error::from(kind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, ErrorKind};
    use crate::{
        site::Site,
        snapshot::{CoroutineId, KeyState, Label, PendingKey, Snapshot},
    };
    use std::{error::Error as _, fmt, io, panic::Location, time::Duration};

    fn first() -> Site {
        Location::caller()
    }

    fn second() -> Site {
        Location::caller()
    }

    fn reader() -> Label {
        Label::new(CoroutineId::new(3, 0), Some("reader".into()), first())
    }

    fn late() -> Vec<PendingKey> {
        vec![PendingKey {
            key: "late".into(),
            created_at: second(),
            waited_at: None,
            state: KeyState::Pending,
        }]
    }

    fn cancelled() -> Error {
        ErrorKind::Cancelled {
            reason: "shutdown".into(),
            site: second(),
        }
        .into()
    }

    fn joined_cancel(swallowed: bool, keys: Vec<PendingKey>) -> ErrorKind {
        ErrorKind::CoroutineCancelled {
            coroutine: reader(),
            reason: "shutdown".into(),
            site: second(),
            swallowed,
            keys,
        }
    }

    /// A user's error that has a source.
    #[derive(Debug)]
    struct Layer(std::num::ParseIntError);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bad number")
        }
    }

    impl std::error::Error for Layer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[track_caller]
    fn assert_shown(kind: ErrorKind, text: impl AsRef<str>) {
        assert_eq!(Error::from(kind).to_string(), text.as_ref());
    }

    #[test]
    fn what_main_prints_is_the_text_and_the_fields_are_one_flag_away() {
        let error = Error::from(ErrorKind::LoopGone);
        assert_eq!(format!("{error:?}"), error.to_string());
        assert_eq!(format!("{error:#?}"), "LoopGone");
    }

    #[test]
    fn errors_about_keys_name_the_key_its_places_and_what_to_do() {
        let (a, b) = (first(), second());
        let key = || "auth".into();
        assert_shown(
            ErrorKind::KeyReuse {
                key: key(),
                created_at: a,
                again_at: b,
            },
            format!(
                "key \"auth\" is still pending: it was created at {a} and again at {b}. Wait for \
                 it first, give it up with forget(\"auth\"), or use Key::fresh()."
            ),
        );
        assert_shown(
            ErrorKind::UnknownKey {
                key: key(),
                asked_at: a,
            },
            format!(
                "key \"auth\" is not pending in this coroutine, but is asked for at {a}. Create \
                 its callback first; a key that was waited for or forgotten is gone."
            ),
        );
        assert_shown(
            ErrorKind::WrongType {
                key: key(),
                created: "u32",
                asked: "String",
                created_at: a,
                asked_at: b,
            },
            format!(
                "key \"auth\" was created at {a} for the type u32, but is waited for at {b} as \
                 String. Say the type there, ::<u32>; the key is still pending."
            ),
        );
        assert_shown(
            ErrorKind::RepeatedKey {
                key: key(),
                asked_at: a,
            },
            format!(
                "key \"auth\" is waited for twice: it is named again at {a}. Wait for a key in one \
                 place at a time."
            ),
        );
        assert_shown(
            ErrorKind::NoKeys { asked_at: a },
            format!(
                "the list of keys at {a} is empty, so none of them could ever be ready. Name at \
                 least one key."
            ),
        );
        assert_shown(
            ErrorKind::Abandoned {
                key: Some(key()),
                created_at: a,
                waited_at: b,
            },
            format!(
                "the resolver for key \"auth\" was dropped without being called; it was created \
                 at {a} and is awaited at {b}. Call it on every path, or give the key up with \
                 forget(\"auth\")."
            ),
        );
        assert_shown(
            ErrorKind::Abandoned {
                key: None,
                created_at: a,
                waited_at: b,
            },
            format!(
                "the callback of the Task at {a} was dropped without being called. Call it on \
                 every path."
            ),
        );
    }

    #[test]
    fn errors_about_coroutines_name_the_coroutine_and_the_call_that_ended_it() {
        let (a, b) = (first(), second());
        assert_shown(
            ErrorKind::Leaked {
                coroutine: reader(),
                keys: late(),
            },
            format!(
                "reader #3 (created at {a}) ended with 1 key pending: \"late\" (created at {b}). \
                 Wait for every key, or give it up with forget(key)."
            ),
        );
        assert_shown(
            cancelled().into_kind(),
            format!(
                "this coroutine was cancelled (shutdown) at {b}. Let the error end it; wait only \
                 inside cleanup(..)."
            ),
        );
        assert_shown(
            joined_cancel(false, vec![]),
            format!(
                "reader #3 (created at {a}) was cancelled (shutdown) at {b}. It gave no result. \
                 If that was meant, take this error as its end."
            ),
        );
        assert_shown(
            joined_cancel(true, late()),
            format!(
                "reader #3 (created at {a}) was cancelled (shutdown) at {b}, with 1 key pending: \
                 \"late\" (created at {b}). It went on waiting, so its body was dropped: after a \
                 cancel, wait only inside cleanup(..)."
            ),
        );
        assert_shown(
            ErrorKind::Aborted {
                coroutine: reader(),
                site: b,
                keys: vec![],
            },
            format!(
                "reader #3 (created at {a}) was aborted at {b}. Its body was dropped where it \
                 stood; cancel it instead if it has to clean up."
            ),
        );
        assert_shown(
            ErrorKind::Aborted {
                coroutine: reader(),
                site: b,
                keys: late(),
            },
            format!(
                "reader #3 (created at {a}) was aborted at {b}, with 1 key pending: \"late\" \
                 (created at {b}). Its body was dropped where it stood; cancel it instead if it \
                 has to clean up."
            ),
        );
        let panicked = |coroutine| ErrorKind::Panicked {
            coroutine,
            message: "boom".into(),
        };
        let advice = "The loop goes on; mend the code that panicked.";
        assert_shown(
            panicked(Some(reader())),
            format!("reader #3 (created at {a}) panicked: boom. {advice}"),
        );
        assert_shown(
            panicked(None),
            format!("a callback panicked: boom. {advice}"),
        );
        assert_shown(
            ErrorKind::Elapsed {
                limit: Duration::from_millis(50),
                site: a,
            },
            format!("the limit of 50 ms set at {a} ran out. Raise it, or handle the delay."),
        );
    }

    #[test]
    fn errors_about_the_loop_and_its_bounds_say_what_to_do() {
        assert_shown(
            ErrorKind::Reentered,
            "the event loop was turned from inside its own turn. Queue the work on its handle \
             and return.",
        );
        assert_shown(
            ErrorKind::LoopGone,
            "the event loop is gone. Keep it alive as long as its handles are used, or take this \
             as the end.",
        );
        assert_shown(
            ErrorKind::Stopped,
            "the event loop was told to stop before this had ended, and dropped it where it stood. \
             Wait for it before you call stop(), or begin it anew.",
        );
        assert_shown(
            ErrorKind::Stuck(Snapshot::default()),
            "the loop is stuck: nothing can wake what it still runs. Resolve or forget what is \
             waited for here:\nnothing is running",
        );
        assert_shown(
            ErrorKind::Dropped {
                what: "message",
                why: "a newer one took its place",
            },
            "the message was dropped before it was handled: a newer one took its place. Send it \
             again if it is still wanted.",
        );
        assert_shown(
            ErrorKind::Refused {
                what: "ordered engine",
                limit: 64,
                created_at: Some(first()),
            },
            format!(
                "the ordered engine (created at {}) is full: its limit is 64. Wait for room, or raise the limit.",
                first()
            ),
        );
        assert_shown(
            ErrorKind::Closed {
                what: "channel",
                created_at: None,
            },
            "the channel is closed. Nothing more goes through it; open another, or end.",
        );
        assert_shown(
            ErrorKind::Deadlock {
                path: "the handler of chat waits for room of chat".to_owned(),
                site: first(),
            },
            format!(
                "the wait at {} would never end: the handler of chat waits for room of chat. Send \
                 without waiting (try_send), or let a coroutine of its own wait.",
                first()
            ),
        );
        assert_shown(
            ErrorKind::Refused {
                what: "inbox",
                limit: 64,
                created_at: None,
            },
            "the inbox is full: its limit is 64. Wait for room, or raise the limit.",
        );
        assert_shown(
            ErrorKind::Missed {
                count: 5,
                created_at: first(),
            },
            format!(
                "5 of the events created at {} were lost, because nobody took them in time. Take \
                 them faster, or give them more room.",
                first()
            ),
        );
        assert_shown(
            ErrorKind::ZeroPeriod { site: first() },
            format!(
                "the periodic callback set at {} has a period of zero and would never let \
                 anything else run. Give it a positive one.",
                first()
            ),
        );
        assert_shown(
            ErrorKind::NotLent { in_use: false },
            "nothing is lent at this moment. Use with(..) only in what runs inside during(..), \
             such as a turn.",
        );
        assert_shown(
            ErrorKind::NotLent { in_use: true },
            "what is lent is in use by the with(..) around this one. Do the work there, or \
             after it.",
        );
        assert_shown(
            ErrorKind::TooLong { max: 80 },
            "what is to be read is longer than 80 bytes. Raise the limit, or close the stream.",
        );
    }

    #[test]
    fn a_foreign_error_prints_as_itself_and_its_source_goes_on_below_it() {
        let parse = || "x".parse::<u8>().expect_err("x is no number");
        assert_shown(
            ErrorKind::Io(io::Error::other(parse())),
            parse().to_string(),
        );
        assert_shown(ErrorKind::Other(parse().into()), parse().to_string());
        assert!(Error::other(parse()).source().is_none());

        for error in [
            Error::other(Layer(parse())),
            Error::from(io::Error::other(Layer(parse()))),
        ] {
            assert_eq!(error.to_string(), "bad number");
            let source = error.source().expect("the layer has a source");
            assert_eq!(source.to_string(), parse().to_string());
        }
        assert!(cancelled().source().is_none());
    }

    #[test]
    fn a_cancel_that_travels_as_an_io_error_is_again_a_cancel() {
        let travelling = io::Error::from(cancelled());
        assert_eq!(travelling.kind(), io::ErrorKind::Other);
        assert_eq!(travelling.to_string(), cancelled().to_string());
        assert!(Error::from(travelling).is_cancelled());
    }

    #[test]
    fn an_io_error_passes_through_unchanged() {
        let error = Error::from(io::Error::from(io::ErrorKind::UnexpectedEof));
        assert!(matches!(error.kind(), ErrorKind::Io(_)));
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::UnexpectedEof);
        let os = Error::from(io::Error::from_raw_os_error(2));
        assert_eq!(io::Error::from(os).raw_os_error(), Some(2));
    }

    #[test]
    fn boxing_an_error_adds_no_layer() {
        assert!(Error::other(cancelled()).is_cancelled());
        assert!(Error::other(io::Error::from(cancelled())).is_cancelled());
        let io = Error::other(io::Error::from(io::ErrorKind::NotFound));
        assert!(matches!(io.kind(), ErrorKind::Io(_)));
        assert!(matches!(Error::other("text").kind(), ErrorKind::Other(_)));
    }

    #[test]
    fn each_predicate_knows_its_own_kind_and_no_other() {
        let site = first();
        let kinds = [
            cancelled().into_kind(),
            ErrorKind::Elapsed {
                limit: Duration::ZERO,
                site,
            },
            ErrorKind::Abandoned {
                key: None,
                created_at: site,
                waited_at: site,
            },
            ErrorKind::Leaked {
                coroutine: reader(),
                keys: late(),
            },
            ErrorKind::LoopGone,
            ErrorKind::Panicked {
                coroutine: None,
                message: "boom".into(),
            },
            ErrorKind::Stuck(Snapshot::default()),
            joined_cancel(false, vec![]),
            ErrorKind::Stopped,
        ];
        let predicates = [
            Error::is_cancelled,
            Error::is_elapsed,
            Error::is_abandoned,
            Error::is_leaked,
            Error::is_loop_gone,
            Error::is_panicked,
            Error::is_stuck,
        ];
        for (kind, index) in kinds.into_iter().zip(0..) {
            let error = Error::from(kind);
            for (predicate, own) in predicates.iter().zip(0..) {
                assert_eq!(predicate(&error), own == index, "{error:?}");
            }
        }
    }
}
