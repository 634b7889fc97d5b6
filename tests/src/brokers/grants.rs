//! What a policy grants reaches EMQX as it is meant, or nobody is let in.

use serde_json::json;

use crate::support::device::{Device, USERNAME};
use crate::support::http::{Connection, bare, get, post_json};
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, MISBEHAVING, OPERATOR};

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_told_to_emqx() {
    let gate = Gate::start(MISBEHAVING).await;
    let closed = json!({ "permission": "deny", "action": "all", "topics": ["#", "$SYS/#", "$delayed/#", "$file/#"] });
    for (grant, expected) in [
        ("none", json!({ "result": "allow" })),
        ("everything", json!({ "result": "allow", "is_superuser": true })),
        ("attributes", json!({ "result": "allow", "client_attrs": { "tier": "\"gold\"" } })),
        ("2100", json!({ "result": "allow", "expire_at": 4_102_444_800_u64 })),
        (
            "only",
            json!({ "result": "allow", "acl": [
                { "permission": "allow", "action": "publish", "topics": ["a/b"] },
                closed,
            ] }),
        ),
    ] {
        for route in ["/emqx/auth", "/mqtt/auth"] {
            let answer = gate.ask(&Device::causing(grant).request_to(route)).await;
            assert_eq!((answer.status, answer.json()), (200, expected.clone()), "{grant} {route}");
            assert_eq!(answer.header("content-type"), Some("application/json"));
        }
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_emqx_would_read_otherwise_is_a_refusal_and_counted() {
    let gate = Gate::start(MISBEHAVING).await;
    let unfit = ["attribute-name", "attribute-twice", "expired", "in milliseconds", "eq", "placeholder", "no filter"];
    for grant in unfit {
        let answer = gate.ask(&Device::causing(grant).request_to("/emqx/auth")).await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "result": "deny" })), "{grant}");
        assert_eq!(gate.connect(&Device::causing(grant)).await, 503, "{grant}");
    }
    let status = gate.status().await;
    assert_eq!((&status["unfit_grants"], &status["no_verdict"]), (&json!(14), &json!(14)));
    assert_eq!(status["verdicts"]["allow"], 0);
    gate.stop().await;
}

