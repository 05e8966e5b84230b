//! The first bench: yieldpoint against tokio's one-threaded runtimes, workload by workload.
//!
//! Run it with `cargo bench -p benches --bench first`, with names of workloads to choose, or with
//! `--test` for a check that every side computes the right thing.

mod ours;
mod shared;
mod tokio_side;

use benches::{Peer, Unit, Workload};

/// The sum of the numbers below `n`: what a workload computes whose operations give back their
/// index.
fn sum_below(n: u64) -> u64 {
    n * n.saturating_sub(1) / 2
}

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "spawn_join",
        unit: Unit::Nanos,
        count: 100 * shared::BATCH,
        test_count: 2 * shared::BATCH,
        expected: sum_below,
        ours: ours::spawn_join,
        theirs: &[
            Peer {
                name: "tokio_local_runtime",
                run: tokio_side::spawn_join_local_runtime,
            },
            Peer {
                name: "tokio_local_set",
                run: tokio_side::spawn_join_local_set,
            },
            Peer {
                name: "tokio_spawn",
                run: tokio_side::spawn_join_spawn,
            },
        ],
    },
    Workload {
        name: "yield_1",
        unit: Unit::Nanos,
        count: 500_000,
        test_count: 2_000,
        expected: |n| n,
        ours: ours::yield_1,
        theirs: &[
            Peer {
                name: "tokio_yield_now",
                run: tokio_side::yield_1,
            },
            Peer {
                name: "tokio_wake_self",
                run: tokio_side::yield_1_wake_self,
            },
        ],
    },
    Workload {
        name: "yield_1000",
        unit: Unit::Nanos,
        count: 1_000_000,
        test_count: 2_000,
        expected: |n| n,
        ours: ours::yield_1000,
        theirs: &[
            Peer {
                name: "tokio_yield_now",
                run: tokio_side::yield_1000,
            },
            Peer {
                name: "tokio_wake_self",
                run: tokio_side::yield_1000_wake_self,
            },
        ],
    },
    Workload {
        name: "task",
        unit: Unit::Nanos,
        count: 200_000,
        test_count: 1_000,
        expected: sum_below,
        ours: ours::task,
        theirs: &[
            Peer {
                name: "tokio_queue",
                run: tokio_side::task_queue,
            },
            Peer {
                name: "tokio_spawn_local",
                run: tokio_side::task_spawn_local,
            },
        ],
    },
    Workload {
        name: "key_wait",
        unit: Unit::Nanos,
        count: 25_000 * shared::KEYS,
        test_count: 100 * shared::KEYS,
        expected: sum_below,
        ours: ours::key_wait,
        theirs: &[Peer {
            name: "tokio_queue",
            run: tokio_side::key_wait,
        }],
    },
    Workload {
        name: "remote_wake",
        unit: Unit::Nanos,
        count: 5_000,
        test_count: 50,
        expected: sum_below,
        ours: ours::remote_wake,
        theirs: &[Peer {
            name: "tokio",
            run: tokio_side::remote_wake,
        }],
    },
    Workload {
        name: "timer_arm",
        unit: Unit::Nanos,
        count: 500_000,
        test_count: 1_000,
        expected: |n| n,
        ours: ours::timer_arm,
        theirs: &[Peer {
            name: "tokio",
            run: tokio_side::timer_arm,
        }],
    },
    Workload {
        name: "timer_held",
        unit: Unit::Nanos,
        count: 200 * shared::BATCH,
        test_count: 2 * shared::BATCH,
        expected: |n| n,
        ours: ours::timer_held,
        theirs: &[Peer {
            name: "tokio",
            run: tokio_side::timer_held,
        }],
    },
    Workload {
        name: "tcp_echo_1",
        unit: Unit::PerSecond,
        count: 8_000,
        test_count: 50,
        expected: |n| n,
        ours: ours::tcp_echo_1,
        theirs: &[Peer {
            name: "tokio",
            run: tokio_side::tcp_echo_1,
        }],
    },
    Workload {
        name: "tcp_echo_64",
        unit: Unit::PerSecond,
        count: 64 * 1_000,
        test_count: 64 * 2,
        expected: |n| n,
        ours: ours::tcp_echo_64,
        theirs: &[Peer {
            name: "tokio",
            run: tokio_side::tcp_echo_64,
        }],
    },
];

fn main() -> std::process::ExitCode {
    benches::main(WORKLOADS)
}
