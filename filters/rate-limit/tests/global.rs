//! Global limits without a network: requests of many workers asked of a plain model of each service.

mod common;

use std::collections::BTreeMap;

use common::{Pairs, SEED, config, is_allowed};
use filter_core::headers::Headers;
use filter_core::request::Request;
use filter_core::time::{Span, Timestamp};
use proptest::prelude::*;
use rate_limit::config::Config;
use rate_limit::decision::{Count, Decision, Verdict};
use rate_limit::global::{At, Call, Ending, Flight, Service};
use rate_limit::policy::Policy;

/// A service as a worker meets it.
trait Model {
    /// What it answers to a call at that moment.
    fn answer(&mut self, call: &Call, now: Timestamp) -> Option<Vec<u8>>;
}

/// What Redis does with the script, in whole units of 100 ns.
#[derive(Default)]
struct Redis {
    knows_script: bool,
    full: BTreeMap<String, u64>,
}

impl Model for Redis {
    fn answer(&mut self, call: &Call, now: Timestamp) -> Option<Vec<u8>> {
        let Call::Http(path) = call else {
            panic!("not for Redis: {call:?}");
        };
        let path = path.strip_suffix(".raw").expect("the raw form");
        let mut words = path.split('/').skip(1);
        match words.next() {
            Some("EVAL") => self.knows_script = true,
            Some("EVALSHA") if self.knows_script => {}
            _ => return Some(b"-NOSCRIPT No matching script.\r\n".to_vec()),
        }
        words.next().expect("a script");
        let count: usize = words.next().expect("a count").parse().expect("a number");
        let keys: Vec<_> = words.by_ref().take(count).map(str::to_owned).collect();
        let mut numbers = words.map(|word| word.parse::<u64>().expect("a number"));
        let mut next = move || numbers.next().expect("another number");
        let now = now.as_nanos() / 100;
        let mut ahead = next();
        let mut wait = 0;
        let mut buckets = Vec::new();
        for key in keys {
            let (cost, interval, capacity) = (next(), next(), next());
            let full = self.full.get(&key).copied().unwrap_or(0).max(now);
            let price = cost * interval;
            match (now + capacity).checked_sub(full + price) {
                Some(spare) => ahead = ahead.min(spare / price / 8),
                None => wait = wait.max(full + price - now - capacity),
            }
            buckets.push((key, full, price));
        }
        let allowed = wait == 0;
        ahead *= u64::from(allowed);
        let mut answer = format!("*{}\r\n", buckets.len() + 3);
        let mut push = |number: u64| answer.push_str(&format!("$1\r\n{number}\r\n"));
        push(u64::from(allowed));
        push(ahead);
        push(wait);
        for (key, full, price) in buckets {
            let full = full + if allowed { price * (1 + ahead) } else { 0 };
            push(full - now);
            self.full.insert(key, full);
        }
        Some(answer.into_bytes())
    }
}

/// A server with a fixed window of 10 s for each set of entries, which refuses a call whole.
#[derive(Default)]
struct Server {
    limit: u64,
    /// Window and units used, by what the descriptor is on the wire.
    used: BTreeMap<Vec<u8>, (u64, u64)>,
}

const WINDOW: u64 = 10;

