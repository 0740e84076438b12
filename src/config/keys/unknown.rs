//! What an unknown key was probably meant to be.

use super::{Section, all};
use crate::config::read::near::{folded, is_opposite, nearest};

impl Section {
    /// The name that an unknown one was probably meant to be.
    pub(crate) fn meant(&self, unknown: &str) -> Option<&'static str> {
        nearest(unknown, self.names()).or_else(|| {
            let mut keys = self.keys();
            Some(keys.find(|key| key.called.contains(&unknown))?.name)
        })
    }

    /// The key whose opposite an unknown one is: `nopreempt`.
    fn opposite(&self, unknown: &str) -> Option<&'static str> {
        let unknown = folded(unknown);
        self.names().find(|key| is_opposite(&unknown, key))
    }

    /// What to write instead of a key that is not known here.
    pub(crate) fn hint(&self, unknown: &str) -> String {
        if let Some(key) = self.opposite(unknown) {
            return format!("`{key}` is the opposite of that: write `{key}: false`, or leave it out");
        }
        if let Some(hint) = self.switched_off(unknown) {
            return hint.to_owned();
        }
        if let Some(key) = nearest(unknown, self.names()) {
            return format!("did you mean `{key}`?");
        }
        if let Some((_, hint)) = self.instead.iter().find(|(name, _)| *name == unknown) {
            return (*hint).to_owned();
        }
        if let Some(key) = self.meant(unknown) {
            return format!("it is called `{key}` here");
        }
        if let Some(section) = self.elsewhere(unknown) {
            return format!("it belongs {}, not {}", section.place, self.place);
        }
        let keys = self.names().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        format!("possible keys {}: {keys}", self.place)
    }

    /// What to do instead of switching a part of the configuration off.
    fn switched_off(&self, unknown: &str) -> Option<&'static str> {
        const SWITCHES: [&str; 8] =
            ["shutdown", "shut", "enabled", "enable", "disabled", "disable", "admin_down", "admin_state"];
        self.off.filter(|_| SWITCHES.contains(&folded(unknown).as_str()))
    }

    /// The one other section that knows a key.
    fn elsewhere(&self, key: &str) -> Option<&'static Self> {
        let others = |section: &&Self| section.id != self.id && !section.is_copy && section.has(key);
        let mut sections = all().filter(others);
        let section = sections.next()?;
        sections.next().is_none().then_some(section)
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use crate::check::kinds::tls;

    #[test]
    fn an_unknown_key_is_answered_with_the_key_that_was_meant() {
        let table = [
            (&PEER, "adress", "did you mean `address`?"),
            (&PEER, "peer-as", "did you mean `peer_as`?"),
            (&PEER, "remoteAs", "did you mean `remote_as`?"),
            (&TOP, "service", "did you mean `services`?"),
            (&PEER, "asn", "it is called `peer_as` here"),
            (&SERVICE, "prefixes", "it is called `vips` here"),
            (&SERVICE, "communities", "it belongs under `announce`, not under a service"),
            (&PEER, "router_id", "it belongs at the top level, not under a peer"),
            (&CHECK, "type", "the kind of a check is a key: `http: {…}`, `tcp: {…}` or `exec: {…}`"),
            (
                &SERVICE,
                "nopreempt",
                "`preempt` is the opposite of that: write `preempt: false`, or leave it out",
            ),
            (&PEER, "no-bfd", "`bfd` is the opposite of that: write `bfd: false`, or leave it out"),
            (&PEER, "inactive", "`active` is the opposite of that: write `active: false`, or leave it out"),
            (
                &tls::OPTIONS,
                "secure",
                "`insecure` is the opposite of that: write `insecure: false`, or leave it out",
            ),
            (&PEER, "shutdown", "remove the peer, or put `#` before its lines, to switch it off"),
            (&PEER_DEFAULTS, "address", "each peer has an address of its own"),
            (
                &SERVICE,
                "enabled",
                "remove the service to switch it off, or take it out of traffic with `vipcast drain`",
            ),
            (&LOG, "colour", "possible keys under `log`: `level`, `format`"),
        ];
        for (section, key, hint) in table {
            assert_eq!(section.hint(key), hint, "{key} {}", section.place);
        }
    }
}
