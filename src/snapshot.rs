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
    #[cfg(test)]
    pub(crate) const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    /// The id that [`CoroutineId::to_bits`] made this number of.
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self {
            index: (bits & 0xffff_ffff) as u32,
            generation: (bits >> 32) as u32,
        }
    }

    /// The id as one number.
    pub(crate) const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
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
    /// What has come for it.
    pub state: KeyState,
}

/// What has come for a pending key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyState {
    /// Nothing yet.
    Pending,
    /// Its value is there, not yet taken.
    Arrived,
    /// Its resolver was dropped uncalled; waiting for it gives `Abandoned`.
    Abandoned,
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Arrived => "arrived",
            Self::Abandoned => "abandoned",
        })
    }
}

impl fmt::Display for PendingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} (created at {}", self.key, self.created_at)?;
        if let Some(site) = self.waited_at {
            write!(f, ", awaited at {site}")?;
        }
        match self.state {
            KeyState::Pending => f.write_str(")"),
            state => write!(f, ", {state})"),
        }
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
    /// How many timers are armed. One that is due counts until its callback is called.
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
                pending.state.to_string(),
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

#[cfg(test)]
mod tests {
    use super::{
        Activity, CoroutineId, CoroutineInfo, Human, KeyList, KeyState, Label, PendingKey, Snapshot,
    };
    use crate::{key::Key, site::Site};
    use std::{panic::Location, time::Duration};

    /// One place for everything, so that the tables do not depend on where a test stands.
    fn here() -> Site {
        Location::caller()
    }

    fn label(index: u32, name: &'static str) -> Label {
        Label::new(CoroutineId::new(index, 0), Some(name.into()), here())
    }

    fn pending(key: impl Into<Key>, waited: bool, arrived: bool) -> PendingKey {
        PendingKey {
            key: key.into(),
            created_at: here(),
            waited_at: waited.then(here),
            state: if arrived {
                KeyState::Arrived
            } else {
                KeyState::Pending
            },
        }
    }

    fn parked(on: &'static str, millis: u64) -> Activity {
        Activity::Parked {
            on,
            at: Some(here()),
            since: Duration::from_millis(millis),
        }
    }

    #[test]
    fn an_id_prints_its_generation_only_where_it_is_needed() {
        let first = CoroutineId::new(3, 0);
        let second = CoroutineId::new(3, 1);
        assert_ne!(first, second);
        assert_eq!((second.index, second.generation), (3, 1));
        assert_eq!(format!("{first} {first:?} {second}"), "#3 #3 #3.1");
    }

    #[test]
    fn a_label_prints_its_name_and_place() {
        let named = label(3, "reader");
        assert_eq!(
            named.to_string(),
            format!("reader #3 (created at {})", here())
        );
        assert_eq!(named.name(), Some("reader"));
        assert_eq!(named.id(), CoroutineId::new(3, 0));
        assert_eq!(named.created_at(), here());

        let nameless = Label::new(CoroutineId::new(4, 2), None, here());
        assert_eq!(
            nameless.to_string(),
            format!("coroutine #4.2 (created at {})", here())
        );
        assert_eq!(nameless.name(), None);
    }

    #[test]
    fn pending_keys_print_with_their_places() {
        let site = here();
        let keys = [pending("late", true, false), pending(7, false, true)];
        assert_eq!(
            KeyList(&keys).to_string(),
            format!(
                "\"late\" (created at {site}, awaited at {site}), 7 (created at {site}, arrived)"
            )
        );
        assert_eq!(KeyList(&[]).to_string(), "");
    }

    #[test]
    fn the_table_shows_who_waits_for_what() {
        let reader = CoroutineInfo {
            keys: vec![pending("reply", true, false), pending("late", false, true)],
            ..CoroutineInfo::new(label(0, "reader"), parked("wait", 4_250))
        };
        let writer = CoroutineInfo {
            cancelled: Some("shutdown".into()),
            in_cleanup: true,
            wakers: 2,
            ..CoroutineInfo::new(label(12, "writer"), parked("sleep", 130))
        };
        let waiter = CoroutineInfo {
            keys: (0..5).map(|key| pending(key, true, false)).collect(),
            ..CoroutineInfo::new(label(2, "all"), parked("wait_all", 0))
        };
        let foreign = Activity::Parked {
            on: "future",
            at: None,
            since: Duration::from_secs(60),
        };
        let table = Snapshot::new(
            vec![
                reader,
                writer,
                waiter,
                CoroutineInfo::new(label(3, "a"), foreign),
                CoroutineInfo::new(label(4, "b"), Activity::NotStarted),
                CoroutineInfo::new(label(5, "c"), Activity::Ready),
                CoroutineInfo::new(label(6, "d"), Activity::Running),
            ],
            2,
            1,
            0,
            3,
        )
        .to_string();

        let site = here().to_string();
        let created = format!("{:1$}", "created at", site.len());
        let expected = format!(
            "\
coroutine      state        waits for                    since      {created}  waiting at
reader #0      parked       wait \"reply\"                 4.2 s      {site}  {site}
  key \"reply\"  pending                                              {site}  {site}
  key \"late\"   arrived                                              {site}
writer #12     parked       sleep                        130 ms     {site}  {site}
  cancelled (shutdown), still running; in its clean-up; 2 foreign wakers alive
all #2         parked       wait_all 0, 1, 2 and 2 more  0 s        {site}  {site}
  key 0        pending                                              {site}  {site}
  key 1        pending                                              {site}  {site}
  key 2        pending                                              {site}  {site}
  key 3        pending                                              {site}  {site}
  key 4        pending                                              {site}  {site}
a #3           parked       future                       1 min 0 s  {site}
b #4           not started                                          {site}
c #5           ready                                                {site}
d #6           running                                              {site}
7 coroutines; 2 ready, 1 timer, 0 sources waited for, 3 remotes"
        );
        assert_eq!(table, expected);
    }

    #[test]
    fn a_loop_without_coroutines_says_so() {
        assert_eq!(Snapshot::default().to_string(), "nothing is running");
        assert_eq!(
            Snapshot::new(vec![], 0, 1, 1, 0).to_string(),
            "no coroutine is running; 0 ready, 1 timer, 1 source waited for, 0 remotes"
        );
    }

    #[test]
    fn durations_print_as_a_person_says_them() {
        let shown = [
            (Duration::ZERO, "0 s"),
            (Duration::from_nanos(999), "999 ns"),
            (Duration::from_micros(1), "1 µs"),
            (Duration::from_nanos(999_999), "999 µs"),
            (Duration::from_millis(1), "1 ms"),
            (Duration::from_micros(1_590), "1.5 ms"),
            (Duration::from_millis(130), "130 ms"),
            (Duration::from_nanos(999_999_999), "999.9 ms"),
            (Duration::from_secs(1), "1 s"),
            (Duration::from_millis(4_290), "4.2 s"),
            (Duration::from_millis(59_999), "59.9 s"),
            (Duration::from_secs(60), "1 min 0 s"),
            (Duration::from_secs(3_599), "59 min 59 s"),
            (Duration::from_secs(7_380), "2 h 3 min"),
        ];
        for (duration, text) in shown {
            assert_eq!(Human(duration).to_string(), text);
        }
    }
}
