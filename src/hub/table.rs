//! What waits in a keyed engine: messages in a queue for each key, behind a full queue those who wait for room, and whose turn it is.
//!
//! It is apart because it only keeps and orders: it wakes nobody, runs nobody's code, and is all that must be borrowed to send.
//!
//! Invariants:
//! 1. No key has more messages and kept places than `per_key`, all together no more than `total`, and their sizes no more than `bytes`.
//! 2. Nobody passes a waiter: in a key where anyone waits, and while anyone waits for room of all, a newcomer waits behind or is refused.
//! 3. Waiters of one key are served in the order in which they came; keys take turns.
//! 4. A key with messages, open and in nobody's hands, is in the ring once.
//!
//! ```text
//!             message            a worker takes it              queue empty
//!   (none) ──────────▶ in ring ────────────────────▶ in hand ──────────────▶ (none)
//!                         ▲  messages left, turn over   │ parked, stopped
//!                         └─────────────────────────────┴────────────────▶ held ── resumed, forgotten ──▶
//! ```

use std::collections::VecDeque;

use slab::Slab;

use super::line::Line;
use super::seats::Seats;
use crate::arena::{Arena, Id};
use crate::key_name::{Blank, KeyName};
use crate::ordered_queue::{Asker, Intake};
use crate::timers::Nanos;
use crate::waiter::WaiterSlot;

/// The index of no node.
const END: u32 = u32::MAX;

/// How many boxes of names are kept for keys to come.
const SPARE: usize = 1024;

/// A message, who asked for its result, how large it is, and since when it waits.
pub(crate) struct Item<M, R, E> {
    /// The message.
    pub(crate) message: M,
    /// Who asked.
    pub(crate) asker: Asker<R, E>,
    /// What it counts towards the limit in bytes.
    pub(crate) size: usize,
    /// The clock at the look before it arrived.
    pub(crate) since: Nanos,
}

/// What somebody in line wants, or got.
pub(crate) enum Want<M, R, E> {
    /// A message queued.
    Item(Item<M, R, E>),
    /// A place kept.
    Place,
    /// A message of another thread queued.
    Outside(Item<M, R, E>),
    /// The message is queued.
    Admitted,
    /// A place is kept.
    Granted,
    /// It will never be. What was wanted is given back.
    TurnedAway(Option<Item<M, R, E>>),
}

impl<M, R, E> Want<M, R, E> {
    /// What it counts towards the limit in bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Want::Item(item) | Want::Outside(item) => item.size,
            _ => 0,
        }
    }

    /// Whether it is still waited for.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Want::Item(_) | Want::Place | Want::Outside(_))
    }
}

/// A message in a queue.
struct Node<M, R, E> {
    /// The message.
    item: Item<M, R, E>,
    /// The one behind it.
    next: u32,
}

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
    pub(crate) hash: u64,
    /// The first message.
    front: u32,
    /// The last one.
    back: u32,
    /// How many there are.
    pub(crate) len: u32,
    /// How many places are kept.
    pub(crate) kept: u32,
    /// Who waits for room.
    pub(crate) line: Line,
    /// The seat of the worker that has it in hand.
    pub(crate) seat: Option<u32>,
    /// How many messages it gets in a turn.
    pub(crate) weight: u32,
    /// Whether its messages are handled.
    pub(crate) hold: Hold,
    /// Whether it is in the ring.
    in_ring: bool,
    /// Whether it is in the ring of those with a line that has room.
    in_room_ring: bool,
    /// Whether it is no key but one message that runs free.
    pub(crate) free: bool,
    /// Whether it has state.
    pub(crate) has_state: bool,
    /// Whether its state goes with the call that has it.
    pub(crate) forgotten: bool,
}

impl<K> KeyState<K> {
    /// Whether nothing of it is worth keeping.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.len == 0
            && self.kept == 0
            && self.line.is_empty()
            && self.seat.is_none()
            && self.hold == Hold::Open
    }
}

