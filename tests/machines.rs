//! Hand-written coroutines, driven by the same Runner as all others.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::poll;
use yieldpoint::{
    Co, Coroutine, CoroutineState, ErrorKind, EventLoop, ManualClock, Result, Sent, Sleep,
    SleepStarted, YieldNow, YieldNowStarted, YieldPoint, ms,
};

type Log = Rc<RefCell<Vec<String>>>;

fn event_loop() -> (EventLoop, ManualClock) {
    let clock = ManualClock::auto();
    let event_loop = EventLoop::builder()
        .clock(&clock)
        .fail_on_error()
        .build()
        .expect("a loop");
    (event_loop, clock)
}

/// Sleeps a second for each number down to zero, and gives the number of sleeps.
#[derive(Clone)]
struct Countdown {
    left: u32,
    slept: u32,
    log: Log,
}

impl Countdown {
    fn from(left: u32) -> Self {
        Countdown {
            left,
            slept: 0,
            log: Log::default(),
        }
    }
}

impl Coroutine for Countdown {
    type Yield = Sleep;
    type Return = u32;

    fn resume(&mut self, _: &Co, sent: Sent<Result>) -> CoroutineState<Sleep, u32> {
        let heard = match &sent {
            Sent::Start => "start",
            Sent::Value(Ok(())) => "slept",
            Sent::Value(Err(_)) => "cancelled",
        };
        self.log.borrow_mut().push(format!("{heard} {}", self.left));
        match sent {
            Sent::Start => {}
            Sent::Value(Ok(())) => {
                self.left -= 1;
                self.slept += 1;
            }
            Sent::Value(Err(_)) => return CoroutineState::Complete(self.slept),
        }
        match self.left {
            0 => CoroutineState::Complete(self.slept),
            _ => CoroutineState::Yielded(Sleep::new(ms(1000))),
        }
    }
}

#[test]
fn spawned_machine_is_sent_each_output_and_its_value_is_joined() {
    let (mut event_loop, clock) = event_loop();
    let machine = Countdown::from(3);
    let log = Rc::clone(&machine.log);
    let n = event_loop
        .block_on(async |co| co.handle().spawn_coroutine(machine).await)
        .expect("it ends");
    assert_eq!(n, 3);
    assert_eq!(*log.borrow(), ["start 3", "slept 3", "slept 2", "slept 1"]);
    assert_eq!(clock.elapsed(), ms(3000));
}

#[test]
fn machine_does_not_start_inside_spawn_and_shows_where_it_is_parked() {
    let (mut event_loop, _) = event_loop();
    event_loop
        .block_on(async |co| -> Result {
            let machine = Countdown::from(1);
            let log = Rc::clone(&machine.log);
            let join = co.handle().spawn_coroutine(machine).named("countdown");
            assert!(log.borrow().is_empty());
            co.yield_now().await?;
            let table = co.handle().snapshot().to_string();
            assert!(
                table.contains("countdown") && table.contains("sleep"),
                "{table}"
            );
            assert_eq!(join.await?, 1);
            Ok(())
        })
        .expect("it ends");
}

#[test]
fn machine_saved_midway_yields_its_current_point_again_when_thawed() {
    let (mut event_loop, clock) = event_loop();
    let mut machine = Countdown::from(3);
    let log = Rc::clone(&machine.log);
    event_loop
        .block_on(async |co| -> Result {
            {
                let mut running = std::pin::pin!(co.run(&mut machine));
                assert!(poll!(&mut running).is_pending());
                co.sleep(ms(1500)).await?;
                assert!(poll!(&mut running).is_pending());
            }
            let saved = machine.clone();
            assert_eq!((saved.left, saved.slept), (2, 1));
            log.borrow_mut().clear();
            assert_eq!(co.handle().spawn_coroutine(saved).await?, 3);
            Ok(())
        })
        .expect("it ends");
    assert_eq!(*log.borrow(), ["start 2", "slept 2", "slept 1"]);
    // The second that was half over when the machine was saved is slept again in full.
    assert_eq!(clock.elapsed(), ms(3500));
}

#[test]
fn cancel_is_sent_in_as_the_output_of_the_point() {
    let (mut event_loop, _) = event_loop();
    let machine = Countdown::from(3);
    let log = Rc::clone(&machine.log);
    let n = event_loop
        .block_on(async |co| {
            let join = co.handle().spawn_coroutine(machine);
            co.sleep(ms(1500)).await?;
            join.cancel("enough");
            join.await
        })
        .expect("a machine that ends by itself after a cancel keeps its value");
    assert_eq!(n, 1);
    assert_eq!(*log.borrow(), ["start 3", "slept 3", "cancelled 2"]);
}

/// A point that is one of two: what a machine yields that waits in more than one way.
enum Either {
    Nap(Sleep),
    GiveWay(YieldNow),
}

enum EitherStarted {
    Nap(SleepStarted),
    GiveWay(YieldNowStarted),
}

impl YieldPoint for Either {
    type Output = Result<&'static str>;
    type Started = EitherStarted;

    fn start(self, co: &Co) -> EitherStarted {
        match self {
            Either::Nap(point) => EitherStarted::Nap(point.start(co)),
            Either::GiveWay(point) => EitherStarted::GiveWay(point.start(co)),
        }
    }
}

