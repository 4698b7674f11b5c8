//! Header maps as a proxy-wasm host sees them: ordered, multi-valued, byte strings.
//!
//! Names are compared without case; `host` is an alias of `:authority`, as in Envoy. Values are
//! never validated here: a guest may write anything, and what Envoy does with it is decided where
//! the map leaves the chain.

use std::borrow::Cow;
use std::fmt;

/// An ordered multimap of header names and values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    entries: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Headers {
    /// Makes an empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a header; an existing one of that name stays.
    pub fn append(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.entries.push((
            canonical(name.as_ref()).into_owned(),
            value.as_ref().to_vec(),
        ));
    }

    /// Sets a header to one value: the first occurrence is replaced in place, others are removed.
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let name = canonical(name.as_ref());
        let mut placed = false;
        self.entries.retain_mut(|(n, v)| {
            if *n != *name {
                return true;
            }
            if placed {
                return false;
            }
            placed = true;
            *v = value.as_ref().to_vec();
            true
        });
        if !placed {
            self.entries
                .push((name.into_owned(), value.as_ref().to_vec()));
        }
    }

    /// Removes every header of that name; tells whether there was one.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) -> bool {
        let name = canonical(name.as_ref());
        let before = self.entries.len();
        self.entries.retain(|(n, _)| *n != *name);
        before != self.entries.len()
    }

    /// The first value of that name.
    pub fn first(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        let name = canonical(name.as_ref());
        self.entries
            .iter()
            .find(|(n, _)| *n == *name)
            .map(|(_, v)| v.as_slice())
    }

    /// The first value of that name as text; bytes that aren't UTF-8 are replaced.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.first(name).map(String::from_utf8_lossy)
    }

    /// All values of that name, in order.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let name = canonical(name.as_bytes()).into_owned();
        self.entries
            .iter()
            .filter(move |(n, _)| *n == name)
            .map(|(_, v)| v.as_slice())
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.entries
            .iter()
            .map(|(n, v)| (n.as_slice(), v.as_slice()))
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of all names and values, which is what `proxy_get_header_map_size` answers.
    pub fn byte_size(&self) -> usize {
        self.entries.iter().map(|(n, v)| n.len() + v.len()).sum()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(
                self.iter()
                    .map(|(n, v)| (String::from_utf8_lossy(n), String::from_utf8_lossy(v))),
            )
            .finish()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut headers = Self::new();
        for (name, value) in pairs {
            headers.append(name, value);
        }
        headers
    }
}

/// A name as the map keeps it: lower case, `host` as `:authority`.
fn canonical(name: &[u8]) -> Cow<'_, [u8]> {
    if name.eq_ignore_ascii_case(b"host") {
        return Cow::Borrowed(b":authority");
    }
    if name.iter().any(u8::is_ascii_uppercase) {
        return Cow::Owned(name.to_ascii_lowercase());
    }
    Cow::Borrowed(name)
}
