//! Reloads and the end: what goes on, what begins again, and what is cut off.

use std::time::Instant;

use super::*;

#[tokio::test]
async fn a_reload_restarts_changed_hooks_where_they_were_and_no_others() {
    let directory = Directory::new("reload");
    let (same, changed, new, go) =
        (directory.file("same"), directory.file("changed"), directory.file("new"), directory.file("go"));
    let waits = |file: &str| {
        format!("echo $$ >> {file}.pid; while [ ! -e {go} ]; do sleep 0.01; done; echo $VIPCAST_ID >> {file}")
    };
    let hook =
        |name: &str, script: &str, options: &str| format!("  {name}: {{shell: \"{script}\"{options}}}\n");
    let kept = hook("same", &waits(&same), "");
    let mut fixture = Fixture::new(&(kept.clone() + &hook("changed", &waits(&changed), "")));
    fixture.push(1..=3);
    until("both run", || !directory.text("same.pid").is_empty() && !directory.text("changed.pid").is_empty())
        .await;
    let next = hook("changed", &format!("echo $VIPCAST_ID >> {changed}"), "")
        + &hook("new", &format!("echo $VIPCAST_ID >> {new}"), "");
    fixture.set(&(kept + &next));
    until("the rest", || directory.text("changed") == "0-2\n0-3\n").await;
    fixture.push([4]);
    until("the new one", || directory.text("new") == "0-4\n").await;
    fs::write(&go, "").unwrap();
    until("the same one", || directory.text("same") == "0-1\n0-2\n0-3\n0-4\n").await;
    assert_eq!(directory.text("same.pid").lines().count(), 4, "the first was not run again");
    fixture.set(&hook("new", &format!("echo $VIPCAST_ID >> {new}"), ""));
    until("the others are gone", || fixture.hooks.deliveries().all(&fixture.ring).len() == 1).await;
    fixture.push([5]);
    fixture.hooks.finish(LONG).await;
    assert_eq!(directory.text("new"), "0-4\n0-5\n");
    assert_eq!(directory.text("changed"), "0-2\n0-3\n0-4\n");
}

#[tokio::test]
async fn the_end_waits_for_the_last_events_but_not_for_ever() {
    let directory = Directory::new("end");
    let out = directory.file("out");
    let mut fixture = Fixture::new(&script(&format!("sleep 0.1; echo $VIPCAST_ID >> {out}"), ""));
    fixture.push(1..=3);
    fixture.hooks.finish(LONG).await;
    assert_eq!(directory.text("out"), "0-1\n0-2\n0-3\n");
    let mut fixture = Fixture::new(&script(&format!("echo $$ > {out}; sleep 1000"), ""));
    fixture.push([1]);
    let pid = || directory.text("out").trim().parse::<u32>().ok();
    until("it runs", || pid().is_some() && !directory.text("out").starts_with('0')).await;
    let began = Instant::now();
    fixture.hooks.finish(Duration::from_millis(200)).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let path = format!("/proc/{}/stat", pid().unwrap());
    until("killed", || fs::read_to_string(&path).map_or(true, |stat| stat.contains(") Z "))).await;
}

/// A hook `h` that hangs, and writes its process id.
fn hangs(pid: &str) -> String {
    script(&format!("echo $$ > {pid}.new; mv {pid}.new {pid}; sleep 1000"), ", timeout: 1m")
}

#[tokio::test]
async fn a_program_that_a_reload_or_the_stop_kills_has_failed() {
    let directory = Directory::new("cut");
    let (first, second) = (directory.file("first"), directory.file("second"));
    let mut fixture = Fixture::new(&hangs(&first));
    fixture.push(1..=5);
    until("it runs", || fs::exists(&first).unwrap()).await;
    fixture.set(&hangs(&second));
    until("the next runs", || fs::exists(&second).unwrap()).await;
    assert_eq!(fixture.counts("h"), (0, 1, 0, 0));
    assert_eq!(fixture.hooks.warnings(), ["hook h: the last event was not delivered: killed by a reload"]);
    fixture.hooks.finish(Duration::from_millis(50)).await;
    assert_eq!(fixture.counts("h"), (0, 2, 0, 0));
    assert_eq!(
        fixture.hooks.warnings(),
        ["hook h: the last 2 events were not delivered: killed by the stop"]
    );
}

#[test]
fn the_events_that_a_hook_is_not_told_are_counted() {
    let length = serde_json::to_vec(&event(1)).unwrap().len();
    let fixture = Fixture::with("  h: {command: [/bin/true], on: [withdrawn]}", length * 300);
    let hooks = crate::config::tests::config(
        "local_as: 65001
peers: {tor: {address: 192.0.2.1, peer_as: 65000}}
services: {}
hooks: {h: {command: [/bin/true], on: [withdrawn]}}
",
    )
    .hooks;
    let hook = Hook::of(&hooks["h"]);
    fixture.push(100..=299);
    let left = |between| worker::left(hook, &fixture.ring, between);
    assert_eq!(left(0..200), 100, "every second is up");
    assert_eq!((left(0..1), left(1..2), left(2..4), left(200..200)), (0, 1, 1, 0));
    fixture.push(300..=499);
    let (gone, end) = (fixture.ring.all().forgotten, fixture.ring.end());
    assert!(gone > 0 && end == 400, "{gone} {end}");
    assert_eq!(left(0..400), gone + (400 - gone).div_ceil(2), "those that left the ring, and every second");
}

