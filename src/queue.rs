//! A bounded queue between coroutines: strictly first come first served, on both ends.
//!
//! It is apart from [`events`](crate::Events) because its senders may wait; a callback cannot.
//!
//! Who gets what is decided in [`crate::fifo`].

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::error::{ErrorKind, Result};
use crate::fifo::{Offer, Queue, Received};
use crate::handle::Handle;
use crate::line::SEAT;
use crate::send_error::SendError;
use crate::site::Site;
use crate::waiter::{Kind, WaiterSlot};

/// What errors call it.
const WHAT: &str = "queue";

static SEND: Kind = Kind("queue send");
static RECEIVE: Kind = Kind("queue recv");

/// Makes a queue that keeps at most `bound` values, and gives its two ends. Both can be cloned.
///
/// A bound of zero keeps none: each `send` waits until a receiver takes its value from its hand.
///
/// ```
/// use yieldpoint::{EventLoop, Result, sync::queue};
///
/// let mut event_loop = EventLoop::new()?;
/// let (sender, receiver) = queue(&event_loop.handle(), 2);
/// let _ = event_loop.handle().spawn(async move |_| -> Result {
///     for n in 1..=5 {
///         sender.send(n).await?; // waits for room
///     }
///     Ok(()) // the last sender is dropped: the queue closes
/// });
/// let sum = event_loop.block_on(async |_| -> Result<u32> {
///     let mut sum = 0;
///     while let Some(n) = receiver.recv().await? {
///         sum += n;
///     }
///     Ok(sum)
/// })?;
/// assert_eq!(sum, 15);
/// # Ok::<(), yieldpoint::Error>(())
/// ```
#[doc(alias = "channel")]
#[doc(alias = "mpsc")]
#[must_use]
#[track_caller]
pub fn queue<T>(handle: &Handle, bound: usize) -> (QueueSender<T>, QueueReceiver<T>) {
    let queue = Queue::new(handle.shared(), bound, Location::caller());
    let sender = QueueSender {
        queue: Rc::clone(&queue),
    };
    (sender, QueueReceiver { queue })
}

/// The sending end of a [`queue`]. When the last one is dropped, the queue closes.
pub struct QueueSender<T> {
    /// The queue.
    queue: Rc<Queue<T>>,
}

impl<T> QueueSender<T> {
    /// Sends a value; waits for room if there is none. Its place in line is taken at the first poll.
    ///
    /// When it gives `Ok`, the value has entered. A wait that is dropped or cancelled before that never lets it enter.
    ///
    /// # Errors
    /// The value with the reason: the queue is closed, or the coroutine is being cancelled. `?` makes an [`Error`](crate::Error) of it.
    #[track_caller]
    pub fn send(&self, value: T) -> Sending<'_, T> {
        Sending {
            queue: &self.queue,
            site: Location::caller(),
            state: SendState::New(value),
        }
    }

    /// Sends a value if there is room and nobody waits for it.
    ///
    /// # Errors
    /// The value, if the queue is full or closed.
    #[inline]
    pub fn try_send(&self, value: T) -> Result<(), SendError<T>> {
        match self.queue.offer(value) {
            Offer::Taken => Ok(()),
            Offer::Full(value) => Err(SendError::full(
                value,
                WHAT,
                self.queue.bound,
                self.queue.created_at,
            )),
            Offer::Closed(value) => Err(SendError::closed(value, WHAT, self.queue.created_at)),
        }
    }

    /// Lets nothing more enter. Who waits to send gets its value back; what has entered can still be received.
    ///
    /// ```
    /// # use yieldpoint::{EventLoop, Result, sync::queue};
    /// # EventLoop::new()?.block_on(async |co| -> Result {
    /// let (sender, receiver) = queue(co.handle(), 8);
    /// sender.send("last").await?;
    /// sender.close();
    /// assert!(sender.try_send("late").is_err_and(|refused| refused.is_closed()));
    /// assert_eq!(receiver.recv().await?, Some("last"));
    /// assert_eq!(receiver.recv().await?, None);
    /// # Ok(())
    /// # })?;
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn close(&self) {
        self.queue.close();
    }

    /// Whether nothing more may enter: it was closed, or no receiver is left.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// How many values wait to be received; those in the hands of waiting senders do not count.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no value waits to be received.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most values the queue keeps.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.queue.bound
    }
}

impl<T> Clone for QueueSender<T> {
    fn clone(&self) -> Self {
        self.queue.senders.set(self.queue.senders.get() + 1);
        QueueSender {
            queue: Rc::clone(&self.queue),
        }
    }
}

impl<T> Drop for QueueSender<T> {
    fn drop(&mut self) {
        let left = self.queue.senders.get() - 1;
        self.queue.senders.set(left);
        if left == 0 {
            self.queue.close();
        }
    }
}

