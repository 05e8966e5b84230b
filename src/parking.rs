//! Parking a point and waking who parked: by the coroutine's id where that will do, else by a waker that somebody else made.
//!
//! It is apart from what is shared because it is one protocol, and the hottest.
//!
//! Invariants:
//! 1. A point takes the short way only with the waker the loop polls with at that moment, known by its place; whom it wakes is whom the
//!    loop runs then. Between turns no waker is known: the loop may be gone, and another waker lie where its own was.
//! 2. A foreign waker is kept in the record of the coroutine in which it was used, under the token in the point's slot. A token is given
//!    back by its point, so it never reaches another point's waker. While a point parks anew, its slot is nowhere else: what a waker does
//!    as it is cloned or dropped finds a vacated one, and the point looks afterwards whether what it waits for has come.
//! 3. A waker is cloned, woken and dropped with nothing borrowed: that is user code.
//!
//! ```text
//!                park, the loop's own waker
//!   empty slot ───────────────────────────▶ direct: the coroutine's id ──── wake_waiter ──▶ vacated
//!        │       park, another waker                                             ▲
//!        └────────────────────────────────▶ foreign: id and token ───────────────┤
//!                                                     └── unpark, cancel ────────┘
//! ```

use std::cell::RefCell;
use std::mem;
use std::ptr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::arena::{Arena, Id};
use crate::error::{Error, ErrorKind};
use crate::record::CancelCause;
use crate::shared::{PLAIN, PolledChild, Shared};
use crate::waiter::{Foreign, Note, Parent, WaiterSlot};

impl Shared {
    /// Parks the point that owns `slot`: whoever polls it now will be woken through the slot given back.
    ///
    /// # Errors
    /// The cancel to be delivered by this point instead: it was parked when the cancel came, and is not shielded. The point must then
    /// store [`WaiterSlot::EMPTY`]: awaited again, it counts as new, or a loop that swallows the cancel would spin.
    #[inline]
    pub(crate) fn park(
        &self,
        slot: WaiterSlot,
        cx: &Context<'_>,
        note: Note,
    ) -> Result<WaiterSlot, Error> {
        if slot.token().is_none()
            && let Some(slot) = self.park_direct(cx, note)
        {
            return Ok(slot);
        }
        self.park_rare(slot, cx, note)
    }

    /// Parks whoever polls among those who wait for an end; `id` is their place there from the first time on. If the end has come by what a
    /// waker did as it was cloned or dropped, they are woken at once.
    pub(crate) fn park_for_end(
        &self,
        (waiters, id): (&RefCell<Arena<WaiterSlot>>, &mut Id),
        cx: &Context<'_>,
        note: Note,
        has_ended: impl FnOnce() -> bool,
    ) -> Poll<Result<(), Error>> {
        if id.is_none() {
            *id = waiters.borrow_mut().insert(WaiterSlot::EMPTY);
        }
        let exchange = |slot: WaiterSlot| {
            let mut waiters = waiters.borrow_mut();
            let kept = waiters.get_mut(*id);
            kept.map_or(slot, |kept| mem::replace(kept, slot))
        };
        let slot = exchange(WaiterSlot::EMPTY);
        match self.park(slot, cx, note) {
            Ok(slot) if has_ended() => self.wake_waiter(slot),
            Ok(slot) => drop(exchange(slot)),
            Err(cancel) => {
                exchange(slot.vacated());
                return Poll::Ready(Err(cancel));
            }
        }
        Poll::Pending
    }

    /// Parks in the short way, if that can be, a point that no foreign waker is kept for. It runs no user code, and may be called with
    /// something borrowed.
    #[inline]
    pub(crate) fn park_direct(&self, cx: &Context<'_>, note: Note) -> Option<WaiterSlot> {
        if !self.is_plain(cx.waker()) {
            return None;
        }
        let resume = self.resume.get();
        self.set_note_in(resume, note);
        Some(WaiterSlot::direct(self.running.get(), resume))
    }

    /// Parks a point that was parked elsewhere, or whose coroutine is being cancelled.
    #[cold]
    fn park_rare(
        &self,
        slot: WaiterSlot,
        cx: &Context<'_>,
        note: Note,
    ) -> Result<WaiterSlot, Error> {
        let resume = self.resume_number();
        self.unpark(slot);
        if self.cancelling() && slot.parked_before(resume) {
            return Err(self.cancelled());
        }
        if self.cancelling() {
            self.parked_anew.set(true);
        }
        if self.polls_with(cx.waker()) {
            self.set_note(note);
            return Ok(WaiterSlot::direct(self.running.get(), resume));
        }
        self.park_foreign(cx, note)
    }

