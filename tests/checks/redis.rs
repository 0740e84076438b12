//! `redis` against redis-server: a master with a password and two replicas, one of which has lost its master.
//!
//! ```text
//!   vipcast ──► master ◄── replica        password, user `probe` that may +ping alone, a socket, TLS
//!          ├──► replica
//!          └──► orphan ──► nobody
//! ```

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use vipcast_lab::trial;

use crate::pki::{Authority, DAY};
use crate::server::{Directory, Server, ask, expect, free_port, needs};

/// More than a replica needs to find its master, on a busy machine too.
const SOON: Duration = Duration::from_secs(30);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("redis_roles_and_links", needs("redis-server"), roles_and_links),
        trial("redis_over_tls_and_a_socket", needs("redis-server"), over_tls_and_a_socket),
    ]
}

fn redis(directory: &Directory, port: u16, more: &[&str]) -> Result<Server> {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string(), "--dir"]);
    command.arg(directory.path()).args(more);
    Server::start(command, directory)?.listening_on(port)
}

/// A file with a password that is nobody else's.
fn password_file(directory: &Directory, name: &str, password: &str) -> Result<String> {
    let path = directory.write(name, password)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(path.display().to_string())
}

fn roles_and_links() -> Result<()> {
    let directories = [(); 4].map(|()| Directory::new());
    let [of_master, of_replica, of_orphan, of_open] = directories;
    let (of_master, of_replica, of_orphan, of_open) = (of_master?, of_replica?, of_orphan?, of_open?);
    let (master, replica, orphan, open) = (free_port()?, free_port()?, free_port()?, free_port()?);
    let nobody = free_port()?;
    let (right, wrong) =
        (password_file(&of_master, "right", "hush\n")?, password_file(&of_master, "wrong", "hash\n")?);
    let locked = ["--requirepass", "hush", "--masterauth", "hush"];
    let of = |port: u16| ["--replicaof".to_owned(), format!("127.0.0.1 {port}")];
    let follow = |directory: &Directory, port, of: [String; 2], more: &[&str]| {
        redis(directory, port, &[&locked[..], &of.each_ref().map(String::as_str), more].concat())
    };
    let user = ["--user", "probe", "on", ">hush", "+ping"];
    let master_server = redis(&of_master, master, &[&locked[..], &user].concat())?;
    let _replica = follow(&of_replica, replica, of(master), &["--repl-ping-replica-period", "1"])?;
    let _orphan = follow(&of_orphan, orphan, of(nobody), &["--replica-serve-stale-data", "no"])?;
    let _open = redis(&of_open, open, &[])?;
    let check = |port: u16, keys: &str| {
        format!("{{redis: {{address: \"127.0.0.1:{port}\", {keys}}}, interval: 10s, timeout: 5s}}")
    };
    let with = |port: u16, keys: &str| check(port, &format!("password_file: {right}, {keys}"));
    let begin = Instant::now();
    loop {
        let asked = ask([("up", with(replica, "max_lag: 15s")), ("master", with(master, "role: master"))])?;
        let found = &asked["up"];
        // The master counts its replica only when that has told it so.
        if found.passed && asked["master"].detail == "PONG, master with 1 replica" {
            ensure!(
                found.detail.starts_with(&format!("PONG, replica of 127.0.0.1:{master}, link up, heard")),
                "{found:?}"
            );
            break;
        }
        ensure!(begin.elapsed() < SOON, "the replica does not get ready: {asked:?}");
    }
    let up = format!("PONG, replica of 127.0.0.1:{master}, link up");
    let wanted_master = format!("replica of 127.0.0.1:{master}, link up, wanted a master");
    // The orphan asks for its master again and again, and PING is refused before ROLE could tell.
    let stale = "the link to the master is down, and the data is old (MASTERDOWN)";
    expect(&[
        ("short", format!("{{redis: \"127.0.0.1:{open}\"}}"), true, "PONG"),
        ("alone", check(open, "role: master"), true, "PONG, master without replicas"),
        (
            "unasked",
            check(open, "password_file: /dev/null/x").replace("/dev/null/x", &right),
            false,
            "the server has no password, and was sent one",
        ),
        ("nobody", check(nobody, "role: master"), false, "connection refused"),
        ("plain", with(master, "role: any"), true, "PONG"),
        ("master", with(master, "role: master, replication: false"), true, "PONG, master with 1 replica"),
        ("no_replica", with(master, "role: replica"), false, "master with 1 replica, wanted a replica"),
        ("replica", with(replica, "role: replica, replication: true"), true, &up),
        ("no_master", with(replica, "role: master"), false, &wanted_master),
        ("orphan", with(orphan, "role: replica"), false, stale),
        ("locked", check(master, "role: any"), false, "the server wants a password (NOAUTH)"),
        (
            "wrong",
            check(master, &format!("password_file: {wrong}")),
            false,
            "the server refuses the password (WRONGPASS)",
        ),
        ("user", with(master, "username: probe"), true, "PONG"),
        (
            "may_not",
            with(master, "username: probe, role: master"),
            false,
            "the user may not ask ROLE (NOPERM)",
        ),
        (
            "stranger",
            with(master, "username: nobody"),
            false,
            "the server refuses the user or password (WRONGPASS)",
        ),
    ])?;
    // The master goes, and its replica notices.
    drop(master_server);
    let begin = Instant::now();
    loop {
        let found = &ask([("down", with(replica, "replication: true"))])?["down"];
        if !found.passed {
            let words = format!("the link to the master 127.0.0.1:{master} is down (connect");
            ensure!(found.detail.starts_with(&words), "{found:?}");
            return Ok(());
        }
        ensure!(begin.elapsed() < SOON, "the replica does not miss its master: {found:?}");
    }
}

fn over_tls_and_a_socket() -> Result<()> {
    let directory = Directory::new()?;
    let (port, tls) = (free_port()?, free_port()?);
    let authority = Authority::new(&directory, "redis")?;
    let pair = authority.issue("web.example", Some(DAY))?;
    let (socket, ca) = (directory.path().join("s"), authority.file.display().to_string());
    let tls_port = tls.to_string();
    let files = [&socket, &pair.certificate, &pair.key].map(|path| path.display().to_string());
    let [socket, certificate, key] = files.each_ref().map(String::as_str);
    let unix = ["--unixsocket", socket];
    let secure = ["--tls-port", &tls_port, "--tls-cert-file", certificate, "--tls-key-file", key];
    let more = ["--tls-auth-clients", "no", "--tls-ca-cert-file", &ca, "--maxclients", "1"];
    let _redis = redis(&directory, port, &[&unix[..], &secure, &more].concat())?;
    let check = |address: &str, keys: &str| {
        vec![("c", format!("{{redis: {{address: \"{address}\", {keys}}}, interval: 10s, timeout: 5s}}"))]
    };
    let tls = format!("127.0.0.1:{tls}");
    let options = format!("tls: {{ca_file: {ca}, server_name: web.example}}");
    let answered = |checks: Vec<(&str, String)>, passed: bool, detail: &str| {
        let (name, check) = checks.into_iter().next().expect("there is one");
        expect(&[(name, check, passed, detail)])
    };
    answered(check(&tls, &format!("role: master, {options}")), true, "PONG, master without replicas")?;
    answered(check(&format!("unix:{socket}"), "role: any"), true, "PONG")?;
    let _only_one = std::os::unix::net::UnixStream::connect(socket)?;
    answered(check(&format!("127.0.0.1:{port}"), "role: any"), false, "the server has too many clients")
}
