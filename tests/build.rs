//! Builds the policies that the tests swap in, and the filter that they put into Envoy.

use componentize::{Place, build_for_build_script, build_module_for_build_script};

fn main() -> anyhow::Result<()> {
    for (variable, guest, place) in [
        ("AUTH_CORE", "../auth-core", Place::Components),
        ("LOCKDOWN", "../policies/lockdown", Place::Components),
        ("MISBEHAVING", "misbehaving", Place::Private),
        ("PLAIN", "plain", Place::Private),
    ] {
        let component = build_for_build_script(guest.as_ref(), place)?;
        println!("cargo::rustc-env={variable}={}", component.display());
    }
    println!(
        "cargo::rustc-env=ENVOY_FILTER={}",
        build_module_for_build_script("../proxies/envoy-filter".as_ref())?.display()
    );
    Ok(())
}
