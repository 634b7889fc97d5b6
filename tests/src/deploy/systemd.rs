//! The systemd units: they fit the program, and restrict it to what it needs.

use std::fs;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::{gate_config, key_file, text};
use crate::support::child::{gate_binary, mqtt_gate, run};

const UNITS: [&str; 3] = ["mqtt-gate.service", "mqtt-gate.socket", "mqtt-gate-admin.socket"];

/// Highest accepted exposure of `systemd-analyze security`, times ten: 0 is fully restricted, 100 is unrestricted.
const MAX_EXPOSURE: &str = "10";

/// The values of a key in a section, in order.
fn values(unit: &str, section: &str, name: &str) -> Vec<String> {
    let mut current = String::new();
    let mut values = Vec::new();
    for line in text(&format!("deploy/systemd/{unit}")).lines() {
        if let Some(header) = line.strip_prefix('[') {
            current = header.trim_end_matches(']').to_owned();
        } else if let Some((_, value)) = line.split_once('=').filter(|(key, _)| *key == name && current == section) {
            values.push(value.to_owned());
        }
    }
    values
}

fn value(unit: &str, section: &str, name: &str) -> String {
    let values = values(unit, section, name);
    assert_eq!(values.len(), 1, "{name}= of {unit} must be set once");
    values[0].clone()
}

fn seconds(name: &str) -> Duration {
    let value = value(UNITS[0], "Service", name);
    Duration::from_secs(value.strip_suffix('s').unwrap().parse().unwrap())
}

#[tokio::test]
async fn service_starts_the_gate_with_existing_flags() {
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
fn key_is_a_systemd_credential_and_nothing_else() {
    let (name, file) = value(UNITS[0], "Service", "LoadCredential").split_once(':').map(owned).unwrap();
    assert_eq!(
        key_file(&gate_config("deploy/systemd/gate.toml")),
        format!("/run/credentials/mqtt-gate.service/{name}")
    );
    for unit in UNITS {
        assert_eq!(value(unit, "Unit", "AssertPathExists"), file);
    }
    for name in ["Environment", "EnvironmentFile", "PassEnvironment", "SetCredential"] {
        assert_eq!(values(UNITS[0], "Service", name), [""; 0]);
    }
}

#[test]
fn drop_in_for_the_api_of_emqx_opens_only_that_destination() {
    let drop_in = "broker-api.conf";
    assert_eq!(value(drop_in, "Service", "PrivateNetwork"), "no");
    assert_eq!(value(drop_in, "Service", "RestrictAddressFamilies"), "AF_INET AF_INET6");
    assert_eq!(value(drop_in, "Service", "IPAddressDeny"), "any");
    assert_eq!(value(drop_in, "Service", "IPAddressAllow"), "127.0.0.1");
    let credentials = values(drop_in, "Service", "LoadCredential");
    assert_eq!(credentials.len(), 2);
    for credential in credentials {
        let (name, _) = credential.split_once(':').unwrap();
        assert!(
            text("deploy/systemd/broker-api.conf").contains(&format!("/run/credentials/mqtt-gate.service/{name}\""))
        );
    }
}

fn owned((first, second): (&str, &str)) -> (String, String) {
    (first.to_owned(), second.to_owned())
}

#[test]
fn sockets_have_the_default_addresses_of_the_gate() {
    let (service, sockets) = (UNITS[0], &UNITS[1..]);
    let defaults = gate_config("deploy/gate.toml");
    for (unit, name, address) in
        [(UNITS[1], "logins", defaults.listen.iter().next().unwrap()), (UNITS[2], "admin", defaults.admin_listen)]
    {
        assert_eq!(value(unit, "Socket", "ListenStream"), address.to_string());
        assert_eq!(value(unit, "Socket", "FileDescriptorName"), name);
        assert_eq!(value(unit, "Socket", "Service"), service);
        assert_eq!(values(unit, "Socket", "Accept"), [""; 0]);
    }
    assert_eq!(value(service, "Service", "Sockets"), sockets.join(" "));
    assert_eq!(value(service, "Unit", "Requires"), sockets.join(" "));
    assert_eq!(value(service, "Install", "Also"), sockets.join(" "));
    // When a start limit is hit, systemd closes the sockets too.
    assert_eq!(value(service, "Unit", "StartLimitIntervalSec"), "0");
}

#[test]
fn timeouts_and_limits_exceed_those_of_the_gate() {
    let limits = gate_config("deploy/systemd/gate.toml").limits;
    assert!(seconds("TimeoutStopSec") > limits.drain_timeout);
    assert!(seconds("WatchdogSec") > 20 * limits.policy_timeout);
    let files: usize = value(UNITS[0], "Service", "LimitNOFILE").parse().unwrap();
    assert!(files > 2 * limits.max_connections.get());
    assert_eq!(value(UNITS[0], "Service", "Type"), "notify");
}

#[test]
fn service_is_sandboxed() {
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
        // wasmtime compiles code at run time.
        ("MemoryDenyWriteExecute", "no"),
        ("StateDirectory", "mqtt-gate"),
        ("Restart", "on-failure"),
    ] {
        assert_eq!(value(UNITS[0], "Service", name), expected, "{name}");
    }
    let calls = values(UNITS[0], "Service", "SystemCallFilter");
    assert_eq!(calls, ["@system-service", "~@privileged @keyring"]);
}

/// Runs `systemd-analyze` if it is installed; systemd itself need not run.
#[test]
fn systemd_analyze_accepts_the_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let at = |unit: &str| directory.path().join(unit);
    for unit in UNITS {
        let text = text(&format!("deploy/systemd/{unit}"));
        fs::write(at(unit), text.replace("/usr/bin/mqtt-gate", gate_binary().to_str().unwrap())).unwrap();
    }
    for arguments in [
        vec!["verify", "--man=no", "--recursive-errors=no"],
        vec!["security", "--offline=true", "--no-pager", "--threshold", MAX_EXPOSURE],
    ] {
        let units = if arguments[0] == "verify" { &UNITS[..] } else { &UNITS[..1] };
        let output = Command::new("systemd-analyze").args(&arguments).args(units.iter().map(|unit| at(unit))).output();
        let output = output.unwrap();
        let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {printed}");
        assert!(!printed.contains("Unknown key"), "{printed}");
    }
}
