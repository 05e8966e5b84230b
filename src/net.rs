//! TCP: a listener, streams, their halves, and a buffered stream that reads by lines and delimiters.
//!
//! ```
//! use yieldpoint::net::{TcpListener, TcpStream};
//! use yieldpoint::{EventLoop, Result};
//!
//! let answer = EventLoop::new()?.block_on(async |co| -> Result<Option<String>> {
//!     let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
//!     let address = listener.local_addr()?;
//!     let server = co.handle().spawn(async move |_| -> Result {
//!         let mut stream = listener.accept().await?.0.buffered();
//!         while let Some(line) = stream.read_line(1024).await? {
//!             stream.write_all(format!("{line}, too\n").as_bytes()).await?;
//!         }
//!         Ok(())
//!     });
//!     let mut client = TcpStream::connect(co.handle(), address).await?.buffered();
//!     client.write_all(b"hello\n").await?;
//!     let answer = client.read_line(1024).await?;
//!     drop(client);
//!     server.await?;
//!     Ok(answer)
//! })?;
//! assert_eq!(answer.as_deref(), Some("hello, too"));
//! # Ok::<(), yieldpoint::Error>(())
//! ```
//!
//! # What holds for all of them
//!
//! - A transfer is tried at once and waits only if the kernel has nothing, or no room. One coroutine reads and one writes at a time:
//!   both take `&mut self`, and [`TcpStream::split`] gives each its own half.
//! - So that one busy peer starves nobody, a socket gives way after 64 transfers in one resume, as [`Co::yield_now`](crate::Co::yield_now) does.
//! - Dropping a future that waits, and cancelling who awaits it, loses no byte: bytes leave the kernel only in the poll that hands them
//!   out, or into the buffer of the [`BufferedStream`], where the next read finds them.
//! - A cancel comes as [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) out of what returns [`Error`](crate::Error), and as an
//!   [`io::Error`](std::io::Error) of kind `Other` out of what returns that; `?` turns the second into the first. It is never `Interrupted`.
//! - A connection costs what its coroutine keeps while it waits. [`TcpStream::readable`] waits without a buffer; the buffer of a
//!   [`BufferedStream`] is small, or gone, while nothing arrives.
//! - Dropping a stream closes it. What the kernel has taken is still sent.
//!
//! # One buffer for all connections
//!
//! A server of many busy connections does best if they share a buffer: each waits without one, and what it takes from the kernel it
//! handles before anybody else runs. So a connection is a few words that lie close together, and its bytes go where others were a
//! moment ago.
//!
//! ```
//! use std::cell::RefCell;
//! use std::io::ErrorKind::WouldBlock;
//! use std::rc::Rc;
//!
//! use yieldpoint::Result;
//! use yieldpoint::net::TcpStream;
//!
//! /// Sends back what arrives until the peer closes.
//! async fn echo(mut stream: TcpStream, shared: Rc<RefCell<[u8; 4096]>>) -> Result {
//!     loop {
//!         stream.readable().await?;
//!         let rest = {
//!             let mut buffer = shared.borrow_mut();
//!             let count = match stream.try_read(&mut *buffer) {
//!                 Ok(0) => return Ok(()),
//!                 Err(error) if error.kind() == WouldBlock => continue,
//!                 read => read?,
//!             };
//!             let written = match stream.try_write(&buffer[..count]) {
//!                 Err(error) if error.kind() == WouldBlock => 0,
//!                 written => written?,
//!             };
//!             buffer[written..count].to_vec() // empty, unless the peer is slow
//!         };
//!         stream.write_all(&rest).await?;
//!     }
//! }
//! #
//! # use yieldpoint::EventLoop;
//! # use yieldpoint::net::TcpListener;
//! # EventLoop::new()?.block_on(async |co| -> Result {
//! # let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
//! # let mut client = TcpStream::connect(co.handle(), listener.local_addr()?).await?.buffered();
//! # let (server, _) = listener.accept().await?;
//! # let echoing = co.handle().spawn_future(echo(server, Rc::new(RefCell::new([0; 4096]))));
//! # let question = vec![7; 10_000];
//! # client.write_all(&question).await?;
//! # assert_eq!(client.read_exact(10_000).await?, question);
//! # drop(client);
//! # echoing.await?
//! # })?;
//! # Ok::<(), yieldpoint::Error>(())
//! ```
//!
//! Source: `tornado.iostream`, with half-close added and callbacks left out.

// From the ground up, as in lib.rs.
mod address;

mod buffer;

mod socket;

mod transfer;

mod buffered;

mod reading;

mod read_until;

mod line;

mod stream;

mod split;

mod connect;

mod listener;

mod readable;

mod trying;

pub use buffered::BufferedStream;
pub use connect::Connect;
pub use line::{Lines, ReadLine};
pub use listener::{Accept, TcpListener};
pub use read_until::{ReadExact, ReadUntil, ReadUntilClose};
pub use readable::Readable;
pub use reading::{Fill, WriteOut};
pub use split::{ReadHalf, WriteHalf};
pub use stream::TcpStream;
pub use transfer::{Read, Write, WriteAll, WriteVectored};
