//! One JWK (RFC 7517 section 4, RFC 7518 section 6, RFC 8037) as a [`Key`].

use crate::jose::algorithm::Algorithm;
use crate::jose::base64url;
use crate::jose::json::{Kind, Value};
use crate::jose::verify::{Key, Material, Weak};

/// Why a key of a set can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// `kty`, `crv` or `alg` isn't one that is known here.
    Foreign(&'static str),
    /// A member is missing, of a wrong type or not canonical base64url.
    Malformed(&'static str),
    /// `use` or `key_ops` says that it isn't for checking signatures.
    OtherUse,
    /// Its numbers make no key, or one that is easily broken.
    Weak(Weak),
}

/// Reads a key.
pub(super) fn read(jwk: Value<'_>) -> Result<Key, Unusable> {
    if jwk.kind() != Kind::Object {
        return Err(Unusable::Malformed("a key isn't a JSON object"));
    }
    check_use(jwk)?;
    let alg = match text(jwk, "alg", "`alg` isn't a string")? {
        Some(name) => {
            let alg = Algorithm::from_name(&name);
            Some(alg.ok_or(Unusable::Foreign("`alg` isn't known"))?)
        }
        None => None,
    };
    let kid = text(jwk, "kid", "`kid` isn't a string")?.filter(|kid| !kid.is_empty());
    let material = material(jwk)?;
    Key::new(kid, alg, material).ok_or(Unusable::Foreign("`alg` isn't for this kind of key"))
}

fn material(jwk: Value<'_>) -> Result<Material, Unusable> {
    let kty = text(jwk, "kty", "`kty` isn't a string")?;
    match kty.as_deref() {
        Some("oct") => Material::hmac(&bytes(jwk, "k")?).map_err(Unusable::Weak),
        Some(_) => Err(Unusable::Foreign("`kty` isn't known")),
        None => Err(Unusable::Malformed("`kty` is missing")),
    }
}

/// Checks `use` (section 4.2) and `key_ops` (4.3), of which either may be missing.
fn check_use(jwk: Value<'_>) -> Result<(), Unusable> {
    let is_for_signatures = match jwk.get("use") {
        Some(usage) => usage.string().as_deref() == Some("sig"),
        None => true,
    };
    let may_verify = match jwk.get("key_ops") {
        Some(ops) => ops
            .items()
            .any(|op| op.string().as_deref() == Some("verify")),
        None => true,
    };
    if is_for_signatures && may_verify {
        Ok(())
    } else {
        Err(Unusable::OtherUse)
    }
}

fn text(jwk: Value<'_>, name: &str, mistake: &'static str) -> Result<Option<String>, Unusable> {
    let Some(value) = jwk.get(name) else {
        return Ok(None);
    };
    match value.string() {
        Some(text) => Ok(Some(text.into_owned())),
        None => Err(Unusable::Malformed(mistake)),
    }
}

fn bytes(jwk: Value<'_>, name: &'static str) -> Result<Vec<u8>, Unusable> {
    let text = jwk.get(name).and_then(Value::string);
    let text = text.ok_or(Unusable::Malformed("a number of the key is missing"))?;
    let bytes = base64url::decode(text.as_bytes());
    bytes.ok_or(Unusable::Malformed(
        "a number of the key isn't base64url without padding",
    ))
}
