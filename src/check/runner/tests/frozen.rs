//! Freeze and thaw of a runner with its checks.

use super::*;

/// Freezes, while reports are taken.
fn frozen(bench: &mut Bench) -> (Frozen, Vec<CheckNews>) {
    let mut runner = bench.runner.take().unwrap();
    let mut heard = Vec::new();
    let reports = &mut bench.reports;
    let frozen = bench.receiving.block_on(async {
        let mut freezing = pin!(runner.freeze());
        loop {
            tokio::select! {
                frozen = &mut freezing => return frozen.unwrap(),
                Some(news) = reports.recv() => heard.push(news),
            }
        }
    });
    // What was sent before the last check ended.
    heard.extend(std::iter::from_fn(|| reports.try_recv().ok()));
    // As the next program reads it.
    let read = |health| serde_json::from_str(&serde_json::to_string(health).unwrap()).unwrap();
    let frozen = frozen.iter().map(|(name, health)| (name.clone(), read(health))).collect();
    drop(runner);
    (frozen, heard)
}

#[test]
fn after_a_hand_over_each_check_goes_on_at_its_time_and_nothing_is_told_twice() {
    static PROBES: AtomicUsize = AtomicUsize::new(0);
    let address = server(|stream| {
        PROBES.fetch_add(1, Ordering::SeqCst);
        answer(stream, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    });
    let mut bench = Bench::new(1);
    let slow = Check { interval: Duration::from_secs(3600), ..quick(http(address, "web", None)) };
    bench.set([("slow", &slow), ("changed", &slow), ("third", &slow)]);
    let tally = bench.runner.as_ref().unwrap().tally().clone();
    // A probe under way would be dropped: each has ended, and its report is told or waits for room.
    eventually(|| match tally.all().len() {
        3 => Ok(()),
        few => Err(format!("{few} results")),
    });
    let (health, heard) = frozen(&mut bench);
    assert_eq!(health.len(), 3);
    let down =
        |news: &&CheckNews| matches!(news, CheckNews::Report(report) if report.state == HealthState::Down);
    let down = heard.iter().filter(down).count();
    assert_eq!(down, 3, "a check that waits for room hands its report over first: {heard:?}");
    let frozen_at = clock::now();
    let (tell, reports) = mpsc::channel(8);
    bench.reports = reports;
    let of = |name: &str| (name.to_owned(), (7, frozen_at));
    let results = Results { probes: 9, latest: [of("slow"), of("gone")].into() };
    let mut damaged = results.clone();
    damaged.latest.insert("slow-too".to_owned(), (7, frozen_at + Duration::from_secs(3600)));
    bench.runner =
        Some(Runner::thaw(tell, Here::default(), health.clone(), Tally::default(), damaged).unwrap());
    assert_eq!(bench.runner.as_ref().unwrap().results(), results);
    let changed = Check { fall: NonZeroU32::new(2).unwrap(), ..slow.clone() };
    bench.set([("slow", &slow), ("changed", &changed), ("third", &slow)]);
    let report = loop {
        let CheckNews::Report(report) = bench.news() else { continue };
        assert_eq!(report.check.as_str(), "changed", "no other is due");
        if report.state == HealthState::Down {
            break report;
        }
    };
    assert!(report.since > frozen_at, "another definition begins anew");
    let results = bench.runner.as_ref().unwrap().results();
    assert_eq!(results.latest, [of("slow")].into(), "a check that is gone has no numbers");
    assert!(results.probes >= 9, "{results:?}");
    assert_eq!(PROBES.load(Ordering::SeqCst), 3 + 2);
    let (again, _) = frozen(&mut bench);
    for name in ["slow", "third"].map(CheckName::from) {
        assert_eq!(again[&name], health[&name]);
    }
}

#[test]
fn after_a_hand_over_that_is_given_up_each_check_goes_on_at_its_time() {
    static PROBES: AtomicUsize = AtomicUsize::new(0);
    let address = server(|stream| {
        PROBES.fetch_add(1, Ordering::SeqCst);
        answer(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let mut bench = Bench::new(8);
    let slow = Check { interval: Duration::from_secs(3600), ..quick(http(address, "web", None)) };
    bench.set([("slow", &slow)]);
    while bench.next().state != HealthState::Up {}
    let probes = PROBES.load(Ordering::SeqCst);
    let mut runner = bench.runner.take().unwrap();
    let first = bench.receiving.block_on(runner.freeze()).unwrap();
    // A set meanwhile does not end the freeze.
    runner.set([("slow".into(), Arc::new(slow.clone()))].into_iter().collect(), &Table::default());
    runner.go_on();
    // One that nobody waited for does not answer for the next.
    drop(runner.freeze());
    runner.go_on();
    let again = bench.receiving.block_on(runner.freeze()).unwrap();
    assert_eq!(again, first);
    assert_eq!(PROBES.load(Ordering::SeqCst), probes, "it is not due");
    runner.go_on();
    bench.runner = Some(runner);
    let quick = Check { interval: Duration::from_millis(5), ..slow };
    bench.set([("slow", &quick)]);
    eventually(|| match PROBES.load(Ordering::SeqCst) {
        more if more > probes + 2 => Ok(()),
        few => Err(format!("{few} probes")),
    });
}

#[test]
fn a_program_that_runs_is_killed_at_a_hand_over_and_run_anew_by_the_next_one() {
    let directory = std::env::temp_dir().join(format!("vipcast-runner-frozen-{}", std::process::id()));
    drop(fs::remove_dir_all(&directory));
    fs::create_dir(&directory).unwrap();
    let pids = directory.join("pids");
    let mut bench = Bench::new(8);
    let hangs = quick(sh(&format!("echo $$ >> {}; exec sleep 1000", pids.display())));
    bench.set([("exec", &hangs)]);
    let all = || fs::read_to_string(&pids).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    eventually(|| if all().len() == 1 { Ok(()) } else { Err("it does not run".to_owned()) });
    let (health, _) = frozen(&mut bench);
    let stat = fs::read_to_string(format!("/proc/{}/stat", all()[0])).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    let (tell, reports) = mpsc::channel(8);
    bench.reports = reports;
    bench.runner =
        Some(Runner::thaw(tell, Here::default(), health, Tally::default(), Results::default()).unwrap());
    bench.set([("exec", &hangs)]);
    eventually(|| if all().len() == 2 { Ok(()) } else { Err("it does not run again".to_owned()) });
    drop(bench);
    fs::remove_dir_all(directory).unwrap();
}
