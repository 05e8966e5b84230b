//! [`Points`]: several yield-points in one tuple, array, `Vec` or map, started together.
//!
//! It is apart from [`YieldPoint`] because every future is a yield-point, and the compiler could not tell a tuple of points from a
//! future that is a tuple. What is started is one storage, [`Started`], for all that can be done with it: `All` and `First` add only
//! the question they ask.
//!
//! Invariants:
//! 1. Points are started in order: of the tuple, array or `Vec`, of a `BTreeMap`'s keys, of a `HashMap`'s iteration.
//! 2. A child is polled until it gives its output, and not after.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hash};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::coroutine::Co;
use crate::handle::Handle;
use crate::row::{Ended, Row};
use crate::yield_point::YieldPoint;

/// Several yield-points that are started together: a tuple of up to 12, an array, a `Vec`, a `HashMap` or a `BTreeMap`.
///
/// It is what [`Co::all`] and [`Co::first`] take; all but tuples are [`Sequence`]s too. In a tuple the points may be of different
/// types; in the others they are of one type, which may be an [`Either`](crate::Either). The trait cannot be implemented elsewhere.
///
/// ```
/// use std::collections::BTreeMap;
/// use yieldpoint::{Co, EventLoop, Points, Result, Sleep, ms};
///
/// /// Waits for any shape of points.
/// async fn both<P: Points>(co: &Co, points: P) -> P::Outputs {
///     co.all(points).await
/// }
///
/// EventLoop::new()?.block_on(async |co| -> Result {
///     assert_eq!(both(&co, (async { 1 }, async { "two" })).await, (1, "two"));
///     let naps = BTreeMap::from([("long", Sleep::new(ms(2))), ("short", Sleep::new(ms(1)))]);
///     assert!(both(&co, naps).await["short"].is_ok());
///     Ok(())
/// })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tuple of up to 12, an array, a `Vec` or a map of yield-points",
    label = "not several yield-points"
)]
pub trait Points: Sized {
    /// The outputs, in the shape of the points.
    type Outputs;
    /// The one output that came first, and whose it is: [`Either`](crate::Either) or `OneOf3` to `OneOf12` for a tuple (for one of a
    /// single point its output), `(index, output)` for an array or a `Vec`, `(key, output)` for a map.
    type Winner;
    /// The points while they are waited for.
    #[doc(hidden)]
    type Started: Started<Outputs = Self::Outputs, Winner = Self::Winner>;
    /// How many there are.
    #[doc(hidden)]
    fn count(&self) -> usize;
    /// Starts them, in order.
    #[doc(hidden)]
    fn start(self, co: &Co) -> Self::Started;
}

