//! The Debian package: its files exist, and the units find them.

use std::fs;

use super::{ROOT, text, toml};

/// The installed files: source and destination.
fn assets() -> Vec<(String, String)> {
    let manifest = toml("host/Cargo.toml");
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    let part = |asset: &toml::Value, at: usize| asset[at].as_str().unwrap().to_owned();
    assets.iter().map(|asset| (part(asset, 0), part(asset, 1))).collect()
}

fn is_installed(at: &str) -> bool {
    assets().iter().any(|(from, to)| at == format!("/{to}{}", if to.ends_with('/') { file_name(from) } else { "" }))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

#[test]
fn installed_files_exist() {
    for (from, _) in assets().iter().filter(|(from, _)| !from.starts_with("target/")) {
        let (directory, name) = from.rsplit_once('/').unwrap();
        let mut files = fs::read_dir(format!("{ROOT}/host/{directory}")).unwrap().map(|file| file.unwrap().file_name());
        assert!(files.any(|file| name.starts_with('*') || file == name), "{from}");
    }
}

#[test]
fn units_and_configuration_name_installed_files() {
    let service = text("deploy/systemd/mqtt-gate.service");
    let command = service.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    for path in command.split(' ').filter(|word| word.starts_with('/')) {
        assert!(is_installed(path), "{path}");
    }
    // Files that comments tell the operator to copy.
    for path in text("deploy/systemd/gate.toml").split_whitespace().filter(|word| word.starts_with("/usr/")) {
        assert!(path.ends_with('/') || is_installed(path), "{path}");
    }
    let manifest = toml("host/Cargo.toml");
    let deb = &manifest["package"]["metadata"]["deb"];
    for file in deb["conf-files"].as_array().unwrap() {
        assert!(is_installed(file.as_str().unwrap()), "{file:?}");
    }
}

#[test]
fn upgrade_restarts_the_service_and_keeps_the_sockets() {
    let manifest = toml("host/Cargo.toml");
    let deb = &manifest["package"]["metadata"]["deb"];
    // Generated scripts would restart every unit.
    assert!(deb.get("systemd-units").is_none());
    let invoked = |script: &str| -> Vec<String> {
        let text = text(&format!("deploy/debian/{script}"));
        let calls = text.lines().filter_map(|line| line.trim().strip_prefix("deb-systemd-invoke "));
        calls.map(|call| call.split(" >").next().unwrap().to_owned()).collect()
    };
    assert_eq!(invoked("postinst"), ["restart mqtt-gate.service"]);
    assert_eq!(invoked("prerm"), ["stop mqtt-gate.socket mqtt-gate-admin.socket mqtt-gate.service"]);
    assert!(text("deploy/debian/prerm").contains("if [ \"$1\" = remove ]"));
}
