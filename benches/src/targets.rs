//! What a run must show, and whether it did: all targets, in one place.
//!
//! 1. A target that names no workload, metric or side of the bench ends it, so that none is passed by being misspelt.
//! 2. What a run did not measure is told as such, never as met.

use crate::comparison::Comparison;
use crate::probes::Counts;
use crate::words;
use crate::workload::{OURS, OURS_AS_PEERS, RAW, THREADED, Unit, Workload};

/// What must hold.
#[derive(Clone, Copy, Debug)]
enum Must {
    /// Ours is at least so many times better than this peer: the median of the ratios.
    Better(f64, &'static str),
    /// Ours is at most so much: the median of the values.
    AtMost(f64),
    /// No peer but the raw loop is better beyond the run's own noise.
    NotBehind,
    /// At most so many instructions of ours in user space a request.
    Instructions(f64),
    /// As many system calls as the raw loop.
    CallsAsRaw,
}

use Must::{AtMost, Better, CallsAsRaw, Instructions, NotBehind};

/// The name of a workload and its metric, and what must hold for it.
///
/// Instructions have a target with 64 connections: with one, most are those of a loop that goes to sleep and wakes.
const TARGETS: &[(&str, Must)] = &[
    ("tcp_echo_c1_d1", Better(0.98, RAW)),
    ("tcp_echo_c1_d1", NotBehind),
    ("tcp_echo_c1_d1", CallsAsRaw),
    ("tcp_echo_c1_d16", Better(0.98, RAW)),
    ("tcp_echo_c1_d16", NotBehind),
    ("tcp_echo_c1_d16", CallsAsRaw),
    ("tcp_echo_c64_d1", Better(0.98, RAW)),
    ("tcp_echo_c64_d1", NotBehind),
    ("tcp_echo_c64_d1", Instructions(450.0)),
    ("tcp_echo_c64_d1", CallsAsRaw),
    ("tcp_echo_c64_d16", Better(0.98, RAW)),
    ("tcp_echo_c64_d16", NotBehind),
    ("tcp_echo_c64_d16", CallsAsRaw),
    ("tcp_echo_c1000_d1", Better(0.98, RAW)),
    ("tcp_echo_c1000_d1", NotBehind),
    ("tcp_echo_c1000_d1", CallsAsRaw),
    ("tcp_echo_c1000_d16", Better(0.98, RAW)),
    ("tcp_echo_c1000_d16", NotBehind),
    ("tcp_echo_c1000_d16", CallsAsRaw),
    ("tcp_echo_spin", Better(2.0, "tokio")),
    ("tcp_echo_spin_p50", Better(2.0, "tokio")),
    ("tcp_echo_spin_cpu", Better(1.0, "tokio")),
    ("timer_sleep", Better(1.15, "tokio")),
    ("timer_sleep_late", AtMost(100_000.0)),
    ("remote_roundtrip", Better(1.25, "tokio")),
    ("remote", Better(3.0, "tokio")),
    ("ordered", Better(3.0, "tokio")),
    ("ordered_memory", Better(10.0, "tokio")),
    ("parked", AtMost(240.0)),
    ("idle_conn", AtMost(500.0)),
    ("startup", Better(1.1, "tokio")),
    ("task", Better(5.0, "tokio")),
    ("key_wait", Better(3.0, "tokio")),
    ("queue", Better(5.0, "tokio")),
    ("pingpong", Better(3.5, "tokio")),
    ("timer_arm", Better(3.0, "tokio")),
    ("spawn_join", Better(5.0, "tokio")),
    ("spawn_join", Better(4.0, "tokio_local_set")),
    ("spawn_join", Better(1.0, "monoio")),
    ("foreign_channel", Better(1.0, "tokio")),
    ("foreign_yield", Better(3.0, "tokio")),
    ("yield_1000", Better(5.0, "tokio")),
    ("yield_1", Better(20.0, "tokio")),
    ("yield_1", Better(8.0, "tokio_bare")),
];

/// How many system calls a request may be more than the raw loop's and still be as many: those of accepting and ending.
const AS_MANY: f64 = 0.1;

/// A target, and what a run measured for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The name of the workload and its metric.
    pub(crate) name: &'static str,
    pub(crate) must: String,
    /// What was measured, and whether it is what must be.
    pub(crate) measured: Option<(String, bool)>,
}

