//! Work that blocks, on the loop's pool.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread;

use futures_util::{join, poll};
use yieldpoint::{Co, ErrorKind, EventLoop, Result};

fn event_loop(threads: usize, queue: usize) -> EventLoop {
    EventLoop::builder()
        .pool(threads, queue)
        .fail_on_error()
        .build()
        .expect("a loop")
}

/// Counts its drops.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A job that says when it has begun and ends when it is told to.
fn gate() -> (
    impl FnOnce() -> u32 + Send + 'static,
    Receiver<()>,
    Sender<u32>,
) {
    let (begun, has_begun) = channel();
    let (open, opened) = channel();
    let job = move || {
        begun.send(()).expect("somebody waits");
        opened.recv().unwrap_or(0)
    };
    (job, has_begun, open)
}

#[test]
fn c112_result_is_delivered_on_the_loops_thread_and_a_failed_job_keeps_its_own_error() {
    let here = thread::current().id();
    event_loop(2, 2)
        .block_on(async |co| -> Result {
            let there = co.blocking(|| thread::current().id()).await?;
            assert_ne!(there, here);
            assert_eq!(thread::current().id(), here);
            let failed = co.blocking(|| "x".parse::<u32>()).await?;
            assert!(failed.is_err());
            Ok(())
        })
        .expect("it ends well");
}

#[test]
fn c113_two_jobs_that_wait_for_each_other_run_at_once_and_answer_in_request_order() {
    event_loop(2, 0)
        .block_on(async |co| -> Result {
            let barrier = Arc::new(Barrier::new(2));
            let (first, second) = (Arc::clone(&barrier), barrier);
            let (a, b) = join!(
                co.blocking(move || {
                    first.wait();
                    "a"
                }),
                co.blocking(move || {
                    second.wait();
                    "b"
                }),
            );
            assert_eq!((a?, b?), ("a", "b"));
            Ok(())
        })
        .expect("it ends well");
}

#[test]
fn panic_of_the_closure_comes_back_as_an_error_and_the_thread_serves_on() {
    event_loop(1, 0)
        .block_on(async |co| -> Result {
            let error = co
                .blocking(|| -> u32 { panic!("boom {}", 1) })
                .await
                .expect_err("it panicked");
            assert!(
                matches!(error.kind(), ErrorKind::Panicked { coroutine: None, message } if &**message == "boom 1")
            );
            assert_eq!(co.blocking(|| 7).await?, 7);
            Ok(())
        })
        .expect("it ends well");
}

#[test]
fn one_thread_without_a_queue_serves_a_thousand_jobs_one_after_another() {
    event_loop(1, 0)
        .block_on(async |co| -> Result {
            for n in 0..1000 {
                assert_eq!(co.blocking(move || n).await?, n);
            }
            Ok(())
        })
        .expect("whoever hears of the end of a job finds room for the next");
}

#[test]
fn a_full_pool_refuses_at_the_yield_and_drops_the_closure() {
    event_loop(1, 1)
        .block_on(async |co| -> Result {
            let drops = Arc::new(AtomicUsize::new(0));
            let (job, begun, open) = gate();
            let mut running = co.blocking(job);
            assert!(poll!(&mut running).is_pending());
            begun.recv().expect("it begins");
            let mut queued = co.blocking(|| 2);
            assert!(poll!(&mut queued).is_pending());
            let counted = Counted(Arc::clone(&drops));
            let error = co
                .blocking(move || drop(counted))
                .await
                .expect_err("no room");
            assert!(matches!(
                error.kind(),
                ErrorKind::Refused {
                    what: "blocking pool",
                    limit: 1,
                    created_at: None
                }
            ));
            assert_eq!(drops.load(Ordering::SeqCst), 1);
            open.send(1).expect("it waits");
            assert_eq!((running.await?, queued.await?), (1, 2));
            // With the jobs done there is room again, and never more of it than before.
            assert_eq!(co.blocking(|| 3).await?, 3);
            Ok(())
        })
        .expect("it ends well");
}

#[test]
fn the_bound_holds_after_jobs_have_waited() {
    event_loop(1, 1)
        .block_on(async |co| -> Result {
            for _ in 0..3 {
                let (job, begun, open) = gate();
                let mut running = co.blocking(job);
                assert!(poll!(&mut running).is_pending());
                begun.recv().expect("it begins");
                let mut queued = co.blocking(|| 2);
                assert!(poll!(&mut queued).is_pending());
                assert!(co.blocking(|| 3).await.is_err());
                open.send(1).expect("it waits");
                assert_eq!((running.await?, queued.await?), (1, 2));
            }
            Ok(())
        })
        .expect("it ends well");
}

#[test]
fn dropping_the_wait_before_the_job_began_drops_it_unrun() {
    event_loop(1, 4)
        .block_on(async |co| -> Result {
            let (ran, drops) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let (job, begun, open) = gate();
            let mut running = co.blocking(job);
            assert!(poll!(&mut running).is_pending());
            begun.recv().expect("it begins");
            let (count, counted) = (Arc::clone(&ran), Counted(Arc::clone(&drops)));
            let mut queued = co.blocking(move || {
                let _counted = counted;
                count.fetch_add(1, Ordering::SeqCst)
            });
            assert!(poll!(&mut queued).is_pending());
            drop(queued);
            assert_eq!(drops.load(Ordering::SeqCst), 1);
            open.send(1).expect("it waits");
            assert_eq!(running.await?, 1);
            assert_eq!(co.blocking(|| 4).await?, 4);
            assert_eq!(ran.load(Ordering::SeqCst), 0);
            Ok(())
        })
        .expect("it ends well");
}

#[test]
fn cancel_ends_the_wait_and_a_running_job_is_not_interrupted() {
    event_loop(1, 4)
        .block_on(async |co| -> Result {
            let (job, begun, open) = gate();
            let (ended, has_ended) = channel();
            let join = co.handle().spawn(async move |co: Co| -> Result<u32> {
                co.blocking(move || {
                    let n = job();
                    ended.send(n).expect("the test waits");
                    n
                })
                .await
            });
            co.yield_now().await?;
            begun.recv().expect("it begins");
            join.cancel("enough");
            assert!(join.await.is_err());
            open.send(5).expect("it still waits");
            assert_eq!(has_ended.recv(), Ok(5));
            Ok(())
        })
        .expect("it ends well");
}

#[test]
fn dropping_the_loop_waits_for_nobody_and_drops_what_waits() {
    let drops = Arc::new(AtomicUsize::new(0));
    let mut event_loop = event_loop(1, 4);
    let handle = event_loop.handle();
    let (job, begun, open) = gate();
    let (ended, has_ended) = channel();
    drop(handle.spawn(async move |co: Co| -> Result {
        let run = move || ended.send(job());
        drop(co.blocking(run).await);
        Ok(())
    }));
    let counted = Counted(Arc::clone(&drops));
    drop(handle.spawn(async move |co: Co| co.blocking(move || drop(counted)).await));
    let report = event_loop
        .turn(yieldpoint::Budget::default())
        .expect("a turn");
    assert!(!report.stuck, "a running job is hope");
    begun.recv().expect("it begins");
    drop(event_loop); // a handle is still alive
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    open.send(9).expect("the job still runs");
    assert_eq!(
        has_ended.recv(),
        Ok(Ok(9)).map(|r: std::result::Result<u32, ()>| r.unwrap_or(0))
    );
    drop(handle);
}
