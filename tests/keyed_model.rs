//! The keyed engine against a model that is a map of queues: random schedules of messages, ends, cancels, holds, limits and closes.
//!
//! 1. The model knows nothing of coroutines: after each step of the schedule the loop runs until nothing moves, and both must agree.
//! 2. Order per key, nothing lost, nothing twice, and the bounds are checked in every step, not only at the end.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use proptest::prelude::*;
use yieldpoint::{
    Budget, Call, Error, EventLoop, Keyed, ManualClock, Resolver, Result,
    ordered::{AfterKeyFailure, DropReason, Overflow},
};

/// How a call ends once it is told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Well,
    Error,
    Panic,
    Leak,
}

/// One step of a schedule. Keys are few, so that they meet.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A message for a key, refused if there is no room.
    TrySend(u8, u8),
    /// A message for a key from a coroutine that waits for room.
    Send(u8, u8),
    /// The call that a key runs ends, if it runs one.
    End(u8, End),
    /// The call that a key runs is cancelled.
    Cancel(u8),
    Resume(u8),
    Restart(u8),
    Forget(u8),
    Close,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![4 => Just(End::Well), 1 => Just(End::Error), 1 => Just(End::Panic), 1 => Just(End::Leak)]
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..4u8;
    prop_oneof![
        12 => (key(), 1..4u8).prop_map(|(key, size)| Step::TrySend(key, size)),
        6 => (key(), 1..4u8).prop_map(|(key, size)| Step::Send(key, size)),
        14 => (key(), end()).prop_map(|(key, end)| Step::End(key, end)),
        2 => key().prop_map(Step::Cancel),
        2 => key().prop_map(Step::Resume),
        1 => key().prop_map(Step::Restart),
        1 => key().prop_map(Step::Forget),
        1 => Just(Step::Close),
    ]
}

/// How an engine is built.
#[derive(Clone, Copy, Debug)]
struct Rules {
    per_key: usize,
    total: usize,
    bytes: usize,
    concurrency: usize,
    overflow: Overflow,
    after: AfterKeyFailure,
}

fn rules() -> impl Strategy<Value = Rules> {
    let overflow = prop_oneof![
        3 => Just(Overflow::Wait),
        1 => Just(Overflow::Refuse),
        1 => Just(Overflow::DropOldest),
        1 => Just(Overflow::DropNewest),
        1 => Just(Overflow::KeepLast),
    ];
    let after = prop_oneof![
        2 => Just(AfterKeyFailure::Continue),
        1 => Just(AfterKeyFailure::ParkKey),
        1 => Just(AfterKeyFailure::StopKey),
    ];
    (1..4usize, 2..8usize, 4..16usize, 1..5usize, overflow, after).prop_map(
        |(per_key, total, bytes, concurrency, overflow, after)| Rules {
            per_key,
            total,
            bytes,
            concurrency,
            overflow,
            after,
        },
    )
}

/// A message: its number, and its size.
type Message = (u32, u8);

/// What can happen to a message, by its number and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Its call began; how many calls the key's state had seen.
    Began(u8, u32, u32),
    /// Its call ended well.
    Ended(u8, u32),
    /// It was dropped.
    Dropped(u8, u32),
    /// It was given back, or its sender was told that it would not be taken.
    Refused(u32),
}

/// One key of the model.
#[derive(Default)]
struct ModelKey {
    queue: VecDeque<Message>,
    line: VecDeque<Message>,
    running: Option<u32>,
    held: Option<AfterKeyFailure>,
    calls: u32,
    /// Whether the state goes when the running call ends.
    forgotten: bool,
}

/// What an engine is to do, said as simply as can be.
struct Model {
    rules: Rules,
    keys: BTreeMap<u8, ModelKey>,
    /// Keys that wait for their turn.
    ring: VecDeque<u8>,
    /// Keys in whose line the first waits for room of all.
    room: VecDeque<u8>,
    closed: bool,
    events: Vec<Event>,
}

impl Model {
    fn new(rules: Rules) -> Self {
        Model {
            rules,
            keys: BTreeMap::new(),
            ring: VecDeque::new(),
            room: VecDeque::new(),
            closed: false,
            events: vec![],
        }
    }

