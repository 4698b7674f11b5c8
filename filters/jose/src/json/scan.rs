//! The one pass over the text.

use super::{Flaw, Kind, MAX_DEPTH, Node, names, strings};

/// Finds the values of a text, whose strings may have control characters in them if that is allowed.
pub(super) fn scan(text: &str, allows_controls: bool) -> Result<Vec<Node>, Flaw> {
    let mut scanner = Scanner {
        text: text.as_bytes(),
        at: 0,
        // A claim takes 20 to 40 bytes and two nodes.
        nodes: Vec::with_capacity(text.len() / 12),
        open: None,
        depth: 0,
        allows_controls,
    };
    scanner.document()?;
    Ok(scanner.nodes)
}

struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    nodes: Vec<Node>,
    /// The innermost container that isn't closed. Until it is, its `next` is the one around it.
    open: Option<(usize, Kind)>,
    depth: usize,
    allows_controls: bool,
}

impl Scanner<'_> {
    fn document(&mut self) -> Result<(), Flaw> {
        loop {
            self.value()?;
            loop {
                let byte = self.peek();
                match (self.open, byte) {
                    (None, None) => return Ok(()),
                    (None, Some(_)) => return Err(self.flaw("something after the value")),
                    (Some((_, Kind::Object)), Some(b',')) => {
                        self.step();
                        self.name()?;
                        break;
                    }
                    (Some((_, Kind::Array)), Some(b',')) => {
                        self.step();
                        break;
                    }
                    (Some((_, Kind::Object)), Some(b'}'))
                    | (Some((_, Kind::Array)), Some(b']')) => self.close()?,
                    (Some((_, Kind::Object)), _) => {
                        return Err(self.flaw("expected a comma or a closing brace"));
                    }
                    _ => return Err(self.flaw("expected a comma or a closing bracket")),
                }
            }
        }
    }

    /// Reads a value, or as much of it as comes before the first value in it.
    fn value(&mut self) -> Result<(), Flaw> {
        loop {
            match self.peek() {
                Some(b'"') => return self.string(),
                Some(b'{') => {
                    self.open(Kind::Object)?;
                    if self.peek() == Some(b'}') {
                        return self.close();
                    }
                    self.name()?;
                }
                Some(b'[') => {
                    self.open(Kind::Array)?;
                    if self.peek() == Some(b']') {
                        return self.close();
                    }
                }
                Some(b'-' | b'0'..=b'9') => return self.number(),
                Some(b't') => return self.word(b"true", Kind::Bool),
                Some(b'f') => return self.word(b"false", Kind::Bool),
                Some(b'n') => return self.word(b"null", Kind::Null),
                _ => return Err(self.flaw("expected a value")),
            }
        }
    }

    fn open(&mut self, kind: Kind) -> Result<(), Flaw> {
        if self.depth == MAX_DEPTH {
            return Err(self.flaw("nested too deep"));
        }
        self.depth = self.depth.saturating_add(1);
        let around = self.open.map_or(usize::MAX, |(node, _)| node);
        self.open = Some((self.nodes.len(), kind));
        self.nodes.push(Node {
            kind,
            is_escaped: false,
            start: self.at,
            end: self.at,
            next: around,
        });
        self.step();
        Ok(())
    }

    fn close(&mut self) -> Result<(), Flaw> {
        self.step();
        let (end, next) = (self.at, self.nodes.len());
        let Some((closed, kind)) = self.open.take() else {
            return Ok(());
        };
        let around = match self.nodes.get_mut(closed) {
            Some(node) => {
                node.end = end;
                std::mem::replace(&mut node.next, next)
            }
            None => usize::MAX,
        };
        self.open = self.nodes.get(around).map(|node| (around, node.kind));
        self.depth = self.depth.saturating_sub(1);
        if kind == Kind::Object {
            names::unique(&self.nodes, closed, self.text)?;
        }
        Ok(())
    }

    fn name(&mut self) -> Result<(), Flaw> {
        if self.peek() != Some(b'"') {
            return Err(self.flaw("expected a name in quotes"));
        }
        self.string()?;
        if self.peek() != Some(b':') {
            return Err(self.flaw("expected a colon"));
        }
        self.step();
        Ok(())
    }

    fn string(&mut self) -> Result<(), Flaw> {
        self.step();
        let start = self.at;
        let rest = self.text.get(start..).unwrap_or_default();
        let (length, is_escaped) =
            strings::measure(rest, self.allows_controls).map_err(|(offset, what)| Flaw {
                at: start.saturating_add(offset),
                what,
            })?;
        let end = start.saturating_add(length);
        self.push(Kind::String, is_escaped, start, end);
        self.at = end.saturating_add(1);
        Ok(())
    }

    fn number(&mut self) -> Result<(), Flaw> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.step();
        }
        if self.byte() == Some(b'0') {
            self.step();
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.step();
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.step();
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.step();
            }
            self.digits()?;
        }
        self.push(Kind::Number, false, start, self.at);
        Ok(())
    }

    /// Reads one digit or more.
    fn digits(&mut self) -> Result<(), Flaw> {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.step();
        }
        if self.at == start {
            return Err(self.flaw("expected a digit"));
        }
        Ok(())
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Result<(), Flaw> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(self.flaw("expected a value"));
        }
        let start = self.at;
        self.at = start.saturating_add(word.len());
        self.push(kind, false, start, self.at);
        Ok(())
    }

    fn push(&mut self, kind: Kind, is_escaped: bool, start: usize, end: usize) {
        let next = self.nodes.len().saturating_add(1);
        self.nodes.push(Node {
            kind,
            is_escaped,
            start,
            end,
            next,
        });
    }

    /// Returns the next byte that isn't white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.step();
        }
        self.byte()
    }

    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn flaw(&self, what: &'static str) -> Flaw {
        Flaw { at: self.at, what }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Document, MAX_DEPTH};

    fn flaw(text: &str) -> Option<String> {
        let read = Document::read(text.as_bytes().to_vec());
        read.err().map(|flaw| flaw.to_string())
    }

    #[test]
    fn takes_what_the_grammar_has() {
        for text in [
            "{}",
            "[]",
            "0",
            "-0",
            "-0.5e-10",
            "1E+2",
            "\"\"",
            "true",
            "false",
            "null",
            " [1 , 2 ] ",
            "\t{\"a\":\r\n{}}",
            "[[],[]]",
            "[{\"\":0}]",
            "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
            "\"é😀\"",
        ] {
            assert_eq!(flaw(text), None, "{text}");
        }
    }

    #[test]
    fn refuses_loose_json() {
        for text in [
            "",
            " ",
            "{",
            "[",
            "]",
            "}",
            "{]",
            "[}",
            "[1,]",
            "{\"a\":1,}",
            "{'a':1}",
            "{a:1}",
            "[1 2]",
            "{\"a\" 1}",
            "{\"a\":}",
            "{\"a\"}",
            "{1:1}",
            "{,}",
            "[,1]",
            "// x\n1",
            "/**/1",
            "1 1",
            "{}x",
            "{}\0",
            "01",
            "+1",
            "1.",
            ".5",
            "1e",
            "1e+",
            "-",
            "0x10",
            "NaN",
            "Infinity",
            "nul",
            "True",
            "\u{feff}{}",
            "\"a",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\\",
            "\"\0\"",
        ] {
            assert!(flaw(text).is_some(), "{text:?} should be refused");
        }
        assert_eq!(
            flaw("{\"a\": 1,}").as_deref(),
            Some("expected a name in quotes at byte 8")
        );
    }

    #[test]
    fn refuses_a_name_that_occurs_twice_in_any_spelling() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":{},"\u0061":1}"#,
            r#"[{"x":{"exp":1,"exp":2}}]"#,
            r#"{"\u00e9":1,"é":1}"#,
        ] {
            assert!(
                flaw(text).unwrap().starts_with("a name occurs twice"),
                "{text}"
            );
        }
        assert_eq!(flaw(r#"{"a":{"a":{"a":1}},"b":{"a":1}}"#), None);
    }

    #[test]
    fn refuses_a_name_that_occurs_twice_among_many() {
        let member = |n: usize| format!("\"name-{n}\": [{{\"name-{n}\": {n}}}]");
        for count in [2, 31, 32, 33, 34, 300] {
            let mut members: Vec<_> = (0..count).map(member).collect();
            let text = |members: &[String]| format!("{{{}}}", members.join(","));
            assert_eq!(flaw(&text(&members)), None, "{count}");
            for twice in [0, count / 2, count - 1] {
                members.push(member(twice));
                let at = text(&members).rfind(&member(twice)).unwrap() + 1;
                let expected = format!("a name occurs twice at byte {at}");
                assert_eq!(flaw(&text(&members)), Some(expected), "{count}");
                members.pop();
            }
        }
    }

    #[test]
    fn refuses_lone_surrogates_and_bytes_that_are_not_utf_8() {
        assert_eq!(flaw(r#""\ud83d\ude00""#), None);
        for text in [
            r#""\ud83d""#,
            r#""\ude00""#,
            r#""\ud83d\u0041""#,
            r#""\ud83dx""#,
            r#""\ud83d\ud83d""#,
        ] {
            assert!(flaw(text).is_some(), "{text}");
        }
        assert_eq!(
            Document::read(b"\"a\xff\"".to_vec())
                .unwrap_err()
                .to_string(),
            "invalid UTF-8 at byte 2"
        );
    }

    #[test]
    fn refuses_deep_nesting() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(flaw(&nested(MAX_DEPTH)), None);
        assert_eq!(
            flaw(&nested(MAX_DEPTH + 1)).as_deref(),
            Some("nested too deep at byte 32")
        );
        assert!(flaw(&"[".repeat(1_000_000)).is_some());
        assert!(flaw(&"{\"a\":".repeat(1_000_000)).is_some());
    }

    /// Any JSON, with few names so that they collide.
    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
                prop::collection::vec((".{0,3}", inner), 0..8).prop_map(|members| {
                    serde_json::Value::Object(members.into_iter().collect())
                }),
            ]
        })
    }

    fn same(ours: super::super::Value<'_>, theirs: &serde_json::Value) -> bool {
        use serde_json::Value as Theirs;
        match theirs {
            Theirs::Null => ours.raw() == "null",
            Theirs::Bool(bool) => ours.bool() == Some(*bool),
            Theirs::Number(number) => {
                let ours: f64 = ours.number().unwrap_or("NaN").parse().unwrap();
                let theirs = number.as_f64().unwrap();
                // Theirs is some units in the last place off.
                (ours - theirs).abs() <= theirs.abs() * 1e-14
            }
            Theirs::String(text) => ours.string().as_deref() == Some(text),
            Theirs::Array(items) => {
                ours.items().count() == items.len()
                    && ours
                        .items()
                        .zip(items)
                        .all(|(ours, theirs)| same(ours, theirs))
            }
            Theirs::Object(members) => {
                ours.members().count() == members.len()
                    && ours.members().all(|(name, value)| {
                        members
                            .get(&*name)
                            .is_some_and(|theirs| same(value, theirs))
                    })
            }
        }
    }

    proptest! {
        #[test]
        fn reads_what_serde_json_wrote(value in json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) };
            let document = Document::read(text.unwrap()).unwrap();
            prop_assert!(same(document.root(), &value));
        }

        #[test]
        fn takes_no_text_that_serde_json_refuses(text in r#"[\[\]{}:,"0-9a\\ue.+-]{0,12}"#) {
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            match Document::read(text.into_bytes()) {
                // It reads no number above 1e308, and we leave that to whoever wants the number.
                Ok(ours) => match theirs {
                    Ok(theirs) => prop_assert!(same(ours.root(), &theirs)),
                    Err(error) => prop_assert!(error.to_string().starts_with("number out of range")),
                },
                // It takes the last of two members with one name.
                Err(flaw) => prop_assert!(theirs.is_err() || flaw.what == "a name occurs twice", "{flaw}"),
            }
        }

        #[test]
        fn a_changed_byte_is_read_as_serde_json_reads_it_or_refused(
            value in json(),
            place in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut text = serde_json::to_vec(&value).unwrap();
            let place = place.index(text.len());
            text[place] = byte;
            let theirs = serde_json::from_slice::<serde_json::Value>(&text);
            if let (Ok(ours), Ok(theirs)) = (Document::read(text), theirs) {
                prop_assert!(same(ours.root(), &theirs));
            }
        }
    }
}
