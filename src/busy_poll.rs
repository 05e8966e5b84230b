//! Whether a loop with nothing to do stays awake for a while before it sleeps, and the wait awake itself.
//!
//! It is apart because the decision rests on nothing but how long the last waits took: it knows no poll and no clock, both are handed in.
//!
//! Invariants:
//! 1. It stays awake only while it has credit. A wait that ended awake earns 1 and one that was in vain costs 4, so at least four of
//!    five waits end within the limit, or it sleeps.
//! 2. A wait in vain that uses the credit up leaves a debt: 16, and twice as much each time in a row, up to 256. Without credit a short
//!    sleep earns 1 and a long one nothing. So a loop whose waits are long does not stay awake at all, and one whose waits are a little
//!    too long, or whose core others want, soon does in one of 257 only.
//!
//! ```text
//!                    a short sleep, until the credit is above 0
//!          ┌────────────────────────────────────────────────────┐
//!          │                                                    ▼
//!      [sleeps at once] ◀── in vain and no credit left ── [stays awake first] ◀─┐ something came
//!          ▲      ▲                                          │      └───────────┘
//!          └──────┴────────────── a long sleep ──────────────┘
//! ```

use std::hint;
use std::time::Duration;

use crate::clock::nanos;
use crate::timers::Nanos;

/// The most credit there can be: so many waits in vain over four are the most there can be in a row.
const MOST: i32 = 8;
/// What a wait in vain costs.
const IN_VAIN: i32 = 4;
/// The debts that waits in vain leave which use the credit up, one after another.
const DEBTS: std::ops::RangeInclusive<i32> = 16..=256;
/// The limit where nobody has set one: about as long as another thread takes to wake up and answer.
const FOR_POSTS: Duration = Duration::from_micros(30);
/// The longest limit: for so long a loop may overlook that its last remote went.
const LONGEST: Duration = Duration::from_millis(1);

/// The decision, with what it rests on.
#[derive(Debug)]
pub(crate) struct BusyPoll {
    /// For how long it stays awake.
    limit: Nanos,
    /// Whether only for posts, and not in a loop that has sockets.
    posts_alone: bool,
    /// See the invariants.
    credit: i32,
    /// The next debt.
    debt: i32,
}

impl BusyPoll {
    /// Stays awake for this long at most; if none is set, briefly and for posts alone. Nothing to decide if it is zero.
    pub(crate) fn new(limit: Option<Duration>) -> Option<Self> {
        let posts_alone = limit.is_none();
        let limit = limit.unwrap_or(FOR_POSTS);
        (!limit.is_zero()).then(|| BusyPoll {
            limit: nanos(limit.min(LONGEST)),
            posts_alone,
            credit: 0,
            debt: *DEBTS.start(),
        })
    }

    /// Whether it is only for posts, and not in a loop that has sockets.
    pub(crate) fn is_for_posts_alone(&self) -> bool {
        self.posts_alone
    }

    /// Whether staying awake is likely to pay now.
    pub(crate) fn pays(&self) -> bool {
        self.credit > 0
    }

    /// Looks again and again until a look finds something or the limit has passed. Tells whether one did. Each look is given the time.
    ///
    /// # Errors
    /// That of the look.
    pub(crate) fn stay_awake<E>(
        &mut self,
        now: impl Fn() -> Nanos,
        mut look: impl FnMut(Nanos) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let started = now();
        let mut at = started;
        while at.saturating_sub(started) < self.limit {
            if look(at)? {
                self.credit = (self.credit + 1).min(MOST);
                self.debt = *DEBTS.start();
                return Ok(true);
            }
            hint::spin_loop();
            at = now();
        }
        self.credit -= IN_VAIN;
        if !self.pays() {
            self.credit = -self.debt;
            self.debt = (self.debt * 2).min(*DEBTS.end());
        }
        Ok(false)
    }

