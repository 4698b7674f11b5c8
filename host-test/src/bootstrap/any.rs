//! `google.protobuf.Any`: the type of a typed configuration, and the forms of a plugin's own.

use super::fields::{Fields, Problems};
use super::problem::Place;
use super::source::base64;
use super::structure;
use super::yaml::{Node, Value};

/// The `@type` of a message.
pub(crate) struct TypeName {
    /// Full name of the message, without the URL before it.
    pub(crate) name: String,
    pub(crate) at: Place,
}

/// Takes the `@type` of a message; reports one that isn't there or isn't a type.
pub(crate) fn type_of(fields: &mut Fields<'_, '_>) -> Option<TypeName> {
    let problems = fields.problems;
    let node = fields.require("@type")?;
    let url = problems.string(node, "@type")?;
    match url.rsplit_once('/') {
        Some((_, name)) if !name.is_empty() => Some(TypeName {
            name: name.to_owned(),
            at: node.at,
        }),
        _ => {
            let message = format!("`{url}` is not a type: write type.googleapis.com/NAME");
            problems.malformed(node.at, message);
            None
        }
    }
}

/// Reads the configuration of a plugin or a VM into the bytes that the guest is given.
///
/// Envoy 1.40 unpacks a `StringValue` and a `BytesValue`; a `Struct` goes to the guest as the
/// serialized message (not as JSON, whatever its documentation says).
pub(crate) fn guest_bytes(node: &Node, what: &'static str, problems: &Problems) -> Option<Vec<u8>> {
    let mut fields = Fields::of(node, what, problems)?;
    let kind = type_of(&mut fields)?;
    let value = fields.require("value");
    fields.finish(&[]);
    let value = value?;
    match kind.name.as_str() {
        "google.protobuf.StringValue" => problems.string(value, "value").map(String::into_bytes),
        "google.protobuf.BytesValue" => {
            let text = problems.string(value, "value")?;
            let bytes = base64(&text);
            if bytes.is_none() {
                problems.malformed(value.at, "value must be base64");
            }
            bytes
        }
        "google.protobuf.Struct" => {
            let Value::Mapping(entries) = &value.value else {
                let kind = value.kind();
                problems.malformed(value.at, format!("value must be a mapping, not {kind}"));
                return None;
            };
            Some(structure::serialize(entries))
        }
        other => {
            let message = format!(
                "a configuration of type `{other}` is not supported by this gateway; supported: \
                 google.protobuf.StringValue, google.protobuf.BytesValue, google.protobuf.Struct"
            );
            problems.unsupported(kind.at, message);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::yaml;

    fn bytes(kind: &str, value: &str) -> Result<Vec<u8>, String> {
        let source =
            format!("{{\"@type\": type.googleapis.com/google.protobuf.{kind}, value: {value}}}");
        let problems = Problems::default();
        let bytes = guest_bytes(&yaml::parse(&source).unwrap(), "a configuration", &problems);
        bytes.ok_or_else(|| problems.into_inner().remove(0).message)
    }

    #[test]
    fn string_and_bytes_values_are_unpacked() {
        assert_eq!(bytes("StringValue", "'{}'").unwrap(), b"{}");
        assert_eq!(bytes("BytesValue", "AP8=").unwrap(), [0, 255]);
    }

    #[test]
    fn a_value_that_is_not_of_its_type_is_refused() {
        assert_eq!(
            bytes("StringValue", "{}").unwrap_err(),
            "value must be a string; this is a mapping"
        );
        assert_eq!(
            bytes("BytesValue", "'*'").unwrap_err(),
            "value must be base64"
        );
        assert_eq!(
            bytes("Struct", "[]").unwrap_err(),
            "value must be a mapping, not a list"
        );
    }
}
