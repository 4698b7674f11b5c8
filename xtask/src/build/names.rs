//! Makes the function names of a module readable, and shorter.
//!
//! Envoy and host-test print them in the backtrace of a trap. Mangled they are a fifth of a module; as
//! `rate_limit::policy::Policy::claim` they are half of that and need no tool to be read, and as
//! `Policy::claim` a quarter, and still tell where they are.

use rustc_demangle::demangle;

use crate::build::section::{self, Malformed, Reader, Section, write_name, write_number};

/// The custom section with names, and its part with those of functions.
const NAMES: &str = "name";
const FUNCTIONS: u8 = 1;

/// Names are cut after so many bytes: what follows are generic arguments of generic arguments.
const LONGEST: usize = 120;

/// Returns the module with its functions' names demangled. Names of anything else are dropped: no
/// host shows them.
///
/// # Errors
///
/// For malformed bytes.
pub(crate) fn shorten(module: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut sections = section::split(module)?;
    for section in &mut sections {
        if let Some(functions) = functions(section)? {
            section.payload = write(&functions).into();
        }
    }
    Ok(section::join(&sections))
}

/// The function names of a section, if it is the one that has them.
fn functions(section: &Section<'_>) -> Result<Option<Vec<(usize, String)>>, Malformed> {
    let mut reader = Reader::new(&section.payload);
    if section.id != section::CUSTOM || reader.name()? != NAMES {
        return Ok(None);
    }
    while !reader.is_empty() {
        let kind = reader.byte()?;
        let length = reader.number()?;
        let part = reader.take(length)?;
        if kind == FUNCTIONS {
            let mut part = Reader::new(part);
            let count = part.number()?;
            let names = (0..count).map(|_| Ok((part.number()?, readable(part.name()?))));
            return names.collect::<Result<_, _>>().map(Some);
        }
    }
    Ok(Some(Vec::new()))
}

/// A name without mangling, without the hash that tells equal ones apart, and without the way there.
fn readable(name: &str) -> String {
    let mut name = short(&format!("{:#}", demangle(name)));
    if name.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|&at| name.is_char_boundary(at));
        name.truncate(end.unwrap_or_default());
    }
    name
}

/// Keeps the last two names of each path, and of `<Type as Trait>::method` the type and the method.
fn short(name: &str) -> String {
    let (mut out, mut rest) = match of_trait(name) {
        Some((implementer, method)) => (short(implementer), method),
        None => (String::new(), name),
    };
    while let Some(next) = rest.chars().next() {
        let is_path = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '$');
        let end = rest.find(|c| !is_path(c)).unwrap_or(rest.len());
        let (path, after) = rest.split_at(if end > 0 { end } else { next.len_utf8() });
        out.push_str(last_two(path));
        rest = after;
    }
    out
}

fn last_two(path: &str) -> &str {
    // What goes on after generic arguments is a path's end already.
    let cut = path.rmatch_indices("::").nth(1);
    match cut {
        Some((at, parting)) if !path.starts_with(parting) => &path[at + parting.len()..],
        _ => path,
    }
}

/// Splits `<Type as Trait>::method` into `Type` and `::method`.
fn of_trait(name: &str) -> Option<(&str, &str)> {
    let inner = name.strip_prefix('<')?;
    let (mut depth, mut trait_from, mut before) = (0_u32, None, ' ');
    for (at, c) in inner.char_indices() {
        match c {
            '<' => depth += 1,
            // The arrow of a function's type closes nothing.
            '>' if before == '-' => {}
            '>' if depth == 0 => return Some((&inner[..trait_from?], &inner[at + 1..])),
            '>' => depth -= 1,
            ' ' if depth == 0 && inner[at..].starts_with(" as ") => trait_from = Some(at),
            _ => {}
        }
        before = c;
    }
    None
}

fn write(functions: &[(usize, String)]) -> Vec<u8> {
    let mut part = Vec::new();
    write_number(&mut part, functions.len());
    for (index, name) in functions {
        write_number(&mut part, *index);
        write_name(&mut part, name);
    }
    let mut payload = Vec::new();
    write_name(&mut payload, NAMES);
    payload.push(FUNCTIONS);
    write_number(&mut payload, part.len());
    payload.extend(part);
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(functions: &[(usize, &str)]) -> Vec<u8> {
        let owned: Vec<_> = functions
            .iter()
            .map(|(index, name)| (*index, (*name).to_owned()))
            .collect();
        let names = Section {
            id: section::CUSTOM,
            payload: write(&owned).into(),
        };
        let other = Section {
            id: 5,
            payload: vec![1, 0, 1].into(),
        };
        section::join(&[other, names])
    }

    #[test]
    fn names_are_demangled_and_lose_their_hash() {
        let before = module(&[
            (3, "_ZN10rate_limit6policy6Policy5claim17h0123456789abcdefE"),
            (9, "malloc"),
        ]);
        let after = module(&[(3, "Policy::claim"), (9, "malloc")]);
        assert_eq!(shorten(&before), Ok(after));
    }

    #[test]
    fn names_tell_type_and_function_and_not_the_way_there() {
        let rows = [
            ("malloc", "malloc"),
            ("core::str::slice_error_fail", "str::slice_error_fail"),
            (
                "<a::b::Root as sdk::traits::RootContext>::on_tick",
                "b::Root::on_tick",
            ),
            (
                "<a::Of<b::c::D> as x::From<fn(u8) -> y::z::W>>::from",
                "a::Of<c::D>::from",
            ),
            (
                "std::map::HashMap<K,V>::insert::{{closure}}",
                "map::HashMap<K,V>::insert::{{closure}}",
            ),
            (
                "a::impls::<impl b::c::Fn<A> for &mut F>::call",
                "impls::<impl c::Fn<A> for &mut F>::call",
            ),
            ("<a::b::C>::d", "<b::C>::d"),
        ];
        for (long, expected) in rows {
            assert_eq!(short(long), expected, "{long}");
        }
    }

    #[test]
    fn very_long_names_are_cut() {
        let long = "x".repeat(500);
        let after = module(&[(0, &long[..LONGEST])]);
        assert_eq!(shorten(&module(&[(0, &long)])), Ok(after));
    }

    #[test]
    fn a_module_without_names_stays_as_it_is() {
        let bare = section::join(&[Section {
            id: 5,
            payload: vec![1, 0, 1].into(),
        }]);
        assert_eq!(shorten(&bare), Ok(bare.clone()));
    }

    #[test]
    fn a_cut_off_name_section_is_refused() {
        let mut payload = Vec::new();
        write_name(&mut payload, NAMES);
        payload.extend([FUNCTIONS, 9, 1]);
        let broken = section::join(&[Section {
            id: section::CUSTOM,
            payload: payload.into(),
        }]);
        assert!(shorten(&broken).is_err());
    }
}
