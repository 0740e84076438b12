//! Portable OpenBGPD: a parent and three children in one process group. It reads the kernel's routes to validate next
//! hops, but on Linux it adds none.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, anyhow, bail, ensure};
use ipnet::IpNet;
use serde_json::Value;

use crate::host::Host;
use crate::lab::find_program;
use crate::router::instance::{Instance, accepts, delegate_to_instance};
use crate::router::{
    Announcement, Bfd, BfdState, Family, History, Neighbor, Notification, Path, Router, RouterConfig,
    RouterKind, Routes, as_path, community,
};

const CONFIG: &str = "bgpd.conf";
const SOCKET: &str = "bgpd.sock";

/// The home of its user, into which its children lock themselves. Debian makes it at boot, by systemd alone.
const CHROOT: &str = "/run/openbgpd";

/// OpenBGPD's words for a NOTIFICATION: its code, and its subcodes from 1 on.
const ERRORS: &[(&str, u8, &[&str])] = &[
    ("Header error", 1, &["synchronization error", "wrong length", "unknown message type"]),
    ("error in OPEN message", 2, OPEN),
    ("error in UPDATE message", 3, UPDATE),
    ("HoldTimer expired", 4, &[]),
    ("Finite State Machine error", 5, &[]),
    ("Cease", 6, CEASE),
    ("error in ROUTE-REFRESH message", 7, &[]),
];
const OPEN: &[&str] = &[
    "version mismatch",
    "AS unacceptable",
    "BGPID invalid",
    "optional parameter error",
    "authentication error",
    "unacceptable holdtime",
    "unsupported capability",
];
const UPDATE: &[&str] = &[
    "attribute list error",
    "unknown well-known attribute",
    "well-known attribute missing",
    "attribute flags error",
    "attribute length wrong",
    "origin unacceptable",
    "loop detected",
    "nexthop unacceptable",
    "optional attribute error",
    "network unacceptable",
    "AS-Path unacceptable",
];
const CEASE: &[&str] = &[
    "received max-prefix exceeded",
    "administratively down",
    "peer unconfigured",
    "administrative reset",
    "connection rejected",
    "other config change",
    "collision",
    "resource exhaustion",
    "hard reset",
    "sent max-prefix exceeded",
];

/// A running OpenBGPD.
#[derive(Debug)]
pub(crate) struct OpenBgpd {
    instance: Instance,
}

impl OpenBgpd {
    pub(crate) fn new(host: &Host, config: &RouterConfig) -> Result<Self> {
        for neighbor in &config.neighbors {
            ensure!(neighbor.bfd.is_none(), "OpenBGPD has no BFD");
            ensure!(!neighbor.extended_nexthop, "OpenBGPD 7.7 has no extended next hop");
            ensure!(
                neighbor.ttl_security.is_none_or(|hops| hops == 1),
                "OpenBGPD knows ttl-security of one hop only"
            );
        }
        let instance = Instance::new(RouterKind::OpenBgpd, host, config)?;
        let path = instance.write(CONFIG, &config_text(config, &instance.file(SOCKET).to_string_lossy()))?;
        // It refuses a file that others may read: there may be passwords in it.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).context("cannot protect bgpd.conf")?;
        fs::create_dir_all(CHROOT).with_context(|| format!("cannot create {CHROOT}"))?;
        Ok(Self { instance })
    }

    fn bgpctl(&self, arguments: &[&str]) -> Result<String> {
        let socket = self.instance.file(SOCKET);
        self.instance.host.run([&["bgpctl", "-s", &socket.to_string_lossy()], arguments].concat())
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.bgpctl(&[&["-j"], arguments].concat())?;
        serde_json::from_str(&text).with_context(|| format!("{arguments:?} printed no JSON: {text}"))
    }

    fn neighbor(&self, neighbor: IpAddr) -> Result<Value> {
        let answer = self.json(&["show", "neighbor", &neighbor.to_string()])?;
        let found = answer["neighbors"].as_array().and_then(|list| list.first()).cloned();
        found.ok_or_else(|| anyhow!("no neighbour {neighbor} in {answer}"))
    }
}

impl Router for OpenBgpd {
    delegate_to_instance!();

