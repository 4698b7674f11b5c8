//! A cache around the policy: a map for a store, a clock that is set, an origin that is a function.

#![allow(dead_code, reason = "each test file uses its part")]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use cache_lookup::config::Config;
use cache_lookup::decision::{Decision, Edit, Plan, Verdict};
use cache_lookup::freshness::Moments;
use cache_lookup::head::{Head, Response, Spec};
use cache_lookup::lookup::{Found, Lookup};
use cache_lookup::policy::{Arrival, Asked, Course, Policy, Start, Stored};
use cache_lookup::request::Seen;
use cache_lookup::{date, key, vary};
use filter_core::headers::Headers;
use filter_core::request::Request;

/// 2026-11-29.
pub(crate) const NOW: u64 = 1_795_910_400;

type Fields = Vec<(String, String)>;

/// A message: its status or method, fields and body.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Message {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        fields.find(|(n, _)| n == name).map(|(_, v)| &**v)
    }
}

/// What a client got, and what went upstream for it.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) reply: Message,
    pub(crate) upstream: Option<Fields>,
    pub(crate) refresh: bool,
}

impl Outcome {
    pub(crate) fn is_hit(&self) -> bool {
        self.upstream.is_none()
    }

    pub(crate) fn body(&self) -> String {
        String::from_utf8_lossy(&self.reply.body).into_owned()
    }

    pub(crate) fn status(&self) -> u16 {
        self.reply.status
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.reply.get(name)
    }

    pub(crate) fn sent(&self, name: &str) -> Option<&str> {
        let sent = self.upstream.as_ref()?;
        sent.iter().find(|(n, _)| n == name).map(|(_, v)| &**v)
    }
}

/// A stored head and its body.
type Entry = (Head, Vec<u8>);

pub(crate) struct Cache {
    policy: Policy,
    pub(crate) now: Cell<u64>,
    delay: Cell<u64>,
    store: RefCell<HashMap<Vec<u8>, Entry>>,
    generation: Cell<u64>,
    script: RefCell<Vec<Message>>,
}

pub(crate) fn block<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let fields: Vec<_> = fields.into_iter().collect();
    Headers::encode(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())))
}

fn unblock(block: &[u8]) -> Fields {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let pairs = Headers::decode(block).iter();
    pairs.map(|(n, v)| (text(n), text(v))).collect()
}

pub(crate) fn config(json: &str) -> Config {
    Config::read(json.as_bytes()).unwrap_or_else(|errors| panic!("{json}: {}", errors.one_line()))
}

pub(crate) fn cache(json: &str) -> Cache {
    Cache {
        policy: Policy::new(config(json)),
        now: Cell::new(NOW * 1_000),
        delay: Cell::new(0),
        store: RefCell::default(),
        generation: Cell::new(1),
        script: RefCell::default(),
    }
}

/// A response of the origin; a field with a number for a value is a date so many seconds from `NOW`.
pub(crate) fn reply(status: u16, fields: &[(&str, &str)], body: &str) -> Message {
    let fields = fields.iter().map(|(name, value)| {
        let dated = matches!(*name, "date" | "expires" | "last-modified");
        let value = match (dated, value.parse::<i64>()) {
            (true, Ok(offset)) => date::format(NOW.saturating_add_signed(offset)),
            _ => (*value).to_owned(),
        };
        ((*name).to_owned(), value)
    });
    Message {
        status,
        fields: fields.collect(),
        body: body.as_bytes().to_vec(),
    }
}

impl Cache {
    pub(crate) fn wait(&self, seconds: u64) {
        self.now.set(self.now.get() + seconds * 1_000);
    }

    /// What the origin answers next; the last answer is given again and again.
    pub(crate) fn origin(&self, replies: impl IntoIterator<Item = Message>) -> &Self {
        *self.script.borrow_mut() = replies.into_iter().collect();
        self
    }

    /// The responses of the origin take so long from now on.
    pub(crate) fn slow(&self, seconds: u64) {
        self.delay.set(seconds * 1_000);
    }

