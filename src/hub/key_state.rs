//! What is known of one key that is not idle, or has state.
//!
//! It is apart because it is what ten thousand keys have ten thousand of: less than a cache line each, since the key is not in it but named.

use crate::hub::line::Line;
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

/// One key that is not idle, or has state.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says another thing of a key, and they are small together"
)]
pub(crate) struct KeyState<K> {
    /// The key.
    pub(crate) name: KeyName<K>,
    /// Its hash.
    pub(crate) hash: u32,
    /// Its messages.
    pub(crate) queue: Queue,
    /// How many places are kept.
    pub(crate) kept: u32,
    /// Who waits for room.
    pub(crate) line: Line,
    /// The seat of the worker that has it in hand.
    pub(super) seat: u32,
    /// How many messages it gets in a turn.
    pub(super) weight: u16,
    /// Whether its messages are handled.
    pub(crate) hold: Hold,
    /// Whether it is in the ring.
    pub(super) in_ring: bool,
    /// Whether it is no key but one message that runs free.
    pub(crate) free: bool,
    /// Whether it has state.
    pub(crate) has_state: bool,
    /// Whether its state goes with the call that has it.
    pub(crate) forgotten: bool,
}

impl<K> KeyState<K> {
    /// Whether nothing of it is worth keeping but perhaps its state.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.kept == 0
            && self.line.is_empty()
            && self.seat == NOBODY
            && self.hold == Hold::Open
    }

    /// The seat of the worker that has it in hand.
    pub(crate) fn seat(&self) -> Option<u32> {
        (self.seat != NOBODY).then_some(self.seat)
    }

    /// How many messages it has and how many places are kept.
    #[inline]
    pub(crate) fn taken(&self) -> usize {
        self.queue.len() + self.kept as usize
    }

    /// Whether it has messages, is open and in nobody's hands.
    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        !self.queue.is_empty() && self.seat == NOBODY && self.hold == Hold::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_its_id_a_key_is_less_than_a_cache_line() {
        assert_eq!(size_of::<(u32, KeyState<String>)>(), 56);
    }
}
