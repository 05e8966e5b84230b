//! The table of coroutines: those that have not ended, and the ends that are still to be taken.
//!
//! It is apart from what is shared because it alone knows that both lie in one table, and so do the bodies of those who have not started:
//! an end takes the place of what was noted, so that whoever joins finds it by the coroutine's id, and a coroutine that ends in its
//! first resume was nowhere else.
//!
//! Invariants:
//! 1. Every look finds coroutines that have not ended, and nothing else; ends are only taken.
//! 2. An end lies here exactly as long as the join handle that may take it.
//! 3. A body lies here from its spawn until it is first resumed, and leaves its row before the coroutine leaves the table.
//! 4. There is a row for each place of the register. A vacant row holds nothing, or a small box that is empty: that of a coroutine which was
//!    joined there, for the next one of its type.
//!
//! ```text
//!   enter ──▶ record ── admit ──▶ with its body ── start ──▶ record ── conclude, joined ──▶ end ── take_end ──▶ (none)
//!                                                              └────── conclude, nobody joins, leave ─────────────▲
//! ```

use std::any::Any;
use std::pin::Pin;

use crate::arena::Id;
use crate::record::{Body, Flags, Rare, Record, RecordMut, Row};
use crate::register::Register;
use crate::shelves::Shelves;
use crate::site::Site;
use crate::waiter::WaiterSlot;

/// See the module's page.
pub(crate) struct Records {
    /// Who is here, with the flags.
    register: Register<Flags>,
    /// The rest, by place.
    rows: Vec<Row>,
    /// How many of them are ends.
    ends: usize,
    /// How many vacant ones keep a box.
    spares: usize,
    /// The boxes of bodies that have ended.
    pub(crate) shelves: Shelves,
}

/// A box that was left in a vacant row, and is empty.
pub(crate) type Spare = Pin<Box<dyn Body>>;

/// How many boxes are left in rows at most.
const SPARES: usize = 1024;

/// How many bytes a box may have that is left in its row.
const SMALL: usize = 256;

/// How many boxes are left in rows while the loop rests.
const RESTING: usize = 32;

/// Who may take the end of a coroutine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tie {
    /// Nobody.
    Loose,
    /// Its join handle.
    Joined,
}

/// What became of a coroutine that has ended, and had nothing to it.
pub(crate) enum Plain {
    /// Its end waits to be taken; this is who waits for it.
    Joined(WaiterSlot),
    /// Nobody will take its end.
    Loose(Pin<Box<dyn Body>>),
}

/// What a join handle leaves that is dropped.
pub(crate) enum Left {
    /// An end that nobody will take.
    End(Pin<Box<dyn Body>>),
    /// A coroutine that has not ended, with who waited for it, and where the handle was told to cancel it.
    Record(WaiterSlot, Option<Site>),
}

/// What is left of a coroutine that has left the table or ended.
pub(crate) struct Departed {
    /// What has happened to it.
    pub(crate) flags: Flags,
    /// Who waited for its end.
    pub(crate) joiner: WaiterSlot,
    /// What is rarely needed.
    pub(crate) rare: Option<Box<Rare>>,
}

/// What became of a coroutine that has ended.
pub(crate) struct Concluded {
    /// What is left of it.
    pub(crate) departed: Departed,
    /// The box with its end, if nobody will take it.
    pub(crate) untaken: Option<Pin<Box<dyn Body>>>,
}

impl Records {
    /// A table without entries.
    #[inline]
    pub(crate) fn new() -> Self {
        Records {
            register: Register::new(),
            rows: Vec::new(),
            ends: 0,
            spares: 0,
            shelves: Shelves::default(),
        }
    }

    /// Enters a coroutine, whose body is to come. It counts as queued: whoever enters it queues it, and nobody else need. A box that was
    /// left in its row is to be taken or shelved.
    #[inline]
    pub(crate) fn enter(&mut self, site: Site, tie: Tie) -> Id {
        let flags = Flags::LIVE.or(Flags::QUEUED).or(Flags::UNSTARTED);
        self.enter_as(
            site,
            match tie {
                Tie::Loose => flags,
                Tie::Joined => flags.or(Flags::JOINED),
            },
        )
    }

