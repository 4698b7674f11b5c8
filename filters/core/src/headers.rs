//! A view over the headers of a message, as the host hands them over.
//!
//! `proxy_get_header_map_pairs` answers with one block of bytes: a count, then the sizes of every
//! name and value, then the texts, each closed by a NUL (proxy-wasm ABI 0.2.1; all numbers are
//! little-endian u32). [`Headers`] checks that block once and then looks things up in place, so one
//! hostcall serves every matcher and key of a request and nothing is copied. A block that doesn't
//! add up reads as no headers at all and is flagged.

use std::borrow::Cow;

use crate::uri;

/// The headers of one message: ordered, several values to a name, values any bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    sizes: &'a [u8],
    texts: &'a [u8],
    /// A bit for each length that a name has: most names that are asked for aren't there.
    lengths: u64,
    malformed: bool,
    /// One beside those of the block.
    one: Option<(&'a [u8], &'a [u8])>,
}

impl<'a> Headers<'a> {
    /// A view of a single header.
    pub fn one(name: &'a str, value: &'a [u8]) -> Self {
        Self {
            one: Some((name.as_bytes(), value)),
            ..Self::default()
        }
    }

    /// Reads the host's block. No bytes at all are no headers, which is no fault.
    pub fn decode(block: &'a [u8]) -> Self {
        if block.is_empty() {
            return Self::default();
        }
        Self::checked(block).unwrap_or_else(|| Self {
            malformed: true,
            ..Self::default()
        })
    }

