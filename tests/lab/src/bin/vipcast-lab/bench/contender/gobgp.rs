//! GoBGP: announces routes from its API; here by `gobgp mrt inject`, from a table dump (RFC 6396).

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use ipnet::Ipv4Net;
use vipcast_lab::{Host, wait};

use super::{Announce, Contender, LOCAL_AS, Part, ROUTER_AS, ROUTER_ID, Running, first_line, number_in};
use crate::bench::Bench;

/// RFC 6396 §4.3.
const TABLE_DUMP_V2: u16 = 13;
const PEER_INDEX_TABLE: u16 = 1;
const RIB_IPV4_UNICAST: u16 = 2;

/// `gobgp mrt inject` 3.10 ends without having sent what it has read last, up to some hundred routes: so the last one follows
/// again and again.
const PADDING: usize = 2000;

#[derive(Debug)]
pub(super) struct GoBgp;

impl Contender for GoBgp {
    fn name(&self) -> &'static str {
        "GoBGP"
    }

    fn program(&self) -> &Path {
        Path::new("gobgpd")
    }

    fn package(&self) -> &'static str {
        "gobgpd"
    }

    fn version(&self) -> Result<String> {
        Ok(number_in(&first_line(self.program(), &["--version"])?))
    }

    fn part(&self, bench: Bench) -> Part {
        match bench {
            Bench::Announce => Part::Whole,
            Bench::Checks | Bench::Memory | Bench::Failover => Part::None("it checks no services"),
            Bench::Bind => Part::None("it announces what it is told, and binds nothing"),
            Bench::Bfd => Part::None("it has no BFD"),
        }
    }

    fn announce(&self, host: &Host, work: &Announce) -> Result<Running> {
        let config = format!(
            "[global.config]\nas = {LOCAL_AS}\nrouter-id = \"{ROUTER_ID}\"\n[[neighbors]]\n[neighbors.config]\n\
             neighbor-address = \"{}\"\npeer-as = {ROUTER_AS}\n[neighbors.timers.config]\nconnect-retry = 1\n",
            work.router
        );
        let config = host.write_file("gobgpd.toml", &config)?;
        let routes = config.with_extension("mrt");
        let padding = work.prefixes.last().into_iter().cycle().take(PADDING);
        let prefixes: Vec<Ipv4Net> = work.prefixes.iter().chain(padding).copied().collect();
        std::fs::write(&routes, dump(&prefixes))?;
        let mut command = self.command(host);
        command.args(["-t", "toml", "--pprof-disable", "--api-hosts", "127.0.0.1:50051", "-f"]).arg(&config);
        let process = host.spawn("gobgpd", command)?;
        wait::until("gobgpd to answer", Duration::from_secs(20), || {
            ensure!(process.is_running(), "it ended: {}", process.log());
            host.run(["gobgp", "global"]).map(drop)
        })?;
        let mut inject = host.command("gobgp");
        inject.args(["mrt", "inject", "global", "--no-ipv6"]).arg(&routes);
        let inject = host.spawn("inject", inject)?;
        Ok(Running { process, _beside: vec![inject] })
    }
}

/// A table of routes of its own: an empty AS_PATH, and a next hop that it replaces by itself.
fn dump(prefixes: &[Ipv4Net]) -> Vec<u8> {
    let mut peers = ROUTER_ID.octets().to_vec();
    // No name of a view; one peer, by its identifier and address, with an AS number of four bytes.
    peers.extend([0, 0, 0, 1, 2]);
    peers.extend(ROUTER_ID.octets());
    peers.extend(ROUTER_ID.octets());
    peers.extend(LOCAL_AS.to_be_bytes());
    let mut bytes = record(PEER_INDEX_TABLE, &peers);
    // ORIGIN IGP, AS_PATH, NEXT_HOP (RFC 4271 §4.3).
    let mut attributes = vec![0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4];
    attributes.extend(Ipv4Addr::UNSPECIFIED.octets());
    for (number, prefix) in (0_u32..).zip(prefixes) {
        let length = usize::from(prefix.prefix_len().div_ceil(8));
        let mut entry = number.to_be_bytes().to_vec();
        entry.push(prefix.prefix_len());
        entry.extend(&prefix.network().octets()[..length]);
        // One path, of peer 0, from the beginning of time.
        entry.extend([0, 1, 0, 0, 0, 0, 0, 0, 0]);
        entry.push(u8::try_from(attributes.len()).expect("there are 14 bytes"));
        entry.extend(&attributes);
        bytes.extend(record(RIB_IPV4_UNICAST, &entry));
    }
    bytes
}

/// RFC 6396 §2.
fn record(subtype: u16, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a few bytes");
    let mut bytes = vec![0; 4];
    bytes.extend(TABLE_DUMP_V2.to_be_bytes());
    bytes.extend(subtype.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(message);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_has_a_table_of_peers_and_a_record_for_each_prefix() {
        let bytes = dump(&["20.1.0.0/16".parse().unwrap()]);
        let peers = 12 + 21;
        let entry = [
            &[0, 0, 0, 0, 0, 13, 0, 2, 0, 0, 0, 31, 0, 0, 0, 0, 16, 20, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 14][..],
            &[0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4, 0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(&bytes[peers..], entry);
    }
}
