//! The ordered engine, and the ledger with many keys pending.

use std::cell::Cell;
use std::rc::Rc;

use yieldpoint::{Call, Co, Handle, Keyed, Result};

use super::measured;
use crate::inputs::{InOrder, ORDERED_KEYS};
use crate::measure::{Measured, with_peak_memory};

/// `n` messages go round robin to [`ORDERED_KEYS`] keys, and each handler gives way once; every round of all keys the
/// sender gives way. The result is how many were handled in their turn. CPU time a message, and peak memory.
pub fn ordered(n: u64) -> Measured {
    with_peak_memory(|| {
        measured(n, async move |co: Co| -> Result<u64> {
            let right = Rc::new(Cell::new(0));
            let engine = engine_of_keys(co.handle(), &right);
            for number in 0..n / ORDERED_KEYS {
                for key in 0..ORDERED_KEYS {
                    engine.try_send(key, number)?;
                }
                co.yield_now().await?;
            }
            engine.finish().await?;
            Ok(right.get())
        })
    })
}

/// One engine for all keys, each with what it has seen as its state.
fn engine_of_keys(handle: &Handle, right: &Rc<Cell<u64>>) -> Keyed<u64, InOrder, u64> {
    let right = Rc::clone(right);
    Keyed::with_state(|_: &u64| InOrder::default()).serve(
        handle,
        async move |call: Call<u64>, key: &mut InOrder, number: u64| -> Result {
            call.yield_now().await?;
            let before = key.right();
            key.take(number);
            right.set(right.get() + key.right() - before);
            Ok(())
        },
    )
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
