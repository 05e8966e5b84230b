//! mio's poll, and the loop's own descriptors in it: the wake-up and the timer.
//!
//! It is apart because only here is the system's selector known. Who sleeps and when is the loop's business.
//!
//! Invariants:
//! 1. The two highest tokens are the loop's own; no source's generation and place make one of them.
//! 2. The Linux timer descriptor is made at the first sleep with a deadline and set again only when the deadline changed. While the
//!    system has no descriptor for it, a sleep goes by a time-out and every sleep asks again: no timer is lost to a shortage.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use mio::{Interest, Token};

use crate::sources::{Place, Sources};
use crate::timers::Nanos;
use crate::waiter::WaiterSlot;

/// The token of the inbox's wake-up.
const WAKE: Token = Token(usize::MAX);
/// The token of the timer descriptor.
const TIMER: Token = Token(usize::MAX - 1);

/// What a socket is watched for: both directions, and urgent data where the system tells of it.
#[cfg(target_os = "linux")]
const INTEREST: Interest = Interest::READABLE
    .add(Interest::WRITABLE)
    .add(Interest::PRIORITY);
#[cfg(not(target_os = "linux"))]
const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The poll and its sources.
pub(crate) struct Reactor {
    /// The operating system's selector.
    poll: mio::Poll,
    /// What is registered.
    pub(crate) sources: Sources,
    /// The timer descriptor (invariant 2).
    timer: DeadlineTimer,
}

impl Reactor {
    /// Opens a poll, and the waker that ends its sleep.
    pub(crate) fn new() -> io::Result<(Self, mio::Waker)> {
        let poll = mio::Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WAKE)?;
        Ok((
            Reactor {
                poll,
                sources: Sources::new(),
                timer: DeadlineTimer::new(),
            },
            waker,
        ))
    }

    /// Registers a socket for both directions. It is taken to be ready until a try says otherwise.
    pub(crate) fn register(&mut self, socket: &mut impl mio::event::Source) -> io::Result<Place> {
        let (place, token) = self.sources.insert();
        match self.poll.registry().register(socket, token, INTEREST) {
            Ok(()) => Ok(place),
            Err(error) => {
                self.sources.remove(place);
                Err(error)
            }
        }
    }

    /// Takes a socket out. Gives back who waited for it. Events already fetched for it reach nobody.
    pub(crate) fn deregister(
        &mut self,
        place: Place,
        socket: &mut impl mio::event::Source,
    ) -> [WaiterSlot; 2] {
        // A socket that the kernel has already let go of needs no more than our own forgetting.
        let _ = self.poll.registry().deregister(socket);
        self.sources.remove(place)
    }

    /// How many sources there are.
    pub(crate) fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether anybody waits for any source.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.sources.are_waited_for()
    }

    /// How many sources are waited for.
    pub(crate) fn waited_for(&self) -> usize {
        self.sources.waited_for()
    }

    /// Asks for events without waiting.
    pub(crate) fn poll_now(&mut self, events: &mut mio::Events) -> io::Result<()> {
        retry(|| self.poll.poll(events, Some(Duration::ZERO)))
    }

    /// Sleeps until an event or the deadline. `now` is a recent reading, used only where the deadline goes by way of a rounded time-out.
    pub(crate) fn sleep(
        &mut self,
        events: &mut mio::Events,
        deadline: Option<Nanos>,
        now: Nanos,
    ) -> io::Result<()> {
        let timeout = self.arm(deadline, now)?;
        match self.poll.poll(events, timeout) {
            // A signal ended the sleep; the loop looks round as after any other wake-up.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            other => other,
        }
    }

    /// Makes the descriptor readable at the deadline where the system can; elsewhere gives the time-out to sleep with.
    pub(crate) fn arm(
        &mut self,
        deadline: Option<Nanos>,
        now: Nanos,
    ) -> io::Result<Option<Duration>> {
        self.timer.arm(self.poll.registry(), deadline, now)
    }
}