    pub(crate) fn get(&self, fields: &[(&str, &str)]) -> Outcome {
        self.send("GET", "/", fields)
    }

    pub(crate) fn send(&self, method: &str, target: &str, fields: &[(&str, &str)]) -> Outcome {
        let all = [
            (":method", method),
            (":scheme", "http"),
            (":authority", "a.example"),
            (":path", target),
        ];
        let request = block(all.into_iter().chain(fields.iter().copied()));
        let headers = Headers::decode(&request);
        let mut seen = Seen::of(headers);
        let position = self.policy.rule_of(&Request {
            headers,
            ..Request::default()
        });
        let rule = self.policy.rule(position).expect("a rule");
        if !rule.honours_clients {
            seen.ignore_directives();
        }
        let course = |plan, outcome| Course {
            rule: position,
            plan,
            outcome,
            has_body_key: false,
        };
        match self.policy.start(rule, &seen, false) {
            Start::Lookup => {}
            Start::Write => {
                let course = course(Plan::Store, cache_lookup::decision::Outcome::Method);
                return self.arrive(course, &seen, unblock(&request), None, None);
            }
            Start::Bypass | Start::Body(_) => {
                let reply = self.next(&unblock(&request));
                return Outcome {
                    reply,
                    upstream: Some(unblock(&request)),
                    refresh: false,
                };
            }
        }
        let mut lookup = Lookup::new(&rule.key, &seen, None).expect("a key");
        let found = loop {
            let entry = self.store.borrow().get(lookup.key()).cloned();
            if let Some(found) = lookup.step(&rule.key, &seen, entry.as_ref().map(|e| &e.0)) {
                break found;
            }
        };
        let entry = match found {
            Found::Response => self.store.borrow().get(lookup.key()).cloned(),
            Found::Nothing | Found::OtherVariants => None,
        };
        let stored = entry.as_ref().and_then(stored);
        let asked = Asked {
            found,
            stored,
            now: self.now.get(),
            ..Asked::default()
        };
        match self.policy.decide(rule, &seen, &asked) {
            Decision::Answer(answer) => Outcome {
                reply: Message {
                    status: answer.status,
                    fields: unblock(&answer.fields),
                    body: slice(&entry, answer.body),
                },
                upstream: None,
                refresh: answer.refresh,
            },
            Decision::Forward(forward) => {
                let sent = edited(unblock(&request), &forward.edits);
                let course = course(forward.plan, forward.outcome);
                self.arrive(course, &seen, sent, Some(lookup), entry)
            }
        }
    }

    fn next(&self, _: &Fields) -> Message {
        let mut script = self.script.borrow_mut();
        match script.len() {
            0 => reply(500, &[], "the origin has nothing to say"),
            1 => script[0].clone(),
            _ => script.remove(0),
        }
    }

