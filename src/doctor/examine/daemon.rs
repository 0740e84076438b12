//! The configuration, the daemon behind the control socket, and its process.

use std::any::Any;

use vipcast_node::model::{Config, ConnectMode};

use super::host;
use crate::check::kind::definition;
use crate::check::kinds::icmp::IcmpCheck;
use crate::control::api::Status;
use crate::doctor::finding::{Finding, Id, Place};
use crate::doctor::gathered::{Daemon, Gathered, Process};
use crate::version::VERSION;

/// linux/capability.h.
const CAP_NET_BIND_SERVICE: u32 = 10;
const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;
/// The descriptors of the daemon without checks, with some room.
const DESCRIPTORS: u64 = 64;

pub(super) fn examine(gathered: &Gathered) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(invalid(gathered));
    found.extend(gathered.daemon.as_ref().and_then(|daemon| unreachable(gathered, daemon)));
    if let Some(status) = gathered.status() {
        found.extend(told(gathered, status));
    }
    if let (Some(process), Some(config)) = (&gathered.process, gathered.valid()) {
        found.extend(missing(gathered, process, config));
        found.extend(few_descriptors(process, config));
        found.extend(no_real_time(process));
    }
    found
}

fn invalid(gathered: &Gathered) -> Option<Finding> {
    let why = gathered.config.as_ref()?.as_ref().err()?;
    let path = gathered.config_path.display().to_string();
    let fix = "this shows every mistake with its line and a hint";
    let line = format!("vipcast check {path}");
    Some(Finding::new(Id::InvalidConfiguration, Place::File(path), why, fix).line(line))
}

fn unreachable(gathered: &Gathered, daemon: &Daemon) -> Option<Finding> {
    let path = gathered.socket.display().to_string();
    let socket = Place::File(path.clone());
    match daemon {
        Daemon::Answers(_) => None,
        Daemon::Absent => Some(match gathered.running.first() {
            Some(pid) => {
                let what = format!("vipcast runs (process {pid}), and nobody listens on this control socket");
                let fix = "name its socket, which is `control: {socket: …}` of its configuration";
                Finding::new(Id::SocketUnreachable, socket, what, fix).line("vipcast doctor --socket PATH")
            }
            None => {
                let fix = "start it; its log says why if it does not stay";
                Finding::new(Id::NotRunning, Place::Daemon, "no vipcast runs in this network namespace", fix)
                    .line("systemctl enable --now vipcast")
            }
        }),
        Daemon::Forbidden => {
            let fix = "run this as root, or set `control: {group: …}` and join that group";
            Some(Finding::new(Id::SocketUnreachable, socket, "this user may not use the control socket", fix))
        }
        Daemon::Silent => {
            let what = "it accepts the connection and does not answer";
            let fix = "is it stopped (`T`) or does it wait (`D`)? Its log and this say so";
            Some(
                Finding::new(Id::DaemonSilent, Place::Daemon, what, fix)
                    .line("ps -C vipcast -o pid,stat,wchan"),
            )
        }
        Daemon::Incomprehensible => {
            let what = format!("its answer is not one that version {VERSION} understands");
            Some(other_version(what))
        }
        Daemon::Fails(why) => {
            let fix = "is this the control socket of vipcast? `--socket` names another one";
            Some(Finding::new(Id::SocketUnreachable, socket, why, fix))
        }
    }
}

fn other_version(what: String) -> Finding {
    let fix = "have the daemon become the program on disk; sessions, BFD and routes go on";
    Finding::new(Id::OtherVersion, Place::Daemon, what, fix)
        .line("vipcast upgrade    # or: systemctl restart vipcast")
}

/// The daemon's own words.
fn told(gathered: &Gathered, status: &Status) -> Vec<Finding> {
    let mut found = Vec::new();
    if status.version != VERSION {
        found.push(other_version(format!("it has version {}, and this program {VERSION}", status.version)));
    }
    let may_not_listen = gathered.process.as_ref().is_some_and(|process| !process.may(CAP_NET_BIND_SERVICE));
    // Those have findings of their own.
    let is_known = |warning: &str| {
        let named = gathered
            .routing_daemons
            .iter()
            .any(|other| warning.starts_with(&format!("{} (process ", other.name)));
        named
            || (warning.starts_with("not listening on ")
                && (host::has_taken_port(gathered) || may_not_listen))
    };
    for warning in status.warnings.iter().filter(|warning| !is_known(warning)) {
        if warning.starts_with("hook ") {
            let fix = "mend what the hook runs or posts to; the next delivered event ends this";
            found
                .push(Finding::new(Id::HookFails, Place::Daemon, warning, fix).line("journalctl -u vipcast"));
            continue;
        }
        if warning.starts_with("events are not written ") {
            let fix =
                "make room on the disk of `state_dir`, or make it writable; vipcast tries again by itself";
            found.push(Finding::new(Id::EventsNotWritten, Place::Daemon, warning, fix).line("df -h; df -i"));
            continue;
        }
        let fix = "docs/troubleshooting.md has the words of this warning";
        found
            .push(Finding::new(Id::DaemonWarning, Place::Daemon, warning, fix).line("journalctl -u vipcast"));
    }
    if let Some(unsaved) = &status.unsaved {
        let fix = "make room on the disk of `state_dir`, or make it writable; vipcast tries again by itself";
        found.push(Finding::new(Id::UnsavedState, Place::Daemon, unsaved, fix));
    }
    found
}

