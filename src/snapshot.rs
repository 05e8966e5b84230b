//! What a loop and its coroutines are doing, as plain data and as a table.
//!
//! It is apart because it is a picture: it is taken in one piece, holds no door to the loop, and
//! can be kept, printed or sent to another thread after everything in it has moved on.
//!
//! 1. Taking or printing it runs no code of the user.
//! 2. A [`CoroutineId`] never names a later coroutine.
//! 3. Every coroutine and every key is shown with the place where it was created.

use crate::{key::Key, site::Site};
use std::{borrow::Cow, fmt, time::Duration};

/// Names one coroutine of one loop.
///
/// It never names a later coroutine: when a place is used again its generation is another one. It
/// prints as `#3`, and as `#3.1` for the next coroutine in the same place.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CoroutineId {
    /// The place in the loop's table.
    index: u32,
    /// How many coroutines had this place before.
    generation: u32,
}

impl CoroutineId {
    pub(crate) const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    pub(crate) const fn index(self) -> u32 {
        self.index
    }

    pub(crate) const fn generation(self) -> u32 {
        self.generation
    }
}

impl fmt::Display for CoroutineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation {
            0 => write!(f, "#{}", self.index),
            generation => write!(f, "#{}.{generation}", self.index),
        }
    }
}

impl fmt::Debug for CoroutineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Says which coroutine is meant, to a person: its id, its name if it has one, and where it was
/// created.
///
/// It prints as `reader #3 (created at src/main.rs:12:5)`, or `coroutine #3 (…)` without a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The id, which outlives the coroutine.
    id: CoroutineId,
    /// The name it was given, if any.
    name: Option<Cow<'static, str>>,
    /// Where it was spawned.
    created_at: Site,
}

impl Label {
    pub(crate) const fn new(
        id: CoroutineId,
        name: Option<Cow<'static, str>>,
        created_at: Site,
    ) -> Self {
        Self {
            id,
            name,
            created_at,
        }
    }

    /// Returns the coroutine's id.
    #[must_use]
    pub const fn id(&self) -> CoroutineId {
        self.id
    }

    /// Returns the name that the coroutine was given, if any.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns where the coroutine was spawned.
    #[must_use]
    pub const fn created_at(&self) -> Site {
        self.created_at
    }

    /// The label without its site, for a table that has a column for sites.
    fn short(&self) -> String {
        format!("{} {}", self.name().unwrap_or("coroutine"), self.id)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (created at {})", self.short(), self.created_at)
    }
}

/// A key that its coroutine has neither waited for to the end nor forgotten.
///
/// It prints as `"late" (created at A, awaited at B)`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingKey {
    /// The key.
    pub key: Key,
    /// Where its callback was created.
    pub created_at: Site,
    /// Where the coroutine waits for it now, if it does.
    pub waited_at: Option<Site>,
    /// Whether its result is there, not yet taken.
    pub arrived: bool,
}

impl fmt::Display for PendingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} (created at {}", self.key, self.created_at)?;
        if let Some(site) = self.waited_at {
            write!(f, ", awaited at {site}")?;
        }
        f.write_str(if self.arrived { ", arrived)" } else { ")" })
    }
}

/// Keys in a sentence, with a comma between them.
pub(crate) struct KeyList<'a>(pub(crate) &'a [PendingKey]);

impl fmt::Display for KeyList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, key) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{key}")?;
        }
        Ok(())
    }
}

/// What one coroutine is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activity {
    /// It was spawned and has not run yet.
    NotStarted,
    /// It is queued and runs in this turn or the next.
    Ready,
    /// It is the one that runs now.
    Running,
    /// It gave way to the loop and waits.
    Parked {
        /// The kind of yield-point it waits in, such as `wait`.
        on: &'static str,
        /// Where in the source it waits, if that is known.
        at: Option<Site>,
        /// How long it has waited, by the loop's clock at its last look.
        since: Duration,
    },
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotStarted => "not started",
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Parked { .. } => "parked",
        })
    }
}

/// One coroutine in a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoroutineInfo {
    /// Which coroutine this is.
    pub label: Label,
    /// What it is doing.
    pub activity: Activity,
    /// Its pending keys, in the order of their creation.
    pub keys: Vec<PendingKey>,
    /// The reason of its cancel, if it was cancelled and is still running.
    pub cancelled: Option<Cow<'static, str>>,
    /// Whether it runs its clean-up, where a cancelled coroutine may still wait.
    pub in_cleanup: bool,
    /// How many clones of its wakers foreign code holds.
    pub wakers: usize,
}

impl CoroutineInfo {
    /// A coroutine that is not cancelled, holds no key, and whose wakers nobody has.
    pub(crate) const fn new(label: Label, activity: Activity) -> Self {
        Self {
            label,
            activity,
            keys: Vec::new(),
            cancelled: None,
            in_cleanup: false,
            wakers: 0,
        }
    }

    /// What it waits for: the kind of yield-point, then the keys it awaits there.
    fn waits_for(&self) -> String {
        let Activity::Parked { on, .. } = self.activity else {
            return String::new();
        };
        let awaited: Vec<_> = self
            .keys
            .iter()
            .filter(|pending| pending.waited_at.is_some())
            .map(|pending| format!("{:?}", pending.key))
            .collect();
        let (named, rest) = awaited.split_at(awaited.len().min(3));
        let named = named.join(", ");
        match rest.len() {
            0 => format!("{on} {named}").trim_end().to_owned(),
            more => format!("{on} {named} and {more} more"),
        }
    }

