//! TCP on real loopback sockets. Names say which hazard is meant; ids like C138 are cases of the ancestors.

use std::cell::{Cell, RefCell};
use std::io::{IoSlice, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::thread::{self, JoinHandle};

use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{AsyncReadExt, AsyncWriteExt, FutureExt};
use yieldpoint::net::{BufferedStream, TcpListener, TcpStream};
use yieldpoint::{
    Activity, Co, CoroutineId, Error, ErrorKind, EventLoop, Handle, ManualClock, Result, ms,
};

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

/// One end in the loop, the other in a thread of its own, which ends when the closure does.
async fn with_peer<T: Send + 'static>(
    handle: &Handle,
    peer: impl FnOnce(std::net::TcpStream) -> T + Send + 'static,
) -> Result<(TcpStream, JoinHandle<T>)> {
    let mut listener = TcpListener::bind(handle, "127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let thread =
        thread::spawn(move || peer(std::net::TcpStream::connect(address).expect("connects")));
    let (stream, _) = listener.accept().await?;
    Ok((stream, thread))
}

/// The kind of the I/O error inside.
fn io_kind(error: &Error) -> Option<std::io::ErrorKind> {
    match error.kind() {
        ErrorKind::Io(error) => Some(error.kind()),
        _ => None,
    }
}

/// Lets the peer's close be a reset.
fn reset(stream: std::net::TcpStream) {
    socket2::SockRef::from(&stream)
        .set_linger(Some(std::time::Duration::ZERO))
        .expect("linger");
    drop(stream);
}

/// Polls once, inside the running coroutine.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match future.poll_unpin(cx) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

/// What a coroutine does.
fn activity(co: &Co, id: CoroutineId) -> Option<Activity> {
    let snapshot = co.handle().snapshot();
    let info = snapshot
        .coroutines
        .into_iter()
        .find(|info| info.label.id() == id);
    info.map(|info| info.activity)
}

// Reading what a peer sent, and its end.

#[test]
fn c131_exact_reads_of_nine_none_and_three() {
    run(async |co| {
        let (mut client, server) = pair(co.handle()).await?;
        let mut server = server.buffered();
        client.write_all(b"HTTP/1.0 200 OK").await?;
        assert_eq!(server.read_exact(9).await?, b"HTTP/1.0 ");
        assert_eq!(server.read_exact(0).await?, b"");
        assert_eq!(server.read_exact(3).await?, b"200");
        Ok(())
    });
}

#[test]
fn c133_c137_what_is_left_after_the_close_is_given_then_nothing() {
    run(async |co| {
        let (mut client, server) = pair(co.handle()).await?;
        client.write_all(b"1234").await?;
        drop(client);
        let mut server = server.buffered();
        assert_eq!(server.read_exact(1).await?, b"1");
        assert_eq!(server.read_until_close(100).await?, b"234");
        assert_eq!(server.read_until_close(100).await?, b"");
        let error = poll_once(&mut server.read_exact(1))
            .await
            .expect("at once")
            .expect_err("nothing is left");
        assert_eq!(io_kind(&error), Some(std::io::ErrorKind::UnexpectedEof));
        Ok(())
    });
}

#[test]
fn five_bytes_and_a_close_at_once_never_hang_however_often() {
    run(async |co| {
        let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let peer = thread::spawn(move || {
            for _ in 0..500 {
                let mut stream = std::net::TcpStream::connect(address).expect("connects");
                stream.write_all(b"12345").expect("writes");
            }
        });
        for _ in 0..500 {
            let (mut stream, _) = listener.accept().await?;
            let mut buf = [0; 64];
            let mut got = vec![];
            loop {
                let n = stream.read(&mut buf).await?;
                if n == 0 {
                    break;
                }
                got.extend_from_slice(&buf[..n]);
            }
            assert_eq!(got, b"12345");
        }
        peer.join().expect("the peer ends well");
        Ok(())
    });
}

#[test]
fn c150_three_lines_and_a_close_give_three_lines_and_an_end() {
    run(async |co| {
        let (stream, peer) = with_peer(co.handle(), |mut peer| {
            peer.write_all(b"1\n2\r\n3").expect("writes");
        })
        .await?;
        let mut stream = stream.buffered();
        let mut lines = stream.lines(16);
        assert_eq!(lines.next().await?.as_deref(), Some("1"));
        assert_eq!(lines.next().await?.as_deref(), Some("2"));
        assert_eq!(lines.next().await?.as_deref(), Some("3"));
        assert_eq!(lines.next().await?, None);
        assert_eq!(lines.next().await?, None);
        peer.join().expect("the peer ends well");
        Ok(())
    });
}

#[test]
fn a_line_keeps_its_inner_carriage_returns_and_may_be_empty() {
    run(async |_| {
        let bytes: &[u8] = b"\n\r\na\rb\n\rc\r\r\nlast\r";
        let mut stream = BufferedStream::new(bytes);
        let mut lines = vec![];
        while let Some(line) = stream.read_line(80).await? {
            lines.push(line);
        }
        assert_eq!(lines, ["", "", "a\rb", "\rc\r", "last\r"]);
        Ok(())
    });
}

#[test]
fn c146_a_delimiter_that_never_comes_leaves_the_bytes_readable() {
    run(async |co| {
        let (mut client, server) = pair(co.handle()).await?;
        client.write_all(&[b'x'; 2051]).await?;
        drop(client);
        let mut server = server.buffered();
        let error = server
            .read_until(b"\n", 10_000)
            .await
            .expect_err("it never comes");
        assert_eq!(io_kind(&error), Some(std::io::ErrorKind::UnexpectedEof));
        assert!(error.to_string().contains("2051 bytes"), "{error}");
        assert_eq!(server.read_until_close(10_000).await?, [b'x'; 2051]);
        Ok(())
    });
}

#[test]
fn c141_a_partial_read_gives_what_is_there_and_no_more_than_asked() {
    run(async |co| {
        let (mut client, server) = pair(co.handle()).await?;
        let mut server = server.buffered();
        client.write_all(b"hello").await?;
        let mut buf = [0; 50];
        assert_eq!(AsyncReadExt::read(&mut server, &mut buf).await?, 5);
        client.write_all(b"hello").await?;
        assert_eq!(AsyncReadExt::read(&mut server, &mut buf[..3]).await?, 3);
        assert_eq!(AsyncReadExt::read(&mut server, &mut []).await?, 0);
        assert_eq!(server.buffer(), b"lo");
        Ok(())
    });
}

#[test]
fn a_megabyte_in_flight_when_the_peer_closes_arrives_whole() {
    const SIZE: usize = 1 << 20;
    run(async |co| {
        let (stream, peer) = with_peer(co.handle(), |mut peer| {
            peer.write_all(&vec![9; SIZE]).expect("writes");
        })
        .await?;
        let all = stream.buffered().read_until_close(SIZE).await?;
        assert!(all == vec![9; SIZE]);
        peer.join().expect("the peer ends well");
        Ok(())
    });
}

// Limits.

#[test]
fn c142_the_delimiter_must_end_within_max() {
    run(async |_| {
        for (max, found) in [(50, true), (6, true), (5, false), (0, false)] {
            let bytes: &[u8] = b"12345\n and more";
            let mut stream = BufferedStream::new(bytes);
            match stream.read_until(b"\n", max).await {
                Ok(line) => assert!(found && line == b"12345\n"),
                Err(error) => {
                    assert!(!found, "{error}");
                    assert!(matches!(error.kind(), ErrorKind::TooLong { max: m } if *m == max));
                }
            }
        }
        Ok(())
    });
}

#[test]
fn a_full_line_without_its_end_is_too_long_at_once() {
    run(async |co| {
        let (mut client, server) = pair(co.handle()).await?;
        let mut server = server.buffered();
        client.write_all(b"12345").await?;
        let error = poll_once(&mut server.read_until(b"\n", 5))
            .await
            .expect("the sixth byte, which may never come, is not waited for")
            .expect_err("no newline can end within five bytes any more");
        assert!(matches!(error.kind(), ErrorKind::TooLong { max: 5 }));
        assert!(poll_once(&mut server.read_until(b"\n", 6)).await.is_none());
        client.write_all(b"\n").await?;
        assert_eq!(server.read_until(b"\n", 6).await?, b"12345\n");
        Ok(())
    });
}

#[test]
fn an_over_long_line_is_an_error_that_takes_nothing() {
    run(async |co| {
        let (stream, peer) = with_peer(co.handle(), |mut peer| {
            peer.write_all(&[b'a'; 5000]).expect("writes");
            peer.write_all(b"\nnext\n").expect("writes");
        })
        .await?;
        let mut stream = stream.buffered();
        for _ in 0..2 {
            let error = stream.read_line(1000).await.expect_err("too long");
            assert!(matches!(error.kind(), ErrorKind::TooLong { max: 1000 }));
        }
        let line = stream.read_line(5001).await?.expect("a line");
        assert_eq!(line.len(), 5000);
        assert_eq!(stream.read_line(1000).await?.as_deref(), Some("next"));
        peer.join().expect("the peer ends well");
        Ok(())
    });
}

#[test]
fn an_empty_delimiter_is_refused() {
    run(async |_| {
        let mut stream = BufferedStream::new(&b"abc"[..]);
        let error = stream.read_until(b"", 10).await.expect_err("refused");
        assert_eq!(io_kind(&error), Some(std::io::ErrorKind::InvalidInput));
        assert_eq!(
            stream
                .read_until_close(2)
                .await
                .expect_err("3 > 2")
                .to_string(),
            Error::from(ErrorKind::TooLong { max: 2 }).to_string()
        );
        assert_eq!(stream.read_until_close(3).await?, b"abc");
        Ok(())
    });
}

#[test]
fn a_line_that_is_not_utf8_names_its_byte_and_is_passed_over() {
    run(async |_| {
        let bytes: &[u8] = b"good\nab\xff\xfe\ngood again\n\xc3";
        let mut stream = BufferedStream::new(bytes);
        assert_eq!(stream.read_line(80).await?.as_deref(), Some("good"));
        let error = stream.read_line(80).await.expect_err("not UTF-8");
        assert_eq!(io_kind(&error), Some(std::io::ErrorKind::InvalidData));
        assert!(error.to_string().contains("from byte 2 on"), "{error}");
        assert_eq!(stream.read_line(80).await?.as_deref(), Some("good again"));
        let error = stream
            .read_line(80)
            .await
            .expect_err("cut in mid-character");
        assert!(error.to_string().contains("from byte 0 on"), "{error}");
        assert_eq!(stream.read_line(80).await?, None);
        Ok(())
    });
}

#[test]
fn c138_four_megabytes_before_the_delimiter() {
    const SIZE: usize = 4 << 20;
    run(async |co| {
        let (stream, peer) = with_peer(co.handle(), |mut peer| {
            let zeros = vec![b'a'; SIZE];
            peer.write_all(&zeros).expect("writes");
            peer.write_all(b"\r").expect("writes");
            peer.write_all(b"\n").expect("writes");
        })
        .await?;
        let mut stream = stream.buffered();
        let all = stream.read_until(b"\r\n", SIZE + 2).await?;
        assert_eq!(all.len(), SIZE + 2);
        assert!(all.ends_with(b"a\r\n"));
        peer.join().expect("the peer ends well");
        Ok(())
    });
}

/// Gives its bytes in pieces, and counts how many bytes of room it was offered.
struct Pieces {
    rest: usize,
    piece: usize,
    reads: Rc<Cell<usize>>,
}

impl futures_util::io::AsyncRead for Pieces {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buf: &mut [u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        let n = self.rest.min(self.piece).min(buf.len());
        buf[..n].fill(b'.');
        if n > 0 && self.rest == n {
            buf[n - 1] = b'\n';
        }
        self.rest -= n;
        self.reads.set(self.reads.get() + 1);
        std::task::Poll::Ready(Ok(n))
    }
}

#[test]
fn a_long_line_in_a_hundred_thousand_pieces_takes_linear_time() {
    // Searched anew at each piece, these would be 3 * 10^11 bytes to look at: minutes, not milliseconds.
    run(async |_| {
        let reads = Rc::new(Cell::new(0));
        let pieces = Pieces {
            rest: 6_400_000,
            piece: 64,
            reads: Rc::clone(&reads),
        };
        let mut stream = BufferedStream::new(pieces);
        let line = stream.read_line(usize::MAX).await?.expect("a line");
        assert_eq!(line.len(), 6_399_999);
        assert!(reads.get() >= 100_000);
        Ok(())
    });
}

// Dropped and cancelled reads.

#[test]
fn a_read_that_is_dropped_half_way_loses_no_byte() {
    run(async |co| {
        let (mut client, server) = pair(co.handle()).await?;
        let mut server = server.buffered();
        for n in 0..20 {
            client.write_all(format!("half {n}").as_bytes()).await?;
            let mut reading = server.read_line(80);
            for _ in 0..3 {
                assert!(poll_once(&mut reading).await.is_none());
                co.yield_now().await?;
            }
            drop(reading);
            client.write_all(b" and half\n").await?;
            let line = server.read_line(80).await?;
            assert_eq!(line, Some(format!("half {n} and half")));
        }
        Ok(())
    });
}

#[test]
fn a_read_that_a_time_out_ends_loses_no_byte() {
    run(async |co| {
        let (mut client, server) = pair(co.handle()).await?;
        let mut server = server.buffered();
        client.write_all(b"half").await?;
        let error = co
            .timeout(ms(2), server.read_line(80))
            .await
            .expect_err("the rest is not sent yet");
        assert!(error.is_elapsed(), "{error}");
        client.write_all(b" and half\n").await?;
        let line = co.timeout(ms(60_000), server.read_line(80)).await?;
        assert_eq!(line.as_deref(), Some("half and half"));
        Ok(())
    });
}

#[test]
fn a_dropped_read_leaves_nobody_waiting_so_that_a_stuck_loop_is_seen() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let error = event_loop
        .block_on(async |co| -> Result {
            let (mut client, server) = pair(co.handle()).await?;
            let mut server = server.buffered();
            assert!(poll_once(&mut server.read_line(80)).await.is_none());
            assert!(poll_once(&mut client.read(&mut [0; 8])).await.is_none());
            std::future::pending::<()>().await;
            Ok(())
        })
        .expect_err("nothing can wake it");
    assert!(error.is_stuck(), "{error}");
}

