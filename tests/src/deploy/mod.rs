//! The files in `deploy/`, parsed as the programs that they configure parse them, and compared with the gate.

use std::fs;

use mqtt_gate::config::Config;
use serde_json::Value;

mod config;
mod container;
mod emqx;
mod examples;
mod kubernetes;
mod monitoring;
mod package;
mod proxies;
mod systemd;

/// The root of the repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

/// The text of a file, by its path in the repository.
fn text(name: &str) -> String {
    fs::read_to_string(format!("{ROOT}/{name}")).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn toml(name: &str) -> toml::Table {
    toml::from_str(&text(name)).unwrap()
}

/// The documents of a file.
fn yaml(name: &str) -> Vec<Value> {
    let text = text(name);
    let documents = text.split("\n---\n").map(serde_saphyr::from_str);
    documents.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A configuration of the gate, as the gate parses it.
fn gate_config(name: &str) -> Config {
    Config::read(format!("{ROOT}/{name}").as_ref()).unwrap()
}

/// The file of the only secret of a configuration.
fn key_file(config: &Config) -> String {
    let files: Vec<_> = config.policy.first.settings.files().collect();
    assert_eq!(files.len(), 1, "only the key is in a file");
    files[0].display().to_string()
}
