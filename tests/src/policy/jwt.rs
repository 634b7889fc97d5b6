//! Key rings, and the policy for JSON Web Tokens that verifies by them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use mqtt_gate::config::{Config, PolicyChain};
use mqtt_gate_engine::{CallError, Credentials, KeyRingSource, Limits, Policy, Sandbox, SettingSources};
use rcgen::{KeyPair, PublicKeyData};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::child::{mqtt_gate, run, run_rejected, serve_command, write_config};
use crate::support::device::KEY;
use crate::support::engine::credentials;
use crate::support::http::post_json;
use crate::support::in_process::{AUTH_CORE, Gate, JWT, MISBEHAVING};

/// Signs tokens with ES256.
struct Issuer {
    kid: &'static str,
    keys: EcdsaKeyPair,
    pem: String,
    point: Vec<u8>,
}

impl Issuer {
    fn new(kid: &'static str) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let keys = EcdsaKeyPair::from_pkcs8(algorithm, pair.serialized_der(), &random).unwrap();
        Self { kid, keys, pem: pair.public_key_pem(), point: pair.der_bytes().to_vec() }
    }

    fn jwk(&self) -> Value {
        let [x, y] = [&self.point[1..33], &self.point[33..]].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        json!({ "kty": "EC", "crv": "P-256", "kid": self.kid, "alg": "ES256", "x": x, "y": y })
    }

    fn token(&self, claims: &Value) -> String {
        self.token_by(&json!({ "alg": "ES256", "kid": self.kid, "typ": "JWT" }), claims)
    }

    fn token_by(&self, header: &Value, claims: &Value) -> String {
        let signed = signed_part(header, claims);
        let signature = self.keys.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

fn signed_part(header: &Value, claims: &Value) -> String {
    [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string())).join(".")
}

fn hs256(secret: &[u8], claims: &Value) -> String {
    let signed = signed_part(&json!({ "alg": "HS256" }), claims);
    let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag))
}

fn in_an_hour() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3_600
}

fn claims() -> Value {
    json!({ "sub": "c", "exp": in_an_hour(), "acl": { "pub": ["up/${clientid}"] }, "client_attrs": { "site": "a" } })
}

fn jwks(issuers: &[&Issuer]) -> String {
    json!({ "keys": issuers.iter().map(|issuer| issuer.jwk()).collect::<Vec<_>>() }).to_string()
}

fn policies(text: &str) -> PolicyChain {
    Config::parse(Path::new("gate.toml"), text).unwrap().policy
}

/// A gate with a key ring in a file.
async fn gate(keys: &str, settings: &str) -> (Gate, PathBuf, TempDir) {
    let directory = TempDir::new().unwrap();
    let ring = directory.path().join("jwks.json");
    fs::write(&ring, keys).unwrap();
    let text = format!(
        "[policy]\nbuiltin = \"jwt\"\nsettings = {{ {settings} }}\nkeyrings = {{ jwt = {{ file = {ring:?} }} }}\n"
    );
    let chain = policies(&text);
    (Gate::start_with(AUTH_CORE, |config| config.policy = chain).await, ring, directory)
}

async fn login(gate: &Gate, client_id: &str, token: &str) -> Value {
    let body = json!({ "client_id": client_id, "username": "u", "password": token });
    gate.request(&post_json("/emqx/auth", &body)).await.json()
}

