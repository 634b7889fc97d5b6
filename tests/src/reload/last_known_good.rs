//! The last policy that served survives on disk, for a start that finds its file broken, and for nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::support::child::{PATIENCE, Running, mqtt_gate, run};
use crate::support::device::{Device, KEY};
use crate::support::http::{Connection, get};
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, OPERATOR};

/// A policy file and a state directory that outlive the gates on them.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new(component: &str) -> Self {
        let place = Self { directory: TempDir::new().unwrap() };
        fs::copy(component, place.policy()).unwrap();
        place
    }

    fn policy(&self) -> PathBuf {
        self.directory.path().join("policy.wasm")
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    async fn gate(&self) -> Gate {
        Gate::start_with(AUTH_CORE, |config| {
            config.policy.file = Some(self.policy());
            config.state.directory = Some(self.state());
        })
        .await
    }

    /// The one file in the state directory, once it is this component and nothing else.
    async fn until_kept(&self, component: &str) -> PathBuf {
        let component = fs::read(component).unwrap();
        let kept = async {
            loop {
                let files = files(&self.state());
                let is_finished = |file: &Path| file.file_name().unwrap().to_str().unwrap().starts_with("policy-");
                if let [file] = &files[..]
                    && is_finished(file)
                    && fs::read(file).is_ok_and(|kept| kept == component)
                {
                    return file.clone();
                }
                sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, kept).await.expect("the component is kept, and it alone")
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_displaces_nothing_that_is_the_operators() {
    let place = Place::new(AUTH_CORE);
    fs::create_dir(place.state()).unwrap();
    let own = ["policy-2026-11.wasm", "policy.wasm.new", "notes"].map(|name| place.state().join(name));
    own.iter().for_each(|path| fs::write(path, "of the operator").unwrap());
    let gate = place.gate().await;
    let is_kept = || files(&place.state()).len() > own.len();
    timeout(PATIENCE, async {
        while !is_kept() {
            sleep(std::time::Duration::from_millis(5)).await
        }
    })
    .await
    .unwrap();
    fs::copy(LOCKDOWN, place.policy()).unwrap();
    gate.until_generation(2).await;
    gate.stop().await;
    assert!(own.iter().all(|path| fs::read(path).unwrap() == b"of the operator"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_finds_the_file_broken_serves_what_served_last() {
    let place = Place::new(AUTH_CORE);
    let gate = place.gate().await;
    assert_eq!(gate.status().await["policy"]["from"], "file");
    place.until_kept(AUTH_CORE).await;
    fs::copy(LOCKDOWN, place.policy()).unwrap();
    let digest = gate.until_generation(2).await["policy"]["sha256"].clone();
    let kept = place.until_kept(LOCKDOWN).await;
    assert_eq!(json!(kept.file_stem().unwrap().to_str().unwrap().trim_start_matches("policy-")), digest);
    gate.stop().await;

    let core_module = wat::parse_str("(module)").unwrap();
    for broken in [None, Some(&b"garbage"[..]), Some(&core_module), Some(&fs::read(LOCKDOWN).unwrap()[..1000])] {
        match broken {
            Some(bytes) => fs::write(place.policy(), bytes).unwrap(),
            None => fs::remove_file(place.policy()).unwrap(),
        }
        let gate = place.gate().await;
        assert_eq!(gate.connect(&Device::named(OPERATOR)).await, 200);
        assert_eq!(gate.connect(&Device::genuine()).await, 401);
        let status = gate.until_rejected(1).await;
        assert_eq!((&status["policy"]["from"], &status["policy"]["sha256"]), (&json!("last good"), &digest));
        assert_eq!(Connection::open(gate.admin).await.ask(&get("/readyz")).await.status, 200);
        gate.stop().await;
    }

    // What is put in the file's place serves, also if it is the same.
    let gate = place.gate().await;
    fs::copy(LOCKDOWN, place.policy()).unwrap();
    let status = gate.until_generation(2).await;
    assert_eq!((&status["policy"]["from"], &status["policy"]["sha256"]), (&json!("file"), &digest));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_hides_no_mistake_of_the_operator_and_is_not_trusted_blindly() {
    let place = Place::new(AUTH_CORE);
    let config = place.directory.path().join("gate.toml");
    fs::write(&config, format!("policy.file = {:?}", place.policy())).unwrap();
    let serve = |key: &str| {
        let mut command = mqtt_gate(["serve", "--config", config.to_str().unwrap()]);
        // As systemd says it; the first is meant.
        command.env("STATE_DIRECTORY", format!("{}:/nowhere", place.state().display()));
        command.env("MQTT_SIGNATURE_KEY", key);
        command
    };
    let gate = Running::start(&mut serve(KEY)).await;
    let kept = place.until_kept(AUTH_CORE).await;
    gate.terminate();
    assert_eq!(gate.end().await.0, Some(0));

    fs::write(place.policy(), "garbage").unwrap();
    for key in ["", "null", "short"] {
        let (code, _, error) = run(&mut refused(serve(key))).await;
        assert_eq!(code, Some(64), "{error}");
    }
    let gate = Running::start(&mut serve(KEY)).await;
    gate.terminate();
    assert_eq!(gate.end().await.0, Some(0));

    // A whole policy that refuses its settings is no broken file: the settings are to be mended.
    fs::copy(LOCKDOWN, place.policy()).unwrap();
    let (code, _, error) = run(&mut refused(serve(KEY))).await;
    assert!(code == Some(64) && error.contains("clients: missing"), "{error}");

    // Somebody puts another component under the name of the one that served.
    fs::write(place.policy(), "garbage").unwrap();
    fs::copy(LOCKDOWN, &kept).unwrap();
    let (code, _, error) = run(&mut refused(serve(KEY))).await;
    assert_eq!(code, Some(64));
    assert!(error.contains("not what its name says") && error.contains("not a component"), "{error}");
}

/// On free ports.
fn refused(mut command: tokio::process::Command) -> tokio::process::Command {
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_kept_is_kept_once_there_is_room() {
    let place = Place::new(AUTH_CORE);
    // A file where the directory should be.
    fs::write(place.state(), "").unwrap();
    let gate = place.gate().await;
    fs::copy(LOCKDOWN, place.policy()).unwrap();
    gate.until_generation(2).await;
    fs::remove_file(place.state()).unwrap();
    place.until_kept(LOCKDOWN).await;
    gate.stop().await;
}
