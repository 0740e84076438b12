use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;

use futures_util::FutureExt as _;
use vipcast_node::model::Question;

use super::*;
use crate::check::probe::Prober;
use crate::check::probe::tests::{PATIENT, asked, check, eventually, fail, pass};
use crate::check::shared::Shared;

/// A file that is gone after the test.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vipcast-process-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// A child that is killed at the end.
struct Sleeping(Child);

impl Sleeping {
    fn new() -> Self {
        let child = Self(Command::new("sleep").arg("1000").spawn().unwrap());
        let comm = format!("/proc/{}/comm", child.0.id());
        // Until then it is a copy of the test.
        eventually(|| match fs::read_to_string(&comm).unwrap().trim() {
            "sleep" => Ok(()),
            other => Err(other.to_owned()),
        });
        child
    }

    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        drop((self.0.kill(), self.0.wait()));
    }
}

fn of_pid(pid: u32, name: Option<&str>) -> Question {
    let process = WhichProcess::Pid(NonZeroU32::new(pid).unwrap());
    asked(ProcessCheck { process, name: name.map(String::from) })
}

fn of_file(path: &Path) -> Question {
    asked(ProcessCheck { process: WhichProcess::File(path.to_owned()), name: None })
}

#[tokio::test]
async fn the_death_of_a_process_is_told_and_a_zombie_is_dead() {
    let mut child = Sleeping::new();
    let pid = child.0.id();
    let mut prober =
        Prober::new("web".into(), Arc::new(check(of_pid(pid, Some("sleep")), PATIENT)), Shared::new().0);
    assert_eq!(prober.probe().await.detail, format!("process {pid} (sleep) is alive"));
    assert!(prober.changed().now_or_never().is_none());
    child.0.kill().unwrap();
    tokio::time::timeout(PATIENT, prober.changed()).await.expect("not told");
    let zombie = prober.probe().await;
    assert!(!zombie.passed);
    assert_eq!(zombie.detail, format!("process {pid} is dead and not reaped yet (a zombie)"));
    child.end();
    assert_eq!(prober.probe().await.detail, format!("process {pid} is gone"));
    assert!(prober.changed().now_or_never().is_none(), "nobody is left to wait for");
}

#[tokio::test]
async fn the_file_says_which_process_and_may_change() {
    let (mut old, new) = (Sleeping::new(), Sleeping::new());
    let file = Temporary::new("pid", &format!("{}\n", old.0.id()));
    let mut prober = Prober::new("web".into(), Arc::new(check(of_file(&file.0), PATIENT)), Shared::new().0);
    assert_eq!(prober.probe().await.detail, format!("process {} (sleep) is alive", old.0.id()));
    fs::write(&file.0, format!(" {} \nmore", new.0.id())).unwrap();
    assert_eq!(prober.probe().await.detail, format!("process {} (sleep) is alive", new.0.id()));
    old.end();
    assert!(prober.changed().now_or_never().is_none(), "the old one is not waited for");
    fs::write(&file.0, old.0.id().to_string()).unwrap();
    assert_eq!(
        prober.probe().await.detail,
        format!("process {} of {} is gone", old.0.id(), file.0.display())
    );
}

#[tokio::test]
async fn a_file_without_an_id_is_told() {
    let file = Temporary::new("bad", "");
    let shown = file.0.display();
    let table = [
        ("", "nothing in it"),
        (" \n\n", "nothing in it"),
        ("\n12", "no id of a process in it, but \"\""),
        ("nginx", "no id of a process in it, but \"nginx\""),
        ("-1", "no id of a process in it, but \"-1\""),
        ("0", "no id of a process in it, but \"0\""),
        ("99999999999", "no id of a process in it, but \"99999999999\""),
        ("12 34", "no id of a process in it, but \"12 34\""),
        ("\u{1b}[31m", "no id of a process in it, but \"[31m\""),
    ];
    for (text, expected) in table {
        fs::write(&file.0, text).unwrap();
        assert_eq!(fail(of_file(&file.0)).await, format!("{shown} has {expected}"), "{text:?}");
    }
    fs::write(&file.0, "x".repeat(1 << 20)).unwrap();
    let detail = fail(of_file(&file.0)).await;
    assert_eq!(detail, format!("{shown} has no id of a process in it, but \"{}\"", "x".repeat(40)));
    // No process can have it.
    fs::write(&file.0, "2147483647").unwrap();
    assert_eq!(fail(of_file(&file.0)).await, format!("process 2147483647 of {shown} is gone"));
}

#[tokio::test]
async fn what_is_no_file_is_told_and_never_waited_for() {
    let missing = Path::new("/nonexistent/x.pid");
    assert_eq!(fail(of_file(missing)).await, "cannot read /nonexistent/x.pid: no such file or directory");
    assert_eq!(fail(of_file(Path::new("/tmp"))).await, "cannot read /tmp: it is not a file");
    let fifo = Temporary::new("fifo", "");
    fs::remove_file(&fifo.0).unwrap();
    assert!(Command::new("mkfifo").arg(&fifo.0).status().unwrap().success());
    assert_eq!(fail(of_file(&fifo.0)).await, format!("cannot read {}: it is not a file", fifo.0.display()));
}

#[tokio::test]
async fn a_process_that_has_the_id_of_another_one_does_not_pass() {
    let child = Sleeping::new();
    let pid = child.0.id();
    assert_eq!(fail(of_pid(pid, Some("nginx"))).await, format!("process {pid} is \"sleep\", not \"nginx\""));
    // By the name of its program, which may be longer than what the kernel keeps of a command.
    let program = std::env::current_exe().unwrap();
    pass(of_pid(std::process::id(), Some(&file_name(&program)))).await;
    // The id of a thread is not that of a process.
    let thread = std::thread::spawn(|| nix::unistd::gettid().as_raw().cast_unsigned());
    let thread = thread.join().unwrap();
    assert_eq!(fail(of_pid(thread, None)).await, format!("process {thread} is gone"));
}

#[test]
fn names_are_cut_where_the_kernel_cuts_them() {
    assert_eq!(cut("systemd-resolved"), "systemd-resolve");
    assert_eq!(cut("nginx"), "nginx");
    assert_eq!(file_name(Path::new("/usr/sbin/nginx (deleted)")), "nginx");
}

#[test]
fn a_program_that_may_not_be_seen_is_said_to_be_hidden_and_not_taken_for_another() {
    let denied = io::Error::from(io::ErrorKind::PermissionDenied);
    let gone = io::Error::from(io::ErrorKind::NotFound);
    let of = |unseen: Option<&io::Error>| misnamed("python3".into(), "gunicorn".into(), unseen);
    assert!(matches!(of(Some(&denied)), Fault::Hidden(..)));
    assert!(matches!(of(Some(&gone)), Fault::Other(..)));
    assert!(matches!(of(None), Fault::Other(..)));
}
