//! `vipcast doctor`: the findings about this host and its daemon, each with its fix.
//!
//! Exit codes are those of Nagios plugins: 0 nothing found, 1 a warning, 2 a critical finding, 3 unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;
use vipcast_node::names::PeerName;

use super::{Failure, arguments, block_on, output, report};
use crate::doctor::examine::examine;
use crate::doctor::finding::{Finding, Id, Place, Severity};
use crate::doctor::gather::{Subject, gather};
use crate::doctor::gathered::{Daemon, Gathered};

/// The exit code if nothing can be said.
pub(super) const UNKNOWN: u8 = 3;
/// Findings of one kind that are shown; more are counted.
const SHOWN: usize = 5;

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Configuration file [default: that of the running daemon, or /etc/vipcast/vipcast.yaml]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Control socket of the daemon [default: the one in the configuration file]
    #[arg(long, value_name = "PATH", env = "VIPCAST_SOCKET")]
    socket: Option<PathBuf>,
    /// Only what concerns the session with this peer
    #[arg(long, value_name = "NAME")]
    peer: Option<String>,
    /// Leave out a finding, by its id; may be given several times
    #[arg(long, value_name = "ID", value_parser = arguments::finding)]
    ignore: Vec<Id>,
    /// Print the findings as JSON
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
    /// Print nothing; the exit code says whether anything was found
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn doctor(args: &DoctorArgs) -> ExitCode {
    match examined(args) {
        Ok(severity) => severity.map_or(ExitCode::SUCCESS, |worst| ExitCode::from(worst.exit_code())),
        Err(failure) => {
            report(&failure);
            ExitCode::from(UNKNOWN)
        }
    }
}

/// Prints the findings, and returns the severity of the worst.
fn examined(args: &DoctorArgs) -> Result<Option<Severity>, Failure> {
    let (config, socket) = (args.file.clone(), args.socket.clone());
    let subject =
        Subject { config, socket, peer: args.peer.as_deref().map(PeerName::from), root: "/".into() };
    let gathered = block_on(gather(&subject))?;
    let peer = subject.peer.as_ref();
    if let Some(peer) = peer {
        look_for(&gathered, peer)?;
    }
    let is_wanted = |finding: &Finding| {
        let is_meant = peer.is_none_or(|peer| finding.place == Place::Peer(peer.clone()));
        (is_meant || finding.id.hides_others()) && !args.ignore.contains(&finding.id)
    };
    let found: Vec<Finding> = examine(&gathered).into_iter().filter(is_wanted).collect();
    match (args.quiet, args.json) {
        (true, _) => {}
        (false, true) => output::print_json(&found)?,
        (false, false) if !found.is_empty() => output::print(&render(&found, output::width()))?,
        (false, false) if io::stdout().is_terminal() => output::print("nothing found")?,
        (false, false) => {}
    }
    Ok(found.first().map(|worst| worst.severity))
}

/// Whether there is such a peer, here or in the daemon. Without both, other findings say why.
fn look_for(gathered: &Gathered, peer: &PeerName) -> Result<(), Failure> {
    let mut known: BTreeSet<&str> = BTreeSet::new();
    known.extend(gathered.valid().iter().flat_map(|config| config.peers.keys().map(PeerName::as_str)));
    known.extend(gathered.status().iter().flat_map(|status| status.peers.keys().map(String::as_str)));
    if known.contains(peer.as_str()) {
        return Ok(());
    }
    match (&gathered.daemon, &gathered.config) {
        (Some(Daemon::Answers(_)), _) | (_, Some(Ok(_))) => {
            let names = known.into_iter().collect::<Vec<_>>().join(", ");
            Err(anyhow!("there is no peer {peer}; peers: {names}").into())
        }
        (_, Some(Err(_)) | None) => Err(anyhow!("no configuration and no daemon names peers").into()),
    }
}

/// The findings as text of this width. Lines to type are never broken.
fn render(found: &[Finding], width: usize) -> String {
    let mut text = String::new();
    let mut shown: BTreeMap<Id, usize> = BTreeMap::new();
    for finding in found {
        let count = shown.entry(finding.id).or_default();
        *count += 1;
        if *count > SHOWN {
            continue;
        }
        let Finding { id, severity, place, what, fix, lines, see } = finding;
        text += &format!("{}: {place}: {}\n", severity.word(), id.name());
        text += &wrapped(what, "  ", "  ", width);
        text += &wrapped(fix, "  fix: ", "       ", width);
        text.extend(lines.iter().map(|line| format!("    {line}\n")));
        text += &format!("  see: {see}\n\n");
    }
    for (id, count) in shown.into_iter().filter(|(_, count)| *count > SHOWN) {
        text += &format!("{} more of {}; `--json` has them all\n\n", count - SHOWN, id.name());
    }
    text + &summary(found)
}

/// `1 critical, 2 warnings`.
fn summary(found: &[Finding]) -> String {
    let counts = Severity::ALL.map(|severity| {
        let count = found.iter().filter(|finding| finding.severity == severity).count();
        let s = if severity == Severity::Warning && count > 1 { "s" } else { "" };
        (count, format!("{count} {}{s}", severity.word()))
    });
    let counts = counts.into_iter().filter(|(count, _)| *count > 0).map(|(_, words)| words);
    counts.collect::<Vec<_>>().join(", ")
}

/// Breaks a text between its words.
fn wrapped(text: &str, first: &str, other: &str, width: usize) -> String {
    let (mut lines, mut line) = (String::new(), first.to_owned());
    let mut is_empty = true;
    for word in text.split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > width {
            lines += &line;
            lines.push('\n');
            line = other.to_owned();
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line += word;
        is_empty = false;
    }
    lines + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_fit_the_terminal_and_lines_to_type_stay_whole() {
        let line = "sysctl -w net/ipv4/conf/eth1/rp_filter=2 net/ipv4/conf/eth2/rp_filter=2";
        let first = Finding::new(
            Id::ConnectionRefused,
            Place::Peer("tor-a".into()),
            "cannot connect: connection refused",
            "the router is there, and BGP does not listen for us",
        );
        let second = Finding::new(
            Id::ReversePathFilter,
            Place::Interface("eth1".to_owned()),
            "strict",
            "make it loose",
        );
        let text = render(&[first, second.line(line)], 40);
        let wanted = format!(
            "critical: peer tor-a: connection-refused
  cannot connect: connection refused
  fix: the router is there, and BGP does
       not listen for us
  see: docs/doctor.md#connection-refused

warning: interface eth1: reverse-path-filter
  strict
  fix: make it loose
    {line}
  see: docs/doctor.md#reverse-path-filter

1 critical, 1 warning"
        );
        assert_eq!(text, wanted);
    }

    #[test]
    fn of_many_findings_of_a_kind_some_are_shown_and_the_rest_counted() {
        let vip = |last: u8| Place::Vip(std::net::IpAddr::from([192, 0, 2, last]).into());
        let found: Vec<_> =
            (0..9).map(|last| Finding::new(Id::NotBound, vip(last), "gone", "bind it")).collect();
        let text = render(&found, 80);
        assert_eq!(text.matches("critical: VIP ").count(), SHOWN);
        assert!(text.ends_with("4 more of not-bound; `--json` has them all\n\n9 critical"), "{text}");
    }
}
