//! Deadlines in order: which timer is due, which is next, and how to be rid of one at once.
//!
//! Apart because it knows nothing of clocks, coroutines or callbacks: a time is a number, a value
//! is the caller's, and nothing here runs or drops a value.
//!
//! ```text
//!            arm(after)                arm_at(deadline)
//!                │                            │
//!                ▼         stamp(now)         ▼      pop_due_id(now)
//!             [Fresh] ───────────────────▶ [Waiting] ───────────────▶ [Due]
//!                │                            │                         │
//!                │ remove                     │ remove                  │ remove
//!                ▼                            ▼                         ▼
//!              gone                         gone                      gone
//! ```
//!
//! Invariants:
//!
//! 1. A slot knows where its timer is: `fresh[position]`, `waiting[position]` or in neither list.
//!    So removal leaves nothing behind in any state.
//! 2. `waiting` is a 4-ary min-heap by (deadline, sequence). The sequence is given when a timer is
//!    armed, so equal deadlines come out in creation order, however and whenever stamped.
//! 3. A timer never fires early: it becomes due only if its deadline is not after `now`, and a
//!    fresh one has no deadline yet. A deadline of [`NEVER`] does not become due at all.
//! 4. Both lists and the slots shrink with their contents, at a constant cost for each timer.

use crate::arena::{Arena, Id};

/// A time or a duration in nanoseconds, on the loop's clock.
pub(crate) type Nanos = u64;

/// Names one timer of one [`Timers`], and once it is gone nothing.
pub(crate) type TimerId = Id;

/// The deadline that never comes: the end of the scale, to which what does not fit saturates.
pub(crate) const NEVER: Nanos = Nanos::MAX;

/// The children of one node of the heap.
const ARITY: usize = 4;

/// The number of entries up to which a list keeps its memory.
const KEPT: usize = 1024;

/// Holds timers, each with a value, and tells which are due.
#[derive(Debug)]
pub(crate) struct Timers<V> {
    /// Every timer that is armed or due.
    slots: Arena<Slot<V>>,
    /// The timers without a deadline, in no order; `time` is their duration.
    fresh: Vec<Entry>,
    /// The timers with a deadline that are not due, as a heap; `time` is their deadline.
    waiting: Vec<Entry>,
    /// The sequence of the next timer.
    next_sequence: u64,
}

/// One timer.
#[derive(Debug)]
struct Slot<V> {
    /// Where its entry is.
    place: Place,
    /// What the caller armed it with.
    value: V,
}

/// Where a timer is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// At this position of `fresh`.
    Fresh(usize),
    /// At this position of `waiting`.
    Waiting(usize),
    /// In no list, since this deadline has passed.
    Due,
}

/// A timer's line in one of the lists.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The duration of a fresh timer, the deadline of a waiting one.
    time: Nanos,
    /// The place in the order of creation.
    sequence: u64,
    /// The timer.
    id: TimerId,
}

impl Entry {
    /// Whether this timer fires before the other.
    #[inline]
    fn precedes(&self, other: &Entry) -> bool {
        (self.time, self.sequence) < (other.time, other.sequence)
    }
}

impl<V> Timers<V> {
    /// No timers, and nothing allocated.
    pub(crate) const fn new() -> Self {
        Timers {
            slots: Arena::new(),
            fresh: Vec::new(),
            waiting: Vec::new(),
            next_sequence: 0,
        }
    }

    /// Arms a timer for `after` from the next [`Timers::stamp`]; until then it has no deadline and
    /// costs the heap nothing.
    #[inline]
    pub(crate) fn arm(&mut self, after: Nanos, value: V) -> TimerId {
        let place = Place::Fresh(self.fresh.len());
        let id = self.slots.insert(Slot { place, value });
        let sequence = self.take_sequence();
        self.fresh.push(Entry {
            time: after,
            sequence,
            id,
        });
        id
    }

    /// Arms a timer for this deadline, which may have passed already.
    pub(crate) fn arm_at(&mut self, deadline: Nanos, value: V) -> TimerId {
        let place = Place::Waiting(self.waiting.len());
        let id = self.slots.insert(Slot { place, value });
        let sequence = self.take_sequence();
        self.wait(Entry {
            time: deadline,
            sequence,
            id,
        });
        id
    }

    /// Gives every fresh timer the deadline `now` plus its duration, or the last nanosecond there
    /// is if that is later.
    pub(crate) fn stamp(&mut self, now: Nanos) {
        while let Some(mut entry) = self.fresh.pop() {
            entry.time = now.saturating_add(entry.time);
            self.wait(entry);
        }
        give_back(&mut self.fresh);
    }

    /// Whether a timer waits for a stamp.
    #[inline]
    pub(crate) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Takes out a timer, be it fresh, waiting or due, and returns its value if it was still here.
    #[inline]
    pub(crate) fn remove(&mut self, id: TimerId) -> Option<V> {
        let Slot { place, value } = self.slots.remove(id)?;
        match place {
            Place::Fresh(position) => self.leave_fresh(position),
            Place::Waiting(position) => self.leave_waiting(position),
            Place::Due => {}
        }
        Some(value)
    }

