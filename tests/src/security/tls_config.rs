//! Mistakes in certificate files: exit code 64 and one line that names the file.

use std::fs;

use super::tls::key;
use crate::support::ca::Ca;
use crate::support::child::{run_rejected, serve_command, write_config};
use crate::support::tls_files::TlsFiles;

/// Valid files of a listener with client certificates.
fn valid_files() -> (Ca, TlsFiles) {
    let ca = Ca::new();
    let files = TlsFiles::new(&ca.identity());
    files.replace("ca.pem", &ca.root());
    (ca, files)
}

/// Asserts that the gate rejects these files in one line, which contains all of `expected` and no key.
async fn assert_rejected(files: &TlsFiles, expected: &[&str]) {
    let config = write_config(files.directory(), &format!("tls = {}", files.toml_with_client_ca()));
    let (code, error) = run_rejected(&mut serve_command(&config)).await;
    assert_eq!(code, Some(64), "{error}");
    for text in expected {
        assert!(error.contains(text), "no {text:?} in {error}");
    }
    assert!(error.lines().count() == 1 && !error.contains("PRIVATE"), "{error}");
}

/// Asserts that the gate rejects the valid files after one of them is replaced, and names that file.
async fn assert_rejects_file(name: &str, text: &str, expected: &str) {
    let (_, files) = valid_files();
    files.replace(name, text);
    assert_rejected(&files, &[&files.path(name).display().to_string(), expected]).await;
}

async fn assert_rejects_missing_file(name: &str) {
    let (_, files) = valid_files();
    fs::remove_file(files.path(name)).unwrap();
    assert_rejected(&files, &["tls", &files.path(name).display().to_string()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_missing_certificate_file() {
    assert_rejects_missing_file("chain.pem").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_missing_key_file() {
    assert_rejects_missing_file("key.pem").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_certificate_file_without_a_certificate() {
    assert_rejects_file("chain.pem", &Ca::new().identity().key, "no certificate").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_certificate_that_cannot_be_parsed() {
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_rejects_file("chain.pem", garbage, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_certificate_for_another_key() {
    let (ca, files) = valid_files();
    files.replace("chain.pem", &ca.identity().chain);
    let paths = ["chain.pem", "key.pem"].map(|name| files.path(name).display().to_string());
    assert_rejected(&files, &[&paths[0], &paths[1]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_a_key_file_without_a_key() {
    assert_rejects_file("key.pem", &Ca::new().identity().chain, "no private key").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_encrypted_key_in_pkcs8() {
    assert_rejects_file("key.pem", &key("encrypted-pkcs8"), "encrypted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_encrypted_key_in_pkcs1() {
    assert_rejects_file("key.pem", &key("encrypted-pkcs1"), "encrypted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_an_empty_client_ca_file() {
    assert_rejects_file("ca.pem", "", "no certificate").await;
}
