//! The loader of components: any bytes are loaded or refused, in bounded time, and `inspect` agrees with it.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mqtt_gate_engine::{ComponentInfo, Limits, Sandbox, validate};

static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::new(Limits::default()).expect("address space"));

fuzz_target!(|bytes: &[u8]| {
    let is_policy = validate(&SANDBOX, bytes).is_ok();
    if let Some(info) = ComponentInfo::parse(bytes) {
        let reasons = info.rejection_reasons();
        assert!(!is_policy || reasons.is_empty(), "{reasons:?}");
    } else {
        assert!(!is_policy);
    }
});
