//! A policy for stolen and retired devices: denies the clients on a list and decides about no other client.
//!
//! The setting `revoked` lists entries, separated by commas or line ends. `#` at the beginning of a line, or after a blank,
//! starts a comment.
//!
//! | entry | revoked clients |
//! | --- | --- |
//! | `GID_a@@@AA_BB_CC_DD_EE_FF@@@1` | the client with this id |
//! | `group:GID_a` | the clients of this group, `GID_a@@@…` |
//! | `mac:AA_BB_CC` | the clients whose MAC address begins with these digits, in either case and with any of `_`, `:`, `-` |
//!
//! An empty list revokes no client. A missing list is an error, so that a swap cannot admit every revoked client by
//! accident. The policy checks no password: put it before the policy that does.

use std::collections::HashSet;
use std::sync::OnceLock;

use bindings::exports::mqtt_gate::auth::{authenticator, authorizer, metadata};
use bindings::wasi::config::store;

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../../wit", world: "described-access-policy", generate_all });
}

/// Separates the parts of a client id: `group@@@mac@@@suffix`.
const PART_SEPARATOR: &str = "@@@";

/// Minimum digits of `mac:`. One digit would revoke every 16th device.
const MIN_MAC_DIGITS: usize = 2;

/// Digits of a MAC address.
const MAC_DIGITS: usize = 12;

/// The policy as a component.
pub struct Revoked;

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated from wit/")]
mod exports {
    use super::{Revoked, bindings};

    bindings::export!(Revoked with_types_in bindings);
}

impl authenticator::Guest for Revoked {
    fn check() -> Result<(), String> {
        RevokedClients::parse(&setting()?).map(drop)
    }

    fn authenticate(credentials: authenticator::Credentials) -> Result<authenticator::Verdict, String> {
        Ok(if list()?.contains(&credentials.client_id) {
            let detail = Some("revoked".to_owned());
            authenticator::Verdict::Deny(authenticator::Denial { reason: authenticator::Reason::Banned, detail })
        } else {
            authenticator::Verdict::Ignore
        })
    }
}

impl authorizer::Guest for Revoked {
    /// The action does not matter.
    fn authorize(request: authorizer::Request) -> Result<authorizer::Permission, String> {
        Ok(if list()?.contains(&request.client_id) {
            authorizer::Permission::Deny
        } else {
            authorizer::Permission::Ignore
        })
    }
}

impl metadata::Guest for Revoked {
    fn describe() -> metadata::Description {
        metadata::Description {
            name: "revoked".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "Denies the clients on a list and leaves all others to the next policy.".into(),
            settings: vec![metadata::Setting {
                name: "revoked".into(),
                kind: metadata::Kind::List,
                required: true,
                default: None,
                summary: "Client ids, `group:NAME` and `mac:PREFIX`, separated by commas or line ends.".into(),
            }],
            keyrings: Vec::new(),
            tables: Vec::new(),
            details: vec![metadata::Detail { code: "revoked".into(), summary: "The client is on the list.".into() }],
        }
    }
}

/// Returns the list. It is parsed once per instance, because it cannot change during its life.
fn list() -> Result<&'static RevokedClients<'static>, String> {
    static LIST: OnceLock<Result<RevokedClients<'static>, String>> = OnceLock::new();
    // The text lives as long as the instance, so that 100,000 entries need no copies.
    LIST.get_or_init(|| RevokedClients::parse(setting()?.leak())).as_ref().map_err(Clone::clone)
}

/// Reads the setting `revoked`.
fn setting() -> Result<String, String> {
    match store::get("revoked") {
        Ok(Some(revoked)) => Ok(revoked),
        Ok(None) => Err("revoked: missing; list the clients to deny, or set an empty list to deny no client".into()),
        Err(_) => Err("revoked: the host failed to read this setting; see the log of the host".into()),
    }
}

