use std::cell::RefCell;
use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use vipcast_bgp::net::clock;
use vipcast_node::health::report::HealthState;
use vipcast_node::model::Question;
use vipcast_node::table::Table;

use super::*;
use crate::check::dead_mount::DeadMount;
use crate::check::kinds::exec::ExecCheck;
use crate::check::kinds::http::HttpCheck;
use crate::check::probe::tests::{
    PATIENT, SHORT, answer, asked, check, closed_port, definition_of, eventually, http, server, sh, tcp,
    wait_for_close,
};

mod frozen;

/// A runner and the engine's end of the channel.
struct Bench {
    runner: Option<Runner>,
    reports: mpsc::Receiver<CheckNews>,
    receiving: tokio::runtime::Runtime,
    wanted: RefCell<Table<CheckName, Arc<Check>>>,
}

impl Bench {
    fn new(capacity: usize) -> Self {
        let (tell, reports) = mpsc::channel(capacity);
        let receiving = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self {
            runner: Some(Runner::start(tell, Here::default()).unwrap()),
            reports,
            receiving,
            wanted: RefCell::default(),
        }
    }

    fn set<const N: usize>(&self, checks: [(&str, &Check); N]) {
        let checks = checks.map(|(name, check)| (CheckName::from(name), Arc::new(check.clone())));
        self.set_all(Table::from_iter(checks));
    }

    fn set_all(&self, checks: Table<CheckName, Arc<Check>>) {
        self.wanted.replace(checks.clone());
        self.runner.as_ref().unwrap().set(checks, &Table::default());
    }

    /// What is told next. The same wish once more has every check tell its next result, also when nothing is new in it.
    fn news(&mut self) -> CheckNews {
        let wanted = self.wanted.borrow().clone();
        self.set_all(wanted);
        let next = async { tokio::time::timeout(PATIENT, self.reports.recv()).await };
        self.receiving.block_on(next).expect("no news").expect("the runner has ended")
    }

    /// The next result.
    fn next(&mut self) -> CheckReport {
        loop {
            if let CheckNews::Report(report) = self.news() {
                return report;
            }
        }
    }

    /// The next report of one check; those of others are dropped.
    fn next_of(&mut self, name: &str) -> CheckReport {
        loop {
            let report = self.next();
            if report.check.as_str() == name {
                return report;
            }
        }
    }
}

fn quick(kind: Question) -> Check {
    check(kind, PATIENT)
}

fn listening() -> SocketAddr {
    server(wait_for_close)
}

#[test]
fn reports_carry_the_check_its_state_and_the_result() {
    let mut bench = Bench::new(8);
    let (up, down) = (quick(tcp(listening())), quick(tcp(closed_port())));
    bench.set([("up", &up), ("down", &down)]);
    let report = bench.next_of("up");
    assert_eq!((report.state, &*report.outcome.detail), (HealthState::Up, "connected"));
    assert_eq!((&*report.definition, report.since), (&up, report.at));
    let report = bench.next_of("down");
    assert_eq!((report.state, &*report.outcome.detail), (HealthState::Down, "connection refused"));
}

/// Receives what is told by itself until `time` is over.
fn heard(bench: &mut Bench, time: Duration) -> Vec<CheckNews> {
    let mut heard = Vec::new();
    let listening = async {
        while let Some(news) = bench.reports.recv().await {
            heard.push(news);
        }
    };
    let over = bench.receiving.block_on(async { tokio::time::timeout(time, listening).await });
    assert!(over.is_err(), "the runner has ended");
    heard
}

