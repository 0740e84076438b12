//! The file on a disk that is fine, full, read-only, gone, or hanging.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::control::api::{Event, EventKind, Level};

const LONG: Duration = Duration::from_secs(20);
const RULES: model::EventFile = model::EventFile { max_size: 64 << 10, keep: 2 };

/// A directory for a test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vipcast-events-{}-{name}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }

    /// The events in a file: their numbers, or the number of missed ones as a negative number. `None`: a line is not
    /// finished, because the writer is at it.
    fn numbers(&self, name: &str) -> Option<Vec<i64>> {
        let text = self.text(name);
        let is_whole = text.is_empty() || text.ends_with('\n');
        is_whole.then(|| text.lines().map(number).collect())
    }

    /// Whether the file has these events.
    fn has(&self, name: &str, numbers: &[i64]) -> bool {
        self.numbers(name).as_deref() == Some(numbers)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn number(line: &str) -> i64 {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    value["seq"].as_i64().or_else(|| value["missed"].as_i64().map(|missed| -missed)).unwrap()
}

fn event(seq: u64) -> Event {
    Event {
        seq,
        at: "2026-01-01T00:00:00.000Z".into(),
        event: EventKind::Withdrawn,
        level: Level::Warning,
        message: "VIP withdrawn".into(),
        vip: Some("192.0.2.1".into()),
        service: Some("web".into()),
        check: None,
        peer: None,
        by: None,
        reason: None,
        details: [].into(),
    }
}

fn push(ring: &Ring, events: impl IntoIterator<Item = u64>) {
    events.into_iter().for_each(|seq| push_one(ring, &event(seq)));
}

fn push_one(ring: &Ring, event: &Event) {
    ring.push(event.seq, event.event.clone(), serde_json::to_vec(event).unwrap());
}

fn file(ring: &Ring, directory: &Directory) -> EventFile {
    EventFile { retry: Duration::from_millis(20), ..EventFile::new(ring.clone(), &directory.0, 0) }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, waited).await.is_ok(), "{what}");
}

#[tokio::test]
async fn events_since_the_start_are_lines_with_an_id_and_a_reload_turns_the_file_off_and_on() {
    let (directory, ring) = (Directory::new("plain"), Ring::with(Timestamp::UNIX_EPOCH, 1 << 20));
    let mut file = file(&ring, &directory);
    push(&ring, [1, 2]);
    file.set(Some(RULES));
    push(&ring, [3]);
    until("three events", || directory.has(NAME, &[1, 2, 3])).await;
    let first = directory.text(NAME).lines().next().unwrap().to_owned();
    let node = Value::from(rustix::system::uname().nodename().to_string_lossy());
    push(&ring, [9]);
    assert_eq!(
        first,
        format!(
            r#"{{"id":"0-1","node":{},"seq":1,"at":"2026-01-01T00:00:00.000Z","event":"withdrawn","level":"warning","message":"VIP withdrawn","vip":"192.0.2.1","service":"web"}}"#,
            node
        )
    );
    until("the next", || directory.has(NAME, &[1, 2, 3, 9])).await;
    file.set(None);
    until("off", || !file.progress.now().is_on).await;
    push(&ring, [10, 11]);
    file.set(Some(model::EventFile { keep: 1, ..RULES }));
    push(&ring, [12]);
    file.finish().await;
    assert_eq!(directory.numbers(NAME).unwrap(), [1, 2, 3, 9, 12]);
    let Written { written, lost, .. } = file.progress.now();
    assert_eq!((written, lost), (5, 0));
}

#[tokio::test]
async fn full_files_are_numbered_and_their_sum_is_bounded() {
    let (directory, ring) = (Directory::new("rotated"), Ring::with(Timestamp::UNIX_EPOCH, 16 << 20));
    fs::write(directory.0.join("events.jsonl.7"), "of a configuration with more\n").unwrap();
    fs::write(directory.0.join("events.jsonl.old"), "not ours\n").unwrap();
    let mut file = file(&ring, &directory);
    push(&ring, 1..=3000);
    file.set(Some(RULES));
    until("all events", || file.progress.now().written == 3000).await;
    file.finish().await;
    assert_eq!(directory.names(), [NAME, "events.jsonl.1", "events.jsonl.2", "events.jsonl.old"]);
    let mut all = Vec::new();
    for name in ["events.jsonl.2", "events.jsonl.1", NAME] {
        let length = directory.text(name).len();
        assert!(length <= 64 << 10 && (name == NAME || length > 63 << 10), "{name}: {length}");
        all.extend(directory.numbers(name).unwrap());
    }
    let first = 3001 - i64::try_from(all.len()).unwrap();
    assert_eq!(all, (first..=3000).collect::<Vec<_>>(), "the latest, without a gap");
}

