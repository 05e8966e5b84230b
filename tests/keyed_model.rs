//! The keyed engine against a model that is a map of queues: random schedules of messages, ends, cancels, senders that give up, holds, limits and closes.
//!
//! 1. The model knows nothing of coroutines: after each step of the schedule the loop runs until nothing moves, and both must agree.
//! 2. Order per key, nothing lost, nothing twice, and the bounds are checked in every step, not only at the end.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use proptest::{prelude::*, test_runner::TestCaseResult};
use yieldpoint::{
    Budget, Call, Error, ErrorKind, EventLoop, JoinHandle, Keyed, ManualClock, Resolver, Result,
    ordered::{AfterKeyFailure, DropReason, KeyedPermit, KeyedRemote, Overflow},
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
    /// The same from one that waits for its result too.
    Ask(u8, u8),
    /// A message for a key from a remote: it is in nobody's hands while it waits for room.
    Remote(u8, u8),
    /// A place for a key, kept by a coroutine that waits for room.
    Reserve(u8),
    /// A message for a key at the place that was kept first.
    Use(u8, u8),
    /// The place of a key that was kept first is given back.
    GiveBack(u8),
    /// The first coroutine that waits for room in this key's line gives up.
    GiveUp(u8),
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

/// The key that is none: its messages run free.
const FREE: u8 = 4;

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..=FREE;
    prop_oneof![
        12 => (key(), 1..4u8).prop_map(|(key, size)| Step::TrySend(key, size)),
        6 => (key(), 1..4u8).prop_map(|(key, size)| Step::Send(key, size)),
        4 => (key(), 1..4u8).prop_map(|(key, size)| Step::Ask(key, size)),
        4 => (key(), 1..4u8).prop_map(|(key, size)| Step::Remote(key, size)),
        4 => (0..FREE).prop_map(Step::Reserve),
        2 => (0..FREE, 1..4u8).prop_map(|(key, size)| Step::Use(key, size)),
        2 => (0..FREE).prop_map(Step::GiveBack),
        4 => key().prop_map(Step::GiveUp),
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
    weighted: bool,
}

impl Rules {
    /// How many messages a key gets in a turn.
    fn weight(&self, key: u8) -> u32 {
        if self.weighted {
            1 + u32::from(key % 3)
        } else {
            1
        }
    }

    /// How many messages of a remote are in line or on their way at most.
    fn gate(&self) -> usize {
        self.total.min(16 * self.per_key)
    }
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
    let limits = (1..4usize, 2..8usize, 2..16usize, 1..5usize);
    (limits, overflow, after, any::<bool>()).prop_map(
        |((per_key, total, bytes, concurrency), overflow, after, weighted)| Rules {
            per_key,
            total,
            bytes,
            concurrency,
            overflow,
            after,
            weighted,
        },
    )
}

/// A message: its number, and its size.
type Message = (u32, u8);

/// What can happen to a message, by its number and key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// Its call began; how many calls the key's state had seen.
    Began(u8, u32, u32),
    /// Its call ended well.
    Ended(u8, u32),
    /// It was dropped, and why.
    Dropped(u8, u32, DropReason),
    /// It was given back, or its sender was told that it would not be taken.
    Refused(u32),
    /// Its sender was told how its call ended.
    Answered(u32, Answer),
    /// No message but a place: whether it was kept.
    Kept(u32, bool),
}

/// What somebody who asked was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// The value of the call.
    Value,
    /// The call's error.
    Error,
    /// That there was no call.
    Dropped,
}

/// A key of the model: each message that runs free is one of its own, by its number plus one.
type Key = (u8, u32);

/// The key of a message.
fn key_of(key: u8, n: u32) -> Key {
    (key, if key == FREE { n + 1 } else { 0 })
}

/// Who stands behind a message that arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sender {
    /// Somebody who takes it back.
    Tries,
    /// Somebody who waits.
    Waits,
    /// Somebody who waits for a place. His message is none, and counts nothing.
    Reserves,
    /// Nobody any more.
    Gone,
}

