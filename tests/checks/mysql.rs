//! `mysql` against MariaDB, over TCP, TLS and a socket, writable and not, and what it counts against a host.
//!
//! The cache of hosts, where handshakes that break off are counted, has no 127.0.0.1: probes come from 127.0.0.2.

use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use socket2::{Domain, Socket, Type};
use vipcast_lab::trial;

use crate::pki::{Authority, DAY};
use crate::server::{Directory, Server, ask, expect, free_port, needs};

/// Handshakes that break off until a host is blocked; the default is 100.
const BLOCKED_AFTER: usize = 20;

const ACCOUNTS: &str = "
CREATE USER probe@'%' IDENTIFIED BY 'hush';
CREATE USER open@'%';
CREATE USER locked@'%' IDENTIFIED BY 'hush' ACCOUNT LOCK;
CREATE USER secured@'%' IDENTIFIED BY 'hush' REQUIRE SSL;
INSTALL SONAME 'auth_ed25519';
CREATE USER ed@'%' IDENTIFIED VIA ed25519 USING PASSWORD('hush');
";

pub(crate) fn trials() -> Vec<Trial> {
    let needed = || needs("mariadbd").and(needs("mariadb-install-db")).and(needs("mariadb"));
    vec![
        trial("mysql_against_mariadb", needed(), against_mariadb),
        trial("mysql_leaves_no_broken_handshake", needed(), leaves_no_broken_handshake),
    ]
}

/// A server with these accounts, whose superuser is root without a password.
struct Mariadb {
    directory: Directory,
    port: u16,
    server: Option<Server>,
}

impl Mariadb {
    fn start(more: &[String]) -> Result<Self> {
        let (directory, port) = (Directory::new()?, free_port()?);
        let data = directory.path().join("data");
        let installed = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"])
            .args(["--user=root", &format!("--datadir={}", data.display())])
            .output()?;
        ensure!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        let accounts = directory.write("accounts.sql", ACCOUNTS)?;
        let mut this = Self { directory, port, server: None };
        let mut command = Command::new("/usr/sbin/mariadbd");
        command
            .args(["--no-defaults", "--user=root", "--bind-address=127.0.0.1", "--max-connections=500"])
            .args([format!("--datadir={}", data.display()), format!("--port={port}")])
            .args([format!("--socket={}", this.socket()), format!("--init-file={}", accounts.display())])
            .arg(format!("--max-connect-errors={BLOCKED_AFTER}"))
            .args(more);
        let server = Server::start(command, &this.directory)?;
        this.server = Some(server.wait_until(|| this.ask("SELECT 1").is_ok())?);
        Ok(this)
    }

    fn socket(&self) -> String {
        self.directory.path().join("s").display().to_string()
    }

