//! What a user reads when a configuration is refused.

use std::fmt;

use super::repair::MAX_ERRORS;

/// Everything that is wrong with a configuration.
///
/// Displays as a headline and one line for each error. A log takes [`Errors::one_line`], because
/// proxies log a message with its line feeds as they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Errors {
    errors: Vec<ConfigError>,
    /// Whether reading stopped at the most errors that are reported at once.
    stopped: bool,
}

impl Errors {
    pub(crate) fn new(mut errors: Vec<ConfigError>, stopped: bool) -> Self {
        errors.sort_by(|left, right| left.order.cmp(&right.order));
        let stopped = stopped || errors.len() > MAX_ERRORS;
        errors.truncate(MAX_ERRORS);
        Self { errors, stopped }
    }

    /// Returns all errors as one line: `2 errors in the configuration: (1) …; (2) …`.
    pub fn one_line(&self) -> String {
        let mut line = self.headline();
        for (count, error) in (1_usize..).zip(&self.errors) {
            let separator = if count == 1 { "" } else { ";" };
            line.push_str(&format!("{separator} ({count}) {error}"));
        }
        line
    }

    /// Returns the errors, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }

    /// Returns how many errors there are: at least one.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.errors.len()
    }

    fn headline(&self) -> String {
        let plural = if self.errors.len() == 1 { "" } else { "s" };
        let more = if self.stopped {
            " (there may be more)"
        } else {
            ""
        };
        format!(
            "{} error{plural} in the configuration{more}:",
            self.errors.len()
        )
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        self.errors
            .iter()
            .try_for_each(|error| write!(f, "\n{error}"))
    }
}

impl std::error::Error for Errors {}

/// One mistake in a configuration: where, what is wrong, and what is allowed there.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigError {
    pub(crate) allowed: Option<String>,
    pub(crate) meant: Option<&'static str>,
    /// Place among the other errors.
    pub(crate) order: Vec<usize>,
    pub(crate) path: String,
    pub(crate) problem: String,
}

impl ConfigError {
    /// Returns where the mistake is, such as `rules[2].limits[0].per`; empty for the whole.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns what is wrong, such as `0 is not allowed`.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// Returns what is allowed, such as `an integer from 1 to 4294967295`.
    pub fn allowed(&self) -> Option<&str> {
        self.allowed.as_deref()
    }

    /// Returns the word that was most likely meant, for a misspelling.
    pub fn meant(&self) -> Option<&str> {
        self.meant
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.is_empty() {
            true => write!(f, "configuration: {}", self.problem)?,
            false => write!(f, "{}: {}", self.path, self.problem)?,
        }
        if let Some(allowed) = &self.allowed {
            write!(f, "; allowed: {allowed}")?;
        }
        if let Some(meant) = self.meant {
            write!(f, "; did you mean \"{meant}\"?")?;
        }
        Ok(())
    }
}
