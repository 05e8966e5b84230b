//! Messages by key on tokio, in the three shapes that programs have: a coroutine for each key, one for all keys that runs
//! their handlers beside each other, and one queue for all.
//!
//! In each the check of a key belongs to whoever handles the key, so none needs a lock for it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use benches::hot::{self, HOT, Message, OTHERS, Waits};
use benches::inputs::{AT_A_TIME, InOrder, ORDERED_KEYS, QUEUED, index};
use benches::measure::{Measured, with_peak_memory};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, yield_now};

use crate::tokio_send::{Flavour, Plain, joined};

/// A coroutine and an unbounded channel for each key.
pub fn ordered<T: Flavour>(n: u64) -> Measured {
    with_peak_memory(|| {
        T::measured(n, async move {
            let keys: Vec<_> = (0..ORDERED_KEYS)
                .map(|_| {
                    let (sender, mut receiver) = unbounded_channel();
                    let join = tokio::spawn(async move {
                        let mut key = InOrder::default();
                        while let Some(number) = receiver.recv().await {
                            yield_now().await;
                            key.take(number);
                        }
                        key.right()
                    });
                    (sender, join)
                })
                .collect();
            for number in 0..n / ORDERED_KEYS {
                for (sender, _) in &keys {
                    sender.send(number).expect("the key's coroutine listens");
                }
                yield_now().await;
            }
            let (senders, joins): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
            drop(senders);
            all_right(joins).await
        })
    })
}

/// How many messages came in their turn, of all keys, whose coroutines end.
async fn all_right(joins: Vec<JoinHandle<u64>>) -> u64 {
    let mut right = 0;
    for join in joins {
        right += joined(join).await;
    }
    right
}

/// The same with the bounds that ours has: so many messages wait in all, so many are handled at a time, and the sender waits for
/// room.
///
/// Permits are forgotten where they are got and given back by number, which spares each message a count of owners.
pub fn ordered_bounded(n: u64) -> Measured {
    with_peak_memory(|| {
        Plain::measured(n, async move {
            let room = Arc::new(Semaphore::new(QUEUED));
            let places = Arc::new(Semaphore::new(AT_A_TIME));
            let keys: Vec<_> = (0..ORDERED_KEYS)
                .map(|_| {
                    let (sender, mut receiver) = unbounded_channel();
                    let (room, places) = (Arc::clone(&room), Arc::clone(&places));
                    let join = tokio::spawn(async move {
                        let mut key = InOrder::default();
                        while let Some(number) = receiver.recv().await {
                            let place = places.acquire().await.expect("nobody closes it");
                            room.add_permits(1);
                            yield_now().await;
                            key.take(number);
                            drop(place);
                        }
                        key.right()
                    });
                    (sender, join)
                })
                .collect();
            for number in 0..n / ORDERED_KEYS {
                for (sender, _) in &keys {
                    room.acquire().await.expect("nobody closes it").forget();
                    sender.send(number).expect("the key's coroutine listens");
                }
            }
            let (senders, joins): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
            drop(senders);
            all_right(joins).await
        })
    })
}

/// One coroutine for all keys.
pub fn ordered_by_one(n: u64) -> Measured {
    with_peak_memory(|| {
        Plain::measured(n, async move {
            let (sender, inbox) = unbounded_channel();
            let one = tokio::spawn(one_for_all(inbox, handle));
            for number in 0..n / ORDERED_KEYS {
                for key in 0..ORDERED_KEYS {
                    sender.send((key, number)).expect("the other listens");
                }
                yield_now().await;
            }
            drop(sender);
            joined(one).await
        })
    })
}

/// Handles a message of `ordered`.
async fn handle(key: u64, mut checked: InOrder, number: u64) -> (u64, InOrder) {
    yield_now().await;
    checked.take(number);
    (key, checked)
}

/// A key of [`one_for_all`].
struct Key<M> {
    /// What the handler has seen; away while it runs.
    checked: Option<InOrder>,
    /// The messages that came meanwhile.
    queued: VecDeque<M>,
}

impl<M> Default for Key<M> {
    fn default() -> Self {
        Self {
            checked: Some(InOrder::default()),
            queued: VecDeque::new(),
        }
    }
}

