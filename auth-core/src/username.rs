//! The format of a user name.

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Maximum length of a user name.
pub const MAX_USERNAME_BYTES: usize = 4096;

/// Whether a user name is canonical padded base64 of a UTF-8 JSON object whose `ip` is a string, and in which every text is
/// Unicode.
///
/// The signature covers the text of the user name, not the decoded object. So each object has one accepted encoding:
/// base64 with loose trailing bits, without padding or with skipped characters is refused.
#[must_use]
pub fn is_well_formed(username: &str) -> bool {
    if username.is_empty() || username.len() > MAX_USERNAME_BYTES {
        return false;
    }
    // Almost every user name fits the buffer on the stack.
    let (mut short, mut long) = ([0; 96], Vec::new());
    let decoded = if username.len() <= short.len() / 3 * 4 {
        &mut short[..]
    } else {
        long.resize(MAX_USERNAME_BYTES / 4 * 3, 0);
        &mut long
    };
    let Ok(length) = BASE64_STANDARD.decode_slice(username, decoded) else {
        return false;
    };
    let bytes = decoded.get(..length).unwrap_or_default();
    if is_common_form(bytes) {
        return true;
    }
    // Check all bytes: the JSON parser does not validate the strings that it skips.
    let Ok(json) = str::from_utf8(bytes) else {
        return false;
    };
    serde_json::from_str::<UserName>(json).is_ok_and(|name| name.ip_is_text) && !has_lone_surrogate(json)
}

/// Whether a valid JSON text escapes a half of a surrogate pair without the other, such as `\ud800`. The JSON parser does
/// not look into the members that it skips.
fn has_lone_surrogate(json: &str) -> bool {
    let mut rest = json;
    while let Some((_, escape)) = rest.split_once('\\') {
        rest = match code_unit(escape) {
            Some(0xD800..=0xDBFF) => match escape.get(5..).and_then(|next| next.strip_prefix('\\')) {
                Some(low) if matches!(code_unit(low), Some(0xDC00..=0xDFFF)) => low.get(5..).unwrap_or_default(),
                _ => return true,
            },
            Some(0xDC00..=0xDFFF) => return true,
            Some(_) => escape.get(5..).unwrap_or_default(),
            // `\\` is an escape too.
            None => escape.get(1..).unwrap_or_default(),
        };
    }
    false
}

/// The code unit of an escape that begins with `u` and four digits.
fn code_unit(escape: &str) -> Option<u32> {
    u32::from_str_radix(escape.strip_prefix('u')?.get(..4)?, 16).ok()
}

/// Whether this is the form that almost every device sends: the field `ip` alone, printable ASCII without escapes. It
/// needs no parser.
fn is_common_form(json: &[u8]) -> bool {
    let text = json.strip_prefix(b"{\"ip\":").map(|rest| rest.strip_prefix(b" ").unwrap_or(rest));
    let text = text.and_then(|text| text.strip_prefix(b"\"")?.strip_suffix(b"\"}"));
    text.is_some_and(|text| text.iter().all(|b| matches!(b, b' '..=b'~') && !b"\"\\".contains(b)))
}

/// The decoded JSON object. If there are several fields `ip`, the last one counts, as in the existing generators and
/// validators.
struct UserName {
    ip_is_text: bool,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    Ip,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for UserName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UserNameVisitor)
    }
}

struct UserNameVisitor;

