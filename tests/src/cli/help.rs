//! `--help`, completions, and exit codes of arguments that are not understood.

use std::process::Stdio;

use tokio::process::Command;

use crate::support::child::{mqtt_gate, run, run_with_stdin};
use crate::support::device::KEY;
use crate::support::in_process::LOCKDOWN;
use crate::support::within_timeout;

const COMMANDS: [&str; 10] =
    ["serve", "check", "compose", "inspect", "eval", "mint", "status", "swap", "rollback", "completions"];

#[tokio::test(flavor = "multi_thread")]
async fn help_lists_every_command_and_the_exit_codes() {
    let (code, help, _) = run(&mut mqtt_gate(["--help"])).await;
    assert!(code == Some(0) && help.contains("Exit codes:"), "{help}");
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is missing: {help}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn help_of_every_command_has_examples() {
    for command in COMMANDS {
        let (code, help, _) = run(&mut mqtt_gate([command, "--help"])).await;
        assert!(code == Some(0) && help.contains("\nExamples:\n  "), "{command}: {help}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_arguments_exit_64_with_one_line() {
    for arguments in [vec!["serve", "--lisen"], vec!["serve", "--listen", "x"], vec!["check"], vec!["swerve"]] {
        let (code, _, error) = run(&mut mqtt_gate(arguments)).await;
        assert!(code == Some(64) && error.lines().count() == 1 && error.starts_with("mqtt-gate: "), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_command_exits_64() {
    assert_eq!(run(&mut mqtt_gate([])).await.0, Some(64));
}

/// As in `mqtt-gate eval … | head -0`.
async fn assert_exit_code_without_reader(arguments: &[&str], expected: i32) {
    let mut command = mqtt_gate(arguments.iter().copied());
    command.env("MQTT_SIGNATURE_KEY", KEY).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let exit = within_timeout("the command to end", child.wait()).await.unwrap();
    assert_eq!(exit.code(), Some(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_standard_output_does_not_change_the_exit_code() {
    assert_exit_code_without_reader(&["eval", "--client-id", "x", "--json"], 1).await;
    assert_exit_code_without_reader(&["check", LOCKDOWN, "--json"], 64).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_exist_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, error) = run(&mut mqtt_gate(["completions", shell])).await;
        assert_eq!((code, error.as_str()), (Some(0), ""));
        assert!(script.contains("rollback") && script.contains("token-file"), "{shell}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bash_parses_its_completions() {
    let (code, script, _) = run(&mut mqtt_gate(["completions", "bash"])).await;
    assert_eq!(code, Some(0));
    assert_eq!(run_with_stdin(Command::new("bash").arg("-n").kill_on_drop(true), script.as_bytes()).await.0, Some(0));
}

/// The path of a secret file may be the secret itself, so it is not repeated.
async fn assert_hides_path(arguments: &[&str], flag: &str) {
    let (code, _, error) = run(&mut mqtt_gate(arguments.iter().copied())).await;
    assert!(code == Some(64) && error.contains(flag) && !error.contains("s3cret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_hide_the_paths_of_secret_files() {
    assert_hides_path(&["mint", "--key-file", "key-s3cret"], "--key-file").await;
    assert_hides_path(&["status", "--token-file", "key-s3cret"], "--token-file").await;
    assert_hides_path(&["eval", "--password-file", "key-s3cret", "--client-id", "c"], "--password-file").await;
}
