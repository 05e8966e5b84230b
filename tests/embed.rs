//! The loop as a guest: turns from a host's own loop, what its descriptor promises, and the host's state lent to coroutines.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Token};
use yieldpoint::{
    Budget, Co, ErrorKind, EventLoop, Guest, Lent, ManualClock, Result, TurnReport, ms,
};

fn event_loop() -> EventLoop {
    EventLoop::builder()
        .fail_on_error()
        .build()
        .expect("a loop")
}

/// Something done to a loop from outside.
type Act<'a> = Box<dyn Fn() + 'a>;

/// A host that waits for the descriptor of its guest.
struct Host(mio::Poll);

impl Host {
    fn watching(fd: RawFd) -> Self {
        let poll = mio::Poll::new().expect("a poll");
        poll.registry()
            .register(&mut SourceFd(&fd), Token(0), Interest::READABLE)
            .expect("the descriptor can be watched");
        Host(poll)
    }

    /// Whether the descriptor becomes readable within this time.
    fn sees(&mut self, within: Duration) -> bool {
        let mut events = Events::with_capacity(4);
        self.0.poll(&mut events, Some(within)).expect("it polls");
        events.iter().any(mio::event::Event::is_readable)
    }
}

/// Whether the descriptor is readable now, asked anew each time.
fn readable(fd: RawFd) -> bool {
    Host::watching(fd).sees(Duration::ZERO)
}

/// Turns until a turn finds nothing to do.
fn settle(guest: &Guest) {
    while guest.turn(Budget::default()).expect("a turn").steps > 0 {}
    let _ = guest.turn(Budget::default()).expect("a turn");
}

