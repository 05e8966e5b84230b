//! Coroutines that were spawned and have not started, with their bodies.
//!
//! They are apart because the bodies on their way to the loop are here: whoever spawns may be anywhere, and the loop takes one when it
//! comes to the newcomer's place in the ready queue. That is in the order in which they came, so only the first is ever asked for.

use std::pin::Pin;

use crate::arena::Id;
use crate::record::Body;

/// A coroutine and its body.
type Newcomer = (Id, Pin<Box<dyn Body>>);

/// More at a time are a burst, whose memory is given back as soon as it is over.
pub(crate) const BURST: usize = 32 * 1024;

/// See the module's page.
#[derive(Default)]
pub(crate) struct Newcomers {
    /// Those who came first, the first at the end.
    front: Vec<Newcomer>,
    /// Those who came after them.
    back: Vec<Newcomer>,
}

impl Newcomers {
    /// Adds one.
    #[inline]
    pub(crate) fn push(&mut self, id: Id, body: Pin<Box<dyn Body>>) {
        self.back.push((id, body));
    }

    /// Takes the first out, if it is this one.
    #[inline]
    pub(crate) fn take(&mut self, id: Id) -> Option<Pin<Box<dyn Body>>> {
        let mut list = &mut self.front;
        if list.is_empty() {
            if self.back.len() > 1 {
                self.turn_over();
                list = &mut self.front;
            } else {
                // One alone is handed on as it is: whoever takes it need not wait for the lists to be written and read.
                list = &mut self.back;
            }
        }
        let (_, body) = list.pop_if(|first| first.0 == id)?;
        Some(body)
    }

    /// Makes those who came after the others the first.
    #[inline(never)]
    fn turn_over(&mut self) {
        std::mem::swap(&mut self.front, &mut self.back);
        self.front.reverse();
    }

    /// Takes all out.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Newcomer> + use<> {
        let all = std::mem::take(self);
        all.front.into_iter().rev().chain(all.back)
    }

    /// Who they are.
    pub(crate) fn ids(&self) -> impl Iterator<Item = Id> {
        self.front.iter().chain(&self.back).map(|one| one.0)
    }

    /// Gives back memory beyond that for `kept` of them, if there are none.
    pub(crate) fn rest(&mut self, kept: usize) {
        for list in [&mut self.front, &mut self.back] {
            if list.is_empty() && list.capacity() > kept {
                *list = Vec::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};

    use super::*;
    use crate::error::Error;
    use crate::record::Ended;

    /// A body of nothing.
    struct Empty;

    impl Body for Empty {
        fn resume(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Ended> {
            Poll::Pending
        }

        fn vacate(self: Pin<&mut Self>) {}

        fn end(self: Pin<&mut Self>, _: Error) {}
    }

    #[test]
    fn they_are_taken_in_the_order_in_which_they_came_and_no_other() {
        let ids: Vec<Id> = (0..6).map(Id::from_bits).collect();
        let mut newcomers = Newcomers::default();
        assert!(newcomers.take(ids[0]).is_none());
        for &id in &ids[..3] {
            newcomers.push(id, Box::pin(Empty));
        }
        assert!(newcomers.take(ids[1]).is_none());
        assert!(newcomers.take(ids[0]).is_some());
        for &id in &ids[3..] {
            newcomers.push(id, Box::pin(Empty));
        }
        assert!(newcomers.take(ids[1]).is_some());
        let mut left: Vec<Id> = newcomers.ids().collect();
        left.sort_by_key(|id| id.index());
        assert_eq!(left, ids[2..]);
        assert!(newcomers.take(ids[2]).is_some());
        assert!(newcomers.take(ids[3]).is_some());
        let left: Vec<Id> = newcomers.take_all().map(|one| one.0).collect();
        assert_eq!(left, ids[4..]);
        assert_eq!(newcomers.ids().count(), 0);
    }

    #[test]
    fn one_alone_is_taken_only_by_its_own_id() {
        let mut newcomers = Newcomers::default();
        newcomers.push(Id::from_bits(1), Box::pin(Empty));
        assert!(newcomers.take(Id::from_bits(2)).is_none());
        assert!(newcomers.take(Id::from_bits(1)).is_some());
        assert!(newcomers.take(Id::from_bits(1)).is_none());
    }
}
