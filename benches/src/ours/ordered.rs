//! The ordered engine, and the ledger with many keys pending.

use std::cell::Cell;
use std::rc::Rc;

use yieldpoint::{Call, Co, Keyed, Result};

use super::measured;
use crate::inputs::{InOrder, ORDERED_KEYS};
use crate::measure::{Measured, with_peak_memory};

/// `n` messages go round robin to [`ORDERED_KEYS`] keys, and each handler gives way once; every round of all keys the
/// sender gives way. The result is how many were handled in their turn. CPU time a message, and peak memory.
pub fn ordered(n: u64) -> Measured {
    with_peak_memory(|| {
        measured(n, async move |co: Co| -> Result<u64> {
            let right = Rc::new(Cell::new(0));
            let counted = Rc::clone(&right);
            let engine = Keyed::with_state(|_: &u64| InOrder::default()).serve(
                co.handle(),
                async move |call: Call<u64>, key: &mut InOrder, number: u64| -> Result {
                    call.yield_now().await?;
                    let before = key.right();
                    key.take(number);
                    counted.set(counted.get() + key.right() - before);
                    Ok(())
                },
            );
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