#[test]
fn a_result_that_changes_nothing_wakes_nobody_and_its_numbers_can_be_asked_for() {
    static ALIVE: AtomicBool = AtomicBool::new(true);
    let address = server(|stream| {
        let status = if ALIVE.load(Ordering::SeqCst) { "200 OK" } else { "503 No" };
        answer(stream, &format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
    });
    let mut bench = Bench::new(8);
    let (web, name) = (quick(http(address, "web", None)), CheckName::from("web"));
    bench.set([("web", &web)]);
    let first = bench.next();
    assert_eq!(first.state, HealthState::Up);
    // The round that `next` began.
    heard(&mut bench, 4 * web.interval);
    assert_eq!(heard(&mut bench, 4 * web.interval), []);
    let latest = bench.runner.as_ref().unwrap().latest().of(&name).unwrap();
    assert!(latest.at > first.at && latest.took < PATIENT, "{latest:?}");
    ALIVE.store(false, Ordering::SeqCst);
    let told = heard(&mut bench, 10 * web.interval);
    let [CheckNews::Report(down)] = &*told else { panic!("{told:?}") };
    assert_eq!(
        (down.state, &*down.outcome.detail),
        (HealthState::Down, "503 Service Unavailable, wanted 200")
    );
    bench.set([]);
    eventually(|| match bench.runner.as_ref().unwrap().latest().of(&name) {
        None => Ok(()),
        Some(latest) => Err(format!("{latest:?} of a check that is gone")),
    });
}

#[test]
fn i7_an_unchanged_check_keeps_its_state_and_a_failed_one_stays_failed() {
    let mut bench = Bench::new(8);
    let failed = quick(tcp(closed_port()));
    let other = quick(tcp(listening()));
    bench.set([("failed", &failed)]);
    let first = bench.next_of("failed");
    assert_eq!(first.state, HealthState::Down);
    bench.set([("failed", &failed.clone()), ("other", &other)]);
    bench.next_of("other");
    for _ in 0..3 {
        let later = bench.next_of("failed");
        assert_eq!((later.state, later.since), (HealthState::Down, first.since));
    }
}

#[test]
fn a_changed_check_begins_anew_and_is_told_apart() {
    let mut bench = Bench::new(8);
    let before = quick(tcp(listening()));
    let after = Check { rise: NonZeroU32::new(2).unwrap(), ..before.clone() };
    bench.set([("web", &before)]);
    assert_eq!(bench.next_of("web").state, HealthState::Up);
    bench.set([("web", &after)]);
    let first = loop {
        let report = bench.next();
        if *report.definition == after {
            break report;
        }
    };
    assert_eq!(first.state, HealthState::Unknown);
    let second = bench.next();
    assert_eq!((&*second.definition, second.state), (&after, HealthState::Up));
}

#[test]
fn a_removed_check_is_heard_of_no_more() {
    let mut bench = Bench::new(8);
    let (removed, other) = (quick(tcp(listening())), quick(tcp(listening())));
    bench.set([("removed", &removed)]);
    bench.next_of("removed");
    bench.set([("other", &other)]);
    bench.next_of("other");
    for _ in 0..10 {
        assert_eq!(bench.next().check.as_str(), "other");
    }
}

#[test]
fn i5_a_removed_check_closes_its_connection_and_kills_its_processes_at_once() {
    let file = std::env::temp_dir().join(format!("vipcast-runner-{}-pid", std::process::id()));
    let (opened, was_opened) = std::sync::mpsc::channel();
    let (closed, was_closed) = std::sync::mpsc::channel();
    let address = server(move |stream| {
        opened.send(()).unwrap();
        wait_for_close(stream);
        closed.send(()).unwrap();
    });
    let script = format!("trap '' TERM; echo $$ > {0}.new; mv {0}.new {0}; sleep 1000", file.display());
    let bench = Bench::new(8);
    bench.set([("http", &quick(http(address, "web", None))), ("exec", &quick(sh(&script)))]);
    was_opened.recv_timeout(PATIENT).unwrap();
    let pid = eventually(|| fs::read_to_string(&file).map_err(|error| error.to_string()));
    let process = format!("/proc/{}", pid.trim());
    assert!(fs::exists(&process).unwrap());

    let begin = clock::now();
    bench.set([]);
    was_closed.recv_timeout(PATIENT).unwrap();
    eventually(|| if fs::exists(&process).unwrap() { Err(process.clone()) } else { Ok(()) });
    assert!(clock::now() - begin < PATIENT / 2, "only at the time-out");
    fs::remove_file(file).unwrap();
}

#[test]
fn i4_hanging_checks_do_not_delay_others() {
    let mut bench = Bench::new(8);
    let hanging_server = listening();
    let mut checks: Table<_, _> = (0..200)
        .map(|number| {
            let kind = if number % 2 == 0 { http(hanging_server, "web", None) } else { sh("sleep 1000") };
            (CheckName::from(&*format!("hanging-{number}")), Arc::new(quick(kind)))
        })
        .collect();
    checks.insert("fine".into(), Arc::new(quick(tcp(listening()))));
    bench.set_all(checks);
    let first = bench.next();
    for _ in 0..20 {
        let report = bench.next();
        assert_eq!((report.check.as_str(), report.state), ("fine", HealthState::Up));
    }
    // Twenty times 50 ms ± 5 %, with room for a loaded machine; a hanging check takes 20 s.
    assert!(clock::now() - first.at < PATIENT / 4, "{:?}", clock::now() - first.at);
}

#[test]
fn a_probe_that_waits_for_its_turn_says_so() {
    let mut bench = Bench::new(8);
    let hanging = (0..2 * RUNNING).map(|number| (CheckName::from(&*format!("{number}")), sh("sleep 1000")));
    let checks: Table<_, _> = hanging.map(|(name, kind)| (name, Arc::new(quick(kind)))).collect();
    bench.set_all(checks.clone());
    let CheckNews::Waits(name, definition) = bench.news() else { panic!("no result can be there") };
    assert_eq!(checks[&name], definition);
}

#[test]
fn i4_a_check_that_panics_begins_anew_and_others_go_on() {
    static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);
    let address = server(|stream| {
        CONNECTIONS.fetch_add(1, Ordering::SeqCst);
        wait_for_close(stream);
    });
    let mut bench = Bench::new(8);
    // No configuration can have these: the time of the second probe overflows.
    let (interval, rise) = (Duration::MAX, NonZeroU32::new(2).unwrap());
    let forever = Check { interval, fast_interval: interval, rise, ..quick(tcp(address)) };
    bench.set([("panics", &forever), ("fine", &quick(tcp(listening())))]);
    while CONNECTIONS.load(Ordering::SeqCst) < 2 {
        assert_eq!(bench.next().check.as_str(), "fine");
    }
}

