//! The ready queue: what is to run, in order.
//!
//! It is apart because everybody adds to it and the loop takes from it, before and after each step: both must cost a few instructions. So
//! it is a ring of places that need no borrow and no bounds check. What does not fit waits behind the ring in a list.
//!
//! Jobs are numbered as they come; `head`, `tail`, `until`, `end` and `limit` are such numbers, and the place of a job in the ring is its
//! number modulo [`PLACES`].
//!
//! Invariants:
//! 1. Nothing comes into the ring while anything is in the list: what comes later is behind it.
//! 2. `limit` is from `tail` to `PLACES` after `head`, and is `tail` where the next push must look round: the ring may be full, or the list in
//!    use, or somebody to be told.
//! 3. The loop takes jobs that are before `end`, whatever is in the ring. `until` is at most `tail` and at most `end`: up to there it need
//!    not look at either.
//!
//! ```text
//!                 head      until       tail      limit    end
//!                   ▼         ▼           ▼         ▼       ▼
//!   ring  · · · · · j j j j j j j j j j j · · · · · ·          push: place, tail + 1
//!                   └ taken so ┘                               take: head + 1
//! ```

use std::cell::{Cell, RefCell};
use std::mem;

use crate::arena::Id;
use crate::job::Job;

/// How many jobs the ring holds.
const PLACES: usize = 1024;

/// More jobs at a time than this are a burst, whose memory is given back as soon as it is over.
const BURST: usize = 32 * 1024;

/// See the module's page.
pub(crate) struct Ready {
    /// The jobs from `head` to `tail`.
    ring: [Cell<Job>; PLACES],
    /// Those behind them.
    list: RefCell<List>,
    /// The first job.
    head: Cell<usize>,
    /// The first of those that are still to come.
    tail: Cell<usize>,
    /// Invariant 3.
    until: Cell<usize>,
    /// Invariant 3.
    end: Cell<usize>,
    /// Invariant 2.
    limit: Cell<usize>,
}

/// Jobs in their order. They come into one list and go out of another, and where that is empty the two change places.
#[derive(Default)]
struct List {
    /// Those who came first. Empty once all were taken.
    front: Vec<Job>,
    /// How many of these were taken.
    taken: usize,
    /// Those who came after them.
    back: Vec<Job>,
}

impl List {
    /// Whether there is none.
    #[inline]
    fn is_empty(&self) -> bool {
        self.front.is_empty() && self.back.is_empty()
    }

    /// How many there are.
    fn len(&self) -> usize {
        self.front.len() - self.taken + self.back.len()
    }

    /// For how many there is room.
    fn capacity(&self) -> usize {
        self.front.capacity() + self.back.capacity()
    }

    /// Takes the first ones, so many at most, and gives them to `put`. They may be fewer than there are.
    fn take(&mut self, most: usize, put: impl FnOnce(&[Job])) {
        if self.front.is_empty() {
            mem::swap(&mut self.front, &mut self.back);
        }
        let end = self.front.len().min(self.taken + most);
        put(&self.front[self.taken..end]);
        self.taken = end;
        if end == self.front.len() {
            self.front.clear();
            self.taken = 0;
        }
    }
}

