#![allow(missing_docs)]
use host_test::host::Host;
use host_test::plugin::Plugin;
use std::time::Instant;
fn main() {
    let only: Option<String> = std::env::args().nth(1);
    let n: usize = std::env::args()
        .nth(2)
        .and_then(|v| v.parse().ok())
        .unwrap_or(200);
    let rl = r#"{"rules": [{"name": "user", "key": [{"header": "x-user"}], "limits": [{"requests": 1000000, "per": "1s"}]}]}"#;
    for (name, module, config) in [
        ("0", "bench_guest", "0"),
        ("2", "bench_guest", "2"),
        ("11", "bench_guest", "11"),
        ("rl", "rate_limit", rl),
    ] {
        if only.as_deref().is_some_and(|o| o != name && o != "all") {
            continue;
        }
        let t = Instant::now();
        let plugin = Plugin::from_file(format!(
            "{}/../target/wasm/{module}.wasm",
            env!("CARGO_MANIFEST_DIR")
        ))
        .unwrap()
        .config_json(config);
        let load = t.elapsed();
        let t = Instant::now();
        let _p2 = Plugin::from_file(format!(
            "{}/../target/wasm/{module}.wasm",
            env!("CARGO_MANIFEST_DIR")
        ))
        .unwrap();
        eprintln!("second load {:?}", t.elapsed());
        let t = Instant::now();
        let host = Host::builder().plugin(plugin.clone()).build().unwrap();
        let first = t.elapsed();
        host.get("/").send();
        let one = t.elapsed();
        let t = Instant::now();
        let fresh = Host::builder().plugin(plugin).build().unwrap();
        fresh.get("/").send();
        let again = t.elapsed();
        let batch: usize = std::env::args()
            .nth(3)
            .and_then(|v| v.parse().ok())
            .unwrap_or(500);
        let mut times = Vec::new();
        for _ in 0..n {
            let t = Instant::now();
            for _ in 0..batch {
                let r = host
                    .get("/some/path")
                    .header("user-agent", "curl/8.0")
                    .header("accept", "*/*")
                    .header("x-user", "ana")
                    .header("accept-encoding", "gzip, br")
                    .send();
                assert_eq!(r.status(), Some(200));
            }
            times.push(t.elapsed().as_nanos() as f64 / batch as f64);
            host.take_logs();
        }
        times.sort_by(f64::total_cmp);
        println!(
            "{name:>4}: median {:.0} ns  min {:.0}  p90 {:.0}   load {load:?} build {first:?} +one {one:?} fresh {again:?}",
            times[times.len() / 2],
            times[0],
            times[times.len() * 9 / 10]
        );
    }
}
