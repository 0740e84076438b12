//! Stories of drains from outside: a machine that goes down, and the drain file.

use super::*;

fn cordon(cordon: Cordon, reason: &str) -> Event {
    let order = Order { by: "logind".to_owned(), reason: Some(reason.to_owned()) };
    let since = Timestamp::UNIX_EPOCH;
    Event::Cordon(cordon, Some(Override { order, since, ends: None }))
}

fn machine() -> Event {
    cordon(Cordon::Machine, "reboot")
}

#[test]
fn a_machine_may_go_down_when_every_router_was_told_and_nothing_is_saved() {
    let mut story = Story::announced(two());
    assert_eq!(
        story.tell(machine()),
        [
            "advertise 2: 192.0.2.1 graceful, 192.0.2.2 graceful",
            "# every service drained",
            "# 192.0.2.2: announced -> demoted (draining): by logind since 1970-01-01T00:00:00Z, reboot",
            "# 192.0.2.1: announced -> demoted (draining): by logind since 1970-01-01T00:00:00Z, reboot",
        ]
    );
    assert_eq!(story.tell(machine()), [""; 0], "it is told once");
    story.synced(2);
    assert_eq!(story.wait(ms(2999)), [""; 0]);
    assert_eq!(story.wait(ms(1))[0], "3000 advertise 3: nothing");
    story.now += ms(20);
    assert_eq!(story.synced(3), [""; 0]);
    assert_eq!(story.wait(ms(999)), [""; 0], "until unbind_delay is over");
    assert_eq!(story.wait(ms(1)), ["4020 let the machine stop", "4020 # the machine may stop"]);
    assert_eq!(story.engine.deadline(), None);
    assert!(story.engine.facts().overrides.drains.is_empty());
    // Systemd stops the service next: nothing is left to withdraw.
    assert_eq!(
        story.tell(Event::Shutdown),
        [
            "# draining",
            "# withdrawing",
            "# 192.0.2.2: withheld (drained) -> withheld (shutdown)",
            "# 192.0.2.1: withheld (drained) -> withheld (shutdown)",
            "# settling"
        ]
    );
}

#[test]
fn a_router_that_reads_nothing_delays_a_machine_for_five_seconds_only() {
    let mut story = Story::announced(two());
    story.tell(machine());
    story.wait(3 * SECOND);
    assert_eq!(story.wait(ms(5999)), [""; 0]);
    assert_eq!(story.wait(ms(1)), ["9000 let the machine stop", "9000 # the machine may stop"]);
}

#[test]
fn a_machine_without_sessions_may_go_down_at_once() {
    let mut story = Story::begin(two());
    assert_eq!(
        story.tell(machine()),
        [
            "let the machine stop",
            "# every service drained",
            "# 192.0.2.2: - -> withheld (drained): by logind since 1970-01-01T00:00:00Z, reboot",
            "# 192.0.2.1: - -> withheld (drained): by logind since 1970-01-01T00:00:00Z, reboot",
            "# the machine may stop",
        ]
    );
}

#[test]
fn a_cancelled_shutdown_lifts_exactly_its_own_drain() {
    let mut story = Story::announced(two());
    story.tell(drain("web", None));
    story.tell(cordon(Cordon::File, "disk"));
    story.tell(machine());
    story.wait(3 * SECOND);
    let cancelled = story.tell(Event::Cordon(Cordon::Machine, None));
    assert_eq!(cancelled, ["# every service undrained"], "the file is there still");
    assert_eq!(story.wait(60 * SECOND), [""; 0], "the machine does not go down any more");
    assert_eq!(
        story.tell(Event::Cordon(Cordon::File, None)),
        [
            "advertise 5: 192.0.2.2",
            "# every service undrained",
            "# 192.0.2.2: withheld (drained) -> announced"
        ],
        "web is drained by an operator"
    );
    assert_eq!(story.tell(Event::Cordon(Cordon::File, None)), [""; 0]);
    // And the next shutdown is a new one.
    assert_eq!(story.tell(machine())[0], "advertise 6: 192.0.2.2 graceful");
    assert_eq!(story.wait(3 * SECOND)[0], "66000 advertise 7: nothing");
}

#[test]
fn undrain_does_not_lift_a_cordon_and_a_new_reason_keeps_its_begin() {
    let mut story = Story::announced(two());
    story.tell(cordon(Cordon::File, "disk"));
    assert_eq!(story.tell(undrain("everything")), [""; 0]);
    story.wait(3 * SECOND);
    let Event::Cordon(_, Some(mut changed)) = cordon(Cordon::File, "fan") else { unreachable!() };
    changed.since = Timestamp::MAX;
    assert_eq!(story.tell(Event::Cordon(Cordon::File, Some(changed))), ["# every service drained"]);
    let why = story.engine.why(&net("192.0.2.1"), story.now).unwrap();
    assert_eq!(why, "drained: by logind since 1970-01-01T00:00:00Z, fan");
}
