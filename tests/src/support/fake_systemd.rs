//! A service manager, as far as the gate knows one: it holds the sockets, hands them over and is told how the gate is.

use std::iter;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;

use command_fds::{CommandFdExt, FdMapping};
use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::child::{PATIENCE, program};
use crate::support::device::KEY;

pub(crate) struct Manager {
    logins: TcpListener,
    admin: TcpListener,
    notices: UnixDatagram,
    directory: TempDir,
}

impl Manager {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let notices = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        Self { logins: listen(), admin: listen(), notices, directory }
    }

    pub(crate) fn logins(&self) -> SocketAddr {
        self.logins.local_addr().unwrap()
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin.local_addr().unwrap()
    }

    /// `mqtt-gate serve` with both sockets, the brokers' last, and these arguments besides.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Command {
        let sockets = [self.admin.try_clone().unwrap().into(), self.logins.try_clone().unwrap().into()];
        let mut command = handing_over(sockets, "admin:logins", arguments);
        command.env("NOTIFY_SOCKET", self.directory.path().join("notify"));
        command
    }

    /// The path of a file of this name, which goes when the manager does.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What the gate has said and nobody has heard yet.
    pub(crate) fn heard(&self) -> Vec<String> {
        let mut notice = [0; 4096];
        let next = || {
            self.notices.try_recv(&mut notice).ok().map(|length| String::from_utf8(notice[..length].to_vec()).unwrap())
        };
        iter::from_fn(next).collect()
    }

    /// The next thing that the gate says.
    pub(crate) async fn notice(&self) -> String {
        let mut notice = vec![0; 4096];
        let length = timeout(PATIENCE, self.notices.recv(&mut notice)).await.expect("a notice").unwrap();
        notice.truncate(length);
        String::from_utf8(notice).unwrap()
    }

    /// Waits until the gate says this, on a line.
    pub(crate) async fn until_told(&self, line: &str) -> String {
        loop {
            let notice = self.notice().await;
            if notice.lines().any(|told| told == line) {
                return notice;
            }
        }
    }
}

/// `mqtt-gate serve` with these descriptors from 3 on. Their names are for whoever has the process's own number.
pub(crate) fn handing_over(descriptors: impl IntoIterator<Item = OwnedFd>, names: &str, arguments: &[&str]) -> Command {
    let mappings = (3..).zip(descriptors).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd });
    let mappings: Vec<FdMapping> = mappings.collect();
    let mut command = Command::new("sh");
    command.args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""]).arg(program()).arg("serve").args(arguments);
    command.env("LISTEN_FDS", mappings.len().to_string()).env("LISTEN_FDNAMES", names);
    command.env("MQTT_SIGNATURE_KEY", KEY).stdin(Stdio::null()).kill_on_drop(true);
    command.fd_mappings(mappings).unwrap();
    command
}
