//! The tables of `BENCHMARKS.md`, as Markdown.

use std::fmt::Write as _;

use crate::comparison::Comparison;
use crate::probes::Counts;
use crate::targets::Verdict;
use crate::words::{rounded, spread, value};
use crate::workload::{OURS, RAW, THREADED};

/// The peers that do nearly everything, in the order of the columns.
const COLUMNS: [&str; 9] = [
    "tokio",
    "tokio_local_set",
    "tokio_local_runtime",
    "smol",
    "monoio",
    "compio",
    "glommio",
    RAW,
    THREADED,
];

/// What a user feels, the metric that tells it, and the peer it is told of.
const FELT: [(&str, &str, &str); 13] = [
    (
        "Echo server under load, 64 connections: requests a second",
        "tcp_echo_c64_d1",
        "tokio",
    ),
    (
        "One connection, nobody else: median time to the answer",
        "tcp_echo_c1_d1_p50",
        "tokio",
    ),
    (
        "The same with `busy_poll` switched on",
        "tcp_echo_spin_p50",
        "tokio",
    ),
    ("The same: CPU time a request", "tcp_echo_spin_cpu", "tokio"),
    (
        "How late a timer is, median: a thousand sleepers",
        "timer_few_late",
        "tokio",
    ),
    (
        "How late a timer is, median: 100 000 sleepers",
        "timer_sleep_late",
        "tokio",
    ),
    ("Memory of an idle connection", "idle_conn", "tokio"),
    ("Memory of a coroutine that waits", "parked", "tokio"),
    (
        "Messages in order for each of 10 000 keys, in bounds: CPU time each",
        "ordered",
        "tokio_bounded",
    ),
    (
        "The same, beside queues that have no bound",
        "ordered",
        "tokio",
    ),
    ("The same: memory", "ordered_memory", "tokio"),
    ("Longest wait beside a hot key", "hot_key", "tokio"),
    (
        "The same, against one queue for all keys",
        "hot_key",
        "tokio_one_queue",
    ),
];

/// What a user feels, in a few rows.
pub(crate) fn felt(comparisons: &[Comparison]) -> String {
    let mut text =
        "| what a user feels | ours | theirs | peer | times better |\n|---|---:|---:|---|---:|\n"
            .to_owned();
    for (what, name, peer) in FELT {
        let found = comparisons
            .iter()
            .find(|comparison| comparison.name() == name && comparison.peer == peer);
        if let Some(comparison) = found {
            let unit = comparison.metric.unit;
            let _ = writeln!(
                text,
                "| {what} | {} | {} | {peer} | {} |",
                value(comparison.ours, unit),
                value(comparison.theirs, unit),
                spread(comparison)
            );
        }
    }
    text
}

/// What must be, and what is.
pub(crate) fn verdicts(verdicts: &[Verdict]) -> String {
    let mut text = "| workload | must | measured | met |\n|---|---|---|---|\n".to_owned();
    for Verdict {
        name,
        must,
        measured,
    } in verdicts
    {
        let (measured, met) = match measured {
            Some((measured, true)) => (measured.as_str(), "yes"),
            Some((measured, false)) => (measured.as_str(), "**no**"),
            None => ("not measured", "–"),
        };
        let _ = writeln!(text, "| {name} | {must} | {measured} | {met} |");
    }
    text
}

/// How many times better ours is, by workload and peer.
pub(crate) fn ratios(comparisons: &[Comparison]) -> String {
    table(comparisons, false, spread)
}

/// The values, by workload and side.
pub(crate) fn values(comparisons: &[Comparison]) -> String {
    table(comparisons, true, |comparison| rounded(comparison.theirs))
}

/// A row for each workload and metric, a column for each peer.
fn table(
    comparisons: &[Comparison],
    with_ours: bool,
    cell: impl Fn(&Comparison) -> String,
) -> String {
    let peers: Vec<_> = COLUMNS
        .into_iter()
        .filter(|&peer| comparisons.iter().any(|comparison| comparison.peer == peer))
        .collect();
    let ours = if with_ours { " ours |" } else { "" };
    let mut text = format!("| workload | unit |{ours} {} |\n", peers.join(" | "));
    let columns = peers.len() + usize::from(with_ours);
    let _ = writeln!(text, "|---|---|{}", "---:|".repeat(columns));
    for row in comparisons.chunk_by(|one, next| one.name() == next.name()) {
        let _ = write!(
            text,
            "| {} | {} |",
            row[0].name(),
            row[0].metric.unit.label()
        );
        if with_ours {
            let _ = write!(text, " {} |", rounded(row[0].ours));
        }
        for peer in &peers {
            let found = row.iter().find(|comparison| comparison.peer == *peer);
            let _ = write!(text, " {} |", found.map_or("–".to_owned(), &cell));
        }
        text.push('\n');
    }
    text
}

/// The peers that take part in a few workloads only.
pub(crate) fn others(comparisons: &[Comparison]) -> String {
    let mut text =
        "| workload | unit | peer | ours | theirs | times better |\n|---|---|---|---:|---:|---:|\n"
            .to_owned();
    for comparison in comparisons
        .iter()
        .filter(|comparison| !COLUMNS.contains(&comparison.peer))
    {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            comparison.name(),
            comparison.metric.unit.label(),
            comparison.peer,
            rounded(comparison.ours),
            rounded(comparison.theirs),
            spread(comparison)
        );
    }
    text
}

/// Instructions and system calls: a row for each workload, a column for each side.
pub(crate) fn counts(counts: &[Counts]) -> String {
    let mut sides: Vec<_> = std::iter::once(OURS)
        .chain(COLUMNS)
        .filter(|&side| counts.iter().any(|counts| counts.side == side))
        .collect();
    for other in counts {
        if !sides.contains(&other.side) {
            sides.push(other.side);
        }
    }
    let mut text = format!("| workload | {} |\n", sides.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(sides.len()));
    for row in counts.chunk_by(|one, next| one.workload == next.workload) {
        let _ = write!(text, "| {} |", row[0].workload);
        for side in &sides {
            let found = row.iter().find(|counts| counts.side == *side);
            let number = |number: Option<f64>, places| {
                number.map_or("–".to_owned(), |number| format!("{number:.places$}"))
            };
            let _ = write!(
                text,
                " {}, {} |",
                number(found.and_then(|counts| counts.instructions), 0),
                number(found.and_then(|counts| counts.calls), 2)
            );
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_that_a_tool_could_not_give_is_left_out_and_no_other() {
        let count = |side, instructions, calls| Counts {
            workload: "echo",
            side,
            instructions,
            calls,
        };
        let both = [
            count(OURS, Some(449.6), Some(2.0)),
            count(RAW, Some(99.0), None),
        ];
        let expected = "| workload | ours | raw |\n|---|---:|---:|\n| echo | 450, 2.00 | 99, – |\n";
        assert_eq!(counts(&both), expected);
    }
}
