//! Builds a guest crate for `wasm32-unknown-unknown` and wraps the module as a component, or leaves it as it is for hosts
//! that run modules.
//!
//! A component imports what its WIT world says and nothing more: the target has no system interface of its own that
//! the standard library could pull in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use wasm_metadata::{AddMetadata, AddMetadataField};
use wit_component::ComponentEncoder;

mod cargo;

/// A component, or a module, that has been built.
pub struct Built {
    /// Where it lies: `NAME.wasm`, NAME with underscores.
    pub file: PathBuf,
    /// What it was built from. A build script watches these.
    pub sources: Vec<PathBuf>,
}

/// What a crate becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A component: a policy.
    Component,
    /// The core module itself, for hosts that run those: Envoy.
    Module,
}

/// Where a build script leaves what it has built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In `target/components`, where an operator can take it.
    Components,
    /// In the build script's own directory: it is for tests.
    Private,
}

/// Builds the crate in `guest`, under the target directory, and leaves what it becomes in `target/components`.
///
/// # Errors
/// No standard library for the target, a crate that does not compile, or a module that was to be a policy and is none; the
/// message says what to do.
pub fn build(guest: &Path, target: &Path, form: Form) -> Result<Built> {
    build_into(guest, target, &target.join("components"), form)
}

/// Builds a component from a build script: finds the target directory, tells cargo what to watch, returns where it lies.
///
/// # Errors
/// As [`build`].
pub fn build_for_build_script(guest: &Path, place: Place) -> Result<PathBuf> {
    build_in_build_script(guest, place, Form::Component)
}

/// As [`build_for_build_script`], for a module that stays one, in `target/components`.
///
/// # Errors
/// As [`build`].
pub fn build_module_for_build_script(guest: &Path) -> Result<PathBuf> {
    build_in_build_script(guest, Place::Components, Form::Module)
}

fn build_in_build_script(guest: &Path, place: Place, form: Form) -> Result<PathBuf> {
    let out = std::env::var_os("OUT_DIR").context("OUT_DIR is not set: this is for build scripts")?;
    let out = Path::new(&out);
    let target = target_directory(out)?;
    let built = match place {
        Place::Components => build(guest, target, form),
        Place::Private => build_into(guest, target, out, form),
    }?;
    println!("cargo::rerun-if-env-changed={}", cargo::WASM_STD);
    for source in &built.sources {
        println!("cargo::rerun-if-changed={}", source.display());
    }
    Ok(built.file)
}

fn build_into(guest: &Path, target: &Path, directory: &Path, form: Form) -> Result<Built> {
    let guest = cargo::Guest::read(guest)?;
    // The nested cargo runs in the guest's directory.
    let target = std::path::absolute(target)?;
    let module = guest.compile(&target)?;
    let bytes = match form {
        Form::Component => {
            wrap(&guest, &module).with_context(|| format!("cannot wrap {} as a component", module.display()))?
        }
        Form::Module => fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?,
    };
    let path = std::path::absolute(directory)?.join(format!("{}.wasm", guest.lib_name()));
    write_whole(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Built { file: path, sources: guest.sources()? })
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
