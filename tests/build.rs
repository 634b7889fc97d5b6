//! Builds the policies and the Envoy filter that the tests load.

use componentize::{Place, build_for_build_script, build_module_for_build_script};

fn main() -> anyhow::Result<()> {
    for (variable, guest, output) in [
        ("AUTH_CORE", "../auth-core", Place::Components),
        ("LOCKDOWN", "../policies/lockdown", Place::Components),
        ("REVOKED", "../policies/revoked", Place::Components),
        ("JWT", "../policies/jwt", Place::Components),
        ("MISBEHAVING", "misbehaving", Place::Private),
        ("PLAIN", "plain", Place::Private),
    ] {
        let component = build_for_build_script(guest.as_ref(), output)?;
        println!("cargo::rustc-env={variable}={}", component.display());
    }
    println!(
        "cargo::rustc-env=ENVOY_FILTER={}",
        build_module_for_build_script("../proxies/envoy-filter".as_ref())?.display()
    );
    Ok(())
}
