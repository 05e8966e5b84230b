//! The reads that end at a delimiter, a count or the end of the stream: [`ReadUntil`], [`ReadExact`], [`ReadUntilClose`].
//!
//! Invariants:
//! 1. Each looks at the buffer first, so that what has arrived is never waited for.
//! 2. A byte is searched once in the life of a read: it remembers how far it came.
//! 3. Nothing is taken out of the buffer before the read is complete.

use std::fmt;
use std::future::Future;
use std::io::{self, BufRead};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::AsyncRead;

use crate::error::{Error, ErrorKind, Result};
use crate::net::buffered::BufferedStream;
use crate::net::reading::Reading;
use crate::site::Site;

/// A read up to a delimiter; see [`BufferedStream::read_until`].
#[must_use = "a read does nothing until it is awaited"]
pub struct ReadUntil<'a, S> {
    /// The stream.
    reading: Reading<'a, S>,
    /// What it ends with.
    delimiter: &'a [u8],
    /// Within how many bytes.
    max: usize,
    /// How many bytes were searched (invariant 2).
    searched: usize,
}

/// A read of so many bytes; see [`BufferedStream::read_exact`].
#[must_use = "a read does nothing until it is awaited"]
pub struct ReadExact<'a, S> {
    /// The stream.
    reading: Reading<'a, S>,
    /// How many bytes.
    n: usize,
}

/// A read of everything; see [`BufferedStream::read_until_close`].
#[must_use = "a read does nothing until it is awaited"]
pub struct ReadUntilClose<'a, S> {
    /// The stream.
    reading: Reading<'a, S>,
    /// At most so many bytes.
    max: usize,
}

impl<'a, S> ReadUntil<'a, S> {
    /// A read that has not looked yet.
    pub(super) fn new(
        stream: &'a mut BufferedStream<S>,
        delimiter: &'a [u8],
        max: usize,
        site: Site,
    ) -> Self {
        ReadUntil {
            reading: Reading::new(stream, site),
            delimiter,
            max,
            searched: 0,
        }
    }
}

impl<'a, S> ReadExact<'a, S> {
    /// A read that has not looked yet.
    pub(super) fn new(stream: &'a mut BufferedStream<S>, n: usize, site: Site) -> Self {
        ReadExact {
            reading: Reading::new(stream, site),
            n,
        }
    }
}

impl<'a, S> ReadUntilClose<'a, S> {
    /// A read that has not looked yet.
    pub(super) fn new(stream: &'a mut BufferedStream<S>, max: usize, site: Site) -> Self {
        ReadUntilClose {
            reading: Reading::new(stream, site),
            max,
        }
    }
}

impl<S: AsyncRead + Unpin> Future for ReadUntil<'_, S> {
    type Output = Result<Vec<u8>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ReadUntil {
            reading,
            delimiter,
            max,
            searched,
        } = &mut *self;
        if delimiter.is_empty() {
            let error = io::Error::new(
                io::ErrorKind::InvalidInput,
                "the delimiter is empty; use read_exact or fill",
            );
            return Poll::Ready(Err(error.into()));
        }
        ready!(reading.poll_turn(cx))?;
        match ready!(poll_delimiter(reading, cx, delimiter, *max, searched))? {
            Some(end) => Poll::Ready(Ok(reading.stream.buffer_mut().take(end))),
            None => Poll::Ready(Err(ended_early(reading, "the delimiter"))),
        }
    }
}

impl<S: AsyncRead + Unpin> Future for ReadExact<'_, S> {
    type Output = Result<Vec<u8>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ReadExact { reading, n } = &mut *self;
        ready!(reading.poll_turn(cx))?;
        while reading.stream.buffer().len() < *n {
            if ready!(reading.poll_more(cx))? == 0 {
                return Poll::Ready(Err(ended_early(reading, &format!("{n} bytes had come"))));
            }
        }
        Poll::Ready(Ok(reading.stream.buffer_mut().take(*n)))
    }
}

impl<S: AsyncRead + Unpin> Future for ReadUntilClose<'_, S> {
    type Output = Result<Vec<u8>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ReadUntilClose { reading, max } = &mut *self;
        loop {
            let length = reading.stream.buffer().len();
            if length > *max {
                return Poll::Ready(Err(ErrorKind::TooLong { max: *max }.into()));
            }
            if ready!(reading.poll_more(cx))? == 0 {
                return Poll::Ready(Ok(reading.stream.buffer_mut().take(length)));
            }
        }
    }
}

