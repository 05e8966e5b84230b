//! A chat by lines, for many clients over TCP. The first line a client sends is its name; every other line goes to everybody, itself
//! included, and all get all lines in one order. `/who` shows every coroutine of the server and what it waits for.
//!
//! ```text
//!            TCP                       engine: one by one              queue, bounded             TCP
//!   client ───────▶ coroutine "alice" ──────▶ room ──┬──▶ lines ──▶ coroutine "alice, out" ───────────▶ client
//!                                                    └──▶ lines ──▶ coroutine "bob, out" ─────────────▶ client
//! ```
//!
//! Nobody waits for a client that reads slowly: when its queue is full it is out of the room. It still gets what is in the queue, is told
//! why, and is hung up on; if it does not read at all, that ends after ten seconds.
//!
//! Without arguments this is a demonstration in one process, with clients in threads. For real clients, until Ctrl-C:
//!
//! ```text
//! cargo run --release --example chat -- --listen 127.0.0.1:7000
//! nc 127.0.0.1 7000
//! ```

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use yieldpoint::net::{BufferedStream, ReadHalf, TcpListener, TcpStream, WriteHalf};
use yieldpoint::sync::{QueueReceiver, QueueSender, queue};
use yieldpoint::{Call, Co, CoroutineId, Either, Error, ErrorKind, EventLoop, Ordered};
use yieldpoint::{Result, ms};

/// The longest line, in bytes.
const LONGEST: usize = 4096;
/// How many lines a client may be behind, besides what the kernel keeps for it.
const BEHIND: usize = 64;
/// How long one line may take on its way out.
const PATIENCE: Duration = ms(10_000);
/// The last words to a client that was too slow.
const TOO_SLOW: &str = "* you read too slowly: good-bye";

/// One client, as the room knows it. Two may have the same name; their coroutines tell them apart.
struct Member {
    id: CoroutineId,
    name: String,
    lines: QueueSender<Rc<str>>,
}

/// What the room hears of.
enum News {
    Joined(Member),
    Said(CoroutineId, String),
    Left(CoroutineId),
}

/// The room: handles one piece of news at a time, and that makes the one order of all lines.
type Room = Ordered<Vec<Member>, News>;

async fn on_news(call: Call, members: &mut Vec<Member>, news: News) -> Result {
    let member = |members: &[Member], id| members.iter().position(|member| member.id == id);
    let line = match news {
        News::Joined(member) => {
            members.push(member);
            format!("* {} joined", members[members.len() - 1].name)
        }
        News::Said(id, words) => match member(members, id) {
            Some(at) => format!("{}: {words}", members[at].name),
            None => return Ok(()), // it is out already
        },
        News::Left(id) => match member(members, id) {
            Some(at) => format!("* {} left", members.remove(at).name),
            None => return Ok(()),
        },
    };
    tell(members, line);
    // All who were told write now, before the next news: a queue fills up only when its client does not read.
    call.yield_now().await
}

/// Hands a line to everybody. Whose queue is full is out, and the others hear of it next.
fn tell(members: &mut Vec<Member>, line: String) {
    let mut news = VecDeque::from([line]);
    while let Some(line) = news.pop_front() {
        let line = Rc::from(line + "\n");
        members.retain(|member| {
            let refused = member.lines.try_send(Rc::clone(&line)).err();
            let slow = refused.is_some_and(|refused| refused.is_full());
            if slow {
                member.lines.close();
                news.push_back(format!("* {} reads too slowly and is out", member.name));
            }
            !slow
        });
    }
}

/// Lets clients in, until it is cancelled.
async fn let_in(co: &Co, mut listener: TcpListener, room: Room) -> Result {
    loop {
        let (stream, peer) = listener.accept().await?;
        let room = room.clone();
        co.spawn(async move |co| everyday(converse(&co, stream.buffered(), room).await))
            .named(peer.to_string())
            .detach();
    }
}

