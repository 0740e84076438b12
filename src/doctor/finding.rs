//! The findings, each stated once: id, severity and meaning. The index of `docs/doctor.md` and the schema of `--json`
//! are made from this table.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use vipcast_node::names::{CheckName, PeerName};
use vipcast_node::vip::Vip;

/// The page with a section for each finding.
const PAGE: &str = "docs/doctor.md";

/// States each finding: its name, severity, id, and meaning.
macro_rules! findings {
    ($( $(#[doc = $meaning:literal])+ $name:ident: $severity:ident $id:literal; )+) => {
        /// The id of a finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Id {
            $( $(#[doc = $meaning])+ $name, )+
        }

        impl Id {
            /// Every finding.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its stable name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $id,)+ }
            }

            /// Its severity.
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)+ }
            }

            /// Its meaning, in a sentence.
            pub fn meaning(self) -> String {
                match self { $(Self::$name => [$($meaning),+].map(str::trim).join(" "),)+ }
            }
        }
    };
}

findings! {
    /// The configuration is missing or invalid.
    InvalidConfiguration: Critical "invalid-configuration";
    /// No daemon runs in this network namespace.
    NotRunning: Critical "not-running";
    /// The daemon runs, and its control socket cannot be reached.
    SocketUnreachable: Unknown "socket-unreachable";
    /// The daemon accepts the connection and does not answer.
    DaemonSilent: Critical "daemon-silent";
    /// The daemon has another version than this program.
    OtherVersion: Warning "other-version";
    /// The daemon lacks a capability that the configuration needs.
    MissingCapability: Critical "missing-capability";
    /// The daemon may open too few files for its checks.
    FewDescriptors: Warning "few-descriptors";
    /// The thread of BFD has no real-time priority.
    NoRealTime: Warning "no-real-time";
    /// A warning of the daemon itself, as in `vipcast status`.
    DaemonWarning: Warning "daemon-warning";
    /// A hook does not deliver events.
    HookFails: Warning "hook-fails";
    /// Events are not written to the file of events.
    EventsNotWritten: Warning "events-not-written";
    /// A restart would lose a drain or a promotion, because the state directory cannot be written.
    UnsavedState: Warning "unsaved-state";
    /// The state directory is full.
    StateDirectoryFull: Warning "state-directory-full";
    /// The state directory is read-only.
    StateDirectoryReadOnly: Warning "state-directory-read-only";

    /// This host has no way to a router.
    NoRoute: Critical "no-route";
    /// A router refuses the connection to its BGP port.
    ConnectionRefused: Critical "connection-refused";
    /// A router neither accepts nor refuses the connection to its BGP port.
    NoAnswer: Critical "no-answer";
    /// The passwords of TCP MD5 or TCP-AO differ, or one side has none.
    WrongPassword: Critical "wrong-password";
    /// The distance of a router does not fit `multihop` or `ttl_security`.
    WrongTtl: Critical "wrong-ttl";
    /// One side is configured with another AS number for the other.
    WrongAs: Critical "wrong-as";
    /// A session is down for another reason.
    SessionDown: Critical "session-down";
    /// A session ends again and again.
    SessionFlaps: Warning "session-flaps";
    /// BFD is configured, and not up.
    BfdDown: Warning "bfd-down";
    /// A router has a session and does not use our route to a VIP.
    NotAccepted: Warning "not-accepted";
    /// A session cannot carry the route to a VIP.
    NotSendable: Warning "not-sendable";

    /// A VIP is healthy, and no router has it.
    AtNoRouter: Critical "at-no-router";
    /// A VIP is not on this host, or is unusable there.
    NotBound: Critical "not-bound";
    /// A VIP is on another interface than the configuration says.
    OtherInterface: Warning "other-interface";
    /// Another program has put a VIP on this host.
    ForeignAddress: Warning "foreign-address";
    /// A check is down, and a service is withheld or demoted because of it.
    CheckDown: Warning "check-down";
    /// A check takes most of its time-out.
    CheckSlow: Warning "check-slow";
    /// Checks begin late, because this host is busy.
    ProbesLate: Warning "probes-late";
    /// No program listens on a VIP and the port that the checks ask.
    NobodyListens: Critical "nobody-listens";
    /// The service listens on loopback addresses, and not on its VIP.
    OnlyLoopback: Critical "only-loopback";

    /// The reverse path filter drops packets that come in by one uplink and would leave by another.
    ReversePathFilter: Warning "reverse-path-filter";
    /// This host answers ARP for a VIP that is in the subnet of a link.
    ArpAnswers: Warning "arp-answers";
    /// systemd-networkd removes VIPs from an interface that it manages.
    NetworkdRemovesAddresses: Warning "networkd-removes-addresses";
    /// systemd-networkd removes the local routes of VIPs.
    NetworkdRemovesRoutes: Warning "networkd-removes-routes";
    /// systemd-networkd removes policy rules for VIPs.
    NetworkdRemovesRules: Warning "networkd-removes-rules";
    /// NetworkManager manages an interface with VIPs.
    NetworkManagerManages: Warning "networkmanager-manages";
    /// Another routing daemon runs on this host, and may announce VIPs that are withheld.
    OtherRoutingDaemon: Warning "other-routing-daemon";
    /// Another program has a port of BGP or BFD.
    PortTaken: Critical "port-taken";
    /// The kernel is older than a feature that the configuration uses.
    OldKernel: Warning "old-kernel";
    /// The clock of this host is not synchronised.
    ClockNotSynchronised: Warning "clock-not-synchronised";

    /// logind delays a reboot for less time than the withdrawal takes.
    ShutdownDelayShort: Warning "shutdown-delay-short";
    /// logind does not delay a reboot for the daemon.
    ShutdownNotDelayed: Warning "shutdown-not-delayed";

    /// A part of the examination failed or took too long.
    CouldNotLook: Unknown "could-not-look";
}

