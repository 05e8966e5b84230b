//! Counts that no clock can give: instructions in user space and system calls a request, by valgrind and strace.
//!
//! A run is done twice, with few and with more requests; the difference is free of starting and ending. Where a tool is
//! missing, or cannot follow a runtime (valgrind knows only part of `io_uring`), the count is left out.

use std::env;
use std::process::Command;

use crate::measure::as_f64;
use crate::process::{COLD, RUN, output_of};
use crate::progress::show;
use crate::workload::{THREADED, Workload};

/// What one side needs for a request.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) workload: &'static str,
    pub(crate) side: &'static str,
    /// Instructions in user space.
    pub(crate) instructions: Option<f64>,
    /// System calls of the loop's thread.
    pub(crate) calls: Option<f64>,
}

/// Whether instructions and system calls of a workload are counted.
pub(crate) fn counts(workload: &Workload) -> bool {
    workload.name.starts_with("tcp_echo_c")
}

/// The tools that are missing.
pub(crate) fn missing() -> impl Iterator<Item = &'static str> {
    let missing = |tool: &&str| Command::new(tool).arg("--version").output().is_err();
    ["valgrind", "strace"].into_iter().filter(missing)
}

/// Counts for every side of the workload. The threads of a side that has several are not followed, so it is left out.
pub(crate) fn count(workload: &Workload) -> Vec<Counts> {
    let (few, more) = (workload.test_count, 5 * workload.test_count);
    let sides = workload.sides.iter().filter(|side| side.name != THREADED);
    let counts = sides.map(|side| {
        let difference = |total: fn(&Workload, &str, u64) -> Option<u64>| {
            show(
                &format!(
                    "counting instructions and system calls of {}",
                    workload.name
                ),
                side.name,
            );
            let few_total = total(workload, side.name, few)?;
            Some(
                as_f64(total(workload, side.name, more)?.checked_sub(few_total)?)
                    / as_f64(more - few),
            )
        };
        Counts {
            workload: workload.name,
            side: side.name,
            instructions: difference(instructions),
            calls: difference(system_calls),
        }
    });
    counts.collect()
}

/// The instructions of one run.
fn instructions(workload: &Workload, side: &str, count: u64) -> Option<u64> {
    let this = env::current_exe().ok()?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind
        .arg(this)
        .args([RUN, workload.name, side, &count.to_string(), COLD]);
    collected(&output_of(&mut valgrind).ok()?.1)
}

/// The number of instructions in what callgrind says at its end.
pub fn collected(report: &str) -> Option<u64> {
    let line = report
        .lines()
        .find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().parse().ok()
}

/// By how much a count of instructions may grow or fall before it is told.
const TOLERANCE: f64 = 0.05;

/// What there is to say of a count, given the one on record.
///
/// # Errors
///
/// It grew by more than 5 %, or there is none on record.
pub fn verdict(known: Option<f64>, count: f64) -> Result<String, String> {
    let Some(known) = known else {
        return Err("NOT ON RECORD: record it".to_owned());
    };
    let change = count / known - 1.0;
    if change > TOLERANCE {
        Err(format!("GREW by {:.1} %", 100.0 * change))
    } else if change < -TOLERANCE {
        Ok(format!("fell by {:.1} %: record it", -100.0 * change))
    } else {
        Ok(format!("ok, {:+.1} %", 100.0 * change))
    }
}

/// The system calls of one run, by the thread of the loop.
fn system_calls(workload: &Workload, side: &str, count: u64) -> Option<u64> {
    let this = env::current_exe().ok()?;
    let mut strace = Command::new("strace");
    strace.args(["-c", "-U", "calls,name"]);
    strace
        .arg(this)
        .args([RUN, workload.name, side, &count.to_string(), COLD]);
    let report = output_of(&mut strace).ok()?.1;
    let total = report
        .lines()
        .find_map(|line| line.trim().strip_suffix("total"))?;
    total.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_found_in_the_report() {
        assert_eq!(
            collected("==7== Events    : Ir\n==7== Collected : 208543\n"),
            Some(208_543)
        );
        assert_eq!(collected("valgrind: failed"), None);
    }

    #[test]
    fn growth_beyond_the_tolerance_is_refused_and_less_is_not() {
        assert_eq!(verdict(Some(100.0), 106.0), Err("GREW by 6.0 %".into()));
        assert!(verdict(None, 1.0).is_err());
        assert_eq!(verdict(Some(100.0), 104.0), Ok("ok, +4.0 %".into()));
        assert_eq!(
            verdict(Some(100.0), 90.0),
            Ok("fell by 10.0 %: record it".into())
        );
    }
}
