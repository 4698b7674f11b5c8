//! One JWK (RFC 7517 section 4, RFC 7518 section 6, RFC 8037) as a [`Key`].

use std::fmt;

use crate::algorithm::Algorithm;
use crate::base64url;
use crate::json::{Kind, Value};
use crate::verify::{Curve, Key, Material, Weak};

/// Why a key of a set can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// `kty`, `crv` or `alg` isn't one that is known here.
    Foreign(&'static str),
    /// A member is missing, of a wrong type or not canonical base64url.
    Malformed(&'static str),
    /// `use` or `key_ops` says that it isn't for checking signatures.
    OtherUse,
    /// It is a secret, in a set that comes from elsewhere: whoever can read it there could sign.
    Secret,
    /// Its numbers make no key, or one that is easily broken.
    Weak(Weak),
}

/// Reads a key. Certificates that come with it (`x5c`, `x5t`, `x5u`) are not looked at: the key's own
/// numbers are what the set vouches for.
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
        Some("EC") => {
            let curve = Curve::from_name(&name_of_curve(jwk)?);
            let curve = curve.ok_or(Unusable::Foreign("`crv` isn't known"))?;
            Material::ec(curve, &bytes(jwk, "x")?, &bytes(jwk, "y")?).map_err(Unusable::Weak)
        }
        Some("OKP") => match name_of_curve(jwk)?.as_str() {
            "Ed25519" => Material::ed25519(&bytes(jwk, "x")?).map_err(Unusable::Weak),
            _ => Err(Unusable::Foreign("`crv` isn't known")),
        },
        Some("RSA") => Material::rsa(&bytes(jwk, "n")?, &bytes(jwk, "e")?).map_err(Unusable::Weak),
        Some("oct") => Material::hmac(&bytes(jwk, "k")?).map_err(Unusable::Weak),
        Some(_) => Err(Unusable::Foreign("`kty` isn't known")),
        None => Err(Unusable::Malformed("`kty` is missing")),
    }
}

fn name_of_curve(jwk: Value<'_>) -> Result<String, Unusable> {
    let name = text(jwk, "crv", "`crv` isn't a string")?;
    name.ok_or(Unusable::Malformed("`crv` is missing"))
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
    let digits = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
    let digits: Vec<u8> = digits.collect();
    let bytes = base64url::decode(&digits);
    bytes.ok_or(Unusable::Malformed(
        "a number of the key isn't base64url without padding",
    ))
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(what) | Self::Malformed(what) => f.write_str(what),
            Self::OtherUse => f.write_str("`use` or `key_ops` isn't for checking signatures"),
            Self::Secret => f.write_str("a secret doesn't belong into a set that is fetched"),
            Self::Weak(weak) => weak.fmt(f),
        }
    }
}
