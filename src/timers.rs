//! Deadlines in order: which timer is due, which is next, and how to be rid of one at once.
//!
//! Apart because it knows nothing of clocks, coroutines or callbacks: a time is a number, a value
//! is the caller's, a few words to copy, and nothing here runs or drops a value.
//!
//! ```text
//!            arm(after)                arm_at(deadline)
//!                │                            │
//!                ▼         stamp(now)         ▼        gather(now)
//!             [Fresh] ───────────────────▶ [Waiting] ───────────────▶ [Due] ─▶ gone, unless it is to stay
//!                │                            │                         │
//!                │ remove                     │ remove                  │ remove
//!                ▼                            ▼                         ▼
//!              gone               gone; its entry is stale            gone
//! ```
//!
//! Invariants:
//!
//! 1. The register knows where in `fresh` a timer was put. It is fresh as long as its entry is there, so a stamp writes nothing else, and
//!    removing a fresh timer leaves nothing behind.
//! 2. `waiting` is a 4-ary min-heap by deadline and, where those are equal, by creation, however and whenever stamped: which was created
//!    first the generations tell, as long as no timer is older than 2³² others.
//! 3. Removing a waiting timer leaves its entry in the heap, stale. The first entry is never stale, and at most three of four are: so
//!    the next deadline is true, and sweeping costs each removal a constant.
//! 4. A timer never fires early: it becomes due only if its deadline is not after `now`, and a
//!    fresh one has no deadline yet. A deadline of [`NEVER`] does not become due at all.
//! 5. The lists and the register shrink with their contents, at a constant cost for each timer.
//! 6. Those that are gathered are taken or scattered before anybody else looks at a timer.

use crate::arena::{Id, index_of};
use crate::register::{Register, Tag};

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
    /// Every timer that is armed or due, and where it is.
    register: Register<Place>,
    /// What each was armed with, by its place in the register.
    values: Vec<V>,
    /// The timers without a deadline, in no order; `time` is their duration.
    fresh: Vec<Entry>,
    /// The timers with a deadline that are not due, as a heap, and stale entries; `time` is their deadline.
    waiting: Vec<Entry>,
    /// How many entries of the heap are stale.
    stale: usize,
    /// Those on their way out of the heap, the first at the end.
    gathered: Vec<Entry>,
}

/// Where a timer is: where in `fresh` it was put, or one of the marks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place(u32);

impl Place {
    /// In the heap from the beginning.
    const WAITING: Place = Place(u32::MAX - 1);
    /// In no list, since its deadline has passed.
    const DUE: Place = Place(u32::MAX - 2);

    /// There in `fresh`.
    #[inline]
    fn fresh(index: usize) -> Place {
        Place(index_of(index))
    }
}

impl Tag for Place {
    const VACANT: Place = Place(u32::MAX);

    #[inline]
    fn is_vacant(self) -> bool {
        self == Place::VACANT
    }
}

/// A timer's line in one of the lists.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The duration of a fresh timer, the deadline of a waiting one.
    time: Nanos,
    /// The timer.
    id: TimerId,
}

impl Entry {
    /// Whether this timer fires before the other.
    #[inline]
    fn precedes(&self, other: &Entry, age: Age) -> bool {
        age.order(self) < age.order(other)
    }
}

/// From which id on the age of a timer counts: that of the next one, so that the oldest come first.
#[derive(Clone, Copy)]
struct Age(u64);

impl Age {
    /// The order in which timers fire. One number, so that two are compared without a branch.
    #[inline]
    fn order(self, entry: &Entry) -> u128 {
        let created = entry.id.to_bits().wrapping_sub(self.0);
        u128::from(entry.time) << 64 | u128::from(created)
    }
}

impl<V: Copy> Timers<V> {
    /// No timers, and nothing allocated.
    pub(crate) const fn new() -> Self {
        Timers {
            register: Register::new(),
            values: Vec::new(),
            fresh: Vec::new(),
            waiting: Vec::new(),
            stale: 0,
            gathered: Vec::new(),
        }
    }