impl<'de> Visitor<'de> for UserNameVisitor {
    type Value = UserName;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<UserName, A::Error> {
        let mut ip = None;
        while let Some(field) = fields.next_key()? {
            match field {
                Field::Ip => ip = Some(fields.next_value::<&RawValue>()?),
                Field::Other => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        // Parse the string: `"\ud800"` is in quotes, but is not valid text.
        Ok(UserName { ip_is_text: ip.is_some_and(|ip| serde_json::from_str::<String>(ip.get()).is_ok()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_well_formed_json(json: impl AsRef<[u8]>) -> bool {
        is_well_formed(&BASE64_STANDARD.encode(json))
    }

    #[test]
    fn rejects_lone_surrogates_in_every_member() {
        for json in [
            r#"{"ip":"x","a":"\ud800"}"#,
            r#"{"ip":"x","a":"\udc00"}"#,
            r#"{"ip":"x","a":"\uD83Dx"}"#,
            r#"{"ip":"x","a":"\ud83d\ud83d"}"#,
            r#"{"ip":"x","a":"\ude00\ud83d"}"#,
            r#"{"ip":"x","a":["\\\ud800"]}"#,
            r#"{"\ud800":1,"ip":"x"}"#,
            r#"{"ip":"\ud800","ip":"x"}"#,
        ] {
            assert!(!is_well_formed_json(json), "{json}");
        }
        for json in [
            r#"{"ip":"x","a":"\ud83d\ude00"}"#,
            r#"{"ip":"x","a":"\\ud800"}"#,
            r#"{"ip":"x","a":"\u00e9\n\ud83D\uDE00"}"#,
        ] {
            assert!(is_well_formed_json(json), "{json}");
        }
    }

    #[test]
    fn accepts_json_objects_with_a_string_ip() {
        for json in [
            r#"{"ip":"127.0.0.1"}"#,
            r#"{"ip": "unknown"}"#,
            " \n{\"ip\":\"\",\"x\":[1,{}]}\t ",
            r#"{"ip":7,"ip":"last"}"#,
            r#"{"ip":["x"],"ip":{"y":1},"ip":"last"}"#,
            r#"{"\u0069p":"escaped"}"#,
            r#"{"x":{"ip":1},"ip":"1"}"#,
            r#"{"ip": "a \" b"}"#,
            r#"{"ip":"é"}"#,
        ] {
            assert!(is_well_formed_json(json), "{json}");
        }
    }

    #[test]
    fn accepts_user_names_up_to_the_maximum_length() {
        let longest = MAX_USERNAME_BYTES / 4 * 3 - r#"{"ip":""}"#.len();
        for length in (80..100).chain([longest]) {
            assert!(is_well_formed_json(format!(r#"{{"ip":"{}"}}"#, "x".repeat(length))), "{length}");
        }
        assert!(!is_well_formed_json(format!(r#"{{"ip":"{}"}}"#, "x".repeat(longest + 1))));
    }

    #[test]
    fn rejects_everything_else() {
        for json in [
            "",
            "{}",
            "null",
            "true",
            "7",
            "NaN",
            r#""ip""#,
            r#"["ip"]"#,
            r#"{"ip":null}"#,
            r#"{"ip":1}"#,
            r#"{"ip":"first","ip":7}"#,
            r#"{"ip":["1"]}"#,
            r#"{"IP":"1"}"#,
            r#"{"ip":"1"}x"#,
            r#"{"ip":"1",}"#,
            r#"{"ip":"\ud800"}"#,
            r#"{"ip":NaN}"#,
            r#"{"ip":"}"#,
            r#"{"ip":"a"b"}"#,
            r#"{"ip":"a\"}"#,
            "{\"ip\":\"a\tb\"}",
            "{\"ip\":\"a\u{0}\"}",
            "{'ip':'1'}",
            "\u{feff}{\"ip\":\"1\"}",
            r#"{"x":{"ip":"1"}}"#,
        ] {
            assert!(!is_well_formed_json(json), "{json}");
        }
        assert!(!is_well_formed_json(b"{\"ip\":\"1\",\"x\":\"\xff\"}"));
        assert!(!is_well_formed_json(format!(r#"{{"ip":"1","x":"{}"}}"#, "y".repeat(MAX_USERNAME_BYTES))));
        assert!(!is_well_formed_json(format!(r#"{{"ip":{}}}"#, "[".repeat(1500))));
    }

    #[test]
    fn rejects_non_canonical_base64() {
        assert!(is_well_formed("eyJpcCI6IjEifQ=="));
        for other in
            ["eyJpcCI6IjEifQ", "eyJpcCI6IjEifR==", "eyJp cCI6IjEifQ==", "eyJpcCI6IjEifQ==\n", "eyJpcCI6IjEifQ==="]
        {
            assert!(!is_well_formed(other), "{other}");
        }
    }
}
