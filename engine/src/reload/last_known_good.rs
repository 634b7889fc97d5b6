//! The last known good policy, kept on disk for a start that finds the policy file broken.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::event::{Observer, PolicyEvent};
use super::source::{Candidate, PolicySource};
use crate::policy::{Digest, LoadError, Policy, Sandbox};
use crate::util::file::read_file;
use crate::util::sanitize;

/// A kept component is named by this prefix, its digest and [`SUFFIX`].
const PREFIX: &str = "policy-";
const SUFFIX: &str = ".wasm";

/// The directory of the last known good policy.
///
/// It holds components only: no setting, no key. A kept component is used at startup only, only if the policy file is at
/// fault, only if its digest fits its name, and only with the current settings.
#[derive(Clone, Debug)]
pub struct LastKnownGood {
    directory: PathBuf,
}

impl LastKnownGood {
    /// Keeps policies in this directory. It is created when the first policy is written.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The directory.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Loads the newest kept policy that works, if the component is at fault for `error`.
    pub(super) fn load_fallback(
        &self,
        source: &PolicySource,
        sandbox: &Arc<Sandbox>,
        error: &LoadError,
        observer: &Observer,
    ) -> Option<(Candidate, Policy)> {
        if !error.is_of_component() {
            return None;
        }
        let (candidate, policy) =
            list(&self.directory).into_iter().find_map(|path| load(&path, source, sandbox, observer))?;
        let (directory, reason) = (self.directory.as_path(), sanitize::error_chain(error));
        observer(&PolicyEvent::FallbackUsed { digest: policy.digest(), directory, reason: &reason });
        Some((candidate, policy))
    }

    /// Writes a component under its digest, in one step, and removes the ones before.
    pub(super) fn write(&self, candidate: &Candidate) -> io::Result<()> {
        let (directory, component) = (&self.directory, candidate.component());
        let path = directory.join(format!("{PREFIX}{}{SUFFIX}", candidate.digest()));
        if !read_file(&path).is_ok_and(|kept| kept == component) {
            fs::create_dir_all(directory)?;
            // A new name, so that no other file is overwritten.
            let mut unfinished = tempfile::Builder::new().prefix(".policy-").tempfile_in(directory)?;
            unfinished.write_all(component)?;
            unfinished.as_file().sync_all()?;
            unfinished.persist(&path)?;
            File::open(directory)?.sync_all()?;
        }
        list(directory).into_iter().filter(|other| *other != path).try_for_each(fs::remove_file)
    }
}

/// Lists the kept components, the newest first.
fn list(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut kept: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| digest_in_name(&entry.path()).is_some())
        .map(|entry| (entry.metadata().and_then(|metadata| metadata.modified()).ok(), entry.path()))
        .collect();
    kept.sort_unstable();
    kept.into_iter().rev().map(|(_, path)| path).collect()
}

/// Returns the digest in the name of a kept component. Files with other names are not ours, and are left alone.
fn digest_in_name(path: &Path) -> Option<&str> {
    let digest = path.file_name()?.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_digest.then_some(digest)
}

/// Loads a kept component if its digest fits its name and it works with the current settings.
fn load(
    path: &Path,
    source: &PolicySource,
    sandbox: &Arc<Sandbox>,
    observer: &Observer,
) -> Option<(Candidate, Policy)> {
    let component = read_file(path).ok()?;
    if digest_in_name(path) != Some(Digest::of(&component).to_string().as_str()) {
        observer(&PolicyEvent::FallbackRejected { path, reason: "its contents do not match the digest in its name" });
        return None;
    }
    let loaded = source.with_component(component).and_then(|candidate| Ok((candidate.load(sandbox)?, candidate)));
    match loaded {
        Ok((policy, candidate)) => Some((candidate, policy)),
        Err(error) => {
            observer(&PolicyEvent::FallbackRejected { path, reason: &sanitize::error_chain(&error) });
            None
        }
    }
}