    /// Whether a point polled with this waker parks or gives way in the short way: it is the very waker the loop polls with, no cancel is
    /// being told, and the coroutine is not queued.
    #[inline]
    pub(crate) fn is_plain(&self, waker: &Waker) -> bool {
        ptr::eq(waker, self.plain_place.get())
    }

    /// Whether this is the waker the loop polls with at this moment, so that the id alone will do. Between resumes nobody has it: a
    /// waker of which a clone is about is not the common one any more.
    #[inline]
    pub(crate) fn polls_with(&self, waker: &Waker) -> bool {
        ptr::eq(waker.data(), self.waker_data.get())
            && ptr::eq(waker.vtable(), self.waker_vtable.get())
    }

    /// Enters a turn, with the waker of everybody who has none of his own.
    pub(crate) fn enter_turn(&self, common: &Waker) {
        self.waker_vtable.set(common.vtable());
        self.set_current_waker(common);
    }

    /// Sets the waker the loop polls with, which stays where it is until it is set anew or the turn ends. All that are set in a turn are
    /// of one kind. Points go the short way with it; where a cancel is being told, [`settle_place`](Shared::settle_place) has to be called.
    #[inline]
    pub(crate) fn set_current_waker(&self, waker: &Waker) {
        self.waker_data.set(waker.data());
        self.waker_place.set(waker);
        self.plain_place.set(waker);
    }

    /// Says anew whether points go the short way.
    pub(crate) fn settle_place(&self) {
        let place = if self.cancelling() || self.queued.get() {
            ptr::null()
        } else {
            self.waker_place.get()
        };
        self.plain_place.set(place);
    }

    /// Forgets that waker, and where it is: once the loop is gone, another loop's waker may lie there and point to the same place.
    pub(crate) fn forget_current_waker(&self) {
        self.waker_data.set(ptr::null());
        self.waker_place.set(ptr::null());
        self.plain_place.set(ptr::null());
    }

    /// Whether points parked in earlier resumes are to end with `Cancelled`.
    #[inline]
    pub(crate) fn cancelling(&self) -> bool {
        self.resume.get() & PLAIN == 0
    }

    /// The number of the current resume; see [`WaiterSlot`].
    #[inline]
    pub(crate) fn resume_number(&self) -> u32 {
        self.resume.get() | PLAIN
    }

    /// Sets whether points parked in earlier resumes are to end with `Cancelled`. Tells whether they were.
    pub(crate) fn set_cancelling(&self, on: bool) -> bool {
        let before = self.cancelling();
        let mark = if on { 0 } else { PLAIN };
        self.resume.set(self.resume.get() & !PLAIN | mark);
        self.settle_place();
        before
    }

    /// Parks under a waker that some combinator made, or outside of any coroutine.
    fn park_foreign(&self, cx: &Context<'_>, note: Note) -> Result<WaiterSlot, Error> {
        if self.closed.get() {
            return Err(ErrorKind::LoopGone.into());
        }
        let foreign = self
            .polled_child(cx.waker())
            .unwrap_or_else(|| Foreign::Waker(cx.waker().clone()));
        let owner = self.running.get();
        if !owner.is_none() {
            self.set_note(note);
        }
        let mut records = self.records.borrow_mut();
        let token = match records.get_mut(owner) {
            Some(record) => record.rare_mut(&self.rares).wakers.insert(Some(foreign)),
            None => self.strays.borrow_mut().insert(foreign),
        };
        // A stray point belongs to no coroutine, so no cancel will ask.
        Ok(WaiterSlot::foreign(owner, token, self.resume_number()))
    }

