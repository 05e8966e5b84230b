//! The table of coroutines: entering it, the steps of a resume, being cancelled, leaving it.
//!
//! It is apart from what is shared because these are the life of one coroutine; see the diagram of the record.
//!
//! Invariants:
//! 1. What a record holds is dropped by whoever takes it out, with nothing borrowed.
//! 2. The first reason for a cancel stands.
//! 3. A coroutine is marked as queued from when it is put into the queue until it has parked, so while it runs too. `running`, `queued` and
//!    `gives_way_in` say what else there is to know of one that runs.
//! 4. Of the coroutine that parked last the record may still say that it is queued: see `parked_last`. Whoever looks at that mark or at
//!    what a coroutine is parked on, or makes it leave, calls `settle_parked` first. A wake-up need not: it would set the mark again.
//! 5. The number of a resume is two above the one before, until they begin anew. What notes one takes another number for another resume, and
//!    does no harm if it meets its own again by chance, some 2³⁰ resumes later: a point gives way, or is told of a cancel, one resume later.

use std::borrow::Cow;
use std::pin::Pin;

use crate::arena::Id;
use crate::incident::Incident;
use crate::job::Job;
use crate::record::{Body, CancelCause, Flags, Record, RecordMut};
use crate::records::{Concluded, Departed, Plain, Tie};
use crate::shared::{FIRST, NOBODY, Shared};
use crate::site::Site;
use crate::snapshot::{CoroutineId, Label};
use crate::timers::TimerId;
use crate::waiter::{Foreign, Note};

/// The last number with which the loop takes jobs on. There is room behind it for more than it takes on at once.
pub(crate) const LAST: u32 = u32::MAX - (1 << 16);

/// The flags of a coroutine that comes from the ready queue, and its body, if it starts.
type Queued = (Flags, Option<Pin<Box<dyn Body>>>);

impl Shared {
    /// Enters a coroutine in the table, whose end nobody will take and whose body is in a box already. It counts as queued, which whoever
    /// enters it makes true.
    #[inline]
    pub(crate) fn enter(&self, site: Site) -> Id {
        let mut records = self.records.borrow_mut();
        let id = records.enter(site, Tie::Loose);
        records.shelve_spare(id);
        id
    }

    /// The flags of a coroutine that comes from the ready queue to be resumed, and its body, if it starts now. The mark of the queue stays
    /// set while it runs.
    pub(crate) fn take_queued(&self, id: Id) -> Option<Queued> {
        let mut records = self.records.borrow_mut();
        let body = records.start(id);
        Some((records.started(id)?, body))
    }

    /// Takes the job that comes next, if the loop may go on to it and it is a coroutine that starts. Gives its body.
    #[inline]
    pub(crate) fn take_newcomer(&self) -> Option<(Id, Pin<Box<dyn Body>>)> {
        let Job(id) = self.ready.peek()?;
        let body = self.records.borrow_mut().start(id)?;
        self.ready.skip();
        Some((id, body))
    }

    /// Makes a coroutine the running one.
    #[inline]
    pub(crate) fn begin_resume(&self, id: Id) {
        self.running.set(id);
        self.resume.set(self.resume.get() + 2);
    }

    /// Sees to it that there are numbers for the next resumes, as many as the loop takes on at once.
    #[inline]
    pub(crate) fn renumber(&self) {
        if self.resume.get() > LAST {
            self.resume.set(FIRST);
            // What one of them says of before must not be taken for now.
            self.gives_way_in.set(0);
            self.note_in.set(0);
        }
    }

    /// Notes that no coroutine runs any more. The next resume does so too: in between nothing but the loop's own code may run without this.
    #[inline]
    pub(crate) fn end_resume(&self) {
        self.running.set(Id::NONE);
        if self.queued.get() {
            self.forget_queued();
        }
    }

    /// Forgets that the coroutine whose resume is over is queued.
    #[cold]
    fn forget_queued(&self) {
        self.queued.set(false);
        self.settle_place();
    }

    /// Whether the running coroutine has given way.
    #[inline]
    pub(crate) fn gives_way(&self) -> bool {
        self.gives_way_in.get() == self.resume_number()
    }

