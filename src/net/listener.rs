//! [`TcpListener`]: takes connections, and outlasts a shortage of file descriptors.
//!
//! Invariants:
//! 1. A shortage is reported once, until an accept works again or finds nobody waiting. The kernel keeps who connects meanwhile in its
//!    queue, and would tell of them no second time: the listener asks again by a timer.
//! 2. While it waits for that timer it waits for nothing else, so a shortage makes no spin.
//!
//! ```text
//!                accept                     no descriptor: report
//!   Accepting ───────────▶ connection   Accepting ──────────────▶ Short ──┐ timer, no descriptor:
//!       ▲                                                          │  ▲   │ wait twice as long
//!       └──────────────────────────────────────────────────────────┘  └───┘
//!                      timer, and it works again
//! ```

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;

use crate::clock::nanos;
use crate::error::Result;
use crate::handle::Handle;
use crate::incident::Incident;
use crate::net::address::{Purpose, at_address, resolve};
use crate::net::socket::{Socket, Tried};
use crate::net::stream::TcpStream;
use crate::site::Site;
use crate::sources::Direction;
use crate::timers::TimerId;
use crate::waiter::{Kind, Note, WaiterSlot};

static ACCEPT: Kind = Kind("accept");
static ACCEPT_AGAIN: Kind = Kind("accept, waiting for a file descriptor");

/// How long a listener first waits for a file descriptor.
const FIRST_WAIT: Duration = Duration::from_millis(10);
/// How long it waits at most.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// What the kernel hands out: a connection and who made it.
type Accepted = (mio::net::TcpStream, SocketAddr);

/// Listens for TCP connections. Dropping it closes it, and with it the connections that nobody has accepted.
///
/// ```
/// # use yieldpoint::net::{TcpListener, TcpStream};
/// # use yieldpoint::{EventLoop, Result};
/// # EventLoop::new()?.block_on(async |co| -> Result {
/// let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?; // 0: the system chooses a port
/// let client = std::net::TcpStream::connect(listener.local_addr()?)?;
/// let (_stream, peer) = listener.accept().await?;
/// assert_eq!(peer, client.local_addr()?);
/// # Ok(())
/// # })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
pub struct TcpListener {
    /// The socket.
    socket: Socket<mio::net::TcpListener>,
    /// The shortage of descriptors it is in.
    shortage: Option<Shortage>,
}

/// A shortage of file descriptors.
struct Shortage {
    /// How long the wait under way lasts.
    wait: Duration,
    /// Its timer; `None` between two waits.
    timer: Option<TimerId>,
}

impl TcpListener {
    /// Listens on the first of the addresses that can be had. A port that was in use a moment ago can be had (`SO_REUSEADDR`).
    ///
    /// A host name is looked up within this call, which blocks the thread for as long as the system takes.
    ///
    /// # Errors
    /// What the system says of the last address, with that address in the text: `AddrInUse` if somebody listens there; `InvalidInput`
    /// if there is no address; `LoopGone`.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, net::TcpListener};
    /// let event_loop = EventLoop::new()?;
    /// let first = TcpListener::bind(&event_loop.handle(), "127.0.0.1:0")?;
    /// let taken = first.local_addr()?;
    /// let error = TcpListener::bind(&event_loop.handle(), taken).expect_err("it is in use");
    /// assert!(error.to_string().starts_with(&format!("cannot listen on {taken}")));
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn bind(handle: &Handle, address: impl ToSocketAddrs) -> Result<Self> {
        let mut failed = None;
        for address in resolve(address)? {
            match mio::net::TcpListener::bind(address) {
                Ok(io) => return Self::of(handle, io),
                Err(error) => failed = Some(at_address(Purpose::Listen, address, error)),
            }
        }
        let error = failed.expect("a look-up that works gives an address");
        Err(error.into())
    }

    /// Takes over a listener of the standard library. It is set not to block.
    ///
    /// # Errors
    /// What the system says; `LoopGone`.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, net::TcpListener};
    /// let event_loop = EventLoop::new()?;
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let listener = TcpListener::from_std(&event_loop.handle(), listener)?;
    /// assert_eq!(listener.local_addr()?, address);
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn from_std(handle: &Handle, listener: std::net::TcpListener) -> Result<Self> {
        listener.set_nonblocking(true)?;
        Self::of(handle, mio::net::TcpListener::from_std(listener))
    }

    /// The listener of a socket.
    fn of(handle: &Handle, io: mio::net::TcpListener) -> Result<Self> {
        Ok(TcpListener {
            socket: Socket::new(handle, io)?,
            shortage: None,
        })
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.io().local_addr()
    }

