//! Requests of brokers, valid and invalid, to be sent to any host.

use brokers::Route;
use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::http::{cross_origin, get, post, post_json, without_body};

/// Requests whose response does not depend on the policy: every method, body and content type, on and beside each
/// route.
pub(crate) fn request_variants() -> Vec<Vec<u8>> {
    let mut requests = Vec::new();
    for path in Route::ALL.map(Route::path) {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"] {
            requests.push(without_body(method, path));
            requests.push(without_body(method, &format!("{path}?clientid=c&username=u&topic=t&action=publish")));
            requests.push(cross_origin(&without_body(method, path)));
        }
        for body in ["", "{", "[]", "{}", r#"{"clientid":1}"#, r#"{"clientid":"c","username":"u","password":"p"}"#] {
            requests.push(post(path, "application/json", body.as_bytes()));
            requests.push(cross_origin(&post(path, "application/json; charset=utf-8", body.as_bytes())));
            requests.push(post(path, "text/plain", body.as_bytes()));
        }
        let form = b"client_id=c&clientid=c&username=u&password=%00%ff&vhost=/&topic=t&acc=1&action=subscribe";
        requests.push(post(path, "application/x-www-form-urlencoded", form));
        requests.push(post(path, "application/json", &vec![b' '; 70_000]));
        requests.push(post(path, "application/json", &vec![b' '; 200_000]));
    }
    requests.extend(
        ["/", "/mqtt", "/mqtt/auth/", "/auth?clientid=c", "/emqx/auth/", "/EMQX/auth", "/%65mqx/x?clientid=c"]
            .iter()
            .flat_map(|path| [get(path), without_body("PUT", path), post_json(path, &json!({ "clientid": "c" }))]),
    );
    requests.extend(requests_without_client_headers());
    requests
}

/// `GET` requests that no person sends. A broker that sends one would take `200` for an allow.
fn requests_without_client_headers() -> impl Iterator<Item = Vec<u8>> {
    let heads = [
        "GET /mqtt/auth HTTP/1.1\r\nhost: gate\r\n",
        "HEAD /mqtt/auth HTTP/1.1\r\nhost: gate\r\nx-forwarded-for: x\r\n",
        "GET /mqtt/auth HTTP/1.1\r\nhost: gate\r\nconnection: keep-alive\r\n",
        "GET /mqtt/auth HTTP/1.1\r\nhost: gate\r\naccept: */*\r\ncontent-type: application/json\r\n",
        "GET /mqtt/auth HTTP/1.1\r\nhost: gate\r\nuser-agent: x\r\ncontent-length: 0\r\n",
    ];
    let with_body = b"GET /mqtt/auth HTTP/1.1\r\nhost: gate\r\nuser-agent: x\r\ncontent-length: 2\r\n\r\n{}".to_vec();
    heads.into_iter().map(|head| format!("{head}\r\n").into_bytes()).chain([with_body])
}

/// Every kind of request that the supported brokers send for a client.
pub(crate) fn broker_requests(device: &Device) -> Vec<Vec<u8>> {
    let Device { client_id, username, password } = device;
    let percent_encoded = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    let [id, user, secret] = [client_id, username, password].map(|text| percent_encoded(text));
    let form = |path: &str, body: String| post(path, "application/x-www-form-urlencoded", body.as_bytes());
    let hook = |name: &str, body: Value| {
        let request = post_json("/vernemq", &body);
        let header = format!("host: gate\r\nvernemq-hook: {name}\r\n");
        String::from_utf8(request).unwrap().replacen("host: gate\r\n", &header, 1).into_bytes()
    };
    let mut requests = vec![
        device.request_to("/mqtt/auth"),
        cross_origin(&device.request_to("/mqtt/auth")),
        device.request_to("/emqx/auth"),
        get(&format!("/emqx/auth?clientid={id}&username={user}&password={secret}")),
        form("/mqtt/auth", format!("clientid={id}&username={user}&password={secret}")),
        form("/rabbitmq/user", format!("client_id={id}&username={user}&password={secret}&vhost=%2F")),
        form("/rabbitmq/vhost", format!("client_id={id}&username={user}&vhost=%2F&ip=127.0.0.1&tags=")),
        post_json("/mosquitto/user", &json!({ "clientid": client_id, "username": username, "password": password })),
        post_json("/mosquitto/superuser", &json!({ "username": username })),
        hook("auth_on_register", json!({ "client_id": client_id, "username": username, "password": password })),
        hook("auth_on_unknown", json!({ "client_id": client_id })),
    ];
    for topic in ["devices/AA_BB_CC_DD_EE_FF/up/x", "devices/AA_BB_CC_DD_EE_FF/#", "elsewhere", "#", "$SYS/x"] {
        for action in ["publish", "subscribe"] {
            let body = json!({ "clientid": client_id, "username": username, "topic": topic, "action": action });
            requests.push(post_json("/emqx/acl", &body));
            requests.push(post_json("/mqtt/acl", &body));
        }
        let acc = json!({ "clientid": client_id, "username": username, "topic": topic, "acc": 3 });
        requests.push(post_json("/mosquitto/acl", &acc));
        let own = json!({ "topic": "devices/AA_BB_CC_DD_EE_FF/down/x", "qos": 1 });
        let topics = json!([own, { "topic": topic, "qos": 1 }]);
        let subscribe = json!({ "client_id": client_id, "username": username, "topics": topics });
        requests.push(hook("auth_on_subscribe_m5", subscribe));
        let publish = json!({ "client_id": client_id, "username": username, "topic": topic, "payload": "x" });
        requests.push(hook("auth_on_publish", publish));
        let key = percent_encoded(&topic.replace('/', "."));
        let check = format!("client_id={id}&username={user}&vhost=%2F&resource=topic&name=amq.topic&permission=write");
        requests.push(form("/rabbitmq/topic", format!("{check}&routing_key={key}&variable_map.client_id={id}")));
    }
    requests
}

/// The requests recorded from EMQX, each to the route of its kind.
pub(crate) fn recorded_emqx_requests() -> Vec<Vec<u8>> {
    let route = |case: &Value| if case["kind"] == "authn" { "/emqx/auth" } else { "/emqx/acl" };
    emqx_cases().iter().map(|case| recorded_request(case, route(case))).collect()
}

/// The requests recorded from EMQX, all sent to `route`.
pub(crate) fn recorded_emqx_requests_to(route: &str) -> Vec<Vec<u8>> {
    emqx_cases().iter().map(|case| recorded_request(case, route)).collect()
}

fn emqx_cases() -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("../../vectors/emqx-requests.json")).unwrap();
    file["cases"].as_array().unwrap().clone()
}

fn recorded_request(case: &Value, route: &str) -> Vec<u8> {
    let request = &case["request"];
    let text = |name: &str| request[name].as_str().unwrap();
    let query = request["query"].as_str().filter(|query| !query.is_empty()).map(|query| format!("?{query}"));
    let mut head = format!("{} {route}{} HTTP/1.1\r\n", text("method"), query.unwrap_or_default());
    for header in request["headers"].as_array().unwrap() {
        head += &format!("{}: {}\r\n", header[0].as_str().unwrap(), header[1].as_str().unwrap());
    }
    format!("{head}\r\n{}", text("body")).into_bytes()
}
