//! A policy outside this repository builds as those inside do: its workspace has no profile `guest` and no lock file.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use componentize::Form;

#[test]
fn a_policy_outside_the_repository_builds() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository.join("target"), PathBuf::from);
    let directory = env::temp_dir().join(format!("componentize-outside-{}", std::process::id()));
    fs::create_dir_all(directory.join("src")).unwrap();
    let lockdown = fs::read_to_string(repository.join("policies/lockdown/src/lib.rs")).unwrap();
    let wit = format!("path: {:?}", repository.join("wit"));
    let source = lockdown.replace("path: \"../../wit\"", &wit);
    assert_ne!(source, lockdown, "the policy names its WIT");
    fs::write(directory.join("src/lib.rs"), source).unwrap();
    let manifest = fs::read_to_string(repository.join("Cargo.toml")).unwrap();
    let wit_bindgen = manifest.lines().find(|line| line.starts_with("wit-bindgen = ")).unwrap();
    // Dependencies that need a newer compiler are not chosen.
    let rust_version = manifest.lines().find(|line| line.starts_with("rust-version = ")).unwrap();
    let manifest = format!(
        "[package]\nname = \"outside-policy\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{rust_version}\n\n\
         [lib]\ncrate-type = [\"cdylib\"]\n\n[dependencies]\n{wit_bindgen}\n\n[workspace]\n"
    );
    fs::write(directory.join("Cargo.toml"), manifest).unwrap();

    let built = componentize::build(&directory, &target, Form::Component);
    fs::remove_dir_all(&directory).unwrap();
    let component = built.map(|built| built.file).unwrap();
    // The header of a component.
    assert!(fs::read(&component).unwrap().starts_with(b"\0asm\x0d\0\x01\0"));
    fs::remove_file(component).unwrap();
}