impl Model for Server {
    fn answer(&mut self, call: &Call, now: Timestamp) -> Option<Vec<u8>> {
        let Call::Grpc(message) = call else {
            panic!("not for a server: {call:?}");
        };
        // The hits are the last field, one byte or two of a varint behind 0x18; a descriptor is
        // before it.
        let at = message
            .iter()
            .rposition(|byte| *byte == 0x18)
            .expect("hits");
        let (client, hits) = message.split_at(at);
        let hits = match hits {
            [_, one] => u64::from(*one),
            [_, low, high] => u64::from(low & 0x7f) | u64::from(*high) << 7,
            _ => panic!("so many hits: {hits:?}"),
        };
        let seconds = now.as_nanos() / 1_000_000_000;
        let (window, used) = self.used.entry(client.to_vec()).or_default();
        if *window != seconds / WINDOW {
            (*window, *used) = (seconds / WINDOW, 0);
        }
        let is_over = *used + hits > self.limit;
        if !is_over {
            *used += hits;
        }
        let code = if is_over { 2 } else { 1 };
        let left = u8::try_from(self.limit - *used).expect("a small limit");
        let reset = u8::try_from(WINDOW - seconds % WINDOW).expect("a short window");
        let limit = u8::try_from(self.limit).expect("a small limit");
        let status = [8, code, 0x12, 2, 8, limit, 0x18, left, 0x22, 2, 8, reset];
        let mut answer = vec![8, code, 0x12, 12];
        answer.extend(status);
        Some(answer)
    }
}

/// A service that doesn't answer.
struct Dead;

impl Model for Dead {
    fn answer(&mut self, _: &Call, _: Timestamp) -> Option<Vec<u8>> {
        None
    }
}

/// Gateways' workers, each with a memory of its own, and one service.
struct Fleet<M> {
    policy: Policy,
    workers: Vec<Service>,
    model: M,
    now: Timestamp,
    calls: u64,
}

impl<M: Model> Fleet<M> {
    fn new(config: Config, workers: usize, model: M) -> Self {
        let backend = config.backend.clone().expect("a backend");
        Self {
            policy: Policy::new(config, SEED),
            workers: (0..workers)
                .map(|_| Service::new(backend.clone()))
                .collect(),
            model,
            now: Timestamp::ZERO.after(Span::from_secs(1_000_000)),
            calls: 0,
        }
    }

    fn wait(&mut self, millis: u64) {
        self.now = self.now.after(Span::from_nanos(millis * 1_000_000));
    }

    fn send(&mut self, worker: usize, pairs: Pairs<'_>) -> Ending {
        let block = Headers::encode(pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())));
        let request = Request {
            headers: Headers::decode(&block),
            ..Request::default()
        };
        let mut claim = self.policy.claim(&request);
        let mut flight = Flight::new(claim.take_questions());
        let at = At {
            service: &self.workers[worker],
            policy: &self.policy,
            request: &request,
            now: self.now,
        };
        let mut next = flight.next(&at);
        while let Some(call) = next {
            self.calls += 1;
            let answer = self.model.answer(&call, self.now);
            next = flight.answer(&at, answer.as_deref());
        }
        flight.ending()
    }

    fn is_served(&mut self, worker: usize, user: &str) -> bool {
        matches!(
            self.send(worker, &[("x-user", user)]).verdict,
            Verdict::Allow(_)
        )
    }
}

fn redis(rule: &str, backend: &str) -> Config {
    config(&format!(
        r#"{{"backend": {{"redis": {{"cluster": "webdis"{backend}}}}}, "rules": [
            {{"name": "a", "scope": "global", "key": [{{"header": "x-user"}}], {rule}}}]}}"#
    ))
}

fn rls(rule: &str, backend: &str) -> Config {
    config(&format!(
        r#"{{"backend": {{"rls": {{"cluster": "rls", "domain": "d"{backend}}}}}, "rules": [
            {{"name": "a", "scope": "global", "key": [{{"header": "x-user"}}]{rule}}}]}}"#
    ))
}

fn reply_header(ending: &Ending, name: &str) -> Option<String> {
    let Verdict::Deny(reply) = &ending.verdict else {
        panic!("it is allowed");
    };
    let mut headers = reply.headers.iter();
    headers
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.clone())
}

#[test]
fn a_service_is_told_the_script_once_and_its_hash_from_then_on() {
    let limits = r#""limits": [{"requests": 5, "per": "1m"}]"#;
    let mut fleet = Fleet::new(redis(limits, ""), 1, Redis::default());
    assert!(fleet.is_served(0, "alice"));
    assert_eq!(fleet.calls, 2);
    assert!(fleet.is_served(0, "alice"));
    assert_eq!(fleet.calls, 3);
    fleet.model = Redis::default();
    assert!(fleet.is_served(0, "alice"));
    assert_eq!(fleet.calls, 5);
}

