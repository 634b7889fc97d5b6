//! The decisions of the policy: [`authenticate`] and [`authorize`].

use crate::identity::DeviceId;
use crate::settings::Settings;
use crate::signature::Key;
use crate::types::{Access, Action, AuthorizeRequest, Credentials, Denial, Grant, Permission, UnixTime, Verdict};
use crate::username;

/// Decides whether a device may connect.
///
/// Topics, superusers and expiry are evaluated only after the signature has been verified. `now` is called only if
/// sessions expire, because a component calls its host for the time.
#[must_use]
pub fn authenticate(credentials: &Credentials, settings: &Settings, now: impl FnOnce() -> UnixTime) -> Verdict {
    match verify(credentials, settings) {
        Ok((device, key)) => Verdict::Allow(grant(&device, key, settings, now)),
        Err(denial) => Verdict::Deny(denial),
    }
}

/// The device that the credentials belong to, and the key that proves it.
fn verify<'c, 's>(credentials: &Credentials<'c>, settings: &'s Settings) -> Result<(DeviceId<'c>, &'s Key), Denial> {
    let device = DeviceId::parse(credentials.client_id).ok_or(Denial::MalformedClientId)?;
    if !settings.allows_group(device.group) {
        return Err(Denial::UnknownGroup);
    }
    let username = credentials.username.ok_or(Denial::NoUsername)?;
    if !username::is_well_formed(username) {
        return Err(Denial::MalformedUsername);
    }
    let password = credentials.password.filter(|password| !password.is_empty()).ok_or(Denial::NoPassword)?;
    let key = settings.keys.find_matching_key(device.client_id, username, password).ok_or(Denial::BadSignature)?;
    Ok((device, key))
}

fn grant(device: &DeviceId, key: &Key, settings: &Settings, now: impl FnOnce() -> UnixTime) -> Grant {
    Grant {
        access: settings.access(device),
        expires_at: settings.session_end(now),
        key_id: key.id().map(str::to_owned),
        attributes: settings.attributes(device),
    }
}