#[tokio::test]
async fn what_a_crash_has_left_of_a_line_is_cut_off_and_a_moved_file_is_replaced() {
    let (directory, ring) = (Directory::new("crash"), Ring::with(Timestamp::UNIX_EPOCH, 1 << 20));
    let long = format!("{{\"seq\":1}}\n{{\"seq\":2,\"message\":\"{}", "x".repeat(200_000));
    fs::write(directory.0.join(NAME), long).unwrap();
    let mut file = file(&ring, &directory);
    file.set(Some(model::EventFile { max_size: 1 << 20, keep: 2 }));
    push(&ring, [3]);
    until("whole lines", || directory.has(NAME, &[1, 3])).await;
    fs::rename(directory.0.join(NAME), directory.0.join("moved")).unwrap();
    push(&ring, [4]);
    until("a new file", || directory.has(NAME, &[4])).await;
    assert_eq!(directory.numbers("moved").unwrap(), [1, 3]);
    file.finish().await;
}

#[tokio::test]
async fn a_directory_that_is_missing_costs_what_leaves_the_ring_and_a_line_says_so() {
    let (directory, length) = (Directory::new("missing"), serde_json::to_vec(&event(1)).unwrap().len());
    let ring = Ring::with(Timestamp::UNIX_EPOCH, length * 4);
    fs::remove_dir(&directory.0).unwrap();
    let mut file = file(&ring, &directory);
    push(&ring, [1, 2]);
    file.set(Some(RULES));
    let warning = format!(
        "events are not written to {}/events.jsonl: no such file or directory",
        directory.0.display()
    );
    until("a warning", || file.warning().is_some()).await;
    assert_eq!(file.warning(), Some(warning));
    assert_eq!(file.progress.now().behind(&ring), 2);
    push(&ring, 3..=9);
    fs::create_dir(&directory.0).unwrap();
    until("the gap", || directory.has(NAME, &[1, 2, -3, 6, 7, 8, 9])).await;
    until("no warning", || file.warning().is_none()).await;
    let progress = file.progress.now();
    assert_eq!((progress.written, progress.lost, progress.behind(&ring)), (6, 3, 0));
    assert!(directory.text(NAME).contains(r#","event":"missed","missed":3}"#), "{}", directory.text(NAME));
    file.finish().await;
}

#[tokio::test]
async fn a_line_that_no_file_can_hold_is_lost() {
    let (directory, ring) = (Directory::new("long"), Ring::with(Timestamp::UNIX_EPOCH, 1 << 20));
    let mut file = file(&ring, &directory);
    push(&ring, [1]);
    push_one(&ring, &Event { message: "x".repeat(65 << 10), ..event(2) });
    push(&ring, [3]);
    file.set(Some(RULES));
    until("the others", || file.progress.now().written == 2).await;
    file.finish().await;
    assert_eq!(directory.numbers(NAME).unwrap(), [1, 3, -1]);
    assert_eq!(file.progress.now().lost, 1);
}

/// A file system of 64 KiB; `None` where this user may not mount one.
struct Small(Directory);

impl Small {
    fn mount(name: &str) -> Option<Self> {
        let small = Self(Directory::new(name));
        let options = ["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"];
        let mounted = Command::new("mount").args(options).arg(&small.0.0).status();
        mounted.is_ok_and(|status| status.success()).then_some(small)
    }

    fn remount(&self, options: &str) {
        let options = ["-o", &format!("remount,{options}")];
        let status = Command::new("mount").args(options).arg(&self.0.0).status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0.0).status());
    }
}

#[tokio::test]
async fn a_full_and_a_read_only_disk_are_warnings_and_the_file_stays_whole() {
    let Some(disk) = Small::mount("small") else {
        eprintln!("skipped: this user cannot mount a tmpfs");
        return;
    };
    let ring = Ring::with(Timestamp::UNIX_EPOCH, 1 << 20);
    let mut file = file(&ring, &disk.0);
    file.set(Some(model::EventFile { max_size: 1 << 20, keep: 1 }));
    push(&ring, 1..=1000);
    until("a full disk", || {
        file.warning().is_some_and(|warning| warning.ends_with(": no space left on device"))
    })
    .await;
    // A repeated attempt may be under way.
    until("what is written is whole", || {
        let written = file.progress.now().written;
        disk.0.numbers(NAME).is_some_and(|kept| u64::try_from(kept.len()) == Ok(written))
    })
    .await;
    disk.remount("size=1m");
    until("the rest", || disk.0.has(NAME, &(1..=1000).collect::<Vec<_>>())).await;
    until("no warning", || file.warning().is_none()).await;
    // A file that is open for writing keeps a file system from becoming read-only.
    file.set(None);
    until("off", || !file.progress.now().is_on).await;
    disk.remount("ro");
    file.set(Some(RULES));
    push(&ring, [1001]);
    until("read-only", || file.warning().is_some_and(|warning| warning.contains("read-only"))).await;
    assert_eq!(file.progress.now().behind(&ring), 1);
    disk.remount("rw");
    file.finish().await;
}

