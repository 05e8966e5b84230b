//! What the hooks share: what they may use, what they are to do next, and the books in which everything that must happen once is entered.
//!
//! It is reached through the thread, since a waker can hold nothing of the thread's. It is borrowed for a look only, never while a hook might run.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::future::{Future, poll_fn};
use std::panic;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use yieldpoint::sync::{QueueReceiver, QueueSender, queue};
use yieldpoint::{Co, CoroutineId, EventLoop, Handle, Incident, Resolver, Result, TimerId, ms};

use super::body::body;
use super::hooks::{Ended, Join, Value, callback, hooked_waker};
use super::{Deed, Step};

/// How many coroutines a schedule spawns at most.
const MOST: usize = 60;

/// So deep may hooks run within hooks.
const DEEP: usize = 12;

/// A point that somebody has begun to wait for.
pub(super) type Point = Pin<Box<dyn Future<Output = ()>>>;

/// See the module's page.
pub(super) struct World {
    handle: Handle,
    bodies: Vec<Vec<Step>>,
    deeds: RefCell<VecDeque<Deed>>,
    /// How many hooks run, one in another.
    depth: Cell<usize>,
    /// Whether the error hook is one of them. The incidents that it brings about itself are printed, so the deeds that would are left undone.
    hearing: Cell<bool>,
    books: RefCell<Books>,
    // What anybody may use.
    handles: RefCell<Vec<Join>>,
    points: RefCell<Vec<Point>>,
    resolvers: RefCell<Vec<Resolver<Value>>>,
    timers: RefCell<Vec<TimerId>>,
    coroutines: RefCell<Vec<CoroutineId>>,
    wakers: RefCell<Vec<Waker>>,
    queue: (QueueSender<Value>, QueueReceiver<Value>),
}

/// What must happen once, and how often it has.
#[derive(Default)]
struct Books {
    /// By the number of the value: how often it was dropped.
    values: Vec<usize>,
    /// By the number of the coroutine: how often its body was dropped.
    ends: Vec<usize>,
    /// By the number of the failure, which is an error or a panic: how often somebody was told, and whose it is if it is a coroutine's.
    failures: Vec<(usize, Option<CoroutineId>)>,
    /// Whose failure need not be told: it was asked to end, and this may be that end in other words.
    excused: HashSet<CoroutineId>,
}