/// How the turn of a key ended.
pub(crate) enum Turn {
    /// It goes on, or the key waits for its next one.
    None,
    /// The key has no messages.
    Empty(Id),
    /// The key was forgotten during its call, and is still in hand.
    Forgotten(Id),
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

/// Whether a newcomer may go in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// At once.
    Free,
    /// The key has none.
    NoneOfKey,
    /// There is none for anybody.
    NoneAtAll,
}

/// See the module's page.
pub(crate) struct Table<K, M, R, E> {
    /// The keys.
    pub(crate) keys: Arena<KeyState<K>>,
    /// The messages of all.
    nodes: Slab<Node<M, R, E>>,
    /// Who waits for room, by the key.
    pub(crate) waiters: Arena<super::line::Waiter<M, R, E>>,
    /// Keys whose turn comes, first to come first (invariant 4). It may name some whose turn went by.
    ring: VecDeque<Id>,
    /// Keys in whose line the first may get room as soon as there is room of all.
    room_ring: VecDeque<Id>,
    /// The workers.
    pub(crate) seats: Seats<R, E>,
    /// The limits.
    pub(crate) limits: Limits,
    /// Messages of all keys.
    pub(crate) queued: usize,
    /// How many messages were ever queued.
    pub(crate) arrived: u64,
    /// Kept places of all keys.
    pub(crate) kept: usize,
    /// The sizes of all messages.
    pub(crate) bytes: usize,
    /// How many wait for room.
    pub(crate) waiting: usize,
    /// What is taken in.
    pub(crate) intake: Intake,
    /// Boxes of names for keys to come.
    spare: Vec<Blank<K>>,
}

impl<K, M, R, E> Table<K, M, R, E> {
    /// An empty table.
    pub(crate) fn new(limits: Limits) -> Self {
        Table {
            keys: Arena::new(),
            nodes: Slab::new(),
            waiters: Arena::new(),
            ring: VecDeque::new(),
            room_ring: VecDeque::new(),
            seats: Seats::new(),
            limits,
            queued: 0,
            arrived: 0,
            kept: 0,
            bytes: 0,
            waiting: 0,
            intake: Intake::Open,
            spare: Vec::new(),
        }
    }

    // Keys.

    /// A name for this key.
    pub(crate) fn name(&mut self, key: K) -> KeyName<K> {
        match self.spare.pop() {
            Some(blank) => blank.name(key),
            None => KeyName::new(key),
        }
    }

    /// Keeps the box of a name whose key has gone.
    pub(crate) fn keep_blank(&mut self, blank: Blank<K>) {
        if self.spare.len() < SPARE {
            self.spare.push(blank);
        }
    }

    /// Enters a key.
    pub(crate) fn add_key(&mut self, name: KeyName<K>, hash: u64, weight: u32, free: bool) -> Id {
        self.keys.insert(KeyState {
            name,
            hash,
            front: END,
            back: END,
            len: 0,
            kept: 0,
            line: Line::EMPTY,
            seat: None,
            weight,
            hold: Hold::Open,
            in_ring: false,
            in_room_ring: false,
            free,
            has_state: false,
            forgotten: false,
        })
    }

    // Room.

    /// Whether a newcomer of this size may go in (keeps invariants 1 and 2).
    #[inline]
    pub(crate) fn room(&self, id: Id, size: usize) -> Room {
        let key = self.keys.get(id);
        if key.is_some_and(|key| !key.line.is_empty() || !self.has_own_room(key)) {
            Room::NoneOfKey
        } else if !self.room_ring.is_empty() || !self.fits(size) {
            Room::NoneAtAll
        } else {
            Room::Free
        }
    }

    /// Whether one more fits into a key.
    #[inline]
    fn has_own_room(&self, key: &KeyState<K>) -> bool {
        ((key.len + key.kept) as usize) < self.limits.per_key
    }

    /// Whether one more of this size fits at all.
    #[inline]
    pub(crate) fn fits(&self, size: usize) -> bool {
        self.queued + self.kept < self.limits.total && self.fits_bytes(size)
    }