    /// Arms a timer for `after` from the next [`Timers::stamp`]; until then it has no deadline and
    /// costs the heap nothing.
    #[inline]
    pub(crate) fn arm(&mut self, after: Nanos, value: V) -> TimerId {
        let id = self.enter(Place::fresh(self.fresh.len()), value);
        self.fresh.push(Entry { time: after, id });
        id
    }

    /// Arms a timer for this deadline, which may have passed already.
    pub(crate) fn arm_at(&mut self, deadline: Nanos, value: V) -> TimerId {
        let id = self.enter(Place::WAITING, value);
        self.wait(Entry { time: deadline, id });
        id
    }

    /// Enters a timer.
    #[inline]
    fn enter(&mut self, place: Place, value: V) -> TimerId {
        let id = self.register.enter(place);
        match self.values.get_mut(id.index()) {
            Some(vacant) => *vacant = value,
            None => self.values.push(value),
        }
        id
    }

    /// Gives memory back where it is time to.
    #[inline]
    fn shrink(&mut self) {
        if self.register.is_sparse()
            && let Some(needed) = self.register.shrink()
        {
            self.values.truncate(needed);
            self.values.shrink_to_fit();
        }
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
        let place = self.register.leave(id)?;
        let value = *self.values.get(id.index())?;
        self.shrink();
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
        self.register.get(id)?;
        self.values.get_mut(id.index())
    }

    /// Whether the timer is still here, be it fresh, waiting or due.
    #[inline]
    pub(crate) fn contains(&self, id: TimerId) -> bool {
        self.register.get(id).is_some()
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

    /// Gathers the first waiting timers whose deadline is not after `now`, so many at most, by deadline and, where those are equal, by
    /// creation. Tells whether there are any.
    ///
    /// It looks at the heap alone, and [`take`](Timers::take) not at that: what one timer has to wait for in memory then comes while others
    /// are looked at.
    pub(crate) fn gather(&mut self, now: Nanos, most: usize) -> bool {
        while self.gathered.len() < most
            && let Some(first) = self.first_due(now)
        {
            self.gathered.push(first);
            self.drop_first();
            self.tidy();
        }
        self.gathered.reverse();
        !self.gathered.is_empty()
    }

    /// Makes the first of the gathered timers due.
    ///
    /// Its value is taken out, unless it is one that `stays`: then the timer is still here, and can be changed, until it is removed.
    #[inline]
    pub(crate) fn take(&mut self, stays: impl FnOnce(&V) -> bool) -> Option<(TimerId, Option<V>)> {
        let Entry { id, .. } = self.gathered.pop()?;
        let value = *self.values.get(id.index())?;
        if stays(&value) {
            *self.register.get_mut(id)? = Place::DUE;
            return Some((id, None));
        }
        self.register.leave(id)?;
        self.shrink();
        Some((id, Some(value)))
    }

    /// Lets the gathered timers that were not taken wait again.
    pub(crate) fn scatter(&mut self) {
        while let Some(entry) = self.gathered.pop() {
            self.wait(entry);
        }
    }

    /// The number of timers, be they fresh, waiting or due.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.register.len()
    }

    /// The number of timers that are due and still here. Looks at every timer: for a report.
    pub(crate) fn count_due(&self) -> usize {
        let places = self.register.iter();
        places.filter(|(_, place)| *place == Place::DUE).count()
    }

