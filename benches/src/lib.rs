//! The harness of the benches, the load generator, and the workloads with yieldpoint itself.
//!
//! The peers' sides stand apart, in the bench `versus`, so that a program which needs only our side (the check of
//! instruction counts) builds no peer.

pub mod harness;
pub mod inputs;
pub mod load;
pub mod machine;
pub mod measure;
pub mod ours;
mod plot;
pub mod probes;
mod report;
mod scaling;
pub mod workload;
