//! `componentize CRATE... [--module CRATE...]`: builds each crate as a component, those after `--module` as modules.
//! Prints the path of each file.

use std::path::Path;

use anyhow::Result;
use componentize::Form;

fn main() -> Result<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let mut form = Form::Component;
    for argument in std::env::args_os().skip(1) {
        if argument == "--module" {
            form = Form::Module;
            continue;
        }
        let built = componentize::build(Path::new(&argument), Path::new(&target), form)?;
        println!("{}", built.file.display());
    }
    Ok(())
}