    /// Whether there is no timer, be it fresh, waiting or due.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.register.len() == 0
    }

    /// Takes out every timer and gives all memory back; the values come in no promised order.
    pub(crate) fn take_all(&mut self) -> Vec<V> {
        let all = self.register.iter().map(|(id, _)| self.values[id.index()]);
        let all = all.collect();
        self.fresh = Vec::new();
        self.waiting = Vec::new();
        self.gathered = Vec::new();
        self.stale = 0;
        self.values = Vec::new();
        self.register.clear();
        all
    }

    /// By what the order of creation is told.
    #[inline]
    fn age(&self) -> Age {
        Age(Id::new(0, self.register.next_generation()).to_bits())
    }

    /// The first waiting timer, if it is due.
    #[inline]
    fn first_due(&self, now: Nanos) -> Option<Entry> {
        let first = self.waiting.first()?;
        (first.time <= now && first.time < NEVER).then_some(*first)
    }

    /// Whether the timer that was put there is still fresh.
    #[inline]
    fn is_fresh(&self, place: Place, id: TimerId) -> bool {
        let entry = self.fresh.get(place.0 as usize);
        entry.is_some_and(|entry| entry.id == id)
    }

    /// Drops an entry from the fresh list; the last one takes its position.
    #[inline]
    fn leave_fresh(&mut self, place: Place) {
        let last = self.fresh.len() - 1;
        let gap = place.0 as usize;
        if gap < last {
            let moved = self.fresh[last];
            self.fresh[gap] = moved;
            if let Some(moved) = self.register.get_mut(moved.id) {
                *moved = place;
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
            && !self.contains(first.id)
        {
            self.drop_first();
            self.stale -= 1;
        }
    }

    /// Drops all stale entries, and puts the rest in order.
    #[cold]
    fn sweep(&mut self) {
        let register = &self.register;
        let waits = |entry: &Entry| register.get(entry.id).is_some();
        self.waiting.retain(waits);
        self.stale = 0;
        let age = self.age();
        for position in (0..self.waiting.len().div_ceil(ARITY)).rev() {
            let entry = self.waiting[position];
            let gap = sink(&mut self.waiting, position, age);
            rise(&mut self.waiting, gap, position, entry, age);
        }
    }

    /// Adds an entry to the heap.
    #[inline]
    fn wait(&mut self, entry: Entry) {
        let (gap, age) = (self.waiting.len(), self.age());
        self.waiting.push(entry);
        rise(&mut self.waiting, gap, 0, entry, age);
    }

    /// Drops the first entry of the heap.
    fn drop_first(&mut self) {
        let Some(last) = self.waiting.pop() else {
            return;
        };
        if !self.waiting.is_empty() {
            // The last belongs near the end: it is cheaper to sink the gap all the way than to compare with it at every step.
            let age = self.age();
            let gap = sink(&mut self.waiting, 0, age);
            rise(&mut self.waiting, gap, 0, last, age);
        }
    }
}

/// Puts an entry into a gap of the heap or, past every later ancestor that is not above `top`, above it.
#[inline]
fn rise(heap: &mut [Entry], mut gap: usize, top: usize, entry: Entry, age: Age) {
    while gap > top {
        let parent = (gap - 1) / ARITY;
        let above = heap[parent];
        if !entry.precedes(&above, age) {
            break;
        }
        heap[gap] = above;
        gap = parent;
    }
    heap[gap] = entry;
}

/// Moves a gap of the heap down to where it has no children, and gives its position.
#[inline]
fn sink(heap: &mut [Entry], mut gap: usize, age: Age) -> usize {
    loop {
        let start = gap * ARITY + 1;
        let child = match heap.get(start..) {
            Some([a, b, c, d, ..]) => start + first_of_four([a, b, c, d], age),
            Some(last @ [_, ..]) => start + first_of(last, age),
            _ => return gap,
        };
        heap[gap] = heap[child];
        gap = child;
    }
}

/// Which of the four fires first. Without a branch, which would be mispredicted half the time.
#[inline]
fn first_of_four(four: [&Entry; 4], age: Age) -> usize {
    let [a, b, c, d] = four;
    let (a, b) = (age.order(a), age.order(b));
    let (c, d) = (age.order(c), age.order(d));
    let left = usize::from(b < a);
    let right = 2 + usize::from(d < c);
    if c.min(d) < a.min(b) { right } else { left }
}

/// Which of a few fires first.
fn first_of(few: &[Entry], age: Age) -> usize {
    let first = few
        .iter()
        .enumerate()
        .min_by_key(|(_, entry)| age.order(entry));
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
