//! What a grant comes to in EMQX, and which grants are refused instead.

use brokers::{Access, Grant, Outcome, Route, UnfitGrant};
use serde_json::{Value, json};

use crate::broker_models::{Admitted, Reading, Seen, emqx_authentication};

const NOW: u64 = 1_760_000_000;

fn only(publish: &[&str], subscribe: &[&str]) -> Access {
    let list = |filters: &[&str]| filters.iter().map(|&filter| filter.to_owned()).collect();
    Access::Only { publish: list(publish), subscribe: list(subscribe) }
}

fn body(grant: &Grant) -> Value {
    let admission = Route::EmqxAuth.admit(grant, NOW).unwrap();
    serde_json::from_str(&Route::EmqxAuth.render(Outcome::Allow(admission)).body).unwrap()
}

fn read_by_emqx(grant: &Grant) -> Admitted {
    let reply = Route::EmqxAuth.render(Outcome::Allow(Route::EmqxAuth.admit(grant, NOW).unwrap()));
    let seen = Seen { status: reply.status, content_type: Some(reply.content_type), body: &reply.body };
    emqx_authentication(&seen, NOW)
}

#[test]
fn a_grant_is_told_member_by_member() {
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
        // An EMQX that asks by status is told the same.
        let by_status = Route::MqttAuth.admit(&grant, NOW).map(|it| Route::MqttAuth.render(Outcome::Allow(it)));
        assert_eq!(serde_json::from_str::<Value>(&by_status.unwrap().body).unwrap(), expected);
    }
}

#[test]
fn what_emqx_would_read_otherwise_is_refused() {
    let attributes = |pairs: &[(&str, &str)]| Grant {
        attributes: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..Grant::default()
    };
    let publish = |filter: &str| Grant { access: only(&[filter], &[]), ..Grant::default() };
    let subscribe = |filter: &str| Grant { access: only(&[], &[filter]), ..Grant::default() };
    let until = |end| Grant { expires_at: Some(end), ..Grant::default() };
    for (grant, problem) in [
        (until(0), UnfitGrant::Expired),
        (until(NOW), UnfitGrant::Expired),
        (until(NOW * 1_000), UnfitGrant::NotSeconds),
        (until(u64::MAX), UnfitGrant::NotSeconds),
        (attributes(&[("", "")]), UnfitGrant::AttributeName),
        (attributes(&[("-a", "")]), UnfitGrant::AttributeName),
        (attributes(&[("_a", "")]), UnfitGrant::AttributeName),
        (attributes(&[("a b", "")]), UnfitGrant::AttributeName),
        (attributes(&[("a.b", "")]), UnfitGrant::AttributeName),
        (attributes(&[("é", "")]), UnfitGrant::AttributeName),
        (attributes(&[("a\n", "")]), UnfitGrant::AttributeName),
        (attributes(&[("a", "1"), ("a", "1")]), UnfitGrant::AttributeTwice),
        (publish(""), UnfitGrant::NotAFilter),
        (publish("a/#/b"), UnfitGrant::NotAFilter),
        (subscribe("a+"), UnfitGrant::NotAFilter),
        (subscribe("a\0"), UnfitGrant::NotAFilter),
        (subscribe(&"x".repeat(65_536)), UnfitGrant::NotAFilter),
        (publish("eq a"), UnfitGrant::FilterWithMeaning),
        (subscribe("a/${clientid}"), UnfitGrant::FilterWithMeaning),
        (subscribe("${x"), UnfitGrant::FilterWithMeaning),
        (subscribe("$share/g/a"), UnfitGrant::FilterWithMeaning),
        (subscribe("$queue/a"), UnfitGrant::FilterWithMeaning),
        (subscribe("$exclusive/a"), UnfitGrant::FilterWithMeaning),
        (subscribe("+/+"), UnfitGrant::FilterTooWide),
        (subscribe("a/+/x/+"), UnfitGrant::FilterTooWide),
        (subscribe("a/+/+/#"), UnfitGrant::FilterTooWide),
    ] {
        for route in [Route::EmqxAuth, Route::MqttAuth] {
            assert_eq!(route.admit(&grant, NOW).err(), Some(problem), "{route:?} {grant:?}");
        }
    }
    for end in [0, NOW, NOW * 1_000] {
        for route in [Route::RabbitmqUser, Route::MosquittoUser, Route::Vernemq] {
            assert!(route.admit(&until(end), NOW).is_err(), "{route:?}");
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
        assert_eq!(read_by_emqx(&fine).reading, Reading::Allowed, "{fine:?}");
    }
}

#[test]
fn a_wildcard_at_the_beginning_opens_none_of_emqx_own_topics() {
    let admitted = read_by_emqx(&Grant { access: only(&["#", "$SYS/own"], &["+/x", "#"]), ..Grant::default() });
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
fn a_subscription_reaches_no_further_than_its_plus() {
    let admitted = read_by_emqx(&Grant { access: only(&[], &["a/+", "b/+/#", "+"]), ..Grant::default() });
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
    // What is granted by itself is not taken away by that.
    for wider in ["a/#", "#", "+/#"] {
        let admitted = read_by_emqx(&Grant { access: only(&[], &["a/+", wider]), ..Grant::default() });
        assert_eq!(admitted.permits("subscribe", "a/#", false), Some(true), "{wider}");
    }
}
