//! The two halves of a connection: [`ReadHalf`] and [`WriteHalf`].
//!
//! They are apart from the stream because two coroutines may own them.
//!
//! Invariants:
//! 1. Each half parks only its own direction, and takes its own wait back when it is dropped.
//! 2. The connection is closed when both halves are gone.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use crate::error;
use crate::net::buffered::{BufferedStream, Polled};
use crate::net::stream::{TcpStream, shut_down_sending};
use crate::net::transfer::{Moving, Read, TcpSocket, Write, WriteAll, WriteVectored, poll_turn};
use crate::site::Site;
use crate::sources::Direction;

/// The reading half of a [`TcpStream`].
///
/// Dropping it shuts nothing down: the peer learns that nobody reads when both halves are gone.
///
/// ```
/// # use yieldpoint::net::{TcpListener, TcpStream};
/// # use yieldpoint::{EventLoop, Result};
/// # EventLoop::new()?.block_on(async |co| -> Result {
/// # let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
/// let client = TcpStream::connect(co.handle(), listener.local_addr()?).await?;
/// let (mut server, _) = listener.accept().await?;
/// let (reader, mut writer) = client.split();
/// let reading = co.handle().spawn(async move |_| -> Result<Vec<u8>> {
///     reader.buffered().read_until_close(64).await
/// });
/// writer.write_all(b"ping").await?;
/// let mut buf = [0; 4];
/// assert_eq!(server.read(&mut buf).await?, 4);
/// server.write_all(b"pong").await?;
/// drop(server);
/// assert_eq!(reading.await?, b"pong");
/// # Ok(())
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
pub struct ReadHalf {
    /// The connection.
    socket: Rc<TcpSocket>,
}

/// The writing half of a [`TcpStream`]. Dropping it shuts down the sending side: the peer reads the end after what was written.
pub struct WriteHalf {
    /// The connection.
    socket: Rc<TcpSocket>,
    /// Whether the sending side stays open when this is dropped.
    keep_open: bool,
}

impl ReadHalf {
    /// The halves of a socket.
    pub(super) fn pair(socket: TcpSocket) -> (Self, WriteHalf) {
        let socket = Rc::new(socket);
        let write = WriteHalf {
            socket: Rc::clone(&socket),
            keep_open: false,
        };
        let read = ReadHalf { socket };
        (read, write)
    }

    /// The socket of both halves.
    #[inline]
    pub(super) fn socket(&self) -> &TcpSocket {
        &self.socket
    }

    /// Reads what is there; see [`TcpStream::read`].
    ///
    /// # Errors
    /// As for [`TcpStream::read`].
    #[inline]
    #[track_caller]
    pub fn read<'a>(&'a mut self, buf: &'a mut [u8]) -> Read<'a> {
        Read::new(&self.socket, buf, Location::caller())
    }

    /// Puts the halves of one connection together again.
    ///
    /// # Errors
    /// Both halves, if they are not of one connection.
    ///
    /// ```
    /// # use yieldpoint::net::{TcpListener, TcpStream};
    /// # use yieldpoint::{EventLoop, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// # let listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
    /// let stream = TcpStream::connect(co.handle(), listener.local_addr()?).await?;
    /// let (reader, writer) = stream.split();
    /// let mut stream = reader.reunite(writer).expect("halves of one connection");
    /// stream.write_all(b"still open").await?;
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn reunite(self, mut write: WriteHalf) -> Result<TcpStream, (Self, WriteHalf)> {
        if !Rc::ptr_eq(&self.socket, &write.socket) {
            return Err((self, write));
        }
        write.keep_open = true;
        drop(write);
        let socket = Rc::clone(&self.socket);
        drop(self);
        let socket = Rc::into_inner(socket).expect("a connection has two halves and no third");
        Ok(TcpStream::of(socket))
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

    /// Reads by lines and delimiters through a buffer. See [`BufferedStream`].
    #[must_use = "the half is in the buffered stream"]
    pub fn buffered(self) -> BufferedStream<Self> {
        BufferedStream::ours(self)
    }
}

impl WriteHalf {
    /// The socket of both halves.
    #[inline]
    pub(super) fn socket(&self) -> &TcpSocket {
        &self.socket
    }

    /// Writes what the kernel has room for; see [`TcpStream::write`].
    ///
    /// # Errors
    /// As for [`TcpStream::write`].
    #[inline]
    #[track_caller]
    pub fn write<'a>(&'a mut self, buf: &'a [u8]) -> Write<'a> {
        Write::new(&self.socket, buf, Location::caller())
    }

    /// Writes from several buffers in one system call; see [`TcpStream::write_vectored`].
    ///
    /// # Errors
    /// As for [`TcpStream::write`].
    #[track_caller]
    pub fn write_vectored<'a>(&'a mut self, bufs: &'a [IoSlice<'a>]) -> WriteVectored<'a> {
        WriteVectored::new(&self.socket, bufs, Location::caller())
    }

    /// Writes all of `buf`; see [`TcpStream::write_all`].
    ///
    /// # Errors
    /// As for [`TcpStream::write`].
    #[inline]
    #[track_caller]
    pub fn write_all<'a>(&'a mut self, buf: &'a [u8]) -> WriteAll<'a> {
        WriteAll::new(&self.socket, buf, Location::caller())
    }

    /// Shuts down the sending side now. Reading goes on.
    ///
    /// # Errors
    /// What the system says.
    pub fn shutdown(&mut self) -> io::Result<()> {
        shut_down_sending(&self.socket)
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
}

impl Polled for ReadHalf {
    fn poll_read_for(
        &mut self,
        cx: &Context<'_>,
        site: Option<Site>,
        buf: &mut [u8],
    ) -> Poll<error::Result<usize>> {
        Moving {
            socket: &self.socket,
            site,
            bytes: buf,
        }
        .poll(cx)
    }

    fn poll_turn_for(&mut self, cx: &Context<'_>, site: Option<Site>) -> Poll<error::Result<()>> {
        poll_turn(&self.socket, cx, site)
    }

    fn give_up(&mut self) {
        self.socket.settle(Direction::Read);
    }
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        self.socket.settle(Direction::Read);
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        self.socket.settle(Direction::Write);
        if !self.keep_open {
            // A connection that is broken has no sending side left to shut down.
            let _ = shut_down_sending(&self.socket);
        }
    }
}

impl AsyncRead for ReadHalf {
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

impl AsyncWrite for WriteHalf {
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

impl TcpStream {
    /// Splits the connection into a half that reads and a half that writes, for two coroutines. See [`ReadHalf`].
    #[must_use = "a write half that is dropped shuts down the sending side"]
    #[doc(alias = "into_split")]
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        ReadHalf::pair(self.into_socket())
    }
}

impl BufferedStream<TcpStream> {
    /// Splits the connection into a half that reads, with the buffer, and a half that writes. See [`TcpStream::split`].
    #[must_use = "a write half that is dropped shuts down the sending side"]
    pub fn split(self) -> (BufferedStream<ReadHalf>, WriteHalf) {
        self.split_with(TcpStream::split)
    }
}

impl fmt::Debug for ReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadHalf").field(&self.socket).finish()
    }
}

impl fmt::Debug for WriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WriteHalf").field(&self.socket).finish()
    }
}
