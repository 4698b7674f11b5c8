//! Envoy's `DataSource`: bytes from a file, from the bootstrap itself or from the environment.

use std::fs;
use std::path::PathBuf;

use super::fields::{Fields, Problems};
use super::problem::Place;
use super::yaml::Node;

/// Where the code of a plugin comes from.
#[derive(Clone, Debug)]
pub enum Code {
    /// A file, relative to the working directory.
    File {
        /// As written.
        path: PathBuf,
        /// Where the name stands.
        at: Place,
    },
    /// In the bootstrap.
    Inline(Vec<u8>),
}

impl Code {
    /// Reads `code: {local: …}`.
    pub(crate) fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "`code`", problems)?;
        let local = fields.take("local");
        let at = fields.at;
        let remote = fields.key_place("remote");
        fields.finish(&["remote"]);
        let Some(local) = local else {
            if remote == at {
                problems.malformed(at, "`code` needs the field `local`");
            }
            return None;
        };
        match choose(local, "`local`", problems)? {
            ("filename", node) => {
                let path = PathBuf::from(problems.string(node, "filename")?);
                problems.reads(&path);
                Some(Self::File { path, at: node.at })
            }
            (name, node) => read(name, node, problems).map(Self::Inline),
        }
    }
}

/// Reads a data source into its bytes.
pub(crate) fn data_source(node: &Node, what: &'static str, problems: &Problems) -> Option<Vec<u8>> {
    let (name, node) = choose(node, what, problems)?;
    read(name, node, problems)
}

/// The one field of a data source that is set.
fn choose<'d>(
    node: &'d Node,
    what: &'static str,
    problems: &Problems,
) -> Option<(&'static str, &'d Node)> {
    let mut fields = Fields::of(node, what, problems)?;
    let chosen = fields.require_one(&[
        "filename",
        "inline_bytes",
        "inline_string",
        "environment_variable",
    ]);
    fields.finish(&["watched_directory"]);
    chosen.map(|(name, node, _)| (name, node))
}

fn read(name: &'static str, node: &Node, problems: &Problems) -> Option<Vec<u8>> {
    let text = problems.string(node, name)?;
    match name {
        "filename" => {
            problems.reads(text.as_ref());
            match fs::read(&text) {
                Ok(bytes) => Some(bytes),
                Err(error) => {
                    problems.malformed(node.at, format!("`{text}` can't be read: {error}"));
                    None
                }
            }
        }
        "inline_bytes" => {
            let bytes = base64(&text);
            if bytes.is_none() {
                problems.malformed(node.at, "inline_bytes must be base64");
            }
            bytes
        }
        "environment_variable" => match std::env::var(&text) {
            Ok(value) => Some(value.into_bytes()),
            Err(_) => {
                let message = format!("the environment has no variable `{text}`");
                problems.malformed(node.at, message);
                None
            }
        },
        _ => Some(text.into_bytes()),
    }
}

/// Decodes base64 in either alphabet, padded or not, as protobuf's JSON does.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count).to_le_bytes()[0]);
        }
    }
    // A single letter over holds six bits, which are no byte.
    (text.len() % 4 != 1).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_in_both_alphabets_with_and_without_padding() {
        assert_eq!(base64("aGVsbG8=").unwrap(), b"hello");
        assert_eq!(base64("aGVsbG8").unwrap(), b"hello");
        assert_eq!(base64("-_-_").unwrap(), base64("+/+/").unwrap());
        assert_eq!(base64("").unwrap(), b"");
        assert_eq!(base64("a"), None);
        assert_eq!(base64("a*=="), None);
    }
}
