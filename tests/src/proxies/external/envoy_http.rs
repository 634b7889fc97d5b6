//! In Envoy, the policy answers brokers as it does in the native host.

use serde_json::{Value, json};

use crate::policy::credentials::{GROUPS, cases_by_key};
use crate::support::device::{Device, KEY};
use crate::support::envoy::{Bootstrap, Envoy, HTTP, MQTT};
use crate::support::http::{Answer, Connection, bare, by_a_page, get, post, post_json};
use crate::support::in_process::{AUTH_CORE, Gate};

const EMQX: &str = include_str!("../../../vectors/emqx-requests.json");

const ROUTES: [&str; 12] = [
    "/mqtt/auth",
    "/mqtt/acl",
    "/emqx/auth",
    "/emqx/acl",
    "/rabbitmq/user",
    "/rabbitmq/vhost",
    "/rabbitmq/resource",
    "/rabbitmq/topic",
    "/mosquitto/user",
    "/mosquitto/superuser",
    "/mosquitto/acl",
    "/vernemq",
];

#[tokio::test(flavor = "multi_thread")]
async fn envoy_gives_every_case_its_answer() {
    let by_key = cases_by_key();
    for groups in GROUPS {
        for (key, cases) in &by_key {
            let mut bootstrap = Bootstrap::shipped();
            bootstrap.change(HTTP, |plugin| {
                plugin["settings"] = json!({ "signature-keys": key, "allow-insecure-key": "true", "groups": groups });
                // Some user names are longer than any broker could send.
                plugin["limits"]["body"] = json!(1 << 20);
            });
            let envoy = Envoy::start(bootstrap, HTTP).await;
            let mut connection = Connection::open(envoy.address()).await;
            for case in cases {
                let expected = case.expected(groups);
                let status = match expected {
                    "allow" => 200,
                    "malformed-request" => 400,
                    _ => 401,
                };
                let answer = connection.ask(&post_json("/mqtt/auth", &case.body())).await;
                assert_eq!(answer.status, status, "{}: {expected}", case.id);
                let answer = connection.ask(&post_json("/emqx/auth", &case.body())).await;
                let result = if expected == "allow" { "allow" } else { "deny" };
                assert_eq!((answer.status, answer.result().as_str()), (200, result), "{}", case.id);
            }
            envoy.assert_unharmed().await;
        }
    }
}

/// What EMQX was seen to send, to a route.
fn by_emqx(case: &Value, route: &str) -> Vec<u8> {
    let request = &case["request"];
    let text = |name: &str| request[name].as_str().unwrap();
    let query = request["query"].as_str().filter(|query| !query.is_empty()).map(|query| format!("?{query}"));
    let mut head = format!("{} {route}{} HTTP/1.1\r\n", text("method"), query.unwrap_or_default());
    for header in request["headers"].as_array().unwrap() {
        head += &format!("{}: {}\r\n", header[0].as_str().unwrap(), header[1].as_str().unwrap());
    }
    format!("{head}\r\n{}", text("body")).into_bytes()
}

