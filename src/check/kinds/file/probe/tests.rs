use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use vipcast_node::model::Question;

use super::*;
use crate::check::pattern::Regex;
use crate::check::probe::tests::{asked, fail, pass};

/// A directory of this test alone.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vipcast-file-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn kind(path: &Path, wanted: FileWanted) -> Question {
    asked(FileCheck { path: path.into(), wanted })
}

fn absent(path: &Path) -> Question {
    kind(path, FileWanted::Absent)
}

fn present(path: &Path) -> Question {
    kind(path, FileWanted::Present { max_age: None, contains: None })
}

fn containing(path: &Path, pattern: Pattern) -> Question {
    kind(path, FileWanted::Present { max_age: None, contains: Some(pattern) })
}

/// What is said of a file that was changed `age` before, or with a minus sign after, now, where 5 minutes are allowed.
fn looked_at(path: &Path, age: i64) -> Answer {
    let now = SystemTime::now();
    let offset = Duration::from_secs(age.unsigned_abs());
    let modified = if age < 0 { now + offset } else { now - offset };
    File::options().append(true).open(path).unwrap().set_modified(modified).unwrap();
    let max_age = Some(Duration::from_secs(300));
    look(&FileCheck { path: path.into(), wanted: FileWanted::Present { max_age, contains: None } }, now)
}

#[tokio::test]
async fn a_file_is_there_or_it_is_not() {
    let directory = Directory::new("there");
    let (here, gone) = (directory.file("here", ""), directory.0.join("gone"));
    let under_a_file = here.join("below");
    let [here_shown, gone_shown] = [&here, &gone].map(|path| path.display());

    assert!(pass(present(&here)).await.starts_with(&format!("{here_shown} is there (changed ")));
    assert_eq!(fail(present(&gone)).await, format!("{gone_shown} is not there"));
    assert_eq!(pass(absent(&gone)).await, format!("{gone_shown} is not there"));
    let there = fail(absent(&here)).await;
    assert!(there.starts_with(&format!("{here_shown} is there (changed ")), "{there}");
    pass(absent(&under_a_file)).await;
    fail(present(&under_a_file)).await;
}

#[tokio::test]
async fn a_dangling_link_is_there_and_leads_nowhere() {
    let directory = Directory::new("dangling");
    let link = directory.0.join("link");
    symlink(directory.0.join("nowhere"), &link).unwrap();
    fail(absent(&link)).await;
    assert_eq!(fail(present(&link)).await, format!("{} is not there", link.display()));
}

#[tokio::test]
async fn a_directory_is_no_file_and_is_in_the_way_of_absence() {
    let directory = Directory::new("directory");
    assert_eq!(fail(present(&directory.0)).await, format!("{} is a directory", directory.0.display()));
    fail(absent(&directory.0)).await;
}

#[tokio::test]
async fn what_nobody_may_see_is_neither_there_nor_absent() {
    let directory = Directory::new("locked");
    let link = directory.0.join("loop");
    symlink(&link, &link).unwrap();
    // Root may see everything, but goes round in circles like everybody.
    let cause = fail(present(&link)).await;
    assert_eq!(
        cause,
        format!("cannot look at {}: too many levels of symbolic links or file loop", link.display())
            .replace(" or file loop", "")
    );
    if nix::unistd::geteuid().is_root() {
        return;
    }
    fs::set_permissions(&directory.0, fs::Permissions::from_mode(0o000)).unwrap();
    let cause = fail(absent(&link)).await;
    fs::set_permissions(&directory.0, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(cause, format!("cannot look at {}: permission denied", link.display()));
}

#[test]
fn a_heartbeat_must_be_young_but_not_unborn() {
    let directory = Directory::new("heartbeat");
    let path = directory.file("beat", "x");
    let shown = path.display();
    assert_eq!(looked_at(&path, 12).unwrap(), format!("{shown} is there (changed 12 s ago)"));
    assert_eq!(looked_at(&path, 300).unwrap(), format!("{shown} is there (changed 5 min ago)"));
    assert_eq!(
        looked_at(&path, 425).unwrap_err(),
        format!("{shown} was not changed for 7 min 5 s, at most 5 min are allowed")
    );
    // Two hosts on one file server do not agree on the time to the second.
    assert_eq!(looked_at(&path, -3).unwrap(), format!("{shown} is there (changed 3 s in the future)"));
    assert_eq!(
        looked_at(&path, -7200).unwrap_err(),
        format!("{shown} was changed 2 h in the future; is a clock wrong?")
    );
}

#[tokio::test]
async fn what_a_file_holds_is_looked_at_as_far_as_it_is_read() {
    let directory = Directory::new("holds");
    let path = directory.file("state", "state=ready\n");
    let shown = path.display();
    pass(containing(&path, Pattern::Text("ready".into()))).await;
    pass(containing(&path, Pattern::Regex(Regex::new("(?m)^state=ready$").unwrap()))).await;
    assert_eq!(
        fail(containing(&path, Pattern::Text("master".into()))).await,
        format!("{shown} holds nothing that matches; it begins with \"state=ready\\n\"")
    );
    fs::write(&path, "").unwrap();
    assert_eq!(fail(containing(&path, Pattern::Text("x".into()))).await, format!("{shown} is empty"));
    let read = usize::try_from(READ).unwrap();
    fs::write(&path, " ".repeat(read - 1) + "x").unwrap();
    pass(containing(&path, Pattern::Text("x".into()))).await;
    fs::write(&path, " ".repeat(read) + "x").unwrap();
    fail(containing(&path, Pattern::Text("x".into()))).await;
    let endless = Path::new("/dev/zero");
    assert_eq!(fail(containing(endless, Pattern::Text("x".into()))).await, "/dev/zero is not a file");
}

#[tokio::test]
async fn a_pipe_without_a_writer_holds_nobody_up() {
    let directory = Directory::new("pipe");
    let path = directory.0.join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let cause = fail(containing(&path, Pattern::Text("x".into()))).await;
    assert_eq!(cause, format!("{} is not a file", path.display()));
}

#[test]
fn ages_are_short() {
    let table = [
        (0, "0 ms"),
        (59, "59 s"),
        (60, "1 min"),
        (425, "7 min 5 s"),
        (7200, "2 h"),
        (9000, "2 h 30 min"),
        (400 * 86_400 + 3 * 3600 + 59, "400 d 3 h"),
    ];
    for (seconds, text) in table {
        assert_eq!(shown(Duration::from_secs(seconds)), text);
    }
}
