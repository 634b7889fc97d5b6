//! A service manager as the gate sees it: it holds the sockets, passes them on, and receives notifications.

use std::iter;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use command_fds::{CommandFdExt, FdMapping};
use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::process::Command;

use crate::support::child::gate_binary;
use crate::support::device::KEY;
use crate::support::within_timeout;

pub(crate) struct FakeSystemd {
    auth: TcpListener,
    admin: TcpListener,
    notifications: UnixDatagram,
    directory: TempDir,
}

impl FakeSystemd {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let notifications = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        Self { auth: listen(), admin: listen(), notifications, directory }
    }

    pub(crate) fn auth_address(&self) -> SocketAddr {
        self.auth.local_addr().unwrap()
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin.local_addr().unwrap()
    }

    /// `mqtt-gate serve` with both sockets passed on, the admin socket first, and these arguments.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Command {
        let sockets = [self.admin.try_clone().unwrap().into(), self.auth.try_clone().unwrap().into()];
        let mut command = serve_with_fds(sockets, "admin:logins", arguments);
        command.env("NOTIFY_SOCKET", self.directory.path().join("notify"));
        command
    }

    /// A directory that lives as long as this.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The path of a file in [`Self::directory`].
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The notifications that have arrived and were not read yet.
    pub(crate) fn drain_notifications(&self) -> Vec<String> {
        let mut datagram = [0; 4096];
        let next = || {
            let length = self.notifications.try_recv(&mut datagram).ok()?;
            Some(String::from_utf8(datagram[..length].to_vec()).unwrap())
        };
        iter::from_fn(next).collect()
    }

    pub(crate) async fn next_notification(&self) -> String {
        let mut datagram = vec![0; 4096];
        let length = within_timeout("a notification", self.notifications.recv(&mut datagram)).await.unwrap();
        datagram.truncate(length);
        String::from_utf8(datagram).unwrap()
    }

    /// Waits for a notification that has this line.
    pub(crate) async fn wait_for_notification(&self, line: &str) -> String {
        within_timeout(line, async {
            loop {
                let notification = self.next_notification().await;
                if notification.lines().any(|received| received == line) {
                    return notification;
                }
            }
        })
        .await
    }
}

/// `mqtt-gate serve` with these descriptors from 3 on. A shell sets `LISTEN_PID`, which must be the gate's own process
/// id.
pub(crate) fn serve_with_fds(
    descriptors: impl IntoIterator<Item = OwnedFd>,
    names: &str,
    arguments: &[&str],
) -> Command {
    let mappings = (3..).zip(descriptors).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd });
    let mappings: Vec<FdMapping> = mappings.collect();
    let mut command = Command::new("sh");
    command.args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""]).arg(gate_binary()).arg("serve").args(arguments);
    command.env("LISTEN_FDS", mappings.len().to_string()).env("LISTEN_FDNAMES", names);
    command.env("MQTT_SIGNATURE_KEY", KEY).stdin(Stdio::null()).kill_on_drop(true);
    command.fd_mappings(mappings).unwrap();
    command
}