impl<T> fmt::Debug for QueueSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueSender")
            .field("len", &self.len())
            .field("bound", &self.bound())
            .finish_non_exhaustive()
    }
}

/// The receiving end of a [`queue`]. When the last one is dropped, the queue closes and what is in it is dropped.
pub struct QueueReceiver<T> {
    /// The queue.
    queue: Rc<Queue<T>>,
}

impl<T> QueueReceiver<T> {
    /// Receives the oldest value; waits if there is none. `None` once the queue is closed and empty.
    ///
    /// A wait that is dropped or cancelled loses no value: what was handed to it already goes to the next.
    ///
    /// # Errors
    /// `Cancelled`.
    #[track_caller]
    pub fn recv(&self) -> Receive<'_, T> {
        Receive {
            queue: &self.queue,
            site: Location::caller(),
            place: Place::NEW,
        }
    }

    /// Receives the oldest value, if there is one.
    ///
    /// # Errors
    /// Whether it is empty for now or for good.
    ///
    /// ```
    /// use yieldpoint::{EventLoop, sync::{TryRecvError, queue}};
    ///
    /// let event_loop = EventLoop::new()?;
    /// let (sender, receiver) = queue(&event_loop.handle(), 1);
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    /// sender.try_send(7)?;
    /// drop(sender);
    /// assert_eq!(receiver.try_recv(), Ok(7));
    /// assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    /// # Ok::<(), yieldpoint::Error>(())
    /// ```
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        match self.queue.take() {
            Some(value) => Ok(value),
            None if self.queue.is_closed() => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }

    /// Lets nothing more enter: see [`QueueSender::close`].
    pub fn close(&self) {
        self.queue.close();
    }

    /// Whether nothing more may enter: it was closed, or no sender is left.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// How many values wait to be received; those in the hands of waiting senders do not count.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no value waits to be received.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most values the queue keeps.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.queue.bound
    }
}

impl<T> Clone for QueueReceiver<T> {
    fn clone(&self) -> Self {
        self.queue.receivers.set(self.queue.receivers.get() + 1);
        QueueReceiver {
            queue: Rc::clone(&self.queue),
        }
    }
}

impl<T> Drop for QueueReceiver<T> {
    fn drop(&mut self) {
        let left = self.queue.receivers.get() - 1;
        self.queue.receivers.set(left);
        if left == 0 {
            self.queue.close();
            self.queue.clear();
        }
    }
}

impl<T> fmt::Debug for QueueReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueReceiver")
            .field("len", &self.len())
            .field("bound", &self.bound())
            .finish_non_exhaustive()
    }
}

/// Why [`QueueReceiver::try_recv`] gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// There is nothing now; something may come.
    Empty,
    /// There is nothing, and nothing will come.
    Closed,
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryRecvError::Empty => {
                f.write_str("the queue is empty. Try again later, or wait with recv().")
            }
            TryRecvError::Closed => ErrorKind::Closed {
                what: WHAT,
                created_at: None,
            }
            .fmt(f),
        }
    }
}

impl std::error::Error for TryRecvError {}

/// A value on its way into a queue: see [`QueueSender::send`].
#[must_use = "nothing is sent until it is awaited"]
pub struct Sending<'a, T> {
    /// The queue.
    queue: &'a Queue<T>,
    /// Where it was called.
    site: Site,
    /// How far it is.
    state: SendState<T>,
}

/// How far a send is.
enum SendState<T> {
    /// Not polled yet.
    New(T),
    /// In line, or called up from there.
    InLine(usize),
    /// The output was given.
    Done,
}

/// The value is moved, never pinned.
impl<T> Unpin for Sending<'_, T> {}

impl<T> Future for Sending<'_, T> {
    type Output = Result<(), SendError<T>>;

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the frequent ways are short, and store little where they are in line"
    )]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match std::mem::replace(&mut this.state, SendState::Done) {
            SendState::New(value) => match this.queue.enter(value) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(value) => this.begin(value, cx),
            },
            SendState::InLine(key) => this.go_on(key, cx),
            SendState::Done => Poll::Pending,
        }
    }
}

