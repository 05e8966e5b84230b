//! How a plain mio loop waits.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

/// Waits for events, the first `spin` without sleeping.
pub fn wait(poll: &mut Poll, events: &mut Events, spin: Duration) {
    let mut look = |timeout| match poll.poll(events, timeout) {
        Err(error) if error.kind() == ErrorKind::Interrupted => false,
        polled => {
            polled.expect("a poll");
            !events.is_empty()
        }
    };
    if !spin.is_zero() {
        let started = Instant::now();
        while started.elapsed() < spin {
            if look(Some(Duration::ZERO)) {
                return;
            }
        }
    }
    look(None);
}