#[test]
fn a_parked_read_is_no_stuck_loop_and_names_its_place() {
    run(async |co| {
        let (mut client, server) = pair(co.handle()).await?;
        let join = co.handle().spawn(async move |_| -> Result<Option<String>> {
            server.buffered().read_line(80).await
        });
        co.yield_now().await?;
        let Some(Activity::Parked { on, at, .. }) = activity(&co, join.id()) else {
            panic!("not parked: {}", co.handle().snapshot());
        };
        assert_eq!(on, "read");
        assert!(at.expect("a place").file().ends_with("net.rs"), "{at:?}");
        client.write_all(b"x\n").await?;
        assert_eq!(join.await?.as_deref(), Some("x"));
        Ok(())
    });
}

#[test]
fn a_cancelled_read_loses_no_byte_and_is_no_interruption() {
    run(async |co| {
        let (mut client, server) = pair(co.handle()).await?;
        let stream = Rc::new(RefCell::new(Some(server.buffered())));
        let kept = Rc::clone(&stream);
        let join = co.handle().spawn(async move |_| -> Result {
            let mut stream = kept.take().expect("it is there");
            let end = stream.read_line(80).await;
            kept.replace(Some(stream));
            end.map(drop)
        });
        client.write_all(b"half").await?;
        for _ in 0..5 {
            co.yield_now().await?;
        }
        join.cancel("enough");
        let error = join.await.expect_err("cancelled");
        assert!(
            matches!(error.kind(), ErrorKind::CoroutineCancelled { reason, .. } if reason == "enough")
        );
        client.write_all(b" and half\n").await?;
        let mut stream = stream.take().expect("given back");
        assert_eq!(
            stream.read_line(80).await?.as_deref(),
            Some("half and half")
        );
        Ok(())
    });
}

