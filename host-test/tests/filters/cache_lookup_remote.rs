//! cache-lookup with a second tier: gateways that share it, and how long requests wait for it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use host_test::headers::Headers;
use host_test::host::{Answer, Callout, Host, Received};

use crate::module::plugin;

/// A Redis behind webdis, as far as the filter needs one.
#[derive(Default)]
struct Redis {
    values: RefCell<BTreeMap<String, Vec<u8>>>,
    lists: RefCell<BTreeMap<String, Vec<String>>>,
    /// Whether questions for values stay without an answer.
    is_slow: Cell<bool>,
    is_down: Cell<bool>,
}

impl Redis {
    fn answer(&self, request: &Received) -> Answer {
        let path = request.headers.first(":path").unwrap_or_default();
        let path = String::from_utf8_lossy(path).into_owned();
        let path = path.trim_end_matches(".raw").trim_end_matches(".bin");
        let mut words = path.trim_start_matches('/').split('/').map(decoded);
        let (command, name) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        if self.is_down.get() {
            return Answer::status(503, "");
        }
        let (mut values, mut lists) = (self.values.borrow_mut(), self.lists.borrow_mut());
        match &*command {
            "GET" if self.is_slow.get() => Answer::Never,
            "GET" => match values.get(&name) {
                Some(value) => Answer::status(200, value.clone()),
                None => Answer::status(404, ""),
            },
            "SETEX" => {
                values.insert(name, request.body.to_vec());
                Answer::status(200, "")
            }
            "UNLINK" => {
                for name in std::iter::once(name).chain(words) {
                    values.remove(&name);
                }
                Answer::status(200, "")
            }
            "RPUSH" => {
                lists.entry(name).or_default().extend(words);
                Answer::status(200, "")
            }
            "LTRIM" => Answer::status(200, ""),
            "LRANGE" => {
                let list = lists.get(&name).cloned().unwrap_or_default();
                let lines = list
                    .iter()
                    .map(|line| format!("${}\r\n{line}\r\n", line.len()));
                let text = format!("*{}\r\n{}", list.len(), lines.collect::<String>());
                Answer::status(200, text)
            }
            other => panic!("{other}"),
        }
    }
}

fn decoded(text: &str) -> String {
    let mut pieces = text.split('%');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| {
        let (code, rest) = piece.split_at(2);
        let byte = u8::from_str_radix(code, 16).expect("a code");
        format!("{text}{}{rest}", char::from(byte))
    })
}

/// An origin whose answers tell their number.
#[derive(Default)]
struct Origin {
    requests: Cell<u32>,
    is_silent: Cell<bool>,
}

impl Origin {
    fn answer(&self) -> Answer {
        self.requests.set(self.requests.get() + 1);
        if self.is_silent.get() {
            return Answer::Never;
        }
        let headers = [(":status", "200"), ("cache-control", "max-age=600")];
        Answer::Respond {
            headers: headers.into_iter().collect(),
            chunks: vec![self.requests.get().to_string().into()],
            trailers: Headers::new(),
        }
    }
}

/// A gateway that knows what the fleet knows.
fn gateway(seed: u64, redis: &Rc<Redis>, origin: &Rc<Origin>) -> Host {
    let (redis, origin) = (Rc::clone(redis), Rc::clone(origin));
    let config =
        r#"{"remote": {"cluster": "cache"}, "purge": {"secret": "a-secret-of-the-tests"}}"#;
    let host = Host::builder()
        .plugin(plugin("cache_lookup").config_json(config))
        .seed(seed)
        .cluster("cache")
        .callouts(move |request| redis.answer(request))
        .upstream(move |_| origin.answer())
        .build()
        .expect("starts");
    pass(&host, 200);
    host
}

/// Lets time pass in small steps, so that ticks come when they are due.
fn pass(host: &Host, millis: u32) {
    for _ in 0..millis {
        host.advance(Duration::from_millis(1));
    }
}

fn body(host: &Host, path: &str) -> String {
    let reply = host.get(path).send();
    assert_eq!(reply.status(), Some(200), "{path}");
    String::from_utf8_lossy(reply.body()).into_owned()
}

