//! What other threads may do to a loop: leave a post, and wake it if it sleeps.
//!
//! It is apart because it is the only place where two threads meet: a lock that is held for some instructions, and two flags.
//!
//! Invariants:
//! 1. A post that was accepted is either taken by the loop or dropped when the loop is: never kept and forgotten.
//! 2. At most one system call a sleep, however many posts: who finds `asleep` set clears it, and only that one writes.
//! 3. No wake-up is lost: who leaves the first post sets `posted` and then reads `asleep`; the loop sets `asleep` and then reads
//!    `posted`. Both have a sequentially consistent fence between, so at least one sees the other.
//! 4. `posted` is set while there are posts. It changes under the lock, twice for each time that the loop takes; between, a loop that
//!    looks at it and threads that post write to no cache line in common.
//! 5. No user code runs under the lock, and the loop takes everything at once: it moves no post under it.
//!
//! ```text
//!              fall_asleep                 post, or rouse
//!   awake ───────────────────▶ asleep ─────────────────────────────▶ awake
//!            post: no write             one write to the eventfd
//! ```

use std::any::Any;
use std::hint;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::arena::Id;
use crate::posts::Posts;

/// How often the loop tries the lock before it waits for it in the system, which costs both sides a call.
const TRIES: usize = 100;

/// The posting side: shared by every remote and every foreign waker of a loop.
pub(crate) struct Inbox<A> {
    /// What was posted; nothing once the loop is gone.
    posts: Apart<Mutex<Option<Box<Posts<A>>>>>,
    /// Invariant 4.
    posted: AtomicBool,
    /// Whether the loop sleeps, or (once its descriptor was handed out) is between turns.
    asleep: AtomicBool,
    /// Strong remotes alive: while there are any, a parked coroutine may still be woken.
    remotes: AtomicUsize,
    /// Ends the sleep.
    waker: mio::Waker,
}

/// A value in cache lines of its own.
#[repr(align(128))]
struct Apart<T>(T);