/// Owns a queue for each key, and drives the handlers of all keys at once: one for each key, the next when it has ended.
/// Gives how many messages came in their turn.
///
/// It takes the messages in batches, and goes on with the handlers first: that was the fastest of the ways tried. Others were a
/// message at a time, the inbox first, a future for as long as a key is busy, and a task for each message in a `JoinSet`.
async fn one_for_all<M, F: Future<Output = (u64, InOrder)>>(
    mut inbox: UnboundedReceiver<(u64, M)>,
    handle: impl Fn(u64, InOrder, M) -> F,
) -> u64 {
    let mut keys: HashMap<u64, Key<M>> = HashMap::new();
    let (mut running, mut batch, mut open) = (FuturesUnordered::new(), Vec::new(), true);
    loop {
        tokio::select! {
            biased;
            Some((id, checked)) = running.next() => {
                let key = keys.get_mut(&id).expect("its handler ran");
                match key.queued.pop_front() {
                    Some(message) => running.push(handle(id, checked, message)),
                    None => key.checked = Some(checked),
                }
            }
            count = inbox.recv_many(&mut batch, 1024), if open => {
                open = count > 0;
                for (id, message) in batch.drain(..) {
                    let key = keys.entry(id).or_default();
                    match key.checked.take() {
                        Some(checked) => running.push(handle(id, checked, message)),
                        None => key.queued.push_back(message),
                    }
                }
            }
            else => break,
        }
    }
    let checked = keys.into_values().filter_map(|key| key.checked);
    checked.map(|checked| checked.right()).sum()
}

/// A coroutine and an unbounded channel for each key.
pub fn hot_key(n: u64) -> Measured {
    let waits = Waits::default();
    let noted = waits.clone();
    let right = Plain::runtime().block_on(async move {
        let keys: Vec<_> = (0..=OTHERS)
            .map(|_| {
                let (sender, inbox) = unbounded_channel();
                (sender, tokio::spawn(one_key(inbox, noted.clone())))
            })
            .collect();
        let (senders, joins): (Vec<UnboundedSender<_>>, Vec<_>) = keys.into_iter().unzip();
        let sending = tokio::spawn(send_all(n, noted, move |key, message| {
            let sent = senders[index(key)].send(message);
            sent.expect("the key's coroutine listens");
        }));
        joined(sending).await;
        all_right(joins).await
    });
    waits.measured(right)
}

/// Handles the messages of one key; gives how many came in their turn.
async fn one_key(mut inbox: UnboundedReceiver<Message>, waits: Waits) -> u64 {
    let mut key = InOrder::default();
    while let Some(message) = inbox.recv().await {
        waits.begin(&message);
        yield_now().await;
        key.take(message.number);
    }
    key.right()
}

/// One coroutine for all keys, with a queue for each.
pub fn hot_key_by_one(n: u64) -> Measured {
    let waits = Waits::default();
    let noted = waits.clone();
    let right = Plain::runtime().block_on(async move {
        let (sender, inbox) = unbounded_channel();
        let begins = noted.clone();
        let one = tokio::spawn(one_for_all(
            inbox,
            move |key, mut checked: InOrder, message: Message| {
                let begins = begins.clone();
                async move {
                    begins.begin(&message);
                    yield_now().await;
                    checked.take(message.number);
                    (key, checked)
                }
            },
        ));
        let sending = tokio::spawn(send_all(n, noted, move |key, message| {
            sender.send((key, message)).expect("the other listens");
        }));
        joined(sending).await;
        joined(one).await
    });
    waits.measured(right)
}

/// One queue for all keys: each message is handled when all that came before it are.
pub fn hot_key_in_turn(n: u64) -> Measured {
    let waits = Waits::default();
    let noted = waits.clone();
    let right = Plain::runtime().block_on(async move {
        let (sender, inbox) = unbounded_channel();
        let one = tokio::spawn(in_turn(inbox, noted.clone()));
        let sending = tokio::spawn(send_all(n, noted, move |key, message| {
            sender.send((key, message)).expect("the other listens");
        }));
        joined(sending).await;
        joined(one).await
    });
    waits.measured(right)
}

/// Sends the backlog, then what goes to the other keys.
async fn send_all(n: u64, waits: Waits, send: impl Fn(u64, Message)) {
    for message in hot::backlog(n) {
        send(HOT, message);
    }
    for (key, after) in hot::schedule(n) {
        while waits.begun() < after {
            yield_now().await;
        }
        send(key, waits.next_message());
    }
}

/// Handles messages one after the other, whatever their keys; gives how many came in their turn.
async fn in_turn(mut inbox: UnboundedReceiver<(u64, Message)>, waits: Waits) -> u64 {
    let mut keys: HashMap<u64, InOrder> = HashMap::new();
    let mut right = 0;
    while let Some((key, message)) = inbox.recv().await {
        waits.begin(&message);
        yield_now().await;
        right += u64::from(keys.entry(key).or_default().take(message.number));
    }
    right
}
