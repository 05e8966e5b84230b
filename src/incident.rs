//! What went wrong where no caller was left to be told: the argument of the error hook.
//!
//! It is apart because it is no error: nobody can return it, and nothing waits for an answer.
//!
//! 1. An incident is plain data: it can be stored, counted and sent to another thread.
//! 2. Its text says what happened in its first sentence; a table may follow on further lines.

use crate::{
    site::Site,
    snapshot::{Human, KeyList, Label, PendingKey, Snapshot, count},
};
use std::{
    borrow::Cow,
    fmt,
    io::{self, Write},
    time::Duration,
};

/// Tells the error hook what nobody else will hear of.
///
/// ```
/// use yieldpoint::Incident;
///
/// let incident = Incident::Accept { error: "too many open files".to_owned() };
/// assert!(incident.to_string().contains("too many open files"));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Incident {
    /// A coroutine ended with an `Err` that nobody took.
    Untaken {
        /// The coroutine that ended.
        coroutine: Label,
        /// The text of its error.
        error: String,
    },
    /// Code of the user panicked and nobody took the panic.
    Panicked {
        /// The coroutine in which it happened, if it was one.
        coroutine: Option<Label>,
        /// The text of the panic.
        message: String,
        /// What ran: `"coroutine"`, `"callback"`, `"drop"`, `"waker"`.
        during: &'static str,
    },
    /// A coroutine ended and left keys pending, and its own end could not say so.
    Leaked {
        /// The coroutine that ended.
        coroutine: Label,
        /// The keys it left.
        keys: Vec<PendingKey>,
    },
    /// A cancelled coroutine went on waiting outside its clean-up, and its body was dropped.
    CancelSwallowed {
        /// The coroutine that was dropped.
        coroutine: Label,
        /// The reason given to the cancel.
        reason: Cow<'static, str>,
        /// The kind of yield-point it was parked on and where, if it was one of ours.
        parked_on: Option<(&'static str, Option<Site>)>,
    },
    /// A listener waits, because no file descriptor is left for the next connection.
    Accept {
        /// The text of the system's error.
        error: String,
    },
    /// The handler of an ordered engine failed, and nobody had asked for its result.
    OrderedFailed {
        /// The engine's name, with the key where it has keys.
        engine: Cow<'static, str>,
        /// Where the engine was created.
        created_at: Site,
        /// The text of the handler's error.
        error: String,
    },
    /// An ordered engine ended early, and nobody drained what was still queued.
    OrderedDropped {
        /// The engine's name, with the key where it has keys.
        engine: Cow<'static, str>,
        /// Where the engine was created.
        created_at: Site,
        /// How many messages were dropped.
        count: usize,
    },
    /// A call of a keyed engine takes longer than the engine's limit.
    SlowHead {
        /// The engine's name with the key.
        engine: Cow<'static, str>,
        /// Where the engine was created.
        created_at: Site,
        /// For how long the call has run.
        running_for: Duration,
        /// The kind of yield-point it is parked on and where, if it is one of ours.
        parked_on: Option<(&'static str, Option<Site>)>,
        /// How many messages of the key wait behind it.
        queued: usize,
    },
    /// Something was queued on a loop that is gone, and was dropped.
    LoopGone {
        /// What was queued.
        what: &'static str,
    },
    /// Nothing has moved for as long as the loop was told to find suspicious.
    Stalled(Snapshot),
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untaken { coroutine, error } => write!(
                f,
                "{coroutine} ended with an error that nobody took: {error}"
            ),
            Self::Panicked {
                coroutine: Some(coroutine),
                message,
                during,
            } => write!(f, "{coroutine} panicked in a {during}: {message}"),
            Self::Panicked {
                coroutine: None,
                message,
                during,
            } => write!(f, "a {during} panicked: {message}"),
            Self::Leaked { coroutine, keys } => write!(
                f,
                "{coroutine} ended with {} pending: {}",
                count(keys.len(), "key"),
                KeyList(keys)
            ),
            Self::CancelSwallowed {
                coroutine,
                reason,
                parked_on,
            } => {
                write!(
                    f,
                    "{coroutine} was cancelled ({reason}) and dropped, because it went on waiting"
                )?;
                match parked_on {
                    Some((kind, Some(site))) => write!(f, " in {kind} at {site}"),
                    Some((kind, None)) => write!(f, " in {kind}"),
                    None => f.write_str(" in a foreign future"),
                }?;
                f.write_str("; after a cancel, wait only inside cleanup(..)")
            }
            Self::Accept { error } => write!(
                f,
                "a listener waits until a file descriptor is free: {error}"
            ),
            Self::OrderedFailed {
                engine,
                created_at,
                error,
            } => write!(
                f,
                "a handler of {engine} (created at {created_at}) failed: {error}"
            ),
            Self::OrderedDropped {
                engine,
                created_at,
                count: number,
            } => write!(
                f,
                "{engine} (created at {created_at}) ended early, and {} dropped unhandled; drain it to get them back",
                match number {
                    1 => "1 queued message was".to_owned(),
                    more => format!("{more} queued messages were"),
                }
            ),
            Self::SlowHead {
                engine,
                created_at,
                running_for,
                parked_on,
                queued,
            } => {
                write!(
                    f,
                    "a handler of {engine} (created at {created_at}) has run for {}",
                    Human(*running_for)
                )?;
                match parked_on {
                    Some((kind, Some(site))) => write!(f, ", parked on {kind} at {site}"),
                    Some((kind, None)) => write!(f, ", parked on {kind}"),
                    None => Ok(()),
                }?;
                write!(f, "; {} behind it", count(*queued, "message"))
            }
            Self::LoopGone { what } => write!(
                f,
                "{what} was dropped, because the event loop is gone; ask is_alive() first"
            ),
            Self::Stalled(snapshot) => {
                write!(f, "nothing has moved for suspiciously long\n{snapshot}")
            }
        }
    }
}

