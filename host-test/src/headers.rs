//! Header maps as a proxy-wasm host sees them: ordered, multi-valued, byte strings.
//!
//! Names are compared without case; `host` is an alias of `:authority`, as in Envoy. Values are
//! never validated here: a guest may write anything, and what Envoy does with it is decided where
//! the map leaves the chain.

use std::borrow::Cow;
use std::fmt;

/// An ordered multimap of header names and values.
///
/// All bytes are in one allocation and the entries point into it: a copy of a map, of which each
/// request needs several, costs two allocations instead of two per header.
#[derive(Clone, Default)]
pub struct Headers {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    coalesced: bool,
}

/// Where a name and its value are.
#[derive(Clone, Copy)]
struct Entry {
    name: Span,
    value: Span,
}

#[derive(Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
}

impl Headers {
    /// Makes an empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an empty map as Google's plugin tester keeps them: sorted by name, each name once with
    /// its values joined and in the case it came with, and `host` is a header as any other.
    pub(crate) fn coalesced() -> Self {
        Self {
            coalesced: true,
            ..Self::default()
        }
    }

    /// Whether it was made by [`Headers::coalesced`].
    pub(crate) fn is_coalesced(&self) -> bool {
        self.coalesced
    }

    /// Appends a header; an existing one of that name stays.
    pub fn append(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        if self.coalesced {
            return self.join(name.as_ref(), value.as_ref());
        }
        let name = self.store_name(name.as_ref());
        let value = self.store(value.as_ref());
        self.entries.push(Entry { name, value });
    }

    /// Appends to a coalesced map.
    fn join(&mut self, name: &[u8], value: &[u8]) {
        if let Some(known) = self.position(name) {
            let first = self.at(self.entries[known].value);
            let joined = match first {
                [] => value.to_vec(),
                first => [first, b", ", value].concat(),
            };
            self.entries[known].value = self.store(&joined);
            return self.compact();
        }
        let lower = name.to_ascii_lowercase();
        let place = self
            .iter()
            .position(|(known, _)| known.to_ascii_lowercase() > lower)
            .unwrap_or(self.entries.len());
        let name = self.store(name);
        let value = self.store(value);
        self.entries.insert(place, Entry { name, value });
    }

    /// Sets a header to one value: the first occurrence is replaced in place, others are removed.
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let name = name.as_ref();
        let Some(first) = self.position(name) else {
            return self.append(name, value);
        };
        let value = self.store(value.as_ref());
        self.entries[first].value = value;
        let name = self.canonical(name);
        let bytes = &self.bytes;
        let mut index = 0;
        self.entries.retain(|entry| {
            index += 1;
            index <= first + 1
                || !bytes[entry.name.start..entry.name.end].eq_ignore_ascii_case(name)
        });
        self.compact();
    }

    /// Removes every header of that name; tells whether there was one.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) -> bool {
        let name = self.canonical(name.as_ref());
        let before = self.entries.len();
        let bytes = &self.bytes;
        self.entries
            .retain(|entry| !bytes[entry.name.start..entry.name.end].eq_ignore_ascii_case(name));
        self.compact();
        before != self.entries.len()
    }

    /// The first value of that name.
    pub fn first(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        let at = self.position(name.as_ref())?;
        Some(self.at(self.entries[at].value))
    }

    /// The first value of that name as text; bytes that aren't UTF-8 are replaced.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.first(name).map(String::from_utf8_lossy)
    }

    /// All values of that name, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let name = self.canonical(name.as_bytes());
        self.iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.entries
            .iter()
            .map(|entry| (self.at(entry.name), self.at(entry.value)))
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
        self.iter()
            .map(|(name, value)| name.len() + value.len())
            .sum()
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        let name = self.canonical(name);
        self.entries
            .iter()
            .position(|entry| self.at(entry.name).eq_ignore_ascii_case(name))
    }

    /// The name that the map keeps for this one, but for case.
    fn canonical<'n>(&self, name: &'n [u8]) -> &'n [u8] {
        if self.coalesced {
            name
        } else {
            canonical(name)
        }
    }

    fn at(&self, span: Span) -> &[u8] {
        &self.bytes[span.start..span.end]
    }

    fn store(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Span {
            start,
            end: self.bytes.len(),
        }
    }

    /// Stores a name in lower case, and `host` as `:authority`.
    fn store_name(&mut self, name: &[u8]) -> Span {
        let span = self.store(canonical(name));
        self.bytes[span.start..span.end].make_ascii_lowercase();
        span
    }

    /// Drops bytes that no entry points at once they are the larger part, so that a guest that sets
    /// a header for ever costs no memory.
    fn compact(&mut self) {
        if self.bytes.len() > 4_096 && self.bytes.len() > 2 * self.byte_size() {
            let mut small = Self {
                coalesced: self.coalesced,
                ..Self::default()
            };
            for (name, value) in self.iter() {
                small.append(name, value);
            }
            *self = small;
        }
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

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

/// The name that a map keeps for this one, but for case.
fn canonical(name: &[u8]) -> &[u8] {
    if name.eq_ignore_ascii_case(b"host") {
        return b":authority";
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_ignore_case_and_host_is_the_authority() {
        let mut headers: Headers = [("Host", "a"), ("X-One", "1")].into_iter().collect();
        assert_eq!(headers.first(":authority"), Some(&b"a"[..]));
        assert_eq!(headers.first("x-ONE"), Some(&b"1"[..]));
        headers.set("HOST", "b");
        assert_eq!(headers.first("host"), Some(&b"b"[..]));
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn setting_replaces_in_place_and_removes_the_other_values() {
        let mut headers: Headers = [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")]
            .into_iter()
            .collect();
        headers.set("a", "longer");
        let expected: Headers = [("a", "longer"), ("b", "2"), ("c", "4")]
            .into_iter()
            .collect();
        assert_eq!(headers, expected);
    }

    #[test]
    fn a_coalesced_map_is_sorted_and_keeps_each_name_once_as_it_came() {
        let mut headers = Headers::coalesced();
        for (name, value) in [("X-B", "1"), ("Host", "h"), (":path", "/"), ("x-b", "2")] {
            headers.append(name, value);
        }
        headers.set("x-A", "");
        headers.append("X-A", "3");
        headers.set("X-b", "4");
        let shown: Vec<String> = headers
            .iter()
            .map(|(name, value)| {
                String::from_utf8_lossy(&[name, b"=", value].concat()).into_owned()
            })
            .collect();
        assert_eq!(shown, [":path=/", "Host=h", "x-A=3", "X-B=4"]);
        assert_eq!(headers.first(":authority"), None);
        assert!(headers.remove("HOST"));
    }

    #[test]
    fn a_million_changes_of_one_header_keep_the_map_small() {
        let mut headers = Headers::new();
        for n in 0..1_000_000_u32 {
            headers.set("x", n.to_le_bytes());
        }
        assert!(headers.bytes.len() < 10_000, "{}", headers.bytes.len());
        assert_eq!(headers.first("x"), Some(&999_999_u32.to_le_bytes()[..]));
    }
}
