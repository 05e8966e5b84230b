//! Callbacks that fire many times, from this thread and from others.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::task::Poll;
use std::thread;

use futures_util::poll;
use yieldpoint::{Budget, Co, ErrorKind, EventLoop, ManualClock, Result, SendEmitter, ms};

fn event_loop() -> EventLoop {
    EventLoop::builder()
        .clock(&ManualClock::auto())
        .fail_on_error()
        .build()
        .expect("a loop")
}

fn run(body: impl AsyncFnOnce(Co) -> Result) {
    event_loop().block_on(body).expect("the body ends well");
}

#[test]
fn events_are_taken_in_order_and_none_is_left_once_the_emitters_are_gone() {
    run(async |co| {
        let mut events = co.events::<u32>(4);
        let emitter = events.emitter();
        let other = emitter.clone();
        co.handle().call_later(ms(1), move || {
            assert!(emitter.emit(1).is_ok());
            assert!(emitter.emit(2).is_ok());
        });
        co.handle().call_later(ms(2), move || drop(other));
        let mut got = vec![];
        while let Some(n) = events.next().await? {
            got.push(n);
        }
        assert_eq!(got, [1, 2]);
        Ok(())
    });
}

#[test]
fn none_is_no_end_a_new_emitter_brings_it_back() {
    run(async |co| {
        let mut events = co.events::<u32>(4);
        assert_eq!(events.next().await?, None);
        let emit = events.emitter().into_fn();
        emit(1);
        drop(emit);
        assert_eq!(events.next().await?, Some(1));
        assert_eq!(events.next().await?, None);
        Ok(())
    });
}

#[test]
fn emit_gives_a_refused_event_back_and_counts_nothing() {
    run(async |co| {
        let mut events = co.events::<u32>(1);
        let emitter = events.emitter();
        assert!(emitter.emit(1).is_ok());
        let refused = emitter.emit(2).expect_err("full");
        assert!(refused.is_full());
        assert_eq!(refused.into_value(), 2);
        assert_eq!(events.next().await?, Some(1));
        assert!(emitter.emit(3).is_ok());
        assert_eq!(events.next().await?, Some(3));
        Ok(())
    });
}

#[test]
fn loss_is_told_once_at_its_place_in_the_order() {
    run(async |co| {
        let mut events = co.events::<u32>(2);
        let emit = events.emitter().into_fn();
        let mut trace = vec![];
        (1..=4).for_each(&emit); // 3 and 4 are lost
        trace.push(format!("{:?}", events.next().await?));
        emit(5);
        emit(6); // lost
        for _ in 0..4 {
            trace.push(match events.next().await {
                Ok(event) => format!("{event:?}"),
                Err(error) => match error.kind() {
                    ErrorKind::Missed { count, created_at } => {
                        assert!(created_at.file().ends_with("events.rs"));
                        format!("missed {count}")
                    }
                    _ => return Err(error),
                },
            });
        }
        assert_eq!(
            trace,
            ["Some(1)", "Some(2)", "missed 2", "Some(5)", "missed 1"]
        );
        assert!(events.is_empty());
        assert!(poll!(events.next()).is_pending());
        Ok(())
    });
}

#[test]
fn a_bound_of_zero_is_taken_as_one() {
    run(async |co| {
        let mut events = co.events::<u32>(0);
        let emitter = events.emitter();
        assert!(emitter.emit(1).is_ok());
        assert!(emitter.emit(2).is_err());
        assert_eq!(events.next().await?, Some(1));
        Ok(())
    });
}

#[test]
fn emitting_never_resumes_in_place() {
    run(async |co| {
        let log = Rc::new(RefCell::new(vec![]));
        let mut events = co.events::<u32>(4);
        let emitter = events.emitter();
        let taken = Rc::clone(&log);
        let join = co.handle().spawn(async move |_| -> Result {
            while let Some(n) = events.next().await? {
                taken.borrow_mut().push(format!("took {n}"));
            }
            Ok(())
        });
        co.yield_now().await?;
        for n in 1..=2 {
            assert!(emitter.emit(n).is_ok());
            log.borrow_mut().push(format!("emitted {n}"));
        }
        drop(emitter);
        join.await?;
        assert_eq!(
            *log.borrow(),
            ["emitted 1", "emitted 2", "took 1", "took 2"]
        );
        Ok(())
    });
}

