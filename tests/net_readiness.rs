//! What a socket is known to be ready for, and waits without a buffer.

use std::cell::Cell;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::task::Poll;

use futures_util::FutureExt;
use yieldpoint::net::{TcpListener, TcpStream};
use yieldpoint::{Activity, Co, CoroutineId, ErrorKind, EventLoop, Handle, Result};

/// Runs a body on a loop that fails the test at the first incident.
fn run<T: 'static>(body: impl AsyncFnOnce(Co) -> Result<T>) -> T {
    let mut event_loop = EventLoop::builder()
        .fail_on_error()
        .build()
        .expect("a loop");
    event_loop.block_on(body).expect("the body ends well")
}

/// Two ends of one connection, both in the loop.
async fn pair(handle: &Handle) -> Result<(TcpStream, TcpStream)> {
    let mut listener = TcpListener::bind(handle, "127.0.0.1:0")?;
    let client = TcpStream::connect(handle, listener.local_addr()?).await?;
    let (server, _) = listener.accept().await?;
    Ok((client, server))
}

/// Polls once, inside the running coroutine.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let polled = std::future::poll_fn(|cx| Poll::Ready(future.poll_unpin(cx)));
    match polled.await {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// What a coroutine does.
fn activity(co: &Co, id: CoroutineId) -> Option<Activity> {
    let coroutines = co.handle().snapshot().coroutines;
    let info = coroutines.into_iter().find(|info| info.label.id() == id);
    info.map(|info| info.activity)
}

/// Takes what has arrived past the loop, by a descriptor of its own.
fn steal(stream: &std::net::TcpStream) -> usize {
    let mut stream = stream;
    stream.read(&mut [0; 64]).expect("it is there")
}

/// Another descriptor of the same connection.
fn twin(stream: &TcpStream) -> io::Result<std::net::TcpStream> {
    Ok(stream.as_fd().try_clone_to_owned()?.into())
}

/// Counts the turns of somebody who only gives way, until dropped.
fn bystander(co: &Co) -> Rc<Cell<usize>> {
    let turns = Rc::new(Cell::new(0));
    let counting = Rc::downgrade(&turns);
    let _join = co.handle().spawn(async move |co| -> Result {
        while let Some(turns) = counting.upgrade() {
            turns.set(turns.get() + 1);
            drop(turns);
            co.yield_now().await?;
        }
        Ok(())
    });
    turns
}

/// Takes everything until the end, with a buffer that is there only between two waits.
async fn take_all(mut stream: TcpStream) -> Result<Vec<u8>> {
    let mut all = vec![];
    loop {
        stream.readable().await?;
        let mut buf = [0; 4096];
        match stream.try_read(&mut buf) {
            Ok(0) => return Ok(all),
            Ok(n) => all.extend_from_slice(&buf[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The same with a buffer that is there all the time.
async fn take_all_with_a_buffer(mut stream: TcpStream) -> Result<Vec<u8>> {
    let mut all = vec![];
    let mut buf = [0; 4096];
    loop {
        match stream.read(&mut buf).await? {
            0 => return Ok(all),
            n => all.extend_from_slice(&buf[..n]),
        }
    }
}

#[test]
fn a_wait_without_a_buffer_keeps_none_and_takes_everything() {
    run(async |co| {
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        for lean in [true, false] {
            let (mut client, server) = pair(co.handle()).await?;
            let reading = if lean {
                let body = take_all(server);
                assert!(size_of_val(&body) < 160, "{}", size_of_val(&body));
                co.handle().spawn(async move |_| body.await)
            } else {
                let body = take_all_with_a_buffer(server);
                assert!(size_of_val(&body) > 4096, "{}", size_of_val(&body));
                co.handle().spawn(async move |_| body.await)
            };
            client.write_all(&bytes).await?;
            drop(client);
            assert_eq!(reading.await?, bytes);
        }
        Ok(())
    });
}

#[test]
fn a_try_takes_what_is_there_and_says_when_that_is_nothing() {
    run(async |co| {
        let (mut client, mut server) = pair(co.handle()).await?;
        let mut buf = [0; 4];
        let nothing = |tried: io::Result<usize>| {
            tried.expect_err("nothing is there").kind() == io::ErrorKind::WouldBlock
        };
        assert!(nothing(server.try_read(&mut buf)));
        assert_eq!(server.try_read(&mut []).expect("of nothing"), 0);
        client.write_all(b"12345678").await?;
        // Nobody has told the loop yet.
        assert!(nothing(server.try_read(&mut buf)));
        server.readable().await?;
        assert_eq!(server.try_read(&mut buf).expect("some"), 4);
        assert_eq!(&buf, b"1234");
        assert_eq!(server.try_read(&mut buf).expect("the rest"), 4);
        assert_eq!(&buf, b"5678");
        assert!(nothing(server.try_read(&mut buf)));
        drop(client);
        for _ in 0..3 {
            server.readable().await?; // the end stays
            assert_eq!(server.try_read(&mut buf).expect("the end"), 0);
        }
        Ok(())
    });
}

#[test]
fn a_try_puts_in_what_there_is_room_for_and_says_when_there_is_none() {
    run(async |co| {
        let (mut client, mut server) = pair(co.handle()).await?;
        assert_eq!(client.try_write(&[]).expect("of nothing"), 0);
        let mut sent = 0;
        let full = loop {
            match client.try_write(&[7; 4096]) {
                Ok(count) => sent += count,
                Err(error) => break error.kind(),
            }
        };
        assert_eq!(full, io::ErrorKind::WouldBlock);
        assert!(sent > 0);
        let mut buf = vec![0; 1 << 16];
        while sent > 0 {
            sent -= server.read(&mut buf).await?;
        }
        client.write_all(b"x").await?; // waits until the loop has heard of the room
        assert_eq!(client.try_write(b"y").expect("there is room"), 1);
        let mut server = server.buffered();
        assert_eq!(server.read_exact(2).await?, b"xy");
        Ok(())
    });
}

#[test]
fn a_try_on_a_broken_connection_fails_each_time_and_not_for_want_of_readiness() {
    run(async |co| {
        let (mut client, server) = pair(co.handle()).await?;
        drop(server);
        client.try_write(b"x").expect("the kernel takes it"); // and is told that nobody is there
        for _ in 0..3 {
            let error = client.try_write(b"y").expect_err("nobody is there");
            assert_ne!(error.kind(), io::ErrorKind::WouldBlock);
        }
        Ok(())
    });
}

#[test]
fn halves_try_each_its_own_way() {
    run(async |co| {
        let (client, mut server) = pair(co.handle()).await?;
        let (mut reader, mut writer) = client.split();
        assert_eq!(writer.try_write(b"ping").expect("there is room"), 4);
        let mut buf = [0; 8];
        assert_eq!(server.read(&mut buf).await?, 4);
        assert!(reader.try_read(&mut buf).is_err(), "nothing is there");
        assert_eq!(server.try_write(b"pong!").expect("there is room"), 5);
        reader.readable().await?;
        assert_eq!(reader.try_read(&mut buf).expect("it is there"), 5);
        assert_eq!(&buf[..5], b"pong!");
        Ok(())
    });
}

#[test]
fn an_echo_by_tries_loses_nothing_to_a_peer_that_reads_late_fills_the_buffer_and_closes_its_half() {
    for (size, fills) in [(1, false), (64, false), (65, false), (64 << 14, true)] {
        run(async |co| {
            let full = Rc::new(Cell::new(false));
            let noting = Rc::clone(&full);
            let (client, mut server) = pair(co.handle()).await?;
            let echoing = co.handle().spawn(async move |_| -> Result<u32> {
                let mut vain = 0;
                loop {
                    server.readable().await?;
                    let mut buf = [0; 64];
                    let count = match server.try_read(&mut buf) {
                        Ok(0) => return Ok(vain),
                        Ok(count) => count,
                        Err(error) => {
                            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                            vain += 1;
                            continue;
                        }
                    };
                    let written = match server.try_write(&buf[..count]) {
                        Ok(written) => written,
                        Err(error) => {
                            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                            0
                        }
                    };
                    noting.set(noting.get() || written < count);
                    server.write_all(&buf[written..count]).await?;
                }
            });
            let bytes: Vec<u8> = (0..size * 16).map(|n: u32| n.to_be_bytes()[2]).collect();
            let (mut reader, mut writer) = client.split();
            let sent = bytes.clone();
            let sending = co.handle().spawn(async move |_| -> Result {
                for part in sent.chunks(size as usize) {
                    writer.write_all(part).await?;
                }
                writer.shutdown()?;
                Ok(())
            });
            while !full.get() && !echoing.is_finished() {
                co.yield_now().await?;
            }
            assert_eq!(full.get(), fills);
            let mut all = vec![];
            let mut buf = vec![0; 4096];
            loop {
                match reader.read(&mut buf).await? {
                    0 => break,
                    count => all.extend_from_slice(&buf[..count]),
                }
            }
            assert!(all == bytes);
            sending.await?;
            let vain = echoing.await?;
            assert!(vain <= 2 + size * 16 / 64, "it does not spin: {vain}");
            Ok(())
        });
    }
}

#[test]
fn a_dropped_wait_for_bytes_leaves_nobody_waiting() {
    for is_dropped in [true, false] {
        let mut event_loop = EventLoop::new().expect("a loop");
        let body = async |co: Co| -> Result {
            let (client, server) = pair(co.handle()).await?;
            let (mut server, writer) = server.split();
            let _ = server.try_read(&mut [0; 8]);
            let mut waiting = server.readable();
            assert!(poll_once(&mut waiting).await.is_none());
            if is_dropped {
                drop(waiting);
                std::future::pending::<()>().await;
            } else {
                co.handle().call_soon(|| drop((client, writer)));
                waiting.await?; // the end
            }
            Ok(())
        };
        match event_loop.block_on(body) {
            Ok(()) => assert!(!is_dropped),
            Err(error) => assert!(is_dropped && error.is_stuck(), "{error}"),
        }
    }
}

#[test]
fn a_wait_for_bytes_is_named_and_cancelled_like_a_read() {
    run(async |co| {
        let (_client, mut server) = pair(co.handle()).await?;
        let join = co.handle().spawn(async move |_| -> Result {
            let _ = server.try_read(&mut [0; 8]);
            let error = server.readable().await.expect_err("cancelled");
            assert_eq!(error.kind(), io::ErrorKind::Other);
            Err(error.into())
        });
        co.yield_now().await?;
        let parked = activity(&co, join.id());
        assert!(
            matches!(&parked, Some(Activity::Parked { on: "read", at: Some(at), .. }) if at.file().ends_with("net_readiness.rs")),
            "{parked:?}"
        );
        join.cancel("enough");
        let error = join.await.expect_err("cancelled");
        assert!(
            matches!(
                error.kind(),
                ErrorKind::CoroutineCancelled {
                    swallowed: false,
                    ..
                }
            ),
            "{error}"
        );
        Ok(())
    });
}

#[test]
fn waits_that_find_bytes_every_time_give_way_like_reads() {
    run(async |co| {
        let (mut client, mut server) = pair(co.handle()).await?;
        client.write_all(&[1; 10_000]).await?;
        server.readable().await?;
        let turns = bystander(&co);
        for _ in 0..10_000 {
            server.readable().await?;
            assert_eq!(server.try_read(&mut [0]).expect("always there"), 1);
        }
        assert!(
            (10_000 / 64 - 1..=10_000 / 64 + 1).contains(&turns.get()),
            "{turns:?}"
        );
        Ok(())
    });
}

#[test]
fn a_read_whose_bytes_another_took_goes_on_waiting() {
    run(async |co| {
        let (mut client, mut server) = pair(co.handle()).await?;
        let twin = twin(&server)?;
        let join = co
            .handle()
            .spawn(async move |_| -> Result<usize> { Ok(server.read(&mut [0; 64]).await?) });
        co.yield_now().await?;
        client.write_all(b"one").await?;
        while activity(&co, join.id()) != Some(Activity::Ready) {
            co.yield_now().await?;
        }
        assert_eq!(steal(&twin), 3);
        co.yield_now().await?;
        assert!(!join.is_finished());
        client.write_all(b"three").await?;
        assert_eq!(join.await?, 5);
        Ok(())
    });
}

#[test]
fn a_cancelled_read_whose_bytes_another_took_is_told_at_once() {
    run(async |co| {
        let (mut client, mut server) = pair(co.handle()).await?;
        let twin = twin(&server)?;
        let told = Rc::new(Cell::new(0));
        let telling = Rc::clone(&told);
        let join = co.handle().spawn(async move |_| -> Result<usize> {
            let read = server.read(&mut [0; 64]).await;
            telling.set(telling.get() + 1);
            Ok(read?)
        });
        co.yield_now().await?;
        client.write_all(b"one").await?;
        while activity(&co, join.id()) != Some(Activity::Ready) {
            co.yield_now().await?;
        }
        assert_eq!(steal(&twin), 3);
        join.cancel("enough");
        co.yield_now().await?;
        assert_eq!(told.get(), 1, "in its next resume");
        join.await.expect_err("cancelled");
        Ok(())
    });
}

#[test]
fn urgent_data_hides_nothing_that_follows_it() {
    run(async |co| {
        let (client, mut server) = pair(co.handle()).await?;
        let reading = co.handle().spawn(async move |_| -> Result<Vec<u8>> {
            let (mut all, mut buf) = (vec![], [0; 64]);
            while all.len() < 6 {
                let n = server.read(&mut buf).await?;
                all.extend_from_slice(&buf[..n]);
            }
            Ok(all)
        });
        co.yield_now().await?;
        let mut client = twin(&client)?;
        client.write_all(b"abc")?;
        // A read stops short before it, though more is there.
        socket2::SockRef::from(&client).send_out_of_band(b"!")?;
        client.write_all(b"def")?;
        for _ in 0..1000 {
            co.yield_now().await?;
        }
        assert!(reading.is_finished());
        assert_eq!(reading.await?, b"abcdef");
        Ok(())
    });
}
