//! `wasi-host COMPONENT`: runs a component behind `wasi:http` as `wasmtime serve` does, by the same library, until it is
//! ended; its settings are the variables `MQTT_GATE_…`. For the bench, which says how fast that is.

#[path = "../support/wasi_http.rs"]
mod wasi_http;

use wasi_http::{WasiHttp, variable};

/// The setting that the bench gives it.
const SETTING: &str = "signature-keys";

#[tokio::main]
async fn main() {
    let component = std::env::args_os().nth(1).expect("the component");
    let key = std::env::var(variable(SETTING)).expect("its key");
    let host = WasiHttp::start(component.as_ref(), &[(SETTING, &key)]).await;
    eprintln!("listening on {}", host.address);
    std::future::pending::<()>().await;
}
