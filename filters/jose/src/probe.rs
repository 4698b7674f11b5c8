//! Known answers, by which it is found out what the host can check.
//!
//! A host may lack Envoy's `verify_signature`, or have one that does less or that always says yes.
//! So at configuration it is asked about a right and a wrong signature of each kind, and trusted
//! with a kind if both answers are right.

use super::algorithm::Algorithm;
use super::compact::{Compact, MAX_TOKEN_BYTES};
use super::keys::KeySet;
use super::verify::{Check, HostCheck, Native};

/// Keys of the tokens below.
const KEYS: &str = "{\"keys\":[\
    {\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4q\
    PCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg\
    0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3q\
    Co5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FR\
    WyuXpoQ\",\"e\":\"AQAB\"},\
    {\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9\
    m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},\
    {\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"B6Jlqcx-j4a2dmWT8_uT7UYbaUhTTL0Mth6LSyqfds9urX1768AN9gkaiz\
    2mewHq\",\"y\":\"vbh_0s3qkyYki6VEYNAu_WhAbezMIkDU85YnP-qPClmgdghxhgVJpJRn9OQNEgTe\"},\
    {\"kty\":\"EC\",\"crv\":\"P-521\",\"x\":\"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_Nj\
    FZ6OvLFV1jSfS9tsz4qUxcWceqwQGk\",\"y\":\"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1W\
    DhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2\"}]}";
/// RFC 7515 appendix A.2.
const RS256: &str = "\
    eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGx\
    lLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5R\
    Zmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrn\
    byTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHW\
    EsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0ig\
    cN_IoypGlUPQGe77Rw";
/// RFC 7515 appendix A.3.
const ES256: &str = "\
    eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGx\
    lLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8I\
    SlSApmWQxfKTUJqPP3-Kg6NU1Q";
/// Made for this; there is none for P-384 in an RFC.
const ES384: &str = "\
    eyJhbGciOiJFUzM4NCJ9.UGF5bG9hZA.spiqImIAyhFd5OwgJblvvSmXRy9TPvwlslB5i3--74Eaib-aafkdRhLF\
    DVEDVrSgF2q0T32ZQxobJs8a9omld5Zdyk_d1WbxE1-dxqUalD2ugd6jgTL579DTGUbEUqIh";
/// RFC 7515 appendix A.4.
const ES512: &str = "\
    eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPW\
    ROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKv\
    U8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";

/// Finds out what the host checks.
///
/// `ask` calls the host and returns what it says of a signature, or `None` if it says nothing.
pub fn probe(mut ask: impl FnMut(&HostCheck<'_>) -> Option<bool>) -> Native {
    let Ok(keys) = KeySet::read(KEYS.into()) else {
        return Native::default();
    };
    let mut knows = |token| knows(&keys, token, &mut ask).unwrap_or(false);
    Native {
        p256: knows(ES256),
        p384: knows(ES384),
        p521: knows(ES512),
        rsa: knows(RS256),
    }
}

fn knows(
    keys: &KeySet,
    token: &str,
    ask: &mut impl FnMut(&HostCheck<'_>) -> Option<bool>,
) -> Option<bool> {
    let all = Native {
        p256: true,
        p384: true,
        p521: true,
        rsa: true,
    };
    let token = Compact::parse(token.as_bytes(), MAX_TOKEN_BYTES).ok()?;
    let key = keys.candidates(&token.header).ok()?.next()?;
    let alg: Algorithm = token.header.alg;
    let Check::Host(mut check) = key.check(alg, token.signing_input, &token.signature, all) else {
        return None;
    };
    let is_right = ask(&check)?;
    let other = [token.signing_input, b"."].concat();
    check.text = &other;
    Some(is_right && !ask(&check)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Native = Native {
        p256: false,
        p384: false,
        p521: false,
        rsa: false,
    };

    /// A host that checks as this module does, one hash at a time.
    fn honest(check: &HostCheck<'_>) -> Option<bool> {
        let tokens = [RS256, ES256, ES384, ES512];
        Some(tokens.iter().any(|token| {
            token.as_bytes().starts_with(check.text) && {
                let rest = &token.as_bytes()[check.text.len()..];
                rest.starts_with(b".")
            }
        }))
    }

    #[test]
    fn the_known_tokens_are_right_by_our_own_checks() {
        let keys = KeySet::read(KEYS.into()).unwrap();
        assert_eq!((keys.len(), keys.skipped().len()), (4, 0));
        for token in [RS256, ES256, ES384, ES512] {
            let token = Compact::parse(token.as_bytes(), MAX_TOKEN_BYTES).unwrap();
            let key = keys.candidates(&token.header).unwrap().next().unwrap();
            let check = |text| key.check(token.header.alg, text, &token.signature, NONE);
            assert_eq!(check(token.signing_input), Check::Decided(true));
            assert_eq!(check(b"another text"), Check::Decided(false));
        }
    }

    #[test]
    fn an_honest_host_is_trusted_with_what_it_knows() {
        let all = Native {
            p256: true,
            p384: true,
            p521: true,
            rsa: true,
        };
        assert_eq!(probe(honest), all);
        let without_p521 = probe(|check| honest(check).filter(|_| check.spki.len() != 158));
        assert_eq!(without_p521, Native { p521: false, ..all });
    }

    #[test]
    fn a_host_that_always_says_one_thing_is_not_trusted() {
        assert_eq!(probe(|_| Some(true)), NONE);
        assert_eq!(probe(|_| Some(false)), NONE);
        assert_eq!(probe(|_| None), NONE);
    }
}
