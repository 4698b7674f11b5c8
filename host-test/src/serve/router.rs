//! Finding the route of a request.

use std::collections::HashMap;

use crate::bootstrap::{
    HeaderMatcher, PathMatch, QueryMatcher, Route, RouteMatch, RouteTable, VirtualHost,
};
use crate::headers::Headers;

/// The virtual hosts of a route table by domain.
#[derive(Debug, Default)]
pub(super) struct Router {
    exact: HashMap<String, usize>,
    /// `*.example.com` without the star, longest first.
    suffixes: Vec<(String, usize)>,
    /// `api.*` without the star, longest first.
    prefixes: Vec<(String, usize)>,
    any: Option<usize>,
}

/// Where a route stands in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) host: usize,
    pub(super) route: usize,
}

impl Found {
    pub(super) fn of(self, table: &RouteTable) -> (&VirtualHost, &Route) {
        let host = &table.virtual_hosts[self.host];
        (host, &host.routes[self.route])
    }
}

impl Router {
    pub(super) fn new(table: &RouteTable) -> Self {
        let mut router = Self::default();
        for (index, host) in table.virtual_hosts.iter().enumerate() {
            for domain in &host.domains {
                if domain == "*" {
                    router.any = Some(index);
                } else if let Some(suffix) = domain.strip_prefix('*') {
                    router.suffixes.push((suffix.to_owned(), index));
                } else if let Some(prefix) = domain.strip_suffix('*') {
                    router.prefixes.push((prefix.to_owned(), index));
                } else {
                    router.exact.insert(domain.clone(), index);
                }
            }
        }
        let longest_first = |list: &mut Vec<(String, usize)>| {
            list.sort_by_key(|(part, _)| std::cmp::Reverse(part.len()));
        };
        longest_first(&mut router.suffixes);
        longest_first(&mut router.prefixes);
        router
    }

    /// The first route that matches in the virtual host that the authority belongs to.
    pub(super) fn find(&self, table: &RouteTable, request: &Headers) -> Option<Found> {
        let host = self.host(request.first(":authority")?)?;
        let path = request.text(":path")?;
        let (path, query) = match path.find(['?', '#']) {
            Some(end) => (&path[..end], path[end..].strip_prefix('?').unwrap_or("")),
            None => (&*path, ""),
        };
        let routes = &table.virtual_hosts.get(host)?.routes;
        let route = routes
            .iter()
            .position(|route| matches(&route.matches, path, query, request))?;
        Some(Found { host, route })
    }

    /// The virtual host of an authority: exact, then the longest suffix, the longest prefix, any.
    fn host(&self, authority: &[u8]) -> Option<usize> {
        if self.exact.is_empty() && self.suffixes.is_empty() && self.prefixes.is_empty() {
            return self.any;
        }
        let authority = String::from_utf8_lossy(authority).to_ascii_lowercase();
        if let Some(host) = self.exact.get(&authority) {
            return Some(*host);
        }
        // A wildcard stands for at least one character.
        let longer = |part: &str| authority.len() > part.len();
        let suffix = |(part, _): &&(String, usize)| longer(part) && authority.ends_with(part);
        let prefix = |(part, _): &&(String, usize)| longer(part) && authority.starts_with(part);
        let wild = self.suffixes.iter().find(suffix);
        wild.or_else(|| self.prefixes.iter().find(prefix))
            .map(|(_, host)| *host)
            .or(self.any)
    }
}

fn matches(route: &RouteMatch, path: &str, query: &str, request: &Headers) -> bool {
    path_matches(route, path)
        && route
            .headers
            .iter()
            .all(|matcher| header_matches(matcher, request))
        && route
            .query
            .iter()
            .all(|matcher| query_matches(matcher, query))
}

fn path_matches(route: &RouteMatch, path: &str) -> bool {
    let sensitive = route.case_sensitive;
    let same = |a: &[u8], b: &[u8]| {
        if sensitive {
            a == b
        } else {
            a.eq_ignore_ascii_case(b)
        }
    };
    let starts = |start: &str| {
        let head = path.as_bytes().get(..start.len());
        head.is_some_and(|head| same(head, start.as_bytes()))
    };
    match &route.path {
        PathMatch::Exact(whole) => same(path.as_bytes(), whole.as_bytes()),
        PathMatch::Prefix(start) => starts(start),
        PathMatch::Regex(regex) => regex.is_match(path),
        PathMatch::SeparatedPrefix(start) => {
            starts(start) && matches!(path.as_bytes().get(start.len()), None | Some(b'/'))
        }
    }
}

