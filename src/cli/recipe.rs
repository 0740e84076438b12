//! `vipcast recipe`: prints the router's side of a configuration.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use anyhow::anyhow;
use clap::Args;
use vipcast_node::model::Config;
use vipcast_node::names::PeerName;

use super::{ConfigArgs, Failure, check, output};
use crate::config::{self, Host};
use crate::recipe::{self, Kind};

#[derive(Debug, Args)]
pub(super) struct RecipeArgs {
    /// The kind of router
    #[arg(value_enum, value_name = "ROUTER")]
    kind: Kind,
    #[command(flatten)]
    config: ConfigArgs,
    /// Only the router that the configuration calls so
    #[arg(long, value_name = "NAME")]
    peer: Option<String>,
}

pub(super) fn recipe(args: &RecipeArgs) -> Result<(), Failure> {
    let loaded = config::load(args.config.path(), Host::Offline)
        .map_err(|diagnostics| Failure::Config(check::rendered(&diagnostics)))?;
    let config = loaded.config;
    if let Some(peer) = args.peer.as_ref().filter(|peer| !config.peers.contains_key(peer.as_str())) {
        let names: Vec<String> = config.peers.keys().map(ToString::to_string).collect();
        return Err(
            anyhow!("there is no peer {peer} in the configuration, which has {}", names.join(", ")).into()
        );
    }
    output::print(&recipe::recipes(args.kind, &config, args.peer.as_deref(), &ours(&config)))
}

/// Our address towards each router, as the routes of this host have it.
fn ours(config: &Config) -> BTreeMap<PeerName, IpAddr> {
    let towards = |router: IpAddr| {
        let any = if router.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).ok()?;
        // Connecting a datagram socket sends nothing.
        socket.connect(SocketAddr::new(router, 179)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let known =
        config.peers.iter().filter_map(|(name, peer)| Some((name.clone(), towards(peer.address.ip()?)?)));
    known.collect()
}
