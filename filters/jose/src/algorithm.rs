//! Signature algorithms by their names in `alg` (RFC 7518 section 3.1, RFC 8037, RFC 8812).
//!
//! A fixed table, compared byte by byte: `none` in any case is not in it, and neither is anything
//! that a library might map to a default.

/// An algorithm that tokens may be signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// Ed25519 (RFC 8037); Ed448 goes by the same name and isn't supported.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on secp256k1 with SHA-256 (RFC 8812).
    Es256K,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
}

/// A hash function of the SHA-2 family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// What kind of key an algorithm needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `kty` EC; the algorithm fixes the curve.
    Ec,
    /// `kty` oct.
    Hmac,
    /// `kty` OKP.
    Okp,
    /// `kty` RSA.
    Rsa,
}

impl Algorithm {
    /// All algorithms, in the order of their names.
    pub const ALL: [Self; 14] = [
        Self::EdDsa,
        Self::Es256,
        Self::Es256K,
        Self::Es384,
        Self::Es512,
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
    ];

    /// Returns the algorithm of an exact name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alg| alg.name() == name)
    }

    /// Returns the name in `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Es256K => "ES256K",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
        }
    }

    /// Returns the kind of key that the algorithm needs.
    pub const fn family(self) -> Family {
        match self {
            Self::EdDsa => Family::Okp,
            Self::Es256 | Self::Es256K | Self::Es384 | Self::Es512 => Family::Ec,
            Self::Hs256 | Self::Hs384 | Self::Hs512 => Family::Hmac,
            Self::Ps256 | Self::Ps384 | Self::Ps512 => Family::Rsa,
            Self::Rs256 | Self::Rs384 | Self::Rs512 => Family::Rsa,
        }
    }

    /// Returns the hash of the signed text. Ed25519 hashes by itself, with SHA-512.
    pub const fn hash(self) -> Hash {
        match self {
            Self::Es256 | Self::Es256K | Self::Hs256 | Self::Ps256 | Self::Rs256 => Hash::Sha256,
            Self::Es384 | Self::Hs384 | Self::Ps384 | Self::Rs384 => Hash::Sha384,
            Self::EdDsa | Self::Es512 | Self::Hs512 | Self::Ps512 | Self::Rs512 => Hash::Sha512,
        }
    }
}

impl Hash {
    /// Returns the name that the host's `verify_signature` knows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the length of a digest in bytes.
    pub const fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_lead_back_to_their_algorithm() {
        for alg in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(alg.name()), Some(alg));
        }
        assert!(Algorithm::ALL.is_sorted());
    }

    #[test]
    fn no_other_spelling_is_an_algorithm() {
        for name in [
            "", "none", "None", "nOnE", "NONE", "rs256", "RS256 ", "ES256k", "Ed25519",
        ] {
            assert_eq!(Algorithm::from_name(name), None, "{name}");
        }
    }
}
