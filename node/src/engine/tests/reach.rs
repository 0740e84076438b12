//! Reach, beside the verdict: `announced` is recorded when a router has the VIP.

use vipcast_bgp::adj_rib_out::Withheld;

use super::super::reach::word;
use super::*;

const A: &str = "192.0.2.1";
const B: &str = "2001:db8::1";

/// Only what is written down of the routers.
fn tell(story: &mut Story, event: Event) -> Vec<String> {
    let effects = handle(&mut story.engine, event, story.now);
    effects.iter().filter(|effect| is_of_reach(effect)).map(show).collect()
}

fn wait(story: &mut Story, time: Duration) -> Vec<String> {
    let end = story.now + time;
    let mut lines = Vec::new();
    while let Some(at) = story.engine.deadline().filter(|at| *at <= end) {
        story.now = at.max(story.now);
        lines.extend(tell(story, Event::Tick));
        assert!(story.engine.deadline().is_none_or(|at| at > story.now), "the same deadline again");
    }
    story.now = end;
    lines
}

fn withholds(peer: &str, vips: &[&str]) -> Event {
    let withheld = vips.iter().map(|vip| (net(vip).prefix(), Withheld::FamilyNotNegotiated)).collect();
    Event::PeerWithholds(peer.into(), withheld)
}

fn synced(peer: &str, version: u64) -> Event {
    Event::PeerSynced(peer.into(), Version(version))
}

/// Two VIPs that are bound and healthy, and no session.
fn ready() -> Story {
    let mut story = Story::begin(config([("a", service([A, B], [])), ("b", service(["192.0.2.2"], ["b"]))]));
    start(&mut story.engine, story.now);
    story.tell(listed(BTreeMap::new()));
    for vip in [A, B, "192.0.2.2"] {
        story.bound(on("lo", vip));
    }
    assert_eq!(story.engine.version(), Version(2));
    story
}

fn is(story: &Story, vip: &str) -> String {
    let vip = net(vip);
    let routers = story.engine.reached(&vip);
    format!("{} at {routers}", word(&story.engine.standing()[&vip].decision.verdict, routers))
}

#[test]
fn a_vip_is_announced_when_the_first_router_has_acknowledged_it_and_ready_before() {
    let mut story = ready();
    assert_eq!(is(&story, A), "ready at 0");
    assert_eq!(tell(&mut story, Event::PeerUp("tor-a".into())), [""; 0]);
    assert_eq!(tell(&mut story, synced("tor-a", 1)), ["# 192.0.2.1 at 1 routers"]);
    // The second VIP came with the second set.
    assert_eq!((is(&story, A), is(&story, B)), ("announced at 1".into(), "ready at 0".into()));
    assert_eq!(tell(&mut story, synced("tor-a", 2)), ["# 2001:db8::1 at 1 routers"]);
    tell(&mut story, Event::PeerUp("tor-b".into()));
    assert_eq!(tell(&mut story, synced("tor-b", 2)), [""; 0], "one line a VIP, not one a router");
    assert_eq!(is(&story, A), "announced at 2");
    assert_eq!(wait(&mut story, 60 * SECOND), [""; 0]);
}

#[test]
fn a_vip_that_no_router_gets_is_warned_of_once_with_the_reason_for_each() {
    let mut story = ready();
    tell(&mut story, Event::PeerUp("tor-a".into()));
    tell(&mut story, withholds("tor-a", &[B]));
    assert_eq!(tell(&mut story, synced("tor-a", 2)), ["# 192.0.2.1 at 1 routers"]);
    assert_eq!(is(&story, B), "ready at 0");
    let warned = "# {2001:db8::1/128} at no router (tor-a: the peer has not activated this address family; tor-b: no session)";
    assert_eq!(wait(&mut story, 60 * SECOND), [warned]);
    // The operator has activated it: a new session, and now it is told.
    tell(&mut story, Event::PeerDown("tor-a".into()));
    tell(&mut story, Event::PeerUp("tor-a".into()));
    assert_eq!(tell(&mut story, synced("tor-a", 2)), ["# 2001:db8::1 at 1 routers"]);
}