    /// Polls a point of a combinator of ours with the point's own waker, so that our points inside it park under its place and need no
    /// clone of that waker: whoever holds one is foreign.
    pub(crate) fn poll_child<R>(
        &self,
        waker: &Waker,
        parent: &Rc<impl Parent + 'static>,
        place: usize,
        poll: impl FnOnce(&mut Context<'_>) -> R,
    ) -> R {
        /// Puts the outer point back, also if the poll panics.
        struct Outer<'a>(&'a Shared, Option<PolledChild>);
        impl Drop for Outer<'_> {
            fn drop(&mut self) {
                self.0.child.replace(self.1.take());
            }
        }
        let _outer = Outer(
            self,
            self.child.replace(Some(PolledChild {
                waker: (waker.data(), ptr::from_ref(waker.vtable())),
                parent: Rc::clone(parent) as Rc<dyn Parent>,
                place,
            })),
        );
        poll(&mut Context::from_waker(waker))
    }

    /// The point being polled, if this waker is the one it was given.
    fn polled_child(&self, waker: &Waker) -> Option<Foreign> {
        let child = self.child.borrow();
        let child = child.as_ref()?;
        let (data, vtable) = child.waker;
        (ptr::eq(waker.data(), data) && ptr::eq(waker.vtable(), vtable))
            .then(|| Foreign::Child(Rc::clone(&child.parent), child.place))
    }

    /// Forgets who waits in the slot. The slot given back keeps the number of the resume.
    pub(crate) fn unpark(&self, slot: WaiterSlot) -> WaiterSlot {
        drop(self.take_foreign(slot));
        slot.vacated()
    }

    /// Takes a foreign waker out of where it is kept.
    fn take_foreign(&self, slot: WaiterSlot) -> Option<Foreign> {
        let token = slot.token()?;
        let mut records = self.records.borrow_mut();
        if slot.owner().is_none() {
            return self.strays.borrow_mut().try_remove(token);
        }
        records
            .get_mut(slot.owner())?
            .rare_if_any()?
            .wakers
            .try_remove(token)
            .flatten()
    }

    /// Wakes who waits in the slot, if anybody does.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "often nobody does")]
    pub(crate) fn wake_waiter(&self, slot: WaiterSlot) {
        if slot.token().is_none() {
            if !slot.owner().is_none() {
                self.wake(slot.owner());
            }
        } else {
            self.wake_foreign(slot);
        }
    }

    /// Wakes who waits in the slot where that is nobody, or who parked last: it calls nothing. Tells whether it did.
    #[inline]
    pub(crate) fn wake_at_once(&self, slot: WaiterSlot) -> bool {
        slot.direct_owner()
            .is_some_and(|owner| owner.is_none() || self.wake_last(owner))
    }

    /// Wakes a foreign waker, which is user code.
    #[cold]
    fn wake_foreign(&self, slot: WaiterSlot) {
        if let Some(foreign) = self.take_foreign(slot) {
            self.wake_taken(foreign);
        }
    }

    /// Wakes what was taken out of where it is kept.
    pub(crate) fn wake_taken(&self, foreign: Foreign) {
        self.contain("waker", || match foreign {
            Foreign::Waker(waker) => waker.wake(),
            // The combinator may be inside a foreign one, and wakes that.
            Foreign::Child(parent, place) => parent.woken(place),
        });
    }

    /// The error by which the running coroutine learns of its own cancel.
    #[cold]
    pub(crate) fn cancelled(&self) -> Error {
        self.cancels.set(self.cancels.get().wrapping_add(1));
        let cause = {
            let records = self.records.borrow();
            records
                .get(self.running.get())
                .and_then(|record| record.rare()?.cancel.clone())
        };
        match cause {
            Some(CancelCause { reason, site }) => ErrorKind::Cancelled { reason, site }.into(),
            None => ErrorKind::LoopGone.into(),
        }
    }

    /// Says what the running coroutine is parked on, better than the points inside it have said.
    pub(crate) fn parked_on(&self, note: Note) {
        if !self.running.get().is_none() {
            self.set_note(note);
        }
    }

    /// Says what the running coroutine is parked on when one point is wrapped in another: the inner one, if it is one of ours, since that
    /// is what does not come; else the outer one.
    pub(crate) fn parked_inside(&self, inner: Note, outer: Note) {
        self.parked_on(if inner.site.is_some() { inner } else { outer });
    }

    /// Notes what the running coroutine parks on.
    #[inline]
    pub(crate) fn set_note(&self, note: Note) {
        self.set_note_in(self.resume_number(), note);
    }

    /// The same, in the resume with this number.
    #[inline]
    fn set_note_in(&self, resume: u32, note: Note) {
        self.settle_parked();
        self.note_kind.set(note.kind);
        self.note_site.set(note.site);
        self.note_in.set(resume);
    }

    /// What the running coroutine parked on last in this resume.
    #[inline]
    pub(crate) fn note(&self) -> Note {
        if self.note_in.get() != self.resume_number() {
            return Note::FOREIGN;
        }
        Note {
            kind: self.note_kind.get(),
            site: self.note_site.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use crate::{Budget, EventLoop, Result, ms};

    #[test]
    fn the_memory_of_many_points_polled_outside_of_the_loop_is_given_back_once_they_are_gone() {
        const MANY: usize = 10_000;
        let mut event_loop = EventLoop::new().unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let mut points = Vec::new();
        event_loop
            .block_on(async |co| -> Result {
                points.extend((0..MANY).map(|_| co.sleep(ms(60_000))));
                Ok(())
            })
            .unwrap();
        for point in &mut points {
            assert!(matches!(pin!(point).poll(&mut cx), Poll::Pending));
        }
        let strays = &event_loop.shared().strays;
        assert_eq!(strays.borrow().len(), MANY);
        drop(points);
        let _ = event_loop.turn(Budget::steps(1)).unwrap();
        assert_eq!(event_loop.shared().strays.borrow().capacity(), 0);
    }
}
