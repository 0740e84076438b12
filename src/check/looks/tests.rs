use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::*;
use crate::check::probe::tests::{PATIENT, SHORT};

#[tokio::test]
async fn i5_a_file_system_that_hangs_takes_a_thread_for_each_check_and_only_a_few_in_all() {
    static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
    let looks = Looks(Arc::new(Semaphore::new(2)));
    let ask = async |path: &'static str, time: Duration, last: &LastLook| {
        let look = move || {
            if path.starts_with("/nfs") {
                drop(GATE.1.wait_while(GATE.0.lock().unwrap(), |open| !*open).unwrap());
            }
            "seen"
        };
        looks.at(Path::new(path), last, Limit::starting_now(time), look).await
    };
    let last: [LastLook; 4] = Default::default();
    assert_eq!(
        ask("/nfs/a", SHORT, &last[0]).await.unwrap_err(),
        "the file system did not answer within 200 ms"
    );
    assert_eq!(
        ask("/nfs/a", PATIENT, &last[0]).await.unwrap_err(),
        "the last look at /nfs/a has not come back: the file system hangs"
    );
    assert_eq!(ask("/etc/local", SHORT, &last[3]).await.unwrap(), "seen");
    ask("/nfs/b", SHORT, &last[1]).await.unwrap_err();
    assert_eq!(
        ask("/etc/local", SHORT, &last[2]).await.unwrap_err(),
        format!("{LOOKS} other files hang, and none came back within 200 ms")
    );
    *GATE.0.lock().unwrap() = true;
    GATE.1.notify_all();
    let all = looks.0.acquire_many(2);
    drop(tokio::time::timeout(PATIENT, all).await.unwrap().unwrap());
    for (path, last) in ["/nfs/a", "/nfs/b", "/etc/local"].into_iter().zip(&last) {
        assert_eq!(ask(path, PATIENT, last).await.unwrap(), "seen");
    }
}

#[tokio::test]
async fn i4_a_look_that_panics_fails_that_check_alone_and_frees_its_place() {
    let (looks, last) = (Looks::default(), LastLook::default());
    let path = Path::new("/etc/hosts");
    let panicked = looks.at(path, &last, Limit::starting_now(PATIENT), || panic!("no luck")).await;
    assert_eq!(panicked.map(|()| "seen").unwrap_err(), "looking at /etc/hosts panicked");
    assert_eq!(looks.at(path, &last, Limit::starting_now(PATIENT), || "seen").await.unwrap(), "seen");
    assert_eq!(looks.0.available_permits(), LOOKS);
}
