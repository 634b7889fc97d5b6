//! The description that the policy gives of itself.

use super::Policy;
use super::bindings::exports::mqtt_gate::auth::metadata::{Description, Detail, Guest, Kind, Setting};
use crate::types::Denial;

impl Guest for Policy {
    fn describe() -> Description {
        Description {
            name: "auth-core".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Verifies signed credentials of devices: client id, user name, and an HMAC of both.".to_owned(),
            settings: vec![
                Setting { required: true, ..setting("signature-keys", Kind::Secret, "Keys that sign passwords.") },
                Setting {
                    default: Some("GID_test,GID_gateway".to_owned()),
                    ..setting("groups", Kind::List, "Groups whose devices may connect; `*` stands for any.")
                },
                Setting {
                    default: Some("false".to_owned()),
                    ..setting("allow-insecure-key", Kind::Boolean, "Accepts a key that can be guessed, for tests.")
                },
                setting("publish-topics", Kind::List, "Topics that a device may publish to."),
                setting("subscribe-topics", Kind::List, "Topics that a device may subscribe to."),
                setting("session-seconds", Kind::Number, "Seconds after which a session ends."),
                setting("superusers", Kind::List, "Client ids that may use every topic."),
                setting("client-attributes", Kind::List, "Attributes of a device for the broker, NAME=TEMPLATE."),
            ],
            keyrings: Vec::new(),
            tables: Vec::new(),
            details: Denial::ALL.into_iter().map(detail).collect(),
        }
    }
}

fn setting(name: &str, kind: Kind, summary: &str) -> Setting {
    Setting { name: name.to_owned(), kind, required: false, default: None, summary: summary.to_owned() }
}

fn detail(denial: Denial) -> Detail {
    let summary = match denial {
        Denial::MalformedClientId => "The client id is not `group@@@mac@@@suffix`.",
        Denial::UnknownGroup => "The group is not one of `groups`.",
        Denial::NoUsername => "The login has no user name.",
        Denial::MalformedUsername => "The user name is not base64 of a JSON object.",
        Denial::NoPassword => "The login has no password.",
        Denial::BadSignature => "The password is not a signature by any of the keys.",
    };
    Detail { code: denial.detail().to_owned(), summary: summary.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;
    use crate::Settings;

    #[test]
    fn the_settings_that_are_read_are_declared_with_their_defaults() {
        let (asked, description) = (RefCell::new(BTreeSet::new()), Policy::describe());
        let read = |is_default: bool| {
            let get = |name: &str| {
                asked.borrow_mut().insert(name.to_owned());
                let declared = description.settings.iter().find(|setting| setting.name == name);
                let default = declared.and_then(|setting| setting.default.clone()).filter(|_| is_default);
                if name == "signature-keys" { Some("a key of these tests, 32 bytes..".to_owned()) } else { default }
            };
            Settings::read(get).unwrap()
        };
        let groups = |settings: Settings| ["GID_test", "GID_gateway", "GID_other"].map(|it| settings.allows_group(it));
        assert_eq!(groups(read(true)), groups(read(false)));
        let declared: BTreeSet<_> = description.settings.iter().map(|setting| setting.name.clone()).collect();
        assert_eq!(asked.into_inner(), declared);
    }
}
