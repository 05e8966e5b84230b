//! Transfers that do not wait: `try_read` and `try_write`.
//!
//! They are apart from those that are awaited because nobody is parked by them and nobody who is parked is touched.

#![expect(
    clippy::inline_always,
    reason = "what a try does is less than what a call to it would cost"
)]

use std::io;

use crate::net::split::{ReadHalf, WriteHalf};
use crate::net::stream::TcpStream;
use crate::net::transfer::{Bytes, TcpSocket};

/// Moves what the kernel has, or has room for, if that is worth a try.
#[inline(always)]
fn transfer<B: Bytes>(socket: &TcpSocket, mut bytes: B) -> io::Result<usize> {
    if bytes.size() == 0 {
        return Ok(0);
    }
    socket.try_io(B::DIRECTION, B::IS_READ, |io| bytes.attempt(io))
}

impl TcpStream {
    /// Reads what is there, at most `buf.len()` bytes, and does not wait. Gives how many; 0 means that the peer has closed its sending
    /// side, or that `buf` is empty.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there; what the system says, such as `ConnectionReset`.
    #[inline(always)]
    pub fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        transfer(self.socket(), buf)
    }

    /// Writes what the kernel has room for, and does not wait. Gives how many bytes it took; 0 means that `buf` is empty. To wait for
    /// room, [`write`](TcpStream::write) what is left. See [one buffer for all connections](crate::net#one-buffer-for-all-connections).
    ///
    /// # Errors
    /// `WouldBlock` if there is no room; what the system says, such as `BrokenPipe`.
    #[inline(always)]
    pub fn try_write(&mut self, buf: &[u8]) -> io::Result<usize> {
        transfer(self.socket(), buf)
    }
}

impl ReadHalf {
    /// Reads what is there and does not wait; see [`TcpStream::try_read`].
    ///
    /// # Errors
    /// As for [`TcpStream::try_read`].
    #[inline(always)]
    pub fn try_read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        transfer(self.socket(), buf)
    }
}

impl WriteHalf {
    /// Writes what the kernel has room for and does not wait; see [`TcpStream::try_write`].
    ///
    /// # Errors
    /// As for [`TcpStream::try_write`].
    #[inline(always)]
    pub fn try_write(&mut self, buf: &[u8]) -> io::Result<usize> {
        transfer(self.socket(), buf)
    }
}