    /// Enters a coroutine with these flags.
    #[inline]
    fn enter_as(&mut self, site: Site, flags: Flags) -> Id {
        let id = self.register.enter(flags);
        match self.rows.get_mut(id.index()) {
            Some(row) => row.enter(site),
            None => self.grow(site),
        }
        id
    }

    /// Takes the box out that was left in a row, to be filled again.
    #[inline]
    pub(crate) fn take_spare(&mut self, id: Id) -> Option<Spare> {
        let spare = self.rows.get_mut(id.index())?.take()?;
        self.spares -= 1;
        Some(spare)
    }

    /// Puts it on its shelf.
    pub(crate) fn shelve_spare(&mut self, id: Id) {
        if let Some(spare) = self.take_spare(id) {
            spare.put_back(&mut self.shelves);
        }
    }

    /// Adds a row.
    #[cold]
    fn grow(&mut self, site: Site) {
        self.rows.push(Row::new(site));
    }

    /// Enters the end of a coroutine that could not be started.
    pub(crate) fn insert_end(&mut self, site: Site, end: Pin<Box<dyn Body>>) -> Id {
        let id = self.enter_as(site, Flags::ENDED);
        self.shelve_spare(id);
        self.rows[id.index()].keep(end);
        self.ends += 1;
        id
    }

    /// Takes in the body of a coroutine that was entered, until it starts.
    #[inline]
    pub(crate) fn admit(&mut self, id: Id, body: Pin<Box<dyn Body>>) {
        self.rows[id.index()].keep(body);
    }

