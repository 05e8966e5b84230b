//! Waits that a handler began and does not look at for a while. One that it keeps in its state past its call is no wait of the calls
//! that its worker runs after that; one that is over is none of the waits that the call begins meanwhile.
//!
//! 1. Every handler here runs on the one worker that there is work for: what one call leaves there, the next would find.
//! 2. Time is a manual clock; a wait that never ends fails as `Stuck`.

use std::cell::OnceCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use futures_util::future::join;
use yieldpoint::{
    Call, Co, EventLoop, Keyed, ManualClock, Ordered, OrderedDoor, Result, ms,
    ordered::{Asking, KeyedAsking, KeyedDoor},
    sync::queue,
};

/// What a message asks of its handler.
#[derive(Clone, Copy)]
enum Do {
    /// Answers with its key.
    Answer,
    /// Answers after a while.
    AnswerLate,
    /// Asks this key to `Answer`, or to `AnswerLate`, and keeps the question in its state, polled once.
    Keep(u8, bool),
    /// Waits for the answer to the question that was kept.
    TakeUp,
    /// Asks this key after a while.
    AskLate(u8),
    /// Asks this key, forgets another while that wait has begun, and goes on with it.
    AskAndForget(u8, u8),
}

/// A question that is kept.
type Kept = Option<KeyedAsking<u8, Do, u8>>;

/// Polls a wait once. It has not ended.
async fn begin(waiting: &mut (impl Future<Output = Result<u8>> + Unpin)) {
    poll_fn(|cx| {
        assert!(Pin::new(&mut *waiting).poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

async fn handle(call: Call<u8>, kept: &mut Kept, what: Do) -> Result<u8> {
    let engine: KeyedDoor<u8, Do, u8> = call.engine();
    match what {
        Do::Answer => {}
        Do::AnswerLate => call.sleep(ms(20)).await?,
        Do::Keep(key, late) => {
            let what = if late { Do::AnswerLate } else { Do::Answer };
            begin(kept.insert(engine.ask(key, what))).await;
        }
        Do::TakeUp => return kept.take().expect("one is kept").await,
        Do::AskLate(key) => {
            call.sleep(ms(5)).await?;
            return engine.ask(key, Do::Answer).await;
        }
        Do::AskAndForget(key, forgotten) => {
            let mut asking = engine.ask(key, Do::Answer);
            begin(&mut asking).await;
            assert!(engine.forget_key(&forgotten));
            return asking.await;
        }
    }
    Ok(*call.key())
}

/// Runs a body with an engine of so many calls at a time.
fn run(at_a_time: usize, body: impl AsyncFnOnce(Co, Keyed<u8, Kept, Do, u8>) -> Result) {
    let mut event_loop = EventLoop::builder()
        .clock(&ManualClock::auto())
        .fail_on_error()
        .build()
        .expect("a loop");
    let ended = event_loop.block_on(async |co| {
        let engine = Keyed::with_state(|_: &u8| None)
            .concurrency(at_a_time)
            .weight(|_| 2)
            .serve(co.handle(), handle);
        body(co, engine).await
    });
    ended.expect("nobody waits for ever");
}

#[test]
fn a_question_that_is_kept_past_its_call_closes_no_circle_with_the_next_call() {
    run(8, async |_, engine| {
        // Key 0's call leaves a question to key 1. While that is being answered, the same worker answers for key 2.
        engine.try_send(0, Do::Keep(1, true))?;
        engine.try_send(2, Do::AnswerLate)?;
        engine.try_send(1, Do::AskLate(2))?;
        engine.finish().await
    });
}

#[test]
fn a_question_that_is_kept_and_dropped_takes_no_permit_from_a_later_call() {
    run(1, async |_, engine| {
        engine.try_send(0, Do::Keep(1, false))?;
        assert_eq!(engine.ask(2, Do::AskAndForget(3, 0)).await?, 3);
        engine.finish().await
    });
}

#[test]
fn a_question_that_is_kept_and_taken_up_by_a_later_call_is_a_wait_of_that_one() {
    run(1, async |_, engine| {
        engine.try_send(0, Do::Keep(1, false))?;
        assert_eq!(engine.ask(0, Do::TakeUp).await?, 1);
        engine.finish().await
    });
}

#[test]
fn a_question_that_an_engine_of_one_owner_keeps_closes_no_circle_with_its_next_call() {
    run(8, async |co, _| {
        // The first call of one leaves a question to the other. While that waits for its own answer, the same worker runs a call for it.
        let to_other = Rc::new(OnceCell::<OrderedDoor<bool, u8>>::new());
        let other = Rc::clone(&to_other);
        let one = Ordered::with_state(None::<Asking<bool, u8>>).serve(
            co.handle(),
            async move |call: Call,
                        kept: &mut Option<Asking<bool, u8>>,
                        keeps: bool|
                        -> Result<u8> {
                if keeps {
                    let other = other.get().expect("it is there");
                    begin(kept.insert(other.ask(false))).await;
                } else {
                    call.sleep(ms(20)).await?;
                }
                Ok(1)
            },
        );
        let one_door = one.downgrade();
        let other = Ordered::with_state(()).serve(
            co.handle(),
            async move |call: Call, (): &mut (), asks: bool| -> Result<u8> {
                if asks {
                    call.sleep(ms(5)).await?;
                    return one_door.ask(false).await;
                }
                Ok(2)
            },
        );
        assert!(to_other.set(other.downgrade()).is_ok());
        other.try_send(true)?;
        one.try_send(true)?;
        one.try_send(false)?;
        assert_eq!(other.ask(true).await?, 1);
        drop(one.finish().await?);
        drop(to_other);
        other.finish().await
    });
}

#[test]
fn a_question_that_is_asked_between_a_permits_grant_and_its_use_keeps_its_permit_lent() {
    let mut event_loop = EventLoop::builder()
        .clock(&ManualClock::auto())
        .fail_on_error()
        .build()
        .expect("a loop");
    let ended = event_loop.block_on(async |co| {
        let (signal, signalled) = queue::<()>(co.handle(), 1);
        let engine = Keyed::with_state(|_: &u8| ()).concurrency(1).serve(
            co.handle(),
            async move |call: Call<u8>, (): &mut (), (): ()| -> Result<u8> {
                let engine: KeyedDoor<u8, (), u8> = call.engine();
                match call.key() {
                    0 => {
                        let ask_when_signalled = async {
                            signalled.recv().await.expect("it comes");
                            engine.ask(3, ()).await
                        };
                        let (late, early) = join(ask_when_signalled, engine.ask(1, ())).await;
                        assert_eq!((late?, early?), (3, 1));
                    }
                    // Its successor has the permit when the answer is looked at: who asked must wait for it.
                    1 => engine.try_send(2, ())?,
                    // Who asked hears the signal together with the end of this call, whose permit he is granted.
                    2 => {
                        call.sleep(ms(5)).await?;
                        signal.try_send(()).expect("there is room");
                    }
                    _ => {}
                }
                Ok(*call.key())
            },
        );
        assert_eq!(engine.ask(0, ()).await?, 0);
        engine.finish().await
    });
    ended.expect("nobody waits for ever");
}
