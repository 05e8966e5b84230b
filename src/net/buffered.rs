//! [`BufferedStream`]: reads by lines and delimiters, over any byte stream.
//!
//! Invariants:
//! 1. What has left the kernel is in the buffer until a read hands it out: no future owns bytes, so dropping one loses none.
//! 2. The end of the stream is noted once and asked for no second time.
//! 3. The buffer gives its memory back before each wait in which it is empty.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};

use crate::error::{Error, ErrorKind, Result};
use crate::net::buffer::Buffer;
use crate::site::Site;

/// A byte stream with a buffer in front of its reading side: lines, delimiters, exact counts, everything until the end.
///
/// [`TcpStream::buffered`](crate::net::TcpStream::buffered) makes one; [`BufferedStream::new`] puts the same in front of any [`futures_io`] stream, such as TLS. The buffer
/// begins at 256 bytes, grows with what is asked for, and is given back while nothing arrives.
///
/// Bytes that have arrived stay in the buffer until a read hands them out. A read that fails, is dropped or is cancelled half way takes
/// nothing, and the next one finds what came so far.
///
/// ```
/// # use yieldpoint::net::{TcpListener, TcpStream};
/// # use yieldpoint::{EventLoop, Result};
/// # EventLoop::new()?.block_on(async |co| -> Result {
/// # let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
/// # let mut client = TcpStream::connect(co.handle(), listener.local_addr()?).await?;
/// # let (server, _) = listener.accept().await?;
/// client.write_all(b"GET /\r\nHost: x\r\n\r\n5 bytes and the rest").await?;
/// drop(client);
/// let mut server = server.buffered();
/// assert_eq!(server.read_line(80).await?.as_deref(), Some("GET /"));
/// assert_eq!(server.read_until(b"\r\n\r\n", 80).await?, b"Host: x\r\n\r\n");
/// assert_eq!(server.read_exact(7).await?, b"5 bytes");
/// assert_eq!(server.read_until_close(80).await?, b" and the rest");
/// assert_eq!(server.read_line(80).await?, None);
/// # Ok(())
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
pub struct BufferedStream<S> {
    /// The stream.
    io: S,
    /// What has arrived.
    buffer: Buffer,
    /// Whether more can come.
    end: End,
    /// How to poll the stream on behalf of a place, if it is one of ours.
    ours: Option<AsPolled<S>>,
}

/// Whether more can come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// It can.
    Open,
    /// The peer has closed.
    Closed,
    /// The connection broke, so the last bytes may be part of something longer.
    Broken,
}

/// A stream of ours, polled on behalf of a place, which reports name. The traits of `futures_io` have no room for one.
pub(super) trait Polled {
    /// Reads what is there.
    fn poll_read_for(
        &mut self,
        cx: &Context<'_>,
        site: Option<Site>,
        buf: &mut [u8],
    ) -> Poll<Result<usize>>;

    /// Writes what the kernel has room for. Not called of what is only read from.
    fn poll_write_for(
        &mut self,
        _cx: &Context<'_>,
        _site: Option<Site>,
        _buf: &[u8],
    ) -> Poll<Result<usize>> {
        Poll::Ready(Err(io::Error::from(io::ErrorKind::Unsupported).into()))
    }

    /// Counts a read that is served from the buffer; it answers when it has been the reader's turn for long enough.
    fn poll_turn_for(&mut self, cx: &Context<'_>, site: Option<Site>) -> Poll<Result<()>>;

    /// Forgets who waits.
    fn give_up(&mut self);
}

/// The stream as one of ours.
type AsPolled<S> = fn(&mut S) -> &mut dyn Polled;

impl<S> BufferedStream<S> {
    /// Puts an empty buffer in front of any stream. For streams of this crate use [`TcpStream::buffered`](crate::net::TcpStream::buffered), so that reports can name the
    /// place of each read.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result, net::BufferedStream};
    /// # EventLoop::new()?.block_on(async |_| -> Result {
    /// let bytes: &[u8] = b"one\ntwo";
    /// let mut stream = BufferedStream::new(bytes); // a slice is a futures_io stream too
    /// assert_eq!(stream.read_line(80).await?.as_deref(), Some("one"));
    /// assert_eq!(stream.read_line(80).await?.as_deref(), Some("two"));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn new(io: S) -> Self {
        BufferedStream {
            io,
            buffer: Buffer::default(),
            end: End::Open,
            ours: None,
        }
    }

    /// The same for a stream of ours.
    pub(super) fn ours(io: S) -> Self
    where
        S: Polled,
    {
        BufferedStream {
            ours: Some(|io| io),
            ..BufferedStream::new(io)
        }
    }

