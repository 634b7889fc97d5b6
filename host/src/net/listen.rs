//! Listening sockets: bound here, or inherited from the service manager (socket activation).

use std::io;
use std::net::{self, SocketAddr};

use listenfd::ListenFd;
use mqtt_gate_engine::util::sanitize;
use rustix::net::sockopt::{set_ipv6_v6only, socket_acceptconn};
use tokio::net::{TcpListener, TcpSocket};

use crate::config::{Config, ListenAddresses, env_var};

/// Connections that may wait to be accepted. The kernel drops further ones, and clients retry a second later.
const BACKLOG: u32 = 1024;

/// Names of inherited sockets (`FileDescriptorName=` of the systemd unit).
const SOCKET_NAMES: [&str; 2] = ["logins", "admin"];

/// Index of the operator's socket in [`SOCKET_NAMES`].
const ADMIN_ROLE: usize = 1;

/// Maximum number of characters of an unknown socket name in an error.
const MAX_NAME_CHARS: usize = 64;

/// The listening sockets of a gate.
pub struct Listeners {
    /// For brokers, at least one.
    pub auth: Vec<TcpListener>,
    /// For the operator.
    pub admin: TcpListener,
    /// Whether the service manager holds the brokers' socket too. Connections that wait in it at shutdown are then left
    /// to the next gate.
    pub(crate) is_inherited: bool,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is in use, or does not belong to this machine.
    #[error("cannot listen on {address}; stop the program that uses it, or choose another address with {flag}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The command line flag that changes it.
        flag: &'static str,
        /// Error of the operating system.
        source: io::Error,
    },
    /// An inherited socket cannot be used.
    #[error("cannot use the inherited socket for {flag}")]
    Inherited {
        /// The command line flag that it replaces.
        flag: &'static str,
        /// Error of the operating system.
        source: io::Error,
    },
}

/// Sockets that the service manager opened. Addresses without one are bound by the gate.
#[derive(Default)]
pub struct InheritedSockets {
    auth: Vec<net::TcpListener>,
    admin: Option<net::TcpListener>,
}

/// Inherited sockets that the gate cannot use.
#[derive(Debug, thiserror::Error)]
pub enum InheritedSocketsError {
    /// One of them is not a listening TCP socket.
    #[error("{0}, inherited from the service manager, is not a listening TCP socket; use ListenStream= and Accept=no")]
    NotListening(String),
    /// There are more than two, and they have no names.
    #[error(
        "{0} sockets without names were inherited; set FileDescriptorName= to `logins` for brokers, `admin` for the operator"
    )]
    TooMany(usize),
    /// A name is unknown, or there are two sockets for the operator.
    #[error(
        "an inherited socket is named `{0}`; set FileDescriptorName= to `logins` for brokers, `admin` for the operator, once"
    )]
    Name(String),
}

