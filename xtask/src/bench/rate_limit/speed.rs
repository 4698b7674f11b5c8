//! What a limiter costs. Limits are so high that nothing is refused.

use anyhow::Result;
use serde_json::{Value, json};

use crate::bench::rate_limit::limiter::{KEY_HEADER, Limit, Limiter, Per};
use crate::bench::speed::{self, Origin, Row};
use crate::bench::wrk::{Answers, Load};
use crate::workspace::Workspace;

const LIMIT: Limit = Limit {
    requests: 1_000_000,
    per: Per::Second,
    burst: 1_000_000,
};

/// Measures requests that are answered in place, and by an upstream that is an Envoy of its own.
pub(crate) fn measure(workspace: &Workspace) -> Result<Value> {
    let row = |label, name, limiter: Limiter| Row {
        label,
        name,
        filters: limiter.filters(workspace),
        load: Load::Header(KEY_HEADER, "ana".to_owned()),
        answers: Answers::Served,
    };
    let rows = [
        row("no limiter", "none", Limiter::None),
        row("local_ratelimit, per key", "native", Limiter::Native(LIMIT)),
        row("rate-limit, exact", "ours", Limiter::Ours(LIMIT)),
    ];
    let in_place = speed::measure(workspace, "One key, answered in place", None, &rows)?;
    let origin = Origin::start(workspace)?;
    let title = "One key, answered by an upstream";
    let upstream = speed::measure(workspace, title, Some(origin.address), &rows)?;
    Ok(json!({ "in_place": in_place, "upstream": upstream }))
}
