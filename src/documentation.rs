//! Further reading: why it is so, and whose names are whose.

/// # Names: the ancestors', tokio's, and ours
///
/// | here | tornado.gen, yieldpoints | tokio and futures |
/// |---|---|---|
/// | [`EventLoop`](crate::EventLoop) | `IOLoop` | `runtime::Runtime` (`current_thread`) |
/// | [`block_on`](crate::EventLoop::block_on) | `IOLoop.run_sync` | `Runtime::block_on` |
/// | [`run`](crate::EventLoop::run), [`stop`](crate::Handle::stop) | `IOLoop.start`, `stop` | – |
/// | [`turn`](crate::EventLoop::turn) | one iteration of `start` | – |
/// | [`Handle`](crate::Handle) | the `IOLoop` itself | `runtime::Handle`, `LocalSet` |
/// | [`Remote::post`](crate::Remote::post) | `IOLoop.add_callback` from a thread | a channel into the runtime |
/// | [`call_soon`](crate::Handle::call_soon) | `IOLoop.add_callback` | – |
/// | [`call_later`](crate::Handle::call_later), [`call_at`](crate::Handle::call_at) | `call_later`, `call_at`, `add_timeout` | `spawn` around `sleep` |
/// | [`cancel_timer`](crate::Handle::cancel_timer) | `remove_timeout` | dropping the `Sleep` |
/// | [`periodic`](crate::Handle::periodic) | `PeriodicCallback` | `time::interval` |
/// | [`spawn`](crate::Handle::spawn) | calling an `engine` or `coroutine` function | `spawn_local` |
/// | [`JoinHandle`](crate::JoinHandle) | the coroutine's `Future` | `task::JoinHandle` |
/// | [`Co`](crate::Co) | – (the generator) | – |
/// | [`YieldPoint`](crate::YieldPoint) | `YieldPoint` | `IntoFuture` |
/// | [`Task`](crate::Task), [`co.task`](crate::Co::task) | `gen.Task` | `oneshot` around a callback |
/// | [`Callback`](crate::Callback), [`Resolver`](crate::Resolver) | `gen.Callback`, the callable it gives | `oneshot::Sender` |
/// | [`Wait`](crate::Wait) | `gen.Wait` | `oneshot::Receiver` |
/// | [`WaitAll`](crate::WaitAll), [`WaitAny`](crate::WaitAny) | `gen.WaitAll`, `yieldpoints.WaitAny` | `join_all`, `select_all` |
/// | [`Timer`](crate::Timer) | `yieldpoints.Timeout` | – |
/// | [`Forget`](crate::Forget) | `yieldpoints.Cancel`, `CancelAll` | dropping the receiver |
/// | [`All`](crate::All) | `gen.Multi`, yielding a list | `join!`, `join_all` |
/// | [`First`](crate::First) | – | `select!` |
/// | [`AsCompleted`](crate::AsCompleted) | `gen.WaitIterator` | `FuturesUnordered` |
/// | [`Timeout`](crate::Timeout) | `gen.with_timeout`, `yieldpoints.WithTimeout` | `time::timeout` |
/// | [`Sleep`](crate::Sleep) | `gen.sleep` | `time::sleep` |
/// | [`YieldNow`](crate::YieldNow) | `gen.moment` | `task::yield_now` |
/// | [`Events`](crate::Events) | – | `mpsc` fed by a callback |
/// | [`blocking`](crate::Co::blocking) | `run_in_executor` | `spawn_blocking` |
/// | [`Ordered`](crate::Ordered) | `tornadio2.gen.sync_engine` | a task with an `mpsc` |
/// | [`cancel`](crate::JoinHandle::cancel) | – (`asyncio`'s `Task.cancel`) | – |
/// | [`abort`](crate::JoinHandle::abort) | – | `JoinHandle::abort` |
/// | [`ErrorKind::KeyReuse`](crate::ErrorKind::KeyReuse) | `KeyReuseError` | – |
/// | [`ErrorKind::UnknownKey`](crate::ErrorKind::UnknownKey) | `UnknownKeyError` | – |
/// | [`ErrorKind::Leaked`](crate::ErrorKind::Leaked) | `LeakedCallbackError` | – |
/// | [`ErrorKind::Abandoned`](crate::ErrorKind::Abandoned) | – | `oneshot::RecvError` |
/// | [`ErrorKind::Elapsed`](crate::ErrorKind::Elapsed) | `TimeoutError` | `time::Elapsed` |
/// | [`net::BufferedStream`](crate::net::BufferedStream) | `IOStream` | `BufReader` with `AsyncBufReadExt` |
pub mod names {}

#[doc = include_str!("../DESIGN.md")]
pub mod design {}
