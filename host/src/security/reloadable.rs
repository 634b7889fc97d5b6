//! What is made of files besides the policy, and made anew when they change: certificates and secrets.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use crate::watch::notify::Hints;
use mqtt_gate_engine::util::sanitize;
use crate::watch::read::Reading;
use mqtt_gate_engine::util::file::{read_file, shown_path};
use crate::util::shutdown::Stopping;

/// Files have to stand still for this long before they are used.
const SETTLE: Duration = Duration::from_millis(100);

/// How often to look without a hint.
const LOOK: Duration = Duration::from_secs(2);

/// How long a look may take to read them.
const LONGEST_READING: Duration = Duration::from_secs(2);

/// How to make something of files.
pub(crate) trait Recipe: Send + Sync + 'static {
    /// What is made.
    type Product: Send + Sync;
    /// Why it is not.
    type Error: Error + Send;

    /// What it is called in the log.
    fn name(&self) -> &'static str;

    /// The files, always the same. None: it is made once and for all.
    fn files(&self) -> Vec<PathBuf>;

    /// Why it is not, when a file cannot be read.
    fn unread(&self, unread: Unread) -> Self::Error;

    /// Makes it of what the files hold, in their order.
    ///
    /// # Errors
    /// It cannot be made of that.
    fn make(&self, contents: &[Contents]) -> Result<Self::Product, Self::Error>;
}

/// What a file holds.
pub(crate) type Contents = Zeroizing<Vec<u8>>;

/// A file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub struct Unread {
    /// As it may be shown.
    path: String,
    source: io::Error,
}

/// Something that is made of files, as it was made last. What cannot be made of what they hold now changes nothing.
pub(crate) struct Renewed<R: Recipe> {
    recipe: Arc<R>,
    current: Arc<ArcSwap<R::Product>>,
    made_of: Fingerprint,
    reading: Reading<Result<Vec<Contents>, Unread>>,
    refused: watch::Sender<Option<Refusal>>,
}

/// What the files hold now and nothing can be made of.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// `None`: a file cannot be read.
    of: Option<Fingerprint>,
    /// Why, on one line. Never tells what a file holds.
    pub(crate) reason: String,
    /// When that was seen first.
    pub(crate) at: SystemTime,
}

type Fingerprint = [u8; 32];

impl<R: Recipe> Renewed<R> {
    /// Makes it for the first time.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn new(recipe: R) -> Result<Self, R::Error> {
        let contents = read(&recipe.files()).map_err(|unread| recipe.unread(unread))?;
        let current = Arc::new(ArcSwap::from_pointee(recipe.make(&contents)?));
        Ok(Self {
            recipe: Arc::new(recipe),
            current,
            made_of: fingerprint(&contents),
            reading: Reading::default(),
            refused: watch::Sender::new(None),
        })
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &'static str {
        self.recipe.name()
    }

    /// What it is now, and later.
    pub(crate) fn current(&self) -> Arc<ArcSwap<R::Product>> {
        Arc::clone(&self.current)
    }

    /// What is wrong with the files, now and later: `None` while they are what is in use.
    pub(crate) fn refused(&self) -> watch::Receiver<Option<Refusal>> {
        self.refused.subscribe()
    }

    /// Looks at every hint, and every few seconds, until the gate stops.
    pub(crate) async fn run(mut self, mut stopping: Stopping) {
        let files = self.recipe.files();
        if files.is_empty() {
            return;
        }
        tokio::select! {
            () = stopping.wait() => {}
            () = self.watch(&files) => {}
        }
    }

    async fn watch(&mut self, files: &[PathBuf]) {
        let mut hints = Hints::of(files.iter().map(PathBuf::as_path));
        loop {
            self.look().await;
            tokio::select! {
                () = hints.next() => sleep(SETTLE).await,
                () = sleep(LOOK) => hints.watch(),
            }
        }
    }

    async fn look(&mut self) {
        let Some(mut found) = self.read().await else { return };
        let seen = found.as_ref().ok().map(|contents| fingerprint(contents));
        if seen != Some(self.made_of) {
            // Between the steps of a replacement there is no file, or one that does not fit the other.
            sleep(SETTLE).await;
            let Some(latest) = self.read().await else { return };
            found = latest;
            let again = found.as_ref().ok().map(|contents| fingerprint(contents));
            if again != seen {
                // It does not stand still: the next look will find it whole.
                return;
            }
        }
        let (of, error) = match found {
            Ok(contents) => {
                let of = fingerprint(&contents);
                if of == self.made_of {
                    if self.refused.send_replace(None).is_some() {
                        tracing::info!(what = self.recipe.name(), "the files are again what is in use");
                    }
                    return;
                }
                match self.recipe.make(&contents) {
                    Ok(product) => return self.renew(product, of),
                    Err(error) => (Some(of), error),
                }
            }
            Err(unread) => (None, self.recipe.unread(unread)),
        };
        self.refuse(of, &error);
    }

    /// `None`: not in time. What is not read now may be read by the next look.
    async fn read(&mut self) -> Option<Result<Vec<Contents>, Unread>> {
        let files = self.recipe.files();
        let failed = || Unread { path: "them".to_owned(), source: io::Error::other("the gate failed in it") };
        let read = timeout(LONGEST_READING, self.reading.next(Instant::now(), move || read(&files))).await.ok()?;
        Some(read.unwrap_or_else(|| Err(failed())))
    }

    fn renew(&mut self, product: R::Product, of: Fingerprint) {
        self.current.store(Arc::new(product));
        self.made_of = of;
        self.refused.send_replace(None);
        tracing::info!(what = self.recipe.name(), "renewed: the files have changed");
    }

    fn refuse(&mut self, of: Option<Fingerprint>, error: &R::Error) {
        let reason = sanitize::chain(error);
        let is_known = self.refused.borrow().as_ref().is_some_and(|known| known.of == of && known.reason == reason);
        // Told once.
        if !is_known {
            self.refused.send_replace(Some(Refusal { of, reason: reason.clone(), at: SystemTime::now() }));
            tracing::error!(
                what = self.recipe.name(),
                reason,
                "the files have changed and are of no use; what they held before stays in use"
            );
        }
    }
}

fn read(files: &[PathBuf]) -> Result<Vec<Contents>, Unread> {
    let read_one = |path: &PathBuf| match read_file(Path::new(path)) {
        Ok(contents) => Ok(Zeroizing::new(contents)),
        Err(source) => Err(Unread { path: shown_path(path).into_owned(), source }),
    };
    files.iter().map(read_one).collect()
}

fn fingerprint(contents: &[Contents]) -> Fingerprint {
    let mut all = Sha256::new();
    for one in contents {
        all.update(Sha256::digest(one.as_slice()));
    }
    all.finalize().into()
}
