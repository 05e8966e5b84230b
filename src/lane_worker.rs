//! The coroutine that empties a lane: one for each busy period, however many messages that has.
//!
//! It is apart from the lane because only here are the types of state, key and handler known.
//!
//! Invariants:
//! 1. State and handler are lent to the worker and given back when it goes, also when it panics or is dropped where it stands.
//! 2. It advances in a loop: a call that ends at once costs no stack, however many are queued.
//! 3. It gives way after a run of calls that did not: nobody else on the loop starves.
//! 4. It takes no message once its coroutine is being cancelled: the next one gets a worker that can wait.

use std::any::Any;
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
use crate::failure::{AfterFailure, Failure};
use crate::handle::Handle;
use crate::key_name::KeyName;
use crate::lane::{Lane, Resting};
use crate::record::{Body, Ended};

/// How many calls may end within one resume before the worker gives way.
const RUN: u32 = 64;

/// What looks at failures.
pub(crate) type Judge<S> = Box<dyn FnMut(&mut S, &Failure<'_>) -> AfterFailure>;

/// State and handler.
pub(crate) struct Pair<K, S, H> {
    /// Whose they are.
    pub(crate) key: KeyName<K>,
    /// The state.
    pub(crate) state: S,
    /// The handler.
    pub(crate) handler: H,
    /// What looks at failures.
    pub(crate) judge: Option<Judge<S>>,
}

impl<K, S, H, M, R, E> Resting<M, R, E> for Pair<K, S, H>
where
    K: 'static,
    S: 'static,
    H: AsyncFnMut(Call<K>, &mut S, M) -> Result<R, E> + 'static,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    fn work(self: Box<Self>, lane: &Rc<Lane<M, R, E>>, id: Id) -> Pin<Box<dyn Body>> {
        let lent = Lent {
            lane: Rc::clone(lane),
            pair: Some(self),
            ended: false,
        };
        Box::pin(Worker {
            body: Some(work(lent, id)),
            lane: Rc::clone(lane),
        })
    }

    fn judge(&mut self, failure: &Failure<'_>) -> AfterFailure {
        match &mut self.judge {
            Some(judge) => judge(&mut self.state, failure),
            None => AfterFailure::GoOn,
        }
    }

    fn into_state(self: Box<Self>) -> Box<dyn Any> {
        Box::new(self.state)
    }
}

/// Handles messages until none is left.
async fn work<K, S, H, M, R, E>(mut lent: Lent<Pair<K, S, H>, M, R, E>, id: Id)
where
    K: 'static,
    S: 'static,
    H: AsyncFnMut(Call<K>, &mut S, M) -> Result<R, E> + 'static,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    let lane = Rc::clone(&lent.lane);
    if let Some(pair) = &mut lent.pair {
        let co = Co::new(Handle::new(Rc::clone(lane.shared())), id);
        let mut calls = Calls::new(co, lane.back());
        let (mut resume, mut run) = (lane.shared().resume_number(), 0);
        while let Some(message) = lane.next() {
            let call = calls.begin(pair.key.clone());
            let result = (pair.handler)(call, &mut pair.state, message).await;
            lane.settle(id, result, &mut **pair);
            run += 1;
            if lane.shared().resume_number() != resume {
                (resume, run) = (lane.shared().resume_number(), 0);
            } else if run >= RUN {
                give_way(&lane, id).await;
                (resume, run) = (lane.shared().resume_number(), 0);
            }
            if lane.is_doomed(id) {
                break;
            }
        }
    }
    lent.ended = true;
}

/// Goes to the back of the ready queue.
async fn give_way<M, R, E>(lane: &Rc<Lane<M, R, E>>, id: Id)
where
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    let mut gave_way = false;
    poll_fn(|_| {
        if std::mem::replace(&mut gave_way, true) {
            return Poll::Ready(());
        }
        lane.shared().wake(id);
        Poll::Pending
    })
    .await;
}

/// What a worker has borrowed of its lane.
struct Lent<P: Resting<M, R, E> + 'static, M, R, E>
where
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    /// Where it goes back to.
    lane: Rc<Lane<M, R, E>>,
    /// State and handler; there until this is dropped.
    pair: Option<Box<P>>,
    /// Whether the worker has ended by itself. Otherwise its lane hears of the end from the loop.
    ended: bool,
}

impl<P, M, R, E> Drop for Lent<P, M, R, E>
where
    P: Resting<M, R, E> + 'static,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    fn drop(&mut self) {
        if let Some(pair) = self.pair.take() {
            self.lane.bring_home(pair);
        }
        if self.ended {
            self.lane.worker_ended();
        }
    }
}

pin_project! {
    /// The body of a worker, and whom to tell if it is ended from outside.
    struct Worker<F, M, R, E> {
        #[pin]
        body: Option<F>,
        lane: Rc<Lane<M, R, E>>,
    }
}

impl<F, M, R, E> Body for Worker<F, M, R, E>
where
    F: Future<Output = ()>,
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

    /// Tells the lane that its worker was ended from outside.
    fn end(self: Pin<&mut Self>, error: Error) {
        self.lane.worker_lost(error);
    }
}
