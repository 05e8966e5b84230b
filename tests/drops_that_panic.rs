//! Many values that panic in their `Drop` and go together: each is dropped, each panic is told, and the process goes on.

mod support;

use std::cell::Cell;
use std::fmt;
use std::hash::{Hash, Hasher};

use futures_util::FutureExt;

use support::{Drops, Incidents, Wakes, poll_with, watched};
use yieldpoint::{Budget, Call, Co, EventLoop, Keyed, Ordered, Result, ms, ordered};

/// What goes: whether its drop panics, and how many were dropped.
struct Charges {
    live: bool,
    drops: Drops,
}

impl Charges {
    /// A value whose drop counts, and then panics if it is to.
    fn one(&self, name: &'static str) -> Charge {
        Charge {
            name,
            live: self.live,
            drops: self.drops.clone(),
        }
    }
}

/// See [`Charges::one`].
struct Charge {
    name: &'static str,
    live: bool,
    drops: Drops,
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        drop(self.drops.one());
        assert!(!self.live, "{}", self.name);
    }
}

/// Lets values go in one way, and tells which incidents there were.
type Scene = fn(&Charges) -> Incidents;

/// Plays a scene with values whose drop panics. Gives how many were dropped and what was told.
fn with_panics(scene: Scene) -> (usize, String) {
    play(scene, true)
}

/// Plays a scene.
fn play(scene: Scene, live: bool) -> (usize, String) {
    let drops = Drops::new();
    let charges = Charges {
        live,
        drops: drops.clone(),
    };
    let incidents = scene(&charges);
    (drops.count(), incidents.all())
}

/// Runs what is ready.
fn turn(event_loop: &mut EventLoop) {
    let _ = event_loop.turn(Budget::steps(100)).unwrap();
}

/// What is told of drops that panic with these names.
fn told(names: &[&str]) -> String {
    let names = names.iter();
    let told: Vec<_> = names
        .map(|name| format!("panicked(drop: {name})"))
        .collect();
    told.join(" ")
}

/// A handler that is never done.
async fn handle_in_order(call: Call, (): &mut (), _: Option<Charge>) -> Result {
    call.sleep(ms(60_000)).await
}

/// A key that is named by a text, and drops a charge with its original.
#[derive(Debug)]
struct Name(Option<Charge>);

impl Name {
    /// What it is known by.
    fn text(&self) -> &'static str {
        self.0.as_ref().map_or("", |charge| charge.name)
    }
}

impl Clone for Name {
    fn clone(&self) -> Self {
        Name(None)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text().hash(state);
    }
}

/// Messages of a keyed engine, of which none is being handled.
fn keyed_messages(charges: &Charges) -> Incidents {
    let (mut event_loop, incidents) = watched();
    let engine = Keyed::with_state(|_: &u32| ()).serve(
        &event_loop.handle(),
        async |call: Call<u32>, (): &mut (), _: Option<Charge>| -> Result {
            call.sleep(ms(60_000)).await
        },
    );
    engine.try_send(1, None).unwrap();
    for name in ["first", "second", "third"] {
        engine.try_send(1, Some(charges.one(name))).unwrap();
    }
    turn(&mut event_loop);
    drop(event_loop);
    incidents
}

#[test]
fn messages_left_in_a_keyed_engine_whose_loop_goes() {
    assert_eq!(
        with_panics(keyed_messages),
        (3, told(&["first", "second", "third"]))
    );
}

/// Values that have arrived in a ledger.
fn ledger_values(charges: &Charges) -> Incidents {
    let (mut event_loop, incidents) = watched();
    let values = ["a", "b", "c"].map(|name| charges.one(name));
    let parked = event_loop.handle().spawn(async move |co: Co| -> Result {
        for value in values {
            co.callback(value.name)?.resolve(value);
        }
        co.sleep(ms(60_000)).await
    });
    parked.detach();
    turn(&mut event_loop);
    drop(event_loop);
    incidents
}

#[test]
fn values_that_have_arrived_for_a_coroutine_whose_loop_goes() {
    assert_eq!(with_panics(ledger_values), (3, told(&["a", "b", "c"])));
}

/// Values that have arrived in the ledger of a coroutine that ends.
fn leaked_values(charges: &Charges) -> Incidents {
    let (mut event_loop, incidents) = watched();
    let values = ["a", "b"].map(|name| charges.one(name));
    let ends = event_loop.handle().spawn(async move |co: Co| -> Result {
        for value in values {
            co.callback(value.name)?.resolve(value);
        }
        Ok(())
    });
    ends.detach();
    turn(&mut event_loop);
    incidents
}

