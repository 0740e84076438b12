//! GoBGP: one daemon, queried over gRPC on the loopback of its host. Its routes stay in its own table: without zebra
//! none reaches the kernel.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::host::Host;
use crate::router::instance::{Instance, delegate_to_instance};
use crate::router::{
    Announcement, Bfd, BfdState, Family, History, Neighbor, Notification, Path, Router, RouterConfig,
    RouterKind, Routes,
};

const CONFIG: &str = "gobgpd.toml";

/// A running GoBGP.
#[derive(Debug)]
pub(crate) struct GoBgp {
    instance: Instance,
}

impl GoBgp {
    pub(crate) fn new(host: &Host, config: &RouterConfig) -> Result<Self> {
        let instance = Instance::new(RouterKind::GoBgp, host, config)?;
        instance.write(CONFIG, &config_text(config))?;
        Ok(Self { instance })
    }

    fn gobgp(&self, arguments: &[&str]) -> Result<String> {
        self.instance.host.run([&["gobgp"], arguments].concat())
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.gobgp(&[&["-j"], arguments].concat())?;
        serde_json::from_str(&text).with_context(|| format!("{arguments:?} printed no JSON: {text}"))
    }

    /// Own routes are no configuration in GoBGP: they are gone after a restart.
    fn announce(&self, own: &Announcement) -> Result<()> {
        let family = Family::of(own.prefix.addr()).word();
        let mut words = vec!["global".to_owned(), "rib".to_owned(), "add".to_owned(), own.prefix.to_string()];
        if !own.communities.is_empty() {
            words.extend(["community".to_owned(), own.communities.join(",")]);
        }
        words.extend(own.med.iter().flat_map(|med| ["med".to_owned(), med.to_string()]));
        words.extend(["-a".to_owned(), family.to_owned()]);
        self.gobgp(&words.iter().map(String::as_str).collect::<Vec<_>>()).map(drop)
    }
}

impl Router for GoBgp {
    delegate_to_instance!();

    fn state(&self, neighbor: IpAddr) -> Result<String> {
        let answer = self.json(&["neighbor", &neighbor.to_string()])?;
        let state = answer["state"]["session_state"].as_u64();
        // The numbers of the enum in its API.
        let word = match state.with_context(|| format!("no state of {neighbor} in {answer}"))? {
            1 => "Idle",
            2 => "Connect",
            3 => "Active",
            4 => "OpenSent",
            5 => "OpenConfirm",
            6 => "Established",
            other => return Err(anyhow!("an unknown state of {neighbor}: {other}")),
        };
        Ok(word.to_owned())
    }

    fn routes(&self) -> Result<Routes> {
        let mut routes = Routes::new();
        for family in Family::ALL {
            let answer = self.json(&["global", "rib", "-a", family.word()])?;
            for (prefix, paths) in answer.as_object().into_iter().flatten() {
                let paths = paths.as_array().into_iter().flatten().map(parse_path).collect::<Result<_>>()?;
                routes.insert(prefix.parse().with_context(|| format!("{prefix:?} is no prefix"))?, paths);
            }
        }
        Ok(routes)
    }

    fn history(&self, neighbor: IpAddr) -> Result<History> {
        let answer = self.json(&["neighbor", &neighbor.to_string()])?;
        let (received, times) = (&answer["state"]["messages"]["received"], &answer["timers"]["state"]);
        let opens = received["open"].as_u64().with_context(|| format!("no count of OPENs in {answer}"))?;
        Ok(History {
            session: format!("{opens} OPENs, up since {}", times["uptime"]["seconds"]),
            bfd: None,
            since: Vec::new(),
            updates: received["update"].as_u64().unwrap_or(0),
        })
    }

    fn received_notification(&self, neighbor: IpAddr) -> Result<Option<Notification>> {
        Ok(self.log().lines().rev().find_map(|line| parse_notification(line, neighbor)))
    }

    fn bfd(&self, _neighbor: IpAddr) -> Result<BfdState> {
        bail!("GoBGP has no BFD")
    }

    fn set_bfd(&self, _neighbor: IpAddr, _bfd: Bfd) -> Result<()> {
        bail!("GoBGP has no BFD")
    }