impl AsRawFd for Reactor {
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

/// The token of the source an event is for; none for the loop's own wake-up and timer.
#[inline]
pub(crate) fn source_of(event: &mio::event::Event) -> Option<Token> {
    match event.token() {
        WAKE | TIMER => None,
        token => Some(token),
    }
}

/// Repeats a call that a signal interrupted.
fn retry(mut call: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// The time-out for a deadline: at most a day, since the poll counts milliseconds in an `i32`. Who wakes early looks and sleeps again.
fn time_out(deadline: Nanos, now: Nanos) -> Duration {
    const LONGEST: Duration = Duration::from_secs(86_400);
    Duration::from_nanos(deadline.saturating_sub(now)).min(LONGEST)
}

#[cfg(target_os = "linux")]
use timerfd::DeadlineTimer;

/// Deadlines by a timer descriptor: sub-millisecond, and visible to whoever polls the loop's own descriptor.
#[cfg(target_os = "linux")]
mod timerfd {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::time::Duration;

    use mio::Interest;
    use mio::unix::SourceFd;
    use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

    use crate::timers::Nanos;

    /// The descriptor and what it was last set to.
    pub(super) struct DeadlineTimer {
        /// Made at the first deadline.
        fd: Option<OwnedFd>,
        /// The deadline the kernel knows.
        armed: Option<Nanos>,
    }

    impl DeadlineTimer {
        pub(super) fn new() -> Self {
            DeadlineTimer {
                fd: None,
                armed: None,
            }
        }

        pub(super) fn arm(
            &mut self,
            registry: &mio::Registry,
            deadline: Option<Nanos>,
            now: Nanos,
        ) -> io::Result<Option<Duration>> {
            // A deadline that has passed may have fired already, unseen: it does not count as armed.
            if self.armed == deadline && deadline.is_none_or(|at| at > now) {
                return Ok(None);
            }
            if self.fd.is_none() {
                let Some(at) = deadline else {
                    return Ok(None);
                };
                match make(registry) {
                    Ok(fd) => self.fd = Some(fd),
                    // Descriptors have run out: a rounded time-out will do until there is one.
                    Err(_) => return Ok(Some(super::time_out(at, now))),
                }
            }
            let Some(fd) = &self.fd else { return Ok(None) };
            let never = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            // Zero would disarm; a deadline of zero is one nanosecond late instead.
            let value = deadline.map_or(never, |at| timespec(at.max(1)));
            let setting = Itimerspec {
                it_interval: never,
                it_value: value,
            };
            rustix::time::timerfd_settime(fd, TimerfdTimerFlags::ABSTIME, &setting)?;
            self.armed = deadline;
            Ok(None)
        }
    }

    /// Opens a timer descriptor and registers it.
    fn make(registry: &mio::Registry) -> io::Result<OwnedFd> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(
            &mut SourceFd(&fd.as_raw_fd()),
            super::TIMER,
            Interest::READABLE,
        )?;
        Ok(fd)
    }

    /// A deadline as the kernel takes it.
    fn timespec(at: Nanos) -> Timespec {
        let seconds = i64::try_from(at / 1_000_000_000).unwrap_or(i64::MAX);
        Timespec {
            tv_sec: seconds,
            tv_nsec: i64::try_from(at % 1_000_000_000).unwrap_or(0),
        }
    }
}

/// Deadlines by the poll's own time-out, rounded up to its resolution.
#[cfg(not(target_os = "linux"))]
struct DeadlineTimer;

#[cfg(not(target_os = "linux"))]
impl DeadlineTimer {
    fn new() -> Self {
        DeadlineTimer
    }

    fn arm(
        &mut self,
        _: &mio::Registry,
        deadline: Option<Nanos>,
        now: Nanos,
    ) -> io::Result<Option<Duration>> {
        Ok(deadline.map(|at| time_out(at, now)))
    }
}
