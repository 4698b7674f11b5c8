//! All structural errors of a configuration, not the first alone.
//!
//! Serde stops at the first error. So the node that was wrong is dropped from the tree and the
//! reading starts again, until nothing is wrong. What goes wrong only because something was dropped
//! is not reported: its parent is dropped as well. A field whose name is misspelt is read under the
//! name that was meant, so that mistakes inside it are found too, and a missing field is stood in
//! for, so that a second one beside it is found.

use serde::de::DeserializeOwned;

use super::de::Node;
use super::errors::ConfigError;
use super::mistake::{Kind, Mistake};
use super::nearest::nearest;
use super::tree::{Entry, Tree};

/// Errors that are reported at once: more would hide the first ones.
pub(crate) const MAX_ERRORS: usize = 50;

/// Readings of one configuration. Each drops or renames something, most for an error of its own.
const MAX_ROUNDS: usize = 8 * MAX_ERRORS;

/// A configuration under repair, and what was wrong with it.
pub(crate) struct Repair {
    pub(crate) errors: Vec<ConfigError>,
    pub(crate) tree: Tree,
}

impl Repair {
    /// Starts with a tree as it was parsed: refuses fields that are given twice.
    pub(crate) fn new(tree: Tree) -> Self {
        let mut repair = Self {
            errors: Vec::new(),
            tree,
        };
        let mut path = Vec::new();
        let mut twice = Vec::new();
        find_duplicates(&repair.tree, &mut path, &mut twice);
        for path in twice {
            repair.record(path.clone(), "given more than once".to_owned(), None, None);
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
            if self.is_full() || self.tree == Tree::Removed {
                break;
            }
            match R::deserialize(Node(&self.tree)) {
                Ok(_) if drop_stand_in(&mut self.tree) => {}
                Ok(raw) => return Some(raw),
                Err(mistake) => self.repair(mistake),
            }
        }
        None
    }

    /// Returns whether reading stopped because there are too many errors.
    pub(crate) fn is_full(&self) -> bool {
        self.errors.len() >= MAX_ERRORS
    }

    /// Records a mistake, if it is one of the user's, and takes it out of the tree.
    fn repair(&mut self, mistake: Mistake) {
        let (kind, path) = mistake.into_parts();
        if let Some((stand_in, node)) = self.missing_on(&path) {
            return match (node, kind) {
                (Tree::Absent, Kind::Value { allowed }) => self.require(&stand_in, allowed),
                // No plausible value after all: what lacks the field can't be read further.
                _ => self.tree.remove(&stand_in),
            };
        }
        match kind {
            Kind::Key { allowed } => {
                let problem = "this name is not allowed".to_owned();
                self.record(path.clone(), problem, Some(allowed), None);
                self.tree.remove(&path);
            }
            Kind::Missing { field } => self.miss(path, field),
            Kind::Other { problem } => self.drop(path, problem, None, None),
            Kind::UnknownField { expected } => {
                if !self.rename(&path, "unknown field", expected) {
                    self.tree.remove(&path);
                }
            }
            Kind::UnknownTag { expected } => {
                if !self.rename(&path, "unknown", expected) {
                    self.tree
                        .remove(path.split_last().map_or(&[], |(_, parent)| parent));
                }
            }
            Kind::UnknownVariant { expected } => {
                let meant = match self.tree.at(&path) {
                    Some(Tree::Text(text) | Tree::TextOrNumber(text)) => nearest(text, expected),
                    _ => None,
                };
                self.drop(
                    path.clone(),
                    self.refusal(&path),
                    Some(expected.join(", ")),
                    meant,
                );
            }
            Kind::Value { allowed } => {
                self.drop(path.clone(), self.refusal(&path), Some(allowed), None);
            }
        }
    }

    /// Records an error in a value and drops the value.
    fn drop(
        &mut self,
        path: Vec<usize>,
        problem: String,
        allowed: Option<String>,
        meant: Option<&'static str>,
    ) {
        // A field read under a guessed name whose value doesn't fit: the guess was wrong. An
        // emptied choice: what was in it is reported already.
        if !self.is_guess(&path) && !self.is_emptied(&path) {
            self.record(path.clone(), problem, allowed, meant);
        }
        self.tree.remove(&path);
    }