    fn refresh(&self, neighbor: IpAddr) -> Result<()> {
        bail!("GoBGP keeps what {neighbor} sent and never asks for it again: it sends no ROUTE-REFRESH")
    }

    /// GoBGP 3.10 is idle for 30 s after it has reset or shut down a session, and closes calls meanwhile. There is a
    /// setting for that time, which it does not obey.
    fn clear(&self, neighbor: IpAddr) -> Result<()> {
        self.gobgp(&["neighbor", &neighbor.to_string(), "reset"]).map(drop)
    }

    /// `shutdown` has the message but the session comes back; `disable` has none but is for good.
    fn shut(&self, neighbor: IpAddr, message: &str) -> Result<()> {
        self.gobgp(&["neighbor", &neighbor.to_string(), "shutdown", "--reason", message])?;
        self.gobgp(&["neighbor", &neighbor.to_string(), "disable"]).map(drop)
    }

    fn unshut(&self, neighbor: IpAddr) -> Result<()> {
        self.gobgp(&["neighbor", &neighbor.to_string(), "enable"]).map(drop)
    }

    fn cli(&self, command: &str) -> Result<String> {
        self.gobgp(&command.split(' ').collect::<Vec<_>>())
    }

    fn start(&self) -> Result<()> {
        self.instance.expect_stopped()?;
        let mut command = self.instance.host.command("gobgpd");
        command.args(["-t", "toml", "-l", "info", "--pprof-disable", "--api-hosts", "127.0.0.1:50051", "-f"]);
        command.arg(self.instance.file(CONFIG));
        self.instance.launch("gobgpd", command, || {
            let answer = self.json(&["global"])?;
            anyhow::ensure!(answer["asn"] == self.instance.config.asn, "not configured yet: {answer}");
            Ok(())
        })?;
        self.instance.config.announce.iter().try_for_each(|own| self.announce(own))
    }

    fn dump(&self) -> String {
        let commands = ["neighbor", "-j neighbor", "global rib -a ipv4", "global rib -a ipv6"];
        self.instance.dump(CONFIG, &commands, |command| self.cli(command))
    }
}

fn config_text(config: &RouterConfig) -> String {
    let (asn, router_id, port) = (config.asn, config.router_id, config.port);
    let mut text = format!("[global.config]\nas = {asn}\nrouter-id = \"{router_id}\"\nport = {port}\n");
    if config.multipath {
        text += "[global.use-multiple-paths.config]\nenabled = true\n";
    }
    if !config.transit {
        text += "[global.apply-policy.config]\n\
                 export-policy-list = [\"own\"]\n\
                 default-export-policy = \"reject-route\"\n\
                 [[policy-definitions]]\n\
                 name = \"own\"\n\
                 [[policy-definitions.statements]]\n\
                 name = \"own\"\n\
                 [policy-definitions.statements.conditions.bgp-conditions]\n\
                 route-type = \"local\"\n\
                 [policy-definitions.statements.actions]\n\
                 route-disposition = \"accept-route\"\n";
    }
    config.neighbors.iter().for_each(|neighbor| text += &session(neighbor));
    text + &config.extra
}

fn session(neighbor: &Neighbor) -> String {
    let mut text = format!(
        "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{}\"\npeer-as = {}\n",
        neighbor.address, neighbor.asn
    );
    if let Some(password) = &neighbor.password {
        text += &format!("auth-password = \"{password}\"\n");
    }
    text += &format!(
        "[neighbors.timers.config]\n\
         connect-retry = 1\n\
         hold-time = {}\n\
         keepalive-interval = {}\n\
         [neighbors.transport.config]\n\
         passive-mode = {}\n\
         remote-port = {}\n",
        neighbor.hold_time,
        neighbor.keepalive(),
        neighbor.passive,
        neighbor.port
    );
    if let Some(hops) = neighbor.ttl_security {
        text += &format!(
            "[neighbors.ttl-security.config]\nenabled = true\nttl-min = {}\n",
            256 - u16::from(hops)
        );
    }
    if let Some(hops) = neighbor.multihop {
        text += &format!("[neighbors.ebgp-multihop.config]\nenabled = true\nmultihop-ttl = {hops}\n");
    }
    if neighbor.graceful_restart {
        text += "[neighbors.graceful-restart.config]\nenabled = true\nhelper-only = true\n";
    }
    for family in &neighbor.families {
        let word = family.word();
        text += &format!(
            "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{word}-unicast\"\n"
        );
        if neighbor.graceful_restart {
            text += "[neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n";
        }
    }
    text + &neighbor.extra
}

