//! Builds what is embedded in the program: the default policy, and what `compose` puts around a policy.

use componentize::{Place, build_for_build_script};

fn main() -> anyhow::Result<()> {
    for (variable, guest, place) in [
        ("MQTT_GATE_DEFAULT_POLICY", "../auth-core", Place::Components),
        ("MQTT_GATE_LOCKDOWN", "../policies/lockdown", Place::Components),
        ("MQTT_GATE_REVOKED", "../policies/revoked", Place::Components),
        ("MQTT_GATE_JWT", "../policies/jwt", Place::Components),
        ("MQTT_GATE_HTTP_ADAPTER", "../proxies/http-adapter", Place::Private),
        ("MQTT_GATE_NO_AUTHORIZER", "../proxies/no-authorizer", Place::Private),
        ("MQTT_GATE_CONTRACT_0_1", "../proxies/contract-0-1", Place::Private),
        ("MQTT_GATE_NO_AUTHORIZER_0_1", "../proxies/no-authorizer-0-1", Place::Private),
        ("MQTT_GATE_SETTINGS_FROM_ENV", "../proxies/settings-from-env", Place::Private),
    ] {
        let component = build_for_build_script(guest.as_ref(), place)?;
        println!("cargo::rustc-env={variable}={}", component.display());
    }
    Ok(())
}
