//! The transfers of a stream as futures: [`Read`], [`Write`], [`WriteVectored`], [`WriteAll`].
//!
//! They are together because each is the same wait around another system call, and a whole stream and its halves share them.
//!
//! Invariants:
//! 1. A read takes bytes from the kernel only in the poll in which it hands them out.
//! 2. A read that came up short, and a write that did, say that the kernel is drained, but for urgent data, which the sources know of;
//!    a read of nothing means the peer has closed, which stays so.
//! 3. A transfer that is done has no bytes left to move: dropping it forgets no wait, and polling it again moves nothing.

#![expect(
    clippy::inline_always,
    reason = "what a transfer does is less than what a call to it would cost"
)]

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use mio::net::TcpStream as Io;

use crate::error::Result;
use crate::net::socket::{Socket, Tried};
use crate::site::Site;
use crate::sources::Direction;
use crate::waiter::{Kind, Note};

/// The socket under a stream and its halves.
pub(super) type TcpSocket = Socket<Io>;

/// What a coroutine waits for that reads.
pub(super) static READ: Kind = Kind("read");
/// What one waits for that writes.
static WRITE: Kind = Kind("write");

/// Bytes to be moved, one way or the other, in one system call.
pub(super) trait Bytes: Default {
    /// Which way.
    const DIRECTION: Direction;

    /// Whether that is inwards.
    const IS_READ: bool = matches!(Self::DIRECTION, Direction::Read);

    /// How many they are.
    fn size(&self) -> usize;

    /// Moves what the kernel has, or has room for. Gives how many.
    fn transfer(&mut self, io: &Io) -> io::Result<usize>;

    /// Makes the transfer, and says what it tells of the kernel (keeps invariant 2).
    #[inline(always)]
    fn attempt(&mut self, io: &Io) -> io::Result<Tried<usize>> {
        let size = self.size();
        let value = self.transfer(io)?;
        let short = value < size && !(Self::IS_READ && value == 0);
        Ok(Tried { value, short })
    }
}

impl Bytes for &mut [u8] {
    const DIRECTION: Direction = Direction::Read;

    #[inline]
    fn size(&self) -> usize {
        self.len()
    }

    #[inline]
    fn transfer(&mut self, mut io: &Io) -> io::Result<usize> {
        io.read(self)
    }
}

impl Bytes for &mut [IoSliceMut<'_>] {
    const DIRECTION: Direction = Direction::Read;

    fn size(&self) -> usize {
        self.iter().map(|buf| buf.len()).sum()
    }

    fn transfer(&mut self, mut io: &Io) -> io::Result<usize> {
        io.read_vectored(self)
    }
}

impl Bytes for &[u8] {
    const DIRECTION: Direction = Direction::Write;

    #[inline]
    fn size(&self) -> usize {
        self.len()
    }

    #[inline]
    fn transfer(&mut self, mut io: &Io) -> io::Result<usize> {
        io.write(self)
    }
}

impl Bytes for &[IoSlice<'_>] {
    const DIRECTION: Direction = Direction::Write;

    fn size(&self) -> usize {
        self.iter().map(|buf| buf.len()).sum()
    }

    fn transfer(&mut self, mut io: &Io) -> io::Result<usize> {
        io.write_vectored(self)
    }
}

/// Bytes on their way through a socket, and on behalf of which place.
pub(super) struct Moving<'a, B> {
    /// The socket.
    pub(super) socket: &'a TcpSocket,
    /// The place, for reports.
    pub(super) site: Option<Site>,
    /// The bytes.
    pub(super) bytes: B,
}

impl<B: Bytes> Moving<'_, B> {
    /// Moves what the kernel has, or has room for, and waits if that is nothing. Most reads come up short, most writes do not.
    #[inline(always)]
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<usize>> {
        let Moving {
            socket,
            site,
            bytes,
        } = self;
        if bytes.size() == 0 {
            return Poll::Ready(Ok(0));
        }
        let note = || Note {
            kind: if B::IS_READ { &READ } else { &WRITE },
            site: *site,
        };
        let attempt = |io: &Io| bytes.attempt(io);
        socket.poll_io(B::DIRECTION, B::IS_READ, cx, note, attempt)
    }
}

