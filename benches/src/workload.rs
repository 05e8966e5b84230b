//! What a workload is: a name, what it counts, how much of it is done, and who does it.

use crate::measure::Measured;

/// What a value counts, and which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds; less is better.
    Nanos,
    /// Requests a second; more is better.
    PerSecond,
    /// Bytes; less is better.
    Bytes,
    /// Messages handled meanwhile; less is better.
    Messages,
}

impl Unit {
    /// The unit as it is printed.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Nanos => "ns",
            Self::PerSecond => "req/s",
            Self::Bytes => "bytes",
            Self::Messages => "messages",
        }
    }

    /// How many times better `ours` is than `theirs`: above 1 we win, whatever the unit.
    #[must_use]
    pub fn ratio(self, ours: f64, theirs: f64) -> f64 {
        match self {
            Self::Nanos | Self::Bytes | Self::Messages => theirs / ours,
            Self::PerSecond => ours / theirs,
        }
    }
}

/// One value of a workload's run.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// What is added to the workload's name; nothing for its first metric.
    pub suffix: &'static str,
    pub unit: Unit,
}

/// One way to do a workload.
#[derive(Clone, Copy, Debug)]
pub struct Side {
    /// The name printed, without spaces.
    pub name: &'static str,
    /// Does `n` operations.
    pub run: fn(u64) -> Measured,
}

/// The name of our side, which comes first in every workload.
pub const OURS: &str = "ours";

/// The name of the side without coroutines, the limit of what is possible.
pub const RAW: &str = "raw";

/// Ours in the shape of the peers, where ours has another: a buffer in each connection.
pub const OURS_AS_PEERS: &str = "own_buffer";

/// The side with threads of its own, which therefore is not pinned to one core.
pub const THREADED: &str = "tokio_multi";

/// How the runs of a workload are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// One after the other, so many times in a round. Where memory is measured, nothing goes before a run in its process.
    Cold(u64),
    /// One after the other, so many times in a round, each after a short run in its process.
    Warm(u64),
    /// All sides are servers and alive at once, and the load generator goes from one to the next so many times.
    InTurns(u64),
}

/// One thing to do, by us and by every peer.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// The name printed and chosen by, without spaces.
    pub name: &'static str,
    /// What is done, and what is counted, in a few words for the table.
    pub what: &'static str,
    pub metrics: &'static [Metric],
    /// How many operations a measured run does.
    pub count: u64,
    /// How many operations a run under `--test` does.
    pub test_count: u64,
    pub how: How,
    /// What a run of that many operations must compute.
    pub expected: fn(u64) -> u64,
    /// Ours, then the peers.
    pub sides: &'static [Side],
}

impl Workload {
    /// Whether `chosen` names this workload or the family it belongs to: `tcp_echo` is `tcp_echo_c1_d1` and the others.
    #[must_use]
    pub fn is_chosen_by(&self, chosen: &str) -> bool {
        let rest = self.name.strip_prefix(chosen);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("_c"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_says_how_many_times_better_ours_is_in_each_unit() {
        assert_eq!(Unit::Nanos.ratio(10.0, 40.0).to_bits(), 4.0_f64.to_bits());
        assert_eq!(Unit::Bytes.ratio(10.0, 40.0).to_bits(), 4.0_f64.to_bits());
        assert_eq!(
            Unit::PerSecond.ratio(10.0, 40.0).to_bits(),
            0.25_f64.to_bits()
        );
    }
}
