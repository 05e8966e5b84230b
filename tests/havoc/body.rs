//! What the coroutines do, step by step.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::select;
use yieldpoint::{Co, Key, Result, ms};

use super::Step;
use super::hooks::{Failure, Value, hooked_waker};
use super::world::{World, hook, world};

/// Leaves a point for anybody to poll or drop, with a value beside it.
fn leave(world: &World, point: impl Future + 'static) {
    let value = Value::new();
    let point = Box::pin(async move {
        let _value = value;
        drop(point.await);
    });
    world.leave_point(point);
}

/// A `Task` whose resolver anybody may have.
fn wait(co: &Co) -> impl Future<Output = Result<Value>> + Unpin + use<> {
    co.task(|resolver| {
        if let Some(world) = world() {
            world.leave_resolver(resolver);
        }
    })
}

/// What a coroutine does.
pub(super) async fn body(co: &Co, number: usize) -> std::result::Result<Value, Failure> {
    let steps = world().map(|world| world.body(number));
    for step in steps.unwrap_or_default() {
        take(co, step).await?;
    }
    hook("at the end of a body");
    Ok(Value::new())
}

/// Takes one step of a body. The world is not held while it waits: the loop may go meanwhile, and the world with it.
async fn take(co: &Co, step: Step) -> std::result::Result<(), Failure> {
    let Some(here) = world() else { return Ok(()) };
    match step {
        Step::Yield => {
            drop(here);
            co.yield_now().await?;
        }
        Step::Sleep(after) => {
            drop(here);
            co.sleep(ms(after.into())).await?;
        }
        Step::Wait => {
            drop(here);
            drop(wait(co).await?);
        }
        Step::WaitKey => {
            let key = Key::fresh();
            let resolver = co.callback::<Value>(&key)?;
            here.leave_resolver(resolver);
            drop(here);
            drop(co.wait::<Value>(key).await?);
        }
        Step::Forget => {
            let key = Key::fresh();
            let resolver = co.callback::<Value>(&key)?;
            here.leave_resolver(resolver);
            drop(here);
            hook("before a key is given up");
            co.forget(key)?;
        }
        Step::LeaveKey => {
            let resolver = co.callback::<Value>(Key::fresh())?;
            here.leave_resolver(resolver);
        }
        Step::LeaveSleep(after) => leave(&here, co.sleep(ms(after.into()))),
        Step::LeaveWait => leave(&here, wait(co)),
        Step::LeaveJoin(which) => {
            if let Some(handle) = here.take_handle(which) {
                leave(&here, handle);
            }
        }
        Step::Join(which) => {
            let handle = here.take_handle(which);
            drop(here);
            if let Some(handle) = handle {
                handle.await;
            }
        }
        Step::Either(after) => {
            drop(here);
            drop(select(wait(co), co.sleep(ms(after.into()))).await);
        }
        Step::Adopt(which, after) => {
            let point = here.take_point(which);
            drop(here);
            if let Some(point) = point {
                drop(select(point, co.sleep(ms(after.into()))).await);
            }
        }
        Step::Repoll(after) => {
            drop(here);
            let mut sleep = co.sleep(ms(after.into()));
            for _ in 0..2 {
                let waker = hooked_waker();
                let _ = Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker));
                hook("between two polls");
            }
            sleep.await?;
        }
        Step::LeaveWaker => {
            let mut polled = false;
            drop(here);
            poll_fn(|cx| {
                if std::mem::replace(&mut polled, true) {
                    return Poll::Ready(());
                }
                if let Some(world) = world() {
                    world.leave_waker(cx.waker().clone());
                }
                hook("in a foreign future");
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        }
        Step::Receive(after) => {
            let receiver = here.receiver();
            drop(here);
            drop(select(Box::pin(receiver.recv()), co.sleep(ms(after.into()))).await);
        }
        Step::CleanUp(after) => {
            drop(here);
            drop(co.cleanup(ms(after.into()), co.sleep(ms(1))).await);
        }
        Step::Hook => hook("in a body"),
        Step::Fail => return Err(Failure::new(here.new_failure(Some(co.id())))),
        Step::Panic => panic!("{}", here.new_failure(Some(co.id()))),
    }
    Ok(())
}
