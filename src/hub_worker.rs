//! The coroutines that handle a keyed engine's messages, and the states of its keys.
//!
//! It is apart from the hub because only here are the types of state and handler known.
//!
//! Invariants:
//! 1. A state is on the shelf, or lent to the one worker that has its key in hand; it comes back when the call ends, also by a panic or a drop.
//! 2. A worker advances in a loop: a call that ends at once costs no stack, however many are queued.
//! 3. It gives way after a run of calls that did not: nobody else on the loop starves.
//! 4. It takes no message once its coroutine is being cancelled: the next one gets a worker that can wait.
//! 5. The memory of a burst of keys is given back when they have gone.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::arena::Id;
use crate::call::{Call, Calls};
use crate::coroutine::Co;
use crate::error::{Error, Result};
use crate::failure::{AfterKeyFailure, Failure};
use crate::handle::Handle;
use crate::hub::{Crew, Hub, OrderKey};
use crate::key_name::KeyName;
use crate::record::{Body, Ended};
use crate::shared::Shared;
use crate::verdict::Untouched;

/// How many calls may end within one resume before the worker gives way.
const RUN: u32 = 64;

/// How many boxes for states are kept for keys to come.
const KEPT: usize = 1024;

/// How many empty places may be taken off the shelf for each box that has gone: what costs a look at every place is paid for before.
const PAID: usize = 8;

/// What makes the state of a key.
pub(crate) type Make<K, S> = Box<dyn Fn(&K) -> S>;

/// What looks at failures.
pub(crate) type KeyJudge<K, S> = Box<dyn FnMut(&K, &mut S, &Failure<'_>) -> AfterKeyFailure>;

/// The handler, and the states of all keys.
pub(crate) struct Service<K, S, H> {
    /// The loop.
    shared: Rc<Shared>,
    /// What makes the state of a key.
    make: Make<K, S>,
    /// The handler.
    handler: H,
    /// What looks at failures; out while it does.
    judge: Cell<Option<KeyJudge<K, S>>>,
    /// What happens after a failure that nothing looks at.
    after: AfterKeyFailure,
    /// The states that are not lent, by the place of their key. Each stays where it was made: only its box goes to and fro.
    shelf: RefCell<Vec<Option<Box<Option<S>>>>>,
    /// How many empty places may be taken off it.
    paid: Cell<usize>,
    /// Whether they outlive the messages.
    keep: bool,
}

impl<K, S, H> Service<K, S, H> {
    /// A service without states.
    pub(crate) fn new(
        shared: &Rc<Shared>,
        make: Make<K, S>,
        handler: H,
        judge: (Option<KeyJudge<K, S>>, AfterKeyFailure),
        keep: bool,
    ) -> Self {
        let (judge, after) = judge;
        Service {
            shared: Rc::clone(shared),
            make,
            handler,
            judge: Cell::new(judge),
            after,
            shelf: RefCell::default(),
            paid: Cell::new(0),
            keep: keep && (size_of::<S>() > 0 || std::mem::needs_drop::<S>()),
        }
    }

    /// Takes the box for a key's state off the shelf.
    #[inline]
    fn take(&self, key: Id) -> Option<Box<Option<S>>> {
        self.shelf.borrow_mut().get_mut(key.index())?.take()
    }

    /// Puts the box for a key's state on the shelf.
    #[inline]
    fn put(&self, key: Id, state: Box<Option<S>>) {
        let mut places = self.shelf.borrow_mut();
        match places.get_mut(key.index()) {
            // It was lent out: forgetting that saves the look whether it must be dropped.
            Some(place) => std::mem::forget(place.replace(state)),
            None => put_first(&mut places, key, state),
        }
    }

    /// Takes empty places off the end of the shelf when a box has gone, and gives their memory back (keeps invariant 5).
    #[cold]
    fn shorten(&self) {
        let mut places = self.shelf.borrow_mut();
        let mut paid = self.paid.get().saturating_add(PAID);
        while paid > 0 && places.len() > KEPT && places.last().is_some_and(Option::is_none) {
            places.pop();
            paid -= 1;
        }
        self.paid.set(paid);
        if places.len() <= places.capacity() / 4 && places.capacity() > 4 * KEPT {
            let twice = 2 * places.len();
            places.shrink_to(twice);
        }
    }
}

impl<K, S, H> Drop for Service<K, S, H> {
    /// Drops the states. One that panics is told to the error hook, also where the user drops the engine.
    fn drop(&mut self) {
        let states = self.shelf.take();
        self.shared.drop_each(states.into_iter().flatten());
    }
}

/// Puts a box on a shelf that had none of so high a place before.
#[cold]
fn put_first<S>(places: &mut Vec<Option<Box<Option<S>>>>, key: Id, state: Box<Option<S>>) {
    places.resize_with(key.index(), || None);
    places.push(Some(state));
}

/// The state of one key, on loan.
struct Lent<'a, K, S, H> {
    /// Where it goes back to.
    service: &'a Service<K, S, H>,
    /// Whose it is.
    key: Id,
    /// The state, once it is made; there until this is dropped.
    state: Option<Box<Option<S>>>,
}