#[test]
fn a_cancel_reaches_plain_reads_and_foreign_adapters_as_other() {
    run(async |co| {
        let (_client, mut server) = pair(co.handle()).await?;
        let kinds = Rc::new(RefCell::new(vec![]));
        let seen = Rc::clone(&kinds);
        let join = co.handle().spawn(async move |_| -> Result {
            let mut buf = [0; 8];
            // read_exact of futures-util would retry an Interrupted for ever.
            let end = AsyncReadExt::read_exact(&mut server, &mut buf).await;
            let error = end.expect_err("cancelled");
            seen.borrow_mut().push(error.kind());
            Err(error.into())
        });
        co.yield_now().await?;
        join.cancel("enough");
        let error = join.await.expect_err("cancelled");
        assert!(
            matches!(error.kind(), ErrorKind::CoroutineCancelled { .. }),
            "{error}"
        );

        let (_client, mut server) = pair(co.handle()).await?;
        let seen = Rc::clone(&kinds);
        let join = co.handle().spawn(async move |_| -> Result {
            let error = server.read(&mut [0; 8]).await.expect_err("cancelled");
            seen.borrow_mut().push(error.kind());
            Err(error.into())
        });
        co.yield_now().await?;
        join.cancel("enough");
        join.await.expect_err("cancelled");
        assert_eq!(*kinds.borrow(), [std::io::ErrorKind::Other; 2]);
        Ok(())
    });
}

