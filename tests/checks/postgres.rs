//! `postgres` against a PostgreSQL primary and a streaming replica of it, as the user postgres, which root may not be.
//!
//! ```text
//!   vipcast ──► primary ──── WAL ───► replica        users: trusted (no password), scram, hashed (MD5), plain (clear text)
//! ```

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use nix::unistd::{Uid, User};
use vipcast_lab::trial;

use crate::pki::{Authority, DAY};
use crate::server::{Directory, Server, ask, expect, free_port, needs};

pub(crate) fn trials() -> Vec<Trial> {
    let needed = needs("setpriv").and(programs().map(|_| ())).and(match Uid::effective().is_root() {
        true => Ok(()),
        false => Err("not root".into()),
    });
    vec![trial("postgres_against_a_primary_and_a_replica", needed, primary_and_replica)]
}

/// Where Debian has the programs of the newest version.
fn programs() -> Result<PathBuf, String> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists());
    found.max().ok_or_else(|| "postgresql is not installed".to_owned())
}

/// A program of PostgreSQL, run by its user in `directory`.
fn as_postgres(program: &str, directory: &Directory) -> Result<Command> {
    let program = programs().map_err(anyhow::Error::msg)?.join(program);
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]).arg(program);
    command.current_dir(directory.path()).env("PGCONNECT_TIMEOUT", "20").env("LC_ALL", "C.UTF-8");
    Ok(command)
}

fn run(mut command: Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{command:?}: {out}{err}");
    Ok(())
}

/// Gives a file to the user postgres.
fn give(path: &Path) -> Result<()> {
    let user = User::from_name("postgres")?.context("there is no user postgres")?;
    Ok(chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?)
}

/// A server that is stopped at the end: one that is killed leaves its shared memory behind.
#[derive(Debug)]
struct Cluster<'d> {
    directory: &'d Directory,
    _server: Server,
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        let stop = as_postgres("pg_ctl", self.directory).map(|mut stop| {
            stop.args(["-D", "data", "-m", "immediate", "stop"]);
            stop
        });
        // It may have ended before.
        let _stopped = stop.and_then(run);
    }
}

fn start(directory: &Directory, port: u16) -> Result<Cluster<'_>> {
    let mut command = as_postgres("postgres", directory)?;
    let path = directory.path().display();
    command.args(["-D", &format!("{path}/data"), "-p", &port.to_string(), "-k", &path.to_string()]);
    command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_wal_senders=4"]);
    Ok(Cluster { directory, _server: Server::start(command, directory)? })
}

/// The log when it has this text in it.
fn wait_for_log(directory: &Directory, text: &str) -> Result<String> {
    let begin = Instant::now();
    loop {
        let log = fs::read_to_string(directory.path().join("log")).unwrap_or_default();
        if log.contains(text) {
            return Ok(log);
        }
        ensure!(begin.elapsed() < Duration::from_secs(30), "no \"{text}\" in the log: {log}");
        thread::sleep(Duration::from_millis(20));
    }
}

const ACCEPTS: &str = "database system is ready to accept";

fn primary(directory: &Directory, port: u16) -> Result<Cluster<'_>> {
    let path = directory.path();
    give(path)?;
    let mut initdb = as_postgres("initdb", directory)?;
    initdb.args(["-D", "data", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]);
    run(initdb)?;
    let authority = Authority::new(directory, "ours")?;
    let pair = authority.issue("127.0.0.1", Some(90 * DAY))?;
    give(&pair.key)?;
    let [certificate, key] = [&pair.certificate, &pair.key].map(|path| path.display());
    let settings = format!(
        "\nssl = on\nssl_cert_file = '{certificate}'\nssl_key_file = '{key}'\nwal_level = replica\nlog_error_verbosity = terse\n"
    );
    let file = path.join("data/postgresql.conf");
    fs::write(&file, fs::read_to_string(&file)? + &settings)?;
    let hba = "local all all trust\nlocal replication all trust\nhost all trusted 127.0.0.1/32 trust\n\
               host all scram 127.0.0.1/32 scram-sha-256\nhost all hashed 127.0.0.1/32 md5\n\
               host all plain 127.0.0.1/32 password\n";
    fs::write(path.join("data/pg_hba.conf"), hba)?;
    let server = start(directory, port)?;
    wait_for_log(directory, ACCEPTS)?;
    let mut psql = as_postgres("psql", directory)?;
    psql.args([
        "-h",
        &path.display().to_string(),
        "-p",
        &port.to_string(),
        "-v",
        "ON_ERROR_STOP=1",
        "-q",
        "postgres",
    ]);
    for statement in [
        "create role trusted login",
        "create role scram login password 'correct-horse'",
        "create role plain login password 'correct-horse'",
        "create database shop",
        "set password_encryption = 'md5'",
        "create role hashed login password 'correct-horse'",
    ] {
        psql.args(["-c", statement]);
    }
    run(psql)?;
    Ok(server)
}

fn replica<'d>(directory: &'d Directory, port: u16, of: (&Directory, u16)) -> Result<Cluster<'d>> {
    give(directory.path())?;
    let mut backup = as_postgres("pg_basebackup", directory)?;
    backup.args(["-h", &of.0.path().display().to_string(), "-p", &of.1.to_string()]);
    backup.args(["-D", "data", "-R", "--checkpoint=fast", "--no-sync"]);
    run(backup)?;
    let server = start(directory, port)?;
    wait_for_log(directory, ACCEPTS)?;
    wait_for_log(directory, "started streaming WAL")?;
    Ok(server)
}

