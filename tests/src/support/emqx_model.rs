//! A model of EMQX: it asks a gate about logins and topics, keeps the responses as EMQX does, and has its management API.
//!
//! EMQX itself is not in the package registries. The model behaves as measured on EMQX 5.8.9 and 6.2.2 (docs/EMQX.md).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Json};
use base64::prelude::{BASE64_STANDARD, Engine};
use mqtt_gate::config::BrokerConfig;
use mqtt_gate_engine::SecretSource;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::device::Device;
use crate::support::http::{Connection, post_json};
use crate::support::in_process::EMQX;

/// API key of the model.
pub(crate) const API_KEY: &str = "model-key";

/// Secret that belongs to [`API_KEY`].
pub(crate) const API_SECRET: &str = "model-s3cret";

/// The versions that differ in their caches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// No node caches. Their paths do not exist.
    V5_8,
    /// Node caches, on by default.
    V6_2,
}

/// A running model. Its management API ends with the test.
#[derive(Clone)]
pub(crate) struct EmqxModel {
    pub(crate) api: SocketAddr,
    state: Arc<Mutex<Model>>,
}

struct Model {
    version: Version,
    node_caches_enabled: bool,
    /// Status of every call of the API, instead of a result.
    failure: Option<StatusCode>,
    /// Status of every list of clients, instead of a page.
    clients_failure: Option<StatusCode>,
    /// Responses to logins, by the request body.
    authentication: BTreeMap<String, bool>,
    /// Responses about topics, by the request body.
    authorization: BTreeMap<String, bool>,
    /// The same, in each session.
    sessions: BTreeMap<String, BTreeMap<String, bool>>,
    banned: BTreeMap<String, Value>,
    /// Pages of the list of clients that were read.
    pages: usize,
    /// Successful calls of the API that change something.
    calls: Vec<String>,
}

impl EmqxModel {
    /// Starts the management API with node caches as they are by default.
    pub(crate) async fn start(version: Version) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(Model {
            version,
            node_caches_enabled: version == Version::V6_2,
            failure: None,
            clients_failure: None,
            authentication: BTreeMap::new(),
            authorization: BTreeMap::new(),
            sessions: BTreeMap::new(),
            banned: BTreeMap::new(),
            pages: 0,
            calls: Vec::new(),
        }));
        let model = Self { api, state };
        let router = model.router();
        tokio::spawn(async { axum::serve(listener, router).await });
        model
    }

    /// A `[[broker]]` of the gate.
    pub(crate) fn config(&self) -> BrokerConfig {
        BrokerConfig {
            api: Some(format!("http://{}", self.api)),
            api_key: Some(SecretSource::inline(API_KEY.to_owned())),
            api_secret: Some(SecretSource::inline(API_SECRET.to_owned())),
            ..EMQX
        }
    }

    /// The same as TOML.
    pub(crate) fn config_text(&self) -> String {
        format!(
            "[[broker]]\nkind = \"emqx\"\napi = \"http://{}\"\napi_key = \"{API_KEY}\"\napi_secret = \"{API_SECRET}\"\n",
            self.api
        )
    }

    /// Lets every call of the API fail with a status, or succeed again.
    pub(crate) fn fail_with(&self, status: Option<StatusCode>) {
        self.lock().failure = status;
    }

    /// Lets the list of clients fail with a status, or succeed again.
    pub(crate) fn fail_clients_with(&self, status: Option<StatusCode>) {
        self.lock().clients_failure = status;
    }

    /// Successful calls of the API that change something, since the last time.
    pub(crate) fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().calls)
    }

    /// A device connects. Returns whether it is in.
    pub(crate) async fn connect(&self, gate: SocketAddr, device: &Device) -> bool {
        if self.lock().banned.contains_key(&device.client_id) {
            return false;
        }
        let mut body = device.body();
        body["clientid"] = body["client_id"].take();
        body.as_object_mut().unwrap().remove("client_id");
        let key = body.to_string();
        let kept = self.lock().authentication.get(&key).copied();
        let is_allowed = match kept {
            Some(kept) => kept,
            None => {
                let is_allowed = ask(gate, "/emqx/auth", &body).await;
                let mut model = self.lock();
                if model.node_caches_enabled {
                    model.authentication.insert(key, is_allowed);
                }
                is_allowed
            }
        };
        if is_allowed {
            self.lock().sessions.entry(device.client_id.clone()).or_default();
        }
        is_allowed
    }

    /// A connected device publishes. Returns whether it may.
    pub(crate) async fn publish(&self, gate: SocketAddr, device: &Device, topic: &str) -> bool {
        let body = device.acl_body("publish", topic);
        let key = body.to_string();
        let kept = {
            let model = self.lock();
            let session = model.sessions.get(&device.client_id).expect("the device is connected");
            session.get(&key).or_else(|| model.authorization.get(&key)).copied()
        };
        let is_allowed = match kept {
            Some(kept) => kept,
            None => ask(gate, "/emqx/acl", &body).await,
        };
        let mut model = self.lock();
        if model.node_caches_enabled {
            model.authorization.insert(key.clone(), is_allowed);
        }
        model.sessions.entry(device.client_id.clone()).or_default().insert(key, is_allowed);
        is_allowed
    }

    /// Connects clients without asking the gate.
    pub(crate) fn connect_unasked(&self, client_ids: impl IntoIterator<Item = String>) {
        self.lock().sessions.extend(client_ids.into_iter().map(|client_id| (client_id, BTreeMap::new())));
    }

    /// Pages of the list of clients that were read so far.
    pub(crate) fn pages(&self) -> usize {
        self.lock().pages
    }

    /// Client ids of the connected devices.
    pub(crate) fn connected(&self) -> BTreeSet<String> {
        self.lock().sessions.keys().cloned().collect()
    }

    /// The bans, by client id.
    pub(crate) fn banned(&self) -> BTreeMap<String, Value> {
        self.lock().banned.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Model> {
        self.state.lock().unwrap()
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/api/v5/{area}/node_cache/reset", post(reset_node_cache))
            .route("/api/v5/authorization/cache", delete(reset_session_caches))
            .route("/api/v5/authentication/settings", get(authentication_settings))
            .route("/api/v5/authorization/node_cache", get(authorization_node_cache))
            .route("/api/v5/clients", get(clients))
            .route("/api/v5/clients/{client_id}", delete(kick))
            .route("/api/v5/banned", post(ban))
            .layer(middleware::from_fn(authorize))
            .layer(Extension(self.clone()))
            .with_state(self.clone())
    }
}