#[test]
fn cancel_ends_the_wait_and_an_event_that_has_come_wins() {
    run(async |co| {
        for has_come in [false, true] {
            let mut events = co.events::<u32>(4);
            let emitter = events.emitter();
            let join = co
                .handle()
                .spawn(async move |_| -> Result<Option<u32>> { events.next().await });
            co.yield_now().await?;
            if has_come {
                assert!(emitter.emit(1).is_ok());
            }
            join.cancel("enough");
            assert_eq!(join.await.ok(), has_come.then_some(Some(1)));
            assert!(emitter.emit(2).is_err_and(|refused| refused.is_closed()));
        }
        Ok(())
    });
}

#[test]
fn cancel_reaches_a_wait_for_other_threads() {
    run(async |co| {
        let mut events = co.events::<u32>(4);
        let emitter = events.send_emitter();
        let join = co
            .handle()
            .spawn(async move |_| -> Result<Option<u32>> { events.next().await });
        co.yield_now().await?;
        join.cancel("enough");
        assert!(join.await.is_err());
        assert!(emitter.emit(1).is_err_and(|refused| refused.is_closed()));
        Ok(())
    });
}

#[test]
fn a_coroutine_that_waits_for_local_emitters_only_is_stuck_and_one_with_a_send_emitter_is_not() {
    let mut event_loop = event_loop();
    let error = event_loop
        .block_on(async |co| -> Result {
            let mut events = co.events::<u32>(1);
            let _emitter = events.emitter();
            events.next().await.map(drop)
        })
        .expect_err("nobody can emit");
    assert!(error.is_stuck());
    assert!(error.to_string().contains("events"), "{error}");

    let (give, given) = channel();
    let handle = event_loop.handle();
    let join = handle.spawn(async move |co: Co| -> Result<Option<u32>> {
        let mut events = co.events::<u32>(1);
        give.send(events.send_emitter()).expect("the test waits");
        events.next().await
    });
    let report = event_loop.turn(Budget::default()).expect("a turn");
    assert!(!report.stuck);
    let emitter = given.recv().expect("it was sent");
    let emitting = thread::spawn(move || emitter.emit(7).is_ok());
    assert_eq!(
        event_loop.block_on(async |_| join.await).ok(),
        Some(Some(7))
    );
    assert_eq!(emitting.join().ok(), Some(true));
}

#[test]
fn each_thread_is_heard_in_its_order_and_nothing_is_lost() {
    const THREADS: u32 = 4;
    const EACH: u32 = 500;
    run(async |co| {
        let mut events = co.events::<(u32, u32)>(16);
        for thread in 0..THREADS {
            let emitter = events.send_emitter();
            thread::spawn(move || {
                for n in 0..EACH {
                    let mut event = (thread, n);
                    while let Err(refused) = emitter.emit(event) {
                        event = refused.into_value();
                        thread::yield_now();
                    }
                }
            });
        }
        let mut next = [0; THREADS as usize];
        while let Some((thread, n)) = events.next().await? {
            assert_eq!(n, next[thread as usize]);
            next[thread as usize] += 1;
        }
        assert_eq!(next, [EACH; THREADS as usize]);
        Ok(())
    });
}

#[test]
fn loss_on_another_thread_is_counted_at_its_place() {
    run(async |co| {
        let mut events = co.events::<u32>(2);
        let emit = events.send_emitter().into_fn();
        let done = thread::spawn(move || {
            (1..=5).for_each(&emit);
            emit
        });
        let emit = done.join().expect("it ends well");
        assert_eq!(events.next().await?, Some(1));
        assert_eq!(events.next().await?, Some(2));
        let missed = events.next().await.expect_err("three were lost");
        assert!(matches!(missed.kind(), ErrorKind::Missed { count: 3, .. }));
        drop(emit);
        assert_eq!(events.next().await?, None);
        Ok(())
    });
}

