//! Runs the sides of the workloads in turn, each run in a process of its own, and says how they compare.
//!
//! 1. A run is a process: no side inherits another's memory, threads or pools, and one that hangs or dies spoils nothing
//!    but itself. The loop's core is the same for all.
//! 2. Within a round the sides of a workload take turns, forth and then back, in an order that is shuffled anew for each round.
//!    Where time is measured there are several turns: a ratio is taken within one, and a turn gone wrong counts little.
//! 3. A result that is wrong ends everything: a fast wrong answer is no answer.
//! 4. A peer that cannot start on this machine, or fails, is left out with a note. Ours may not fail.

use std::collections::BTreeMap;
use std::env;
use std::process::ExitCode;
use std::time::Instant;

use crate::comparison::Comparison;
use crate::contest::contest;
use crate::options::Options;
use crate::process::{COLD, RUN, WARM, child, run};
use crate::progress::show;
use crate::report::Outcome;
use crate::workload::{How, OURS, Side, Workload};
use crate::{load, probes, report, scaling, targets};

/// Runs what the command line asks for, and prints one `VERSUS` line for each workload and peer.
///
/// Progress goes to standard error, results to standard output. A run of everything writes `BENCHMARKS.md` and its plots
/// as well.
///
/// # Panics
///
/// If a side computes something else than the workload expects, or if ours fails.
#[must_use]
pub fn main(workloads: &[Workload]) -> ExitCode {
    let mut args = env::args().skip(1).peekable();
    match args.peek().map(String::as_str) {
        Some(load::ARGUMENT) => load::main(args.skip(1)),
        Some(RUN) => child(args.skip(1), workloads.iter().chain(scaling::CURVES)),
        _ => match Options::parse(args, workloads) {
            Ok(options) => parent(&options, workloads),
            Err(problem) => {
                eprintln!("{problem}");
                return ExitCode::from(2);
            }
        },
    }
    ExitCode::SUCCESS
}

/// Runs and compares everything wanted.
fn parent(options: &Options, workloads: &[Workload]) {
    let unknown = targets::unknown(workloads);
    assert!(
        unknown.is_empty(),
        "targets for what is not there: {unknown:?}"
    );
    let started = Instant::now();
    let mut outcome = Outcome {
        rounds: options.rounds,
        ..Outcome::default()
    };
    let mut absent: BTreeMap<&str, String> = BTreeMap::new();
    let wanted: Vec<_> = workloads
        .iter()
        .filter(|workload| options.wants(workload))
        .collect();
    for (place, workload) in wanted.iter().enumerate() {
        let mut sides: Vec<Side> = workload.sides.to_vec();
        sides.retain(|side| !absent.contains_key(side.name));
        let progress = format!("{}/{} {}", place + 1, wanted.len(), workload.name);
        // With tiny counts: what is computed is checked, and who cannot take part is found out.
        sides.retain(|side| {
            show(&progress, &format!("check {}", side.name));
            match run(workload, side, workload.test_count, COLD) {
                Ok(_) => true,
                Err(why) => {
                    assert_ne!(side.name, OURS, "{}: {why}", workload.name);
                    outcome.notes.push(format!(
                        "{} left out of {}: {why}",
                        side.name, workload.name
                    ));
                    if cannot_start(side, workloads) {
                        absent.insert(side.name, why);
                    }
                    false
                }
            }
        });
        if options.test {
            if matches!(workload.how, How::InTurns(_)) {
                let together = contest(workload, &sides, workload.test_count, 1);
                assert!(together.is_ok(), "{}: {together:?}", workload.name);
            }
            show(&progress, "");
            println!("\rTEST {} ok, {} sides", workload.name, sides.len());
        } else {
            measure(
                workload,
                &mut sides,
                options.rounds,
                &progress,
                &mut outcome,
            );
        }
    }
    let everything = options.names.is_empty();
    if everything || options.names.iter().any(|name| name == scaling::NAME) {
        let curves = scaling::measure(if options.test { 0 } else { options.rounds });
        if everything && !options.test {
            report::write_scaling(&curves);
        }
    }
    if !options.test {
        count(&wanted, &mut outcome);
        if everything {
            report::write(&outcome);
        }
    }
    for note in &outcome.notes {
        eprintln!("note: {note}");
    }
    eprintln!("all in {:.0} s", started.elapsed().as_secs_f64());
    if !options.test {
        // Last of all, also where both outputs are read as one.
        report::print(&outcome);
    }
}

/// Counts instructions and system calls where that is told.
fn count(wanted: &[&Workload], outcome: &mut Outcome) {
    let counted = || wanted.iter().filter(|workload| probes::counts(workload));
    if counted().next().is_none() {
        return;
    }
    let missing =
        probes::missing().map(|tool| format!("{tool} is not installed: its counts are left out"));
    outcome.notes.extend(missing);
    for workload in counted() {
        outcome.counts.extend(probes::count(workload));
    }
    show("counting instructions and system calls", "done\n");
}

