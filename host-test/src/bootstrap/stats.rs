//! `stats_config.stats_tags`: what becomes a label of a metric.

use regex::Regex;

use super::fields::{Fields, Problems};
use super::yaml::Node;

/// Envoy's `TagSpecifier`.
#[derive(Clone, Debug)]
pub struct StatsTag {
    /// Name of the label.
    pub name: String,
    /// Where its value comes from.
    pub source: TagSource,
}

/// Where the value of a label comes from.
#[derive(Clone, Debug)]
pub enum TagSource {
    /// The same for every metric.
    Fixed(String),
    /// The first group is cut out of the metric's name; the second, or else the first, is the value.
    Regex(Regex),
}

/// Reads `stats_config`.
pub(crate) fn stats_config(node: &Node, problems: &Problems) -> Vec<StatsTag> {
    let Some(mut fields) = Fields::of(node, "stats_config", problems) else {
        return Vec::new();
    };
    let tags = fields.take("stats_tags");
    fields.finish(&[
        "use_all_default_tags",
        "stats_matcher",
        "histogram_bucket_settings",
        "allow_default_tag_overrides",
    ]);
    tags.map_or(&[][..], |node| problems.list(node, "stats_tags"))
        .iter()
        .filter_map(|node| StatsTag::read(node, problems))
        .collect()
}

impl StatsTag {
    fn read(node: &Node, problems: &Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "a stats tag", problems)?;
        let name = fields.require("tag_name");
        let source = fields.require_one(&["regex", "fixed_value"]);
        fields.finish(&[]);
        let source = match source {
            Some(("regex", node, _)) => TagSource::Regex(tag_regex(node, problems)?),
            Some((name, node, _)) => TagSource::Fixed(problems.string(node, name)?),
            None => return None,
        };
        Some(Self {
            name: problems.string(name?, "tag_name")?,
            source,
        })
    }
}

fn tag_regex(node: &Node, problems: &Problems) -> Option<Regex> {
    let text = problems.string(node, "regex")?;
    match Regex::new(&text) {
        Ok(regex) if (2..=3).contains(&regex.captures_len()) => Some(regex),
        Ok(_) => {
            problems.malformed(node.at, "the regex of a tag has one group or two");
            None
        }
        Err(error) => {
            let error = error.to_string();
            let cause = error.lines().last().unwrap_or_default();
            problems.malformed(node.at, format!("`{text}` is not a valid regex: {cause}"));
            None
        }
    }
}