/// The clients on the list.
#[derive(Debug, Default)]
struct RevokedClients<'a> {
    client_ids: HashSet<&'a str>,
    groups: HashSet<&'a str>,
    macs: HashSet<MacPrefix>,
}

/// The first digits of a MAC address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct MacPrefix {
    /// Number of digits.
    len: usize,
    digits: u64,
}

impl MacPrefix {
    /// Adds a digit. `None`: the character is no hexadecimal digit, or a MAC address has no more digits.
    fn and(self, character: char) -> Option<Self> {
        let digit = character.to_digit(16).filter(|_| self.len < MAC_DIGITS)?;
        Some(Self { len: self.len + 1, digits: self.digits << 4 | u64::from(digit) })
    }
}

impl<'a> RevokedClients<'a> {
    /// Parses the setting.
    ///
    /// # Errors
    /// An entry is malformed. The text gives its number, never its content.
    fn parse(text: &'a str) -> Result<Self, String> {
        let mut list = Self::default();
        let lines = text.trim_start_matches('\u{feff}').lines().map(without_comment);
        let entries = lines.flat_map(|line| line.split(',')).map(str::trim).filter(|entry| !entry.is_empty());
        for (index, entry) in entries.enumerate() {
            list.add(entry).map_err(|problem| format!("revoked: entry {}: {problem}", index + 1))?;
        }
        Ok(list)
    }

    fn add(&mut self, entry: &'a str) -> Result<(), &'static str> {
        if entry.contains('*') {
            return Err("wildcards have no meaning; write a client id, group:NAME or mac:PREFIX");
        }
        match entry.split_once(':') {
            Some(("group", name)) => {
                let name = name.trim();
                if name.is_empty() || name.contains(PART_SEPARATOR) {
                    return Err("group: needs the name of one group");
                }
                self.groups.insert(name);
            }
            Some(("mac", prefix)) => {
                let prefix = mac_prefix(prefix.trim()).ok_or("mac: needs 2 to 12 hexadecimal digits")?;
                self.macs.insert(prefix);
            }
            Some((kind, _)) if ["group", "mac"].iter().any(|known| kind.trim().eq_ignore_ascii_case(known)) => {
                return Err("write group: or mac: in lower case, without a blank");
            }
            _ if mac_prefix(entry).is_some_and(|prefix| prefix.len == MAC_DIGITS) => {
                return Err("a MAC address needs mac: before it");
            }
            _ => {
                self.client_ids.insert(entry);
            }
        }
        Ok(())
    }

    fn contains(&self, client_id: &str) -> bool {
        if self.client_ids.contains(client_id) {
            return true;
        }
        let mut parts = client_id.split(PART_SEPARATOR);
        let (Some(group), Some(mac)) = (parts.next(), parts.next()) else { return false };
        self.groups.contains(group) || self.contains_mac(mac)
    }

    /// Looks up each prefix of the address: 11 look-ups, however long the list is.
    fn contains_mac(&self, mac: &str) -> bool {
        if self.macs.is_empty() {
            return false;
        }
        let mut prefix = MacPrefix::default();
        without_separators(mac).any(|character| match prefix.and(character) {
            Some(longer) => {
                prefix = longer;
                self.macs.contains(&prefix)
            }
            None => false,
        })
    }
}

/// A line up to the `#` that begins it or follows a blank. A client id may contain `#` elsewhere.
fn without_comment(line: &str) -> &str {
    let is_comment = |(at, _): &(usize, &str)| line[..*at].chars().next_back().is_none_or(char::is_whitespace);
    line.match_indices('#').find(is_comment).map_or(line, |(at, _)| &line[..at])
}

fn mac_prefix(text: &str) -> Option<MacPrefix> {
    let prefix = without_separators(text).try_fold(MacPrefix::default(), MacPrefix::and)?;
    (prefix.len >= MIN_MAC_DIGITS).then_some(prefix)
}

fn without_separators(mac: &str) -> impl Iterator<Item = char> {
    mac.chars().filter(|character| !matches!(character, '_' | ':' | '-'))
}

#[cfg(test)]
mod tests {

