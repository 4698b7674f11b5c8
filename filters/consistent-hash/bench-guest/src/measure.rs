//! The filter.

use std::hint::black_box;

use filter_core::hash::digest;
use filter_core::headers::Headers;
use filter_shell::host::{self, HeaderMap};
use placement::hosts::{Host, HostSet};
use placement::ring;
use placement::{Algorithm, Placement};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

const LOOKUPS: u32 = 10_000;
/// The first ones warm up V8's optimising compiler.
const RUNS: usize = 40;
const BUILDS: usize = 5;

pub(crate) struct Root;

struct Stream;

impl Context for Root {}

impl RootContext for Root {
    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let answer = host::header_pairs(HeaderMap::Request)
            .ok()
            .and_then(|block| {
                let path = Headers::decode(&block).first(":path")?.to_vec();
                measured(std::str::from_utf8(&path).ok()?)
            });
        let (status, body) = match answer {
            Some(body) => (200, body),
            None => (400, "ask for /ALGORITHM/HOSTS\n".to_owned()),
        };
        let headers = Headers::encode([(&b"content-type"[..], &b"application/json"[..])]);
        // If there is no answer xtask says so.
        let _ = host::send_bytes(status, "measured", &headers, body.as_bytes());
        Action::Pause
    }
}

fn measured(path: &str) -> Option<String> {
    let mut parts = path.strip_prefix('/')?.split('/');
    let algorithm = match parts.next()? {
        "rendezvous" => Algorithm::Rendezvous,
        "maglev" => Algorithm::Maglev { table_size: None },
        "auto" => Algorithm::Auto,
        "ring" => Algorithm::Ring {
            minimum: ring::DEFAULT_MINIMUM,
            maximum: ring::LARGEST,
        },
        _ => return None,
    };
    let count: u32 = parts.next()?.parse().ok()?;
    let weights: u32 = parts.next().map_or(Some(1), |text| text.parse().ok())?;
    let hosts = (0..count).map(|n| {
        let address = format!("10.{}.{}.{}:80", n >> 16, n >> 8 & 255, n & 255);
        Host::new(address).with_weight(n % weights.max(1) + 1)
    });
    let set = HostSet::new(hosts.collect()).ok()?;
    let hashes: Vec<u64> = (0..LOOKUPS).map(|n| digest(&n.to_le_bytes())).collect();

    let build = best(BUILDS, || {
        drop(black_box(Placement::build(&set, algorithm)))
    })?;
    let placement = Placement::build(&set, algorithm);
    let first = best(RUNS, || firsts(&placement, &hashes))?;
    let three = best(RUNS, || threes(&placement, &hashes))?;
    let each = |nanos: u64| nanos as f64 / f64::from(LOOKUPS);
    Some(format!(
        "{{\"algorithm\": \"{}\", \"hosts\": {count}, \"weights\": {weights}, \"build_ns\": {build}, \
         \"first_ns\": {}, \"three_ns\": {}}}\n",
        placement.name(),
        each(first),
        each(three),
    ))
}

// Calls and not loops are what V8 optimises.
#[inline(never)]
fn firsts(placement: &Placement, hashes: &[u64]) {
    for &hash in hashes {
        black_box(placement.first(black_box(hash)));
    }
}

#[inline(never)]
fn threes(placement: &Placement, hashes: &[u64]) {
    for &hash in hashes {
        for place in placement.candidates(black_box(hash)).take(3) {
            black_box(place);
        }
    }
}

/// Nanoseconds of the fastest run.
fn best(runs: usize, mut work: impl FnMut()) -> Option<u64> {
    let mut best = None;
    for _ in 0..runs {
        let start = host::monotonic_now().ok()?;
        work();
        let nanos = host::monotonic_now().ok()?.since(start).as_nanos();
        best = Some(best.map_or(nanos, |least: u64| least.min(nanos)));
    }
    best
}
