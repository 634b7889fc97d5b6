//! The default policy's checks in an ordinary axum handler, on tokio's multi-threaded runtime.

use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use auth_core::{Credentials, Settings, UnixTime, Verdict, authenticate};
use axum::extract::State;
use axum::serve::ListenerExt;
use axum::{Json, Router, routing};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct LoginRequest {
    client_id: String,
    username: Option<String>,
    password: Option<String>,
}

#[derive(Serialize)]
struct LoginResponse {
    result: &'static str,
}

/// Serves until the process is killed.
pub(crate) fn serve(listen: SocketAddr, workers: Option<NonZero<usize>>, settings: Arc<Settings>) -> Result<()> {
    let router = Router::new().route("/mqtt/auth", routing::post(login)).with_state(settings);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = workers {
        runtime.worker_threads(workers.get());
    }
    runtime.enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        eprintln!("listening on {}", listener.local_addr()?);
        // With Nagle's algorithm, a pipelined response would wait for the acknowledgement of the one before it.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        Ok(axum::serve(listener, router).await?)
    })
}

async fn login(State(settings): State<Arc<Settings>>, Json(request): Json<LoginRequest>) -> Json<LoginResponse> {
    let credentials = Credentials {
        client_id: &request.client_id,
        username: request.username.as_deref(),
        password: request.password.as_deref().map(str::as_bytes),
    };
    let now = || UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    match authenticate(&credentials, &settings, now) {
        Verdict::Allow(_) => Json(LoginResponse { result: "allow" }),
        Verdict::Deny(_) => Json(LoginResponse { result: "deny" }),
    }
}
