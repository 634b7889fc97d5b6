//! Builds a guest crate for `wasm32-unknown-unknown` and wraps the module as a component.
//!
//! The component imports what its WIT world says and nothing more: the target has no system interface of its own that
//! the standard library could pull in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use wasm_metadata::{AddMetadata, AddMetadataField};
use wit_component::ComponentEncoder;

mod cargo;

/// A component that has been built.
pub struct Built {
    /// Where it lies: `NAME.wasm`, NAME with underscores.
    pub component: PathBuf,
    /// What it was built from. A build script watches these.
    pub sources: Vec<PathBuf>,
}

/// Where a build script leaves a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In `target/components`, where an operator can take it.
    Components,
    /// In the build script's own directory: it is for tests.
    Private,
}

/// Builds the crate in `guest`, under the target directory, and leaves the component in `target/components`.
///
/// # Errors
/// No standard library for the target, a crate that does not compile, or a module that is not a policy; the message
/// says what to do.
pub fn build(guest: &Path, target: &Path) -> Result<Built> {
    build_into(guest, target, &target.join("components"))
}

/// Builds from a build script: finds the target directory, tells cargo what to watch, returns where the component lies.
///
/// # Errors
/// As [`build`].
pub fn build_for_build_script(guest: &Path, place: Place) -> Result<PathBuf> {
    let out = std::env::var_os("OUT_DIR").context("OUT_DIR is not set: this is for build scripts")?;
    let out = Path::new(&out);
    let target = target_directory(out)?;
    let built = match place {
        Place::Components => build(guest, target),
        Place::Private => build_into(guest, target, out),
    }?;
    println!("cargo::rerun-if-env-changed={}", cargo::WASM_STD);
    for source in &built.sources {
        println!("cargo::rerun-if-changed={}", source.display());
    }
    Ok(built.component)
}

fn build_into(guest: &Path, target: &Path, directory: &Path) -> Result<Built> {
    let guest = cargo::Guest::read(guest)?;
    // The nested cargo runs in the guest's directory.
    let target = std::path::absolute(target)?;
    let module = guest.compile(&target)?;
    let component =
        wrap(&guest, &module).with_context(|| format!("cannot wrap {} as a component", module.display()))?;
    let path = std::path::absolute(directory)?.join(format!("{}.wasm", guest.lib_name()));
    write_whole(&path, &component).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Built { component: path, sources: guest.sources()? })
}

/// The target directory around a build script's output, `TARGET_DIR[/TRIPLE]/PROFILE/build/PACKAGE/out`.
fn target_directory(out: &Path) -> Result<&Path> {
    let around = out.ancestors().nth(4).with_context(|| format!("no target directory around {}", out.display()))?;
    let is_triple = std::env::var_os("TARGET").is_some_and(|triple| around.ends_with(triple));
    Ok(if is_triple { around.parent().unwrap_or(around) } else { around })
}

/// Encodes the module as a component that bears the crate's name.
fn wrap(guest: &cargo::Guest, module: &Path) -> Result<Vec<u8>> {
    let module = fs::read(module)?;
    let component = ComponentEncoder::default().module(&module)?.validate(true).encode()?;
    let mut metadata = AddMetadata::default();
    metadata.name = AddMetadataField::Set(guest.name.clone());
    metadata.to_wasm(&component)
}

/// Replaces the file in one step, and leaves it alone when nothing has changed.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
    fs::write(&unfinished, bytes)?;
    fs::rename(&unfinished, path)
}