    /// Writes the block that [`Headers::decode`] reads.
    pub fn encode<'h>(pairs: impl IntoIterator<Item = (&'h [u8], &'h [u8])>) -> Vec<u8> {
        let mut count: u32 = 0;
        // A dozen headers: growing by doubling would take longer than all the rest.
        let mut sizes = Vec::with_capacity(128);
        let mut texts = Vec::with_capacity(512);
        for (name, value) in pairs {
            let (Ok(name_len), Ok(value_len)) =
                (u32::try_from(name.len()), u32::try_from(value.len()))
            else {
                continue; // Longer than the address space of a wasm module.
            };
            count = count.saturating_add(1);
            for (text, len) in [(name, name_len), (value, value_len)] {
                sizes.extend_from_slice(&len.to_le_bytes());
                texts.extend_from_slice(text);
                texts.push(0);
            }
        }
        [&count.to_le_bytes(), &*sizes, &*texts].concat()
    }

    /// Writes the block of these headers with more after them. Those that are there are copied as they
    /// lie: an answer out of a store has a dozen and gets two.
    pub fn encode_with(&self, more: &[(&[u8], &[u8])]) -> Vec<u8> {
        let added = more
            .iter()
            .filter(|(name, value)| u32::try_from(name.len().max(value.len())).is_ok());
        // Each header has eight bytes of sizes.
        let count = self.sizes.len().div_euclid(8);
        let count = count.saturating_add(added.clone().count());
        let bytes = |(name, value): &(&[u8], &[u8])| name.len().saturating_add(value.len());
        let texts = added.clone().map(bytes).fold(0, usize::saturating_add);
        let mut block = Vec::with_capacity(
            [4, count.saturating_mul(10), self.texts.len(), texts]
                .into_iter()
                .fold(0, usize::saturating_add),
        );
        let number = |number: usize, block: &mut Vec<u8>| {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            block.extend_from_slice(&number.to_le_bytes());
        };
        number(count, &mut block);
        block.extend_from_slice(self.sizes);
        for (name, value) in added.clone() {
            number(name.len(), &mut block);
            number(value.len(), &mut block);
        }
        block.extend_from_slice(self.texts);
        for (name, value) in added {
            for text in [name, value] {
                block.extend_from_slice(text);
                block.push(0);
            }
        }
        block
    }

    /// Writes the block of those headers that are to be kept, as they lie.
    pub fn encode_where(&self, mut keeps: impl FnMut(&[u8], &[u8]) -> bool) -> Vec<u8> {
        let mut sizes = Vec::with_capacity(self.sizes.len());
        let mut kept = Vec::with_capacity(self.texts.len());
        let mut block = self.iter().block;
        let mut left = self.sizes;
        while let Some((start, name_len, value_len)) = block.advance() {
            let (own, next) = left.split_at_checked(8).unwrap_or_default();
            left = next;
            let Some((name, value)) = block.texts_at(start, name_len, value_len) else {
                break; // They add up.
            };
            if keeps(name, value) {
                sizes.extend_from_slice(own);
                kept.extend_from_slice(self.texts.get(start..block.at).unwrap_or_default());
            }
        }
        let count = u32::try_from(sizes.len().div_euclid(8)).unwrap_or(u32::MAX);
        [&count.to_le_bytes(), &*sizes, &*kept].concat()
    }

    /// Whether the host's block didn't add up; the view is empty then.
    pub fn is_malformed(&self) -> bool {
        self.malformed
    }

    /// Names and values in the order they arrived.
    pub fn iter(&self) -> Pairs<'a> {
        Pairs {
            one: self.one,
            block: Walk {
                sizes: self.sizes,
                texts: self.texts,
                at: 0,
            },
        }
    }

    /// The first value of that name, compared without case.
    pub fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// All values of that name in order, compared without case.
    #[inline]
    pub fn all<'n>(&self, name: &'n str) -> Lines<'a, 'n> {
        let Pairs { one, mut block } = self.iter();
        if u64::try_from(name.len()).is_ok_and(|len| self.lengths & length_bit(len) == 0) {
            block.sizes = &[];
        }
        Lines {
            one,
            block,
            name: name.as_bytes(),
        }
    }

    /// The request's method, in the case it was sent.
    pub fn method(&self) -> Option<&'a [u8]> {
        self.first(":method")
    }

    /// The request's target with its query, as it was sent.
    pub fn target(&self) -> Option<&'a [u8]> {
        self.first(":path")
    }

    /// The request's path without query.
    pub fn path(&self) -> Option<&'a [u8]> {
        self.target().map(uri::path)
    }

    /// The host the client asked for, without port, in lower case.
    pub fn host(&self) -> Option<Cow<'a, [u8]>> {
        let authority = self.first(":authority").or_else(|| self.first("host"))?;
        Some(uri::host(authority))
    }

    /// The decoded values of a query parameter, in order; the name is compared after decoding.
    pub fn query<'n>(&self, name: &'n str) -> impl Iterator<Item = Cow<'a, [u8]>> + use<'a, 'n> {
        uri::parameters(self.target().unwrap_or_default())
            .filter(move |(candidate, _)| **candidate == *name.as_bytes())
            .map(|(_, value)| value)
    }

    /// The first value of a cookie, without quotes around it.
    pub fn cookie(&self, name: &str) -> Option<&'a [u8]> {
        self.all("cookie")
            .flat_map(|line| line.split(|&byte| byte == b';'))
            .filter_map(|pair| {
                let at = pair.iter().position(|&byte| byte == b'=')?;
                pair.split_at_checked(at)
            })
            .find(|(candidate, _)| candidate.trim_ascii() == name.as_bytes())
            .map(|(_, value)| unquoted(value.strip_prefix(b"=").unwrap_or(value).trim_ascii()))
    }

    fn checked(block: &'a [u8]) -> Option<Self> {
        let (count, rest) = split_u32(block)?;
        let (sizes, texts) = rest.split_at_checked(count.checked_mul(8)?)?;
        // In 64 bits no sum of lengths wraps: there are fewer than 2^29 of them.
        let mut expected: u64 = 0;
        let mut lengths = 0;
        let (pairs, _) = sizes.as_chunks();
        for pair in pairs {
            let (name, value) = lengths_of(*pair);
            expected = expected
                .wrapping_add(name)
                .wrapping_add(value)
                .wrapping_add(2);
            lengths |= length_bit(name);
        }
        (usize::try_from(expected) == Ok(texts.len())).then_some(Self {
            sizes,
            texts,
            lengths,
            malformed: false,
            one: None,
        })
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Pairs<'a>;

    fn into_iter(self) -> Pairs<'a> {
        self.iter()
    }
}

/// Iterator over names and values, made by [`Headers::iter`].
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    one: Option<(&'a [u8], &'a [u8])>,
    block: Walk<'a>,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(one) = self.one.take() {
            return Some(one);
        }
        let (start, name_len, value_len) = self.block.advance()?;
        self.block.texts_at(start, name_len, value_len)
    }
}

/// Iterator over the values of a name, made by [`Headers::all`].
#[derive(Clone, Debug)]
pub struct Lines<'a, 'n> {
    one: Option<(&'a [u8], &'a [u8])>,
    block: Walk<'a>,
    name: &'n [u8],
}

impl<'a> Iterator for Lines<'a, '_> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        if let Some((name, value)) = self.one.take()
            && is_same(name, self.name)
        {
            return Some(value);
        }
        // Most names differ in their length: those aren't even looked at.
        while let Some((start, name_len, value_len)) = self.block.advance() {
            if name_len == self.name.len()
                && let Some((name, value)) = self.block.texts_at(start, name_len, value_len)
                && is_same(name, self.name)
            {
                return Some(value);
            }
        }
        None
    }
}

