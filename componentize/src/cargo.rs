//! The guest crate, and the nested cargo that compiles it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

const TARGET: &str = "wasm32-unknown-unknown";

/// The variable that chooses where the standard library comes from: `rustup`, `debian`, or `auto` (the default).
pub(crate) const WASM_STD: &str = "WASM_STD";

/// Flags of every guest: a stack of 64 KiB, laid first, so that an overflow traps instead of running into the data.
const RUSTFLAGS: &[&str] = &["-Clink-arg=-zstack-size=65536", "-Clink-arg=--stack-first", "-Ctarget-feature=+simd128"];

/// Network settings that the nested cargo may keep from the one around it.
const KEPT: &[&str] =
    &["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_"];

/// A crate that is to become a component.
pub(crate) struct Guest {
    pub(crate) name: String,
    directory: PathBuf,
    workspace: PathBuf,
}

impl Guest {
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let directory = directory.canonicalize().with_context(|| format!("no crate at {}", directory.display()))?;
        let package = run(Command::new(cargo()).args(["pkgid", "--offline"]).current_dir(&directory))?;
        // path+file:///…/policies/lockdown#0.1.0, or …#name@0.1.0 where the directory has another name
        let (place, version) = package.trim().rsplit_once('#').context("cargo pkgid names no package")?;
        let last = place.rsplit('/').next().unwrap_or(place);
        let name = version.split_once('@').map_or(last, |(name, _)| name);
        let manifest = run(Command::new(cargo())
            .args(["locate-project", "--workspace", "--message-format", "plain", "--offline"])
            .current_dir(&directory))?;
        let workspace = Path::new(manifest.trim()).parent().context("cargo locate-project gives no path")?.to_owned();
        Ok(Self { name: name.to_owned(), directory, workspace })
    }

    pub(crate) fn lib_name(&self) -> String {
        self.name.replace('-', "_")
    }

    /// Everything that the component is made from, other crates of the workspace included.
    pub(crate) fn sources(&self) -> Result<Vec<PathBuf>> {
        let tree = run(Command::new(cargo())
            .args([
                "tree",
                "--edges",
                "normal",
                "--prefix",
                "none",
                "--format",
                "{p}",
                "--target",
                TARGET,
                "--offline",
                "--locked",
            ])
            .current_dir(&self.directory))?;
        // brokers v0.1.0 (/…/brokers), and (*) after it if it was named before
        let places = tree.lines().flat_map(|line| line.split(" (")).filter_map(|part| part.strip_suffix(')'));
        let crates = places.map(Path::new).filter(|path| path.is_absolute());
        let own = crates.flat_map(|path| ["src", "Cargo.toml"].map(|name| path.join(name)));
        let shared = ["wit", "Cargo.toml", "Cargo.lock", "componentize"].map(|name| self.workspace.join(name));
        Ok(own.chain(shared).filter(|path| path.exists()).collect())
    }

    /// Compiles the crate; returns where the module lies.
    ///
    /// The target directory is one of its own, so that the cargo around this one, which holds the lock on the other,
    /// is not waited for.
    pub(crate) fn compile(&self, target: &Path) -> Result<PathBuf> {
        let guests = target.join("guests");
        let mut command = Command::new(cargo());
        command.args(["build", "--profile", "guest", "--locked", "--target", TARGET, "--target-dir"]).arg(&guests);
        command.current_dir(&self.directory);
        forget_the_build_around(&mut command);
        command.env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\x1f"));
        Std::find(target)?.prepare(&mut command)?;
        run(&mut command).with_context(|| format!("cannot compile {} for {TARGET}", self.name))?;
        Ok(guests.join(TARGET).join("guest").join(format!("{}.wasm", self.lib_name())))
    }
}

/// Where the standard library for the target comes from.
enum Std {
    /// The target is installed for the compiler in use.
    Installed,
    /// Debian's compiler lies here, unpacked, with the source of the standard library.
    Debian(PathBuf),
}

impl Std {
    fn find(target: &Path) -> Result<Self> {
        let debian = target.join("debian-rust");
        let has_debian = debian.join("complete").exists();
        let is_installed = || {
            let library = rustlib()?.join(TARGET).join("lib");
            Ok::<_, anyhow::Error>(library.read_dir().is_ok_and(|mut files| files.next().is_some()))
        };
        match env::var(WASM_STD).as_deref().unwrap_or("auto") {
            "auto" | "rustup" if is_installed()? => Ok(Self::Installed),
            "auto" | "debian" if has_debian => Ok(Self::Debian(debian)),
            choice @ ("auto" | "rustup" | "debian") => bail!(
                "no standard library for {TARGET} (WASM_STD is {choice}): run `make setup`, or `rustup target add {TARGET}`"
            ),
            other => bail!("WASM_STD is `{other}`: choose auto, rustup or debian"),
        }
    }

    fn prepare(&self, command: &mut Command) -> Result<()> {
        let Self::Debian(root) = self else {
            // The compiler whose target was looked at, and no other.
            command.env("RUSTC", rustc());
            return Ok(());
        };
        let root = root.canonicalize()?;
        let host = host_triple()?;
        let linker = rustlib()?.join(&host).join("bin");
        ensure!(linker.join("rust-lld").exists(), "no rust-lld in {}", linker.display());
        let path = env::var_os("PATH").unwrap_or_default();
        command
            .arg("-Zbuild-std=std,panic_abort")
            .env("RUSTC", root.join("usr/bin/rustc"))
            .env("RUSTC_BOOTSTRAP", "1")
            .env("LD_LIBRARY_PATH", root.join("usr/lib").join(host.replace("-unknown-", "-")))
            .env("PATH", env::join_paths([linker].into_iter().chain(env::split_paths(&path)))?);
        Ok(())
    }
}

/// Removes what a cargo around this one, and clippy, leave in the environment and what would change the nested build.
fn forget_the_build_around(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let from_cargo = text.starts_with("CARGO") && !KEPT.iter().any(|kept| text.starts_with(kept));
        if from_cargo || text.starts_with("RUSTC") || text == "RUSTFLAGS" {
            command.env_remove(&name);
        }
    }
}

fn rustlib() -> Result<PathBuf> {
    let sysroot = run(Command::new(rustc()).args(["--print", "sysroot"]))?;
    Ok(Path::new(sysroot.trim()).join("lib/rustlib"))
}

fn host_triple() -> Result<String> {
    let version = run(Command::new(rustc()).arg("-vV"))?;
    let triple = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(triple.context("rustc -vV names no host")?.to_owned())
}

fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn rustc() -> OsString {
    env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

/// Runs a command; its standard output, or an error that holds what it printed.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
