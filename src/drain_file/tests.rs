use super::*;

/// Longer than a busy machine takes, and far shorter than the look without an event.
const PATIENT: Duration = Duration::from_secs(10);

struct Bench {
    directory: PathBuf,
    told: mpsc::UnboundedReceiver<Input>,
    port: DrainFile,
}

impl Bench {
    /// `path` is below a directory of its own.
    fn new(name: &str, path: &str, prepare: impl FnOnce(&Path)) -> Self {
        let directory = std::env::temp_dir().join(format!("vipcast-drain-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        prepare(&directory);
        let (tell, told) = mpsc::unbounded_channel();
        let port = DrainFile::start(tell, Some(&directory.join(path)));
        Self { directory, told, port }
    }

    /// The next report: the reason, or `None` for no drain.
    async fn next(&mut self) -> Option<Option<String>> {
        let input = tokio::time::timeout(PATIENT, self.told.recv()).await.expect("a report").unwrap();
        reason(&input)
    }

    async fn first(&mut self) -> Option<Option<String>> {
        reason(&self.port.at_start().await.expect("the state at the start"))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.directory).ok();
    }
}

fn reason(input: &Input) -> Option<Option<String>> {
    let Input::Cordon(Cordon::File, order) = input else { panic!("{input:?}") };
    order.as_ref().map(|order| order.reason.clone())
}

fn because(reason: &str) -> Option<Option<String>> {
    Some(Some(reason.to_owned()))
}

#[tokio::test]
async fn a_file_that_comes_changes_and_goes_is_reported_by_events() {
    let mut bench = Bench::new("comes", "drain", |_| ());
    assert_eq!(bench.first().await, None);
    let path = bench.directory.join("drain");
    // Written elsewhere and renamed, as tools for configuration management do it.
    let new = bench.directory.join("new");
    fs::write(&new, "\u{a0}disk change, ticket 7 \nsecond line\n").unwrap();
    fs::rename(&new, &path).unwrap();
    assert_eq!(bench.next().await, because("disk change, ticket 7"));
    fs::write(&new, "fan").unwrap();
    fs::rename(&new, &path).unwrap();
    assert_eq!(bench.next().await, because("fan"));
    fs::write(bench.directory.join("other"), "").unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(bench.next().await, None);
}

#[tokio::test]
async fn a_file_that_is_there_at_the_start_counts_before_anything_else() {
    let mut bench = Bench::new("start", "drain", |at| fs::write(at.join("drain"), "").unwrap());
    assert_eq!(bench.first().await, Some(None), "an empty file has no reason");
    bench.port.set(None);
    assert_eq!(bench.next().await, None, "a reload without the key lifts its drain");
}

#[tokio::test]
async fn directories_that_come_later_and_go_again_are_followed() {
    let mut bench = Bench::new("later", "a/b/drain", |_| ());
    assert_eq!(bench.first().await, None);
    fs::create_dir_all(bench.directory.join("a/b")).unwrap();
    fs::write(bench.directory.join("a/b/drain"), "").unwrap();
    assert_eq!(bench.next().await, Some(None));
    fs::remove_dir_all(bench.directory.join("a")).unwrap();
    assert_eq!(bench.next().await, None);
}

#[tokio::test]
async fn after_a_reload_only_the_new_file_counts() {
    let mut bench = Bench::new("reload", "old", |at| fs::write(at.join("old"), "old").unwrap());
    assert_eq!(bench.first().await, because("old"));
    let new = bench.directory.join("new");
    bench.port.set(Some(&new));
    assert_eq!(bench.next().await, None);
    fs::write(bench.directory.join("old"), "older").unwrap();
    fs::create_dir(&new).unwrap();
    assert_eq!(bench.next().await, Some(None), "a directory drains, too");
    bench.port.set(Some(&new));
    assert!(bench.told.is_empty(), "an unchanged key changes nothing");
}

#[tokio::test]
async fn a_mount_that_hangs_stops_neither_the_start_nor_a_reload() {
    let Some(dead) = crate::check::dead_mount::DeadMount::new("drain") else { return };
    let mut bench = Bench::new("hangs", "drain", |_| ());
    assert_eq!(bench.first().await, None);
    // A thread that waits in the kernel is left alone.
    for name in ["drain", "other"] {
        bench.port.set(Some(&dead.join(name)));
    }
    fs::write(bench.directory.join("drain"), "awake").unwrap();
    bench.port.set(Some(&bench.directory.join("drain")));
    assert_eq!(bench.next().await, because("awake"));
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut late = DrainFile::start(tell, Some(&dead.join("drain")));
    assert!(late.at_start().await.is_none(), "nobody knows");
    assert!(told.try_recv().is_err());
}

#[test]
fn a_long_first_line_is_cut_and_a_binary_one_does_no_harm() {
    let path = std::env::temp_dir().join(format!("vipcast-drain-{}-line", std::process::id()));
    let order = |content: &[u8]| {
        fs::write(&path, content).unwrap();
        look(&path).unwrap().unwrap()
    };
    let long = "é".repeat(10 * LONGEST_WORDS);
    assert_eq!(order(long.as_bytes()).reason, Some("é".repeat(LONGEST_WORDS)));
    assert_eq!(order(b"\xff\x00 x").reason, Some("\u{fffd}\0 x".to_owned()));
    assert_eq!(order(b"\n\nthird").reason, None);
    assert_eq!(order(b"x").by, path.display().to_string());
    fs::remove_file(&path).unwrap();
    assert_eq!(look(&path).unwrap(), None);
}

#[tokio::test]
async fn a_fifo_is_not_waited_for() {
    let mut bench = Bench::new("fifo", "drain", |at| {
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, at.join("drain"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    });
    assert_eq!(bench.first().await, Some(None));
}