    /// What no column has room for.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(reason) = &self.cancelled {
            notes.push(format!("cancelled ({reason}), still running"));
        }
        if self.in_cleanup {
            notes.push("in its clean-up".to_owned());
        }
        if self.wakers > 0 {
            notes.push(format!("{} alive", count(self.wakers, "foreign waker")));
        }
        notes
    }
}

/// Shows all coroutines of a loop at one moment.
///
/// It prints as a table for a person: a line for each coroutine; below it, indented, its pending
/// keys and what else is to be said; then the counts.
///
/// ```
/// use yieldpoint::Snapshot;
///
/// let snapshot = Snapshot::default();
/// assert!(snapshot.coroutines.is_empty());
/// assert_eq!(snapshot.to_string(), "nothing is running");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The coroutines that have not ended, in the order of the loop's table.
    pub coroutines: Vec<CoroutineInfo>,
    /// How many coroutines and callbacks are queued to run.
    pub ready: usize,
    /// How many timers are armed.
    pub timers: usize,
    /// How many I/O sources somebody waits for.
    pub sources_waited: usize,
    /// How many doors other threads hold that count as hope; weak ones do not.
    pub remotes: usize,
}

impl Snapshot {
    pub(crate) const fn new(
        coroutines: Vec<CoroutineInfo>,
        ready: usize,
        timers: usize,
        sources_waited: usize,
        remotes: usize,
    ) -> Self {
        Self {
            coroutines,
            ready,
            timers,
            sources_waited,
            remotes,
        }
    }

    /// The last line: how much else there is.
    fn counts(&self) -> String {
        [
            format!("{} ready", self.ready),
            count(self.timers, "timer"),
            format!("{} waited for", count(self.sources_waited, "source")),
            count(self.remotes, "remote"),
        ]
        .join(", ")
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return f.write_str("nothing is running");
        }
        if self.coroutines.is_empty() {
            return write!(f, "no coroutine is running; {}", self.counts());
        }
        let mut table = Table::default();
        table.row(HEADINGS.map(str::to_owned));
        for coroutine in &self.coroutines {
            table.coroutine(coroutine);
        }
        let running = count(self.coroutines.len(), "coroutine");
        write!(f, "{table}{running}; {}", self.counts())
    }
}

/// The columns of the table.
const HEADINGS: [&str; 6] = [
    "coroutine",
    "state",
    "waits for",
    "since",
    "created at",
    "waiting at",
];

/// Lines that print with their columns aligned.
#[derive(Default)]
struct Table(Vec<Line>);

enum Line {
    Row([String; HEADINGS.len()]),
    /// Indented text that keeps to no column.
    Note(String),
}

impl Table {
    fn row(&mut self, cells: [String; HEADINGS.len()]) {
        self.0.push(Line::Row(cells));
    }

    fn coroutine(&mut self, coroutine: &CoroutineInfo) {
        let (since, waiting_at) = match coroutine.activity {
            Activity::Parked { at, since, .. } => (Human(since).to_string(), site_or_blank(at)),
            _ => (String::new(), String::new()),
        };
        self.row([
            coroutine.label.short(),
            coroutine.activity.to_string(),
            coroutine.waits_for(),
            since,
            coroutine.label.created_at.to_string(),
            waiting_at,
        ]);
        for pending in &coroutine.keys {
            self.row([
                format!("  key {:?}", pending.key),
                if pending.arrived {
                    "arrived"
                } else {
                    "pending"
                }
                .to_owned(),
                String::new(),
                String::new(),
                pending.created_at.to_string(),
                site_or_blank(pending.waited_at),
            ]);
        }
        let notes = coroutine.notes();
        if !notes.is_empty() {
            self.0.push(Line::Note(notes.join("; ")));
        }
    }

    fn widths(&self) -> [usize; HEADINGS.len()] {
        let mut widths = [0; HEADINGS.len()];
        for line in &self.0 {
            if let Line::Row(cells) = line {
                for (width, cell) in widths.iter_mut().zip(cells) {
                    *width = (*width).max(cell.chars().count());
                }
            }
        }
        widths
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for line in &self.0 {
            match line {
                Line::Note(note) => writeln!(f, "  {note}")?,
                Line::Row(cells) => {
                    let padded: Vec<_> = cells
                        .iter()
                        .zip(widths)
                        .map(|(cell, width)| format!("{cell:width$}"))
                        .collect();
                    writeln!(f, "{}", padded.join("  ").trim_end())?;
                }
            }
        }
        Ok(())
    }
}

fn site_or_blank(site: Option<Site>) -> String {
    site.map(ToString::to_string).unwrap_or_default()
}

/// A number and its noun: `1 timer`, `2 timers`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// A duration as a person says it, rounded down: `130 ms`, `4.2 s`, `3 min 5 s`.
pub(crate) struct Human(pub(crate) Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let nanos = self.0.subsec_nanos();
        match (seconds, nanos) {
            (0, 0) => f.write_str("0 s"),
            (0, 1..1_000) => write!(f, "{nanos} ns"),
            (0, 1_000..1_000_000) => write!(f, "{} µs", nanos / 1_000),
            (0, _) => tenths(f, u64::from(nanos / 100_000), "ms"),
            (1..60, _) => tenths(f, seconds * 10 + u64::from(nanos / 100_000_000), "s"),
            (60..3_600, _) => write!(f, "{} min {} s", seconds / 60, seconds % 60),
            _ => write!(f, "{} h {} min", seconds / 3_600, seconds / 60 % 60),
        }
    }
}

/// Writes a number of tenths, without the fraction where it is zero.
fn tenths(f: &mut fmt::Formatter<'_>, number: u64, unit: &str) -> fmt::Result {
    match number % 10 {
        0 => write!(f, "{} {unit}", number / 10),
        fraction => write!(f, "{}.{fraction} {unit}", number / 10),
    }
}
