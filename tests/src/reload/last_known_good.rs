//! `state.directory`: the last known good policy is kept on disk, for a start with an invalid policy file only.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::child::{GateProcess, run_rejected, serve_command, write_config};
use crate::support::device::{Device, KEY};
use crate::support::http::{Connection, get};
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, OPERATOR};
use crate::support::poll_until;

/// A policy file and a state directory that several gates use in turn.
struct Site {
    directory: TempDir,
}

impl Site {
    fn new(component: &str) -> Self {
        let site = Self { directory: TempDir::new().unwrap() };
        fs::copy(component, site.policy()).unwrap();
        site
    }

    fn policy(&self) -> PathBuf {
        self.directory.path().join("policy.wasm")
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    async fn start(&self) -> Gate {
        Gate::start_with(AUTH_CORE, |config| {
            config.policy.first.file = Some(self.policy());
            config.state.directory = Some(self.state());
        })
        .await
    }

    /// `mqtt-gate serve` with the state directory from the environment, as systemd sets it. The first path counts.
    fn serve_command(&self, key: &str) -> Command {
        self.serve_command_with(key, "")
    }

    /// As [`Self::serve_command`], with more lines of the configuration.
    fn serve_command_with(&self, key: &str, lines: &str) -> Command {
        let config = write_config(self.directory.path(), &format!("policy.file = {:?}\n{lines}", self.policy()));
        let mut command = serve_command(&config);
        command.env("STATE_DIRECTORY", format!("{}:/nowhere", self.state().display()));
        command.env("MQTT_SIGNATURE_KEY", key);
        command
    }

    /// Runs a gate by [`Self::serve_command`] until it has kept its policy. Returns the kept file.
    async fn serve_once(&self, component: &str) -> PathBuf {
        let gate = GateProcess::start(&mut self.serve_command(KEY)).await;
        let kept = self.wait_until_kept(component).await;
        gate.stop().await;
        kept
    }

    /// Waits until the state directory holds this component and nothing else. Returns the file.
    async fn wait_until_kept(&self, component: &str) -> PathBuf {
        let component = fs::read(component).unwrap();
        poll_until("the policy is kept", async || {
            let files: Vec<_> =
                files(&self.state()).into_iter().filter(|file| file.file_name().unwrap() != "lock").collect();
            let is_complete = |file: &Path| file.file_name().unwrap().to_str().unwrap().starts_with("policy-");
            match &files[..] {
                [file] if is_complete(file) && fs::read(file).is_ok_and(|kept| kept == component) => Some(file.clone()),
                _ => None,
            }
        })
        .await
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_operator_in_the_state_directory_are_kept() {
    let site = Site::new(AUTH_CORE);
    fs::create_dir(site.state()).unwrap();
    let own = ["policy-2026-11.wasm", "policy.wasm.new", "notes"].map(|name| site.state().join(name));
    own.iter().for_each(|path| fs::write(path, "of the operator").unwrap());
    let gate = site.start().await;
    let is_kept = async || (files(&site.state()).len() > own.len()).then_some(());
    poll_until("the policy is kept", is_kept).await;
    fs::copy(LOCKDOWN, site.policy()).unwrap();
    gate.wait_for_generation(2).await;
    gate.stop().await;
    assert!(own.iter().all(|path| fs::read(path).unwrap() == b"of the operator"));
}

#[tokio::test(flavor = "multi_thread")]
async fn active_policy_is_kept_under_its_digest_after_each_swap() {
    let site = Site::new(AUTH_CORE);
    let gate = site.start().await;
    assert_eq!(gate.status().await["policy"]["origin"], "file");
    site.wait_until_kept(AUTH_CORE).await;
    fs::copy(LOCKDOWN, site.policy()).unwrap();
    let digest = gate.wait_for_generation(2).await["policy"]["sha256"].clone();
    let kept = site.wait_until_kept(LOCKDOWN).await;
    assert!(kept.to_str().unwrap().contains(&format!("/policy-{}-", digest.as_str().unwrap())), "{kept:?}");
    gate.stop().await;
}

/// Asserts that a start with an invalid policy file serves the last known good policy, until a file is valid again.
async fn assert_serves_last_known_good(replace: impl FnOnce(&Path)) {
    let site = Site::new(LOCKDOWN);
    let gate = site.start().await;
    let digest = gate.status().await["policy"]["sha256"].clone();
    site.wait_until_kept(LOCKDOWN).await;
    gate.stop().await;

    replace(&site.policy());
    let gate = site.start().await;
    assert_eq!(gate.authenticate(&Device::unsigned(OPERATOR)).await, 200);
    assert_eq!(gate.authenticate(&Device::valid()).await, 401);
    let status = gate.wait_for_rejection(1).await;
    assert_eq!((&status["policy"]["origin"], &status["policy"]["sha256"]), (&json!("last-known-good"), &digest));
    assert_eq!(Connection::open(gate.admin).await.request(&get("/readyz")).await.status, 200);

    // A valid file becomes active, even with the same component.
    fs::copy(LOCKDOWN, site.policy()).unwrap();
    let status = gate.wait_for_generation(2).await;
    assert_eq!((&status["policy"]["origin"], &status["policy"]["sha256"]), (&json!("file"), &digest));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_file_starts_the_last_known_good_policy() {
    assert_serves_last_known_good(|policy| fs::remove_file(policy).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_starts_the_last_known_good_policy() {
    assert_serves_last_known_good(|policy| fs::write(policy, "garbage").unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn core_module_starts_the_last_known_good_policy() {
    assert_serves_last_known_good(|policy| fs::write(policy, wat::parse_str("(module)").unwrap()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_file_starts_the_last_known_good_policy() {
    assert_serves_last_known_good(|policy| fs::write(policy, &fs::read(LOCKDOWN).unwrap()[..1000]).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn last_known_good_policy_does_not_hide_invalid_settings() {
    let site = Site::new(AUTH_CORE);
    site.serve_once(AUTH_CORE).await;
    fs::write(site.policy(), "garbage").unwrap();
    for key in ["", "null", "short"] {
        let (code, error) = run_rejected(&mut site.serve_command(key)).await;
        assert_eq!(code, Some(64), "{error}");
    }
    GateProcess::start(&mut site.serve_command(KEY)).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn last_known_good_policy_does_not_replace_one_that_rejects_its_settings() {
    let site = Site::new(AUTH_CORE);
    site.serve_once(AUTH_CORE).await;
    fs::copy(LOCKDOWN, site.policy()).unwrap();
    let (code, error) = run_rejected(&mut site.serve_command(KEY)).await;
    assert!(code == Some(64) && error.contains("clients: missing"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_file_with_another_component_is_rejected() {
    let site = Site::new(AUTH_CORE);
    let kept = site.serve_once(AUTH_CORE).await;
    fs::write(site.policy(), "garbage").unwrap();
    fs::copy(LOCKDOWN, &kept).unwrap();
    let (code, error) = run_rejected(&mut site.serve_command(KEY)).await;
    assert_eq!(code, Some(64));
    assert!(error.contains(kept.file_name().unwrap().to_str().unwrap()), "{error}");
    assert!(error.contains("not a component"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_is_kept_once_the_state_directory_can_be_created() {
    let site = Site::new(AUTH_CORE);
    // A file where the directory should be.
    fs::write(site.state(), "").unwrap();
    let gate = site.start().await;
    fs::copy(LOCKDOWN, site.policy()).unwrap();
    gate.wait_for_generation(2).await;
    fs::remove_file(site.state()).unwrap();
    site.wait_until_kept(LOCKDOWN).await;
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_is_kept_after_the_state_directory_was_removed() {
    let site = Site::new(AUTH_CORE);
    let gate = site.start().await;
    site.wait_until_kept(AUTH_CORE).await;
    fs::rename(site.state(), site.directory.path().join("state.old")).unwrap();
    fs::copy(LOCKDOWN, site.policy()).unwrap();
    gate.wait_for_generation(2).await;
    site.wait_until_kept(LOCKDOWN).await;
    gate.stop().await;
}

/// Two gates that are given the same state directory by mistake.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_serves_one_gate_at_a_time() {
    let (first, second) = (Site::new(AUTH_CORE), Site::new(LOCKDOWN));
    let gate = GateProcess::start(&mut first.serve_command(KEY)).await;
    let config = "limits.drain_timeout = \"50ms\"";
    let mut command = second.serve_command_with(KEY, config);
    let (code, error) = run_rejected(command.env("STATE_DIRECTORY", first.state())).await;
    assert_eq!(code, Some(64), "{error}");
    for part in ["is in use by process ", first.policy().to_str().unwrap(), "state.directory"] {
        assert!(error.contains(part), "{error}");
    }
    gate.stop().await;
}

/// A gate that starts with a broken policy file must not serve the policy of another gate.
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_policy_serves_only_the_gate_that_kept_it() {
    let (first, second) = (Site::new(AUTH_CORE), Site::new(LOCKDOWN));
    let kept = first.serve_once(AUTH_CORE).await;
    fs::write(second.policy(), "garbage").unwrap();
    let mut command = second.serve_command(KEY);
    let (code, error) = run_rejected(command.env("STATE_DIRECTORY", first.state())).await;
    assert_eq!(code, Some(64), "{error}");
    assert!(error.contains("kept for another policy file or state.gate_id"), "{error}");

    // The same path, in another container.
    fs::write(first.policy(), "garbage").unwrap();
    let (code, error) = run_rejected(&mut first.serve_command_with(KEY, "state.gate_id = \"gate-2\"")).await;
    assert_eq!(code, Some(64), "{error}");
    assert!(kept.exists(), "a start that fails changes nothing");
    GateProcess::start(&mut first.serve_command(KEY)).await.stop().await;
}