#[test]
fn i4_a_file_system_that_hangs_stops_no_other_check_and_not_the_end() {
    use crate::check::kinds::file::FileCheck;
    use crate::check::kinds::file::FileWanted;
    use crate::check::kinds::process::ProcessCheck;
    use crate::check::kinds::process::WhichProcess;
    use crate::check::kinds::systemd::SystemdCheck;
    use crate::check::target::Dial;
    use crate::check::tls::TlsOptions;

    let Some(dead) = DeadMount::new("runner") else { return };
    let short = |kind| Check { timeout: SHORT, ..quick(kind) };
    let unix = |name: &str, kind: Question| {
        let mut http: HttpCheck = definition_of(&kind);
        http.dial = Dial { unix: Some(dead.join(name).display().to_string()), ..Dial::PLAIN };
        short(asked(http))
    };
    let pinned = TlsOptions { ca_file: Some(dead.join("ca.pem")), ..TlsOptions::default() };
    let file = FileCheck { path: dead.join("file"), wanted: FileWanted::Absent };
    let process = ProcessCheck { process: WhichProcess::File(dead.join("pid")), name: None };
    let systemd = SystemdCheck { unit: "web.service".into(), bus: Some(dead.join("bus")) };
    let mut exec: ExecCheck = definition_of(&sh("true"));
    exec.command = vec![dead.join("program").display().to_string()];
    let mut bench = Bench::new(64);
    bench.set([
        ("ca", &short(http(listening(), "web", Some(pinned)))),
        ("exec", &short(asked(exec))),
        ("file", &short(asked(file))),
        ("process", &short(asked(process))),
        ("systemd", &short(asked(systemd))),
        ("unix", &unix("socket", http(closed_port(), "web", None))),
        ("up", &quick(tcp(listening()))),
    ]);
    let mut said = BTreeMap::new();
    let mut passed = 0;
    while said.len() < 6 || passed < 20 {
        let report = bench.next();
        if report.check.as_str() == "up" {
            assert_eq!(report.state, HealthState::Up);
            passed += 1;
        } else {
            said.entry(report.check.to_string()).or_insert(report.outcome.detail);
        }
    }
    let socket = dead.join("socket");
    let expected = [
        ("ca", "certificate files not read within 200 ms".to_owned()),
        ("exec", "the program did not start within 200 ms".to_owned()),
        ("file", "the file system did not answer within 200 ms".to_owned()),
        ("process", "the file system did not answer within 200 ms".to_owned()),
        ("systemd", "no answer of systemd within 200 ms".to_owned()),
        ("unix", format!("{}: the file system did not answer within 200 ms", socket.display())),
    ];
    assert_eq!(said, expected.map(|(name, detail)| (name.to_owned(), detail)).into());
    let begin = clock::now();
    bench.runner.take().unwrap().shutdown();
    assert!(clock::now() - begin < PATIENT / 4, "{:?}", clock::now() - begin);
}