impl Default for Ready {
    fn default() -> Self {
        Ready {
            // All zeros, which is the fastest to write; no place is read before a job was put there.
            ring: [const { Cell::new(Job(Id::from_bits(0))) }; PLACES],
            list: RefCell::default(),
            head: Cell::new(0),
            tail: Cell::new(0),
            until: Cell::new(0),
            end: Cell::new(0),
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
    #[inline]
    pub(crate) fn push_anyhow(&self, job: Job) {
        let mut list = self.list.borrow_mut();
        if list.is_empty() {
            let tail = self.tail.get();
            self.limit.set(self.head.get() + PLACES);
            if tail != self.limit.get() {
                return self.put(tail, job);
            }
        }
        list.back.push(job);
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
        if head == self.until.get() && !self.look_on(head) {
            return None;
        }
        self.head.set(head + 1);
        Some(self.ring[head % PLACES].get())
    }

    /// The job that [`take`](Ready::take) would give.
    #[inline]
    pub(crate) fn peek(&self) -> Option<Job> {
        let head = self.head.get();
        let any = head != self.until.get() || self.look_on(head);
        any.then(|| self.ring[head % PLACES].get())
    }

    /// Takes that job.
    #[inline]
    pub(crate) fn skip(&self) {
        self.head.set(self.head.get() + 1);
    }

    /// Looks how far the loop may take now. Tells whether there is a job.
    #[inline]
    fn look_on(&self, head: usize) -> bool {
        let until = self.tail.get().min(self.end.get());
        self.until.set(until);
        head != until
    }

    /// Lets jobs be taken, those that come later too, up to the one with this number. Tells whether there is one; if not, none that comes
    /// later may be taken either.
    pub(crate) fn go_on(&self, end: usize) -> bool {
        let head = self.head.get();
        if head == self.tail.get() {
            self.fetch();
        }
        self.end.set(end);
        let any = self.look_on(head);
        if !any {
            self.pause();
        }
        any
    }

    /// Lets no further job be taken for now.
    pub(crate) fn pause(&self) {
        self.end.set(self.head.get());
        self.until.set(self.head.get());
    }

    /// Moves the first jobs of the list to the ring, which is empty.
    #[cold]
    fn fetch(&self) {
        let mut list = self.list.borrow_mut();
        if list.is_empty() {
            return;
        }
        let tail = self.tail.get();
        list.take(PLACES, |jobs| {
            let (before, after) = self.ring.split_at(tail % PLACES);
            let (first, rest) = jobs.split_at(jobs.len().min(after.len()));
            put_all(after, first);
            put_all(before, rest);
            self.tail.set(tail + jobs.len());
        });
        drop(list);
        // The ring may be full now.
        self.close();
        self.rest(BURST);
    }

    /// The jobs that come next, so many at most, as far as they are in the ring.
    pub(crate) fn next(&self, most: usize) -> impl Iterator<Item = Job> {
        let head = self.head.get();
        let end = self.tail.get().min(head + most);
        (head..end).map(|number| self.ring[number % PLACES].get())
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
            *list = List::default();
        }
    }
}

/// Puts these jobs into the first of these places.
fn put_all(places: &[Cell<Job>], jobs: &[Job]) {
    places
        .iter()
        .zip(jobs)
        .for_each(|(place, job)| place.set(*job));
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// Adds a job as the loop's own code does.
    fn push(ready: &Ready, number: usize) {
        let job = Job::call(number);
        if !ready.push(job) {
            ready.push_anyhow(job);
        }
    }

    /// The number of a job.
    fn number(job: Job) -> usize {
        job.row().unwrap()
    }

    /// Takes what there is, by portions of one ring at most.
    fn drain(ready: &Ready) -> Vec<usize> {
        let mut numbers = Vec::new();
        while ready.go_on(usize::MAX) {
            numbers.extend(std::iter::from_fn(|| ready.take()).map(number));
        }
        numbers
    }

    #[test]
    fn nothing_is_taken_before_go_on_and_nothing_past_its_end_or_a_pause() {
        let ready = Ready::default();
        assert!(!ready.go_on(usize::MAX));
        for number in 0..5 {
            push(&ready, number);
        }
        assert!(ready.take().is_none());
        assert!(ready.go_on(ready.head() + 2));
        assert_eq!(ready.take().map(number), Some(0));
        assert_eq!(ready.take().map(number), Some(1));
        assert!(ready.take().is_none());
        assert!(ready.go_on(usize::MAX));
        assert_eq!(ready.take().map(number), Some(2));
        ready.pause();
        assert!(ready.take().is_none());
        assert_eq!(ready.len(), 2);
        assert_eq!(drain(&ready), [3, 4]);
    }

    #[test]
    fn who_comes_while_the_list_is_in_use_comes_behind_it() {
        let ready = Ready::default();
        for number in 0..PLACES + 10 {
            push(&ready, number);
        }
        assert!(ready.go_on(usize::MAX));
        assert_eq!(ready.take().map(number), Some(0));
        // There is room in the ring now, but not for this one.
        push(&ready, PLACES + 10);
        assert_eq!(ready.len(), PLACES + 10);
        assert!(drain(&ready).into_iter().eq(1..PLACES + 11));
        assert_eq!(ready.len(), 0);
    }

    #[test]
    fn what_comes_after_a_list_that_went_into_the_ring_overwrites_nothing() {
        let ready = Ready::default();
        for _ in 0..3 {
            for number in 0..=PLACES {
                push(&ready, number);
            }
            assert!(drain(&ready).into_iter().eq(0..=PLACES));
        }
    }

    #[test]
    fn a_closed_queue_asks_for_one_look_round() {
        let ready = Ready::default();
        assert!(ready.push(Job::call(0)));
        ready.close();
        assert!(!ready.push(Job::call(1)));
        push(&ready, 1);
        assert!(ready.push(Job::call(2)));
        assert_eq!(drain(&ready), [0, 1, 2]);
    }

    #[test]
    fn the_memory_of_a_burst_is_given_back_once_it_is_over() {
        let ready = Ready::default();
        for number in 0..3 * PLACES {
            push(&ready, number);
        }
        ready.rest(0);
        assert_eq!(drain(&ready).len(), 3 * PLACES);
        assert!(ready.list.borrow().capacity() > 0);
        ready.rest(0);
        assert_eq!(ready.list.borrow().capacity(), 0);
    }

    #[test]
    fn a_cleared_queue_is_empty_and_goes_on() {
        let ready = Ready::default();
        for number in 0..2 * PLACES {
            push(&ready, number);
        }
        ready.clear();
        assert_eq!((ready.len(), drain(&ready)), (0, vec![]));
        push(&ready, 7);
        assert_eq!(drain(&ready), [7]);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_list(steps in prop::collection::vec((0_usize..3 * PLACES, 0_usize..3 * PLACES, 0_u8..4), 1..12)) {
            let ready = Ready::default();
            let mut list = VecDeque::new();
            let mut next = 0;
            for (pushes, takes, look) in steps {
                for _ in 0..pushes {
                    push(&ready, next);
                    list.push_back(next);
                    next += 1;
                }
                match look {
                    0 => ready.close(),
                    1 => ready.pause(),
                    2 => ready.rest(0),
                    _ => {}
                }
                let end = ready.head() + takes;
                while ready.head() < end && ready.go_on(end) {
                    while let Some(job) = ready.take() {
                        prop_assert_eq!(Some(number(job)), list.pop_front());
                        if look == 3 && next % 3 == 0 {
                            push(&ready, next);
                            list.push_back(next);
                        }
                        next += 1;
                    }
                }
                prop_assert_eq!(ready.len(), list.len());
            }
            prop_assert_eq!(list, drain(&ready));
        }
    }
}
