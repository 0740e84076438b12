//! Settings of the kernel in /proc, and the file system of the state directory.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::{fs, str::FromStr};

use rustix::fs::{StatVfsMountFlags, statvfs};

use crate::blocking;
use crate::doctor::gathered::{StateDir, Sysctls};

/// Settings of the kernel.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// By interface.
    pub(super) links: BTreeMap<String, Sysctls>,
    pub(super) first_free_port: Option<u16>,
    pub(super) pings_are_free: bool,
    pub(super) has_ipvs: bool,
}

/// Reads the settings of this network namespace.
pub(super) fn settings(root: &Path) -> io::Result<Settings> {
    let proc = root.join("proc");
    let ipv4 = proc.join("sys/net/ipv4");
    let mut links = BTreeMap::new();
    for entry in fs::read_dir(ipv4.join("conf"))? {
        let entry = entry?;
        let value = |name: &str| number(&entry.path().join(name)).unwrap_or_default();
        let sysctls = Sysctls {
            rp_filter: value("rp_filter"),
            arp_ignore: value("arp_ignore"),
            arp_announce: value("arp_announce"),
        };
        links.insert(entry.file_name().to_string_lossy().into_owned(), sysctls);
    }
    let range = fs::read_to_string(ipv4.join("ping_group_range")).unwrap_or_default();
    let virtual_servers = fs::read_to_string(proc.join("net/ip_vs")).unwrap_or_default();
    Ok(Settings {
        links,
        first_free_port: number(&ipv4.join("ip_unprivileged_port_start")),
        pings_are_free: range.split_whitespace().eq(["0", "2147483647"]),
        has_ipvs: virtual_servers.lines().any(|line| line.starts_with("TCP ") || line.starts_with("UDP ")),
    })
}

fn number<T: FromStr>(path: &Path) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Major and minor version of the kernel.
pub(super) fn kernel(root: &Path) -> io::Result<(u32, u32)> {
    let release = fs::read_to_string(root.join("proc/sys/kernel/osrelease"))?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _unreadable => Err(io::Error::other(format!("{:?} is no version", release.trim()))),
    }
}

/// The file system of the state directory; `None` if there is no such directory.
pub(super) fn state_directory(path: &Path) -> io::Result<Option<StateDir>> {
    let shown = path.display().to_string();
    let about = match blocking::at(|| shown.clone(), || statvfs(path)) {
        Ok(about) => about,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(Some(StateDir {
        free: about.f_bavail.saturating_mul(about.f_frsize),
        lacks_inodes: about.f_files > 0 && about.f_favail == 0,
        is_read_only: about.f_flag.contains(StatVfsMountFlags::RDONLY),
        path: shown,
    }))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A root directory with these files.
    fn root(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root = std::env::temp_dir().join(format!("vipcast-doctor-{}-{name}", std::process::id()));
        for (file, text) in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_settings_of_every_interface_are_read() {
        let root = root(
            "settings",
            &[
                ("proc/sys/net/ipv4/conf/all/rp_filter", "2\n"),
                ("proc/sys/net/ipv4/conf/eth0.7/arp_ignore", "1\n"),
                ("proc/sys/net/ipv4/conf/eth0.7/arp_announce", "2\n"),
                ("proc/sys/net/ipv4/ip_unprivileged_port_start", "1024\n"),
                ("proc/sys/net/ipv4/ping_group_range", "0\t2147483647\n"),
                ("proc/net/ip_vs", "IP Virtual Server version 1.2.1\nTCP  C0000205:0050 rr\n"),
                ("proc/sys/kernel/osrelease", "6.12.41+deb13-amd64\n"),
            ],
        );
        let (read, version) = (settings(&root), kernel(&root));
        fs::remove_dir_all(&root).unwrap();
        let all = Sysctls { rp_filter: 2, ..Sysctls::default() };
        let vlan = Sysctls { arp_ignore: 1, arp_announce: 2, ..Sysctls::default() };
        let wanted = Settings {
            links: [("all".to_owned(), all), ("eth0.7".to_owned(), vlan)].into(),
            first_free_port: Some(1024),
            pings_are_free: true,
            has_ipvs: true,
        };
        assert_eq!((read.unwrap(), version.unwrap()), (wanted, (6, 12)));
        assert!(settings(&root).is_err());
    }

    #[test]
    fn a_state_directory_that_is_not_there_yet_is_no_error() {
        assert_eq!(state_directory(Path::new("/nonexistent/vipcast")).unwrap(), None);
        let there = state_directory(&std::env::temp_dir()).unwrap().unwrap();
        assert!(there.free > 0 && !there.is_read_only, "{there:?}");
    }
}
