//! Periodic callbacks: when they run, what they make up for, how they end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use yieldpoint::{CatchUp, ErrorKind, EventLoop, Incident, ManualClock, Result, Tick, ms};

type Log = Rc<RefCell<Vec<u128>>>;

fn event_loop(clock: &ManualClock) -> EventLoop {
    EventLoop::builder()
        .clock(clock)
        .fail_on_error()
        .build()
        .expect("a loop")
}

/// Runs a callback of period 10 s for this many seconds; run `n` takes `work[n]` seconds. Gives the begins, in seconds.
fn begins(catch_up: CatchUp, work: &'static [u64], seconds: u64) -> Vec<u128> {
    let clock = ManualClock::auto();
    let mut event_loop = event_loop(&clock);
    let log = Log::default();
    let (out, time) = (Rc::clone(&log), clock.clone());
    let periodic = event_loop
        .handle()
        .periodic(ms(10_000), catch_up, move |_| {
            let n = out.borrow().len();
            out.borrow_mut().push(time.elapsed().as_secs().into());
            time.advance(ms(1000 * work.get(n).copied().unwrap_or(0)));
        })
        .expect("a period");
    event_loop
        .block_on(async |co| co.sleep(ms(1000 * seconds + 1)).await)
        .expect("it sleeps");
    periodic.stop();
    log.take()
}

#[test]
fn c126_without_work_it_runs_at_every_multiple_and_first_after_one_period() {
    for rule in [CatchUp::Skip, CatchUp::Burst, CatchUp::Delay] {
        assert_eq!(begins(rule, &[], 50), [10, 20, 30, 40, 50], "{rule:?}");
    }
}

#[test]
fn skip_leaves_missed_deadlines_out_and_keeps_the_anchor() {
    // The first run ends at 35: 20 and 30 are missed.
    assert_eq!(begins(CatchUp::Skip, &[25], 60), [10, 40, 50, 60]);
}

#[test]
fn skip_counts_a_deadline_that_is_now_as_missed() {
    assert_eq!(begins(CatchUp::Skip, &[10, 0], 50), [10, 30, 40, 50]);
}

#[test]
fn burst_makes_up_for_every_missed_deadline() {
    assert_eq!(begins(CatchUp::Burst, &[25], 60), [10, 35, 35, 40, 50, 60]);
}

#[test]
fn delay_begins_anew_after_each_run() {
    assert_eq!(begins(CatchUp::Delay, &[25, 3], 60), [10, 45, 58]);
}

#[test]
fn lateness_and_missed_deadlines_are_told() {
    let clock = ManualClock::auto();
    let mut event_loop = event_loop(&clock);
    let start = event_loop.handle().now();
    let log = Rc::new(RefCell::new(vec![]));
    let (out, time) = (Rc::clone(&log), clock.clone());
    event_loop
        .handle()
        .periodic(ms(10), CatchUp::Skip, move |tick: Tick| {
            let due = tick.deadline.duration_since(start).as_millis();
            out.borrow_mut()
                .push((due, tick.late.as_millis(), tick.missed));
            let runs = out.borrow().len();
            match runs {
                1 => time.advance(ms(25)),
                3 => tick.stop(),
                _ => {}
            }
        })
        .expect("a period");
    let late = clock.clone();
    // Due just before the second run, at the same look: it makes that run late.
    event_loop
        .handle()
        .call_later(ms(39), move || late.advance(ms(4)));
    let _ = event_loop.run().expect("it runs");
    assert_eq!(*log.borrow(), [(10, 0, 0), (40, 3, 2), (50, 0, 0)]);
}

#[test]
fn a_clock_that_jumps_far_ahead_costs_one_run() {
    let clock = ManualClock::new();
    let mut event_loop = event_loop(&clock);
    let runs = Rc::new(RefCell::new(vec![]));
    let out = Rc::clone(&runs);
    let _periodic = event_loop
        .handle()
        .periodic(ms(1), CatchUp::Skip, move |tick| {
            out.borrow_mut().push((tick.late, tick.missed));
        })
        .expect("a period");
    clock.advance(ms(1_000_000_000));
    for _ in 0..2 {
        let _ = event_loop.turn(yieldpoint::Budget::default());
    }
    clock.advance(ms(1));
    let _ = event_loop.turn(yieldpoint::Budget::default());
    assert_eq!(*runs.borrow(), [(ms(999_999_999), 0), (ms(0), 999_999_999)]);
}

#[test]
fn c127_a_coroutine_that_takes_longer_than_a_period_is_not_started_over_itself() {
    let clock = ManualClock::auto();
    let log = Rc::new(RefCell::new(vec![]));
    event_loop(&clock)
        .block_on(async |co| -> Result {
            let mut ticks = co.events(1);
            let emitter = ticks.emitter();
            let periodic = co
                .handle()
                .periodic(ms(10), CatchUp::Skip, move |tick| drop(emitter.emit(tick)))?;
            for _ in 0..3 {
                assert!(ticks.next().await?.is_some());
                log.borrow_mut().push("start");
                co.sleep(ms(25)).await?;
                log.borrow_mut().push("end");
            }
            periodic.stop();
            Ok(())
        })
        .expect("it ends well");
    assert_eq!(
        *log.borrow(),
        ["start", "end", "start", "end", "start", "end"]
    );
}