/// Whether a header matches; several of one name are compared joined by commas, as in Envoy.
fn header_matches(matcher: &HeaderMatcher, request: &Headers) -> bool {
    let mut values = request.all(&matcher.name);
    let matched = match (values.next(), &matcher.value) {
        (first, None) => first.is_some(),
        // An absent header matches no value, and no inverted one either.
        (None, Some(_)) => return false,
        (Some(first), Some(value)) => match values.next() {
            None => value.matches(&String::from_utf8_lossy(first)),
            Some(second) => {
                let mut joined = [first, second].join(&b',');
                for more in values {
                    joined.push(b',');
                    joined.extend(more);
                }
                value.matches(&String::from_utf8_lossy(&joined))
            }
        },
    };
    matched != matcher.invert
}

/// Whether a query parameter matches; of several of one name the first counts.
fn query_matches(matcher: &QueryMatcher, query: &str) -> bool {
    let value = query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == matcher.name).then_some(value)
    });
    match (value, &matcher.value) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(value), Some(matcher)) => matcher.matches(value),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::bootstrap;

    fn table(virtual_hosts: &str) -> RouteTable {
        let source = format!(
            r#"
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: s
          http_filters:
          - name: router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config: {{virtual_hosts: [{virtual_hosts}]}}
"#
        );
        let mut loaded = bootstrap::parse(Path::new("t.yaml"), &source, false).unwrap();
        loaded.bootstrap.listeners.remove(0).manager.routes
    }

    /// Names of the virtual host and the route that a request takes.
    fn route(table: &RouteTable, request: &[(&str, &str)]) -> Option<(String, String)> {
        let request: Headers = request.iter().copied().collect();
        let (host, route) = Router::new(table).find(table, &request)?.of(table);
        Some((host.name.clone(), route.name.clone()))
    }

    #[test]
    fn the_most_specific_domain_wins() {
        let direct = "routes: [{match: {prefix: /}, direct_response: {status: 200}}]";
        let table = table(&format!(
            "{{name: any, domains: ['*'], {direct}}}, \
             {{name: exact, domains: [a.example.com], {direct}}}, \
             {{name: suffix, domains: ['*.example.com'], {direct}}}, \
             {{name: longer, domains: ['*.b.example.com'], {direct}}}, \
             {{name: prefix, domains: ['a.*'], {direct}}}"
        ));
        for (authority, host) in [
            ("a.example.com", "exact"),
            ("A.Example.COM", "exact"),
            ("x.example.com", "suffix"),
            ("x.b.example.com", "longer"),
            ("a.example.org", "prefix"),
            ("a.example.com:80", "prefix"),
            ("b.org", "any"),
            (".example.com", "any"),
        ] {
            let found = route(&table, &[(":authority", authority), (":path", "/")]);
            assert_eq!(found.unwrap().0, host, "{authority}");
        }
    }

    #[test]
    fn the_first_route_that_matches_is_taken() {
        let routes = [
            ("exact", "{path: /exact}"),
            ("folded", "{path: /Folded, case_sensitive: false}"),
            ("separated", "{path_separated_prefix: /sep}"),
            ("regex", "{safe_regex: {regex: '/r/[0-9]+'}}"),
            (
                "header",
                "{prefix: /h, headers: [{name: X-A, string_match: {exact: 'b,c'}}]}",
            ),
            (
                "without",
                "{prefix: /h, headers: [{name: x-b, present_match: false}]}",
            ),
            (
                "query",
                "{prefix: /q, query_parameters: [{name: a, string_match: {prefix: b}}, {name: c}]}",
            ),
            ("prefix", "{prefix: /p}"),
        ];
        let routes: Vec<String> = routes
            .iter()
            .map(|(name, matches)| {
                format!("{{name: {name}, match: {matches}, direct_response: {{status: 200}}}}")
            })
            .collect();
        let table = table(&format!(
            "{{name: v, domains: ['*'], routes: [{}]}}",
            routes.join(", ")
        ));
        let found = |path: &str, headers: &[(&str, &str)]| {
            let mut request = vec![(":authority", "a"), (":path", path)];
            request.extend(headers);
            route(&table, &request).map(|(_, route)| route)
        };
        for (path, expected) in [
            ("/exact", Some("exact")),
            ("/exact?x=1", Some("exact")),
            ("/Exact", None),
            ("/exact/", None),
            ("/fOLDED", Some("folded")),
            ("/sep", Some("separated")),
            ("/sep/a?b", Some("separated")),
            ("/separate", None),
            ("/r/12?x", Some("regex")),
            ("/r/12a", None),
            ("/h", Some("without")),
            ("/q?c&a=bb", Some("query")),
            ("/q?a=bb", None),
            ("/q?a=x&a=b&c", None),
            ("/prefixed", Some("prefix")),
            ("/P", None),
        ] {
            assert_eq!(found(path, &[]).as_deref(), expected, "{path}");
        }
        let header = |headers: &[(&str, &str)]| found("/h", headers);
        assert_eq!(
            header(&[("x-a", "b"), ("x-a", "c")]).as_deref(),
            Some("header")
        );
        assert_eq!(header(&[("x-a", "b"), ("x-b", "1")]), None);
    }
}
