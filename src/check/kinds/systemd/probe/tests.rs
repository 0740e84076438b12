use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use futures_util::FutureExt as _;

use super::*;
use crate::check::probe::Prober;
use crate::check::probe::tests::{PATIENT, SHORT, asked, check, eventually};
use crate::check::shared::Shared;
use crate::dbus::tests::TOLD as RELOADING_BEGINS;
use crate::dbus::wire::{MethodCall, call, decode};

const UNIT: &str = "web@1.service";
const OBJECT: &str = "/org/freedesktop/systemd1/unit/web_401_2eservice";

fn state(load: &str, active: &str, sub: &str, result: &str) -> UnitState {
    let [load, active, sub, result] = [load, active, sub, result].map(String::from);
    UnitState { load, active, sub, result }
}

#[test]
fn every_state_of_a_unit_has_its_words() {
    let table = [
        (state("loaded", "active", "running", "success"), Ok("active (running)")),
        (state("loaded", "active", "exited", "success"), Ok("active (exited)")),
        (state("loaded", "reloading", "reload", "success"), Ok("reloading (reload)")),
        // The unit file was removed, or masked, under a service that runs.
        (state("not-found", "active", "running", "success"), Ok("active (running)")),
        (state("masked", "active", "running", "success"), Ok("active (running)")),
        (state("loaded", "inactive", "dead", "success"), Err("inactive (dead)")),
        (state("loaded", "failed", "failed", "signal"), Err("failed (Result=signal)")),
        (state("loaded", "failed", "failed", ""), Err("failed (failed)")),
        (state("loaded", "activating", "auto-restart", "exit-code"), Err("activating (auto-restart)")),
        (state("loaded", "deactivating", "stop-sigterm", "success"), Err("deactivating (stop-sigterm)")),
        (state("loaded", "maintenance", "cleaning", "success"), Err("maintenance (cleaning)")),
        (state("not-found", "inactive", "dead", ""), Err("no such unit")),
        (state("not-found", "", "", ""), Err("no such unit")),
        (state("masked", "inactive", "dead", ""), Err("masked")),
        (state("bad-setting", "inactive", "dead", ""), Err("the unit file cannot be read (bad-setting)")),
    ];
    for (state, expected) in table {
        let expected =
            expected.map(|text| format!("x.service: {text}")).map_err(|text| format!("x.service: {text}"));
        assert_eq!(judge("x.service", &state), expected, "{state:?}");
    }
}

#[test]
fn units_are_objects_by_their_escaped_names() {
    assert_eq!(path_of(UNIT), OBJECT);
    assert_eq!(path_of("0a-b.mount"), "/org/freedesktop/systemd1/unit/_30a_2db_2emount");
}

/// A systemd that says what it is told to.
struct Fake {
    path: PathBuf,
    /// What the unit is from now on; nothing: no more answers.
    say: Arc<Mutex<Option<UnitState>>>,
    connections: Receiver<UnixStream>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

impl Fake {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vipcast-systemd-{}-{name}", std::process::id()));
        drop(std::fs::remove_file(&path));
        let listener = UnixListener::bind(&path).unwrap();
        let say = Arc::new(Mutex::new(Some(state("loaded", "active", "running", "success"))));
        let (opened, connections) = channel();
        let for_all = Arc::clone(&say);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, say, opened) = (stream.unwrap(), Arc::clone(&for_all), opened.clone());
                thread::spawn(move || talk(stream, &say, &opened));
            }
        });
        Self { path, say, connections }
    }

    fn say(&self, state: Option<UnitState>) {
        *self.say.lock().unwrap() = state;
    }

    fn prober(&self, timeout: Duration) -> Prober {
        let kind = asked(SystemdCheck { unit: UNIT.into(), bus: Some(self.path.clone()) });
        Prober::new("web".into(), Arc::new(check(kind, timeout)), Shared::new().0)
    }
}

/// Lets the client in as systemd itself does, with no bus, and answers its questions.
fn talk(mut stream: UnixStream, say: &Mutex<Option<UnitState>>, opened: &Sender<UnixStream>) {
    let (mut received, mut is_in) = (Vec::new(), false);
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        received.extend_from_slice(&buffer[..length]);
        if !is_in {
            stream.write_all(b"OK 0123456789abcdef\r\n").unwrap();
            let Some(end) = received.windows(7).position(|octets| octets == b"BEGIN\r\n") else {
                panic!("BEGIN comes along");
            };
            is_in = true;
            received.drain(..end + 7);
            // Only the test wants to hear of it.
            drop(opened.send(stream.try_clone().unwrap()));
        }
        while let Some((_, length)) = decode(&received).unwrap() {
            let message: Vec<u8> = received.drain(..length).collect();
            let serial = message[8..12].try_into().unwrap();
            let says = |word: &str| message.windows(word.len()).any(|octets| octets == word.as_bytes());
            let state = say.lock().unwrap().clone();
            let answer = if says("Hello") {
                failed(serial, "org.freedesktop.DBus.Error.UnknownObject")
            } else if let (true, Some(state)) = (says("Get"), state) {
                assert!(says(OBJECT));
                if state.active == "secret" {
                    failed(serial, "org.freedesktop.DBus.Error.AccessDenied")
                } else if says("LoadState") {
                    returned(serial, &state.load)
                } else if says("ActiveState") {
                    returned(serial, &state.active)
                } else if says("SubState") {
                    returned(serial, &state.sub)
                } else if says("Result") {
                    returned(serial, &state.result)
                } else {
                    returned(serial, UNIT)
                }
            } else {
                continue;
            };
            // A client that has gone does not wait.
            drop(stream.write_all(&answer));
        }
    }
}

