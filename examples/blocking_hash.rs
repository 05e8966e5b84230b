//! Work that blocks goes to a small pool of threads, and is awaited like anything else; the loop goes on meanwhile.

use std::hash::{DefaultHasher, Hasher};

use yieldpoint::{EventLoop, Result, ms};

/// A hash that is meant to be slow.
fn slow_hash(password: &str) -> u64 {
    let mut digest = 0;
    for round in 0..200_000_u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(password.as_bytes());
        hasher.write_u64(digest);
        hasher.write_u64(round);
        digest = hasher.finish();
    }
    digest
}

fn main() -> Result {
    let mut event_loop = EventLoop::builder().pool(2, 16).build()?;
    let (digests, ticks) = event_loop.block_on(async |co| -> Result<_> {
        let ticker = co.spawn(async |co| -> Result<u32> {
            let mut ticks = 0;
            loop {
                if co.sleep(ms(1)).await.is_err() {
                    return Ok(ticks); // cancelled
                }
                ticks += 1;
            }
        });
        let digests = co
            .all(
                ["correct horse", "battery staple"]
                    .map(|password| co.blocking(move || slow_hash(password))),
            )
            .await;
        ticker.cancel("the hashes are there");
        Ok((digests, ticker.await?))
    })?;
    for digest in &digests {
        println!("{:016x}", digest.as_ref().expect("hashed"));
    }
    println!(
        "the loop ticked {} while two threads hashed",
        if ticks > 0 { "on" } else { "not at all" }
    );
    assert_eq!(
        digests.map(|digest| digest.expect("hashed")),
        ["correct horse", "battery staple"].map(slow_hash)
    );
    Ok(())
}
