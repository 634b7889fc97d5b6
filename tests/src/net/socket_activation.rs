//! Sockets that a service manager passes on (`LISTEN_FDS`).

use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use crate::support::child::{GateProcess, run};
use crate::support::device::Device;
use crate::support::fake_systemd::{FakeSystemd, serve_with_fds};
use crate::support::http::Connection;

#[tokio::test(flavor = "multi_thread")]
async fn inherited_sockets_take_precedence_over_configured_addresses() {
    let systemd = FakeSystemd::new();
    let gate = GateProcess::start(&mut systemd.serve(&[])).await;
    assert_eq!((gate.auth, gate.admin), (systemd.auth_address(), systemd.admin_address()));
    let response = Connection::open(systemd.auth_address()).await.request(&Device::valid().request()).await;
    assert_eq!(response.status, 200);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_unnamed_socket_is_for_brokers_and_the_admin_address_is_bound() {
    let auth = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = auth.local_addr().unwrap();
    let gate = GateProcess::start(&mut serve_with_fds([auth.into()], "mqtt-gate.socket", &[])).await;
    assert_eq!(gate.auth, address);
    assert_ne!(gate.admin, address);
    gate.stop().await;
}

/// A socket unit with several addresses passes a socket for each, all with the same name.
#[tokio::test(flavor = "multi_thread")]
async fn several_sockets_for_brokers_are_served() {
    let sockets: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses: Vec<_> = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
    let descriptors: Vec<OwnedFd> = sockets.into_iter().map(Into::into).collect();
    let gate = GateProcess::start(&mut serve_with_fds(descriptors, "logins:admin:logins", &[])).await;
    assert_eq!(gate.admin, addresses[1]);
    for address in [addresses[0], addresses[2]] {
        assert_eq!(Connection::open(address).await.request(&Device::valid().request()).await.status, 200);
    }
    gate.stop().await;
}

fn listening() -> OwnedFd {
    TcpListener::bind("127.0.0.1:0").unwrap().into()
}

/// Asserts exit code 64 and one line on standard error that contains `expected`.
async fn assert_rejected(descriptors: Vec<OwnedFd>, names: &str, expected: &str) {
    let (code, printed, error) = run(&mut serve_with_fds(descriptors, names, &[])).await;
    assert_eq!((code, printed.as_str()), (Some(64), ""), "{error}");
    assert!(error.contains(expected) && error.lines().count() == 1, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_inherited_files() {
    assert_rejected(vec![File::open("/dev/null").unwrap().into()], "logins", "socket 1 (logins)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_inherited_udp_sockets() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap().into();
    assert_rejected(vec![udp], "x", "listening TCP socket").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_inherited_connected_sockets() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert_rejected(vec![listening(), connected.into()], "logins:admin", "socket 2 (admin)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_more_than_two_inherited_sockets() {
    assert_rejected(vec![listening(), listening(), listening()], "a:b:c", "3 sockets").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_two_inherited_sockets_for_the_operator() {
    assert_rejected(vec![listening(), listening()], "admin:admin", "`admin`").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_inherited_sockets_of_unknown_names() {
    assert_rejected(vec![listening(), listening()], "logins:web", "`web`").await;
}
