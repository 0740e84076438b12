//! Network managers, from the state that they leave in /run for each interface, and from their configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use vipcast_node::engine::Links;

use crate::doctor::gathered::{Managers, NetworkFile, Networkd};
use crate::exporters;

/// The names of their processes, which the kernel cuts at 15 characters.
const NETWORKD: &str = "systemd-network";
const NETWORK_MANAGER: &str = "NetworkManager";
/// The directories of configuration of systemd; a file in a later one replaces that of the same name.
const DIRECTORIES: [&str; 4] = ["usr/lib/systemd", "usr/local/lib/systemd", "run/systemd", "etc/systemd"];

/// The managers that run in this network namespace. Blocks.
pub(super) fn read(root: &Path, links: &Links) -> io::Result<Managers> {
    let running =
        exporters::processes(&root.join("proc"), |name| [NETWORKD, NETWORK_MANAGER].contains(&name))?;
    let runs = |name: &str| running.iter().any(|process| process.name == name);
    Ok(Managers {
        networkd: runs(NETWORKD).then(|| networkd(root, links)),
        network_manager: if runs(NETWORK_MANAGER) { network_manager(root, links) } else { BTreeSet::new() },
    })
}

fn networkd(root: &Path, links: &Links) -> Networkd {
    let main = DIRECTORIES
        .iter()
        .rev()
        .find_map(|directory| fs::read_to_string(root.join(directory).join("networkd.conf")).ok());
    let mut texts: Vec<String> = main.into_iter().collect();
    texts.extend(drop_ins(root, "networkd.conf.d"));
    let manages = |key| setting(&texts, "Network", key).is_none_or(|value| is_true(&value));
    let managed = links.iter().filter_map(|(index, link)| {
        let state = fs::read_to_string(root.join(format!("run/systemd/netif/links/{index}"))).ok()?;
        let path = setting(&[state], "", "NETWORK_FILE").filter(|path| !path.is_empty())?;
        let mut texts = vec![fs::read_to_string(under(root, &path)).unwrap_or_default()];
        let name = path.rsplit('/').next().unwrap_or_default();
        texts.extend(drop_ins(root, &format!("network/{name}.d")));
        let keeps = setting(&texts, "Network", "KeepConfiguration");
        let keeps = keeps.is_some_and(|keeps| keeps == "static" || is_true(&keeps));
        Some((link.name.clone(), NetworkFile { path, keeps }))
    });
    Networkd {
        interfaces: managed.collect(),
        manages_routes: manages("ManageForeignRoutes"),
        manages_rules: manages("ManageForeignRoutingPolicyRules"),
    }
}

fn network_manager(root: &Path, links: &Links) -> BTreeSet<String> {
    let is_managed = |index: u32| {
        let state = fs::read_to_string(root.join(format!("run/NetworkManager/devices/{index}")));
        let managed = setting(&[state.unwrap_or_default()], "device", "managed");
        managed.is_some_and(|managed| managed != "false" && managed != "unknown")
    };
    links.iter().filter(|(index, _)| is_managed(*index)).map(|(_, link)| link.name.clone()).collect()
}

/// The drop-ins of a directory, by name.
fn drop_ins(root: &Path, directory: &str) -> Vec<String> {
    let mut files: BTreeMap<_, PathBuf> = BTreeMap::new();
    for above in DIRECTORIES {
        for entry in fs::read_dir(root.join(above).join(directory)).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "conf") {
                files.insert(entry.file_name(), entry.path());
            }
        }
    }
    files.values().filter_map(|path| fs::read_to_string(path).ok()).collect()
}

/// An absolute path, under another root.
fn under(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// The value of a key in a section; the last one counts. The section `""` is what stands before the first.
fn setting(texts: &[String], section: &str, key: &str) -> Option<String> {
    let mut value = None;
    for text in texts {
        let mut at = "";
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                at = name;
            } else if let Some((name, said)) = line.split_once('=')
                && (at, name.trim_end()) == (section, key)
            {
                value = Some(said.trim().to_owned());
            }
        }
    }
    value
}

