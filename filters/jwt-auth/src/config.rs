//! The answer to every configuration, as long as the filter is not built: no.

/// What the log says when a configuration is refused.
pub const REFUSAL: &str = "jwt-auth is not built yet: this module refuses every configuration \
    so that no request passes unchecked; see filters/jwt-auth/README.md";

#[cfg(test)]
mod tests {
    use super::REFUSAL;

    #[test]
    fn refusal_is_one_line_that_names_the_filter_and_where_to_read_on() {
        assert!(REFUSAL.starts_with("jwt-auth is not built yet"));
        assert!(REFUSAL.ends_with(concat!("filters/", env!("CARGO_PKG_NAME"), "/README.md")));
        assert!(
            !REFUSAL.contains(['\n', '\\']) && !REFUSAL.contains("  "),
            "{REFUSAL}"
        );
    }
}