/// A way through a block, from header to header.
#[derive(Clone, Debug)]
struct Walk<'a> {
    /// The sizes of those that are left.
    sizes: &'a [u8],
    /// All texts.
    texts: &'a [u8],
    /// Where the next one's name begins.
    at: usize,
}

impl<'a> Walk<'a> {
    /// The next header: where its texts begin, and how long name and value are.
    #[inline]
    fn advance(&mut self) -> Option<(usize, usize, usize)> {
        let (sizes, rest) = self.sizes.split_first_chunk::<8>()?;
        self.sizes = rest;
        let (name_len, value_len) = lengths_of(*sizes);
        let name_len = usize::try_from(name_len).ok()?;
        let value_len = usize::try_from(value_len).ok()?;
        let start = self.at;
        // The sum of all lengths was checked: nothing wraps.
        self.at = start
            .wrapping_add(name_len)
            .wrapping_add(value_len)
            .wrapping_add(2);
        Some((start, name_len, value_len))
    }

    #[inline]
    fn texts_at(
        &self,
        start: usize,
        name_len: usize,
        value_len: usize,
    ) -> Option<(&'a [u8], &'a [u8])> {
        let texts = self.texts.get(start..)?;
        let (name, texts) = texts.split_at_checked(name_len)?;
        let value = texts.get(1..)?.get(..value_len)?;
        Some((name, value))
    }
}

/// The lengths of a name and its value, as a block has them.
fn lengths_of(pair: [u8; 8]) -> (u64, u64) {
    let pair = u64::from_le_bytes(pair);
    (pair & u64::from(u32::MAX), pair.wrapping_shr(32))
}

/// The bit of a length among those of all names.
fn length_bit(len: u64) -> u64 {
    1_u64.wrapping_shl(u32::try_from(len & 63).unwrap_or(0))
}

fn split_u32(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

/// Whether two names are the same. Most are in lower case both, so that they are equal as they stand:
/// that takes less time to see, by four letters at once.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let [(words, letters), (other_words, other_letters)] = [one.as_chunks(), other.as_chunks()];
    let mut pairs = words.iter().zip(other_words);
    let is_equal = pairs
        .all(|(word, other)| u32::from_le_bytes(*word) == u32::from_le_bytes(*other))
        && letters
            .iter()
            .zip(other_letters)
            .all(|(letter, other)| letter == other);
    is_equal || one.eq_ignore_ascii_case(other)
}

