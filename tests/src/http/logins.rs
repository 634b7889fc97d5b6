//! A broker asks, and is answered as it understands it.

use std::time::Duration;

use serde_json::json;

use crate::support::device::{Device, USERNAME};
use crate::support::http::{Connection, bare, by_a_page, get, post, post_json};
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, OPERATOR};

#[tokio::test(flavor = "multi_thread")]
async fn a_genuine_device_is_let_in_and_one_changed_character_refused() {
    let gate = Gate::start(AUTH_CORE).await;
    let mut device = Device::genuine();
    let answer = gate.ask(&device.request()).await;
    assert_eq!((answer.status, answer.text()), (200, r#"{"result":"allow"}"#));
    device.password.replace_range(0..1, if device.password.starts_with('A') { "B" } else { "A" });
    let answer = gate.ask(&device.request()).await;
    assert_eq!((answer.status, answer.text()), (401, r#"{"result":"deny"}"#));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_asking_is_understood() {
    let gate = Gate::start(AUTH_CORE).await;
    let Device { client_id, username, password } = Device::genuine();
    let encoded = |text: &str| text.replace('@', "%40").replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let form =
        format!("username={}&password={}&clientid={}", encoded(&username), encoded(&password), encoded(&client_id));
    let by_query = get(&format!("/mqtt/auth?{form}"));
    let by_form = post("/mqtt/auth", "application/x-www-form-urlencoded", form.as_bytes());
    let by_other_name =
        post_json("/mqtt/auth", &json!({ "clientid": client_id, "username": username, "password": password }));
    for request in [by_query, by_form, by_other_name] {
        assert_eq!(gate.ask(&request).await.status, 200);
    }
    let without_password = post_json("/mqtt/auth", &json!({ "client_id": client_id, "username": username }));
    assert_eq!(gate.ask(&without_password).await.status, 401);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn emqx_is_answered_by_the_body_of_a_200() {
    let gate = Gate::start(AUTH_CORE).await;
    for (device, result) in [(Device::genuine(), "allow"), (Device::named("nobody"), "deny")] {
        let answer = gate.ask(&device.request_to("/emqx/auth")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        assert_eq!(answer.json(), json!({ "result": result }));
    }
    // EMQX takes every other status for "ask the next authenticator".
    for broken in
        [post("/emqx/auth", "application/json", b"{"), post("/emqx/auth", "text/plain", b"x"), get("/emqx/auth")]
    {
        let answer = gate.ask(&broken).await;
        assert_eq!((answer.status, answer.result().as_str()), (200, "deny"));
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_told_so_and_its_content_is_not_repeated() {
    let gate = Gate::start(AUTH_CORE).await;
    for (body, complaint) in [
        ("", "not JSON"),
        ("s3cret", "not JSON"),
        (r#""s3cret""#, "not a JSON object"),
        (r#"{"username":"s3cret"}"#, "client_id"),
        (r#"{"client_id":"c","password":{"s3cret":1}}"#, "password must be a string"),
        (r#"{"client_id":"c","password":"s3cret","password":"s3cret"}"#, "password is there twice"),
    ] {
        let answer = gate.ask(&post("/mqtt/auth", "application/json", body.as_bytes())).await;
        assert_eq!((answer.status, answer.result().as_str()), (400, "deny"), "{complaint}");
        assert!(answer.json()["error"].as_str().unwrap().contains(complaint), "{}", answer.text());
        assert!(!answer.text().contains("s3cret"));
    }
    let status = gate.status().await;
    assert_eq!((&status["malformed"], &status["calls"]), (&json!(6), &json!(0)));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_413_announced_or_not() {
    let gate = Gate::start(AUTH_CORE).await;
    let large = vec![b' '; 70_000];
    let announced = gate.ask(&post("/mqtt/auth", "application/json", &large)).await;
    assert_eq!((announced.status, announced.result().as_str()), (413, "deny"));
    let head = b"POST /mqtt/auth HTTP/1.1\r\nhost: gate\r\ntransfer-encoding: chunked\r\n\r\n11170\r\n";
    let chunked = gate.ask(&[head, large.as_slice(), b"\r\n0\r\n\r\n"].concat()).await;
    assert_eq!(chunked.status, 413);
    let emqx = gate.ask(&post("/emqx/auth", "application/json", &large)).await;
    assert_eq!((emqx.status, emqx.result().as_str()), (200, "deny"));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_may_ask_from_anywhere() {
    let gate = Gate::start(AUTH_CORE).await;
    let asked = [
        (bare("OPTIONS", "/mqtt/auth"), 204),
        (get("/mqtt/auth"), 200),
        (Device::genuine().request(), 200),
        (Device::named("x").request(), 401),
        (post("/mqtt/auth", "application/json", b"{"), 400),
        (bare("DELETE", "/mqtt/auth"), 405),
    ];
    for (request, status) in asked {
        let answer = gate.ask(&by_a_page(&request)).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{status}");
        assert_eq!(answer.header("access-control-allow-methods"), Some("GET, POST, OPTIONS"));
        assert_eq!(answer.header("access-control-allow-headers"), Some("client-id, content-type, device-id"));
    }
    assert_eq!(gate.ask(&Device::genuine().request()).await.header("access-control-allow-origin"), None);
    assert_eq!(gate.ask(&get("/elsewhere")).await.status, 404);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_without_a_query_tells_what_serves() {
    let gate = Gate::start(AUTH_CORE).await;
    let digest = gate.status().await["policy"]["sha256"].as_str().unwrap().to_owned();
    let text = gate.ask(&get("/mqtt/auth")).await.text().to_owned();
    assert!(text.contains(&digest) && text.contains("signature key: set"), "{text}");
    gate.stop().await;

    let keyless = Gate::start(LOCKDOWN).await;
    let text = keyless.ask(&get("/mqtt/auth")).await.text().to_owned();
    assert!(text.contains("lockdown") && text.contains("signature key: not set"), "{text}");
    keyless.stop().await;
}

/// NanoMQ without headers in its configuration asks so, and mosquitto-go-auth by GET: a 200 would let everybody in.
#[tokio::test(flavor = "multi_thread")]
async fn a_get_that_is_not_of_people_is_no_200() {
    let gate = Gate::start(AUTH_CORE).await;
    for request in [
        "GET /mqtt/auth HTTP/1.1\r\nhost: gate\r\n\r\n",
        "HEAD /mqtt/auth HTTP/1.1\r\nhost: gate\r\n\r\n",
        "GET /mqtt/auth HTTP/1.1\r\nhost: gate\r\nuser-agent: x\r\ncontent-length: 2\r\n\r\n{}",
        "GET /mqtt/auth HTTP/1.1\r\nhost: gate\r\naccept: */*\r\ncontent-type: application/json\r\n\r\n",
    ] {
        let status = gate.ask_head(request.as_bytes()).await.status;
        assert!((400..500).contains(&status), "{status} to {request}");
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_their_order() {
    let gate = Gate::start(AUTH_CORE).await;
    let asked = [
        (Device::genuine().request(), 200),
        (Device::named("x").request(), 401),
        (get("/elsewhere"), 404),
        (post("/mqtt/auth", "application/json", b"{"), 400),
        (Device::genuine().request_to("/emqx/auth"), 200),
    ];
    let mut connection = Connection::open(gate.logins).await;
    let burst: Vec<u8> = std::iter::repeat_n(&asked, 20).flatten().flat_map(|(request, _)| request.clone()).collect();
    connection.send(&burst).await;
    for round in 0..20 {
        for (_, status) in &asked {
            assert_eq!(connection.answer().await.status, *status, "round {round}");
        }
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lockdown_lets_in_who_is_listed_and_nobody_else() {
    let gate = Gate::start(LOCKDOWN).await;
    assert_eq!(gate.connect(&Device::named(OPERATOR)).await, 200);
    for stranger in ["", "Operator", "operator ", "operator,"] {
        assert_eq!(gate.connect(&Device::named(stranger)).await, 401, "{stranger}");
    }
    assert_eq!(gate.connect(&Device::genuine()).await, 401);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_is_live_and_ready_and_counts() {
    let gate = Gate::start(AUTH_CORE).await;
    for route in ["/livez", "/readyz"] {
        assert_eq!(Connection::open(gate.admin).await.ask(&get(route)).await.status, 200);
    }
    gate.connect(&Device::genuine()).await;
    gate.connect(&Device { username: USERNAME.into(), ..Device::named("x") }).await;
    let status = gate.status().await;
    assert_eq!(status["verdicts"], json!({ "allow": 1, "deny": 1, "ignore": 0 }));
    assert_eq!((&status["calls"], &status["no_verdict"]), (&json!(2), &json!(0)));
    assert_eq!(status["policy"]["name"], "auth-core");
    assert_eq!(status["policy"]["settings_not_read"], json!(["clients"]));
    gate.stop().await;
}

/// Every one of these ended a connection with answers still unsent, in one server or another.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_held_back_or_dropped_for_what_comes_after_it() {
    let gate = Gate::start(AUTH_CORE).await;
    let good = Device::genuine().request();
    let large = post("/emqx/auth", "application/json", &vec![b' '; 200_000]);
    let beginning = good[..good.len() / 2].to_vec();
    // Nobody looks at these bodies, and they are in the way all the same.
    let elsewhere = post("/elsewhere", "application/json", &vec![b' '; 200_000]);
    let options = post("/mqtt/auth", "application/json", &vec![b' '; 200_000]);
    let options = [b"OPTIONS", &options[4..]].concat();
    for (after, answers) in [
        (b"garbage\r\n\r\n".to_vec(), vec![200, 200, 400]),
        (b"\r\n".to_vec(), vec![200, 200]),
        (beginning, vec![200, 200]),
        ([large, good.clone()].concat(), vec![200, 200, 200, 200]),
        ([elsewhere, good.clone()].concat(), vec![200, 200, 404, 200]),
        ([options, good.clone()].concat(), vec![200, 200, 204, 200]),
    ] {
        let mut connection = Connection::open(gate.logins).await;
        connection.send(&[good.clone(), good.clone(), after].concat()).await;
        for status in answers {
            assert_eq!(connection.answer().await.status, status);
        }
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn older_clients_and_closing_ones_are_answered() {
    let gate = Gate::start(AUTH_CORE).await;
    let request = String::from_utf8(Device::genuine().request()).unwrap();
    for request in [
        request.replacen("HTTP/1.1", "HTTP/1.0", 1),
        request.replacen("\r\n", "\r\nconnection: close\r\n", 1),
        request.replacen("\r\n", "\r\nexpect: 100-continue\r\nconnection: close\r\n", 1),
    ] {
        let mut connection = Connection::open(gate.logins).await;
        connection.send(format!("{request}\n").as_bytes()).await;
        let mut answer = connection.answer().await;
        if answer.status == 100 {
            answer = connection.answer().await;
        }
        assert_eq!(answer.status, 200, "{request}");
        assert!(connection.try_answer().await.is_none(), "the connection is closed");
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_asked_for_by_get_or_post_alone() {
    let gate = Gate::start(AUTH_CORE).await;
    for method in ["HEAD", "PUT", "DELETE", "PATCH"] {
        let answer = gate.ask_head(&bare(method, "/mqtt/auth?clientid=c&password=wrong")).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, POST, OPTIONS")), "{method}");
    }
    for method in ["HEAD", "OPTIONS", "PUT"] {
        // For EMQX and rmqtt a 405 is leave to ask somebody else.
        let answer = gate.ask_head(&bare(method, "/emqx/auth?clientid=c")).await;
        assert_eq!((answer.status, answer.header("content-length")), (200, Some("63")), "{method}");
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_408_and_one_that_is_cut_no_login() {
    let gate = Gate::start_with(AUTH_CORE, |config| config.limits.request = Duration::from_millis(100)).await;
    let request = Device::genuine().request();
    let mut connection = Connection::open(gate.logins).await;
    connection.send(&request[..request.len() - 1]).await;
    let answer = connection.answer().await;
    assert_eq!((answer.status, answer.result().as_str()), (408, "deny"));
    assert_eq!(gate.status().await["calls"], 0);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_said_all_still_hears_the_answers() {
    let gate = Gate::start(AUTH_CORE).await;
    for _ in 0..50 {
        let mut connection = Connection::open(gate.logins).await;
        connection.send(&Device::genuine().request().repeat(3)).await;
        connection.finish().await;
        for _ in 0..3 {
            assert_eq!(connection.answer().await.status, 200);
        }
        assert!(connection.try_answer().await.is_none());
    }
    gate.stop().await;
}
