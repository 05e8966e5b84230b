//! Bytes of a parked coroutine.

use std::cell::RefCell;
use std::time::Duration;

use yieldpoint::{Co, Resolver, Result};

use super::event_loop;
use crate::inputs::Places;
use crate::measure::{Measured, as_f64, resident_bytes};

thread_local! {
    /// The resolvers of the parked coroutines: here, so that no coroutine holds a way to them.
    static RESOLVERS: RefCell<Places<Resolver<u64>>> = RefCell::default();
}

/// `n` coroutines parked on a `Task` each, then completed; the result is how many were.
///
/// The resolvers and the join handles lie in memory that was in use before, on all sides: what is counted is a coroutine
/// and the one-shot it waits on.
pub fn parked(n: u64) -> Measured {
    RESOLVERS.set(Places::new(n));
    let (bytes, result) = event_loop()
        .block_on(async |co: Co| -> Result<(u64, u64)> {
            let mut joins = Places::new(n);
            let before = resident_bytes();
            for _ in 0..n {
                joins.push(co.handle().spawn(async |co| -> Result<u64> {
                    co.task(|done| RESOLVERS.with_borrow_mut(|resolvers| resolvers.push(done)))
                        .await
                }));
            }
            co.sleep(Duration::from_millis(1)).await?;
            let bytes = resident_bytes().saturating_sub(before);
            for resolver in RESOLVERS.take().into_values() {
                resolver.resolve(1);
            }
            let mut woken = 0;
            for join in joins.into_values() {
                woken += join.await?;
            }
            Ok((bytes, woken))
        })
        .expect("no coroutine fails");
    Measured {
        values: vec![as_f64(bytes) / as_f64(n)],
        result,
    }
}
