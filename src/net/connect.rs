//! [`Connect`]: a connection being made.
//!
//! ```text
//!             next address            writable, no error, has a peer
//!   Waiting ───────────────▶ Trying ─────────────────────────────────▶ done
//!                             ▲   │ error
//!                             └───┘ the next address, until there is none: the last error
//! ```

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::net::address::{Purpose, at_address, resolve};
use crate::net::socket::{Socket, Tried};
use crate::net::stream::TcpStream;
use crate::net::transfer::TcpSocket;
use crate::shared::Shared;
use crate::site::Site;
use crate::sources::Direction;
use crate::waiter::{Kind, Note};

static CONNECT: Kind = Kind("connect");

/// A connect that is awaited; see [`TcpStream::connect`]. Dropping it gives the attempt up.
#[must_use = "a connect does nothing until it is awaited"]
pub struct Connect {
    /// Whose sockets.
    shared: Rc<Shared>,
    /// The addresses still to be tried.
    addresses: std::vec::IntoIter<SocketAddr>,
    /// The attempt under way.
    attempt: Option<Attempt>,
    /// What went wrong last.
    failed: Option<Error>,
    /// Where it was asked for.
    site: Site,
}

/// One attempt.
struct Attempt {
    /// The socket.
    socket: TcpSocket,
    /// To which address.
    address: SocketAddr,
}

impl Connect {
    /// A connect to the first of these addresses that answers.
    pub(super) fn new(handle: &Handle, address: impl ToSocketAddrs, site: Site) -> Self {
        let (addresses, failed) = match resolve(address) {
            Ok(addresses) => (addresses, None),
            Err(error) => (Vec::new(), Some(error.into())),
        };
        Connect {
            shared: Rc::clone(handle.shared()),
            addresses: addresses.into_iter(),
            attempt: None,
            failed,
            site,
        }
    }

    /// Starts the next attempt. Whether there was an address left.
    fn start_next(&mut self) -> bool {
        let Some(address) = self.addresses.next() else {
            return false;
        };
        let started = match mio::net::TcpStream::connect(address) {
            Ok(io) => Socket::watched_by(&self.shared, io),
            Err(error) => Err(at_address(Purpose::Connect, address, error).into()),
        };
        match started {
            Ok(socket) => {
                self.attempt = Some(Attempt { socket, address });
            }
            Err(error) => self.failed = Some(error),
        }
        true
    }
}

impl Attempt {
    /// Looks whether the connection is made.
    fn poll(&mut self, cx: &Context<'_>, site: Site) -> Poll<Result<io::Result<()>>> {
        let note = Note {
            kind: &CONNECT,
            site: Some(site),
        };
        self.socket.poll_io(
            Direction::Write,
            false,
            cx,
            || note,
            |io| {
                let outcome = match io.take_error()? {
                    Some(error) => Err(error),
                    // Writable alone does not mean connected: the socket has a peer only then.
                    None => match io.peer_addr() {
                        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                            return Err(io::ErrorKind::WouldBlock.into());
                        }
                        other => other.map(drop),
                    },
                };
                Ok(Tried {
                    value: outcome,
                    short: false,
                })
            },
        )
    }
}

impl Future for Connect {
    type Output = Result<TcpStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let site = self.site;
            if let Some(attempt) = &mut self.attempt {
                let address = attempt.address;
                let outcome = match attempt.poll(cx, site) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(outcome) => outcome,
                };
                let attempt = self.attempt.take();
                match outcome {
                    // A cancel ends it all; the system's word on one address only that attempt.
                    Err(error) => return Poll::Ready(Err(error)),
                    Ok(Err(error)) => {
                        self.failed = Some(at_address(Purpose::Connect, address, error).into());
                    }
                    Ok(Ok(())) => {
                        let attempt = attempt.expect("it was there a moment ago");
                        return Poll::Ready(Ok(TcpStream::of(attempt.socket)));
                    }
                }
            }
            if !self.start_next() {
                let error = self.failed.take();
                return error.map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
            }
        }
    }
}

impl TcpStream {
    /// Connects to the first of the addresses that answers. They are tried in the order given, one after the other.
    ///
    /// A host name is looked up within this call, which blocks the thread for as long as the system takes. Where that matters, look
    /// it up with `co.blocking` first. The future does nothing else until it is awaited.
    ///
    /// # Errors
    /// What the look-up says; `InvalidInput` if it gives no address; what the system says of the last address, with that address in
    /// the text; `Cancelled`; `LoopGone`.
    ///
    /// ```
    /// # use yieldpoint::net::TcpStream;
    /// # use yieldpoint::{EventLoop, ErrorKind, Result};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let nobody = "127.0.0.1:1"; // nothing listens there
    /// let error = TcpStream::connect(co.handle(), nobody).await.expect_err("nothing listens there");
    /// assert!(error.to_string().starts_with(&format!("cannot connect to {nobody}")));
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    #[track_caller]
    pub fn connect(handle: &Handle, address: impl ToSocketAddrs) -> Connect {
        Connect::new(handle, address, Location::caller())
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = self.attempt.as_ref().map(|attempt| attempt.address);
        f.debug_struct("Connect")
            .field("site", &self.site)
            .field("to", &to)
            .finish_non_exhaustive()
    }
}
