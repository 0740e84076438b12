//! `listener`, `process` and `interface` against nginx and this host.

use std::fs;
use std::process::Command;

use anyhow::Result;
use libtest_mimic::Trial;
use vipcast_lab::trial;

use crate::server::{Directory, Server, expect, free_port, needs};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("listener_and_process_of_nginx", needs("nginx"), of_nginx),
        trial("interface_of_this_host", Ok(()), of_this_host),
    ]
}

/// nginx as one process: workers outlive a master that is killed, and would listen on.
fn nginx(directory: &Directory, port: u16) -> Result<Server> {
    let path = directory.path().display();
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {path}/{kind}; "))
        .concat();
    let config = directory.write(
        "nginx.conf",
        &format!(
            "daemon off; master_process off; pid {path}/pid; error_log stderr;\nevents {{}}\n\
             http {{ access_log off; {paths} server {{ listen 127.0.0.1:{port}; }} }}\n"
        ),
    )?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(config);
    Server::start(command, directory)?.listening_on(port)
}

fn of_nginx() -> Result<()> {
    let directory = Directory::new()?;
    let port = free_port()?;
    let server = nginx(&directory, port)?;
    let file = directory.path().join("pid");
    let pid = fs::read_to_string(&file)?.trim().to_owned();
    let (file, listener) = (file.display(), format!("{{listener: {{tcp: {port}}}}}"));
    let process = |name: &str| format!("{{process: {{pid_file: {file}, name: {name}}}}}");
    expect(&[
        ("listener", listener.clone(), true, &format!("a program listens on tcp {port} (127.0.0.1)")),
        (
            "own-address",
            format!("{{listener: {{tcp: {port}, address: 127.0.0.1}}}}"),
            true,
            &format!("a program listens on tcp 127.0.0.1:{port}"),
        ),
        (
            "other-address",
            format!("{{listener: {{tcp: {port}, address: 192.0.2.10}}}}"),
            false,
            &format!("no program listens on tcp 192.0.2.10:{port}, only on 127.0.0.1:{port}"),
        ),
        (
            "udp",
            format!("{{listener: {{udp: {port}}}}}"),
            false,
            &format!("no program listens on udp {port}"),
        ),
        ("process", process("nginx"), true, &format!("process {pid} (nginx) is alive")),
        ("other", process("bird"), false, &format!("process {pid} of {file} is \"nginx\", not \"bird\"")),
    ])?;
    // Killed: the file with its id stays.
    drop(server);
    expect(&[
        ("listener", listener, false, &format!("no program listens on tcp {port}")),
        ("process", process("nginx"), false, &format!("process {pid} of {file} is gone")),
    ])
}

fn of_this_host() -> Result<()> {
    expect(&[
        ("loopback", "{interface: lo}".into(), true, "the link of lo is up"),
        ("nonesuch", "{interface: nonesuch0}".into(), false, "there is no interface nonesuch0"),
    ])
}
