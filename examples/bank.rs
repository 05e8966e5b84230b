//! A transfer service over TCP, in which accounts are keys: the messages of one account are handled in order, those of others at once,
//! and each account's balance is the state of its key. No lock, no transaction.
//!
//! A transfer debits its source and then posts the credit to the destination's key. One transfer in a hundred fails, one in a thousand
//! panics, and some take far too long and are cancelled: all of them after the money has left the balance. `on_failure` puts it back.
//!
//! Fifty clients on another thread send a hundred thousand transfers, many at a time on each connection. In the end what the clients saw is
//! held against the service's own journal. The last line is
//!
//! ```text
//! bank: transfers=100000 out_of_order=0 lost=0 duplicated=0 total_before=1000000 total_after=1000000
//! ```
//!
//! ```text
//! cargo run --release --example bank
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread;

use yieldpoint::net::{TcpListener, TcpStream};
use yieldpoint::sync::queue;
use yieldpoint::{
    Call, Co, Error, EventLoop, Incident, Keyed, Result, ms,
    ordered::{AfterKeyFailure, HeadLimit, KeyedDoor},
};

/// How many accounts there are.
const ACCOUNTS: u32 = 1000;
/// What each has in the beginning.
const OPENING: u64 = 1000;
/// How many clients there are.
const CONNECTIONS: u32 = 50;
/// How many transfers each of them sends.
const EACH: u32 = 2000;
/// How many a client sends before it waits for the answers.
const WINDOW: usize = 50;

/// One transfer; its number says which client sent it, and as which of his.
#[derive(Clone, Copy)]
struct Transfer {
    number: u32,
    from: u32,
    to: u32,
    amount: u64,
}

impl Transfer {
    /// The transfer of this number: always the same one.
    fn new(number: u32) -> Self {
        let mut random = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut below = |n: u32| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            u32::try_from((random >> 32) % u64::from(n)).unwrap_or(0)
        };
        let from = below(ACCOUNTS);
        let to = (from + 1 + below(ACCOUNTS - 1)) % ACCOUNTS;
        let amount = u64::from(1 + below(9));
        Transfer {
            number,
            from,
            to,
            amount,
        }
    }

    /// Reads a line of a client.
    fn parse(line: &str) -> Result<Self> {
        let mut fields = line.split(' ').map(str::parse::<u32>);
        let mut field = || fields.next().transpose().ok().flatten();
        match (field(), field(), field(), field()) {
            (Some(number), Some(from), Some(to), Some(amount)) => Ok(Transfer {
                number,
                from,
                to,
                amount: amount.into(),
            }),
            _ => Err(Error::other(format!("no transfer: {line}"))),
        }
    }

    fn connection(self) -> u32 {
        self.number / EACH
    }
}

/// The line that a client sends.
impl fmt::Display for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Transfer {
            number,
            from,
            to,
            amount,
        } = self;
        writeln!(f, "{number} {from} {to} {amount}")
    }
}

/// What an account is told: three kinds of message, in one order.
enum Message {
    Transfer(Transfer),
    Credit(Transfer),
    Balance,
}

/// The state of an account.
struct Account {
    balance: u64,
    /// The transfer whose money has left the balance and not arrived anywhere.
    in_flight: Option<Transfer>,
}

/// What an account did, in the order in which all accounts did it.
enum Entry {
    Began(Transfer),
    Debited(Transfer),
    Refused(Transfer),
    Credited(Transfer),
}

type Journal = Rc<RefCell<Vec<Entry>>>;
type Bank = Keyed<u32, Account, Message, u64>;

/// Handles one message of an account.
async fn handle(
    call: Call<u32>,
    account: &mut Account,
    message: Message,
    journal: &Journal,
) -> Result<u64> {
    let transfer = match message {
        Message::Transfer(transfer) => transfer,
        Message::Credit(transfer) => {
            account.balance += transfer.amount;
            journal.borrow_mut().push(Entry::Credited(transfer));
            return Ok(account.balance);
        }
        Message::Balance => return Ok(account.balance),
    };
    journal.borrow_mut().push(Entry::Began(transfer));
    account.in_flight = Some(transfer);
    account.balance = account
        .balance
        .checked_sub(transfer.amount)
        .ok_or_else(|| {
            account.in_flight = None;
            Error::other("not enough money")
        })?;
    match transfer.number {
        n if n % 5000 == 17 => call.sleep(ms(60_000)).await?,
        n if n % 10 == 3 => call.sleep(ms(1)).await?,
        _ => call.yield_now().await?,
    }
    match transfer.number {
        n if n % 100 == 7 => return Err(Error::other("declined")),
        n if n % 1000 == 13 => panic!("a fault in the service"),
        _ => {}
    }
    let bank: KeyedDoor<u32, Message, u64> = call.engine();
    bank.send(transfer.to, Message::Credit(transfer)).await?;
    account.in_flight = None;
    journal.borrow_mut().push(Entry::Debited(transfer));
    Ok(account.balance)
}

