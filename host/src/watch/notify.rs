//! Hints that a file may have changed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

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
    /// Has the directories watched once more. The watch ends when this is dropped.
    again: SyncSender<()>,
}

/// Has a thread of its own: a file system that does not answer holds up whoever asks it, and nobody else.
struct Watch {
    watcher: RecommendedWatcher,
    directories: BTreeSet<PathBuf>,
    /// Those that could not be watched, so that it is said once.
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
        let (again, asked) = sync_channel(1);
        let directories = files.map(directory_of).collect();
        let started = notify::recommended_watcher(notice).map_err(|error| error.to_string()).and_then(|watcher| {
            let watch = Watch { watcher, directories, unwatched: BTreeSet::new() };
            let thread = thread::Builder::new().name("hints".to_owned());
            thread.spawn(move || watch.run(&asked)).map_err(|error| error.to_string())
        });
        if let Err(error) = started {
            tracing::warn!(error, "cannot watch for changes; looking every few seconds instead");
        }
        let hints = Self { hints, again };
        hints.watch();
        hints
    }

    /// Watches every directory, also one that has been replaced since.
    pub(crate) fn watch(&self) {
        // One request waiting is as good as many.
        let _ = self.again.try_send(());
    }

    /// Waits for a hint. Without a watcher there never is one.
    pub(crate) async fn next(&mut self) {
        if self.hints.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

impl Watch {
    fn run(mut self, asked: &Receiver<()>) {
        while asked.recv().is_ok() {
            for directory in &self.directories {
                match self.watcher.watch(directory, RecursiveMode::NonRecursive) {
                    Ok(()) => drop(self.unwatched.remove(directory)),
                    Err(error) if self.unwatched.insert(directory.clone()) => {
                        let directory = directory.display();
                        tracing::warn!(%directory, %error, "cannot watch for changes; looking every few seconds instead");
                    }
                    Err(_) => {}
                }
            }
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
