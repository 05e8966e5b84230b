//! What can go wrong, kind by kind, and what to tell a person about it.
//!
//! It is apart from [`Error`](crate::Error) because that is one word to carry; this is what it carries.
//!
//! Each kind names the key, if there is one, and the places it knows; its text says what happened and then what to do next.

use crate::{
    key::Key,
    site::Site,
    snapshot::{Human, KeyList, Label, PendingKey, Snapshot, count},
};
use std::{borrow::Cow, fmt, io, time::Duration};

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A key was created while it was still pending.
    KeyReuse {
        /// The key.
        key: Key,
        /// Where it was created first.
        created_at: Site,
        /// Where it was to be created again.
        again_at: Site,
    },
    /// A key was asked for that is not pending in this coroutine.
    UnknownKey {
        /// The key.
        key: Key,
        /// Where it was asked for.
        asked_at: Site,
    },
    /// The result of a key was asked for as another type than it has. The key stays pending.
    WrongType {
        /// The key.
        key: Key,
        /// The type that its callback was created with.
        created: &'static str,
        /// The type that was asked for.
        asked: &'static str,
        /// Where the callback was created.
        created_at: Site,
        /// Where the result was asked for.
        asked_at: Site,
    },
    /// A list of keys to wait for names a key twice.
    RepeatedKey {
        /// The key.
        key: Key,
        /// Where the list was given.
        asked_at: Site,
    },
    /// A list of keys to wait for any of is empty, so none could ever be ready.
    NoKeys {
        /// Where the list was given.
        asked_at: Site,
    },
    /// The resolver was dropped without being called, so no result can come.
    Abandoned {
        /// The key, or `None` for a `Task`, which has none.
        key: Option<Key>,
        /// Where the resolver was created.
        created_at: Site,
        /// Where its result is awaited.
        waited_at: Site,
    },
    /// A coroutine ended well but left keys pending.
    Leaked {
        /// The coroutine that ended.
        coroutine: Label,
        /// The keys it left.
        keys: Vec<PendingKey>,
    },
    /// The coroutine that gets this error was cancelled.
    Cancelled {
        /// The reason given to the cancel.
        reason: Cow<'static, str>,
        /// Where the cancel was called.
        site: Site,
    },
    /// A joined coroutine ended by a cancel. Where the coroutine's error type is the user's own and wraps the [`Cancelled`] that its
    /// body got, that is left as it is; in an [`io::Error`] or a box it becomes this.
    ///
    /// [`Cancelled`]: ErrorKind::Cancelled
    CoroutineCancelled {
        /// The coroutine that ended.
        coroutine: Label,
        /// The reason given to the cancel.
        reason: Cow<'static, str>,
        /// Where the cancel was called.
        site: Site,
        /// Whether its body was dropped because it went on waiting.
        swallowed: bool,
        /// The keys it left.
        keys: Vec<PendingKey>,
    },
    /// A joined coroutine was aborted: its body was dropped where it waited.
    Aborted {
        /// The coroutine.
        coroutine: Label,
        /// Where the abort was called.
        site: Site,
        /// The keys it left.
        keys: Vec<PendingKey>,
    },
    /// Code of the user panicked.
    Panicked {
        /// The coroutine in which it happened, if it was one.
        coroutine: Option<Label>,
        /// The text of the panic.
        message: Box<str>,
    },
    /// A time limit ran out.
    Elapsed {
        /// The limit.
        limit: Duration,
        /// Where the limit was set.
        site: Site,
    },
    /// The loop was turned from inside its own turn.
    Reentered,
    /// The event loop no longer exists.
    LoopGone,
    /// The event loop was told to stop.
    Stopped,
    /// Nothing could ever wake a coroutine of the loop again.
    Stuck(Snapshot),
    /// A message or an answer was dropped before it was handled.
    Dropped {
        /// What was dropped, such as `message`.
        what: &'static str,
        /// Why, such as `a newer one took its place`.
        why: &'static str,
    },
    /// The other side has closed.
    Closed {
        /// What is closed, such as `channel`.
        what: &'static str,
        /// Where it was made, if that is known.
        created_at: Option<Site>,
    },
    /// A wait that only its own end could end was refused.
    Deadlock {
        /// Who would wait for whom.
        path: String,
        /// Where the wait was asked for.
        site: Site,
    },
    /// A bound is reached.
    Refused {
        /// What is full, such as `inbox`.
        what: &'static str,
        /// The bound.
        limit: usize,
        /// Where it was made, if that is known.
        created_at: Option<Site>,
    },
    /// Events were lost because nobody took them in time.
    Missed {
        /// How many were lost since the last one that was taken.
        count: u64,
        /// Where the events were created.
        created_at: Site,
    },
    /// A periodic callback was given a period of zero.
    ZeroPeriod {
        /// Where it was set.
        site: Site,
    },
    /// A lent value was asked for while nothing is lent, or while somebody uses it already.
    NotLent {
        /// Whether somebody uses it already.
        in_use: bool,
    },
    /// A line, or what else is to be read whole, is longer than the reader allows.
    TooLong {
        /// The most it allows, in bytes.
        max: usize,
    },
    /// The system refused something.
    Io(io::Error),
    /// An error of the user.
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl fmt::Display for ErrorKind {
    #[expect(clippy::too_many_lines, reason = "one arm for each kind")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyReuse {
                key,
                created_at,
                again_at,
            } => write!(
                f,
                "key {key:?} is still pending: it was created at {created_at} and again at \
                 {again_at}. Wait for it first, give it up with forget({key:?}), or use \
                 Key::fresh()."
            ),
            Self::UnknownKey { key, asked_at } => write!(
                f,
                "key {key:?} is not pending in this coroutine, but is asked for at {asked_at}. \
                 Create its callback first; a key that was waited for or forgotten is gone."
            ),
            Self::WrongType {
                key,
                created,
                asked,
                created_at,
                asked_at,
            } => write!(
                f,
                "key {key:?} was created at {created_at} for the type {created}, but is waited for \
                 at {asked_at} as {asked}. Say the type there, ::<{created}>; the key is still \
                 pending."
            ),
            Self::RepeatedKey { key, asked_at } => write!(
                f,
                "key {key:?} is waited for twice: it is named again at {asked_at}. Wait for a key in one place at a time."
            ),
            Self::NoKeys { asked_at } => write!(
                f,
                "the list of keys at {asked_at} is empty, so none of them could ever be ready. Name at least one key."
            ),
            Self::Abandoned {
                key: Some(key),
                created_at,
                waited_at,
            } => write!(
                f,
                "the resolver for key {key:?} was dropped without being called; it was created \
                 at {created_at} and is awaited at {waited_at}. Call it on every path, or give \
                 the key up with forget({key:?})."
            ),
            Self::Abandoned {
                key: None,
                created_at,
                waited_at: _,
            } => write!(
                f,
                "the callback of the Task at {created_at} was dropped without being called. Call \
                 it on every path."
            ),
            Self::Leaked { coroutine, keys } => write!(
                f,
                "{coroutine} ended with {} pending: {}. Wait for every key, or give it up with \
                 forget(key).",
                count(keys.len(), "key"),
                KeyList(keys)
            ),
            Self::Cancelled { reason, site } => write!(
                f,
                "this coroutine was cancelled ({reason}) at {site}. Let the error end it; wait \
                 only inside cleanup(..)."
            ),
            Self::CoroutineCancelled {
                coroutine,
                reason,
                site,
                swallowed,
                keys,
            } => {
                write!(f, "{coroutine} was cancelled ({reason}) at {site}")?;
                write_left(f, keys)?;
                f.write_str(if *swallowed {
                    ". It went on waiting, so its body was dropped: after a cancel, wait only \
                     inside cleanup(..)."
                } else {
                    ". It gave no result. If that was meant, take this error as its end."
                })
            }
            Self::Aborted {
                coroutine,
                site,
                keys,
            } => {
                write!(f, "{coroutine} was aborted at {site}")?;
                write_left(f, keys)?;
                f.write_str(
                    ". Its body was dropped where it stood; cancel it instead if it has to clean up.",
                )
            }
            Self::Panicked { coroutine, message } => {
                match coroutine {
                    Some(coroutine) => write!(f, "{coroutine} panicked: {message}"),
                    None => write!(f, "a callback panicked: {message}"),
                }?;
                f.write_str(". The loop goes on; mend the code that panicked.")
            }
            Self::Elapsed { limit, site } => write!(
                f,
                "the limit of {} set at {site} ran out. Raise it, or handle the delay.",
                Human(*limit)
            ),
            Self::Reentered => f.write_str(
                "the event loop was turned from inside its own turn. Queue the work on its \
                 handle and return.",
            ),
            Self::LoopGone => f.write_str(
                "the event loop is gone. Keep it alive as long as its handles are used, or take \
                 this as the end.",
            ),
            Self::Stopped => f.write_str(
                "the event loop was told to stop before this had ended, and dropped it where it \
                 stood. Wait for it before you call stop(), or begin it anew.",
            ),
            Self::Stuck(snapshot) => write!(
                f,
                "the loop is stuck: nothing can wake what it still runs. Resolve or forget what \
                 is waited for here:\n{snapshot}"
            ),
            Self::Dropped { what, why } => write!(
                f,
                "the {what} was dropped before it was handled: {why}. Send it again if it is \
                 still wanted."
            ),
            Self::Closed { what, created_at } => write!(
                f,
                "the {what}{} is closed. Nothing more goes through it; open another, or end.",
                Made(*created_at)
            ),
            Self::Deadlock { path, site } => write!(
                f,
                "the wait at {site} would never end: {path}. Send without waiting (try_send), or \
                 let a coroutine of its own wait."
            ),
            Self::Refused {
                what,
                limit,
                created_at,
            } => write!(
                f,
                "the {what}{} is full: its limit is {limit}. Wait for room, or raise the limit.",
                Made(*created_at)
            ),
            Self::Missed { count, created_at } => write!(
                f,
                "{count} of the events created at {created_at} were lost, because nobody took \
                 them in time. Take them faster, or give them more room."
            ),
            Self::ZeroPeriod { site } => write!(
                f,
                "the periodic callback set at {site} has a period of zero and would never let \
                 anything else run. Give it a positive one."
            ),
            Self::NotLent { in_use: false } => f.write_str(
                "nothing is lent at this moment. Use with(..) only in what runs inside \
                 during(..), such as a turn.",
            ),
            Self::NotLent { in_use: true } => f.write_str(
                "what is lent is in use by the with(..) around this one. Do the work there, or \
                 after it.",
            ),
            Self::TooLong { max } => write!(
                f,
                "what is to be read is longer than {max} bytes. Raise the limit, or close the stream."
            ),
            Self::Io(error) => fmt::Display::fmt(error, f),
            Self::Other(error) => fmt::Display::fmt(error, f),
        }
    }
}

/// Says which keys a coroutine left, if any.
fn write_left(f: &mut fmt::Formatter<'_>, keys: &[PendingKey]) -> fmt::Result {
    if keys.is_empty() {
        return Ok(());
    }
    let number = count(keys.len(), "key");
    write!(f, ", with {number} pending: {}", KeyList(keys))
}

/// The place where something was made, in brackets, if it is known.
struct Made(Option<Site>);

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .map_or(Ok(()), |site| write!(f, " (created at {site})"))
    }
}
