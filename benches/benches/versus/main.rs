//! The bench `versus`: yieldpoint against its peers, workload by workload.
//!
//! `cargo bench -p benches --bench versus` runs everything and writes `BENCHMARKS.md`; see there for how it is measured.
//! Names of workloads choose some, `--rounds N` sets the rounds, and `--test` checks that every side computes the right
//! thing, with tiny counts.

mod compio_side;
mod foreign;
mod glommio_side;
mod local;
mod monoio_side;
mod raw;
mod raw_net;
mod raw_poll;
mod raw_remote;
mod smol_side;
mod tokio_keyed;
mod tokio_local;
mod tokio_net;
mod tokio_send;

use benches::hot;
use benches::inputs::{BATCH, KEYS, ORDERED_KEYS};
use benches::ours;
use benches::workload::{How, Metric, OURS, RAW, Side, THREADED, Unit, Workload};
use compio_side::Compio;
use glommio_side::Glommio;
use monoio_side::Monoio;
use smol_side::Smol;
use tokio_local::{InLocalRuntime, InLocalSet};
use tokio_send::{Bare, Multi, Plain};

/// The sum of the numbers below `n`: what a workload computes whose operations give back their index.
fn sum_below(n: u64) -> u64 {
    n * n.saturating_sub(1) / 2
}

const fn metric(suffix: &'static str, unit: Unit) -> Metric {
    Metric { suffix, unit }
}

const NANOS: &[Metric] = &[metric("", Unit::Nanos)];

/// The sides of a workload that every peer does in the same shape: ours, those in tokio's plain form, those written once for
/// all runtimes with `spawn_local`, and those named one by one.
macro_rules! sides {
    ($name:ident $(, $extra:ident => $run:expr)*) => { sides!(ours::$name, tokio_send, $name $(, $extra => $run)*) };
    ($ours:expr, $tokio:ident, $name:ident $(, $extra:ident => $run:expr)*) => {
        &[
            Side { name: OURS, run: $ours },
            Side { name: "tokio", run: $tokio::$name::<Plain> },
            Side { name: "tokio_local_set", run: local::$name::<InLocalSet> },
            Side { name: "tokio_local_runtime", run: local::$name::<InLocalRuntime> },
            Side { name: "smol", run: local::$name::<Smol> },
            Side { name: "monoio", run: local::$name::<Monoio> },
            Side { name: "compio", run: local::$name::<Compio> },
            Side { name: "glommio", run: local::$name::<Glommio<false>> },
            Side { name: THREADED, run: $tokio::$name::<Multi> },
            $(Side { name: stringify!($extra), run: $run },)*
        ]
    };
}

/// The sides of a server, with the number of connections and of messages in flight, if it has them; ours and the raw one
/// may be others.
macro_rules! servers {
    ($name:ident $(, $connections:literal, $depth:literal)?) => {
        servers!(ours::$name$(::<$connections, $depth>)?, raw_net::$name$(::<$connections, $depth>)?, $name $(, $connections, $depth)?)
    };
    ($ours:expr, $raw:expr, $name:ident $(, $connections:literal, $depth:literal)? $(; $extra:ident => $run:expr)*) => {
        &[
            Side { name: OURS, run: $ours },
            Side { name: "tokio", run: tokio_net::$name::<Plain $(, $connections, $depth)?> },
            Side { name: "tokio_local_set", run: tokio_local::in_set::$name$(::<$connections, $depth>)? },
            Side { name: "tokio_local_runtime", run: tokio_local::in_runtime::$name$(::<$connections, $depth>)? },
            Side { name: "smol", run: smol_side::$name$(::<$connections, $depth>)? },
            Side { name: "monoio", run: monoio_side::$name$(::<$connections, $depth>)? },
            Side { name: "compio", run: compio_side::$name$(::<$connections, $depth>)? },
            Side { name: "glommio", run: glommio_side::$name$(::<$connections, $depth>)? },
            Side { name: THREADED, run: tokio_net::$name::<Multi $(, $connections, $depth)?> },
            Side { name: RAW, run: $raw },
            $(Side { name: stringify!($extra), run: $run },)*
        ]
    };
}

