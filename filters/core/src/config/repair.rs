//! All structural errors of a configuration, not the first alone.
//!
//! Serde stops at the first error. So the node that was wrong is dropped from the tree and the
//! reading starts again, until nothing is wrong. What goes wrong only because something was dropped
//! is not reported. A field whose name is misspelt is read under the name that was meant, so that
//! mistakes inside it are found too. A missing field is stood in for, so that a second one beside it
//! is found; in the end the objects with stand-ins are dropped as well.

use serde::de::DeserializeOwned;

use super::de::Node;
use super::errors::{ConfigError, Errors};
use super::mistake::{Kind, Mistake};
use super::nearest::nearest;
use super::tree::{Entry, Tree};

/// Readings of one configuration: each drops, renames or completes something, a few for one error.
const MAX_ROUNDS: usize = 400;

/// A configuration under repair, and what was wrong with it.
pub(crate) struct Repair {
    pub(crate) errors: Errors,
    pub(crate) tree: Tree,
}

impl Repair {
    /// Starts with a tree as it was parsed: refuses fields that are given twice.
    pub(crate) fn new(tree: Tree) -> Self {
        let errors = Errors::default();
        let mut repair = Self { errors, tree };
        for path in repair.tree.duplicates() {
            repair.record(&path, ConfigError::new("given more than once"));
            repair.tree.remove(&path);
        }
        repair.accept_schema_link();
        repair
    }

    /// Reads the tree until all that is wrong with it is known.
    ///
    /// Returns what could be read in the end, without the parts that were wrong.
    pub(crate) fn read<R: DeserializeOwned>(&mut self) -> Option<R> {
        for _ in 0..MAX_ROUNDS {
            if self.errors.is_full() || self.tree == Tree::Removed {
                break;
            }
            match R::deserialize(Node(&self.tree)) {
                Ok(_) if self.tree.remove_incomplete() => {}
                Ok(raw) => return Some(raw),
                Err(mistake) => self.repair(mistake),
            }
        }
        None
    }

    /// Records a mistake, if it is one of the user's, and takes it out of the tree.
    fn repair(&mut self, mistake: Mistake) {
        let (kind, path) = mistake.into_parts();
        if let Some(missing) = self.missing_on(&path) {
            return self.complete(missing, kind);
        }
        match kind {
            Kind::Key { allowed } => {
                let error = ConfigError::new("this name is not allowed").allowing(allowed);
                self.record(&path, error);
                self.tree.remove(&path);
            }
            Kind::Missing { field } => self.miss(path, field),
            Kind::Other { problem } => self.drop(&path, ConfigError::new(problem)),
            Kind::UnknownField { expected } => {
                if !self.rename(&path, "unknown field", expected) {
                    self.tree.remove(&path);
                }
            }
            Kind::UnknownTag { expected } => {
                if !self.rename(&path, "unknown", expected) {
                    self.tree.remove(parent_of(&path));
                }
            }
            Kind::UnknownVariant { expected } => {
                let meant = match self.tree.at(&path) {
                    Some(Tree::Text(text) | Tree::TextOrNumber(text)) => nearest(text, expected),
                    _ => None,
                };
                let error = self.refusal(&path, expected.join(", ")).meaning(meant);
                self.drop(&path, error);
            }
            Kind::Value { allowed } => {
                let error = self.refusal(&path, allowed);
                self.drop(&path, error);
            }
        }
    }

    /// Records an error in a value and drops the value.
    fn drop(&mut self, path: &[usize], error: ConfigError) {
        // The value of a field read under a guessed name doesn't fit: the guess was wrong. What is
        // wrong with an object from which something was dropped is most likely just that.
        if !self.is_guess(path) && !self.is_incomplete(path) {
            self.record(path, error);
        }
        self.tree.remove(path);
    }

