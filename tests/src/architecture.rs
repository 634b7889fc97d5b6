//! Who may name what (docs/ARCHITECTURE.md): the rooms keep to themselves what they own.

use std::fs;
use std::path::{Path, PathBuf};

const HOST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/src");
const AUTH_CORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../auth-core/src");

const ENVOY_FILTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proxies/envoy-filter/src");

/// The sources under a directory that hold this text, outside comments.
fn naming(directory: &str, text: &str) -> Vec<String> {
    let mut names: Vec<String> = sources(Path::new(directory))
        .into_iter()
        .filter(|path| {
            let source = fs::read_to_string(path).unwrap();
            source.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| names(line, text))
        })
        .map(|path| path.strip_prefix(directory).unwrap().display().to_string())
        .collect();
    names.sort();
    names
}

/// Whether a line holds this text, and not as the end of a longer name.
fn names(line: &str, text: &str) -> bool {
    let is_part = |before: Option<char>| before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let begins_a_name = text.starts_with(char::is_alphanumeric);
    line.match_indices(text).any(|(at, _)| !begins_a_name || !is_part(line[..at].chars().next_back()))
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn each_room_keeps_to_itself_what_it_owns() {
    for (text, rooms) in [
        ("wasmtime::", &["instances.rs", "policy/component.rs", "policy/faults.rs", "sandbox.rs"][..]),
        ("axum::", &["admin.rs", "entrance.rs", "front.rs", "http.rs", "lib.rs", "page.rs", "token.rs"]),
        ("hyper::", &["body.rs", "connection.rs", "http.rs"]),
        ("wac_graph::", &["compose.rs"]),
        ("notify::", &["hints.rs"]),
        ("ureq::", &["cli/admin.rs", "cli/trust.rs"]),
        ("tokio_rustls::", &["tls.rs", "wire.rs"]),
        ("listenfd::", &["sockets.rs"]),
        ("opentelemetry::", &["traces.rs"]),
        ("prometheus_client::", &["metrics.rs"]),
        ("sd_notify::", &["supervisor.rs"]),
        ("env::var", &["config.rs"]),
        ("\"is_superuser\"", &[]),
        ("\"result\"", &[]),
        ("Publisher::new", &["reload.rs"]),
        (".publish(", &["reload.rs"]),
    ] {
        assert_eq!(naming(HOST, text), rooms, "{text}");
    }
    for text in ["wall_clock::now", "store::get", "SystemTime", "Instant"] {
        let rooms = if text.contains("::") { &["component.rs"][..] } else { &[] };
        assert_eq!(naming(AUTH_CORE, text), rooms, "{text}");
    }
    for (text, rooms) in [
        ("hostcalls", &["clock.rs", "envoy.rs"][..]),
        ("get_current_time", &["clock.rs"]),
        ("choose_cluster(&", &["mqtt.rs"]),
        ("Decision::Admit {", &["mqtt.rs"]),
        ("\"result\"", &[]),
    ] {
        assert_eq!(
            naming(ENVOY_FILTER, text).iter().filter(|room| !room.ends_with("tests.rs")).collect::<Vec<_>>(),
            rooms,
            "{text}"
        );
    }
}
