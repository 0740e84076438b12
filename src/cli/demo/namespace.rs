//! A new user and network namespace: in it the demo may do everything, outside of it nothing changes.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, bail};
use futures_util::TryStreamExt;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getgid, getuid};

/// Address of the router.
pub(super) const TOR: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
/// Address of the edge node.
pub(super) const EDGE: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);

/// Moves this process into its own namespaces. Root needs only the network one.
pub(super) fn enter() -> Result<()> {
    let (uid, gid) = (getuid(), getgid());
    if uid.is_root() {
        return unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace");
    }
    match unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET) {
        Ok(()) => {}
        Err(Errno::EPERM | Errno::ENOSPC | Errno::EACCES) => bail!(
            "this host lets only root make user namespaces\n\
             hint: run `sudo vipcast demo`, or allow them: sysctl user.max_user_namespaces, \
             kernel.unprivileged_userns_clone=1 (Debian), \
             kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu)"
        ),
        Err(error) => return Err(error).context("cannot make a user namespace"),
    }
    let write =
        |file: &str, text: String| fs::write(file, text).with_context(|| format!("cannot write {file}"));
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// Raises loopback and gives it the two addresses that the rack speaks between.
pub(super) async fn prepare() -> Result<()> {
    let (connection, handle, _notifications) =
        rtnetlink::new_connection().context("cannot open a netlink socket")?;
    let connection = tokio::spawn(connection);
    let loopback = handle.link().get().match_name("lo".to_owned()).execute().try_next().await;
    let index =
        loopback.context("cannot find the loopback interface")?.context("there is no loopback")?.header.index;
    let up = rtnetlink::LinkUnspec::new_with_index(index).up().build();
    handle.link().set(up).execute().await.context(
        "cannot raise the loopback interface of the new namespace; \
         on Ubuntu, set kernel.apparmor_restrict_unprivileged_userns=0 or use sudo",
    )?;
    for address in [TOR, EDGE] {
        let added = handle.address().add(index, IpAddr::V4(address), 32).execute().await;
        added.with_context(|| format!("cannot add {address}"))?;
    }
    connection.abort();
    Ok(())
}
