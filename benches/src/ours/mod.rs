//! The workloads with yieldpoint, operation by operation the same as on the other sides.
//!
//! Making the loop is not measured, except in `startup`. Every loop fails on an incident, so a run that reports one, a
//! leaked key say, is no result.

mod channels;
mod coroutines;
mod memory;
mod net;
mod ordered;
mod remote;
mod timers;

pub use channels::{foreign_channel, key_wait, key_wait_1, pingpong, queue, task};
pub use coroutines::{foreign_yield, spawn_join, startup, yield_1, yield_1000, yield_all};
pub use memory::parked;
pub use net::{idle_conn, tcp_echo, tcp_echo_own, tcp_echo_spin};
pub use ordered::{hot_key, key_wait_all, ordered, ordered_all};
pub use remote::{remote, remote_roundtrip, remote_roundtrip_asleep, remote_roundtrip_spin};
pub use timers::{timer_arm, timer_fire, timer_held, timer_sleep};

use yieldpoint::{Builder, Co, EventLoop, Result};

use crate::inputs::SPIN;
use crate::measure::{Measured, cpu_nanos_per_op};

/// A loop whose run panics if anything goes wrong that nobody takes.
fn event_loop() -> EventLoop {
    built(EventLoop::builder())
}

/// The same, which stays awake for a while before it sleeps if its last waits were short.
fn spinning_loop() -> EventLoop {
    built(EventLoop::builder().busy_poll(SPIN))
}

fn built(builder: Builder) -> EventLoop {
    builder.fail_on_error().build().expect("a loop")
}

/// Measures `body` on a loop of its own.
fn measured(n: u64, body: impl AsyncFnOnce(Co) -> Result<u64> + 'static) -> Measured {
    let mut event_loop = event_loop();
    cpu_nanos_per_op(n, || event_loop.block_on(body).expect("no coroutine fails"))
}
