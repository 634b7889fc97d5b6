//! Grants in replies to EMQX, and the grants that are rejected because EMQX cannot enforce them.

use brokers::{Access, Authorizer, Grant, Outcome, Route, UnsupportedGrant};
use serde_json::{Value, json};

use crate::broker_models::{Admitted, Reading, Seen, emqx_authentication};

const NOW: u64 = 1_760_000_000;

fn only(publish: &[&str], subscribe: &[&str]) -> Access {
    let list = |filters: &[&str]| filters.iter().map(|&filter| filter.to_owned()).collect();
    Access::Only { publish: list(publish), subscribe: list(subscribe) }
}

fn body(grant: &Grant) -> Value {
    let admission = Route::EmqxAuth.allow_login(grant, Authorizer::Present, NOW).unwrap();
    serde_json::from_str(&Route::EmqxAuth.render(Outcome::Allow(admission)).body).unwrap()
}

fn admitted_by_emqx(grant: &Grant) -> Admitted {
    let reply =
        Route::EmqxAuth.render(Outcome::Allow(Route::EmqxAuth.allow_login(grant, Authorizer::Present, NOW).unwrap()));
    let seen = Seen { status: reply.status, content_type: Some(reply.content_type), body: &reply.body };
    emqx_authentication(&seen, NOW)
}

#[test]
fn emqx_reply_holds_each_part_of_the_grant() {
    let closed = json!({ "permission": "deny", "action": "all", "topics": ["#", "$SYS/#", "$delayed/#", "$file/#"] });
    for (grant, expected) in [
        (Grant::default(), json!({ "result": "allow" })),
        (Grant { access: Access::Everything, ..Grant::default() }, json!({ "result": "allow", "is_superuser": true })),
        (Grant { expires_at: Some(NOW + 60), ..Grant::default() }, json!({ "result": "allow", "expire_at": NOW + 60 })),
        (
            Grant { attributes: vec![("tier".into(), "g\"old".into())], ..Grant::default() },
            json!({ "result": "allow", "client_attrs": { "tier": "g\"old" } }),
        ),
        (
            Grant { access: only(&["up/a", "log/a/#"], &["down/a/#"]), ..Grant::default() },
            json!({ "result": "allow", "acl": [
                { "permission": "allow", "action": "publish", "topics": ["up/a", "log/a/#"] },
                { "permission": "allow", "action": "subscribe", "topics": ["down/a/#"] },
                closed.clone(),
            ] }),
        ),
        (Grant { access: only(&[], &[]), ..Grant::default() }, json!({ "result": "allow", "acl": [closed.clone()] })),
        (
            Grant { access: only(&[], &["a/+"]), ..Grant::default() },
            json!({ "result": "allow", "acl": [
                { "permission": "deny", "action": "subscribe", "topics": ["eq a/#"] },
                { "permission": "allow", "action": "subscribe", "topics": ["a/+"] },
                closed,
            ] }),
        ),
    ] {
        assert_eq!(body(&grant), expected);
        // The status route has the same body, for an EMQX that uses it.
        let by_status = Route::MqttAuth
            .allow_login(&grant, Authorizer::Present, NOW)
            .map(|it| Route::MqttAuth.render(Outcome::Allow(it)));
        assert_eq!(serde_json::from_str::<Value>(&by_status.unwrap().body).unwrap(), expected);
    }
}

