//! The host's interfaces and bindings, as the kernel lists them.

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
    /// All its names.
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

    /// The index of the interface that currently has this name.
    pub fn index_of(&self, name: &str) -> Option<u32> {
        self.indices.get(name).copied()
    }

    /// The name of an interface, or its index if it is unknown.
    pub fn name_of(&self, index: u32) -> String {
        self.get(index).map_or_else(|| format!("#{index}"), |link| link.name.clone())
    }

    /// Updates an interface, and returns its earlier value.
    pub fn insert(&mut self, index: u32, link: Link) -> Option<Link> {
        let before = self.remove(index);
        self.indices.extend(link.names().map(|name| (name.clone(), index)));
        self.links.insert(index, link);
        before
    }

    /// Removes an interface.
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

    /// All interfaces.
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

/// The kernel's listing of the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// Its interfaces.
    pub links: Links,
    /// Its addresses, and its local routes except those that the kernel makes for addresses.
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
        // For two interfaces that swap their names the kernel reports only the final names.
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
