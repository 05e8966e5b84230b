//! What the loop knows of each registered socket: what it is ready for, who waits for it, and how busy it has been.
//!
//! It is apart from the poll because a socket looks here in every transfer, and the poll only when there is nothing else to do.
//!
//! Invariants:
//! 1. Readiness is bits: set by an event, cleared by who found the socket empty ("would block", or a read that came up short).
//! 2. A closed peer stays readable, and a broken socket both: no later event would say so again. A socket with urgent data stays
//!    readable until a try would block: a read stops short before such data, though more is there.
//! 3. A token carries a generation: an event for a source that is gone reaches nobody, also within one batch.
//! 4. A place is known to one socket only, which gives it up once: who comes by place needs no generation.
//! 5. What a slot holds counts only as far as the bits say: whether somebody waits in it, and whether the number of the resume in it is
//!    of the wait under way. So a wake-up and the end of a wait change bits only, and who begins a wait finds no trace of one before.
//! 6. Who waits to read sits in the row; who waits to write in a list of its own, which reaches as far as the highest place in which
//!    that ever happened. A server whose kernel always has room has none.
//!
//! ```text
//!           parks              event, or a try
//!   idle ──────────▶ WAITS ─────────────────────▶ woken
//!     ▲              UNDER_WAY                    UNDER_WAY
//!     └──────────────── done, or given up ──────────┘
//! ```

use std::num::NonZero;

use crate::waiter::WaiterSlot;
use mio::Token;
use mio::event::Event;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("yieldpoint packs a 64-bit token and needs a 64-bit target");

/// How many transfers a socket makes in one resume before it gives way.
const BURST: u8 = 64;

/// The number of places up to which memory is kept.
const KEPT: usize = 1024;

/// The two ways in which a socket can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Bytes to read, or a connection to accept.
    Read,
    /// Room to write, or a connection made.
    Write,
}

/// Where a socket's source is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(u32);

/// What is said of a direction of a source: one bit for each.
#[derive(Clone, Copy)]
struct Bit(u8);

impl Bit {
    /// A try is worth making.
    const READY: Bit = Bit(0);
    /// And no transfer that comes up short changes that (invariant 2).
    const FOR_GOOD: Bit = Bit(2);
    /// Somebody waits in the slot.
    const WAITS: Bit = Bit(4);
    /// The number of the resume in the slot is of the wait under way.
    const UNDER_WAY: Bit = Bit(6);

    /// The bit of one direction.
    #[inline]
    const fn of(self, direction: Direction) -> u8 {
        1 << (self.0 + direction as u8)
    }

    /// The bits of both.
    #[inline]
    const fn of_both(self) -> u8 {
        3 << self.0
    }
}

/// What was said of a source before a try.
#[derive(Clone, Copy)]
pub(crate) struct Before(u8);

/// What is kept of one registered socket, in 24 bytes: there is one for every connection, however idle.
#[derive(Debug)]
struct Row {
    /// Which tenant of its place it is (invariant 3); 0 where the place is free.
    generation: u32,
    /// What is said of it: every [`Bit`] for both directions.
    bits: u8,
    /// How many transfers it made in its last busy resume.
    transfers: u8,
    /// The lower half of that resume's number. Taken for another's, a socket gives way too early.
    resume: u16,
    /// Who waits to read, or waited last (invariant 5).
    reader: WaiterSlot,
}

/// One registered socket.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    /// What is kept of it.
    row: &'a mut Row,
    /// Who waits to write, by place (invariant 6).
    writers: &'a mut Vec<WaiterSlot>,
    /// Its place.
    place: Place,
}

impl Row {
    /// A socket taken to be ready both ways, until a try says otherwise.
    fn new(generation: u32) -> Self {
        Row {
            generation,
            bits: Bit::READY.of_both(),
            transfers: 0,
            resume: 0,
            reader: WaiterSlot::EMPTY,
        }
    }

    /// Whether anybody waits.
    fn is_waited_for(&self) -> bool {
        self.bits & Bit::WAITS.of_both() != 0
    }
}

