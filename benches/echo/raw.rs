//! The smallest echo server as a plain mio loop.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

fn main() -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address"))?;
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    println!("{}", listener.local_addr()?);
    let (mut connections, mut last, mut events) = (HashMap::new(), 0, Events::with_capacity(1024));
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == Token(0) {
                while let Ok((mut stream, _)) = listener.accept() {
                    last += 1;
                    poll.registry().register(&mut stream, Token(last), Interest::READABLE)?;
                    connections.insert(Token(last), stream);
                }
            } else if connections.get_mut(&event.token()).is_some_and(|stream| echo(stream).is_err()) {
                connections.remove(&event.token());
            }
        }
    }
}

fn echo(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => stream.write_all(&buffer[..count])?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
