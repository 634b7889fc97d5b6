//! The secret that a request presents in its headers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use brokers::SECRET_HEADER;
use zeroize::Zeroizing;

/// Headers whose whole value is a secret. Newer versions of EMQX hide `x-api-key` in their traces and configuration, and
/// show our own header.
const SECRET_HEADERS: [&str; 2] = [SECRET_HEADER, "x-api-key"];

/// The secrets that a broker presents: in a header of its own, or in `authorization`. `get` looks up a header by its name
/// in lower case.
pub(crate) fn by_broker<'a>(get: impl Fn(&str) -> Option<&'a [u8]>) -> impl Iterator<Item = Zeroizing<Vec<u8>>> {
    let whole = SECRET_HEADERS.into_iter().filter_map(&get).map(|value| Zeroizing::new(value.to_vec()));
    let whole: Vec<_> = whole.collect();
    whole.into_iter().chain(get("authorization").and_then(in_authorization))
}

/// The credentials of `Bearer`, or the password of `Basic` with any user name.
pub(crate) fn in_authorization(value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, credentials) = str::from_utf8(value).ok()?.split_once(' ')?;
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Zeroizing::new(credentials.as_bytes().to_vec()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let user_and_password = Zeroizing::new(STANDARD.decode(credentials).ok()?);
    let colon = user_and_password.iter().position(|&byte| byte == b':')?;
    Some(Zeroizing::new(user_and_password.get(colon + 1..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    #[test]
    fn authorization_is_a_bearer_token_or_the_password_of_any_user() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        for (value, secret) in [
            (format!("Bearer {SECRET}"), Some(SECRET)),
            (format!("bearer  {SECRET} "), Some(SECRET)),
            (basic(&format!("me:{SECRET}")), Some(SECRET)),
            (basic(&format!(":{SECRET}")), Some(SECRET)),
            (basic("me:a:b"), Some("a:b")),
            (basic("no colon"), None),
            ("Basic *".to_owned(), None),
            (SECRET.to_owned(), None),
            (format!("Digest {SECRET}"), None),
        ] {
            let presented = in_authorization(value.as_bytes());
            assert_eq!(presented.as_deref().map(Vec::as_slice), secret.map(str::as_bytes), "{value}");
        }
    }

    #[test]
    fn brokers_present_secrets_in_any_of_three_headers() {
        let headers = [("x-api-key", "one"), ("authorization", "Bearer two"), ("x-mqtt-gate-secret", "three")];
        let get = |name: &str| headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_bytes());
        let presented: Vec<_> = by_broker(get).map(|secret| String::from_utf8(secret.to_vec()).unwrap()).collect();
        assert_eq!(presented, ["three", "one", "two"]);
        assert_eq!(by_broker(|_| None).count(), 0);
    }
}
