//! Compiles a guest crate with a nested cargo.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

const TARGET: &str = "wasm32-unknown-unknown";

/// Environment variable with the source of the standard library: `rustup`, `debian`, or `auto` (the default).
pub(crate) const WASM_STD: &str = "WASM_STD";

/// Compiler flags of every guest. The stack has 64 KiB and comes first in memory, so that an overflow traps instead of
/// overwriting data.
const RUSTFLAGS: &[&str] = &["-Clink-arg=-zstack-size=65536", "-Clink-arg=--stack-first", "-Ctarget-feature=+simd128"];

/// Prefixes of cargo's variables that the nested cargo inherits: they configure network access.
const INHERITED_VARIABLES: &[&str] =
    &["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_"];

/// A crate to compile for WebAssembly.
pub(crate) struct Guest {
    pub(crate) name: String,
    directory: PathBuf,
    workspace: PathBuf,
}

/// The profile `guest`: policies are always optimized.
const PROFILE: [&str; 7] = [
    "profile.guest.inherits=\"release\"",
    "profile.guest.opt-level=3",
    "profile.guest.codegen-units=1",
    "profile.guest.lto=true",
    "profile.guest.panic=\"abort\"",
    "profile.guest.strip=true",
    "profile.guest.debug=false",
];

impl Guest {
    /// Asks cargo for the name and the workspace of the crate in a directory.
    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let directory = directory
            .canonicalize()
            .with_context(|| format!("cannot open the crate directory {}", directory.display()))?;
        let manifest = run(Command::new(cargo())
            .args(["locate-project", "--workspace", "--message-format", "plain", "--offline"])
            .current_dir(&directory))?;
        let workspace =
            Path::new(manifest.trim()).parent().context("`cargo locate-project` printed no path")?.to_owned();
        if !workspace.join("Cargo.lock").exists() {
            // A new crate outside this repository.
            run(Command::new(cargo()).arg("generate-lockfile").current_dir(&directory))?;
        }
        let package = run(Command::new(cargo()).args(["pkgid", "--offline"]).current_dir(&directory))?;
        let name = package_name(package.trim()).context("`cargo pkgid` printed no package")?;
        Ok(Self { name: name.to_owned(), directory, workspace })
    }

    pub(crate) fn lib_name(&self) -> String {
        self.name.replace('-', "_")
    }

    /// The files that the component is built from, including those of other workspace crates.
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
        let own = crate_directories(&tree).flat_map(|path| ["src", "Cargo.toml"].map(|name| path.join(name)));
        let shared = ["wit", "Cargo.toml", "Cargo.lock", "componentize"].map(|name| self.workspace.join(name));
        Ok(own.chain(shared).filter(|path| path.exists()).collect())
    }

    /// Compiles the crate and returns the path of the module.
    ///
    /// Uses a separate target directory: the outer cargo holds the lock on the main one for as long as this runs.
    pub(crate) fn compile(&self, target: &Path) -> Result<PathBuf> {
        let guests = target.join("guests");
        let mut command = Command::new(cargo());
        // A crate outside this workspace has no profile `guest`.
        command.args(PROFILE.map(|setting| ["--config", setting]).as_flattened());
        command.args(["build", "--profile", "guest", "--locked", "--target", TARGET, "--target-dir"]).arg(&guests);
        command.current_dir(&self.directory);
        remove_outer_build_variables(&mut command);
        command.env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\x1f"));
        Std::find(target)?.prepare(&mut command)?;
        run(&mut command).with_context(|| format!("cannot compile {} for {TARGET}", self.name))?;
        Ok(guests.join(TARGET).join("guest").join(format!("{}.wasm", self.lib_name())))
    }
}

/// The source of the standard library for the target.
enum Std {
    /// The target is installed for the current compiler.
    Installed,
    /// Debian's compiler, unpacked into this directory with the source of the standard library.
    Debian(PathBuf),
}

impl Std {
    /// Finds an available source. `target` is the target directory.
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
                "no standard library for {TARGET} (WASM_STD={choice}): run `make setup`, or `rustup target add {TARGET}`"
            ),
            other => bail!("WASM_STD is `{other}`: set it to auto, rustup or debian"),
        }
    }

    /// Adds the arguments and variables with which cargo finds the standard library.
    fn prepare(&self, command: &mut Command) -> Result<()> {
        let Self::Debian(root) = self else {
            // The compiler that `find` checked.
            command.env("RUSTC", rustc());
            return Ok(());
        };
        let root = root.canonicalize()?;
        let host = host_triple()?;
        let linker = rustlib()?.join(&host).join("bin");
        ensure!(
            linker.join("rust-lld").exists(),
            "no rust-lld in {}: install a Rust toolchain that has it, such as one from rustup",
            linker.display()
        );
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

/// The name of a package from its id, `path+file:///…/policies/lockdown#0.1.0`, or `…#name@0.1.0` if the directory has
/// another name.
fn package_name(id: &str) -> Option<&str> {
    let (url, version) = id.rsplit_once('#')?;
    let directory = url.rsplit('/').next().unwrap_or(url);
    Some(version.split_once('@').map_or(directory, |(name, _)| name))
}

/// The directories of the local crates in the output of `cargo tree`: `brokers v0.1.0 (/…/brokers)`, with ` (*)` after
/// it if it was listed before.
fn crate_directories(tree: &str) -> impl Iterator<Item = &Path> {
    let in_parentheses = tree.lines().flat_map(|line| line.split(" (")).filter_map(|part| part.strip_suffix(')'));
    in_parentheses.map(Path::new).filter(|path| path.is_absolute())
}

/// Removes the variables of the outer cargo, rustc and clippy that would change the nested build.
fn remove_outer_build_variables(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let from_cargo =
            text.starts_with("CARGO") && !INHERITED_VARIABLES.iter().any(|prefix| text.starts_with(prefix));
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
    Ok(triple.context("`rustc -vV` printed no host")?.to_owned())
}

fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn rustc() -> OsString {
    env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

/// Runs a command and returns its standard output. If it fails, the error contains its standard error.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_package_name_from_its_id() {
        assert_eq!(package_name("path+file:///w/policies/lockdown#0.1.0"), Some("lockdown"));
        assert_eq!(package_name("path+file:///w/host#mqtt-gate@0.1.0"), Some("mqtt-gate"));
        assert_eq!(package_name("lockdown"), None);
    }

    #[test]
    fn finds_local_crates_in_the_dependency_tree() {
        let tree = "envoy-filter v0.1.0 (/w/envoy-filter)\nserde v1.0.0\nserde_derive v1.0.0 (proc-macro)\n\
                    auth-core v0.1.0 (/w/auth-core) (*)\n";
        let directories: Vec<_> = crate_directories(tree).collect();
        assert_eq!(directories, [Path::new("/w/envoy-filter"), Path::new("/w/auth-core")]);
    }
}
