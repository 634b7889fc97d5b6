//! Each broker's requests are parsed as the broker means them.

use brokers::{Action, AuthRequest, ConfigWarning, Credentials, Method, RequestError, Route, Routes, TopicAccess};

use crate::{authorize_request_of, credentials_of, error_of, parse, parse_form, parse_json, parse_query, request_of};

pub(crate) fn access(action: Action, topic: &str) -> TopicAccess {
    TopicAccess::new(action, topic)
}

#[test]
fn form_query_and_json_give_the_same_credentials() {
    let client = Credentials {
        client_id: "c l+i/e=n&t".into(),
        username: Some("us er+/=&é".into()),
        password: Some(b"pa+ss/==".to_vec()),
        authentication_method: None,
        authentication_data: None,
        peer_host: Some("127.0.0.1".into()),
        attributes: vec![("listener".into(), "tcp:default".into())],
    };
    let as_form = "clientid=c+l%2Bi%2Fe%3Dn%26t&username=us+er%2B%2F%3D%26%C3%A9&password=pa%2Bss%2F%3D%3D\
                   &peerhost=127.0.0.1&listener=tcp%3Adefault";
    let as_json = r#"{"client_id":"c l+i/e=n&t","username":"us er+/=&é","password":"pa+ss/==",
                      "client_ip":"127.0.0.1","listener":"tcp:default"}"#;
    for route in [Route::MqttAuth, Route::EmqxAuth] {
        for parsed in [parse_form(route, as_form), parse_query(route, as_form), parse_json(route, as_json)] {
            assert!(credentials_of(parsed) == client, "{route:?}");
        }
    }
}

#[test]
fn passwords_in_forms_and_queries_may_be_any_bytes() {
    for parsed in [
        parse_form(Route::EmqxAuth, "clientid=c&password=%FF%FF%00"),
        parse_query(Route::EmqxAuth, "clientid=c&password=%FF%FF%00"),
    ] {
        assert_eq!(credentials_of(parsed).password, Some(vec![255, 255, 0]));
    }
    assert_eq!(error_of(parse_form(Route::EmqxAuth, "clientid=%FF")), RequestError::NotUtf8("clientid"));
}

