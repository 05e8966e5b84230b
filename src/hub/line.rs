//! Who waits for room in a keyed engine: one line for each key, linked through one table of waiters.
//!
//! It is apart because a key that nobody waits for has no line, and a line costs a waiter nothing but his place.
//!
//! Invariants:
//! 1. Who is due, because his key has room and he waits for room of all, is the first in his key's line.
//! 2. The key's turn goes to who is behind him when he leaves, and is gone when nobody is: who comes later begins at the back.
//!
//! ```text
//!            due: a ▶ b                      due: x ▶ b
//!   line a:       a ─ x ─ y   a gives up          x ─ y
//!   line b:       b           ─────────▶          b
//! ```

use crate::arena::{Arena, Id};
use crate::hub::index::ByPlace;
use crate::hub::message::{Item, Want};
use crate::waiter::WaiterSlot;

/// Somebody in line, or who was served and has not looked yet.
pub(crate) struct Waiter<M, R, E> {
    /// In which key's line.
    pub(crate) key: Id,
    /// What he wants, or got.
    pub(crate) want: Want<M, R, E>,
    /// How to wake him.
    pub(crate) slot: WaiterSlot,
    /// His neighbours in his key's line, and among those who are due.
    links: [Links; 2],
    /// Whether he is due.
    due: bool,
}

/// Two neighbours, by their place in the table.
#[derive(Clone, Copy)]
struct Links {
    /// Who is before him.
    before: u32,
    /// Who is behind him.
    behind: u32,
}

/// The neighbours in a key's line.
const LINE: usize = 0;

/// The neighbours among those who are due.
const DUE: usize = 1;

/// For how many lines memory is kept when nobody waits.
const KEPT: usize = 1024;

/// The place of nobody.
const NOBODY: u32 = u32::MAX;

/// Nobody on either side.
const ALONE: Links = Links {
    before: NOBODY,
    behind: NOBODY,
};

/// The two ends of a line, by their place in the table.
#[derive(Clone, Copy)]
struct Line {
    /// The first.
    first: u32,
    /// The last.
    last: u32,
}

impl Line {
    /// Nobody.
    const EMPTY: Line = Line {
        first: NOBODY,
        last: NOBODY,
    };

    /// Whether nobody waits.
    #[inline]
    fn is_empty(self) -> bool {
        self.first == NOBODY
    }

    /// Makes two places neighbours; nobody before or behind somebody makes him an end.
    fn join<M, R, E>(
        &mut self,
        which: usize,
        waiters: &mut Arena<Waiter<M, R, E>>,
        before: u32,
        behind: u32,
    ) {
        match at(waiters, before) {
            Some(one) => one.links[which].behind = behind,
            None => self.first = behind,
        }
        match at(waiters, behind) {
            Some(one) => one.links[which].before = before,
            None => self.last = before,
        }
    }

    /// Puts somebody at the end.
    fn append<M, R, E>(&mut self, which: usize, waiters: &mut Arena<Waiter<M, R, E>>, place: u32) {
        self.join(which, waiters, self.last, place);
        self.last = place;
    }
}

/// Who is in this place.
fn at<M, R, E>(waiters: &mut Arena<Waiter<M, R, E>>, place: u32) -> Option<&mut Waiter<M, R, E>> {
    waiters.at_mut(place as usize)
}

/// The lines of all keys.
pub(crate) struct Lines<M, R, E> {
    /// Those in line, and those who were served and have not looked yet.
    waiters: Arena<Waiter<M, R, E>>,
    /// The lines in which anybody is, by their key's place.
    ends: ByPlace<Line>,
    /// How many are in line.
    waiting: usize,
    /// Those who are due, in the order in which room of all goes to them.
    due: Line,
}

impl<M, R, E> Lines<M, R, E> {
    /// Nobody waits.
    pub(crate) fn new() -> Self {
        Lines {
            waiters: Arena::new(),
            ends: ByPlace::default(),
            waiting: 0,
            due: Line::EMPTY,
        }
    }

