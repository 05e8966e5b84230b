//! How a loop is put together and taken apart.
//!
//! It is apart from the turn because both happen once.
//!
//! Invariants:
//! 1. Dropping the loop drops everything in it, one value at a time and each contained, until nothing new appears.
//! 2. A loop that is being dropped takes no posts: they would be new as long as a thread posts.
//! 3. A loop with `fail_on_error` that is dropped with an incident nobody was shown panics, unless the thread panics already.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use crate::bodies::Bodies;
use crate::builder::Builder;
use crate::busy_poll::BusyPoll;
use crate::clock::Clock;
use crate::error::Result;
use crate::event_loop::{EventLoop, Stall};
use crate::inbox::Inbox;
use crate::pool::Pool;
use crate::reactor::Reactor;
use crate::shared::{ErrorHook, Held, Shared};
use crate::turn::LOOK_EVERY;
use crate::waker::InTurn;

/// How many sockets' events one look takes in: as many as it is followed by steps. The rest is better kept by the kernel, so that whoever
/// is woken runs before what the wake-up touched, here and there, has left the nearest caches.
const EVENTS: usize = LOOK_EVERY;

impl Builder {
    /// Builds the loop.
    ///
    /// # Errors
    /// What the system says when it has no descriptor left for the poll.
    pub fn build(self) -> Result<EventLoop> {
        let (reactor, waker) = Reactor::new()?;
        let inbox = Arc::new(Inbox::new(waker));
        // A clock moved by hand stands still while the loop stays awake, and would never end that.
        let busy_poll = BusyPoll::new(self.busy_poll).filter(|_| self.clock.is_none());
        let clock = self.clock.map_or_else(Clock::system, Clock::manual);
        let fatal = self.fatal.then(Rc::<Cell<Option<String>>>::default);
        let hook = match &fatal {
            Some(first) => noting(self.hook, Rc::clone(first)),
            None => self.hook,
        };
        let shared = Shared::new(reactor, inbox, clock, hook, Pool::new(self.pool));
        Ok(EventLoop {
            bodies: Bodies::new(&shared),
            shared,
            events: mio::Events::with_capacity(EVENTS),
            came: 0,
            rested: 0,
            posts: Box::default(),
            handed_out: Cell::new(false),
            busy_poll,
            stall: self.stalled_after.map(|after| Stall { after, told: false }),
            fatal,
        })
    }
}

/// A hook that also notes the first incident.
fn noting(hook: ErrorHook, first: Rc<Cell<Option<String>>>) -> ErrorHook {
    Rc::new(move |incident| {
        let noted = first.take().unwrap_or_else(|| incident.to_string());
        first.set(Some(noted));
        hook(incident);
    })
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        let shared = Rc::clone(&self.shared);
        let _turn = InTurn::enter(&shared);
        shared.close();
        // Before anything is dropped (keeps invariant 2).
        let mut posts = shared.inbox.close();
        shared.wake_strays();
        // What is dropped may drop, resolve, or try to queue more: go on until nothing is left (keeps invariant 1).
        loop {
            let bodies = self.bodies.drop_all(&shared);
            let held = shared.take_all();
            let nothing = held.is_empty();
            // One by one: a second panic within one drop would end the process.
            for one in held {
                match one {
                    Held::Record(record) => shared.dispose(record),
                    one => drop(shared.contain("drop", || drop(one))),
                }
            }
            let jobs = shared.pool.close();
            let nothing = nothing && jobs.is_empty();
            for job in jobs {
                shared.contain("drop", || drop(job));
            }
            let nothing = nothing && posts.is_empty();
            for post in posts.drain(..) {
                shared.contain("drop", || drop(post));
            }
            if !bodies && nothing {
                break;
            }
        }
        // No turn is left to fail for what happened since the last (keeps invariant 3).
        if let Some(incident) = self.fatal.as_ref().and_then(|fatal| fatal.take())
            && !std::thread::panicking()
        {
            panic!("{incident}");
        }
    }
}