#[test]
fn bytes_that_are_here_win_over_a_cancel() {
    run(async |co| {
        let (mut client, mut server) = pair(co.handle()).await?;
        let join = co
            .handle()
            .spawn(async move |_| -> Result<usize> { Ok(server.read(&mut [0; 8]).await?) });
        co.yield_now().await?;
        let id = join.id();
        client.write_all(b"now").await?;
        // The look that takes the event in queues the reader behind us.
        while activity(&co, id) != Some(Activity::Ready) {
            co.yield_now().await?;
        }
        join.cancel("too late");
        assert_eq!(join.await?, 3);
        Ok(())
    });
}

// Writing.

#[test]
fn c134_writing_nothing_completes_at_once() {
    run(async |co| {
        let (mut client, _server) = pair(co.handle()).await?;
        assert_eq!(
            poll_once(&mut client.write(b"")).await.expect("at once")?,
            0
        );
        poll_once(&mut client.write_all(b""))
            .await
            .expect("at once")?;
        poll_once(&mut client.write_vectored(&[]))
            .await
            .expect("at once")?;
        assert_eq!(
            poll_once(&mut client.read(&mut []))
                .await
                .expect("at once")?,
            0
        );
        Ok(())
    });
}

#[test]
fn c144_a_slow_reader_holds_the_writer_back_and_gets_everything() {
    const SIZE: usize = 5_000_000;
    run(async |co| {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (mut stream, peer) = with_peer(co.handle(), move |mut peer| {
            wait.recv().expect("told to read");
            let mut all = vec![];
            peer.read_to_end(&mut all).expect("reads");
            all
        })
        .await?;
        socket2::SockRef::from(&stream).set_send_buffer_size(64 * 1024)?;
        let bytes: Vec<u8> = (0..SIZE)
            .map(|n| u8::try_from(n % 251).expect("small"))
            .collect();
        {
            let mut writing = stream.write_all(&bytes);
            for _ in 0..100 {
                assert!(poll_once(&mut writing).await.is_none(), "nobody reads yet");
                co.yield_now().await?;
            }
            go.send(()).expect("the peer waits");
            writing.await?;
        }
        stream.shutdown(Shutdown::Write)?;
        assert!(peer.join().expect("the peer ends well") == bytes);
        Ok(())
    });
}

