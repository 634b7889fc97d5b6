//! What brokers ask, in the words of each, and ways of asking that are wrong: as requests, to be sent to any host.

use brokers::Route;
use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::http::{bare, by_a_page, get, post, post_json};

/// What is the same with every policy: ways of asking that are right or wrong, on each route and beside them.
pub(crate) fn ways_of_asking() -> Vec<Vec<u8>> {
    let mut requests = Vec::new();
    for path in Route::ALL.map(Route::path) {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"] {
            requests.push(bare(method, path));
            requests.push(bare(method, &format!("{path}?clientid=c&username=u&topic=t&action=publish")));
            requests.push(by_a_page(&bare(method, path)));
        }
        for body in ["", "{", "[]", "{}", r#"{"clientid":1}"#, r#"{"clientid":"c","username":"u","password":"p"}"#] {
            requests.push(post(path, "application/json", body.as_bytes()));
            requests.push(by_a_page(&post(path, "application/json; charset=utf-8", body.as_bytes())));
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
            .flat_map(|path| [get(path), bare("PUT", path), post_json(path, &json!({ "clientid": "c" }))]),
    );
    requests.extend(bare_heads());
    requests
}

/// Heads that say little of who asks: no person, so that a 200 would be taken for an answer.
fn bare_heads() -> impl Iterator<Item = Vec<u8>> {
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

/// A client on every route, in the words of each broker.
pub(crate) fn as_each_broker_asks(device: &Device) -> Vec<Vec<u8>> {
    let Device { client_id, username, password } = device;
    let encoded = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    let [id, user, secret] = [client_id, username, password].map(|text| encoded(text));
    let form = |path: &str, body: String| post(path, "application/x-www-form-urlencoded", body.as_bytes());
    let hook = |name: &str, body: Value| {
        let request = post_json("/vernemq", &body);
        let hooked = format!("host: gate\r\nvernemq-hook: {name}\r\n");
        String::from_utf8(request).unwrap().replacen("host: gate\r\n", &hooked, 1).into_bytes()
    };
    let mut requests = vec![
        device.request_to("/mqtt/auth"),
        by_a_page(&device.request_to("/mqtt/auth")),
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
        let key = encoded(&topic.replace('/', "."));
        let asked = format!("client_id={id}&username={user}&vhost=%2F&resource=topic&name=amq.topic&permission=write");
        requests.push(form("/rabbitmq/topic", format!("{asked}&routing_key={key}&variable_map.client_id={id}")));
    }
    requests
}

/// What EMQX was measured to send, to the routes that are meant for it.
pub(crate) fn as_emqx_asked() -> Vec<Vec<u8>> {
    let file: Value = serde_json::from_str(include_str!("../../vectors/emqx-requests.json")).unwrap();
    let request = |case: &Value| {
        let request = &case["request"];
        let path = if case["kind"] == "authn" { "/emqx/auth" } else { "/emqx/acl" };
        let query = request["query"].as_str().filter(|query| !query.is_empty());
        let target = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        let mut head = format!("{} {target} HTTP/1.1\r\n", request["method"].as_str().unwrap());
        for header in request["headers"].as_array().unwrap() {
            head += &format!("{}: {}\r\n", header[0].as_str().unwrap(), header[1].as_str().unwrap());
        }
        format!("{head}\r\n{}", request["body"].as_str().unwrap()).into_bytes()
    };
    file["cases"].as_array().unwrap().iter().map(request).collect()
}
