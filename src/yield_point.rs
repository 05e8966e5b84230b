//! The contract of a yield-point, open to everybody's own.
//!
//! It is apart because it is all that a Runner knows of what a coroutine yields.

use std::future::Future;

use crate::coroutine::Co;

/// What a coroutine can yield: something that is started once and ends once, with an output.
///
/// The contract, in the ancestors' words: [`start`](YieldPoint::start) is called once, by the coroutine that yields it, before
/// anything else. What it gives back is polled any number of times, also in vain, and gives its output once. It may be dropped at
/// any time, which gives the wait up. A point that never gives `Ready` and arranges for no wake-up is never resumed.
///
/// Every [`Future`] is a yield-point that is started already. One's own point is either a future, or a value with a `start`
/// of its own, usually made of ours:
///
/// ```
/// use std::future::Future;
/// use yieldpoint::{Co, EventLoop, Result, Sleep, SleepStarted, YieldPoint, ms};
///
/// /// Waits for as many milliseconds as it says.
/// struct Patience(u64);
///
/// impl YieldPoint for Patience {
///     type Output = Result;
///     type Started = SleepStarted;
///     fn start(self, co: &Co) -> SleepStarted {
///         Sleep::new(ms(self.0)).start(co)
///     }
/// }
///
/// EventLoop::new()?.block_on(async |co| -> Result {
///     co.yield_(Patience(1)).await?;          // a value with a start of its own
///     co.yield_(std::future::ready(())).await; // any future
///     Ok(())
/// })?;
/// # Ok::<(), yieldpoint::Error>(())
/// ```
///
/// Source: `tornado.gen.YieldPoint` (`start`, `is_ready`, `get_result`); here the last two are one poll.
pub trait YieldPoint {
    /// What the coroutine is given when it is resumed.
    type Output;
    /// The point while it is waited for.
    type Started: Future<Output = Self::Output>;

    /// Starts the point for this coroutine.
    fn start(self, co: &Co) -> Self::Started;
}

impl<F: Future> YieldPoint for F {
    type Output = F::Output;
    type Started = F;

    fn start(self, _: &Co) -> F {
        self
    }
}

impl Co {
    /// Starts any yield-point; awaiting the result gives its output.
    #[doc(alias = "yield")]
    pub fn yield_<P: YieldPoint>(&self, point: P) -> P::Started {
        point.start(self)
    }
}
