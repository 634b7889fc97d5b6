//! Starting a server as a child process.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

/// Returns a local address that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Starts a server and waits for a line on its standard error that contains `marker`. Returns that line too.
pub(crate) fn spawn_until_logged(command: &mut Command, marker: &str) -> Result<(Child, String)> {
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut log = BufReader::new(process.stderr.take().context("no standard error")?);
    let mut line = String::new();
    while log.read_line(&mut line)? > 0 {
        if line.contains(marker) {
            // Drain the rest of the log. Otherwise the server blocks when the pipe is full.
            thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
            return Ok((process, line));
        }
    }
    process.wait()?;
    bail!("the server ended before it was ready: {}", line.lines().last().unwrap_or_default())
}
