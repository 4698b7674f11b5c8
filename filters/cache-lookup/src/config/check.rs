//! From the configuration as it is written to the typed one; all that is wrong is reported.

use std::time::Duration;

use filter_core::config::Place;
use filter_core::config::fields::{Bounded, CidrText, HeaderName};
use filter_core::matcher::Matcher;

use super::key::KeyRules;
use super::raw::*;
use super::{Config, Partial, Purge, Rule, Stale, Ttl};
use crate::freshness::Heuristic;

/// What a rule has that doesn't say otherwise.
struct Base {
    ttl: Ttl,
    stale: Stale,
    key: KeyRules,
    set_cookie: SetCookie,
    request_directives: RequestDirectives,
}

impl RawConfig {
    /// Makes a configuration, or reports all that is wrong.
    pub fn check(self, place: &Place<'_>) -> Option<Config> {
        let ttl = self.ttl.check(&place.field("ttl"));
        let stale = self.stale.check(&place.field("stale"));
        let key = self.key.check(&place.field("key"));
        let base = ttl.zip(stale).zip(key).map(|((ttl, stale), key)| Base {
            ttl,
            stale,
            key,
            set_cookie: self.set_cookie,
            request_directives: self.request_directives,
        });
        let at = place.field("rules");
        let mut names = Vec::with_capacity(self.rules.len());
        let mut rules = Vec::with_capacity(self.rules.len().saturating_add(1));
        for (index, raw) in self.rules.into_iter().enumerate() {
            let at = at.index(index);
            if names.contains(&raw.name) {
                at.field("name").report(&format!(
                    "another rule is called \"{}\" too; names must differ",
                    raw.name
                ));
            }
            names.push(raw.name.clone());
            rules.push(raw.check(base.as_ref(), &at));
        }
        let purge = self.purge.map(|purge| purge.check(&place.field("purge")));
        let remote = self
            .remote
            .map(|remote| remote.check(&place.field("remote")));
        let name = self.cache_status.name;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !name.chars().all(fits) || name.starts_with(|c: char| !c.is_ascii_alphabetic()) {
            place
                .field("cache_status")
                .field("name")
                .refuse("letters, digits, \"-\", \"_\" and \".\", a letter first; or no text");
        }
        if self.store.max_object_bytes.get() > self.store.max_bytes.get() {
            place
                .field("store")
                .field("max_object_bytes")
                .report("is more than \"max_bytes\": no such response could be stored");
        }
        let base = base?;
        rules.push(Some(base.everything()));
        Some(Config {
            rules: rules.into_iter().collect::<Option<_>>()?,
            targets: texts(&self.targets),
            partial: Partial {
                store: self.partial.store,
                repair: self.partial.content_range == ContentRange::Repair,
                complete_without_validator: self.partial.complete_without_validator,
            },
            unkeyed: texts(&self.poisoning.unkeyed_headers),
            collapse: self.collapse.enabled,
            collapse_wait: millis(self.collapse.wait.get()),
            remember_uncacheable: millis(self.collapse.remember_uncacheable.get()),
            purge: purge.map_or(Some(None), |purge| purge.map(Some))?,
            tag_headers: texts(&self.tag_headers),
            max_bytes: self.store.max_bytes.get(),
            max_object_bytes: self.store.max_object_bytes.get(),
            worker_bytes: self.store.worker_bytes.get(),
            remote: remote.map_or(Some(None), |remote| remote.map(Some))?,
            cache_name: (!name.is_empty()).then_some(name),
            tell_key: self.cache_status.key,
            late_bodies: self.late_bodies,
        })
    }
}

impl Base {
    /// The rule for what no other rule is about.
    fn everything(self) -> Rule {
        Rule {
            name: String::new(),
            matcher: Matcher::default(),
            content_types: None,
            bypass: false,
            force: false,
            ttl: self.ttl,
            stale: self.stale,
            key: self.key,
            set_cookie: self.set_cookie,
            honours_clients: self.request_directives == RequestDirectives::Honour,
            body_key: None,
            vary_ignore: Vec::new(),
            vary_add: Vec::new(),
        }
    }
}

