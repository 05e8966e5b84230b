//! The harness of the benches, the load generator, and the workloads with yieldpoint itself.
//!
//! The peers' sides stand apart, in the bench `versus`, so that a program which needs only our side (the check of
//! instruction counts) builds no peer.

// From the ground up: a module uses only those above it.
pub mod machine;

pub mod measure;

pub mod hot;
pub mod inputs;
pub mod workload;

pub mod load;

pub mod ours;

mod progress;

mod process;

mod contest;

pub mod probes;
mod scaling;

mod comparison;
mod options;

mod plot;
mod words;

mod tables;
mod targets;

mod report;

pub mod harness;