/// Decides whether a connected device may publish or subscribe. A device with this client id has the topics that
/// [`authenticate`] grants it.
///
/// Denies every client whose id or user name [`authenticate`] would refuse. Allows any other client to be connected.
#[must_use]
pub fn authorize(request: &AuthorizeRequest, settings: &Settings) -> Permission {
    let Some(device) = DeviceId::parse(request.client_id).filter(|device| settings.allows_group(device.group)) else {
        return Permission::Deny;
    };
    if request.username.is_some_and(|username| !username::is_well_formed(username)) {
        return Permission::Deny;
    }
    if request.action == Action::ConnectWithoutProof {
        return Permission::Allow;
    }
    match settings.access(&device) {
        Access::Everything => Permission::Allow,
        Access::BrokerRules => Permission::Ignore,
        Access::Only(topics) if topics.allow(request.action) => Permission::Allow,
        Access::Only(_) => Permission::Deny,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Topics;

    const CLIENT_ID: &str = "GID_test@@@AA_BB_CC_DD_EE_FF@@@1";
    const USERNAME: &str = "eyJpcCI6IjEifQ==";
    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn settings(more: &[(&str, &str)]) -> Settings {
        let all = [more, &[("signature-keys", r#"[{"id":"2026-11","key":"a key of more than 16 bytes"}]"#)]].concat();
        let get = |name: &str| all.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Settings::read(get).unwrap()
    }

    fn login(settings: &Settings, client_id: &str, username: Option<&str>, password: &str) -> Verdict {
        let credentials = Credentials { client_id, username, password: Some(password.as_bytes()) };
        authenticate(&credentials, settings, || NOW)
    }

    fn may_publish(settings: &Settings, client_id: &str, username: Option<&str>, topic: &str) -> Permission {
        authorize(&AuthorizeRequest { client_id, username, action: Action::Publish(topic) }, settings)
    }

    #[test]
    fn genuine_credentials_get_a_grant_with_topics_and_expiry() {
        let settings = settings(&[("publish-topics", "up/{mac}"), ("session-seconds", "60")]);
        let topics = Topics { publish: vec!["up/AA_BB_CC_DD_EE_FF".to_owned()], subscribe: Vec::new() };
        let grant = Grant {
            access: Access::Only(topics),
            expires_at: Some(UnixTime(NOW.0 + 60)),
            key_id: Some("2026-11".to_owned()),
            attributes: Vec::new(),
        };
        let password = settings.sign(CLIENT_ID, USERNAME);
        assert_eq!(login(&settings, CLIENT_ID, Some(USERNAME), &password), Verdict::Allow(grant));
    }

    #[test]
    fn reports_the_first_wrong_part_of_the_credentials() {
        let settings = settings(&[]);
        let good = settings.sign(CLIENT_ID, USERNAME);
        for (client_id, username, password, denial) in [
            ("device", Some(USERNAME), &*good, Denial::MalformedClientId),
            ("GID_x@@@AA_BB_CC_DD_EE_FF@@@1", Some(USERNAME), &good, Denial::UnknownGroup),
            (CLIENT_ID, None, &good, Denial::NoUsername),
            (CLIENT_ID, Some("device"), &good, Denial::MalformedUsername),
            (CLIENT_ID, Some(USERNAME), "", Denial::NoPassword),
            (CLIENT_ID, Some(USERNAME), &settings.sign(CLIENT_ID, "device"), Denial::BadSignature),
        ] {
            assert_eq!(
                login(&settings, client_id, username, password),
                Verdict::Deny(denial),
                "{client_id} {username:?}"
            );
        }
    }

    #[test]
    fn clock_is_read_only_if_sessions_expire() {
        let settings = settings(&[]);
        let password = settings.sign(CLIENT_ID, USERNAME);
        let credentials =
            Credentials { client_id: CLIENT_ID, username: Some(USERNAME), password: Some(password.as_bytes()) };
        let verdict = authenticate(&credentials, &settings, || panic!("the clock is read"));
        assert!(matches!(verdict, Verdict::Allow(Grant { access: Access::BrokerRules, expires_at: None, .. })));
    }

    /// RabbitMQ cannot tell `.` from `/`, and asks about both as `/`. A group with a dot must not get topics of another
    /// group by that, so its devices get none there.
    #[test]
    fn a_group_with_a_dot_has_no_topics_of_another_group() {
        let settings = settings(&[("groups", "*"), ("publish-topics", "up/{group}/#")]);
        let (dotted, other) = ("a.b@@@AA_BB_CC_DD_EE_FF@@@1", "a@@@AA_BB_CC_DD_EE_FF@@@1");
        for (client_id, topic, permission) in [
            (dotted, "up/a.b/x", Permission::Allow),
            (dotted, "up/a/b/x", Permission::Deny),
            (dotted, "up/a/x", Permission::Deny),
            (other, "up/a.b/x", Permission::Deny),
            (other, "up/a/x", Permission::Allow),
        ] {
            assert_eq!(may_publish(&settings, client_id, None, topic), permission, "{client_id} {topic}");
        }
    }

    #[test]
    fn authorizes_by_the_topics_of_the_grant() {
        let superuser = "GID_test@@@00_00_00_00_00_01@@@1";
        let with_topics = settings(&[("publish-topics", "up/{mac}"), ("superusers", superuser)]);
        let without_topics = settings(&[]);
        for (settings, client_id, username, topic, permission) in [
            (&with_topics, CLIENT_ID, None, "up/AA_BB_CC_DD_EE_FF", Permission::Allow),
            (&with_topics, CLIENT_ID, Some(USERNAME), "up/x", Permission::Deny),
            (&with_topics, superuser, None, "any/topic", Permission::Allow),
            (&without_topics, CLIENT_ID, None, "any/topic", Permission::Ignore),
            (&without_topics, "device", None, "any/topic", Permission::Deny),
            (&with_topics, CLIENT_ID, None, "", Permission::Deny),
        ] {
            assert_eq!(may_publish(settings, client_id, username, topic), permission, "{client_id} {topic}");
        }
    }

    #[test]
    fn a_client_that_could_log_in_may_be_connected_without_proof() {
        let settings = settings(&[("publish-topics", "up/{mac}")]);
        for (client_id, username, permission) in [
            (CLIENT_ID, None, Permission::Allow),
            (CLIENT_ID, Some(USERNAME), Permission::Allow),
            (CLIENT_ID, Some("device"), Permission::Deny),
            ("device", None, Permission::Deny),
        ] {
            let request = AuthorizeRequest { client_id, username, action: Action::ConnectWithoutProof };
            assert_eq!(authorize(&request, &settings), permission, "{client_id}");
        }
    }
}
