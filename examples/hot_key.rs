//! What a hot key does to the others: four times as many messages come as can be handled, nearly all of them for one key, the rest for a
//! thousand others. How long does a message of those wait for its call, and how many find no room, in the ordinary way of one queue for
//! all, and in the keyed engine?
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
/// How many keys there are beside the hot one.
const COLD: u32 = 1000;
/// How many messages wait: in the one queue, or for each key.
const BOUND: usize = 1000;

/// What befell messages.
#[derive(Clone, Copy, Default)]
struct Fate {
    /// The longest wait for a call.
    worst: Duration,
    /// The most calls of other messages that began during a wait.
    passed: u32,
    /// How many found no room.
    refused: u32,
}

/// When a message was sent.
#[derive(Clone, Copy)]
struct Sent {
    /// By the clock, which counts what the machine does beside this.
    at: Instant,
    /// By the calls that had begun.
    begun: u32,
}

/// What befell all messages.
#[derive(Default)]
struct Log {
    /// How many calls have begun.
    begun: u32,
    /// What befell the hot key's messages, and all others'.
    fates: [Fate; 2],
}

type Fates = Rc<RefCell<Log>>;

/// The key of a message.
fn key(n: u32) -> u32 {
    if n % 40 == 21 { 1 + n / 40 % COLD } else { 0 }
}

/// Notes how long a message has waited.
fn note(fates: &Fates, key: u32, sent: Sent) {
    let mut log = fates.borrow_mut();
    let passed = log.begun - sent.begun;
    log.begun += 1;
    let fate = &mut log.fates[usize::from(key != 0)];
    fate.worst = fate.worst.max(sent.at.elapsed());
    fate.passed = fate.passed.max(passed);
}

/// Notes a message that found no room.
fn note_refused(fates: &Fates, key: u32) {
    fates.borrow_mut().fates[usize::from(key != 0)].refused += 1;
}

/// A message sent now.
fn now(fates: &Fates) -> Sent {
    Sent {
        at: Instant::now(),
        begun: fates.borrow().begun,
    }
}

/// One queue for all keys.
fn one_queue() -> Result<[Fate; 2]> {
    let fates = Fates::default();
    let told = Rc::clone(&fates);
    EventLoop::new()?.block_on(async |co| -> Result {
        let engine = Ordered::with_state(()).bound(BOUND).serve(
            co.handle(),
            async move |call: Call, (): &mut (), (key, sent): (u32, Sent)| -> Result {
                note(&told, key, sent);
                call.yield_now().await
            },
        );
        for n in 0..MESSAGES {
            if engine.try_send((key(n), now(&fates))).is_err() {
                note_refused(&fates, key(n));
            }
            if n % LOAD == LOAD - 1 {
                co.yield_now().await?;
            }
        }
        engine.finish().await
    })?;
    Ok(fates.take().fates)
}

/// The keyed engine, with so many calls at a time.
fn keyed(concurrency: u32) -> Result<[Fate; 2]> {
    let fates = Fates::default();
    let told = Rc::clone(&fates);
    EventLoop::new()?.block_on(async |co| -> Result {
        let engine = Keyed::with_state(|_: &u32| ())
            .per_key(BOUND)
            .concurrency(concurrency as usize)
            .serve(
                co.handle(),
                async move |call: Call<u32>, (): &mut (), sent: Sent| -> Result {
                    note(&told, *call.key(), sent);
                    call.yield_now().await
                },
            );
        let burst = LOAD * concurrency;
        for n in 0..MESSAGES {
            if engine.try_send(key(n), now(&fates)).is_err() {
                note_refused(&fates, key(n));
            }
            if n % burst == burst - 1 {
                co.yield_now().await?;
            }
        }
        engine.finish().await
    })?;
    Ok(fates.take().fates)
}

fn main() -> Result {
    println!(
        "{MESSAGES} messages, 39 of 40 for one key: the longest wait for a call, in time and in calls that began meanwhile; \
         how many found no room"
    );
    let show = |what: &str, [hot, cold]: [Fate; 2]| {
        let say = |fate: Fate| {
            let Fate {
                worst,
                passed,
                refused,
            } = fate;
            format!("{worst:>8.1?} {passed:>5} calls {refused:>6} refused")
        };
        println!("{what:<28} hot key {}   other keys {}", say(hot), say(cold));
    };
    show("one queue for all", one_queue()?);
    for concurrency in [1, 16, 256] {
        let what = format!("keyed, {concurrency} calls at a time");
        show(&what, keyed(concurrency)?);
    }
    Ok(())
}