#[test]
fn c156_a_write_to_a_peer_that_leaves_does_not_report_success() {
    run(async |co| {
        let (mut stream, peer) = with_peer(co.handle(), |peer| {
            let mut one = [0];
            (&peer).read_exact(&mut one).expect("reads");
            reset(peer);
        })
        .await?;
        let error = stream
            .write_all(&vec![0; 5_000_000])
            .await
            .expect_err("the peer is gone");
        assert!(
            matches!(
                error.kind(),
                std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe
            ),
            "{error}"
        );
        peer.join().expect("the peer ends well");
        Ok(())
    });
}

#[test]
fn a_vectored_write_sends_its_buffers_in_order() {
    run(async |co| {
        let (mut client, server) = pair(co.handle()).await?;
        let n = client
            .write_vectored(&[IoSlice::new(b"a"), IoSlice::new(b""), IoSlice::new(b"bc")])
            .await?;
        assert_eq!(n, 3);
        let n =
            AsyncWriteExt::write_vectored(&mut client, &[IoSlice::new(b"d"), IoSlice::new(b"e")])
                .await?;
        assert_eq!(n, 2);
        client.close().await?;
        assert_eq!(server.buffered().read_until_close(10).await?, b"abcde");
        assert_eq!(client.read(&mut [0; 4]).await?, 0);
        Ok(())
    });
}

#[test]
fn c145_ten_writers_that_each_wait_for_each_write() {
    const BYTES: usize = 10 * 50 * 10_000;
    run(async |co| {
        let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let total = Rc::new(Cell::new(0));
        let mut writers = vec![];
        let mut readers = vec![];
        for _ in 0..10 {
            let mut client = TcpStream::connect(co.handle(), address).await?;
            writers.push(co.handle().spawn(async move |_| -> Result {
                let piece = [3; 10_000];
                for _ in 0..50 {
                    client.write_all(&piece).await?;
                }
                Ok(())
            }));
            let (mut server, _) = listener.accept().await?;
            let total = Rc::clone(&total);
            readers.push(co.handle().spawn(async move |_| -> Result {
                let mut buf = [0; 4096];
                loop {
                    match server.read(&mut buf).await? {
                        0 => return Ok(()),
                        n => total.set(total.get() + n),
                    }
                }
            }));
        }
        for join in writers.into_iter().chain(readers) {
            join.await?;
        }
        assert_eq!(total.get(), BYTES);
        Ok(())
    });
}