#[test]
fn empty_fields_count_as_missing() {
    for route in [Route::MqttAuth, Route::EmqxAuth] {
        let credentials =
            credentials_of(parse_json(route, r#"{"clientid":"","username":"","password":"","peerhost":""}"#));
        assert!(credentials.client_id.is_empty() && credentials.username.is_none() && credentials.password.is_none());
        assert!(credentials.peer_host.is_none());
    }
}

#[test]
fn known_fields_must_be_text_and_others_keep_their_json() {
    for name in ["client_id", "username", "password"] {
        for value in ["7", "null", "true", "[]", r#"{"$ne":""}"#] {
            let id = if name == "client_id" { "x" } else { "client_id" };
            let body = format!(r#"{{"{id}":"c","{name}":{value}}}"#);
            assert_eq!(error_of(parse_json(Route::MqttAuth, &body)), RequestError::NotText(name), "{body}");
        }
    }
    let credentials =
        credentials_of(parse_json(Route::EmqxAuth, r#"{"clientid":"c","port":1883,"tls":true,"x":null,"y":[1]}"#));
    let attributes: Vec<_> = credentials.attributes.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(attributes, ["1883", "true", "null", "[1]"]);
}

#[test]
fn duplicate_fields_are_rejected() {
    for route in [Route::MqttAuth, Route::EmqxAuth] {
        for (parsed, name) in [
            (parse_json(route, r#"{"clientid":"a","client_id":"a"}"#), "clientid"),
            (parse_json(route, r#"{"clientid":"a","password":"p","password":"q"}"#), "password"),
            (parse_json(route, r#"{"clientid":"a","x":"p","x":"p"}"#), "a field"),
            (parse_form(route, "clientid=a&clientid=b"), "clientid"),
            (parse_query(route, "clientid=a&username=u&username=u"), "username"),
        ] {
            assert_eq!(error_of(parsed), RequestError::Duplicate(name));
        }
    }
}

#[test]
fn fields_in_both_query_and_body_must_agree() {
    let json = [("content-type", "application/json")];
    let parse_it = |query, body: &str| parse(Route::EmqxAcl, Method::Post, Some(query), &json, body.as_bytes());
    let both =
        authorize_request_of(parse_it("topic=t&action=publish", r#"{"clientid":"c","username":"u","topic":"t"}"#));
    assert_eq!((both.accesses, both.attributes), (vec![access(Action::Publish, "t")], vec![]));
    let different = parse_it("topic=t&action=publish", r#"{"clientid":"c","topic":"u"}"#);
    assert_eq!(error_of(different), RequestError::Duplicate("topic"));
    let other_name = parse_it("client_id=a&topic=t&action=publish", r#"{"clientid":"b"}"#);
    assert_eq!(error_of(other_name), RequestError::Duplicate("clientid"));
}

#[test]
fn malformed_bodies_get_distinct_errors() {
    for route in [Route::MqttAuth, Route::EmqxAuth] {
        assert_eq!(error_of(parse_json(route, "")), RequestError::NotJson);
        assert_eq!(error_of(parse_json(route, "{")), RequestError::NotJson);
        assert_eq!(error_of(parse_json(route, r#"{"clientid":"c"} x"#)), RequestError::NotJson);
        assert_eq!(error_of(parse_json(route, r#""clientid""#)), RequestError::NotAnObject);
        assert_eq!(error_of(parse_json(route, r#"["clientid"]"#)), RequestError::NotAnObject);
        assert_eq!(error_of(parse_json(route, "{}")), RequestError::Empty);
        assert_eq!(error_of(parse_query(route, "")), RequestError::Empty);
        assert_eq!(error_of(parse_form(route, r#"{"clientid":"c"}"#)), RequestError::JsonAsForm);
        let text = parse(route, Method::Post, None, &[("content-type", "text/plain")], b"{}");
        assert_eq!(error_of(text), RequestError::ContentType);
        let unreadable = parse(route, Method::Post, None, &[("content-type", "")], b"{}");
        assert_eq!(error_of(unreadable), RequestError::ContentType);
        let many: String = (0..300).map(|n| format!("m{n}=x&")).collect();
        assert_eq!(error_of(parse_form(route, &many)), RequestError::TooManyFields { limit: 256 });
    }
}

#[test]
fn only_emqx_may_omit_the_client_id() {
    let body = r#"{"username":"u","password":"p"}"#;
    let parsed = parse_json(Route::EmqxAuth, body).unwrap_or_else(|_| panic!("should be parsed"));
    assert_eq!(parsed.warnings, [ConfigWarning::Missing("clientid")]);
    assert!(credentials_of(parse_json(Route::EmqxAuth, body)).client_id.is_empty());
    for route in [Route::MqttAuth, Route::RabbitmqUser, Route::MosquittoUser] {
        assert_eq!(error_of(parse_json(route, body)), RequestError::Missing("client_id"));
    }
}

#[test]
fn template_errors_become_warnings() {
    let placeholders = |name: &str| ConfigWarning::UnresolvedPlaceholder(name.to_owned());
    for (body, warnings) in [
        (r#"{"clientid":"c","username":"u","password":"p","peerhost":"h","x":"1"}"#, vec![]),
        (r#"{"clientid":"c","username":"","password":""}"#, vec![]),
        (r#"{"clientid":"c","username":"u","password":"p","proto":"${proto_name}"}"#, vec![placeholders("proto")]),
        (
            r#"{"clientid":"${client}","username":"u","password":"${b}"}"#,
            vec![placeholders("clientid"), placeholders("password")],
        ),
        (r#"{"clientid":"c"}"#, vec![ConfigWarning::Missing("username"), ConfigWarning::Missing("password")]),
        (r#"{"clientid":"c","username":"$u{}","password":"a${b}c"}"#, vec![]),
    ] {
        let parsed = parse_json(Route::EmqxAuth, body).unwrap_or_else(|_| panic!("should be parsed"));
        assert_eq!(parsed.warnings, warnings, "{body}");
    }
    let headers = [("content-type", "application/json"), ("keep-alive", "timeout=30, max=1000")];
    let by_status = parse(Route::MqttAuth, Method::Post, None, &headers, br#"{"clientid":"c"}"#);
    assert_eq!(by_status.map(|parsed| parsed.warnings), Ok(vec![ConfigWarning::EmqxOnStatusRoute]));
}

#[test]
fn action_is_read_from_any_of_its_fields() {
    for route in [Route::EmqxAcl, Route::MqttAcl] {
        for (field, expected) in [
            (r#""action":"publish""#, vec![Action::Publish]),
            (r#""action":"subscribe""#, vec![Action::Subscribe]),
            (r#""access":"1""#, vec![Action::Subscribe]),
            (r#""access":"2""#, vec![Action::Publish]),
            (r#""action":"publish","access":"2""#, vec![Action::Publish]),
            (r#""acc":1"#, vec![Action::Subscribe]),
            (r#""acc":2"#, vec![Action::Publish]),
            (r#""acc":3"#, vec![Action::Subscribe, Action::Publish]),
            (r#""acc":4"#, vec![Action::Subscribe]),
        ] {
            let parsed = parse_json(route, &format!(r#"{{"clientid":"c","username":"u","topic":"t/1",{field}}}"#));
            let expected: Vec<_> = expected.into_iter().map(|action| access(action, "t/1")).collect();
            assert_eq!(authorize_request_of(parsed).accesses, expected, "{field}");
        }
        for (fields, expected) in [
            (r#""topic":"t""#, RequestError::Missing("action")),
            (r#""action":"publish""#, RequestError::Missing("topic")),
            (r#""topic":"","action":"publish""#, RequestError::Missing("topic")),
            (r#""topic":"t","action":"PUBLISH""#, RequestError::InvalidValue("action")),
            (r#""topic":"t","action":"${action}""#, RequestError::InvalidValue("action")),
            (r#""topic":"t","access":"3""#, RequestError::InvalidValue("access")),
            (r#""topic":"t","acc":0"#, RequestError::InvalidValue("acc")),
            (r#""topic":"t","action":"publish","access":"1""#, RequestError::Duplicate("action")),
            (r#""topic":"${topik}","action":"publish""#, RequestError::UnresolvedPlaceholder("topic")),
            (r#""topic":["t"],"action":"publish""#, RequestError::NotText("topic")),
        ] {
            let parsed = parse_json(route, &format!(r#"{{"clientid":"c","username":"u",{fields}}}"#));
            assert_eq!(error_of(parsed), expected, "{fields}");
        }
    }
}

/// EMQX reports them as text. An attribute of the same name stays, as contract 0.1 had it.
#[test]
fn quality_of_service_and_retain_are_read_where_the_broker_reports_them() {
    for (fields, qos, retain) in [
        (r#""qos":"1","retain":"true""#, Some(1), Some(true)),
        (r#""qos":2,"retain":false"#, Some(2), Some(false)),
        (r#""qos":"0","retain":"0""#, Some(0), Some(false)),
        (r#""qos":"3","retain":"maybe""#, None, None),
        (r#""qos":"${qos}","retain":"""#, None, None),
        (r#""qos":[1],"retain":null"#, None, None),
    ] {
        let parse_it = |action: &str| {
            let body = format!(r#"{{"clientid":"c","username":"u","topic":"t","action":"{action}",{fields}}}"#);
            authorize_request_of(parse_json(Route::EmqxAcl, &body))
        };
        let published = parse_it("publish");
        assert_eq!(published.accesses, [TopicAccess { qos, retain, ..access(Action::Publish, "t") }], "{fields}");
        let names: Vec<_> = published.attributes.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["qos", "retain"]);
        let subscribed = parse_it("subscribe");
        assert_eq!(subscribed.accesses, [TopicAccess { qos, ..access(Action::Subscribe, "t") }], "{fields}");
    }
}

#[test]
fn nanomq_topic_lists_are_split() {
    let parse_it = |action: &str, topic: &str| {
        authorize_request_of(parse_form(
            Route::MqttAcl,
            &format!("clientid=c&username=u&access={action}&topic={topic}"),
        ))
        .accesses
    };
    let subscribe = |topics: &[&str]| topics.iter().map(|topic| access(Action::Subscribe, topic)).collect::<Vec<_>>();
    assert_eq!(parse_it("1", "a/x,%23"), subscribe(&["a/x,#", "a/x", "#"]));
    assert_eq!(parse_it("2", "a,b"), [access(Action::Publish, "a,b")]);
    let by_amqtt = parse_json(Route::MqttAcl, r#"{"client_id":"c","username":"u","acc":4,"topic":"a,b"}"#);
    assert_eq!(authorize_request_of(by_amqtt).accesses, subscribe(&["a,b", "a", "b"]));
    let endless = format!("clientid=c&username=u&access=1&topic={}", "a,".repeat(1_000));
    assert_eq!(error_of(parse_form(Route::MqttAcl, &endless)), RequestError::TooManyFields { limit: 256 });
}

#[test]
fn mosquitto_access_numbers_map_to_actions() {
    for (acc, expected) in [
        ("1", vec![Action::Subscribe]),
        ("2", vec![Action::Publish]),
        ("3", vec![Action::Subscribe, Action::Publish]),
        ("4", vec![Action::Subscribe]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|action| access(action, "t/#")).collect();
        let json = format!(r##"{{"username":"u","clientid":"c","topic":"t/#","acc":{acc}}}"##);
        let form = format!("username=u&clientid=c&topic=t%2F%23&acc={acc}");
        assert_eq!(authorize_request_of(parse_json(Route::MosquittoAcl, &json)).accesses, expected);
        assert_eq!(authorize_request_of(parse_form(Route::MosquittoAcl, &form)).accesses, expected);
    }
    for acc in ["0", "5", "8", "x", ""] {
        let form = format!("username=u&clientid=c&topic=t&acc={acc}");
        assert_eq!(error_of(parse_form(Route::MosquittoAcl, &form)), RequestError::InvalidValue("acc"));
    }
    let superuser = parse_json(Route::MosquittoSuperuser, r#"{"username":"u"}"#);
    assert!(matches!(request_of(superuser), AuthRequest::AlwaysDeny));
}

#[test]
fn vernemq_hook_header_selects_the_operation() {
    let parse_it = |hook: &str, body: &str| {
        let headers = [("content-type", "application/json"), ("vernemq-hook", hook)];
        parse(Route::Vernemq, Method::Post, None, &headers, body.as_bytes())
    };
    for version in ["", "_m5"] {
        let register = parse_it(
            &format!("auth_on_register{version}"),
            r#"{"peer_addr":"127.0.0.1","peer_port":8888,"username":"u","password":"p","mountpoint":"","client_id":"c",
                "clean_session":false}"#,
        );
        let credentials = credentials_of(register);
        assert!(credentials.client_id == "c" && credentials.password.as_deref() == Some(b"p"));
        assert_eq!(credentials.peer_host.as_deref(), Some("127.0.0.1"));
        let anonymous = r#"{"username":null,"password":null,"client_id":"c","peer_addr":"::1"}"#;
        assert!(credentials_of(parse_it(&format!("auth_on_register{version}"), anonymous)).username.is_none());

        let publish = r#"{"username":"u","client_id":"c","qos":1,"topic":"a/b","payload":"aGVsbG8=","retain":false}"#;
        let request = authorize_request_of(parse_it(&format!("auth_on_publish{version}"), publish));
        let reported = TopicAccess { qos: Some(1), retain: Some(false), ..access(Action::Publish, "a/b") };
        assert_eq!(request.accesses, [reported]);
        assert!(request.attributes.iter().all(|(name, _)| name != "payload"));

        let subscribe =
            r##"{"client_id":"c","username":"u","topics":[{"topic":"a/b","qos":1},{"topic":"c/#","qos":2}]}"##;
        let request = authorize_request_of(parse_it(&format!("auth_on_subscribe{version}"), subscribe));
        let with_qos = |filter, qos| TopicAccess { qos: Some(qos), ..access(Action::Subscribe, filter) };
        assert_eq!(request.accesses, [with_qos("a/b", 1), with_qos("c/#", 2)]);
    }
    for (hook, body, expected) in [
        ("on_register", r#"{"client_id":"c"}"#, RequestError::InvalidValue("the header vernemq-hook")),
        ("auth_on_subscribe", r#"{"client_id":"c","topics":[]}"#, RequestError::Missing("topics")),
        ("auth_on_subscribe", r#"{"client_id":"c"}"#, RequestError::Missing("topics")),
        ("auth_on_subscribe", r#"{"client_id":"c","topics":"a"}"#, RequestError::NotAnArray("topics")),
        ("auth_on_subscribe", r#"{"client_id":"c","topics":[{"topic":""}]}"#, RequestError::NotAnArray("topics")),
        ("auth_on_publish", r#"{"client_id":"c"}"#, RequestError::Missing("topic")),
        ("auth_on_publish", r#"{"topic":"a"}"#, RequestError::Missing("client_id")),
    ] {
        assert_eq!(error_of(parse_it(hook, body)), expected, "{hook} {body}");
    }
    assert_eq!(error_of(parse_json(Route::Vernemq, "{}")), RequestError::Missing("the header vernemq-hook"));
}

#[test]
fn routes_match_whole_paths() {
    for route in Route::ALL {
        assert_eq!(Routes::default().find(route.path()), Some(route));
        assert_eq!(Routes::default().find(&format!("{}/", route.path())), None);
    }
    for near in ["/emqx", "//emqx/auth", "/EMQX/auth", "/emqx%2Fauth", "/%65mqx/auth", "/gate/emqx/auth?x=1"] {
        assert_eq!(Routes::default().find(near), None, "{near}");
    }
}

/// The requests of `emqx_auth_http` 4.4 with its default parameters.
#[test]
fn requests_of_emqx_4_are_recognised() {
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let action = b"access=2&username=u&clientid=c&ipaddr=127.0.0.1&topic=t&mountpoint=undefined";
    let parse_action = |route, body: &[u8]| parse(route, Method::Post, None, &form, body);
    let error = error_of(parse_action(Route::EmqxAcl, action));
    assert_eq!(error, RequestError::Emqx4);
    let reply = Route::EmqxAcl.render(brokers::Outcome::Malformed(&error));
    assert_eq!(reply.status, 403, "EMQX 4 reads every status 200 as a permission");
    // By status, the same request has a right answer.
    assert!(parse_action(Route::MqttAcl, action).is_ok());
    // rmqtt sends no mount point, and EMQX 5 an action.
    assert!(parse_action(Route::EmqxAcl, b"access=2&username=u&clientid=c&topic=t").is_ok());
    assert!(parse_action(Route::EmqxAcl, b"access=2&action=publish&mountpoint=m&clientid=c&topic=t").is_ok());

    let login = b"clientid=c&username=u&password=p";
    let warns = |headers: &[(&str, &str)], method, query, body: &[u8]| {
        let parsed = parse(Route::EmqxAuth, method, query, headers, body).unwrap_or_else(|error| panic!("{error}"));
        parsed.warnings.contains(&ConfigWarning::LooksLikeEmqx4)
    };
    let with = |name, value| [form[0], (name, value)];
    assert!(warns(&form, Method::Post, None, login));
    assert!(warns(&with("accept", "*/*"), Method::Post, None, login));
    assert!(warns(&[], Method::Get, Some("clientid=c&username=u&password=p"), b""));
    assert!(!warns(&with("accept", "application/json"), Method::Post, None, login), "EMQX 5");
    assert!(!warns(&with("user-agent", "curl/8"), Method::Post, None, login), "a person");
    let json = [("content-type", "application/json")];
    assert!(!warns(&json, Method::Post, None, br#"{"clientid":"c","username":"u","password":"p"}"#));
}
