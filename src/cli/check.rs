//! `vipcast check`: validates a configuration; with `--probe` it also runs every check once, without any effect.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal};
use std::net::UdpSocket;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::Args;
use serde::Serialize;
use vipcast_node::health::report::Outcome;
use vipcast_node::model::{Check, Config};
use vipcast_node::names::{CheckName, ServiceName};
use vipcast_node::table::Table;

use super::{ConfigArgs, Failure, arguments, output};
use crate::check::once;
use crate::config::{self, Diagnostics, Host, Loaded};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Run every check once and show the results; nothing is bound or announced. Exits with 1 if a check fails.
    /// With SERVICE, run only its checks
    #[arg(long, value_name = "SERVICE", num_args = 0..=1, value_parser = arguments::probed_service)]
    probe: Option<Option<ServiceName>>,
    /// Ignore users, groups, programs and files of this host, to check a configuration for another host
    #[arg(long, conflicts_with = "probe")]
    offline: bool,
    /// Take warnings as errors: exits with 78 if there is any
    #[arg(long)]
    strict: bool,
    /// Print the findings, or the results of the checks, as JSON
    #[arg(long)]
    json: bool,
}

/// The result of one check.
#[derive(Debug, Serialize)]
struct Probed {
    /// The services that it decides about.
    services: BTreeSet<String>,
    passed: bool,
    /// The duration, in microseconds.
    took_us: u64,
    /// The observation, in words.
    detail: String,
}

pub(super) fn check(args: &CheckArgs) -> Result<(), Failure> {
    let host = if args.offline { Host::Offline } else { Host::Strict };
    match config::load(args.config.path(), host) {
        Ok(Loaded { warnings, .. }) if args.strict && !warnings.is_empty() => {
            if args.json {
                output::print_json(&warnings)?;
                return Err(Failure::Config(String::new()));
            }
            let text = rendered(&warnings);
            Err(Failure::Config(format!("{text}error: not valid with --strict: there are warnings\n")))
        }
        Ok(Loaded { config, warnings }) if args.probe.is_some() => {
            output::complain(&rendered(&warnings));
            probe(&config, args.probe.as_ref().and_then(Option::as_ref), args.json)
        }
        Ok(Loaded { warnings, .. }) if args.json => output::print_json(&warnings),
        Ok(Loaded { config, warnings }) => {
            output::complain(&rendered(&warnings));
            let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
            output::print(&format!(
                "{}: {}, {}, {}",
                args.config.path().display(),
                count(config.peers.len(), "peer"),
                count(config.checks.len(), "check"),
                count(config.services.len(), "service"),
            ))
        }
        Err(diagnostics) if args.json => {
            output::print_json(&diagnostics)?;
            Err(Failure::Config(String::new()))
        }
        Err(diagnostics) => Err(Failure::Config(rendered(&diagnostics))),
    }
}

/// Runs the checks of `service`, or all.
fn probe(config: &Config, service: Option<&ServiceName>, json: bool) -> Result<(), Failure> {
    let services: BTreeMap<_, _> =
        config.services.iter().filter(|(name, _)| service.is_none_or(|service| *name == service)).collect();
    if let Some(service) = service.filter(|_| services.is_empty()) {
        return Err(anyhow!("there is no service {service} in the configuration").into());
    }
    let checks: Table<CheckName, Arc<Check>> = match service {
        None => config.checks.clone(),
        Some(_) => {
            let named = services.values().flat_map(|service| service.checks.checks(None));
            named.map(|check| (check.clone(), Arc::clone(&config.checks[check]))).collect()
        }
    };
    let outcomes = once::probe(checks, &config.services).context("cannot run the checks")?;
    let probed = |(name, outcome): (CheckName, Outcome)| {
        let named = services.iter().filter(|(_, service)| service.checks.checks(None).contains(&&name));
        let services = named.map(|(service, _)| service.to_string()).collect();
        let took_us = u64::try_from(outcome.took.as_micros()).unwrap_or(u64::MAX);
        (name, Probed { services, passed: outcome.passed, took_us, detail: outcome.detail })
    };
    let results: BTreeMap<CheckName, Probed> = outcomes.into_iter().map(probed).collect();
    if json {
        output::print_json(&results)?
    } else {
        output::print(&table(&results))?
    }
    let failed: BTreeSet<&CheckName> =
        results.iter().filter(|(_, probed)| !probed.passed).map(|(name, _)| name).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let unbound = services.values().flat_map(|service| &service.vips).find(|vip| {
        let asked = |check: &&CheckName| check.as_str().ends_with(&format!("@{}", vip.short()));
        failed.iter().any(asked) && UdpSocket::bind((vip.ip(), 0)).is_err()
    });
    if let Some(vip) = unbound {
        let vip = vip.short();
        output::complain(&format!(
            "hint: {vip} is not on this host; VIPs are bound when vipcast runs, and can be asked only then\n"
        ));
    }
    Err(anyhow!("{} of {} checks failed", failed.len(), results.len()).into())
}

fn table(results: &BTreeMap<CheckName, Probed>) -> String {
    let mut table = output::table(&["CHECK", "RESULT", "TOOK", "WHY", "SERVICES"]);
    for (name, probed) in results {
        table.add_row([
            name.to_string(),
            if probed.passed { "passed".into() } else { "FAILED".to_owned() },
            took(probed.took_us),
            probed.detail.clone(),
            probed.services.iter().cloned().collect::<Vec<_>>().join(", "),
        ]);
    }
    table.to_string()
}

/// `0.42 ms`, `12 ms`, `1.2 s`.
fn took(us: u64) -> String {
    match us {
        ..=9_999 => format!("{}.{:02} ms", us / 1000, us % 1000 / 10),
        10_000..=999_999 => format!("{} ms", us / 1000),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

/// Rendered with colour if stderr is a terminal.
pub(super) fn rendered(diagnostics: &Diagnostics) -> String {
    if diagnostics.is_empty() {
        return String::new();
    }
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut text = diagnostics.render(colour);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
