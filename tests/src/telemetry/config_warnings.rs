//! What the operator of the broker got wrong is said once a minute, and shown with what to do.

use serde_json::{Value, json};

use crate::support::child::{Running, mqtt_gate};
use crate::support::device::Device;
use crate::support::http::{Connection, get, post, post_json};
use crate::support::in_process::{AUTH_CORE, Gate};

/// Route, kind and member of what was found.
fn found(status: &Value) -> Vec<(String, String, Value)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let findings = status["misconfigured"].as_array().unwrap().iter();
    findings.map(|one| (text(&one["route"]), text(&one["kind"]), one["member"].clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_is_shown_with_its_count_and_its_remedy() {
    let gate = Gate::start(AUTH_CORE).await;
    let mut body = Device::genuine().body();
    body["proto"] = json!("${proto_name}");
    let default_headers = String::from_utf8(Device::genuine().request()).unwrap().replacen(
        "\r\n",
        "\r\nkeep-alive: timeout=30, max=1000\r\n",
        1,
    );
    for (request, route, kind, member) in [
        (post_json("/emqx/auth", &body), "/emqx/auth", "placeholder", json!("proto")),
        (post_json("/emqx/auth", &json!({})), "/emqx/auth", "empty", Value::Null),
        (
            post_json("/emqx/auth", &json!({ "username": "u", "password": "p" })),
            "/emqx/auth",
            "missing-member",
            json!("clientid"),
        ),
        (post("/emqx/auth", "text/plain", b"x"), "/emqx/auth", "content-type", Value::Null),
        (post("/emqx/auth", "application/x-www-form-urlencoded", b"{}"), "/emqx/auth", "json-as-form", Value::Null),
        (default_headers.into_bytes(), "/mqtt/auth", "emqx-by-status", Value::Null),
        (
            post_json(
                "/emqx/acl",
                &json!({ "clientid": "c", "username": "u", "topic": "${topik}", "action": "publish" }),
            ),
            "/emqx/acl",
            "placeholder",
            json!("topic"),
        ),
    ] {
        let mut connection = Connection::open(gate.logins).await;
        for _ in 0..3 {
            connection.ask(&request).await;
        }
        let status = gate.status().await;
        let at = found(&status).iter().position(|one| *one == (route.into(), kind.into(), member.clone()));
        let finding = &status["misconfigured"][at.unwrap_or_else(|| panic!("{route} {kind}: {status}"))];
        assert_eq!(finding["count"], 3, "{finding}");
        assert!(finding["remedy"].as_str().is_some_and(|remedy| remedy.len() > 20), "{finding}");
        assert!(finding["problem"].as_str().is_some() && finding["last"].as_str().is_some(), "{finding}");
    }
    // The member that was not filled in is judged all the same: the device is genuine.
    assert_eq!(gate.status().await["verdicts"]["allow"], 6);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_of_one_kind_are_one_line_in_the_log() {
    let mut command = mqtt_gate(["serve"]);
    let running = Running::start(command.env("MQTT_SIGNATURE_KEY", crate::support::device::KEY)).await;
    let mut connection = Connection::open(running.logins).await;
    for _ in 0..10 {
        connection.send(&post_json("/emqx/auth", &json!({ "s3cret": "${s3cret}" })).repeat(100)).await;
        connection.send(&get("/emqx/auth").repeat(100)).await;
        for _ in 0..200 {
            assert_eq!(connection.answer().await.result(), "deny");
        }
    }
    running.terminate();
    let (code, _, log) = running.end().await;
    let warned: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["level"] == "WARN")
        .collect();
    // The placeholder, three members that are missing, and the empty request; none with what anybody sent.
    assert_eq!((code, warned.len()), (Some(0), 5), "{log}");
    for line in warned {
        assert!(line["remedy"].as_str().is_some() && line["route"] == "/emqx/auth", "{line}");
    }
}
