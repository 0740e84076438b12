//! Passwords of peers: their allowed places, and no output that shows them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use vipcast::config::{self, Host};
use vipcast_bgp::secret::Secret;
use vipcast_bgp::transport::Authentication;

const KEY: &str = "correct-horse";

/// A directory that goes away with its test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vipcast-secrets-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    fn write(&self, file: &str, text: &[u8], mode: u32) -> String {
        let path = self.0.join(file);
        fs::write(&path, text).expect("a temporary file");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("our own file");
        path.display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config(keys: &str) -> String {
    format!(
        "local_as: 65001\npeers:\n  tor: {{address: 192.0.2.1, peer_as: 65000, {keys}}}\nservices: {{web: {{vips: [198.51.100.1], checks: []}}}}\n"
    )
}

/// The key that a configuration ends up with, or the first error.
fn key(keys: &str) -> Result<Option<Authentication>, String> {
    match config::parse("vipcast.yaml", &config(keys)) {
        Ok(loaded) => Ok(loaded.config.peers["tor"].authentication.clone()),
        Err(found) => Err(found.iter().next().map(|first| first.message.clone()).unwrap_or_default()),
    }
}

fn md5(key: &str) -> Result<Option<Authentication>, String> {
    Ok(Some(Authentication::Md5(Secret::new(key.as_bytes()).expect("a key"))))
}

#[test]
fn a_password_file_has_one_line_and_is_nobody_elses() {
    let directory = Directory::new("file");
    let long = "x".repeat(81);
    let cases: [(&[u8], u32, &str); 8] = [
        (b"correct-horse\n", 0o600, ""),
        (b"correct-horse\r\n", 0o640, ""),
        (b"correct-horse", 0o400, ""),
        (b"correct-horse\n", 0o644, "`F` holds a password, and everyone may read or write it"),
        (b"correct-horse\n", 0o602, "`F` holds a password, and everyone may read or write it"),
        (b"\n", 0o600, "the password in `F` cannot be used: it is empty"),
        (b"one\ntwo\n", 0o600, "`F` has more than one line"),
        (
            long.as_bytes(),
            0o600,
            "the password in `F` cannot be used: it has 81 bytes, and the kernel takes 80 at most",
        ),
    ];
    for (text, mode, error) in cases {
        let path = directory.write("key", text, mode);
        let expected = if error.is_empty() { md5(KEY) } else { Err(error.replace('F', &path)) };
        assert_eq!(key(&format!("password_file: {path}")), expected, "{text:?} {mode:o}");
    }
    let missing = directory.0.join("none").display().to_string();
    let error = key(&format!("password_file: {missing}")).expect_err("there is no such file");
    assert_eq!(error, format!("cannot read `{missing}`: no such file or directory"));
    let error = key(&format!("password_file: {}", directory.0.display())).expect_err("it is a directory");
    assert!(error.ends_with("is not a file"), "{error}");
}

#[test]
fn a_peer_takes_the_key_of_the_defaults_unless_it_has_one() {
    let text = "local_as: 65001
peer_defaults: {peer_as: 65000, password: shared, ttl_security: 2, interface: eth0}
peers:
  a: {address: 192.0.2.1}
  b: {address: 192.0.2.2, password: own, multihop: 3}
services: {web: {vips: [198.51.100.1], checks: []}}
";
    let peers = config::parse("vipcast.yaml", text).expect("it is valid").config.peers;
    assert_eq!(Ok(peers["a"].authentication.clone()), md5("shared"));
    assert_eq!(Ok(peers["b"].authentication.clone()), md5("own"));
    let reach = |name: &str| format!("{:?}", peers[name].reach);
    assert_eq!((reach("a"), reach("b")), ("TtlSecurity(2)".to_owned(), "Multihop(3)".to_owned()));
    assert_eq!(peers["b"].interface.as_deref(), Some("eth0"));
}

#[test]
fn a_password_in_the_configuration_is_refused_where_everyone_may_read_that() {
    let directory = Directory::new("written");
    for (mode, accepted) in [(0o600, true), (0o640, true), (0o644, false)] {
        let path = directory.write("vipcast.yaml", config(&format!("password: {KEY}")).as_bytes(), mode);
        match config::load(path.as_ref(), Host::Strict) {
            Ok(_) => assert!(accepted, "{mode:o}"),
            Err(found) => {
                assert!(!accepted, "{mode:o}: {found}");
                assert!(
                    found.to_string().contains("there is a password in this file, and everyone may read it")
                );
                assert!(!found.to_string().contains(KEY), "{found}");
            }
        }
    }
}

