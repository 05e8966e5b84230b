//! The ordered engine, and the ledger with many keys pending.

use std::cell::Cell;
use std::rc::Rc;

use yieldpoint::ordered::KeyedBuilder;
use yieldpoint::{Call, Co, Handle, Keyed, Result};

use super::{event_loop, measured};
use crate::hot::{self, HOT, Message, Waits};
use crate::inputs::{AT_A_TIME, InOrder, ORDERED_KEYS, QUEUED, index};
use crate::measure::{Measured, with_peak_memory};

/// `n` messages go round robin to [`ORDERED_KEYS`] keys, and each handler gives way once. The result is how many were
/// handled in their turn. CPU time a message, and peak memory.
///
/// The engine is bounded, as a service is: so many messages wait, so many calls run, and the sender waits for room. So it
/// gives way by itself, as often as there is none, and so does the sender of `tokio_bounded`, which has the same bounds. On
/// the other sides, whose queues are unbounded, the sender gives way once every round of all keys, and all of them may be at
/// work at a time. The work is the same: each message is sent by its key, handled behind the one before it, and waits once.
pub fn ordered(n: u64) -> Measured {
    with_peak_memory(|| {
        measured(n, async move |co: Co| -> Result<u64> {
            let right = Rc::new(Cell::new(0));
            let engine = keys().total(QUEUED).concurrency(AT_A_TIME);
            let engine = serve(engine, co.handle(), &right);
            for number in 0..n / ORDERED_KEYS {
                for key in 0..ORDERED_KEYS {
                    engine.send(key, number).await?;
                }
            }
            engine.finish().await?;
            Ok(right.get())
        })
    })
}

/// One engine for all keys, each with what it has seen as its state.
fn keys() -> KeyedBuilder<u64, InOrder, u64> {
    Keyed::with_state(|_: &u64| InOrder::default())
}

/// Its handler gives way once, then counts a message that came in its turn.
fn serve(
    engine: KeyedBuilder<u64, InOrder, u64>,
    handle: &Handle,
    right: &Rc<Cell<u64>>,
) -> Keyed<u64, InOrder, u64> {
    let right = Rc::clone(right);
    engine.serve(
        handle,
        async move |call: Call<u64>, key: &mut InOrder, number: u64| -> Result {
            call.yield_now().await?;
            right.set(right.get() + u64::from(key.take(number)));
            Ok(())
        },
    )
}

/// A key with a backlog of `n` messages, and a thousand others that get one now and then; the result is how many were
/// handled in their turn. The worst wait of the others, in time and in calls.
pub fn hot_key(n: u64) -> Measured {
    let noted = Waits::default();
    let body = async move |co: Co| -> Result<Measured> {
        let right = Rc::new(Cell::new(0));
        let (begins, counts) = (noted.clone(), Rc::clone(&right));
        let engine = Keyed::with_state(|_: &u64| InOrder::default())
            .per_key(index(n))
            .total(index(2 * n))
            .serve(
                co.handle(),
                async move |call: Call<u64>, key: &mut InOrder, message: Message| -> Result {
                    begins.begin(&message);
                    call.yield_now().await?;
                    counts.set(counts.get() + u64::from(key.take(message.number)));
                    Ok(())
                },
            );
        for message in hot::backlog(n) {
            engine.try_send(HOT, message)?;
        }
        for (key, after) in hot::schedule(n) {
            while noted.begun() < after {
                co.yield_now().await?;
            }
            engine.try_send(key, noted.next_message())?;
        }
        engine.finish().await?;
        Ok(noted.measured(right.get()))
    };
    event_loop().block_on(body).expect("no call fails")
}

/// One message goes to each of `n` keys, all at once: what grows with the number of keys that have messages.
pub fn ordered_all(n: u64) -> Measured {
    measured(n, async move |co: Co| -> Result<u64> {
        let right = Rc::new(Cell::new(0));
        let engine = serve(keys().total(index(n)), co.handle(), &right);
        for key in 0..n {
            engine.try_send(key, 0)?;
        }
        engine.finish().await?;
        Ok(right.get())
    })
}

/// `n` keys are made pending at once, a callback is queued for each, then all are waited for: what grows with the number
/// of keys.
pub fn key_wait_all(n: u64) -> Measured {
    measured(n, async move |co: Co| -> Result<u64> {
        for key in 0..n {
            let done = co.callback(key)?;
            co.handle().call_soon(move || done.resolve(key));
        }
        let mut sum = 0;
        for key in 0..n {
            sum += co.wait::<u64>(key).await?;
        }
        Ok(sum)
    })
}
