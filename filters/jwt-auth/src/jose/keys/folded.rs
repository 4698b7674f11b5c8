//! Key sets that went through YAML.
//!
//! A set pasted into YAML as a folded block (`>-`) keeps line breaks and indentation in the midst of
//! its long numbers, as the examples in Envoy's documentation do. JSON has no such strings
//! (RFC 8259 section 7), but Envoy's jwt_authn takes them, and what was meant is plain.

/// Takes line breaks out of strings, with the white space around them. Other texts stay as they are.
pub(super) fn unfold(mut json: Vec<u8>) -> Vec<u8> {
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if !json.iter().any(is_break) {
        return json;
    }
    let mut state = State::Outside;
    json.retain(|byte| {
        let (next, kept) = match (state, byte) {
            (State::Outside, b'"') => (State::Inside, true),
            (State::Outside, _) => (State::Outside, true),
            (State::Escape, _) => (State::Inside, true),
            (State::Inside | State::Break, b'\n' | b'\r') | (State::Break, b' ' | b'\t') => {
                (State::Break, false)
            }
            (State::Inside | State::Break, b'"') => (State::Outside, true),
            (State::Inside | State::Break, b'\\') => (State::Escape, true),
            (State::Inside | State::Break, _) => (State::Inside, true),
        };
        state = next;
        kept
    });
    json
}

#[derive(Clone, Copy)]
enum State {
    Outside,
    Inside,
    /// After a backslash.
    Escape,
    /// After a line break in a string.
    Break,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unfolded(text: &str) -> String {
        String::from_utf8(unfold(text.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn a_number_that_was_folded_is_whole_again() {
        assert_eq!(
            unfolded("{\n  \"n\": \"0vx7\n      wu1R\r\n\tK7aP\",\n  \"e\": \"AQAB\"}\n"),
            "{\n  \"n\": \"0vx7wu1RK7aP\",\n  \"e\": \"AQAB\"}\n"
        );
    }

    #[test]
    fn what_is_json_already_stays_as_it_is() {
        for text in [
            "",
            r#"{"kid": "a  b\"c", "k\\": "\n \\"}"#,
            "{\n\t\"kid\": \"a  b\"\r\n}",
            "{\"open",
            "{\"open\\",
        ] {
            assert_eq!(unfolded(text), text);
        }
    }
}