    fn state(&self, neighbor: IpAddr) -> Result<String> {
        let answer = self.neighbor(neighbor)?;
        answer["state"].as_str().map(str::to_owned).ok_or_else(|| anyhow!("no state in {answer}"))
    }

    fn routes(&self) -> Result<Routes> {
        let mut routes = Routes::new();
        for path in self.json(&["show", "rib", "detail"])?["rib"].as_array().into_iter().flatten() {
            let (prefix, path) = parse_path(path)?;
            routes.entry(prefix).or_default().push(path);
        }
        Ok(routes)
    }

    fn history(&self, neighbor: IpAddr) -> Result<History> {
        let answer = self.neighbor(neighbor)?;
        let received = &answer["stats"]["message"]["received"];
        let number = |key: &str| received[key].as_u64().with_context(|| format!("no {key} in {answer}"));
        Ok(History {
            session: format!("{} OPENs, {} NOTIFICATIONs", number("open")?, number("notifications")?),
            bfd: None,
            since: Vec::new(),
            updates: number("updates")?,
        })
    }

    fn received_notification(&self, neighbor: IpAddr) -> Result<Option<Notification>> {
        let answer = self.neighbor(neighbor)?;
        let Some(words) = answer["last_error_received"].as_str() else { return Ok(None) };
        let text = answer["last_shutdown_reason"].as_str().map(str::to_owned);
        parse_notification(words, text).map(Some)
    }

    fn bfd(&self, _neighbor: IpAddr) -> Result<BfdState> {
        bail!("OpenBGPD has no BFD")
    }

    fn set_bfd(&self, _neighbor: IpAddr, _bfd: Bfd) -> Result<()> {
        bail!("OpenBGPD has no BFD")
    }

    fn refresh(&self, neighbor: IpAddr) -> Result<()> {
        self.bgpctl(&["neighbor", &neighbor.to_string(), "refresh"]).map(drop)
    }

    fn clear(&self, neighbor: IpAddr) -> Result<()> {
        self.bgpctl(&["neighbor", &neighbor.to_string(), "clear"]).map(drop)
    }

    fn shut(&self, neighbor: IpAddr, message: &str) -> Result<()> {
        self.bgpctl(&["neighbor", &neighbor.to_string(), "down", message]).map(drop)
    }

    fn unshut(&self, neighbor: IpAddr) -> Result<()> {
        self.bgpctl(&["neighbor", &neighbor.to_string(), "up"]).map(drop)
    }

    fn cli(&self, command: &str) -> Result<String> {
        self.bgpctl(&command.split(' ').collect::<Vec<_>>())
    }

    fn start(&self) -> Result<()> {
        self.instance.expect_stopped()?;
        // What a killed predecessor left would look like a daemon that is ready.
        let _absent = fs::remove_file(self.instance.file(SOCKET));
        // FRR's is named bgpd too, but is not where programs are looked for.
        let program = find_program("bgpd").context("bgpd is gone")?;
        let mut command = self.instance.host.command(program);
        command.args(["-d", "-v", "-f"]).arg(self.instance.file(CONFIG));
        self.instance.launch("openbgpd", command, || {
            accepts(&self.instance.file(SOCKET))?;
            let known = self.json(&["show", "neighbor"])?["neighbors"].as_array().map_or(0, Vec::len);
            ensure!(known == self.instance.config.neighbors.len(), "it knows {known} neighbours");
            Ok(())
        })
    }

    fn dump(&self) -> String {
        let commands = ["show", "show neighbor", "show rib detail", "show nexthop"];
        self.instance.dump(CONFIG, &commands, |command| self.cli(command))
    }
}

fn config_text(config: &RouterConfig, socket: &str) -> String {
    let (asn, router_id) = (config.asn, config.router_id);
    let mut text =
        format!("AS {asn}\nrouter-id {router_id}\nsocket \"{socket}\"\nlog updates\nconnect-retry 1\n");
    if config.port != 179 {
        text += &format!("listen on 0.0.0.0 port {0}\nlisten on :: port {0}\n", config.port);
    }
    config.announce.iter().for_each(|own| text += &network(own));
    config.neighbors.iter().for_each(|neighbor| text += &session(neighbor));
    text += "allow from any\n";
    if config.transit {
        text += "allow to any\n";
    } else {
        text += "deny to any\n";
        config.announce.iter().for_each(|own| text += &format!("allow to any prefix {}\n", own.prefix));
    }
    text + &config.extra
}