impl<T> Sending<'_, T> {
    /// Hands the value over to a receiver, or gets in line with it.
    #[inline(never)]
    fn begin(&mut self, value: T, cx: &Context<'_>) -> Poll<Result<(), SendError<T>>> {
        match self.queue.offer(value) {
            Offer::Taken => Poll::Ready(Ok(())),
            Offer::Closed(value) => Poll::Ready(Err(self.closed(value))),
            Offer::Full(value) => self.wait(self.queue.join(value), WaiterSlot::EMPTY, cx),
        }
    }

    /// Polls a send that is in line, or was called up.
    #[inline(never)]
    fn go_on(&mut self, key: usize, cx: &Context<'_>) -> Poll<Result<(), SendError<T>>> {
        match self.queue.called_up(key) {
            Ok(None) => Poll::Ready(Ok(())),
            Ok(Some(value)) => Poll::Ready(Err(self.closed(value))),
            Err(slot) => self.wait(key, slot, cx),
        }
    }

    /// Waits in line.
    fn wait(
        &mut self,
        key: usize,
        slot: WaiterSlot,
        cx: &Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        let Poll::Ready(cancel) = self.queue.park(&SEND, (key, slot), cx, self.site) else {
            self.state = SendState::InLine(key);
            return Poll::Pending;
        };
        Poll::Ready(match (self.queue.leave(key), cancel) {
            (None, _) => Ok(()),
            (Some(value), None) => Err(self.closed(value)),
            (Some(value), Some(cancel)) => Err(SendError::ended(value, cancel)),
        })
    }

    /// Leaves the line.
    #[cold]
    fn give_up(&self, key: usize) {
        drop(self.queue.leave(key));
    }

    /// The error of a queue that takes nothing any more.
    #[cold]
    fn closed(&self, value: T) -> SendError<T> {
        SendError::closed(value, WHAT, self.queue.created_at)
    }
}

impl<T> Drop for Sending<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let SendState::InLine(key) = self.state {
            self.give_up(key);
        }
    }
}

impl<T> fmt::Debug for Sending<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

/// A value on its way out of a queue: see [`QueueReceiver::recv`].
#[must_use = "nothing is received until it is awaited"]
pub struct Receive<'a, T> {
    /// The queue.
    queue: &'a Queue<T>,
    /// Where it was called.
    site: Site,
    /// Its place in line.
    place: Place,
}

/// The place of a receiver, in one word: a key of the line, which are all lower than the two that are named here, or [`SEAT`].
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place(usize);

impl Place {
    /// It was not polled yet.
    const NEW: Place = Place(SEAT - 1);
    /// The output was given.
    const DONE: Place = Place(SEAT - 2);
}

impl<T> Future for Receive<'_, T> {
    type Output = Result<Option<T>>;

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the frequent ways are short, and store little where they are in line"
    )]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.place, Place::DONE) {
            Place(SEAT) => match self.queue.stand_up() {
                Some(value) => Poll::Ready(Ok(Some(value))),
                None => self.go_on(SEAT, cx),
            },
            Place::NEW => match self.queue.receive(&RECEIVE, cx, self.site) {
                Received::Value(value) => Poll::Ready(Ok(Some(value))),
                Received::Seated => {
                    self.place = Place(SEAT);
                    Poll::Pending
                }
                Received::Otherwise => self.begin(cx),
            },
            Place::DONE => Poll::Pending,
            Place(key) => self.go_on(key, cx),
        }
    }
}

impl<T> Receive<'_, T> {
    /// Takes a value and lets a sender go on, or gets in line.
    #[inline(never)]
    fn begin(&mut self, cx: &Context<'_>) -> Poll<Result<Option<T>>> {
        match self.queue.take_or_join() {
            Ok(taken) => Poll::Ready(Ok(taken)),
            Err(key) => self.wait(key, WaiterSlot::EMPTY, cx),
        }
    }

    /// Polls a receive that is in line, or was called up.
    #[inline(never)]
    fn go_on(&mut self, key: usize, cx: &Context<'_>) -> Poll<Result<Option<T>>> {
        match self.queue.called_up(key) {
            Ok(Some(value)) => Poll::Ready(Ok(Some(value))),
            // Sent away by the close; another receiver may have given a value back since.
            Ok(None) => Poll::Ready(Ok(self.queue.take())),
            Err(slot) => self.wait(key, slot, cx),
        }
    }

    /// Waits in line.
    fn wait(&mut self, key: usize, slot: WaiterSlot, cx: &Context<'_>) -> Poll<Result<Option<T>>> {
        let Poll::Ready(cancel) = self.queue.park(&RECEIVE, (key, slot), cx, self.site) else {
            self.place = Place(key);
            return Poll::Pending;
        };
        Poll::Ready(match (self.queue.leave(key), cancel) {
            (Some(value), _) => Ok(Some(value)),
            (None, Some(cancel)) => Err(cancel),
            (None, None) => Ok(self.queue.take()),
        })
    }

    /// Leaves the line. A value that was handed over already goes to the next.
    #[cold]
    fn give_up(&self, key: usize) {
        if let Some(value) = self.queue.leave(key) {
            self.queue.give_back(value);
        }
    }
}

impl<T> Drop for Receive<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.place != Place::DONE && self.place != Place::NEW {
            self.give_up(self.place.0);
        }
    }
}

impl<T> fmt::Debug for Receive<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receive")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}