    /// The same, where the body is put into a box that was left in the row or lies on a shelf, if one fits.
    #[inline]
    pub(crate) fn admit_in<B: Body + 'static>(
        &mut self,
        id: Id,
        fill: impl FnOnce(Option<Pin<Box<B>>>) -> Pin<Box<B>>,
    ) {
        let row = &mut self.rows[id.index()];
        let mut fits = None;
        if let Some(spare) = row.take() {
            self.spares -= 1;
            spare.lend(&mut fits, &mut self.shelves);
        }
        row.keep(fill(fits.or_else(|| self.shelves.take())));
    }

    /// Takes the body of a coroutine out that starts now. If it does not end in its first resume, [`started`](Records::started) is to be
    /// told: the flags of one that ends are written anew anyhow.
    #[inline]
    pub(crate) fn start(&mut self, id: Id) -> Option<Pin<Box<dyn Body>>> {
        if !self.register.get(id)?.has(Flags::UNSTARTED) {
            return None;
        }
        self.rows[id.index()].take()
    }

    /// Notes that a coroutine has started. Gives its flags until then.
    #[inline]
    pub(crate) fn started(&mut self, id: Id) -> Option<Flags> {
        let flags = self.flags_mut(id)?;
        let before = *flags;
        flags.clear(Flags::UNSTARTED);
        Some(before)
    }

    /// The flags of a coroutine, if it has not ended.
    #[inline]
    pub(crate) fn flags_mut(&mut self, id: Id) -> Option<&mut Flags> {
        let flags = self.register.get_mut(id)?;
        flags.has(Flags::LIVE).then_some(flags)
    }

    /// Sets a flag of a coroutine, if it has not ended.
    pub(crate) fn mark(&mut self, id: Id, flag: Flags) {
        if let Some(flags) = self.flags_mut(id) {
            flags.set(flag);
        }
    }

    /// Whether a coroutine or its end is here.
    #[inline]
    pub(crate) fn is_here(&self, id: Id) -> bool {
        self.register.get(id).is_some()
    }

    /// A coroutine, if it has not ended.
    #[inline]
    pub(crate) fn get(&self, id: Id) -> Option<Record<'_>> {
        let flags = self.register.get(id)?;
        let row = self.rows.get(id.index())?;
        flags.has(Flags::LIVE).then(|| Record::new(flags, row))
    }

    /// A coroutine, to change, if it has not ended.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: Id) -> Option<RecordMut<'_>> {
        let flags = self.register.get_mut(id)?;
        let row = self.rows.get_mut(id.index())?;
        flags.has(Flags::LIVE).then(|| RecordMut::new(flags, row))
    }

    /// Takes a coroutine out, if it has not ended.
    pub(crate) fn leave(&mut self, id: Id) -> Option<Departed> {
        let flags = *self.flags_mut(id)?;
        let departed = self.depart(id, flags);
        self.vacate(id);
        Some(departed)
    }

    /// What is left of a coroutine, taken out of its row.
    fn depart(&mut self, id: Id, flags: Flags) -> Departed {
        let row = &mut self.rows[id.index()];
        Departed {
            flags,
            joiner: row.joiner(flags),
            rare: row.take_rare(),
        }
    }

    /// Makes a place vacant whose row holds nothing of anybody's.
    #[inline]
    fn vacate(&mut self, id: Id) {
        self.register.leave(id);
        if self.register.is_sparse() {
            self.shrink();
        }
    }

    /// Gives memory back, if it is time to.
    #[cold]
    fn shrink(&mut self) {
        self.shelve(0);
        if let Some(rows) = self.register.shrink() {
            self.rows.truncate(rows);
            self.rows.shrink_to_fit();
        }
    }

    /// Puts the boxes that are left in vacant rows on their shelves, but for so many of those that were left last.
    fn shelve(&mut self, mut kept: usize) {
        // One may be in the row of a coroutine whose body is being made: that stays, and stays counted.
        let mut surplus = self.spares.saturating_sub(kept);
        for place in self.register.vacant() {
            if surplus == 0 {
                break;
            }
            match self.rows[place].take() {
                None => {}
                Some(spare) if kept > 0 => {
                    self.rows[place].keep(spare);
                    kept -= 1;
                }
                Some(spare) => {
                    spare.put_back(&mut self.shelves);
                    self.spares -= 1;
                    surplus -= 1;
                }
            }
        }
    }

    /// Gives back what a burst has left, while the loop rests.
    pub(crate) fn rest(&mut self) {
        if self.spares > RESTING {
            self.shelve(RESTING);
        }
        self.shelves.rest();
    }

    /// Keeps the end of a coroutine for who joins it, or takes the coroutine out if nobody does, if there is nothing else to do: it
    /// has no keys and no name, and was not asked to end.
    ///
    /// # Errors
    /// The box, if there is.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as most of what an end costs")]
    pub(crate) fn conclude_plainly(
        &mut self,
        id: Id,
        end: Pin<Box<dyn Body>>,
    ) -> Result<Plain, Pin<Box<dyn Body>>> {
        let Some(place) = self.register.get_mut(id) else {
            return Err(end);
        };
        let flags = *place;
        if flags.and(Flags::LIVE.or(Flags::RARE)) != Flags::LIVE {
            return Err(end);
        }
        if !flags.has(Flags::JOINED) {
            self.vacate(id);
            return Ok(Plain::Loose(end));
        }
        *place = Flags::ENDED.or(flags.and(Flags::WATCHED));
        let row = &mut self.rows[id.index()];
        row.keep(end);
        self.ends += 1;
        Ok(Plain::Joined(row.joiner(flags)))
    }

    /// Keeps the end of a coroutine for who joins it, or takes it out if nobody does.
    pub(crate) fn conclude(&mut self, id: Id, end: Pin<Box<dyn Body>>) -> Option<Concluded> {
        let flags = *self.flags_mut(id)?;
        let departed = self.depart(id, flags);
        let untaken = if flags.has(Flags::JOINED) {
            *self.flags_mut(id)? = Flags::ENDED.or(flags.and(Flags::WATCHED));
            self.rows[id.index()].keep(end);
            self.ends += 1;
            None
        } else {
            self.vacate(id);
            Some(end)
        };
        Some(Concluded { departed, untaken })
    }

    /// Takes the end of a coroutine, if it has ended, the end was not taken, and no wait for it is entered.
    fn take_end(&mut self, id: Id) -> Option<Pin<Box<dyn Body>>> {
        if !self.register.leave_as(id, Flags::ENDED) {
            return None;
        }
        self.ends -= 1;
        let end = self.rows[id.index()].take();
        if self.register.is_sparse() {
            self.shrink();
        }
        end
    }

    /// Gives such an end to who joins, in an `Option` of the right type. Its box stays where it is.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as most of what a join costs")]
    pub(crate) fn give_end(&mut self, id: Id, out: &mut dyn Any) {
        if !self.register.leave_as(id, Flags::ENDED) {
            return;
        }
        self.ends -= 1;
        let Some(end) = self.rows.get_mut(id.index()).and_then(Row::body_mut) else {
            return;
        };
        self.spares += 1;
        if size_of_val(&*end) > SMALL || self.spares > SPARES || self.register.is_sparse() {
            return self.give_and_tidy(id, out);
        }
        end.give(out);
    }

    /// Gives an end, puts its box on the shelf, and gives memory back, if it is time to.
    #[cold]
    fn give_and_tidy(&mut self, id: Id, out: &mut dyn Any) {
        if let Some(mut end) = self.take_spare(id) {
            end.as_mut().give(out);
            end.put_back(&mut self.shelves);
        }
        if self.register.is_sparse() {
            self.shrink();
        }
    }

    /// Notes whether a wait for the end of a coroutine is entered. Tells whether one was.
    pub(crate) fn watch(&mut self, id: Id, on: bool) -> bool {
        let Some(flags) = self.register.get_mut(id) else {
            return false;
        };
        let was = flags.has(Flags::WATCHED);
        if on {
            flags.set(Flags::WATCHED);
        } else {
            flags.clear(Flags::WATCHED);
        }
        was
    }

    /// Where a coroutine was spawned that has ended, if a wait for its end is entered.
    pub(crate) fn watched_end(&self, id: Id) -> Option<Site> {
        let flags = self.register.get(id)?;
        (flags == Flags::ENDED.or(Flags::WATCHED)).then(|| self.rows[id.index()].site())
    }

    /// Lets go of a coroutine: nobody will take its end.
    #[inline]
    pub(crate) fn let_go(&mut self, id: Id) -> Option<Left> {
        if let Some(record) = self.get_mut(id) {
            let (joiner, bound) = record.let_go();
            return Some(Left::Record(joiner, bound));
        }
        self.take_end(id).map(Left::End)
    }

    /// How many coroutines have not ended.
    pub(crate) fn len(&self) -> usize {
        self.register.len() - self.ends
    }

    /// Whether every coroutine has ended.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The coroutines that have not ended.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, Record<'_>)> {
        let live = self
            .register
            .iter()
            .filter(|(_, flags)| flags.has(Flags::LIVE));
        live.map(|(id, flags)| (id, Record::new(flags, &self.rows[id.index()])))
    }

    /// Takes the bodies of all who have not started out. That of one may just be being made.
    pub(crate) fn take_bodies(&mut self) -> Vec<(Id, Pin<Box<dyn Body>>)> {
        let live = self
            .register
            .iter()
            .filter(|(_, flags)| flags.has(Flags::UNSTARTED));
        let ids = live.map(|(id, _)| id);
        let ids: Vec<Id> = ids.filter(|id| !self.rows[id.index()].is_spare()).collect();
        let start = |id| Some((id, self.start(id)?));
        ids.into_iter().filter_map(start).collect()
    }

    /// Takes out all boxes that are empty.
    pub(crate) fn take_spares(&mut self) -> Shelves {
        self.shelve(0);
        std::mem::take(&mut self.shelves)
    }

    /// Takes all coroutines out. The ends stay for those who join.
    pub(crate) fn take_all(&mut self) -> Vec<Departed> {
        let ids: Vec<Id> = self.iter().map(|(id, _)| id).collect();
        ids.into_iter().filter_map(|id| self.leave(id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::Future;
    use std::panic::Location;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::record::{Ended, Holds};
    use crate::{Budget, Co, EventLoop, Handle, Result};

    /// A body of nothing.
    struct Empty;

    impl Body for Empty {
        fn resume(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Ended> {
            Poll::Pending
        }

        fn vacate(self: Pin<&mut Self>) {}

        fn end(self: Pin<&mut Self>, _: Error) {}
    }

    fn enter(records: &mut Records, tie: Tie) -> Id {
        records.enter(Location::caller(), tie)
    }

    /// With its flags it is as much as one line of the cache.
    #[test]
    fn a_row_is_seven_words() {
        assert_eq!(size_of::<Row>(), 56);
    }

    #[test]
    fn an_end_takes_the_place_of_its_record_and_is_taken_once() {
        let mut records = Records::new();
        let id = enter(&mut records, Tie::Joined);
        let other = enter(&mut records, Tie::Joined);
        assert!(records.take_end(id).is_none(), "it has not ended");
        let concluded = records.conclude_plainly(id, Box::pin(Empty));
        assert!(matches!(concluded, Ok(Plain::Joined(_))));
        assert!(records.get(id).is_none());
        assert!(records.leave(id).is_none());
        let left: Vec<Id> = records.iter().map(|(id, _)| id).collect();
        assert_eq!((left, records.len()), (vec![other], 1));
        assert!(records.take_end(id).is_some());
        assert!(records.take_end(id).is_none());
        assert_eq!(records.len(), 1);
    }

    #[test]
    fn an_end_that_nobody_takes_comes_back_and_leaves_nothing() {
        let mut records = Records::new();
        let id = enter(&mut records, Tie::Loose);
        let concluded = records.conclude_plainly(id, Box::pin(Empty));
        assert!(matches!(concluded, Ok(Plain::Loose(_))));
        assert!(records.take_end(id).is_none());
        let id = enter(&mut records, Tie::Loose);
        let concluded = records.conclude(id, Box::pin(Empty)).unwrap();
        assert!(concluded.untaken.is_some());
        assert!(records.is_empty());
    }

    #[test]
    fn what_holds_more_than_an_end_is_not_concluded_plainly() {
        let mut records = Records::new();
        let id = enter(&mut records, Tie::Joined);
        let record = records.get_mut(id).unwrap();
        record.rare_mut(&Cell::new(0));
        assert!(records.conclude_plainly(id, Box::pin(Empty)).is_err());
        assert!(records.get(id).is_some());
        let concluded = records.conclude(id, Box::pin(Empty)).unwrap();
        assert!(concluded.untaken.is_none());
        assert!(records.take_end(id).is_some());
    }

    #[test]
    fn a_handle_that_lets_go_leaves_a_loose_coroutine_or_its_end() {
        let mut records = Records::new();
        let id = enter(&mut records, Tie::Joined);
        let record = records.get_mut(id).unwrap();
        record.rare_mut(&Cell::new(0)).bound = Some(Location::caller());
        assert!(matches!(records.let_go(id), Some(Left::Record(_, Some(_)))));
        assert!(!records.get(id).unwrap().flags.has(Flags::JOINED));
        let ended = enter(&mut records, Tie::Joined);
        assert!(records.conclude_plainly(ended, Box::pin(Empty)).is_ok());
        assert!(matches!(records.let_go(ended), Some(Left::End(_))));
        assert!(records.let_go(ended).is_none());
    }

    /// How many boxes are left in vacant rows, after a look whether that is what is said of them.
    fn spares(handle: &Handle) -> usize {
        let records = handle.shared().records.borrow();
        let vacant = records.register.vacant();
        let left = vacant.filter(|place| matches!(records.rows[*place].holds, Holds::Body(_)));
        assert_eq!(left.count(), records.spares);
        records.spares
    }

    #[test]
    fn the_box_of_who_was_joined_stays_in_its_row_for_the_next_and_another_type_puts_it_on_its_shelf()
     {
        let mut event_loop = EventLoop::builder().fail_on_error().build().unwrap();
        let run = event_loop.block_on(async |co| -> Result {
            let joined = [1, 2, 3].map(|n| co.spawn(async move |_| -> Result<i32> { Ok(n) }));
            assert_eq!(spares(&co), 0);
            for (n, join) in joined.into_iter().enumerate() {
                join.await?;
                assert_eq!(spares(&co), n + 1);
            }
            let other = co.spawn(async |_| -> Result<&str> { Ok("other") });
            assert_eq!(spares(&co), 2);
            other.await?;
            assert_eq!(spares(&co), 3);
            let large = [0_u8; SMALL];
            let large = co.spawn(async move |_| -> Result<u8> { Ok(large[7]) });
            large.await?;
            assert_eq!(spares(&co), 2, "it lies on its shelf");
            co.spawn(async |_| -> Result { Ok(()) }).detach();
            co.yield_now().await?;
            assert_eq!(spares(&co), 2, "so does that of who was not joined");
            Ok(())
        });
        run.unwrap();
    }

    #[test]
    fn few_boxes_are_left_in_rows_while_the_loop_rests_and_none_where_many_rows_are_vacant() {
        let mut event_loop = EventLoop::builder().fail_on_error().build().unwrap();
        for (count, left) in [(1000, 1000), (5000, 0)] {
            let run = event_loop.block_on(async |co| -> Result {
                let spawn = |n| co.spawn(async move |_| -> Result<usize> { Ok(n) });
                for join in (0..count).map(spawn).collect::<Vec<_>>() {
                    join.await?;
                    assert!(spares(&co) <= SPARES);
                }
                assert_eq!(spares(&co), left);
                Ok(())
            });
            run.unwrap();
            assert_eq!(spares(&event_loop.handle()), left.min(RESTING));
        }
    }

    #[test]
    fn a_loop_that_is_dropped_while_a_body_is_made_takes_no_empty_box_for_it() {
        let mut event_loop = EventLoop::builder().fail_on_error().build().unwrap();
        let handle = event_loop.handle();
        let spawn = |co: Co| co.spawn(async |_| -> Result<u8> { Ok(1) });
        let first = event_loop.block_on(async |co| spawn(co).await);
        assert_eq!((first.unwrap(), spares(&handle)), (1, 1));
        let join = handle.spawn(move |_co: Co| {
            drop(event_loop);
            async { Ok::<u8, crate::Error>(2) }
        });
        assert!(join.is_finished());
        assert_eq!(
            (handle.shared().records.borrow().ends, spares(&handle)),
            (1, 0)
        );
        let error = EventLoop::new().unwrap().block_on(async |_| join.await);
        assert!(matches!(error.unwrap_err().kind(), ErrorKind::LoopGone));
        assert_eq!(handle.shared().records.borrow().ends, 0);
    }

    /// Joins a coroutine that ends in the next turn, outside of every coroutine. Its row, with its box, is the next to be taken.
    fn leave_a_box(event_loop: &mut EventLoop) {
        let join = event_loop.handle().spawn(async |_| -> Result { Ok(()) });
        let _ = event_loop.turn(Budget::default()).unwrap();
        let joined = pin!(join).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(joined, Poll::Ready(Ok(()))));
    }

    #[test]
    fn the_box_in_the_row_of_a_body_that_is_being_made_stays_counted_while_the_others_are_shelved()
    {
        let mut event_loop = EventLoop::builder().fail_on_error().build().unwrap();
        let handle = event_loop.handle();
        let spawn = |_| handle.spawn(async |_| -> Result<u8> { Ok(1) });
        let ends: Vec<_> = (0..5000).map(spawn).collect();
        let _ = event_loop.run().unwrap();
        leave_a_box(&mut event_loop);
        let join = handle.spawn(move |_co: Co| {
            drop(ends);
            async { Ok::<u8, Error>(2) }
        });
        assert_eq!(spares(&handle), 0);
        assert_eq!(event_loop.block_on(async |_| join.await).unwrap(), 2);
        spares(&handle);
    }

    #[test]
    fn the_box_in_the_row_of_a_body_that_is_being_made_goes_with_the_loop() {
        let mut event_loop = EventLoop::builder().fail_on_error().build().unwrap();
        let handle = event_loop.handle();
        leave_a_box(&mut event_loop);
        assert_eq!(spares(&handle), 1);
        let join = handle.spawn(move |_co: Co| {
            drop(event_loop);
            async { Ok::<u8, Error>(2) }
        });
        assert_eq!(spares(&handle), 0);
        assert_eq!(handle.shared().records.borrow().ends, 1);
        drop(join);
        assert_eq!(spares(&handle), 0);
    }

    #[test]
    fn the_ends_stay_when_all_records_are_taken_out() {
        let mut records = Records::new();
        let ended = enter(&mut records, Tie::Joined);
        enter(&mut records, Tie::Joined);
        assert!(records.conclude_plainly(ended, Box::pin(Empty)).is_ok());
        assert_eq!(records.take_all().len(), 1);
        assert!(records.is_empty());
        assert!(records.take_end(ended).is_some());
    }
}