/// Requests of every kind, good and bad, to every route.
fn requests() -> Vec<Vec<u8>> {
    const FORM: &str = "application/x-www-form-urlencoded";
    let genuine = Device::genuine();
    let device = |topic: &str| {
        let mut body = genuine.body();
        body["topic"] = topic.into();
        body["action"] = "publish".into();
        body
    };
    let file: Value = serde_json::from_str(EMQX).unwrap();
    let mut requests = Vec::new();
    for route in ROUTES {
        requests.extend(file["cases"].as_array().unwrap().iter().map(|case| by_emqx(case, route)));
        for body in
            [genuine.body(), Device::named("x").body(), device("up/AA_BB_CC_DD_EE_FF"), device("up/x"), json!({})]
        {
            requests.push(post_json(route, &body));
            requests.push(by_a_page(&post_json(route, &body)));
        }
        let query =
            "client_id=x&username=y&password=z&topic=t&action=publish&acc=1&vhost=/&resource=topic&permission=read";
        requests.push(get(&format!("{route}?{query}")));
        requests.push(post(route, FORM, query.as_bytes()));
        requests.push(post(route, FORM, br#"{"client_id":"x"}"#));
        requests.push(post(route, "text/plain", b"x"));
        requests.push(post(route, "application/json; \u{e9}", b"{}"));
        requests.push(post(route, "application/json", b"\xff"));
        requests.push(post(route, "application/json", br#"{"client_id":"${clientid}"}"#));
        requests.extend(["PUT", "DELETE", "PATCH"].map(|method| bare(method, route)));
        // Nothing that says who asks.
        requests.push(format!("GET {route} HTTP/1.1\r\nhost: gate\r\n\r\n").into_bytes());
    }
    for target in ["/", "/mqtt/auth/", "/x?y=z", "/EMQX/auth", "/api/%65mqx", "/mqtt//auth"] {
        requests.extend([get(target), post_json(target, &genuine.body())]);
    }
    requests
}

/// What brokers and pages look at.
fn seen(answer: &Answer) -> (u16, &str, [Option<&str>; 5]) {
    let headers = [
        "content-type",
        "allow",
        "access-control-allow-origin",
        "access-control-allow-methods",
        "access-control-allow-headers",
    ];
    (answer.status, answer.text(), headers.map(|name| answer.header(name)))
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_answers_every_request_as_the_native_host_does() {
    let topics = [("publish-topics", "up/{mac}"), ("subscribe-topics", "down/{mac}/#")];
    let gate = Gate::start_with(AUTH_CORE, |config| {
        topics.iter().for_each(|(name, value)| config.policy.settings.set(name, (*value).to_owned()));
    })
    .await;
    let envoy = Envoy::http(&[&[("signature-keys", KEY)], &topics[..]].concat()).await;
    // On one connection each: no answer ends it.
    let mut natively = Connection::open(gate.logins).await;
    let mut in_envoy = Connection::open(envoy.address()).await;
    let requests = requests();
    assert!(requests.len() > 400);
    for request in requests {
        let (native, filtered) = (natively.ask(&request).await, in_envoy.ask(&request).await);
        assert_eq!(seen(&filtered), seen(&native), "{}", String::from_utf8_lossy(&request));
    }
    for (method, status) in [("GET", 200), ("OPTIONS", 204)] {
        let request = bare(method, "/mqtt/auth");
        let (native, filtered) = (natively.ask(&request).await, in_envoy.ask(&request).await);
        assert_eq!((native.status, filtered.status), (status, status));
        assert_eq!(seen(&native).2, seen(&filtered).2);
    }
    assert!(in_envoy.ask(&get("/mqtt/auth")).await.text().contains("as a filter in Envoy"));
    envoy.assert_unharmed().await;
    gate.stop().await;
}

/// EMQX sends a hundred requests on a connection before it reads an answer.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_pipelined_to_envoy_is_answered_in_order() {
    let envoy = Envoy::http(&[("signature-keys", KEY)]).await;
    let mut connection = Connection::open(envoy.address()).await;
    let devices = [Device::genuine(), Device::named("x"), Device::genuine()];
    let asked: Vec<_> = devices.iter().cycle().take(300).map(|device| device.request_to("/emqx/auth")).collect();
    connection.send(&asked.concat()).await;
    for result in ["allow", "deny", "allow"].iter().cycle().take(300) {
        assert_eq!(connection.answer().await.result(), *result);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_arrives_in_any_pieces_and_not_too_large() {
    let envoy = Envoy::http(&[("signature-keys", KEY)]).await;
    let mut connection = Connection::open(envoy.address()).await;
    let request = Device::genuine().request();
    for byte in &request {
        connection.send(&[*byte]).await;
    }
    assert_eq!(connection.answer().await.status, 200);

    let head = "POST /mqtt/auth HTTP/1.1\r\nhost: gate\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    for end in ["0\r\n\r\n", "0\r\nx-trailer: x\r\n\r\n"] {
        connection.send(head.as_bytes()).await;
        for piece in Device::genuine().body().to_string().as_bytes().chunks(7) {
            let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
            connection.send(&chunk).await;
        }
        connection.send(end.as_bytes()).await;
        assert_eq!(connection.answer().await.status, 200, "{end:?}");
    }

    // One byte too much, and a great many; whoever waits on this connection is answered all the same.
    for length in [65_537, 300_000, 3 << 20] {
        for (route, status) in [("/mqtt/auth", 413), ("/emqx/auth", 200), ("/rabbitmq/user", 200)] {
            let answer = connection.ask(&post(route, "application/json", &vec![b' '; length])).await;
            assert_eq!(answer.status, status, "{length} to {route}");
            assert!(!answer.text().contains("allow"), "{}", answer.text());
        }
    }
    assert_eq!(connection.ask(&request).await.status, 200);
    let mut flood = Connection::open(envoy.address()).await;
    flood.try_send(&post("/emqx/auth", "application/json", &vec![b' '; 8 << 20])).await;
    assert!(flood.try_answer().await.is_none_or(|answer| answer.result() == "deny"));
    envoy.assert_unharmed().await;
}

/// The SDK takes the names of headers for text, and traps on any that is none. Envoy lets none through.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_no_text_traps_nothing() {
    let envoy = Envoy::http(&[("signature-keys", KEY)]).await;
    for (header, status) in
        [(&b"\xff: x"[..], 400), (b"\xc3: x", 400), (b"x\0: x", 400), (b"x: \xff", 200), (b"content-type: \xff", 400)]
    {
        let request = [&b"POST /mqtt/auth HTTP/1.1\r\nhost: gate\r\n"[..], header, b"\r\n"];
        let body = Device::genuine().body().to_string();
        let kind = if header.starts_with(b"content-type") { "" } else { "content-type: application/json\r\n" };
        let rest = format!("{kind}content-length: {}\r\n\r\n{body}", body.len());
        let mut connection = Connection::open(envoy.address()).await;
        let answer = connection.ask(&[&request.concat()[..], rest.as_bytes()].concat()).await;
        assert_eq!(answer.status, status, "{header:x?}");
    }
    for target in [&b"/mqtt/auth?\xff"[..], b"/\xff", b"/emqx/auth?client_id=\xff"] {
        let request = [b"GET ", target, b" HTTP/1.1\r\nhost: gate\r\naccept: x\r\n\r\n"].concat();
        let mut connection = Connection::open(envoy.address()).await;
        let answer = connection.ask(&request).await;
        assert!(answer.status != 200 || answer.result() == "deny", "{target:x?}: {}", answer.status);
    }
    envoy.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_stops_envoy_and_is_named_but_not_shown() {
    const VALUE: &str = "unfit-value";
    for (listener, member, value, named) in [
        (HTTP, "/settings/signature-keys", json!(VALUE), "settings.signature-keys: a key is shorter"),
        (HTTP, "/settings/signature-keys", json!([VALUE]), "settings.signature-keys: not text"),
        (HTTP, "/settings/groups", json!(format!("{VALUE} {VALUE}")), "settings.groups: a group"),
        (HTTP, "/settings/group", json!(VALUE), "settings.group: not known"),
        (HTTP, "/gate", json!(VALUE), "gate: neither"),
        (MQTT, "/settings/signature-keys", json!(""), "settings.signature-keys: missing"),
        (MQTT, "/settings/session-seconds", json!(VALUE), "settings.session-seconds: not a whole"),
        (MQTT, "/limits/connect", json!(VALUE), "limits.connect: not a whole"),
        (MQTT, "/cluster", json!(""), "cluster: missing"),
        (MQTT, "/clusters", json!(VALUE), "clusters: not known"),
    ] {
        let mut bootstrap = Bootstrap::shipped();
        bootstrap.change(listener, |plugin| {
            let (within, name) = member.rsplit_once('/').unwrap();
            plugin.pointer_mut(within).unwrap()[name] = value;
        });
        let Err(log) = Envoy::try_start(bootstrap, listener).await else { panic!("Envoy started: {named}") };
        assert!(log.text().contains(named), "{named}: {}", log.text());
        assert!(!log.text().contains(VALUE) && !log.text().contains(KEY), "{named}: a value is in the log");
    }
}
