//! The workloads with yieldpoint, operation by operation the same as on the other side.

use benches::Measured;

use crate::tokio_side;

/// MARK: stands in for our side until it is written; what it prints compares tokio with itself.
fn stand_in(peer: fn(u64) -> Measured, n: u64) -> Measured {
    eprintln!(
        "\r\x1b[KSTAND-IN: ours.rs runs the peer in place of yieldpoint; the ratio says nothing"
    );
    peer(n)
}

/// Batches of [`BATCH`](crate::shared::BATCH) spawns, each gives its index, all awaited; the result
/// is the sum.
pub fn spawn_join(n: u64) -> Measured {
    stand_in(tokio_side::spawn_join_local_set, n)
}

/// One coroutine gives way `n` times; the result is how often.
pub fn yield_1(n: u64) -> Measured {
    stand_in(tokio_side::yield_1, n)
}

/// 1000 coroutines give way `n` times in all; the result is how often.
pub fn yield_1000(n: u64) -> Measured {
    stand_in(tokio_side::yield_1000, n)
}

/// A `Task` whose callback is queued on the loop and hands back the index, `n` times; the result is
/// the sum.
pub fn task(n: u64) -> Measured {
    stand_in(tokio_side::task_queue, n)
}

/// `n` round trips to a thread that completes a `Task` through the `Send` form of its resolver; the
/// result is the sum of the indices it sends.
pub fn remote_wake(n: u64) -> Measured {
    stand_in(tokio_side::remote_wake, n)
}

/// A timer of 1 to 60 s is armed and cancelled at once, `n` times, while one of
/// [`EARLIER`](crate::shared::EARLIER) stays armed; the result is how many were pending.
pub fn timer_arm(n: u64) -> Measured {
    stand_in(tokio_side::timer_arm, n)
}

/// A batch of timers is armed, the loop turns once, all are cancelled; the result is how many were
/// pending.
pub fn timer_held(n: u64) -> Measured {
    stand_in(tokio_side::timer_held, n)
}

/// An echo server on the loop for one connection; the result is how many replies were right.
pub fn tcp_echo_1(n: u64) -> Measured {
    stand_in(tokio_side::tcp_echo_1, n)
}

/// The same for 64 connections.
pub fn tcp_echo_64(n: u64) -> Measured {
    stand_in(tokio_side::tcp_echo_64, n)
}
