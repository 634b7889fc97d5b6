//! A value that is loaded from files, and loaded again when they change.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::load::{Load, LoadState};
use super::signature::Signature;
use super::{Waker, Watched};
use crate::util::sanitize;

/// How long files must be unchanged before they are read. Two files that belong together are replaced one by one.
const STABLE_FOR: Duration = Duration::from_millis(100);

/// How long files may keep changing before that is reported.
const STABILIZE_TIMEOUT: Duration = Duration::from_secs(2);

/// Wait before the first retry after a transient failure. It doubles with each further one.
const MIN_RETRY_WAIT: Duration = Duration::from_secs(2);

/// Maximum wait between two retries.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(64);

/// How to load a value from files, and what to do with it.
pub trait Reload: Send {
    /// Contents of the files. Equal contents load the same value.
    type Contents: PartialEq + Send;
    /// The value that is loaded from them.
    type Value: Send + 'static;
    /// Why reading or loading failed.
    type Error: Error + Send + 'static;

    /// The files. None: the value never changes. Only [`Reloadable::update`] changes them.
    fn files(&self) -> Vec<PathBuf>;

    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read.
    fn read(&self) -> Result<Self::Contents, Self::Error>;

    /// Loads the value.
    ///
    /// # Errors
    /// The contents are not valid.
    fn load(&self, contents: &Self::Contents) -> Result<Self::Value, Self::Error>;

    /// Starts to load the value on another thread, if that may take long. `None`: [`Self::load`] is called instead.
    fn load_aside(&mut self, _contents: &Self::Contents) -> Option<Load<Result<Self::Value, Self::Error>>> {
        None
    }

    /// Takes note that a load that was started is over or cancelled. The outcome follows.
    fn load_ended(&mut self) {}

    /// Whether the active value was loaded from these contents.
    fn is_active(&self, contents: &Self::Contents) -> bool;

    /// Makes a value the active one.
    fn activate(&mut self, contents: Self::Contents, value: Self::Value);

    /// Reports that the files hold contents that cannot be activated; `None` if they could not be read. Called once for
    /// each different failure. The active value stays.
    fn reject(&mut self, contents: Option<&Self::Contents>, reason: &str);

    /// Activates the part of the files that can be used, after the whole could not be. Called at each look that fails.
    fn activate_part(&mut self) {}

    /// Reports that the files hold the active value again, after a rejection.
    fn restore(&mut self);

    /// Reports that the files kept changing for two seconds. Called once until they settle.
    fn unstable(&mut self) {}

    /// Whether the same contents may load at another time, so that it is tried again.
    fn is_transient(_error: &Self::Error) -> bool {
        false
    }

    /// Does work that is due besides. Called at each poll.
    fn maintain(&mut self, _now: Instant) {}

    /// Takes what makes the thread poll at once.
    fn set_waker(&mut self, _waker: Waker) {}
}

/// Reloads a value when its files change.
///
/// Each poll compares the files' [`Signature`] with that of the contents that were handled last. Only a signature that
/// changed and was then stable for 100 ms makes it read the files.
pub struct Reloadable<R: Reload> {
    reload: R,
    files: Vec<PathBuf>,
    /// Signature of the contents that were handled last.
    handled: Option<Signature>,
    changed: Option<Changed>,
    failed: Option<Failed<R::Contents>>,
    loading: Option<Loading<R>>,
}

/// Contents that another thread loads.
struct Loading<R: Reload> {
    contents: R::Contents,
    load: Load<Result<R::Value, R::Error>>,
}

/// A signature that was not handled yet.
struct Changed {
    signature: Signature,
    /// When it was first seen.
    since: Instant,
    /// When the files began to change.
    unstable_since: Instant,
    is_reported: bool,
}

/// The last failure, so that it is reported once.
struct Failed<C> {
    /// `None`: the files could not be read.
    contents: Option<C>,
    reason: String,
    retry: Option<Retry>,
}

#[derive(Clone, Copy)]
struct Retry {
    at: Instant,
    next_wait: Duration,
}

impl<R: Reload> Reloadable<R> {
    /// Takes over a value that is active already.
    pub fn new(reload: R) -> Self {
        let files = reload.files();
        Self { reload, files, handled: None, changed: None, failed: None, loading: None }
    }

    /// Returns the value's loader.
    pub fn get(&self) -> &R {
        &self.reload
    }

