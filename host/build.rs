//! Builds the default policy as a component, to be embedded in the program.

fn main() -> anyhow::Result<()> {
    let component = componentize::build_for_build_script("../auth-core".as_ref())?;
    println!("cargo::rustc-env=MQTT_GATE_DEFAULT_POLICY={}", component.display());
    Ok(())
}