#[test]
fn all_windows_of_a_rule_are_charged_or_none() {
    let limits = r#""limits": [{"requests": 3, "per": "1s"}, {"requests": 5, "per": "1h"}]"#;
    let mut fleet = Fleet::new(redis(limits, r#", "precheck": false"#), 1, Redis::default());
    let mut served = 0;
    for _ in 0..10 {
        served += usize::from(fleet.is_served(0, "alice"));
    }
    assert_eq!(served, 3);
    fleet.wait(1_000);
    served = 0;
    for _ in 0..10 {
        served += usize::from(fleet.is_served(0, "alice"));
    }
    assert_eq!(served, 2);
}

#[test]
fn a_denied_client_is_told_how_long_and_not_asked_about_until_then() {
    let limits = r#""limits": [{"requests": 2, "per": "1m"}]"#;
    let mut fleet = Fleet::new(redis(limits, ""), 1, Redis::default());
    let ending = (0..3)
        .map(|_| fleet.send(0, &[("x-user", "alice")]))
        .last()
        .unwrap();
    assert_eq!(reply_header(&ending, "retry-after").as_deref(), Some("30"));
    assert_eq!(
        reply_header(&ending, "ratelimit").as_deref(),
        Some("\"a\";r=0;t=30")
    );
    let asked = fleet.calls;
    fleet.wait(29_000);
    let ending = fleet.send(0, &[("x-user", "alice")]);
    assert_eq!(reply_header(&ending, "retry-after").as_deref(), Some("1"));
    assert_eq!(fleet.calls, asked);
    assert!(fleet.is_served(0, "bob"));
    fleet.wait(1_000);
    assert!(fleet.is_served(0, "alice"));
}

#[test]
fn without_precheck_every_request_asks() {
    let limits = r#""limits": [{"requests": 1, "per": "1m"}]"#;
    let mut fleet = Fleet::new(redis(limits, r#", "precheck": false"#), 1, Redis::default());
    (0..10).for_each(|_| drop(fleet.send(0, &[("x-user", "alice")])));
    assert_eq!(fleet.calls, 11);
}

#[test]
fn a_service_that_does_not_answer_is_asked_five_times_and_then_once_a_second() {
    let mut fleet = Fleet::new(rls("", ""), 1, Dead);
    for _ in 0..100 {
        assert!(fleet.is_served(0, "alice"));
    }
    assert_eq!(fleet.calls, 5);
    for expected in 6..10 {
        fleet.wait(1_000);
        (0..100).for_each(|_| assert!(fleet.is_served(0, "alice")));
        assert_eq!(fleet.calls, expected);
    }
}

#[test]
fn what_becomes_of_a_request_without_an_answer_is_as_configured() {
    let limits = r#", "limits": [{"requests": 100, "per": "1m"}]"#;
    let send = |on_error: &str| {
        let backend = format!(r#", "on_error": "{on_error}", "local_share": 25"#);
        let mut fleet = Fleet::new(rls(limits, &backend), 1, Dead);
        let ending = fleet.send(0, &[("x-user", "alice")]);
        (fleet, ending)
    };
    let (_, allow) = send("allow");
    assert!(matches!(allow.verdict, Verdict::Allow(_)) && !allow.falls_back);
    assert_eq!(
        allow.counts.len(),
        2,
        "a call and an error: {:?}",
        allow.counts
    );
    let (_, deny) = send("deny");
    let Verdict::Deny(reply) = deny.verdict else {
        panic!("it is allowed");
    };
    assert_eq!(reply.status, 503);
    let (fleet, local) = send("local");
    assert!(local.falls_back);
    let limit = &fleet.policy.config().rules[0].fallback[0][0];
    assert_eq!(limit.requests, 25);
}

#[test]
fn what_the_gateway_decides_by_itself_counts_for_the_global_rules_alone() {
    let config = config(
        r#"{"backend": {"rls": {"cluster": "rls", "domain": "d", "on_error": "local"}}, "rules": [
            {"name": "own", "limits": [{"requests": 9, "per": "1m"}]},
            {"name": "fleet", "scope": "global", "limits": [{"requests": 9, "per": "1m"}]}]}"#,
    );
    let policy = Policy::new(config, SEED);
    let claim = policy.claim(&Request::default());
    let fallback = policy.fallback(&Request::default());
    assert_eq!((claim.sets().len(), fallback.sets().len()), (1, 1));
    let mut sets = vec![filter_core::table::Set::read(None, policy.geometry())];
    let decision = fallback.decide(Timestamp::from_nanos(1), &mut sets);
    assert_eq!(decision.counts.len(), 1);
    let name = decision.counts[0].name(policy.config());
    assert_eq!(name, "rate_limit_requests_total_rule=fleet_outcome=allow");
}

#[test]
fn a_denial_by_the_service_replaces_what_the_gateway_said() {
    let limits = r#""limits": [{"requests": 1, "per": "1m"}]"#;
    let mut fleet = Fleet::new(redis(limits, ""), 1, Redis::default());
    let own = |policy: &Policy| {
        let claim = policy.claim(&Request::default());
        claim.decide(Timestamp::ZERO, &mut [])
    };
    let joined = |fleet: &mut Fleet<Redis>| -> Box<Decision> {
        let ending = fleet.send(0, &[("x-user", "alice")]);
        ending.joined(own(&fleet.policy), fleet.policy.config())
    };
    let first = joined(&mut fleet);
    assert!(is_allowed(&first));
    assert_eq!(first.log, None);
    let second = joined(&mut fleet);
    assert!(!is_allowed(&second));
    assert_eq!(second.log.as_deref(), Some("deny=a"));
    let names: Vec<_> = second
        .counts
        .iter()
        .map(|c| c.name(fleet.policy.config()))
        .collect();
    assert!(
        names.contains(&"rate_limit_requests_total_rule=a_outcome=deny".to_owned()),
        "{names:?}"
    );
    assert!(second.counts.contains(&Count::Call));
}

#[test]
fn a_server_is_asked_by_rule_and_key_and_never_for_one_client_as_another() {
    let asked = |value: &str| {
        let policy = Policy::new(rls("", ""), SEED);
        let service = Service::new(policy.config().backend.clone().expect("a backend"));
        let block = Headers::encode([(&b"x-user"[..], value.as_bytes())]);
        let request = Request {
            headers: Headers::decode(&block),
            ..Request::default()
        };
        let at = At {
            service: &service,
            policy: &policy,
            request: &request,
            now: Timestamp::ZERO,
        };
        match Flight::new(policy.claim(&request).take_questions()).next(&at) {
            Some(Call::Grpc(message)) => String::from_utf8_lossy(&message).into_owned(),
            other => panic!("{other:?}"),
        }
    };
    let alice = asked("alice");
    assert!(alice.contains("generic_key") && alice.contains("x-user") && alice.contains("alice"));
    let long = asked(&"x".repeat(64 * 1024));
    assert!(long.len() < 200 && long.contains("sha256:"), "{long}");
    assert_ne!(long, asked(&"x".repeat(64 * 1024 + 1)));
}

/// A request: which worker gets it, which client sends it, and milliseconds since the one before.
type Step = (usize, u8, u64);

fn steps(longest_pause: u64) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0..4_usize, 0..2_u8, 0..longest_pause), 1..400)
}

