//! The identity provider: `provider.mjs` as a child process, and its token endpoint.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::client::{Client, Response};

/// A running provider. Dropping it ends the process.
pub(crate) struct Provider {
    child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// Its issuer, `http://` and its address.
    pub(crate) issuer: String,
    pub(crate) address: SocketAddr,
}

impl Provider {
    pub(crate) fn start() -> Self {
        let package = package();
        assert!(
            package.join("node_modules/oidc-provider").is_dir(),
            "no oidc-provider in {}: `cargo xtask setup` installs it",
            package.display()
        );
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oidc/provider.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .arg(&package)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // It warns about what a provider for production would have.
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts");
        let commands = child.stdin.take().expect("piped");
        let stdout = child.stdout.take().expect("piped");
        let mut answers = BufReader::new(stdout).lines();
        let first = answers.next().expect("it starts").expect("text");
        let first: Value = serde_json::from_str(&first).expect("JSON");
        let issuer = first["issuer"].as_str().expect("a URL").to_owned();
        let address = issuer.strip_prefix("http://").expect("a URL");
        Self {
            child,
            commands,
            answers,
            address: address.parse().expect("an address"),
            issuer,
        }
    }

    /// Has a command carried out; see `provider.mjs`.
    pub(crate) fn tell(&mut self, command: &str) -> Value {
        writeln!(self.commands, "{command}").expect("it listens");
        let answer = self.answers.next().expect("it answers").expect("text");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert!(answer.get("error").is_none(), "{command}: {answer}");
        answer
    }

    /// Makes a key of that algorithm and signs with it from now on. Returns its id.
    pub(crate) fn add_key(&mut self, algorithm: &str) -> String {
        let answer = self.tell(&format!("add {algorithm}"));
        answer["kid"].as_str().expect("a key").to_owned()
    }

    /// How often its key set was asked for.
    pub(crate) fn key_fetches(&mut self) -> u64 {
        self.tell("fetches")["keys"].as_u64().expect("a count")
    }

    /// An access token by OAuth's client credentials grant (RFC 6749 section 4.4).
    pub(crate) fn token(&self) -> String {
        let form = form(&[("grant_type", "client_credentials"), ("scope", "read")]);
        access_token(&self.post("/token", &as_service(), &form))
    }

    /// Posts a form.
    pub(crate) fn post(&self, path: &str, headers: &str, form: &str) -> Response {
        let mut client = Client::connect(self.address);
        client.send(&format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\n{headers}\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            self.address,
            form.len()
        ));
        client.response()
    }
}

/// The access token in an answer of the token endpoint.
#[track_caller]
pub(crate) fn access_token(response: &Response) -> String {
    assert_eq!(response.status, 200, "{}", response.body);
    let answer: Value = serde_json::from_str(&response.body).expect("JSON");
    answer["access_token"].as_str().expect("a token").to_owned()
}

/// The header by which the service shows who it is.
pub(crate) fn as_service() -> String {
    // `service` and its secret, each encoded for a form and both for Basic authentication.
    let credentials =
        "c2VydmljZTp0aGUlMjBzZXJ2aWNlJTI3cyUyMG93biUyMHNlY3JldCUyQyUyMGZvciUyMHRlc3Rz";
    format!("authorization: Basic {credentials}\r\n")
}

/// Pairs as a form or a query; all but letters, digits, `-`, `.` and `_` are encoded.
pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    let encode = |text: &str| {
        let encode = |byte: u8| match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        };
        text.bytes().map(encode).collect::<String>()
    };
    let pairs = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn package() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../target/tools/oidc-provider"
    ))
}