#[tokio::test]
async fn a_disk_that_hangs_keeps_nobody() {
    let (directory, ring) = (Directory::new("hangs"), Ring::with(Timestamp::UNIX_EPOCH, 1 << 20));
    // A pipe that nobody reads is full after 64 KiB.
    let path = directory.0.join(NAME);
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let opens: Opens = |path| fs::OpenOptions::new().read(true).append(true).open(path);
    let mut file = EventFile { opens, ..file(&ring, &directory) };
    push(&ring, 1..=1000);
    let rules = model::EventFile { max_size: 1 << 30, keep: 2 };
    file.set(Some(rules));
    until("a full pipe", || file.progress.now().busy.is_some_and(|since| since.elapsed() > PATIENCE / 2))
        .await;
    let began = Instant::now();
    for seq in 1001..2000 {
        push(&ring, [seq]);
        file.set(Some(model::EventFile { keep: u8::try_from(seq % 100 + 1).unwrap(), ..rules }));
    }
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    assert!(file.progress.now().behind(&ring) > 1000);
    file.finish().await;
    assert!(began.elapsed() < PATIENCE * 3, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_file_that_is_a_link_or_a_directory_or_a_pipe_is_not_touched_and_named() {
    let (directory, ring) = (Directory::new("link"), Ring::with(Timestamp::UNIX_EPOCH, 1 << 20));
    let (path, target) = (directory.0.join(NAME), directory.0.join("target"));
    fs::write(&target, "no line end").unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    let mut file = file(&ring, &directory);
    file.set(Some(RULES));
    push(&ring, [1]);
    let warning =
        format!("events are not written to {}: it is not a regular file; remove it", path.display());
    until("a link", || file.warning().as_ref() == Some(&warning)).await;
    assert_eq!(directory.text("target"), "no line end");
    fs::remove_file(&path).unwrap();
    until("a file", || directory.has(NAME, &[1])).await;
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    push(&ring, [2]);
    until("a directory", || file.warning().as_ref() == Some(&warning)).await;
    fs::remove_dir(&path).unwrap();
    until("a file", || directory.has(NAME, &[2])).await;
    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    push(&ring, [3]);
    until("a pipe", || file.warning().as_ref() == Some(&warning)).await;
    file.finish().await;
}

#[test]
fn a_full_file_takes_the_next_number_that_nothing_else_has() {
    let directory = Directory::new("foreign");
    fs::create_dir(directory.0.join("events.jsonl.1")).unwrap();
    std::os::unix::fs::symlink("events.jsonl.old", directory.0.join("events.jsonl.3")).unwrap();
    let rules = model::EventFile { keep: 4, ..RULES };
    let mut files = Rotated::new(directory.0.join(NAME), rules, rotated::open);
    let append = |files: &mut Rotated, letter: u8| {
        let line = [vec![letter; 64 << 10], vec![b'\n']].concat().split_off(1);
        files.append(&mut [line].into(), |line| line, |_| {})
    };
    let firsts =
        || [NAME, "events.jsonl.2", "events.jsonl.4"].map(|name| directory.text(name).chars().next());
    for letter in b"abc" {
        append(&mut files, *letter).unwrap();
    }
    assert_eq!(firsts(), [Some('c'), Some('b'), Some('a')]);
    append(&mut files, b'd').unwrap();
    assert_eq!(firsts(), [Some('d'), Some('c'), Some('b')]);
    files.set(model::EventFile { keep: 1, ..RULES });
    let error = append(&mut files, b'e').unwrap_err().to_string();
    let path = directory.0.join("events.jsonl.1");
    assert_eq!(error, format!("`{}` is not a regular file; remove it", path.display()));
    assert_eq!(firsts(), [Some('d'), Some('c'), Some('b')], "nothing is removed for nothing");
}
