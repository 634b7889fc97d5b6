//! The limit of open files, which bounds the connections.

use std::num::NonZero;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files besides the connections of brokers: connections and handshakes of operators, the policy and its settings, logs.
const RESERVED: u64 = 384;

/// Files of one worker: its event queue and its wake-ups.
const RESERVED_PER_WORKER: u64 = 8;

/// Raises the soft limit of open files of this process to its hard limit. The soft limit is often 1024.
///
/// Without effect if the system refuses: [`max_connections`] then warns.
pub fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// Limit of the connections of brokers: the configured one, or fewer if the limit of open files has no room for it.
pub(crate) fn max_connections(configured: NonZero<usize>, workers: NonZero<usize>) -> usize {
    let open_files = getrlimit(Resource::Nofile).current;
    let fitting = fitting_connections(open_files, workers.get() as u64);
    let fitting = usize::try_from(fitting).unwrap_or(usize::MAX);
    if fitting < configured.get() {
        tracing::warn!(
            open_files,
            configured,
            max_connections = fitting,
            hint = "raise the hard limit of open files (LimitNOFILE= in systemd, ulimits in a container), or lower \
                    limits.max_connections",
            "limit of open files too low"
        );
    }
    configured.get().min(fitting)
}

/// Connections that fit. At least half of the files are for connections, so that a small limit serves brokers too.
fn fitting_connections(open_files: Option<u64>, workers: u64) -> u64 {
    let Some(open_files) = open_files else { return u64::MAX };
    let reserved = RESERVED + RESERVED_PER_WORKER * workers;
    open_files.saturating_sub(reserved).max(open_files / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_operators() {
        for (open_files, connections) in
            [(None, u64::MAX), (Some(65_536), 65_136), (Some(1024), 624), (Some(256), 128), (Some(1), 1)]
        {
            assert_eq!(fitting_connections(open_files, 2), connections, "{open_files:?}");
        }
    }
}
