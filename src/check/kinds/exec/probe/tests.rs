use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use vipcast_node::model::Question;
use vipcast_node::vip::Vip;

use super::*;
use crate::check::kinds::exec::Environment;
use crate::check::permit::Waiting;
use crate::check::probe::Prober;
use crate::check::probe::tests::{
    PATIENT, SHORT, asked, check, definition_of, eventually, fail, outcome, pass, sh, time_out,
};
use crate::check::shared::Shared;

/// A directory of this test alone.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vipcast-exec-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().into()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The state of every process of a group, zombies included, as in /proc/<pid>/stat.
fn group(leader: &str) -> BTreeMap<String, char> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let stat = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        let (name, rest) = stat.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_whitespace().collect();
        (fields[2] == leader).then(|| (name.to_owned(), fields[0].chars().next().unwrap()))
    });
    processes.collect()
}

fn gone(leader: &str) -> Result<(), String> {
    let left = group(leader);
    if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
}

/// What a script writes to a file, once it is there as a whole line.
fn written(file: &str) -> String {
    eventually(|| match fs::read_to_string(file) {
        Ok(text) if text.ends_with('\n') => Ok(text.trim().to_owned()),
        other => Err(format!("{other:?}")),
    })
}

fn program(command: &[&str]) -> Question {
    asked(ExecCheck { command: command.iter().copied().map(String::from).collect(), ..ExecCheck::default() })
}

#[tokio::test]
async fn exit_code_0_passes_with_the_first_line() {
    assert_eq!(pass(program(&["true"])).await, "exit code 0");
    assert_eq!(pass(sh("echo all well; echo more; echo noise >&2")).await, "exit code 0: all well");
}

#[tokio::test]
async fn other_exit_codes_fail_with_what_the_program_said() {
    assert_eq!(fail(sh("echo no disk; echo more; exit 3")).await, "exit code 3: no disk");
    assert_eq!(fail(sh("echo hello; echo cause >&2; exit 2")).await, "exit code 2: cause");
    assert_eq!(fail(sh("echo Traceback >&2; echo KeyError >&2; exit 1")).await, "exit code 1: KeyError");
    assert_eq!(fail(program(&["false"])).await, "exit code 1");
}

#[tokio::test]
async fn a_death_by_signal_is_named() {
    assert_eq!(fail(sh("kill -SEGV $$")).await, "killed by SIGSEGV");
    assert_eq!(fail(sh("echo out of luck; kill -KILL $$")).await, "killed by SIGKILL: out of luck");
}

#[tokio::test]
async fn what_cannot_be_run_is_named() {
    let directory = Directory::new("unrunnable");
    let (locked, orphan) = (directory.file("locked"), directory.file("orphan"));
    fs::write(&locked, "#!/bin/sh\n").unwrap();
    fs::write(&orphan, "#!/no/such/shell\n").unwrap();
    fs::set_permissions(&orphan, fs::Permissions::from_mode(0o755)).unwrap();

    assert_eq!(fail(program(&["/no/such"])).await, "cannot run /no/such: no such file or directory");
    assert_eq!(
        fail(program(&["no-such-program"])).await,
        "cannot run no-such-program: no such file or directory"
    );
    assert_eq!(fail(program(&[&locked])).await, format!("cannot run {locked}: permission denied"));
    let interpreter = "the interpreter in its first line is not there";
    assert_eq!(fail(program(&[&orphan])).await, format!("cannot run {orphan}: {interpreter}"));
}

/// What a program finds in its environment, but for what the shell puts there.
async fn environment(name: &str, exec: ExecCheck) -> BTreeMap<String, String> {
    let directory = Directory::new(name);
    let file = directory.file("env");
    let command = ["/bin/sh", "-c", "cat; env > \"$0\"", &file].map(String::from).into();
    pass(asked(ExecCheck { command, ..exec })).await;
    let text = fs::read_to_string(&file).unwrap();
    let mut found: BTreeMap<_, _> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    found.retain(|name, _| !["PWD", "SHLVL", "_", "OLDPWD", "LANG"].contains(&&**name));
    found
}

