//! The transfers of a stream as futures: [`Read`], [`Write`], [`WriteVectored`], [`WriteAll`].
//!
//! They are together because each is the same three lines around another system call, and a whole stream and its halves share them.
//!
//! Invariants:
//! 1. A read takes bytes from the kernel only in the poll in which it hands them out.
//! 2. A read that came up short, and a write that did, say that the kernel is drained; a read of nothing means the peer has closed,
//!    which stays so.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::Result;
use crate::net::socket::{Socket, Tried};
use crate::reactor::Direction;
use crate::site::Site;
use crate::waiter::{Kind, Note};

/// The socket under a stream and its halves.
pub(super) type TcpSocket = Socket<mio::net::TcpStream>;

static READ: Kind = Kind("read");
static WRITE: Kind = Kind("write");

/// Reads what is there into `buf`.
#[inline]
pub(super) fn poll_read(
    socket: &TcpSocket,
    parked: &mut bool,
    cx: &Context<'_>,
    site: Option<Site>,
    buf: &mut [u8],
) -> Poll<Result<usize>> {
    if buf.is_empty() {
        return Poll::Ready(Ok(0));
    }
    let note = Note { kind: &READ, site };
    socket.poll_io(Direction::Read, parked, cx, note, |mut io| {
        let n = io.read(buf)?;
        Ok(read(n, buf.len()))
    })
}

/// Counts a read that needs no system call; see [`Socket::poll_turn`](crate::net::socket::Socket::poll_turn).
#[inline]
pub(super) fn poll_turn(
    socket: &TcpSocket,
    parked: &mut bool,
    cx: &Context<'_>,
    site: Option<Site>,
) -> Poll<Result<()>> {
    let note = Note { kind: &READ, site };
    socket.poll_turn(Direction::Read, parked, cx, note)
}

/// Reads what is there into several buffers, one after the other.
pub(super) fn poll_read_vectored(
    socket: &TcpSocket,
    parked: &mut bool,
    cx: &Context<'_>,
    site: Option<Site>,
    bufs: &mut [IoSliceMut<'_>],
) -> Poll<Result<usize>> {
    let room = bufs.iter().map(|buf| buf.len()).sum();
    if room == 0 {
        return Poll::Ready(Ok(0));
    }
    let note = Note { kind: &READ, site };
    socket.poll_io(Direction::Read, parked, cx, note, |mut io| {
        let n = io.read_vectored(bufs)?;
        Ok(read(n, room))
    })
}

/// Writes what the kernel has room for.
#[inline]
pub(super) fn poll_write(
    socket: &TcpSocket,
    parked: &mut bool,
    cx: &Context<'_>,
    site: Option<Site>,
    buf: &[u8],
) -> Poll<Result<usize>> {
    if buf.is_empty() {
        return Poll::Ready(Ok(0));
    }
    let note = Note { kind: &WRITE, site };
    socket.poll_io(Direction::Write, parked, cx, note, |mut io| {
        let n = io.write(buf)?;
        Ok(written(n, buf.len()))
    })
}

/// Writes what the kernel has room for, from several buffers one after the other.
pub(super) fn poll_write_vectored(
    socket: &TcpSocket,
    parked: &mut bool,
    cx: &Context<'_>,
    site: Option<Site>,
    bufs: &[IoSlice<'_>],
) -> Poll<Result<usize>> {
    let length = bufs.iter().map(|buf| buf.len()).sum();
    if length == 0 {
        return Poll::Ready(Ok(0));
    }
    let note = Note { kind: &WRITE, site };
    socket.poll_io(Direction::Write, parked, cx, note, |mut io| {
        let n = io.write_vectored(bufs)?;
        Ok(written(n, length))
    })
}

/// What a read of `n` bytes into room for `room` says (keeps invariant 2).
#[inline]
fn read(n: usize, room: usize) -> Tried<usize> {
    Tried {
        value: n,
        short: n != 0 && n < room,
    }
}

/// What a write of `n` bytes of `length` says (keeps invariant 2).
#[inline]
fn written(n: usize, length: usize) -> Tried<usize> {
    Tried {
        value: n,
        short: n < length,
    }
}

/// A wait of one transfer. Dropping it leaves nobody parked.
pub(super) struct Transfer<'a> {
    /// Of which socket.
    socket: &'a TcpSocket,
    /// Which way.
    direction: Direction,
    /// Whether the waiter in the source is this one.
    parked: bool,
    /// Where it was asked for.
    site: Site,
}

impl<'a> Transfer<'a> {
    /// A transfer that has not been tried.
    #[inline]
    fn new(socket: &'a TcpSocket, direction: Direction, site: Site) -> Self {
        Transfer {
            socket,
            direction,
            parked: false,
            site,
        }
    }
}

impl Drop for Transfer<'_> {
    #[inline]
    fn drop(&mut self) {
        self.socket.settle(self.direction, &mut self.parked);
    }
}