    /// Waits for the next connection. Gives it with the address of who made it, in the order in which the kernel has them.
    ///
    /// A connection that broke before it was accepted is passed over. When no file descriptor or no memory is left,
    /// [`Incident::Accept`] goes to the error hook, once for each shortage, and the listener asks again after 10 to 100 milliseconds
    /// of the loop's clock until it works. Dropped before it is done, it has accepted nothing.
    ///
    /// # Errors
    /// What the system says otherwise; `Cancelled`.
    #[track_caller]
    pub fn accept(&mut self) -> Accept<'_> {
        Accept {
            listener: self,
            site: Location::caller(),
        }
    }

    /// Begins the next wait for a descriptor, and reports the shortage if it has only begun.
    fn wait_for_descriptor(&mut self, error: &io::Error) {
        let shared = self.socket.shared();
        if self.shortage.is_none() {
            shared.report(&Incident::Accept {
                error: error.to_string(),
            });
        }
        let wait = self
            .shortage
            .as_ref()
            .map_or(FIRST_WAIT, |last| (last.wait * 2).min(LONGEST_WAIT));
        let timer = shared.arm(nanos(wait), WaiterSlot::EMPTY);
        self.shortage = Some(Shortage {
            wait,
            timer: Some(timer),
        });
    }

    /// Whether the wait for a descriptor, if there is one, is over.
    fn poll_shortage(&mut self, cx: &Context<'_>, site: Site) -> Poll<Result> {
        let Some(shortage) = &mut self.shortage else {
            return Poll::Ready(Ok(()));
        };
        let Some(timer) = shortage.timer else {
            return Poll::Ready(Ok(()));
        };
        let shared = self.socket.shared();
        let Some(slot) = shared.timer_waiter(timer) else {
            shortage.timer = None;
            return Poll::Ready(Ok(()));
        };
        let note = Note {
            kind: &ACCEPT_AGAIN,
            site: Some(site),
        };
        let parked = shared.park(slot, cx, note);
        shared.set_timer_waiter(timer, *parked.as_ref().unwrap_or(&slot.vacated()));
        match parked {
            Ok(_) => Poll::Pending,
            Err(cancel) => Poll::Ready(Err(cancel)),
        }
    }

    /// Gives up the wait for a descriptor. The shortage itself is not over.
    fn give_up_wait(&mut self) {
        let Some(timer) = self.shortage.as_mut().and_then(|last| last.timer.take()) else {
            return;
        };
        self.socket.shared().give_up_timer(timer);
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.io().as_fd()
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.io().as_raw_fd()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

/// An accept that is awaited; see [`TcpListener::accept`].
#[must_use = "an accept does nothing until it is awaited"]
pub struct Accept<'a> {
    /// Of which listener.
    listener: &'a mut TcpListener,
    /// Where it was asked for.
    site: Site,
}

impl Future for Accept<'_> {
    type Output = Result<(TcpStream, SocketAddr)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let site = self.site;
        let note = Note {
            kind: &ACCEPT,
            site: Some(site),
        };
        let listener = &mut *self.listener;
        loop {
            match listener.poll_shortage(cx, site) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(cancel)) => return Poll::Ready(Err(cancel)),
                Poll::Pending => return Poll::Pending,
            }
            let tried = listener
                .socket
                .poll_io(Direction::Read, false, cx, || note, accept);
            match tried {
                Poll::Ready(Ok(Ok((io, peer)))) => {
                    listener.shortage = None;
                    let socket = Socket::watched_by(listener.socket.shared(), io)?;
                    return Poll::Ready(Ok((TcpStream::of(socket), peer)));
                }
                Poll::Ready(Ok(Err(shortage))) => listener.wait_for_descriptor(&shortage),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    listener.shortage = None;
                    return Poll::Pending;
                }
            }
        }
    }
}

/// Takes one connection out of the kernel's queue. A shortage is a value; what concerns only the connection is passed over.
fn accept(io: &mio::net::TcpListener) -> io::Result<Tried<io::Result<Accepted>>> {
    let value = match io.accept() {
        Err(error) if is_shortage(&error) => Err(error),
        // The connection is gone from the queue: the next try meets the next one.
        Err(error) if is_of_the_connection(&error) => {
            return Err(io::ErrorKind::Interrupted.into());
        }
        other => Ok(other?),
    };
    Ok(Tried {
        value,
        short: false,
    })
}

/// Whether descriptors or memory have run out.
fn is_shortage(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}

/// Whether it tells of a connection that broke while it waited in the queue. Linux passes such errors on through `accept`.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
        )
    )
}

impl Drop for Accept<'_> {
    fn drop(&mut self) {
        self.listener.give_up_wait();
        self.listener.socket.settle(Direction::Read);
    }
}

impl fmt::Debug for Accept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accept")
            .field("site", &self.site)
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}
