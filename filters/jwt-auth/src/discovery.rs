//! The document in which an issuer says where its keys are (OpenID Connect Discovery 1.0 section 4,
//! RFC 8414 section 3).

use crate::config::jwks::{Discovery, Endpoint, split_url};
use crate::jose::algorithm::Algorithm;
use crate::jose::json::{Document, Kind};
use crate::jose::keys::KeySet;

/// What a document says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// Where the keys are.
    pub keys: Endpoint,
    /// Algorithms that the issuer signs with; all where it doesn't say.
    pub algorithms: Algorithms,
}

/// A set of algorithms: a bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithms(u16);

impl Algorithms {
    /// All of them.
    pub const ALL: Self = Self(u16::MAX);

    fn of(names: impl Iterator<Item = Algorithm>) -> Self {
        let bits = names.map(|alg| Algorithm::ALL.iter().position(|other| *other == alg));
        Self(bits.flatten().fold(0, |set, bit| set | 1 << bit))
    }

    /// Returns those of the set.
    pub fn list(self) -> Vec<Algorithm> {
        let all = Algorithm::ALL.into_iter().enumerate();
        all.filter(|(bit, _)| self.0 >> bit & 1 == 1)
            .map(|(_, alg)| alg)
            .collect()
    }
}

/// Reads a document that was found at `endpoint`.
///
/// # Errors
/// If it isn't that of the issuer, or its keys can't be had through the clusters that there are.
pub fn read(
    document: Vec<u8>,
    endpoint: &Endpoint,
    expected: &Discovery,
) -> Result<Discovered, &'static str> {
    let document =
        Document::read(document).map_err(|_| "the discovery document isn't strict JSON")?;
    let text = |name| {
        let value = document.root().get(name)?;
        value.string().map(std::borrow::Cow::into_owned)
    };
    // OpenID Connect Discovery 1.0 section 4.3: exactly the issuer that was asked for.
    if text("issuer").as_deref() != Some(&*expected.issuer) {
        return Err("the discovery document is of another issuer");
    }
    let url = text("jwks_uri").ok_or("the discovery document has no jwks_uri")?;
    let url = split_url(&url).ok_or("jwks_uri in the discovery document isn't a plain URL")?;
    let (scheme, authority, path) = url;
    if endpoint.scheme == "https" && scheme != "https" {
        return Err("jwks_uri in the discovery document isn't https");
    }
    let is_near = authority.eq_ignore_ascii_case(&endpoint.authority);
    let cluster = match (&expected.jwks_cluster, is_near) {
        (Some(cluster), false) => cluster,
        (_, true) => &endpoint.cluster,
        (None, false) => return Err("jwks_uri has another host, and there is no jwks_cluster"),
    };
    let named = document.root().get("id_token_signing_alg_values_supported");
    let algorithms = match named.filter(|list| list.kind() == Kind::Array) {
        Some(list) => Algorithms::of(
            list.items()
                .filter_map(|name| Algorithm::from_name(&name.string()?)),
        ),
        None => Algorithms::ALL,
    };
    Ok(Discovered {
        keys: Endpoint {
            cluster: cluster.clone(),
            scheme,
            authority,
            path,
            timeout: endpoint.timeout,
        },
        algorithms,
    })
}

/// Writes what the workers share of a discovered key set.
pub fn pack(algorithms: Algorithms, set: &[u8]) -> Vec<u8> {
    let mut packed = algorithms.0.to_le_bytes().to_vec();
    packed.extend_from_slice(set);
    packed
}

