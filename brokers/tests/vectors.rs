//! Recorded requests of EMQX and RabbitMQ are parsed, and the model of EMQX agrees with its recorded behaviour.

use brokers::{Action, AuthRequest, Method, RequestError, Route, Routes};
use serde_json::Value;

use crate::broker_models::{Reading, Seen, emqx_authentication, emqx_authorization};
use crate::{Parsed, parse};

const REQUESTS: &str = include_str!("../../tests/vectors/emqx-requests.json");
const REPLIES: &str = include_str!("../../tests/vectors/emqx-replies.json");
const RABBITMQ: &str = include_str!("../../tests/vectors/rabbitmq-requests.txt");

fn cases(text: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(text).unwrap();
    file["cases"].as_array().unwrap().clone()
}

/// Parses a request as EMQX sent it.
fn parse_case(case: &Value) -> Result<Parsed, RequestError> {
    let request = &case["request"];
    let method = if request["method"] == "GET" { Method::Get } else { Method::Post };
    let headers: Vec<(&str, &str)> = request["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|header| (header[0].as_str().unwrap(), header[1].as_str().unwrap()))
        .collect();
    let route = if case["kind"] == "authn" { Route::EmqxAuth } else { Route::EmqxAcl };
    parse(route, method, request["query"].as_str(), &headers, request["body"].as_str().unwrap().as_bytes())
}

/// The field names that the case's body template gives to a placeholder.
fn field<'a>(case: &'a Value, placeholder: &str) -> Vec<&'a str> {
    let accesses = format!("${{{placeholder}}}");
    let body = case["emqx_config"]["body"].as_object();
    let names = body.into_iter().flatten().filter(|(_, value)| value.as_str() == Some(&accesses));
    names.map(|(name, _)| name.as_str()).collect()
}

#[test]
fn recorded_emqx_logins_are_parsed() {
    let mut read = 0;
    for case in cases(REQUESTS).iter().filter(|case| case["kind"] == "authn") {
        let id = case["id"].as_str().unwrap();
        let client = &case["client"];
        let parsed = match parse_case(case) {
            Ok(parsed) => parsed,
            // The case whose template is in the path. It has no fields.
            Err(error) => {
                assert_eq!((id, error), ("authn-suite-17", RequestError::Empty));
                continue;
            }
        };
        let AuthRequest::Authenticate(credentials) = parsed.request else { panic!("{id}: a login") };
        let sent =
            |name: &str, fact: &str| if field(case, name).contains(&name) { client[fact].as_str() } else { None };
        assert_eq!(credentials.client_id, sent("clientid", "clientid").unwrap_or_default(), "{id}");
        assert_eq!(credentials.username.as_deref(), sent("username", "username"), "{id}");
        assert_eq!(credentials.peer_host.as_deref(), sent("peerhost", "peerhost"), "{id}");
        let password = match client["password_base64"].as_str() {
            Some("////") => Some(&[255, 255, 255][..]),
            _ => sent("password", "password").map(str::as_bytes),
        };
        assert!(credentials.password.as_deref() == password, "{id}: the password");
        for (name, placeholder) in case["emqx_config"]["body"].as_object().unwrap() {
            if ["clientid", "username", "password", "peerhost"].contains(&name.as_str()) {
                continue;
            }
            let value = credentials.attributes.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
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
fn recorded_emqx_acl_requests_are_parsed() {
    let mut read = 0;
    for case in cases(REQUESTS).iter().filter(|case| case["kind"] == "authz") {
        let id = case["id"].as_str().unwrap();
        let parsed = parse_case(case).unwrap_or_else(|error| panic!("{id}: {error}"));
        let AuthRequest::Authorize(request) = parsed.request else { panic!("{id}: an action") };
        let [access] = &request.accesses[..] else { panic!("{id}: one action") };
        let action = if case["action"]["type"] == "publish" { Action::Publish } else { Action::Subscribe };
        assert_eq!((access.action, Some(access.topic.as_str())), (action, case["topic"].as_str()), "{id}");
        // The template is in the body or in the query.
        let query = case["request"]["query"].as_str().unwrap();
        let sent = |name: &str| {
            let is_told = field(case, name).contains(&name) || query.contains(&format!("{name}="));
            is_told.then(|| case["client"][name].as_str().unwrap())
        };
        assert_eq!(request.client_id, sent("clientid").unwrap_or_default(), "{id}");
        assert_eq!(request.username.as_deref(), sent("username"), "{id}");
        assert_eq!(request.peer_host.as_deref(), sent("peerhost"), "{id}");
        read += 1;
    }
    assert!(read >= 7);
}

#[test]
fn recorded_unresolved_placeholder_becomes_a_warning() {
    let placeholders: Vec<String> = cases(REQUESTS)
        .iter()
        .filter_map(|case| parse_case(case).ok())
        .flat_map(|parsed| parsed.warnings)
        .filter(|warning| warning.kind() == "placeholder")
        .filter_map(|warning| warning.field().map(str::to_owned))
        .collect();
    assert_eq!(placeholders, ["usertypo"]);
}

#[test]
fn emqx_model_agrees_with_recorded_replies() {
    // About the time of the measurements. The recorded times are decades later, or in milliseconds.
    let now = 1_760_000_000;
    let mut held = 0;
    for case in cases(REPLIES) {
        let (id, reply, expected) = (case["id"].as_str().unwrap(), &case["reply"], &case["expected"]);
        // Skip the cases without a reply or without a request.
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

/// Recorded from a RabbitMQ 3.10.8 while a device connected, published and subscribed.
#[test]
fn recorded_rabbitmq_requests_are_parsed() {
    let paths = RABBITMQ.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 POST /auth/"));
    let bodies = RABBITMQ.lines().filter_map(|line| line.trim().strip_prefix("<body> "));
    let client_id = "GID_test@@@68_25_dd_bb_f3_a0@@@36c98363-3656-43cb-a00f-8bced2391a90";
    let mut topics = Vec::new();
    let mut count = 0;
    for (path, body) in paths.zip(bodies) {
        let route = Routes::default().find(&format!("/rabbitmq/{path}")).unwrap();
        match crate::request_of(crate::parse_form(route, body)) {
            AuthRequest::Authenticate(credentials) => {
                assert!(
                    credentials.client_id == client_id
                        && credentials.username.is_some()
                        && credentials.password.is_some()
                );
            }
            AuthRequest::Authorize(request) => {
                assert_eq!((request.client_id.as_str(), request.username.is_some()), (client_id, true));
                topics.extend(request.accesses.into_iter().filter(|one| !one.topic.is_empty()));
            }
            AuthRequest::AlwaysDeny => panic!("{path} {body}: the device's own"),
        }
        count += 1;
    }
    let words: Vec<_> = topics.iter().map(|one| (one.action, one.topic.as_str())).collect();
    let publish = (Action::Publish, "devices/p2p/68_25_dd_bb_f3_a0");
    assert_eq!((count, words), (12, vec![publish, publish, (Action::Subscribe, "devices/p2p/+")]));
}
