//! A client that pipelines requests without end does not make others wait. Shown by the order of responses, not by times.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::child::{GateProcess, write_config};
use crate::support::device::Device;
use crate::support::fake_systemd::FakeSystemd;
use crate::support::http::{Connection, post_json, with_header};
use crate::support::in_process::{AUTH_CORE, Gate, MISBEHAVING};
use crate::support::poll_until;

/// Connections that pipeline.
const BUSY: usize = 2;

/// Sends `count` copies of a request on each of [`BUSY`] connections, and counts the responses.
fn pipeline(address: std::net::SocketAddr, request: &[u8], count: usize) -> (JoinSet<()>, Arc<AtomicUsize>) {
    let (mut busy, answered) = (JoinSet::new(), Arc::<AtomicUsize>::default());
    for _ in 0..BUSY {
        let (requests, answered) = (request.repeat(count), Arc::clone(&answered));
        busy.spawn(async move {
            let (receiving, mut sending) = tokio::net::TcpStream::connect(address).await.unwrap().into_split();
            let send = async { tokio::io::AsyncWriteExt::write_all(&mut sending, &requests).await.unwrap() };
            let receive = async {
                let mut connection = Connection::from_stream(tokio::io::join(receiving, tokio::io::sink()));
                for _ in 0..count {
                    assert_eq!(connection.response().await.status, 200);
                    answered.fetch_add(1, Relaxed);
                }
            };
            tokio::join!(send, receive);
        });
    }
    (busy, answered)
}

/// Asserts that clients who log in beside [`BUSY`] pipelines of `count` requests do not wait for the pipelines: while each
/// waits, few of them are answered, in the median. The scheduler of a loaded machine lets some pass.
async fn assert_fair(component: &str, busy_request: &[u8], login: &[u8], count: usize) {
    let gate = Gate::start_with(component, |config| config.workers = NonZero::<usize>::MIN).await;
    let (mut busy, answered) = pipeline(gate.auth, busy_request, count);
    poll_until("the pipelines run", async || (answered.load(Relaxed) > 2 * BUSY).then_some(())).await;
    let mut between = Vec::new();
    for _ in 0..9 {
        let mut connection = Connection::open(gate.auth).await;
        let before = answered.load(Relaxed);
        assert_eq!(connection.request(login).await.status, 200);
        between.push(answered.load(Relaxed) - before);
    }
    assert!(answered.load(Relaxed) < BUSY * count, "the pipelines ended first: {between:?}");
    between.sort_unstable();
    assert!(between[between.len() / 2] < BUSY * count / 4, "{between:?} of {}", BUSY * count);
    busy.abort_all();
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_logins_do_not_delay_other_clients() {
    let login = Device::valid().request();
    assert_fair(AUTH_CORE, &login, &login, 10_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_logins_of_a_slow_policy_do_not_delay_other_clients() {
    let (busy, login) = (Device::triggering("busy").request(), Device::triggering("").request());
    assert_fair(MISBEHAVING, &busy, &login, 500).await;
}

/// The watchdog would otherwise kill a gate that only works hard.
#[tokio::test(flavor = "multi_thread")]
async fn pipelined_logins_do_not_stop_the_heartbeat() {
    let systemd = FakeSystemd::new();
    let config = write_config(systemd.directory(), &format!("workers = 1\npolicy.file = {MISBEHAVING:?}"));
    let mut command = systemd.serve(&["--config", config.to_str().unwrap()]);
    let gate = GateProcess::start(command.env("WATCHDOG_USEC", "400000")).await;
    let count = 2_000;
    let (mut busy, answered) = pipeline(systemd.auth_address(), &Device::triggering("busy").request(), count);
    poll_until("the pipelines run", async || (answered.load(Relaxed) > 0).then_some(())).await;
    systemd.drain_notifications();
    for _ in 0..3 {
        systemd.wait_for_notification("WATCHDOG=1").await;
    }
    assert!(answered.load(Relaxed) < BUSY * count, "the heartbeat came after the pipelines");
    busy.abort_all();
    gate.terminate();
    assert_eq!(gate.wait_exit().await.0, Some(0));
}

/// Questions about many topics are expensive although the policy is fast.
#[tokio::test(flavor = "multi_thread")]
async fn pipelined_questions_about_many_topics_do_not_delay_other_clients() {
    let topics = vec![json!({ "topic": "a/b" }); 200];
    let body = json!({ "client_id": "c", "username": "x", "topics": topics });
    let question = with_header(&post_json("/vernemq", &body), "vernemq-hook", "auth_on_subscribe");
    assert_fair(MISBEHAVING, &question, &Device::triggering("").request(), 1_000).await;
}
