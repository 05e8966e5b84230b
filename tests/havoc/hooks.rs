//! What is the user's and run or dropped by the loop: values, bodies, wakers, callbacks, errors, handles. Each is a hook.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};

use yieldpoint::{Error, JoinHandle};

use super::world::{contained_hook, hook, world};

/// A value whose drop is a hook.
#[derive(Debug)]
pub(super) struct Value(usize);

impl Value {
    pub(super) fn new() -> Self {
        Value(world().map_or(0, |world| world.new_value()))
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        if let Some(world) = world() {
            world.note_drop(self.0);
        }
        hook("in the drop of a value");
    }
}

/// Notes that a body was dropped. That is a hook too.
pub(super) struct Ended(pub(super) usize);

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(world) = world() {
            world.note_end(self.0);
        }
        hook("in the drop of a body");
    }
}

/// A waker of somebody else's: to wake it and to drop it are hooks.
struct Hooked;

impl Wake for Hooked {
    fn wake(self: Arc<Self>) {
        contained_hook("in a foreign waker");
    }

    fn wake_by_ref(self: &Arc<Self>) {
        contained_hook("in a foreign waker");
    }
}

impl Drop for Hooked {
    fn drop(&mut self) {
        hook("in the drop of a foreign waker");
    }
}

pub(super) fn hooked_waker() -> Waker {
    Waker::from(Arc::new(Hooked))
}

/// A callback that is a hook, with a value to be dropped.
pub(super) fn callback() -> impl FnOnce() + 'static {
    let value = Value::new();
    move || {
        let _value = value;
        contained_hook("in a callback");
    }
}

/// The error of the bodies: to make one of the loop's error is a hook, and to display it too.
#[derive(Debug)]
pub(super) struct Failure {
    text: String,
    _value: Value,
}

impl Failure {
    pub(super) fn new(text: String) -> Self {
        Failure {
            text,
            _value: Value::new(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        hook("in the From of an error");
        Failure::new(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hook("in the Display of an error");
        f.write_str(&self.text)
    }
}

/// A handle. Awaited, it notes what it is told.
pub(super) struct Join(pub(super) Option<JoinHandle<Value, Failure>>);

impl Future for Join {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(handle) = &mut self.0 else {
            return Poll::Ready(());
        };
        let result = ready!(Pin::new(handle).poll(cx));
        if let (Err(failure), Some(world)) = (&result, world()) {
            world.note_told(&failure.text);
        }
        Poll::Ready(())
    }
}

impl Drop for Join {
    /// Dropped by the error hook, one that might have something to tell is put back.
    fn drop(&mut self) {
        if let Some(world) = world().filter(|world| world.is_hearing())
            && let Some(handle) = self.0.take().filter(JoinHandle::is_finished)
        {
            world.keep(Join(Some(handle)));
        }
    }
}
