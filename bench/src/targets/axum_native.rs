//! The checks of the default policy, compiled into the handler that people would write: axum on tokio's threads.

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
struct Asked {
    client_id: String,
    username: Option<String>,
    password: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    result: &'static str,
}

/// Serves until it is ended.
pub(crate) fn serve(listen: SocketAddr, workers: Option<NonZero<usize>>, settings: Arc<Settings>) -> Result<()> {
    let router = Router::new().route("/mqtt/auth", routing::post(answer)).with_state(settings);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = workers {
        runtime.worker_threads(workers.get());
    }
    runtime.enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        eprintln!("listening on {}", listener.local_addr()?);
        // Or else pipelined answers wait for each other.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        Ok(axum::serve(listener, router).await?)
    })
}

async fn answer(State(settings): State<Arc<Settings>>, Json(asked): Json<Asked>) -> Json<Answer> {
    let who = Credentials {
        client_id: &asked.client_id,
        username: asked.username.as_deref(),
        password: asked.password.as_deref().map(str::as_bytes),
    };
    let now = || UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    match authenticate(&who, &settings, now) {
        Verdict::Allow(_) => Json(Answer { result: "allow" }),
        Verdict::Deny(_) => Json(Answer { result: "deny" }),
    }
}
