//! The keys of each kind of check.

use super::{
    DOMAIN, DURATION, FILE_PATH, HEX, HOST, HOST_AND_PORT, INTERFACE, IP, Key, LONG, NAME, PATH, PATTERN,
    PERCENT, RESOLVER, SECONDS, SERVER, SOCKET_PATH, SOME_TEXT, STATUS, SWITCH, Section, TEXT, UNIT, URL,
    either, list, map, number, section, some, word,
};

const PORT: &str = "host and port go together: `address: \"127.0.0.1:8080\"`";
const PROTOCOL: &str = "the protocol is a key, and the port its value: `tcp: 8080` or `udp: 53`";

section! {
    HTTP("http", "under `http`") {
        /// `http://` or `https://`, with no user name and no fragment
        url: URL => required() written("URL") called(&["uri", "endpoint"]);
        /// the Host header, and whom a certificate must be for
        host: HOST => written("host name or address") default("that of the URL");
        /// what passes
        status: either(&[STATUS, some(&STATUS)]) =>
            written("100 to 599, a range `200-299`, or a list") default("200");
        /// for https: the keys of [`tls`](#tls) but for the first three
        tls: section(&TLS) => written("map");
        /// how it is asked
        method: word(&["GET", "HEAD", "POST", "OPTIONS", "PUT"]) =>
            written("GET, HEAD, POST, OPTIONS, PUT") default("GET");
        /// headers to send, or to send instead of `user-agent` and `accept`; their values are never shown
        headers: map(&TEXT) => written("map");
        /// sent with POST and PUT
        request_body: TEXT;
        /// must be in the first 64 KiB of the body, which is not read otherwise
        body: either(&[SOME_TEXT, section(&PATTERN)]) => written("text");
        /// how many to follow, of GET and HEAD; with 0 a redirect is the answer; what a result quotes of a URL has `***`
        /// for the user and the values of the query
        redirects: number(0, 10) => default("0");
        /// 2 is agreed on in the TLS handshake; over http the server must expect it (prior knowledge)
        version: word(&["1.1", "2"]) => written("1.1 or 2") default("1.1");
        /// the socket on this host that is asked instead of the url's host; `@` is for an abstract one
        unix: SOCKET_PATH => written("absolute path, or `@name`") called(&["unix_socket", "socket_path"]);
        /// begin the connection with the PROXY protocol, as a load balancer does, with the real addresses of both ends
        proxy_protocol: number(1, 2) =>
            written("1 or 2") called(&["proxy", "send_proxy", "send_proxy_v2", "haproxy_protocol"]);
    }
}

section! {
    TLS_KIND("tls_check", "under `tls`").at_most_one_of(&[&["insecure", "expiry"], &["insecure", "ca_file"]]).with(&[("client_cert_file", "client_key_file"), ("client_key_file", "client_cert_file")]) {
        /// whom to connect to, as for [`tcp`](#tcp)
        address: HOST_AND_PORT => required() own() written("`host:port`") called(&["host", "ip", "neighbor", "remote_address"]);
        /// protocols to offer, of which the server must choose one: `[h2, http/1.1]`
        alpn: list(&TEXT) => own() written("list");
        /// begin the connection with the PROXY protocol, before TLS
        proxy_protocol: number(1, 2) =>
            own() written("1 or 2") called(&["proxy", "send_proxy", "send_proxy_v2", "haproxy_protocol"]);
        /// PEM file with the authorities to trust
        ca_file: FILE_PATH => default("the system's") called(&["ca", "ca_cert", "cacert", "ca_bundle", "root_ca"]);
        /// accept any certificate; not with `ca_file` or `expiry`
        insecure: SWITCH =>
            default("false") called(&["insecure_skip_verify", "skip_verify", "tls_skip_verify", "no_verify"]);
        /// whom the certificate must be for, and the name that is asked for (SNI)
        server_name: TEXT =>
            written("host name or address") default("the host") called(&["sni", "servername"]);
        /// PEM file with our certificate and its chain, for servers that ask for one
        client_cert_file: PATH => called(&["cert", "cert_file", "certificate", "client_cert"]);
        /// PEM file with its private key, which other users must not be able to read
        client_key_file: PATH => called(&["key", "client_key", "private_key"]);
        /// fail when the certificate, or that of an authority in its chain, expires within this time
        expiry: LONG =>
            written("duration, 1m or more") called(&["min_days", "expires_within", "days", "days_left"]);
    }
}

