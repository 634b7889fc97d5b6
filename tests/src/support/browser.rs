//! A headless browser that opens the dashboard.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use crate::support::within_timeout;

/// The DOM of the dashboard at `admin`, after the page has polled the gate a few times.
pub(crate) async fn dashboard(admin: SocketAddr) -> String {
    dashboard_at(admin, "").await
}

/// As [`dashboard`], with this fragment in its address.
pub(crate) async fn dashboard_at(admin: SocketAddr, fragment: &str) -> String {
    let profile = TempDir::new().unwrap();
    let output = Command::new(browser())
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(["--virtual-time-budget=4000", "--dump-dom", &format!("http://{admin}/{fragment}")])
        .env("HOME", profile.path())
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within_timeout("the browser to end", output).await.expect("the browser starts");
    let page = String::from_utf8(output.stdout).unwrap();
    let body = page.split_once("<body").unwrap_or_else(|| panic!("not a page: {page}")).1;
    body.split_once("<script>").unwrap().0.to_owned()
}

fn browser() -> PathBuf {
    let paths = ["chromium", "chromium-browser", "google-chrome"].map(|name| PathBuf::from("/usr/bin").join(name));
    paths.into_iter().find(|path| path.exists()).expect("install chromium (`make test` does so as root)")
}
