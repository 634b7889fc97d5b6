//! Builds a guest crate for `wasm32-unknown-unknown`, and wraps the module as a component unless its host runs modules.
//!
//! A component imports only what its WIT world lists: on this target, the standard library imports nothing.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use wasm_metadata::{AddMetadata, AddMetadataField};
use wit_component::ComponentEncoder;

mod cargo;

/// The result of a build.
pub struct Built {
    /// The component or module: `NAME.wasm`, NAME with underscores.
    pub file: PathBuf,
    /// The files it was built from. A build script watches them.
    pub sources: Vec<PathBuf>,
}

/// The kind of file to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A component, such as a policy.
    Component,
    /// A core module, for hosts that run modules, such as Envoy.
    Module,
}

/// The directory into which a build script puts the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `target/components`: for operators.
    Components,
    /// The output directory of the build script: for this build only.
    Private,
}

/// Builds the crate in the directory `guest`, and puts the result into `components` in the directory `target`.
///
/// # Errors
/// Fails if there is no standard library for the target, the crate does not compile, or the module cannot become a
/// component. The message says what to do.
pub fn build(guest: &Path, target: &Path, form: Form) -> Result<Built> {
    build_into(guest, target, &target.join("components"), form)
}

/// Builds a component from a build script and returns its path. Finds the target directory, and tells cargo which files
/// to watch.
///
/// # Errors
/// As [`build`]. Also fails outside a build script.
pub fn build_for_build_script(guest: &Path, place: Place) -> Result<PathBuf> {
    build_in_build_script(guest, place, Form::Component)
}

/// Builds a module from a build script, as [`build_for_build_script`] does a component, into `target/components`.
///
/// # Errors
/// As [`build`]. Also fails outside a build script.
pub fn build_module_for_build_script(guest: &Path) -> Result<PathBuf> {
    build_in_build_script(guest, Place::Components, Form::Module)
}

fn build_in_build_script(guest: &Path, place: Place, form: Form) -> Result<PathBuf> {
    let out = std::env::var_os("OUT_DIR").context("OUT_DIR is not set: call this function from a build script")?;
    let out = Path::new(&out);
    let triple = std::env::var_os("TARGET");
    let target = target_directory(out, triple.as_deref())?;
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
    // The nested cargo runs in another directory, where a relative path would point elsewhere.
    let target = std::path::absolute(target)?;
    let module = guest.compile(&target)?;
    let bytes = match form {
        Form::Component => {
            wrap(&guest, &module).with_context(|| format!("cannot make a component of {}", module.display()))?
        }
        Form::Module => fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?,
    };
    let path = std::path::absolute(directory)?.join(format!("{}.wasm", guest.lib_name()));
    write_atomic(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Built { file: path, sources: guest.sources()? })
}

/// Returns TARGET_DIR of a build script's output directory, `TARGET_DIR[/TRIPLE]/PROFILE/build/PACKAGE/out`.
fn target_directory<'a>(out: &'a Path, triple: Option<&OsStr>) -> Result<&'a Path> {
    let ancestor = out
        .ancestors()
        .nth(4)
        .with_context(|| format!("cannot find the target directory: {} is not below one", out.display()))?;
    let is_triple = triple.is_some_and(|triple| ancestor.ends_with(triple));
    Ok(if is_triple { ancestor.parent().unwrap_or(ancestor) } else { ancestor })
}

/// Encodes the module as a component with the crate's name.
fn wrap(guest: &cargo::Guest, module: &Path) -> Result<Vec<u8>> {
    let module = fs::read(module)?;
    let component = ComponentEncoder::default().module(&module)?.validate(true).encode()?;
    let mut metadata = AddMetadata::default();
    metadata.name = AddMetadataField::Set(guest.name.clone());
    metadata.to_wasm(&component)
}

/// Replaces the file atomically. Does not touch it if its content is the same, so that cargo does not rebuild.
fn write_atomic(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    fs::write(&temporary, bytes)?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_target_directory_with_and_without_a_triple() {
        let triple = OsStr::new("x86_64-unknown-linux-gnu");
        for (out, target) in [
            ("/t/debug/build/host-1/out", Some("/t")),
            ("/t/x86_64-unknown-linux-gnu/debug/build/host-1/out", Some("/t")),
            ("/out", None),
        ] {
            assert_eq!(target_directory(Path::new(out), Some(triple)).ok(), target.map(Path::new), "{out}");
        }
    }
}
