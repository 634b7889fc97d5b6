//! A host of `wasi:http` components, as `wasmtime serve` is one: the library of wasmtime, on a free port, in this
//! process. Each request gets its own instance; a trap is a 500.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{
    Error, RequestOptions, Result as HttpResult, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

/// A host that serves one component until this value is dropped.
pub(crate) struct WasiHttp {
    pub(crate) address: SocketAddr,
    serving: JoinHandle<()>,
}

impl WasiHttp {
    /// Serves a component. Its settings are in `wasi:config/store` and, as `MQTT_GATE_…`, in the environment; how it
    /// was composed decides which of the two it reads.
    pub(crate) async fn start(component: &Path, settings: &[(&str, &str)]) -> Self {
        let host = Arc::new(Host::new(component, settings));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, serving: tokio::spawn(serve(host, listener)) }
    }
}

impl Drop for WasiHttp {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The environment variable of a setting.
pub(crate) fn env_name(setting: &str) -> String {
    format!("MQTT_GATE_{}", setting.to_ascii_uppercase().replace('-', "_"))
}

async fn serve(host: Arc<Host>, listener: TcpListener) {
    // Dropping the set with this task closes every connection.
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        client.set_nodelay(true).unwrap();
        let host = Arc::clone(&host);
        connections.spawn(async move {
            let service = service_fn(|request| host.respond(request));
            // An error means that the client has gone.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(client), service).await;
        });
    }
}

/// A linked component and its settings.
struct Host {
    component: ProxyPre<Guest>,
    settings: Vec<(String, String)>,
}

impl Host {
    fn new(component: &Path, settings: &[(&str, &str)]) -> Self {
        let engine = Engine::default();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).unwrap();
        wasmtime_wasi_config::add_to_linker(&mut linker, |guest: &mut Guest| WasiConfig::from(&guest.config)).unwrap();
        let component = Component::from_file(&engine, component).unwrap();
        let component = ProxyPre::new(linker.instantiate_pre(&component).unwrap()).unwrap();
        Self { component, settings: settings.iter().map(|&(name, value)| (name.into(), value.into())).collect() }
    }

    async fn respond(&self, request: Request<Incoming>) -> Result<Response<HyperOutgoingBody>, Infallible> {
        Ok(self.call(request).await.unwrap_or_else(|_| {
            let body = Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync();
            Response::builder().status(500).body(body).unwrap()
        }))
    }

    async fn call(&self, request: Request<Incoming>) -> wasmtime::Result<Response<HyperOutgoingBody>> {
        let mut store = Store::new(self.component.engine(), Guest::new(&self.settings));
        let (sender, receiver) = oneshot::channel();
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
        let out = store.data_mut().http().new_response_outparam(sender)?;
        let component = self.component.clone();
        // The component continues after the head of the response, so it runs in a task.
        let running = tokio::spawn(async move {
            let guest = component.instantiate_async(&mut store).await?;
            guest.wasi_http_incoming_handler().call_handle(store, request, out).await
        });
        match receiver.await {
            Ok(response) => Ok(response?),
            Err(_) => {
                running.await??;
                Err(wasmtime::Error::msg("the component sent no response"))
            }
        }
    }
}

/// Store data of an instance. Outgoing requests are denied.
struct Guest {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    config: WasiConfigVariables,
    hooks: NoRequests,
}

impl Guest {
    fn new(settings: &[(String, String)]) -> Self {
        let variables: Vec<_> = settings.iter().map(|(name, value)| (env_name(name), value.clone())).collect();
        Self {
            wasi: WasiCtx::builder().envs(&variables).build(),
            http: WasiHttpCtx::new(),
            table: ResourceTable::new(),
            config: settings.iter().cloned().collect(),
            hooks: NoRequests,
        }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// Denies every outgoing request.
struct NoRequests;

type ResponseFuture = Box<dyn Future<Output = HttpResult<(Response<WasiBody>, BodyFuture)>> + Send>;
type BodyFuture = Box<dyn Future<Output = HttpResult<()>> + Send>;

impl WasiHttpHooks for NoRequests {
    fn send_request(&mut self, _: Request<WasiBody>, _: Option<RequestOptions>, _: BodyFuture) -> ResponseFuture {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}