/// Started points. It cannot be named outside of the crate, which seals [`Points`].
pub trait Started {
    /// The outputs, in the shape of the points.
    type Outputs;
    /// The one that came first.
    type Winner;
    /// Polls those that have not ended; gives all outputs once they have.
    fn poll_all(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Outputs>;
    /// Polls in order, and gives the first output there is; one that is there because of a cancel only if there is no other.
    fn poll_first(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        handle: &Handle,
    ) -> Poll<Self::Winner>;
}

/// Several yield-points of one type: an array, a `Vec`, a `HashMap` or a `BTreeMap`.
///
/// It is what [`Co::as_completed`] takes. The trait cannot be implemented elsewhere.
///
/// ```
/// use yieldpoint::{Co, EventLoop, Result, Sequence, Sleep, ms};
///
/// /// Who comes in, in that order.
/// async fn order<P: Sequence>(co: &Co, points: P) -> Vec<P::Name> {
///     let mut names = vec![];
///     let mut done = co.as_completed(points);
///     while let Some((name, _)) = done.next().await {
///         names.push(name);
///     }
///     names
/// }
///
/// EventLoop::new()?.block_on(async |co| -> Result {
///     assert_eq!(order(&co, [2, 1].map(|n| Sleep::new(ms(n)))).await, [1, 0]);
///     Ok(())
/// })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
pub trait Sequence:
    Points<Started = Listed<<Self::Point as YieldPoint>::Started, Self::Shape>>
{
    /// The type of the points.
    type Point: YieldPoint;
    /// What tells one from the other: the index, or the key.
    type Name;
    /// What is kept of the array, `Vec` or map while its points are waited for.
    #[doc(hidden)]
    type Shape: Shape<<Self::Point as YieldPoint>::Output, Name = Self::Name>;
}

/// What is kept of an array, a `Vec` or a map of points, to give the outputs its shape.
pub trait Shape<T> {
    /// The outputs in that shape.
    type Outputs;
    /// What tells one point from the other.
    type Name;
    /// Gives the outputs, which are all and in order, their shape.
    fn gather(self, outputs: Vec<T>) -> Self::Outputs;
    /// Takes the name of one point, which is asked for once.
    fn name(&mut self, index: usize) -> Self::Name;
}

/// The started points of a [`Sequence`].
pub struct Listed<F: Future, S> {
    /// The points.
    pub(crate) row: Row<F>,
    /// The shape, until it is given to the outputs.
    pub(crate) shape: Option<S>,
}

impl<F: Future, S: Unpin> Unpin for Listed<F, S> {}

impl<F: Future, S> Listed<F, S> {
    /// Starts the points.
    fn start<P>(points: impl IntoIterator<Item = P>, shape: S, co: &Co) -> Self
    where
        P: YieldPoint<Started = F, Output = F::Output>,
    {
        Listed {
            row: Row::start(points, co),
            shape: Some(shape),
        }
    }
}

/// Neither half is ever pinned: the points are boxed.
impl<F: Future, S: Shape<F::Output> + Unpin> Started for Listed<F, S> {
    type Outputs = S::Outputs;
    type Winner = (S::Name, F::Output);

    fn poll_all(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<S::Outputs> {
        let this = self.get_mut();
        this.row.advance(cx, |_, _| ControlFlow::Continue(()));
        if this.row.left() > 0 {
            return Poll::Pending;
        }
        let Some(shape) = this.shape.take() else {
            return Poll::Pending;
        };
        Poll::Ready(shape.gather(this.row.take_all()))
    }

    fn poll_first(self: Pin<&mut Self>, cx: &mut Context<'_>, _: &Handle) -> Poll<Self::Winner> {
        let this = self.get_mut();
        let mut winner = None;
        this.row.advance(cx, |index, how| match how {
            Ended::Itself => {
                winner = Some(index);
                ControlFlow::Break(())
            }
            Ended::Cancelled => {
                winner.get_or_insert(index);
                ControlFlow::Continue(())
            }
        });
        match (winner, &mut this.shape) {
            (Some(index), Some(shape)) => Poll::Ready((shape.name(index), this.row.take(index))),
            _ => Poll::Pending,
        }
    }
}

/// The shape of a `Vec`.
#[derive(Debug)]
pub struct InVec;

impl<T> Shape<T> for InVec {
    type Outputs = Vec<T>;
    type Name = usize;

    fn gather(self, outputs: Vec<T>) -> Vec<T> {
        outputs
    }

    fn name(&mut self, index: usize) -> usize {
        index
    }
}

/// The shape of an array.
#[derive(Debug)]
pub struct InArray<const N: usize>;

impl<T, const N: usize> Shape<T> for InArray<N> {
    type Outputs = [T; N];
    type Name = usize;

    fn gather(self, outputs: Vec<T>) -> [T; N] {
        outputs
            .try_into()
            .unwrap_or_else(|_| unreachable!("an array of N points has N outputs"))
    }

    fn name(&mut self, index: usize) -> usize {
        index
    }
}

/// The keys of a map, in the order of its points, with what a map of the outputs is made from.
pub struct Keys<K, S> {
    /// The keys; one is gone once its point was named.
    keys: Vec<Option<K>>,
    /// The hasher of a `HashMap`.
    hasher: S,
}

impl<K, S> Unpin for Keys<K, S> {}

impl<K, S> Keys<K, S> {
    /// Takes a map apart.
    fn split<P>(map: impl IntoIterator<Item = (K, P)>, hasher: S) -> (Self, Vec<P>) {
        let (keys, points) = map
            .into_iter()
            .map(|(key, point)| (Some(key), point))
            .unzip();
        (Keys { keys, hasher }, points)
    }