/// The keys of TLS where it is part of another kind.
pub(in crate::config) static TLS: Section = Section::sharing("tls", "under `tls`", &TLS_KIND);

section! {
    GRPC("grpc", "under `grpc`") {
        /// whom to connect to, as for [`tcp`](#tcp)
        address: SERVER =>
            required() written("`host:port`") called(&["host", "ip", "neighbor", "remote_address"]);
        /// the service that is asked about: `package.Service`
        service: TEXT => default("the server as a whole");
        /// whom we ask for (`:authority`)
        authority: TEXT => written("host name, with or without a port") default("the address");
        /// TLS, with the keys of [`tls`](#tls) but for the first three
        tls: either(&[SWITCH, section(&TLS)]) => written("true, false or a map") default("false");
        /// begin the connection with the PROXY protocol, as a load balancer does
        proxy_protocol: number(1, 2) =>
            written("1 or 2") called(&["proxy", "send_proxy", "send_proxy_v2", "haproxy_protocol"]);
    }
}

section! {
    TCP("tcp", "under `tcp`").at_most_one_of(&[&["send", "send_hex"]]).instead(&[("port", PORT)]) {
        /// whom to connect to, with IPv6 addresses in brackets; the port alone where the check has a `host`
        address: SERVER =>
            required() written("`host:port`") called(&["host", "ip", "neighbor", "remote_address"]);
        /// sent as soon as the connection is there; double quotes have escapes: `"PING\r\n"`
        send: SOME_TEXT => default("nothing") called(&["request", "payload"]);
        /// the same for bytes that are no text, instead of `send`
        send_hex: HEX => written("hexadecimal digits");
        /// must be in the first 64 KiB of the answer, of which no more is read than is needed
        expect: either(&[SOME_TEXT, section(&PATTERN)]) =>
            written("text") default("nothing") called(&["receive", "response", "reply", "answer"]);
        /// begin the connection with the PROXY protocol, as a load balancer does
        proxy_protocol: number(1, 2) =>
            written("1 or 2") called(&["proxy", "send_proxy", "send_proxy_v2", "haproxy_protocol"]);
    }
}

section! {
    UDP("udp", "under `udp`").one_of(&[&["send", "send_hex"]]).instead(&[("port", PORT)]) {
        /// whom to ask, with IPv6 addresses in brackets; the port alone where the check has a `host`
        address: HOST_AND_PORT =>
            required() written("`host:port`") called(&["host", "ip", "neighbor", "remote_address"]);
        /// what to send: one datagram, with the escapes of YAML: `"PING\r\n"`
        send: SOME_TEXT => required() called(&["request", "payload"]);
        /// the same for bytes that are no text, instead of `send`
        send_hex: HEX => written("hexadecimal digits");
        /// what must be in the answer, of which the first 4 KiB are looked at
        expect: either(&[SOME_TEXT, section(&PATTERN)]) =>
            written("text, or `{regex: \"…\"}`") default("any answer")
            called(&["receive", "response", "reply", "answer"]);
    }
}

section! {
    DNS("dns", "under `dns`") {
        /// whom to ask; may be left out where the check has a `host`
        server: RESOLVER =>
            required() said_elsewhere() written("host name or IP address, with `:port` or without") default("port 53")
            called(&["nameserver", "resolver"]);
        /// what to ask for
        name: DOMAIN => required() called(&["qname", "query", "domain"]);
        /// by its name or as `TYPE65`
        type: TEXT => written("type of record") default("A") called(&["qtype", "record_type", "record"]);
        /// with `udp`, an answer that is cut (TC) is asked for again over TCP, which must work then
        transport: word(&["udp", "tcp"]) => written("`udp` or `tcp`") default("udp");
        /// what passes
        rcode: either(&[TEXT, list(&TEXT)]) =>
            written("response code, or a list") default("NOERROR") called(&["status"]);
        /// the values that must be among the answers, in any order, as in a zone file; with `[]` there must be none
        answers: list(&TEXT) => written("list of texts") default("any") called(&["expected", "values"]);
        /// whether the server must have verified the answer with DNSSEC (the AD bit)
        authenticated: SWITCH => default("false") called(&["ad", "dnssec"]);
        /// whether the server is to ask others (the RD bit); a server of zones ignores it
        recursion: SWITCH => default("true") called(&["rd", "recurse"]);
        /// whether to ask with EDNS; a server that answers it with FORMERR, NOTIMP or BADVERS is asked again without, one
        /// that is silent needs `false`
        edns: SWITCH => default("true");
    }
}