fn network(own: &Announcement) -> String {
    let mut sets: Vec<String> = own.med.iter().map(|med| format!("med {med}")).collect();
    sets.extend(own.communities.iter().map(|community| format!("community {community}")));
    match sets.is_empty() {
        true => format!("network {}\n", own.prefix),
        false => format!("network {} set {{ {} }}\n", own.prefix, sets.join(", ")),
    }
}

/// Every option is on a line of its own; its grammar wants that.
fn session(neighbor: &Neighbor) -> String {
    let mut text = format!("neighbor {} {{\n", neighbor.address);
    let mut line = |words: String| text += &format!("  {words}\n");
    line(format!("remote-as {}", neighbor.asn));
    line(format!("holdtime {}", neighbor.hold_time));
    if neighbor.port != 179 {
        line(format!("port {}", neighbor.port));
    }
    for family in Family::ALL {
        let (word, offer) = match family {
            Family::Ipv4 => ("IPv4", neighbor.families.contains(&family)),
            Family::Ipv6 => ("IPv6", neighbor.families.contains(&family)),
        };
        line(format!("announce {word} {}", if offer { "unicast" } else { "none" }));
    }
    line(format!("announce restart {}", if neighbor.graceful_restart { "yes" } else { "no" }));
    if neighbor.passive {
        line("passive".to_owned());
    }
    if let Some(password) = &neighbor.password {
        line(format!("tcp md5sig password \"{password}\""));
    }
    if neighbor.ttl_security.is_some() {
        line("ttl-security yes".to_owned());
    }
    if let Some(hops) = neighbor.multihop {
        line(format!("multihop {hops}"));
    }
    text + &neighbor.extra + "}\n"
}

fn parse_path(path: &Value) -> Result<(IpNet, Path)> {
    let text = |key: &str| path[key].as_str().with_context(|| format!("no {key} in {path}"));
    let number = |key: &str| path[key].as_u64().map(u32::try_from).transpose();
    let list = |key: &str| -> BTreeSet<String> {
        path[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(community).collect()
    };
    let prefix: IpNet = text("prefix")?.parse()?;
    let own = path["neighbor"]["description"] == "LOCAL";
    let unspecified = match Family::of(prefix.addr()) {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let next_hop = if own { unspecified } else { text("exit_nexthop")?.parse()? };
    let peer = path["neighbor"]["remote_addr"].as_str().and_then(|peer| peer.parse().ok());
    let path = Path {
        next_hop,
        as_path: as_path(text("aspath")?)?,
        med: number("metric")?,
        local_pref: number("localpref")?,
        communities: list("communities"),
        large_communities: list("large_communities"),
        peer: peer.filter(|_| !own),
        best: path["best"].as_bool() == Some(true),
    };
    Ok((prefix, path))
}

/// `Cease, administratively down`. The subcode is 0 where it has no word for it.
fn parse_notification(words: &str, text: Option<String>) -> Result<Notification> {
    let (error, detail) = words.split_once(", ").unwrap_or((words, ""));
    let found = ERRORS.iter().find(|(name, _, _)| *name == error);
    let (_, code, subcodes) = found.with_context(|| format!("an unknown NOTIFICATION: {words:?}"))?;
    let subcode =
        subcodes.iter().zip(1..).find(|(name, _)| **name == detail).map_or(0, |(_, subcode)| subcode);
    Ok(Notification { code: *code, subcode, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_known_by_its_words() {
        let told = parse_notification("Cease, administratively down", Some("bye".to_owned())).unwrap();
        assert_eq!(told, Notification { code: 6, subcode: 2, text: Some("bye".to_owned()) });
        let told = parse_notification("error in OPEN message, AS unacceptable", None).unwrap();
        assert_eq!(told, Notification { code: 2, subcode: 2, text: None });
        let told = parse_notification("HoldTimer expired", None).unwrap();
        assert_eq!(told, Notification { code: 4, subcode: 0, text: None });
    }
}
