//! A server that is measured: a process of its own, so that its time and memory can be told from the load's.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context, Result, bail};

use crate::load::login::{Answers, Login, key_ring};

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// hyper, and an answer that is always the same.
    Hyper,
    /// The gate's serving code, and nobody who judges.
    Plain,
    /// The gate's serving code, and the default policy's checks compiled in.
    Native,
    /// The same checks in the handler that people would write.
    AxumNative,
    /// The gate, its policy's instances used again and again.
    Reused,
    /// The gate, with a fresh instance for every login.
    Fresh,
    /// What somebody else has started.
    Other,
}

impl Kind {
    /// Those that the bench starts.
    pub(crate) const ALL: [Self; 6] =
        [Self::Hyper, Self::Plain, Self::Native, Self::AxumNative, Self::Reused, Self::Fresh];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hyper => "hyper alone",
            Self::Plain => "plain",
            Self::Native => "native",
            Self::AxumNative => "axum-native",
            Self::Reused => "gate reused",
            Self::Fresh => "gate fresh",
            Self::Other => "the one given",
        }
    }

    fn is_gate(self) -> bool {
        matches!(self, Self::Reused | Self::Fresh)
    }
}

/// How it is set up.
#[derive(Clone)]
pub(crate) struct Setup {
    /// Keys in the ring.
    pub(crate) keys: usize,
    /// Threads that serve; as many as there are processors if it is not said.
    pub(crate) workers: Option<NonZero<usize>>,
    /// The policy's file; the default policy within the program if there is none.
    pub(crate) policy: Option<PathBuf>,
    /// More lines of configuration.
    pub(crate) more: String,
    /// Whether it speaks TLS, by those lines: then it is not tried out, for the load of the bench speaks none.
    pub(crate) is_tls: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { keys: 1, workers: None, policy: None, more: String::new(), is_tls: false }
    }
}

/// A server that runs until this is dropped.
pub(crate) struct Contestant {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    /// From its start until it had answered a login.
    pub(crate) ready_after: Duration,
    /// Where the operator asks.
    admin: SocketAddr,
    /// None of ours if somebody else has started it.
    process: Option<Child>,
}

/// How long the first answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the system counts a process's time, in a second.
const TICKS: u64 = 100;

impl Contestant {
    /// Starts it and waits until it serves. `gate` is the program.
    pub(crate) fn start(gate: &Path, kind: Kind, setup: &Setup) -> Result<Self> {
        let (logins, admin) = (free_address()?, free_address()?);
        let mut command = if kind.is_gate() {
            let mut command = Command::new(gate);
            command.arg("serve").args(["--listen", &logins.to_string(), "--admin-listen", &admin.to_string()]);
            command
        } else {
            let mut command = Command::new(env::current_exe()?);
            command.args(["serve", kind.name(), "--listen", &logins.to_string()]);
            if let Some(workers) = setup.workers {
                command.args(["--workers", &workers.to_string()]);
            }
            command
        };
        // A file and not flags alone: it is how an operator says most of this.
        let file = env::temp_dir().join(format!("mqtt-gate-bench-{}-{}.toml", std::process::id(), logins.port()));
        if kind.is_gate() {
            fs::File::create(&file)?.write_all(setup.config(kind).as_bytes())?;
            command.arg("--config").arg(&file);
        }
        command.env("MQTT_SIGNATURE_KEY", key_ring(setup.keys));
        let began = Instant::now();
        let started = until_it_says(&mut command, if kind.is_gate() { "\"serving\"" } else { "listening on" });
        if kind.is_gate() {
            fs::remove_file(file)?;
        }
        let (process, _) = started.with_context(|| format!("cannot start {}", kind.name()))?;
        let mut contestant = Self { kind, address: logins, ready_after: Duration::ZERO, admin, process: Some(process) };
        if !setup.is_tls {
            contestant.try_out(setup)?;
        }
        contestant.ready_after = began.elapsed();
        Ok(contestant)
    }

    /// What listens there already.
    pub(crate) fn given(address: SocketAddr) -> Self {
        Self { kind: Kind::Other, address, ready_after: Duration::ZERO, admin: address, process: None }
    }

    /// The generation of the policy in service.
    pub(crate) fn generation(&self) -> Result<u64> {
        let mut stream = TcpStream::connect(self.admin)?;
        stream.write_all(b"GET /status HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, status) = answer.split_once("\r\n\r\n").context("no status")?;
        let status: serde_json::Value = serde_json::from_str(status)?;
        status.pointer("/policy/generation").and_then(serde_json::Value::as_u64).context("no generation")
    }

    /// Processor time that it has taken until now; not known of what somebody else has started.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        let Some(process) = &self.process else { return Ok(Duration::ZERO) };
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.id()))?;
        // After the name, which may hold anything: the state, and ten fields on the two times.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).context("no time");
        Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 1_000 / TICKS))
    }

    /// Memory that it has now, in bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// The most memory that it has had, in bytes.
    pub(crate) fn most_memory(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    /// A figure of the system's on the process; 0 if somebody else has started it.
    fn status(&self, name: &str) -> Result<u64> {
        let Some(process) = &self.process else { return Ok(0) };
        let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no memory")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib << 10)
    }

    /// Makes sure that it lets in who has to be let in, and nobody else if it judges at all.
    pub(crate) fn try_out(&self, setup: &Setup) -> Result<()> {
        let login = Login::signed_by_last(setup.keys)?;
        if !self.lets_in(&login.requests(1))? {
            bail!("{} does not let in a good login", self.kind.name());
        }
        let judges = !matches!(self.kind, Kind::Hyper | Kind::Plain);
        if judges && self.lets_in(login.forged())? {
            bail!("{} lets in a login with a wrong password", self.kind.name());
        }
        Ok(())
    }

    fn lets_in(&self, request: &[u8]) -> Result<bool> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request)?;
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let length = stream.read(&mut buffer)?;
            answer.extend_from_slice(buffer.get(..length).unwrap_or_default());
            match Answers::default().next(&answer) {
                Ok(None) if length > 0 => {}
                Ok(None) => bail!("{} hung up", self.kind.name()),
                Ok(Some(_)) => return Ok(true),
                Err(_) => return Ok(false),
            }
        }
    }
}

impl Setup {
    fn config(&self, kind: Kind) -> String {
        let mut config = String::new();
        if let Some(workers) = self.workers {
            config += &format!("workers = {workers}\n");
        }
        if let Some(policy) = &self.policy {
            config += &format!("policy.file = {policy:?}\n");
        }
        if kind == Kind::Fresh {
            config += "limits.calls_per_instance = 1\n";
        }
        config += &self.more;
        config
    }
}

/// An address that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Starts a server, and waits until a line on its standard error holds this; that line.
pub(crate) fn until_it_says(command: &mut Command, word: &str) -> Result<(Child, String)> {
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut log = BufReader::new(process.stderr.take().context("no standard error")?);
    let mut line = String::new();
    while log.read_line(&mut line)? > 0 {
        if line.contains(word) {
            // Read on, so that it never waits to be heard.
            thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
            return Ok((process, line));
        }
    }
    process.wait()?;
    bail!("it ended before it served: {}", line.lines().last().unwrap_or_default())
}

impl Drop for Contestant {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