/// What an echo workload says, in the order in which the load generator gives it.
const ECHO: &str =
    "Requests a second; 50th and 99th percentile of the latency; the server's CPU time a request.";

const ECHO_METRICS: &[Metric] = &[
    metric("", Unit::PerSecond),
    metric("_p50", Unit::Nanos),
    metric("_p99", Unit::Nanos),
    metric("_cpu", Unit::Nanos),
];

/// How many turns the sides of an echo workload have in a round.
const TURNS: u64 = 20;

/// How often each side runs in a round where time is measured.
const RUNS: u64 = 3;

/// An echo workload: the name and the counts follow from the connections, the depth, and how many messages each place in
/// flight has in a turn.
macro_rules! tcp_echo {
    ($connections:literal, $depth:literal, $each:literal) => {
        Workload {
            name: concat!("tcp_echo_c", $connections, "_d", $depth),
            what: ECHO,
            metrics: ECHO_METRICS,
            count: $connections * $depth * $each * TURNS,
            test_count: $connections * $depth * 5,
            how: How::InTurns(TURNS),
            expected: |n| n,
            sides: servers!(ours::tcp_echo::<$connections, $depth>, raw_net::tcp_echo::<$connections, $depth>, tcp_echo, $connections, $depth; own_buffer => ours::tcp_echo_own::<$connections, $depth>; tokio_shared_buffer => tokio_local::in_runtime::tcp_echo_shared::<$connections, $depth>),
        }
    };
}

