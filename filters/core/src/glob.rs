//! Path patterns by segments: `*` within a segment, `**` for any number of them.
//!
//! A pattern is compared with the whole path. `*` stands for any bytes but `/`, also none; a segment
//! that is `**` stands for zero or more whole segments; every other byte for itself. There are no
//! classes, alternatives or escapes. Matching takes at most length of path × length of pattern
//! steps, whatever both are: a client can't make it slow.

/// A pattern that a path is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// `**`.
    Any,
    /// Text with `*` in it or without.
    Text(Vec<u8>),
}

impl Glob {
    /// Reads a pattern; `None` if it has `**` together with other text in one segment, which reads
    /// as if it crossed segments but couldn't.
    pub fn parse(pattern: &str) -> Option<Self> {
        let segments = pattern
            .split('/')
            .map(|segment| match segment {
                "**" => Some(Segment::Any),
                text if text.contains("**") => None,
                text => Some(Segment::Text(text.as_bytes().to_vec())),
            })
            .collect::<Option<_>>()?;
        Some(Self { segments })
    }

    /// Whether the whole path is as the pattern says.
    pub fn matches(&self, path: &[u8]) -> bool {
        let mut pattern = self.segments.as_slice();
        let mut rest = Some(path);
        // Where to go on from when it turns out that the last `**` took too few segments. Only the
        // last one ever has to give way: an earlier one could gain nothing by taking more.
        let mut retry: Option<(&[Segment], &[u8])> = None;
        loop {
            match (pattern.split_first(), rest) {
                (None, None) => return true,
                (Some((Segment::Any, [])), _) => return true,
                (Some((Segment::Any, after)), Some(path)) => {
                    retry = Some((after, path));
                    pattern = after;
                    continue;
                }
                (Some((Segment::Any, after)), None) => {
                    pattern = after;
                    continue;
                }
                (Some((Segment::Text(text), after)), Some(path)) => {
                    let (segment, next) = split_segment(path);
                    if text_matches(text, segment) {
                        pattern = after;
                        rest = next;
                        continue;
                    }
                }
                _ => {}
            }
            let Some((after, path)) = retry else {
                return false;
            };
            let (_, Some(next)) = split_segment(path) else {
                return false;
            };
            retry = Some((after, next));
            pattern = after;
            rest = Some(next);
        }
    }
}

/// Splits off the first segment; `None` for the rest if it was the last one.
fn split_segment(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match path.iter().position(|&byte| byte == b'/') {
        Some(end) => match path.split_at_checked(end) {
            Some((segment, rest)) => (segment, rest.get(1..)),
            None => (path, None),
        },
        None => (path, None),
    }
}

/// Compares one segment with text in which `*` stands for any bytes.
fn text_matches(text: &[u8], segment: &[u8]) -> bool {
    let (mut text, mut rest) = (text, segment);
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (text.split_first(), rest.split_first()) {
            (Some((b'*', after)), _) => {
                retry = Some((after, rest));
                text = after;
                continue;
            }
            (Some((expected, after)), Some((byte, next))) if expected == byte => {
                text = after;
                rest = next;
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        let Some((after, [_, next @ ..])) = retry else {
            return false;
        };
        retry = Some((after, next));
        text = after;
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Glob::parse(pattern).unwrap().matches(path.as_bytes())
    }

    #[test]
    fn a_star_stays_within_its_segment() {
        assert!(matches("/users/*/orders", "/users/7/orders"));
        assert!(matches("/users/*", "/users/"));
        assert!(matches("/*.json", "/a.json"));
        assert!(matches("/a*b*c", "/aXbYbZc"));
        assert!(!matches("/users/*", "/users/7/orders"));
        assert!(!matches("/users/*", "/users"));
        assert!(!matches("/*.json", "/a.jsonx"));
    }

    #[test]
    fn two_stars_stand_for_any_number_of_segments() {
        for path in ["/api", "/api/", "/api/a", "/api/a/b/c"] {
            assert!(matches("/api/**", path), "{path}");
        }
        for path in ["/users/orders", "/users/1/orders", "/users/1/2/orders"] {
            assert!(matches("/users/**/orders", path), "{path}");
        }
        assert!(matches("/**/a/**/b", "/x/a/y/a/z/b"));
        assert!(matches("**", "anything/at/all"));
        assert!(!matches("/api/**", "/apis"));
        assert!(!matches("/users/**/orders", "/users/1/order"));
        assert!(!matches("/**/a", "/a/b"));
    }

    #[test]
    fn two_stars_share_no_segment_with_text() {
        assert_eq!(Glob::parse("/a**/b"), None);
        assert_eq!(Glob::parse("/***"), None);
    }

    #[test]
    fn a_hostile_path_costs_no_more_than_its_length_times_the_pattern() {
        // Takes for ever with naive backtracking.
        let pattern = format!("/{}b", "*a".repeat(60));
        assert!(!matches(&pattern, &format!("/{}", "a".repeat(20_000))));
        let pattern = format!("{}/b", "/**/a".repeat(60));
        assert!(!matches(&pattern, &"/a".repeat(20_000)));
    }

    /// The definition, read literally: exponential, but plain.
    fn naive(pattern: &[&str], path: &[&str]) -> bool {
        match (pattern, path) {
            ([], []) => true,
            (["**", after @ ..], _) => {
                naive(after, path)
                    || path
                        .split_first()
                        .is_some_and(|(_, rest)| naive(pattern, rest))
            }
            ([text, after @ ..], [segment, rest @ ..]) => {
                naive_text(text.as_bytes(), segment.as_bytes()) && naive(after, rest)
            }
            _ => false,
        }
    }

    fn naive_text(text: &[u8], segment: &[u8]) -> bool {
        match (text, segment) {
            ([], []) => true,
            ([b'*', after @ ..], _) => {
                naive_text(after, segment)
                    || segment
                        .split_first()
                        .is_some_and(|(_, rest)| naive_text(text, rest))
            }
            ([a, after @ ..], [b, rest @ ..]) => a == b && naive_text(after, rest),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            pattern in prop::collection::vec("\\*\\*|[ab]?\\*?[ab]?\\*?", 0..6),
            path in prop::collection::vec("[ab]{0,3}", 0..7),
        ) {
            prop_assume!(pattern.iter().all(|segment| segment == "**" || !segment.contains("**")));
            let (pattern, path) = (format!("/{}", pattern.join("/")), format!("/{}", path.join("/")));
            let expected = naive(
                &pattern.split('/').collect::<Vec<_>>(),
                &path.split('/').collect::<Vec<_>>(),
            );
            prop_assert_eq!(matches(&pattern, &path), expected, "{} on {}", pattern, path);
        }
    }
}