#[test]
fn neither_this_thread_nor_another_starves_the_other() {
    run(async |co| {
        let mut events = co.events::<&str>(4);
        let (near, far) = (events.emitter().into_fn(), events.send_emitter().into_fn());
        for _ in 0..3 {
            near("near");
            far("far");
        }
        drop((near, far));
        let mut got = vec![];
        while let Some(event) = events.next().await? {
            got.push(event);
        }
        assert_eq!(got, ["near", "far", "near", "far", "near", "far"]);
        Ok(())
    });
}

#[test]
fn dropping_events_drops_what_nobody_took_with_nothing_borrowed() {
    struct Emits(Option<yieldpoint::Emitter<Emits>>, Rc<Cell<u32>>);
    impl Drop for Emits {
        fn drop(&mut self) {
            self.1.set(self.1.get() + 1);
            if let Some(emitter) = self.0.take() {
                let refused = emitter.emit(Emits(None, Rc::clone(&self.1)));
                assert!(refused.is_err_and(|refused| refused.is_closed()));
            }
        }
    }
    run(async |co| {
        let drops = Rc::new(Cell::new(0));
        let events = co.events(4);
        let emitter = events.emitter();
        let event = Emits(Some(emitter.clone()), Rc::clone(&drops));
        assert!(emitter.emit(event).is_ok());
        drop(events);
        assert_eq!(drops.get(), 2);
        Ok(())
    });
}

#[test]
fn an_event_allocates_nothing_in_steady_state() {
    let mut event_loop = event_loop();
    let handle = event_loop.handle();
    let out = Rc::new(RefCell::new(None));
    let (give, taken) = (Rc::clone(&out), Rc::new(Cell::new(0)));
    let count = Rc::clone(&taken);
    drop(handle.spawn(async move |co: Co| -> Result {
        let mut events = co.events::<u32>(4);
        *give.borrow_mut() = Some((events.emitter(), events.send_emitter()));
        while events.next().await?.is_some() {
            count.set(count.get() + 1);
        }
        Ok(())
    }));
    let _ = event_loop.turn(Budget::default());
    let (near, far) = out.borrow_mut().take().expect("they were made");
    let mut round = || {
        for _ in 0..3 {
            assert!(near.emit(1).is_ok());
            let _ = event_loop.turn(Budget::default());
            // Outside of a turn this goes by way of the inbox, as it does from another thread.
            assert!(far.emit(1).is_ok());
            let _ = event_loop.turn(Budget::default());
        }
    };
    for _ in 0..40 {
        round();
    }
    let taken_before = taken.get();
    let info = allocation_counter::measure(&mut round);
    assert_eq!(taken.get(), taken_before + 6);
    assert_eq!(info.count_total, 0, "{info:?}");
}

/// Nobody waits: the emitter's last event comes between two looks of one poll.
#[test]
fn what_a_thread_emits_last_is_taken_before_the_end_is_told() {
    let (emitters, to_emit) = channel::<SendEmitter<u32>>();
    let thread = thread::spawn(move || {
        for emitter in to_emit {
            emitter.emit(1).expect("there is room");
        }
    });
    run(async |co| {
        for _ in 0..20_000 {
            let mut events = co.events::<u32>(1);
            emitters.send(events.send_emitter()).expect("it listens");
            let mut taken = 0;
            loop {
                match poll!(events.next()) {
                    Poll::Ready(Ok(Some(n))) => taken += n,
                    Poll::Ready(end) => break assert_eq!(end?, None),
                    Poll::Pending => {}
                }
            }
            assert_eq!(taken, 1);
        }
        Ok(())
    });
    drop(emitters);
    thread.join().expect("it ends well");
}