/// Counts a read that needs no system call; see [`Socket::poll_turn`](crate::net::socket::Socket::poll_turn).
#[inline]
pub(super) fn poll_turn(
    socket: &TcpSocket,
    cx: &Context<'_>,
    site: Option<Site>,
) -> Poll<Result<()>> {
    let note = Note { kind: &READ, site };
    socket.poll_turn(Direction::Read, cx, note)
}

/// A transfer that is awaited. Dropping it leaves nobody parked.
struct Transfer<'a, B: Bytes>(Moving<'a, B>);

impl<'a, B: Bytes> Transfer<'a, B> {
    /// A transfer that has not been tried.
    #[inline]
    fn new(socket: &'a TcpSocket, bytes: B, site: Site) -> Self {
        Transfer(Moving {
            socket,
            site: Some(site),
            bytes,
        })
    }

    /// Makes the transfer (keeps invariant 3).
    #[inline(always)]
    fn poll(&mut self, cx: &Context<'_>) -> Poll<io::Result<usize>> {
        let moved = ready!(self.0.poll(cx));
        self.0.bytes = B::default();
        Poll::Ready(moved.map_err(io::Error::from))
    }

    /// Shows it by its name, place and length in bytes.
    fn debug(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        f.debug_struct(name)
            .field("site", &self.0.site)
            .field("bytes", &self.0.bytes.size())
            .finish_non_exhaustive()
    }
}

impl<B: Bytes> Drop for Transfer<'_, B> {
    #[inline]
    fn drop(&mut self) {
        if self.0.bytes.size() > 0 {
            self.0.socket.settle(B::DIRECTION);
        }
    }
}

/// A read that is awaited; see [`TcpStream::read`](super::TcpStream::read).
#[must_use = "a read does nothing until it is awaited"]
pub struct Read<'a>(Transfer<'a, &'a mut [u8]>);

/// A write that is awaited; see [`TcpStream::write`](super::TcpStream::write).
#[must_use = "a write does nothing until it is awaited"]
pub struct Write<'a>(Transfer<'a, &'a [u8]>);

/// A vectored write that is awaited; see [`TcpStream::write_vectored`](super::TcpStream::write_vectored).
#[must_use = "a write does nothing until it is awaited"]
pub struct WriteVectored<'a>(Transfer<'a, &'a [IoSlice<'a>]>);

/// A write of everything that is awaited; see [`TcpStream::write_all`](super::TcpStream::write_all).
#[must_use = "a write does nothing until it is awaited"]
pub struct WriteAll<'a>(Transfer<'a, &'a [u8]>);

impl<'a> Read<'a> {
    /// A read of this socket.
    #[inline]
    pub(super) fn new(socket: &'a TcpSocket, buf: &'a mut [u8], site: Site) -> Self {
        Read(Transfer::new(socket, buf, site))
    }
}

impl<'a> Write<'a> {
    /// A write to this socket.
    #[inline]
    pub(super) fn new(socket: &'a TcpSocket, buf: &'a [u8], site: Site) -> Self {
        Write(Transfer::new(socket, buf, site))
    }
}

impl<'a> WriteVectored<'a> {
    /// A write to this socket.
    pub(super) fn new(socket: &'a TcpSocket, bufs: &'a [IoSlice<'a>], site: Site) -> Self {
        WriteVectored(Transfer::new(socket, bufs, site))
    }
}

impl<'a> WriteAll<'a> {
    /// A write to this socket.
    #[inline]
    pub(super) fn new(socket: &'a TcpSocket, rest: &'a [u8], site: Site) -> Self {
        WriteAll(Transfer::new(socket, rest, site))
    }
}

impl Future for Read<'_> {
    type Output = io::Result<usize>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl Future for Write<'_> {
    type Output = io::Result<usize>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl Future for WriteVectored<'_> {
    type Output = io::Result<usize>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl Future for WriteAll<'_> {
    type Output = io::Result<()>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let moving = &mut self.0.0;
        while !moving.bytes.is_empty() {
            match ready!(moving.poll(cx)) {
                Ok(0) => {
                    moving.bytes = &[];
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                Ok(n) => moving.bytes = &moving.bytes[n..],
                Err(error) => {
                    moving.bytes = &[];
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Read<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug(f, "Read")
    }
}

impl fmt::Debug for Write<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug(f, "Write")
    }
}

impl fmt::Debug for WriteVectored<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug(f, "WriteVectored")
    }
}

impl fmt::Debug for WriteAll<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug(f, "WriteAll")
    }
}
