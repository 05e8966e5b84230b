//! The messages of all keys in one slab, linked key by key.
//!
//! They are apart because a queue costs its key three numbers and owns nothing: ten thousand keys share one piece of memory.
//!
//! Invariants:
//! 1. A place in the slab is in one queue, or in the list of those that are free.
//! 2. The memory of a burst is given back when the last message has left.

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
    /// The one behind it, or the next place that is free.
    next: u32,
}

/// A key's queue: its two ends, and how many are in it.
#[derive(Clone, Copy)]
pub(crate) struct Queue {
    /// The first message.
    front: u32,
    /// The last one.
    back: u32,
    /// How many there are.
    len: u32,
}

impl Queue {
    /// Without messages.
    pub(crate) const EMPTY: Queue = Queue {
        front: END,
        back: END,
        len: 0,
    };

    /// How many there are.
    #[inline]
    pub(crate) fn len(self) -> usize {
        self.len as usize
    }

    /// Whether there is none.
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.len == 0
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
        let at = self.free;
        let at = match self.places.get_mut(at as usize) {
            Some(place) => {
                self.free = place.next;
                // The place was empty: forgetting that saves the look whether anything must be dropped.
                std::mem::forget(place.message.replace(message));
                std::mem::forget(std::mem::replace(&mut place.asker, asker));
                place.size = size;
                place.since = since;
                at
            }
            None => self.add_place(Item {
                message,
                asker,
                size,
                since,
            }),
        };
        if queue.is_empty() {
            queue.front = at;
        } else if let Some(last) = self.places.get_mut(queue.back as usize) {
            last.next = at;
        }
        queue.back = at;
        queue.len += 1;
        self.len += 1;
    }

    /// Makes a place.
    #[cold]
    fn add_place(&mut self, item: Item<M, R, E>) -> u32 {
        let at = u32::try_from(self.places.len()).ok();
        let at = at
            .filter(|&at| at != END)
            .expect("fewer than 2^32 messages");
        self.places.push(Place {
            message: Some(item.message),
            asker: item.asker,
            size: item.size,
            since: item.since,
            next: END,
        });
        at
    }

    /// Takes the first message of a queue.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "a message is moved word by word where this is written out"
    )]
    pub(crate) fn pop(&mut self, queue: &mut Queue) -> Option<Item<M, R, E>> {
        if queue.is_empty() {
            return None;
        }
        let at = queue.front;
        let place = self.places.get_mut(at as usize)?;
        let item = place.message.take().map(|message| Item {
            message,
            asker: place.asker.take(),
            size: place.size,
            since: place.since,
        });
        queue.front = std::mem::replace(&mut place.next, self.free);
        queue.len -= 1;
        self.free = at;
        self.len -= 1;
        if self.len == 0 {
            self.rest();
        }
        item
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
        let mut next = queue.front;
        (0..queue.len).filter_map(move |_| {
            let place = self.places.get(next as usize)?;
            next = place.next;
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
