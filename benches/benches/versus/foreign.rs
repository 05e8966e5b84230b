//! Channels of other crates in one shape, for runtimes that have none of their own.

/// A one-shot of the `futures` crate, for runtimes that have none of their own.
pub fn futures_one_shot<T: 'static>()
-> (impl FnOnce(T) + 'static, impl Future<Output = T> + 'static) {
    let (sender, receiver) = futures_channel::oneshot::channel();
    let send = move |value| sender.send(value).ok().expect("the other end is there");
    (send, async { receiver.await.expect("the other end sends") })
}

/// A one-shot of `local-sync`, which is made for one-threaded runtimes.
pub fn local_sync_one_shot<T: 'static>()
-> (impl FnOnce(T) + 'static, impl Future<Output = T> + 'static) {
    let (sender, receiver) = local_sync::oneshot::channel();
    let send = move |value| sender.send(value).ok().expect("the other end is there");
    (send, async { receiver.await.expect("the other end sends") })
}

/// An unbounded channel of `local-sync`.
pub fn local_sync_unbounded() -> (
    impl Fn(u64) + 'static,
    impl AsyncFnMut() -> Option<u64> + 'static,
) {
    let (sender, mut receiver) = local_sync::mpsc::unbounded::channel();
    let send = move |value| sender.send(value).expect("the other end is there");
    (send, async move || receiver.recv().await)
}