    /// How many are in line.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Somebody in line, or who was served.
    pub(crate) fn get(&self, waiter: Id) -> Option<&Waiter<M, R, E>> {
        self.waiters.get(waiter)
    }

    /// The same, to change.
    pub(crate) fn get_mut(&mut self, waiter: Id) -> Option<&mut Waiter<M, R, E>> {
        self.waiters.get_mut(waiter)
    }

    /// Takes somebody out who is in no line any more.
    pub(crate) fn remove(&mut self, waiter: Id) -> Option<Waiter<M, R, E>> {
        self.waiters.remove(waiter)
    }

    /// Whom a key's line begins with.
    fn first(&self, key: Id) -> u32 {
        self.ends.get(&key).map_or(NOBODY, |line| line.first)
    }

    /// Goes to the end of a key's line.
    pub(crate) fn line_up(&mut self, key: Id, want: Want<M, R, E>) -> Id {
        let waiter = self.waiters.insert(Waiter {
            key,
            want,
            slot: WaiterSlot::EMPTY,
            links: [ALONE; 2],
            due: false,
        });
        let line = self.ends.entry(key).or_insert(Line::EMPTY);
        line.append(LINE, &mut self.waiters, place(waiter));
        self.waiting += 1;
        waiter
    }

    /// Takes a waiter out of his line; he stays in the table. If he was due, who is behind him is so in his stead. Tells whether anybody
    /// is left in the line.
    pub(crate) fn unline(&mut self, waiter: Id) -> bool {
        let Some(one) = self.waiters.get_mut(waiter) else {
            return false;
        };
        let key = one.key;
        let [in_line, among_due] = std::mem::replace(&mut one.links, [ALONE; 2]);
        let was_due = std::mem::take(&mut one.due);
        let Some(line) = self.ends.get_mut(&key) else {
            return false;
        };
        self.waiting -= 1;
        let waiters = &mut self.waiters;
        line.join(LINE, waiters, in_line.before, in_line.behind);
        let is_left = !line.is_empty();
        if !is_left {
            self.ends.remove(&key);
            if self.ends.is_empty() {
                self.ends.shrink_to(KEPT);
            }
        }
        if !was_due {
            return is_left;
        }
        if let Some(next) = at(waiters, in_line.behind) {
            next.due = true;
            self.due
                .join(DUE, waiters, among_due.before, in_line.behind);
            self.due
                .join(DUE, waiters, in_line.behind, among_due.behind);
        } else {
            self.due
                .join(DUE, waiters, among_due.before, among_due.behind);
        }
        is_left
    }

    // Room of all.

    /// The first in a key's line is due, behind all others, unless he is already.
    pub(crate) fn make_due(&mut self, key: Id) {
        let first = self.first(key);
        if let Some(one) = at(&mut self.waiters, first).filter(|one| !one.due) {
            one.due = true;
            self.due.append(DUE, &mut self.waiters, first);
        }
    }

    /// Whether the first in a key's line is due.
    pub(crate) fn is_due(&self, key: Id) -> bool {
        let first = self.waiters.at(self.first(key) as usize);
        first.is_some_and(|(_, first)| first.due)
    }

    /// Whether anybody is due.
    #[inline]
    pub(crate) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Who is due first.
    pub(crate) fn first_due(&self) -> Option<(Id, &Waiter<M, R, E>)> {
        self.waiters.at(self.due.first as usize)
    }

    /// He is due no more; he stays in his line.
    pub(crate) fn pass_first_due(&mut self) {
        let waiters = &mut self.waiters;
        if let Some(first) = at(waiters, self.due.first) {
            first.due = false;
            let links = std::mem::replace(&mut first.links[DUE], ALONE);
            self.due.join(DUE, waiters, links.before, links.behind);
        }
    }

    /// How many stand in a key's line.
    pub(crate) fn count(&self, key: Id) -> usize {
        let mut next = self.first(key);
        let mut count = 0;
        while let Some((_, waiter)) = self.waiters.at(next as usize) {
            count += 1;
            next = waiter.links[LINE].behind;
        }
        count
    }

