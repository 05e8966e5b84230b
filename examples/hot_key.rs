//! What a hot key does to the others: four times as many messages come as can be handled, nearly all of them for one key, the rest for a
//! thousand others. How long does a message of those wait for its call, in the ordinary way of one queue for all, and in the keyed engine?
//!
//! ```text
//! cargo run --release --example hot_key
//! ```

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use yieldpoint::{Call, EventLoop, Keyed, Ordered, Result};

/// How many messages are sent.
const MESSAGES: u32 = 200_000;
/// How many are sent for each call that can begin, before the sender gives way.
const LOAD: u32 = 4;
/// How many cold keys there are.
const COLD: u32 = 1000;

/// The longest wait of a message for the hot key, and for any other.
type Worst = Rc<RefCell<[Duration; 2]>>;

/// The key of a message.
fn key(n: u32) -> u32 {
    if n.is_multiple_of(10) {
        1 + n / 10 % COLD
    } else {
        0
    }
}

/// Notes how long a message has waited.
fn note(worst: &Worst, key: u32, sent: Instant) {
    let waited = sent.elapsed();
    let worst = &mut worst.borrow_mut()[usize::from(key != 0)];
    *worst = waited.max(*worst);
}

/// One queue for all keys.
fn one_queue() -> Result<[Duration; 2]> {
    let worst = Worst::default();
    let told = Rc::clone(&worst);
    EventLoop::new()?.block_on(async |co| -> Result {
        let engine = Ordered::with_state(()).bound(MESSAGES as usize).serve(
            co.handle(),
            async move |call: Call, (): &mut (), (key, sent): (u32, Instant)| -> Result {
                note(&told, key, sent);
                call.yield_now().await
            },
        );
        for n in 0..MESSAGES {
            engine.try_send((key(n), Instant::now()))?;
            if n % LOAD == LOAD - 1 {
                co.yield_now().await?;
            }
        }
        engine.finish().await
    })?;
    Ok(*worst.borrow())
}

/// The keyed engine, with so many calls at a time.
fn keyed(concurrency: u32) -> Result<[Duration; 2]> {
    let worst = Worst::default();
    let told = Rc::clone(&worst);
    EventLoop::new()?.block_on(async |co| -> Result {
        let engine = Keyed::with_state(|_: &u32| ())
            .per_key(MESSAGES as usize)
            .total(MESSAGES as usize)
            .concurrency(concurrency as usize)
            .serve(
                co.handle(),
                async move |call: Call<u32>, (): &mut (), sent: Instant| -> Result {
                    note(&told, *call.key(), sent);
                    call.yield_now().await
                },
            );
        for n in 0..MESSAGES {
            engine.try_send(key(n), Instant::now())?;
            let burst = LOAD * concurrency;
            if n % burst == burst - 1 {
                co.yield_now().await?;
            }
        }
        engine.finish().await
    })?;
    Ok(*worst.borrow())
}

fn main() -> Result {
    println!("{MESSAGES} messages, 39 of 40 for one key; the longest wait for a call");
    let show = |what: &str, [hot, cold]: [Duration; 2]| {
        println!("{what:<36} hot key {hot:>12.3?}   other keys {cold:>12.3?}");
    };
    show("one queue for all", one_queue()?);
    for concurrency in [1, 16, 256] {
        show(
            &format!("keyed, {concurrency} calls at a time"),
            keyed(concurrency)?,
        );
    }
    Ok(())
}