    /// The stream behind the buffer.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// The stream behind the buffer. What is read from it directly passes by what is in the buffer.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.io
    }

    /// Gives the stream back. What is in the buffer is dropped; [`into_parts`](BufferedStream::into_parts) keeps it.
    pub fn into_inner(self) -> S {
        self.io
    }

    /// Gives back the stream, and what has arrived and was not read.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result, net::BufferedStream};
    /// # EventLoop::new()?.block_on(async |_| -> Result {
    /// let bytes: &[u8] = b"STARTTLS\nhello";
    /// let mut stream = BufferedStream::new(bytes);
    /// let _ = stream.read_line(80).await?;
    /// let (_, early) = stream.into_parts();
    /// assert_eq!(early, b"hello");
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn into_parts(mut self) -> (S, Vec<u8>) {
        let early = self.buffer.take(self.buffer.len());
        (self.io, early)
    }

    /// What has arrived and was not read: for codecs that look before they take. See [`fill`](BufferedStream::fill).
    #[must_use]
    pub fn buffer(&self) -> &[u8] {
        self.buffer.filled()
    }

    /// Takes the first `n` bytes out of the buffer.
    ///
    /// # Panics
    /// If fewer have arrived.
    pub fn consume(&mut self, n: usize) {
        self.buffer.consume(n);
    }

    /// Puts the buffer, with what is in it, in front of one part of the stream, and gives the other part out.
    pub(super) fn split_with<T: Polled, R>(
        self,
        split: impl FnOnce(S) -> (T, R),
    ) -> (BufferedStream<T>, R) {
        let (io, rest) = split(self.io);
        let stream = BufferedStream {
            io,
            buffer: self.buffer,
            end: self.end,
            ours: Some(|io| io),
        };
        (stream, rest)
    }

    /// Tells the stream that nobody waits for it any more.
    pub(super) fn give_up(&mut self) {
        if let Some(ours) = self.ours {
            ours(&mut self.io).give_up();
        }
    }

    /// Tells the stream that a read may be served from the buffer, and gives way if many were in this resume.
    pub(super) fn poll_turn(&mut self, cx: &Context<'_>, site: Site) -> Poll<Result<()>> {
        match self.ours {
            Some(ours) => ours(&mut self.io).poll_turn_for(cx, Some(site)),
            None => Poll::Ready(Ok(())),
        }
    }

    /// The buffer.
    pub(super) fn buffer_mut(&mut self) -> &mut Buffer {
        &mut self.buffer
    }

    /// Whether more can come.
    pub(super) fn end(&self) -> End {
        self.end
    }
}

impl<S: AsyncRead + Unpin> BufferedStream<S> {
    /// Reads once into the buffer, on behalf of a place if there is one (keeps invariants 2 and 3).
    pub(super) fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        site: Option<Site>,
    ) -> Poll<Result<usize>> {
        if self.end != End::Open {
            return Poll::Ready(Ok(0));
        }
        let room = self.buffer.room();
        let read = match self.ours {
            Some(ours) => ours(&mut self.io).poll_read_for(cx, site, room),
            None => Pin::new(&mut self.io)
                .poll_read(cx, room)
                .map_err(Error::from),
        };
        match read {
            Poll::Ready(Ok(n)) => {
                self.buffer.arrived(n);
                if n == 0 {
                    self.end = End::Closed;
                }
                Poll::Ready(Ok(n))
            }
            Poll::Ready(Err(error)) => {
                if matches!(error.kind(), ErrorKind::Io(_)) {
                    self.end = End::Broken;
                }
                Poll::Ready(Err(error))
            }
            Poll::Pending => {
                self.buffer.rest();
                Poll::Pending
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BufferedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.buffer.is_empty() && !buf.is_empty() {
            ready!(self.poll_more(cx, None))?;
        }
        let n = self.buffer.len().min(buf.len());
        buf[..n].copy_from_slice(&self.buffer.filled()[..n]);
        self.buffer.consume(n);
        Poll::Ready(Ok(n))
    }
}

impl<S: AsyncRead + Unpin> AsyncBufRead for BufferedStream<S> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.buffer.is_empty() {
            ready!(this.poll_more(cx, None))?;
        }
        Poll::Ready(Ok(this.buffer.filled()))
    }

    fn consume(mut self: Pin<&mut Self>, n: usize) {
        self.buffer.consume(n);
    }
}

impl<S: AsyncWrite + Unpin> BufferedStream<S> {
    /// Writes what there is room for, on behalf of a place.
    pub(super) fn poll_out(
        &mut self,
        cx: &mut Context<'_>,
        site: Site,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        match self.ours {
            Some(ours) => ours(&mut self.io).poll_write_for(cx, Some(site), bytes),
            None => Pin::new(&mut self.io)
                .poll_write(cx, bytes)
                .map_err(Error::from),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BufferedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}

impl<S: fmt::Debug> fmt::Debug for BufferedStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedStream")
            .field("io", &self.io)
            .field("buffered", &self.buffer.len())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
