//! `deploy/gate.toml`: the defaults, with examples in comments.

use std::fs;

use mqtt_gate::config::Config;
use tempfile::TempDir;

use super::{gate_config, text};

#[test]
fn shipped_configuration_is_the_default() {
    let shipped = gate_config("deploy/gate.toml");
    let default = Config::default();
    assert_eq!((shipped.listen, shipped.admin_listen), (default.listen, default.admin_listen));
    assert_eq!(format!("{:?}", shipped.limits), format!("{:?}", default.limits));
    assert!(shipped.policy.first.file.is_none() && shipped.policy.first.settings.contains("signature-keys"));
    assert!(shipped.tls.is_none() && shipped.admin_tls.is_none() && shipped.state.directory.is_none());
    assert!(shipped.access.broker_secret.is_none() && shipped.access.admin_token.is_none());
}

#[test]
fn commented_examples_of_the_shipped_configuration_are_valid() {
    let is_table = |line: &str| line.starts_with('[') && line.ends_with(']') && !line.contains('{');
    let is_value = |line: &str| line.split_once(" = ").is_some_and(|(name, _)| !name.contains(' '));
    let uncomment = |line: &str| match line.strip_prefix("# ") {
        Some(value) if is_table(value) || is_value(value) => format!("{value}\n"),
        _ => format!("{line}\n"),
    };
    let directory = TempDir::new().unwrap();
    let config = directory.path().join("gate.toml");
    fs::write(&config, text("deploy/gate.toml").lines().map(uncomment).collect::<String>()).unwrap();
    let all = Config::read(&config).unwrap();
    assert!(
        all.policy.first.file.is_some()
            && all.tls.is_some()
            && all.admin_tls.is_some()
            && all.state.directory.is_some()
    );
    assert!(all.access.broker_secret.is_some() && all.access.admin_token.is_some());
}
