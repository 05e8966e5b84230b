//! The keys of a keyed engine, what is queued for each, and whose turn it is.
//!
//! It is apart because it only keeps and orders: it wakes nobody, runs nobody's code, and is all that must be borrowed to send.
//!
//! Invariants:
//! 1. No key has more messages and kept places than `per_key`, all together no more than `total`, and their sizes no more than `bytes`.
//! 2. A key with messages, open and in nobody's hands, is in the ring once.
//! 3. A key whose turn is over goes to the back of the ring: no key is passed by another twice.
//! 4. A key that is no message's own, of no more than one message, is found by its hash.
//!
//! ```text
//!             message            a worker takes it              queue empty
//!   (none) ──────────▶ in ring ────────────────────▶ in hand ──────────────▶ (none)
//!                         ▲  messages left, turn over   │ parked, stopped
//!                         └─────────────────────────────┴────────────────▶ held ── resumed, forgotten ──▶
//! ```

use std::collections::VecDeque;

use crate::arena::{Arena, Id};
use crate::hub::index::{Index, Probe};
use crate::hub::line::{Line, Lines};
use crate::hub::message::Item;
use crate::hub::queues::{Queue, Queues};
use crate::hub::ring::Ring;
use crate::hub::seats::{Seat, Seats};
use crate::key_name::{Blank, KeyName};
use crate::ordered_queue::{Asker, Intake};
use crate::timers::Nanos;

/// How many boxes of names are kept for keys to come.
const SPARE: usize = 1024;

/// The seat of nobody.
const NOBODY: u32 = u32::MAX;

/// Whether a key's messages are handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hold {
    /// They are.
    Open,
    /// They wait until the key is resumed.
    Parked,
    /// None are, and none are taken in.
    Stopped,
}

/// One key that is not idle, or has state.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says another thing of a key, and they are small together"
)]
pub(crate) struct KeyState<K> {
    /// The key.
    pub(crate) name: KeyName<K>,
    /// Its hash.
    pub(crate) hash: u32,
    /// Its messages.
    pub(crate) queue: Queue,
    /// How many places are kept.
    pub(crate) kept: u32,
    /// Who waits for room.
    pub(crate) line: Line,
    /// The seat of the worker that has it in hand.
    seat: u32,
    /// How many messages it gets in a turn.
    weight: u32,
    /// Whether its messages are handled.
    pub(crate) hold: Hold,
    /// Whether it is in the ring.
    in_ring: bool,
    /// Whether it is in the ring of those with a line that has room.
    pub(crate) in_room_ring: bool,
    /// Whether it is no key but one message that runs free.
    pub(crate) free: bool,
    /// Whether it has state.
    pub(crate) has_state: bool,
    /// Whether its state goes with the call that has it.
    pub(crate) forgotten: bool,
}

impl<K> KeyState<K> {
    /// Whether nothing of it is worth keeping but perhaps its state.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.kept == 0
            && self.line.is_empty()
            && self.seat == NOBODY
            && self.hold == Hold::Open
    }

    /// The seat of the worker that has it in hand.
    pub(crate) fn seat(&self) -> Option<u32> {
        (self.seat != NOBODY).then_some(self.seat)
    }

    /// How many messages it has and how many places are kept.
    #[inline]
    pub(crate) fn taken(&self) -> usize {
        self.queue.len() + self.kept as usize
    }

    /// Whether it has messages, is open and in nobody's hands.
    #[inline]
    fn is_ready(&self) -> bool {
        !self.queue.is_empty() && self.seat == NOBODY && self.hold == Hold::Open
    }
}

/// What a worker that asks for a message is given.
pub(crate) enum Turn<K, M> {
    /// A message.
    Call(Begun<K, M>),
    /// Nothing: no key is ready, or no call more may run.
    Nothing,
    /// First the key that it has put down is to be let go, or to lose its state. It is told whether that was asked for.
    PutDown(Id, bool),
    /// First the permits that are there go to calls that have to go on.
    Grant,
}

