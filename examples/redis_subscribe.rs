//! A small Redis client that subscribes: pushed messages are handled with a callback, in the order in which they were published.
//!
//! The bytes come from a [`BufferedStream`] and the protocol from a codec that knows no sockets (`redis-protocol`). Between the two stands
//! [`Replies::next`]: it looks at what has arrived, waits for more if that is half a frame, and takes the frame when it is whole.
//!
//! ```text
//!           REDIS_ADDR
//!   Redis ─────────────▶ BufferedStream ──▶ decode ──▶ on_message(channel, payload)
//!     ▲                    fill, buffer, consume
//!     └── PUBLISH ── a second connection
//! ```
//!
//! The server is the one at `REDIS_ADDR`, or at 127.0.0.1:6379. Without one the example says so and ends.
//!
//! ```text
//! redis-server --port 7001 &
//! REDIS_ADDR=127.0.0.1:7001 cargo run --release --example redis_subscribe
//! ```

use std::cell::RefCell;
use std::process;
use std::rc::Rc;

use redis_protocol::resp2::types::{BorrowedFrame, OwnedFrame as Frame, Resp2Frame};
use redis_protocol::resp2::{decode, encode};
use yieldpoint::net::{BufferedStream, ReadHalf, TcpStream, WriteHalf};
use yieldpoint::{Co, Error, EventLoop, JoinHandle, Result, ms};

/// What the server sends, frame by frame.
struct Replies(BufferedStream<ReadHalf>);

impl Replies {
    /// Takes the next frame, however many reads it comes in.
    async fn next(&mut self) -> Result<Frame> {
        loop {
            if let Some((frame, length)) = decode::decode(self.0.buffer()).map_err(Error::other)? {
                self.0.consume(length);
                return match frame {
                    Frame::Error(text) => Err(Error::other(format!("Redis refuses: {text}"))),
                    frame => Ok(frame),
                };
            }
            if self.0.fill().await? == 0 {
                return Err(Error::other("Redis has closed the connection"));
            }
        }
    }
}

/// What the server is told, command by command.
struct Commands(WriteHalf);

impl Commands {
    async fn send(&mut self, words: &[&[u8]]) -> Result {
        let words: Vec<_> = words
            .iter()
            .map(|word| BorrowedFrame::BulkString(word))
            .collect();
        let command = BorrowedFrame::Array(&words);
        let mut bytes = vec![0; command.encode_len(false)];
        encode::encode_borrowed(&mut bytes, &command, false).map_err(Error::other)?;
        Ok(self.0.write_all(&bytes).await?)
    }
}

fn split(connection: TcpStream) -> (Replies, Commands) {
    let (reader, writer) = connection.split();
    (Replies(reader.buffered()), Commands(writer))
}

/// A subscription to one channel. Dropping it ends it.
struct Subscription {
    channel: String,
    commands: Commands,
    listening: JoinHandle<()>,
}

impl Subscription {
    /// Subscribes. From here on `on_message(channel, payload)` is called for each message, one after the other.
    async fn start(
        co: &Co,
        connection: TcpStream,
        channel: &str,
        mut on_message: impl FnMut(&str, &[u8]) + 'static,
    ) -> Result<Self> {
        let (mut replies, mut commands) = split(connection);
        commands.send(&[b"SUBSCRIBE", channel.as_bytes()]).await?;
        replies.next().await?; // the server confirms: nothing published later is missed
        let listening = co
            .handle()
            .spawn(async move |_| -> Result { listen(&mut replies, &mut on_message).await })
            .named("subscription")
            .cancel_on_drop();
        Ok(Subscription {
            channel: channel.to_owned(),
            commands,
            listening,
        })
    }

    /// Unsubscribes, and waits until the server confirms: every message before that has been handled.
    async fn end(mut self) -> Result {
        let command = [b"UNSUBSCRIBE", self.channel.as_bytes()];
        self.commands.send(&command).await?;
        self.listening.await
    }
}

/// Calls back for each message, until the server confirms the end.
async fn listen(replies: &mut Replies, on_message: &mut impl FnMut(&str, &[u8])) -> Result {
    loop {
        let pushed = replies.next().await?;
        let Frame::Array(parts) = &pushed else {
            return Err(Error::other(format!("no message: {pushed:?}")));
        };
        let parts: Vec<_> = parts.iter().map(|part| part.as_bytes()).collect();
        match parts[..] {
            [Some(b"message"), Some(channel), Some(payload)] => {
                on_message(&String::from_utf8_lossy(channel), payload);
            }
            [Some(b"unsubscribe"), ..] => return Ok(()),
            _ => return Err(Error::other(format!("no message: {pushed:?}"))),
        }
    }
}

/// Publishes a message. Gives how many subscribers it reached.
async fn publish(redis: &mut (Replies, Commands), channel: &str, payload: &[u8]) -> Result<i64> {
    let (replies, commands) = redis;
    let command = [b"PUBLISH", channel.as_bytes(), payload];
    commands.send(&command).await?;
    match replies.next().await? {
        Frame::Integer(reached) => Ok(reached),
        other => Err(Error::other(format!("no number: {other:?}"))),
    }
}

/// Subscribes, publishes to itself, and checks that every message came, in order.
async fn talk(co: &Co, subscriber: TcpStream, publisher: TcpStream) -> Result {
    let channel = format!("yieldpoint-example-{}", process::id());
    let heard = Rc::new(RefCell::new(vec![]));
    let on_message = {
        let heard = Rc::clone(&heard);
        move |channel: &str, payload: &[u8]| {
            let start = payload[..payload.len().min(24)].escape_ascii();
            println!("{channel}: {start} ({} bytes)", payload.len());
            heard.borrow_mut().push(payload.to_vec());
        }
    };
    let subscription = Subscription::start(co, subscriber, &channel, on_message).await?;

    let messages = [
        b"hello".to_vec(),
        b"two\r\nlines".to_vec(),
        vec![],
        vec![0xff; 1_000_000], // comes in many reads
        b"good-bye".to_vec(),
    ];
    let mut publisher = split(publisher);
    for message in &messages {
        assert_eq!(publish(&mut publisher, &channel, message).await?, 1);
    }
    subscription.end().await?;
    assert_eq!(*heard.borrow(), messages, "all of them, in order");
    println!("the callback saw all {} messages, in order", messages.len());
    Ok(())
}

fn main() -> Result {
    let address = std::env::var("REDIS_ADDR").unwrap_or_else(|_| "127.0.0.1:6379".to_owned());
    EventLoop::new()?.block_on(async |co| {
        let connect = async || -> Result<_> {
            let connect = || TcpStream::connect(co.handle(), &address);
            Ok((connect().await?, connect().await?))
        };
        match co.timeout(ms(5_000), connect()).await {
            Ok((first, second)) => co.timeout(ms(30_000), talk(&co, first, second)).await,
            Err(error) => {
                println!("no Redis server at {address}: {error}");
                println!(
                    "Start one with `redis-server`, or name one that runs: REDIS_ADDR=host:port"
                );
                Ok(())
            }
        }
    })
}
