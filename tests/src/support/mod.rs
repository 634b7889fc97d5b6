//! The harness: everything that the tests share and that asserts nothing about the product by itself.
//!
//! - The gate: [`in_process`] runs it in the test's process, [`child`] as a program, [`cli_fixture`] beside a command
//!   line, [`fake_systemd`] under a service manager.
//! - Its clients: [`http`] and [`request_corpus`] as brokers, [`device`] and [`bad_clients`] as MQTT clients,
//!   [`swap_load`] as a load that checks each response, [`mqtt`] and [`raw_mqtt`] through a broker, [`browser`] as an
//!   operator.
//! - Other programs: [`broker`] runs brokers, [`emqx_model`] behaves as EMQX was measured to, [`envoy`] Envoy, [`wasi_http`] and [`jco`] hosts of components.
//! - Material: [`ca`] and [`tls_files`] make certificates, [`composition`] composes policies, [`credential_cases`]
//!   holds recorded credentials, [`output`] captures what a program prints.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

pub(crate) mod bad_clients;
pub(crate) mod bomb;
pub(crate) mod broker;
pub(crate) mod browser;
pub(crate) mod ca;
pub(crate) mod child;
pub(crate) mod cli_fixture;
pub(crate) mod composition;
pub(crate) mod credential_cases;
pub(crate) mod device;
pub(crate) mod emqx_model;
pub(crate) mod engine;
pub(crate) mod envoy;
pub(crate) mod fake_systemd;
pub(crate) mod golden;
pub(crate) mod http;
pub(crate) mod in_process;
pub(crate) mod jco;
pub(crate) mod mqtt;
pub(crate) mod output;
pub(crate) mod raw_mqtt;
pub(crate) mod request_corpus;
pub(crate) mod swap_load;
pub(crate) mod tls_files;
pub(crate) mod wasi_http;

/// Upper bound of every wait. Nothing takes that long on a loaded machine; a hang is reported after it.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Pause between two checks of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Checks `condition` until it yields a value, for at most [`TEST_TIMEOUT`].
pub(crate) async fn poll_until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TEST_TIMEOUT;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "timed out waiting until {what}");
        sleep(POLL_INTERVAL).await;
    }
}

/// Completes `work`, or panics after [`TEST_TIMEOUT`].
pub(crate) async fn within_timeout<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(TEST_TIMEOUT, work).await.unwrap_or_else(|_| panic!("timed out waiting for {what}"))
}

/// The directory that cargo builds into, where `tests/setup` installs other programs.
pub(crate) fn target_dir() -> PathBuf {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../target").to_owned();
    std::env::var("CARGO_TARGET_DIR").unwrap_or(default).into()
}

/// Free ports for programs that cannot choose one themselves. Each port is returned once per run, and none is from the
/// range that the system assigns to others.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // Two test runs at the same time start at different ports.
    let start = u16::try_from(std::process::id() * 64 % u32::from(COUNT)).unwrap();
    let next = || FIRST + (start + TAKEN.fetch_add(1, Relaxed) % COUNT) % COUNT;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    [(); N].map(|()| std::iter::repeat_with(next).take(COUNT.into()).find(is_free).expect("a free port"))
}
