//! The actions of a soak: swaps, key changes, faults and restarts.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::expectation::{Expectations, Expected};
use super::site::Site;

/// How long clients see the outcome of an action before the next one.
const CALM: Duration = Duration::from_secs(1);

/// Clients that send half a request.
const SLOW_CLIENTS: usize = 200;

/// Blocks within blocks in each function of a component that takes compilers long.
const NESTED: usize = 3_900;

/// An action on the gate. After each action, the default policy serves with both keys.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// The lockdown, and back.
    Lockdown,
    /// The same policy as another component.
    Swap,
    /// The second key leaves the ring, and comes back.
    KeyChange,
    /// A file that is no component.
    BadPolicy,
    /// A component that takes too long to compile.
    SlowCandidate,
    /// A key file that is missing for a while.
    MissingKeys,
    /// The state directory cannot be written for a while.
    NoState,
    /// The file of the decision log is moved away, and the gate is told to open a new one.
    LogRotation,
    /// Clients that send half a request and wait.
    SlowClients,
    /// The gate is told to stop, and starts again.
    Restart,
    /// The gate is killed, and starts again.
    Kill,
}

/// How often each action was done, in the order of [`Action::ALL`].
#[derive(Default)]
pub(crate) struct Counts(pub(crate) [u64; Action::ALL.len()]);

const BOTH: [Expected; 2] = [Expected::Allow, Expected::Allow];
const CHANGING: [Expected; 2] = [Expected::Either, Expected::Either];

impl Action {
    pub(crate) const ALL: [Self; 11] = [
        Self::Lockdown,
        Self::Swap,
        Self::KeyChange,
        Self::BadPolicy,
        Self::SlowCandidate,
        Self::MissingKeys,
        Self::NoState,
        Self::LogRotation,
        Self::SlowClients,
        Self::Restart,
        Self::Kill,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lockdown => "lockdowns",
            Self::Swap => "swaps to an equal policy",
            Self::KeyChange => "revoked keys",
            Self::BadPolicy => "files that are no policy",
            Self::SlowCandidate => "components that compile too long",
            Self::MissingKeys => "missing key files",
            Self::NoState => "state directories that cannot be written",
            Self::LogRotation => "log rotations",
            Self::SlowClients => "floods of unfinished requests",
            Self::Restart => "restarts",
            Self::Kill => "kills",
        }
    }

    pub(crate) fn run(self, site: &mut Site, expectations: &Expectations, counts: &mut Counts) -> Result<()> {
        self.act(site, expectations, counts).with_context(|| format!("the soak ended at one of the {}", self.name()))
    }

    fn act(self, site: &mut Site, expectations: &Expectations, counts: &mut Counts) -> Result<()> {
        if let Some(count) = counts.0.get_mut(self as usize) {
            *count += 1;
        }
        match self {
            Self::Lockdown => {
                expectations.set(CHANGING);
                site.replace("policy.wasm", &site.lockdown)?;
                site.wait_until("the lockdown is active", |status| status.policy.name == "lockdown")?;
                expectations.set([Expected::Deny, Expected::Deny]);
                thread::sleep(CALM);
                expectations.set(CHANGING);
                restore(site)?;
            }
            Self::Swap => {
                let generation = site.status()?.policy.generation;
                site.replace("policy.wasm", &renamed(&site.default_policy, counts.0.iter().sum()))?;
                site.wait_until("the swap is done", |status| status.policy.generation > generation)?;
            }
            Self::KeyChange => {
                expectations.set([Expected::Allow, Expected::Either]);
                let generation = site.status()?.policy.generation;
                site.write_keys(1)?;
                site.wait_until("the key is revoked", |status| status.policy.generation > generation)?;
                expectations.set([Expected::Allow, Expected::Deny]);
                thread::sleep(CALM);
                expectations.set([Expected::Allow, Expected::Either]);
                restore(site)?;
            }
            Self::BadPolicy => reject(site, site.default_policy.get(..1000).unwrap_or_default())?,
            Self::SlowCandidate => reject(site, &slow_component())?,
            Self::MissingKeys => {
                let rejected = rejections(site)?;
                fs::remove_file(site.path("keys"))?;
                site.wait_until("the missing file is seen", |status| status.rejected.count > rejected)?;
                restore(site)?;
            }
            Self::NoState => {
                // Renamed first: the gate may be writing there.
                fs::rename(site.path("state"), site.path("state.old"))?;
                fs::remove_dir_all(site.path("state.old"))?;
                fs::write(site.path("state"), "")?;
                Self::Swap.run(site, expectations, counts)?;
                thread::sleep(CALM);
                fs::remove_file(site.path("state"))?;
                restore(site)?;
            }
            Self::LogRotation => {
                fs::rename(site.path("decisions"), site.path("decisions.1"))?;
                site.signal("HUP")?;
                site.wait_for_file("decisions")?;
            }
            Self::SlowClients => {
                let head = b"POST /mqtt/auth HTTP/1.1\r\nhost: gate\r\ncontent-length: 60000\r\n\r\n";
                let half = [&head[..], &[b'x'; 30_000]].concat();
                // Some may be closed to make room for others.
                let mut clients = Vec::new();
                for _ in 0..SLOW_CLIENTS {
                    let mut stream = TcpStream::connect(site.address())?;
                    stream.set_write_timeout(Some(CALM))?;
                    let _ = stream.write_all(&half);
                    clients.push(stream);
                }
                thread::sleep(CALM);
            }
            Self::Restart => site.restart("TERM")?,
            Self::Kill => site.restart("KILL")?,
        }
        restore(site)?;
        expectations.set(BOTH);
        thread::sleep(CALM);
        Ok(())
    }
}

