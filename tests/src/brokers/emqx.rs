//! EMQX as it was measured to ask: 8 connections opened at once, any of them for any client, up to 100 requests on its way
//! on each, and up to 3 sends of a request when a connection dies.

use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::support::device::Device;
use crate::support::http::{Answer, Connection};
use crate::support::in_process::{AUTH_CORE, Gate};

const CONNECTIONS: usize = 8;
const PIPELINED: usize = 100;
const SENDS: u32 = 3;

/// What EMQX makes of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Allow,
    Deny,
    Ignore,
}

/// A request on its way.
struct Asked {
    request: Vec<u8>,
    sends: u32,
    answer: oneshot::Sender<Reading>,
}

/// The connections of one node of EMQX.
struct Emqx {
    lines: Vec<mpsc::UnboundedSender<Asked>>,
}

impl Emqx {
    /// Every connection ends after so many answers, with what is on its way, and is opened anew.
    async fn start(gate: SocketAddr, answers_per_connection: usize) -> Self {
        let mut opening = JoinSet::new();
        for _ in 0..CONNECTIONS {
            opening.spawn(Connection::open(gate));
        }
        let mut lines = Vec::new();
        while let Some(connection) = opening.join_next().await {
            let (line, requests) = mpsc::unbounded_channel();
            tokio::spawn(work(gate, connection.unwrap(), requests, answers_per_connection));
            lines.push(line);
        }
        Self { lines }
    }

    fn ask(&self, worker: usize, request: Vec<u8>) -> oneshot::Receiver<Reading> {
        let (answer, reading) = oneshot::channel();
        assert!(self.lines[worker % CONNECTIONS].send(Asked { request, sends: 0, answer }).is_ok());
        reading
    }
}

async fn work(
    gate: SocketAddr,
    mut connection: Connection,
    mut requests: mpsc::UnboundedReceiver<Asked>,
    answers_per_connection: usize,
) {
    let mut on_their_way: VecDeque<Asked> = VecDeque::new();
    let mut answers = 0;
    loop {
        while on_their_way.len() < PIPELINED {
            let next = if on_their_way.is_empty() { requests.recv().await } else { requests.try_recv().ok() };
            let Some(mut asked) = next else { break };
            asked.sends += 1;
            connection.send(&asked.request).await;
            on_their_way.push_back(asked);
        }
        if on_their_way.is_empty() {
            return;
        }
        if answers < answers_per_connection
            && let Some(answer) = connection.try_answer().await
        {
            answers += 1;
            let asked = on_their_way.pop_front().unwrap();
            let _ = asked.answer.send(read(&answer));
            continue;
        }
        connection = Connection::open(gate).await;
        answers = 0;
        let again = std::mem::take(&mut on_their_way);
        for mut asked in again {
            if asked.sends >= SENDS {
                let _ = asked.answer.send(Reading::Ignore);
                continue;
            }
            asked.sends += 1;
            connection.send(&asked.request).await;
            on_their_way.push_back(asked);
        }
    }
}

fn read(answer: &Answer) -> Reading {
    let is_json = answer.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    match answer.result().as_str() {
        "allow" if answer.status == 200 && is_json => Reading::Allow,
        "deny" if answer.status == 200 && is_json => Reading::Deny,
        _ => Reading::Ignore,
    }
}

/// Who asks next, and over which connection: by a sequence that looks like chance and is the same each time.
fn numbers() -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1_u64), |n| Some(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_041)))
        .map(|n| usize::try_from(n >> 40).unwrap())
}

fn devices() -> Vec<(Device, Reading)> {
    let genuine = (0..16).map(|n| {
        let id = format!("GID_test@@@AA_BB_CC_DD_EE_{n:02X}@@@{n}");
        (Device::genuine_with_id(&id), Reading::Allow)
    });
    let forged = genuine.clone().map(|(device, _)| {
        let mut forged = device;
        forged.client_id.push('0');
        (forged, Reading::Deny)
    });
    genuine.chain(forged).chain([(Device::named(""), Reading::Deny)]).collect()
}

async fn storm(gate: &Gate, logins: usize, answers_per_connection: usize) {
    let emqx = Emqx::start(gate.logins, answers_per_connection).await;
    let devices = devices();
    let mut numbers = numbers();
    let mut pick = |from: usize| numbers.next().unwrap() % from;
    let mut asked = Vec::new();
    for _ in 0..logins {
        let (device, expected) = &devices[pick(devices.len())];
        asked.push((emqx.ask(pick(CONNECTIONS), device.request_to("/emqx/auth")), *expected));
    }
    for (reading, expected) in asked {
        assert_eq!(reading.await.unwrap(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_storm_of_emqx_is_judged_to_the_last_device() {
    let gate = Gate::start(AUTH_CORE).await;
    storm(&gate, 8_000, usize::MAX).await;
    let status = gate.status().await;
    assert_eq!((&status["calls"], &status["misconfigured"]), (&8_000.into(), &serde_json::json!([])));
    gate.stop().await;
}

/// A request that was sent again is answered as it was the first time, also by the policy that came meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_die_lose_emqx_no_login() {
    let gate = Gate::start(AUTH_CORE).await;
    let storm = storm(&gate, 4_000, 150);
    let swap = async {
        for swap in 1..=5 {
            // The same policy, as another component: a custom section at its end changes nothing but the digest.
            let mut other = fs::read(AUTH_CORE).unwrap();
            other.extend([0, 2, 1, b'0' + swap]);
            gate.rename_policy(&other);
            gate.until_generation(u64::from(swap) + 1).await;
        }
    };
    tokio::join!(storm, swap);
    assert_eq!(gate.status().await["no_verdict"], 0);
    gate.stop().await;
}