    /// Notes what a coroutine has parked on, or queues it again if it only gave way. No cancel is being told any more.
    #[inline]
    pub(crate) fn park_coroutine(&self, id: Id) {
        if self.gives_way_in.get() == self.resume.get() {
            self.push(Job(id));
        } else {
            self.note_parked(id);
        }
    }

    /// Notes that a coroutine has parked, unless it was woken while it ran. Its record is to learn of it only if it must.
    #[inline]
    fn note_parked(&self, id: Id) {
        if self.queued.get() {
            return self.forget_queued();
        }
        if self.note_in.get() != self.resume.get() {
            self.set_note(Note::FOREIGN);
        }
        // Another one's was settled when that note was made.
        self.parked_last.set(id);
    }

    /// Enters what a coroutine has parked on in its record.
    #[inline(never)]
    fn enter_parked(&self, id: Id, note: Note) {
        let mut records = self.records.borrow_mut();
        if let Some(record) = records.get_mut(id) {
            record.park(note, self.looked_at_micros.get());
        }
    }

    /// Sees to it that the record of whoever parked last says so: before anybody looks at it, and before its note or the clock changes.
    #[inline]
    pub(crate) fn settle_parked(&self) {
        if self.parked_last.get() != NOBODY {
            self.settle_parked_last();
        }
    }

    /// The same where there is one.
    #[inline(never)]
    fn settle_parked_last(&self) {
        let id = self.parked_last.replace(NOBODY);
        let (kind, site) = (self.note_kind.get(), self.note_site.get());
        self.enter_parked(id, Note { kind, site });
    }

    /// Makes the running coroutine go to the back of the ready queue when it has given way.
    #[inline]
    pub(crate) fn give_way(&self) {
        if !self.queued.get() {
            self.gives_way_in.set(self.resume_number());
        }
    }

    /// Takes in the body of a coroutine that was just entered, and queues it.
    pub(crate) fn start(&self, id: Id, body: Pin<Box<dyn Body>>) {
        self.records.borrow_mut().admit(id, body);
        self.push(Job(id));
    }

    /// Takes a coroutine out of the table and drops what its record held.
    pub(crate) fn leave(&self, id: Id) {
        self.settle_parked();
        let departed = self.records.borrow_mut().leave(id);
        if let Some(departed) = departed {
            self.dispose(departed);
        }
    }

    /// Leaves the end of a coroutine to who joins it, or drops it if nobody does, if there is nothing else to do.
    ///
    /// # Errors
    /// The box, if there is.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as most of what an end costs")]
    pub(crate) fn conclude_plainly(
        &self,
        id: Id,
        end: Pin<Box<dyn Body>>,
    ) -> Result<(), Pin<Box<dyn Body>>> {
        let plain = self.records.borrow_mut().conclude_plainly(id, end)?;
        match plain {
            Plain::Joined(joiner) => self.wake_waiter(joiner),
            Plain::Loose(end) => self.discard(end),
        }
        Ok(())
    }

    /// Drops an end that nobody takes.
    #[inline(never)]
    pub(crate) fn discard(&self, mut end: Pin<Box<dyn Body>>) {
        let report = |incident: &Incident| self.report(incident);
        self.contain("drop", || end.as_mut().discard(&report));
        if end.is_empty() {
            end.put_back(&mut self.records.borrow_mut().shelves);
        } else {
            // A worker's, with which its engine may go.
            self.contain("drop", || drop(end));
        }
    }

    /// Leaves the end of a coroutine to who joins it, or drops and reports it if nobody does.
    pub(crate) fn conclude(&self, id: Id, end: Pin<Box<dyn Body>>) {
        self.settle_parked();
        let concluded = self.records.borrow_mut().conclude(id, end);
        let Some(Concluded { departed, untaken }) = concluded else {
            return;
        };
        if let Some(end) = untaken {
            self.discard(end);
        }
        self.wake_waiter(departed.joiner);
        self.dispose(departed);
    }

