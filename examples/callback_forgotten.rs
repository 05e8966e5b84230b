//! An API drops our callback without calling it. Elsewhere the program would hang; here the wait ends with an error that names the
//! key, the line that made it and the line that waits for it.

use yieldpoint::{ErrorKind, EventLoop, Resolver, Result};

/// A client with a bug: on a bad address it forgets its callback.
fn fetch(address: &str, done: Resolver<String>) {
    if address.starts_with("http://") {
        done.resolve(format!("200 OK from {address}"));
    }
}

fn main() -> Result {
    let error = EventLoop::new()?
        .block_on(async |co| -> Result {
            fetch("http://good.example", co.callback("good")?);
            println!("{}", co.wait::<String>("good").await?);

            fetch("gopher://bad.example", co.callback("bad")?);
            println!("{}", co.wait::<String>("bad").await?);
            Ok(())
        })
        .expect_err("the second callback was never called");

    println!("error: {error}");
    match error.kind() {
        ErrorKind::Abandoned {
            key: Some(key),
            created_at,
            waited_at,
            ..
        } => {
            assert!(*key == "bad" && waited_at.line() > created_at.line());
        }
        other => panic!("expected Abandoned, got {other:?}"),
    }
    Ok(())
}