fn primary_and_replica() -> Result<()> {
    let [first, second, files] = [Directory::new()?, Directory::new()?, Directory::new()?];
    let [port, standby, nobody] = [free_port()?, free_port()?, free_port()?];
    let primary = primary(&first, port)?;
    let _replica = replica(&second, standby, (&first, port))?;
    let secret = files.write("password", "correct-horse\n")?;
    fs::set_permissions(&secret, Permissions::from_mode(0o600))?;
    let wrong = files.write("wrong", "hunter2\n")?;
    fs::set_permissions(&wrong, Permissions::from_mode(0o600))?;
    let (secret, wrong) = (secret.display(), wrong.display());
    let ca = first.path().join("ca.pem");

    let asking = |port: u16, more: &str| {
        format!("{{postgres: {{address: \"127.0.0.1:{port}\"{more}}}, interval: 10s, timeout: 8s}}")
    };
    let user = |name: &str| format!(", user: {name}, password_file: {secret}");
    let tls = format!(", tls: {{ca_file: {}}}", ca.display());
    let socket = first.path().join(format!(".s.PGSQL.{port}")).display().to_string();
    let on_socket = |more: &str| {
        format!("{{postgres: {{address: \"unix:{socket}\"{more}}}, interval: 10s, timeout: 8s}}")
    };
    expect(&[
        ("primary", asking(port, ", user: trusted, role: primary"), true, "primary"),
        ("replica", asking(standby, ", user: trusted, role: replica"), true, "replica"),
        ("any", asking(standby, ", user: trusted"), true, "replica"),
        ("not_primary", asking(standby, ", user: trusted, role: primary"), false, "replica, wanted primary"),
        ("not_replica", asking(port, ", user: trusted, role: replica"), false, "primary, wanted replica"),
        ("scram", asking(port, &format!("{}, database: shop", user("scram"))), true, "primary"),
        ("scram_replica", asking(standby, &user("scram")), true, "replica"),
        ("md5", asking(port, &user("hashed")), true, "primary"),
        (
            "wrong",
            asking(port, &format!(", user: scram, password_file: {wrong}")),
            false,
            r#"FATAL 28P01: "password authentication failed for user \"scram\"""#,
        ),
        (
            "wrong_md5",
            asking(port, &format!(", user: hashed, password_file: {wrong}")),
            false,
            r#"FATAL 28P01: "password authentication failed for user \"hashed\"""#,
        ),
        (
            "none",
            asking(port, ", user: scram"),
            false,
            "the server asks for a password (SCRAM-SHA-256), and the check has none",
        ),
        (
            "clear",
            asking(port, &user("plain")),
            false,
            "the server asks for the password in clear text, and the connection has no TLS",
        ),
        ("clear_in_tls", asking(port, &format!("{}{tls}", user("plain"))), true, "primary"),
        ("scram_in_tls", asking(port, &format!("{}{tls}", user("scram"))), true, "primary"),
        (
            "untrusted",
            asking(port, ", user: trusted, tls: true"),
            false,
            "certificate not signed by a trusted authority",
        ),
        (
            "no_database",
            asking(port, ", user: trusted, database: none"),
            false,
            r#"FATAL 3D000: "database \"none\" does not exist""#,
        ),
        ("socket", on_socket(", user: postgres, role: primary"), true, "primary"),
        ("refused", asking(nobody, ""), false, "connection refused"),
    ])?;
    // Without a user: nobody is let in here, and the server is up all the same.
    let asked = ask([
        ("ready", format!("{{postgres: \"127.0.0.1:{port}\", timeout: 8s, interval: 10s}}")),
        ("ready_in_tls", asking(port, &tls)),
        ("ready_on_socket", on_socket("")),
    ])?;
    for (name, probed) in &asked {
        let says = match name.as_str() {
            "ready_on_socket" => "accepts connections without a password",
            _ => "accepts connections, and refuses the user vipcast: FATAL 28000: ",
        };
        ensure!(probed.passed && probed.detail.starts_with(says), "{name}: {probed:?}");
    }
    // Whoever ends a session in good order leaves nothing in the log.
    let log = wait_for_log(&first, "password authentication failed")?;
    ensure!(!log.contains("unexpected EOF") && !log.contains("could not receive data"), "{log}");

    // A session keeps the server in its "smart" shutdown, in which nobody is let in.
    let mut session = as_postgres("psql", &first)?;
    session.args(["-h", &first.path().display().to_string(), "-p", &port.to_string(), "postgres"]);
    session.args(["-c", "select 'held'", "-c", "select pg_sleep(60)"]);
    let held = Directory::new()?;
    let session = Server::start(session, &held)?;
    wait_for_log(&held, "(1 row)")?;
    let mut stop = as_postgres("pg_ctl", &first)?;
    stop.args(["-D", "data", "-m", "smart", "-W", "stop"]);
    run(stop)?;
    wait_for_log(&first, "received smart shutdown request")?;
    let ending = r#"FATAL 57P03: "the database system is shutting down""#;
    expect(&[
        ("ready", asking(port, ""), false, ending),
        ("primary", asking(port, ", user: trusted"), false, ending),
        ("replica", asking(standby, ", user: trusted, role: replica"), true, "replica"),
    ])?;
    drop(session);
    drop(primary);
    expect(&[("stopped", asking(port, ", user: trusted"), false, "connection refused")])?;
    Ok(())
}
