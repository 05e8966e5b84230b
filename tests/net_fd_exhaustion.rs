//! A listener that finds no file descriptor left: it says so once, does not spin, and recovers.
//!
//! It is a test binary of its own and runs in a child process, because the limit is the whole process's.

use std::cell::RefCell;
use std::fs::File;
use std::process::Command;
use std::rc::Rc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use yieldpoint::net::{TcpListener, TcpStream};
use yieldpoint::{EventLoop, Incident, ManualClock, Result, ms};

/// Set in the child.
const CHILD: &str = "YIELDPOINT_TEST_FEW_DESCRIPTORS";

/// Runs one test of this binary again, in a process in which it may use up the descriptors. Whether this is that process.
fn in_child(test: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit {
            current: Some(64),
            maximum,
        };
        setrlimit(Resource::Nofile, limit).expect("the limit may be lowered");
        return true;
    }
    let binary = std::env::current_exe().expect("this binary");
    let child = Command::new(binary)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&child.stdout).into_owned()
        + &String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    false
}

/// Opens files until no descriptor is left.
fn exhaust() -> Vec<File> {
    let mut files = vec![];
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    assert!(!files.is_empty());
    files
}

/// A loop, its clock, and the reports of its listeners.
fn watched_loop() -> (EventLoop, ManualClock, Rc<RefCell<Vec<String>>>) {
    let clock = ManualClock::auto();
    let reports = Rc::new(RefCell::new(vec![]));
    let seen = Rc::clone(&reports);
    let event_loop = EventLoop::builder()
        .clock(&clock)
        .on_error(move |incident| match incident {
            Incident::Accept { error } => seen.borrow_mut().push(error.clone()),
            other => panic!("unexpected: {other}"),
        })
        .build()
        .expect("a loop");
    (event_loop, clock, reports)
}

#[test]
fn a_listener_without_descriptors_reports_once_waits_and_recovers() {
    if !in_child("a_listener_without_descriptors_reports_once_waits_and_recovers") {
        return;
    }
    let (mut event_loop, _clock, reports) = watched_loop();
    event_loop
        .block_on(async |co| -> Result {
            let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
            for shortage in 1..=2 {
                let mut client = TcpStream::connect(co.handle(), listener.local_addr()?).await?;
                let files = exhaust();
                let started = co.handle().now();
                co.handle().call_later(ms(1000), move || drop(files));
                // Nothing but timers can wake us: the clock moves by itself, and only while the loop sleeps.
                let (mut stream, peer) = listener.accept().await?;
                assert_eq!(peer, client.local_addr()?);
                let waited = co.handle().now() - started;
                assert!((ms(1000)..=ms(1100)).contains(&waited), "{waited:?}");
                assert_eq!(reports.borrow().len(), shortage);

                client.write_all(b"x").await?;
                assert_eq!(stream.read(&mut [0; 4]).await?, 1);
            }
            assert!(reports.borrow()[0].contains("os error 24"), "{reports:?}");
            Ok(())
        })
        .expect("ends well");
}

#[test]
fn a_listener_without_descriptors_asks_a_dozen_times_a_second_and_no_oftener() {
    if !in_child("a_listener_without_descriptors_asks_a_dozen_times_a_second_and_no_oftener") {
        return;
    }
    let (mut event_loop, clock, reports) = watched_loop();
    let handle = event_loop.handle();
    let accepting = handle.spawn(async |co| -> Result {
        let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
        let _client = std::net::TcpStream::connect(listener.local_addr()?)?;
        let _files = exhaust();
        listener.accept().await.map(drop)
    });
    let mut turns = 0;
    while clock.elapsed() < ms(1000) {
        let report = event_loop
            .turn(yieldpoint::Budget::steps(1000))
            .expect("a turn");
        assert!(!report.work_left, "it spins");
        let table = handle.snapshot().to_string();
        assert!(table.contains("waiting for a file descriptor"), "{table}");
        let next = report.next_deadline.expect("it asks again");
        clock.advance(next - handle.now());
        turns += 1;
    }
    assert_eq!(turns, 13); // after 10, 20, 40, 80, then every 100 ms
    assert_eq!(reports.borrow().len(), 1);

    // A cancel reaches it there too, and leaves no timer behind.
    accepting.cancel("closing time");
    let report = event_loop
        .turn(yieldpoint::Budget::steps(1000))
        .expect("a turn");
    assert!(accepting.is_finished());
    assert_eq!(report.next_deadline, None);
    drop(event_loop);
}

#[test]
fn a_timer_without_a_descriptor_for_it_is_kept_all_the_same() {
    if !in_child("a_timer_without_a_descriptor_for_it_is_kept_all_the_same") {
        return;
    }
    // The system's clock: only there does the first deadline open a descriptor.
    let mut event_loop = EventLoop::builder()
        .fail_on_error()
        .build()
        .expect("a loop");
    let files = exhaust();
    event_loop
        .block_on(async |co| -> Result {
            for _ in 0..2 {
                let started = std::time::Instant::now();
                co.sleep(ms(3)).await?;
                assert!(started.elapsed() >= ms(3));
            }
            drop(files);
            co.sleep(ms(1)).await
        })
        .expect("no shortage ends a sleep");
    // A guest's turn is no error either: its deadline is in the report.
    let mut event_loop = EventLoop::new().expect("a loop");
    let _ = std::os::fd::AsRawFd::as_raw_fd(&event_loop);
    let _files = exhaust();
    event_loop.handle().call_later(ms(1), || {});
    let report = event_loop
        .turn(yieldpoint::Budget::default())
        .expect("a turn");
    assert!(report.next_deadline.is_some());
}