/// The capabilities that the configuration needs, and the process lacks.
fn missing(gathered: &Gathered, process: &Process, config: &Config) -> Vec<Finding> {
    let binds =
        config.services.values().any(|service| service.vips.iter().any(|vip| service.carrier(vip).is_some()));
    let listens = config.peers.values().any(|peer| peer.mode != ConnectMode::Active)
        && config.listen.port < gathered.first_free_port.unwrap_or(1024);
    let pings = !gathered.pings_are_free
        && config.checks.values().any(|check| {
            let asked: &dyn Any = &**definition(check);
            asked.is::<IcmpCheck>()
        });
    let needed = [
        (binds, CAP_NET_ADMIN, "CAP_NET_ADMIN", "VIPs cannot be bound"),
        (listens, CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE", "it cannot listen on the port of BGP"),
        (pings, CAP_NET_RAW, "CAP_NET_RAW", "icmp checks cannot be asked"),
    ];
    let lacking = needed.into_iter().filter(|(is_needed, bit, ..)| *is_needed && !process.may(*bit));
    lacking
        .map(|(_, _, name, effect)| {
            let fix =
                "`systemctl edit vipcast`, add these lines, and restart it; or give it to the container";
            Finding::new(Id::MissingCapability, Place::Daemon, format!("it lacks {name}: {effect}"), fix)
                .line("[Service]")
                .line(format!("CapabilityBoundingSet={name}"))
                .line(format!("AmbientCapabilities={name}    # unless it runs as root"))
        })
        .collect()
}

fn few_descriptors(process: &Process, config: &Config) -> Option<Finding> {
    let checks = u64::try_from(config.checks.len()).unwrap_or(u64::MAX);
    let needed = checks.saturating_mul(2).saturating_add(DESCRIPTORS);
    let limit = process.descriptors.filter(|limit| *limit < needed)?;
    let what = format!("it may open {limit} files, and {checks} checks with its own need up to {needed}");
    let fix = "`systemctl edit vipcast`, add these lines, and restart it";
    Some(
        Finding::new(Id::FewDescriptors, Place::Daemon, what, fix)
            .line("[Service]")
            .line(format!("LimitNOFILE={}", needed.next_power_of_two().max(1024))),
    )
}

fn no_real_time(process: &Process) -> Option<Finding> {
    process.is_bfd_real_time.filter(|is_real_time| !is_real_time)?;
    let what = "its BFD thread has no real-time priority: on a busy host a router may take it for dead";
    let fix = "`systemctl edit vipcast`, add these lines, and restart it; in a container grant CAP_SYS_NICE";
    Some(Finding::new(Id::NoRealTime, Place::Daemon, what, fix).line("[Service]").line("LimitRTPRIO=20"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::bench::{healthy, short, with_config, with_status};
    use super::*;

    #[test]
    fn a_configuration_and_a_daemon_that_cannot_be_had_are_named() {
        let socket = "/run/vipcast/control.sock";
        let table = [
            (
                Daemon::Forbidden,
                vec![],
                Id::SocketUnreachable,
                socket,
                "this user may not use the control socket",
            ),
            (
                Daemon::Absent,
                vec![7],
                Id::SocketUnreachable,
                socket,
                "vipcast runs (process 7), and nobody listens on this control socket",
            ),
            (
                Daemon::Absent,
                vec![],
                Id::NotRunning,
                "the daemon",
                "no vipcast runs in this network namespace",
            ),
            (
                Daemon::Silent,
                vec![7],
                Id::DaemonSilent,
                "the daemon",
                "it accepts the connection and does not answer",
            ),
            (Daemon::Fails("broken pipe".to_owned()), vec![7], Id::SocketUnreachable, socket, "broken pipe"),
        ];
        for (daemon, running, id, place, what) in table {
            let gathered = Gathered { daemon: Some(daemon), running, process: None, ..healthy() };
            assert_eq!(short(&examine(&gathered)), [(id, place.to_owned(), what)]);
        }
        let gathered = Gathered { daemon: Some(Daemon::Incomprehensible), ..healthy() };
        assert_eq!(examine(&gathered)[0].id, Id::OtherVersion);
        let gathered = Gathered { config: Some(Err("two mistakes".to_owned())), ..healthy() };
        let found = examine(&gathered);
        let file = "/etc/vipcast/vipcast.yaml".to_owned();
        assert_eq!(short(&found), [(Id::InvalidConfiguration, file, "two mistakes")]);
        assert_eq!(found[0].lines, ["vipcast check /etc/vipcast/vipcast.yaml"]);
    }

    #[test]
    fn the_words_of_the_daemon_are_passed_on() {
        let gathered = with_status(|status| {
            status["version"] = json!("0.0.1");
            status["warnings"] = json!([
                "the router id is not known",
                "bird (process 9) on this host: …",
                "hook page: the last event was not delivered: exit code 1",
                "events are not written to /x/events.jsonl: read-only file system"
            ]);
            status["unsaved"] = json!("cannot write drains.json: no space left on device");
        });
        let bird = vipcast_node::notice::OtherDaemon { name: "bird".to_owned(), pid: 9 };
        let found = examine(&Gathered { routing_daemons: vec![bird], ..gathered });
        let at = || "the daemon".to_owned();
        let version = format!("it has version 0.0.1, and this program {VERSION}");
        assert_eq!(
            short(&found),
            [
                (Id::OtherVersion, at(), version.as_str()),
                (Id::DaemonWarning, at(), "the router id is not known"),
                (Id::HookFails, at(), "hook page: the last event was not delivered: exit code 1"),
                (
                    Id::EventsNotWritten,
                    at(),
                    "events are not written to /x/events.jsonl: read-only file system"
                ),
                (Id::UnsavedState, at(), "cannot write drains.json: no space left on device"),
            ]
        );
    }

    #[test]
    fn a_capability_is_missed_only_where_the_configuration_needs_it() {
        let pings = "local_as: 1\npeers: {tor: {address: 10.0.1.1, peer_as: 2}}\nchecks: {gateway: {icmp: 10.0.1.1}}\n\
                     services: {web: {vips: [192.0.2.10], checks: [gateway]}}\n";
        let dials =
            "local_as: 1\npeers: {tor: {address: 10.0.1.1, peer_as: 2, active: true}}\nservices: {}\n";
        let none = Process { pid: 7, capabilities: 0, ..Process::default() };
        let lacked = |gathered: &Gathered| {
            let found = examine(gathered);
            assert!(found.iter().all(|found| found.id == Id::MissingCapability), "{found:?}");
            found.iter().map(|found| found.lines[1].clone()).collect::<Vec<_>>()
        };
        let with = |text| Gathered { process: Some(none.clone()), ..with_config(text) };
        let all = ["CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW"];
        let all = all.map(|name| format!("CapabilityBoundingSet={name}"));
        assert_eq!(lacked(&with(pings)), all);
        assert_eq!(lacked(&Gathered { pings_are_free: true, ..with(pings) }), all[..2]);
        assert_eq!(
            lacked(&Gathered { first_free_port: Some(0), ..with(pings) }),
            [all[0].clone(), all[2].clone()]
        );
        assert_eq!(lacked(&with(dials)), [""; 0]);
        assert_eq!(lacked(&Gathered { process: None, ..with(pings) }), [""; 0]);
    }

    #[test]
    fn limits_of_the_process_are_named_with_the_line_of_the_unit() {
        let process = healthy().process.unwrap();
        let few = Process { descriptors: Some(64), ..process.clone() };
        let found = examine(&Gathered { process: Some(few), ..healthy() });
        let what = "it may open 64 files, and 1 checks with its own need up to 66";
        assert_eq!(short(&found), [(Id::FewDescriptors, "the daemon".to_owned(), what)]);
        assert_eq!(found[0].lines, ["[Service]", "LimitNOFILE=1024"]);
        let slow = Process { is_bfd_real_time: Some(false), ..process.clone() };
        let found = examine(&Gathered { process: Some(slow), ..healthy() });
        assert_eq!((found[0].id, found[0].lines[1].as_str()), (Id::NoRealTime, "LimitRTPRIO=20"));
        let fast = Process { is_bfd_real_time: Some(true), ..process };
        assert_eq!(examine(&Gathered { process: Some(fast), ..healthy() }), []);
    }
}
