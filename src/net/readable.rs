//! [`Readable`]: waits for bytes without a buffer to put them into.
//!
//! It is apart from the transfers because it moves nothing. A server with many idle connections waits by it, and has a buffer only where
//! no wait is: what is not kept over a wait is not kept in the coroutine.
//!
//! 1. It is done when a read is worth trying: bytes have come, the peer has closed, the connection broke, or nobody knows yet.

#![expect(
    clippy::inline_always,
    reason = "what is asked is less than what a call would cost"
)]

use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::net::socket::Tried;
use crate::net::split::ReadHalf;
use crate::net::stream::TcpStream;
use crate::net::transfer::{READ, TcpSocket};
use crate::site::Site;
use crate::sources::Direction;
use crate::waiter::Note;

/// A wait for bytes that is awaited; see [`TcpStream::readable`].
#[must_use = "a wait does nothing until it is awaited"]
pub struct Readable<'a> {
    /// Of which socket; none once it is done.
    socket: Option<&'a TcpSocket>,
    /// Where it was asked for.
    site: Site,
}

impl<'a> Readable<'a> {
    /// A wait that has not begun.
    #[inline]
    fn new(socket: &'a TcpSocket, site: Site) -> Self {
        Readable {
            socket: Some(socket),
            site,
        }
    }
}

impl Future for Readable<'_> {
    type Output = io::Result<()>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(socket) = self.socket else {
            return Poll::Ready(Ok(()));
        };
        let note = || Note {
            kind: &READ,
            site: Some(self.site),
        };
        let nothing = |_: &_| {
            Ok(Tried {
                value: (),
                short: false,
            })
        };
        let done = ready!(socket.poll_io(Direction::Read, false, cx, note, nothing));
        self.socket = None;
        Poll::Ready(done.map_err(io::Error::from))
    }
}

impl Drop for Readable<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(socket) = self.socket {
            socket.settle(Direction::Read);
        }
    }
}

impl TcpStream {
    /// Waits until a read is worth trying: bytes have come, or the end. Once in a while it is in vain, so
    /// [`try_read`](TcpStream::try_read) may still find nothing.
    ///
    /// So a coroutine that waits keeps no buffer: one whose scope ends before the next `.await` is no part of it.
    ///
    /// Dropped before it is done, it has changed nothing.
    ///
    /// # Errors
    /// A cancel, as kind `Other`.
    ///
    /// ```
    /// # use std::io::ErrorKind;
    /// # use yieldpoint::net::{TcpListener, TcpStream};
    /// # use yieldpoint::{EventLoop, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// # let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
    /// # let mut client = TcpStream::connect(co.handle(), listener.local_addr()?).await?;
    /// # let (mut server, _) = listener.accept().await?;
    /// client.write_all(b"ping").await?;
    /// # drop(client);
    /// let mut received = Vec::new();
    /// loop {
    ///     server.readable().await?;
    ///     let mut buf = [0; 4096]; // not there while it waits
    ///     match server.try_read(&mut buf) {
    ///         Ok(0) => break,
    ///         Ok(n) => received.extend_from_slice(&buf[..n]),
    ///         Err(error) if error.kind() == ErrorKind::WouldBlock => {}
    ///         Err(error) => return Err(error.into()),
    ///     }
    /// }
    /// assert_eq!(received, b"ping");
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn readable(&mut self) -> Readable<'_> {
        Readable::new(self.socket(), Location::caller())
    }
}

impl ReadHalf {
    /// Waits until a read is worth trying; see [`TcpStream::readable`].
    ///
    /// # Errors
    /// As for [`TcpStream::readable`].
    #[inline]
    #[track_caller]
    pub fn readable(&mut self) -> Readable<'_> {
        Readable::new(self.socket(), Location::caller())
    }
}

impl fmt::Debug for Readable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readable")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}
