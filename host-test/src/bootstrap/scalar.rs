//! Scalars of protobuf's JSON mapping: strings, booleans, numbers, durations, enums, addresses.
//!
//! Envoy turns YAML into JSON first and reads that strictly: a plain `n` where a string belongs is a
//! boolean and refused, a plain `5` is a number and refused. So it is here, with the advice to quote.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::fields::{Fields, Problems};
use super::problem::{Place, nearest};
use super::yaml::{Meaning, Node, Value};

impl Problems {
    /// Reports that a field isn't what it must be.
    fn expected(&self, node: &Node, what: &str, expected: &str) {
        let kind = node.kind();
        let shown = match &node.value {
            Value::Scalar(scalar) if !scalar.text.is_empty() && scalar.text.len() < 60 => {
                format!("`{}` is {kind}", scalar.text)
            }
            _ => format!("this is {kind}"),
        };
        self.malformed(node.at, format!("{what} must be {expected}; {shown}"));
    }

    /// A string. Integers beyond 32 bits and floats are strings too, as in Envoy.
    pub(crate) fn string(&self, node: &Node, what: &str) -> Option<String> {
        let Value::Scalar(scalar) = &node.value else {
            self.expected(node, what, "a string");
            return None;
        };
        match scalar.meaning() {
            Meaning::Text(text) => Some(text.to_owned()),
            Meaning::Integer(number) if i32::try_from(number).is_err() => Some(number.to_string()),
            _ => {
                self.expected(node, what, "a string (write it in quotes)");
                None
            }
        }
    }

    pub(crate) fn boolean(&self, node: &Node, what: &str) -> Option<bool> {
        if let Value::Scalar(scalar) = &node.value
            && let Meaning::Bool(value) = scalar.meaning()
        {
            return Some(value);
        }
        self.expected(node, what, "true or false");
        None
    }

    /// An integer from `least` to `most`; digits in quotes will do, as in protobuf's JSON.
    pub(crate) fn integer(&self, node: &Node, what: &str, least: u32, most: u32) -> Option<u32> {
        if let Value::Scalar(scalar) = &node.value {
            let value = match scalar.meaning() {
                Meaning::Integer(value) => Some(value),
                Meaning::Text(text) => text.parse().ok(),
                Meaning::Bool(_) | Meaning::Null => None,
            };
            let value = value.and_then(|value| u32::try_from(value).ok());
            if let Some(value) = value
                && (least..=most).contains(&value)
            {
                return Some(value);
            }
        }
        let expected = format!("an integer from {least} to {most}");
        self.expected(node, what, &expected);
        None
    }

    /// A number between two.
    pub(crate) fn number(&self, node: &Node, what: &str, least: f64, most: f64) -> Option<f64> {
        if let Value::Scalar(scalar) = &node.value
            && let Ok(value) = scalar.text.parse::<f64>()
            && (least..=most).contains(&value)
        {
            return Some(value);
        }
        self.expected(node, what, &format!("a number from {least} to {most}"));
        None
    }

    /// A duration: seconds with an `s`, up to nine decimals.
    pub(crate) fn duration(&self, node: &Node, what: &str) -> Option<Duration> {
        if let Value::Scalar(scalar) = &node.value
            && let Some(duration) = scalar.text.strip_suffix('s').and_then(seconds)
        {
            return Some(duration);
        }
        self.expected(node, what, "a duration in seconds such as `5s` or `0.25s`");
        None
    }

