//! Noticing that files have changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What tells one state of a file from another: when it was changed, its size and which file it is.
type Mark = Option<(SystemTime, u64, u64)>;

/// Files that are looked at.
pub(super) struct Watch {
    file: PathBuf,
    marks: Vec<(PathBuf, Mark)>,
}

impl Watch {
    /// A configuration and the files that it names.
    pub(super) fn new(file: &Path, named: &[PathBuf]) -> Self {
        let mut watch = Self {
            file: file.to_owned(),
            marks: Vec::new(),
        };
        watch.follow(named);
        watch
    }

    /// Looks at other files from now on; what is known of those that stay is kept.
    pub(super) fn follow(&mut self, named: &[PathBuf]) {
        let old = std::mem::take(&mut self.marks);
        for path in [&self.file].into_iter().chain(named) {
            if !self.marks.iter().any(|(known, _)| known == path) {
                let known = old.iter().find(|(known, _)| known == path);
                let mark = known.map_or_else(|| mark(path), |(_, mark)| *mark);
                self.marks.push((path.clone(), mark));
            }
        }
    }

    /// Waits for a change, and until the files have stayed the same for a moment: who writes them
    /// may not be done.
    pub(super) async fn changed(&mut self) {
        let mut pending = false;
        loop {
            tokio::time::sleep(LOOK).await;
            let changed = self.look();
            if pending && !changed {
                return;
            }
            pending |= changed;
        }
    }

    fn look(&mut self) -> bool {
        let mut changed = false;
        for (path, known) in &mut self.marks {
            let now = mark(path);
            changed |= now != *known;
            *known = now;
        }
        changed
    }
}

fn mark(path: &Path) -> Mark {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_replaced_or_removed_has_changed() {
        let name = format!("host-test-watch-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, "1").unwrap();
        let mut watch = Watch::new(&path, &[]);
        assert!(!watch.look());
        fs::write(&path, "12").unwrap();
        assert!(watch.look());
        assert!(!watch.look());
        fs::remove_file(&path).unwrap();
        assert!(watch.look());
        assert!(!watch.look());
    }
}
