//! The timers against a sorted list: the same operations on both, compared after each.

use proptest::prelude::*;

use super::*;

/// What a timer of the model waits for.
#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    Fresh(Nanos),
    Waiting(Nanos),
    Due(Nanos),
    Gone,
}

/// Every timer ever armed, in creation order; its position is its value.
#[derive(Default)]
struct Model {
    timers: Vec<(TimerId, State)>,
}

impl Model {
    fn stamp(&mut self, now: Nanos) {
        for (_, state) in &mut self.timers {
            if let State::Fresh(after) = *state {
                *state = State::Waiting(now.saturating_add(after));
            }
        }
    }

    /// The waiting timers, each as its deadline and value, in the order of creation.
    fn waiting(&self) -> impl Iterator<Item = (Nanos, usize)> {
        let timers = self.timers.iter().enumerate();
        timers.filter_map(|(value, (_, state))| match state {
            State::Waiting(deadline) => Some((*deadline, value)),
            _ => None,
        })
    }

    /// The value and deadline of the first timer that is due.
    fn first_due(&self, now: Nanos) -> Option<(usize, Nanos)> {
        let (deadline, value) = self.waiting().min()?;
        (deadline <= now && deadline < NEVER).then_some((value, deadline))
    }

    /// The value that a removal returns.
    fn remove(&mut self, value: usize) -> Option<usize> {
        let before = std::mem::replace(&mut self.timers[value].1, State::Gone);
        (before != State::Gone).then_some(value)
    }

    /// Panics unless the timers look the same from outside.
    fn compare(&self, timers: &Timers<usize>) {
        let (mut len, mut due, mut fresh) = (0, 0, false);
        for &(id, state) in &self.timers {
            let here = state != State::Gone;
            assert_eq!(timers.contains(id), here);
            len += usize::from(here);
            due += usize::from(matches!(state, State::Due(_)));
            fresh |= matches!(state, State::Fresh(_));
        }
        let here = timers
            .waiting
            .iter()
            .filter(|entry| timers.contains(entry.id));
        let mut deadlines: Vec<_> = here.map(|entry| (entry.time, entry.id.to_bits())).collect();
        let expected = self
            .waiting()
            .map(|(deadline, value)| (deadline, self.timers[value].0.to_bits()));
        let mut expected: Vec<_> = expected.collect();
        deadlines.sort_unstable();
        expected.sort_unstable();
        assert_eq!(deadlines, expected);
        assert_eq!(timers.len(), len);
        assert_eq!(timers.count_due(), due);
        assert_eq!(timers.is_empty(), len == 0);
        assert_eq!(timers.has_fresh(), fresh);
        let next = self.waiting().min().map(|(deadline, _)| deadline);
        assert_eq!(timers.next_deadline(), next);
    }
}

/// One call on the timers.
#[derive(Clone, Debug)]
enum Operation {
    Arm(Nanos),
    ArmAt(Nanos),
    Stamp,
    Advance(Nanos),
    Remove(prop::sample::Index),
    PopDue,
    PopDueId,
}

/// Drawn as numbers: a choice among strategies seeds a generator for each of them, which took as long as all the rest.
///
/// Few distinct times, so that many are equal, and now and then the last.
fn operation() -> impl Strategy<Value = Operation> {
    let numbers = (0..24_u8, 0..16_u8, 0..20_u64, any::<prop::sample::Index>());
    numbers.prop_map(|(operation, times, number, which)| {
        let time = match times {
            0..12 => number,
            12..15 => number * 10,
            _ => u64::MAX,
        };
        match operation {
            0..6 => Operation::Arm(time),
            6..10 => Operation::ArmAt(time),
            10..13 => Operation::Stamp,
            13..15 => Operation::Advance(number % 8),
            15..19 => Operation::Remove(which),
            19..22 => Operation::PopDue,
            _ => Operation::PopDueId,
        }
    })
}

proptest! {
    #[test]
    fn timers_agree_with_a_sorted_list(operations in prop::collection::vec(operation(), 1..250)) {
        let mut timers = Timers::new();
        let mut model = Model::default();
        let mut now = 0;
        for operation in operations {
            let value = model.timers.len();
            match operation {
                Operation::Arm(after) => model.timers.push((timers.arm(after, value), State::Fresh(after))),
                Operation::ArmAt(at) => model.timers.push((timers.arm_at(at, value), State::Waiting(at))),
                Operation::Stamp => {
                    timers.stamp(now);
                    model.stamp(now);
                }
                Operation::Advance(by) => now += by,
                Operation::Remove(_) if value == 0 => {}
                Operation::Remove(which) => {
                    let value = which.index(value);
                    let id = model.timers[value].0;
                    prop_assert_eq!(timers.remove(id), model.remove(value));
                }
                Operation::PopDue => {
                    let first = model.first_due(now).map(|(value, _)| value);
                    let expected = first.map(|value| (model.timers[value].0, value));
                    prop_assert_eq!(timers.take_due(now), expected);
                    if let Some(value) = first {
                        model.remove(value);
                    }
                }
                Operation::PopDueId => {
                    let first = model.first_due(now);
                    let expected = first.map(|(value, _)| model.timers[value].0);
                    prop_assert_eq!(timers.pop_due_id(now), expected);
                    if let Some((value, deadline)) = first {
                        model.timers[value].1 = State::Due(deadline);
                    }
                }
            }
            check(&timers);
            model.compare(&timers);
        }
        timers.stamp(now);
        model.stamp(now);
        let mut due: Vec<_> = model.waiting().filter(|(deadline, _)| *deadline < NEVER).collect();
        due.sort_unstable();
        let rest: Vec<_> = due.into_iter().map(|(_, value)| value).collect();
        prop_assert_eq!(pop_all(&mut timers, u64::MAX), rest);
    }
}
