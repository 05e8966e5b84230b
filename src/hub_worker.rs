//! The coroutines that handle a keyed engine's messages, and the states of its keys.
//!
//! It is apart from the hub because only here are the types of state and handler known.
//!
//! Invariants:
//! 1. A state is on the shelf, or lent to the one worker that has its key in hand; it comes back when the call ends, also by a panic or a drop.
//! 2. A worker advances in a loop: a call that ends at once costs no stack, however many are queued.
//! 3. It gives way after a run of calls that did not: nobody else on the loop starves.
//! 4. It takes no message once its coroutine is being cancelled: the next one gets a worker that can wait.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::arena::Id;
use crate::call::Call;
use crate::coroutine::Co;
use crate::error::{Error, Result};
use crate::failure::{AfterKeyFailure, Failure};
use crate::handle::Handle;
use crate::hub::{Crew, Hub, OrderKey};
use crate::key_name::KeyName;
use crate::record::{Body, Ending};
use crate::shared::Shared;

/// How many calls may end within one resume before the worker gives way.
const RUN: u32 = 64;

/// What makes the state of a key.
pub(crate) type Make<K, S> = Box<dyn Fn(&K) -> S>;

/// What looks at failures.
pub(crate) type KeyJudge<K, S> = Box<dyn FnMut(&K, &mut S, &Failure<'_>) -> AfterKeyFailure>;

/// The handler, and the states of all keys.
pub(crate) struct Service<K, S, H> {
    /// What makes the state of a key.
    make: Make<K, S>,
    /// The handler.
    handler: H,
    /// What looks at failures; out while it does.
    judge: Cell<Option<KeyJudge<K, S>>>,
    /// What happens after a failure that nothing looks at.
    after: AfterKeyFailure,
    /// The states that are not lent, by the place of their key.
    shelf: RefCell<Vec<Option<S>>>,
    /// Whether they outlive the messages.
    keep: bool,
}

impl<K, S, H> Service<K, S, H> {
    /// A service without states.
    pub(crate) fn new(
        make: Make<K, S>,
        handler: H,
        judge: Option<KeyJudge<K, S>>,
        after: AfterKeyFailure,
        keep: bool,
    ) -> Self {
        Service {
            make,
            handler,
            judge: Cell::new(judge),
            after,
            shelf: RefCell::default(),
            keep: keep && (size_of::<S>() > 0 || std::mem::needs_drop::<S>()),
        }
    }

    /// Takes a state off the shelf.
    #[inline]
    fn take(&self, key: Id) -> Option<S> {
        self.shelf.borrow_mut().get_mut(key.index())?.take()
    }

    /// Puts a state on the shelf.
    #[inline]
    fn put(&self, key: Id, state: S) {
        let mut states = self.shelf.borrow_mut();
        if states.len() <= key.index() {
            states.resize_with(key.index() + 1, || None);
        }
        states[key.index()] = Some(state);
    }

    /// Lends the state of a key, made now if need be.
    #[inline]
    fn lend(&self, key: Id, name: &KeyName<K>) -> Lent<'_, K, S, H> {
        let state = self.take(key).unwrap_or_else(|| (self.make)(name.get()));
        Lent {
            service: self,
            key,
            state: Some(state),
        }
    }
}

/// The state of one key, on loan.
struct Lent<'a, K, S, H> {
    /// Where it goes back to.
    service: &'a Service<K, S, H>,
    /// Whose it is.
    key: Id,
    /// The state; there until this is dropped.
    state: Option<S>,
}

impl<K, S, H> Drop for Lent<'_, K, S, H> {
    #[inline]
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            self.service.put(self.key, state);
        }
    }
}

