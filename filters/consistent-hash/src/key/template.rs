//! Templates of paths, in which some segments count.

/// A template such as `/tenants/{id}/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    segments: Vec<Segment>,
    /// Whether any segments may follow.
    open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Any,
    Counts,
    Text(String),
}

impl Template {
    /// Reads a template; at least one segment must count.
    pub fn new(text: &str) -> Option<Self> {
        let mut segments = Vec::new();
        let mut open = false;
        for segment in text.strip_prefix('/')?.split('/') {
            if open {
                return None;
            }
            match segment {
                "**" => open = true,
                "*" => segments.push(Segment::Any),
                _ => match segment.strip_prefix('{') {
                    Some(name) => {
                        let name = name.strip_suffix('}')?;
                        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                        if name.is_empty() || !name.bytes().all(is_name) {
                            return None;
                        }
                        segments.push(Segment::Counts);
                    }
                    None if segment.contains(['*', '{', '}', '?', '#']) => return None,
                    None => segments.push(Segment::Text(segment.to_owned())),
                },
            }
        }
        let counts = segments.contains(&Segment::Counts);
        counts.then_some(Self { segments, open })
    }

    /// The segments of a path that count, joined by `/`; `None` if it doesn't fit.
    pub fn find(&self, path: &[u8]) -> Option<Vec<u8>> {
        let mut key = Vec::new();
        let mut found = 0_usize;
        let mut parts = path.strip_prefix(b"/")?.split(|byte| *byte == b'/');
        for segment in &self.segments {
            let part = parts.next()?;
            match segment {
                Segment::Any if part.is_empty() => return None,
                Segment::Any => {}
                Segment::Counts if part.is_empty() => return None,
                Segment::Counts => {
                    if found > 0 {
                        key.push(b'/');
                    }
                    found = found.saturating_add(1);
                    key.extend_from_slice(part);
                }
                Segment::Text(text) if part == text.as_bytes() => {}
                Segment::Text(_) => return None,
            }
        }
        (self.open || parts.next().is_none()).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_segments_that_count() {
        let rows = [
            ("/tenants/{id}/*", "/tenants/7/orders", Some("7")),
            ("/tenants/{id}/*", "/tenants/7", None),
            ("/tenants/{id}/*", "/tenants/7/orders/1", None),
            ("/tenants/{id}/**", "/tenants/7/orders/1", Some("7")),
            ("/tenants/{id}/**", "/tenants/7", Some("7")),
            ("/tenants/{id}/**", "/tenants//x", None),
            ("/{org}/{repo}/**", "/a/b/c", Some("a/b")),
            ("/v1/{id}", "/v2/1", None),
            ("/v1/{id}", "v1/1", None),
        ];
        for (template, path, expected) in rows {
            let found = Template::new(template).unwrap().find(path.as_bytes());
            assert_eq!(
                found.as_deref(),
                expected.map(str::as_bytes),
                "{template} {path}"
            );
        }
    }

    #[test]
    fn what_names_nothing_is_no_template() {
        for text in [
            "",
            "/",
            "a/{id}",
            "/a/b",
            "/*",
            "/**/{id}",
            "/{}",
            "/{a",
            "/x{id}",
            "/{a-b}",
            "/{id}/**/x",
        ] {
            assert_eq!(Template::new(text), None, "{text}");
        }
    }
}