/// The engine of the service.
fn open(co: &Co, journal: &Journal) -> Bank {
    let (told, refused) = (Rc::clone(journal), Rc::clone(journal));
    Keyed::with_state(|_: &u32| Account {
        balance: OPENING,
        in_flight: None,
    })
    .named("accounts")
    .head_limit(HeadLimit::from(ms(20)).then_cancel(ms(20)))
    .on_failure(move |_, account: &mut Account, _| {
        if let Some(transfer) = account.in_flight.take() {
            account.balance += transfer.amount;
            refused.borrow_mut().push(Entry::Refused(transfer));
        }
        AfterKeyFailure::Continue
    })
    .serve(
        co.handle(),
        async move |call: Call<u32>, account: &mut Account, message: Message| {
            handle(call, account, message, &told).await
        },
    )
}

/// Serves one client: each of his transfers is asked for at once, and answered when its account has come to it.
async fn serve(co: Co, stream: TcpStream, bank: Bank) -> Result {
    let (mut lines, mut writer) = stream.buffered().split();
    let (answers, ready) = queue::<String>(co.handle(), 2 * WINDOW);
    let writing = co.handle().spawn(async move |_| -> Result {
        while let Some(mut text) = ready.recv().await? {
            while let Ok(more) = ready.try_recv() {
                text.push_str(&more);
            }
            writer.write_all(text.as_bytes()).await?;
        }
        Ok(())
    });
    while let Some(line) = lines.read_line(128).await? {
        let transfer = Transfer::parse(&line)?;
        let asking = bank.ask(transfer.from, Message::Transfer(transfer));
        let answers = answers.clone();
        let _answers_later = co.handle().spawn(async move |_| -> Result {
            let outcome = if asking.await.is_ok() { "ok" } else { "failed" };
            Ok(answers
                .send(format!("{} {outcome}\n", transfer.number))
                .await?)
        });
    }
    drop(answers);
    writing.await
}

/// What a client saw: the numbers answered, in order, and whether each was well.
type Seen = Vec<(u32, bool)>;

/// Sends one client's transfers.
async fn send(co: Co, address: SocketAddr, connection: u32) -> Result<Seen> {
    let mut stream = TcpStream::connect(co.handle(), address).await?.buffered();
    let mut seen = Seen::new();
    let numbers: Vec<u32> = (connection * EACH..(connection + 1) * EACH).collect();
    for window in numbers.chunks(WINDOW) {
        let mut text = String::new();
        for number in window {
            text.push_str(&Transfer::new(*number).to_string());
        }
        stream.write_all(text.as_bytes()).await?;
        for _ in window {
            let line = stream.read_line(64).await?;
            let line = line.ok_or_else(|| Error::other("the service hung up"))?;
            let (number, outcome) = line.split_once(' ').unwrap_or_default();
            seen.push((number.parse().map_err(Error::other)?, outcome == "ok"));
        }
    }
    Ok(seen)
}

/// Runs all clients, on a loop of their own.
fn run_clients(address: SocketAddr) -> Result<Vec<Seen>> {
    EventLoop::new()?.block_on(async |co| -> Result<Vec<Seen>> {
        let client = |n| {
            co.handle()
                .spawn(async move |co| send(co, address, n).await)
        };
        let clients: Vec<_> = (0..CONNECTIONS).map(client).collect();
        let mut seen = vec![];
        for client in clients {
            seen.push(client.await?);
        }
        Ok(seen)
    })
}

/// What is in all accounts together.
async fn total(bank: &Bank) -> Result<u64> {
    let mut total = 0;
    for account in 0..ACCOUNTS {
        total += bank.ask(account, Message::Balance).await?;
    }
    Ok(total)
}

/// What went wrong.
#[derive(Default)]
struct Faults {
    out_of_order: usize,
    lost: usize,
    duplicated: usize,
}

/// What is known of one transfer.
#[derive(Clone, Copy, Default)]
struct Fate {
    began: usize,
    debited: usize,
    refused: usize,
    credited: usize,
    answered: usize,
    well: bool,
}

/// Notes a place in an order. Gives whether it is behind the last one noted.
fn in_order<K: Eq + std::hash::Hash>(last: &mut HashMap<K, usize>, key: K, place: usize) -> bool {
    last.insert(key, place).is_none_or(|last| last < place)
}