#[test]
fn the_end_waits_only_so_long_for_a_thread_that_hangs() {
    let (release, hold) = std::sync::mpsc::channel::<()>();
    let (ends, ended) = std::sync::mpsc::channel();
    let handle = thread::spawn(move || {
        let _dropped_at_the_end: std::sync::mpsc::Sender<()> = ends;
        hold.recv().unwrap();
    });
    let begin = clock::now();
    Thread { handle, ended }.end(SHORT);
    assert!(clock::now() - begin >= SHORT);
    release.send(()).unwrap();
}

#[test]
fn a_slow_receiver_gets_every_report_and_is_fair() {
    let mut bench = Bench::new(1);
    let (a, b) = (quick(tcp(listening())), quick(tcp(listening())));
    bench.set([("a", &a), ("b", &b)]);
    // Both checks are now held back: one report is in the channel, and nobody takes it for several of their intervals.
    let first = bench.next();
    eventually(|| if clock::now() - first.at > 5 * a.interval { Ok(()) } else { Err("too early".into()) });
    let names: Vec<_> = (0..10).map(|_| bench.next().check).collect();
    let of_a = names.iter().filter(|name| name.as_str() == "a").count();
    assert!((3..=7).contains(&of_a), "{names:?}");
}

#[test]
fn the_runner_ends_while_its_reports_are_not_taken() {
    let mut bench = Bench::new(1);
    bench.set([("a", &quick(tcp(listening()))), ("b", &quick(tcp(listening())))]);
    bench.next();
    bench.runner.take().unwrap().shutdown();
    let rest = async { while bench.reports.recv().await.is_some() {} };
    bench.receiving.block_on(async { tokio::time::timeout(PATIENT, rest).await.expect("a sender is left") });
}

#[test]
fn nobody_is_probed_when_nobody_listens() {
    let bench = Bench::new(1);
    let (asked, asks) = std::sync::mpsc::channel();
    let address = server(move |stream| {
        wait_for_close(stream);
        asked.send(()).unwrap();
    });
    let Bench { runner, reports, .. } = bench;
    drop(reports);
    let runner = runner.unwrap();
    runner.set(Table::from_iter([("web".into(), Arc::new(quick(tcp(address))))]), &Table::default());
    asks.recv_timeout(PATIENT).unwrap();
    drop(runner);
    assert!(asks.try_recv().is_err(), "asked again");
}

