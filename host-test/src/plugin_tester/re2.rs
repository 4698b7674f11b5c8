//! RE2's syntax in terms of the `regex` crate's, which refuses some of it or takes it otherwise.
//!
//! A brace that begins no repetition is a brace, `\Q…\E` quotes, and in a class `[`, `&` and `~`
//! mean themselves. All else is written alike.

use regex::bytes::Regex;

/// Compiles an expression that has to match a whole text. The error is one line.
pub(super) fn whole(re2: &str) -> Result<Regex, String> {
    let translated = translated(re2);
    // By itself first, so that its parentheses can't pair with those around it.
    let one_line = |error: regex::Error| {
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        last.trim_start_matches("error: ").to_owned()
    };
    Regex::new(&translated).map_err(one_line)?;
    Regex::new(&format!(r"\A(?:{translated})\z")).map_err(one_line)
}

fn translated(re2: &str) -> String {
    let mut out = String::with_capacity(re2.len());
    let mut rest = re2;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let mut taken = c.len_utf8();
        match c {
            '\\' if after.starts_with('Q') => {
                let quoted = after.get(1..).unwrap_or_default();
                let end = quoted.find("\\E");
                out.push_str(&regex::escape(&quoted[..end.unwrap_or(quoted.len())]));
                taken = end.map_or(rest.len(), |end| 2 + end + 2);
            }
            '\\' => {
                taken += after.chars().next().map_or(0, char::len_utf8);
                // A class or a character by its name or number: the braces are of the escape.
                if after.starts_with(['p', 'P', 'x']) && after[1..].starts_with('{') {
                    taken = rest.find('}').map_or(rest.len(), |end| end + 1);
                }
                out.push_str(&rest[..taken]);
            }
            '[' if in_class && !after.starts_with(':') => out.push_str("\\["),
            '[' if in_class => {
                // A named class, such as [:alpha:].
                taken = rest.find(":]").map_or(rest.len(), |end| end + 2);
                out.push_str(&rest[..taken]);
            }
            '[' => {
                in_class = true;
                // A bracket that closes right away means itself.
                let negated = if after.starts_with('^') { "[^" } else { "[" };
                out.push_str(negated);
                taken = negated.len();
                if rest[taken..].starts_with(']') {
                    out.push_str("\\]");
                    taken += 1;
                }
            }
            ']' => {
                in_class = false;
                out.push(c);
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            '{' if !in_class && !is_repetition(after) => out.push_str("\\{"),
            c => out.push(c),
        }
        rest = &rest[taken..];
    }
    out
}

/// Whether this goes on as `3}`, `3,}` or `3,5}`.
fn is_repetition(text: &str) -> bool {
    let Some((inside, _)) = text.split_once('}') else {
        return false;
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    !least.is_empty() && digits(least) && digits(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn re2_and_regex_agree_once_translated() {
        for (re2, text, matches) in [
            (r#".*{"a": 1}"#, r#"x{"a": 1}"#, true),
            ("a{2}", "aa", true),
            ("a{2}", "a{2}", false),
            ("a{2,}b{1,2}", "aaabb", true),
            ("a{,2}", "a{,2}", true),
            ("x{", "x{", true),
            (r"\Qa.b*\Ec", "a.b*c", true),
            (r"\Qa.b", "axb", false),
            (r"\Qa.b", "a.b", true),
            (r"\{\d+\}", "{12}", true),
            ("[[]a[&~]", "[a&", true),
            ("[[:alpha:]_]+", "ab_c", true),
            ("[]a]+", "]a", true),
            ("[^]]", "x", true),
            ("[a{]", "{", true),
            (r"[\]{]+", "]{", true),
            ("a|b", "ab", false),
            ("(?i)ABC", "abc", true),
            (".*missing token.$", "x missing token.", true),
            ("é+", "éé", true),
            (r"\p{Greek}\pL\x{62}[\p{Lu}\x41]", "αbbA", true),
        ] {
            let regex = whole(re2).unwrap();
            assert_eq!(regex.is_match(text.as_bytes()), matches, "{re2} on {text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused_in_a_line() {
        for re2 in ["(", ")|(", "a**b(", "[a", "\\"] {
            let error = whole(re2).unwrap_err();
            assert!(!error.is_empty() && !error.contains('\n'), "{re2}: {error}");
        }
    }
}
