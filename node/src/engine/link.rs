//! The host's interfaces and what is on them, as the kernel lists them.

use std::collections::{BTreeMap, BTreeSet};

use super::binding::{Binding, BindingFact};

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its alternative names (`ip link property add … altname`).
    pub altnames: BTreeSet<String>,
    /// Whether it is administratively up.
    pub up: bool,
}

impl Link {
    /// Everything that it is called.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.name).chain(&self.altnames)
    }
}

/// The interfaces of the host, found by index and by every name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Links {
    links: BTreeMap<u32, Link>,
    indices: BTreeMap<String, u32>,
}

impl Links {
    /// The interface with this index.
    pub fn get(&self, index: u32) -> Option<&Link> {
        self.links.get(&index)
    }

    /// The index of the interface that has this name now.
    pub fn index_of(&self, name: &str) -> Option<u32> {
        self.indices.get(name).copied()
    }

    /// The name of an interface; one that is not known is shown by its index.
    pub fn name_of(&self, index: u32) -> String {
        self.get(index).map_or_else(|| format!("#{index}"), |link| link.name.clone())
    }

    /// Notes an interface as it is now, and returns it as it was.
    pub fn insert(&mut self, index: u32, link: Link) -> Option<Link> {
        let before = self.remove(index);
        self.indices.extend(link.names().map(|name| (name.clone(), index)));
        self.links.insert(index, link);
        before
    }

    /// Forgets an interface that is gone.
    pub fn remove(&mut self, index: u32) -> Option<Link> {
        let gone = self.links.remove(&index)?;
        for name in gone.names() {
            // Another interface may have its name already.
            if self.index_of(name) == Some(index) {
                self.indices.remove(name);
            }
        }
        Some(gone)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Link)> {
        self.links.iter().map(|(index, link)| (*index, link))
    }
}

impl FromIterator<(u32, Link)> for Links {
    fn from_iter<I: IntoIterator<Item = (u32, Link)>>(links: I) -> Self {
        let mut all = Self::default();
        for (index, link) in links {
            all.insert(index, link);
        }
        all
    }
}

/// Everything that the kernel lists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// Its interfaces.
    pub links: Links,
    /// Its addresses, and its local routes but those that the kernel makes of addresses.
    pub bindings: BTreeMap<Binding, BindingFact>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, altnames: &[&str]) -> Link {
        let altnames = altnames.iter().map(|name| (*name).to_owned()).collect();
        Link { name: name.to_owned(), altnames, up: true }
    }

    #[test]
    fn an_interface_is_found_by_the_names_that_it_has_now() {
        let mut links = Links::default();
        links.insert(2, link("eth0", &["enp1s0"]));
        assert_eq!((links.index_of("eth0"), links.index_of("enp1s0")), (Some(2), Some(2)));
        // The kernel says of two interfaces that change places only what each is called in the end.
        links.insert(3, link("eth0", &[]));
        links.insert(2, link("eth1", &["enp1s0"]));
        assert_eq!((links.index_of("eth0"), links.index_of("eth1")), (Some(3), Some(2)));
        links.insert(2, link("eth1", &[]));
        assert_eq!(links.index_of("enp1s0"), None);
        links.remove(3);
        assert_eq!(
            (links.index_of("eth0"), links.name_of(3), links.name_of(2)),
            (None, "#3".into(), "eth1".into())
        );
    }
}