impl<'a, K, S, H> Lent<'a, K, S, H> {
    /// Takes the state of a key off the shelf, if it has one.
    #[inline]
    fn new(service: &'a Service<K, S, H>, key: Id) -> Self {
        Lent {
            service,
            key,
            state: service.take(key),
        }
    }

    /// The state for this call, made now if need be. To make it is user code.
    #[inline]
    fn state(&mut self, call: &Call<K>) -> &mut S {
        let Lent { service, state, .. } = self;
        let state = state.get_or_insert_default();
        state.get_or_insert_with(|| (service.make)(call.key()))
    }

    /// Puts the state back: what dropping it does, written out where it is done for every message.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "see above")]
    fn give_back(&mut self) {
        if let Some(state) = self.state.take() {
            self.service.put(self.key, state);
        }
    }
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
            body: Some(work(self, Rc::clone(hub), id, seat)),
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
        let mut lent = Lent::new(self, key);
        match lent.state.as_deref_mut() {
            Some(Some(state)) => judge(name.get(), state, failure),
            _ => self.after,
        }
    }

    fn keeps_state(&self) -> bool {
        self.keep
    }

    fn drop_state(&self, key: Id) {
        let Some(mut state) = self.take(key) else {
            return;
        };
        drop(state.take());
        if key.index() < KEPT {
            self.put(key, state);
        } else {
            self.shorten();
        }
    }
}

/// Handles messages until none is left.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn would keep its arguments twice"
)]
fn work<K, S, H, M, R, E>(
    service: Rc<Service<K, S, H>>,
    hub: Rc<Hub<K, M, R, E>>,
    id: Id,
    seat: u32,
) -> impl Future<Output = ()>
where
    K: OrderKey,
    S: 'static,
    H: AsyncFn(Call<K>, &mut S, M) -> Result<R, E> + 'static,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    async move {
        hub.came(seat);
        let co = Co::new(Handle::new(Rc::clone(hub.shared())), id);
        let mut calls = Calls::new(co, hub.back());
        let mut pace = Pace::new(hub.shared());
        let mut untouched = Untouched::unknown();
        let mut seen = None;
        'working: loop {
            loop {
                let Some(job) = hub.next(seat, &mut calls) else {
                    break;
                };
                seen = None;
                let (key, is_loose) = (job.key, job.is_loose);
                let mut lent = Lent::new(&service, key);
                let begun = {
                    let (lent, handler) = (&mut lent, &service.handler);
                    whole(job, move |job| {
                        let state = lent.state(&job.call);
                        handler(job.call, state, job.message)
                    })
                };
                let result = begun.await;
                lent.give_back();
                if !hub.settle(id, seat, (is_loose, &mut untouched), result) {
                    break 'working;
                }
                if pace.is_out_of_breath(hub.shared()) {
                    hub.pause(seat);
                    give_way(hub.shared(), id).await;
                    if hub.is_doomed(id) {
                        break 'working;
                    }
                }
            }
            if !hub.comes_again(seat, &mut seen) {
                break;
            }
            give_way(hub.shared(), id).await;
            hub.came(seat);
            if hub.is_doomed(id) {
                break;
            }
        }
        hub.leave(seat);
    }
}

