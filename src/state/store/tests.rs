use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::state::tests::drained;

/// A disk that answers each write of drains as the test says.
struct Slow {
    writes: Sender<Overrides>,
    notes: Sender<&'static str>,
    answers: Mutex<Receiver<Result<(), &'static str>>>,
}

impl Slow {
    fn new() -> (Self, Receiver<Overrides>, Sender<Result<(), &'static str>>) {
        let (writes, written) = channel();
        let (answers, answer) = channel();
        (Self { writes, notes: channel().0, answers: Mutex::new(answer) }, written, answers)
    }
}

impl Disk for Slow {
    fn save_overrides(&self, overrides: &Overrides) -> Result<(), StateError> {
        self.writes.send(overrides.clone()).unwrap();
        let answer = self.answers.lock().unwrap().recv().unwrap();
        answer.map_err(|error| StateError::Write {
            path: "drains.json".into(),
            source: std::io::Error::other(error),
        })
    }

    fn save_held_back(&self, _: &HeldBack) -> Result<(), StateError> {
        Ok(())
    }

    fn leave_announced(&self, _: &BTreeSet<Vip>) -> Result<(), StateError> {
        self.notes.send("left").ok();
        Ok(())
    }

    fn is_elsewhere(&self) -> bool {
        false
    }

    fn withdraw_announced(&self) -> Result<(), StateError> {
        self.notes.send("withdrawn").ok();
        Ok(())
    }
}

/// A store on a disk that can be used once.
fn on(disk: Slow) -> Opened {
    let disk = Mutex::new(Some(disk));
    Store::start(Path::new("/state"), Before::Stopped, move || {
        Ok((Left::default(), disk.lock().unwrap().take().unwrap()))
    })
    .unwrap()
}

#[tokio::test]
async fn while_the_disk_hangs_wishes_return_at_once_and_only_the_newest_is_written() {
    let (disk, written, answers) = Slow::new();
    let Opened { store, .. } = on(disk);
    for service in ["first", "second", "third"] {
        store.save_overrides(Arc::new(drained(service)));
        if service == "first" {
            assert_eq!(written.recv().unwrap(), drained("first"));
        }
    }
    assert_eq!(store.overrides_saved(Duration::ZERO).await, Err(Unsaved::NotYet));
    assert_eq!(store.unsaved().unwrap().1, Unsaved::NotYet);
    answers.send(Ok(())).unwrap();
    assert_eq!(written.recv().unwrap(), drained("third"));
    answers.send(Ok(())).unwrap();
    assert_eq!(store.overrides_saved(PATIENCE).await, Ok(()));
    assert_eq!(store.unsaved(), None);
}

#[tokio::test]
async fn an_answer_tells_why_a_drain_is_not_saved_and_the_next_wish_is_tried_at_once() {
    let (disk, _written, answers) = Slow::new();
    let Opened { store, .. } = on(disk);
    store.save_overrides(Arc::new(drained("web")));
    answers.send(Err("no space left on device")).unwrap();
    let full = Unsaved::Failed("no space left on device".to_owned());
    assert_eq!(store.overrides_saved(PATIENCE).await, Err(full.clone()));
    assert_eq!(store.unsaved(), Some(("/state/drains.json".into(), full)));
    store.save_overrides(Arc::new(drained("dns")));
    answers.send(Ok(())).unwrap();
    assert_eq!(store.overrides_saved(PATIENCE).await, Ok(()));
}

#[tokio::test]
async fn a_start_goes_on_without_a_directory_that_hangs_and_merges_what_it_says_later_before_it_is_replaced()
{
    let (disk, written, answers) = Slow::new();
    let (go, gone) = channel::<()>();
    let inner = Mutex::new((Some(disk), gone));
    let vips = BTreeSet::from([Vip::from(std::net::IpAddr::from([192, 0, 2, 1]))]);
    let held = HeldBack { held: vips.clone(), watched: vips };
    let inside = held.clone();
    let Opened { mut store, left } = Store::start(Path::new("/state"), Before::Stopped, move || {
        let mut inner = inner.lock().unwrap();
        inner.1.recv().unwrap();
        let left = Left { overrides: drained("web"), held: inside.clone(), ..Left::default() };
        Ok((left, inner.0.take().unwrap()))
    })
    .unwrap();
    assert!(left.overrides == Overrides::default() && left.unread, "the start does not wait");
    store.save_overrides(Arc::new(drained("dns")));
    go.send(()).unwrap();
    let Late(late) = store.late().await;
    assert_eq!((late.overrides, late.held), (drained("web"), held));
    assert!(written.try_recv().is_err(), "nothing is replaced before it is merged");
    store.merged(Arc::new(drained("both")));
    assert_eq!(written.recv().unwrap(), drained("both"));
    answers.send(Ok(())).unwrap();
    assert_eq!(store.overrides_saved(PATIENCE).await, Ok(()));
}

#[tokio::test]
async fn a_note_of_a_restart_that_came_to_nothing_is_not_written_or_removed_when_the_disk_answers() {
    let (mut disk, written, answers) = Slow::new();
    let (notes, noted) = channel();
    disk.notes = notes;
    let Opened { mut store, .. } = on(disk);
    // The disk is at work.
    store.save_overrides(Arc::new(drained("web")));
    assert_eq!(written.recv().unwrap(), drained("web"));
    let told = store.leave_announced(BTreeSet::new());
    store.withdraw_announced();
    answers.send(Ok(())).unwrap();
    assert!(told.await.is_err(), "nobody is told that it was written");
    assert_eq!(noted.recv().unwrap(), "withdrawn");
    store.leave_announced(BTreeSet::new()).await.unwrap().unwrap();
    store.withdraw_announced();
    store.finish().await;
    assert_eq!(noted.try_iter().collect::<Vec<_>>(), ["left", "withdrawn"]);
}

