//! Several addresses for brokers, of IPv4 and IPv6.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use mqtt_gate::config::ListenAddresses;

use crate::support::device::Device;
use crate::support::free_ports;
use crate::support::http::Connection;
use crate::support::in_process::{AUTH_CORE, Gate};

/// Asserts that a gate that listens on `listen` answers on each of `addresses`.
async fn assert_served(listen: &[SocketAddr], addresses: &[SocketAddr]) {
    let gate = Gate::start_with(AUTH_CORE, |config| {
        config.listen = listen.iter().copied().collect::<ListenAddresses>();
    })
    .await;
    for &address in addresses {
        let mut connections = Vec::new();
        for _ in 0..3 {
            let mut connection = Connection::open(address).await;
            assert_eq!(connection.request(&Device::valid().request()).await.status, 200, "{address}");
            connections.push(connection);
        }
    }
    gate.stop().await;
}

/// Whether the kernel has IPv6, which containers can switch off. Says so if it has not.
fn has_ipv6() -> bool {
    let is_available = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !is_available {
        eprintln!("not run: this machine has no IPv6; enable it (net.ipv6.conf.all.disable_ipv6=0)");
    }
    is_available
}

#[tokio::test(flavor = "multi_thread")]
async fn every_address_of_a_list_is_served() {
    let [one, other] = free_ports();
    let addresses: [SocketAddr; 2] = [(Ipv4Addr::LOCALHOST, one).into(), (Ipv4Addr::LOCALHOST, other).into()];
    assert_served(&addresses, &addresses).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_unspecified_address_of_ipv6_takes_ipv4_too() {
    if !has_ipv6() {
        return;
    }
    let [port] = free_ports();
    let local: [SocketAddr; 2] = [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()];
    assert_served(&[(Ipv6Addr::UNSPECIFIED, port).into()], &local).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_unspecified_addresses_share_a_port() {
    if !has_ipv6() {
        return;
    }
    let [port] = free_ports();
    let local: [SocketAddr; 2] = [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()];
    let unspecified: [SocketAddr; 2] = [(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()];
    assert_served(&unspecified, &local).await;
}