    /// Notes that the loop slept for so long. Twice the limit is still short: to fall asleep and to be woken takes about as long as the
    /// wait itself where staying awake pays.
    pub(crate) fn slept(&mut self, time: Nanos) {
        if time > self.limit.saturating_mul(2) {
            self.credit = self.credit.min(0);
        } else if !self.pays() {
            self.credit += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;
    use std::time::Duration;

    use super::{BusyPoll, LONGEST};
    use crate::timers::Nanos;

    /// A loop whose clock moves by a microsecond a reading.
    struct Bench {
        busy_poll: BusyPoll,
        now: Cell<Nanos>,
        looks: usize,
    }

    impl Bench {
        /// One that stays awake for up to 50 µs.
        fn new() -> Self {
            let busy_poll = BusyPoll::new(Some(Duration::from_micros(50))).expect("a limit");
            Bench {
                busy_poll,
                now: Cell::new(0),
                looks: 0,
            }
        }

        /// Waits for what comes in so many microseconds, awake if that pays and then asleep. Tells whether it was awake when it came.
        fn wait(&mut self, micros: u64) -> bool {
            let at = self.now.get() + micros * 1000;
            let (clock, looks) = (&self.now, &mut self.looks);
            if self.busy_poll.pays() {
                let came = self.busy_poll.stay_awake(
                    || clock.replace(clock.get() + 1000),
                    |now| {
                        *looks += 1;
                        Ok::<_, Infallible>(now >= at)
                    },
                );
                if came.expect("a look cannot fail") {
                    return true;
                }
            }
            self.busy_poll.slept(at.saturating_sub(self.now.get()));
            self.now.set(self.now.get().max(at));
            false
        }

        /// How many of `n` such waits ended awake.
        fn awake(&mut self, n: usize, micros: u64) -> usize {
            (0..n).filter(|_| self.wait(micros)).count()
        }
    }

    #[test]
    fn a_loop_that_idles_never_stays_awake() {
        let mut bench = Bench::new();
        assert_eq!((bench.awake(1000, 10_000), bench.looks), (0, 0));
        bench.awake(100, 5); // a burst, after which it idles again
        let after_burst = bench.looks;
        assert_eq!(bench.awake(1000, 10_000), 0);
        assert_eq!(bench.looks - after_burst, 50, "one try in vain, no more");
    }

    #[test]
    fn short_waits_are_waited_awake_from_the_second_on() {
        let mut bench = Bench::new();
        assert_eq!(bench.awake(100, 5), 99);
        assert_eq!(bench.looks, 99 * 6);
    }

    #[test]
    fn a_sleep_that_took_up_to_twice_the_limit_was_short() {
        for (first, pays) in [(100, true), (101, false)] {
            let mut bench = Bench::new();
            bench.wait(first);
            assert_eq!(bench.busy_poll.pays(), pays);
        }
    }

    #[test]
    fn waits_a_little_too_long_are_tried_awake_ever_more_rarely() {
        let mut bench = Bench::new();
        bench.wait(80);
        for sleeps in [17, 33, 65, 129, 257, 257] {
            let before = bench.looks;
            assert_eq!(bench.awake(sleeps, 80), 0);
            assert_eq!(bench.looks - before, 50, "one try in {sleeps} waits");
        }
    }

    #[test]
    fn one_wait_that_ends_awake_forgives_the_tries_before_it() {
        let mut bench = Bench::new();
        bench.awake(200, 80);
        while !bench.busy_poll.pays() {
            bench.wait(80);
        }
        assert!(bench.wait(5));
        assert_eq!(bench.busy_poll.debt, 16);
    }

    #[test]
    fn a_loop_without_the_setting_stays_awake_for_posts_alone() {
        assert!(BusyPoll::new(None).is_some_and(|it| it.is_for_posts_alone()));
        let set = BusyPoll::new(Some(Duration::from_micros(30)));
        assert!(set.is_some_and(|it| !it.is_for_posts_alone()));
    }

    #[test]
    fn it_stays_awake_while_four_of_five_waits_are_short_and_not_while_three_are() {
        let mut bench = Bench::new();
        bench.awake(20, 5);
        let awake: usize = (0..100)
            .map(|_| bench.awake(4, 5) + bench.awake(1, 70))
            .sum();
        assert_eq!(awake, 400);
        let awake: usize = (0..100)
            .map(|_| bench.awake(3, 5) + bench.awake(2, 70))
            .sum();
        assert!(awake < 100, "{awake} of 300 short waits");
    }

    #[test]
    fn a_burst_is_waited_awake_again_after_a_pause() {
        let mut bench = Bench::new();
        bench.awake(20, 5);
        bench.wait(1_000_000);
        assert_eq!(bench.awake(20, 5), 19);
    }

    #[test]
    fn a_look_that_fails_ends_the_wait() {
        let mut busy_poll = BusyPoll::new(Some(Duration::MAX)).expect("a limit");
        let failed = busy_poll.stay_awake(|| 0, |_| Err("broken"));
        assert_eq!(failed, Err("broken"));
    }

    #[test]
    fn the_limit_ends_at_a_millisecond_and_zero_is_off() {
        assert!(BusyPoll::new(Some(Duration::ZERO)).is_none());
        let longest = BusyPoll::new(Some(Duration::MAX)).expect("a limit");
        assert_eq!(u128::from(longest.limit), LONGEST.as_nanos());
    }
}
