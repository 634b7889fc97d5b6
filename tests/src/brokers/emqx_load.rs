//! EMQX under load, simulated from measurements: 8 connections, any of them for any client, up to 100 requests in
//! flight on each, and up to 3 sends of a request when a connection closes.

use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::support::device::Device;
use crate::support::http::{Connection, Response};
use crate::support::in_process::{AUTH_CORE, Gate};
use crate::support::within_timeout;

const CONNECTIONS: usize = 8;
const PIPELINED: usize = 100;
const MAX_SENDS: u32 = 3;

/// How EMQX interprets a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Allow,
    Deny,
    Ignore,
}

/// A request that waits for its response.
struct Pending {
    request: Vec<u8>,
    sends: u32,
    outcome: oneshot::Sender<Outcome>,
}

/// The connections of one EMQX node.
struct Emqx {
    connections: Vec<mpsc::UnboundedSender<Pending>>,
}

impl Emqx {
    /// Opens the connections. Each is closed after this many responses, with requests in flight, and opened again.
    async fn start(gate: SocketAddr, responses_per_connection: usize) -> Self {
        let mut opening = JoinSet::new();
        for _ in 0..CONNECTIONS {
            opening.spawn(Connection::open(gate));
        }
        let mut connections = Vec::new();
        while let Some(connection) = opening.join_next().await {
            let (sender, receiver) = mpsc::unbounded_channel();
            tokio::spawn(run_connection(gate, connection.unwrap(), receiver, responses_per_connection));
            connections.push(sender);
        }
        Self { connections }
    }

    fn send(&self, connection: usize, request: Vec<u8>) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        let pending = Pending { request, sends: 0, outcome: sender };
        assert!(self.connections[connection % CONNECTIONS].send(pending).is_ok());
        receiver
    }
}

async fn run_connection(
    gate: SocketAddr,
    mut connection: Connection,
    mut requests: mpsc::UnboundedReceiver<Pending>,
    responses_per_connection: usize,
) {
    let mut in_flight: VecDeque<Pending> = VecDeque::new();
    let mut responses = 0;
    loop {
        while in_flight.len() < PIPELINED {
            let next = if in_flight.is_empty() { requests.recv().await } else { requests.try_recv().ok() };
            let Some(mut pending) = next else { break };
            pending.sends += 1;
            connection.send(&pending.request).await;
            in_flight.push_back(pending);
        }
        if in_flight.is_empty() {
            return;
        }
        if responses < responses_per_connection
            && let Some(response) = connection.try_response().await
        {
            responses += 1;
            let pending = in_flight.pop_front().unwrap();
            let _ = pending.outcome.send(interpret(&response));
            continue;
        }
        connection = Connection::open(gate).await;
        responses = 0;
        for mut pending in std::mem::take(&mut in_flight) {
            if pending.sends >= MAX_SENDS {
                let _ = pending.outcome.send(Outcome::Ignore);
                continue;
            }
            pending.sends += 1;
            connection.send(&pending.request).await;
            in_flight.push_back(pending);
        }
    }
}

fn interpret(response: &Response) -> Outcome {
    let is_json = response.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    match response.result().as_str() {
        "allow" if response.status == 200 && is_json => Outcome::Allow,
        "deny" if response.status == 200 && is_json => Outcome::Deny,
        _ => Outcome::Ignore,
    }
}

/// A pseudorandom sequence that is the same in each run.
fn numbers() -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1_u64), |n| Some(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_041)))
        .map(|n| usize::try_from(n >> 40).unwrap())
}

fn devices() -> Vec<(Device, Outcome)> {
    let valid = (0..16).map(|n| {
        let id = format!("GID_test@@@AA_BB_CC_DD_EE_{n:02X}@@@{n}");
        (Device::valid_with_id(&id), Outcome::Allow)
    });
    let forged = valid.clone().map(|(device, _)| {
        let mut forged = device;
        forged.client_id.push('0');
        (forged, Outcome::Deny)
    });
    valid.chain(forged).chain([(Device::unsigned(""), Outcome::Deny)]).collect()
}

/// Sends logins of random devices over random connections, and asserts every outcome.
async fn reconnect_storm(gate: &Gate, logins: usize, responses_per_connection: usize) {
    let emqx = Emqx::start(gate.auth, responses_per_connection).await;
    let devices = devices();
    let mut numbers = numbers();
    let mut pick = |from: usize| numbers.next().unwrap() % from;
    let mut pending = Vec::new();
    for _ in 0..logins {
        let (device, expected) = &devices[pick(devices.len())];
        pending.push((emqx.send(pick(CONNECTIONS), device.request_to("/emqx/auth")), *expected));
    }
    for (outcome, expected) in pending {
        assert_eq!(within_timeout("an outcome", outcome).await.unwrap(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnect_storm_gets_a_verdict_for_every_login() {
    let gate = Gate::start(AUTH_CORE).await;
    reconnect_storm(&gate, 8_000, usize::MAX).await;
    let status = gate.status().await;
    assert_eq!((&status["authenticate"]["calls"], &status["config_warnings"]), (&json!(8_000), &json!([])));
    gate.stop().await;
}

/// A request that is sent again gets the same outcome as the first time, also by a policy that was swapped in
/// meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn closed_connections_lose_no_login_during_swaps() {
    let gate = Gate::start(AUTH_CORE).await;
    let storm = reconnect_storm(&gate, 4_000, 150);
    let swaps = async {
        for swap in 1..=5 {
            // The same policy with another digest: a custom section at its end changes nothing else.
            let mut component = fs::read(AUTH_CORE).unwrap();
            component.extend([0, 2, 1, b'0' + swap]);
            gate.rename_policy(&component);
            gate.wait_for_generation(u64::from(swap) + 1).await;
        }
    };
    tokio::join!(storm, swaps);
    assert_eq!(gate.status().await["authenticate"]["errors"], Value::from(0));
    gate.stop().await;
}
