//! `http` against nginx.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::process::Command;
use std::thread;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use vipcast_lab::trial;

use crate::pki::{Authority, DAY, Pair};
use crate::server::{Directory, Server, ask, expect, free_port, needs};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("http_against_nginx", needs("nginx"), against_nginx),
        trial("http_over_tls_and_http2_against_nginx", needs("nginx"), encrypted),
        trial("http_answers_that_curl_takes_are_taken_and_no_others", needs("curl"), as_curl_does),
        trial("http_and_others_with_the_proxy_protocol_and_over_unix_sockets", needs("nginx"), dialled),
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

/// Answers as they are found in the world, each with a body that holds `ok`.
fn answers() -> Vec<(&'static str, Vec<u8>)> {
    let many = |number: usize, length: usize| {
        let fields: String =
            (0..number).map(|field| format!("X-{field}: {}\r\n", "y".repeat(length))).collect();
        format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok").into_bytes()
    };
    let status = |line: &str| format!("{line}\r\nContent-Length: 2\r\n\r\nok").into_bytes();
    let field =
        |field: &str| format!("HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: 2\r\n\r\nok").into_bytes();
    let length = |length: &str| format!("HTTP/1.1 200 OK\r\nContent-Length:{length}\r\n\r\nok").into_bytes();
    let chunks =
        |chunks: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}").into_bytes();
    vec![
        ("plain", status("HTTP/1.1 200 OK")),
        ("http-2.0", status("HTTP/2.0 200 OK")),
        ("http-2", status("HTTP/2 200 OK")),
        ("http-3", status("HTTP/3 200 OK")),
        ("http-1.2", status("HTTP/1.2 200 OK")),
        ("http-1", status("HTTP/1 200 OK")),
        ("lower-case", status("http/1.1 200 OK")),
        ("no-version", status("HTTP 200 OK")),
        ("blank-first", status(" HTTP/1.1 200 OK")),
        ("empty-line-first", status("\r\nHTTP/1.1 200 OK")),
        ("no-reason", status("HTTP/1.1 200")),
        ("no-reason-but-a-blank", status("HTTP/1.1 200 ")),
        ("reason-at-once", status("HTTP/1.1 200OK")),
        ("two-blanks", status("HTTP/1.1  200 OK")),
        ("tab", status("HTTP/1.1\t200 OK")),
        ("two-digits", status("HTTP/1.1 20 OK")),
        ("four-digits", status("HTTP/1.1 2000 OK")),
        ("words", status("HTTP/1.1 two hundred")),
        ("latin-1", b"HTTP/1.1 200 \xe9\r\nX: \xff\r\nContent-Length: 2\r\n\r\nok".to_vec()),
        ("blank-before-colon", field("X : y")),
        ("length-with-blank", b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok".to_vec()),
        ("folded", field("X: a\r\n b\r\n\tc")),
        ("folded-from-nothing", field(" folded")),
        ("odd-name", field("X(y)@[z]: a")),
        ("no-name", field(": a")),
        ("no-colon", field("no colon here")),
        ("nul", field("X: a\0b")),
        ("150-fields", many(150, 1)),
        ("5000-fields", many(5000, 1)),
        ("a-field-of-64-KiB", many(1, 65_000)),
        ("a-field-of-110-KiB", many(1, 110_000)),
        ("250-KiB", many(250, 1000)),
        ("330-KiB", many(330, 1000)),
        ("line-feeds", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok".to_vec()),
        ("continue", [&b"HTTP/1.1 100 Continue\r\n\r\n"[..], &status("HTTP/1.1 200 OK")].concat()),
        ("early-hints", [&b"HTTP/1.1 103 X\r\nLink: x\r\n\r\n"[..], &status("HTTP/1.1 200 OK")].concat()),
        ("length-twice", field("Content-Length: 2")),
        ("two-lengths", field("Content-Length: 3")),
        ("list-of-lengths", length(" 2, 2")),
        ("plus", length(" +2")),
        ("blanks", length("    2   ")),
        ("unit", length(" 2 bytes")),
        ("negative", length(" -2")),
        ("word", length(" two")),
        ("no-length", length("")),
        ("huge", length(" 99999999999999999999999")),
        ("too-short", length(" 20")),
        (
            "chunked-1.0",
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_vec(),
        ),
        ("identity", field("Transfer-Encoding: identity")),
        ("capitals", b"HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_vec()),
        (
            "both",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
                .to_vec(),
        ),
        ("chunk-extension", chunks("2;a=b\r\nok\r\n0\r\n\r\n")),
        ("chunk-blanks", chunks("2  \r\nok\r\n0\r\n\r\n")),
        ("chunk-blank-first", chunks(" 2\r\nok\r\n0\r\n\r\n")),
        ("chunk-zeros", chunks("0000000000000002\r\nok\r\n0\r\n\r\n")),
        ("chunk-line-feeds", chunks("2\nok\n0\n\n")),
        ("chunk-trailer", chunks("2\r\nok\r\n0\r\nX: y\r\n\r\n")),
        ("chunk-without-the-last", chunks("2\r\nok\r\n")),
        ("chunk-without-size", chunks("xyz\r\nok\r\n")),
        ("chunk-too-long", chunks("2\r\nokay\r\n0\r\n\r\n")),
        ("no-http", b"ok\n".to_vec()),
        ("icy", b"ICY 200 OK\r\n\r\nok".to_vec()),
    ]
}

/// Answers every request on a port of its own with these bytes, and closes.
fn raw(answer: Vec<u8>) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                head.push(byte[0]);
            }
            // Who has seen enough closes before all is written.
            let _written = stream.write_all(&answer).and_then(|()| stream.shutdown(Shutdown::Write));
            let _drained = io::copy(&mut stream, &mut io::sink());
        }
    });
    Ok(port)
}

