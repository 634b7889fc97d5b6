//! What lies in `deploy/` is read as those read it for whom it is meant, and fits the program that there is.

use std::fs;

use mqtt_gate::config::Config;
use serde_json::Value;

mod container;
mod emqx;
mod examples;
mod kubernetes;
mod monitoring;
mod package;
mod proxies;
mod systemd;

/// The top of the repository.
const TOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

/// A file of the repository, by its name from the top.
fn text(name: &str) -> String {
    fs::read_to_string(format!("{TOP}/{name}")).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn toml(name: &str) -> toml::Table {
    toml::from_str(&text(name)).unwrap()
}

/// Each document of a file.
fn yaml(name: &str) -> Vec<Value> {
    let text = text(name);
    let documents = text.split("\n---\n").map(serde_saphyr::from_str);
    documents.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A configuration of the gate, as the gate reads it.
fn config(name: &str) -> Config {
    Config::read(format!("{TOP}/{name}").as_ref()).unwrap()
}

/// Where a configuration takes its one secret from.
fn key_file(config: &Config) -> String {
    let files: Vec<_> = config.policy.settings.files().collect();
    assert_eq!(files.len(), 1, "the key is in a file, and nothing else is");
    files[0].display().to_string()
}
