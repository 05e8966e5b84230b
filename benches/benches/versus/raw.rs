//! No coroutines: the cheapest safe data structure that does the job, or a plain mio loop. The limit of what is possible,
//! and what a program would have to be written like to reach it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use benches::inputs::{BATCH, BOUND, Delays, InOrder, KEYS, ORDERED_KEYS, index};
use benches::measure::{
    Measured, as_f64, cpu_nanos_per_op, lateness, resident_bytes, with_lateness, with_peak_memory,
};
use mio::{Events, Token};

/// A queued callback, given where to put what it brings.
type Callback<T> = Box<dyn FnOnce(&mut T)>;

/// A boxed closure each, called when the batch is complete.
pub fn spawn_join(n: u64) -> Measured {
    cpu_nanos_per_op(n, || {
        let mut sum = 0;
        let mut batch: Vec<Box<dyn FnOnce() -> u64>> = Vec::with_capacity(index(BATCH));
        for number in 0..n / BATCH {
            batch.extend(
                (number * BATCH..(number + 1) * BATCH)
                    .map(|i| Box::new(move || i) as Box<dyn FnOnce() -> u64>),
            );
            sum += black_box(&mut batch)
                .drain(..)
                .map(|one| one())
                .sum::<u64>();
        }
        sum
    })
}

pub fn yield_1(n: u64) -> Measured {
    give_way(1, n)
}

pub fn yield_1000(n: u64) -> Measured {
    give_way(1000, n)
}

/// Gives way as often as it says.
struct Turns {
    left: u64,
    done: u64,
}

impl Future for Turns {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u64> {
        if self.left == 0 {
            return Poll::Ready(self.done);
        }
        self.left -= 1;
        self.done += 1;
        Poll::Pending
    }
}

/// A queue of boxed futures that are polled in turn.
fn give_way(coroutines: u64, n: u64) -> Measured {
    cpu_nanos_per_op(n, || {
        let make = |_| {
            Box::pin(Turns {
                left: n / coroutines,
                done: 0,
            }) as Pin<Box<dyn Future<Output = u64>>>
        };
        let mut ready: VecDeque<_> = black_box((0..coroutines).map(make).collect());
        let mut context = Context::from_waker(Waker::noop());
        let mut sum = 0;
        while let Some(mut future) = ready.pop_front() {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(turns) => sum += turns,
                Poll::Pending => ready.push_back(future),
            }
        }
        sum
    })
}

/// A boxed callback in a queue that writes into a slot.
pub fn task(n: u64) -> Measured {
    cpu_nanos_per_op(n, || {
        let mut callbacks = VecDeque::<Callback<u64>>::new();
        let (mut sum, mut slot) = (0, 0);
        for i in 0..n {
            callbacks.push_back(Box::new(move |slot| *slot = i));
            let callback = black_box(&mut callbacks).pop_front().expect("just queued");
            callback(&mut slot);
            sum += slot;
        }
        sum
    })
}

/// [`KEYS`] at a time.
pub fn key_wait(n: u64) -> Measured {
    keys_waited::<KEYS>(n)
}

/// One at a time.
pub fn key_wait_1(n: u64) -> Measured {
    keys_waited::<1>(n)
}

/// The values under their keys in a map, written by boxed callbacks.
fn keys_waited<const PENDING: u64>(n: u64) -> Measured {
    cpu_nanos_per_op(n, || {
        let mut callbacks = VecDeque::<Callback<HashMap<u64, Option<u64>>>>::new();
        let mut pending = HashMap::new();
        let mut sum = 0;
        for round in 0..n / PENDING {
            let keys = round * PENDING..(round + 1) * PENDING;
            for key in keys.clone() {
                pending.insert(key, None);
                callbacks.push_back(Box::new(move |pending| {
                    pending.insert(key, Some(key));
                }));
            }
            while let Some(callback) = callbacks.pop_front() {
                callback(&mut pending);
            }
            for key in keys {
                sum += pending.remove(&key).flatten().expect("the key is pending");
            }
        }
        sum
    })
}

/// Two state machines in a queue, and two slots.
pub fn pingpong(n: u64) -> Measured {
    cpu_nanos_per_op(n, || {
        let mut ready = VecDeque::from([false]);
        let (mut ping, mut pong) = (Some(0), None);
        let mut last = 0;
        while let Some(asks) = black_box(&mut ready).pop_front() {
            if asks {
                last = pong.take().expect("the other answered");
                if last == n {
                    break;
                }
                ping = Some(last);
            } else {
                pong = ping.take().map(|i| i + 1);
            }
            ready.push_back(!asks);
        }
        last
    })
}

/// A queue that one fills up to its bound and the other empties, in turn.
pub fn queue(n: u64) -> Measured {
    cpu_nanos_per_op(n, || {
        let mut queue = VecDeque::with_capacity(BOUND);
        let (mut next, mut sum) = (0, 0);
        while next < n || !queue.is_empty() {
            while queue.len() < BOUND && next < n {
                queue.push_back(next);
                next += 1;
            }
            while let Some(i) = black_box(&mut queue).pop_front() {
                sum += i;
            }
        }
        sum
    })
}

/// A wheel of one-second slots; a timer knows its place in its slot, so cancelling is a swap.
struct Wheel {
    slots: Vec<Vec<usize>>,
    /// The slot, the place in it and the deadline of each timer.
    timers: Vec<(usize, usize, Instant)>,
    free: Vec<usize>,
    begin: Instant,
}