    /// One of the names of an enum.
    pub(crate) fn choice<T: Copy>(
        &self,
        node: &Node,
        what: &str,
        supported: &[(&'static str, T)],
        unsupported: &[&'static str],
    ) -> Option<T> {
        let name = self.string(node, what)?;
        if let Some((_, value)) = supported.iter().find(|(known, _)| *known == name) {
            return Some(*value);
        }
        let mut names: Vec<&str> = supported.iter().map(|(known, _)| *known).collect();
        let list = names.join(", ");
        if unsupported.contains(&name.as_str()) {
            self.unsupported(
                node.at,
                format!("{what} `{name}` is not supported by this gateway; supported: {list}"),
            );
            return None;
        }
        names.extend(unsupported);
        let hint = nearest(&name, &names)
            .map(|name| format!(" did you mean `{name}`?"))
            .unwrap_or_default();
        self.malformed(
            node.at,
            format!("{what} `{name}` is unknown;{hint} supported: {list}"),
        );
        None
    }

    /// `address: {socket_address: …}`, which is the only kind of address there is here.
    pub(crate) fn address(&self, node: &Node, what: &'static str) -> Option<Address> {
        let mut fields = Fields::of(node, what, self)?;
        let socket = fields.require("socket_address");
        fields.finish(&["pipe", "envoy_internal_address"]);
        let socket = socket?;
        let mut fields = Fields::of(socket, "socket_address", self)?;
        let host = fields.require("address");
        let port = fields.require("port_value");
        if let Some(node) = fields.take("protocol") {
            self.choice(node, "protocol", &[("TCP", ())], &["UDP"]);
        }
        fields.finish(&[
            "named_port",
            "resolver_name",
            "ipv4_compat",
            "network_namespace_filepath",
        ]);
        Some(Address {
            host: self.string(host?, "address")?,
            port: u16::try_from(self.integer(port?, "port_value", 0, 65535)?).ok()?,
            at: host?.at,
        })
    }
}

/// Host and port as written.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) at: Place,
}

impl Address {
    /// The address, if the host is an IP address; reports a name.
    pub(crate) fn socket(&self, problems: &Problems) -> Option<SocketAddr> {
        let Ok(ip) = self.host.parse::<IpAddr>() else {
            let host = &self.host;
            problems.malformed(self.at, format!("`{host}` is not an IP address"));
            return None;
        };
        Some(SocketAddr::new(ip, self.port))
    }
}

/// Reads decimal seconds.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanoseconds: u32 = format!("{fraction:0<9}").parse().ok()?;
    Some(Duration::new(whole.parse().ok()?, nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::yaml;

    fn messages<T>(source: &str, read: impl Fn(&Problems, &Node) -> Option<T>) -> Vec<String> {
        let problems = Problems::default();
        assert!(read(&problems, &yaml::parse(source).unwrap()).is_none());
        let found = problems.into_inner();
        found.into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn durations_are_decimal_seconds() {
        assert_eq!(seconds("0.25"), Some(Duration::from_millis(250)));
        assert_eq!(seconds("15"), Some(Duration::from_secs(15)));
        assert_eq!(seconds("1."), Some(Duration::from_secs(1)));
        assert_eq!(seconds(".5"), None);
        assert_eq!(seconds("-1"), None);
        assert_eq!(seconds("1.0000000001"), None);
    }

    #[test]
    fn a_plain_word_that_envoy_takes_for_a_boolean_is_refused_as_a_string() {
        assert_eq!(
            messages("n", |p, node| p.string(node, "id")),
            ["id must be a string (write it in quotes); `n` is a boolean"]
        );
    }

    #[test]
    fn a_large_integer_is_a_string() {
        let problems = Problems::default();
        let node = yaml::parse("0x100000000").unwrap();
        assert_eq!(problems.string(&node, "id").as_deref(), Some("4294967296"));
    }

    #[test]
    fn unknown_names_of_an_enum_get_a_hint() {
        let names = [("ROUND_ROBIN", 1), ("RANDOM", 2)];
        assert_eq!(
            messages("ROUND_ROBBIN", |p, node| p.choice(
                node,
                "lb_policy",
                &names,
                &["MAGLEV"]
            )),
            [
                "lb_policy `ROUND_ROBBIN` is unknown; did you mean `ROUND_ROBIN`? \
              supported: ROUND_ROBIN, RANDOM"
            ]
        );
    }

    #[test]
    fn ports_have_sixteen_bits() {
        let source = "{socket_address: {address: 127.0.0.1, port_value: 65536}}";
        assert_eq!(
            messages(source, |p, node| p.address(node, "address").map(|_| ())),
            ["port_value must be an integer from 0 to 65535; `65536` is an integer"]
        );
    }
}