thread_local! {
    static WORLD: RefCell<Weak<World>> = const { RefCell::new(Weak::new()) };
    static STORY: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// Panics that nobody meant: the loop contains them where the user's code runs, so they must be seen here.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// The world, while there is one.
pub(super) fn world() -> Option<Rc<World>> {
    WORLD.with_borrow(Weak::upgrade)
}

fn tell(line: String) {
    STORY.with_borrow_mut(|story| story.push(line));
}

/// Takes one of these out.
fn pick<T>(among: &RefCell<Vec<T>>, which: u8) -> Option<T> {
    let mut among = among.borrow_mut();
    let count = among.len();
    (count > 0).then(|| among.swap_remove(usize::from(which) % count))
}

/// Code of the user runs here: it does what is next in the schedule.
pub(super) fn hook(place: &str) {
    next_deed(place);
}

/// The same where the loop contains a panic.
pub(super) fn contained_hook(place: &str) {
    if matches!(next_deed(place), Some(Deed::Panic))
        && !std::thread::panicking()
        && let Some(world) = world().filter(|world| !world.hearing.get())
    {
        let failure = world.new_failure(None);
        drop(world);
        panic!("{failure}");
    }
}

/// Does the next deed, and tells which it was. After a panic that nobody meant there is none: a second one in the midst of it would abort.
fn next_deed(place: &str) -> Option<Deed> {
    let world = world()?;
    let failed = PANICS.with_borrow(|panics| !panics.is_empty());
    if failed || world.depth.get() == DEEP {
        return None;
    }
    let deed = world.deeds.borrow_mut().pop_front()?;
    let indent = "  ".repeat(world.depth.get());
    tell(format!("{indent}{place}: {deed:?}"));
    world.depth.set(world.depth.get() + 1);
    world.act(deed);
    world.depth.set(world.depth.get() - 1);
    Some(deed)
}

/// The error hook.
pub(super) fn hear(incident: &Incident) {
    let Some(world) = world() else { return };
    world.note_told(&incident.to_string());
    world.hearing.set(true);
    hook("in the error hook");
    world.hearing.set(false);
}

impl World {
    /// A world round this loop, with as many coroutines as there are bodies.
    pub(super) fn begin(
        event_loop: &EventLoop,
        bodies: Vec<Vec<Step>>,
        deeds: Vec<Deed>,
    ) -> Rc<World> {
        let handle = event_loop.handle();
        let world = Rc::new(World {
            queue: queue(&handle, 3),
            handle,
            bodies,
            deeds: RefCell::new(deeds.into()),
            depth: Cell::new(0),
            hearing: Cell::new(false),
            books: RefCell::default(),
            handles: RefCell::default(),
            points: RefCell::default(),
            resolvers: RefCell::default(),
            timers: RefCell::default(),
            coroutines: RefCell::default(),
            wakers: RefCell::default(),
        });
        drop((STORY.take(), PANICS.take()));
        WORLD.set(Rc::downgrade(&world));
        for _ in &world.bodies {
            world.spawn(false);
        }
        world
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Gives the hooks more to do.
    pub(super) fn refill(&self, deeds: Vec<Deed>) {
        *self.deeds.borrow_mut() = deeds.into();
    }

    /// Drops all that anybody may use. Hooks may bring more.
    pub(super) fn let_go(&self) {
        loop {
            let handles = self.handles.take();
            let points = self.points.take();
            let resolvers = self.resolvers.take();
            let wakers = self.wakers.take();
            let none = handles.is_empty() && points.is_empty() && resolvers.is_empty();
            if none && wakers.is_empty() {
                break;
            }
            drop((handles, points, resolvers, wakers));
        }
        while self.queue.1.try_recv().is_ok() {}
    }

    /// Cancels every coroutine, and leaves the hooks nothing more to do.
    pub(super) fn cancel_all(&self) {
        self.deeds.borrow_mut().clear();
        let coroutines = self.coroutines.borrow().clone();
        for id in coroutines {
            self.cancel(id);
        }
        self.let_go();
    }

    /// Ends the world, and gives what is wrong in its books, a line each.
    pub(super) fn end(self: &Rc<Self>) -> String {
        self.let_go();
        let books = self.books.take();
        let mut complaints = PANICS.take();
        let others = Rc::strong_count(self) - 1;
        if others > 0 {
            complaints.push(format!("{others} still hold the world"));
        }
        let mut once = |what: &str, counts: &mut dyn Iterator<Item = usize>| {
            for (number, count) in counts.enumerate().filter(|(_, count)| *count != 1) {
                complaints.push(format!("{what} {number}: {count} times"));
            }
        };
        once("the drop of value", &mut books.values.into_iter());
        once("the end of coroutine", &mut books.ends.into_iter());
        let told = books.failures.iter().map(|(told, of)| match of {
            Some(of) if books.excused.contains(of) => told.clamp(&1, &2),
            _ => told,
        });
        once("the report of failure", &mut told.copied());
        complaints.join("\n")
    }

    /// What the hooks did.
    pub(super) fn story() -> String {
        format!("what the hooks did:\n  {}", STORY.take().join("\n  "))
    }

    /// What a coroutine does.
    pub(super) fn body(&self, number: usize) -> Vec<Step> {
        self.bodies[number % self.bodies.len()].clone()
    }

    pub(super) fn leave_resolver(&self, resolver: Resolver<Value>) {
        self.resolvers.borrow_mut().push(resolver);
    }

    pub(super) fn leave_waker(&self, waker: Waker) {
        self.wakers.borrow_mut().push(waker);
    }

    pub(super) fn leave_point(&self, point: Point) {
        self.points.borrow_mut().push(point);
    }

    pub(super) fn take_point(&self, which: u8) -> Option<Point> {
        pick(&self.points, which)
    }

    pub(super) fn keep(&self, handle: Join) {
        self.handles.borrow_mut().push(handle);
    }

    pub(super) fn take_handle(&self, which: u8) -> Option<Join> {
        pick(&self.handles, which)
    }

    pub(super) fn receiver(&self) -> QueueReceiver<Value> {
        self.queue.1.clone()
    }

    pub(super) fn is_hearing(&self) -> bool {
        self.hearing.get()
    }

    /// Enters a new value in the books.
    pub(super) fn new_value(&self) -> usize {
        let values = &mut self.books.borrow_mut().values;
        values.push(0);
        values.len() - 1
    }

    /// A value was dropped. Once the books are closed there is no page for it.
    pub(super) fn note_drop(&self, value: usize) {
        if let Some(count) = self.books.borrow_mut().values.get_mut(value) {
            *count += 1;
        }
    }

    /// A body was dropped.
    pub(super) fn note_end(&self, coroutine: usize) {
        if let Some(count) = self.books.borrow_mut().ends.get_mut(coroutine) {
            *count += 1;
        }
    }

    fn act(self: &Rc<Self>, deed: Deed) {
        let handle = &self.handle;
        match deed {
            Deed::Spawn => self.spawn(false),
            Deed::SpawnCancelledOnDrop => self.spawn(true),
            Deed::Call | Deed::Later(_) if self.hearing.get() && !handle.is_alive() => {}
            Deed::Call => handle.call_soon(callback()),
            Deed::Later(after) => {
                let timer = handle.call_later(ms(after.into()), callback());
                self.timers.borrow_mut().push(timer);
            }
            Deed::Disarm(which) => {
                pick(&self.timers, which).map(|timer| handle.cancel_timer(timer));
            }
            Deed::Cancel(which) => {
                let id = self.coroutine(which);
                if let Some(id) = id {
                    self.cancel(id);
                }
            }
            Deed::Abort(which) => {
                let id = self.coroutine(which);
                id.map(|id| handle.abort(id));
            }
            Deed::Resolve(which) => {
                let resolver = pick(&self.resolvers, which);
                if let Some(resolver) = resolver {
                    resolver.resolve(Value::new());
                }
            }
            Deed::DropResolver(which) => drop(pick(&self.resolvers, which)),
            Deed::DropHandle(which) => drop(pick(&self.handles, which)),
            Deed::DropPoint(which) => drop(pick(&self.points, which)),
            Deed::PollPoint(which) => {
                let waker = hooked_waker();
                self.poll_point(which, &mut Context::from_waker(&waker));
            }
            Deed::PollElsewhere(which) => self.poll_elsewhere(which),
            Deed::Wake(which) => {
                let waker = pick(&self.wakers, which);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Deed::DropWaker(which) => drop(pick(&self.wakers, which)),
            Deed::Send => drop(self.queue.0.try_send(Value::new())),
            Deed::Receive => drop(self.queue.1.try_recv()),
            Deed::Look => drop(handle.snapshot().to_string()),
            Deed::Stop => handle.stop(),
            // Left to the hook, if it is one that may.
            Deed::Panic => {}
        }
    }

    /// The id of a coroutine, which may have ended.
    fn coroutine(&self, which: u8) -> Option<CoroutineId> {
        let coroutines = self.coroutines.borrow();
        let count = coroutines.len();
        (count > 0).then(|| coroutines[usize::from(which) % count])
    }

    fn cancel(&self, id: CoroutineId) {
        if self.handle.cancel(id, "as told") {
            self.excuse(id);
        }
    }

    /// Polls a point, and keeps it if it is not over.
    fn poll_point(&self, which: u8, cx: &mut Context<'_>) {
        if let Some(mut point) = pick(&self.points, which)
            && point.as_mut().poll(cx).is_pending()
        {
            self.points.borrow_mut().push(point);
        }
    }

    /// Polls a point in a coroutine of another loop, which is gone afterwards.
    fn poll_elsewhere(self: &Rc<Self>, which: u8) {
        let mut other = EventLoop::new().expect("a loop");
        let done = other.block_on(async |co| -> Result {
            poll_fn(|cx| {
                self.wakers.borrow_mut().push(cx.waker().clone());
                self.poll_point(which, cx);
                Poll::Ready(())
            })
            .await;
            hook("in another loop");
            co.yield_now().await
        });
        done.expect("nobody cancels it");
    }

    fn spawn(self: &Rc<Self>, cancelled_on_drop: bool) {
        let number = self.books.borrow().ends.len();
        if number == MOST {
            return;
        }
        self.books.borrow_mut().ends.push(0);
        let (ended, value) = (Ended(number), Value::new());
        let join = self.handle.spawn(async move |co: Co| {
            let (_ended, _value) = (ended, value);
            body(&co, number).await
        });
        let id = join.id();
        self.coroutines.borrow_mut().push(id);
        let join = if cancelled_on_drop {
            self.excuse(id);
            join.cancel_on_drop()
        } else {
            join
        };
        self.keep(Join(Some(join)));
    }

    /// The failure of this coroutine need not be told.
    fn excuse(&self, id: CoroutineId) {
        self.books.borrow_mut().excused.insert(id);
    }

    /// A failure of this coroutine, to be told somebody once. It is named in its text.
    pub(super) fn new_failure(&self, coroutine: Option<CoroutineId>) -> String {
        let failures = &mut self.books.borrow_mut().failures;
        let number = failures.len();
        failures.push((0, coroutine));
        format!("failure {number}!")
    }

    /// Somebody was told this. It may be of a failure.
    pub(super) fn note_told(&self, text: &str) {
        let failure = text.split_once("failure ").and_then(|(_, rest)| {
            let (number, _) = rest.split_once('!')?;
            number.parse::<usize>().ok()
        });
        if let Some(number) = failure {
            self.books.borrow_mut().failures[number].0 += 1;
        }
    }
}

/// Keeps panics that are meant quiet, and remembers the others.
pub(super) fn remember_panics() {
    panic::set_hook(Box::new(|panic| {
        let text = panic.to_string();
        if !text.contains("failure ") {
            PANICS.with_borrow_mut(|panics| panics.push(text));
        }
    }));
}

/// The panics that nobody meant, a line each.
pub(super) fn panics() -> String {
    PANICS.take().join("\n")
}