/// The question for a value that waits for its answer.
fn question(host: &Host) -> Callout {
    let waiting = host.waiting_callouts();
    let is_get = |callout: &&Callout| {
        let path = callout.request.headers.first(":path").unwrap_or_default();
        path.starts_with(b"/GET/")
    };
    waiting.iter().find(is_get).expect("one waits").clone()
}

fn outcomes(host: &Host) -> [u64; 3] {
    ["hit", "miss", "hedged"].map(|name| {
        let name = match name {
            "hedged" => "cache_lookup_remote_hedged_total".to_owned(),
            _ => format!("cache_lookup_requests_total_outcome={name}"),
        };
        host.metrics().get(&name).copied().unwrap_or(0)
    })
}

#[test]
fn a_request_that_the_remote_tier_keeps_waiting_goes_to_the_origin_after_a_while() {
    let (redis, origin) = (Rc::<Redis>::default(), Rc::<Origin>::default());
    let host = gateway(1, &redis, &origin);
    redis.is_slow.set(true);
    let flight = host.get("/").start();
    pass(&host, 9);
    assert!(flight.is_paused());
    pass(&host, 1);
    assert_eq!(flight.finish().body(), b"1");
    assert_eq!(outcomes(&host), [0, 1, 1]);
    pass(&host, 100);
    assert_eq!(body(&host, "/"), "1", "it is stored");
    assert_eq!(origin.requests.get(), 1);
    assert_eq!(host.violations(), [""; 0]);
}

#[test]
fn of_the_remote_tier_and_the_origin_the_one_that_answers_first_counts() {
    let (redis, origin) = (Rc::<Redis>::default(), Rc::<Origin>::default());
    let other = gateway(1, &redis, &origin);
    assert_eq!(body(&other, "/"), "1");
    pass(&other, 100);
    let host = gateway(2, &redis, &origin);
    redis.is_slow.set(true);
    origin.is_silent.set(true);
    let leader = host.get("/").start();
    let waiter = host.get("/").start();
    pass(&host, 10);
    assert_eq!(origin.requests.get(), 2, "the leader's");
    assert!(!leader.is_over() && !waiter.is_over());
    let question = question(&host);
    redis.is_slow.set(false);
    let answer = redis.answer(&question.request);
    host.answer(&question, answer).expect("waits");
    let reply = leader.finish();
    assert_eq!(reply.body(), b"1");
    assert_eq!(reply.details(), "cache_hit");
    pass(&host, 1);
    assert_eq!(waiter.finish().body(), b"1", "it was told");
    assert_eq!(outcomes(&host), [2, 0, 1], "each request counts once");
    assert_eq!(body(&host, "/"), "1");
    assert_eq!(origin.requests.get(), 2);
    assert_eq!(host.violations(), [""; 0]);
}

#[test]
fn an_answer_of_the_remote_tier_after_the_origins_means_nothing() {
    let (redis, origin) = (Rc::<Redis>::default(), Rc::<Origin>::default());
    let other = gateway(1, &redis, &origin);
    assert_eq!(body(&other, "/"), "1");
    pass(&other, 100);
    let host = gateway(2, &redis, &origin);
    redis.is_slow.set(true);
    let flight = host.get("/").start();
    let question = question(&host);
    pass(&host, 10);
    assert_eq!(flight.finish().body(), b"2");
    redis.is_slow.set(false);
    let answer = redis.answer(&question.request);
    host.answer(&question, answer).expect("waits");
    assert_eq!(body(&host, "/"), "2", "the older one takes no one's place");
    assert_eq!(host.violations(), [""; 0]);
}

#[test]
fn a_remote_tier_that_is_slower_than_the_origin_is_soon_left_alone() {
    let (redis, origin) = (Rc::<Redis>::default(), Rc::<Origin>::default());
    let host = gateway(1, &redis, &origin);
    redis.is_slow.set(true);
    for number in 0..5 {
        let flight = host.get(&format!("/{number}")).start();
        assert!(flight.is_paused(), "{number}");
        pass(&host, 10);
        assert_eq!(flight.finish().status(), Some(200));
    }
    assert!(!host.get("/6").start().is_paused());
    assert_eq!(outcomes(&host), [0, 6, 5]);
    redis.is_slow.set(false);
    pass(&host, 1000);
    assert_eq!(body(&host, "/7"), "7");
    let asked = host.metrics()["cache_lookup_remote_requests_total"];
    assert_eq!(asked, 6, "one tried again");
}

