//! `wasi-host COMPONENT`: serves a `wasi:http` component as `wasmtime serve` does, by the same library, until it is
//! killed. The signature key is read from `MQTT_GATE_SIGNATURE_KEYS`. The bench measures it.

#[path = "../support/wasi_http.rs"]
mod wasi_http;

use wasi_http::{WasiHttp, env_name};

/// The only setting that the bench passes.
const SETTING: &str = "signature-keys";

#[tokio::main]
async fn main() {
    let component = std::env::args_os().nth(1).expect("the component");
    let key = std::env::var(env_name(SETTING)).expect("the signature key");
    let host = WasiHttp::start(component.as_ref(), &[(SETTING, &key)]).await;
    eprintln!("listening on {}", host.address);
    std::future::pending::<()>().await;
}
