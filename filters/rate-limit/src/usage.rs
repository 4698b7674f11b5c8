//! Reads numbers out of a response body while it streams by: what a model's answer cost.
//!
//! The body is JSON, JSON by lines, or server-sent events whose data is JSON (WHATWG HTML, 9.2);
//! which of them shows by its first byte. Nothing is buffered but the name and the number that are
//! just being read, so chunks can be cut anywhere. What isn't JSON has no numbers and does no harm.

/// Where a number stands: the names from the outermost object to it.
pub type Path = Vec<String>;

/// Longest name that is looked at. A longer one is none of ours.
const LONGEST_NAME: usize = 64;
/// Deepest nesting that is kept. Nothing of ours is found below.
const DEEPEST: usize = 32;

/// A body under way, and the numbers found so far.
#[derive(Clone, Debug)]
pub struct Scanner {
    form: Form,
    json: Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Unknown,
    Json,
    Events(Line),
}

/// Where in a line of server-sent events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// After so many bytes of `data:`.
    Start(usize),
    Data,
    Other,
}

const DATA: &[u8] = b"data:";

impl Scanner {
    /// Looks for the numbers at these paths.
    pub fn new(paths: &[Path]) -> Self {
        Self {
            form: Form::Unknown,
            json: Json::new(paths),
        }
    }

    /// Reads on.
    pub fn read(&mut self, chunk: &[u8]) {
        for byte in chunk {
            self.step(*byte);
        }
    }

    /// The sum of the last number at each path; `None` if there was none at any.
    pub fn total(mut self) -> Option<u64> {
        // A number may be the last thing in the body.
        self.json.step(b'\n');
        let found = self.json.found.into_iter().flatten();
        found.reduce(u64::saturating_add)
    }

    fn step(&mut self, byte: u8) {
        match self.form {
            Form::Unknown => match byte {
                b'{' | b'[' => {
                    self.form = Form::Json;
                    self.json.step(byte);
                }
                // White space, or the mark of UTF-8.
                b' ' | b'\t' | b'\r' | b'\n' | 0xef | 0xbb | 0xbf => {}
                _ => {
                    self.form = Form::Events(Line::Start(0));
                    self.step(byte);
                }
            },
            Form::Json => self.json.step(byte),
            Form::Events(line) => self.form = Form::Events(self.event(line, byte)),
        }
    }

    fn event(&mut self, line: Line, byte: u8) -> Line {
        match (line, byte) {
            (Line::Start(0), b'\n') => {
                // An empty line ends an event.
                self.json.start_over();
                Line::Start(0)
            }
            // Of a line end of two bytes.
            (Line::Start(0), b'\r') => Line::Start(0),
            (_, b'\n') => {
                self.json.step(b'\n');
                Line::Start(0)
            }
            (Line::Start(read), _) if DATA.get(read) == Some(&byte) => {
                let read = read.saturating_add(1);
                if read == DATA.len() {
                    Line::Data
                } else {
                    Line::Start(read)
                }
            }
            (Line::Start(_) | Line::Other, _) => Line::Other,
            (Line::Data, _) => {
                self.json.step(byte);
                Line::Data
            }
        }
    }
}

/// A reader of JSON that knows where it is and nothing else.
#[derive(Clone, Debug)]
struct Json {
    paths: Vec<Path>,
    /// The last number at each path.
    found: Vec<Option<u64>>,
    /// For each object and array around, which paths lead into it; no path leads into an array.
    around: Vec<Vec<bool>>,
    /// Objects and arrays around beyond the deepest that is kept.
    deeper: usize,
    /// The paths that lead to the value that comes next.
    next: Vec<bool>,
    state: State,
    /// The name that is being read, or was read last.
    name: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Between,
    Text {
        escaped: bool,
    },
    Number(u64),
    /// A number that isn't whole or not above zero, or a word: nothing to count.
    Word,
}

impl Json {
    fn new(paths: &[Path]) -> Self {
        Self {
            found: vec![None; paths.len()],
            paths: paths.to_vec(),
            around: Vec::new(),
            deeper: 0,
            next: Vec::new(),
            state: State::Between,
            name: Vec::new(),
        }
    }