#[tokio::test]
async fn the_environment_is_clean_and_stdin_is_empty() {
    let mut found = environment("environment", ExecCheck::default()).await;
    assert!(found.remove("PATH").is_some());
    let expected = [
        ("VIPCAST_CHECK", "web"),
        ("VIPCAST_SERVICE", ""),
        ("VIPCAST_TIMEOUT_MS", "20000"),
        ("VIPCAST_VIPS", ""),
    ];
    assert_eq!(found, expected.map(|(name, value)| (name.into(), value.into())).into());
}

#[tokio::test]
async fn a_program_is_told_whom_it_decides_about_and_what_the_operator_says() {
    let of_operator = [("PGPASSWORD", "a b=c\u{e9}"), ("PATH", "/bin:/usr/bin")];
    let found = environment(
        "told",
        ExecCheck {
            environment: Environment(of_operator.map(|(name, value)| (name.into(), value.into())).into()),
            services: ["db", "web"].map(Into::into).into(),
            vips: ["2001:db8::1/128", "192.0.2.1/32", "198.51.100.0/24"]
                .map(|vip| vip.parse().unwrap())
                .into(),
            ..ExecCheck::default()
        },
    )
    .await;
    assert_eq!(found["VIPCAST_SERVICE"], "db web");
    assert_eq!(found["VIPCAST_VIPS"], "192.0.2.1 198.51.100.0/24 2001:db8::1");
    assert_eq!((&*found["PGPASSWORD"], &*found["PATH"]), ("a b=c\u{e9}", "/bin:/usr/bin"));
}

#[tokio::test]
async fn lists_that_the_kernel_would_not_pass_on_are_left_out() {
    let vips = (0..=u16::MAX).map(|n| std::net::Ipv4Addr::from(0xc612_0000 | u32::from(n)));
    let vips = vips.map(|address| Vip::from(std::net::IpAddr::from(address))).collect();
    let found = environment("long", ExecCheck { vips, ..ExecCheck::default() }).await;
    assert!(!found.contains_key("VIPCAST_VIPS") && found.contains_key("VIPCAST_SERVICE"));
}