/// Reads until the buffer holds the delimiter. Gives where it ends; `None` if the stream ended first.
///
/// # Errors
/// `TooLong` if it does not end within `max` bytes; what the stream says.
pub(super) fn poll_delimiter<S: AsyncRead + Unpin>(
    reading: &mut Reading<'_, S>,
    cx: &mut Context<'_>,
    delimiter: &[u8],
    max: usize,
    searched: &mut usize,
) -> Poll<Result<Option<usize>>> {
    loop {
        let arrived = reading.stream.buffer();
        let within = &arrived[..arrived.len().min(max)];
        if let Some(end) = find(within, delimiter, searched) {
            return Poll::Ready(Ok(Some(end)));
        }
        if arrived.len() >= max {
            return Poll::Ready(Err(ErrorKind::TooLong { max }.into()));
        }
        if ready!(reading.poll_more(cx))? == 0 {
            return Poll::Ready(Ok(None));
        }
    }
}

/// Where the first delimiter ends that ends after `searched`, which is moved on.
///
/// It looks for the delimiter's last byte: what lies before it has arrived by then, so it does not matter in which pieces.
fn find(bytes: &[u8], delimiter: &[u8], searched: &mut usize) -> Option<usize> {
    let last = *delimiter.last()?;
    while *searched < bytes.len() {
        let mut rest = &bytes[*searched..];
        // On a slice this is the standard library's memchr, and cannot fail.
        *searched += rest.skip_until(last).ok()?;
        if bytes[..*searched].ends_with(delimiter) {
            return Some(*searched);
        }
    }
    None
}

/// The stream ended before `what`.
fn ended_early<S>(reading: &Reading<'_, S>, what: &str) -> Error {
    let n = reading.stream.buffer().len();
    let text = format!(
        "the stream ended before {what}, in the read at {}. The {n} bytes that came can still be read with read_until_close.",
        reading.site
    );
    io::Error::new(io::ErrorKind::UnexpectedEof, text).into()
}

impl<S: AsyncRead + Unpin> BufferedStream<S> {
    /// Reads up to and including the first `delimiter`, which must end within the first `max` bytes. It may arrive in any pieces;
    /// the time is linear in what arrives.
    ///
    /// # Errors
    /// `TooLong` if `max` bytes have arrived and no delimiter ends within them. `UnexpectedEof` if the stream ends first. `InvalidInput`
    /// for an empty delimiter. What the stream says; `Cancelled`. In each case nothing is taken out of the buffer: what came can be read
    /// in another way, by [`read_until_close`](BufferedStream::read_until_close) also after the end.
    #[track_caller]
    pub fn read_until<'a>(&'a mut self, delimiter: &'a [u8], max: usize) -> ReadUntil<'a, S> {
        ReadUntil::new(self, delimiter, max, Location::caller())
    }

    /// Reads exactly `n` bytes; none at once if `n` is 0.
    ///
    /// # Errors
    /// `UnexpectedEof` if the stream ends first, with nothing taken. What the stream says; `Cancelled`.
    #[track_caller]
    pub fn read_exact(&mut self, n: usize) -> ReadExact<'_, S> {
        ReadExact::new(self, n, Location::caller())
    }

    /// Reads everything until the stream ends, at most `max` bytes. After the end it gives what is left, then nothing.
    ///
    /// # Errors
    /// `TooLong` if more than `max` bytes have arrived, with nothing taken. What the stream says; a second call then gives what came
    /// before it broke. `Cancelled`.
    #[track_caller]
    pub fn read_until_close(&mut self, max: usize) -> ReadUntilClose<'_, S> {
        ReadUntilClose::new(self, max, Location::caller())
    }
}

impl<S> fmt::Debug for ReadUntil<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadUntil")
            .field("reading", &self.reading)
            .field("delimiter", &self.delimiter.escape_ascii().to_string())
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for ReadExact<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadExact")
            .field("reading", &self.reading)
            .field("n", &self.n)
            .finish()
    }
}

impl<S> fmt::Debug for ReadUntilClose<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadUntilClose")
            .field("reading", &self.reading)
            .field("max", &self.max)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn a_delimiter_is_found_however_it_is_cut_into_pieces() {
        for (bytes, delimiter, end) in [
            (&b"abc\r\n\r\nrest"[..], &b"\r\n\r\n"[..], Some(7)),
            (b"\r\r\n\r\n\r\n", b"\r\n\r\n", Some(5)),
            (b"aaab", b"aab", Some(4)),
            (b"xaxa", b"xa", Some(2)),
            (b"abc", b"d", None),
            (b"ab", b"abc", None),
        ] {
            for cut in 0..=bytes.len() {
                let mut searched = 0;
                let first = find(&bytes[..cut], delimiter, &mut searched);
                let found = first.or_else(|| find(bytes, delimiter, &mut searched));
                assert_eq!(found, end, "{bytes:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_was_searched_is_not_searched_again() {
        let mut searched = 0;
        assert_eq!(find(b"abcabc", b"x", &mut searched), None);
        assert_eq!(searched, 6);
        assert_eq!(find(b"xbcabcx", b"x", &mut searched), Some(7));
    }
}