    /// Records a field of an unknown name, and reads it as what was meant if that is clear.
    fn rename(&mut self, path: &[usize], problem: &str, expected: &[&'static str]) -> bool {
        let object = self.tree.at(parent_of(path));
        let entry = self.entry(path);
        let meant = entry.and_then(|entry| nearest(&entry.key, expected));
        let free = |name| object.is_some_and(|object| object.position_of(name).is_none());
        let rename = meant.filter(|name| free(name));
        let error = ConfigError::new(problem)
            .allowing(expected.join(", "))
            .meaning(meant);
        self.record(path, error);
        if let (Some(&position), Some(Tree::Object(entries))) =
            (path.last(), self.tree.at_mut(parent_of(path)))
            && let Some(entry) = entries.get_mut(position)
        {
            entry.meant = rename;
        }
        rename.is_some()
    }

    /// Records a missing field, or stands in for one that is missing only because it was dropped.
    fn miss(&mut self, mut path: Vec<usize>, field: &'static str) {
        let Some(Tree::Object(entries)) = self.tree.at_mut(&path) else {
            return self.tree.remove(&path);
        };
        if let Some(dropped) = entries.iter_mut().find(|entry| entry.name() == field) {
            dropped.node = Tree::StandIn;
            return;
        }
        path.push(entries.len());
        entries.push(Entry::new(field.to_owned(), Tree::Absent));
        self.record(&path, ConfigError::new("required, but missing"));
    }

    /// Completes the error for a missing field by what is allowed there, and stands in for it.
    fn complete(&mut self, path: &[usize], kind: Kind) {
        let node = self.tree.at_mut(path);
        match (node, kind) {
            (Some(node @ Tree::Absent), Kind::Value { allowed }) => {
                *node = Tree::StandIn;
                if let Some(error) = self.errors.find_mut(path) {
                    error.allow(allowed);
                }
            }
            // No plausible value after all: what lacks the field can't be read further.
            _ => self.tree.remove(parent_of(path)),
        }
    }

    /// Returns the path of the missing field that a path leads to or into.
    fn missing_on<'p>(&self, path: &'p [usize]) -> Option<&'p [usize]> {
        let mut prefixes = (0..=path.len()).filter_map(|length| path.get(..length));
        prefixes.find(|prefix| matches!(self.tree.at(prefix), Some(Tree::Absent | Tree::StandIn)))
    }

    fn record(&mut self, path: &[usize], error: ConfigError) {
        self.errors
            .add(error.located(self.tree.show_path(path), path.to_vec()));
    }

    fn refusal(&self, path: &[usize], allowed: String) -> ConfigError {
        let value = match self.tree.at(path) {
            Some(_) if is_secret(&self.tree.show_path(path)) => "this value".to_owned(),
            Some(node) => node.show(),
            None => "nothing".to_owned(),
        };
        ConfigError::new(format!("{value} is not allowed")).allowing(allowed)
    }

    /// Returns the field that a path leads to.
    fn entry(&self, path: &[usize]) -> Option<&Entry> {
        self.tree.at(parent_of(path))?.entries().get(*path.last()?)
    }

    fn is_guess(&self, path: &[usize]) -> bool {
        self.entry(path).is_some_and(|entry| entry.meant.is_some())
    }

    /// Returns whether something was dropped from the object at a path.
    fn is_incomplete(&self, path: &[usize]) -> bool {
        let entries = self.tree.at(path).map_or(&[][..], Tree::entries);
        entries
            .iter()
            .any(|entry| matches!(entry.node, Tree::Removed | Tree::StandIn))
    }

    /// Takes out the link to the schema that editors want at the top.
    fn accept_schema_link(&mut self) {
        let Some(position) = self.tree.position_of("$schema") else {
            return;
        };
        let path = [position];
        if !matches!(
            self.tree.at(&path),
            Some(Tree::Text(_) | Tree::TextOrNumber(_))
        ) {
            let error = self.refusal(&path, "text".to_owned());
            self.record(&path, error);
        }
        self.tree.remove(&path);
    }
}

/// Whether what is at a place, by its name, must not go into a log.
pub(super) fn is_secret(shown: &str) -> bool {
    shown.to_ascii_lowercase().contains("secret")
}

fn parent_of(path: &[usize]) -> &[usize] {
    path.split_last().map_or(&[], |(_, parent)| parent)
}
