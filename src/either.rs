//! [`Either`] and its larger kin: one value out of several possible types.
//!
//! They are apart because two unrelated things need them: a hand-written machine that yields points of different types, and the
//! winner of a [`First`](crate::First) over a tuple.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::coroutine::Co;
use crate::yield_point::YieldPoint;

/// One of two.
///
/// As a yield-point it is the point it holds, and its output says which that was: so a hand-written machine can yield two types of
/// point. Nest it for more. As the output of [`Co::first`] over a pair it says who won.
///
/// ```
/// use yieldpoint::{Either, EventLoop, Result, Sleep, YieldNow, ms};
///
/// EventLoop::new()?.block_on(async |co| -> Result {
///     for patient in [false, true] {
///         let point = if patient { Either::Left(Sleep::new(ms(1))) } else { Either::Right(YieldNow::new()) };
///         let output = co.yield_(point).await;
///         assert_eq!(matches!(output, Either::Left(Ok(()))), patient);
///         output.into_inner()?;
///     }
///     Ok(())
/// })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a yield-point does nothing until it is yielded"]
pub enum Either<A, B> {
    /// The first.
    Left(A),
    /// The second.
    Right(B),
}

impl<T> Either<T, T> {
    /// The value, whichever it is.
    ///
    /// ```
    /// use yieldpoint::Either;
    ///
    /// let either: Either<u32, u32> = Either::Right(7);
    /// assert_eq!(either.into_inner(), 7);
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            Either::Left(value) | Either::Right(value) => value,
        }
    }
}

impl<A: YieldPoint, B: YieldPoint> YieldPoint for Either<A, B> {
    type Output = Either<A::Output, B::Output>;
    type Started = EitherStarted<A::Started, B::Started>;

    #[inline]
    fn start(self, co: &Co) -> Self::Started {
        let side = match self {
            Either::Left(point) => Side::Left {
                point: point.start(co),
            },
            Either::Right(point) => Side::Right {
                point: point.start(co),
            },
        };
        EitherStarted { side }
    }
}

pin_project! {
    /// An [`Either`] of two points that is awaited.
    #[derive(Debug)]
    #[must_use = "a yield-point does nothing until it is awaited"]
    pub struct EitherStarted<A, B> {
        #[pin]
        side: Side<A, B>,
    }
}

pin_project! {
    /// Which point was started.
    #[project = SideProjected]
    #[derive(Debug)]
    enum Side<A, B> {
        Left { #[pin] point: A },
        Right { #[pin] point: B },
    }
}

impl<A: Future, B: Future> Future for EitherStarted<A, B> {
    type Output = Either<A::Output, B::Output>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().side.project() {
            SideProjected::Left { point } => point.poll(cx).map(Either::Left),
            SideProjected::Right { point } => point.poll(cx).map(Either::Right),
        }
    }
}

/// Makes the enum of the winners of a tuple.
macro_rules! one_of {
    ($(#[$doc:meta])* $name:ident: $($variant:ident $number:literal),+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name<$($variant),+> {
            $(
                #[doc = concat!("Point number ", $number, " of the tuple won.")]
                $variant($variant),
            )+
        }
    };
}

one_of! {
    /// Says which of three points won, with its output. See [`Co::first`].
    ///
    /// ```
    /// use yieldpoint::{EventLoop, OneOf3, Result, ms};
    ///
    /// EventLoop::new()?.block_on(async |co| -> Result {
    ///     let winner = co.first((co.sleep(ms(5)), co.task(|done| done.resolve("hit")), async { 7 })).await;
    ///     assert!(matches!(winner, OneOf3::B(Ok("hit"))));
    ///     Ok(())
    /// })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    OneOf3: A 1, B 2, C 3
}
one_of! {
    /// Says which of four points won, with its output. See [`OneOf3`].
    OneOf4: A 1, B 2, C 3, D 4
}
one_of! {
    /// Says which of five points won, with its output. See [`OneOf3`].
    OneOf5: A 1, B 2, C 3, D 4, E 5
}
one_of! {
    /// Says which of six points won, with its output. See [`OneOf3`].
    OneOf6: A 1, B 2, C 3, D 4, E 5, F 6
}
one_of! {
    /// Says which of seven points won, with its output. See [`OneOf3`].
    OneOf7: A 1, B 2, C 3, D 4, E 5, F 6, G 7
}
one_of! {
    /// Says which of eight points won, with its output. See [`OneOf3`].
    OneOf8: A 1, B 2, C 3, D 4, E 5, F 6, G 7, H 8
}
one_of! {
    /// Says which of nine points won, with its output. See [`OneOf3`].
    OneOf9: A 1, B 2, C 3, D 4, E 5, F 6, G 7, H 8, I 9
}
one_of! {
    /// Says which of ten points won, with its output. See [`OneOf3`].
    OneOf10: A 1, B 2, C 3, D 4, E 5, F 6, G 7, H 8, I 9, J 10
}
one_of! {
    /// Says which of eleven points won, with its output. See [`OneOf3`].
    OneOf11: A 1, B 2, C 3, D 4, E 5, F 6, G 7, H 8, I 9, J 10, K 11
}
one_of! {
    /// Says which of twelve points won, with its output. See [`OneOf3`].
    OneOf12: A 1, B 2, C 3, D 4, E 5, F 6, G 7, H 8, I 9, J 10, K 11, L 12
}