    fn key(&mut self, key: u8) -> &mut ModelKey {
        self.keys.entry(key).or_default()
    }

    fn queued(&self) -> usize {
        self.keys.values().map(|key| key.queue.len()).sum()
    }

    fn bytes(&self) -> usize {
        let queued = self.keys.values().flat_map(|key| &key.queue);
        queued.map(|(_, size)| usize::from(*size)).sum()
    }

    fn fits(&self, size: u8) -> bool {
        self.queued() < self.rules.total && self.bytes() + usize::from(size) <= self.rules.bytes
    }

    fn running(&self) -> usize {
        self.keys
            .values()
            .filter(|key| key.running.is_some())
            .count()
    }

    /// A message arrives; `waits` says whether its sender does.
    fn arrive(&mut self, key: u8, message: Message, waits: bool) {
        let rules = self.rules;
        let state = self.key(key);
        if state.held == Some(AfterKeyFailure::StopKey) || self.closed {
            return self.events.push(Event::Refused(message.0));
        }
        let state = &self.keys[&key];
        let full = !state.line.is_empty() || state.queue.len() >= rules.per_key;
        let none = !self.room.is_empty() || !self.fits(message.1);
        if !full && !none {
            return self.push(key, message);
        }
        match rules.overflow {
            Overflow::Wait if waits => {
                self.key(key).line.push_back(message);
                self.note_room(key);
            }
            Overflow::DropNewest if full => self.events.push(Event::Dropped(key, message.0)),
            Overflow::DropOldest | Overflow::KeepLast if full => {
                let queue = &state.queue;
                let last = rules.overflow == Overflow::KeepLast;
                let count = if last { queue.len() } else { 1 };
                let freed: usize = queue
                    .iter()
                    .take(count)
                    .map(|(_, size)| usize::from(*size))
                    .sum();
                if self.bytes() - freed + usize::from(message.1) > rules.bytes {
                    return self.events.push(Event::Refused(message.0));
                }
                let dropped: Vec<Message> = self.key(key).queue.drain(..count).collect();
                self.events
                    .extend(dropped.iter().map(|(n, _)| Event::Dropped(key, *n)));
                self.push(key, message);
            }
            _ => self.events.push(Event::Refused(message.0)),
        }
    }

    fn push(&mut self, key: u8, message: Message) {
        self.key(key).queue.push_back(message);
        self.note_turn(key);
    }

    fn note_turn(&mut self, key: u8) {
        let state = self.key(key);
        if !state.queue.is_empty()
            && state.running.is_none()
            && state.held.is_none()
            && !self.ring.contains(&key)
        {
            self.ring.push_back(key);
        }
    }

    fn note_room(&mut self, key: u8) {
        let per_key = self.rules.per_key;
        let state = self.key(key);
        if !state.line.is_empty() && state.queue.len() < per_key && !self.room.contains(&key) {
            self.room.push_back(key);
        }
    }

    /// Lets in who waits for room.
    fn admit(&mut self) {
        while let Some(&key) = self.room.front() {
            let per_key = self.rules.per_key;
            let state = &self.keys[&key];
            let first = state
                .line
                .front()
                .copied()
                .filter(|_| state.queue.len() < per_key);
            let Some(message) = first else {
                self.room.pop_front();
                continue;
            };
            if !self.fits(message.1) {
                return;
            }
            self.room.pop_front();
            self.key(key).line.pop_front();
            self.push(key, message);
            self.note_room(key);
        }
    }

    /// Begins calls until no more can.
    fn run(&mut self) {
        loop {
            self.admit();
            if self.running() >= self.rules.concurrency {
                return;
            }
            let Some(key) = self.ring.pop_front() else {
                return;
            };
            let state = self.key(key);
            if state.running.is_some() || state.held.is_some() {
                continue;
            }
            let Some((n, _)) = state.queue.pop_front() else {
                continue;
            };
            state.running = Some(n);
            let calls = state.calls;
            state.calls += 1;
            self.events.push(Event::Began(key, n, calls));
            self.note_room(key);
        }
    }