/// Reads what [`pack`] wrote; a set whose keys are good for those algorithms alone.
pub fn unpack(packed: &[u8]) -> Option<KeySet> {
    let (algorithms, set) = packed.split_first_chunk()?;
    let mut set = KeySet::read_remote(set.to_vec()).ok()?;
    set.limit_to(&Algorithms(u16::from_le_bytes(*algorithms)).list());
    Some(set)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint {
            cluster: "idp".to_owned(),
            scheme: "https".to_owned(),
            authority: "idp.example.com".to_owned(),
            path: "/.well-known/openid-configuration".to_owned(),
            timeout: Duration::from_secs(1),
        }
    }

    fn expected(jwks_cluster: Option<&str>) -> Discovery {
        Discovery {
            issuer: "https://idp.example.com".to_owned(),
            jwks_cluster: jwks_cluster.map(str::to_owned),
        }
    }

    fn discover(json: &str, cluster: Option<&str>) -> Result<Discovered, &'static str> {
        read(json.as_bytes().to_vec(), &endpoint(), &expected(cluster))
    }

    #[test]
    fn the_document_says_where_the_keys_are_and_what_signs() {
        let found = discover(
            r#"{"issuer": "https://idp.example.com", "jwks_uri": "https://idp.example.com/keys?v=1",
                "id_token_signing_alg_values_supported": ["RS256", "none", "ES384", "XS1"]}"#,
            None,
        )
        .unwrap();
        assert_eq!(found.keys.path, "/keys?v=1");
        assert_eq!(found.keys.cluster, "idp");
        assert_eq!(
            found.algorithms.list(),
            [Algorithm::Es384, Algorithm::Rs256]
        );
    }

    #[test]
    fn an_issuer_that_differs_in_a_byte_is_another_one() {
        for issuer in [
            "https://idp.example.com/",
            "https://IDP.example.com",
            "https://evil",
            "",
        ] {
            let json =
                format!(r#"{{"issuer": "{issuer}", "jwks_uri": "https://idp.example.com/k"}}"#);
            assert!(discover(&json, None).is_err(), "{issuer}");
        }
        assert!(discover(r#"{"jwks_uri": "https://idp.example.com/k"}"#, None).is_err());
    }

    #[test]
    fn keys_elsewhere_need_a_cluster_of_their_own() {
        let json =
            r#"{"issuer": "https://idp.example.com", "jwks_uri": "https://cdn.example.com/k"}"#;
        assert!(discover(json, None).is_err());
        let found = discover(json, Some("cdn")).unwrap();
        assert_eq!(
            (&*found.keys.cluster, &*found.keys.authority),
            ("cdn", "cdn.example.com")
        );
        let near =
            r#"{"issuer": "https://idp.example.com", "jwks_uri": "https://idp.example.com/k"}"#;
        assert_eq!(discover(near, Some("cdn")).unwrap().keys.cluster, "idp");
    }

    #[test]
    fn keys_are_not_fetched_without_tls_where_the_issuer_has_it() {
        let json =
            r#"{"issuer": "https://idp.example.com", "jwks_uri": "http://idp.example.com/k"}"#;
        assert!(discover(json, None).is_err());
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for json in [
            "",
            "[]",
            "{",
            "null",
            r#"{"issuer": "https://idp.example.com"}"#,
            r#"{"issuer": "https://idp.example.com", "jwks_uri": "keys"}"#,
            r#"{"issuer": "https://idp.example.com", "issuer": "https://idp.example.com", "jwks_uri": "https://idp.example.com/k"}"#,
        ] {
            assert!(discover(json, None).is_err(), "{json}");
        }
    }

    #[test]
    fn a_packed_set_has_keys_for_its_algorithms_alone() {
        let set = br#"{"keys":[
            {"kty":"OKP","crv":"Ed25519","kid":"ed","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        let only = |alg| Algorithms::of([alg].into_iter());
        let unpacked = unpack(&pack(only(Algorithm::EdDsa), set)).unwrap();
        assert_eq!(unpacked.len(), 1);
        let header = jose::header::Header::read(br#"{"alg":"EdDSA","kid":"ed"}"#.to_vec()).unwrap();
        assert!(unpacked.candidates(&header).is_ok());
        let unpacked = unpack(&pack(only(Algorithm::Rs256), set)).unwrap();
        let refusal = unpacked.candidates(&header).unwrap_err();
        assert_eq!(refusal.reason, jose::refusal::Reason::AlgNotAllowed);
        assert!(unpack(b"").is_none() && unpack(b"\0\0{").is_none());
    }
}
