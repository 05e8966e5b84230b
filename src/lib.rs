//! A single-threaded coroutine runtime.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![allow(dead_code, reason = "the modules that build these values come next")]

mod site;

mod key;

mod snapshot;

mod error;

mod incident;

pub use error::{Error, ErrorKind, Result};
pub use incident::Incident;
pub use key::Key;
pub use site::Site;
pub use snapshot::{Activity, CoroutineId, CoroutineInfo, Label, PendingKey, Snapshot};
