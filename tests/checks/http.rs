//! `http` against nginx.

use std::process::Command;

use anyhow::Result;
use libtest_mimic::Trial;
use vipcast_lab::trial;

use crate::server::{Directory, Server, expect, free_port, needs};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("http_against_nginx", needs("nginx"), against_nginx)]
}

/// nginx with `servers`, the `server` blocks of its configuration, one of which listens on `port`.
fn nginx(directory: &Directory, servers: &str, port: u16) -> Result<Server> {
    let path = directory.path().display();
    let config = directory.write(
        "nginx.conf",
        &format!(
            "daemon off; worker_processes 1; pid {path}/pid; error_log stderr;\nevents {{}}\nhttp {{\n  access_log off; \
             client_body_temp_path {path}/body; proxy_temp_path {path}/proxy; fastcgi_temp_path {path}/fastcgi; \
             uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;\n{servers}}}\n"
        ),
    )?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(config);
    Server::start(command, directory)?.listening_on(port)
}

fn against_nginx() -> Result<()> {
    let directory = Directory::new()?;
    let (port, nobody) = (free_port()?, free_port()?);
    let servers = format!(
        "server {{ listen 127.0.0.1:{port}; location = /healthz {{ return 200 'all well\\n'; }} location = /sick {{ return \
         503; }} location = /moved {{ return 301 /healthz; }} location = /closed {{ return 444; }} }}\n"
    );
    let _nginx = nginx(&directory, &servers, port)?;
    let http = |port, path| format!("{{http: {{url: \"http://127.0.0.1:{port}{path}\"}}, timeout: 900ms}}");
    expect(&[
        ("healthy", http(port, "/healthz"), true, "200 OK"),
        ("sick", http(port, "/sick"), false, "503 Service Unavailable, wanted 200"),
        ("moved", http(port, "/moved"), false, "301 Moved Permanently, wanted 200"),
        ("closed", http(port, "/closed"), false, "connection closed before the answer"),
        ("missing", http(port, "/missing"), false, "404 Not Found, wanted 200"),
        ("refused", http(nobody, "/healthz"), false, "connection refused"),
    ])
}
