//! What each broker asks is read right, and nothing else is read into it.

use brokers::{Action, AuthRequest, ConfigWarning, Credentials, Method, RequestError, Route, TopicAccess};

use crate::{actions, login, problem, question, read, read_form, read_json, read_query};

pub(crate) fn accesses(action: Action, topic: &str) -> TopicAccess {
    TopicAccess { action, topic: topic.to_owned() }
}

#[test]
fn the_three_ways_of_asking_say_the_same() {
    let client = Credentials {
        client_id: "c l+i/e=n&t".into(),
        username: Some("us er+/=&é".into()),
        password: Some(b"pa+ss/==".to_vec()),
        peer_host: Some("127.0.0.1".into()),
        attributes: vec![("listener".into(), "tcp:default".into())],
    };
    let as_form = "clientid=c+l%2Bi%2Fe%3Dn%26t&username=us+er%2B%2F%3D%26%C3%A9&password=pa%2Bss%2F%3D%3D\
                   &peerhost=127.0.0.1&listener=tcp%3Adefault";
    let as_json = r#"{"client_id":"c l+i/e=n&t","username":"us er+/=&é","password":"pa+ss/==",
                      "client_ip":"127.0.0.1","listener":"tcp:default"}"#;
    for route in [Route::MqttAuth, Route::EmqxAuth] {
        for asked in [read_form(route, as_form), read_query(route, as_form), read_json(route, as_json)] {
            assert!(login(asked) == client, "{route:?}");
        }
    }
}

#[test]
fn a_password_in_a_form_or_a_query_is_bytes() {
    for asked in [
        read_form(Route::EmqxAuth, "clientid=c&password=%FF%FF%00"),
        read_query(Route::EmqxAuth, "clientid=c&password=%FF%FF%00"),
    ] {
        assert_eq!(login(asked).password, Some(vec![255, 255, 0]));
    }
    assert_eq!(problem(read_form(Route::EmqxAuth, "clientid=%FF")), RequestError::NotUtf8("clientid"));
}

