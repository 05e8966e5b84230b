//! What is known of one key that is not idle, or has state.
//!
//! It is apart because it is what ten thousand keys have ten thousand of: half a cache line each. The key is not in it but named, and what
//! few keys have, a line of who waits and places that are kept, is in tables of its own.

use crate::hub::queues::Queue;
use crate::key_name::KeyName;

/// In nobody's hands, if it is not in the ring: a turn may have this number too.
const NOWHERE: u32 = u32::MAX;

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
    /// It goes when it is idle, with whatever state it has.
    pub(crate) const FLEETING: Marks = Marks(128);
    /// It is held in one way or the other.
    pub(super) const HELD: Marks = Marks::PARKED.or(Marks::STOPPED);

    /// Both together.
    pub(crate) const fn or(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }
}

/// One key that is not idle, or has state.
pub(crate) struct KeyState<K> {
    /// The key.
    pub(crate) name: KeyName<K>,
    /// Its messages but for the one that is in the ring.
    pub(super) queue: Queue,
    /// How many messages there are, and places kept for some.
    taken: u32,
    /// The seat of the worker that has it in hand. In the ring, the number of its turn.
    at: u32,
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
            taken: 0,
            at: NOWHERE,
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
        self.taken == 0 && self.seat().is_none() && !self.is(Marks::HAS_LINE.or(Marks::HELD))
    }

    /// How many messages there are, and places kept for some.
    #[inline]
    pub(crate) fn taken(&self) -> usize {
        self.taken as usize
    }

    /// One message or kept place more.
    #[inline]
    pub(super) fn take_room(&mut self) {
        self.taken += 1;
    }

    /// One message or kept place less.
    #[inline]
    pub(super) fn give_room(&mut self) {
        self.taken -= 1;
    }

    /// The seat of the worker that has it in hand.
    pub(crate) fn seat(&self) -> Option<u32> {
        (self.at != NOWHERE && !self.is(Marks::IN_RING)).then_some(self.at)
    }

    /// The number of its turn.
    pub(super) fn turn(&self) -> Option<u32> {
        self.is(Marks::IN_RING).then_some(self.at)
    }

    /// One of its messages goes into the hands of the worker in this seat: it has state from now on, and its turn has come.
    #[inline]
    pub(super) fn begin(&mut self, seat: u32) {
        self.marks = Marks(self.marks.0 & !Marks::IN_RING.0 | Marks::HAS_STATE.0);
        self.at = seat;
        self.taken -= 1;
    }

    /// It has the turn of this number.
    #[inline]
    pub(super) fn enter_ring(&mut self, number: u32) {
        self.mark(Marks::IN_RING, true);
        self.at = number;
    }

    /// It is in nobody's hands and not in the ring.
    #[inline]
    pub(super) fn put_down(&mut self) {
        self.mark(Marks::IN_RING, false);
        self.at = NOWHERE;
    }

    /// Whether nothing is to be done about it when its call has ended, which is so of most.
    #[inline]
    pub(super) fn rests(&self) -> bool {
        self.queue.is_empty() && !self.is(Marks::FORGOTTEN.or(Marks::FLEETING))
    }

    /// Whether messages that stand in its queue are handled.
    #[inline]
    pub(super) fn has_more(&self) -> bool {
        !self.queue.is_empty() && !self.is(Marks::HELD)
    }

    /// Whether it is open, in nobody's hands and not in the ring.
    #[inline]
    fn is_free(&self) -> bool {
        self.at == NOWHERE && !self.is(Marks::HELD.or(Marks::IN_RING))
    }

    /// Whether nothing is known of it but perhaps its state, so that a message may have a turn at once.
    #[inline]
    pub(super) fn is_at_rest(&self) -> bool {
        self.taken == 0
            && self.at == NOWHERE
            && !self.is(Marks::HAS_LINE.or(Marks::HELD).or(Marks::IN_RING))
    }

    /// Whether its next message is the first and may have a turn at once.
    #[inline]
    pub(super) fn takes_turn(&self) -> bool {
        self.is_free() && self.queue.is_empty()
    }

    /// Whether the first message in its queue belongs in the ring and is not there.
    #[inline]
    pub(super) fn lacks_turn(&self) -> bool {
        self.is_free() && !self.queue.is_empty()
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
