//! What a person sees while the bench runs: one line on standard error, written over and over.

use std::io::Write;

/// Shows how far the run is, in place of what was shown before.
pub(crate) fn show(progress: &str, what: &str) {
    eprint!("\r\x1b[K{progress} {what}");
    let _ = std::io::stderr().flush();
}
