//! Where messages from other threads wait until an engine takes them: a bounded buffer that can be shut.
//!
//! It is apart because it is the only part of an engine that two threads touch.
//!
//! Invariants:
//! 1. Messages leave in the order in which they came; a thread that waits for room is not passed by a later one.
//! 2. From the first message until the engine finds the buffer empty, exactly one announcement is on its way or being served.
//! 3. Nothing of the user's runs or is dropped under the lock: messages only move.
//!
//! ```text
//!             send                    pop finds nothing
//!   Quiet ──────────▶ Announced ────────────────────────▶ Quiet
//!     │                   │ shut: senders are refused, what is in it can still be popped
//!     └───────────────────┴──▶ Shut
//! ```

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

/// The buffer between other threads and one engine.
pub(crate) struct Gate<M> {
    /// What is in it.
    state: Mutex<State<M>>,
    /// Told when there is room again.
    room: Condvar,
    /// The most messages in it.
    bound: usize,
    /// The thread of the loop, which must not wait here.
    loop_thread: ThreadId,
}

/// What is in a gate.
struct State<M> {
    /// The messages.
    buffer: VecDeque<M>,
    /// Whether the engine knows that there are some (invariant 2).
    announced: bool,
    /// The turn the next waiting thread will get.
    next_turn: u64,
    /// The turn that may go in.
    turn: u64,
    /// How many were taken out and still count, because the engine has no room for them yet.
    held: usize,
    /// Why no more goes in.
    shut: Option<Shut>,
}

/// Why a gate is shut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shut {
    /// The engine takes no more.
    Closed,
    /// The loop is gone.
    LoopGone,
}

/// Why a message did not go in.
pub(crate) enum Blocked {
    /// The buffer is full, or a thread waits.
    Full,
    /// Waiting would hold up the thread that makes room.
    OwnThread,
    /// The gate is shut.
    Shut(Shut),
}

impl<M> Gate<M> {
    /// An empty gate, made on the loop's thread.
    pub(crate) fn new(bound: usize) -> Self {
        Gate {
            state: Mutex::new(State {
                buffer: VecDeque::new(),
                announced: false,
                next_turn: 0,
                turn: 0,
                held: 0,
                shut: None,
            }),
            room: Condvar::new(),
            bound,
            loop_thread: thread::current().id(),
        }
    }

    /// The most messages in it.
    pub(crate) fn bound(&self) -> usize {
        self.bound
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        // Nothing can panic under the lock (invariant 3).
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message in if there is room now. Tells whether the engine must be told.
    ///
    /// # Errors
    /// The message, and why.
    pub(crate) fn try_push(&self, message: M) -> Result<bool, (M, Blocked)> {
        let mut state = self.lock();
        if let Some(shut) = state.shut {
            return Err((message, Blocked::Shut(shut)));
        }
        if state.len() >= self.bound || state.turn != state.next_turn {
            return Err((message, Blocked::Full));
        }
        Ok(state.put(message))
    }

    /// Puts a message in and waits for room if need be. Tells whether the engine must be told.
    ///
    /// # Errors
    /// The message, and why.
    pub(crate) fn push(&self, message: M) -> Result<bool, (M, Blocked)> {
        let mut state = self.lock();
        let turn = state.next_turn;
        let must_wait = state.len() >= self.bound || state.turn != turn;
        if must_wait && state.shut.is_none() && thread::current().id() == self.loop_thread {
            return Err((message, Blocked::OwnThread));
        }
        state.next_turn += 1;
        while state.shut.is_none() && (state.turn != turn || state.len() >= self.bound) {
            state = self
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(shut) = state.shut {
            return Err((message, Blocked::Shut(shut)));
        }
        state.turn += 1;
        let tell = state.put(message);
        if state.turn != state.next_turn {
            self.room.notify_all();
        }
        Ok(tell)
    }

    /// Takes the first message out. Finding none ends the announcement (keeps invariant 2).
    pub(crate) fn pop(&self) -> Option<M> {
        let mut state = self.lock();
        let message = state.buffer.pop_front();
        if message.is_none() {
            state.announced = false;
        } else if state.turn != state.next_turn {
            self.room.notify_all();
        }
        message
    }

    /// The same, but the message counts as if it were still here, until it is [released](Gate::release).
    pub(crate) fn pop_held(&self) -> Option<M> {
        let mut state = self.lock();
        let message = state.buffer.pop_front();
        match message {
            Some(_) => state.held += 1,
            None => state.announced = false,
        }
        message
    }

    /// Ends the counting of messages that were taken out.
    pub(crate) fn release(&self, count: usize) {
        let mut state = self.lock();
        state.held = state.held.saturating_sub(count);
        if state.turn != state.next_turn {
            self.room.notify_all();
        }
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().buffer.is_empty()
    }

    /// How many threads wait for room.
    pub(crate) fn waiting(&self) -> usize {
        let state = self.lock();
        if state.shut.is_some() {
            return 0;
        }
        usize::try_from(state.next_turn - state.turn).unwrap_or(usize::MAX)
    }

    /// Lets nothing more in; the first reason stands. Threads that wait get their message back.
    pub(crate) fn shut(&self, why: Shut) {
        self.lock().shut.get_or_insert(why);
        self.room.notify_all();
    }

    /// Takes everything out.
    pub(crate) fn take_all(&self) -> VecDeque<M> {
        std::mem::take(&mut self.lock().buffer)
    }
}

impl<M> State<M> {
    /// How many messages count.
    fn len(&self) -> usize {
        self.buffer.len() + self.held
    }

    /// Puts a message in. Tells whether the engine must be told.
    fn put(&mut self, message: M) -> bool {
        self.buffer.push_back(message);
        !std::mem::replace(&mut self.announced, true)
    }
}
