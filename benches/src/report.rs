//! What a run says: the `VERSUS` lines, `BENCHMARKS.md`, the plots.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::harness::{Comparison, Outcome};
use crate::scaling::Curve;
use crate::{machine, plot};

/// Prints one line for each workload and peer, for scripts to read.
pub(crate) fn print(outcome: &Outcome) {
    for comparison in &outcome.comparisons {
        println!("{}", versus(comparison));
    }
}

/// The line that compares one peer with us.
fn versus(comparison: &Comparison) -> String {
    format!(
        "VERSUS {} {} ours={:.1} theirs={:.1} unit={} ratio={:.2}",
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
    let mut text = ABOVE
        .replace("{machine}", &machine::description())
        .replace("{rounds}", &outcome.rounds.to_string());
    let mut last = String::new();
    for comparison in &outcome.comparisons {
        let name = comparison.name();
        if name != last {
            let _ = write!(
                text,
                "\n### {name}\n\n{} Ours: {} {}.\n\n| peer | theirs | ours is better by | least | most |\n|---|---:|---:|---:|---:|\n",
                comparison.workload.what,
                rounded(comparison.ours),
                comparison.metric.unit.label(),
            );
            last = name;
        }
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {:.2} | {:.2} |",
            comparison.peer,
            rounded(comparison.theirs),
            comparison.ratio,
            comparison.least,
            comparison.most
        );
    }
    if !outcome.counts.is_empty() {
        text.push_str(
            "\n### Instructions and system calls a request\n\nIn user space, by valgrind; system calls of the loop's thread, by \
             strace; – where the tool cannot follow the runtime.\n\n| workload | side | instructions | system calls |\n|---|---|---:|---:|\n",
        );
        for counts in &outcome.counts {
            let number = |number: Option<f64>, places| {
                number.map_or("–".to_owned(), |number| format!("{number:.places$}"))
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} |",
                counts.workload,
                counts.side,
                number(counts.instructions, 0),
                number(counts.calls, 2)
            );
        }
    }
    if let Some(footprint) = footprint {
        let _ = write!(text, "\n### Footprint\n\n{footprint}");
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

/// Three digits that matter, and no more decimals than those.
fn rounded(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Metric, Unit, Workload};

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
        warm: false,
        expected: |n| n,
        sides: &[],
    };

    fn outcome() -> Outcome {
        let comparison = Comparison::new(&WORKLOAD, P50, "peer", &[10.0, 20.0], &[40.0, 20.0]);
        Outcome {
            rounds: 2,
            comparisons: vec![comparison],
            ..Outcome::default()
        }
    }

    #[test]
    fn line_has_the_form_that_scripts_read() {
        assert_eq!(
            versus(&outcome().comparisons[0]),
            "VERSUS echo_p50 peer ours=15.0 theirs=30.0 unit=ns ratio=2.50"
        );
    }

    #[test]
    fn table_has_least_and_most() {
        let text = markdown(&outcome(), Some("| none |\n"));
        assert!(
            text.contains("### echo_p50\n\nEcho. Ours: 15.0 ns.\n"),
            "{text}"
        );
        assert!(
            text.contains("| peer | 30.0 | 2.50 | 1.00 | 4.00 |"),
            "{text}"
        );
        assert!(text.contains("### Footprint\n\n| none |\n"), "{text}");
        assert!(!text.contains('{'), "every gap is filled: {text}");
    }
}
