//! The messages of all keys that stand behind another of their key, in one slab, linked key by key.
//!
//! They are apart because a queue costs its key one number and owns nothing: ten thousand keys share one piece of memory.
//!
//! Invariants:
//! 1. A place in the slab is in one queue, or in the list of those that are free.
//! 2. The memory of a burst is given back when the last message has left.
//! 3. Behind the last message of a queue comes its first: a key keeps one end and has both.

use crate::hub::message::{Item, Place};
use crate::ordered_queue::Asker;
use crate::timers::Nanos;

/// The place of no message.
const END: u32 = u32::MAX;

/// The number of places that are kept when all are free.
const KEPT: usize = 1024;

/// The messages.
pub(crate) struct Queues<M, R, E> {
    /// By their place.
    places: Vec<Linked<M, R, E>>,
    /// The first place that is free.
    free: u32,
    /// How many messages there are.
    len: usize,
}

/// A place, and the one behind it.
struct Linked<M, R, E> {
    /// The place.
    place: Place<M, R, E>,
    /// The one behind it, behind the last one the first; of a free place, the next that is free.
    next: u32,
}

/// A key's queue: the place of its last message.
#[derive(Clone, Copy)]
pub(crate) struct Queue(u32);

impl Queue {
    /// Without messages.
    pub(crate) const EMPTY: Queue = Queue(END);

    /// Whether there is no message.
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 == END
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

    /// Puts a message behind all others of its queue.
    #[inline]
    pub(crate) fn push(
        &mut self,
        queue: &mut Queue,
        message: M,
        asker: Asker<R, E>,
        weighed: (usize, Nanos),
    ) {
        if let Some(at) = self.link(*queue, message, asker, weighed) {
            queue.0 = at;
        }
    }

    /// Puts a message before all others of its queue.
    #[cold]
    pub(crate) fn push_first(&mut self, queue: &mut Queue, item: Item<M, R, E>) {
        let weighed = (item.size, item.since);
        let at = self.link(*queue, item.message, item.asker, weighed);
        if queue.is_empty()
            && let Some(at) = at
        {
            queue.0 = at;
        }
    }

    /// Puts a message between the last and the first of a queue. Gives its place.
    #[inline]
    fn link(
        &mut self,
        queue: Queue,
        message: M,
        asker: Asker<R, E>,
        weighed: (usize, Nanos),
    ) -> Option<u32> {
        if self.free == END {
            self.add_place();
        }
        let at = self.free;
        let first = match self.places.get_mut(queue.0 as usize) {
            Some(last) => std::mem::replace(&mut last.next, at),
            None => at,
        };
        let linked = self.places.get_mut(at as usize)?;
        self.free = std::mem::replace(&mut linked.next, first);
        linked.place.put(message, asker, weighed);
        self.len += 1;
        Some(at)
    }

    /// Makes a place where none is free.
    #[cold]
    fn add_place(&mut self) {
        let at = u32::try_from(self.places.len()).ok();
        let at = at.filter(|&at| at != END);
        self.free = at.expect("fewer than 2^32 messages");
        self.places.push(Linked {
            place: Place::FREE,
            next: END,
        });
    }

    /// Takes the first message of a queue.
    #[inline]
    pub(crate) fn pop(&mut self, queue: &mut Queue) -> Option<Item<M, R, E>> {
        let back = queue.0;
        let first = self.places.get(back as usize)?.next;
        let linked = self.places.get_mut(first as usize)?;
        let item = linked.place.take()?;
        let behind = std::mem::replace(&mut linked.next, self.free);
        self.free = first;
        if first == back {
            queue.0 = END;
        } else if let Some(last) = self.places.get_mut(back as usize) {
            last.next = behind;
        }
        self.len -= 1;
        if self.len == 0 {
            self.rest();
        }
        Some(item)
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
        let mut at = queue.0;
        std::iter::from_fn(move || {
            let next = self.places.get(at as usize)?.next;
            let linked = self.places.get(next as usize)?;
            at = if next == queue.0 { END } else { next };
            linked.place.weighed()
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

    /// Queues one before all others.
    fn push_first(queues: &mut Queues<usize, (), ()>, queue: &mut Queue, number: usize) {
        let item = Item {
            message: number,
            asker: None,
            size: number,
            since: 0,
        };
        queues.push_first(queue, item);
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
            (queues.len, queues.places.len()),
            (7, 7),
            "one place was used again"
        );
        while queues.pop(&mut a).is_some() {}
        assert!(a.is_empty() && all(&queues, a).is_empty());
        assert_eq!(all(&queues, b), [10, 11, 12, 13]);
    }

    #[test]
    fn a_message_that_is_put_back_is_the_first_again_also_of_an_empty_queue() {
        let (mut queues, mut queue) = (Queues::new(), Queue::EMPTY);
        push_first(&mut queues, &mut queue, 2);
        push(&mut queues, &mut queue, 3);
        push_first(&mut queues, &mut queue, 1);
        push(&mut queues, &mut queue, 4);
        let left = std::iter::from_fn(|| queues.pop(&mut queue).map(|item| item.message));
        assert_eq!(left.collect::<Vec<_>>(), [1, 2, 3, 4]);
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