#[tokio::test]
async fn the_last_wish_is_written_before_the_end() {
    let path = std::env::temp_dir().join(format!("vipcast-store-{}", std::process::id()));
    let Opened { mut store, .. } = Store::open(&path, 0o700).unwrap();
    for last in 1..=20 {
        let vip = Vip::from(std::net::IpAddr::from([192, 0, 2, last]));
        store.save_held_back(Arc::new(HeldBack {
            held: BTreeSet::from([vip]),
            watched: BTreeSet::from([vip]),
        }));
    }
    store.finish().await;
    drop(store);
    let saved = std::fs::read_to_string(path.join("held.json")).unwrap();
    assert!(saved.contains("192.0.2.20/32"), "{saved}");
    std::fs::remove_dir_all(path).unwrap();
}

#[tokio::test]
async fn the_lock_goes_to_the_next_program_and_no_moment_is_without_it() {
    let path = std::env::temp_dir().join(format!("vipcast-store-lock-{}", std::process::id()));
    drop(std::fs::remove_dir_all(&path));
    let is_taken = || matches!(StateDir::open(&path, 0o700), Err(StateError::Taken { .. }));
    let Opened { mut store, .. } = Store::open(&path, 0o700).unwrap();
    store.finish().await;
    // A hand-over that is given up does not cost the lock.
    drop(store.lock().unwrap());
    let lock = store.lock().unwrap();
    drop(store);
    assert!(lock.is_some() && is_taken());
    let Opened { store: next, .. } = Store::thaw(&path, 0o700, lock).unwrap();
    assert!(is_taken());
    // Another file has the name of the lock: ours is dropped, and the other one taken.
    let lock = next.lock().unwrap();
    drop(next);
    std::fs::rename(path.join("lock"), path.join("old")).unwrap();
    let Opened { store: next, .. } = Store::thaw(&path, 0o700, lock).unwrap();
    assert!(is_taken());
    // A directory that cannot be used at first does not cost it either.
    let (lock, aside) = (next.lock().unwrap(), path.with_extension("aside"));
    drop(next);
    std::fs::rename(&path, &aside).unwrap();
    std::fs::write(&path, "").unwrap();
    let Opened { store: next, left } = Store::thaw(&path, 0o700, lock).unwrap();
    assert!(left.unread);
    std::fs::remove_file(&path).unwrap();
    std::fs::rename(&aside, &path).unwrap();
    assert!(is_taken());
    drop(next);
    std::fs::remove_dir_all(path).unwrap();
}

#[tokio::test]
async fn what_is_mounted_over_the_directory_is_read_and_merged_before_it_is_written_and_a_removed_one_is_made_again()
 {
    let path = std::env::temp_dir().join(format!("vipcast-store-over-{}", std::process::id()));
    let (hidden, real) = (path.with_extension("hidden"), path.with_extension("real"));
    for path in [&path, &hidden, &real] {
        drop(std::fs::remove_dir_all(path));
    }
    let vip = BTreeSet::from([Vip::from(std::net::IpAddr::from([192, 0, 2, 1]))]);
    let held = HeldBack { held: vip.clone(), watched: vip };
    let inside = StateDir::open(&real, 0o700).unwrap();
    inside.save_overrides(&drained("web")).unwrap();
    inside.save_held_back(&held).unwrap();
    drop(inside);
    let Opened { mut store, left } = Store::open(&path, 0o700).unwrap();
    assert!(left.overrides == Overrides::default());
    store.save_held_back(Arc::new(HeldBack::default()));
    store.save_overrides(Arc::new(drained("dns")));
    assert_eq!(store.overrides_saved(PATIENCE).await, Ok(()));
    // Like a mount: the path leads to another directory.
    std::fs::rename(&path, &hidden).unwrap();
    std::fs::rename(&real, &path).unwrap();
    store.save_overrides(Arc::new(drained("mail")));
    let Late(late) = store.late().await;
    assert_eq!((late.overrides, late.held), (drained("web"), held));
    assert_eq!(late.announced, Some(BTreeSet::new()), "what this daemon has is its own");
    let drains = || std::fs::read_to_string(path.join("drains.json")).unwrap_or_default();
    assert!(drains().contains("web"), "nothing is replaced before it is merged");
    store.merged(Arc::new(drained("both")));
    assert_eq!(store.overrides_saved(PATIENCE).await, Ok(()));
    assert!(drains().contains("both"));
    assert!(matches!(StateDir::open(&path, 0o700), Err(StateError::Taken { .. })), "it is locked");
    // Removed, while it may still be written to: it is made again, with all contents.
    while std::fs::remove_dir_all(&path)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::DirectoryNotEmpty)
    {}
    store.save_overrides(Arc::new(drained("again")));
    let Late(late) = store.late().await;
    assert!(late.overrides == Overrides::default());
    store.merged(Arc::new(drained("again")));
    store.finish().await;
    assert!(drains().contains("again"));
    assert!(path.join("held.json").exists());
    for path in [&path, &hidden] {
        std::fs::remove_dir_all(path).unwrap();
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_a_warning_and_a_drain_says_so() {
    let path = std::env::temp_dir().join(format!("vipcast-no-directory-{}", std::process::id()));
    std::fs::write(&path, "a file").unwrap();
    let Opened { store, left } = Store::open(&path, 0o700).unwrap();
    assert!(left.overrides == Overrides::default());
    store.save_overrides(Arc::new(drained("web")));
    let Err(Unsaved::Failed(why)) = store.overrides_saved(PATIENCE).await else { panic!("it is saved") };
    assert_eq!(why, "file exists");
    std::fs::remove_file(path).unwrap();
}
