//! What other threads may do to a loop: leave a post, and wake it if it sleeps.
//!
//! It is apart because it is the only place where two threads meet. The channel is crossbeam's; the rest is one flag.
//!
//! Invariants:
//! 1. A post that was accepted is either taken by the loop or dropped when the loop is: never kept and forgotten.
//! 2. At most one system call a sleep, however many posts: who finds `asleep` set clears it, and only that one writes.
//! 3. No wake-up is lost: the poster writes the channel and then reads `asleep`; the loop writes `asleep` and then reads the
//!    channel. Both have a sequentially consistent fence between, so at least one sees the other.
//!
//! ```text
//!              fall_asleep                 post (first), or rouse
//!   awake ───────────────────▶ asleep ─────────────────────────────▶ awake
//!            post: no write             one write to the eventfd
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

use crossbeam_channel::{Receiver, Sender};

/// The posting side: shared by every remote and every foreign waker of a loop.
pub(crate) struct Inbox<P> {
    /// The way in.
    sender: Sender<P>,
    /// Whether the loop sleeps, or (once its descriptor was handed out) is between turns.
    asleep: AtomicBool,
    /// Strong remotes alive: while there are any, a parked coroutine may still be woken.
    remotes: AtomicUsize,
    /// Ends the sleep.
    waker: mio::Waker,
}

impl<P> Inbox<P> {
    /// Makes an inbox and its receiving end, which the loop keeps.
    pub(crate) fn new(waker: mio::Waker) -> (Arc<Self>, Receiver<P>) {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let inbox = Inbox {
            sender,
            asleep: AtomicBool::new(false),
            remotes: AtomicUsize::new(0),
            waker,
        };
        (Arc::new(inbox), receiver)
    }

    /// Leaves a post, and wakes the loop if it sleeps.
    ///
    /// # Errors
    /// Gives the post back if the loop is gone.
    pub(crate) fn post(&self, post: P) -> Result<(), P> {
        self.sender.send(post).map_err(|refused| refused.0)?;
        fence(Ordering::SeqCst);
        self.rouse();
        Ok(())
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

    /// Marks the loop as asleep. Holds afterwards: a post is either seen by the look at the channel that must follow, or rouses.
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
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use super::Inbox;

    /// An inbox on a poll of its own.
    struct Bench {
        poll: mio::Poll,
        inbox: Arc<Inbox<u32>>,
        posts: crossbeam_channel::Receiver<u32>,
    }

    impl Bench {
        fn new() -> Self {
            let poll = mio::Poll::new().expect("a poll");
            let ender = mio::Waker::new(poll.registry(), mio::Token(7)).expect("a waker");
            let (inbox, posts) = Inbox::new(ender);
            Bench { poll, inbox, posts }
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
        let posting =
            thread::spawn(move || (0..1000).for_each(|n| poster.post(n).expect("a loop")));
        assert_eq!(bench.wakes(None), 1);
        posting.join().expect("posted");
        assert_eq!(
            bench.wakes(Some(Duration::ZERO)),
            0,
            "who finds it awake writes nothing"
        );
        assert_eq!(
            bench.posts.try_iter().collect::<Vec<_>>(),
            (0..1000).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_post_to_a_loop_that_is_awake_writes_nothing() {
        let mut bench = Bench::new();
        bench.inbox.post(1).expect("a loop");
        assert_eq!(bench.wakes(Some(Duration::ZERO)), 0);
        bench.inbox.fall_asleep();
        assert!(!bench.posts.is_empty(), "the look that must follow sees it");
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
    fn a_post_to_a_loop_that_is_gone_comes_back() {
        let Bench { inbox, posts, .. } = Bench::new();
        drop(posts);
        assert_eq!(inbox.post(9), Err(9));
    }
}
