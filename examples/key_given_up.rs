//! The answer is not needed any more: the key is given up on purpose, and nobody calls that a leak.
//!
//! The same body without `forget` ends with an error that names the key and the line that made it.

use std::cell::RefCell;

use yieldpoint::{EventLoop, Resolver, Result};

/// A service that takes our callback and never gets round to it.
#[derive(Default)]
struct Service(RefCell<Vec<Resolver<u32>>>);

impl Service {
    fn quote(&self, done: Resolver<u32>) {
        self.0.borrow_mut().push(done);
    }
}

fn main() -> Result {
    let service = Service::default();
    let mut event_loop = EventLoop::new()?;

    event_loop.block_on(async |co| -> Result {
        service.quote(co.callback("quote")?);
        co.forget("quote")
    })?;
    println!("given up on purpose: no error");

    let error = event_loop
        .block_on(async |co| -> Result {
            service.quote(co.callback("quote")?);
            Ok(())
        })
        .expect_err("the key was left pending");
    println!("left behind: {error}");
    assert!(error.is_leaked() && error.to_string().contains("\"quote\""));
    Ok(())
}
