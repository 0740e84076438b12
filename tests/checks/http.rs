//! `http` against nginx.

use std::process::Command;

use anyhow::Result;
use libtest_mimic::Trial;
use vipcast_lab::trial;

use crate::pki::{Authority, DAY, Pair};
use crate::server::{Directory, Server, expect, free_port, needs};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("http_against_nginx", needs("nginx"), against_nginx),
        trial("http_over_tls_and_http2_against_nginx", needs("nginx"), encrypted),
    ]
}

/// nginx with `servers`, the `server` blocks of its configuration, one of which listens on `port`.
pub(crate) fn nginx(directory: &Directory, servers: &str, port: u16) -> Result<Server> {
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
         503; }} location = /moved {{ return 301 /healthz; }} location = /closed {{ return 444; }} \
         location = /circle {{ return 302 /circle; }} location = /post {{ if ($request_method != POST) {{ return 403; }} \
         if ($http_x_who != me) {{ return 403; }} return 200; }} }}\n"
    );
    let _nginx = nginx(&directory, &servers, port)?;
    let http = |port, path| format!("{{http: {{url: \"http://127.0.0.1:{port}{path}\"}}, timeout: 900ms}}");
    let asking = |path: &str, more: &str| {
        format!("{{http: {{url: \"http://127.0.0.1:{port}{path}\", {more}}}, timeout: 900ms}}")
    };
    expect(&[
        ("healthy", http(port, "/healthz"), true, "200 OK"),
        ("sick", http(port, "/sick"), false, "503 Service Unavailable, wanted 200"),
        ("moved", http(port, "/moved"), false, "301 Moved Permanently, wanted 200"),
        ("closed", http(port, "/closed"), false, "connection closed before the answer"),
        ("missing", http(port, "/missing"), false, "404 Not Found, wanted 200"),
        ("refused", http(nobody, "/healthz"), false, "connection refused"),
        ("body", asking("/healthz", "body: well"), true, "200 OK"),
        (
            "regex",
            asking("/healthz", "body: {regex: '^all w[a-z]+$'}"),
            false,
            "200 OK, but /^all w[a-z]+$/ is not in the body",
        ),
        ("lines", asking("/healthz", "body: {regex: '(?m)^all w[a-z]+$'}"), true, "200 OK"),
        ("no-body", asking("/healthz", "body: ill"), false, "200 OK, but \"ill\" is not in the body"),
        ("head", asking("/healthz", "method: HEAD"), true, "200 OK"),
        ("post", asking("/post", "method: POST, request_body: hello, headers: {X-Who: me}"), true, "200 OK"),
        ("get", asking("/post", "headers: {X-Who: me}"), false, "403 Forbidden, wanted 200"),
        (
            "anonymous",
            asking("/post", "method: POST, request_body: hello"),
            false,
            "403 Forbidden, wanted 200",
        ),
        ("followed", asking("/moved", "redirects: 1, body: well"), true, "200 OK"),
        (
            "circle",
            asking("/circle", "redirects: 5"),
            false,
            &format!("the redirects go round in circles, back to http://127.0.0.1:{port}/circle"),
        ),
        ("knowing", asking("/healthz", "version: 2"), false, "the answer is not HTTP/2: FRAME_SIZE_ERROR"),
    ])
}

fn encrypted() -> Result<()> {
    let directory = Directory::new()?;
    let authority = Authority::new(&directory, "ours")?;
    let long = authority.issue("web.example", Some(90 * DAY))?;
    let soon = authority.issue("web.example", Some(12 * DAY))?;
    let expired = authority.issue("web.example", None)?;
    let client = authority.issue("node-a", Some(30 * DAY))?;
    let ca = authority.file.display().to_string();
    let ports = [free_port()?, free_port()?, free_port()?, free_port()?, free_port()?, free_port()?];
    let [old, new, clear, ending, ended, asking] = ports;
    let block = |listen: String, pair: &Pair, more: &str| {
        format!(
            "server {{ listen 127.0.0.1:{listen}; ssl_certificate {}; ssl_certificate_key {}; {more} location = /healthz {{ \
             return 200 'all well\\n'; }} location = /up {{ return 301 https://web.example:{old}/healthz; }} }}\n",
            pair.certificate.display(),
            pair.key.display()
        )
    };
    let servers = [
        block(format!("{old} ssl"), &long, ""),
        block(format!("{new} ssl http2"), &long, ""),
        block(format!("{clear} http2"), &long, ""),
        block(format!("{ending} ssl"), &soon, ""),
        block(format!("{ended} ssl"), &expired, ""),
        block(format!("{asking} ssl"), &long, &format!("ssl_client_certificate {ca}; ssl_verify_client on;")),
    ];
    let _nginx = nginx(&directory, &servers.concat(), old)?;
    let https = |port: u16, tls: &str, more: &str| {
        format!(
            "{{http: {{url: \"https://127.0.0.1:{port}/healthz\", host: web.example, tls: {{ca_file: {ca}{tls}}}{more}}}, \
             timeout: 900ms}}"
        )
    };
    let known = format!(
        ", client_cert_file: {}, client_key_file: {}",
        client.certificate.display(),
        client.key.display()
    );
    let clear = |more: &str| format!("{{http: {{url: \"http://127.0.0.1:{clear}/{more}}}, timeout: 900ms}}");
    expect(&[
        ("old", https(old, "", ""), true, "200 OK"),
        ("new", https(new, "", ", version: 2, body: well"), true, "200 OK"),
        ("not-new", https(old, "", ", version: 2"), false, "the server does not speak h2 on this port"),
        ("clear", clear("healthz\", version: 2, body: well"), true, "200 OK"),
        ("clear-404", clear("sick\", version: \"2\""), false, "404 Not Found, wanted 200"),
        (
            "sent-up",
            clear(&format!("up\", host: web.example, redirects: 1, version: 2, tls: {{ca_file: {ca}}}")),
            false,
            &format!("https://web.example:{old}/healthz: the server does not speak h2 on this port"),
        ),
        ("lasting", https(old, ", expiry: 14d", ""), true, "200 OK"),
        ("ending", https(ending, ", expiry: 14d", ""), false, "certificate expires in 12 days"),
        ("ended", https(ended, "", ""), false, "certificate expired"),
        (
            "named",
            https(old, ", server_name: other.example", ""),
            false,
            "certificate is not for \"other.example\"",
        ),
        ("client", https(asking, &known, ""), true, "200 OK"),
        // nginx asks, and says no in HTTP.
        ("no-client", https(asking, "", ""), false, "400 Bad Request, wanted 200"),
    ])
}
