//! Deadlines in order: which timer is due, which is next, and how to be rid of one at once.
//!
//! Apart because it knows nothing of clocks, coroutines or callbacks: a time is a number, a value
//! is the caller's, a few words to copy, and nothing here runs or drops a value.
//!
//! ```text
//!            arm(after)                arm_at(deadline)
//!                │                            │
//!                ▼         stamp(now)         ▼        pop_due(now)
//!             [Fresh] ───────────────────▶ [Waiting] ───────────────▶ [Due] ─▶ gone, unless it is to stay
//!                │                            │                         │
//!                │ remove                     │ remove                  │ remove
//!                ▼                            ▼                         ▼
//!              gone               gone; its entry is stale            gone
//! ```
//!
//! Invariants:
//!
//! 1. A slot knows where in `fresh` its timer was put. It is fresh as long as its entry is there, so a stamp writes no slot, and
//!    removing a fresh timer leaves nothing behind.
//! 2. `waiting` is a 4-ary min-heap by (deadline, sequence). The sequence is given when a timer is
//!    armed, so equal deadlines come out in creation order, however and whenever stamped.
//! 3. Removing a waiting timer leaves its entry in the heap, stale. The first entry is never stale, and at most three of four are: so
//!    the next deadline is true, and sweeping costs each removal a constant.
//! 4. A timer never fires early: it becomes due only if its deadline is not after `now`, and a
//!    fresh one has no deadline yet. A deadline of [`NEVER`] does not become due at all.
//! 5. Both lists and the slots shrink with their contents, at a constant cost for each timer.

use crate::arena::{Arena, Id};

/// A time or a duration in nanoseconds, on the loop's clock.
pub(crate) type Nanos = u64;

/// Names one timer of one [`Timers`], and once it is gone nothing.
pub(crate) type TimerId = Id;

/// The deadline that never comes: the end of the scale, to which what does not fit saturates.
pub(crate) const NEVER: Nanos = Nanos::MAX;

/// The children of one node of the heap.
const ARITY: usize = 4;

/// For so long a sleep may be stretched for the sake of further timers: as long as the kernel's own slack for a thread that sleeps.
const GRAIN: Nanos = 50_000;

/// So many timers due within [`GRAIN`] are worth it.
const CROWD: usize = 8;

/// How many entries at the front of the heap are looked at for a crowd: the first, its children and theirs.
const FRONT: usize = 1 + ARITY + ARITY * ARITY;

/// The number of entries up to which a list keeps its memory.
const KEPT: usize = 1024;

/// Holds timers, each with a value, and tells which are due.
#[derive(Debug)]
pub(crate) struct Timers<V> {
    /// Every timer that is armed or due.
    slots: Arena<Slot<V>>,
    /// The timers without a deadline, in no order; `time` is their duration.
    fresh: Vec<Entry>,
    /// The timers with a deadline that are not due, as a heap, and stale entries; `time` is their deadline.
    waiting: Vec<Entry>,
    /// How many entries of the heap are stale.
    stale: usize,
    /// The sequence of the next timer.
    next_sequence: u64,
}

/// One timer.
#[derive(Debug)]
struct Slot<V> {
    /// Where it is.
    place: Place,
    /// What the caller armed it with.
    value: V,
}

/// Where a timer is, in one word: where in `fresh` it was put, or one of the two marks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place(usize);

impl Place {
    /// In the heap from the beginning.
    const WAITING: Place = Place(usize::MAX);
    /// In no list, since its deadline has passed.
    const DUE: Place = Place(usize::MAX - 1);
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
    /// The order in which timers fire. One number, so that two are compared without a branch.
    #[inline]
    fn order(&self) -> u128 {
        u128::from(self.time) << 64 | u128::from(self.sequence)
    }

    /// Whether this timer fires before the other.
    #[inline]
    fn precedes(&self, other: &Entry) -> bool {
        self.order() < other.order()
    }
}

impl<V: Copy> Timers<V> {
    /// No timers, and nothing allocated.
    pub(crate) const fn new() -> Self {
        Timers {
            slots: Arena::new(),
            fresh: Vec::new(),
            waiting: Vec::new(),
            stale: 0,
            next_sequence: 0,
        }
    }

