//! Names that this host knows without a name server: those in /etc/hosts, as long as the resolver looks there first,
//! and `localhost`. Their addresses still come from the resolver, in its order.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Semaphore;

use crate::check::pool;

/// How often the files are looked at, at most.
const LASTS: Duration = Duration::from_secs(1);
/// How long such a look may take. Until it comes back no name is known, and all of them wait for their turn.
const PATIENCE: Duration = Duration::from_millis(250);

/// The default addresses of `localhost`.
pub(super) const LOCALHOST: [IpAddr; 2] = [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];

/// Clones share what was read.
#[derive(Debug, Clone)]
pub(super) struct Local {
    hosts: Arc<Path>,
    order: Arc<Path>,
    known: Arc<Mutex<HostsFile>>,
    /// Free while no thread reads the file.
    looking: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct HostsFile {
    /// Small letters, without a dot at the end.
    names: Arc<BTreeSet<String>>,
    /// When the files were looked at, and when they had last been changed.
    looked: Option<(Instant, [Option<SystemTime>; 2])>,
}

impl Local {
    /// The files that getaddrinfo(3) reads.
    pub(super) fn system() -> Self {
        Self::new("/etc/hosts".into(), "/etc/nsswitch.conf".into())
    }

    pub(super) fn new(hosts: PathBuf, order: PathBuf) -> Self {
        Self {
            hosts: hosts.into(),
            order: order.into(),
            known: Arc::default(),
            looking: Semaphore::new(1).into(),
        }
    }

    /// Whether the resolver answers without asking anybody. Never waits long.
    pub(super) async fn knows(&self, name: &str) -> bool {
        if is_localhost(name) {
            return true;
        }
        let names = match self.fresh() {
            Some(names) => Some(names),
            None => tokio::time::timeout(PATIENCE, self.look_again()).await.ok().flatten(),
        };
        names.is_some_and(|names| names.contains(&normal(name)))
    }

    /// Not on this thread, and on no more than one other: also a local disk may hang.
    async fn look_again(&self) -> Option<Arc<BTreeSet<String>>> {
        let alone = Arc::clone(&self.looking).acquire_owned().await.ok()?;
        if let Some(names) = self.fresh() {
            return Some(names);
        }
        let this = self.clone();
        pool::run(alone, move || this.look()).await.ok()
    }

    fn fresh(&self) -> Option<Arc<BTreeSet<String>>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.looked.filter(|(at, _)| at.elapsed() < LASTS).map(|_| Arc::clone(&known.names))
    }

    fn look(&self) -> Arc<BTreeSet<String>> {
        let changed = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
        let times = [changed(&self.hosts), changed(&self.order)];
        let known = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let same = known.looked.is_some_and(|(_, before)| before == times);
            same.then(|| Arc::clone(&known.names))
        };
        let names = known.unwrap_or_else(|| {
            let text = |path: &Path| fs::read(path).map(|text| String::from_utf8_lossy(&text).into_owned());
            let first = text(&self.order).map_or(true, |text| files_come_first(&text));
            let hosts = text(&self.hosts).unwrap_or_default();
            Arc::new(if first { names_of(&hosts) } else { BTreeSet::new() })
        });
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = HostsFile { names: Arc::clone(&names), looked: Some((Instant::now(), times)) };
        names
    }
}

/// RFC 6761 §6.3.
pub(super) fn is_localhost(name: &str) -> bool {
    let name = normal(name);
    name == "localhost" || name.ends_with(".localhost")
}

fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// hosts(5): an address, and its names.
fn names_of(hosts: &str) -> BTreeSet<String> {
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let named = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next()?.parse::<IpAddr>().ok()?;
        Some(words.map(normal))
    });
    named.flatten().collect()
}

/// nsswitch.conf(5): whether `hosts:` looks into files before it asks a name server. Without such a line it does.
fn files_come_first(order: &str) -> bool {
    let lines = order.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let Some(sources) = lines.filter_map(|line| line.strip_prefix("hosts:")).next() else { return true };
    let mut sources = sources.split_whitespace();
    sources.find(|source| matches!(*source, "files" | "dns")) == Some("files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_hosts_are_known_where_files_come_first() {
        let hosts = "127.0.0.1 localhost\n\n# 192.0.2.9 old\n192.0.2.1\tWeb.example web # web2\nnonsense here\n2001:db8::1 six\n";
        assert_eq!(
            names_of(hosts).into_iter().collect::<Vec<_>>(),
            ["localhost", "six", "web", "web.example"]
        );
        for (order, first) in [
            ("", true),
            ("hosts: files dns\n", true),
            ("passwd: files\nhosts:\tmymachines resolve [!UNAVAIL=return] files myhostname dns\n", true),
            ("hosts: dns files\n", false),
            ("hosts: dns\n", false),
            ("#hosts: dns\n", true),
        ] {
            assert_eq!(files_come_first(order), first, "{order}");
        }
    }

    #[tokio::test]
    async fn i4_a_disk_that_hangs_keeps_no_name_waiting_and_takes_one_thread() {
        let Some(dead) = crate::check::dead_mount::DeadMount::new("hosts") else { return };
        let local = Local::new(dead.join("hosts"), "/no/such/file".into());
        let begin = Instant::now();
        let knows = (0..20).map(|_| local.knows("one"));
        assert_eq!(futures_util::future::join_all(knows).await, [false; 20]);
        assert!(local.knows("localhost").await);
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        assert_eq!(local.looking.available_permits(), 0, "the only look hangs");
    }

    #[tokio::test]
    async fn a_file_that_changes_is_read_again() {
        let hosts = std::env::temp_dir().join(format!("vipcast-hosts-{}", std::process::id()));
        fs::write(&hosts, "192.0.2.1 one\n").unwrap();
        let local = Local::new(hosts.clone(), "/no/such/file".into());
        assert!(local.knows("ONE.").await && !local.knows("two").await);
        assert!(local.knows("localhost").await && local.knows("web.localhost").await);
        fs::write(&hosts, "192.0.2.1 one two\n").unwrap();
        let later = SystemTime::now() + Duration::from_secs(2);
        fs::File::options().write(true).open(&hosts).unwrap().set_modified(later).unwrap();
        local.known.lock().unwrap().looked.as_mut().unwrap().0 -= LASTS;
        assert!(local.knows("two").await);
        fs::remove_file(&hosts).unwrap();
    }
}
