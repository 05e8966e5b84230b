//! What every read and write of a buffered stream shares, and the two that need nothing else: [`Fill`] and [`WriteOut`].
//!
//! It is apart from the stream because each of these futures borrows it and none of them owns a byte.
//!
//! Invariants:
//! 1. The stream is polled on behalf of the place of whoever waits.
//! 2. A future that is dropped while it waits leaves nobody parked.

use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use crate::error::{Error, Result};
use crate::net::buffered::BufferedStream;
use crate::site::Site;

/// A use of a buffered stream that may wait. Dropping it leaves nobody parked.
pub(super) struct Reading<'a, S> {
    /// The stream.
    pub(super) stream: &'a mut BufferedStream<S>,
    /// Where it was asked for.
    pub(super) site: Site,
    /// Whether the last poll parked.
    waiting: bool,
    /// Whether it was counted as a turn.
    counted: bool,
}

impl<'a, S> Reading<'a, S> {
    /// A use that has not waited.
    pub(super) fn new(stream: &'a mut BufferedStream<S>, site: Site) -> Self {
        Reading {
            stream,
            site,
            waiting: false,
            counted: false,
        }
    }

    /// Polls the stream for this place, and notes whether it parked.
    #[inline]
    fn poll<R>(&mut self, poll: impl FnOnce(&mut BufferedStream<S>, Site) -> Poll<R>) -> Poll<R> {
        let polled = poll(self.stream, self.site);
        self.waiting = polled.is_pending();
        polled
    }
}

impl<S: AsyncRead + Unpin> Reading<'_, S> {
    /// Counts this read, once, and gives way first if many were served in this resume.
    #[inline]
    pub(super) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if !self.counted {
            ready!(self.poll(|stream, site| stream.poll_turn(cx, site)))?;
            self.counted = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once into the buffer. Gives how many bytes came; 0 at the end.
    #[inline]
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize>> {
        self.poll(|stream, site| stream.poll_more(cx, Some(site)))
    }
}

impl<S> Drop for Reading<'_, S> {
    fn drop(&mut self) {
        if self.waiting {
            self.stream.give_up();
        }
    }
}

/// A wait for more bytes; see [`BufferedStream::fill`].
#[must_use = "a fill does nothing until it is awaited"]
pub struct Fill<'a, S>(Reading<'a, S>);

impl<'a, S> Fill<'a, S> {
    /// A wait that has not begun.
    pub(super) fn new(stream: &'a mut BufferedStream<S>, site: Site) -> Self {
        Fill(Reading::new(stream, site))
    }
}

impl<S: AsyncRead + Unpin> Future for Fill<'_, S> {
    type Output = Result<usize>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_more(cx)
    }
}

/// A write of everything that is awaited; see [`BufferedStream::write_all`].
#[must_use = "a write does nothing until it is awaited"]
pub struct WriteOut<'a, S> {
    /// The stream.
    reading: Reading<'a, S>,
    /// What is still to be written.
    rest: &'a [u8],
}

impl<'a, S> WriteOut<'a, S> {
    /// A write that has not begun.
    pub(super) fn new(stream: &'a mut BufferedStream<S>, rest: &'a [u8], site: Site) -> Self {
        WriteOut {
            reading: Reading::new(stream, site),
            rest,
        }
    }
}

impl<S: AsyncWrite + Unpin> Future for WriteOut<'_, S> {
    type Output = Result;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let WriteOut { reading, rest } = &mut *self;
        while !rest.is_empty() {
            let n = ready!(reading.poll(|stream, site| stream.poll_out(cx, site, rest)))?;
            if n == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            *rest = &rest[n..];
        }
        let flush = reading.poll(|stream, _| Pin::new(stream).poll_flush(cx));
        flush.map_err(Error::from)
    }
}

impl<S: AsyncRead + Unpin> BufferedStream<S> {
    /// Waits until more has arrived than is in the buffer now. Gives how many bytes came; 0 at the end of the stream.
    ///
    /// # Errors
    /// What the stream says; `Cancelled`.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result, net::BufferedStream};
    /// # EventLoop::new()?.block_on(async |_| -> Result {
    /// let bytes: &[u8] = &[2, b'h', b'i', 9];
    /// let mut stream = BufferedStream::new(bytes);
    /// while stream.buffer().first().is_none_or(|n| stream.buffer().len() <= usize::from(*n)) {
    ///     assert_ne!(stream.fill().await?, 0, "ended in mid-frame");
    /// }
    /// assert_eq!(&stream.buffer()[1..3], b"hi");
    /// stream.consume(3);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    pub fn fill(&mut self) -> Fill<'_, S> {
        Fill::new(self, Location::caller())
    }
}

impl<S: AsyncWrite + Unpin> BufferedStream<S> {
    /// Writes all of `bytes`: it is done when the kernel has taken the last one, so a slow peer holds the writer back. Writing is not
    /// buffered here.
    ///
    /// Dropped or cancelled before it is done, an unknown part has been sent.
    ///
    /// # Errors
    /// What the stream says, such as `BrokenPipe`; `Cancelled`.
    #[track_caller]
    pub fn write_all<'a>(&'a mut self, bytes: &'a [u8]) -> WriteOut<'a, S> {
        WriteOut::new(self, bytes, Location::caller())
    }
}

impl<S> fmt::Debug for Reading<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("site", &self.site)
            .field("buffered", &self.stream.buffer().len())
            .finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for Fill<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fill").field(&self.0).finish()
    }
}

impl<S> fmt::Debug for WriteOut<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteOut")
            .field("site", &self.reading.site)
            .field("bytes", &self.rest.len())
            .finish_non_exhaustive()
    }
}