// Close, half-close, reset.

#[test]
fn c159_a_half_closed_peer_still_gets_its_answer() {
    run(async |co| {
        let (stream, peer) = with_peer(co.handle(), |mut peer| {
            peer.write_all(b"question\n").expect("writes");
            peer.shutdown(Shutdown::Write).expect("shuts down");
            let mut answer = String::new();
            peer.read_to_string(&mut answer).expect("reads");
            answer
        })
        .await?;
        let mut stream = stream.buffered();
        assert_eq!(stream.read_line(80).await?.as_deref(), Some("question"));
        assert_eq!(stream.read_line(80).await?, None);
        stream.write_all(b"answer").await?;
        drop(stream);
        assert_eq!(peer.join().expect("the peer ends well"), "answer");
        Ok(())
    });
}

#[test]
fn c160_a_reset_in_mid_line_is_an_error_and_the_piece_is_no_line() {
    run(async |co| {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (stream, peer) = with_peer(co.handle(), move |mut peer| {
            peer.write_all(b"whole\nhal").expect("writes");
            wait.recv().expect("told to reset");
            reset(peer);
        })
        .await?;
        let mut stream = stream.buffered();
        assert_eq!(stream.read_line(80).await?.as_deref(), Some("whole"));
        while stream.buffer() != b"hal" {
            stream.fill().await?;
        }
        go.send(()).expect("the peer waits");
        let error = stream.read_line(80).await.expect_err("reset");
        assert_eq!(io_kind(&error), Some(std::io::ErrorKind::ConnectionReset));
        assert_eq!(stream.read_line(80).await?, None);
        assert_eq!(stream.read_until_close(80).await?, b"hal");
        peer.join().expect("the peer ends well");
        Ok(())
    });
}

// Halves.

#[test]
fn two_halves_are_used_by_two_coroutines_at_once() {
    const SIZE: usize = 1_000_000;
    run(async |co| {
        let (client, server) = pair(co.handle()).await?;
        let (mut from, mut to) = server.split();
        let echo = co.handle().spawn(async move |_| -> Result<u64> {
            Ok(futures_util::io::copy(&mut from, &mut to).await?)
        });
        let (reader, mut writer) = client.split();
        let reading = co.handle().spawn(async move |_| -> Result<Vec<u8>> {
            reader.buffered().read_until_close(SIZE).await
        });
        let writing = co.handle().spawn(async move |_| -> Result {
            writer.write_all(&vec![7; SIZE]).await?;
            Ok(()) // the half is dropped here, and the other side reads the end
        });
        writing.await?;
        assert_eq!(echo.await?, SIZE as u64);
        assert!(reading.await? == vec![7; SIZE]);
        Ok(())
    });
}

#[test]
fn halves_of_two_connections_do_not_reunite_and_those_of_one_do() {
    run(async |co| {
        let (a, b) = pair(co.handle()).await?;
        let (a_read, a_write) = a.split();
        let (b_read, b_write) = b.split();
        let (a_read, b_write) = a_read.reunite(b_write).expect_err("two connections");
        let mut a = a_read.reunite(a_write).expect("one connection");
        let mut b = b_read.reunite(b_write).expect("one connection");
        a.write_all(b"still open").await?;
        let mut buf = [0; 32];
        let n = b.read(&mut buf).await?;
        assert_eq!(&buf[..n], b"still open");
        Ok(())
    });
}

#[test]
fn a_read_and_a_write_at_once_in_one_coroutine_under_foreign_wakers() {
    const SIZE: usize = 3_000_000;
    run(async |co| {
        let (client, server) = pair(co.handle()).await?;
        let mut all = FuturesUnordered::new();
        for stream in [client, server] {
            let (mut reader, mut writer) = stream.split();
            all.push(async move {
                let bytes = vec![1; SIZE];
                let mut room = vec![0; SIZE];
                let (read, written) = futures_util::join!(
                    AsyncReadExt::read_exact(&mut reader, &mut room),
                    writer.write_all(&bytes)
                );
                read.and(written).map(|()| room == bytes)
            });
        }
        let mut done = 0;
        while let Some(same) = all.next().await {
            assert!(same?);
            done += 1;
        }
        assert_eq!(done, 2);
        Ok(())
    });
}

// Connecting and listening.

