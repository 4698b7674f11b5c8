//! Tokens that are bound to the client's certificate (RFC 8705), over TLS with the real Envoy. Our
//! gateway has no TLS. The `openssl` program makes the certificates and is the client.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::one_filter::{OneFilter, typed};
use crate::p256_key::{Key, base64url};
use crate::process::{Gateway, Kind};
use crate::rig::{config, envoys, outcome_of, passes, refuses, token, with_keys};

/// A folder with the certificates of a gateway and of two clients, each signed by itself.
struct Certificates(PathBuf);

impl Certificates {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("penstock-certificates-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let certificates = Self(folder);
        for name in ["gateway", "ana", "eve"] {
            let (key, certificate) = (certificates.key(name), certificates.certificate(name));
            let made = openssl()
                .args(["req", "-x509", "-nodes", "-days", "7300", "-newkey", "ec"])
                .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-subj"])
                .arg(format!("/CN={name}"))
                .arg("-keyout")
                .arg(key)
                .arg("-out")
                .arg(certificate)
                .output()
                .expect(NEEDED);
            assert!(made.status.success(), "{made:?}");
        }
        let clients = ["ana", "eve"].map(|name| {
            std::fs::read_to_string(certificates.certificate(name)).expect("openssl wrote it")
        });
        std::fs::write(certificates.clients(), clients.concat()).expect("written");
        certificates
    }

    fn key(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.key"))
    }

    fn certificate(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.pem"))
    }

    /// All that the gateway trusts.
    fn clients(&self) -> PathBuf {
        self.0.join("clients.pem")
    }

    fn digest(&self, name: &str) -> Vec<u8> {
        let der = openssl()
            .args(["x509", "-outform", "DER", "-in"])
            .arg(self.certificate(name))
            .output()
            .expect(NEEDED);
        assert!(der.status.success(), "{der:?}");
        Sha256::digest(der.stdout).to_vec()
    }

    /// A token that is bound to a certificate.
    fn bind(&self, name: &str, key: &Key) -> String {
        let thumbprint = base64url(&self.digest(name));
        token(key, json!({"cnf": {"x5t#S256": thumbprint}}))
    }

    /// How the gateway's listener is secured: clients may have a certificate, and one that they have
    /// must be right.
    fn transport_socket(&self) -> Value {
        let file = |path: PathBuf| json!({"filename": path.display().to_string()});
        let context = json!({
            "common_tls_context": {
                "tls_certificates": [{
                    "certificate_chain": file(self.certificate("gateway")),
                    "private_key": file(self.key("gateway")),
                }],
                "validation_context": {"trusted_ca": file(self.clients())},
            },
        });
        json!({"name": "tls", "typed_config": typed(
            "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            context,
        )})
    }

    /// What comes of a request with this token, and these headers besides, by a client that has that
    /// certificate, or none.
    fn send(
        &self,
        gateway: &Gateway,
        client: Option<&str>,
        token: &str,
        headers: &str,
    ) -> (u16, String) {
        let mut command = openssl();
        command
            .args(["s_client", "-quiet", "-connect"])
            .arg(gateway.address("main").to_string());
        if let Some(name) = client {
            command.arg("-cert").arg(self.certificate(name));
            command.arg("-key").arg(self.key(name));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().expect(NEEDED);
        let mut stdin = child.stdin.take().expect("piped");
        let request = format!(
            "GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\
             authorization: Bearer {token}\r\n{headers}\r\n"
        );
        stdin.write_all(request.as_bytes()).expect("openssl reads");
        let mut answer = String::new();
        let mut stdout = child.stdout.take().expect("piped");
        stdout.read_to_string(&mut answer).expect("text");
        drop(stdin);
        child.wait().expect("it ends");
        let status = answer.split(' ').nth(1).unwrap_or_default();
        let status = status.parse().unwrap_or_else(|_| panic!("{answer:?}"));
        let (_, body) = answer.split_once("\r\n\r\n").expect("a response");
        outcome_of(status, body)
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const NEEDED: &str = "the program openssl is needed: install the package openssl";

fn openssl() -> Command {
    Command::new("openssl")
}

/// An Envoy that answers 200 to who has a token of the key.
fn gateway(envoy: &Kind, certificates: &Certificates, key: &Key, bound: Value) -> Gateway {
    let config = config(&with_keys(&[key], json!({"certificate_bound": bound})));
    let gateway = OneFilter {
        filter: "jwt_auth",
        config: &config,
        clusters: &[],
        transport_socket: Some(certificates.transport_socket()),
        manager: json!({
            "forward_client_cert_details": "SANITIZE_SET",
            "set_current_client_cert_details": {"subject": true},
        }),
    };
    Gateway::start(envoy, &gateway.bootstrap())
}

#[test]
fn a_token_is_good_with_the_certificate_that_it_is_bound_to_alone() {
    for envoy in envoys() {
        let (certificates, key) = (Certificates::new(), Key::new("one"));
        let bound = certificates.bind("ana", &key);
        let forged = token(&key, json!({"cnf": {"x5t#S256": "garbage"}}));
        let unbound = token(&key, json!({}));
        let digest = certificates.digest("ana");
        let ana: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let claimed = format!("x-forwarded-client-cert: Hash={ana}\r\n");
        for source in ["connection", "forwarded_header"] {
            let gateway = gateway(&envoy, &certificates, &key, json!({"source": source}));
            let send = |client, token, headers| certificates.send(&gateway, client, token, headers);
            let refused = refuses(401, "proof_failed");
            assert_eq!(send(Some("ana"), &bound, ""), passes(), "{source}");
            // Remembered or not, the certificate counts.
            for (client, headers) in [
                (Some("eve"), ""),
                (None, ""),
                (Some("eve"), &*claimed),
                (None, &*claimed),
            ] {
                let outcome = send(client, &bound, headers);
                assert_eq!(outcome, refused, "{source}: {client:?} {headers}");
            }
            assert_eq!(send(Some("ana"), &bound, ""), passes(), "{source}");
            for wrong in [&forged, &unbound] {
                assert_eq!(send(Some("ana"), wrong, ""), refused, "{source}");
            }
        }
    }
}

#[test]
fn a_token_that_is_not_bound_passes_where_that_is_allowed() {
    for envoy in envoys() {
        let (certificates, key) = (Certificates::new(), Key::new("one"));
        let gateway = gateway(&envoy, &certificates, &key, json!({"tokens": "if_bound"}));
        let send = |client, token: &str| certificates.send(&gateway, client, token, "");
        let unbound = token(&key, json!({}));
        let bound = certificates.bind("ana", &key);
        assert_eq!(send(None, &unbound), passes());
        assert_eq!(send(Some("eve"), &unbound), passes());
        assert_eq!(send(Some("ana"), &bound), passes());
        assert_eq!(send(None, &bound), refuses(401, "proof_failed"));
    }
}
