//! The bounded queue: order, hand-over, closing, and what becomes of values whose wait is given up.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_util::future::{Either, select};
use futures_util::poll;
use yieldpoint::{
    EventLoop, ManualClock, Result, ms,
    sync::{QueueReceiver, QueueSender, TryRecvError, queue},
};

type Log = Rc<RefCell<Vec<String>>>;

fn event_loop() -> EventLoop {
    EventLoop::builder()
        .clock(&ManualClock::auto())
        .fail_on_error()
        .build()
        .expect("a loop")
}

/// Runs a body with a queue of this bound.
fn with_queue<F>(bound: usize, body: F)
where
    F: AsyncFnOnce(yieldpoint::Co, QueueSender<u32>, QueueReceiver<u32>) -> Result,
{
    let mut event_loop = event_loop();
    let (sender, receiver) = queue(&event_loop.handle(), bound);
    event_loop
        .block_on(async |co| body(co, sender, receiver).await)
        .expect("the body ends well");
}

#[test]
fn c184_values_come_out_in_the_order_in_which_they_went_in() {
    with_queue(8, async |_, sender, receiver| {
        for n in [1, 3, 2] {
            sender.send(n).await?;
        }
        assert_eq!((sender.len(), receiver.len(), sender.bound()), (3, 3, 8));
        for n in [1, 3, 2] {
            assert_eq!(receiver.recv().await?, Some(n));
        }
        assert!(receiver.is_empty());
        Ok(())
    });
}

#[test]
fn c185_c187_a_waiting_sender_enters_when_a_value_is_taken_and_the_queue_is_full_again() {
    with_queue(2, async |co, sender, receiver| {
        sender.send(1).await?;
        sender.send(2).await?;
        let third = sender.clone();
        let join = co
            .handle()
            .spawn(async move |_| -> Result { Ok(third.send(3).await?) });
        co.yield_now().await?;
        assert!(!join.is_finished());
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(receiver.len(), 2);
        assert!(sender.try_send(4).is_err_and(|refused| refused.is_full()));
        join.await?;
        assert_eq!(receiver.try_recv(), Ok(2));
        assert_eq!(receiver.try_recv(), Ok(3));
        Ok(())
    });
}

#[test]
fn c186_try_recv_and_try_send_say_empty_and_full_and_give_the_value_back() {
    with_queue(1, async |_, sender, receiver| {
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        sender.try_send(1)?;
        let refused = sender.try_send(2).expect_err("full");
        let text = refused.to_string();
        assert!(
            text.starts_with("the queue (created at tests/queue.rs:")
                && text.ends_with(") is full: its limit is 1. Wait for room, or raise the limit."),
            "{text}"
        );
        assert_eq!(refused.into_value(), 2);
        assert_eq!(receiver.try_recv(), Ok(1));
        Ok(())
    });
}

#[test]
fn c188_a_receiver_that_gave_up_takes_no_value() {
    with_queue(4, async |co, sender, receiver| {
        let second = receiver.clone();
        let join = co.handle().spawn(async move |co| -> Result<Option<u32>> {
            co.sleep(ms(1)).await?;
            second.recv().await
        });
        let late = Box::pin(co.sleep(ms(10)));
        assert!(matches!(
            select(Box::pin(receiver.recv()), late).await,
            Either::Right(_)
        ));
        sender.send(7).await?;
        assert_eq!(join.await?, Some(7));

        let mut first = Box::pin(receiver.recv());
        assert!(poll!(&mut first).is_pending());
        sender.send(8).await?;
        let late = Box::pin(co.sleep(ms(0)));
        assert!(matches!(
            select(first, late).await,
            Either::Left((Ok(Some(8)), _))
        ));
        assert!(receiver.is_empty());
        Ok(())
    });
}

#[test]
fn c189_receivers_are_served_in_order_and_resume_in_a_later_step() {
    for bound in [0, 1, 4] {
        with_queue(bound, async |co, sender, receiver| {
            let log = Log::default();
            let receivers: Vec<_> = ["a", "b"]
                .into_iter()
                .map(|name| {
                    let (log, receiver) = (Rc::clone(&log), receiver.clone());
                    co.handle().spawn(async move |_| -> Result {
                        let n = receiver.recv().await?;
                        log.borrow_mut().push(format!("{name} {n:?}"));
                        Ok(())
                    })
                })
                .collect();
            co.yield_now().await?;
            sender.try_send(1)?;
            sender.send(2).await?;
            log.borrow_mut().push("sent".to_owned());
            for join in receivers {
                join.await?;
            }
            assert_eq!(*log.borrow(), ["sent", "a Some(1)", "b Some(2)"]);
            Ok(())
        });
    }
}

