//! Restarts under load: the service manager holds the socket, so no request is lost.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use crate::support::ca::Ca;
use crate::support::child::{GateProcess, write_config};
use crate::support::device::Device;
use crate::support::fake_systemd::FakeSystemd;
use crate::support::http::{Connection, Response, post};
use crate::support::tls_files::TlsFiles;
use crate::support::{poll_until, within_timeout};

const CONNECTIONS: usize = 8;
const RESTARTS: u64 = 4;
/// Requests in flight per connection: more than a server reads at once.
const DEPTH: usize = 48;
/// EMQX sends a request at most this often.
const MAX_SENDS: u32 = 3;

/// Counters of all broker connections, and the signal to stop.
#[derive(Clone, Default)]
struct Counters {
    sent: Arc<AtomicU64>,
    /// Sent on a connection that closed without a response.
    unanswered: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
}

/// Requests that are sent in turn. Neighbours have different responses, so a response out of order is detected.
fn requests() -> [(Vec<u8>, u16); 3] {
    [
        (Device::valid().request(), 200),
        (post("/mqtt/auth", "application/json", b"{"), 400),
        (Device::unsigned("x").request(), 401),
    ]
}

/// A broker connection that sends a burst, waits for all responses, and reconnects when the connection was closed.
async fn bursting_broker(address: SocketAddr, counters: Counters) {
    let requests = requests();
    let burst: Vec<u8> = (0..DEPTH).flat_map(|at| requests[at % requests.len()].0.iter().copied()).collect();
    let mut connection = Connection::open(address).await;
    while !counters.done.load(SeqCst) {
        if connection.is_closed() {
            connection = Connection::open(address).await;
        }
        counters.sent.fetch_add(DEPTH as u64, SeqCst);
        connection.try_send(&burst).await;
        for number in 0..DEPTH {
            let response = connection.try_response().await;
            let Some(Response { status, .. }) = response else {
                counters.unanswered.fetch_add((DEPTH - number) as u64, SeqCst);
                break;
            };
            assert_eq!(status, requests[number % requests.len()].1, "request {number}");
            if response.is_some_and(|response| response.header("connection") == Some("close")) {
                counters.unanswered.fetch_add((DEPTH - number - 1) as u64, SeqCst);
                connection = Connection::open(address).await;
                break;
            }
        }
    }
}

/// A broker connection that always has [`DEPTH`] requests in flight. Requests that a connection did not answer are sent
/// again on the next one, at most as often as EMQX does so.
async fn streaming_broker<S: AsyncRead + AsyncWrite + Unpin>(
    open: impl AsyncFn() -> Connection<S>,
    counters: Counters,
) {
    let requests = requests();
    let (mut in_flight, mut retries) = (VecDeque::new(), VecDeque::new());
    let mut connection = open().await;
    let mut next = 0;
    while !counters.done.load(SeqCst) || !in_flight.is_empty() || !retries.is_empty() {
        while in_flight.len() < DEPTH && (!retries.is_empty() || !counters.done.load(SeqCst)) {
            let (request, sends) = retries.pop_front().unwrap_or_else(|| {
                next += 1;
                counters.sent.fetch_add(1, SeqCst);
                (next % requests.len(), 0)
            });
            assert!(sends < MAX_SENDS, "a request was not answered after {MAX_SENDS} sends");
            in_flight.push_back((request, sends + 1));
            connection.try_send(&requests[request].0).await;
        }
        let response = connection.try_response().await;
        if let Some(response) = &response {
            let (request, _) = in_flight.pop_front().unwrap();
            assert_eq!(response.status, requests[request].1);
        }
        if response.is_none_or(|response| response.header("connection") == Some("close")) {
            counters.unanswered.fetch_add(in_flight.len() as u64, SeqCst);
            retries.append(&mut in_flight);
            connection = open().await;
        }
    }
}

/// Restarts the gate repeatedly under the load of these brokers. Returns how many requests were sent, and unanswered.
async fn restart_under_load<B: Future<Output = ()> + Send + 'static>(
    arguments: &[&str],
    broker: impl Fn(SocketAddr, Counters) -> B,
) -> (u64, u64) {
    let systemd = FakeSystemd::new();
    let counters = Counters::default();
    let mut gate = GateProcess::start(&mut systemd.serve(arguments)).await;
    let brokers: Vec<JoinHandle<()>> =
        (0..CONNECTIONS).map(|_| tokio::spawn(broker(systemd.auth_address(), counters.clone()))).collect();
    for _ in 0..RESTARTS {
        let enough = counters.sent.load(SeqCst) + (20 * CONNECTIONS * DEPTH) as u64;
        let is_loaded = async || (counters.sent.load(SeqCst) >= enough).then_some(());
        poll_until("the brokers have sent requests", is_loaded).await;
        gate.terminate();
        assert_eq!(gate.wait_exit().await.0, Some(0));
        // Between the two gates the brokers wait in the accept queue of the socket.
        gate = GateProcess::start(&mut systemd.serve(arguments)).await;
    }
    counters.done.store(true, SeqCst);
    for broker in brokers {
        within_timeout("the brokers to finish", broker).await.unwrap();
    }
    gate.stop().await;
    (counters.sent.load(SeqCst), counters.unanswered.load(SeqCst))
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_lose_no_request_of_brokers_that_wait_for_responses() {
    let (sent, lost) = restart_under_load(&[], bursting_broker).await;
    println!("{RESTARTS} restarts, {sent} requests, {lost} lost");
    assert_eq!(lost, 0, "of {sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_during_a_restart_succeed_when_retried() {
    let broker = |address, counters| streaming_broker(async move || Connection::open(address).await, counters);
    let (sent, retried) = restart_under_load(&[], broker).await;
    println!("{RESTARTS} restarts, {sent} requests, {retried} retried, all answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_during_a_restart_succeed_when_retried_over_tls() {
    let ca = Arc::new(Ca::new());
    let files = TlsFiles::new(&ca.identity());
    let text = format!("tls = {}\nlimits.policy_timeout = \"20s\"", files.toml());
    let config = write_config(files.directory(), &text);
    let broker = |address, counters| {
        let ca = Arc::clone(&ca);
        streaming_broker(async move || ca.connect_with_retries(address).await, counters)
    };
    let (sent, retried) = restart_under_load(&["--config", config.to_str().unwrap()], broker).await;
    println!("{RESTARTS} restarts over TLS, {sent} requests, {retried} retried, all answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_in_the_accept_queue_are_answered_by_the_next_gate() {
    let systemd = FakeSystemd::new();
    let gate = GateProcess::start(&mut systemd.serve(&[])).await;
    // Stopped, so that it accepts no connection before it receives the shutdown signal.
    gate.signal("STOP");
    let mut queued = Vec::new();
    for _ in 0..50 {
        let mut connection = Connection::open(systemd.auth_address()).await;
        connection.send(&Device::valid().request()).await;
        queued.push(connection);
    }
    gate.terminate();
    gate.signal("CONT");
    assert_eq!(gate.wait_exit().await.0, Some(0));
    let gate = GateProcess::start(&mut systemd.serve(&[])).await;
    for mut connection in queued {
        assert_eq!(connection.response().await.status, 200);
    }
    gate.stop().await;
}
