use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion, version,
};
use vipcast_node::model::Question;

use super::*;
use crate::check::kinds::tls::TlsCheck;
use crate::check::probe::tests::{
    answer, asked, closed_port, definition_of, fail, http, pass, request, server, target, time_out,
    wait_for_close,
};
use crate::check::target::Dial;
use crate::check::tls::ClientFiles;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An authority, and the file that a `ca_file:` names.
pub(in crate::check) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub(in crate::check) file: PathBuf,
}

/// What a server has: a certificate, what it demands, what it speaks.
pub(in crate::check) struct Served {
    chain: Vec<CertificateParams>,
    pub(in crate::check) clients: Option<PathBuf>,
    pub(in crate::check) alpn: Vec<Vec<u8>>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

/// A certificate for `web.example` and 127.0.0.1.
pub(in crate::check) fn served(lasts: Duration) -> Served {
    let names = vec!["web.example".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).unwrap();
    ends(&mut params, lasts);
    Served {
        chain: vec![params],
        clients: None,
        alpn: vec![],
        versions: vec![&version::TLS12, &version::TLS13],
    }
}

/// Valid since a year ago, for `lasts` from now; zero has expired. A minute more, for slow tests.
fn ends(params: &mut CertificateParams, lasts: Duration) {
    let now = SystemTime::now();
    params.not_before = (now - 365 * DAY).into();
    params.not_after = if lasts.is_zero() { now - DAY } else { now + lasts + DAY / 1440 }.into();
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

impl Authority {
    pub(in crate::check) fn new(name: &str) -> Self {
        let params = authority_params(name.split('-').next().unwrap());
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = std::env::temp_dir().join(format!("vipcast-test-{}-{name}.pem", std::process::id()));
        std::fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file }
    }

    pub(in crate::check) fn trusted(&self) -> Option<TlsOptions> {
        Some(TlsOptions { ca_file: Some(self.file.clone()), ..TlsOptions::default() })
    }

    /// A client's certificate and key, in files that go with the authority.
    fn client(&self) -> ClientFiles {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["node-a".to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &self.issuer).unwrap();
        let files = ClientFiles {
            certificate: self.file.with_extension("client"),
            key: self.file.with_extension("key"),
        };
        std::fs::write(&files.certificate, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&files.key, mode).unwrap();
        files
    }

    /// A server's side of TLS. The first of the chain is for the server, each other has signed the one before it.
    pub(in crate::check) fn config(&self, served: Served) -> Arc<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let mut keys: Vec<KeyPair> = served.chain.iter().map(|_| KeyPair::generate().unwrap()).collect();
        let chain = served.chain.iter().enumerate().map(|(n, params)| {
            let signed = match served.chain.get(n + 1) {
                Some(by) => params.signed_by(&keys[n], &Issuer::from_params(by, &keys[n + 1])),
                None => params.signed_by(&keys[n], &self.issuer),
            };
            signed.unwrap().der().clone()
        });
        let chain = chain.collect();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(keys.swap_remove(0).serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&served.versions)
            .unwrap();
        let config = match served.clients {
            None => config.with_no_client_auth(),
            Some(file) => {
                use tokio_rustls::rustls::pki_types::CertificateDer;
                use tokio_rustls::rustls::pki_types::pem::PemObject as _;

                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
                let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                config.with_client_cert_verifier(clients.build().unwrap())
            }
        };
        let mut config = config.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = served.alpn;
        Arc::new(config)
    }

