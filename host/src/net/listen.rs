//! Where the gate can be asked: sockets that it opens itself, or that the service manager opened for it and holds.

use std::net::{self, SocketAddr};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use tokio::net::{TcpListener, TcpSocket};

use crate::ServeError;
use crate::config::{Config, variable};

/// So many connections may wait to be accepted. Beyond it the system drops them, and clients try again a second later.
const BACKLOG: u32 = 1024;

/// What a service manager calls the sockets that it hands over (`FileDescriptorName=`).
const NAMES: [&str; 2] = ["logins", "admin"];

/// Where the gate can be asked.
pub struct Listeners {
    /// By brokers.
    pub logins: TcpListener,
    /// By the operator.
    pub admin: TcpListener,
    /// Whether somebody else holds the brokers' socket too. Who waits there when the gate stops is then left to the
    /// gate that comes next.
    pub(crate) is_held: bool,
}

/// The sockets that the service manager handed over. What it did not hand over is opened as the configuration says.
#[derive(Default)]
pub struct HandedOver([Option<net::TcpListener>; 2]);

/// Why what was handed over is of no use.
#[derive(Debug, thiserror::Error)]
pub enum HandedOverError {
    /// It is no socket that connections can be taken from.
    #[error("{0} handed over by the service manager is not a listening TCP socket: use ListenStream= and Accept=no")]
    NotListening(String),
    /// There are too many.
    #[error("{0} sockets were handed over; the gate takes two, for brokers (logins) and for the operator (admin)")]
    TooMany(usize),
    /// A name is not known, or is there twice.
    #[error("a socket was handed over as `{0}`; FileDescriptorName= is to be logins for one and admin for one other")]
    Name(String),
}

impl HandedOver {
    /// Takes them. To be called once, before there are threads: the environment is changed, so that nobody takes them
    /// again.
    ///
    /// # Errors
    /// Something was handed over that the gate cannot use.
    pub fn take() -> Result<Self, HandedOverError> {
        let mut handed = ListenFd::from_env();
        if handed.len() > NAMES.len() {
            return Err(HandedOverError::TooMany(handed.len()));
        }
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<&str> = names.split(':').collect();
        let mut sockets = Self::default();
        for (at, place) in places(handed.len(), &names)?.into_iter().enumerate() {
            let (Some(name), Some(socket)) = (NAMES.get(place), sockets.0.get_mut(place)) else { continue };
            *socket = Some(
                take_one(&mut handed, at)
                    .ok_or_else(|| HandedOverError::NotListening(format!("socket {} ({name})", at + 1)))?,
            );
        }
        Ok(sockets)
    }
}

/// Which of [`NAMES`] each of so many sockets is: by its name, or by its place if no name tells.
fn places(count: usize, names: &[&str]) -> Result<Vec<usize>, HandedOverError> {
    let names = names.get(..count).unwrap_or(names);
    if !names.iter().any(|name| NAMES.contains(name)) {
        return Ok((0..count).collect());
    }
    let mut places = Vec::new();
    for at in 0..count {
        let name = names.get(at).copied().unwrap_or_default();
        match NAMES.iter().position(|known| *known == name) {
            Some(place) if !places.contains(&place) => places.push(place),
            _ => return Err(HandedOverError::Name(mqtt_gate_engine::util::sanitize::escaped(name, 64))),
        }
    }
    Ok(places)
}

fn take_one(handed: &mut ListenFd, at: usize) -> Option<net::TcpListener> {
    let socket = handed.take_tcp_listener(at).ok()??;
    socket_acceptconn(&socket).ok().filter(|&is_listening| is_listening)?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

impl Listeners {
    /// Listens on the addresses of the configuration. To be called within a runtime.
    ///
    /// # Errors
    /// An address is taken, or is none of this machine's.
    pub fn bind(config: &Config) -> Result<Self, ServeError> {
        Self::open(config, HandedOver::default())
    }

    /// Takes the sockets that were handed over, and listens on the addresses of the configuration for the others. To be
    /// called within a runtime.
    ///
    /// # Errors
    /// An address is taken, or is none of this machine's.
    pub fn open(config: &Config, HandedOver([logins, admin]): HandedOver) -> Result<Self, ServeError> {
        let is_held = logins.is_some();
        Ok(Self {
            logins: adopt_or_bind(logins, config.listen, "--listen")?,
            admin: adopt_or_bind(admin, config.admin_listen, "--admin-listen")?,
            is_held,
        })
    }
}

fn adopt_or_bind(
    handed: Option<net::TcpListener>,
    configured: SocketAddr,
    flag: &'static str,
) -> Result<TcpListener, ServeError> {
    let Some(socket) = handed else { return bind(configured, flag) };
    let address = socket.local_addr()?;
    if address != configured {
        tracing::info!(%address, configured = %configured, flag, "listening on the socket that was handed over");
    }
    Ok(TcpListener::from_std(socket)?)
}

fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, ServeError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A port that a gate before this one held a moment ago is free.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| ServeError::Listen { address, flag, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_told_apart_by_name_or_by_order() {
        for (count, names, expected) in [
            (0, &[""][..], Some(vec![])),
            (1, &[""], Some(vec![0])),
            (2, &[""], Some(vec![0, 1])),
            (2, &["mqtt-gate.socket", "mqtt-gate.socket"], Some(vec![0, 1])),
            (2, &["admin", "logins"], Some(vec![1, 0])),
            (1, &["admin"], Some(vec![1])),
            (2, &["logins", "logins"], None),
            (2, &["logins", "mqtt-gate.socket"], None),
            (2, &["admin"], None),
        ] {
            assert_eq!(places(count, names).ok(), expected, "{count} {names:?}");
        }
    }
}
