use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::check::probe::tests::{answer, fail, http, pass, request, server, time_out, wait_for_close};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// An authority, and the file that a `ca_file:` names.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name.split('-').next().unwrap());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = std::env::temp_dir().join(format!("vipcast-test-{}-{name}.pem", std::process::id()));
        std::fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file }
    }

    fn trusted(&self) -> Option<TlsOptions> {
        Some(TlsOptions { ca_file: Some(self.file.clone()), insecure: false })
    }

    /// An https server whose certificate is for `web.example` and 127.0.0.1, valid until the given year.
    fn server(&self, until: i32) -> SocketAddr {
        let mut params =
            CertificateParams::new(vec!["web.example".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        server(move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            if request(&mut stream).is_empty() {
                return;
            }
            stream.write_all(OK.as_bytes()).unwrap();
            wait_for_close(stream.sock);
        })
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        std::fs::remove_file(&self.file).unwrap();
    }
}

const INSECURE: Option<TlsOptions> = Some(TlsOptions { ca_file: None, insecure: true });

#[tokio::test]
async fn a_valid_certificate_passes_by_name_and_by_address() {
    let authority = Authority::new("valid");
    let address = authority.server(4000);
    assert_eq!(pass(http(address, "web.example", authority.trusted())).await, "200 OK");
    assert_eq!(pass(http(address, "web.example.", authority.trusted())).await, "200 OK");
    assert_eq!(pass(http(address, "127.0.0.1", authority.trusted())).await, "200 OK");
}

#[tokio::test]
async fn bad_certificates_fail_in_words_and_pass_when_insecure() {
    let (authority, stranger, impostor) =
        (Authority::new("bad"), Authority::new("stranger"), Authority::new("bad-impostor"));
    let address = authority.server(4000);
    let fail_with = |host, tls| fail(http(address, host, tls));
    assert_eq!(
        fail_with("other.example", authority.trusted()).await,
        "certificate is not for \"other.example\""
    );
    assert_eq!(
        fail_with("web.example", stranger.trusted()).await,
        "certificate not signed by a trusted authority"
    );
    assert_eq!(
        fail_with("web.example", impostor.trusted()).await,
        "certificate not signed by a trusted authority"
    );
    let expired = authority.server(2002);
    assert_eq!(fail(http(expired, "web.example", authority.trusted())).await, "certificate expired");

    assert_eq!(pass(http(address, "other.example", INSECURE)).await, "200 OK");
    assert_eq!(pass(http(expired, "web.example", INSECURE)).await, "200 OK");
}

#[tokio::test]
async fn the_system_does_not_know_our_authority() {
    let authority = Authority::new("system");
    let detail = fail(http(authority.server(4000), "web.example", Some(TlsOptions::default()))).await;
    // A machine without ca-certificates has none at all.
    let expected = [
        "certificate not signed by a trusted authority",
        "no certificate authorities on this system; set ca_file",
    ];
    assert!(expected.contains(&&*detail), "{detail}");
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls() {
    let address = server(|stream| answer(stream, OK));
    // It waits for the end of a request that never comes.
    assert_eq!(time_out(http(address, "web", INSECURE)).await, "no TLS handshake within 200 ms");
    let eager = server(|mut stream| {
        stream.write_all(b"220 mail.example ESMTP\r\n").unwrap();
        wait_for_close(stream);
    });
    assert_eq!(fail(http(eager, "web", INSECURE)).await, "the server does not speak TLS on this port");
    let closing = server(|mut stream| {
        let mut hello = [0; 4096];
        let _length = std::io::Read::read(&mut stream, &mut hello).unwrap();
    });
    assert_eq!(fail(http(closing, "web", INSECURE)).await, "connection closed during the TLS handshake");
}

#[tokio::test]
async fn a_ca_file_that_cannot_be_used_is_named() {
    let address = Authority::new("unread").server(4000);
    let with = |path: &str| Some(TlsOptions { ca_file: Some(path.into()), insecure: false });
    assert_eq!(
        fail(http(address, "web", with("/no/such.pem"))).await,
        "cannot read /no/such.pem: no such file or directory"
    );
    assert_eq!(
        fail(http(address, "web", with("/dev/null"))).await,
        "cannot read /dev/null: no certificate in it"
    );
}

#[tokio::test]
async fn a_ca_file_that_was_replaced_is_read_again_after_a_failure() {
    use crate::check::probe::Prober;
    use crate::check::probe::Shared;
    use crate::check::probe::tests::{PATIENT, check};

    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let kind = http(new.server(4000), "web.example", old.trusted());
    let mut prober = Prober::new("web".into(), Arc::new(check(kind, PATIENT)), Shared::new().0);
    assert!(!prober.probe().await.passed);
    std::fs::copy(&new.file, &old.file).unwrap();
    let outcome = prober.probe().await;
    assert!(outcome.passed, "{}", outcome.detail);
}
