//! Hooks with real programs (here), a real server, reloads, and the end.

mod cut_off;
mod webhooks;

use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;

use super::*;
use crate::control::api::{Event, EventKind, Level};

const LONG: Duration = Duration::from_secs(30);

/// A directory for a test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vipcast-hooks-{}-{name}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The hooks of a configuration, and their ring.
struct Fixture {
    ring: Ring,
    hooks: Hooks,
}

impl Fixture {
    fn new(written: &str) -> Self {
        Self::with(written, 1 << 20)
    }

    fn with(written: &str, memory: usize) -> Self {
        let ring = Ring::with(Timestamp::UNIX_EPOCH, memory);
        let mut fixture = Self { hooks: Hooks::new(ring.clone()), ring };
        fixture.set(written);
        fixture
    }

    fn set(&mut self, written: &str) {
        let text = "local_as: 65001
peers: {tor: {address: 192.0.2.1, peer_as: 65000}}
services: {web: {vips: [192.0.2.10], checks: []}, dns: {vips: [192.0.2.20], checks: []}}
";
        self.hooks.set(&crate::config::tests::config(&format!("{text}hooks:\n{written}\n")).hooks);
    }

    fn push(&self, seqs: impl IntoIterator<Item = u64>) {
        seqs.into_iter().for_each(|seq| self.push_one(&event(seq)));
    }

    fn push_one(&self, event: &Event) {
        self.ring.push(event.seq, event.event.clone(), serde_json::to_vec(event).unwrap());
    }

    /// Delivered, failed, retried, missed.
    fn counts(&self, hook: &str) -> (u64, u64, u64, u64) {
        let all = self.hooks.deliveries().all(&self.ring);
        let found = all.iter().find(|(name, ..)| name == hook);
        found.map_or((0, 0, 0, 0), |(_, of, _)| (of.delivered, of.failed, of.retried, of.missed))
    }
}

fn event(seq: u64) -> Event {
    let is_up = seq.is_multiple_of(2);
    Event {
        seq,
        at: "2026-01-01T00:00:00.000Z".into(),
        event: if is_up { EventKind::Announced } else { EventKind::Withdrawn },
        level: if is_up { Level::Info } else { Level::Warning },
        message: "VIP".into(),
        vip: Some("192.0.2.10".into()),
        service: Some("web".into()),
        check: None,
        peer: None,
        by: None,
        reason: (!is_up).then(|| "down: it's \"gone\"".into()),
        details: [].into(),
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, waited).await.is_ok(), "{what}");
}

/// A hook `h` that runs this script with the options.
fn script(script: &str, options: &str) -> String {
    format!("  h: {{shell: {}{options}}}", serde_json::to_string(script).unwrap())
}

#[tokio::test]
async fn a_program_is_told_each_event_in_order_and_one_at_a_time() {
    let directory = Directory::new("order");
    let out = directory.file("out");
    let lines =
        format!("{{ echo begin; cat; echo $VIPCAST_HOOK $VIPCAST_ID $VIPCAST_EVENT; echo end; }} >> {out}");
    let fixture = Fixture::new(&script(&lines, ""));
    fixture.push(1..=20);
    until("all", || fixture.counts("h") == (20, 0, 0, 0)).await;
    let text = directory.text("out");
    let mut lines = text.lines();
    for seq in 1..=20 {
        assert_eq!(lines.next(), Some("begin"));
        let value: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!((&value["seq"], &value["id"]), (&seq.into(), &format!("0-{seq}").into()));
        let word = if seq % 2 == 0 { "announced" } else { "withdrawn" };
        assert_eq!(lines.next(), Some(format!("h 0-{seq} {word}").as_str()));
        assert_eq!(lines.next(), Some("end"));
    }
    assert_eq!(lines.next(), None);
}

#[tokio::test]
async fn the_environment_is_clean_and_has_the_event() {
    let directory = Directory::new("environment");
    let out = directory.file("out");
    let mut fixture = Fixture::new(&script(
        &format!("env > {out}.new; mv {out}.new {out}"),
        ", environment: {A: b}, timeout: 3s",
    ));
    fixture.push([1]);
    until("the first", || !directory.text("out").is_empty()).await;
    let text = directory.text("out");
    let ours = |line: &&str| {
        !["PATH=", "LANG=", "PWD=", "SHLVL=", "_=", "OLDPWD="].iter().any(|of| line.starts_with(of))
    };
    let mut lines: Vec<&str> = text.lines().filter(ours).collect();
    lines.sort_unstable();
    let expected = [
        "A=b",
        "VIPCAST_AT=2026-01-01T00:00:00.000Z",
        "VIPCAST_EVENT=withdrawn",
        "VIPCAST_HOOK=h",
        "VIPCAST_ID=0-1",
        "VIPCAST_LEVEL=warning",
        "VIPCAST_MESSAGE=VIP",
        "VIPCAST_REASON=down: it's \"gone\"",
        "VIPCAST_SERVICE=web",
        "VIPCAST_TIMEOUT_MS=3000",
        "VIPCAST_VIP=192.0.2.10",
    ];
    assert_eq!(lines, expected);
    fixture.hooks.finish(LONG).await;
}

