//! Messages pushed from other threads are handled one at a time, in the order in which each thread pushed them, with state and without a
//! lock. The bounded queue makes the pushers wait.

use std::thread;

use yieldpoint::{Call, EventLoop, Ordered, Result, ms};

/// What is counted.
#[derive(Default, Debug)]
struct Tally {
    /// The last number of each of two pushers.
    last: [u32; 2],
    /// How many messages there were.
    messages: u32,
}

async fn count(call: Call, tally: &mut Tally, (who, n): (usize, u32)) -> Result {
    if n.is_multiple_of(250) {
        call.sleep(ms(1)).await?; // the next message waits for this one all the same
    }
    assert_eq!(n, tally.last[who] + 1, "pusher {who} was overtaken");
    tally.last[who] = n;
    tally.messages += 1;
    Ok(())
}

fn main() -> Result {
    let tally = EventLoop::new()?.block_on(async |co| {
        let engine = Ordered::with_state(Tally::default())
            .bound(16)
            .serve(co.handle(), count);
        for who in 0..2 {
            let door = engine.remote();
            thread::spawn(move || {
                for n in 1..=1000 {
                    door.send_blocking((who, n)).expect("the loop is there");
                }
            });
        }
        engine.finish().await
    })?;
    println!("{tally:?}");
    assert_eq!((tally.messages, tally.last), (2000, [1000, 1000]));
    Ok(())
}
