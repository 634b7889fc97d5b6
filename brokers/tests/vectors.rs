//! EMQX as it was measured: its requests are read right, and the model of how it reads replies agrees with it.

use brokers::{Action, AuthRequest, Method, RequestError, Route};
use serde_json::Value;

use crate::broker_models::{Reading, Seen, emqx_authentication, emqx_authorization};
use crate::{Parsed, read};

const REQUESTS: &str = include_str!("../../tests/vectors/emqx-requests.json");
const REPLIES: &str = include_str!("../../tests/vectors/emqx-replies.json");
const RABBITMQ: &str = include_str!("../../tests/vectors/rabbitmq-requests.txt");

fn cases(text: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(text).unwrap();
    file["cases"].as_array().unwrap().clone()
}

/// What a route makes of a request as EMQX sent it.
fn read_case(case: &Value) -> Result<Parsed, RequestError> {
    let request = &case["request"];
    let method = if request["method"] == "GET" { Method::Get } else { Method::Post };
    let headers: Vec<(&str, &str)> = request["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|header| (header[0].as_str().unwrap(), header[1].as_str().unwrap()))
        .collect();
    let route = if case["kind"] == "authn" { Route::EmqxAuth } else { Route::EmqxAcl };
    read(route, method, request["query"].as_str(), &headers, request["body"].as_str().unwrap().as_bytes())
}

/// What the template of this case calls the fact that EMQX knows by this placeholder.
fn field<'a>(case: &'a Value, placeholder: &str) -> Vec<&'a str> {
    let accesses = format!("${{{placeholder}}}");
    let body = case["emqx_config"]["body"].as_object();
    let names = body.into_iter().flatten().filter(|(_, value)| value.as_str() == Some(&accesses));
    names.map(|(name, _)| name.as_str()).collect()
}

#[test]
fn what_emqx_sends_to_authenticate_is_read_right() {
    let mut read = 0;
    for case in cases(REQUESTS).iter().filter(|case| case["kind"] == "authn") {
        let id = case["id"].as_str().unwrap();
        let client = &case["client"];
        let asked = match read_case(case) {
            Ok(asked) => asked,
            // The one whose facts stand in the path: there is no such route.
            Err(problem) => {
                assert_eq!((id, problem), ("authn-suite-17", RequestError::Empty));
                continue;
            }
        };
        let AuthRequest::Authenticate(who) = asked.request else { panic!("{id}: a login") };
        let told =
            |name: &str, fact: &str| if field(case, name).contains(&name) { client[fact].as_str() } else { None };
        assert_eq!(who.client_id, told("clientid", "clientid").unwrap_or_default(), "{id}");
        assert_eq!(who.username.as_deref(), told("username", "username"), "{id}");
        assert_eq!(who.peer_host.as_deref(), told("peerhost", "peerhost"), "{id}");
        let password = match client["password_base64"].as_str() {
            Some("////") => Some(&[255, 255, 255][..]),
            _ => told("password", "password").map(str::as_bytes),
        };
        assert!(who.password.as_deref() == password, "{id}: the password");
        for (name, placeholder) in case["emqx_config"]["body"].as_object().unwrap() {
            if ["clientid", "username", "password", "peerhost"].contains(&name.as_str()) {
                continue;
            }
            let value = who.attributes.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
            let fact = placeholder.as_str().unwrap().trim_start_matches("${").trim_end_matches('}');
            let expected = match fact {
                "client_attrs.group" => client["client_attrs"]["group"].as_str(),
                "cert_pem" if client["cert_pem_der"].is_string() => {
                    Some("ZmFrZV9yYXdfY2VydF90b19iZV9iYXNlNjRfZW5jb2RlZA==")
                }
                fact => client[fact].as_str(),
            };
            assert_eq!(value, Some(expected.unwrap_or_default()), "{id}: {name}");
        }
        read += 1;
    }
    assert!(read >= 8);
}