    fn arrive(
        &self,
        course: Course,
        seen: &Seen<'_>,
        sent: Fields,
        lookup: Option<Lookup>,
        entry: Option<(Head, Vec<u8>)>,
    ) -> Outcome {
        let request = self.now.get();
        self.now.set(request + self.delay.get());
        let mut reply = self.next(&sent);
        let status = reply.status.to_string();
        let pairs = reply.fields.iter().map(|(n, v)| (&**n, &**v));
        let response = block([(":status", &*status)].into_iter().chain(pairs));
        let arrival = Arrival {
            fields: Headers::decode(&response),
            moments: Moments {
                request,
                response: self.now.get(),
            },
            collapsed: false,
            key: &[],
        };
        let verdict = self
            .policy
            .judge(course, seen, &arrival, entry.as_ref().and_then(stored));
        let rule = self.policy.rule(course.rule).expect("a rule");
        let found_at = lookup.as_ref().map(|lookup| lookup.key().to_vec());
        let put_back = |updated: Response| {
            let body = entry.clone().map(|entry| entry.1).unwrap_or_default();
            let at = found_at.clone().unwrap_or_default();
            self.store
                .borrow_mut()
                .insert(at, (Head::Response(updated), body));
        };
        match verdict {
            Verdict::Answer {
                answer,
                refreshed,
                drop,
            } => {
                if drop {
                    self.store
                        .borrow_mut()
                        .remove(&found_at.clone().unwrap_or_default());
                }
                if let Some(updated) = refreshed {
                    put_back(*updated);
                }
                reply = Message {
                    status: answer.status,
                    fields: unblock(&answer.fields),
                    body: slice(&entry, answer.body),
                };
            }
            Verdict::Pass(pass) => {
                for target in &pass.invalidate {
                    let key = key::primary(&rule.key, seen, target, None);
                    self.store.borrow_mut().remove(&key);
                }
                if pass.drop {
                    self.store
                        .borrow_mut()
                        .remove(&found_at.clone().unwrap_or_default());
                }
                if let Some(updated) = pass.refreshed {
                    put_back(*updated);
                }
                if let Some(Ok(candidate)) = pass.store {
                    self.keep(rule, seen, lookup, *candidate, &reply.body);
                }
                reply.fields = edited(reply.fields, &pass.edits);
                let status = pass.status.map(|text| ("cache-status".to_owned(), text));
                reply.fields.extend(status);
            }
            Verdict::Complete { edits, candidate } => {
                let first = entry.map(|entry| entry.1).unwrap_or_default();
                reply.body = [first, reply.body].concat();
                reply.fields = edited(reply.fields, &edits);
                reply.status = 200;
                if let Some(candidate) = candidate {
                    self.keep(rule, seen, lookup, *candidate, &reply.body);
                }
            }
        }
        Outcome {
            reply,
            upstream: Some(sent),
            refresh: false,
        }
    }

    fn keep(
        &self,
        rule: &cache_lookup::config::Rule,
        seen: &Seen<'_>,
        lookup: Option<Lookup>,
        candidate: cache_lookup::storing::Candidate,
        body: &[u8],
    ) {
        let mut store = self.store.borrow_mut();
        let key = match lookup {
            None => key::primary(&rule.key, seen, seen.target, None),
            Some(lookup) if candidate.vary.is_empty() => lookup.primary().to_vec(),
            Some(lookup) => {
                let known = lookup.spec.clone();
                let known = known.filter(|spec| spec.fields == candidate.vary);
                let mut spec = known.unwrap_or_else(|| {
                    self.generation.set(self.generation.get() + 1);
                    Spec {
                        generation: self.generation.get(),
                        fields: candidate.vary.clone(),
                        ..Spec::default()
                    }
                });
                vary::learn_language(&mut spec, &seen.headers, &candidate.response.fields());
                let key = lookup.variant(&spec, &seen.headers, false);
                let entry = (Head::Spec(spec), Vec::new());
                store.insert(lookup.primary().to_vec(), entry);
                key
            }
        };
        let length = body.len() as u64;
        let repair = self.policy.config().partial.repair;
        if let Some(response) = candidate.complete(length, repair) {
            store.insert(key, (Head::Response(response), body.to_vec()));
        }
    }
}

fn stored(entry: &(Head, Vec<u8>)) -> Option<Stored<'_>> {
    match &entry.0 {
        Head::Response(response) => Some(Stored {
            response,
            length: entry.1.len() as u64,
            is_purged: false,
        }),
        Head::Spec(_) => None,
    }
}

fn slice(entry: &Option<(Head, Vec<u8>)>, part: Option<(usize, usize)>) -> Vec<u8> {
    let body = entry.as_ref().map(|entry| &*entry.1).unwrap_or_default();
    part.map(|(from, to)| body[from..to].to_vec())
        .unwrap_or_default()
}

fn edited(mut fields: Fields, edits: &[Edit]) -> Fields {
    for edit in edits {
        let name = match edit {
            Edit::Set(name, _) | Edit::Remove(name) => *name,
        };
        fields.retain(|(other, _)| other != name);
        if let Edit::Set(name, value) = edit {
            let value = String::from_utf8_lossy(value).into_owned();
            fields.push(((*name).to_owned(), value));
        }
    }
    fields
}