fn as_curl_does() -> Result<()> {
    let mut ports = Vec::new();
    for (name, answer) in answers() {
        ports.push((name, raw(answer)?));
    }
    let asked = ask(ports.iter().map(|(name, port)| {
        (*name, format!("{{http: {{url: \"http://127.0.0.1:{port}/\", body: {{regex: ok}}}}, timeout: 1s}}"))
    }))?;
    let mut wrong = String::new();
    for (name, port) in ports {
        let output = Command::new("curl")
            .args(["-s", "-m", "5", "-w", "|%{http_code}", &format!("http://127.0.0.1:{port}/")])
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let taken = output.status.success() && said.ends_with("|200") && said.contains("ok");
        let probed = &asked[name];
        if probed.passed != taken {
            writeln!(wrong, "{name}: curl {}, {said:?}; vipcast {probed:?}", output.status)?;
        }
    }
    ensure!(wrong.is_empty(), "\n{wrong}");
    Ok(())
}

fn dialled() -> Result<()> {
    let directory = Directory::new()?;
    let authority = Authority::new(&directory, "ours")?;
    let pair = authority.issue("web.example", Some(90 * DAY))?;
    let ca = authority.file.display().to_string();
    let [port, tls, nobody] = [free_port()?, free_port()?, free_port()?];
    let path = directory.path().display();
    let servers = format!(
        "server {{ listen 127.0.0.1:{port} proxy_protocol; location = /who {{ return 200 'from \
         $proxy_protocol_addr:$proxy_protocol_port to $proxy_protocol_server_addr:$proxy_protocol_server_port'; }} \
         location = /moved {{ return 302 /who; }} location = /sick {{ return 503; }} }}\n\
         server {{ listen 127.0.0.1:{tls} ssl http2 proxy_protocol; ssl_certificate {}; ssl_certificate_key {}; \
         location / {{ return 200 secure; }} }}\n\
         server {{ listen unix:{path}/web.sock; location / {{ return 200 $http_host; }} }}\n\
         server {{ listen unix:{path}/proxied.sock proxy_protocol; location / {{ return 200 proxied; }} }}\n",
        pair.certificate.display(),
        pair.key.display()
    );
    let _nginx = nginx(&directory, &servers, port)?;
    let http = |port: u16, path: &str, more: &str| {
        format!("{{http: {{url: \"http://127.0.0.1:{port}{path}\"{more}}}, timeout: 900ms}}")
    };
    let ends = format!("body: {{regex: '^from 127\\.0\\.0\\.1:[0-9]+ to 127\\.0\\.0\\.1:{port}$'}}");
    let secure = |version: u8| {
        format!(
            "{{http: {{url: \"https://127.0.0.1:{tls}/\", host: web.example, tls: {{ca_file: {ca}}}, proxy_protocol: 2, version: \
             {version}, body: secure}}, timeout: 900ms}}"
        )
    };
    let socket = |name: &str, more: &str| {
        format!("{{http: {{url: \"http://a.example/\", unix: {path}/{name}{more}}}, timeout: 900ms}}")
    };
    expect(&[
        ("v1", http(port, "/who", &format!(", proxy_protocol: 1, {ends}")), true, "200 OK"),
        ("v2", http(port, "/who", &format!(", proxy_protocol: 2, {ends}")), true, "200 OK"),
        (
            "followed",
            http(port, "/moved", &format!(", proxy_protocol: 2, redirects: 1, {ends}")),
            true,
            "200 OK",
        ),
        ("sick", http(port, "/sick", ", proxy_protocol: 1"), false, "503 Service Unavailable, wanted 200"),
        ("none", http(port, "/who", ""), false, "connection closed before the answer"),
        ("refused", http(nobody, "/who", ", proxy_protocol: 1"), false, "connection refused"),
        ("old", secure(1).replace("version: 1", "version: 1.1"), true, "200 OK"),
        ("new", secure(2), true, "200 OK"),
        (
            "tls",
            format!(
                "{{tls: {{address: \"127.0.0.1:{tls}\", server_name: web.example, ca_file: {ca}, proxy_protocol: 1}}, timeout: \
                 900ms}}"
            ),
            true,
            "TLS 1.2, certificate expires in 90 days",
        ),
        (
            "tcp",
            format!(
                "{{tcp: {{address: \"127.0.0.1:{port}\", proxy_protocol: 2, send: \"GET /sick HTTP/1.0\\r\\n\\r\\n\", expect: \" 503 \
                 \"}}, timeout: 900ms}}"
            ),
            true,
            "received \"HTTP/1.1 503 Service Temporarily Unavailable\\r\\nServer: ngin…\"",
        ),
        ("socket", socket("web.sock", ", body: {regex: '^a\\.example$'}"), true, "200 OK"),
        ("socket-v1", socket("proxied.sock", ", proxy_protocol: 1, body: proxied"), true, "200 OK"),
        ("socket-v2", socket("proxied.sock", ", proxy_protocol: 2, body: proxied"), true, "200 OK"),
        ("socket-none", socket("proxied.sock", ""), false, "connection closed before the answer"),
        ("gone", socket("gone.sock", ""), false, &format!("{path}/gone.sock: no such file or directory")),
        ("tcp-socket", format!("{{tcp: \"unix:{path}/web.sock\", timeout: 900ms}}"), true, "connected"),
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