/// All targets, each with what was measured.
pub(crate) fn verdicts(comparisons: &[Comparison], counts: &[Counts]) -> Vec<Verdict> {
    let verdict = |&(name, must): &(&'static str, Must)| Verdict {
        name,
        must: in_words(name, must, comparisons),
        measured: measured(name, must, comparisons, counts),
    };
    TARGETS.iter().map(verdict).collect()
}

/// What must hold, for the table.
fn in_words(name: &str, must: Must, comparisons: &[Comparison]) -> String {
    match must {
        Better(times, peer) => format!("≥ {times} × {peer}"),
        AtMost(most) => {
            let unit = of(name, comparisons).map_or(Unit::Nanos, |one| one.metric.unit);
            format!("≤ {}", words::value(most, unit))
        }
        NotBehind => "no peer ahead beyond noise".to_owned(),
        Instructions(most) => format!("≤ {most} instructions"),
        CallsAsRaw => "system calls as raw".to_owned(),
    }
}

/// The first comparison in that metric.
fn of<'a>(name: &str, comparisons: &'a [Comparison]) -> Option<&'a Comparison> {
    comparisons
        .iter()
        .find(|comparison| comparison.name() == name)
}

/// What was measured for a target, and whether that is enough; `None` if nothing was.
fn measured(
    name: &str,
    must: Must,
    comparisons: &[Comparison],
    counts: &[Counts],
) -> Option<(String, bool)> {
    let all = || {
        comparisons
            .iter()
            .filter(|comparison| comparison.name() == name)
    };
    let count = |side: &str| {
        counts
            .iter()
            .find(|counts| counts.workload == name && counts.side == side)
    };
    match must {
        Better(times, peer) => {
            let comparison = all().find(|comparison| comparison.peer == peer)?;
            Some((words::spread(comparison), comparison.ratio >= times))
        }
        AtMost(most) => {
            let ours = all().next()?;
            Some((words::value(ours.ours, ours.metric.unit), ours.ours <= most))
        }
        NotBehind => {
            all().next()?;
            // Raw has a target of its own, and the threaded one is not held to one core.
            let is_peer = |peer: &str| ![RAW, THREADED, OURS_AS_PEERS].contains(&peer);
            let ahead: Vec<_> = all()
                .filter(|comparison| is_peer(comparison.peer) && comparison.is_behind())
                .map(|comparison| format!("{} {}", comparison.peer, words::spread(comparison)))
                .collect();
            let met = ahead.is_empty();
            Some((if met { "none".into() } else { ahead.join(", ") }, met))
        }
        Instructions(most) => {
            let ours = count(OURS)?.instructions?;
            Some((format!("{ours:.0}"), ours <= most))
        }
        CallsAsRaw => {
            let (ours, raw) = (count(OURS)?.calls?, count(RAW)?.calls?);
            Some((format!("{ours:.2}, raw {raw:.2}"), ours <= raw + AS_MANY))
        }
    }
}