    /// Takes one key.
    fn take(&mut self, index: usize) -> K {
        self.keys[index]
            .take()
            .expect("a point is named once: when it ends")
    }
}

impl<K: Eq + Hash, S: BuildHasher, T> Shape<T> for Keys<K, Hashed<S>> {
    type Outputs = HashMap<K, T, S>;
    type Name = K;

    fn gather(self, outputs: Vec<T>) -> HashMap<K, T, S> {
        let mut map = HashMap::with_capacity_and_hasher(outputs.len(), self.hasher.0);
        map.extend(self.keys.into_iter().flatten().zip(outputs));
        map
    }

    fn name(&mut self, index: usize) -> K {
        self.take(index)
    }
}

impl<K: Ord, T> Shape<T> for Keys<K, Sorted> {
    type Outputs = BTreeMap<K, T>;
    type Name = K;

    fn gather(self, outputs: Vec<T>) -> BTreeMap<K, T> {
        self.keys.into_iter().flatten().zip(outputs).collect()
    }

    fn name(&mut self, index: usize) -> K {
        self.take(index)
    }
}

/// Marks the keys of a `HashMap`, and keeps its hasher.
#[derive(Debug)]
pub struct Hashed<S>(S);

/// Marks the keys of a `BTreeMap`.
#[derive(Debug)]
pub struct Sorted;

impl<P: YieldPoint> Points for Vec<P> {
    type Outputs = Vec<P::Output>;
    type Winner = (usize, P::Output);
    type Started = Listed<P::Started, InVec>;

    fn count(&self) -> usize {
        self.len()
    }

    fn start(self, co: &Co) -> Self::Started {
        Listed::start(self, InVec, co)
    }
}

impl<P: YieldPoint> Sequence for Vec<P> {
    type Point = P;
    type Name = usize;
    type Shape = InVec;
}

impl<P: YieldPoint, const N: usize> Points for [P; N] {
    type Outputs = [P::Output; N];
    type Winner = (usize, P::Output);
    type Started = Listed<P::Started, InArray<N>>;

    fn count(&self) -> usize {
        N
    }

    fn start(self, co: &Co) -> Self::Started {
        Listed::start(self, InArray, co)
    }
}

impl<P: YieldPoint, const N: usize> Sequence for [P; N] {
    type Point = P;
    type Name = usize;
    type Shape = InArray<N>;
}

impl<K: Eq + Hash, P: YieldPoint, S: BuildHasher + Clone> Points for HashMap<K, P, S> {
    type Outputs = HashMap<K, P::Output, S>;
    type Winner = (K, P::Output);
    type Started = Listed<P::Started, Keys<K, Hashed<S>>>;

    fn count(&self) -> usize {
        self.len()
    }

    fn start(self, co: &Co) -> Self::Started {
        let hasher = Hashed(self.hasher().clone());
        let (keys, points) = Keys::split(self, hasher);
        Listed::start(points, keys, co)
    }
}

impl<K: Eq + Hash, P: YieldPoint, S: BuildHasher + Clone> Sequence for HashMap<K, P, S> {
    type Point = P;
    type Name = K;
    type Shape = Keys<K, Hashed<S>>;
}

impl<K: Ord, P: YieldPoint> Points for BTreeMap<K, P> {
    type Outputs = BTreeMap<K, P::Output>;
    type Winner = (K, P::Output);
    type Started = Listed<P::Started, Keys<K, Sorted>>;

    fn count(&self) -> usize {
        self.len()
    }

    fn start(self, co: &Co) -> Self::Started {
        let (keys, points) = Keys::split(self, Sorted);
        Listed::start(points, keys, co)
    }
}

impl<K: Ord, P: YieldPoint> Sequence for BTreeMap<K, P> {
    type Point = P;
    type Name = K;
    type Shape = Keys<K, Sorted>;
}

impl<K, S> fmt::Debug for Keys<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("count", &self.keys.len())
            .finish_non_exhaustive()
    }
}

impl<F: Future, S> fmt::Debug for Listed<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listed")
            .field("points", &self.row.len())
            .field("left", &self.row.left())
            .finish_non_exhaustive()
    }
}
