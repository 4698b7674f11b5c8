//! Properties of reading: whatever the bytes, whichever the form, however many the mistakes.

mod common;

use std::collections::BTreeSet;
use std::ops::Range;

use common::{encode, encode_yaml, read_config};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};

/// Bytes never make it panic, and a refusal always says something.
fn check_total(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Err(errors) = read_config(bytes) {
        prop_assert!((1..=50).contains(&errors.iter().count()));
        prop_assert!(errors.iter().all(|error| !error.problem().is_empty()));
        prop_assert!(!errors.one_line().contains('\n'), "{}", errors.one_line());
        prop_assert_eq!(
            errors.to_string().lines().count(),
            errors.iter().count() + 1
        );
    }
    Ok(())
}

/// Numbers that text has exactly: the reader of JSON may be off by the last bit.
fn eighths(range: Range<i32>) -> impl Strategy<Value = f64> {
    range.prop_map(|number| f64::from(number) / 8.0)
}

/// Any value, made of the words of the configuration more often than not.
fn any_value() -> impl Strategy<Value = Value> {
    let words = [
        "rules", "name", "key", "limits", "requests", "per", "burst", "header", "path",
    ];
    let word = prop_oneof![4 => select(words.to_vec()).prop_map(str::to_owned), 1 => "[a-z$]{0,6}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        eighths(-1000..1000).prop_map(Value::from),
        select(&["10s", "all", "client_address", "path"][..]).prop_map(Value::from),
        "[a-z]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        let fields = vec((word.clone(), inner.clone()), 0..5);
        let object = fields.prop_map(|fields| Value::Object(fields.into_iter().collect()));
        prop_oneof![vec(inner, 0..4).prop_map(Value::Array), object]
    })
}

fn any_object() -> impl Strategy<Value = Value> {
    any_value().prop_map(|value| match value {
        Value::Object(_) => value,
        other => json!({ "rules": other }),
    })
}

fn valid_config() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just(json!("client_address")),
        "[A-Za-z-]{1,12}".prop_map(|name| json!({ "header": name })),
        any::<u8>().prop_map(|segment| json!({"path": {"segment": segment}})),
    ];
    let count = 1..=u32::MAX;
    let per = (1..=1000_u32, select(&["ms", "s", "m", "h"][..]));
    let limit = (count.clone(), per, proptest::option::of(count)).prop_map(
        |(n, (t, unit), b)| json!({"requests": n, "per": format!("{t}{unit}"), "burst": b}),
    );
    let share = proptest::option::of(eighths(0..9));
    let rule = (vec(key, 1..4), vec(limit, 1..4), share)
        .prop_map(|(key, limits, share)| json!({"key": key, "limits": limits, "share": share}));
    (vec(rule, 1..5), select(&["all", "first"][..]), 1..=64).prop_map(
        |(mut rules, apply, shards)| {
            for (index, rule) in rules.iter_mut().enumerate() {
                rule["name"] = json!(format!("rule-{index}"));
            }
            json!({"rules": rules, "apply": apply, "shards": shards})
        },
    )
}

/// A mistake to be made in a valid configuration: where, how, and at which path it must show.
#[derive(Clone, Debug)]
struct Slip {
    act: Act,
    /// JSON pointer of the object or list in which the mistake is made.
    inside: String,
    /// Field or index that the mistake is made in.
    member: String,
    shown: String,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    /// Adds a field that nothing is near to.
    Add,
    /// Misspells the field's name.
    Misspell,
    /// Leaves the field out.
    Omit,
    /// Makes the value one of the wrong type.
    Retype,
    /// Makes the value one of the right type that is not allowed.
    Revalue,
}

impl Slip {
    fn new(act: Act, inside: &str, member: &str) -> Self {
        let path = |pointer: &str, member: &str| {
            let parts = pointer
                .split('/')
                .chain([member])
                .filter(|part| !part.is_empty());
            parts.fold(String::new(), |path, part| match part.parse::<usize>() {
                Ok(index) => format!("{path}[{index}]"),
                Err(_) if path.is_empty() => part.to_owned(),
                Err(_) => format!("{path}.{part}"),
            })
        };
        let shown = match act {
            Act::Misspell => path(inside, &misspell(member)),
            _ => path(inside, member),
        };
        Self {
            act,
            inside: inside.to_owned(),
            member: member.to_owned(),
            shown,
        }
    }

    fn make(&self, config: &mut Value) {
        let inside = config.pointer_mut(&self.inside).expect("there");
        let wrong = match self.member.as_str() {
            "requests" | "burst" => json!(0),
            "shards" => json!(65),
            "name" => json!("No Name"),
            "per" => json!("soon"),
            _ => json!("unheard of"),
        };
        match (self.act, inside) {
            (Act::Add, Value::Object(object)) => drop(object.insert(self.member.clone(), json!(1))),
            (Act::Misspell, Value::Object(object)) => {
                let value = object.remove(&self.member).expect("there");
                object.insert(misspell(&self.member), value);
            }
            (Act::Omit, Value::Object(object)) => drop(object.remove(&self.member).expect("there")),
            (Act::Retype, inside) => *member(inside, &self.member) = json!([[]]),
            (Act::Revalue, inside) => *member(inside, &self.member) = wrong,
            (act, inside) => panic!("{act:?} in {inside}"),
        }
    }
}

