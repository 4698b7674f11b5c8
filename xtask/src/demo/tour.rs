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

/// Headers of an answer that say something about limits.
const TELLING: [&str; 4] = ["x-upstream", "retry-after", "ratelimit", "ratelimit-policy"];

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

    tour.title("ana asks five times. Her limit is five in ten seconds: she is served");
    for (exchange, number) in tour.ask("/api/books", "ana", 5)?.iter().zip(1..) {
        tour.expect_served(exchange, &format!("ana's request {number}"));
    }

    tour.title("She asks a sixth time, and is told when to come back");
    let sixth = tour.ask_once("/api/books", "ana")?;
    tour.expect(
        sixth.response.status == 429,
        "ana's sixth request should be denied with 429",
    );
    tour.expect(
        sixth.decision() == Some("deny=per-client"),
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

    tour.title("Meanwhile ben asks: he has a limit of his own");
    let ben = tour.ask_once("/api/books", "ben")?;
    tour.expect_served(&ben, "ben's request");

    tour.title("carl searches four times. Rule search-trial allows two, but it is in shadow mode");
    let searches = tour.ask("/search", "carl", 4)?;
    for (search, number) in searches.iter().zip(1..) {
        tour.expect_served(search, &format!("carl's search {number}"));
    }
    let reported = searches
        .iter()
        .filter(|it| it.decision() == Some("shadow=search-trial"));
    tour.expect(
        reported.count() == 2,
        "rule search-trial should report two of four searches",
    );

    let wait = wait.unwrap_or(2);
    tour.title(&format!(
        "ana waits the {wait} s that she was told, and asks again"
    ));
    countdown(wait);
    let again = tour.ask_once("/api/books", "ana")?;
    tour.expect_served(&again, "ana's request after the wait");

    tour.title(&format!("What the filter counted: http://{admin}/stats"));
    tour.show_metrics(admin)?;
    Ok(tour.mistakes)
}

impl Tour<'_> {
    fn title(&mut self, title: &str) {
        self.step += 1;
        println!("\n{}. {title}.", self.step);
    }

    fn ask_once(&mut self, path: &str, client: &str) -> Result<Exchange> {
        self.ask(path, client, 1)?
            .pop()
            .context("one request has one answer")
    }

    /// Sends the same request some times, one after the other, and shows what came of it.
    fn ask(&mut self, path: &str, client: &str, times: usize) -> Result<Vec<Exchange>> {
        println!("   > GET {path}   x-client: {client}");
        // All are sent before the first log entry is awaited: time is what limits are about.
        let ask = |_| self.connection.get(path, &[("x-client", client)]);
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
            .filter(|line| line.starts_with("rate_limit_") && !line.ends_with(": 0"))
            .collect();
        for metric in &metrics {
            println!("   {metric}");
        }
        for (rule, outcome, count) in [
            ("per-client", "allow", 7),
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
    /// What rate-limit wrote about the request, if anything.
    fn decision(&self) -> Option<&str> {
        self.entry["rate_limit"].as_str()
    }

    /// `429  retry-after: 2 …` and who decided.
    fn summary(&self) -> String {
        let mut text = self.response.status.to_string();
        for name in TELLING {
            if let Some(value) = self.response.header(name) {
                text.push_str(&format!("   {name}: {value}"));
            }
        }
        let details = self.entry["details"].as_str().unwrap_or("nothing");
        let decided = match self.decision() {
            Some(decision) if decision.starts_with("deny=") => {
                format!("denied by rate-limit: {details}")
            }
            Some(decision) => format!("let pass by rate-limit, which notes {decision}"),
            None => "let pass by rate-limit".to_owned(),
        };
        format!("{text}\n       {decided}")
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