impl Id {
    /// The id of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|id| id.name() == name)
    }

    /// Whether other faults cannot be seen because of it.
    pub fn hides_others(self) -> bool {
        [
            Self::InvalidConfiguration,
            Self::NotRunning,
            Self::SocketUnreachable,
            Self::DaemonSilent,
            Self::CouldNotLook,
        ]
        .contains(&self)
    }

    /// The section about it.
    pub fn page(self) -> String {
        format!("{PAGE}#{}", self.name())
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The weight of a finding, and the exit code of plugins of Nagios.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Traffic is lost, or will be.
    Critical,
    /// Traffic flows, but a fault may stop it.
    Warning,
    /// Nothing is known.
    Unknown,
}

impl Severity {
    /// From the worst to the least.
    pub const ALL: [Self; 3] = [Self::Critical, Self::Warning, Self::Unknown];

    /// The exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
        }
    }

    /// The place in [`Self::ALL`].
    pub(super) fn rank(self) -> usize {
        match self {
            Self::Critical => 0,
            Self::Warning => 1,
            Self::Unknown => 2,
        }
    }
}

/// The object of a finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", content = "name", rename_all = "snake_case")]
pub enum Place {
    /// The whole host.
    Host,
    /// The daemon.
    Daemon,
    /// A peer.
    Peer(PeerName),
    /// A VIP.
    Vip(Vip),
    /// A check.
    Check(CheckName),
    /// An interface.
    Interface(String),
    /// A file, directory or socket.
    File(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("this host"),
            Self::Daemon => f.write_str("the daemon"),
            Self::Peer(name) => write!(f, "peer {name}"),
            Self::Vip(vip) => write!(f, "VIP {}", vip.short()),
            Self::Check(name) => write!(f, "check {name}"),
            Self::Interface(name) => write!(f, "interface {name}"),
            Self::File(path) => f.write_str(path),
        }
    }
}

/// A fault with its fix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its id.
    pub id: Id,
    /// Its severity.
    pub severity: Severity,
    /// The object with the fault.
    #[serde(rename = "where")]
    pub place: Place,
    /// The fault, in words.
    pub what: String,
    /// The fix, in words.
    pub fix: String,
    /// The commands to type, or the lines to write.
    pub lines: Vec<String>,
    /// The section of the documentation.
    pub see: String,
}

impl Finding {
    /// A fault of this object.
    pub fn new(id: Id, place: Place, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            id,
            severity: id.severity(),
            place,
            what: what.into(),
            fix: fix.into(),
            lines: Vec::new(),
            see: id.page(),
        }
    }

    /// The same with a command to type or a line to write.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }
}

/// The JSON Schema of `vipcast doctor --json`.
pub fn schema() -> Value {
    let ids: Vec<_> = Id::ALL.iter().map(|id| id.name()).collect();
    let meanings: Vec<_> = Id::ALL.iter().map(|id| format!("`{}`: {}", id.name(), id.meaning())).collect();
    let severities = Severity::ALL.map(Severity::word);
    let text = |about: &str| json!({"type": "string", "description": about});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Findings of vipcast doctor",
        "type": "array",
        "items": {
            "type": "object",
            "required": ["id", "severity", "where", "what", "fix", "lines", "see"],
            "properties": {
                "id": {"enum": ids, "description": meanings.join("\n")},
                "severity": {"enum": severities},
                "where": {
                    "type": "object",
                    "description": "The object with the fault.",
                    "required": ["kind"],
                    "properties": {
                        "kind": {"enum": ["host", "daemon", "peer", "vip", "check", "interface", "file"]},
                        "name": {"type": "string"},
                    },
                },
                "what": text("The fault."),
                "fix": text("The fix."),
                "lines": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "Commands to type, or lines to write.",
                },
                "see": text("The section of the documentation."),
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_finding_has_an_id_of_its_own_and_a_sentence() {
        let names: BTreeSet<_> = Id::ALL.iter().map(|id| id.name()).collect();
        assert_eq!(names.len(), Id::ALL.len());
        for id in Id::ALL {
            assert_eq!(Id::named(id.name()), Some(*id));
            assert!(id.meaning().ends_with('.'), "{id:?}");
            let plain = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(id.name().chars().all(plain), "{id:?}");
        }
        assert_eq!(Id::named("nonesuch"), None);
    }

    #[test]
    fn a_finding_has_its_place_and_its_section_in_json() {
        let finding =
            Finding::new(Id::NoRoute, Place::Peer("tor".into()), "no way", "make one").line("ip route");
        let wanted = json!({
            "id": "no-route", "severity": "critical", "where": {"kind": "peer", "name": "tor"}, "what": "no way",
            "fix": "make one", "lines": ["ip route"], "see": "docs/doctor.md#no-route",
        });
        assert_eq!(serde_json::to_value(&finding).unwrap(), wanted);
        let host = serde_json::to_value(Place::Host).unwrap();
        assert_eq!(host, json!({"kind": "host"}));
    }

    #[test]
    fn the_worst_comes_first_and_has_the_exit_code_of_nagios() {
        let table = Severity::ALL.map(|severity| (severity.rank(), severity.word(), severity.exit_code()));
        assert_eq!(table, [(0, "critical", 2), (1, "warning", 1), (2, "unknown", 3)]);
    }
}
