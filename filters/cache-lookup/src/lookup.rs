//! Which entries of the store a request needs, one after the other.
//!
//! A lookup takes steps: it names a key, is given what lies under it, and names the next one or ends.
//! Under the primary key lies a response, or the [`Spec`] of responses that differ by fields of the
//! request. If nothing is there, the path may have an entry that says which parameters of its
//! queries matter (`No-Vary-Search`).

use filter_core::headers::Headers;

use crate::config::KeyRules;
use crate::head::{Head, Spec};
use crate::key;
use crate::request::Seen;
use crate::vary;

/// What a lookup came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Found {
    /// The entry under [`Lookup::key`] is a response that suits the request.
    Response,
    /// Nothing is stored for the target.
    #[default]
    Nothing,
    /// Responses for the target are stored, none of which suits the request.
    OtherVariants,
}

/// A lookup on its way.
#[derive(Clone, Debug, Default)]
pub struct Lookup {
    primary: Vec<u8>,
    /// The key of another entry than the one under the primary key.
    other: Option<Vec<u8>>,
    stage: Stage,
    has_body_key: bool,
    /// Nothing that is stored says how queries are compared.
    without_searches: bool,
    /// What lies under the primary key, if it is a spec.
    pub spec: Option<Spec>,
    /// What lies under the path's own key, if it says how queries are compared.
    pub search: Option<Spec>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Primary,
    Variant,
    SecondChoice,
    SearchEntry,
    Searched,
}

impl Lookup {
    /// Begins a lookup. `body` is the request's body where that belongs to the key. `None` if the key
    /// is too long.
    pub fn new(rules: &KeyRules, seen: &Seen<'_>, body: Option<&[u8]>) -> Option<Self> {
        let primary = key::primary(rules, seen, seen.target, body);
        (primary.len() <= key::LONGEST).then(|| Self {
            primary,
            has_body_key: body.is_some(),
            ..Self::default()
        })
    }

    /// Asks for no entry that says how queries are compared: there is none in the whole store.
    pub fn skip_searches(&mut self) {
        self.without_searches = true;
    }

    /// The key of the entry that is needed now or, after the last step, was found.
    pub fn key(&self) -> &[u8] {
        self.other.as_ref().unwrap_or(&self.primary)
    }

    /// The primary key.
    pub fn primary(&self) -> &[u8] {
        &self.primary
    }

    /// Takes what lies under [`Lookup::key`]. Returns what the lookup came to, or `None` if another
    /// entry is needed.
    pub fn step(
        &mut self,
        rules: &KeyRules,
        seen: &Seen<'_>,
        entry: Option<&Head>,
    ) -> Option<Found> {
        match (self.stage, entry) {
            (Stage::SearchEntry, Some(Head::Spec(spec))) => {
                let search = key::search_of(&spec.search)?;
                self.other = Some(key::searching(rules, seen, &search, spec.generation));
                self.search = Some(spec.clone());
                self.stage = Stage::Searched;
                None
            }
            (Stage::SearchEntry, _) => Some(Found::Nothing),
            (_, Some(Head::Response(_))) => Some(Found::Response),
            (Stage::Primary, Some(Head::Spec(spec))) => {
                self.spec = Some(spec.clone());
                self.other = Some(self.variant(spec, &seen.headers, false));
                self.stage = Stage::Variant;
                None
            }
            (Stage::Primary, None) if !self.has_body_key && !self.without_searches => {
                self.other = Some(key::search_entry(rules, seen));
                self.stage = Stage::SearchEntry;
                None
            }
            (Stage::Variant, None) => {
                let spec = self.spec.take()?;
                let second = self.variant(&spec, &seen.headers, true);
                self.spec = Some(spec);
                if second == self.key() {
                    return Some(Found::OtherVariants);
                }
                self.other = Some(second);
                self.stage = Stage::SecondChoice;
                None
            }
            (Stage::Variant | Stage::SecondChoice, _) => Some(Found::OtherVariants),
            (Stage::Primary | Stage::Searched, _) => Some(Found::Nothing),
        }
    }

    /// What a request that isn't answered has in common with those whose answer may be its own: the
    /// response's key as far as it is known.
    pub fn shared_key(&self, request: &Headers<'_>) -> Vec<u8> {
        match (&self.spec, &self.search) {
            (Some(spec), _) => self.variant(spec, request, false),
            (None, Some(_)) => self.key().to_vec(),
            (None, None) => self.primary.clone(),
        }
    }