    /// Forgets where it is, but not what it found.
    fn start_over(&mut self) {
        self.around.clear();
        self.deeper = 0;
        self.next.clear();
        self.state = State::Between;
    }

    fn step(&mut self, byte: u8) {
        match (self.state, byte) {
            (State::Text { escaped: true }, _) => {
                // A name with escapes is none of ours.
                self.grow_name(0);
                self.state = State::Text { escaped: false };
            }
            (State::Text { .. }, b'\\') => self.state = State::Text { escaped: true },
            (State::Text { .. }, b'"') => self.state = State::Between,
            (State::Text { .. }, _) => self.grow_name(byte),
            (State::Number(number), b'0'..=b'9') => {
                let digit = u64::from(byte.saturating_sub(b'0'));
                self.state = State::Number(number.saturating_mul(10).saturating_add(digit));
            }
            (State::Number(_), b'e' | b'E') => self.state = State::Word,
            (State::Number(number), b'.') => {
                self.keep(number);
                self.state = State::Word;
            }
            (State::Number(number), _) => {
                self.keep(number);
                self.state = State::Between;
                self.between(byte);
            }
            (State::Word, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n') => {
                self.state = State::Between;
                self.between(byte);
            }
            (State::Word, _) => {}
            (State::Between, _) => self.between(byte),
        }
    }

    fn between(&mut self, byte: u8) {
        match byte {
            b'"' => {
                self.name.clear();
                self.state = State::Text { escaped: false };
            }
            b':' => self.next = self.named(),
            b',' => self.next.clear(),
            b'{' => {
                let inside = match self.depth() {
                    0 => vec![true; self.paths.len()],
                    _ => std::mem::take(&mut self.next),
                };
                self.enter(inside);
            }
            b'[' => self.enter(Vec::new()),
            b'}' | b']' => self.leave(),
            b'0'..=b'9' => self.state = State::Number(u64::from(byte.saturating_sub(b'0'))),
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => self.state = State::Word,
        }
    }

    fn depth(&self) -> usize {
        self.around.len().saturating_add(self.deeper)
    }

    fn enter(&mut self, inside: Vec<bool>) {
        self.next.clear();
        if self.around.len() < DEEPEST {
            self.around.push(inside);
        } else {
            self.deeper = self.deeper.saturating_add(1);
        }
    }

    fn leave(&mut self) {
        self.next.clear();
        if self.deeper > 0 {
            self.deeper = self.deeper.saturating_sub(1);
        } else {
            self.around.pop();
        }
    }

    /// The paths that go on with the name just read.
    fn named(&self) -> Vec<bool> {
        if self.deeper > 0 {
            return Vec::new();
        }
        let Some(inside) = self.around.last() else {
            return Vec::new();
        };
        let at = self.around.len().saturating_sub(1);
        let paths = self.paths.iter().zip(inside);
        paths
            .map(|(path, leads_here)| {
                let name = path.get(at).map(|name| name.as_bytes());
                *leads_here && name == Some(&*self.name)
            })
            .collect()
    }

    fn keep(&mut self, number: u64) {
        let depth = self.depth();
        let here = self.next.iter().zip(&self.paths).zip(&mut self.found);
        for ((leads_here, path), found) in here {
            if *leads_here && path.len() == depth {
                *found = Some(number);
            }
        }
    }

