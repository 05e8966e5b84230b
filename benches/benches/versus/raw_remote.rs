//! Another thread and a plain mio loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use benches::inputs::{Arrived, SPIN, index};
use benches::machine;
use benches::measure::{Measured, cpu_nanos_per_op, median_nanos, with_wall_time};
use mio::{Events, Token};

use crate::raw_poll::wait;

/// A channel of the standard library, drained whole whenever mio's waker fires; the sender wakes once a drain.
pub fn remote(n: u64) -> Measured {
    let mut poll = mio::Poll::new().expect("a poll");
    let waker = mio::Waker::new(poll.registry(), Token(0)).expect("a waker");
    let asleep = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
    let looped = Arc::clone(&asleep);
    with_wall_time(n, || {
        cpu_nanos_per_op(n, || {
            let thread = thread::spawn(move || {
                machine::pin_other();
                for i in 0..n {
                    let posted = sender.send(Box::new(move || Arrived::add(i)));
                    posted.expect("the loop is there");
                    if asleep.swap(false, Ordering::SeqCst) {
                        waker.wake().expect("the poll is there");
                    }
                }
                waker
            });
            let mut events = Events::with_capacity(4);
            let mut called = 0;
            while called < n {
                let mut drain = || {
                    let before = called;
                    for callback in receiver.try_iter() {
                        callback();
                        called += 1;
                    }
                    called > before
                };
                if drain() {
                    continue;
                }
                looped.store(true, Ordering::SeqCst);
                // What came before the sender could see it is found here; what comes after wakes.
                if !drain() && called < n {
                    poll.poll(&mut events, None).expect("a poll");
                }
            }
            thread.join().expect("the thread ends");
            Arrived::take_sum()
        })
    })
}

/// mio's waker, and a slot in a channel.
pub fn remote_roundtrip(n: u64) -> Measured {
    round_trips(n, Duration::ZERO)
}

/// The same, with a poll that looks for [`SPIN`] before it sleeps.
pub fn remote_roundtrip_spin(n: u64) -> Measured {
    round_trips(n, SPIN)
}

fn round_trips(n: u64, spin: Duration) -> Measured {
    let mut poll = mio::Poll::new().expect("a poll");
    let waker = mio::Waker::new(poll.registry(), Token(0)).expect("a waker");
    let (requests, served) = mpsc::channel::<()>();
    let (answers, answered) = mpsc::channel();
    let thread = thread::spawn(move || {
        machine::pin_other();
        for (i, ()) in (0..).zip(served) {
            answers.send(i).expect("the loop waits");
            waker.wake().expect("the poll is there");
        }
    });
    let mut events = Events::with_capacity(4);
    let mut samples = Vec::with_capacity(index(n));
    let mut sum: u64 = 0;
    for _ in 0..n {
        let started = Instant::now();
        requests.send(()).expect("the thread listens");
        sum += loop {
            wait(&mut poll, &mut events, spin);
            if let Ok(i) = answered.try_recv() {
                break i;
            }
        };
        samples.push(started.elapsed());
    }
    drop(requests);
    thread.join().expect("the thread ends with its channel");
    median_nanos(&samples, sum)
}