/// A read that is awaited; see [`TcpStream::read`](super::TcpStream::read).
#[must_use = "a read does nothing until it is awaited"]
pub struct Read<'a> {
    /// The wait.
    transfer: Transfer<'a>,
    /// Where the bytes go.
    buf: &'a mut [u8],
}

impl<'a> Read<'a> {
    /// A read of this socket.
    #[inline]
    pub(super) fn new(socket: &'a TcpSocket, buf: &'a mut [u8], site: Site) -> Self {
        let transfer = Transfer::new(socket, Direction::Read, site);
        Read { transfer, buf }
    }
}

impl Future for Read<'_> {
    type Output = io::Result<usize>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Read { transfer, buf } = &mut *self;
        poll_read(
            transfer.socket,
            &mut transfer.parked,
            cx,
            Some(transfer.site),
            buf,
        )
        .map_err(io::Error::from)
    }
}

/// A write that is awaited; see [`TcpStream::write`](super::TcpStream::write).
#[must_use = "a write does nothing until it is awaited"]
pub struct Write<'a> {
    /// The wait.
    transfer: Transfer<'a>,
    /// What is to be written.
    buf: &'a [u8],
}

impl<'a> Write<'a> {
    /// A write to this socket.
    #[inline]
    pub(super) fn new(socket: &'a TcpSocket, buf: &'a [u8], site: Site) -> Self {
        let transfer = Transfer::new(socket, Direction::Write, site);
        Write { transfer, buf }
    }
}

impl Future for Write<'_> {
    type Output = io::Result<usize>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Write { transfer, buf } = &mut *self;
        poll_write(
            transfer.socket,
            &mut transfer.parked,
            cx,
            Some(transfer.site),
            buf,
        )
        .map_err(io::Error::from)
    }
}

/// A vectored write that is awaited; see [`TcpStream::write_vectored`](super::TcpStream::write_vectored).
#[must_use = "a write does nothing until it is awaited"]
pub struct WriteVectored<'a> {
    /// The wait.
    transfer: Transfer<'a>,
    /// What is to be written.
    bufs: &'a [IoSlice<'a>],
}

impl<'a> WriteVectored<'a> {
    /// A write to this socket.
    pub(super) fn new(socket: &'a TcpSocket, bufs: &'a [IoSlice<'a>], site: Site) -> Self {
        let transfer = Transfer::new(socket, Direction::Write, site);
        WriteVectored { transfer, bufs }
    }
}

impl Future for WriteVectored<'_> {
    type Output = io::Result<usize>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let WriteVectored { transfer, bufs } = &mut *self;
        poll_write_vectored(
            transfer.socket,
            &mut transfer.parked,
            cx,
            Some(transfer.site),
            bufs,
        )
        .map_err(io::Error::from)
    }
}

/// A write of everything that is awaited; see [`TcpStream::write_all`](super::TcpStream::write_all).
#[must_use = "a write does nothing until it is awaited"]
pub struct WriteAll<'a> {
    /// The wait.
    transfer: Transfer<'a>,
    /// What is still to be written.
    rest: &'a [u8],
}

impl<'a> WriteAll<'a> {
    /// A write to this socket.
    #[inline]
    pub(super) fn new(socket: &'a TcpSocket, rest: &'a [u8], site: Site) -> Self {
        let transfer = Transfer::new(socket, Direction::Write, site);
        WriteAll { transfer, rest }
    }
}

impl Future for WriteAll<'_> {
    type Output = io::Result<()>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let WriteAll { transfer, rest } = &mut *self;
        while !rest.is_empty() {
            let write = poll_write(
                transfer.socket,
                &mut transfer.parked,
                cx,
                Some(transfer.site),
                rest,
            );
            match write {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => *rest = &rest[n..],
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Read<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "Read", &self.transfer, self.buf.len())
    }
}

impl fmt::Debug for Write<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "Write", &self.transfer, self.buf.len())
    }
}

impl fmt::Debug for WriteVectored<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.bufs.iter().map(|buf| buf.len()).sum();
        debug(f, "WriteVectored", &self.transfer, length)
    }
}

impl fmt::Debug for WriteAll<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug(f, "WriteAll", &self.transfer, self.rest.len())
    }
}

/// Shows a transfer by its name, place and length in bytes.
fn debug(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    transfer: &Transfer<'_>,
    bytes: usize,
) -> fmt::Result {
    f.debug_struct(name)
        .field("site", &transfer.site)
        .field("bytes", &bytes)
        .finish_non_exhaustive()
}
