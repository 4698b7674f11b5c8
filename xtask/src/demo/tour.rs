//! The tour: what is sent, what comes back, who decided, and whether it is as it should be.
//!
//! Who decided is read where an operator would read it: in the gateway's access log, from the
//! response code details and the filter's own entry.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::gateway::Gateway;
use crate::http::{self, Connection, Response};

/// Longest time that an access log entry may take.
const LOG_LIMIT: Duration = Duration::from_secs(10);

/// Headers of an answer that say something about what the filters did.
const TELLING: [&str; 7] = [
    "x-upstream",
    "www-authenticate",
    "retry-after",
    "ratelimit",
    "age",
    "cache-status",
    "x-upstream-choice",
];

/// Entries of the access log that the filters write.
const FILTERS: [(&str, &str); 4] = [
    ("jwt_auth", "jwt-auth"),
    ("rate_limit", "rate-limit"),
    ("cache_lookup", "cache-lookup"),
    ("consistent_hash", "consistent-hash"),
];

/// ana's token until 2100, signed with the other half of the key in `envoy/gateway.yaml`.
const TOKEN: &str = "Bearer \
    eyJhbGciOiJFUzI1NiIsImtpZCI6ImRlbW8iLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2lkcC5le\
    GFtcGxlLmNvbSIsImF1ZCI6InNob3AiLCJzdWIiOiJhbmEiLCJleHAiOjQxMDI0NDQ4MDB9.f3ptAMCgMvzO\
    65l3NPvG7UmJtcFO9BwjxPJtTG9fZYUkUJia77En89tO3i0blb18KHVAjLTtbpT5bo65QJk0Lg";

/// A request with its answer and its access log entry.
struct Exchange {
    response: Response,
    entry: Value,
}

/// A tour under way.
struct Tour<'a> {
    gateway: &'a Gateway,
    connection: Connection,
    step: u32,
    mistakes: Vec<String>,
}

/// Runs the tour and returns what wasn't as it should be, a sentence each.
///
/// # Errors
///
/// When the gateway doesn't answer at all.
pub(crate) fn run(
    gateway: &Gateway,
    address: SocketAddr,
    admin: SocketAddr,
) -> Result<Vec<String>> {
    // One connection for all: entries of the access log then come in the order of the requests.
    let connection = Connection::open(address)?;
    let mut tour = Tour {
        gateway,
        connection,
        step: 0,
        mistakes: Vec::new(),
    };

    tour.title("Somebody asks for an account and doesn't say who it is. jwt-auth answers");
    let unknown = tour.ask_once("/accounts/1", &[])?;
    tour.expect(
        unknown.response.status == 401,
        "a request without a token should be answered with 401",
    );
    tour.expect(
        unknown.said("jwt_auth").is_some(),
        "the access log should say why jwt-auth refused the request without a token",
    );

    tour.title(
        "ana shows her token, and claims to be mallory besides. The service hears of ana alone",
    );
    let ana = tour.ask_once(
        "/accounts/1",
        &[("authorization", TOKEN), ("x-user", "mallory")],
    )?;
    tour.expect_served(&ana, "ana with her token");
    tour.expect(
        ana.response.text().ends_with("for ana\n"),
        "the service should be told that ana asks, and nobody else",
    );

    tour.title("ana asks five times, which is her limit in ten seconds. All go to the same host");
    let five = tour.ask("/api/books", &client("ana"), 5)?;
    for (exchange, number) in five.iter().zip(1..) {
        tour.expect_served(exchange, &format!("ana's request {number}"));
    }
    let hosts: Vec<_> = five
        .iter()
        .map(|it| it.response.header("x-upstream"))
        .collect();
    tour.expect(
        hosts.iter().all(|host| host.is_some() && *host == hosts[0]),
        "consistent-hash should choose one host for all of ana's requests",
    );

    tour.title("She asks a sixth time, and is told when to come back");
    let sixth = tour.ask_once("/api/books", &client("ana"))?;
    tour.expect(
        sixth.response.status == 429,
        "ana's sixth request should be denied with 429",
    );
    tour.expect(
        sixth.said("rate_limit") == Some("deny=per-client"),
        "the access log should say that rule per-client denied ana's sixth request",
    );
    let wait = sixth
        .response
        .header("retry-after")
        .and_then(|value| value.parse().ok());
    tour.expect(
        wait.is_some_and(|seconds| (1..=10).contains(&seconds)),
        "a denied client should be told to wait 1 to 10 seconds",
    );

    tour.title("Meanwhile ben and cem ask: each has a limit, and a host, of his own");
    for name in ["ben", "cem"] {
        let exchange = tour.ask_once("/api/books", &client(name))?;
        tour.expect_served(&exchange, &format!("{name}'s request"));
    }

    tour.title("carl searches four times. Rule search-trial allows two, but it is in shadow mode");
    let searches = tour.ask("/search", &client("carl"), 4)?;
    for (search, number) in searches.iter().zip(1..) {
        tour.expect_served(search, &format!("carl's search {number}"));
    }
    let reported = searches
        .iter()
        .filter(|it| it.said("rate_limit") == Some("shadow=search-trial"));
    tour.expect(
        reported.count() == 2,
        "rule search-trial should report two of four searches",
    );

    tour.title("ben and carl ask for the catalogue. The second answer comes out of the cache");
    let first = tour.ask_once("/catalogue", &client("ben"))?;
    tour.expect_served(&first, "ben's request for the catalogue");
    let second = tour.ask_once("/catalogue", &client("carl"))?;
    tour.expect_served(&second, "carl's request for the catalogue");
    let status = second.response.header("cache-status").unwrap_or_default();
    tour.expect(
        status.starts_with("penstock; hit"),
        "the catalogue should be a hit the second time",
    );
    tour.expect(
        second.entry["upstream"].is_null(),
        "no host should be asked for the catalogue a second time",
    );

    let wait = wait.unwrap_or(2);
    tour.title(&format!(
        "ana waits the {wait} s that she was told, and asks again"
    ));
    countdown(wait);
    let again = tour.ask_once("/api/books", &client("ana"))?;
    tour.expect_served(&again, "ana's request after the wait");

    tour.title(&format!("What the filters counted: http://{admin}/stats"));
    tour.show_metrics(admin)?;
    Ok(tour.mistakes)
}

