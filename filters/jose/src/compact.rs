//! The compact serialization: three parts with dots between them (RFC 7515 section 7.1).

use crate::base64url;
use crate::header::Header;
use crate::refusal::{Reason, Refusal};

/// The longest token that [`Compact::parse`] takes unless it is told otherwise, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

const PARTS: &str = "a token is three parts with a dot between them";

/// A token whose parts are decoded. Nothing in it is true yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Compact<'t> {
    /// What it says about its signature.
    pub header: Header,
    /// What is signed, decoded: any bytes, for [`Claims::read`](crate::claims::Claims::read).
    pub payload: Vec<u8>,
    /// The signature, decoded: never empty.
    pub signature: Vec<u8>,
    /// What the signature is about: header, dot and payload as they were sent.
    pub signing_input: &'t [u8],
}

impl<'t> Compact<'t> {
    /// Splits and decodes a token of at most `max_bytes`.
    ///
    /// # Errors
    ///
    /// For a longer one, and for one that isn't three parts of canonical base64url with a header
    /// that [`Header::read`] takes.
    pub fn parse(token: &'t [u8], max_bytes: usize) -> Result<Self, Refusal> {
        if token.len() > max_bytes {
            return Err(Reason::TooLarge.because("the token is longer than `max_token_bytes`"));
        }
        let malformed = |detail| Reason::Malformed.because(detail);
        let [header, payload, signature] = split(token).ok_or_else(|| malformed(PARTS))?;
        let header = base64url::decode(header)
            .ok_or_else(|| malformed("the token's header isn't base64url without padding"))?;
        let header = Header::read(header)?;
        let payload = base64url::decode(payload)
            .ok_or_else(|| malformed("the token's payload isn't base64url without padding"))?;
        let signed = token
            .len()
            .saturating_sub(signature.len())
            .saturating_sub(1);
        let signature = base64url::decode(signature).ok_or_else(|| {
            // Five parts are an encrypted token.
            malformed(match signature.contains(&b'.') {
                true => PARTS,
                false => "the token's signature isn't base64url without padding",
            })
        })?;
        Ok(Self {
            header,
            payload,
            signature,
            signing_input: token.get(..signed).unwrap_or_default(),
        })
    }
}

/// Returns the parts, none of them empty. More dots than two are in the last one, which then isn't
/// base64url.
fn split(token: &[u8]) -> Option<[&[u8]; 3]> {
    let end = |text: &[u8]| text.iter().position(|&byte| byte == b'.');
    let (header, rest) = token.split_at_checked(end(token)?)?;
    let rest = rest.get(1..)?;
    let (payload, signature) = rest.split_at_checked(end(rest)?)?;
    let parts = [header, payload, signature.get(1..)?];
    parts.iter().all(|part| !part.is_empty()).then_some(parts)
}

impl std::fmt::Debug for Compact<'_> {
    /// Leaves out what is secret or personal.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compact")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "eyJhbGciOiJIUzI1NiJ9";

    fn parse(token: &str) -> Result<Compact<'_>, Reason> {
        Compact::parse(token.as_bytes(), MAX_TOKEN_BYTES).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn decodes_three_parts() {
        let token = format!("{HEADER}.e30.AQI");
        let compact = parse(&token).unwrap();
        assert_eq!(compact.payload, b"{}");
        assert_eq!(compact.signature, [1, 2]);
        assert_eq!(compact.signing_input, format!("{HEADER}.e30").as_bytes());
    }

    #[test]
    fn extra_dots_and_empty_parts_are_refused() {
        for token in [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            HEADER.to_owned(),
            format!("{HEADER}.e30"),
            format!("{HEADER}.e30."),
            format!("{HEADER}..AQI"),
            format!(".{HEADER}.e30.AQI"),
            format!("{HEADER}.e30.AQI."),
            format!("{HEADER}..e30.AQI"),
            format!("{HEADER}.e30..AQI"),
            format!("{HEADER}.e30.AQI.AQI"),
            format!("{HEADER}.e30.AQI.AQI.AQI"),
        ] {
            assert_eq!(parse(&token), Err(Reason::Malformed), "{token}");
        }
    }

    #[test]
    fn every_part_must_be_canonical_base64url() {
        for token in [
            format!("{HEADER}=.e30.AQI"),
            format!("{HEADER}.e30=.AQI"),
            format!("{HEADER}.e30.AQI="),
            format!("{HEADER}.e30.AQI=="),
            format!("{HEADER}.e31.AQI"),
            format!("{HEADER}.e30.AQJ"),
            format!("{HEADER} .e30.AQI"),
            format!("{HEADER}.e3 0.AQI"),
            format!("{HEADER}.e30.AQI "),
            format!(" {HEADER}.e30.AQI"),
            format!("{HEADER}.e30.+/8="),
            format!("{HEADER}.e30.A\tQI"),
        ] {
            assert_eq!(parse(&token), Err(Reason::Malformed), "{token:?}");
        }
    }

    #[test]
    fn a_token_over_the_limit_is_not_decoded() {
        let token = "!".repeat(1_000_000);
        assert_eq!(parse(&token), Err(Reason::TooLarge));
        let token = format!("{HEADER}.{}.AQI", "e30A".repeat(2_000));
        assert_eq!(
            Compact::parse(token.as_bytes(), token.len() - 1).map_err(|r| r.reason),
            Err(Reason::TooLarge)
        );
        assert!(Compact::parse(token.as_bytes(), token.len()).is_ok());
    }
}
