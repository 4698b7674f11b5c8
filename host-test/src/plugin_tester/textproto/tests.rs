use proptest::prelude::*;

use super::super::generate::any_suite;
use super::super::schema::SUITE;
use super::*;

/// Writes messages in one of many ways, chosen by a stream of numbers.
struct Printer {
    choices: Vec<u8>,
    at: usize,
    out: String,
}

impl Printer {
    fn choose<'c>(&mut self, among: &[&'c str]) -> &'c str {
        let choice = self
            .choices
            .get(self.at % self.choices.len().max(1))
            .copied();
        self.at += 1;
        among[usize::from(choice.unwrap_or(0)) % among.len()]
    }

    fn put(&mut self, among: &[&str]) {
        let chosen = self.choose(among);
        self.out.push_str(chosen);
    }

    fn space(&mut self) {
        self.put(&["", " ", "\n", "\t", " # a comment: \"{\n", "\r\n"]);
    }

    fn message(&mut self, message: &Message) {
        let fields = message.fields();
        let mut index = 0;
        while let Some(field) = fields.get(index) {
            self.out.push_str(field.kind.name);
            let is_message = matches!(field.kind.kind, Kind::Message(_));
            self.space();
            self.put(if is_message { &["", ":"] } else { &[":"] });
            self.space();
            // Neighbours of a repeated field may stand in one list.
            let same = fields[index..]
                .iter()
                .take_while(|next| next.kind.name == field.kind.name);
            let count = same.count();
            if field.kind.repeated && self.choose(&["plain", "list"]) == "list" {
                self.out.push('[');
                for (nth, item) in fields[index..index + count].iter().enumerate() {
                    self.out.push_str(if nth > 0 { "," } else { "" });
                    self.space();
                    self.value(item.kind, &item.value);
                }
                self.out.push(']');
                index += count;
            } else {
                self.value(field.kind, &field.value);
                index += 1;
            }
            self.put(&[" ", ",", ";", "\n", " ;"]);
        }
    }

    fn value(&mut self, field: &FieldType, value: &Value) {
        match value {
            Value::Message(message) => {
                let (open, close) = match self.choose(&["{", "<"]) {
                    "<" => ('<', '>'),
                    _ => ('{', '}'),
                };
                self.out.push(open);
                self.space();
                self.message(message);
                self.out.push(close);
            }
            Value::Bool(true) => self.put(&["true", "True", "t", "1"]),
            Value::Bool(false) => self.put(&["false", "False", "f", "0"]),
            Value::Number(number) => self.number(field, *number),
            Value::Bytes(bytes) => self.bytes(bytes),
        }
        self.space();
    }

    fn number(&mut self, field: &FieldType, number: i128) {
        if let Kind::Enum(names) = field.kind
            && self.choose(&["name", "number"]) == "name"
        {
            self.out.push_str(names[number as usize]);
            return;
        }
        if number < 0 {
            self.put(&["-", "- "]);
        }
        let magnitude = number.unsigned_abs();
        let text = match self.choose(&["decimal", "hexadecimal", "octal"]) {
            "hexadecimal" => format!("0x{magnitude:x}"),
            "octal" => format!("0{magnitude:o}"),
            _ => magnitude.to_string(),
        };
        self.out.push_str(&text);
    }

    /// A text in one piece or in several, each character as it is or as one of its escapes.
    fn bytes(&mut self, bytes: &[u8]) {
        let mut quote = self.choose(&["\"", "'"]);
        self.out.push_str(quote);
        for (index, &byte) in bytes.iter().enumerate() {
            if self.choose(&["on", "on", "on", "cut"]) == "cut" {
                self.out.push_str(quote);
                self.space();
                quote = self.choose(&["\"", "'"]);
                self.out.push_str(quote);
            }
            // A digit after a short escape would belong to it.
            let next = bytes.get(index + 1).is_some_and(u8::is_ascii_hexdigit);
            let escapes = match byte {
                b'\n' => vec!["\\n".to_owned()],
                b'\t' => vec!["\\t".to_owned(), "\t".to_owned()],
                b'"' => vec!["\\\"".to_owned()],
                b'\'' => vec!["\\'".to_owned()],
                b'\\' => vec!["\\\\".to_owned()],
                b'?' => vec!["\\?".to_owned(), "?".to_owned()],
                b' '..=b'~' => vec![char::from(byte).to_string(), format!("\\{byte:03o}")],
                0..=7 if !next => vec![format!("\\{byte:o}"), format!("\\x{byte:x}")],
                _ => vec![format!("\\{byte:03o}"), format!("\\x{byte:02X}")],
            };
            let escapes: Vec<&str> = escapes.iter().map(String::as_str).collect();
            self.put(&escapes);
        }
        self.out.push_str(quote);
    }
}

proptest! {
    #[test]
    fn what_is_written_in_any_way_is_read_back(
        message in any_suite(),
        choices in any::<Vec<u8>>(),
    ) {
        let mut printer = Printer { choices, at: 0, out: String::new() };
        printer.message(&message);
        let read = parse(&printer.out, &SUITE);
        prop_assert_eq!(read, Ok(message), "{}", printer.out);
    }

    #[test]
    fn no_text_stops_the_reader(text in "[a-z_:;,{}<>\\[\\]'\"\\\\#0-9\\n .-]{0,60}") {
        let _ = parse(&text, &SUITE);
    }
}

#[test]
fn escapes_of_characters_are_their_utf8() {
    let text = r#"test { name: "\u00e9\U0001F600" 'é' }"#;
    let suite = parse(text, &SUITE).unwrap();
    assert_eq!(suite.message("test").unwrap().text("name"), "é😀é");
}

#[test]
fn braces_without_end_are_a_mistake_and_not_an_overflow() {
    let error = parse(&"test {".repeat(100_000), &SUITE).unwrap_err();
    assert_eq!(error.at, (1, 7));
}