#[test]
fn c190_ten_who_gave_up_in_front_of_one_who_waits_take_neither_value_nor_room() {
    with_queue(1, async |_, sender, receiver| {
        {
            let mut gone: Vec<_> = (0..10).map(|_| Box::pin(receiver.recv())).collect();
            for recv in &mut gone {
                assert!(poll!(recv).is_pending());
            }
            let mut live = std::pin::pin!(receiver.recv());
            assert!(poll!(&mut live).is_pending());
            drop(gone);
            sender.try_send(1)?;
            assert_eq!(live.await?, Some(1));
        }
        sender.try_send(2)?;
        let mut gone: Vec<_> = (0..10).map(|n| Box::pin(sender.send(100 + n))).collect();
        for send in &mut gone {
            assert!(poll!(send).is_pending());
        }
        let mut live = std::pin::pin!(sender.send(3));
        assert!(poll!(&mut live).is_pending());
        drop(gone);
        assert_eq!(receiver.recv().await?, Some(2));
        live.await?;
        assert_eq!(receiver.recv().await?, Some(3));
        Ok(())
    });
}

#[test]
fn try_send_never_passes_a_sender_who_waits() {
    with_queue(1, async |_, sender, receiver| {
        sender.try_send(1)?;
        let mut waits = std::pin::pin!(sender.send(2));
        assert!(poll!(&mut waits).is_pending());
        assert_eq!(receiver.try_recv(), Ok(1));
        // The room is the waiter's, although it has not run yet.
        assert!(sender.try_send(3).is_err_and(|refused| refused.is_full()));
        waits.await?;
        assert_eq!(receiver.try_recv(), Ok(2));
        Ok(())
    });
}

#[test]
fn try_recv_never_passes_a_receiver_who_waits() {
    with_queue(1, async |_, sender, receiver| {
        let mut waits = std::pin::pin!(receiver.recv());
        assert!(poll!(&mut waits).is_pending());
        sender.try_send(1)?;
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(waits.await?, Some(1));
        Ok(())
    });
}

#[test]
fn senders_enter_in_the_order_in_which_they_began_to_wait() {
    with_queue(1, async |co, sender, receiver| {
        for n in 0..5 {
            let sender = sender.clone();
            drop(
                co.handle()
                    .spawn(async move |_| -> Result { Ok(sender.send(n).await?) }),
            );
        }
        drop(sender);
        co.yield_now().await?;
        let mut got = vec![];
        while let Some(n) = receiver.recv().await? {
            got.push(n);
        }
        assert_eq!(got, [0, 1, 2, 3, 4]);
        Ok(())
    });
}

#[test]
fn a_bound_of_zero_hands_each_value_over_and_keeps_none() {
    with_queue(0, async |_, sender, receiver| {
        assert!(sender.try_send(1).is_err_and(|refused| refused.is_full()));
        let mut send = std::pin::pin!(sender.send(2));
        assert!(poll!(&mut send).is_pending());
        assert_eq!(receiver.len(), 0);
        assert_eq!(receiver.recv().await?, Some(2));
        send.await?;
        Ok(())
    });
}

#[test]
fn value_handed_to_a_receiver_that_is_dropped_goes_to_the_next_or_back_to_the_front() {
    with_queue(4, async |_, sender, receiver| {
        let mut first = Box::pin(receiver.recv());
        let mut second = Box::pin(receiver.recv());
        assert!(poll!(&mut first).is_pending());
        assert!(poll!(&mut second).is_pending());
        sender.try_send(1)?;
        drop(first);
        assert_eq!(second.await?, Some(1));

        let mut third = Box::pin(receiver.recv());
        assert!(poll!(&mut third).is_pending());
        sender.try_send(2)?;
        sender.try_send(3)?;
        drop(third);
        assert_eq!(receiver.try_recv(), Ok(2));
        assert_eq!(receiver.try_recv(), Ok(3));
        Ok(())
    });
}

#[test]
fn value_that_has_arrived_wins_over_a_cancel() {
    with_queue(4, async |co, sender, receiver| {
        let got = Rc::new(Cell::new(None));
        let out = Rc::clone(&got);
        let (waits, also) = (receiver.clone(), receiver.clone());
        let join = co.handle().spawn(async move |_| -> Result {
            out.set(waits.recv().await?);
            Ok(())
        });
        let cancelled = co.handle().spawn(async move |_| also.recv().await);
        co.yield_now().await?;
        sender.try_send(1)?;
        join.cancel("too late");
        cancelled.cancel("in time");
        join.await?;
        assert_eq!(got.get(), Some(1));
        assert!(cancelled.await.is_err());
        sender.try_send(2)?;
        assert_eq!(receiver.try_recv(), Ok(2));
        Ok(())
    });
}

#[test]
fn a_cancelled_send_never_enters_and_gives_its_value_back() {
    with_queue(1, async |co, sender, receiver| {
        sender.try_send(1)?;
        let back = Rc::new(Cell::new(None));
        let (out, waits) = (Rc::clone(&back), sender.clone());
        let join = co.handle().spawn(async move |_| -> Result {
            let refused = waits.send(2).await.expect_err("it is cancelled");
            assert!(refused.is_cancelled());
            let (value, error) = refused.into_parts();
            out.set(Some(value));
            Err(error)
        });
        co.yield_now().await?;
        join.cancel("enough");
        assert!(join.await.is_err());
        assert_eq!(back.get(), Some(2));
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        Ok(())
    });
}

