//! Stories of operators who drain a router.

use vipcast_bgp::adj_rib_out::Withheld;

use super::*;

fn drain_peer(peer: &str, ends: Option<Instant>) -> Event {
    Event::DrainPeer { peer: peer.into(), drain: a_drain(ends), replace: false }
}

fn undrain_peer(peer: &str) -> Event {
    Event::UndrainPeer(peer.into(), order())
}

/// What a session with this peer reports when it is drained.
fn withholds_all(story: &Story, peer: &str) -> Event {
    let announced = story.engine.desired.routes.keys();
    Event::PeerWithholds(peer.into(), announced.map(|prefix| (*prefix, Withheld::Drained)).collect())
}

#[test]
fn a_drained_peer_loses_its_routes_gracefully_and_no_set_is_advertised() {
    let mut story = Story::announced(two());
    assert_eq!(
        story.tell(drain_peer("tor-a", Some(story.now + 10 * SECOND))),
        ["save peers: tor-a", "export: tor-a Leaving", "# peer tor-a drained"]
    );
    assert_eq!(story.wait(3 * SECOND), ["3000 export: tor-a Nothing"]);
    assert_eq!(story.wait(6 * SECOND), [""; 0]);
    assert_eq!(
        story.wait(SECOND),
        ["10000 save drains: nothing", "10000 export: ", "10000 # peer tor-a undrained"]
    );
    assert_eq!(story.engine.deadline(), None);
}

#[test]
fn a_drain_of_a_peer_can_be_lifted_in_either_phase_and_made_longer_without_a_new_drain_time() {
    let mut story = Story::announced(two());
    story.tell(drain_peer("tor-a", Some(story.now + 10 * SECOND)));
    assert_eq!(
        story.tell(undrain_peer("tor-a")),
        ["save drains: nothing", "export: ", "# peer tor-a undrained"]
    );
    story.tell(drain_peer("tor-a", Some(story.now + 10 * SECOND)));
    story.wait(3 * SECOND);
    assert_eq!(story.tell(drain_peer("tor-a", None)), ["save peers: tor-a", "# peer tor-a drained"]);
    assert_eq!(story.tell(drain_peer("tor-a", Some(story.now))), [""; 0], "that is shorter");
    assert_eq!(story.tell(undrain_peer("tor-a"))[1], "export: ");
    assert_eq!(story.tell(undrain_peer("tor-a")), [""; 0]);
    assert_eq!(story.tell(drain_peer("tor-x", None)), [""; 0], "there is no such peer");
}

#[test]
fn a_peer_without_a_session_and_one_that_loses_it_get_nothing_from_then_on() {
    let mut story = Story::announced(two());
    story.tell(drain_peer("tor-a", None));
    assert_eq!(story.tell(Event::PeerDown("tor-a".into())), ["export: tor-a Nothing"]);
    story.tell(Event::PeerDown("tor-b".into()));
    let drained = story.tell(drain_peer("tor-b", None));
    assert_eq!(drained[1], "export: tor-a Nothing, tor-b Nothing");
}

#[test]
fn a_vip_whose_peers_are_all_drained_is_reached_by_none() {
    let mut story = Story::announced(two());
    let vip = net("192.0.2.1");
    story.synced(1);
    assert_eq!(story.engine.reached(&vip), 2);
    for (peer, left) in [("tor-a", 1), ("tor-b", 0)] {
        story.tell(drain_peer(peer, None));
        story.wait(3 * SECOND);
        let withheld = withholds_all(&story, peer);
        story.tell(withheld);
        assert_eq!(story.engine.reached(&vip), left);
    }
    assert_eq!(crate::engine::reach::word(&story.engine.standing()[&vip].decision.verdict, 0), "ready");
}

#[test]
fn i12_a_peer_drained_before_a_restart_starts_drained_and_waits_for_its_configuration() {
    let peers = ["tor-a", "tor-x"].map(|peer| (peer.into(), Arc::new(a_drain(None))));
    let overrides = Overrides { peers: peers.into(), ..Overrides::default() };
    let mut story = Story::begin_with(two(), Left { overrides, ..Left::default() });
    let lines: Vec<_> = start(&mut story.engine, story.now).iter().map(show).collect();
    assert_eq!(lines[..2], ["export: tor-a Nothing, tor-x Nothing", "configure"]);
    let mut other = two();
    let tor_a = other.peers.remove("tor-a").unwrap();
    other.peers.insert("tor-x".into(), tor_a);
    let lines = story.reload(other);
    assert!(lines.contains(&"# the drain of peer tor-a waits".to_owned()), "{lines:?}");
    assert!(lines.contains(&"# the drain of peer tor-x holds again".to_owned()), "{lines:?}");
}

#[test]
fn a_drain_follows_its_router_to_another_name() {
    let mut story = Story::announced(two());
    story.tell(drain_peer("tor-a", None));
    let swapped = [("tor-a".into(), "tor-b".into()), ("tor-b".into(), "tor-a".into())];
    let lines = story.tell(Event::PeersRenamed(swapped.into()));
    assert_eq!(lines, ["save peers: tor-b", "export: tor-b Leaving"]);
}
