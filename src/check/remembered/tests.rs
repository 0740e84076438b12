use std::sync::Condvar;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::check::file_reader::READS;
use crate::check::probe::tests::{PATIENT, SHORT, eventually};

/// A host that hangs until it is released.
#[derive(Debug, Clone, Default)]
struct Host(Arc<(Mutex<bool>, Condvar, AtomicUsize)>);

impl Host {
    fn hang(&self) {
        self.0.2.fetch_add(1, Ordering::SeqCst);
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |released| !*released).unwrap());
    }

    fn release(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn asked(&self) -> usize {
        self.0.2.load(Ordering::SeqCst)
    }
}

fn patient() -> Limit {
    Limit::starting_now(PATIENT)
}

/// A load that hangs on `host`.
fn hanging(host: &Host, then: u32) -> impl FnOnce() -> Result<u32, LoadFailure> + Send + 'static {
    let host = host.clone();
    move || {
        host.hang();
        Ok(then)
    }
}

#[tokio::test]
async fn i4_a_load_that_hangs_is_shared_and_keeps_no_other_service_waiting() {
    let (host, file_reader) = (Host::default(), FileReader::default());
    let bad: Vec<Remembered<u32>> = (0..2 * READS.of_one).map(|_| Remembered::default()).collect();
    for _ in 0..2 {
        for one in &bad {
            let asked = one.get(&file_reader, "bad", patient(), hanging(&host, 1));
            assert!(tokio::time::timeout(Duration::from_millis(1), asked).await.is_err());
        }
    }
    let good = Remembered::default().get(&file_reader, "good", patient(), || Ok(2)).await.unwrap();
    assert_eq!((*good.what, good.stale), (2, None));
    let asked = || if host.asked() == READS.of_one { Ok(()) } else { Err(host.asked().to_string()) };
    eventually(asked);
    host.release();
    for one in &bad {
        let found = one.get(&file_reader, "bad", patient(), || Ok(1)).await.unwrap();
        assert_eq!((*found.what, found.stale), (1, None));
    }
    assert_eq!(host.asked(), READS.of_one, "who gave up while it waited for its turn began nothing");
}

#[tokio::test]
async fn the_last_one_is_used_until_a_new_one_is_there() {
    let (host, file_reader) = (Host::default(), FileReader::default());
    let one = Remembered::<u32>::default();
    assert_eq!(*one.get(&file_reader, "web", patient(), || Ok(1)).await.unwrap().what, 1);
    one.renew(PATIENT);
    let same = one.get(&file_reader, "web", patient(), || Ok(2)).await.unwrap();
    assert_eq!((*same.what, same.stale), (1, None), "it is not old enough");
    one.renew(Duration::ZERO);
    let unread = || Err(LoadFailure::NoAnswer("cannot read it".into()));
    for _ in 0..2 {
        let found = one.get(&file_reader, "web", patient(), unread).await.unwrap();
        assert_eq!((*found.what, found.stale.as_deref()), (1, Some("cannot read it")));
    }
    for _ in 0..3 {
        let limit = Limit::starting_now(SHORT);
        let found =
            limit.within(one.get(&file_reader, "web", limit, hanging(&host, 2))).await.unwrap().unwrap();
        assert_eq!((*found.what, found.stale.as_deref()), (1, Some("the host does not answer")));
    }
    host.release();
    let mut coming = one.state().load.as_ref().unwrap().result.clone();
    coming.wait_for(Option::is_some).await.unwrap();
    let found = one.get(&file_reader, "web", patient(), || Ok(3)).await.unwrap();
    assert_eq!((*found.what, found.stale, host.asked()), (2, None, 1));
    one.renew(Duration::ZERO);
    let gone = || Err(LoadFailure::Gone("there is none".into()));
    assert_eq!(one.get(&file_reader, "web", patient(), gone).await.unwrap_err(), "there is none");
    let unread = one.get(&file_reader, "web", patient(), unread).await;
    assert_eq!(unread.unwrap_err(), "cannot read it", "what is gone is used no more");
}

#[tokio::test]
async fn a_load_that_panics_is_a_failure_and_not_the_last() {
    let (file_reader, one) = (FileReader::default(), Remembered::<u32>::default());
    let panicked = one.get(&file_reader, "web", patient(), || panic!("no luck")).await;
    assert_eq!(panicked.unwrap_err(), "reading it panicked");
    assert_eq!(*one.get(&file_reader, "web", patient(), || Ok(1)).await.unwrap().what, 1);
}