impl InheritedSockets {
    /// Takes the inherited sockets. Call it once, before any thread starts: it changes the environment, so that child
    /// processes do not take them again.
    ///
    /// # Errors
    /// The gate cannot use one of them.
    pub fn take() -> Result<Self, InheritedSocketsError> {
        let mut inherited = ListenFd::from_env();
        let names = env_var("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<&str> = names.split(':').collect();
        let mut sockets = Self::default();
        for (position, role) in roles(inherited.len(), &names)?.into_iter().enumerate() {
            let name = SOCKET_NAMES.get(role).copied().unwrap_or_default();
            let not_listening = || InheritedSocketsError::NotListening(format!("socket {} ({name})", position + 1));
            let socket = take_one(&mut inherited, position).ok_or_else(not_listening)?;
            if role == ADMIN_ROLE {
                sockets.admin = Some(socket);
            } else {
                sockets.auth.push(socket);
            }
        }
        Ok(sockets)
    }
}

/// Returns for each inherited socket its index in [`SOCKET_NAMES`]: by name, or by position if no name is known.
fn roles(count: usize, names: &[&str]) -> Result<Vec<usize>, InheritedSocketsError> {
    let names = names.get(..count).unwrap_or(names);
    if !names.iter().any(|name| SOCKET_NAMES.contains(name)) {
        return if count <= SOCKET_NAMES.len() {
            Ok((0..count).collect())
        } else {
            Err(InheritedSocketsError::TooMany(count))
        };
    }
    let mut roles = Vec::new();
    for position in 0..count {
        let name = names.get(position).copied().unwrap_or_default();
        match SOCKET_NAMES.iter().position(|known| *known == name) {
            // A socket unit with several addresses passes a socket for each.
            Some(role) if role != ADMIN_ROLE || !roles.contains(&role) => roles.push(role),
            _ => return Err(InheritedSocketsError::Name(sanitize::escape(name, MAX_NAME_CHARS))),
        }
    }
    Ok(roles)
}

fn take_one(inherited: &mut ListenFd, position: usize) -> Option<net::TcpListener> {
    let socket = inherited.take_tcp_listener(position).ok()??;
    socket_acceptconn(&socket).ok().filter(|&is_listening| is_listening)?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

impl Listeners {
    /// Binds both addresses of the configuration. Call it within a runtime.
    ///
    /// # Errors
    /// An address is in use, or does not belong to this machine.
    pub fn bind(config: &Config) -> Result<Self, BindError> {
        Self::open(config, InheritedSockets::default())
    }

    /// Uses inherited sockets, and binds the addresses without one. Call it within a runtime.
    ///
    /// # Errors
    /// An address is in use, or does not belong to this machine.
    pub fn open(config: &Config, inherited: InheritedSockets) -> Result<Self, BindError> {
        let is_inherited = !inherited.auth.is_empty();
        let auth: Vec<_> = if is_inherited {
            let sockets = inherited.auth.into_iter();
            sockets.map(|socket| inherit(socket, &config.listen, "--listen")).collect::<Result<_, _>>()?
        } else {
            let bind = |address: SocketAddr| bind(address, config.listen.has_ipv4(address.port()), "--listen");
            config.listen.iter().map(bind).collect::<Result<_, _>>()?
        };
        let admin = match inherited.admin {
            Some(socket) => inherit(socket, &config.admin_listen.into(), "--admin-listen")?,
            None => bind(config.admin_listen, false, "--admin-listen")?,
        };
        Ok(Self { auth, admin, is_inherited })
    }
}

fn inherit(
    socket: net::TcpListener,
    configured: &ListenAddresses,
    flag: &'static str,
) -> Result<TcpListener, BindError> {
    let error = |source| BindError::Inherited { flag, source };
    let address = socket.local_addr().map_err(error)?;
    if !configured.iter().any(|configured| configured == address) {
        tracing::info!(%address, %configured, flag, "listening on inherited socket");
    }
    TcpListener::from_std(socket).map_err(error)
}

/// Binds an address. An IPv6 socket takes IPv4 too, unless IPv4 has a socket of its own.
fn bind(address: SocketAddr, has_ipv4: bool, flag: &'static str) -> Result<TcpListener, BindError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if address.is_ipv6() {
            set_ipv6_v6only(&socket, has_ipv4)?;
        }
        // The port of a gate that has just ended is free.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| BindError::Bind { address, flag, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inherited_sockets_are_assigned_by_name_or_by_position() {
        for (count, names, expected) in [
            (0, &[""][..], Some(vec![])),
            (1, &[""], Some(vec![0])),
            (2, &[""], Some(vec![0, 1])),
            (2, &["mqtt-gate.socket", "mqtt-gate.socket"], Some(vec![0, 1])),
            (2, &["admin", "logins"], Some(vec![1, 0])),
            (1, &["admin"], Some(vec![1])),
            (2, &["logins", "logins"], Some(vec![0, 0])),
            (3, &["logins", "admin", "logins"], Some(vec![0, 1, 0])),
            (3, &["logins", "admin", "admin"], None),
            (3, &[""], None),
            (2, &["logins", "mqtt-gate.socket"], None),
            (2, &["admin"], None),
        ] {
            assert_eq!(roles(count, names).ok(), expected, "{count} {names:?}");
        }
    }
}