    /// Returns the value's loader, to change it. Its files must stay the same.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.reload
    }

    /// Changes what is reloaded and from which files. The files are read again at the next poll.
    pub fn update(&mut self, change: impl FnOnce(&mut R)) {
        self.cancel_loading();
        change(&mut self.reload);
        self.files = self.reload.files();
        (self.handled, self.changed, self.failed) = (None, None, None);
    }

    /// Reads the files, and activates or rejects what they hold.
    fn handle(&mut self, signature: Signature, now: Instant) -> Option<Instant> {
        let read = catch_unwind(AssertUnwindSafe(|| self.reload.read()));
        let after = Signature::of(&self.files);
        if after != signature {
            // Written while it was read.
            return Some(self.wait_until_stable(after, now));
        }
        (self.handled, self.changed) = (Some(signature), None);
        if let (Ok(Ok(contents)), Some(loading)) = (&read, &self.loading)
            && *contents == loading.contents
        {
            return None;
        }
        // What the files hold now takes the place of what is being loaded.
        self.cancel_loading();
        match read {
            Ok(Ok(contents)) => self.handle_contents(contents, now),
            Ok(Err(error)) => self.fail(None, sanitize::error_chain(&error), R::is_transient(&error), now),
            Err(_) => self.fail(None, PANICKED.to_owned(), false, now),
        }
        self.retry_at()
    }

    fn handle_contents(&mut self, contents: R::Contents, now: Instant) {
        if self.reload.is_active(&contents) {
            if self.failed.take().is_some() {
                self.reload.restore();
            }
            return;
        }
        let failed_before = self.failed.as_ref().is_some_and(|failed| failed.contents.as_ref() == Some(&contents));
        if failed_before && !self.is_retry_due(now) {
            return;
        }
        if let Some(load) = self.reload.load_aside(&contents) {
            self.loading = Some(Loading { contents, load });
            return;
        }
        let loaded = catch_unwind(AssertUnwindSafe(|| self.reload.load(&contents)));
        self.finish(contents, loaded.ok(), now);
    }

    /// Activates or rejects contents that were loaded; `None` if loading them panicked.
    fn finish(&mut self, contents: R::Contents, loaded: Option<Result<R::Value, R::Error>>, now: Instant) {
        match loaded {
            Some(Ok(value)) => {
                self.failed = None;
                self.reload.activate(contents, value);
            }
            Some(Err(error)) => {
                self.fail(Some(contents), sanitize::error_chain(&error), R::is_transient(&error), now);
            }
            None => self.fail(Some(contents), PANICKED.to_owned(), false, now),
        }
    }

    /// Takes over what another thread has loaded.
    fn finish_loading(&mut self, now: Instant) {
        let Some(Loading { contents, load }) = self.loading.take() else { return };
        let loaded = match load.state() {
            LoadState::Running => {
                self.loading = Some(Loading { contents, load });
                return;
            }
            LoadState::Ended(loaded) => Some(loaded),
            LoadState::Panicked => None,
        };
        self.reload.load_ended();
        self.finish(contents, loaded, now);
    }

    fn cancel_loading(&mut self) {
        if self.loading.take().is_some() {
            self.reload.load_ended();
        }
    }

    fn fail(&mut self, contents: Option<R::Contents>, reason: String, is_transient: bool, now: Instant) {
        let before = self.failed.as_ref().filter(|failed| failed.contents == contents);
        let wait = before.and_then(|failed| failed.retry).map_or(MIN_RETRY_WAIT, |retry| retry.next_wait);
        let retry = is_transient.then(|| Retry { at: now + wait, next_wait: MAX_RETRY_WAIT.min(wait * 2) });
        if before.is_none_or(|failed| failed.reason != reason) {
            self.reload.reject(contents.as_ref(), &reason);
        }
        self.failed = Some(Failed { contents, reason, retry });
        if catch_unwind(AssertUnwindSafe(|| self.reload.activate_part())).is_err() {
            self.reload.reject(None, PANICKED);
        }
    }

    fn wait_until_stable(&mut self, signature: Signature, now: Instant) -> Instant {
        let before = self.changed.take();
        let unstable_since = before.as_ref().map_or(now, |changed| changed.unstable_since);
        let mut is_reported = before.is_some_and(|changed| changed.is_reported);
        if !is_reported && now.duration_since(unstable_since) >= STABILIZE_TIMEOUT {
            self.reload.unstable();
            is_reported = true;
        }
        self.changed = Some(Changed { signature, since: now, unstable_since, is_reported });
        now + STABLE_FOR
    }

    fn retry_at(&self) -> Option<Instant> {
        Some(self.failed.as_ref()?.retry?.at)
    }

    fn is_retry_due(&self, now: Instant) -> bool {
        self.retry_at().is_some_and(|at| now >= at)
    }
}

