//! A test policy that fails in the way that the user name selects. Allows clients with any other user name, or none.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bindings::exports::mqtt_gate::auth::authenticator::{
    Access, Credentials, Denial, Effect, Grant, Guest, QosLevels, Reason, Rule, RuleAction, Topics, Verdict,
};
use bindings::exports::mqtt_gate::auth::authorizer;
use bindings::wasi::config::store;

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "access-policy", generate_all });
}

/// The test policy as a component.
pub struct Misbehaving;

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated from wit/")]
mod exports {
    use super::{Misbehaving, bindings};

    bindings::export!(Misbehaving with_types_in bindings);
}

impl Guest for Misbehaving {
    /// Fails in the way that the setting `check` selects, so that tests can have a policy that fails its preflight.
    fn check() -> Result<(), String> {
        match store::get("check") {
            Ok(Some(how)) if how == "tells" => Err(format!("told: {}", key())),
            Ok(Some(how)) if how == "fails" => Err("check: told to fail".into()),
            Ok(Some(how)) => misbehave(&how).map(drop),
            _ => Ok(()),
        }
    }

    fn authenticate(credentials: Credentials) -> Result<Verdict, String> {
        match credentials.username.as_deref().unwrap_or_default() {
            "ignore" => Ok(Verdict::Ignore),
            "quota" => deny(Reason::QuotaExceeded, "monthly-quota"),
            "odd detail" => deny(Reason::Unspecified, "Not a code!"),
            "password as detail" => {
                let password = credentials.password.unwrap_or_default();
                deny(Reason::Unspecified, &String::from_utf8_lossy(&password))
            }
            "method" => deny(Reason::BadAuthenticationMethod, ""),
            "tell me all" => {
                let password = credentials.password.unwrap_or_default();
                let attributes: String = credentials.attributes.into_iter().map(|(_, value)| value).collect();
                Err(format!("told: {} {} {} {attributes}", String::from_utf8_lossy(&password), "tell me all", key()))
            }
            "dump" => Err(format!("dump: {:?}", store::get_all())),
            "password as id" => {
                let password = credentials.password.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                Ok(Verdict::Allow(Grant { key_id: password, ..misbehave("")? }))
            }
            "remember" => {
                let password = credentials.password.unwrap_or_default();
                REMEMBERED.with_borrow_mut(|remembered| *remembered = String::from_utf8_lossy(&password).into_owned());
                misbehave("").map(Verdict::Allow)
            }
            "tell what you remember" => Err(REMEMBERED.with_borrow(Clone::clone)),
            how => misbehave(how).map(Verdict::Allow),
        }
    }
}

impl authorizer::Guest for Misbehaving {
    /// Fails in the way that the setting `authorize` selects, for every client: a policy that fails only here.
    fn authorize(request: authorizer::Request) -> Result<authorizer::Permission, String> {
        if let Ok(Some(how)) = store::get("authorize") {
            return misbehave(&how).map(|_| authorizer::Permission::Allow);
        }
        match request.username.as_deref().unwrap_or_default() {
            "ignore" => Ok(authorizer::Permission::Ignore),
            "tell me all" => Err(format!("told: {} {}", "tell me all", key())),
            how => misbehave(how).map(|_| authorizer::Permission::Allow),
        }
    }
}

fn deny(reason: Reason, detail: &str) -> Result<Verdict, String> {
    Ok(Verdict::Deny(Denial { reason, detail: Some(detail.to_owned()) }))
}

/// Calls with the user name `old` that an instance answers. Later ones fail.
const OLD_AFTER_CALLS: u32 = 3;

thread_local! {
    /// The password of an earlier client of this instance.
    static REMEMBERED: RefCell<String> = const { RefCell::new(String::new()) };
}

static CALLS: AtomicU32 = AtomicU32::new(0);

/// A secret that must not reach any log or answer.
fn key() -> String {
    store::get("signature-keys").ok().flatten().unwrap_or_default()
}