/// The answer to a call: a variant with a text.
fn returned(serial: [u8; 4], text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap();
    let mut bytes = vec![b'l', 2, 1, 1];
    bytes.extend((length + 9).to_le_bytes());
    bytes.extend([1, 0, 0, 0, 15, 0, 0, 0, 5, 1, b'u', 0]);
    bytes.extend(serial);
    bytes.extend([8, 1, b'g', 0, 1, b'v', 0, 0, 1, b's', 0, 0]);
    bytes.extend(length.to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.push(0);
    bytes
}

fn failed(serial: [u8; 4], name: &str) -> Vec<u8> {
    let length = u32::try_from(name.len()).unwrap();
    let mut bytes = vec![b'l', 3, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0];
    bytes.extend((17 + length).to_le_bytes());
    bytes.extend([5, 1, b'u', 0]);
    bytes.extend(serial);
    bytes.extend([4, 1, b's', 0]);
    bytes.extend(length.to_le_bytes());
    bytes.extend(name.as_bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn signal(path: &str, interface: &str, member: &str, texts: &[&str]) -> Vec<u8> {
    let mut bytes = call(1, &MethodCall { destination: None, path, interface, member }, texts);
    bytes[1] = 4;
    bytes
}

#[tokio::test]
async fn changes_of_the_unit_are_told_and_of_others_are_not() {
    const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
    const MANAGER: &str = "org.freedesktop.systemd1.Manager";
    let fake = Fake::new("told");
    let mut prober = fake.prober(PATIENT);
    assert_eq!(prober.probe().await.detail, "web@1.service: active (running)");
    let mut stream = fake.connections.recv_timeout(PATIENT).unwrap();
    stream
        .write_all(&signal("/org/freedesktop/systemd1/unit/x", PROPERTIES, "PropertiesChanged", &["i"]))
        .unwrap();
    // Answers come behind what was told before.
    assert!(prober.probe().await.passed);
    assert!(prober.changed().now_or_never().is_none());
    fake.say(Some(state("loaded", "failed", "failed", "signal")));
    stream.write_all(&signal(OBJECT, PROPERTIES, "PropertiesChanged", &["i"])).unwrap();
    tokio::time::timeout(PATIENT, prober.changed()).await.expect("not told");
    assert_eq!(prober.probe().await.detail, "web@1.service: failed (Result=signal)");
    stream.write_all(&signal("/org/freedesktop/systemd1", MANAGER, "UnitNew", &[UNIT, OBJECT])).unwrap();
    tokio::time::timeout(PATIENT, prober.changed()).await.expect("not told of the new unit");
    fake.say(Some(state("loaded", "secret", "", "")));
    assert_eq!(prober.probe().await.detail, "systemd may not be asked: access denied");
}

#[tokio::test]
async fn i5_a_silent_systemd_is_no_answer_in_time() {
    let fake = Fake::new("silent");
    let mut prober = fake.prober(SHORT);
    assert!(prober.probe().await.passed);
    fake.say(None);
    for _ in 0..2 {
        let outcome = prober.probe().await;
        assert_eq!((outcome.passed, outcome.detail.as_str()), (false, "no answer of systemd within 200 ms"));
    }
    fake.say(Some(state("loaded", "active", "running", "success")));
    assert!(prober.probe().await.passed);
    drop(prober);
    // The connection goes with the last check.
    let mut stream = fake.connections.recv_timeout(PATIENT).unwrap();
    tokio::task::yield_now().await;
    eventually(|| stream.write_all(&[0]).map_or(Ok(()), |()| Err("still open".into())));
}

#[tokio::test]
async fn a_unit_that_was_active_stays_so_while_systemd_is_reloading() {
    let fake = Fake::new("reloading");
    let mut prober = fake.prober(SHORT);
    let reloading = |fake: &Fake, prober: Prober| {
        let mut stream = fake.connections.recv_timeout(PATIENT).unwrap();
        stream.write_all(RELOADING_BEGINS).unwrap();
        fake.say(None);
        (prober, stream)
    };
    assert!(prober.probe().await.passed);
    let (mut prober, stream) = reloading(&fake, prober);
    let outcome = prober.probe().await;
    assert_eq!(
        (outcome.passed, outcome.detail.as_str()),
        (true, "web@1.service was active; systemd is reloading")
    );
    // It executes itself anew: the connection ends, the next one is asked, and what was is over.
    fake.say(Some(state("loaded", "failed", "failed", "exit-code")));
    stream.shutdown(std::net::Shutdown::Both).unwrap();
    tokio::time::timeout(PATIENT, prober.changed()).await.expect("not told that the connection has ended");
    assert_eq!(prober.probe().await.detail, "web@1.service: failed (Result=exit-code)");
    // What was not active before is not taken to be so now.
    let (mut prober, _stream) = reloading(&fake, prober);
    assert_eq!(prober.probe().await.detail, "no answer of systemd within 200 ms");
}

#[tokio::test]
async fn a_systemd_that_is_not_there_is_told_with_the_way_to_it() {
    let fake = Fake::new("missing");
    std::fs::remove_file(&fake.path).unwrap();
    let outcome = fake.prober(SHORT).probe().await;
    let expected = format!(
        "cannot reach systemd at {}: there is no such socket; is systemd running?",
        fake.path.display()
    );
    assert_eq!((outcome.passed, outcome.detail), (false, expected));
}
