//! The inside of the keyed engine: what every door of a [`Keyed`](crate::Keyed) leads to.
//!
//! It is apart from the doors because it knows no types of state and handler: those are with its crew, behind one trait object.
//!
//! ```text
//!   queues, lines, ring, seats, index ─▶ table ─▶ room, turns     keep and order: no code of the user's runs
//!                                          └──▶ engine ─▶ entering, working, settling, ending, …     one task each
//! ```
//!
//! Invariants:
//! 1. A key is in the hands of one worker at most, and a worker has one message at most: the next is taken after the call before was settled.
//! 2. Every message taken is settled once: its asker is answered, or its failure is told to the error hook.
//! 3. What is dropped unhandled is told to its asker and handed to the hook, given back by `drain`, or reported.
//! 4. An idle key without state is not here at all; an engine without messages has no worker.
//! 5. A key's own code (`Hash`, `Eq`, `Drop`) runs with nothing borrowed, and none of it can come back to the keys from inside `Hash` or `Eq`.
//!
//! ```text
//!             message                a worker takes it           settled: more messages
//!   (none) ───────────▶ key in ring ───────────────────▶ in hand ───────────────────────▶ back of the ring
//!      ▲                                                    │ settled: none left
//!      └──────────────── state dropped, or kept ◀───────────┘
//! ```

// From the ground up, as in lib.rs.
mod message;

mod index;
mod line;
mod queues;
mod ring;
mod seats;

mod key_state;

mod table;

mod room;
mod turns;

mod limit;
mod report;

mod engine;

mod crowding;

mod admitting;
mod ending;
mod entering;
mod finding;
mod head;
mod holding;
mod looking;
mod settling;
mod waits;
mod working;

pub(crate) use crowding::{Arrived, Patience};
pub(crate) use engine::{Crew, ENGINE, Hub, Rules};
pub(crate) use message::Want;
pub(crate) use table::Limits;

pub use engine::OrderKey;
pub use limit::HeadLimit;
pub use report::{HeadReport, KeyReport, KeyedStats};
