//! Runs the sides of the workloads in turn, each run in a process of its own, and says how they compare.
//!
//! 1. A run is a process: no side inherits another's memory, threads or pools, and one that hangs or dies spoils nothing
//!    but itself. The loop's core is the same for all.
//! 2. Within a round every side of a workload runs once, in an order that is shuffled anew for each round.
//! 3. A ratio is taken within a round, between runs next to each other in time; what is printed is the median of them.
//! 4. A result that is wrong ends everything: a fast wrong answer is no answer.
//! 5. A peer that cannot start on this machine, or fails, is left out with a note. Ours may not fail.

use std::collections::BTreeMap;
use std::env;
use std::io::{Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::measure::{Measured, median};
use crate::workload::{Metric, OURS, Side, THREADED, Workload};
use crate::{load, machine, probes, report, scaling};

/// How many rounds are measured unless `--rounds` says otherwise.
const ROUNDS: u32 = 5;

/// The first argument of a process that is one run.
pub(crate) const RUN: &str = "--run";

/// How long one run may take.
const LIMIT: Duration = Duration::from_mins(1);

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    /// Run everything once, with tiny counts.
    test: bool,
    /// Measured rounds.
    rounds: u32,
    /// The workloads to run; all of them when empty.
    names: Vec<String>,
}

impl Options {
    /// Reads the arguments; what it does not know is an error, so that a misspelt workload is never "all passed".
    fn parse(args: impl Iterator<Item = String>, known: &[Workload]) -> Result<Self, String> {
        let mut options = Self {
            test: false,
            rounds: ROUNDS,
            names: Vec::new(),
        };
        let mut args = args;
        while let Some(arg) = args.next() {
            match arg.as_str() {
                // Cargo adds it to the arguments of every bench.
                "--bench" => {}
                "--test" => options.test = true,
                "--rounds" => {
                    let rounds = args.next().and_then(|rounds| rounds.parse().ok());
                    options.rounds = rounds
                        .filter(|&rounds| rounds > 0)
                        .ok_or("--rounds takes a number above 0")?;
                }
                name if name == scaling::NAME
                    || known.iter().any(|workload| workload.is_chosen_by(name)) =>
                {
                    options.names.push(arg);
                }
                _ => {
                    let names: Vec<_> = known.iter().map(|workload| workload.name).collect();
                    return Err(format!(
                        "unknown argument `{arg}`; give --test, --rounds N, {}, or workloads out of: {}",
                        scaling::NAME,
                        names.join(" ")
                    ));
                }
            }
        }
        Ok(options)
    }

    /// Whether this run includes the workload.
    fn wants(&self, workload: &Workload) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| workload.is_chosen_by(name))
    }
}

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

/// One peer against us in one metric.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    pub(crate) workload: Workload,
    pub(crate) metric: Metric,
    pub(crate) peer: &'static str,
    pub(crate) ours: f64,
    pub(crate) theirs: f64,
    /// The median of the ratios within a round, the least and the most.
    pub(crate) ratio: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Comparison {
    /// Compares the values of the rounds, pair by pair.
    pub(crate) fn new(
        workload: &Workload,
        metric: Metric,
        peer: &'static str,
        ours: &[f64],
        theirs: &[f64],
    ) -> Self {
        let mut ratios: Vec<f64> = ours
            .iter()
            .zip(theirs)
            .map(|(&ours, &theirs)| metric.unit.ratio(ours, theirs))
            .collect();
        let ratio = median(&mut ratios);
        Self {
            workload: *workload,
            metric,
            peer,
            ours: median(&mut ours.to_vec()),
            theirs: median(&mut theirs.to_vec()),
            ratio,
            least: ratios[0],
            most: ratios[ratios.len() - 1],
        }
    }

    /// The name of the workload and its metric.
    pub(crate) fn name(&self) -> String {
        format!("{}{}", self.workload.name, self.metric.suffix)
    }
}

