//! Queues between the coroutines of one loop.

pub use crate::queue::{QueueReceiver, QueueSender, Receive, Sending, TryRecvError, queue};
pub use crate::send_error::SendError;
