//! What other threads post: each thread's order, and that no post is lost, called twice or dropped under a lock.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use support::Drops;
use yieldpoint::{Budget, EventLoop, Handle, Remote, Result};

thread_local! {
    /// What posts tell of themselves on the loop's thread: who posted, and the number of the post.
    static TOLD: RefCell<Vec<(usize, usize)>> = const { RefCell::new(Vec::new()) };
}

/// Tells of a post.
fn tell(who: usize, number: usize) {
    TOLD.with_borrow_mut(|told| told.push((who, number)));
}

/// Posts the numbers below `count`, by callbacks of several types.
fn post_many(remote: &Remote, who: usize, count: usize) {
    for number in 0..count {
        let posted = match number % 7 {
            0 => remote.post(move |_: &Handle| tell(who, number)),
            1 => {
                let text = number.to_string();
                remote.post(move |_: &Handle| tell(who, text.parse().unwrap()))
            }
            2 => {
                let large = [number; 40];
                remote.post(move |_: &Handle| tell(who, large[39]))
            }
            _ => remote.post(move |handle: &Handle| {
                assert!(handle.is_alive());
                tell(who, number);
            }),
        };
        posted.unwrap();
    }
}

#[test]
fn posts_of_each_thread_keep_their_order_and_none_is_lost() {
    const POSTERS: usize = 3;
    const EACH: usize = 20_000;
    let mut event_loop = EventLoop::builder().fail_on_error().build().unwrap();
    event_loop
        .block_on(async |co| -> Result {
            let ends = (0..POSTERS).map(|who| {
                let handle = co.handle();
                co.task(move |done: yieldpoint::Resolver<()>| {
                    let (remote, done) = (handle.remote(), done.into_send());
                    thread::spawn(move || {
                        post_many(&remote, who, EACH);
                        done.resolve(());
                    });
                })
            });
            for end in co.all(ends.collect::<Vec<_>>()).await {
                end?;
            }
            Ok(())
        })
        .unwrap();
    let told = TOLD.take();
    for who in 0..POSTERS {
        let own = told.iter().filter(|(poster, _)| *poster == who);
        assert!(own.map(|(_, number)| *number).eq(0..EACH), "of {who}");
    }
    assert_eq!(told.len(), POSTERS * EACH);
}

#[test]
fn posts_that_come_in_bursts_while_others_are_still_to_run_keep_their_order() {
    let mut event_loop = EventLoop::builder().fail_on_error().build().unwrap();
    let remote = event_loop.handle().remote();
    let mut posted = 0;
    for (burst, steps) in [(1500, 1100), (5000, 10), (1, 6000), (70_000, 69_000)] {
        post_many(&remote, posted, burst);
        posted += burst;
        let _ = event_loop.turn(Budget::steps(steps)).unwrap();
    }
    assert!(event_loop.run().is_ok());
    let told = TOLD.take();
    let bursts = told.chunk_by(|one, next| one.0 == next.0);
    let lengths: Vec<usize> = bursts.clone().map(<[_]>::len).collect();
    assert_eq!(lengths, [1500, 5000, 1, 70_000]);
    for burst in bursts {
        assert!(burst.iter().map(|(_, number)| *number).eq(0..burst.len()));
    }
}

#[test]
fn posts_and_wakes_of_one_thread_keep_their_order() {
    let mut event_loop = EventLoop::builder().fail_on_error().build().unwrap();
    let handle = event_loop.handle();
    let remote = handle.remote();
    let trace = support::Trace::new();
    let waker = Rc::new(RefCell::new(None::<std::task::Waker>));
    let (seen, kept) = (trace.clone(), Rc::clone(&waker));
    drop(handle.spawn(async move |_| -> Result {
        let mut polled = false;
        std::future::poll_fn(|cx| {
            *kept.borrow_mut() = Some(cx.waker().clone());
            if std::mem::replace(&mut polled, true) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
        seen.note("woken");
        Ok(())
    }));
    let _ = event_loop.turn(Budget::default()).unwrap();
    let waker = waker.borrow_mut().take().unwrap();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let before = tell.clone();
        remote
            .post(move |_| before.send("before").unwrap())
            .unwrap();
        waker.wake();
        remote.post(move |_| tell.send("after").unwrap()).unwrap();
    })
    .join()
    .unwrap();
    for (step, (posts, woken)) in [("before", ""), ("", "woken"), ("after", "woken")]
        .into_iter()
        .enumerate()
    {
        let report = event_loop.turn(Budget::steps(1)).unwrap();
        assert_eq!(report.steps, 1);
        assert_eq!(told.try_recv().unwrap_or(""), posts, "step {step}");
        assert_eq!(trace.all(), woken, "step {step}");
    }
}

#[test]
fn each_post_to_a_loop_that_ends_is_called_or_dropped_once_and_the_rest_is_refused() {
    for turns in [0, 1, 5] {
        let mut event_loop = EventLoop::builder().fail_on_error().build().unwrap();
        let remote = event_loop.handle().remote();
        let (drops, called) = (Drops::new(), Arc::new(AtomicUsize::new(0)));
        let (values, calls) = (drops.clone(), Arc::clone(&called));
        let (begun, begins) = mpsc::channel();
        let poster = thread::spawn(move || {
            let mut posted = 0;
            loop {
                let (value, calls) = (values.one(), Arc::clone(&calls));
                let accepted = remote.post(move |_| {
                    calls.fetch_add(1, Ordering::Relaxed);
                    drop(value);
                });
                if let Err(refused) = accepted {
                    assert!(refused.is_loop_gone());
                    return posted;
                }
                posted += 1;
                if posted == 100 {
                    begun.send(()).unwrap();
                }
            }
        });
        begins.recv().unwrap();
        for _ in 0..turns {
            let _ = event_loop.turn(Budget::default()).unwrap();
        }
        drop(event_loop);
        let accepted = poster.join().unwrap();
        assert_eq!(drops.count(), accepted + 1, "with the one that was refused");
        let called = called.load(Ordering::Relaxed);
        assert!(called <= accepted && (called >= 100) == (turns > 0));
    }
}

/// Posts once more when it is dropped.
struct Again {
    remote: Remote,
    drops: support::Dropped,
}

impl Drop for Again {
    fn drop(&mut self) {
        let _ = &self.drops;
        let _ = self.remote.post(|_| ());
    }
}

#[test]
fn a_post_that_is_dropped_may_post() {
    let event_loop = EventLoop::builder().fail_on_error().build().unwrap();
    let remote = event_loop.handle().remote();
    let drops = Drops::new();
    let again = || Again {
        remote: remote.clone(),
        drops: drops.one(),
    };
    let (accepted, refused) = (again(), again());
    remote.post(move |_| drop(accepted)).unwrap();
    drop(event_loop);
    assert_eq!(drops.count(), 1);
    assert!(remote.post(move |_| drop(refused)).is_err());
    assert_eq!(drops.count(), 2);
}
