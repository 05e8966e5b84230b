//! What a run says: the `VERSUS` lines, `BENCHMARKS.md`, the plots.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::comparison::Comparison;
use crate::scaling::Curve;
use crate::workload::THREADED;
use crate::{machine, plot, probes};

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

/// The peers in the order of the columns.
const COLUMNS: [&str; 11] = [
    "tokio",
    "tokio_local_set",
    "tokio_local_runtime",
    "tokio_bare",
    "tokio_local_queue",
    "smol",
    "monoio",
    "compio",
    "glommio",
    "raw",
    THREADED,
];

fn markdown(outcome: &Outcome, footprint: Option<&str>) -> String {
    let mut text = ABOVE
        .replace("{machine}", &machine::description())
        .replace("{rounds}", &outcome.rounds.to_string());
    text.push_str("\n### How many times better ours is: the median, and the least to the most\n\n");
    table(&mut text, &outcome.comparisons, false, |comparison| {
        format!(
            "**{}** {}–{}",
            ratio(comparison.ratio),
            ratio(comparison.least),
            ratio(comparison.most)
        )
    });
    text.push_str("\n### The values: medians\n\n");
    table(&mut text, &outcome.comparisons, true, |comparison| {
        rounded(comparison.theirs)
    });
    if !outcome.counts.is_empty() {
        counts(&mut text, outcome);
    }
    if let Some(footprint) = footprint {
        let _ = write!(text, "\n### Footprint\n\n{footprint}");
    }
    text.push_str("\n## The workloads\n\n");
    for (place, comparison) in outcome.comparisons.iter().enumerate() {
        let before = place
            .checked_sub(1)
            .map(|before| &outcome.comparisons[before]);
        if before.is_none_or(|before| before.workload.name != comparison.workload.name) {
            let _ = writeln!(
                text,
                "- `{}`: {}",
                comparison.workload.name, comparison.workload.what
            );
        }
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

/// A row for each workload and metric, a column for each peer.
fn table(
    text: &mut String,
    comparisons: &[Comparison],
    with_ours: bool,
    cell: impl Fn(&Comparison) -> String,
) {
    let peers: Vec<_> = COLUMNS
        .into_iter()
        .filter(|&peer| comparisons.iter().any(|comparison| comparison.peer == peer))
        .collect();
    let ours = if with_ours { " ours |" } else { "" };
    let _ = writeln!(text, "| workload | unit |{ours} {} |", peers.join(" | "));
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
}

/// Instructions and system calls.
fn counts(text: &mut String, outcome: &Outcome) {
    text.push_str(
        "\n### Instructions and system calls a request\n\nInstructions in user space, by valgrind; system calls of \
         the loop's thread, by strace; – where the tool cannot follow the runtime.\n\n\
         | workload | side | instructions | system calls |\n|---|---|---:|---:|\n",
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

/// A ratio with two digits that matter at least.
fn ratio(ratio: f64) -> String {
    if ratio >= 10.0 {
        format!("{ratio:.0}")
    } else {
        format!("{ratio:.2}")
    }
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
        let comparison = Comparison::new(&WORKLOAD, P50, "smol", &[10.0, 20.0], &[40.0, 20.0]);
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
}
