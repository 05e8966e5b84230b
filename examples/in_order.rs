//! The reason to be, over real TCP: a server hands every line it receives to an API that answers through a callback, and the answer
//! for `A` takes longer than the answer for `B`. A client sends both at once.
//!
//! With a coroutine per line the answers come back as they are ready; with the ordered engine they come back as they were asked for.
//! The last two lines of the output are
//!
//! ```text
//! engine:  B A
//! ordered: A B
//! ```
//!
//! `--listen ADDR` serves real clients with both ways, until Ctrl-C:
//!
//! ```text
//! cargo run --release --example in_order -- --listen 127.0.0.1:7000
//! printf 'A\nB\n' | nc -q 1 127.0.0.1 7000
//! ```

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::thread;

use yieldpoint::net::{BufferedStream, TcpListener, TcpStream, WriteHalf};
use yieldpoint::{Call, Co, EventLoop, Handle, Ordered, Result, ms};

/// The API we are given: it answers later, through a callback. `A` takes longer than the rest.
fn look_up(handle: &Handle, line: &str, callback: impl FnOnce(String) + 'static) {
    let answer = line.to_owned();
    let takes = if answer == "A" { ms(60) } else { ms(20) };
    handle.call_later(takes, move || callback(answer));
}

/// How the lines of one connection are handled.
#[derive(Clone, Copy)]
enum How {
    /// A coroutine per line: answers as they are ready.
    Engine,
    /// The ordered engine: answers as they were asked for.
    Ordered,
}
