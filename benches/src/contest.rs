//! One round of a workload whose sides are servers: all are alive at once, and one load generator goes from one to the next.
//!
//! It is apart from the runs one after the other because there the machine changes between two sides by more than the sides
//! differ: what the kernel does for a request is nine tenths of it, and depends on what else the machine does just then.
//!
//! 1. All servers listen before the load generator starts, which gives each its turns (see [`load`](crate::load)).
//! 2. Every turn's result is checked: all its replies were right.
//! 3. A server that hangs is as one that crashed: it is named, and the others are not to blame.

use crate::load::{Load, generator, hung, turn, why_hung};
use crate::process::{Process, listen};
use crate::workload::{Side, Workload};

/// Why a round failed, and whose fault it was, if that is known.
pub(crate) type Failure = (Option<&'static str>, String);

/// For each server its turns, in their order: the values of the workload's metrics.
type Turns = Vec<Vec<Vec<f64>>>;

/// Measures the sides against each other, with `count` requests to each in so many turns.
pub(crate) fn contest(
    workload: &Workload,
    sides: &[Side],
    count: u64,
    turns: u64,
) -> Result<Turns, Failure> {
    let mut servers = Vec::new();
    for side in sides {
        let server = Server::start(workload, side, count).map_err(|why| (Some(side.name), why))?;
        servers.push(server);
    }
    let measured = measure(workload, &servers, count / turns, turns);
    if let Err((Some(place), why)) = measured {
        return Err((Some(sides[place].name), why));
    }
    for (server, side) in servers.into_iter().zip(sides) {
        let ended = match &measured {
            Ok(_) => server.process.finish().map(drop),
            Err(_) => server.process.failure().map_or(Ok(()), Err),
        };
        ended.map_err(|why| (Some(side.name), why))?;
    }
    measured.map_err(|(_, why)| (None, why))
}

/// A server that listens, and what it is to be asked for.
struct Server {
    process: Process,
    address: std::net::SocketAddr,
    load: Load,
}

impl Server {
    fn start(workload: &Workload, side: &Side, count: u64) -> Result<Self, String> {
        let process = listen(workload, side, count)?;
        let Some(line) = process.line()? else {
            return Err(process.finish().err().unwrap_or_default());
        };
        let (address, load) = Load::announced(&line).ok_or("it does not say where it listens")?;
        Ok(Self {
            process,
            address,
            load,
        })
    }
}

/// Runs the load generator, and takes what it prints of each turn, which is `count` requests.
///
/// # Errors
///
/// Why it failed, and the place of the server that hangs, if it is that.
fn measure(
    workload: &Workload,
    servers: &[Server],
    count: u64,
    turns: u64,
) -> Result<Turns, (Option<usize>, String)> {
    let unnamed = |why| (None, why);
    let Some(first) = servers.first() else {
        return Ok(Vec::new());
    };
    let addresses: Vec<_> = servers
        .iter()
        .map(|server| (server.process.id(), server.address))
        .collect();
    let generator = Process::start(&mut generator(first.load, turns, &addresses));
    let generator = generator.map_err(unnamed)?;
    let mut values = vec![Vec::new(); servers.len()];
    while let Some(line) = generator.line().map_err(unnamed)? {
        if let Some(place) = hung(&line) {
            return Err((Some(place), why_hung()));
        }
        let other = || unnamed("the load generator prints something else".to_owned());
        let (place, measured) = turn(&line).ok_or_else(other)?;
        assert_eq!(
            measured.result,
            (workload.expected)(count),
            "a server of {} replies something else",
            workload.name
        );
        assert_eq!(
            measured.values.len(),
            workload.metrics.len(),
            "a turn of {} measures all metrics",
            workload.name
        );
        values[place].push(measured.values);
    }
    generator.finish().map_err(unnamed)?;
    Ok(values)
}
