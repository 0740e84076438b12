//! Stories of the end (I9).

use super::*;

fn web() -> Config {
    config([("web", service(["192.0.2.1"], ["alive"]))])
}

#[test]
fn i9_the_phases_of_a_shutdown_exactly() {
    let mut story = Story::announced(web());
    assert_eq!(
        story.tell(Event::Shutdown),
        [
            "advertise 2: 192.0.2.1 graceful",
            "# draining",
            "# 192.0.2.1: announced -> demoted (shutting_down)"
        ]
    );
    story.synced(2);
    assert_eq!(story.wait(ms(2999)), [""; 0], "until drain_time is over");
    assert_eq!(
        story.wait(ms(1)),
        [
            "3000 advertise 3: nothing",
            "3000 # withdrawing",
            "3000 # 192.0.2.1: demoted (shutting_down) -> withheld (shutdown)"
        ]
    );
    story.now += ms(20);
    assert_eq!(story.synced(3), ["# settling"]);
    assert_eq!(story.wait(ms(999)), [""; 0], "until unbind_delay is over");
    assert_eq!(story.wait(ms(1)), ["4020 stop peers", "4020 # ceasing"]);
    story.tell(Event::PeerDown("tor-a".into()));
    assert_eq!(story.tell(Event::PeersStopped), ["unbind 192.0.2.1 on lo", "# unbinding"]);
    assert_eq!(story.unbound(on("lo", "192.0.2.1")), ["exit", "# done"]);
    assert_eq!(story.engine.deadline(), None);
    for event in [Event::Shutdown, Event::Tick, Event::PeersStopped, Event::Removed(on("lo", "192.0.2.1"))] {
        assert_eq!(story.tell(event), [""; 0], "the end is the end");
    }
}

#[test]
fn i9_a_second_sigterm_takes_the_waiting_out_and_still_withdraws() {
    let mut story = Story::announced(web());
    story.tell(Event::Shutdown);
    story.synced(2);
    story.wait(ms(100));
    assert_eq!(
        story.tell(Event::Shutdown),
        [
            "advertise 3: nothing",
            "# withdrawing",
            "# 192.0.2.1: demoted (shutting_down) -> withheld (shutdown)"
        ]
    );
    assert_eq!(story.wait(ms(10)), [""; 0], "it is handed over first");
    assert_eq!(story.synced(3), ["stop peers", "# settling", "# ceasing"]);
    assert_eq!(story.tell(Event::Shutdown), [""; 0]);
    assert_eq!(story.tell(Event::PeersStopped), ["unbind 192.0.2.1 on lo", "# unbinding"]);
}

#[test]
fn i9_whoever_does_not_answer_is_given_up() {
    let mut story = Story::announced(web());
    story.tell(Event::Shutdown);
    let times: Vec<_> =
        story.wait(60 * SECOND).into_iter().filter(|line| !line.contains("192.0.2.1:")).collect();
    assert_eq!(
        times,
        [
            "3000 advertise 3: nothing",
            "3000 # withdrawing",
            "8000 # settling",
            "9000 stop peers",
            "9000 # ceasing",
            "14000 unbind 192.0.2.1 on lo",
            "14000 # unbinding",
            "19000 exit",
            "19000 # done",
            "19000 # 1 left"
        ]
    );
}

#[test]
fn i9_an_address_that_cannot_be_removed_is_tried_again_and_then_left_and_told() {
    let mut story = Story::announced(web());
    story.tell(Event::PeerDown("tor-a".into()));
    story.tell(Event::PeerDown("tor-b".into()));
    story.tell(Event::Shutdown);
    assert_eq!(story.tell(Event::PeersStopped), ["unbind 192.0.2.1 on lo", "# unbinding"]);
    let failed = || refused(on("lo", "192.0.2.1"), "not permitted");
    assert_eq!(story.tell(failed()), ["# failed 192.0.2.1 on lo: not permitted"]);
    for second in 1..=4 {
        assert_eq!(story.wait(SECOND), [format!("{second}000 unbind 192.0.2.1 on lo")]);
        assert_eq!(story.tell(failed()), [""; 0]);
    }
    assert_eq!(
        story.wait(SECOND),
        ["5000 unbind 192.0.2.1 on lo", "5000 exit", "5000 # done", "5000 # 1 left"]
    );
}

#[test]
fn i9_on_a_busy_host_the_unbinding_goes_on_as_long_as_the_kernel_removes_addresses() {
    let vips: Vec<String> = (1..=40).map(|last| format!("192.0.2.{last}")).collect();
    let mut all = service(["192.0.2.1"], ["alive"]);
    all.vips = vips.iter().map(|vip| net(vip)).collect();
    let mut story = Story::announced(config([("web", all)]));
    for tor in ["tor-a", "tor-b"] {
        story.tell(Event::PeerDown(tor.into()));
    }
    story.tell(Event::Shutdown);
    story.tell(Event::PeersStopped);
    let (last, others) = vips.split_last().unwrap();
    for vip in others {
        assert_eq!(story.wait(4 * SECOND), [""; 0], "{vip}");
        story.tell(Event::Removed(on("lo", vip)));
        story.tell(done(on("lo", vip)));
    }
    assert_eq!(story.wait(4 * SECOND), [""; 0]);
    story.tell(Event::Removed(on("lo", last)));
    assert_eq!(story.tell(done(on("lo", last))), ["exit", "# done"]);
}

