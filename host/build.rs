//! Builds the default policy as a component, to be embedded in the program.

use componentize::{Place, build_for_build_script};

fn main() -> anyhow::Result<()> {
    let component = build_for_build_script("../auth-core".as_ref(), Place::Components)?;
    println!("cargo::rustc-env=MQTT_GATE_DEFAULT_POLICY={}", component.display());
    Ok(())
}
