//! A coroutine written as a state machine by hand: typed yields, plain data that can be cloned in the middle of its life, and the same
//! Runner as for everybody else.

use yieldpoint::{Co, Coroutine, CoroutineState, EventLoop, Result, Sent, Sleep, YieldPoint, ms};

/// Counts down, one sleep a number.
#[derive(Clone, Debug, PartialEq)]
struct Countdown {
    left: u32,
}

impl Coroutine for Countdown {
    type Yield = Sleep;
    type Return = &'static str;

    fn resume(
        &mut self,
        _: &Co,
        sent: Sent<<Sleep as YieldPoint>::Output>,
    ) -> CoroutineState<Sleep, &'static str> {
        match sent {
            // In any state: yield the current point again. So a machine that was saved can be thawed.
            Sent::Start => {}
            Sent::Value(Ok(())) => self.left -= 1,
            Sent::Value(Err(_cancelled)) => return CoroutineState::Complete("scrubbed"),
        }
        if self.left == 0 {
            return CoroutineState::Complete("lift-off");
        }
        println!("{}", self.left);
        CoroutineState::Yielded(Sleep::new(ms(20)))
    }
}

fn main() -> Result {
    EventLoop::new()?.block_on(async |co| -> Result {
        let end = co
            .handle()
            .spawn_coroutine(Countdown { left: 3 })
            .named("countdown")
            .await?;
        println!("{end}");
        assert_eq!(end, "lift-off");

        // Machines are data: this one was saved when it had one to go, and goes on from there.
        let saved = Countdown { left: 1 };
        let thawed = co.spawn_coroutine(saved.clone());
        let end = thawed.await?;
        println!("{end}, once more");
        assert_eq!(end, "lift-off");

        let cancelled = co.spawn_coroutine(Countdown { left: 9 });
        co.yield_now().await?;
        cancelled.cancel("weather");
        let end = cancelled.await?;
        println!("{end}, because of the weather");
        assert_eq!(end, "scrubbed");
        Ok(())
    })
}
