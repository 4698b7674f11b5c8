//! Proof of possession (DPoP, RFC 9449): that whoever sends a token has the key it is bound to.
//!
//! A proof is a small token of its own in the header `DPoP`, made for one request: its own header has
//! the public key, its claims the method, the URL, the time, a name of its own and a digest of the
//! access token. [`check`] is section 4.3 but for two things: whether the proof was used before is
//! looked up by the caller ([`crate::replay`]), and nonces of the server are not asked for.

use sha2_current::{Digest as _, Sha256};

use crate::config::binding::Dpop;
use crate::jose::base64url;
use crate::jose::claims::Claims;
use crate::jose::compact::Compact;
use crate::jose::date::NumericDate;
use crate::jose::json::{Document, Value};
use crate::jose::keys::read_key;
use crate::jose::thumbprint;
use crate::jose::verify::Native;
use crate::token::{AskHost, verify_with};

/// The longest proof, in bytes: an RSA key of 8,192 bits and its signature fit.
const MOST_BYTES: usize = 8 * 1024;
/// The longest `jti`.
const MOST_ID: usize = 256;
/// Members of a JWK that are nobody else's business.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// What a proof must be about.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'r> {
    /// The request's method.
    pub method: &'r [u8],
    /// Scheme and authority of its URL.
    pub origin: (&'r [u8], &'r [u8]),
    /// Its path, without the query.
    pub path: &'r [u8],
    /// The access token that comes with it.
    pub token: &'r [u8],
    /// The thumbprint of the key that the token is bound to (`cnf.jkt`).
    pub key: &'r str,
    /// The time.
    pub now: NumericDate,
}

/// A right proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// What tells it from all others: key and name.
    pub identity: Vec<u8>,
    /// Until when it would be taken again.
    pub until: NumericDate,
}

/// Checks a proof.
///
/// # Errors
/// What is wrong with it.
pub fn check(
    proof: &[u8],
    config: &Dpop,
    expected: &Expected<'_>,
    native: Native,
    ask_host: &mut AskHost<'_>,
) -> Result<Proof, &'static str> {
    let compact = Compact::parse(proof, MOST_BYTES).map_err(|refusal| refusal.detail)?;
    let is_proof = |typ: &str| typ.eq_ignore_ascii_case("dpop+jwt");
    if !compact.header.typ.as_deref().is_some_and(is_proof) {
        return Err("the proof's `typ` isn't dpop+jwt");
    }
    if !config.algorithms.contains(&compact.header.alg) {
        return Err("the proof's algorithm isn't allowed");
    }
    let claims = Claims::read(compact.payload.clone()).map_err(|refusal| refusal.detail)?;
    let id = claims
        .id()
        .filter(|id| !id.is_empty() && id.len() <= MOST_ID);
    let id = id.ok_or("the proof has no `jti` of 1 to 256 bytes")?;
    let text = |name| claims.get(name).and_then(Value::string);
    if text("htm").is_none_or(|method| method.as_bytes() != expected.method) {
        return Err("the proof is for another method (`htm`)");
    }
    if text("htu").is_none_or(|url| !is_url(url.as_bytes(), expected)) {
        return Err("the proof is for another URL (`htu`)");
    }
    let issued = claims.issued_at().ok_or("the proof has no `iat`")?;
    let until = issued.after(config.max_age);
    let soonest = expected.now.before(config.max_age);
    if issued < soonest || issued > expected.now.after(config.max_age) {
        return Err("the proof is too old or of the future (`iat`)");
    }
    if claims.expires().is_some_and(|exp| exp <= expected.now)
        || claims
            .not_before()
            .is_some_and(|nbf| nbf > expected.now.after(config.max_age))
    {
        return Err("the proof has expired or isn't valid yet");
    }
    let digest = base64url::encode(&Sha256::digest(expected.token));
    if text("ath").is_none_or(|ath| *ath != *digest) {
        return Err("the proof is for another token (`ath`)");
    }
    let header = compact.signing_input.split(|&byte| byte == b'.').next();
    let header = header.and_then(base64url::decode).map(Document::read);
    let Some(Ok(header)) = header else {
        return Err("the proof's header can't be read");
    };
    let jwk = header.root().get("jwk").ok_or("the proof has no `jwk`")?;
    if PRIVATE.iter().any(|name| jwk.get(name).is_some()) {
        return Err("the proof gives a private key away");
    }
    if thumbprint::of(jwk).as_deref() != Some(expected.key) {
        return Err("the token is bound to another key than the proof's (`cnf.jkt`)");
    }
    let key = read_key(jwk).map_err(|_| "the proof's key can't be used")?;
    if !verify_with(&key, &compact, native, ask_host) {
        return Err("the proof's signature isn't that of its key");
    }
    let identity = format!("{} {id}", expected.key).into_bytes();
    Ok(Proof { identity, until })
}

/// Whether `htu` is the request's URL; its query and fragment don't count. Scheme and host have no
/// case, and a scheme's own port may be left out (RFC 3986 section 6.2).
fn is_url(url: &[u8], expected: &Expected<'_>) -> bool {
    let end = url.iter().position(|byte| matches!(byte, b'?' | b'#'));
    let url = url.get(..end.unwrap_or(url.len())).unwrap_or_default();
    let at = url.windows(3).position(|window| window == b"://");
    let Some((scheme, rest)) = at.and_then(|at| url.split_at_checked(at)) else {
        return false;
    };
    let rest = rest.get(3..).unwrap_or_default();
    let slash = rest.iter().position(|&byte| byte == b'/');
    let (authority, path) = rest
        .split_at_checked(slash.unwrap_or(rest.len()))
        .unwrap_or((rest, b""));
    let path: &[u8] = if path.is_empty() { b"/" } else { path };
    let bare = |authority| without_port(scheme, authority);
    let (wanted_scheme, wanted_authority) = expected.origin;
    scheme.eq_ignore_ascii_case(wanted_scheme)
        && bare(authority).eq_ignore_ascii_case(bare(wanted_authority))
        && path == expected.path
}

fn without_port<'a>(scheme: &[u8], authority: &'a [u8]) -> &'a [u8] {
    let port: &[u8] = match scheme.eq_ignore_ascii_case(b"https") {
        true => b":443",
        false => b":80",
    };
    authority.strip_suffix(port).unwrap_or(authority)
}
