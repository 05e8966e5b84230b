//! The loop under test, with bodies and callbacks that do what the schedule says and note what happens to them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Instant;

use futures_util::future::{self, select};
use yieldpoint::{
    Activity, Budget, Co, CoroutineId, Error, ErrorKind, EventLoop, Handle, Incident, JoinHandle,
    ManualClock, Resolver, Result, Snapshot, TimerId, ms,
};

use super::model::pick;
use super::{Deed, End, Event, Got, SLOTS, Schedule, Step, View};

/// What happened, in order, and the numbers of the coroutines.
#[derive(Default)]
struct Trace {
    events: RefCell<Vec<Event>>,
    numbers: RefCell<HashMap<CoroutineId, usize>>,
}

impl Trace {
    fn note(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }

    /// The number of a coroutine.
    fn number(&self, id: CoroutineId) -> usize {
        self.numbers.borrow()[&id]
    }

    /// Notes what the error hook hears.
    fn note_incident(&self, incident: &Incident) {
        self.note(match incident {
            Incident::CancelSwallowed { coroutine, .. } => {
                Event::Swallowed(self.number(coroutine.id()))
            }
            Incident::Untaken { coroutine, .. } => Event::Untaken(self.number(coroutine.id())),
            other => panic!("{other}"),
        });
    }
}

/// What bodies, callbacks and the host share.
struct World {
    schedule: Rc<Schedule>,
    handle: Handle,
    trace: Rc<Trace>,
    ids: RefCell<Vec<CoroutineId>>,
    timers: RefCell<Vec<TimerId>>,
    slots: RefCell<Vec<Option<Resolver<()>>>>,
    /// The wakers that were left, each with what tells that it was woken.
    wakers: RefCell<Vec<(Waker, Rc<Cell<bool>>)>>,
}

/// The loop, and the host's hand on its clock.
pub(super) struct Subject {
    event_loop: EventLoop,
    clock: ManualClock,
    began: Instant,
    world: Rc<World>,
}

impl Subject {
    pub(super) fn new(schedule: Rc<Schedule>) -> Self {
        let (clock, trace) = (ManualClock::new(), Rc::<Trace>::default());
        let heard = Rc::clone(&trace);
        let event_loop = EventLoop::builder()
            .clock(&clock)
            .on_error(move |incident| heard.note_incident(incident))
            .build()
            .expect("a loop");
        let handle = event_loop.handle();
        let world = World {
            schedule,
            handle: handle.clone(),
            trace,
            ids: RefCell::default(),
            timers: RefCell::default(),
            slots: RefCell::new((0..SLOTS).map(|_| None).collect()),
            wakers: RefCell::default(),
        };
        Subject {
            event_loop,
            clock,
            began: handle.now(),
            world: Rc::new(world),
        }
    }

    /// What happened since this was last asked.
    pub(super) fn take_trace(&mut self) -> Vec<Event> {
        self.world.trace.events.take()
    }

    pub(super) fn pass(&mut self, by: u8) {
        self.clock.advance(ms(by.into()));
    }

    pub(super) fn host(&mut self, deed: Deed) {
        drop(act(&self.world, deed));
    }

    pub(super) fn turn(&mut self, most: usize) -> View {
        let report = self.event_loop.turn(Budget::steps(most)).expect("a turn");
        let snapshot = self.event_loop.snapshot();
        let doing = snapshot.coroutines.iter().map(|coroutine| {
            let doing = match coroutine.activity {
                Activity::NotStarted => "not started",
                Activity::Ready => "ready",
                Activity::Parked {
                    on, at: Some(_), ..
                } => on,
                Activity::Parked { at: None, .. } => "foreign",
                ref other => panic!("{other} between two turns"),
            };
            (self.world.trace.number(coroutine.label.id()), doing)
        });
        let since = |deadline: Instant| {
            let after = (deadline - self.began).as_millis();
            u64::try_from(after).expect("a short schedule")
        };
        View {
            steps: report.steps,
            work_left: report.work_left,
            next_deadline: report.next_deadline.map(since),
            stuck: report.stuck,
            ready: snapshot.ready,
            timers: snapshot.timers,
            doing: doing.collect(),
        }
    }

    /// Drops the loop, and gives what that brings about: first who ended, then what was told, each by number.
    pub(super) fn end(self) -> Vec<Event> {
        let Subject {
            event_loop, world, ..
        } = self;
        drop(event_loop);
        assert_eq!(world.handle.snapshot(), Snapshot::default());
        let mut rest = world.trace.events.take();
        rest.sort_by_key(|event| match event {
            Event::Ended(number) => (false, *number),
            Event::Untaken(number) => (true, *number),
            other => panic!("{other:?} without a loop"),
        });
        rest
    }
}

/// Notes that a body was dropped.
struct Ended(Rc<Trace>, usize);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.note(Event::Ended(self.1));
    }
}

