//! Events of the operating system that a file may have changed.

use super::Waker;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Events cannot be had. Changes are still found by looking every few seconds.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch {} for changes", directory.as_deref().unwrap_or(Path::new("files")).display())]
pub struct WatchError {
    /// The directory; `None` if the watcher itself could not be created.
    pub directory: Option<PathBuf>,
    /// Error of the operating system.
    pub source: notify::Error,
}

/// Watches the parent directories of files, because a rename over a file is an event of its directory.
pub(super) struct FileWatcher {
    /// `None`: the operating system has none.
    watcher: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
    /// Directories whose error was reported.
    failed: BTreeSet<PathBuf>,
    on_error: Box<dyn Fn(&WatchError) + Send>,
}

impl FileWatcher {
    /// Starts to watch. Each event wakes the thread of `waker`.
    pub(super) fn new(
        files: impl Iterator<Item = PathBuf>,
        waker: Waker,
        on_error: impl Fn(&WatchError) + Send + 'static,
    ) -> Self {
        let on_event = move |event: notify::Result<Event>| {
            if event.map_or(true, |event| may_be_a_change(event.kind)) {
                waker.wake();
            }
        };
        let directories = files.map(|file| directory_of(&file)).collect();
        let watcher = notify::recommended_watcher(on_event)
            .map_err(|source| on_error(&WatchError { directory: None, source }))
            .ok();
        let mut this = Self { watcher, directories, failed: BTreeSet::new(), on_error: Box::new(on_error) };
        this.rearm();
        this
    }

    /// Replaces the files that are watched.
    pub(super) fn set_files(&mut self, files: impl Iterator<Item = PathBuf>) {
        let directories: BTreeSet<_> = files.map(|file| directory_of(&file)).collect();
        if let Some(watcher) = &mut self.watcher {
            for unused in self.directories.difference(&directories) {
                // It may have been removed, and its watch with it.
                let _ = watcher.unwatch(unused);
            }
        }
        self.failed.retain(|directory| directories.contains(directory));
        self.directories = directories;
        self.rearm();
    }

    /// Watches every directory again. One that was replaced needs a new watch.
    pub(super) fn rearm(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        for directory in &self.directories {
            match watcher.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.failed.remove(directory)),
                Err(source) if self.failed.insert(directory.clone()) => {
                    (self.on_error)(&WatchError { directory: Some(directory.clone()), source });
                }
                Err(_) => {}
            }
        }
    }
}

/// Whether an event may mean a change. Our own reads are reported too: a file opened, or closed after reading.
fn may_be_a_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(directory) if directory != Path::new("") => directory.to_owned(),
        _ => PathBuf::from("."),
    }
}
