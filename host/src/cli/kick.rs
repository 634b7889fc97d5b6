//! `mqtt-gate kick`

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use mqtt_gate::config::Config;
use mqtt_gate::emqx_api::{ApiError, EmqxApi, broker_apis};
use serde::Serialize;

use super::error::CliError;
use super::exit::Exit;
use super::output;

/// A longer ban is a decision for the policy, which every broker asks.
const MAX_BAN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Reason of a ban, for the dashboard of EMQX.
const BAN_REASON: &str = "banned by mqtt-gate kick";

/// Flags of `kick`.
#[derive(Args)]
#[command(
    after_help = "Calls the management API of EMQX that [[broker]] names in the configuration. The caches of EMQX are reset
first: otherwise EMQX 6 lets the client back in by a response that it has kept. A client that the policy still allows
connects again at once, so swap the policy or revoke its key before, or add --ban.

Examples:
  mqtt-gate kick GID_a@@@AA_BB_CC_DD_EE_FF@@@1 --config /etc/mqtt-gate/gate.toml
  mqtt-gate kick device-1 device-2 --ban 10m --config /etc/mqtt-gate/gate.toml

Exit codes:
  0   the clients are disconnected; a client that was not connected is named
  64  the configuration names no API of EMQX, or a flag is not valid
  70  a call of the API failed; standard error says which; clients named before are disconnected"
)]
pub(crate) struct Kick {
    /// The client ids
    #[arg(value_name = "CLIENT_ID", required = true)]
    client_ids: Vec<String>,
    /// Take the API of EMQX from this configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Also refuse logins of these clients for this long, such as 10m
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    ban: Option<Duration>,
    /// Print one line of JSON for each client
    #[arg(long)]
    json: bool,
}

/// Output for one client.
#[derive(Serialize)]
struct KickReport<'a> {
    client_id: &'a str,
    /// Whether the client was connected to one of the brokers.
    was_connected: bool,
    /// End of the ban; `null` without --ban, and for a client that was banned before.
    banned_until: Option<String>,
    /// Whether one of the brokers had banned the client before. That ban stays.
    was_banned: bool,
}

impl Kick {
    pub(crate) fn run(self) -> Result<Exit, CliError> {
        let apis = apis(&self.config)?;
        let until = self.ban.map(|ban| end_of_ban(ban, SystemTime::now())).transpose()?;
        for api in &apis {
            api.reset_caches().map_err(|error| failure(api, "cannot reset the caches", error))?;
        }
        for client_id in &self.client_ids {
            output::print(&kick(&apis, client_id, until)?, self.json)?;
        }
        Ok(Exit::Ok)
    }
}

/// The APIs of all brokers in the configuration.
fn apis(path: &Path) -> Result<Vec<EmqxApi>, CliError> {
    let mut config = Config::read(path)?;
    config.resolve_broker_env()?;
    let apis: Vec<_> = broker_apis(&config).map_err(anyhow::Error::from)?.into_iter().map(|(_, api)| api).collect();
    if apis.is_empty() {
        return Err(
            anyhow!("no [[broker]] of the configuration has an api; add one with api, api_key and api_secret").into()
        );
    }
    Ok(apis)
}

/// Disconnects a client from every broker: it may be connected to any of them.
fn kick<'a>(apis: &[EmqxApi], client_id: &'a str, until: Option<SystemTime>) -> Result<KickReport<'a>, CliError> {
    let (mut was_connected, mut was_banned) = (false, false);
    for api in apis {
        // The ban first: a client that is only disconnected may be back before it.
        if let Some(until) = until {
            let is_new = api.ban(client_id, until, BAN_REASON);
            was_banned |= !is_new.map_err(|error| failure(api, "cannot ban the client", error))?;
        }
        was_connected |= api.kick(client_id).map_err(|error| failure(api, "cannot disconnect the client", error))?;
    }
    let banned_until = until.filter(|_| !was_banned).map(|until| humantime::format_rfc3339_seconds(until).to_string());
    Ok(KickReport { client_id, was_connected, banned_until, was_banned })
}

fn end_of_ban(ban: Duration, now: SystemTime) -> Result<SystemTime> {
    let is_valid = (Duration::from_secs(1)..=MAX_BAN).contains(&ban);
    ensure!(is_valid, "--ban: must be from 1s to 30days; to refuse a client for longer, let the policy deny it");
    now.checked_add(ban).context("--ban: too long")
}

fn failure(api: &EmqxApi, what: &str, error: ApiError) -> CliError {
    CliError::Software(anyhow::Error::new(error).context(format!("{}: {what}", api.url())))
}

impl fmt::Display for KickReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        // A client chooses its id, which could steer the terminal.
        let client_id = mqtt_gate_engine::util::sanitize::escape(self.client_id, usize::MAX);
        let done = if self.was_connected || self.banned_until.is_some() { "disconnected" } else { "was not connected" };
        write!(f, "{client_id}: {done}")?;
        if self.was_banned {
            f.write_str(", was banned before, and that ban stays")?;
        }
        self.banned_until.iter().try_for_each(|until| write!(f, ", banned until {until}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_says_what_happened_to_the_client() {
        let text = |was_connected, banned_until: Option<&str>| {
            let banned_until = banned_until.map(str::to_owned);
            KickReport { client_id: "a\u{1b}b", was_connected, banned_until, was_banned: false }.to_string()
        };
        let banned = KickReport { client_id: "a", was_connected: false, banned_until: None, was_banned: true };
        assert_eq!(banned.to_string(), "a: was not connected, was banned before, and that ban stays");
        assert_eq!(text(true, None), "a\\u{1b}b: disconnected");
        assert_eq!(text(false, None), "a\\u{1b}b: was not connected");
        assert_eq!(text(false, Some("then")), "a\\u{1b}b: disconnected, banned until then");
    }

    #[test]
    fn bans_are_bounded() {
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!(end_of_ban(Duration::from_secs(60), now).unwrap(), now + Duration::from_secs(60));
        for ban in [Duration::ZERO, MAX_BAN + Duration::from_secs(1)] {
            assert!(end_of_ban(ban, now).unwrap_err().to_string().starts_with("--ban: must be from 1s to 30days"));
        }
    }
}