/// A message that has been taken.
pub(crate) struct Begun<K, M> {
    /// Its key's place.
    pub(crate) key: Id,
    /// Its key.
    pub(crate) name: KeyName<K>,
    /// The message.
    pub(crate) message: M,
    /// What it counted.
    size: usize,
    /// Since when it waited.
    pub(crate) since: Nanos,
    /// Whether somebody asked for the result.
    pub(crate) asked: bool,
    /// Whether anybody waits for room in its key.
    has_line: bool,
}

/// How much there may be of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Messages of one key.
    pub(crate) per_key: usize,
    /// Messages of all keys.
    pub(crate) total: usize,
    /// Their sizes.
    pub(crate) bytes: usize,
    /// Calls at a time.
    pub(crate) concurrency: usize,
}

/// See the module's page.
pub(crate) struct Table<K, M, R, E> {
    /// The keys.
    pub(crate) keys: Arena<KeyState<K>>,
    /// Where they are found.
    pub(crate) index: Index,
    /// The messages of all.
    queues: Queues<M, R, E>,
    /// Who waits for room.
    pub(crate) lines: Lines<M, R, E>,
    /// Keys whose turn comes, first to come first (invariant 2). It may name some whose turn went by.
    ring: Ring,
    /// Keys in whose line the first may get room as soon as there is room of all.
    pub(crate) room_ring: VecDeque<Id>,
    /// The workers.
    pub(crate) seats: Seats<R, E>,
    /// The limits.
    pub(crate) limits: Limits,
    /// How many messages were ever queued.
    pub(crate) arrived: u64,
    /// Kept places of all keys.
    pub(crate) kept: usize,
    /// The sizes of all messages.
    pub(crate) bytes: usize,
    /// What is taken in.
    pub(crate) intake: Intake,
    /// Whether states outlive the messages.
    pub(crate) keeps_state: bool,
    /// Boxes of names for keys to come.
    spare: Vec<Blank<K>>,
}

impl<K, M, R, E> Table<K, M, R, E> {
    /// An empty table.
    pub(crate) fn new(limits: Limits, keeps_state: bool) -> Self {
        Table {
            keys: Arena::new(),
            index: Index::new(),
            queues: Queues::new(),
            lines: Lines::new(),
            ring: Ring::new(),
            room_ring: VecDeque::new(),
            seats: Seats::new(limits.concurrency),
            limits,
            arrived: 0,
            kept: 0,
            bytes: 0,
            intake: Intake::Open,
            keeps_state,
            spare: Vec::new(),
        }
    }

    // Keys.

    /// The next key that has the hash looked for, and its name.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the most of a look-up")]
    pub(crate) fn candidate(&self, probe: &mut Probe) -> Option<(Id, KeyName<K>)> {
        let row = self.index.next(probe)?;
        let (id, key) = self.keys.at(row as usize)?;
        Some((id, key.name.clone()))
    }

    /// Enters a key; without a hash, one that is never found again.
    pub(crate) fn enter(&mut self, key: K, hash: Option<u32>, weight: u32) -> Id {
        let name = match self.spare.pop() {
            Some(blank) => blank.name(key),
            None => KeyName::new(key),
        };
        let id = self.keys.insert(KeyState {
            name,
            hash: hash.unwrap_or(0),
            queue: Queue::EMPTY,
            kept: 0,
            line: Line::EMPTY,
            seat: NOBODY,
            weight,
            hold: Hold::Open,
            in_ring: false,
            in_room_ring: false,
            free: hash.is_none(),
            has_state: false,
            forgotten: false,
        });
        if let Some(hash) = hash {
            let row = u32::try_from(id.index()).expect("an id's slot is a u32");
            self.index.enter(hash, row);
        }
        id
    }

    /// Takes a key out that is idle and has no state. Gives its name, to be dropped by the caller.
    pub(crate) fn take_idle(&mut self, id: Id) -> Option<KeyName<K>> {
        let key = self.keys.get(id)?;
        if !key.is_idle() || key.has_state {
            return None;
        }
        let key = self.keys.remove(id)?;
        if !key.free
            && let Ok(row) = u32::try_from(id.index())
        {
            self.index.leave(key.hash, row);
        }
        Some(key.name)
    }

    /// Keeps the box of a name whose key has gone.
    pub(crate) fn keep_blank(&mut self, blank: Blank<K>) {
        if self.spare.len() < SPARE {
            self.spare.push(blank);
        }
    }

