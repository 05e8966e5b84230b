//! A single-threaded coroutine runtime.
#![forbid(unsafe_code)]
#![deny(missing_docs)]