/// Puts the default policy and both keys in place, and waits until they are active and nothing is on hold.
fn restore(site: &Site) -> Result<()> {
    site.write_keys(2)?;
    site.replace("policy.wasm", &site.default_policy)?;
    let digest = mqtt_gate_engine::Digest::of(&site.default_policy).to_string();
    site.wait_until("the default policy is active", |status| {
        status.policy.sha256 == digest
            && status.policy.origin == "file"
            && status.rejected.on_hold.is_none()
            && status.compiling.is_none()
    })?;
    // The keys have no digest: a login tells whether they are active.
    site.wait_for_second_key()
}

/// Puts a file in place that the gate must reject while it serves on.
fn reject(site: &Site, policy: &[u8]) -> Result<()> {
    let rejected = rejections(site)?;
    site.replace("policy.wasm", policy)?;
    site.wait_until("the policy is rejected", |status| status.rejected.count > rejected)
}

fn rejections(site: &Site) -> Result<u64> {
    Ok(site.status()?.rejected.count)
}

/// The same component with another digest: a custom section is appended.
fn renamed(component: &[u8], number: u64) -> Vec<u8> {
    let name = number.to_le_bytes();
    let section = [&[0, 9, 8][..], &name.map(|byte| b'a' + byte % 26)].concat();
    [component, &section].concat()
}

/// A component that passes the check before compiling, and takes a compiler minutes.
fn slow_component() -> Vec<u8> {
    let blocks = [[0x02, 0x40].repeat(NESTED), vec![0x0b; NESTED]].concat();
    let code = [blocks.repeat(85), vec![0x0b]].concat();
    let functions = 1;
    let types = section(1, &[1, 0x60, 0, 0]);
    let declarations = section(3, &[leb128(functions), vec![0; functions]].concat());
    let body = [leb128(code.len() + 1), vec![0], code].concat();
    let module = [
        b"\0asm\x01\0\0\0",
        &types[..],
        &declarations,
        &section(10, &[leb128(functions), body.repeat(functions)].concat()),
    ];
    [b"\0asm\x0d\0\x01\0", &section(1, &module.concat())[..]].concat()
}

fn section(id: u8, contents: &[u8]) -> Vec<u8> {
    [&[id][..], &leb128(contents.len()), contents].concat()
}

fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        bytes.push(if value == 0 { byte } else { byte | 0x80 });
        if value == 0 {
            return bytes;
        }
    }
}
