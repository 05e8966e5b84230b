//! Two keys are registered in one order and completed in the other; each is handled when it comes.
//!
//! Prints
//!
//! ```text
//! key: 1, result: foo
//! key: 0, result: bar
//! ```

use yieldpoint::{EventLoop, Key, Result, ms};

fn main() -> Result {
    let order = EventLoop::new()?.block_on(async |co| -> Result<Vec<Key>> {
        let first = co.callback::<&str>(0)?;
        let second = co.callback::<&str>(1)?;
        co.handle()
            .call_later(ms(100), move || second.resolve("foo"));
        co.handle()
            .call_later(ms(200), move || first.resolve("bar"));

        let mut order = vec![];
        let mut keys = vec![Key::from(0), Key::from(1)];
        while !keys.is_empty() {
            let (key, result) = co.wait_any::<&str>(&keys).await?;
            println!("key: {key}, result: {result}");
            keys.retain(|pending| *pending != key);
            order.push(key);
        }
        Ok(order)
    })?;
    assert_eq!(order, [Key::from(1), Key::from(0)]);
    Ok(())
}
