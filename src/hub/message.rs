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

/// A place for a message. The parts of an item lie here one by one: moved as a whole, it would be read as other words than it was written.
pub(super) struct Place<M, R, E> {
    /// The message; none while the place is free.
    message: Option<M>,
    /// Who asked.
    asker: Asker<R, E>,
    /// What it counts.
    size: usize,
    /// Since when it waits.
    since: Nanos,
}

impl<M, R, E> Place<M, R, E> {
    /// A place that is free.
    pub(super) const FREE: Self = Place {
        message: None,
        asker: None,
        size: 0,
        since: 0,
    };

    /// Whether it is free.
    #[inline]
    pub(super) fn is_free(&self) -> bool {
        self.message.is_none()
    }

    /// Puts a message here. The place is free.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a message is moved word by word where this is written out"
    )]
    pub(super) fn put(&mut self, message: M, asker: Asker<R, E>, (size, since): (usize, Nanos)) {
        // The place was empty: forgetting that saves the look whether anything must be dropped.
        std::mem::forget(self.message.replace(message));
        std::mem::forget(std::mem::replace(&mut self.asker, asker));
        self.size = size;
        self.since = since;
    }

    /// Takes the message that is here.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a message is moved word by word where this is written out"
    )]
    pub(super) fn take(&mut self) -> Option<Item<M, R, E>> {
        let message = self.message.take()?;
        let (asker, size, since) = (self.asker.take(), self.size, self.since);
        Some(Item {
            message,
            asker,
            size,
            since,
        })
    }

    /// The message's size and since when it waits, if there is one.
    pub(super) fn weighed(&self) -> Option<(usize, Nanos)> {
        self.message.as_ref().map(|_| (self.size, self.since))
    }
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