fn unquoted(value: &[u8]) -> &[u8] {
    value
        .strip_prefix(b"\"")
        .and_then(|inner| inner.strip_suffix(b"\""))
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(pairs: &[(&str, &str)]) -> Vec<u8> {
        Headers::encode(pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())))
    }

    #[test]
    fn reads_the_layout_of_the_abi() {
        let block = b"\x02\0\0\0\x07\0\0\0\x03\0\0\0\x01\0\0\0\0\0\0\0:method\0GET\0x\0\0";
        let pairs: Vec<_> = Headers::decode(block).iter().collect();
        assert_eq!(pairs, [(&b":method"[..], &b"GET"[..]), (b"x", b"")]);
    }

    #[test]
    fn headers_with_more_are_those_and_the_others_behind_them() {
        let own = block(&[("a", "1"), ("b", "")]);
        let more: [(&[u8], &[u8]); 2] = [(b"age", b"7"), (b"x", b"")];
        let both = Headers::decode(&own).encode_with(&more);
        assert_eq!(
            both,
            block(&[("a", "1"), ("b", ""), ("age", "7"), ("x", "")])
        );
        assert_eq!(
            Headers::default().encode_with(&more),
            block(&[("age", "7"), ("x", "")])
        );
        assert_eq!(Headers::decode(&own).encode_with(&[]), own);
    }

    #[test]
    fn headers_that_are_kept_lie_as_they_lay() {
        let all = block(&[("a", "1"), ("b", ""), ("ab", "2"), ("a", "3")]);
        let headers = Headers::decode(&all);
        let without_b = headers.encode_where(|name, _| name != b"b");
        assert_eq!(without_b, block(&[("a", "1"), ("ab", "2"), ("a", "3")]));
        assert_eq!(headers.encode_where(|_, _| true), all);
        let none = block(&[]);
        assert_eq!(headers.encode_where(|_, value| value.len() > 1), none);
        assert_eq!(Headers::default().encode_where(|_, _| true), none);
    }

    #[test]
    fn names_whose_lengths_share_a_bit_are_told_apart() {
        let long = "x".repeat(65);
        let block = block(&[(&long, "1")]);
        let headers = Headers::decode(&block);
        assert_eq!(headers.first("y"), None);
        assert_eq!(headers.first(&long), Some(&b"1"[..]));
    }

    #[test]
    fn finds_names_without_case_and_all_their_values() {
        let block = block(&[("X-User", "a"), ("other", "b"), ("x-user", "c")]);
        let headers = Headers::decode(&block);
        assert_eq!(headers.first("x-uSer"), Some(&b"a"[..]));
        assert_eq!(headers.all("x-user").collect::<Vec<_>>(), [b"a", b"c"]);
        assert_eq!(headers.first("absent"), None);
    }

    #[test]
    fn names_of_any_length_are_the_same_but_for_case() {
        let name = "x-request-id-0";
        for len in 1..=name.len() {
            let name = &name[..len];
            let upper = name.to_ascii_uppercase();
            assert_eq!(Headers::one(&upper, b"a").first(name), Some(&b"a"[..]));
            for at in 0..len {
                let mut other = name.as_bytes().to_vec();
                other[at] = b'_';
                assert!(!is_same(name.as_bytes(), &other), "{at} of {len}");
                assert!(!is_same(name.as_bytes(), &other[..at]), "{at} of {len}");
            }
        }
    }

    #[test]
    fn a_single_header_is_found_as_in_a_block() {
        let headers = Headers::one("x-user", b"a");
        assert_eq!(headers.first("X-User"), Some(&b"a"[..]));
        assert_eq!(headers.first("other"), None);
        assert_eq!(headers.iter().count(), 1);
        assert!(!headers.is_malformed());
        assert_eq!(Headers::one(":path", b"/a?b=1").path(), Some(&b"/a"[..]));
    }

    #[test]
    fn a_value_may_be_any_bytes_and_64_kib_long() {
        let long = vec![0xff; 64 * 1024];
        let block = Headers::encode([(&b"x"[..], &long[..]), (b"y", b"\0\r\n\xc3\x28")]);
        let headers = Headers::decode(&block);
        assert_eq!(headers.first("x"), Some(&long[..]));
        assert_eq!(headers.first("y"), Some(&b"\0\r\n\xc3\x28"[..]));
    }

    #[test]
    fn a_block_that_does_not_add_up_is_flagged_and_empty() {
        let good = block(&[("a", "b"), ("c", "d")]);
        for cut in 1..good.len() {
            let headers = Headers::decode(&good[..cut]);
            assert!(headers.is_malformed(), "cut at {cut}");
            assert_eq!(headers.iter().count(), 0, "cut at {cut}");
        }
        for garbage in [
            &b"\xff\xff\xff\xff"[..],
            b"\0",
            b"\0\0\0\0x",
            b"\xff\xff\xff\x1f\0\0",
        ] {
            assert!(Headers::decode(garbage).is_malformed(), "{garbage:?}");
        }
    }

    #[test]
    fn no_bytes_are_no_headers_and_no_fault() {
        // Envoy answers so when the map is gone.
        let headers = Headers::decode(b"");
        assert!(!headers.is_malformed());
        assert_eq!(headers.iter().count(), 0);
    }

    #[test]
    fn the_host_comes_from_the_authority_or_the_host_header() {
        let authority = block(&[("host", "other"), (":authority", "API.Example.com:8443")]);
        let host = block(&[("Host", "example.com")]);
        assert_eq!(
            Headers::decode(&authority).host().as_deref(),
            Some(&b"api.example.com"[..])
        );
        assert_eq!(
            Headers::decode(&host).host().as_deref(),
            Some(&b"example.com"[..])
        );
    }

    #[test]
    fn cookies_are_found_in_any_line_and_position() {
        let block = block(&[
            ("cookie", "a=1; session=abc=="),
            ("cookie", "b = \"two\" ;flag"),
        ]);
        let headers = Headers::decode(&block);
        assert_eq!(headers.cookie("session"), Some(&b"abc=="[..]));
        assert_eq!(headers.cookie("b"), Some(&b"two"[..]));
        assert_eq!(headers.cookie("flag"), None);
        assert_eq!(headers.cookie("Session"), None);
    }

    #[test]
    fn query_parameters_are_decoded() {
        let block = block(&[(":path", "/p?a=1&%61=x%20y&b=&a=3")]);
        let headers = Headers::decode(&block);
        let values: Vec<_> = headers.query("a").collect();
        assert_eq!(values, [&b"1"[..], b"x y", b"3"]);
        assert_eq!(headers.query("b").next().as_deref(), Some(&b""[..]));
        assert_eq!(headers.query("c").next(), None);
        assert_eq!(headers.path(), Some(&b"/p"[..]));
    }
}