    /// Names a coroutine, if it is still there.
    pub(crate) fn set_name(&self, id: Id, name: Cow<'static, str>) {
        let before = {
            let mut records = self.records.borrow_mut();
            records
                .get_mut(id)
                .and_then(|record| record.rare_mut(&self.rares).name.replace(name))
        };
        drop(before);
    }

    /// Drops what is left of a coroutine that has ended, contained. A waker that is still in it is of a point that outlives the
    /// coroutine, in a combinator that has moved on: woken, that point is asked again and parks with whoever asks.
    pub(crate) fn dispose(&self, departed: Departed) {
        if departed.flags.has(Flags::DOOMED) {
            self.end_detour();
        }
        if let Some(mut rare) = departed.rare {
            for foreign in rare.wakers.drain().flatten() {
                self.wake_taken(foreign);
            }
            if !rare.ledger.is_empty() {
                self.drop_each(rare.ledger.take_all());
            }
            self.contain("drop", || drop(rare));
        }
    }

    /// Asks a coroutine to end: every own point it is parked on is woken and will give `Cancelled`. Tells whether it is still there.
    /// The first reason stands.
    pub(crate) fn cancel(&self, id: Id, reason: Cow<'static, str>, site: Site) -> bool {
        let mut records = self.records.borrow_mut();
        let Some(record) = records.get_mut(id) else {
            return false;
        };
        if record.flags.has(Flags::DOOMED) {
            return true;
        }
        record.flags.set(Flags::CANCELLED);
        self.begin_detour();
        record.rare_mut(&self.rares).cancel = Some(CancelCause { reason, site });
        drop(records);
        self.wake_points(id);
        true
    }

    /// Wakes a coroutine through every point it is parked on, so that whatever holds one polls it.
    pub(crate) fn wake_points(&self, id: Id) {
        let wakers: Vec<Foreign> = {
            let mut records = self.records.borrow_mut();
            let rare = records.get_mut(id).and_then(RecordMut::rare_if_any);
            let wakers = rare.into_iter().flat_map(|rare| rare.wakers.iter_mut());
            wakers.filter_map(|(_, waker)| waker.take()).collect()
        };
        for foreign in wakers {
            self.wake_taken(foreign);
        }
        self.wake(id);
    }

    /// Drops a coroutine where it stands, at its place in the ready queue. Tells whether it is still there.
    pub(crate) fn abort(&self, id: Id, site: Site) -> bool {
        let mut records = self.records.borrow_mut();
        let Some(record) = records.get_mut(id) else {
            return false;
        };
        if record.flags.has(Flags::ABORTED) {
            return true;
        }
        if !record.flags.has(Flags::DOOMED) {
            self.begin_detour();
        }
        record.flags.set(Flags::ABORTED);
        // It takes the place of an earlier cancel, which will not be delivered any more.
        record.rare_mut(&self.rares).cancel = Some(CancelCause {
            reason: Cow::Borrowed("aborted"),
            site,
        });
        drop(records);
        self.wake(id);
        true
    }

    /// Notes that the running coroutine waits in a clean-up with this timer for a limit. Gives its id.
    pub(crate) fn enter_cleanup(&self, limit: TimerId) -> Id {
        let owner = self.running.get();
        let mut records = self.records.borrow_mut();
        if let Some(record) = records.get_mut(owner) {
            record.rare_mut(&self.rares).cleanups.push(limit);
        }
        self.cleanups.set(self.cleanups.get() + 1);
        owner
    }

    /// Notes that a clean-up is over.
    pub(crate) fn leave_cleanup(&self, owner: Id, limit: TimerId) {
        let mut records = self.records.borrow_mut();
        if let Some(rare) = records.get_mut(owner).and_then(RecordMut::rare_if_any) {
            rare.cleanups.retain(|other| *other != limit);
        }
        self.cleanups.set(self.cleanups.get() - 1);
    }

    /// Whether a coroutine waits in a clean-up whose limit is still to come, be it one that was not polled in this resume.
    pub(crate) fn in_cleanup(&self, id: Id) -> bool {
        let records = self.records.borrow();
        let Some(rare) = records.get(id).and_then(Record::rare) else {
            return false;
        };
        let timers = self.timers.borrow();
        rare.cleanups.iter().any(|limit| timers.contains(*limit))
    }

