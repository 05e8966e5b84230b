//! How long a call of a keyed engine may take, as the user says it.
//!
//! It is apart from what is done about it because the builder takes it and every engine carries it.

use std::time::Duration;

/// How long a call of a keyed engine may take, and what happens then: see [`KeyedBuilder::head_limit`](crate::ordered::KeyedBuilder::head_limit).
///
/// ```
/// use yieldpoint::{ms, ordered::HeadLimit};
///
/// let told = HeadLimit::from(ms(100)); // reported after 100 ms, and nothing else
/// let ended = HeadLimit::from(ms(100)).then_cancel(ms(900)).then_abort(ms(1000)); // cancelled after a second, aborted after two
/// # let _ = (told, ended);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a limit does nothing until an engine has it"]
pub struct HeadLimit {
    /// After so long it is reported.
    pub(crate) report: Duration,
    /// So long after that it is cancelled.
    pub(crate) cancel: Option<Duration>,
    /// So long after that it is aborted.
    pub(crate) abort: Option<Duration>,
}

impl From<Duration> for HeadLimit {
    /// Reports a call that runs longer than this.
    fn from(report: Duration) -> Self {
        HeadLimit {
            report,
            cancel: None,
            abort: None,
        }
    }
}

impl HeadLimit {
    /// Cancels a call that goes on for so long after it was reported. Zero means at once.
    pub fn then_cancel(mut self, after: Duration) -> Self {
        self.cancel = Some(after);
        self
    }

    /// Aborts a call that goes on for so long after that: after it was cancelled, and cleans up, or else was reported.
    pub fn then_abort(mut self, after: Duration) -> Self {
        self.abort = Some(after);
        self
    }
}