impl<K, S, H, M, R, E> Crew<K, M, R, E> for Service<K, S, H>
where
    K: OrderKey,
    S: 'static,
    H: AsyncFn(Call<K>, &mut S, M) -> Result<R, E> + 'static,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    fn work(self: Rc<Self>, hub: &Rc<Hub<K, M, R, E>>, id: Id, seat: u32) -> Pin<Box<dyn Body>> {
        Box::pin(Worker {
            body: work(self, Rc::clone(hub), id, seat),
            hub: Rc::clone(hub),
            seat,
        })
    }

    fn judge(&self, key: Id, name: &KeyName<K>, failure: &Failure<'_>) -> AfterKeyFailure {
        /// Puts the hook back, also if it panics.
        struct Out<'a, K, S>(&'a Cell<Option<KeyJudge<K, S>>>, Option<KeyJudge<K, S>>);
        impl<K, S> Drop for Out<'_, K, S> {
            fn drop(&mut self) {
                self.0.set(self.1.take());
            }
        }
        let mut out = Out(&self.judge, self.judge.take());
        let Some(judge) = &mut out.1 else {
            return self.after;
        };
        let Some(state) = self.take(key) else {
            return self.after;
        };
        let mut lent = Lent {
            service: self,
            key,
            state: Some(state),
        };
        match &mut lent.state {
            Some(state) => judge(name.get(), state, failure),
            None => self.after,
        }
    }

    fn keeps_state(&self) -> bool {
        self.keep
    }

    fn drop_state(&self, key: Id) {
        drop(self.take(key));
    }
}

/// Handles messages until none is left.
async fn work<K, S, H, M, R, E>(
    service: Rc<Service<K, S, H>>,
    hub: Rc<Hub<K, M, R, E>>,
    id: Id,
    seat: u32,
) where
    K: OrderKey,
    S: 'static,
    H: AsyncFn(Call<K>, &mut S, M) -> Result<R, E> + 'static,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    hub.came(seat);
    let handle = Handle::new(Rc::clone(hub.shared()));
    let (mut resume, mut run) = (hub.shared().resume.get(), 0);
    let mut seen = None;
    loop {
        let Some(job) = hub.next(seat) else {
            if !hub.comes_again(seat, &mut seen) {
                break;
            }
            give_way(hub.shared(), id).await;
            hub.came(seat);
            if hub.is_doomed(id) {
                break;
            }
            continue;
        };
        seen = None;
        let result = {
            let mut lent = service.lend(job.key, &job.name);
            let co = Co::new(handle.clone(), id);
            let call = Call::new(co, job.name, hub.back());
            match &mut lent.state {
                Some(state) => (service.handler)(call, state, job.message).await,
                None => break,
            }
        };
        hub.settle(id, seat, result);
        run += 1;
        if hub.shared().resume.get() != resume {
            (resume, run) = (hub.shared().resume.get(), 0);
        } else if run >= RUN {
            give_way(hub.shared(), id).await;
            (resume, run) = (hub.shared().resume.get(), 0);
        }
        if hub.is_doomed(id) {
            break;
        }
    }
    hub.leave(seat);
}

/// Goes to the back of the ready queue.
async fn give_way(shared: &Shared, id: Id) {
    let mut gave_way = false;
    poll_fn(|_| {
        if std::mem::replace(&mut gave_way, true) {
            return Poll::Ready(());
        }
        shared.wake(id);
        Poll::Pending
    })
    .await;
}

pin_project! {
    /// The body of a worker, and whom to tell if it is ended from outside.
    struct Worker<F, K, M, R, E> {
        #[pin]
        body: F,
        hub: Rc<Hub<K, M, R, E>>,
        seat: u32,
    }
}

impl<F, K, M, R, E> Body for Worker<F, K, M, R, E>
where
    F: Future<Output = ()>,
    K: OrderKey,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    #[inline]
    fn resume(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().body.poll(cx)
    }

    fn ending(&self) -> Rc<dyn Ending> {
        Rc::new(Lost {
            hub: Rc::clone(&self.hub),
            seat: self.seat,
        })
    }
}

/// Tells a hub that a worker was ended from outside.
struct Lost<K, M, R, E> {
    /// The hub.
    hub: Rc<Hub<K, M, R, E>>,
    /// Where the worker sat.
    seat: u32,
}

impl<K, M, R, E> Ending for Lost<K, M, R, E>
where
    K: OrderKey,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    fn end(&self, error: Error) {
        self.hub.worker_lost(self.seat, error);
    }
}