impl RawRule {
    fn check(self, base: Option<&Base>, place: &Place<'_>) -> Option<Rule> {
        let matcher = self.matching.check(&place.field("match"));
        let ttl = self.ttl.map(|ttl| ttl.check(&place.field("ttl")));
        let stale = self.stale.map(|stale| stale.check(&place.field("stale")));
        let key = self.key.map(|key| key.check(&place.field("key")));
        let at = place.field("content_types");
        let content_types = self.content_types.map(|types| {
            if types.is_empty() {
                at.refuse("a list with at least one entry, or no such field");
            }
            let types = types.into_iter().enumerate();
            let types: Vec<_> = types
                .map(|(index, text)| content_type(&text, &at.index(index)))
                .collect();
            types.into_iter().collect::<Option<Vec<_>>>()
        });
        let overrides = |ttl: &Option<Option<Ttl>>| {
            let own = ttl
                .as_ref()
                .map(|ttl| ttl.as_ref().map(|ttl| ttl.overriding));
            let own = own.unwrap_or_else(|| base.map(|base| base.ttl.overriding));
            own.is_none_or(|overriding| overriding.is_some())
        };
        if self.force && !overrides(&ttl) {
            place
                .field("force")
                .report("needs \"ttl.override\": for how long isn't said otherwise");
        }
        if self.bypass && (self.force || self.cache_post.is_some()) {
            place
                .field("bypass")
                .report("requests that are left alone have nothing else");
        }
        if let Some(post) = &self.cache_post
            && !post.key_from_body
        {
            place.field("cache_post").field("key_from_body").report(
                "answers to requests with other bodies would be mixed up; write true, or leave \
                 \"cache_post\" out",
            );
        }
        let base = base?;
        Some(Rule {
            name: self.name.as_str().to_owned(),
            matcher: matcher?,
            content_types: content_types.map_or(Some(None), |types| types.map(Some))?,
            bypass: self.bypass,
            force: self.force,
            ttl: ttl.unwrap_or_else(|| Some(base.ttl.clone()))?,
            stale: stale.unwrap_or_else(|| Some(base.stale.clone()))?,
            key: key.unwrap_or_else(|| Some(base.key.clone()))?,
            set_cookie: self.set_cookie.unwrap_or(base.set_cookie),
            honours_clients: self.request_directives.unwrap_or(base.request_directives)
                == RequestDirectives::Honour,
            body_key: self.cache_post.map(|post| post.max_body_bytes.get()),
            vary_ignore: texts(&self.vary.ignore),
            vary_add: texts(&self.vary.add),
        })
    }
}

impl RawTtl {
    fn check(self, place: &Place<'_>) -> Option<Ttl> {
        let at = place.field("status");
        let status = self.status.into_iter().enumerate();
        let status: Vec<_> = status
            .map(|(index, raw)| {
                let number = |status: Bounded<200, 599>| u16::try_from(status.get()).ok();
                let from = number(raw.from)?;
                let to = raw.to.map_or(Some(from), number)?;
                if to < from {
                    at.index(index).field("to").report("is below \"from\"");
                    return None;
                }
                Some((from, to, raw.ttl.get().as_secs()))
            })
            .collect();
        let seconds = |duration: Duration| duration.as_secs();
        Some(Ttl {
            overriding: self.overriding.map(|ttl| seconds(ttl.get())),
            default: self.default.map(|ttl| seconds(ttl.get())),
            max: self.max.map(|ttl| seconds(ttl.get())),
            status: status.into_iter().collect::<Option<_>>()?,
            heuristic: Heuristic {
                percent: self.heuristic.percent.get(),
                most: seconds(self.heuristic.max.get()),
            },
        })
    }
}

impl RawStale {
    fn check(self, place: &Place<'_>) -> Option<Stale> {
        if self.cluster.as_ref().is_some_and(String::is_empty) {
            place.field("cluster").refuse("the name of a cluster");
            return None;
        }
        Some(Stale {
            while_revalidate: self.while_revalidate.get().as_secs(),
            if_error: self.if_error.get().as_secs(),
            keep: self.keep.get().as_secs(),
            cluster: self.cluster,
        })
    }
}

impl RawPurge {
    fn check(self, place: &Place<'_>) -> Option<Purge> {
        let fits = |c: char| c.is_ascii_uppercase() || matches!(c, '-' | '_');
        let known = [
            "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "QUERY",
        ];
        if self.method.is_empty()
            || !self.method.chars().all(fits)
            || known.contains(&&*self.method)
        {
            place
                .field("method")
                .refuse("a method of its own in upper case, such as \"PURGE\"");
        }
        if let Some(path) = &self.path
            && (!path.starts_with('/') || path.contains(['?', '#']))
        {
            place
                .field("path")
                .refuse("a path that starts with \"/\", without query");
        }
        let short =
            |secret: &String| secret.len() < 16 || !secret.chars().all(|c| c.is_ascii_graphic());
        if self.secret.as_ref().is_some_and(short) {
            place
                .field("secret")
                .refuse("16 or more visible ASCII characters");
        }
        if self.secret.is_none() && self.addresses.as_ref().is_none_or(Vec::is_empty) {
            place.report("anybody could purge; allowed: with \"secret\", \"addresses\" or both");
        }
        Some(Purge {
            method: self.method,
            path: self.path,
            secret: self.secret,
            header: self.header.as_str().to_owned(),
            addresses: self
                .addresses
                .map(|addresses| addresses.into_iter().map(CidrText::get).collect()),
        })
    }
}

fn content_type(text: &str, place: &Place<'_>) -> Option<(String, String)> {
    let lower = text.to_ascii_lowercase();
    let fits = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_graphic() && !"/;,*".contains(c))
    };
    match lower.split_once('/') {
        Some((kind, subtype)) if fits(kind) && (subtype == "*" || fits(subtype)) => {
            Some((kind.to_owned(), subtype.to_owned()))
        }
        _ => {
            place.refuse("a type of content without parameters: \"text/html\" or \"image/*\"");
            None
        }
    }
}

fn texts(names: &[HeaderName]) -> Vec<String> {
    names.iter().map(|name| name.as_str().to_owned()).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
