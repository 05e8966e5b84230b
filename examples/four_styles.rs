//! One look-up, written four times: blocking, with callbacks, as a future, and as a coroutine.
//!
//! The task: find the address of a name, then the temperature at that address. The directory answers through a callback.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;

use yieldpoint::{Co, EventLoop, Handle, Result, ms};

/// The service: answers on the loop, a little later, through a callback.
#[derive(Clone)]
struct Directory {
    /// Where it answers.
    handle: Handle,
}

impl Directory {
    fn address(&self, name: &str, callback: impl FnOnce(u32) + 'static) {
        let address = u32::try_from(name.len()).unwrap_or(u32::MAX);
        self.handle.call_later(ms(10), move || callback(address));
    }

    fn temperature(&self, address: u32, callback: impl FnOnce(i32) + 'static) {
        let temperature = i32::try_from(address).unwrap_or(0) * 3;
        self.handle
            .call_later(ms(10), move || callback(temperature));
    }
}

/// 1. Blocking: reads well, and costs a thread that waits.
fn blocking() -> i32 {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let address = u32::try_from("cellar".len()).unwrap_or(u32::MAX);
        thread::sleep(ms(10)); // a service that blocks
        thread::sleep(ms(10));
        send.send(i32::try_from(address).unwrap_or(0) * 3)
            .expect("somebody waits");
    });
    receive.recv().expect("an answer")
}

/// 2. Callbacks: costs nothing, and the order of the steps is inside out.
fn callbacks(directory: &Directory, done: impl FnOnce(i32) + 'static) {
    let next = directory.clone();
    directory.address("cellar", move |address| {
        next.temperature(address, done);
    });
}

/// 3. A future made of callbacks: can be awaited anywhere, and each step needs a slot and a waker by hand.
fn future(directory: &Directory) -> impl Future<Output = i32> + 'static {
    type Slot = Rc<(Cell<Option<i32>>, RefCell<Option<std::task::Waker>>)>;
    let slot: Slot = Rc::default();
    let filled = Rc::clone(&slot);
    callbacks(directory, move |temperature| {
        filled.0.set(Some(temperature));
        let waker = filled.1.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    });
    std::future::poll_fn(move |cx| {
        if let Some(temperature) = slot.0.take() {
            return std::task::Poll::Ready(temperature);
        }
        slot.1.replace(Some(cx.waker().clone()));
        std::task::Poll::Pending
    })
}

/// 4. A coroutine: two straight lines; a callback that is never called is an error with its place, not a hang.
async fn coroutine(co: &Co, directory: &Directory) -> Result<i32> {
    let address = co
        .task(|done| directory.address("cellar", done.into_fn()))
        .await?;
    co.task(|done| directory.temperature(address, done.into_fn()))
        .await
}

fn main() -> Result {
    println!("blocking:  {}", blocking());

    let mut event_loop = EventLoop::new()?;
    let directory = Directory {
        handle: event_loop.handle(),
    };
    let answer = Rc::new(Cell::new(0));
    let told = Rc::clone(&answer);
    callbacks(&directory, move |temperature| told.set(temperature));
    let _ = event_loop.run()?;
    println!("callback:  {}", answer.get());

    let (awaited, straight) = event_loop.block_on(async |co| -> Result<(i32, i32)> {
        Ok((future(&directory).await, coroutine(&co, &directory).await?))
    })?;
    println!("future:    {awaited}");
    println!("coroutine: {straight}");
    assert_eq!(
        (blocking(), answer.get(), awaited, straight),
        (18, 18, 18, 18)
    );
    Ok(())
}