impl Source<'_> {
    /// Whether a try is worth making.
    #[inline]
    pub(crate) fn is_ready(&self, direction: Direction) -> bool {
        self.row.bits & Bit::READY.of(direction) != 0
    }

    /// Begins a try, which ends the wait under way. Gives what was said before. A try that `drains` is taken to leave nothing.
    #[inline]
    pub(crate) fn begin(&mut self, direction: Direction, drains: bool) -> Before {
        let before = Before(self.row.bits);
        self.row.bits &= !(Bit::WAITS.of(direction) | Bit::UNDER_WAY.of(direction));
        if drains {
            self.drained(direction);
        }
        before
    }

    /// Notes that a try has, or will have, taken all there was (keeps invariant 2).
    #[inline]
    pub(crate) fn drained(&mut self, direction: Direction) {
        self.row.bits &= !Bit::READY.of(direction) | self.row.bits >> Bit::FOR_GOOD.0;
    }

    /// Notes that a try left something, so that another one is worth making.
    pub(crate) fn not_drained(&mut self, direction: Direction) {
        self.row.bits |= Bit::READY.of(direction);
    }

    /// Notes that a try found nothing at all, whatever was said before.
    pub(crate) fn would_block(&mut self, direction: Direction) {
        self.row.bits &= !(Bit::READY.of(direction) | Bit::FOR_GOOD.of(direction));
    }

    /// Notes that the wait that was under way before a try goes on.
    pub(crate) fn go_on(&mut self, direction: Direction, before: Before) {
        self.row.bits |= before.0 & Bit::UNDER_WAY.of(direction);
    }

    /// Counts a transfer in the resume of this number. Tells whether it is one too many; the count begins anew then. Who `may_not_wait`
    /// is never told so.
    #[inline]
    pub(crate) fn is_burst_spent(&mut self, resume: u32, may_not_wait: bool) -> bool {
        let resume = (resume & 0xFFFF) as u16;
        self.row.transfers = if self.row.resume == resume {
            self.row.transfers.wrapping_add(1)
        } else {
            self.row.resume = resume;
            1
        };
        let spent = self.row.transfers > BURST && !may_not_wait;
        if spent {
            self.row.transfers = 0;
        }
        spent
    }

    /// Whether somebody waits.
    #[inline]
    pub(crate) fn waits(&self, direction: Direction) -> bool {
        self.row.bits & Bit::WAITS.of(direction) != 0
    }

    /// Who waits, as far as that is still so (invariant 5).
    pub(crate) fn waiter(&self, direction: Direction) -> WaiterSlot {
        if self.waits(direction) {
            self.slot(direction)
        } else if self.row.bits & Bit::UNDER_WAY.of(direction) != 0 {
            self.slot(direction).vacated()
        } else {
            WaiterSlot::EMPTY
        }
    }

    /// What is in a slot in which somebody has waited.
    #[inline]
    fn slot(&self, direction: Direction) -> WaiterSlot {
        match direction {
            Direction::Read => self.row.reader,
            Direction::Write => self.writers[self.place.0 as usize],
        }
    }

    /// Notes that somebody waits.
    #[inline]
    pub(crate) fn park(&mut self, direction: Direction, slot: WaiterSlot) {
        self.row.bits |= Bit::WAITS.of(direction) | Bit::UNDER_WAY.of(direction);
        match direction {
            Direction::Read => self.row.reader = slot,
            Direction::Write => self.seat_writer(slot),
        }
    }

    /// Puts who waits to write into the slot (keeps invariant 6).
    fn seat_writer(&mut self, slot: WaiterSlot) {
        let place = self.place.0 as usize;
        if self.writers.len() <= place {
            self.writers.resize(place + 1, WaiterSlot::EMPTY);
        }
        self.writers[place] = slot;
    }

    /// Notes that nobody waits any more, though the wait is not over. Gives who waited.
    pub(crate) fn vacate(&mut self, direction: Direction) -> WaiterSlot {
        let slot = self.waiter(direction);
        self.row.bits &= !Bit::WAITS.of(direction);
        slot
    }

    /// Notes that the wait, if there was one, is over. Gives who waited.
    pub(crate) fn give_up(&mut self, direction: Direction) -> WaiterSlot {
        let slot = self.vacate(direction);
        self.row.bits &= !Bit::UNDER_WAY.of(direction);
        slot
    }

    /// Takes in one event. Gives who is to be woken, first who reads.
    #[inline]
    pub(crate) fn ready_by(&mut self, event: &Event) -> [Option<WaiterSlot>; 2] {
        let mut ready = u8::from(event.is_readable()) | u8::from(event.is_writable()) << 1;
        let lasts = event.is_error() || event.is_read_closed() || event.is_write_closed();
        if lasts || event.is_priority() {
            ready |= self.lasts(event);
        }
        let woken = self.row.bits & ready << Bit::WAITS.0;
        self.row.bits = (self.row.bits | ready) & !woken;
        [Direction::Read, Direction::Write].map(|direction| {
            let is_woken = woken & Bit::WAITS.of(direction) != 0;
            is_woken.then(|| self.slot(direction))
        })
    }

    /// Takes in what no short transfer ends (keeps invariant 2). Gives for which directions.
    #[cold]
    fn lasts(&mut self, event: &Event) -> u8 {
        let broken = event.is_error();
        let read = event.is_read_closed() || event.is_priority() || broken;
        let write = event.is_write_closed() || broken;
        let lasting = u8::from(read) | u8::from(write) << 1;
        self.row.bits |= lasting << Bit::FOR_GOOD.0;
        lasting
    }
}

