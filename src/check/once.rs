//! The dry run: probes every check once, without any effect.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use vipcast_node::health::report::Outcome;
use vipcast_node::model::{Check, Service};
use vipcast_node::names::{CheckName, ServiceName};
use vipcast_node::table::Table;

use super::owners::owners;
use super::probe::Prober;
use super::runner;
use super::shared::Shared;
use crate::log::trouble;
use crate::vip::Here;

/// How long the end waits for killed programs to go.
const GRACE: Duration = Duration::from_secs(1);

/// Probes each of `checks` once, all at the same time within the bounds of the daemon. Blocks until the last one
/// has its result, which takes its time-out at most and what it waited for its turn.
///
/// # Errors
/// When the system grants no epoll instance, or does not say which addresses it has.
pub fn probe(
    checks: Table<CheckName, Arc<Check>>,
    services: &Table<ServiceName, Service>,
) -> io::Result<BTreeMap<CheckName, Outcome>> {
    runner::raise_descriptor_limit();
    let here = Here::now()?;
    let runtime = runner::runtime()?;
    let outcomes = runtime.block_on(async {
        let (mut shared, drained) = Shared::new();
        shared.here = here;
        shared.owners.set(owners(services));
        let shared = Arc::new(shared);
        let mut probes = JoinSet::new();
        for (name, check) in checks {
            let mut prober = Prober::new(name.clone(), check, Arc::clone(&shared));
            probes.spawn(async move { (name, prober.probe().await) });
        }
        drop(shared);
        let outcomes = probes.join_all().await.into_iter().collect();
        if tokio::time::timeout(GRACE, drained.wait()).await.is_err() {
            trouble!("a program of a check cannot be killed; it is left behind");
        }
        outcomes
    });
    // Not `drop`: a lookup that hangs on its blocking thread must not hold up the end.
    runtime.shutdown_background();
    Ok(outcomes)
}
