//! The settings of the policy.

/// Claims with a meaning of their own.
const OTHER_CLAIMS: [&str; 7] = ["acl", "aud", "client_attrs", "exp", "is_superuser", "iss", "nbf"];

/// The settings of the policy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `None`: the token is not bound to a client id.
    pub(crate) client_id_claim: Option<String>,
    pub(crate) audience: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) leeway_seconds: u64,
}

impl Settings {
    /// Reads every setting.
    ///
    /// # Errors
    /// The first one that cannot be read or is malformed.
    pub(crate) fn read(get: impl Fn(&str) -> Result<Option<String>, String>) -> Result<Self, String> {
        let not_empty = |name: &str| match get(name)? {
            Some(value) if value.is_empty() => Err(format!("{name}: empty; name a value, or remove the setting")),
            value => Ok(value),
        };
        let leeway = get("leeway-seconds")?.unwrap_or_else(|| "30".to_owned());
        let leeway_seconds = leeway.parse().ok().filter(|seconds| *seconds <= 3600);
        let client_id_claim = get("client-id-claim")?.unwrap_or_else(|| "sub".to_owned());
        if OTHER_CLAIMS.contains(&client_id_claim.as_str()) {
            return Err("client-id-claim: this claim never holds a client id; name another one".to_owned());
        }
        Ok(Self {
            client_id_claim: Some(client_id_claim).filter(|claim| !claim.is_empty()),
            audience: not_empty("audience")?,
            issuer: not_empty("issuer")?,
            leeway_seconds: leeway_seconds.ok_or("leeway-seconds: not a number from 0 to 3600")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<Settings, String> {
        Settings::read(|asked| Ok((asked == name).then(|| value.to_owned())))
    }

    #[test]
    fn every_setting_has_a_default() {
        let default =
            Settings { client_id_claim: Some("sub".to_owned()), audience: None, issuer: None, leeway_seconds: 30 };
        assert_eq!(read("", ""), Ok(default));
        assert_eq!(read("client-id-claim", "").unwrap().client_id_claim, None);
    }

    #[test]
    fn mistakes_are_named() {
        for (name, value) in [
            ("audience", ""),
            ("issuer", ""),
            ("client-id-claim", "aud"),
            ("leeway-seconds", "1m"),
            ("leeway-seconds", "3601"),
        ] {
            assert!(read(name, value).unwrap_err().starts_with(name), "{name} {value}");
        }
    }
}
