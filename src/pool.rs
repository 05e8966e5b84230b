//! A small pool of threads for work that blocks.
//!
//! It is apart because it knows of no loop: a job is a closure that reports back by whatever way it was given.
//!
//! Invariants:
//! 1. No thread exists before the first job; never more than the limit.
//! 2. What is accepted runs, or is dropped unrun when the pool is; what is over the bound is refused and given back.
//! 3. Dropping the pool waits for nobody: a job that is stuck holds nothing up but its own thread.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, TrySendError};

/// Work for the pool.
pub(crate) type PoolJob = Box<dyn FnOnce() + Send>;

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
    /// The threads' end, kept to start more of them.
    receiver: Receiver<PoolJob>,
    /// What the threads look at.
    state: Arc<State>,
    /// How many threads have been started.
    threads: usize,
}

/// What the threads and the pool tell each other.
#[derive(Default)]
struct State {
    /// Threads that wait for a job, less the jobs already sent to them.
    idle: AtomicUsize,
    /// Set when the pool is dropped: what waits is dropped unrun.
    closed: AtomicBool,
}

/// Why a job was not taken.
pub(crate) enum Refusal {
    /// As many jobs wait as may.
    Full,
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

    /// The most jobs that wait for a thread.
    pub(crate) fn queue_limit(&self) -> usize {
        self.limits.queue
    }

    /// Hands a job to a thread, or lets it wait for one.
    ///
    /// # Errors
    /// Why it was not taken; the job is dropped by the caller's leave.
    pub(crate) fn submit(&self, job: PoolJob) -> Result<(), (Refusal, PoolJob)> {
        let mut started = self.started.borrow_mut();
        let started = started.get_or_insert_with(|| Started::new(self.limits));
        let claimed = started
            .state
            .idle
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |idle| {
                idle.checked_sub(1)
            })
            .is_ok();
        if !claimed && started.threads < self.limits.threads {
            match started.start_thread() {
                Ok(()) => {}
                Err(error) if started.threads == 0 => return Err((Refusal::NoThread(error), job)),
                // The threads there are will come to it.
                Err(_) => {}
            }
        } else if !claimed && started.sender.len() >= self.limits.queue {
            return Err((Refusal::Full, job));
        }
        match started.sender.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                Err((Refusal::Full, job))
            }
        }
    }
}

impl Started {
    fn new(limits: PoolLimits) -> Self {
        // Room for the waiting jobs and for one on its way to each thread.
        let (sender, receiver) =
            crossbeam_channel::bounded(limits.queue.saturating_add(limits.threads));
        Started {
            sender,
            receiver,
            state: Arc::default(),
            threads: 0,
        }
    }

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
        if let Some(started) = self.started.get_mut() {
            started.state.closed.store(true, Ordering::Release);
        }
    }
}

/// What each thread does, until the pool is gone.
fn work(jobs: &Receiver<PoolJob>, state: &State) {
    while let Ok(job) = jobs.recv() {
        if state.closed.load(Ordering::Acquire) {
            continue;
        }
        // The job reports its own panic; here it must only not end the thread.
        let _ = catch_unwind(AssertUnwindSafe(job));
        state.idle.fetch_add(1, Ordering::AcqRel);
    }
}
