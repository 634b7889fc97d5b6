//! The same policy in proxies, beside the gate: those that are installed here.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, Result, ensure};

use crate::load::login::{Login, key_ring};
use crate::load::{Load, Pace};
use crate::measure::mqtt_connections as connects;
use crate::measure::run::{Spread, Turn};
use crate::report::section::{Section, Table};
use crate::targets::{Contestant, Kind, Setup, free_address, until_it_says};

/// How long one may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(30);

/// A proxy that runs until this is dropped.
struct Proxy {
    process: Child,
    at: Contestant,
}

/// Where the parts lie that `make test` installs and `make components` builds.
struct Parts<'a> {
    gate: &'a Path,
    component: &'a Path,
    /// The target directory.
    target: &'a Path,
    /// For what is made for this run.
    directory: &'a Path,
}

/// Has each answer in turn, one login at a time and sixteen.
pub(crate) fn section(gate: &Path, component: &Path, rounds: usize, long: Duration) -> Result<Section> {
    let directory = env::temp_dir().join(format!("mqtt-gate-bench-proxies-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let target = component.parent().and_then(Path::parent).context("the component lies in target/components")?;
    let parts = Parts { gate, component, target, directory: &directory };
    let section = parts.section(rounds, long);
    fs::remove_dir_all(&directory)?;
    section
}

impl Parts<'_> {
    fn section(&self, rounds: usize, long: Duration) -> Result<Section> {
        let native = Contestant::start(self.gate, Kind::Reused, &Setup::default())?;
        let broker = connects::broker()?;
        let (envoy, filter) = match self.envoy(broker)? {
            Some((envoy, filter)) => (Some(envoy), Some(filter)),
            None => (None, None),
        };
        let proxies = [("wasmtime", self.wasmtime()?), ("Envoy, HTTP", envoy), ("jco on Node", self.jco()?)];
        let mut table = Table::new([
            "host",
            "thousand logins a second, one at a time",
            "to the gate",
            "16 pipelined",
            "to the gate",
        ]);
        let login = Login::signed_by_last(1)?;
        let all = std::iter::once(&native).chain(proxies.iter().filter_map(|(_, proxy)| Some(&proxy.as_ref()?.at)));
        let all: Vec<&Contestant> = all.collect();
        let mut turns = vec![[Vec::new(), Vec::new()]; all.len()];
        for round in 1..=rounds {
            eprintln!("proxies: round {round} of {rounds}");
            for (at, contestant) in all.iter().enumerate() {
                for (place, depth) in [1, 16].into_iter().enumerate() {
                    let load = Load { login: &login, connections: 8, pace: Pace::Depth(depth) };
                    let turn = Turn::of(contestant, &load, long)?;
                    if let Some(turns) = turns.get_mut(at).and_then(|both| both.get_mut(place)) {
                        turns.push(turn);
                    }
                }
            }
        }
        let names = std::iter::once("the gate")
            .chain(proxies.iter().filter(|(_, proxy)| proxy.is_some()).map(|(name, _)| *name));
        let first = turns.first().context("the gate had no turn")?.clone();
        for (name, both) in names.zip(&turns) {
            let mut cells = vec![name.to_owned()];
            for (turns, first) in both.iter().zip(&first) {
                cells.push(format!("{:.1}", Spread::of(turns.iter().map(|turn| turn.rate / 1e3))));
                cells.push(format!("{:.2}", Spread::of_ratios(turns, first, |turn| turn.rate)));
            }
            table.row(cells);
        }
        for (name, _) in proxies.iter().filter(|(_, proxy)| proxy.is_none()) {
            table.row([name, "not installed: `make test` does it", "", "", ""]);
        }
        let text = format!(
            "The default policy in other hosts, on 8 connections, {rounds} rounds of {} s. Under wasmtime each login has an instance \
             of its own, and the library is that of `wasmtime serve`; jco answers one at a time, by its defaults; Envoy has the \
             policy linked in, and one worker for each processor. The last table is of its other filter: connections with a CONNECT \
             and its answer, one after another by eight clients, in front of a broker that does nothing but let them in.",
            long.as_secs_f64()
        );
        let mut tables = vec![table];
        if let Some(filter) = filter {
            tables.push(connects::table(broker, filter, rounds)?);
        }
        Ok(Section { title: "In proxies", text, tables, plots: Vec::new() })
    }

    /// Puts the policy behind `wasi:http`.
    fn composition(&self, flags: &[&str]) -> Result<PathBuf> {
        let path = self.directory.join("composition.wasm");
        let mut compose = Command::new(self.gate);
        let composed = compose.arg("compose").arg(self.component).arg("-o").arg(&path).args(flags).output()?;
        ensure!(composed.status.success(), "compose: {}", String::from_utf8_lossy(&composed.stderr));
        Ok(path)
    }

    fn wasmtime(&self) -> Result<Option<Proxy>> {
        let program = self.target.join("debug/wasi-host");
        if !program.exists() {
            return Ok(None);
        }
        let mut command = Command::new(program);
        command.arg(self.composition(&[])?).env("MQTT_GATE_SIGNATURE_KEYS", key_ring(1));
        let (process, line) = until_it_says(command.process_group(0), "listening on")?;
        let address = line.rsplit(' ').next().unwrap_or_default().trim().parse()?;
        Proxy::at(process, address).map(Some)
    }

    fn jco(&self) -> Result<Option<Proxy>> {
        let program = self.target.join("jco/node_modules/@bytecodealliance/jco/dist/jco.js");
        if !program.exists() {
            return Ok(None);
        }
        let address = free_address()?;
        let mut command = Command::new("node");
        command.arg(program).args(["serve", "--host", "127.0.0.1", "--port", &address.port().to_string(), "--jco-dir"]);
        command.arg(self.directory.join("jco")).arg(self.composition(&["--settings-from-env"])?);
        command.env("MQTT_GATE_SIGNATURE_KEYS", key_ring(1));
        Proxy::start(&mut command, address).map(Some)
    }

    /// By the file that is shipped, but for its addresses and the key.
    /// It answers brokers, and stands before one: where that is.
    fn envoy(&self, broker: SocketAddr) -> Result<Option<(Proxy, SocketAddr)>> {
        let program = self.target.join("envoy/bin/envoy");
        let filter = self.target.join("components/envoy_filter.wasm");
        if !program.exists() || !filter.exists() {
            return Ok(None);
        }
        let (http, mqtt) = (free_address()?, free_address()?);
        let shipped = include_str!("../../../deploy/envoy.yaml")
            .replace("port_value: 8003", &format!("port_value: {}", http.port()))
            .replace("0.0.0.0, port_value: 1883", &format!("127.0.0.1, port_value: {}", mqtt.port()))
            .replace("port_value: 1884", &format!("port_value: {}", broker.port()))
            .replace("/etc/envoy/envoy_filter.wasm", &filter.canonicalize()?.display().to_string())
            .replace("REPLACE-WITH-YOUR-SIGNATURE-KEY", &key_ring(1));
        let file = self.directory.join("envoy.yaml");
        fs::write(&file, shipped)?;
        let mut command = Command::new(program);
        command.arg("-c").arg(file).args(["--use-dynamic-base-id", "--disable-hot-restart", "--log-level", "error"]);
        Ok(Some((Proxy::start(&mut command, http)?, mqtt)))
    }
}

impl Proxy {
    fn start(command: &mut Command, address: SocketAddr) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Self::at(command.spawn()?, address)
    }

    /// Once it lets in who has to be let in, and refuses a wrong password.
    fn at(process: Child, address: SocketAddr) -> Result<Self> {
        let proxy = Self { process, at: Contestant::given(address) };
        let began = Instant::now();
        loop {
            match proxy.at.try_out(&Setup::default()) {
                Ok(()) => return Ok(proxy),
                Err(error) if began.elapsed() > PATIENCE => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // With whatever it started: jco runs the component in a process of its own.
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-s", "KILL", "--", &group]).status();
        let _ = self.process.wait();
    }
}
