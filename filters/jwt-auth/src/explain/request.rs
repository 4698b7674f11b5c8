//! What becomes of a request with a token: the policy itself is asked.

use filter_core::hash::Seed;
use filter_core::headers::Headers;

use super::{Explanation, Sets, Verdict, explain, position};
use crate::config::Config;
use crate::config::provider::Provider;
use crate::decision::{Awaited, Cause, Count, Decision, Edit, Outcome, Step};
use crate::extract::{Location, Place};
use crate::jose::date::NumericDate;
use crate::jose::verify::Native;
use crate::policy::{Circumstances, Policy};
use crate::requirement::Requirement;

/// A request that a token comes with.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// `http` or `https`.
    pub scheme: String,
    /// The host.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// Other headers, in lower case.
    pub headers: Vec<(String, String)>,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Where the token was put: a header, a query parameter or a cookie.
    pub place: String,
    /// The rule that has a say in it.
    pub rule: Option<String>,
    /// Whether it is let through.
    pub verdict: Verdict,
    /// The answer in place of the upstream's.
    pub refusal: Option<Refusal>,
    /// The response headers of a refusal, or those that go upstream besides.
    pub headers: Vec<(String, String)>,
    /// What a rule in shadow mode would have done, or what isn't known here.
    pub note: Option<String>,
}

/// The answer in place of the upstream's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// Envoy's `%RESPONSE_CODE_DETAILS%`.
    pub details: String,
}

/// Decides about a request. The token is put into the first place in which the provider looks for it;
/// which provider that is, where none is named, is told by the token's issuer.
///
/// # Errors
/// As [`explain`], and if no provider has a place for the token.
pub fn answer(
    config: &Config,
    request: Request,
    token: &[u8],
    only: Option<&str>,
    sets: &Sets,
    now: NumericDate,
) -> Result<Answer, String> {
    let number = match only {
        Some(name) => position(config, name)?,
        None => likeliest(&explain(config, token, None, sets, now)?),
    };
    let location = config
        .providers
        .get(number)
        .and_then(|p| p.locations.first());
    let location = location.ok_or("the configuration has no providers")?;
    let token = std::str::from_utf8(token).map_err(|_| "the token isn't text")?;
    let (place, headers) = with_token(request, location, token);

    let policy = Policy::new(config.clone());
    let mut worker = policy.worker(Native::default(), Seed::from_bytes([0; 16]));
    for (number, provider) in config.providers.iter().enumerate() {
        let set = sets.of(provider)?;
        if let (Some(set), Some(keys)) = (set, worker.keys_mut(number)) {
            keys.set = Some(set.into());
        }
    }
    let pairs = headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
    let block = Headers::encode(pairs);
    let headers = Headers::decode(&block);
    let circumstances = Circumstances::at(now, true);
    let step = policy.decide(&mut worker, &headers, circumstances, &mut |_| None);
    Ok(match step {
        Step::Done(decision) => decided(config, place, decision),
        Step::Wait(awaited) => waits(config, place, awaited),
    })
}

/// Returns the number of the provider that a token is most likely meant for.
fn likeliest(explanations: &[Explanation]) -> usize {
    let accepts = |e: &Explanation| e.verdict() == Verdict::Accepted;
    let issued = |e: &Explanation| e.passed("issuer");
    let position = |test: &dyn Fn(&Explanation) -> bool| explanations.iter().position(test);
    position(&accepts)
        .or_else(|| position(&issued))
        .unwrap_or(0)
}

/// Puts a token into a request. Returns where, and all headers.
fn with_token(
    request: Request,
    location: &Location,
    token: &str,
) -> (String, Vec<(String, String)>) {
    let Request {
        method,
        scheme,
        authority,
        mut path,
        headers: more,
    } = request;
    let mut added = None;
    let place = match &location.place {
        Place::Header(name) => {
            added = Some((name.clone(), format!("{}{token}", location.prefix())));
            format!("header {name}")
        }
        Place::Parameter(name) => {
            let end = path.find('#').unwrap_or(path.len());
            let mark = if path.contains('?') { '&' } else { '?' };
            path.insert_str(end, &format!("{mark}{name}={token}"));
            format!("query parameter {name}")
        }
        Place::Cookie(name) => {
            added = Some(("cookie".to_owned(), format!("{name}={token}")));
            format!("cookie {name}")
        }
    };
    let pseudo = [
        (":method", method),
        (":scheme", scheme),
        (":authority", authority),
        (":path", path),
    ];
    let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value));
    let headers = pseudo.into_iter().chain(more).chain(added);
    (place, headers.collect())
}

fn decided(config: &Config, place: String, decision: Decision) -> Answer {
    let request = decision.counts.iter().find_map(|count| match count {
        Count::Request { rule, outcome } => Some((*rule, *outcome)),
        _ => None,
    });
    let rule = request.and_then(|(rule, _)| config.rules.get(rule));
    let slug = decision.counts.iter().find_map(|count| match count {
        Count::Reason(reason) => Some(reason.slug()),
        Count::Refused { for_path: true } => Some(Cause::AmbiguousPath.slug()),
        Count::Refused { for_path: false } => Some(Cause::Headers.slug()),
        _ => None,
    });
    let slug = slug.unwrap_or_default();
    let is_shadow = request.is_some_and(|(_, outcome)| outcome == Outcome::Shadow);
    let (refusal, headers) = match decision.reply {
        Some(reply) => {
            let refusal = Refusal {
                status: reply.status,
                body: reply.body,
                details: reply.details,
            };
            (Some(refusal), reply.headers)
        }
        None => {
            let added = decision.edits.into_iter().filter_map(|edit| match edit {
                Edit::Add(name, value) => Some((name, value)),
                Edit::Remove(_) | Edit::Target(_) => None,
            });
            (None, added.collect())
        }
    };
    let verdict = match &refusal {
        Some(_) => Verdict::Refused(slug),
        None => Verdict::Accepted,
    };
    let open = "no token is asked for here";
    let note = match rule {
        _ if is_shadow => Some(format!("in shadow mode; it would be refused: {slug}")),
        None if refusal.is_none() => Some(open.to_owned()),
        Some(rule) if rule.requirement == Requirement::Nothing => Some(open.to_owned()),
        _ => None,
    };
    Answer {
        place,
        rule: rule.map(|rule| rule.name.clone()),
        verdict,
        refusal,
        headers,
        note,
    }
}

fn waits(config: &Config, place: String, awaited: Awaited) -> Answer {
    let (number, what) = match awaited {
        Awaited::Keys(number) => (number, "the keys"),
        Awaited::Revocations(number) => (number, "the list of revoked tokens"),
        Awaited::Introspection(question) => (question.provider, "the authorization server"),
    };
    let provider: Option<&Provider> = config.providers.get(number);
    let name = provider.map_or("", |provider| &provider.name);
    Answer {
        place,
        rule: None,
        verdict: Verdict::Unknown,
        refusal: None,
        headers: Vec::new(),
        note: Some(format!("depends on {what} of provider \"{name}\"")),
    }
}
