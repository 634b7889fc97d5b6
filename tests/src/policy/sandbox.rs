//! A misbehaving policy costs the request that it misbehaves in, and nothing else.

use std::num::NonZero;
use std::time::Duration;

use serde_json::json;

use crate::support::device::Device;
use crate::support::http::{Connection, post_json};
use crate::support::in_process::{Gate, MISBEHAVING};
use crate::support::within_timeout;

/// A policy timeout that a login meets on a loaded machine, and that a loop reaches soon.
const SHORT: Duration = Duration::from_secs(2);

const FAULTS: [&str; 8] = ["loop", "trap", "hog", "recurse", "error", "error-huge", "huge", "many"];

async fn assert_faults_are_contained(calls_per_instance: u32) {
    let gate = Gate::start_with(MISBEHAVING, |config| {
        config.limits.max_calls_per_instance = NonZero::new(calls_per_instance).unwrap();
        config.limits.policy_timeout = SHORT;
    })
    .await;
    for (before, fault) in (0..).zip(FAULTS) {
        let denied = gate.request(&Device::triggering(fault).request()).await;
        assert_eq!((denied.status, denied.text()), (503, r#"{"result":"deny"}"#), "{fault}");
        assert_eq!(gate.authenticate(&Device::triggering("nothing")).await, 200, "after {fault}");
        assert_eq!(gate.status().await["authenticate"]["errors"], json!(before + 1), "{fault}");
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_deny_one_request_with_an_instance_per_call() {
    assert_faults_are_contained(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_deny_one_request_with_reused_instances() {
    assert_faults_are_contained(1000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_final_denials_for_emqx() {
    let gate = Gate::start_with(MISBEHAVING, |config| config.limits.policy_timeout = SHORT).await;
    for fault in FAULTS {
        let response = gate.request(&Device::triggering(fault).request_to("/emqx/auth")).await;
        assert_eq!((response.status, response.text()), (200, r#"{"result":"deny"}"#), "{fault}");
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_in_authorize_deny_the_action() {
    let gate = Gate::start_with(MISBEHAVING, |config| config.limits.policy_timeout = SHORT).await;
    for fault in ["loop", "trap", "hog", "recurse", "error", "error-huge", "tell me all"] {
        let emqx = gate.request(&acl_request("/emqx/acl", fault)).await;
        assert_eq!((emqx.status, emqx.text()), (200, r#"{"result":"deny"}"#), "{fault}");
        assert_eq!(gate.request(&acl_request("/mqtt/acl", fault)).await.status, 503, "{fault}");
    }
    assert_eq!(gate.status().await["authorize"]["errors"], 14);
    gate.stop().await;
}

fn acl_request(route: &str, fault: &str) -> Vec<u8> {
    post_json(route, &Device::triggering(fault).acl_body("publish", "t"))
}

/// A loop occupies a CPU until the policy timeout. Requests on other connections of the same worker are answered
/// meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn queued_loops_do_not_block_other_connections() {
    const CONNECTIONS: usize = 3;
    const LOOPS: usize = 6;
    let gate = Gate::start_with(MISBEHAVING, |config| {
        config.workers = NonZero::<usize>::MIN;
        config.limits.policy_timeout = Duration::from_secs(1);
    })
    .await;
    let mut other = Connection::open(gate.auth).await;
    assert_eq!(other.request(&Device::triggering("nothing").request()).await.status, 200);
    let mut looping = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(gate.auth).await;
        connection.send(&Device::triggering("loop").request().repeat(LOOPS)).await;
        looping.push(connection);
    }
    // If the worker took turns with the loops, each response would wait for the end of one.
    let answered_during_a_loop = within_timeout("the loops to end", async {
        let mut answered = 0;
        loop {
            let ended = gate.status().await["authenticate"]["errors"].clone();
            if ended == json!(CONNECTIONS * LOOPS) {
                return answered;
            }
            assert_eq!(other.request(&Device::triggering("nothing").request()).await.status, 200);
            answered += usize::from(gate.status().await["authenticate"]["errors"] == ended);
        }
    });
    assert!(answered_during_a_loop.await > 0, "no request was answered during the loops");
    for mut connection in looping {
        for _ in 0..LOOPS {
            assert_eq!(connection.response().await.status, 503);
        }
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ignore_is_never_an_allow() {
    let gate = Gate::start(MISBEHAVING).await;
    let by_status = gate.request(&Device::triggering("ignore").request()).await;
    assert_eq!((by_status.status, by_status.text()), (401, r#"{"result":"deny"}"#));
    let by_body = gate.request(&Device::triggering("ignore").request_to("/emqx/auth")).await;
    assert_eq!((by_body.status, by_body.text()), (200, r#"{"result":"deny"}"#));
    assert_eq!(gate.status().await["authenticate"]["verdicts"]["ignore"], json!(2));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_serve_at_most_the_configured_number_of_calls() {
    // An instance of this policy denies the client `old` from its fourth call on.
    for (calls_per_instance, can_grow_old) in [(1, false), (3, false), (1000, true)] {
        let gate = Gate::start_with(MISBEHAVING, |config| {
            config.limits.max_calls_per_instance = NonZero::new(calls_per_instance).unwrap();
        })
        .await;
        let mut grew_old = false;
        for _ in 0..20 {
            grew_old |= gate.authenticate(&Device::triggering("old")).await != 200;
        }
        assert_eq!(grew_old, can_grow_old, "{calls_per_instance} calls per instance");
        gate.stop().await;
    }
}
