//! The harness of the benches: runs workloads of several sides in one run and says how they
//! compare.
//!
//! It stands apart from the workloads so that each of them is only code a user could have written.
//!
//! 1. Both sides of a workload run in the same process, in turn within every round; the order
//!    changes from round to round.
//! 2. A ratio is taken within a round, between runs next to each other in time; what is printed is
//!    the median of them.
//! 3. Every run hands back what it computed, and the harness compares it with what the workload
//!    must give.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How many rounds are measured unless `--rounds` says otherwise.
const ROUNDS: u32 = 7;

/// What a value counts, and which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds an operation; less is better.
    Nanos,
    /// Requests a second; more is better.
    PerSecond,
}

impl Unit {
    /// The unit as it is printed.
    fn label(self) -> &'static str {
        match self {
            Self::Nanos => "ns",
            Self::PerSecond => "req/s",
        }
    }

    /// How many times better `ours` is than `theirs`: above 1 we win, whatever the unit.
    fn ratio(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Self::Nanos => theirs / ours,
            Self::PerSecond => ours / theirs,
        }
    }
}

/// What one run of one side gave.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// The measured value, in the workload's unit.
    pub value: f64,
    /// What the run computed, to be compared with [`Workload::expected`].
    pub result: u64,
}

/// Runs `work`, which does `n` operations, and measures the CPU time of this thread in nanoseconds
/// an operation.
///
/// CPU time and not wall time, so that other work on a shared machine counts as little as possible.
pub fn cpu_nanos_per_op(n: u64, work: impl FnOnce() -> u64) -> Measured {
    let start = thread_cpu_time();
    let result = black_box(work());
    let spent = thread_cpu_time().saturating_sub(start);
    Measured {
        value: spent.as_secs_f64() * 1e9 / as_f64(n),
        result,
    }
}

/// The median of the wall-clock times `samples`, in nanoseconds.
///
/// # Panics
///
/// If there are no samples.
#[must_use]
pub fn median_nanos(samples: &[Duration], result: u64) -> Measured {
    let mut nanos: Vec<f64> = samples
        .iter()
        .map(|sample| sample.as_secs_f64() * 1e9)
        .collect();
    Measured {
        value: median(&mut nanos),
        result,
    }
}

/// `n` requests answered in `elapsed` of wall time, as requests a second.
#[must_use]
pub fn requests_per_second(n: u64, elapsed: Duration, result: u64) -> Measured {
    Measured {
        value: as_f64(n) / elapsed.as_secs_f64(),
        result,
    }
}

/// One way to do a workload that ours is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The name printed, without spaces.
    pub name: &'static str,
    /// Does `n` operations.
    pub run: fn(u64) -> Measured,
}

/// One thing to do, by us and by every peer.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// The name printed and chosen by, without spaces.
    pub name: &'static str,
    /// What the values count.
    pub unit: Unit,
    /// How many operations a measured run does.
    pub count: u64,
    /// How many operations a run under `--test` does.
    pub test_count: u64,
    /// What a run of that many operations must compute.
    pub expected: fn(u64) -> u64,
    /// Does `n` operations with yieldpoint.
    pub ours: fn(u64) -> Measured,
    /// Does the same with each peer.
    pub theirs: &'static [Peer],
}

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
    /// Reads the arguments; what it does not know is an error, so that a misspelt workload is never
    /// "all passed".
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
                    let rounds = args
                        .next()
                        .and_then(|rounds| rounds.parse().ok())
                        .filter(|&rounds| rounds > 0);
                    options.rounds = rounds.ok_or("--rounds takes a number above 0")?;
                }
                name if known.iter().any(|workload| workload.name == name) => {
                    options.names.push(arg);
                }
                _ => {
                    let names: Vec<_> = known.iter().map(|workload| workload.name).collect();
                    return Err(format!(
                        "unknown argument `{arg}`; give --test, --rounds N, or workloads out of: {}",
                        names.join(" ")
                    ));
                }
            }
        }
        Ok(options)
    }

    /// Whether this run includes the workload.
    fn wants(&self, workload: &Workload) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| name == workload.name)
    }
}

/// Runs the workloads the command line asks for and prints one `VERSUS` line for each of their
/// peers.
///
/// Progress goes to standard error, results to standard output.
///
/// # Panics
///
/// If a side computes something else than the workload expects.
#[must_use]
pub fn main(workloads: &[Workload]) -> std::process::ExitCode {
    let options = match Options::parse(std::env::args().skip(1), workloads) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}");
            return std::process::ExitCode::from(2);
        }
    };
    for workload in workloads.iter().filter(|workload| options.wants(workload)) {
        if options.test {
            test(workload);
        } else {
            measure(workload, options.rounds);
        }
    }
    std::process::ExitCode::SUCCESS
}

/// Runs each side once with tiny counts: what they compute is checked, how long they take is not
/// looked at.
fn test(workload: &Workload) {
    for side in 0..sides(workload) {
        run(workload, side, workload.test_count);
    }
    println!("TEST {} ok, {} sides", workload.name, sides(workload));
}

