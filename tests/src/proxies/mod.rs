//! The policy in proxies and component hosts: the same responses as the native gate.

mod external;
mod wasi_http_checks;
mod wasmtime;