    /// The call of a key ends.
    fn end(&mut self, key: u8, well: bool) {
        let after = self.rules.after;
        let Some(n) = self.key(key).running.take() else {
            return;
        };
        if well {
            self.events.push(Event::Ended(key, n));
        } else if after != AfterKeyFailure::Continue {
            self.key(key).held = Some(after);
            if after == AfterKeyFailure::StopKey {
                self.clear(key);
            }
        }
        let state = self.key(key);
        if std::mem::take(&mut state.forgotten) {
            state.calls = 0;
        }
        self.note_turn(key);
    }

    /// Everything queued for a key is dropped, and who waits is turned away.
    fn clear(&mut self, key: u8) {
        self.ring.retain(|ready| *ready != key);
        self.room.retain(|ready| *ready != key);
        let state = self.key(key);
        let (queue, line) = (
            std::mem::take(&mut state.queue),
            std::mem::take(&mut state.line),
        );
        self.events
            .extend(queue.iter().map(|(n, _)| Event::Dropped(key, *n)));
        self.events
            .extend(line.iter().map(|(n, _)| Event::Refused(*n)));
    }

    fn release(&mut self, key: u8, anew: bool) {
        let state = self.key(key);
        if state.held.take().is_some() {
            if anew && state.running.is_none() {
                state.calls = 0;
            }
            self.note_turn(key);
        }
    }

    fn forget(&mut self, key: u8) {
        self.clear(key);
        let state = self.key(key);
        state.held = None;
        if state.running.is_some() {
            state.forgotten = true;
        } else {
            state.calls = 0;
        }
        self.note_turn(key);
    }
}

/// What the engine under test has told.
type Log = Rc<RefCell<Vec<Event>>>;

/// The calls that run, by key, and how each is told to end.
type Running = Rc<RefCell<BTreeMap<u8, Resolver<End>>>>;

/// The engine under test.
struct Subject {
    event_loop: EventLoop,
    engine: Keyed<u8, u32, Message>,
    log: Log,
    running: Running,
}

impl Subject {
    fn new(rules: Rules) -> Self {
        let event_loop = EventLoop::builder()
            .clock(&ManualClock::auto())
            .on_error(|_| {})
            .build()
            .expect("a loop");
        let (log, running) = (Log::default(), Running::default());
        let (told, dropped, calls) = (Rc::clone(&log), Rc::clone(&log), Rc::clone(&running));
        let engine = Keyed::with_state(|_: &u8| 0)
            .per_key(rules.per_key)
            .total(rules.total)
            .bytes(rules.bytes, |(_, size): &Message| usize::from(*size))
            .concurrency(rules.concurrency)
            .overflow(rules.overflow)
            .after_failure(rules.after)
            .on_drop(move |key, (n, _), _: DropReason| {
                dropped.borrow_mut().push(Event::Dropped(*key, n));
            })
            .serve(
                &event_loop.handle(),
                async move |call: Call<u8>, count: &mut u32, (n, _): Message| -> Result {
                    let key = *call.key();
                    told.borrow_mut().push(Event::Began(key, n, *count));
                    *count += 1;
                    let end = call.task(|done| {
                        let before = calls.borrow_mut().insert(key, done);
                        assert!(before.is_none(), "two calls of one key at a time");
                    });
                    match end.await {
                        Ok(End::Well) => told.borrow_mut().push(Event::Ended(key, n)),
                        Ok(End::Error) => return Err(Error::other("as told")),
                        Ok(End::Panic) => panic!("as told"),
                        Ok(End::Leak) => drop(call.callback::<()>("left")?),
                        Err(cancel) => {
                            calls.borrow_mut().remove(&key);
                            return Err(cancel);
                        }
                    }
                    Ok(())
                },
            );
        Subject {
            event_loop,
            engine,
            log,
            running,
        }
    }

    /// Runs until nothing moves.
    fn settle(&mut self) {
        for _ in 0..20 {
            let _ = self.event_loop.turn(Budget::steps(1000)).expect("a turn");
        }
    }