/// The sources of a loop.
#[derive(Debug)]
pub(crate) struct Sources {
    /// Each in its place.
    places: Vec<Row>,
    /// Who waits to write, by the same places (invariant 6).
    writers: Vec<WaiterSlot>,
    /// Which places are free.
    free: Vec<Place>,
    /// The generation of the next one.
    next: NonZero<u32>,
    /// How many were taken out of a sparse table since it was last shrunk.
    sparse_removals: usize,
}

impl Sources {
    /// No sources yet.
    pub(crate) const fn new() -> Self {
        Sources {
            places: Vec::new(),
            writers: Vec::new(),
            free: Vec::new(),
            next: NonZero::<u32>::MIN,
            sparse_removals: 0,
        }
    }

    /// Makes a source. Gives its place, and the token for its events.
    pub(crate) fn insert(&mut self) -> (Place, Token) {
        let generation = self.next;
        self.next = generation.checked_add(1).unwrap_or(NonZero::<u32>::MIN);
        let row = Row::new(generation.get());
        let place = if let Some(place) = self.free.pop() {
            self.places[place.0 as usize] = row;
            place
        } else {
            let index = u32::try_from(self.places.len()).expect("fewer than 2^32 descriptors");
            self.places.push(row);
            Place(index)
        };
        let token = place.0 as usize | (generation.get() as usize) << 32;
        (place, Token(token))
    }

    /// Takes a source out (invariant 4). Gives who waited for it.
    pub(crate) fn remove(&mut self, place: Place) -> [WaiterSlot; 2] {
        let mut source = self.at(place);
        let waiters =
            [Direction::Read, Direction::Write].map(|direction| source.give_up(direction));
        source.row.generation = 0;
        self.free.push(place);
        self.shrink();
        waiters
    }