#[test]
fn what_emqx_sends_to_authorize_is_read_right() {
    let mut read = 0;
    for case in cases(REQUESTS).iter().filter(|case| case["kind"] == "authz") {
        let id = case["id"].as_str().unwrap();
        let asked = read_case(case).unwrap_or_else(|problem| panic!("{id}: {problem}"));
        let AuthRequest::Authorize(what) = asked.request else { panic!("{id}: an action") };
        let [accesses] = &what.accesses[..] else { panic!("{id}: one action") };
        let action = if case["action"]["type"] == "publish" { Action::Publish } else { Action::Subscribe };
        assert_eq!((accesses.action, Some(accesses.topic.as_str())), (action, case["topic"].as_str()), "{id}");
        // The facts stand in the body, or in the query if that is where the template is.
        let query = case["request"]["query"].as_str().unwrap();
        let told = |name: &str| {
            let is_told = field(case, name).contains(&name) || query.contains(&format!("{name}="));
            is_told.then(|| case["client"][name].as_str().unwrap())
        };
        assert_eq!(what.client_id, told("clientid").unwrap_or_default(), "{id}");
        assert_eq!(what.username.as_deref(), told("username"), "{id}");
        assert_eq!(what.peer_host.as_deref(), told("peerhost"), "{id}");
        read += 1;
    }
    assert!(read >= 7);
}

#[test]
fn a_placeholder_that_emqx_does_not_know_is_seen() {
    let placeholders: Vec<String> = cases(REQUESTS)
        .iter()
        .filter_map(|case| read_case(case).ok())
        .flat_map(|asked| asked.warnings)
        .filter(|warning| warning.kind() == "placeholder")
        .filter_map(|warning| warning.field().map(str::to_owned))
        .collect();
    assert_eq!(placeholders, ["usertypo"]);
}

#[test]
fn the_model_of_emqx_agrees_with_emqx() {
    // When the measurements were made, more or less: what is compared with it lies decades ahead, or in milliseconds.
    let now = 1_760_000_000;
    let mut held = 0;
    for case in cases(REPLIES) {
        let (id, reply, expected) = (case["id"].as_str().unwrap(), &case["reply"], &case["expected"]);
        // Those in which no reply came, or no request went out.
        if !reply["status"].is_u64() || id == "live-req-01" {
            continue;
        }
        let seen = Seen {
            status: reply["status"].as_u64().unwrap().try_into().unwrap(),
            content_type: reply["headers"]["content-type"].as_str(),
            body: reply["body"].as_str().unwrap_or_default(),
        };
        let reading = if case["kind"] == "authn" {
            let admitted = emqx_authentication(&seen, now);
            if let Some(is_superuser) = expected["is_superuser"].as_bool() {
                assert_eq!(admitted.is_superuser, is_superuser, "{id}");
            }
            admitted.reading
        } else {
            emqx_authorization(&seen)
        };
        let measured = match expected["provider"].as_str().unwrap() {
            "allow" => Reading::Allowed,
            "deny" => Reading::Refused,
            "ignore" | "nomatch" => Reading::PassedOn,
            other => panic!("{id}: {other}"),
        };
        let same = if reading == Reading::Crashed { Reading::PassedOn } else { reading };
        assert_eq!(same, measured, "{id}");
        held += 1;
    }
    assert!(held > 70, "{held}");
}

/// What a real RabbitMQ sent for a device that connects, publishes and subscribes.
#[test]
fn what_rabbitmq_sends_is_read_right() {
    let paths = RABBITMQ.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 POST /auth/"));
    let bodies = RABBITMQ.lines().filter_map(|line| line.trim().strip_prefix("<body> "));
    let client_id = "GID_test@@@68_25_dd_bb_f3_a0@@@36c98363-3656-43cb-a00f-8bced2391a90";
    let mut topics = Vec::new();
    let mut count = 0;
    for (path, body) in paths.zip(bodies) {
        let route = Route::of(&format!("/rabbitmq/{path}")).unwrap();
        match crate::question(crate::read_form(route, body)) {
            AuthRequest::Authenticate(who) => {
                assert!(who.client_id == client_id && who.username.is_some() && who.password.is_some());
            }
            AuthRequest::Authorize(what) => {
                assert_eq!((what.client_id.as_str(), what.username.is_some()), (client_id, true));
                topics.extend(what.accesses.into_iter().filter(|one| !one.topic.is_empty()));
            }
            AuthRequest::AlwaysDeny => panic!("{path} {body}: the device's own"),
        }
        count += 1;
    }
    let words: Vec<_> = topics.iter().map(|one| (one.action, one.topic.as_str())).collect();
    let publish = (Action::Publish, "devices/p2p/68_25_dd_bb_f3_a0");
    assert_eq!((count, words), (12, vec![publish, publish, (Action::Subscribe, "devices/p2p/+")]));
}
