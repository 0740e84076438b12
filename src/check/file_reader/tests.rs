use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::*;
use crate::check::probe::tests::{PATIENT, SHORT};

/// What hangs until it is opened.
#[derive(Debug, Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn wait(&self) {
        drop(self.1.wait_while(self.0.lock().unwrap(), |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }
}

#[tokio::test]
async fn i4_file_systems_that_hang_take_a_few_threads_of_their_service_and_none_of_another() {
    let (gate, file_reader) = (Arc::new(Gate::default()), FileReader::default());
    let ask = async |owner: &str, path: &'static str, time: Duration, last: &LastRead| {
        let gate = Arc::clone(&gate);
        let look = move || {
            if path.starts_with("/nfs") {
                gate.wait();
            }
            "seen"
        };
        let reader = FileAccess { file_reader: &file_reader, last, owner };
        reader.at(Path::new(path), Limit::starting_now(time), look).await
    };
    let last: Vec<LastRead> = (0..=READS.of_one).map(|_| LastRead::default()).collect();
    assert_eq!(
        ask("bad", "/nfs/a", SHORT, &last[0]).await.unwrap_err(),
        "the file system did not answer within 200 ms"
    );
    assert_eq!(
        ask("bad", "/nfs/a", PATIENT, &last[0]).await.unwrap_err(),
        "the last look at /nfs/a has not come back: the file system hangs"
    );
    assert_eq!(ask("bad", "/etc/local", SHORT, &last[READS.of_one]).await.unwrap(), "seen");
    for last in &last[1..READS.of_one] {
        ask("bad", "/nfs/b", Duration::from_millis(1), last).await.unwrap_err();
    }
    assert_eq!(
        ask("bad", "/etc/local", SHORT, &last[READS.of_one]).await.unwrap_err(),
        "8 other files of this service hang, and none came back within 200 ms"
    );
    assert_eq!(ask("good", "/etc/local", PATIENT, &LastRead::default()).await.unwrap(), "seen");
    gate.open();
    for last in &last {
        drop(tokio::time::timeout(PATIENT, last.0.acquire()).await.unwrap().unwrap());
        assert_eq!(ask("bad", "/nfs/a", PATIENT, last).await.unwrap(), "seen");
    }
}

#[tokio::test]
async fn i4_a_look_that_panics_fails_that_check_alone_and_frees_its_place() {
    let (file_reader, last) = (FileReader::default(), LastRead::default());
    let reader = FileAccess { file_reader: &file_reader, last: &last, owner: "web" };
    let path = Path::new("/etc/hosts");
    let panicked = reader.at(path, Limit::starting_now(PATIENT), || panic!("no luck")).await;
    assert_eq!(panicked.map(|()| "seen").unwrap_err(), "looking at /etc/hosts panicked");
    assert_eq!(reader.at(path, Limit::starting_now(PATIENT), || "seen").await.unwrap(), "seen");
    assert_eq!(file_reader.0.running(), 0);
}
