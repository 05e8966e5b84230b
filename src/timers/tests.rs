//! Tests of the timers by example; those against a sorted list are in `model`.
//!
//! After every operation `check` looks at the invariants within, and the model's `compare` at all that is seen from outside.

mod model;

use super::*;

impl<V: Copy> Timers<V> {
    /// Makes the first timer due whose time has come.
    fn pop_due(
        &mut self,
        now: Nanos,
        stays: impl FnOnce(&V) -> bool,
    ) -> Option<(TimerId, Option<V>)> {
        self.gather(now, 1);
        self.take(stays)
    }

    /// Takes out the first timer that is due.
    fn take_due(&mut self, now: Nanos) -> Option<(TimerId, V)> {
        let (id, value) = self.pop_due(now, |_| false)?;
        value.map(|value| (id, value))
    }

    /// Makes the first timer due that is, and leaves it here.
    fn pop_due_id(&mut self, now: Nanos) -> Option<TimerId> {
        let (id, value) = self.pop_due(now, |_| true)?;
        assert!(value.is_none());
        Some(id)
    }

    /// The deadline of a waiting timer.
    fn deadline(&self, id: TimerId) -> Option<Nanos> {
        self.register.get(id)?;
        let entry = self.waiting.iter().find(|entry| entry.id == id)?;
        Some(entry.time)
    }
}

/// Long enough never to come.
const HOUR: Nanos = 3_600_000_000_000;

/// Every value that is due, in order.
fn pop_all<V: Copy>(timers: &mut Timers<V>, now: Nanos) -> Vec<V> {
    std::iter::from_fn(|| timers.take_due(now).map(|(_, value)| value)).collect()
}

/// Panics unless every slot has its one entry or is due, the heap is in order, and stale entries are counted, few, and never first.
fn check<V: Copy>(timers: &Timers<V>) {
    let mut due = 0;
    let mut listed: Vec<_> = timers
        .waiting
        .iter()
        .map(|entry| entry.id.to_bits())
        .collect();
    listed.sort_unstable();
    assert!(listed.is_sorted_by(|one, next| one < next), "each once");
    for (id, place) in timers.register.iter() {
        let waiting = usize::from(listed.binary_search(&id.to_bits()).is_ok());
        let fresh = usize::from(timers.is_fresh(place, id));
        let is_due = usize::from(place == Place::DUE);
        assert_eq!(waiting + fresh + is_due, 1);
        due += is_due;
    }
    let listed = timers.fresh.len() + timers.waiting.len() - timers.stale;
    assert_eq!(listed + due, timers.len());
    let gone = |entry: &&Entry| !timers.contains(entry.id);
    assert_eq!(timers.waiting.iter().filter(gone).count(), timers.stale);
    assert!(timers.waiting.len() - timers.stale >= timers.waiting.len() / 4);
    assert!(!timers.waiting.first().is_some_and(|first| gone(&first)));
    for position in 1..timers.waiting.len() {
        let parent = &timers.waiting[(position - 1) / ARITY];
        assert!(parent.precedes(&timers.waiting[position], timers.age()));
    }
}

#[test]
fn a_timer_fires_at_its_deadline_and_not_a_nanosecond_before() {
    let mut timers = Timers::new();
    let id = timers.arm(10, "ten");
    timers.stamp(100);
    assert_eq!(timers.next_deadline(), Some(110));
    assert_eq!(timers.take_due(109), None);
    assert_eq!(timers.take_due(110), Some((id, "ten")));
    assert_eq!(timers.take_due(u64::MAX), None);
    assert!(timers.is_empty());
}

#[test]
fn a_fresh_timer_has_no_deadline_and_is_never_due() {
    let mut timers = Timers::new();
    let id = timers.arm(0, ());
    assert!(timers.has_fresh());
    assert_eq!(timers.deadline(id), None);
    assert_eq!(timers.next_deadline(), None);
    assert_eq!(timers.take_due(u64::MAX), None);
    assert_eq!(timers.pop_due_id(u64::MAX), None);
    timers.stamp(5);
    assert!(!timers.has_fresh());
    assert_eq!(timers.deadline(id), Some(5));
    assert_eq!(timers.take_due(4), None);
    assert_eq!(timers.take_due(5), Some((id, ())));
}

#[test]
fn a_stamp_leaves_the_deadlines_of_earlier_stamps() {
    let mut timers = Timers::new();
    let early = timers.arm(10, ());
    timers.stamp(0);
    let late = timers.arm(10, ());
    timers.stamp(7);
    assert_eq!(timers.deadline(early), Some(10));
    assert_eq!(timers.deadline(late), Some(17));
}