    /// An https server that answers with 200.
    fn serve(&self, served: Served) -> SocketAddr {
        let config = self.config(served);
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

    /// The same, with a certificate that is good for long.
    fn server(&self) -> SocketAddr {
        self.serve(served(90 * DAY))
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        std::fs::remove_file(&self.file).unwrap();
        for other in ["client", "key"] {
            // Most have no clients.
            let _missing = std::fs::remove_file(self.file.with_extension(other));
        }
    }
}

fn insecure() -> Option<TlsOptions> {
    Some(TlsOptions { insecure: true, ..TlsOptions::default() })
}

/// A `tls` check for `web.example`.
fn tls(address: SocketAddr, options: Option<TlsOptions>) -> Question {
    let (host, options) = ("web.example".into(), options.unwrap());
    asked(TlsCheck { target: target(address), dial: Dial::PLAIN, host, options, alpn: vec![] })
}

fn offering(kind: Question, alpn: &[&str]) -> Question {
    let mut check: TlsCheck = definition_of(&kind);
    check.alpn = alpn.iter().map(|name| String::from(*name)).collect();
    asked(check)
}

#[tokio::test]
async fn a_valid_certificate_passes_by_name_and_by_address() {
    let authority = Authority::new("valid");
    let address = authority.server();
    assert_eq!(pass(http(address, "web.example", authority.trusted())).await, "200 OK");
    assert_eq!(pass(http(address, "web.example.", authority.trusted())).await, "200 OK");
    assert_eq!(pass(http(address, "127.0.0.1", authority.trusted())).await, "200 OK");
}

#[tokio::test]
async fn bad_certificates_fail_in_words_and_pass_when_insecure() {
    let (authority, stranger, impostor) =
        (Authority::new("bad"), Authority::new("stranger"), Authority::new("bad-impostor"));
    let address = authority.server();
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
    let expired = authority.serve(served(Duration::ZERO));
    assert_eq!(fail(http(expired, "web.example", authority.trusted())).await, "certificate expired");

    assert_eq!(pass(http(address, "other.example", insecure())).await, "200 OK");
    assert_eq!(pass(http(expired, "web.example", insecure())).await, "200 OK");
}

#[tokio::test]
async fn the_system_does_not_know_our_authority() {
    let authority = Authority::new("system");
    let detail = fail(http(authority.server(), "web.example", Some(TlsOptions::default()))).await;
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
    assert_eq!(time_out(http(address, "web", insecure())).await, "no TLS handshake within 200 ms");
    let eager = server(|mut stream| {
        stream.write_all(b"220 mail.example ESMTP\r\n").unwrap();
        wait_for_close(stream);
    });
    assert_eq!(fail(http(eager, "web", insecure())).await, "the server does not speak TLS on this port");
    let closing = server(|mut stream| {
        let mut hello = [0; 4096];
        let _length = stream.read(&mut hello).unwrap();
    });
    assert_eq!(fail(http(closing, "web", insecure())).await, "connection closed during the TLS handshake");
}

#[tokio::test]
async fn a_ca_file_that_cannot_be_used_is_named() {
    let address = Authority::new("unread").server();
    let with = |path: &str| Some(TlsOptions { ca_file: Some(path.into()), ..TlsOptions::default() });
    assert_eq!(
        fail(http(address, "web", with("/no/such.pem"))).await,
        "cannot read `/no/such.pem`: no such file or directory"
    );
    assert_eq!(fail(http(address, "web", with("/dev/null"))).await, "`/dev/null` is not a file");
}

#[tokio::test]
async fn a_ca_file_that_was_replaced_is_read_again_after_a_failure() {
    use crate::check::probe::Prober;
    use crate::check::probe::tests::{PATIENT, check};
    use crate::check::shared::Shared;

    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let kind = http(new.server(), "web.example", old.trusted());
    let mut prober = Prober::new("web".into(), Arc::new(check(kind, PATIENT)), Shared::new().0);
    assert!(!prober.probe().await.passed);
    std::fs::copy(&new.file, &old.file).unwrap();
    let outcome = prober.probe().await;
    assert!(outcome.passed, "{}", outcome.detail);
}

#[tokio::test]
async fn one_failure_and_files_that_cannot_be_read_keep_no_healthy_service_down() {
    use std::sync::atomic::AtomicUsize;

    use crate::check::probe::tests::{PATIENT, prober};

    let authority = Authority::new("kept");
    let client = authority.client();
    let config = authority.config(Served { clients: Some(authority.file.clone()), ..served(90 * DAY) });
    let connections = AtomicUsize::new(0);
    let address = server(move |stream| {
        // The second is turned away.
        if connections.fetch_add(1, Ordering::SeqCst) == 1 {
            return;
        }
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        if !request(&mut stream).is_empty() {
            stream.write_all(OK.as_bytes()).unwrap();
            wait_for_close(stream.sock);
        }
    });
    let options = TlsOptions { client: Some(client.clone()), ..authority.trusted().unwrap() };
    let mut prober = prober(http(address, "web.example", Some(options)), PATIENT);
    assert!(prober.probe().await.passed);
    assert!(!prober.probe().await.passed);
    std::fs::remove_file(&client.key).unwrap();
    for _ in 0..2 {
        let outcome = prober.probe().await;
        assert!(outcome.passed, "{}", outcome.detail);
    }
}

#[tokio::test]
async fn a_handshake_says_what_was_agreed_on() {
    let authority = Authority::new("agreed");
    let address = authority.serve(Served { alpn: vec![b"h2".into()], ..served(90 * DAY) });
    assert_eq!(pass(tls(address, authority.trusted())).await, "TLS 1.3, certificate expires in 90 days");
    assert_eq!(pass(tls(address, insecure())).await, "TLS 1.3");
    let h2 = offering(tls(address, authority.trusted()), &["h2", "http/1.1"]);
    assert_eq!(pass(h2).await, "TLS 1.3, h2, certificate expires in 90 days");
    let spdy = offering(tls(address, authority.trusted()), &["spdy/3"]);
    assert_eq!(fail(spdy).await, "the server does not speak spdy/3 on this port");

    let old = authority.serve(Served { versions: vec![&version::TLS12], ..served(DAY) });
    assert_eq!(pass(tls(old, authority.trusted())).await, "TLS 1.2, certificate expires in 1 day");
    let ftp = offering(tls(old, authority.trusted()), &["ftp"]);
    assert_eq!(fail(ftp).await, "the server chose none of the protocols ftp");
}

#[tokio::test]
async fn a_certificate_that_expires_too_soon_fails() {
    let authority = Authority::new("soon");
    let within = |address, days| {
        let options = TlsOptions { expiry: Some(days * DAY), ..authority.trusted().unwrap() };
        (tls(address, Some(options.clone())), http(address, "web.example", Some(options)))
    };
    let soon = authority.serve(served(12 * DAY));
    let (by_tls, by_http) = within(soon, 14);
    assert_eq!(fail(by_tls).await, "certificate expires in 12 days");
    assert_eq!(fail(by_http).await, "certificate expires in 12 days");
    let (by_tls, by_http) = within(soon, 12);
    assert_eq!(pass(by_tls).await, "TLS 1.3, certificate expires in 12 days");
    assert_eq!(pass(by_http).await, "200 OK");
    let (today, _) = within(authority.serve(served(DAY / 8)), 1);
    assert_eq!(fail(today).await, "certificate expires in 3 hours");
    let (expired, _) = within(authority.serve(served(Duration::ZERO)), 1);
    assert_eq!(fail(expired).await, "certificate expired");
}

#[tokio::test]
async fn an_authority_between_that_expires_too_soon_fails() {
    let authority = Authority::new("between");
    let chain = |lasts, between: Duration| {
        let mut served = served(lasts);
        let mut params = authority_params("between us");
        ends(&mut params, between);
        served.chain.push(params);
        authority.serve(served)
    };
    let lasting =
        |address| tls(address, Some(TlsOptions { expiry: Some(14 * DAY), ..authority.trusted().unwrap() }));
    assert_eq!(
        fail(lasting(chain(90 * DAY, 2 * DAY))).await,
        "certificate of an authority expires in 2 days"
    );
    assert_eq!(fail(lasting(chain(3 * DAY, 20 * DAY))).await, "certificate expires in 3 days");
    assert_eq!(
        pass(lasting(chain(90 * DAY, 20 * DAY))).await,
        "TLS 1.3, certificate of an authority expires in 20 days"
    );
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_who_asks() {
    let (authority, stranger) = (Authority::new("asking"), Authority::new("asked-stranger"));
    let (ours, theirs) = (authority.client(), stranger.client());
    let as_client = |client: Option<&ClientFiles>| {
        Some(TlsOptions { client: client.cloned(), ..authority.trusted().unwrap() })
    };
    for version in [&version::TLS12, &version::TLS13] {
        let clients = Some(authority.file.clone());
        let address = authority.serve(Served { clients, versions: vec![version], ..served(90 * DAY) });
        let wanted = "the server demands a client certificate";
        // The server closes right behind its alert, which may be lost on the way.
        let asked = "; the server had asked for a client certificate";
        for kind in [tls(address, as_client(None)), http(address, "web.example", as_client(None))] {
            let detail = fail(kind).await;
            assert!(detail == wanted || detail.ends_with(asked), "{version:?}: {detail}");
        }
        let detail = fail(tls(address, as_client(Some(&theirs)))).await;
        let refused = "the server does not accept our client certificate: unknown ca";
        let lost = "; the server may not accept our client certificate";
        assert!(detail == refused || detail.ends_with(lost), "{version:?}: {detail}");
        assert!(pass(tls(address, as_client(Some(&ours)))).await.starts_with("TLS 1."), "{version:?}");
        assert_eq!(pass(http(address, "web.example", as_client(Some(&ours)))).await, "200 OK");
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&ours.key, mode).unwrap();
    assert_eq!(
        fail(tls(authority.server(), as_client(Some(&ours)))).await,
        format!("`{}` holds a private key, and everyone may read or write it", ours.key.display())
    );
    let unread = ClientFiles { key: "/no/such.key".into(), ..ours };
    assert_eq!(
        fail(tls(authority.server(), as_client(Some(&unread)))).await,
        "cannot read `/no/such.key`: no such file or directory"
    );
}

#[tokio::test]
async fn the_name_is_the_hosts_unless_another_is_given() {
    let authority = Authority::new("named");
    let named = |name: &str| {
        let options = TlsOptions { server_name: Some(name.into()), ..authority.trusted().unwrap() };
        http(authority.server(), "192.0.2.1", Some(options))
    };
    assert_eq!(pass(named("web.example")).await, "200 OK");
    assert_eq!(fail(named("other.example")).await, "certificate is not for \"other.example\"");
}

#[tokio::test]
async fn nobody_there_or_nobody_who_speaks_tls() {
    assert_eq!(fail(tls(closed_port(), insecure())).await, "connection refused");
    assert_eq!(time_out(tls(server(wait_for_close), insecure())).await, "no TLS handshake within 200 ms");
    let closing = server(|mut stream| {
        let mut hello = [0; 4096];
        let _length = stream.read(&mut hello).unwrap();
    });
    assert_eq!(fail(tls(closing, insecure())).await, "connection closed during the TLS handshake");
    let resetting = server(|mut stream| {
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
    });
    assert_eq!(fail(tls(resetting, insecure())).await, "TLS: connection reset by peer");
    let garbage = server(|stream| answer_at_once(stream, b"SSH-2.0-OpenSSH_9.9\r\n"));
    assert_eq!(fail(tls(garbage, insecure())).await, "the server does not speak TLS on this port");
}

fn answer_at_once(mut stream: std::net::TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    wait_for_close(stream);
}