    /// How reports name a coroutine.
    pub(crate) fn label(&self, id: Id) -> Option<Label> {
        let records = self.records.borrow();
        records.get(id).map(|record| label(id, record))
    }
}

/// How reports name the coroutine of this record.
pub(crate) fn label(id: Id, record: Record<'_>) -> Label {
    Label::new(
        public_id(id),
        record.rare().and_then(|rare| rare.name.clone()),
        record.site(),
    )
}

/// The id as users see it.
pub(crate) fn public_id(id: Id) -> CoroutineId {
    CoroutineId::from_bits(id.to_bits())
}

/// The id as the table knows it.
pub(crate) fn table_id(id: CoroutineId) -> Id {
    Id::from_bits(id.to_bits())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::Duration;

    use crate::snapshot::Activity;
    use crate::{Budget, Co, EventLoop, ManualClock, Resolver, Result, ms};

    /// What each coroutine does, in the order of the table.
    fn activities(event_loop: &EventLoop) -> Vec<String> {
        let snapshot = event_loop.snapshot();
        let told = snapshot.coroutines.iter().map(|one| match &one.activity {
            Activity::Parked { on, at, since } => {
                format!("{on} {} {}", at.is_some(), since.as_millis())
            }
            Activity::Ready => "ready".to_owned(),
            _ => "other".to_owned(),
        });
        told.collect()
    }

    #[test]
    fn the_table_says_who_is_parked_on_what_and_since_when_whoever_parked_last() {
        let clock = ManualClock::new();
        let mut event_loop = EventLoop::builder()
            .clock(&clock)
            .fail_on_error()
            .build()
            .unwrap();
        let kept: Rc<RefCell<Vec<Resolver<()>>>> = Rc::default();
        let spawn = |event_loop: &EventLoop| {
            let kept = Rc::clone(&kept);
            drop(event_loop.handle().spawn(async move |co: Co| -> Result {
                co.task(|done| kept.borrow_mut().push(done)).await
            }));
        };
        let turn = |event_loop: &mut EventLoop, passes: Duration| {
            let _ = event_loop.turn(Budget::steps(100)).unwrap();
            clock.advance(passes);
            let _ = event_loop.turn(Budget::steps(100)).unwrap();
        };
        spawn(&event_loop);
        turn(&mut event_loop, ms(5));
        assert_eq!(activities(&event_loop), ["task true 5"]);
        spawn(&event_loop);
        turn(&mut event_loop, ms(2));
        assert_eq!(activities(&event_loop), ["task true 7", "task true 2"]);
        let (first, second) = {
            let mut kept = kept.borrow_mut();
            (kept.remove(0), kept.remove(0))
        };
        second.resolve(());
        assert_eq!(activities(&event_loop), ["task true 7", "ready"]);
        first.resolve(());
        assert_eq!(activities(&event_loop), ["ready", "ready"]);
        turn(&mut event_loop, ms(0));
        assert!(activities(&event_loop).is_empty());
    }

    #[test]
    fn who_parked_last_is_resumed_once_however_often_it_is_woken() {
        let mut event_loop = EventLoop::builder().fail_on_error().build().unwrap();
        let kept: Rc<RefCell<Vec<Resolver<()>>>> = Rc::default();
        let inside = Rc::clone(&kept);
        drop(event_loop.handle().spawn(async move |co: Co| -> Result {
            let task = || co.task(|done| inside.borrow_mut().push(done));
            let (first, second) = co.all((task(), task())).await;
            first.and(second)
        }));
        let report = event_loop.turn(Budget::steps(100)).unwrap();
        assert_eq!(report.steps, 1);
        for resolver in kept.take() {
            resolver.resolve(());
        }
        let report = event_loop.turn(Budget::steps(100)).unwrap();
        assert_eq!(report.steps, 1);
        assert!(event_loop.snapshot().coroutines.is_empty());
    }
}