/// What a client asks to do, as EMQX puts it.
fn action(device: &Device, action: &str, topic: &str) -> serde_json::Value {
    json!({ "clientid": device.client_id, "username": device.username, "peerhost": "127.0.0.1",
            "topic": topic, "action": action, "qos": "1", "retain": "false" })
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_give_a_device_the_same_topics() {
    let gate = Gate::start_with(AUTH_CORE, |config| {
        let settings = &mut config.policy.settings;
        settings.set("publish-topics", "devices/{mac}/up/#, log/{group}".into());
        settings.set("subscribe-topics", "devices/{mac}/down/#, all/+".into());
        settings.set("session-seconds", "3600".into());
    })
    .await;
    let device = Device::genuine();
    let granted = gate.ask(&device.request_to("/emqx/auth")).await.json();
    assert_eq!(granted["acl"][1]["topics"], json!(["devices/AA_BB_CC_DD_EE_FF/up/#", "log/GID_test"]));
    assert_eq!(granted["acl"][2]["topics"], json!(["devices/AA_BB_CC_DD_EE_FF/down/#", "all/+"]));
    assert!(granted["expire_at"].as_u64() > Some(1_760_000_000));

    for (what, topic, allowed) in [
        ("publish", "devices/AA_BB_CC_DD_EE_FF/up/battery", true),
        ("publish", "log/GID_test", true),
        ("publish", "devices/11_22_33_44_55_66/up/battery", false),
        ("publish", "devices/AA_BB_CC_DD_EE_FF/down/x", false),
        ("publish", "$SYS/x", false),
        ("subscribe", "devices/AA_BB_CC_DD_EE_FF/down/#", true),
        ("subscribe", "$share/g/devices/AA_BB_CC_DD_EE_FF/down/x", true),
        ("subscribe", "all/x", true),
        ("subscribe", "all/#", false),
        ("subscribe", "devices/#", false),
        ("subscribe", "#", false),
        ("subscribe", "$SYS/#", false),
    ] {
        let (result, status) = if allowed { ("allow", 200) } else { ("deny", 401) };
        let body = action(&device, what, topic);
        let emqx = gate.ask(&post_json("/emqx/acl", &body)).await;
        assert_eq!((emqx.status, emqx.json()), (200, json!({ "result": result })), "{what} {topic}");
        assert_eq!(gate.ask(&post_json("/mqtt/acl", &body)).await.status, status, "{what} {topic}");
    }
    // Without proof of who asks, nothing is allowed to whoever could never have been let in.
    let topic = "devices/AA_BB_CC_DD_EE_FF/up/x";
    for stranger in [
        Device { client_id: "GID_other@@@AA_BB_CC_DD_EE_FF@@@x".into(), ..device.clone() },
        Device { client_id: "AA_BB_CC_DD_EE_FF".into(), ..device.clone() },
        Device { username: "nobody".into(), ..device.clone() },
    ] {
        let answer = gate.ask(&post_json("/emqx/acl", &action(&stranger, "publish", topic))).await;
        assert_eq!(answer.result(), "deny");
    }
    let counts = gate.status().await;
    assert_eq!((&counts["actions"]["calls"], &counts["calls"]), (&json!(27), &json!(1)));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_does_not_judge_is_left_to_the_broker() {
    let body = action(&Device::named(OPERATOR), "publish", "t");
    // One that does not export the interface, and one that grants whatever the broker's own rules say.
    for (component, device) in [(LOCKDOWN, Device::named(OPERATOR)), (AUTH_CORE, Device::genuine())] {
        let gate = Gate::start(component).await;
        let body = if component == LOCKDOWN { body.clone() } else { action(&device, "publish", "t") };
        assert_eq!(gate.ask(&post_json("/emqx/acl", &body)).await.text(), r#"{"result":"ignore"}"#);
        assert_eq!(gate.status().await["policy"]["answers_for_actions"], component == AUTH_CORE);
        let by_status = gate.ask(&post_json("/mqtt/acl", &body)).await;
        assert_eq!((by_status.status, by_status.result().as_str()), (401, "ignore"));
        let findings = gate.status().await["misconfigured"].clone();
        assert_eq!((&findings[0]["kind"], &findings[0]["route"]), (&json!("nobody-decides"), &json!("/mqtt/acl")));
        gate.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_in_judging_an_action_is_a_refusal() {
    let gate = Gate::start_with(MISBEHAVING, |config| {
        config.limits.deadline = std::time::Duration::from_millis(50);
    })
    .await;
    for misbehaviour in ["loop", "trap", "hog", "recurse", "error", "error-huge", "tell me all"] {
        let body = action(&Device::causing(misbehaviour), "publish", "t");
        let answer = gate.ask(&post_json("/emqx/acl", &body)).await;
        assert_eq!((answer.status, answer.text()), (200, r#"{"result":"deny"}"#), "{misbehaviour}");
        assert_eq!(gate.ask(&post_json("/mqtt/acl", &body)).await.status, 503, "{misbehaviour}");
    }
    assert_eq!(gate.status().await["actions"]["no_verdict"], 14);
    gate.stop().await;
}

/// What nobody can be asked by is refused by a body on the routes of EMQX, whatever it is: it takes a status for leave to
/// ask somebody else, and a client can choose a user name that is too long for an address.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_client_can_bring_about_is_left_to_somebody_else() {
    let gate = Gate::start(AUTH_CORE).await;
    let long = "x".repeat(70_000);
    let too_long = "%78".repeat(3 * 65_535);
    for request in [
        get(&format!("/emqx/auth?clientid=c&username={long}")),
        get(&format!("/emqx/auth?clientid=c&username={too_long}")),
        get(&format!("/emqx/acl?clientid=c&username={long}&topic=t&action=publish")),
        get("/emqx/elsewhere?clientid=c"),
        get("//emqx/auth?clientid=c"),
        post_json("/EMQX/auth", &Device::genuine().body()),
        post_json("/gate/%65mqx/acl", &Device::genuine().body()),
        bare("PUT", "/emqx/auth"),
        b"POST http://gate/emqx/auth HTTP/1.1\r\nhost: gate\r\nbad header\r\n\r\n".to_vec(),
        post_json("/emqx/auth/", &Device::genuine().body()),
        post_json("/emqx/auth", &json!({ "clientid": long, "username": USERNAME })),
        post_json("/emqx/auth", &json!({ "clientid": "c", "username": "\u{1}".repeat(3 * 65_535) })),
        post_json("/emqx/acl", &json!({})),
    ] {
        let answer = gate.ask(&request).await;
        assert_eq!((answer.status, answer.result().as_str()), (200, "deny"), "{} bytes", request.len());
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    // Whatever of it the server has thrown away already: this connection is EMQX's.
    for unreadable in ["transfer-encoding: gzip", "content-length: +5", "content-length: 1\r\ncontent-length: 2"] {
        let mut connection = Connection::open(gate.logins).await;
        assert_eq!(connection.ask(&get("/emqx/auth?clientid=c")).await.result(), "deny");
        let request = format!("POST /emqx/auth HTTP/1.1\r\nhost: gate\r\n{unreadable}\r\n\r\n");
        let answer = connection.ask(request.as_bytes()).await;
        assert_eq!((answer.status, answer.result().as_str()), (200, "deny"), "{unreadable}");
    }
    for unreadable in ["GET /emqx/auth?username=x\" HTTP/1.1", "GET emqx/auth HTTP/1.1"] {
        let answer = gate.ask(format!("{unreadable}\r\nhost: gate\r\n\r\n").as_bytes()).await;
        assert_eq!((answer.status, answer.result().as_str()), (200, "deny"), "{unreadable}");
    }
    // Only the answer to what cannot be read is another one, whatever the version of those before it.
    for version in ["1.0", "1.1"] {
        let mut connection = Connection::open(gate.logins).await;
        let refused = Device::named("x").request();
        let keep = format!("HTTP/{version}\r\nconnection: keep-alive\r\n");
        let older = String::from_utf8(refused.clone()).unwrap().replacen("HTTP/1.1\r\n", &keep, 1);
        let unreadable = get(&format!("/emqx/auth?clientid={long}"));
        connection.send(&[refused, older.into_bytes(), unreadable].concat()).await;
        for status in [401, 401, 200] {
            assert_eq!(connection.answer().await.status, status, "{version}");
        }
    }
    // Elsewhere a status is the answer.
    assert_eq!(gate.ask(&get(&format!("/mqtt/auth?client_id={long}"))).await.status, 414);
    gate.stop().await;
}

/// Two places judge topic filters: the settings of the default policy, and what is told to EMQX.
#[test]
fn what_the_default_policy_takes_for_a_template_can_be_told_to_emqx() {
    for template in [
        "a/{mac}/#",
        "a",
        "/",
        "+",
        "#",
        "+/x",
        "a/+",
        "a/+/#",
        "+/+",
        "a/+/+/#",
        "+/x/+",
        "a/#/b",
        "a+",
        "##",
        "eq a",
        "eq",
        "$share/g/a",
        "$queue/a",
        "$exclusive/a",
        "$SYS/#",
        "a//b",
        "ü",
    ] {
        let settings = auth_core::Settings::read(|name| match name {
            "signature-keys" => Some(crate::support::device::KEY.to_owned()),
            "subscribe-topics" => Some(template.to_owned()),
            _ => None,
        });
        let subscribe = vec![template.replace("{mac}", "aa")];
        let grant = brokers::Grant {
            access: brokers::Access::Only { publish: Vec::new(), subscribe },
            ..brokers::Grant::default()
        };
        let told = brokers::Route::EmqxAuth.admit(&grant, 0);
        assert_eq!(settings.is_ok(), told.is_ok(), "{template}");
    }
}
