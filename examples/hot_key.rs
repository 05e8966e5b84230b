//! What a hot key does to the others: a million of its messages wait already, when a thousand other keys send one each, a hundred at a
//! time. How long does each wait for its call, and how many calls begin meanwhile: in the ordinary way of one queue for all, and in the
//! keyed engine?
//!
//! A call takes a millisecond of the loop's clock. That clock is moved by the loop itself when there is nothing else to do, so the same
//! figures come out in every run, on every machine, and in a second.
//!
//! ```text
//! cargo run --release --example hot_key
//! ```

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use yieldpoint::{Call, Co, EventLoop, Handle, Keyed, ManualClock, Ordered, Result, ms};

/// How many messages of the hot key wait.
const BACKLOG: u32 = 1_000_000;
/// How many keys there are beside the hot one.
const OTHERS: u32 = 1000;
/// How many of them send at a time.
const AT_A_TIME: u32 = 100;
/// How long after one such burst the next one comes.
const APART: Duration = ms(200);
/// How long a call takes.
const CALL: Duration = ms(1);

/// The longest wait of a message for its call.
#[derive(Clone, Copy, Default)]
struct Worst {
    /// By the loop's clock.
    time: Duration,
    /// In calls that began meanwhile.
    calls: u32,
}

/// What befell all messages.
#[derive(Default)]
struct Log {
    /// How many calls have begun.
    begun: u32,
    /// The longest wait of a message of the hot key, and of another.
    worst: [Worst; 2],
}

/// A message, and when it was sent.
#[derive(Clone, Copy)]
struct Sent {
    /// By the loop's clock.
    at: std::time::Instant,
    /// In calls that had begun.
    begun: u32,
}

/// The log, shared by senders and handlers.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Log>>);

impl Shared {
    /// A message sent now.
    fn send(&self, handle: &Handle) -> Sent {
        Sent {
            at: handle.now(),
            begun: self.0.borrow().begun,
        }
    }

    /// Notes that a message's call begins now.
    fn begin(&self, handle: &Handle, key: u32, sent: Sent) {
        let mut log = self.0.borrow_mut();
        let (time, calls) = (handle.now() - sent.at, log.begun - sent.begun);
        log.begun += 1;
        let worst = &mut log.worst[usize::from(key != 0)];
        worst.time = worst.time.max(time);
        worst.calls = worst.calls.max(calls);
    }

    /// The longest waits.
    fn worst(&self) -> [Worst; 2] {
        self.0.borrow().worst
    }
}

/// Sends the hot key's messages, then those of the others.
async fn send_all(co: &Co, mut send: impl FnMut(u32) -> Result) -> Result {
    for _ in 0..BACKLOG {
        send(0)?;
    }
    for key in 1..=OTHERS {
        send(key)?;
        if key % AT_A_TIME == 0 {
            co.sleep(APART).await?;
        }
    }
    Ok(())
}

/// A loop whose time moves by itself.
fn event_loop() -> Result<EventLoop> {
    EventLoop::builder().clock(&ManualClock::auto()).build()
}

/// One queue for all keys.
fn one_queue() -> Result<[Worst; 2]> {
    event_loop()?.block_on(async |co| -> Result<[Worst; 2]> {
        let log = Shared::default();
        let told = log.clone();
        let engine = Ordered::with_state(())
            .bound((BACKLOG + OTHERS) as usize)
            .serve(
                co.handle(),
                async move |call: Call, (): &mut (), (key, sent): (u32, Sent)| -> Result {
                    told.begin(call.handle(), key, sent);
                    call.sleep(CALL).await
                },
            );
        send_all(
            &co,
            |key| Ok(engine.try_send((key, log.send(co.handle())))?),
        )
        .await?;
        engine.finish().await?;
        Ok(log.worst())
    })
}

/// The keyed engine, with so many calls at a time.
fn keyed(concurrency: usize) -> Result<[Worst; 2]> {
    event_loop()?.block_on(async |co| -> Result<[Worst; 2]> {
        let log = Shared::default();
        let told = log.clone();
        let engine = Keyed::with_state(|_: &u32| ())
            .per_key(BACKLOG as usize)
            .total((BACKLOG + OTHERS) as usize)
            .concurrency(concurrency)
            .serve(
                co.handle(),
                async move |call: Call<u32>, (): &mut (), sent: Sent| -> Result {
                    told.begin(call.handle(), *call.key(), sent);
                    call.sleep(CALL).await
                },
            );
        send_all(&co, |key| Ok(engine.try_send(key, log.send(co.handle()))?)).await?;
        engine.finish().await?;
        Ok(log.worst())
    })
}

fn main() -> Result {
    println!(
        "{BACKLOG} messages of a hot key wait; {OTHERS} other keys send one each, {AT_A_TIME} at a time; a call takes {CALL:?}.\n"
    );
    println!(
        "{:<22} {:>24} {:>26}",
        "the longest wait of", "another key's message", "the hot key's last one"
    );
    let show = |what: &str, [hot, other]: [Worst; 2]| {
        let say = |worst: Worst| format!("{} ms, {} calls", worst.time.as_millis(), worst.calls);
        println!("{what:<22} {:>24} {:>26}", say(other), say(hot));
    };
    show("one queue for all", one_queue()?);
    for concurrency in [1, 16, 256] {
        let what = format!("keyed, {concurrency} at a time");
        show(&what, keyed(concurrency)?);
    }
    Ok(())
}