/// Holds what the clients saw against the journal.
fn audit(seen: &[Seen], journal: &[Entry]) -> Faults {
    let mut faults = Faults::default();
    let mut fates = vec![Fate::default(); (CONNECTIONS * EACH) as usize];
    let mut check = |fine: bool| faults.out_of_order += usize::from(!fine);
    // A client's answers for one account, as he asked.
    for seen in seen {
        let mut last = HashMap::new();
        for &(number, well) in seen {
            let fate = &mut fates[number as usize];
            fate.answered += 1;
            fate.well = well;
            check(in_order(
                &mut last,
                Transfer::new(number).from,
                number as usize,
            ));
        }
    }
    let (mut began, mut running) = (HashMap::new(), HashMap::new());
    let (mut debits, mut credits) = (HashMap::new(), HashMap::new());
    for (at, entry) in journal.iter().enumerate() {
        match *entry {
            // An account's transfers of one client, as he asked, and never two at a time.
            Entry::Began(transfer) => {
                fates[transfer.number as usize].began += 1;
                let key = (transfer.from, transfer.connection());
                check(in_order(&mut began, key, transfer.number as usize));
                check(running.insert(transfer.from, transfer.number).is_none());
            }
            Entry::Debited(transfer) => {
                fates[transfer.number as usize].debited += 1;
                check(running.remove(&transfer.from) == Some(transfer.number));
                debits.insert(transfer.number, at);
            }
            Entry::Refused(transfer) => {
                fates[transfer.number as usize].refused += 1;
                check(running.remove(&transfer.from) == Some(transfer.number));
            }
            Entry::Credited(transfer) => fates[transfer.number as usize].credited += 1,
        }
    }
    // What one account credits another, as it debited.
    for entry in journal {
        if let Entry::Credited(transfer) = entry {
            let debit = debits.get(&transfer.number).copied().unwrap_or(0);
            check(in_order(&mut credits, (transfer.from, transfer.to), debit));
        }
    }
    for fate in &fates {
        let moved = usize::from(fate.well);
        let missing =
            fate.answered == 0 || fate.began == 0 || fate.debited < moved || fate.credited < moved;
        let twice = fate.answered > 1
            || fate.began > 1
            || fate.refused > 1
            || fate.debited > moved
            || fate.credited > moved;
        faults.lost += usize::from(missing);
        faults.duplicated += usize::from(twice);
    }
    faults
}

fn main() -> Result {
    let expected = "a fault in the service";
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref::<&str>() != Some(&expected) {
            print(panic);
        }
    }));
    let slow = Rc::new(RefCell::new(0));
    let counted = Rc::clone(&slow);
    let mut event_loop = EventLoop::builder()
        .on_error(move |incident| match incident {
            Incident::SlowHead { .. } => *counted.borrow_mut() += 1,
            other => eprintln!("{other}"),
        })
        .build()?;
    let journal = Journal::default();
    let (seen, before, after) = event_loop.block_on(async |co| -> Result<(Vec<Seen>, u64, u64)> {
        let bank = open(&co, &journal);
        let before = total(&bank).await?;
        let mut listener = TcpListener::bind(co.handle(), "127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let door = bank.clone();
        let accepting = co.handle().spawn(async move |co| -> Result {
            loop {
                let (stream, _) = listener.accept().await?;
                let door = door.clone();
                let _serves_on = co.handle().spawn(async move |co| serve(co, stream, door).await);
            }
        });
        let counts = bank.clone();
        let showing = co.handle().spawn(async move |co| -> Result {
            loop {
                co.sleep(ms(500)).await?;
                let stats = counts.stats();
                let calls = stats.done + stats.failed;
                println!("bank: {calls} calls, {} running, {} queued", stats.running, stats.queued);
            }
        });
        let seen = co
            .task(|done| {
                let done = done.into_send_fn();
                thread::spawn(move || done(run_clients(address)));
            })
            .await??;
        accepting.abort();
        showing.abort();
        let after = total(&bank).await?;
        let stats = bank.stats();
        println!(
            "bank: {} calls ended well, {} failed, {} of them too slow; the longest wait of a message was {:?}",
            stats.done,
            stats.failed,
            slow.borrow(),
            stats.longest_wait
        );
        Ok((seen, before, after))
    })?;
    let Faults {
        out_of_order,
        lost,
        duplicated,
    } = audit(&seen, &journal.borrow());
    let transfers: usize = seen.iter().map(Vec::len).sum();
    println!(
        "bank: transfers={transfers} out_of_order={out_of_order} lost={lost} duplicated={duplicated} total_before={before} total_after={after}"
    );
    Ok(())
}
