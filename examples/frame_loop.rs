//! The loop inside an application's own main loop: 60 frames a second, of which the coroutines get 2 ms each. The application owns its
//! world and lends it for the turn.

use std::thread;
use std::time::{Duration, Instant};

use yieldpoint::{Budget, EventLoop, Lent, Result, ms};

/// The application's state.
#[derive(Default)]
struct World {
    /// Where the door is, 0 closed to 100 open.
    door: u32,
    /// What the characters said.
    said: Vec<&'static str>,
}

/// One frame.
const FRAME: Duration = Duration::from_micros(16_667);

fn main() -> Result {
    let guest = EventLoop::new()?.into_guest();
    let lent = Lent::<World>::new();

    // Two scripts, each a straight line over many frames.
    let world = lent.clone();
    let door = guest.handle().spawn(async move |co| -> Result {
        for _ in 0..20 {
            world.with(|world| world.door += 5)?;
            co.sleep(ms(20)).await?;
        }
        Ok(())
    });
    let world = lent.clone();
    let talk = guest.handle().spawn(async move |co| -> Result {
        for line in ["who's there?", "it is only the wind", "close the door"] {
            world.with(|world| world.said.push(line))?;
            co.sleep(ms(150)).await?;
        }
        Ok(())
    });

    let mut world = World::default();
    let mut frames = 0;
    let mut longest = Duration::ZERO;
    while !(door.is_finished() && talk.is_finished()) {
        let began = Instant::now();
        lent.during(&mut world, || guest.turn(Budget::time(ms(2))))?;
        longest = longest.max(began.elapsed());

        // … here the application draws …
        frames += 1;
        thread::sleep(FRAME.saturating_sub(began.elapsed()));
    }
    println!(
        "{frames} frames, the door {}% open, the longest turn under a frame",
        world.door
    );
    for line in &world.said {
        println!("- {line}");
    }
    assert_eq!((world.door, world.said.len()), (100, 3));
    assert!(
        longest < FRAME,
        "a turn of {longest:?} would have cost a frame"
    );
    Ok(())
}