impl Wheel {
    fn new() -> Self {
        Self {
            slots: vec![Vec::new(); 64],
            timers: Vec::new(),
            free: Vec::new(),
            begin: Instant::now(),
        }
    }

    fn arm(&mut self, deadline: Instant) -> usize {
        let slot = index((deadline - self.begin).as_secs()) % self.slots.len();
        let timer = (slot, self.slots[slot].len(), deadline);
        let id = self.free.pop().unwrap_or(self.timers.len());
        if id == self.timers.len() {
            self.timers.push(timer);
        } else {
            self.timers[id] = timer;
        }
        self.slots[slot].push(id);
        id
    }

    fn cancel(&mut self, id: usize) {
        let (slot, place, _) = self.timers[id];
        self.slots[slot].swap_remove(place);
        if let Some(&moved) = self.slots[slot].get(place) {
            self.timers[moved].1 = place;
        }
        self.free.push(id);
    }
}

/// The clock is read for each timer, as all do whose timers begin when they are made.
pub fn timer_arm(n: u64) -> Measured {
    cpu_nanos_per_op(n, || {
        let (mut wheel, mut delays, mut armed) = (Wheel::new(), Delays::new(), 0);
        for _ in 0..n {
            let timer = wheel.arm(Instant::now() + delays.next_long());
            black_box(&mut wheel).cancel(timer);
            armed += 1;
        }
        armed
    })
}

pub fn timer_held(n: u64) -> Measured {
    cpu_nanos_per_op(n, || {
        let (mut wheel, mut delays, mut armed) = (Wheel::new(), Delays::new(), 0);
        let mut timers = Vec::with_capacity(index(BATCH));
        for _ in 0..n / BATCH {
            timers.extend((0..BATCH).map(|_| wheel.arm(Instant::now() + delays.next_long())));
            for timer in black_box(&mut timers).drain(..) {
                wheel.cancel(timer);
                armed += 1;
            }
        }
        armed
    })
}

/// A heap of deadlines, and a poll that sleeps until the next; mio rounds it up to a millisecond.
pub fn timer_sleep(n: u64) -> Measured {
    with_lateness(|report| {
        let (mut poll, mut events) = (mio::Poll::new().expect("a poll"), Events::with_capacity(1));
        cpu_nanos_per_op(n, || {
            let mut delays = Delays::new();
            let mut sleepers: BinaryHeap<_> = (0..n)
                .map(|_| Reverse(Instant::now() + delays.next_short()))
                .collect();
            let mut latenesses = Vec::with_capacity(sleepers.len());
            while let Some(&Reverse(next)) = sleepers.peek() {
                let now = Instant::now();
                if next > now {
                    poll.poll(&mut events, Some(next - now)).expect("a poll");
                    continue;
                }
                sleepers.pop();
                latenesses.push(lateness(next));
            }
            report.send(latenesses).expect("the bench listens");
            n
        })
    })
}

/// A queue of messages for each key, and a queue of keys that have something to do.
pub fn ordered(n: u64) -> Measured {
    #[derive(Default)]
    struct Key {
        checked: InOrder,
        messages: VecDeque<u64>,
        /// Whether the first message has begun and given way.
        begun: bool,
        queued: bool,
    }
    /// Handles what the keys in the queue can do now; those that gave way are put back.
    fn turn(keys: &mut [Key], ready: &mut VecDeque<u32>) {
        for _ in 0..ready.len() {
            let id = ready.pop_front().expect("counted");
            let key = &mut keys[id as usize];
            if key.begun {
                key.begun = false;
                key.checked
                    .take(key.messages.pop_front().expect("it has begun"));
            }
            if key.messages.is_empty() {
                key.queued = false;
            } else {
                key.begun = true;
                ready.push_back(id);
            }
        }
    }
    with_peak_memory(|| {
        cpu_nanos_per_op(n, || {
            let mut keys: Vec<Key> = (0..ORDERED_KEYS).map(|_| Key::default()).collect();
            let mut ready = VecDeque::new();
            for number in 0..n / ORDERED_KEYS {
                for (id, key) in (0..).zip(&mut keys) {
                    key.messages.push_back(number);
                    if !key.queued {
                        key.queued = true;
                        ready.push_back(id);
                    }
                }
                turn(&mut keys, &mut ready);
            }
            while !ready.is_empty() {
                turn(&mut keys, &mut ready);
            }
            keys.iter().map(|key| key.checked.right()).sum()
        })
    })
}

/// A state, a value and a number each in a vector.
pub fn parked(n: u64) -> Measured {
    let before = resident_bytes();
    let mut parked: Vec<(u64, Option<u64>)> = (0..n).map(|i| (i, None)).collect();
    let bytes = resident_bytes().saturating_sub(before);
    for (_, value) in black_box(&mut parked) {
        *value = Some(1);
    }
    let result = parked.iter().filter_map(|(_, value)| *value).sum();
    Measured {
        values: vec![as_f64(bytes) / as_f64(n)],
        result,
    }
}

/// A poll, a waker, room for events, and one call.
pub fn startup(n: u64) -> Measured {
    cpu_nanos_per_op(n, || {
        (0..n)
            .map(|_| {
                let mut poll = mio::Poll::new().expect("a poll");
                let waker = mio::Waker::new(poll.registry(), Token(0)).expect("a waker");
                let mut events = Events::with_capacity(1024);
                waker.wake().expect("the poll is there");
                poll.poll(&mut events, Some(Duration::ZERO))
                    .expect("a poll");
                events.iter().count() as u64
            })
            .sum()
    })
}
