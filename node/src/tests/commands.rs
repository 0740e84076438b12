//! Commands and the jobs behind them.

use vipcast_bgp::Export;
use vipcast_bgp::fsm::Keeping;

use super::*;
use crate::commands::Refusal;
use crate::effect::Ending;
use crate::engine::Force;
use crate::jobs::{Next, NotRead, Program, Unsaved};

const KEEPS: Option<Keeping> = Some(Keeping { restart_time: 20, notification: true });

fn refusal(error: &str) -> Refusal {
    Refusal { error: error.to_owned(), hint: None }
}

/// Both routers keep our routes over a restart.
fn graceful() -> Story {
    let (mut story, _) = Story::begin(config());
    for peer in story.peers() {
        story.up(&peer, KEEPS);
    }
    story
}

#[test]
fn a_drain_is_in_force_at_once_and_answered_when_it_is_saved() {
    let mut story = Story::with_sessions(config());
    assert_eq!(story.ask(1, drain(None)), ["tell 1 when saved, in 1.5s", "# alice: drain"]);
    assert!(story.node.engine().facts().overrides.drains.services.contains_key("web"));
    assert_eq!(story.tell(Input::Saved(Ticket(1), Ok(()))), ["answer 1: draining web: withdrawn in 3s"]);
    story.ask(2, drain(None));
    let since = "by alice since 2026-11-27T12:00:00Z";
    assert_eq!(
        story.tell(Input::Saved(Ticket(2), Err(Unsaved::Failed("no space left".to_owned())))),
        [format!(
            "answer 2: web is drained already, {since} (not saved (no space left): it will not survive a restart)"
        )]
    );
    assert_eq!(story.tell(Input::Saved(Ticket(2), Ok(()))), [""; 0], "it is answered once");
    story.ask(3, Command::Undrain { services: web(), reason: None });
    assert_eq!(
        story.tell(Input::Saved(Ticket(3), Err(Unsaved::NotYet))),
        [
            "answer 3: web no longer drained (not saved yet (the state directory does not answer): until it is, after a \
          restart it is drained again)"
        ]
    );
}

#[test]
fn a_force_says_what_it_does_what_it_replaces_and_what_wins_over_it() {
    let mut story = Story::with_sessions(config());
    let mut ask = |ticket, command: Command| {
        story.ask(ticket, command);
        story.tell(Input::Saved(Ticket(ticket), Ok(()))).remove(0)
    };
    let force = |to, lasts| Command::Force { to, services: web(), reason: None, lasts };
    let hour = Some(Duration::from_secs(3600));
    assert_eq!(
        ask(1, force(Force::Down, hour)),
        "answer 1: web is forced down until 2026-11-27T13:00:00Z: it is withdrawn now"
    );
    assert_eq!(
        ask(2, force(Force::Up, None)),
        "answer 2: web is forced up: it counts as healthy, whatever its checks say; it was forced down by alice since \
         2026-11-27T12:00:00Z, until 2026-11-27T13:00:00Z"
    );
    ask(3, drain(None));
    let up = ask(4, force(Force::Up, None));
    assert!(up.ends_with("; a drain is in force and wins"), "{up}");
    let clear = || Command::Clear { services: web(), reason: None };
    assert_eq!(ask(5, clear()), "answer 5: web no longer forced: the checks decide");
    assert_eq!(ask(6, clear()), "answer 6: web was not forced");
}

#[test]
fn a_drain_of_a_peer_tunes_its_session_and_no_other_and_one_that_starts_later_starts_drained() {
    let mut story = Story::with_sessions(config());
    let drain =
        |peer: &str| Command::DrainPeer { peer: peer.to_owned(), reason: None, lasts: None, replace: false };
    assert_eq!(story.ask(1, drain("tor-a")), ["tune", "tell 1 when saved, in 1.5s", "# alice: drain"]);
    assert_eq!(
        story.tell(Input::Saved(Ticket(1), Ok(()))),
        ["answer 1: draining peer tor-a: withdrawn in 3s"]
    );
    story.wait(Duration::from_secs(3));
    assert_eq!(story.tell(Input::Tick), ["tune"], "withdrawn");
    assert_eq!(
        story.ask(2, drain("tor-x")),
        ["answer 2: NO: there is no peer \"tor-x\"", "# alice: drain refused"]
    );
    let exports = |story: &Story| {
        let running = story.node.peers().running().values();
        running.map(|running| running.export()).collect::<Vec<_>>()
    };
    assert_eq!(exports(&story), [Export::Nothing, Export::Plain]);
    // A changed session ends, and begins drained.
    let mut other = config();
    other.peers.get_mut("tor-a").unwrap().hold_time = HoldTime::MIN;
    story.ask(3, Command::Reload);
    let id = story.id(&"tor-a".into());
    story.tell(read(other));
    story.tell(Input::PeerEnded(id));
    assert_eq!(exports(&story), [Export::Nothing, Export::Plain]);
    let undrain = Command::UndrainPeer { peer: "tor-a".to_owned(), reason: None };
    assert_eq!(story.ask(4, undrain)[0], "tune");
}