const WORKLOADS: &[Workload] = &[
    // In the order in which a user feels them.
    tcp_echo!(1, 1, 250),
    Workload {
        name: "tcp_echo_spin",
        what: "As `tcp_echo_c1_d1`, but ours and the raw loop look for 50 µs before they sleep.",
        metrics: ECHO_METRICS,
        count: 250 * TURNS,
        test_count: 20,
        how: How::InTurns(TURNS),
        expected: |n| n,
        sides: servers!(ours::tcp_echo_spin, raw_net::tcp_echo_spin, tcp_echo, 1, 1; glommio_spin => glommio_side::tcp_echo_spin),
    },
    tcp_echo!(1, 16, 250),
    tcp_echo!(64, 1, 100),
    tcp_echo!(64, 16, 50),
    tcp_echo!(1000, 1, 10),
    tcp_echo!(1000, 16, 5),
    Workload {
        name: "timer_sleep",
        what: "100 000 coroutines sleep up to 100 ms: CPU time each, spawning included; median lateness.",
        metrics: &[metric("", Unit::Nanos), metric("_late", Unit::Nanos)],
        count: 100_000,
        test_count: 1_000,
        how: How::Warm(RUNS),
        expected: |n| n,
        sides: sides!(timer_sleep, raw => raw::timer_sleep),
    },
    Workload {
        name: "timer_few",
        what: "1000 coroutines sleep up to 100 ms, so that the loop has time for each: CPU time each, median lateness.",
        metrics: &[metric("", Unit::Nanos), metric("_late", Unit::Nanos)],
        count: 1_000,
        test_count: 100,
        how: How::Warm(RUNS),
        expected: |n| n,
        sides: sides!(timer_sleep, raw => raw::timer_sleep),
    },
    Workload {
        name: "remote_roundtrip",
        what: "To another thread and back; median wall time. A loop of ours without sockets stays awake for 30 µs by itself; `own_asleep` does not.",
        metrics: NANOS,
        count: 5_000,
        test_count: 50,
        how: How::Warm(RUNS),
        expected: sum_below,
        sides: sides!(remote_roundtrip, raw => raw_remote::remote_roundtrip, own_asleep => ours::remote_roundtrip_asleep),
    },
    Workload {
        name: "remote_roundtrip_spin",
        what: "As `remote_roundtrip`, but ours is set to stay awake for up to 50 µs, and so does the raw loop.",
        metrics: NANOS,
        count: 5_000,
        test_count: 50,
        how: How::Warm(RUNS),
        expected: sum_below,
        sides: sides!(ours::remote_roundtrip_spin, tokio_send, remote_roundtrip, raw => raw_remote::remote_roundtrip_spin, glommio_spin => local::remote_roundtrip::<Glommio<true>>),
    },
    Workload {
        name: "remote",
        what: "Another thread posts closures: CPU time of the loop each, and wall time each.",
        metrics: &[metric("", Unit::Nanos), metric("_wall", Unit::Nanos)],
        count: 1_000_000,
        test_count: 1_000,
        how: How::Warm(RUNS),
        expected: sum_below,
        sides: sides!(remote, raw => raw_remote::remote),
    },
    Workload {
        name: "ordered",
        what: "Messages to 10 000 keys in turn, in order for each key, each gives way once: CPU time each, and how far the memory in use rose.",
        metrics: &[metric("", Unit::Nanos), metric("_memory", Unit::Bytes)],
        count: 100 * ORDERED_KEYS,
        test_count: 2 * ORDERED_KEYS,
        how: How::Cold(RUNS),
        expected: |n| n,
        sides: sides!(ours::ordered, tokio_keyed, ordered, raw => raw::ordered, tokio_bounded => tokio_keyed::ordered_bounded, tokio_one_task => tokio_keyed::ordered_by_one),
    },
    Workload {
        name: "hot_key",
        what: "One key has a backlog of 100 000 messages, a thousand others get one now and then: the worst wait of those for their call, in CPU time and in calls that began meanwhile, its own included.",
        metrics: &[metric("", Unit::Nanos), metric("_messages", Unit::Messages)],
        count: 100_000,
        test_count: 2_000,
        how: How::Warm(RUNS),
        expected: |n| n + hot::others(n),
        sides: &[
            Side {
                name: OURS,
                run: ours::hot_key,
            },
            Side {
                name: "tokio",
                run: tokio_keyed::hot_key,
            },
            Side {
                name: "tokio_one_task",
                run: tokio_keyed::hot_key_by_one,
            },
            Side {
                name: "tokio_one_queue",
                run: tokio_keyed::hot_key_in_turn,
            },
        ],
    },
    Workload {
        name: "parked",
        what: "Memory of a coroutine that is parked on a one-shot.",
        metrics: &[metric("", Unit::Bytes)],
        count: 1_000_000,
        test_count: 1_000,
        how: How::Cold(1),
        expected: |n| n,
        sides: sides!(parked, raw => raw::parked),
    },
    Workload {
        name: "idle_conn",
        what: "The server's memory for an idle connection with a buffer of 256 bytes.",
        metrics: &[metric("", Unit::Bytes)],
        count: 9_000,
        test_count: 20,
        how: How::Cold(1),
        expected: |n| n,
        sides: servers!(idle_conn),
    },
    Workload {
        name: "startup",
        what: "Make a loop, run one trivial coroutine on it, drop it; CPU time each.",
        metrics: NANOS,
        count: 300,
        test_count: 2,
        how: How::Warm(RUNS),
        expected: |n| n,
        sides: sides!(startup, raw => raw::startup),
    },
    Workload {
        name: "task",
        what: "Await a callback that is queued on the loop; CPU time each.",
        metrics: NANOS,
        count: 500_000,
        test_count: 1_000,
        how: How::Warm(RUNS),
        expected: sum_below,
        sides: sides!(task, tokio_local_queue => tokio_local::task, raw => raw::task),
    },
    Workload {
        name: "key_wait",
        what: "Make eight keys pending, queue a callback for each, wait for each; CPU time a key.",
        metrics: NANOS,
        count: 50_000 * KEYS,
        test_count: 100 * KEYS,
        how: How::Warm(RUNS),
        expected: sum_below,
        sides: sides!(key_wait, tokio_local_queue => tokio_local::key_wait, raw => raw::key_wait),
    },
    Workload {
        name: "key_wait_1",
        what: "Make a key pending, queue its callback, wait for it; CPU time each.",
        metrics: NANOS,
        count: 400_000,
        test_count: 800,
        how: How::Warm(RUNS),
        expected: sum_below,
        sides: sides!(key_wait_1, tokio_local_queue => tokio_local::key_wait_1, raw => raw::key_wait_1),
    },
    Workload {
        name: "queue",
        what: "One coroutine sends numbers to another over a queue of 128; CPU time each.",
        metrics: NANOS,
        count: 2_000_000,
        test_count: 1_000,
        how: How::Warm(RUNS),
        expected: sum_below,
        sides: sides!(queue, raw => raw::queue),
    },
    Workload {
        name: "pingpong",
        what: "A number goes to and fro between two coroutines over a pair of channels; CPU time a round trip.",
        metrics: NANOS,
        count: 300_000,
        test_count: 1_000,
        how: How::Warm(RUNS),
        expected: |n| n,
        sides: sides!(pingpong, raw => raw::pingpong),
    },
    Workload {
        name: "timer_arm",
        what: "Arm a timer of 1 to 60 s and cancel it; CPU time each.",
        metrics: NANOS,
        count: 1_000_000,
        test_count: 1_000,
        how: How::Warm(RUNS),
        expected: |n| n,
        sides: sides!(timer_arm, raw => raw::timer_arm),
    },
    Workload {
        name: "timer_held",
        what: "Arm a thousand timers, let the loop turn once, cancel them; CPU time a timer.",
        metrics: NANOS,
        count: 500 * BATCH,
        test_count: 2 * BATCH,
        how: How::Warm(RUNS),
        expected: |n| n,
        sides: sides!(timer_held, raw => raw::timer_held),
    },
    Workload {
        name: "spawn_join",
        what: "Spawn a coroutine that gives a number, in batches of 1000, and await each; CPU time each.",
        metrics: NANOS,
        count: 1_000 * BATCH,
        test_count: 2 * BATCH,
        how: How::Warm(RUNS),
        expected: sum_below,
        sides: sides!(spawn_join, raw => raw::spawn_join),
    },
    Workload {
        name: "foreign_channel",
        what: "Two coroutines hand each other one-shots of the `futures` crate; CPU time each.",
        metrics: NANOS,
        count: 500_000,
        test_count: 1_000,
        how: How::Warm(RUNS),
        expected: |n| n,
        sides: sides!(foreign_channel),
    },
    Workload {
        name: "foreign_yield",
        what: "A thousand coroutines give way through their `Waker`; CPU time each time.",
        metrics: NANOS,
        count: 2_000_000,
        test_count: 2_000,
        how: How::Warm(RUNS),
        expected: |n| n,
        sides: sides!(foreign_yield),
    },
    Workload {
        name: "yield_1000",
        what: "A thousand coroutines give way in turn; CPU time each time.",
        metrics: NANOS,
        count: 2_000_000,
        test_count: 2_000,
        how: How::Warm(RUNS),
        expected: |n| n,
        sides: sides!(yield_1000, tokio_bare => tokio_send::yield_1000::<Bare>, raw => raw::yield_1000),
    },
    Workload {
        name: "yield_1",
        what: "One coroutine gives way; CPU time each time.",
        metrics: NANOS,
        count: 1_000_000,
        test_count: 2_000,
        how: How::Warm(RUNS),
        expected: |n| n,
        sides: sides!(yield_1, tokio_bare => tokio_send::yield_1::<Bare>, raw => raw::yield_1),
    },
];

fn main() -> std::process::ExitCode {
    benches::harness::main(WORKLOADS)
}
