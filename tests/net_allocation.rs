//! What a transfer allocates in steady state: nothing.

use std::cell::Cell;
use std::rc::Rc;

use yieldpoint::net::{TcpListener, TcpStream};
use yieldpoint::{Budget, EventLoop, Result};

#[test]
fn an_echo_in_steady_state_allocates_nothing() {
    let mut event_loop = EventLoop::builder()
        .fail_on_error()
        .build()
        .expect("a loop");
    let handle = event_loop.handle();
    let rounds = Rc::new(Cell::new(0_u64));
    let counting = Rc::clone(&rounds);
    let _join = handle.spawn(async move |co| -> Result {
        let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
        let mut client = TcpStream::connect(co.handle(), listener.local_addr()?).await?;
        let (mut server, _) = listener.accept().await?;
        let _echo = co.handle().spawn(async move |_| -> Result {
            let mut buf = [0; 64];
            loop {
                let n = server.read(&mut buf).await?;
                server.write_all(&buf[..n]).await?;
            }
        });
        let mut buf = [0; 64];
        loop {
            client.write_all(b"ping").await?;
            assert_eq!(client.read(&mut buf).await?, 4);
            counting.set(counting.get() + 1);
        }
    });
    let mut echo_for = |count| {
        let until = rounds.get() + count;
        while rounds.get() < until {
            let _ = event_loop.turn(Budget::steps(64)).expect("a turn");
        }
    };
    echo_for(100);
    let allocated = allocation_counter::measure(|| echo_for(1000));
    assert_eq!(allocated.count_total, 0, "{allocated:?}");
}