impl Future for EitherStarted {
    type Output = Result<&'static str>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            EitherStarted::Nap(point) => Pin::new(point).poll(cx).map_ok(|()| "nap"),
            EitherStarted::GiveWay(point) => Pin::new(point).poll(cx).map_ok(|()| "gave way"),
        }
    }
}

/// Takes turns at both.
struct Alternate(Vec<&'static str>);

impl Coroutine for Alternate {
    type Yield = Either;
    type Return = Result<Vec<&'static str>>;

    fn resume(
        &mut self,
        _: &Co,
        sent: Sent<Result<&'static str>>,
    ) -> CoroutineState<Either, Self::Return> {
        match sent {
            Sent::Start => {}
            Sent::Value(Ok(what)) => self.0.push(what),
            Sent::Value(Err(error)) => return CoroutineState::Complete(Err(error)),
        }
        match self.0.len() {
            4 => CoroutineState::Complete(Ok(std::mem::take(&mut self.0))),
            n if n % 2 == 0 => CoroutineState::Yielded(Either::Nap(Sleep::new(ms(1)))),
            _ => CoroutineState::Yielded(Either::GiveWay(YieldNow::new())),
        }
    }
}

#[test]
fn machine_yields_points_of_several_kinds_through_an_enum_of_its_own() {
    let (mut event_loop, _) = event_loop();
    let trace = event_loop
        .block_on(async |co| co.run(Alternate(vec![])).await)
        .expect("it ends");
    assert_eq!(trace, ["nap", "gave way", "nap", "gave way"]);
}

/// Gives the number of times it was resumed with a value that was there at once.
struct Immediate(u32);

impl Coroutine for Immediate {
    type Yield = std::future::Ready<()>;
    type Return = u32;

    fn resume(&mut self, _: &Co, sent: Sent<()>) -> CoroutineState<Self::Yield, u32> {
        self.0 += u32::from(sent == Sent::Value(()));
        match self.0 {
            200_000 => CoroutineState::Complete(self.0),
            _ => CoroutineState::Yielded(std::future::ready(())),
        }
    }
}

#[test]
fn points_that_complete_at_once_do_not_grow_the_stack_and_take_one_resume() {
    let (mut event_loop, _) = event_loop();
    let handle = event_loop.handle();
    let join = handle.spawn_coroutine(Immediate(0));
    let report = event_loop
        .turn(yieldpoint::Budget::default())
        .expect("a turn");
    assert_eq!(report.steps, 1);
    assert_eq!(
        event_loop.block_on(async |_| join.await).ok(),
        Some(200_000)
    );
}

#[test]
fn a_yield_of_a_machine_allocates_nothing() {
    let (mut event_loop, _) = event_loop();
    let machine = Yielding(0);
    let info = event_loop
        .block_on(async |co| -> Result<_> {
            let mut machine = machine;
            let mut running = std::pin::pin!(co.run(&mut machine));
            let _ = poll!(&mut running);
            co.yield_now().await?;
            let info = allocation_counter::measure(|| {
                for _ in 0..2 {
                    let waker = std::task::Waker::noop();
                    let mut cx = Context::from_waker(waker);
                    let _ = running.as_mut().poll(&mut cx);
                }
            });
            Ok(info)
        })
        .expect("it ends");
    assert_eq!(info.count_total, 0, "{info:?}");
}

/// Yields a future that is ready, then one that is not, in turn.
struct Yielding(u32);

impl Coroutine for Yielding {
    type Yield = Flip;
    type Return = ();

    fn resume(&mut self, _: &Co, sent: Sent<()>) -> CoroutineState<Flip, ()> {
        self.0 += u32::from(sent == Sent::Value(()));
        CoroutineState::Yielded(Flip(self.0.is_multiple_of(2)))
    }
}

/// Pends once if it says so.
struct Flip(bool);

impl Future for Flip {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.0) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

/// Panics when it is sent a value.
struct Bomb;

impl Coroutine for Bomb {
    type Yield = YieldNow;
    type Return = ();

    fn resume(&mut self, _: &Co, sent: Sent<Result>) -> CoroutineState<YieldNow, ()> {
        assert!(matches!(sent, Sent::Start), "boom");
        CoroutineState::Yielded(YieldNow::new())
    }
}

#[test]
fn panic_of_a_machine_ends_it_and_reaches_the_joiner() {
    let (mut event_loop, _) = event_loop();
    let error = event_loop
        .block_on(async |co| co.handle().spawn_coroutine(Bomb).await)
        .expect_err("it panics");
    assert!(
        matches!(error.kind(), ErrorKind::Panicked { message, .. } if message.contains("boom")),
        "{error}"
    );
}

#[test]
fn machine_spawned_on_a_loop_that_is_gone_is_dropped_unrun() {
    let (first, _) = event_loop();
    let gone = first.handle();
    drop(first);
    let machine = Countdown::from(1);
    let log = Rc::clone(&machine.log);
    let join = gone.spawn_coroutine(machine);
    let (mut other, _) = event_loop();
    let error = other
        .block_on(async |_| join.await)
        .expect_err("nobody runs it");
    assert!(error.is_loop_gone(), "{error}");
    assert!(log.borrow().is_empty());
}