    /// The value of a timer that is still here, to change.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: TimerId) -> Option<&mut V> {
        self.slots.get_mut(id).map(|slot| &mut slot.value)
    }

    /// Whether the timer is still here, be it fresh, waiting or due.
    #[inline]
    pub(crate) fn contains(&self, id: TimerId) -> bool {
        self.slots.contains(id)
    }

    /// The earliest deadline of the waiting timers; neither a fresh nor a due timer counts.
    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<Nanos> {
        self.waiting.first().map(|entry| entry.time)
    }

    /// Makes due the first waiting timer whose deadline is not after `now`, by deadline and, where
    /// those are equal, by creation. It stays here, and can still be changed, until it is removed.
    pub(crate) fn pop_due_id(&mut self, now: Nanos) -> Option<TimerId> {
        let id = self.first_due(now)?.id;
        self.leave_waiting(0);
        self.set_place(id, Place::Due);
        Some(id)
    }

    /// The number of timers, be they fresh, waiting or due.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no timer, be it fresh, waiting or due.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes out every timer and gives all memory back; the values come in no promised order.
    pub(crate) fn take_all(&mut self) -> Vec<V> {
        self.fresh = Vec::new();
        self.waiting = Vec::new();
        let slots = self.slots.take_all();
        slots.into_iter().map(|slot| slot.value).collect()
    }

    /// The next place in the order of creation.
    #[inline]
    fn take_sequence(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        sequence
    }

    /// The first waiting timer, if it is due.
    #[inline]
    fn first_due(&self, now: Nanos) -> Option<Entry> {
        self.waiting
            .first()
            .filter(|entry| entry.time <= now && entry.time < NEVER)
            .copied()
    }

    /// Notes where a timer is.
    #[inline]
    fn set_place(&mut self, id: TimerId, place: Place) {
        if let Some(slot) = self.slots.get_mut(id) {
            slot.place = place;
        }
    }

    /// Puts an entry at a position of the heap, and notes it.
    #[inline]
    fn put(&mut self, position: usize, entry: Entry) {
        self.waiting[position] = entry;
        self.set_place(entry.id, Place::Waiting(position));
    }

    /// Drops an entry from the fresh list; the last one takes its position.
    #[inline]
    fn leave_fresh(&mut self, position: usize) {
        self.fresh.swap_remove(position);
        if let Some(&Entry { id, .. }) = self.fresh.get(position) {
            self.set_place(id, Place::Fresh(position));
        }
        give_back(&mut self.fresh);
    }

    /// Adds an entry to the heap.
    fn wait(&mut self, entry: Entry) {
        self.waiting.push(entry);
        self.rise(self.waiting.len() - 1, entry);
    }

    /// Drops an entry from the heap; the last one fills the gap from where it belongs.
    fn leave_waiting(&mut self, position: usize) {
        self.waiting.swap_remove(position);
        if let Some(&moved) = self.waiting.get(position) {
            if position > 0 && moved.precedes(&self.waiting[(position - 1) / ARITY]) {
                self.rise(position, moved);
            } else {
                self.sink(position, moved);
            }
        }
        give_back(&mut self.waiting);
    }

    /// Puts an entry at this position or, past every later ancestor, above it.
    fn rise(&mut self, mut position: usize, entry: Entry) {
        while position > 0 {
            let parent = (position - 1) / ARITY;
            let above = self.waiting[parent];
            if !entry.precedes(&above) {
                break;
            }
            self.put(position, above);
            position = parent;
        }
        self.put(position, entry);
    }

    /// Puts an entry at this position or, past every earlier child, below it.
    fn sink(&mut self, mut position: usize, entry: Entry) {
        while let Some(child) = self.first_child(position) {
            let below = self.waiting[child];
            if !below.precedes(&entry) {
                break;
            }
            self.put(position, below);
            position = child;
        }
        self.put(position, entry);
    }

    /// The position of the child that fires first.
    #[inline]
    fn first_child(&self, parent: usize) -> Option<usize> {
        let start = parent * ARITY + 1;
        let end = self.waiting.len().min(start + ARITY);
        let mut children = start..end;
        let first = children.next()?;
        Some(children.fold(first, |best, child| {
            if self.waiting[child].precedes(&self.waiting[best]) {
                child
            } else {
                best
            }
        }))
    }
}

/// Shrinks a list that is at most a quarter full to twice its length.
#[inline]
fn give_back(list: &mut Vec<Entry>) {
    if list.capacity() > KEPT && list.len() <= list.capacity() / 4 {
        list.shrink_to(KEPT.max(list.len() * 2));
    }
}

#[cfg(test)]
mod tests;
