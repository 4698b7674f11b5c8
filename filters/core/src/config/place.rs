//! A place in the configuration, for the checks that serde can't make.

use std::cell::Cell;

use super::errors::{ConfigError, Errors};
use super::repair::{Repair, is_secret};
use super::tree::{Tree, push_field, push_index};

/// What the checks of one configuration share.
pub(crate) struct Findings {
    /// Errors of the checks.
    errors: Cell<Vec<ConfigError>>,
    repair: Repair,
}

impl Findings {
    pub(crate) fn new(repair: Repair) -> Self {
        Self {
            errors: Cell::default(),
            repair,
        }
    }

    /// Returns all errors, of structure and of checks.
    pub(crate) fn into_errors(self) -> Errors {
        let mut errors = self.repair.errors;
        self.errors
            .into_inner()
            .into_iter()
            .for_each(|error| errors.add(error));
        errors
    }
}

/// A place in the configuration, from which to report what is wrong there.
///
/// Places are cheap to make and live on the stack: pass one down with the raw value that it is the
/// place of. Field names are those of the configuration, indices those of the raw list.
///
/// ```
/// use filter_core::config::Place;
///
/// fn port(raw: u16, place: &Place<'_>) -> Option<u16> {
///     if raw < 1024 {
///         place.field("port").refuse("an integer from 1024 to 65535");
///         return None;
///     }
///     Some(raw)
/// }
/// ```
pub struct Place<'a> {
    findings: &'a Findings,
    parent: Option<&'a Self>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Root,
}

impl<'a> Place<'a> {
    pub(crate) const fn root(findings: &'a Findings) -> Self {
        Self {
            findings,
            parent: None,
            step: Step::Root,
        }
    }

    /// Returns the place of a field of the object here. A variant's content is a field too.
    pub const fn field<'b>(&'b self, name: &'b str) -> Place<'b> {
        Place {
            findings: self.findings,
            parent: Some(self),
            step: Step::Field(name),
        }
    }

    /// Returns the place of an item of the list here.
    pub const fn index(&self, index: usize) -> Place<'_> {
        Place {
            findings: self.findings,
            parent: Some(self),
            step: Step::Index(index),
        }
    }

    /// Reports that the value here is not allowed; `allowed` says what is, such as
    /// `an integer from 1 to 100`.
    pub fn refuse(&self, allowed: &str) {
        let located = self.locate();
        let problem = match located.node {
            Some(_) if is_secret(&located.shown) => "this value is not allowed".to_owned(),
            Some(node) => format!("{} is not allowed", node.show()),
            None => "missing".to_owned(),
        };
        self.add(located, ConfigError::new(problem).allowing(allowed));
    }

    /// Reports in a sentence of its own what is wrong here.
    pub fn report(&self, problem: &str) {
        self.add(self.locate(), ConfigError::new(problem));
    }

    /// Returns whether nothing here or below was left out because of a mistake in its structure.
    ///
    /// A check that looks for something (a name that is referred to) must not conclude that it
    /// doesn't exist from a part that isn't whole.
    pub fn is_whole(&self) -> bool {
        !self.is_broken(&self.locate())
    }

    fn is_broken(&self, located: &Located<'_>) -> bool {
        let mut structural = self.findings.repair.errors.iter();
        structural.any(|error| error.is_at_or_below(&located.positions))
    }

    fn add(&self, located: Located<'_>, error: ConfigError) {
        // Where something was left out, a check fails as a consequence.
        if self.is_broken(&located) {
            return;
        }
        let mut errors = self.findings.errors.take();
        errors.push(error.located(located.shown, located.positions));
        self.findings.errors.set(errors);
    }

    fn locate(&self) -> Located<'a> {
        let Some(parent) = self.parent else {
            return Located {
                node: Some(&self.findings.repair.tree),
                positions: Vec::new(),
                shown: String::new(),
            };
        };
        let mut located = parent.locate();
        let position = located.node.and_then(|node| match self.step {
            Step::Field(name) => node.position_of(name),
            Step::Index(index) => node.position_of_item(index),
            Step::Root => None,
        });
        let entries = located.node.map_or(&[][..], Tree::entries);
        match (self.step, position) {
            (Step::Field(name), position) => {
                let entry = position.and_then(|position| entries.get(position));
                push_field(&mut located.shown, entry.map_or(name, |entry| &entry.key));
            }
            (Step::Index(index), position) => {
                push_index(&mut located.shown, position.unwrap_or(index));
            }
            (Step::Root, _) => {}
        }
        located.node = located
            .node
            .zip(position)
            .and_then(|(node, at)| node.child(at));
        // What isn't there comes last. No error of structure has this position.
        located.positions.push(position.unwrap_or(usize::MAX));
        located
    }
}

/// A place found in the tree.
struct Located<'a> {
    /// None where nothing is written there.
    node: Option<&'a Tree>,
    positions: Vec<usize>,
    shown: String,
}