/// Measures all sides of a workload and prints how they compare.
fn measure(workload: &Workload, rounds: u32) {
    let sides = sides(workload);
    let started = Instant::now();
    // The first round fills caches and the allocator's pools and is thrown away.
    for side in 0..sides {
        run(workload, side, workload.count);
    }
    let mut values = vec![Vec::new(); sides];
    for round in 1..=rounds {
        for side in order(sides, round) {
            eprint!(
                "\r\x1b[K{} round {round}/{rounds} {}",
                workload.name,
                side_name(workload, side)
            );
            values[side].push(run(workload, side, workload.count));
        }
    }
    eprintln!(
        "\r\x1b[K{} {rounds} rounds in {:.1} s",
        workload.name,
        started.elapsed().as_secs_f64()
    );
    let (ours, theirs) = values.split_first().expect("side 0 is ours");
    for (peer, theirs) in workload.theirs.iter().zip(theirs) {
        println!("{}", versus(workload, peer, ours, theirs));
    }
}

/// The line that compares one peer with us.
fn versus(workload: &Workload, peer: &Peer, ours: &[f64], theirs: &[f64]) -> String {
    let mut ratios: Vec<f64> = ours
        .iter()
        .zip(theirs)
        .map(|(&ours, &theirs)| workload.unit.ratio(ours, theirs))
        .collect();
    let ratio = median(&mut ratios);
    format!(
        "VERSUS {} {} ours={:.1} theirs={:.1} unit={} ratio={ratio:.2} min={:.2} max={:.2}",
        workload.name,
        peer.name,
        median(&mut ours.to_vec()),
        median(&mut theirs.to_vec()),
        workload.unit.label(),
        ratios.first().expect("at least one round"),
        ratios.last().expect("at least one round"),
    )
}

/// How many sides a workload has: ours and its peers.
fn sides(workload: &Workload) -> usize {
    1 + workload.theirs.len()
}

/// The name of a side; side 0 is ours.
fn side_name(workload: &Workload, side: usize) -> &'static str {
    if side == 0 {
        "ours"
    } else {
        workload.theirs[side - 1].name
    }
}

/// Runs one side and checks what it computed.
fn run(workload: &Workload, side: usize, count: u64) -> f64 {
    let side_run = if side == 0 {
        workload.ours
    } else {
        workload.theirs[side - 1].run
    };
    let measured = side_run(count);
    assert_eq!(
        measured.result,
        (workload.expected)(count),
        "{} of {} computed something else",
        side_name(workload, side),
        workload.name
    );
    measured.value
}

/// The order of the sides in a round: each round starts with the next side, and every other lap
/// runs backwards, so that no side always runs first and none always runs after the same neighbour.
fn order(sides: usize, round: u32) -> Vec<usize> {
    let round = round as usize;
    let mut order: Vec<usize> = (0..sides).map(|place| (place + round) % sides).collect();
    if (round / sides) % 2 == 1 && sides > 2 {
        order.reverse();
    }
    order
}

/// Sorts the values and gives the middle one, or the mean of the two in the middle.
fn median(values: &mut [f64]) -> f64 {
    assert!(!values.is_empty(), "nothing was measured");
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

/// The CPU time this thread has used.
fn thread_cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).expect("a thread's CPU time is not negative")
}

/// A count as a float; counts here stay far below the 52 bits a float holds exactly.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three(_: u64) -> Measured {
        Measured {
            value: 1.0,
            result: 3,
        }
    }

    const WORKLOAD: Workload = Workload {
        name: "three",
        unit: Unit::Nanos,
        count: 3,
        test_count: 3,
        expected: |n| n,
        ours: three,
        theirs: &[Peer {
            name: "peer",
            run: three,
        }],
    };

    fn parse(args: &[&str]) -> Result<Options, String> {
        Options::parse(args.iter().map(ToString::to_string), &[WORKLOAD])
    }

    #[test]
    fn ratio_says_how_many_times_better_ours_is_in_both_units() {
        assert_eq!(Unit::Nanos.ratio(10.0, 40.0).to_bits(), 4.0_f64.to_bits());
        assert_eq!(
            Unit::PerSecond.ratio(10.0, 40.0).to_bits(),
            0.25_f64.to_bits()
        );
    }

    #[test]
    fn ratio_is_taken_within_a_round_and_not_between_medians() {
        let line = versus(
            &WORKLOAD,
            &WORKLOAD.theirs[0],
            &[1.0, 10.0, 100.0],
            &[2.0, 40.0, 50.0],
        );
        assert_eq!(
            line,
            "VERSUS three peer ours=10.0 theirs=40.0 unit=ns ratio=2.00 min=0.50 max=4.00"
        );
    }

    #[test]
    fn median_of_an_even_count_is_the_mean_of_the_middle_two() {
        assert_eq!(
            median(&mut [4.0, 1.0, 3.0, 2.0]).to_bits(),
            2.5_f64.to_bits()
        );
    }

    #[test]
    fn every_side_comes_first_as_often_as_the_others() {
        for sides in 2..=3_usize {
            let mut first = vec![0; sides];
            for round in 0..12 {
                let order = order(sides, round);
                first[order[0]] += 1;
                let mut all = order.clone();
                all.sort_unstable();
                assert_eq!(all, (0..sides).collect::<Vec<_>>());
            }
            assert_eq!(first, vec![12 / sides; sides]);
        }
    }

    #[test]
    fn misspelt_workload_is_refused() {
        assert!(
            parse(&["--bench", "thre"])
                .unwrap_err()
                .contains("out of: three")
        );
        assert!(parse(&["--rounds", "0"]).is_err());
        let wanted = Options {
            test: true,
            rounds: 2,
            names: vec!["three".into()],
        };
        assert_eq!(
            parse(&["--bench", "--test", "--rounds", "2", "three"]),
            Ok(wanted)
        );
    }

    #[test]
    #[should_panic(expected = "ours of three computed something else")]
    fn wrong_result_is_caught() {
        run(&WORKLOAD, 0, 4);
    }
}