#[test]
fn what_is_empty_was_not_sent() {
    for route in [Route::MqttAuth, Route::EmqxAuth] {
        let who = login(read_json(route, r#"{"clientid":"","username":"","password":"","peerhost":""}"#));
        assert!(who.client_id.is_empty() && who.username.is_none() && who.password.is_none());
        assert!(who.peer_host.is_none());
    }
}

#[test]
fn known_members_are_text_and_others_anything() {
    for name in ["client_id", "username", "password"] {
        for value in ["7", "null", "true", "[]", r#"{"$ne":""}"#] {
            let id = if name == "client_id" { "x" } else { "client_id" };
            let body = format!(r#"{{"{id}":"c","{name}":{value}}}"#);
            assert_eq!(problem(read_json(Route::MqttAuth, &body)), RequestError::NotText(name), "{body}");
        }
    }
    let who = login(read_json(Route::EmqxAuth, r#"{"clientid":"c","port":1883,"tls":true,"x":null,"y":[1]}"#));
    let attributes: Vec<_> = who.attributes.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(attributes, ["1883", "true", "null", "[1]"]);
}

#[test]
fn nothing_is_there_twice() {
    for route in [Route::MqttAuth, Route::EmqxAuth] {
        for (asked, name) in [
            (read_json(route, r#"{"clientid":"a","client_id":"a"}"#), "clientid"),
            (read_json(route, r#"{"clientid":"a","password":"p","password":"q"}"#), "password"),
            (read_json(route, r#"{"clientid":"a","x":"p","x":"p"}"#), "a field"),
            (read_form(route, "clientid=a&clientid=b"), "clientid"),
            (read_query(route, "clientid=a&username=u&username=u"), "username"),
        ] {
            assert_eq!(problem(asked), RequestError::Duplicate(name));
        }
    }
}

#[test]
fn what_stands_in_the_query_and_in_the_body_has_to_be_the_same() {
    let json = [("content-type", "application/json")];
    let ask = |query, body: &str| read(Route::EmqxAcl, Method::Post, Some(query), &json, body.as_bytes());
    let both = actions(ask("topic=t&action=publish", r#"{"clientid":"c","username":"u","topic":"t"}"#));
    assert_eq!((both.accesses, both.attributes), (vec![accesses(Action::Publish, "t")], vec![]));
    let contrary = ask("topic=t&action=publish", r#"{"clientid":"c","topic":"u"}"#);
    assert_eq!(problem(contrary), RequestError::Duplicate("topic"));
    let spelt_otherwise = ask("client_id=a&topic=t&action=publish", r#"{"clientid":"b"}"#);
    assert_eq!(problem(spelt_otherwise), RequestError::Duplicate("clientid"));
}

#[test]
fn what_is_no_request_is_told_apart() {
    for route in [Route::MqttAuth, Route::EmqxAuth] {
        assert_eq!(problem(read_json(route, "")), RequestError::NotJson);
        assert_eq!(problem(read_json(route, "{")), RequestError::NotJson);
        assert_eq!(problem(read_json(route, r#"{"clientid":"c"} x"#)), RequestError::NotJson);
        assert_eq!(problem(read_json(route, r#""clientid""#)), RequestError::NotAnObject);
        assert_eq!(problem(read_json(route, r#"["clientid"]"#)), RequestError::NotAnObject);
        assert_eq!(problem(read_json(route, "{}")), RequestError::Empty);
        assert_eq!(problem(read_query(route, "")), RequestError::Empty);
        assert_eq!(problem(read_form(route, r#"{"clientid":"c"}"#)), RequestError::JsonAsForm);
        let text = read(route, Method::Post, None, &[("content-type", "text/plain")], b"{}");
        assert_eq!(problem(text), RequestError::ContentType);
        let unreadable = read(route, Method::Post, None, &[("content-type", "")], b"{}");
        assert_eq!(problem(unreadable), RequestError::ContentType);
        let many: String = (0..300).map(|n| format!("m{n}=x&")).collect();
        assert_eq!(problem(read_form(route, &many)), RequestError::TooManyFields { limit: 256 });
    }
}

#[test]
fn a_client_without_an_id_is_judged_for_emqx_and_no_client_for_the_others() {
    let body = r#"{"username":"u","password":"p"}"#;
    let asked = read_json(Route::EmqxAuth, body).unwrap_or_else(|_| panic!("should be read"));
    assert_eq!(asked.warnings, [ConfigWarning::Missing("clientid")]);
    assert!(login(read_json(Route::EmqxAuth, body)).client_id.is_empty());
    for route in [Route::MqttAuth, Route::RabbitmqUser, Route::MosquittoUser] {
        assert_eq!(problem(read_json(route, body)), RequestError::Missing("client_id"));
    }
}

#[test]
fn a_mistake_in_the_brokers_template_is_seen() {
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
        let asked = read_json(Route::EmqxAuth, body).unwrap_or_else(|_| panic!("should be read"));
        assert_eq!(asked.warnings, warnings, "{body}");
    }
    let headers = [("content-type", "application/json"), ("keep-alive", "timeout=30, max=1000")];
    let by_status = read(Route::MqttAuth, Method::Post, None, &headers, br#"{"clientid":"c"}"#);
    assert_eq!(by_status.map(|asked| asked.warnings), Ok(vec![ConfigWarning::EmqxOnStatusRoute]));
}

#[test]
fn the_action_is_read_as_each_broker_writes_it() {
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
            let asked = read_json(route, &format!(r#"{{"clientid":"c","username":"u","topic":"t/1",{field}}}"#));
            let expected: Vec<_> = expected.into_iter().map(|action| accesses(action, "t/1")).collect();
            assert_eq!(actions(asked).accesses, expected, "{field}");
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
            let asked = read_json(route, &format!(r#"{{"clientid":"c","username":"u",{fields}}}"#));
            assert_eq!(problem(asked), expected, "{fields}");
        }
    }
}

#[test]
fn nanomq_asks_about_several_filters_as_one() {
    let ask = |action: &str, topic: &str| {
        actions(read_form(Route::MqttAcl, &format!("clientid=c&username=u&access={action}&topic={topic}"))).accesses
    };
    let subscribe = |topics: &[&str]| topics.iter().map(|topic| accesses(Action::Subscribe, topic)).collect::<Vec<_>>();
    assert_eq!(ask("1", "a/x,%23"), subscribe(&["a/x,#", "a/x", "#"]));
    assert_eq!(ask("2", "a,b"), [accesses(Action::Publish, "a,b")]);
    let by_amqtt = read_json(Route::MqttAcl, r#"{"client_id":"c","username":"u","acc":4,"topic":"a,b"}"#);
    assert_eq!(actions(by_amqtt).accesses, [accesses(Action::Subscribe, "a,b")]);
    let endless = format!("clientid=c&username=u&access=1&topic={}", "a,".repeat(1_000));
    assert_eq!(problem(read_form(Route::MqttAcl, &endless)), RequestError::TooManyFields { limit: 256 });
}

#[test]
fn mosquitto_asks_in_numbers() {
    for (acc, expected) in [
        ("1", vec![Action::Subscribe]),
        ("2", vec![Action::Publish]),
        ("3", vec![Action::Subscribe, Action::Publish]),
        ("4", vec![Action::Subscribe]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|action| accesses(action, "t/#")).collect();
        let json = format!(r##"{{"username":"u","clientid":"c","topic":"t/#","acc":{acc}}}"##);
        let form = format!("username=u&clientid=c&topic=t%2F%23&acc={acc}");
        assert_eq!(actions(read_json(Route::MosquittoAcl, &json)).accesses, expected);
        assert_eq!(actions(read_form(Route::MosquittoAcl, &form)).accesses, expected);
    }
    for acc in ["0", "5", "8", "x", ""] {
        let form = format!("username=u&clientid=c&topic=t&acc={acc}");
        assert_eq!(problem(read_form(Route::MosquittoAcl, &form)), RequestError::InvalidValue("acc"));
    }
    let superuser = read_json(Route::MosquittoSuperuser, r#"{"username":"u"}"#);
    assert!(matches!(question(superuser), AuthRequest::AlwaysDeny));
}

#[test]
fn vernemq_says_in_a_header_what_it_asks() {
    let ask = |hook: &str, body: &str| {
        let headers = [("content-type", "application/json"), ("vernemq-hook", hook)];
        read(Route::Vernemq, Method::Post, None, &headers, body.as_bytes())
    };
    for version in ["", "_m5"] {
        let register = ask(
            &format!("auth_on_register{version}"),
            r#"{"peer_addr":"127.0.0.1","peer_port":8888,"username":"u","password":"p","mountpoint":"","client_id":"c",
                "clean_session":false}"#,
        );
        let who = login(register);
        assert!(who.client_id == "c" && who.password.as_deref() == Some(b"p"));
        assert_eq!(who.peer_host.as_deref(), Some("127.0.0.1"));
        let anonymous = r#"{"username":null,"password":null,"client_id":"c","peer_addr":"::1"}"#;
        assert!(login(ask(&format!("auth_on_register{version}"), anonymous)).username.is_none());

        let publish = r#"{"username":"u","client_id":"c","qos":1,"topic":"a/b","payload":"aGVsbG8=","retain":false}"#;
        let what = actions(ask(&format!("auth_on_publish{version}"), publish));
        assert_eq!(what.accesses, [accesses(Action::Publish, "a/b")]);
        assert!(what.attributes.iter().all(|(name, _)| name != "payload"));

        let subscribe =
            r##"{"client_id":"c","username":"u","topics":[{"topic":"a/b","qos":1},{"topic":"c/#","qos":2}]}"##;
        let what = actions(ask(&format!("auth_on_subscribe{version}"), subscribe));
        assert_eq!(what.accesses, [accesses(Action::Subscribe, "a/b"), accesses(Action::Subscribe, "c/#")]);
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
        assert_eq!(problem(ask(hook, body)), expected, "{hook} {body}");
    }
    assert_eq!(problem(read_json(Route::Vernemq, "{}")), RequestError::Missing("the header vernemq-hook"));
}

#[test]
fn a_route_is_found_by_its_whole_path() {
    for route in Route::ALL {
        assert_eq!(Route::of(route.path()), Some(route));
        assert_eq!(Route::of(&format!("{}/", route.path())), None);
    }
    assert_eq!(Route::of("/emqx"), None);
    for near in ["/emqx", "//emqx/auth", "/EMQX/auth", "/emqx%2Fauth", "/%65mqx/auth", "/gate/emqx/auth?x=1"] {
        assert!(Route::of(near).is_none() && Route::looks_like_emqx(near), "{near}");
    }
    assert!(!Route::looks_like_emqx("/mqtt/auth?x=emqx"));
}