/// The targets that name something which the bench does not have.
pub(crate) fn unknown(workloads: &[Workload]) -> Vec<&'static str> {
    let known = |&&(name, must): &&(&'static str, Must)| {
        let workload = workloads.iter().find(|workload| {
            workload
                .metrics
                .iter()
                .any(|metric| name.strip_suffix(metric.suffix) == Some(workload.name))
        });
        workload.is_some_and(|workload| match must {
            Better(_, peer) => workload.sides.iter().any(|side| side.name == peer),
            _ => true,
        })
    };
    TARGETS
        .iter()
        .filter(|target| !known(target))
        .map(|target| target.0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{How, Metric};

    const fn workload(name: &'static str, metrics: &'static [Metric]) -> Workload {
        Workload {
            name,
            what: "",
            metrics,
            count: 1,
            test_count: 1,
            how: How::Cold(1),
            expected: |n| n,
            sides: &[],
        }
    }

    const RATE: Metric = Metric {
        suffix: "",
        unit: Unit::PerSecond,
    };

    const BYTES: Metric = Metric {
        suffix: "",
        unit: Unit::Bytes,
    };

    const ECHO: Workload = workload("tcp_echo_c64_d1", &[RATE]);

    fn echo(peer: &'static str, ours: &[f64]) -> Comparison {
        let ours: Vec<_> = ours.iter().map(|&value| [value]).collect();
        Comparison::new(&ECHO, RATE, peer, &ours, &vec![[100.0]; ours.len()])
    }

    fn verdict(
        must: &str,
        comparisons: &[Comparison],
        counts: &[Counts],
    ) -> Option<(String, bool)> {
        let verdicts = verdicts(comparisons, counts);
        let verdict = verdicts
            .into_iter()
            .find(|verdict| verdict.name == ECHO.name && verdict.must == must);
        verdict.expect("there is such a target").measured
    }

    #[test]
    fn target_holds_for_the_median_and_not_for_the_best_round() {
        let raw = |ours| verdict("≥ 0.98 × raw", &[echo(RAW, ours)], &[]).map(|found| found.1);
        assert_eq!(raw(&[97.0, 99.0, 120.0]), Some(true));
        assert_eq!(raw(&[97.0, 97.5, 120.0]), Some(false));
        assert_eq!(verdict("≥ 0.98 × raw", &[], &[]), None, "not measured");
    }

    #[test]
    fn peer_is_ahead_only_beyond_the_noise_and_raw_and_threaded_never() {
        let rule = "no peer ahead beyond noise";
        let met = |comparisons: &[Comparison]| verdict(rule, comparisons, &[]).map(|found| found.1);
        let (steady, noisy) = ([95.0, 96.0, 97.0], [80.0, 96.0, 105.0]);
        assert_eq!(
            met(&[
                echo("tokio", &noisy),
                echo(RAW, &steady),
                echo(THREADED, &steady)
            ]),
            Some(true)
        );
        assert_eq!(met(&[echo("tokio", &steady)]), Some(false));
    }

    #[test]
    fn values_and_counts_have_targets_too() {
        let parked = workload("parked", &[BYTES]);
        let comparison = Comparison::new(&parked, BYTES, "tokio", &[[250.0]], &[[300.0]]);
        let verdicts = verdicts(&[comparison], &[]);
        let parked = verdicts.iter().find(|verdict| verdict.name == "parked");
        let expected = (
            "≤ 240 bytes".to_owned(),
            Some(("250 bytes".to_owned(), false)),
        );
        let parked = parked.expect("there is such a target").clone();
        assert_eq!((parked.must, parked.measured), expected);

        let counts =
            [(OURS, 449.6, 2.05), (RAW, 99.0, 2.0)].map(|(side, instructions, calls)| Counts {
                workload: ECHO.name,
                side,
                instructions: Some(instructions),
                calls: Some(calls),
            });
        assert_eq!(
            verdict("≤ 450 instructions", &[], &counts),
            Some(("450".into(), true))
        );
        assert_eq!(
            verdict("system calls as raw", &[], &counts),
            Some(("2.05, raw 2.00".into(), true))
        );
    }

    #[test]
    fn target_without_a_workload_is_found() {
        assert!(unknown(&[ECHO]).contains(&"parked"));
        assert!(!unknown(&[workload("parked", &[BYTES])]).contains(&"parked"));
    }
}
