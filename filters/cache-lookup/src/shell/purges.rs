//! Purges by hand, and what a write makes worthless.

use filter_core::headers::Headers;
use filter_shell::host::{self, Status};

use super::cache::{Cache, Count};
use crate::purge::{Order, Refused, Scope};
use crate::remote::fleet::Target;
use crate::request::Seen;
use crate::store;

impl Cache {
    /// Carries a purge out and answers.
    pub(super) fn purge(
        &self,
        seen: &Seen<'_>,
        order: Result<Order, Refused>,
    ) -> Result<(), Status> {
        let reply = |status: u16, text: &str| {
            let fields = [
                (&b"content-type"[..], &b"application/json"[..]),
                (b"cache-control", b"no-store"),
            ];
            host::send_bytes(
                status,
                "cache_purge",
                &Headers::encode(fields),
                text.as_bytes(),
            )
        };
        let order = match order {
            Ok(order) => order,
            Err(Refused::Forbidden) => return reply(403, "{\"error\":\"forbidden\"}\n"),
            Err(Refused::Unclear) => return reply(400, "{\"error\":\"unclear\"}\n"),
        };
        let now = self.now()?;
        let soft = order.soft;
        let scopes = match order.scope {
            Scope::Target(target) => {
                let keys = self.invalidate_target(seen, &target, soft, now)?;
                self.publish_keys(seen, &target, keys, soft, now);
                Vec::new()
            }
            Scope::Prefix(prefix) => vec![store::Scope::Prefix(prefix)],
            Scope::Tags(tags) => tags.into_iter().map(store::Scope::Tag).collect(),
            Scope::All => vec![store::Scope::All],
        };
        for what in scopes {
            self.publish(Target::Many(what.clone()), soft, now);
            self.store.purge(store::Purge { what, soft })?;
        }
        self.count(Count::Purged, 1);
        reply(200, "{\"purged\":true}\n")
    }

    /// Makes all that is stored for a target of the request's host worthless, under every rule's
    /// keys; returns those.
    pub(super) fn invalidate_target(
        &self,
        seen: &Seen<'_>,
        target: &[u8],
        soft: bool,
        now: u64,
    ) -> Result<Vec<Vec<u8>>, Status> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let as_get = Seen {
            target,
            ..seen.clone()
        };
        for rule in &self.policy.config().rules {
            let own = [
                crate::key::primary(&rule.key, &as_get, target, None),
                crate::key::search_entry(&rule.key, &as_get),
            ];
            for key in own {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        for key in &keys {
            if self.store.invalidate(self.store.hash(key), soft, now)? {
                self.count(Count::Invalidated, 1);
            }
        }
        Ok(keys)
    }
}
