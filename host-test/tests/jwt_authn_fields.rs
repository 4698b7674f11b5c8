//! The fields of Envoy's jwt_authn as its own binary describes them, for the table in
//! `filters/jwt-auth/MIGRATING.md`: the list that its test goes by is not typed by hand.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use filter_core::config::document::check_or_update;
use memchr::memmem;

#[path = "common/real_envoy.rs"]
mod real_envoy;

const FILTER: &str = "envoy/extensions/filters/http/jwt_authn/v3/config.proto";
/// What is configured: the filter, and a route's own settings for it.
const ROOTS: [&str; 2] = ["JwtAuthentication", "PerRouteConfig"];
const LIST: &str = "../filters/jwt-auth/tests/vectors/jwt_authn-1.40-fields.txt";

/// A message type and its fields.
type Messages = BTreeMap<String, Vec<Field>>;

struct Field {
    name: String,
    /// The message that it is; empty for all else.
    message: String,
    /// The group of which only one field may be given.
    oneof: Option<String>,
}

/// The fields of a message on the wire that are messages, texts or numbers: their numbers and bytes.
fn wire(mut rest: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        fields.push(next(&mut rest)?);
    }
    Some(fields)
}

/// One field; a number is the bytes of its varint.
fn next<'b>(rest: &mut &'b [u8]) -> Option<(u64, &'b [u8])> {
    let tag = varint(rest)?;
    let length = match tag & 7 {
        0 => {
            let digits = rest.iter().position(|byte| *byte < 0x80)?;
            digits + 1
        }
        1 => 8,
        2 => usize::try_from(varint(rest)?).ok()?,
        5 => 4,
        _ => return None,
    };
    let value = rest.split_off(..length)?;
    Some((tag >> 3, value))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = rest.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn text(fields: &[(u64, &[u8])], number: u64) -> String {
    let found = fields.iter().find(|(other, _)| *other == number);
    found.map_or_else(String::new, |(_, bytes)| {
        String::from_utf8_lossy(bytes).into_owned()
    })
}

fn all<'b>(fields: &'b [(u64, &'b [u8])], number: u64) -> impl Iterator<Item = &'b [u8]> {
    let found = fields.iter().filter(move |(other, _)| *other == number);
    found.map(|(_, bytes)| *bytes)
}

/// The `FileDescriptorProto` of a file: programs in C++ carry them as they are serialized.
fn descriptor<'b>(binary: &'b [u8], file: &str) -> Option<Vec<(u64, &'b [u8])>> {
    let length = u8::try_from(file.len()).expect("a short name");
    let start = [&[0x0a, length], file.as_bytes()].concat();
    memmem::find_iter(binary, &start).find_map(|at| {
        let mut rest = &binary[at..];
        let mut fields = Vec::new();
        // The name of the syntax comes last.
        loop {
            let (number, value) = next(&mut rest)?;
            fields.push((number, value));
            match number {
                1..=11 => {}
                12 if value == b"proto3" => return Some(fields),
                _ => return None,
            }
        }
    })
}

/// Reads a file's messages and those of all files that it imports.
fn read(binary: &[u8], file: &str) -> Messages {
    let mut messages = Messages::new();
    let mut seen = vec![file.to_owned()];
    let mut at = 0;
    while let Some(file) = seen.get(at) {
        at += 1;
        // Files without descriptors, and google's, have nothing that is followed.
        let Some(fields) = descriptor(binary, file) else {
            continue;
        };
        for import in all(&fields, 3) {
            let import = String::from_utf8_lossy(import).into_owned();
            let is_ours = import.starts_with("envoy/") || import.starts_with("xds/");
            if is_ours && !seen.contains(&import) {
                seen.push(import);
            }
        }
        let package = text(&fields, 2);
        for message in all(&fields, 4) {
            collect(message, &package, &mut messages);
        }
    }
    messages
}

/// `DescriptorProto`: 1 name, 2 fields, 3 messages within, 8 oneofs.
fn collect(message: &[u8], within: &str, messages: &mut Messages) {
    let parts = wire(message).expect("a message");
    let name = format!("{within}.{}", text(&parts, 1));
    let oneofs: Vec<_> = all(&parts, 8)
        .map(|oneof| text(&wire(oneof).expect("a message"), 1))
        .collect();
    // `FieldDescriptorProto`: 1 name, 6 type, 9 oneof.
    let fields = all(&parts, 2).map(|field| {
        let field = wire(field).expect("a message");
        let oneof = all(&field, 9).next();
        Field {
            name: text(&field, 1),
            message: text(&field, 6).trim_start_matches('.').to_owned(),
            oneof: oneof.map(|mut at| {
                let at = varint(&mut at).expect("a number");
                oneofs[usize::try_from(at).expect("an index")].clone()
            }),
        }
    });
    messages.insert(name.clone(), fields.collect());
    for inner in all(&parts, 3) {
        collect(inner, &name, messages);
    }
}

/// What is in a map: its entries are messages of a key and a value.
fn followed<'m>(messages: &'m Messages, field: &'m Field) -> &'m str {
    let entry = messages.get(&field.message);
    let entry = entry.filter(|_| field.message.ends_with("Entry"));
    let value = entry.and_then(|fields| fields.iter().find(|field| field.name == "value"));
    value.map_or(&field.message, |value| &value.message)
}

fn list(messages: &Messages) -> String {
    let package = "envoy.extensions.filters.http.jwt_authn.v3";
    let mut out = String::from(
        "# What Envoy 1.40's jwt_authn can be configured by, out of the descriptors in its binary.\n\
         # A message and its fields: name, oneof, message.\n",
    );
    let mut queue: VecDeque<_> = ROOTS.map(|root| format!("{package}.{root}")).into();
    let mut seen = Vec::from(queue.clone());
    while let Some(name) = queue.pop_front() {
        let fields = messages.get(&name).unwrap_or_else(|| panic!("{name}"));
        out.push_str(&format!("\n{name}\n"));
        for field in fields {
            let message = followed(messages, field);
            let oneof = field.oneof.as_deref().unwrap_or("-");
            let shown = if message.is_empty() { "-" } else { message };
            out.push_str(&format!("  {} {oneof} {shown}\n", field.name));
            if messages.contains_key(message) && !seen.iter().any(|other| other == message) {
                seen.push(message.to_owned());
                queue.push_back(message.to_owned());
            }
        }
    }
    out
}

#[test]
fn the_list_of_fields_is_that_of_the_binary() {
    let Some(envoy) = real_envoy::real_envoy() else {
        return;
    };
    let binary = std::fs::read(envoy).expect("it can be read");
    let messages = read(&binary, FILTER);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(LIST);
    check_or_update(path, None, &list(&messages)).unwrap();
}