async fn result(gate: &Gate, client_id: &str, token: &str) -> Value {
    login(gate, client_id, token).await["result"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_grants_what_it_says() {
    let issuer = Issuer::new("k1");
    let (gate, ..) = gate(&jwks(&[&issuer]), "").await;
    let claims = claims();
    let response = login(&gate, "c", &issuer.token(&claims)).await;
    assert_eq!((&response["result"], &response["expire_at"]), (&json!("allow"), &claims["exp"]), "{response}");
    assert_eq!(response["client_attrs"]["site"], "a", "{response}");
    assert!(response["acl"].to_string().contains("up/c"), "{response}");
    assert_eq!(gate.status().await["keys"], json!([{ "id": "k1", "logins": 1 }]));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_tokens_are_denied_with_the_cause() {
    let (issuer, stranger) = (Issuer::new("k1"), Issuer::new("k1"));
    let (gate, ..) = gate(&jwks(&[&issuer]), "audience = \"mqtt\"").await;
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims["aud"] = json!("mqtt");
        claims[name] = value;
        claims
    };
    let good = with("aud", json!("mqtt"));
    // The public key as the secret of a MAC: the confusion that has broken verifiers.
    let confused = hs256(issuer.pem.as_bytes(), &good);
    let unsigned = format!("{}.", signed_part(&json!({ "alg": "none" }), &good));
    let mut tampered = issuer.token(&good);
    tampered.replace_range(60..61, if &tampered[60..61] == "A" { "B" } else { "A" });
    for (token, detail) in [
        (stranger.token(&good), "bad-signature"),
        (confused, "bad-signature"),
        (hs256(KEY.as_bytes(), &good), "bad-signature"),
        (unsigned, "algorithm-not-allowed"),
        (tampered, "bad-signature"),
        (issuer.token(&with("exp", json!(1_000))), "expired"),
        (issuer.token(&with("exp", Value::Null)), "no-expiry"),
        (issuer.token(&with("sub", json!("d"))), "wrong-client-id"),
        (issuer.token(&with("aud", json!("web"))), "wrong-audience"),
        (issuer.token(&with("acl", json!("all"))), "malformed-claims"),
    ] {
        let before = gate.status().await["details"][detail].as_u64().unwrap_or_default();
        assert_eq!(result(&gate, "c", &token).await, "deny", "{detail}");
        assert_eq!(gate.status().await["details"][detail], before + 1, "{detail}");
    }
    assert_eq!(result(&gate, "c", "no token").await, "deny", "no policy decides about it");
    assert_eq!(result(&gate, "c", &issuer.token(&good)).await, "allow");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_rotates_while_the_gate_serves() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let (gate, ring, _directory) = gate(&jwks(&[&old]), "").await;
    let (by_old, by_new) = (old.token(&claims()), new.token(&claims()));
    assert_eq!((result(&gate, "c", &by_old).await, result(&gate, "c", &by_new).await), (json!("allow"), json!("deny")));
    fs::write(&ring, jwks(&[&old, &new])).unwrap();
    gate.wait_until("both keys are active", |status| status["policy"]["generation"] == 2).await;
    assert_eq!(
        (result(&gate, "c", &by_old).await, result(&gate, "c", &by_new).await),
        (json!("allow"), json!("allow"))
    );
    // A file that is wrong changes nothing.
    fs::write(&ring, "{\"keys\": [").unwrap();
    let is_rejected = |status: &Value| status["rejected"]["on_hold"] == "settings";
    let status = gate.wait_until("the ring is rejected", is_rejected).await;
    let reason = status["rejected"]["last"]["reason"].as_str().unwrap();
    assert_eq!(reason, "key ring `jwt`: is not a JWK and not a JWKS");
    assert_eq!(result(&gate, "c", &by_old).await, "allow");
    fs::write(&ring, jwks(&[&new])).unwrap();
    gate.wait_until("the old key is retired", |status| status["policy"]["generation"] == 3).await;
    assert_eq!((result(&gate, "c", &by_old).await, result(&gate, "c", &by_new).await), (json!("deny"), json!("allow")));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_may_be_pem_or_a_secret() {
    let issuer = Issuer::new("k1");
    let (pem, ..) = gate(&issuer.pem, "").await;
    // A key of PEM has no id, and a token that names one finds none.
    assert_eq!(result(&pem, "c", &issuer.token(&claims())).await, "deny");
    assert_eq!(result(&pem, "c", &issuer.token_by(&json!({ "alg": "ES256" }), &claims())).await, "allow");
    pem.stop().await;
    let (secret, ..) = gate(KEY, "").await;
    assert_eq!(result(&secret, "c", &hs256(KEY.as_bytes(), &claims())).await, "allow");
    secret.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_without_its_ring_is_refused() {
    let directory = TempDir::new().unwrap();
    for (keyrings, problem) in [
        ("", "the policy verifies by key rings and requires the one named `jwt`; grant them in [policy.keyrings]"),
        ("keyrings = { other = { file = \"/nonexistent\" } }", "key ring `other`: cannot read "),
        ("keyrings = { jwt = { file = \"/nonexistent\", env = \"X\" } }", "key ring `jwt`: needs either file or env"),
        ("keyrings = { jwt = { env = \"MQTT_GATE_TEST_UNSET\" } }", "MQTT_GATE_TEST_UNSET is not set"),
        ("keyrings = { jwt = { file = \"/x\", algorithms = [\"none\"] } }", "expected one of `HS1`"),
    ] {
        let config = write_config(directory.path(), &format!("[policy]\nbuiltin = \"jwt\"\n{keyrings}\n"));
        let (code, error) = run_rejected(&mut serve_command(&config)).await;
        assert_eq!(code, Some(64), "{error}");
        assert!(error.contains(problem) && error.lines().count() == 1, "{problem}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_lists_the_rings_of_a_policy() {
    let directory = TempDir::new().unwrap();
    let config =
        write_config(directory.path(), "[policy]\nbuiltin = \"jwt\"\nkeyrings = { jwt = { env = \"RING\" } }\n");
    let mut command = mqtt_gate(["check", JWT, "--config", config.to_str().unwrap()]);
    let (code, printed, error) = run(command.env("RING", KEY)).await;
    assert_eq!((code, error.as_str()), (Some(0), ""));
    let line = "  key ring jwt (required): Keys that sign tokens: JWKS, PEM or secrets.";
    assert!(printed.lines().any(|it| it == line), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_on_key_rings_is_not_composed_for_hosts_without_them() {
    let directory = TempDir::new().unwrap();
    let composed = directory.path().join("composed.wasm");
    let (code, _, error) = run(&mut mqtt_gate(["compose", JWT, "-o", composed.to_str().unwrap()])).await;
    assert_eq!((code, composed.exists()), (Some(64), false));
    assert!(error.contains("the policy verifies by key rings, which only mqtt-gate supplies"), "{error}");
}

/// The policy returns every setting that it can read in its error. A ring is none.
#[test]
fn no_policy_can_read_a_ring() {
    let directory = TempDir::new().unwrap();
    let ring = directory.path().join("ring");
    let secret = "a secret of a ring that no policy may read";
    fs::write(&ring, secret).unwrap();
    let mut sources = SettingSources::default();
    sources.set("seen", "a setting".to_owned());
    sources.grant_keyring("hidden".to_owned(), KeyRingSource::from_file(ring));
    let sandbox = Arc::new(Sandbox::new(Limits::default()).unwrap());
    let policy = Policy::load(sandbox, &fs::read(MISBEHAVING).unwrap(), Arc::new(sources.read().unwrap())).unwrap();
    let credentials = Credentials { username: Some("dump".to_owned()), ..credentials("c") };
    let Err(CallError::NoVerdict(error)) = policy.authenticate(&credentials) else { panic!("no error") };
    assert!(error.contains("seen"), "the policy sees its settings: {error}");
    assert!(!error.contains("hidden") && !error.contains("a secret"), "a policy sees a ring");
    assert_eq!(policy.unused_settings(), ["seen", "hidden"]);
}
