//! Names of metrics.
//!
//! A proxy-wasm metric has a name and nothing else. Labels are put into it as `_label=value`, and
//! the `stats_tags` shipped in `envoy/` turn them into labels; without those the name still reads.
//! Values come from the configuration and from enumerations, never from clients.

/// Returns `base_label=value_label=value…`.
pub fn labelled(base: &str, labels: &[(&str, &str)]) -> String {
    let mut name = base.to_owned();
    for (label, value) in labels {
        name.push_str(&format!("_{label}={value}"));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_the_name() {
        assert_eq!(
            labelled(
                "rate_limit_requests_total",
                &[("rule", "login"), ("outcome", "deny")]
            ),
            "rate_limit_requests_total_rule=login_outcome=deny"
        );
        assert_eq!(
            labelled("rate_limit_table_pressure_total", &[]),
            "rate_limit_table_pressure_total"
        );
    }
}