/// Takes a job whole: one that is looked at or taken apart in a coroutine keeps its place there until the await is over.
#[inline]
fn whole<T, F>(job: T, begin: impl FnOnce(T) -> F) -> F {
    begin(job)
}

/// Counts the calls that ended within one resume.
struct Pace {
    /// The resume.
    resume: u32,
    /// How many.
    run: u32,
}

impl Pace {
    /// Begins to count.
    fn new(shared: &Shared) -> Self {
        Pace {
            resume: shared.resume_number(),
            run: 0,
        }
    }

    /// Counts a call. Tells whether it is time to give way (keeps invariant 3).
    #[inline]
    fn is_out_of_breath(&mut self, shared: &Shared) -> bool {
        let resume = shared.resume_number();
        if self.resume != resume {
            *self = Pace { resume, run: 0 };
            return false;
        }
        self.run += 1;
        self.run >= RUN
    }
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
        body: Option<F>,
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
    fn resume(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        match self.project().body.as_pin_mut() {
            Some(body) => body.poll(cx).map(|()| Ended::Well),
            None => Poll::Pending,
        }
    }

    fn vacate(self: Pin<&mut Self>) {
        self.project().body.set(None);
    }

    /// Tells the hub that its worker was ended from outside.
    fn end(self: Pin<&mut Self>, error: Error) {
        self.hub.worker_lost(self.seat, error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventLoop;

    /// A service whose states are numbers.
    fn service() -> Service<u32, u64, impl AsyncFn(Call<u32>, &mut u64, ()) -> Result> {
        let event_loop = EventLoop::new().unwrap();
        Service::new(
            event_loop.shared(),
            Box::new(|_: &u32| 0_u64),
            async |_: Call<u32>, _: &mut u64, (): ()| -> Result { Ok(()) },
            (None, AfterKeyFailure::Continue),
            true,
        )
    }

    /// Puts the states of these keys on the shelf, and has all forgotten in the second order.
    fn come_and_go<H>(
        service: &Service<u32, u64, H>,
        come: impl Iterator<Item = usize>,
        go: impl Iterator<Item = usize>,
    ) where
        Service<u32, u64, H>: Crew<u32, (), (), Error>,
    {
        for index in come {
            let mut lent = Lent::new(service, Id::new(index, 0));
            **lent.state.get_or_insert_default() = Some(1);
        }
        for index in go {
            service.drop_state(Id::new(index, 0));
        }
    }

    #[test]
    fn the_places_of_a_burst_of_keys_are_given_back_in_whatever_order_they_go() {
        const MANY: usize = 100_000;
        let service = service();
        let len = || service.shelf.borrow().len();
        let capacity = || service.shelf.borrow().capacity();
        for round in 0..3 {
            // While the highest is there, so is its place.
            come_and_go(&service, 0..MANY, 0..MANY - 1);
            assert_eq!(len(), MANY);
            let last = std::iter::once(MANY - 1);
            come_and_go(&service, std::iter::empty(), last);
            assert!(capacity() <= 4 * KEPT, "{} in round {round}", capacity());
            come_and_go(&service, 0..MANY, (0..MANY).rev());
            assert!(capacity() <= 4 * KEPT, "{} in round {round}", capacity());
            let shuffled = (0..MANY).map(|n| n * 7_919 % MANY);
            come_and_go(&service, 0..MANY, shuffled);
            assert!(capacity() <= 4 * KEPT, "{} in round {round}", capacity());
        }
        let boxes = service.shelf.borrow().iter().flatten().count();
        assert_eq!((boxes, len()), (KEPT, KEPT), "a few boxes stay");
    }

    #[test]
    fn a_state_that_is_lent_while_places_are_given_back_comes_back() {
        let service = service();
        let high = Id::new(10 * KEPT, 0);
        come_and_go(&service, 0..10 * KEPT, 0..0);
        service.put(high, Box::new(Some(5)));
        let lent = Lent::new(&service, high);
        come_and_go(&service, 0..0, 0..10 * KEPT);
        assert_eq!(service.shelf.borrow().len(), KEPT);
        drop(lent);
        assert_eq!(service.take(high).as_deref(), Some(&Some(5)));
    }
}