/// A boolean of systemd.
fn is_true(value: &str) -> bool {
    ["1", "yes", "y", "true", "t", "on"].contains(&value.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet as Set;
    use std::os::unix::fs::symlink;

    use vipcast_node::engine::Link;

    use super::*;

    /// A root directory with these files, where these processes run in our network namespace.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, processes: &[&str], files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("vipcast-managers-{}-{name}", std::process::id()));
            let all = ["vipcast"].iter().chain(processes).enumerate();
            for (pid, comm) in all {
                let process =
                    root.join("proc").join(if pid == 0 { "self".to_owned() } else { pid.to_string() });
                fs::create_dir_all(process.join("ns")).unwrap();
                fs::write(process.join("comm"), format!("{comm}\n")).unwrap();
                symlink("net:[1]", process.join("ns/net")).unwrap();
            }
            for (file, text) in files {
                fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
                fs::write(root.join(file), text).unwrap();
            }
            Self(root)
        }

        fn read(&self) -> Managers {
            let link = |name: &str| Link { name: name.to_owned(), altnames: Set::new(), up: true };
            read(&self.0, &[(1, link("lo")), (2, link("eth0"))].into_iter().collect()).unwrap()
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    const MANAGED: (&str, &str) = (
        "run/systemd/netif/links/1",
        "# This is private data. Do not parse.\nADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/10-lo.network\n",
    );
    const LO: (&str, &str) =
        ("etc/systemd/network/10-lo.network", "[Match]\nName=lo\n[Network]\nDescription=x\n");

    #[test]
    fn networkd_is_known_by_its_process_and_the_state_of_each_interface() {
        let unmanaged = ("run/systemd/netif/links/2", "ADMIN_STATE=unmanaged\n");
        let networkd = Root::new("plain", &[NETWORKD], &[MANAGED, LO, unmanaged]).read().networkd.unwrap();
        let file = NetworkFile { path: "/etc/systemd/network/10-lo.network".to_owned(), keeps: false };
        assert_eq!(networkd.interfaces, [("lo".to_owned(), file)].into());
        assert!(networkd.manages_routes && networkd.manages_rules);
        assert_eq!(Root::new("stopped", &[], &[MANAGED, LO]).read(), Managers::default());
    }

    #[test]
    fn what_networkd_was_told_is_believed_wherever_it_stands() {
        let files = [
            MANAGED,
            LO,
            ("etc/systemd/network/10-lo.network.d/vipcast.conf", "[Network]\nKeepConfiguration=static\n"),
            ("usr/lib/systemd/networkd.conf.d/10.conf", "[Network]\nManageForeignRoutes=yes\n"),
            ("etc/systemd/networkd.conf", "[Network]\n#ManageForeignRoutingPolicyRules=yes\n"),
            (
                "etc/systemd/networkd.conf.d/vipcast.conf",
                "[Network]\nManageForeignRoutes = no\nManageForeignRoutingPolicyRules=0\n",
            ),
        ];
        let networkd = Root::new("told", &[NETWORKD], &files).read().networkd.unwrap();
        assert!(networkd.interfaces["lo"].keeps && !networkd.manages_routes && !networkd.manages_rules);
        // A file of the administrator replaces that of the same name.
        let masked = [
            MANAGED,
            LO,
            ("usr/lib/systemd/networkd.conf.d/10.conf", "[Network]\nManageForeignRoutes=no\n"),
            ("etc/systemd/networkd.conf.d/10.conf", ""),
        ];
        assert!(Root::new("masked", &[NETWORKD], &masked).read().networkd.unwrap().manages_routes);
    }

    #[test]
    fn network_manager_is_known_by_its_process_and_the_state_of_each_device() {
        let files = [
            ("run/NetworkManager/devices/1", "[device]\nmanaged=false\n"),
            ("run/NetworkManager/devices/2", "[device]\nconnection-uuid=1\nmanaged=true\n"),
        ];
        let managers = Root::new("nm", &[NETWORK_MANAGER], &files).read();
        assert_eq!(managers.network_manager, ["eth0".to_owned()].into());
        assert_eq!(Root::new("no-nm", &["nm-applet"], &files).read(), Managers::default());
    }
}
