//! The layers of each crate (docs/ARCHITECTURE.md): a folder imports only layers below it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A crate and its layers, the lowest first. A layer is a set of folders and files without `.rs`.
struct Layers {
    source: &'static str,
    layers: &'static [&'static [&'static str]],
}

const CRATES: [Layers; 5] = [
    Layers {
        source: "engine/src",
        layers: &[
            &["util"],
            &["keyring"],
            &["settings", "limits"],
            &["watch"],
            &["policy"],
            &["reload"],
            &["chain"],
            &["lib"],
        ],
    },
    Layers {
        source: "host/src",
        layers: &[
            &["util"],
            &["config"],
            &["builtin", "child_compiler", "config_file", "emqx_api", "security"],
            &["decision"],
            &["telemetry"],
            &["http"],
            &["net"],
            &["admin"],
            &["systemd"],
            &["policy_events"],
            &["gate_reloader"],
            &["server"],
            &["compose"],
            &["lib"],
            &["cli"],
            &["main"],
        ],
    },
    Layers {
        source: "brokers/src",
        layers: &[
            &["emqx_version", "foreign_protocol"],
            &["error", "filter", "grant", "permission"],
            &["warning"],
            &["auth_request", "reply"],
            &["parse"],
            &["dialect"],
            &["route"],
            &["routes"],
            &["cors", "dispatch"],
            &["respond"],
            &["lib"],
        ],
    },
    Layers {
        source: "auth-core/src",
        layers: &[
            &["types", "filter", "signature", "identity", "username"],
            &["topics"],
            &["settings"],
            &["policy"],
            &["lib"],
            &["component"],
        ],
    },
    Layers {
        source: "proxies/envoy-filter/src",
        layers: &[&["config", "deadlines", "host_calls", "log_once"], &["http", "mqtt"], &["root"], &["lib"]],
    },
];

/// Names that only these folders and files may contain, so that each dependency is used in one place.
const CONFINED: [(&str, &str, &[&str]); 25] = [
    ("engine/src", "wasmtime::", &["policy"]),
    ("engine/src", "notify::", &["watch"]),
    ("engine/src", "tempfile::", &["reload"]),
    ("engine/src", "spki::", &["keyring"]),
    ("engine/src", "hmac::", &["keyring"]),
    ("engine/src", "std::env", &[]),
    ("engine/src", "http", &[]),
    ("host/src", "tikv_jemallocator::", &["main"]),
    ("host/src", "axum::", &["admin", "http", "server"]),
    ("host/src", "hyper::", &["http", "net"]),
    ("host/src", "wac_graph::", &["compose"]),
    ("host/src", "ureq::", &["cli", "emqx_api", "telemetry"]),
    ("host/src", "tokio_rustls::", &["security"]),
    ("host/src", "listenfd::", &["net"]),
    ("host/src", "opentelemetry::", &["telemetry"]),
    ("host/src", "prometheus_client::", &["admin"]),
    ("host/src", "sd_notify::", &["systemd"]),
    ("host/src", "env::var", &["config"]),
    ("host/src", "\"is_superuser\"", &[]),
    // A label of a metric; the replies of brokers are made in brokers/.
    ("host/src", "\"result\"", &["admin"]),
    ("auth-core/src", "wall_clock::now", &["component"]),
    ("auth-core/src", "store::get", &["component"]),
    ("auth-core/src", "SystemTime", &[]),
    ("proxies/envoy-filter/src", "hostcalls", &["host_calls"]),
    ("proxies/envoy-filter/src", "\"result\"", &[]),
];

#[test]
fn folders_import_only_lower_layers() {
    let mut errors = Vec::new();
    for Layers { source, layers } in &CRATES {
        let layer_of = |name: &str| layers.iter().position(|layer| layer.contains(&name));
        for file in rust_files(&root().join(source)) {
            let module = top_module(&file, source);
            let Some(own) = layer_of(&module) else {
                errors.push(format!("{source}: `{module}` is in no layer: {}", file.display()));
                continue;
            };
            for imported in imports(&code(&file)) {
                match layer_of(&imported) {
                    Some(layer) if layer < own || imported == module => {}
                    Some(_) => errors.push(format!("{source}: `{module}` imports `{imported}`: {}", file.display())),
                    // Only what stands above the crate root may use its items.
                    None if layer_of("lib").is_some_and(|lib| lib < own) => {}
                    None => errors.push(format!("{source}: `{module}` imports `crate::{imported}` of the crate root")),
                }
            }
        }
    }
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

#[test]
fn dependencies_are_confined_to_their_layers() {
    let mut errors = Vec::new();
    for (source, name, allowed) in CONFINED {
        let users: BTreeSet<String> = rust_files(&root().join(source))
            .into_iter()
            .filter(|file| code(file).lines().any(|line| contains_name(line, name)))
            .map(|file| top_module(&file, source))
            .collect();
        let allowed: BTreeSet<String> = allowed.iter().map(|&module| module.to_owned()).collect();
        if users != allowed {
            errors.push(format!("{source}: `{name}` is used in {users:?} instead of {allowed:?}"));
        }
    }
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

#[test]
fn the_engine_depends_on_no_server_and_no_broker() {
    let manifest: toml::Table = fs::read_to_string(root().join("engine/Cargo.toml")).unwrap().parse().unwrap();
    let dependencies: Vec<_> = manifest["dependencies"].as_table().unwrap().keys().collect();
    for foreign in ["axum", "brokers", "hyper", "mqtt-gate", "sd-notify", "tokio", "tracing"] {
        assert!(!dependencies.iter().any(|name| *name == foreign), "{foreign}");
    }
}

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The folder or file directly under `src`.
fn top_module(file: &Path, source: &str) -> String {
    let relative = file.strip_prefix(root().join(source)).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The code of a file, without comments and unit tests.
fn code(file: &Path) -> String {
    if file.ends_with("tests.rs") {
        return String::new();
    }
    let source = fs::read_to_string(file).unwrap();
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// The modules that follow `crate::`, also in `use crate::{one, two::Item}`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let is_whole_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
        let path = &code[at + "crate::".len()..];
        match path.strip_prefix('{') {
            _ if !is_whole_word => {}
            Some(group) => modules.extend(group_heads(group)),
            None => modules.extend(head(path)),
        }
    }
    modules
}

/// The first segment of each path in a group `one, two::{Item, Other}}`.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut heads) = (0, 0, Vec::new());
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            ',' if depth == 0 => {
                heads.extend(head(&group[start..at]));
                start = at + 1;
            }
            '}' if depth == 0 => {
                heads.extend(head(&group[start..at]));
                return heads;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    heads
}

fn head(path: &str) -> Option<String> {
    let end = path.trim_start().find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.trim_start().len());
    Some(path.trim_start()[..end].to_owned()).filter(|head| !head.is_empty())
}

/// Whether a line contains this name, and not as the end of a longer one.
fn contains_name(line: &str, name: &str) -> bool {
    let is_part = |before: Option<char>| before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let is_word = name.starts_with(char::is_alphanumeric);
    line.match_indices(name).any(|(at, _)| !is_word || !is_part(line[..at].chars().next_back()))
}

#[test]
fn finds_imports_in_groups() {
    let code = "use crate::one::Item;\nuse crate::{two, three::{A, B}};\nlet x = crate::four::f();\n$crate::five";
    assert_eq!(imports(code).into_iter().collect::<Vec<_>>(), ["four", "one", "three", "two"]);
}