section! {
    ICMP("icmp", "under `icmp`") {
        /// whom to ask; may be left out where the check has a `host`
        host: HOST => required() said_elsewhere();
        /// requests of each probe
        count: number(1, 100) => default("3") called(&["packets"]);
        /// how many of them may be lost: one of three, because single packets get lost and hosts limit ICMP
        loss: PERCENT => written("0% to 99%") default("34%") called(&["packet_loss", "max_loss"]);
        /// bytes of data in each, as for `ping`
        size: number(8, 9000) => default("56");
        /// between two of them; all must be sent within the `timeout`
        spacing: DURATION => written("1ms or more") default("20ms");
    }
}

section! {
    FILE("file", "under `file`") {
        /// which file
        path: PATH => required();
        /// whether it is to be there; with `false`, nothing may have this name, not even a dangling link
        present: SWITCH => default("true");
        /// how long ago it may have been changed
        max_age: SECONDS => written("1s or more");
        /// what it must hold within its first 64 KiB
        contains: either(&[SOME_TEXT, section(&PATTERN)]) => written("text, or `{regex: \"…\"}`");
    }
}

section! {
    EXEC("exec", "under `exec`").one_of(&[&["command", "shell"]]) {
        /// the program, by its whole path, and its arguments
        command: some(&TEXT) => written("list") called(&["cmd", "program", "script"]);
        /// a line for `/bin/sh` instead
        shell: SOME_TEXT;
        /// who runs it; of its groups it has the primary one only
        user: TEXT => written("user name") default("that of the daemon");
        /// which group runs it
        group: TEXT => written("group name") default("that of the user");
        /// where it runs
        directory: PATH => default("that of the daemon") called(&["cwd", "working_directory", "chdir"]);
        /// what it finds in its environment; names that begin with `VIPCAST_` are taken, and values are not shown anywhere
        environment: map(&TEXT) => written("map") called(&["env"]);
    }
}

section! {
    LISTENER("listener", "under `listener`").one_of(&[&["tcp", "udp"]]).instead(&[("port", PROTOCOL), ("protocol", PROTOCOL)]) {
        /// a TCP port that somebody must listen on; or
        tcp: number(1, 65535) => required();
        /// a UDP port that somebody must have open, connected to nobody
        udp: number(1, 65535) => required();
        /// the address that it must be; a wildcard socket is one of every address of its family, and `::` of IPv4, too,
        /// unless it is for IPv6 alone
        address: IP => written("IP address") default("any") called(&["host", "ip", "neighbor", "remote_address"]);
    }
}

section! {
    PROCESS("process", "under `process`").one_of(&[&["pid_file", "pid"]]) {
        /// a file with the id of the process on its first line, read at every probe; or
        pid_file: PATH => required();
        /// the id itself
        pid: number(1, 4194304) => required();
        /// what its command (as `ps -o comm` shows it) or its program must be called: so another process that was given the
        /// id of a dead one does not pass. The unit of the package may not see the program of a process that has more
        /// capabilities than vipcast; there the command counts, or `systemctl edit vipcast` adds CAP_SYS_PTRACE
        name: NAME => written("file name") default("anything") called(&["qname", "query", "domain"]);
    }
}

section! {
    INTERFACE_KIND("interface", "under `interface`") {
        /// it must be switched on, with a carrier, and its state `up` or `unknown`, which is what drivers without one say
        name: INTERFACE => required() called(&["qname", "query", "domain"]);
    }
}

section! {
    SYSTEMD("systemd", "under `systemd`") {
        /// its ActiveState must be `active` or `reloading`
        unit: UNIT => required() written("unit name, with its suffix");
        /// the socket of systemd itself or of the bus that it is on
        bus: PATH =>
            default("`/run/systemd/private` for root where it is there, else `/run/dbus/system_bus_socket`");
    }
}
