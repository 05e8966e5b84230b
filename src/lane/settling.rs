//! How a call's end is taken: what its asker, the user's hook and the error hook are told.
//!
//! It is apart because it is the one part of a lane that runs user code: what it needs is taken out first, and nothing is borrowed.
//!
//! Invariants:
//! 1. Each call is settled once, by its own end or by the loss of its worker, and before the next message is taken.
//! 2. The user's hook sees a failure before anybody is told of it, and while the pair is with whoever settles.

use std::fmt;
use std::rc::Rc;

use super::{Lane, Resting, Running};
use crate::arena::Id;
use crate::error::{Error, ErrorKind, Result};
use crate::failure::{AfterFailure, Failure, FailureKind};
use crate::incident::Incident;
use crate::oneshot::Resolver;
use crate::verdict;

impl<M: 'static, R: 'static, E: From<Error> + fmt::Display + 'static> Lane<M, R, E> {
    /// The worker was ended from outside. The pair is at home.
    pub(crate) fn worker_lost(self: &Rc<Self>, error: Error) {
        if error.is_loop_gone() {
            self.worker.set(Id::NONE);
            return self.gone();
        }
        let kind = verdict::kind_of(&error);
        match self.running.take() {
            Some(running) => {
                // Where no error can be made, dropping the asker tells it.
                if let Some(error) = self.shared.contain("error's From", || E::from(error))
                    && let Some(mut home) = self.home.take()
                {
                    self.running.set(Some(running));
                    self.fail(kind, error, &mut *home);
                    self.home.set(Some(home));
                }
            }
            None => {
                if let ErrorKind::Panicked { coroutine, message } = error.into_kind() {
                    self.shared.report(&Incident::Panicked {
                        coroutine,
                        message: message.into(),
                        during: "drop",
                    });
                }
            }
        }
        self.worker.set(Id::NONE);
        self.start();
    }

    /// Takes the result of the running call, and what keys it left (keeps invariant 3).
    #[inline]
    pub(crate) fn settle(&self, id: Id, result: Result<R, E>, pair: &mut dyn Resting<M, R, E>) {
        match verdict::judge(&self.shared, id, result) {
            Some(Ok(value)) => self.succeed(value),
            Some(Err((kind, error))) => self.fail(kind, error, pair),
            None => {}
        }
    }

    /// Gives a value to who asked for it.
    #[inline]
    fn succeed(&self, value: R) {
        match self.running.take() {
            Some(Running { asker: Some(asker) }) => asker.resolve(Ok(value)),
            _ => drop(value),
        }
    }

    /// Lets the user's hook look at an error, then gives it to who asked, or to the error hook.
    fn fail(&self, kind: FailureKind, error: E, pair: &mut dyn Resting<M, R, E>) {
        let judged = self
            .shared
            .contain("callback", || pair.judge(&Failure::new(kind, &error)));
        let asker = self.running.take().and_then(|running| running.asker);
        match asker.filter(Resolver::is_wanted) {
            Some(asker) => asker.resolve(Err(error)),
            None => self.report_untaken(&error),
        }
        if judged == Some(AfterFailure::Stop) {
            self.cut_short();
        }
    }

    /// Reports an error that nobody asked for, or whose asker has gone.
    pub(crate) fn report_untaken(&self, error: &E) {
        if let Some(error) = self.shared.contain("error's Display", || error.to_string()) {
            self.report(error);
        }
    }

    /// Tells the error hook about this engine.
    fn report(&self, error: String) {
        self.shared.report(&Incident::OrderedFailed {
            engine: self.name.clone(),
            created_at: self.site,
            error,
        });
    }
}
