//! Hints that a file may have changed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// Watches the directories that files lie in, because a rename or a symlink put in a file's place is an event of the
/// directory.
///
/// A hint says nothing of what has changed, and can be lost: a write through a symlink's target gives none, nor does a
/// directory that is replaced. Whoever waits for hints has to look now and then besides.
pub(crate) struct Hints {
    hints: mpsc::Receiver<()>,
    directories: BTreeSet<PathBuf>,
    /// Ends the watch when it is dropped. Absent if the system could not start one.
    watcher: Option<RecommendedWatcher>,
    /// The directories that could not be watched, so that it is said once.
    unwatched: BTreeSet<PathBuf>,
}

impl Hints {
    pub(crate) fn of<'a>(files: impl Iterator<Item = &'a Path>) -> Self {
        // One hint waiting is as good as many.
        let (hint, hints) = mpsc::channel(1);
        let notice = move |event: notify::Result<Event>| {
            if event.map_or(true, |event| may_be_a_change(event.kind)) {
                let _ = hint.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(notice)
            .inspect_err(|error| tracing::warn!(%error, "cannot watch for changes; looking every few seconds instead"))
            .ok();
        let mut hints =
            Self { hints, directories: files.map(directory_of).collect(), watcher, unwatched: BTreeSet::new() };
        hints.watch();
        hints
    }

    /// Watches every directory, also one that has been replaced since.
    pub(crate) fn watch(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        for directory in &self.directories {
            match watcher.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.unwatched.remove(directory)),
                Err(error) if self.unwatched.insert(directory.clone()) => {
                    let directory = directory.display();
                    tracing::warn!(%directory, %error, "cannot watch for changes; looking every few seconds instead");
                }
                Err(_) => {}
            }
        }
    }

    /// Waits for a hint. Without a watcher there never is one.
    pub(crate) async fn next(&mut self) {
        if self.hints.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// Our own reading is reported too: a file opened, or closed after reading.
fn may_be_a_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(directory) if directory != Path::new("") => directory.to_owned(),
        _ => PathBuf::from("."),
    }
}
