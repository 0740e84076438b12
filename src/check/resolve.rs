//! Names to addresses through the system's resolver, without letting it take the daemon down with it.
//!
//! `getaddrinfo` blocks, cannot be cancelled, and takes half a minute when no name server answers. So
//! * a lookup runs on the runtime's pool of blocking threads, and at most [`SLOTS`] at a time. The thread, not the probe,
//!   holds the slot: a probe that gives up at its time-out frees nothing that is still in use;
//! * a name is looked up once at a time: whoever asks meanwhile gets the same answer. However often a hanging name
//!   is asked for, it holds one thread, and names that work keep the others.
//!
//! Nothing is cached: an answer is forgotten as soon as it has been handed to those who waited for it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, watch};

use super::words;

/// Lookups at the same time.
pub(super) const SLOTS: usize = 8;

/// The addresses, or why there are none.
type Addresses = Result<Arc<[IpAddr]>, Arc<str>>;

/// Answers that somebody waits for.
type Pending = Mutex<BTreeMap<String, watch::Receiver<Option<Addresses>>>>;

/// Looks names up. Clones share their bounds.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    pending: Arc<Pending>,
    slots: Arc<Semaphore>,
    lookup: fn(&str) -> io::Result<Vec<IpAddr>>,
}

impl Resolver {
    /// The system's resolver.
    pub(super) fn system() -> Self {
        Self::new(|name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
    }

    fn new(lookup: fn(&str) -> io::Result<Vec<IpAddr>>) -> Self {
        Self { pending: Arc::default(), slots: Arc::new(Semaphore::new(SLOTS)), lookup }
    }

    /// The addresses of `host`, which may be an address itself, in the order in which they are to be tried; never none.
    ///
    /// Cancel-safe: the lookup goes on by itself and its answer is given to whoever else waits for it.
    ///
    /// # Errors
    /// What the resolver said, in words.
    pub(super) async fn addresses(&self, host: &str) -> Addresses {
        if let Ok(address) = host.parse() {
            return Ok([address].into());
        }
        let mut answer = self.ask(host);
        match answer.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(addresses)) => addresses.clone(),
            Ok(None) | Err(_) => Err("the lookup ended without an answer".into()),
        }
    }

    fn ask(&self, host: &str) -> watch::Receiver<Option<Addresses>> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = pending.get(host) {
            return answer.clone();
        }
        let (tell, answer) = watch::channel(None);
        pending.insert(host.into(), answer.clone());
        let (name, this) = (host.to_owned(), self.clone());
        tokio::spawn(async move {
            let addresses = this.look_up(name.clone()).await;
            this.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            tell.send_replace(Some(addresses));
        });
        answer
    }

    async fn look_up(&self, name: String) -> Addresses {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let lookup = self.lookup;
        let result = tokio::task::spawn_blocking(move || {
            let _held_while_the_thread_is_busy = slot;
            lookup(&name)
        });
        match result.await {
            Ok(Ok(addresses)) if addresses.is_empty() => Err("it has no address".into()),
            Ok(Ok(addresses)) => Ok(addresses.into()),
            Ok(Err(error)) => {
                let text = words::io_error(&error);
                Err(text.trim_start_matches("failed to lookup address information: ").into())
            }
            Err(_) => Err("the lookup panicked".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn an_address_is_not_looked_up() {
        let resolver = Resolver::new(|_| panic!("looked up"));
        assert_eq!(
            &*resolver.addresses("192.0.2.1").await.unwrap(),
            ["192.0.2.1".parse::<IpAddr>().unwrap()]
        );
        assert_eq!(&*resolver.addresses("::1").await.unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
    }

    #[tokio::test]
    async fn failures_are_told_in_the_resolvers_words() {
        let resolver = Resolver::new(|_| {
            Err(io::Error::other("failed to lookup address information: Name or service not known"))
        });
        assert_eq!(&*resolver.addresses("nowhere").await.unwrap_err(), "Name or service not known");
        let resolver = Resolver::new(|_| Ok(vec![]));
        assert_eq!(&*resolver.addresses("nothing").await.unwrap_err(), "it has no address");
    }

    #[tokio::test]
    async fn the_system_knows_localhost() {
        let addresses = Resolver::system().addresses("localhost").await.unwrap();
        assert!(addresses.iter().all(IpAddr::is_loopback), "{addresses:?}");
    }

    #[tokio::test]
    async fn i5_a_name_that_hangs_holds_one_thread_and_lets_others_pass() {
        static LOOKUPS: AtomicUsize = AtomicUsize::new(0);
        static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
        let resolver = Resolver::new(|name| {
            if name == "stuck" {
                LOOKUPS.fetch_add(1, Ordering::SeqCst);
                drop(GATE.1.wait_while(GATE.0.lock().unwrap(), |open| !*open).unwrap());
            }
            Ok(vec![IpAddr::from([192, 0, 2, 1])])
        });
        for _ in 0..3 * SLOTS {
            let asked = tokio::time::timeout(Duration::from_millis(1), resolver.addresses("stuck")).await;
            assert!(asked.is_err(), "the gate is closed");
        }
        assert!(resolver.addresses("fine").await.is_ok());
        assert_eq!(LOOKUPS.load(Ordering::SeqCst), 1);

        let waiting = tokio::spawn({
            let resolver = resolver.clone();
            async move { resolver.addresses("stuck").await }
        });
        *GATE.0.lock().unwrap() = true;
        GATE.1.notify_all();
        assert!(waiting.await.unwrap().is_ok());
        assert_eq!(resolver.slots.available_permits(), SLOTS);
    }
}
