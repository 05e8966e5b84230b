//! How the end of one call is judged: well, or in which way badly.
//!
//! It is apart because both engines judge alike: what counts as a failure does not depend on who owns the queue.

use std::fmt;

use crate::arena::Id;
use crate::error::{Error, ErrorKind, Result};
use crate::failure::FailureKind;
use crate::handle::take_leaks;
use crate::record::Flags;
use crate::shared::Shared;
use crate::snapshot::PendingKey;

/// A value, or a failure and its kind.
pub(crate) type Verdict<R, E> = std::result::Result<R, (FailureKind, E)>;

/// What a worker knows of its own record, so that it need not look there after every call.
///
/// Keys, waits, a cancel or an abort are in a part of the record that is made when it is first needed, and counted then. While that count
/// is the one at which the part was last found missing, it is missing still.
pub(crate) struct Untouched(u64);

impl Untouched {
    /// Nothing is known yet.
    pub(crate) fn unknown() -> Self {
        Untouched(u64::MAX)
    }

    /// Whether the call that coroutine `id` has in hand leaves nothing to judge: see [`is_plain`].
    #[inline]
    pub(crate) fn is_plain(&mut self, shared: &Shared, id: Id) -> bool {
        shared.rares.get() == self.0 || self.look(shared, id)
    }

    /// The same by the record.
    #[cold]
    fn look(&mut self, shared: &Shared, id: Id) -> bool {
        let records = shared.records.borrow();
        if records
            .get(id)
            .is_some_and(|record| record.rare().is_none())
        {
            self.0 = shared.rares.get();
        }
        drop(records);
        is_plain(shared, id)
    }
}

/// Whether coroutine `id` left no keys and no waits, and is neither cancelled nor aborted: its value is good, and it may go on.
#[inline]
fn is_plain(shared: &Shared, id: Id) -> bool {
    let records = shared.records.borrow();
    let doomed = Flags::CANCELLED.or(Flags::ABORTED);
    records.get(id).is_some_and(|record| {
        !record.flags.has(doomed)
            && record
                .rare()
                .is_none_or(|rare| rare.ledger.is_empty() && rare.waits.is_empty())
    })
}

/// Judges the result that a handler returned in coroutine `id`, and takes what keys and waits the call left.
#[inline]
pub(crate) fn judge<R, E>(shared: &Shared, id: Id, result: Result<R, E>) -> Option<Verdict<R, E>>
where
    E: From<Error> + fmt::Display + 'static,
{
    match result {
        Ok(value) if is_plain(shared, id) => Some(Ok(value)),
        result => judge_rare(shared, id, result),
    }
}

/// The same for a call that failed, left keys or waits, or whose coroutine was cancelled. None if that coroutine is gone.
#[cold]
fn judge_rare<R, E>(shared: &Shared, id: Id, result: Result<R, E>) -> Option<Verdict<R, E>>
where
    E: From<Error> + fmt::Display + 'static,
{
    let keys = take_leaks(shared, id);
    shared.forget_waits(id);
    let cause = {
        let records = shared.records.borrow();
        let record = records.get(id);
        let record = record.filter(|record| record.flags.has(Flags::CANCELLED));
        record.and_then(|record| record.rare()?.cancel.clone())
    };
    let (kind, error) = match (result, cause) {
        (Ok(value), None) if keys.is_empty() => return Some(Ok(value)),
        (Ok(value), None) => {
            drop(value);
            let coroutine = shared.label(id)?;
            let leaked = ErrorKind::Leaked { coroutine, keys };
            return Some(Err((FailureKind::Leaked, E::from(leaked.into()))));
        }
        (Ok(value), Some(_)) => {
            report_leaks(shared, id, keys);
            return Some(Ok(value));
        }
        (Err(error), None) => {
            report_leaks(shared, id, keys);
            (FailureKind::Error, error)
        }
        (Err(mut error), Some(cause)) => {
            // A call's cancel is another error to who asked than his own would be.
            if let Some(own) = Error::find_mut(&mut error)
                && own.is_cancelled()
                && let Some(coroutine) = shared.label(id)
            {
                *own = ErrorKind::CoroutineCancelled {
                    coroutine,
                    reason: cause.reason,
                    site: cause.site,
                    swallowed: false,
                    keys,
                }
                .into();
            } else {
                report_leaks(shared, id, keys);
            }
            (FailureKind::Cancelled, error)
        }
    };
    Some(Err((kind, error)))
}

/// The kind of failure that this end from outside is.
pub(crate) fn kind_of(error: &Error) -> FailureKind {
    match error.kind() {
        ErrorKind::Panicked { .. } => FailureKind::Panicked,
        ErrorKind::Aborted { .. } => FailureKind::Aborted,
        _ => FailureKind::Cancelled,
    }
}

/// Reports keys that a call left, where its result cannot say so.
fn report_leaks(shared: &Shared, id: Id, keys: Vec<PendingKey>) {
    if let Some(coroutine) = shared.label(id) {
        shared.report_leaks(&coroutine, keys);
    }
}
