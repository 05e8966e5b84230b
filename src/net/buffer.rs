//! The bytes that have arrived and that nobody has taken yet.
//!
//! It is apart because only here is it decided how much memory a connection keeps.
//!
//! Invariants:
//! 1. `start <= end <= bytes.len()`: what is between them has arrived. All of `bytes` is initialised, so that a read may be given the rest.
//! 2. Bytes are moved at most as often as the buffer doubles or half of it is consumed: linear over a connection's life.
//! 3. It grows only when a read filled all the room there was. While nothing arrives and nothing is kept, it is [`KEPT`] bytes at most.

/// The room at first.
const FIRST: usize = 256;
/// Above this the buffer grows only for what must be kept, not for larger reads.
const LARGEST_READ: usize = 64 * 1024;
/// The most an empty buffer keeps while nothing arrives.
const KEPT: usize = 4096;

/// See the module's page.
#[derive(Default)]
pub(super) struct Buffer {
    /// The memory.
    bytes: Vec<u8>,
    /// Where the bytes begin that have arrived.
    start: usize,
    /// Where they end.
    end: usize,
    /// Whether the last read filled all the room there was.
    filled_up: bool,
}

impl Buffer {
    /// What has arrived.
    #[inline]
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// How much has arrived.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether nothing has.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Drops the first `n` bytes.
    ///
    /// # Panics
    /// If fewer have arrived.
    #[inline]
    pub(super) fn consume(&mut self, n: usize) {
        assert!(
            n <= self.len(),
            "consume({n}) of {} bytes that have arrived",
            self.len()
        );
        self.start += n;
        if self.is_empty() {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Takes the first `n` bytes out. A large buffer of which nothing would be left is given out itself.
    pub(super) fn take(&mut self, n: usize) -> Vec<u8> {
        if self.start == 0 && n == self.end && self.bytes.len() > LARGEST_READ {
            let mut bytes = std::mem::take(&mut self.bytes);
            self.end = 0;
            self.filled_up = false;
            bytes.truncate(n);
            bytes.shrink_to_fit();
            return bytes;
        }
        let taken = self.filled()[..n].to_vec();
        self.consume(n);
        taken
    }

    /// Room for the next read: at least one byte.
    pub(super) fn room(&mut self) -> &mut [u8] {
        let size = self.bytes.len();
        if self.is_empty() {
            if size == 0 || (self.filled_up && size < LARGEST_READ) {
                self.grow();
            }
        } else if self.end == size {
            if self.start >= size / 2 {
                self.bytes.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else {
                self.grow();
            }
        }
        &mut self.bytes[self.end..]
    }

    /// Notes that the next `n` bytes of the room have arrived.
    #[inline]
    pub(super) fn arrived(&mut self, n: usize) {
        let end = self.end + n;
        assert!(
            end <= self.bytes.len(),
            "a read of more than it was given room for"
        );
        self.filled_up = end == self.bytes.len();
        self.end = end;
    }

    /// Gives memory back before a wait that may be long (keeps invariant 3).
    #[inline]
    pub(super) fn rest(&mut self) {
        if self.bytes.len() > KEPT && self.is_empty() {
            self.bytes = Vec::new();
            self.filled_up = false;
        }
    }

    /// Makes the buffer larger, with what has arrived at its front.
    #[cold]
    fn grow(&mut self) {
        let size = self.bytes.len();
        let larger = if size < LARGEST_READ {
            size * 4
        } else {
            size * 2
        };
        let mut bytes = vec![0; larger.max(FIRST)];
        bytes[..self.len()].copy_from_slice(self.filled());
        (self.start, self.end) = (0, self.len());
        self.bytes = bytes;
        self.filled_up = false;
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffer, FIRST, KEPT};

    /// Lets `n` bytes arrive, as many reads as it takes.
    fn feed(buffer: &mut Buffer, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = buffer.room();
            let n = rest.len().min(room.len());
            room[..n].copy_from_slice(&rest[..n]);
            buffer.arrived(n);
            rest = &rest[n..];
        }
    }

    #[test]
    fn bytes_come_out_as_they_went_in_however_they_are_cut() {
        let bytes: Vec<u8> = (0..20_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        for piece in [1, 7, 255, 256, 257, 5000] {
            let mut buffer = Buffer::default();
            let mut out = Vec::new();
            for chunk in bytes.chunks(piece) {
                feed(&mut buffer, chunk);
                let n = buffer.len().min(piece / 2 + 1);
                out.extend(buffer.take(n));
            }
            out.extend(buffer.take(buffer.len()));
            assert_eq!(out, bytes, "in pieces of {piece}");
        }
    }

    #[test]
    fn it_starts_small_and_stays_small_for_small_reads() {
        let mut buffer = Buffer::default();
        for _ in 0..1000 {
            feed(&mut buffer, &[0; 100]);
            buffer.consume(100);
        }
        assert_eq!(buffer.bytes.len(), FIRST);
    }

    #[test]
    fn it_grows_for_a_fast_peer_and_gives_the_memory_back_when_nothing_comes() {
        let mut buffer = Buffer::default();
        for _ in 0..10 {
            let n = buffer.room().len();
            buffer.arrived(n);
            buffer.consume(n);
        }
        assert_eq!(buffer.room().len(), 64 * 1024);
        buffer.rest();
        assert_eq!(buffer.bytes.len(), 0);
        assert!(buffer.room().len() <= KEPT);
    }

    #[test]
    fn what_has_arrived_is_never_given_back() {
        let mut buffer = Buffer::default();
        feed(&mut buffer, &vec![7; 100_000]);
        buffer.consume(99_999);
        buffer.rest();
        assert_eq!(buffer.filled(), [7]);
    }

    #[test]
    #[should_panic(expected = "consume(2) of 1 bytes")]
    fn consuming_what_has_not_arrived_panics() {
        let mut buffer = Buffer::default();
        feed(&mut buffer, &[7]);
        buffer.consume(2);
    }
}