#[test]
fn values_that_have_arrived_for_a_coroutine_that_ends() {
    let leak = "untaken(coroutine #0 ";
    let (dropped, all) = with_panics(leaked_values);
    let panics = format!("{} {leak}", told(&["a", "b"]));
    assert!(dropped == 2 && all.starts_with(&panics), "{all}");
    let (dropped, all) = play(leaked_values, false);
    assert!(dropped == 2 && all.starts_with(leak), "{all}");
}

/// Messages of an ordered engine, of which none is being handled.
fn ordered_messages(charges: &Charges) -> Incidents {
    let (mut event_loop, incidents) = watched();
    let engine = Ordered::with_state(()).serve(&event_loop.handle(), handle_in_order);
    engine.try_send(None).unwrap();
    for name in ["first", "second", "third"] {
        engine.try_send(Some(charges.one(name))).unwrap();
    }
    turn(&mut event_loop);
    drop(event_loop);
    incidents
}

#[test]
fn messages_left_in_an_ordered_engine_whose_loop_goes() {
    assert_eq!(
        with_panics(ordered_messages),
        (3, told(&["first", "second", "third"]))
    );
}

/// States of the keys of an engine that is dropped where nothing runs.
fn states(charges: &Charges) -> Incidents {
    let (mut event_loop, incidents) = watched();
    let state = ["zero", "one", "two"].map(|name| Cell::new(Some(charges.one(name))));
    let engine = Keyed::with_state(move |key: &usize| state[*key].take()).serve(
        &event_loop.handle(),
        async |_: Call<usize>, _: &mut _, (): ()| -> Result { Ok(()) },
    );
    for key in 0..3 {
        engine.try_send(key, ()).unwrap();
    }
    turn(&mut event_loop);
    assert_eq!(incidents.all(), "");
    drop(engine);
    incidents
}

#[test]
fn states_left_in_a_keyed_engine_that_goes() {
    assert_eq!(with_panics(states), (3, told(&["zero", "one", "two"])));
}

/// States of the keys of an engine that goes with its loop, in the call of the last key.
fn states_with_the_loop(charges: &Charges) -> Incidents {
    let (mut event_loop, incidents) = watched();
    let state = ["zero", "one", "two"].map(|name| Cell::new(Some(charges.one(name))));
    let engine = Keyed::with_state(move |key: &usize| state[*key].take()).serve(
        &event_loop.handle(),
        async |call: Call<usize>, _: &mut _, (): ()| -> Result {
            let waits = if *call.key() == 2 { 60_000 } else { 0 };
            call.sleep(ms(waits)).await
        },
    );
    for key in 0..3 {
        engine.try_send(key, ()).unwrap();
    }
    turn(&mut event_loop);
    drop(engine);
    drop(event_loop);
    incidents
}

#[test]
fn states_left_in_a_keyed_engine_whose_loop_goes() {
    assert_eq!(
        with_panics(states_with_the_loop),
        (3, told(&["zero", "one", "two"]))
    );
}

/// Messages and keys that other threads have sent to a keyed engine, and that it has not taken in.
fn keyed_arrivals(charges: &Charges) -> Incidents {
    let (mut event_loop, incidents) = watched();
    let engine = Keyed::with_state(|_: &Name| ()).serve(
        &event_loop.handle(),
        async |call: Call<Name>, (): &mut (), _: Option<Charge>| -> Result {
            call.sleep(ms(60_000)).await
        },
    );
    engine.try_send(Name(None), None).unwrap();
    turn(&mut event_loop);
    let (remote, engine) = (engine.remote(), engine.finish());
    for (key, message) in [("one's key", "one"), ("two's key", "two")] {
        let (key, message) = (Name(Some(charges.one(key))), charges.one(message));
        assert!(remote.try_send(key, Some(message)).is_ok());
    }
    drop(event_loop);
    let end = engine.now_or_never().expect("it has ended");
    assert!(end.unwrap_err().is_loop_gone());
    incidents
}

#[test]
fn what_other_threads_have_sent_to_a_keyed_engine_whose_loop_goes() {
    assert_eq!(
        with_panics(keyed_arrivals),
        (4, told(&["one", "two", "one's key", "two's key"]))
    );
}

/// Messages that other threads have sent to an ordered engine, and that it has not taken in, with one that it has.
fn ordered_arrivals(charges: &Charges) -> Incidents {
    let (mut event_loop, incidents) = watched();
    let engine = Ordered::with_state(()).serve(&event_loop.handle(), handle_in_order);
    engine.try_send(None).unwrap();
    engine.try_send(Some(charges.one("queued"))).unwrap();
    turn(&mut event_loop);
    let (remote, engine) = (engine.remote(), engine.finish());
    for name in ["one", "two"] {
        assert!(remote.try_send(Some(charges.one(name))).is_ok());
    }
    drop(event_loop);
    let end = engine.now_or_never().expect("it has ended");
    assert!(end.unwrap_err().is_loop_gone());
    incidents
}

