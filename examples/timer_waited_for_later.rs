//! A time-out is registered now and waited for later; what happens in between costs no extra time.
//!
//! Prints
//!
//! ```text
//! going to wait
//! waited, took 0.1 seconds
//! ```

use std::time::Duration;

use yieldpoint::{EventLoop, Result, ms};

fn main() -> Result {
    let took = EventLoop::new()?.block_on(async |co| -> Result<Duration> {
        let started = co.handle().now();
        co.timer("late", ms(100))?; // it runs from here
        println!("going to wait");
        co.wait::<()>("late").await?;
        let took = co.handle().now() - started;
        println!("waited, took {:.1} seconds", took.as_secs_f64());
        Ok(took)
    })?;
    assert!(took >= ms(100), "a timer never fires early");
    Ok(())
}