impl<A: 'static> Inbox<A> {
    /// Makes an inbox.
    pub(crate) fn new(waker: mio::Waker) -> Self {
        Inbox {
            posts: Apart(Mutex::new(Some(Box::default()))),
            posted: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            remotes: AtomicUsize::new(0),
            waker,
        }
    }

    /// Leaves a callback, and wakes the loop if it sleeps. Tells whether the loop is there; if it is gone, the callback is dropped here.
    #[inline]
    pub(crate) fn post<F: FnOnce(&A) + Send + 'static>(&self, call: F) -> bool {
        self.leave(|posts| posts.push(call))
    }

    /// Leaves the wake-up of a coroutine, and wakes the loop if it sleeps.
    pub(crate) fn post_wake(&self, id: Id) {
        // A loop that is gone has nobody left to wake.
        let _ = self.leave(|posts| posts.push_wake(id));
    }

    /// Adds a post. Tells whether the loop is there.
    #[inline]
    fn leave(&self, push: impl FnOnce(&mut Posts<A>)) -> bool {
        let mut lock = self.lock();
        let Some(posts) = lock.as_deref_mut() else {
            // What `push` holds is the user's, and dropped after this.
            drop(lock);
            return false;
        };
        let first = posts.is_empty();
        push(posts);
        if first {
            self.posted.store(true, Ordering::Relaxed);
        }
        drop(lock);
        if first {
            fence(Ordering::SeqCst);
        }
        // Not the first alone: that one's thread may not have come to this yet.
        self.rouse();
        true
    }

    /// Takes what was posted, and leaves `taken` for the next posts, which must be empty.
    pub(crate) fn take(&self, taken: &mut Box<Posts<A>>) {
        let mut lock = self.lock_patiently();
        if let Some(posts) = &mut *lock {
            mem::swap(posts, taken);
            self.posted.store(false, Ordering::Relaxed);
        }
    }

    /// Refuses posts from now on. Gives what was posted, to be dropped by the caller one by one.
    pub(crate) fn close(&self) -> Vec<Box<dyn Any>> {
        let last = self.lock().take();
        last.map_or_else(Vec::new, |mut posts| posts.take_all())
    }

    /// Whether nothing was posted that the loop has not taken.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        !self.posted.load(Ordering::Relaxed)
    }

    /// Locks the posts. No user code runs under the lock, so what a panic could leave behind is whole.
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Option<Box<Posts<A>>>> {
        let lock = self.posts.0.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    /// The same for the loop, which finds the lock taken where a thread posts without a pause.
    fn lock_patiently(&self) -> MutexGuard<'_, Option<Box<Posts<A>>>> {
        for _ in 0..TRIES {
            if let Ok(lock) = self.posts.0.try_lock() {
                return lock;
            }
            hint::spin_loop();
        }
        self.lock()
    }

    /// Wakes the loop if it sleeps. A failed write has no remedy here and the kernel documents none that can happen to an eventfd.
    pub(crate) fn rouse(&self) {
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            let _ = self.waker.wake();
        }
    }

    /// Makes the loop's descriptor readable, asleep or not.
    pub(crate) fn make_readable(&self) {
        let _ = self.waker.wake();
    }

    /// Marks the loop as asleep. Holds afterwards: a post is either seen by the look at the inbox that must follow, or rouses.
    pub(crate) fn fall_asleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Marks the loop as awake.
    pub(crate) fn wake_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Counts one more strong remote.
    pub(crate) fn add_remote(&self) {
        self.remotes.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one strong remote less.
    pub(crate) fn drop_remote(&self) {
        if self.remotes.fetch_sub(1, Ordering::AcqRel) == 1 {
            // The loop may have slept on the hope that this remote would post: let it look again (as in invariant 3).
            fence(Ordering::SeqCst);
            self.rouse();
        }
    }

    /// How many strong remotes are alive.
    pub(crate) fn remotes(&self) -> usize {
        self.remotes.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use super::Inbox;
    use crate::calls::Calls;
    use crate::posts::Handed;

    /// An inbox on a poll of its own. Its posts push their number to a list.
    struct Bench {
        poll: mio::Poll,
        inbox: Arc<Inbox<RefCell<Vec<u32>>>>,
    }

    /// Leaves a post that pushes this number.
    fn post(inbox: &Inbox<RefCell<Vec<u32>>>, number: u32) -> bool {
        inbox.post(move |list: &RefCell<Vec<u32>>| list.borrow_mut().push(number))
    }

    impl Bench {
        fn new() -> Self {
            let poll = mio::Poll::new().expect("a poll");
            let ender = mio::Waker::new(poll.registry(), mio::Token(7)).expect("a waker");
            let inbox = Arc::new(Inbox::new(ender));
            Bench { poll, inbox }
        }

        /// The numbers of the posts, taken and called.
        fn numbers(&self) -> Vec<u32> {
            let (mut posts, calls, list) = (Box::default(), Calls::default(), RefCell::default());
            self.inbox.take(&mut posts);
            posts.hand_over(&calls, |handed| {
                if let Handed::Calls { row, count } = handed {
                    (0..count).for_each(|_| calls.call(row, &list).unwrap());
                }
            });
            list.into_inner()
        }

        /// How often the poll was woken since the last look.
        fn wakes(&mut self, wait: Option<Duration>) -> usize {
            let mut events = mio::Events::with_capacity(8);
            self.poll.poll(&mut events, wait).expect("a poll");
            events.iter().count()
        }
    }

    #[test]
    fn a_thousand_posts_to_a_sleeper_are_one_wake() {
        let mut bench = Bench::new();
        bench.inbox.fall_asleep();
        let poster = Arc::clone(&bench.inbox);
        let posting = thread::spawn(move || (0..1000).for_each(|n| assert!(post(&poster, n))));
        assert_eq!(bench.wakes(None), 1);
        posting.join().expect("posted");
        assert_eq!(
            bench.wakes(Some(Duration::ZERO)),
            0,
            "who finds it awake writes nothing"
        );
        assert_eq!(bench.numbers(), (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn a_post_to_a_loop_that_is_awake_writes_nothing() {
        let mut bench = Bench::new();
        assert!(post(&bench.inbox, 1));
        assert_eq!(bench.wakes(Some(Duration::ZERO)), 0);
        bench.inbox.fall_asleep();
        assert!(!bench.inbox.is_empty(), "the look that must follow sees it");
    }

    #[test]
    fn the_last_remote_wakes_a_sleeper_and_no_other_does() {
        let mut bench = Bench::new();
        bench.inbox.add_remote();
        bench.inbox.add_remote();
        bench.inbox.fall_asleep();
        bench.inbox.drop_remote();
        assert_eq!(
            (bench.inbox.remotes(), bench.wakes(Some(Duration::ZERO))),
            (1, 0)
        );
        bench.inbox.drop_remote();
        assert_eq!(
            (bench.inbox.remotes(), bench.wakes(Some(Duration::ZERO))),
            (0, 1)
        );
    }

    #[test]
    fn a_post_to_a_loop_that_is_gone_is_refused_and_dropped() {
        let bench = Bench::new();
        let held = Arc::new(());
        let post = |held: Arc<()>| bench.inbox.post(move |_: &RefCell<Vec<u32>>| drop(held));
        assert!(post(Arc::clone(&held)));
        assert_eq!(bench.inbox.close().len(), 1);
        assert!(!post(Arc::clone(&held)));
        assert_eq!(
            (Arc::strong_count(&held), bench.inbox.close().len()),
            (1, 0)
        );
    }
}
