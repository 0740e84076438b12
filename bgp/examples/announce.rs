//! Announces one prefix to one router and prints the events, until Ctrl-C or the end of the events:
//!
//! ```text
//! cargo run --example announce -- 10.0.0.1:179 65001 65000 10.0.0.2 192.0.2.10/32
//! ```

use std::error::Error;
use std::sync::Arc;

use vipcast_bgp::net::Speaker;
use vipcast_bgp::transport::PeerAddress;
use vipcast_bgp::wire::Asn;
use vipcast_bgp::{PeerConfig, PeerEvent, RouteAttributes, Routes, Version};

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [remote, local_as, peer_as, router_id, prefix] = arguments.as_slice() else {
        return Err("usage: announce PEER:PORT LOCAL_AS PEER_AS ROUTER_ID PREFIX".into());
    };
    let config = PeerConfig::new(Asn(local_as.parse()?), Asn(peer_as.parse()?), router_id.parse()?);
    let routes = Routes::from([(prefix.parse()?, Arc::new(RouteAttributes::default()))]);

    let (mut speaker, mut events, _) = Speaker::new();
    let address = PeerAddress { remote: remote.parse()?, source: None };
    let peer = speaker.add_peer(address, config.clone());
    peer.advertise(Version(1), routes);
    while let Some((_, event)) = events.recv().await {
        match event {
            PeerEvent::Established(session) => {
                println!("up: AS {}, hold time {} s", session.peer_as, session.hold_time)
            }
            PeerEvent::Synced(_) => {}
            PeerEvent::Acknowledged(_) => println!("announced: {} of 1", peer.status().acknowledged),
            PeerEvent::Stalled(stall) => println!("{stall}"),
            // Only with `deliver_updates`.
            PeerEvent::Update(_) => {}
            PeerEvent::Down { reason, .. } => {
                let hint = reason
                    .hint(&config, &peer.status().seen)
                    .map(|hint| format!(" (hint: {hint})"))
                    .unwrap_or_default();
                println!("down: {reason}{hint}");
            }
        }
    }
    Ok(())
}
