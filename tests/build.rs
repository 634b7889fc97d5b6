//! Builds the policies that the tests swap in.

fn main() -> anyhow::Result<()> {
    for (variable, guest) in
        [("AUTH_CORE", "../auth-core"), ("LOCKDOWN", "../policies/lockdown"), ("MISBEHAVING", "misbehaving")]
    {
        let component = componentize::build_for_build_script(guest.as_ref())?;
        println!("cargo::rustc-env={variable}={}", component.display());
    }
    Ok(())
}
