//! Whatever a policy does costs the login it does it in, and nothing else.

use std::num::NonZero;
use std::time::Duration;

use serde_json::json;

use crate::support::device::Device;
use crate::support::http::Connection;
use crate::support::in_process::{Gate, MISBEHAVING};

/// A deadline that a login keeps also on a loaded machine, and that a loop does not take long to run into.
const SHORT: Duration = Duration::from_secs(2);

const WAYS: [&str; 8] = ["loop", "trap", "hog", "recurse", "error", "error-huge", "huge", "many"];

#[tokio::test(flavor = "multi_thread")]
async fn each_misbehaviour_is_a_refusal_and_the_next_login_is_judged() {
    for calls_per_instance in [1, 1000] {
        let gate = Gate::start_with(MISBEHAVING, |config| {
            config.limits.calls_per_instance = NonZero::new(calls_per_instance).unwrap();
            config.limits.deadline = SHORT;
        })
        .await;
        for (before, way) in (0..).zip(WAYS) {
            let refused = gate.ask(&Device::causing(way).request()).await;
            assert_eq!((refused.status, refused.text()), (503, r#"{"result":"deny"}"#), "{way}");
            assert_eq!(gate.connect(&Device::causing("nothing")).await, 200, "after {way}");
            let status = gate.status().await;
            assert_eq!(status["no_verdict"], json!(before + 1), "{way}");
        }
        gate.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn emqx_hears_a_final_refusal_for_every_misbehaviour() {
    let gate = Gate::start_with(MISBEHAVING, |config| config.limits.deadline = SHORT).await;
    for way in WAYS {
        let answer = gate.ask(&Device::causing(way).request_to("/emqx/auth")).await;
        assert_eq!((answer.status, answer.text()), (200, r#"{"result":"deny"}"#), "{way}");
    }
    gate.stop().await;
}

/// A policy that loops takes a processor each time for as long as the deadline. Whoever asks on another connection of
/// the same worker waits for one of them at the most.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_loops_holds_up_nobody_else() {
    const CONNECTIONS: usize = 3;
    const LOOPS: usize = 6;
    let gate = Gate::start_with(MISBEHAVING, |config| {
        config.workers = NonZero::<usize>::MIN;
        config.limits.deadline = Duration::from_secs(1);
    })
    .await;
    let mut other = Connection::open(gate.logins).await;
    assert_eq!(other.ask(&Device::causing("nothing").request()).await.status, 200);
    let mut looping = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(gate.logins).await;
        connection.send(&Device::causing("loop").request().repeat(LOOPS)).await;
        looping.push(connection);
    }
    // Taking turns with the loops, each answer would wait for one of them to end.
    let mut beside = 0;
    loop {
        let ended = gate.status().await["no_verdict"].clone();
        if ended == json!(CONNECTIONS * LOOPS) {
            break;
        }
        assert_eq!(other.ask(&Device::causing("nothing").request()).await.status, 200);
        beside += usize::from(gate.status().await["no_verdict"] == ended);
    }
    assert!(beside > 0, "no answer came while the loops went on");
    for mut connection in looping {
        for _ in 0..LOOPS {
            assert_eq!(connection.answer().await.status, 503);
        }
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_leaves_to_others_is_no_allow() {
    let gate = Gate::start(MISBEHAVING).await;
    let by_status = gate.ask(&Device::causing("ignore").request()).await;
    assert_eq!((by_status.status, by_status.text()), (401, r#"{"result":"ignore"}"#));
    let by_body = gate.ask(&Device::causing("ignore").request_to("/emqx/auth")).await;
    assert_eq!((by_body.status, by_body.text()), (200, r#"{"result":"ignore"}"#));
    assert_eq!(gate.status().await["verdicts"]["ignore"], json!(2));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_serves_no_more_calls_than_it_may() {
    for (calls_per_instance, may_grow_old) in [(1, false), (3, false), (1000, true)] {
        let gate = Gate::start_with(MISBEHAVING, |config| {
            config.limits.calls_per_instance = NonZero::new(calls_per_instance).unwrap();
        })
        .await;
        let mut grew_old = false;
        for _ in 0..20 {
            grew_old |= gate.connect(&Device::causing("old")).await != 200;
        }
        assert_eq!(grew_old, may_grow_old, "{calls_per_instance} calls per instance");
        gate.stop().await;
    }
}