    /// What it answers to root.
    fn ask(&self, question: &str) -> Result<String> {
        let socket = format!("--socket={}", self.socket());
        let output = Command::new("mariadb")
            .args(["--no-defaults", &socket, "--user=root", "--batch", "--skip-column-names"])
            .args(["--execute", question])
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// A file with a password.
    fn password(&self, name: &str, password: &str) -> Result<String> {
        let path = self.directory.write(name, password)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(path.display().to_string())
    }

    /// A check from 127.0.0.2.
    fn check(&self, keys: &str) -> String {
        let address = format!("address: \"127.0.0.1:{}\"", self.port);
        format!("{{mysql: {{{address}, {keys}}}, source_address: 127.0.0.2, interval: 20s, timeout: 10s}}")
    }
}

fn against_mariadb() -> Result<()> {
    let files = Directory::new()?;
    let authority = Authority::new(&files, "mariadb")?;
    let pair = authority.issue("web.example", Some(DAY))?;
    let mut mariadb = Mariadb::start(&[
        format!("--ssl-cert={}", pair.certificate.display()),
        format!("--ssl-key={}", pair.key.display()),
    ])?;
    let version = mariadb.ask("SELECT VERSION()")?;
    let (right, wrong) = (mariadb.password("right", "hush\n")?, mariadb.password("wrong", "hash\n")?);
    let (greeting, logged_in) = (format!("greeting of {version}"), format!("logged in to {version}"));
    let tls = format!("tls: {{ca_file: {}, server_name: web.example}}", authority.file.display());
    let probe = format!("user: probe, password_file: {right}");
    let of = |user: &str| mariadb.check(&format!("user: {user}, password_file: {right}"));
    let refused = |user: &str, with: &str| {
        let text = format!("Access denied for user '{user}'@'localhost' (using password: {with})");
        let shown: String = text.chars().take(60).collect();
        format!(
            "the server refuses user or password (1045): \"{shown}{}\"",
            if text.len() > 60 { "…" } else { "" }
        )
    };
    let from_here = |user: &str| of(user).replace("source_address: 127.0.0.2, ", "");
    let socket = format!(
        "{{mysql: {{address: \"unix:{}\", {probe}, read_only: false}}, interval: 9s, timeout: 9s}}",
        mariadb.socket()
    );
    let (off, on) = (format!("{logged_in}, read_only is off"), format!("{logged_in}, read_only is on"));
    let wrong = mariadb
        .check(&format!("user: probe, password_file: {wrong}"))
        .replace("source_address: 127.0.0.2, ", "");
    expect(&[
        ("nobody", mariadb.check("tls: false"), true, &greeting),
        ("nobody_tls", mariadb.check(&tls), true, &greeting),
        ("probe", of("probe"), true, &logged_in),
        ("no_password", mariadb.check("user: open"), true, &logged_in),
        ("writable", mariadb.check(&format!("{probe}, read_only: false")), true, &off),
        (
            "not_read_only",
            mariadb.check(&format!("{probe}, read_only: true")),
            false,
            "read_only is off, wanted on",
        ),
        (
            "tls",
            mariadb.check(&format!("user: secured, password_file: {right}, read_only: false, {tls}")),
            true,
            &off,
        ),
        (
            "stranger",
            mariadb.check(&format!("{probe}, tls: {{ca_file: {}}}", authority.file.display())),
            false,
            "certificate is not for \"127.0.0.1\"",
        ),
        ("socket", socket, true, &off),
        ("wrong", wrong, false, &refused("probe", "YES")),
        ("missing", from_here("missing"), false, &refused("missing", "YES")),
        ("wants_tls", from_here("secured"), false, &refused("secured", "YES")),
        ("ed", of("ed"), false, "the account logs in with \"client_ed25519\", which is not supported"),
        (
            "locked",
            of("locked"),
            false,
            "the account of the user is locked (4151): \"Access denied, this account is locked\"",
        ),
    ])?;
    mariadb.ask("SET GLOBAL read_only = 1")?;
    expect(&[
        ("read_only", mariadb.check(&format!("{probe}, read_only: true")), true, &on),
        (
            "not_writable",
            mariadb.check(&format!("{probe}, read_only: false")),
            false,
            "read_only is on, wanted off",
        ),
    ])?;
    mariadb.server = None;
    expect(&[("stopped", mariadb.check(&probe), false, "connection refused")])
}

/// A host that broke handshakes off would be blocked by now: none of ours was.
fn leaves_no_broken_handshake() -> Result<()> {
    let mariadb = Mariadb::start(&[])?;
    let right = mariadb.password("right", "hush\n")?;
    let keys = [
        "tls: false".to_owned(),
        "user: probe".to_owned(),
        format!("user: ed, password_file: {right}"),
        format!("user: locked, password_file: {right}"),
        "tls: true".to_owned(),
    ];
    let names: Vec<String> = (0..300).map(|n| format!("c{n}")).collect();
    let checks =
        names.iter().zip(keys.iter().cycle()).map(|(name, keys)| (name.as_str(), mariadb.check(keys)));
    let asked = ask(checks)?;
    for (name, probed) in &asked {
        ensure!(!probed.detail.contains("blocked"), "{name}: {probed:?}");
    }
    let still = format!("user: probe, password_file: {right}");
    let version = mariadb.ask("SELECT VERSION()")?;
    expect(&[("still", mariadb.check(&still), true, &format!("logged in to {version}"))])?;
    ensure!(
        mariadb.ask("SHOW GLOBAL STATUS LIKE 'Aborted_clients'")?.ends_with("\t0"),
        "a session was dropped"
    );
    // The same from 127.0.0.3, by a client that goes away when it was greeted: that the server counts at all.
    let to: SocketAddr = ([127, 0, 0, 1], mariadb.port).into();
    for _ in 0..=BLOCKED_AFTER {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from(([127, 0, 0, 3], 0)).into())?;
        socket.connect(&to.into())?;
        let mut socket: std::net::TcpStream = socket.into();
        let _greeting = socket.read(&mut [0; 256]).context("no greeting")?;
    }
    let blocked = mariadb.check(&still).replace("127.0.0.2", "127.0.0.3");
    let words = "the server has blocked this host after broken handshakes, until FLUSH HOSTS (1129): ";
    let found = &ask([("blocked", blocked)])?["blocked"];
    ensure!(!found.passed && found.detail.starts_with(words), "{found:?}");
    Ok(())
}
