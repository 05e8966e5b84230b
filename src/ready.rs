//! The ready queue: what is to run, in order.
//!
//! It is apart because everybody adds to it and the loop takes from it, before and after each step: both must cost a few instructions. So
//! it is a ring of places that need no borrow and no bounds check. What does not fit waits behind the ring in a list.
//!
//! Jobs are numbered as they come; `head`, `tail`, `until` and `limit` are such numbers, and the place of a job in the ring is its number
//! modulo [`PLACES`].
//!
//! Invariants:
//! 1. Nothing comes into the ring while anything is in the list: what comes later is behind it.
//! 2. `limit` is at most `PLACES` after `head`, and is `tail` where the next push must look round: the ring may be full, or the list in
//!    use, or somebody to be told.
//! 3. `until` is at most `tail`. The loop takes jobs up to there without asking whether there is one and whether it should go on.
//!
//! ```text
//!                 head      until       tail      limit
//!                   ▼         ▼           ▼         ▼
//!   ring  · · · · · j j j j j j j j j j j · · · · · ·          push: place, tail + 1
//!                   └ taken so ┘                               take: head + 1
//! ```

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use crate::arena::Id;
use crate::job::Job;

/// How many jobs the ring holds.
const PLACES: usize = 1024;

/// More jobs at a time than this are a burst, whose memory is given back as soon as it is over.
pub(crate) const BURST: usize = 32 * 1024;

/// See the module's page.
pub(crate) struct Ready {
    /// The jobs from `head` to `tail`.
    ring: Box<[Cell<Job>; PLACES]>,
    /// Those behind them.
    list: RefCell<VecDeque<Job>>,
    /// The first job.
    head: Cell<usize>,
    /// The first of those that are still to come.
    tail: Cell<usize>,
    /// Invariant 3.
    until: Cell<usize>,
    /// Invariant 2.
    limit: Cell<usize>,
}

impl Default for Ready {
    fn default() -> Self {
        Ready {
            // All zeros, which is the fastest to write; no place is read before a job was put there.
            ring: Box::new([const { Cell::new(Job(Id::from_bits(0))) }; PLACES]),
            list: RefCell::default(),
            head: Cell::new(0),
            tail: Cell::new(0),
            until: Cell::new(0),
            limit: Cell::new(PLACES),
        }
    }
}

impl Ready {
    /// Adds a job, if that needs no look round. Tells whether it did.
    #[inline]
    pub(crate) fn push(&self, job: Job) -> bool {
        let tail = self.tail.get();
        if tail == self.limit.get() {
            return false;
        }
        self.put(tail, job);
        true
    }

    /// Puts a job into its place.
    #[inline]
    fn put(&self, tail: usize, job: Job) {
        self.ring[tail % PLACES].set(job);
        self.tail.set(tail + 1);
    }

    /// Adds a job, to the list if it must be (keeps invariant 1).
    pub(crate) fn push_anyhow(&self, job: Job) {
        let tail = self.tail.get();
        let mut list = self.list.borrow_mut();
        if list.is_empty() {
            self.limit.set(self.head.get() + PLACES);
            if tail != self.limit.get() {
                return self.put(tail, job);
            }
        }
        self.limit.set(tail);
        list.push_back(job);
    }

    /// Makes the next push look round.
    pub(crate) fn close(&self) {
        self.limit.set(self.tail.get());
    }

    /// The number of the job to be taken next.
    #[inline]
    pub(crate) fn head(&self) -> usize {
        self.head.get()
    }

    /// Takes the first job, if [`go_on`](Ready::go_on) said so and nobody has said otherwise.
    #[inline]
    pub(crate) fn take(&self) -> Option<Job> {
        let head = self.head.get();
        if head == self.until.get() {
            return None;
        }
        self.head.set(head + 1);
        Some(self.ring[head % PLACES].get())
    }

    /// Lets those jobs be taken that are there, up to the one with this number. Tells whether there are any.
    #[inline]
    pub(crate) fn go_on(&self, end: usize) -> bool {
        if self.head.get() == self.tail.get() {
            self.fetch();
        }
        self.until.set(self.tail.get().min(end));
        self.head.get() != self.until.get()
    }

    /// Lets no further job be taken for now.
    pub(crate) fn pause(&self) {
        self.until.set(self.head.get());
    }

    /// Moves the first jobs of the list to the ring, which is empty.
    #[cold]
    fn fetch(&self) {
        let mut list = self.list.borrow_mut();
        let count = list.len().min(PLACES);
        for job in list.drain(..count) {
            self.put(self.tail.get(), job);
        }
        if list.is_empty() {
            self.limit.set(self.head.get() + PLACES);
        } else {
            self.close();
        }
    }

    /// How many jobs there are.
    pub(crate) fn len(&self) -> usize {
        self.tail.get() - self.head.get() + self.list.borrow().len()
    }

    /// Forgets all jobs.
    pub(crate) fn clear(&self) {
        self.list.take();
        self.head.set(self.tail.get());
        self.pause();
    }

    /// Gives back the memory of the list, if it is empty and has grown past `kept` jobs.
    pub(crate) fn rest(&self, kept: usize) {
        let mut list = self.list.borrow_mut();
        if list.is_empty() && list.capacity() > kept {
            *list = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds jobs with these numbers.
    fn push(ready: &Ready, numbers: std::ops::Range<usize>) {
        for job in numbers.map(Job::call) {
            if !ready.push(job) {
                ready.push_anyhow(job);
            }
        }
    }

    /// Takes so many jobs and gives their numbers.
    fn take(ready: &Ready, count: usize) -> Vec<usize> {
        let mut taken = vec![];
        while taken.len() < count && ready.go_on(usize::MAX) {
            let job = ready.take().expect("there is one");
            taken.push(job.timer_or_row().expect_err("it names a row"));
        }
        taken
    }

    #[test]
    fn jobs_come_in_their_order_whether_they_fit_into_the_ring_or_not() {
        let ready = Ready::default();
        let (mut pushed, mut taken) = (0, 0);
        for count in [
            1,
            PLACES - 1,
            PLACES,
            1,
            PLACES + 1,
            5 * PLACES,
            3,
            7 * PLACES,
        ] {
            // Some are left each time, so that the next come behind the list, or where it has just become empty.
            for left in [0, 1, PLACES / 2, PLACES] {
                push(&ready, pushed..pushed + count);
                pushed += count;
                let due = ready.len().saturating_sub(left);
                assert_eq!(take(&ready, due), (taken..taken + due).collect::<Vec<_>>());
                taken += due;
                assert_eq!(ready.len(), pushed - taken);
            }
        }
        assert_eq!(
            take(&ready, usize::MAX),
            (taken..pushed).collect::<Vec<_>>()
        );
        assert!(!ready.go_on(usize::MAX));
    }
}
