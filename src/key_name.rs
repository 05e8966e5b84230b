//! A key of a keyed engine, shared by all who must name it.
//!
//! It is apart because calls, the index and reports all hold the same key, and none of them may have to clone it: that is user code.
//! The box outlives its key, so that a key that comes costs no allocation where another has gone.

use std::rc::Rc;

/// See the module's page.
pub(crate) struct KeyName<K>(Rc<Option<K>>);

impl<K> KeyName<K> {
    /// A name for this key.
    pub(crate) fn new(key: K) -> Self {
        KeyName(Rc::new(Some(key)))
    }

    /// The key.
    #[inline]
    pub(crate) fn get(&self) -> &K {
        self.0
            .as_ref()
            .as_ref()
            .expect("only a name that nobody else holds is emptied")
    }

    /// Takes the key out if nobody else names it, and keeps the box for the next one.
    pub(crate) fn empty(mut self) -> Option<(K, Blank<K>)> {
        let key = Rc::get_mut(&mut self.0)?.take()?;
        Some((key, Blank(self.0)))
    }
}

impl<K> Clone for KeyName<K> {
    #[inline]
    fn clone(&self) -> Self {
        KeyName(Rc::clone(&self.0))
    }
}

/// The box of a name whose key has gone.
pub(crate) struct Blank<K>(Rc<Option<K>>);

impl<K> Blank<K> {
    /// A name for this key, in the same box.
    #[inline]
    pub(crate) fn name(mut self, key: K) -> KeyName<K> {
        match Rc::get_mut(&mut self.0) {
            Some(place) => {
                *place = Some(key);
                KeyName(self.0)
            }
            None => KeyName::new(key),
        }
    }
}
