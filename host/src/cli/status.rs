//! `mqtt-gate status`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use mqtt_gate::config::Config;

use super::admin::AdminArgs;
use super::exit::Exit;
use super::show;
use super::state::{Counts, Finding, Rejected, Safeguard, Serving, Told, Unfit};

/// The flags of `status`.
#[derive(Args)]
#[command(after_help = "Examples:
  mqtt-gate status
  mqtt-gate status --admin 10.0.0.7:8004 --token-file /run/secrets/admin_token
  mqtt-gate status --json | jq -r .policy.sha256

Exit codes:
  0   the gate answers
  64  this is no admin address of a gate, or it asks for a token
  70  nobody answers")]
pub(crate) struct Status {
    /// Ask the gate of this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminArgs,
    /// Print what the gate answers, as one line of JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(crate) fn run(self) -> Result<Exit> {
        let config = self.config.as_deref().map(Config::read).transpose()?;
        let admin = self.admin.admin(config.as_ref())?;
        let state = admin.state()?;
        if self.json {
            show::json(&state.whole)?
        } else {
            show::text(lines(admin.url(), &state.told))?
        }
        Ok(Exit::Yes)
    }
}

fn lines(url: &str, told: &Told) -> String {
    let policy = &told.policy;
    let actions = if policy.answers_for_actions { counted(&told.actions) } else { "left to the broker".to_owned() };
    let connections = &told.connections;
    let mut lines = vec![
        format!("gate         {}, version {}", url.trim_end_matches("/status"), show::tame(&told.version)),
        format!("serves       {}", serving(policy)),
        format!("since        {}", since(&policy.since)),
        format!("logins       {}", counted(&told.logins)),
        format!("actions      {actions}"),
        format!("unasked      {} refused, {} malformed", told.refused_unasked, told.malformed),
        format!("connections  {} of {}, {} had to wait", connections.open, connections.most, connections.waits),
    ];
    if !policy.settings_not_read.is_empty() {
        lines.push(format!("unread       {}", show::tame(&policy.settings_not_read.join(", "))));
    }
    lines.extend(rejected(&told.rejected));
    lines.extend(told.safeguards.iter().flat_map(safeguard));
    lines.extend(told.misconfigured.iter().flat_map(finding));
    lines.join("\n")
}

/// A policy in service, on one line.
pub(crate) fn serving(policy: &Serving) -> String {
    let Serving { name, sha256, generation, .. } = policy;
    format!("{}, sha256 {}, generation {generation}", show::tame(name), show::tame(sha256))
}

fn since(rfc3339: &str) -> String {
    let ago = show::ago(rfc3339).map(|ago| format!(", {ago} ago")).unwrap_or_default();
    format!("{}{ago}", show::tame(rfc3339))
}

fn counted(counts: &Counts) -> String {
    let Counts { calls, verdicts, no_verdict } = counts;
    let ignored = if verdicts.ignore > 0 { format!(", {} passed on", verdicts.ignore) } else { String::new() };
    format!("{calls}: {} allowed, {} refused{ignored}, {no_verdict} without a verdict", verdicts.allow, verdicts.deny)
}

fn rejected(rejected: &Rejected) -> Vec<String> {
    let mut lines = vec![format!("rejected     {}", rejected.count)];
    if let Some(last) = &rejected.last {
        let sha256 = last.sha256.as_deref().unwrap_or("unread");
        lines.push(format!("             the last: sha256 {}, {}", show::tame(sha256), since(&last.at)));
        lines.push(format!("             {}", show::tame(&last.reason)));
    }
    lines
}

fn safeguard(safeguard: &Safeguard) -> Vec<String> {
    let Safeguard { name, kind, expires, refused } = safeguard;
    let until = expires.as_ref().map(|expires| format!(" until {}", show::tame(expires))).unwrap_or_default();
    let mut lines = vec![format!("kept by      {}, a {}{until}", show::tame(name), show::tame(kind))];
    if let Some(Unfit { reason, at }) = refused {
        let since = show::tame(at);
        lines.push(format!("MISTAKE      its files are of no use since {since}: what they held before stays in use"));
        lines.push(format!("             {}", show::tame(reason)));
    }
    lines
}

fn finding(finding: &Finding) -> [String; 2] {
    let Finding { route, member, count, last, problem, remedy } = finding;
    let place = [Some(route), member.as_ref()].into_iter().flatten().map(|text| show::tame(text)).collect::<Vec<_>>();
    let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
    [
        format!("MISTAKE      {}: {}, {times}, last {}", place.join(" "), show::tame(problem), show::tame(last)),
        format!("             {}", show::tame(remedy)),
    ]
}