#[test]
fn descriptor_is_not_readable_when_idle_and_is_after_anything_queued_from_outside() {
    let guest = event_loop().into_guest();
    let fd = guest.as_raw_fd();
    let handle = guest.handle();
    settle(&guest);
    assert!(!readable(fd));
    let queue: [(&str, Act<'_>); 6] = [
        ("call_soon", Box::new(|| handle.call_soon(|| {}))),
        (
            "spawn",
            Box::new(|| drop(handle.spawn(async |_| -> Result { Ok(()) }))),
        ),
        (
            "timer",
            Box::new(|| {
                let _ = handle.call_later(ms(0), || {});
            }),
        ),
        ("stop", Box::new(|| handle.stop())),
        ("post", {
            let remote = handle.remote();
            Box::new(move || assert!(remote.post(|_| {}).is_ok()))
        }),
        ("post from a thread", {
            let remote = handle.remote();
            Box::new(move || {
                let remote = remote.clone();
                let posting = std::thread::spawn(move || remote.post(|_| {}).is_ok());
                assert_eq!(posting.join().ok(), Some(true));
            })
        }),
    ];
    for (what, queue) in &queue {
        queue();
        assert!(readable(fd), "after {what}");
        settle(&guest);
        assert!(!readable(fd), "idle after {what}");
    }
}

#[test]
fn descriptor_is_readable_after_a_turn_that_left_work_and_not_after_the_last() {
    let guest = event_loop().into_guest();
    let fd = guest.as_raw_fd();
    settle(&guest);
    for _ in 0..3 {
        guest.handle().call_soon(|| {});
    }
    for left in [true, true, false] {
        assert!(readable(fd));
        let report = guest.turn(Budget::steps(1)).expect("a turn");
        assert_eq!((report.steps, report.work_left), (1, left));
    }
    settle(&guest);
    assert!(!readable(fd));
}

#[test]
fn descriptor_becomes_readable_at_a_deadline_and_not_before() {
    let guest = event_loop().into_guest();
    let fd = guest.as_raw_fd();
    let ran = Rc::new(Cell::new(false));
    let out = Rc::clone(&ran);
    guest.handle().call_later(ms(20), move || out.set(true));
    settle(&guest);
    let deadline = guest.next_deadline().expect("a timer");
    let mut host = Host::watching(fd);
    if guest.handle().now() < deadline {
        assert!(!host.sees(Duration::ZERO) || guest.handle().now() >= deadline);
    }
    assert!(host.sees(ms(10_000)));
    assert!(guest.handle().now() >= deadline);
    let report = guest.turn(Budget::default()).expect("a turn");
    assert_eq!((report.steps, ran.get()), (1, true));
    assert!(guest.next_deadline().is_none());
    settle(&guest);
    assert!(!readable(fd));
}

#[test]
fn descriptor_asked_for_during_a_turn_is_the_same_and_keeps_its_promise_from_its_end() {
    let guest = event_loop().into_guest();
    let seen = Rc::new(Cell::new(None));
    let (out, inner) = (Rc::clone(&seen), guest.clone());
    guest.handle().call_soon(move || {
        out.set(Some((inner.as_raw_fd(), inner.next_deadline().is_none())));
    });
    let _ = guest.turn(Budget::default()).expect("a turn");
    let (fd, no_deadline) = seen.get().expect("it ran");
    assert!(no_deadline);
    settle(&guest);
    assert!(!readable(fd));
    guest.handle().call_soon(|| {});
    assert!(readable(fd));
    assert_eq!(fd, guest.as_raw_fd());
}

#[test]
fn a_budget_of_steps_is_kept_exactly_and_one_of_zero_only_looks() {
    let clock = ManualClock::new();
    let event_loop = EventLoop::builder().clock(&clock).build().expect("a loop");
    let guest = event_loop.into_guest();
    let runs = Rc::new(Cell::new(0));
    for _ in 0..300 {
        let runs = Rc::clone(&runs);
        guest.handle().call_soon(move || runs.set(runs.get() + 1));
    }
    guest.handle().call_later(ms(1), || {});
    let look = guest.turn(Budget::steps(0)).expect("a turn");
    assert_eq!((look.steps, runs.get(), look.work_left), (0, 0, true));
    clock.advance(ms(1)); // counted from that look
    let _ = guest.turn(Budget::steps(299)).expect("a turn");
    assert_eq!(runs.get(), 299);
    let last = guest.turn(Budget::default()).expect("a turn");
    assert_eq!((last.steps, last.work_left), (2, false));
}

#[test]
fn a_budget_of_time_overruns_by_at_most_one_step_and_makes_at_least_one() {
    let clock = ManualClock::new();
    let event_loop = EventLoop::builder().clock(&clock).build().expect("a loop");
    let guest = event_loop.into_guest();
    for _ in 0..10 {
        let clock = clock.clone();
        guest.handle().call_soon(move || clock.advance(ms(3)));
    }
    let steps = |limit| guest.turn(Budget::time(ms(limit))).expect("a turn").steps;
    assert_eq!(steps(7), 3);
    assert_eq!(steps(6), 2);
    assert_eq!(steps(0), 1);
    let both = Budget::steps(2).and_time(ms(100));
    assert_eq!(guest.turn(both).expect("a turn").steps, 2);
    assert_eq!(steps(100), 2);
}

#[test]
fn turn_from_inside_is_reentered_in_a_callback_and_in_a_coroutine_and_the_turn_goes_on() {
    let guest = event_loop().into_guest();
    let seen = Rc::new(Cell::new(0));
    let reenter = |guest: &Guest, seen: &Rc<Cell<u32>>| {
        let (guest, seen) = (guest.clone(), Rc::clone(seen));
        move || {
            let again = guest.turn(Budget::default());
            assert!(again.is_err_and(|error| matches!(error.kind(), ErrorKind::Reentered)));
            seen.set(seen.get() + 1);
        }
    };
    guest.handle().call_soon(reenter(&guest, &seen));
    let call = reenter(&guest, &seen);
    drop(guest.handle().spawn(async move |co: Co| -> Result {
        call();
        co.yield_now().await?;
        call();
        Ok(())
    }));
    let report = guest.turn(Budget::default()).expect("a turn");
    assert_eq!((report.steps, seen.get()), (3, 3));
}

/// Counts its drops.
struct Counted(Rc<Cell<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn the_last_clone_dropped_inside_its_own_turn_drops_the_loop_when_the_turn_is_over() {
    let drops = Rc::new(Cell::new(0));
    let app = Rc::new(RefCell::new(Some(event_loop().into_guest())));
    let handle = app.borrow().as_ref().map(Guest::handle).expect("a guest");
    let counted = Counted(Rc::clone(&drops));
    drop(handle.spawn(async move |co: Co| -> Result {
        let _counted = counted;
        co.sleep(ms(60_000)).await
    }));
    let (field, seen) = (Rc::clone(&app), Rc::clone(&drops));
    handle.call_soon(move || {
        drop(field.borrow_mut().take());
        assert_eq!(seen.get(), 0);
    });
    let guest = app.borrow().clone().expect("a guest");
    let report = guest.turn(Budget::default()).expect("a turn");
    assert_eq!((report.steps, drops.get()), (2, 0));
    drop(guest);
    assert_eq!(drops.get(), 1);
    assert!(!handle.is_alive());
}

#[test]
fn close_drops_the_loop_also_with_clones_inside_it() {
    let drops = Rc::new(Cell::new(0));
    for from_inside in [false, true] {
        let guest = event_loop().into_guest();
        let (inner, counted) = (guest.clone(), Counted(Rc::clone(&drops)));
        drop(guest.handle().spawn(async move |co: Co| -> Result {
            let _counted = counted;
            if from_inside {
                inner.close();
            }
            co.sleep(ms(60_000)).await
        }));
        let before = drops.get();
        let _ = guest.turn(Budget::default()).expect("a turn");
        if !from_inside {
            assert_eq!(drops.get(), before);
            guest.close();
        }
        assert_eq!(drops.get(), before + 1);
        guest.close();
        let again = guest.turn(Budget::default());
        assert!(again.is_err_and(|error| error.is_loop_gone()));
    }
}

#[test]
fn a_turn_that_panics_leaves_a_guest_that_can_be_turned() {
    let guest = event_loop().into_guest(); // fails the turn in which an incident happens
    guest.handle().call_soon(|| panic!("boom"));
    let outcome = catch_unwind(AssertUnwindSafe(|| guest.turn(Budget::default())));
    assert!(outcome.is_err());
    assert_eq!(guest.turn(Budget::default()).expect("a turn").steps, 0);
}

/// The state of a small game, owned by its main loop.
#[derive(Default)]
struct World {
    frame: u32,
    spawned: Vec<u32>,
}

#[test]
fn a_game_of_sixty_frames_lends_its_world_to_coroutines_on_its_own_clock() {
    let clock = ManualClock::new();
    let guest = EventLoop::builder()
        .clock(&clock)
        .fail_on_error()
        .build()
        .expect("a loop")
        .into_guest();
    let lent = Lent::new();
    let in_coroutine = lent.clone();
    drop(guest.handle().spawn(async move |co: Co| -> Result {
        loop {
            co.sleep(ms(100)).await?;
            in_coroutine.with(|world: &mut World| world.spawned.push(world.frame))?;
        }
    }));
    let mut world = World::default();
    for frame in 1..=60 {
        world.frame = frame;
        let report = lent.during(&mut world, || guest.turn(Budget::time(ms(2))));
        let TurnReport { work_left, .. } = report.expect("a turn");
        assert!(!work_left);
        clock.advance(Duration::from_micros(16_666));
    }
    // The first frame, at 0, sets the timer; each next one is set in the frame in which the last fired.
    assert_eq!(world.spawned, [8, 15, 22, 29, 36, 43, 50, 57]);
    assert!(!lent.is_lent());
}

#[test]
fn with_outside_of_during_or_inside_another_with_is_an_error_and_runs_nothing() {
    let lent = Lent::<World>::new();
    let outside = lent.with(|_| unreachable!("nothing is lent"));
    assert!(matches!(
        outside.as_ref().map_err(yieldpoint::Error::kind),
        Err(ErrorKind::NotLent { in_use: false })
    ));
    let mut world = World::default();
    lent.during(&mut world, || {
        lent.with(|world| {
            world.frame = 1;
            assert!(!lent.is_lent());
            let nested = lent.with(|_| unreachable!("it is in use"));
            assert!(
                nested.is_err_and(|error| matches!(
                    error.kind(),
                    ErrorKind::NotLent { in_use: true }
                ))
            );
        })
        .expect("it is lent");
        lent.with(|world| world.frame += 1)
            .expect("it is free again");
    });
    assert_eq!(world.frame, 2);
}

#[test]
fn the_world_comes_back_from_a_panic_in_during_and_in_with() {
    let lent = Lent::new();
    let mut world = World {
        frame: 7,
        ..World::default()
    };
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        lent.during(&mut world, || {
            let inner = catch_unwind(AssertUnwindSafe(|| {
                lent.with(|world: &mut World| {
                    world.frame += 1;
                    panic!("in with");
                })
            }));
            assert!(inner.is_err());
            lent.with(|world| world.frame += 1).expect("it came back");
            panic!("in during");
        });
    }));
    assert!(panicked.is_err());
    assert_eq!((world.frame, lent.is_lent()), (9, false));
}

#[test]
fn during_nests_and_lends_the_innermost() {
    let lent = Lent::new();
    let (mut outer, mut inner) = (Some(1), Some(10));
    lent.during_option(&mut outer, || {
        lent.during_option(&mut inner, || lent.with(|n| *n += 1))
            .expect("the inner one is lent");
        lent.during_option(&mut None, || {
            assert!(lent.with(|_: &mut i32| ()).is_err());
        });
        lent.with(|n| *n += 1).expect("the outer one is lent");
    });
    assert_eq!((outer, inner), (Some(2), Some(11)));
}