/// Runs what the command line asks for, and prints one `VERSUS` line for each workload and peer.
///
/// Progress goes to standard error, results to standard output. A run of everything writes `BENCHMARKS.md` and its plots
/// as well. `tests` are the sides that a peer must be able to do to take part.
///
/// # Panics
///
/// If a side computes something else than the workload expects, or if ours fails.
#[must_use]
pub fn main(workloads: &[Workload]) -> ExitCode {
    let mut args = env::args().skip(1).peekable();
    match args.peek().map(String::as_str) {
        Some(load::ARGUMENT) => load::main(args.skip(1)),
        Some(RUN) => child(args.skip(1), workloads),
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

/// One run in a process of its own: prints the result and the values.
fn child(mut args: impl Iterator<Item = String>, workloads: &[Workload]) {
    let mut next = || {
        args.next()
            .expect("the harness passes workload, side, count and whether to warm up")
    };
    let (name, side, count, warm) = (next(), next(), next(), next());
    let sides = workloads
        .iter()
        .find(|workload| workload.name == name)
        .map(|workload| (workload, workload.sides));
    let (workload, sides) = sides
        .or_else(|| scaling::find(&name))
        .expect("the workload is known");
    let side = sides
        .iter()
        .find(|known| known.name == side)
        .expect("the side is known");
    machine::allow_many_files();
    if side.name == THREADED {
        let _ = machine::other_core();
    } else {
        machine::pin_loop();
    }
    if warm == "true" {
        (side.run)(workload.test_count);
    }
    let measured = (side.run)(count.parse().expect("the count is a number"));
    let values: Vec<String> = measured.values.iter().map(ToString::to_string).collect();
    println!("{} {}", measured.result, values.join(" "));
}

/// Starts a run in a process of its own.
pub(crate) fn run(
    workload: &Workload,
    side: &Side,
    count: u64,
    warm: bool,
) -> Result<Measured, String> {
    let this = env::current_exe().expect("the bench has a file");
    let mut command = Command::new(this);
    command.args([
        RUN,
        workload.name,
        side.name,
        &count.to_string(),
        &warm.to_string(),
    ]);
    let (output, _) = output_of(&mut command)?;
    let mut numbers = output.split_whitespace();
    let result = numbers
        .next()
        .and_then(|result| result.parse().ok())
        .ok_or("it printed no result")?;
    let values: Vec<f64> = numbers.filter_map(|value| value.parse().ok()).collect();
    assert_eq!(
        result,
        (workload.expected)(count),
        "{} of {} computed something else",
        side.name,
        workload.name
    );
    assert_eq!(
        values.len(),
        workload.metrics.len(),
        "{} of {} measures all metrics",
        side.name,
        workload.name
    );
    Ok(Measured { values, result })
}

/// What the command prints on its two outputs, or why it failed.
pub(crate) fn output_of(command: &mut Command) -> Result<(String, String), String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    // Read by threads of their own, so that the child never waits for a pipe and we never wait longer than allowed.
    let (mut stdout, mut stderr) = (
        child.stdout.take().expect("piped"),
        child.stderr.take().expect("piped"),
    );
    let (sender, receiver) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    thread::spawn(move || {
        let mut text = String::new();
        let _ = stdout.read_to_string(&mut text);
        let _ = sender.send(text);
    });
    let Ok(output) = receiver.recv_timeout(LIMIT) else {
        child.kill().map_err(|error| error.to_string())?;
        child.wait().map_err(|error| error.to_string())?;
        return Err(format!("no end within {} s", LIMIT.as_secs()));
    };
    let status = child.wait().map_err(|error| error.to_string())?;
    let errors = reader.join().unwrap_or_default();
    if status.success() {
        return Ok((output, errors));
    }
    let why = errors
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("note:"));
    let why: Vec<&str> = why
        .skip_while(|line| line.starts_with("thread '"))
        .take(1)
        .collect();
    Err(format!("{status}: {}", why.join(" ")))
}

/// Runs and compares everything wanted.
fn parent(options: &Options, workloads: &[Workload]) {
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
            match run(workload, side, workload.test_count, false) {
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
        for workload in wanted.iter().filter(|workload| probes::counts(workload)) {
            eprintln!(
                "counting instructions and system calls of {}",
                workload.name
            );
            outcome
                .counts
                .extend(probes::count(workload, &mut outcome.notes));
        }
        if everything {
            report::write(&outcome);
        }
        report::print(&outcome);
    }
    for note in &outcome.notes {
        eprintln!("note: {note}");
    }
    eprintln!("all in {:.0} s", started.elapsed().as_secs_f64());
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
    known.is_some_and(|(startup, side)| run(startup, side, 1, false).is_err())
}

/// Measures all sides of a workload.
fn measure(
    workload: &Workload,
    sides: &mut Vec<Side>,
    rounds: u32,
    progress: &str,
    outcome: &mut Outcome,
) {
    let started = Instant::now();
    let mut values: BTreeMap<&str, Vec<Vec<f64>>> = BTreeMap::new();
    for round in 1..=rounds {
        for side in shuffled(sides, u64::from(round)) {
            show(progress, &format!("round {round}/{rounds} {}", side.name));
            match run(workload, &side, workload.count, workload.warm) {
                Ok(measured) => values.entry(side.name).or_default().push(measured.values),
                Err(why) => {
                    assert_ne!(side.name, OURS, "{}: {why}", workload.name);
                    outcome.notes.push(format!(
                        "{} left out of {}: {why}",
                        side.name, workload.name
                    ));
                    sides.retain(|kept| kept.name != side.name);
                    values.remove(side.name);
                }
            }
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
        let of =
            |side: &str| -> Vec<f64> { values[side].iter().map(|values| values[place]).collect() };
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

/// Shows how far the run is, in place of what was shown before.
pub(crate) fn show(progress: &str, what: &str) {
    eprint!("\r\x1b[K{progress} {what}");
    let _ = std::io::stderr().flush();
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
    use crate::workload::Unit;

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
        warm: true,
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

    fn parse(args: &[&str]) -> Result<Options, String> {
        Options::parse(args.iter().map(ToString::to_string), &[WORKLOAD])
    }

    #[test]
    fn ratio_is_taken_within_a_round_and_not_between_medians() {
        let comparison = Comparison::new(
            &WORKLOAD,
            NANOS,
            "peer",
            &[1.0, 10.0, 100.0],
            &[2.0, 40.0, 50.0],
        );
        assert_eq!(
            [
                comparison.ours,
                comparison.theirs,
                comparison.ratio,
                comparison.least,
                comparison.most
            ]
            .map(f64::to_bits),
            [10.0_f64, 40.0, 2.0, 0.5, 4.0].map(f64::to_bits)
        );
    }

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

    #[test]
    fn misspelt_workload_is_refused() {
        assert!(
            parse(&["--bench", "thre"])
                .unwrap_err()
                .contains("out of: three_c1")
        );
        assert!(parse(&["--rounds", "0"]).is_err());
        let wanted = Options {
            test: true,
            rounds: 2,
            names: vec!["three".into(), "three_c1".into()],
        };
        assert_eq!(
            parse(&["--bench", "--test", "--rounds", "2", "three", "three_c1"]),
            Ok(wanted)
        );
    }

    #[test]
    fn failing_process_says_why() {
        let why = output_of(Command::new("sh").args(["-c", "echo sorry >&2; exit 3"])).unwrap_err();
        assert!(why.contains('3') && why.contains("sorry"), "{why}");
        assert_eq!(
            output_of(Command::new("echo").arg("fine")),
            Ok(("fine\n".into(), String::new()))
        );
    }
}