#[test]
fn what_other_threads_have_sent_to_an_ordered_engine_whose_loop_goes() {
    assert_eq!(
        with_panics(ordered_arrivals),
        (3, told(&["one", "two", "queued"]))
    );
}

/// Messages that other threads have sent to idle engines.
fn arrivals_of_the_idle(charges: &Charges) -> Incidents {
    let (event_loop, incidents) = watched();
    let ordered = Ordered::with_state(()).serve(&event_loop.handle(), handle_in_order);
    let keyed = Keyed::with_state(|_: &Name| ()).serve(
        &event_loop.handle(),
        async |_: Call<Name>, (): &mut (), _: Charge| -> Result { Ok(()) },
    );
    let (ordered_remote, keyed_remote) = (ordered.remote(), keyed.remote());
    for name in ["one", "two"] {
        assert!(ordered_remote.try_send(Some(charges.one(name))).is_ok());
    }
    for (key, message) in [("third's key", "third"), ("fourth's key", "fourth")] {
        let (key, message) = (Name(Some(charges.one(key))), charges.one(message));
        assert!(keyed_remote.try_send(key, message).is_ok());
    }
    drop(event_loop);
    incidents
}

#[test]
fn what_other_threads_have_sent_to_idle_engines_whose_loop_goes() {
    let names = [
        "one",
        "two",
        "third",
        "fourth",
        "third's key",
        "fourth's key",
    ];
    assert_eq!(with_panics(arrivals_of_the_idle), (6, told(&names)));
}

/// Messages that an early end of an ordered engine left over, and nobody took.
fn ordered_left_over(charges: &Charges) -> Incidents {
    let (mut event_loop, incidents) = watched();
    let engine = Ordered::with_state(())
        .on_failure(|(), _| ordered::AfterFailure::Stop)
        .serve(
            &event_loop.handle(),
            async |call: Call, (): &mut (), _: Option<Charge>| -> Result {
                call.timeout(ms(0), std::future::pending()).await
            },
        );
    engine.try_send(None).unwrap();
    for name in ["first", "second"] {
        engine.try_send(Some(charges.one(name))).unwrap();
    }
    let _ = event_loop.run().unwrap();
    incidents.0.borrow_mut().clear();
    drop(event_loop);
    drop(engine);
    incidents
}

#[test]
fn messages_that_an_ordered_engine_left_over() {
    assert_eq!(
        with_panics(ordered_left_over),
        (2, told(&["first", "second"]))
    );
}

/// Messages that an early end of a keyed engine left over, and nobody took.
fn keyed_left_over(charges: &Charges) -> Incidents {
    let (mut event_loop, incidents) = watched();
    let engine = Keyed::with_state(|_: &u32| ()).serve(
        &event_loop.handle(),
        async |call: Call<u32>, (): &mut (), _: Option<Charge>| -> Result {
            call.sleep(ms(60_000)).await
        },
    );
    engine.try_send(1, None).unwrap();
    for name in ["first", "second"] {
        engine.try_send(1, Some(charges.one(name))).unwrap();
    }
    turn(&mut event_loop);
    let mut draining = engine.drain(ms(0));
    let (_, waker) = Wakes::new();
    assert!(poll_with(&mut draining, &waker).is_pending());
    turn(&mut event_loop);
    drop(event_loop);
    incidents.0.borrow_mut().clear();
    drop(draining);
    incidents
}

#[test]
fn messages_that_a_keyed_engine_left_over() {
    assert_eq!(
        with_panics(keyed_left_over),
        (2, told(&["first", "second"]))
    );
}

#[test]
fn values_that_drop_quietly_are_dropped_everywhere_and_nothing_is_told() {
    let scenes: [(Scene, usize); 10] = [
        (keyed_messages, 3),
        (ledger_values, 3),
        (ordered_messages, 3),
        (states, 3),
        (states_with_the_loop, 3),
        (keyed_arrivals, 4),
        (ordered_arrivals, 3),
        (arrivals_of_the_idle, 6),
        (ordered_left_over, 2),
        (keyed_left_over, 2),
    ];
    for (at, (scene, count)) in scenes.into_iter().enumerate() {
        assert_eq!(play(scene, false), (count, String::new()), "scene {at}");
    }
}