/// Prints an incident on standard error: the hook that a loop has unless it is given another.
pub(crate) fn print(incident: &Incident) {
    // When standard error is gone there is nobody left to tell.
    let _ = io::stderr().lock().write_all(lines(incident).as_bytes());
}

/// Marks every line as ours, so that a table stays together in somebody's log.
fn lines(incident: &Incident) -> String {
    let mut marked = String::new();
    for line in incident.to_string().lines() {
        marked.extend(["yieldpoint: ", line, "\n"]);
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::{Incident, lines};
    use crate::{
        site::Site,
        snapshot::{CoroutineId, KeyState, Label, PendingKey, Snapshot},
    };
    use std::panic::Location;
    use std::time::Duration;

    fn here() -> Site {
        Location::caller()
    }

    fn reader() -> Label {
        Label::new(CoroutineId::new(3, 0), Some("reader".into()), here())
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a row for each incident")]
    fn every_incident_names_who_and_where() {
        let site = here();
        let reader_at = format!("reader #3 (created at {site})");
        let swallowed = |parked_on| Incident::CancelSwallowed {
            coroutine: reader(),
            reason: "shutdown".into(),
            parked_on,
        };
        let told = format!(
            "{reader_at} was cancelled (shutdown) and dropped, because it went on waiting in"
        );
        let advice = "after a cancel, wait only inside cleanup(..)";
        let shown = [
            (
                Incident::Untaken {
                    coroutine: reader(),
                    error: "no route".to_owned(),
                },
                format!("{reader_at} ended with an error that nobody took: no route"),
            ),
            (
                Incident::Panicked {
                    coroutine: Some(reader()),
                    message: "boom".to_owned(),
                    during: "drop",
                },
                format!("{reader_at} panicked in a drop: boom"),
            ),
            (
                Incident::Panicked {
                    coroutine: None,
                    message: "boom".to_owned(),
                    during: "callback",
                },
                "a callback panicked: boom".to_owned(),
            ),
            (
                Incident::Leaked {
                    coroutine: reader(),
                    keys: vec![PendingKey {
                        key: "late".into(),
                        created_at: site,
                        waited_at: None,
                        state: KeyState::Pending,
                    }],
                },
                format!("{reader_at} ended with 1 key pending: \"late\" (created at {site})"),
            ),
            (
                swallowed(Some(("wait", Some(site)))),
                format!("{told} wait at {site}; {advice}"),
            ),
            (
                swallowed(Some(("sleep", None))),
                format!("{told} sleep; {advice}"),
            ),
            (
                swallowed(None),
                format!("{told} a foreign future; {advice}"),
            ),
            (
                Incident::Accept {
                    error: "too many open files".to_owned(),
                },
                "a listener waits until a file descriptor is free: too many open files".to_owned(),
            ),
            (
                Incident::OrderedFailed {
                    engine: "payments[7]".into(),
                    created_at: site,
                    error: "declined".to_owned(),
                },
                format!("a handler of payments[7] (created at {site}) failed: declined"),
            ),
            (
                Incident::OrderedDropped {
                    engine: "payments[7]".into(),
                    created_at: site,
                    count: 2,
                },
                format!(
                    "payments[7] (created at {site}) ended early, and 2 queued messages were dropped \
                     unhandled; drain it to get them back"
                ),
            ),
            (
                Incident::SlowHead {
                    engine: "payments[7]".into(),
                    created_at: site,
                    running_for: Duration::from_millis(1500),
                    parked_on: Some(("task", Some(site))),
                    queued: 3,
                },
                format!(
                    "a handler of payments[7] (created at {site}) has run for 1.5 s, parked on task at {site}; 3 messages behind it"
                ),
            ),
            (
                Incident::Stalled(Snapshot::default()),
                "nothing has moved for suspiciously long\nnothing is running".to_owned(),
            ),
        ];
        for (incident, text) in shown {
            assert_eq!(incident.to_string(), text);
        }
    }

    #[test]
    fn every_printed_line_is_marked_as_ours() {
        assert_eq!(
            lines(&Incident::Stalled(Snapshot::new(vec![], 0, 1, 0, 0))),
            "yieldpoint: nothing has moved for suspiciously long\n\
             yieldpoint: no coroutine is running; 0 ready, 1 timer, 0 sources waited for, \
             0 remotes\n"
        );
    }
}
