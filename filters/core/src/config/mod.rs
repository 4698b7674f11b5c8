//! From the bytes of `on_configure` to a typed configuration, or to all that is wrong with them.
//!
//! The bytes are JSON text or a serialized `google.protobuf.Struct` (what Envoy 1.40 sends for
//! inline YAML). Both become one tree, which serde reads into a raw struct; then the caller's
//! check turns the raw struct into the typed configuration. Errors of both steps are collected.
//!
//! Raw structs derive `Deserialize` with `deny_unknown_fields` and `rename_all = "snake_case"`.
//! Enums are tagged externally; `untagged`, `flatten` and `tag` would lose the place and the cause
//! of an error. [`fields`] has types for values with a grammar of their own.

mod choice;
mod de;
#[cfg(not(target_arch = "wasm32"))]
pub mod document;
mod errors;
pub mod fields;
mod json;
mod mistake;
mod nearest;
mod place;
mod protobuf;
mod protojson;
mod repair;
mod tree;

use serde::de::DeserializeOwned;

pub use errors::{ConfigError, Errors};
use place::Findings;
pub use place::Place;
use repair::Repair;
use tree::Tree;

/// Reads a configuration: `bytes` into a raw `R`, and that by `check` into a typed `C`.
///
/// No bytes are an empty object. A field `$schema` of text is allowed at the top and ignored.
/// `check` reports what is wrong by the [`Place`] it gets; it also runs on what is left of a
/// configuration with structural errors, so that its own are found in the same go.
///
/// # Errors
/// All mistakes, of structure and of check, up to 50.
pub fn read<R, C>(bytes: &[u8], check: impl FnOnce(R, &Place<'_>) -> Option<C>) -> Result<C, Errors>
where
    R: DeserializeOwned,
{
    read_tree(parse(bytes)?, check)
}

/// Reads a configuration that users bring along from one of the proxy's own filters.
///
/// As [`read`], but with the freedoms of protobuf's JSON form: a field may be written in
/// lowerCamelCase, a number as text, and `null` is a field that isn't there.
///
/// # Errors
/// As [`read`].
pub fn read_protojson<R, C>(
    bytes: &[u8],
    check: impl FnOnce(R, &Place<'_>) -> Option<C>,
) -> Result<C, Errors>
where
    R: DeserializeOwned,
{
    let mut tree = parse(bytes)?;
    protojson::relax(&mut tree);
    read_tree(tree, check)
}

fn read_tree<R, C>(tree: Tree, check: impl FnOnce(R, &Place<'_>) -> Option<C>) -> Result<C, Errors>
where
    R: DeserializeOwned,
{
    let mut repair = Repair::new(tree);
    let raw = repair.read();
    let findings = Findings::new(repair);
    let checked = raw.and_then(|raw| check(raw, &Place::root(&findings)));
    let errors = findings.into_errors();
    match checked {
        Some(config) if errors.is_empty() => Ok(config),
        // A check that refuses without saying why: better a vague error than none.
        None if errors.is_empty() => Err(whole(ConfigError::new("refused without a reason"))),
        _ => Err(errors),
    }
}

fn parse(bytes: &[u8]) -> Result<Tree, Errors> {
    if bytes.is_empty() {
        return Ok(Tree::Object(Vec::new()));
    }
    if protobuf::is_struct(bytes) {
        return protobuf::parse(bytes).map_err(|cause| {
            whole(ConfigError::new(format!(
                "not a google.protobuf.Struct: {cause}"
            )))
        });
    }
    json::parse(bytes).map_err(|cause| {
        let error = ConfigError::new(format!("not valid JSON: {cause}"));
        whole(match bytes.trim_ascii_start().first() {
            Some(b'{') => error,
            _ => error.allowing("a JSON object, or a google.protobuf.Struct"),
        })
    })
}

fn whole(error: ConfigError) -> Errors {
    let mut errors = Errors::default();
    errors.add(error);
    errors
}