/// One client, from its name to its end.
async fn converse(co: &Co, mut stream: BufferedStream<TcpStream>, room: Room) -> Result {
    stream.write_all(b"* your name?\n").await?;
    let name = words(&stream.read_until(b"\n", 64).await?);
    co.set_name(name.clone());
    let (reader, writer) = stream.split();
    let (lines, kept) = queue(co.handle(), BEHIND);
    let mut writing = co
        .handle()
        .spawn(async move |co| write_out(&co, writer, kept).await)
        .named(format!("{name}, out"))
        .cancel_on_drop();
    let (id, own) = (co.id(), lines.clone());
    room.send(News::Joined(Member { id, name, lines })).await?;
    let ended = co
        .first((listen(co, reader, &room, &own), &mut writing))
        .await;
    own.close();
    room.send(News::Left(id)).await?;
    match ended {
        Either::Left(heard) => {
            writing.await?; // what it was told before it left
            heard
        }
        // The room has closed the queue, and all that was in it is written.
        Either::Right(writer) => {
            let farewell = format!("{TOO_SLOW}\n");
            let mut writer = writer?;
            Ok(co
                .timeout(PATIENCE, writer.write_all(farewell.as_bytes()))
                .await?)
        }
    }
}

/// Tells the room every line of a client. A last line without its end is not said: who knows what it was to become?
async fn listen(
    co: &Co,
    mut reader: BufferedStream<ReadHalf>,
    room: &Room,
    own: &QueueSender<Rc<str>>,
) -> Result {
    loop {
        match words(&reader.read_until(b"\n", LONGEST).await?).as_str() {
            "/who" => {
                let table = format!("{}\n", co.handle().snapshot());
                drop(own.try_send(table.into())); // who reads too slowly does not get it
            }
            words => room.send(News::Said(co.id(), words.to_owned())).await?,
        }
    }
}

/// Writes the lines of one client until its queue is closed and empty.
async fn write_out(
    co: &Co,
    mut writer: WriteHalf,
    lines: QueueReceiver<Rc<str>>,
) -> Result<WriteHalf> {
    while let Some(line) = lines.recv().await? {
        co.timeout(PATIENCE, writer.write_all(line.as_bytes()))
            .await?;
    }
    Ok(writer)
}

/// A line as text, whatever its bytes are.
fn words(line: &[u8]) -> String {
    String::from_utf8_lossy(line.trim_ascii_end()).into_owned()
}

/// That a client goes, breaks off, says too much at once or reads nothing is everyday; any other error is one.
fn everyday(ended: Result) -> Result {
    ended.or_else(|error| match error.kind() {
        ErrorKind::Io(_) | ErrorKind::TooLong { .. } | ErrorKind::Elapsed { .. } => Ok(()),
        _ => Err(error),
    })
}

fn main() -> Result {
    let mut arguments = std::env::args().skip(1);
    let (address, real) = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => ("127.0.0.1:0".to_owned(), false),
        (Some("--listen"), Some(address)) => (address, true),
        _ => return Err(Error::other("usage: chat [--listen HOST:PORT]")),
    };
    EventLoop::new()?.block_on(async |co| {
        let room: Room = Ordered::with_state(vec![])
            .named("room")
            .serve(co.handle(), on_news);
        let listener = TcpListener::bind(co.handle(), address)?;
        let address = listener.local_addr()?;
        let door = room.clone();
        let front_door = co
            .handle()
            .spawn(async move |co| let_in(&co, listener, door).await)
            .named("front door");
        if real {
            println!("chat on {address}, until Ctrl-C");
            return front_door.await;
        }
        co.blocking(move || demonstrate(address)).await??;
        front_door.cancel("the demonstration is over");
        let members = room.finish().await?; // the last client has gone
        assert!(members.is_empty());
        Ok(())
    })
}

// From here on, the demonstration: clients of the standard library, which know nothing of coroutines.

/// A client that blocks.
struct Client(BufReader<std::net::TcpStream>);