#[test]
fn equal_deadlines_fire_in_creation_order_while_the_generations_begin_anew() {
    let mut timers = Timers::new();
    timers.register.set_next_generation(u32::MAX - 3);
    for n in 0..8 {
        timers.arm_at(50, n);
    }
    check(&timers);
    assert_eq!(pop_all(&mut timers, 50), (0..8).collect::<Vec<_>>());
}

#[test]
fn gathered_timers_that_are_not_taken_wait_again_in_their_order() {
    let mut timers = Timers::new();
    for n in 0..5 {
        timers.arm_at(50, n);
    }
    timers.arm_at(51, 5);
    assert!(timers.gather(50, 4), "four, at most");
    assert_eq!(timers.take(|_| false).and_then(|(_, value)| value), Some(0));
    timers.scatter();
    check(&timers);
    timers.arm_at(49, 6);
    assert_eq!(pop_all(&mut timers, 50), [6, 1, 2, 3, 4]);
    assert!(!timers.gather(50, 4));
    assert_eq!(timers.len(), 1);
}

#[test]
fn equal_deadlines_fire_in_creation_order_however_armed_and_stamped() {
    let mut timers = Timers::new();
    timers.arm(50, 0);
    timers.arm_at(50, 1);
    let gone = timers.arm(50, 99);
    timers.arm(50, 2);
    timers.arm_at(50, 3);
    timers.arm(50, 4);
    assert_eq!(timers.remove(gone), Some(99));
    timers.stamp(0);
    timers.arm(40, 5);
    timers.arm_at(50, 6);
    timers.stamp(10);
    for n in 7..40 {
        timers.arm_at(50, n);
    }
    check(&timers);
    assert_eq!(pop_all(&mut timers, 50), (0..40).collect::<Vec<_>>());
}

#[test]
fn the_longest_duration_saturates_and_never_comes_due() {
    let mut timers = Timers::new();
    let relative = timers.arm(u64::MAX, "arm");
    let absolute = timers.arm_at(u64::MAX, "arm_at");
    timers.stamp(1_000);
    assert_eq!(timers.deadline(relative), Some(u64::MAX));
    assert_eq!(timers.deadline(absolute), Some(u64::MAX));
    assert_eq!(timers.take_due(u64::MAX - 1), None);
    assert_eq!(timers.take_due(u64::MAX), None);
    assert_eq!(timers.remove(relative), Some("arm"));
    assert_eq!(timers.remove(absolute), Some("arm_at"));
}

#[test]
fn a_deadline_of_zero_is_due_at_zero() {
    let mut timers = Timers::new();
    timers.arm(0, "stamped");
    timers.arm_at(0, "absolute");
    timers.stamp(0);
    assert_eq!(pop_all(&mut timers, 0), ["stamped", "absolute"]);
}

#[test]
fn a_timer_removed_while_fresh_never_reaches_the_heap() {
    let mut timers = Timers::new();
    for n in 0..1000 {
        let id = timers.arm(HOUR, n);
        assert_eq!(timers.remove(id), Some(n));
    }
    timers.stamp(0);
    assert_eq!(timers.waiting.capacity(), 0);
    assert_eq!(timers.next_deadline(), None);
    assert!(timers.is_empty());
}

#[test]
fn removing_one_fresh_timer_keeps_the_others() {
    let mut timers = Timers::new();
    let ids = ["a", "b", "c", "d"].map(|value| timers.arm(1, value));
    for (position, value) in [(1, "b"), (3, "d")] {
        assert_eq!(timers.remove(ids[position]), Some(value));
        check(&timers);
    }
    timers.stamp(0);
    assert_eq!(pop_all(&mut timers, 1), ["a", "c"]);
}

#[test]
fn removing_the_earliest_timer_moves_the_next_deadline_at_once() {
    let mut timers = Timers::new();
    let first = timers.arm_at(10, ());
    timers.arm_at(20, ());
    assert_eq!(timers.remove(first), Some(()));
    assert_eq!(timers.next_deadline(), Some(20));
    assert_eq!(timers.take_due(19), None);
}

