//! What a limiter costs. Limits are so high that nothing is refused.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::bench::bootstrap;
use crate::bench::rate_limit::limiter::{KEY_HEADER, Limit, Limiter, Per, SERVICE};
use crate::bench::rate_limit::service::Service;
use crate::bench::speed::{self, Origin, Row, Scene};
use crate::bench::wrk::{Answers, Load};
use crate::workspace::Workspace;

const LIMIT: Limit = Limit {
    requests: 1_000_000,
    per: Per::Second,
    burst: 1_000_000,
};

/// Keys of those who are many.
const KEYS: u32 = 1_000_000;

/// Measures requests that are answered in place, and by an upstream that is an Envoy of its own; then
/// those that a service is asked about, and those of many clients.
pub(crate) fn measure(workspace: &Workspace, rounds: u32) -> Result<Value> {
    let one = Load::Header(KEY_HEADER, "ana".to_owned());
    let row = |label, name, limiter: Limiter, load: &Load| Row {
        label,
        name,
        filters: limiter.filters(workspace),
        load: load.clone(),
        answers: Answers::Served,
    };
    let rows = [
        row("no limiter", "none", Limiter::None, &one),
        row("local_ratelimit", "native", Limiter::Native(LIMIT), &one),
        row(
            "local_ratelimit, X-RateLimit",
            "native-told",
            Limiter::NativeTold(LIMIT),
            &one,
        ),
        row("a module that does nothing", "no-op", Limiter::NoOp, &one),
        row("rate-limit, no headers", "ours", Limiter::Ours(LIMIT), &one),
        row("rate-limit", "ours-told", Limiter::OursTold(LIMIT), &one),
        row(
            "rate-limit, no headers, leased",
            "ours-leased",
            Limiter::OursLeased(LIMIT),
            &one,
        ),
        row("Lua, in each worker", "lua", Limiter::Lua(LIMIT), &one),
    ];
    let origin = Origin::start(workspace)?;
    let mut scene = Scene {
        title: "One key, answered in place",
        upstream: None,
        clusters: Vec::new(),
        rounds,
    };
    let in_place = speed::measure_in(workspace, &scene, &rows)?;
    scene.title = "One key, answered by an upstream";
    scene.upstream = Some(origin.address);
    let upstream = speed::measure_in(workspace, &scene, &rows)?;

    let service = Service::start(workspace)?;
    scene.title = "A service is asked, answered by an upstream";
    scene.clusters = vec![bootstrap::grpc_cluster(SERVICE, service.address)];
    let rows = [
        row("no limiter", "none", Limiter::None, &one),
        row("ratelimit", "native", Limiter::NativeService, &one),
        row("rate-limit, global", "ours", Limiter::OursService, &one),
        row(
            "rate-limit, global, leased",
            "ours-leased",
            Limiter::OursServiceLeased,
            &one,
        ),
    ];
    let global = speed::measure_in(workspace, &scene, &rows)?;
    drop(service);

    let (one, many) = (in_turn(workspace, 1)?, in_turn(workspace, KEYS)?);
    scene.title = "One key and a million in turn, answered in place";
    (scene.upstream, scene.clusters) = (None, Vec::new());
    let rows = [
        row("no limiter, a million", "none", Limiter::None, &many),
        row("rate-limit, one", "one", Limiter::Ours(LIMIT), &one),
        row("rate-limit, a million", "many", Limiter::Ours(LIMIT), &many),
    ];
    let keys = speed::measure_in(workspace, &scene, &rows)?;
    Ok(json!({ "in_place": in_place, "upstream": upstream, "global": global, "keys": keys }))
}

/// Requests of so many clients, one after the other.
fn in_turn(workspace: &Workspace, keys: u32) -> Result<Load> {
    let script = workspace.target(&format!("bench/users-{keys}.lua"));
    let text = format!(
        "local n = 0\nrequest = function()\n  n = (n + 1) % {keys}\n  \
         return wrk.format('GET', '/', {{['{KEY_HEADER}'] = 'user-' .. n}})\nend\n"
    );
    std::fs::write(&script, text).with_context(|| format!("can't write {}", script.display()))?;
    Ok(Load::Script(script))
}