    /// The source in a place, which stays there as long as its socket (invariant 4).
    #[inline]
    pub(crate) fn at(&mut self, place: Place) -> Source<'_> {
        Source {
            row: &mut self.places[place.0 as usize],
            writers: &mut self.writers,
            place,
        }
    }

    /// The source an event is for, if it is still there (invariant 3).
    #[inline]
    pub(crate) fn of(&mut self, token: Token) -> Option<Source<'_>> {
        let place = Place(u32::try_from(token.0 & 0xFFFF_FFFF).ok()?);
        let row = self.places.get(place.0 as usize)?;
        (row.generation as usize == token.0 >> 32).then(|| self.at(place))
    }

    /// How many sources there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// How many sources are waited for.
    pub(crate) fn waited_for(&self) -> usize {
        let waited_for = |row: &&Row| row.is_waited_for();
        self.places.iter().filter(waited_for).count()
    }

    /// Whether anybody waits for any source.
    pub(crate) fn are_waited_for(&self) -> bool {
        self.places.iter().any(Row::is_waited_for)
    }

    /// Gives memory back where at most a quarter of many places is in use. A shrink looks at every place, so it waits until an eighth
    /// of them was vacated since the last.
    fn shrink(&mut self) {
        let capacity = self.places.capacity();
        if capacity <= KEPT || self.len() > capacity / 4 {
            return;
        }
        self.sparse_removals += 1;
        if self.len() == 0 || self.sparse_removals >= capacity / 8 {
            let last = self.places.iter().rposition(|row| row.generation != 0);
            let kept = last.map_or(0, |last| last + 1);
            self.places.truncate(kept);
            self.places.shrink_to_fit();
            self.writers.truncate(kept);
            self.writers.shrink_to_fit();
            self.free.retain(|place| (place.0 as usize) < kept);
            self.free.shrink_to_fit();
            self.sparse_removals = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Id;

    #[test]
    fn a_source_is_24_bytes() {
        assert_eq!(size_of::<Row>(), 24);
    }

    #[test]
    fn only_who_waits_to_write_takes_a_place_among_the_writers() {
        let mut sources = Sources::new();
        let places: Vec<_> = (0..10).map(|_| sources.insert().0).collect();
        for (id, &place) in (1..).zip(&places) {
            let slot = WaiterSlot::direct(Id::from_bits(id), 5);
            sources.at(place).park(Direction::Read, slot);
            assert!(!sources.at(place).give_up(Direction::Write).is_waiting());
        }
        assert_eq!(sources.writers.len(), 0);

        let slot = WaiterSlot::direct(Id::from_bits(77), 5);
        sources.at(places[3]).park(Direction::Write, slot);
        assert_eq!(sources.writers.len(), 4);
        assert_eq!(sources.waited_for(), 10);
        let [reader, writer] = sources.remove(places[3]).map(WaiterSlot::owner);
        assert_eq!((reader, writer), (Id::from_bits(4), Id::from_bits(77)));
    }

    #[test]
    fn a_stale_token_does_not_reach_the_next_tenant_of_its_place() {
        let mut sources = Sources::new();
        let (place, old) = sources.insert();
        assert!(sources.of(old).is_some());
        sources.remove(place);
        assert!(sources.of(old).is_none());
        let (again, new) = sources.insert();
        assert_eq!(again.0, place.0);
        assert!(sources.of(old).is_none());
        assert!(sources.of(new).is_some());
    }

    #[test]
    fn the_generation_wraps_past_zero() {
        let mut sources = Sources::new();
        sources.next = NonZero::<u32>::MAX;
        let (_, last) = sources.insert();
        let (_, first) = sources.insert();
        assert_eq!((last.0 >> 32, first.0 >> 32), (0xFFFF_FFFF, 1));
        assert!(sources.of(last).is_some() && sources.of(first).is_some());
    }

    #[test]
    fn what_is_so_for_good_survives_a_drain_and_not_a_would_block() {
        let (read, write) = (Direction::Read, Direction::Write);
        let mut sources = Sources::new();
        let place = sources.insert().0;
        let mut source = sources.at(place);
        source.begin(read, true);
        assert!(!source.is_ready(read) && source.is_ready(write));
        source.not_drained(read);
        assert!(source.is_ready(read));
        source.row.bits |= Bit::FOR_GOOD.of(write);
        source.drained(read);
        source.drained(write);
        assert!(!source.is_ready(read) && source.is_ready(write));
        source.would_block(write);
        source.not_drained(write);
        source.drained(write);
        assert!(!source.is_ready(write));
    }

    #[test]
    fn a_wait_ends_with_a_try_and_goes_on_if_that_would_block() {
        let (read, write) = (Direction::Read, Direction::Write);
        let mut sources = Sources::new();
        let place = sources.insert().0;
        let mut source = sources.at(place);
        source.park(read, WaiterSlot::direct(Id::from_bits(7), 5));
        assert!(source.waiter(read).is_waiting() && source.row.is_waited_for());
        assert!(!source.waiter(write).is_waiting());

        assert!(source.vacate(read).is_waiting());
        assert!(!source.row.is_waited_for());
        assert!(source.waiter(read).parked_before(9), "the wait goes on");

        let before = source.begin(read, true);
        assert!(!source.waiter(read).parked_before(9), "a new wait");
        source.go_on(read, before);
        assert!(source.waiter(read).parked_before(9), "the old one");

        source.give_up(read);
        assert!(!source.waiter(read).parked_before(9), "a new wait");
    }

    #[test]
    fn a_burst_is_64_transfers_of_one_resume_unless_one_may_not_wait() {
        let mut sources = Sources::new();
        let place = sources.insert().0;
        let mut source = sources.at(place);
        for resume in [1, 3] {
            for _ in 0..64 {
                assert!(!source.is_burst_spent(resume, false));
            }
        }
        assert!(source.is_burst_spent(3, false));
        for _ in 0..1000 {
            assert!(!source.is_burst_spent(5, true));
        }
    }

    #[test]
    fn a_burst_of_sockets_gives_its_memory_back() {
        let mut sources = Sources::new();
        let places: Vec<_> = (0..4000).map(|_| sources.insert().0).collect();
        for &place in places[3..].iter().rev() {
            sources.remove(place);
        }
        assert!(sources.places.capacity() <= KEPT);
        for &place in &places[..3] {
            assert!(sources.at(place).is_ready(Direction::Read));
        }
    }
}