/// Whether the side cannot even make its loop on this machine.
fn cannot_start(side: &Side, workloads: &[Workload]) -> bool {
    let startup = workloads.iter().find(|workload| workload.name == "startup");
    let known = startup.and_then(|startup| {
        Some((
            startup,
            startup.sides.iter().find(|known| known.name == side.name)?,
        ))
    });
    known.is_some_and(|(startup, side)| run(startup, side, 1, COLD).is_err())
}

/// What the sides of a workload gave: of each round its turns, of each turn the values of the metrics.
type Values = BTreeMap<&'static str, Vec<Vec<Vec<f64>>>>;

/// Measures all sides of a workload.
fn measure(
    workload: &Workload,
    sides: &mut Vec<Side>,
    rounds: u32,
    progress: &str,
    outcome: &mut Outcome,
) {
    let started = Instant::now();
    let mut values = Values::new();
    for round in 1..=rounds {
        let progress = format!("{progress} round {round}/{rounds}");
        let order = shuffled(sides, u64::from(round));
        let failures = match workload.how {
            How::InTurns(turns) => {
                show(&progress, "all in turns");
                in_turns(workload, order, turns, &mut values)
            }
            How::Cold(turns) => one_by_one(workload, order, (COLD, turns), &progress, &mut values),
            How::Warm(turns) => one_by_one(workload, order, (WARM, turns), &progress, &mut values),
        };
        for (side, why) in failures {
            assert_ne!(side, OURS, "{}: {why}", workload.name);
            let note = format!("{side} left out of {}: {why}", workload.name);
            outcome.notes.push(note);
            sides.retain(|kept| kept.name != side);
            values.remove(side);
        }
    }
    show(
        progress,
        &format!(
            "{rounds} rounds in {:.1} s\n",
            started.elapsed().as_secs_f64()
        ),
    );
    for (place, &metric) in workload.metrics.iter().enumerate() {
        let of = |side: &str| -> Vec<Vec<f64>> {
            let turns = |turns: &Vec<Vec<f64>>| turns.iter().map(|values| values[place]).collect();
            values[side].iter().map(turns).collect()
        };
        let ours = of(OURS);
        for side in sides.iter().filter(|side| side.name != OURS) {
            outcome.comparisons.push(Comparison::new(
                workload,
                metric,
                side.name,
                &ours,
                &of(side.name),
            ));
        }
    }
}

/// Runs one side after the other, so many times, forth and then back. Gives those that failed.
fn one_by_one(
    workload: &Workload,
    mut order: Vec<Side>,
    (how, turns): (&str, u64),
    progress: &str,
    values: &mut Values,
) -> Vec<(&'static str, String)> {
    let mut failures = Vec::new();
    let mut measured: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for _ in 0..turns {
        order.retain(|side| {
            show(progress, side.name);
            match run(workload, side, workload.count, how) {
                Ok(turn) => measured.entry(side.name).or_default().push(turn.values),
                Err(why) => {
                    failures.push((side.name, why));
                    return false;
                }
            }
            true
        });
        order.reverse();
    }
    for (side, turns) in measured {
        values.entry(side).or_default().push(turns);
    }
    failures
}

/// Runs all sides together, and again without those that fail. Gives these.
fn in_turns(
    workload: &Workload,
    mut order: Vec<Side>,
    turns: u64,
    values: &mut Values,
) -> Vec<(&'static str, String)> {
    let mut failures = Vec::new();
    loop {
        match contest(workload, &order, workload.count, turns) {
            Ok(measured) => {
                for (side, turns) in order.iter().zip(measured) {
                    values.entry(side.name).or_default().push(turns);
                }
                return failures;
            }
            Err((None, why)) => panic!("{}: {why}", workload.name),
            Err((Some(side), why)) => {
                failures.push((side, why));
                order.retain(|kept| kept.name != side);
            }
        }
    }
}

/// The sides in an order that is shuffled by the number of the round and the moment, so that no side always runs after
/// the same neighbour.
fn shuffled(sides: &[Side], round: u64) -> Vec<Side> {
    let moment = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |since| u64::from(since.subsec_nanos()));
    let mut random = moment ^ round.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut order = sides.to_vec();
    for last in (1..order.len()).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        order.swap(
            last,
            usize::try_from(random % (last as u64 + 1)).expect("an index"),
        );
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Measured;
    use crate::workload::{How, Metric, Unit};

    const NANOS: Metric = Metric {
        suffix: "",
        unit: Unit::Nanos,
    };

    fn three(_: u64) -> Measured {
        Measured {
            values: vec![1.0],
            result: 3,
        }
    }

    const WORKLOAD: Workload = Workload {
        name: "three_c1",
        what: "",
        metrics: &[NANOS],
        count: 3,
        test_count: 3,
        how: How::Warm(1),
        expected: |n| n,
        sides: &[
            Side {
                name: OURS,
                run: three,
            },
            Side {
                name: "peer",
                run: three,
            },
        ],
    };

    #[test]
    fn shuffling_loses_no_side() {
        for round in 0..100 {
            let mut names: Vec<_> = shuffled(WORKLOAD.sides, round)
                .iter()
                .map(|side| side.name)
                .collect();
            names.sort_unstable();
            assert_eq!(names, [OURS, "peer"]);
        }
    }
}
