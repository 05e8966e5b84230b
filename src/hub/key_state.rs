//! What is known of one key that is not idle, or has state.
//!
//! It is apart because it is what ten thousand keys have ten thousand of: half a cache line each. The key is not in it but named, and what
//! few keys have, a line of who waits and places that are kept, is in tables of its own.

use crate::hub::queues::Queue;
use crate::key_name::KeyName;

/// The seat of nobody.
pub(super) const NOBODY: u32 = u32::MAX;

/// Whether a key's messages are handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hold {
    /// They are.
    Open,
    /// They wait until the key is resumed.
    Parked,
    /// None are, and none are taken in.
    Stopped,
}

/// What is so of a key, in bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Marks(u8);

impl Marks {
    /// Nothing of it.
    pub(crate) const NONE: Marks = Marks(0);
    /// It is in the ring.
    pub(crate) const IN_RING: Marks = Marks(1);
    /// It is no key but one message that runs free.
    pub(crate) const FREE: Marks = Marks(2);
    /// It has state.
    pub(crate) const HAS_STATE: Marks = Marks(4);
    /// Its state goes with the call that has it.
    pub(crate) const FORGOTTEN: Marks = Marks(8);
    /// Somebody waits in its line.
    pub(crate) const HAS_LINE: Marks = Marks(16);
    /// Its messages wait until it is resumed.
    const PARKED: Marks = Marks(32);
    /// None of its messages are handled, and none are taken in.
    pub(crate) const STOPPED: Marks = Marks(64);
    /// It is held in one way or the other.
    const HELD: Marks = Marks::PARKED.or(Marks::STOPPED);

    /// Both together.
    pub(crate) const fn or(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }
}

/// One key that is not idle, or has state.
pub(crate) struct KeyState<K> {
    /// The key.
    pub(crate) name: KeyName<K>,
    /// Its messages, and how many places are kept.
    pub(crate) queue: Queue,
    /// The seat of the worker that has it in hand.
    pub(super) seat: u32,
    /// How many messages it gets in a turn.
    pub(super) weight: u16,
    /// What is so of it.
    marks: Marks,
}

impl<K> KeyState<K> {
    /// A key of which nothing is known but this.
    pub(super) fn new(name: KeyName<K>, weight: u16, marks: Marks) -> Self {
        KeyState {
            name,
            queue: Queue::EMPTY,
            seat: NOBODY,
            weight,
            marks,
        }
    }

    /// Whether any of these is so of it.
    #[inline]
    pub(crate) fn is(&self, any: Marks) -> bool {
        self.marks.0 & any.0 != 0
    }

    /// From now on this is so of it, or is not.
    #[inline]
    pub(crate) fn mark(&mut self, marks: Marks, so: bool) {
        if so {
            self.marks.0 |= marks.0;
        } else {
            self.marks.0 &= !marks.0;
        }
    }

    /// Makes this not so. Tells whether it was.
    pub(crate) fn unmark(&mut self, marks: Marks) -> bool {
        let was = self.is(marks);
        self.mark(marks, false);
        was
    }

    /// Whether its messages are handled.
    pub(crate) fn hold(&self) -> Hold {
        if self.is(Marks::STOPPED) {
            Hold::Stopped
        } else if self.is(Marks::PARKED) {
            Hold::Parked
        } else {
            Hold::Open
        }
    }

    /// Sets whether its messages are handled.
    pub(crate) fn set_hold(&mut self, hold: Hold) {
        self.mark(Marks::PARKED, hold == Hold::Parked);
        self.mark(Marks::STOPPED, hold == Hold::Stopped);
    }

    /// Whether nothing of it is worth keeping but perhaps its state.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.taken() == 0 && self.seat == NOBODY && !self.is(Marks::HAS_LINE.or(Marks::HELD))
    }

    /// The seat of the worker that has it in hand.
    pub(crate) fn seat(&self) -> Option<u32> {
        (self.seat != NOBODY).then_some(self.seat)
    }

    /// Whether it has messages that are handled.
    #[inline]
    pub(super) fn has_more(&self) -> bool {
        !self.queue.is_empty() && !self.is(Marks::HELD)
    }

    /// Whether it belongs in the ring and is not there: it has messages, is open and in nobody's hands.
    #[inline]
    pub(super) fn lacks_turn(&self) -> bool {
        !self.queue.is_empty() && self.seat == NOBODY && !self.is(Marks::HELD.or(Marks::IN_RING))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_its_id_a_key_is_half_a_cache_line() {
        assert_eq!(size_of::<(u32, Option<KeyState<String>>)>(), 32);
    }
}