/// Returns a grant, fails or never returns, as `how` selects.
fn misbehave(how: &str) -> Result<Grant, String> {
    let (attributes, extensions) = (Vec::new(), Vec::new());
    let mut grant = Grant { access: Access::BrokerRules, expires_at: None, key_id: None, attributes, extensions };
    match how {
        "busy" => work_for_milliseconds(),
        "loop" => loop_forever(),
        "trap" => trap(),
        "hog" => exhaust_memory(),
        "recurse" => drop(black_box(recurse(1))),
        "old" if CALLS.fetch_add(1, Relaxed) >= OLD_AFTER_CALLS => return Err("told to answer only three calls".into()),
        "error" => return Err("told to reach no verdict".into()),
        "error-huge" => return Err("x".repeat(1 << 20)),
        "huge" => grant.attributes = vec![("name".to_owned(), "x".repeat(1 << 20))],
        "many" => grant.attributes = vec![(String::new(), String::new()); 400_000],
        "everything" => grant.access = Access::Everything,
        "attributes" => grant.attributes = vec![("tier".to_owned(), "\"gold\"".to_owned())],
        "attribute-name" => grant.attributes = vec![("no name".to_owned(), String::new())],
        "attribute-twice" => grant.attributes = vec![("name".to_owned(), String::new()); 2],
        "expired" => grant.expires_at = Some(1),
        "in milliseconds" => grant.expires_at = Some(4_102_444_800_000),
        "2100" => grant.expires_at = Some(4_102_444_800),
        "eq" => grant.access = only("eq a"),
        "placeholder" => grant.access = only("a/${clientid}"),
        "no filter" => grant.access = only("a/#/b"),
        "key as id" => grant.key_id = Some(key()),
        "part of key as id" => grant.key_id = Some(format!("k{}", key().get(..20).unwrap_or_default())),
        "odd id" => grant.key_id = Some("<b>\n2026-11".to_owned()),
        "long id" => grant.key_id = Some("x".repeat(65)),
        "good id" => grant.key_id = Some("2026-11".to_owned()),
        "only" => grant.access = only("a/b"),
        "rules" => grant.access = rules(None),
        "no qos" => grant.access = rules(Some(QosLevels::empty())),
        "clientid-override" => grant.extensions = vec![("emqx/clientid-override".to_owned(), "other".to_owned())],
        "unknown extension" => grant.extensions = vec![("emqx/unknown".to_owned(), String::new())],
        _ => {}
    }
    Ok(grant)
}

/// Grants publishing to one filter, valid or not.
fn only(filter: &str) -> Access {
    Access::Only(Topics { publish: vec![filter.to_owned()], subscribe: Vec::new() })
}

/// Grants publishing to one filter, and subscribing to another with a quality of service of 0 or 1.
fn rules(publish_qos: Option<QosLevels>) -> Access {
    let rule =
        |effect, action, filter: &str, qos, retain| Rule { effect, action, filter: filter.to_owned(), qos, retain };
    let at_most_1 = QosLevels::AT_MOST_ONCE | QosLevels::AT_LEAST_ONCE;
    Access::Rules(vec![
        rule(Effect::Deny, RuleAction::Both, "a/secret", None, None),
        rule(Effect::Allow, RuleAction::Publish, "a/b", publish_qos, Some(false)),
        rule(Effect::Allow, RuleAction::Subscribe, "a/#", Some(at_most_1), None),
    ])
}

/// Takes some milliseconds on any machine.
#[inline(never)]
fn work_for_milliseconds() {
    for number in 0..5_000_000_u32 {
        black_box(number);
    }
}

#[inline(never)]
fn loop_forever() {
    while black_box(true) {}
}

#[inline(never)]
#[expect(clippy::panic, reason = "tests need a policy that does this")]
fn trap() {
    panic!("told to trap");
}

#[inline(never)]
fn exhaust_memory() {
    let mut blocks = Vec::new();
    loop {
        blocks.push(black_box(vec![1_u8; 1 << 20]));
    }
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "tests need a policy that does this")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    black_box(recurse(depth + 1)) + frame.iter().sum::<u64>()
}
