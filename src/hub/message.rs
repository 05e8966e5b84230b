//! A message on its way through a keyed engine, and what somebody in line for room wants of it.
//!
//! They are apart because the queues, the lines and the doors all hand them on, and none of them looks into a message.

use crate::ordered_queue::Asker;
use crate::timers::Nanos;

/// A message, who asked for its result, how large it is, and since when it waits.
pub(crate) struct Item<M, R, E> {
    /// The message.
    pub(crate) message: M,
    /// Who asked.
    pub(crate) asker: Asker<R, E>,
    /// What it counts towards the limit in bytes.
    pub(crate) size: usize,
    /// The clock at the look before it arrived.
    pub(crate) since: Nanos,
}

/// What somebody in line wants, or got.
pub(crate) enum Want<M, R, E> {
    /// A message queued.
    Item(Item<M, R, E>),
    /// A place kept.
    Place,
    /// A message of another thread queued.
    Outside(Item<M, R, E>),
    /// The message is queued.
    Admitted,
    /// A place is kept.
    Granted,
    /// It will never be. What was wanted is given back.
    TurnedAway(Option<Item<M, R, E>>),
}

impl<M, R, E> Want<M, R, E> {
    /// What it counts towards the limit in bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Want::Item(item) | Want::Outside(item) => item.size,
            _ => 0,
        }
    }

    /// Whether it is still waited for.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Want::Item(_) | Want::Place | Want::Outside(_))
    }
}
