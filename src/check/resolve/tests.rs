use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

use super::*;

const TIME: Duration = Duration::from_secs(10);

fn resolver(lookup: fn(&str) -> io::Result<Vec<IpAddr>>) -> Resolver {
    Resolver::new(lookup, Local::new("/no/such/file".into(), "/no/such/file".into()))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

async fn asked(resolver: &Resolver, name: &str) -> Result<Resolved, String> {
    resolver.addresses(name, "web", TIME).await.map_err(|cause| cause.to_string())
}

#[tokio::test]
async fn an_address_is_not_looked_up() {
    let resolver = resolver(|_| panic!("looked up"));
    for literal in ["192.0.2.1", "::1"] {
        let found = asked(&resolver, literal).await.unwrap();
        assert_eq!(found, Resolved { addresses: [address(literal)].into(), remark: None });
    }
}

#[tokio::test]
async fn failures_are_told_in_the_resolvers_words() {
    let unknown = resolver(|_| {
        Err(io::Error::other("failed to lookup address information: Name or service not known"))
    });
    assert_eq!(asked(&unknown, "nowhere").await, Err("Name or service not known".into()));
    assert_eq!(asked(&resolver(|_| Ok(vec![])), "nothing").await, Err("it has no address".into()));
}

#[tokio::test]
async fn localhost_is_known_whatever_the_resolver_says() {
    let addresses = Resolver::system().addresses("localhost", "web", TIME).await.unwrap().addresses;
    assert!(addresses.iter().all(IpAddr::is_loopback), "{addresses:?}");
    let none = resolver(|_| Err(io::Error::other("Temporary failure in name resolution")));
    assert_eq!(*asked(&none, "localhost").await.unwrap().addresses, LOCAL);
    const LOCAL: [IpAddr; 2] = local::LOCALHOST;
}

const OF_ONE: usize = super::LOOKUPS.of_one;
/// Names that begin with `stuck` hang until the gate is open.
static LOOKUPS: AtomicUsize = AtomicUsize::new(0);
static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

fn gated(name: &str) -> io::Result<Vec<IpAddr>> {
    if name.starts_with("stuck") {
        LOOKUPS.fetch_add(1, Ordering::SeqCst);
        drop(GATE.1.wait_while(GATE.0.lock().unwrap(), |open| !*open).unwrap());
    }
    Ok(vec![IpAddr::from([192, 0, 2, 1])])
}

#[tokio::test]
async fn i4_names_of_one_service_that_hang_hold_a_thread_each_and_never_those_of_another() {
    let resolver = resolver(gated);
    let impatient = |name: String, owner: &'static str| {
        let resolver = resolver.clone();
        async move {
            let asking = resolver.addresses(&name, owner, TIME);
            tokio::time::timeout(Duration::from_millis(1), asking).await
        }
    };
    for round in 0..3 {
        for name in 0..2 * OF_ONE {
            let asked = impatient(format!("stuck-{name}"), "bad").await;
            assert!(asked.is_err(), "the gate is closed, in round {round}");
        }
    }
    assert!(resolver.addresses("fine", "good", TIME).await.is_ok());
    assert!(resolver.addresses("localhost", "bad", TIME).await.is_ok(), "it waits for no slot");
    assert_eq!(LOOKUPS.load(Ordering::SeqCst), OF_ONE);
    // The same name that waits for a slot of one service is asked for by another.
    let shared = format!("stuck-{}", OF_ONE + 1);
    assert!(impatient(shared, "good").await.is_err());
    while LOOKUPS.load(Ordering::SeqCst) == OF_ONE {
        tokio::task::yield_now().await;
    }
    let waiting = tokio::spawn({
        let resolver = resolver.clone();
        async move { resolver.addresses("stuck-0", "bad", TIME).await }
    });
    *GATE.0.lock().unwrap() = true;
    GATE.1.notify_all();
    assert!(waiting.await.unwrap().is_ok());
    while resolver.lanes.running() > 0 || !resolver.names().pending.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(LOOKUPS.load(Ordering::SeqCst), 2 * OF_ONE, "each was looked up once");
}

#[tokio::test]
async fn the_last_addresses_go_on_being_used_until_the_resolver_says_that_there_are_none() {
    static SAYS: Mutex<&str> = Mutex::new("");
    let resolver = resolver(|_| match *SAYS.lock().unwrap() {
        "" => Ok(vec![IpAddr::from([192, 0, 2, 1])]),
        cause => Err(io::Error::other(format!("failed to lookup address information: {cause}"))),
    });
    let known = asked(&resolver, "web.example").await.unwrap();
    assert_eq!(known.remark, None);
    *SAYS.lock().unwrap() = "Temporary failure in name resolution";
    let old = asked(&resolver, "web.example").await.unwrap();
    assert_eq!(old.addresses, known.addresses);
    let remark = old.remark.unwrap();
    assert!(
        remark.starts_with("address of ") && remark.ends_with(" ago: Temporary failure in name resolution")
    );
    assert!(asked(&resolver, "other.example").await.is_err(), "it was never known");
    let age = |resolver: &Resolver, age| {
        let mut names = resolver.names();
        let (_, at) = names.last.get_mut("web.example").unwrap();
        *at = at.checked_sub(age).unwrap();
    };
    age(&resolver, Duration::from_secs(40));
    let old = asked(&resolver, "web.example").await.unwrap();
    assert_eq!(old.remark.as_deref(), Some("address of 40 s ago: Temporary failure in name resolution"));
    *SAYS.lock().unwrap() = "Name or service not known";
    assert_eq!(asked(&resolver, "web.example").await, Err("Name or service not known".into()));
    *SAYS.lock().unwrap() = "Temporary failure in name resolution";
    assert!(asked(&resolver, "web.example").await.is_err(), "it is not used again");
}

#[tokio::test]
async fn a_silent_resolver_is_not_waited_for_where_there_are_last_addresses() {
    static OPEN: (Mutex<bool>, Condvar) = (Mutex::new(true), Condvar::new());
    let resolver = resolver(|_| {
        drop(OPEN.1.wait_while(OPEN.0.lock().unwrap(), |open| !*open).unwrap());
        Ok(vec![IpAddr::from([192, 0, 2, 1])])
    });
    let known = asked(&resolver, "web.example").await.unwrap();
    *OPEN.0.lock().unwrap() = false;
    let began = Instant::now();
    for _ in 0..20 {
        let old = asked(&resolver, "web.example").await.unwrap();
        assert_eq!(old.addresses, known.addresses);
        assert!(old.remark.unwrap().ends_with("ago: the resolver does not answer"));
    }
    assert!(began.elapsed() < 2 * PATIENCE, "only the first waits: {:?}", began.elapsed());
    *OPEN.0.lock().unwrap() = true;
    OPEN.1.notify_all();
}