/// Descriptors of this process that may not be there afterwards.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn threads_named(name: &str) -> usize {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    threads
        .filter(|thread| {
            let path = thread.as_ref().unwrap().path().join("comm");
            fs::read_to_string(path).is_ok_and(|comm| comm.trim() == name)
        })
        .count()
}

#[test]
fn i5_descriptors_threads_and_children_come_back() {
    // Other tests open and close descriptors meanwhile, so this one runs in a process of its own.
    const ALONE: &str = "VIPCAST_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "check::runner::tests::i5_descriptors_threads_and_children_come_back";
        let mut again = Command::new(std::env::current_exe().unwrap());
        let output = again.args(["--exact", name]).env(ALONE, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let (silent, fine) = (listening(), server(|stream| answer(stream, "HTTP/1.1 200 OK\r\n\r\n")));
    // The signal handling of tokio keeps a pair of descriptors for ever.
    let one_round = || {
        let mut bench = Bench::new(8);
        let short = |kind| Check { timeout: SHORT, ..quick(kind) };
        bench.set([
            ("silent", &short(http(silent, "web", None))),
            ("fine", &short(http(fine, "web", None))),
            ("refused", &short(tcp(closed_port()))),
            ("program", &short(sh("exit 1"))),
            ("hanging", &short(sh("trap '' TERM; sleep 1000"))),
        ]);
        for _ in 0..2 {
            bench.next_of("silent");
            bench.next_of("hanging");
        }
        bench.runner.take().unwrap().shutdown();
    };
    one_round();
    let before = eventually(|| {
        let now = descriptors();
        // The server's threads of this test close their ends a little later.
        std::thread::sleep(Duration::from_millis(50));
        if now == descriptors() { Ok(now) } else { Err(format!("{now} descriptors")) }
    });
    one_round();
    eventually(|| match descriptors() {
        now if now <= before => Ok(()),
        now => Err(format!("{now} descriptors instead of {before}")),
    });
    eventually(|| match threads_named("probes") {
        0 => Ok(()),
        threads => Err(format!("{threads} threads")),
    });
    assert_eq!(nix::sys::wait::wait(), Err(nix::errno::Errno::ECHILD), "a child or a zombie is left");
}

#[test]
fn the_first_probes_are_spread_as_far_as_their_number_asks_for() {
    assert_eq!(spread(0), Duration::ZERO);
    assert_eq!(spread(1), Duration::ZERO);
    assert_eq!(spread(101), Duration::from_millis(100));
    assert_eq!(spread(1_000_000), Duration::from_secs(1));
}

/// A panic in a task is a bug; the operator hears of it, and the check goes on.
#[test]
fn a_check_whose_task_panics_is_told_of_and_begins_anew() {
    let runtime = runtime().unwrap();
    let (name, words) = runtime.block_on(async {
        let (reports, mut news) = mpsc::channel(1);
        let mut checks = CheckTasks {
            shared: Arc::new(Shared::new().0),
            teller: Teller::new(reports, Latest::default(), Tally::default()),
            lateness: Arc::default(),
            seeds: RandomState::new(),
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            frozen: Frozen::new(),
            freezes: watch::Sender::new(false),
        };
        let definition = Arc::new(check(tcp(closed_port()), SHORT));
        let task = checks.tasks.spawn(async { panic!("planted by a test") });
        let planted = task.id();
        checks.running.insert("web".into(), Running { definition, task });
        let ended = checks.tasks.join_next_with_id().await.unwrap();
        checks.ended(ended);
        assert_ne!(checks.running[&CheckName::from("web")].task.id(), planted, "another task has it");
        let first = tokio::time::timeout(PATIENT, news.recv()).await.expect("no news").unwrap();
        let CheckNews::Panicked(name, words) = first else { panic!("{first:?}") };
        (name, words)
    });
    assert_eq!(name.as_str(), "web");
    assert!(words.ends_with("panicked with message \"planted by a test\""), "{words}");
}