#[test]
fn a_sleep_lasts_until_the_next_deadline_or_where_many_are_close_for_all_of_them() {
    let mut timers = Timers::new();
    assert_eq!(timers.wake_at(0), None);
    let crowd = CROWD as Nanos;
    for n in 1..crowd {
        timers.arm_at(100 + n * 10, n);
        timers.arm_at(HOUR, n);
    }
    assert_eq!(timers.wake_at(100), Some(110), "few are not kept waiting");
    timers.arm_at(100 + GRAIN + 1, crowd);
    assert_eq!(timers.wake_at(100), Some(110), "it is not close");
    timers.arm_at(100 + GRAIN, crowd);
    assert_eq!(timers.wake_at(100), Some(100 + GRAIN));
    assert_eq!(pop_all(&mut timers, 100 + GRAIN).len(), CROWD);
    assert_eq!(timers.wake_at(200), Some(100 + GRAIN + 1));
}

#[test]
fn a_due_timer_keeps_its_slot_until_it_is_taken() {
    let mut timers = Timers::new();
    let id = timers.arm_at(10, 1);
    assert_eq!(timers.pop_due_id(9), None);
    assert_eq!(timers.pop_due_id(10), Some(id));
    assert_eq!(timers.pop_due_id(10), None);
    assert_eq!(timers.take_due(10), None);
    assert_eq!(timers.next_deadline(), None);
    assert!(timers.contains(id));
    *timers.get_mut(id).unwrap() += 1;
    assert_eq!(timers.len(), 1);
    assert_eq!(timers.remove(id), Some(2));
    assert_eq!(timers.remove(id), None);
    assert!(timers.is_empty());
}

#[test]
fn a_due_timer_can_be_removed_before_it_is_taken_and_spares_the_others() {
    let mut timers = Timers::new();
    let ids = [1, 2, 3].map(|n| timers.arm_at(10, n));
    let due: Vec<_> = std::iter::from_fn(|| timers.pop_due_id(10)).collect();
    assert_eq!(due, ids);
    assert_eq!(timers.remove(ids[1]), Some(2));
    let taken: Vec<_> = due.into_iter().map(|id| timers.remove(id)).collect();
    assert_eq!(taken, [Some(1), None, Some(3)]);
}

#[test]
fn a_stale_id_reaches_no_later_timer() {
    let mut timers = Timers::new();
    let old = timers.arm_at(1, "old");
    assert!(timers.take_due(1).is_some());
    let new = timers.arm(1, "new");
    assert_eq!(new.index(), old.index());
    assert_eq!(timers.remove(old), None);
    assert_eq!(timers.get_mut(old), None);
    assert_eq!(timers.deadline(old), None);
    assert!(!timers.contains(old));
    assert_eq!(timers.remove(TimerId::NONE), None);
    assert_eq!(timers.remove(new), Some("new"));
}

#[test]
fn two_thousand_cancelled_hours_leave_no_memory_behind() {
    for stamped in [false, true] {
        for backwards in [false, true] {
            let mut timers = Timers::new();
            let mut ids: Vec<_> = (0..2000).map(|n| timers.arm(HOUR, n)).collect();
            if stamped {
                timers.stamp(0);
                assert!(timers.waiting.capacity() >= 2000);
            } else {
                assert!(timers.fresh.capacity() >= 2000);
            }
            if backwards {
                ids.reverse();
            }
            for id in ids {
                assert!(timers.remove(id).is_some());
            }
            assert!(timers.register.capacity() <= KEPT);
            assert!(timers.waiting.capacity() <= KEPT);
            assert!(timers.fresh.capacity() <= KEPT);
        }
    }
}

#[test]
fn fired_timers_leave_no_memory_behind() {
    let mut timers = Timers::new();
    for n in 0..2000 {
        timers.arm(n % 7, n);
    }
    timers.stamp(0);
    assert_eq!(pop_all(&mut timers, 7).len(), 2000);
    assert!(timers.register.capacity() <= KEPT);
    assert!(timers.waiting.capacity() <= KEPT);
    assert!(timers.fresh.capacity() <= KEPT);
}

#[test]
fn all_timers_are_taken_in_whatever_state_and_new_ones_can_be_armed() {
    let mut timers = Timers::new();
    let due = timers.arm_at(1, "due");
    assert_eq!(timers.pop_due_id(1), Some(due));
    timers.arm_at(9, "waiting");
    timers.arm(1, "fresh");
    let mut all = timers.take_all();
    all.sort_unstable();
    assert_eq!(all, ["due", "fresh", "waiting"]);
    assert!(timers.is_empty());
    assert!(!timers.has_fresh());
    assert_eq!(timers.next_deadline(), None);
    assert_eq!(timers.remove(due), None);
    timers.arm(2, "new");
    timers.stamp(0);
    assert_eq!(pop_all(&mut timers, 2), ["new"]);
}