#[test]
fn c128_each_panic_is_reported_and_the_schedule_goes_on() {
    let clock = ManualClock::auto();
    let reported = Rc::new(Cell::new(0));
    let count = Rc::clone(&reported);
    let mut event_loop = EventLoop::builder()
        .clock(&clock)
        .on_error(move |incident| {
            assert!(matches!(
                incident,
                Incident::Panicked {
                    during: "callback",
                    ..
                }
            ));
            count.set(count.get() + 1);
        })
        .build()
        .expect("a loop");
    let log = Log::default();
    let (out, time) = (Rc::clone(&log), clock.clone());
    event_loop
        .handle()
        .periodic(ms(10), CatchUp::Skip, move |tick| {
            out.borrow_mut().push(time.elapsed().as_millis());
            if out.borrow().len() == 3 {
                tick.stop();
            }
            panic!("each time");
        })
        .expect("a period");
    let _ = event_loop.run().expect("it runs");
    assert_eq!(*log.borrow(), [10, 20, 30]);
    assert_eq!(reported.get(), 3);
}

#[test]
fn c129_stop_ends_it_from_inside_and_outside_and_also_when_it_is_due_and_is_idempotent() {
    let clock = ManualClock::new();
    let mut event_loop = event_loop(&clock);
    let handle = event_loop.handle();
    let runs = Rc::new(Cell::new(0));
    let count = Rc::clone(&runs);
    let inside = handle
        .periodic(ms(10), CatchUp::Burst, move |tick| {
            count.set(count.get() + 1);
            tick.stop();
            tick.stop();
        })
        .expect("a period");
    clock.advance(ms(50));
    for _ in 0..5 {
        let _ = event_loop.turn(yieldpoint::Budget::default());
    }
    assert_eq!((runs.get(), inside.is_stopped()), (1, true));

    let count = Rc::clone(&runs);
    let due = handle
        .periodic(ms(10), CatchUp::Skip, move |_| count.set(count.get() + 100))
        .expect("a period");
    let stopper = due.clone();
    handle.call_later(ms(9), move || stopper.stop());
    let _ = event_loop.turn(yieldpoint::Budget::default());
    clock.advance(ms(10)); // both are due at the same look
    let report = event_loop
        .turn(yieldpoint::Budget::default())
        .expect("a turn");
    assert_eq!((report.timers, runs.get()), (2, 1));
    due.stop();
    assert!(event_loop.next_deadline().is_none());
}

/// Counts its drops.
struct Counted(Rc<Cell<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn stop_drops_the_callback_at_once_and_so_does_a_loop_that_goes() {
    let clock = ManualClock::new();
    let event_loop = event_loop(&clock);
    let drops = Rc::new(Cell::new(0));
    let set = || {
        let counted = Counted(Rc::clone(&drops));
        event_loop
            .handle()
            .periodic(ms(10), CatchUp::Skip, move |_| {
                let _ = &counted;
            })
            .expect("a period")
    };
    let (stopped, outlives) = (set(), set());
    stopped.stop();
    assert_eq!(drops.get(), 1);
    drop(event_loop);
    assert_eq!(drops.get(), 2);
    assert!(outlives.is_stopped());
}

#[test]
fn dropping_the_handle_lets_it_run_on() {
    let clock = ManualClock::auto();
    let mut event_loop = event_loop(&clock);
    let runs = Rc::new(Cell::new(0));
    let count = Rc::clone(&runs);
    drop(
        event_loop
            .handle()
            .periodic(ms(10), CatchUp::Skip, move |_| count.set(count.get() + 1)),
    );
    event_loop
        .block_on(async |co| co.sleep(ms(35)).await)
        .expect("it sleeps");
    assert_eq!(runs.get(), 3);
}

#[test]
fn c130_a_period_of_zero_is_an_error_and_the_longest_one_never_comes() {
    let clock = ManualClock::new();
    let mut event_loop = event_loop(&clock);
    let handle = event_loop.handle();
    let error = handle
        .periodic(ms(0), CatchUp::Skip, |_| {})
        .expect_err("zero");
    assert!(
        matches!(error.kind(), ErrorKind::ZeroPeriod { site } if site.file().ends_with("periodic.rs"))
    );
    let never = handle
        .periodic(std::time::Duration::MAX, CatchUp::Skip, |_| panic!("never"))
        .expect("a long period");
    clock.advance(ms(1_000_000_000_000));
    let report = event_loop
        .turn(yieldpoint::Budget::default())
        .expect("a turn");
    assert_eq!((report.steps, never.is_stopped()), (0, false));
    drop(event_loop);
    assert!(
        handle
            .periodic(ms(1), CatchUp::Skip, |_| {})
            .is_err_and(|error| error.is_loop_gone())
    );
}
