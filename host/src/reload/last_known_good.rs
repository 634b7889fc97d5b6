//! The last policy that served out of a file, kept on disk for a start that finds that file broken.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::reload::source::{Candidate, Origin};
use mqtt_gate_engine::util::sanitize;
use mqtt_gate_engine::policy::{Digest, LoadError, Policy};
use mqtt_gate_engine::policy::sandbox::Sandbox;
use mqtt_gate_engine::util::file::read_file;

/// What a kept component is called: this, its digest, and [`SUFFIX`].
const PREFIX: &str = "policy-";
const SUFFIX: &str = ".wasm";

/// The directory of the gate's state, if it has one.
///
/// Components lie there and nothing else: no setting, no key. What lies there serves only at a start, only where the
/// policy file is at fault, only if its digest is the one it was kept under, and only with the settings of now.
#[derive(Clone)]
pub(crate) struct LastGood {
    directory: Option<PathBuf>,
    /// Whether the last try to keep one failed.
    is_failing: Arc<AtomicBool>,
}

impl LastGood {
    pub(crate) fn new(directory: Option<PathBuf>) -> Self {
        Self { directory, is_failing: Arc::default() }
    }

    /// Whether anything is kept at all.
    pub(crate) fn is_kept(&self) -> bool {
        self.directory.is_some()
    }

    /// The policy to begin with although the file of the origin failed in this way; none if there is no good one, or if
    /// something else than the file is at fault.
    pub(crate) fn stand_in(&self, origin: &Origin, sandbox: &Arc<Sandbox>, failed: &LoadError) -> Option<Policy> {
        let directory = self.directory.as_deref().filter(|_| failed.is_of_component())?;
        let policy = kept(directory).into_iter().find_map(|path| load(&path, origin, sandbox))?;
        tracing::warn!(
            reason = sanitize::chain(failed),
            sha256 = %policy.digest(),
            directory = %directory.display(),
            remedy = "put a good policy in the place of the policy file: it serves at once",
            "the policy file is of no use, and the last good policy serves in its place"
        );
        Some(policy)
    }

    /// Keeps a component that serves, and it alone. Gives it back if that fails, to try again; it is told once, until it
    /// has been kept.
    pub(crate) fn keep(&self, candidate: Candidate) -> Option<Candidate> {
        let directory = self.directory.as_ref()?;
        let kept = write(directory, candidate.component(), candidate.digest);
        let was_failing = self.is_failing.swap(kept.is_err(), Relaxed);
        let error = kept.err()?;
        if !was_failing {
            let directory = directory.display();
            tracing::warn!(
                %directory,
                %error,
                remedy = "let the gate write there, or a start that finds the policy file broken has nothing to serve with",
                "cannot keep the policy that serves"
            );
        }
        Some(candidate)
    }
}

/// What is kept in a directory, the latest first.
fn kept(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| digest_in(&entry.path()).is_some())
        .map(|entry| (entry.metadata().and_then(|about| about.modified()).ok(), entry.path()))
        .collect();
    found.sort_unstable();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// The digest that a kept component is called by. Whatever is called otherwise is none of ours, and is left alone.
fn digest_in(path: &Path) -> Option<&str> {
    let digest = path.file_name()?.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_digest.then_some(digest)
}

/// A kept component as a policy, if it is what its name says and works with the settings of now.
fn load(path: &Path, origin: &Origin, sandbox: &Arc<Sandbox>) -> Option<Policy> {
    let component = read_file(path).ok()?;
    if digest_in(path) != Some(Digest::of(&component).to_string().as_str()) {
        let path = path.display();
        tracing::error!(%path, "a kept policy is not what its name says, and is not used");
        return None;
    }
    origin
        .with_component(component)
        .and_then(|candidate| candidate.load(sandbox))
        .inspect_err(|error| {
            tracing::error!(path = %path.display(), reason = sanitize::chain(error), "a kept policy does not load");
        })
        .ok()
}

/// Writes a component under its digest, whole or not at all, and takes away those before it.
fn write(directory: &Path, component: &[u8], digest: Digest) -> io::Result<()> {
    let path = directory.join(format!("{PREFIX}{digest}{SUFFIX}"));
    if !read_file(&path).is_ok_and(|there| there == component) {
        fs::create_dir_all(directory)?;
        // A file of a name that nobody else has: what else lies there is not written over.
        let mut unfinished = tempfile::Builder::new().prefix(".policy-").tempfile_in(directory)?;
        unfinished.write_all(component)?;
        unfinished.as_file().sync_all()?;
        unfinished.persist(&path)?;
        File::open(directory)?.sync_all()?;
    }
    kept(directory).into_iter().filter(|other| *other != path).try_for_each(fs::remove_file)
}