#[test]
fn what_makes_no_sense_is_refused_at_once_and_recorded() {
    let mut story = Story::with_sessions(config());
    let unknown = Services::Service("wbe".to_owned());
    let command = Command::Promote { services: unknown, reason: None };
    assert_eq!(
        story.ask(1, command),
        ["answer 1: NO: there is no service \"wbe\"", "# alice: promote refused"]
    );
    let lasts = Some(Duration::from_secs(u64::MAX));
    assert_eq!(
        story.ask(2, drain(lasts)),
        ["answer 2: NO: that is too long from now", "# alice: drain refused"]
    );
    let reason = Some("x".repeat(257));
    let long = Command::Undrain { services: Services::All, reason };
    let lines = story.ask(3, long);
    assert_eq!(lines[0], "answer 3: NO: the reason has 257 characters, and 256 are allowed");
}

#[test]
fn a_reload_is_followed_as_a_whole_and_answered_to_everybody_who_asked() {
    let mut story = Story::with_sessions(config());
    assert_eq!(story.ask(1, Command::Reload), ["read the configuration", "# alice: reload"]);
    assert_eq!(story.tell(Input::HangUp), [""; 0], "one reading at a time");
    let mut other = config();
    other.services.clear();
    let lines = story.tell(read(other));
    assert_eq!(
        lines,
        [
            "read the configuration",
            "configure 0 services",
            "watch 0 prefixes",
            "answer 1: vipcast.yaml is in force",
            "# reloaded by alice"
        ]
    );
    let not_read = NotRead { refusal: refusal("two lines\nof it"), in_line: Some("in one line".to_owned()) };
    assert_eq!(story.tell(Input::Read(Err(not_read))), ["# not reloaded by SIGHUP: in one line"]);
    assert_eq!(story.node.engine().config().services.len(), 0, "what runs stays");
}

#[test]
fn what_a_reload_cannot_change_changes_nothing_and_whoever_has_given_up_is_not_followed() {
    let mut story = Story::with_sessions(config());
    story.ask(1, Command::Reload);
    let mut other = config();
    other.router_id = None;
    other.services.clear();
    assert_eq!(
        story.tell(read(other.clone())),
        [
            "answer 1: NO: a reload cannot change router_id",
            "# not reloaded by alice: a reload cannot change router_id"
        ]
    );
    assert_eq!(story.node.engine().config().services.len(), 1);
    story.ask(2, Command::Reload);
    story.tell(Input::GivenUp(Ticket(2)));
    other.router_id = config().router_id;
    assert_eq!(story.tell(read(other)), ["# alice has given up"]);
    assert_eq!(story.node.engine().config().services.len(), 1);
}

#[test]
fn a_restart_is_rehearsed_noted_and_answered_before_the_process_makes_way() {
    let mut story = graceful();
    assert_eq!(story.ask(1, Command::Restart), ["rehearse", "# alice wants a restart", "# alice: restart"]);
    let again = story.ask(2, Command::Restart);
    assert_eq!(again, ["answer 2: NO: a restart is under way already", "# alice: restart refused"]);
    assert_eq!(story.tell(Input::Rehearsed(Ok(next()))), ["leave a note of 0 VIPs"]);
    assert_eq!(story.tell(Input::NoteLeft(Ok(()))), ["answer 1: restarting", "exit Restart", "# leaving"]);
    assert_eq!(story.node.deadline(), None);
    assert_eq!(story.tell(Input::Stop), [""; 0], "it is over");
}

