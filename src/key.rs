//! The name under which a coroutine keeps a callback until its result is waited for.
//!
//! It is apart because errors, tables and engines name keys without knowing what a key is for.
//!
//! 1. Equal content is an equal key with an equal hash: integers by value whatever their type,
//!    text whether static or owned.
//! 2. Different sorts of content are never equal: `1`, `"1"`, `'1'` and `true` are four keys.
//! 3. A fresh key equals itself and its clones, and no other key of the process.
//! 4. A clone never copies text or tuples; integers and static text do not even count references.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Names a callback within one coroutine.
///
/// A key is made from an integer, text, a `char`, a `bool`, or a tuple of two or three of these.
/// Integers compare by value across their types, and text by content. [`Key::fresh`] gives a key
/// that nothing else can equal.
///
/// `Debug` writes a key as it stands in source, so errors show `"late"` with its quotes. `Display`
/// leaves the quotes away, except inside a tuple.
///
/// ```
/// use yieldpoint::Key;
///
/// assert_eq!(Key::from(1u64), Key::from(1i32));
/// assert_eq!(Key::from("late"), Key::from(String::from("late")));
/// assert!(Key::from("late") == "late" && Key::from(1) == 1);
/// assert_ne!(Key::from("1"), Key::from(1));
///
/// let key = Key::from((1, "a"));
/// assert_eq!(format!("{key}"), r#"(1, "a")"#);
/// assert_eq!(format!("{}, {:?}", Key::from("late"), Key::from("late")), r#"late, "late""#);
/// ```
#[derive(Clone, Eq)]
pub struct Key(Content);

impl PartialEq for Key {
    /// Integers are compared in line: they are what a ledger is searched for most.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Content::Integer(one), Content::Integer(two)) => one == two,
            (one, two) => one == two,
        }
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// What a key is made of. Each value has exactly one form here, so that equality can be derived.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Content {
    /// Every integer that fits.
    Integer(i64),
    /// Only integers above `i64::MAX`.
    Large(u64),
    Char(char),
    Bool(bool),
    Text(Text),
    Tuple(Arc<[Key]>),
    /// The number that [`Key::fresh`] drew.
    Fresh(u64),
}

/// Text in either storage, compared by content.
#[derive(Clone)]
enum Text {
    Static(&'static str),
    Shared(Arc<str>),
}

const _: () = assert!(size_of::<Key>() <= 24);

const _: () = {
    const fn crosses_threads<T: Send + Sync + 'static>() {}
    crosses_threads::<Key>();
};

impl Key {
    /// A key that equals none that anybody has: [`Key::fresh`] counts from one.
    pub(crate) const NOBODYS: Key = Self(Content::Fresh(0));

