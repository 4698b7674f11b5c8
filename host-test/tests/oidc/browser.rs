//! A user with a browser: logs in at the provider, consents, and is sent back with a code.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sha2::{Digest, Sha256};

use crate::client::{Client, Response};
use crate::provider::{Provider, form};
use crate::token;

/// Where the provider sends users back to.
const CALLBACK: &str = "https://shop.example.com/callback";
/// What only the program that began the flow knows (RFC 7636).
const VERIFIER: &str = "a-verifier-of-no-less-than-forty-three-letters-for-tests";

/// A browser that knows the provider.
pub(crate) struct Browser {
    address: SocketAddr,
    issuer: String,
    cookies: BTreeMap<String, String>,
}

/// What the provider sent the user back with.
#[derive(Debug)]
pub(crate) struct Code(String);

impl Browser {
    pub(crate) fn new(provider: &Provider) -> Self {
        Self {
            address: provider.address,
            issuer: provider.issuer.clone(),
            cookies: BTreeMap::new(),
        }
    }

    /// Lets the client `shop` use a service in the name of a user, who logs in and consents as the
    /// provider asks.
    pub(crate) fn authorize(&mut self, user: &str, resource: &str) -> Code {
        let challenge = token::encode(&Sha256::digest(VERIFIER));
        let query = form(&[
            ("client_id", "shop"),
            ("response_type", "code"),
            ("redirect_uri", CALLBACK),
            ("scope", "openid read"),
            ("resource", resource),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("state", "a-state"),
        ]);
        let mut response = self.get(&format!("/auth?{query}"));
        let mut prompts = Vec::new();
        loop {
            let location = response.header("location");
            let location = location.unwrap_or_else(|| panic!("{response:?}"));
            if let Some(query) = location.strip_prefix(&format!("{CALLBACK}?")) {
                assert!(
                    prompts.contains(&"consent".to_owned()),
                    "nobody asked the user: {prompts:?}"
                );
                return Code(code(query));
            }
            let path = location.strip_prefix(&self.issuer).unwrap_or(location);
            let path = path.to_owned();
            response = self.get(&path);
            if response.status == 200 {
                let prompt = prompt(&response.body);
                let answer = form(&[("prompt", &prompt), ("login", user), ("password", "any")]);
                response = self.post(&path, &answer);
                prompts.push(prompt);
            }
        }
    }

    fn get(&mut self, path: &str) -> Response {
        self.request("GET", path, "")
    }

    fn post(&mut self, path: &str, form: &str) -> Response {
        self.request("POST", path, form)
    }

    fn request(&mut self, method: &str, path: &str, form: &str) -> Response {
        let cookies = self.cookies.iter();
        let cookies: Vec<_> = cookies
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut client = Client::connect(self.address);
        client.send(&format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncookie: {}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            self.address,
            cookies.join("; "),
            form.len()
        ));
        let response = client.response();
        for (name, value) in &response.headers {
            if name == "set-cookie" {
                let pair = value.split(';').next().unwrap_or_default();
                let (name, value) = pair.split_once('=').expect("a cookie");
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        response
    }
}

impl Code {
    /// The form that gets a token for the code.
    pub(crate) fn exchange(&self, resource: &str) -> String {
        self.exchange_with(VERIFIER, resource)
    }

    /// The same with another verifier.
    pub(crate) fn exchange_with(&self, verifier: &str, resource: &str) -> String {
        form(&[
            ("client_id", "shop"),
            ("grant_type", "authorization_code"),
            ("code", &self.0),
            ("redirect_uri", CALLBACK),
            ("code_verifier", verifier),
            ("resource", resource),
        ])
    }
}

/// The code in the query of the callback.
fn code(query: &str) -> String {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    assert!(query.contains("state=a-state"), "{query}");
    let code = pairs.find_map(|(name, value)| (name == "code").then_some(value));
    code.expect("a code").to_owned()
}

/// What a page of the provider asks: `login` or `consent`.
fn prompt(page: &str) -> String {
    let (_, rest) = page
        .split_once("name=\"prompt\" value=\"")
        .expect("a page that asks something");
    rest.split('"').next().unwrap_or_default().to_owned()
}