    use super::*;

    const DEVICE: &str = "GID_a@@@AA_BB_CC_DD_EE_FF@@@1";

    fn is_revoked(list: &str, client_id: &str) -> bool {
        RevokedClients::parse(list).unwrap().contains(client_id)
    }

    #[test]
    fn entries_revoke_the_clients_that_they_name() {
        for entry in [
            DEVICE,
            "group:GID_a",
            "group: GID_a",
            "mac:AA",
            "mac:aa:bb-cc",
            "mac:AABBCCDDEEFF",
            "mac:AA_BB_CC_D",
            "x, mac:00, mac:AABB",
            "\u{feff}mac:AA",
            "# stolen\n\n  mac:AA # in May\r\nx",
        ] {
            assert!(is_revoked(entry, DEVICE), "{entry}");
        }
        assert!(is_revoked("a#b", "a#b") && is_revoked("mac:aa", "g@@@aabbccddeeff@@@1"));
    }

    #[test]
    fn entries_revoke_no_other_client() {
        for entry in [
            "",
            " , \n,",
            "GID_a",
            "gid_a@@@AA_BB_CC_DD_EE_FF@@@1",
            "group:GID_",
            "group:AA_BB_CC_DD_EE_FF",
            "mac:BB",
            "mac:AABBCCDDEEFE",
            "# mac:AA",
            "x # , mac:AA",
        ] {
            assert!(!is_revoked(entry, DEVICE), "{entry}");
        }
        for client_id in ["", "AA_BB", "group", "group:g", "g@@@A", "@@@", "g@@@zz"] {
            assert!(!is_revoked("group:h, mac:AA_BB", client_id), "{client_id}");
        }
    }

    #[test]
    fn malformed_entries_are_named_by_their_number() {
        for (list, expected) in [
            ("group:", "revoked: entry 1: group: needs the name of one group"),
            ("a\n# b\n\nc,group:g@@@x", "revoked: entry 3: group: needs the name of one group"),
            ("a,mac:s3cret", "revoked: entry 2: mac: needs 2 to 12 hexadecimal digits"),
            ("mac:", "revoked: entry 1: mac: needs 2 to 12 hexadecimal digits"),
            ("mac:A", "revoked: entry 1: mac: needs 2 to 12 hexadecimal digits"),
            ("mac:AABBCCDDEEFF0", "revoked: entry 1: mac: needs 2 to 12 hexadecimal digits"),
            ("a,aa:bb:cc:dd:ee:ff", "revoked: entry 2: a MAC address needs mac: before it"),
            ("AA_BB_CC_DD_EE_FF", "revoked: entry 1: a MAC address needs mac: before it"),
            ("mac:AA*", "revoked: entry 1: wildcards have no meaning; write a client id, group:NAME or mac:PREFIX"),
            ("Mac:AA", "revoked: entry 1: write group: or mac: in lower case, without a blank"),
            ("group :g", "revoked: entry 1: write group: or mac: in lower case, without a blank"),
        ] {
            assert_eq!(RevokedClients::parse(list).unwrap_err(), expected, "{list}");
        }
    }

    #[test]
    fn long_lists_are_matched() {
        let list = (0..100_000).fold(String::new(), format_entry);
        let list = RevokedClients::parse(&list).unwrap();
        assert!(!list.contains("GID_x@@@FF_BB_CC_DD_EE_FF@@@1"));
        assert!(list.contains("GID_99998@@@FF@@@1") && list.contains("g@@@00_00_00_01_86_9F@@@1"));
    }

    fn format_entry(mut list: String, n: usize) -> String {
        use std::fmt::Write;

        match n % 3 {
            0 => writeln!(list, "mac:{n:012x}"),
            1 => writeln!(list, "client-{n}"),
            _ => writeln!(list, "group:GID_{n}"),
        }
        .unwrap();
        list
    }
}
