//! The freedoms of protobuf's JSON form (https://protobuf.dev/programming-guides/json/).
//!
//! A configuration that is pasted from one of Envoy's own filters has them: parsers of that form
//! accept a field's name in snake_case and in lowerCamelCase, numbers as text, and `null` for a
//! field that isn't there.

use super::tree::{Entry, Tree};

/// Allows them all in a tree that was just parsed.
pub(crate) fn relax(tree: &mut Tree) {
    match tree {
        Tree::List(items) => items.iter_mut().for_each(relax),
        Tree::Object(entries) => {
            entries.retain(|entry| entry.node != Tree::Null);
            for Entry {
                key, node, snake, ..
            } in entries
            {
                *snake = snake_case(key);
                relax(node);
            }
        }
        Tree::Text(text) => *tree = Tree::TextOrNumber(std::mem::take(text)),
        _ => {}
    }
}

/// Returns the name of which this is the lowerCamelCase form.
fn snake_case(name: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let starts_low = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let has_upper = name.bytes().any(|byte| byte.is_ascii_uppercase());
    if !(starts_low && has_upper && name.bytes().all(plain)) {
        return None;
    }
    let mut snake = String::with_capacity(name.len().saturating_add(4));
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    Some(snake)
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn only_lower_camel_case_has_another_form() {
        let cases = [
            ("remoteJwks", Some("remote_jwks")),
            ("uriIP", Some("uri_i_p")),
            ("remote_jwks", None),
            ("remote_Jwks", None),
            ("RemoteJwks", None),
            ("issuer", None),
            ("https://A", None),
            ("", None),
        ];
        for (name, expected) in cases {
            assert_eq!(snake_case(name).as_deref(), expected, "{name}");
        }
    }
}