    /// The key of the response for a request under a spec.
    pub fn variant(&self, spec: &Spec, request: &Headers<'_>, select: bool) -> Vec<u8> {
        let mut key = self.primary.clone();
        key.extend_from_slice(&vary::secondary_key(spec, request, select));
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Response;

    fn block(fields: &[(&str, &str)]) -> Vec<u8> {
        Headers::encode(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())))
    }

    fn request(more: &[(&str, &str)]) -> Vec<u8> {
        let mut fields = vec![(":method", "GET"), (":authority", "a"), (":path", "/x?b=1")];
        fields.extend_from_slice(more);
        block(&fields)
    }

    #[test]
    fn a_response_under_the_primary_key_takes_one_step() {
        let block = request(&[]);
        let seen = Seen::of(Headers::decode(&block));
        let rules = KeyRules::default();
        let mut lookup = Lookup::new(&rules, &seen, None).expect("a key");
        let response = Head::Response(Response::default());
        assert_eq!(
            lookup.step(&rules, &seen, Some(&response)),
            Some(Found::Response)
        );
        assert_eq!(lookup.key(), lookup.primary());
    }

    #[test]
    fn a_spec_leads_to_the_variant_of_the_request() {
        let block = request(&[("foo", "1")]);
        let seen = Seen::of(Headers::decode(&block));
        let rules = KeyRules::default();
        let mut lookup = Lookup::new(&rules, &seen, None).expect("a key");
        let spec = Head::Spec(Spec {
            fields: vec!["foo".to_owned()],
            ..Spec::default()
        });
        assert_eq!(lookup.step(&rules, &seen, Some(&spec)), None);
        assert_ne!(lookup.key(), lookup.primary());
        let other = lookup.clone().step(&rules, &seen, None);
        assert_eq!(other, Some(Found::OtherVariants));
        let response = Head::Response(Response::default());
        assert_eq!(
            lookup.step(&rules, &seen, Some(&response)),
            Some(Found::Response)
        );
    }

    #[test]
    fn a_path_that_says_how_queries_are_compared_leads_to_its_responses() {
        let block = request(&[]);
        let seen = Seen::of(Headers::decode(&block));
        let rules = KeyRules::default();
        let mut lookup = Lookup::new(&rules, &seen, None).expect("a key");
        assert_eq!(lookup.step(&rules, &seen, None), None);
        let nothing = lookup.clone().step(&rules, &seen, None);
        assert_eq!(nothing, Some(Found::Nothing));
        let spec = Head::Spec(Spec {
            search: b"params".to_vec(),
            ..Spec::default()
        });
        assert_eq!(lookup.step(&rules, &seen, Some(&spec)), None);
        let response = Head::Response(Response::default());
        assert_eq!(
            lookup.step(&rules, &seen, Some(&response)),
            Some(Found::Response)
        );
    }

    #[test]
    fn without_any_such_path_in_the_store_none_is_looked_for() {
        let block = request(&[]);
        let seen = Seen::of(Headers::decode(&block));
        let rules = KeyRules::default();
        let mut lookup = Lookup::new(&rules, &seen, None).expect("a key");
        lookup.skip_searches();
        assert_eq!(lookup.step(&rules, &seen, None), Some(Found::Nothing));
    }

    #[test]
    fn a_key_of_64_kib_is_no_key() {
        let long = format!("/{}", "a".repeat(64 * 1024));
        let block = block(&[(":method", "GET"), (":path", &long)]);
        let seen = Seen::of(Headers::decode(&block));
        assert!(Lookup::new(&KeyRules::default(), &seen, None).is_none());
    }

    #[test]
    fn requests_for_other_variants_do_not_wait_for_each_other() {
        let rules = KeyRules::default();
        let shared = |foo: &str, spec: Option<&Head>| {
            let block = request(&[("foo", foo)]);
            let seen = Seen::of(Headers::decode(&block));
            let mut lookup = Lookup::new(&rules, &seen, None).expect("a key");
            lookup.step(&rules, &seen, spec);
            while lookup.step(&rules, &seen, None).is_none() {}
            lookup.shared_key(&seen.headers)
        };
        assert_eq!(shared("1", None), shared("2", None), "who knows");
        let spec = Head::Spec(Spec {
            generation: 1,
            fields: vec!["foo".to_owned()],
            ..Spec::default()
        });
        assert_eq!(shared("1", Some(&spec)), shared("1", Some(&spec)));
        assert_ne!(shared("1", Some(&spec)), shared("2", Some(&spec)));
    }
}
