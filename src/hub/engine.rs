//! A keyed engine: what it is made of, what the user asked for, and the one trait by which it reaches state and handler.
//!
//! It is apart from what it does because everything it does needs it, and each task has a file of its own.

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::hash::Hash;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use crate::arena::{Arena, Id};
use crate::error::{Error, ErrorKind};
use crate::failure::{AfterKeyFailure, DropReason, Failure, Overflow};
use crate::hub::limit::HeadLimit;
use crate::hub::table::{Limits, Table};
use crate::key_name::KeyName;
use crate::ordered_gate::{Gate, Shut};
use crate::ordered_queue::Intake;
use crate::record::Body;
use crate::shared::Shared;
use crate::site::Site;
use crate::waiter::WaiterSlot;

/// What a keyed engine is called in errors.
pub(crate) const ENGINE: &str = "keyed engine";

/// What a key is called in errors.
pub(crate) const KEY: &str = "queue of this key";

/// What the limit in bytes is called in errors.
pub(crate) const BYTES: &str = "keyed engine, in bytes,";

/// What can be a key of a [`Keyed`](crate::Keyed) engine: every type with these traits is.
///
/// A key is cloned only for what an engine gives back.
pub trait OrderKey: Clone + Eq + Hash + fmt::Debug + 'static {}

impl<K: Clone + Eq + Hash + fmt::Debug + 'static> OrderKey for K {}

/// State and handler of all keys.
pub(crate) trait Crew<K, M, R, E> {
    /// The body of a worker.
    fn work(self: Rc<Self>, hub: &Rc<Hub<K, M, R, E>>, id: Id, seat: u32) -> Pin<Box<dyn Body>>;

    /// Looks at a failure. This is user code.
    fn judge(&self, key: Id, name: &KeyName<K>, failure: &Failure<'_>) -> AfterKeyFailure;

    /// Whether a key's state outlives its messages.
    fn keeps_state(&self) -> bool;

    /// Drops a key's state. This is user code.
    fn drop_state(&self, key: Id);
}

/// What hears of dropped messages.
pub(crate) type DropHook<K, M> = Box<dyn Fn(&K, M, DropReason)>;

/// A user's answer to a question about a key or a message.
pub(crate) type Ask<T, A> = Option<Box<dyn Fn(&T) -> A>>;

/// What the user asked for when the engine was built.
pub(crate) struct Rules<K, M> {
    /// How much there may be of everything.
    pub(crate) limits: Limits,
    /// What goes where there is no room.
    pub(crate) overflow: Overflow,
    /// How large a message is.
    pub(crate) size: Ask<M, usize>,
    /// How many messages a key gets in a turn.
    pub(crate) weight: Ask<K, u32>,
    /// Which keys are none.
    pub(crate) free: Ask<K, bool>,
    /// How long calls may take.
    pub(crate) head: Option<HeadLimit>,
    /// What hears of dropped messages.
    pub(crate) on_drop: Option<DropHook<K, M>>,
    /// The engine's name in reports.
    pub(crate) name: Cow<'static, str>,
}

/// What has been counted.
#[derive(Default)]
pub(crate) struct Counts {
    /// Calls that ended well.
    pub(crate) done: Cell<u64>,
    /// Calls that failed.
    pub(crate) failed: Cell<u64>,
    /// Messages dropped.
    pub(crate) dropped: Cell<u64>,
    /// The longest that a message waited for its call, in nanoseconds.
    pub(crate) longest_wait: Cell<u64>,
}

/// Adds one to a counter.
#[inline]
pub(crate) fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// See the module's page.
pub(crate) struct Hub<K, M, R, E> {
    /// The loop.
    pub(super) shared: Rc<Shared>,
    /// What waits, and whose turn it is.
    pub(super) table: RefCell<Table<K, M, R, E>>,
    /// What every key's hash begins with.
    pub(super) seed: u64,
    /// Whether a key's own `Hash` or `Eq` runs.
    pub(super) comparing: Cell<bool>,
    /// The keys that are to be let go when it has ended.
    pub(super) put_off: RefCell<Vec<Id>>,
    /// Whether there are any: one look for every message.
    pub(super) has_put_off: Cell<bool>,
    /// State and handler.
    pub(super) crew: Rc<dyn Crew<K, M, R, E>>,
    /// What the user asked for.
    pub(super) rules: Rules<K, M>,
    /// How many doors may still send.
    pub(super) doors: Cell<usize>,
    /// Who waits for the end.
    pub(super) finishers: RefCell<Arena<WaiterSlot>>,
    /// Messages that an early end left over, by key.
    pub(super) left_over: RefCell<Vec<(K, Vec<M>)>>,
    /// Where other threads send to, once one may.
    pub(super) gate: OnceCell<Arc<Gate<(K, M)>>>,
    /// What has been counted.
    pub(super) counts: Counts,
    /// The way back that calls are given.
    back: Rc<dyn Any>,
    /// Itself, for those who hold only a part of it.
    pub(super) me: Weak<Self>,
    /// Where the engine was created.
    pub(crate) site: Site,
}

impl<K, M, R, E> Hub<K, M, R, E>
where
    K: OrderKey,
    M: 'static,
    R: 'static,
    E: From<Error> + fmt::Display + 'static,
{
    /// A hub without keys and doors.
    pub(crate) fn new(
        shared: &Rc<Shared>,
        rules: Rules<K, M>,
        crew: Rc<dyn Crew<K, M, R, E>>,
        site: Site,
    ) -> Rc<Self> {
        shared.engines.set(shared.engines.get() + 1);
        let table = Table::new(rules.limits, crew.keeps_state());
        Rc::new_cyclic(|hub: &Weak<Self>| Hub {
            shared: Rc::clone(shared),
            seed: table.index.seed(),
            table: RefCell::new(table),
            comparing: Cell::new(false),
            put_off: RefCell::default(),
            has_put_off: Cell::new(false),
            crew,
            rules,
            doors: Cell::new(0),
            finishers: RefCell::new(Arena::new()),
            left_over: RefCell::default(),
            gate: OnceCell::new(),
            counts: Counts::default(),
            back: Rc::new(hub.clone()),
            me: hub.clone(),
            site,
        })
    }

    /// The loop.
    pub(crate) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// The way back that calls are given.
    pub(crate) fn back(&self) -> Rc<dyn Any> {
        Rc::clone(&self.back)
    }

    /// Whether newcomers are taken in.
    pub(crate) fn is_open(&self) -> bool {
        !self.shared.is_closed() && self.table.borrow().intake == Intake::Open
    }

    /// The error of an engine that takes nothing more.
    pub(crate) fn closed(&self) -> Error {
        if self.shared.is_closed() {
            ErrorKind::LoopGone.into()
        } else {
            ErrorKind::Closed {
                what: ENGINE,
                created_at: Some(self.site),
            }
            .into()
        }
    }

    /// The engine's name with a key, as reports show it. This runs the key's own code.
    pub(crate) fn label(&self, key: &K) -> String {
        let named = || format!("{}[{key:?}]", self.rules.name);
        let label = self.shared.contain("key's Debug", named);
        label.unwrap_or_else(|| self.rules.name.clone().into_owned())
    }

    // Other threads.

    /// Where other threads send to.
    pub(crate) fn gate(&self) -> &Arc<Gate<(K, M)>> {
        self.gate.get_or_init(|| {
            let table = self.table.borrow();
            let gate = Gate::new(
                table
                    .limits
                    .total
                    .min(table.limits.per_key.saturating_mul(16)),
            );
            if table.intake != Intake::Open {
                gate.shut(Shut::Closed);
            }
            Arc::new(gate)
        })
    }
}
