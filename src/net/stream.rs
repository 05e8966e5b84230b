//! [`TcpStream`]: a connection, both ways.
//!
//! Invariants:
//! 1. One coroutine reads and one writes at a time: both take `&mut self`.
//! 2. It is 16 bytes: a coroutine that is given one by value keeps it several times over.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use crate::error::Result;
use crate::handle::Handle;
use crate::net::buffered::{BufferedStream, Polled};
use crate::net::socket::Socket;
use crate::net::transfer::{Moving, Read, TcpSocket, Write, WriteAll, WriteVectored, poll_turn};
use crate::site::Site;
use crate::sources::Direction;

/// A TCP connection. Dropping it closes it; what the kernel has taken is still sent.
///
/// It implements [`futures_io::AsyncRead`] and [`futures_io::AsyncWrite`] as well, for codecs and TLS. Closing it by
/// [`AsyncWrite::poll_close`] shuts down the sending side.
///
/// ```
/// # use yieldpoint::net::{TcpListener, TcpStream};
/// # use yieldpoint::{EventLoop, Result};
/// # EventLoop::new()?.block_on(async |co| -> Result {
/// let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
/// let mut client = TcpStream::connect(co.handle(), listener.local_addr()?).await?;
/// let (mut server, peer) = listener.accept().await?;
/// assert_eq!(peer, client.local_addr()?);
///
/// client.write_all(b"ping").await?;
/// let mut buf = [0; 16];
/// let n = server.read(&mut buf).await?;
/// assert_eq!(&buf[..n], b"ping");
///
/// drop(client);
/// assert_eq!(server.read(&mut buf).await?, 0); // the peer has closed
/// # Ok(())
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
///
/// Two reads at once cannot be written:
///
/// ```compile_fail,E0499
/// # fn twice(stream: &mut yieldpoint::net::TcpStream) {
/// let (mut a, mut b) = ([0; 8], [0; 8]);
/// let first = stream.read(&mut a);
/// let second = stream.read(&mut b); // still borrowed
/// drop((first, second));
/// # }
/// ```
pub struct TcpStream {
    /// The connection.
    socket: TcpSocket,
}

