//! The units of systemd: they start the program that there is, and give it what it needs and nothing else.

use std::fs;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::{config, key_file, text};
use crate::support::child::{mqtt_gate, program, run};

const UNITS: [&str; 3] = ["mqtt-gate.service", "mqtt-gate.socket", "mqtt-gate-admin.socket"];

/// The exposure that `systemd-analyze security` finds, times ten: 0 is a service that can do nothing, 100 one that can do all.
const EXPOSURE: &str = "10";

/// The values of a name in a section, in their order.
fn values(unit: &str, section: &str, name: &str) -> Vec<String> {
    let mut within = String::new();
    let mut values = Vec::new();
    for line in text(&format!("deploy/systemd/{unit}")).lines() {
        if let Some(header) = line.strip_prefix('[') {
            within = header.trim_end_matches(']').to_owned();
        } else if let Some((_, value)) = line.split_once('=').filter(|(key, _)| *key == name && within == section) {
            values.push(value.to_owned());
        }
    }
    values
}

fn value(unit: &str, section: &str, name: &str) -> String {
    let values = values(unit, section, name);
    assert_eq!(values.len(), 1, "{name}= of {unit} is there once");
    values[0].clone()
}

fn seconds(name: &str) -> Duration {
    let value = value(UNITS[0], "Service", name);
    Duration::from_secs(value.strip_suffix('s').unwrap().parse().unwrap())
}

#[tokio::test]
async fn the_service_starts_the_program_by_flags_that_it_has() {
    let command = value(UNITS[0], "Service", "ExecStart");
    let words: Vec<&str> = command.split(' ').collect();
    assert_eq!(words[..2], ["/usr/bin/mqtt-gate", "serve"]);
    let (code, help, _) = run(&mut mqtt_gate([words[1], "--help"])).await;
    assert_eq!(code, Some(0));
    for flag in words.iter().filter(|word| word.starts_with("--")) {
        assert!(help.contains(&format!("{flag} <")), "{flag}");
    }
}

#[test]
fn the_key_reaches_the_service_as_a_credential_and_in_no_other_way() {
    let (name, file) = value(UNITS[0], "Service", "LoadCredential").split_once(':').map(owned).unwrap();
    assert_eq!(key_file(&config("deploy/systemd/gate.toml")), format!("/run/credentials/mqtt-gate.service/{name}"));
    for unit in UNITS {
        assert_eq!(value(unit, "Unit", "AssertPathExists"), file);
    }
    for name in ["Environment", "EnvironmentFile", "PassEnvironment", "SetCredential"] {
        assert_eq!(values(UNITS[0], "Service", name), [""; 0]);
    }
}

fn owned((one, other): (&str, &str)) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

#[test]
fn systemd_holds_both_sockets_where_the_gate_would_listen() {
    let (service, sockets) = (UNITS[0], &UNITS[1..]);
    let defaults = config("deploy/gate.toml");
    for (unit, name, address) in [(UNITS[1], "logins", defaults.listen), (UNITS[2], "admin", defaults.admin_listen)] {
        assert_eq!(value(unit, "Socket", "ListenStream"), address.to_string());
        assert_eq!(value(unit, "Socket", "FileDescriptorName"), name);
        assert_eq!(value(unit, "Socket", "Service"), service);
        assert_eq!(values(unit, "Socket", "Accept"), [""; 0]);
    }
    assert_eq!(value(service, "Service", "Sockets"), sockets.join(" "));
    assert_eq!(value(service, "Unit", "Requires"), sockets.join(" "));
    assert_eq!(value(service, "Install", "Also"), sockets.join(" "));
    // A limit on starts would close the sockets with the service.
    assert_eq!(value(service, "Unit", "StartLimitIntervalSec"), "0");
}

#[test]
fn the_service_leaves_the_gate_time_and_room() {
    let limits = config("deploy/systemd/gate.toml").limits;
    assert!(seconds("TimeoutStopSec") > limits.drain);
    assert!(seconds("WatchdogSec") > 20 * limits.deadline);
    let files: usize = value(UNITS[0], "Service", "LimitNOFILE").parse().unwrap();
    assert!(files > 2 * limits.connections.get());
    assert_eq!(value(UNITS[0], "Service", "Type"), "notify");
}

#[test]
fn the_service_is_kept_from_all_that_it_does_not_need() {
    for (name, expected) in [
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("PrivateUsers", "yes"),
        ("PrivateNetwork", "yes"),
        ("RestrictAddressFamilies", "AF_UNIX"),
        ("RestrictNamespaces", "yes"),
        ("SystemCallArchitectures", "native"),
        // wasmtime makes memory executable that it has written.
        ("MemoryDenyWriteExecute", "no"),
        ("StateDirectory", "mqtt-gate"),
        ("Restart", "on-failure"),
    ] {
        assert_eq!(value(UNITS[0], "Service", name), expected, "{name}");
    }
    let calls = values(UNITS[0], "Service", "SystemCallFilter");
    assert_eq!(calls, ["@system-service", "~@privileged @keyring"]);
}

/// systemd itself, where it is installed: it need not run.
#[test]
fn systemd_finds_no_mistake_in_the_units_and_little_that_the_service_may_do() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let at = |unit: &str| directory.path().join(unit);
    for unit in UNITS {
        let text = text(&format!("deploy/systemd/{unit}"));
        fs::write(at(unit), text.replace("/usr/bin/mqtt-gate", program().to_str().unwrap())).unwrap();
    }
    for arguments in [
        vec!["verify", "--man=no", "--recursive-errors=no"],
        vec!["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE],
    ] {
        let units = if arguments[0] == "verify" { &UNITS[..] } else { &UNITS[..1] };
        let output = Command::new("systemd-analyze").args(&arguments).args(units.iter().map(|unit| at(unit))).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        assert!(!said.contains("Unknown key"), "{said}");
    }
}
