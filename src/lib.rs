//! A single-threaded coroutine runtime.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[allow(dead_code)]
mod arena;
#[allow(dead_code)]
mod timers;