    fn grow_name(&mut self, byte: u8) {
        // One more than the longest shows that it was longer.
        if self.name.len() <= LONGEST_NAME {
            self.name.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(texts: &[&str]) -> Vec<Path> {
        let split = |text: &&str| text.split('.').map(str::to_owned).collect();
        texts.iter().map(split).collect()
    }

    fn total(body: &str, texts: &[&str]) -> Option<u64> {
        let mut scanner = Scanner::new(&paths(texts));
        scanner.read(body.as_bytes());
        let whole = scanner.total();
        let mut scanner = Scanner::new(&paths(texts));
        body.as_bytes()
            .chunks(1)
            .for_each(|byte| scanner.read(byte));
        assert_eq!(scanner.total(), whole, "in chunks of a byte");
        whole
    }

    const TOKENS: &[&str] = &["usage.total_tokens"];

    #[test]
    fn the_number_of_a_json_body_is_found() {
        let body = r#" {"id": "x", "choices": [{"usage": {"total_tokens": 1}, "text": "\"usage\": 2"}],
            "usage": {"prompt_tokens": 9, "total_tokens": 21 , "details": {"total_tokens": 3}},
            "total_tokens": 4}"#;
        assert_eq!(total(body, TOKENS), Some(21));
        assert_eq!(total(body, &["total_tokens"]), Some(4));
        assert_eq!(total(body, &["usage.details.total_tokens"]), Some(3));
        assert_eq!(
            total(body, &["usage.prompt_tokens", "total_tokens"]),
            Some(13)
        );
        assert_eq!(total(body, &["usage"]), None);
        assert_eq!(total(body, &["choices.usage.total_tokens"]), None);
    }

    #[test]
    fn the_last_event_that_tells_a_number_counts() {
        let body = "event: a\r\ndata: {\"usage\": null, \"text\": \"data: \\n\"}\r\n\r\n\
            : comment\ndata:{\"usage\":{\"total_tokens\":5}}\n\n\
            data: {\"usage\":\ndata: {\"total_tokens\": 17}}\n\ndata: {\"broken\": [[\n\n\
            id: 7\ndata: [DONE]\n\n";
        assert_eq!(total(body, TOKENS), Some(17));
    }

    #[test]
    fn numbers_of_several_events_can_be_summed_up() {
        let body = "event: message_start\n\
            data: {\"message\": {\"usage\": {\"input_tokens\": 25, \"output_tokens\": 1}}}\n\n\
            event: message_delta\ndata: {\"usage\": {\"output_tokens\": 15}}\n\n";
        let sum = total(body, &["message.usage.input_tokens", "usage.output_tokens"]);
        assert_eq!(sum, Some(40));
    }

    #[test]
    fn json_by_lines_is_read_line_by_line() {
        let body = "{\"count\": 1}\n{\"count\": 2, \"done\": true}\n";
        assert_eq!(total(body, &["count"]), Some(2));
    }

    #[test]
    fn what_is_no_whole_number_is_none() {
        for value in [
            "null",
            "true",
            "-3",
            "\"5\"",
            "[5]",
            "{\"a\": 5}",
            "1e3",
            "",
            "nan",
        ] {
            assert_eq!(
                total(&format!("{{\"n\": {value}}}"), &["n"]),
                None,
                "{value}"
            );
        }
        assert_eq!(total(r#"{"n": 5.9}"#, &["n"]), Some(5));
        assert_eq!(
            total(r#"{"n": 99999999999999999999}"#, &["n"]),
            Some(u64::MAX)
        );
        assert_eq!(total(r#"{"\u006e": 5}"#, &["n"]), None);
    }

    #[test]
    fn a_body_that_is_cut_or_no_json_at_all_does_no_harm() {
        let body = r#"{"usage": {"total_tokens": 12, "text": "cut"#;
        assert_eq!(total(body, TOKENS), Some(12));
        for body in [
            "",
            "}}}]]]",
            "{\"usage\": [}",
            "\u{1f}\u{8b}\0\0",
            "data",
            "data:",
            "{\"a\"",
        ] {
            assert_eq!(total(body, TOKENS), None, "{body:?}");
        }
        let deep = format!(
            "{}{{\"usage\":{{\"total_tokens\":1}}}}",
            "[".repeat(100_000)
        );
        assert_eq!(total(&deep, TOKENS), None);
        let nested = format!("{}1{}", "{\"a\":".repeat(1_000), "}".repeat(1_000));
        let after = format!("{{\"x\": {nested}, \"usage\": {{\"total_tokens\": 8}}}}");
        assert_eq!(total(&after, TOKENS), Some(8));
    }
}