const PANICKED: &str = "reading or loading the files panicked; this is a fault of mqtt-gate, please report it";

impl<R: Reload> Watched for Reloadable<R> {
    fn files(&self) -> Vec<PathBuf> {
        self.files.clone()
    }

    fn set_waker(&mut self, waker: Waker) {
        self.reload.set_waker(waker);
    }

    fn poll(&mut self, now: Instant) -> Option<Instant> {
        self.reload.maintain(now);
        self.finish_loading(now);
        let signature = Signature::of(&self.files);
        if self.handled.as_ref() == Some(&signature) {
            self.changed = None;
            return if self.is_retry_due(now) { self.handle(signature, now) } else { self.retry_at() };
        }
        match &self.changed {
            Some(changed) if changed.signature == signature => {
                let stable_at = changed.since + STABLE_FOR;
                if now >= stable_at { self.handle(signature, now) } else { Some(stable_at) }
            }
            _ => Some(self.wait_until_stable(signature, now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// Loads a number from a file. `panic` panics, `busy` fails for now, anything else fails for good. `aside` loads 0 on
    /// another thread, once the test says so.
    struct Number {
        aside: Option<Receiver<u32>>,
        cancelled: Arc<AtomicBool>,
        file: PathBuf,
        active: String,
        reads: Cell<u32>,
        events: Vec<String>,
    }

    impl Reload for Number {
        type Contents = String;
        type Value = u32;
        type Error = io::Error;

        fn files(&self) -> Vec<PathBuf> {
            vec![self.file.clone()]
        }

        fn read(&self) -> io::Result<String> {
            self.reads.set(self.reads.get() + 1);
            fs::read_to_string(&self.file)
        }

        fn load(&self, contents: &String) -> io::Result<u32> {
            assert_ne!(contents, "panic");
            let kind = if contents == "busy" { io::ErrorKind::WouldBlock } else { io::ErrorKind::InvalidData };
            contents.parse().map_err(|_| io::Error::new(kind, format!("not a number: {contents}")))
        }

        fn load_aside(&mut self, contents: &String) -> Option<Load<io::Result<u32>>> {
            let aside = (contents == "aside").then(|| self.aside.take())??;
            let cancelled = Arc::clone(&self.cancelled);
            let load = move || aside.recv().map_err(io::Error::other);
            Some(Load::spawn(load, move || cancelled.store(true, Relaxed), None).unwrap())
        }

        fn load_ended(&mut self) {
            self.events.push("ended".to_owned());
        }

        fn is_active(&self, contents: &String) -> bool {
            *contents == self.active
        }

        fn activate(&mut self, contents: String, value: u32) {
            self.active = contents;
            self.events.push(format!("activated {value}"));
        }

        fn reject(&mut self, contents: Option<&String>, reason: &str) {
            let contents = contents.map_or("unread", String::as_str);
            self.events.push(format!("rejected {contents}: {}", reason.split(':').next().unwrap_or_default()));
        }

        fn restore(&mut self) {
            self.events.push("restored".to_owned());
        }

        fn unstable(&mut self) {
            self.events.push("unstable".to_owned());
        }

        fn is_transient(error: &io::Error) -> bool {
            error.kind() == io::ErrorKind::WouldBlock
        }
    }

    struct Fixture {
        _directory: tempfile::TempDir,
        number: Reloadable<Number>,
        now: Instant,
    }

    impl Fixture {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("number");
            fs::write(&file, "1").unwrap();
            let active = "1".to_owned();
            let (aside, cancelled) = (None, Arc::default());
            let number = Number { aside, cancelled, file, active, reads: Cell::new(0), events: Vec::new() };
            Self { _directory: directory, number: Reloadable::new(number), now: Instant::now() }
        }

        /// Puts a new file in place. Its inode differs, so the signature does not depend on the clock's resolution.
        fn write(&self, text: &str) {
            let file = &self.number.reload.file;
            let new = file.with_extension("new");
            fs::write(&new, text).unwrap();
            fs::rename(&new, file).unwrap();
        }

        fn poll_after(&mut self, wait: Duration) -> Option<Duration> {
            self.now += wait;
            self.number.poll(self.now).map(|at| at - self.now)
        }

        /// Polls until the files are handled.
        fn settle(&mut self) {
            self.poll_after(Duration::ZERO);
            self.poll_after(STABLE_FOR);
        }

        fn events(&mut self) -> Vec<String> {
            std::mem::take(&mut self.number.reload.events)
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn reads_only_after_a_change_that_is_stable() {
        let mut fixture = Fixture::new();
        fixture.settle();
        assert_eq!(fixture.number.reload.reads.get(), 1);
        for _ in 0..10 {
            assert_eq!(fixture.poll_after(SECOND), None);
        }
        assert_eq!(fixture.number.reload.reads.get(), 1, "an idle gate reads nothing");
        fixture.write("2");
        assert_eq!(fixture.poll_after(SECOND), Some(STABLE_FOR));
        assert_eq!(fixture.poll_after(STABLE_FOR / 2), Some(STABLE_FOR / 2));
        assert_eq!(fixture.poll_after(STABLE_FOR / 2), None);
        assert_eq!((fixture.number.reload.reads.get(), fixture.events()), (2, vec!["activated 2".to_owned()]));
    }

    #[test]
    fn rejects_each_failure_once_and_restores() {
        let mut fixture = Fixture::new();
        fixture.settle();
        fixture.write("two");
        fixture.settle();
        fixture.write("two");
        fixture.settle();
        assert_eq!(fixture.events(), ["rejected two: not a number"]);
        fixture.write("1");
        fixture.settle();
        assert_eq!(fixture.events(), ["restored"]);
        fs::remove_file(&fixture.number.reload.file).unwrap();
        fixture.settle();
        fixture.poll_after(SECOND);
        assert_eq!(fixture.events(), ["rejected unread: No such file or directory (os error 2)"]);
        fixture.write("3");
        fixture.settle();
        assert_eq!(fixture.events(), ["activated 3"]);
    }

    #[test]
    fn retries_transient_failures_with_backoff() {
        let mut fixture = Fixture::new();
        fixture.settle();
        fixture.write("busy");
        fixture.settle();
        assert_eq!(fixture.events(), ["rejected busy: not a number"]);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wait = fixture.poll_after(Duration::ZERO).unwrap();
            waits.push(wait.as_secs());
            fixture.poll_after(wait);
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 64, 64]);
        assert_eq!(fixture.events(), [""; 0]);
    }

    #[test]
    fn reports_files_that_keep_changing_once() {
        let mut fixture = Fixture::new();
        fixture.settle();
        for number in 0..100 {
            fixture.write(&format!("{number}{number}"));
            fixture.poll_after(STABLE_FOR / 2);
        }
        assert_eq!(fixture.events(), ["unstable"]);
        fixture.settle();
        assert_eq!(fixture.events(), ["activated 9999"]);
    }

    #[test]
    fn a_slow_load_does_not_hold_up_the_thread() {
        let mut fixture = Fixture::new();
        fixture.settle();
        let (finish, aside) = channel();
        fixture.number.reload.aside = Some(aside);
        fixture.write("aside");
        fixture.settle();
        fixture.settle();
        assert_eq!(fixture.events(), [""; 0]);
        finish.send(0).unwrap();
        let mut events = Vec::new();
        while events.is_empty() {
            std::thread::yield_now();
            fixture.poll_after(Duration::ZERO);
            events = fixture.events();
        }
        assert_eq!(events, ["ended", "activated 0"]);
        assert_eq!(fixture.number.reload.active, "aside");
    }

    #[test]
    fn newer_contents_take_the_place_of_a_slow_load() {
        let mut fixture = Fixture::new();
        fixture.settle();
        let (finish, aside) = channel();
        fixture.number.reload.aside = Some(aside);
        fixture.write("aside");
        fixture.settle();
        assert!(!fixture.number.reload.cancelled.load(Relaxed));
        fixture.write("2");
        fixture.settle();
        assert_eq!(fixture.events(), ["ended", "activated 2"]);
        assert!(fixture.number.reload.cancelled.load(Relaxed));
        drop(finish);
        fixture.settle();
        assert_eq!(fixture.events(), [""; 0], "its outcome does not count");
    }

    #[test]
    fn survives_a_panic_while_loading() {
        let mut fixture = Fixture::new();
        fixture.settle();
        fixture.write("panic");
        fixture.settle();
        assert_eq!(
            fixture.events(),
            ["rejected panic: reading or loading the files panicked; this is a fault of mqtt-gate, please report it"]
        );
        fixture.write("4");
        fixture.settle();
        assert_eq!(fixture.events(), ["activated 4"]);
    }
}
