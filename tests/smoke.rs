//! Smoke.
use std::cell::RefCell;
use std::rc::Rc;
use yieldpoint::*;

#[test]
fn all_kinds() {
    let mut l = EventLoop::builder().fail_on_error().build().unwrap();
    let log = Rc::new(RefCell::new(vec![]));
    let lg = log.clone();
    let n = l
        .block_on(async |co| -> Result<u32> {
            let first = co.callback::<&str>(0)?;
            let second = co.callback::<&str>(1)?;
            co.handle()
                .call_later(ms(10), move || second.resolve("foo"));
            co.handle().call_later(ms(20), move || first.resolve("bar"));
            let mut keys = vec![Key::from(0), Key::from(1)];
            while !keys.is_empty() {
                let (key, result) = co.wait_any::<&str>(&keys).await?;
                lg.borrow_mut().push(format!("{key} {result}"));
                keys.retain(|k| *k != key);
            }
            let j = co.handle().spawn(async |co: Co| -> Result<u32> {
                co.yield_now().await?;
                let x = co
                    .task(|done| {
                        let f = done.into_send_fn();
                        std::thread::spawn(move || f(5u32));
                    })
                    .await?;
                Ok(x)
            });
            j.await
        })
        .unwrap();
    assert_eq!(n, 5);
    assert_eq!(*log.borrow(), ["1 foo", "0 bar"]);
    let e = l
        .block_on(async |co| -> Result { co.wait::<()>("x").await })
        .unwrap_err();
    println!("{e}");
    let e = l
        .block_on(async |co| -> Result {
            let c = co.callback::<()>("x")?;
            drop(c);
            co.wait::<()>("x").await
        })
        .unwrap_err();
    println!("{e}");
    let e = l
        .block_on(async |co| -> Result {
            let c = co.callback::<()>("x")?;
            let r = co.wait::<()>("x").await;
            drop(c);
            r
        })
        .unwrap_err();
    println!("{e}");
    let e = l
        .block_on(async |co| -> Result {
            let _c = co.callback::<()>("x")?;
            Ok(())
        })
        .unwrap_err();
    println!("{e}");
    let e = l.block_on(async |co| -> Result {
        let j = co.handle().spawn(async |co: Co| -> Result {
            loop {
                let _ = co.sleep(ms(1000)).await;
            }
        });
        co.yield_now().await?;
        j.cancel("bye");
        j.await
    });
    println!("{e:?}");
}

#[test]
fn foreign() {
    use futures_util::stream::{FuturesUnordered, StreamExt};
    let mut l = EventLoop::builder().fail_on_error().build().unwrap();
    l.block_on(async |co| -> Result {
        let mut set = FuturesUnordered::new();
        for i in 0..50u32 {
            let h = co.handle().clone();
            set.push(co.task(move |done: Resolver<u32>| {
                h.call_later(ms(u64::from(i % 7)), move || done.resolve(i));
            }));
        }
        let mut sum = 0;
        while let Some(x) = set.next().await {
            sum += x?;
        }
        assert_eq!(sum, 1225);
        let js: Vec<_> = (0..40)
            .map(|i| {
                co.handle().spawn(async move |co: Co| -> Result<u32> {
                    co.sleep(ms(1)).await?;
                    Ok(i)
                })
            })
            .collect();
        let r = futures_util::future::join_all(js).await;
        assert_eq!(r.into_iter().map(|x| x.unwrap()).sum::<u32>(), 780);
        Ok(())
    })
    .unwrap();
}