#[test]
fn a_restart_that_would_lose_something_is_refused_and_one_that_fails_changes_nothing() {
    let mut story = Story::with_sessions(config());
    let lines = story.ask(1, Command::Restart);
    assert_eq!(
        lines[0],
        "answer 1: NO: tor-a, tor-b would drop our routes: graceful restart is not negotiated"
    );
    let mut story = graceful();
    story.ask(2, Command::Restart);
    let bad = Err(refusal("it is no vipcast"));
    assert_eq!(
        story.tell(Input::Rehearsed(bad)),
        ["answer 2: NO: it is no vipcast", "# not restarted: it is no vipcast"]
    );
    story.ask(3, Command::Restart);
    story.tell(Input::Rehearsed(Ok(next())));
    let why = "cannot leave a note for the next process: disk full";
    assert_eq!(
        story.tell(Input::NoteLeft(Err("disk full".to_owned()))),
        ["withdraw the note".to_owned(), format!("answer 3: NO: {why}"), format!("# not restarted: {why}")]
    );
    story.ask(4, Command::Restart);
    story.tell(Input::GivenUp(Ticket(4)));
    assert_eq!(story.tell(Input::Rehearsed(Ok(next()))), ["# not restarted: the caller has given up"]);
    // A router that forgets comes up while the program is tried out.
    story.ask(5, Command::Restart);
    story.up(&"tor-b".into(), None);
    let lines = story.tell(Input::Rehearsed(Ok(next())));
    assert_eq!(lines[0], "answer 5: NO: tor-b would drop our routes: graceful restart is not negotiated");
}

/// The answer of the next program.
fn next() -> Next {
    let program = Program { version: "9.9.9".to_owned(), commit: Some("abc".to_owned()) };
    Next { program, older_form: None }
}

const UPGRADE: Command = Command::Upgrade { dry: false };

#[test]
fn an_upgrade_is_asked_read_rehearsed_answered_and_handed_over() {
    let mut story = Story::with_sessions(config());
    let asked = ["read the configuration", "# alice wants an upgrade", "# alice: upgrade"];
    assert_eq!(story.ask(1, UPGRADE), asked);
    let again = story.ask(2, UPGRADE);
    assert_eq!(again, ["answer 2: NO: an upgrade is under way already", "# alice: upgrade refused"]);
    assert_eq!(story.tell(read(config())), ["rehearse a hand-over"]);
    assert_eq!(
        story.tell(Input::Rehearsed(Ok(next()))),
        [
            "answer 1: vipcast 9.9.9 (abc) can take over",
            "hand over",
            "# rehearsed 9.9.9 (abc)",
            "# handing over to 9.9.9 (abc)"
        ]
    );
    let restart = story.ask(3, Command::Restart);
    assert_eq!(restart[0], "answer 3: NO: an upgrade is under way already");
    let why = "no memory for the form";
    assert_eq!(story.tell(Input::NotHandedOver(why.to_owned())), [format!("# not upgraded: {why}")]);
    let dry = story.ask(4, Command::Upgrade { dry: true });
    assert_eq!(dry[1..], ["# alice wants an upgrade, rehearsed only", "# alice: upgrade --dry-run"]);
    story.tell(read(config()));
    let lines = story.tell(Input::Rehearsed(Ok(next())));
    assert_eq!(lines, ["answer 4: vipcast 9.9.9 (abc) could take over", "# rehearsed 9.9.9 (abc)"]);
    story.ask(5, Command::Upgrade { dry: true });
    story.tell(read(config()));
    let older = Next { older_form: Some("form 1: it lacks all".to_owned()), ..next() };
    assert_eq!(
        story.tell(Input::Rehearsed(Ok(older))),
        [
            "answer 5: vipcast 9.9.9 (abc) could take over, with form 1: it lacks all",
            "# rehearsed 9.9.9 (abc) with form 1: it lacks all"
        ]
    );
    assert_eq!(story.ask(5, UPGRADE), asked, "nothing is under way");
}