impl Client {
    /// Connects, and waits until it is in the room.
    fn join(address: SocketAddr, name: &str) -> io::Result<Self> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?; // a fault shall be an error, not a hang
        let mut client = Client(BufReader::new(stream));
        client.say(name)?;
        client.hear_until(|line| line == format!("* {name} joined"))?;
        Ok(client)
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes())
    }

    /// The next line; `None` when the server has hung up.
    fn hear(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        let n = self.0.read_line(&mut line)?;
        Ok((n > 0).then(|| line.trim_end().to_owned()))
    }

    /// The lines up to the first of this kind.
    fn hear_until(&mut self, last: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
        let mut lines = vec![];
        loop {
            let line = self.hear()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let done = last(&line);
            lines.push(line);
            if done {
                return Ok(lines);
            }
        }
    }
}

fn demonstrate(address: SocketAddr) -> io::Result<()> {
    one_order_for_all(address)?;
    a_slow_reader_is_put_out(address)
}

/// Twenty clients say twenty lines each, all at once. One more hangs up in mid-line.
fn one_order_for_all(address: SocketAddr) -> io::Result<()> {
    const CLIENTS: usize = 20;
    const LINES: usize = 20;
    let all_in = Barrier::new(CLIENTS + 1);
    let client = |n: usize| -> io::Result<Vec<String>> {
        let joined = Client::join(address, &format!("client {n}"));
        all_in.wait();
        let mut client = joined?;
        for line in 1..=LINES {
            client.say(&format!("line {line}"))?;
        }
        let mut said = vec![];
        while said.len() < CLIENTS * LINES {
            let line = client.hear()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            said.extend((!line.starts_with('*')).then_some(line));
        }
        Ok(said)
    };
    let heard = thread::scope(|scope| -> io::Result<Vec<_>> {
        let clients: Vec<_> = (1..=CLIENTS)
            .map(|n| scope.spawn(move || client(n)))
            .collect();
        let hasty = Client::join(address, "hasty");
        all_in.wait();
        hasty?.0.get_mut().write_all(b"what I always wanted to s")?; // and is dropped
        let joined = clients.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|heard| heard.expect("no panic")).collect()
    })?;

    assert!(heard.iter().all(|lines| *lines == heard[0]), "one order");
    for n in 1..=CLIENTS {
        let from = format!("client {n}: ");
        let own = heard[0].iter().filter_map(|line| line.strip_prefix(&from));
        assert!(own.eq((1..=LINES).map(|line| format!("line {line}"))));
    }
    println!(
        "{CLIENTS} clients said {LINES} lines each: all of them heard the same {} lines in one order",
        heard[0].len()
    );
    println!("one more hung up in mid-line, and nobody minded");
    Ok(())
}

/// Alice talks, and waits for each of her lines to come back. Bob does not read until he is out.
fn a_slow_reader_is_put_out(address: SocketAddr) -> io::Result<()> {
    let mut alice = Client::join(address, "alice")?;
    let mut bob = Client::join(address, "bob")?;
    let out = "* bob reads too slowly and is out";
    let mut said = vec![];
    loop {
        let words = format!("{} {}", said.len(), "bla ".repeat(1000)); // the kernel keeps some megabytes for bob
        alice.say(&words)?;
        let echo = format!("alice: {}", words.trim_end());
        said.push(echo.clone());
        let heard = alice.hear_until(|line| line == echo || line == out)?;
        if heard.last().is_some_and(|line| line == out) {
            break;
        }
    }
    alice.say("/who")?;
    let mut table = alice.hear_until(|line| line.contains(" coroutines; "))?;
    table.retain(|line| !line.starts_with("alice: "));
    println!("\nbob is out, and alice asks /who:\n{}\n", table.join("\n"));

    let mut heard = vec![];
    while let Some(line) = bob.hear()? {
        heard.push(line);
    }
    assert_eq!(heard.pop().as_deref(), Some(TOO_SLOW));
    heard.retain(|line| line.starts_with("alice: "));
    assert!(said.starts_with(&heard), "no gap");
    assert!(heard.len() < said.len());
    println!(
        "bob reads at last, {} of {} lines, then:",
        heard.len(),
        said.len()
    );
    println!("{TOO_SLOW}");
    Ok(())
}
