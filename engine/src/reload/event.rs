//! Events of the policy, for logs and for the service manager.

use std::io;
use std::path::Path;

use super::active::ActiveVersion;
use super::history::Part;
use crate::policy::Digest;

/// Receives events, on the thread that loads policies.
pub type Observer = Box<dyn Fn(&PolicyEvent) + Send>;

/// An event of the policy.
pub enum PolicyEvent<'a> {
    /// The first policy is active.
    Loaded(&'a ActiveVersion),
    /// A policy was swapped.
    Activated {
        /// The policy before.
        before: &'a ActiveVersion,
        /// The policy that is active now.
        active: &'a ActiveVersion,
        /// Whether their settings differ.
        settings_changed: bool,
    },
    /// A candidate was rejected. The active policy stays.
    Rejected {
        /// SHA-256 of the candidate; `None` if it could not be read.
        candidate: Option<Digest>,
        /// SHA-256 of the active policy.
        active: Digest,
        /// The error, on one line.
        reason: &'a str,
    },
    /// After a rejection, the rest of the files was activated.
    PartActivated {
        /// The part that is not active.
        on_hold: Part,
    },
    /// After a rejection, the file holds the active policy again.
    Restored,
    /// The active policy failed 20 calls in a row and never allowed anything. The component before becomes the active one.
    Returned {
        /// SHA-256 of the policy that failed.
        from: Digest,
        /// SHA-256 of the one before.
        to: Digest,
    },
    /// As [`Self::Returned`], but there is no component to return to. The policy that fails stays.
    CannotReturn {
        /// SHA-256 of the policy that fails.
        from: Digest,
        /// Why the component before cannot be used, on one line. `None`: there was none, or it was returned from.
        reason: Option<&'a str>,
    },
    /// A file was replaced where it is mounted from, and can never change here.
    FileDetached {
        /// The file.
        path: &'a Path,
    },
    /// The policy file and its settings kept changing for two seconds.
    Unstable,
    /// The policy file could not be used at startup, and the last known good policy replaces it.
    FallbackUsed {
        /// SHA-256 of the last known good policy.
        digest: Digest,
        /// Where it is kept.
        directory: &'a Path,
        /// Why the policy file could not be used.
        reason: &'a str,
    },
    /// Another gate uses the state directory, and is waited for.
    StateInUse {
        /// The state directory.
        directory: &'a Path,
        /// The other gate.
        owner: &'a str,
    },
    /// A kept policy could not be used.
    FallbackRejected {
        /// Its file.
        path: &'a Path,
        /// The error, on one line.
        reason: &'a str,
    },
    /// The active policy could not be kept as the last known good one. It is tried again.
    PersistFailed {
        /// Where it should be kept.
        directory: &'a Path,
        /// Error of the operating system.
        error: &'a io::Error,
    },
}