#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    run(async |co| {
        let first = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
        let address = first.local_addr()?;
        let error = TcpListener::bind(co.handle(), address).expect_err("in use");
        assert_eq!(io_kind(&error), Some(std::io::ErrorKind::AddrInUse));
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("cannot listen on {address}: ")),
            "{text}"
        );
        assert!(text.contains("choose another port"), "{text}");
        drop(first);
        TcpListener::bind(co.handle(), address)?; // and free again at once
        Ok(())
    });
}

#[test]
fn a_port_can_be_had_again_while_old_connections_linger() {
    run(async |co| {
        let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let mut client = TcpStream::connect(co.handle(), address).await?;
        let (server, _) = listener.accept().await?;
        drop((server, listener)); // the listening side closes first and keeps TIME_WAIT
        assert_eq!(client.read(&mut [0; 4]).await?, 0);
        drop(client);
        TcpListener::bind(co.handle(), address)?;
        Ok(())
    });
}

/// An address at which nobody listens, and that is never given to who asks for any port.
fn closed(host: [u8; 4]) -> SocketAddr {
    (host, 1).into()
}

#[test]
fn connect_tries_each_address_in_order_and_reports_the_last() {
    run(async |co| {
        // Not a port that was free a moment ago: another test may have it by now.
        let (first, second) = (closed([127, 0, 0, 1]), closed([127, 0, 0, 2]));
        let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
        let open = listener.local_addr()?;
        let stream = TcpStream::connect(co.handle(), &[first, open, second][..]).await?;
        assert_eq!(stream.peer_addr()?, open);
        let (_, peer) = listener.accept().await?;
        assert_eq!(peer, stream.local_addr()?);

        let error = TcpStream::connect(co.handle(), &[first, second][..])
            .await
            .expect_err("nobody listens");
        assert_eq!(io_kind(&error), Some(std::io::ErrorKind::ConnectionRefused));
        assert!(error.to_string().contains(&second.to_string()), "{error}");

        let none: &[SocketAddr] = &[];
        let error = TcpStream::connect(co.handle(), none)
            .await
            .expect_err("no address");
        assert_eq!(io_kind(&error), Some(std::io::ErrorKind::InvalidInput));
        Ok(())
    });
}

#[test]
fn connections_are_accepted_in_order_and_a_dropped_accept_loses_none() {
    run(async |co| {
        let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
        assert!(poll_once(&mut listener.accept()).await.is_none());
        let address = listener.local_addr()?;
        let mut ports = vec![];
        let mut clients = vec![];
        for _ in 0..10 {
            let client = std::net::TcpStream::connect(address)?;
            ports.push(client.local_addr()?);
            clients.push(client);
        }
        let mut accepted = vec![];
        for _ in 0..10 {
            accepted.push(listener.accept().await?.1);
        }
        assert_eq!(accepted, ports);
        assert!(poll_once(&mut listener.accept()).await.is_none());
        Ok(())
    });
}

#[test]
fn a_cancelled_accept_says_so() {
    run(async |co| {
        let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
        let accepting = co
            .handle()
            .spawn(async move |_| -> Result { listener.accept().await.map(drop) });
        co.yield_now().await?;
        let table = co.handle().snapshot().to_string();
        assert!(table.contains("accept"), "{table}");
        accepting.cancel("closing time");
        let error = accepting.await.expect_err("cancelled");
        assert!(error.to_string().contains("closing time"), "{error}");
        Ok(())
    });
}

#[test]
#[cfg(target_os = "linux")] // elsewhere a full queue may refuse instead of leaving the caller unanswered
fn a_connect_that_nobody_answers_is_cancelled() {
    run(async |co| {
        let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        full.listen(0)?;
        let address = full.local_addr()?.as_socket().expect("an address");
        let mut joins = vec![];
        for _ in 0..4 {
            let handle = co.handle().clone();
            joins.push(co.handle().spawn(async move |_| -> Result<TcpStream> {
                TcpStream::connect(&handle, address).await
            }));
        }
        for _ in 0..1000 {
            co.yield_now().await?;
        }
        let last = joins.pop().expect("four");
        assert!(joins[0].is_finished(), "the queue has room for one");
        assert!(matches!(
            activity(&co, last.id()),
            Some(Activity::Parked { on: "connect", .. })
        ));
        for join in &joins {
            join.cancel("out of patience");
        }
        last.cancel("out of patience");
        let error = last.await.expect_err("cancelled");
        assert!(error.to_string().contains("out of patience"), "{error}");
        Ok(())
    });
}