/// The moments at which requests of each client were served.
fn run<M: Model>(fleet: &mut Fleet<M>, steps: &[Step]) -> [Vec<u64>; 2] {
    let mut served = [Vec::new(), Vec::new()];
    for (worker, client, pause) in steps {
        fleet.wait(*pause);
        if fleet.is_served(*worker, ["alice", "bob"][usize::from(*client)]) {
            served[usize::from(*client)].push(fleet.now.as_nanos() / 1_000_000);
        }
    }
    served
}

proptest! {
    /// 10 a second with a burst of 20, asked of four workers of any gateways.
    #[test]
    fn redis_admits_what_one_bucket_would(steps in steps(120)) {
        let limits = r#""limits": [{"requests": 10, "per": "1s", "burst": 20}]"#;
        let mut fleet = Fleet::new(redis(limits, ""), 4, Redis::default());
        let served = run(&mut fleet, &steps);
        // The plainest bucket: units as a number that grows with time.
        let mut expected = [Vec::new(), Vec::new()];
        let (mut units, mut at) = ([20_000_u64; 2], [0_u64; 2]);
        let mut now = 1_000_000_000;
        for (_, client, pause) in &steps {
            now += pause;
            let client = usize::from(*client);
            units[client] = (units[client] + (now - at[client]) * 10).min(20_000);
            at[client] = now;
            if units[client] >= 1_000 {
                units[client] -= 1_000;
                expected[client].push(now);
            }
        }
        prop_assert_eq!(served, expected);
    }

    /// With requests charged for ahead a stretch of time sees more by what comes back in
    /// `sync_every` at most.
    #[test]
    fn what_is_charged_for_ahead_exceeds_the_limit_by_no_more_than_is_said(steps in steps(120)) {
        let limits = r#""limits": [{"requests": 10, "per": "1s", "burst": 80}], "lease": 16"#;
        let mut fleet = Fleet::new(redis(limits, r#", "sync_every": "1s""#), 4, Redis::default());
        for served in run(&mut fleet, &steps) {
            for (first, begin) in served.iter().enumerate() {
                for (last, end) in served.iter().enumerate().skip(first) {
                    let most = 80 + (end - begin + 1_000) * 10 / 1_000;
                    let count = u64::try_from(last - first + 1).unwrap();
                    prop_assert!(count <= most, "{} from {} to {}", count, begin, end);
                }
            }
        }
    }

    /// A server that tells when its window ends never sees more than its limit in one.
    #[test]
    fn a_server_s_window_is_never_exceeded_whatever_is_charged_for_ahead(
        steps in steps(400),
        lease in 1..40_u64,
    ) {
        let rule = format!(r#", "lease": {lease}"#);
        let server = Server { limit: 50, ..Server::default() };
        let mut fleet = Fleet::new(rls(&rule, r#", "sync_every": "1h""#), 4, server);
        let served = run(&mut fleet, &steps);
        for moments in served {
            let mut windows: BTreeMap<u64, u64> = BTreeMap::new();
            for moment in moments {
                *windows.entry(moment / 1_000 / WINDOW).or_default() += 1;
            }
            prop_assert!(windows.values().all(|count| *count <= 50), "{:?}", windows);
        }
    }

    /// Whatever a service sends, a request ends, after three calls at most.
    #[test]
    fn no_answer_is_too_odd(answer in prop::collection::vec(any::<u8>(), 0..64), is_redis: bool) {
        struct Odd(Vec<u8>);
        impl Model for Odd {
            fn answer(&mut self, _: &Call, _: Timestamp) -> Option<Vec<u8>> {
                Some(self.0.clone())
            }
        }
        let limits = r#""limits": [{"requests": 10, "per": "1s"}], "lease": 8"#;
        let config = match is_redis {
            true => redis(limits, ""),
            false => rls(&format!(", {limits}"), ""),
        };
        let mut fleet = Fleet::new(config, 1, Odd(answer));
        (0..10).for_each(|_| drop(fleet.send(0, &[("x-user", "alice")])));
        prop_assert!(fleet.calls <= 30);
    }
}