#[tokio::test]
async fn a_hook_is_told_only_what_it_asks_for() {
    let directory = Directory::new("filter");
    let all = directory.file("all");
    let dns = directory.file("dns");
    let up = directory.file("up");
    let write = |name: &str, file: &str, options: &str| {
        format!("  {name}: {{shell: \"echo $VIPCAST_ID >> {file}\"{options}}}\n")
    };
    let hooks = write("all", &all, "")
        + &write("dns", &dns, ", services: [dns]")
        + &write("up", &up, ", on: [announced, ready]");
    let mut fixture = Fixture::new(&hooks);
    fixture.push(1..=3);
    fixture.push_one(&Event { service: Some("dns".into()), ..event(4) });
    fixture.push_one(&Event { event: EventKind::Ready, level: Level::Debug, ..event(5) });
    fixture.hooks.finish(LONG).await;
    assert_eq!(directory.text("all"), "0-1\n0-2\n0-3\n0-4\n", "but for what is told only for debugging");
    assert_eq!(directory.text("dns"), "0-4\n");
    assert_eq!(directory.text("up"), "0-2\n0-4\n0-5\n");
}

#[tokio::test]
async fn a_program_that_fails_is_not_run_again_and_the_status_has_its_last_line() {
    let directory = Directory::new("fails");
    let (out, fixed) = (directory.file("out"), directory.file("fixed"));
    let lines = format!(
        "echo $VIPCAST_ID >> {out}; [ -e {fixed} ] || {{ echo why >&2; echo no such pager >&2; exit 3; }}"
    );
    let fixture = Fixture::new(&script(&lines, ""));
    fixture.push([1]);
    until("one failure", || fixture.counts("h") == (0, 1, 0, 0)).await;
    assert_eq!(
        fixture.hooks.warnings(),
        ["hook h: the last event was not delivered: exit code 3: no such pager"]
    );
    fixture.push([2]);
    until("two failures", || fixture.counts("h") == (0, 2, 0, 0)).await;
    assert_eq!(
        fixture.hooks.warnings(),
        ["hook h: the last 2 events were not delivered: exit code 3: no such pager"]
    );
    fs::write(&fixed, "").unwrap();
    fixture.push([3]);
    until("success", || fixture.counts("h") == (1, 2, 0, 0)).await;
    assert_eq!(fixture.hooks.warnings(), Vec::<String>::new());
    assert_eq!(directory.text("out"), "0-1\n0-2\n0-3\n");
}

#[tokio::test]
async fn a_program_that_hangs_is_killed_with_its_group_and_delays_no_other_hook_and_no_writer() {
    let directory = Directory::new("hangs");
    let (pids, out) = (directory.file("pids"), directory.file("out"));
    let hangs = format!("sleep 1000 & printf '%s\\n%s\\n' $! $$ >> {pids}; trap '' TERM INT HUP; sleep 1000");
    let hooks =
        script(&hangs, ", timeout: 2s") + &format!("\n  quick: {{shell: \"echo $VIPCAST_ID >> {out}\"}}");
    let mut fixture = Fixture::new(&hooks);
    // Each would cost the writer a time-out.
    fixture.push(1..=3);
    until("the other", || directory.text("out") == "0-1\n0-2\n0-3\n").await;
    until("all killed", || fixture.counts("h") == (0, 3, 0, 0)).await;
    assert!(fixture.hooks.warnings()[0].contains("killed after 2 s"), "{:?}", fixture.hooks.warnings());
    let alive =
        |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    until("none alive", || !directory.text("pids").lines().any(alive)).await;
    assert_eq!(directory.text("pids").lines().count(), 6);
    fixture.hooks.finish(LONG).await;
}

#[tokio::test]
async fn a_program_that_neither_reads_nor_ends_its_output_is_no_trouble() {
    let mut fixture = Fixture::new(&script("head -c 5000000 /dev/zero; exec 0<&-; exit 0", ""));
    fixture.push_one(&Event { message: "x".repeat(500_000), ..event(1) });
    fixture.push([2]);
    until("both", || fixture.counts("h") == (2, 0, 0, 0)).await;
    fixture.hooks.finish(LONG).await;
}

#[tokio::test]
async fn what_a_slow_hook_misses_is_counted_and_told() {
    let directory = Directory::new("missed");
    let (out, go, begun) = (directory.file("out"), directory.file("go"), directory.file("begun"));
    let lines = format!(
        ": > {begun}; while [ ! -e {go} ]; do sleep 0.01; done; echo $VIPCAST_ID $VIPCAST_MISSED >> {out}"
    );
    let length = serde_json::to_vec(&event(1)).unwrap().len();
    let mut fixture = Fixture::with(&script(&lines, ""), length * 4);
    fixture.push([1]);
    until("the first is under way", || fs::exists(&begun).unwrap()).await;
    fixture.push(2..100);
    fs::write(&go, "").unwrap();
    fixture.hooks.finish(LONG).await;
    let text = directory.text("out");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("0-1"));
    let (_, _, _, missed) = fixture.counts("h");
    assert!(missed >= 90, "{missed} of 98: {text}");
    let first = lines.next().unwrap();
    assert!(first.ends_with(&format!(" {missed}")), "{text}");
    assert!(lines.all(|line| line.ends_with(' ') || !line.contains(' ')), "only the first of them: {text}");
    assert!(text.lines().last().unwrap().starts_with("0-99"), "{text}");
}
