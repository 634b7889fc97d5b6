//! How EMQX 5.8.9 and 6.2.2 read replies, in both security profiles: as measured, and for every reply of the gate.

use brokers::{
    Access, Authorizer, BrokerKind, FaultReply, Grant, Outcome, Permission, Reply, RequestError, Route, Routes,
};
use serde_json::Value;

use crate::broker_models::Profile::{Hardened, Legacy};
use crate::broker_models::Reading::{Allowed, PassedOn, Refused};
use crate::broker_models::{
    self as models, Reading, Seen, emqx_6_authentication as authentication, emqx_6_authorization as authorization,
};
use crate::properties::NOW;

const JSON: Option<&str> = Some("application/json");

fn seen(reply: &Reply) -> Seen<'_> {
    Seen { status: reply.status, content_type: Some(reply.content_type), body: &reply.body }
}

/// Measured on 6.2.2: the final outcome with a second authenticator that knows the client, and with
/// `no_match = allow`. There, *pass on* lets the client in.
#[test]
fn the_model_of_emqx_6_agrees_with_the_measurements() {
    let row = |status, content_type, body| Seen { status, content_type, body };
    // The reply; authentication in the legacy and in the hardened profile; authorization in both.
    for (seen, [authn_legacy, authn_hardened, authz_legacy, authz_hardened]) in [
        (row(200, JSON, r#"{"result":"allow"}"#), [Allowed; 4]),
        (row(200, JSON, r#"{"result":"deny"}"#), [Refused; 4]),
        (row(200, JSON, r#"{"result":"ignore"}"#), [PassedOn; 4]),
        (row(200, JSON, "{}"), [PassedOn, PassedOn, PassedOn, Refused]),
        (row(200, JSON, "garbage"), [PassedOn, Refused, PassedOn, Refused]),
        (row(200, JSON, r#"{"result":"maybe"}"#), [PassedOn, Refused, PassedOn, Refused]),
        (row(200, Some("text/plain"), "allow"), [PassedOn, Refused, PassedOn, Refused]),
        (row(200, None, r#"{"result":"allow"}"#), [PassedOn, Refused, Allowed, Allowed]),
        (row(301, JSON, ""), [PassedOn, Refused, PassedOn, Refused]),
        (row(401, JSON, r#"{"result":"deny"}"#), [PassedOn, Refused, PassedOn, Refused]),
        (row(503, JSON, r#"{"result":"deny"}"#), [PassedOn, Refused, PassedOn, Refused]),
    ] {
        assert_eq!(authentication(&seen, NOW, Legacy), authn_legacy, "{seen:?}");
        assert_eq!(authentication(&seen, NOW, Hardened), authn_hardened, "{seen:?}");
        assert_eq!(authorization(&seen, Legacy), authz_legacy, "{seen:?}");
        assert_eq!(authorization(&seen, Hardened), authz_hardened, "{seen:?}");
    }
}

/// How each version reads a reply on a route.
fn readings(route: Route, reply: &Reply) -> [Reading; 3] {
    let seen = seen(reply);
    if route == Route::EmqxAuth {
        let old = models::emqx_authentication(&seen, NOW).reading;
        [old, authentication(&seen, NOW, Legacy), authentication(&seen, NOW, Hardened)]
    } else {
        [models::emqx_authorization(&seen), authorization(&seen, Legacy), authorization(&seen, Hardened)]
    }
}

#[test]
fn every_version_reads_every_reply_of_the_gate_alike() {
    let routes = Routes::for_kinds(&[BrokerKind::Emqx]);
    let error = RequestError::Empty;
    for route in [Route::EmqxAuth, Route::EmqxAcl] {
        for (outcome, reading) in [
            (route.authorize_outcome(Permission::Allow), Allowed),
            (Outcome::Deny, Refused),
            (Outcome::Error, Refused),
            (Outcome::Malformed(&error), Refused),
            (Outcome::Ignore, PassedOn),
        ] {
            assert_eq!(readings(route, &routes.render(route, outcome.clone())), [reading; 3], "{route:?} {outcome:?}");
        }
    }
}

#[test]
fn a_503_is_final_only_in_the_hardened_profile() {
    let routes = Routes::for_kinds(&[BrokerKind::Emqx]).with_emqx_fault_reply(FaultReply::Unavailable);
    for route in [Route::EmqxAuth, Route::EmqxAcl] {
        assert_eq!(readings(route, &routes.render(route, Outcome::Error)), [PassedOn, PassedOn, Refused]);
        assert_eq!(readings(route, &routes.render(route, Outcome::Deny)), [Refused; 3]);
    }
}

/// EMQX 5.8 ignores members of a rule that it does not know, such as `ipaddr`, and the rule then holds for everybody.
#[test]
fn a_reply_has_only_members_that_emqx_5_8_applies() {
    let grant = Grant {
        access: Access::Only { publish: vec!["a/+".to_owned()], subscribe: vec!["b/#".to_owned()] },
        expires_at: Some(NOW + 60),
        attributes: vec![("tenant".to_owned(), "t".to_owned())],
        extensions: Vec::new(),
    };
    let superuser = Grant { access: Access::Everything, ..grant.clone() };
    for grant in [grant, superuser] {
        let reply = Route::EmqxAuth.allow_login(&grant, Authorizer::Present, NOW).unwrap();
        let reply = Route::EmqxAuth.render(Outcome::Allow(reply));
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        let known = ["result", "is_superuser", "client_attrs", "expire_at", "acl"];
        assert!(body.as_object().unwrap().keys().all(|name| known.contains(&name.as_str())), "{body}");
        for rule in body["acl"].as_array().into_iter().flatten() {
            let mut names: Vec<_> = rule.as_object().unwrap().keys().map(String::as_str).collect();
            names.sort_unstable();
            assert_eq!(names, ["action", "permission", "topics"], "{body}");
        }
    }
}
