//! A small pool of threads for work that blocks.
//!
//! It is apart because it knows of no loop: a job is a closure that reports back by whatever way it was given.
//!
//! Invariants:
//! 1. No thread exists before the first job; never more than the limit. A thread is started only when all others are busy.
//! 2. What is accepted runs, or is dropped unrun when the pool closes; what is over the bound is refused and given back.
//! 3. Closing the pool waits for nobody: a job that is stuck holds nothing up but its own thread.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender};

/// Work for the pool. Once its [`Busy`] is dropped, its thread counts as free, so that whoever hears of the end of a job finds room for
/// the next.
pub(crate) type PoolJob = Box<dyn FnOnce(Busy) + Send>;

/// How large a pool may become.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolLimits {
    /// The most threads.
    pub(crate) threads: usize,
    /// The most jobs that wait for a thread.
    pub(crate) queue: usize,
}

/// The pool.
pub(crate) struct Pool {
    /// Its size.
    limits: PoolLimits,
    /// What its threads share, once there are any.
    started: RefCell<Option<Started>>,
}

/// A pool with at least one thread.
struct Started {
    /// The way to the threads.
    sender: Sender<PoolJob>,
    /// The threads' end, kept to start more of them and to empty it.
    receiver: Receiver<PoolJob>,
    /// What the threads look at.
    state: Arc<State>,
    /// How many threads have been started.
    threads: usize,
}

/// What the threads and the pool tell each other.
#[derive(Default)]
struct State {
    /// Jobs accepted and not ended.
    unfinished: AtomicUsize,
    /// Set when the pool closes: what waits is dropped unrun.
    closed: AtomicBool,
}

/// Counts its job as unfinished until it is dropped.
pub(crate) struct Busy(Arc<State>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.unfinished.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Why a job was not taken.
pub(crate) enum Refusal {
    /// As many jobs wait as may.
    Full {
        /// That many.
        limit: usize,
    },
    /// The system gives no thread.
    NoThread(std::io::Error),
}

impl Pool {
    /// A pool that has not started.
    pub(crate) fn new(limits: PoolLimits) -> Self {
        Pool {
            limits,
            started: RefCell::default(),
        }
    }

    /// Hands a job to a thread, or lets it wait for one.
    ///
    /// # Errors
    /// Why it was not taken; the job is dropped by the caller's leave.
    pub(crate) fn submit(&self, job: PoolJob) -> Result<(), (Refusal, PoolJob)> {
        let PoolLimits { threads, queue } = self.limits;
        let mut started = self.started.borrow_mut();
        let started = started.get_or_insert_with(Started::new);
        let unfinished = started.state.unfinished.load(Ordering::Acquire);
        if unfinished >= started.threads
            && started.threads < threads
            && let Err(error) = started.start_thread()
            // Where there are threads, they will come to it.
            && started.threads == 0
        {
            return Err((Refusal::NoThread(error), job));
        }
        if unfinished >= started.threads.saturating_add(queue) {
            return Err((Refusal::Full { limit: queue }, job));
        }
        started.state.unfinished.fetch_add(1, Ordering::AcqRel);
        // The receiver is right here, so the channel cannot be disconnected.
        started.sender.send(job).map_err(|refused| {
            started.state.unfinished.fetch_sub(1, Ordering::AcqRel);
            (Refusal::Full { limit: queue }, refused.0)
        })
    }

    /// Takes out the jobs that wait, to be dropped by the caller, and lets the threads end. A later job would begin anew.
    pub(crate) fn close(&self) -> Vec<PoolJob> {
        let Some(started) = self.started.take() else {
            return Vec::new();
        };
        started.state.closed.store(true, Ordering::Release);
        started.receiver.try_iter().collect()
    }
}

impl Started {
    /// The channel, without a thread.
    fn new() -> Self {
        // The count of unfinished jobs is what bounds it.
        let (sender, receiver) = crossbeam_channel::unbounded();
        Started {
            sender,
            receiver,
            state: Arc::default(),
            threads: 0,
        }
    }

    /// Starts one more thread.
    fn start_thread(&mut self) -> std::io::Result<()> {
        let receiver = self.receiver.clone();
        let state = Arc::clone(&self.state);
        thread::Builder::new()
            .name(format!("yieldpoint-pool-{}", self.threads))
            .spawn(move || work(&receiver, &state))?;
        self.threads += 1;
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        drop(self.close());
    }
}

/// What each thread does, until the pool is closed.
fn work(jobs: &Receiver<PoolJob>, state: &Arc<State>) {
    while let Ok(job) = jobs.recv() {
        let busy = Busy(Arc::clone(state));
        // The job reports its own panic; here it must only not end the thread.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            if state.closed.load(Ordering::Acquire) {
                drop(job);
            } else {
                job(busy);
            }
        }));
    }
}
