//! The messages of all keys in one slab, linked key by key.
//!
//! They are apart because a queue costs its key two numbers and owns nothing: ten thousand keys share one piece of memory.
//!
//! Invariants:
//! 1. A place in the slab is in one queue, or in the list of those that are free.
//! 2. The memory of a burst is given back when the last message has left.
//! 3. Behind the last message of a queue comes its first: a key keeps one end and has both.

use crate::hub::message::Item;
use crate::ordered_queue::Asker;
use crate::timers::Nanos;

/// The place of no message.
const END: u32 = u32::MAX;

/// The number of places that are kept when all are free.
const KEPT: usize = 1024;

/// The messages.
pub(crate) struct Queues<M, R, E> {
    /// By their place.
    places: Vec<Place<M, R, E>>,
    /// The first place that is free.
    free: u32,
    /// How many messages there are.
    len: usize,
}

/// A place for a message. The parts of an item lie here one by one: moved as a whole, it would be read as other words than it was written.
struct Place<M, R, E> {
    /// The message; none while the place is free.
    message: Option<M>,
    /// Who asked.
    asker: Asker<R, E>,
    /// What it counts.
    size: usize,
    /// Since when it waits.
    since: Nanos,
    /// The one behind it, behind the last one the first; of a free place, the next that is free.
    next: u32,
}

/// A key's queue: its end, and how much of the key's room is taken.
#[derive(Clone, Copy)]
pub(crate) struct Queue {
    /// The last message.
    back: u32,
    /// How many messages there are, and places kept for some.
    taken: u32,
}

impl Queue {
    /// Without messages.
    pub(crate) const EMPTY: Queue = Queue {
        back: END,
        taken: 0,
    };

    /// How many messages there are, and places kept for some.
    #[inline]
    pub(crate) fn taken(self) -> usize {
        self.taken as usize
    }

    /// Whether there is no message.
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.back == END
    }

    /// Keeps a place for a message.
    pub(crate) fn keep_place(&mut self) {
        self.taken += 1;
    }

    /// Gives a kept place up.
    pub(crate) fn free_place(&mut self) {
        self.taken -= 1;
    }
}

impl<M, R, E> Queues<M, R, E> {
    /// No messages.
    pub(crate) const fn new() -> Self {
        Queues {
            places: Vec::new(),
            free: END,
            len: 0,
        }
    }

    /// How many messages there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts a message behind all others of its queue.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a message is moved word by word where this is written out"
    )]
    pub(crate) fn push(
        &mut self,
        queue: &mut Queue,
        message: M,
        asker: Asker<R, E>,
        (size, since): (usize, Nanos),
    ) {
        if self.free == END {
            self.add_place();
        }
        let at = self.free;
        let first = match self.places.get_mut(queue.back as usize) {
            Some(last) => std::mem::replace(&mut last.next, at),
            None => at,
        };
        let Some(place) = self.places.get_mut(at as usize) else {
            return;
        };
        self.free = std::mem::replace(&mut place.next, first);
        // The place was empty: forgetting that saves the look whether anything must be dropped.
        std::mem::forget(place.message.replace(message));
        std::mem::forget(std::mem::replace(&mut place.asker, asker));
        place.size = size;
        place.since = since;
        queue.back = at;
        queue.taken += 1;
        self.len += 1;
    }

    /// Makes a place where none is free.
    #[cold]
    fn add_place(&mut self) {
        let at = u32::try_from(self.places.len()).ok();
        let at = at.filter(|&at| at != END);
        self.free = at.expect("fewer than 2^32 messages");
        self.places.push(Place {
            message: None,
            asker: None,
            size: 0,
            since: 0,
            next: END,
        });
    }

    /// Takes the first message of a queue.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a message is moved word by word where this is written out"
    )]
    pub(crate) fn pop(&mut self, queue: &mut Queue) -> Option<Item<M, R, E>> {
        let back = queue.back;
        let first = self.places.get(back as usize)?.next;
        let place = self.places.get_mut(first as usize)?;
        let message = place.message.take()?;
        let (asker, size, since) = (place.asker.take(), place.size, place.since);
        let behind = std::mem::replace(&mut place.next, self.free);
        self.free = first;
        if first == back {
            queue.back = END;
        } else if let Some(last) = self.places.get_mut(back as usize) {
            last.next = behind;
        }
        queue.taken -= 1;
        self.len -= 1;
        if self.len == 0 {
            self.rest();
        }
        Some(Item {
            message,
            asker,
            size,
            since,
        })
    }

    /// Gives back the memory of a burst (keeps invariant 2).
    #[cold]
    fn rest(&mut self) {
        if self.places.len() > KEPT {
            self.places = Vec::new();
            self.free = END;
        }
    }

    /// The sizes of a queue's messages and since when they wait, first to last.
    pub(crate) fn iter(&self, queue: Queue) -> impl Iterator<Item = (usize, Nanos)> {
        let mut at = queue.back;
        std::iter::from_fn(move || {
            let next = self.places.get(at as usize)?.next;
            let place = self.places.get(next as usize)?;
            at = if next == queue.back { END } else { next };
            Some((place.size, place.since))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Queues a message whose size is its number.
    fn push(queues: &mut Queues<usize, (), ()>, queue: &mut Queue, number: usize) {
        queues.push(queue, number, None, (number, 0));
    }

    #[test]
    fn queues_in_one_slab_do_not_mix() {
        let (mut queues, mut a, mut b) = (Queues::new(), Queue::EMPTY, Queue::EMPTY);
        for n in 0..4 {
            push(&mut queues, &mut a, n);
            push(&mut queues, &mut b, 10 + n);
            if n == 1 {
                assert_eq!(queues.pop(&mut a).map(|item| item.message), Some(0));
            }
        }
        let all = |queues: &Queues<usize, (), ()>, queue| -> Vec<usize> {
            queues.iter(queue).map(|(size, _)| size).collect()
        };
        assert_eq!(all(&queues, a), [1, 2, 3]);
        assert_eq!(all(&queues, b), [10, 11, 12, 13]);
        assert_eq!(
            (queues.len(), queues.places.len()),
            (7, 7),
            "one place was used again"
        );
        while queues.pop(&mut a).is_some() {}
        assert!(a.is_empty() && all(&queues, a).is_empty());
        assert_eq!(all(&queues, b), [10, 11, 12, 13]);
    }

    #[test]
    fn the_memory_of_a_burst_is_given_back_and_a_little_is_kept() {
        let (mut queues, mut queue) = (Queues::new(), Queue::EMPTY);
        for (burst, kept) in [(10 * KEPT, 0), (KEPT, KEPT)] {
            for _ in 0..burst {
                push(&mut queues, &mut queue, 0);
            }
            while queues.pop(&mut queue).is_some() {}
            assert_eq!(queues.places.len(), kept);
        }
    }
}
