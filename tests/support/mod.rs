//! What the hazard tests share: a trace, an error hook that keeps what it hears, a counter of drops, a waker that counts.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

use std::cell::RefCell;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use yieldpoint::{EventLoop, Incident, ManualClock};

/// What happened, in order.
#[derive(Clone, Default)]
pub struct Trace(Rc<RefCell<Vec<String>>>);

impl Trace {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes one more thing.
    pub fn note(&self, what: impl Display) {
        self.0.borrow_mut().push(what.to_string());
    }

    /// A callback that notes.
    pub fn noting(&self, what: impl Display + 'static) -> impl FnOnce() + 'static {
        let trace = self.clone();
        move || trace.note(what)
    }

    /// Everything, on one line.
    pub fn all(&self) -> String {
        self.0.borrow().join(" ")
    }

    /// How much.
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

/// Counts the drops of what it gives out.
#[derive(Clone, Default)]
pub struct Drops(Arc<AtomicUsize>);

impl Drops {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A value whose drop counts.
    pub fn one(&self) -> Dropped {
        Dropped(self.clone())
    }

    /// How many were dropped.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A value whose drop counts.
pub struct Dropped(Drops);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Runs a closure when it is dropped.
pub struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnDrop<F> {
    pub fn new(act: F) -> Self {
        OnDrop(Some(act))
    }
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(act) = self.0.take() {
            act();
        }
    }
}

/// A value whose drop panics.
pub fn bomb(text: &'static str) -> OnDrop<impl FnOnce()> {
    OnDrop::new(move || panic!("{text}"))
}

/// A loop whose clock moves by itself and for which any incident is a failure.
pub fn strict() -> EventLoop {
    EventLoop::builder()
        .clock(&ManualClock::auto())
        .fail_on_error()
        .build()
        .expect("a loop")
}

/// A loop whose clock moves by itself, with the incidents it reports.
pub fn watched() -> (EventLoop, Incidents) {
    let incidents = Incidents::default();
    let kept = incidents.clone();
    let event_loop = EventLoop::builder()
        .clock(&ManualClock::auto())
        .on_error(move |incident| kept.0.borrow_mut().push(incident.clone()))
        .build()
        .expect("a loop");
    (event_loop, incidents)
}

/// The incidents of a loop, in order.
#[derive(Clone, Default)]
pub struct Incidents(pub Rc<RefCell<Vec<Incident>>>);

impl Incidents {
    /// What sort each was, with the text that tells most, on one line.
    pub fn all(&self) -> String {
        let sort = |incident: &Incident| match incident {
            Incident::Untaken { error, .. } => format!("untaken({error})"),
            Incident::Panicked {
                message, during, ..
            } => format!("panicked({during}: {message})"),
            Incident::Leaked { keys, .. } => {
                let keys: Vec<_> = keys.iter().map(|key| key.key.to_string()).collect();
                format!("leaked({})", keys.join(","))
            }
            Incident::CancelSwallowed {
                reason, parked_on, ..
            } => {
                let on = parked_on.map_or("foreign", |(kind, _)| kind);
                format!("swallowed({reason}, {on})")
            }
            Incident::LoopGone { what } => format!("gone({what})"),
            Incident::Stalled(_) => "stalled".to_owned(),
            other => other.to_string(),
        };
        let all: Vec<_> = self.0.borrow().iter().map(sort).collect();
        all.join(" ")
    }
}

/// A waker that counts, as a foreign executor's would be.
#[derive(Default)]
pub struct Wakes(AtomicUsize);

impl Wakes {
    /// A counter and its waker.
    pub fn new() -> (Arc<Self>, Waker) {
        let counter = Arc::<Wakes>::default();
        let waker = Waker::from(Arc::clone(&counter));
        (counter, waker)
    }

    /// How often it was woken.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls a future once with this waker.
pub fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}
