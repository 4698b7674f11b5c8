//! What serde's generated code reports, kept as data: where, and what would have been right.

use std::fmt::{self, Display};

use serde::de::{Error, Expected, Unexpected};

/// One mistake that stopped the reading. Boxed: every result of the deserializer carries it.
#[derive(Debug)]
pub(crate) struct Mistake(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    /// Positions from the innermost node to the root.
    reversed: Vec<usize>,
}

/// What is wrong.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A field's name, in an object whose names are the writer's choice, is not `allowed`.
    Key { allowed: String },
    /// The object lacks a field.
    Missing { field: &'static str },
    /// A sentence of its own.
    Other { problem: String },
    /// The object has a field that is not among `expected`.
    UnknownField { expected: &'static [&'static str] },
    /// The name of the object's only field, which chooses a variant, is not among `expected`.
    UnknownTag { expected: &'static [&'static str] },
    /// The value is not among `expected`.
    UnknownVariant { expected: &'static [&'static str] },
    /// The value is not `allowed`.
    Value { allowed: String },
}

impl Mistake {
    pub(crate) fn new(kind: Kind) -> Self {
        let reversed = Vec::new();
        Self(Box::new(Inner { kind, reversed }))
    }

    /// A value that is not what was asked for.
    pub(crate) fn value(allowed: &dyn Display) -> Self {
        let allowed = reword(allowed.to_string());
        Self::new(Kind::Value { allowed })
    }

    /// Says that the mistake is inside the child at `position` of what read so far.
    pub(crate) fn within(mut self, position: usize) -> Self {
        self.0.reversed.push(position);
        self
    }

    /// Says that the mistake is in a field's name, not in its value.
    pub(crate) fn in_key(mut self) -> Self {
        self.0.kind = match self.0.kind {
            Kind::Value { allowed } => Kind::Key { allowed },
            Kind::UnknownVariant { expected } => Kind::UnknownTag { expected },
            kind => kind,
        };
        self
    }

    /// Takes it apart: what is wrong, and the path of positions from the root.
    pub(crate) fn into_parts(self) -> (Kind, Vec<usize>) {
        let Inner { kind, mut reversed } = *self.0;
        reversed.reverse();
        (kind, reversed)
    }
}

impl Error for Mistake {
    fn custom<T: Display>(message: T) -> Self {
        let problem = message.to_string();
        Self::new(Kind::Other { problem })
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::value(&expected)
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::value(&expected)
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::value(&expected)
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Kind::UnknownVariant { expected })
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Kind::UnknownField { expected })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Kind::Missing { field })
    }
}

impl Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            Kind::Key { allowed } | Kind::Value { allowed } => write!(f, "allowed: {allowed}"),
            Kind::Missing { field } => write!(f, "{field} is missing"),
            Kind::Other { problem } => f.write_str(problem),
            Kind::UnknownField { .. } => f.write_str("unknown field"),
            Kind::UnknownTag { .. } | Kind::UnknownVariant { .. } => f.write_str("unknown variant"),
        }
    }
}

impl std::error::Error for Mistake {}

/// Says in a user's words what serde and std say in Rust's.
fn reword(expected: String) -> String {
    let words = match expected.as_str() {
        "a boolean" => "true or false",
        "a string" => "text",
        "a sequence" => "a list",
        "a map" => "an object",
        "f32" | "f64" => "a number",
        "i8" => "an integer from -128 to 127",
        "i16" => "an integer from -32768 to 32767",
        "i32" => "an integer from -2147483648 to 2147483647",
        "i64" => "an integer from -9223372036854775808 to 9223372036854775807",
        "u8" => "an integer from 0 to 255",
        "u16" => "an integer from 0 to 65535",
        "u32" => "an integer from 0 to 4294967295",
        "u64" | "usize" => "an integer from 0 to 18446744073709551615",
        _ => return expected,
    };
    words.to_owned()
}
