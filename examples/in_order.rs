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
//! `--listen ADDR` serves real clients until Ctrl-C: in order on that port, a coroutine per line on the next.
//!
//! ```text
//! cargo run --release --example in_order -- --listen 127.0.0.1:7000
//! printf 'A\nB\n' | nc -q 1 127.0.0.1 7000
//! printf 'A\nB\n' | nc -q 1 127.0.0.1 7001
//! ```

use std::env;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::thread;

use yieldpoint::net::{TcpListener, TcpStream, WriteHalf};
use yieldpoint::sync::{QueueSender, queue};
use yieldpoint::{Call, Co, EventLoop, Handle, Ordered, Result, ms};

/// The API we are given: it answers later, through a callback, and for `A` it takes longer.
fn look_up(handle: &Handle, question: &str, callback: impl FnOnce(String) + 'static) {
    let answer = question.to_owned();
    let takes = if answer == "A" { ms(60) } else { ms(20) };
    handle.call_later(takes, move || callback(answer));
}

/// How the lines of one connection are handled.
#[derive(Clone, Copy)]
enum How {
    /// A coroutine per line: answers come as they are ready.
    Engine,
    /// The ordered engine: answers come as they were asked for.
    Ordered,
}

/// A coroutine per line. The answers meet in a queue, since only one coroutine may write to the connection.
async fn serve_unordered(co: Co, stream: TcpStream) -> Result {
    let (mut lines, mut writer) = stream.buffered().split();
    let (answers, ready) = queue::<String>(co.handle(), 16);
    let writing = co.spawn(async move |_| -> Result {
        while let Some(answer) = ready.recv().await? {
            writer.write_all(format!("{answer}\n").as_bytes()).await?;
        }
        Ok(())
    });
    while let Some(line) = lines.read_line(1024).await? {
        let answers: QueueSender<String> = answers.clone();
        let asking = co.spawn(async move |co| -> Result {
            let answer = co
                .task(|done| look_up(co.handle(), &line, done.into_fn()))
                .await?;
            Ok(answers.send(answer).await?)
        });
        asking.detach();
    }
    drop(answers); // the last coroutine to answer ends the queue
    writing.await
}

/// The ordered engine: the next line starts after the answer to this one is written. The connection is the engine's state.
async fn serve_ordered(co: Co, stream: TcpStream) -> Result {
    let (mut lines, writer) = stream.buffered().split();
    let engine = Ordered::with_state(writer).serve(co.handle(), answer);
    while let Some(line) = lines.read_line(1024).await? {
        engine.send(line).await?;
    }
    engine.finish().await?;
    Ok(())
}

/// Handles one line.
async fn answer(call: Call, writer: &mut WriteHalf, line: String) -> Result {
    let answer = call
        .task(|done| look_up(call.handle(), &line, done.into_fn()))
        .await?;
    Ok(writer.write_all(format!("{answer}\n").as_bytes()).await?)
}

/// Accepts connections for ever.
async fn accept(co: &Co, mut listener: TcpListener, how: How) -> Result {
    loop {
        let (stream, peer) = listener.accept().await?;
        let serving = co.spawn(async move |co| match how {
            How::Engine => serve_unordered(co, stream).await,
            How::Ordered => serve_ordered(co, stream).await,
        });
        // Should it fail, the error hook says which.
        serving.named(format!("connection of {peer}")).detach();
    }
}

/// A client that knows nothing of us: sends both lines at once, then reads what comes.
fn ask(address: SocketAddr) -> String {
    let mut stream = std::net::TcpStream::connect(address).expect("the server listens");
    stream.write_all(b"A\nB\n").expect("the server reads");
    stream
        .shutdown(Shutdown::Write)
        .expect("the server is there");
    let mut answers = String::new();
    stream
        .read_to_string(&mut answers)
        .expect("the server answers");
    answers.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Serves one client of our own, and gives what it read.
fn demonstrate(event_loop: &mut EventLoop, how: How) -> Result<String> {
    event_loop.block_on(async |co| -> Result<String> {
        let listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let serving = co
            .handle()
            .spawn(async move |co| accept(&co, listener, how).await);
        let answers = co
            .task(|done| {
                let done = done.into_send_fn();
                thread::spawn(move || done(ask(address)));
            })
            .await?;
        serving.abort();
        Ok(answers)
    })
}

/// Serves whoever comes, until Ctrl-C.
fn listen(event_loop: &mut EventLoop, address: &str) -> Result {
    event_loop.block_on(async |co| -> Result {
        let ordered = TcpListener::bind(co.handle(), address)?;
        let mut address = ordered.local_addr()?;
        address.set_port(address.port().wrapping_add(1));
        let unordered = TcpListener::bind(co.handle(), address)?;
        println!("ordered: {}", ordered.local_addr()?);
        println!("engine:  {}", unordered.local_addr()?);
        println!(
            "try: printf 'A\\nB\\n' | nc -q 1 {} {}",
            address.ip(),
            ordered.local_addr()?.port()
        );
        let accepting = [(ordered, How::Ordered), (unordered, How::Engine)];
        let both = accepting.map(|(listener, how)| {
            co.handle()
                .spawn(async move |co| accept(&co, listener, how).await)
        });
        co.first(both).await.1
    })
}

fn main() -> Result {
    let mut event_loop = EventLoop::new()?;
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            let engine = demonstrate(&mut event_loop, How::Engine)?;
            let ordered = demonstrate(&mut event_loop, How::Ordered)?;
            println!("engine:  {engine}");
            println!("ordered: {ordered}");
            assert_eq!((engine.as_str(), ordered.as_str()), ("B A", "A B"));
            Ok(())
        }
        ["--listen", address] => listen(&mut event_loop, address),
        _ => {
            eprintln!("usage: in_order [--listen ADDRESS:PORT]");
            std::process::exit(2);
        }
    }
}
