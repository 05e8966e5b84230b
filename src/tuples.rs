//! Tuples of up to 12 yield-points, of different types, as [`Points`].
//!
//! They are apart from the points of one type because each size is a storage of its own, which a macro writes. Nothing is boxed: the
//! children lie side by side, pinned in place.
//!
//! ```text
//!   Running ── its poll gives an output ──▶ Done ── taken ──▶ Gone
//! ```

use std::convert::identity;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::coroutine::Co;
use crate::either::{
    Either, OneOf3, OneOf4, OneOf5, OneOf6, OneOf7, OneOf8, OneOf9, OneOf10, OneOf11, OneOf12,
};
use crate::handle::Handle;
use crate::points::{Points, Started};
use crate::row::Ended;
use crate::yield_point::YieldPoint;

pin_project! {
    /// One point of a tuple.
    #[project = SlotProjected]
    #[project_replace = SlotTaken]
    pub enum Slot<F: Future> {
        /// It has not ended.
        Running {
            #[pin]
            future: F,
        },
        /// It has ended; its output is still to be taken.
        Done { output: F::Output },
        /// Its output was taken.
        Gone,
    }
}

impl<F: Future> Slot<F> {
    /// Polls the point, if it has not ended.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            SlotProjected::Running { future } => future.poll(cx),
            _ => Poll::Pending,
        }
    }

    /// Polls the point, if it has not ended, and keeps its output. Tells whether it has ended.
    #[inline]
    fn settle(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        if let Poll::Ready(output) = self.as_mut().poll(cx) {
            self.set(Slot::Done { output });
            return true;
        }
        !matches!(self.project(), SlotProjected::Running { .. })
    }

    /// Takes the output.
    fn take(self: Pin<&mut Self>) -> F::Output {
        match self.project_replace(Slot::Gone) {
            SlotTaken::Done { output } => output,
            _ => unreachable!("a point is asked for its output once it has ended, and once"),
        }
    }
}

/// The winner of a tuple of a single point.
type Sole<T> = T;

/// Makes the storage of the started points of a tuple.
macro_rules! tuple {
    ($count:literal, $tuple:ident, $winner:ident: $($point:ident $field:ident $won:expr),+) => {
        pin_project! {
            /// The started points of a tuple.
            pub struct $tuple<$($point: Future),+> {
                $(#[pin] $field: Slot<$point>,)+
            }
        }

        impl<$($point: Future),+> Started for $tuple<$($point),+> {
            type Outputs = ($($point::Output,)+);
            type Winner = $winner<$($point::Output),+>;

            fn poll_all(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Outputs> {
                let mut this = self.project();
                let mut ended = true;
                $(ended &= this.$field.as_mut().settle(cx);)+
                if !ended {
                    return Poll::Pending;
                }
                Poll::Ready(($(this.$field.take(),)+))
            }

            fn poll_first(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                handle: &Handle,
            ) -> Poll<Self::Winner> {
                let this = self.project();
                let mut cancelled = None;
                $(match Ended::watch(handle.shared(), || this.$field.poll(cx)) {
                    (Poll::Ready(output), Ended::Itself) => return Poll::Ready($won(output)),
                    (Poll::Ready(output), Ended::Cancelled) => {
                        cancelled.get_or_insert($won(output));
                    }
                    (Poll::Pending, _) => {}
                })+
                cancelled.map_or(Poll::Pending, Poll::Ready)
            }
        }

        impl<$($point: YieldPoint),+> Points for ($($point,)+) {
            type Outputs = ($($point::Output,)+);
            type Winner = $winner<$($point::Output),+>;
            type Started = $tuple<$($point::Started),+>;

            fn count(&self) -> usize {
                $count
            }

            fn start(self, co: &Co) -> Self::Started {
                let ($($field,)+) = self;
                $tuple {
                    $($field: Slot::Running { future: $field.start(co) },)+
                }
            }
        }
    };
}

tuple!(1, Tuple1, Sole: A a identity);
tuple!(2, Tuple2, Either: A a Either::Left, B b Either::Right);
tuple!(3, Tuple3, OneOf3: A a OneOf3::A, B b OneOf3::B, C c OneOf3::C);
tuple!(4, Tuple4, OneOf4: A a OneOf4::A, B b OneOf4::B, C c OneOf4::C, D d OneOf4::D);
tuple!(5, Tuple5, OneOf5: A a OneOf5::A, B b OneOf5::B, C c OneOf5::C, D d OneOf5::D, E e OneOf5::E);
tuple!(6, Tuple6, OneOf6: A a OneOf6::A, B b OneOf6::B, C c OneOf6::C, D d OneOf6::D, E e OneOf6::E, F f OneOf6::F);
tuple!(7, Tuple7, OneOf7: A a OneOf7::A, B b OneOf7::B, C c OneOf7::C, D d OneOf7::D, E e OneOf7::E, F f OneOf7::F, G g OneOf7::G);
tuple!(8, Tuple8, OneOf8: A a OneOf8::A, B b OneOf8::B, C c OneOf8::C, D d OneOf8::D, E e OneOf8::E, F f OneOf8::F, G g OneOf8::G, H h OneOf8::H);
tuple!(9, Tuple9, OneOf9: A a OneOf9::A, B b OneOf9::B, C c OneOf9::C, D d OneOf9::D, E e OneOf9::E, F f OneOf9::F, G g OneOf9::G, H h OneOf9::H, I i OneOf9::I);
tuple!(10, Tuple10, OneOf10: A a OneOf10::A, B b OneOf10::B, C c OneOf10::C, D d OneOf10::D, E e OneOf10::E, F f OneOf10::F, G g OneOf10::G, H h OneOf10::H, I i OneOf10::I, J j OneOf10::J);
tuple!(11, Tuple11, OneOf11: A a OneOf11::A, B b OneOf11::B, C c OneOf11::C, D d OneOf11::D, E e OneOf11::E, F f OneOf11::F, G g OneOf11::G, H h OneOf11::H, I i OneOf11::I, J j OneOf11::J, K k OneOf11::K);
tuple!(12, Tuple12, OneOf12: A a OneOf12::A, B b OneOf12::B, C c OneOf12::C, D d OneOf12::D, E e OneOf12::E, F f OneOf12::F, G g OneOf12::G, H h OneOf12::H, I i OneOf12::I, J j OneOf12::J, K k OneOf12::K, L l OneOf12::L);
