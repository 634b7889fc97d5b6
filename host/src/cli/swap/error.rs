//! Failures of a swap.

use std::io;
use std::path::PathBuf;

use crate::cli::client::ClientError;
use crate::cli::error::CliError;

/// A swap that was not attempted, or whose result is unknown.
#[derive(Debug, thiserror::Error)]
pub(super) enum SwapError {
    /// The operator of a symlink swaps by changing the link. Replacing either file would undo that.
    #[error(
        "{} is a symlink to {}; change the link to swap, or pass --policy {} to replace that file",
        file.display(), target.display(), target.display()
    )]
    Symlink { file: PathBuf, target: PathBuf },
    /// Kubernetes owns the files of a mount, and would undo the swap.
    #[error("{} is mounted from a ConfigMap or a Secret; change that, and the gate swaps when the mount is updated", .0.display())]
    Mounted(PathBuf),
    /// Two swaps at once would take each other's file for the previous policy.
    #[error("another swap is in progress in {}", .0.display())]
    InProgress(PathBuf),
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot replace {}{}", path.display(), mount_hint(source))]
    Replace { path: PathBuf, source: io::Error },
    /// The gate might not be able to read a file with another owner.
    #[error("cannot replace {}: cannot keep its owner; run this as root or as that owner", path.display())]
    Owner { path: PathBuf, source: io::Error },
    #[error(
        "{url} runs sha256 {active}, but {} holds {in_file}; \
         the gate watches another file, or has not loaded this one yet; nothing was changed",
        file.display()
    )]
    OtherFile { url: String, active: String, file: PathBuf, in_file: String },
    #[error("{} is unchanged: the gate stopped responding", file.display())]
    GateLost { file: PathBuf, source: ClientError },
    /// The file and the gate may differ now.
    #[error(
        "the gate did not activate the policy, and the file could not be restored; \
         the policy that was active before is in {}",
        previous.display()
    )]
    NotRestored { previous: PathBuf, source: Box<SwapError> },
    #[error("{url} has no policy `{name}`; the gate has another configuration; nothing was changed")]
    NoSuchPolicy { url: String, name: String },
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// A file that is a mount point cannot be renamed over.
fn mount_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ResourceBusy => {
            " (the file itself is mounted; mount its directory instead, or replace the file where it is mounted from)"
        }
        _ => "",
    }
}

impl From<SwapError> for CliError {
    fn from(error: SwapError) -> Self {
        match error {
            SwapError::Client(error) => error.into(),
            SwapError::GateLost { .. } | SwapError::NotRestored { .. } => Self::Software(error.into()),
            SwapError::Symlink { .. }
            | SwapError::Mounted(_)
            | SwapError::InProgress(_)
            | SwapError::Read { .. }
            | SwapError::Replace { .. }
            | SwapError::Owner { .. }
            | SwapError::OtherFile { .. }
            | SwapError::NoSuchPolicy { .. } => Self::Usage(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;

    #[test]
    fn faults_after_the_file_was_replaced_differ_from_mistakes_before() {
        let io_error = || io::Error::other("read-only file system");
        let replace = || SwapError::Replace { path: "p.wasm".into(), source: io_error() };
        let gone = || ClientError::TokenRequired { url: "http://gate/status".to_owned() };
        for (error, exit) in [
            (replace(), Exit::Usage),
            (SwapError::Replace { path: "p.wasm".into(), source: io::ErrorKind::ResourceBusy.into() }, Exit::Usage),
            (SwapError::InProgress(".".into()), Exit::Usage),
            (gone().into(), Exit::Usage),
            (SwapError::GateLost { file: "p.wasm".into(), source: gone() }, Exit::Software),
            (
                SwapError::NotRestored { previous: "p.wasm.previous".into(), source: Box::new(replace()) },
                Exit::Software,
            ),
        ] {
            let error = CliError::from(error);
            assert_eq!(error.exit_code(), exit, "{error}");
        }
    }
}
