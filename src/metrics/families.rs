//! The families of metrics, each stated once: its type, name, labels, description and values. `docs/metrics.md` has a table
//! made of them.
//!
//! Labels have names of the configuration and words of the API, so their number is bounded.

use std::collections::BTreeMap;

use super::counts::Counted;
use super::histogram::Histogram;
use super::process::Process;
use crate::check::tally::Tallied;
use crate::control::api::{BfdState, CheckState, EventKind, Peer, SessionState, Status};
use crate::events::file::Written;
use crate::hooks;
use crate::version::commit;

/// Where values come from.
pub(super) struct Source<'a> {
    pub(super) status: &'a Status,
    pub(super) counted: &'a Counted,
    pub(super) tallied: &'a [(String, Tallied)],
    pub(super) hooks: &'a [(String, hooks::OfHook, u64)],
    pub(super) event_file: &'a Written,
    pub(super) events_behind: u64,
    pub(super) process: Process,
    /// The time of the start, in seconds since 1970.
    pub(super) started: f64,
}

/// A family.
#[derive(Debug)]
pub struct Family {
    /// Its type.
    pub kind: Kind,
    /// Its name; that of a counter gets `_total`.
    pub name: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    help: &'static [&'static str],
    read: fn(&Source<'_>) -> Vec<Sample>,
}

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value that rises and falls.
    Gauge,
    /// A count since the start.
    Counter,
    /// Observations by upper bound.
    Histogram,
}

/// One value.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Gauge(f64),
    Counter(f64),
    Histogram(Histogram),
}

impl Family {
    /// The description, on one line, without the last full stop.
    pub fn help(&self) -> String {
        let help = self.help.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        help.trim_end_matches('.').to_owned()
    }

    pub(super) fn read(&self, source: &Source<'_>) -> Vec<Sample> {
        (self.read)(source)
    }
}