#[test]
fn grants_that_emqx_cannot_enforce_are_rejected() {
    let attributes = |pairs: &[(&str, &str)]| Grant {
        attributes: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..Grant::default()
    };
    let publish = |filter: &str| Grant { access: only(&[filter], &[]), ..Grant::default() };
    let subscribe = |filter: &str| Grant { access: only(&[], &[filter]), ..Grant::default() };
    let until = |end| Grant { expires_at: Some(end), ..Grant::default() };
    for (grant, error) in [
        (until(0), UnsupportedGrant::Expired),
        (until(NOW), UnsupportedGrant::Expired),
        (until(NOW * 1_000), UnsupportedGrant::NotSeconds),
        (until(u64::MAX), UnsupportedGrant::NotSeconds),
        (attributes(&[("", "")]), UnsupportedGrant::AttributeName),
        (attributes(&[("-a", "")]), UnsupportedGrant::AttributeName),
        (attributes(&[("_a", "")]), UnsupportedGrant::AttributeName),
        (attributes(&[("a b", "")]), UnsupportedGrant::AttributeName),
        (attributes(&[("a.b", "")]), UnsupportedGrant::AttributeName),
        (attributes(&[("é", "")]), UnsupportedGrant::AttributeName),
        (attributes(&[("a\n", "")]), UnsupportedGrant::AttributeName),
        (attributes(&[("a", "1"), ("a", "1")]), UnsupportedGrant::DuplicateAttribute),
        (publish(""), UnsupportedGrant::InvalidFilter),
        (publish("a/#/b"), UnsupportedGrant::InvalidFilter),
        (subscribe("a+"), UnsupportedGrant::InvalidFilter),
        (subscribe("a\0"), UnsupportedGrant::InvalidFilter),
        (subscribe(&"x".repeat(65_536)), UnsupportedGrant::InvalidFilter),
        (publish("eq a"), UnsupportedGrant::ReservedFilter),
        (subscribe("a/${clientid}"), UnsupportedGrant::ReservedFilter),
        (subscribe("${x"), UnsupportedGrant::ReservedFilter),
        (subscribe("$share/g/a"), UnsupportedGrant::ReservedFilter),
        (subscribe("$queue/a"), UnsupportedGrant::ReservedFilter),
        (subscribe("$exclusive/a"), UnsupportedGrant::ReservedFilter),
        (subscribe("+/+"), UnsupportedGrant::FilterTooWide),
        (subscribe("a/+/x/+"), UnsupportedGrant::FilterTooWide),
        (subscribe("a/+/+/#"), UnsupportedGrant::FilterTooWide),
    ] {
        for route in [Route::EmqxAuth, Route::MqttAuth] {
            assert_eq!(route.allow_login(&grant, Authorizer::Present, NOW).err(), Some(error), "{route:?} {grant:?}");
        }
    }
    for end in [0, NOW, NOW * 1_000] {
        for route in [Route::RabbitmqUser, Route::MosquittoUser, Route::Vernemq] {
            assert!(route.allow_login(&until(end), Authorizer::Present, NOW).is_err(), "{route:?}");
        }
    }
    for fine in [
        until(NOW + 1),
        until(4_102_444_800),
        attributes(&[("0a-_Z", "ü\0")]),
        publish("a/eq b/$x/ä"),
        publish("+/+"),
        subscribe("+/+/x"),
    ] {
        assert_eq!(admitted_by_emqx(&fine).reading, Reading::Allowed, "{fine:?}");
    }
}

#[test]
fn leading_wildcard_does_not_allow_emqx_system_topics() {
    let admitted = admitted_by_emqx(&Grant { access: only(&["#", "$SYS/own"], &["+/x", "#"]), ..Grant::default() });
    for wild_matches_dollar in [false, true] {
        let may = |action, topic| admitted.permits(action, topic, wild_matches_dollar);
        assert_eq!(may("publish", "a/b"), Some(true));
        assert_eq!(may("subscribe", "#"), Some(true));
        assert_eq!(may("publish", "$SYS/own"), Some(true));
        for (action, topic) in [("publish", "$SYS/other"), ("publish", "$delayed/1/a"), ("subscribe", "$SYS/#")] {
            assert_eq!(may(action, topic), Some(false), "{topic}");
        }
    }
}

#[test]
fn plus_does_not_allow_the_wider_hash() {
    let admitted = admitted_by_emqx(&Grant { access: only(&[], &["a/+", "b/+/#", "+"]), ..Grant::default() });
    for (topic, allowed) in [
        ("a/x", true),
        ("a/+", true),
        ("a/#", false),
        ("b/x/#", true),
        ("b/+/x", true),
        ("b/#", false),
        ("#", false),
        ("x", true),
        ("x/#", false),
    ] {
        assert_eq!(admitted.permits("subscribe", topic, false), Some(allowed), "{topic}");
    }
    // A wider filter that is granted itself stays allowed.
    for wider in ["a/#", "#", "+/#"] {
        let admitted = admitted_by_emqx(&Grant { access: only(&[], &["a/+", wider]), ..Grant::default() });
        assert_eq!(admitted.permits("subscribe", "a/#", false), Some(true), "{wider}");
    }
}

/// VerneMQ would widen such a grant to its own rules, and the others would deny every topic of it.
#[test]
fn topics_of_a_grant_need_an_authorizer_where_the_broker_asks_about_each() {
    for route in [Route::RabbitmqUser, Route::MosquittoUser, Route::Vernemq] {
        for access in [only(&["a"], &[]), only(&[], &["a"])] {
            let grant = Grant { access, ..Grant::default() };
            let absent = route.allow_login(&grant, Authorizer::Absent, NOW);
            assert_eq!(absent.err(), Some(UnsupportedGrant::NoAuthorizer), "{route:?}");
            assert!(route.allow_login(&grant, Authorizer::Present, NOW).is_ok(), "{route:?}");
        }
        for access in [Access::Everything, Access::BrokerRules] {
            let grant = Grant { access, ..Grant::default() };
            assert!(route.allow_login(&grant, Authorizer::Absent, NOW).is_ok(), "{route:?}");
        }
    }
    for route in [Route::EmqxAuth, Route::MqttAuth] {
        let grant = Grant { access: only(&["a"], &[]), ..Grant::default() };
        assert!(route.allow_login(&grant, Authorizer::Absent, NOW).is_ok(), "the reply carries the grant");
    }
}