fn member<'v>(inside: &'v mut Value, name: &str) -> &'v mut Value {
    match name.parse::<usize>() {
        Ok(index) => &mut inside[index],
        Err(_) => &mut inside[name],
    }
}

/// Swaps the last two letters, which differ in every field's name here.
fn misspell(name: &str) -> String {
    let mut letters: Vec<char> = name.chars().collect();
    let last = letters.len() - 1;
    letters.swap(last, last - 1);
    letters.into_iter().collect()
}

/// Returns all slips that can be made at once in a configuration: one in each place.
fn slips(config: &Value) -> Vec<Vec<Slip>> {
    use Act::{Add, Misspell, Omit, Retype, Revalue};
    let mut places: Vec<(String, &str, &[Act])> = vec![
        (String::new(), "apply", &[Misspell, Retype, Revalue]),
        (String::new(), "shards", &[Misspell, Retype, Revalue]),
        (String::new(), "zzzzzz", &[Add]),
    ];
    for (r, rule) in config["rules"]
        .as_array()
        .expect("a list")
        .iter()
        .enumerate()
    {
        let at = format!("/rules/{r}");
        places.push((at.clone(), "name", &[Misspell, Omit, Retype, Revalue]));
        places.push((at.clone(), "share", &[Misspell, Retype, Revalue]));
        places.push((at.clone(), "zzzzzz", &[Add]));
        for k in 0..rule["key"].as_array().expect("a list").len() {
            let index = ["0", "1", "2", "3"][k];
            places.push((format!("{at}/key"), index, &[Retype, Revalue]));
        }
        for l in 0..rule["limits"].as_array().expect("a list").len() {
            let at = format!("{at}/limits/{l}");
            places.push((at.clone(), "requests", &[Misspell, Omit, Retype, Revalue]));
            places.push((at.clone(), "per", &[Misspell, Omit, Retype, Revalue]));
            places.push((at.clone(), "burst", &[Misspell, Retype, Revalue]));
            places.push((at, "zzzzzz", &[Add]));
        }
    }
    let slips = places.into_iter().map(|(inside, member, acts)| {
        acts.iter()
            .map(|&act| Slip::new(act, &inside, member))
            .collect()
    });
    slips.collect()
}

fn config_with_slips() -> impl Strategy<Value = (Value, Vec<Slip>)> {
    valid_config().prop_flat_map(|config| {
        let places = slips(&config);
        // Fifty is the most that is reported.
        let chosen = subsequence(places.clone(), 1..=places.len().min(50));
        let slips =
            chosen.prop_flat_map(|places| places.into_iter().map(select).collect::<Vec<_>>());
        (Just(config), slips)
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_with_a_reason(bytes in vec(any::<u8>(), 0..300)) {
        check_total(&bytes)?;
        let begun: Vec<u8> = [0x0a, 0x12].into_iter().chain(bytes).collect();
        check_total(&begun)?;
    }

    #[test]
    fn any_text_of_json_characters_is_read_or_refused_with_a_reason(
        text in r#"\{("rules":)?[\[\]{}:,"\\0-9.eE+a-z \n-]{0,60}\}?"#
    ) {
        check_total(text.as_bytes())?;
    }

    #[test]
    fn a_damaged_struct_is_read_or_refused_with_a_reason(
        config in valid_config(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        length in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode(&config);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check_total(&bytes)?;
        check_total(&bytes[..length.index(bytes.len())])?;
    }

    #[test]
    fn json_and_a_struct_of_the_same_configuration_read_equal(config in valid_config()) {
        let text = read_config(config.to_string().as_bytes());
        prop_assert!(text.is_ok(), "{:?}", text);
        prop_assert_eq!(&read_config(&encode(&config)), &text);
        prop_assert_eq!(&read_config(&encode_yaml(&config)), &text);
    }

    #[test]
    fn json_and_a_struct_of_any_object_give_the_same_errors(object in any_object()) {
        let lines = |bytes: &[u8]| {
            read_config(bytes).map_err(|errors| {
                errors.iter().map(ToString::to_string).collect::<BTreeSet<_>>()
            })
        };
        prop_assert_eq!(lines(object.to_string().as_bytes()), lines(&encode(&object)));
    }

    #[test]
    fn each_of_many_mistakes_is_reported_once_where_it_was_made(
        (mut config, slips) in config_with_slips()
    ) {
        for slip in &slips {
            slip.make(&mut config);
        }
        let mut expected: Vec<&str> = slips.iter().map(|slip| slip.shown.as_str()).collect();
        expected.sort_unstable();
        for bytes in [config.to_string().into_bytes(), encode(&config)] {
            let errors = read_config(&bytes).expect_err("refused");
            let mut found: Vec<&str> = errors.iter().map(|error| error.path()).collect();
            found.sort_unstable();
            prop_assert_eq!(&found, &expected, "{}", errors);
        }
    }
}

#[test]
fn an_object_without_fields_encodes_to_no_bytes() {
    assert_eq!(encode(&Value::Object(Map::new())), b"");
}
