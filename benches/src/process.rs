//! One run in a process of its own: how it is started, what it does, and what it hands back.
//!
//! 1. The loop of a side runs on the core of the loop, unless the side has threads of its own.
//! 2. A process that does not end in time is killed; one that fails says why in a line.

use std::env;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::machine;
use crate::measure::Measured;
use crate::workload::{Side, THREADED, Workload};

/// The first argument of a process that is one run.
pub(crate) const RUN: &str = "--run";

/// How long one run may take.
const LIMIT: Duration = Duration::from_mins(1);

/// One run in a process of its own, out of the workloads known: prints the result and the values.
pub(crate) fn child<'a>(
    mut args: impl Iterator<Item = String>,
    mut workloads: impl Iterator<Item = &'a Workload>,
) {
    let mut next = || {
        args.next()
            .expect("the harness passes workload, side, count and whether to warm up")
    };
    let (name, side, count, warm) = (next(), next(), next(), next());
    let workload = workloads
        .find(|workload| workload.name == name)
        .expect("the workload is known");
    let side = workload
        .sides
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

#[cfg(test)]
mod tests {
    use super::*;

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
