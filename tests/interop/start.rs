//! A start with broken or missing helpers, such as the state directory: the daemon runs, announces, and reports the
//! fault.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast_lab::{Lab, Neighbor, RouterConfig, RouterKind, Subnet};

use crate::node::{Node, address};
use crate::{SOON, trial};

const VIP: &str = "192.0.2.10";
const CONFIG: &str = "local_as: 65001
router_id: 10.0.0.2
peers: {tor: {address: 10.0.1.1, peer_as: 65000}}
services: {web: {vips: [192.0.2.10], checks: []}}
shutdown: {drain_time: 100ms, unbind_delay: 100ms}
";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "frr::a_vip_is_announced_without_a_control_socket_and_commands_work_once_it_can_be_made",
            &[RouterKind::Frr],
            no_control_socket,
        ),
        trial("a_password_that_everyone_may_read_ends_no_start_and_is_refused_by_a_reload", &[], exposed),
        trial("a_note_of_an_old_kernel_that_is_broken_keeps_no_vip_from_being_bound", &[], old_kernel),
        trial("a_host_without_proc_etc_or_privileges_ends_no_start", &[], bare_host),
    ]
}

fn no_control_socket(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    lab.link(&tor, &edge, Subnet::v4(1))?;
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1))
        .neighbor(Neighbor::new("10.0.1.2".parse::<IpAddr>()?, 65001));
    let router = lab.router(RouterKind::Frr, &tor, &router)?;
    let socket = lab.directory().join("edge.sock");
    fs::write(&socket, "precious")?;
    let node = Node::start(lab, &edge, CONFIG)?;
    lab.until("the router to have the VIP", SOON, || {
        ensure!(router.routes()?.contains_key(&IpNet::from(VIP.parse::<IpAddr>()?)), "no route");
        Ok(())
    })?;
    let log = node.process.log();
    let said = format!("cannot make the control socket {}: a file has this name", socket.display());
    ensure!(log.matches(&said).count() == 1, "{log}");
    ensure!(log.contains("WARN running without the control socket; it is tried again every 5s"), "{log}");
    ensure!(fs::read_to_string(&socket)? == "precious", "it was somebody's");
    fs::remove_file(&socket)?;
    lab.until("commands to work", SOON, || node.cli(&["drain", "web"]))?;
    // Somebody cleans up while it runs.
    fs::remove_file(&socket)?;
    lab.until("commands to work again", SOON, || node.cli(&["undrain", "web"]))?;
    Ok(())
}

fn exposed(lab: &Lab) -> Result<()> {
    let edge = lab.host("edge")?;
    let config = CONFIG.replace("peer_as: 65000", "peer_as: 65000, password: correct-horse");
    let mut node = Node::start(lab, &edge, &config)?;
    let file = node.config().to_owned();
    let chmod = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode));
    node.process.kill(vipcast_lab::Signal::SIGKILL)?;
    node.process.wait_exit(SOON)?;
    chmod(0o644)?;
    node.start_again()?;
    lab.until("the VIP to be bound", SOON, || {
        ensure!(address(&edge, VIP.parse()?)?.is_some(), "{}", node.process.log());
        Ok(())
    })?;
    let log = node.process.log();
    let said = "configuration: there is a password in this file, and everyone may read it; a reload is refused until that \
                is mended";
    ensure!(log.contains(said) && !log.contains("correct-horse"), "{log}");
    let refused = node.cli(&["reload"]).err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(refused.contains("there is a password in this file, and everyone may read it"), "{refused}");
    chmod(0o600)?;
    node.cli(&["reload"])?;
    Ok(())
}

/// A kernel that calls itself 2.6 is taken for one that cannot mark addresses.
fn old_kernel(lab: &Lab) -> Result<()> {
    let edge = lab.host("edge")?;
    let state = lab.directory().join("edge-state");
    let note = state.join("addresses.json");
    fs::create_dir_all(&state)?;
    fs::write(&note, "{\"boot")?;
    let node = Node::start_by(&["setarch", "--uname-2.6"], lab, &edge, CONFIG)?;
    lab.until("the VIP to be bound", SOON, || {
        ensure!(address(&edge, VIP.parse()?)?.is_some(), "{}", node.process.log());
        Ok(())
    })?;
    let log = node.process.log();
    let said = "addresses.json is damaged and was set aside: addresses that a predecessor has added count as those of another program, \
                and stay";
    ensure!(log.matches(said).count() == 1, "{log}");
    lab.until("the VIP to be noted", SOON, || {
        let noted = fs::read_to_string(&note)?;
        ensure!(noted.contains(VIP), "{noted}");
        Ok(())
    })
}

/// What starts it, and what `status` then says of the VIP.
const BARE: [(&[&str], &str); 3] = [
    (&["unshare", "-m", "sh", "-c", "umount -l /proc && exec \"$@\"", "sh"], "ready"),
    (&["unshare", "-m", "sh", "-c", "mount -t tmpfs none /etc && exec \"$@\"", "sh"], "ready"),
    (&["setpriv", "--bounding-set=-all", "--inh-caps=-all"], "withheld"),
];

fn bare_host(lab: &Lab) -> Result<()> {
    let edge = lab.host("edge")?;
    for (wrapper, state) in BARE {
        let node = Node::start_by(wrapper, lab, &edge, CONFIG)?;
        lab.until(format_args!("the VIP to be {state} by {wrapper:?}"), SOON, || {
            let vip = node.explain(VIP.parse()?)?.vip;
            ensure!(vip.state.word() == state, "{vip:?} {}", node.process.log());
            Ok(())
        })?;
        node.process.kill(vipcast_lab::Signal::SIGTERM)?;
        let ended = node.process.wait_exit(SOON)?;
        ensure!(ended.success(), "{wrapper:?}: {ended}: {}", node.process.log());
    }
    Ok(())
}
