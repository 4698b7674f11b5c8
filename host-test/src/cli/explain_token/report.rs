//! An explanation for people, and for programs.

use jwt_auth::explain::{Answer, Check, Explanation, Outcome, Verdict};
use serde_json::{Value, json};

/// All that is told about a token.
pub(super) struct Report {
    pub(super) at: u64,
    pub(super) providers: Vec<Explanation>,
    /// The request's method and path, and what becomes of it.
    pub(super) answer: Option<(String, Answer)>,
}

impl Report {
    /// What becomes of the request; without one, whether any provider takes the token.
    pub(super) fn verdict(&self) -> Verdict {
        if let Some((_, answer)) = &self.answer {
            return answer.verdict;
        }
        let verdicts = || self.providers.iter().map(Explanation::verdict);
        let first = |wanted: fn(&Verdict) -> bool| verdicts().find(wanted);
        first(|verdict| *verdict == Verdict::Accepted)
            .or_else(|| first(|verdict| *verdict == Verdict::Unknown))
            .or_else(|| first(|_| true))
            .unwrap_or(Verdict::Unknown)
    }

    pub(super) fn pretty(&self) -> String {
        let mut text = format!("checked at {}\n", self.at);
        for explanation in &self.providers {
            let verdict = told(explanation.verdict());
            text.push_str(&format!("\nprovider {}: {verdict}\n", explanation.provider));
            let checks = explanation.checks.iter().chain(&explanation.rules);
            for check in checks {
                text.push_str(line(check).trim_end());
                text.push('\n');
            }
        }
        if let Some((request, answer)) = &self.answer {
            text.push_str(&pretty_answer(request, answer));
        }
        text
    }

    pub(super) fn json(&self) -> String {
        let providers = self.providers.iter().map(|explanation| {
            let (verdict, reason) = words(explanation.verdict());
            json!({
                "provider": explanation.provider,
                "verdict": verdict,
                "reason": reason,
                "checks": explanation.checks.iter().map(check).collect::<Vec<_>>(),
                "rules": explanation.rules.iter().map(check).collect::<Vec<_>>(),
            })
        });
        let (verdict, reason) = words(self.verdict());
        let mut report = json!({
            "at": self.at,
            "verdict": verdict,
            "reason": reason,
            "providers": providers.collect::<Vec<_>>(),
        });
        if let Some((request, answer)) = &self.answer {
            let headers = answer.headers.iter();
            let headers = headers.map(|(name, value)| json!({"name": name, "value": value}));
            report["request"] = json!({
                "request": request,
                "token_in": answer.place,
                "rule": answer.rule,
                "status": answer.refusal.as_ref().map(|refusal| refusal.status),
                "details": answer.refusal.as_ref().map(|refusal| &refusal.details),
                "body": answer.refusal.as_ref().map(|refusal| &refusal.body),
                "headers": headers.collect::<Vec<_>>(),
                "note": answer.note,
            });
        }
        format!("{report:#}\n")
    }
}

fn line(check: &Check) -> String {
    let (word, slug) = outcome(check.outcome);
    let slug = slug.map_or_else(String::new, |slug| format!(" ({slug})"));
    let mark = match word {
        "passed" => "ok",
        "failed" => "FAILED",
        "unknown" => "?",
        _ => "-",
    };
    format!("  {mark:<6}  {:<13}  {}{slug}", check.name, check.detail)
}

fn check(check: &Check) -> Value {
    let (word, reason) = outcome(check.outcome);
    json!({
        "name": check.name,
        "outcome": word,
        "reason": reason,
        "detail": check.detail,
    })
}

fn pretty_answer(request: &str, answer: &Answer) -> String {
    let mut text = format!("\n{request}, with the token in {}: ", answer.place);
    text.push_str(&told(answer.verdict));
    if let Some(rule) = &answer.rule {
        text.push_str(&format!(", by rule {rule}"));
    }
    text.push('\n');
    if let Some(note) = &answer.note {
        text.push_str(&format!("  {note}\n"));
    }
    if let Some(refusal) = &answer.refusal {
        text.push_str(&format!("  {} {}\n", refusal.status, refusal.details));
    }
    for (name, value) in &answer.headers {
        text.push_str(&format!("  {name}: {value}\n"));
    }
    if let Some(refusal) = &answer.refusal {
        text.push_str(&format!("  {}\n", refusal.body));
    }
    text
}

const fn outcome(outcome: Outcome) -> (&'static str, Option<&'static str>) {
    match outcome {
        Outcome::Passed => ("passed", None),
        Outcome::Failed(reason) => ("failed", Some(reason.slug())),
        Outcome::Unknown => ("unknown", None),
        Outcome::NotAsked => ("not_asked", None),
    }
}

const fn words(verdict: Verdict) -> (&'static str, Option<&'static str>) {
    match verdict {
        Verdict::Accepted => ("accepted", None),
        Verdict::Refused(slug) => ("refused", Some(slug)),
        Verdict::Unknown => ("unknown", None),
    }
}

fn told(verdict: Verdict) -> String {
    match verdict {
        Verdict::Accepted => "accepted".to_owned(),
        Verdict::Refused(slug) => format!("refused ({slug})"),
        Verdict::Unknown => "can't be told here".to_owned(),
    }
}