#[test]
fn a_hedged_request_whose_client_goes_away_leaves_nothing() {
    let (redis, origin) = (Rc::<Redis>::default(), Rc::<Origin>::default());
    let host = gateway(1, &redis, &origin);
    redis.is_slow.set(true);
    origin.is_silent.set(true);
    let flight = host.get("/").start();
    let question = question(&host);
    pass(&host, 10);
    drop(flight);
    redis.is_slow.set(false);
    let answer = redis.answer(&question.request);
    host.answer(&question, answer).expect("waits");
    origin.is_silent.set(false);
    assert_eq!(body(&host, "/"), "2");
    assert_eq!(outcomes(&host), [0, 2, 1]);
    assert_eq!(host.violations(), [""; 0]);
}

#[test]
fn a_write_at_one_gateway_takes_what_it_changes_from_all_of_the_fleet() {
    let (redis, origin) = (Rc::<Redis>::default(), Rc::<Origin>::default());
    let [one, other] = [1, 2].map(|seed| gateway(seed, &redis, &origin));
    for host in [&one, &other] {
        assert_eq!(body(host, "/kept"), "1");
        assert_eq!(body(host, "/written"), "2");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "MKCOL"] {
        let before = origin.requests.get();
        one.request(method, "/written").send();
        assert_eq!(
            body(&one, "/written"),
            (before + 2).to_string(),
            "at once where it passed"
        );
        pass(&other, 1100);
        pass(&one, 1100);
        assert_ne!(body(&other, "/written"), before.to_string(), "{method}");
        assert!(
            origin.requests.get() <= before + 3,
            "one GET at each gateway at most"
        );
        assert_eq!(body(&other, "/kept"), "1");
    }
}

#[test]
fn a_write_that_fails_takes_nothing_from_anybody() {
    let redis = Rc::<Redis>::default();
    let origin = Rc::<Origin>::default();
    let [one, other] = [1, 2].map(|seed| gateway(seed, &redis, &origin));
    assert_eq!(body(&one, "/"), "1");
    assert_eq!(body(&other, "/"), "1");
    // The origin never answers, so the gateway does: 504.
    origin.is_silent.set(true);
    let flight = one.post("/").body("x").start();
    one.advance(Duration::from_secs(16));
    assert_eq!(flight.finish().status(), Some(504));
    pass(&other, 1100);
    assert_eq!(body(&other, "/"), "1");
    assert!(redis.lists.borrow().is_empty());
}

#[test]
fn a_write_while_the_remote_tier_is_down_is_told_when_it_is_back() {
    let (redis, origin) = (Rc::<Redis>::default(), Rc::<Origin>::default());
    let [one, other] = [1, 2].map(|seed| gateway(seed, &redis, &origin));
    for host in [&one, &other] {
        assert_eq!(body(host, "/"), "1");
    }
    redis.is_down.set(true);
    for _ in 0..10 {
        one.post("/").body("x").send();
    }
    pass(&one, 5000);
    redis.is_down.set(false);
    pass(&one, 40_000);
    let lists = redis.lists.borrow().clone();
    assert_eq!(lists["penstock:keys"].len(), 1, "ten of one are one");
    assert!(redis.values.borrow().is_empty(), "and the value is gone");
    pass(&other, 40_000);
    assert_eq!(body(&other, "/"), "12");
}

#[test]
fn what_comes_too_late_for_a_write_is_taken_out_of_the_remote_tier_again() {
    let (redis, origin) = (Rc::<Redis>::default(), Rc::<Origin>::default());
    let [one, other] = [1, 2].map(|seed| gateway(seed, &redis, &origin));
    assert_eq!(body(&one, "/"), "1");
    pass(&one, 10);
    let old = redis.values.borrow().clone();
    one.post("/").body("x").send();
    pass(&one, 10);
    assert!(redis.values.borrow().is_empty());
    // As if another gateway's answer had been on its way there.
    redis.values.borrow_mut().extend(old);
    assert_eq!(
        body(&one, "/"),
        "3",
        "it isn't taken where the write passed"
    );
    pass(&other, 1100);
    assert!(
        redis.values.borrow().is_empty(),
        "who hears of the write takes it out"
    );
    assert_eq!(body(&other, "/"), "4");
}
