//! A place in somebody's source, as every error and table of this crate names it.
//!
//! It is apart because everything else names places and it names nothing.
//!
//! 1. A site is one pointer; it is taken with `#[track_caller]` and costs no allocation.

/// Names a place in the source: where a key was created, awaited, or a coroutine cancelled.
///
/// It prints as `file:line:column`, which most terminals and editors can follow.
///
/// ```
/// use std::panic::Location;
/// use yieldpoint::Site;
///
/// let here: Site = Location::caller();
/// assert!(here.line() > 0);
/// assert!(here.to_string().starts_with(here.file()));
/// ```
pub type Site = &'static std::panic::Location<'static>;
