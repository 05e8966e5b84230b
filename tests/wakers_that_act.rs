//! A foreign waker is user code when it is dropped, too: a point that is polled with another waker drops the one it had, and what that
//! does may be just what the point waits for. It must hear of it, and nobody else.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use yieldpoint::sync::queue;
use yieldpoint::{Call, EventLoop, Keyed, Ordered, Resolver, Result};

thread_local! {
    /// What [`Acting`] does when it is dropped.
    static AT_DROP: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Counts its wake-ups.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Counting {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Does what was left for it when it is dropped.
struct Acting;

impl Wake for Acting {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Acting {
    fn drop(&mut self) {
        let act = AT_DROP.with(RefCell::take);
        if let Some(act) = act {
            act();
        }
    }
}

/// Polls once.
fn poll<F: Future + ?Sized>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// Polls with a waker that does something when the second poll drops it. Gives the output, for which somebody may have to be woken.
fn output_after<F: Future>(mut future: Pin<&mut F>, act: impl FnOnce() + 'static) -> F::Output {
    let acting = Waker::from(Arc::new(Acting));
    assert!(poll(future.as_mut(), &acting).is_pending());
    drop(acting);
    AT_DROP.set(Some(Box::new(act)));
    let woken = Arc::new(Counting::default());
    let waker = Waker::from(Arc::clone(&woken));
    let first = poll(future.as_mut(), &waker);
    assert!(AT_DROP.with(RefCell::take).is_none(), "it was dropped");
    match first {
        Poll::Ready(output) => output,
        Poll::Pending => {
            assert_eq!(woken.count(), 1, "who waits is woken");
            match poll(future, &waker) {
                Poll::Ready(output) => output,
                Poll::Pending => panic!("woken for nothing"),
            }
        }
    }
}

/// Does nothing with a message.
async fn take(_: Call<u32>, (): &mut (), _: u32) -> Result {
    Ok(())
}

#[test]
fn who_is_turned_away_from_a_key_by_the_waker_it_gives_up_hears_of_it() {
    let event_loop = EventLoop::new().unwrap();
    let engine = Keyed::with_state(|_: &u32| ()).per_key(1);
    let engine = Rc::new(engine.serve(&event_loop.handle(), take));
    assert!(engine.try_send(1, 0).is_ok());
    let sending = pin!(engine.send(1, 1));
    let other = Rc::clone(&engine);
    let sent = output_after(sending, move || assert!(other.forget_key(&1)));
    assert!(sent.is_err(), "it was turned away");
}

#[test]
fn who_is_admitted_to_a_key_by_the_waker_it_gives_up_hears_of_it() {
    let mut event_loop = EventLoop::new().unwrap();
    let engine = Keyed::with_state(|_: &u32| ()).per_key(1);
    let engine = engine.serve(&event_loop.handle(), take);
    let place = event_loop.block_on(async |_| engine.reserve(1).await);
    let place = place.unwrap();
    let sending = pin!(engine.send(1, 1));
    let sent = output_after(sending, move || drop(place));
    assert!(sent.is_ok(), "there was room");
}

#[test]
fn who_is_admitted_to_an_engine_by_the_waker_it_gives_up_hears_of_it() {
    let mut event_loop = EventLoop::new().unwrap();
    let engine = Ordered::with_state(()).bound(1);
    let engine = engine.serve(
        &event_loop.handle(),
        async |_: Call, (): &mut (), _: u32| -> Result { Ok(()) },
    );
    let place = event_loop.block_on(async |_| engine.reserve().await);
    let place = place.unwrap();
    let sending = pin!(engine.send(1));
    let sent = output_after(sending, move || drop(place));
    assert!(sent.is_ok(), "there was room");
}

#[test]
fn who_waits_for_the_end_of_an_engine_hears_of_it_when_the_waker_it_gives_up_drops_the_last_place()
{
    let mut event_loop = EventLoop::new().unwrap();
    let keyed = Keyed::with_state(|_: &u32| ()).serve(&event_loop.handle(), take);
    let place = event_loop.block_on(async |_| keyed.reserve(1).await);
    let place = place.unwrap();
    let finishing = pin!(keyed.finish());
    assert!(output_after(finishing, move || drop(place)).is_ok());

    let ordered = Ordered::with_state(()).serve(
        &event_loop.handle(),
        async |_: Call, (): &mut (), _: u32| -> Result { Ok(()) },
    );
    let place = event_loop.block_on(async |_| ordered.reserve().await);
    let place = place.unwrap();
    let finishing = pin!(ordered.finish());
    assert!(output_after(finishing, move || drop(place)).is_ok());
}

#[test]
fn who_waits_for_an_event_hears_of_one_emitted_by_the_waker_it_gives_up() {
    let mut event_loop = EventLoop::new().unwrap();
    let events = event_loop.block_on(async |co| -> Result<_> { Ok(co.events::<u32>(4)) });
    let mut events = events.unwrap();
    let emitter = events.emitter();
    let kept = emitter.clone();
    let next = pin!(events.next());
    let event = output_after(next, move || assert!(emitter.emit(7).is_ok()));
    assert_eq!(event.unwrap(), Some(7));
    drop(kept);
}

#[test]
fn both_ends_of_a_queue_hear_of_what_the_waker_they_give_up_does() {
    let event_loop = EventLoop::new().unwrap();
    let (sender, receiver) = queue(&event_loop.handle(), 1);
    let other = sender.clone();
    let receiving = pin!(receiver.recv());
    let value = output_after(receiving, move || assert!(other.try_send(1).is_ok()));
    assert_eq!(value.unwrap(), Some(1));

    let (sender, receiver) = queue(&event_loop.handle(), 1);
    assert!(sender.try_send(1).is_ok());
    let sending = pin!(sender.send(2));
    let receiver = Rc::new(receiver);
    let other = Rc::clone(&receiver);
    let taken = move || assert_eq!(other.try_recv().ok(), Some(1));
    assert!(output_after(sending, taken).is_ok());
    assert_eq!(receiver.try_recv().ok(), Some(2));
}

/// A task that is polled outside of its coroutine.
type Point = Pin<Box<dyn Future<Output = Result<u32>>>>;

#[test]
fn a_waker_that_resolves_and_parks_when_it_is_dropped_wakes_only_whom_it_resolves() {
    let mut event_loop = EventLoop::new().unwrap();
    let resolvers = Rc::new(RefCell::new(Vec::<Resolver<u32>>::new()));
    let mut points: Vec<Point> = Vec::new();
    event_loop
        .block_on(async |co| -> Result {
            for _ in 0..3 {
                let resolvers = Rc::clone(&resolvers);
                let point = co.task(move |done| resolvers.borrow_mut().push(done));
                points.push(Box::pin(point));
            }
            Ok(())
        })
        .unwrap();
    let [mut first, second, mut third]: [Point; 3] = points.try_into().ok().unwrap();
    let second = Rc::new(RefCell::new(second));
    let woken: [Arc<Counting>; 3] = Default::default();
    let [waker, waker_of_second, waker_of_third] =
        [0, 1, 2].map(|n| Waker::from(Arc::clone(&woken[n])));

    let acting = Waker::from(Arc::new(Acting));
    assert!(poll(first.as_mut(), &acting).is_pending());
    drop(acting);
    let resolver = resolvers.borrow_mut().pop().unwrap();
    let (parked, its_waker) = (Rc::clone(&second), waker_of_second.clone());
    AT_DROP.set(Some(Box::new(move || {
        // It takes the place in which the waker of the first was kept.
        assert!(poll(parked.borrow_mut().as_mut(), &its_waker).is_pending());
        resolver.resolve(1);
    })));
    let polled = poll(first.as_mut(), &waker);
    assert!(polled.is_ready() || woken[0].count() == 1, "it hears of it");
    assert_eq!(woken[1].count(), 0, "nothing came for the second");

    assert!(poll(third.as_mut(), &waker_of_third).is_pending());
    assert!(poll(second.borrow_mut().as_mut(), &waker_of_second).is_pending());
    let last = resolvers.borrow_mut().pop().unwrap();
    last.resolve(3);
    assert_eq!(
        woken.map(|waker| waker.count())[1..],
        [0, 1],
        "the third is woken"
    );
    assert!(matches!(
        poll(third.as_mut(), &waker_of_third),
        Poll::Ready(Ok(3))
    ));
}
