//! One run in a process of its own: how it is started, what it does, and what it hands back.
//!
//! 1. The loop of a side runs on the core of the loop, unless the side has threads of its own.
//! 2. A process that does not end in time is killed; one that fails says why in a line.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::load;
use crate::machine;
use crate::measure::Measured;
use crate::workload::{Side, THREADED, Workload};

/// The first argument of a process that is one run.
pub(crate) const RUN: &str = "--run";

/// How a run is made that goes straight to work.
pub(crate) const COLD: &str = "cold";
/// How one is made that is done first with a tiny count.
pub(crate) const WARM: &str = "warm";
/// How one is made that says where it listens and leaves the load to others.
const LISTEN: &str = "listen";

/// How long a server that has failed may take to end.
const GRACE: Duration = Duration::from_millis(500);

/// How long a run may say nothing.
const LIMIT: Duration = Duration::from_mins(1);

/// One run in a process of its own, out of the workloads known: prints the result and the values.
pub(crate) fn child<'a>(
    mut args: impl Iterator<Item = String>,
    mut workloads: impl Iterator<Item = &'a Workload>,
) {
    let mut next = || {
        args.next()
            .expect("the harness passes workload, side, count and how to run it")
    };
    let (name, side, count, how) = (next(), next(), next(), next());
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
    match how.as_str() {
        WARM => drop((side.run)(workload.test_count)),
        LISTEN => load::announce(),
        _ => {}
    }
    let measured = (side.run)(count.parse().expect("the count is a number"));
    let values: Vec<String> = measured.values.iter().map(ToString::to_string).collect();
    println!("{} {}", measured.result, values.join(" "));
}

/// The process of one run.
fn command(workload: &Workload, side: &Side, count: u64, how: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("the bench has a file"));
    command.args([RUN, workload.name, side.name, &count.to_string(), how]);
    command
}

/// Starts a server that says in its first line where it listens.
pub(crate) fn listen(workload: &Workload, side: &Side, count: u64) -> Result<Process, String> {
    Process::start(&mut command(workload, side, count, LISTEN))
}

/// Makes a run in a process of its own.
pub(crate) fn run(
    workload: &Workload,
    side: &Side,
    count: u64,
    how: &str,
) -> Result<Measured, String> {
    let (output, _) = output_of(&mut command(workload, side, count, how))?;
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

/// A process whose outputs are read. It is killed if it is dropped before its end.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// The lines of its output. Read by a thread, so that it never waits for a pipe and we never wait longer than allowed.
    lines: Receiver<String>,
    /// What it says besides, in the same way.
    errors: Option<JoinHandle<String>>,
}

impl Process {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let (stdout, mut stderr) = (
            child.stdout.take().expect("piped"),
            child.stderr.take().expect("piped"),
        );
        let errors = thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Ok(Self {
            child,
            lines,
            errors: Some(errors),
        })
    }

    /// Its number in the system.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line it prints; `None` at the end.
    pub(crate) fn line(&self) -> Result<Option<String>, String> {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(format!("no end within {} s", LIMIT.as_secs())),
        }
    }

    /// Waits for its end. Gives what it says besides its output, or why it failed.
    pub(crate) fn finish(mut self) -> Result<String, String> {
        while self.line()?.is_some() {}
        let status = self.child.wait().map_err(|error| error.to_string())?;
        let errors = self.errors.take().map(JoinHandle::join);
        let errors = errors.and_then(Result::ok).unwrap_or_default();
        if status.success() {
            return Ok(errors);
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

    /// Why it has failed, if it ends by itself now, and badly. Whoever was connected to it may have seen its sockets close before.
    pub(crate) fn failure(mut self) -> Option<String> {
        let until = Instant::now() + GRACE;
        let status = loop {
            match self.child.try_wait().ok()? {
                Some(status) => break status,
                None if Instant::now() < until => thread::sleep(Duration::from_millis(1)),
                None => return None,
            }
        };
        (!status.success()).then(|| self.finish().err()).flatten()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended needs neither.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the command prints on its two outputs, or why it failed.
pub(crate) fn output_of(command: &mut Command) -> Result<(String, String), String> {
    let process = Process::start(command)?;
    let mut output = String::new();
    while let Some(line) = process.line()? {
        output.push_str(&line);
        output.push('\n');
    }
    Ok((output, process.finish()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_of_a_process_that_is_still_ending_is_seen() {
        let end = |script: &str| {
            let process = Process::start(Command::new("sh").args(["-c", script])).unwrap();
            process.failure()
        };
        let why = end("exec 1>&-; sleep 0.05; echo sorry >&2; exit 3").expect("it fails");
        assert!(why.contains("sorry"), "{why}");
        assert_eq!(end("sleep 0.05"), None);
        assert_eq!(end("exec sleep 5"), None);
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