/// Does something. Gives the handle of what it spawned.
fn act(world: &Rc<World>, deed: Deed) -> Option<JoinHandle> {
    let handle = &world.handle;
    match deed {
        Deed::Spawn => return spawn(world),
        Deed::Resolve(slot) => {
            let resolver = world.slots.borrow_mut()[usize::from(slot)].take();
            if let Some(resolver) = resolver {
                resolver.resolve(());
            }
        }
        Deed::Wake(which) => {
            let left = pick(&world.wakers.borrow(), which);
            if let Some((waker, rang)) = left {
                rang.set(true);
                waker.wake();
            }
        }
        Deed::Cancel(which) => {
            let id = pick(&world.ids.borrow(), which);
            id.map(|id| handle.cancel(id, "as told"));
        }
        Deed::Abort(which) => {
            let id = pick(&world.ids.borrow(), which);
            id.map(|id| handle.abort(id));
        }
        Deed::Call(callback) => handle.call_soon(calling(world, callback)),
        Deed::Later(callback, after) => {
            let timer = handle.call_later(ms(after.into()), calling(world, callback));
            world.timers.borrow_mut().push(timer);
        }
        Deed::Disarm(which) => {
            let timer = pick(&world.timers.borrow(), which);
            timer.map(|timer| handle.cancel_timer(timer));
        }
    }
    None
}

/// A callback that does what the schedule says.
fn calling(world: &Rc<World>, callback: u8) -> impl FnOnce() + 'static {
    let world = Rc::clone(world);
    move || {
        world.trace.note(Event::Called(callback));
        drop(act(&world, world.schedule.callback(callback)));
    }
}

/// Spawns the next coroutine.
fn spawn(world: &Rc<World>) -> Option<JoinHandle> {
    let number = world.ids.borrow().len();
    if number == world.schedule.most() {
        return None;
    }
    let ended = Ended(Rc::clone(&world.trace), number);
    let inside = Rc::clone(world);
    let join = world.handle.spawn(async move |co: Co| -> Result {
        let (_ended, world) = (ended, inside);
        let mut body = pin!(body(&co, &world, number));
        poll_fn(|cx| {
            world.trace.note(Event::Resumed(number));
            body.as_mut().poll(cx)
        })
        .await
    });
    world.ids.borrow_mut().push(join.id());
    world.trace.numbers.borrow_mut().insert(join.id(), number);
    Some(join)
}

/// What a coroutine does: its steps one after the other. A cancel ends it where it is told.
async fn body(co: &Co, world: &Rc<World>, number: usize) -> Result {
    let mut children: Vec<JoinHandle> = vec![];
    for step in world.schedule.body(number) {
        world.trace.note(Event::Began(number, *step));
        let got = match *step {
            Step::Yield => co.yield_now().await.map(|()| Got::Over)?,
            Step::WakeItself => wake_itself().await,
            Step::LeaveWaker => leave_waker(world).await,
            Step::Wait(slot) => answer(enter_slot(co, world, slot).await)?,
            Step::Sleep(after) => co.sleep(ms(after.into())).await.map(|()| Got::Over)?,
            Step::Either(slot, after) => {
                let wait = enter_slot(co, world, slot);
                match select(wait, co.sleep(ms(after.into()))).await {
                    future::Either::Left((answered, _)) => answer(answered)?,
                    future::Either::Right((slept, _)) => slept.map(|()| Got::Over)?,
                }
            }
            Step::Join => {
                let Some(child) = children.pop() else {
                    continue;
                };
                Got::Child(end(child.await)?)
            }
            Step::Do(deed) => {
                children.extend(act(world, deed).map(cancelled_when_dropped(world)));
                continue;
            }
            Step::Fail => return Err(Error::other("as told")),
        };
        world.trace.note(Event::Got(number, got));
    }
    Ok(())
}

/// Makes a child with an odd number one that is cancelled when its handle is dropped.
fn cancelled_when_dropped(world: &World) -> impl FnOnce(JoinHandle) -> JoinHandle + use<> {
    let cancels = world.ids.borrow().len().is_multiple_of(2);
    move |join| if cancels { join.cancel_on_drop() } else { join }
}

/// A `Task` whose resolver goes to a slot.
fn enter_slot(
    co: &Co,
    world: &Rc<World>,
    slot: u8,
) -> impl Future<Output = Result<()>> + Unpin + use<> {
    let world = Rc::clone(world);
    co.task(move |resolver| {
        let before = world.slots.borrow_mut()[usize::from(slot)].replace(resolver);
        drop(before);
    })
}

/// A foreign future that wakes itself and is over when it is polled again.
async fn wake_itself() -> Got {
    let mut polled = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(Got::Over);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// A foreign future that is over when somebody has woken the waker that it left.
async fn leave_waker(world: &World) -> Got {
    let (rang, mut left) = (Rc::new(Cell::new(false)), false);
    poll_fn(|cx| {
        if rang.get() {
            return Poll::Ready(Got::Over);
        }
        if !std::mem::replace(&mut left, true) {
            let mut wakers = world.wakers.borrow_mut();
            wakers.push((cx.waker().clone(), Rc::clone(&rang)));
        }
        Poll::Pending
    })
    .await
}

/// What a resolver has brought, unless it is one's own cancel.
fn answer(result: Result<()>) -> Result<Got> {
    match result {
        Ok(()) => Ok(Got::Value),
        Err(error) if error.is_cancelled() => Err(error),
        Err(_) => Ok(Got::Abandoned),
    }
}

/// How a child ended, unless it is one's own cancel.
fn end(result: Result<()>) -> Result<End> {
    match result {
        Ok(()) => Ok(End::Well),
        Err(error) if error.is_cancelled() => Err(error),
        Err(error) => Ok(match error.kind() {
            ErrorKind::CoroutineCancelled { .. } | ErrorKind::Aborted { .. } => End::Cut,
            _ => End::Failed,
        }),
    }
}