async fn ask(gate: SocketAddr, path: &str, body: &Value) -> bool {
    let response = Connection::open(gate).await.request(&post_json(path, body)).await;
    assert_eq!(response.status, 200);
    response.result() == "allow"
}

/// Checks the API key, and lets calls fail.
async fn authorize(
    Extension(model): Extension<EmqxModel>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let expected = format!("Basic {}", BASE64_STANDARD.encode(format!("{API_KEY}:{API_SECRET}")));
    if headers.get("authorization").and_then(|value| value.to_str().ok()) != Some(&expected) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let failure = model.lock().failure;
    match failure {
        Some(status) => status.into_response(),
        None => next.run(request).await,
    }
}

async fn reset_node_cache(State(model): State<EmqxModel>, Path(area): Path<String>) -> StatusCode {
    let mut model = model.lock();
    if model.version == Version::V5_8 {
        return StatusCode::NOT_FOUND;
    }
    match area.as_str() {
        "authentication" => model.authentication.clear(),
        "authorization" => model.authorization.clear(),
        _ => return StatusCode::NOT_FOUND,
    }
    model.calls.push(format!("reset {area}"));
    StatusCode::NO_CONTENT
}

async fn reset_session_caches(State(model): State<EmqxModel>) -> StatusCode {
    let mut model = model.lock();
    model.sessions.values_mut().for_each(BTreeMap::clear);
    model.calls.push("reset sessions".to_owned());
    StatusCode::NO_CONTENT
}

async fn authentication_settings(State(model): State<EmqxModel>) -> Result<Json<Value>, StatusCode> {
    let model = model.lock();
    if model.version == Version::V5_8 {
        return Err(StatusCode::NOT_FOUND);
    }
    Ok(Json(json!({ "node_cache": { "enable": model.node_caches_enabled, "cache_ttl": "1m" } })))
}

async fn authorization_node_cache(State(model): State<EmqxModel>) -> Result<Json<Value>, StatusCode> {
    let model = model.lock();
    if model.version == Version::V5_8 {
        return Err(StatusCode::NOT_FOUND);
    }
    Ok(Json(json!({ "enable": model.node_caches_enabled, "cache_ttl": "1m" })))
}

/// One page of the clients. The fields that EMQX is asked for are all that it tells.
async fn clients(State(model): State<EmqxModel>, RawQuery(query): RawQuery) -> Result<Json<Value>, StatusCode> {
    let query = query.unwrap_or_default();
    let query: BTreeMap<_, _> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
    let (Some(page), Some(limit @ 1..=10_000)) = (number("page").filter(|page| *page > 0), number("limit")) else {
        return Err(StatusCode::BAD_REQUEST);
    };
    let fields: BTreeSet<_> = query.get("fields").map(|fields| fields.split(',').collect()).unwrap_or_default();
    let mut model = model.lock();
    if let Some(status) = model.clients_failure {
        return Err(status);
    }
    model.pages += 1;
    let row = |client_id: &String| {
        let known = [("clientid", json!(client_id)), ("username", Value::Null), ("ip_address", json!("127.0.0.1"))];
        Value::from_iter(known.into_iter().filter(|(field, _)| fields.contains(field)))
    };
    let rows: Vec<_> = model.sessions.keys().skip((page - 1) * limit).take(limit).map(row).collect();
    let (count, has_next) = (model.sessions.len(), page * limit < model.sessions.len());
    Ok(Json(json!({ "data": rows, "meta": { "count": count, "hasnext": has_next, "limit": limit, "page": page } })))
}

async fn kick(State(model): State<EmqxModel>, Path(client_id): Path<String>) -> StatusCode {
    let mut model = model.lock();
    if model.sessions.remove(&client_id).is_none() {
        return StatusCode::NOT_FOUND;
    }
    model.calls.push(format!("kick {client_id}"));
    StatusCode::NO_CONTENT
}

/// A ban ends the session. EMQX refuses to change a ban that exists.
async fn ban(State(model): State<EmqxModel>, Json(ban): Json<Value>) -> (StatusCode, Json<Value>) {
    let refuse = |code: &str| (StatusCode::BAD_REQUEST, Json(json!({ "code": code, "message": "refused" })));
    let mut model = model.lock();
    let is_complete = ban["as"] == "clientid" && ban["by"].is_string() && ban["until"].is_string();
    let Some(client_id) = ban["who"].as_str().filter(|_| is_complete).map(str::to_owned) else {
        return refuse("BAD_REQUEST");
    };
    if model.banned.contains_key(&client_id) {
        return refuse("ALREADY_EXISTS");
    }
    model.sessions.remove(&client_id);
    model.calls.push(format!("ban {client_id}"));
    model.banned.insert(client_id, ban.clone());
    (StatusCode::OK, Json(ban))
}
