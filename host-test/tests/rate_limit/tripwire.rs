//! The real module with a tripwire before its first callback, so that a test can make it trap.
//!
//! One function is appended, and `proxy_on_request_headers` is exported from there: it traps for a
//! request with an odd number of headers to it, and hands all others on. What was compiled stays as it
//! is, byte for byte.

use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

const CALLBACK: &str = "proxy_on_request_headers";

/// From so many headers on a request makes the module trap. Envoy itself takes 100.
pub(crate) const MOST_HEADERS: usize = 77;

/// The sections that grow, or change: types aren't among them, since the callback's is there.
const FUNCTION: u8 = 3;
const EXPORT: u8 = 7;
const CODE: u8 = 10;

/// What must be known of the module.
#[derive(Default)]
struct Module {
    imported: u32,
    /// The types of its own functions.
    types: Vec<u32>,
    exports: Vec<(String, u8, u32)>,
    /// Id and content of each section.
    sections: Vec<(u8, Vec<u8>)>,
}

/// Returns the module with a tripwire.
pub(crate) fn with_tripwire(module: &[u8]) -> Vec<u8> {
    let Module {
        imported,
        types,
        mut exports,
        sections,
    } = read(module);
    let export = exports.iter_mut().find(|(name, ..)| name == CALLBACK);
    let (_, _, callback) = export.expect("the callback is exported");
    let original = *callback;
    *callback = imported + u32::try_from(types.len()).expect("few functions");
    let kind = types[usize::try_from(original - imported).expect("small")];

    let mut out = module[..8].to_vec();
    for (id, content) in sections {
        let content = match id {
            FUNCTION => with_entry(&content, &number(kind)),
            EXPORT => exports_of(&exports),
            CODE => with_entry(&content, &sized(&tripwire(original))),
            _ => content,
        };
        out.push(id);
        out.extend(sized(&content));
    }
    out
}

fn read(bytes: &[u8]) -> Module {
    let mut module = Module::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.expect("a module");
        if let Some((id, range)) = payload.as_section() {
            module.sections.push((id, bytes[range].to_vec()));
        }
        match payload {
            Payload::ImportSection(reader) => {
                let imports = reader
                    .into_imports()
                    .map(|import| import.expect("valid").ty);
                let functions = imports.filter(|ty| matches!(ty, TypeRef::Func(_)));
                module.imported = u32::try_from(functions.count()).expect("few imports");
            }
            Payload::FunctionSection(reader) => {
                module.types = reader.into_iter().map(|ty| ty.expect("valid")).collect();
            }
            Payload::ExportSection(reader) => {
                let exports = reader.into_iter().map(|export| {
                    let export = export.expect("valid");
                    let kind = match export.kind {
                        ExternalKind::Func => 0,
                        ExternalKind::Table => 1,
                        ExternalKind::Memory => 2,
                        ExternalKind::Global => 3,
                        kind => panic!("a {kind:?} is exported"),
                    };
                    (export.name.to_owned(), kind, export.index)
                });
                module.exports = exports.collect();
            }
            _ => {}
        }
    }
    module
}

/// `if (headers >= MOST_HEADERS) trap; return original(context, headers, end_of_stream);`
fn tripwire(original: u32) -> Vec<u8> {
    let (get, constant, at_least, call, end) = (0x20, 0x41, 0x4f, 0x10, 0x0b);
    // No locals; then the second parameter. The constant is signed: its last byte is below 0x40.
    let mut body = vec![0, get, 1, constant];
    body.extend([u8::try_from(MOST_HEADERS).expect("small") | 0x80, 0]);
    // if, without result; unreachable; end
    body.extend([at_least, 0x04, 0x40, 0x00, end]);
    body.extend([get, 0, get, 1, get, 2, call]);
    body.extend(number(original));
    body.push(end);
    body
}

fn exports_of(exports: &[(String, u8, u32)]) -> Vec<u8> {
    let mut content = number(u32::try_from(exports.len()).expect("few exports"));
    for (name, kind, index) in exports {
        content.extend(sized(name.as_bytes()));
        content.push(*kind);
        content.extend(number(*index));
    }
    content
}

/// A section's content, which begins with a count, with one entry more.
fn with_entry(content: &[u8], entry: &[u8]) -> Vec<u8> {
    let digits = content
        .iter()
        .position(|byte| byte & 0x80 == 0)
        .expect("a number")
        + 1;
    let (count, entries) = content.split_at(digits);
    let count = count
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 7 | u32::from(byte & 0x7f));
    [&number(count + 1)[..], entries, entry].concat()
}

/// Bytes with their length before them.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [
        &number(u32::try_from(bytes.len()).expect("small"))[..],
        bytes,
    ]
    .concat()
}

/// An unsigned number in LEB128.
fn number(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(u8::try_from(number & 0x7f).expect("7 bits") | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).expect("7 bits"));
    bytes
}
