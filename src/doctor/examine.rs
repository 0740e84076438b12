//! The examination: pure functions from the facts to findings, one file a theme.

mod daemon;
mod host;
mod listening;
mod managers;
mod network;
mod reboot;
mod sessions;
mod vips;

#[cfg(test)]
mod bench;

use super::finding::{Finding, Id, Place};
use super::gathered::Gathered;

/// A theme.
type Theme = fn(&Gathered) -> Vec<Finding>;

/// Every theme.
const THEMES: [Theme; 9] = [
    missed,
    daemon::examine,
    sessions::examine,
    vips::examine,
    listening::examine,
    network::examine,
    managers::examine,
    host::examine,
    reboot::examine,
];

/// The findings, the worst first.
pub fn examine(gathered: &Gathered) -> Vec<Finding> {
    let mut found: Vec<Finding> = THEMES.iter().flat_map(|theme| theme(gathered)).collect();
    found.sort_by(|a, b| {
        let key = |finding: &Finding| (finding.severity.rank(), finding.id, finding.place.clone());
        key(a).cmp(&key(b))
    });
    found
}

/// The facts that could not be had.
fn missed(gathered: &Gathered) -> Vec<Finding> {
    let finding = |(what, why): &(&str, String)| {
        let fix = "run it again as root; if it stays so, the reason says what hangs or is forbidden";
        Finding::new(Id::CouldNotLook, Place::Host, format!("could not look at {what}: {why}"), fix)
    };
    gathered.failed.iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::gathered::Daemon;

    #[test]
    fn nothing_is_found_on_a_healthy_node() {
        assert_eq!(examine(&bench::healthy()), []);
    }

    #[test]
    fn the_worst_comes_first_and_what_could_not_be_seen_last() {
        let mut gathered = bench::healthy();
        gathered.failed.push(("the clock", "no answer after 2s".to_owned()));
        gathered.is_synchronised = Some(false);
        gathered.daemon = Some(Daemon::Silent);
        let found = examine(&gathered);
        let ids: Vec<Id> = found.iter().map(|finding| finding.id).collect();
        assert_eq!(ids, [Id::DaemonSilent, Id::ClockNotSynchronised, Id::CouldNotLook]);
        assert_eq!(found[2].what, "could not look at the clock: no answer after 2s");
    }
}