    fn take(&mut self, step: Step, n: u32) {
        match step {
            Step::TrySend(key, size) => {
                if let Err(refused) = self.engine.try_send(key, (n, size)) {
                    assert_eq!(refused.into_message(), (n, size));
                    self.log.borrow_mut().push(Event::Refused(n));
                }
            }
            Step::Send(key, size) => {
                let (sending, log) = (self.engine.send(key, (n, size)), Rc::clone(&self.log));
                let _runs_on = self.event_loop.handle().spawn(async move |_| -> Result {
                    if sending.await.is_err() {
                        log.borrow_mut().push(Event::Refused(n));
                    }
                    Ok(())
                });
            }
            Step::End(key, end) => {
                let done = self.running.borrow_mut().remove(&key);
                if let Some(done) = done {
                    done.resolve(end);
                }
            }
            Step::Cancel(key) => {
                self.engine.cancel_key(&key, "as told");
            }
            Step::Resume(key) => {
                self.engine.resume_key(&key);
            }
            Step::Restart(key) => {
                self.engine.restart_key(&key);
            }
            Step::Forget(key) => {
                self.engine.forget_key(&key);
            }
            Step::Close => self.engine.close(),
        }
        self.settle();
    }
}

/// Takes a step in the model.
fn take(model: &mut Model, step: Step, n: u32) {
    match step {
        Step::TrySend(key, size) => model.arrive(key, (n, size), false),
        Step::Send(key, size) => model.arrive(key, (n, size), true),
        Step::End(key, end) => model.end(key, end == End::Well),
        Step::Cancel(key) => model.end(key, false),
        Step::Resume(key) => model.release(key, false),
        Step::Restart(key) => model.release(key, true),
        Step::Forget(key) => model.forget(key),
        Step::Close => model.closed = true,
    }
    model.run();
}

/// What happened in a step; within a step, only the order within a key counts.
fn by_key(events: &mut Vec<Event>) -> Vec<Event> {
    let mut events = std::mem::take(events);
    events.sort_by_key(|event| match event {
        Event::Began(key, ..) | Event::Ended(key, _) | Event::Dropped(key, _) => (*key, 0),
        Event::Refused(n) => (u8::MAX, *n),
    });
    events
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_a_map_of_queues_does(rules in rules(), steps in prop::collection::vec(step(), 1..60)) {
        let (mut model, mut subject) = (Model::new(rules), Subject::new(rules));
        let mut fates = BTreeMap::<u32, u32>::new();
        for (n, step) in (0..).zip(&steps) {
            take(&mut model, *step, n);
            subject.take(*step, n);
            let told = by_key(&mut subject.log.borrow_mut());
            for event in &told {
                if let Event::Began(_, n, _) | Event::Dropped(_, n) | Event::Refused(n) = event {
                    *fates.entry(*n).or_default() += 1;
                }
            }
            prop_assert_eq!(told, by_key(&mut model.events), "in step {} of {:?}", n, steps);
            let stats = subject.engine.stats();
            prop_assert_eq!(stats.queued, model.queued());
            prop_assert_eq!(stats.running, model.running());
            prop_assert_eq!(stats.waiting, model.keys.values().map(|key| key.line.len()).sum::<usize>());
            prop_assert!(stats.queued <= rules.total && stats.running <= rules.concurrency);
        }
        // Everything that is held goes on, every call ends, and then every message has met exactly one fate.
        for key in 0..4 {
            subject.take(Step::Resume(key), 0);
        }
        for _ in 0..=steps.len() {
            for key in 0..4 {
                subject.take(Step::End(key, End::Well), 0);
            }
        }
        for event in subject.log.borrow().iter() {
            if let Event::Began(_, n, _) | Event::Dropped(_, n) | Event::Refused(n) = event {
                *fates.entry(*n).or_default() += 1;
            }
        }
        let sent = (0..).zip(&steps).filter(|(_, step)| matches!(step, Step::TrySend(..) | Step::Send(..)));
        let expected: BTreeMap<u32, u32> = sent.map(|(n, _)| (n, 1)).collect();
        prop_assert_eq!(fates, expected);
        prop_assert_eq!(subject.engine.stats().queued, 0);
    }
}