#[test]
fn values_of_the_environment_are_not_shown() {
    let environment = Environment([("TOKEN".into(), "hush".into())].into());
    assert_eq!(format!("{environment:?}"), r#"{"TOKEN"}"#);
}

#[tokio::test]
async fn a_program_runs_where_it_is_told_to() {
    let directory = Directory::new("directory");
    let in_directory = |script: &str, path: PathBuf| {
        let exec: ExecCheck = definition_of(&sh(script));
        asked(ExecCheck { directory: Some(path), ..exec })
    };
    let path = fs::canonicalize(&directory.0).unwrap();
    assert_eq!(pass(in_directory("pwd", path.clone())).await, format!("exit code 0: {}", path.display()));
    let missing = path.join("missing");
    assert_eq!(
        fail(in_directory("pwd", missing.clone())).await,
        format!("cannot run in {}: it is not there", missing.display())
    );
    fs::write(&missing, "").unwrap();
    assert_eq!(fail(in_directory("pwd", missing)).await, "cannot run /bin/sh: not a directory");
}

#[tokio::test]
async fn what_leaves_its_group_on_purpose_is_not_followed_and_holds_nobody_up() {
    let directory = Directory::new("setsid");
    let left = directory.file("left");
    let script = format!("setsid sh -c 'trap \"\" TERM; echo $$ > {left}; exec sleep 1000' & echo done");
    let (shared, drained) = Shared::new();
    let check = Arc::new(check(sh(&script), PATIENT));
    let mut prober = Prober::new("web".into(), check, shared);
    let outcome = prober.probe().await;
    assert_eq!((outcome.passed, &*outcome.detail), (true, "exit code 0: done"));
    drop(prober);
    tokio::time::timeout(PATIENT, drained.wait()).await.unwrap();
    // It may have been killed before it left, which is as well.
    let pid = fs::read_to_string(&left).ok().and_then(|text| text.trim().parse().ok());
    if let Some(pid) = pid {
        nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
}

#[tokio::test]
async fn much_output_is_thrown_away_and_is_no_failure() {
    let much = "echo first; yes | head -c 600000; yes | head -c 600000 >&2";
    assert_eq!(pass(sh(much)).await, "exit code 0: first");
    assert_eq!(fail(sh(&format!("{much}; echo last >&2; exit 1"))).await, "exit code 1: last");
    let more = "echo first; yes | head -c 5000000; yes | head -c 5000000 >&2; echo last >&2";
    assert_eq!(pass(sh(more)).await, "exit code 0: first");
    assert_eq!(fail(sh(&format!("{more}; exit 1"))).await, "exit code 1: last");
    let endless = outcome(sh("yes"), Duration::from_secs(1)).await;
    assert_eq!(endless.detail, "killed after 1 s: y");
    let line = fail(sh("yes | tr -d '\\n' | head -c 100000; exit 1")).await;
    assert_eq!(line.chars().count(), words::LINE);
}

#[tokio::test]
async fn i5_hanging_program_is_killed_at_its_timeout_with_its_whole_group() {
    let directory = Directory::new("group");
    let (leader, child) = (directory.file("leader"), directory.file("child"));
    // The child ignores SIGTERM and holds stdout; so does its own child, and the leader.
    let script = format!(
        "trap '' TERM HUP INT; echo waiting; (trap '' TERM HUP; sleep 1000 & echo up > {child}; wait) & \
         echo $$ > {leader}; wait; sleep 1000"
    );
    let running = tokio::spawn(outcome(sh(&script), Duration::from_secs(1)));
    let (pid, members) = tokio::task::spawn_blocking(move || {
        let pid = written(&leader);
        written(&child);
        let members = eventually(|| match group(&pid).len() {
            3.. => Ok(3),
            other => Err(format!("{other} processes")),
        });
        (pid, members)
    })
    .await
    .unwrap();
    assert_eq!(members, 3);
    let outcome = running.await.unwrap();
    assert_eq!((outcome.passed, &*outcome.detail), (false, "killed after 1 s: waiting"));
    assert!(outcome.took >= Duration::from_secs(1));
    // The reaping needs this runtime, so it must not be blocked.
    tokio::task::spawn_blocking(move || eventually(|| gone(&pid))).await.unwrap();
}

#[tokio::test]
async fn i5_what_a_program_leaves_running_is_killed_when_it_exits() {
    let directory = Directory::new("leftover");
    let leader = directory.file("leader");
    let script = format!("sleep 1000 & echo $$ > {leader}; echo done");
    assert_eq!(pass(sh(&script)).await, "exit code 0: done");
    let pid = written(&leader);
    tokio::task::spawn_blocking(move || eventually(|| gone(&pid))).await.unwrap();
}

#[tokio::test]
async fn i5_dropping_a_probe_kills_its_group_and_the_end_waits_for_it() {
    let directory = Directory::new("dropped");
    let leader = directory.file("leader");
    let kind = sh(&format!("trap '' TERM; echo $$ > {leader}; sleep 1000"));
    let (shared, drained) = Shared::new();
    let mut prober = Prober::new("web".into(), Arc::new(check(kind, PATIENT)), shared);
    let probing = tokio::spawn(async move { prober.probe().await });
    let pid = tokio::task::spawn_blocking(move || written(&leader)).await.unwrap();
    probing.abort();
    assert!(probing.await.unwrap_err().is_cancelled());
    tokio::time::timeout(PATIENT, drained.wait()).await.unwrap();
    // The leader is waited for; the others have their SIGKILL, and are dead as soon as the kernel has run them once more.
    eventually(|| {
        let left = group(&pid);
        if left.values().all(|state| *state == 'Z') { Ok(()) } else { Err(format!("{left:?}")) }
    });
    assert!(!fs::exists(format!("/proc/{pid}")).unwrap(), "the leader is a zombie");
}

#[tokio::test]
async fn i4_waiting_for_a_slot_is_no_failure_and_hanging_checks_do_not_keep_others_out() {
    const SECOND: Duration = Duration::from_secs(1);
    let (shared, drained) = Shared::new();
    let shared = Arc::new(shared);
    let hanging: Vec<_> = (0..2 * RUNNING)
        .map(|number| {
            let name = format!("hanging-{number}");
            let check = Arc::new(check(sh("sleep 1000"), SECOND));
            let mut prober = Prober::new(name.as_str().into(), check, shared.clone());
            tokio::spawn(async move { prober.probe().await })
        })
        .collect();
    tokio::task::yield_now().await;
    // Third in line: two rounds of 16 hang before it, a second each, together longer than its own time-out.
    let last = Arc::new(check(program(&["true"]), SECOND * 3 / 2));
    let mut healthy = Prober::new("healthy".into(), last, shared);
    let outcome = healthy.probe().await;
    assert!(outcome.passed && outcome.detail.starts_with("after "), "{}", outcome.detail);
    assert!(
        outcome.detail.ends_with(" s in the queue (16 run at a time): exit code 0"),
        "{}",
        outcome.detail
    );
    assert!(outcome.took < SECOND, "the queue counts: {:?}", outcome.took);
    for probe in hanging {
        let outcome = probe.await.unwrap();
        assert!(outcome.detail.ends_with("killed after 1 s"), "{}", outcome.detail);
        assert!(outcome.took < SECOND * 19 / 10, "the queue counts: {:?}", outcome.took);
    }
    drop(healthy);
    tokio::time::timeout(PATIENT, drained.wait()).await.unwrap();
}

#[tokio::test]
async fn i4_a_run_that_cannot_be_killed_blocks_only_its_own_check() {
    let (shared, _drained) = Shared::new();
    let slots = Slots::new(shared.alive.clone());
    let last_run = LastRun::default();
    let _hangs_in_the_kernel = permit(&last_run.gone).await;
    let run = async |last_run: &LastRun| {
        let check = ExecCheck { command: vec!["true".into()], ..ExecCheck::default() };
        let means = Means { slots: &slots, file_reader: &shared.file_reader, owner: "web", last_run };
        probe(&check, &"web".into(), SHORT, means, &mut Queue::new(&Waiting::default())).await
    };
    assert_eq!(
        run(&last_run).await.unwrap_err(),
        "the last run was killed but has not gone; it hangs in the kernel"
    );
    assert_eq!(run(&LastRun::default()).await.unwrap(), "exit code 0");
}

#[tokio::test]
async fn the_user_is_dropped_to_with_no_supplementary_groups() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root can become another user");
        return;
    }
    let user = Some("nobody".to_owned());
    let as_nobody = |script: &str| {
        let exec: ExecCheck = definition_of(&sh(script));
        asked(ExecCheck { user: user.clone(), ..exec })
    };
    assert_eq!(pass(as_nobody("echo $(id -u) $(id -g) $(id -G)")).await, "exit code 0: 65534 65534 65534");
    assert_eq!(
        pass(as_nobody("grep CapEff /proc/self/status")).await,
        "exit code 0: CapEff: 0000000000000000"
    );
    assert_eq!(time_out(as_nobody("sleep 1000")).await, "killed after 200 ms");

    let group = Some("daemon".to_owned());
    let exec: ExecCheck = definition_of(&as_nobody("echo $(id -u) $(id -g) $(id -G)"));
    let in_group = asked(ExecCheck { group, ..exec });
    assert_eq!(pass(in_group).await, "exit code 0: 65534 1 1");
}
