//! The answer is not needed any more: the key is given up on purpose, and nobody calls that a leak.
//!
//! The same body without `forget` ends with an error that names the key and the line that made it.

use yieldpoint::{Co, EventLoop, Result};

/// Asks for an answer that never comes, and does not need it after all.
async fn body(co: Co, forget: bool) -> Result {
    let _unanswered = co.callback::<u32>("quote")?;
    if forget {
        co.forget("quote")?;
    }
    Ok(())
}

fn main() -> Result {
    let mut event_loop = EventLoop::new()?;

    event_loop.block_on(async |co| body(co, true).await)?;
    println!("given up on purpose: no error");

    let error = event_loop
        .block_on(async |co| body(co, false).await)
        .expect_err("the key was left pending");
    println!("left behind:         {error}");
    assert!(error.is_leaked() && error.to_string().contains("quote"));
    Ok(())
}