#[test]
fn routers_that_are_all_gone_are_one_line_for_all_vips_and_a_short_loss_is_none() {
    let mut story = ready();
    tell(&mut story, Event::PeerUp("tor-a".into()));
    tell(&mut story, synced("tor-a", 2));
    tell(&mut story, Event::PeerDown("tor-a".into()));
    assert_eq!((is(&story, A), is(&story, B)), ("ready at 0".into(), "ready at 0".into()));
    assert_eq!(wait(&mut story, 4 * SECOND), [""; 0]);
    tell(&mut story, Event::PeerUp("tor-a".into()));
    assert_eq!(tell(&mut story, synced("tor-a", 2)), [""; 0], "the session's own lines say it all");
    tell(&mut story, Event::PeerDown("tor-a".into()));
    let all = "# {192.0.2.1/32, 2001:db8::1/128} at no router (tor-a: no session; tor-b: no session)";
    assert_eq!(wait(&mut story, 60 * SECOND), [all]);
    tell(&mut story, Event::PeerUp("tor-a".into()));
    let back = ["# 192.0.2.1 at 1 routers", "# 2001:db8::1 at 1 routers"];
    assert_eq!(tell(&mut story, synced("tor-a", 2)), back);
}

#[test]
fn what_a_router_has_stays_so_while_other_vips_come_and_go() {
    let mut story = ready();
    tell(&mut story, Event::PeerUp("tor-a".into()));
    tell(&mut story, synced("tor-a", 2));
    let before = (is(&story, A), is(&story, B));
    story.check("b", UP);
    assert_eq!(story.engine.version(), Version(3));
    assert_eq!((is(&story, A), is(&story, B)), before);
    assert_eq!(is(&story, "192.0.2.2"), "ready at 0");
    assert_eq!(tell(&mut story, synced("tor-a", 3)), ["# 192.0.2.2 at 1 routers"]);
    story.check("b", DOWN);
    assert_eq!(is(&story, "192.0.2.2"), "withheld at 0");
    assert_eq!(wait(&mut story, 60 * SECOND), [""; 0], "what is withheld is not waited for");
}

#[test]
fn nothing_is_said_of_routers_while_it_stops() {
    let mut story = ready();
    story.tell(Event::Shutdown);
    assert_eq!(wait(&mut story, 60 * SECOND), [""; 0]);
}

#[test]
fn a_reload_that_changes_only_the_route_leaves_the_verdict_and_routers_are_waited_for_again() {
    let mut story = ready();
    tell(&mut story, Event::PeerUp("tor-a".into()));
    tell(&mut story, synced("tor-a", 2));
    let before = story.engine.standing()[&net(A)].clone();
    story.now += SECOND;
    let mut config = Config::clone(story.engine.config());
    config.services.get_mut("a").unwrap().announce.med = Some(7);
    let told = handle(&mut story.engine, Event::Reload(Arc::new(config)), story.now);
    let told: Vec<String> = told.iter().map(show).collect();
    assert_eq!(told, ["configure", "advertise 3: 192.0.2.1 med 7, 2001:db8::1 med 7"]);
    assert_eq!(story.engine.standing()[&net(A)], before, "the verdict stands, and since when");
    assert_eq!((is(&story, A), is(&story, B)), ("ready at 0".into(), "ready at 0".into()));
    let at = ["# 192.0.2.1 at 1 routers", "# 2001:db8::1 at 1 routers"];
    assert_eq!(tell(&mut story, synced("tor-a", 3)), at);
}

#[test]
fn without_peers_vips_are_ready_and_nothing_is_said_until_there_are_some() {
    let with_peers = config([("a", service([A], []))]);
    let without = Config { peers: BTreeMap::new(), ..with_peers.clone() };
    let mut story = Story::begin(without);
    start(&mut story.engine, story.now);
    story.tell(listed(BTreeMap::new()));
    story.bound(on("lo", A));
    assert_eq!((is(&story, A), wait(&mut story, 60 * SECOND)), ("ready at 0".into(), Vec::new()));
    assert_eq!(story.engine.deadline(), None);
    tell(&mut story, Event::Reload(Arc::new(with_peers)));
    assert_eq!(wait(&mut story, ms(4999)), [""; 0], "the new peers have their time");
    let none = "# {192.0.2.1/32} at no router (tor-a: no session; tor-b: no session)";
    assert_eq!(wait(&mut story, SECOND), [none]);
    tell(&mut story, Event::PeerUp("tor-a".into()));
    let version = story.engine.version().0;
    assert_eq!(tell(&mut story, synced("tor-a", version)), ["# 192.0.2.1 at 1 routers"]);
}

#[test]
fn without_peers_a_shutdown_waits_for_nobody() {
    let mut story = Story::begin(Config { peers: BTreeMap::new(), ..config([("a", service([A], []))]) });
    start(&mut story.engine, story.now);
    story.tell(listed(BTreeMap::new()));
    story.bound(on("lo", A));
    let told = story.tell(Event::Shutdown);
    assert!(told.contains(&"stop peers".to_owned()), "{told:?}");
    let told = story.tell(Event::PeersStopped);
    assert!(told.contains(&"unbind 192.0.2.1 on lo".to_owned()), "{told:?}");
    assert_eq!(story.unbound(on("lo", A)).first().map(String::as_str), Some("exit"));
}
