//! Names of an object's members: each may occur once.

use std::borrow::Cow;
use std::collections::BinaryHeap;

use super::{Flaw, Kind, Node, strings};

/// Objects of more members are sorted by name; in smaller ones each name is compared with those
/// before it, which takes no memory.
const FEW: usize = 32;

/// Checks that no name occurs twice in the object at `object`, which is the last one of `nodes`.
pub(super) fn unique(nodes: &[Node], object: usize, text: &[u8]) -> Result<(), Flaw> {
    let names = || Names {
        nodes,
        at: object.saturating_add(1),
    };
    let mut is_escaped = false;
    let mut count: usize = 0;
    // One bit per name, chosen by its length and first and last letter. Names that don't share a
    // bit with another aren't compared with anything.
    let mut seen: u64 = 0;
    for name in names() {
        is_escaped |= name.is_escaped;
        count = count.saturating_add(1);
        let bit = bit(name, text);
        if seen & bit != 0 && count <= FEW && !is_escaped {
            let before = names().take_while(|other| other.start < name.start);
            for other in before {
                if raw(other, text) == raw(name, text) {
                    return Err(twice(name.start));
                }
            }
        }
        seen |= bit;
    }
    if count > FEW || is_escaped {
        return sorted(names(), text);
    }
    Ok(())
}

fn sorted<'n>(names: impl Iterator<Item = &'n Node>, text: &[u8]) -> Result<(), Flaw> {
    // A heap, since a sort is 4 KB of a module.
    let mut names: BinaryHeap<_> = names.map(|node| (plain(node, text), node.start)).collect();
    let mut last = names.pop();
    while let (Some((later, at)), Some((name, _))) = (&last, names.peek()) {
        if later == name {
            return Err(twice(*at));
        }
        last = names.pop();
    }
    Ok(())
}

/// Every other value in an object is a name.
struct Names<'n> {
    nodes: &'n [Node],
    at: usize,
}

impl<'n> Iterator for Names<'n> {
    type Item = &'n Node;

    fn next(&mut self) -> Option<&'n Node> {
        let name = self.nodes.get(self.at)?;
        debug_assert_eq!(name.kind, Kind::String);
        self.at = self.nodes.get(name.next)?.next;
        Some(name)
    }
}

fn bit(name: &Node, text: &[u8]) -> u64 {
    let raw = raw(name, text);
    let [first, last] = [raw.first(), raw.last()].map(|byte| u32::from(*byte.unwrap_or(&0)));
    let length = u32::try_from(raw.len()).unwrap_or(u32::MAX);
    let mixed = first
        .wrapping_mul(7)
        .wrapping_add(last.wrapping_mul(19))
        .wrapping_add(length.wrapping_mul(5));
    1_u64.wrapping_shl(mixed)
}

fn raw<'t>(name: &Node, text: &'t [u8]) -> &'t [u8] {
    text.get(name.start..name.end).unwrap_or_default()
}

fn plain<'t>(name: &Node, text: &'t [u8]) -> Cow<'t, [u8]> {
    let raw = raw(name, text);
    match std::str::from_utf8(raw) {
        Ok(raw) if name.is_escaped => Cow::Owned(strings::unescape(raw).into_bytes()),
        _ => Cow::Borrowed(raw),
    }
}

fn twice(at: usize) -> Flaw {
    Flaw {
        at,
        what: "a name occurs twice",
    }
}
