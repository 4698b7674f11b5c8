//! What a user reads when a configuration is refused.

use std::fmt;

/// Errors that are reported at once: more would hide the first ones.
const MOST: usize = 50;

/// Everything that is wrong with a configuration.
///
/// Displays as a headline and one line for each error. A log takes [`Errors::one_line`], because
/// proxies log a message with its line feeds as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Errors {
    /// In the order of the configuration.
    errors: Vec<ConfigError>,
}

impl Errors {
    pub(crate) fn add(&mut self, error: ConfigError) {
        if self.is_full() {
            return;
        }
        let place = self
            .errors
            .partition_point(|other| other.order <= error.order);
        self.errors.insert(place, error);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.errors.len() >= MOST
    }

    /// Returns the error that was recorded for a path, to complete it.
    pub(crate) fn find_mut(&mut self, path: &[usize]) -> Option<&mut ConfigError> {
        self.errors.iter_mut().find(|error| error.order == path)
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

    fn headline(&self) -> String {
        let plural = if self.errors.len() == 1 { "" } else { "s" };
        let more = if self.is_full() {
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
    allowed: Option<String>,
    meant: Option<&'static str>,
    /// Path of positions: the place among the other errors.
    order: Vec<usize>,
    path: String,
    problem: String,
}

impl ConfigError {
    /// Makes an error about the configuration as a whole.
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self {
            allowed: None,
            meant: None,
            order: Vec::new(),
            path: String::new(),
            problem: problem.into(),
        }
    }

    pub(crate) fn allowing(mut self, allowed: impl Into<String>) -> Self {
        self.allow(allowed.into());
        self
    }

    pub(crate) fn allow(&mut self, allowed: String) {
        self.allowed = Some(allowed);
    }

    pub(crate) fn meaning(mut self, meant: Option<&'static str>) -> Self {
        self.meant = meant;
        self
    }

    /// Says where the mistake is: the path, and the positions that it is made of.
    pub(crate) fn located(mut self, path: String, order: Vec<usize>) -> Self {
        self.order = order;
        self.path = path;
        self
    }

    pub(crate) fn is_at_or_below(&self, path: &[usize]) -> bool {
        self.order.starts_with(path)
    }

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