impl TcpStream {
    /// Takes over a connection of the standard library. It is set not to block.
    ///
    /// # Errors
    /// What the system says; `LoopGone`.
    ///
    /// ```
    /// # use yieldpoint::net::TcpStream;
    /// # use yieldpoint::{EventLoop, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let client = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// let mut client = TcpStream::from_std(co.handle(), client)?;
    /// client.write_all(b"x").await?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn from_std(handle: &Handle, stream: std::net::TcpStream) -> Result<Self> {
        stream.set_nonblocking(true)?;
        let io = mio::net::TcpStream::from_std(stream);
        Ok(Self::of(Socket::new(handle, io)?))
    }

    /// The stream of a socket.
    pub(super) fn of(socket: TcpSocket) -> Self {
        TcpStream { socket }
    }

    /// The socket.
    #[inline]
    pub(super) fn socket(&self) -> &TcpSocket {
        &self.socket
    }

    /// The socket alone; whoever was parked on the stream is forgotten.
    pub(super) fn into_socket(self) -> TcpSocket {
        self.forget_waits();
        self.socket
    }

    /// Reads what is there, at most `buf.len()` bytes, and waits if there is nothing. Gives how many; 0 means that the peer has closed
    /// its sending side, or that `buf` is empty.
    ///
    /// Dropped before it is done, it has taken nothing.
    ///
    /// # Errors
    /// What the system says, such as `ConnectionReset`; a cancel, as kind `Other`.
    #[inline]
    #[track_caller]
    pub fn read<'a>(&'a mut self, buf: &'a mut [u8]) -> Read<'a> {
        Read::new(&self.socket, buf, Location::caller())
    }

    /// Writes what the kernel has room for, and waits if it has none. Gives how many bytes it took, at least one unless `buf` is empty.
    ///
    /// Dropped before it is done, it has written nothing.
    ///
    /// # Errors
    /// What the system says, such as `BrokenPipe`; a cancel, as kind `Other`.
    #[inline]
    #[track_caller]
    pub fn write<'a>(&'a mut self, buf: &'a [u8]) -> Write<'a> {
        Write::new(&self.socket, buf, Location::caller())
    }

    /// Writes from several buffers, one after the other, in one system call; otherwise as [`write`](TcpStream::write).
    ///
    /// # Errors
    /// As for [`write`](TcpStream::write).
    ///
    /// ```
    /// # use std::io::IoSlice;
    /// # use yieldpoint::net::{TcpListener, TcpStream};
    /// # use yieldpoint::{EventLoop, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// # let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
    /// # let mut client = TcpStream::connect(co.handle(), listener.local_addr()?).await?;
    /// # let mut server = listener.accept().await?.0.buffered();
    /// let n = client.write_vectored(&[IoSlice::new(b"head: "), IoSlice::new(b"body")]).await?;
    /// assert_eq!(n, 10);
    /// assert_eq!(server.read_exact(10).await?, b"head: body");
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    pub fn write_vectored<'a>(&'a mut self, bufs: &'a [IoSlice<'a>]) -> WriteVectored<'a> {
        WriteVectored::new(&self.socket, bufs, Location::caller())
    }

    /// Writes all of `buf`: it is done when the kernel has taken the last byte, so a slow peer holds the writer back.
    ///
    /// Dropped or cancelled before it is done, an unknown part of `buf` has been sent; use [`write`](TcpStream::write) to keep count.
    ///
    /// # Errors
    /// As for [`write`](TcpStream::write).
    #[inline]
    #[track_caller]
    pub fn write_all<'a>(&'a mut self, buf: &'a [u8]) -> WriteAll<'a> {
        WriteAll::new(&self.socket, buf, Location::caller())
    }

    /// Shuts down the reading side, the sending side or both. The peer reads the end after what was written before.
    ///
    /// # Errors
    /// What the system says; `NotConnected` if the connection is gone.
    ///
    /// ```
    /// # use yieldpoint::net::{TcpListener, TcpStream};
    /// # use yieldpoint::{EventLoop, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// # let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
    /// # let mut client = TcpStream::connect(co.handle(), listener.local_addr()?).await?;
    /// # let (mut server, _) = listener.accept().await?;
    /// client.write_all(b"question").await?;
    /// client.shutdown(std::net::Shutdown::Write)?;
    /// let mut server = server.buffered();
    /// assert_eq!(server.read_until_close(64).await?, b"question");
    /// server.write_all(b"answer").await?; // the other way is still open
    /// drop(server);
    /// assert_eq!(client.buffered().read_until_close(64).await?, b"answer");
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.io().shutdown(how)
    }

    /// The other end's address.
    ///
    /// # Errors
    /// `NotConnected` if the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.io().peer_addr()
    }

    /// This end's address.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.io().local_addr()
    }

    /// Sets whether small writes are sent at once instead of being gathered (Nagle's algorithm). Off unless set.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.socket.io().set_nodelay(on)
    }

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// ```
    /// # use yieldpoint::net::{TcpListener, TcpStream};
    /// # use yieldpoint::{EventLoop, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// # let listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
    /// let stream = TcpStream::connect(co.handle(), listener.local_addr()?).await?;
    /// stream.set_nodelay(true)?;
    /// assert!(stream.nodelay()?);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn nodelay(&self) -> io::Result<bool> {
        self.socket.io().nodelay()
    }

    /// Reads by lines and delimiters through a buffer. See [`BufferedStream`].
    #[must_use = "the stream is in the buffered stream"]
    pub fn buffered(self) -> BufferedStream<Self> {
        BufferedStream::ours(self)
    }

    /// Forgets who waits, both ways.
    fn forget_waits(&self) {
        self.socket.settle(Direction::Read);
        self.socket.settle(Direction::Write);
    }
}

impl Polled for TcpStream {
    fn poll_read_for(
        &mut self,
        cx: &Context<'_>,
        site: Option<Site>,
        buf: &mut [u8],
    ) -> Poll<Result<usize>> {
        Moving {
            socket: &self.socket,
            site,
            bytes: buf,
        }
        .poll(cx)
    }

    fn poll_write_for(
        &mut self,
        cx: &Context<'_>,
        site: Option<Site>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        Moving {
            socket: &self.socket,
            site,
            bytes: buf,
        }
        .poll(cx)
    }

    fn poll_turn_for(&mut self, cx: &Context<'_>, site: Option<Site>) -> Poll<Result<()>> {
        poll_turn(&self.socket, cx, site)
    }

    fn give_up(&mut self) {
        self.forget_waits();
    }
}

impl AsyncRead for TcpStream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Moving {
            socket: &self.socket,
            site: None,
            bytes: buf,
        }
        .poll(cx)
        .map_err(io::Error::from)
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Moving {
            socket: &self.socket,
            site: None,
            bytes: bufs,
        }
        .poll(cx)
        .map_err(io::Error::from)
    }
}

impl AsyncWrite for TcpStream {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Moving {
            socket: &self.socket,
            site: None,
            bytes: buf,
        }
        .poll(cx)
        .map_err(io::Error::from)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Moving {
            socket: &self.socket,
            site: None,
            bytes: bufs,
        }
        .poll(cx)
        .map_err(io::Error::from)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(shut_down_sending(&self.socket))
    }
}

/// Shuts down the sending side. A connection that is gone already is as good as shut down.
pub(super) fn shut_down_sending(socket: &TcpSocket) -> io::Result<()> {
    match socket.io().shutdown(Shutdown::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        other => other,
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.io().as_fd()
    }
}

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.io().as_raw_fd()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}
