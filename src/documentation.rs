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
/// | [`spawn_future`](crate::Handle::spawn_future) | – | `spawn_local` of a future |
/// | [`Coroutine`](crate::Coroutine), [`spawn_coroutine`](crate::Handle::spawn_coroutine), [`co.run`](crate::Co::run) | a generator, `yield from` | a hand-written `Future` |
/// | [`JoinHandle`](crate::JoinHandle) | the coroutine's `Future` | `task::JoinHandle` |
/// | [`Co`](crate::Co) | – (the generator) | – |
/// | [`YieldPoint`](crate::YieldPoint) | `YieldPoint` | `IntoFuture` |
/// | [`Task`](crate::Task), [`co.task`](crate::Co::task) | `gen.Task` | `oneshot` around a callback |
/// | [`Callback`](crate::Callback), [`Resolver`](crate::Resolver) | `gen.Callback`, the callable it gives | `oneshot::Sender` |
/// | [`split`](crate::Resolver::split) | – (two `Callback`s) | – |
/// | [`SendResolver`](crate::SendResolver) | `add_callback` around the callable | `oneshot::Sender` |
/// | [`Wait`](crate::Wait) | `gen.Wait` | `oneshot::Receiver` |
/// | [`WaitAll`](crate::WaitAll), [`WaitAny`](crate::WaitAny) | `gen.WaitAll`, `yieldpoints.WaitAny` | `join_all`, `select_all` |
/// | [`AnyReady`](crate::AnyReady) | – | – |
/// | [`Timer`](crate::Timer) | `yieldpoints.Timeout` | – |
/// | [`Forget`](crate::Forget) | `yieldpoints.Cancel`, `CancelAll` | dropping the receiver |
/// | [`All`](crate::All) | `gen.Multi`, yielding a list | `join!`, `join_all` |
/// | [`First`](crate::First) | – | `select!` |
/// | [`AsCompleted`](crate::AsCompleted) | `gen.WaitIterator` | `FuturesUnordered` |
/// | [`Timeout`](crate::Timeout) | `gen.with_timeout`, `yieldpoints.WithTimeout` | `time::timeout` |
/// | [`Sleep`](crate::Sleep) | `gen.sleep` | `time::sleep` |
/// | [`YieldNow`](crate::YieldNow) | `gen.moment` | `task::yield_now` |
/// | [`Events`](crate::Events) | – | `mpsc` fed by a callback |
/// | [`sync::queue`](crate::sync::queue()) | `tornado.queues.Queue` | `mpsc::channel` |
/// | [`blocking`](crate::Co::blocking) | `run_in_executor` | `spawn_blocking` |
/// | [`Ordered`](crate::Ordered) | `tornadio2.gen.sync_engine` | a task with an `mpsc` |
/// | [`Keyed`](crate::Keyed) | `sync_engine` of many objects | a task with an `mpsc` for each key |
/// | [`send`](crate::Ordered::send), [`try_send`](crate::Ordered::try_send), [`reserve`](crate::Ordered::reserve) | calling the decorated method | `mpsc::Sender`'s verbs of the same names |
/// | [`ask`](crate::Ordered::ask) | – | `send` with a `oneshot` in the message |
/// | [`OrderedRemote::send_blocking`](crate::OrderedRemote::send_blocking) | – | `mpsc::Sender::blocking_send` |
/// | [`cancel`](crate::JoinHandle::cancel) | – (`asyncio`'s `Task.cancel`) | – |
/// | [`abort`](crate::JoinHandle::abort) | – | `JoinHandle::abort` |
/// | [`cancel_on_drop`](crate::JoinHandle::cancel_on_drop) | – | `AbortOnDropHandle` |
/// | [`cleanup`](crate::Co::cleanup) | – (`asyncio.shield`) | – |
/// | [`cancellable`](crate::Co::cancellable) | – | `CancellationToken::run_until_cancelled` |
/// | [`Handle::snapshot`](crate::Handle::snapshot) | – | `Handle::dump`, the console |
/// | [`ManualClock`](crate::ManualClock) | – | `time::pause`, `advance` |
/// | [`ErrorKind::KeyReuse`](crate::ErrorKind::KeyReuse) | `KeyReuseError` | – |
/// | [`ErrorKind::UnknownKey`](crate::ErrorKind::UnknownKey) | `UnknownKeyError` | – |
/// | [`ErrorKind::Leaked`](crate::ErrorKind::Leaked) | `LeakedCallbackError` | – |
/// | [`ErrorKind::Abandoned`](crate::ErrorKind::Abandoned) | – | `oneshot::RecvError` |
/// | [`ErrorKind::CoroutineCancelled`](crate::ErrorKind::CoroutineCancelled), [`Panicked`](crate::ErrorKind::Panicked) | the error itself | `JoinError` |
/// | a compile error | `BadYieldError`, `ReturnValueIgnoredError` | – |
/// | [`ErrorKind::Elapsed`](crate::ErrorKind::Elapsed) | `TimeoutError` | `time::Elapsed` |
/// | [`net::TcpListener`](crate::net::TcpListener), [`net::TcpStream`](crate::net::TcpStream) | `TCPServer`, `TCPClient` | `net::TcpListener`, `net::TcpStream` |
/// | [`net::BufferedStream`](crate::net::BufferedStream) | `IOStream` | `BufReader` with `AsyncBufReadExt` |
pub mod names {}

#[doc = include_str!("../DESIGN.md")]
pub mod design {}
