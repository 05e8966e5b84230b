//! Measuring one run: CPU time, wall time, memory, medians.
//!
//! 1. CPU time and not wall time where a workload only computes, so that other work on a shared machine counts as little
//!    as possible.
//! 2. Every measurement carries what the run computed, so that the harness can refuse a wrong result.

use std::fs;
use std::hint::black_box;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What one run of one side gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The measured values, one for each metric of the workload.
    pub values: Vec<f64>,
    /// What the run computed, to be compared with what the workload expects.
    pub result: u64,
}

/// Runs `work`, which does `n` operations, and measures the CPU time of this thread in nanoseconds an operation.
pub fn cpu_nanos_per_op(n: u64, work: impl FnOnce() -> u64) -> Measured {
    nanos_per_op(ClockId::ThreadCPUTime, n, work)
}

/// The same with the CPU time of all threads of the process, for runtimes that have several.
pub fn process_nanos_per_op(n: u64, work: impl FnOnce() -> u64) -> Measured {
    nanos_per_op(ClockId::ProcessCPUTime, n, work)
}

fn nanos_per_op(clock: ClockId, n: u64, work: impl FnOnce() -> u64) -> Measured {
    let start = cpu_time(clock);
    let result = black_box(work());
    let spent = cpu_time(clock).saturating_sub(start);
    Measured {
        values: vec![spent.as_secs_f64() * 1e9 / as_f64(n)],
        result,
    }
}

/// The CPU time that this thread has used.
#[must_use]
pub fn thread_cpu() -> Duration {
    cpu_time(ClockId::ThreadCPUTime)
}

fn cpu_time(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).expect("CPU time is not negative")
}

/// The CPU time that the processes which this one started and waited for have used, with those that they waited for.
///
/// # Panics
///
/// If the system does not show it.
#[must_use]
pub fn children_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux shows the times of a process");
    children_in(&stat, rustix::param::clock_ticks_per_second())
        .expect("user and system time of the children, in ticks")
}

/// The 16th and 17th field; the second is a name, which may hold spaces.
fn children_in(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(13);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis(
        (ticks()? + ticks()?) * 1000 / ticks_per_second,
    ))
}

/// Adds the wall time of an operation to what `run` measures.
pub fn with_wall_time(n: u64, run: impl FnOnce() -> Measured) -> Measured {
    let started = Instant::now();
    let mut measured = run();
    let elapsed = started.elapsed();
    measured
        .values
        .push(elapsed.as_secs_f64() * 1e9 / as_f64(n));
    measured
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
        values: vec![median(&mut nanos)],
        result,
    }
}

/// Adds the median lateness, in nanoseconds, to what `run` measures; `run` sends the latenesses of its sleepers once, and
/// the result becomes how many of them were not early.
///
/// # Panics
///
/// If they are not sent.
pub fn with_lateness(run: impl FnOnce(mpsc::Sender<Vec<Lateness>>) -> Measured) -> Measured {
    let (report, reported) = mpsc::channel();
    let mut measured = run(report);
    let latenesses = reported.recv().expect("the sleepers' lateness is told");
    let mut late: Vec<f64> = latenesses
        .iter()
        .flatten()
        .map(Duration::as_secs_f64)
        .collect();
    measured.result = late.len() as u64;
    measured.values.push(median(&mut late) * 1e9);
    measured
}

/// How late a sleeper woke; `None` if it woke early, which no sleeper may.
pub type Lateness = Option<Duration>;

/// How late it is after `deadline`.
#[must_use]
pub fn lateness(deadline: Instant) -> Lateness {
    Instant::now().checked_duration_since(deadline)
}

/// Sorts the values and gives the middle one, or the mean of the two in the middle.
///
/// # Panics
///
/// If there are none.
pub fn median(values: &mut [f64]) -> f64 {
    assert!(!values.is_empty(), "nothing was measured");
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

/// Bytes of memory of this process that are in use now.
#[must_use]
pub fn resident_bytes() -> u64 {
    resident_bytes_of("self")
}

/// Bytes of memory of the process `pid` that are in use now.
///
/// # Panics
///
/// If the system does not show them.
#[must_use]
pub fn resident_bytes_of(pid: &str) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))
        .expect("Linux shows the memory of a process");
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("the second field is a number of pages") * rustix::param::page_size() as u64
}

/// The most bytes of memory this process ever used.
///
/// # Panics
///
/// If the system does not show it.
#[must_use]
pub fn peak_resident_bytes() -> u64 {
    status_bytes("VmHWM:")
}

/// What the system says of this process in this line, in bytes.
fn status_bytes(line: &str) -> u64 {
    let status =
        fs::read_to_string("/proc/self/status").expect("Linux shows the memory of a process");
    let kib = status.lines().find_map(|one| one.strip_prefix(line));
    let kib = kib.and_then(|kib| kib.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.expect("it is a number of KiB") * 1024
}

/// Adds to what `run` measures how far the memory in use rose above what it was before, in bytes.
///
/// Pages of the program's own file do not count. They are the code of all sides, which the system maps sixteen pages at a time
/// where it is first run: half a megabyte on every side, also for a run of no operations, and no memory that a runtime asks for.
/// They are never unmapped, so those at the end are those that were mapped at the peak, or few more.
pub fn with_peak_memory(run: impl FnOnce() -> Measured) -> Measured {
    let (before, file) = (resident_bytes(), status_bytes("RssFile:"));
    let mut measured = run();
    let mapped = status_bytes("RssFile:").saturating_sub(file);
    let peak = peak_resident_bytes();
    let bytes = peak.saturating_sub(before).saturating_sub(mapped);
    measured.values.push(as_f64(bytes));
    measured
}

/// A count as a float; counts here stay far below the 52 bits a float holds exactly.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
#[must_use]
pub fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_an_even_count_is_the_mean_of_the_middle_two() {
        assert_eq!(
            median(&mut [4.0, 1.0, 3.0, 2.0]).to_bits(),
            2.5_f64.to_bits()
        );
    }

    #[test]
    fn early_sleeper_is_not_counted() {
        let early = Instant::now() + Duration::from_hours(1);
        assert_eq!(lateness(early), None);
        let measured = with_lateness(|report| {
            let latenesses = vec![None, Some(Duration::from_nanos(7))];
            report.send(latenesses).expect("somebody listens");
            cpu_nanos_per_op(1, || 0)
        });
        assert_eq!(measured.result, 1);
        assert_eq!(measured.values[1].round().to_bits(), 7.0_f64.to_bits());
    }

    #[test]
    fn times_of_children_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 3 4 5 6 11 12 130 20 20 0 1 0 9";
        assert_eq!(children_in(stat, 100), Some(Duration::from_millis(1500)));
        assert_eq!(children_in("7 (a) S 1", 100), None);
    }

    #[test]
    fn memory_that_is_written_counts() {
        let mut bytes = Vec::new();
        let measured = with_peak_memory(|| {
            bytes.resize(64 << 20, 1_u8);
            cpu_nanos_per_op(1, || 7)
        });
        assert!(measured.values[1] > 60e6, "{measured:?}");
        assert_eq!(measured.result, 7);
    }
}