#[test]
fn a_send_that_entered_before_the_cancel_has_been_sent() {
    with_queue(1, async |co, sender, receiver| {
        sender.try_send(1)?;
        let waits = sender.clone();
        let join = co
            .handle()
            .spawn(async move |_| -> Result { Ok(waits.send(2).await?) });
        co.yield_now().await?;
        assert_eq!(receiver.try_recv(), Ok(1));
        join.cancel("too late");
        join.await?;
        assert_eq!(receiver.try_recv(), Ok(2));
        Ok(())
    });
}

#[test]
fn close_lets_what_entered_out_and_gives_waiting_senders_their_values_back() {
    with_queue(1, async |co, sender, receiver| {
        sender.try_send(1)?;
        let waits = sender.clone();
        let join = co.handle().spawn(async move |_| -> Result<u32> {
            let refused = waits.send(2).await.expect_err("it closes");
            assert!(refused.is_closed());
            Ok(refused.into_value())
        });
        co.yield_now().await?;
        receiver.close();
        assert!(sender.is_closed());
        assert_eq!(join.await?, 2);
        assert_eq!(receiver.recv().await?, Some(1));
        assert_eq!(receiver.recv().await?, None);
        assert_eq!(receiver.recv().await?, None);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
        Ok(())
    });
}

#[test]
fn the_last_sender_to_go_closes_it_and_not_the_first() {
    with_queue(1, async |co, sender, receiver| {
        let waits = receiver.clone();
        let join = co.handle().spawn(async move |_| waits.recv().await);
        co.yield_now().await?;
        let other = sender.clone();
        drop(sender);
        co.yield_now().await?;
        assert!(!join.is_finished());
        drop(other);
        assert_eq!(join.await?, None);
        Ok(())
    });
}

/// Counts its drops.
struct Counted(Rc<Cell<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn the_last_receiver_to_go_closes_it_and_drops_what_is_in_it() {
    let event_loop = event_loop();
    let drops = Rc::new(Cell::new(0));
    let (sender, receiver) = queue(&event_loop.handle(), 4);
    for _ in 0..3 {
        assert!(sender.try_send(Counted(Rc::clone(&drops))).is_ok());
    }
    drop(receiver);
    assert_eq!(drops.get(), 3);
    assert!(
        sender
            .try_send(Counted(Rc::clone(&drops)))
            .is_err_and(|refused| refused.is_closed())
    );
}

#[test]
fn a_loop_dropped_with_waiters_on_both_ends_leaks_no_value() {
    let drops = Rc::new(Cell::new(0));
    let mut event_loop = event_loop();
    let handle = event_loop.handle();
    let (full, keep) = queue(&handle, 1);
    let (_hold, empty) = queue::<Counted>(&handle, 1);
    for _ in 0..3 {
        let (full, drops) = (full.clone(), Rc::clone(&drops));
        drop(handle.spawn(async move |_| -> Result { Ok(full.send(Counted(drops)).await?) }));
    }
    drop(handle.spawn(async move |_| empty.recv().await.map(drop)));
    let report = event_loop
        .turn(yieldpoint::Budget::default())
        .expect("a turn");
    assert!(report.stuck);
    let table = event_loop.snapshot().to_string();
    assert!(
        table.contains("queue send") && table.contains("queue recv"),
        "{table}"
    );
    assert_eq!(drops.get(), 0);
    drop(event_loop);
    assert_eq!(drops.get(), 2); // two waited with theirs; one is in the queue
    drop((full, keep));
    assert_eq!(drops.get(), 3);
}

#[test]
fn values_whose_drop_uses_the_queue_meet_no_borrow() {
    struct Sends(Option<QueueSender<Sends>>);
    impl Drop for Sends {
        fn drop(&mut self) {
            if let Some(sender) = self.0.take() {
                let refused = sender.try_send(Sends(None));
                assert!(refused.is_err_and(|refused| refused.is_closed()));
            }
        }
    }
    let event_loop = event_loop();
    let (sender, receiver) = queue(&event_loop.handle(), 2);
    assert!(sender.try_send(Sends(Some(sender.clone()))).is_ok());
    drop(receiver);
    assert!(sender.is_closed() && sender.is_empty());
}

#[test]
fn a_hundred_rounds_between_two_coroutines_allocate_nothing() {
    let mut event_loop = event_loop();
    let handle = event_loop.handle();
    let (sender, receiver) = queue::<u32>(&handle, 4);
    drop(handle.spawn(async move |_| -> Result {
        loop {
            sender.send(1).await?;
        }
    }));
    drop(handle.spawn(async move |_| -> Result {
        while receiver.recv().await?.is_some() {}
        Ok(())
    }));
    let _ = event_loop.turn(yieldpoint::Budget::steps(200));
    let info = allocation_counter::measure(|| {
        let report = event_loop.turn(yieldpoint::Budget::steps(200));
        assert!(report.is_ok_and(|report| report.steps == 200));
    });
    assert_eq!(info.count_total, 0, "{info:?}");
}
