//! mio's poll, the sockets registered with it, and what each is ready for.
//!
//! It is apart because only here are tokens and readiness known. Who sleeps and when is the loop's business.
//!
//! Invariants:
//! 1. Readiness is bits: set by an event, cleared by who found the socket empty ("would block", or a read that came up short).
//! 2. A closed peer stays readable, and a broken socket both: no later event would say so again.
//! 3. A token carries a generation: an event for a source that is gone reaches nobody, also within one batch.
//! 4. The Linux timer descriptor is made at the first sleep with a deadline and set again only when the deadline changed. While the
//!    system has no descriptor for it, a sleep goes by a time-out and every sleep asks again: no timer is lost to a shortage.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use mio::{Interest, Token};

use crate::arena::{Arena, Id};
use crate::timers::Nanos;
use crate::waiter::WaiterSlot;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("yieldpoint packs a 64-bit id into the poller's token and needs a 64-bit target");

/// The token of the inbox's wake-up.
const WAKE: Token = Token(usize::MAX);
/// The token of the timer descriptor.
const TIMER: Token = Token(usize::MAX - 1);

/// The two ways in which a socket can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Bytes to read, or a connection to accept.
    Read,
    /// Room to write, or a connection made.
    Write,
}

/// One registered socket.
#[derive(Debug)]
pub(crate) struct Source {
    /// Whether a read is worth trying, and a write.
    ready: [bool; 2],
    /// Whether that can no longer change (invariant 2).
    sticky: [bool; 2],
    /// Who waits for it.
    pub(crate) waiters: [WaiterSlot; 2],
}

/// The poll and its sources.
pub(crate) struct Reactor {
    /// The operating system's selector.
    poll: mio::Poll,
    /// What is registered, by the id packed into its token.
    sources: Arena<Source>,
    /// The timer descriptor (invariant 4).
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
                sources: Arena::new(),
                timer: DeadlineTimer::new(),
            },
            waker,
        ))
    }

    /// Registers a socket for both directions. It is taken to be ready until a try says otherwise.
    pub(crate) fn register(&mut self, socket: &mut impl mio::event::Source) -> io::Result<Id> {
        let source = Source {
            ready: [true; 2],
            sticky: [false; 2],
            waiters: [WaiterSlot::EMPTY; 2],
        };
        let id = self.sources.insert(source);
        let both = Interest::READABLE | Interest::WRITABLE;
        match self
            .poll
            .registry()
            .register(socket, Token(usize_of(id)), both)
        {
            Ok(()) => Ok(id),
            Err(error) => {
                self.sources.remove(id);
                Err(error)
            }
        }
    }

    /// Takes a socket out. Gives back who waited for it. Events already fetched for it reach nobody (invariant 3).
    pub(crate) fn deregister(
        &mut self,
        id: Id,
        socket: &mut impl mio::event::Source,
    ) -> Option<[WaiterSlot; 2]> {
        // A socket that the kernel has already let go of needs no more than our own forgetting.
        let _ = self.poll.registry().deregister(socket);
        self.sources.remove(id).map(|source| source.waiters)
    }

    /// The source, if it is still registered.
    pub(crate) fn source_mut(&mut self, id: Id) -> Option<&mut Source> {
        self.sources.get_mut(id)
    }

    /// How many sources there are.
    pub(crate) fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether anybody waits for any source.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.sources
            .iter()
            .any(|(_, source)| source.waiters.iter().any(|slot| slot.is_waiting()))
    }

    /// How many sources are waited for.
    pub(crate) fn waited_for(&self) -> usize {
        self.sources
            .iter()
            .filter(|(_, source)| source.waiters.iter().any(|slot| slot.is_waiting()))
            .count()
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

impl Source {
    /// Whether a try is worth making.
    #[inline]
    pub(crate) fn is_ready(&self, direction: Direction) -> bool {
        self.ready[direction as usize]
    }

    /// Notes that a try found nothing, or less than it asked for (keeps invariants 1 and 2).
    #[inline]
    pub(crate) fn drained(&mut self, direction: Direction) {
        self.ready[direction as usize] = self.sticky[direction as usize];
    }

    /// Notes that a try found nothing at all, whatever was said before.
    #[inline]
    pub(crate) fn would_block(&mut self, direction: Direction) {
        self.ready[direction as usize] = false;
        self.sticky[direction as usize] = false;
    }

    /// Who waits, one slot a direction.
    pub(crate) fn waiter(&self, direction: Direction) -> WaiterSlot {
        self.waiters[direction as usize]
    }

    /// Changes who waits.
    pub(crate) fn set_waiter(&mut self, direction: Direction, slot: WaiterSlot) {
        self.waiters[direction as usize] = slot;
    }

    /// Takes in one event and gives out who is to be woken.
    pub(crate) fn ready_by(&mut self, event: &mio::event::Event) -> [WaiterSlot; 2] {
        let broken = event.is_error();
        let sticky = [
            event.is_read_closed() || broken,
            event.is_write_closed() || broken,
        ];
        let ready = [
            event.is_readable() || sticky[0],
            event.is_writable() || sticky[1],
        ];
        let mut woken = [WaiterSlot::EMPTY; 2];
        for side in 0..2 {
            self.sticky[side] |= sticky[side];
            if ready[side] {
                self.ready[side] = true;
                woken[side] = self.waiters[side];
                self.waiters[side] = self.waiters[side].vacated();
            }
        }
        woken
    }
}

/// The source an event is for; none for the loop's own wake-up and timer.
pub(crate) fn source_of(event: &mio::event::Event) -> Option<Id> {
    match event.token() {
        WAKE | TIMER => None,
        Token(bits) => Some(Id::from_bits(bits as u64)),
    }
}

/// The id as a token. Ids never reach the two highest values: those would be generation `u32::MAX` at slot `u32::MAX`.
fn usize_of(id: Id) -> usize {
    usize::try_from(id.to_bits()).expect("a 64-bit target")
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