#[test]
fn nothing_works_on_a_loop_that_is_gone() {
    let event_loop = EventLoop::new().expect("a loop");
    let handle = event_loop.handle();
    drop(event_loop);
    let error = TcpListener::bind(&handle, "127.0.0.1:0").expect_err("gone");
    assert!(error.is_loop_gone(), "{error}");
}

#[test]
fn a_stream_that_outlives_its_loop_reads_what_is_there_and_then_says_so() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let (mut client, mut server) = event_loop
        .block_on(async |co| pair(co.handle()).await)
        .expect("a pair");
    drop(event_loop);
    let mut buf = [0; 8];
    assert_eq!(
        client
            .write(b"late")
            .now_or_never()
            .expect("at once")
            .expect("written"),
        4
    );
    assert_eq!(
        server
            .read(&mut buf)
            .now_or_never()
            .expect("at once")
            .expect("read"),
        4
    );
    let error = server
        .read(&mut buf)
        .now_or_never()
        .expect("at once")
        .expect_err("gone");
    assert!(Error::from(error).is_loop_gone());
}

// Fairness, and the clock.

#[test]
fn a_busy_peer_lets_others_have_their_turn() {
    run(async |co| {
        let (mut client, mut server) = pair(co.handle()).await?;
        client.write_all(&[1; 10_000]).await?;
        let turns = Rc::new(Cell::new(0));
        let counting = Rc::clone(&turns);
        let other = co.handle().spawn(async move |co| -> Result {
            loop {
                counting.set(counting.get() + 1);
                co.yield_now().await?;
            }
        });
        for _ in 0..10_000 {
            assert_eq!(server.read(&mut [0]).await?, 1); // always there at once
        }
        assert_eq!(turns.get(), 10_000 / 64);
        other.cancel("seen enough");
        other.await.expect_err("cancelled");
        Ok(())
    });
}

#[test]
fn a_cancelled_coroutine_may_take_all_that_is_here_without_waiting() {
    run(async |co| {
        let (mut client, mut server) = pair(co.handle()).await?;
        let taken = Rc::new(Cell::new(0));
        let count = Rc::clone(&taken);
        let join = co.handle().spawn(async move |co| -> Result {
            let cancel = co.sleep(ms(60_000)).await;
            for _ in 0..200 {
                count.set(count.get() + server.read(&mut [0]).await?);
            }
            cancel
        });
        client.write_all(&[1; 200]).await?;
        co.yield_now().await?;
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
        assert_eq!(taken.get(), 200);
        Ok(())
    });
}

#[test]
fn time_does_not_move_by_itself_while_a_socket_is_waited_for() {
    let clock = ManualClock::auto();
    let mut event_loop = EventLoop::builder()
        .clock(&clock)
        .fail_on_error()
        .build()
        .expect("a loop");
    event_loop
        .block_on(async |co| -> Result {
            let started = co.handle().now();
            let (stream, peer) = with_peer(co.handle(), |mut peer| {
                peer.write_all(b"x\n").expect("writes");
            })
            .await?;
            co.handle().call_later(ms(3_600_000), || {});
            assert_eq!(stream.buffered().read_line(80).await?.as_deref(), Some("x"));
            assert_eq!(co.handle().now(), started);
            peer.join().expect("the peer ends well");
            Ok(())
        })
        .expect("ends well");
}

/// Lines that are in the buffer already are no reason to hold everybody else up.
#[test]
fn many_lines_that_came_at_once_starve_nobody() {
    const LINES: usize = 10_000;
    let mut event_loop = EventLoop::builder().fail_on_error().build().unwrap();
    let gave_way = event_loop
        .block_on(async |co| -> Result<usize> {
            let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
            let address = listener.local_addr()?;
            let client = thread::spawn(move || {
                let mut stream = std::net::TcpStream::connect(address).unwrap();
                stream.write_all(&b"x\n".repeat(LINES)).unwrap();
            });
            let (stream, _) = listener.accept().await?;
            co.blocking(move || client.join().unwrap()).await?;
            // All is there before the first line is read.
            let reader = co.handle().spawn(async move |_| -> Result<usize> {
                let mut stream = stream.buffered();
                let mut lines = 0;
                while let Some(line) = stream.read_line(16).await? {
                    assert_eq!(line, "x");
                    lines += 1;
                }
                Ok(lines)
            });
            let mut gave_way = 0;
            while !reader.is_finished() {
                co.yield_now().await?;
                gave_way += 1;
            }
            assert_eq!(reader.await?, LINES);
            Ok(gave_way)
        })
        .unwrap();
    assert!(gave_way >= LINES / 64, "others ran {gave_way} times only");
}