    // Messages.

    /// Messages of all keys.
    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.queues.len()
    }

    /// Whether nothing is queued, in line or promised.
    pub(crate) fn is_dry(&self) -> bool {
        self.queued() == 0 && self.lines.waiting() == 0 && self.kept == 0
    }

    /// Takes no more newcomers.
    pub(crate) fn close(&mut self) {
        if self.intake == Intake::Open {
            self.intake = Intake::Closed;
        }
    }

    /// Whether so many bytes more fit.
    #[inline]
    pub(crate) fn fits_bytes(&self, size: usize) -> bool {
        size <= self.limits.bytes.saturating_sub(self.bytes)
    }

    /// Whether one more of this size fits at all.
    #[inline]
    pub(crate) fn fits(&self, size: usize) -> bool {
        self.queued() + self.kept < self.limits.total && self.fits_bytes(size)
    }

    /// Queues a message if there is room for it now: the short way of most. Gives it back if not.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "on the way of every message, from two places"
    )]
    pub(crate) fn offer(
        &mut self,
        id: Id,
        message: M,
        asker: Asker<R, E>,
        (size, since): (usize, Nanos),
    ) -> Result<(), (M, Asker<R, E>)> {
        let open = self.intake == Intake::Open && self.room_ring.is_empty() && self.fits(size);
        let Table {
            keys, queues, ring, ..
        } = self;
        match keys.get_mut(id) {
            Some(key)
                if open
                    && key.line.is_empty()
                    && key.hold != Hold::Stopped
                    && key.taken() < self.limits.per_key =>
            {
                self.arrived = self.arrived.wrapping_add(1);
                self.bytes += size;
                queues.push(&mut key.queue, message, asker, (size, since));
                if !key.in_ring && key.is_ready() {
                    key.in_ring = true;
                    ring.push(id);
                }
                Ok(())
            }
            _ => Err((message, asker)),
        }
    }

    /// Queues a message that was found to have room.
    pub(crate) fn push(&mut self, id: Id, item: Item<M, R, E>) {
        if let Some(key) = self.keys.get_mut(id) {
            self.arrived = self.arrived.wrapping_add(1);
            self.bytes += item.size;
            let (size, since) = (item.size, item.since);
            self.queues
                .push(&mut key.queue, item.message, item.asker, (size, since));
            self.make_ready(id);
        }
    }

    /// Takes the next message of a key.
    pub(crate) fn pop(&mut self, id: Id) -> Option<Item<M, R, E>> {
        let key = self.keys.get_mut(id)?;
        let item = self.queues.pop(&mut key.queue)?;
        self.bytes -= item.size;
        self.make_room_ready(id);
        Some(item)
    }

    /// The sizes of a key's messages and since when they wait, first to last.
    pub(crate) fn messages(&self, id: Id) -> impl Iterator<Item = (usize, Nanos)> {
        let queue = self.keys.get(id).map_or(Queue::EMPTY, |key| key.queue);
        self.queues.iter(queue)
    }

    /// Keeps a place.
    pub(crate) fn keep_place(&mut self, id: Id) {
        if let Some(key) = self.keys.get_mut(id) {
            key.kept += 1;
            self.kept += 1;
        }
    }

    /// Gives a kept place up. Tells whether it was there.
    pub(crate) fn free_place(&mut self, id: Id) -> bool {
        let key = self.keys.get_mut(id).filter(|key| key.kept > 0);
        let Some(key) = key else {
            return false;
        };
        key.kept -= 1;
        self.kept -= 1;
        self.make_room_ready(id);
        true
    }

    /// Notes that the line of a key may get room, if there is room of all.
    #[inline]
    pub(crate) fn make_room_ready(&mut self, id: Id) {
        if let Some(key) = self.keys.get_mut(id)
            && !key.line.is_empty()
            && !key.in_room_ring
            && key.taken() < self.limits.per_key
        {
            key.in_room_ring = true;
            self.room_ring.push_back(id);
        }
    }

    /// Whether anybody might be let in.
    #[inline]
    pub(crate) fn has_line(&self) -> bool {
        !self.room_ring.is_empty()
    }

    // Turns.

    /// Puts a key in the ring if it belongs there (keeps invariant 2).
    #[inline]
    pub(crate) fn make_ready(&mut self, id: Id) {
        if let Some(key) = self.keys.get_mut(id)
            && !key.in_ring
            && key.is_ready()
        {
            key.in_ring = true;
            self.ring.push(id);
        }
    }

    /// Whether any key waits for its turn.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ring.is_empty()
    }

    /// Whether a key waits for its turn and one more call may run, but no worker is on its way.
    #[inline]
    pub(crate) fn lacks_scout(&self) -> bool {
        !self.ring.is_empty() && self.seats.coming() == 0 && self.seats.permits() > 0
    }

    /// Whether more keys wait and more calls may run than there are workers on their way, beside one who has come.
    pub(crate) fn lacks_worker(&self) -> bool {
        let coming = self.seats.coming() + 1;
        self.ring.len() > coming && self.seats.permits() > coming
    }

    /// Ends the turn of the key that the worker in this seat has in hand, unless it goes on: it has messages, may run, and credit is left
    /// or nobody else waits. Then gives the next message of the key in hand, or of the next key in turn.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "on the way of every message, from one place"
    )]
    pub(crate) fn next(&mut self, at: u32, now: Nanos) -> Turn<K, M> {
        self.seats.pass_over(at);
        if self.seats.can_grant() {
            return Turn::Grant;
        }
        let may = self.seats.permits() > 0;
        let Table {
            keys,
            queues,
            seats: Seats { workers, busy, .. },
            ring,
            ..
        } = self;
        let Some(seat) = workers.get_mut(at as usize) else {
            return Turn::Nothing;
        };
        let held = seat.key;
        let mut begun = None;
        if let Some(key) = keys.get_mut(held) {
            let has_more = !key.queue.is_empty() && key.hold == Hold::Open;
            if key.forgotten {
                key.forgotten = false;
                seat.key = Id::NONE;
                return Turn::PutDown(held, true);
            }
            if has_more && may && (seat.credit > 0 || ring.is_empty()) {
                begun = begin(held, key, seat, queues);
            } else {
                seat.key = Id::NONE;
                key.seat = NOBODY;
                if has_more {
                    key.in_ring = true;
                    ring.push(held);
                } else if !(key.has_state && self.keeps_state && !key.free) {
                    return Turn::PutDown(held, false);
                }
            }
        }
        while begun.is_none() && may {
            let Some(id) = ring.pop() else { break };
            if let Some(key) = keys.get_mut(id) {
                key.in_ring = false;
                if key.is_ready() {
                    key.seat = at;
                    seat.credit = key.weight;
                    begun = begin(id, key, seat, queues);
                }
            }
        }
        let Some(begun) = begun else {
            return Turn::Nothing;
        };
        seat.since = now;
        *busy += 1;
        self.bytes -= begun.size;
        if begun.has_line {
            self.make_room_ready(begun.key);
        }
        Turn::Call(begun)
    }

    /// Takes a key out of its worker's hands; it goes to the back of the ring if it has messages.
    pub(crate) fn put_down(&mut self, id: Id) {
        if let Some(key) = self.keys.get_mut(id) {
            key.seat = NOBODY;
            self.make_ready(id);
        }
    }
}

/// Takes the next message of a key into the hands of a worker.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "on the way of every message, from two places"
)]
fn begin<K, M, R, E>(
    id: Id,
    key: &mut KeyState<K>,
    seat: &mut Seat<R, E>,
    queues: &mut Queues<M, R, E>,
) -> Option<Begun<K, M>> {
    let item = queues.pop(&mut key.queue)?;
    key.has_state = true;
    seat.key = id;
    seat.credit = seat.credit.saturating_sub(1);
    let asked = item.asker.is_some();
    // The call before was settled: forgetting that saves the look whether an asker must be dropped.
    std::mem::forget(std::mem::replace(&mut seat.asker, item.asker));
    seat.busy = true;
    Some(Begun {
        key: id,
        name: key.name.clone(),
        message: item.message,
        size: item.size,
        since: item.since,
        asked,
        has_line: !key.line.is_empty(),
    })
}
