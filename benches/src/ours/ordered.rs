//! The ordered engine, and the ledger with many keys pending.

use yieldpoint::ordered::Ordered;
use yieldpoint::{Call, Co, Handle, Result};

use super::measured;
use crate::inputs::{InOrder, ORDERED_KEYS};
use crate::measure::{Measured, with_peak_memory};

/// `n` messages go round robin to [`ORDERED_KEYS`] keys, and each handler gives way once; every round of all keys the
/// sender gives way. The result is how many were handled in their turn. CPU time a message, and peak memory.
pub fn ordered(n: u64) -> Measured {
    with_peak_memory(|| {
        measured(n, async move |co: Co| -> Result<u64> {
            let engines: Vec<_> = (0..ORDERED_KEYS)
                .map(|_| engine_of_key(co.handle()))
                .collect();
            for number in 0..n / ORDERED_KEYS {
                for engine in &engines {
                    engine.try_send(number)?;
                }
                co.yield_now().await?;
            }
            let mut right = 0;
            for engine in engines {
                right += engine.finish().await?.right();
            }
            Ok(right)
        })
    })
}

/// UNTIL THE KEYED ENGINE IS THERE: one `Ordered` for each key, which is what a user without it would write. The keyed
/// engine, with one queue for all keys, takes the place of this function and of the vector above.
fn engine_of_key(handle: &Handle) -> Ordered<InOrder, u64> {
    Ordered::with_state(InOrder::default()).serve(
        handle,
        async |call: Call, key: &mut InOrder, number: u64| -> Result {
            call.yield_now().await?;
            key.take(number);
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