    /// What somebody who lined up got, if anything yet; he leaves then.
    pub(crate) fn collect(&mut self, waiter: Id) -> Option<Want<M, R, E>> {
        if self.waiters.get(waiter)?.want.is_open() {
            return None;
        }
        self.waiters.remove(waiter).map(|waiter| waiter.want)
    }

    /// Takes out how somebody is woken.
    pub(crate) fn take_slot(&mut self, waiter: Id) -> WaiterSlot {
        let Some(waiter) = self.waiters.get_mut(waiter) else {
            return WaiterSlot::EMPTY;
        };
        let slot = waiter.slot;
        waiter.slot = slot.vacated();
        slot
    }

    /// Changes how somebody is woken.
    pub(crate) fn set_slot(&mut self, waiter: Id, slot: WaiterSlot) {
        if let Some(waiter) = self.waiters.get_mut(waiter) {
            waiter.slot = slot;
        }
    }

    /// Turns everybody in a key's line away. Gives the slots to wake, and the messages of other threads.
    pub(crate) fn turn_away(&mut self, key: Id) -> (Vec<WaiterSlot>, Vec<Item<M, R, E>>) {
        let (mut slots, mut outside) = (Vec::new(), Vec::new());
        while let Some((first, _)) = self.waiters.at(self.first(key) as usize) {
            self.unline(first);
            let Some(waiter) = self.waiters.get_mut(first) else {
                continue;
            };
            slots.push(waiter.slot);
            waiter.slot = waiter.slot.vacated();
            waiter.want = match std::mem::replace(&mut waiter.want, Want::Admitted) {
                Want::Item(item) => Want::TurnedAway(Some(item)),
                Want::Outside(item) => {
                    self.waiters.remove(first);
                    outside.push(item);
                    continue;
                }
                _ => Want::TurnedAway(None),
            };
        }
        (slots, outside)
    }
}

/// Where somebody is in the table.
fn place(waiter: Id) -> u32 {
    u32::try_from(waiter.index()).expect("an id's slot is a u32")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places of those who are due, first to last, after both directions were found to agree.
    fn due(lines: &Lines<(), (), ()>) -> Vec<usize> {
        let walk = |from: u32, step: fn(&Links) -> u32| {
            let mut at = from;
            std::iter::from_fn(move || {
                let (id, waiter) = lines.waiters.at(at as usize)?;
                assert!(waiter.due);
                at = step(&waiter.links[DUE]);
                Some(id.index())
            })
            .collect::<Vec<_>>()
        };
        let there = walk(lines.due.first, |links| links.behind);
        let mut back = walk(lines.due.last, |links| links.before);
        back.reverse();
        assert_eq!(there, back);
        there
    }

    #[test]
    fn who_leaves_hands_his_turn_to_who_is_behind_him_and_the_last_leaves_none() {
        for leaving in 0..3 {
            let mut lines = Lines::new();
            let keys = [5, 6, 7].map(Id::from_bits);
            let mut ids = vec![];
            for _ in 0..2 {
                for key in keys {
                    ids.push(lines.line_up(key, Want::Place));
                    lines.make_due(key);
                }
            }
            assert_eq!(due(&lines), [0, 1, 2]);
            let mut expected = vec![0, 1, 2];
            assert!(lines.unline(ids[leaving]), "another is left");
            expected[leaving] += 3;
            assert_eq!(due(&lines), expected);
            assert!(!lines.unline(ids[leaving + 3]), "nobody is left");
            expected.remove(leaving);
            assert_eq!(due(&lines), expected);
            let last = lines.line_up(keys[leaving], Want::Place);
            lines.make_due(keys[leaving]);
            expected.push(last.index());
            assert_eq!(due(&lines), expected, "who comes then begins at the back");
            while lines.has_due() {
                lines.pass_first_due();
                expected.remove(0);
                assert_eq!(due(&lines), expected);
            }
            assert_eq!(lines.waiting(), 5);
        }
    }
}
