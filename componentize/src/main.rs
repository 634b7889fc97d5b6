//! `componentize CRATE...`: builds each policy crate and says where the component lies.

use std::path::Path;

use anyhow::Result;

fn main() -> Result<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    for guest in std::env::args_os().skip(1) {
        let built = componentize::build(Path::new(&guest), Path::new(&target))?;
        println!("{}", built.component.display());
    }
    Ok(())
}