#[tokio::test]
async fn what_was_missed_is_told_until_an_event_that_says_so_is_delivered() {
    let directory = Directory::new("carried");
    let (out, go, begun) = (directory.file("out"), directory.file("go"), directory.file("begun"));
    let tells = format!("echo $VIPCAST_ID $VIPCAST_MISSED >> {out}");
    // The first of all waits, the next fails, and the one after that hangs.
    let lines = format!(
        "{tells}; case $(wc -l < {out}) in 1) while [ ! -e {go} ]; do sleep 0.01; done;; 2) exit 1;; *) : > {begun}; sleep 1000;; esac"
    );
    let length = serde_json::to_vec(&event(1)).unwrap().len();
    let mut fixture = Fixture::with(&script(&lines, ""), length * 5);
    fixture.push([1]);
    until("the first is under way", || !directory.text("out").is_empty()).await;
    fixture.push(2..=50);
    fs::write(&go, "").unwrap();
    until("the third is under way", || fs::exists(&begun).unwrap()).await;
    fixture.set(&script(&tells, ""));
    fixture.hooks.finish(LONG).await;
    let (delivered, failed, _, missed) = fixture.counts("h");
    let told: Vec<String> = directory.text("out").lines().map(str::to_owned).collect();
    let first = 50 - u64::try_from(told.len()).unwrap() + 2;
    assert_eq!((missed, failed, delivered), (first - 2, 2, u64::try_from(told.len()).unwrap() - 2));
    let carried = (first..=50).map(|seq| match seq - first {
        0..=2 => format!("0-{seq} {missed}"),
        _ => format!("0-{seq}"),
    });
    let expected: Vec<String> = std::iter::once("0-1".to_owned()).chain(carried).collect();
    assert_eq!(told.iter().map(|line| line.trim_end()).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn after_a_hand_over_a_hook_goes_on_where_it_was_and_what_runs_is_waited_for() {
    let directory = Directory::new("handed");
    let (out, go) = (directory.file("out"), directory.file("go"));
    let waits = script(&format!("echo $VIPCAST_ID >> {out}; while [ ! -e {go} ]; do sleep 0.01; done"), "");
    let mut fixture = Fixture::new(&waits);
    fixture.push(1..=3);
    until("it runs", || directory.text("out") == "0-1\n").await;
    let opens = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        fs::write(&go, "").unwrap();
    };
    let ((places, has_ended), ()) = tokio::join!(fixture.hooks.freeze(LONG), opens);
    assert!(has_ended);
    assert_eq!(directory.text("out"), "0-1\n", "the others are for the next program");
    assert_eq!(places, BTreeMap::from([(HookName::from("h"), (1, 0))]));
    fixture.hooks = Hooks::thaw(fixture.ring.clone(), places, fixture.hooks.deliveries().clone());
    fixture.set(&waits);
    fixture.hooks.finish(LONG).await;
    assert_eq!(directory.text("out"), "0-1\n0-2\n0-3\n");
    // One that does not end is killed, and not run again.
    fs::remove_file(&go).unwrap();
    fixture.hooks = Hooks::thaw(
        fixture.ring.clone(),
        BTreeMap::from([(HookName::from("h"), (3, 7))]),
        Deliveries::default(),
    );
    fixture.set(&waits);
    fixture.push([4]);
    until("it runs", || directory.text("out").ends_with("0-4\n")).await;
    let (places, _) = fixture.hooks.freeze(Duration::from_millis(20)).await;
    assert_eq!(places, BTreeMap::from([(HookName::from("h"), (4, 7))]), "and nothing missed is forgotten");
}

#[tokio::test]
async fn a_hook_that_the_program_before_did_not_have_is_not_told_of_old_events() {
    let directory = Directory::new("unknown");
    let out = directory.file("out");
    let tells = script(&format!("echo $VIPCAST_ID >> {out}"), "");
    let mut fixture = Fixture::new(&tells);
    fixture.push(1..=3);
    fixture.hooks.freeze(LONG).await;
    drop(fs::remove_file(&out));
    fixture.hooks = Hooks::thaw(fixture.ring.clone(), BTreeMap::new(), Deliveries::default());
    fixture.push([4]);
    fixture.set(&tells);
    fixture.hooks.finish(LONG).await;
    assert_eq!(directory.text("out"), "0-4\n");
}

#[test]
fn a_hook_begins_where_it_was_first_wanted_even_if_the_thread_is_late() {
    let hooks = |names: &[&str]| {
        names.iter().map(|name| (HookName::from(*name), Question::new(1))).collect::<BTreeMap<_, _>>()
    };
    let mut wanted = Wanted::default();
    let begins = |wanted: &Wanted| wanted.hooks.values().map(|(_, begin)| begin.position).collect::<Vec<_>>();
    let at = |position| move |_: &HookName| Spot { position, ..Spot::default() };
    wanted.replace(&hooks(&["a"]), at(0));
    wanted.replace(&hooks(&["a", "b"]), at(7));
    wanted.replace(&hooks(&["a", "b", "c"]), at(9));
    assert_eq!(begins(&wanted), [0, 7, 9]);
    wanted.replace(&hooks(&["b"]), at(10));
    wanted.replace(&hooks(&["a", "b"]), at(11));
    assert_eq!(begins(&wanted), [11, 7]);
}
