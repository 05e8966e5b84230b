//! What a run says: the `VERSUS` lines, `BENCHMARKS.md`, the plots.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::comparison::Comparison;
use crate::scaling::Curve;
use crate::workload::Unit;
use crate::{machine, plot, probes, tables, targets};

/// What a whole run gave.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) rounds: u32,
    /// How we compare, in the order of the workloads, their metrics and their sides.
    pub(crate) comparisons: Vec<Comparison>,
    /// Instructions and system calls a request, by workload and side.
    pub(crate) counts: Vec<probes::Counts>,
    /// What was left out, and why.
    pub(crate) notes: Vec<String>,
}

/// Prints what a run gave, for people and scripts; last of all a `VERSUS` line for each workload and peer.
pub(crate) fn print(outcome: &Outcome) {
    let (messages, others): (Vec<_>, Vec<_>) = outcome
        .comparisons
        .iter()
        .partition(|comparison| comparison.metric.unit == Unit::Messages);
    for comparison in &outcome.comparisons {
        println!("{}", spread(comparison));
    }
    for verdict in targets::verdicts(&outcome.comparisons, &outcome.counts) {
        if let Some((measured, met)) = verdict.measured {
            let met = if met { "met" } else { "MISSED" };
            println!(
                "MUST {} {}: {} {met}",
                verdict.name,
                verdict.must,
                measured.replace("**", "")
            );
        }
    }
    // Not one of the units that readers of the lines below know.
    for comparison in messages {
        println!("{}", line("WAIT", comparison));
    }
    for comparison in others {
        println!("{}", line("VERSUS", comparison));
    }
}

/// The line that tells how far the rounds differ.
fn spread(comparison: &Comparison) -> String {
    format!(
        "SPREAD {} {} ratio={:.4} least={:.4} most={:.4}",
        comparison.name(),
        comparison.peer,
        comparison.ratio,
        comparison.least,
        comparison.most
    )
}

/// The line that compares one peer with us.
fn line(what: &str, comparison: &Comparison) -> String {
    // A small ratio is not told as none.
    let places = if comparison.ratio < 0.1 { 4 } else { 2 };
    format!(
        "{what} {} {} ours={:.1} theirs={:.1} unit={} ratio={:.places$}",
        comparison.name(),
        comparison.peer,
        comparison.ours,
        comparison.theirs,
        comparison.metric.unit.label(),
        comparison.ratio,
    )
}

/// A file at the root of the repository.
fn place(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(name)
}

fn write_file(name: &str, text: &str) {
    if let Err(error) = fs::write(place(name), text) {
        eprintln!("note: {name} could not be written: {error}");
    }
}

/// Writes the plot of the curves.
pub(crate) fn write_scaling(curves: &[Curve]) {
    write_file("benches/scaling.svg", &plot::scaling(curves));
}

/// Writes `BENCHMARKS.md` and the plot of the ratios.
pub(crate) fn write(outcome: &Outcome) {
    // Written by `footprint`, whose builds take longer than a run.
    let footprint = fs::read_to_string(place("benches/footprint.md")).ok();
    write_file("BENCHMARKS.md", &markdown(outcome, footprint.as_deref()));
    write_file("benches/versus.svg", &plot::ratios(&outcome.comparisons));
}

/// What stands above the table.
const ABOVE: &str = include_str!("report_above.md");

/// What stands below it.
const BELOW: &str = include_str!("report_below.md");

fn markdown(outcome: &Outcome, footprint: Option<&str>) -> String {
    let comparisons = &outcome.comparisons;
    let verdicts = targets::verdicts(comparisons, &outcome.counts);
    let mut text = ABOVE
        .replace("{felt}", &tables::felt(comparisons))
        .replace("{machine}", &machine::description())
        .replace("{built}", &machine::built())
        .replace("{rounds}", &outcome.rounds.to_string());
    let mut section = |title: &str, what: &str, table: &str| {
        let _ = write!(text, "\n### {title}\n\n{what}{table}");
    };
    section(
        "What must be, and what is",
        "The targets this crate set itself; the ratio is the median of the rounds, then the least to the most.\n\n",
        &tables::verdicts(&verdicts),
    );
    section(
        "How many times better ours is: the median, and the least to the most",
        "",
        &tables::ratios(comparisons),
    );
    section("The values: medians", "", &tables::values(comparisons));
    section("Other ways to do it", "", &tables::others(comparisons));
    if !outcome.counts.is_empty() {
        section(
            "Instructions and system calls a request",
            COUNTED,
            &tables::counts(&outcome.counts),
        );
    }
    if let Some(footprint) = footprint {
        section("Footprint", "", footprint);
    }
    text.push_str("\n## The workloads\n\n");
    for row in comparisons.chunk_by(|one, next| one.workload.name == next.workload.name) {
        let workload = &row[0].workload;
        let _ = writeln!(text, "- `{}`: {}", workload.name, workload.what);
    }
    text.push_str(BELOW);
    if !outcome.notes.is_empty() {
        text.push_str("\n## Left out in this run\n\n");
        for note in &outcome.notes {
            let _ = writeln!(text, "- {note}");
        }
    }
    text
}

/// How instructions and system calls are counted.
const COUNTED: &str = "Instructions in user space, by valgrind, which slows the server so much that every look finds all \
    connections ready, on all sides; then system calls of the loop's thread, by strace; – where the tool cannot follow the \
    runtime.\n\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{How, Metric, Unit, Workload};

    const P50: Metric = Metric {
        suffix: "_p50",
        unit: Unit::Nanos,
    };

    const WORKLOAD: Workload = Workload {
        name: "echo",
        what: "Echo.",
        metrics: &[P50],
        count: 1,
        test_count: 1,
        how: How::Cold(1),
        expected: |n| n,
        sides: &[],
    };

    fn outcome() -> Outcome {
        let comparison =
            Comparison::new(&WORKLOAD, P50, "smol", &[[10.0], [20.0]], &[[40.0], [20.0]]);
        Outcome {
            rounds: 2,
            comparisons: vec![comparison],
            ..Outcome::default()
        }
    }

    #[test]
    fn line_has_the_form_that_scripts_read() {
        assert_eq!(
            line("VERSUS", &outcome().comparisons[0]),
            "VERSUS echo_p50 smol ours=15.0 theirs=30.0 unit=ns ratio=2.50"
        );
    }

    #[test]
    fn table_has_least_and_most() {
        let text = markdown(&outcome(), Some("| none |\n"));
        assert!(
            text.contains("| workload | unit | smol |\n|---|---|---:|\n| echo_p50 | ns | **2.50** 1.00–4.00 |\n"),
            "{text}"
        );
        assert!(text.contains("| echo_p50 | ns | 15.0 | 30.0 |\n"), "{text}");
        assert!(text.contains("- `echo`: Echo.\n"), "{text}");
        assert!(text.contains("### Footprint\n\n| none |\n"), "{text}");
        assert!(!text.contains('{'), "every gap is filled: {text}");
    }

    #[test]
    fn peer_without_a_column_is_not_lost() {
        let comparison = Comparison::new(&WORKLOAD, P50, "tokio_odd", &[[10.0]], &[[20.0]]);
        let outcome = Outcome {
            comparisons: vec![comparison],
            ..Outcome::default()
        };
        let text = markdown(&outcome, None);
        assert!(
            text.contains("| echo_p50 | ns | tokio_odd | 10.0 | 20.0 | **2.00** 2.00–2.00 |\n"),
            "{text}"
        );
    }
}
