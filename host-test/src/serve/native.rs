//! Envoy's own HTTP filters beside the wasm filters, prepared for a route.

use crate::bootstrap::{HeaderMutation, MetadataKey, NativeFilter, NativeKind};
use crate::headers::Headers;

/// The filters that the requests of a route pass.
#[derive(Clone, Debug, Default)]
pub(super) struct Natives {
    /// Before the wasm filters.
    pub(super) first: Vec<Native>,
    /// After them.
    pub(super) last: Vec<Native>,
}

/// A filter with what the route says of it.
#[derive(Clone, Debug)]
pub(super) struct Native {
    pub(super) kind: NativeKind,
    /// Of header_mutation: the route's configuration and the virtual host's.
    pub(super) more: Vec<HeaderMutation>,
}

impl Natives {
    /// Prepares the filters that `is_on`; `levels` are the configurations of route and virtual host.
    pub(super) fn new(
        filters: &[NativeFilter],
        is_on: impl Fn(&NativeFilter) -> bool,
        levels: &[&[(String, HeaderMutation)]],
    ) -> Self {
        let mut natives = Self::default();
        for filter in filters.iter().filter(|filter| is_on(filter)) {
            let configs = levels.iter().flat_map(|level| level.iter());
            let own = configs.filter(|(name, _)| *name == filter.name);
            let native = Native {
                kind: filter.kind.clone(),
                more: own.map(|(_, mutation)| mutation.clone()).collect(),
            };
            if filter.first {
                natives.first.push(native);
            } else {
                natives.last.push(native);
            }
        }
        natives
    }
}

impl Native {
    /// The mutations of a header_mutation filter, in order.
    pub(super) fn mutations(&self) -> impl Iterator<Item = &HeaderMutation> {
        let own = match &self.kind {
            NativeKind::HeaderMutation(own) => Some(own),
            _ => None,
        };
        own.into_iter().chain(&self.more)
    }
}

/// Dynamic metadata: text by namespace and path.
#[derive(Debug, Default)]
pub(super) struct Metadata(Vec<(MetadataKey, String)>);

impl Metadata {
    pub(super) fn get(&self, key: &MetadataKey) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn set(&mut self, key: &MetadataKey, value: String) {
        self.0.retain(|(known, _)| known != key);
        self.0.push((key.clone(), value));
    }

    /// Carries header_to_metadata out.
    pub(super) fn take_headers(
        &mut self,
        rules: &[crate::bootstrap::MetadataRule],
        request: &mut Headers,
    ) {
        for rule in rules {
            let value = request.text(&rule.header).map(|value| value.into_owned());
            match (value, &rule.present, &rule.missing) {
                (Some(value), Some((key, fixed)), _) => {
                    let value = fixed.clone().unwrap_or(value);
                    // An empty value isn't written, as in Envoy.
                    if !value.is_empty() {
                        self.set(key, value);
                    }
                }
                (None, _, Some((key, value))) => self.set(key, value.clone()),
                _ => {}
            }
            if rule.remove {
                request.remove(&rule.header);
            }
        }
    }
}