/// One key of the model.
#[derive(Default)]
struct ModelKey {
    queue: VecDeque<Message>,
    /// How many places are kept.
    kept: usize,
    /// Who waits for room, and whether nobody stands behind it.
    line: VecDeque<(Message, Sender)>,
    running: Option<u32>,
    held: Option<AfterKeyFailure>,
    calls: u32,
    /// How many more messages it gets in this turn.
    credit: u32,
    /// Whether the state goes when the running call ends.
    forgotten: bool,
}

impl ModelKey {
    /// How much of its room is taken.
    fn taken(&self) -> usize {
        self.queue.len() + self.kept
    }
}

/// What an engine is to do, said as simply as can be.
struct Model {
    rules: Rules,
    keys: BTreeMap<Key, ModelKey>,
    /// Keys that wait for their turn.
    ring: VecDeque<Key>,
    /// Keys in whose line the first waits for room of all.
    room: VecDeque<Key>,
    closed: bool,
    /// Messages whose sender waits for the result.
    asked: BTreeSet<u32>,
    /// Messages for kept places.
    used: BTreeSet<u32>,
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
            asked: BTreeSet::new(),
            used: BTreeSet::new(),
            events: vec![],
        }
    }

    fn key(&mut self, key: Key) -> &mut ModelKey {
        self.keys.entry(key).or_default()
    }

    fn queued(&self) -> usize {
        self.keys.values().map(|key| key.queue.len()).sum()
    }

    fn bytes(&self) -> usize {
        let queued = self.keys.values().flat_map(|key| &key.queue);
        queued.map(|(_, size)| usize::from(*size)).sum()
    }

    /// How much of the room of all is taken.
    fn taken(&self) -> usize {
        self.keys.values().map(ModelKey::taken).sum()
    }

    fn fits(&self, size: u8) -> bool {
        self.taken() < self.rules.total && self.bytes() + usize::from(size) <= self.rules.bytes
    }

    fn running(&self) -> usize {
        self.keys
            .values()
            .filter(|key| key.running.is_some())
            .count()
    }

    /// How many messages of the remote are in line.
    fn outside(&self) -> usize {
        let in_line = self.keys.values().flat_map(|key| &key.line);
        in_line
            .filter(|(_, sender)| *sender == Sender::Gone)
            .count()
    }

    /// A message comes to nothing.
    fn turn_away(&mut self, key: Key, message: Message, sender: Sender, why: DropReason) {
        match sender {
            Sender::Gone => self.drop(key, message, why),
            _ => self.refuse(message, sender),
        }
    }

    /// A message is given back, or a place not kept.
    fn refuse(&mut self, (n, _): Message, sender: Sender) {
        self.asked.remove(&n);
        self.events.push(match sender {
            Sender::Reserves => Event::Kept(n, false),
            _ => Event::Refused(n),
        });
    }

    /// A message is dropped.
    fn drop(&mut self, key: Key, (n, _): Message, why: DropReason) {
        self.events.push(Event::Dropped(key.0, n, why));
        self.answer(n, Answer::Dropped);
    }

    /// Who asked is told.
    fn answer(&mut self, n: u32, answer: Answer) {
        if self.asked.remove(&n) {
            self.events.push(Event::Answered(n, answer));
        }
    }

    /// A message arrives.
    fn arrive(&mut self, key: Key, message: Message, sender: Sender) {
        let rules = self.rules;
        let refused_at_the_gate = sender == Sender::Gone && self.outside() >= rules.gate();
        if self.closed || refused_at_the_gate {
            return self.refuse(message, sender);
        }
        let state = self.key(key);
        let is_stopped = state.held == Some(AfterKeyFailure::StopKey);
        let (has_line, drops) = (
            !state.line.is_empty(),
            !matches!(rules.overflow, Overflow::Wait | Overflow::Refuse),
        );
        // Where messages are dropped, only those of the remote wait, and only for room of all: nobody passes them.
        let full = if drops {
            !has_line && state.taken() >= rules.per_key
        } else {
            has_line || state.taken() >= rules.per_key
        };
        if is_stopped {
            return self.turn_away(key, message, sender, DropReason::Stopped);
        }
        if usize::from(message.1) > rules.bytes {
            return self.turn_away(key, message, sender, DropReason::Overflow);
        }
        let none = has_line || !self.room.is_empty() || !self.fits(message.1);
        if !full && !none {
            return self.let_in(key, message, sender);
        }
        let lines_up = match rules.overflow {
            Overflow::Wait => sender != Sender::Tries,
            Overflow::Refuse => sender == Sender::Gone,
            _ => sender == Sender::Gone && !full,
        };
        if lines_up {
            self.key(key).line.push_back((message, sender));
            return self.note_room(key);
        }
        match rules.overflow {
            Overflow::DropNewest if full && sender != Sender::Reserves => {
                self.drop(key, message, DropReason::Overflow);
            }
            Overflow::DropOldest | Overflow::KeepLast if full => {
                let (queue, taken) = (&self.keys[&key].queue, self.keys[&key].taken());
                let last = rules.overflow == Overflow::KeepLast;
                let count = if last {
                    queue.len()
                } else {
                    queue.len().min(1)
                };
                let freed: usize = queue
                    .iter()
                    .take(count)
                    .map(|(_, size)| usize::from(*size))
                    .sum();
                // Who waits for room of all is not passed: no more is taken than was freed.
                let takes_more = count == 0 || usize::from(message.1) > freed;
                if self.bytes() - freed + usize::from(message.1) > rules.bytes
                    || taken - count >= rules.per_key
                    || self.taken() - count >= rules.total
                    || takes_more && !self.room.is_empty()
                {
                    return self.turn_away(key, message, sender, DropReason::Overflow);
                }
                let dropped: Vec<Message> = self.key(key).queue.drain(..count).collect();
                for message in dropped {
                    self.drop(key, message, DropReason::Overflow);
                }
                self.let_in(key, message, sender);
            }
            _ => self.turn_away(key, message, sender, DropReason::Overflow),
        }
    }

    /// A message goes into its queue, or a place is kept.
    fn let_in(&mut self, key: Key, message: Message, sender: Sender) {
        if sender == Sender::Reserves {
            self.key(key).kept += 1;
            self.events.push(Event::Kept(message.0, true));
        } else {
            self.push(key, message);
        }
    }

    /// A kept place is given up. Tells whether there was one.
    fn give_back(&mut self, key: Key) -> bool {
        let state = self.key(key);
        let was_kept = state.kept > 0;
        state.kept -= usize::from(was_kept);
        self.note_room(key);
        was_kept
    }

    /// A message goes to a kept place, if there is one.
    fn use_place(&mut self, key: Key, message: Message) {
        if self.key(key).kept == 0 {
            return;
        }
        self.used.insert(message.0);
        let is_stopped = self.key(key).held == Some(AfterKeyFailure::StopKey);
        if is_stopped || self.bytes() + usize::from(message.1) > self.rules.bytes {
            self.give_back(key);
            return self.refuse(message, Sender::Tries);
        }
        self.key(key).kept -= 1;
        self.push(key, message);
    }

    fn push(&mut self, key: Key, message: Message) {
        self.key(key).queue.push_back(message);
        self.note_turn(key);
    }

    fn note_turn(&mut self, key: Key) {
        let state = self.key(key);
        if !state.queue.is_empty()
            && state.running.is_none()
            && state.held.is_none()
            && !self.ring.contains(&key)
        {
            self.ring.push_back(key);
        }
    }

    fn note_room(&mut self, key: Key) {
        let per_key = self.rules.per_key;
        let state = self.key(key);
        if !state.line.is_empty() && state.taken() < per_key && !self.room.contains(&key) {
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
                .filter(|_| state.taken() < per_key);
            let Some((message, sender)) = first else {
                self.room.pop_front();
                continue;
            };
            if !self.fits(message.1) {
                return;
            }
            self.room.pop_front();
            self.key(key).line.pop_front();
            self.let_in(key, message, sender);
            self.note_room(key);
        }
    }

    /// The first who waits for room in this key's line goes away. Gives the number of his message.
    fn give_up(&mut self, key: u8) -> Option<u32> {
        let mut keys = self.keys.iter_mut().filter(|(of, _)| of.0 == key);
        let (&key, line, at) = keys.find_map(|(key, state)| {
            let at = state
                .line
                .iter()
                .position(|(_, sender)| matches!(sender, Sender::Waits | Sender::Reserves))?;
            Some((key, &mut state.line, at))
        })?;
        let (message, sender) = line.remove(at)?;
        if line.is_empty() {
            self.room.retain(|ready| *ready != key);
        }
        self.refuse(message, sender);
        Some(message.0)
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
            if state.queue.is_empty() {
                continue;
            }
            self.key(key).credit = self.rules.weight(key.0);
            self.begin(key);
        }
    }

    /// A key of which nothing is left but its state has no turn.
    fn give_up_turns(&mut self) {
        let Model { keys, ring, .. } = self;
        ring.retain(|key| {
            let key = &keys[key];
            key.taken() > 0 || !key.line.is_empty() || key.held.is_some()
        });
    }

    /// Begins the call for the next message of a key.
    fn begin(&mut self, key: Key) {
        let state = self.key(key);
        let Some((n, _)) = state.queue.pop_front() else {
            return;
        };
        state.running = Some(n);
        state.credit -= 1;
        let calls = state.calls;
        state.calls += 1;
        self.events.push(Event::Began(key.0, n, calls));
        self.note_room(key);
    }

    /// The call of a key ends; its worker goes with it, or takes the next message.
    fn end(&mut self, key: Key, well: bool, goes: bool) {
        let after = self.rules.after;
        let Some(n) = self.key(key).running.take() else {
            return;
        };
        if well {
            self.events.push(Event::Ended(key.0, n));
        }
        self.answer(n, if well { Answer::Value } else { Answer::Error });
        if !well && after != AfterKeyFailure::Continue && key.0 != FREE {
            self.key(key).held = Some(after);
            if after == AfterKeyFailure::StopKey {
                self.clear(key, DropReason::Stopped);
            }
        }
        let state = self.key(key);
        let forgotten = std::mem::take(&mut state.forgotten);
        if forgotten {
            state.calls = 0;
        }
        if state.credit > 0 && state.held.is_none() && !forgotten && !goes {
            // Its turn goes on, if there is a message. Who waits for room is let in first.
            self.admit();
            if !self.key(key).queue.is_empty() {
                self.ring.retain(|ready| *ready != key);
                return self.begin(key);
            }
        }
        self.note_turn(key);
    }

    /// Everything queued for a key is dropped, and who waits is turned away.
    fn clear(&mut self, key: Key, why: DropReason) {
        self.ring.retain(|ready| *ready != key);
        self.room.retain(|ready| *ready != key);
        let state = self.key(key);
        let (queue, line) = (
            std::mem::take(&mut state.queue),
            std::mem::take(&mut state.line),
        );
        for message in queue {
            self.drop(key, message, why);
        }
        for (message, sender) in line {
            self.turn_away(key, message, sender, why);
        }
    }

    fn release(&mut self, key: Key, anew: bool) {
        let state = self.key(key);
        if state.held.take().is_some() {
            if anew && state.running.is_none() {
                state.calls = 0;
            }
            self.note_turn(key);
        }
    }

    fn forget(&mut self, key: Key) {
        self.clear(key, DropReason::Forgotten);
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
type Running = Rc<RefCell<BTreeMap<Key, Resolver<End>>>>;

/// The engine under test.
struct Subject {
    event_loop: EventLoop,
    engine: Keyed<u8, u32, Message>,
    door: KeyedRemote<u8, Message>,
    log: Log,
    running: Running,
    /// The coroutines that send and wait for room, by the number of the message or place.
    senders: BTreeMap<u32, JoinHandle<()>>,
    /// The numbers of the places that were asked for.
    reserving: BTreeSet<u32>,
    /// The places that are kept, by key.
    kept: Places,
}

/// Kept places, by key.
type Places = Rc<RefCell<BTreeMap<u8, VecDeque<KeyedPermit<u8, Message>>>>>;

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
            .weight(move |key| rules.weight(*key))
            .free(|key| *key == FREE)
            .after_failure(rules.after)
            .on_drop(move |key, (n, _), why| {
                dropped.borrow_mut().push(Event::Dropped(*key, n, why));
            })
            .serve(
                &event_loop.handle(),
                async move |call: Call<u8>, count: &mut u32, (n, _): Message| -> Result {
                    let key = *call.key();
                    told.borrow_mut().push(Event::Began(key, n, *count));
                    *count += 1;
                    let name = key_of(key, n);
                    let end = call.task(|done| {
                        let before = calls.borrow_mut().insert(name, done);
                        assert!(before.is_none(), "two calls of one key at a time");
                    });
                    match end.await {
                        Ok(End::Well) => told.borrow_mut().push(Event::Ended(key, n)),
                        Ok(End::Error) => return Err(Error::other("as told")),
                        Ok(End::Panic) => panic!("as told"),
                        Ok(End::Leak) => drop(call.callback::<()>("left")?),
                        Err(cancel) => {
                            calls.borrow_mut().remove(&name);
                            return Err(cancel);
                        }
                    }
                    Ok(())
                },
            );
        let door = engine.remote();
        Subject {
            event_loop,
            engine,
            door,
            log,
            running,
            senders: BTreeMap::new(),
            reserving: BTreeSet::new(),
            kept: Places::default(),
        }
    }

    /// The place that was kept first for a key.
    fn first_kept(&self, key: u8) -> Option<KeyedPermit<u8, Message>> {
        self.kept.borrow_mut().get_mut(&key)?.pop_front()
    }

    /// Runs until nothing moves.
    fn settle(&mut self) {
        for _ in 0..20 {
            let _ = self.event_loop.turn(Budget::steps(1000)).expect("a turn");
        }
    }

    /// The first call that runs for this key: there are several only of messages that run free.
    fn first_running(&self, key: u8) -> Option<Key> {
        let running = self.running.borrow();
        running.keys().find(|(of, _)| *of == key).copied()
    }

    /// Waits for a place from a coroutine, and keeps it.
    fn reserve(&mut self, key: u8, n: u32) {
        let (reserving, log) = (self.engine.reserve(key), Rc::clone(&self.log));
        let kept = Rc::clone(&self.kept);
        let sender = self.event_loop.handle().spawn(async move |_| -> Result {
            let permit = reserving.await;
            log.borrow_mut().push(Event::Kept(n, permit.is_ok()));
            if let Ok(permit) = permit {
                kept.borrow_mut().entry(key).or_default().push_back(permit);
            }
            Ok(())
        });
        self.senders.insert(n, sender);
        self.reserving.insert(n);
    }

    /// Takes a step; the model has said whose message it is where somebody gives up.
    fn take(&mut self, step: Step, n: u32, gives_up: Option<u32>) {
        match step {
            Step::TrySend(key, size) => {
                if let Err(refused) = self.engine.try_send(key, (n, size)) {
                    assert_eq!(refused.into_message(), (n, size));
                    self.log.borrow_mut().push(Event::Refused(n));
                }
            }
            Step::Send(key, size) => {
                let (sending, log) = (self.engine.send(key, (n, size)), Rc::clone(&self.log));
                let sender = self.event_loop.handle().spawn(async move |_| -> Result {
                    if sending.await.is_err() {
                        log.borrow_mut().push(Event::Refused(n));
                    }
                    Ok(())
                });
                self.senders.insert(n, sender);
            }
            Step::Ask(key, size) => {
                let (asking, log) = (self.engine.ask(key, (n, size)), Rc::clone(&self.log));
                let sender = self.event_loop.handle().spawn(async move |_| -> Result {
                    let told = match asking.await {
                        Ok(()) => Event::Answered(n, Answer::Value),
                        Err(error) => match error.kind() {
                            ErrorKind::Dropped { .. } => Event::Answered(n, Answer::Dropped),
                            ErrorKind::Refused { .. }
                            | ErrorKind::Closed { .. }
                            | ErrorKind::Cancelled { .. } => Event::Refused(n),
                            _ => Event::Answered(n, Answer::Error),
                        },
                    };
                    log.borrow_mut().push(told);
                    Ok(())
                });
                self.senders.insert(n, sender);
            }
            Step::Remote(key, size) => {
                if let Err(refused) = self.door.try_send(key, (n, size)) {
                    assert_eq!(refused.into_message(), (n, size));
                    self.log.borrow_mut().push(Event::Refused(n));
                }
            }
            Step::Reserve(key) => self.reserve(key, n),
            Step::Use(key, size) => {
                let used = self.first_kept(key).map(|permit| permit.send((n, size)));
                if let Some(Err(refused)) = used {
                    assert_eq!(refused.into_message(), (n, size));
                    self.log.borrow_mut().push(Event::Refused(n));
                }
            }
            Step::GiveBack(key) => drop(self.first_kept(key)),
            Step::GiveUp(_) => {
                let sender = gives_up.and_then(|n| Some((n, self.senders.remove(&n)?)));
                match sender {
                    // It hears of its end, or it does not.
                    Some((n, sender)) if n % 2 == 0 => {
                        sender.cancel("as told");
                    }
                    Some((n, sender)) => {
                        sender.abort();
                        self.log.borrow_mut().push(if self.reserving.contains(&n) {
                            Event::Kept(n, false)
                        } else {
                            Event::Refused(n)
                        });
                    }
                    None => {}
                }
            }
            Step::End(key, end) => {
                let first = self.first_running(key);
                let done = first.and_then(|key| self.running.borrow_mut().remove(&key));
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

/// Takes a step in the model. Gives the number of the message whose sender gives up.
fn take(model: &mut Model, step: Step, n: u32) -> Option<u32> {
    let mut gives_up = None;
    match step {
        Step::TrySend(key, size) => model.arrive(key_of(key, n), (n, size), Sender::Tries),
        Step::Send(key, size) => model.arrive(key_of(key, n), (n, size), Sender::Waits),
        Step::Ask(key, size) => {
            model.asked.insert(n);
            model.arrive(key_of(key, n), (n, size), Sender::Waits);
        }
        Step::Remote(key, size) => model.arrive(key_of(key, n), (n, size), Sender::Gone),
        Step::Reserve(key) => model.arrive(key_of(key, n), (n, 0), Sender::Reserves),
        Step::Use(key, size) => model.use_place(key_of(key, n), (n, size)),
        Step::GiveBack(key) => {
            model.give_back(key_of(key, n));
        }
        Step::GiveUp(key) => gives_up = model.give_up(key),
        Step::End(key, end) => {
            let mut running = model
                .keys
                .iter()
                .filter(|(of, state)| of.0 == key && state.running.is_some());
            if let Some((&key, _)) = running.next() {
                model.end(key, end == End::Well, end == End::Panic);
            }
        }
        // A message that runs free is not found by its key.
        Step::Cancel(FREE) | Step::Resume(FREE) | Step::Restart(FREE) | Step::Forget(FREE) => {}
        Step::Cancel(key) => model.end((key, 0), false, true),
        Step::Resume(key) => model.release((key, 0), false),
        Step::Restart(key) => model.release((key, 0), true),
        Step::Forget(key) => model.forget((key, 0)),
        Step::Close => model.closed = true,
    }
    model.run();
    model.give_up_turns();
    gives_up
}

/// What happened in a step; within a step, only the order within a key counts.
fn by_key(events: &mut Vec<Event>) -> Vec<Event> {
    let mut events = std::mem::take(events);
    events.sort_by_key(|event| match event {
        Event::Began(key, ..) | Event::Ended(key, _) | Event::Dropped(key, ..) => (*key, 0),
        Event::Refused(n) | Event::Answered(n, _) | Event::Kept(n, _) => (u8::MAX, *n),
    });
    events
}

/// What has become of each message, by its number: how often.
#[derive(Default)]
struct Fates {
    /// It was handled, dropped or given back.
    met: BTreeMap<u32, u32>,
    /// Its sender was told that it was given back, or how its call ended.
    told: BTreeMap<u32, u32>,
}

impl Fates {
    fn note(&mut self, event: &Event) {
        if let Event::Began(_, n, _) | Event::Dropped(_, n, _) | Event::Refused(n) = event {
            *self.met.entry(*n).or_default() += 1;
        }
        if let Event::Answered(n, _) | Event::Refused(n) = event {
            *self.told.entry(*n).or_default() += 1;
        }
    }
}

/// Takes a schedule in both, and compares them after each step and at the end.
fn compare(rules: Rules, steps: &[Step]) -> TestCaseResult {
    let (mut model, mut subject) = (Model::new(rules), Subject::new(rules));
    let mut fates = Fates::default();
    for (n, step) in (0..).zip(steps) {
        let gives_up = take(&mut model, *step, n);
        subject.take(*step, n, gives_up);
        let told = by_key(&mut subject.log.borrow_mut());
        for event in &told {
            fates.note(event);
        }
        prop_assert_eq!(
            told,
            by_key(&mut model.events),
            "in step {} of {:?}",
            n,
            steps
        );
        let stats = subject.engine.stats();
        prop_assert_eq!(stats.queued, model.queued());
        prop_assert_eq!(stats.running, model.running());
        prop_assert_eq!(
            stats.waiting,
            model.keys.values().map(|key| key.line.len()).sum::<usize>()
        );
        prop_assert!(model.taken() <= rules.total && stats.running <= rules.concurrency);
        for key in 0..FREE {
            let report = subject.engine.explain(&key);
            let kept = model.keys.get(&(key, 0)).map_or(0, |key| key.kept);
            prop_assert_eq!(report.map_or(0, |report| report.reserved), kept);
        }
    }
    // Everything that is held goes on, every call ends, and then every message has met exactly one fate.
    for key in 0..FREE {
        subject.take(Step::Resume(key), 0, None);
    }
    for _ in 0..=steps.len() {
        for key in 0..=FREE {
            while let Some(permit) = subject.first_kept(key) {
                drop(permit);
            }
            subject.take(Step::End(key, End::Well), 0, None);
        }
    }
    for event in subject.log.borrow().iter() {
        fates.note(event);
    }
    // Every message has met one fate, and everybody who asked was told once.
    let once = |is_one: fn(&Step) -> bool| -> BTreeMap<u32, u32> {
        let all = (0..).zip(steps).filter(|(_, step)| is_one(step));
        all.map(|(n, _)| (n, 1)).collect()
    };
    let asked = once(|step| matches!(step, Step::Ask(..)));
    fates.told.retain(|n, _| asked.contains_key(n));
    prop_assert_eq!(fates.told, asked);
    let mut sent = once(|step| {
        matches!(
            step,
            Step::TrySend(..) | Step::Send(..) | Step::Ask(..) | Step::Remote(..)
        )
    });
    sent.extend(model.used.iter().map(|n| (*n, 1)));
    prop_assert_eq!(fates.met, sent);
    prop_assert_eq!(subject.engine.stats().queued, 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(400), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_a_map_of_queues_does(rules in rules(), steps in prop::collection::vec(step(), 1..60)) {
        compare(rules, &steps)?;
    }
}

/// The rules of the schedules below: little room, and everybody waits for it.
const NARROW: Rules = Rules {
    per_key: 2,
    total: 2,
    bytes: 6,
    concurrency: 3,
    overflow: Overflow::Wait,
    after: AfterKeyFailure::Continue,
    weighted: false,
};

#[test]
fn who_comes_to_a_key_after_it_was_forgotten_does_not_pass_those_who_wait_for_room_of_all() {
    let steps = [
        Step::Remote(1, 1),
        Step::TrySend(1, 1),
        Step::End(0, End::Well),
        Step::Send(2, 1),
        Step::Remote(2, 1),
        Step::Send(2, 1),
        Step::Send(3, 1),
        Step::Remote(1, 1),
        Step::Send(4, 1),
        Step::Forget(1),
        Step::Send(1, 1),
        Step::End(1, End::Well),
        Step::End(2, End::Well),
    ];
    compare(NARROW, &steps).expect("the engine does as the model");
}

#[test]
fn who_comes_to_a_key_whose_last_waiter_gave_up_does_not_pass_those_who_wait_for_room_of_all() {
    let steps = [
        Step::TrySend(0, 1),
        Step::TrySend(2, 1),
        Step::TrySend(0, 1),
        Step::TrySend(0, 1),
        Step::Send(1, 1),
        Step::Send(2, 1),
        Step::Send(3, 1),
        Step::GiveUp(2),
        Step::Send(2, 1),
        Step::End(0, End::Well),
        Step::End(0, End::Well),
    ];
    compare(NARROW, &steps).expect("the engine does as the model");
}

#[test]
fn who_takes_the_place_of_an_older_message_passes_nobody_who_waits_for_room_of_all_in_bytes() {
    for (size, fate) in [
        (1, Event::Dropped(2, 2, DropReason::Overflow)),
        (2, Event::Refused(5)),
    ] {
        for overflow in [Overflow::DropOldest, Overflow::KeepLast] {
            let rules = Rules {
                per_key: 1,
                total: 4,
                bytes: 4,
                concurrency: 2,
                overflow,
                ..NARROW
            };
            let steps = [
                Step::TrySend(1, 1),
                Step::TrySend(2, 1),
                Step::TrySend(2, 1),
                Step::TrySend(1, 2),
                Step::Remote(3, 2), // needs two bytes, and one is left
                Step::TrySend(2, size),
            ];
            compare(rules, &steps).expect("the engine does as the model");
            let (mut model, mut events) = (Model::new(rules), vec![]);
            for (n, step) in (0..).zip(&steps) {
                take(&mut model, *step, n);
                events = std::mem::take(&mut model.events);
            }
            assert_eq!(events, [fate]);
        }
    }
}

#[test]
fn a_key_that_was_forgotten_has_no_turn_left_though_a_place_is_kept_for_it() {
    let rules = Rules {
        total: 4,
        concurrency: 2,
        ..NARROW
    };
    let steps = [
        Step::TrySend(0, 1),
        Step::TrySend(3, 1),
        Step::Reserve(2),
        Step::TrySend(2, 1),
        Step::TrySend(1, 1),
        Step::Forget(2),
        Step::TrySend(2, 1),
        Step::End(0, End::Well), // key 1 begins, not 2
        Step::End(3, End::Well),
    ];
    compare(rules, &steps).expect("the engine does as the model");
}

#[test]
fn a_key_whose_last_place_is_given_back_has_no_turn_left_whether_it_has_state_or_not() {
    let rules = Rules {
        per_key: 1,
        total: 3,
        bytes: 4,
        overflow: Overflow::DropOldest,
        ..NARROW
    };
    let ran_before = [Step::TrySend(1, 1), Step::End(1, End::Well)];
    let steps = [
        Step::TrySend(0, 1),
        Step::TrySend(2, 1),
        Step::TrySend(3, 1),
        Step::TrySend(1, 1),
        Step::Reserve(1), // its message is dropped for this
        Step::TrySend(FREE, 1),
        Step::GiveBack(1),
        Step::TrySend(1, 1),
        Step::End(0, End::Well), // what runs free begins, not key 1
        Step::End(2, End::Well),
    ];
    compare(rules, &steps).expect("the engine does as the model");
    let steps: Vec<_> = ran_before.into_iter().chain(steps).collect();
    compare(rules, &steps).expect("the engine does as the model");
}