#[test]
fn no_diagnostic_shows_a_password() {
    let broken = [
        config(&format!("password: {KEY}, hold_tiem: 3s")),
        config(&format!("password: \"{KEY}\", port: 0")),
        config(&format!("password: {KEY}, password_file: {KEY}")),
        // A syntax error, on the same line and after it.
        format!("peers:\n  tor:\n    password: \"{KEY}\n    address: 192.0.2.1\n"),
        format!("peers:\n  tor:\n    password: {KEY}\n  address: [\n"),
    ];
    for text in broken {
        let found = config::parse("vipcast.yaml", &text).expect_err("it is broken");
        let shown = format!("{found}{}", serde_json::to_string(&found).expect("plain data"));
        let lines = shown.lines().filter(|line| line.contains("password:")).collect::<Vec<_>>();
        assert!(lines.iter().all(|line| !line.contains("horse")), "{lines:#?}");
    }
    let loaded = config::parse("vipcast.yaml", &config(&format!("password: {KEY}"))).expect("it is valid");
    assert!(!format!("{loaded:?}").contains(KEY), "{loaded:?}");
}

/// The environment is that of a process of its own.
#[test]
fn a_credential_comes_from_the_directory_that_systemd_names() {
    let directory = Directory::new("credential");
    directory.write("tor-key", b"correct-horse\n", 0o400);
    let path = directory.write("vipcast.yaml", config("password_credential: tor-key").as_bytes(), 0o644);
    let check = |credentials: Option<&PathBuf>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vipcast"));
        command.args(["check", &path]).env_remove("CREDENTIALS_DIRECTORY");
        command.envs(credentials.map(|path| ("CREDENTIALS_DIRECTORY", path)));
        let output = command.output().expect("vipcast starts");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let (code, said) = check(Some(&directory.0));
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = check(None);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("there are no credentials: CREDENTIALS_DIRECTORY is not set"), "{said}");
}

#[test]
fn tcp_ao_has_a_key_and_two_ids() {
    let directory = Directory::new("ao");
    let path = directory.write("key", KEY.as_bytes(), 0o600);
    let keys = format!("tcp_ao: {{key_file: {path}, send_id: 1, receive_id: 2, algorithm: aes-128-cmac-96}}");
    let shown = format!("{:?}", key(&keys));
    let expected =
        "Ok(Some(Ao(AoKey { secret: Secret(…), send_id: 1, receive_id: 2, algorithm: AesCmac128 })))";
    assert_eq!(shown, expected);
}

#[test]
fn the_key_of_a_client_certificate_fits_and_is_nobody_elses() {
    let directory = Directory::new("client");
    let key = rcgen::KeyPair::generate().expect("a key");
    let other = rcgen::KeyPair::generate().expect("another");
    let certificate = rcgen::CertificateParams::new(vec!["node-a".into()])
        .and_then(|params| params.self_signed(&key))
        .expect("a certificate")
        .pem();
    let fitting = directory.write("fitting", key.serialize_pem().as_bytes(), 0o600);
    let open = directory.write("open", key.serialize_pem().as_bytes(), 0o644);
    let other = directory.write("other", other.serialize_pem().as_bytes(), 0o600);
    let encrypted = directory.write("encrypted", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", 0o600);
    let empty = directory.write("empty", b"", 0o600);
    let certificate = directory.write("certificate", certificate.as_bytes(), 0o644);
    let error = |keys: &str| {
        let text = format!(
            "local_as: 65001\npeers: {{tor: {{address: 192.0.2.1, peer_as: 65000}}}}\nchecks: {{up: {{tls: {{address: \
             \"localhost:443\", {keys}}}}}}}\nservices: {{web: {{vips: [198.51.100.1], checks: [up]}}}}\n"
        );
        match config::parse("vipcast.yaml", &text) {
            Ok(_) => String::new(),
            Err(found) => found.iter().next().map(|first| first.message.clone()).expect("a finding"),
        }
    };
    let with = |file: &str| error(&format!("client_cert_file: {certificate}, client_key_file: {file}"));
    assert_eq!(with(&fitting), "");
    assert_eq!(with(&open), format!("`{open}` holds a private key, and everyone may read or write it"));
    assert_eq!(
        with(&other),
        format!("`{other}` cannot be used with the certificate: it belongs to another one")
    );
    assert_eq!(with(&encrypted), format!("`{encrypted}` holds no private key that can be used"));
    assert_eq!(with(&empty), format!("`{empty}` holds no private key that can be used"));
    assert_eq!(
        error(&format!("client_cert_file: {certificate}")),
        "a certificate without its key is of no use"
    );
    assert_eq!(error(&format!("client_key_file: {fitting}")), "a key without its certificate is of no use");
    assert_eq!(
        error(&format!("client_cert_file: {fitting}, client_key_file: {fitting}")),
        format!("`{fitting}` holds no certificate")
    );
}