    /// Arms a timer for `after` from the next [`Timers::stamp`]; until then it has no deadline and
    /// costs the heap nothing.
    #[inline]
    pub(crate) fn arm(&mut self, after: Nanos, value: V) -> TimerId {
        let place = Place(self.fresh.len());
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
        let place = Place::WAITING;
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
        if self.is_fresh(place, id) {
            self.leave_fresh(place);
        } else if place != Place::DUE {
            self.stale += 1;
            self.tidy();
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

    /// When a loop that falls asleep now should wake: at the next deadline; or, where many come within [`GRAIN`] from now, once for all of
    /// them, at its end.
    pub(crate) fn wake_at(&self, now: Nanos) -> Option<Nanos> {
        let next = self.next_deadline()?;
        let end = now.saturating_add(GRAIN);
        let front = &self.waiting[..FRONT.min(self.waiting.len())];
        let near = front.iter().filter(|entry| entry.time <= end).count();
        Some(if near < CROWD { next } else { end })
    }

    /// Makes due the first waiting timer whose deadline is not after `now`, by deadline and, where those are equal, by creation.
    ///
    /// Its value is taken out, unless it is one that `stays`: then the timer is still here, and can be changed, until it is removed.
    pub(crate) fn pop_due(
        &mut self,
        now: Nanos,
        stays: impl FnOnce(&V) -> bool,
    ) -> Option<(TimerId, Option<V>)> {
        let id = self.first_due(now)?;
        self.drop_first();
        self.tidy();
        let slot = self.slots.get_mut(id)?;
        if stays(&slot.value) {
            slot.place = Place::DUE;
            return Some((id, None));
        }
        let value = self.slots.remove(id).map(|slot| slot.value);
        Some((id, value))
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
        self.stale = 0;
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
    fn first_due(&self, now: Nanos) -> Option<TimerId> {
        let first = self.waiting.first()?;
        (first.time <= now && first.time < NEVER).then_some(first.id)
    }

    /// Whether the timer that was put there is still fresh.
    #[inline]
    fn is_fresh(&self, place: Place, id: TimerId) -> bool {
        self.fresh.get(place.0).is_some_and(|entry| entry.id == id)
    }

    /// Drops an entry from the fresh list; the last one takes its position.
    #[inline]
    fn leave_fresh(&mut self, place: Place) {
        let last = self.fresh.len() - 1;
        if place.0 < last {
            let moved = self.fresh[last];
            self.fresh[place.0] = moved;
            if let Some(slot) = self.slots.get_mut(moved.id) {
                slot.place = place;
            }
        }
        self.fresh.truncate(last);
        give_back(&mut self.fresh);
    }

    /// Drops stale entries from the front of the heap, or all of them if they are too many (keeps invariant 3).
    #[inline]
    fn tidy(&mut self) {
        if self.stale > 0 {
            self.drop_stale();
        }
        give_back(&mut self.waiting);
    }

    /// Drops stale entries.
    fn drop_stale(&mut self) {
        if self.waiting.len() - self.stale < self.waiting.len() / 4 {
            return self.sweep();
        }
        while let Some(first) = self.waiting.first()
            && !self.slots.contains(first.id)
        {
            self.drop_first();
            self.stale -= 1;
        }
    }

    /// Drops all stale entries, and puts the rest in order.
    #[cold]
    fn sweep(&mut self) {
        self.waiting.retain(|entry| self.slots.contains(entry.id));
        self.stale = 0;
        for position in (0..self.waiting.len().div_ceil(ARITY)).rev() {
            let entry = self.waiting[position];
            let gap = sink(&mut self.waiting, position);
            rise(&mut self.waiting, gap, position, entry);
        }
    }

    /// Adds an entry to the heap.
    #[inline]
    fn wait(&mut self, entry: Entry) {
        let gap = self.waiting.len();
        self.waiting.push(entry);
        rise(&mut self.waiting, gap, 0, entry);
    }

    /// Drops the first entry of the heap.
    fn drop_first(&mut self) {
        let Some(last) = self.waiting.pop() else {
            return;
        };
        if !self.waiting.is_empty() {
            // The last belongs near the end: it is cheaper to sink the gap all the way than to compare with it at every step.
            let gap = sink(&mut self.waiting, 0);
            rise(&mut self.waiting, gap, 0, last);
        }
    }
}

/// Puts an entry into a gap of the heap or, past every later ancestor that is not above `top`, above it.
#[inline]
fn rise(heap: &mut [Entry], mut gap: usize, top: usize, entry: Entry) {
    while gap > top {
        let parent = (gap - 1) / ARITY;
        let above = heap[parent];
        if !entry.precedes(&above) {
            break;
        }
        heap[gap] = above;
        gap = parent;
    }
    heap[gap] = entry;
}

/// Moves a gap of the heap down to where it has no children, and gives its position.
#[inline]
fn sink(heap: &mut [Entry], mut gap: usize) -> usize {
    loop {
        let start = gap * ARITY + 1;
        let child = match heap.get(start..) {
            Some([a, b, c, d, ..]) => start + first_of_four(a, b, c, d),
            Some(last @ [_, ..]) => start + first_of(last),
            _ => return gap,
        };
        heap[gap] = heap[child];
        gap = child;
    }
}

/// Which of the four fires first. Without a branch, which would be mispredicted half the time.
#[inline]
fn first_of_four(a: &Entry, b: &Entry, c: &Entry, d: &Entry) -> usize {
    let left = usize::from(b.precedes(a));
    let right = 2 + usize::from(d.precedes(c));
    let first = a.order().min(b.order());
    let second = c.order().min(d.order());
    if second < first { right } else { left }
}

/// Which of a few fires first.
fn first_of(few: &[Entry]) -> usize {
    let first = few
        .iter()
        .enumerate()
        .min_by_key(|(_, entry)| entry.order());
    first.map_or(0, |(position, _)| position)
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
