//! A key of a keyed engine, shared by all who must name it.
//!
//! It is apart because calls, the table and reports all hold the same key, and none of them may have to clone it: that is user code.
//! The box of a plain key outlives it, so that a key that comes costs no allocation where another has gone.

use std::rc::Rc;

/// See the module's page.
pub(crate) struct KeyName<K>(Rc<K>);

impl<K> KeyName<K> {
    /// A name for this key.
    pub(crate) fn new(key: K) -> Self {
        KeyName(Rc::new(key))
    }

    /// The key.
    #[inline]
    pub(crate) fn get(&self) -> &K {
        &self.0
    }

    /// Lets the key go, and keeps the box for the next one: of a key that is nothing to be dropped, and that nobody else names.
    pub(crate) fn empty(mut self) -> Option<Blank<K>> {
        let is_plain = !std::mem::needs_drop::<K>() && Rc::get_mut(&mut self.0).is_some();
        is_plain.then_some(Blank(self.0))
    }
}

impl<K> Clone for KeyName<K> {
    #[inline]
    fn clone(&self) -> Self {
        KeyName(Rc::clone(&self.0))
    }
}

/// The box of a name whose key has gone.
pub(crate) struct Blank<K>(Rc<K>);

impl<K> Blank<K> {
    /// A name for this key, in the same box.
    #[inline]
    pub(crate) fn name(mut self, key: K) -> KeyName<K> {
        match Rc::get_mut(&mut self.0) {
            Some(place) => {
                *place = key;
                KeyName(self.0)
            }
            None => KeyName::new(key),
        }
    }
}