    /// The integer that this is, if it is one that fits.
    #[inline]
    pub(crate) fn integer(&self) -> Option<i64> {
        match self.0 {
            Content::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// Returns a key that equals only itself and its clones.
    ///
    /// The number it prints with counts up through the process, so it may differ between two runs.
    ///
    /// ```
    /// use yieldpoint::Key;
    ///
    /// let key = Key::fresh();
    /// assert_eq!(key, key.clone());
    /// assert_ne!(key, Key::fresh());
    /// ```
    #[must_use]
    pub fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(Content::Fresh(NEXT.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Text {
    fn as_str(&self) -> &str {
        match self {
            Self::Static(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Content::Text(text) => f.write_str(text.as_str()),
            Content::Char(char) => write!(f, "{char}"),
            _ => fmt::Debug::fmt(self, f),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Content::Integer(number) => write!(f, "{number}"),
            Content::Large(number) => write!(f, "{number}"),
            Content::Char(char) => write!(f, "{char:?}"),
            Content::Bool(bool) => write!(f, "{bool}"),
            Content::Text(text) => write!(f, "{:?}", text.as_str()),
            Content::Fresh(number) => write!(f, "fresh key #{number}"),
            Content::Tuple(parts) => {
                f.write_str("(")?;
                for (index, part) in parts.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{part:?}")?;
                }
                f.write_str(")")
            }
        }
    }
}

/// Keys from integers that always fit.
macro_rules! from_small {
    ($($integer:ty)*) => {$(
        impl From<$integer> for Key {
            fn from(number: $integer) -> Self {
                Self(Content::Integer(i64::from(number)))
            }
        }
    )*};
}

from_small!(i8 i16 i32 i64 u8 u16 u32);

impl From<u64> for Key {
    fn from(number: u64) -> Self {
        Self(i64::try_from(number).map_or(Content::Large(number), Content::Integer))
    }
}

// Rust has no target where a `usize` or an `isize` is wider than 64 bits.
impl From<usize> for Key {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

impl From<isize> for Key {
    fn from(number: isize) -> Self {
        Self::from(number as i64)
    }
}

impl From<&'static str> for Key {
    fn from(text: &'static str) -> Self {
        Self(Content::Text(Text::Static(text)))
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(Content::Text(Text::Shared(text.into())))
    }
}

impl From<char> for Key {
    fn from(char: char) -> Self {
        Self(Content::Char(char))
    }
}

impl From<bool> for Key {
    fn from(bool: bool) -> Self {
        Self(Content::Bool(bool))
    }
}

impl From<&Key> for Key {
    fn from(key: &Key) -> Self {
        key.clone()
    }
}

impl<A: Into<Key>, B: Into<Key>> From<(A, B)> for Key {
    fn from((a, b): (A, B)) -> Self {
        Self(Content::Tuple([a.into(), b.into()].into()))
    }
}

impl<A: Into<Key>, B: Into<Key>, C: Into<Key>> From<(A, B, C)> for Key {
    fn from((a, b, c): (A, B, C)) -> Self {
        Self(Content::Tuple([a.into(), b.into(), c.into()].into()))
    }
}

impl PartialEq<str> for Key {
    fn eq(&self, other: &str) -> bool {
        matches!(&self.0, Content::Text(text) if text.as_str() == other)
    }
}

impl PartialEq<&str> for Key {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

/// Comparisons with a bare integer.
macro_rules! equals_integer {
    ($($integer:ty)*) => {$(
        impl PartialEq<$integer> for Key {
            fn eq(&self, other: &$integer) -> bool {
                self.0 == Key::from(*other).0
            }
        }
    )*};
}

equals_integer!(i32 u32 i64 u64 usize);

#[cfg(test)]
mod tests {
    use super::Key;
    use std::{collections::HashMap, hash::BuildHasher, hash::RandomState};

    #[test]
    fn equal_content_is_one_key_whatever_its_type() {
        let hasher = RandomState::new();
        let ones = [
            Key::from(1i8),
            Key::from(1i16),
            Key::from(1i32),
            Key::from(1i64),
            Key::from(1isize),
            Key::from(1u8),
            Key::from(1u16),
            Key::from(1u32),
            Key::from(1u64),
            Key::from(1usize),
            Key::from(&Key::from(1)),
        ];
        let late = [Key::from("late"), Key::from("late".to_owned())];
        let pairs = [
            Key::from((1u8, "a")),
            Key::from((1i64, "a".to_owned())),
            Key::from((Key::from(1), Key::from("a"))),
        ];
        for group in [&ones[..], &late[..], &pairs[..]] {
            for key in group {
                assert_eq!(key, &group[0]);
                assert_eq!(hasher.hash_one(key), hasher.hash_one(&group[0]));
            }
        }
        assert_eq!(Key::from(-1i8), Key::from(-1isize));
        assert_eq!(Key::from(u64::MAX), Key::from(u64::MAX));
    }

    #[test]
    fn different_content_is_never_one_key() {
        let keys = [
            Key::from(1),
            Key::from(-1),
            Key::from(u64::MAX),
            Key::from(i64::MAX),
            Key::from(i64::MIN),
            Key::from("1"),
            Key::from('1'),
            Key::from(true),
            Key::from(false),
            Key::from(""),
            Key::from((1, 2)),
            Key::from((2, 1)),
            Key::from((1, 2, 3)),
            Key::from(((1, 2), 3)),
            Key::from((1, (2, 3))),
            Key::fresh(),
            Key::fresh(),
        ];
        let distinct: HashMap<_, _> = keys.iter().cloned().zip(0..).collect();
        assert_eq!(distinct.len(), keys.len());
        for (key, index) in keys.iter().zip(0..) {
            assert_eq!(distinct[key], index);
        }
    }

    #[test]
    fn a_key_compares_with_bare_text_and_numbers() {
        let late = Key::from("late".to_owned());
        assert!(late == "late" && late == *"late");
        assert!(late != "early" && late != 1);
        let one = Key::from(1);
        assert!(one == 1 && one == 1u32 && one == 1i64 && one == 1u64 && one == 1usize);
        assert!(one != 2 && one != "1");
        let large = Key::from(u64::MAX);
        assert!(large == u64::MAX && large != -1);
    }

    #[test]
    fn a_fresh_key_equals_its_clones_only() {
        let key = Key::fresh();
        assert_eq!(key, key.clone());
        assert_eq!(key, Key::from(&key));
        assert_ne!(key, Key::fresh());
    }

    #[test]
    fn a_key_prints_as_a_person_wrote_it() {
        let keys = [
            Key::from(1),
            Key::from(u64::MAX),
            Key::from("la\"te"),
            Key::from('c'),
            Key::from(true),
            Key::from((1, "a")),
            Key::from((-1, ('b', false), "c".to_owned())),
        ];
        let shown: Vec<_> = keys.iter().map(|key| format!("{key} | {key:?}")).collect();
        assert_eq!(
            shown,
            [
                "1 | 1",
                "18446744073709551615 | 18446744073709551615",
                r#"la"te | "la\"te""#,
                "c | 'c'",
                "true | true",
                r#"(1, "a") | (1, "a")"#,
                r#"(-1, ('b', false), "c") | (-1, ('b', false), "c")"#,
            ]
        );
        let fresh = Key::fresh().to_string();
        let number = fresh
            .strip_prefix("fresh key #")
            .expect("a fresh key says so");
        assert!(number.parse::<u64>().expect("it has a number") > 0);
    }
}