macro_rules! families {
    ($( $(#[doc = $help:literal])+ $kind:ident $name:literal [$($label:ident),*] => $read:expr; )+) => {
        /// Every family.
        pub static FAMILIES: &[Family] = &[$(
            Family {
                kind: Kind::$kind,
                name: $name,
                labels: &[$(stringify!($label)),*],
                help: &[$($help),+],
                read: $read,
            }
        ),+];
    };
}

families! {
    /// The version and the commit of the daemon; always 1.
    Gauge "vipcast_build_info" [version, commit] => |source| {
        let commit = commit().unwrap_or("unknown").to_owned();
        vec![gauge([("version", source.status.version.clone()), ("commit", commit)], 1.0)]
    };
    /// Whether the daemon only observes: nothing is bound or announced.
    Gauge "vipcast_observing" [] => |source| vec![gauge([], on(source.status.observing))];
    /// The time of the start, in seconds since 1970.
    Gauge "process_start_time_seconds" [] => |source| vec![gauge([], source.started)];
    /// The processor time, in seconds.
    Counter "process_cpu_seconds" [] => |source| vec![counter([], source.process.cpu)];
    /// The memory in use, in bytes.
    Gauge "process_resident_memory_bytes" [] => |source| vec![gauge([], source.process.memory)];
    /// The number of open descriptors.
    Gauge "process_open_fds" [] => |source| vec![gauge([], source.process.descriptors)];

    /// Whether the session with a peer is established.
    Gauge "vipcast_peer_up" [peer] => |source| {
        peers(source, |peer| Some(Value::Gauge(on(peer.state == SessionState::Established))))
    };
    /// Established sessions with a peer.
    Counter "vipcast_peer_sessions" [peer] => |source| {
        by_peer(source, |name, _| Some(count(source.counted.sessions.get(name).map_or(0, |of| of.established))))
    };
    /// Ended sessions with a peer.
    Counter "vipcast_peer_session_ends" [peer] => |source| {
        by_peer(source, |name, _| Some(count(source.counted.sessions.get(name).map_or(0, |of| of.ended))))
    };
    /// Prefixes that the TCP of a peer has acknowledged.
    Gauge "vipcast_peer_advertised_prefixes" [peer] => |source| {
        peers(source, |peer| Some(Value::Gauge(number(peer.advertised))))
    };
    /// Announced prefixes that a session cannot carry.
    Gauge "vipcast_peer_withheld_prefixes" [peer] => |source| {
        peers(source, |peer| Some(Value::Gauge(number(peer.withheld.len()))))
    };
    /// UPDATEs sent to a peer, End-of-RIB included.
    Counter "vipcast_peer_updates_sent" [peer] => |source| peers(source, |peer| Some(count(peer.updates_sent)));
    /// Prefixes that a peer has announced to us.
    Counter "vipcast_peer_received_prefixes" [peer] => |source| peers(source, |peer| Some(count(peer.received)));

    /// Whether BFD with a peer is up.
    Gauge "vipcast_bfd_up" [peer] => |source| {
        peers(source, |peer| Some(Value::Gauge(on(peer.bfd.as_ref()?.state == BfdState::Up))))
    };
    /// Changes of BFD with a peer from Up.
    Counter "vipcast_bfd_downs" [peer] => |source| peers(source, |peer| Some(count(peer.bfd.as_ref()?.downs)));
    /// Times that a peer was not taken for dead because vipcast woke late.
    Counter "vipcast_bfd_late_wakeups" [peer] => |source| {
        peers(source, |peer| Some(count(peer.bfd.as_ref()?.late_wakeups)))
    };
    /// The detection time of BFD with a peer, in seconds.
    Gauge "vipcast_bfd_detection_seconds" [peer] => |source| {
        peers(source, |peer| Some(Value::Gauge(seconds(peer.bfd.as_ref()?.detection_us?))))
    };

    /// VIPs of a service, by state (`announced`, `demoted`, `ready`, `withheld`) and reason.
    Gauge "vipcast_service_vips" [service, state, reason] => |source| {
        let mut vips: BTreeMap<[&str; 3], usize> = BTreeMap::new();
        for vip in &source.status.vips {
            let reason = vip.reason.as_ref().map_or("", |reason| reason.word());
            *vips.entry([&vip.service, vip.state.word(), reason]).or_default() += 1;
        }
        let sample = |([service, state, reason], vips): ([&str; 3], usize)| {
            let labels = [("service", service), ("state", state), ("reason", reason)];
            gauge(labels.map(|(name, value)| (name, value.to_owned())), number(vips))
        };
        vips.into_iter().map(sample).collect()
    };
    /// The time from the result that made a check fail to the first withdrawal in the hands of the kernel, in seconds.
    Histogram "vipcast_failover_seconds" [] => |source| vec![histogram([], &source.counted.failover)];

    /// Whether a check passes: it is up, or failing for too short a time.
    Gauge "vipcast_check_up" [check] => |source| {
        checks(source, |check| Value::Gauge(on(matches!(check.state, CheckState::Up | CheckState::Falling))))
    };
    /// Whether a check is settled.
    Gauge "vipcast_check_settled" [check] => |source| {
        checks(source, |check| Value::Gauge(on(check.state != CheckState::Unknown)))
    };
    /// Whether a check is degraded.
    Gauge "vipcast_check_degraded" [check] => |source| {
        checks(source, |check| Value::Gauge(on(check.degraded.is_some())))
    };
    /// Results of a check, by `result` (`passed`, `failed`).
    Counter "vipcast_check_results" [check, result] => |source| {
        let samples = source.tallied.iter().flat_map(|(check, tallied)| {
            [("passed", tallied.passed), ("failed", tallied.failed)].map(|(result, results)| {
                let labels = vec![("check", check.clone()), ("result", result.to_owned())];
                Sample { labels, value: count(results) }
            })
        });
        samples.collect()
    };
    /// The duration of the probes of a check, in seconds.
    Histogram "vipcast_check_duration_seconds" [check] => |source| {
        let sample = |(check, tallied): &(String, Tallied)| histogram([("check", check.clone())], &tallied.took);
        source.tallied.iter().map(sample).collect()
    };
    /// How late the median probe of the last ten to twenty seconds began, in seconds.
    Gauge "vipcast_probes_late_median_seconds" [] => |source| {
        vec![gauge([], seconds(source.status.probes.late_p50_us))]
    };
    /// How late the 99th percentile of the probes of the last ten to twenty seconds began, in seconds.
    Gauge "vipcast_probes_late_p99_seconds" [] => |source| {
        vec![gauge([], seconds(source.status.probes.late_p99_us))]
    };

    /// Events, by kind.
    Counter "vipcast_events" [event] => |source| {
        let counts = EventKind::KNOWN.iter().map(|kind| {
            let kind = kind.word();
            counter([("event", kind.to_owned())], wide(source.counted.events.get(kind).copied().unwrap_or(0)))
        });
        counts.collect()
    };
    /// Events that were written to the file of events.
    Counter "vipcast_events_file_written" [] => |source| vec![counter([], wide(source.event_file.written))];
    /// Events that left the memory before they could be written to the file of events.
    Counter "vipcast_events_file_lost" [] => |source| vec![counter([], wide(source.event_file.lost))];
    /// Events that wait for the file of events.
    Gauge "vipcast_events_file_behind" [] => |source| vec![gauge([], wide(source.events_behind))];
    /// Events for a hook, by `result` (`delivered`, `failed`).
    Counter "vipcast_hook_events" [hook, result] => |source| {
        let samples = source.hooks.iter().flat_map(|(hook, of_hook, _)| {
            [("delivered", of_hook.delivered), ("failed", of_hook.failed)].map(|(result, events)| {
                counter([("hook", hook.clone()), ("result", result.to_owned())], wide(events))
            })
        });
        samples.collect()
    };
    /// Failed requests of a hook that were repeated.
    Counter "vipcast_hook_retries" [hook] => |source| by_hook(source, |of_hook, _| count(of_hook.retried));
    /// Events that left the memory before a hook came to them.
    Counter "vipcast_hook_missed" [hook] => |source| by_hook(source, |of_hook, _| count(of_hook.missed));
    /// Events that wait for a hook, whether it wants them or not.
    Gauge "vipcast_hook_behind" [hook] => |source| by_hook(source, |_, waiting| Value::Gauge(wide(waiting)));
    /// The duration of deliveries by a hook, with repeated requests, in seconds.
    Histogram "vipcast_hook_duration_seconds" [hook] => |source| {
        by_hook(source, |of_hook, _| Value::Histogram(of_hook.took.clone()))
    };
    /// Records that stand neither in the log nor among the events, because too much happened at once.
    Counter "vipcast_events_left_out" [] => |source| vec![counter([], wide(source.counted.left_out))];
    /// Whether the last reload is in force.
    Gauge "vipcast_config_reload_successful" [] => |source| vec![gauge([], on(source.counted.reloaded))];
    /// The time at which the configuration came in force, in seconds since 1970.
    Gauge "vipcast_config_applied_timestamp_seconds" [] => |source| {
        let configured = source.counted.configured;
        configured.map(|at| gauge([], at.as_duration().as_secs_f64())).into_iter().collect()
    };
    /// Warnings about this host in `status`.
    Gauge "vipcast_warnings" [] => |source| vec![gauge([], number(source.status.warnings.len()))];
    /// Whether state is not saved, and a restart would lose it.
    Gauge "vipcast_state_unsaved" [] => |source| vec![gauge([], on(source.status.unsaved.is_some()))];
    /// Whether a shutdown is under way.
    Gauge "vipcast_shutting_down" [] => |source| vec![gauge([], on(source.status.shutdown.is_some()))];
}

fn peers(source: &Source<'_>, value: impl Fn(&Peer) -> Option<Value>) -> Vec<Sample> {
    by_peer(source, |_, peer| value(peer))
}

fn by_peer(source: &Source<'_>, value: impl Fn(&str, &Peer) -> Option<Value>) -> Vec<Sample> {
    let samples = source.status.peers.iter().filter_map(|(name, peer)| {
        Some(Sample { labels: vec![("peer", name.clone())], value: value(name, peer)? })
    });
    samples.collect()
}

fn checks(source: &Source<'_>, value: impl Fn(&crate::control::api::Check) -> Value) -> Vec<Sample> {
    let samples = source.status.checks.iter();
    samples
        .map(|(name, check)| Sample { labels: vec![("check", name.clone())], value: value(check) })
        .collect()
}

fn by_hook(source: &Source<'_>, value: impl Fn(&hooks::OfHook, u64) -> Value) -> Vec<Sample> {
    let samples = source.hooks.iter();
    samples
        .map(|(name, of_hook, waiting)| Sample {
            labels: vec![("hook", name.clone())],
            value: value(of_hook, *waiting),
        })
        .collect()
}

fn gauge<const N: usize>(labels: [(&'static str, String); N], value: f64) -> Sample {
    Sample { labels: labels.into(), value: Value::Gauge(value) }
}

fn counter<const N: usize>(labels: [(&'static str, String); N], value: f64) -> Sample {
    Sample { labels: labels.into(), value: Value::Counter(value) }
}

fn histogram<const N: usize>(labels: [(&'static str, String); N], value: &Histogram) -> Sample {
    Sample { labels: labels.into(), value: Value::Histogram(value.clone()) }
}

fn count(value: u64) -> Value {
    Value::Counter(wide(value))
}

fn on(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

fn seconds(micros: u64) -> f64 {
    wide(micros) / 1e6
}

fn number(value: usize) -> f64 {
    wide(u64::try_from(value).unwrap_or(u64::MAX))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "samples of Prometheus are floats; counts beyond 2^53 do not occur"
)]
fn wide(value: u64) -> f64 {
    value as f64
}
