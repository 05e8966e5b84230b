//! The noise-free guard: instructions an operation of every workload that only computes, counted by valgrind and compared
//! with what `benches/instructions.toml` has on record.
//!
//! ```sh
//! cargo run -p benches --profile bench --bin instructions              # check; ends with 1 if one grew by more than 5 %
//! cargo run -p benches --profile bench --bin instructions -- --record  # write what is counted into the file
//! ```
//!
//! 1. A workload runs twice, with few and with more operations: the difference is free of starting and ending.
//! 2. A count that fell by more than 5 % is told as well, so that the record follows what was won.
//! 3. Only our side is counted, so no peer is built.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Command, ExitCode};
use std::{env, fs, thread};

use benches::inputs::{BATCH, KEYS, ORDERED_KEYS};
use benches::measure::{Measured, as_f64};
use benches::ours;
use benches::probes::{collected, verdict};

/// The file of the record.
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.toml");

/// Does that many operations.
type Run = fn(u64) -> Measured;

/// A workload, how many operations it does at first, and how many more at the second time.
const WORKLOADS: &[(&str, Run, u64, u64)] = &[
    ("spawn_join", ours::spawn_join, 5 * BATCH, 20 * BATCH),
    ("yield_1", ours::yield_1, 5_000, 50_000),
    ("yield_1000", ours::yield_1000, 5_000, 50_000),
    ("foreign_yield", ours::foreign_yield, 5_000, 50_000),
    ("foreign_channel", ours::foreign_channel, 2_000, 10_000),
    ("task", ours::task, 2_000, 10_000),
    ("key_wait", ours::key_wait, 250 * KEYS, 1_250 * KEYS),
    ("key_wait_1", ours::key_wait_1, 2_000, 10_000),
    ("pingpong", ours::pingpong, 2_000, 10_000),
    ("queue", ours::queue, 5_000, 50_000),
    ("timer_arm", ours::timer_arm, 2_000, 10_000),
    ("timer_held", ours::timer_held, 5 * BATCH, 10 * BATCH),
    ("ordered", ours::ordered, ORDERED_KEYS, 4 * ORDERED_KEYS),
    ("startup", ours::startup, 10, 40),
];

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--run", name, count] => {
            let found = WORKLOADS
                .iter()
                .find(|workload| workload.0 == name)
                .expect("the workload is known");
            found.1(count.parse().expect("a count"));
            ExitCode::SUCCESS
        }
        ["--record"] => record(),
        [] => check(),
        _ => {
            eprintln!("nothing to check, or --record");
            ExitCode::from(2)
        }
    }
}

/// Counts all workloads, on all cores.
fn count_all() -> Vec<(&'static str, f64)> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let mut counts = Vec::new();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let work = || {
            let mut mine = Vec::new();
            while let Some(&(name, _, few, more)) =
                WORKLOADS.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
            {
                let each = as_f64(count(name, few + more) - count(name, few)) / as_f64(more);
                eprintln!("{name}: {each:.1} instructions");
                mine.push((name, each));
            }
            mine
        };
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            counts.extend(worker.join().expect("every count succeeds"));
        }
    });
    counts
        .sort_unstable_by_key(|count| WORKLOADS.iter().position(|workload| workload.0 == count.0));
    counts
}

/// The instructions of one run.
fn count(name: &str, operations: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe().expect("the check has a file"))
        .args(["--run", name, &operations.to_string()])
        .output()
        .expect("valgrind is installed");
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed: {report}");
    collected(&report).unwrap_or_else(|| panic!("callgrind gives a count: {report}"))
}

fn record() -> ExitCode {
    let mut text = format!(
        "# Instructions an operation, counted by callgrind; written by\n\
         #   cargo run -p benches --profile bench --bin instructions -- --record\n\
         # A commit that makes one grow by more than 5 % says why, and records anew.\n\
         compiler = \"{}\"\n\n[instructions]\n",
        compiler()
    );
    for (name, each) in count_all() {
        writeln!(text, "{name} = {each:.1}").expect("a text takes more");
    }
    fs::write(RECORD, text).expect("the record can be written");
    println!("recorded");
    ExitCode::SUCCESS
}

fn check() -> ExitCode {
    let text = fs::read_to_string(RECORD).expect("there is a record: make one with --record");
    let recorded: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .collect();
    let compiler = format!("\"{}\"", compiler());
    if recorded
        .get("compiler")
        .is_none_or(|&known| known != compiler)
    {
        println!(
            "note: recorded with another compiler; if that alone makes counts grow, record anew"
        );
    }
    let mut grown = false;
    for (name, each) in count_all() {
        let known = recorded
            .get(name)
            .and_then(|known| known.parse::<f64>().ok());
        let verdict = verdict(known, each).unwrap_or_else(|growth| {
            grown = true;
            growth
        });
        println!("INSTRUCTIONS {name} {each:.1} {verdict}");
    }
    if grown {
        println!("If this is meant, say why in the commit and record anew: --record");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The compiler's version.
fn compiler() -> String {
    let output = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg("--version")
        .output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
