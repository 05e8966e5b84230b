//! Lines of text: [`ReadLine`] and [`Lines`].
//!
//! They are apart from the other reads because only here bytes become text, and an end without a newline is no error.
//!
//! Invariants:
//! 1. A line is taken whole, also if it is not UTF-8: the next read begins behind its newline.
//! 2. What came before a connection broke is no line.

use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::AsyncRead;

use crate::error::Result;
use crate::net::buffered::{BufferedStream, End};
use crate::net::read_until::poll_delimiter;
use crate::net::reading::Reading;
use crate::site::Site;

/// A read of one line; see [`BufferedStream::read_line`].
#[must_use = "a read does nothing until it is awaited"]
pub struct ReadLine<'a, S> {
    /// The stream.
    reading: Reading<'a, S>,
    /// At most so many bytes, with the newline.
    max: usize,
    /// How many bytes were searched.
    searched: usize,
}

/// The lines of a stream; see [`BufferedStream::lines`].
#[must_use = "lines are read by next"]
pub struct Lines<'a, S> {
    /// The stream.
    stream: &'a mut BufferedStream<S>,
    /// At most so many bytes a line, with the newline.
    max: usize,
}

impl<'a, S> ReadLine<'a, S> {
    /// A read that has not looked yet.
    pub(super) fn new(stream: &'a mut BufferedStream<S>, max: usize, site: Site) -> Self {
        ReadLine {
            reading: Reading::new(stream, site),
            max,
            searched: 0,
        }
    }
}

impl<'a, S> Lines<'a, S> {
    /// The lines from here on.
    pub(super) fn new(stream: &'a mut BufferedStream<S>, max: usize) -> Self {
        Lines { stream, max }
    }

    /// Reads the next line; `None` at the end. Dropped before it is done, it loses nothing: the next call gives the whole line.
    ///
    /// # Errors
    /// As for [`BufferedStream::read_line`].
    #[track_caller]
    #[expect(
        clippy::should_implement_trait,
        reason = "it waits, so it is no Iterator; the name is the one people look for"
    )]
    pub fn next(&mut self) -> ReadLine<'_, S> {
        ReadLine::new(self.stream, self.max, Location::caller())
    }
}

impl<S: AsyncRead + Unpin> Future for ReadLine<'_, S> {
    type Output = Result<Option<String>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ReadLine {
            reading,
            max,
            searched,
        } = &mut *self;
        ready!(reading.poll_turn(cx))?;
        let found = ready!(poll_delimiter(reading, cx, b"\n", *max, searched))?;
        let stream = &mut *reading.stream;
        let end = match found {
            Some(end) => end,
            None if stream.end() == End::Broken || stream.buffer().is_empty() => {
                return Poll::Ready(Ok(None));
            }
            None => stream.buffer().len(),
        };
        let bytes = stream.buffer_mut().take(end);
        Poll::Ready(text(bytes, reading.site).map(Some))
    }
}

/// A line's text, without what ends it.
fn text(mut bytes: Vec<u8>, site: Site) -> Result<String> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = format!(
            "the line read at {site} is not UTF-8 from byte {at} on (the first byte is 0). It was passed over; read bytes with read_until instead."
        );
        io::Error::new(io::ErrorKind::InvalidData, text).into()
    })
}

impl<S: AsyncRead + Unpin> BufferedStream<S> {
    /// Reads one line, without its `\n` or `\r\n`; `None` at the end. A last line that no newline ends is given as well. With its newline
    /// it is at most `max` bytes.
    ///
    /// # Errors
    /// `TooLong`, with nothing taken. `InvalidData` if the line is not UTF-8, naming the first byte that is not; the line is taken, and
    /// the next read goes on behind it. What the stream says, such as `ConnectionReset` in mid-line: the piece is no line, and stays for
    /// [`read_until_close`](BufferedStream::read_until_close). `Cancelled`.
    #[track_caller]
    pub fn read_line(&mut self, max: usize) -> ReadLine<'_, S> {
        ReadLine::new(self, max, Location::caller())
    }

    /// The lines of the stream, one after the other, each as [`read_line`](BufferedStream::read_line) gives it.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result, net::BufferedStream};
    /// # EventLoop::new()?.block_on(async |_| -> Result {
    /// let bytes: &[u8] = b"one\r\ntwo\nthree";
    /// let mut stream = BufferedStream::new(bytes);
    /// let mut lines = stream.lines(80);
    /// let mut all = vec![];
    /// while let Some(line) = lines.next().await? {
    ///     all.push(line);
    /// }
    /// assert_eq!(all, ["one", "two", "three"]);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn lines(&mut self, max: usize) -> Lines<'_, S> {
        Lines::new(self, max)
    }
}

impl<S> fmt::Debug for ReadLine<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadLine")
            .field("reading", &self.reading)
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for Lines<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("stream", &self.stream)
            .field("max", &self.max)
            .finish()
    }
}