    /// Whether so many bytes more fit.
    #[inline]
    pub(crate) fn fits_bytes(&self, size: usize) -> bool {
        size <= self.limits.bytes.saturating_sub(self.bytes)
    }

    /// Whether a message of this size fits into a key in the stead of the `most` oldest there.
    pub(crate) fn fits_instead(&self, id: Id, most: usize, size: usize) -> bool {
        let Some(key) = self.keys.get(id) else {
            return false;
        };
        let (mut next, mut count, mut bytes) = (key.front, 0, 0);
        while count < most
            && let Some(node) = self.nodes.get(next as usize)
        {
            count += 1;
            bytes += node.item.size;
            next = node.next;
        }
        ((key.len + key.kept) as usize) - count < self.limits.per_key
            && self.queued + self.kept - count < self.limits.total
            && self.bytes - bytes <= self.limits.bytes.saturating_sub(size)
    }

    // Messages.

    /// Queues a message if there is room for it now: the short way of most. Gives it back if not.
    #[inline]
    pub(crate) fn offer(&mut self, id: Id, item: Item<M, R, E>) -> Result<(), Item<M, R, E>> {
        let open = self.intake == Intake::Open && self.room_ring.is_empty() && self.fits(item.size);
        let per_key = self.limits.per_key;
        let takes = |key: &KeyState<K>| {
            key.line.is_empty()
                && key.hold != Hold::Stopped
                && ((key.len + key.kept) as usize) < per_key
        };
        if open && self.keys.get(id).is_some_and(takes) {
            self.push(id, item);
            Ok(())
        } else {
            Err(item)
        }
    }

    /// Queues a message that was found to have room.
    #[inline]
    pub(crate) fn push(&mut self, id: Id, item: Item<M, R, E>) {
        let Table {
            keys, nodes, ring, ..
        } = self;
        let Some(key) = keys.get_mut(id) else {
            return;
        };
        self.queued += 1;
        self.arrived = self.arrived.wrapping_add(1);
        self.bytes += item.size;
        let at = nodes.insert(Node { item, next: END });
        let at = u32::try_from(at).expect("fewer than 2^32 messages");
        key.len += 1;
        match key.back {
            END => key.front = at,
            back => nodes[back as usize].next = at,
        }
        key.back = at;
        if !key.in_ring && key.seat.is_none() && key.hold == Hold::Open {
            key.in_ring = true;
            ring.push_back(id);
        }
    }

    /// Takes the next message of a key.
    #[inline]
    pub(crate) fn pop(&mut self, id: Id) -> Option<Item<M, R, E>> {
        let key = self.keys.get_mut(id)?;
        if key.front == END {
            return None;
        }
        let Node { item, next } = self.nodes.remove(key.front as usize);
        key.front = next;
        if next == END {
            key.back = END;
        }
        key.len -= 1;
        self.queued -= 1;
        self.bytes -= item.size;
        if !key.line.is_empty() {
            self.make_room_ready(id);
        }
        Some(item)
    }

    /// The next message of a key.
    pub(crate) fn first(&self, id: Id) -> Option<&Item<M, R, E>> {
        let front = self.keys.get(id)?.front;
        self.nodes.get(front as usize).map(|node| &node.item)
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

    // Turns.

    /// Puts a key in the ring if it belongs there (keeps invariant 4).
    #[inline]
    pub(crate) fn make_ready(&mut self, id: Id) {
        if let Some(key) = self.keys.get_mut(id)
            && key.len > 0
            && key.seat.is_none()
            && key.hold == Hold::Open
            && !key.in_ring
        {
            key.in_ring = true;
            self.ring.push_back(id);
        }
    }

    /// Whether this many workers on their way to the ring will find a key for each and leave some over.
    #[inline]
    pub(crate) fn has_more_than(&self, coming: usize) -> bool {
        self.ring.len() > coming
    }

    /// Whether any key waits for its turn.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ring.is_empty()
    }

    /// Whether who waits in this key's line waits for room of all, and not for the key's.
    pub(crate) fn waits_for_all(&self, id: Id) -> bool {
        self.keys.get(id).is_some_and(|key| key.in_room_ring)
    }