#[test]
fn an_upgrade_that_would_change_or_lose_something_is_refused_and_changes_nothing() {
    let mut story = Story::with_sessions(config());
    story.ask(1, UPGRADE);
    let mut other = config();
    other.services.clear();
    let why = "vipcast.yaml on disk is not the configuration in force";
    let refused =
        |ticket: u32, why: &str| [format!("answer {ticket}: NO: {why}"), format!("# not upgraded: {why}")];
    assert_eq!(story.tell(read(other)), refused(1, why));
    assert_eq!(story.node.engine().config().services.len(), 1);
    story.ask(2, UPGRADE);
    let broken = NotRead::from(refusal("line 3 is no YAML"));
    assert_eq!(story.tell(Input::Read(Err(broken))), refused(2, "line 3 is no YAML"));
    story.ask(3, UPGRADE);
    story.tell(read(config()));
    let bad = Err(refusal("it hangs"));
    assert_eq!(story.tell(Input::Rehearsed(bad)), refused(3, "it hangs"));
    // A reload first.
    story.ask(4, Command::Reload);
    assert_eq!(story.ask(5, UPGRADE)[0], "answer 5: NO: a reload is under way");
    assert_eq!(story.tell(Input::Upgrade), ["# not upgraded: a reload is under way"]);
    story.tell(read(config()));
    // A reload comes while the file is read for the upgrade, and is carried out after it.
    story.ask(6, UPGRADE);
    assert_eq!(story.tell(Input::HangUp), [""; 0]);
    let mut expected = vec!["read the configuration".to_owned()];
    expected.extend(refused(6, "a reload is under way"));
    assert_eq!(story.tell(read(config())), expected);
    story.tell(read(config()));
    story.ask(7, UPGRADE);
    story.tell(Input::GivenUp(Ticket(7)));
    assert_eq!(story.tell(read(config())), ["# not upgraded: the caller has given up"]);
    story.ask(8, UPGRADE);
    story.tell(read(config()));
    story.tell(Input::Stop);
    let lines = story.tell(Input::Rehearsed(Ok(next())));
    assert!(lines.contains(&"answer 8: NO: vipcast is stopping".to_owned()), "{lines:?}");
}

#[test]
fn sigusr2_is_an_upgrade_without_an_answer() {
    let mut story = Story::with_sessions(config());
    assert_eq!(story.tell(Input::Upgrade), ["read the configuration", "# SIGUSR2 wants an upgrade"]);
    story.tell(read(config()));
    let lines = story.tell(Input::Rehearsed(Ok(next())));
    assert_eq!(lines, ["hand over", "# rehearsed 9.9.9 (abc)", "# handing over to 9.9.9 (abc)"]);
}

#[test]
fn a_node_that_stops_answers_everything_that_is_under_way() {
    let (mut story, _) = Story::begin(config());
    story.ask(1, Command::Reload);
    story.ask(2, Command::Reload);
    story.ask(3, Command::Restart);
    story.tell(Input::Rehearsed(Ok(next())));
    story.ask(4, drain(None));
    let mut lines = story.tell(Input::Stop);
    assert_eq!(lines[0], "stopping, in 64s");
    for peer in story.node.peers().running().values().map(|running| running.id).collect::<Vec<_>>() {
        lines.extend(story.tell(Input::PeerEnded(peer)));
    }
    // Without routers nothing is waited for; the peers end when their ports say so.
    let ids: Vec<PeerId> = (1..=2).map(PeerId).collect();
    for id in ids {
        lines.extend(story.tell(Input::PeerEnded(id)));
    }
    for _ in 0..20 {
        story.wait(Duration::from_secs(1));
        lines.extend(story.tell(Input::Tick));
    }
    let stopping = |ticket: u32| format!("answer {ticket}: NO: vipcast is stopping");
    for ticket in 1..=4 {
        assert!(lines.contains(&stopping(ticket)), "{ticket}: {lines:?}");
    }
    assert!(lines.contains(&"withdraw the note".to_owned()), "{lines:?}");
    assert!(lines.contains(&format!("exit {:?}", Ending::Stopped)), "{lines:?}");
    assert_eq!(lines.last().map(String::as_str), Some("# stopped"));
}

#[test]
fn a_wall_clock_that_somebody_sets_is_told_once() {
    let mut story = Story::with_sessions(config());
    story.wait(Duration::from_secs(10));
    assert_eq!(story.tell(Input::Tick), [""; 0]);
    story.now.wall = "2026-11-28T00:00:00Z".parse().unwrap();
    assert_eq!(story.tell(Input::Tick), ["# clock 2026-11-28T00:00:00Z"]);
    story.wait(Duration::from_secs(10));
    assert_eq!(story.tell(Input::Tick), [""; 0]);
}
