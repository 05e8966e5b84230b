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
use crate::fifo::{End, Offer, Queue};
use crate::handle::Handle;
use crate::send_error::SendError;
use crate::site::Site;
use crate::waiter::WaiterSlot;

/// What errors call it.
const WHAT: &str = "queue";

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
            Offer::Taken(_) => Ok(()),
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
            place: Place::New,
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

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let queue = this.queue;
        let place = match std::mem::replace(&mut this.state, SendState::Done) {
            SendState::New(value) => match queue.offer(value) {
                Offer::Taken(_) => return Poll::Ready(Ok(())),
                Offer::Closed(value) => {
                    return Poll::Ready(Err(SendError::closed(value, WHAT, queue.created_at)));
                }
                Offer::Full(value) => {
                    let key = queue.with_line(End::Sending, |line| line.join(Some(value)));
                    (key, WaiterSlot::EMPTY)
                }
            },
            SendState::InLine(key) => match queue.called_up(End::Sending, key) {
                Ok(None) => return Poll::Ready(Ok(())),
                Ok(Some(value)) => {
                    return Poll::Ready(Err(SendError::closed(value, WHAT, queue.created_at)));
                }
                Err(slot) => (key, slot),
            },
            SendState::Done => return Poll::Pending,
        };
        let Poll::Ready(cancel) = queue.park(End::Sending, place, cx, this.site) else {
            this.state = SendState::InLine(place.0);
            return Poll::Pending;
        };
        let left = queue.leave(End::Sending, place.0);
        Poll::Ready(match (left, cancel) {
            (None, _) => Ok(()),
            (Some(value), None) => Err(SendError::closed(value, WHAT, queue.created_at)),
            (Some(value), Some(cancel)) => Err(SendError::ended(value, cancel)),
        })
    }
}

impl<T> Drop for Sending<'_, T> {
    fn drop(&mut self) {
        if let SendState::InLine(key) = self.state {
            drop(self.queue.leave(End::Sending, key));
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

/// The place of a receiver.
#[derive(Clone, Copy)]
enum Place {
    /// Not polled yet.
    New,
    /// In line, or called up from there.
    InLine(usize),
    /// The output was given.
    Done,
}

impl<T> Future for Receive<'_, T> {
    type Output = Result<Option<T>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let queue = self.queue;
        let place = match std::mem::replace(&mut self.place, Place::Done) {
            Place::New => match queue.take_or_join() {
                Ok(taken) => return Poll::Ready(Ok(taken)),
                Err(key) => (key, WaiterSlot::EMPTY),
            },
            Place::InLine(key) => match queue.called_up(End::Receiving, key) {
                Ok(Some(value)) => return Poll::Ready(Ok(Some(value))),
                // Sent away by the close; another receiver may have given a value back since.
                Ok(None) => return Poll::Ready(Ok(queue.take())),
                Err(slot) => (key, slot),
            },
            Place::Done => return Poll::Pending,
        };
        let Poll::Ready(cancel) = queue.park(End::Receiving, place, cx, self.site) else {
            self.place = Place::InLine(place.0);
            return Poll::Pending;
        };
        let given = queue.leave(End::Receiving, place.0);
        Poll::Ready(match (given, cancel) {
            (Some(value), _) => Ok(Some(value)),
            (None, Some(cancel)) => Err(cancel),
            (None, None) => Ok(queue.take()),
        })
    }
}

impl<T> Drop for Receive<'_, T> {
    fn drop(&mut self) {
        if let Place::InLine(key) = self.place
            && let Some(value) = self.queue.leave(End::Receiving, key)
        {
            self.queue.give_back(value);
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