    /// Gives the next key in turn into the hands of the worker in this seat.
    #[inline]
    pub(crate) fn take_turn(&mut self, seat: u32) -> Option<Id> {
        loop {
            let id = self.ring.pop_front()?;
            let Some(key) = self.keys.get_mut(id) else {
                continue;
            };
            key.in_ring = false;
            if key.len > 0 && key.seat.is_none() && key.hold == Hold::Open {
                key.seat = Some(seat);
                return Some(id);
            }
        }
    }

    /// Ends the turn of the key that the worker in this seat has in hand, unless it goes on: it has messages, and credit is left or nobody
    /// else waits. A key put down is in the ring, or has no messages.
    #[inline]
    pub(crate) fn end_turn(&mut self, seat: u32) -> Turn {
        let Table {
            keys, seats, ring, ..
        } = self;
        let Some(seat) = seats.get_mut(seat) else {
            return Turn::None;
        };
        let id = seat.key;
        let Some(key) = keys.get_mut(id) else {
            seat.key = Id::NONE;
            return Turn::None;
        };
        let has_more = key.len > 0 && key.hold == Hold::Open;
        if key.forgotten {
            seat.key = Id::NONE;
            return Turn::Forgotten(id);
        }
        if has_more && (seat.credit > 0 || ring.is_empty()) {
            return Turn::None;
        }
        seat.key = Id::NONE;
        key.seat = None;
        if has_more {
            key.in_ring = true;
            ring.push_back(id);
            Turn::None
        } else {
            Turn::Empty(id)
        }
    }

    /// Takes a key out of its worker's hands; it goes to the back of the ring if it has messages.
    #[inline]
    pub(crate) fn put_down(&mut self, id: Id) {
        if let Some(key) = self.keys.get_mut(id) {
            key.seat = None;
            self.make_ready(id);
        }
    }

    // Waiting for room.

    /// Notes that the line of a key may get room, if there is room of all.
    pub(crate) fn make_room_ready(&mut self, id: Id) {
        if let Some(key) = self.keys.get_mut(id)
            && !key.line.is_empty()
            && !key.in_room_ring
            && ((key.len + key.kept) as usize) < self.limits.per_key
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

    /// Lets in the first in line of the next key in turn, if there is room (keeps invariant 3). Gives the slot to wake; `outside` hears
    /// of messages of other threads.
    pub(crate) fn admit(&mut self, outside: &mut usize) -> Option<WaiterSlot> {
        loop {
            let id = *self.room_ring.front()?;
            let limits = self.limits;
            let Some(key) = self.keys.get_mut(id) else {
                self.room_ring.pop_front();
                continue;
            };
            let own_room = ((key.len + key.kept) as usize) < limits.per_key;
            let first = key.line.first();
            let waiter = self.waiters.get(first).filter(|_| own_room);
            let Some(waiter) = waiter else {
                key.in_room_ring = false;
                self.room_ring.pop_front();
                continue;
            };
            if !self.fits(waiter.want.size()) {
                return None;
            }
            self.room_ring.pop_front();
            let slot = self.serve(id, first, outside);
            if let Some(key) = self.keys.get_mut(id) {
                key.in_room_ring = false;
            }
            self.make_room_ready(id);
            return Some(slot);
        }
    }

    /// Gives the first in line what he wants.
    fn serve(&mut self, id: Id, first: Id, outside: &mut usize) -> WaiterSlot {
        self.unline(id, first);
        let Some(waiter) = self.waiters.get_mut(first) else {
            return WaiterSlot::EMPTY;
        };
        let slot = waiter.slot;
        waiter.slot = slot.vacated();
        match std::mem::replace(&mut waiter.want, Want::Admitted) {
            Want::Item(item) => self.push(id, item),
            Want::Outside(item) => {
                self.waiters.remove(first);
                *outside += 1;
                self.push(id, item);
            }
            Want::Place => {
                waiter.want = Want::Granted;
                self.keep_place(id);
            }
            served => waiter.want = served,
        }
        slot
    }
}