const fn client(name: &str) -> [(&str, &str); 1] {
    [("x-client", name)]
}

impl Tour<'_> {
    fn title(&mut self, title: &str) {
        self.step += 1;
        println!("\n{}. {title}.", self.step);
    }

    fn ask_once(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<Exchange> {
        self.ask(path, headers, 1)?
            .pop()
            .context("one request has one answer")
    }

    /// Sends the same request some times, one after the other, and shows what came of it.
    fn ask(&mut self, path: &str, headers: &[(&str, &str)], times: usize) -> Result<Vec<Exchange>> {
        let shown: String = headers
            .iter()
            .map(|(name, value)| format!("   {name}: {value:.24}"))
            .collect();
        println!("   > GET {path}{shown}");
        // All are sent before the first log entry is awaited: time is what limits are about.
        let ask = |_| self.connection.get(path, headers);
        let responses = (0..times).map(ask).collect::<Result<Vec<Response>>>()?;
        let mut exchanges = Vec::new();
        for response in responses {
            let entry = self.log_entry(path)?;
            let exchange = Exchange { response, entry };
            println!("   < {}", exchange.summary());
            exchanges.push(exchange);
        }
        Ok(exchanges)
    }

    /// Returns the next entry of the access log.
    fn log_entry(&self, path: &str) -> Result<Value> {
        loop {
            let line = self.gateway.next_line(LOG_LIMIT).with_context(|| {
                format!(
                    "GET {path} wasn't in the access log within {} s",
                    LOG_LIMIT.as_secs()
                )
            })?;
            // Other lines of standard output are the gateway's own.
            let entry: Value = serde_json::from_str(&line).unwrap_or_default();
            if entry["path"] == path {
                return Ok(entry);
            }
        }
    }

    fn show_metrics(&mut self, admin: SocketAddr) -> Result<()> {
        let text = http::get(admin, "/stats")?.text();
        let metrics: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("wasmcustom."))
            .filter(|line| line.contains("_requests_total") && !line.ends_with(": 0"))
            .collect();
        for metric in &metrics {
            println!("   {metric}");
        }
        for (rule, outcome, count) in [
            ("per-client", "allow", 8),
            ("per-client", "deny", 1),
            ("search-trial", "allow", 2),
            ("search-trial", "shadow", 2),
        ] {
            let name = format!("rate_limit_requests_total_rule={rule}_outcome={outcome}");
            let line = format!("{name}: {count}");
            let found = metrics.contains(&line.as_str());
            self.expect(found, &format!("metric {name} should be {count}"));
        }
        Ok(())
    }

    fn expect_served(&mut self, exchange: &Exchange, who: &str) {
        let status = exchange.response.status;
        self.expect(
            status == 200,
            &format!("{who} should be served, but was answered {status}"),
        );
    }

    fn expect(&mut self, is_so: bool, sentence: &str) {
        if !is_so {
            self.mistakes.push(sentence.to_owned());
        }
    }
}

impl Exchange {
    /// What a filter wrote about the request, if anything.
    fn said(&self, filter: &str) -> Option<&str> {
        self.entry[filter].as_str()
    }

    /// `429  retry-after: 2 …`, who answered and what the filters note.
    fn summary(&self) -> String {
        let mut text = self.response.status.to_string();
        for name in TELLING {
            if let Some(value) = self.response.header(name) {
                text.push_str(&format!("   {name}: {value}"));
            }
        }
        let details = self.entry["details"].as_str().unwrap_or("nothing");
        text.push_str(&format!("\n       {details}"));
        for (entry, filter) in FILTERS {
            if let Some(note) = self.said(entry) {
                text.push_str(&format!("; {filter} notes {note}"));
            }
        }
        text
    }
}

/// Waits, showing the seconds that are left on a terminal.
fn countdown(seconds: u64) {
    let shown = std::io::stdout().is_terminal();
    for left in (1..=seconds).rev() {
        if shown {
            print!("\r   {left} s ");
            // A terminal that doesn't take it just doesn't count down.
            let _ = std::io::stdout().flush();
        }
        thread::sleep(Duration::from_secs(1));
    }
    if shown {
        print!("\r       \r");
    }
}
