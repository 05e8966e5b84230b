//! The smallest echo server on yieldpoint.

use yieldpoint::net::{TcpListener, TcpStream};
use yieldpoint::{Co, EventLoop, Result};

fn main() -> Result {
    EventLoop::new()?.block_on(async |co: Co| -> Result {
        let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            let _ = co.handle().spawn(async move |_| echo(stream).await);
        }
    })
}

async fn echo(mut stream: TcpStream) -> Result {
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}