    /// Records a field of an unknown name, and reads it as what was meant if that is clear.
    fn rename(&mut self, path: &[usize], problem: &str, expected: &'static [&'static str]) -> bool {
        let Some((&position, parent)) = path.split_last() else {
            return false;
        };
        let object = self.tree.at(parent);
        let entries = object.map_or(&[][..], Tree::entries);
        let meant = entries.get(position).and_then(|entry| match entry.meant {
            Some(_) => None,
            None => nearest(&entry.key, expected),
        });
        let free = |name| object.is_some_and(|object| object.position_of(name).is_none());
        let rename = meant.filter(|name| free(name));
        self.record(
            path.to_vec(),
            problem.to_owned(),
            Some(expected.join(", ")),
            meant,
        );
        if let Some(Tree::Object(entries)) = self.tree.at_mut(parent)
            && let Some(entry) = entries.get_mut(position)
        {
            entry.meant = rename;
        }
        rename.is_some()
    }

    /// Records a missing field, or drops the object that misses a field only because that was
    /// dropped.
    fn miss(&mut self, mut path: Vec<usize>, field: &'static str) {
        match self.tree.at_mut(&path) {
            Some(Tree::Object(entries)) if entries.iter().all(|entry| entry.name() != field) => {
                path.push(entries.len());
                entries.push(Entry::new(field.to_owned(), Tree::Absent));
                self.record(path, "required, but missing".to_owned(), None, None);
            }
            _ => self.tree.remove(&path),
        }
    }

    /// Completes the error for a missing field by what is allowed there, and stands in for it.
    fn require(&mut self, path: &[usize], allowed: String) {
        if let Some(error) = self.errors.iter_mut().find(|error| error.order == path) {
            error.allowed = Some(allowed);
        }
        if let Some(node) = self.tree.at_mut(path) {
            *node = Tree::StandIn;
        }
    }

    /// Returns the missing field that a path leads to or into.
    fn missing_on(&self, path: &[usize]) -> Option<(Vec<usize>, Tree)> {
        let mut prefixes = (0..=path.len()).filter_map(|length| path.get(..length));
        let missing =
            |prefix: &&[usize]| matches!(self.tree.at(prefix), Some(Tree::Absent | Tree::StandIn));
        let prefix = prefixes.find(missing)?;
        Some((prefix.to_vec(), self.tree.at(prefix)?.clone()))
    }

    fn record(
        &mut self,
        path: Vec<usize>,
        problem: String,
        allowed: Option<String>,
        meant: Option<&'static str>,
    ) {
        let shown = self.tree.show_path(&path);
        self.errors.push(ConfigError {
            allowed,
            meant,
            order: path,
            path: shown,
            problem,
        });
    }

    fn refusal(&self, path: &[usize]) -> String {
        let value = self
            .tree
            .at(path)
            .map_or_else(|| "nothing".to_owned(), Tree::show);
        format!("{value} is not allowed")
    }

    fn is_guess(&self, path: &[usize]) -> bool {
        let Some((&position, parent)) = path.split_last() else {
            return false;
        };
        let entries = self.tree.at(parent).map_or(&[][..], Tree::entries);
        entries
            .get(position)
            .is_some_and(|entry| entry.meant.is_some())
    }

    fn is_emptied(&self, path: &[usize]) -> bool {
        let entries = self.tree.at(path).map_or(&[][..], Tree::entries);
        entries.iter().any(|entry| entry.node == Tree::Removed)
    }

    /// Takes out the link to the schema that editors want at the top.
    fn accept_schema_link(&mut self) {
        let Some(position) = self.tree.position_of("$schema") else {
            return;
        };
        let path = vec![position];
        if !matches!(
            self.tree.at(&path),
            Some(Tree::Text(_) | Tree::TextOrNumber(_))
        ) {
            let problem = self.refusal(&path);
            self.record(path.clone(), problem, Some("text".to_owned()), None);
        }
        self.tree.remove(&path);
    }
}

/// Drops an object in which a field is stood in for. Returns whether there was one.
fn drop_stand_in(tree: &mut Tree) -> bool {
    let missing = |entry: &Entry| matches!(entry.node, Tree::Absent | Tree::StandIn);
    match tree {
        Tree::List(items) => items.iter_mut().any(drop_stand_in),
        Tree::Object(entries) if entries.iter().any(missing) => {
            *tree = Tree::Removed;
            true
        }
        Tree::Object(entries) => entries
            .iter_mut()
            .any(|entry| drop_stand_in(&mut entry.node)),
        _ => false,
    }
}

/// Finds the fields that their object has already, in the order of the configuration.
fn find_duplicates(node: &Tree, path: &mut Vec<usize>, twice: &mut Vec<Vec<usize>>) {
    let mut keys = std::collections::BTreeSet::new();
    for (position, entry) in node.entries().iter().enumerate() {
        if !keys.insert(&entry.key) {
            path.push(position);
            twice.push(path.clone());
            path.pop();
        }
    }
    for position in 0.. {
        let Some(child) = node.child(position) else {
            break;
        };
        path.push(position);
        find_duplicates(child, path, twice);
        path.pop();
    }
}