/// Attributes come by the number they have on the wire.
fn parse_path(path: &Value) -> Result<Path> {
    let attributes = || path["attrs"].as_array().into_iter().flatten();
    let attribute = |kind: u64| attributes().find(move |attribute| attribute["type"] == kind);
    let numbers = |value: &Value| -> Result<Vec<u32>> {
        let numbers = value.as_array().into_iter().flatten().filter_map(Value::as_u64);
        Ok(numbers.map(u32::try_from).collect::<Result<_, _>>()?)
    };
    let number = |kind: u64, key: &str| -> Result<Option<u32>> {
        let value = attribute(kind).and_then(|attribute| attribute[key].as_u64());
        Ok(value.map(u32::try_from).transpose()?)
    };
    let next_hop = attribute(3).or_else(|| attribute(14)).and_then(|attribute| attribute["nexthop"].as_str());
    let mut as_path = Vec::new();
    for segment in attribute(2).and_then(|attribute| attribute["as_paths"].as_array()).into_iter().flatten() {
        as_path.extend(numbers(&segment["asns"])?);
    }
    let communities = attribute(8).map(|attribute| numbers(&attribute["communities"])).transpose()?;
    let large = |one: &Value| format!("{}:{}:{}", one["ASN"], one["LocalData1"], one["LocalData2"]);
    let large_communities: BTreeSet<String> =
        attribute(32).and_then(|one| one["value"].as_array()).into_iter().flatten().map(large).collect();
    // A route of its own has no neighbour, or an unspecified one.
    let peer: Option<IpAddr> = path["neighbor-ip"].as_str().and_then(|peer| peer.parse().ok());
    Ok(Path {
        next_hop: next_hop.with_context(|| format!("no next hop: {path}"))?.parse()?,
        as_path,
        med: number(4, "metric")?,
        local_pref: number(5, "value")?,
        communities: communities
            .into_iter()
            .flatten()
            .map(|community| format!("{}:{}", community >> 16, community & 0xffff))
            .collect(),
        large_communities,
        peer: peer.filter(|peer| *peer != IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        best: path["best"].as_bool() == Some(true),
    })
}

/// `{"Code":6,"Communicated-Reason":"bye now","Key":"10.0.2.1","Subcode":2,"msg":"received notification",…}`
fn parse_notification(line: &str, neighbor: IpAddr) -> Option<Notification> {
    let line: Value = serde_json::from_str(line).ok()?;
    if line["msg"] != "received notification" || line["Key"].as_str()?.parse() != Ok(neighbor) {
        return None;
    }
    let number = |key: &str| line[key].as_u64().and_then(|number| u8::try_from(number).ok());
    let text = line["Communicated-Reason"].as_str().filter(|text| !text.is_empty());
    Some(Notification { code: number("Code")?, subcode: number("Subcode")?, text: text.map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_by_the_numbers_of_its_attributes() {
        let json = r#"{"best":true,"attrs":[{"type":1,"value":0},
            {"type":2,"as_paths":[{"segment_type":2,"num":2,"asns":[65000,65009]}]},{"type":3,"nexthop":"10.0.2.1"},
            {"type":4,"metric":77},{"type":8,"communities":[4259905636,4294901760]},
            {"type":32,"value":[{"ASN":65001,"LocalData1":1,"LocalData2":2}]}],"neighbor-ip":"10.0.2.1"}"#;
        let expected = Path {
            next_hop: "10.0.2.1".parse().unwrap(),
            as_path: vec![65000, 65009],
            med: Some(77),
            local_pref: None,
            communities: ["65001:100", "65535:0"].map(str::to_owned).into(),
            large_communities: ["65001:1:2".to_owned()].into(),
            peer: Some("10.0.2.1".parse().unwrap()),
            best: true,
        };
        assert_eq!(parse_path(&serde_json::from_str(json).unwrap()).unwrap(), expected);
    }
}
