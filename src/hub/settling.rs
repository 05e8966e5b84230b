//! How a call's end is taken: what its asker, the user's hook and the error hook are told, and what becomes of the key.
//!
//! It is apart because nearly all of it runs user code: what it needs is taken out first, and nothing is borrowed.
//!
//! Invariants:
//! 1. Each call is settled once, by its own end or by the loss of its worker, and before the key's next message is taken.
//! 2. The user's hook sees a failure before anybody is told of it, and with the state back in its place.

use std::fmt;
use std::rc::Rc;

use crate::arena::Id;
use crate::error::{Error, ErrorKind, Result};
use crate::failure::{AfterKeyFailure, Failure, FailureKind};
use crate::hub::engine::{Hub, OrderKey, count};
use crate::hub::key_state::Hold;
use crate::incident::Incident;
use crate::oneshot::Resolver;
use crate::verdict::{self, Untouched};

impl<K, M, R, E> Hub<K, M, R, E>
where
    K: OrderKey,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    /// Takes the result of a call, and what keys it left. Tells whether its worker may take a further message: its coroutine is neither
    /// cancelled nor aborted. The seat of a call that ended well, that nobody asked for and nothing limits, is left to
    /// [`next`](Hub::next) or [`pause`](Hub::pause).
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "on the way of every message, from one place"
    )]
    pub(crate) fn settle(
        self: &Rc<Self>,
        id: Id,
        seat: u32,
        (is_loose, untouched): (bool, &mut Untouched),
        result: Result<R, E>,
    ) -> bool {
        // What a value does when it is dropped must find its call settled.
        match result {
            Ok(_)
                if is_loose
                    && !std::mem::needs_drop::<R>()
                    && untouched.is_plain(&self.shared, id) =>
            {
                count(&self.counts.done);
                true
            }
            result => self.settle_whole(id, seat, result),
        }
    }

    /// The same for all other calls.
    #[inline(never)]
    fn settle_whole(self: &Rc<Self>, id: Id, seat: u32, result: Result<R, E>) -> bool {
        match verdict::judge(&self.shared, id, result) {
            Some(Ok(value)) => self.succeed(seat, value),
            Some(Err((kind, error))) => self.fail(seat, kind, error),
            None => {}
        }
        !self.is_doomed(id)
    }

    /// Settles the seat of a call that ended well, if nobody else has.
    pub(crate) fn pause(&self, seat: u32) {
        let settled = self.table.borrow_mut().seats.settle(seat);
        drop(settled);
    }

    /// Gives a value to who asked for it.
    #[inline]
    fn succeed(&self, seat: u32, value: R) {
        count(&self.counts.done);
        let (asker, limit) = self.table.borrow_mut().seats.settle(seat);
        if let Some(limit) = limit {
            self.shared.disarm(limit);
        }
        match asker {
            Some(asker) => asker.resolve(Ok(value)),
            None => drop(value),
        }
    }

    /// Lets the user's hook look at an error, gives it to who asked or to the error hook, and does with the key as the hook says.
    #[cold]
    fn fail(self: &Rc<Self>, seat: u32, kind: FailureKind, error: E) {
        count(&self.counts.failed);
        let (key, name) = {
            let table = self.table.borrow();
            let key = table.seats.get(seat).map_or(Id::NONE, |seat| seat.key);
            let name = table.keys.get(key).map(|key| key.name.clone());
            (key, name)
        };
        let Some(name) = name else { return };
        let failure = Failure::new(kind, &error);
        let look = || self.crew.judge(key, &name, &failure);
        let after = self.shared.contain("callback", look);
        let (asker, limit) = self.table.borrow_mut().seats.settle(seat);
        if let Some(limit) = limit {
            self.shared.disarm(limit);
        }
        match after {
            Some(AfterKeyFailure::ParkKey) => self.hold(key, Hold::Parked),
            Some(AfterKeyFailure::StopKey) => self.stop(key),
            _ => {}
        }
        // Whoever hears of it may resume the key at once.
        match asker.filter(Resolver::is_wanted) {
            Some(asker) => asker.resolve(Err(error)),
            None => self.report_untaken(name.get(), &error),
        }
    }

    /// The worker in this seat was ended from outside. Its key's state is back in its place.
    pub(crate) fn worker_lost(self: &Rc<Self>, seat: u32, error: Error) {
        if error.is_loop_gone() {
            return self.gone();
        }
        let busy = {
            let mut table = self.table.borrow_mut();
            table.seats.set_coming(seat, false);
            table.seats.get(seat).is_some_and(|seat| seat.busy)
        };
        if busy {
            let kind = verdict::kind_of(&error);
            if let Some(error) = self.shared.contain("error's From", || E::from(error)) {
                self.fail(seat, kind, error);
            } else {
                count(&self.counts.failed);
                let (asker, limit) = self.table.borrow_mut().seats.settle(seat);
                if let Some(limit) = limit {
                    self.shared.disarm(limit);
                }
                // Dropping the asker tells it.
                drop(asker);
            }
        } else if let ErrorKind::Panicked { coroutine, message } = error.into_kind() {
            self.shared.report(&Incident::Panicked {
                coroutine,
                message: message.into(),
                during: "drop",
            });
        }
        self.leave(seat);
    }

    /// Reports an error that nobody asked for, or whose asker has gone.
    pub(crate) fn report_untaken(&self, key: &K, error: &E) {
        if let Some(error) = self.shared.contain("error's Display", || error.to_string()) {
            self.report(self.label(key), error);
        }
    }

    /// Reports an error whose asker has gone after it had come.
    pub(crate) fn report_nobody(&self, error: &E) {
        if let Some(error) = self.shared.contain("error's Display", || error.to_string()) {
            self.report(self.rules.name.clone().into_owned(), error);
        }
    }

    /// Tells the error hook about this engine.
    pub(crate) fn report(&self, engine: String, error: String) {
        self.shared.report(&Incident::OrderedFailed {
            engine: engine.into(),
            created_at: self.site,
            error,
        });
    }
}