#[test]
fn without_any_router_there_is_nothing_to_wait_for() {
    let mut story = Story::announced(web());
    story.tell(Event::PeerDown("tor-a".into()));
    story.tell(Event::PeerDown("tor-b".into()));
    let vip = "# 192.0.2.1: announced -> demoted (shutting_down)";
    assert_eq!(
        story.tell(Event::Shutdown),
        [
            "advertise 2: 192.0.2.1 graceful",
            "advertise 3: nothing",
            "stop peers",
            "# draining",
            vip,
            "# withdrawing",
            "# 192.0.2.1: demoted (shutting_down) -> withheld (shutdown)",
            "# settling",
            "# ceasing"
        ]
    );
}

#[test]
fn addresses_that_are_to_be_kept_are_kept() {
    let mut config = web();
    config.shutdown.keep_addresses = true;
    let mut story = Story::announced(config);
    story.tell(Event::Shutdown);
    story.tell(Event::Shutdown);
    assert_eq!(story.synced(3), ["stop peers", "# settling", "# ceasing"]);
    assert_eq!(story.tell(Event::PeersStopped), ["exit", "# done"]);
}

#[test]
fn i9_an_address_on_its_way_to_the_host_is_awaited_and_removed() {
    let mut story = Story::begin(web());
    start(&mut story.engine, story.now);
    story.tell(Event::Shutdown);
    assert_eq!(story.tell(Event::PeersStopped), ["# unbinding"], "nobody has said yet what is on the host");
    let predecessor = [(on("lo", "192.0.2.9"), Owner::Us)];
    assert_eq!(story.tell(list(predecessor)), ["unbind 192.0.2.9 on lo", "# adopted 192.0.2.9 on lo"]);
    assert_eq!(story.unbound(on("lo", "192.0.2.9")), ["exit", "# done"]);

    let mut story = Story::begin(web());
    start(&mut story.engine, story.now);
    assert_eq!(story.tell(list([])), ["bind 192.0.2.1 on lo"]);
    story.tell(Event::Shutdown);
    assert_eq!(story.tell(Event::PeersStopped), ["# unbinding"]);
    assert_eq!(story.bound(on("lo", "192.0.2.1")), ["unbind 192.0.2.1 on lo"]);
    assert_eq!(story.unbound(on("lo", "192.0.2.1")), ["exit", "# done"]);
}

#[test]
fn routers_that_come_and_go_in_any_phase_do_not_hold_up_the_end() {
    let mut story = Story::announced(web());
    story.tell(Event::Shutdown);
    story.tell(Event::PeerDown("tor-a".into()));
    assert_eq!(story.wait(SECOND), [""; 0], "tor-b is still there");
    story.tell(Event::PeerUp("tor-a".into()));
    assert_eq!(story.wait(2 * SECOND)[0], "3000 advertise 3: nothing");
    story.tell(Event::PeerSynced("tor-b".into(), Version(3)));
    assert_eq!(story.tell(Event::PeerDown("tor-a".into())), ["# settling"]);
    story.tell(Event::PeerUp("tor-a".into()));
    assert_eq!(story.wait(SECOND), ["4000 stop peers", "4000 # ceasing"]);
    assert_eq!(story.tell(Event::PeerDown("tor-b".into())), [""; 0]);
    assert_eq!(story.tell(Event::PeersStopped), ["unbind 192.0.2.1 on lo", "# unbinding"]);
}

#[test]
fn a_reload_during_a_shutdown_changes_nothing_and_a_drain_may_be_lifted() {
    let mut story = Story::announced(web());
    story.tell(drain("web", None));
    story.wait(3 * SECOND);
    story.tell(Event::Shutdown);
    assert_eq!(story.reload(config([])), [""; 0]);
    assert_eq!(story.tell(undrain("web")), ["save drains: nothing", "# web undrained"]);
}

#[test]
fn a_stop_says_how_long_it_may_take_with_routers_that_were_asked_for_longer_before_a_reload() {
    let day = Duration::from_secs(86_400);
    let with = |seconds| {
        let mut config = web();
        config.shutdown.drain_time = day;
        let restart_time = RestartTime::from_secs(seconds).unwrap();
        let graceful = model::GracefulRestart { restart_time, notification: true };
        config.peers.get_mut(&PeerName::from("tor-a")).unwrap().graceful_restart = Some(graceful);
        config
    };
    let mut story = Story::begin(with(1000));
    start(&mut story.engine, story.now);
    // Day, unbind_delay, restart_time and hold time of the router, and the margin.
    let takes = day + SECOND + 1009 * SECOND + 60 * SECOND;
    assert_eq!(story.engine.stop_takes(), takes);
    story.reload(with(1));
    assert_eq!(story.engine.stop_takes(), takes, "the router was asked before");
}
